/* Inboxes, and the iterators that hand out what was pulled from them. */
#include "module.h"
#include <limits.h>
#include <structmember.h>
#include <time.h>

PyTypeObject *inbox_type, *iterator_type;

int64_t clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int deadline_of(PyObject *timeout, int64_t *deadline) {
  *deadline = FOR_EVER;
  if (!timeout || timeout == Py_None) return 1;
  double seconds = PyFloat_AsDouble(timeout);
  if (seconds == -1.0 && PyErr_Occurred()) return 0;
  if (!(seconds >= 0)) {
    PyErr_SetString(PyExc_ValueError, "a timeout is a number of seconds, 0 or more, or None to wait for ever");
    return 0;
  }
  if (seconds == 0) *deadline = 0;
  else if (seconds < 9e9) *deadline = clock_ns() + (int64_t)(seconds * 1e9);
  return 1;
}

int slice(int64_t deadline) {
  if (deadline == FOR_EVER) return SLICE_MS;
  int64_t left = (deadline - clock_ns() + 999999) / 1000000;
  return left <= 0 ? 0 : left < SLICE_MS ? (int)left : SLICE_MS;
}

/* ---- What was pulled. */

/* The endpoint of an item, borrowed; NULL if there is none (any more). */
static Endpoint *endpoint_of(Inbox *in, const lyq_msg *m) {
  if (!m->ep.id) return NULL;
  if (in->owner) return in->owner;
  if (in->last && in->last->h.id == m->ep.id) return in->last;
  PyObject *id = PyLong_FromUnsignedLongLong(m->ep.id);
  in->last = id ? (Endpoint *)PyDict_GetItemWithError(in->endpoints, id) : NULL;
  Py_XDECREF(id);
  return in->last;
}

/* Notes what an item says as soon as it is pulled. 0 if nobody need see it: what is known to be writable is, and
 * flush() sees what it asked for here. */
static int note(Inbox *in, const lyq_msg *m) {
  Endpoint *e = m->kind == LYQ_DATA ? NULL : endpoint_of(in, m);
  if (!e) return 1;
  unsigned bit = 1u << LYQ_LANE(m->tag), known = e->writable & bit;
  switch (m->kind) {
  case LYQ_UP: e->flags |= IS_UP; return 1;
  case LYQ_DOWN: e->flags &= ~(unsigned)IS_UP; return 1;
  case LYQ_CLOSED:
    e->flags = (e->flags & ~(unsigned)IS_UP) | IS_CLOSED;
    e->code = m->code;
    if (!(e->detail = PyBytes_FromStringAndSize((const char *)m->data, (Py_ssize_t)m->size))) PyErr_Clear();
    return 1;
  case LYQ_ACKED:
    e->answered++;
    if (m->code) e->vain = e->answered;
    return 0;
  case LYQ_WRITABLE: e->writable |= bit; e->rooms++; return !known;
  default: return 1;
  }
}

/* Makes room for another batch behind what is there. */
static int reserve(Inbox *in) {
  if (in->count == 0) in->head = 0;
  if (in->head + in->count + BATCH <= in->capacity) return 0;
  if (in->head >= in->capacity / 2 && in->capacity) {
    memmove(in->items, in->items + in->head, in->count * sizeof *in->items);
  } else {
    size_t capacity = in->capacity ? 2 * in->capacity : 2 * BATCH;
    lyq_msg *items = PyMem_Malloc(capacity * sizeof *items);
    if (!items) { PyErr_NoMemory(); return -1; }
    if (in->count) memcpy(items, in->items + in->head, in->count * sizeof *items);
    PyMem_Free(in->items);
    in->items = items;
    in->capacity = capacity;
  }
  in->head = 0;
  return 0;
}

/* Takes n items that lie behind those that are there. Coroutines that wait look again: the descriptor may not ring any
 * more for what they wait for. -1 with an exception. */
