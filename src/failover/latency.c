/*
 * latency.c - a histogram with buckets whose width grows with what they hold. A bucket is known by the position of the
 * highest bit and the four bits below it: no logarithm, no search.
 */
#include "latency.h"

#define STEP_BITS 4 /* of LATENCY_STEPS */
#define US_MAX ((INT64_C(1) << (LATENCY_POWERS + STEP_BITS - 1)) - 1)

static size_t index_of(int64_t us)
{
    if (us < LATENCY_STEPS)
        return (size_t)us;
    int shift = 63 - __builtin_clzll((unsigned long long)us) - STEP_BITS;
    return (size_t)(shift + 1) * LATENCY_STEPS + (size_t)((us >> shift) & (LATENCY_STEPS - 1));
}

/* The middle of a bucket. */
static int64_t value_of(size_t index)
{
    if (index < LATENCY_STEPS)
        return (int64_t)index;
    int shift = (int)(index / LATENCY_STEPS) - 1;
    int64_t low = (int64_t)(LATENCY_STEPS + index % LATENCY_STEPS) << shift;
    return low + (INT64_C(1) << shift) / 2;
}

void latency_add(struct latency *l, int64_t us)
{
    if (us < 0)
        us = 0;
    if (l->count == 0 || us < l->min_us)
        l->min_us = us;
    if (us > l->max_us)
        l->max_us = us;
    l->count++;
    l->sum_us += (double)us;
    l->counts[index_of(us < US_MAX ? us : US_MAX)]++;
}

void latency_fade(struct latency *l)
{
    double mean_us = l->count ? l->sum_us / (double)l->count : 0;
    l->count = 0;
    for (size_t i = 0; i < ARRAY_LEN(l->counts); i++) {
        l->counts[i] /= 2;
        l->count += l->counts[i];
    }
    l->sum_us = mean_us * (double)l->count;
}

/* The value that `share` of all do not exceed. */
static int64_t percentile(const struct latency *l, double share)
{
    uint64_t rank = (uint64_t)(share * (double)l->count), seen = 0;
    if ((double)rank < share * (double)l->count)
        rank++;
    for (size_t i = 0; i < ARRAY_LEN(l->counts); i++) {
        seen += l->counts[i];
        if (seen >= rank) {
            int64_t us = value_of(i);
            return us < l->min_us ? l->min_us : us > l->max_us ? l->max_us : us;
        }
    }
    return l->max_us;
}

struct latency_summary latency_summary(const struct latency *l)
{
    if (l->count == 0)
        return (struct latency_summary){0};
    return (struct latency_summary){
        .count = l->count,
        .mean_us = l->sum_us / (double)l->count,
        .p50_us = percentile(l, 0.50),
        .p95_us = percentile(l, 0.95),
        .p99_us = percentile(l, 0.99),
        .max_us = l->max_us,
    };
}
