/* Control calls: functions of the extension by the names of lyquor.h, for the classes in Python. */
#include "module.h"

static PyObject *done(int rc) {
  if (rc < 0) return fail(rc, 1);
  Py_RETURN_NONE;
}

static PyObject *driver_open(PyObject *Py_UNUSED(m), PyObject *args) {
  LYQ_DEFAULTS(lyq_driver_opt, o);
  PyObject *cpus = NULL;
  unsigned long long limit;
  int list[64], rc;
  lyq_driver d;
  if (!PyArg_ParseTuple(args, "IIIO!zK", &o.workers, &o.busy_poll_us, &o.flags, &PyTuple_Type, &cpus, &o.name, &limit))
    return NULL;
  o.memory_limit = limit;
  Py_ssize_t n = PyTuple_Size(cpus);
  for (Py_ssize_t i = 0; i < n && i < 64; i++) {
    list[i] = (int)PyLong_AsLong(PyTuple_GetItem(cpus, i));
    if (list[i] == -1 && PyErr_Occurred()) return NULL;
  }
  if (n) o.cpus = list;
  Py_BEGIN_ALLOW_THREADS
  rc = lyq_driver_open(&o, &d);
  Py_END_ALLOW_THREADS
  return rc < 0 ? fail(rc, 1) : PyLong_FromUnsignedLongLong(d.id);
}

/* (who, driver, address, worker, outbox, window, max_message, keepalive_ms, connect_ms, resume_ms, on_restart, ack,
 * inbox) */
static int parse_opening(PyObject *args, PyObject **who, lyq_driver *d, const char **address, lyq_endpoint_opt *o,
                         lyq_inbox *in) {
  unsigned long long driver, outbox, window, longest, inbox;
  if (!PyArg_ParseTuple(args, "OKsIKKKiiiIIK", who, &driver, address, &o->worker, &outbox, &window, &longest,
        &o->keepalive_ms, &o->connect_ms, &o->resume_ms, &o->on_restart, &o->ack, &inbox)) return -1;
  d->id = driver;
  in->id = inbox;
  o->outbox_bytes = outbox;
  o->window_bytes = window;
  o->max_message = longest;
  return 0;
}

static PyObject *listen_at(PyObject *Py_UNUSED(m), PyObject *args) {
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  lyq_driver d;
  lyq_listener l;
  const char *address;
  int rc;
  PyObject *none;
  if (parse_opening(args, &none, &d, &address, &o, &o.lobby) < 0) return NULL;
  Py_BEGIN_ALLOW_THREADS
  rc = lyq_listen(d, address, &o, &l);
  Py_END_ALLOW_THREADS
  return rc < 0 ? fail(rc, 1) : PyLong_FromUnsignedLongLong(l.id);
}

/* Makes an endpoint object, which has no handle yet, that of a new endpoint. The GIL is kept: no thread may hand out
 * its items before its inbox knows it. */
static PyObject *dial(PyObject *Py_UNUSED(m), PyObject *args) {
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  lyq_driver d;
  PyObject *who;
  const char *address;
  if (parse_opening(args, &who, &d, &address, &o, &o.inbox) < 0) return NULL;
  Endpoint *e = (Endpoint *)who;
  int rc = lyq_dial(d, address, &o, &e->h);
  if (rc < 0) return fail(rc, 1);
  if (!e->inbox->owner && inbox_adopt(e->inbox, e) < 0) return NULL;
  Py_RETURN_NONE;
}

static PyObject *inbox_open(PyObject *Py_UNUSED(m), PyObject *driver) {
  lyq_inbox in;
  unsigned long long id = PyLong_AsUnsignedLongLong(driver);
  if (PyErr_Occurred()) return NULL;
  int rc = lyq_inbox_open((lyq_driver){id}, &in);
  return rc < 0 ? fail(rc, 1) : PyLong_FromUnsignedLongLong(in.id);
}

static PyObject *inbox_bind(PyObject *Py_UNUSED(m), PyObject *args) {
  unsigned long long in, id;
  if (!PyArg_ParseTuple(args, "KK", &in, &id)) return NULL;
  return done(lyq_inbox_bind((lyq_inbox){in}, id, -1));
}

static PyObject *inbox_fd(PyObject *Py_UNUSED(m), PyObject *inbox) {
  unsigned long long id = PyLong_AsUnsignedLongLong(inbox);
  if (PyErr_Occurred()) return NULL;
  int fd = lyq_inbox_fd((lyq_inbox){id});
  return fd < 0 ? fail(fd, 0) : PyLong_FromLong(fd);
}

static PyObject *close_handle(PyObject *Py_UNUSED(m), PyObject *args) {
  unsigned long long id;
  int linger_ms, rc;
  if (!PyArg_ParseTuple(args, "Ki", &id, &linger_ms)) return NULL;
  rc = lyq_close(id, linger_ms);
  if (rc < 0) return fail(rc, 0);
  Py_RETURN_NONE;
}

