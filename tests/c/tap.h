/* Results in the Test Anything Protocol, and the bounds in time that all test programs of the C API share.
 *
 * ok() may be called from any thread. A watchdog ends a program that hangs, and names the test it hung after: a test
 * that waits for ever would say nothing. LYQ_TEST_SLOW=1, or valgrind, lowers counts and raises bounds. */
#ifndef LYQUOR_TEST_TAP_H
#define LYQUOR_TEST_TAP_H

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
  TAP_LIMIT_S = 55,     /* a program's time, natively */
  TAP_SLOWER = 5,       /* how much slower valgrind and the like are, for bounds in time */
  TAP_FEWER = 20        /* how much less is done there */
};

static struct { pthread_mutex_t lock; int count, failed; char last[200]; } tap = {PTHREAD_MUTEX_INITIALIZER, 0, 0, ""};

static inline int tap_slow(void) {
  const char *asked = getenv("LYQ_TEST_SLOW"), *preload = getenv("LD_PRELOAD");
  return (asked != NULL && strcmp(asked, "0") != 0) || (preload != NULL && strstr(preload, "vgpreload") != NULL);
}

/* many returns how often to do something: n, or a share of it, but at least 2. */
static inline int many(int n) {
  int fewer = n / TAP_FEWER;
  return !tap_slow() ? n : fewer > 2 ? fewer : 2;
}

/* patience_ms is the bound on waits that are expected to end at once; reaching it is a failure. */
static inline int patience_ms(void) { return tap_slow() ? 10000 * TAP_SLOWER : 10000; }

static inline int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void *tap_watchdog(void *arg) {
  (void)arg;
  sleep(tap_slow() ? TAP_LIMIT_S * TAP_SLOWER : TAP_LIMIT_S);
  printf("not ok - the program hangs; the last test was: %s\n", tap.last);
  fflush(stdout);
  _exit(3);
}

/* tap_begin comes first in main. It starts the watchdog, which takes no signal. */
static inline void tap_begin(void) {
  pthread_t watchdog;
  sigset_t all, before;
  setvbuf(stdout, NULL, _IOLBF, 0);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  if (pthread_create(&watchdog, NULL, tap_watchdog, NULL) == 0) pthread_detach(watchdog);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

__attribute__((format(printf, 4, 5)))
static inline int tap_ok(const char *file, int line, int good, const char *format, ...) {
  va_list args;
  pthread_mutex_lock(&tap.lock);
  va_start(args, format);
  vsnprintf(tap.last, sizeof tap.last, format, args);
  va_end(args);
  printf("%sok %d - %s\n", good ? "" : "not ", ++tap.count, tap.last);
  if (!good) {
    tap.failed++;
    printf("# at %s:%d\n", file, line);
  }
  pthread_mutex_unlock(&tap.lock);
  return good;
}

static inline int tap_is(const char *file, int line, int64_t got, int64_t want, const char *name) {
  int good = tap_ok(file, line, got == want, "%s", name);
  if (!good) printf("# got %lld, expected %lld\n", (long long)got, (long long)want);
  return good;
}

/* ok(good, format, ...) counts a test; is(got, want, name) one of two integers that should be equal. */
#define ok(good, ...) tap_ok(__FILE__, __LINE__, (good) != 0, __VA_ARGS__)
#define is(got, want, name) tap_is(__FILE__, __LINE__, (int64_t)(got), (int64_t)(want), name)
#define note(...) (printf("# " __VA_ARGS__), putchar('\n'))

/* need stops the program when going on would make no sense. */
#define need(good, ...) \
  do { \
    if (!(good)) { \
      tap_ok(__FILE__, __LINE__, 0, __VA_ARGS__); \
      exit(tap_end()); \
    } \
  } while (0)

/* tap_end prints the plan and returns main's result. */
static inline int tap_end(void) {
  printf("1..%d\n", tap.count);
  fflush(stdout);
  return tap.failed != 0;
}

#endif
