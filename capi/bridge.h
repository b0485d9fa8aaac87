/* What Go calls in C; the C files share these, too. Hidden: a host must not resolve them to functions of its own. */
#ifndef LYQ_BRIDGE_H
#define LYQ_BRIDGE_H
#include "../include/lyquor.h"

#pragma GCC visibility push(hidden)

/* Makes table and inboxes known to C: once, before the first handle exists. */
void lyqi_share(void *root, void *office);

void lyqi_detail(const char *text);                  /* sets this thread's lyq_detail */
int64_t lyqi_clock(void);                            /* nanoseconds of CLOCK_MONOTONIC */

/* Memory of long messages, aligned to 64: new returns the data's address, with one reference, or NULL. */
void *lyqi_long_new(uint64_t size);
void lyqi_long_unref(void *data);
void lyqi_long_ref(void *data);
void lyqi_long_drop(void *data, void *d, void *e);   /* both are dropped with the data */
void lyqi_long_trim(void);                           /* frees what is kept for the next long message */

/* The messages that an event leaves unacknowledged, as outbox.Part has them: entries of the log, size bytes at addr, in
 * a chunk of theirs (0: copied), some of them references; see lyq_unacked. */
typedef struct lyqi_part { uint64_t addr, size, first, touched; uint32_t lane, chunk, references, unused; } lyqi_part;
/* A list of n parts, to be filled, with room for bytes behind it; charged is what it counts in a budget; untold is the
 * slot whose word of that name counts it, or NULL. NULL: no memory. */
void *lyqi_remains_new(uint64_t n, uint64_t bytes, uint32_t budget, int64_t charged, void *untold);
lyqi_part *lyqi_remains_parts(void *remains);
/* The list goes with an event's data from lyqi_long_new; NULL: there was no memory for it. */
void lyqi_long_remains(void *data, void *remains);

/* A context and what is called with it once nobody uses it any more. new returns it with one reference; NULL, here and
 * below, stands for one that calls nothing. Of an fn that is not NULL it means that there is no memory. */
void *lyqi_drop_new(lyq_fn fn, void *ctx);
void lyqi_drop_ref(void *d);
void lyqi_drop_unref(void *d);
void lyqi_drop_forget(void *d);                      /* frees it without the call */

int64_t lyqi_deliver(void *slot, uint64_t id, lyq_recv_fn fn, void *fn_ctx, void *frames, uint64_t size, uint32_t block,
                     uint64_t f0, uint64_t f1, uint64_t f2, uint64_t f3);
int lyqi_deliver_one(void *slot, uint64_t id, lyq_recv_fn fn, void *fn_ctx, int kind, int code, uint32_t tag,
                     uint64_t number, uint64_t token, void *data, uint64_t size);
int lyqi_inbox_drain(uint32_t i);                    /* 0: a thread is still inside lyq_recv */
void lyqi_inbox_close(uint32_t i);
void lyqi_call(lyq_fn fn, void *ctx);                /* as a callback */
void lyqi_release(uint64_t release, uint64_t addr, uint64_t hint);
void lyqi_log(lyq_log_fn fn, void *ctx, int level, const char *id, const char *text);
void lyqi_descriptor(int fd, int open);              /* one of ours, to be closed in forked children */

#pragma GCC visibility pop
#endif
