/* storm: two of these send each other numbered messages at full speed, on three lanes, both ways, and count what is
 * lost, twice, out of order or damaged. What happens to the connection between them is not its concern: every message
 * has to arrive once, in order. --help says how it is run. */
#define _GNU_SOURCE 1
#include "account.h"
#include "common.h"
#include "message.h"
#include "session.h"
#include <getopt.h>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

enum {
  START_MS = 60000,        /* bound on the first connection, and on the first message of the other side */
  SETTLE_MS = 60000,       /* bound on what is left when the time is over: the rest of a huge message, under faults */
  SEND_MS = 100,           /* how long a sender waits for room before it looks whether the time is over */
  SWITCH_MS = 1000,        /* how long a switch may take before the next one is asked for */
  CLOSE_MS = 10000,
  SPOIL_EVERY = 4096,      /* bytes: less than a frame holds */
  OUTBOX = 1 << 20,        /* for each lane: a round trip through a relay that delays holds that much */
  MIX = 8,                 /* one message in so many of the normal lane is large */
  WORKERS = 2              /* of the driver, which is its default */
};

static const char usage[] =
  "usage: storm --listen ADDRESS | --connect ADDRESS [OPTION...]\n"
  "\n"
  "Start the listener first; with port 0 it says on standard error where it listens. Both report.\n"
  "\n"
  "  --seconds S         how long to send (10)\n"
  "  --seed N            of the messages' content; both sides need the same (1)\n"
  "  --small BYTES       of an urgent, and of most normal messages, 32 to 16384 (64)\n"
  "  --large BYTES       of the longest other normal messages, 64 to 1048576 (20480)\n"
  "  --huge BYTES        of a bulk message, 32 to 1073741824 (67108864)\n"
  "  --huge-every-ms T   time from one of them to the next, the first at once (10000)\n"
  "  --keepalive-ms T    silence before a ping (15000)\n"
  "  --also ADDRESS      listen there too, or switch between the two\n"
  "  --switches N        how often a second, each once the one before took effect; only with --connect and --also (0)\n"
  "  --moves N           how often a second the endpoint goes to another worker (0)\n"
  "  --hold              after the report keep the connection until standard input is closed\n"
  "  --json              report in one line of JSON\n"
  "  --help\n"
  "\n"
  "Exit status: 0 all arrived; 1 not all, or not as sent; 2 wrong usage, or no connection at all.\n";

static struct {
  const char *address, *also;
  int listen, hold, json;
  uint64_t seconds, seed, small, large, huge, huge_every_ms, keepalive_ms, switches, moves;
} opt = {NULL, NULL, -1, 0, 0, 10, 1, 64, 20480, 64 << 20, 10000, 0, 0, 0};

/* What is known of the run. Callbacks and threads change it under the lock, and tell of what others wait for. */
static struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  lyq_endpoint ep;         /* the one that carries the storm */
  account lanes[LANES];
  uint64_t misframed, strays, ups, downs, restarts, bytes, sent;
  uint64_t switches;       /* that took effect: a connection that was left for another, which is up */
  int leaves;              /* the connection was left, and no other one is up yet */
  sem_t switched;          /* once for each switch that took effect: who waits for it is not woken by every message */
  int64_t first, last, silence; /* clock_ns of the first and the last data; the longest time between two */
  int lanes_done, closed;
  int over;                /* senders are to send their finals; atomic */
  char closed_text[320];
} storm = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const int lanes_used[] = {LYQ_NORMAL, LYQ_URGENT, LYQ_BULK};
enum { LANES_USED = sizeof lanes_used / sizeof *lanes_used };

static void die(const char *what, int64_t rc) {
  fprintf(stderr, "storm: %s: %s: %s\n", what, lyq_strerror((int)rc), lyq_detail());
  exit(2);
}

static void check(const char *what, int64_t rc) {
  if (rc < 0) die(what, rc);
}

/* ---- Receiving. */

/* on_data books one message of the endpoint that carries the storm, which is the first that brings any: a listener may
 * have accepted others, whose connections were cut before their dialler knew of them. */
static void on_data(const lyq_msg *m) {
  message_head h;
  if (storm.ep.id == 0) storm.ep = m->ep;
  if (m->ep.id != storm.ep.id) {
    storm.strays++;
    return;
  }
  storm.bytes += m->size;
  int lane = LYQ_LANE(m->tag);
  if (lane >= LANES || !message_read(m, message_flow(opt.seed, opt.listen, lane), &h)) {
    storm.misframed++;
    return;
  }
  account *a = &storm.lanes[lane];
  account_enter(a, h.number, h.final);
  if (h.final && a->final == 1) storm.lanes_done++;
}

