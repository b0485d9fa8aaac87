/* What has run out. No memory: calls that have to remember a context say LYQ_ENOMEM, and have then changed nothing.
 * malloc fails on demand; a sanitizer or valgrind has a malloc of its own, and there only the calls that succeed are
 * tested. No descriptors: calls that need one say LYQ_ELIMIT, what waits for one goes on when there are some again, and
 * nobody else notices. Not so under valgrind, which keeps the limit itself: it accepts, and closes what is too much. */
#include "kit.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/resource.h>

#if defined(__SANITIZE_ADDRESS__) || defined(UNCOUNTED)
enum { FAILING = 0 };
static void memory(int there) { (void)there; }
#else
enum { FAILING = 1 };
void *__libc_malloc(size_t size);
/* What a context takes: a count, a function, and its argument. */
enum { CONTEXT_SIZE = 24 };
static _Thread_local int exhausted;
static void memory(int there) { exhausted = !there; }
void *malloc(size_t size) { return exhausted && size == CONTEXT_SIZE ? NULL : __libc_malloc(size); }
#endif

static void on_log(void *ctx, int level, const char *id, const char *text) {
  (void)ctx, (void)level, (void)id, (void)text;
}

static void count_drop(void *ctx) { __atomic_fetch_add((int *)ctx, 1, __ATOMIC_RELAXED); }

/* Tries a call without memory, which has to fail, and then with it. */
#define TRY(call, name) \
  do { \
    if (FAILING) { \
      memory(0); \
      int tried = call; \
      memory(1); \
      is(tried, LYQ_ENOMEM, name " says that there is no memory"); \
      ok(lyq_detail()[0] != 0, "with a detail"); \
    } \
    is(call, 0, name); \
  } while (0)

static void test_endpoints(lyq_driver d) {
  LYQ_DEFAULTS(lyq_endpoint_opt, accepted);
  LYQ_DEFAULTS(lyq_endpoint_opt, dialled);
  recorder ra, rb;
  int own = 0;
  lyq_listener l;
  lyq_endpoint a;
  recorder_init(&ra);
  recorder_init(&rb);
  accepted.recv = dialled.recv = on_record;
  accepted.drop = dialled.drop = on_drop;
  accepted.ctx = &rb;
  dialled.ctx = &ra;
  TRY(lyq_listen(d, "mem://exhaustion", &accepted, &l), "lyq_listen");
  TRY(lyq_dial(d, "mem://exhaustion", &dialled, &a), "lyq_dial");
  ok(recorder_wait(&ra, LYQ_UP, 1) && recorder_wait(&rb, LYQ_UP, 1), "both sides come up");
  is(recorder_count(&rb, LYQ_ACCEPTED), 1, "what failed has opened nothing");
  lyq_endpoint b = accepted_of(&rb);
  TRY(lyq_set_ctx(b.id, &own, count_drop), "lyq_set_ctx");
  lyq_send(a, 0, "x", 1);
  ok(recorder_item(&rb, LYQ_DATA, 0).ctx == &own, "its context is shown");
  lyq_close(l.id, 0);
  lyq_close(a.id, 0);
  lyq_close(b.id, 0);
  ok(recorder_wait_drop(&ra) && recorder_wait_drop(&rb), "both end");
  ok(recorder_faults(&ra) == 0, "with one drop");
  ok(until(__atomic_load_n(&own, __ATOMIC_RELAXED) == 1), "and so does what lyq_set_ctx was given");
  recorder_free(&ra);
  recorder_free(&rb);
}

static void test_late_receiver(lyq_driver d) {
  LYQ_DEFAULTS(lyq_endpoint_opt, silent);
  recorder ra, rb;
  lyq_listener l;
  lyq_endpoint a;
  recorder_init(&ra);
  recorder_init(&rb);
  LYQ_DEFAULTS(lyq_endpoint_opt, accepted);
  accepted.recv = on_record;
  accepted.ctx = &rb;
  accepted.drop = on_drop;
  need(lyq_listen(d, "mem://late", &accepted, &l) == 0, "a listener");
  need(lyq_dial(d, "mem://late", &silent, &a) == 0, "an endpoint without receiver");
  TRY(lyq_on_recv(a.id, -1, on_record, &ra, on_drop), "lyq_on_recv");
  ok(recorder_wait(&ra, LYQ_UP, 1), "it receives");
  lyq_close(l.id, 0);
  lyq_close(a.id, 0);
  ok(recorder_wait_drop(&ra) && recorder_wait_drop(&rb), "both end");
  is(recorder_faults(&ra), 0, "with one drop");
  recorder_free(&ra);
  recorder_free(&rb);
}

static void test_logger(void) {
  int drops = 0;
  TRY(lyq_set_logger(on_log, &drops, count_drop, 0), "lyq_set_logger");
  is(lyq_set_logger(NULL, NULL, NULL, 0), 0, "no logger needs no memory");
  ok(until(__atomic_load_n(&drops, __ATOMIC_RELAXED) == 1), "the one before is dropped once");
}

/* Descriptors: all that the process may have are taken, and given back. */
enum { DESCRIPTORS = 200 };
#ifdef UNCOUNTED
enum { LIMITED = 0 };
#else
enum { LIMITED = 1 };
#endif
static struct { int fds[DESCRIPTORS], n; struct rlimit before; } taken;

