/* What becomes of messages that are not acknowledged: each is listed, with its data, when the peer has restarted and
 * when the endpoint has ended, and the list is what the counts say. */
#define _GNU_SOURCE 1
#include "kit.h"

enum { SENT = 400, MOST = 300000, STEP = 7 };

/* sent is what was accepted in one lane; the library may read what was lent until it is given back. */
typedef struct sent { size_t size; uint16_t channel; uint8_t *lent; int back; } sent;

/* book is what one endpoint has sent, and what the lists of its events showed. */
typedef struct book {
  sent lanes[4][SENT];
  uint64_t count[4], since[4];   /* since: those before were reported */
  int resends, lists, wrong;     /* resends: send again what a restart has left */
  uint64_t maybe, never, again;
  lyq_endpoint ep;
} book;

static uint8_t data[MOST];
static int lent_out, lent_back;

static uint64_t seed_of(int lane, uint64_t id) { return (uint64_t)lane << 32 | id; }

/* on_back spoils what was lent, so that whoever still lists it shows damage. */
static void on_back(void *hint) {
  sent *s = hint;
  memset(s->lent, 0xee, s->size);
  s->back++;
  __atomic_fetch_add(&lent_back, 1, __ATOMIC_ACQ_REL);
}

static size_t size_at(uint64_t id) {
  static const size_t sizes[] = {1000, 0, 20000, 7, 5000, 100000, 16384, 3000, 70001};
  return id == 10 ? MOST : sizes[id % (sizeof sizes / sizeof *sizes)];
}

/* put sends one message, each fifth lent. 0 if there is no room. */
static int put(book *b, int lane) {
  uint64_t id = b->count[lane];
  sent *s = &b->lanes[lane][id];
  lyq_tag tag = LYQ_TAG(lane, 100 + id);
  if (id == SENT) return 0;
  *s = (sent){size_at(id), (uint16_t)(100 + id), NULL, 0};
  fill(data, s->size, seed_of(lane, id));
  int64_t rc;
  if (id % 5 == 4) {
    s->lent = malloc(s->size + 1);
    memcpy(s->lent, data, s->size);
    rc = lyq_send_lent(b->ep, tag, s->lent, s->size, on_back, s);
    lent_out += rc >= 0;
  } else {
    rc = lyq_send(b->ep, tag, data, s->size);
  }
  if (rc >= 0) b->count[lane]++;
  b->wrong += rc >= 0 && rc != (int64_t)id;
  return rc >= 0;
}

static int say(book *b, int good, const char *what, uint64_t id) {
  if (!good) note("message %llu: %s", (unsigned long long)id, what), b->wrong++;
  return good;
}

/* look_at_listed holds one message of a list against what was sent. */
static void look_at_listed(book *b, const lyq_msg *m, const uint64_t next[4], const lyq_lane_account a[4]) {
  int lane = LYQ_LANE(m->tag);
  sent *s = &b->lanes[lane][m->id];
  static uint8_t want[MOST];
  if (!say(b, m->id == next[lane], "is out of order", m->id) || m->id >= b->count[lane]) return;
  fill(want, s->size, seed_of(lane, m->id));
  say(b, m->size == s->size && (m->size == 0 || memcmp(m->data, want, m->size) == 0), "is not as it was sent", m->id);
  say(b, LYQ_CHANNEL(m->tag) == s->channel && m->ep.id == b->ep.id, "is of another channel or endpoint", m->id);
  say(b, s->back == 0, "was given back", m->id);
  int maybe = m->id < b->since[lane] + a[lane].acknowledged + a[lane].maybe_delivered;
  say(b, m->kind == (maybe ? LYQ_MAYBE_DELIVERED : LYQ_NEVER_SENT), "is of the wrong kind", m->id);
  b->maybe += m->kind == LYQ_MAYBE_DELIVERED;
  b->never += m->kind == LYQ_NEVER_SENT;
}

