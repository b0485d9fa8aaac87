/* Full queues and slow receivers: nothing is lost, nobody is disconnected, and what stopped goes on. */
#define _GNU_SOURCE 1
#include "kit.h"

/* SHORT is what does not lie in the log, and LONG what lies in no piece of a pool. */
enum { SIZE = 1000, SHORT = (16 << 10) + 8, LONG = 300000, TAKES_ALL = 1 << 30 };

static uint8_t data[SHORT];

/* taking is how many messages the receiver still takes before it pauses. */
static int taking;

static int take_some(recorder *r, const lyq_msg *m, size_t n) {
  size_t i = 0;
  (void)r;
  for (; i < n; i++)
    if (m[i].kind == LYQ_DATA) {
      if (__atomic_load_n(&taking, __ATOMIC_ACQUIRE) == 0) break;
      __atomic_fetch_sub(&taking, 1, __ATOMIC_ACQ_REL);
    }
  return (int)i;
}

/* fill_up sends until there is no room for a while: until every buffer on the way is full. Returns how many. */
static int fill_up(lyq_endpoint ep) {
  int n = 0;
  while (lyq_send_wait(ep, 0, data, SIZE, 300) >= 0)
    n++;
  return n;
}

static int ids_in_order(recorder *r, int count) {
  int good = 1, at = 0;
  pthread_mutex_lock(&r->lock);
  for (size_t i = 0; i < r->n; i++)
    if (r->items[i].kind == LYQ_DATA) good &= r->items[i].id == (uint64_t)at++;
  pthread_mutex_unlock(&r->lock);
  return good && at == count;
}

/* ---- Callbacks that take less than they are given. */

static void test_pause(lyq_driver d, const char *scheme) {
  pair p;
  pair_init(&p);
  p.rb.hook = take_some;
  __atomic_store_n(&taking, 5, __ATOMIC_RELEASE);
  pair_open(&p, d, scheme, NULL, NULL);
  int sent = fill_up(p.a);
  ok(sent > 5, "%s: %d messages fill the way to a receiver that paused", scheme, sent);
  is(lyq_send(p.a, 0, data, SIZE), LYQ_EAGAIN, "lyq_send says that there is no room");
  is(lyq_send_wait(p.a, 0, data, SIZE, 50), LYQ_ETIMEDOUT, "lyq_send_wait waits in vain");
  is(lyq_wait_room(p.a, 0, SIZE, 50), LYQ_ETIMEDOUT, "and so does lyq_wait_room");
  is(lyq_wait_room(p.a, LYQ_TAG(LYQ_LOW, 0), SIZE, patience_ms()), 0, "which is at once over for a lane that is free");
  ok(recorder_wait(&p.rb, LYQ_DATA, 5), "the receiver took what it wanted");
  is(recorder_count(&p.rb, LYQ_DATA), 5, "and no more");
  is(recorder_count(&p.ra, LYQ_CLOSED) + recorder_count(&p.rb, LYQ_CLOSED), 0, "nobody is disconnected");
  is(lyq_send(p.b, 0, data, SIZE), 0, "the other direction is free");
  ok(recorder_wait(&p.ra, LYQ_DATA, 1), "and delivers");
  __atomic_store_n(&taking, 2, __ATOMIC_RELEASE);
  is(lyq_resume(p.b.id), 0, "lyq_resume");
  ok(recorder_wait(&p.rb, LYQ_DATA, 7), "delivers the rest, of which two are taken");
  int more = fill_up(p.a);
  ok(more <= 2, "there is no more room than those left: for %d", more);
  sent += more;
  int writable = recorder_count(&p.ra, LYQ_WRITABLE);
  is(lyq_send(p.a, 0, data, SIZE), LYQ_EAGAIN, "and then none");
  __atomic_store_n(&taking, TAKES_ALL, __ATOMIC_RELEASE);
  is(lyq_resume(p.b.id), 0, "lyq_resume once more");
  ok(recorder_wait(&p.rb, LYQ_DATA, sent), "everything is delivered");
  ok(recorder_wait(&p.ra, LYQ_WRITABLE, writable + 1), "LYQ_WRITABLE follows LYQ_EAGAIN");
  is(lyq_send(p.a, 0, data, SIZE), sent, "there is room again");
  ok(recorder_wait(&p.rb, LYQ_DATA, sent + 1) && ids_in_order(&p.rb, sent + 1), "in order, each once");
  pair_end(&p, scheme);
  pair_free(&p);
}