static int append(Inbox *in, int n) {
  lyq_msg *from = in->items + in->head + in->count, *to = from;
  for (int i = 0; i < n; i++)
    if (note(in, &from[i])) {
      if (to != &from[i]) *to = from[i];
      to++;
    } else {
      lyq_release(&from[i], 1);
    }
  in->count += (size_t)(to - from);
  if (!in->waits) return 0;
  PyObject *woken = PyObject_CallMethod((PyObject *)in, "_wake", NULL);
  Py_XDECREF(woken);
  return woken ? 0 : -1;
}

/* Pulls a batch without waiting. Returns a number of items, 0 if there are none, or a LYQ_E...; -100: an exception. */
enum { RAISED = -100 };
static int pull_now(Inbox *in) {
  if (in->waiting && !forked) return 0;   /* whoever waits gets them */
  if (reserve(in) < 0) return RAISED;
  int n = lyq_recv(in->h, in->items + in->head + in->count, BATCH, 0);
  if (n > 0 && append(in, n) < 0) return RAISED;
  if (n == LYQ_ECLOSED) in->closed = 1;
  return n == LYQ_EAGAIN ? 0 : n;
}

int inbox_pump(Inbox *in) {
  int n, all = 0;
  while ((n = pull_now(in)) > 0) all += n;
  if (n == RAISED) return -1;
  if (n < 0 && n != LYQ_ECLOSED) { fail(n, 0); return -1; }
  return all;
}

/* Waits for the right to wait for items. 1, 0 at the deadline, -1 with an exception. */
static int become_waiter(Inbox *in, int64_t deadline) {
  for (;;) {
    PyLockStatus got = PyThread_acquire_lock_timed(in->lock, 0, 0);
    if (got == PY_LOCK_ACQUIRED) return 1;
    int ms = slice(deadline);
    if (ms == 0) return 0;
    Py_BEGIN_ALLOW_THREADS
    got = PyThread_acquire_lock_timed(in->lock, (PY_TIMEOUT_T)ms * 1000, 1);
    Py_END_ALLOW_THREADS
    if (got == PY_LOCK_ACQUIRED) return 1;
    if (PyErr_CheckSignals() < 0) return -1;
  }
}

/* Whether nothing more is to be waited for: flags, IS_OVER or HAS_ENDED, of the only endpoint. */
static int finished(const Inbox *in, unsigned flags) { return in->owner && in->owner->flags & flags; }

/* Waits for items. As pull_now. */
static int pull_waiting(Inbox *in, int64_t deadline, unsigned flags) {
  lyq_msg got[BATCH];
  int n = 0;
  int turn = become_waiter(in, deadline);
  if (turn <= 0) return turn < 0 ? RAISED : 0;
  in->waiting = 1;
  while (in->count == 0 && !finished(in, flags)) {   /* else another thread was faster */
    int ms = slice(deadline);
    Py_BEGIN_ALLOW_THREADS
    n = lyq_recv(in->h, got, BATCH, ms);
    Py_END_ALLOW_THREADS
    if (n != LYQ_EINTR && n != LYQ_ETIMEDOUT && n != LYQ_EAGAIN) break;
    n = 0;
    if (PyErr_CheckSignals() < 0) { n = RAISED; break; }
    if (ms == 0) break;
  }
  in->waiting = 0;
  PyThread_release_lock(in->lock);
  if (n <= 0) return n;
  if (reserve(in) < 0) {
    lyq_release(got, (size_t)n);
    return RAISED;
  }
  memcpy(in->items + in->head + in->count, got, (size_t)n * sizeof *got);
  return append(in, n) < 0 ? RAISED : n;
}

/* Has at least one item there. 1; 0 if the deadline came, 2 if none will come, -1 with an exception. */
static int fill(Inbox *in, int64_t deadline, unsigned flags) {
  loans_settle();
  while (in->count == 0) {
    int n = pull_now(in);
    if (n == 0 && in->count == 0) {
      if (finished(in, flags)) return 2;
      if (deadline == 0) return 0;
      n = pull_waiting(in, deadline, flags);
      if (n == 0 && in->count == 0 && slice(deadline) == 0) return 0;
    }
    if (n == RAISED) return -1;
    if (n == LYQ_ECLOSED) return 2;
    if (n < 0) { fail(n, 0); return -1; }
  }
  return 1;
}

