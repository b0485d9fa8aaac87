/* Hostile peers: a raw TCP socket that says wrong things, half of things, or nothing. The endpoint ends with the right
 * reason, or goes on where it should; others go on in any case. docs/protocol.md has the format. */
#define _GNU_SOURCE 1
#include "kit.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

/* ---- The format, as much as is needed to break it. */

enum { MSG = 1, START = 2, FRAG = 3, HELLO = 16, PING = 17, GOAWAY = 19, FIN = 20 };

typedef struct bytes { uint8_t data[300000]; size_t n; } bytes;

static void add(bytes *b, const void *data, size_t n) {
  if (b->n + n > sizeof b->data) abort();
  if (n > 0) memcpy(b->data + b->n, data, n);
  b->n += n;
}

static void add_header(bytes *b, uint32_t size, unsigned kind, unsigned lane, unsigned channel) {
  uint64_t h = size | (uint64_t)kind << 32 | (uint64_t)lane << 40 | (uint64_t)channel << 48;
  add(b, &h, 8);
}

static void add_frame(bytes *b, unsigned kind, unsigned lane, const void *payload, size_t n) {
  static const uint8_t zeros[8];
  add_header(b, (uint32_t)n, kind, lane, 0);
  add(b, payload, n);
  add(b, zeros, (8 - n % 8) % 8);
}

static void add_preface(bytes *b, unsigned min, unsigned max, unsigned suite) {
  const uint8_t p[16] = {0x8c, 'L', 'Y', 'Q', '\r', '\n', 0x1a, '\n', (uint8_t)min, 0, (uint8_t)max, 0, (uint8_t)suite};
  add(b, p, sizeof p);
}

static const uint8_t hello[] = { /* incarnation 10 11 ... 1f, all else absent */
  0x0c, 0, 0, 0, 0, 0, 6, 0, 0x14, 0, 4, 0, 6, 0, 0, 0, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
  0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f};
static const uint8_t orderly[] = {8, 0, 0, 0, 4, 0, 4, 0, 4, 0, 0, 0}; /* GOAWAY: code 0, no text */

static void add_greeting(bytes *b) {
  add_preface(b, 1, 1, 0);
  add_frame(b, HELLO, 0, hello, sizeof hello);
}

/* ---- The endpoint under attack, and its neighbour. */

typedef struct target {
  lyq_driver d;
  lyq_listener l;
  recorder r;
  struct sockaddr_in at;
} target;

static void target_open(target *t, lyq_driver d, const lyq_endpoint_opt *base) {
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  char address[64];
  if (base != NULL) opt = *base;
  opt.resume_ms = LYQ_WITH_LINK; /* no hostile peer comes back to its session */
  t->d = d;
  recorder_init(&t->r);
  opt.recv = on_record;
  opt.ctx = &t->r;
  opt.drop = on_drop;
  t->r.shared = 1;
  need(lyq_listen(d, "tcp://127.0.0.1:0", &opt, &t->l) == 0, "a listener opens: %s", lyq_detail());
  need(lyq_address(t->l.id, address, sizeof address) > 0, "it has an address");
  t->at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                               .sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1))};
}

/* target_close ends what is left of it; every endpoint that came up must have ended once. */
static void target_close(target *t) {
  lyq_close(t->l.id, 0);
  int n = recorder_count(&t->r, LYQ_ACCEPTED);
  for (int i = 0; i < n; i++)
    lyq_close(recorder_item(&t->r, LYQ_ACCEPTED, i).ep, 0);
  ok(recorder_wait_drop(&t->r) && recorder_faults(&t->r) == 0, "the listener's context is dropped after all");
  int closed = 0;
  for (size_t i = 0; i < t->r.n; i++)
    closed += t->r.items[i].kind == LYQ_CLOSED && t->r.items[i].ep != 0;
  is(closed, recorder_count(&t->r, LYQ_ACCEPTED), "each accepted endpoint has ended once");
  recorder_free(&t->r);
}

static int raw_connect(const target *t) {
  int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  need(fd >= 0 && connect(fd, (const struct sockaddr *)&t->at, sizeof t->at) == 0, "a raw connection");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

/* raw_send sends as much as the peer takes; it may have hung up, which is its right. */
static void raw_send(int fd, const uint8_t *data, size_t n) {
  while (n > 0) {
    ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);
    if (sent <= 0) return;
    data += sent;
    n -= (size_t)sent;
  }
}

