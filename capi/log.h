/* The C twin of engine/outbox: slots, bells and the claiming side of the send log. engine/outbox/doc.go describes the
 * protocol; names here follow the Go side. Every function may be called from any thread; none waits. */
#ifndef LYQ_LOG_H
#define LYQ_LOG_H
#include "pool.h"
#include <unistd.h>

enum { LANES = 4, INLINE_PIECES = 8, WORD = 8 };
enum { POS_BITS = 26, SEQ_BITS = 25, GEN_BITS = 12 };
#define POS_MASK ((1ull << POS_BITS) - 1)
#define POS_HALF (1ull << (POS_BITS - 1))
#define SEQ_MASK ((1ull << SEQ_BITS) - 1)
#define SEQ_ONE (1ull << POS_BITS)
#define CLOSED_BIT (1ull << (POS_BITS + SEQ_BITS))
#define GEN_SHIFT (POS_BITS + SEQ_BITS + 1)
#define GEN_MASK ((1u << GEN_BITS) - 1)
#define MAX_INLINE (16u << 10)
#define MAX_GENERATION 0xffffffu   /* the last life of a slot */

enum { KIND_DRIVER = 1, KIND_LISTENER, KIND_ENDPOINT, KIND_INBOX, KIND_TIMER };
enum { STATE_UP = 1, STATE_CLOSED = 2, STATE_QUIET = 4, STATE_SLEEPS = 8, STATE_PARTED = 16 };
enum { EPOCH_SHIFT = 8, FLAG_MASK = 255 };   /* of slot.state, and of the lower half of slot.command */
enum { COMMAND_CLOSE = 1, COMMAND_END = 2, COMMAND_RESUME = 4, COMMAND_QUIESCE = 8, COMMAND_FLUSH = 16 };
enum { WANT_EVENT = 1 << 0, WANT_WAKE = 1 << 4 };   /* shifted by the lane */
enum { WANT_ACK = 1 << 8 };
enum { CUT_SHIFT = 48 };      /* of lane.cut */
enum { FRAME_MSG = 1, FRAME_PAD = 0x70, FRAME_REF = 0x71, FRAME_TIMED = 0x72, FRAME_WITHDRAWN = 0x73 };
enum { TIMED = 2 };   /* words before a message that has a time to live */
enum { RELEASE_NOTHING, RELEASE_CHUNK, RELEASE_BLOCK, RELEASE_HELD, RELEASE_FREE, RELEASE_CALL };

typedef struct lane {
  _Atomic uint64_t tail;       /* generation | closed | messages claimed | words claimed */
  _Atomic uint64_t given, done;   /* of what is received; see slot_ack */
  _Atomic uint32_t limit, asked;
  _Atomic uint64_t cut;        /* of what restarts have withdrawn: how often << CUT_SHIFT | where the last time began */
  _Atomic uint64_t await;      /* number from which on slot_ack tells the worker; 0: none */
  char pad[16];
  _Atomic uint64_t head, head_seq;
  _Atomic int64_t charged;
  _Atomic uint64_t large;      /* the large directory: piece<<32 | the first position in it; 0: none */
  _Atomic uint32_t inline_pieces[INLINE_PIECES];
} lane;

typedef struct slot {
  _Atomic uint64_t id, context, max_message;
  _Atomic uint64_t command;    /* generation<<32 | epoch<<8 | COMMAND_... */
  _Atomic uint64_t linger;     /* generation<<32 | the shortest time that slot_ask_close was given */
  _Atomic uint32_t state, budget, bound, inbox;
  _Atomic int32_t reason;
  _Atomic uint32_t untold;     /* lists of restarts that the program has not given back */
  _Atomic uint32_t room, want, scheduled, owner, next, awaited, manual;
  _Atomic uint32_t free;       /* link of the stack of free slots */
  _Atomic int64_t held;
  uint32_t queue_first, queue_last;  /* see inbox.h */
  _Atomic uint32_t queue_ready;
  uint32_t queue_next;
  _Atomic uint64_t remains;    /* of the program's events; see unacked.c */
  lane lanes[LANES];
} slot;

typedef struct bell {
  _Atomic uint64_t stack;
  char pad0[56];
  _Atomic uint32_t state;      /* 0 awake, 1 sleeping */
  _Atomic int32_t fd;
  _Atomic uint64_t rung;
  _Atomic uint32_t users;      /* threads that may be about to write fd, which stays open as long */
  char pad1[44];
} bell;

typedef struct budget {
  _Atomic int64_t limit, used;
  _Atomic uint32_t starved;
  uint32_t unused;
  _Atomic int64_t epoch;       /* when the driver's clock began, by CLOCK_MONOTONIC */
  _Atomic int64_t granted;
  char pad[24];
} budget;