/* test_close_paused ends endpoints whose receiver has paused: its own side and the other. */
static void test_close_paused(lyq_driver d, int own_first) {
  pair p;
  pair_init(&p);
  p.rb.hook = take_some;
  __atomic_store_n(&taking, 0, __ATOMIC_RELEASE);
  pair_open(&p, d, "tcp", NULL, NULL);
  fill_up(p.a);
  is(lyq_close(own_first ? p.b.id : p.a.id, 0), 0, own_first ? "a paused endpoint is closed" : "its peer is closed");
  is(lyq_wait(own_first ? p.b.id : p.a.id, LYQ_CLOSED, patience_ms()), 0, "and ends");
  pair_end(&p, "paused");
  pair_free(&p);
}

/* An echo that has no room for its answer pauses, and is resumed by its own LYQ_WRITABLE. */
static int echo_or_pause(recorder *r, const lyq_msg *m, size_t n) {
  (void)r;
  for (size_t i = 0; i < n; i++)
    if (m[i].kind == LYQ_DATA && lyq_send(m[i].ep, m[i].tag, m[i].data, m[i].size) == LYQ_EAGAIN) return (int)i;
  return (int)n;
}

static void test_echo(lyq_driver d, const char *scheme) {
  pair p;
  int count = many(20000), sent = 0;
  pair_init(&p);
  p.ra.hook = take_some; /* so that the answers pile up until the echo has no room */
  p.rb.hook = echo_or_pause;
  __atomic_store_n(&taking, 0, __ATOMIC_RELEASE);
  pair_open(&p, d, scheme, NULL, NULL);
  while (sent < count && lyq_send_wait(p.a, 0, data, SIZE, 300) >= 0)
    sent++;
  __atomic_store_n(&taking, TAKES_ALL, __ATOMIC_RELEASE);
  lyq_resume(p.a.id);
  while (sent < count && lyq_send_wait(p.a, 0, data, SIZE, patience_ms()) >= 0)
    sent++;
  is(sent, count, "all questions are accepted");
  ok(recorder_wait(&p.ra, LYQ_DATA, count) && ids_in_order(&p.ra, count), "%s: a paused echo goes on by itself",
     scheme);
  ok(ids_in_order(&p.rb, count), "and saw each question once");
  pair_end(&p, "echo");
  pair_free(&p);
}

/* ---- Senders that wait. */

/* Lends messages to a receiver that takes them late: whoever is refused waits for room, and tries again. */
static void test_wait_room(lyq_driver d) {
  pair p;
  int refused = 0, sent = 0, rc = 0, count = many(2000);
  pair_init(&p);
  pair_open(&p, d, "tcp", NULL, NULL);
  while (sent < count && rc == 0) {
    int64_t id = lyq_send_lent(p.a, 0, data, SIZE, NULL, NULL);
    if (id >= 0) { sent++; continue; }
    if (id != LYQ_EAGAIN) break;
    refused++;
    rc = lyq_wait_room(p.a, 0, SIZE, patience_ms());
  }
  ok(sent == count, "a sender that waits for room %d times gets all through", refused);
  is(rc, 0, "and in time");
  ok(recorder_wait(&p.rb, LYQ_DATA, count) && ids_in_order(&p.rb, count), "each arrives once");
  pair_end(&p, "room");
  is(lyq_wait_room(p.a, 0, SIZE, patience_ms()), LYQ_ECLOSED, "whoever waits for room at what is closed is told");
  pair_free(&p);
}

typedef struct waiter { lyq_endpoint ep; int64_t result; int timeout_ms; pthread_t thread; } waiter;

static void *wait_run(void *arg) {
  waiter *w = arg;
  w->result = lyq_send_wait(w->ep, 0, data, SIZE, w->timeout_ms);
  return NULL;
}

static void test_waiting_senders(lyq_driver d, int closed) {
  enum { WAITERS = 4 };
  pair p;
  waiter w[WAITERS];
  int good = 1;
  pair_init(&p);
  p.rb.hook = take_some;
  __atomic_store_n(&taking, 0, __ATOMIC_RELEASE);
  pair_open(&p, d, "tcp", NULL, NULL);
  int sent = fill_up(p.a);
  for (int i = 0; i < WAITERS; i++) {
    w[i] = (waiter){p.a, 1, i % 2 ? -1 : patience_ms(), 0};
    need(pthread_create(&w[i].thread, NULL, wait_run, &w[i]) == 0, "a thread starts");
  }
  nanosleep(&(struct timespec){0, 50000000}, NULL); /* so that they wait; the outcome is the same if they do not yet */
  if (closed) {
    lyq_close(p.a.id, 0);
  } else {
    __atomic_store_n(&taking, TAKES_ALL, __ATOMIC_RELEASE);
    lyq_resume(p.b.id);
  }
  for (int i = 0; i < WAITERS; i++) {
    pthread_join(w[i].thread, NULL);
    good &= closed ? w[i].result == LYQ_ECLOSED : w[i].result >= sent && w[i].result < sent + WAITERS;
  }
  ok(good, closed ? "waiting senders learn that the endpoint is closed" : "waiting senders get the room that comes");
  if (!closed) ok(recorder_wait(&p.rb, LYQ_DATA, sent + WAITERS) && ids_in_order(&p.rb, sent + WAITERS), "in order");
  pair_end(&p, "waiting senders");
  pair_free(&p);
}