/* raw_ended reads until the peer ends the connection; 1 if it does in time. */
static int raw_ended(int fd) {
  char buffer[4096];
  struct pollfd p = {fd, POLLIN, 0};
  while (poll(&p, 1, patience_ms()) == 1)
    if (recv(fd, buffer, sizeof buffer, 0) <= 0) return 1;
  return 0;
}

static void raw_reset(int fd) {
  const struct linger now = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close(fd);
}

/* closed_of waits for the nth LYQ_CLOSED of the target's endpoints. */
static seen closed_of(target *t, int nth) {
  if (!recorder_wait(&t->r, LYQ_CLOSED, nth + 1)) note("no LYQ_CLOSED came");
  return recorder_item(&t->r, LYQ_CLOSED, nth);
}

static pair neighbour;

static void check_neighbour(const char *after) {
  int before = recorder_count(&neighbour.rb, LYQ_DATA);
  int64_t rc = lyq_send_wait(neighbour.a, 0, "alive", 5, patience_ms());
  ok(rc >= 0 && recorder_wait(&neighbour.rb, LYQ_DATA, before + 1), "after %s the neighbour goes on", after);
}

/* ---- Wrong things, which end the endpoint. */

typedef struct wrong { const char *name; int want, or_else; void (*make)(bytes *b); int then; } wrong;
enum { STAY, END, RESET }; /* what the attacker does when it has sent */

static void http(bytes *b) { add(b, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 35); }
static void tls(bytes *b) { add(b, "\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03 and so on, for a while", 34); }
static void text_mode(bytes *b) { add(b, "\x8cLYQ\n\x1a\n\x01\x00\x01\x00\x00\x00\x00\x00\x00", 16); }
static void future(bytes *b) { add_preface(b, 2, 9, 0); }
static void backwards(bytes *b) { add_preface(b, 3, 1, 0); }
static void version_0(bytes *b) { add_preface(b, 0, 0, 0); }
static void other_suite(bytes *b) { add_preface(b, 1, 1, 7); }
static void nothing(bytes *b) { (void)b; }
static void half_preface(bytes *b) { add_preface(b, 1, 1, 0), b->n = 9; }
static void preface_only(bytes *b) { add_preface(b, 1, 1, 0); }
static void half_hello(bytes *b) { add_greeting(b), b->n -= 13; }
static void greeting_only(bytes *b) { add_greeting(b); }
static void empty_hello(bytes *b) { add_preface(b, 1, 1, 0), add_frame(b, HELLO, 0, "", 0); }
static void second_hello(bytes *b) { add_greeting(b), add_frame(b, HELLO, 0, hello, sizeof hello); }
static void msg_first(bytes *b) { add_preface(b, 1, 1, 0), add_frame(b, MSG, 0, "too early", 9); }
static void kind_0(bytes *b) { add_greeting(b), add_header(b, 0, 0, 0, 0); }
static void unknown_kind(bytes *b) { add_greeting(b), add_frame(b, 99, 0, "what", 4); }
static void lane_7(bytes *b) { add_greeting(b), add_frame(b, MSG, 7, "where", 5); }
static void oversized(bytes *b) { add_greeting(b), add_header(b, 65537, MSG, 0, 0); }
static void enormous(bytes *b) { add_greeting(b), add_header(b, UINT32_MAX, MSG, 0, 0); }
static void big_optional(bytes *b) { add_greeting(b), add_header(b, 1 << 20, 200, 0, 0); }
static void big_control(bytes *b) { add_greeting(b), add_header(b, 5000, PING, 0, 0); }
static void lone_frag(bytes *b) { add_greeting(b), add_frame(b, FRAG, 0, "of what", 7); }
static void start_beyond(bytes *b) { add_greeting(b), add_header(b, (1 << 20) + 1, START, 0, 0); }
static void start_all(bytes *b) { add_greeting(b), add_header(b, UINT32_MAX, START, 3, 0); }
static void two_starts(bytes *b) { add_greeting(b), add_header(b, 100000, START, 0, 0), add_header(b, 9, START, 0, 0); }
static void empty_frag(bytes *b) { add_greeting(b), add_header(b, 100000, START, 0, 0), add_header(b, 0, FRAG, 0, 0); }
static void garbage_ping(bytes *b) { add_greeting(b), add_frame(b, PING, 0, "\xff\xff\xff\x7f????????", 12); }
static void control_lane(bytes *b) { add_greeting(b), add_header(b, 0, FIN, 2, 0); }
static void fin_payload(bytes *b) { add_greeting(b), add_frame(b, FIN, 0, "x", 1); }
static void msg_in_start(bytes *b) {
  add_greeting(b);
  add_header(b, 100000, START, 1, 0);
  add_frame(b, MSG, 1, "between", 7);
}

