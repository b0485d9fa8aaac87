/* Endpoints that change workers, and addresses, while messages flow. */
#include "kit.h"

enum { SIZE = 1000, COUNT = 5000, WORKERS = 3, MOVES = 20 };

/* sender is one direction of a pair: COUNT messages at full speed, and then some until what is to be seen meanwhile
 * has happened. */
typedef struct sender {
  pthread_t thread;
  lyq_endpoint ep;
  int *enough, count;
  int64_t result;
} sender;

/* in_order says whether every message came once, in order, as it was sent. */
static int in_order(recorder *r, int count) {
  uint8_t data[SIZE];
  int at = 0, good = 1;
  pthread_mutex_lock(&r->lock);
  for (size_t i = 0; i < r->n; i++)
    if (r->items[i].kind == LYQ_DATA) {
      fill(data, SIZE, (uint64_t)at);
      good &= r->items[i].id == (uint64_t)at++ && r->items[i].hash == hash_of(data, SIZE);
    }
  pthread_mutex_unlock(&r->lock);
  return good && at == count;
}

static void *send_all(void *of) {
  sender *s = of;
  uint8_t data[SIZE];
  while (s->result >= 0 && (s->count < many(COUNT) || !__atomic_load_n(s->enough, __ATOMIC_RELAXED))) {
    if (s->count >= many(COUNT)) nanosleep(&(struct timespec){0, 100000}, NULL);
    fill(data, SIZE, (uint64_t)s->count++);
    s->result = lyq_send_wait(s->ep, 0, data, SIZE, patience_ms());
  }
  return NULL;
}

static uint64_t worker_of(lyq_endpoint ep) {
  uint64_t c[LYQ_C_COUNT] = {0};
  lyq_counters(ep.id, c, LYQ_C_COUNT);
  return c[LYQ_C_WORKER];
}

static uint64_t moves_of(lyq_driver d) {
  uint64_t c[LYQ_W_COUNT] = {0};
  lyq_counters(d.id, c, LYQ_W_COUNT);
  return c[LYQ_W_MOVES];
}

/* flowed says whether all that is sent at full speed is there, endpoints have moved, and one has had enough links. */
static int flowed(pair *p, uint64_t moves, int links) {
  return recorder_count(&p->rb, LYQ_DATA) >= many(COUNT) && recorder_count(&p->ra, LYQ_DATA) >= many(COUNT) &&
         moves >= MOVES && recorder_count(&p->ra, LYQ_UP) >= links;
}

/* sent_both_ways has both ends send while disturb(p, k) is called for k = 0, 1, ..., until enough has happened. */
static void sent_both_ways(pair *p, lyq_driver d, const char *what, void (*disturb)(pair *, int), int links) {
  int enough = 0;
  sender senders[2] = {{.ep = p->a, .enough = &enough}, {.ep = p->b, .enough = &enough}};
  recorder *to[2] = {&p->rb, &p->ra};
  uint64_t before = moves_of(d);
  for (int i = 0; i < 2; i++)
    need(pthread_create(&senders[i].thread, NULL, send_all, &senders[i]) == 0, "a sender");
  int k = 0;
  int good = until((disturb(p, k++), flowed(p, moves_of(d) - before, links)));
  __atomic_store_n(&enough, 1, __ATOMIC_RELAXED);
  for (int i = 0; i < 2; i++) pthread_join(senders[i].thread, NULL);
  ok(good, "%s: %llu moves, %d links", what, (unsigned long long)(moves_of(d) - before),
     recorder_count(&p->ra, LYQ_UP));
  ok(senders[0].result >= 0 && senders[1].result >= 0, "%s: every message is accepted", what);
  for (int i = 0; i < 2; i++)
    ok(recorder_wait(to[i], LYQ_DATA, senders[i].count) && in_order(to[i], senders[i].count),
       "%s: nothing is lost of %d messages", what, senders[i].count);
  is(recorder_count(&p->ra, LYQ_RESTARTED) + recorder_count(&p->rb, LYQ_RESTARTED), 0, "nobody restarted");
  is(lyq_wait(p->a.id, LYQ_ACKED, patience_ms()), 0, "all is acknowledged");
}

static void move_both(pair *p, int k) {
  lyq_set_worker(p->a, k % (WORKERS + 1));
  lyq_set_worker(p->b, k / 2 % (WORKERS + 1));
}

