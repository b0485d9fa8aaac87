/* Sessions: what outlives a lost connection, and what acknowledgement means. A connection is cut by shutting down the
 * library's own sockets, as the kernel does when a network resets them. */
#define _GNU_SOURCE 1
#include "kit.h"

enum { SIZE = 1000, COUNT = 5000 };

static uint8_t data[SIZE];

static lyq_endpoint_opt resuming(void) {
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  o.resume_ms = LYQ_FOR_EVER;
  return o;
}

static int in_order(recorder *r, int count) {
  int at = 0, good = 1;
  pthread_mutex_lock(&r->lock);
  for (size_t i = 0; i < r->n; i++)
    if (r->items[i].kind == LYQ_DATA) good &= r->items[i].id == (uint64_t)at++;
  pthread_mutex_unlock(&r->lock);
  return good && at == count;
}

/* ---- Connections that are lost. */

static void *send_all(void *of) {
  lyq_endpoint ep = *(lyq_endpoint *)of;
  int64_t rc = 0;
  for (int i = 0; i < many(COUNT) && rc >= 0; i++)
    rc = lyq_send_wait(ep, 0, data, SIZE, patience_ms());
  return rc < 0 ? "a send was refused" : NULL;
}

static void test_cuts(lyq_driver d) {
  pair p;
  pthread_t senders[2];
  void *wrong[2];
  int cuts = 0, count = many(COUNT);
  lyq_endpoint_opt o = resuming();
  pair_init(&p);
  pair_open(&p, d, "tcp", &o, &o);
  pthread_create(&senders[0], NULL, send_all, &p.a);
  pthread_create(&senders[1], NULL, send_all, &p.b);
  while (cuts == 0 || recorder_count(&p.rb, LYQ_DATA) < count || recorder_count(&p.ra, LYQ_DATA) < count) {
    if (cuts < 20) cuts += cut(p.address) > 0;
    /* A link that is cut before it is up is one more endpoint of the listener's, which ends at once. */
    if (!until(recorder_count(&p.ra, LYQ_UP) > cuts)) break;
    nanosleep(&(struct timespec){0, 2000000}, NULL);   /* some traffic between two cuts */
  }
  for (int i = 0; i < 2; i++) pthread_join(senders[i], &wrong[i]);
  ok(wrong[0] == NULL && wrong[1] == NULL, "every message is accepted");
  ok(recorder_wait(&p.rb, LYQ_DATA, count) && in_order(&p.rb, count), "%d cuts lose nothing one way", cuts);
  ok(recorder_wait(&p.ra, LYQ_DATA, count) && in_order(&p.ra, count), "nor the other");
  ok(recorder_wait(&p.ra, LYQ_DOWN, 1), "LYQ_DOWN tells of lost connections");
  is(recorder_count(&p.ra, LYQ_RESTARTED) + recorder_count(&p.rb, LYQ_RESTARTED), 0, "nobody restarted");
  is(recorder_count(&p.rb, LYQ_ACCEPTED), 1, "the listener accepted one endpoint");
  is(lyq_wait(p.a.id, LYQ_ACKED, patience_ms()), 0, "all is acknowledged");
  pair_end(&p, "cuts");
  pair_free(&p);
}

static void test_gone(lyq_driver d) {
  pair p;
  lyq_endpoint_opt o = resuming(), brief = resuming();
  o.resume_ms = 100;
  brief.resume_ms = LYQ_WITH_LINK;
  pair_init(&p);
  pair_open(&p, d, "tcp", &brief, &o);
  ok(cut(p.address) > 0, "a connection that only the listener's side would resume is cut");
  ok(recorder_wait(&p.ra, LYQ_CLOSED, 1), "who dialled with LYQ_WITH_LINK ends");
  ok(recorder_wait(&p.rb, LYQ_DOWN, 1), "who accepted waits");
  int64_t id = lyq_send(p.b, 0, data, SIZE);
  is(id, 0, "and takes messages");
  ok(recorder_wait(&p.rb, LYQ_CLOSED, 1), "but no longer than resume_ms");
  seen c = recorder_item(&p.rb, LYQ_CLOSED, 0);
  is(c.code, LYQ_ERESET, "with the reason of the loss");
  ok(strstr(c.text, "no other link within 100ms") != NULL, "in words: %s", c.text);
  pair_end(&p, "gone");
  pair_free(&p);
}

