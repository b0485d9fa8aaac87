/* The steady state allocates nothing: malloc and its like are counted over a million messages, pushed and pulled. The
 * counting functions stand before those of the C library; a sanitizer or valgrind has its own, and only the exchange is
 * tested there. */
#include <lyquor.h>

#include "tap.h"

#include <errno.h>

#if defined(__SANITIZE_ADDRESS__) || defined(UNCOUNTED)
enum { COUNTING = 0 };
static long allocations(void) { return 0; }
#else
enum { COUNTING = 1 };
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
static _Atomic long counted;
static long allocations(void) { return __atomic_load_n(&counted, __ATOMIC_SEQ_CST); }
static void count(void) { __atomic_fetch_add(&counted, 1, __ATOMIC_RELAXED); }
void *malloc(size_t size) { count(); return __libc_malloc(size); }
void *calloc(size_t n, size_t size) { count(); return __libc_calloc(n, size); }
void *realloc(void *p, size_t size) { count(); return __libc_realloc(p, size); }
void *aligned_alloc(size_t alignment, size_t size) { count(); return __libc_memalign(alignment, size); }
int posix_memalign(void **out, size_t alignment, size_t size) {
  count();
  *out = __libc_memalign(alignment, size);
  return *out ? 0 : ENOMEM;
}
#endif

enum { MESSAGES = 1000000, MOST = 100, WARM = 10000, BATCH = 64 };

static uint64_t received;

static int on_message(void *ctx, const lyq_msg *m, size_t n) {
  (void)ctx;
  uint64_t messages = 0;
  for (size_t i = 0; i < n; i++) messages += m[i].kind == LYQ_DATA;
  __atomic_fetch_add(&received, messages, __ATOMIC_RELEASE);
  return (int)n;
}

/* Sends n messages of 64 bytes; 0 if one was not accepted in time. */
static int send_many(lyq_endpoint ep, int n) {
  char message[64] = {0};
  for (int i = 0; i < n; i++)
    if (lyq_send_wait(ep, LYQ_TAG(i & 3, i), message, sizeof message, patience_ms()) < 0) return 0;
  return 1;
}

static int received_within(uint64_t n) {
  int64_t end = now_ns() + (int64_t)patience_ms() * 1000000;
  while (__atomic_load_n(&received, __ATOMIC_ACQUIRE) < n && now_ns() < end) sched_yield();
  return __atomic_load_n(&received, __ATOMIC_ACQUIRE) == n;
}

static void *pull(void *arg) {
  lyq_inbox in = *(lyq_inbox *)arg;
  lyq_msg m[BATCH];
  int n;
  while ((n = lyq_recv(in, m, BATCH, -1)) > 0) {
    on_message(NULL, m, (size_t)n);
    lyq_release(m, (size_t)n);
  }
  return NULL;
}

static void exchange(const char *how, lyq_endpoint ep) {
  uint64_t sent = WARM;
  __atomic_store_n(&received, 0, __ATOMIC_RELEASE);
  ok(send_many(ep, WARM) && received_within(sent), "%s: it is warm", how);
  long before = allocations();
  ok(send_many(ep, many(MESSAGES)) && received_within(sent + (uint64_t)many(MESSAGES)), "%s: all arrive", how);
  long made = allocations() - before;
  printf("# %s: %ld allocations over %d messages%s\n", how, made, many(MESSAGES), COUNTING ? "" : " (not counted)");
  ok(made < MOST, "%s: fewer than %d allocations", how, MOST);
}

int main(void) {
  lyq_driver d;
  lyq_listener l;
  lyq_inbox in;
  lyq_endpoint pushed, pulled;
  pthread_t puller;
  char address[64];
  tap_begin();
  LYQ_DEFAULTS(lyq_endpoint_opt, push);
  LYQ_DEFAULTS(lyq_endpoint_opt, keep);
  push.recv = on_message;
  is(lyq_driver_open(NULL, &d), 0, "a driver");
  is(lyq_inbox_open(d, &in), 0, "an inbox");
  keep.inbox = in;
  is(lyq_listen(d, "tcp://127.0.0.1:0", &push, &l), 0, "a listener whose endpoints call back");
  ok(lyq_address(l.id, address, sizeof address) > 0, "its address");
  is(lyq_dial(d, address, NULL, &pushed), 0, "an endpoint to it");
  exchange("callback", pushed);
  is(lyq_close(l.id, 0), 0, "it is closed");
  is(lyq_listen(d, "tcp://127.0.0.1:0", &keep, &l), 0, "a listener with an inbox");
  ok(lyq_address(l.id, address, sizeof address) > 0, "its address");
  is(lyq_dial(d, address, NULL, &pulled), 0, "an endpoint to it");
  is(pthread_create(&puller, NULL, pull, &in), 0, "a thread that pulls");
  exchange("inbox", pulled);
  is(lyq_close(d.id, 1000), 0, "the driver is closed");
  is(pthread_join(puller, NULL), 0, "the thread ends");
  is(lyq_wait(d.id, LYQ_CLOSED, patience_ms()), 0, "and the driver");
  return tap_end();
}
