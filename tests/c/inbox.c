/* Inboxes that many pull from, and that many send to: endpoints have their turns, and each item goes to one thread. */
#define _GNU_SOURCE 1
#include "kit.h"

enum { SIZE = 1000, BATCH = 64 };

static uint8_t data[SIZE];

/* listen_into opens a listener whose endpoints an inbox receives, and its address. */
static lyq_listener listen_into(lyq_driver d, lyq_inbox in, char address[64]) {
  lyq_listener l;
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  o.inbox = in;
  need(lyq_listen(d, "tcp://127.0.0.1:0", &o, &l) == 0, "a listener with an inbox: %s", lyq_detail());
  need(lyq_address(l.id, address, 64) > 0, "has an address");
  return l;
}

static lyq_endpoint dial_up(lyq_driver d, const char *address) {
  lyq_endpoint ep;
  need(lyq_dial(d, address, NULL, &ep) == 0, "it is dialled: %s", lyq_detail());
  need(lyq_wait(ep.id, LYQ_UP, patience_ms()) == 0, "it is up");
  return ep;
}

static int send_some(lyq_endpoint ep, int count) {
  int good = 1;
  for (int i = 0; i < count; i++) good &= lyq_send_wait(ep, 0, data, SIZE, patience_ms()) == i;
  return good;
}

/* ---- Endpoints in turn. */

static uint64_t received(lyq_endpoint ep) {
  uint64_t c[LYQ_C_COUNT] = {0};
  lyq_counters(ep.id, c, LYQ_C_COUNT);
  return c[LYQ_C_MSGS_RECEIVED];
}

/* pull_event takes items until one of that kind comes, and says of which endpoint. */
static lyq_endpoint pull_event(lyq_inbox in, int kind) {
  lyq_msg m = {.kind = 0};
  do {
    need(lyq_recv(in, &m, 1, patience_ms()) == 1, "an item comes");
    lyq_release(&m, 1);
  } while (m.kind != kind);
  return m.ep;
}

/* test_in_turn has one endpoint fill its window before another says a word: that is not behind all of it. */
static void test_in_turn(lyq_driver d) {
  enum { MUCH = 200 };   /* three turns and more, within a window */
  lyq_inbox in;
  lyq_msg m[BATCH];
  char address[64];
  need(lyq_inbox_open(d, &in) == 0, "an inbox");
  lyq_listener l = listen_into(d, in, address);
  lyq_endpoint loud = dial_up(d, address), loud_here = pull_event(in, LYQ_UP);
  lyq_endpoint brief = dial_up(d, address), brief_here = pull_event(in, LYQ_UP);
  is(lyq_recv(in, m, BATCH, 0), LYQ_EAGAIN, "the inbox is empty");
  ok(send_some(loud, MUCH) && until(received(loud_here) == MUCH), "one endpoint has much in the inbox");
  ok(send_some(brief, 1) && until(received(brief_here) == 1), "then another has a message there");
  int before = 0, heard = 0;
  while (!heard) {
    int n = lyq_recv(in, m, BATCH, patience_ms());
    need(n > 0, "items come: %s", lyq_strerror(n));
    for (int i = 0; i < n; i++) {
      heard |= m[i].kind == LYQ_DATA && m[i].ep.id == brief_here.id;
      before += !heard && m[i].kind == LYQ_DATA;
    }
    lyq_release(m, (size_t)n);
  }
  ok(before > 0 && before * (SIZE + 8) < 65536 + SIZE + 8, "which comes after %d of the first, 64 KiB", before);
  lyq_close(loud.id, 0);
  lyq_close(brief.id, 0);
  for (int i = 0; i < 2; i++) pull_event(in, LYQ_CLOSED);
  lyq_close(l.id, 0);
  lyq_close(in.id, 0);
}

/* ---- Several threads. */

enum { THREADS = 3, PEERS = 4, COUNT = 3000 };

static struct { lyq_inbox in; uint8_t times[PEERS][COUNT]; int total, wrong; uint64_t peers[PEERS]; } crowd;

/* number_of gives the peers numbers as they come. */
static int number_of(uint64_t ep) {
  for (int i = 0; i < PEERS; i++) {
    uint64_t none = 0;
    if (__atomic_compare_exchange_n(&crowd.peers[i], &none, ep, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) || none == ep)
      return i;
  }
  return -1;
}