/* ---- Iterators. */

typedef struct {
  PyObject_HEAD
  Inbox *in;
  PyObject *endpoint;    /* of its own inbox, or NULL */
  Message *before;       /* the message that was handed out last, borrowed; see Message.place */
  int items;             /* hands out events, too */
  unsigned streak;       /* how many were handed out to coroutines without a pause */
} Iterator;

enum { NOTHING = 0, ITEM = 1, END = 2, ERROR = -1 };

static void let_go(Iterator *it) {
  Message *before = it->before;
  if (!before) return;
  before->place = NULL;
  it->before = NULL;
  message_consumed(before);
}

static PyObject *account_of(const lyq_msg *m) {
  lyq_lane_account a[4];
  if (lyq_account(m, a) < 0) return Py_NewRef(Py_None);
  PyObject *all = PyTuple_New(4);
  for (int i = 0; all && i < 4; i++) {
    PyObject *one = Py_BuildValue("(KKKKKK)", (unsigned long long)a[i].accepted, (unsigned long long)a[i].acknowledged,
      (unsigned long long)a[i].maybe_delivered, (unsigned long long)a[i].never_sent,
      (unsigned long long)a[i].received, (unsigned long long)a[i].withdrawn);
    if (!one || PyTuple_SetItem(all, i, one) < 0) Py_CLEAR(all);
  }
  return all;
}

/* The messages that nobody will acknowledge: a list of (lane, channel, id, maybe delivered, data). */
static PyObject *unacked_of(const lyq_msg *m) {
  PyObject *list = PyList_New(0);
  uint64_t cursor = m->token;
  lyq_msg left[BATCH];
  for (int n; list && (n = lyq_unacked(m->ep, &cursor, left, BATCH)) > 0;)
    for (int i = 0; list && i < n; i++) {
      PyObject *one = Py_BuildValue("(iiKNy#)", LYQ_LANE(left[i].tag), (int)LYQ_CHANNEL(left[i].tag),
        (unsigned long long)left[i].id, PyBool_FromLong(left[i].kind == LYQ_MAYBE_DELIVERED),
        left[i].size ? (const char *)left[i].data : "", (Py_ssize_t)left[i].size);
      if (!one || PyList_Append(list, one) < 0) Py_CLEAR(list);
      Py_XDECREF(one);
    }
  return list;
}

/* The event object of an item, made in Python: they are rare. None: nobody need hear of it. */
static PyObject *event_of(Inbox *in, const lyq_msg *m, PyObject *endpoint) {
  int counts = m->kind == LYQ_RESTARTED || m->kind == LYQ_CLOSED;
  PyObject *account = counts ? account_of(m) : Py_NewRef(Py_None);
  PyObject *unacked = counts && account ? unacked_of(m) : Py_NewRef(Py_None);
  PyObject *event = NULL;
  if (account && unacked)
    event = PyObject_CallMethod((PyObject *)in, "_event", "iiiKKOy#OO", (int)m->kind, (int)m->code, LYQ_LANE(m->tag),
      (unsigned long long)m->token, (unsigned long long)m->ep.id, endpoint ? endpoint : Py_None,
      m->size ? (const char *)m->data : "", (Py_ssize_t)m->size, account, unacked);
  Py_XDECREF(account);
  Py_XDECREF(unacked);
  return event;
}

/* Raises the exception that an event stands for, and keeps it if it is the endpoint's last one. */
static void raise_event(PyObject *event, Endpoint *e, int last) {
  PyObject *error = PyObject_GetAttrString(event, "error");
  if (!error) return;
  PyErr_SetObject((PyObject *)Py_TYPE(error), error);
  if (last && e) e->failure = Py_NewRef(error);
  Py_DECREF(error);
}

