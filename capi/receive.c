/* Receiving: frames become items, for callbacks on workers and for threads that pull from inboxes. */
#include "internal.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

enum {
  BATCH = 64,             /* items given to a callback at once: what fits a few kilobytes of a worker's stack */
  QUANTUM = 64 << 10,     /* bytes that a puller takes from an endpoint before the next one's turn */
  PARCEL_HOLD = 64,       /* what a parcel counts in slot.held while it is queued: its own size */
};
#define LIFE ((int64_t)1 << 62)   /* what slot.held counts for a slot that is not retired */

static void block_unref(uint32_t block, int64_t n) {
  root *r = lyqi_root;
  _Atomic int64_t *refs = (_Atomic int64_t *)(uintptr_t)r->block_refs + block;
  if (atomic_fetch_sub(refs, n) == n) pool_give_dirty(&r->blocks, block);
}

/* Makes an item of the frame at p and returns the frame's size. */
static inline uint64_t item_of(lyq_msg *m, const char *p, uint64_t id, void *ctx, uint32_t block, uint64_t memory,
                               uint64_t ids[LANES]) {
  uint64_t h = *(const uint64_t *)(const void *)p, size = (uint32_t)h, whole = words_of(size) * WORD;
  unsigned ln = (unsigned)(h >> 40) & (LANES - 1);
  m->ep.id = id;
  m->ctx = ctx;
  m->data = (const uint8_t *)p + WORD;
  m->size = size;
  m->id = ids[ln]++;
  m->tag = LYQ_TAG(ln, h >> 48);
  m->kind = LYQ_DATA;
  m->code = 0;
  m->token = 0;
  m->reserved[0] = block | whole << 32;
  m->reserved[1] = memory;
  return whole;
}

/* Notes that the program is given the messages below those ids; see lyq_ack. */
static inline void give_below(slot *s, const uint64_t ids[LANES]) {
  if (likely(!atomic_load_explicit(&s->manual, memory_order_relaxed))) return;
  for (int i = 0; i < LANES; i++) {
    _Atomic uint64_t *given = &s->lanes[i].given;
    if (atomic_load_explicit(given, memory_order_relaxed) != ids[i]) atomic_store(given, ids[i]);
  }
}

/* Gives a run of frames to a callback, on a worker; f0 to f3 are the ids of each lane's first message. Returns how many
 * bytes the callback took, whole frames always, or -1 to close. */
int64_t lyqi_deliver(void *slot_, uint64_t id, lyq_recv_fn fn, void *fn_ctx, void *frames, uint64_t size,
                     uint32_t block, uint64_t f0, uint64_t f1, uint64_t f2, uint64_t f3) {
  slot *s = slot_;
  lyq_msg m[BATCH];
  uint64_t ids[LANES] = {f0, f1, f2, f3};
  uint64_t done = 0;
  while (done < size) {
    void *ctx = (void *)(uintptr_t)atomic_load_explicit(&s->context, memory_order_relaxed);
    int n = 0;
    uint64_t at = done;
    while (n < BATCH && at < size) at += item_of(&m[n++], (char *)frames + at, id, ctx, block, MEMORY_BORROWED, ids);
    give_below(s, ids);
    lyqi_in_callback++;
    lyqi_serving = s;
    int took = fn(fn_ctx, m, (size_t)n);
    lyqi_serving = NULL;
    lyqi_in_callback--;
    if (took < 0) return -1;
    if (took < n) {
      for (int i = 0; i < took; i++) done += m[i].reserved[0] >> 32;
      return (int64_t)done;
    }
    done = at;
  }
  return (int64_t)done;
}

/* Gives one item that is no run to a callback, on a worker: a long message or an event. Returns what the callback
 * returned. */