typedef struct root {
  uint64_t slots, bells, budgets;
  uint32_t slot_count;
  _Atomic uint32_t slots_fresh;
  uint64_t block_refs;
  char pad0[24];
  _Atomic uint64_t slots_free;
  _Atomic int32_t slots_live;
  char pad1[52];
  pool chunks, blocks, directories;
} root;

typedef struct reference { uint64_t addr, size, release, hint; } reference;

_Static_assert(sizeof(lane) == 128 && offsetof(lane, given) == 8 && offsetof(lane, done) == 16 &&
  offsetof(lane, limit) == 24 && offsetof(lane, asked) == 28 && offsetof(lane, cut) == 32 &&
  offsetof(lane, await) == 40 && offsetof(lane, head) == 64 && offsetof(lane, large) == 88 &&
  offsetof(lane, inline_pieces) == 96, "outbox.lane");
_Static_assert(sizeof(slot) == 640 && offsetof(slot, command) == 24 && offsetof(slot, linger) == 32 &&
  offsetof(slot, state) == 40 && offsetof(slot, reason) == 56 && offsetof(slot, untold) == 60 &&
  offsetof(slot, room) == 64 && offsetof(slot, next) == 80 && offsetof(slot, free) == 92 &&
  offsetof(slot, held) == 96 && offsetof(slot, remains) == 120 && offsetof(slot, lanes) == 128, "outbox.Slot");
_Static_assert(sizeof(bell) == 128 && offsetof(bell, state) == 64 && offsetof(bell, rung) == 72, "outbox.Bell");
_Static_assert(sizeof(budget) == 64 && offsetof(budget, starved) == 16 && offsetof(budget, epoch) == 24 &&
  offsetof(budget, granted) == 32,
  "outbox.Budget");
_Static_assert(sizeof(root) == 1088 && offsetof(root, block_refs) == 32 && offsetof(root, slots_free) == 64 &&
  offsetof(root, slots_live) == 72 &&
  offsetof(root, chunks) == 128 && offsetof(root, blocks) == 448 && offsetof(root, directories) == 768, "outbox.Root");
_Static_assert(sizeof(reference) == 32, "outbox.Reference");

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
static inline uint32_t frame_kind(uint64_t header) { return (header >> 32) & 0xff; }
static inline uint64_t words_of(uint64_t size) { return 1 + (size + WORD - 1) / WORD; }
/* How many words of the log an entry with that header takes. */
static inline uint64_t entry_words(uint64_t header) {
  return words_of(frame_kind(header) == FRAME_REF ? sizeof(reference) : (uint32_t)header);
}

/* The slot of a handle whatever has become of it; NULL for what never was a handle of the kind. kind 0: any. */
static inline slot *slot_find(const root *r, uint64_t id, uint32_t kind) {
  uint32_t i = (uint32_t)id;
  if (i == 0 || i >= atomic_load_explicit((_Atomic uint32_t *)&r->slots_fresh, memory_order_relaxed)) return NULL;
  if (kind != 0 ? handle_kind(id) != kind : handle_kind(id) - 1 > KIND_TIMER - 1) return NULL;
  slot *s = slot_at(r, i);
  uint32_t now = handle_generation(atomic_load(&s->id)), then = handle_generation(id);
  return then == 0 || then > now ? NULL : s;
}
/* Returns a slot whose life is over to the table, unless that was its last; see Table.pushSlot. */
static inline void slot_free(root *r, slot *s) {
  uint64_t id = atomic_load(&s->id), top = atomic_load(&r->slots_free);
  atomic_fetch_sub(&r->slots_live, 1);
  if (handle_generation(id) == MAX_GENERATION) return;
  do atomic_store(&s->free, (uint32_t)top);
  while (!atomic_compare_exchange_weak(&r->slots_free, &top, ((top >> 32) + 1) << 32 | (uint32_t)id));
}
static inline int slot_lives(slot *s, uint64_t id) { return atomic_load(&s->id) == id; }

/* Wakes a bell's worker if it sleeps, which costs a system call. */
static inline void bell_wake(bell *b) {
  if (atomic_load(&b->state) != 1) return;
  uint32_t sleeping = 1;
  atomic_fetch_add(&b->users, 1);
  if (atomic_compare_exchange_strong(&b->state, &sleeping, 0)) {
    uint64_t one = 1;
    atomic_fetch_add(&b->rung, 1);
    if (write(atomic_load(&b->fd), &one, sizeof one) < 0) { /* a full counter is readable as well */ }
  }
  atomic_fetch_sub(&b->users, 1);
}

