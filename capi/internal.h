/* What the C files of the library share. */
#ifndef LYQ_INTERNAL_H
#define LYQ_INTERNAL_H
#include "bridge.h"
#include "inbox.h"
#include <signal.h>

#define API __attribute__((visibility("default")))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#pragma GCC visibility push(hidden)

extern root *lyqi_root;        /* NULL until the first driver is opened */
extern office *lyqi_office;
extern _Atomic int lyqi_forked;
extern _Thread_local int lyqi_in_callback;
/* The endpoint whose callback runs on this thread: its worker looks at it next, so that nobody need ring. */
extern _Thread_local slot *lyqi_serving;

/* Where an item's data lies: lyq_msg.reserved[1]; reserved[0] is block | bytes << 32. */
enum {
  MEMORY_NONE, MEMORY_BORROWED, MEMORY_BLOCK, MEMORY_LONG, MEMORY_BORROWED_LONG, MEMORY_COPY,
  MEMORY_PULLED, MEMORY_PULLED_LONG   /* as BLOCK and LONG, of a message from an inbox: its release is marked */
};
#define RELEASED_BIT (1ull << 39)     /* driver.ReleasedBit: in the 8 bytes before a message's data */

/* See lyqi_drop_new. */
typedef struct dropper { _Atomic int64_t refs; lyq_fn fn; void *ctx; } dropper;

/* Messages that nobody will acknowledge; see unacked.c. */
typedef struct remains remains;

/* Memory of a long message, of a copy, or of an event's detail: the data follows, aligned to 64. */
typedef struct long_head {
  _Atomic int64_t refs;
  dropper *drop[2];
  size_t capacity;
  remains *remains;
  char pad[16];
  _Atomic uint64_t released;   /* RELEASED_BIT once the program has given a message from an inbox back */
} long_head;
_Static_assert(offsetof(long_head, released) == sizeof(long_head) - 8, "driver.ReleasedBit");

int lyqi_fail(int code, const char *text);           /* sets lyq_detail and returns the code */

/* The program is given an event with that data: from now on lyq_unacked finds its list. Returns the event's token. */
uint64_t lyqi_remains_enter(slot *s, const void *data);
void lyqi_remains_free(remains *r);

/* The slot of a handle that lives, or NULL with the error in *err. */
static inline slot *lyqi_slot(uint64_t id, uint32_t kind, int *err) {
  if (unlikely(atomic_load_explicit(&lyqi_forked, memory_order_relaxed))) { *err = LYQ_EFORKED; return NULL; }
  root *r = lyqi_root;
  slot *s = r ? slot_find(r, id, kind) : NULL;
  if (unlikely(!s)) { *err = LYQ_EHANDLE; return NULL; }
  if (unlikely(!slot_lives(s, id))) { *err = LYQ_ECLOSED; return NULL; }
  return s;
}

/* The same for control calls, to which what has ended is closed also while its slot waits for the last claim or
 * release. */
static inline slot *lyqi_live(uint64_t id, uint32_t kind, int *err) {
  slot *s = lyqi_slot(id, kind, err);
  if (s && atomic_load(&s->state) & STATE_CLOSED) { *err = LYQ_ECLOSED; return NULL; }
  return s;
}

/* Tells the worker of a slot that there is something to look at, unless that is what it does next anyway. */
static inline void lyqi_ring(slot *s) {
  if (s != lyqi_serving) slot_ring(lyqi_root, s);
}

/* Takes n off what keeps a slot's life going; whoever takes the last of it frees the slot. */
static inline void lyqi_unhold(slot *s, int64_t n) {
  if (atomic_fetch_sub(&s->held, n) == n) slot_free(lyqi_root, s);
}

/* Sleeps while *word is `seen`, until the deadline (0: for ever). 0 or LYQ_EINTR or LYQ_ETIMEDOUT. */
int lyqi_sleep(_Atomic uint32_t *word, uint32_t seen, int64_t deadline);
void lyqi_wake(_Atomic uint32_t *word);

/* Holds back SIGURG from this thread until the mask is set to *before again. */
void lyqi_hold_urgent(sigset_t *before);

#pragma GCC visibility pop
#endif
