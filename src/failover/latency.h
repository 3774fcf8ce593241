/*
 * latency.h - a histogram of durations: a count for every sixteenth of a power of two, so that a percentile is within 4 %
 * of the truth from 16 us to 2 hours, in 2 KB, at a few nanoseconds a value. A value without clock or lock; zeroed
 * memory is an empty one.
 */
#ifndef PERILUNE_LATENCY_H
#define PERILUNE_LATENCY_H

#include "../base/base.h"

#define LATENCY_STEPS 16  /* in each power of two */
#define LATENCY_POWERS 30 /* the first counts 0..15 us one by one, the last ends at 2^33 us; what is longer counts there */

struct latency {
    uint64_t count;
    double sum_us;
    int64_t min_us, max_us;
    uint32_t counts[LATENCY_POWERS * LATENCY_STEPS];
};

struct latency_summary { /* zeroes when the count is 0 */
    uint64_t count;
    double mean_us;
    int64_t p50_us, p95_us, p99_us, max_us;
};

void latency_add(struct latency *l, int64_t us); /* below 0 counts as 0 */
/* Halves every count, so that what happens now weighs more than what was. */
void latency_fade(struct latency *l);
struct latency_summary latency_summary(const struct latency *l);

#endif
