/*
 * ltask.c - perilune.sys.task: tasks, groups and deadlines for scripts; signals are in ltask_signal.c. The mechanism is
 * in script/task.c; here are the userdata that own waits and scopes.
 */
#include "ltask.h"

#include "../base/mem.h"
#include "../io/loop.h"
#include "../script/args.h"
#include "../script/host.h"
#include "../script/state.h"
#include "../script/task.h"
#include "api.h"

#include <math.h>
#include <string.h>

#define TASK_TYPE "perilune.task"
#define GROUP_TYPE "perilune.task.group"
#define WAIT_TYPE "perilune.task.wait"
#define SCOPE_TYPE "perilune.task.scope"

int64_t ltask_check_seconds_us(lua_State *L, int arg)
{
    lua_Number seconds = luaL_checknumber(L, arg);
    luaL_argcheck(L, seconds >= 0 && seconds <= 1e9, arg, "seconds must be between 0 and 1e9");
    return (int64_t)ceil(seconds * 1e6);
}

/* One wait: for the time, or for the end of a task. */

struct wait { /* owned by the waiting C function's to-be-closed slot */
    struct loop *loop;
    struct waiter waiter;
    struct loop_timer timer;
    struct task_watch watch;
};

static struct wait *push_wait(lua_State *L)
{
    struct wait *w = lua_newuserdatauv(L, sizeof *w, 0);
    memset(w, 0, sizeof *w);
    w->loop = host_of(L)->loop;
    list_init(&w->watch.node);
    luaL_setmetatable(L, WAIT_TYPE);
    lua_toclose(L, -1);
    return w;
}

static int mm_wait_close(lua_State *L)
{
    struct wait *w = luaL_checkudata(L, 1, WAIT_TYPE);
    loop_timer_stop(w->loop, &w->timer);
    list_remove(&w->watch.node);
    return 0;
}

static void on_timer(struct loop_timer *timer)
{
    task_wake(&CONTAINER_OF(timer, struct wait, timer)->waiter);
}

static int woken_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(status);
    UNUSED(ctx);
    task_woken(L);
    return 0;
}

/* sleep(seconds) */
static int f_sleep(lua_State *L)
{
    int64_t us = ltask_check_seconds_us(L, 1);
    struct wait *w = push_wait(L);
    w->waiter = task_waiter(L);
    loop_timer_start(w->loop, &w->timer, (us + 999) / 1000, on_timer);
    return task_wait(L, 0, woken_k);
}

/* yield(): lets every other ready task run first */
static int f_yield(lua_State *L)
{
    struct waiter w = task_waiter(L);
    task_wake(&w);
    return task_wait(L, 0, woken_k);
}

static int f_check(lua_State *L)
{
    task_waiter(L); /* raises where a wait would */
    return 0;
}

/* Scopes: deadline and shield */

struct scope {
    struct task *task; /* NULL once restored */
    struct task_limits saved;
};

static int mm_scope_close(lua_State *L)
{
    struct scope *s = luaL_checkudata(L, 1, SCOPE_TYPE);
    struct tasks *ts = host_of(L)->tasks;
    if (s->task && s->task == task_running(ts))
        task_limits_set(s->task, s->saved);
    s->task = NULL;
    return 0;
}

static int scope_k(lua_State *L, int status, lua_KContext nbelow)
{
    UNUSED(status);
    return lua_gettop(L) - (int)nbelow;
}

/* (seconds, fn, ...): runs fn(...) under new limits and returns its results */
static int run_scope(lua_State *L, bool is_shield)
{
    int64_t us = ltask_check_seconds_us(L, 1);
    luaL_checkany(L, 2);
    struct host *h = host_of(L);
    struct task *t = task_running(h->tasks);
    if (!t)
        return luaL_error(L, "this code does not run in a task");
    struct scope *s = lua_newuserdatauv(L, sizeof *s, 0);
    s->task = NULL;
    luaL_setmetatable(L, SCOPE_TYPE);
    lua_replace(L, 1); /* scope, fn, args... */
    lua_toclose(L, 1);
    struct task_limits limits = s->saved = task_limits_get(t);
    int64_t deadline_us = clock_mono_us(h->clock) + us;
    if (is_shield)
        limits.shields++;
    if (is_shield || !limits.deadline_us || deadline_us < limits.deadline_us)
        limits.deadline_us = deadline_us;
    s->task = t;
    task_limits_set(t, limits);
    lua_callk(L, lua_gettop(L) - 2, LUA_MULTRET, 1, scope_k);
    return scope_k(L, LUA_OK, 1);
}

/* deadline(seconds, fn, ...): nested ones take the earlier */
static int f_deadline(lua_State *L)
{
    return run_scope(L, false);
}

