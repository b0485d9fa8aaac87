/* What the files of the extension share. It is written for the limited API, so that one build serves every CPython
 * from 3.11 on; all of it runs with the GIL held, but where it waits, and but for what workers call (loans, log). */
#ifndef LYQUOR_PYTHON_H
#define LYQUOR_PYTHON_H
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <lyquor.h>

enum {
  BATCH = 64,               /* items pulled at once */
  LEND_ABOVE = 16 << 10,    /* bytes; what is shorter lies in the log: a copy costs less than to hear of its end */
  SLICE_MS = 200            /* a signal that comes just before a wait is noticed after that time */
};
#define TYPE(object) Py_TYPE((PyObject *)(object))
#define FOR_EVER INT64_MAX  /* as a deadline; 0: do not wait */

/* A message that was pulled. Its memory is the library's until it is released. */
typedef struct Message {
  PyObject_HEAD
  lyq_msg m;
  PyObject *endpoint;       /* may be NULL */
  struct Message **place;   /* where it is noted as the one that an iterator handed out last; or NULL */
  PyObject *bytes;          /* a copy of the data, once somebody asked for it */
  Py_ssize_t views;         /* buffers that are exported */
  char touched;             /* a view was given out */
  char released;
  char pending;             /* to be released with the last view */
} Message;

typedef struct Endpoint Endpoint;

/* An inbox, and the items that were pulled from it and not handed out yet: those from head on. */
typedef struct {
  PyObject_HEAD
  lyq_inbox h;
  lyq_msg *items;
  size_t head, count, capacity;
  PyThread_type_lock lock;  /* held by the thread that waits for items, so that they stay in order */
  int waiting;              /* some thread has it */
  int waits;                /* coroutines that wait for what is pulled */
  int closed;               /* the library's has no more, and will have none */
  Endpoint *owner;          /* whose own inbox this is, borrowed; NULL: of several endpoints */
  PyObject *endpoints;      /* of several: by id, until their last item is handed out */
  Endpoint *last;           /* that was looked up, borrowed */
} Inbox;

enum { IS_UP = 1, IS_CLOSED = 2, IS_OVER = 4, IS_CLOSING = 8, HAS_ENDED = 16 };
struct Endpoint {
  PyObject_HEAD
  lyq_endpoint h;
  Inbox *inbox;
  unsigned flags;           /* UP and CLOSED as pulled, OVER and ENDED when LYQ_CLOSED or LYQ_ENDED were handed out */
  unsigned writable;        /* lanes of which a LYQ_WRITABLE is among the items pulled */
  unsigned long long rooms; /* how many were pulled */
  unsigned long long asked, answered, vain;  /* lyq_flush, LYQ_ACKED that were pulled, the last that had LYQ_ERESET */
  Message *latest;          /* the message that was handed out last, borrowed */
  int code;                 /* of LYQ_CLOSED, once that was pulled */
  PyObject *detail;         /* its data, as bytes; or NULL */
  PyObject *failure;        /* the exception that LYQ_CLOSED stands for, or NULL */
};

extern PyTypeObject *message_type, *inbox_type, *iterator_type, *endpoint_type, *call_type;
extern PyObject *error_of;  /* error_of(code, detail) makes the exception of an error */
extern PyObject *lanes;     /* the members of Lane, by their numbers */
extern int forked;

int message_ready(PyObject *module), inbox_ready(PyObject *module), endpoint_ready(PyObject *module);
int call_ready(PyObject *module), control_ready(PyObject *module), log_ready(PyObject *module);
PyTypeObject *add_type(PyObject *module, PyType_Spec *spec);

/* Raises the exception of a code; NULL. entered: the call entered Go, so that lyq_detail is about it. */
PyObject *fail(int code, int entered);
PyObject *fail_with(int code, const char *detail);
int64_t clock_ns(void);
/* A deadline from a timeout in seconds, None for FOR_EVER; 0 with an exception. */
int deadline_of(PyObject *timeout, int64_t *deadline);
/* Milliseconds of the next slice of a wait; 0 once the deadline is over. */
int slice(int64_t deadline);

/* lyq_ack. */
PyObject *acknowledge(lyq_endpoint ep, lyq_tag tag, uint64_t id);
/* A message object that takes the item over; NULL with an exception, and the item released. */
PyObject *message_new(const lyq_msg *m, PyObject *endpoint);
/* Releases a message that the program is done with. Whoever still refers to it may read its data later. */
void message_consumed(Message *msg);

/* Pulls all that is there, without waiting and without handing it out. -1 with an exception. */
int inbox_pump(Inbox *in);
/* Has an inbox of several endpoints know one. -1 with an exception. */
int inbox_adopt(Inbox *in, Endpoint *e);

/* How a message is to be sent. */
typedef struct {
  lyq_tag tag;
  int ttl_ms;               /* 0: for ever */
  int lend;                 /* 1: also what may be changed; 0: nothing; -1: what cannot be changed, if it is long */
} manner;
/* Begins an asynchronous call. DONE: *value is its result; LATER: the coroutine that goes on with it; FAILED: an
 * exception. */
enum { FAILED = -1, LATER = 0, DONE = 1 };
typedef int (*begin_fn)(PyObject *self, PyObject *arg, const manner *how, PyObject **value);
/* A coroutine that begins that way once it is awaited. name is for who forgets to. arg may be NULL. */
PyObject *call_new(const char *name, begin_fn begin, PyObject *self, PyObject *arg, manner how);

/* Gives lent buffers back that workers are done with. */
void loans_settle(void);
#endif
