/* Control calls: each checks what C can check, and enters Go, which appends a command and returns. */
#include "internal.h"
#include "_cgo_export.h"

/* Go's threads do not exist in a forked child: a control call would wait for them for ever. */
static int refuse_child(void) {
  if (!atomic_load(&lyqi_forked)) return 0;
  return lyqi_fail(LYQ_EFORKED, "the process was forked: use exec, or load the library in the child");
}

/* A program's header may be older or newer than this library. What an older one lacks is 0, the default; what a newer
 * one has more must be 0, or something that the program relies on would be passed over in silence. */
static int take_options(void *to, size_t size, const void *from, const char *what) {
  memset(to, 0, size);
  if (!from) return 0;
  uint32_t given;
  memcpy(&given, from, sizeof given);
  if (given < 2 * sizeof given || given > 4096) return lyqi_fail(LYQ_EINVAL, what);
  for (size_t i = size; i < given; i++)
    if (((const unsigned char *)from)[i])
      return lyqi_fail(LYQ_ENOTSUP,
        "an option is set that this release does not know: the header is newer than the library");
  memcpy(to, from, given < size ? given : size);
  return 0;
}

API int lyq_driver_open(const lyq_driver_opt *opt, lyq_driver *out) {
  lyq_driver_opt o;
  int err = refuse_child();
  if (err) return err;
  if (!out) return lyqi_fail(LYQ_EINVAL, "out is NULL");
  err = take_options(&o, sizeof o, opt, "lyq_driver_opt.struct_size is not a size: use LYQ_DEFAULTS");
  if (err < 0) return err;
  if (o.flags & ~(uint32_t)(LYQ_PORTABLE | LYQ_NO_BALANCE))
    return lyqi_fail(LYQ_EINVAL, "lyq_driver_opt.flags has a bit that is neither LYQ_PORTABLE nor LYQ_NO_BALANCE");
  return lyqgo_driver_open(&o, &out->id);
}

static int take_endpoint_options(lyq_endpoint_opt *o, const lyq_endpoint_opt *opt) {
  int err = take_options(o, sizeof *o, opt, "lyq_endpoint_opt.struct_size is not a size: use LYQ_DEFAULTS");
  if (err < 0) return err;
  if (o->recv && o->inbox.id) return lyqi_fail(LYQ_EINVAL, "both recv and inbox are set: one of them receives");
  if (o->lobby.id && (o->recv || o->inbox.id))
    return lyqi_fail(LYQ_EINVAL, "lobby is set beside recv or inbox: endpoints get these or, with it, each its own");
  return 0;
}

API int lyq_listen(lyq_driver d, const char *addr, const lyq_endpoint_opt *accepted, lyq_listener *out) {
  lyq_endpoint_opt o;
  int err = refuse_child();
  if (err) return err;
  if (!out || !addr) return lyqi_fail(LYQ_EINVAL, addr ? "out is NULL" : "addr is NULL");
  if ((err = take_endpoint_options(&o, accepted)) < 0) return err;
  if (lyqi_in_callback) return lyqi_fail(LYQ_EDEADLK, "lyq_listen may wait for a name: not inside a callback");
  return lyqgo_listen(d.id, (char *)addr, &o, &out->id);
}

API int lyq_dial(lyq_driver d, const char *addr, const lyq_endpoint_opt *opt, lyq_endpoint *out) {
  lyq_endpoint_opt o;
  int err = refuse_child();
  if (err) return err;
  if (!out || !addr) return lyqi_fail(LYQ_EINVAL, addr ? "out is NULL" : "addr is NULL");
  if ((err = take_endpoint_options(&o, opt)) < 0) return err;
  if (o.lobby.id) return lyqi_fail(LYQ_EINVAL, "lobby is set: that is an option of listeners");
  return lyqgo_dial(d.id, (char *)addr, &o, &out->id);
}

API int lyq_set_worker(lyq_endpoint ep, int worker) {
  int err = refuse_child();
  return err ? err : lyqgo_set_worker(ep.id, worker);
}

