/*
 * loop.h - the libuv loop of a process: stepping, timers, signals, and calls posted from other threads.
 * Callbacks change C state and wake tasks; they never run Lua. Loop thread only, except loop_post.
 */
#ifndef PERILUNE_LOOP_H
#define PERILUNE_LOOP_H

#include "../base/clock.h"
#include "../base/err.h"
#include "../base/list.h"

struct loop;
struct uv_loop_s; /* uv_loop_t: only files in io/ include uv.h */

enum loop_mode { LOOP_NOWAIT, LOOP_WAIT };

MUST_CHECK enum err loop_open(struct loop **out, struct clock *clock, struct err_info *info);
/* Runs until every handle is closed, then frees. Returns the number of handles that were still open when
 * it was called (0 is what tests expect). */
int loop_close(struct loop *l);
void loop_step(struct loop *l, enum loop_mode mode);
struct uv_loop_s *loop_uv(struct loop *l);
struct clock *loop_clock(struct loop *l);
/* Could anything still happen? False: no timer, no active handle, no call expected. */
bool loop_is_alive(struct loop *l);
int loop_handles(struct loop *l); /* open handles, the loop's own not counted */

/* A one-shot timer, owned by whoever embeds it. The loop keeps all of them in one heap under one libuv
 * timer, so that starting one is cheap and stopping needs no callback. Zeroed memory is a stopped timer.
 * They run by time, and those of the same moment in the order of their starts. */
struct loop_timer {
    int64_t at_us;
    uint64_t order;    /* which was started first, of those of the same moment */
    size_t heap_index; /* 0: not armed */
    void (*on_timer)(struct loop_timer *t);
};
void loop_timer_start(struct loop *l, struct loop_timer *t, int64_t delay_ms, void (*on_timer)(struct loop_timer *t));
void loop_timer_stop(struct loop *l, struct loop_timer *t);
static inline bool loop_timer_is_on(const struct loop_timer *t)
{
    return t->heap_index != 0;
}

/* Calls posted from any thread run on the loop thread, in order. `call` is owned by the poster and must
 * stay alive until it has run. */
struct loop_call {
    struct loop_call *next;
    void (*run)(struct loop_call *c);
};
void loop_post(struct loop *l, struct loop_call *c);
/* While > 0 calls are expected from other threads, the loop stays alive: loop_ref before handing work to a
 * thread, loop_unref when its call has run. */
void loop_ref(struct loop *l);
void loop_unref(struct loop *l);

/* Signals: `on_signal` runs on the loop thread for SIGINT, SIGTERM, SIGHUP. One handler a loop. */
void loop_on_signal(struct loop *l, void (*on_signal)(void *user, int signum), void *user);

#endif