/* remaining() -> seconds until the deadline of the running task, at least 0; nil when it has none */
static int f_remaining(lua_State *L)
{
    task_must_run(L);
    struct host *h = host_of(L);
    int64_t deadline_us = task_limits_get(task_running(h->tasks)).deadline_us;
    int64_t left_us = deadline_us - clock_mono_us(h->clock);
    if (deadline_us)
        lua_pushnumber(L, left_us > 0 ? (lua_Number)left_us / 1e6 : 0);
    else
        lua_pushnil(L);
    return 1;
}

/* shield(seconds, fn, ...): a cancel is not heard inside, for the last write of a run */
static int f_shield(lua_State *L)
{
    return run_scope(L, true);
}

/* Task handles */

struct handle {
    struct task *task; /* a reference */
};

static struct task *check_task(lua_State *L, int arg)
{
    struct task *t = ((struct handle *)luaL_checkudata(L, arg, TASK_TYPE))->task;
    if (!t)
        luaL_error(L, "the task handle was already collected");
    return t;
}

/* (fn, ...) -> handle */
static int f_spawn(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    struct handle *handle = lua_newuserdatauv(L, sizeof *handle, 0);
    handle->task = NULL;
    luaL_setmetatable(L, TASK_TYPE);
    lua_insert(L, 1);
    handle->task = task_spawn(L, lua_gettop(L) - 2);
    return 1;
}

static int mm_task_gc(lua_State *L)
{
    struct handle *handle = luaL_checkudata(L, 1, TASK_TYPE);
    if (handle->task)
        task_unref(L, handle->task);
    handle->task = NULL;
    return 0;
}

static int mm_task_tostring(lua_State *L)
{
    struct task *t = check_task(L, 1);
    lua_pushfstring(L, "perilune.task (%s)", task_state(t));
    return 1;
}

/* Two handles of one task are equal. */
static int mm_task_eq(lua_State *L)
{
    const struct handle *a = luaL_testudata(L, 1, TASK_TYPE), *b = luaL_testudata(L, 2, TASK_TYPE);
    lua_pushboolean(L, a && b && a->task == b->task);
    return 1;
}

static int finish_wait(lua_State *L, struct task *t)
{
    int n = task_push_results(L, t);
    return task_has_failed(t) ? lua_error(L) : n;
}

static int m_wait_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(status);
    UNUSED(ctx);
    task_woken(L);
    return finish_wait(L, check_task(L, 1));
}

static void on_task_end(struct task_watch *watch)
{
    task_wake(&CONTAINER_OF(watch, struct wait, watch)->waiter);
}

/* handle:wait() -> the results of its function, or raises its error */
static int m_task_wait(lua_State *L)
{
    struct task *t = check_task(L, 1);
    lua_settop(L, 1);
    if (task_is_done(t))
        return finish_wait(L, t);
    if (t == task_running(host_of(L)->tasks))
        return luaL_error(L, "a task cannot wait for itself");
    struct wait *w = push_wait(L);
    w->waiter = task_waiter(L);
    task_watch(t, &w->watch, on_task_end);
    return task_wait(L, 0, m_wait_k);
}

static const char *const cancel_reasons[] = {"user_requested", "timeout", "error", "shutdown", NULL};

/* handle:cancel(reason?) */
static int m_task_cancel(lua_State *L)
{
    struct task *t = check_task(L, 1);
    task_cancel(t, cancel_reasons[luaL_checkoption(L, 2, "user_requested", cancel_reasons)]);
    return 0;
}

/* handle:state() -> active, cancelling, cancelled, failed, done; and the reason of a cancel */
static int m_task_state(lua_State *L)
{
    struct task *t = check_task(L, 1);
    lua_pushstring(L, task_state(t));
    lua_pushstring(L, task_cancel_reason(t));
    return 2;
}

/* Groups: children that do not outlive their scope */

struct group;

struct child { /* owned by its group */
    struct task_watch watch;
    struct list node;
    struct group *group;
    struct task *task; /* a reference */
};

struct group { /* owned by its userdata; loses its children when that is closed or collected */
    struct list live, done;
    struct waiter waiter;
    struct task *failed; /* the first child that failed; a reference */
    bool is_closed;
};

static struct group *check_group(lua_State *L)
{
    return luaL_checkudata(L, 1, GROUP_TYPE);
}

static int f_group(lua_State *L)
{
    struct group *g = lua_newuserdatauv(L, sizeof *g, 0);
    memset(g, 0, sizeof *g);
    list_init(&g->live);
    list_init(&g->done);
    luaL_setmetatable(L, GROUP_TYPE);
    return 1;
}

