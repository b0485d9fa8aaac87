/* Misuse: wrong arguments, dead and forged handles, calls from callbacks, hopeless addresses. Each gets an error code;
 * none harms the process or an endpoint beside it. */
#define _GNU_SOURCE 1
#include "kit.h"
#include <netinet/in.h>
#include <semaphore.h>

/* ---- Handles that name nothing: every function is called with each. */

typedef struct handle_case { const char *name; uint64_t id; int stale; } handle_case;

static int64_t send_plain(uint64_t id) { return lyq_send((lyq_endpoint){id}, 0, "x", 1); }
static int64_t send_waiting(uint64_t id) { return lyq_send_wait((lyq_endpoint){id}, 0, "x", 1, 10); }
static int64_t wait_room(uint64_t id) { return lyq_wait_room((lyq_endpoint){id}, 0, 1, 10); }
static int64_t send_parts(uint64_t id) { return lyq_sendv((lyq_endpoint){id}, 0, &(lyq_buf){"x", 1}, 1); }
static int64_t send_lent(uint64_t id) { return lyq_send_lent((lyq_endpoint){id}, 0, "x", 1, NULL, NULL); }
static int64_t send_ttl(uint64_t id) { return lyq_send_ttl((lyq_endpoint){id}, 0, "x", 1, 1); }
static int64_t claim(uint64_t id) { lyq_claim c; return lyq_claim_open((lyq_endpoint){id}, 0, 8, &c); }
static int64_t ack(uint64_t id) { return lyq_ack((lyq_endpoint){id}, 0, 0); }
static int64_t unacked(uint64_t id) {
  uint64_t cursor = 0;
  lyq_msg m;
  return lyq_unacked((lyq_endpoint){id}, &cursor, &m, 1);
}
static int64_t end(uint64_t id) { return lyq_end((lyq_endpoint){id}); }
static int64_t flush(uint64_t id) { return lyq_flush((lyq_endpoint){id}); }
static int64_t wait_up(uint64_t id) { return lyq_wait(id, LYQ_UP, 0); }
static int64_t set_ctx(uint64_t id) { return lyq_set_ctx(id, NULL, NULL); }
static int64_t resume(uint64_t id) { return lyq_resume(id); }
static int64_t quiesce(uint64_t id) { return lyq_quiesce(id, 10); }
static int64_t explain(uint64_t id) { char t[100]; return lyq_explain(id, t, sizeof t); }
static int64_t counters(uint64_t id) { uint64_t c[LYQ_C_COUNT]; return lyq_counters(id, c, LYQ_C_COUNT); }
static int64_t worker_counters(uint64_t id) { uint64_t c[1]; return lyq_worker_counters((lyq_driver){id}, 1, c, 1); }
static int64_t switch_to(uint64_t id) { return lyq_switch((lyq_endpoint){id}, "mem://elsewhere"); }
static int64_t set_worker(uint64_t id) { return lyq_set_worker((lyq_endpoint){id}, 1); }
static int64_t address(uint64_t id) { char t[100]; return lyq_address(id, t, sizeof t); }
static int64_t on_recv(uint64_t id) { return lyq_on_recv(id, -1, on_record, NULL, NULL); }
static int64_t inbox_open(uint64_t id) { lyq_inbox in; return lyq_inbox_open((lyq_driver){id}, &in); }
static int64_t inbox_bind(uint64_t id) { return lyq_inbox_bind((lyq_inbox){id}, id, -1); }
static int64_t inbox_fd(uint64_t id) { return lyq_inbox_fd((lyq_inbox){id}); }
static int64_t now_of(uint64_t id) { return lyq_now((lyq_driver){id}); }
static int64_t receive(uint64_t id) { lyq_msg m; return lyq_recv((lyq_inbox){id}, &m, 1, 10); }
static int64_t dial(uint64_t id) { lyq_endpoint e; return lyq_dial((lyq_driver){id}, "mem://x", NULL, &e); }

