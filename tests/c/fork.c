/* fork: the child of a process with a living endpoint can harm neither it nor its peer, and does not keep a dead
 * parent's connections open. */
#define _GNU_SOURCE 1
#include "kit.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* ---- A child beside its living parent. */

static uint8_t data[100];

/* Each bit of the child's status is one kind of failure. */
enum { CONTROL = 1, SENDS = 2, SILENT = 4, TEXTS = 8 };

static int child_calls(lyq_driver d, const pair *p, lyq_inbox in) {
  lyq_driver driver;
  lyq_listener l;
  lyq_endpoint ep;
  lyq_inbox inbox;
  lyq_timer t;
  lyq_msg m = {0}, copy;
  lyq_claim c = {0};
  uint64_t counters[LYQ_W_COUNT];
  lyq_lane_account account[4];
  char text[100];
  lyq_buf part = {data, 1};
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  uint64_t id = p->a.id;
  const int64_t control[] = {
    lyq_driver_open(NULL, &driver), lyq_listen(d, "mem://child", &opt, &l), lyq_dial(d, "mem://child", &opt, &ep),
    lyq_on_recv(id, -1, on_record, NULL, NULL), lyq_now(d), lyq_timer_open(d, 0, 0, on_drop, NULL, &t),
    lyq_inbox_open(d, &inbox), lyq_inbox_bind(in, id, -1), lyq_inbox_fd(in), lyq_wait(id, LYQ_CLOSED, -1),
    lyq_wait(d.id, LYQ_CLOSED, -1), lyq_quiesce(id, -1), lyq_resume(id), lyq_set_ctx(id, NULL, NULL),
    lyq_explain(id, text, sizeof text), lyq_counters(id, counters, 1), lyq_worker_counters(d, 1, counters, 1),
    lyq_process_counters(counters, 1), lyq_set_worker(p->a, 1), lyq_switch(p->a, "mem://child"),
    lyq_address(id, text, sizeof text), lyq_set_logger(NULL, NULL, NULL, 0)};
  const int64_t sends[] = {
    lyq_send(p->a, 0, data, 1), lyq_send_wait(p->a, 0, data, 1, -1), lyq_sendv(p->a, 0, &part, 1),
    lyq_send_lent(p->a, 0, data, 1, on_drop, NULL), lyq_send_ttl(p->a, 0, data, 1, 1),
    lyq_wait_room(p->a, 0, 1, -1),
    lyq_claim_open(p->a, 0, 1, &c), lyq_commit(p->a, &c, 1), lyq_end(p->a), lyq_flush(p->a), lyq_ack(p->a, 0, 0),
    lyq_unacked(p->a, counters, &m, 1), lyq_account(&m, account), lyq_recv(in, &m, 1, -1)};
  const int64_t silent[] = {lyq_close(id, -1), lyq_close(d.id, 0), lyq_release(&m, 1), lyq_discard(&m, 1),
                            lyq_retain(&m, &copy)};
  int failures = 0;
  for (size_t i = 0; i < sizeof control / sizeof control[0]; i++)
    if (control[i] != LYQ_EFORKED) failures |= CONTROL;
  for (size_t i = 0; i < sizeof sends / sizeof sends[0]; i++)
    if (sends[i] != LYQ_EFORKED) failures |= SENDS;
  for (size_t i = 0; i < sizeof silent / sizeof silent[0]; i++)
    if (silent[i] != 0) failures |= SILENT;
  if (lyq_abi_version() == 0 || lyq_version() == NULL || lyq_strerror(LYQ_EFORKED) == NULL || lyq_detail() == NULL)
    failures |= TEXTS;
  return failures;
}

/* run_child forks a child that makes all calls, and returns its failures; -1 if it did not get to their end. It says so
 * in shared memory and becomes another program, because valgrind would look through all of the library's memory for
 * leaks when the child of a fork ends. */
static int run_child(lyq_driver d, const pair *p, lyq_inbox in) {
  int *told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  need(told != MAP_FAILED, "shared memory");
  *told = -1;
  pid_t child = fork();
  if (child == 0) {
    *told = child_calls(d, p, in);
    execl("/bin/true", "true", (char *)NULL);
    _exit(0);
  }
  need(child > 0 && waitpid(child, NULL, 0) == child, "the child is waited for");
  int failures = *told;
  munmap(told, sizeof *told);
  return failures;
}

