/* The messages of the storm: each says what it is, and its receiver can compute every byte that it should have.
 *
 * Content is a function of seed, direction, lane, sequence number and place, so that a piece of another message, of
 * another lane, or of the same message at another offset shows as damage. */
#ifndef LYQUOR_CHAOS_MESSAGE_H
#define LYQUOR_CHAOS_MESSAGE_H

#include <lyquor.h>

enum {
  LANES = 4,
  WHOLE = 4096,           /* bytes up to which every word of a message is checked */
  EVERY = 64,             /* of longer ones, one in so many is checked whole, the others at their edges */
  EDGE = 8                /* words at each end */
};

#define MESSAGE_MAGIC UINT32_C(0x6d726f74)

/* message_head stands at the front of each message. */
typedef struct message_head {
  uint32_t magic;
  uint8_t lane, final;    /* final: 1 in the last message of a lane, whose number therefore is how many went before */
  uint16_t zero;
  uint64_t number;        /* within the lane, from 0 */
  uint64_t size;          /* of the message with this head */
  uint64_t sum;           /* over all of the above */
} message_head;

/* mix64 is the finisher of splitmix64: every bit of the input moves every bit of the result. */
static inline uint64_t mix64(uint64_t x) {
  x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

/* message_flow is what the messages of one direction and lane have in common. */
static inline uint64_t message_flow(uint64_t seed, int from_dialler, int lane) {
  return mix64(mix64(seed) + (uint64_t)(from_dialler << 8 | lane) + 1);
}

static inline uint64_t message_key(uint64_t flow, uint64_t number) {
  return mix64(flow + number * UINT64_C(0x9e3779b97f4a7c15));
}

/* message_word is word i of the content: cheap, because megabytes a millisecond are made and checked. */
static inline uint64_t message_word(uint64_t key, uint64_t i) {
  uint64_t x = (key + i) * UINT64_C(0x9e3779b97f4a7c15);
  return x ^ x >> 32;
}

static inline uint64_t message_sum(const message_head *h, uint64_t key) {
  return mix64(mix64(key ^ h->size) + ((uint64_t)h->magic << 32 | (uint64_t)h->lane << 8 | h->final));
}

/* message_make writes a message of size bytes, at least a head. */
static inline void message_make(uint8_t *out, uint64_t flow, int lane, uint64_t number, size_t size, int final) {
  uint64_t key = message_key(flow, number), words = (size - sizeof(message_head)) / 8, word;
  message_head h = {MESSAGE_MAGIC, (uint8_t)lane, (uint8_t)final, 0, number, size, 0};
  h.sum = message_sum(&h, key);
  memcpy(out, &h, sizeof h);
  for (uint64_t i = 0; i < words; i++) {
    word = message_word(key, i);
    memcpy(out + sizeof h + 8 * i, &word, 8);
  }
  word = message_word(key, words);
  memcpy(out + sizeof h + 8 * words, &word, (size - sizeof h) % 8);
}

/* message_differs compares words from first up to end. */
static inline int message_differs(const uint8_t *content, uint64_t key, uint64_t first, uint64_t end) {
  uint64_t found, different = 0;
  for (uint64_t i = first; i < end; i++) {
    memcpy(&found, content + 8 * i, 8);
    different |= found ^ message_word(key, i);
  }
  return different != 0;
}

static inline int message_content_is_good(const uint8_t *content, size_t size, uint64_t key, int whole) {
  uint64_t words = size / 8, last = message_word(key, words);
  if (memcmp(content + 8 * words, &last, size % 8) != 0) return 0;
  if (whole || words <= 2 * EDGE) return !message_differs(content, key, 0, words);
  return !message_differs(content, key, 0, EDGE) && !message_differs(content, key, words - EDGE, words);
}

/* message_read checks what arrived against what its head says, and the head against how it came. 1 if all is as it
 * was sent; then *out is the head. */
static inline int message_read(const lyq_msg *m, uint64_t flow, message_head *out) {
  if (m->size < sizeof *out) return 0;
  memcpy(out, m->data, sizeof *out);
  uint64_t key = message_key(flow, out->number);
  if (out->magic != MESSAGE_MAGIC || out->sum != message_sum(out, key) || out->zero != 0) return 0;
  if (out->size != m->size || out->lane != LYQ_LANE(m->tag)) return 0;
  if (out->number != m->id || (uint16_t)out->number != LYQ_CHANNEL(m->tag)) return 0;
  int whole = m->size <= WHOLE || out->lane == LYQ_BULK || out->number % EVERY == 0;
  return message_content_is_good(m->data + sizeof *out, m->size - sizeof *out, key, whole);
}

#endif