static int64_t listen_at(uint64_t id) {
  lyq_listener l;
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  return lyq_listen((lyq_driver){id}, "mem://misuse", &opt, &l);
}

static int64_t timer_open(uint64_t id) {
  lyq_timer t;
  return lyq_timer_open((lyq_driver){id}, 0, 0, on_drop, NULL, &t);
}

/* Kinds of handles, as bits, that a function takes. */
enum { DRIVER = 1, LISTENER = 2, ENDPOINT = 4, INBOX = 8, TIMER = 16, ALL = 31 };

static const struct { const char *name; int64_t (*call)(uint64_t); int takes; } functions[] = {
  {"lyq_send", send_plain, ENDPOINT}, {"lyq_send_wait", send_waiting, ENDPOINT}, {"lyq_sendv", send_parts, ENDPOINT},
  {"lyq_wait_room", wait_room, ENDPOINT},
  {"lyq_send_lent", send_lent, ENDPOINT}, {"lyq_send_ttl", send_ttl, ENDPOINT},
  {"lyq_claim_open", claim, ENDPOINT}, {"lyq_end", end, ENDPOINT}, {"lyq_ack", ack, ENDPOINT},
  {"lyq_unacked", unacked, ENDPOINT}, {"lyq_flush", flush, ENDPOINT},
  {"lyq_wait", wait_up, ENDPOINT}, {"lyq_set_ctx", set_ctx, ENDPOINT}, {"lyq_resume", resume, ENDPOINT | DRIVER},
  {"lyq_quiesce", quiesce, ENDPOINT | DRIVER}, {"lyq_explain", explain, ALL},
  {"lyq_counters", counters, ENDPOINT | DRIVER}, {"lyq_worker_counters", worker_counters, DRIVER},
  {"lyq_set_worker", set_worker, ENDPOINT}, {"lyq_switch", switch_to, ENDPOINT},
  {"lyq_address", address, ENDPOINT | LISTENER}, {"lyq_on_recv", on_recv, ENDPOINT | LISTENER},
  {"lyq_inbox_open", inbox_open, DRIVER}, {"lyq_inbox_bind", inbox_bind, INBOX}, {"lyq_inbox_fd", inbox_fd, INBOX},
  {"lyq_now", now_of, DRIVER}, {"lyq_recv", receive, INBOX}, {"lyq_dial", dial, DRIVER},
  {"lyq_listen", listen_at, DRIVER}, {"lyq_timer_open", timer_open, DRIVER}};
enum { FUNCTIONS = sizeof functions / sizeof functions[0] };

/* A living handle of each kind, in the order of the bits above. */
static uint64_t living[5];

static void open_living(lyq_driver d, pair *p) {
  static int fired;
  lyq_inbox in;
  lyq_timer t;
  pair_init(p);
  pair_open(p, d, "tcp", NULL, NULL);
  need(lyq_inbox_open(d, &in) == 0, "an inbox opens");
  need(lyq_timer_open(d, 0, lyq_now(d) + INT64_C(3600000000000), on_drop, &fired, &t) == 0, "a timer opens");
  const uint64_t ids[5] = {d.id, p->listener.id, p->a.id, in.id, t.id};
  memcpy(living, ids, sizeof living);
}

/* error_for says whether a result is right for a handle that names nothing. */
static int is_refused(int64_t rc, int stale) { return rc == LYQ_EHANDLE || (stale && rc == LYQ_ECLOSED); }

static void test_other_kinds(void) {
  for (size_t f = 0; f < FUNCTIONS; f++) {
    int wrong = 0;
    for (int kind = 0; kind < 5; kind++) {
      if (functions[f].takes & 1 << kind) continue;
      int64_t rc = functions[f].call(living[kind]);
      if (rc == LYQ_EHANDLE || rc == LYQ_EINVAL) continue;
      note("%s of a handle of kind %d: %lld", functions[f].name, kind, (long long)rc);
      wrong++;
    }
    is(wrong, 0, functions[f].name);
  }
}

