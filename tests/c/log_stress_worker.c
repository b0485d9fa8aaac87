/* The consumer: readers of lanes, and workers that sleep, as engine/outbox and engine/driver do it. */
#include "log_stress.h"

#include <poll.h>

static uint64_t chunk_words(const table *t) { return (UINT64_C(1) << t->root.chunks.shift) / WORD; }

void reader_open(reader *r, slot *s, int ln, uint64_t bound) {
  memset(r, 0, sizeof *r);
  r->first = atomic_load(&s->lanes[ln].limit);
  r->bound = bound / WORD;
  r->slot = s;
  r->ln = ln;
}

/* The word at a position, or NULL if no chunk is there. */
static _Atomic uint64_t *word_at(const table *t, reader *r, uint64_t pos) {
  uint32_t chunk = atomic_load(lane_place(&t->root, r->slot, r->ln, pos));
  return chunk ? log_word(&t->root, chunk, pos) : NULL;
}

static uint64_t header_at(const table *t, reader *r, uint64_t pos) {
  _Atomic uint64_t *word = word_at(t, r, pos);
  return word ? atomic_load(word) : 0;
}

/* Gives back what the reference at a position stands for. */
static void unrefer(table *t, reader *r, uint64_t pos) {
  reference ref;
  memcpy(&ref, (const char *)(word_at(t, r, pos) + 1), sizeof ref);
  atomic_fetch_sub(&r->slot->lanes[r->ln].charged, (int64_t)ref.size);
  budget_uncharge(&t->root, 0, reference_takes(&t->root, &ref));
  pool_give_dirty(&t->root.chunks, (uint32_t)ref.hint);
}

/* The header of the next message behind padding from *pos, and where it is; 0 if none is published. */
static uint64_t next_header(const table *t, reader *r, uint64_t *pos) {
  uint64_t header;
  while (frame_kind(header = header_at(t, r, *pos)) == FRAME_PAD) *pos += entry_words(header);
  return header;
}

int reader_ready(const table *t, reader *r) {
  uint64_t pos = r->sent;
  return next_header(t, r, &pos) != 0;
}

/* Checks a message: whole, in its place, and the next one of its producer. */
static void arrive(table *t, reader *r, const char *b, uint64_t size) {
  uint64_t name, id, sum;
  if (size < MESSAGE_MIN) { broken(&t->stage, "a message of %llu bytes", (unsigned long long)size); return; }
  memcpy(&name, b, WORD);
  memcpy(&id, b + WORD, WORD);
  memcpy(&sum, b + size - WORD, WORD);
  if (sum != checksum(b, size - WORD) || name % 256 >= PRODUCERS) {
    broken(&t->stage, "message %llu of lane %d is damaged", (unsigned long long)r->taken, r->ln);
    return;
  }
  if (id != r->taken) broken(&t->stage, "message %llu was told another id", (unsigned long long)r->taken);
  if (name / 256 != r->next[name % 256]++) broken(&t->stage, "lane %d: messages of a producer are out of order", r->ln);
}

/* Takes one message. Returns 0 if none is published, 2 if it was withdrawn: at 1, if now is that late. */
static int take(table *t, reader *r, int now) {
  uint64_t pos = r->sent, header = next_header(t, r, &pos);
  _Atomic uint64_t *timed = NULL;
  int late = 0;
  if (!header) return 0;
  if (frame_kind(header) == FRAME_TIMED) {
    timed = word_at(t, r, pos);
    uint64_t until = atomic_load(timed + 1);
    if (until - 1 > 1) broken(&t->stage, "a deadline of %llu", (unsigned long long)until);
    late = (int)until <= now;
    pos += TIMED;
    header = header_at(t, r, pos);
  }
  const char *payload = (const char *)(word_at(t, r, pos) + 1);
  if ((header >> 40 & 0xff) != (uint64_t)r->ln || header >> 48 != CHANNEL) {
    broken(&t->stage, "header %llx in lane %d", (unsigned long long)header, r->ln);
    return 0;
  }
  if (frame_kind(header) == FRAME_REF) {
    reference ref;
    memcpy(&ref, payload, sizeof ref);
    arrive(t, r, (const char *)(uintptr_t)ref.addr, ref.size);
  } else if (frame_kind(header) == FRAME_MSG) {
    arrive(t, r, payload, (uint32_t)header);
  } else {
    broken(&t->stage, "header %llx in lane %d", (unsigned long long)header, r->ln);
    return 0;
  }
  r->taken++;
  r->sent = pos + entry_words(header);
  if (late && frame_kind(header) == FRAME_REF) unrefer(t, r, pos);
  uint64_t whole = (TIMED + entry_words(header) - 1) * WORD;
  if (late) atomic_store(timed, frame_header(whole, FRAME_WITHDRAWN, (uint64_t)r->ln, 0));
  else if (timed) atomic_store(timed, frame_header(WORD, FRAME_PAD, (uint64_t)r->ln, 0));
  /* Padding is taken with what comes before, within the chunk: nothing need ever follow it. */
  while (r->sent % chunk_words(t) != 0 && frame_kind(header = header_at(t, r, r->sent)) == FRAME_PAD)
    r->sent += entry_words(header);
  return 1 + late;
}

