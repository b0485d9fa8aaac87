/* Endpoints: sending. */
#include "module.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

PyTypeObject *endpoint_type;

/* ---- Lent buffers. A worker that is done with one must not wait for the GIL: it puts it on a list, and the next call
 * of any thread that has the GIL releases what is there. */

typedef struct loan { struct loan *next; Py_buffer view; } loan;
static _Atomic(loan *) returned;

static void loan_return(void *hint) {
  loan *l = hint;
  l->next = atomic_load(&returned);
  while (!atomic_compare_exchange_weak(&returned, &l->next, l)) { }
}

void loans_settle(void) {
  if (!atomic_load_explicit(&returned, memory_order_relaxed)) return;
  for (loan *l = atomic_exchange(&returned, NULL), *next; l; l = next) {
    next = l->next;
    PyBuffer_Release(&l->view);
    free(l);
  }
}

/* ---- Sending. */

/* What is to be sent, and how. A view is held while data is NULL or borrowed from it. */
typedef struct {
  const char *data;
  Py_ssize_t size;
  Py_buffer view;
  int viewed;
  loan *loan;               /* the view is lent instead of copied */
  lyq_tag tag;
  int ttl_ms;
  int64_t deadline;
  int lend;                 /* as of a manner */
} order;

static int order_number(PyObject *value, const char *what, long max, long *out) {
  *out = PyLong_AsLong(value);
  if (*out == -1 && PyErr_Occurred()) return -1;
  if (*out >= 0 && *out <= max) return 0;
  PyErr_Format(PyExc_ValueError, "%s is %ld; 0 to %ld are allowed", what, *out, max);
  return -1;
}

static int order_ttl(order *o, PyObject *value) {
  if (value == Py_None) return 0;
  double seconds = PyFloat_AsDouble(value);
  if (seconds == -1.0 && PyErr_Occurred()) return -1;
  if (!(seconds > 0 && seconds <= 2e6)) {
    PyErr_SetString(PyExc_ValueError, "ttl is a number of seconds above 0, at most 2 000 000, or None");
    return -1;
  }
  o->ttl_ms = seconds < 0.001 ? 1 : (int)(seconds * 1e3 + 0.5);
  return 0;
}

static int order_option(order *o, PyObject *name, PyObject *value) {
  long n;
  if (PyUnicode_CompareWithASCIIString(name, "channel") == 0) {
    if (order_number(value, "channel", 65535, &n) < 0) return -1;
    o->tag = (o->tag & ~(lyq_tag)0xffff) | (lyq_tag)n;
  } else if (PyUnicode_CompareWithASCIIString(name, "lane") == 0) {
    if (order_number(value, "lane", 3, &n) < 0) return -1;
    o->tag = (o->tag & 0xffff) | (lyq_tag)n << 16;
  } else if (PyUnicode_CompareWithASCIIString(name, "ttl") == 0) {
    return order_ttl(o, value);
  } else if (PyUnicode_CompareWithASCIIString(name, "timeout") == 0) {
    return deadline_of(value, &o->deadline) ? 0 : -1;
  } else if (PyUnicode_CompareWithASCIIString(name, "lend") == 0) {
    o->lend = value == Py_None ? -1 : PyObject_IsTrue(value);
    return o->lend < 0 && PyErr_Occurred() ? -1 : 0;
  } else {
    PyErr_Format(PyExc_TypeError, "send has no option %R; channel, lane, ttl, timeout and lend are allowed", name);
    return -1;
  }
  return 0;
}

/* Reads the options of a call; the first argument is for the caller. */
static int order_options(order *o, PyObject *const *args, Py_ssize_t n, PyObject *names) {
  memset(o, 0, sizeof *o);
  o->deadline = FOR_EVER;
  o->lend = -1;
  if (n != 1) {
    PyErr_Format(PyExc_TypeError, "one argument is needed, and options by name; %zd were given", n);
    return -1;
  }
  Py_ssize_t count = names ? PyTuple_Size(names) : 0;
  for (Py_ssize_t i = 0; i < count; i++)
    if (order_option(o, PyTuple_GetItem(names, i), args[n + i]) < 0) return -1;
  return 0;
}