/* Hands out an event, or what it means to a loop over messages. */
static int event_step(Iterator *it, const lyq_msg *m, PyObject **out) {
  Inbox *in = it->in;
  Endpoint *e = endpoint_of(in, m);
  int own = in->owner != NULL, last = m->kind == LYQ_CLOSED, result = NOTHING;
  int told = m->kind == LYQ_RESTARTED || (last && m->code != 0);
  Py_XINCREF((PyObject *)e);
  if (e && m->kind == LYQ_WRITABLE) e->writable &= ~(1u << LYQ_LANE(m->tag));
  if (e && last) e->flags |= IS_OVER;
  if (e && m->kind == LYQ_ENDED) e->flags |= HAS_ENDED;
  if (e && m->kind == LYQ_RESTARTED) e->flags &= ~(unsigned)HAS_ENDED;
  if (it->items || told || m->kind == LYQ_ACCEPTED) {
    PyObject *event = event_of(in, m, (PyObject *)e);
    if (!event) result = ERROR;
    else if (event == Py_None) result = NOTHING;
    else if (it->items) result = ITEM, *out = Py_NewRef(event);
    else if (told) result = ERROR, raise_event(event, e, last);
    Py_XDECREF(event);
  } else if (own && (last || m->kind == LYQ_ENDED)) {
    result = END;
  }
  if (e && last && !own) {
    PyObject *id = PyLong_FromUnsignedLongLong(m->ep.id);
    if (!id || PyDict_DelItem(in->endpoints, id) < 0) PyErr_WriteUnraisable((PyObject *)in);
    Py_XDECREF(id);
    in->last = NULL;
  }
  Py_XDECREF((PyObject *)e);
  return result;
}

/* The next item. *out is one with ITEM. */
static int step(Iterator *it, int64_t deadline, PyObject **out) {
  Inbox *in = it->in;
  Endpoint *e = (Endpoint *)it->endpoint;
  let_go(it);
  for (;;) {
    if (e && e->flags & IS_OVER) {
      if (!e->failure || it->items) return END;
      PyErr_SetObject((PyObject *)Py_TYPE(e->failure), e->failure);
      return ERROR;
    }
    if (in->count == 0) {
      int got = fill(in, deadline, it->items ? IS_OVER : IS_OVER | HAS_ENDED);
      if (got == 2 && e && e->flags & IS_OVER) continue;
      if (got != 1) return got == 2 ? END : got;
    }
    lyq_msg m = in->items[in->head++];
    in->count--;
    if (m.kind == LYQ_DATA) {
      *out = message_new(&m, (PyObject *)endpoint_of(in, &m));
      if (!*out) return ERROR;
      if (it->before) it->before->place = NULL;   /* another thread was faster, and is at work on it */
      it->before = (Message *)*out;
      it->before->place = &it->before;
      return ITEM;
    }
    int result = event_step(it, &m, out);
    lyq_release(&m, 1);
    if (result != NOTHING) return result;
  }
}

static PyObject *iterator_next(Iterator *it) {
  PyObject *item = NULL;
  step(it, FOR_EVER, &item);   /* NULL without an exception ends a loop */
  return item;
}

/* next(timeout): the next item, or None at the end; TimeoutError. */
static PyObject *iterator_wait(Iterator *it, PyObject *timeout) {
  int64_t deadline;
  PyObject *item = NULL;
  if (!deadline_of(timeout, &deadline)) return NULL;
  int got = step(it, deadline, &item);
  if (got == NOTHING) return fail(LYQ_ETIMEDOUT, 0);
  return got == END ? Py_NewRef(Py_None) : item;
}

/* poll(): the next item, None if there is none now; StopAsyncIteration at the end. */
static PyObject *iterator_poll(Iterator *it, PyObject *Py_UNUSED(none)) {
  PyObject *item = NULL;
  int got = step(it, 0, &item);
  if (got == END) PyErr_SetNone(PyExc_StopAsyncIteration);
  return got == NOTHING ? Py_NewRef(Py_None) : item;
}

