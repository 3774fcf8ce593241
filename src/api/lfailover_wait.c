/*
 * lfailover_wait.c - the half of perilune.sys.failover that waits: pauses, and the limiter of a client. Loop thread only,
 * but for `on_granted`, which only posts.
 */
#include "lfailover.h"

#include "../base/limits.h"
#include "../base/mem.h"
#include "../script/args.h"
#include "../script/host.h"

#include <math.h>
#include <string.h>

#define LIMITER_TYPE "perilune.failover.limiter"
#define PAUSE_TYPE "perilune.failover.pause"
#define WAIT_TYPE "perilune.failover.wait"

/* Arguments */

int64_t lfailover_check_seconds_us(lua_State *L, int arg)
{
    lua_Number seconds = luaL_checknumber(L, arg);
    luaL_argcheck(L, seconds >= 0 && seconds <= 1e9, arg, "seconds must be between 0 and 1e9");
    return (int64_t)ceil(seconds * 1e6);
}

int64_t lfailover_check_deadline_us(lua_State *L, int arg)
{
    struct host *h = host_of(L);
    struct task *t = task_running(h->tasks);
    int64_t max_us = lua_isnoneornil(L, arg) ? FAILOVER_WAIT_MS * 1000 : lfailover_check_seconds_us(L, arg);
    int64_t until_us = clock_mono_us(h->clock) + max_us;
    int64_t task_until_us = t ? task_limits_get(t).deadline_us : 0;
    return task_until_us && task_until_us < until_us ? task_until_us : until_us;
}

/* Waits */

struct lfailover_pause { /* owned by its userdata */
    struct lfailover_wait *wait; /* NULL: nobody waits */
    bool is_woken;
};

struct lfailover_wait *lfailover_push_wait(lua_State *L, int pause, int limited)
{
    struct lfailover_pause *p = pause ? luaL_checkudata(L, pause, PAUSE_TYPE) : NULL;
    if (p && p->wait)
        luaL_error(L, "another task waits on this pause");
    struct lfailover_wait *w = lua_newuserdatauv(L, sizeof *w, 2);
    memset(w, 0, sizeof *w);
    w->loop = host_of(L)->loop;
    luaL_setmetatable(L, WAIT_TYPE);
    if (pause) {
        lua_pushvalue(L, pause);
        lua_setiuservalue(L, -2, 1);
    }
    if (limited) {
        lua_pushvalue(L, limited);
        lua_setiuservalue(L, -2, 2);
    }
    lua_toclose(L, -1);
    w->pause = p;
    if (p)
        p->wait = w;
    return w;
}

static void on_slot(struct loop_call *call)
{
    struct lfailover_slot *s = CONTAINER_OF(call, struct lfailover_slot, call);
    s->has_come = true;
    if (s->owner)
        task_wake(&s->owner->waiter);
    else
        mem_free(s);
}

/* In the thread that gave the slot back. */
static void on_granted(struct limiter_wait *wait)
{
    struct lfailover_slot *s = CONTAINER_OF(wait, struct lfailover_slot, wait);
    loop_post(s->loop, &s->call); /* nothing after this: it may be freed by now */
}

struct limiter_wait *lfailover_slot(struct lfailover_wait *w, int64_t deadline_us, void *limited,
                                    bool (*leave)(lua_State *L, struct lfailover_wait *w))
{
    struct lfailover_slot *s = mem_zero(1, sizeof *s);
    s->wait.deadline_us = deadline_us;
    s->wait.ready = on_granted;
    s->call.run = on_slot;
    s->loop = w->loop;
    s->owner = w;
    w->slot = s;
    w->limited = limited;
    w->leave = leave;
    return &s->wait;
}

static void on_timer(struct loop_timer *timer)
{
    task_wake(&CONTAINER_OF(timer, struct lfailover_wait, timer)->waiter);
}

int lfailover_suspend(lua_State *L, struct lfailover_wait *w, int64_t us, lua_KFunction k)
{
    w->waiter = task_waiter(L);
    loop_timer_start(w->loop, &w->timer, (us + 999) / 1000, on_timer);
    return task_wait(L, 0, k);
}

bool lfailover_is_woken(struct lfailover_wait *w)
{
    if (!w->pause || !w->pause->is_woken)
        return false;
    w->pause->is_woken = false;
    return true;
}

static int mm_wait_close(lua_State *L)
{
    struct lfailover_wait *w = luaL_checkudata(L, 1, WAIT_TYPE);
    struct lfailover_slot *s = w->slot;
    loop_timer_stop(w->loop, &w->timer);
    if (w->pause)
        w->pause->wait = NULL;
    w->pause = NULL;
    if (s) {
        bool is_over = w->leave(L, w) || s->has_come;
        s->owner = NULL;
        w->slot = NULL;
        if (is_over)
            mem_free(s);
    }
    return 0;
}