static void on_event(const lyq_msg *m) {
  switch (m->kind) {
  case LYQ_UP:
    storm.ups++;
    if (!storm.leaves) break;
    storm.leaves = 0;
    storm.switches++;
    sem_post(&storm.switched);
    break;
  case SESSION_DOWN:
    storm.downs++;
    storm.leaves = m->code == 0; /* a lost one has a reason */
    break;
  case SESSION_RESTARTED: storm.restarts++; break;
  case LYQ_CLOSED:
    if (m->ep.id == 0 || (opt.listen && m->ep.id != storm.ep.id)) break;
    storm.closed = 1;
    __atomic_store_n(&storm.over, 1, __ATOMIC_RELAXED);
    snprintf(storm.closed_text, sizeof storm.closed_text, "%s: %s", lyq_strerror(m->code), closed_text(m));
    break;
  default: break;
  }
}

static int on_items(void *ctx, const lyq_msg *m, size_t n) {
  int64_t now = clock_ns();
  size_t data = 0;
  (void)ctx;
  pthread_mutex_lock(&storm.lock);
  for (size_t i = 0; i < n; i++) {
    if (m[i].kind == LYQ_DATA) {
      data++;
      on_data(&m[i]);
    } else {
      on_event(&m[i]);
    }
  }
  if (data > 0) {
    if (storm.first == 0) storm.first = storm.last = now;
    if (now - storm.last > storm.silence) storm.silence = now - storm.last;
    storm.last = now;
  }
  pthread_cond_broadcast(&storm.changed);
  pthread_mutex_unlock(&storm.lock);
  return (int)n;
}

/* await waits under the lock until the condition holds or the endpoint has ended, at most to a clock_ns. */
static int await(int (*holds)(void), int64_t until) {
  struct timespec t = {until / 1000000000, until % 1000000000};
  int rc = 0, held;
  pthread_mutex_lock(&storm.lock);
  while (!(held = holds()) && !storm.closed && rc == 0)
    rc = pthread_cond_timedwait(&storm.changed, &storm.lock, &t);
  pthread_mutex_unlock(&storm.lock);
  return held;
}

static int64_t in_ms(int64_t ms) { return clock_ns() + ms * 1000000; }

static int has_begun(void) { return opt.listen ? storm.ep.id != 0 : storm.ups > 0; }

static int has_all_finals(void) { return storm.lanes_done == LANES_USED; }

/* ---- Sending: a thread for each lane. */

static int is_over(void) { return __atomic_load_n(&storm.over, __ATOMIC_RELAXED); }

/* offer sends a message, waiting for room as long as the storm goes on, or to a clock_ns if that is later. 0 if it was
 * not accepted, so that its number is free. */
static int offer(int lane, uint64_t number, const void *message, size_t size, int64_t until) {
  lyq_tag tag = LYQ_TAG(lane, (uint16_t)number);
  int64_t id = lyq_send(storm.ep, tag, message, size);
  while ((id == LYQ_EAGAIN || id == LYQ_ETIMEDOUT || id == LYQ_EINTR) && (!is_over() || clock_ns() < until))
    id = lyq_send_wait(storm.ep, tag, message, size, SEND_MS);
  if (id == LYQ_ECLOSED || id == LYQ_EAGAIN || id == LYQ_ETIMEDOUT || id == LYQ_EINTR) return 0;
  check("send", id);
  if ((uint64_t)id != number) {
    fprintf(stderr, "storm: message %llu of lane %d was numbered %lld\n", (unsigned long long)number, lane,
            (long long)id);
    exit(1);
  }
  return 1;
}

static void *buffer_of(uint64_t size) {
  void *p = malloc(size);
  if (p == NULL) die("memory", LYQ_ENOMEM);
  return p;
}

/* send_mixed sends messages without pause: small ones, and on the normal lane also some up to the large size. */
static uint64_t send_mixed(int lane, uint64_t flow) {
  uint8_t *message = buffer_of(opt.large > opt.small ? opt.large : opt.small);
  uint64_t number = 0;
  for (;;) {
    uint64_t dice = mix64(message_key(flow, number)), size = opt.small;
    if (lane == LYQ_NORMAL && dice % MIX == 0) size = opt.large - (dice >> 32) % (opt.large / 2);
    message_make(message, flow, lane, number, size, 0);
    if (is_over() || !offer(lane, number, message, size, 0)) break;
    number++;
  }
  free(message);
  return number;
}

/* loan is a message that the library may read until it posts back. */
typedef struct loan { uint8_t *message; sem_t back; } loan;