/* wait(id, until, timeout): whether it is so by then. */
static PyObject *wait_until(PyObject *Py_UNUSED(m), PyObject *args) {
  unsigned long long id;
  int until, rc, ms;
  PyObject *timeout;
  int64_t deadline;
  if (!PyArg_ParseTuple(args, "KiO", &id, &until, &timeout) || !deadline_of(timeout, &deadline)) return NULL;
  do {
    ms = slice(deadline);
    Py_BEGIN_ALLOW_THREADS
    rc = lyq_wait(id, until, ms);
    Py_END_ALLOW_THREADS
    if (PyErr_CheckSignals() < 0) return NULL;
  } while ((rc == LYQ_ETIMEDOUT && ms > 0) || rc == LYQ_EINTR);
  loans_settle();   /* what is acknowledged, or closed, is the program's again */
  if (rc == LYQ_ETIMEDOUT) Py_RETURN_FALSE;
  if (rc < 0) return fail(rc, 0);
  Py_RETURN_TRUE;
}

/* poll(id, until): whether it is so. */
static PyObject *poll_until(PyObject *Py_UNUSED(m), PyObject *args) {
  unsigned long long id;
  int until;
  if (!PyArg_ParseTuple(args, "Ki", &id, &until)) return NULL;
  int rc = lyq_wait(id, until, 0);
  loans_settle();
  return rc < 0 && rc != LYQ_ETIMEDOUT ? fail(rc, 0) : PyBool_FromLong(rc == 0);
}

static PyObject *quiesce(PyObject *Py_UNUSED(m), PyObject *args) {
  unsigned long long id;
  PyObject *timeout;
  int64_t deadline;
  int rc, ms;
  if (!PyArg_ParseTuple(args, "KO", &id, &timeout) || !deadline_of(timeout, &deadline)) return NULL;
  do {
    ms = slice(deadline);
    Py_BEGIN_ALLOW_THREADS
    rc = lyq_quiesce(id, ms);
    Py_END_ALLOW_THREADS
    if (PyErr_CheckSignals() < 0) return NULL;
  } while ((rc == LYQ_ETIMEDOUT && ms > 0) || rc == LYQ_EINTR);
  if (rc < 0) return fail(rc, 0);
  Py_RETURN_NONE;
}

static PyObject *resume(PyObject *Py_UNUSED(m), PyObject *handle) {
  unsigned long long id = PyLong_AsUnsignedLongLong(handle);
  if (PyErr_Occurred()) return NULL;
  int rc = lyq_resume(id);
  if (rc < 0) return fail(rc, 0);
  Py_RETURN_NONE;
}

static PyObject *end(PyObject *Py_UNUSED(m), PyObject *handle) {
  unsigned long long id = PyLong_AsUnsignedLongLong(handle);
  if (PyErr_Occurred()) return NULL;
  int rc = lyq_end((lyq_endpoint){id});
  if (rc < 0) return fail(rc, 0);
  Py_RETURN_NONE;
}

PyObject *acknowledge(lyq_endpoint ep, lyq_tag tag, uint64_t id) {
  int rc = lyq_ack(ep, tag, id);
  if (rc == LYQ_EINVAL) return fail_with(rc, "only with manual_ack, and a message that was handed out");
  return rc < 0 ? fail(rc, 0) : Py_NewRef(Py_None);
}

static PyObject *ack(PyObject *Py_UNUSED(m), PyObject *args) {
  unsigned long long id, number;
  unsigned int lane;
  if (!PyArg_ParseTuple(args, "KIK", &id, &lane, &number)) return NULL;
  return acknowledge((lyq_endpoint){id}, LYQ_TAG(lane, 0), number);
}

static PyObject *set_worker(PyObject *Py_UNUSED(m), PyObject *args) {
  unsigned long long id;
  int worker;
  if (!PyArg_ParseTuple(args, "Ki", &id, &worker)) return NULL;
  return done(lyq_set_worker((lyq_endpoint){id}, worker));
}

static PyObject *switch_to(PyObject *Py_UNUSED(m), PyObject *args) {
  unsigned long long id;
  const char *address;
  if (!PyArg_ParseTuple(args, "Ks", &id, &address)) return NULL;
  return done(lyq_switch((lyq_endpoint){id}, address));
}

static PyObject *explain(PyObject *Py_UNUSED(m), PyObject *handle) {
  char text[4096];
  unsigned long long id = PyLong_AsUnsignedLongLong(handle);
  if (PyErr_Occurred()) return NULL;
  int n = lyq_explain(id, text, sizeof text);
  return n < 0 ? fail(n, 1) : PyUnicode_FromString(text);
}

static PyObject *address(PyObject *Py_UNUSED(m), PyObject *handle) {
  char text[1024];
  unsigned long long id = PyLong_AsUnsignedLongLong(handle);
  if (PyErr_Occurred()) return NULL;
  int n = lyq_address(id, text, sizeof text);
  return n < 0 ? fail(n, 1) : PyUnicode_FromStringAndSize(text, n);
}

