/* Messages: every size and lane arrives as it was sent, in order, with its id and tag, however it goes and comes. */
#define _GNU_SOURCE 1
#include "kit.h"
#include <netinet/in.h>

enum { KIB = 1024, MIB = 1024 * KIB, LANES = 4 };

static const size_t sizes[] = {0, 1, 7, 8, 9, 63, 64, 65, 1000, 16383, 16384, 16385, 65535, 65536, 65537, 200000, MIB};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static uint8_t big[2 * MIB + 1];

/* ---- What was sent, to be compared with what a recorder saw. */

typedef struct sent { uint64_t hash; size_t size; lyq_tag tag; } sent;
typedef struct ledger { sent *of[LANES]; size_t n[LANES], capacity; } ledger;

static void ledger_init(ledger *l, size_t capacity) {
  memset(l, 0, sizeof *l);
  l->capacity = capacity;
  for (int i = 0; i < LANES; i++)
    l->of[i] = calloc(capacity, sizeof(sent));
}

static void ledger_free(ledger *l) {
  for (int i = 0; i < LANES; i++)
    free(l->of[i]);
}

/* ledger_add notes a message; 1 if id is the next of its lane. */
static int ledger_add(ledger *l, int64_t id, lyq_tag tag, const void *data, size_t size) {
  int lane = LYQ_LANE(tag);
  if (id != (int64_t)l->n[lane] || l->n[lane] == l->capacity) {
    note("lane %d: id %lld, expected %zu", lane, (long long)id, l->n[lane]);
    return 0;
  }
  l->of[lane][l->n[lane]++] = (sent){hash_of(data, size), size, tag};
  return 1;
}

static size_t ledger_total(const ledger *l) { return l->n[0] + l->n[1] + l->n[2] + l->n[3]; }

/* ledger_matches compares lane by lane: each message once, in order, unharmed. */
static int ledger_matches(const ledger *l, recorder *r) {
  size_t at[LANES] = {0}, wrong = 0;
  pthread_mutex_lock(&r->lock);
  for (size_t i = 0; i < r->n; i++) {
    const seen *s = &r->items[i];
    if (s->kind != LYQ_DATA) continue;
    int lane = LYQ_LANE(s->tag);
    const sent *want = lane < LANES && at[lane] < l->n[lane] ? &l->of[lane][at[lane]] : NULL;
    int good = want != NULL && s->id == at[lane] && s->tag == want->tag && s->size == want->size &&
               s->hash == want->hash;
    if (!good && wrong++ == 0)
      note("lane %d: message %llu of %zu bytes, tag %#x; expected %zu of %zu, %#x, hash %s", lane,
           (unsigned long long)s->id, s->size, s->tag, at[lane], want ? want->size : 0, want ? want->tag : 0,
           want && want->hash == s->hash ? "equal" : "different");
    if (lane < LANES) at[lane]++;
  }
  pthread_mutex_unlock(&r->lock);
  for (int i = 0; i < LANES; i++)
    wrong += at[i] != l->n[i];
  return wrong == 0;
}

/* ---- Sizes, lanes, tags, ids. */

static int send_sizes(lyq_endpoint ep, ledger *l, uint64_t seed) {
  int good = 1;
  for (size_t i = 0; i < SIZES * LANES; i++) {
    size_t size = sizes[i / LANES];
    lyq_tag tag = LYQ_TAG(i % LANES, (seed + i * 2221) & 0xffff);
    fill(big, size, seed + i);
    int64_t id = lyq_send_wait(ep, tag, big, size, patience_ms());
    good &= ledger_add(l, id, tag, big, size);
  }
  return good;
}

