/* Slow consumers with the smallest windows and outboxes, and little memory: by callback and by pull, with messages that
 * are longer than a window. One takes nothing, and another gives nothing back, until all others have everything. What
 * there is for a consumer that would take it is delivered, and nothing holds more than the options say. */
#define _GNU_SOURCE 1
#include "kit.h"
#include <dirent.h>
#include <sys/syscall.h>

enum {
  TIGHT = 64 << 10,        /* window and outbox */
  LONGEST = 1 << 20,
  PAIRS = 6, FLOWS = 2 * PAIRS,
  LANES = 4,
  KEEPS = 4096,            /* items that are held at most: 64 KiB of the shortest, in each lane */
  TICK_NS = 10000000,
  STUCK_NS = 1000000000    /* of time that was there, without a delivery that was possible */
};

/* How a flow is consumed: what returns early, what is released late. */
typedef enum style { QUICK, ONE_BY_ONE, STOPPED, PULLED, PULLED_LATE, KEPT } style;

static const style styles[PAIRS] = {QUICK, ONE_BY_ONE, STOPPED, PULLED, PULLED_LATE, KEPT};

/* flow is one direction of a pair: what one end sends and the other consumes. */
typedef struct flow {
  int number;
  style how;
  lyq_endpoint from, to;
  uint64_t accepted, got, seen;
  uint64_t next[LANES];
  int taken;               /* by the callback that runs, or since it last rested */
  int resting, wrong, ended;
  int64_t stuck_ns;
  uint64_t random;
} flow;

static struct {
  lyq_driver sides[2];
  lyq_inbox inboxes[2];    /* of quick pullers, and of the one who keeps */
  flow flows[FLOWS];
  uint64_t seed, each;
  uint64_t memory;         /* of each of the two drivers */
  int free_all, over;
} slow;

#define GET(x) __atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define SET(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELEASE)

/* ---- Messages: what one is like follows from where it belongs. */

static uint64_t key_of(const flow *f, int lane, uint64_t id) {
  uint64_t state = slow.seed + (uint64_t)f->number * 1000003 + (uint64_t)lane * 7919 + id * 104729;
  return random64(&state);
}

/* size_of spreads sizes over all powers of two. Four messages of any length are accepted for a consumer that takes
 * nothing; they are short enough to leave some of the memory to others. */
static size_t size_of(const flow *f, uint64_t key) {
  uint64_t most = slow.memory / (f->how == STOPPED || f->how == KEPT ? 32 : 4), size = (uint64_t)1 << key % 21;
  if (most > LONGEST) most = LONGEST;
  while (size > most) size /= 2;
  return size - (key >> 8) % (size / 2 + 1);
}

static void *send_flow(void *arg) {
  flow *f = arg;
  uint64_t random = slow.seed + (uint64_t)f->number, next[LANES] = {0};
  static const lyq_tag tags[LANES] = {LYQ_TAG(0, 0), LYQ_TAG(1, 0), LYQ_TAG(2, 0), LYQ_TAG(3, 0)};
  uint8_t *data = malloc(LONGEST);
  if (data == NULL) abort();
  while (f->accepted < slow.each && !GET(slow.over)) {
    int lane = (int)(random64(&random) % LANES);
    uint64_t key = key_of(f, lane, next[lane]);
    size_t size = size_of(f, key);
    fill(data, size, key);
    int64_t id;
    do id = lyq_send_wait(f->from, tags[lane], data, size, 1000);
    while ((id == LYQ_ETIMEDOUT || id == LYQ_EINTR) && !GET(slow.over));
    if (id != (int64_t)next[lane]) {
      SET(f->wrong, 1);
      break;
    }
    next[lane]++;
    __atomic_add_fetch(&f->accepted, 1, __ATOMIC_ACQ_REL);
  }
  free(data);
  return NULL;
}

/* consume books a message. */
static void consume(flow *f, const lyq_msg *m) {
  int lane = LYQ_LANE(m->tag);
  uint64_t key = key_of(f, lane, m->id), hash = 0;
  size_t size = size_of(f, key);
  uint8_t *expected = malloc(LONGEST);
  if (expected == NULL) abort();
  fill(expected, size, key);
  hash = hash_of(expected, size);
  free(expected);
  if (m->id != f->next[lane] || m->size != size || hash_of(m->data, m->size) != hash) SET(f->wrong, 1);
  f->next[lane]++;
  __atomic_add_fetch(&f->got, 1, __ATOMIC_ACQ_REL);
}

