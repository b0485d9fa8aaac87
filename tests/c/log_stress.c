/* The stress of the send log in C: producers and consumers on a table with tiny chunks, many lanes, lanes that rest,
 * endpoints that close and slots that are used again. Every message is whole, in order, and arrives once or is counted
 * as unsent.
 *
 *   log_stress [SECONDS [SEED]]
 */
#include "log_stress.h"

#include <sched.h>

typedef struct producer {
  table *table;
  uint64_t number;
  dice dice;
  uint64_t ids[SLOTS];                   /* the life that each count below is of */
  uint64_t next[SLOTS][LANES];
} producer;

void broken(table *t, const char *format, ...) {
  char text[200];
  va_list args;
  if (atomic_exchange(&t->failed, 1)) return;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  ok(0, "%s", text);
}

/* Makes a message of words that look like the log's own entries. */
static void compose(producer *p, char *b, uint64_t size, uint64_t number, uint64_t id) {
  static const uint64_t kinds[] = {0, FRAME_MSG, FRAME_PAD, FRAME_REF, 2};
  uint64_t name = number << 8 | p->number, sum, at;
  for (at = 2 * WORD; at + WORD <= size; at += WORD) {
    uint64_t word = frame_header(roll(&p->dice, 200), kinds[roll(&p->dice, 5)], roll(&p->dice, LANES), 7);
    memcpy(b + at, &word, WORD);
  }
  memset(b + at, 0x70, size - at);
  memcpy(b, &name, WORD);
  memcpy(b + WORD, &id, WORD);
  sum = checksum(b, size - WORD);
  memcpy(b + size - WORD, &sum, WORD);
}

/* Publishes the first size bytes of an inline claim of room bytes; what is left over becomes padding. */
static void commit(table *t, _Atomic uint64_t *entry, uint64_t room, uint64_t size, int ln) {
  uint64_t had = words_of(room), used = words_of(size);
  if (had > used) {
    atomic_store(entry + used, frame_header((had - used - 1) * WORD, FRAME_PAD, (uint64_t)ln, 0));
    atomic_fetch_add_explicit(&t->padded, 1, memory_order_relaxed);
  }
  log_publish(entry, frame_header(size, FRAME_MSG, (uint64_t)ln, 7));
}

static int64_t send_inline(producer *p, slot *s, uint64_t handle, int ln, uint64_t size, uint64_t number) {
  table *t = p->table;
  uint64_t most = pool_piece_size(&t->root.chunks) / 4, room = size + roll(&p->dice, 40);
  _Atomic uint64_t *entry;
  if (room > most) room = most;
  int64_t id = log_claim(&t->root, s, handle, ln, room, &entry);
  if (id < 0) return id;
  if (roll(&p->dice, 50) == 0) sched_yield();   /* others overtake with their copies */
  compose(p, (char *)(entry + 1), size, number, (uint64_t)id);
  commit(t, entry, room, size, ln);
  return id;
}

static int64_t send_reference(producer *p, slot *s, uint64_t handle, int ln, uint64_t size, uint64_t number) {
  table *t = p->table;
  _Atomic int64_t *charged = &s->lanes[ln].charged;
  _Atomic uint64_t *entry;
  int64_t id = LOG_AGAIN;
  uint32_t piece = pool_take_any(&t->root.chunks);
  if (!piece) return LOG_AGAIN;
  char *b = pool_piece(&t->root.chunks, piece);
  if (!budget_charge(&t->root, 0, (int64_t)size)) goto refused;
  atomic_fetch_add(charged, (int64_t)size);
  id = log_claim(&t->root, s, handle, ln, sizeof(reference), &entry);
  if (id < 0) {
    atomic_fetch_sub(charged, (int64_t)size);
    budget_uncharge(&t->root, 0, (int64_t)size);
    goto refused;
  }
  compose(p, b, size, number, (uint64_t)id);
  reference ref = {(uint64_t)(uintptr_t)b, size, RELEASE_CHUNK, piece};
  memcpy((char *)(entry + 1), &ref, sizeof ref);
  log_publish(entry, frame_header(0, FRAME_REF, (uint64_t)ln, 7));
  atomic_fetch_add_explicit(&t->references, 1, memory_order_relaxed);
  return id;
refused:
  pool_give_dirty(&t->root.chunks, piece);
  return id;
}

static int64_t send_once(producer *p, slot *s, uint64_t handle, int ln, uint64_t size, uint64_t number) {
  uint64_t most = pool_piece_size(&p->table->root.chunks) / 4;
  int64_t id = size > most ? send_reference(p, s, handle, ln, size, number)
    : send_inline(p, s, handle, ln, size, number);
  if (id >= 0) slot_ring(&p->table->root, s);
  return id;
}

