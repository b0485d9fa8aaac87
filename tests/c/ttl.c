/* Time to live: what is late when its turn comes is never delivered, and counted; what comes behind it keeps its id. */
#include "kit.h"

enum { SIZE = 1000, BLOCK = 100, LATE = 20, LONG_SIZE = 40000, WINDOW = 65536 };

static uint8_t data[LONG_SIZE];

/* One lane in the detail of LYQ_CLOSED; see schema/event.fbs. */
typedef struct lane_account { uint64_t accepted, acknowledged, maybe, never, received, withdrawn; } lane_account;
typedef struct ending { lane_account lanes[4]; int known; } ending;

/* Keeps the account of an endpoint's end. */
static int keep_ending(recorder *r, const lyq_msg *m, size_t n) {
  for (size_t i = 0; i < n; i++) {
    size_t at = m[i].kind == LYQ_CLOSED ? table_field(m[i].data, m[i].size, 2) : 0;
    uint32_t offset, count;
    ending *e = r->of_hook;
    if (at == 0) continue;
    memcpy(&offset, m[i].data + at, 4);
    memcpy(&count, m[i].data + at + offset, 4);
    need(count == 4 && at + offset + 4 + sizeof e->lanes <= m[i].size, "an account of four lanes");
    memcpy(e->lanes, m[i].data + at + offset + 4, sizeof e->lanes);
    e->known = 1;
  }
  return (int)n;
}

/* Takes events, and no message. */
static int take_none(recorder *r, const lyq_msg *m, size_t n) {
  size_t events = 0;
  (void)r;
  while (events < n && m[events].kind != LYQ_DATA) events++;
  return (int)events;
}

static uint64_t withdrawn(lyq_endpoint ep) {
  uint64_t c[LYQ_C_COUNT];
  return lyq_counters(ep.id, c, LYQ_C_COUNT) == LYQ_C_COUNT ? c[LYQ_C_WITHDRAWN] : 0;
}

/* Waits until the driver's clock has gone on by so many milliseconds. */
static void pass(lyq_driver d, int ms) {
  int64_t end = lyq_now(d) + ms * INT64_C(1000000);
  need(until(lyq_now(d) > end), "time goes by");
}

/* ---- Behind messages that wait for credit. */

static void test_gaps(lyq_driver d) {
  pair p;
  ending end = {.known = 0};
  LYQ_DEFAULTS(lyq_endpoint_opt, narrow);
  narrow.window_bytes = WINDOW;
  pair_init(&p);
  p.ra.hook = keep_ending;
  p.ra.of_hook = &end;
  p.rb.hook = take_none;
  pair_open(&p, d, "tcp", NULL, &narrow);
  int64_t id = 0;
  for (int i = 0; i < BLOCK; i++) is(lyq_send(p.a, 0, data, SIZE), id++, "more is sent than the window takes");
  for (int i = 0; i < LATE; i++) is(lyq_send_ttl(p.a, 0, data, SIZE, 1), id++, "messages that live for a millisecond");
  is(lyq_send(p.a, 0, data, 1), id++, "one that lives for ever");
  is(lyq_send_ttl(p.a, 0, data, LONG_SIZE, 1), id++, "a long one that does not");
  is(lyq_send_ttl(p.a, 0, data, 2, 3600000), id++, "one that lives for an hour");
  is(lyq_send_ttl(p.a, 0, data, LONG_SIZE, 3600000), id++, "a long one");
  is(lyq_send_ttl(p.a, 0, data, 0, 1), id++, "and at the end an empty one that does not live long");
  pass(d, 2);
  is(recorder_count(&p.rb, LYQ_DATA), 0, "nothing is taken yet");
  p.rb.hook = NULL;
  is(lyq_resume(accepted_of(&p.rb).id), 0, "the receiver goes on");
  is(lyq_wait(p.a.id, LYQ_ACKED, patience_ms()), 0, "what was withdrawn is not waited for");
  is(recorder_count(&p.rb, LYQ_DATA), BLOCK + 3, "all but what was late arrives");
  int same = 1;
  for (int i = 0; i < BLOCK; i++) same &= recorder_item(&p.rb, LYQ_DATA, i).id == (uint64_t)i;
  ok(same, "before the gap with the ids that lyq_send gave");
  const struct { int at; size_t size; } behind[] = {{0, 1}, {2, 2}, {3, LONG_SIZE}};
  for (int i = 0; i < 3; i++) {
    seen m = recorder_item(&p.rb, LYQ_DATA, BLOCK + i);
    is((int64_t)m.id, BLOCK + LATE + behind[i].at, "and behind it");
    is((int64_t)m.size, (int64_t)behind[i].size, "with what was sent");
  }
  ok(until(withdrawn(p.a) == LATE + 2), "what was withdrawn is counted");
  uint64_t c[LYQ_C_COUNT];
  need(lyq_counters(p.a.id, c, LYQ_C_COUNT) == LYQ_C_COUNT, "counters");
  is((int64_t)c[LYQ_C_MSGS_SENT], BLOCK + 3, "and not as sent");
  pair_end(&p, "gaps");
  const lane_account *a = &end.lanes[LYQ_NORMAL];
  ok(end.known && a->accepted == (uint64_t)id && a->acknowledged == BLOCK + 3 && a->withdrawn == LATE + 2 &&
    a->maybe + a->never == 0, "the account of the end says so: %d of %d", (int)a->withdrawn, (int)a->accepted);
  pair_free(&p);
}