/* Gives back the references between two positions of a chunk. */
static void free_references(table *t, reader *r, uint64_t from, uint64_t to) {
  while (from < to) {
    uint64_t header = header_at(t, r, from);
    if (frame_kind(header) == FRAME_REF) unrefer(t, r, from);
    from += entry_words(header);
  }
}

/* Empties the place of a chunk. The head moves on after that; producers rely on it. */
static uint32_t take_chunk(table *t, reader *r, uint64_t pos) {
  return atomic_exchange(lane_place(&t->root, r->slot, r->ln, pos), 0);
}

static void give_chunk(table *t, uint32_t chunk, uint64_t used) {
  memset(pool_piece(&t->root.chunks, chunk), 0, used * WORD);
  pool_give_clean(&t->root.chunks, chunk);
  budget_uncharge(&t->root, 0, (int64_t)pool_piece_size(&t->root.chunks));
}

/* The large directory's first position follows the head; see Reader.follow. */
static void publish_head(reader *r) {
  lane *l = &r->slot->lanes[r->ln];
  uint64_t large = atomic_load(&l->large);
  if (large && ((r->freed - large) & POS_MASK) < POS_HALF)
    atomic_store(&l->large, (large & ~POS_MASK) | (r->freed & POS_MASK));
  atomic_store(&l->head_seq, r->taken);
  atomic_store(&l->head, r->freed);
}

/* The first chunk's start that a claim cannot reach with a limit. */
static uint64_t beyond(const table *t, const reader *r, uint64_t limit) {
  uint64_t per = chunk_words(t);
  return (r->freed + limit + per - 1) / per * per;
}

void reader_grow(table *t, reader *r) {
  lane *l = &r->slot->lanes[r->ln];
  uint64_t limit = atomic_load(&l->limit), next = 2 * limit < r->bound ? 2 * limit : r->bound;
  if (next <= limit) return;
  if (next > (INLINE_PIECES - 1) * chunk_words(t) && atomic_load(&l->large) == 0) {
    uint64_t directory = pool_take_clean(&t->root.directories);
    if (!directory) return;
    atomic_store(&l->large, directory << 32 | (beyond(t, r, limit) & POS_MASK));
    atomic_fetch_add_explicit(&t->grown, 1, memory_order_relaxed);
  }
  atomic_store(&l->limit, (uint32_t)next);
}

/* Takes back what reader_grow did. */
static void shrink(table *t, reader *r) {
  lane *l = &r->slot->lanes[r->ln];
  uint64_t large = atomic_exchange(&l->large, 0);
  if (large) pool_give_clean(&t->root.directories, (uint32_t)(large >> 32));
  atomic_store(&l->limit, (uint32_t)r->first);
}

void reader_free(table *t, reader *r) {
  uint64_t per = chunk_words(t);
  while (r->freed < r->sent) {
    uint64_t end = (r->freed | (per - 1)) + 1, stop = r->sent < end ? r->sent : end;
    free_references(t, r, r->freed, stop);
    if (stop == end) give_chunk(t, take_chunk(t, r, stop - 1), per);
    r->freed = stop;
  }
  publish_head(r);
}

