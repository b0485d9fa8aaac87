/* What the tests of the C API build on: a recorder of items, a pair of endpoints, payloads that show damage, and random
 * numbers.
 *
 * A recorder is the receiver of endpoints. It copies what it gets under a lock, so that the test's thread can wait for
 * it, and keeps watch on what must never happen: two calls at once, an item after drop, memory that is not aligned. */
#ifndef LYQUOR_TEST_KIT_H
#define LYQUOR_TEST_KIT_H

#include "tap.h"
#include <arpa/inet.h>
#include <errno.h>
#include <lyquor.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* until polls for a condition of which nobody tells; 1 when it came true in time. */
#define until(condition) \
  __extension__({ \
    int64_t until_end = now_ns() + (int64_t)patience_ms() * 1000000; \
    int until_good; \
    while (!(until_good = (condition) != 0) && now_ns() < until_end) { \
      nanosleep(&(struct timespec){0, 200000}, NULL); \
    } \
    until_good; \
  })

/* random64 is splitmix64: any state is a good one. */
static inline uint64_t random64(uint64_t *state) {
  uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
}

/* fill writes bytes that depend on the seed and the place, so that a message that was mixed up shows. */
static inline void fill(void *data, size_t size, uint64_t seed) {
  uint8_t *p = data;
  uint64_t x = seed;
  for (; size >= 8; p += 8, size -= 8) {
    x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    memcpy(p, &x, 8);
  }
  x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  memcpy(p, &x, size);
}

static inline uint64_t hash_of(const void *data, size_t size) {
  const uint8_t *p = data;
  uint64_t h = size + 1, x = 0;
  for (; size >= 8; p += 8, size -= 8) {
    memcpy(&x, p, 8);
    h = (h ^ x) * UINT64_C(0x9e3779b97f4a7c15);
    h ^= h >> 29;
  }
  x = 0;
  if (size > 0) memcpy(&x, p, size);
  return (h ^ x) * UINT64_C(0x9e3779b97f4a7c15);
}

/* ---- Details of events: FlatBuffers tables, read with every offset checked. */

/* table_field returns where field i of the root table lies, or 0 if it is absent or the buffer makes no sense. */
static inline size_t table_field(const uint8_t *b, size_t size, unsigned i) {
  uint32_t root;
  int32_t back;
  uint16_t vtable_size, field;
  if (b == NULL || size < 8) return 0;
  memcpy(&root, b, 4);
  if (root > size - 4) return 0;
  memcpy(&back, b + root, 4);
  int64_t vtable = (int64_t)root - back;
  if (vtable < 0 || vtable + 4 > (int64_t)size) return 0;
  memcpy(&vtable_size, b + vtable, 2);
  if (vtable_size < 6 + 2 * i || vtable + vtable_size > (int64_t)size) return 0;
  memcpy(&field, b + vtable + 4 + 2 * i, 2);
  return field == 0 || root + field + 4 > size ? 0 : root + field;
}

/* table_text copies a string field; "" if it is absent. */
static inline void table_text(const uint8_t *b, size_t size, unsigned i, char *out, size_t room) {
  uint32_t offset, length = 0;
  size_t at = table_field(b, size, i);
  out[0] = 0;
  if (at == 0) return;
  memcpy(&offset, b + at, 4);
  if (offset > size - at - 4) return;
  memcpy(&length, b + at + offset, 4);
  if (length > size - at - offset - 4) return;
  snprintf(out, room, "%.*s", (int)length, (const char *)b + at + offset + 4);
}

/* ---- The recorder. */

typedef struct seen {
  uint64_t ep, id, token, hash;
  size_t size;
  void *ctx;
  lyq_tag tag;
  uint16_t kind;
  int16_t code;
  char text[256];          /* of an event: field 1 of its detail, which is the remote address or the reason */
} seen;

typedef struct recorder recorder;
struct recorder {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  seen *items;
  size_t n, capacity;
  int inside, overlaps;    /* calls that run now; calls that began while another ran */
  int drops, after_drop;   /* drops, and items that came after one */
  int misaligned;
  int shared;              /* 1: of several endpoints, so that calls may overlap */
  int (*hook)(recorder *r, const lyq_msg *m, size_t n); /* decides how many of n to take; NULL: all */
  void *of_hook;
};

static inline void recorder_init(recorder *r) {
  memset(r, 0, sizeof *r);
  pthread_mutex_init(&r->lock, NULL);
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&r->changed, &monotonic);
  pthread_condattr_destroy(&monotonic);
}