/* What is there is handed out at once; but other coroutines run, too, once a batch. */
static int begin_next(PyObject *self, PyObject *Py_UNUSED(arg), const manner *Py_UNUSED(how), PyObject **item) {
  Iterator *it = (Iterator *)self;
  int pause = it->streak++ >= BATCH;
  if (!pause) {
    int got = step(it, 0, item);
    if (got == ITEM) return DONE;
    if (got == END) PyErr_SetNone(PyExc_StopAsyncIteration);
    if (got != NOTHING) return FAILED;
  }
  it->streak = 0;
  *item = PyObject_CallMethod((PyObject *)it->in, "_next_later", "Oi", it, pause);
  return *item ? LATER : FAILED;
}

static PyObject *iterator_anext(PyObject *it) {
  return call_new("Iterator.__anext__", begin_next, it, NULL, (manner){0, 0, 0});
}

static PyObject *iterator_self(PyObject *self) { return Py_NewRef(self); }

static int iterator_traverse(Iterator *self, visitproc visit, void *arg) {
  Py_VISIT(TYPE(self));
  Py_VISIT(self->in);
  Py_VISIT(self->endpoint);
  return 0;
}

static int iterator_clear(Iterator *self) {
  if (self->before) self->before->place = NULL;
  self->before = NULL;
  Py_CLEAR(self->endpoint);
  return 0;
}

static void iterator_dealloc(Iterator *self) {
  PyTypeObject *type = TYPE(self);
  PyObject_GC_UnTrack(self);
  iterator_clear(self);
  Py_CLEAR(self->in);
  PyObject_GC_Del(self);
  Py_DECREF(type);
}

static PyMethodDef iterator_methods[] = {
  {"next", (PyCFunction)iterator_wait, METH_O, NULL},
  {"poll", (PyCFunction)iterator_poll, METH_NOARGS, NULL},
  {NULL, NULL, 0, NULL}};
static PyType_Slot iterator_slots[] = {
  {Py_tp_dealloc, iterator_dealloc}, {Py_tp_traverse, iterator_traverse}, {Py_tp_clear, iterator_clear},
  {Py_tp_iter, iterator_self}, {Py_tp_iternext, iterator_next}, {Py_am_aiter, iterator_self},
  {Py_am_anext, iterator_anext}, {Py_tp_methods, iterator_methods}, {0, NULL}};
static PyType_Spec iterator_spec = {"lyquor._lyquor.Iterator", sizeof(Iterator), 0,
  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, iterator_slots};

/* ---- Inboxes. */

static PyObject *inbox_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
  unsigned long long id;
  int shared;
  if (!PyArg_ParseTuple(args, "Kp", &id, &shared)) return NULL;
  Inbox *self = (Inbox *)PyType_GenericAlloc(type, 0);
  if (!self) return NULL;
  self->h.id = id;
  self->lock = PyThread_allocate_lock();
  if (shared) self->endpoints = PyDict_New();
  if (!self->lock || (shared && !self->endpoints)) {
    if (!PyErr_Occurred()) PyErr_NoMemory();
    Py_CLEAR(self);
  }
  return (PyObject *)self;
}

static int inbox_traverse(Inbox *self, visitproc visit, void *arg) {
  Py_VISIT(TYPE(self));
  Py_VISIT(self->endpoints);
  return 0;
}

static int inbox_clear(Inbox *self) {
  self->last = NULL;
  if (self->endpoints) PyDict_Clear(self->endpoints);
  return 0;
}

/* Its last reference is gone, so no thread is at work on items of it. */
static void inbox_dealloc(Inbox *self) {
  PyTypeObject *type = TYPE(self);
  PyObject_GC_UnTrack(self);
  self->last = NULL;
  if (self->count) lyq_discard(self->items + self->head, self->count);   /* which nobody has seen */
  if (self->h.id) lyq_close(self->h.id, 0);
  PyMem_Free(self->items);
  Py_CLEAR(self->endpoints);
  if (self->lock) PyThread_free_lock(self->lock);
  freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
  release(self);
  Py_DECREF(type);
}