/* status_of waits for a child, for so long as the watchdog allows; -1 if it was killed. */
static int status_of(pid_t child) {
  int status;
  need(waitpid(child, &status, 0) == child, "the child is waited for");
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_child(lyq_driver d) {
  pair p;
  lyq_inbox in;
  need(lyq_inbox_open(d, &in) == 0, "an inbox opens");
  pair_init(&p);
  pair_open(&p, d, "tcp", NULL, NULL);
  is(lyq_send(p.a, 0, data, sizeof data), 0, "a message before fork");
  int status = run_child(d, &p, in);
  ok(status >= 0, "no call in the child hangs or kills it");
  ok((status & CONTROL) == 0, "control calls in the child return LYQ_EFORKED");
  ok((status & SENDS) == 0, "so do calls of the data path");
  ok((status & SILENT) == 0, "lyq_close, lyq_release, lyq_discard and lyq_retain do nothing there");
  ok((status & TEXTS) == 0, "texts can still be asked for");
  is(lyq_send(p.a, 0, data, sizeof data), 1, "the parent goes on");
  is(lyq_send(p.b, 0, data, sizeof data), 0, "its peer as well");
  ok(recorder_wait(&p.rb, LYQ_DATA, 2) && recorder_wait(&p.ra, LYQ_DATA, 1), "messages arrive as before");
  is(recorder_count(&p.ra, LYQ_CLOSED) + recorder_count(&p.rb, LYQ_CLOSED), 0, "nobody is closed");
  pair_end(&p, "fork");
  lyq_close(in.id, 0);
  pair_free(&p);
}

/* test_storm forks while messages flow: locks and memory that were in use at that moment must not matter. */
static void test_storm(lyq_driver d) {
  pair p;
  int failures = 0, children = many(40), sent = 0;
  lyq_inbox in;
  need(lyq_inbox_open(d, &in) == 0, "an inbox opens");
  pair_init(&p);
  pair_open(&p, d, "tcp", NULL, NULL);
  for (int i = 0; i < children; i++) {
    for (int j = 0; j < 500; j++)
      sent += lyq_send_wait(p.a, 0, data, sizeof data, patience_ms()) >= 0;
    failures += run_child(d, &p, in) != 0;
  }
  is(failures, 0, "children that are born into traffic are told as well");
  ok(recorder_wait(&p.rb, LYQ_DATA, sent) && sent == 500 * children, "all %d messages of the parent arrive", sent);
  pair_end(&p, "storm");
  lyq_close(in.id, 0);
  pair_free(&p);
}

/* ---- A child that outlives its parent. */

/* victim is the program when it is started with an address: it dials, forks, says that it is up and waits to be killed.
 * Its child lives until its standard input ends. */
static int victim(const char *address) {
  lyq_driver d;
  lyq_endpoint ep;
  char byte;
  if (lyq_driver_open(NULL, &d) != 0 || lyq_dial(d, address, NULL, &ep) != 0) return 1;
  if (lyq_wait(ep.id, LYQ_UP, patience_ms()) != 0) return 2;
  pid_t child = fork();
  if (child == 0) {
    while (read(STDIN_FILENO, &byte, 1) > 0) {}
    _exit(0);
  }
  if (child < 0 || write(STDOUT_FILENO, "u", 1) != 1) return 3;
  for (;;) pause();
}

/* start_victim runs this program again, as a victim, with pipes for its input and output. */
static pid_t start_victim(const char *address, int *to, int *from) {
  int in[2], out[2];
  char self[4096];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  need(n > 0 && pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0, "what a victim needs");
  self[n] = 0;
  pid_t pid = fork();
  if (pid == 0) {
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    execl(self, self, address, (char *)NULL);
    _exit(127);
  }
  need(pid > 0, "fork");
  close(in[0]);
  close(out[1]);
  *to = in[1];
  *from = out[0];
  return pid;
}

/* has_ended says whether every process that could write to a pipe has gone; it waits up to ms for that. */
static int has_ended(int fd, int ms) {
  struct pollfd p = {fd, POLLIN, 0};
  return poll(&p, 1, ms) == 1 && (p.revents & POLLHUP) != 0;
}

static void test_killed_parent(lyq_driver d) {
  recorder r;
  lyq_listener l;
  char address[64], byte = 0;
  int to, from;
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  recorder_init(&r);
  opt.recv = on_record;
  opt.ctx = &r;
  opt.drop = on_drop;
  opt.resume_ms = LYQ_WITH_LINK;
  opt.keepalive_ms = -1; /* so that nothing but the end of the connection can tell */
  need(lyq_listen(d, "tcp://127.0.0.1:0", &opt, &l) == 0, "a listener opens: %s", lyq_detail());
  lyq_address(l.id, address, sizeof address);
  pid_t pid = start_victim(address, &to, &from);
  need(read(from, &byte, 1) == 1 && byte == 'u', "a process dials and forks");
  ok(recorder_wait(&r, LYQ_UP, 1), "it is seen");
  int64_t start = now_ns();
  kill(pid, SIGKILL);
  ok(recorder_wait(&r, LYQ_CLOSED, 1), "its peer sees its death although its child lives");
  ok(now_ns() - start < (tap_slow() ? INT64_C(10000000000) : INT64_C(2000000000)), "at once");
  is(recorder_item(&r, LYQ_CLOSED, 0).code, LYQ_ERESET, "as a connection that broke");
  is(status_of(pid), -1, "it was killed");
  is(has_ended(from, 0), 0, "its child lives until now");
  close(to);
  is(has_ended(from, patience_ms()), 1, "and ends with its input");
  close(from);
  lyq_close(l.id, 0);
  ok(recorder_wait_drop(&r) && recorder_faults(&r) == 0, "the listener's context is dropped");
  recorder_free(&r);
}

int main(int argc, char **argv) {
  if (argc > 1) return victim(argv[1]);
  tap_begin();
  lyq_driver d = open_driver(2);
  test_child(d);
  test_storm(d);
  test_killed_parent(d);
  close_driver(d);
  return tap_end();
}
