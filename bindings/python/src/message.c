/* Messages. */
#include "module.h"

PyTypeObject *message_type;

static void give_back(Message *self) {
  if (self->released) return;
  self->released = 1;
  lyq_release(&self->m, 1);
}

PyObject *message_new(const lyq_msg *m, PyObject *endpoint) {
  Message *self = (Message *)PyType_GenericAlloc(message_type, 0);
  if (!self) {
    lyq_release(m, 1);
    return NULL;
  }
  self->m = *m;
  self->endpoint = endpoint;
  Py_XINCREF(endpoint);
  if (endpoint) ((Endpoint *)endpoint)->latest = self;
  return (PyObject *)self;
}

/* A new reference to the data as bytes. */
static PyObject *copy_of(Message *self) {
  if (!self->bytes) {
    if (self->released) {
      PyErr_SetString(PyExc_ValueError, "the message was released before its data was read");
      return NULL;
    }
    if (forked) return fail(LYQ_EFORKED, 0);   /* the memory is not the child's */
    self->bytes = PyBytes_FromStringAndSize((const char *)self->m.data, (Py_ssize_t)self->m.size);
  }
  Py_XINCREF(self->bytes);
  return self->bytes;
}

void message_consumed(Message *self) {
  if (self->released) return;
  if (self->views) {
    self->pending = 1;
    return;
  }
  /* Somebody may have put it into a list: let it stay good there. */
  if (!forked && !self->bytes && !self->touched) {
    PyObject *copy = copy_of(self);
    if (!copy) PyErr_WriteUnraisable((PyObject *)self);
    Py_XDECREF(copy);
  }
  give_back(self);
}

/* Has nobody find it who does not hold a reference. */
static void forget(Message *self) {
  Endpoint *e = (Endpoint *)self->endpoint;
  if (e && e->latest == self) e->latest = NULL;
  if (self->place) *self->place = NULL;
  self->place = NULL;
}

static int message_traverse(Message *self, visitproc visit, void *arg) {
  Py_VISIT(TYPE(self));
  Py_VISIT(self->endpoint);
  return 0;
}

static int message_clear(Message *self) {
  forget(self);
  Py_CLEAR(self->endpoint);
  return 0;
}

static void message_dealloc(Message *self) {
  PyTypeObject *type = TYPE(self);
  PyObject_GC_UnTrack(self);
  forget(self);
  give_back(self);
  Py_XDECREF(self->endpoint);
  Py_XDECREF(self->bytes);
  PyObject_GC_Del(self);
  Py_DECREF(type);
}

static int message_getbuffer(Message *self, Py_buffer *view, int flags) {
  if (self->released) {   /* then there is a copy, or none for good */
    PyObject *copy = copy_of(self);
    if (!copy) return -1;
    int err = PyObject_GetBuffer(copy, view, flags);
    Py_DECREF(copy);
    return err;
  }
  if (forked) { fail(LYQ_EFORKED, 0); return -1; }
  static char nothing;
  void *data = self->m.data ? (void *)(uintptr_t)self->m.data : &nothing;
  if (PyBuffer_FillInfo(view, (PyObject *)self, data, (Py_ssize_t)self->m.size, 1, flags) < 0) return -1;
  self->views++;
  self->touched = 1;
  return 0;
}

static void message_releasebuffer(Message *self, Py_buffer *Py_UNUSED(view)) {
  if (--self->views == 0 && self->pending) give_back(self);
}

static PyObject *message_view(PyObject *self, PyObject *Py_UNUSED(none)) { return PyMemoryView_FromObject(self); }

static PyObject *message_release(Message *self, PyObject *Py_UNUSED(none)) {
  if (self->views) self->pending = 1; else give_back(self);
  Py_RETURN_NONE;
}

static PyObject *message_exit(Message *self, PyObject *Py_UNUSED(args)) { return message_release(self, NULL); }

static PyObject *message_enter(PyObject *self, PyObject *Py_UNUSED(none)) { return Py_NewRef(self); }

static PyObject *message_ack(Message *self, PyObject *Py_UNUSED(none)) {
  return acknowledge(self->m.ep, self->m.tag, self->m.id);
}