/* Pauses */

static int f_pause(lua_State *L)
{
    struct lfailover_pause *p = lua_newuserdatauv(L, sizeof *p, 0);
    *p = (struct lfailover_pause){0};
    luaL_setmetatable(L, PAUSE_TYPE);
    return 1;
}

static int m_pause_wait_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(status);
    UNUSED(ctx);
    task_woken(L);
    lua_pushboolean(L, lfailover_is_woken(lua_touserdata(L, 3)));
    return 1;
}

/* pause:wait(seconds) -> true: it was woken; false: the time is over */
static int m_pause_wait(lua_State *L)
{
    luaL_checkudata(L, 1, PAUSE_TYPE);
    int64_t us = lfailover_check_seconds_us(L, 2);
    lua_settop(L, 2);
    struct lfailover_wait *w = lfailover_push_wait(L, 1, 0);
    if (w->pause->is_woken) {
        task_waiter(L); /* raises where a wait would */
        return m_pause_wait_k(L, LUA_OK, 0);
    }
    return lfailover_suspend(L, w, us, m_pause_wait_k);
}

/* pause:wake(): ends the wait that is under way, or the next one */
static int m_pause_wake(lua_State *L)
{
    struct lfailover_pause *p = luaL_checkudata(L, 1, PAUSE_TYPE);
    p->is_woken = true;
    if (p->wait)
        task_wake(&p->wait->waiter);
    return 0;
}

/* The limiter of a client: a slot first, then a token; whoever waits for a token keeps the slot. */

struct client { /* owned by its userdata */
    struct limiter limiter;
    struct bucket bucket;
    bool has_rate;
    int waiting; /* for a token */
};

static struct client *check_client(lua_State *L)
{
    return luaL_checkudata(L, 1, LIMITER_TYPE);
}

static void grant_next(struct client *c)
{
    struct list granted;
    list_init(&granted);
    limiter_grant(&c->limiter, &granted);
    limiter_wake(&granted);
}

static bool leave_client(lua_State *L, struct lfailover_wait *w)
{
    struct client *c = w->limited;
    bool was_granted = w->slot->wait.state == LIMITER_GRANTED;
    UNUSED(L);
    if (w->has_token) {
        bucket_return(&c->bucket, &w->token);
        c->waiting--;
    }
    limiter_leave(&c->limiter, &w->slot->wait);
    grant_next(c);
    return !was_granted;
}

static double opt_rate(lua_State *L, int index)
{
    lua_pushliteral(L, "rate");
    int type = lua_rawget(L, index);
    lua_Number rate = lua_tonumber(L, -1);
    if (type != LUA_TNIL && (type != LUA_TNUMBER || !(rate >= 1e-6 && rate <= 1e6)))
        luaL_error(L, "option 'rate': a number of requests per second is needed, from 1e-6 to 1e6");
    lua_pop(L, 1);
    return type == LUA_TNIL ? 0 : rate;
}

/* limiter{ rate=, burst=, max_inflight=, queue= } */
static int f_limiter(lua_State *L)
{
    static const char *const names[] = {"rate", "burst", "max_inflight", "queue", NULL};
    lua_Integer inflight_max = 0, queue_max = 256;
    opt_only(L, 1, names);
    double rate = opt_rate(L, 1);
    lua_Integer burst = rate > 1 ? (lua_Integer)ceil(rate) : 1;
    opt_integer(L, 1, "burst", 1, 1000000, &burst);
    opt_integer(L, 1, "max_inflight", 1, FAILOVER_INFLIGHT_MAX, &inflight_max);
    opt_integer(L, 1, "queue", 0, FAILOVER_QUEUE_MAX, &queue_max);
    struct client *c = lua_newuserdatauv(L, sizeof *c, 0);
    memset(c, 0, sizeof *c);
    limiter_init(&c->limiter, (int)inflight_max, (int)queue_max);
    c->has_rate = rate > 0;
    if (c->has_rate)
        bucket_init(&c->bucket, rate, (int)burst);
    luaL_setmetatable(L, LIMITER_TYPE);
    return 1;
}

static int turn_away(lua_State *L, const char *code, const char *text, int64_t retry_us)
{
    struct err_info info;
    err_set(&info, ERR_LIMIT, "%s", text);
    args_fail(L, &info);
    lua_pushliteral(L, "overloaded");
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, code);
    lua_setfield(L, -2, "code");
    lua_pushnumber(L, (lua_Number)retry_us / 1e6);
    lua_setfield(L, -2, "retry_after");
    return 2;
}

static int turn_away_full(lua_State *L)
{
    return turn_away(L, "queue_full", "too many requests of this client wait already", FAILOVER_TURNED_AWAY_US);
}

static int turn_away_late(lua_State *L, int64_t retry_us)
{
    return turn_away(L, "queue_timeout", "this client's own limits let no request through in time", retry_us);
}

