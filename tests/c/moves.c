/* Endpoints that change workers, and addresses, while messages flow. */
#include "kit.h"

enum { SIZE = 1000, COUNT = 5000, WORKERS = 3 };

static uint8_t data[SIZE];

static int in_order(recorder *r, int count) {
  int at = 0, good = 1;
  pthread_mutex_lock(&r->lock);
  for (size_t i = 0; i < r->n; i++)
    if (r->items[i].kind == LYQ_DATA) good &= r->items[i].id == (uint64_t)at++;
  pthread_mutex_unlock(&r->lock);
  return good && at == count;
}

static void *send_all(void *of) {
  lyq_endpoint ep = *(lyq_endpoint *)of;
  int64_t rc = 0;
  for (int i = 0; i < many(COUNT) && rc >= 0; i++)
    rc = lyq_send_wait(ep, 0, data, SIZE, patience_ms());
  return rc < 0 ? "a send was refused" : NULL;
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

/* sent_both_ways has both ends send at full speed while disturb(p, k) is called for k = 0, 1, ... */
static void sent_both_ways(pair *p, const char *what, void (*disturb)(pair *, int)) {
  pthread_t senders[2];
  void *wrong[2];
  int count = many(COUNT);
  pthread_create(&senders[0], NULL, send_all, &p->a);
  pthread_create(&senders[1], NULL, send_all, &p->b);
  for (int k = 0; recorder_count(&p->rb, LYQ_DATA) < count || recorder_count(&p->ra, LYQ_DATA) < count; k++) {
    disturb(p, k);
    nanosleep(&(struct timespec){0, 500000}, NULL);
    if (k == 4 * patience_ms()) break;
  }
  for (int i = 0; i < 2; i++) pthread_join(senders[i], &wrong[i]);
  ok(wrong[0] == NULL && wrong[1] == NULL, "%s: every message is accepted", what);
  ok(recorder_wait(&p->rb, LYQ_DATA, count) && in_order(&p->rb, count), "%s: nothing is lost one way", what);
  ok(recorder_wait(&p->ra, LYQ_DATA, count) && in_order(&p->ra, count), "%s: nor the other", what);
  is(recorder_count(&p->ra, LYQ_RESTARTED) + recorder_count(&p->rb, LYQ_RESTARTED), 0, "nobody restarted");
  is(lyq_wait(p->a.id, LYQ_ACKED, patience_ms()), 0, "all is acknowledged");
}

static void move_both(pair *p, int k) {
  lyq_set_worker(p->a, k % (WORKERS + 1));
  lyq_set_worker(p->b, k / 2 % (WORKERS + 1));
}

static void test_moves(lyq_driver d, const char *scheme) {
  pair p;
  uint64_t before = moves_of(d);
  pair_init(&p);
  pair_open(&p, d, scheme, NULL, NULL);
  sent_both_ways(&p, scheme, move_both);
  ok(moves_of(d) > before + 10, "%s: %llu moves", scheme, (unsigned long long)(moves_of(d) - before));
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

int main(void) {
  tap_begin();
  lyq_driver d = open_driver(WORKERS);
  test_moves(d, "tcp");
  test_moves(d, "mem");
  close_driver(d);
  return tap_end();
}
