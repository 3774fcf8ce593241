/*
 * window.h - how many things happened of late, and how many of them were of the marked kind: of requests those that
 * failed, or those that were retries. The time is kept in WINDOW_SLOTS pieces; the oldest is forgotten as a whole.
 * A value without clock or lock; zeroed memory is an empty one.
 */
#ifndef PERILUNE_WINDOW_H
#define PERILUNE_WINDOW_H

#include "../base/base.h"

#define WINDOW_SLOTS 10

struct window {
    int64_t slot; /* the youngest: time divided by the length of a piece */
    uint32_t all[WINDOW_SLOTS], marked[WINDOW_SLOTS];
};

struct window_count {
    uint64_t all, marked;
};

/* `span_us` is the length of the whole window; with another one than before, what was counted is forgotten. */
void window_add(struct window *w, int64_t span_us, int64_t now_us, uint32_t all, uint32_t marked);
struct window_count window_count(struct window *w, int64_t span_us, int64_t now_us);

#endif