/* test_redial dials where nobody listens yet. */
/* test_flush has events tell what test_acked waits for: a callback, and whoever pulls. */
static void test_flush(lyq_driver d) {
  pair p;
  lyq_inbox in;
  lyq_listener l;
  lyq_endpoint ep;
  lyq_msg m;
  char address[128];
  LYQ_DEFAULTS(lyq_endpoint_opt, pulled);
  need(lyq_inbox_open(d, &in) == 0, "an inbox");
  pulled.inbox = in;
  pair_init(&p);
  pair_open(&p, d, "tcp", NULL, NULL);
  is(lyq_flush(p.a), 0, "nothing was sent");
  ok(recorder_wait(&p.ra, LYQ_ACKED, 1), "all of it is acknowledged");
  for (int i = 0; i < 3; i++) {
    is(lyq_send(p.a, 0, data, SIZE), i, "a message to a callback");
    is(lyq_flush(p.a), 0, "is asked after");
    ok(recorder_wait(&p.ra, LYQ_ACKED, i + 2), "and known to be consumed");
    is(recorder_count(&p.rb, LYQ_DATA), i + 1, "which it was");
  }

  need(lyq_listen(d, "tcp://127.0.0.1:0", &pulled, &l) == 0 && lyq_address(l.id, address, sizeof address) > 0 &&
       lyq_dial(d, address, &pulled, &ep) == 0, "both sides pull");
  is(lyq_send(ep, 0, data, SIZE), 0, "a message to an inbox");
  is(lyq_flush(ep), 0, "is asked after");
  while (lyq_recv(in, &m, 1, patience_ms()) == 1 && m.kind != LYQ_DATA) {
    if (m.kind == LYQ_ACKED) ok(0, "pulled is not consumed");
    lyq_release(&m, 1);
  }
  is(m.kind, LYQ_DATA, "it is pulled");
  lyq_release(&m, 1);
  while (lyq_recv(in, &m, 1, patience_ms()) == 1 && m.kind != LYQ_ACKED) lyq_release(&m, 1);
  ok(m.kind == LYQ_ACKED && m.ep.id == ep.id && m.code == 0 && m.size == 0, "and released, so that it is acknowledged");
  lyq_release(&m, 1);
  lyq_close(ep.id, 0);
  is(lyq_flush(ep), 0, "an endpoint that ends may be asked, for LYQ_CLOSED is an answer");
  lyq_close(l.id, 0);
  while (lyq_recv(in, &m, 1, patience_ms()) == 1 && !(m.kind == LYQ_CLOSED && m.ep.id == ep.id)) lyq_release(&m, 1);
  is(m.kind, LYQ_CLOSED, "that comes");
  lyq_release(&m, 1);
  is(lyq_wait(ep.id, LYQ_CLOSED, patience_ms()), 0, "and it has ended");
  is(lyq_flush(ep), LYQ_ECLOSED, "after which there is nothing to ask");
  lyq_close(in.id, 0);
  pair_end(&p, "flush");
  pair_free(&p);
}

static void test_redial(lyq_driver d) {
  recorder ra, rb;
  lyq_listener l;
  lyq_endpoint ep;
  char address[128];
  recorder_init(&ra);
  recorder_init(&rb);
  lyq_endpoint_opt a = with_recorder(NULL, &ra), plain = with_recorder(NULL, &rb);
  need(lyq_listen(d, "tcp://127.0.0.1:0", &plain, &l) == 0, "a listener for its port");
  need(lyq_address(l.id, address, sizeof address) > 0, "which is known");
  lyq_close(l.id, 0);
  need(lyq_wait(l.id, LYQ_CLOSED, patience_ms()) == 0, "and free again");
  is(lyq_dial(d, address, &a, &ep), 0, "lyq_dial where nobody listens");
  is(lyq_send(ep, 0, data, SIZE), 0, "takes messages");
  ok(recorder_wait(&ra, LYQ_DOWN, 1), "the first failure is told");
  is(recorder_item(&ra, LYQ_DOWN, 0).code, LYQ_EREFUSED, "with its reason");
  is(lyq_wait(ep.id, LYQ_UP, 50), LYQ_ETIMEDOUT, "it is tried again");
  is(recorder_count(&ra, LYQ_DOWN), 1, "of which nothing more is told");
  is(lyq_wait(ep.id, LYQ_ACKED, 0), LYQ_ETIMEDOUT, "nothing is acknowledged");
  recorder_init(&rb);
  plain = with_recorder(NULL, &rb);
  need(until(lyq_listen(d, address, &plain, &l) == 0), "somebody listens again");
  ok(recorder_wait(&rb, LYQ_DATA, 1), "the message arrives");
  is(lyq_wait(ep.id, LYQ_ACKED, patience_ms()), 0, "and is acknowledged");
  lyq_close(ep.id, 0);
  lyq_close(l.id, 0);
  ok(recorder_wait_drop(&ra) && recorder_wait_drop(&rb), "both end");
  recorder_free(&ra);
  recorder_free(&rb);
}

/* ---- Acknowledgement. */

