/* ledger: sends numbered messages without pause, and tells what became of them whenever its peer has restarted: one
 * line of JSON on standard output for each LYQ_RESTARTED, and one for LYQ_CLOSED. --help says how it is run. */
#define _GNU_SOURCE 1
#include "common.h"
#include "message.h"
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WAIT_MS = 20, ACK_MS = 30000, CLOSE_MS = 10000, BATCH = 64, SMALL = 1000, LARGE = 100000, MIX = 40 };

static const char usage[] =
  "usage: ledger --connect ADDRESS [--seed N] [--journal FILE]\n"
  "\n"
  "Sends until standard input is closed, waits until all is acknowledged, and ends.\n"
  "\n"
  "  --journal FILE   keep there, in four words of 8 bytes, how many messages of each lane were about to be sent\n";

/* side is one lane: what was accepted, and what of it was told of. */
typedef struct side { uint64_t accepted, told; pthread_t thread; int lane; } side;

static struct {
  uint64_t seed;
  lyq_endpoint ep;
  side sides[LANES];
  volatile uint64_t *journal;
  int over;
} ledger = {.seed = 1};

_Noreturn static void usage_ends(int option) {
  fputs(usage, stderr);
  exit(option == 'h' ? 0 : 2);
}

_Noreturn static void die(const char *what, int64_t rc) {
  fprintf(stderr, "ledger: %s: %s: %s\n", what, lyq_strerror((int)rc), lyq_detail());
  _exit(2);
}

static size_t size_of(uint64_t flow, uint64_t number) {
  uint64_t dice = mix64(message_key(flow, number));
  return sizeof(message_head) + (dice >> 32) % (dice % MIX == 0 ? LARGE : SMALL);
}

/* ---- Telling. */

typedef struct told { uint64_t maybe, never, wrong, first; } told;

static uint64_t is_wrong(const lyq_msg *m, uint64_t expected, const lyq_lane_account *a, uint64_t from) {
  message_head h;
  int kind = m->id < from + a->acknowledged + a->maybe_delivered ? LYQ_MAYBE_DELIVERED : LYQ_NEVER_SENT;
  uint64_t flow = message_flow(ledger.seed, 1, LYQ_LANE(m->tag));
  return m->id != expected || m->kind != kind || !message_read(m, flow, &h) || m->size != size_of(flow, m->id);
}

/* tell prints the account, and what its list has. */
static void tell(const lyq_msg *event) {
  lyq_lane_account a[LANES];
  lyq_msg m[BATCH];
  uint64_t cursor = 0;
  told t[LANES] = {{0}};
  int n, rc = lyq_account(event, a);
  if (rc < 0) die("lyq_account", rc);
  while ((n = lyq_unacked(event->ep, &cursor, m, BATCH)) > 0)
    for (int i = 0; i < n; i++) {
      int lane = LYQ_LANE(m[i].tag);
      uint64_t from = ledger.sides[lane].told, listed = t[lane].maybe + t[lane].never;
      t[lane].wrong += is_wrong(&m[i], from + a[lane].acknowledged + listed, &a[lane], from);
      if (m[i].kind == LYQ_MAYBE_DELIVERED) t[lane].maybe++;
      else t[lane].never++;
    }
  if (n < 0) die("lyq_unacked", n);
  printf("{\"event\": \"%s\", \"lanes\": [", event->kind == LYQ_CLOSED ? "closed" : "restarted");
  for (int i = 0; i < LANES; i++) {
    side *s = &ledger.sides[i];
    printf("%s{\"from\": %llu, \"accepted\": %llu, \"acknowledged\": %llu, \"maybe\": %llu, \"never\": %llu, "
           "\"listed_maybe\": %llu, \"listed_never\": %llu, \"wrong\": %llu, \"sent\": %llu}", i ? ", " : "",
           (unsigned long long)s->told, (unsigned long long)a[i].accepted, (unsigned long long)a[i].acknowledged,
           (unsigned long long)a[i].maybe_delivered, (unsigned long long)a[i].never_sent,
           (unsigned long long)t[i].maybe, (unsigned long long)t[i].never, (unsigned long long)t[i].wrong,
           (unsigned long long)__atomic_load_n(&s->accepted, __ATOMIC_ACQUIRE));
    s->told += a[i].accepted;
  }
  printf("]}\n");
  fflush(stdout);
}

