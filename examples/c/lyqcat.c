/* lyqcat: netcat for lyquor. Joins standard input and output to one endpoint, dialled or accepted.
 *
 * One thread reads standard input and sends; the main thread pulls from an inbox and writes. Neither waits for the
 * other, so that both directions run at once, and each is slowed down only by its own peer: what is not written is not
 * released, and what is not released stops the sender. */
#define _GNU_SOURCE 1
#include "common.h"
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

enum { EXIT_DONE = 0, EXIT_USAGE = 1, EXIT_CONNECTION = 2, EXIT_IO = 3, EXIT_SIGNAL = 128 };

enum {
  BLOCK_DEFAULT = 64 << 10, /* what one read of a pipe gives at most, and a message in one frame */
  MESSAGE_MAX = 1 << 20,    /* bytes that every lyquor takes without asking */
  BUFFER_BYTES = 8 << 20,   /* of each direction: room for a scheduler's time slice at several GB/s */
  OUTPUT_BYTES = 128 << 10, /* small messages are gathered into writes of this size */
  PIPE_BYTES = 1 << 20,     /* fewer switches between the programs at the ends of a pipe */
  BATCH = 256,              /* items taken from the inbox at once */
  TICK_MS = 500             /* how often progress is shown, and a signal looked for */
};

static const char usage[] =
  "usage: lyqcat ADDRESS            connect, send standard input, write what comes to standard output\n"
  "       lyqcat -l ADDRESS         listen, serve one peer in the same way, exit\n"
  "\n"
  "ADDRESS is tcp://HOST:PORT (port 0: any free one), or fd://N for an open socket.\n"
  "\n"
  "  -l, --listen           listen instead of connecting; says on standard error where\n"
  "  -m, --messages=KIND    what a message is:\n"
  "                           block[:SIZE]  what one read gives, at most SIZE bytes (65536 if not given)\n"
  "                           line          a line; the newline is taken off, and put back on output\n"
  "      --stats            print one line about the transfer at the end\n"
  "  -v, --verbose          say when the peer is there and when it has ended\n"
  "  -q, --quiet            print nothing but errors and --stats\n"
  "  -h, --help             print this\n"
  "  -V, --version          print the version\n"
  "\n"
  "The end of the input ends this direction alone; lyqcat exits when both have ended, or when the peer closes.\n"
  "A listener whose input is a terminal and whose output is not does not read the terminal.\n"
  "\n"
  "Exit status: 0 done; 1 wrong usage; 2 no connection, or one that ended before everything was sent or received;\n"
  "3 standard input or output failed; 128 plus its number after SIGINT or SIGTERM, which the peer sees as a broken\n"
  "connection.\n";

typedef struct {
  const char *address;
  int listen, lines, stats, verbose, quiet;
  size_t block;
} options;

/* One direction's account. The input thread writes its own, the main thread reads both. */
typedef struct { uint64_t messages, bytes; } account;

enum input_state { INPUT_RUNS, INPUT_ENDED, INPUT_REFUSED, INPUT_FAILED };

typedef struct {
  options opt;
  lyq_driver driver;
  lyq_listener listener;
  lyq_inbox inbox;
  lyq_endpoint peer;       /* {0} until somebody is there */
  char peer_address[256];
  account sent, received;
  int input;               /* enum input_state; the input thread sets it once, atomically */
  char input_error[160];   /* set before input */
  int up, ended, closing, closed, close_code;
  char close_text[320];
  int output_errno;        /* why writing failed; 0: it did not */
  size_t output_size;
  char *output;
  int64_t started, last_progress;
  int progress_shown;
} program;

static volatile sig_atomic_t stopped_by;
static void on_signal(int number) { stopped_by = number; }

static uint64_t seen(const uint64_t *counter) { return __atomic_load_n(counter, __ATOMIC_RELAXED); }
static int input_state(const program *p) { return __atomic_load_n(&p->input, __ATOMIC_ACQUIRE); }

/* say prints one line on standard error, over the line of progress if there is one. */
static void say(program *p, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fprintf(stderr, p->progress_shown ? "\r\033[Klyqcat: " : "lyqcat: ");
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  p->progress_shown = 0;
}

/* ---- Input. */

static int send_message(program *p, const char *data, size_t size) {
  int64_t id = lyq_send_wait(p->peer, 0, data, size, -1);
  while (id == LYQ_EINTR)
    id = lyq_send_wait(p->peer, 0, data, size, -1);
  if (id < 0) {
    snprintf(p->input_error, sizeof p->input_error, "%s", lyq_strerror((int)id));
    return INPUT_REFUSED;
  }
  __atomic_store_n(&p->sent.messages, p->sent.messages + 1, __ATOMIC_RELAXED);
  __atomic_store_n(&p->sent.bytes, p->sent.bytes + size, __ATOMIC_RELAXED);
  return INPUT_RUNS;
}