/* ---- Pulled inboxes. */

static void test_unreleased(lyq_driver d, const char *scheme) {
  enum { HELD = 100000 };
  pair p;
  lyq_inbox in;
  int held = 0, in_order = 1, sent = 0, sender_stopped = 0;
  uint64_t c[LYQ_C_COUNT];
  lyq_msg *m = calloc(HELD, sizeof *m);
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  need(m != NULL && lyq_inbox_open(d, &in) == 0, "an inbox opens");
  opt.inbox = in;
  opt.window_bytes = 65536;
  pair_init(&p);
  pair_open(&p, d, scheme, &opt, NULL); /* a pulls, b sends */
  while (!sender_stopped && held + 64 < HELD) { /* take everything, give nothing back */
    int64_t id = lyq_send_wait(p.b, 0, data, SIZE, 300);
    sender_stopped = id == LYQ_ETIMEDOUT;
    sent += id >= 0;
    int n = lyq_recv(in, m + held, 64, 0);
    held += n > 0 ? n : 0;
  }
  ok(sender_stopped, "%s: who holds what came stops the sender after %d messages", scheme, sent);
  is(lyq_counters(p.a.id, c, LYQ_C_COUNT), LYQ_C_COUNT, "counters");
  ok(c[LYQ_C_HELD_BYTES] >= 60000 && c[LYQ_C_HELD_BYTES] <= 4 << 20, "%llu bytes are held for a window of 65536",
     (unsigned long long)c[LYQ_C_HELD_BYTES]);
  is(lyq_release(m, (size_t)held), 0, "they are released");
  uint64_t next = 0;
  for (int i = 0; i < held; i++)
    if (m[i].kind == LYQ_DATA) in_order &= m[i].id == next++;
  while (next < (uint64_t)sent) {
    int n = lyq_recv(in, m, 64, patience_ms());
    need(n > 0, "%s: after message %llu of %d nothing comes: %d", scheme, (unsigned long long)next, sent, n);
    for (int i = 0; i < n; i++)
      if (m[i].kind == LYQ_DATA) in_order &= m[i].id == next++;
    lyq_release(m, (size_t)n);
  }
  ok(in_order, "%s: everything comes, in order", scheme);
  ok(lyq_send_wait(p.b, 0, data, SIZE, patience_ms()) == sent, "the sender goes on");
  ok(until(lyq_counters(p.a.id, c, LYQ_C_COUNT) > 0 && lyq_recv(in, m, 1, 0) == 1), "and is heard");
  lyq_release(m, 1);
  ok(pair_close(&p, 0), "the pair ends");
  ok(recorder_wait_drop(&p.rb), "and is dropped");
  lyq_close(in.id, 0);
  pair_free(&p);
  free(m);
}

/* test_neighbour shows that an endpoint whose items are held does not stop another of the same inbox. */
static void test_neighbour(lyq_driver d) {
  pair slow, quick;
  lyq_inbox in;
  lyq_msg m[64], *held = calloc(20000, sizeof *held);
  int kept = 0, got = 0, idle = 0;
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  need(held != NULL && lyq_inbox_open(d, &in) == 0, "an inbox opens");
  opt.inbox = in;
  opt.window_bytes = 65536;
  pair_init(&slow);
  pair_init(&quick);
  pair_open(&slow, d, "tcp", &opt, NULL);
  pair_open(&quick, d, "tcp", &opt, NULL);
  fill_up(slow.b);
  int64_t sent = 0;
  while (got < 5000) {
    while (sent < 5000 && lyq_send(quick.b, 0, data, SIZE) >= 0)
      sent++;
    /* All that was sent may have come before its room was counted as free: then nothing comes until more is sent. */
    int n = lyq_recv(in, m, 64, got < sent ? patience_ms() : 1);
    if (n == LYQ_ETIMEDOUT && got == sent && ++idle < patience_ms()) continue;
    need(n > 0, "an item comes: %d", n);
    for (int i = 0; i < n; i++) {
      got += m[i].kind == LYQ_DATA && m[i].ep.id == quick.a.id;
      if (m[i].ep.id == slow.a.id && kept < 20000) held[kept++] = m[i];
      else lyq_release(&m[i], 1);
    }
  }
  ok(kept > 0, "%d messages of one endpoint are held; 5000 of its neighbour came through", kept);
  is(lyq_release(held, (size_t)kept), 0, "they are released");
  ok(pair_close(&slow, 0) && pair_close(&quick, 0), "the pairs end");
  ok(recorder_wait_drop(&slow.rb) && recorder_wait_drop(&quick.rb), "and are dropped");
  lyq_close(in.id, 0);
  pair_free(&slow);
  pair_free(&quick);
  free(held);
}