static void check_sizes(lyq_driver d, const char *scheme, int pull) {
  pair p;
  puller pa, pb;
  ledger from_a, from_b;
  char name[80];
  LYQ_DEFAULTS(lyq_endpoint_opt, oa);
  LYQ_DEFAULTS(lyq_endpoint_opt, ob);
  pair_init(&p);
  if (pull) {
    puller_start(&pa, d, &p.ra);
    puller_start(&pb, d, &p.rb);
    oa.inbox = pa.inbox;
    ob.inbox = pb.inbox;
  }
  pair_open(&p, d, scheme, &oa, &ob);
  ledger_init(&from_a, SIZES);
  ledger_init(&from_b, SIZES);
  snprintf(name, sizeof name, "%s, %s", scheme, pull ? "pulled" : "called back");
  ok(send_sizes(p.a, &from_a, 1) && send_sizes(p.b, &from_b, 100000), "%s: ids count from 0 in each lane", name);
  ok(recorder_wait(&p.rb, LYQ_DATA, (int)ledger_total(&from_a)) && ledger_matches(&from_a, &p.rb),
     "%s: all sizes in all lanes, there", name);
  ok(recorder_wait(&p.ra, LYQ_DATA, (int)ledger_total(&from_b)) && ledger_matches(&from_b, &p.ra),
     "%s: all sizes in all lanes, and back", name);
  ok(p.ra.misaligned == 0 && p.rb.misaligned == 0, "%s: data is aligned", name);
  if (pull) {
    ok(pair_close(&p, 0) && recorder_wait(&p.ra, LYQ_CLOSED, 1), "%s: ends", name);
    puller_stop(&pa);
    puller_stop(&pb);
  } else {
    pair_end(&p, name);
  }
  ledger_free(&from_a);
  ledger_free(&from_b);
  pair_free(&p);
}

static void test_sizes(lyq_driver d) {
  for (int i = 0; i < SCHEMES; i++) {
    check_sizes(d, schemes[i], 0);
    check_sizes(d, schemes[i], 1);
  }
  lyq_driver portable;
  LYQ_DEFAULTS(lyq_driver_opt, opt);
  opt.flags = LYQ_PORTABLE;
  need(lyq_driver_open(&opt, &portable) == 0, "a driver on the portable poller opens: %s", lyq_detail());
  check_sizes(portable, "tcp", 0);
  close_driver(portable);
}

/* test_many sends small messages as fast as it goes, on several lanes at once. */
static void test_many(lyq_driver d) {
  pair p;
  ledger l;
  uint64_t seed = 7;
  int count = many(100000), good = 1;
  pair_init(&p);
  pair_open(&p, d, "tcp", NULL, NULL);
  ledger_init(&l, (size_t)count);
  for (int i = 0; i < count && good; i++) {
    uint64_t r = random64(&seed);
    lyq_tag tag = LYQ_TAG(r % LANES, i & 0xffff);
    size_t size = r >> 8 & 0xff;
    fill(big, size, r);
    good &= ledger_add(&l, lyq_send_wait(p.a, tag, big, size, patience_ms()), tag, big, size);
  }
  ok(good, "%d small messages are accepted", count);
  ok(recorder_wait(&p.rb, LYQ_DATA, count) && ledger_matches(&l, &p.rb), "they arrive in order");
  pair_end(&p, "many");
  ledger_free(&l);
  pair_free(&p);
}

/* ---- The largest message. */

/* silent_socket listens but never answers. */
static int silent_socket(char *address, size_t size) {
  struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof sa;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  need(fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0 && listen(fd, 8) == 0, "a silent socket");
  getsockname(fd, (struct sockaddr *)&sa, &length);
  snprintf(address, size, "tcp://127.0.0.1:%d", ntohs(sa.sin_port));
  return fd;
}

static void test_limit_before_up(lyq_driver d) {
  char address[64];
  lyq_endpoint ep;
  recorder r;
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  int fd = silent_socket(address, sizeof address);
  recorder_init(&r);
  opt.recv = on_record;
  opt.ctx = &r;
  opt.drop = on_drop;
  need(lyq_dial(d, address, &opt, &ep) == 0, "a silent address is dialled");
  is(lyq_send(ep, 0, big, MIB + 1), LYQ_EMSGSIZE, "before LYQ_UP 1 MiB and a byte is too long");
  is(lyq_send(ep, 0, big, MIB), 0, "before LYQ_UP 1 MiB is accepted");
  lyq_close(ep.id, 0);
  ok(recorder_wait_drop(&r) && recorder_faults(&r) == 0, "an endpoint that never came up ends like any other");
  is(recorder_count(&r, LYQ_UP), 0, "without LYQ_UP");
  recorder_free(&r);
  close(fd);
}