static PyObject *message_bytes(Message *self, PyObject *Py_UNUSED(none)) { return copy_of(self); }
static PyObject *get_data(Message *self, void *Py_UNUSED(c)) { return copy_of(self); }
static PyObject *get_id(Message *self, void *Py_UNUSED(c)) { return PyLong_FromUnsignedLongLong(self->m.id); }
static PyObject *get_channel(Message *self, void *Py_UNUSED(c)) { return PyLong_FromLong(LYQ_CHANNEL(self->m.tag)); }
static PyObject *get_released(Message *self, void *Py_UNUSED(c)) { return PyBool_FromLong(self->released); }

static PyObject *get_lane(Message *self, void *Py_UNUSED(c)) {
  PyObject *lane = PyTuple_GetItem(lanes, LYQ_LANE(self->m.tag));
  Py_XINCREF(lane);
  return lane;
}

static PyObject *get_endpoint(Message *self, void *Py_UNUSED(c)) {
  return Py_NewRef(self->endpoint ? self->endpoint : Py_None);
}

static Py_ssize_t message_length(Message *self) { return (Py_ssize_t)self->m.size; }
static int message_true(Message *Py_UNUSED(self)) { return 1; }

static PyObject *message_repr(Message *self) {
  return PyUnicode_FromFormat("<lyquor.Message %llu: %zd bytes, channel %d, %R%s>", (unsigned long long)self->m.id,
    (Py_ssize_t)self->m.size, (int)LYQ_CHANNEL(self->m.tag), PyTuple_GetItem(lanes, LYQ_LANE(self->m.tag)),
    self->released ? ", released" : "");
}

static PyMethodDef methods[] = {
  {"view", message_view, METH_NOARGS,
   "view()\n--\n\nThe data where it lies, as a read-only memoryview: aligned to 8 bytes, above 64 KiB to 64. It keeps\n"
   "the memory, and puts the acknowledgement off, until it is released."},
  {"release", (PyCFunction)message_release, METH_NOARGS,
   "release()\n--\n\nAcknowledge the message and give its memory back; with the last view, if there are some.\n"
   "Never waits."},
  {"ack", (PyCFunction)message_ack, METH_NOARGS,
   "ack()\n--\n\nWith manual_ack: acknowledge all messages of this lane up to this one."},
  {"__bytes__", (PyCFunction)message_bytes, METH_NOARGS, NULL},
  {"__enter__", message_enter, METH_NOARGS, NULL},
  {"__exit__", (PyCFunction)message_exit, METH_VARARGS, NULL},
  {NULL, NULL, 0, NULL}};

static PyGetSetDef getset[] = {
  {"data", (getter)get_data, NULL, "The data as bytes, copied when first asked for.", NULL},
  {"endpoint", (getter)get_endpoint, NULL, "The endpoint that it came from.", NULL},
  {"id", (getter)get_id, NULL, "What the sender's send() returned: counts from 0 in each lane.", NULL},
  {"channel", (getter)get_channel, NULL, "The channel that the sender gave it, 0 to 65535.", NULL},
  {"lane", (getter)get_lane, NULL, "The lane it came in.", NULL},
  {"released", (getter)get_released, NULL, "Whether it was given back.", NULL},
  {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot slots[] = {
  {Py_tp_doc, "A message. It is acknowledged when the next one is asked for, when it is released, or dropped.\n\n"
              "bytes(msg) and msg.data copy it; msg.view(), or any use of its buffer, reads it in place."},
  {Py_tp_dealloc, message_dealloc}, {Py_tp_traverse, message_traverse}, {Py_tp_clear, message_clear},
  {Py_tp_methods, methods}, {Py_tp_getset, getset}, {Py_tp_repr, message_repr},
  {Py_bf_getbuffer, message_getbuffer}, {Py_bf_releasebuffer, message_releasebuffer},
  {Py_sq_length, message_length}, {Py_nb_bool, message_true}, {0, NULL}};
static PyType_Spec spec = {"lyquor.Message", sizeof(Message), 0,
  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

int message_ready(PyObject *module) { return (message_type = add_type(module, &spec)) ? 0 : -1; }
