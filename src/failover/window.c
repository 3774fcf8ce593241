/*
 * window.c - a ring of counters. Time that has passed is noticed when somebody counts or asks, so an idle window costs
 * nothing.
 */
#include "window.h"

#include <string.h>

/* Forgets what is too old by now. Returns the place of the youngest piece. */
static size_t advance(struct window *w, int64_t span_us, int64_t now_us)
{
    int64_t slot_us = span_us / WINDOW_SLOTS;
    int64_t slot = now_us / (slot_us > 0 ? slot_us : 1);
    if (slot < w->slot || slot - w->slot >= WINDOW_SLOTS) {
        memset(w, 0, sizeof *w);
    } else {
        for (int64_t s = w->slot + 1; s <= slot; s++)
            w->all[s % WINDOW_SLOTS] = w->marked[s % WINDOW_SLOTS] = 0;
    }
    w->slot = slot;
    return (size_t)(slot % WINDOW_SLOTS);
}

void window_add(struct window *w, int64_t span_us, int64_t now_us, uint32_t all, uint32_t marked)
{
    size_t at = advance(w, span_us, now_us);
    w->all[at] += all;
    w->marked[at] += marked;
}

struct window_count window_count(struct window *w, int64_t span_us, int64_t now_us)
{
    struct window_count count = {0, 0};
    advance(w, span_us, now_us);
    for (size_t i = 0; i < WINDOW_SLOTS; i++) {
        count.all += w->all[i];
        count.marked += w->marked[i];
    }
    return count;
}
