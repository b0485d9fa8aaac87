/* What arrived on one lane, held against what should have: every number once, in order. */
#ifndef LYQUOR_CHAOS_ACCOUNT_H
#define LYQUOR_CHAOS_ACCOUNT_H

#include <stdint.h>
#include <string.h>

enum { GAPS_MAX = 1024 }; /* gaps that are remembered; of more, late messages count as lost and as duplicated */

typedef struct account {
  uint64_t next;                             /* the number that should come */
  uint64_t received, lost, duplicated, reordered;
  struct { uint64_t first, end; } gaps[GAPS_MAX];
  int gap_count, final;                      /* final: how many final messages came */
} account;

static inline void account_skip(account *a, uint64_t number) {
  a->lost += number - a->next;
  if (a->gap_count == GAPS_MAX) return;
  a->gaps[a->gap_count].first = a->next;
  a->gaps[a->gap_count++].end = number;
}

/* account_fill takes a number out of the gap that it belongs to; 0 if it is in none. */
static inline int account_fill(account *a, uint64_t number) {
  for (int i = 0; i < a->gap_count; i++) {
    uint64_t first = a->gaps[i].first, end = a->gaps[i].end;
    if (number < first || number >= end) continue;
    a->gaps[i].end = number;
    if (number + 1 < end && a->gap_count < GAPS_MAX) {
      a->gaps[a->gap_count].first = number + 1;
      a->gaps[a->gap_count++].end = end;
    }
    return 1;
  }
  return 0;
}

/* account_enter books one message. One that comes late is out of order, not lost; one that came before, a duplicate. */
static inline void account_enter(account *a, uint64_t number, int final) {
  a->received++;
  a->final += final;
  if (number >= a->next) {
    if (number > a->next) account_skip(a, number);
    a->next = number + 1;
  } else if (account_fill(a, number)) {
    a->lost--;
    a->reordered++;
  } else {
    a->duplicated++;
  }
}

#endif