/* Waits for room as a thread of a program does: announce, try again, wait for the word to change. */
static int64_t send_wait(producer *p, slot *s, uint64_t handle, int ln, uint64_t size, uint64_t number) {
  table *t = p->table;
  int64_t id = send_once(p, s, handle, ln, size, number), until = now_ns() + PATIENCE_S * INT64_C(1000000000);
  uint32_t bit = (uint32_t)WANT_WAKE << ln;
  while (id == LOG_AGAIN && !atomic_load(&t->failed)) {
    uint32_t seen = atomic_load(&s->room);
    atomic_fetch_add_explicit(&t->refused, 1, memory_order_relaxed);
    if (!(atomic_fetch_or(&s->want, bit) & bit)) slot_ring(&t->root, s);
    if ((id = send_once(p, s, handle, ln, size, number)) != LOG_AGAIN) break;
    while (atomic_load(&s->room) == seen && !atomic_load(&t->failed)) {
      if (now_ns() > until) {
        broken(t, "producer %llu waits for room: a wake-up was lost", (unsigned long long)p->number);
        return LOG_CLOSED;
      }
      usleep(20);
    }
  }
  return id;
}

static void *producer_run(void *arg) {
  producer *p = arg;
  table *t = p->table;
  uint64_t accepted = 0;
  while (!atomic_load(&t->done) && !atomic_load(&t->failed)) {
    uint64_t handle = atomic_load(&t->handles[roll(&p->dice, PLACES)]);
    uint32_t i = (uint32_t)handle;
    if (!handle) { usleep(100); continue; }
    if (roll(&p->dice, 100) == 0) sched_yield();   /* the handle may grow stale */
    slot *s = slot_find(&t->root, handle, KIND_ENDPOINT);
    if (!s || !slot_lives(s, handle)) continue;
    if (p->ids[i] != handle) {
      p->ids[i] = handle;
      memset(p->next[i], 0, sizeof p->next[i]);
    }
    int ln = (int)roll(&p->dice, LANES);
    uint64_t most = pool_piece_size(&t->root.chunks), size = MESSAGE_MIN + roll(&p->dice, most / 4 - MESSAGE_MIN);
    if (most > MESSAGE_MAX) most = MESSAGE_MAX;
    if (roll(&p->dice, 16) == 0) size = MESSAGE_MIN + roll(&p->dice, most - MESSAGE_MIN);
    if (send_wait(p, s, handle, ln, size, p->next[i][ln]) >= 0) {
      p->next[i][ln]++;
      accepted++;
    }
  }
  atomic_fetch_add(&t->accepted, accepted);
  return NULL;
}

/* One run on a table of its own, with chunks of 1<<shift bytes. */
static void stress(uint64_t seed, uint32_t shift, double seconds) {
  static table t;
  static worker workers[WORKERS];
  static producer producers[PRODUCERS];
  pthread_t threads[WORKERS + PRODUCERS];
  table_open(&t, seed, shift);
  atomic_store(&t.alive, PLACES);
  memset(producers, 0, sizeof producers);
  for (uint32_t i = 0; i < WORKERS; i++) {
    worker_open(&workers[i], &t, i);
    need(pthread_create(&threads[i], NULL, worker_run, &workers[i]) == 0, "a thread");
  }
  for (uint64_t i = 0; i < PRODUCERS; i++) {
    producers[i].table = &t;
    producers[i].number = i;
    producers[i].dice.state = seed ^ (i + 100) * 0x9e3779b97f4a7c15u;
    need(pthread_create(&threads[WORKERS + i], NULL, producer_run, &producers[i]) == 0, "a thread");
  }
  int64_t begin = now_ns();
  while (now_ns() - begin < (int64_t)(seconds * 1e9) && !atomic_load(&t.failed)) usleep(10000);
  atomic_store(&t.done, 1);
  for (int i = WORKERS; i < WORKERS + PRODUCERS; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < WORKERS; i++) bell_wake(&t.bells[i]);
  for (int i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
  double took = (double)(now_ns() - begin) / 1e9;
  note("%.1f s: %.0f messages/s, %llu by reference, %llu claims cut, %llu refused, %llu rests, %llu lives", took,
    (double)t.accepted / took, (unsigned long long)t.references, (unsigned long long)t.padded,
    (unsigned long long)t.refused, (unsigned long long)t.slept, (unsigned long long)t.lives_ended);
  if (atomic_load(&t.failed)) return;
  int all = t.accepted > 0 && t.lives_ended > PLACES && t.slept > 0 && t.refused > 0 && t.padded > 0 && t.references > 0;
  ok(all, "chunks of %d bytes: everything was exercised", 1 << shift);
  is(t.arrived + t.unsent, t.accepted, "every message accepted arrived or is counted as unsent");
  is(t.root.chunks.in_use, 0, "all chunks came back");
  is(t.budgets[0].used, 0, "nothing is charged");
  int zero = 1;
  for (uint32_t i; (i = pool_pop(&t.root.chunks, &t.root.chunks.clean)) != 0;) {
    const char *b = pool_piece(&t.root.chunks, i);
    for (size_t k = 0; k < pool_piece_size(&t.root.chunks); k++) zero &= b[k] == 0;
  }
  ok(zero, "clean chunks are zero");
  table_close(&t);
}

int main(int argc, char **argv) {
  double seconds = argc > 1 ? atof(argv[1]) : 6;
  uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)now_ns();
  tap_begin();
  note("seed %llu", (unsigned long long)seed);
  if (!(seconds > 0 && seconds <= TAP_LIMIT_S - 10)) {
    ok(0, "the time to run is more than 0 and at most %d s", TAP_LIMIT_S - 10);
    return tap_end();
  }
  for (uint32_t shift = 9; shift <= 11; shift++) stress(seed + shift, shift, seconds / 3);
  return tap_end();
}
