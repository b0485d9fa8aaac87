/* Sending: everything here runs on the program's threads and never enters Go. */
#include "internal.h"
#include <stdlib.h>

/* The bytes of all parts. The sum never exceeds 32 bits, so that no later arithmetic on it can overflow. */
static uint64_t total_size(const lyq_buf *parts, size_t n, int *err) {
  uint64_t size = 0;
  for (size_t i = 0; i < n; i++) {
    if (parts[i].size && !parts[i].data) { *err = LYQ_EINVAL; return 0; }
    if (parts[i].size > UINT32_MAX - size) { *err = LYQ_EMSGSIZE; return 0; }
    size += parts[i].size;
  }
  return size;
}

static inline void gather(char *to, const lyq_buf *parts, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (parts[i].size) memcpy(to, parts[i].data, parts[i].size);
    to += parts[i].size;
  }
}

static inline int64_t refused(int64_t e) { return e == LOG_AGAIN ? LYQ_EAGAIN : LYQ_ECLOSED; }

/* What a message beside the log was charged with, in its lane and in a budget. The driver's number is kept, for the
 * slot may begin another life. */
typedef struct charge { uint32_t budget; int ln; int64_t size, takes; } charge;

/* Charges a message beside the log in full. That its lane is closed comes before any want of memory: nobody would ever
 * tell a sender that waits for it. What leaves no room for the chunk of its entry is too large for ever. 0, or the
 * error. */
static int charge_open(slot *s, uint64_t id, lyq_tag tag, const reference *ref, charge *c) {
  root *r = lyqi_root;
  *c = (charge){s->budget, LYQ_LANE(tag), (int64_t)ref->size, reference_takes(r, ref)};
  if (!log_takes(s, id, c->ln)) return LYQ_ECLOSED;
  int64_t limit = atomic_load(&budget_at(r, c->budget)->limit);
  if (c->takes + (int64_t)pool_piece_size(&r->chunks) > limit) return LYQ_EMSGSIZE;
  if (!budget_charge(r, c->budget, c->takes)) return LYQ_EAGAIN;
  atomic_fetch_add(&s->lanes[c->ln].charged, c->size);
  return 0;
}

static void charge_return(slot *s, const charge *c) {
  atomic_fetch_sub(&s->lanes[c->ln].charged, c->size);
  budget_uncharge(lyqi_root, c->budget, c->takes);
}

/* Accepts a message by reference, which was charged; if not, the charge is returned. until: see log_claim_until. */
static int64_t send_reference(slot *s, uint64_t id, lyq_tag tag, const reference *ref, const charge *c,
                              int64_t until) {
  _Atomic uint64_t *entry;
  int64_t seq = log_claim_until(lyqi_root, s, id, c->ln, sizeof *ref, until, &entry);
  if (seq < 0) {
    charge_return(s, c);
    return refused(seq);
  }
  memcpy((void *)(entry + 1), ref, sizeof *ref);
  log_publish_until(entry, frame_header(0, FRAME_REF, (uint64_t)c->ln, LYQ_CHANNEL(tag)), until);
  lyqi_ring(s);
  return seq;
}

static int64_t lend_once(slot *s, uint64_t id, lyq_tag tag, const reference *ref) {
  charge c;
  int err = charge_open(s, id, tag, ref, &c);
  return err ? err : send_reference(s, id, tag, ref, &c, 0);
}

/* Where a copy beside the log is to lie: in a piece of a pool, or in memory of the library's own. */
static reference side_plan(uint64_t size) {
  const root *r = lyqi_root;
  uint64_t release = size <= pool_piece_size(&r->chunks) ? RELEASE_CHUNK
                   : size <= pool_piece_size(&r->blocks) ? RELEASE_BLOCK : RELEASE_FREE;
  return (reference){0, size, release, size};
}