static int order_view(order *o, PyObject *object) {
  if (PyObject_GetBuffer(object, &o->view, PyBUF_SIMPLE) < 0) {
    if (!PyErr_ExceptionMatches(PyExc_BufferError) && !PyErr_ExceptionMatches(PyExc_ValueError)) return -1;
    PyErr_SetString(PyExc_BufferError, "a message is one C-contiguous buffer: send bytes(x), or a contiguous copy");
    return -1;
  }
  o->viewed = 1;
  o->data = o->view.buf;
  o->size = o->view.len;
  int lend = o->lend > 0 || (o->lend < 0 && o->size > LEND_ABOVE && o->view.readonly);
  if (!lend || o->ttl_ms || o->size == 0) return 0;
  if (!(o->loan = malloc(sizeof *o->loan))) { PyErr_NoMemory(); return -1; }
  return 0;
}

static inline int order_data(order *o, PyObject *object) {
  if (PyBytes_CheckExact(object)) {
    char *data;
    if (PyBytes_AsStringAndSize(object, &data, &o->size) < 0) return -1;
    if (o->size <= LEND_ABOVE && o->lend <= 0) {
      o->data = data;
      return 0;
    }
  }
  return order_view(o, object);
}

static void order_end(order *o) {
  free(o->loan);
  if (o->viewed) PyBuffer_Release(&o->view);
}

/* Sends, if there is room. A loan that was taken is the library's. */
static int64_t attempt(Endpoint *e, order *o, int quiet) {
  if (o->loan) {
    o->loan->view = o->view;
    int64_t id = lyq_send_lent(e->h, o->tag, o->data, (size_t)o->size, loan_return, o->loan);
    if (id >= 0) o->loan = NULL, o->viewed = 0;
    return id;
  }
  if (o->ttl_ms) return lyq_send_ttl(e->h, o->tag, o->data, (size_t)o->size, o->ttl_ms);
  if (!quiet) return lyq_send(e->h, o->tag, o->data, (size_t)o->size);
  /* As lyq_send, but no LYQ_WRITABLE follows. */
  int64_t id = lyq_send_wait(e->h, o->tag, o->data, (size_t)o->size, 0);
  return id == LYQ_ETIMEDOUT ? LYQ_EAGAIN : id;
}

/* Raises why a message was refused. */
static void refuse(Endpoint *e, const order *o, int64_t code) {
  char text[128];
  PyObject *error;
  if (code == LYQ_ECLOSED) {
    if (!(error = PyObject_CallMethod((PyObject *)e, "_refusal", NULL))) return;
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
  } else if (code == LYQ_EMSGSIZE) {
    snprintf(text, sizeof text, "%zd bytes; the peer's max_message (1 MiB before it is up) and memory_limit bound it",
      o->size);
    fail_with((int)code, text);
  } else {
    fail((int)code, 0);
  }
}

/* Sends, waiting for room. -1 with an exception. */
static int64_t deliver(Endpoint *e, order *o) {
  int64_t id = attempt(e, o, 1);
  while (id == LYQ_EAGAIN) {
    int ms = slice(o->deadline), rc;
    if (o->deadline == 0 || ms == 0) { id = LYQ_ETIMEDOUT; break; }
    Py_BEGIN_ALLOW_THREADS
    rc = lyq_wait_room(e->h, o->tag, (size_t)o->size, ms);
    Py_END_ALLOW_THREADS
    if (PyErr_CheckSignals() < 0) return -1;
    if (rc < 0 && rc != LYQ_EINTR && rc != LYQ_ETIMEDOUT) { id = rc; break; }
    id = attempt(e, o, 1);
  }
  if (id >= 0) return id;
  refuse(e, o, id);
  return -1;
}

static PyObject *endpoint_send(Endpoint *self, PyObject *const *args, Py_ssize_t n, PyObject *names) {
  order o;
  int64_t id = -1;
  loans_settle();
  if (order_options(&o, args, n, names) == 0 && order_data(&o, args[0]) == 0) id = deliver(self, &o);
  order_end(&o);
  return id < 0 ? NULL : PyLong_FromLongLong(id);
}