static int interrupted(lua_State *L)
{
    struct err_info info;
    err_set(&info, ERR_CANCELLED, "the wait for this client's limits was ended");
    return args_fail(L, &info);
}

/* The slot belongs to the caller now, and the token is spent. */
static int acquired(lua_State *L, struct lfailover_wait *w)
{
    if (w->has_token)
        ((struct client *)w->limited)->waiting--;
    w->has_token = false;
    w->slot->wait.state = LIMITER_IDLE;
    lua_pushboolean(L, true);
    return 1;
}

static int token_k(lua_State *L, int status, lua_KContext ctx)
{
    struct lfailover_wait *w = lua_touserdata(L, 4);
    UNUSED(status);
    UNUSED(ctx);
    task_woken(L);
    return lfailover_is_woken(w) ? interrupted(L) : acquired(L, w);
}

/* With the slot. */
static int wait_for_token(lua_State *L, struct lfailover_wait *w)
{
    struct client *c = w->limited;
    int64_t now_us = clock_mono_us(host_of(L)->clock);
    int64_t wait_us = c->has_rate ? bucket_wait_us(&c->bucket, now_us) : 0;
    if (now_us + wait_us > w->slot->wait.deadline_us)
        return turn_away_late(L, wait_us);
    if (wait_us && c->waiting >= c->limiter.queue_max)
        return turn_away_full(L);
    if (c->has_rate) {
        bucket_reserve(&c->bucket, now_us, &w->token);
        w->has_token = true;
        c->waiting++;
    }
    return wait_us ? lfailover_suspend(L, w, wait_us, token_k) : acquired(L, w);
}

static int slot_k(lua_State *L, int status, lua_KContext ctx)
{
    struct lfailover_wait *w = lua_touserdata(L, 4);
    UNUSED(status);
    UNUSED(ctx);
    task_woken(L);
    if (lfailover_is_woken(w))
        return interrupted(L);
    return w->slot->has_come ? wait_for_token(L, w) : turn_away_late(L, FAILOVER_TURNED_AWAY_US);
}

static int acquire_waiting(lua_State *L, struct client *c, int64_t now_us)
{
    int64_t deadline_us = lfailover_check_deadline_us(L, 2);
    struct lfailover_wait *w = lfailover_push_wait(L, lua_isnil(L, 3) ? 0 : 3, 1);
    struct limiter_wait *wait = lfailover_slot(w, deadline_us, c, leave_client);
    if (lfailover_is_woken(w))
        return interrupted(L);
    if (limiter_take(&c->limiter)) {
        wait->state = LIMITER_GRANTED;
        w->slot->has_come = true;
        return wait_for_token(L, w);
    }
    if (deadline_us <= now_us)
        return turn_away_late(L, FAILOVER_TURNED_AWAY_US);
    return limiter_join(&c->limiter, wait) ? lfailover_suspend(L, w, deadline_us - now_us, slot_k) : turn_away_full(L);
}

/* limiter:acquire(max_wait?, pause?) -> true | nil, err */
static int m_acquire(lua_State *L)
{
    struct client *c = check_client(L);
    int64_t now_us = clock_mono_us(host_of(L)->clock);
    lua_settop(L, 3);
    if ((c->has_rate && bucket_wait_us(&c->bucket, now_us)) || !limiter_take(&c->limiter))
        return acquire_waiting(L, c, now_us);
    if (c->has_rate)
        bucket_reserve(&c->bucket, now_us, &(struct bucket_reservation){0});
    lua_pushboolean(L, true);
    return 1;
}

/* limiter:release(): once for each slot that was acquired */
static int m_release(lua_State *L)
{
    struct client *c = check_client(L);
    if (c->limiter.inflight == 0)
        return luaL_error(L, "nothing was acquired from this limiter");
    limiter_give(&c->limiter);
    grant_next(c);
    return 0;
}

static const luaL_Reg pause_methods[] = {{"wait", m_pause_wait}, {"wake", m_pause_wake}, {NULL, NULL}};
static const luaL_Reg limiter_methods[] = {{"acquire", m_acquire}, {"release", m_release}, {NULL, NULL}};
static const luaL_Reg wait_metamethods[] = {{"__close", mm_wait_close}, {"__gc", mm_wait_close}, {NULL, NULL}};
static const luaL_Reg nothing[] = {{NULL, NULL}};
static const luaL_Reg functions[] = {{"limiter", f_limiter}, {"pause", f_pause}, {NULL, NULL}};

void lfailover_wait_install(lua_State *L)
{
    args_new_type(L, PAUSE_TYPE, pause_methods, nothing);
    args_new_type(L, LIMITER_TYPE, limiter_methods, nothing);
    args_new_type(L, WAIT_TYPE, nothing, wait_metamethods);
    lua_pop(L, 3);
    luaL_setfuncs(L, functions, 0);
}