static void test_limit_after_up(lyq_driver d) {
  pair p;
  lyq_claim claim;
  const lyq_buf halves[2] = {{big, MIB}, {big + MIB, MIB + 1}};
  LYQ_DEFAULTS(lyq_endpoint_opt, wide);
  wide.max_message = 2 * MIB;
  pair_init(&p);
  pair_open(&p, d, "tcp", NULL, &wide);
  fill(big, sizeof big, 3);
  is(lyq_send_wait(p.a, 0, big, 2 * MIB + 1, 1000), LYQ_EMSGSIZE, "longer than the peer takes: lyq_send_wait");
  is(lyq_sendv(p.a, 0, halves, 2), LYQ_EMSGSIZE, "longer than the peer takes: lyq_sendv");
  is(lyq_send_lent(p.a, 0, big, 2 * MIB + 1, on_drop, &p.ra), LYQ_EMSGSIZE,
     "longer than the peer takes: lyq_send_lent");
  is(lyq_claim_open(p.a, 0, 2 * MIB + 1, &claim), LYQ_EMSGSIZE, "longer than the peer takes: lyq_claim_open");
  is(lyq_send(p.a, 0, big, 2 * MIB), 0, "as long as the peer takes: has id 0");
  ok(recorder_wait(&p.rb, LYQ_DATA, 1), "it arrives");
  seen s = recorder_item(&p.rb, LYQ_DATA, 0);
  ok(s.size == 2 * MIB && s.hash == hash_of(big, 2 * MIB), "it arrives whole");
  is(lyq_send(p.b, 0, big, MIB + 1), LYQ_EMSGSIZE, "the other way the default holds");
  is(lyq_send_wait(p.a, 0, big, 1, patience_ms()), 1, "messages that were refused have no id");
  pair_end(&p, "limits");
  pair_free(&p);
}

/* ---- Ways of sending. */

static void test_sendv(lyq_driver d) {
  enum { PARTS = 100 };
  pair p;
  ledger l;
  lyq_buf parts[PARTS];
  size_t at = 0;
  int good = 1;
  pair_init(&p);
  pair_open(&p, d, "tcp", NULL, NULL);
  ledger_init(&l, PARTS + 1);
  fill(big, MIB, 11);
  for (size_t n = 0; n < PARTS; n++) {
    parts[n] = (lyq_buf){n % 5 == 4 ? NULL : big + at, n % 5 == 4 ? 0 : n * 7};
    at += parts[n].size;
    int64_t id;
    while ((id = lyq_sendv(p.a, LYQ_TAG(LYQ_LOW, n), parts, n + 1)) == LYQ_EAGAIN)
      need(recorder_wait(&p.rb, LYQ_DATA, (int)n), "there is room again");
    good &= ledger_add(&l, id, LYQ_TAG(LYQ_LOW, n), big, at);
  }
  ok(good && recorder_wait(&p.rb, LYQ_DATA, PARTS) && ledger_matches(&l, &p.rb),
     "lyq_sendv makes one message of 1 to %d pieces", PARTS);
  pair_end(&p, "sendv");
  ledger_free(&l);
  pair_free(&p);
}

static void count_free(void *hint) { __atomic_fetch_add((int *)hint, 1, __ATOMIC_RELAXED); }

enum { LENT = 40 };
static int freed[LENT];

static int freed_count(int each) {
  int count = 0;
  for (int i = 0; i < LENT; i++)
    count += __atomic_load_n(&freed[i], __ATOMIC_RELAXED) == each;
  return count;
}

