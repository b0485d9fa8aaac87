/* What the storm knows of sessions. Everything that depends on them is here. */
#ifndef LYQUOR_CHAOS_SESSION_H
#define LYQUOR_CHAOS_SESSION_H

#include "common.h"

/* Events, and what lyq_wait waits for, of releases that have sessions. */
enum { SESSION_DOWN = LYQ_DOWN, SESSION_RESTARTED = LYQ_RESTARTED };

/* session_settle waits until the peer has consumed everything that was accepted; 1 when it has. */
static inline int session_settle(lyq_endpoint ep, int timeout_ms) {
  int64_t until = clock_ns() + (int64_t)timeout_ms * 1000000, left;
  int rc = LYQ_ETIMEDOUT;
  while ((left = until - clock_ns()) > 0) {
    rc = lyq_wait(ep.id, LYQ_ACKED, (int)(left / 1000000) + 1);
    if (rc != LYQ_EINTR) break;
  }
  return rc == 0;
}

#endif