/* look_at_list is what a program does with LYQ_RESTARTED and LYQ_CLOSED. */
static void look_at_list(book *b, const lyq_msg *event, int by_token) {
  lyq_lane_account a[4];
  lyq_msg m[STEP];
  uint64_t cursor = by_token ? event->token : 0, next[4], left = 0;
  int n;
  if (lyq_account(event, a) != 0) b->wrong++;
  for (int i = 0; i < 4; i++) {
    say(b, a[i].accepted == a[i].acknowledged + a[i].maybe_delivered + a[i].never_sent, "sums", (uint64_t)i);
    say(b, b->since[i] + a[i].accepted == b->count[i], "of the count", b->since[i] + a[i].accepted);
    left += a[i].maybe_delivered + a[i].never_sent;
    next[i] = b->since[i] + a[i].acknowledged;
  }
  while ((n = lyq_unacked(b->ep, &cursor, m, STEP)) > 0)
    for (int i = 0; i < n; i++) {
      look_at_listed(b, &m[i], next, a);
      next[LYQ_LANE(m[i].tag)]++;
      left--;
      if (b->resends && event->kind == LYQ_RESTARTED)
        b->again += lyq_send(b->ep, m[i].tag, m[i].data, m[i].size) >= 0;
    }
  say(b, n == 0 && left == 0, "are counted and not listed", left);
  b->lists++;
}

static int with_book(recorder *r, const lyq_msg *m, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (m[i].kind == LYQ_RESTARTED || m[i].kind == LYQ_CLOSED) look_at_list(r->of_hook, &m[i], 0);
  return (int)n;
}

/* Only lists of restarts are left out, which the options made empty. */
static int closed_only(recorder *r, const lyq_msg *m, size_t n) {
  book *b = r->of_hook;
  for (size_t i = 0; i < n; i++) {
    lyq_lane_account a[4];
    uint64_t cursor = 0;
    lyq_msg one;
    if (m[i].kind != LYQ_RESTARTED) continue;
    if (lyq_account(&m[i], a) != 0) b->wrong++;
    for (int k = 0; k < 4; k++) b->maybe += a[k].maybe_delivered, b->never += a[k].never_sent;
    say(b, lyq_unacked(b->ep, &cursor, &one, 1) == 0, "is listed, and should not be", 0);
    b->lists++;
  }
  return (int)n;
}

static lyq_endpoint_opt sender_options(void) {
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  o.outbox_bytes = 2 << 20;
  o.resume_ms = LYQ_FOR_EVER;
  return o;
}

/* receiver_options makes who acknowledges nothing by itself, and is gone with its connection. */
static lyq_endpoint_opt receiver_options(void) {
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  o.ack = LYQ_ACK_MANUAL;
  o.window_bytes = 65536;
  o.resume_ms = 1;
  return o;
}

static void fill_lanes(book *b) {
  for (int lane = 0; lane < 4; lane++)
    while (put(b, lane)) { }
}

static void free_book(book *b) {
  int early = 0;
  for (int lane = 0; lane < 4; lane++)
    for (uint64_t i = 0; i < b->count[lane]; i++) {
      early += b->lanes[lane][i].lent != NULL && b->lanes[lane][i].back != 1;
      free(b->lanes[lane][i].lent);
    }
  is(early, 0, "what was lent is given back once");
  free(b);
}

static book *new_book(recorder *r) {
  book *b = calloc(1, sizeof *b);
  need(b != NULL, "memory");
  lent_out = lent_back = 0;
  r->hook = with_book;
  r->of_hook = b;
  return b;
}

/* ---- The end. */

static void test_never(lyq_driver d, int pull) {
  recorder r;
  puller p;
  recorder_init(&r);
  book *b = new_book(&r);
  lyq_endpoint_opt o = sender_options();
  if (pull) puller_start(&p, d, &r), o.inbox = p.inbox; else o = with_recorder(&o, &r);
  need(lyq_dial(d, "tcp://127.0.0.1:1", &o, &b->ep) == 0, "nobody is dialled");
  fill_lanes(b);
  uint64_t all = b->count[0] + b->count[1] + b->count[2] + b->count[3], cursor = 0;
  lyq_msg m;
  is(lyq_unacked(b->ep, &cursor, &m, 1), LYQ_EINVAL, "nothing is listed while there is no event");
  lyq_close(b->ep.id, 0);
  ok(recorder_wait(&r, LYQ_CLOSED, 1), "%s: it ends", pull ? "pull" : "callback");
  is(b->wrong, 0, "the list is right");
  is(b->never, all, "each message was never sent");
  ok(until(__atomic_load_n(&lent_back, __ATOMIC_ACQUIRE) == lent_out), "then what was lent is given back");
  ok(lyq_unacked(b->ep, &cursor, &m, 1) < 0, "and nothing is listed any more");
  if (pull) puller_stop(&p); else recorder_wait_drop(&r);
  free_book(b);
  recorder_free(&r);
}