/* ---- A receiver that is merely slow. */

static int take_slowly(recorder *r, const lyq_msg *m, size_t n) {
  (void)r;
  (void)m;
  nanosleep(&(struct timespec){0, 1000000}, NULL);
  return (int)n;
}

static void test_slow(lyq_driver d) {
  pair p;
  int count = many(20000), good = 1;
  pair_init(&p);
  p.rb.hook = take_slowly;
  pair_open(&p, d, "tcp", NULL, NULL);
  for (int i = 0; i < count && good; i++)
    good &= lyq_send_wait(p.a, 0, data, SIZE, patience_ms()) == i;
  ok(good, "%d messages are accepted for a slow receiver", count);
  ok(recorder_wait(&p.rb, LYQ_DATA, count) && ids_in_order(&p.rb, count), "nothing is lost, and the order kept");
  pair_end(&p, "slow");
  pair_free(&p);
}

/* send_short uses little of what its messages are kept in, and claim_long gives back most of what it has claimed. */
static int64_t send_short(lyq_endpoint ep, lyq_tag tag) { return lyq_send(ep, tag, data, SHORT); }

static int64_t claim_long(lyq_endpoint ep, lyq_tag tag) {
  lyq_claim c;
  int rc = lyq_claim_open(ep, tag, LONG, &c);
  return rc < 0 ? rc : lyq_commit(ep, &c, 1);
}

/* test_memory_limit sends to nobody all that a driver takes, and compares what that takes. */
static void test_memory_limit(int64_t (*put)(lyq_endpoint, lyq_tag), uint64_t each, const char *what) {
  enum { LIMIT = 4 << 20, ENDPOINTS = 10 };
  lyq_driver d;
  uint64_t now[LYQ_P_COUNT], pooled;
  int sent = 0, refused = 0;
  LYQ_DEFAULTS(lyq_driver_opt, o);
  o.memory_limit = LIMIT;
  need(lyq_driver_open(&o, &d) == 0, "a driver");
  for (int i = 0; i < ENDPOINTS; i++) {
    lyq_endpoint ep;
    need(lyq_dial(d, "tcp://127.0.0.1:1", NULL, &ep) == 0, "nobody is dialled");
    for (unsigned lane = 0; lane < 4; lane++) {
      int64_t rc;
      while ((rc = put(ep, LYQ_TAG(lane, 0))) >= 0) sent++;
      refused += rc == LYQ_EAGAIN;
    }
  }
  ok(refused == 4 * ENDPOINTS, "%s: each lane is full in the end", what);
  lyq_process_counters(now, LYQ_P_COUNT);
  pooled = now[LYQ_P_LOG_BYTES] + now[LYQ_P_BLOCK_BYTES];
  ok(pooled + (uint64_t)sent * each <= LIMIT, "%s: %d messages keep no more than memory_limit: %llu bytes", what, sent,
     (unsigned long long)(pooled + (uint64_t)sent * each));
  ok(sent > 8, "and not much less");
  close_driver(d);
  ok(until(lyq_process_counters(now, LYQ_P_COUNT) > 0 && now[LYQ_P_LOG_BYTES] + now[LYQ_P_BLOCK_BYTES] == 0),
     "and give it all back");
}

int main(void) {
  tap_begin();
  test_memory_limit(send_short, 0, "short messages");
  test_memory_limit(claim_long, LONG, "long claims");
  lyq_driver d = open_driver(2);
  for (int i = 0; i < SCHEMES; i++) {
    test_pause(d, schemes[i]);
    test_echo(d, schemes[i]);
    test_unreleased(d, schemes[i]);
  }
  test_close_paused(d, 0);
  test_close_paused(d, 1);
  test_wait_room(d);
  test_waiting_senders(d, 0);
  test_waiting_senders(d, 1);
  test_neighbour(d);
  test_slow(d);
  close_driver(d);
  return tap_end();
}
