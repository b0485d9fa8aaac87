#include <lyquor.h>
#include <stdio.h>
#include <stdlib.h>
static int echo(void *ctx, const lyq_msg *m, size_t n) { /* a worker thread; never twice at once for one endpoint */
  (void)ctx;
  for (size_t i = 0; i < n; i++) /* no room for an answer: the rest comes again once there is */
    if (m[i].kind == LYQ_CLOSED) fprintf(stderr, "closed: %s\n", lyq_strerror(m[i].code));
    else if (m[i].kind == LYQ_DATA && lyq_send(m[i].ep, m[i].tag, m[i].data, m[i].size) == LYQ_EAGAIN) return (int)i;
  return (int)n;
}
int main(int argc, char **argv) { /* endpoint ADDRESS: serves; endpoint ADDRESS COUNT: has COUNT numbers echoed */
  lyq_driver d; lyq_listener l; lyq_endpoint ep; lyq_inbox in; lyq_msg m[64]; char why[512]; int rc = LYQ_EINVAL, n;
  LYQ_DEFAULTS(lyq_driver_opt, dopt); dopt.busy_poll_us = 50; LYQ_DEFAULTS(lyq_endpoint_opt, eopt); eopt.recv = echo;
  if (argc < 2 || (rc = lyq_driver_open(&dopt, &d)) < 0 ||
      (argc == 2 && (rc = lyq_listen(d, argv[1], &eopt, &l)) < 0)) goto fail;
  if (argc == 2) return lyq_wait(l.id, LYQ_CLOSED, -1) < 0;
  if ((rc = lyq_dial(d, argv[1], NULL, &ep)) < 0 || (rc = lyq_inbox_open(d, &in)) < 0 ||
      (rc = lyq_inbox_bind(in, ep.id, -1)) < 0) goto fail;
  for (int sent = 0, got = 0, all = atoi(argv[2]); got < all;) { /* when there is no room to send it takes what came */
    while (sent < all && (rc = (int)lyq_send(ep, LYQ_TAG(LYQ_NORMAL, 7), &sent, sizeof sent)) >= 0) sent++;
    if (sent < all && rc != LYQ_EAGAIN) goto stuck;
    if ((n = rc = lyq_recv(in, m, 64, 5000)) <= 0) goto stuck;
    for (int i = 0; i < n; i++) got += m[i].kind == LYQ_DATA;
    lyq_release(m, (size_t)n);
  }
  lyq_close(d.id, 1000);
  return lyq_wait(d.id, LYQ_CLOSED, 2000) < 0;
stuck: lyq_explain(ep.id, why, sizeof why); fprintf(stderr, "%s\n", why); /* "NORMAL: 812 queued, ...: socket full" */
fail:  fprintf(stderr, "%s: %s\n", lyq_strerror(rc), lyq_detail()); return 1;
}