/* ---- Callbacks. */

static void on_rested(void *ctx) {
  flow *f = ctx;
  SET(f->resting, 0);
  lyq_resume(f->to.id);
}

/* rest has a flow go on after a while. */
static int rest(flow *f, int64_t ns) {
  lyq_timer t;
  lyq_driver d = slow.sides[f->number % 2 == 0];
  SET(f->resting, 1);
  if (lyq_timer_open(d, 0, lyq_now(d) + ns, on_rested, f, &t) == 0) return 1;
  SET(f->resting, 0);
  return 0;
}

static int on_items(void *ctx, const lyq_msg *m, size_t n) {
  flow *f = ctx;
  for (size_t i = 0; i < n; i++) {
    if (m[i].kind == LYQ_CLOSED) SET(f->ended, 1);
    if (m[i].kind == LYQ_ACCEPTED) SET(f->to.id, m[i].ep.id);
    if (m[i].kind != LYQ_DATA) continue;
    if (f->how == STOPPED && !GET(slow.free_all)) {
      SET(f->resting, 1);
      return (int)i;
    }
    SET(f->resting, 0);
    int rests = f->how == ONE_BY_ONE ? f->taken == 1 : f->taken > 0 && random64(&f->random) % 16 == 0;
    if (rests && rest(f, f->how == ONE_BY_ONE ? 3000000 : 100000)) {
      f->taken = 0;
      return (int)i;
    }
    consume(f, &m[i]);
    f->taken++;
  }
  return (int)n;
}

/* ---- Pulling. */

static flow *flow_to(uint64_t id) {
  for (int i = 0; i < FLOWS; i++)
    if (GET(slow.flows[i].to.id) == id) return &slow.flows[i];
  return NULL;
}

/* see looks at an item; 1 if it is a message. */
static int see(flow *f, const lyq_msg *m) {
  if (m->kind == LYQ_CLOSED) SET(f->ended, 1);
  if (m->kind == LYQ_DATA) consume(f, m);
  return m->kind == LYQ_DATA;
}

/* pull takes a few items at a time, and gives those of the late ones back in batches, the last first. */
static void *pull(void *arg) {
  (void)arg;
  lyq_msg m[8], late[8];
  size_t kept = 0;
  for (;;) {
    int n = lyq_recv(slow.inboxes[0], m, 4, 100);
    if (n == LYQ_ECLOSED) break;
    for (int i = 0; i < n; i++) {
      flow *f = flow_to(m[i].ep.id);
      if (f != NULL && see(f, &m[i]) && f->how == PULLED_LATE) late[kept++] = m[i];
      else lyq_release(&m[i], 1);
      if (kept < 8) continue;
      nanosleep(&(struct timespec){0, 1000000}, NULL);
      while (kept > 0) lyq_release(&late[--kept], 1);
    }
    if (n <= 0) /* nothing comes: perhaps because of what is kept */
      while (kept > 0) lyq_release(&late[--kept], 1);
  }
  lyq_release(late, kept);
  return NULL;
}

/* pull_and_keep gives nothing back before the others are done. */
static void *pull_and_keep(void *arg) {
  static lyq_msg m[LANES * KEEPS];
  size_t kept = 0;
  flow *f = arg;
  for (;;) {
    int n = lyq_recv(slow.inboxes[1], m + kept, 8, 100);
    if (n == LYQ_ECLOSED) break;
    for (int i = 0; i < n; i++) see(f, &m[kept + (size_t)i]);
    if (n > 0) kept += (size_t)n;
    if (GET(slow.free_all)) {
      SET(f->resting, 0);
      lyq_release(m, kept);
      kept = 0;
    }
  }
  lyq_release(m, kept);
  return NULL;
}

/* ---- Watching. A machine that others use up is no reason for alarm, so only such time is counted as was there. */

/* had_ns returns the share of the machine that was this process's so far: what it used of its CPUs, and what nobody
 * used. Nobody else being there, it goes like a clock. */
static int64_t had_ns(void) {
  unsigned long long idle = 0, waiting = 0;
  struct timespec used = {0, 0};
  FILE *f = fopen("/proc/stat", "r");
  int known = f != NULL && fscanf(f, "cpu %*u %*u %*u %llu %llu", &idle, &waiting) == 2;
  if (f != NULL) fclose(f);
  if (!known) return now_ns();
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  int64_t unused = (int64_t)(idle + waiting) * (1000000000 / sysconf(_SC_CLK_TCK));
  return (unused + (int64_t)used.tv_sec * 1000000000 + used.tv_nsec) / sysconf(_SC_NPROCESSORS_ONLN);
}

