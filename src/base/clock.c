/*
 * clock.c - the system's two clocks. The offset is read and moved atomically: the log stamps lines from
 * every thread while a test moves time on the loop thread.
 */
#include "clock.h"

#include <time.h>

static int64_t read_us(clockid_t id)
{
    struct timespec t;
    int rc = clock_gettime(id, &t);
    ASSERT(rc == 0);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t system_mono_us(struct clock *c)
{
    UNUSED(c);
    return read_us(CLOCK_MONOTONIC);
}

static int64_t system_wall_us(struct clock *c)
{
    UNUSED(c);
    return read_us(CLOCK_REALTIME);
}

struct clock *clock_system(void)
{
    static struct clock system = {.mono_us = system_mono_us, .wall_us = system_wall_us};
    return &system;
}

int64_t clock_mono_us(struct clock *c)
{
    return c->mono_us(c) + __atomic_load_n(&c->offset_us, __ATOMIC_RELAXED);
}

int64_t clock_wall_us(struct clock *c)
{
    return c->wall_us(c) + __atomic_load_n(&c->offset_us, __ATOMIC_RELAXED);
}
