/* Endpoints without a receiver, as a program has that only sends, and listeners that get theirs late: nothing is lost
 * in silence, nobody waits in vain, and what peers leave behind is freed. */
#define _GNU_SOURCE 1
#include "kit.h"

static int refusing, received;   /* of the callback below */

static int serve(void *ctx, const lyq_msg *m, size_t n) {
  (void)ctx;
  for (size_t i = 0; i < n; i++) {
    if (m[i].kind != LYQ_DATA) continue;
    if (__atomic_load_n(&refusing, __ATOMIC_ACQUIRE)) return (int)i;
    __atomic_fetch_add(&received, 1, __ATOMIC_ACQ_REL);
  }
  return (int)n;
}

static int take_kind(lyq_inbox in, int kind, lyq_msg *m) {
  while (lyq_recv(in, m, 1, patience_ms()) == 1) {
    if (m->kind == kind) return 1;
    lyq_release(m, 1);
  }
  return 0;
}

static lyq_listener serve_at(lyq_driver d, lyq_recv_fn recv, char address[64]) {
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  lyq_listener l;
  o.recv = recv;
  o.resume_ms = LYQ_WITH_LINK;
  need(lyq_listen(d, "tcp://127.0.0.1:0", &o, &l) == 0, "a listener: %s", lyq_detail());
  lyq_address(l.id, address, 64);
  return l;
}

/* ---- Peers that restart. */

static void *cut_soon(void *address) {
  nanosleep(&(struct timespec){0, 50000000}, NULL);
  __atomic_store_n(&refusing, 0, __ATOMIC_RELEASE);
  cut(address);
  return NULL;
}

/* wait_over sends three messages, waits until they are acknowledged, and has the peer restart meanwhile. */
static int wait_over(lyq_endpoint ep, char *address) {
  pthread_t cutter;
  __atomic_store_n(&refusing, 1, __ATOMIC_RELEASE);
  for (int i = 0; i < 3; i++) lyq_send_wait(ep, 0, "lost?", 5, patience_ms());
  pthread_create(&cutter, NULL, cut_soon, address);
  int rc = lyq_wait(ep.id, LYQ_ACKED, patience_ms());
  pthread_join(cutter, NULL);
  return rc;
}

static void test_restart(lyq_driver d) {
  char address[64];
  lyq_endpoint ep;
  recorder r;
  lyq_listener l = serve_at(d, serve, address);
  need(lyq_dial(d, address, NULL, &ep) == 0, "an endpoint without receiver");
  is(lyq_wait(ep.id, LYQ_UP, patience_ms()), 0, "is up");
  __atomic_store_n(&received, 0, __ATOMIC_RELEASE);
  is(wait_over(ep, address), 0, "what it sent is acknowledged, though the peer has restarted meanwhile");
  is(__atomic_load_n(&received, __ATOMIC_ACQUIRE), 3, "for the new one has got it");
  lyq_close(ep.id, 0);
  is(lyq_wait(ep.id, LYQ_CLOSED, patience_ms()), 0, "it ends");

  recorder_init(&r);
  lyq_endpoint_opt o = with_recorder(NULL, &r);
  need(lyq_dial(d, address, &o, &ep) == 0, "an endpoint with a callback");
  int rc = 0;
  for (int i = 0; i < 20 && rc == 0; i++) {   /* on a loaded machine the cut may come before the wait */
    is(lyq_wait(ep.id, LYQ_UP, patience_ms()), 0, "is up");
    rc = wait_over(ep, address);
  }
  is(rc, LYQ_ERESET, "a restart withdrew what the call stands for");
  ok(recorder_wait(&r, LYQ_RESTARTED, 1), "and was reported");
  is(lyq_wait(ep.id, LYQ_ACKED, patience_ms()), 0, "what was told before a call counts as told");
  lyq_close(ep.id, 0);
  ok(recorder_wait_drop(&r) && recorder_faults(&r) == 0, "it ends");
  recorder_free(&r);
  lyq_close(l.id, 0);
}

/* ---- Peers that close. */