/* on_given_back spoils memory that was lent as soon as it may: whoever still sends from it sends damage. */
static void on_given_back(void *lent) {
  loan *l = lent;
  for (uint64_t i = 0; i < opt.huge; i += SPOIL_EVERY)
    l->message[i] ^= 0xff;
  sem_post(&l->back);
}

/* await_back waits for lent memory; 0 if it did not come back although everything should long have been sent. */
static int await_back(loan *l) {
  struct timespec t;
  for (int64_t until = 0; until == 0 || clock_ns() < until;) {
    if (until == 0 && is_over()) until = in_ms(SETTLE_MS);
    int64_t next = in_ms(SEND_MS);
    t = (struct timespec){next / 1000000000, next % 1000000000};
    if (sem_clockwait(&l->back, CLOCK_MONOTONIC, &t) == 0) return 1;
  }
  return 0;
}

/* send_huge lends a message of the huge size now and then. Memory that never came back is not freed. */
static uint64_t send_huge(int lane, uint64_t flow) {
  static loan lent; /* outlives the thread, in case */
  uint64_t number = 0;
  int64_t due = clock_ns();
  lent.message = buffer_of(opt.huge);
  if (sem_init(&lent.back, 0, 0) != 0) die("semaphore", LYQ_ENOMEM);
  while (!await(is_over, due)) {
    message_make(lent.message, flow, lane, number, opt.huge, 0);
    lyq_tag tag = LYQ_TAG(lane, (uint16_t)number);
    int64_t id;
    while ((id = lyq_send_lent(storm.ep, tag, lent.message, opt.huge, on_given_back, &lent)) == LYQ_EAGAIN)
      if (await(is_over, in_ms(1))) return number;
    if (id == LYQ_ECLOSED) return number;
    check("lend", id);
    number++;
    if (!await_back(&lent)) return number;
    due += (int64_t)opt.huge_every_ms * 1000000;
  }
  free(lent.message);
  return number;
}

/* send_lane is a thread. The final message waits for room until all have to be done. */
static void *send_lane(void *arg) {
  int lane = *(const int *)arg;
  uint8_t final[sizeof(message_head)];
  uint64_t flow = message_flow(opt.seed, !opt.listen, lane);
  uint64_t sent = lane == LYQ_BULK ? send_huge(lane, flow) : send_mixed(lane, flow);
  message_make(final, flow, lane, sent, sizeof final, 1);
  sent += (uint64_t)offer(lane, sent, final, sizeof final, in_ms(SETTLE_MS));
  __atomic_fetch_add(&storm.sent, sent, __ATOMIC_RELAXED);
  return NULL;
}

/* ---- Moves to other workers, and switches to the other address. */

static void move(uint64_t k) { lyq_set_worker(storm.ep, 1 + (int)(k % WORKERS)); }

/* change_address asks for a switch and waits until it took effect: two that were asked for at once would be none. */
static void change_address(uint64_t k) {
  int64_t until = in_ms(SWITCH_MS);
  struct timespec t = {until / 1000000000, until % 1000000000};
  lyq_switch(storm.ep, k % 2 ? opt.address : opt.also);
  while (sem_clockwait(&storm.switched, CLOCK_MONOTONIC, &t) != 0 && errno == EINTR) continue;
}

/* What a rhythm could not do in time it leaves out, or all of it would come at once; unless a beat waits for its
 * effect. */
typedef struct rhythm { uint64_t each_second; void (*beat)(uint64_t k); int catches_up; } rhythm;

/* keep_rhythm is a thread. */
static void *keep_rhythm(void *of) {
  const rhythm *r = of;
  int64_t step = (int64_t)(1000000000 / r->each_second), due = clock_ns();
  for (uint64_t k = 0; !is_over(); k++) {
    r->beat(k);
    due += step;
    if (!r->catches_up && due < clock_ns()) due = clock_ns();
    while (!is_over() && clock_ns() < due) {
      int64_t left = due - clock_ns(), most = (int64_t)SEND_MS * 1000000;
      struct timespec t = {0, (long)(left < most ? left : most)};
      if (left > 0) nanosleep(&t, NULL);
    }
  }
  return NULL;
}

/* ---- The run. */

static void listen_at(lyq_driver driver, const char *at, const lyq_endpoint_opt *o) {
  char address[256];
  lyq_listener listener;
  check(at, lyq_listen(driver, at, o, &listener));
  check("address", lyq_address(listener.id, address, sizeof address));
  fprintf(stderr, "listening on %s\n", address);
}