enum { COUNTERS = 64 };
static PyObject *tuple_of(const uint64_t *c, int n) {
  if (n < 0) return fail(n, 1);
  if (n > COUNTERS) n = COUNTERS;
  PyObject *all = PyTuple_New(n);
  for (int i = 0; all && i < n; i++) {
    PyObject *one = PyLong_FromUnsignedLongLong(c[i]);
    if (!one || PyTuple_SetItem(all, i, one) < 0) Py_CLEAR(all);
  }
  return all;
}

static PyObject *counters(PyObject *Py_UNUSED(m), PyObject *handle) {
  uint64_t c[COUNTERS];
  unsigned long long id = PyLong_AsUnsignedLongLong(handle);
  return PyErr_Occurred() ? NULL : tuple_of(c, lyq_counters(id, c, COUNTERS));
}

static PyObject *worker_counters(PyObject *Py_UNUSED(m), PyObject *args) {
  uint64_t c[COUNTERS];
  unsigned long long id;
  unsigned int worker;
  if (!PyArg_ParseTuple(args, "KI", &id, &worker)) return NULL;
  return tuple_of(c, lyq_worker_counters((lyq_driver){id}, worker, c, COUNTERS));
}

static PyObject *process_counters(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
  uint64_t c[COUNTERS];
  return tuple_of(c, lyq_process_counters(c, COUNTERS));
}

static PyObject *now(PyObject *Py_UNUSED(m), PyObject *driver) {
  unsigned long long id = PyLong_AsUnsignedLongLong(driver);
  if (PyErr_Occurred()) return NULL;
  int64_t ns = lyq_now((lyq_driver){id});
  return ns < 0 ? fail((int)ns, 1) : PyLong_FromLongLong(ns);
}

static PyObject *timer_open(PyObject *Py_UNUSED(m), PyObject *args) {
  unsigned long long id, with;
  long long at;
  lyq_timer t;
  if (!PyArg_ParseTuple(args, "KKL", &id, &with, &at)) return NULL;
  int rc = lyq_timer_open((lyq_driver){id}, with, at, NULL, NULL, &t);
  return rc < 0 ? fail(rc, 1) : PyLong_FromUnsignedLongLong(t.id);
}

static PyObject *abi_version(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
  return PyLong_FromUnsignedLong(lyq_abi_version());
}

static PyObject *version(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
  return PyUnicode_FromString(lyq_version());
}

static PyObject *has(PyObject *Py_UNUSED(m), PyObject *args) {
  const char *what;
  return PyArg_ParseTuple(args, "s", &what) ? PyBool_FromLong(lyq_has(what)) : NULL;
}

static PyObject *error_text(PyObject *Py_UNUSED(m), PyObject *args) {
  int code;
  return PyArg_ParseTuple(args, "i", &code) ? PyUnicode_FromString(lyq_strerror(code)) : NULL;
}

static PyObject *in_child(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
  forked = 1;
  Py_RETURN_NONE;
}

static PyObject *settle(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
  loans_settle();
  Py_RETURN_NONE;
}

/* set_up(error_of, lanes): what the package makes in Python and the extension needs. */
static PyObject *set_up(PyObject *Py_UNUSED(m), PyObject *args) {
  PyObject *f, *l;
  if (!PyArg_ParseTuple(args, "OO!", &f, &PyTuple_Type, &l)) return NULL;
  Py_XDECREF(error_of);
  Py_XDECREF(lanes);
  error_of = Py_NewRef(f);
  lanes = Py_NewRef(l);
  Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
  {"driver_open", driver_open, METH_VARARGS, NULL}, {"listen", listen_at, METH_VARARGS, NULL},
  {"dial", dial, METH_VARARGS, NULL}, {"inbox_open", inbox_open, METH_O, NULL},
  {"inbox_bind", inbox_bind, METH_VARARGS, NULL}, {"inbox_fd", inbox_fd, METH_O, NULL},
  {"close", close_handle, METH_VARARGS, NULL}, {"wait", wait_until, METH_VARARGS, NULL},
  {"poll", poll_until, METH_VARARGS, NULL},
  {"quiesce", quiesce, METH_VARARGS, NULL}, {"resume", resume, METH_O, NULL}, {"end", end, METH_O, NULL},
  {"ack", ack, METH_VARARGS, NULL}, {"set_worker", set_worker, METH_VARARGS, NULL},
  {"switch", switch_to, METH_VARARGS, NULL}, {"explain", explain, METH_O, NULL},
  {"address", address, METH_O, NULL}, {"counters", counters, METH_O, NULL},
  {"worker_counters", worker_counters, METH_VARARGS, NULL},
  {"process_counters", process_counters, METH_NOARGS, NULL}, {"now", now, METH_O, NULL},
  {"timer_open", timer_open, METH_VARARGS, NULL}, {"abi_version", abi_version, METH_NOARGS, NULL},
  {"version", version, METH_NOARGS, NULL}, {"has", has, METH_VARARGS, NULL},
  {"strerror", error_text, METH_VARARGS, NULL}, {"in_child", in_child, METH_NOARGS, NULL},
  {"settle", settle, METH_NOARGS, NULL}, {"set_up", set_up, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};

int control_ready(PyObject *module) { return PyModule_AddFunctions(module, functions); }