/* send_lines sends the whole lines among size bytes and moves what is left to the front; returns how much that is. */
static size_t send_lines(program *p, char *data, size_t size, int *state) {
  char *from = data, *end = data + size, *newline;
  while (*state == INPUT_RUNS && (newline = memchr(from, '\n', (size_t)(end - from))) != NULL) {
    *state = send_message(p, from, (size_t)(newline - from));
    from = newline + 1;
  }
  memmove(data, from, (size_t)(end - from));
  return (size_t)(end - from);
}

static int input_failed(program *p, const char *reason) {
  snprintf(p->input_error, sizeof p->input_error, "standard input: %s", reason);
  return INPUT_FAILED;
}

/* read_input reads standard input to its end and sends it. */
static int read_input(program *p, char *buffer, size_t capacity) {
  int state = INPUT_RUNS;
  size_t kept = 0; /* bytes of a line that is not whole yet */
  while (state == INPUT_RUNS) {
    ssize_t n = read(STDIN_FILENO, buffer + kept, capacity - kept);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return input_failed(p, strerror(errno));
    if (n == 0 && kept > 0) state = send_message(p, buffer, kept); /* a last line without newline */
    if (n == 0) return state == INPUT_RUNS ? INPUT_ENDED : state;
    if (!p->opt.lines) {
      state = send_message(p, buffer, (size_t)n);
      continue;
    }
    kept = send_lines(p, buffer, kept + (size_t)n, &state);
    if (kept == capacity) return input_failed(p, "a line is longer than 1048576 bytes; -m block takes any input");
  }
  return state;
}

static void *input_thread(void *arg) {
  program *p = arg;
  size_t capacity = p->opt.lines ? MESSAGE_MAX + 1 : p->opt.block;
  char *buffer = malloc(capacity);
  lyq_timer wake;
  int state = buffer != NULL ? read_input(p, buffer, capacity) : input_failed(p, strerror(ENOMEM));
  __atomic_store_n(&p->input, state, __ATOMIC_RELEASE); /* before the peer may close because of what follows */
  if (state == INPUT_ENDED) lyq_end(p->peer);
  lyq_timer_open(p->driver, p->inbox.id, 0, NULL, NULL, &wake); /* due at once: the main thread looks at p->input */
  free(buffer);
  return NULL;
}

static int start_input(program *p) {
  pthread_t thread;
  if (p->opt.listen && isatty(STDIN_FILENO) && !isatty(STDOUT_FILENO)) {
    lyq_end(p->peer);
    p->input = INPUT_ENDED;
    return 0;
  }
  sigset_t signals, before;
  sigfillset(&signals); /* signals are for the main thread, which waits in calls that they interrupt */
  pthread_sigmask(SIG_SETMASK, &signals, &before);
  int rc = pthread_create(&thread, NULL, input_thread, p);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (rc == 0) pthread_detach(thread); /* it may sit in read() when all is over */
  return rc;
}

/* ---- Output. */

static void write_all(program *p, const void *data, size_t size) {
  const char *from = data;
  while (size > 0 && p->output_errno == 0) {
    ssize_t n = write(STDOUT_FILENO, from, size);
    if (n >= 0) {
      from += n;
      size -= (size_t)n;
    } else if (errno != EINTR || stopped_by != 0) {
      p->output_errno = errno;
    }
  }
}

static void flush_output(program *p) {
  write_all(p, p->output, p->output_size);
  p->output_size = 0;
}

/* put gathers small pieces, and writes large ones from where they lie. */
static void put(program *p, const void *data, size_t size) {
  if (p->output_size + size > OUTPUT_BYTES) flush_output(p);
  if (size > OUTPUT_BYTES / 4) {
    flush_output(p);
    write_all(p, data, size);
  } else if (size > 0) {
    memcpy(p->output + p->output_size, data, size);
    p->output_size += size;
  }
}

/* ---- The peer. */

/* adopt makes the first endpoint whose handshake is done the one that is served; others are sent away. */
static void adopt(program *p, lyq_endpoint ep) {
  if (p->peer.id != 0 && p->peer.id != ep.id) {
    lyq_close(ep.id, 0);
    return;
  }
  int first = p->peer.id == 0;
  p->peer = ep;
  p->up = 1;
  p->started = clock_ns();
  if (lyq_address(ep.id, p->peer_address, sizeof p->peer_address) < 0)
    snprintf(p->peer_address, sizeof p->peer_address, "%s", p->opt.address);
  if (p->opt.verbose) say(p, "connected: %s", p->peer_address);
  if (!first) return;
  lyq_close(p->listener.id, 0);
  int rc = start_input(p);
  if (rc != 0) p->input = input_failed(p, strerror(rc));
}

