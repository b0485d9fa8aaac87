/* Signals: the library takes none of the host's, leaves its handlers alone, and lets them interrupt a wait. */
#define _GNU_SOURCE 1
#include "kit.h"
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

/* ---- A host that waits for its signals by descriptor. */

static int next_signal(int fd) {
  struct pollfd p = {fd, POLLIN, 0};
  struct signalfd_siginfo info;
  if (poll(&p, 1, patience_ms()) != 1 || read(fd, &info, sizeof info) != sizeof info) return -1;
  return (int)info.ssi_signo;
}

/* test_signalfd comes first: the library must start its threads without the signals that the host blocks. A thread that
 * had them unblocked would take them, and the default action would end the process. */
static void test_signalfd(void) {
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGTERM);
  sigaddset(&wanted, SIGUSR1);
  sigaddset(&wanted, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &wanted, NULL);
  int fd = signalfd(-1, &wanted, SFD_CLOEXEC);
  need(fd >= 0, "signalfd");
  lyq_driver d = open_driver(4);
  pair p;
  pair_init(&p);
  pair_open(&p, d, "tcp", NULL, NULL);
  for (int i = 0; i < 20; i++) {
    lyq_send(p.a, 0, "x", 1);
    kill(getpid(), SIGUSR1);
    if (next_signal(fd) != SIGUSR1) break;
    if (i == 19) ok(1, "SIGUSR1 reaches the host's signalfd, 20 times");
  }
  kill(getpid(), SIGTERM);
  is(next_signal(fd), SIGTERM, "SIGTERM reaches the host's signalfd");
  kill(getpid(), SIGHUP);
  is(next_signal(fd), SIGHUP, "SIGHUP reaches the host's signalfd");
  ok(recorder_wait(&p.rb, LYQ_DATA, 20), "messages flow meanwhile");
  pair_end(&p, "signalfd");
  pair_free(&p);
  close_driver(d);
  close(fd);
  pthread_sigmask(SIG_UNBLOCK, &wanted, NULL);
}

/* blocked_by returns the signals that a thread of this process blocks, a bit each. */
static unsigned long long blocked_by(const char *tid) {
  char path[64], line[256];
  unsigned long long blocked = 0;
  snprintf(path, sizeof path, "/proc/self/task/%.20s/status", tid);
  FILE *f = fopen(path, "re");
  while (f != NULL && fgets(line, sizeof line, f) != NULL)
    if (sscanf(line, "SigBlk: %llx", &blocked) == 1) break;
  if (f != NULL) fclose(f);
  return blocked;
}

static void test_threads_block(void) {
  /* SIGCHLD is none of them: Go's runtime lets it through on each of its threads. */
  static const int of_host[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGQUIT, SIGALRM, SIGWINCH};
  lyq_driver d = open_driver(2);
  int open_to_host = 0, threads = 0;
  DIR *tasks = opendir("/proc/self/task");
  need(tasks != NULL, "the list of threads");
  for (struct dirent *e; (e = readdir(tasks)) != NULL;) {
    if (e->d_name[0] == '.' || atoi(e->d_name) == (int)getpid()) continue;
    unsigned long long blocked = blocked_by(e->d_name);
    threads++;
    for (size_t i = 0; i < sizeof of_host / sizeof of_host[0]; i++)
      open_to_host += (blocked >> (of_host[i] - 1) & 1) == 0;
  }
  closedir(tasks);
  ok(threads > 2, "the process has %d more threads", threads);
  is(open_to_host, 0, "none of them takes a signal of the host");
  close_driver(d);
}

/* ---- Dispositions. */

static volatile sig_atomic_t caught;
static void on_signal(int number) { caught = number; }

static void test_handlers_stay(void) {
  static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD, SIGPIPE, SIGALRM};
  struct sigaction mine = {.sa_handler = on_signal}, now;
  int kept = 0;
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
    sigaction(numbers[i], &mine, NULL);
  lyq_driver d = open_driver(2);
  pair p;
  pair_init(&p);
  pair_open(&p, d, "tcp", NULL, NULL);
  pair_end(&p, "handlers");
  pair_free(&p);
  close_driver(d);
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    sigaction(numbers[i], NULL, &now);
    kept += now.sa_handler == on_signal;
  }
  is(kept, sizeof numbers / sizeof numbers[0], "handlers of the host stay as they are");
  caught = 0;
  raise(SIGUSR2);
  is(caught, SIGUSR2, "and are called");
}

/* broken_pipe writes to a pipe without reader while a driver lives; what it returns is the process's status. */
static int broken_pipe(void) {
  int fds[2];
  lyq_driver d;
  if (lyq_driver_open(NULL, &d) != 0 || pipe(fds) != 0) return 1;
  close(fds[0]);
  return write(fds[1], "x", 1) == -1 && errno == EPIPE ? 42 : 2;
}

/* run_again runs this program with an argument and a disposition of SIGPIPE, and returns its wait status. */
static int run_again(const char *what, void (*disposition)(int)) {
  char self[4096];
  int status = 0;
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  need(n > 0, "the program's own path");
  self[n] = 0;
  pid_t pid = fork();
  if (pid == 0) {
    signal(SIGPIPE, disposition);
    execl(self, self, what, (char *)NULL);
    _exit(127);
  }
  need(pid > 0 && waitpid(pid, &status, 0) == pid, "a process runs");
  return status;
}

static void test_sigpipe(void) {
  int status = run_again("broken-pipe", SIG_DFL);
  ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE, "a host with SIGPIPE at its default dies of it: status %#x",
     (unsigned)status);
  status = run_again("broken-pipe", SIG_IGN);
  ok(WIFEXITED(status) && WEXITSTATUS(status) == 42, "a host that ignores SIGPIPE gets EPIPE: status %#x",
     (unsigned)status);
}

