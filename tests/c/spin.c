/* spin SECONDS SEED: calls functions at random, with handles that live, lived or never did, from one thread and from
 * several, and inside callbacks. Only what must always hold is checked: nothing crashes or hangs, every result is one
 * that lyquor.h names, each endpoint ends with one LYQ_CLOSED, each context is dropped once, and lent memory comes back
 * once. */
#define _GNU_SOURCE 1
#include "kit.h"

enum { HANDLES = 96, LIVES = 100000, KEPT = 256, THREADS = 4, DRIVERS = 200, DRIVERS_AT_ONCE = 4 };

/* A life is the context of one endpoint or listener, for as long as the library has it. */
typedef struct life {
  int opened;              /* 1: the library took it */
  int pushes, listens;     /* whether it has a callback, and may have several endpoints */
  int accepted, closed, drops, after_drop;
} life;

static life lives[LIVES];
static int lives_used;
static uint64_t handles[HANDLES];         /* any kind, any state; read and written without order */
static int calm;                          /* 1: callbacks take everything, so that all can end */
static struct { pthread_mutex_t lock; uint64_t id[DRIVERS]; int n; } drivers = {.lock = PTHREAD_MUTEX_INITIALIZER};
static int lent, given_back, contexts_set, contexts_dropped, bad_results;
static struct { pthread_mutex_t lock; lyq_msg m[KEPT]; int n; } kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int get(const int *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static int count(int *p) { return __atomic_add_fetch(p, 1, __ATOMIC_ACQ_REL); }

/* result checks that a call returned success or an error that lyquor.h names. */
static int64_t result(const char *name, int64_t rc) {
  if (rc >= 0 || (rc >= LYQ_EPROTO && rc != LYQ_EINTERNAL)) return rc;
  if (count(&bad_results) < 20) note("%s returned %lld", name, (long long)rc);
  return rc;
}
#define CALL(f, ...) result(#f, f(__VA_ARGS__))

/* ---- Arguments. */

static void keep_handle(uint64_t id, uint64_t r) { __atomic_store_n(&handles[r % HANDLES], id, __ATOMIC_RELAXED); }

/* any_handle is mostly one that was handed out once; sometimes one with a bit changed, sometimes any number. */
static uint64_t any_handle(uint64_t *seed) {
  uint64_t r = random64(seed);
  uint64_t id = __atomic_load_n(&handles[r % HANDLES], __ATOMIC_RELAXED);
  if (r >> 58 == 0) return id ^ UINT64_C(1) << (r >> 32 & 63);
  if (r >> 58 == 1) return random64(seed);
  return id;
}

/* handle_of looks a few times for a handle of a kind; kinds are the highest byte, which lyquor.h leaves open, so that
 * it is learnt from the handles themselves. */
static uint64_t kind_byte[5];
enum { DRIVER, LISTENER, ENDPOINT, INBOX, TIMER };

static uint64_t handle_of(uint64_t *seed, int kind) {
  uint64_t id = any_handle(seed);
  for (int i = 0; i < 20 && id >> 56 != kind_byte[kind]; i++)
    id = any_handle(seed);
  return id;
}

static uint8_t data[300000];

static size_t any_size(uint64_t *seed) {
  uint64_t r = random64(seed);
  switch (r & 15) {
  case 0: return 0;
  case 1: return (r >> 8) % sizeof data;
  case 2: return 16380 + (r >> 8) % 10;
  case 3: return 65530 + (r >> 8) % 10;
  default: return (r >> 8) % 500;
  }
}

static lyq_tag any_tag(uint64_t *seed) {
  uint64_t r = random64(seed);
  return r >> 58 == 0 ? (lyq_tag)r : LYQ_TAG(r & 3, r >> 8 & 0xffff);
}

static life *new_life(void) {
  int i = __atomic_fetch_add(&lives_used, 1, __ATOMIC_RELAXED);
  return i < LIVES ? &lives[i] : NULL;
}

/* ---- What the library calls. */

static void act(uint64_t *seed);

static void on_life_drop(void *ctx) { count(&((life *)ctx)->drops); }
static void on_context_drop(void *ctx) { count(ctx); }
static void on_given_back(void *ctx) { count(ctx); }
static void on_tick(void *ctx) { (void)ctx; }

static void retain_one(const lyq_msg *m) {
  pthread_mutex_lock(&kept.lock);
  if (kept.n < KEPT && CALL(lyq_retain, m, &kept.m[kept.n]) == 0) kept.n++;
  pthread_mutex_unlock(&kept.lock);
}

static void release_one(void) {
  lyq_msg m;
  pthread_mutex_lock(&kept.lock);
  int have = kept.n > 0;
  if (have) m = kept.m[--kept.n];
  pthread_mutex_unlock(&kept.lock);
  if (have) CALL(lyq_release, &m, 1);
}

static void note_item(life *l, const lyq_msg *m, uint64_t *seed) {
  if (get(&l->drops) > 0) count(&l->after_drop);
  if (m->ep.id == 0) return;
  if (m->kind == LYQ_ACCEPTED) {
    count(&l->accepted);
    keep_handle(m->ep.id, random64(seed));
  }
  if (m->kind == LYQ_CLOSED) count(&l->closed);
}

static int on_items(void *ctx, const lyq_msg *m, size_t n) {
  static __thread uint64_t seed;
  life *l = ctx;
  if (seed == 0) seed = (uint64_t)now_ns();
  for (size_t i = 0; i < n; i++) {
    uint64_t r = random64(&seed) % 1000;
    if (!get(&calm) && m[i].kind == LYQ_DATA && r < 20) return r == 0 ? -1 : (int)i;
    note_item(l, &m[i], &seed);
    if (r > 950) retain_one(&m[i]);
    if (r > 900 && !get(&calm)) act(&seed);
  }
  return (int)n;
}

/* ---- Calls. */

static lyq_endpoint_opt any_options(uint64_t *seed, life *l) {
  uint64_t r = random64(seed);
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  if (r % 4 != 0) o.recv = on_items, l->pushes = 1;
  else if (r % 8 != 0) o.inbox.id = handle_of(seed, INBOX);
  o.ctx = l;
  o.drop = on_life_drop;
  o.connect_ms = 200;
  o.worker = r >> 8 & 1;
  o.ack = r >> 16 & 1;
  o.on_restart = (uint32_t)(r >> 20) % 3;
  if (r >> 60 == 0) o.window_bytes = 65536;
  if (r >> 60 == 1) o.outbox_bytes = 65536;
  return o;
}

/* open_driver_at keeps a few drivers alive at a time; all that ever were are remembered, to be waited for. */
static void open_driver_at(uint64_t r) {
  lyq_driver d;
  int alive = 0;
  LYQ_DEFAULTS(lyq_driver_opt, o);
  o.workers = 1 + r % 2;
  o.memory_limit = r >> 8 & 1 ? 0 : 4 << 20;
  pthread_mutex_lock(&drivers.lock);
  for (int i = 0; i < drivers.n; i++)
    alive += lyq_wait(drivers.id[i], LYQ_CLOSED, 0) != 0;
  if (drivers.n < DRIVERS && alive < DRIVERS_AT_ONCE && CALL(lyq_driver_open, &o, &d) == 0) {
    keep_handle(d.id, r >> 16);
    drivers.id[drivers.n++] = d.id;
  }
  pthread_mutex_unlock(&drivers.lock);
}

static void open_listener(uint64_t *seed) {
  static int names;
  char where[32];
  lyq_listener out;
  life *l = new_life();
  if (l == NULL) return;
  uint64_t r = random64(seed);
  if (r & 1) snprintf(where, sizeof where, "tcp://127.0.0.1:0");
  else snprintf(where, sizeof where, "mem://%d", count(&names) % 8);
  lyq_endpoint_opt o = any_options(seed, l);
  l->listens = 1;
  if (CALL(lyq_listen, (lyq_driver){handle_of(seed, DRIVER)}, where, &o, &out) != 0) return;
  __atomic_store_n(&l->opened, 1, __ATOMIC_RELEASE);
  keep_handle(out.id, r >> 16);
}

static int dial_one(uint64_t *seed, const char *where) {
  lyq_endpoint out;
  life *l = new_life();
  if (l == NULL) return 0;
  lyq_endpoint_opt o = any_options(seed, l);
  if (CALL(lyq_dial, (lyq_driver){handle_of(seed, DRIVER)}, where, &o, &out) != 0) return 0;
  __atomic_store_n(&l->opened, 1, __ATOMIC_RELEASE);
  keep_handle(out.id, random64(seed));
  return 1;
}

/* dial_pair joins two endpoints by a socket pair, whose descriptors are the library's if it took them. */
static void dial_pair(uint64_t *seed) {
  int fds[2];
  char where[32];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) return;
  for (int i = 0; i < 2; i++) {
    snprintf(where, sizeof where, "fd://%d", fds[i]);
    if (!dial_one(seed, where)) close(fds[i]);
  }
}