static void frag_beyond(bytes *b) {
  static const uint8_t piece[60000];
  add_greeting(b);
  add_header(b, 100000, START, 0, 0);
  add_frame(b, FRAG, 0, piece, sizeof piece);
  add_frame(b, FRAG, 0, piece, sizeof piece);
}

static void goes_away(bytes *b) { add_greeting(b), add_frame(b, GOAWAY, 0, orderly, sizeof orderly); }

static void after_fin(bytes *b) {
  add_greeting(b);
  add_header(b, 0, FIN, 0, 0);
  add_frame(b, MSG, 0, "one more", 8);
}

static void half_message(bytes *b) {
  add_greeting(b);
  add_header(b, 1000, MSG, 0, 0);
  add(b, "the beginning", 13);
}

static void half_long_message(bytes *b) {
  static const uint8_t piece[60000];
  add_greeting(b);
  add_header(b, 500000, START, 0, 0);
  add_frame(b, FRAG, 0, piece, sizeof piece);
}

static const wrong wrongs[] = {
  {"HTTP", LYQ_EPROTO, 0, http, STAY}, {"TLS", LYQ_EPROTO, 0, tls, STAY},
  {"a preface in text mode", LYQ_EPROTO, 0, text_mode, STAY},
  {"versions of the future", LYQ_EVERSION, 0, future, STAY},
  {"versions in the wrong order", LYQ_EPROTO, 0, backwards, STAY},
  {"version 0", LYQ_EPROTO, LYQ_EVERSION, version_0, STAY}, {"another suite", LYQ_EVERSION, 0, other_suite, STAY},
  {"nothing, and its end", LYQ_ERESET, 0, nothing, END}, {"nothing, and a reset", LYQ_ERESET, 0, nothing, RESET},
  {"half a preface", LYQ_ERESET, LYQ_EPROTO, half_preface, END},
  {"a preface alone", LYQ_ERESET, LYQ_EPROTO, preface_only, END},
  {"half a HELLO", LYQ_ERESET, LYQ_EPROTO, half_hello, END},
  {"a greeting, and its end", LYQ_ERESET, 0, greeting_only, END},
  {"a greeting, and a reset", LYQ_ERESET, 0, greeting_only, RESET},
  {"an empty HELLO", LYQ_EPROTO, 0, empty_hello, STAY}, {"two HELLOs", LYQ_EPROTO, 0, second_hello, STAY},
  {"a message before HELLO", LYQ_EPROTO, 0, msg_first, STAY}, {"kind 0", LYQ_EPROTO, 0, kind_0, STAY},
  {"an unknown mandatory kind", LYQ_EVERSION, LYQ_EPROTO, unknown_kind, STAY},
  {"lane 7", LYQ_EPROTO, 0, lane_7, STAY}, {"a frame a byte too long", LYQ_EPROTO, 0, oversized, STAY},
  {"a frame of 4 GiB", LYQ_EPROTO, 0, enormous, STAY},
  {"an optional frame too long", LYQ_EPROTO, 0, big_optional, STAY},
  {"a control frame too long", LYQ_EPROTO, 0, big_control, STAY},
  {"FRAG without START", LYQ_EPROTO, 0, lone_frag, STAY},
  {"START a byte too long", LYQ_EPROTO, LYQ_EMSGSIZE, start_beyond, STAY},
  {"START of 4 GiB", LYQ_EPROTO, LYQ_EMSGSIZE, start_all, STAY}, {"START in a START", LYQ_EPROTO, 0, two_starts, STAY},
  {"an empty FRAG", LYQ_EPROTO, 0, empty_frag, STAY}, {"FRAG beyond its START", LYQ_EPROTO, 0, frag_beyond, STAY},
  {"MSG in a START", LYQ_EPROTO, 0, msg_in_start, STAY}, {"a PING of garbage", LYQ_EPROTO, 0, garbage_ping, STAY},
  {"FIN in a lane", LYQ_EPROTO, 0, control_lane, STAY}, {"FIN with a payload", LYQ_EPROTO, 0, fin_payload, STAY},
  {"a message after FIN", LYQ_EPROTO, 0, after_fin, STAY},
  {"half a message", LYQ_ERESET, LYQ_EPROTO, half_message, END},
  {"half a long message", LYQ_ERESET, LYQ_EPROTO, half_long_message, END},
  {"GOAWAY", LYQ_OK, 0, goes_away, STAY}};

