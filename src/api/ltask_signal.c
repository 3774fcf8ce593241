/*
 * ltask_signal.c - the signals of perilune.sys.task: what tasks wait for when no operation of the host is involved.
 *
 * A wake that is meant for one is never lost: whoever it reached and then ends with an error passes it on.
 */
#include "ltask.h"

#include "../io/loop.h"
#include "../script/args.h"
#include "../script/host.h"
#include "../script/task.h"

#include <string.h>

#define SIGNAL_TYPE "perilune.task.signal"
#define WAIT_TYPE "perilune.task.signal.wait"

struct signal { /* owned by its userdata */
    struct list waits;
};

struct wait { /* owned by the waiting C function's to-be-closed slot */
    struct loop *loop;
    struct waiter waiter;
    struct loop_timer timer;
    struct list node;        /* in the signal */
    struct list *successors; /* of a wake that was meant for one: who gets it if this one ends with an error */
    bool is_woken;           /* by the signal, not by the time */
};

static bool wake_first(struct list *waits, bool is_for_one)
{
    struct list *node = list_first(waits);
    if (!node)
        return false;
    struct wait *w = CONTAINER_OF(node, struct wait, node);
    list_remove(node);
    w->is_woken = true;
    w->successors = is_for_one ? waits : NULL;
    task_wake(&w->waiter);
    return true;
}

/* (wait, error?) */
static int mm_wait_close(lua_State *L)
{
    struct wait *w = luaL_checkudata(L, 1, WAIT_TYPE);
    if (w->successors && !lua_isnoneornil(L, 2))
        wake_first(w->successors, true);
    w->successors = NULL;
    loop_timer_stop(w->loop, &w->timer);
    list_remove(&w->node);
    return 0;
}

static void on_timer(struct loop_timer *timer)
{
    task_wake(&CONTAINER_OF(timer, struct wait, timer)->waiter);
}

/* (signal, wait) */
static int wait_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(status);
    UNUSED(ctx);
    task_woken(L);
    lua_pushboolean(L, ((struct wait *)lua_touserdata(L, 2))->is_woken);
    return 1;
}

/* signal:wait(seconds?) -> true after a wake that comes after this call, false when the time is over */
static int m_wait(lua_State *L)
{
    struct signal *s = luaL_checkudata(L, 1, SIGNAL_TYPE);
    int64_t us = lua_isnoneornil(L, 2) ? -1 : ltask_check_seconds_us(L, 2);
    lua_settop(L, 1); /* the signal stays alive on the stack of whoever waits */
    struct wait *w = lua_newuserdatauv(L, sizeof *w, 0);
    memset(w, 0, sizeof *w);
    w->loop = host_of(L)->loop;
    list_init(&w->node);
    luaL_setmetatable(L, WAIT_TYPE);
    lua_toclose(L, -1);
    w->waiter = task_waiter(L);
    list_append(&s->waits, &w->node);
    if (us >= 0)
        loop_timer_start(w->loop, &w->timer, (us + 999) / 1000, on_timer);
    return task_wait(L, 0, wait_k);
}

/* signal:wake(n?): wakes n waiting tasks in the order they came, all by default; returns how many */
static int m_wake(lua_State *L)
{
    struct signal *s = luaL_checkudata(L, 1, SIGNAL_TYPE);
    bool is_for_all = lua_isnoneornil(L, 2);
    lua_Integer max = is_for_all ? LUA_MAXINTEGER : luaL_checkinteger(L, 2), count = 0;
    while (count < max && wake_first(&s->waits, !is_for_all))
        count++;
    lua_pushinteger(L, count);
    return 1;
}

static int mm_signal_gc(lua_State *L)
{
    struct signal *s = luaL_checkudata(L, 1, SIGNAL_TYPE);
    struct list *node;
    while ((node = list_first(&s->waits)))
        list_remove(node);
    return 0;
}

static int f_signal(lua_State *L)
{
    struct signal *s = lua_newuserdatauv(L, sizeof *s, 0);
    list_init(&s->waits);
    luaL_setmetatable(L, SIGNAL_TYPE);
    return 1;
}

static const luaL_Reg functions[] = {{"signal", f_signal}, {NULL, NULL}};
static const luaL_Reg methods[] = {{"wait", m_wait}, {"wake", m_wake}, {NULL, NULL}};
static const luaL_Reg metamethods[] = {{"__gc", mm_signal_gc}, {NULL, NULL}};
static const luaL_Reg no_methods[] = {{NULL, NULL}};
static const luaL_Reg wait_metamethods[] = {{"__close", mm_wait_close}, {"__gc", mm_wait_close}, {NULL, NULL}};

void ltask_signal_install(lua_State *L)
{
    args_new_type(L, SIGNAL_TYPE, methods, metamethods);
    args_new_type(L, WAIT_TYPE, no_methods, wait_metamethods);
    lua_pop(L, 2);
    luaL_setfuncs(L, functions, 0);
}