API int lyq_switch(lyq_endpoint ep, const char *addr) {
  int err = refuse_child();
  if (err) return err;
  if (!addr) return lyqi_fail(LYQ_EINVAL, "addr is NULL");
  return lyqgo_switch(ep.id, (char *)addr);
}

static int any_channel(int channel) {
  if (channel == -1) return 0;
  return lyqi_fail(LYQ_ENOTSUP, "channel must be -1: a receiver for one channel is not supported in this release");
}

API int lyq_on_recv(uint64_t id, int channel, lyq_recv_fn fn, void *ctx, lyq_fn drop) {
  int err = refuse_child();
  if (err || (err = any_channel(channel)) < 0) return err;
  if (!fn) return lyqi_fail(LYQ_EINVAL, "fn is NULL");
  return lyqgo_on_recv(id, fn, ctx, drop);
}

API int lyq_inbox_open(lyq_driver d, lyq_inbox *out) {
  int err = refuse_child();
  if (err) return err;
  if (!out) return lyqi_fail(LYQ_EINVAL, "out is NULL");
  return lyqgo_inbox_open(d.id, &out->id);
}

API int lyq_inbox_bind(lyq_inbox in, uint64_t id, int channel) {
  int err = refuse_child();
  if (err || (err = any_channel(channel)) < 0) return err;
  return lyqgo_inbox_bind(in.id, id);
}

API int lyq_set_ctx(uint64_t id, void *ctx, lyq_fn drop) {
  int err = refuse_child();
  return err ? err : lyqgo_set_ctx(id, ctx, drop);
}

API int lyq_explain(uint64_t id, char *text, size_t size) {
  int err = refuse_child();
  if (err) return err;
  if (!text && size) return lyqi_fail(LYQ_EINVAL, "text is NULL");
  return lyqgo_explain(id, text, size);
}

API int lyq_counters(uint64_t id, uint64_t *out, size_t n) {
  int err = refuse_child();
  if (err) return err;
  if (!out && n) return lyqi_fail(LYQ_EINVAL, "out is NULL");
  return lyqgo_counters(id, 0, out, n);
}

API int lyq_worker_counters(lyq_driver d, uint32_t worker, uint64_t *out, size_t n) {
  int err = refuse_child();
  if (err) return err;
  if (!out && n) return lyqi_fail(LYQ_EINVAL, "out is NULL");
  if (worker == 0 || worker > INT32_MAX)
    return lyqi_fail(LYQ_EINVAL, "the driver has no such worker: they are counted from 1");
  return lyqgo_counters(d.id, (int)worker, out, n);
}

API int lyq_process_counters(uint64_t *out, size_t n) {
  int err = refuse_child();
  if (err) return err;
  if (!out && n) return lyqi_fail(LYQ_EINVAL, "out is NULL");
  return lyqgo_process_counters(out, n);
}

API int lyq_address(uint64_t id, char *text, size_t size) {
  int err = refuse_child();
  if (err) return err;
  if (!text) return lyqi_fail(LYQ_EINVAL, "text is NULL");
  return lyqgo_address(id, text, size);
}

API int64_t lyq_now(lyq_driver d) {
  int err = refuse_child();
  return err ? err : lyqgo_now(d.id);
}

API int lyq_timer_open(lyq_driver d, uint64_t with, int64_t at_ns, lyq_fn fn, void *ctx, lyq_timer *out) {
  int err = refuse_child();
  if (err) return err;
  if (!out) return lyqi_fail(LYQ_EINVAL, "out is NULL");
  return lyqgo_timer_open(d.id, with, at_ns, fn, ctx, &out->id);
}

API int lyq_set_logger(lyq_log_fn fn, void *ctx, lyq_fn drop, int level) {
  int err = refuse_child();
  return err ? err : lyqgo_set_logger(fn, ctx, drop, level);
}

API const char *lyq_version(void) { return "0.1.0"; }
