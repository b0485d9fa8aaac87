/* Holds the storm's own counting against messages that are damaged on purpose: a storm that sees nothing proves
 * nothing. */
#include "../c/tap.h"
#include "account.h"
#include "message.h"

enum { SEED = 7, NUMBER = 5 };

/* made returns a message as a receiver would get it. */
static lyq_msg made(uint8_t *room, int lane, size_t size) {
  lyq_msg m;
  memset(&m, 0, sizeof m);
  message_make(room, message_flow(SEED, 1, lane), lane, NUMBER, size, 0);
  m.data = room;
  m.size = size;
  m.id = NUMBER;
  m.tag = LYQ_TAG(lane, NUMBER);
  return m;
}

static int reads(const lyq_msg *m) {
  message_head h;
  return message_read(m, message_flow(SEED, 1, LYQ_LANE(m->tag)), &h);
}

/* count_unseen flips each byte of a message in turn, and counts those that nobody notices. */
static size_t count_unseen(size_t size) {
  static uint8_t room[WHOLE];
  lyq_msg m = made(room, LYQ_NORMAL, size);
  size_t unseen = !reads(&m);
  for (size_t i = 0; i < size; i++) {
    room[i] ^= 0x10;
    unseen += (size_t)reads(&m);
    room[i] ^= 0x10;
  }
  return unseen;
}

static void damage(void) {
  static uint8_t room[3 * WHOLE];
  const size_t sizes[] = {32, 33, 39, 40, 64, 191, WHOLE};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    ok(count_unseen(sizes[i]) == 0, "of %zu bytes each one that changes is noticed", sizes[i]);
  lyq_msg m = made(room, LYQ_NORMAL, sizeof room);
  ok(reads(&m), "a long message is good");
  room[sizeof room - 1] ^= 1;
  ok(!reads(&m), "its last byte is looked at");
  room[sizeof room - 1] ^= 1;
  room[sizeof(message_head)] ^= 1;
  ok(!reads(&m), "its first byte is looked at");
  m = made(room, LYQ_BULK, sizeof room);
  ok(reads(&m), "a bulk message is good");
  room[sizeof room / 2] ^= 1;
  ok(!reads(&m), "all of its bytes are looked at");
}

static void identity(void) {
  static uint8_t room[256];
  lyq_msg m = made(room, LYQ_NORMAL, sizeof room);
  m.size--;
  ok(!reads(&m), "one that lost its end is noticed");
  m.size = sizeof(message_head) - 1;
  ok(!reads(&m), "one without a head is noticed");
  m = made(room, LYQ_NORMAL, sizeof room);
  m.id++;
  ok(!reads(&m), "one that the library numbered otherwise is noticed");
  m = made(room, LYQ_NORMAL, sizeof room);
  m.tag = LYQ_TAG(LYQ_NORMAL, NUMBER + 1);
  ok(!reads(&m), "one of another channel is noticed");
  m.tag = LYQ_TAG(LYQ_URGENT, NUMBER);
  ok(!reads(&m), "one of another lane is noticed");
  m = made(room, LYQ_NORMAL, sizeof room);
  message_head h;
  ok(!message_read(&m, message_flow(SEED, 0, LYQ_NORMAL), &h), "one that its receiver sent itself is noticed");
}

static void order(void) {
  static account a;
  const uint64_t numbers[] = {0, 1, 5, 3, 3, 2, 1, 6, 9};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    account_enter(&a, numbers[i], i + 1 == sizeof numbers / sizeof *numbers);
  is(a.received, 9, "all that came are counted");
  is(a.lost, 3, "4, 7 and 8 are lost");
  is(a.reordered, 2, "3 and 2 came late");
  is(a.duplicated, 2, "3 and 1 came twice");
  is(a.final, 1, "one was final");
  is(a.next, 10, "10 comes next");
}

int main(void) {
  tap_begin();
  damage();
  identity();
  order();
  return tap_end();
}
