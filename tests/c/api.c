/* The control functions of the C API: each does what lyquor.h says of it. */
#define _GNU_SOURCE 1
#include "kit.h"
#include <poll.h>
#include <semaphore.h>

static void pause_ms(int ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL); }

/* ---- The library. */

static void test_library(void) {
  static const char *const has[] = {"tcp", "mem", "fd", "pull", "portable"};
  int distinct = 1;
  ok(lyq_abi_version() >= LYQ_ABI_VERSION, "the library's ABI is no older than the header's");
  ok(lyq_version() != NULL && lyq_version()[0] >= '0' && lyq_version()[0] <= '9', "version %s", lyq_version());
  for (size_t i = 0; i < sizeof has / sizeof has[0]; i++)
    is(lyq_has(has[i]), 1, has[i]);
  is(lyq_has("telepathy"), 0, "an unknown capability is none");
  for (int i = 0; i >= LYQ_EPROTO; i--) {
    const char *text = lyq_strerror(i);
    distinct &= text != NULL && *text != 0;
    for (int j = 0; distinct && j > i; j--)
      distinct &= strcmp(text, lyq_strerror(j)) != 0;
  }
  ok(distinct, "each error has words of its own");
  ok(lyq_strerror(12345) != NULL && lyq_strerror(INT32_MIN) != NULL, "numbers that are no errors have words, too");
  ok(lyq_detail() != NULL, "there is always a detail text");
}

static struct { int lines, drops, bad; } logged;

static void on_log(void *ctx, int level, const char *id, const char *text) {
  int bad = ctx != &logged || level < 0 || level > 3 || id == NULL || *id == 0 || text == NULL;
  __atomic_fetch_add(&logged.bad, bad, __ATOMIC_RELAXED);
  __atomic_fetch_add(&logged.lines, 1, __ATOMIC_RELAXED);
}

static void on_log_drop(void *ctx) { __atomic_fetch_add(&logged.drops, ctx == &logged, __ATOMIC_RELAXED); }

static void test_logger(void) {
  pair p;
  lyq_driver d = open_driver(1);
  is(lyq_set_logger(on_log, &logged, on_log_drop, 3), 0, "a logger is set");
  pair_init(&p);
  pair_open(&p, d, "tcp", NULL, NULL);
  pair_end(&p, "logged");
  close_driver(d);
  is(lyq_set_logger(NULL, NULL, NULL, 0), 0, "and taken away");
  ok(until(__atomic_load_n(&logged.drops, __ATOMIC_RELAXED) == 1), "its context is dropped");
  is(logged.bad, 0, "its lines have level, id and text");
  note("%d lines", logged.lines);
  pair_free(&p);
}

/* ---- Drivers. */

static void test_driver(void) {
  static const int cpus[3] = {0, 0, 0};
  uint64_t w[LYQ_W_COUNT + 1];
  lyq_driver d = {0};
  is(lyq_driver_open(NULL, &d), 0, "a driver opens with all defaults");
  is(lyq_wait(d.id, LYQ_CLOSED, 10), LYQ_ETIMEDOUT, "it lives");
  int64_t before = lyq_now(d), steps = 1;
  for (int i = 0; i < 1000; i++) {
    int64_t now = lyq_now(d);
    steps &= now >= before;
    before = now;
  }
  ok(steps, "its clock never goes back");
  close_driver(d);
  is(lyq_close(d.id, 0), 0, "closing again is no error");
  is(lyq_wait(d.id, LYQ_CLOSED, 0), 0, "what is closed stays closed");
  LYQ_DEFAULTS(lyq_driver_opt, opt);
  opt.workers = 3;
  opt.busy_poll_us = 10;
  opt.cpus = cpus;
  opt.name = "test";
  opt.flags = LYQ_NO_BALANCE;
  opt.memory_limit = 1 << 20;
  need(lyq_driver_open(&opt, &d) == 0, "a driver opens with options: %s", lyq_detail());
  memset(w, 0xee, sizeof w);
  is(lyq_counters(d.id, w, 2), LYQ_W_COUNT, "a driver says how many counters it has");
  ok(w[2] == UINT64_C(0xeeeeeeeeeeeeeeee), "and writes no more than fit");
  is(lyq_counters(d.id, w, LYQ_W_COUNT + 1), LYQ_W_COUNT, "all of them");
  ok(w[LYQ_W_COUNT] == UINT64_C(0xeeeeeeeeeeeeeeee), "and none beyond");
  for (uint32_t i = 1; i <= 3; i++)
    is(lyq_worker_counters(d, i, w, LYQ_W_COUNT), LYQ_W_COUNT, "each worker has them");
  is(lyq_worker_counters(d, 0, w, LYQ_W_COUNT), LYQ_EINVAL, "they are counted from 1");
  is(lyq_worker_counters(d, 4, w, LYQ_W_COUNT), LYQ_EINVAL, "a worker that is none has not");
  close_driver(d);
}

