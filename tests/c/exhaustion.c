/* No memory: calls that have to remember a context say LYQ_ENOMEM, and have then changed nothing. malloc fails on
 * demand; a sanitizer or valgrind has a malloc of its own, and there only the calls that succeed are tested. */
#include "kit.h"

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

int main(void) {
  tap_begin();
  lyq_driver d = open_driver(2);
  test_endpoints(d);
  test_late_receiver(d);
  test_logger();
  close_driver(d);
  return tap_end();
}