static void dial_something(uint64_t *seed) {
  char where[300];
  uint64_t r = random64(seed) % 8;
  if (r == 0) dial_one(seed, "tcp://127.0.0.1:1");
  else if (r == 1) dial_one(seed, "no address");
  else if (r == 2) dial_pair(seed);
  else if (r < 5) snprintf(where, sizeof where, "mem://%d", (int)(random64(seed) % 8)), dial_one(seed, where);
  else if (lyq_address(handle_of(seed, LISTENER), where, sizeof where) > 0) dial_one(seed, where);
}

static void send_claimed(uint64_t *seed) {
  lyq_claim c;
  lyq_endpoint ep = {handle_of(seed, ENDPOINT)};
  size_t size = any_size(seed);
  if (CALL(lyq_claim_open, ep, any_tag(seed), size, &c) != 0) return;
  if (size > 0) memset(c.data, 7, size);
  if (random64(seed) % 16 == 0) CALL(lyq_close, random64(seed) % 2 ? ep.id : handle_of(seed, DRIVER), 0);
  CALL(lyq_commit, ep, &c, random64(seed) % (size + 1));
}

static void send_one_lent(uint64_t *seed) {
  count(&lent);
  if (CALL(lyq_send_lent, (lyq_endpoint){handle_of(seed, ENDPOINT)}, any_tag(seed), data, any_size(seed), on_given_back,
           &given_back) < 0)
    count(&given_back);
}

