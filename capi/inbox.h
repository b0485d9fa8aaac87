/* The C twin of engine/inbox: the pulling side of inboxes. engine/inbox/doc.go describes it. */
#ifndef LYQ_INBOX_H
#define LYQ_INBOX_H
#include "log.h"

typedef struct parcel {
  _Atomic uint32_t next;
  uint16_t kind;
  int16_t code;
  uint32_t tag, block;
  uint64_t data, size, first[LANES];
} parcel;

typedef struct inbox {
  _Atomic uint64_t stack;
  _Atomic uint32_t armed;
  _Atomic int32_t fd;
  _Atomic uint32_t closed;
  _Atomic uint32_t users;      /* threads inside lyq_recv */
  _Atomic uint32_t watched;    /* 1: the program knows the eventfd, which must tell the truth */
  _Atomic uint32_t sleepers;   /* of the users, those that wait on armed */
  char pad[32];
  _Atomic uint32_t lock;       /* 0 free, 1 taken, 2 taken and waited for; guards what follows, and slot.queue_first */
  uint32_t head, tail;         /* index+1 of ready slots, linked by queue_next */
  char pad1[52];
} inbox;

typedef struct office {
  uint64_t inboxes;
  char pad[56];
  pool parcels;
} office;

enum { PARCEL_RUN = 0, PARCEL_LONG = 1 };

_Static_assert(sizeof(parcel) == 64 && offsetof(parcel, first) == 32, "inbox.Parcel");
_Static_assert(sizeof(inbox) == 128 && offsetof(inbox, lock) == 64, "inbox.Inbox");
_Static_assert(offsetof(office, parcels) == 64, "inbox.Root");

static inline inbox *inbox_at(const office *o, uint32_t i) { return (inbox *)(uintptr_t)o->inboxes + i; }
static inline parcel *parcel_at(const office *o, uint32_t i) { return (parcel *)(void *)pool_piece(&o->parcels, i); }
#endif