/* Takes the memory for what side_plan has planned. 0 if none is left. */
static int side_take(reference *ref) {
  root *r = lyqi_root;
  if (ref->release == RELEASE_FREE) {
    ref->addr = (uint64_t)(uintptr_t)lyqi_long_new(ref->size);
    return ref->addr != 0;
  }
  pool *p = ref->release == RELEASE_CHUNK ? &r->chunks : &r->blocks;
  uint32_t piece = pool_take_any(p);
  if (!piece) return 0;
  ref->addr = (uint64_t)(uintptr_t)pool_piece(p, piece);
  ref->hint = piece;
  return 1;
}

static void side_drop(const reference *ref) {
  root *r = lyqi_root;
  if (ref->release == RELEASE_CHUNK) pool_give_dirty(&r->chunks, (uint32_t)ref->hint);
  else if (ref->release == RELEASE_BLOCK) pool_give_dirty(&r->blocks, (uint32_t)ref->hint);
  else lyqi_long_unref((void *)(uintptr_t)ref->addr);
}

/* Charges a copy beside the log and takes the memory for it. 0, or the error. */
static int side_open(slot *s, uint64_t id, lyq_tag tag, uint64_t size, reference *ref, charge *c) {
  *ref = side_plan(size);
  int err = charge_open(s, id, tag, ref, c);
  if (err) return err;
  if (side_take(ref)) return 0;
  charge_return(s, c);
  atomic_store(&budget_at(lyqi_root, c->budget)->starved, 1);
  return LYQ_EAGAIN;
}

static inline int64_t send_until(slot *s, uint64_t id, lyq_tag tag, const lyq_buf *parts, size_t n, uint64_t size,
  int64_t until) {
  if (likely(size <= MAX_INLINE)) {
    _Atomic uint64_t *entry;
    int64_t seq = log_claim_until(lyqi_root, s, id, LYQ_LANE(tag), size, until, &entry);
    if (unlikely(seq < 0)) return refused(seq);
    gather((char *)(entry + 1), parts, n);
    log_publish_until(entry, frame_header(size, FRAME_MSG, (uint64_t)LYQ_LANE(tag), LYQ_CHANNEL(tag)), until);
    /* The worker's core has the lines that the next message goes to, for it zeroed them: ask for them back now. */
    char *next = (char *)(entry + words_of(size));
    __builtin_prefetch(next, 1);
    __builtin_prefetch(next + 64, 1);
    lyqi_ring(s);
    return seq;
  }
  reference ref;
  charge c;
  int err = side_open(s, id, tag, size, &ref, &c);
  if (err) return err;
  gather((char *)(uintptr_t)ref.addr, parts, n);
  int64_t seq = send_reference(s, id, tag, &ref, &c, until);
  if (seq < 0) side_drop(&ref);
  return seq;
}

static int64_t send_once(slot *s, uint64_t id, lyq_tag tag, const lyq_buf *parts, size_t n, uint64_t size) {
  return send_until(s, id, tag, parts, n, size, 0);
}

/* Announces that a sender wants room for size bytes; bit, a WANT_..., is how it is told. The worker looks at once. See
 * Table.Want. */
static void want(slot *s, lyq_tag tag, uint64_t size, uint32_t bit) {
  uint32_t b = bit << LYQ_LANE(tag), any = (WANT_EVENT | WANT_WAKE) << LYQ_LANE(tag);
  lane *l = &s->lanes[LYQ_LANE(tag)];
  if (!(atomic_load(&s->want) & any) || size < atomic_load(&l->asked)) atomic_store(&l->asked, (uint32_t)size);
  if (!(atomic_fetch_or(&s->want, b) & b)) lyqi_ring(s);
}

/* Checks what every send is given, and finds its slot. */
static inline slot *sendable(lyq_endpoint ep, lyq_tag tag, uint64_t size, int *err) {
  slot *s = lyqi_slot(ep.id, KIND_ENDPOINT, err);
  if (unlikely(!s)) return NULL;
  if (unlikely(tag >> 16 >= LANES)) { *err = LYQ_EINVAL; return NULL; }
  if (unlikely(size > atomic_load_explicit(&s->max_message, memory_order_relaxed))) {
    *err = LYQ_EMSGSIZE;
    return NULL;
  }
  return s;
}

