/* Producers of the send log's stress: threads in C that send numbered, checksummed messages to whatever endpoints live.
 * They meet a consumer in Go in this package's test, and one in C in tests/c/log_stress.c. */
#ifndef LYQ_LOGSTRESS_PRODUCER_H
#define LYQ_LOGSTRESS_PRODUCER_H

#include "log.h"

#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
  PRODUCERS = 4,
  PLACES = 5,           /* endpoints that live at once */
  SLOTS = 64,
  CHANNEL = 7,
  MESSAGE_MIN = 32,     /* bytes: number, id, a word, checksum */
  MESSAGE_MAX = 1500,
  PATIENCE_S = 20       /* bound on everything that is due at once; reaching it is a lost wake-up */
};

/* What producers and consumer share beside the table. */
typedef struct stage {
  root *root;
  uint64_t seed;
  _Atomic uint64_t handles[PLACES];      /* of the present lives; 0: not yet */
  _Atomic int done, failed;
  _Atomic uint64_t accepted, refused, padded, references;
  char error[200];                       /* of the first failure; good once the threads have ended */
} stage;

/* xorshift64*: each thread has one, so that a seed says what each of them draws. */
typedef struct dice { uint64_t state; } dice;

typedef struct producer {
  stage *stage;
  uint64_t number;
  dice dice;
  uint64_t ids[SLOTS];                   /* the life that each count below is of */
  uint64_t next[SLOTS][LANES];
  pthread_t thread;
} producer;

static inline uint64_t roll(dice *d, uint64_t n) {
  d->state ^= d->state >> 12;
  d->state ^= d->state << 25;
  d->state ^= d->state >> 27;
  return (d->state * 2685821657736338717u >> 32) % n;
}

static inline int64_t clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

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

/* Notes the first thing that went wrong; every thread then ends soon. */
__attribute__((format(printf, 2, 3)))
static inline void broken(stage *x, const char *format, ...) {
  va_list args;
  if (atomic_exchange(&x->failed, 1)) return;
  va_start(args, format);
  vsnprintf(x->error, sizeof x->error, format, args);
  va_end(args);
}

/* Makes a message of words that look like the log's own entries. */
static inline void compose(producer *p, char *b, uint64_t size, uint64_t number, uint64_t id) {
  static const uint64_t kinds[] = {0, FRAME_MSG, FRAME_PAD, FRAME_REF, 2, FRAME_TIMED, FRAME_WITHDRAWN};
  uint64_t name = number << 8 | p->number, sum, at;
  for (at = 2 * WORD; at + WORD <= size; at += WORD) {
    uint64_t word = frame_header(roll(&p->dice, 200), kinds[roll(&p->dice, 7)], roll(&p->dice, LANES), CHANNEL);
    memcpy(b + at, &word, WORD);
  }
  memset(b + at, FRAME_PAD, size - at);
  memcpy(b, &name, WORD);
  memcpy(b + WORD, &id, WORD);
  sum = checksum(b, size - WORD);
  memcpy(b + size - WORD, &sum, WORD);
}

/* Draws until when a message may begin to be sent: mostly for ever, and at times it is late at 1. */
static inline int64_t roll_until(producer *p) {
  return roll(&p->dice, 4) ? 0 : 1 + (int64_t)roll(&p->dice, 2);
}

/* Publishes the first size bytes of an inline claim of room bytes; what is left over becomes padding. */
static inline void commit(stage *x, _Atomic uint64_t *entry, uint64_t room, uint64_t size, uint64_t ln, int64_t until) {
  uint64_t had = words_of(room), used = words_of(size);
  if (had > used) {
    atomic_store(entry + used, frame_header((had - used - 1) * WORD, FRAME_PAD, ln, 0));
    atomic_fetch_add_explicit(&x->padded, 1, memory_order_relaxed);
  }
  log_publish_until(entry, frame_header(size, FRAME_MSG, ln, CHANNEL), until);
}

static inline int64_t send_inline(producer *p, slot *s, uint64_t handle, int ln, uint64_t size, uint64_t number) {
  stage *x = p->stage;
  uint64_t most = pool_piece_size(&x->root->chunks) / 4, room = size + roll(&p->dice, 40);
  _Atomic uint64_t *entry;
  if (room > most) room = most;
  int64_t until = roll_until(p), id = log_claim_until(x->root, s, handle, ln, room, until, &entry);
  if (id < 0) return id;
  if (roll(&p->dice, 50) == 0) sched_yield();   /* others overtake with their copies */
  compose(p, (char *)(entry + 1), size, number, (uint64_t)id);
  commit(x, entry, room, size, (uint64_t)ln, until);
  return id;
}

