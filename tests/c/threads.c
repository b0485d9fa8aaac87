/* Threads: many producers, threads that end, closes that race with sends, many endpoints, two drivers. */
#define _GNU_SOURCE 1
#include "kit.h"
#include <sched.h>

enum { PRODUCERS = 8 };

/* What a producer writes into each message. */
typedef struct stamp { uint32_t producer, count; } stamp;

/* A sink checks the order of each producer's messages where they arrive; it keeps none. */
typedef struct sink {
  uint32_t next[PRODUCERS];
  uint64_t total, wrong;
} sink;

/* on_sink is a receiver like on_record, but one that records events alone. */
static int on_sink(void *ctx, const lyq_msg *m, size_t n) {
  recorder *r = ctx;
  sink *s = r->of_hook;
  for (size_t i = 0; i < n; i++) {
    stamp t;
    if (m[i].kind != LYQ_DATA) {
      pthread_mutex_lock(&r->lock);
      recorder_add(r, &m[i]);
      pthread_cond_broadcast(&r->changed);
      pthread_mutex_unlock(&r->lock);
      continue;
    }
    memcpy(&t, m[i].data, sizeof t);
    int good = m[i].size >= sizeof t && t.producer < PRODUCERS && t.count == s->next[t.producer]++;
    __atomic_fetch_add(&s->wrong, !good, __ATOMIC_RELAXED);
    __atomic_fetch_add(&s->total, 1, __ATOMIC_RELAXED);
  }
  return (int)n;
}

static void open_with_sink(pair *p, lyq_driver d, const char *scheme, sink *s) {
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  memset(s, 0, sizeof *s);
  pair_init(p);
  p->rb.of_hook = s;
  opt.recv = on_sink;
  opt.ctx = &p->rb;
  opt.drop = on_drop;
  pair_open(p, d, scheme, NULL, &opt);
}

static uint64_t sunk(sink *s) { return __atomic_load_n(&s->total, __ATOMIC_RELAXED); }

/* ---- Many producers. */

typedef struct producer {
  lyq_endpoint ep;
  uint32_t number;
  int count, way;          /* how it sends */
  int64_t failed;          /* the first error */
  pthread_t thread;
} producer;

/* send_stamp sends one message in one of the ways there are. */
static int64_t send_stamp(lyq_endpoint ep, int way, const uint8_t *message, size_t size) {
  const lyq_buf parts[2] = {{message, 4}, {message + 4, size - 4}};
  lyq_claim c;
  int64_t rc;
  switch (way) {
  case 0:
    while ((rc = lyq_send(ep, 0, message, size)) == LYQ_EAGAIN)
      sched_yield();
    return rc;
  case 1:
    while ((rc = lyq_sendv(ep, 0, parts, 2)) == LYQ_EAGAIN)
      sched_yield();
    return rc;
  case 2:
    while ((rc = lyq_claim_open(ep, 0, size, &c)) == LYQ_EAGAIN)
      sched_yield();
    if (rc < 0) return rc;
    memcpy(c.data, message, size);
    return lyq_commit(ep, &c, size);
  default:
    return lyq_send_wait(ep, 0, message, size, patience_ms());
  }
}

static void *produce(void *arg) {
  producer *p = arg;
  uint8_t message[300] = {0};
  uint64_t seed = p->number;
  for (int i = 0; i < p->count && p->failed == 0; i++) {
    stamp t = {p->number, (uint32_t)i};
    memcpy(message, &t, sizeof t);
    int64_t rc = send_stamp(p->ep, p->way, message, sizeof t + random64(&seed) % (sizeof message - sizeof t));
    if (rc < 0) p->failed = rc;
  }
  return NULL;
}