API int64_t lyq_sendv(lyq_endpoint ep, lyq_tag tag, const lyq_buf *parts, size_t n) {
  int err = 0;
  if (n && !parts) return LYQ_EINVAL;
  uint64_t size = total_size(parts, n, &err);
  if (err) return err;
  slot *s = sendable(ep, tag, size, &err);
  if (!s) return err;
  int64_t seq = send_once(s, ep.id, tag, parts, n, size);
  if (likely(seq != LYQ_EAGAIN)) return seq;
  want(s, tag, size, WANT_EVENT);
  return send_once(s, ep.id, tag, parts, n, size);
}

API int64_t lyq_send(lyq_endpoint ep, lyq_tag tag, const void *data, size_t size) {
  int err = 0;
  if (unlikely(size && !data)) return LYQ_EINVAL;
  slot *s = sendable(ep, tag, size, &err);
  if (unlikely(!s)) return err;
  lyq_buf part = {data, size};
  int64_t seq = send_once(s, ep.id, tag, &part, 1, size);
  if (likely(seq != LYQ_EAGAIN)) return seq;
  want(s, tag, size, WANT_EVENT);
  return send_once(s, ep.id, tag, &part, 1, size);
}

/* The driver's clock is CLOCK_MONOTONIC since its epoch: see Driver.Now. */
API int64_t lyq_send_ttl(lyq_endpoint ep, lyq_tag tag, const void *data, size_t size, int ttl_ms) {
  int err = 0;
  if (unlikely((size && !data) || ttl_ms <= 0)) return LYQ_EINVAL;
  slot *s = sendable(ep, tag, size, &err);
  if (unlikely(!s)) return err;
  lyq_buf part = {data, size};
  int64_t until = lyqi_clock() - atomic_load(&budget_at(lyqi_root, s->budget)->epoch) + (int64_t)ttl_ms * 1000000;
  int64_t seq = send_until(s, ep.id, tag, &part, 1, size, until);
  if (likely(seq != LYQ_EAGAIN)) return seq;
  want(s, tag, size, WANT_EVENT);
  return send_until(s, ep.id, tag, &part, 1, size, until);
}

API int64_t lyq_send_wait(lyq_endpoint ep, lyq_tag tag, const void *data, size_t size, int timeout_ms) {
  int err = 0;
  if (unlikely((size && !data) || timeout_ms < -1)) return LYQ_EINVAL;
  slot *s = sendable(ep, tag, size, &err);
  if (unlikely(!s)) return err;
  lyq_buf part = {data, size};
  int64_t seq = send_once(s, ep.id, tag, &part, 1, size);
  if (likely(seq != LYQ_EAGAIN)) return seq;
  if (lyqi_in_callback) return LYQ_EDEADLK;
  int64_t deadline = timeout_ms < 0 ? 0 : lyqi_clock() + (int64_t)timeout_ms * 1000000;
  for (;;) {
    uint32_t seen = atomic_load(&s->room);
    want(s, tag, size, WANT_WAKE);
    seq = send_once(s, ep.id, tag, &part, 1, size);
    if (seq != LYQ_EAGAIN) return seq;
    if ((err = lyqi_sleep(&s->room, seen, deadline)) < 0) return err;
  }
}

/* The worker answers a wish for room also if there is some already: after it was read here, room changes. */
API int lyq_wait_room(lyq_endpoint ep, lyq_tag tag, size_t size, int timeout_ms) {
  int err = 0;
  if (timeout_ms < -1) return LYQ_EINVAL;
  slot *s = sendable(ep, tag, size, &err);
  if (!s) return err;
  int64_t deadline = timeout_ms < 0 ? 0 : lyqi_clock() + (int64_t)timeout_ms * 1000000;
  uint32_t seen = atomic_load(&s->room);
  want(s, tag, size, WANT_WAKE);
  for (;;) {
    if (!log_takes(s, ep.id, LYQ_LANE(tag))) return LYQ_ECLOSED;
    if (atomic_load(&s->room) != seen) return 0;
    if (lyqi_in_callback) return LYQ_EDEADLK;
    if ((err = lyqi_sleep(&s->room, seen, deadline)) < 0) return err;
  }
}

