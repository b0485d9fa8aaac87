/* soak: a program that lives long and does what such programs do, so that what it holds can be watched from outside:
 * steady talk with other programs of its kind, endpoints that come and go, listeners, inboxes, timers, pauses, loans,
 * drivers. --help says how it is run; soak.py runs three of them and judges. */
#define _GNU_SOURCE 1
#include "common.h"
#include "message.h"
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <unistd.h>

enum {
  TARGETS = 4,             /* other programs */
  ANSWER_EVERY = 4,        /* one message in so many is answered */
  PAUSE_EVERY = 5000,      /* one batch in so many is not taken at once */
  END_MS = 120000,         /* bound on what has to come to an end */
  RESUME_MS = 5000         /* how long an endpoint waits for a peer that was killed; short, or they would heap up */
};

static const char usage[] =
  "usage: soak --listen ADDRESS [--connect ADDRESS]... [OPTION...]\n"
  "\n"
  "Says on standard error where it listens, with endpoints that call back and with such that are pulled. Then answers\n"
  "each line of standard input with a line of JSON; when that is closed it ends, and reports once more. The line hush\n"
  "stops it from beginning anything, until another line comes.\n"
  "\n"
  "  --listen ADDRESS    twice: for callbacks, and for an inbox\n"
  "  --connect ADDRESS   of another soak; up to 4\n"
  "  --rate N            messages to each of them in a second (500)\n"
  "  --seed N            of everything that is random, but for threads (1)\n"
  "  --help\n"
  "\n"
  "Exit status: 0 nothing was wrong and nothing is left; 1 else; 2 wrong usage.\n";

static struct {
  const char *listen[2], *connect[TARGETS];
  int listens, connects;
  uint64_t rate, seed;
} opt = {.rate = 500, .seed = 1};

static struct {
  lyq_driver driver;
  lyq_inbox inbox;
  int over, hushed;        /* atomic, as all below */
  uint64_t sent, received, refused, wrong, ups, downs, restarts, accepted, timers;
  int64_t peers, loans;    /* contexts that are not dropped; messages that are not given back */
} soak;

static void add(uint64_t *counter, uint64_t n) { __atomic_fetch_add(counter, n, __ATOMIC_RELAXED); }

static int is_over(void) { return __atomic_load_n(&soak.over, __ATOMIC_RELAXED); }

/* wrong counts what must not happen, and says it; not more often than somebody would read. */
__attribute__((format(printf, 1, 2))) static void wrong(const char *format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (__atomic_fetch_add(&soak.wrong, 1, __ATOMIC_RELAXED) < 20) fprintf(stderr, "soak: %s\n", text);
}

/* expect is for calls that have no reason to fail. */
static int expect(const char *what, int64_t rc) {
  if (rc < 0) wrong("%s: %s: %s", what, lyq_strerror((int)rc), lyq_detail());
  return rc >= 0;
}

static void nap(int64_t ns) { nanosleep(&(struct timespec){ns / 1000000000, ns % 1000000000}, NULL); }

static uint64_t draw(uint64_t *state) { return mix64(*state += UINT64_C(0x9e3779b97f4a7c15)); }

/* ---- Peers: what is known of an endpoint. It is the endpoint's context. */

typedef struct peer {
  lyq_endpoint ep;
  int dialled;
  int users;               /* the endpoint, and who dialled it; atomic */
  pthread_mutex_t sending;
  uint64_t number[LANES];  /* of the next message that is sent */
  uint64_t next[LANES];    /* of the next that should arrive; where known is set */
  int known[LANES];
  uint64_t random;         /* of who receives */
} peer;

static peer *peer_new(int dialled) {
  peer *p = calloc(1, sizeof *p);
  if (p == NULL) abort();
  p->dialled = dialled;
  p->users = 1 + dialled;
  p->random = opt.seed;
  pthread_mutex_init(&p->sending, NULL);
  __atomic_fetch_add(&soak.peers, 1, __ATOMIC_RELAXED);
  return p;
}

static void peer_drop(void *ctx) {
  peer *p = ctx;
  if (p == NULL || __atomic_sub_fetch(&p->users, 1, __ATOMIC_ACQ_REL) > 0) return;
  pthread_mutex_destroy(&p->sending);
  free(p);
  __atomic_fetch_sub(&soak.peers, 1, __ATOMIC_RELAXED);
}

/* ---- Sending. */