/* Tells the slot's worker that there is something to look at. */
static inline void slot_ring(const root *r, slot *s) {
  if (atomic_load(&s->scheduled) != 0 || atomic_exchange(&s->scheduled, 1) != 0) return;
  bell *b = bell_at(r, atomic_load(&s->owner));
  uint64_t top = atomic_load(&b->stack), mine = (uint64_t)(uint32_t)atomic_load(&s->id) + 1;
  do atomic_store_explicit(&s->next, (uint32_t)top, memory_order_relaxed);
  while (!atomic_compare_exchange_weak(&b->stack, &top, mine));
  bell_wake(b);
}

/* Asks a slot's worker for something, in the life that id names: bits of COMMAND_... The epoch, or -1 if that life is
 * over. See Slot.Ask. */
static inline int64_t slot_ask(slot *s, uint64_t id, uint32_t bits) {
  uint64_t old = atomic_load(&s->command);
  uint32_t next;
  do {
    if (old >> 32 != handle_generation(id)) return -1;
    next = (uint32_t)old | bits;
    if (bits & COMMAND_RESUME) next = (next & ~(uint32_t)COMMAND_QUIESCE) + (1u << EPOCH_SHIFT);
  } while (!atomic_compare_exchange_weak(&s->command, &old, old >> 32 << 32 | next));
  return next >> EPOCH_SHIFT;
}

/* Asks for COMMAND_CLOSE within so many milliseconds, -1 for ever. The epoch, or -1; see Slot.AskClose. */
static inline int64_t slot_ask_close(slot *s, uint64_t id, int32_t millis) {
  uint64_t old = atomic_load(&s->linger);
  do if (old >> 32 != handle_generation(id)) return -1;
  while ((uint32_t)millis < (uint32_t)old &&
         !atomic_compare_exchange_weak(&s->linger, &old, old >> 32 << 32 | (uint32_t)millis));
  return slot_ask(s, id, COMMAND_CLOSE);
}

/* Of a received message's id, what is its number in the lane; see outbox.NumberBits. */
enum { NUMBER_BITS = 48 };
enum { ACK_CLOSED = -1, ACK_REFUSED = -2 };

/* Says that the program is done with a lane's messages up to id. 1: the slot is to be rung for; 0, or ACK_... See
 * Slot.Ack. */
static inline int slot_ack(slot *s, uint64_t handle, int ln, uint64_t id) {
  lane *l = &s->lanes[ln];
  int known = atomic_load(&s->manual) && id < atomic_load(&l->given);
  if (!known) return slot_lives(s, handle) ? ACK_REFUSED : ACK_CLOSED;
  uint64_t next = (uint64_t)handle_generation(handle) << 56 | ((id + 1) & ((1ull << 56) - 1));
  uint64_t old = atomic_load(&l->done);
  do if (old >> NUMBER_BITS != next >> NUMBER_BITS || old >= next) return slot_lives(s, handle) ? 0 : ACK_CLOSED;
  while (!atomic_compare_exchange_weak(&l->done, &old, next));
  int tell = atomic_load(&s->awaited) && atomic_exchange(&s->awaited, 0);
  uint64_t number = atomic_load(&l->await);
  if (number && (id & ((1ull << NUMBER_BITS) - 1)) >= number - 1) tell |= atomic_exchange(&l->await, 0) != 0;
  return tell;
}

/* The place in a lane's directory for the chunk that holds a position. See Table.place. */
static inline _Atomic uint32_t *lane_place(const root *r, slot *s, int ln, uint64_t pos) {
  lane *l = &s->lanes[ln];
  uint32_t i = (uint32_t)(pos >> (r->chunks.shift - 3));
  uint64_t large = atomic_load_explicit(&l->large, memory_order_acquire);
  if (large == 0 || ((pos - large) & POS_MASK) >= POS_HALF) return &l->inline_pieces[i & (INLINE_PIECES - 1)];
  uint32_t mask = (uint32_t)(pool_piece_size(&r->directories) / sizeof(uint32_t)) - 1;
  return (_Atomic uint32_t *)(void *)pool_piece(&r->directories, (uint32_t)(large >> 32)) + (i & mask);
}

static inline _Atomic uint64_t *log_word(const root *r, uint32_t chunk, uint64_t pos) {
  uint64_t off = pos & ((1ull << r->chunks.shift) / WORD - 1);
  return (_Atomic uint64_t *)(void *)(pool_piece(&r->chunks, chunk) + off * WORD);
}