static void receive_some(uint64_t *seed) {
  lyq_msg m[8];
  int64_t n = CALL(lyq_recv, (lyq_inbox){handle_of(seed, INBOX)}, m, 1 + random64(seed) % 8, (int)(random64(seed) % 3));
  for (int64_t i = 0; i < n; i++)
    if (m[i].kind == LYQ_ACCEPTED) keep_handle(m[i].ep.id, random64(seed));
  if (n > 0) CALL(lyq_release, m, (size_t)n);
}

static void open_small(uint64_t *seed) {
  lyq_inbox in;
  lyq_timer t;
  lyq_driver d = {handle_of(seed, DRIVER)};
  uint64_t r = random64(seed), with = r & 1 ? 0 : any_handle(seed);
  if (r & 2) {
    if (CALL(lyq_inbox_open, d, &in) == 0) keep_handle(in.id, r >> 8);
  } else if (CALL(lyq_timer_open, d, with, (int64_t)(r >> 40), on_tick, NULL, &t) == 0) {
    keep_handle(t.id, r >> 8);
  }
}

static void ask(uint64_t *seed) {
  uint64_t c[LYQ_W_COUNT], id = any_handle(seed);
  char text[100];
  CALL(lyq_counters, id, c, random64(seed) % LYQ_W_COUNT);
  CALL(lyq_explain, id, text, sizeof text);
  CALL(lyq_address, id, text, random64(seed) % sizeof text);
  CALL(lyq_inbox_fd, (lyq_inbox){id});
  CALL(lyq_worker_counters, (lyq_driver){id}, (uint32_t)(random64(seed) % 3), c, 1);
  CALL(lyq_now, (lyq_driver){id});
  CALL(lyq_set_worker, (lyq_endpoint){id}, (int)(random64(seed) % 4) - 1);
  snprintf(text, sizeof text, "mem://%d", (int)(random64(seed) % 8));
  CALL(lyq_switch, (lyq_endpoint){id}, text);
}