static void call_all(const handle_case *h) {
  int wrong = 0;
  for (size_t f = 0; f < FUNCTIONS; f++) {
    int64_t rc = functions[f].call(h->id);
    if (is_refused(rc, h->stale)) continue;
    note("%s of %s: %lld", functions[f].name, h->name, (long long)rc);
    wrong++;
  }
  is(wrong, 0, h->name);
}

static void test_forged(void) {
  static const char *const kinds[5] = {"driver", "listener", "endpoint", "inbox", "timer"};
  const handle_case plain[] = {{"no handle", 0, 0}, {"the number 1", 1, 0}, {"all ones", UINT64_MAX, 0},
                               {"a pointer", (uint64_t)(uintptr_t)&living, 0}};
  for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
    call_all(&plain[i]);
  for (int kind = 0; kind < 5; kind++) { /* change the index, the generation and the kind of a handle that lives */
    char name[64];
    static const uint64_t changes[] = {UINT64_C(1) << 20,       UINT64_C(0x7fffffff), UINT64_C(1) << 52,
                                       UINT64_C(0xfffff) << 32, UINT64_C(0x40) << 56, UINT64_C(0xff) << 56};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
      snprintf(name, sizeof name, "a %s's handle with bits %#llx changed", kinds[kind], (unsigned long long)changes[i]);
      call_all(&(handle_case){name, living[kind] ^ changes[i], 1});
    }
  }
  is(lyq_close(0, 0), LYQ_EHANDLE, "lyq_close of no handle");
  is(lyq_close(UINT64_MAX, -1), LYQ_EHANDLE, "lyq_close of all ones");
}

static void test_stale(void) {
  static const char *const names[5] = {"a closed driver", "a closed listener", "a closed endpoint", "a closed inbox",
                                       "a closed timer"};
  for (int kind = 0; kind < 5; kind++)
    call_all(&(handle_case){names[kind], living[kind], 1});
  for (int kind = 0; kind < 5; kind++)
    is(lyq_close(living[kind], 0), 0, "lyq_close of what is closed does nothing");
}

/* ---- Arguments. */

