/* The extension lyquor._lyquor. */
#include "module.h"
#include <string.h>

PyObject *error_of, *lanes;
int forked;

PyObject *fail(int code, int entered) { return fail_with(code, entered ? lyq_detail() : ""); }

PyObject *fail_with(int code, const char *detail) {
  PyObject *error = PyObject_CallFunction(error_of, "is", code, detail);
  if (!error) return NULL;
  PyErr_SetObject((PyObject *)Py_TYPE(error), error);
  Py_DECREF(error);
  return NULL;
}

PyTypeObject *add_type(PyObject *module, PyType_Spec *spec) {
  PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
  if (type && PyModule_AddObjectRef(module, strrchr(spec->name, '.') + 1, type) < 0) Py_CLEAR(type);
  return (PyTypeObject *)type;   /* kept: the module lives as long as the process */
}

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "lyquor._lyquor", NULL, -1,
                                        NULL, NULL, NULL, NULL, NULL};

/* Every number of the header that Python names, by its name there without LYQ_. */
static int add_numbers(PyObject *module) {
#define NUMBER(name) {#name, LYQ_##name}
  static const struct { const char *name; long value; } numbers[] = {
    NUMBER(EINVAL), NUMBER(EHANDLE), NUMBER(ECLOSED), NUMBER(EAGAIN), NUMBER(EMSGSIZE), NUMBER(ETIMEDOUT),
    NUMBER(EINTR), NUMBER(EDEADLK), NUMBER(EFORKED), NUMBER(EADDR), NUMBER(ENOMEM), NUMBER(ELIMIT), NUMBER(EREFUSED),
    NUMBER(EUNREACH), NUMBER(ERESET), NUMBER(EVERSION), NUMBER(ENOTSUP), NUMBER(EINTERNAL), NUMBER(EBUSY),
    NUMBER(EPROTO), NUMBER(UP), NUMBER(ENDED), NUMBER(DOWN), NUMBER(WRITABLE), NUMBER(RESTARTED), NUMBER(ACCEPTED),
    NUMBER(ACKED), NUMBER(TIMER), NUMBER(CLOSED), NUMBER(NORMAL), NUMBER(URGENT), NUMBER(LOW), NUMBER(BULK),
    NUMBER(REPORT), NUMBER(RESEND), NUMBER(DROP), NUMBER(PORTABLE), NUMBER(NO_BALANCE), NUMBER(FOR_EVER),
    NUMBER(WITH_LINK), NUMBER(ABI_VERSION)};
#undef NUMBER
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    if (PyModule_AddIntConstant(module, numbers[i].name, numbers[i].value) < 0) return -1;
  return 0;
}

PyMODINIT_FUNC PyInit__lyquor(void) {
  PyObject *module = PyModule_Create(&definition);
  if (module && message_ready(module) == 0 && inbox_ready(module) == 0 && endpoint_ready(module) == 0 &&
      call_ready(module) == 0 && control_ready(module) == 0 && log_ready(module) == 0 && add_numbers(module) == 0)
    return module;
  Py_XDECREF(module);
  return NULL;
}