/* What a reference counts in its driver's budget: all of the memory that it keeps. In its lane it counts its size. */
static inline int64_t reference_takes(const root *r, const reference *ref) {
  switch (ref->release) {
  case RELEASE_CHUNK: return (int64_t)pool_piece_size(&r->chunks);
  case RELEASE_BLOCK: return (int64_t)pool_piece_size(&r->blocks);
  case RELEASE_FREE: return (int64_t)ref->hint;
  default: return (int64_t)ref->size;
  }
}

/* Counts bytes against a driver's budget, or refuses and marks it starved. */
static inline int budget_charge(const root *r, uint32_t i, int64_t n) {
  budget *b = budget_at(r, i);
  int64_t used = atomic_load(&b->used);
  do {
    if (used + n > atomic_load_explicit(&b->limit, memory_order_relaxed)) {
      atomic_store(&b->starved, 1);
      return 0;
    }
  } while (!atomic_compare_exchange_weak(&b->used, &used, used + n));
  return 1;
}
static inline void budget_uncharge(const root *r, uint32_t i, int64_t n) {
  atomic_fetch_sub(&budget_at(r, i)->used, n);
}

/* Zeroed chunks that a claim takes before its exchange and may install after it: where its entry begins, and where the
 * padding before that begins if whoever claimed there first was not yet able to install. */
typedef struct spares { uint32_t chunk[2], n, budget; } spares;

static inline int spares_take(root *r, slot *s, spares *extra, uint32_t want) {
  int64_t size = (int64_t)pool_piece_size(&r->chunks);
  if (extra->n == 0) extra->budget = atomic_load_explicit(&s->budget, memory_order_relaxed);
  for (; extra->n < want; extra->n++) {
    if (!budget_charge(r, extra->budget, size)) return 0;
    if ((extra->chunk[extra->n] = pool_take_clean(&r->chunks)) == 0) {
      budget_uncharge(r, extra->budget, size);
      atomic_store(&budget_at(r, extra->budget)->starved, 1);
      return 0;
    }
  }
  return 1;
}

static inline void spares_give(root *r, spares *extra) {
  for (; extra->n > 0; extra->n--) {
    pool_give_clean(&r->chunks, extra->chunk[extra->n - 1]);
    budget_uncharge(r, extra->budget, (int64_t)pool_piece_size(&r->chunks));
  }
}

/* The chunk at a place in which something was claimed, after filling it with a spare if nobody has yet. */
static inline uint32_t spares_install(spares *extra, _Atomic uint32_t *place) {
  uint32_t chunk = atomic_load(place);
  if (chunk) return chunk;
  if (atomic_compare_exchange_strong(place, &chunk, extra->chunk[extra->n - 1])) chunk = extra->chunk[--extra->n];
  return chunk;
}

static inline uint32_t log_lacks(const root *r, slot *s, int ln, uint64_t pos, uint64_t start) {
  uint32_t n = atomic_load(lane_place(r, s, ln, start)) == 0;
  return n + (start != pos && atomic_load(lane_place(r, s, ln, pos)) == 0);
}

/* Whether a lane takes messages of a handle. Senders look before anything else that may refuse them: after "again" they
 * wait for a worker, and nobody works for a life that is over. */
static inline int tail_takes(uint64_t tail, uint64_t id) {
  return (uint32_t)(tail >> GEN_SHIFT) == (handle_generation(id) & GEN_MASK) && !(tail & CLOSED_BIT);
}
static inline int log_takes(slot *s, uint64_t id, int ln) { return tail_takes(atomic_load(&s->lanes[ln].tail), id); }

/* Whether need more words may be claimed when used words are. Who has read a limit that has grown looks positions up in
 * the large directory that it needs: hence the acquire. */
static inline int lane_fits(lane *l, uint64_t used, uint64_t need) {
  if (used == 0) return 1;
  uint64_t limit = atomic_load_explicit(&l->limit, memory_order_acquire);
  int64_t charged = atomic_load_explicit(&l->charged, memory_order_relaxed);
  return used <= limit && (int64_t)((used + need) * WORD) + charged <= (int64_t)(limit * WORD);
}

/* The exchange of log_claim: nothing is written that others can see before it succeeds. The loads of head and place are
 * sequentially consistent, because a sender that announced its wish for room must not read what was there before. */
