/* The table's memory and the lives of its slots, as engine/outbox makes them. */
#include "log_stress.h"

#include <sys/eventfd.h>

static void *zeroed(size_t size) {
  size_t whole = (size + 4095) & ~(size_t)4095;
  void *mem = aligned_alloc(4096, whole);
  need(mem != NULL, "memory for the table");
  return memset(mem, 0, whole);
}

static void pool_open(pool *p, uint32_t shift, uint32_t count) {
  p->base = (uint64_t)(uintptr_t)zeroed((size_t)count << shift);
  p->links = (uint64_t)(uintptr_t)zeroed((count + 1) * sizeof(uint32_t));
  p->shift = shift;
  p->count = count;
}

static void pool_close(pool *p) {
  free((void *)(uintptr_t)p->base);
  free((void *)(uintptr_t)p->links);
}

void table_open(table *t, uint64_t seed, uint32_t shift) {
  memset(t, 0, sizeof *t);
  t->stage.root = &t->root;
  t->stage.seed = seed;
  pthread_mutex_init(&t->lives, NULL);
  t->slots = zeroed(SLOTS * sizeof(slot));
  t->bells = zeroed(WORKERS * sizeof(bell));
  t->budgets = zeroed(sizeof(budget));
  t->root.slots = (uint64_t)(uintptr_t)t->slots;
  t->root.bells = (uint64_t)(uintptr_t)t->bells;
  t->root.budgets = (uint64_t)(uintptr_t)t->budgets;
  t->root.slot_count = SLOTS;
  atomic_store(&t->root.slots_fresh, 1);
  pool_open(&t->root.chunks, shift, PIECES);
  pool_open(&t->root.blocks, shift, 1);
  pool_open(&t->root.directories, DIRECTORY_SHIFT, DIRECTORIES);
  /* Every lane may fill its bound; beyond that memory runs out, which has its own tests. */
  atomic_store(&t->budgets[0].limit, INT64_C(1) << 40);
  for (int i = 0; i < WORKERS; i++) atomic_store(&t->bells[i].fd, eventfd(0, EFD_CLOEXEC));
}

void table_close(table *t) {
  for (int i = 0; i < WORKERS; i++) close(atomic_load(&t->bells[i].fd));
  pool_close(&t->root.chunks);
  pool_close(&t->root.blocks);
  pool_close(&t->root.directories);
  free(t->slots);
  free(t->bells);
  free(t->budgets);
  pthread_mutex_destroy(&t->lives);
}

static uint32_t pop_slot(table *t) {
  uint64_t top = atomic_load(&t->root.slots_free);
  while ((uint32_t)top != 0) {
    uint32_t next = atomic_load(&slot_at(&t->root, (uint32_t)top)->free);
    if (atomic_compare_exchange_weak(&t->root.slots_free, &top, ((top >> 32) + 1) << 32 | next)) return (uint32_t)top;
  }
  uint32_t n = atomic_load(&t->root.slots_fresh);
  while (n < t->root.slot_count)
    if (atomic_compare_exchange_weak(&t->root.slots_fresh, &n, n + 1)) return n;
  return 0;
}

/* A free slot of which no notice is under way; the owner is set before the look. */
static slot *take_slot(table *t, uint32_t owner) {
  uint32_t aside[SLOTS], n = 0, i;
  slot *found = NULL;
  while (!found && (i = pop_slot(t)) != 0) {
    slot *s = slot_at(&t->root, i);
    atomic_store(&s->owner, owner);
    if (atomic_load(&s->scheduled) == 0) found = s;
    else aside[n++] = i;
  }
  while (n > 0) slot_free(&t->root, slot_at(&t->root, aside[--n]));
  return found;
}

slot *table_allocate(table *t, uint32_t owner, uint64_t limit) {
  pthread_mutex_lock(&t->lives);
  slot *s = take_slot(t, owner);
  pthread_mutex_unlock(&t->lives);
  if (!s) return NULL;
  uint64_t index = (uint64_t)(s - t->slots), generation = handle_generation(atomic_load(&s->id)) + 1;
  atomic_store(&s->id, generation << 32 | index);
  atomic_store(&s->want, 0);
  for (int i = 0; i < LANES; i++) {
    lane *l = &s->lanes[i];
    atomic_store(&l->head, 0);
    atomic_store(&l->head_seq, 0);
    atomic_store(&l->limit, (uint32_t)(limit / WORD));
    atomic_store(&l->tail, (generation & GEN_MASK) << GEN_SHIFT);
  }
  atomic_store(&s->id, (uint64_t)KIND_ENDPOINT << 56 | generation << 32 | index);
  return s;
}

void table_retire(table *t, slot *s) { slot_free(&t->root, s); }