static inline int64_t send_reference(producer *p, slot *s, uint64_t handle, int ln, uint64_t size, uint64_t number) {
  stage *x = p->stage;
  root *r = x->root;
  if (!log_takes(s, handle, ln)) return LOG_CLOSED;
  uint32_t purse = atomic_load(&s->budget), piece = pool_take_any(&r->chunks);
  if (!piece) return LOG_AGAIN;
  char *b = pool_piece(&r->chunks, piece);
  reference ref = {(uint64_t)(uintptr_t)b, size, RELEASE_CHUNK, piece};
  int64_t id = LOG_AGAIN, until = roll_until(p), takes = reference_takes(r, &ref);
  if (budget_charge(r, purse, takes)) {
    _Atomic uint64_t *entry;
    atomic_fetch_add(&s->lanes[ln].charged, (int64_t)size);
    id = log_claim_until(r, s, handle, ln, sizeof(reference), until, &entry);
    if (id >= 0) {
      compose(p, b, size, number, (uint64_t)id);
      memcpy((char *)(entry + 1), &ref, sizeof ref);
      log_publish_until(entry, frame_header(0, FRAME_REF, (uint64_t)ln, CHANNEL), until);
      atomic_fetch_add_explicit(&x->references, 1, memory_order_relaxed);
      return id;
    }
    atomic_fetch_sub(&s->lanes[ln].charged, (int64_t)size);
    budget_uncharge(r, purse, takes);
  }
  pool_give_dirty(&r->chunks, piece);
  return id;
}

static inline int64_t send_once(producer *p, slot *s, uint64_t handle, int ln, uint64_t size, uint64_t number) {
  uint64_t most = pool_piece_size(&p->stage->root->chunks) / 4;
  int64_t id = size > most ? send_reference(p, s, handle, ln, size, number)
    : send_inline(p, s, handle, ln, size, number);
  if (id >= 0) slot_ring(p->stage->root, s);
  return id;
}

/* Waits for room as a thread of a program does: announce, try again, wait for the word to change. */
static inline int64_t send_wait(producer *p, slot *s, uint64_t handle, int ln, uint64_t size, uint64_t number) {
  stage *x = p->stage;
  int64_t id = send_once(p, s, handle, ln, size, number), until = clock_ns() + PATIENCE_S * INT64_C(1000000000);
  uint32_t bit = (uint32_t)WANT_WAKE << ln;
  while (id == LOG_AGAIN && !atomic_load(&x->failed)) {
    uint32_t seen = atomic_load(&s->room);
    atomic_fetch_add_explicit(&x->refused, 1, memory_order_relaxed);
    if (!(atomic_fetch_or(&s->want, bit) & bit)) slot_ring(x->root, s);
    if ((id = send_once(p, s, handle, ln, size, number)) != LOG_AGAIN) break;
    while (atomic_load(&s->room) == seen && !atomic_load(&x->failed)) {
      if (clock_ns() > until) {
        broken(x, "producer %d waits for room in lane %d: a wake-up was lost", (int)p->number, ln);
        return LOG_CLOSED;
      }
      usleep(20);
    }
  }
  return id;
}

/* Sends to a random endpoint and lane; returns whether the message was accepted. */
static inline int producer_step(producer *p) {
  stage *x = p->stage;
  uint64_t handle = atomic_load(&x->handles[roll(&p->dice, PLACES)]);
  if (!handle) return usleep(100), 0;
  if (roll(&p->dice, 100) == 0) sched_yield();   /* the handle may grow stale */
  slot *s = slot_find(x->root, handle, KIND_ENDPOINT);
  if (!s || !slot_lives(s, handle)) return 0;
  uint32_t i = (uint32_t)handle;
  if (p->ids[i] != handle) {
    p->ids[i] = handle;
    memset(p->next[i], 0, sizeof p->next[i]);
  }
  int ln = (int)roll(&p->dice, LANES);
  uint64_t most = pool_piece_size(&x->root->chunks), size = MESSAGE_MIN + roll(&p->dice, most / 4 - MESSAGE_MIN);
  if (most > MESSAGE_MAX) most = MESSAGE_MAX;
  if (roll(&p->dice, 16) == 0) size = MESSAGE_MIN + roll(&p->dice, most - MESSAGE_MIN);
  if (send_wait(p, s, handle, ln, size, p->next[i][ln]) < 0) return 0;
  p->next[i][ln]++;
  return 1;
}

static inline void *producer_run(void *arg) {
  producer *p = arg;
  uint64_t accepted = 0;
  while (!atomic_load(&p->stage->done) && !atomic_load(&p->stage->failed)) accepted += (uint64_t)producer_step(p);
  atomic_fetch_add(&p->stage->accepted, accepted);
  return NULL;
}

/* Starts a producer's thread; returns 0, or an errno. */
static inline int producer_start(producer *p, stage *x, uint64_t number) {
  memset(p, 0, sizeof *p);
  p->stage = x;
  p->number = number;
  p->dice.state = x->seed ^ (number + 100) * 0x9e3779b97f4a7c15u;
  return pthread_create(&p->thread, NULL, producer_run, p);
}

#endif