static void change(uint64_t *seed) {
  uint64_t id = any_handle(seed), r = random64(seed) % 8;
  life *l;
  switch (r) {
  case 0: CALL(lyq_end, (lyq_endpoint){id}); break;
  case 7: CALL(lyq_flush, (lyq_endpoint){id}); break;
  case 6: CALL(lyq_ack, (lyq_endpoint){id}, any_tag(seed), random64(seed) % 64); break;
  case 1:
    count(&contexts_set);
    if (CALL(lyq_set_ctx, id, &contexts_dropped, on_context_drop) != 0) count(&contexts_dropped);
    break;
  case 2: CALL(lyq_inbox_bind, (lyq_inbox){handle_of(seed, INBOX)}, id, -1); break;
  case 3:
    if ((l = new_life()) == NULL) break;
    l->listens = 1; /* a listener may take it, too */
    if (CALL(lyq_on_recv, id, -1, on_items, l, on_life_drop) == 0) __atomic_store_n(&l->opened, 1, __ATOMIC_RELEASE);
    break;
  case 4:
    CALL(lyq_quiesce, id, (int)(random64(seed) % 3));
    CALL(lyq_resume, id); /* nothing is left stopped, or it could not end */
    break;
  case 5: CALL(lyq_wait, id, random64(seed) % 2 ? LYQ_UP : LYQ_CLOSED, (int)(random64(seed) % 3)); break;
  default: CALL(lyq_resume, id); break;
  }
}

static void close_something(uint64_t *seed) {
  uint64_t id = any_handle(seed);
  if (id >> 56 == kind_byte[DRIVER] && random64(seed) % 16 != 0) return;
  CALL(lyq_close, id, (int)(random64(seed) % 4) * 10 - (random64(seed) % 8 == 0));
}

/* act makes one call; sends are the most frequent, as in life. */
static void act(uint64_t *seed) {
  const lyq_buf parts[2] = {{data, any_size(seed) / 2}, {data, any_size(seed) / 2}};
  lyq_endpoint ep = {handle_of(seed, ENDPOINT)};
  switch (random64(seed) % 24) {
  case 0: if (random64(seed) % 8 == 0) open_listener(seed); break; /* rare, so that what was opened lives for a while */
  case 1: if (random64(seed) % 4 == 0) dial_something(seed); break;
  case 2: open_small(seed); break;
  case 3: close_something(seed); break;
  case 4: ask(seed); break;
  case 5: case 6: change(seed); break;
  case 7: case 8: receive_some(seed); break;
  case 9: send_one_lent(seed); break;
  case 10: case 11: send_claimed(seed); break;
  case 12: CALL(lyq_sendv, ep, any_tag(seed), parts, 2); break;
  case 13: CALL(lyq_send_wait, ep, any_tag(seed), data, any_size(seed), (int)(random64(seed) % 3)); break;
  case 14: release_one(); break;
  case 15: CALL(lyq_send_ttl, ep, any_tag(seed), data, any_size(seed), 1 + (int)(random64(seed) % 3)); break;
  default: CALL(lyq_send, ep, any_tag(seed), data, any_size(seed)); break;
  }
}

/* ---- Runs. */

typedef struct runner { uint64_t seed; int64_t end_ns; long calls; pthread_t thread; } runner;

static void *run(void *arg) {
  runner *r = arg;
  while (now_ns() < r->end_ns) {
    uint64_t what = random64(&r->seed);
    if (what % 512 == 0) open_driver_at(what >> 16);
    act(&r->seed);
    r->calls++;
  }
  return NULL;
}