static void test_null(lyq_driver d, const pair *p) {
  lyq_endpoint ep;
  lyq_listener l;
  lyq_inbox in = {living[3]};
  lyq_timer t;
  lyq_msg m;
  lyq_claim c;
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  is(lyq_driver_open(NULL, NULL), LYQ_EINVAL, "lyq_driver_open without out");
  is(lyq_listen(d, NULL, &opt, &l), LYQ_EINVAL, "lyq_listen without address");
  is(lyq_listen(d, "mem://n", &opt, NULL), LYQ_EINVAL, "lyq_listen without out");
  is(lyq_dial(d, NULL, &opt, &ep), LYQ_EINVAL, "lyq_dial without address");
  is(lyq_dial(d, "mem://n", &opt, NULL), LYQ_EINVAL, "lyq_dial without out");
  is(lyq_on_recv(p->a.id, -1, NULL, NULL, NULL), LYQ_EINVAL, "lyq_on_recv without function");
  is(lyq_timer_open(d, 0, 0, NULL, NULL, &t), LYQ_EINVAL, "lyq_timer_open without function");
  is(lyq_timer_open(d, 0, 0, on_drop, NULL, NULL), LYQ_EINVAL, "lyq_timer_open without out");
  is(lyq_inbox_open(d, NULL), LYQ_EINVAL, "lyq_inbox_open without out");
  is(lyq_recv(in, NULL, 1, 0), LYQ_EINVAL, "lyq_recv without room");
  is(lyq_recv(in, &m, 0, 0), LYQ_EINVAL, "lyq_recv of no items");
  is(lyq_send(p->a, 0, NULL, 1), LYQ_EINVAL, "lyq_send without data");
  is(lyq_send_wait(p->a, 0, NULL, 1, 0), LYQ_EINVAL, "lyq_send_wait without data");
  is(lyq_wait_room(p->a, LYQ_TAG(4, 0), 1, 0), LYQ_EINVAL, "lyq_wait_room in a lane that is none");
  is(lyq_wait_room(p->a, 0, 1, -2), LYQ_EINVAL, "lyq_wait_room for a time that is none");
  is(lyq_send_lent(p->a, 0, NULL, 1, NULL, NULL), LYQ_EINVAL, "lyq_send_lent without data");
  is(lyq_send_ttl(p->a, 0, NULL, 1, 1), LYQ_EINVAL, "lyq_send_ttl without data");
  is(lyq_send_ttl(p->a, 0, "x", 1, 0), LYQ_EINVAL, "lyq_send_ttl without time");
  is(lyq_send_ttl(p->a, 0, "x", 1, -1), LYQ_EINVAL, "lyq_send_ttl with less than none");
  is(lyq_sendv(p->a, 0, NULL, 1), LYQ_EINVAL, "lyq_sendv without pieces");
  is(lyq_sendv(p->a, 0, &(lyq_buf){NULL, 1}, 1), LYQ_EINVAL, "lyq_sendv of a piece without data");
  is(lyq_claim_open(p->a, 0, 1, NULL), LYQ_EINVAL, "lyq_claim_open without claim");
  is(lyq_commit(p->a, NULL, 1), LYQ_EINVAL, "lyq_commit without claim");
  memset(&c, 0, sizeof c);
  ok(lyq_commit(p->a, &c, 0) < 0, "lyq_commit of a claim that never was");
  is(lyq_release(NULL, 1), LYQ_EINVAL, "lyq_release of nothing");
  is(lyq_release(NULL, 0), 0, "lyq_release of no items");
  is(lyq_discard(NULL, 1), LYQ_EINVAL, "lyq_discard of nothing");
  is(lyq_retain(NULL, &m), LYQ_EINVAL, "lyq_retain of nothing");
  is(lyq_counters(d.id, NULL, 3), LYQ_EINVAL, "lyq_counters without room");
  is(lyq_process_counters(NULL, 1), LYQ_EINVAL, "lyq_process_counters without room");
  ok(lyq_counters(d.id, NULL, 0) == LYQ_W_COUNT, "lyq_counters that only asks how many");
  is(lyq_explain(p->a.id, NULL, 10), LYQ_EINVAL, "lyq_explain without room");
  is(lyq_address(p->a.id, NULL, 10), LYQ_EINVAL, "lyq_address without room");
  is(lyq_has(NULL), 0, "lyq_has of nothing");
  is(lyq_send(p->a, 0, NULL, 0), 0, "an empty message needs no data");
}

static void test_values(lyq_driver d, const pair *p) {
  lyq_claim c;
  is(lyq_send(p->a, LYQ_TAG(4, 0), "x", 1), LYQ_EINVAL, "a lane that does not exist");
  is(lyq_send(p->a, LYQ_TAG(255, 9), "x", 1), LYQ_EINVAL, "nor the last of them");
  is(lyq_send(p->a, 1u << 24, "x", 1), LYQ_EINVAL, "bits of a tag that mean nothing");
  is(lyq_claim_open(p->a, LYQ_TAG(9, 0), 1, &c), LYQ_EINVAL, "a claim in such a lane");
  is(lyq_send(p->a, 0, "x", SIZE_MAX), LYQ_EMSGSIZE, "a message of all memory");
  is(lyq_send(p->a, 0, "x", (size_t)1 << 40), LYQ_EMSGSIZE, "a message of a terabyte");
  is(lyq_claim_open(p->a, 0, SIZE_MAX, &c), LYQ_EMSGSIZE, "a claim of all memory");
  is(lyq_sendv(p->a, 0, (lyq_buf[]){{"x", SIZE_MAX}, {"y", 2}}, 2), LYQ_EMSGSIZE, "pieces whose sum overflows");
  is(lyq_ack(p->a, 0, 0), LYQ_EINVAL, "an acknowledgement by hand of what is acknowledged by itself");
  is(lyq_wait(p->a.id, LYQ_CLOSED, -2), LYQ_EINVAL, "a negative time that is not -1");
  is(lyq_wait(p->a.id, 99, 0), LYQ_EINVAL, "a wait for what is no state");
  is(lyq_on_recv(p->a.id, 3, on_record, NULL, NULL), LYQ_ENOTSUP, "a channel of its own, which this release has not");
  is(lyq_close(p->a.id, -2), LYQ_EINVAL, "a negative linger that is not -1");
  is(lyq_worker_counters(d, 1000, NULL, 0), LYQ_EINVAL, "a worker that does not exist");
  is(lyq_set_worker(p->a, 1000), LYQ_EINVAL, "nor can an endpoint go there");
  is(lyq_set_worker(p->a, -1), LYQ_EINVAL, "nor to a negative one");
  is(lyq_claim_open(p->a, 0, 8, &c), 0, "a claim of 8 bytes");
  is(lyq_commit(p->a, &c, 9), LYQ_EINVAL, "a commit of 9");
  ok(lyq_commit(p->a, &c, 8) >= 0, "leaves the claim as it was");
  ok(lyq_commit(p->a, &c, 8) < 0, "a second commit");
}