static void on_given_back(void *lent) {
  memset(lent, 0xee, 8); /* whoever still reads it reads damage */
  free(lent);
  __atomic_fetch_sub(&soak.loans, 1, __ATOMIC_RELAXED);
}

/* lend gives the message's memory to the library, or frees it. */
static int64_t lend(lyq_endpoint ep, lyq_tag tag, uint8_t *message, size_t size) {
  __atomic_fetch_add(&soak.loans, 1, __ATOMIC_RELAXED);
  int64_t id = lyq_send_lent(ep, tag, message, size, on_given_back, message);
  if (id < 0) {
    __atomic_fetch_sub(&soak.loans, 1, __ATOMIC_RELAXED);
    free(message);
  }
  return id;
}

/* build makes the message in the library's memory, with room to spare. */
static int64_t build(lyq_endpoint ep, lyq_tag tag, const uint8_t *message, size_t size) {
  lyq_claim c;
  int rc = lyq_claim_open(ep, tag, size + 64, &c);
  if (rc < 0) return rc;
  memcpy(c.data, message, size);
  return lyq_commit(ep, &c, size);
}

/* hand_over sends a message in one of the ways there are; its memory is gone afterwards. */
static int64_t hand_over(lyq_endpoint ep, lyq_tag tag, uint8_t *message, size_t size, uint64_t dice) {
  int64_t id;
  lyq_buf parts[2] = {{message, size / 2}, {message + size / 2, size - size / 2}};
  switch (dice % 4) {
  case 0: return lend(ep, tag, message, size);
  case 1: id = lyq_sendv(ep, tag, parts, 2); break;
  case 2: id = build(ep, tag, message, size); break;
  default: id = lyq_send(ep, tag, message, size);
  }
  free(message);
  return id;
}

/* size_of draws the size of a message: mostly small, now and then long. */
static size_t size_of(uint64_t dice) {
  size_t low = sizeof(message_head);
  if (dice % 100 < 70) return low + (dice >> 8) % 224;
  if (dice % 100 < 95) return low + (dice >> 8) % (16 << 10);
  if (dice % 100 < 99) return low + (dice >> 8) % (64 << 10);
  return (100 << 10) + (dice >> 8) % (900 << 10);
}

/* say sends a peer its next message on a lane that dice choose. What is refused keeps its number. The result is that
 * of lyq_send. */
static int64_t say(peer *p, uint64_t dice, size_t size) {
  int lane = (int)(dice >> 40) % LANES;
  uint8_t *message = malloc(size);
  if (message == NULL) abort();
  pthread_mutex_lock(&p->sending);
  uint64_t number = p->number[lane];
  message_make(message, message_flow(1, p->dialled, lane), lane, number, size, 0);
  int64_t id = hand_over(p->ep, LYQ_TAG(lane, (uint16_t)number), message, size, dice >> 32);
  if (id >= 0) p->number[lane]++;
  pthread_mutex_unlock(&p->sending);
  if (id >= 0 && (uint64_t)id != number)
    wrong("message %llu was numbered %lld", (unsigned long long)number, (long long)id);
  if (id >= 0) add(&soak.sent, 1);
  else if (id == LYQ_EAGAIN) add(&soak.refused, 1);
  else if (id != LYQ_ECLOSED) wrong("send of %zu bytes: %s", size, lyq_strerror((int)id));
  return id;
}

/* ---- Receiving. */

static void on_data(peer *p, const lyq_msg *m) {
  message_head h;
  int lane = LYQ_LANE(m->tag);
  if (lane >= LANES || !message_read(m, message_flow(1, !p->dialled, lane), &h)) {
    wrong("message %llu of lane %d is not as it was sent", (unsigned long long)m->id, lane);
    return;
  }
  if (p->known[lane] && m->id != p->next[lane])
    wrong("message %llu of lane %d came, %llu should", (unsigned long long)m->id, lane,
          (unsigned long long)p->next[lane]);
  p->known[lane] = 1;
  p->next[lane] = m->id + 1;
  add(&soak.received, 1);
  uint64_t dice = draw(&p->random);
  if (!p->dialled && dice % ANSWER_EVERY == 0) say(p, dice, size_of(dice >> 12));
}

/* on_accepted gives an endpoint its context, and returns that. */
static peer *on_accepted(lyq_endpoint ep) {
  peer *p = peer_new(0);
  p->ep = ep;
  add(&soak.accepted, 1);
  int rc = lyq_set_ctx(ep.id, p, peer_drop);
  if (rc == 0) return p;
  peer_drop(p);
  if (rc != LYQ_ECLOSED) expect("set_ctx", rc);
  return NULL;
}