static void test_lent(lyq_driver d) {
  pair p;
  ledger l;
  int good = 1;
  pair_init(&p);
  pair_open(&p, d, "tcp", NULL, NULL);
  ledger_init(&l, LENT);
  memset(freed, 0, sizeof freed);
  fill(big, MIB, 13);
  for (int i = 0; i < LENT; i++) {
    size_t size = sizes[(size_t)i % SIZES];
    int64_t id;
    while ((id = lyq_send_lent(p.a, LYQ_TAG(LYQ_BULK, i), big, size, count_free, &freed[i])) == LYQ_EAGAIN)
      need(recorder_wait(&p.rb, LYQ_DATA, i), "there is room again");
    good &= ledger_add(&l, id, LYQ_TAG(LYQ_BULK, i), big, size);
  }
  ok(good && recorder_wait(&p.rb, LYQ_DATA, LENT) && ledger_matches(&l, &p.rb), "lent messages arrive");
  ok(until(freed_count(0) == 0), "all of them are given back");
  ok(lyq_send_lent(p.a, 0, "static", 6, NULL, NULL) == 0 && recorder_wait(&p.rb, LYQ_DATA, LENT + 1),
     "a message can be lent without a word of its end");
  pair_end(&p, "lent");
  is(freed_count(1), LENT, "each of them once");
  is(lyq_send_lent(p.a, 0, big, 10, count_free, &freed[0]), LYQ_ECLOSED,
     "nothing is lent to an endpoint that has ended");
  is(freed[0], 1, "and nothing given back");
  ledger_free(&l);
  pair_free(&p);
}

static int take_none(recorder *r, const lyq_msg *m, size_t n) {
  (void)r;
  for (size_t i = 0; i < n; i++)
    if (m[i].kind == LYQ_DATA) return (int)i;
  return (int)n;
}

/* test_lent_dropped closes an endpoint whose peer reads nothing: what lies in the outbox is given back too. */
static void test_lent_dropped(lyq_driver d) {
  pair p;
  int lent = 0;
  pair_init(&p);
  p.rb.hook = take_none;
  pair_open(&p, d, "tcp", NULL, NULL);
  memset(freed, 0, sizeof freed);
  while (lent < LENT && lyq_send_lent(p.a, 0, big, MIB, count_free, &freed[lent]) >= 0)
    lent++;
  ok(lent > 0, "%d messages of 1 MiB lie before a peer that takes none", lent);
  pair_end(&p, "lent and dropped");
  ok(until(freed_count(1) == lent), "what was not sent is given back");
  is(freed_count(0), LENT - lent, "and nothing else");
  pair_free(&p);
}

static void test_claim(lyq_driver d) {
  static const size_t claims[][2] = {{0, 0}, {1, 1}, {1, 0}, {100, 7}, {100, 100}, {16384, 16384}, {16385, 1},
                                     {65536, 65536}, {65537, 65536}, {MIB, MIB}, {MIB, 3}, {300000, 100000}};
  enum { CLAIMS = sizeof claims / sizeof claims[0] };
  pair p;
  ledger l;
  int good = 1, straight = 1;
  pair_init(&p);
  pair_open(&p, d, "tcp", NULL, NULL);
  ledger_init(&l, CLAIMS + 3);
  for (size_t i = 0; i < CLAIMS; i++) {
    lyq_claim claim;
    int rc;
    lyq_tag tag = LYQ_TAG(LYQ_NORMAL, i);
    while ((rc = lyq_claim_open(p.a, tag, claims[i][0], &claim)) == LYQ_EAGAIN)
      need(recorder_wait(&p.rb, LYQ_DATA, (int)i), "there is room again");
    need(rc == 0, "%zu bytes are claimed: %s", claims[i][0], lyq_strerror(rc));
    straight &= claim.size >= claims[i][0] && ((uintptr_t)claim.data & 7) == 0;
    fill(big, claims[i][1], i);
    fill(claim.data, claims[i][0], i + 1000);
    if (claims[i][1] > 0) memcpy(claim.data, big, claims[i][1]);
    good &= ledger_add(&l, lyq_commit(p.a, &claim, claims[i][1]), tag, big, claims[i][1]);
  }
  ok(straight, "a claim is as large as was asked for, and aligned");
  ok(good && recorder_wait(&p.rb, LYQ_DATA, CLAIMS) && ledger_matches(&l, &p.rb), "commits of all or less arrive");
  lyq_claim claim;
  int before = recorder_count(&p.rb, LYQ_DATA);
  need(lyq_claim_open(p.a, 0, 8, &claim) == 0, "a claim is open");
  int64_t behind = lyq_send(p.a, 0, "behind", 6);
  need(lyq_send(p.a, LYQ_TAG(LYQ_URGENT, 0), "other lane", 10) == 0, "another lane goes on");
  ok(recorder_wait(&p.rb, LYQ_DATA, before + 1) && LYQ_LANE(recorder_item(&p.rb, LYQ_DATA, before).tag) == LYQ_URGENT,
     "an open claim holds back its lane alone");
  memcpy(claim.data, "in front", 8);
  is(lyq_commit(p.a, &claim, 8), behind - 1, "the claim has the id of its place");
  ok(recorder_wait(&p.rb, LYQ_DATA, before + 3) && recorder_item(&p.rb, LYQ_DATA, before + 1).size == 8,
     "and goes in front of what came after it");
  pair_end(&p, "claim");
  ledger_free(&l);
  pair_free(&p);
}