/* all_sleep says that no thread but this one has or wants a CPU. */
static int all_sleep(void) {
  char path[64], text[512];
  int awake = 0;
  DIR *tasks = opendir("/proc/self/task");
  for (struct dirent *e; tasks != NULL && (e = readdir(tasks)) != NULL;) {
    long tid = atol(e->d_name);
    snprintf(path, sizeof path, "/proc/self/task/%ld/stat", tid);
    FILE *f = tid == 0 || tid == syscall(SYS_gettid) ? NULL : fopen(path, "r");
    if (f == NULL) continue;
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    const char *state = strstr(text, ") ");
    awake += state != NULL && state[2] == 'R';
  }
  if (tasks != NULL) closedir(tasks);
  return awake == 0;
}

/* time_there returns how much of a tick counts. However little a process gets of the machine: if it sleeps, then
 * because it wants no more. */
static int64_t time_there(int64_t *had) {
  int64_t before = *had;
  *had = had_ns();
  return *had - before < TICK_NS && all_sleep() ? TICK_NS : *had - before;
}

/* may_deliver says that a flow has something for a consumer that would take it. */
static int may_deliver(const flow *f) { return !GET(f->resting) && GET(f->got) < slow.each; }

static int is_stuck(flow *f, int64_t there) {
  uint64_t got = GET(f->got);
  f->stuck_ns = got != f->seen || !may_deliver(f) ? 0 : f->stuck_ns + there;
  f->seen = got;
  /* Who has nothing accepted waits for memory that all want; that may take its time. */
  return f->stuck_ns >= (GET(f->accepted) > got ? STUCK_NS : 10 * (int64_t)STUCK_NS);
}

static void describe(const flow *f) {
  char from[512] = "", to[512] = "";
  lyq_explain(f->from.id, from, sizeof from);
  lyq_explain(f->to.id, to, sizeof to);
  note("flow %d: %llu accepted, %llu consumed, resting %d\n# from: %s\n# to: %s", f->number,
       (unsigned long long)GET(f->accepted), (unsigned long long)GET(f->got), GET(f->resting), from, to);
}

/* within_bounds holds what is held against what the options allow. */
static int within_bounds(void) {
  uint64_t p[LYQ_P_COUNT], c[LYQ_C_COUNT];
  /* In windows: of each lane what is free of it, and a message that began within it; long ones lie elsewhere. */
  const uint64_t held = (uint64_t)PAIRS * 2 * LANES * 2 * TIGHT;
  lyq_process_counters(p, LYQ_P_COUNT);
  /* A message of more than 64 KiB takes a block, one of 16 KiB a piece of 64 KiB: four times what is charged. */
  int good = p[LYQ_P_BLOCK_BYTES] <= 2 * slow.memory * 4 + held && p[LYQ_P_LOG_BYTES] <= 2 * slow.memory * 4;
  if (!good)
    note("%llu bytes of blocks, %llu of logs", (unsigned long long)p[LYQ_P_BLOCK_BYTES],
         (unsigned long long)p[LYQ_P_LOG_BYTES]);
  for (int i = 0; i < FLOWS; i++) {
    const flow *f = &slow.flows[i];
    if (lyq_counters(f->to.id, c, LYQ_C_COUNT) < 0) continue;
    if (c[LYQ_C_HELD_BYTES] <= (uint64_t)LANES * 2 * (TIGHT + LONGEST)) continue;
    note("flow %d holds %llu bytes", i, (unsigned long long)c[LYQ_C_HELD_BYTES]);
    good = 0;
  }
  return good;
}

/* watch waits until everything is consumed; 0 if it cannot be. */
static int watch(void) {
  int64_t had = had_ns();
  for (;; nanosleep(&(struct timespec){0, TICK_NS}, NULL)) {
    int left = 0, others = 0;
    int64_t there = time_there(&had);
    for (int i = 0; i < FLOWS; i++) {
      flow *f = &slow.flows[i];
      int stays = f->how == STOPPED || f->how == KEPT;
      left += GET(f->got) < slow.each;
      others += !stays && GET(f->got) < slow.each;
      if (GET(f->wrong)) {
        note("flow %d: a message is not what was sent", i);
        return 0;
      }
      if (!is_stuck(f, there)) continue;
      note("flow %d delivered nothing for a second, though it might", i);
      for (int j = 0; j < FLOWS; j++) describe(&slow.flows[j]);
      return 0;
    }
    if (!within_bounds()) return 0;
    if (left == 0) return 1;
    if (others > 0 || GET(slow.free_all)) continue;
    SET(slow.free_all, 1);
    for (int i = 0; i < FLOWS; i++)
      if (slow.flows[i].how == STOPPED) lyq_resume(slow.flows[i].to.id);
  }
}