static void on_event(peer *p, const lyq_msg *m) {
  switch (m->kind) {
  case LYQ_UP: add(&soak.ups, 1); break;
  case LYQ_DOWN: add(&soak.downs, 1); break;
  case LYQ_TIMER: add(&soak.timers, 1); break;
  case LYQ_RESTARTED:
    add(&soak.restarts, 1);
    memset(p->known, 0, sizeof p->known);
    break;
  default: break;
  }
}

/* on_item handles an item, and returns what is its endpoint's context from then on. */
static peer *on_item(const lyq_msg *m) {
  peer *p = m->ctx;
  if (m->kind == LYQ_ACCEPTED) return on_accepted(m->ep);
  if (m->kind != LYQ_DATA) on_event(p, m);
  else if (p != NULL) on_data(p, m);
  return p;
}

static void on_time_to_resume(void *ctx) {
  add(&soak.timers, 1);
  lyq_resume((uint64_t)(uintptr_t)ctx); /* it may have ended */
}

/* on_items is the callback. Now and then it takes less than there is, and goes on a little later. */
static int on_items(void *ctx, const lyq_msg *m, size_t n) {
  (void)ctx;
  static uint64_t batches;
  lyq_timer timer;
  size_t take = n;
  if (m->kind == LYQ_DATA && __atomic_add_fetch(&batches, 1, __ATOMIC_RELAXED) % PAUSE_EVERY == 0) {
    int64_t at = lyq_now(soak.driver) + 5000000;
    int rc = lyq_timer_open(soak.driver, 0, at, on_time_to_resume, (void *)(uintptr_t)m->ep.id, &timer);
    if (rc == 0) take = n / 2;
    else if (rc != LYQ_ECLOSED) expect("timer", rc);
  }
  for (size_t i = 0; i < take; i++)
    on_item(&m[i]);
  return (int)take;
}

/* puller is a thread that pulls. */
typedef struct puller {
  lyq_inbox inbox;
  uint64_t random;
  int over;                /* atomic */
} puller;

/* pull takes from an inbox until it is over or that is closed, and keeps what it took for a moment now and then. */
static void pull(puller *own) {
  lyq_msg m[32];
  while (!__atomic_load_n(&own->over, __ATOMIC_ACQUIRE)) {
    int n = lyq_recv(own->inbox, m, 32, 1000);
    if (n == LYQ_ETIMEDOUT || n == LYQ_EINTR) continue;
    if (n == LYQ_ECLOSED) return;
    if (!expect("recv", n)) return;
    for (int i = 0; i < n; i++) {
      peer *p = on_item(&m[i]);
      for (int j = i + 1; j < n && m[i].kind == LYQ_ACCEPTED; j++)
        if (m[j].ep.id == m[i].ep.id) m[j].ctx = p;
    }
    if (draw(&own->random) % PAUSE_EVERY == 0) nap(20000000);
    lyq_release(m, (size_t)n);
  }
}

/* ---- What the program does: each act is a thread that does one thing again and again. */

typedef struct act {
  void (*perform)(struct act *a); /* once */
  const char *address;     /* whom it concerns */
  int64_t pause;           /* nanoseconds between two performances */
  uint64_t random, round;
  peer *steady;
  pthread_t thread;
} act;

static void *run_act(void *arg) {
  act *a = arg;
  for (; !is_over(); a->round++) {
    do nap(a->pause);
    while (__atomic_load_n(&soak.hushed, __ATOMIC_RELAXED) && !is_over());
    a->perform(a);
  }
  return NULL;
}

static lyq_endpoint_opt endpoint_options(void) {
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  o.recv = on_items;
  o.resume_ms = RESUME_MS;
  o.keepalive_ms = 2000;
  o.drop = peer_drop;
  return o;
}

/* dial opens an endpoint whose context is a peer, which the caller drops, too. NULL if it could not be done. */
static peer *dial(lyq_driver d, const char *address, lyq_endpoint_opt o) {
  peer *p = peer_new(1);
  o.ctx = p;
  pthread_mutex_lock(&p->sending);
  int rc = lyq_dial(d, address, &o, &p->ep);
  pthread_mutex_unlock(&p->sending);
  if (expect(address, rc)) return p;
  peer_drop(p);
  peer_drop(p);
  return NULL;
}