static void *pull(void *unused) {
  lyq_msg m[8];
  uint64_t next[PEERS] = {0};
  (void)unused;
  for (int n; (n = lyq_recv(crowd.in, m, 8, patience_ms())) > 0;) {
    for (int i = 0; i < n; i++) {
      if (m[i].kind != LYQ_DATA) continue;
      int peer = number_of(m[i].ep.id);
      int good = peer >= 0 && m[i].id >= next[peer] && m[i].id < COUNT;
      if (good) next[peer] = m[i].id + 1;
      if (good) good = __atomic_add_fetch(&crowd.times[peer][m[i].id], 1, __ATOMIC_RELAXED) == 1;
      __atomic_add_fetch(&crowd.wrong, !good, __ATOMIC_RELAXED);
      __atomic_add_fetch(&crowd.total, 1, __ATOMIC_RELAXED);
    }
    lyq_release(m, (size_t)n);
  }
  return NULL;
}

static void test_threads(lyq_driver d) {
  pthread_t threads[THREADS];
  lyq_endpoint peers[PEERS];
  char address[64];
  int count = many(COUNT), good = 1;
  need(lyq_inbox_open(d, &crowd.in) == 0, "an inbox");
  lyq_listener l = listen_into(d, crowd.in, address);
  for (int i = 0; i < THREADS; i++) need(pthread_create(&threads[i], NULL, pull, NULL) == 0, "a thread pulls");
  for (int i = 0; i < PEERS; i++) peers[i] = dial_up(d, address);
  for (int i = 0; i < count; i++)
    for (int k = 0; k < PEERS; k++) good &= lyq_send_wait(peers[k], 0, data, 100, patience_ms()) == i;
  ok(good, "%d peers send %d messages each", PEERS, count);
  for (int i = 0; i < PEERS; i++) good &= lyq_wait(peers[i].id, LYQ_ACKED, patience_ms()) == 0;
  ok(good && __atomic_load_n(&crowd.total, __ATOMIC_RELAXED) == PEERS * count, "%d threads have pulled them all",
     THREADS);
  is(__atomic_load_n(&crowd.wrong, __ATOMIC_RELAXED), 0, "each message went to one of them, in order");
  for (int i = 0; i < PEERS; i++) lyq_close(peers[i].id, 0);
  lyq_close(l.id, 0);
  lyq_close(crowd.in.id, 0);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

/* ---- What is pulled and not looked at. */

/* pull_messages takes n messages, and releases what comes between them. */
static lyq_endpoint pull_messages(lyq_inbox in, lyq_msg *m, int n) {
  for (int i = 0; i < n;) {
    need(lyq_recv(in, &m[i], 1, patience_ms()) == 1, "an item comes");
    if (m[i].kind == LYQ_DATA) i++; else lyq_release(&m[i], 1);
  }
  return m[0].ep;
}

static void test_discard(lyq_driver d) {
  enum { SEEN = 3, UNSEEN = 6, LONG = 100000 };
  static const uint8_t much[LONG];
  lyq_inbox in, of_sender;
  lyq_msg m[SEEN + UNSEEN], last = {.kind = 0};
  lyq_lane_account lanes[4];
  uint64_t c[LYQ_C_COUNT] = {0};
  char address[64];
  lyq_endpoint ep;
  need(lyq_inbox_open(d, &in) == 0 && lyq_inbox_open(d, &of_sender) == 0, "two inboxes");
  lyq_listener l = listen_into(d, in, address);
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  o.inbox = of_sender;
  need(lyq_dial(d, address, &o, &ep) == 0, "it is dialled");
  ok(send_some(ep, SEEN), "%d messages are sent", SEEN);
  lyq_endpoint here = pull_messages(in, m, SEEN);
  lyq_release(m, SEEN);
  is(lyq_wait(ep.id, LYQ_ACKED, patience_ms()), 0, "which are released and acknowledged");
  for (int i = 0; i < UNSEEN; i++) need(lyq_send(ep, 0, much, i == 2 ? LONG : SIZE) == SEEN + i, "others are sent");
  pull_messages(in, m, UNSEEN);
  is(lyq_discard(m, UNSEEN), 0, "which are pulled and discarded");
  lyq_counters(here.id, c, LYQ_C_COUNT);
  is((int)c[LYQ_C_HELD_BYTES], 0, "they are held no more");
  lyq_close(here.id, 0);
  do {
    if (last.kind) lyq_release(&last, 1);
    need(lyq_recv(of_sender, &last, 1, patience_ms()) == 1, "an item of the sender");
  } while (last.kind != LYQ_CLOSED);
  is(lyq_account(&last, lanes), 0, "the sender's account");
  is((int)lanes[LYQ_NORMAL].acknowledged, SEEN, "no more is acknowledged");
  is((int)lanes[LYQ_NORMAL].maybe_delivered, UNSEEN, "what was discarded was maybe delivered");
  lyq_release(&last, 1);
  lyq_close(l.id, 0);
  lyq_close(in.id, 0);
  lyq_close(of_sender.id, 0);
}

int main(void) {
  tap_begin();
  lyq_driver d = open_driver(2);
  test_in_turn(d);
  test_threads(d);
  test_discard(d);
  close_driver(d);
  return tap_end();
}