/* ---- Keeping what was received. */

enum { KEPT = 4 };
static struct { lyq_msg m[64]; int n; } kept;

static int keep_all(recorder *r, const lyq_msg *m, size_t n) {
  (void)r;
  for (size_t i = 0; i < n; i++)
    if (kept.n < 64 && lyq_retain(&m[i], &kept.m[kept.n]) == 0) kept.n++;
  return (int)n;
}

static void test_retain(void) {
  static const size_t lengths[KEPT] = {0, 100, 65536, MIB};
  lyq_driver d = open_driver(2);
  pair p;
  int data = 0, good = 1;
  kept.n = 0;
  pair_init(&p);
  p.rb.hook = keep_all;
  pair_open(&p, d, "tcp", NULL, NULL);
  for (int i = 0; i < KEPT; i++) {
    fill(big, lengths[i], (uint64_t)i);
    lyq_send_wait(p.a, LYQ_TAG(0, i), big, lengths[i], patience_ms());
  }
  ok(recorder_wait(&p.rb, LYQ_DATA, KEPT), "messages and events are retained in the callback");
  pair_end(&p, "retain");
  close_driver(d);
  for (int i = 0; i < kept.n; i++) {
    if (kept.m[i].kind != LYQ_DATA) continue;
    size_t size = lengths[data];
    fill(big, size, (uint64_t)data);
    good &= kept.m[i].size == size && memcmp(kept.m[i].data, big, size) == 0 && LYQ_CHANNEL(kept.m[i].tag) == data;
    good &= aligned(&kept.m[i]);
    data++;
  }
  ok(good && data == KEPT, "retained messages outlive endpoint and driver");
  ok(kept.n > KEPT, "so do %d events", kept.n - KEPT);
  is(lyq_release(kept.m, (size_t)kept.n), 0, "they are released together");
  pair_free(&p);
}

/* test_unreleased closes endpoint, inbox and driver over items that were pulled and not released. */
static void test_unreleased(void) {
  lyq_driver d = open_driver(1);
  lyq_inbox in;
  lyq_msg m[16];
  pair p;
  int n = 0;
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  need(lyq_inbox_open(d, &in) == 0, "an inbox opens");
  opt.inbox = in;
  pair_init(&p);
  pair_open(&p, d, "tcp", &opt, NULL);
  fill(big, 50000, 5);
  is(lyq_send(p.b, 0, big, 50000), 0, "a message is sent to an inbox");
  while (n < 16 && (n == 0 || m[n - 1].kind != LYQ_DATA)) {
    int got = lyq_recv(in, m + n, 1, patience_ms());
    need(got == 1, "an item is pulled: %d", got);
    n++;
  }
  ok(pair_close(&p, 0), "the endpoint ends while its message is held");
  is(lyq_close(in.id, 0), 0, "the inbox is closed");
  close_driver(d);
  ok(m[n - 1].size == 50000 && memcmp(m[n - 1].data, big, 50000) == 0, "a pulled message outlives them all");
  for (int i = n; i-- > 0;)
    is(lyq_release(&m[i], 1), 0, "items are released in any order");
  pair_free(&p);
}

/* ---- Ends. */

