/* Acknowledging by hand: what was received is acknowledged when the program says so, by callback and by pull. */
#define _GNU_SOURCE 1
#include "kit.h"

enum { SIZE = 1000, LONG = 100000, COUNT = 20 };

static uint8_t data[LONG];

static lyq_endpoint_opt by_hand(void) {
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  o.ack = LYQ_ACK_MANUAL;
  return o;
}

/* acked says whether what was sent is acknowledged within a time that is ample, or, if it should not be, within one
 * that lets it come if it would. */
static int acked(lyq_endpoint ep, int should) {
  return lyq_wait(ep.id, LYQ_ACKED, should ? patience_ms() : 300) == 0;
}

static void test_callback(lyq_driver d, const char *scheme) {
  pair p;
  lyq_endpoint_opt manual = by_hand();
  pair_init(&p);
  pair_open(&p, d, scheme, NULL, &manual);
  is(lyq_ack(p.b, 0, 0), LYQ_EINVAL, "nothing was received yet");
  for (int i = 0; i < COUNT; i++)
    is(lyq_send(p.a, LYQ_TAG(LYQ_NORMAL, i), data, i % 7 == 6 ? LONG : SIZE), i, "a message");
  is(lyq_send(p.a, LYQ_TAG(LYQ_LOW, 0), data, SIZE), 0, "and one in another lane");
  ok(recorder_wait(&p.rb, LYQ_DATA, COUNT + 1), "%s: all are received", scheme);
  ok(!acked(p.a, 0), "and not acknowledged, though their callbacks returned");
  is(lyq_ack(p.b, 0, COUNT), LYQ_EINVAL, "nobody has received the next one");
  is(lyq_ack(p.b, LYQ_TAG(LYQ_LOW, 0), 1), LYQ_EINVAL, "nor in the other lane");
  is(lyq_ack(p.b, LYQ_TAG(4, 0), 0), LYQ_EINVAL, "there is no such lane");
  is(lyq_ack(p.a, 0, 0), LYQ_EINVAL, "the other side does not acknowledge by hand");
  is(lyq_ack(p.b, LYQ_TAG(LYQ_NORMAL, 77), COUNT - 2), 0, "all but the last; the channel does not matter");
  is(lyq_ack(p.b, 0, 3), 0, "one that was acknowledged with them");
  ok(!acked(p.a, 0), "one of each lane is missing");
  is(lyq_ack(p.b, 0, COUNT - 1), 0, "the last");
  is(lyq_ack(p.b, LYQ_TAG(LYQ_LOW, 0), 0), 0, "and that of the other lane");
  ok(acked(p.a, 1), "now all are acknowledged");
  pair_end(&p, scheme);
  is(lyq_ack(p.b, 0, 0), LYQ_ECLOSED, "the endpoint is closed");
  pair_free(&p);
}

/* ack_every acknowledges inside the callback. */
static int ack_every(recorder *r, const lyq_msg *m, size_t n) {
  (void)r;
  for (size_t i = 0; i < n; i++)
    if (m[i].kind == LYQ_DATA && lyq_ack(m[i].ep, m[i].tag, m[i].id) != 0) abort();
  return (int)n;
}

static void test_inside(lyq_driver d) {
  pair p;
  lyq_endpoint_opt manual = by_hand();
  manual.window_bytes = 65536;
  pair_init(&p);
  p.rb.hook = ack_every;
  pair_open(&p, d, "tcp", NULL, &manual);
  int good = 1, count = many(3000);
  for (int i = 0; i < count; i++)
    good &= lyq_send_wait(p.a, 0, data, i % 50 == 0 ? LONG : SIZE, patience_ms()) == i;
  ok(good && acked(p.a, 1), "a callback acknowledges %d messages as they come", count);
  pair_end(&p, "inside");
  pair_free(&p);
}

/* test_credit holds acknowledgements back until the sender is out of credit. */
static void test_credit(lyq_driver d) {
  pair p;
  char why[400] = "";
  lyq_endpoint_opt manual = by_hand();
  manual.window_bytes = 65536;
  pair_init(&p);
  pair_open(&p, d, "tcp", NULL, &manual);
  for (int i = 0; i < 2 * 65536 / SIZE; i++)
    if (lyq_send(p.a, 0, data, SIZE) != i) ok(0, "message %d is accepted", i);
  ok(until(lyq_explain(p.a.id, why, sizeof why) > 0 && strstr(why, "no credit") != NULL),
     "what is not acknowledged uses up the window: %s", why);
  int got = (65536 + SIZE + 7) / (SIZE + 8); /* one may start while a byte is left; each counts 8 more */
  ok(recorder_wait(&p.rb, LYQ_DATA, got), "%d messages fill it", got);
  is(recorder_count(&p.rb, LYQ_DATA), got, "and no more come");
  is(lyq_ack(p.b, 0, (uint64_t)got - 1), 0, "they are acknowledged");
  ok(recorder_wait(&p.rb, LYQ_DATA, got + 1), "and more comes");
  pair_end(&p, "credit");
  pair_free(&p);
}