static void test_wrong(lyq_driver d) {
  static bytes b;
  target t;
  target_open(&t, d, NULL);
  for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
    const wrong *w = &wrongs[i];
    b.n = 0;
    w->make(&b);
    int fd = raw_connect(&t);
    raw_send(fd, b.data, b.n);
    if (w->then == END) shutdown(fd, SHUT_WR);
    /* The program hears of a peer that has said HELLO, or that never will. */
    if (w->then == RESET && b.n > 0) recorder_wait(&t.r, LYQ_ACCEPTED, (int)i + 1);
    if (w->then == RESET) raw_reset(fd);
    seen c = closed_of(&t, (int)i);
    int good = c.code == w->want || (w->or_else != 0 && c.code == w->or_else);
    ok(good && (c.code == LYQ_OK || c.text[0] != 0), "%s: %s: %s", w->name, lyq_strerror(c.code), c.text);
    if (w->then == RESET) continue;
    ok(raw_ended(fd), "%s: the connection is ended", w->name);
    close(fd);
  }
  is(recorder_count(&t.r, LYQ_DATA), 0, "none of it delivered anything");
  check_neighbour("wrong things");
  target_close(&t);
}

/* ---- Odd things, which are allowed. */

/* a_good_talk makes a stream of a greeting, four messages of which one is long, an optional kind, FIN twice, and
 * GOAWAY. */
static void a_good_talk(bytes *b) {
  static uint8_t piece[50000];
  fill(piece, sizeof piece, 1);
  add_greeting(b);
  add_frame(b, MSG, 0, "first", 5);
  add_frame(b, 200, 9, "to be skipped", 13);
  add_header(b, 70000, START, 3, 5);
  add_frame(b, FRAG, 3, piece, 40000);
  add_frame(b, MSG, 1, "urgent", 6);
  add_frame(b, 255, 0, "", 0);
  add_frame(b, FRAG, 3, piece, 30000);
  add_frame(b, MSG, 0, "", 0);
  add_header(b, 0, FIN, 0, 0);
  add_header(b, 0, FIN, 0, 0);
  add_frame(b, GOAWAY, 0, orderly, sizeof orderly);
}

static void test_pieces(lyq_driver d, size_t piece) {
  static bytes b;
  target t;
  target_open(&t, d, NULL);
  b.n = 0;
  a_good_talk(&b);
  int fd = raw_connect(&t);
  for (size_t i = 0; i < b.n; i += piece)
    raw_send(fd, b.data + i, b.n - i < piece ? b.n - i : piece);
  is(closed_of(&t, 0).code, LYQ_OK, "a proper talk ends in order");
  seen m[4];
  for (int i = 0; i < 4; i++)
    m[i] = recorder_item(&t.r, LYQ_DATA, i);
  int all = m[0].size == 5 && m[1].size == 6 && m[2].size == 70000 && m[3].size == 0;
  ok(all, "in pieces of %zu bytes: 4 messages", piece);
  ok(m[2].tag == LYQ_TAG(LYQ_BULK, 5) && m[3].id == 1 && m[1].id == 0, "with their tags and ids");
  ok(recorder_count(&t.r, LYQ_DATA) == 4 && recorder_count(&t.r, LYQ_ENDED) == 1, "and the end of messages");
  ok(raw_ended(fd), "the connection is ended");
  close(fd);
  target_close(&t);
}

/* test_own_greeting reads what the library answers to a greeting. */
static void test_own_greeting(lyq_driver d) {
  static bytes want, mine;
  uint8_t got[24];
  target t;
  target_open(&t, d, NULL);
  want.n = 0;
  add_preface(&want, 1, 1, 0);
  int fd = raw_connect(&t);
  mine.n = 0;
  add_greeting(&mine);
  raw_send(fd, mine.data, mine.n);
  ok(recv(fd, got, sizeof got, MSG_WAITALL) == sizeof got && memcmp(got, want.data, 16) == 0, "it sends a preface");
  is(got[20], HELLO, "and HELLO behind it");
  close(fd);
  closed_of(&t, 0);
  target_close(&t);
}

