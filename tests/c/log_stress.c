/* The stress of the send log in C: producers and consumers on a table with tiny chunks, many lanes, lanes that rest,
 * endpoints that close and slots that are used again. Every message is whole, in order, and arrives once or is counted
 * as withdrawn or unsent.
 *
 *   log_stress [SECONDS [SEED]]
 */
#include "log_stress.h"

/* Whether all that a run is for has happened. */
static int exercised(table *t) {
  stage *x = &t->stage;
  return x->references && x->padded && x->refused && t->withdrawn && t->rests && t->grown && t->lives_ended > PLACES;
}

/* One run on a table of its own, with chunks of 1<<shift bytes. */
static void stress(uint64_t seed, uint32_t shift, double seconds) {
  static table t;
  static worker workers[WORKERS];
  static producer producers[PRODUCERS];
  pthread_t threads[WORKERS];
  stage *x = &t.stage;
  table_open(&t, seed, shift);
  for (uint32_t i = 0; i < WORKERS; i++) {
    worker_open(&workers[i], &t, i);
    need(pthread_create(&threads[i], NULL, worker_run, &workers[i]) == 0, "a thread");
  }
  for (uint64_t i = 0; i < PRODUCERS; i++) need(producer_start(&producers[i], x, i) == 0, "a thread");
  int64_t begin = now_ns();
  /* On a slow machine longer, until everything has happened; the program's watchdog bounds that. */
  while (!atomic_load(&x->failed) && (now_ns() - begin < (int64_t)(seconds * 1e9) || !exercised(&t))) usleep(10000);
  atomic_store(&x->done, 1);
  for (int i = 0; i < PRODUCERS; i++) pthread_join(producers[i].thread, NULL);
  for (int i = 0; i < WORKERS; i++) bell_wake(&t.bells[i]);
  for (int i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
  double took = (double)(now_ns() - begin) / 1e9;
  note("%.1f s: %.0f messages/s, %llu by reference, %llu withdrawn, %llu claims cut, %llu refused", took,
    (double)x->accepted / took, (unsigned long long)x->references, (unsigned long long)t.withdrawn,
    (unsigned long long)x->padded, (unsigned long long)x->refused);
  note("%llu rests, %llu grown, %llu lives", (unsigned long long)t.rests, (unsigned long long)t.grown,
    (unsigned long long)t.lives_ended);
  if (!ok(!atomic_load(&x->failed), "chunks of %d bytes: whole, in order, and nobody waits in vain", 1 << shift)) {
    note("%s", x->error);
    return;
  }
  is(t.arrived + t.withdrawn + t.unsent, x->accepted, "every message accepted arrived or is counted");
  is(t.root.chunks.in_use, 0, "all chunks came back");
  is(t.root.directories.in_use, 0, "all large directories came back");
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
