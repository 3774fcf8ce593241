/*
 * lfailover.h - the wait that the two halves of perilune.sys.failover share: for a slot, for a time, or both, and for a
 * pause that somebody wakes.
 */
#ifndef PERILUNE_LFAILOVER_H
#define PERILUNE_LFAILOVER_H

#include <lua.h>

#include "../failover/bucket.h"
#include "../failover/limiter.h"
#include "../io/loop.h"
#include "../script/task.h"

struct lfailover_pause;
struct lfailover_wait;

/* A place in the queue of a limiter. Not part of the userdata: when the slot is granted while the wait is being given up,
 * the message that says so still comes, and finds this. Whoever is last frees it. */
struct lfailover_slot {
    struct limiter_wait wait;
    struct loop *loop;
    struct loop_call call;
    struct lfailover_wait *owner; /* NULL: it was given up */
    bool has_come;                /* the slot was granted, and the message is here */
};

struct lfailover_wait { /* a userdata in the to-be-closed slot of the waiting function */
    struct loop *loop;
    struct waiter waiter;
    struct loop_timer timer;
    struct lfailover_pause *pause; /* NULL: none; a user value keeps it alive */
    struct lfailover_slot *slot;   /* NULL: it waits for none */
    bool (*leave)(lua_State *L, struct lfailover_wait *w); /* gives up the slot, as health_leave() does */
    void *limited;                 /* for `leave`: whose slot it is */
    struct bucket_reservation token; /* of a client's limiter */
    bool has_token;
};

/* [-0, +1, e] `pause` and `limited` are stack indices of what must live as long as the wait; 0: none. */
struct lfailover_wait *lfailover_push_wait(lua_State *L, int pause, int limited);
/* Gives the wait a slot to ask a limiter for. */
struct limiter_wait *lfailover_slot(struct lfailover_wait *w, int64_t deadline_us, void *limited,
                                    bool (*leave)(lua_State *L, struct lfailover_wait *w));
/* `return lfailover_suspend(...)`: until the slot has come, the time is over or the pause is woken. */
int lfailover_suspend(lua_State *L, struct lfailover_wait *w, int64_t us, lua_KFunction k);
/* Was its pause woken? That wake is used up then. */
bool lfailover_is_woken(struct lfailover_wait *w);
/* [-0, +0, e] The argument max_wait as the time when waiting ends; never later than the task's own deadline. */
int64_t lfailover_check_deadline_us(lua_State *L, int arg);
int64_t lfailover_check_seconds_us(lua_State *L, int arg);

/* [-0, +0, m] Adds limiter and pause to the module on top. */
void lfailover_wait_install(lua_State *L);

#endif