static void take(program *p, const lyq_msg *m) {
  if (m->kind == LYQ_UP) {
    adopt(p, m->ep);
    return;
  }
  if (p->peer.id == 0 || m->ep.id != p->peer.id) return; /* one without a handshake, or one that came too late */
  switch (m->kind) {
  case LYQ_DATA:
    put(p, m->data, m->size);
    if (p->opt.lines) put(p, "\n", 1);
    p->received.messages++;
    p->received.bytes += m->size;
    break;
  case LYQ_ENDED:
    p->ended = 1;
    if (p->opt.verbose) say(p, "%s sends no more", p->peer_address);
    break;
  case LYQ_CLOSED:
    p->closed = 1;
    p->close_code = m->code;
    snprintf(p->close_text, sizeof p->close_text, "%s", closed_text(m));
    break;
  }
}

static void show_progress(program *p) {
  int64_t now = clock_ns();
  if (!p->up || p->opt.quiet || now - p->last_progress < TICK_MS * INT64_C(1000000)) return;
  p->last_progress = now;
  if (!isatty(STDERR_FILENO)) return;
  uint64_t sent = seen(&p->sent.bytes), received = p->received.bytes;
  fprintf(stderr, "\r\033[K%.1f MB sent, %.1f MB received, %.1f MB/s", (double)sent / 1e6, (double)received / 1e6,
          (double)(sent + received) * 1e3 / (double)(now - p->started + 1));
  p->progress_shown = 1;
}

/* over says whether nothing is left to be done, and begins the orderly end once both directions have ended. */
static int over(program *p) {
  int input = input_state(p);
  if (p->closed || p->output_errno != 0 || stopped_by != 0 || input == INPUT_FAILED) return 1;
  if (input == INPUT_ENDED && p->ended && !p->closing) {
    p->closing = 1;
    lyq_close(p->peer.id, -1); /* LYQ_CLOSED comes when all that was accepted has been sent */
  }
  return 0;
}

static int run(program *p) {
  lyq_msg items[BATCH];
  while (!over(p)) {
    int n = lyq_recv(p->inbox, items, BATCH, TICK_MS);
    if (n == LYQ_ETIMEDOUT || n == LYQ_EINTR) n = 0;
    if (n < 0) return n;
    for (int i = 0; i < n && stopped_by == 0; i++)
      take(p, &items[i]);
    flush_output(p);
    lyq_release(items, (size_t)n);
    show_progress(p);
  }
  return 0;
}

/* ---- Beginning and end. */

static int fail(program *p, int rc) {
  const char *detail = lyq_detail();
  say(p, "%s: %s%s%s", p->opt.address, lyq_strerror(rc), *detail ? ": " : "", detail);
  return EXIT_CONNECTION;
}

static int open_all(program *p) {
  int rc;
  LYQ_DEFAULTS(lyq_driver_opt, driver);
  driver.workers = 1; /* one endpoint is driven by one worker at a time */
  LYQ_DEFAULTS(lyq_endpoint_opt, endpoint);
  endpoint.outbox_bytes = endpoint.window_bytes = BUFFER_BYTES;
  endpoint.resume_ms = LYQ_WITH_LINK; /* whoever pipes through it wants to know, and not to wait */
  if ((rc = lyq_driver_open(&driver, &p->driver)) < 0) return rc;
  if ((rc = lyq_inbox_open(p->driver, &p->inbox)) < 0) return rc;
  endpoint.inbox = p->inbox;
  if (!p->opt.listen) {
    if ((rc = lyq_dial(p->driver, p->opt.address, &endpoint, &p->peer)) < 0) return rc;
    snprintf(p->peer_address, sizeof p->peer_address, "%s", p->opt.address);
    return start_input(p) == 0 ? 0 : LYQ_ENOMEM;
  }
  if ((rc = lyq_listen(p->driver, p->opt.address, &endpoint, &p->listener)) < 0) return rc;
  char address[256];
  if ((rc = lyq_address(p->listener.id, address, sizeof address)) < 0) return rc;
  if (!p->opt.quiet) fprintf(stderr, "listening on %s\n", address);
  return 0;
}