API int64_t lyq_send_lent(lyq_endpoint ep, lyq_tag tag, const void *data, size_t size, lyq_fn free_fn, void *hint) {
  int err = 0;
  if (size && !data) return LYQ_EINVAL;
  slot *s = sendable(ep, tag, size, &err);
  if (!s) return err;
  reference ref = {(uint64_t)(uintptr_t)data, size, (uint64_t)(uintptr_t)free_fn, (uint64_t)(uintptr_t)hint};
  int64_t seq = lend_once(s, ep.id, tag, &ref);
  if (likely(seq != LYQ_EAGAIN)) return seq;
  want(s, tag, size, WANT_EVENT);
  return lend_once(s, ep.id, tag, &ref);
}

/* A claim's reserved words are the entry's address, the tag, and the message's id. */
static int claim_once(slot *s, uint64_t id, lyq_tag tag, uint64_t size, lyq_claim *claim) {
  int beside = size > MAX_INLINE;
  reference ref;
  charge c;
  int err = beside ? side_open(s, id, tag, size, &ref, &c) : 0;
  if (err) return err;
  _Atomic uint64_t *entry;
  int64_t seq = log_claim(lyqi_root, s, id, LYQ_LANE(tag), beside ? sizeof ref : size, &entry);
  if (seq < 0) {
    if (beside) {
      charge_return(s, &c);
      side_drop(&ref);
    }
    return (int)refused(seq);
  }
  if (beside) memcpy((void *)(entry + 1), &ref, sizeof ref);
  claim->data = beside ? (void *)(uintptr_t)ref.addr : (void *)(entry + 1);
  claim->size = size;
  claim->reserved[0] = (uint64_t)(uintptr_t)entry;
  claim->reserved[1] = tag;
  claim->reserved[2] = (uint64_t)seq;
  return 0;
}

API int lyq_claim_open(lyq_endpoint ep, lyq_tag tag, size_t size, lyq_claim *claim) {
  int err = 0;
  if (!claim) return LYQ_EINVAL;
  slot *s = sendable(ep, tag, size, &err);
  if (!s) return err;
  err = claim_once(s, ep.id, tag, size, claim);
  if (err != LYQ_EAGAIN) return err;
  want(s, tag, size, WANT_EVENT);
  return claim_once(s, ep.id, tag, size, claim);
}

API int64_t lyq_commit(lyq_endpoint ep, lyq_claim *claim, size_t size) {
  if (atomic_load(&lyqi_forked)) return LYQ_EFORKED;
  if (!claim || !claim->reserved[0] || size > claim->size) return LYQ_EINVAL;
  root *r = lyqi_root;
  slot *s = r ? slot_find(r, ep.id, KIND_ENDPOINT) : NULL;   /* its life goes on until the claim is published */
  if (!s) return LYQ_EHANDLE;
  _Atomic uint64_t *entry = (_Atomic uint64_t *)(uintptr_t)claim->reserved[0];
  lyq_tag tag = (lyq_tag)claim->reserved[1];
  uint64_t ln = (uint64_t)LYQ_LANE(tag);
  claim->reserved[0] = 0;
  if (claim->size > MAX_INLINE) {
    /* The lane has room for what was not used; the memory for it is kept, and stays charged. */
    ((reference *)(void *)(entry + 1))->size = size;
    atomic_fetch_sub(&s->lanes[ln].charged, (int64_t)(claim->size - size));
    log_publish(entry, frame_header(0, FRAME_REF, ln, LYQ_CHANNEL(tag)));
  } else {
    uint64_t used = words_of(size), had = words_of(claim->size);
    if (had > used) atomic_store(entry + used, frame_header((had - used - 1) * WORD, FRAME_PAD, ln, 0));
    /* What was claimed of the last word and not used is padding on the wire, which must be zero. */
    memset((char *)(entry + 1) + size, 0, (used - 1) * WORD - size);
    log_publish(entry, frame_header(size, FRAME_MSG, ln, LYQ_CHANNEL(tag)));
  }
  lyqi_ring(s);
  return (int64_t)claim->reserved[2];
}