/* refused_driver counts one test: that an option is refused, and that the detail names it. */
static void refused_driver(const lyq_driver_opt *opt, const char *word) {
  lyq_driver d;
  int rc = lyq_driver_open(opt, &d);
  ok(rc == LYQ_EINVAL && strstr(lyq_detail(), word) != NULL, "driver option %s is refused: %s", word, lyq_detail());
  if (rc == 0) close_driver(d);
}

static void refused_endpoint(lyq_driver d, const lyq_endpoint_opt *opt, const char *word) {
  lyq_endpoint ep;
  int rc = lyq_dial(d, "mem://nobody", opt, &ep);
  ok(rc == LYQ_EINVAL && strstr(lyq_detail(), word) != NULL, "endpoint option %s is refused: %s", word, lyq_detail());
  if (rc == 0) lyq_close(ep.id, 0);
}

static void test_struct_size(lyq_driver d) {
  static const uint32_t bad[] = {0, 1, 3, UINT32_MAX};
  struct { lyq_endpoint_opt opt; uint64_t of_a_later_release[4]; } later;
  lyq_endpoint ep;
  LYQ_DEFAULTS(lyq_driver_opt, driver);
  LYQ_DEFAULTS(lyq_endpoint_opt, endpoint);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    driver.struct_size = endpoint.struct_size = bad[i];
    refused_driver(&driver, "struct_size");
    refused_endpoint(d, &endpoint, "struct_size");
  }
  memset(&later, 0, sizeof later);
  later.opt.struct_size = sizeof later;
  is(lyq_dial(d, "mem://nobody", &later.opt, &ep), 0, "fields of a later release are taken if they say nothing");
  lyq_close(ep.id, 0);
  later.of_a_later_release[2] = 1;
  ok(lyq_dial(d, "mem://nobody", &later.opt, &ep) < 0, "and refused if they ask for something: %s", lyq_detail());
}