static void open_endpoint(lyq_driver driver) {
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  o.recv = on_items;
  o.outbox_bytes = OUTBOX;
  o.max_message = opt.huge > 1 << 20 ? opt.huge : 1 << 20;
  o.keepalive_ms = (int32_t)opt.keepalive_ms;
  o.resume_ms = opt.listen ? 60000 : LYQ_FOR_EVER;
  if (opt.listen) {
    listen_at(driver, opt.address, &o);
    if (opt.also) listen_at(driver, opt.also, &o);
  } else {
    lyq_endpoint ep;
    check(opt.address, lyq_dial(driver, opt.address, &o, &ep));
    pthread_mutex_lock(&storm.lock);
    storm.ep = ep;
    pthread_mutex_unlock(&storm.lock);
  }
}

/* blow sends for the time that was asked for, then the finals. */
static void blow(void) {
  pthread_t threads[LANES_USED], beats[2];
  rhythm rhythms[2] = {{opt.moves, move, 0}, {opt.switches, change_address, 1}};
  for (int i = 0; i < LANES_USED; i++)
    if (pthread_create(&threads[i], NULL, send_lane, (void *)(uintptr_t)&lanes_used[i]) != 0) die("thread", LYQ_ENOMEM);
  for (int i = 0; i < 2; i++)
    if (rhythms[i].each_second && pthread_create(&beats[i], NULL, keep_rhythm, &rhythms[i]) != 0)
      die("thread", LYQ_ENOMEM);
  await(is_over, in_ms((int64_t)opt.seconds * 1000));
  pthread_mutex_lock(&storm.lock);
  __atomic_store_n(&storm.over, 1, __ATOMIC_RELAXED);
  pthread_cond_broadcast(&storm.changed);
  pthread_mutex_unlock(&storm.lock);
  for (int i = 0; i < LANES_USED; i++)
    pthread_join(threads[i], NULL);
  for (int i = 0; i < 2; i++)
    if (rhythms[i].each_second) pthread_join(beats[i], NULL);
}

/* report prints the account of this side's receiving; 1 if nothing is wrong with it. */
static int report(lyq_driver driver, int complete) {
  account all = {0};
  uint64_t w[LYQ_W_COUNT] = {0};
  lyq_counters(driver.id, w, LYQ_W_COUNT);
  pthread_mutex_lock(&storm.lock);
  for (int i = 0; i < LANES; i++) {
    all.received += storm.lanes[i].received;
    all.lost += storm.lanes[i].lost;
    all.duplicated += storm.lanes[i].duplicated;
    all.reordered += storm.lanes[i].reordered;
  }
  double seconds = (double)(storm.last - storm.first + 1) / 1e9;
  printf(opt.json ? "{\"role\":\"%s\",\"sent\":%llu,\"received\":%llu,\"lost\":%llu,\"duplicated\":%llu,"
                    "\"reordered\":%llu,\"misframed\":%llu,\"strays\":%llu,\"huge\":%llu,\"ups\":%llu,"
                    "\"downs\":%llu,\"restarts\":%llu,\"moves\":%llu,\"switches\":%llu,\"bytes_per_s\":%.0f,"
                    "\"seconds\":%.3f,\"longest_silence_ms\":%.0f,\"complete\":%s}\n"
                  : "%s: %llu sent, %llu received, %llu lost, %llu duplicated, %llu reordered, %llu misframed; "
                    "%llu strays, %llu huge ones, %llu ups, %llu downs, %llu restarts, %llu moves, "
                    "%llu switches; %.0f bytes/s in %.3f s, longest silence %.0f ms; complete: %s\n",
         opt.listen ? "listen" : "connect", (unsigned long long)storm.sent, (unsigned long long)all.received,
         (unsigned long long)all.lost, (unsigned long long)all.duplicated, (unsigned long long)all.reordered,
         (unsigned long long)storm.misframed, (unsigned long long)storm.strays,
         (unsigned long long)(storm.lanes[LYQ_BULK].received - (uint64_t)storm.lanes[LYQ_BULK].final),
         (unsigned long long)storm.ups,
         (unsigned long long)storm.downs, (unsigned long long)storm.restarts,
         (unsigned long long)w[LYQ_W_MOVES], (unsigned long long)storm.switches, (double)storm.bytes / seconds, seconds,
         (double)storm.silence / 1e6, complete ? "true" : "false");
  fflush(stdout);
  int good = complete && all.lost + all.duplicated + all.reordered + storm.misframed + storm.strays == 0;
  pthread_mutex_unlock(&storm.lock);
  return good && storm.restarts == 0;
}