int lyqi_deliver_one(void *slot_, uint64_t id, lyq_recv_fn fn, void *fn_ctx, int kind, int code, uint32_t tag,
                     uint64_t number, uint64_t token, void *data, uint64_t size) {
  slot *s = slot_;
  lyq_msg m;
  memset(&m, 0, sizeof m);
  m.ep.id = id;
  m.ctx = (void *)(uintptr_t)atomic_load_explicit(&s->context, memory_order_relaxed);
  m.data = data;
  m.size = size;
  m.id = number;
  m.tag = tag;
  m.kind = (uint16_t)kind;
  m.code = (int16_t)code;
  m.token = token;
  m.reserved[0] = size << 32;
  m.reserved[1] = kind == LYQ_DATA ? MEMORY_BORROWED_LONG : MEMORY_BORROWED;
  if (kind == LYQ_DATA) atomic_store(&s->lanes[LYQ_LANE(tag)].given, number + 1);
  else if (kind == LYQ_RESTARTED || kind == LYQ_CLOSED) m.token = lyqi_remains_enter(s, data);
  lyqi_in_callback++;
  int took = fn(fn_ctx, &m, 1);
  lyqi_in_callback--;
  return took;
}

API int lyq_retain(const lyq_msg *m, lyq_msg *out) {
  if (atomic_load(&lyqi_forked)) return 0;
  if (!m || !out) return LYQ_EINVAL;
  int err = 0;
  slot *s = NULL;
  if (m->ep.id && !(s = lyqi_slot(m->ep.id, KIND_ENDPOINT, &err))) return err;
  lyq_msg copy = *m;
  uint64_t memory = m->reserved[1], whole = m->reserved[0] >> 32;
  if (!m->data) {
    copy.reserved[1] = MEMORY_NONE;
  } else if (memory == MEMORY_BORROWED_LONG || memory == MEMORY_LONG || memory == MEMORY_PULLED_LONG) {
    long_head *h = (long_head *)(uintptr_t)m->data - 1;
    atomic_fetch_add(&h->refs, 1);
    copy.reserved[1] = MEMORY_LONG;
  } else if ((memory == MEMORY_BORROWED || memory == MEMORY_BLOCK || memory == MEMORY_PULLED) && m->kind == LYQ_DATA &&
             m->size > MAX_INLINE) {
    atomic_fetch_add((_Atomic int64_t *)(uintptr_t)lyqi_root->block_refs + (uint32_t)m->reserved[0], (int64_t)whole);
    copy.reserved[1] = MEMORY_BLOCK;
  } else {
    void *data = lyqi_long_new(m->size);
    if (!data) return LYQ_ENOMEM;
    memcpy(data, m->data, m->size);
    copy.data = data;
    copy.reserved[1] = MEMORY_COPY;
  }
  copy.reserved[0] = (uint32_t)m->reserved[0] | whole << 32;
  if (s && copy.reserved[1] != MEMORY_NONE) atomic_fetch_add(&s->held, (int64_t)whole); else copy.ep = m->ep;
  *out = copy;
  return 0;
}

/* Counts n bytes as released, and tells a worker that wants to know (outbox.AwaitAny). Unless they were the last of the
 * slot's life, others may end that meanwhile: then it is another life's worker that looks, in vain, and says anew what
 * it waits for. */
static void released(uint64_t id, int64_t n) {
  slot *s = slot_at(lyqi_root, (uint32_t)id);
  int64_t left = atomic_fetch_sub(&s->held, n) - n;
  if (left == 0) {
    slot_free(lyqi_root, s);
    return;
  }
  uint32_t below = atomic_load(&s->awaited);
  if (!below || (below != UINT32_MAX && (uint64_t)(left & (LIFE - 1)) / WORD >= below)) return;
  if (atomic_exchange(&s->awaited, 0)) slot_ring(lyqi_root, s);
}

/* Marks a message from an inbox, so that its worker can acknowledge it. Nobody else writes that word. The worker looks
 * again after it has said that it wants to be told, and has seen slot.held: what comes after this changes that. */
static void mark(const lyq_msg *m) {
  uint64_t memory = m->reserved[1];
  if (memory != MEMORY_PULLED && memory != MEMORY_PULLED_LONG) return;
  _Atomic uint64_t *word = (_Atomic uint64_t *)(uintptr_t)(m->data - WORD);
  atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) | RELEASED_BIT, memory_order_release);
}

/* Whether two items lie in the same block and are of the same endpoint: then one subtraction releases both. */
static inline int same_block(const lyq_msg *a, const lyq_msg *b) {
  return a->reserved[1] == b->reserved[1] && (a->reserved[1] == MEMORY_BLOCK || a->reserved[1] == MEMORY_PULLED) &&
    (uint32_t)a->reserved[0] == (uint32_t)b->reserved[0] && a->ep.id == b->ep.id;
}