/* await is lyq_wait that no signal ends. */
static int await(uint64_t id, int until, int timeout_ms) {
  int rc;
  do rc = lyq_wait(id, until, timeout_ms);
  while (rc == LYQ_EINTR);
  return rc;
}

/* ended closes something and waits for its end. */
static void ended(const char *what, uint64_t id, int linger_ms) {
  lyq_close(id, linger_ms);
  expect(what, await(id, LYQ_CLOSED, END_MS));
}

/* talk_steadily sends what is due to an endpoint that stays until the other program says that it ends. */
static void talk_steadily(act *a) {
  if (a->steady == NULL) {
    lyq_endpoint_opt o = endpoint_options();
    o.resume_ms = LYQ_FOR_EVER;
    if ((a->steady = dial(soak.driver, a->address, o)) == NULL) return;
  }
  uint64_t due = opt.rate * (uint64_t)a->pause / 1000000000;
  int64_t id = 0;
  for (uint64_t i = 0; id >= 0 && (i < due || i == 0); i++) {
    uint64_t dice = draw(&a->random);
    id = say(a->steady, dice, size_of(dice >> 12));
  }
  if (id != LYQ_ECLOSED) return;
  peer_drop(a->steady);
  a->steady = NULL;
}

/* visit dials, says something, and leaves in one of the ways there are. */
static void visit(act *a) {
  uint64_t dice = draw(&a->random);
  peer *p = dial(soak.driver, a->address, endpoint_options());
  if (p == NULL) return;
  lyq_endpoint ep = p->ep;
  int rc = dice % 8 == 0 ? 0 : await(ep.id, LYQ_UP, 1000);
  for (uint64_t i = 0; rc == 0 && i < dice % 50; i++) {
    uint64_t more = draw(&a->random);
    if (say(p, more, size_of(more >> 12)) < 0) break;
  }
  if (rc == 0 && dice % 4 == 1) lyq_end(ep);
  if (rc == 0 && dice % 4 > 1) await(ep.id, LYQ_ACKED, 1000);
  ended("a visitor's end", ep.id, dice % 3 == 0 ? 0 : 1000);
  peer_drop(p);
}

static void count_timer(void *ctx) {
  (void)ctx;
  add(&soak.timers, 1);
}

/* keep_time has timers of every kind: such that are due, and such that are closed before. */
static void keep_time(const act *a, lyq_driver d, lyq_inbox in, lyq_endpoint ep) {
  const uint64_t with[3] = {0, in.id, ep.id};
  lyq_timer t[6];
  int opened = 0;
  for (int i = 0; i < 6; i++) {
    int64_t at = lyq_now(d) + (i % 2 == 0 ? 1000000 : INT64_C(3600000000000));
    if (!expect("timer", lyq_timer_open(d, with[i / 2], at, count_timer, NULL, &t[i]))) break;
    opened++;
  }
  if (a->round % 2 == 0) nap(2000000);
  for (int i = 0; i < opened; i++)
    lyq_close(t[i].id, 0);
}

static void stand_still(lyq_endpoint ep) {
  int rc;
  do rc = lyq_quiesce(ep.id, END_MS);
  while (rc == LYQ_EINTR);
  if (expect("quiesce", rc)) lyq_resume(ep.id);
}

static void *run_puller(void *arg) {
  pull(arg);
  return NULL;
}

/* dismiss ends a puller and its inbox, in which things may lie. The thread goes first: with the inbox go contexts, and
 * it may be at work on items that have them. */
static void dismiss(lyq_driver d, puller *in, pthread_t thread) {
  lyq_timer wake;
  __atomic_store_n(&in->over, 1, __ATOMIC_RELEASE);
  expect("timer", lyq_timer_open(d, in->inbox.id, 0, NULL, NULL, &wake));
  pthread_join(thread, NULL);
  ended("an inbox's end", in->inbox.id, 0);
}

/* live_alone is a whole life inside the process: a listener, an inbox and endpoints to itself, all closed again, in
 * another order every time. */
