/* A process that says hello to itself: gcc hello.c -o hello $(pkg-config --cflags --libs lyquor) */
#include <lyquor.h>
#include <stdio.h>

/* Runs on a worker for each endpoint that the listener accepts: sends back what comes. */
static int echo(void *ctx, const lyq_msg *m, size_t n) {
  (void)ctx;
  for (size_t i = 0; i < n; i++)
    if (m[i].kind == LYQ_DATA && lyq_send(m[i].ep, m[i].tag, m[i].data, m[i].size) == LYQ_EAGAIN)
      return (int)i; /* no room: the rest comes again when there is */
  return (int)n;
}

int main(void) {
  lyq_driver driver; lyq_listener listener; lyq_inbox inbox; lyq_endpoint ep; lyq_msg m; char address[64]; int rc;
  LYQ_DEFAULTS(lyq_endpoint_opt, served); served.recv = echo;
  if ((rc = lyq_driver_open(NULL, &driver)) < 0) goto fail;
  if ((rc = lyq_listen(driver, "tcp://127.0.0.1:0", &served, &listener)) < 0) goto fail;
  if ((rc = lyq_address(listener.id, address, sizeof address)) < 0) goto fail;
  if ((rc = lyq_inbox_open(driver, &inbox)) < 0) goto fail;
  LYQ_DEFAULTS(lyq_endpoint_opt, dialled); dialled.inbox = inbox;
  if ((rc = lyq_dial(driver, address, &dialled, &ep)) < 0) goto fail;
  if ((rc = (int)lyq_send(ep, 0, "hello, world", 12)) < 0) goto fail;
  do {
    if ((rc = lyq_recv(inbox, &m, 1, 5000)) < 0) goto fail;
    if (m.kind == LYQ_DATA) printf("%.*s\n", (int)m.size, (const char *)m.data);
    lyq_release(&m, 1);
  } while (m.kind != LYQ_DATA && m.kind != LYQ_CLOSED);
  lyq_close(driver.id, 1000);
  return lyq_wait(driver.id, LYQ_CLOSED, 5000) < 0;
fail:
  fprintf(stderr, "%s: %s\n", lyq_strerror(rc), lyq_detail());
  return 1;
}