static inline int64_t log_exchange(root *r, slot *s, uint64_t id, int ln, uint64_t need, spares *extra,
  _Atomic uint64_t **entry) {
  lane *l = &s->lanes[ln];
  uint64_t chunk_words = (1ull << r->chunks.shift) / WORD;
  for (;;) {
    uint64_t tail = atomic_load(&l->tail);
    if (!tail_takes(tail, id)) return LOG_CLOSED;
    uint64_t head = atomic_load(&l->head), head_seq = atomic_load_explicit(&l->head_seq, memory_order_relaxed);
    uint64_t pos = tail & POS_MASK, off = pos & (chunk_words - 1);
    uint64_t skip = off + need > chunk_words ? chunk_words - off : 0;
    if (!lane_fits(l, (pos - head) & POS_MASK, skip + need)) {
      if (atomic_load(&l->tail) != tail) continue;
      return LOG_AGAIN;
    }
    uint64_t start = (pos + skip) & POS_MASK;
    _Atomic uint32_t *place = lane_place(r, s, ln, start);
    uint32_t chunk = atomic_load(place);
    if (!chunk || skip) {
      uint32_t lacks = log_lacks(r, s, ln, pos, start);
      if (lacks > extra->n && !spares_take(r, s, extra, lacks)) {
        if (atomic_load(&l->tail) != tail || log_lacks(r, s, ln, pos, start) < lacks) continue;
        return LOG_AGAIN;
      }
    }
    uint64_t next = (tail & ~(POS_MASK | SEQ_MASK << POS_BITS)) | ((start + need) & POS_MASK) |
      ((tail + SEQ_ONE) & (SEQ_MASK << POS_BITS));
    if (!atomic_compare_exchange_strong(&l->tail, &tail, next)) continue;
    if (skip) {
      _Atomic uint64_t *pad = log_word(r, spares_install(extra, lane_place(r, s, ln, pos)), pos);
      atomic_store(pad, frame_header((skip - 1) * WORD, FRAME_PAD, (uint64_t)ln, 0));
    }
    if (!chunk) chunk = spares_install(extra, place);
    *entry = log_word(r, chunk, start);
    return (int64_t)(head_seq + (((tail >> POS_BITS) - head_seq) & SEQ_MASK));
  }
}

/* Claims an entry of size payload bytes; its header word is at *entry. The message's id, or LOG_... See Table.Claim. */
static inline int64_t log_claim(root *r, slot *s, uint64_t id, int ln, uint64_t size, _Atomic uint64_t **entry) {
  spares extra = {{0, 0}, 0, 0};
  int64_t sequence = log_exchange(r, s, id, ln, words_of(size), &extra, entry);
  if (extra.n) spares_give(r, &extra);
  return sequence;
}

/* The same for a message that is withdrawn if no link was given a byte of it until then, by the driver's clock; 0: it
 * has no time to live. Publish it with log_publish_until. */
static inline int64_t log_claim_until(root *r, slot *s, uint64_t id, int ln, uint64_t size, int64_t until,
  _Atomic uint64_t **entry) {
  if (until == 0) return log_claim(r, s, id, ln, size, entry);
  int64_t sequence = log_claim(r, s, id, ln, size + TIMED * WORD, entry);
  if (sequence < 0) return sequence;
  atomic_store_explicit(*entry + 1, (uint64_t)until, memory_order_relaxed);
  *entry += TIMED;
  return sequence;
}

/* How many messages of a lane were ever claimed. */
static inline uint64_t log_claimed(slot *s, int ln) {
  uint64_t head_seq = atomic_load(&s->lanes[ln].head_seq), tail = atomic_load(&s->lanes[ln].tail);
  return head_seq + (((tail >> POS_BITS) - head_seq) & SEQ_MASK);
}

/* Publishes a claimed entry: sequentially consistent, because slot_ring looks at scheduled next. */
static inline void log_publish(_Atomic uint64_t *entry, uint64_t header) { atomic_store(entry, header); }

/* Publishes what log_claim_until claimed: the word that the worker comes to first is the last to be stored. */
static inline void log_publish_until(_Atomic uint64_t *entry, uint64_t header, int64_t until) {
  if (until == 0) { log_publish(entry, header); return; }
  atomic_store_explicit(entry, header, memory_order_relaxed);
  log_publish(entry - TIMED, frame_header(WORD, FRAME_TIMED, header >> 40 & 0xff, 0));
}

/* Refuses all further claims on the slot's lanes in this life. */
static inline void log_close(slot *s, uint64_t id) {
  for (int i = 0; i < LANES; i++) {
    uint64_t tail = atomic_load(&s->lanes[i].tail);
    while ((uint32_t)(tail >> GEN_SHIFT) == (handle_generation(id) & GEN_MASK) && !(tail & CLOSED_BIT) &&
      !atomic_compare_exchange_weak(&s->lanes[i].tail, &tail, tail | CLOSED_BIT)) { }
  }
}
#endif
