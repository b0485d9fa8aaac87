/* What lyqcat and lyqperf share. */
#ifndef LYQUOR_EXAMPLE_COMMON_H
#define LYQUOR_EXAMPLE_COMMON_H

#include <errno.h>
#include <lyquor.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* clock_ns reads the clock that never jumps. */
static inline int64_t clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* parse_count reads a whole number from min to max; 0 if text is something else. */
static inline int parse_count(const char *text, uint64_t min, uint64_t max, uint64_t *out) {
  char *end;
  if (text == NULL || *text < '0' || *text > '9') return 0; /* strtoull would take blanks and a sign */
  errno = 0;
  *out = strtoull(text, &end, 10);
  return errno == 0 && *end == 0 && *out >= min && *out <= max;
}

/* closed_text returns the reason in words from the ClosedDetail of a LYQ_CLOSED: the string that is its field 1.
 * The library wrote the FlatBuffer in this process, so that its offsets need no check. "" if there is none. */
static inline const char *closed_text(const lyq_msg *m) {
  uint32_t root, text;
  int32_t to_vtable;
  uint16_t vtable_size, field;
  if (m->data == NULL || m->size == 0) return "";
  memcpy(&root, m->data, sizeof root);
  const uint8_t *table = m->data + root;
  memcpy(&to_vtable, table, sizeof to_vtable);
  const uint8_t *vtable = table - to_vtable;
  memcpy(&vtable_size, vtable, sizeof vtable_size);
  if (vtable_size < 8) return ""; /* two words about itself, field 0, field 1 */
  memcpy(&field, vtable + 6, sizeof field);
  if (field == 0) return "";
  memcpy(&text, table + field, sizeof text);
  return (const char *)table + field + text + sizeof(uint32_t); /* a FlatBuffers string ends with a 0 */
}

#endif
