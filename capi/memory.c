/* Memory of long messages, and of contexts: what lives until the last of several users gives it up. */
#include "internal.h"
#include <stdlib.h>

/* Long messages often have the same few sizes, and malloc gives memory of theirs back to the system at every free, to
 * have each page faulted in again. So a few buffers are kept, of bounded size; which thread frees or takes one does not
 * matter. Who gets one is charged with what it asked for, so it is little larger. */
enum { KEPT = 8 };
#define KEEP_LEAST ((size_t)128 << 10)
#define KEEP_MOST ((size_t)4 << 20)
static _Atomic(long_head *) kept[KEPT];

static long_head *take_kept(size_t size) {
  for (int i = 0; i < KEPT; i++) {
    if (!atomic_load_explicit(&kept[i], memory_order_relaxed)) continue;
    long_head *h = atomic_exchange(&kept[i], NULL);   /* ours now: only so may it be looked into */
    if (h && h->capacity >= size && h->capacity - size <= size / 8) return h;
    long_head *none = NULL;
    if (h && !atomic_compare_exchange_strong(&kept[i], &none, h)) free(h);
  }
  return NULL;
}

static int keep(long_head *h) {
  if (h->capacity < KEEP_LEAST || h->capacity > KEEP_MOST) return 0;
  for (int i = 0; i < KEPT; i++) {
    long_head *none = NULL;
    if (atomic_load_explicit(&kept[i], memory_order_relaxed)) continue;
    if (atomic_compare_exchange_strong(&kept[i], &none, h)) return 1;
  }
  return 0;
}

void *lyqi_long_new(uint64_t size) {
  long_head *h = size >= KEEP_LEAST && size <= KEEP_MOST ? take_kept(size) : NULL;
  if (!h) {
    if (posix_memalign((void **)&h, 64, sizeof *h + size) != 0) return NULL;
    h->capacity = size;
  }
  atomic_store(&h->refs, 1);
  h->drop[0] = h->drop[1] = NULL;
  h->remains = NULL;
  atomic_store(&h->released, 0);
  return h + 1;
}

void lyqi_long_ref(void *data) { atomic_fetch_add(&((long_head *)data - 1)->refs, 1); }

void lyqi_long_drop(void *data, void *d, void *e) {
  long_head *h = (long_head *)data - 1;
  h->drop[0] = d;
  h->drop[1] = e;
}

void lyqi_long_unref(void *data) {
  long_head *h = (long_head *)data - 1;
  if (atomic_fetch_sub(&h->refs, 1) != 1) return;
  lyqi_remains_free(h->remains);
  for (int i = 0; i < 2; i++) lyqi_drop_unref(h->drop[i]);
  if (!keep(h)) free(h);
}

void lyqi_long_trim(void) {
  for (int i = 0; i < KEPT; i++) free(atomic_exchange(&kept[i], NULL));
}

void *lyqi_drop_new(lyq_fn fn, void *ctx) {
  dropper *d = fn ? malloc(sizeof *d) : NULL;
  if (d) { atomic_store(&d->refs, 1); d->fn = fn; d->ctx = ctx; }
  return d;
}

void lyqi_drop_forget(void *d) { free(d); }

void lyqi_drop_ref(void *d) { if (d) atomic_fetch_add(&((dropper *)d)->refs, 1); }

void lyqi_drop_unref(void *d_) {
  dropper *d = d_;
  if (!d || atomic_fetch_sub(&d->refs, 1) != 1) return;
  lyqi_call(d->fn, d->ctx);
  free(d);
}