static void live_alone(const act *a, lyq_driver d) {
  char address[128];
  pthread_t thread;
  lyq_listener l;
  lyq_endpoint_opt o = endpoint_options(), accepted = endpoint_options();
  puller in = {{0}, a->random, 0};
  accepted.drop = NULL;
  if (!expect("inbox", lyq_inbox_open(d, &in.inbox))) return;
  if (a->round % 2 == 0) accepted.recv = NULL, accepted.inbox = in.inbox;
  else o.recv = NULL, o.inbox = in.inbox;
  if (!expect("listen", lyq_listen(d, a->round % 3 == 0 ? "tcp://127.0.0.1:0" : a->address, &accepted, &l))) return;
  if (!expect("address", lyq_address(l.id, address, sizeof address))) return;
  if (pthread_create(&thread, NULL, run_puller, &in) != 0) abort();
  peer *p = dial(d, address, o);
  if (p == NULL) return;
  lyq_endpoint ep = p->ep;
  expect("up", await(ep.id, LYQ_UP, END_MS));
  uint64_t random = a->random;
  for (int i = 0; i < 30; i++) {
    uint64_t dice = draw(&random);
    say(p, dice, size_of(dice >> 12));
  }
  keep_time(a, d, in.inbox, ep);
  if (a->round % 5 == 0) stand_still(ep);
  if (a->round % 4 == 0) dismiss(d, &in, thread);
  if (a->round % 2 == 0) lyq_close(l.id, 0);
  ended("an endpoint's end", ep.id, a->round % 4 == 0 ? 0 : 2000);
  ended("a listener's end", l.id, 0);
  if (a->round % 4 != 0) dismiss(d, &in, thread);
  peer_drop(p);
}

static void live_in_the_driver(act *a) {
  draw(&a->random);
  live_alone(a, soak.driver);
}

/* live_in_a_driver opens one of its own, too, and closes it over everything. */
static void live_in_a_driver(act *a) {
  lyq_driver d;
  LYQ_DEFAULTS(lyq_driver_opt, o);
  o.workers = 1;
  draw(&a->random);
  if (!expect("driver", lyq_driver_open(&o, &d))) return;
  live_alone(a, d);
  ended("a driver's end", d.id, 0);
}

/* ---- The run. */

/* report prints what the program holds, and what it has done. What the C library keeps of freed memory for later, in as
 * many places as there are threads, goes back to the system first: it is held, but not by anybody. */
static void report(void) {
  malloc_trim(0);
  uint64_t p[LYQ_P_COUNT] = {0};
  expect("counters", lyq_process_counters(p, LYQ_P_COUNT));
  struct mallinfo2 c = mallinfo2();
  printf("{\"malloc_bytes\":%zu,\"handles\":%llu,\"log_bytes\":%llu,\"block_bytes\":%llu,"
         "\"parcels\":%llu,\"heap_bytes\":%llu,"
         "\"goroutines\":%llu,\"peers\":%lld,\"loans\":%lld,\"sent\":%llu,\"received\":%llu,\"refused\":%llu,"
         "\"accepted\":%llu,\"ups\":%llu,\"downs\":%llu,\"restarts\":%llu,\"timers\":%llu,\"wrong\":%llu}\n",
         c.uordblks + c.hblkhd, (unsigned long long)p[LYQ_P_HANDLES], (unsigned long long)p[LYQ_P_LOG_BYTES],
         (unsigned long long)p[LYQ_P_BLOCK_BYTES], (unsigned long long)p[LYQ_P_PARCELS],
         (unsigned long long)p[LYQ_P_HEAP_BYTES], (unsigned long long)p[LYQ_P_GOROUTINES],
         (long long)__atomic_load_n(&soak.peers, __ATOMIC_RELAXED),
         (long long)__atomic_load_n(&soak.loans, __ATOMIC_RELAXED), (unsigned long long)soak.sent,
         (unsigned long long)soak.received, (unsigned long long)soak.refused, (unsigned long long)soak.accepted,
         (unsigned long long)soak.ups, (unsigned long long)soak.downs, (unsigned long long)soak.restarts,
         (unsigned long long)soak.timers, (unsigned long long)soak.wrong);
  fflush(stdout);
}

/* open_doors listens, for callbacks and for the inbox. */
static void open_doors(void) {
  char address[128];
  for (int i = 0; i < 2; i++) {
    lyq_listener l;
    lyq_endpoint_opt o = endpoint_options();
    o.drop = NULL;
    if (i == 1) o.recv = NULL, o.inbox = soak.inbox;
    if (!expect(opt.listen[i], lyq_listen(soak.driver, opt.listen[i], &o, &l)) ||
        !expect("address", lyq_address(l.id, address, sizeof address)))
      exit(1);
    fprintf(stderr, "%s on %s\n", i == 0 ? "listening" : "pulling", address);
  }
}