static void test_acked(lyq_driver d) {
  pair p;
  lyq_inbox in;
  lyq_msg m[8];
  LYQ_DEFAULTS(lyq_endpoint_opt, pulled);
  need(lyq_inbox_open(d, &in) == 0, "an inbox");
  pair_init(&p);
  pair_open(&p, d, "tcp", NULL, NULL);
  is(lyq_wait(p.a.id, LYQ_ACKED, 0), 0, "nothing was sent: all of it is acknowledged");
  is(lyq_send(p.a, 0, data, SIZE), 0, "a message to a callback");
  is(lyq_wait(p.a.id, LYQ_ACKED, patience_ms()), 0, "is acknowledged when that has returned");
  is(lyq_wait(p.listener.id, LYQ_ACKED, 0), LYQ_EINVAL, "a listener has nothing to acknowledge");

  lyq_listener l;
  lyq_endpoint ep;
  char address[128];
  pulled.inbox = in;
  need(lyq_listen(d, "tcp://127.0.0.1:0", &pulled, &l) == 0, "a listener with an inbox");
  need(lyq_address(l.id, address, sizeof address) > 0 && lyq_dial(d, address, NULL, &ep) == 0, "is dialled");
  for (int i = 0; i < 3; i++) is(lyq_send(ep, LYQ_TAG(LYQ_LOW, 0), data, SIZE), i, "a message to an inbox");
  int got = 0;
  static lyq_msg kept[3];
  while (got < 3) {
    int n = lyq_recv(in, m, 8, patience_ms());
    if (n <= 0) break;
    for (int i = 0; i < n; i++)
      if (m[i].kind == LYQ_DATA) kept[got++] = m[i]; else lyq_release(&m[i], 1);
  }
  is(got, 3, "three messages are pulled");
  is(lyq_wait(ep.id, LYQ_ACKED, 300), LYQ_ETIMEDOUT, "pulled is not consumed");
  is(lyq_release(&kept[2], 1), 0, "the last is released first");
  is(lyq_release(&kept[0], 1), 0, "then the first");
  is(lyq_wait(ep.id, LYQ_ACKED, 300), LYQ_ETIMEDOUT, "one is missing");
  is(lyq_release(&kept[1], 1), 0, "now all are released");
  is(lyq_wait(ep.id, LYQ_ACKED, patience_ms()), 0, "and acknowledged");
  lyq_close(ep.id, 0);
  lyq_close(l.id, 0);
  for (int closed = 0; !closed;) {
    int n = lyq_recv(in, m, 8, patience_ms());
    if (n <= 0) break;
    for (int i = 0; i < n; i++) closed |= m[i].kind == LYQ_CLOSED;
    lyq_release(m, (size_t)n);
    if (closed) ok(1, "the last item is pulled");
  }
  lyq_close(in.id, 0);
  pair_end(&p, "acked");
  pair_free(&p);
}

/* test_bad_address dials what no attempt can ever reach. */
static void test_bad_address(lyq_driver d) {
  recorder r;
  lyq_endpoint ep;
  recorder_init(&r);
  lyq_endpoint_opt o = with_recorder(NULL, &r);
  is(lyq_dial(d, "tcp://127.0.0.1:99999", &o, &ep), 0, "lyq_dial of a port that there cannot be");
  ok(recorder_wait(&r, LYQ_CLOSED, 1), "is not tried again");
  is(recorder_item(&r, LYQ_CLOSED, 0).code, LYQ_EADDR, "with its reason");
  is(recorder_count(&r, LYQ_DOWN), 0, "at once");
  ok(recorder_wait_drop(&r), "that is the end");
  recorder_free(&r);
}

static void test_options(lyq_driver d) {
  lyq_endpoint ep;
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  o.resume_ms = -3;
  is(lyq_dial(d, "tcp://127.0.0.1:1", &o, &ep), LYQ_EINVAL, "resume_ms -3 is refused");
  ok(strstr(lyq_detail(), "resume_ms") != NULL, "by name: %s", lyq_detail());
  o.resume_ms = 0;
  o.on_restart = 3;
  is(lyq_dial(d, "tcp://127.0.0.1:1", &o, &ep), LYQ_EINVAL, "an unknown on_restart is refused");
  ok(strstr(lyq_detail(), "on_restart") != NULL, "by name: %s", lyq_detail());
  o.on_restart = 0;
  o.resume_ms = LYQ_FOR_EVER;
  is(lyq_dial(d, "fd://3", &o, &ep), LYQ_EINVAL, "a descriptor cannot be dialled again");
  ok(strstr(lyq_detail(), "fd://3") != NULL, "which is said: %s", lyq_detail());
}

int main(void) {
  tap_begin();
  lyq_driver d = open_driver(2);
  test_options(d);
  test_acked(d);
  test_flush(d);
  test_redial(d);
  test_bad_address(d);
  test_gone(d);
  for (int i = 0; i < 3; i++) test_cuts(d);
  close_driver(d);
  return tap_end();
}