static void cancel_children(struct group *g, const char *reason)
{
    for (struct list *node = g->live.next; node != &g->live; node = node->next)
        task_cancel(CONTAINER_OF(node, struct child, node)->task, reason);
}

static void on_child_end(struct task_watch *watch)
{
    struct child *c = CONTAINER_OF(watch, struct child, watch);
    struct group *g = c->group;
    list_remove(&c->node);
    list_append(&g->done, &c->node);
    if (task_has_failed(c->task) && !g->failed && !task_cancel_reason(c->task)) {
        g->failed = c->task;
        cancel_children(g, "error");
    }
    if (list_is_empty(&g->live) || g->failed)
        task_wake(&g->waiter);
}

/* Frees the children that have ended; keeps the first that failed. */
static void reap(lua_State *L, struct group *g)
{
    struct list *node;
    while ((node = list_first(&g->done))) {
        struct child *c = CONTAINER_OF(node, struct child, node);
        list_remove(node);
        if (c->task != g->failed)
            task_unref(L, c->task);
        mem_free(c);
    }
}

/* group:spawn(fn, ...) -> handle */
static int m_group_spawn(lua_State *L)
{
    struct group *g = check_group(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    if (g->is_closed)
        return luaL_error(L, "the group is closed");
    reap(L, g);
    struct handle *handle = lua_newuserdatauv(L, sizeof *handle, 0);
    handle->task = NULL;
    luaL_setmetatable(L, TASK_TYPE);
    lua_insert(L, 2);
    struct task *t = task_spawn(L, lua_gettop(L) - 3);
    handle->task = t;
    struct child *c = mem_zero(1, sizeof *c);
    c->group = g;
    c->task = t;
    task_ref(t);
    list_append(&g->live, &c->node);
    task_watch(t, &c->watch, on_child_end);
    return 1;
}

static int raise_first(lua_State *L, struct group *g)
{
    struct task *t = g->failed;
    if (!t)
        return 0;
    task_push_results(L, t);
    g->failed = NULL;
    task_unref(L, t);
    return lua_error(L);
}

/* What another task, which left the scope, still waits for. */
static void check_unclosed(lua_State *L, const struct group *g)
{
    if (g->is_closed && !list_is_empty(&g->live))
        luaL_error(L, "the group is closed");
}

static int m_group_wait_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(status);
    UNUSED(ctx);
    struct group *g = check_group(L);
    if (!g->is_closed) /* else the waiter is that of the scope */
        g->waiter.tasks = NULL;
    task_woken(L);
    check_unclosed(L, g);
    if (!list_is_empty(&g->live)) {
        g->waiter = task_waiter(L);
        return task_wait(L, 0, m_group_wait_k);
    }
    reap(L, g);
    return raise_first(L, g);
}

/* group:wait(): until every child has ended; raises the first error */
static int m_group_wait(lua_State *L)
{
    struct group *g = check_group(L);
    lua_settop(L, 1);
    if (g->waiter.tasks)
        return luaL_error(L, "another task waits for this group");
    check_unclosed(L, g);
    if (list_is_empty(&g->live)) {
        reap(L, g);
        return raise_first(L, g);
    }
    g->waiter = task_waiter(L);
    return task_wait(L, 0, m_group_wait_k);
}

/* group:cancel(reason?) */
static int m_group_cancel(lua_State *L)
{
    struct group *g = check_group(L);
    cancel_children(g, cancel_reasons[luaL_checkoption(L, 2, "user_requested", cancel_reasons)]);
    return 0;
}

/* Why the running task must end, if it must. */
static const char *reason_to_end(lua_State *L)
{
    struct task *t = task_running(host_of(L)->tasks);
    if (t && task_cancel_reason(t))
        return task_cancel_reason(t);
    return t && task_is_late(t) ? "timeout" : NULL;
}

/* The wait of a scope that is left hears a cancel by passing it on, and always waits to the end. */
static int mm_group_close_k(lua_State *L, int status, lua_KContext has_error)
{
    UNUSED(status);
    struct group *g = check_group(L);
    if (!list_is_empty(&g->live)) {
        const char *reason = reason_to_end(L);
        if (reason)
            cancel_children(g, reason);
        g->waiter = task_waiter_shielded(L);
        return task_wait(L, has_error, mm_group_close_k);
    }
    reap(L, g);
    if (!has_error)
        return raise_first(L, g);
    if (g->failed)
        task_unref(L, g->failed);
    g->failed = NULL;
    return 0;
}

static int mm_group_close(lua_State *L)
{
    struct group *g = check_group(L);
    bool has_error = !lua_isnoneornil(L, 2), can_wait = lua_isyieldable(L);
    if (g->is_closed)
        return 0;
    g->is_closed = true;
    task_wake(&g->waiter);
    lua_settop(L, 1);
    const char *reason = reason_to_end(L);
    if (has_error || !can_wait)
        cancel_children(g, reason ? reason : "error");
    if (!list_is_empty(&g->live) && !can_wait)
        return 0; /* the collector does the rest */
    return mm_group_close_k(L, LUA_OK, has_error);
}

