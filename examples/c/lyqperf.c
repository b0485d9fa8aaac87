/* lyqperf: throughput and round trip between two processes. --help says how.
 *
 * thr: the connector opens N endpoints, sends COUNT messages over them from one thread, ends them, and waits until the
 * listener has told on each how many arrived. The listener counts in its callback and copies nothing. What a run is,
 * the connector tells in a first message on channel PLAN of each endpoint, so that the listener needs no arguments.
 * lat: one message at a time goes there and back in the urgent lane, from callback to callback, or between threads that
 * pull; with --beside while long messages fill the bulk lane, each lent again as soon as the peer has consumed one. */
#define _GNU_SOURCE 1
#include "common.h"
#include <getopt.h>
#include <semaphore.h>

enum { DATA = 0, PLAN = 1, REPORT = 2 };        /* channels */
enum { WAIT_MS = 10000, BATCH = 64, ENDPOINTS_MAX = 4096 };
enum { BESIDE_MAX = 32 << 20, OUTBOX_MAX = 128 << 20 };

static const char usage[] =
  "usage: lyqperf thr --listen ADDRESS | --connect ADDRESS [OPTION...]    messages and bytes per second\n"
  "       lyqperf lat --listen ADDRESS | --connect ADDRESS [OPTION...]    round trip of one message at a time\n"
  "\n"
  "Start the listener first; with port 0 it says on standard error where it listens. Both report, then exit.\n"
  "\n"
  "  --size BYTES        of a message, 1 to 1048576 (64 if not given); thr, lat: of the connector\n"
  "  --count MESSAGES    in all (1000000; lat 100000); of the connector\n"
  "  --endpoints N       to spread the messages over, 1 to 4096 (1); thr: of the connector\n"
  "  --from WHERE        where messages are received, and lat: answered: callback (default), thread, or batch (a\n"
  "                      thread that gives all back at once that it pulled at once); both sides take it\n"
  "  --beside BYTES      lat: messages of so many bytes fill the bulk lane meanwhile, 1 to 33554432; of the connector\n"
  "  --every US          lat: a round trip begins no sooner than that after the last one did (0); of the connector\n"
  "  --workers N         threads of the driver (2)\n"
  "  --busy-poll US      how long an idle worker looks for work before it sleeps (0)\n"
  "  --outbox BYTES      cap on what waits to be sent or acknowledged, for each endpoint (the library's default)\n"
  "  --json              print one line of JSON instead of words\n"
  "  --help, --version\n"
  "\n"
  "Exit status: 0 done; 1 wrong usage; 2 failed.\n";

typedef struct {
  const char *address;
  int latency, listen, from_thread, batch, json;
  uint64_t size, count, endpoints, workers, busy_poll, outbox, beside, every;
} options;

static options opt = {NULL, 0, -1, 0, 0, 0, 64, 0, 1, 2, 0, 0, 0, 0};
static lyq_driver driver;
static sem_t done;              /* posted by a callback when the run is over */
static int failure;             /* enum lyq_err of the first endpoint that ended badly */
static char failure_text[320];

/* die ends the process: a benchmark that goes on after an error measures something else. */
static void die(const char *what, int rc) {
  fprintf(stderr, "lyqperf: %s: %s: %s\n", what, lyq_strerror(rc), lyq_detail());
  exit(2);
}

static void check(const char *what, int64_t rc) {
  if (rc < 0) die(what, (int)rc);
}

