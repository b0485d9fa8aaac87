/* What the parts of the send log's stress share: a table in memory of its own, and what its threads count.
 *
 * The program runs the C twin of the log (capi/log.h) against a consumer written here, so that ThreadSanitizer,
 * AddressSanitizer and an emulator of a weaker memory model see both sides. */
#ifndef LYQUOR_TEST_LOG_STRESS_H
#define LYQUOR_TEST_LOG_STRESS_H

#include "log.h"
#include "tap.h"

enum {
  PRODUCERS = 4,
  WORKERS = 2,
  PLACES = 5,           /* endpoints that live at once */
  SLOTS = 64,
  PIECES = 48,
  MESSAGE_MIN = 32,        /* of a message: number, id, a word, checksum */
  MESSAGE_MAX = 1500,
  PATIENCE_S = 20       /* bound on everything that is due at once; reaching it is a lost wake-up */
};

/* xorshift64*: each thread has one, so that a seed says what each of them draws. */
typedef struct dice { uint64_t state; } dice;

static inline uint64_t roll(dice *d, uint64_t n) {
  d->state ^= d->state >> 12;
  d->state ^= d->state << 25;
  d->state ^= d->state >> 27;
  return (d->state * 2685821657736338717u >> 32) % n;
}

typedef struct table {
  root root;
  slot *slots;
  bell *bells;
  budget *budgets;
  pthread_mutex_t lives;                 /* one life begins at a time */
  _Atomic uint64_t handles[PLACES];      /* of the present lives */
  _Atomic int alive, done, failed;
  _Atomic uint64_t accepted, arrived, unsent, lives_ended, refused, slept, padded, references;
  uint64_t seed;
} table;

/* One lane as its worker knows it; see Reader in engine/outbox. */
typedef struct reader {
  slot *slot;
  int ln;
  uint64_t freed, sent, taken;
  uint64_t next[PRODUCERS];              /* number of the message that is due from each producer */
} reader;

typedef struct endpoint {
  uint64_t id;
  int place, closing, again;
  reader readers[LANES];
} endpoint;

typedef struct worker {
  table *table;
  uint32_t own;
  int event;
  dice dice;
  endpoint endpoints[PLACES];
  int count;
} worker;

void table_open(table *t, uint64_t seed, uint32_t shift);
void table_close(table *t);
/* Begins a life with an owner, at a place; returns its slot, or NULL while none is free. */
slot *table_allocate(table *t, uint32_t owner, uint64_t bound);
void table_retire(table *t, slot *s);

void reader_open(reader *r, slot *s, int ln);
/* Reads some of what is published, checks it, and frees it now or later. Returns what it left. */
int reader_some(table *t, reader *r, dice *d, int most);
void reader_free(table *t, reader *r);
void reader_rest(table *t, reader *r);
int reader_settled(table *t, reader *r);
uint64_t reader_drop(table *t, reader *r);
int reader_ready(const table *t, reader *r);
int reader_has_room(reader *r);

void worker_open(worker *w, table *t, uint32_t own);
void *worker_run(void *worker);

/* Reports once what went wrong; every thread then ends soon. It stands beside main: each source has counts of its own. */
__attribute__((format(printf, 2, 3))) void broken(table *t, const char *format, ...);

/* FNV-1a over words: enough to see the bytes of another message. */
static inline uint64_t checksum(const char *b, uint64_t size) {
  uint64_t h = 14695981039346656037u, word;
  for (; size >= WORD; size -= WORD, b += WORD) {
    memcpy(&word, b, WORD);
    h = (h ^ word) * 1099511628211u;
  }
  for (; size > 0; size--, b++) h = (h ^ (unsigned char)*b) * 1099511628211u;
  return h;
}

#endif