static void test_options(lyq_driver d) {
  lyq_driver_opt o;
  lyq_endpoint_opt e;
  LYQ_DEFAULTS(lyq_driver_opt, driver);
  LYQ_DEFAULTS(lyq_endpoint_opt, endpoint);
  o = driver, o.workers = 65, refused_driver(&o, "workers");
  o = driver, o.busy_poll_us = 1000001, refused_driver(&o, "busy poll");
  o = driver, o.flags = 0x80, refused_driver(&o, "flags");
  o = driver, o.name = "eleven byte", refused_driver(&o, "name");
  o = driver, o.memory_limit = 1, refused_driver(&o, "memory limit");
  o = driver, o.workers = 1, o.cpus = (const int[]){1 << 20}, refused_driver(&o, "CPU");
  e = endpoint, e.worker = 1000, refused_endpoint(d, &e, "worker");
  e = endpoint, e.outbox_bytes = 1, refused_endpoint(d, &e, "outbox");
  e = endpoint, e.outbox_bytes = UINT64_MAX, refused_endpoint(d, &e, "outbox");
  e = endpoint, e.window_bytes = 65535, refused_endpoint(d, &e, "window");
  e = endpoint, e.window_bytes = UINT64_C(1) << 40, refused_endpoint(d, &e, "window");
  e = endpoint, e.max_message = 1000, refused_endpoint(d, &e, "message");
  e = endpoint, e.max_message = UINT64_MAX, refused_endpoint(d, &e, "message");
  e = endpoint, e.keepalive_ms = -2, refused_endpoint(d, &e, "keepalive_ms");
  e = endpoint, e.connect_ms = -1, refused_endpoint(d, &e, "connect_ms");
  e = endpoint, e.ack = 2, refused_endpoint(d, &e, "ack");
  e = endpoint, e.on_restart = 3, refused_endpoint(d, &e, "on_restart");
  e = endpoint, e.recv = on_record, e.inbox.id = living[3], refused_endpoint(d, &e, "inbox");
  e = endpoint, e.recv = on_record, e.lobby.id = living[3], refused_endpoint(d, &e, "lobby");
  e = endpoint, e.lobby.id = living[3], refused_endpoint(d, &e, "lobby");
  e = endpoint, e.inbox.id = 12345;
  lyq_endpoint ep;
  is(lyq_dial(d, "mem://nobody", &e, &ep), LYQ_EHANDLE, "an inbox that is none");
}

/* ---- Inside callbacks. */

static struct {
  int64_t wait, send_wait, wait_room, recv, quiesce, driver_wait, send, close;
  lyq_driver d;
  lyq_inbox in;
} inside;

static int misbehave(recorder *r, const lyq_msg *m, size_t n) {
  lyq_msg pulled;
  (void)r;
  for (size_t i = 0; i < n; i++) {
    if (m[i].kind != LYQ_DATA) continue;
    inside.wait = lyq_wait(m[i].ep.id, LYQ_CLOSED, -1);
    inside.driver_wait = lyq_wait(inside.d.id, LYQ_CLOSED, -1);
    inside.quiesce = lyq_quiesce(m[i].ep.id, -1);
    inside.recv = lyq_recv(inside.in, &pulled, 1, -1);
    inside.send = lyq_send(m[i].ep, 0, "x", 1);
    int64_t rc;
    while ((rc = lyq_send_wait(m[i].ep, 0, m[i].data, m[i].size, -1)) >= 0) {} /* until it would have to wait */
    inside.send_wait = rc;
    inside.wait_room = lyq_wait_room(m[i].ep, 0, m[i].size, -1);
    inside.close = lyq_close(m[i].ep.id, 0);
  }
  return (int)n;
}

static void test_inside_callback(lyq_driver d) {
  pair p;
  static uint8_t data[1000];
  pair_init(&p);
  p.rb.hook = misbehave;
  inside.d = d;
  need(lyq_inbox_open(d, &inside.in) == 0, "an inbox opens");
  pair_open(&p, d, "tcp", NULL, NULL);
  is(lyq_send(p.a, 0, data, sizeof data), 0, "a message to a callback that misbehaves");
  ok(recorder_wait(&p.rb, LYQ_CLOSED, 1), "lyq_close inside a callback ends the endpoint");
  is(inside.wait, LYQ_EDEADLK, "lyq_wait inside a callback");
  is(inside.driver_wait, LYQ_EDEADLK, "lyq_wait for the driver inside a callback");
  is(inside.quiesce, LYQ_EDEADLK, "lyq_quiesce inside a callback");
  is(inside.recv, LYQ_EDEADLK, "lyq_recv inside a callback");
  is(inside.send, 0, "lyq_send inside a callback sends");
  is(inside.send_wait, LYQ_EDEADLK, "lyq_send_wait inside a callback, when it would wait");
  is(inside.wait_room, LYQ_EDEADLK, "lyq_wait_room inside a callback");
  is(inside.close, 0, "lyq_close inside a callback");
  pair_end(&p, "inside a callback");
  lyq_close(inside.in.id, 0);
  pair_free(&p);
}

