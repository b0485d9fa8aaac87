/* logger: writes down each message that it receives, 16 bytes a message, until it is killed. What it wrote stays, for
 * kill -9 takes a process and not its files. --help says how it is run. */
#define _GNU_SOURCE 1
#include "common.h"
#include "message.h"
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <unistd.h>

enum { PEERS = 4096, DAMAGED = 0xff, RESUME_MS = 300 };

static const char usage[] =
  "usage: logger --listen ADDRESS --log FILE [--seed N] [--manual]\n"
  "\n"
  "Says on standard error where it listens. Peers are numbered from 0, in the order of their first messages; those of\n"
  "peer n have seed N+n. A record is a message's number, its lane (255 if it is damaged) and its peer's number.\n"
  "\n"
  "  --manual      acknowledge by lyq_ack, when records are written and synchronised; they wait in memory before\n";

typedef struct record { uint64_t number; uint32_t lane, peer; } record;

static struct {
  int fd, manual;
  uint64_t seed;
  pthread_mutex_t lock;      /* guards the rest */
  pthread_cond_t changed;
  uint64_t peers[PEERS];     /* endpoints, in the order of their first message */
  int peer_count;
  record *waiting;           /* of --manual: not written yet */
  size_t waiting_count, waiting_room;
} logger = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .seed = 1};

_Noreturn static void usage_ends(int option) {
  fputs(usage, stderr);
  exit(option == 'h' ? 0 : 2);
}

_Noreturn static void die(const char *what, int64_t rc) {
  fprintf(stderr, "logger: %s: %s: %s\n", what, lyq_strerror((int)rc), lyq_detail());
  _exit(2);
}

/* put writes records whole, or ends the program: what is not on the file must not be acknowledged. */
static void put(const record *r, size_t n) {
  if (write(logger.fd, r, n * sizeof *r) != (ssize_t)(n * sizeof *r)) die("write", LYQ_EINTERNAL);
}

/* peer_of numbers an endpoint, which is one of the last that showed themselves. */
static uint32_t peer_of(uint64_t ep) {
  for (int i = logger.peer_count - 1; i >= 0; i--)
    if (logger.peers[i] == ep) return (uint32_t)i;
  if (logger.peer_count == PEERS) die("too many peers", LYQ_ELIMIT);
  logger.peers[logger.peer_count] = ep;
  return (uint32_t)logger.peer_count++;
}

static record record_of(const lyq_msg *m) {
  message_head h;
  uint32_t peer = peer_of(m->ep.id), lane = (uint32_t)LYQ_LANE(m->tag);
  lyq_msg numbered = *m;
  numbered.id = LYQ_NUMBER(m->id);
  if (!message_read(&numbered, message_flow(logger.seed + peer, 1, (int)lane), &h)) lane = DAMAGED;
  return (record){numbered.id, lane, peer};
}

static void keep(record r) {
  if (logger.waiting_count == logger.waiting_room) {
    logger.waiting_room = 2 * logger.waiting_room + 64;
    logger.waiting = realloc(logger.waiting, logger.waiting_room * sizeof r);
    if (!logger.waiting) die("memory", LYQ_ENOMEM);
  }
  logger.waiting[logger.waiting_count++] = r;
}

static int on_items(void *ctx, const lyq_msg *m, size_t n) {
  (void)ctx;
  pthread_mutex_lock(&logger.lock);
  for (size_t i = 0; i < n; i++) {
    if (m[i].kind != LYQ_DATA) continue;
    record r = record_of(&m[i]);
    if (logger.manual) keep(r);
    else put(&r, 1);
  }
  pthread_cond_signal(&logger.changed);
  pthread_mutex_unlock(&logger.lock);
  return (int)n;
}

/* scribe writes what waits, synchronises it, and only then acknowledges. */
static void *scribe(void *unused) {
  (void)unused;
  for (;;) {
    pthread_mutex_lock(&logger.lock);
    while (logger.waiting_count == 0) pthread_cond_wait(&logger.changed, &logger.lock);
    record *list = logger.waiting;
    size_t n = logger.waiting_count;
    logger.waiting = NULL;
    logger.waiting_count = logger.waiting_room = 0;
    pthread_mutex_unlock(&logger.lock);
    put(list, n);
    if (fdatasync(logger.fd) != 0) die("fdatasync", LYQ_EINTERNAL);
    for (size_t i = 0; i < n; i++) {
      if (list[i].lane == DAMAGED) continue;
      int rc = lyq_ack((lyq_endpoint){logger.peers[list[i].peer]}, LYQ_TAG(list[i].lane, 0), list[i].number);
      if (rc < 0 && rc != LYQ_ECLOSED) die("lyq_ack", rc);
    }
    free(list);
  }
}

int main(int argc, char **argv) {
  static const struct option options[] = {
    {"listen", 1, NULL, 'l'}, {"log", 1, NULL, 'f'}, {"seed", 1, NULL, 's'}, {"manual", 0, NULL, 'm'},
    {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0}};
  const char *listen = NULL, *file = NULL;
  char address[128], last;
  for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (c == 'l') listen = optarg;
    else if (c == 'f') file = optarg;
    else if (c == 'm') logger.manual = 1;
    else if (c != 's' || !parse_count(optarg, 0, UINT64_MAX, &logger.seed)) usage_ends(c);
  }
  if (!listen || !file) usage_ends(0);
  logger.fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (logger.fd < 0) die(file, LYQ_EINVAL);

  lyq_driver d;
  lyq_listener l;
  pthread_t thread;
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  o.recv = on_items;
  o.resume_ms = RESUME_MS;
  o.ack = logger.manual ? LYQ_ACK_MANUAL : LYQ_ACK_RETURN;
  int rc = lyq_driver_open(NULL, &d);
  if (rc < 0) die("driver", rc);
  for (int i = 0; (rc = lyq_listen(d, listen, &o, &l)) == LYQ_EBUSY && i < 1000; i++) usleep(1000);
  if (rc < 0 || (rc = lyq_address(l.id, address, sizeof address)) < 0) die(listen, rc);
  if (logger.manual && pthread_create(&thread, NULL, scribe, NULL) != 0) die("thread", LYQ_ELIMIT);
  fprintf(stderr, "listening on %s\n", address);
  while (read(STDIN_FILENO, &last, 1) > 0) { }
  return 0;
}