/* banner says something, takes nothing, and closes. */
static int banner(void *ctx, const lyq_msg *m, size_t n) {
  (void)ctx;
  for (size_t i = 0; i < n; i++) {
    if (m[i].kind == LYQ_DATA) return (int)i;
    if (m[i].kind == LYQ_UP) lyq_send(m[i].ep, 0, "banner", 6), lyq_close(m[i].ep.id, 100);
  }
  return (int)n;
}

static int no_data(recorder *r, const lyq_msg *m, size_t n) {
  (void)r;
  for (size_t i = 0; i < n; i++)
    if (m[i].kind == LYQ_DATA) return (int)i;
  return (int)n;
}

static void *fill_up(void *of) {
  static const uint8_t some[10000];
  lyq_endpoint ep = *(lyq_endpoint *)of;
  int64_t rc;
  while ((rc = lyq_send_wait(ep, 0, some, sizeof some, -1)) >= 0) { }
  return (void *)(intptr_t)rc;
}

static void test_peer_closes(lyq_driver d) {
  char address[64];
  lyq_endpoint ep;
  recorder r;
  pthread_t sender;
  void *rc;
  lyq_listener l = serve_at(d, banner, address);
  need(lyq_dial(d, address, NULL, &ep) == 0, "an endpoint without receiver");
  is(lyq_wait(ep.id, LYQ_CLOSED, patience_ms()), 0, "ends when its peer closes, whatever that has said before");
  is(lyq_send(ep, 0, "x", 1), LYQ_ECLOSED, "and takes nothing more");

  recorder_init(&r);
  r.hook = no_data;
  lyq_endpoint_opt o = with_recorder(NULL, &r);
  need(lyq_dial(d, address, &o, &ep) == 0, "an endpoint whose callback takes nothing");
  pthread_create(&sender, NULL, fill_up, &ep);
  pthread_join(sender, &rc);
  is((int)(intptr_t)rc, LYQ_ECLOSED, "takes no more either, and says so to who waits for room");
  is(lyq_wait(ep.id, LYQ_ACKED, -1), LYQ_ECLOSED, "nobody waits for acknowledgements that cannot come");
  is(lyq_wait(ep.id, LYQ_CLOSED, 0), LYQ_ETIMEDOUT, "but its end waits for the program");
  r.hook = NULL;
  lyq_resume(ep.id);
  ok(recorder_wait(&r, LYQ_DATA, 1), "which still gets what was sent before");
  ok(recorder_wait_drop(&r) && recorder_faults(&r) == 0, "and then it ends");
  recorder_free(&r);
  lyq_close(l.id, 0);
}

/* ---- Listeners without a receiver. */

static uint64_t handles(void) {
  uint64_t c[LYQ_P_COUNT];
  lyq_process_counters(c, LYQ_P_COUNT);
  return c[LYQ_P_HANDLES];
}

/* come_and_go has peers connect, say something, and leave. */
static void come_and_go(lyq_driver d, const char *address) {
  for (int i = 0; i < 20; i++) {
    lyq_endpoint ep;
    need(lyq_dial(d, address, NULL, &ep) == 0, "a peer");
    lyq_wait(ep.id, LYQ_UP, patience_ms());
    lyq_send(ep, 0, "x", 1);
    lyq_close(ep.id, 1);
    lyq_wait(ep.id, LYQ_CLOSED, patience_ms());
  }
}

