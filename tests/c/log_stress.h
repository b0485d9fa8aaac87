/* What the parts of the send log's stress share: a table in memory of its own, and what its threads count.
 *
 * The program runs the C twin of the log (capi/log.h) against a consumer written here, so that ThreadSanitizer,
 * AddressSanitizer and an emulator of a weaker memory model see both sides. */
#ifndef LYQUOR_TEST_LOG_STRESS_H
#define LYQUOR_TEST_LOG_STRESS_H

#include "internal/logstress/producer.h"
#include "tap.h"

/* A large directory of 64 places spans BOUND_MOST chunks and one more. */
enum { WORKERS = 2, PIECES = 160, DIRECTORY_SHIFT = 8, DIRECTORIES = PLACES * LANES, BOUND_MOST = 24 };

typedef struct table {
  root root;
  slot *slots;
  bell *bells;
  budget *budgets;
  pthread_mutex_t lives;                 /* one life begins at a time */
  stage stage;
  _Atomic uint64_t arrived, withdrawn, unsent, lives_ended, rests, grown;
} table;

/* One lane as its worker knows it; see Reader in engine/outbox. */
typedef struct reader {
  slot *slot;
  int ln;
  uint64_t first, bound;                 /* words: what the lane's limit begins with, and what it may grow to */
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
slot *table_allocate(table *t, uint32_t owner, uint64_t limit);
void table_retire(table *t, slot *s);

void reader_open(reader *r, slot *s, int ln, uint64_t bound);
/* Reads some of what is published, checks it, and frees it now or later. Returns what it left. */
int reader_some(table *t, reader *r, dice *d, int most);
void reader_free(table *t, reader *r);
/* Doubles the lane's limit, up to its bound; see Reader.Grow. */
void reader_grow(table *t, reader *r);
void reader_rest(table *t, reader *r);
int reader_settled(table *t, reader *r);
uint64_t reader_drop(table *t, reader *r);
int reader_ready(const table *t, reader *r);
int reader_has_room(reader *r);

void worker_open(worker *w, table *t, uint32_t own);
void *worker_run(void *worker);

#endif