int reader_some(table *t, reader *r, dice *d, int most) {
  for (int took; most-- > 0 && (took = take(t, r, 1)) != 0;) {
    atomic_fetch_add_explicit(took == 1 ? &t->arrived : &t->withdrawn, 1, memory_order_relaxed);
    if (roll(d, 3)) reader_free(t, r);
  }
  return reader_ready(t, r) || r->freed != r->sent;
}

void reader_rest(table *t, reader *r) {
  lane *l = &r->slot->lanes[r->ln];
  uint64_t old = atomic_load(&l->tail), limit = atomic_load(&l->limit), large = atomic_load(&l->large);
  uint64_t per = chunk_words(t), used = r->freed % per, next = r->freed - used + per;
  uint64_t ahead = (large - r->freed) & POS_MASK;   /* of a large directory that the log has not come to */
  int comes = large && ahead != 0 && ahead < POS_HALF;
  if (r->freed != r->sent || ((old - r->freed) & POS_MASK) != 0) return;
  if (!large && used == 0) { shrink(t, r); return; }
  if (comes) next = r->freed + ahead;
  else if (large) {
    next = beyond(t, r, limit);
    atomic_store(&l->large, (large & ~POS_MASK) | ((next - POS_HALF) & POS_MASK));
  }
  if (!atomic_compare_exchange_strong(&l->tail, &old, (old & ~POS_MASK) | (next & POS_MASK))) {
    atomic_store(&l->large, large);
    return;
  }
  uint32_t chunk = used ? take_chunk(t, r, r->freed) : 0;
  if (!comes) shrink(t, r);
  r->freed = r->sent = next;
  publish_head(r);
  if (used) give_chunk(t, chunk, used);
  atomic_fetch_add_explicit(&t->rests, 1, memory_order_relaxed);
  if (comes) reader_rest(t, r);
}

int reader_settled(table *t, reader *r) {
  uint64_t tail = atomic_load(&r->slot->lanes[r->ln].tail), pos = r->sent, header;
  while (((tail - pos) & POS_MASK) != 0) {
    if ((header = header_at(t, r, pos)) == 0) return 0;
    pos += entry_words(header);
  }
  return 1;
}

uint64_t reader_drop(table *t, reader *r) {
  uint64_t before = r->taken;
  while (take(t, r, 0)) { }
  reader_free(t, r);
  if (r->freed % chunk_words(t) != 0) give_chunk(t, take_chunk(t, r, r->freed), r->freed % chunk_words(t));
  shrink(t, r);
  return r->taken - before;
}

int reader_has_room(reader *r) {
  lane *l = &r->slot->lanes[r->ln];
  int64_t used = (int64_t)((atomic_load(&l->tail) - r->freed) & POS_MASK) * WORD;
  return used == 0 || used + atomic_load(&l->charged) <= (int64_t)atomic_load(&l->limit) * WORD / 2;
}

void worker_open(worker *w, table *t, uint32_t own) {
  memset(w, 0, sizeof *w);
  w->table = t;
  w->own = own;
  w->event = atomic_load(&t->bells[own].fd);
  w->dice.state = t->stage.seed ^ (own + 1) * 0x9e3779b97f4a7c15u;
}

/* Begins a life at a place; waits for a slot whose late notices this worker or another is about to see. */
static void begin(worker *w, int place);

static void bury(worker *w, endpoint *e) {
  table *t = w->table;
  slot *s = e->readers[0].slot;
  e->again = 1;
  for (int i = 0; i < LANES; i++)
    if (!reader_settled(t, &e->readers[i])) return;
  for (int i = 0; i < LANES; i++) atomic_fetch_add(&t->unsent, reader_drop(t, &e->readers[i]));
  table_retire(t, s);
  atomic_fetch_add(&t->lives_ended, 1);
  int place = e->place;
  *e = w->endpoints[--w->count];
  if (!atomic_load(&t->stage.done)) begin(w, place);
}

