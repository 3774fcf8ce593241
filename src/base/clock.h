/*
 * clock.h - time, injectable. Deadlines use the monotonic clock only, so that a jump of the wall
 * clock changes none of them; the wall clock is for timestamps that people read.
 */
#ifndef PERILUNE_CLOCK_H
#define PERILUNE_CLOCK_H

#include "base.h"

struct clock {
    int64_t (*mono_us)(struct clock *); /* microseconds, monotonic, from an arbitrary start */
    int64_t (*wall_us)(struct clock *); /* microseconds since 1970-01-01 UTC */
    int64_t offset_us;                  /* added to both: a test moves it to move time */
};

struct clock *clock_system(void); /* the real clock; shared, offset 0 */
int64_t clock_mono_us(struct clock *c);
int64_t clock_wall_us(struct clock *c);
static inline int64_t clock_mono_ms(struct clock *c)
{
    return clock_mono_us(c) / 1000;
}
static inline int64_t clock_wall_ms(struct clock *c)
{
    return clock_wall_us(c) / 1000;
}

#endif