/* outcome says what went wrong, if anything, and returns the exit status. */
static int outcome(program *p) {
  int input = input_state(p);
  if (stopped_by != 0) return EXIT_SIGNAL + stopped_by;
  if (p->output_errno != 0) {
    say(p, "standard output: %s", strerror(p->output_errno));
    return EXIT_IO;
  }
  if (input == INPUT_FAILED) {
    say(p, "%s", p->input_error);
    return EXIT_IO;
  }
  if (p->close_code != LYQ_OK) {
    say(p, "%s: %s%s%s", p->peer_address, lyq_strerror(p->close_code), *p->close_text ? ": " : "", p->close_text);
    return EXIT_CONNECTION;
  }
  if (input != INPUT_ENDED) {
    say(p, "%s: the peer closed before all input was sent", p->peer_address);
    return EXIT_CONNECTION;
  }
  return EXIT_DONE;
}

static void print_stats(program *p) {
  double seconds = p->up ? (double)(clock_ns() - p->started) / 1e9 : 0;
  uint64_t bytes = seen(&p->sent.bytes) + p->received.bytes;
  say(p, "sent %llu messages, %llu bytes; received %llu messages, %llu bytes; %.3f s, %.1f MB/s",
      (unsigned long long)seen(&p->sent.messages), (unsigned long long)seen(&p->sent.bytes),
      (unsigned long long)p->received.messages, (unsigned long long)p->received.bytes, seconds,
      seconds > 0 ? (double)bytes / 1e6 / seconds : 0.0);
}

static int parse_messages(options *o, const char *kind) {
  uint64_t size = BLOCK_DEFAULT;
  o->lines = strcmp(kind, "line") == 0;
  if (!o->lines && strcmp(kind, "block") != 0 &&
      (strncmp(kind, "block:", 6) != 0 || !parse_count(kind + 6, 1, MESSAGE_MAX, &size))) {
    fprintf(stderr, "lyqcat: -m %s: line, block or block:SIZE is allowed, SIZE from 1 to %d\n", kind, MESSAGE_MAX);
    return 0;
  }
  o->block = size;
  return 1;
}

/* parse fills the options; returns -1, or the status to exit with. */
static int parse(int argc, char **argv, options *o) {
  static const struct option longs[] = {
    {"listen", no_argument, NULL, 'l'}, {"messages", required_argument, NULL, 'm'}, {"stats", no_argument, NULL, 's'},
    {"verbose", no_argument, NULL, 'v'}, {"quiet", no_argument, NULL, 'q'}, {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
  int option;
  o->block = BLOCK_DEFAULT;
  while ((option = getopt_long(argc, argv, "lm:vqhV", longs, NULL)) != -1)
    switch (option) {
    case 'l': o->listen = 1; break;
    case 's': o->stats = 1; break;
    case 'v': o->verbose = 1; break;
    case 'q': o->quiet = 1; break;
    case 'h': fputs(usage, stdout); return EXIT_DONE;
    case 'V': printf("lyqcat %s\n", lyq_version()); return EXIT_DONE;
    case 'm': if (parse_messages(o, optarg)) break; return EXIT_USAGE;
    default: fputs("lyqcat: lyqcat --help says what is allowed\n", stderr); return EXIT_USAGE;
    }
  if (optind + 1 != argc) {
    fprintf(stderr, "lyqcat: %s\n%s", optind == argc ? "an address is missing" : "one address is allowed", usage);
    return EXIT_USAGE;
  }
  o->address = argv[optind];
  return -1;
}

/* set_up makes sure that descriptors 0 to 2 are taken, so that none of the library's gets such a number, and that
 * signals interrupt a wait: once; a second one ends the program in any case. */
static void set_up(void) {
  int fd = open("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= STDERR_FILENO)
    fd = dup(fd);
  if (fd >= 0) close(fd);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  action.sa_flags = (int)SA_RESETHAND;
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  signal(SIGPIPE, SIG_IGN); /* write() returns EPIPE instead */
#ifdef F_SETPIPE_SZ
  fcntl(STDIN_FILENO, F_SETPIPE_SZ, PIPE_BYTES); /* fails if it is no pipe, or a larger one is not allowed: as well */
  fcntl(STDOUT_FILENO, F_SETPIPE_SZ, PIPE_BYTES);
#endif
}

int main(int argc, char **argv) {
  static program p; /* the input thread may still look at it when main has returned */
  int status = parse(argc, argv, &p.opt);
  if (status >= 0) return status;
  set_up();
  if ((p.output = malloc(OUTPUT_BYTES)) == NULL) {
    say(&p, "no memory");
    return EXIT_IO;
  }
  int rc = open_all(&p);
  if (rc >= 0) rc = run(&p);
  status = rc < 0 ? fail(&p, rc) : outcome(&p);
  if (p.opt.stats) print_stats(&p);
  /* After a failure the peer is not told of an orderly end: it sees the broken connection that it is. */
  if (status == EXIT_DONE) {
    lyq_close(p.driver.id, 0);
    lyq_wait(p.driver.id, LYQ_CLOSED, TICK_MS);
  }
  return status;
}