static int on_items(void *ctx, const lyq_msg *m, size_t n) {
  (void)ctx;
  for (size_t i = 0; i < n; i++)
    if (m[i].kind == LYQ_RESTARTED || m[i].kind == LYQ_CLOSED) tell(&m[i]);
  return (int)n;
}

/* ---- Sending: a thread for each lane. */

static int is_over(void) { return __atomic_load_n(&ledger.over, __ATOMIC_ACQUIRE); }

static void *send_on(void *of) {
  side *s = of;
  uint64_t flow = message_flow(ledger.seed, 1, s->lane), number = 0;
  uint8_t *message = malloc(sizeof(message_head) + LARGE);
  if (!message) die("memory", LYQ_ENOMEM);
  while (!is_over()) {
    size_t size = size_of(flow, number);
    int64_t id;
    message_make(message, flow, s->lane, number, size, 0);
    if (ledger.journal) ledger.journal[s->lane] = number + 1;
    do id = lyq_send_wait(ledger.ep, LYQ_TAG(s->lane, (uint16_t)number), message, size, WAIT_MS);
    while ((id == LYQ_ETIMEDOUT || id == LYQ_EAGAIN || id == LYQ_EINTR) && !is_over());
    if (id < 0 && !is_over()) die("send", id);
    if (id < 0) break;
    if ((uint64_t)id != number) die("a message has another number", LYQ_EINTERNAL);
    __atomic_store_n(&s->accepted, ++number, __ATOMIC_RELEASE);
  }
  free(message);
  return NULL;
}

static void open_journal(const char *file) {
  int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0 || ftruncate(fd, LANES * sizeof(uint64_t)) != 0) die(file, LYQ_EINVAL);
  void *p = mmap(NULL, LANES * sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (p == MAP_FAILED) die(file, LYQ_ENOMEM);
  ledger.journal = p;
}

int main(int argc, char **argv) {
  static const struct option options[] = {{"connect", 1, NULL, 'c'}, {"seed", 1, NULL, 's'},
    {"journal", 1, NULL, 'j'}, {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0}};
  const char *connect = NULL;
  char last;
  for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (c == 'c') connect = optarg;
    else if (c == 'j') open_journal(optarg);
    else if (c != 's' || !parse_count(optarg, 0, UINT64_MAX, &ledger.seed)) usage_ends(c);
  }
  if (!connect) usage_ends(0);
  lyq_driver d;
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  o.recv = on_items;
  o.resume_ms = LYQ_FOR_EVER;
  int rc = lyq_driver_open(NULL, &d);
  if (rc < 0 || (rc = lyq_dial(d, connect, &o, &ledger.ep)) < 0) die(connect, rc);
  for (int i = 0; i < LANES; i++) {
    ledger.sides[i].lane = i;
    if (pthread_create(&ledger.sides[i].thread, NULL, send_on, &ledger.sides[i]) != 0) die("thread", LYQ_ELIMIT);
  }
  while (read(STDIN_FILENO, &last, 1) > 0) { }
  __atomic_store_n(&ledger.over, 1, __ATOMIC_RELEASE);
  for (int i = 0; i < LANES; i++) pthread_join(ledger.sides[i].thread, NULL);
  rc = lyq_wait(ledger.ep.id, LYQ_ACKED, ACK_MS);
  if (rc < 0) die("acknowledgement", rc);
  lyq_close(d.id, CLOSE_MS / 2);
  rc = lyq_wait(d.id, LYQ_CLOSED, CLOSE_MS);
  if (rc < 0) die("close", rc);
  return 0;
}