/* ---- The run. */

static lyq_endpoint_opt options_of(flow *f) {
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  o.outbox_bytes = o.window_bytes = TIGHT;
  o.ctx = f;
  if (f->how >= PULLED) o.inbox = slow.inboxes[f->how == KEPT];
  else o.recv = on_items;
  return o;
}

/* open_pair connects two endpoints; messages of the dialled one are consumed in its style, the other's quickly. */
static void open_pair(int i) {
  flow *there = &slow.flows[2 * i], *back = &slow.flows[2 * i + 1];
  char address[128];
  lyq_listener l;
  *there = (flow){.number = 2 * i, .how = styles[i], .random = slow.seed};
  *back = (flow){.number = 2 * i + 1, .how = QUICK, .random = slow.seed};
  there->resting = there->how == STOPPED || there->how == KEPT;
  lyq_endpoint_opt in = options_of(there), out = options_of(back);
  need(lyq_listen(slow.sides[1], "tcp://127.0.0.1:0", &in, &l) == 0, "it listens: %s", lyq_detail());
  need(lyq_address(l.id, address, sizeof address) > 0, "somewhere");
  need(lyq_dial(slow.sides[0], address, &out, &there->from) == 0, "it dials: %s", lyq_detail());
  SET(back->to.id, there->from.id);
  while (there->how >= PULLED && there->to.id == 0) { /* nobody pulls yet */
    lyq_msg m;
    need(lyq_recv(in.inbox, &m, 1, patience_ms()) == 1, "the peer is accepted");
    if (m.kind == LYQ_ACCEPTED) SET(there->to.id, m.ep.id);
    lyq_release(&m, 1);
  }
  need(until(GET(there->to.id) != 0), "the peer is known");
  back->from = there->to;
}

static void run(uint64_t seed) {
  pthread_t senders[FLOWS], pullers[2];
  LYQ_DEFAULTS(lyq_driver_opt, o);
  memset(&slow, 0, sizeof slow);
  slow.seed = seed;
  slow.each = (uint64_t)many(50);
  o.workers = 1 + seed % 2;
  slow.memory = o.memory_limit = (uint64_t)2 << 20 << seed / 2 % 3;
  for (int i = 0; i < 2; i++)
    need(lyq_driver_open(&o, &slow.sides[i]) == 0, "a driver opens: %s", lyq_detail());
  for (int i = 0; i < 2; i++)
    need(lyq_inbox_open(slow.sides[1], &slow.inboxes[i]) == 0, "an inbox opens: %s", lyq_detail());
  for (int i = 0; i < PAIRS; i++)
    open_pair(i);
  need(pthread_create(&pullers[0], NULL, pull, NULL) == 0, "a puller");
  need(pthread_create(&pullers[1], NULL, pull_and_keep, &slow.flows[2 * PAIRS - 2]) == 0, "a puller that keeps");
  for (int i = 0; i < FLOWS; i++)
    need(pthread_create(&senders[i], NULL, send_flow, &slow.flows[i]) == 0, "a sender");
  ok(watch(), "seed %llu, %llu MiB: who can deliver does, and nothing holds too much",
     (unsigned long long)seed, (unsigned long long)slow.memory >> 20);
  SET(slow.over, 1);
  for (int i = 0; i < FLOWS; i++)
    pthread_join(senders[i], NULL);
  for (int i = 0; i < 2; i++)
    lyq_close(slow.inboxes[i].id, 0);
  for (int i = 0; i < 2; i++)
    pthread_join(pullers[i], NULL);
  for (int i = 0; i < 2; i++)
    close_driver(slow.sides[i]);
}

int main(int argc, char **argv) {
  tap_begin();
  int runs = argc > 2 ? atoi(argv[2]) : 3;
  uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)now_ns();
  for (int i = 0; i < runs; i++)
    run(seed + (uint64_t)i);
  return tap_end();
}