static int run_producers(lyq_endpoint ep, int count) {
  producer p[PRODUCERS];
  int failures = 0;
  for (uint32_t i = 0; i < PRODUCERS; i++) {
    p[i] = (producer){ep, i, count, (int)i % 4, 0, 0};
    need(pthread_create(&p[i].thread, NULL, produce, &p[i]) == 0, "a thread starts");
  }
  for (int i = 0; i < PRODUCERS; i++) {
    pthread_join(p[i].thread, NULL);
    failures += p[i].failed != 0;
    if (p[i].failed) note("producer %d: %s", i, lyq_strerror((int)p[i].failed));
  }
  return failures;
}

static void test_producers(lyq_driver d, const char *scheme) {
  pair p;
  sink s;
  int count = many(50000);
  open_with_sink(&p, d, scheme, &s);
  is(run_producers(p.a, count), 0, "8 producers into one endpoint");
  ok(until(sunk(&s) == (uint64_t)count * PRODUCERS), "%s: all %d messages arrive", scheme, count * PRODUCERS);
  is(s.wrong, 0, "each producer's in order");
  pair_end(&p, scheme);
  pair_free(&p);
}

/* ---- Threads that end. */

static void *send_and_end(void *arg) {
  producer *p = arg;
  stamp t = {0, p->number};
  p->failed = lyq_send_wait(p->ep, 0, &t, sizeof t, patience_ms());
  return NULL;
}

static void test_thread_ends(lyq_driver d) {
  pair p;
  sink s;
  int count = many(500), in_order = 1;
  open_with_sink(&p, d, "tcp", &s);
  for (int i = 0; i < count; i++) {
    producer one = {p.a, (uint32_t)i, 1, 0, 0, 0};
    need(pthread_create(&one.thread, NULL, send_and_end, &one) == 0, "a thread starts");
    pthread_join(one.thread, NULL);
    in_order &= one.failed == i;
  }
  ok(in_order, "%d threads send one message and end", count);
  ok(until(sunk(&s) == (uint64_t)count), "their messages arrive");
  is(s.wrong, 0, "in order");
  pair_end(&p, "thread ends");
  pair_free(&p);
}

/* Destructors of thread-local data run when the thread has all but gone. */
static pthread_key_t sends_key, closes_key;
static lyq_endpoint sends_to, closes;
static int64_t sent_by_destructor, closed_by_destructor, detail_ok;

static void destructor_sends(void *arg) {
  stamp t = {0, 0};
  (void)arg;
  sent_by_destructor = lyq_send(sends_to, 0, &t, sizeof t);
}

static void destructor_closes(void *arg) {
  (void)arg;
  closed_by_destructor = lyq_close(closes.id, -1);
  detail_ok = lyq_send(closes, 0, "x", 1) == LYQ_ECLOSED && lyq_wait(closes.id, LYQ_CLOSED, patience_ms()) == 0;
}

static void *with_destructors(void *arg) {
  (void)arg;
  pthread_setspecific(sends_key, &sends_to);
  pthread_setspecific(closes_key, &closes);
  return NULL;
}

static void test_destructors(lyq_driver d) {
  pair p, q;
  sink s;
  pthread_t thread;
  sent_by_destructor = closed_by_destructor = detail_ok = -1;
  need(pthread_key_create(&sends_key, destructor_sends) == 0, "a key");
  need(pthread_key_create(&closes_key, destructor_closes) == 0, "another key");
  open_with_sink(&p, d, "tcp", &s);
  pair_init(&q);
  pair_open(&q, d, "tcp", NULL, NULL);
  sends_to = p.a;
  closes = q.a;
  need(pthread_create(&thread, NULL, with_destructors, NULL) == 0, "a thread starts");
  pthread_join(thread, NULL);
  is(sent_by_destructor, 0, "the destructor of thread-local data sends");
  is(closed_by_destructor, 0, "another closes");
  is(detail_ok, 1, "and sees the end");
  ok(until(sunk(&s) == 1), "the message arrives");
  ok(recorder_wait(&q.rb, LYQ_CLOSED, 1), "the close is seen");
  pair_end(&p, "destructor that sends");
  pair_end(&q, "destructor that closes");
  pthread_key_delete(sends_key);
  pthread_key_delete(closes_key);
  pair_free(&p);
  pair_free(&q);
}