/* explain says on standard error what is known of a storm that did not come to its end. */
static void explain(void) {
  char text[1024] = "";
  lyq_explain(storm.ep.id, text, sizeof text);
  pthread_mutex_lock(&storm.lock);
  for (int i = 0; i < LANES_USED; i++) {
    const account *a = &storm.lanes[lanes_used[i]];
    fprintf(stderr, "storm: lane %d: %llu received, %s; %llu would be next\n", lanes_used[i],
            (unsigned long long)a->received, a->final ? "the final too" : "no final", (unsigned long long)a->next);
  }
  fprintf(stderr, "storm: %s: %s\nstorm: what is to be sent:\n%s\n", opt.address,
          storm.closed ? storm.closed_text : "lives", text);
  pthread_mutex_unlock(&storm.lock);
}

/* hold waits for the end of standard input. */
static void hold(void) {
  char some[64];
  ssize_t n;
  do n = read(0, some, sizeof some);
  while (n > 0 || (n < 0 && errno == EINTR));
}

/* ---- The command line. */

static void refuse(const char *text) {
  fprintf(stderr, "storm: %s\n\n%s", text, usage);
  exit(2);
}

static void number(const char *name, uint64_t min, uint64_t max, uint64_t *out) {
  if (parse_count(optarg, min, max, out)) return;
  fprintf(stderr, "storm: --%s %s: a number from %llu to %llu is allowed\n", name, optarg, (unsigned long long)min,
          (unsigned long long)max);
  exit(2);
}

static void set(int option, const char *name) {
  switch (option) {
  case 'l': case 'c':
    if (opt.listen >= 0) refuse("either --listen or --connect is allowed, once");
    opt.listen = option == 'l';
    opt.address = optarg;
    break;
  case 't': number(name, 1, 86400, &opt.seconds); break;
  case 'n': number(name, 0, UINT64_MAX, &opt.seed); break;
  case 's': number(name, sizeof(message_head), 16384, &opt.small); break;
  case 'L': number(name, 2 * sizeof(message_head), 1 << 20, &opt.large); break;
  case 'H': number(name, sizeof(message_head), 1 << 30, &opt.huge); break;
  case 'e': number(name, 1, 86400000, &opt.huge_every_ms); break;
  case 'k': number(name, 1, 86400000, &opt.keepalive_ms); break;
  case 'a': opt.also = optarg; break;
  case 'w': number(name, 1, 1000, &opt.switches); break;
  case 'm': number(name, 1, 100000, &opt.moves); break;
  case 'o': opt.hold = 1; break;
  case 'j': opt.json = 1; break;
  case 'h': fputs(usage, stdout); exit(0);
  default: refuse("unknown option");
  }
}

static void parse(int argc, char **argv) {
  static const struct option longs[] = {
    {"listen", required_argument, NULL, 'l'}, {"connect", required_argument, NULL, 'c'},
    {"seconds", required_argument, NULL, 't'}, {"seed", required_argument, NULL, 'n'},
    {"small", required_argument, NULL, 's'}, {"large", required_argument, NULL, 'L'},
    {"huge", required_argument, NULL, 'H'}, {"huge-every-ms", required_argument, NULL, 'e'},
    {"keepalive-ms", required_argument, NULL, 'k'}, {"also", required_argument, NULL, 'a'},
    {"switches", required_argument, NULL, 'w'}, {"moves", required_argument, NULL, 'm'},
    {"hold", no_argument, NULL, 'o'}, {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
  int option, index = 0;
  while ((option = getopt_long(argc, argv, "h", longs, &index)) != -1)
    set(option, longs[index].name);
  if (optind != argc) refuse("only options are allowed");
  if (opt.listen < 0) refuse("--listen ADDRESS or --connect ADDRESS is required");
  if (opt.switches && (opt.listen || !opt.also)) refuse("--switches needs --connect and --also");
}

int main(int argc, char **argv) {
  lyq_driver driver;
  pthread_condattr_t monotonic;
  parse(argc, argv);
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&storm.changed, &monotonic);
  if (sem_init(&storm.switched, 0, 0) != 0) die("semaphore", LYQ_ENOMEM);
  check("driver", lyq_driver_open(NULL, &driver));
  open_endpoint(driver);
  if (!await(has_begun, in_ms(START_MS))) {
    fprintf(stderr, "storm: %s: no connection: %s\n", opt.address,
            storm.closed ? storm.closed_text : "none was made in time");
    return 2;
  }
  blow();
  int complete = await(has_all_finals, in_ms(SETTLE_MS)) && session_settle(storm.ep, SETTLE_MS);
  int good = report(driver, complete);
  if (!complete) explain();
  if (opt.hold) hold();
  lyq_close(driver.id, CLOSE_MS / 2);
  check("close", lyq_wait(driver.id, LYQ_CLOSED, CLOSE_MS));
  return !good;
}