/* test_broken_link has the library itself write to a connection that its peer has reset. */
static void test_broken_link(void) {
  struct sigaction mine = {.sa_handler = on_signal};
  int fds[2];
  char address[32];
  lyq_endpoint ep;
  recorder r;
  lyq_driver d = open_driver(1);
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  recorder_init(&r);
  opt.recv = on_record;
  opt.ctx = &r;
  opt.drop = on_drop;
  caught = 0;
  sigaction(SIGPIPE, &mine, NULL);
  need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0, "a socket pair");
  close(fds[1]);
  snprintf(address, sizeof address, "fd://%d", fds[0]);
  is(lyq_dial(d, address, &opt, &ep), 0, "a broken connection is adopted");
  ok(recorder_wait_drop(&r) && recorder_faults(&r) == 0, "its endpoint ends");
  is(caught, 0, "without SIGPIPE");
  close_driver(d);
  recorder_free(&r);
}

/* ---- Interrupted waits. */

typedef struct kicker { pthread_t victim, thread; int number, stop; } kicker;

/* kick_run signals a thread until it says stop, because a signal that comes before the wait does not interrupt it. */
static void *kick_run(void *arg) {
  kicker *k = arg;
  while (!__atomic_load_n(&k->stop, __ATOMIC_ACQUIRE)) {
    nanosleep(&(struct timespec){0, 5000000}, NULL);
    pthread_kill(k->victim, k->number);
  }
  return NULL;
}

static void kick_start(kicker *k, int number) {
  k->victim = pthread_self();
  k->number = number;
  k->stop = 0;
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, number);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  need(pthread_create(&k->thread, NULL, kick_run, k) == 0, "a thread starts");
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void kick_stop(kicker *k) {
  __atomic_store_n(&k->stop, 1, __ATOMIC_RELEASE);
  pthread_join(k->thread, NULL);
}

static int take_none(recorder *r, const lyq_msg *m, size_t n) {
  (void)r;
  for (size_t i = 0; i < n; i++)
    if (m[i].kind == LYQ_DATA) return (int)i;
  return (int)n;
}

/* jam is a pair whose receiver takes nothing, so that no more can be sent, and an inbox in which nothing comes. */
typedef struct jam { lyq_driver driver; lyq_inbox in; pair p; } jam;
static uint8_t data[50000];

static void jam_open(jam *j) {
  j->driver = open_driver(1);
  pair_init(&j->p);
  j->p.rb.hook = take_none;
  need(lyq_inbox_open(j->driver, &j->in) == 0, "an inbox opens");
  pair_open(&j->p, j->driver, "tcp", NULL, NULL);
  while (lyq_send_wait(j->p.a, 0, data, sizeof data, 200) >= 0) {}
}

static void jam_close(jam *j, const char *what) {
  pair_end(&j->p, what);
  lyq_close(j->in.id, 0);
  close_driver(j->driver);
  pair_free(&j->p);
}

static void test_interrupted(int flags, int timeout_ms) {
  struct sigaction mine = {.sa_handler = on_signal, .sa_flags = flags};
  lyq_msg m;
  kicker k;
  jam j;
  sigaction(SIGUSR2, &mine, NULL);
  jam_open(&j);
  note("SA_RESTART %s, timeout %d", flags & SA_RESTART ? "set" : "not set", timeout_ms);
  kick_start(&k, SIGUSR2);
  is(lyq_wait(j.p.a.id, LYQ_CLOSED, timeout_ms), LYQ_EINTR, "a handler interrupts lyq_wait");
  is(lyq_wait(j.driver.id, LYQ_CLOSED, timeout_ms), LYQ_EINTR, "for a driver, too");
  is(lyq_recv(j.in, &m, 1, timeout_ms), LYQ_EINTR, "a handler interrupts lyq_recv");
  is(lyq_send_wait(j.p.a, 0, data, sizeof data, timeout_ms), LYQ_EINTR, "a handler interrupts lyq_send_wait");
  kick_stop(&k);
  jam_close(&j, "interrupted");
}

/* test_urgent: Go's runtime sends SIGURG to threads that come from a call into it, which is none of the program's
 * business. */
static void test_urgent(void) {
  lyq_msg m;
  kicker k;
  jam j;
  sigset_t now;
  jam_open(&j);
  kick_start(&k, SIGURG);
  is(lyq_wait(j.p.a.id, LYQ_CLOSED, 50), LYQ_ETIMEDOUT, "SIGURG does not interrupt lyq_wait");
  is(lyq_wait(j.p.a.id, LYQ_ACKED, 50), LYQ_ETIMEDOUT, "whatever it waits for");
  is(lyq_send_wait(j.p.a, 0, data, sizeof data, 50), LYQ_ETIMEDOUT, "nor lyq_send_wait");
  is(lyq_recv(j.in, &m, 1, 50), LYQ_ETIMEDOUT, "nor lyq_recv");
  ok(lyq_inbox_fd(j.in) >= 0 && lyq_recv(j.in, &m, 1, 50) == LYQ_ETIMEDOUT, "with a descriptor neither");
  kick_stop(&k);
  pthread_sigmask(SIG_SETMASK, NULL, &now);
  is(sigismember(&now, SIGURG), 0, "it stays unblocked");
  jam_close(&j, "urgent");
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "broken-pipe") == 0) return broken_pipe();
  tap_begin();
  test_signalfd();
  test_threads_block();
  test_sigpipe();
  test_handlers_stay();
  test_broken_link();
  test_interrupted(0, -1);
  test_interrupted(SA_RESTART, -1);
  test_interrupted(SA_RESTART, patience_ms());
  test_urgent();
  return tap_end();
}