/* test_pull releases first, which gives back memory alone. */
static void test_pull(lyq_driver d) {
  lyq_inbox in;
  lyq_listener l;
  lyq_endpoint ep, from = {0};
  lyq_msg m[COUNT];
  char address[128];
  lyq_endpoint_opt manual = by_hand();
  need(lyq_inbox_open(d, &in) == 0, "an inbox");
  manual.inbox = in;
  need(lyq_listen(d, "tcp://127.0.0.1:0", &manual, &l) == 0, "a listener with it");
  need(lyq_address(l.id, address, sizeof address) > 0 && lyq_dial(d, address, NULL, &ep) == 0, "is dialled");
  for (int i = 0; i < COUNT; i++) is(lyq_send(ep, 0, data, i % 7 == 6 ? LONG : SIZE), i, "a message to the inbox");
  for (int got = 0; got < COUNT;) {
    int n = lyq_recv(in, m, 1, patience_ms());
    need(n == 1, "an item");
    if (m[0].kind == LYQ_DATA) {
      from = m[0].ep;
      got++;
      if (lyq_ack(from, 0, m[0].id + 1) != LYQ_EINVAL) ok(0, "message %d was not pulled yet", got);
    }
    lyq_release(m, 1);
  }
  ok(!acked(ep, 0), "all are released, and not acknowledged");
  is(lyq_ack(from, 0, COUNT - 1), 0, "they are acknowledged by hand");
  ok(acked(ep, 1), "and the sender knows");
  lyq_close(ep.id, 0);
  lyq_close(l.id, 0);
  for (int closed = 0; !closed;) {
    int n = lyq_recv(in, m, COUNT, patience_ms());
    if (n <= 0) break;
    for (int i = 0; i < n; i++) closed |= m[i].kind == LYQ_CLOSED;
    lyq_release(m, (size_t)n);
    if (closed) ok(1, "the last item is pulled");
  }
  is(lyq_wait(from.id, LYQ_CLOSED, patience_ms()), 0, "the endpoint is closed");
  is(lyq_ack(from, 0, 0), LYQ_ECLOSED, "and acknowledges nothing");
  lyq_close(in.id, 0);
}

/* ---- From threads beside the callback. */

typedef struct desk { lyq_endpoint ep; _Atomic int64_t upto; _Atomic int over; } desk;

static int to_desk(recorder *r, const lyq_msg *m, size_t n) {
  desk *k = r->of_hook;
  for (size_t i = 0; i < n; i++)
    if (m[i].kind == LYQ_DATA) k->upto = (int64_t)m[i].id;
  return (int)n;
}

static void *clerk(void *of) {
  desk *k = of;
  uint64_t seed = (uint64_t)(uintptr_t)&k;
  while (!k->over) {
    int64_t upto = k->upto;
    if (upto < 0) continue;
    if (lyq_ack(k->ep, 0, (uint64_t)(upto - upto % (int64_t)(1 + random64(&seed) % 8))) != 0) return "a refusal";
  }
  return NULL;
}

static void test_threads(lyq_driver d) {
  pair p;
  pthread_t clerks[3];
  void *wrong[3];
  desk k = {.upto = -1};
  lyq_endpoint_opt manual = by_hand();
  manual.window_bytes = 65536;
  pair_init(&p);
  p.rb.hook = to_desk;
  p.rb.of_hook = &k;
  pair_open(&p, d, "tcp", NULL, &manual);
  k.ep = p.b;
  for (int i = 0; i < 3; i++) pthread_create(&clerks[i], NULL, clerk, &k);
  int good = 1, count = many(5000);
  for (int i = 0; i < count; i++) good &= lyq_send_wait(p.a, 0, data, SIZE, patience_ms()) == i;
  ok(good && recorder_wait(&p.rb, LYQ_DATA, count), "%d messages come while three threads acknowledge", count);
  is(lyq_ack(p.b, 0, (uint64_t)count - 1), 0, "up to the last");
  ok(acked(p.a, 1), "all are acknowledged");
  k.over = 1;
  for (int i = 0; i < 3; i++) pthread_join(clerks[i], &wrong[i]);
  ok(wrong[0] == NULL && wrong[1] == NULL && wrong[2] == NULL, "no thread was refused");
  pair_end(&p, "threads");
  pair_free(&p);
}

int main(void) {
  tap_begin();
  lyq_driver d = open_driver(2);
  for (int i = 0; i < SCHEMES; i++) test_callback(d, schemes[i]);
  test_inside(d);
  test_credit(d);
  test_pull(d);
  test_threads(d);
  close_driver(d);
  return tap_end();
}
