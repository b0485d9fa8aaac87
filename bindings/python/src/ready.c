/* The result of an asynchronous call that had not to wait: a coroutine that is finished, without a frame. */
#include "module.h"

typedef struct { PyObject_HEAD PyObject *value; } Ready;
PyTypeObject *ready_type;

PyObject *ready_new(PyObject *value) {
  if (!value) return NULL;
  Ready *self = PyObject_New(Ready, ready_type);
  if (!self) Py_DECREF(value); else self->value = value;
  return (PyObject *)self;
}

static void ready_dealloc(Ready *self) {
  PyTypeObject *type = TYPE(self);
  Py_XDECREF(self->value);
  PyObject_Free(self);
  Py_DECREF(type);
}

/* Takes the result out. */
static PyObject *result_of(Ready *self) {
  PyObject *value = self->value;
  self->value = NULL;
  if (!value) PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
  return value;
}

static PySendResult ready_am_send(Ready *self, PyObject *Py_UNUSED(arg), PyObject **result) {
  return (*result = result_of(self)) ? PYGEN_RETURN : PYGEN_ERROR;
}

static PyObject *ready_next(Ready *self) {
  PyObject *value = result_of(self);
  if (!value) return NULL;
  PyObject *stop = PyObject_CallFunctionObjArgs(PyExc_StopIteration, value, NULL);   /* also where value is a tuple */
  if (stop) PyErr_SetObject(PyExc_StopIteration, stop);
  Py_XDECREF(stop);
  Py_DECREF(value);
  return NULL;
}

static PyObject *ready_send(Ready *self, PyObject *Py_UNUSED(value)) { return ready_next(self); }
static PyObject *ready_await(PyObject *self) { return Py_NewRef(self); }

static PyObject *ready_close(Ready *self, PyObject *Py_UNUSED(none)) {
  Py_CLEAR(self->value);
  Py_RETURN_NONE;
}

static PyObject *ready_throw(Ready *self, PyObject *args) {
  PyObject *type, *value = NULL, *traceback = NULL;
  if (!PyArg_ParseTuple(args, "O|OO", &type, &value, &traceback)) return NULL;
  Py_CLEAR(self->value);
  if (PyExceptionInstance_Check(type)) PyErr_SetObject((PyObject *)Py_TYPE(type), type);
  else PyErr_SetObject(type, value ? value : Py_None);
  return NULL;
}

static PyMethodDef methods[] = {
  {"send", (PyCFunction)ready_send, METH_O, NULL},
  {"throw", (PyCFunction)ready_throw, METH_VARARGS, NULL},
  {"close", (PyCFunction)ready_close, METH_NOARGS, NULL},
  {NULL, NULL, 0, NULL}};
static PyType_Slot slots[] = {
  {Py_tp_dealloc, ready_dealloc}, {Py_am_await, ready_await}, {Py_am_send, ready_am_send},
  {Py_tp_iter, ready_await}, {Py_tp_iternext, ready_next}, {Py_tp_methods, methods}, {0, NULL}};
static PyType_Spec spec = {"lyquor._lyquor.Ready", sizeof(Ready), 0,
  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

int ready_ready(PyObject *module) { return (ready_type = add_type(module, &spec)) ? 0 : -1; }