static void test_listener(lyq_driver d) {
  char address[64];
  lyq_inbox in;
  lyq_msg m;
  lyq_endpoint ep, late;
  lyq_listener l = serve_at(d, NULL, address);
  uint64_t before = handles();
  come_and_go(d, address);
  ok(until(handles() <= before), "peers that come and go leave nothing at a listener without receiver");

  need(lyq_dial(d, address, NULL, &ep) == 0 && lyq_wait(ep.id, LYQ_UP, patience_ms()) == 0, "one stays");
  is(lyq_send(ep, 0, "early", 5), 0, "and says something");
  need(lyq_inbox_open(d, &in) == 0, "an inbox");
  is(lyq_inbox_bind(in, l.id, -1), 0, "is bound to the listener");
  ok(take_kind(in, LYQ_ACCEPTED, &m) && m.token == l.id, "and gets who was accepted before");
  lyq_endpoint accepted = m.ep;
  lyq_release(&m, 1);
  ok(take_kind(in, LYQ_DATA, &m) && m.ep.id == accepted.id && m.size == 5, "with what he has said");
  lyq_release(&m, 1);
  is(lyq_wait(ep.id, LYQ_ACKED, patience_ms()), 0, "so that it is acknowledged");
  need(lyq_dial(d, address, NULL, &late) == 0, "another comes");
  ok(take_kind(in, LYQ_ACCEPTED, &m) && m.ep.id != accepted.id, "as ever");
  lyq_release(&m, 1);

  lyq_close(ep.id, 0);
  lyq_close(late.id, 0);
  lyq_close(in.id, 0);
  is(lyq_wait(in.id, LYQ_CLOSED, patience_ms()), 0, "the inbox is closed");
  ok(until(handles() <= before), "and all ends");
  LYQ_DEFAULTS(lyq_endpoint_opt, brief);
  brief.resume_ms = LYQ_WITH_LINK;
  need(lyq_dial(d, address, &brief, &ep) == 0, "one comes too late");
  is(lyq_wait(ep.id, LYQ_CLOSED, patience_ms()), 0, "and is not kept waiting");
  come_and_go(d, address);
  ok(until(handles() <= before), "nothing is left of those");
  lyq_close(l.id, 0);
}

static void test_listener_closes(lyq_driver d) {
  char address[64];
  lyq_endpoint ep;
  lyq_listener l = serve_at(d, NULL, address);
  need(lyq_dial(d, address, NULL, &ep) == 0 && lyq_wait(ep.id, LYQ_UP, patience_ms()) == 0, "a peer comes");
  lyq_close(l.id, 0);
  is(lyq_wait(ep.id, LYQ_CLOSED, patience_ms()), 0, "a listener that nobody was bound to takes its endpoints along");
}

/* ---- Listeners whose endpoints get a receiver each. */

static lyq_listener lobby_at(lyq_driver d, lyq_inbox lobby, char address[64]) {
  static int context;
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  lyq_listener l;
  o.lobby = lobby;
  o.ctx = &context;
  need(lyq_listen(d, "tcp://127.0.0.1:0", &o, &l) == 0, "a listener with a lobby: %s", lyq_detail());
  lyq_address(l.id, address, 64);
  return l;
}

/* visitor dials, says a word, and is there. */
static lyq_endpoint visitor(lyq_driver d, const char *address, const char *word) {
  lyq_endpoint ep;
  need(lyq_dial(d, address, NULL, &ep) == 0, "a visitor");
  lyq_send(ep, 0, word, strlen(word));
  int err = lyq_wait(ep.id, LYQ_UP, patience_ms());
  need(err == 0, "is up: %s", lyq_strerror(err));
  return ep;
}

/* next_is takes items until one of that kind comes: 1 if it is of the endpoint and, of DATA, the word. */
static int next_is(lyq_inbox in, lyq_endpoint ep, int kind, const char *word) {
  lyq_msg m;
  if (!take_kind(in, kind, &m)) return 0;
  int good = m.ep.id == ep.id && (kind != LYQ_DATA || (m.size == strlen(word) && !memcmp(m.data, word, m.size)));
  lyq_release(&m, 1);
  return good;
}

static lyq_endpoint announced(lyq_inbox lobby, lyq_listener l) {
  lyq_msg m;
  need(lyq_recv(lobby, &m, 1, patience_ms()) == 1, "the lobby has an item");
  ok(m.kind == LYQ_ACCEPTED && m.token == l.id && m.ep.id && m.ctx && m.size, "it tells of an endpoint");
  lyq_endpoint ep = m.ep;
  lyq_release(&m, 1);
  return ep;
}