/* ---- Closes that race with sends. */

static void *send_until_closed(void *arg) {
  producer *p = arg;
  uint8_t message[300] = {0};
  int64_t rc = 0;
  while (rc >= 0 || rc == LYQ_EAGAIN) {
    stamp t = {p->number, (uint32_t)p->count};
    memcpy(message, &t, sizeof t);
    rc = send_stamp(p->ep, p->way, message, sizeof t + (size_t)p->count % 200);
    p->count += rc >= 0;
  }
  p->failed = rc;
  return NULL;
}

static void test_close_race(lyq_driver d, int rounds) {
  int wrong = 0, lost = 0, ends = 1;
  for (int round = 0; round < rounds; round++) {
    producer producers[PRODUCERS];
    uint64_t accepted = 0;
    pair p;
    sink s;
    open_with_sink(&p, d, schemes[round % SCHEMES], &s);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
      producers[i] = (producer){p.a, i, 0, (int)i % 4, 0, 0};
      need(pthread_create(&producers[i].thread, NULL, send_until_closed, &producers[i]) == 0, "a thread starts");
    }
    until(sunk(&s) > 100);
    lyq_close(p.a.id, round % 2 ? -1 : 0);
    for (int i = 0; i < PRODUCERS; i++) {
      pthread_join(producers[i].thread, NULL);
      wrong += producers[i].failed != LYQ_ECLOSED;
      accepted += (uint64_t)producers[i].count;
    }
    ends &= recorder_wait_drop(&p.ra) && recorder_wait(&p.rb, LYQ_CLOSED, 1);
    ends &= pair_close(&p, 0) && recorder_wait_drop(&p.rb);
    if (round % 2) lost += sunk(&s) != accepted;
    wrong += s.wrong != 0;
    pair_free(&p);
  }
  is(wrong, 0, "sends that race with a close are accepted in order, or refused with LYQ_ECLOSED");
  is(lost, 0, "with linger every accepted one arrives");
  ok(ends, "all end");
}

/* ---- Many endpoints. */

static void test_many_endpoints(lyq_driver d, int count) {
  recorder dialled, accepted;
  lyq_listener l;
  lyq_endpoint *ep = calloc((size_t)count, sizeof *ep);
  char address[64];
  int good = 1;
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  recorder_init(&dialled);
  recorder_init(&accepted);
  dialled.shared = accepted.shared = 1;
  opt.recv = on_record;
  opt.drop = on_drop;
  opt.ctx = &accepted;
  need(ep != NULL && lyq_listen(d, "tcp://127.0.0.1:0", &opt, &l) == 0, "a listener opens: %s", lyq_detail());
  lyq_address(l.id, address, sizeof address);
  opt.ctx = &dialled;
  for (int from = 0; from < count; from += 100) { /* not all at once: the kernel's queue of a listener has an end */
    int to = from + 100 < count ? from + 100 : count;
    for (int i = from; i < to; i++) {
      good &= lyq_dial(d, address, &opt, &ep[i]) == 0;
      good &= lyq_send(ep[i], 0, &i, sizeof i) == 0;
    }
    good &= recorder_wait(&dialled, LYQ_UP, to);
  }
  ok(good, "%d endpoints open", count);
  ok(recorder_wait(&accepted, LYQ_DATA, count), "each delivers");
  for (int i = 0; i < count; i++)
    lyq_close(ep[i].id, 0);
  ok(recorder_wait(&dialled, LYQ_CLOSED, count) && recorder_wait(&accepted, LYQ_CLOSED, count), "each ends");
  ok(until(__atomic_load_n(&dialled.drops, __ATOMIC_RELAXED) == count), "each is dropped");
  is(recorder_count(&dialled, LYQ_CLOSED), count, "each ended once");
  lyq_close(l.id, 0);
  ok(recorder_wait_drop(&accepted), "the listener's context is dropped after all of them");
  is(accepted.drops, 1, "once");
  recorder_free(&dialled);
  recorder_free(&accepted);
  free(ep);
}