static int close_the_driver(recorder *r, const lyq_msg *m, size_t n) {
  (void)r;
  for (size_t i = 0; i < n; i++)
    if (m[i].kind == LYQ_DATA) inside.close = lyq_close(inside.d.id, 0);
  return (int)n;
}

static void test_driver_closed_inside(void) {
  pair p;
  lyq_driver d = open_driver(2);
  inside.d = d;
  inside.close = -1;
  pair_init(&p);
  p.rb.hook = close_the_driver;
  pair_open(&p, d, "tcp", NULL, NULL);
  is(lyq_send(p.a, 0, "x", 1), 0, "a message to a callback that closes its driver");
  is(lyq_wait(d.id, LYQ_CLOSED, patience_ms()), 0, "the driver ends");
  is(inside.close, 0, "closed from inside");
  ok(recorder_wait_drop(&p.ra) && recorder_wait_drop(&p.rb), "with its endpoints");
  ok(recorder_faults(&p.ra) == 0 && recorder_faults(&p.rb) == 0, "properly");
  pair_free(&p);
}

/* ---- From many threads at once. */

static void *misuse_thread(void *arg) {
  const handle_case *h = arg;
  int64_t wrong = 0;
  for (int i = 0; i < many(200); i++)
    for (size_t f = 0; f < FUNCTIONS; f++)
      wrong += !is_refused(functions[f].call(h->id), h->stale);
  return (void *)(intptr_t)wrong;
}

static void test_threads(uint64_t stale) {
  enum { THREADS = 64 };
  pthread_t threads[THREADS];
  handle_case cases[2] = {{"stale", stale, 1}, {"forged", UINT64_C(0x0300abcd00001234), 1}};
  intptr_t wrong = 0;
  for (int i = 0; i < THREADS; i++)
    need(pthread_create(&threads[i], NULL, misuse_thread, &cases[i % 2]) == 0, "a thread starts");
  for (int i = 0; i < THREADS; i++) {
    void *of_thread;
    pthread_join(threads[i], &of_thread);
    wrong += (intptr_t)of_thread;
  }
  is(wrong, 0, "64 threads misuse everything at once");
}

/* ---- Addresses. */

/* listen_fails counts one test: that an address cannot be listened at, that the error is one of two, and that the
 * detail names the address. */
static void listen_fails(lyq_driver d, const char *where, int want, int or_else) {
  lyq_listener l;
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  int rc = lyq_listen(d, where, &opt, &l);
  int named = strstr(lyq_detail(), where) != NULL;
  ok((rc == want || rc == or_else) && named, "listening at \"%s\": %s: %s", where, lyq_strerror(rc),
     rc < 0 ? lyq_detail() : "");
  if (rc == 0) lyq_close(l.id, 0);
}

/* dial_fails does the same for dialling, where the error may also come with LYQ_CLOSED. */
static void dial_fails(lyq_driver d, const char *where, int want, int or_else) {
  lyq_endpoint ep;
  recorder r;
  recorder_init(&r);
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  opt.recv = on_record;
  opt.ctx = &r;
  opt.drop = on_drop;
  opt.connect_ms = 3000;
  opt.resume_ms = LYQ_WITH_LINK; /* one attempt */
  char text[300];
  int rc = lyq_dial(d, where, &opt, &ep), at_once = rc < 0;
  snprintf(text, sizeof text, "%s", at_once ? lyq_detail() : "");
  if (rc == 0) {
    need(recorder_wait(&r, LYQ_CLOSED, 1), "dialling %s ends", where);
    seen closed = recorder_item(&r, LYQ_CLOSED, 0);
    rc = closed.code;
    snprintf(text, sizeof text, "%s", closed.text);
    is(lyq_wait(ep.id, LYQ_UP, patience_ms()), LYQ_ECLOSED, "waiting for LYQ_UP is vain");
    lyq_close(ep.id, 0);
    ok(recorder_wait_drop(&r) && recorder_faults(&r) == 0, "it ends like any endpoint");
  }
  int named = strstr(text, where) != NULL;
  ok((rc == want || rc == or_else) && named, "dialling \"%s\": %s: %s", where, lyq_strerror(rc), text);
  recorder_free(&r);
}