static PyObject *iterator_of(Inbox *self, PyObject *args) {
  int items = 0;
  if (!PyArg_ParseTuple(args, "|p", &items)) return NULL;
  Iterator *it = (Iterator *)PyType_GenericAlloc(iterator_type, 0);
  if (!it) return NULL;
  it->in = (Inbox *)Py_NewRef((PyObject *)self);
  it->endpoint = self->owner ? Py_NewRef((PyObject *)self->owner) : NULL;
  it->items = items;
  return (PyObject *)it;
}

static PyObject *inbox_pump_method(Inbox *self, PyObject *Py_UNUSED(none)) {
  int n = inbox_pump(self);
  return n < 0 ? NULL : PyLong_FromLong(n);
}

int inbox_adopt(Inbox *in, Endpoint *e) {
  PyObject *id = PyLong_FromUnsignedLongLong(e->h.id);
  int err = id ? PyDict_SetItem(in->endpoints, id, (PyObject *)e) : -1;
  Py_XDECREF(id);
  return err;
}

static PyObject *inbox_adopt_method(Inbox *self, PyObject *endpoint) {
  if (inbox_adopt(self, (Endpoint *)endpoint) < 0) return NULL;
  Py_RETURN_NONE;
}

/* Takes back _adopt of an endpoint that could not be bound. */
static PyObject *inbox_disown(Inbox *self, PyObject *endpoint) {
  PyObject *id = PyLong_FromUnsignedLongLong(((Endpoint *)endpoint)->h.id);
  int err = id ? PyDict_DelItem(self->endpoints, id) : -1;
  Py_XDECREF(id);
  self->last = NULL;
  if (err < 0) return NULL;
  Py_RETURN_NONE;
}

static PyObject *get_pulled(Inbox *self, void *Py_UNUSED(c)) { return PyLong_FromSize_t(self->count); }
static PyObject *get_closed(Inbox *self, void *Py_UNUSED(c)) { return PyBool_FromLong(self->closed); }
static PyObject *get_id(Inbox *self, void *Py_UNUSED(c)) { return PyLong_FromUnsignedLongLong(self->h.id); }
static PyObject *get_endpoints(Inbox *self, void *Py_UNUSED(c)) {
  return self->endpoints ? PyDict_Values(self->endpoints) : PyList_New(0);
}

static PyMethodDef inbox_methods[] = {
  {"_iterator", (PyCFunction)iterator_of, METH_VARARGS, NULL},
  {"_pump", (PyCFunction)inbox_pump_method, METH_NOARGS, NULL},
  {"_adopt", (PyCFunction)inbox_adopt_method, METH_O, NULL},
  {"_disown", (PyCFunction)inbox_disown, METH_O, NULL},
  {NULL, NULL, 0, NULL}};
static PyGetSetDef inbox_getset[] = {
  {"_id", (getter)get_id, NULL, NULL, NULL},
  {"_pulled", (getter)get_pulled, NULL, NULL, NULL},
  {"_closed", (getter)get_closed, NULL, NULL, NULL},
  {"_endpoints", (getter)get_endpoints, NULL, NULL, NULL},
  {NULL, NULL, NULL, NULL, NULL}};
static PyMemberDef inbox_members[] = {{"_waits", T_INT, offsetof(Inbox, waits), 0, NULL}, {NULL, 0, 0, 0, NULL}};
static PyType_Slot inbox_slots[] = {
  {Py_tp_new, inbox_new}, {Py_tp_dealloc, inbox_dealloc}, {Py_tp_traverse, inbox_traverse},
  {Py_tp_clear, inbox_clear}, {Py_tp_methods, inbox_methods}, {Py_tp_getset, inbox_getset},
  {Py_tp_members, inbox_members}, {0, NULL}};
static PyType_Spec inbox_spec = {"lyquor._lyquor.Inbox", sizeof(Inbox), 0,
  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, inbox_slots};

int inbox_ready(PyObject *module) {
  inbox_type = add_type(module, &inbox_spec);
  iterator_type = add_type(module, &iterator_spec);
  return inbox_type && iterator_type ? 0 : -1;
}