/* churn_run opens and closes endpoints, one after the other, beside others that do the same. */
static void *churn_run(void *arg) {
  lyq_driver d = *(lyq_driver *)arg;
  intptr_t failures = 0;
  for (int i = 0; i < many(60); i++) {
    lyq_endpoint both[2];
    int fds[2];
    char address[32];
    recorder r[2];
    LYQ_DEFAULTS(lyq_endpoint_opt, opt);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) return (void *)1000;
    opt.recv = on_record;
    opt.drop = on_drop;
    for (int side = 0; side < 2; side++) {
      recorder_init(&r[side]);
      opt.ctx = &r[side];
      snprintf(address, sizeof address, "fd://%d", fds[side]);
      failures += lyq_dial(d, address, &opt, &both[side]) != 0;
    }
    failures += lyq_send(both[i % 2], 0, "x", 1) != 0;
    lyq_close(both[i % 2].id, i % 3 ? 1000 : 0);
    for (int side = 0; side < 2; side++) {
      failures += !recorder_wait(&r[side], LYQ_CLOSED, 1);
      failures += !recorder_wait_drop(&r[side]) || recorder_faults(&r[side]) != 0;
      recorder_free(&r[side]);
    }
  }
  return (void *)failures;
}

static void test_churn(lyq_driver d) {
  enum { THREADS = 8 };
  pthread_t threads[THREADS];
  intptr_t failures = 0;
  for (int i = 0; i < THREADS; i++)
    need(pthread_create(&threads[i], NULL, churn_run, &d) == 0, "a thread starts");
  for (int i = 0; i < THREADS; i++) {
    void *of_thread;
    pthread_join(threads[i], &of_thread);
    failures += (intptr_t)of_thread;
  }
  is(failures, 0, "8 threads open and close endpoints at once");
}

/* ---- Two drivers. */

static void test_two_drivers(void) {
  lyq_driver one = open_driver(1), two = open_driver(1);
  lyq_listener l;
  lyq_endpoint ep;
  recorder ra, rb;
  sink s;
  int count = many(20000);
  char address[64];
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  recorder_init(&ra);
  recorder_init(&rb);
  memset(&s, 0, sizeof s);
  rb.of_hook = &s;
  opt.recv = on_sink;
  opt.drop = on_drop;
  opt.ctx = &rb;
  need(lyq_listen(one, "tcp://127.0.0.1:0", &opt, &l) == 0, "one driver listens");
  lyq_address(l.id, address, sizeof address);
  opt.recv = on_record;
  opt.ctx = &ra;
  need(lyq_dial(two, address, &opt, &ep) == 0, "another dials");
  is(run_producers(ep, count), 0, "8 producers into one driver");
  ok(until(sunk(&s) == (uint64_t)count * PRODUCERS), "all arrive at the other");
  is(s.wrong, 0, "in order");
  close_driver(one);
  ok(recorder_wait_drop(&rb), "what one driver had ends with it");
  ok(recorder_wait(&ra, LYQ_CLOSED, 1), "the other's endpoint sees its peer's end");
  is(recorder_item(&ra, LYQ_CLOSED, 0).code, LYQ_OK, "an orderly one");
  lyq_close(ep.id, 0);
  ok(recorder_wait_drop(&ra) && recorder_faults(&ra) == 0, "and is dropped");
  close_driver(two);
  recorder_free(&ra);
  recorder_free(&rb);
}

int main(void) {
  tap_begin();
  lyq_driver d = open_driver(2);
  for (int i = 0; i < SCHEMES; i++)
    test_producers(d, schemes[i]);
  test_thread_ends(d);
  test_destructors(d);
  test_close_race(d, many(60));
  test_many_endpoints(d, many(1000));
  test_churn(d);
  test_two_drivers();
  close_driver(d);
  return tap_end();
}