/* ---- Random bytes. */

static void test_random(lyq_driver d, uint64_t seed, int greeted) {
  static bytes b;
  target t;
  int rounds = many(200), ended = 0;
  target_open(&t, d, NULL);
  for (int i = 0; i < rounds; i++) {
    b.n = 0;
    if (greeted) add_greeting(&b);
    size_t n = random64(&seed) % 4000;
    for (size_t j = 0; j < n; j += 8) {
      uint64_t r = random64(&seed);
      if (r % 3 == 0) add_header(&b, (uint32_t)(r >> 8 & 63), (unsigned)(r >> 16 & 31), (unsigned)(r >> 24 & 3), 0);
      else add(&b, &r, 8);
    }
    int fd = raw_connect(&t);
    raw_send(fd, b.data, b.n);
    shutdown(fd, SHUT_WR);
    ended += raw_ended(fd);
    close(fd);
  }
  is(ended, rounds, greeted ? "random bytes behind a greeting end" : "random bytes end");
  ok(recorder_wait(&t.r, LYQ_CLOSED, rounds), "with their endpoints");
  check_neighbour("random bytes");
  target_close(&t);
}

/* test_damaged sends the good talk with a few bytes changed, cut or doubled. */
static void test_damaged(lyq_driver d, uint64_t seed) {
  static bytes good, b;
  target t;
  int rounds = many(200), ended = 0;
  good.n = 0;
  a_good_talk(&good);
  target_open(&t, d, NULL);
  for (int i = 0; i < rounds; i++) {
    b = good;
    for (uint64_t n = 1 + random64(&seed) % 4; n > 0; n--) {
      uint64_t r = random64(&seed);
      size_t at = r % 3 ? (r >> 8) % 160 : (r >> 8) % b.n; /* mostly where headers are */
      if (r >> 60 == 0) b.n = at + 1;
      else if (at < b.n) b.data[at] ^= (uint8_t)(1 << (r >> 40 & 7));
    }
    int fd = raw_connect(&t);
    raw_send(fd, b.data, b.n);
    shutdown(fd, SHUT_WR);
    ended += raw_ended(fd);
    close(fd);
  }
  is(ended, rounds, "damaged talks end");
  ok(recorder_wait(&t.r, LYQ_CLOSED, rounds), "with their endpoints");
  check_neighbour("damage");
  target_close(&t);
}

/* ---- Peers that do nothing. */

static void test_silent(lyq_driver d) {
  enum { SILENT = 100 };
  target t;
  int fds[SILENT], timed_out = 0;
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  opt.connect_ms = 500;
  target_open(&t, d, &opt);
  for (int i = 0; i < SILENT; i++)
    fds[i] = raw_connect(&t);
  check_neighbour("silence");
  ok(recorder_wait(&t.r, LYQ_CLOSED, SILENT), "%d peers that say nothing are given up", SILENT);
  for (int i = 0; i < SILENT; i++) {
    timed_out += recorder_item(&t.r, LYQ_CLOSED, i).code == LYQ_ETIMEDOUT;
    ok(i > 0 || raw_ended(fds[i]), "the connection is ended");
    close(fds[i]);
  }
  is(timed_out, SILENT, "because the time for the handshake is over");
  target_close(&t);
}

/* test_gone stops talking after the greeting: keep-alive finds out. */
static void test_gone(lyq_driver d) {
  static bytes b;
  target t;
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  opt.keepalive_ms = 100;
  target_open(&t, d, &opt);
  b.n = 0;
  add_greeting(&b);
  int64_t start = now_ns();
  int fd = raw_connect(&t);
  raw_send(fd, b.data, b.n);
  ok(recorder_wait(&t.r, LYQ_UP, 1), "a peer greets");
  is(closed_of(&t, 0).code, LYQ_ETIMEDOUT, "and is given up when it answers no ping");
  ok(now_ns() - start >= INT64_C(250000000), "not at once");
  close(fd);
  target_close(&t);
}

