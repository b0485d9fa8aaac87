/* A ledger that may be killed: `ledger serve ADDRESS FILE` writes each number that it gets to a file, 8 bytes each,
 * and acknowledges it once the disk has it; `ledger send ADDRESS COUNT` sends numbers, and those again of which it
 * cannot know whether a ledger that was killed and started again has them. So each number is in the file, some perhaps
 * twice. */
#include <lyquor.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static FILE *file;

static int keep(void *ctx, const lyq_msg *m, size_t n) { /* on a worker thread */
  const lyq_msg *last = NULL;
  (void)ctx;
  for (size_t i = 0; i < n; i++)
    if (m[i].kind == LYQ_DATA) {
      last = &m[i];
      fwrite(last->data, sizeof(uint64_t), 1, file); /* what fails shows below */
    }
  if (last == NULL) return (int)n; /* events only */
  if (fflush(file) != 0 || ferror(file) || fsync(fileno(file)) != 0) return -1; /* the sender will know */
  lyq_ack(last->ep, last->tag, last->id); /* and all before it in its lane, which is the only one here */
  return (int)n;
}

static int serve(lyq_driver d, const char *address, const char *path) {
  lyq_listener l;
  char where[128];
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  opt.recv = keep;
  opt.ack = LYQ_ACK_MANUAL;
  if ((file = fopen(path, "a")) == NULL) return perror(path), LYQ_EINVAL;
  int rc = lyq_listen(d, address, &opt, &l);
  if (rc < 0 || (rc = lyq_address(l.id, where, sizeof where)) < 0) return rc;
  fprintf(stderr, "listening on %s\n", where);
  return lyq_wait(l.id, LYQ_CLOSED, -1);
}

/* again sends what the ledger of before had not acknowledged: it may have it, or not. */
static int again(lyq_endpoint ep) {
  uint64_t cursor = 0;
  lyq_msg m[64];
  int n, total = 0;
  while ((n = lyq_unacked(ep, &cursor, m, 64)) > 0)
    for (int i = 0; i < n; i++, total++) {
      int64_t id = lyq_send_wait(ep, m[i].tag, m[i].data, m[i].size, -1);
      if (id < 0) return (int)id;
    }
  fprintf(stderr, "the ledger was started again: %d numbers are sent again\n", total);
  return n;
}

/* look takes what is there to be known of the connection, for up to ms milliseconds. */
static int look(lyq_inbox in, int ms) {
  lyq_msg m;
  int rc = lyq_recv(in, &m, 1, ms);
  if (rc < 0) return rc == LYQ_EAGAIN || rc == LYQ_ETIMEDOUT ? 0 : rc;
  rc = m.kind == LYQ_RESTARTED ? again(m.ep) : m.kind == LYQ_CLOSED ? (m.code ? m.code : LYQ_ECLOSED) : 0;
  lyq_release(&m, 1);
  return rc;
}

static int send_all(lyq_driver d, const char *address, uint64_t count) {
  lyq_endpoint ep;
  LYQ_DEFAULTS(lyq_endpoint_opt, opt);
  int rc = lyq_inbox_open(d, &opt.inbox);
  if (rc < 0 || (rc = lyq_dial(d, address, &opt, &ep)) < 0) return rc;
  for (uint64_t i = 0; i < count && rc >= 0;) {
    int64_t id = lyq_send(ep, 0, &i, sizeof i);
    i += id >= 0;
    rc = id >= 0 ? look(opt.inbox, 0) : id == LYQ_EAGAIN ? look(opt.inbox, 1000) : (int)id;
  }
  while (rc >= 0 && lyq_wait(ep.id, LYQ_ACKED, 0) != 0) rc = look(opt.inbox, 20);
  if (rc < 0) return rc;
  lyq_close(ep.id, 1000);
  return lyq_wait(ep.id, LYQ_CLOSED, 2000);
}

int main(int argc, char **argv) {
  lyq_driver d;
  int rc = LYQ_EINVAL, serves = argc == 4 && strcmp(argv[1], "serve") == 0;
  if (!serves && (argc != 4 || strcmp(argv[1], "send") != 0))
    return fprintf(stderr, "usage: ledger serve ADDRESS FILE | ledger send ADDRESS COUNT\n"), 2;
  if ((rc = lyq_driver_open(NULL, &d)) == 0)
    rc = serves ? serve(d, argv[2], argv[3]) : send_all(d, argv[2], strtoull(argv[3], NULL, 10));
  if (rc < 0) fprintf(stderr, "%s: %s\n", lyq_strerror(rc), lyq_detail());
  return rc < 0;
}