static void send_numbers(lyq_endpoint ep, int n, int size) {
  int good = 1;
  for (int i = 0; i < n; i++)
    good &= lyq_send_wait(ep, LYQ_TAG(0, i & 0xffff), big, (size_t)size, patience_ms()) == i;
  ok(good, "%d messages are accepted", n);
}

static void test_half_close(lyq_driver d, const char *scheme) {
  pair p;
  pair_init(&p);
  pair_open(&p, d, scheme, NULL, NULL);
  send_numbers(p.a, 10, 100);
  is(lyq_end(p.a), 0, "lyq_end");
  is(lyq_send(p.a, 0, big, 1), LYQ_ECLOSED, "no message goes behind lyq_end");
  is(lyq_send(p.a, LYQ_TAG(LYQ_URGENT, 0), big, 1), LYQ_ECLOSED, "on no lane");
  ok(recorder_wait(&p.rb, LYQ_ENDED, 1), "%s: the peer gets LYQ_ENDED", scheme);
  is(recorder_count(&p.rb, LYQ_DATA), 10, "behind all messages");
  send_numbers(p.b, 10, 70000);
  ok(recorder_wait(&p.ra, LYQ_DATA, 10), "%s: the other direction lives on", scheme);
  is(lyq_end(p.b), 0, "lyq_end of the other direction");
  ok(recorder_wait(&p.ra, LYQ_ENDED, 1), "LYQ_ENDED comes there, too");
  is(recorder_count(&p.ra, LYQ_CLOSED) + recorder_count(&p.rb, LYQ_CLOSED), 0, "two ends are no close");
  pair_end(&p, "half-close");
  is(recorder_item(&p.ra, LYQ_CLOSED, 0).code, LYQ_OK, "the reason is an orderly end, here");
  is(recorder_item(&p.rb, LYQ_CLOSED, 0).code, LYQ_OK, "and there");
  pair_free(&p);
}

/* test_linger closes at once behind a long queue: with linger everything arrives, without it a beginning. */
static void test_linger(lyq_driver d, const char *scheme, int linger_ms) {
  pair p;
  int count = many(2000);
  pair_init(&p);
  pair_open(&p, d, scheme, NULL, NULL);
  send_numbers(p.a, count, 1000);
  is(lyq_close(p.a.id, linger_ms), 0, "lyq_close returns at once");
  is(lyq_send(p.a, 0, big, 1), LYQ_ECLOSED, "a closing endpoint takes no more");
  ok(recorder_wait_drop(&p.ra), "%s, linger %d: it ends", scheme, linger_ms);
  ok(recorder_wait(&p.rb, LYQ_CLOSED, 1), "%s, linger %d: so does the peer", scheme, linger_ms);
  int code = recorder_item(&p.rb, LYQ_CLOSED, 0).code; /* a full connection leaves no room to say goodbye at once */
  ok(code == LYQ_OK || (linger_ms == 0 && code == LYQ_ERESET), "%s, linger %d: %s", scheme, linger_ms,
     lyq_strerror(code));
  int got = recorder_count(&p.rb, LYQ_DATA), in_order = 1;
  for (int i = 0; i < got; i++)
    in_order &= recorder_item(&p.rb, LYQ_DATA, i).id == (uint64_t)i;
  ok(in_order && (linger_ms == 0 ? got <= count : got == count), "%s, linger %d: %d of %d messages arrived", scheme,
     linger_ms, got, count);
  pair_end(&p, "linger");
  pair_free(&p);
}

int main(void) {
  tap_begin();
  lyq_driver d = open_driver(2);
  test_sizes(d);
  test_many(d);
  test_limit_before_up(d);
  test_limit_after_up(d);
  test_sendv(d);
  test_lent(d);
  test_lent_dropped(d);
  test_claim(d);
  test_retain();
  test_unreleased();
  for (int i = 0; i < SCHEMES; i++) {
    test_half_close(d, schemes[i]);
    test_linger(d, schemes[i], -1);
    test_linger(d, schemes[i], 5000);
    test_linger(d, schemes[i], 0);
  }
  close_driver(d);
  return tap_end();
}
