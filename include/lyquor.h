/* lyquor.h - the C API of lyquor, a peer-to-peer message layer. This file is its manual.
 *
 * A DRIVER is a pool of worker threads. An ENDPOINT is a bidirectional channel of messages to one remote program; it
 * is opened by lyq_dial or accepted by a LISTENER. What arrives - messages and events, in one order - goes to a
 * callback on a worker, or to an INBOX from which the program's own threads pull.
 *
 * The promise
 *   What lyq_send accepted reaches the peer whole, in order within its lane, exactly once, over any number of lost
 *   connections for as long as resume_ms says, unless it was given a time to live (lyq_send_ttl). It is acknowledged
 *   when it was consumed: when the callback that saw it has returned, or lyq_release gave it back; with LYQ_ACK_MANUAL,
 *   when the program says so by lyq_ack. If the peer comes back without what it had (LYQ_RESTARTED), or the endpoint
 *   ends (LYQ_CLOSED), the item's data says how many messages of each lane were acknowledged, how many were perhaps
 *   delivered, how many were never sent, and how many were withdrawn because their time to live was over (lyq_account),
 *   and lyq_unacked lists those that were not acknowledged. A full outbox is a return code, never a drop and never a
 *   disconnect. A receiver that does not consume stops its sender.
 *
 * Threads
 *   Every function may be called from any thread, at once, and inside callbacks, unless its comment says otherwise.
 *   Functions that would wait return LYQ_EDEADLK inside a callback. lyq_send*, lyq_claim_open, lyq_commit, lyq_recv,
 *   lyq_retain, lyq_release, lyq_discard, lyq_ack, lyq_unacked, lyq_account, lyq_resume, lyq_end, lyq_flush, lyq_close,
 *   lyq_wait and lyq_wait_room never enter the Go runtime and may be called in destructors of threads. After fork,
 *   every call in the child returns LYQ_EFORKED (lyq_close, lyq_release, lyq_discard and lyq_retain do nothing and
 *   return 0).
 *
 * Results
 *   int and int64_t results: >= 0 is success or a count, < 0 one of LYQ_E... below; lyq_strerror names it and
 *   lyq_detail, on the thread that got it from a call that enters Go (not those above, nor lyq_quiesce and
 *   lyq_inbox_fd), says what was wrong and what is allowed. errno is not used.
 *
 * Structs that a program fills begin with struct_size; fields that are zero mean the default. Use LYQ_DEFAULTS.
 *
 * Defaults
 *   workers                2      | outbox_bytes  134217728 per lane | keepalive_ms   15000
 *   busy_poll_us           0      | window_bytes  134217728 per lane | connect_ms     10000 (also the handshake)
 *   memory_limit  1073741824      | max_message      1048576         | resume_ms      60000 if accepted, else for ever
 *   outbox_bytes and window_bytes are caps: each lane begins with 262144, or its cap if that is less, and grows to
 *   what fills the connection, about twice its throughput times its round trip. It never grows by more than a quarter
 *   of what is left of memory_limit, which bounds the growth of all outboxes and of all windows.
 */