static int give_back(const lyq_msg *m, size_t n, int consumed) {
  if (atomic_load_explicit(&lyqi_forked, memory_order_relaxed)) return 0;
  if (n && !m) return LYQ_EINVAL;
  for (size_t i = 0; i < n;) {
    const lyq_msg *first = &m[i];
    int64_t sum = 0;
    do {
      if (consumed) mark(&m[i]);
      sum += (int64_t)(m[i].reserved[0] >> 32);
    } while (++i < n && same_block(first, &m[i]));
    switch (first->reserved[1]) {
    case MEMORY_BLOCK: case MEMORY_PULLED: block_unref((uint32_t)first->reserved[0], sum); break;
    case MEMORY_LONG: case MEMORY_PULLED_LONG: case MEMORY_COPY: lyqi_long_unref((void *)(uintptr_t)first->data); break;
    default: continue;
    }
    if (first->ep.id) released(first->ep.id, sum);
  }
  return 0;
}

API int lyq_release(const lyq_msg *m, size_t n) { return give_back(m, n, 1); }

/* The worker has a reference of its own to what is not marked, until the endpoint is over (driver.gave). */
API int lyq_discard(const lyq_msg *m, size_t n) { return give_back(m, n, 0); }

API int lyq_ack(lyq_endpoint ep, lyq_tag tag, uint64_t id) {
  int err = 0;
  slot *s = lyqi_live(ep.id, KIND_ENDPOINT, &err);
  if (!s) return err;
  if (tag >> 16 >= LANES) return LYQ_EINVAL;
  int tell = slot_ack(s, ep.id, LYQ_LANE(tag), id);
  if (tell < 0) return tell == ACK_CLOSED ? LYQ_ECLOSED : LYQ_EINVAL;
  if (tell) lyqi_ring(s);
  return 0;
}

/* Pulling. An inbox's lock is held for as long as it takes to fill an array, and is contended only if several threads
 * pull from it at once. */

static void lock_inbox(inbox *in) {
  uint32_t was = 0;
  if (atomic_compare_exchange_strong(&in->lock, &was, 1)) return;
  while (atomic_exchange(&in->lock, 2) != 0) lyqi_sleep(&in->lock, 2, lyqi_clock() + 1000000000);
}

static void unlock_inbox(inbox *in) {
  if (atomic_exchange(&in->lock, 0) == 2) lyqi_wake(&in->lock);
}

/* Appends the slots that became ready to the list of those to be taken from. */
static void collect_ready(inbox *in) {
  uint64_t top = atomic_exchange(&in->stack, 0);
  uint32_t order = 0, last = (uint32_t)top;
  for (uint32_t i = (uint32_t)top; i;) {
    slot *s = slot_at(lyqi_root, i - 1);
    uint32_t next = s->queue_next;
    s->queue_next = order;
    order = i;
    i = next;
  }
  if (!order) return;
  if (in->tail) slot_at(lyqi_root, in->tail - 1)->queue_next = order; else in->head = order;
  in->tail = last;
}

static uint32_t pop_ready(inbox *in) {
  uint32_t i = in->head;
  in->head = slot_at(lyqi_root, i - 1)->queue_next;
  if (!in->head) in->tail = 0;
  return i;
}

static void push_ready(inbox *in, uint32_t i) {
  slot_at(lyqi_root, i - 1)->queue_next = 0;
  if (in->tail) slot_at(lyqi_root, in->tail - 1)->queue_next = i; else in->head = i;
  in->tail = i;
}

/* Takes items from one queue. *more is 0 once it is empty, -1 once its endpoint is closed: nothing follows, and 2 after
 * LYQ_RESTARTED: until the program has seen to it nothing more of the endpoint is taken, for lyq_unacked lists what
 * belongs to the last. */