static void test_moves(lyq_driver d, const char *scheme) {
  pair p;
  pair_init(&p);
  pair_open(&p, d, scheme, NULL, NULL);
  sent_both_ways(&p, d, scheme, move_both, 1);
  for (int n = 1; n <= WORKERS; n++) {
    is(lyq_set_worker(p.a, n), 0, "it is sent to a worker");
    ok(until(worker_of(p.a) == (uint64_t)n), "and is there");
  }
  is(lyq_set_worker(p.a, WORKERS + 1), LYQ_EINVAL, "there is no such worker");
  ok(strstr(lyq_detail(), "0 to 3 are allowed") != NULL, "which says how many there are: %s", lyq_detail());
  pair_end(&p, scheme);
  is(lyq_set_worker(p.a, 1), LYQ_ECLOSED, "what is closed moves no more");
  pair_free(&p);
}

/* ---- Other addresses, over one transport and another. */

enum { PLACES = 3 };

static char places[PLACES][128];

static void open_places(lyq_driver d, const pair *p, lyq_listener *more) {
  static const char *const at[PLACES - 1] = {"tcp://127.0.0.1:0", "mem://another-place"};
  snprintf(places[0], sizeof places[0], "%s", p->address);
  for (int i = 1; i < PLACES; i++) {
    need(lyq_listen(d, at[i - 1], NULL, &more[i - 1]) == 0, "a listener opens: %s", lyq_detail());
    need(lyq_address(more[i - 1].id, places[i], sizeof places[i]) > 0, "it has an address");
  }
}

static void switch_about(pair *p, int k) {
  move_both(p, k);
  if (k % 25 == 0) lyq_switch(p->a, places[k / 25 % PLACES]);
}

/* lives_at says whether the endpoint is connected to an address. */
static int lives_at(lyq_endpoint ep, const char *address) {
  char text[128] = "";
  return lyq_wait(ep.id, LYQ_UP, 0) == 0 && lyq_address(ep.id, text, sizeof text) > 0 && strcmp(text, address) == 0;
}

static void test_switches(lyq_driver d) {
  pair p;
  lyq_listener more[PLACES - 1];
  pair_init(&p);
  p.rb.shared = 1;   /* an attempt that the next call overtakes is one more endpoint there, which ends at once */
  pair_open(&p, d, "tcp", NULL, NULL);
  open_places(d, &p, more);
  sent_both_ways(&p, d, "switches", switch_about, PLACES);
  for (int i = 0; i < PLACES; i++) {
    is(lyq_switch(p.a, places[i]), 0, "it is sent to another address");
    ok(until(lives_at(p.a, places[i])), "and lives at %s", places[i]);
  }
  ok(recorder_count(&p.ra, LYQ_UP) >= PLACES, "LYQ_UP told of %d links", recorder_count(&p.ra, LYQ_UP));
  is(recorder_item(&p.ra, LYQ_DOWN, 0).code, LYQ_OK, "LYQ_DOWN says that nothing is wrong");
  is(lyq_switch(p.a, "mem://nobody-is-here"), 0, "to where nobody listens");
  ok(lyq_send(p.a, 0, "still", 5) >= 0 && lyq_wait(p.a.id, LYQ_ACKED, patience_ms()) == 0, "the connection goes on");
  is(lyq_switch(p.b, places[0]), LYQ_EINVAL, "who accepted cannot switch");
  ok(strstr(lyq_detail(), "was accepted") != NULL, "and is told why: %s", lyq_detail());
  is(lyq_switch(p.a, "fd://0"), LYQ_EINVAL, "nor can one go to a descriptor");
  is(lyq_switch(p.a, "pigeon://roof"), LYQ_EADDR, "nor to an unknown scheme");
  ok(strstr(lyq_detail(), "known are the schemes") != NULL, "and is told which there are: %s", lyq_detail());
  is(lyq_switch(p.a, NULL), LYQ_EINVAL, "nor to NULL");
  for (int i = 0; i < PLACES - 1; i++) lyq_close(more[i].id, 0);
  pair_end(&p, "switches");
  is(lyq_switch(p.a, places[0]), LYQ_ECLOSED, "what is closed goes nowhere");
  pair_free(&p);
}

static void test_with_link(lyq_driver d) {
  pair p;
  LYQ_DEFAULTS(lyq_endpoint_opt, o);
  o.resume_ms = LYQ_WITH_LINK;
  pair_init(&p);
  pair_open(&p, d, "tcp", &o, NULL);
  is(lyq_switch(p.a, "mem://elsewhere"), LYQ_EINVAL, "who lives with its link cannot switch");
  pair_end(&p, "with link");
  pair_free(&p);
}

int main(void) {
  tap_begin();
  lyq_driver d = open_driver(WORKERS);
  test_moves(d, "tcp");
  test_moves(d, "mem");
  test_switches(d);
  test_with_link(d);
  close_driver(d);
  return tap_end();
}