/* ---- Without a connection. */

static void test_alone(lyq_driver d) {
  recorder ra, rb;
  lyq_listener l;
  lyq_endpoint ep;
  char address[128];
  recorder_init(&ra);
  recorder_init(&rb);
  LYQ_DEFAULTS(lyq_endpoint_opt, a);
  a.resume_ms = LYQ_FOR_EVER;
  lyq_endpoint_opt plain = with_recorder(NULL, &rb);
  a = with_recorder(&a, &ra);
  need(lyq_listen(d, "tcp://127.0.0.1:0", &plain, &l) == 0, "a listener for its port");
  need(lyq_address(l.id, address, sizeof address) > 0, "which is known");
  lyq_close(l.id, 0);
  need(lyq_wait(l.id, LYQ_CLOSED, patience_ms()) == 0, "and free again");
  is(lyq_dial(d, address, &a, &ep), 0, "lyq_dial where nobody listens");
  lyq_tag low = LYQ_TAG(LYQ_LOW, 0);
  int64_t sent = 0, id, rounds = 0;
  do {
    while ((id = lyq_send_ttl(ep, low, data, sent % 7 ? SIZE : LONG_SIZE, 5)) >= 0) sent = id + 1;
    is(id, LYQ_EAGAIN, "a lane is filled with what does not live long");
    ok(recorder_wait(&ra, LYQ_WRITABLE, (int)++rounds), "and is writable again, with no connection");
  } while (rounds < 3);
  int64_t urgent = lyq_send_ttl(ep, LYQ_TAG(LYQ_URGENT, 0), data, 1, 1);
  is(urgent, 0, "one more, in another lane");
  is(lyq_wait(ep.id, LYQ_ACKED, patience_ms()), 0, "nobody waits for what is late");
  ok(until((int64_t)withdrawn(ep) == sent + 1), "all of it was withdrawn");
  is(lyq_send(ep, low, data, 3), sent, "a message that lives for ever");
  recorder_init(&rb);
  plain = with_recorder(NULL, &rb);
  need(until(lyq_listen(d, address, &plain, &l) == 0), "somebody listens again");
  is(lyq_wait(ep.id, LYQ_ACKED, patience_ms()), 0, "and gets it");
  is(recorder_count(&rb, LYQ_DATA), 1, "and nothing else");
  is((int64_t)recorder_item(&rb, LYQ_DATA, 0).id, sent, "with its id");
  lyq_close(ep.id, 0);
  lyq_close(l.id, 0);
  ok(recorder_wait_drop(&ra) && recorder_wait_drop(&rb), "both end");
  recorder_free(&ra);
  recorder_free(&rb);
}

int main(void) {
  tap_begin();
  lyq_driver d = open_driver(2);
  test_gaps(d);
  test_alone(d);
  close_driver(d);
  return tap_end();
}
