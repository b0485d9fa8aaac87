/* The C twin of engine/outbox: slots, bells and the claiming side of the send log. engine/outbox/doc.go describes the
 * protocol; names here follow the Go side. Every function may be called from any thread; none waits. */
#ifndef LYQ_LOG_H
#define LYQ_LOG_H
#include "pool.h"
#include <unistd.h>

enum { LANES = 4, INLINE_PIECES = 8, WORD = 8 };
enum { POS_BITS = 26, SEQ_BITS = 25, GEN_BITS = 12 };
#define POS_MASK ((1ull << POS_BITS) - 1)
#define SEQ_MASK ((1ull << SEQ_BITS) - 1)
#define SEQ_ONE (1ull << POS_BITS)
#define CLOSED_BIT (1ull << (POS_BITS + SEQ_BITS))
#define GEN_SHIFT (POS_BITS + SEQ_BITS + 1)
#define GEN_MASK ((1u << GEN_BITS) - 1)
#define MAX_INLINE (16u << 10)

enum { KIND_DRIVER = 1, KIND_LISTENER, KIND_ENDPOINT, KIND_INBOX, KIND_TIMER };
enum { STATE_UP = 1, STATE_ENDED = 2, STATE_CLOSED = 4, STATE_SLEEPS = 8 };
enum { COMMAND_CLOSE = 1, COMMAND_END = 2, COMMAND_RESUME = 4, COMMAND_READ = 8 };
enum { WANT_EVENT = 1 << 0, WANT_WAKE = 1 << 4, WANT_CALL = 1 << 8 };   /* shifted by the lane */
enum { FRAME_MSG = 1, FRAME_PAD = 0x70, FRAME_REF = 0x71 };
enum { RELEASE_NOTHING, RELEASE_CHUNK, RELEASE_BLOCK, RELEASE_HELD, RELEASE_FREE, RELEASE_CALL };

typedef struct lane {
  _Atomic uint64_t tail;       /* generation | closed | messages claimed | words claimed */
  char pad[56];
  _Atomic uint64_t head, head_seq;
  _Atomic int64_t charged;
  uint32_t limit, mask;
  _Atomic uint32_t inline_pieces[INLINE_PIECES];
} lane;

typedef struct slot {
  _Atomic uint64_t id, context, max_message;
  _Atomic uint32_t state, command;
  _Atomic int32_t linger;
  uint32_t budget, directory;
  _Atomic uint32_t inbox;
  _Atomic int32_t reason;
  char pad0[12];
  _Atomic uint32_t room, want, scheduled, owner, next, paused;
  uint32_t window;
  char pad1[4];
  _Atomic int64_t held;
  char pad2[24];
  lane lanes[LANES];
} slot;

typedef struct bell {
  _Atomic uint64_t stack;
  char pad0[56];
  _Atomic uint32_t state;      /* 0 awake, 1 sleeping */
  _Atomic int32_t fd;
  _Atomic uint64_t rung;
  char pad1[48];
} bell;

typedef struct budget {
  _Atomic int64_t limit, used;
  _Atomic uint32_t starved;
  char pad[44];
} budget;

typedef struct root {
  uint64_t slots, bells, budgets;
  uint32_t slot_count;
  _Atomic uint32_t slots_fresh;
  uint64_t block_refs;
  char pad0[24];
  _Atomic uint64_t slots_free;
  char pad1[56];
  pool chunks, blocks;
} root;

typedef struct reference { uint64_t addr, size, release, hint; } reference;

_Static_assert(sizeof(lane) == 128 && offsetof(lane, head) == 64 && offsetof(lane, inline_pieces) == 96, "outbox.lane");
_Static_assert(sizeof(slot) == 640 && offsetof(slot, state) == 24 && offsetof(slot, reason) == 48 && offsetof(slot, room) == 64 &&
  offsetof(slot, held) == 96 && offsetof(slot, lanes) == 128, "outbox.Slot");