/* Keeps the items that tell of room from piling up, where nobody else takes items out. */
static int refused(Endpoint *e) { return inbox_pump(e->inbox) < 0 ? -1 : 0; }

static PyObject *endpoint_send_nowait(Endpoint *self, PyObject *const *args, Py_ssize_t n, PyObject *names) {
  order o;
  int64_t id = -1;
  loans_settle();
  if (order_options(&o, args, n, names) == 0 && order_data(&o, args[0]) == 0) {
    id = attempt(self, &o, 0);
    if (id < 0 && (id != LYQ_EAGAIN || refused(self) == 0)) refuse(self, &o, id);
  }
  order_end(&o);
  return id < 0 ? NULL : PyLong_FromLongLong(id);
}

static PyObject *endpoint_send_many(Endpoint *self, PyObject *const *args, Py_ssize_t n, PyObject *names) {
  order common;
  if (order_options(&common, args, n, names) < 0) return NULL;
  PyObject *all = PyObject_GetIter(args[0]), *one;
  Py_ssize_t sent = 0;
  if (!all) return NULL;
  loans_settle();
  while ((one = PyIter_Next(all))) {
    order o = common;
    int64_t id = order_data(&o, one) == 0 ? deliver(self, &o) : -1;
    order_end(&o);
    Py_DECREF(one);
    if (id < 0) break;
    sent++;
  }
  Py_DECREF(all);
  return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(sent);
}

/* _try(data, **options): the id, or None if there is no room; then a LYQ_WRITABLE follows. */
static PyObject *endpoint_try(Endpoint *self, PyObject *const *args, Py_ssize_t n, PyObject *names) {
  order o;
  int64_t id = -1;
  if (order_options(&o, args, n, names) == 0 && order_data(&o, args[0]) == 0) {
    id = attempt(self, &o, 0);
    if (id < 0 && id != LYQ_EAGAIN) refuse(self, &o, id);
  }
  order_end(&o);
  if (id >= 0) return PyLong_FromLongLong(id);
  return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

/* The id at once, or what self._send_later(data, options) returns. */
static int begin_send(PyObject *self, PyObject *data, const manner *how, PyObject **value) {
  order o = {.tag = how->tag, .ttl_ms = how->ttl_ms, .lend = how->lend, .deadline = FOR_EVER};
  int64_t id = -1;
  loans_settle();
  if (order_data(&o, data) == 0 && (id = attempt((Endpoint *)self, &o, 0)) < 0 && id != LYQ_EAGAIN)
    refuse((Endpoint *)self, &o, id);
  order_end(&o);
  if (id >= 0) return (*value = PyLong_FromLongLong(id)) ? DONE : FAILED;
  if (PyErr_Occurred()) return FAILED;
  PyObject *ttl = how->ttl_ms ? PyFloat_FromDouble(how->ttl_ms / 1e3) : Py_NewRef(Py_None);
  PyObject *lend = how->lend < 0 ? Py_NewRef(Py_None) : PyBool_FromLong(how->lend);
  *value = PyObject_CallMethod(self, "_send_later", "O{sisisNsN}", data, "channel", (int)LYQ_CHANNEL(how->tag),
    "lane", LYQ_LANE(how->tag), "ttl", ttl, "lend", lend);
  return *value ? LATER : FAILED;
}

static PyObject *endpoint_asend(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names) {
  order o;
  if (order_options(&o, args, n, names) < 0) return NULL;
  if (o.deadline == FOR_EVER)
    return call_new("Endpoint.send", begin_send, self, args[0], (manner){o.tag, o.ttl_ms, o.lend});
  PyErr_SetString(PyExc_TypeError, "use asyncio.timeout() or the like for a timeout");
  return NULL;
}

/* ---- The object. */

static PyObject *endpoint_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
  unsigned long long id;
  PyObject *in;
  int own;
  if (!PyArg_ParseTuple(args, "KO!p", &id, inbox_type, &in, &own)) return NULL;
  Endpoint *self = (Endpoint *)PyType_GenericAlloc(type, 0);
  if (!self) return NULL;
  self->h.id = id;
  self->inbox = (Inbox *)Py_NewRef(in);
  if (own) self->inbox->owner = self;
  return (PyObject *)self;
}