/* Does some of what there is to do for an endpoint. */
static void step(worker *w, endpoint *e) {
  table *t = w->table;
  slot *s = e->readers[0].slot;
  e->again = 0;
  for (int i = 0; i < LANES; i++) {
    if (reader_some(t, &e->readers[i], &w->dice, 1 + (int)roll(&w->dice, 8))) e->again = 1;
    uint64_t what = roll(&w->dice, 8);
    if (what < 2) {
      reader_free(t, &e->readers[i]);
      reader_rest(t, &e->readers[i]);
    } else if (what < 5) {
      reader_grow(t, &e->readers[i]);
    }
  }
  if (atomic_load(&t->stage.done) || roll(&w->dice, 100) == 0) {
    e->closing = 1;
    log_close(s, e->id);
    atomic_fetch_add(&s->room, 1);
  }
  uint32_t want = atomic_load(&s->want);
  for (int i = 0; i < LANES; i++) {
    uint32_t bits = want & ((uint32_t)WANT_WAKE << i);
    if (!bits || !reader_has_room(&e->readers[i])) continue;
    atomic_fetch_and(&s->want, ~bits);
    atomic_fetch_add(&s->room, 1);
  }
  if (e->closing) bury(w, e);
}

/* Takes the slots noticed so far, oldest first; see Table.Notices. */
static int notices(worker *w) {
  table *t = w->table;
  uint64_t head = atomic_exchange(&t->bells[w->own].stack, 0);
  uint32_t order = 0, next;
  int n = 0;
  for (; head != 0; head = next) {
    slot *s = slot_at(&t->root, (uint32_t)head - 1);
    next = atomic_exchange(&s->next, order);
    order = (uint32_t)head;
  }
  for (; order != 0; order = next, n++) {
    slot *s = slot_at(&t->root, order - 1);
    next = atomic_load(&s->next);
    atomic_store(&s->scheduled, 0);
    if (atomic_load(&s->owner) != w->own) { slot_ring(&t->root, s); continue; }
    for (int i = 0; i < w->count; i++)
      if (w->endpoints[i].readers[0].slot == s) { step(w, &w->endpoints[i]); break; }
  }
  return n;
}

static void begin(worker *w, int place) {
  table *t = w->table;
  uint64_t piece = pool_piece_size(&t->root.chunks), bound = (1 + roll(&w->dice, BOUND_MOST)) * piece;
  uint64_t limit = bound < (INLINE_PIECES - 1) * piece ? bound : (INLINE_PIECES - 1) * piece;
  slot *s = table_allocate(t, w->own, limit);
  for (int64_t until = clock_ns() + PATIENCE_S * INT64_C(1000000000); !s; s = table_allocate(t, w->own, limit)) {
    if (clock_ns() > until) { broken(&t->stage, "no slot comes back"); return; }
    usleep(10);
  }
  endpoint *e = &w->endpoints[w->count++];
  memset(e, 0, sizeof *e);
  e->id = atomic_load(&s->id);
  e->place = place;
  for (int i = 0; i < LANES; i++) reader_open(&e->readers[i], s, i, bound);
  atomic_store(&t->stage.handles[place], e->id);
}

/* Sleeps until somebody rings. Returns 0 if nobody did although there is work. */
static int sleep_soundly(worker *w) {
  table *t = w->table;
  struct pollfd event = {w->event, POLLIN, 0};
  uint64_t count;
  if (poll(&event, 1, PATIENCE_S * 1000) == 1) return read(w->event, &count, sizeof count) == sizeof count;
  for (int i = 0; i < w->count; i++)
    for (int k = 0; k < LANES; k++)
      if (reader_ready(t, &w->endpoints[i].readers[k])) {
        broken(&t->stage, "worker %u sleeps over a message: a wake-up was lost", w->own);
        return 0;
      }
  return 1;
}

void *worker_run(void *arg) {
  worker *w = arg;
  table *t = w->table;
  bell *b = &t->bells[w->own];
  for (int i = (int)w->own; i < PLACES; i += WORKERS) begin(w, i);
  while (!atomic_load(&t->stage.failed)) {
    int work = notices(w), done = atomic_load(&t->stage.done);
    for (int i = w->count - 1; i >= 0; i--)
      if (w->endpoints[i].again || done) { step(w, &w->endpoints[i]); work++; }
    if (done && w->count == 0) break;
    if (work) continue;
    atomic_store(&b->state, 1);
    if (atomic_load(&b->stack) == 0 && !atomic_load(&t->stage.done) && !sleep_soundly(w)) break;
    atomic_store(&b->state, 0);
  }
  return NULL;
}
