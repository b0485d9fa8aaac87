/* What an asynchronous call returns: a coroutine without a frame of its own. As with any coroutine, nothing happens
 * before it is awaited. What finds at once what it needs ends there; else it goes on as one in Python. */
#include "module.h"

typedef struct {
  PyObject_HEAD
  const char *name;
  begin_fn begin;           /* NULL once it has begun, or was closed */
  PyObject *self, *arg;     /* what begin gets; arg may be NULL */
  manner how;
  PyObject *later;          /* the coroutine that it goes on as */
} Call;
PyTypeObject *call_type;

PyObject *call_new(const char *name, begin_fn begin, PyObject *self, PyObject *arg, manner how) {
  Call *c = PyObject_GC_New(Call, call_type);   /* the collector sees it from the moment that it has to wait */
  if (!c) return NULL;
  c->name = name;
  c->begin = begin;
  c->self = Py_NewRef(self);
  c->arg = Py_XNewRef(arg);
  c->how = how;
  c->later = NULL;
  return (PyObject *)c;
}

static int call_traverse(Call *c, visitproc visit, void *arg) {
  Py_VISIT(TYPE(c));
  Py_VISIT(c->self);
  Py_VISIT(c->arg);
  Py_VISIT(c->later);
  return 0;
}

static int call_clear(Call *c) {
  c->begin = NULL;
  Py_CLEAR(c->self);
  Py_CLEAR(c->arg);
  Py_CLEAR(c->later);
  return 0;
}

static void warn_of(Call *c) {
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine '%s' was never awaited", c->name) < 0)
    PyErr_WriteUnraisable(c->self);
  PyErr_Restore(type, value, traceback);
}

static void call_dealloc(Call *c) {
  PyTypeObject *type = TYPE(c);
  PyObject_GC_UnTrack(c);
  if (c->begin) warn_of(c);
  call_clear(c);
  PyObject_GC_Del(c);
  Py_DECREF(type);
}

static PySendResult call_send(Call *c, PyObject *arg, PyObject **result) {
  begin_fn begin = c->begin;
  if (begin) {
    c->begin = NULL;
    int got = begin(c->self, c->arg, &c->how, result);
    Py_CLEAR(c->self);
    Py_CLEAR(c->arg);
    if (got != LATER) return got == DONE ? PYGEN_RETURN : PYGEN_ERROR;
    c->later = *result;
    *result = NULL;
    PyObject_GC_Track(c);
  }
  PyObject *later = Py_XNewRef(c->later);
  if (!later) {
    PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
    return PYGEN_ERROR;
  }
  PySendResult sent = PyIter_Send(later, arg, result);
  if (sent != PYGEN_NEXT) Py_CLEAR(c->later);
  Py_DECREF(later);
  return sent;
}

static PyObject *send_method(Call *c, PyObject *arg) {
  PyObject *value = NULL;
  if (call_send(c, arg, &value) != PYGEN_RETURN) return value;
  PyObject *stop = PyObject_CallFunctionObjArgs(PyExc_StopIteration, value, NULL);   /* also where value is a tuple */
  if (stop) PyErr_SetObject(PyExc_StopIteration, stop);
  Py_XDECREF(stop);
  Py_DECREF(value);
  return NULL;
}

static PyObject *call_next(Call *c) { return send_method(c, Py_None); }
static PyObject *call_await(PyObject *c) { return Py_NewRef(c); }

static PyObject *call_close(Call *c, PyObject *Py_UNUSED(none)) {
  PyObject *later = c->later, *closed = NULL;
  c->later = NULL;
  call_clear(c);
  if (!later) Py_RETURN_NONE;
  closed = PyObject_CallMethod(later, "close", NULL);
  Py_DECREF(later);
  return closed;
}

static PyObject *call_throw(Call *c, PyObject *args) {
  PyObject *type, *value = NULL, *traceback = NULL;
  if (!PyArg_ParseTuple(args, "O|OO", &type, &value, &traceback)) return NULL;
  if (!c->later) {
    call_clear(c);
    if (PyExceptionInstance_Check(type)) PyErr_SetObject((PyObject *)Py_TYPE(type), type);
    else PyErr_SetObject(type, value ? value : Py_None);
    return NULL;
  }
  PyObject *later = Py_NewRef(c->later), *throw = PyObject_GetAttrString(later, "throw");
  PyObject *yielded = throw ? PyObject_CallObject(throw, args) : NULL;
  if (!yielded) Py_CLEAR(c->later);
  Py_XDECREF(throw);
  Py_DECREF(later);
  return yielded;
}

static PyObject *get_name(Call *c, void *Py_UNUSED(closure)) { return PyUnicode_FromString(c->name); }

static PyGetSetDef getset[] = {
  {"__name__", (getter)get_name, NULL, NULL, NULL}, {"__qualname__", (getter)get_name, NULL, NULL, NULL},
  {NULL, NULL, NULL, NULL, NULL}};
static PyMethodDef methods[] = {
  {"send", (PyCFunction)send_method, METH_O, NULL},
  {"throw", (PyCFunction)call_throw, METH_VARARGS, NULL},
  {"close", (PyCFunction)call_close, METH_NOARGS, NULL},
  {NULL, NULL, 0, NULL}};
static PyType_Slot slots[] = {
  {Py_tp_dealloc, call_dealloc}, {Py_tp_traverse, call_traverse}, {Py_tp_clear, call_clear},
  {Py_am_await, call_await}, {Py_am_send, call_send}, {Py_tp_iter, call_await}, {Py_tp_iternext, call_next},
  {Py_tp_methods, methods}, {Py_tp_getset, getset}, {0, NULL}};
static PyType_Spec spec = {"lyquor._lyquor.Call", sizeof(Call), 0,
  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

int call_ready(PyObject *module) { return (call_type = add_type(module, &spec)) ? 0 : -1; }