_Static_assert(sizeof(bell) == 128 && offsetof(bell, state) == 64 && offsetof(bell, rung) == 72, "outbox.Bell");
_Static_assert(sizeof(budget) == 64 && sizeof(root) == 768 && offsetof(root, slots_free) == 64 && offsetof(root, chunks) == 128 &&
  offsetof(root, blocks) == 448, "outbox.Root");

/* What claims are refused for. */
enum { LOG_AGAIN = -1, LOG_CLOSED = -2 };

static inline slot *slot_at(const root *r, uint32_t i) { return (slot *)(uintptr_t)r->slots + i; }
static inline bell *bell_at(const root *r, uint32_t i) { return (bell *)(uintptr_t)r->bells + i; }
static inline budget *budget_at(const root *r, uint32_t i) { return (budget *)(uintptr_t)r->budgets + i; }
static inline uint32_t handle_kind(uint64_t id) { return (uint32_t)(id >> 56); }
static inline uint32_t handle_generation(uint64_t id) { return (uint32_t)(id >> 32) & 0xffffff; }
static inline uint64_t frame_header(uint64_t size, uint64_t kind, uint64_t ln, uint64_t channel) {
  return size | kind << 32 | ln << 40 | channel << 48;
}
static inline uint64_t words_of(uint64_t size) { return 1 + (size + WORD - 1) / WORD; }

/* The slot of a handle whatever has become of it; NULL for a number that never was a handle of the kind. kind 0: any. */
static inline slot *slot_find(const root *r, uint64_t id, uint32_t kind) {
  uint32_t i = (uint32_t)id;
  if (i == 0 || i >= atomic_load_explicit((_Atomic uint32_t *)&r->slots_fresh, memory_order_relaxed)) return NULL;
  if (kind != 0 ? handle_kind(id) != kind : handle_kind(id) - 1 > KIND_TIMER - 1) return NULL;
  slot *s = slot_at(r, i);
  uint32_t now = handle_generation(atomic_load(&s->id)), then = handle_generation(id);
  return then == 0 || then > now ? NULL : s;
}
static inline int slot_lives(slot *s, uint64_t id) { return atomic_load(&s->id) == id; }

static inline void bell_wake(bell *b) {
  uint32_t sleeping = 1;
  if (atomic_load(&b->state) == 1 && atomic_compare_exchange_strong(&b->state, &sleeping, 0)) {
    uint64_t one = 1;
    atomic_fetch_add(&b->rung, 1);
    if (write(atomic_load(&b->fd), &one, sizeof one) < 0) { /* a full counter is readable as well */ }
  }
}

/* Tells the slot's worker that there is something to look at. */
static inline void slot_ring(const root *r, slot *s) {
  if (atomic_load(&s->scheduled) != 0 || atomic_exchange(&s->scheduled, 1) != 0) return;
  bell *b = bell_at(r, atomic_load(&s->owner));
  uint64_t top = atomic_load(&b->stack);
  do atomic_store_explicit(&s->next, (uint32_t)top, memory_order_relaxed);
  while (!atomic_compare_exchange_weak(&b->stack, &top, (uint64_t)(uint32_t)atomic_load_explicit(&s->id, memory_order_relaxed) + 1));
  bell_wake(b);
}

static inline _Atomic uint32_t *chunk_entry(const root *r, slot *s, int ln, uint64_t pos) {
  lane *l = &s->lanes[ln];
  uint32_t i = (uint32_t)(pos >> (r->chunks.shift - 3)) & l->mask;
  if (s->directory == 0) return &l->inline_pieces[i];
  return (_Atomic uint32_t *)(void *)pool_piece(&r->chunks, s->directory) + (size_t)ln * (l->mask + 1) + i;
}

static inline int budget_charge(const root *r, uint32_t i, int64_t n) {
  budget *b = budget_at(r, i);
  if (atomic_fetch_add(&b->used, n) + n <= atomic_load_explicit(&b->limit, memory_order_relaxed)) return 1;
  atomic_fetch_sub(&b->used, n);
  atomic_store(&b->starved, 1);
  return 0;
}
static inline void budget_uncharge(const root *r, uint32_t i, int64_t n) { atomic_fetch_sub(&budget_at(r, i)->used, n); }