static void test_lobby(lyq_driver d) {
  char address[64];
  lyq_inbox lobby, a, b;
  lyq_msg m;
  recorder r;
  uint64_t before = handles();
  need(lyq_inbox_open(d, &lobby) == 0 && lyq_inbox_open(d, &a) == 0 && lyq_inbox_open(d, &b) == 0, "inboxes");
  lyq_listener l = lobby_at(d, lobby, address);
  is(lyq_inbox_bind(a, l.id, -1), LYQ_EBUSY, "a listener with a lobby is not bound itself");

  lyq_endpoint one = visitor(d, address, "one"), at_one = announced(lobby, l);
  lyq_endpoint two = visitor(d, address, "two"), at_two = announced(lobby, l);
  is(lyq_recv(lobby, &m, 1, 0), LYQ_EAGAIN, "nothing else goes to the lobby");
  is(lyq_wait(one.id, LYQ_ACKED, 1), LYQ_ETIMEDOUT, "and nothing counts as taken");
  is(lyq_inbox_bind(a, at_one.id, -1), 0, "one gets an inbox");
  is(lyq_inbox_bind(b, at_two.id, -1), 0, "the other another");
  is(lyq_inbox_bind(b, at_one.id, -1), LYQ_EBUSY, "once");
  ok(next_is(a, at_one, LYQ_UP, NULL), "it begins with LYQ_UP");
  ok(next_is(a, at_one, LYQ_DATA, "one") && next_is(b, at_two, LYQ_DATA, "two"), "each has its own");
  is(lyq_wait(one.id, LYQ_ACKED, patience_ms()), 0, "which is acknowledged");

  lyq_endpoint gone = visitor(d, address, "gone"), at_gone = announced(lobby, l);
  lyq_close(gone.id, 0);
  is(lyq_wait(gone.id, LYQ_CLOSED, patience_ms()), 0, "a third one says something and has left");
  ok(until(lyq_send(at_gone, 0, "x", 1) == LYQ_ECLOSED), "which is known");
  is(lyq_inbox_bind(a, at_gone.id, -1), 0, "before it has a receiver");
  ok(next_is(a, at_gone, LYQ_DATA, "gone"), "which still gets what it said");
  ok(next_is(a, at_gone, LYQ_CLOSED, NULL), "and then its end");

  lyq_endpoint late = visitor(d, address, "late"), at_late = announced(lobby, l);
  lyq_close(l.id, 0);
  is(lyq_wait(l.id, LYQ_CLOSED, patience_ms()), 0, "the listener is closed");
  recorder_init(&r);
  is(lyq_on_recv(at_late.id, -1, on_record, &r, on_drop), 0, "what was accepted before gets a callback");
  ok(recorder_wait(&r, LYQ_DATA, 1), "that is called");

  lyq_close(one.id, 0), lyq_close(two.id, 0), lyq_close(late.id, 0);
  ok(recorder_wait_drop(&r) && recorder_faults(&r) == 0, "all ends");
  recorder_free(&r);
  lyq_close(a.id, 0), lyq_close(b.id, 0), lyq_close(lobby.id, 0);
  lyq_wait(lobby.id, LYQ_CLOSED, patience_ms());
  ok(until(handles() <= before), "and nothing is left");
}

static void test_lobby_closes(lyq_driver d) {
  char address[64];
  lyq_inbox lobby;
  uint64_t before = handles();
  need(lyq_inbox_open(d, &lobby) == 0, "a lobby");
  lyq_listener l = lobby_at(d, lobby, address);
  lyq_endpoint told = visitor(d, address, "told"), at_told = announced(lobby, l);
  lyq_endpoint untold = visitor(d, address, "untold");
  lyq_close(at_told.id, 0);
  is(lyq_wait(told.id, LYQ_CLOSED, patience_ms()), 0, "who waits in a lobby can be sent away");
  lyq_close(lobby.id, 0);
  is(lyq_wait(untold.id, LYQ_CLOSED, patience_ms()), 0, "or is when the lobby is closed");
  LYQ_DEFAULTS(lyq_endpoint_opt, brief);
  lyq_endpoint late;
  brief.resume_ms = LYQ_WITH_LINK;
  need(lyq_dial(d, address, &brief, &late) == 0, "one comes too late");
  is(lyq_wait(late.id, LYQ_CLOSED, patience_ms()), 0, "and is not kept waiting");
  lyq_close(l.id, 0);
  ok(until(handles() <= before), "nothing is left");
}

int main(void) {
  tap_begin();
  lyq_driver d = open_driver(2);
  test_restart(d);
  test_peer_closes(d);
  test_listener(d);
  test_listener_closes(d);
  test_lobby(d);
  test_lobby_closes(d);
  close_driver(d);
  return tap_end();
}