static size_t take_from(slot *s, lyq_msg *m, size_t max, int *more) {
  office *o = lyqi_office;
  uint64_t id = atomic_load(&s->id);
  void *ctx = (void *)(uintptr_t)atomic_load(&s->context);
  size_t n = 0;
  uint64_t bytes = 0;
  *more = 1;
  while (n < max && bytes < QUANTUM) {
    uint32_t next = atomic_load(&parcel_at(o, s->queue_first)->next);
    if (!next) { *more = 0; return n; }
    parcel *p = parcel_at(o, next);
    if (p->kind == PARCEL_RUN) {
      while (n < max && p->size && bytes < QUANTUM) {
        uint64_t whole = item_of(&m[n++], (char *)(uintptr_t)p->data, id, ctx, p->block, MEMORY_PULLED, p->first);
        p->data += whole;
        p->size -= whole;
        bytes += whole;
      }
      give_below(s, p->first);
      if (p->size) return n;
    } else {
      lyq_msg *q = &m[n++];
      memset(q, 0, sizeof *q);
      q->ep.id = handle_kind(id) == KIND_ENDPOINT ? id : 0;   /* an inbox's own items are of no endpoint */
      q->ctx = ctx;
      q->data = (const uint8_t *)(uintptr_t)p->data;
      q->size = p->size;
      q->tag = p->tag;
      q->kind = p->kind == PARCEL_LONG ? LYQ_DATA : p->kind;
      q->code = p->code;
      if (p->kind == PARCEL_LONG) {
        q->id = p->first[0];
        atomic_store(&s->lanes[LYQ_LANE(p->tag)].given, q->id + 1);
      } else {
        q->token = p->first[0];
      }
      if (p->kind == LYQ_RESTARTED || p->kind == LYQ_CLOSED) q->token = lyqi_remains_enter(s, q->data);
      if (p->kind == LYQ_TIMER) q->ctx = (void *)(uintptr_t)p->first[1];
      if (p->kind == LYQ_ACCEPTED && !q->ep.id) {   /* in a lobby: it has no queue of its own yet */
        q->ep.id = p->first[1];
        q->ctx = (void *)(uintptr_t)p->first[2];
      }
      q->reserved[0] = p->size << 32;
      q->reserved[1] = !p->data ? MEMORY_NONE : p->kind == PARCEL_LONG ? MEMORY_PULLED_LONG : MEMORY_LONG;
      bytes += p->size + WORD;
    }
    int closed = p->kind == LYQ_CLOSED, restarted = p->kind == LYQ_RESTARTED;
    pool_give_dirty(&o->parcels, s->queue_first);
    s->queue_first = next;
    if (closed) { *more = -1; return n; }
    lyqi_unhold(s, PARCEL_HOLD);
    if (restarted) { *more = 2; return n; }
  }
  return n;
}

/* Fills m from the ready endpoints in turn. */
static size_t take(inbox *in, lyq_msg *m, size_t max) {
  size_t n = 0;
  while (n < max) {
    collect_ready(in);
    if (!in->head) break;
    uint32_t i = pop_ready(in);
    slot *s = slot_at(lyqi_root, i - 1);
    int more;
    n += take_from(s, m + n, max - n, &more);
    if (more > 0) push_ready(in, i);
    if (more == 2) break;
    if (more > 0) continue;
    if (more < 0) {   /* the last parcel stays behind as the one taken last */
      pool_give_dirty(&lyqi_office->parcels, s->queue_first);
      s->queue_first = 0;
      lyqi_unhold(s, PARCEL_HOLD);
      continue;
    }
    /* It is empty: say so and look again, because a parcel put in between has told nobody. */
    atomic_store(&s->queue_ready, 0);
    uint32_t late = atomic_load(&parcel_at(lyqi_office, s->queue_first)->next);
    if (late && !atomic_exchange(&s->queue_ready, 1)) push_ready(in, i);
  }
  return n;
}

/* See Office.Signals. */
static void signal_inbox(inbox *in) {
  uint64_t one = 1;
  if (atomic_load(&in->watched) && write(atomic_load(&in->fd), &one, sizeof one) < 0) { /* full: readable as well */ }
  if (atomic_load(&in->sleepers)) lyqi_wake(&in->armed);
}

/* One attempt. Leaves the descriptor, if it is watched, readable exactly if something may be left. */
static size_t try_take(inbox *in, lyq_msg *m, size_t max) {
  lock_inbox(in);
  size_t n = take(in, m, max);
  if (n == 0) {
    uint64_t count;
    if (atomic_load(&in->watched) && read(atomic_load(&in->fd), &count, sizeof count) < 0) { /* it was not readable */ }
    atomic_store(&in->armed, 1);
    n = take(in, m, max);
    uint32_t armed = 1;
    if (n && atomic_compare_exchange_strong(&in->armed, &armed, 0)) signal_inbox(in);
  }
  unlock_inbox(in);
  return n;
}

