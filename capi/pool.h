/* The C twin of engine/arena's Pool: pieces of equal size on lock-free stacks. Layout and protocol are described there;
 * the assertions here and in engine/arena hold the two together. Every function may be called from any thread. */
#ifndef LYQ_POOL_H
#define LYQ_POOL_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct pool {
  uint64_t base;              /* address of piece 1 */
  uint64_t links;             /* address of the stacks' links, one uint32 a piece */
  uint32_t shift, count;
  char pad0[40];
  _Atomic uint64_t clean;     /* changes<<32 | index of the top */
  char pad1[56];
  _Atomic uint64_t dirty;
  char pad2[56];
  _Atomic uint64_t cold;
  char pad3[56];
  _Atomic uint32_t fresh;
  _Atomic int32_t in_use, colds;
  char pad4[52];
} pool;
_Static_assert(offsetof(pool, clean) == 64 && offsetof(pool, dirty) == 128 && offsetof(pool, cold) == 192 &&
  offsetof(pool, fresh) == 256 && sizeof(pool) == 320, "the layout of arena.Control");

static inline size_t pool_piece_size(const pool *p) { return (size_t)1 << p->shift; }
static inline char *pool_piece(const pool *p, uint32_t i) {
  return (char *)(uintptr_t)p->base + ((size_t)(i - 1) << p->shift);
}
static inline _Atomic uint32_t *pool_link(const pool *p, uint32_t i) {
  return (_Atomic uint32_t *)(uintptr_t)p->links + i;
}

static inline uint32_t pool_pop(pool *p, _Atomic uint64_t *stack) {
  uint64_t top = atomic_load(stack);
  while ((uint32_t)top != 0) {
    uint32_t next = atomic_load(pool_link(p, (uint32_t)top));
    if (atomic_compare_exchange_weak(stack, &top, ((top >> 32) + 1) << 32 | next)) return (uint32_t)top;
  }
  return 0;
}

static inline void pool_push(pool *p, _Atomic uint64_t *stack, uint32_t i) {
  uint64_t top = atomic_load(stack);
  do atomic_store(pool_link(p, i), (uint32_t)top);
  while (!atomic_compare_exchange_weak(stack, &top, ((top >> 32) + 1) << 32 | i));
}

static inline uint32_t pool_take_fresh(pool *p) {
  uint32_t n = atomic_load(&p->fresh);
  do if (n == p->count) return 0;
  while (!atomic_compare_exchange_weak(&p->fresh, &n, n + 1));
  return n + 1;
}

static inline uint32_t pool_pop_cold(pool *p) {
  uint32_t i = pool_pop(p, &p->cold);
  if (i) atomic_fetch_sub(&p->colds, 1);
  return i;
}

/* A zeroed piece, or 0. */
static inline uint32_t pool_take_clean(pool *p) {
  uint32_t i = pool_pop(p, &p->clean);
  if (!i) i = pool_pop_cold(p);
  if (!i) i = pool_take_fresh(p);
  if (!i && (i = pool_pop(p, &p->dirty)) != 0) memset(pool_piece(p, i), 0, pool_piece_size(p));
  if (i) atomic_fetch_add(&p->in_use, 1);
  return i;
}

/* A piece that may hold anything, or 0. */
static inline uint32_t pool_take_any(pool *p) {
  uint32_t i = pool_pop(p, &p->dirty);
  if (!i) i = pool_pop(p, &p->clean);
  if (!i) i = pool_pop_cold(p);
  if (!i) i = pool_take_fresh(p);
  if (i) atomic_fetch_add(&p->in_use, 1);
  return i;
}

static inline void pool_give_clean(pool *p, uint32_t i) { atomic_fetch_sub(&p->in_use, 1); pool_push(p, &p->clean, i); }
static inline void pool_give_dirty(pool *p, uint32_t i) { atomic_fetch_sub(&p->in_use, 1); pool_push(p, &p->dirty, i); }
#endif
