/*
 * limiter.h - so many at once, and a bounded queue of those who wait for a slot; the earliest deadline is served first.
 *
 * Waiting is intrusive: the waiter owns a `struct limiter_wait`. When a slot is granted to it, the holder of the limiter
 * calls `ready` exactly once, outside of its lock and from whichever thread gave the slot back; the memory must live
 * until then. No clock and no lock in here: what happens when a deadline passes is the waiter's business (it leaves).
 */
#ifndef PERILUNE_LIMITER_H
#define PERILUNE_LIMITER_H

#include "../base/list.h"

enum limiter_wait_state { LIMITER_IDLE, LIMITER_QUEUED, LIMITER_GRANTED };

struct limiter_wait { /* zeroed, but for the deadline and `ready`; owned by who waits */
    struct list node;
    enum limiter_wait_state state;
    int64_t deadline_us;
    void (*ready)(struct limiter_wait *w); /* only posts: no lock is held, no Lua may run */
};

struct limiter {
    int inflight_max; /* 0: no cap */
    int queue_max;
    int inflight, queued;
    struct list waits;
};

void limiter_init(struct limiter *l, int inflight_max, int queue_max);
/* Takes a slot. False: none is free. */
MUST_CHECK bool limiter_take(struct limiter *l);
/* Joins the queue. False: it is full. */
MUST_CHECK bool limiter_join(struct limiter *l, struct limiter_wait *w);
/* Gives a slot back. Then, as after the cap was raised, limiter_grant(): a slot is never free while somebody waits. */
void limiter_give(struct limiter *l);
/* Ends a wait, whatever its state: leaves the queue, or gives the granted slot back (limiter_grant() then). */
void limiter_leave(struct limiter *l, struct limiter_wait *w);
/* Gives free slots to those who wait, who are appended to the (initialised) list, and leave the queue. */
void limiter_grant(struct limiter *l, struct list *granted);
/* Calls their `ready`; without a lock. */
void limiter_wake(struct list *granted);

#endif