/* recorder_free must only be called after drop: before that the library may call. */
static inline void recorder_free(recorder *r) {
  free(r->items);
  pthread_mutex_destroy(&r->lock);
  pthread_cond_destroy(&r->changed);
}

static inline seen look_at(const lyq_msg *m) {
  seen s = {m->ep.id, m->id, m->token, 0, m->size, m->ctx, m->tag, m->kind, m->code, ""};
  if (m->kind == LYQ_DATA) s.hash = hash_of(m->data, m->size);
  else table_text(m->data, m->size, 1, s.text, sizeof s.text);
  return s;
}

static inline int aligned(const lyq_msg *m) {
  return ((uintptr_t)m->data & (m->kind == LYQ_DATA && m->size > 65536 ? 63u : 7u)) == 0;
}

static inline void recorder_add(recorder *r, const lyq_msg *m) {
  if (r->n == r->capacity) {
    r->capacity = r->capacity ? 2 * r->capacity : 64;
    r->items = realloc(r->items, r->capacity * sizeof *r->items);
    if (r->items == NULL) abort();
  }
  r->items[r->n++] = look_at(m);
  r->misaligned += !aligned(m);
  r->after_drop += r->drops > 0;
}

static inline int on_record(void *ctx, const lyq_msg *m, size_t n) {
  recorder *r = ctx;
  int taken = (int)n, serial = m[0].ep.id != 0; /* a listener's last item may come beside those of what it accepted */
  pthread_mutex_lock(&r->lock);
  if (serial) r->overlaps += r->inside++ > 0 && !r->shared;
  pthread_mutex_unlock(&r->lock);
  if (r->hook != NULL) taken = r->hook(r, m, n);
  pthread_mutex_lock(&r->lock);
  for (int i = 0; i < taken; i++)
    recorder_add(r, &m[i]);
  r->inside -= serial;
  pthread_cond_broadcast(&r->changed);
  pthread_mutex_unlock(&r->lock);
  return taken;
}

static inline void on_drop(void *ctx) {
  recorder *r = ctx;
  pthread_mutex_lock(&r->lock);
  r->drops++;
  pthread_cond_broadcast(&r->changed);
  pthread_mutex_unlock(&r->lock);
}

static inline int recorder_count_locked(const recorder *r, int kind) {
  int count = 0;
  for (size_t i = 0; i < r->n; i++)
    count += r->items[i].kind == kind;
  return count;
}

static inline int recorder_count(recorder *r, int kind) {
  pthread_mutex_lock(&r->lock);
  int count = recorder_count_locked(r, kind);
  pthread_mutex_unlock(&r->lock);
  return count;
}

static inline struct timespec deadline_of(int ms) {
  int64_t at = now_ns() + (int64_t)ms * 1000000;
  return (struct timespec){at / 1000000000, at % 1000000000};
}

/* recorder_wait waits for count items of a kind; 1 when they are there. */
static inline int recorder_wait(recorder *r, int kind, int count) {
  struct timespec deadline = deadline_of(patience_ms());
  int found, rc = 0;
  pthread_mutex_lock(&r->lock);
  while ((found = recorder_count_locked(r, kind)) < count && rc != ETIMEDOUT)
    rc = pthread_cond_timedwait(&r->changed, &r->lock, &deadline);
  pthread_mutex_unlock(&r->lock);
  return found >= count;
}

static inline int recorder_wait_drop(recorder *r) {
  struct timespec deadline = deadline_of(patience_ms());
  int rc = 0, drops;
  pthread_mutex_lock(&r->lock);
  while ((drops = r->drops) == 0 && rc != ETIMEDOUT)
    rc = pthread_cond_timedwait(&r->changed, &r->lock, &deadline);
  pthread_mutex_unlock(&r->lock);
  return drops > 0;
}

/* recorder_item waits for the nth item of a kind, from 0, and copies it; an item of kind 0xffff if none comes. */
static inline seen recorder_item(recorder *r, int kind, int nth) {
  seen found = {0};
  found.kind = 0xffff;
  recorder_wait(r, kind, nth + 1);
  pthread_mutex_lock(&r->lock);
  for (size_t i = 0; i < r->n; i++)
    if (r->items[i].kind == kind && nth-- == 0) {
      found = r->items[i];
      break;
    }
  pthread_mutex_unlock(&r->lock);
  return found;
}

