/* What works on any handle without entering Go: close, wait, resume, and the thread's own state. */
#include "internal.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

root *lyqi_root;
office *lyqi_office;
_Atomic int lyqi_forked;
_Thread_local int lyqi_in_callback;
_Thread_local slot *lyqi_serving;
static _Thread_local char detail[512];

void lyqi_share(void *r, void *o) { lyqi_office = o; __atomic_store_n(&lyqi_root, (root *)r, __ATOMIC_SEQ_CST); }

void lyqi_detail(const char *text) {
  size_t n = strlen(text);
  if (n >= sizeof detail) n = sizeof detail - 1;
  memcpy(detail, text, n);
  detail[n] = 0;
}

int lyqi_fail(int code, const char *text) { lyqi_detail(text); return code; }

API const char *lyq_detail(void) { return detail; }

int64_t lyqi_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Go's runtime sends SIGURG to stop goroutines. A thread that just came back from a call into Go may still get one, and
 * the program is not to be told LYQ_EINTR of that: SIGURG waits while the thread sleeps. */
void lyqi_hold_urgent(sigset_t *before) {
  sigset_t urgent;
  sigemptyset(&urgent);
  sigaddset(&urgent, SIGURG);
  pthread_sigmask(SIG_BLOCK, &urgent, before);
}

/* Every sleep ends within a second: without a timeout the kernel restarts it after a signal whose handler has
 * SA_RESTART, and the caller looks whether the slot began another life meanwhile. */
int lyqi_sleep(_Atomic uint32_t *word, uint32_t seen, int64_t deadline) {
  int64_t left = 1000000000, now = lyqi_clock();
  if (deadline) {
    if (deadline <= now) return LYQ_ETIMEDOUT;
    if (deadline - now < left) left = deadline - now;
  }
  struct timespec t = {left / 1000000000, left % 1000000000};
  sigset_t before;
  lyqi_hold_urgent(&before);
  int err = syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, &t, NULL, 0) < 0 && errno == EINTR ? LYQ_EINTR : 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return err;
}

void lyqi_wake(_Atomic uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); }

/* Asks a handle's worker for something: bits of COMMAND_... The epoch, or LYQ_ECLOSED. */
static int command(slot *s, uint64_t id, uint32_t bits) {
  int64_t epoch = slot_ask(s, id, bits);
  if (epoch < 0) return LYQ_ECLOSED;
  slot_ring(lyqi_root, s);
  return (int)epoch;
}

API int lyq_close(uint64_t id, int linger_ms) {
  int err = 0;
  slot *s = lyqi_live(id, 0, &err);
  if (!s) return err == LYQ_EHANDLE ? err : 0;   /* closing what is closed, or in a forked child, is no mistake */
  if (linger_ms < -1) return LYQ_EINVAL;
  if (handle_kind(id) == KIND_ENDPOINT) log_close(s, id);
  if (slot_ask_close(s, id, linger_ms) >= 0) slot_ring(lyqi_root, s);   /* else it has closed meanwhile */
  return 0;
}

API int lyq_end(lyq_endpoint ep) {
  int err = 0;
  slot *s = lyqi_live(ep.id, KIND_ENDPOINT, &err);
  if (!s) return err;
  log_close(s, ep.id);
  err = command(s, ep.id, COMMAND_END);
  return err < 0 ? err : 0;
}

API int lyq_flush(lyq_endpoint ep) {
  int err = 0;
  slot *s = lyqi_live(ep.id, KIND_ENDPOINT, &err);
  if (!s) return err;
  err = command(s, ep.id, COMMAND_FLUSH);
  return err < 0 ? err : 0;
}

API int lyq_resume(uint64_t id) {
  int err = 0;
  slot *s = lyqi_live(id, 0, &err);
  if (!s) return err;
  if (handle_kind(id) != KIND_ENDPOINT && handle_kind(id) != KIND_DRIVER) return LYQ_EHANDLE;
  err = command(s, id, COMMAND_RESUME);
  return err < 0 ? err : 0;
}

/* Whether a bit of the state is set; STATE_QUIET as the answer to what was asked in an epoch, in that or a later one.
 * An earlier answer was to a call that timed out, and the program has resumed since. */
static int is_set(uint32_t state, uint32_t bit, int epoch) {
  if (!(state & bit)) return 0;
  return bit != STATE_QUIET || (int32_t)((state & ~(uint32_t)FLAG_MASK) - ((uint32_t)epoch << EPOCH_SHIFT)) >= 0;
}

/* Waits until a bit of the state is set. 1: it is; 0: the life ended without; below 0: a code. */
static int wait_state(slot *s, uint64_t id, uint32_t bit, int epoch, int timeout_ms) {
  int64_t deadline = timeout_ms < 0 ? 0 : lyqi_clock() + (int64_t)timeout_ms * 1000000;
  for (;;) {
    uint32_t state = atomic_load(&s->state);
    if (!slot_lives(s, id)) return 0;
    if (state & STATE_CLOSED) return bit == STATE_CLOSED;   /* first: what came up and has ended is not up */
    if (is_set(state, bit, epoch)) return 1;
    if (lyqi_in_callback) return LYQ_EDEADLK;
    if (timeout_ms == 0) return LYQ_ETIMEDOUT;
    if (!(state & STATE_SLEEPS)) {
      atomic_fetch_or(&s->state, STATE_SLEEPS);
      continue;
    }
    int err = lyqi_sleep((_Atomic uint32_t *)&s->state, state, deadline);
    if (err < 0) return err;
  }
}

