/* What becomes of messages that a restart of the peer, or the end, left unacknowledged: counts, and lists that go with
 * the event's data. Lists are looked up and freed by any thread, but rarely: one lock is enough. Nobody waits in it. */
#include "internal.h"
#include <pthread.h>
#include <stdlib.h>

/* How far a list was gone through: offset is in a part's bytes, id of the message that comes next. */
typedef struct place { uint32_t listed; uint64_t part, offset, id; } place;

struct remains {
  remains *next;               /* of the same slot: given to the program before */
  slot *s;                     /* NULL: the program was not given it yet */
  slot *untold;                /* which counts it until it is freed, in that life; NULL: none does */
  uint64_t life;
  uint64_t n;
  uint32_t number, budget;
  int64_t charged;
  place at;                    /* where the last lyq_unacked ended, for there the next one begins */
  lyqi_part parts[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic uint32_t numbers;

enum { ACCOUNT_SIZE = 48 };    /* of LaneAccount in schema/event.fbs */
_Static_assert(offsetof(lyq_lane_account, reserved) == ACCOUNT_SIZE, "LaneAccount");
enum { NUMBER_SHIFT = 32 };    /* of a token, and of a cursor, whose lower half counts what was listed */

void *lyqi_remains_new(uint64_t n, uint64_t bytes, uint32_t budget, int64_t charged, void *untold) {
  remains *r = malloc(sizeof *r + n * sizeof *r->parts + bytes);
  if (!r) return NULL;
  *r = (remains){.n = n, .budget = budget, .charged = charged, .untold = untold};
  if (untold) r->life = atomic_load(&r->untold->id);
  do r->number = atomic_fetch_add(&numbers, 1) + 1; while (!r->number);
  return r;
}

lyqi_part *lyqi_remains_parts(void *r) { return ((remains *)r)->parts; }

void lyqi_long_remains(void *data, void *r) { ((long_head *)data - 1)->remains = r; }

uint64_t lyqi_remains_enter(slot *s, const void *data) {
  remains *r = data ? ((const long_head *)data - 1)->remains : NULL;
  if (!r) return 0;
  pthread_mutex_lock(&lock);
  r->s = s;
  r->next = (remains *)(uintptr_t)atomic_load(&s->remains);
  atomic_store(&s->remains, (uint64_t)(uintptr_t)r);
  pthread_mutex_unlock(&lock);
  return (uint64_t)r->number << NUMBER_SHIFT;
}

/* Takes a list out of its slot's, which holds the event until its data is freed. */
static void leave(remains *r) {
  pthread_mutex_lock(&lock);
  remains *at = (remains *)(uintptr_t)atomic_load(&r->s->remains);
  if (at == r) {
    atomic_store(&r->s->remains, (uint64_t)(uintptr_t)r->next);
  } else {
    while (at->next != r) at = at->next;
    at->next = r->next;
  }
  pthread_mutex_unlock(&lock);
}

/* Goes to the next message and returns its entry, in part r->parts[p->part]; NULL behind the last. Its number is
 * p->id - 1 then. */
static const uint64_t *next_message(const remains *r, place *p) {
  for (; p->part < r->n; p->part++, p->offset = 0) {
    const lyqi_part *part = &r->parts[p->part];
    if (p->offset == 0) p->id = part->first;
    while (p->offset < part->size) {
      const uint64_t *entry = (const uint64_t *)(uintptr_t)(part->addr + p->offset);
      uint32_t kind = frame_kind(*entry);
      p->offset += entry_words(*entry) * WORD;
      p->id += kind != FRAME_PAD && kind != FRAME_TIMED;
      if (kind != FRAME_MSG && kind != FRAME_REF) continue;
      p->listed++;
      return entry;
    }
  }
  return NULL;
}

static const reference *reference_of(const uint64_t *entry) { return (const reference *)(const void *)(entry + 1); }

/* Gives back what a message refers to. Memory of Go is not among it: nobody sends any through this API. */
static void give_back(const reference *ref) {
  root *t = lyqi_root;
  switch (ref->release) {
  case RELEASE_NOTHING: case RELEASE_HELD: break;
  case RELEASE_CHUNK: pool_give_dirty(&t->chunks, (uint32_t)ref->hint); break;
  case RELEASE_BLOCK: pool_give_dirty(&t->blocks, (uint32_t)ref->hint); break;
  default: lyqi_release(ref->release, ref->addr, ref->hint);
  }
}

void lyqi_remains_free(remains *r) {
  if (!r) return;
  if (r->s) leave(r);
  for (uint64_t i = 0; i < r->n; i++) {
    const lyqi_part *part = &r->parts[i];
    place p = {0, i, 0, 0};
    const uint64_t *entry;
    while (part->references && (entry = next_message(r, &p)) != NULL && p.part == i)
      if (frame_kind(*entry) == FRAME_REF) give_back(reference_of(entry));
    if (part->chunk) pool_give_dirty(&lyqi_root->chunks, part->chunk);
  }
  budget_uncharge(lyqi_root, r->budget, r->charged);
  if (r->untold && slot_lives(r->untold, r->life)) atomic_fetch_sub(&r->untold->untold, 1);
  free(r);
}

static lyq_msg listed(uint64_t id, slot *s, const lyqi_part *part, uint64_t number, const uint64_t *entry) {
  const reference *ref = frame_kind(*entry) == FRAME_REF ? reference_of(entry) : NULL;
  lyq_msg m;
  memset(&m, 0, sizeof m);
  m.ep.id = id;
  m.ctx = (void *)(uintptr_t)atomic_load(&s->context);
  m.data = ref ? (const uint8_t *)(uintptr_t)ref->addr : (const uint8_t *)(entry + 1);
  m.size = ref ? ref->size : (uint32_t)*entry;
  m.id = number;
  m.tag = LYQ_TAG(part->lane, *entry >> 48);
  m.kind = number < part->touched ? LYQ_MAYBE_DELIVERED : LYQ_NEVER_SENT;
  m.reserved[0] = (m.size + WORD) << 32;
  m.reserved[1] = MEMORY_BORROWED;
  return m;
}

API int lyq_unacked(lyq_endpoint ep, uint64_t *cursor, lyq_msg *out, size_t max) {
  int err = 0;
  slot *s = lyqi_slot(ep.id, KIND_ENDPOINT, &err);
  if (!s) return err;
  if (!cursor || (max && !out)) return LYQ_EINVAL;
  uint32_t number = (uint32_t)(*cursor >> NUMBER_SHIFT);
  size_t n = 0;
  const uint64_t *entry;
  pthread_mutex_lock(&lock);
  remains *r = (remains *)(uintptr_t)atomic_load(&s->remains);
  while (r && number && r->number != number) r = r->next;
  if (r) {
    place p = r->at.listed == (uint32_t)*cursor ? r->at : (place){0, 0, 0, 0};
    while (p.listed < (uint32_t)*cursor && next_message(r, &p)) { }
    while (n < max && n < INT32_MAX && (entry = next_message(r, &p)) != NULL)
      out[n++] = listed(ep.id, s, &r->parts[p.part], p.id - 1, entry);
    r->at = p;
    *cursor = ((uint64_t)r->number << NUMBER_SHIFT) + p.listed;
  }
  pthread_mutex_unlock(&lock);
  if (r) return (int)n;
  return slot_lives(s, ep.id) && !(atomic_load(&s->state) & STATE_CLOSED) ? LYQ_EINVAL : LYQ_ECLOSED;
}

/* The lanes' counts are a vector of structs, field 0 of RestartedDetail and 2 of ClosedDetail: see schema/event.fbs. */
API int lyq_account(const lyq_msg *m, lyq_lane_account out[LANES]) {
  if (atomic_load(&lyqi_forked)) return LYQ_EFORKED;
  if (!m || !out || (m->kind != LYQ_RESTARTED && m->kind != LYQ_CLOSED)) return LYQ_EINVAL;
  if (!m->data) return LYQ_ENOMEM;
  const uint8_t *table = m->data + *(const uint32_t *)(const void *)m->data;
  const uint8_t *fields = table - *(const int32_t *)(const void *)table;
  unsigned field = 4 + 2 * (m->kind == LYQ_CLOSED ? 2 : 0);
  const uint8_t *at = table + *(const uint16_t *)(const void *)(fields + field);
  const uint8_t *vector = at + *(const uint32_t *)(const void *)at;
  memset(out, 0, LANES * sizeof *out);
  for (size_t i = 0; i < LANES; i++) memcpy(&out[i], vector + 4 + i * ACCOUNT_SIZE, ACCOUNT_SIZE);
  return 0;
}