static int bound_port(int listening, int *fd) {
  struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof sa;
  *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  need(*fd >= 0 && bind(*fd, (struct sockaddr *)&sa, sizeof sa) == 0, "a socket is bound");
  if (listening) need(listen(*fd, 1) == 0, "and listens");
  getsockname(*fd, (struct sockaddr *)&sa, &length);
  return ntohs(sa.sin_port);
}

static void test_addresses(lyq_driver d) {
  static const char *const unparsable[] = {"", "tcp", "tcp:", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:",
                                           "tcp://127.0.0.1:port", "tcp://127.0.0.1:65536", "tcp://127.0.0.1:-1",
                                           "tcp://:::1", "127.0.0.1:7000", "telegraph://x", "mem://", "fd://", "fd://x",
                                           "fd://-1", "fd://99999", "tcp://127.0.0.1:1/path", "tcp://[::1:7000"};
  char where[64];
  int fd;
  for (size_t i = 0; i < sizeof unparsable / sizeof unparsable[0]; i++) {
    listen_fails(d, unparsable[i], LYQ_EADDR, LYQ_EADDR);
    dial_fails(d, unparsable[i], LYQ_EADDR, LYQ_EADDR);
  }
  dial_fails(d, "tcp://nobody.invalid:7000", LYQ_EADDR, LYQ_ETIMEDOUT);
  listen_fails(d, "tcp://nobody.invalid:7000", LYQ_EADDR, LYQ_ETIMEDOUT);
  snprintf(where, sizeof where, "tcp://127.0.0.1:%d", bound_port(1, &fd));
  listen_fails(d, where, LYQ_EBUSY, LYQ_EBUSY);
  close(fd);
  snprintf(where, sizeof where, "tcp://127.0.0.1:%d", bound_port(0, &fd));
  dial_fails(d, where, LYQ_EREFUSED, LYQ_EREFUSED);
  close(fd);
  dial_fails(d, "mem://nobody-listens", LYQ_EREFUSED, LYQ_EREFUSED);
  dial_fails(d, "tcp://255.255.255.255:7000", LYQ_EUNREACH, LYQ_EADDR);
  dial_fails(d, "tcp://127.0.0.1:0", LYQ_EADDR, LYQ_EREFUSED);
  lyq_listener l;
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  need(lyq_listen(d, "mem://taken", &opt, &l) == 0, "a name is taken");
  listen_fails(d, "mem://taken", LYQ_EBUSY, LYQ_EBUSY);
  lyq_close(l.id, 0);
}

int main(void) {
  pair p;
  tap_begin();
  lyq_driver d = open_driver(2), of_living = open_driver(2);
  open_living(of_living, &p);
  test_other_kinds();
  test_forged();
  test_null(of_living, &p);
  test_values(of_living, &p);
  test_struct_size(d);
  test_options(d);
  ok(lyq_send_wait(p.a, 0, "alive", 5, patience_ms()) >= 0, "the endpoint beside all this still sends");
  int64_t last = lyq_send_wait(p.a, 0, "and well", 8, patience_ms());
  ok(until(recorder_item(&p.rb, LYQ_DATA, (int)last).id == (uint64_t)last), "and its peer receives");
  pair_end(&p, "misused");
  for (int i = 1; i < 5; i++)
    lyq_close(living[i], 0);
  close_driver(of_living);
  test_stale();
  test_inside_callback(d);
  test_driver_closed_inside();
  test_threads(living[2]);
  test_addresses(d);
  close_driver(d);
  pair_free(&p);
  return tap_end();
}
