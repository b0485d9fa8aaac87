/* The library's log lines. They come on any of its threads, none of which may wait for the GIL: they are put into a
 * queue, from which a thread of Python's takes them. Lines that find no room are counted. */
#include "module.h"
#include <pthread.h>
#include <stdio.h>
#include <time.h>

enum { LINES = 256 };
typedef struct { int level; char id[48], text[464]; } line;

static struct {
  pthread_mutex_t lock;
  pthread_cond_t some;
  line lines[LINES];
  unsigned first, n;
  unsigned long long dropped;
  int stopped;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .some = PTHREAD_COND_INITIALIZER};

static void put(void *Py_UNUSED(ctx), int level, const char *id, const char *text) {
  pthread_mutex_lock(&queue.lock);
  if (queue.n == LINES) {
    queue.dropped++;
  } else {
    line *l = &queue.lines[(queue.first + queue.n++) % LINES];
    l->level = level;
    snprintf(l->id, sizeof l->id, "%s", id);
    snprintf(l->text, sizeof l->text, "%s", text);
  }
  pthread_cond_signal(&queue.some);
  pthread_mutex_unlock(&queue.lock);
}

/* log_take(): waits for lines: ([(level, id, text), ...], dropped); None once log_stop was called and all are taken. */
static PyObject *log_take(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
  static line taken[LINES];   /* of the one thread that calls this */
  unsigned n;
  unsigned long long dropped;
  int stopped;
  Py_BEGIN_ALLOW_THREADS
  pthread_mutex_lock(&queue.lock);
  while (!queue.n && !queue.stopped) pthread_cond_wait(&queue.some, &queue.lock);
  for (n = 0; n < queue.n; n++) taken[n] = queue.lines[(queue.first + n) % LINES];
  queue.first = (queue.first + n) % LINES;
  queue.n = 0;
  dropped = queue.dropped;
  queue.dropped = 0;
  stopped = queue.stopped;
  pthread_mutex_unlock(&queue.lock);
  Py_END_ALLOW_THREADS
  if (!n && stopped) Py_RETURN_NONE;
  PyObject *list = PyList_New(0);
  for (unsigned i = 0; list && i < n; i++) {
    PyObject *text = PyUnicode_DecodeUTF8(taken[i].text, (Py_ssize_t)strlen(taken[i].text), "replace");
    PyObject *one = text ? Py_BuildValue("(isN)", taken[i].level, taken[i].id, text) : NULL;
    if (!one || PyList_Append(list, one) < 0) Py_CLEAR(list);
    Py_XDECREF(one);
  }
  return list ? Py_BuildValue("(NK)", list, dropped) : NULL;
}

static PyObject *log_start(PyObject *Py_UNUSED(m), PyObject *args) {
  int level, rc;
  if (!PyArg_ParseTuple(args, "i", &level)) return NULL;
  Py_BEGIN_ALLOW_THREADS
  rc = lyq_set_logger(put, NULL, NULL, level);
  Py_END_ALLOW_THREADS
  if (rc < 0) return fail(rc, 1);
  Py_RETURN_NONE;
}

static PyObject *log_stop(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
  lyq_set_logger(NULL, NULL, NULL, 0);
  pthread_mutex_lock(&queue.lock);
  queue.stopped = 1;
  pthread_cond_broadcast(&queue.some);
  pthread_mutex_unlock(&queue.lock);
  Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
  {"log_take", log_take, METH_NOARGS, NULL}, {"log_start", log_start, METH_VARARGS, NULL},
  {"log_stop", log_stop, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};

int log_ready(PyObject *module) { return PyModule_AddFunctions(module, functions); }