/* note_closed keeps the first reason that is none of order; the main thread reports it. */
static void note_closed(const lyq_msg *m) {
  int none = 0;
  if (m->code == LYQ_OK) return;
  if (!__atomic_compare_exchange_n(&failure, &none, m->code, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) return;
  snprintf(failure_text, sizeof failure_text, "%s", closed_text(m));
  sem_post(&done);
}

static void await_done(void) {
  while (sem_wait(&done) != 0) {} /* EINTR */
  int code = __atomic_load_n(&failure, __ATOMIC_ACQUIRE);
  if (code == 0) return;
  fprintf(stderr, "lyqperf: %s: %s: %s\n", opt.address, lyq_strerror(code), failure_text);
  exit(2);
}

static void open_driver(void) {
  LYQ_DEFAULTS(lyq_driver_opt, o);
  o.workers = (uint32_t)opt.workers;
  o.busy_poll_us = (uint32_t)opt.busy_poll;
  check("driver", lyq_driver_open(&o, &driver));
}

static void listen_at(const lyq_endpoint_opt *accepted) {
  lyq_listener listener;
  char address[256];
  check(opt.address, lyq_listen(driver, opt.address, accepted, &listener));
  check("address", lyq_address(listener.id, address, sizeof address));
  fprintf(stderr, "listening on %s\n", address);
}

static lyq_endpoint dial(lyq_recv_fn recv, lyq_inbox inbox) {
  lyq_endpoint ep;
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  o.outbox_bytes = opt.outbox;
  o.resume_ms = LYQ_WITH_LINK; /* a run that lost its connection is no measurement */
  if (opt.beside > 0) o.outbox_bytes = OUTBOX_MAX;
  o.recv = recv;
  o.inbox = inbox;
  check(opt.address, lyq_dial(driver, opt.address, &o, &ep));
  return ep;
}

static void *buffer_of(uint64_t size) {
  void *p = calloc(1, size);
  if (p == NULL) die("memory", LYQ_ENOMEM);
  return p;
}

/* ---- Throughput, listening. */

typedef struct { uint64_t endpoints, count, size; } plan;

static struct {
  plan plan;
  uint64_t messages, bytes, endpoints_ended;
  int64_t first, last;          /* clock_ns of the first and the last batch with data */
} tally;

static void count_batch(uint64_t messages, uint64_t bytes) {
  int64_t none = 0, now = clock_ns();
  __atomic_compare_exchange_n(&tally.first, &none, now, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  __atomic_store_n(&tally.last, now, __ATOMIC_RELAXED);
  __atomic_fetch_add(&tally.bytes, bytes, __ATOMIC_RELAXED);
  __atomic_fetch_add(&tally.messages, messages, __ATOMIC_RELAXED);
}

static void ended(lyq_endpoint ep) {
  uint64_t total = __atomic_add_fetch(&tally.endpoints_ended, 1, __ATOMIC_ACQ_REL);
  uint64_t messages = __atomic_load_n(&tally.messages, __ATOMIC_RELAXED);
  lyq_send(ep, LYQ_TAG(LYQ_NORMAL, REPORT), &messages, sizeof messages);
  lyq_end(ep);
  if (total == __atomic_load_n(&tally.plan.endpoints, __ATOMIC_RELAXED)) sem_post(&done);
}

static int on_throughput(void *ctx, const lyq_msg *m, size_t n) {
  uint64_t messages = 0, bytes = 0;
  (void)ctx;
  for (size_t i = 0; i < n; i++) {
    if (m[i].kind == LYQ_DATA && LYQ_CHANNEL(m[i].tag) == DATA) {
      messages++;
      bytes += m[i].size;
    } else if (m[i].kind == LYQ_DATA && m[i].size == sizeof tally.plan) {
      const plan *told = (const plan *)(const void *)m[i].data; /* data is aligned; all endpoints tell the same */
      __atomic_store_n(&tally.plan.endpoints, told->endpoints, __ATOMIC_RELAXED);
      __atomic_store_n(&tally.plan.size, told->size, __ATOMIC_RELAXED);
      __atomic_store_n(&tally.plan.count, told->count, __ATOMIC_RELAXED);
    } else if (m[i].kind == LYQ_ENDED) {
      if (messages > 0) count_batch(messages, bytes);
      messages = bytes = 0;
      ended(m[i].ep);
    } else if (m[i].kind == LYQ_CLOSED) {
      note_closed(&m[i]);
    }
  }
  if (messages > 0) count_batch(messages, bytes);
  return (int)n;
}

static void report_throughput(const char *role, const plan *p, uint64_t messages, uint64_t bytes, int64_t ns) {
  uint64_t w[LYQ_W_COUNT] = {0};
  double seconds = (double)(ns > 0 ? ns : 1) / 1e9;
  check("counters", lyq_counters(driver.id, w, LYQ_W_COUNT));
  const char *format = opt.json
    ? "{\"role\":\"%s\",\"mode\":\"thr\",\"size\":%llu,\"count\":%llu,\"messages\":%llu,\"bytes\":%llu,"
      "\"seconds\":%.6f,\"messages_per_s\":%.0f,\"mb_per_s\":%.3f,\"endpoints\":%llu,"
      "\"reads\":%llu,\"writes\":%llu,\"sleeps\":%llu,\"syscalls\":%llu}\n"
    : "%s: size %llu, count %llu: %llu messages, %llu bytes in %.3f s: %.0f messages/s, %.1f MB/s; "
      "%llu endpoints, %llu reads, %llu writes, %llu sleeps, %llu system calls\n";
  if (!opt.json && strcmp(role, "listen") == 0) role = "received";
  else if (!opt.json) role = "sent";
  printf(format, role, (unsigned long long)p->size, (unsigned long long)p->count, (unsigned long long)messages,
         (unsigned long long)bytes, seconds, (double)messages / seconds, (double)bytes / seconds / 1e6,
         (unsigned long long)p->endpoints, (unsigned long long)w[LYQ_W_READS], (unsigned long long)w[LYQ_W_WRITES],
         (unsigned long long)w[LYQ_W_SLEEPS],
         (unsigned long long)(w[LYQ_W_READS] + w[LYQ_W_WRITES] + w[LYQ_W_POLLS] + w[LYQ_W_WAKES]));
}

/* give_back gives back what a thread pulled: one by one, as programs do that work on each in its turn, or at once. */
static void give_back(const lyq_msg *m, int n) {
  if (opt.batch) lyq_release(m, (size_t)n);
  else for (int i = 0; i < n; i++) lyq_release(&m[i], 1);
}

static void throughput_listen(void) {
  LYQ_DEFAULTS(lyq_endpoint_opt, accepted);
  accepted.resume_ms = LYQ_WITH_LINK;
  if (!opt.from_thread) accepted.recv = on_throughput;
  else check("inbox", lyq_inbox_open(driver, &accepted.inbox));
  listen_at(&accepted);
  while (opt.from_thread && sem_trywait(&done) != 0) {
    lyq_msg m[BATCH];
    int n = lyq_recv(accepted.inbox, m, BATCH, -1);
    if (n == LYQ_EINTR) continue;
    check("receive", n);
    on_throughput(NULL, m, (size_t)n);
    give_back(m, n);
  }
  if (!opt.from_thread) await_done();
  report_throughput("listen", &tally.plan, tally.messages, tally.bytes, tally.last - tally.first);
  check("counted messages", tally.messages == tally.plan.count ? 0 : LYQ_EPROTO);
}

/* ---- Throughput, connecting. */

/* on_reports waits for one report an endpoint; the last of them tells the whole. */
static int on_reports(void *ctx, const lyq_msg *m, size_t n) {
  (void)ctx;
  for (size_t i = 0; i < n; i++) {
    if (m[i].kind == LYQ_DATA && m[i].size == sizeof(uint64_t)) {
      uint64_t messages, most = __atomic_load_n(&tally.messages, __ATOMIC_RELAXED);
      memcpy(&messages, m[i].data, sizeof messages);
      while (messages > most && !__atomic_compare_exchange_n(&tally.messages, &most, messages, 0, __ATOMIC_RELAXED,
                                                             __ATOMIC_RELAXED)) {}
      if (__atomic_add_fetch(&tally.endpoints_ended, 1, __ATOMIC_ACQ_REL) == opt.endpoints) sem_post(&done);
    } else if (m[i].kind == LYQ_CLOSED) {
      note_closed(&m[i]);
    }
  }
  return (int)n;
}

/* send_all spreads the messages over the endpoints in turn. One that is full is passed over; when all are, it waits. */
static void send_all(const lyq_endpoint *ep, const void *message) {
  uint64_t at = 0, full = 0;
  for (uint64_t sent = 0; sent < opt.count;) {
    int64_t id = full < opt.endpoints ? lyq_send(ep[at], DATA, message, opt.size)
                                      : lyq_send_wait(ep[at], DATA, message, opt.size, WAIT_MS);
    if (id == LYQ_EAGAIN) {
      full++;
    } else if (id >= 0) {
      full = 0;
      sent++;
    } else {
      if (id == LYQ_ECLOSED) await_done(); /* reports why */
      die("send", (int)id);
    }
    if (++at == opt.endpoints) at = 0;
  }
}

static void throughput_connect(void) {
  lyq_endpoint *ep = buffer_of(opt.endpoints * sizeof *ep);
  lyq_inbox none = {0};
  plan p = {opt.endpoints, opt.count, opt.size};
  void *message = buffer_of(opt.size);
  for (uint64_t i = 0; i < opt.endpoints; i++)
    ep[i] = dial(on_reports, none);
  for (uint64_t i = 0; i < opt.endpoints; i++) {
    int rc = lyq_wait(ep[i].id, LYQ_UP, WAIT_MS);
    if (rc == LYQ_ECLOSED) await_done();
    check("connect", rc);
    check("plan", lyq_send(ep[i], LYQ_TAG(LYQ_NORMAL, PLAN), &p, sizeof p));
  }
  int64_t start = clock_ns();
  send_all(ep, message);
  for (uint64_t i = 0; i < opt.endpoints; i++)
    check("end", lyq_end(ep[i]));
  await_done();
  report_throughput("connect", &p, tally.messages, tally.messages * opt.size, clock_ns() - start);
  check("counted messages", tally.messages == opt.count ? 0 : LYQ_EPROTO);
  free(message);
  free(ep);
}

/* ---- Round trips. */

static const lyq_tag ping_tag = LYQ_TAG(LYQ_URGENT, DATA), long_tag = LYQ_TAG(LYQ_BULK, DATA);

static struct {
  lyq_endpoint ep;
  void *message;
  int64_t *trips;               /* nanoseconds each */
  int64_t sent_at;
  uint64_t warm, n;             /* trips that do not count, trips made so far */
} ping;

/* returned notes that the message is back; 1 if another is to go. */
static int returned(void) {
  int64_t now = clock_ns();
  if (ping.n >= ping.warm) ping.trips[ping.n - ping.warm] = now - ping.sent_at;
  if (opt.every == 0) ping.sent_at = now;
  return ++ping.n < ping.warm + opt.count;
}

static void send_ping(void *ctx) {
  (void)ctx;
  if (opt.every > 0) ping.sent_at = clock_ns();
  check("send", lyq_send(ping.ep, ping_tag, ping.message, opt.size));
}

/* send_next sends the message again, now or when it is time to. */
static void send_next(void) {
  lyq_timer timer;
  if (opt.every == 0) send_ping(NULL);
  else check("timer", lyq_timer_open(driver, ping.ep.id, lyq_now(driver) + (int64_t)opt.every * 1000, send_ping, NULL,
                                     &timer));
}

/* Long messages beside it. All of this runs on the endpoint's worker. */
static struct {
  void *message;
  uint64_t out, n;              /* lent and not given back, given back so far */
  int64_t first, last;          /* clock_ns of the first and the last that was given back while round trips counted */
  int over;
} beside;

static void beside_back(void *ctx);

/* beside_fill has the bulk lane hold as many long messages as it takes. */
static void beside_fill(void) {
  while (!beside.over && opt.beside > 0 && (beside.out + 1) * opt.beside <= OUTBOX_MAX / 2) {
    int64_t id = lyq_send_lent(ping.ep, long_tag, beside.message, opt.beside, beside_back, NULL);
    if (id == LYQ_EAGAIN) return; /* LYQ_WRITABLE follows */
    check("send", id);
    beside.out++;
  }
}

static void beside_back(void *ctx) {
  (void)ctx;
  beside.out--;
  if (beside.over) return;
  if (ping.n >= ping.warm) {
    beside.last = clock_ns();
    if (beside.first == 0) beside.first = beside.last;
    else beside.n++;
  }
  beside_fill();
}

static int on_ping(void *ctx, const lyq_msg *m, size_t n) {
  (void)ctx;
  for (size_t i = 0; i < n; i++)
    if (m[i].kind == LYQ_DATA) {
      if (returned()) {
        send_next();
        continue;
      }
      beside.over = 1;
      sem_post(&done);
    } else if (m[i].kind == LYQ_WRITABLE) {
      beside_fill();
    } else if (m[i].kind == LYQ_CLOSED) {
      note_closed(&m[i]);
    }
  return (int)n;
}

/* begin_trips is the first thing that the endpoint's worker does. */
static void begin_trips(void *ctx) {
  beside_fill();
  ping.sent_at = clock_ns();
  send_ping(ctx);
}

/* answer sends an urgent message back where it came from; 1 if the peer has gone, which ends the run. */
static int answer(const lyq_msg *m) {
  if (m->kind == LYQ_DATA && m->tag == ping_tag) check("send", lyq_send(m->ep, m->tag, m->data, m->size));
  if (m->kind == LYQ_ENDED) lyq_end(m->ep);
  if (m->kind == LYQ_CLOSED) note_closed(m);
  return m->kind == LYQ_CLOSED && m->ep.id != 0;
}

static int on_echo(void *ctx, const lyq_msg *m, size_t n) {
  (void)ctx;
  for (size_t i = 0; i < n; i++)
    if (answer(&m[i])) sem_post(&done);
  return (int)n;
}

static void latency_listen(void) {
  LYQ_DEFAULTS(lyq_endpoint_opt, accepted);
  accepted.resume_ms = LYQ_WITH_LINK;
  lyq_msg m[BATCH];
  int gone = 0;
  accepted.max_message = BESIDE_MAX;
  if (!opt.from_thread) accepted.recv = on_echo;
  else check("inbox", lyq_inbox_open(driver, &accepted.inbox));
  listen_at(&accepted);
  while (opt.from_thread && !gone) {
    int n = lyq_recv(accepted.inbox, m, BATCH, -1);
    if (n == LYQ_EINTR) continue;
    check("receive", n);
    for (int i = 0; i < n; i++)
      gone |= answer(&m[i]);
    give_back(m, n);
  }
  if (!opt.from_thread) await_done();
}

static void latency_from_thread(lyq_inbox inbox) {
  lyq_msg m;
  ping.sent_at = clock_ns();
  send_ping(NULL);
  for (int more = 1; more;) {
    int n = lyq_recv(inbox, &m, 1, WAIT_MS);
    if (n == LYQ_EINTR) continue;
    check("receive", n);
    if (m.kind == LYQ_CLOSED) die(opt.address, m.code);
    int data = m.kind == LYQ_DATA;
    lyq_release(&m, 1);
    if (!data) continue;
    more = returned();
    if (more) send_ping(NULL);
  }
}

static int compare(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static void report_latency(void) {
  double sum = 0, seconds = (double)(beside.last - beside.first) / 1e9;
  double rate = beside.n > 0 ? (double)(beside.n * opt.beside) / seconds : 0;
  for (uint64_t i = 0; i < opt.count; i++)
    sum += (double)ping.trips[i];
  qsort(ping.trips, opt.count, sizeof *ping.trips, compare);
  printf(opt.json ? "{\"role\":\"connect\",\"mode\":\"lat\",\"from\":\"%s\",\"size\":%llu,\"count\":%llu,"
                    "\"p50_us\":%.3f,\"p99_us\":%.3f,\"mean_us\":%.3f,\"beside\":%llu,\"beside_mb_per_s\":%.3f}\n"
                  : "round trip from %s, size %llu, count %llu: median %.1f us, 99 %% below %.1f us, mean %.1f us; "
                    "beside messages of %llu: %.1f MB/s\n",
         opt.batch ? "batch" : opt.from_thread ? "thread" : "callback",
         (unsigned long long)opt.size, (unsigned long long)opt.count,
         (double)ping.trips[opt.count / 2] / 1e3, (double)ping.trips[opt.count - 1 - opt.count / 100] / 1e3,
         sum / (double)opt.count / 1e3, (unsigned long long)opt.beside, rate / 1e6);
}

static void latency_connect(void) {
  lyq_inbox inbox = {0};
  ping.warm = opt.count / 10;
  ping.message = buffer_of(opt.size);
  ping.trips = buffer_of(opt.count * sizeof *ping.trips);
  if (opt.beside > 0) beside.message = buffer_of(opt.beside);
  if (opt.from_thread) check("inbox", lyq_inbox_open(driver, &inbox));
  ping.ep = dial(opt.from_thread ? NULL : on_ping, inbox);
  int rc = lyq_wait(ping.ep.id, LYQ_UP, WAIT_MS);
  if (rc == LYQ_ECLOSED && !opt.from_thread) await_done();
  if (rc != LYQ_ECLOSED) check("connect", rc);
  if (opt.from_thread) {
    latency_from_thread(inbox);
  } else {
    lyq_timer begin;
    check("begin", lyq_timer_open(driver, ping.ep.id, 0, begin_trips, NULL, &begin));
    await_done();
  }
  report_latency();
  free(ping.trips);
  free(ping.message); /* The long one is lent until the driver is closed. */
}

/* ---- The command line. */

static void refuse(const char *text) {
  fprintf(stderr, "lyqperf: %s\n\n%s", text, usage);
  exit(1);
}

static void number(const char *name, uint64_t min, uint64_t max, uint64_t *out) {
  if (parse_count(optarg, min, max, out)) return;
  fprintf(stderr, "lyqperf: --%s %s: a number from %llu to %llu is allowed\n", name, optarg, (unsigned long long)min,
          (unsigned long long)max);
  exit(1);
}

static void set(int option, const char *name) {
  switch (option) {
  case 'l': case 'c':
    if (opt.listen >= 0) refuse("either --listen or --connect is allowed, once");
    opt.listen = option == 'l';
    opt.address = optarg;
    break;
  case 's': number(name, 1, 1 << 20, &opt.size); break;
  case 'n': number(name, 1, UINT64_C(1) << 40, &opt.count); break;
  case 'e': number(name, 1, ENDPOINTS_MAX, &opt.endpoints); break;
  case 'w': number(name, 1, 64, &opt.workers); break;
  case 'b': number(name, 0, 1000000, &opt.busy_poll); break;
  case 'o': number(name, 64 << 10, 128 << 20, &opt.outbox); break;
  case 'B': number(name, 1, BESIDE_MAX, &opt.beside); break;
  case 'E': number(name, 0, 1000000, &opt.every); break;
  case 'f':
    opt.batch = strcmp(optarg, "batch") == 0;
    opt.from_thread = opt.batch || strcmp(optarg, "thread") == 0;
    if (!opt.from_thread && strcmp(optarg, "callback") != 0) refuse("--from callback, thread or batch is allowed");
    break;
  case 'j': opt.json = 1; break;
  case 'h': fputs(usage, stdout); exit(0);
  case 'V': printf("lyqperf %s\n", lyq_version()); exit(0);
  default: refuse("unknown option");
  }
}

static void parse(int argc, char **argv) {
  static const struct option longs[] = {
    {"listen", required_argument, NULL, 'l'}, {"connect", required_argument, NULL, 'c'},
    {"size", required_argument, NULL, 's'}, {"count", required_argument, NULL, 'n'},
    {"endpoints", required_argument, NULL, 'e'}, {"workers", required_argument, NULL, 'w'},
    {"busy-poll", required_argument, NULL, 'b'}, {"outbox", required_argument, NULL, 'o'},
    {"from", required_argument, NULL, 'f'}, {"beside", required_argument, NULL, 'B'},
    {"every", required_argument, NULL, 'E'}, {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
  int option, index = 0;
  while ((option = getopt_long(argc, argv, "h", longs, &index)) != -1)
    set(option, longs[index].name);
  if (optind + 1 != argc) refuse("thr or lat is required, once");
  opt.latency = strcmp(argv[optind], "lat") == 0;
  if (!opt.latency && strcmp(argv[optind], "thr") != 0) refuse("thr or lat is required");
  if (opt.listen < 0) refuse("--listen ADDRESS or --connect ADDRESS is required");
  if (opt.from_thread && (opt.beside > 0 || opt.every > 0)) refuse("--beside and --every are for --from callback");
  if (opt.count == 0) opt.count = opt.latency ? 100000 : 1000000;
}

int main(int argc, char **argv) {
  parse(argc, argv);
  if (sem_init(&done, 0, 0) != 0) die("semaphore", LYQ_ENOMEM);
  open_driver();
  if (opt.latency && opt.listen) latency_listen();
  else if (opt.latency) latency_connect();
  else if (opt.listen) throughput_listen();
  else throughput_connect();
  lyq_close(driver.id, 1000);
  check("close", lyq_wait(driver.id, LYQ_CLOSED, WAIT_MS));
  return 0;
}