static int endpoint_traverse(Endpoint *self, visitproc visit, void *arg) {
  Py_VISIT(TYPE(self));
  Py_VISIT((PyObject *)self->inbox);
  Py_VISIT(self->failure);
  return 0;
}

static int endpoint_clear(Endpoint *self) {
  Py_CLEAR(self->failure);
  return 0;
}

static void endpoint_finalize(Endpoint *self) {
  PyObject *type, *value, *traceback;
  if (forked || !self->h.id || self->flags & (IS_CLOSING | IS_CLOSED | IS_OVER)) return;
  if (lyq_wait(self->h.id, LYQ_CLOSED, 0) == 0) return;   /* with its driver, or by its peer */
  PyErr_Fetch(&type, &value, &traceback);
  if (PyErr_ResourceWarning((PyObject *)self, 1, "unclosed %R", self) < 0) PyErr_WriteUnraisable((PyObject *)self);
  PyErr_Restore(type, value, traceback);
}

static void endpoint_dealloc(Endpoint *self) {
  PyTypeObject *type = TYPE(self);
  PyObject_GC_UnTrack(self);
  if (self->inbox && self->inbox->owner == self) self->inbox->owner = NULL;
  lyq_close(self->h.id, 0);
  Py_CLEAR(self->inbox);
  Py_CLEAR(self->failure);
  Py_CLEAR(self->detail);
  freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
  release(self);
  Py_DECREF(type);
}

/* _closing(orderly): the program is done with it, and with the message that it looked at. */
static PyObject *endpoint_closing(Endpoint *self, PyObject *orderly) {
  self->flags |= IS_CLOSING;
  if (self->latest && PyObject_IsTrue(orderly) == 1) message_consumed(self->latest);
  Py_RETURN_NONE;
}

/* _answered(n): whether the nth answer to lyq_flush was pulled. Asks, unless an answer is still to come. */
static PyObject *endpoint_answered(Endpoint *self, PyObject *number) {
  unsigned long long n = PyLong_AsUnsignedLongLong(number);
  if (PyErr_Occurred()) return NULL;
  if (self->answered < n && self->answered == self->asked) {
    int rc = lyq_flush(self->h);
    if (rc < 0) return fail(rc, 0);
    self->asked++;
  }
  if (self->answered < n) Py_RETURN_FALSE;
  loans_settle();   /* what is acknowledged is the program's again */
  if (self->vain >= n) return fail(LYQ_ERESET, 0);
  Py_RETURN_TRUE;
}

static PyObject *get_id(Endpoint *self, void *Py_UNUSED(c)) { return PyLong_FromUnsignedLongLong(self->h.id); }
static PyObject *get_code(Endpoint *self, void *Py_UNUSED(c)) { return PyLong_FromLong(self->code); }
static PyObject *get_detail(Endpoint *self, void *Py_UNUSED(c)) {
  return self->detail ? Py_NewRef(self->detail) : PyBytes_FromStringAndSize(NULL, 0);
}
static PyObject *get_rooms(Endpoint *self, void *Py_UNUSED(c)) { return PyLong_FromUnsignedLongLong(self->rooms); }
static PyObject *get_asked(Endpoint *self, void *Py_UNUSED(c)) { return PyLong_FromUnsignedLongLong(self->asked); }
static PyObject *get_inbox(Endpoint *self, void *Py_UNUSED(c)) { return Py_NewRef((PyObject *)self->inbox); }
static PyObject *get_up(Endpoint *self, void *Py_UNUSED(c)) { return PyBool_FromLong(self->flags & IS_UP); }
static PyObject *get_own(Endpoint *self, void *Py_UNUSED(c)) { return PyBool_FromLong(self->inbox->owner == self); }
static PyObject *get_ended(Endpoint *self, void *Py_UNUSED(c)) {
  return PyBool_FromLong(self->flags & (IS_CLOSED | IS_OVER));
}