/* recorder_faults counts what must never be seen; call it when the endpoint has ended and drop has come. */
static inline int recorder_faults(recorder *r) {
  pthread_mutex_lock(&r->lock);
  int closed = 0, last = 0;
  for (size_t i = 0; i < r->n; i++) {
    if (r->items[i].ep == 0) continue;
    last = r->items[i].kind == LYQ_CLOSED;
    closed += last;
  }
  int faults = r->overlaps + r->after_drop + r->misaligned + (r->drops != 1);
  if (!r->shared) faults += (closed != 1) + !last;
  if (faults != 0)
    note("overlaps %d, after drop %d, misaligned %d, drops %d, CLOSED %d, CLOSED last %d", r->overlaps, r->after_drop,
         r->misaligned, r->drops, closed, last);
  pthread_mutex_unlock(&r->lock);
  return faults;
}

/* ---- The puller: a thread that takes from an inbox and gives what it took to a recorder. */

typedef struct puller {
  lyq_inbox inbox;
  recorder *to;
  pthread_t thread;
  int result;              /* why it stopped */
} puller;

static inline void *puller_run(void *arg) {
  puller *p = arg;
  lyq_msg m[32];
  for (;;) {
    int n = lyq_recv(p->inbox, m, 32, -1);
    if (n == LYQ_EINTR) continue;
    if (n <= 0) {
      p->result = n;
      return NULL;
    }
    for (int i = 0; i < n; i++)
      on_record(p->to, &m[i], 1);
    lyq_release(m, (size_t)n);
  }
}

static inline void puller_start(puller *p, lyq_driver d, recorder *to) {
  p->to = to;
  int rc = lyq_inbox_open(d, &p->inbox);
  need(rc == 0, "an inbox opens: %s: %s", lyq_strerror(rc), lyq_detail());
  need(pthread_create(&p->thread, NULL, puller_run, p) == 0, "a thread starts");
}

/* puller_stop closes the inbox, on which the thread's lyq_recv returns. */
static inline void puller_stop(puller *p) {
  lyq_close(p->inbox.id, 0);
  pthread_join(p->thread, NULL);
  is(p->result, LYQ_ECLOSED, "lyq_recv returns LYQ_ECLOSED when its inbox is closed");
}

/* ---- Pairs of endpoints. */

static const char *const schemes[] = {"tcp", "mem", "fd"};
enum { SCHEMES = 3 };

/* defects counts the panics of which the library has told: each ended an endpoint, and is a defect. */
static int defects;

static inline void on_defect(void *ctx, int level, const char *id, const char *text) {
  (void)ctx, (void)level;
  if (strstr(id, "panic") == NULL) return;
  __atomic_fetch_add(&defects, 1, __ATOMIC_RELAXED);
  note("%s: %s", id, text);
}

static inline void no_defects(void) {
  is(__atomic_load_n(&defects, __ATOMIC_RELAXED), 0, "the library has found no defect of its own");
}

static inline lyq_driver open_driver(unsigned workers) {
  lyq_driver d = {0};
  LYQ_DEFAULTS(lyq_driver_opt, opt);
  lyq_set_logger(on_defect, NULL, NULL, 0);
  opt.workers = workers;
  int rc = lyq_driver_open(&opt, &d);
  need(rc == 0, "a driver opens: %s: %s", lyq_strerror(rc), lyq_detail());
  return d;
}

/* close_driver ends a driver and everything in it. */
static inline void close_driver(lyq_driver d) {
  lyq_close(d.id, 0);
  is(lyq_wait(d.id, LYQ_CLOSED, patience_ms()), 0, "the driver ends");
  no_defects();
}

typedef struct pair {
  lyq_listener listener;   /* {0} for fd */
  lyq_endpoint a, b;       /* dialled, accepted */
  recorder ra, rb;         /* their receivers, where the options have none */
  char address[128];
} pair;

static inline lyq_endpoint_opt with_recorder(const lyq_endpoint_opt *base, recorder *r) {
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  if (base != NULL) opt = *base;
  if (opt.recv == NULL && opt.inbox.id == 0) {
    opt.recv = on_record;
    opt.ctx = r;
    opt.drop = on_drop;
  }
  return opt;
}

static inline void pair_by_socket(pair *p, lyq_driver d, const lyq_endpoint_opt *a, const lyq_endpoint_opt *b) {
  int fds[2];
  char address[32];
  need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0, "a socket pair");
  snprintf(address, sizeof address, "fd://%d", fds[0]);
  int rc = lyq_dial(d, address, a, &p->a);
  need(rc == 0, "%s is adopted: %s: %s", address, lyq_strerror(rc), lyq_detail());
  snprintf(address, sizeof address, "fd://%d", fds[1]);
  rc = lyq_dial(d, address, b, &p->b);
  need(rc == 0, "%s is adopted: %s: %s", address, lyq_strerror(rc), lyq_detail());
}