#ifndef LYQUOR_H
#define LYQUOR_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__ || UINTPTR_MAX != 0xffffffffffffffffu
#error "lyquor needs a 64-bit little-endian platform"
#endif
#ifdef __cplusplus
extern "C" {
#endif

#define LYQ_ABI_VERSION 1u          /* of this header; lyq_abi_version() is the library's, never smaller */

/* ---- Handles. By value; {0} is none. A handle stays good to pass for ever: once what it named is closed, calls
 * return LYQ_ECLOSED; a number that never was a handle gives LYQ_EHANDLE. Functions for every kind take the id. */
typedef struct lyq_driver   { uint64_t id; } lyq_driver;
typedef struct lyq_listener { uint64_t id; } lyq_listener;
typedef struct lyq_endpoint { uint64_t id; } lyq_endpoint;
typedef struct lyq_inbox    { uint64_t id; } lyq_inbox;
typedef struct lyq_timer    { uint64_t id; } lyq_timer;

/* ---- Tags. Each message carries a lane and a 16-bit channel by which programs dispatch. Lanes are ordered
 * streams of their own, sent in strict priority URGENT, NORMAL, LOW, BULK, with a small share left to the lower
 * ones. What was given to the socket is not overtaken: once an endpoint has used two lanes that is kept below
 * 320 KiB, besides what is under way and what the peer has not read. That is so over TCP on Linux alone, whose
 * TCP_NOTSENT_LOWAT it takes, and not with LYQ_PORTABLE. Nor is what waits for the receiving program: it gets
 * everything in the order in which it came. */
typedef uint32_t lyq_tag;           /* 0: normal lane, channel 0 */
#define LYQ_TAG(lane, channel) ((lyq_tag)((uint32_t)(lane) << 16 | (uint16_t)(channel)))
#define LYQ_LANE(tag)    ((int)((tag) >> 16 & 0xff))
#define LYQ_CHANNEL(tag) ((uint16_t)(tag))
enum lyq_lane { LYQ_NORMAL = 0, LYQ_URGENT = 1, LYQ_LOW = 2, LYQ_BULK = 3 };

/* ---- Errors and reasons. Numbers never change. */
enum lyq_err {
  LYQ_OK         = 0,    /* as the reason of LYQ_CLOSED: an orderly end, by either side */
  LYQ_EINVAL     = -1,   /* an argument is out of range; the detail names it */
  LYQ_EHANDLE    = -2,   /* not a handle, or one of another kind */
  LYQ_ECLOSED    = -3,   /* what the handle named is closed, or closing and takes no more */
  LYQ_EAGAIN     = -4,   /* no room now; a LYQ_WRITABLE follows. lyq_recv: nothing there */
  LYQ_EMSGSIZE   = -5,   /* longer than the peer takes (1 MiB before LYQ_UP told its limit), or than memory_limit ever
                          * has room for */
  LYQ_ETIMEDOUT  = -6,
  LYQ_EINTR      = -7,   /* a signal handler ran while waiting */
  LYQ_EDEADLK    = -8,   /* would wait inside a callback */
  LYQ_EFORKED    = -9,   /* in a forked child: load the library after fork, or use exec */
  LYQ_EADDR      = -10,  /* an address cannot be parsed, resolved, bound or reached in principle */
  LYQ_ENOMEM     = -11,
  LYQ_ELIMIT     = -12,  /* a limit: handles, drivers, descriptors */
  LYQ_EREFUSED   = -13,  /* nobody listens there */
  LYQ_EUNREACH   = -14,  /* no route to it */
  LYQ_ERESET     = -15,  /* the connection broke, or the peer ended it without a word */
  LYQ_EVERSION   = -16,  /* no wire version or suite in common */
  LYQ_ENOTSUP    = -17,  /* not in this build or release */
  LYQ_EINTERNAL  = -18,  /* a defect in lyquor; the log has more */
  LYQ_EBUSY      = -19,  /* the address is in use; or the handle is bound already */
  LYQ_EPROTO     = -20   /* the peer broke the protocol, or is no lyquor */
};

/* ---- Items: messages and events. */
enum lyq_kind {
  LYQ_DATA = 0,          /* a message */
  LYQ_UP = 16,           /* there is a connection, the first or another. data: UpDetail (schema/event.fbs) */
  LYQ_ENDED = 17,        /* the peer sends no more (lyq_end); keeps its place behind its messages */
  LYQ_DOWN = 18,         /* the connection is lost, or the first attempt to get one failed: code says why, 0 that
                          * another takes its place (lyq_switch). Then LYQ_UP or LYQ_CLOSED; may overtake messages */
  LYQ_WRITABLE = 19,     /* there is room again after a LYQ_EAGAIN; may overtake messages */
  LYQ_RESTARTED = 20,    /* the peer came back without what it had: data says what became of it (RestartedDetail;
                          * lyq_account, lyq_unacked). lyq_recv gives nothing behind it in the same call */
  LYQ_ACCEPTED = 21,     /* an accepted endpoint's first item, or in a lobby its only one; token: its listener's id.
                          * data: AcceptedDetail */
  LYQ_ACKED = 22,        /* what lyq_flush asked for; code: 0, or LYQ_ERESET as lyq_wait returns it; may overtake
                          * messages */
  LYQ_TIMER = 23,        /* a timer with an inbox or pulled endpoint is due; token: its id, ctx: the timer's */
  LYQ_CLOSED = 25,       /* the last item of an endpoint; code says why. data: ClosedDetail; as with LYQ_RESTARTED */
  LYQ_NEVER_SENT = 32,   /* of lyq_unacked: no link was given a byte of this message */
  LYQ_MAYBE_DELIVERED = 33 /* of lyq_unacked: some link was; the peer may have it, or not */
};

typedef struct lyq_msg {
  lyq_endpoint ep;       /* whence; {0} for items of no endpoint */
  void *ctx;             /* the program's pointer for it (lyq_set_ctx), else the one given with its callback */
  const uint8_t *data;   /* 8-byte aligned, 64-byte above 64 KiB; an event's FlatBuffer, or NULL */
  size_t size;
  uint64_t id;           /* of a message: what the sender's lyq_send returned; counts from 0 in each lane, with those
                          * that the sender withdrew (lyq_send_ttl). With LYQ_ACK_MANUAL its top 16 bits count the
                          * peer's restarts (LYQ_NUMBER is the rest) */
  lyq_tag tag;
  uint16_t kind;         /* enum lyq_kind; skip those you do not know */
  int16_t code;          /* of an event: enum lyq_err */
  uint64_t token;
  uint64_t reserved[2];  /* the library's */
} lyq_msg;

/* Gets 1 to n items on a worker thread. Returns how many it took, n for all; fewer pauses the endpoint, and the
 * rest comes again after lyq_resume, or, if a send of this endpoint returned LYQ_EAGAIN, with its LYQ_WRITABLE. A
 * negative result closes the endpoint. Events count as taken, whatever it returns. Never entered twice at once for
 * one endpoint. data lives until it returns (lyq_retain). It should take less than a millisecond: longer calls are
 * counted, and hold up that worker's other endpoints. */
typedef int  (*lyq_recv_fn)(void *ctx, const lyq_msg *m, size_t n);
/* Called once: to free memory, to drop a context, when a timer is due. On a worker thread unless stated otherwise. */
typedef void (*lyq_fn)(void *ctx);
/* level: 0 error, 1 warning, 2 information, 3 debugging. id is stable and short ("accept.failed"). Any thread,
 * also two at once; the strings live until it returns. */
typedef void (*lyq_log_fn)(void *ctx, int level, const char *id, const char *text);

/* ---- Options. */
#define LYQ_DEFAULTS(T, name) T name; memset(&name, 0, sizeof name); name.struct_size = (uint32_t)sizeof name

enum lyq_driver_flag {
  LYQ_PORTABLE = 1,      /* poll through Go's own net, not epoll: slower, two goroutines a connection; for tests */
  LYQ_NO_BALANCE = 2     /* endpoints stay on the worker that they were placed on, or sent to by lyq_set_worker. Else
                          * one goes now and then from a worker that is busy to one that is less so, and from one whose
                          * callbacks hold it up; never one that was placed by number */
};
typedef struct lyq_driver_opt {
  uint32_t struct_size;
  uint32_t workers;      /* threads, 1 to 64 */
  uint32_t busy_poll_us; /* how long a worker that ran out of work keeps looking before it sleeps; 0 to 1 000 000. A
                          * worker looks for 40 us on its own, but only while that keeps paying. */
  uint32_t flags;
  const int *cpus;       /* workers entries: the CPU each worker is bound to; NULL: none */
  const char *name;      /* prefix of the threads' names, at most 10 bytes; NULL: "lyq" */
  uint64_t memory_limit; /* bytes of memory that outboxes and blocks being read into take, over all endpoints; at least
                          * 1 MiB. A message above 16 KiB that was copied takes 64 KiB of it, above 64 KiB 256 KiB,
                          * above that its size. What the program has received and holds is bounded by the windows,
                          * which together grow by no more than this */
} lyq_driver_opt;

enum lyq_resume { LYQ_FOR_EVER = -1, LYQ_WITH_LINK = -2 };
/* When a message from the peer is acknowledged to it. What was received and not acknowledged uses up window_bytes. */
enum lyq_ack_mode {
  LYQ_ACK_RETURN = 0,    /* when the callback that saw it has returned; with an inbox, when lyq_release gave back it
                          * and everything that came before it in its lane */
  LYQ_ACK_MANUAL = 1     /* when the program says so: see lyq_ack */
};
/* What becomes of messages that a peer which has restarted had not acknowledged. They are counted in any case. */
enum lyq_on_restart {
  LYQ_REPORT = 0,        /* they are withdrawn, and listed by lyq_unacked; without a receiver, which nobody could report
                          * to, they are sent to the new peer as with LYQ_RESEND, and no LYQ_RESTARTED tells of it */
  LYQ_RESEND = 1,        /* they are sent to the new peer, before what follows */
  LYQ_DROP = 2           /* they are withdrawn, and not listed */
};
typedef struct lyq_endpoint_opt {
  uint32_t struct_size;
  uint32_t worker;       /* 0: where the load is least; else the worker's number, from 1 */
  uint64_t outbox_bytes; /* cap on each lane's bytes that were accepted and not acknowledged; 64 KiB to 128 MiB */
  uint64_t window_bytes; /* cap on what the peer may send in each lane beyond what was consumed; 64 KiB to 1 GiB */
  uint64_t max_message;  /* longest message that is taken from the peer; 1 MiB to 1 GiB */
  int32_t keepalive_ms;  /* silence after which the peer is pinged; three times that ends the connection. -1: never;
                          * at most 24 h */
  int32_t connect_ms;    /* bound on connecting, and again on the handshake; at most 24 h */
  lyq_inbox inbox;       /* pull: where items go. Not together with recv */
  lyq_recv_fn recv;      /* push: the callback */
  void *ctx;             /* its context, and the endpoint's until lyq_set_ctx */
  lyq_fn drop;           /* called with ctx after the last item (with an inbox: by the lyq_release of LYQ_CLOSED),
                          for a listener after the last of all that it accepted; may be NULL */
  int32_t resume_ms;     /* how long the endpoint outlives a lost connection, or none at first: who dialled redials, who
                          * accepted waits. LYQ_FOR_EVER, also by default where it was dialled; LYQ_WITH_LINK: not at
                          * all, which is all that "fd://N" can have. Of those accepted 16384 of a driver may wait at
                          * a time, and hold memory_limit together: else who waited longest ends with LYQ_ELIMIT */
  uint32_t on_restart;   /* enum lyq_on_restart */
  uint32_t ack;          /* enum lyq_ack_mode */
  lyq_inbox lobby;       /* of a listener, in place of recv and inbox: where LYQ_ACCEPTED goes, and nothing else. The
                          * endpoint waits for a receiver of its own (lyq_inbox_bind, lyq_on_recv), with what its peer
                          * sends, at most a window, and also when its peer has ended; or for lyq_close. Closing the
                          * lobby ends those that still wait, closing the listener does not */
} lyq_endpoint_opt;

/* ---- The library. */
/* The ABI version of the library that is loaded. */
uint32_t lyq_abi_version(void);
/* Its release, such as "0.1.0". Static. */
const char *lyq_version(void);
/* 1 if this build has a capability: "tcp", "mem", "fd", "pull", "portable"; 0 if not or unknown. */
int lyq_has(const char *what);
/* The meaning of an error in a few words. Static; never NULL. */
const char *lyq_strerror(int err);
/* What was wrong in the last failed control call of this thread, and what is allowed. Valid until its next one. */
const char *lyq_detail(void);
/* Where log lines go; fn NULL: nowhere, which is the default. drop is called with ctx once fn is no longer used. */
int lyq_set_logger(lyq_log_fn fn, void *ctx, lyq_fn drop, int level);

/* ---- Any handle. */
/* Ends what id names; never waits, may be called again: the shortest time counts. An endpoint takes no more messages
 * at once; within linger_ms (0: at once; -1: for ever, also while there is no connection, as far as resume_ms goes) it
 * sends what it accepted until that is acknowledged, and tells the peer; what is left is dropped, and it ends with
 * LYQ_CLOSED, a second later at most if the peer does not answer. A listener stops accepting; what it accepted lives
 * on. A driver closes its listeners, endpoints, timers and inboxes, then its workers. A timer will not fire once no
 * callback runs. An inbox drops what lies in it, with the contexts of endpoints whose LYQ_CLOSED is there: no thread
 * should still be at work on items that it took. Endpoints bound to it receive nothing more, end when their peers do,
 * and should be closed. */
int lyq_close(uint64_t id, int linger_ms);
/* Waits for LYQ_CLOSED or, of an endpoint, for LYQ_UP, or for LYQ_ACKED: the peer has consumed every message that was
 * accepted before the call (but for those that a LYQ_RESTARTED told of before it), and counted those whose time to live
 * was over. timeout_ms -1: for ever. 0 when it is so; LYQ_ERESET if the peer restarted meanwhile, and some of these
 * messages were reported (LYQ_REPORT) or dropped, not consumed, or if it restarted before and the program has still to
 * take the LYQ_RESTARTED that reports some (its callback has to return, or lyq_release to give it back); LYQ_ECLOSED if
 * waiting for LYQ_UP or LYQ_ACKED became vain; LYQ_ETIMEDOUT, LYQ_EINTR, LYQ_EDEADLK. */
int lyq_wait(uint64_t id, int until, int timeout_ms);
/* Stops callbacks of an endpoint, or of all of a driver, and waits until none runs: after 0 none begins until
 * lyq_resume, which another thread may call meanwhile. LYQ_ETIMEDOUT leaves them stopping. Inside a callback
 * LYQ_EDEADLK. Nothing is read meanwhile, so what is sent is not acknowledged either, and what is closed ends after
 * lyq_resume, because its last item is held back as well. */
int lyq_quiesce(uint64_t id, int timeout_ms);
/* Delivers again after lyq_quiesce, or after a callback that took less than it was given. */
int lyq_resume(uint64_t id);
/* The program's own pointer for an endpoint, given back in lyq_msg.ctx from the next item on. drop: called with it
 * after the last item; may be NULL. The one that was there before is dropped now, on the calling thread's behalf
 * by a worker. */
int lyq_set_ctx(uint64_t id, void *ctx, lyq_fn drop);
/* One line a lane that has something queued: how much, and why the oldest waits. Returns the text's length; what does
 * not fit is cut, always with a final 0. "NORMAL: 812 queued, 65536 bytes: socket full for 4.9 s". */
int lyq_explain(uint64_t id, char *text, size_t size);
/* Copies counters (enum lyq_counter for endpoints, enum lyq_worker_counter for drivers, the sum of their workers)
 * into out, at most n. Returns how many there are. */
int lyq_counters(uint64_t id, uint64_t *out, size_t n);
/* The same for one worker of a driver, from 1. */
int lyq_worker_counters(lyq_driver d, uint32_t worker, uint64_t *out, size_t n);
/* The same for all of the process: enum lyq_process_counter. What keeps growing while the program does the same is
 * held by the program, or lost. */
int lyq_process_counters(uint64_t *out, size_t n);
/* The address of a listener (with the port that the system chose), or of an endpoint's peer, in the form that
 * lyq_dial takes. Returns its length; LYQ_EINVAL if size is too small. */
int lyq_address(uint64_t id, char *text, size_t size);

enum lyq_counter {
  LYQ_C_MSGS_SENT,                   /* given to a connection, each once, however often it is sent again */
  LYQ_C_BYTES_SENT,                  /* on the wire */
  LYQ_C_MSGS_RECEIVED, LYQ_C_BYTES_RECEIVED,
  LYQ_C_QUEUED, LYQ_C_QUEUED_BYTES,  /* accepted and not sent, now */
  LYQ_C_HELD_BYTES,                  /* received and not released, now (pull) */
  LYQ_C_RTT_NS,                      /* of the last ping; 0: none yet */
  LYQ_C_WORKER,                      /* number of the worker that it is on, from 1 */
  LYQ_C_WITHDRAWN,                   /* messages whose time to live was over before they were sent */
  LYQ_C_WINDOW_BYTES, LYQ_C_OUTBOX_BYTES, /* what window_bytes and outbox_bytes cap, now; of the lane that has most */
  LYQ_C_COUNT
};
/* WAKES had to be written by producers; NOTICES are endpoints that they rang for, so NOTICES - WAKES wakes were
 * avoided. */
enum lyq_worker_counter {
  LYQ_W_TURNS, LYQ_W_WAKES, LYQ_W_NOTICES, LYQ_W_POLLS, LYQ_W_SLEEPS, LYQ_W_READS, LYQ_W_WRITES,
  LYQ_W_BYTES_READ, LYQ_W_BYTES_WRITTEN,
  LYQ_W_FRAMES, LYQ_W_BUDGET_CUTS, LYQ_W_TIMERS, LYQ_W_TIMER_LATE_NS, LYQ_W_SLOW_CALLBACKS, LYQ_W_ENDPOINTS,
  LYQ_W_MOVES,                       /* endpoints that came from other workers */
  LYQ_W_COUNT
};
enum lyq_process_counter {
  LYQ_P_HANDLES,         /* that take memory, now: open, or ended with items that are not released */
  LYQ_P_LOG_BYTES,       /* memory of outboxes, and of what lyq_unacked lists, now */
  LYQ_P_BLOCK_BYTES,     /* blocks that are read into or hold what was received, and copies of long messages, now */
  LYQ_P_PARCELS,         /* entries of the queues of inboxes, now: at least two for what is bound to one, and it */
  LYQ_P_HEAP_BYTES,      /* what Go's collector found in use when it last ran */
  LYQ_P_GOROUTINES,
  LYQ_P_COUNT
};

/* ---- Driver, listener, endpoint. */
/* Starts a driver. opt NULL: all defaults. */
int lyq_driver_open(const lyq_driver_opt *opt, lyq_driver *out);
/* Listens at an address: "tcp://127.0.0.1:7000", "tcp://[::]:7000" (both families), port 0 for any (lyq_address
 * tells), "mem://name" inside this process, "fd://N" for a socket that listens already. Every endpoint that it
 * accepts has the options `accepted`; without recv, inbox and lobby they wait, and what their peers send with them,
 * until the listener is bound (lyq_inbox_bind), and end with it or their peers. With an inbox or lobby that is closed
 * they end at once.
 * May wait for a name to be resolved. */
int lyq_listen(lyq_driver d, const char *addr, const lyq_endpoint_opt *accepted, lyq_listener *out);
/* Opens an endpoint to an address and returns at once; messages may be sent from now on. LYQ_UP follows once somebody
 * answers there. Until then it is tried again and again, with LYQ_DOWN after the first failure; or, with LYQ_WITH_LINK,
 * LYQ_CLOSED says what was wrong, as it does of an address that cannot be right. Names are resolved at each attempt.
 * "fd://N" adopts a connected stream socket. A program that only sends needs no receiver. Without one it misses: what
 * the peer sends, of which a window is held until there is a receiver or the peer restarts or ends; all LYQ_UP and
 * LYQ_DOWN but the last. It ends when the peer closes, at once, and lyq_wait tells. */
int lyq_dial(lyq_driver d, const char *addr, const lyq_endpoint_opt *opt, lyq_endpoint *out);
/* Has the worker of that number, from 1, drive the endpoint from now on, and nobody moves it from there; 0: the
 * library chooses, now and later. Never waits, and may be called inside a callback. What is on its way in either
 * direction goes on: a callback that runs ends first, and the next one runs on the other worker. */
int lyq_set_worker(lyq_endpoint ep, int worker);
/* Has an endpoint that was dialled live at another address from now on, of any transport: a connection there takes the
 * place of the present one as soon as it is made, and until then that one goes on. An attempt that fails is logged and
 * made again, with growing pauses; if the present connection is lost, or somebody at the new address accepts and says
 * nothing for connect_ms, both addresses are tried in turn. An address that cannot be right, or where something answers
 * that is no lyquor, is logged and forgotten, and the former one counts again. Nothing is lost where the same driver
 * answers; any other is a peer that has restarted. LYQ_DOWN with code 0 and LYQ_UP tell of the change. Never waits, and
 * may be called inside a callback; the last call counts.
 * LYQ_EINVAL for an endpoint that was accepted or lives with its connection (LYQ_WITH_LINK), and for "fd://N";
 * LYQ_EADDR for a scheme that is unknown. */
int lyq_switch(lyq_endpoint ep, const char *addr);
/* Gives an endpoint that was opened without receiver its callback. LYQ_EBUSY if it has one. channel must
 * be -1: receivers for one channel are LYQ_ENOTSUP in this release. */
int lyq_on_recv(uint64_t id, int channel, lyq_recv_fn fn, void *ctx, lyq_fn drop);
/* No more messages to the peer behind those accepted; it gets LYQ_ENDED. Receiving goes on. */
int lyq_end(lyq_endpoint ep);
/* Asks for an item LYQ_ACKED once the peer has consumed every message that was accepted before the call: what lyq_wait
 * for LYQ_ACKED is to threads that may wait. If the endpoint ends before, LYQ_CLOSED comes instead. A call that is made
 * before the item of an earlier one has come gets another behind that, which several such calls may share: who asks
 * again only when it was answered gets an item for each call. LYQ_ECLOSED. */
int lyq_flush(lyq_endpoint ep);
/* The driver's clock: nanoseconds since some start, never backwards. */
int64_t lyq_now(lyq_driver d);
/* Calls fn(ctx) once when lyq_now reaches at_ns, in the serial domain of `with`: an endpoint, or 0 for none. If
 * that is an inbox, or an endpoint with one, a LYQ_TIMER with ctx is put into it instead, and fn may be NULL: with
 * at_ns 0 this wakes a thread inside lyq_recv. Closing the timer, or what it is with, cancels it. */
int lyq_timer_open(lyq_driver d, uint64_t with, int64_t at_ns, lyq_fn fn, void *ctx, lyq_timer *out);

/* ---- Sending. The result is the message's id in its lane, or LYQ_EAGAIN, LYQ_EMSGSIZE, LYQ_ECLOSED, LYQ_EHANDLE,
 * LYQ_EINVAL. Nothing is kept of a message that was not accepted. size 0 is a message too. */
/* Copies the message and returns at once. */
int64_t lyq_send(lyq_endpoint ep, lyq_tag tag, const void *data, size_t size);
/* The same, with a time to live: a message of which no connection was given a byte ttl_ms milliseconds (1 or more) from
 * now, by lyq_now, is withdrawn: never sent, and counted as withdrawn, not as lost. Its id stays its own; the receiver
 * sees a gap. That is looked at when its turn comes to be written, so a message that waits for the connection or for
 * credit is withdrawn late, and its room comes back, with LYQ_WRITABLE, when the peer has counted it. While there is no
 * connection, room is made at once for senders that wait, by what is late and has nothing in flight before it. What a
 * connection was given a byte of is sent again on the next one, however late: the peer may have it. */
int64_t lyq_send_ttl(lyq_endpoint ep, lyq_tag tag, const void *data, size_t size, int ttl_ms);
/* As lyq_send, waiting for room if there is none; timeout_ms -1: for ever. Also LYQ_ETIMEDOUT, LYQ_EINTR,
 * LYQ_EDEADLK. */
int64_t lyq_send_wait(lyq_endpoint ep, lyq_tag tag, const void *data, size_t size, int timeout_ms);
/* Waits until a message of that size is likely to find room in tag's lane, after a call that said LYQ_EAGAIN; then make
 * it again: another sender may have been faster. 0, or as lyq_send_wait. */
int lyq_wait_room(lyq_endpoint ep, lyq_tag tag, size_t size, int timeout_ms);
/* One message from several pieces. */
typedef struct lyq_buf { const void *data; size_t size; } lyq_buf;
int64_t lyq_sendv(lyq_endpoint ep, lyq_tag tag, const lyq_buf *parts, size_t n);
/* Lends the message instead of copying it: data must not change until free_fn(hint) is called, on a worker, once
 * it is acknowledged or dropped (see also lyq_unacked). If the result is negative nothing was lent and free_fn is not
 * called. free_fn NULL: never told. */
int64_t lyq_send_lent(lyq_endpoint ep, lyq_tag tag, const void *data, size_t size, lyq_fn free_fn, void *hint);
/* Room for a message, to be built in place: fill claim->data, then commit it once, soon, with the size really
 * used; later messages of the lane wait for it, and so does LYQ_CLOSED. memory_limit counts all that was claimed for as
 * long as it has the message. */
typedef struct lyq_claim { void *data; size_t size; uint64_t reserved[3]; } lyq_claim;
int lyq_claim_open(lyq_endpoint ep, lyq_tag tag, size_t size, lyq_claim *claim);
int64_t lyq_commit(lyq_endpoint ep, lyq_claim *claim, size_t size);

/* ---- What became of messages. LYQ_RESTARTED and LYQ_CLOSED tell. */
/* Counts of one lane since the last LYQ_RESTARTED: accepted is the sum of the next three and of withdrawn. */
typedef struct lyq_lane_account {
  uint64_t accepted, acknowledged, maybe_delivered, never_sent;
  uint64_t received;     /* messages received whole from the peer */
  uint64_t withdrawn;    /* of those accepted, not sent because their time to live was over */
  uint64_t reserved[2];
} lyq_lane_account;
/* Reads the counts of each lane, by its number in enum lyq_lane, from an item LYQ_RESTARTED or LYQ_CLOSED. 0;
 * LYQ_EINVAL for another item; LYQ_ENOMEM if there was no memory for the counts when it was made. */
int lyq_account(const lyq_msg *m, lyq_lane_account out[4]);
/* Lists the messages that were not acknowledged, as many as lyq_account counts as maybe delivered and never sent: lane
 * by lane in the order of their ids, each with its data, tag, id, and as kind LYQ_NEVER_SENT or LYQ_MAYBE_DELIVERED.
 * *cursor is 0 at first; each call puts up to max of them into out and returns how many, 0 behind the last. May be
 * called inside the callback that got LYQ_RESTARTED or LYQ_CLOSED, and with an inbox until that item is released; else
 * LYQ_EINVAL or LYQ_ECLOSED. So long the data lives, lent data too: it is given back then, with an inbox by that
 * lyq_release. It may be sent again from there. Where several threads pull from one inbox, *cursor begins as the item's
 * token: 0 stands for the item of that endpoint that was pulled last. What is listed takes, and counts in memory_limit,
 * what it took in the outbox, and nothing more for each message. After LYQ_RESTARTED there is something to list with
 * LYQ_REPORT only. */
int lyq_unacked(lyq_endpoint ep, uint64_t *cursor, lyq_msg *out, size_t max);

/* ---- Acknowledging by hand, where lyq_endpoint_opt.ack is LYQ_ACK_MANUAL. */
/* Says that the program is done with all messages of tag's lane up to the one with that id (lyq_msg.id): that it has
 * written them to its disk, say. They are acknowledged to the peer, which never sees more than that acknowledged. From
 * any thread, in any order, as often as one likes: what was acknowledged stays so. Their data need not be there any
 * more: a callback's is gone when it has returned, and lyq_release gives back memory and nothing else. Ids of before a
 * LYQ_RESTARTED change nothing, for nobody waits for them. LYQ_EINVAL if the program was not given that message yet, or
 * the endpoint does not acknowledge by hand; LYQ_ECLOSED. */
int lyq_ack(lyq_endpoint ep, lyq_tag tag, uint64_t id);
#define LYQ_NUMBER(id) ((uint64_t)(id) & 0xffffffffffffu)

/* ---- Receiving by pull. */
int lyq_inbox_open(lyq_driver d, lyq_inbox *out);
/* Everything of an endpoint goes to the inbox; of a listener, everything of what it accepts, also of those that it has
 * accepted before and that have not ended. LYQ_EBUSY if it has a receiver already. channel must be -1, as above. */
int lyq_inbox_bind(lyq_inbox in, uint64_t id, int channel);
/* A descriptor that polls readable while something is there. lyq_recv re-arms it by draining; never read or close
 * it. */
int lyq_inbox_fd(lyq_inbox in);
/* Takes up to max items, endpoints in turn, waiting up to timeout_ms (-1: for ever, 0: not at all) for the first.
 * Returns their number, or LYQ_EAGAIN (timeout 0), LYQ_ETIMEDOUT, LYQ_EINTR, LYQ_EDEADLK, LYQ_ECLOSED (the inbox
 * is). Their data lives until lyq_release. Two threads may pull at once; each message goes to one of them. */
int lyq_recv(lyq_inbox in, lyq_msg *m, size_t max, int timeout_ms);
/* Gives back items of lyq_recv or lyq_retain, all kinds alike, in any order, from any thread, once each. */
int lyq_release(const lyq_msg *m, size_t n);
/* The same for items that the program has pulled and will not look at, because it stops: their messages are not
 * acknowledged, nor is anything behind them in their lanes, ever. Close the endpoint, whose peer learns of them as
 * maybe delivered. */
int lyq_discard(const lyq_msg *m, size_t n);
/* Inside a callback: makes *out a copy of *m whose data lives until lyq_release(out, 1), also beyond endpoint and
 * driver. Long messages are not copied. */
int lyq_retain(const lyq_msg *m, lyq_msg *out);

#ifdef __cplusplus
}
#endif
#endif