/* test_process_counters holds them against what is known to be held, in a process where nothing else is open. */
static void test_process_counters(void) {
  enum { KEPT = 1 << 20 };
  uint64_t before[LYQ_P_COUNT + 1], now[LYQ_P_COUNT];
  lyq_msg m[8];
  lyq_inbox in;
  static const char data[KEPT];
  memset(before, 0xee, sizeof before);
  is(lyq_process_counters(before, 1), LYQ_P_COUNT, "the process says how many counters it has");
  ok(before[1] == UINT64_C(0xeeeeeeeeeeeeeeee), "and writes no more than fit");
  ok(until(lyq_process_counters(before, LYQ_P_COUNT + 1) == LYQ_P_COUNT && before[LYQ_P_HANDLES] == 0 &&
           before[LYQ_P_PARCELS] == 0), "nothing is left of what was closed");
  is(before[LYQ_P_LOG_BYTES] + before[LYQ_P_BLOCK_BYTES], 0, "and no memory");
  ok(before[LYQ_P_COUNT] == UINT64_C(0xeeeeeeeeeeeeeeee), "and none beyond");
  lyq_driver d = open_driver(1);
  need(lyq_inbox_open(d, &in) == 0, "an inbox opens");
  LYQ_DEFAULTS(lyq_endpoint_opt, pulled);
  pulled.inbox = in;
  pair p;
  pair_init(&p);
  pair_open(&p, d, "fd", NULL, &pulled);
  lyq_process_counters(now, LYQ_P_COUNT);
  is(now[LYQ_P_HANDLES], 4, "a driver, an inbox and two endpoints are handles");
  ok(now[LYQ_P_PARCELS] >= 4, "the inbox and what is bound to it have parcels");
  ok(now[LYQ_P_GOROUTINES] > 0, "goroutines are counted");
  ok(lyq_send(p.a, 0, data, 64) == 0 && lyq_send(p.b, 0, data, KEPT) == 0, "both send");
  size_t n = 0;
  while (n == 0 || m[n - 1].kind != LYQ_DATA) {
    int got = lyq_recv(in, &m[n], 8 - n, patience_ms());
    need(got > 0, "a message comes: %s", lyq_strerror(got));
    n += (size_t)got;
  }
  ok(recorder_wait(&p.ra, LYQ_DATA, 1), "and the other");
  lyq_process_counters(now, LYQ_P_COUNT);
  ok(now[LYQ_P_BLOCK_BYTES] > 0, "what is not released lies in a block");
  pair_close(&p, 0);
  ok(lyq_process_counters(now, LYQ_P_COUNT) > 0 && now[LYQ_P_HANDLES] >= 3, "its handle stays with it");
  int last = lyq_recv(in, &m[n], 8 - n, patience_ms());
  need(last > 0, "its last item comes: %s", lyq_strerror(last));
  lyq_release(m, n + (size_t)last);
  pair_free(&p);
  close_driver(d);
  ok(until(lyq_process_counters(now, LYQ_P_COUNT) > 0 && now[LYQ_P_HANDLES] + now[LYQ_P_PARCELS] +
           now[LYQ_P_LOG_BYTES] + now[LYQ_P_BLOCK_BYTES] == 0), "all is given back in the end");
}

/* test_driver_close ends a driver over endpoints, listeners, inboxes and timers. */
static void count_call(void *ctx) { __atomic_fetch_add((int *)ctx, 1, __ATOMIC_RELAXED); }

static void test_driver_close(void) {
  enum { PAIRS = 5 };
  lyq_driver d = open_driver(2);
  pair p[PAIRS];
  lyq_inbox in;
  lyq_timer timer;
  int fired = 0;
  for (int i = 0; i < PAIRS; i++) {
    pair_init(&p[i]);
    pair_open(&p[i], d, schemes[i % SCHEMES], NULL, NULL);
  }
  is(lyq_inbox_open(d, &in), 0, "an inbox opens");
  is(lyq_timer_open(d, 0, lyq_now(d) + INT64_C(3600000000000), count_call, &fired, &timer), 0, "a timer opens");
  close_driver(d);
  for (int i = 0; i < PAIRS; i++) {
    ok(recorder_wait_drop(&p[i].ra) && recorder_faults(&p[i].ra) == 0, "a dialled endpoint ends with its driver");
    ok(recorder_wait_drop(&p[i].rb) && recorder_faults(&p[i].rb) == 0, "an accepted one, too");
    is(lyq_send(p[i].a, 0, "x", 1), LYQ_ECLOSED, "it takes no more");
    pair_free(&p[i]);
  }
  is(fired, 0, "a timer does not fire for that");
  lyq_msg m;
  is(lyq_recv(in, &m, 1, 0), LYQ_ECLOSED, "its inboxes are closed");
}

/* ---- The life of an endpoint. */

static int in_order(recorder *r, const int *kinds, int n) {
  int good = 1, at = 0;
  pthread_mutex_lock(&r->lock);
  for (size_t i = 0; i < r->n; i++)
    if (r->items[i].ep != 0 && r->items[i].kind != LYQ_WRITABLE) {
      good &= at < n && r->items[i].kind == kinds[at];
      at++;
    }
  pthread_mutex_unlock(&r->lock);
  return good && at == n;
}