/* test_reads_nothing has the target send to a peer that greets, and never reads. */
static void test_reads_nothing(lyq_driver d) {
  static bytes b;
  static uint8_t data[50000];
  target t;
  int sent = 0;
  target_open(&t, d, NULL);
  b.n = 0;
  add_greeting(&b);
  int fd = raw_connect(&t);
  raw_send(fd, b.data, b.n);
  ok(recorder_wait(&t.r, LYQ_UP, 1), "a peer greets");
  lyq_endpoint ep = {recorder_item(&t.r, LYQ_UP, 0).ep};
  while (lyq_send_wait(ep, 0, data, sizeof data, 300) >= 0)
    sent++;
  ok(sent > 0, "%d messages fill the way to a peer that reads nothing", sent);
  is(lyq_send(ep, 0, data, sizeof data), LYQ_EAGAIN, "then there is no room");
  check_neighbour("a peer that reads nothing");
  raw_send(fd, (const uint8_t *)"\0\0\0\0\x01\0\0\0", 8);
  ok(recorder_wait(&t.r, LYQ_DATA, 1), "it is still heard");
  is(lyq_close(ep.id, 200), 0, "closing with a linger of 200 ms");
  is(lyq_wait(ep.id, LYQ_CLOSED, patience_ms()), 0, "ends although nothing goes out");
  close(fd);
  target_close(&t);
}

/* ---- Hostile listeners. */

static void test_dialled(lyq_driver d, const char *name, void (*make)(bytes *), int want, int or_else, int hang_up) {
  static bytes b;
  struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof sa;
  recorder r;
  lyq_endpoint ep;
  char address[64];
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  need(l >= 0 && bind(l, (struct sockaddr *)&sa, sizeof sa) == 0 && listen(l, 1) == 0, "a raw listener");
  getsockname(l, (struct sockaddr *)&sa, &length);
  snprintf(address, sizeof address, "tcp://127.0.0.1:%d", ntohs(sa.sin_port));
  recorder_init(&r);
  opt.recv = on_record;
  opt.ctx = &r;
  opt.drop = on_drop;
  opt.connect_ms = 500;
  opt.resume_ms = LYQ_WITH_LINK;
  need(lyq_dial(d, address, &opt, &ep) == 0, "it is dialled");
  int fd = accept(l, NULL, NULL);
  b.n = 0;
  make(&b);
  raw_send(fd, b.data, b.n);
  if (hang_up) close(fd);
  recorder_wait(&r, LYQ_CLOSED, 1);
  seen c = recorder_item(&r, LYQ_CLOSED, 0);
  ok((c.code == want || c.code == or_else) && c.text[0] != 0, "a listener that says %s: %s: %s", name,
     lyq_strerror(c.code), c.text);
  lyq_close(ep.id, 0);
  ok(recorder_wait_drop(&r) && recorder_faults(&r) == 0, "the endpoint ends like any other");
  if (!hang_up) close(fd);
  close(l);
  recorder_free(&r);
}

int main(void) {
  tap_begin();
  uint64_t seed = getenv("LYQ_TEST_SEED") ? strtoull(getenv("LYQ_TEST_SEED"), NULL, 0) : (uint64_t)now_ns();
  note("LYQ_TEST_SEED=%llu", (unsigned long long)seed);
  lyq_driver d = open_driver(2);
  pair_init(&neighbour);
  pair_open(&neighbour, d, "tcp", NULL, NULL);
  test_own_greeting(d);
  test_wrong(d);
  test_pieces(d, 1 << 20);
  test_pieces(d, 7);
  test_pieces(d, tap_slow() ? 3 : 1);
  test_random(d, seed, 0);
  test_random(d, seed + 1, 1);
  test_damaged(d, seed + 2);
  test_silent(d);
  test_gone(d);
  test_reads_nothing(d);
  test_dialled(d, "HTTP", http, LYQ_EPROTO, LYQ_EPROTO, 0);
  test_dialled(d, "nothing, and hangs up", nothing, LYQ_ERESET, LYQ_ERESET, 1);
  test_dialled(d, "half of HELLO, and hangs up", half_hello, LYQ_ERESET, LYQ_EPROTO, 1);
  test_dialled(d, "nothing at all", nothing, LYQ_ETIMEDOUT, LYQ_ETIMEDOUT, 0);
  test_dialled(d, "a version of the future", future, LYQ_EVERSION, LYQ_EVERSION, 0);
  pair_end(&neighbour, "the neighbour");
  close_driver(d);
  pair_free(&neighbour);
  return tap_end();
}
