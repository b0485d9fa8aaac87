#include "stress.h"

run *run_start(root *r, uint64_t seed) {
  run *x = calloc(1, sizeof *x);
  if (!x) return NULL;
  x->stage.root = r;
  x->stage.seed = seed;
  for (uint64_t i = 0; i < PRODUCERS; i++) {
    if (producer_start(&x->producers[i], &x->stage, i) == 0) continue;
    atomic_store(&x->stage.done, 1);
    while (i-- > 0) pthread_join(x->producers[i].thread, NULL);
    free(x);
    return NULL;
  }
  return x;
}

void run_stop(run *x) {
  atomic_store(&x->stage.done, 1);
  for (int i = 0; i < PRODUCERS; i++) pthread_join(x->producers[i].thread, NULL);
}

void flood(root *r, uint64_t handle, uint64_t size, uint64_t n) {
  slot *s = slot_find(r, handle, KIND_ENDPOINT);
  char message[MESSAGE_MAX] = {0};
  while (n > 0) {
    _Atomic uint64_t *entry;
    if (log_claim(r, s, handle, 0, size, &entry) < 0) { sched_yield(); continue; }
    memcpy((void *)(entry + 1), message, size);
    log_publish(entry, frame_header(size, FRAME_MSG, 0, CHANNEL));
    slot_ring(r, s);
    n--;
  }
}

void free_slot(root *r, uint64_t handle) { slot_free(r, slot_find(r, handle, 0)); }

uint64_t sum(const char *b, uint64_t size) { return checksum(b, size); }