/* left counts what the library and the program still hold when all is closed. */
static uint64_t left(void) {
  uint64_t p[LYQ_P_COUNT] = {0};
  expect("counters", lyq_process_counters(p, LYQ_P_COUNT));
  return p[LYQ_P_HANDLES] + p[LYQ_P_LOG_BYTES] + p[LYQ_P_BLOCK_BYTES] + p[LYQ_P_PARCELS] +
         (uint64_t)__atomic_load_n(&soak.peers, __ATOMIC_RELAXED) +
         (uint64_t)__atomic_load_n(&soak.loans, __ATOMIC_RELAXED);
}

static void close_all(puller *own, pthread_t thread) {
  dismiss(soak.driver, own, thread);
  ended("the driver's end", soak.driver.id, 1000);
  int64_t until = clock_ns() + (int64_t)END_MS * 1000000;
  while (left() != 0 && clock_ns() < until) /* a slot is free a moment after its waiters were told */
    nap(1000000);
}

static void answer_questions(void) {
  char line[64];
  while (fgets(line, sizeof line, stdin) != NULL) {
    __atomic_store_n(&soak.hushed, strcmp(line, "hush\n") == 0, __ATOMIC_RELAXED);
    report();
  }
}

static void live(void) {
  static act acts[2 * TARGETS + 3];
  pthread_t puller_thread;
  puller own = {{0}, opt.seed, 0};
  int n = 0;
  if (!expect("driver", lyq_driver_open(NULL, &soak.driver))) exit(1);
  if (!expect("inbox", lyq_inbox_open(soak.driver, &own.inbox))) exit(1);
  soak.inbox = own.inbox;
  if (pthread_create(&puller_thread, NULL, run_puller, &own) != 0) abort();
  open_doors();
  for (int i = 0; i < opt.connects; i++) {
    acts[n++] = (act){.perform = talk_steadily, .address = opt.connect[i], .pause = 10000000};
    acts[n++] = (act){.perform = visit, .address = opt.connect[i], .pause = 100000000};
  }
  acts[n++] = (act){.perform = live_in_the_driver, .address = "mem://alone", .pause = 200000000};
  acts[n++] = (act){.perform = live_in_a_driver, .address = "mem://another", .pause = 2000000000};
  for (int i = 0; i < n; i++) {
    acts[i].random = opt.seed + (uint64_t)i;
    if (pthread_create(&acts[i].thread, NULL, run_act, &acts[i]) != 0) abort();
  }
  answer_questions();
  __atomic_store_n(&soak.over, 1, __ATOMIC_RELAXED);
  for (int i = 0; i < n; i++)
    pthread_join(acts[i].thread, NULL);
  for (int i = 0; i < n; i++)
    peer_drop(acts[i].steady);
  close_all(&own, puller_thread);
}

static void refuse(const char *text) {
  fprintf(stderr, "soak: %s\n\n%s", text, usage);
  exit(2);
}

static void parse(int argc, char **argv) {
  static const struct option longs[] = {
    {"listen", required_argument, NULL, 'l'}, {"connect", required_argument, NULL, 'c'},
    {"rate", required_argument, NULL, 'r'}, {"seed", required_argument, NULL, 's'},
    {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
  int option;
  while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1)
    switch (option) {
    case 'l': if (opt.listens == 2) refuse("--listen is allowed twice"); opt.listen[opt.listens++] = optarg; break;
    case 'c':
      if (opt.connects == TARGETS) refuse("--connect is allowed 4 times");
      opt.connect[opt.connects++] = optarg;
      break;
    case 'r': if (!parse_count(optarg, 1, 1000000, &opt.rate)) refuse("--rate: 1 to 1000000 is allowed"); break;
    case 's': if (!parse_count(optarg, 0, UINT64_MAX, &opt.seed)) refuse("--seed: a number is allowed"); break;
    case 'h': fputs(usage, stdout); exit(0);
    default: refuse("unknown option");
    }
  if (optind != argc || opt.listens != 2) refuse("--listen is required twice");
}

int main(int argc, char **argv) {
  /* With an arena for each thread, what glibc keeps of them grows for hours, and hides what a leak would add. */
  mallopt(M_ARENA_MAX, 1);
  parse(argc, argv);
  live();
  report();
  return left() != 0 || soak.wrong != 0;
}