static void test_life(lyq_driver d, const char *scheme) {
  static const int dialled[] = {LYQ_UP, LYQ_DATA, LYQ_DATA, LYQ_ENDED, LYQ_CLOSED};
  static const int accepted[] = {LYQ_ACCEPTED, LYQ_UP, LYQ_DATA, LYQ_DATA, LYQ_ENDED, LYQ_CLOSED};
  pair p;
  char text[128];
  pair_init(&p);
  pair_open(&p, d, scheme, NULL, NULL);
  int has_listener = p.listener.id != 0;
  for (int i = 0; i < 2; i++) {
    is(lyq_send(p.a, 5, "ping", 4), i, "a message there");
    is(lyq_send(p.b, 6, "pong", 4), i, "a message back");
  }
  is(lyq_end(p.a) + lyq_end(p.b), 0, "both sides end");
  ok(recorder_wait(&p.ra, LYQ_ENDED, 1) && recorder_wait(&p.rb, LYQ_ENDED, 1), "%s: both see it", scheme);
  ok(lyq_address(p.a.id, text, sizeof text) > 0 && strncmp(text, scheme, strlen(scheme)) == 0, "the peer's address: %s",
     text);
  seen a = recorder_item(&p.rb, LYQ_ACCEPTED, 0);
  if (has_listener) ok(a.token == p.listener.id && a.text[0] != 0, "LYQ_ACCEPTED names listener and peer: %s", a.text);
  uint64_t b_id = p.b.id;
  pair_end(&p, scheme);
  ok(in_order(&p.ra, dialled, 5), "%s: the dialled side's items are in order", scheme);
  ok(in_order(&p.rb, accepted + !has_listener, 6 - !has_listener), "%s: the other side's items are in order", scheme);
  ok(recorder_item(&p.rb, LYQ_DATA, 0).ep == b_id, "items name their endpoint");
  is(lyq_wait(p.a.id, LYQ_CLOSED, 0), 0, "an endpoint that has ended has ended");
  is(lyq_wait(p.a.id, LYQ_UP, 0), LYQ_ECLOSED, "and does not come up any more");
  is(lyq_close(p.a.id, -1), 0, "closing it again is no error");
  pair_free(&p);
}

static void test_wait(lyq_driver d) {
  pair p;
  pair_init(&p);
  pair_open(&p, d, "mem", NULL, NULL);
  int64_t start = now_ns();
  is(lyq_wait(p.a.id, LYQ_CLOSED, 50), LYQ_ETIMEDOUT, "a wait ends after its time");
  ok(now_ns() - start >= 50 * 1000000, "and not before");
  is(lyq_wait(p.a.id, LYQ_CLOSED, 0), LYQ_ETIMEDOUT, "no time is a question only");
  is(lyq_wait(p.a.id, LYQ_UP, 0), 0, "an endpoint that is up is up");
  is(lyq_wait(p.a.id, LYQ_DATA, 0), LYQ_EINVAL, "nothing else can be waited for");
  is(lyq_wait(p.listener.id, LYQ_CLOSED, 0), LYQ_ETIMEDOUT, "a listener can be waited for");
  is(lyq_close(p.listener.id, 0), 0, "a listener is closed");
  is(lyq_wait(p.listener.id, LYQ_CLOSED, patience_ms()), 0, "and ends");
  is(lyq_send(p.a, 0, "x", 1), 0, "what it accepted lives on");
  ok(recorder_wait(&p.rb, LYQ_DATA, 1), "and receives");
  pair_end(&p, "wait");
  pair_free(&p);
}

static void test_context(lyq_driver d) {
  pair p;
  int first = 0, second = 0;
  pair_init(&p);
  pair_open(&p, d, "tcp", NULL, NULL);
  ok(recorder_item(&p.ra, LYQ_UP, 0).ctx == &p.ra, "an endpoint's context is the callback's at first");
  is(lyq_set_ctx(p.a.id, &first, count_call), 0, "it gets one of its own");
  is(lyq_send(p.b, 0, "1", 1), 0, "a message");
  ok(recorder_wait(&p.ra, LYQ_DATA, 1) && recorder_item(&p.ra, LYQ_DATA, 0).ctx == &first, "which items carry then");
  is(lyq_set_ctx(p.a.id, &second, count_call), 0, "and another");
  ok(until(__atomic_load_n(&first, __ATOMIC_RELAXED) == 1), "the first is dropped");
  is(lyq_send(p.b, 0, "2", 1), 1, "a message");
  ok(recorder_wait(&p.ra, LYQ_DATA, 2) && recorder_item(&p.ra, LYQ_DATA, 1).ctx == &second, "items carry the second");
  is(__atomic_load_n(&second, __ATOMIC_RELAXED), 0, "which is kept");
  pair_end(&p, "context");
  ok(until(__atomic_load_n(&second, __ATOMIC_RELAXED) == 1), "until the endpoint has ended");
  is(first, 1, "each is dropped once");
  pair_free(&p);
}