static void test_closed(lyq_driver d, const char *scheme, int pull) {
  pair p;
  puller u;
  lyq_endpoint_opt oa = sender_options(), ob = receiver_options();
  if (strcmp(scheme, "fd") == 0) oa.resume_ms = ob.resume_ms = LYQ_WITH_LINK;
  pair_init(&p);
  book *b = new_book(&p.ra);
  if (pull) puller_start(&u, d, &p.ra), oa.inbox = u.inbox;
  pair_open(&p, d, scheme, &oa, &ob);
  b->ep = p.a;
  fill_lanes(b);
  ok(recorder_wait(&p.rb, LYQ_DATA, 8), "%s: some are received", scheme);
  seen one = recorder_item(&p.rb, LYQ_DATA, 0);
  ok(until(lyq_ack(p.b, one.tag, 2) == 0), "the first three of a lane are acknowledged"); /* once they are there */
  ok(lyq_wait(p.a.id, LYQ_ACKED, 300) == LYQ_ETIMEDOUT, "the others are not");
  uint64_t all = b->count[0] + b->count[1] + b->count[2] + b->count[3];
  lyq_close(p.a.id, 0);
  ok(recorder_wait(&p.ra, LYQ_CLOSED, 1), "%s: it ends", pull ? "pull" : "callback");
  is(b->wrong, 0, "the list is right");
  ok(b->maybe > 0 && b->never > 0, "%llu may have been delivered, %llu were never sent", (unsigned long long)b->maybe,
     (unsigned long long)b->never);
  is(b->maybe + b->never, all - 3, "all but three are listed");
  ok(until(__atomic_load_n(&lent_back, __ATOMIC_ACQUIRE) == lent_out), "then what was lent is given back");
  if (p.listener.id != 0) lyq_close(p.listener.id, 0);
  lyq_close(p.b.id, 0);
  ok(recorder_wait_drop(&p.rb), "the other side ends");
  if (pull) puller_stop(&u); else recorder_wait_drop(&p.ra);
  free_book(b);
  pair_free(&p);
}

/* ---- Restarts. */

/* forget_session makes the accepting side lose its session, as if its process was another one now. */
static void forget_session(pair *p, lyq_driver d, const lyq_endpoint_opt *options, recorder *next) {
  lyq_endpoint_opt o = with_recorder(options, next);
  lyq_close(p->listener.id, 0);
  lyq_wait(p->listener.id, LYQ_CLOSED, patience_ms());
  ok(cut(p->address) > 0 && recorder_wait(&p->rb, LYQ_CLOSED, 1), "the peer is gone");
  need(until(lyq_listen(d, p->address, &o, &p->listener) == 0), "another listens there");
}