#define SEND_OPTIONS \
  "\n\ndata is any C-contiguous buffer. channel (0 to 65535) and lane are for the receiver to dispatch by; with\n" \
  "ttl, in seconds, a message that was not begun by then is withdrawn. Up to 16 KiB are copied, and what may be\n" \
  "changed; longer bytes are lent until the peer has acknowledged them. lend=True lends in any case, so do not\n" \
  "change it meanwhile; lend=False copies. Returns the message's id, which counts from 0 in each lane."

/* What Endpoint and aio.Endpoint take as their own send and send_many. */
static PyMethodDef sends[] = {
  {"send", (PyCFunction)(void (*)(void))endpoint_send, METH_FASTCALL | METH_KEYWORDS,
   "send($self, data, *, channel=0, lane=0, ttl=None, timeout=None, lend=None)\n--\n\n"
   "Send a message, waiting for room in the outbox, at most timeout seconds." SEND_OPTIONS},
  {"send_many", (PyCFunction)(void (*)(void))endpoint_send_many, METH_FASTCALL | METH_KEYWORDS,
   "send_many($self, messages, *, channel=0, lane=0, ttl=None, timeout=None, lend=None)\n--\n\n"
   "Send each message of an iterable, as send does, and return how many."},
  {"send", (PyCFunction)(void (*)(void))endpoint_asend, METH_FASTCALL | METH_KEYWORDS,
   "send($self, data, *, channel=0, lane=0, ttl=None, lend=None)\n--\n\n"
   "Send a message, waiting for room in the outbox if there is none." SEND_OPTIONS}};
static const char *const sends_are[] = {"_send", "_send_many", "_asend"};

static PyMethodDef methods[] = {
  {"send_nowait", (PyCFunction)(void (*)(void))endpoint_send_nowait, METH_FASTCALL | METH_KEYWORDS,
   "send_nowait($self, data, *, channel=0, lane=0, ttl=None, lend=None)\n--\n\n"
   "Send a message; BlockingIOError if the outbox is full, and a Writable event follows." SEND_OPTIONS},
  {"_try", (PyCFunction)(void (*)(void))endpoint_try, METH_FASTCALL | METH_KEYWORDS, NULL},
  {"_closing", (PyCFunction)endpoint_closing, METH_O, NULL},
  {"_answered", (PyCFunction)endpoint_answered, METH_O, NULL},
  {NULL, NULL, 0, NULL}};
static PyGetSetDef getset[] = {
  {"_id", (getter)get_id, NULL, NULL, NULL},
  {"_code", (getter)get_code, NULL, NULL, NULL},
  {"_detail", (getter)get_detail, NULL, NULL, NULL},
  {"_rooms", (getter)get_rooms, NULL, NULL, NULL},
  {"_asked", (getter)get_asked, NULL, NULL, NULL},
  {"_inbox", (getter)get_inbox, NULL, NULL, NULL},
  {"_up", (getter)get_up, NULL, NULL, NULL},
  {"_own", (getter)get_own, NULL, NULL, NULL},
  {"_ended", (getter)get_ended, NULL, NULL, NULL},
  {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot slots[] = {
  {Py_tp_new, endpoint_new}, {Py_tp_dealloc, endpoint_dealloc}, {Py_tp_traverse, endpoint_traverse},
  {Py_tp_clear, endpoint_clear}, {Py_tp_finalize, endpoint_finalize}, {Py_tp_methods, methods},
  {Py_tp_getset, getset}, {0, NULL}};
static PyType_Spec spec = {"lyquor._lyquor.Endpoint", sizeof(Endpoint), 0,
  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

int endpoint_ready(PyObject *module) {
  int err = (endpoint_type = add_type(module, &spec)) ? 0 : -1;
  for (size_t i = 0; !err && i < sizeof sends / sizeof *sends; i++) {
    PyObject *method = PyDescr_NewMethod(endpoint_type, &sends[i]);
    err = method ? PyObject_SetAttrString((PyObject *)endpoint_type, sends_are[i], method) : -1;
    Py_XDECREF(method);
  }
  return err;
}
