/* Calls from Go into the host's functions, and what keeps Go's threads out of the host's signals and forks. */
#include "internal.h"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

void lyqi_call(lyq_fn fn, void *ctx) {
  lyqi_in_callback++;
  fn(ctx);
  lyqi_in_callback--;
}

/* Gives back memory that was sent by reference: with free, or with the host's own function. */
void lyqi_release(uint64_t release, uint64_t addr, uint64_t hint) {
  if (release == RELEASE_FREE) { lyqi_long_unref((void *)(uintptr_t)addr); return; }
  lyqi_call((lyq_fn)(uintptr_t)release, (void *)(uintptr_t)hint);
}

void lyqi_log(lyq_log_fn fn, void *ctx, int level, const char *id, const char *text) {
  lyqi_in_callback++;
  fn(ctx, level, id, text);
  lyqi_in_callback--;
}

/* Descriptors of ours, a bit each. A forked child must close its copies, or the peers of a parent that was killed would
 * still see a live socket. A descriptor beyond the bits (the kernel allows that many to few) is not closed. */
enum { DESCRIPTORS = 1 << 20 };
static _Atomic uint64_t ours[DESCRIPTORS / 64];

void lyqi_descriptor(int fd, int open) {
  if (fd < 0 || fd >= DESCRIPTORS) return;
  uint64_t bit = 1ull << (fd & 63);
  if (open) atomic_fetch_or(&ours[fd >> 6], bit); else atomic_fetch_and(&ours[fd >> 6], ~bit);
}

/* Runs in a forked child before fork returns there: only what is safe in a signal handler. */
static void in_child(void) {
  atomic_store(&lyqi_forked, 1);
  for (int i = 0; i < DESCRIPTORS / 64; i++)
    for (uint64_t set = atomic_load(&ours[i]); set; set &= set - 1) close(i * 64 + __builtin_ctzll(set));
}

/* Go's runtime starts in a constructor of its own, whose threads inherit the signal mask. This one runs before it and
 * blocks everything that Go does not need on its threads, so that none of the host's signals is ever delivered to them;
 * the one below restores the mask. */
static sigset_t before;

__attribute__((constructor(101))) static void block_signals(void) {
  static const int go_needs[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGURG, SIGPROF, SIGSTKFLT};
  sigset_t set;
  sigfillset(&set);
  for (size_t i = 0; i < sizeof go_needs / sizeof *go_needs; i++) sigdelset(&set, go_needs[i]);
  pthread_sigmask(SIG_BLOCK, &set, &before);
  pthread_atfork(NULL, NULL, in_child);
}

__attribute__((constructor)) static void restore_signals(void) { pthread_sigmask(SIG_SETMASK, &before, NULL); }