/* learn opens one of each kind, to see what handles look like. */
static void learn(void) {
  lyq_driver d = open_driver(2);
  lyq_inbox in;
  lyq_timer t;
  lyq_listener l;
  lyq_endpoint ep;
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  need(lyq_inbox_open(d, &in) == 0, "an inbox opens");
  need(lyq_timer_open(d, 0, INT64_MAX, on_tick, NULL, &t) == 0, "a timer opens");
  need(lyq_listen(d, "mem://learn", &o, &l) == 0, "a listener opens");
  need(lyq_dial(d, "mem://learn", NULL, &ep) == 0, "an endpoint opens");
  const uint64_t ids[5] = {d.id, l.id, ep.id, in.id, t.id};
  for (int i = 0; i < 5; i++) {
    kind_byte[i] = ids[i] >> 56;
    keep_handle(ids[i], (uint64_t)i);
  }
  drivers.id[drivers.n++] = d.id;
}

/* show says what there is to know of a handle that should have ended. */
static void show(uint64_t id) {
  char text[400];
  if (lyq_explain(id, text, sizeof text) >= 0) note("%#llx: %s", (unsigned long long)id, text);
}

/* settle ends everything that lives. */
static void settle(void) {
  int ended = 1;
  __atomic_store_n(&calm, 1, __ATOMIC_RELEASE);
  for (int i = 0; i < drivers.n; i++)
    lyq_close(drivers.id[i], 0);
  for (int i = 0; i < drivers.n; i++)
    ended &= lyq_wait(drivers.id[i], LYQ_CLOSED, patience_ms()) == 0;
  ok(ended, "all %d drivers end", drivers.n);
  for (int i = 0; i < drivers.n && !ended; i++)
    show(drivers.id[i]);
  for (int i = 0; i < HANDLES && !ended; i++)
    show(handles[i]);
  while (kept.n > 0)
    release_one();
}

static void check_lives(void) {
  int drops = 0, closes = 0, late = 0, used = lives_used < LIVES ? lives_used : LIVES;
  for (int i = 0; i < used; i++) {
    const life *l = &lives[i];
    if (!l->opened) continue;
    until(get(&l->drops) > 0);
    drops += l->drops != 1;
    late += l->after_drop;
    closes += l->listens ? l->pushes && l->closed != l->accepted : l->closed > 1 || (l->pushes && l->closed != 1);
  }
  note("%d contexts", used);
  is(drops, 0, "each context is dropped once");
  is(late, 0, "nothing comes after drop");
  is(closes, 0, "each endpoint ends with one LYQ_CLOSED");
  no_defects();
  is(bad_results, 0, "every result is one that lyquor.h names");
  ok(until(get(&given_back) == get(&lent)), "%d messages were lent: each comes back once", lent);
  ok(until(get(&contexts_dropped) == get(&contexts_set)), "%d contexts were set: each is dropped once", contexts_set);
}

int main(int argc, char **argv) {
  int seconds = argc > 1 ? atoi(argv[1]) : tap_slow() ? 6 : 4;
  uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)now_ns();
  runner runners[THREADS];
  long calls = 0;
  tap_begin();
  note("spin %d %llu", seconds, (unsigned long long)seed);
  learn();
  for (int phase = 0; phase < 2; phase++) {
    int threads = phase == 0 ? 1 : THREADS;
    for (int i = 0; i < threads; i++) {
      runners[i] = (runner){seed + (uint64_t)(phase * THREADS + i), now_ns() + seconds * INT64_C(500000000), 0, 0};
      need(pthread_create(&runners[i].thread, NULL, run, &runners[i]) == 0, "a thread starts");
    }
    for (int i = 0; i < threads; i++) {
      pthread_join(runners[i].thread, NULL);
      calls += runners[i].calls;
    }
    ok(1, "%ld calls, %d threads", calls, threads);
  }
  settle();
  check_lives();
  return tap_end();
}