static void test_restarted(lyq_driver d, int on_restart, int pull) {
  static const char *const names[] = {"report", "resend", "drop"};
  pair p;
  puller u;
  recorder next;
  lyq_endpoint_opt oa = sender_options(), ob = receiver_options(), reborn = receiver_options();
  reborn.ack = LYQ_ACK_RETURN;
  oa.on_restart = (uint32_t)on_restart;
  recorder_init(&next);
  pair_init(&p);
  book *b = new_book(&p.ra);
  b->resends = on_restart == LYQ_REPORT;
  if (on_restart != LYQ_REPORT) p.ra.hook = closed_only;
  if (pull) puller_start(&u, d, &p.ra), oa.inbox = u.inbox;
  pair_open(&p, d, "tcp", &oa, &ob);
  b->ep = p.a;
  fill_lanes(b);
  ok(recorder_wait(&p.rb, LYQ_DATA, 8), "%s, %s: some are received", names[on_restart], pull ? "pull" : "callback");
  seen one = recorder_item(&p.rb, LYQ_DATA, 0);
  ok(until(lyq_ack(p.b, one.tag, 2) == 0), "the first three of a lane are acknowledged"); /* once they are there */
  lyq_wait(p.a.id, LYQ_ACKED, 300);
  uint64_t all = b->count[0] + b->count[1] + b->count[2] + b->count[3];
  forget_session(&p, d, &reborn, &next);
  ok(recorder_wait(&p.ra, LYQ_RESTARTED, 1), "the peer has restarted");
  is(b->wrong, 0, "the counts, and the list, are right");
  is(b->maybe + b->never, all - 3, "three were acknowledged");
  int left = on_restart == LYQ_DROP ? 0 : (int)all - 3;
  if (on_restart == LYQ_REPORT) is(b->again, left, "all fit into the outbox again");
  /* Once the list is given back. */
  ok(until(lyq_wait(p.a.id, LYQ_ACKED, patience_ms()) == 0), "what the new peer gets is acknowledged");
  is(recorder_count(&next, LYQ_DATA), left, "as many messages as were left");
  uint64_t at[4] = {0, 0, 0, 0};
  int good = 1;
  at[LYQ_LANE(one.tag)] = 3;
  for (int i = 0; i < left; i++) {
    seen got = recorder_item(&next, LYQ_DATA, i);
    int lane = LYQ_LANE(got.tag);
    fill(data, b->lanes[lane][at[lane]].size, seed_of(lane, at[lane]));
    good &= got.hash == hash_of(data, b->lanes[lane][at[lane]].size) && got.size == b->lanes[lane][at[lane]].size;
    at[lane]++;
  }
  ok(good, "in order");
  ok(until(__atomic_load_n(&lent_back, __ATOMIC_ACQUIRE) == lent_out), "what was lent is given back");
  p.ra.hook = NULL;
  lyq_close(p.a.id, 0);
  lyq_close(p.listener.id, 0);
  ok(recorder_wait(&p.ra, LYQ_CLOSED, 1) && recorder_wait_drop(&next), "all end");
  if (pull) puller_stop(&u); else recorder_wait_drop(&p.ra);
  free_book(b);
  recorder_free(&next);
  pair_free(&p);
}

/* test_held pulls by hand: lists stay until their items are released, also when others have come. */
static void test_held(lyq_driver d) {
  pair p;
  recorder next;
  lyq_inbox in;
  lyq_msg m[8], restarted = {0}, closed = {0};
  lyq_endpoint_opt oa = sender_options(), ob = receiver_options();
  recorder_init(&next);
  pair_init(&p);
  book *b = new_book(&p.ra);
  uint64_t later = 0;
  need(lyq_inbox_open(d, &in) == 0, "an inbox");
  oa.inbox = in;
  pair_open(&p, d, "tcp", &oa, &ob);
  b->ep = p.a;
  fill_lanes(b);
  ok(recorder_wait(&p.rb, LYQ_DATA, 8), "some are received");
  forget_session(&p, d, &ob, &next);
  while (closed.kind == 0) {
    int n = lyq_recv(in, m, 8, patience_ms());
    need(n > 0, "an item");
    for (int i = 0; i < n; i++) {
      if (m[i].kind == LYQ_RESTARTED) {
        is(i, n - 1, "nothing follows LYQ_RESTARTED in one call");
        restarted = m[i];
        is(lyq_wait(p.a.id, LYQ_ACKED, 0), LYQ_ERESET, "what is reported is not acknowledged");
        look_at_list(b, &restarted, 0);
        for (int k = 0; k < 4; k++) b->since[k] = b->count[k];
        for (int k = 0; k < 5; k++) later += (uint64_t)put(b, LYQ_BULK);
        lyq_close(p.a.id, 0);
      } else if (m[i].kind == LYQ_CLOSED) {
        closed = m[i];
      } else {
        lyq_release(&m[i], 1);
      }
    }
  }
  is(b->wrong, 0, "the first list is right");
  uint64_t first = b->maybe + b->never;
  look_at_list(b, &closed, 0);
  is(b->maybe + b->never, first + later, "the last item's list is that of cursor 0");
  is(lent_back, 0, "nothing is given back yet");
  uint64_t zero[4] = {0, 0, 0, 0}, was[4];
  memcpy(was, b->since, sizeof was);
  memcpy(b->since, zero, sizeof zero);
  b->count[LYQ_BULK] -= later;
  look_at_list(b, &restarted, 1);
  b->count[LYQ_BULK] += later;
  memcpy(b->since, was, sizeof was);
  is(b->wrong, 0, "the other one is found by its token");
  lyq_release(&closed, 1);
  uint64_t cursor = closed.token;
  ok(until(lyq_unacked(b->ep, &cursor, m, 1) == LYQ_ECLOSED), "released, a list is gone");
  cursor = restarted.token;
  is(lyq_unacked(b->ep, &cursor, m, 1), 1, "the other is not");
  lyq_msg kept;
  is(lyq_retain(&m[0], &kept), 0, "a listed message can be retained");
  lyq_release(&restarted, 1);
  is(lent_back, lent_out, "and with the release all is given back that was lent");
  is(kept.size, b->lanes[0][0].size, "what was retained stays");
  lyq_release(&kept, 1);
  lyq_close(p.listener.id, 0);
  lyq_close(in.id, 0);
  ok(recorder_wait_drop(&next), "the other side ends");
  free_book(b);
  recorder_free(&next);
  pair_free(&p);
}