static inline int log_install(root *r, slot *s, int ln, uint64_t pos) {
  int64_t size = (int64_t)pool_piece_size(&r->chunks);
  if (!budget_charge(r, s->budget, size)) return 0;
  uint32_t chunk = pool_take_clean(&r->chunks), none = 0;
  if (chunk && atomic_compare_exchange_strong(chunk_entry(r, s, ln, pos), &none, chunk)) return 1;
  budget_uncharge(r, s->budget, size);
  if (!chunk) { atomic_store(&budget_at(r, s->budget)->starved, 1); return 0; }
  pool_give_clean(&r->chunks, chunk);
  return 1;
}

static inline int lane_fits(lane *l, uint64_t used, uint64_t need) {
  if (used == 0) return 1;
  return used <= l->limit &&
    (int64_t)((used + need) * WORD) + atomic_load_explicit(&l->charged, memory_order_relaxed) <= (int64_t)l->limit * WORD;
}

/* Claims an entry of size payload bytes; its header word is at *entry. The message's id, or LOG_... See Table.Claim. */
static inline int64_t log_claim(root *r, slot *s, uint64_t id, int ln, uint64_t size, _Atomic uint64_t **entry) {
  lane *l = &s->lanes[ln];
  uint64_t need = words_of(size), chunk_words = (1ull << r->chunks.shift) / WORD;
  uint64_t tail = atomic_load(&l->tail);
  for (;;) {
    if ((uint32_t)(tail >> GEN_SHIFT) != (handle_generation(id) & GEN_MASK) || tail & CLOSED_BIT) return LOG_CLOSED;
    uint64_t head = atomic_load_explicit(&l->head, memory_order_acquire);
    uint64_t head_seq = atomic_load_explicit(&l->head_seq, memory_order_relaxed);
    uint64_t pos = tail & POS_MASK, skip = 0, off = pos & (chunk_words - 1);
    if (off + need > chunk_words) skip = chunk_words - off;
    if (!lane_fits(l, (pos - head) & POS_MASK, skip + need)) {
      uint64_t again = atomic_load(&l->tail);
      if (again == tail) return LOG_AGAIN;
      tail = again;
      continue;
    }
    uint64_t start = (pos + skip) & POS_MASK;
    uint32_t chunk = atomic_load_explicit(chunk_entry(r, s, ln, start), memory_order_acquire);
    if (!chunk) {
      if (!log_install(r, s, ln, start)) return LOG_AGAIN;
      tail = atomic_load(&l->tail);
      continue;
    }
    uint64_t next = (tail & ~(POS_MASK | SEQ_MASK << POS_BITS)) | ((start + need) & POS_MASK) | ((tail + SEQ_ONE) & (SEQ_MASK << POS_BITS));
    if (!atomic_compare_exchange_weak(&l->tail, &tail, next)) continue;
    if (skip) {
      char *pad = pool_piece(&r->chunks, atomic_load(chunk_entry(r, s, ln, pos))) + off * WORD;
      atomic_store((_Atomic uint64_t *)(void *)pad, frame_header((skip - 1) * WORD, FRAME_PAD, (uint64_t)ln, 0));
    }
    *entry = (_Atomic uint64_t *)(void *)(pool_piece(&r->chunks, chunk) + (start & (chunk_words - 1)) * WORD);
    return (int64_t)(head_seq + (((tail >> POS_BITS) - head_seq) & SEQ_MASK));
  }
}

/* Publishes a claimed entry: sequentially consistent, because slot_ring looks at scheduled next. */
static inline void log_publish(_Atomic uint64_t *entry, uint64_t header) { atomic_store(entry, header); }

/* Refuses all further claims on the slot's lanes in this life. */
static inline void log_close(slot *s, uint64_t id) {
  for (int i = 0; i < LANES; i++) {
    uint64_t tail = atomic_load(&s->lanes[i].tail);
    while ((uint32_t)(tail >> GEN_SHIFT) == (handle_generation(id) & GEN_MASK) && !(tail & CLOSED_BIT) &&
      !atomic_compare_exchange_weak(&s->lanes[i].tail, &tail, tail | CLOSED_BIT)) { }
  }
}
#endif