/* Waits until the inbox is signalled, or until the deadline (0: none): on the word armed, or, once the program knows
 * the descriptor, on that. */
static int await_signal(inbox *in, int64_t deadline) {
  if (!atomic_load(&in->watched)) {
    atomic_fetch_add(&in->sleepers, 1);
    int err = atomic_load(&in->watched) || atomic_load(&in->closed) ? 0 : lyqi_sleep(&in->armed, 1, deadline);
    atomic_fetch_sub(&in->sleepers, 1);
    return err;
  }
  int64_t left = deadline ? (deadline - lyqi_clock() + 999999) / 1000000 : 1000;
  if (left <= 0) return LYQ_ETIMEDOUT;
  struct pollfd p = {atomic_load(&in->fd), POLLIN, 0};
  sigset_t before;
  lyqi_hold_urgent(&before);
  int err = poll(&p, 1, left > 1000 ? 1000 : (int)left) < 0 && errno == EINTR ? LYQ_EINTR : 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return err;
}

/* Whether an inbox is closed, for a caller that is counted in users: whoever frees the inbox sees the one or shows the
 * other. */
static int inbox_gone(inbox *in, slot *s, uint64_t id) {
  return !slot_lives(s, id) || atomic_load(&s->state) & STATE_CLOSED || atomic_load(&in->closed);
}

static int pull(inbox *in, slot *s, uint64_t id, lyq_msg *m, size_t max, int timeout_ms) {
  int64_t deadline = timeout_ms < 0 ? 0 : lyqi_clock() + (int64_t)timeout_ms * 1000000;
  for (;;) {
    if (inbox_gone(in, s, id)) return LYQ_ECLOSED;
    size_t n = try_take(in, m, max);
    if (n) return (int)n;
    if (timeout_ms == 0) return LYQ_EAGAIN;
    if (lyqi_in_callback) return LYQ_EDEADLK;
    int err = await_signal(in, deadline);
    if (err < 0) return err;
  }
}

API int lyq_recv(lyq_inbox h, lyq_msg *m, size_t max, int timeout_ms) {
  int err = 0;
  if (!m || !max || max > INT32_MAX || timeout_ms < -1) return LYQ_EINVAL;
  slot *s = lyqi_live(h.id, KIND_INBOX, &err);
  if (!s) return err;
  inbox *in = inbox_at(lyqi_office, atomic_load(&s->inbox));
  atomic_fetch_add(&in->users, 1);
  err = pull(in, s, h.id, m, max, timeout_ms);
  atomic_fetch_sub(&in->users, 1);
  return err;
}

API int lyq_inbox_fd(lyq_inbox h) {
  int err = 0;
  slot *s = lyqi_live(h.id, KIND_INBOX, &err);
  if (!s) return err;
  inbox *in = inbox_at(lyqi_office, atomic_load(&s->inbox));
  atomic_fetch_add(&in->users, 1);   /* else another thread's close could close the descriptor meanwhile */
  int fd = inbox_gone(in, s, h.id) ? LYQ_ECLOSED : atomic_load(&in->fd);
  /* An inbox that is not armed may hold something, for which nobody has written the descriptor. */
  if (fd >= 0 && !atomic_exchange(&in->watched, 1) && !atomic_load(&in->armed)) signal_inbox(in);
  atomic_fetch_sub(&in->users, 1);
  return fd;
}

/* Refuses pullers, and wakes those that wait. */
void lyqi_inbox_close(uint32_t i) {
  inbox *in = inbox_at(lyqi_office, i);
  atomic_store(&in->closed, 1);
  atomic_store(&in->armed, 0);   /* so that a thread about to sleep does not */
  signal_inbox(in);
}

/* Drops what lies in an inbox that is closed, so that its endpoints' slots come back. */
int lyqi_inbox_drain(uint32_t i) {
  lyq_msg m[BATCH];
  inbox *in = inbox_at(lyqi_office, i);
  size_t n;
  if (atomic_load(&in->users)) return 0;
  while ((n = take(in, m, BATCH)) > 0) lyq_release(m, n);
  return 1;
}