static int mm_group_gc(lua_State *L)
{
    struct group *g = check_group(L);
    struct list *node;
    cancel_children(g, "error");
    while ((node = list_first(&g->live))) {
        struct child *c = CONTAINER_OF(node, struct child, node);
        list_remove(&c->watch.node);
        list_remove(node);
        list_append(&g->done, node);
    }
    reap(L, g);
    if (g->failed)
        task_unref(L, g->failed);
    g->failed = NULL;
    return 0;
}

/* The module */

/* current() -> handle of the running task */
static int f_current(lua_State *L)
{
    struct task *t = task_running(host_of(L)->tasks);
    if (!t)
        return luaL_error(L, "this code does not run in a task");
    struct handle *handle = lua_newuserdatauv(L, sizeof *handle, 0);
    handle->task = NULL;
    luaL_setmetatable(L, TASK_TYPE);
    handle->task = t;
    task_ref(t);
    return 1;
}

/* foreground(handle|nil): the task that Ctrl-C cancels; nil is the main task */
static int f_foreground(lua_State *L)
{
    struct host *h = host_of(L);
    struct task *t = lua_isnoneornil(L, 1) ? NULL : check_task(L, 1);
    struct task *old = h->foreground;
    if (t)
        task_ref(t);
    h->foreground = t;
    h->interrupts = 0;
    if (old)
        task_unref(L, old);
    return 0;
}

/* slice(seconds): how long a task may compute without waiting */
static int f_slice(lua_State *L)
{
    tasks_set_slice(host_of(L)->tasks, ltask_check_seconds_us(L, 1) / 1000);
    return 0;
}

/* memory(max_bytes?) -> bytes in use: of the whole state; sets its limit when one is given */
static int f_memory(lua_State *L)
{
    struct state_budget *budget = host_of(L)->budget;
    lua_Integer max = luaL_optinteger(L, 1, 0);
    luaL_argcheck(L, max >= 0, 1, "a number of bytes is needed");
    if (max)
        budget->max_bytes = (size_t)max;
    lua_pushinteger(L, (lua_Integer)budget->used_bytes);
    return 1;
}

/* count() -> live tasks, open handles of the loop */
static int f_count(lua_State *L)
{
    struct host *h = host_of(L);
    lua_pushinteger(L, (lua_Integer)tasks_live(h->tasks));
    lua_pushinteger(L, loop_handles(h->loop));
    return 2;
}

static const luaL_Reg task_methods[] = {
    {"wait", m_task_wait}, {"cancel", m_task_cancel}, {"state", m_task_state}, {NULL, NULL}};
static const luaL_Reg task_metamethods[] = {
    {"__eq", mm_task_eq}, {"__gc", mm_task_gc}, {"__tostring", mm_task_tostring}, {NULL, NULL}};
static const luaL_Reg group_methods[] = {
    {"spawn", m_group_spawn}, {"wait", m_group_wait}, {"cancel", m_group_cancel}, {NULL, NULL}};
static const luaL_Reg group_metamethods[] = {{"__close", mm_group_close}, {"__gc", mm_group_gc}, {NULL, NULL}};
static const luaL_Reg wait_metamethods[] = {{"__close", mm_wait_close}, {"__gc", mm_wait_close}, {NULL, NULL}};
static const luaL_Reg scope_metamethods[] = {{"__close", mm_scope_close}, {NULL, NULL}};
static const luaL_Reg no_methods[] = {{NULL, NULL}};

static const luaL_Reg functions[] = {
    {"check", f_check},           {"count", f_count}, {"current", f_current}, {"deadline", f_deadline},
    {"foreground", f_foreground}, {"group", f_group}, {"memory", f_memory},   {"remaining", f_remaining},
    {"shield", f_shield},         {"sleep", f_sleep}, {"slice", f_slice},     {"spawn", f_spawn},
    {"yield", f_yield},           {NULL, NULL},
};

int luaopen_perilune_sys_task(lua_State *L)
{
    args_new_type(L, TASK_TYPE, task_methods, task_metamethods);
    args_new_type(L, GROUP_TYPE, group_methods, group_metamethods);
    args_new_type(L, WAIT_TYPE, no_methods, wait_metamethods);
    args_new_type(L, SCOPE_TYPE, no_methods, scope_metamethods);
    luaL_newlib(L, functions);
    ltask_signal_install(L);
    args_push_error_metatable(L);
    lua_setfield(L, -2, "error_metatable");
    return 1;
}