/* accepted_of waits for the LYQ_ACCEPTED that names the endpoint. */
static inline lyq_endpoint accepted_of(recorder *r) {
  lyq_endpoint ep = {0};
  if (recorder_wait(r, LYQ_ACCEPTED, 1)) ep.id = recorder_item(r, LYQ_ACCEPTED, 0).ep;
  return ep;
}

static inline void pair_init(pair *p) {
  memset(p, 0, sizeof *p);
  recorder_init(&p->ra);
  recorder_init(&p->rb);
}

/* pair_open opens two endpoints that talk to each other; scheme is tcp, mem or fd. Options without receiver get the
 * pair's recorders; NULL means the default. If b is to pull, a thread must do so already, into the pair's recorder rb
 * (pair_init makes it). */
static inline void pair_open(pair *p, lyq_driver d, const char *scheme, const lyq_endpoint_opt *a,
                             const lyq_endpoint_opt *b) {
  static int names;
  char where[64];
  lyq_endpoint_opt oa = with_recorder(a, &p->ra), ob = with_recorder(b, &p->rb);
  if (strcmp(scheme, "fd") == 0) {
    pair_by_socket(p, d, &oa, &ob);
  } else {
    if (strcmp(scheme, "tcp") == 0) snprintf(where, sizeof where, "tcp://127.0.0.1:0");
    else snprintf(where, sizeof where, "%s://pair-%d", scheme, __atomic_add_fetch(&names, 1, __ATOMIC_RELAXED));
    int rc = lyq_listen(d, where, &ob, &p->listener);
    need(rc == 0, "%s is listened at: %s: %s", where, lyq_strerror(rc), lyq_detail());
    need(lyq_address(p->listener.id, p->address, sizeof p->address) > 0, "the listener has an address");
    rc = lyq_dial(d, p->address, &oa, &p->a);
    need(rc == 0, "%s is dialled: %s: %s", p->address, lyq_strerror(rc), lyq_detail());
    p->b = accepted_of(&p->rb);
    need(p->b.id != 0, "%s: the accepted endpoint shows itself", p->address);
  }
  need(lyq_wait(p->a.id, LYQ_UP, patience_ms()) == 0, "%s: the dialled endpoint comes up", scheme);
  need(lyq_wait(p->b.id, LYQ_UP, patience_ms()) == 0, "%s: the other endpoint comes up", scheme);
}

/* pair_close ends both sides and waits for them. */
static inline int pair_close(pair *p, int linger_ms) {
  int good = 1;
  if (p->listener.id != 0) good &= lyq_close(p->listener.id, 0) == 0;
  good &= lyq_close(p->a.id, linger_ms) == 0;
  good &= lyq_wait(p->a.id, LYQ_CLOSED, patience_ms()) == 0;
  lyq_close(p->b.id, linger_ms); /* it may have ended with its peer */
  good &= lyq_wait(p->b.id, LYQ_CLOSED, patience_ms()) == 0;
  return good;
}

/* pair_end closes a pair with two recorders in callback mode, and counts one test: that both saw a proper end. */
static inline void pair_end(pair *p, const char *name) {
  int good = pair_close(p, 0) && recorder_wait_drop(&p->ra) && recorder_wait_drop(&p->rb);
  ok(good && recorder_faults(&p->ra) == 0 && recorder_faults(&p->rb) == 0, "%s: ends with one CLOSED, then drop", name);
}

static inline void pair_free(pair *p) {
  recorder_free(&p->ra);
  recorder_free(&p->rb);
}

enum { CUT_DESCRIPTORS = 1024 };

/* cut shuts down every connection of this process that has the port at one end. Returns how many there were. */
static inline int cut(const char *address) {
  int port = atoi(strrchr(address, ':') + 1), n = 0;
  for (int fd = 3; fd < CUT_DESCRIPTORS; fd++) {
    struct sockaddr_in at;
    socklen_t size = sizeof at;
    if (getpeername(fd, (struct sockaddr *)&at, &size) != 0 || at.sin_family != AF_INET) continue;
    if (ntohs(at.sin_port) == port) n += shutdown(fd, SHUT_RDWR) == 0;
  }
  return n;
}

#endif
