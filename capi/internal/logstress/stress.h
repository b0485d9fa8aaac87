/* What Go calls. */
#ifndef LYQ_LOGSTRESS_STRESS_H
#define LYQ_LOGSTRESS_STRESS_H

#include "producer.h"

typedef struct run {
  stage stage;
  producer producers[PRODUCERS];
} run;

run *run_start(root *r, uint64_t seed);
void run_stop(run *run);
void flood(root *r, uint64_t handle, uint64_t size, uint64_t n);
uint64_t sum(const char *b, uint64_t size);
void free_slot(root *r, uint64_t handle);

typedef struct number { const char *name; uint64_t value; } number;
number layout(int i);

#endif