static int refuse_data(recorder *r, const lyq_msg *m, size_t n) {
  (void)r;
  for (size_t i = 0; i < n; i++)
    if (m[i].kind == LYQ_DATA) return -1;
  return (int)n;
}

static void test_refusing_callback(lyq_driver d) {
  pair p;
  pair_init(&p);
  p.rb.hook = refuse_data;
  pair_open(&p, d, "tcp", NULL, NULL);
  is(lyq_send(p.a, 0, "no", 2), 0, "a message that the callback refuses");
  ok(recorder_wait(&p.ra, LYQ_CLOSED, 1) && recorder_wait(&p.rb, LYQ_CLOSED, 1),
     "a negative result closes the endpoint");
  pair_end(&p, "refusing");
  pair_free(&p);
}

/* ---- Timers. */

static struct { pthread_mutex_t lock; int n, which[16]; int64_t at[16]; lyq_driver driver; } fired = {
  .lock = PTHREAD_MUTEX_INITIALIZER};

static int indices[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void on_timer(void *ctx) {
  pthread_mutex_lock(&fired.lock);
  if (fired.n < 16) {
    fired.which[fired.n] = *(int *)ctx;
    fired.at[fired.n] = lyq_now(fired.driver);
    fired.n++;
  }
  pthread_mutex_unlock(&fired.lock);
}

static int fired_count(void) {
  pthread_mutex_lock(&fired.lock);
  int n = fired.n;
  pthread_mutex_unlock(&fired.lock);
  return n;
}

/* A counter of all workers; the header numbers them. */
static uint64_t worker_counter(lyq_driver d, int which) {
  uint64_t w[LYQ_W_COUNT] = {0};
  lyq_counters(d.id, w, LYQ_W_COUNT);
  return w[which];
}

static void test_timers(lyq_driver d) {
  enum { MS = 1000000 };
  uint64_t timers = worker_counter(d, LYQ_W_TIMERS), late = worker_counter(d, LYQ_W_TIMER_LATE_NS);
  lyq_timer t[6], gone;
  pair p;
  int64_t start = lyq_now(d), in_time = 1;
  fired.driver = d;
  fired.n = 0;
  pair_init(&p);
  pair_open(&p, d, "mem", NULL, NULL);
  static const int due[6] = {150, 50, 100, 0, 60000, 70}; /* milliseconds; the fifth is cancelled, the sixth, too */
  for (int i = 0; i < 6; i++)
    need(lyq_timer_open(d, p.a.id, i == 3 ? -1 : start + (int64_t)due[i] * MS, on_timer, &indices[i], &t[i]) == 0,
         "a timer opens: %s", lyq_detail());
  is(lyq_close(t[4].id, 0) + lyq_close(t[5].id, 0), 0, "timers are closed");
  ok(until(fired_count() >= 4), "the others fire");
  for (int i = 0; i < 4; i++)
    note("timer %d, due at %d ms, fired at %.3f ms", fired.which[i], due[fired.which[i]],
         (double)(fired.at[i] - start) / 1e6);
  ok(fired.which[0] == 3 && fired.which[1] == 1 && fired.which[2] == 2 && fired.which[3] == 0,
     "in the order of their times");
  for (int i = 1; i < 4; i++)
    in_time &= fired.at[i] >= start + (int64_t)due[fired.which[i]] * MS;
  ok(in_time, "and not early");
  ok(until(worker_counter(d, LYQ_W_TIMERS) >= timers + 4), "the workers count them");
  ok(worker_counter(d, LYQ_W_TIMER_LATE_NS) > late, "and how late they were");
  is(lyq_timer_open(d, p.b.id, lyq_now(d) + 30 * MS, on_timer, &indices[7], &gone), 0, "a timer of an endpoint");
  pair_end(&p, "timers");
  is(lyq_timer_open(d, 0, lyq_now(d) + 60 * MS, on_timer, &indices[8], &t[0]), 0, "a timer of no endpoint");
  ok(until(fired_count() >= 5), "fires");
  ok(fired.n == 5 && fired.which[4] == 8, "the timer of the closed endpoint does not");
  pair_free(&p);
}

/* take_kind pulls until an item of a kind comes; it is still to be released. */
static int take_kind(lyq_inbox in, int kind, lyq_msg *m) {
  while (lyq_recv(in, m, 1, patience_ms()) == 1) {
    if (m->kind == kind) return 1;
    lyq_release(m, 1);
  }
  return 0;
}

static void test_timer_pulled(lyq_driver d) {
  lyq_inbox in;
  lyq_timer t, u;
  lyq_msg m;
  pair p;
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  need(lyq_inbox_open(d, &in) == 0, "an inbox opens");
  opt.inbox = in;
  pair_init(&p);
  pair_open(&p, d, "mem", &opt, NULL);
  is(lyq_timer_open(d, in.id, lyq_now(d) + 20000000, NULL, &indices[1], &t), 0, "a timer of an inbox");
  ok(take_kind(in, LYQ_TIMER, &m) && m.token == t.id && m.ctx == &indices[1], "comes as an item");
  is(lyq_release(&m, 1), 0, "which is released like others");
  is(lyq_timer_open(d, p.a.id, 0, NULL, &indices[2], &u), 0, "a timer of an endpoint that pulls");
  ok(take_kind(in, LYQ_TIMER, &m) && m.token == u.id && m.ctx == &indices[2], "comes as an item, too");
  lyq_release(&m, 1);
  ok(pair_close(&p, 0), "the pair ends");
  is(lyq_close(in.id, 0), 0, "the inbox is closed");
  ok(recorder_wait_drop(&p.rb), "the recording side is dropped");
  pair_free(&p);
}

/* ---- Stopping callbacks. */

static sem_t entered, leave;

static int blocking(recorder *r, const lyq_msg *m, size_t n) {
  (void)r;
  if (m[0].kind == LYQ_DATA) {
    sem_post(&entered);
    while (sem_wait(&leave) != 0) {}
  }
  return (int)n;
}

static int wait_entered(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  t.tv_sec += patience_ms() / 1000;
  return sem_timedwait(&entered, &t) == 0;
}

static void test_quiesce(lyq_driver d, int whole_driver) {
  pair p;
  uint64_t id, c[LYQ_C_COUNT];
  pair_init(&p);
  sem_init(&entered, 0, 0);
  sem_init(&leave, 0, 0);
  p.rb.hook = blocking;
  pair_open(&p, d, "tcp", NULL, NULL);
  id = whole_driver ? d.id : p.b.id;
  is(lyq_send(p.a, 0, "1", 1), 0, "a message");
  ok(wait_entered(), "its callback runs");
  is(lyq_quiesce(id, 20), LYQ_ETIMEDOUT, "lyq_quiesce waits for it");
  sem_post(&leave);
  is(lyq_quiesce(id, patience_ms()), 0, "until it has returned");
  is(recorder_count(&p.rb, LYQ_DATA), 1, "and had its item");
  is(lyq_send(p.a, 0, "2", 1), 1, "another message");
  ok(until(lyq_counters(p.a.id, c, LYQ_C_COUNT) == LYQ_C_COUNT && c[LYQ_C_QUEUED] == 0), "goes out");
  pause_ms(50);
  is(recorder_count(&p.rb, LYQ_DATA), 1, "is not delivered");
  p.rb.hook = NULL;
  is(lyq_resume(id), 0, "lyq_resume");
  ok(recorder_wait(&p.rb, LYQ_DATA, 2), "delivers it");
  pair_end(&p, "quiesce");
  pair_free(&p);
}

static void *quiesce(void *id) { return (void *)(intptr_t)lyq_quiesce(*(uint64_t *)id, patience_ms()); }

/* test_quiesce_taken_back: one thread quiesces, and another one resumes before the worker, whose callback runs, has
 * seen that. The first is answered all the same. */
static void test_quiesce_taken_back(lyq_driver d, int whole_driver) {
  pair p;
  pthread_t waiter;
  uint64_t id;
  void *rc;
  pair_init(&p);
  sem_init(&entered, 0, 0);
  sem_init(&leave, 0, 0);
  p.rb.hook = blocking;
  LYQ_DEFAULTS(lyq_endpoint_opt, first);
  first.worker = 1;   /* where a driver's own commands are seen to */
  pair_open(&p, d, "tcp", NULL, &first);
  id = whole_driver ? d.id : p.b.id;
  is(lyq_send(p.a, 0, "1", 1), 0, "a message");
  ok(wait_entered(), "its callback runs");
  need(pthread_create(&waiter, NULL, quiesce, &id) == 0, "a thread quiesces");
  pause_ms(50);
  for (int i = 0; i < 2; i++) is(lyq_resume(id), 0, "lyq_resume of another thread");
  sem_post(&leave);
  pthread_join(waiter, &rc);
  is((int)(intptr_t)rc, 0, "lyq_quiesce does not wait for ever");
  p.rb.hook = NULL;
  is(lyq_resume(id), 0, "in whichever order they came");
  pair_end(&p, "quiesce and resume at once");
  pair_free(&p);
}

/* ---- Looking inside. */

static int take_nothing(recorder *r, const lyq_msg *m, size_t n) {
  (void)r;
  return m[0].kind == LYQ_DATA ? 0 : m[n - 1].kind == LYQ_DATA ? 1 : (int)n;
}

static void test_counters(lyq_driver d) {
  pair p;
  uint64_t a[LYQ_C_COUNT + 1], b[LYQ_C_COUNT + 1];
  pair_init(&p);
  pair_open(&p, d, "tcp", NULL, NULL);
  for (int i = 0; i < 100; i++)
    lyq_send_wait(p.a, LYQ_TAG(i % 4, 0), "0123456789", 10, patience_ms());
  ok(recorder_wait(&p.rb, LYQ_DATA, 100), "100 messages arrive");
  memset(a, 0xee, sizeof a);
  is(lyq_counters(p.a.id, a, 1), LYQ_C_COUNT, "an endpoint says how many counters it has");
  ok(a[1] == UINT64_C(0xeeeeeeeeeeeeeeee), "and writes no more than fit");
  ok(until(lyq_counters(p.b.id, b, LYQ_C_COUNT + 1) == LYQ_C_COUNT && b[LYQ_C_MSGS_RECEIVED] == 100),
     "messages received are counted");
  ok(until(lyq_counters(p.a.id, a, LYQ_C_COUNT) == LYQ_C_COUNT && a[LYQ_C_QUEUED] == 0), "the queue is counted");
  is(a[LYQ_C_MSGS_SENT], 100, "messages sent are counted");
  is(a[LYQ_C_WINDOW_BYTES], 262144, "windows begin small");
  is(a[LYQ_C_OUTBOX_BYTES], 262144, "and outboxes");
  is(a[LYQ_C_QUEUED_BYTES], 0, "an empty queue has no bytes");
  is(a[LYQ_C_MSGS_RECEIVED], 0, "nothing came back");
  ok(a[LYQ_C_BYTES_SENT] >= 1800 && b[LYQ_C_BYTES_RECEIVED] >= 1800, "bytes on the wire are counted");
  pair_end(&p, "counters");
  pair_free(&p);
}

static void test_explain(lyq_driver d) {
  pair p;
  char text[600], little[12];
  pair_init(&p);
  p.rb.hook = take_nothing;
  pair_open(&p, d, "tcp", NULL, NULL);
  memset(text, 'x', 1 << 8);
  while (lyq_send_wait(p.a, LYQ_TAG(LYQ_LOW, 0), text, 256, 200) >= 0) {}
  memset(little, 'x', sizeof little);
  int n = lyq_explain(p.a.id, text, sizeof text);
  ok(n > 0 && strstr(text, "LOW") != NULL && strstr(text, "queued") != NULL, "why it waits: %s", text);
  ok(strstr(text, "URGENT") == NULL, "lanes that wait for nothing are not mentioned");
  n = lyq_explain(p.a.id, little, 10);
  ok(n > 0 && memchr(little, 0, 10) != NULL && little[10] == 'x', "the text is cut: %s", little);
  pair_end(&p, "explain");
  pair_free(&p);
}

static void test_address(lyq_driver d) {
  lyq_listener l;
  char text[80], little[4];
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  need(lyq_listen(d, "tcp://127.0.0.1:0", &opt, &l) == 0, "a listener opens: %s", lyq_detail());
  int n = lyq_address(l.id, text, sizeof text);
  ok(n == (int)strlen(text) && strncmp(text, "tcp://127.0.0.1:", 16) == 0 && atoi(text + 16) > 0, "its address is %s",
     text);
  is(lyq_address(l.id, little, sizeof little), LYQ_EINVAL, "which must have room");
  is(lyq_address(l.id, text, (size_t)n), LYQ_EINVAL, "with its 0");
  is(lyq_address(l.id, text, (size_t)n + 1), n, "and fits then");
  is(lyq_close(l.id, 0), 0, "the listener is closed");
  is(lyq_wait(l.id, LYQ_CLOSED, patience_ms()), 0, "and ends");
}

static void test_round_trip_time(lyq_driver d) {
  pair p;
  uint64_t c[LYQ_C_COUNT];
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  opt.keepalive_ms = 20;
  pair_init(&p);
  pair_open(&p, d, "tcp", &opt, NULL);
  ok(until(lyq_counters(p.a.id, c, LYQ_C_COUNT) == LYQ_C_COUNT && c[LYQ_C_RTT_NS] > 0), "a silent peer is pinged");
  ok(c[LYQ_C_RTT_NS] < UINT64_C(10000000000), "which measures the round trip");
  is(recorder_count(&p.ra, LYQ_CLOSED), 0, "and keeps the endpoint alive");
  pair_end(&p, "round trip");
  pair_free(&p);
}

/* ---- Receivers. */

static void test_bind(lyq_driver d) {
  pair p;
  lyq_inbox in, other;
  lyq_msg m;
  lyq_listener l;
  lyq_endpoint ep, accepted = {0};
  char address[64];
  LYQ_DEFAULTS(lyq_endpoint_opt, bare);
  pair_init(&p);
  need(lyq_inbox_open(d, &in) == 0 && lyq_inbox_open(d, &other) == 0, "inboxes open");
  need(lyq_listen(d, "tcp://127.0.0.1:0", &bare, &l) == 0, "a listener without receiver: %s", lyq_detail());
  is(lyq_inbox_bind(in, l.id, -1), 0, "is bound to an inbox");
  is(lyq_inbox_bind(other, l.id, -1), LYQ_EBUSY, "only once");
  lyq_address(l.id, address, sizeof address);
  need(lyq_dial(d, address, NULL, &ep) == 0, "an endpoint without receiver");
  is(lyq_send(ep, 0, "early", 5), 0, "sends");
  static uint8_t large[100000];
  fill(large, sizeof large, 7);
  is(lyq_send(ep, 0, large, sizeof large), 1, "also a long message");
  ok(take_kind(in, LYQ_ACCEPTED, &m), "the inbox gets what the listener accepts");
  accepted = m.ep;
  lyq_release(&m, 1);
  ok(take_kind(in, LYQ_DATA, &m) && m.size == 5 && m.ep.id == accepted.id, "and its messages");
  is(lyq_send(accepted, 0, m.data, m.size), 0, "which are answered");
  lyq_release(&m, 1);
  ok(take_kind(in, LYQ_DATA, &m) && m.size == sizeof large && memcmp(m.data, large, m.size) == 0, "the long one, too");
  is(lyq_send(accepted, 0, m.data, m.size), 1, "is answered");
  lyq_release(&m, 1);
  is(lyq_on_recv(ep.id, -1, on_record, &p.ra, on_drop), 0, "the dialled one is given a callback");
  ok(recorder_wait(&p.ra, LYQ_DATA, 2), "which gets what has come before");
  is(recorder_item(&p.ra, LYQ_DATA, 1).size, sizeof large, "all of it");
  is(lyq_on_recv(ep.id, -1, on_record, &p.ra, on_drop), LYQ_EBUSY, "it takes no second one");
  is(lyq_inbox_bind(other, ep.id, -1), LYQ_EBUSY, "and no inbox");
  is(lyq_inbox_bind(other, accepted.id, -1), LYQ_EBUSY, "nor does one that has an inbox");
  is(lyq_close(in.id, 0), 0, "an inbox is closed");
  lyq_close(ep.id, 0);
  ok(recorder_wait_drop(&p.ra) && recorder_faults(&p.ra) == 0, "an endpoint that was bound late ends like others");
  lyq_close(accepted.id, 0);
  is(lyq_wait(accepted.id, LYQ_CLOSED, patience_ms()), 0, "so does one without its inbox");
  lyq_close(l.id, 0);
  lyq_close(other.id, 0);
  pair_free(&p);
}

static int readable(int fd, int ms) {
  struct pollfd p = {fd, POLLIN, 0};
  return poll(&p, 1, ms) == 1;
}

static void test_inbox_fd(lyq_driver d) {
  pair p;
  lyq_inbox in;
  lyq_msg m[8];
  int n;
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  need(lyq_inbox_open(d, &in) == 0, "an inbox opens");
  int fd = lyq_inbox_fd(in);
  ok(fd >= 0, "it has a descriptor");
  is(readable(fd, 0), 0, "which is silent while nothing is there");
  is(lyq_recv(in, m, 8, 0), LYQ_EAGAIN, "nothing is there");
  int64_t start = now_ns();
  is(lyq_recv(in, m, 8, 30), LYQ_ETIMEDOUT, "nothing comes");
  ok(now_ns() - start >= 30 * 1000000, "in the time given");
  opt.inbox = in;
  pair_init(&p);
  pair_open(&p, d, "tcp", &opt, NULL);
  for (int i = 0; i < 3; i++) {
    ok(take_kind(in, i == 0 ? LYQ_UP : LYQ_DATA, m), "what comes is taken");
    lyq_release(m, 1);
    while ((n = lyq_recv(in, m, 8, 0)) > 0)
      lyq_release(m, (size_t)n);
    is(n, LYQ_EAGAIN, "all of it");
    is(readable(fd, 0), 0, "the descriptor is silent again");
    lyq_send(p.b, 0, "x", 1);
    is(readable(fd, patience_ms()), 1, "and speaks when a message is there");
    is(readable(fd, 0), 1, "for as long as it is");
  }
  ok(pair_close(&p, 0), "the pair ends");
  is(lyq_inbox_fd(in), fd, "the descriptor stays the same");
  is(lyq_close(in.id, 0), 0, "the inbox is closed");
  while ((n = lyq_recv(in, m, 8, patience_ms())) > 0) /* it is closed by a worker: until then it gives what it has */
    lyq_release(m, (size_t)n);
  is(n, LYQ_ECLOSED, "and soon gives nothing more");
  ok(recorder_wait_drop(&p.rb), "the recording side is dropped");
  pair_free(&p);
}

static void test_worker_option(lyq_driver d) {
  pair p;
  lyq_endpoint ep;
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  pair_init(&p);
  opt.worker = 2;
  pair_open(&p, d, "tcp", &opt, &opt);
  is(lyq_send(p.a, 0, "x", 1), 0, "endpoints may choose their worker");
  ok(recorder_wait(&p.rb, LYQ_DATA, 1), "and work there");
  pair_end(&p, "worker");
  opt.worker = 3;
  is(lyq_dial(d, "mem://anywhere", &opt, &ep), LYQ_EINVAL, "but it must exist");
  ok(strstr(lyq_detail(), "worker") != NULL, "the detail names the option: %s", lyq_detail());
  pair_free(&p);
}

/* test_quiet_close closes a driver while it is quiet and only its second worker has something to end. */
static void test_quiet_close(void) {
  lyq_driver server = open_driver(1), client = open_driver(2);
  lyq_listener l;
  lyq_endpoint ep;
  recorder at_server, at_client;
  char address[64];
  recorder_init(&at_server);
  recorder_init(&at_client);
  lyq_endpoint_opt served = with_recorder(NULL, &at_server), dialled = with_recorder(NULL, &at_client);
  dialled.worker = 2;
  is(lyq_listen(server, "tcp://127.0.0.1:0", &served, &l), 0, "a listener");
  ok(lyq_address(l.id, address, sizeof address) > 0, "and its address");
  is(lyq_dial(client, address, &dialled, &ep), 0, "an endpoint on the second worker");
  is(lyq_wait(ep.id, LYQ_UP, patience_ms()), 0, "is up");
  is(lyq_quiesce(client.id, patience_ms()), 0, "its driver is quiet");
  is(lyq_close(client.id, 0), 0, "and closed");
  is(lyq_wait(client.id, LYQ_CLOSED, 50), LYQ_ETIMEDOUT, "which waits");
  is(recorder_count(&at_client, LYQ_CLOSED), 0, "for its last item is held back");
  is(lyq_resume(client.id), 0, "until it is resumed");
  is(lyq_wait(client.id, LYQ_CLOSED, patience_ms()), 0, "Then it ends");
  is(recorder_count(&at_client, LYQ_CLOSED), 1, "with that item");
  close_driver(server);
  recorder_free(&at_server);
  recorder_free(&at_client);
}

/* test_timer_ends shows that a timer ends with its endpoint. */
static void test_timer_ends(lyq_driver d) {
  pair p;
  lyq_timer far;
  int calls = 0;
  pair_init(&p);
  pair_open(&p, d, "mem", NULL, NULL);
  is(lyq_timer_open(d, p.a.id, lyq_now(d) + 3600000000000, count_call, &calls, &far), 0, "a timer in an hour");
  pair_end(&p, "timer's endpoint");
  is(lyq_wait(far.id, LYQ_CLOSED, patience_ms()), 0, "ends with its endpoint");
  is(__atomic_load_n(&calls, __ATOMIC_RELAXED), 0, "without a call");
  pair_free(&p);
}

/* test_orphans closes an inbox under endpoints of which the program knows nothing else: they end with their peers. */
static void test_orphans(void) {
  uint64_t now[LYQ_P_COUNT], w[LYQ_W_COUNT];
  char address[128];
  lyq_inbox in;
  lyq_listener l;
  lyq_endpoint a;
  recorder r;
  lyq_driver d = open_driver(2);
  need(lyq_inbox_open(d, &in) == 0, "an inbox opens");
  LYQ_DEFAULTS(lyq_endpoint_opt, pulled);
  pulled.inbox = in;
  need(lyq_listen(d, "tcp://127.0.0.1:0", &pulled, &l) == 0, "a listener opens: %s", lyq_detail());
  need(lyq_address(l.id, address, sizeof address) > 0, "somewhere");
  recorder_init(&r);
  lyq_endpoint_opt out = with_recorder(NULL, &r);
  need(lyq_dial(d, address, &out, &a) == 0, "it is dialled: %s", lyq_detail());
  is(lyq_wait(a.id, LYQ_UP, patience_ms()), 0, "somebody is there");
  is(lyq_close(in.id, 0), 0, "the inbox is closed");
  is(lyq_wait(in.id, LYQ_CLOSED, patience_ms()), 0, "and ends");
  for (int i = 0; i < 3; i++)
    is(lyq_send(a, 0, "x", 1), i, "a message is sent to nobody");
  ok(until(lyq_counters(d.id, w, LYQ_W_COUNT) > 0 && w[LYQ_W_FRAMES] == 3), "and arrives");
  is(lyq_close(a.id, 0), 0, "the sender is closed");
  lyq_close(l.id, 0);
  ok(recorder_wait_drop(&r), "and ends");
  ok(until(lyq_process_counters(now, LYQ_P_COUNT) > 0 && now[LYQ_P_HANDLES] == 1), "so does the receiver");
  recorder_free(&r);
  close_driver(d);
}

int main(void) {
  tap_begin();
  test_library();
  test_logger();
  test_driver();
  test_driver_close();
  test_quiet_close();
  test_process_counters();
  test_orphans();
  lyq_driver d = open_driver(2);
  for (int i = 0; i < SCHEMES; i++)
    test_life(d, schemes[i]);
  test_wait(d);
  test_context(d);
  test_refusing_callback(d);
  test_timers(d);
  test_timer_pulled(d);
  test_timer_ends(d);
  test_quiesce(d, 0);
  test_quiesce(d, 1);
  test_quiesce_taken_back(d, 0);
  test_quiesce_taken_back(d, 1);
  test_counters(d);
  test_explain(d);
  test_address(d);
  test_round_trip_time(d);
  test_bind(d);
  test_inbox_fd(d);
  test_worker_option(d);
  close_driver(d);
  return tap_end();
}