static void take_descriptors(void) {
  getrlimit(RLIMIT_NOFILE, &taken.before);
  struct rlimit few = {DESCRIPTORS, taken.before.rlim_max};
  need(setrlimit(RLIMIT_NOFILE, &few) == 0, "descriptors are limited");
  for (taken.n = 0; taken.n < DESCRIPTORS; taken.n++)
    if ((taken.fds[taken.n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0) break;
  need(taken.n > 0 && taken.n < DESCRIPTORS && errno == EMFILE, "there are no more");
}

static void give_descriptors(void) {
  while (taken.n > 0)
    close(taken.fds[--taken.n]);
  setrlimit(RLIMIT_NOFILE, &taken.before);
}

/* connect_to connects a socket to a listener. */
static int connect_to(int fd, const char *address) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  at.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
  return connect(fd, (struct sockaddr *)&at, sizeof at);
}

/* Without descriptors: what is asked for. */
static void test_refusals(lyq_driver d, const char *address) {
  lyq_driver driver = {0};
  lyq_listener listener = {0};
  lyq_inbox inbox = {0};
  lyq_endpoint ep = {0};
  recorder r;
  recorder_init(&r);
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  lyq_endpoint_opt once = with_recorder(&o, &r);
  once.resume_ms = LYQ_WITH_LINK;
  is(lyq_driver_open(NULL, &driver), LYQ_ELIMIT, "no driver opens without descriptors");
  ok(strstr(lyq_detail(), "too many open files") != NULL, "and it is said why: %s", lyq_detail());
  is(lyq_listen(d, "tcp://127.0.0.1:0", &o, &listener), LYQ_ELIMIT, "nor a listener");
  ok(strstr(lyq_detail(), "too many open files") != NULL, "and it is said why: %s", lyq_detail());
  is(lyq_inbox_open(d, &inbox), LYQ_ELIMIT, "nor an inbox");
  ok(strstr(lyq_detail(), "too many open files") != NULL, "and it is said why: %s", lyq_detail());
  is(lyq_dial(d, address, &once, &ep), 0, "an endpoint does");
  is(recorder_item(&r, LYQ_CLOSED, 0).code, LYQ_ELIMIT, "and ends if it may dial only once");
  ok(recorder_wait_drop(&r) && recorder_faults(&r) == 0, "properly");
  recorder_free(&r);
}

static void test_descriptors(lyq_driver d) {
  pair p;
  recorder r, of_fd;
  lyq_endpoint waits = {0}, by_fd = {0};
  char address[32];
  pair_init(&p);
  p.rb.shared = 1;
  pair_open(&p, d, "tcp", NULL, NULL);
  recorder_init(&r);
  recorder_init(&of_fd);
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  lyq_endpoint_opt patient = with_recorder(&o, &r), given = with_recorder(&o, &of_fd);
  given.resume_ms = LYQ_WITH_LINK;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  need(fd >= 0, "a socket");
  snprintf(address, sizeof address, "fd://%d", fd);

  take_descriptors();
  test_refusals(d, p.address);
  is(lyq_dial(d, p.address, &patient, &waits), 0, "an endpoint that dials for ever opens");
  ok(lyq_send(waits, 0, "patience", 8) >= 0, "and takes messages");
  is(connect_to(fd, p.address), 0, "somebody connects who has a socket already");
  is(lyq_dial(d, address, &given, &by_fd), 0, "and hands it over");
  ok(lyq_send(p.a, 0, "unharmed", 8) >= 0, "who is connected sends");
  is(recorder_item(&p.rb, LYQ_DATA, 0).hash, hash_of("unharmed", 8), "and is heard");
  is(recorder_count(&p.rb, LYQ_ACCEPTED), 1, "nobody can be accepted");
  is(recorder_item(&r, LYQ_DOWN, 0).code, LYQ_ELIMIT, "who dials for ever hears why there is no connection");
  give_descriptors();

  is(lyq_wait(by_fd.id, LYQ_UP, patience_ms()), 0, "who waited to be accepted is, once there are descriptors");
  is(lyq_wait(waits.id, LYQ_UP, patience_ms()), 0, "and who dialled for ever has a connection");
  is(recorder_item(&p.rb, LYQ_DATA, 1).hash, hash_of("patience", 8), "with its message");
  is(recorder_count(&r, LYQ_DOWN) + recorder_count(&r, LYQ_CLOSED), 1, "and heard nothing else");
  lyq_close(waits.id, 0);
  lyq_close(by_fd.id, 0);
  ok(recorder_wait_drop(&r) && recorder_wait_drop(&of_fd), "both end");
  is(recorder_faults(&r) + recorder_faults(&of_fd), 0, "properly");
  ok(pair_close(&p, 0) && recorder_wait_drop(&p.ra) && recorder_wait_drop(&p.rb), "so do the others");
  recorder_free(&r);
  recorder_free(&of_fd);
  pair_free(&p);
}

int main(void) {
  tap_begin();
  lyq_driver d = open_driver(2);
  test_endpoints(d);
  test_late_receiver(d);
  test_logger();
  if (LIMITED) test_descriptors(d);
  close_driver(d);
  return tap_end();
}