/* Whether a restart of the peer has withdrawn a lane's messages below number upto since cut was read. After two of them
 * nobody knows where the first began: what it took counts as below. */
static int was_cut(lane *l, uint64_t cut, uint64_t upto) {
  uint64_t now = atomic_load(&l->cut), first = now & ((1ull << CUT_SHIFT) - 1);
  return now != cut && (((now - cut) >> CUT_SHIFT) > 1 || first < upto);
}

/* Waits until every message that was accepted before the call is acknowledged. */
static int wait_acked(slot *s, uint64_t id, int timeout_ms) {
  int64_t deadline = timeout_ms < 0 ? 0 : lyqi_clock() + (int64_t)timeout_ms * 1000000;
  uint64_t upto[LANES], cut[LANES];
  for (int i = 0; i < LANES; i++) {
    cut[i] = atomic_load(&s->lanes[i].cut);
    upto[i] = log_claimed(s, i);
  }
  for (;;) {
    uint32_t seen = atomic_load(&s->room);
    int all = 1, lost;
    /* In this order: what is withdrawn counts as acknowledged once cut and untold tell of it. */
    for (int i = 0; i < LANES; i++) all &= atomic_load(&s->lanes[i].head_seq) >= upto[i];
    lost = atomic_load(&s->untold) != 0;
    for (int i = 0; i < LANES; i++) lost |= was_cut(&s->lanes[i], cut[i], upto[i]);
    uint32_t state = atomic_load(&s->state);
    if (!slot_lives(s, id) || state & STATE_CLOSED) return LYQ_ECLOSED;
    if (lost) return LYQ_ERESET;
    if (all) return 0;
    if (state & STATE_PARTED) return LYQ_ECLOSED;
    if (lyqi_in_callback) return LYQ_EDEADLK;
    if (timeout_ms == 0) return LYQ_ETIMEDOUT;
    if (!(atomic_fetch_or(&s->want, WANT_ACK) & WANT_ACK)) {
      lyqi_ring(s);
      continue;   /* it may have come before the worker was told to tell */
    }
    int err = lyqi_sleep(&s->room, seen, deadline);
    if (err < 0) return err;
  }
}

API int lyq_wait(uint64_t id, int until, int timeout_ms) {
  int err = 0;
  if ((until != LYQ_CLOSED && until != LYQ_UP && until != LYQ_ACKED) || timeout_ms < -1) return LYQ_EINVAL;
  slot *s = lyqi_live(id, 0, &err);
  if (!s) return err == LYQ_ECLOSED && until == LYQ_CLOSED ? 0 : err;
  if (until != LYQ_CLOSED && handle_kind(id) != KIND_ENDPOINT) return LYQ_EINVAL;
  if (until == LYQ_ACKED) return wait_acked(s, id, timeout_ms);
  uint32_t bit = until == LYQ_UP ? STATE_UP : STATE_CLOSED;
  int got = wait_state(s, id, bit, 0, timeout_ms);
  if (got < 0) return got;
  return got || until == LYQ_CLOSED ? 0 : LYQ_ECLOSED;
}

API int lyq_quiesce(uint64_t id, int timeout_ms) {
  int err = 0;
  slot *s = lyqi_live(id, 0, &err);
  if (!s) return err;
  if (handle_kind(id) != KIND_ENDPOINT && handle_kind(id) != KIND_DRIVER) return LYQ_EHANDLE;
  if (timeout_ms < -1) return LYQ_EINVAL;
  if (lyqi_in_callback) return LYQ_EDEADLK;
  int epoch = command(s, id, COMMAND_QUIESCE);
  if (epoch < 0) return epoch;
  int got = wait_state(s, id, STATE_QUIET, epoch, timeout_ms);
  return got < 0 ? got : 0;   /* what is closed is quiet too */
}

API uint32_t lyq_abi_version(void) { return LYQ_ABI_VERSION; }

API const char *lyq_strerror(int err) {
  static const char *const text[] = {
    "success", "invalid argument", "not a handle of this kind", "closed", "no room now",
    "message too long", "timed out", "interrupted by a signal", "would wait inside a callback",
    "not usable in a forked child", "bad or unresolvable address", "out of memory", "a limit is reached",
    "connection refused", "unreachable", "connection reset", "no version in common", "not supported",
    "internal error", "in use", "the peer broke the protocol",
  };
  if (err > 0 || err <= -(int)(sizeof text / sizeof *text)) return "unknown error";
  return text[-err];
}

API int lyq_has(const char *what) {
  static const char *const known[] = {"tcp", "mem", "fd", "pull", "portable"};
  for (size_t i = 0; what && i < sizeof known / sizeof *known; i++)
    if (strcmp(what, known[i]) == 0) return 1;
  return 0;
}