/* ---- What lists take. */

/* charged is how much of memory_limit a driver's messages count. */
static unsigned long long charged(lyq_driver d) {
  char text[128];
  unsigned long long bytes = ~0ull;
  need(lyq_explain(d.id, text, sizeof text) > 0, "lyq_explain");
  sscanf(text, "%*u workers, %*u handles, %llu", &bytes);
  return bytes;
}

/* test_small: a list of many small messages counts what they took in the outbox, until it is given back. */
static void test_small(lyq_driver d) {
  lyq_inbox in;
  lyq_msg item, list[64];
  lyq_endpoint ep;
  uint64_t cursor = 0, again = 0;
  int sent = 0, listed = 0, n;
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  need(lyq_inbox_open(d, &in) == 0, "an inbox");
  o.inbox = in;
  ok(until(charged(d) == 0), "nothing counts before");
  need(lyq_dial(d, "tcp://127.0.0.1:1", &o, &ep) == 0, "nobody is dialled");
  for (unsigned lane = 0; lane < 4; lane++)
    while (lyq_send(ep, LYQ_TAG(lane, 0), "x", 1) >= 0) sent++;
  unsigned long long before = charged(d);
  lyq_close(ep.id, 0);
  while (lyq_recv(in, &item, 1, patience_ms()) == 1 && item.kind != LYQ_CLOSED) lyq_release(&item, 1);
  ok(charged(d) == before, "the list of %d messages counts %llu bytes, as the outbox did", sent, before);
  while ((n = lyq_unacked(ep, &cursor, list, 64)) > 0) {
    listed += n;
    if (listed == 6400) again = cursor;
  }
  is(listed, sent, "each is listed");
  is(lyq_unacked(ep, &again, list, 1), 1, "the program may go back");
  is(list[0].id, 6400, "to any place");
  lyq_release(&item, 1);
  ok(until(charged(d) == 0), "and counts until it is released");
  lyq_close(in.id, 0);
}

static int refuses(recorder *r, const lyq_msg *m, size_t n) {
  lyq_lane_account a[4];
  uint64_t cursor = 0;
  lyq_msg out;
  for (size_t i = 0; i < n; i++)
    if (m[i].kind == LYQ_DATA || m[i].kind == LYQ_UP)
      *(int *)r->of_hook += lyq_account(&m[i], a) != LYQ_EINVAL || lyq_unacked(m[i].ep, &cursor, &out, 1) != LYQ_EINVAL;
  return (int)n;
}

static void test_refused(lyq_driver d) {
  pair p;
  int taken = 0;
  pair_init(&p);
  p.rb.hook = refuses;
  p.rb.of_hook = &taken;
  pair_open(&p, d, "mem", NULL, NULL);
  lyq_send(p.a, 0, data, 1);
  ok(recorder_wait(&p.rb, LYQ_DATA, 1), "a message");
  is(taken, 0, "other items have neither account nor list");
  is(lyq_unacked(p.a, NULL, NULL, 0), LYQ_EINVAL, "lyq_unacked without cursor");
  is(lyq_account(NULL, NULL), LYQ_EINVAL, "lyq_account of nothing");
  pair_end(&p, "refused");
  pair_free(&p);
}

int main(void) {
  tap_begin();
  lyq_driver d = open_driver(2);
  test_refused(d);
  for (int pull = 0; pull < 2; pull++) {
    test_never(d, pull);
    for (int i = 0; i < SCHEMES; i++) test_closed(d, schemes[i], pull);
    for (int i = LYQ_REPORT; i <= LYQ_DROP; i++) test_restarted(d, i, pull);
  }
  test_held(d);
  test_small(d);
  close_driver(d);
  return tap_end();
}
