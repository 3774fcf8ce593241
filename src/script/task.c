/*
 * task.c - the tasks of one Lua state: slots, the ready list, the one drain, and the hook that stops a
 * task which computes for ever. It knows nothing of HTTP, files or databases; they hold waiters.
 *
 * A task's function runs under lua_pcallk *inside* its coroutine, so that `__close` handlers that run
 * because of an error may still wait.
 */
#include "task.h"

#include "../base/limits.h"
#include "../base/mem.h"
#include "../io/loop.h"
#include "args.h"
#include "host.h"
#include "ticker.h"

#include <string.h>

#define LOOP_STARVED_US 50000 /* while a script computes, the loop is stepped this often */
#define OVER_BUDGET_RAISES 10
#define OVER_BUDGET_INSTRUCTIONS 10000

enum task_status { TASK_READY, TASK_RUNNING, TASK_WAITING, TASK_DONE };

struct task { /* freed when it is done and nobody holds a reference */
    struct list node; /* in the ready list */
    struct tasks *tasks;
    lua_State *co;
    int co_ref;
    int nargs; /* for the first resume */
    int refs;
    uint32_t slot, wait_id;
    enum task_status status;
    bool is_woken_early; /* woken between task_waiter and the yield */
    bool is_failed, is_error_seen;
    int over_budget;         /* how often the task was told that its budget is spent */
    char *over_budget_where; /* and where that was first; owned */
    int nresults;
    const char *cancel_reason;
    struct task_limits limits;
    struct loop_timer deadline_timer;
    int64_t resumed_us;
    struct list watches;
};

struct tasks { /* owned by the host */
    struct host *host;
    struct task **slots;
    uint32_t *free_slots;
    uint32_t slots_n, free_n;
    size_t live;
    uint32_t next_wait_id;
    struct list ready;
    struct task *running;
    struct ticker *ticker;
    int64_t slice_us;
    int64_t loop_stepped_us;
    bool is_closing; /* nothing can be spawned any more */
};

static const char sentinel; /* yielded by task_wait; on top of a coroutine for as long as it waits */

static struct tasks *tasks_of(lua_State *L)
{
    return host_of(L)->tasks;
}

bool task_is_late(const struct task *t)
{
    return t->limits.deadline_us && clock_mono_us(t->tasks->host->clock) >= t->limits.deadline_us;
}

/* Raising what a task must hear about */

/* [-0, +1, m] "scripts/agent.lua:12", the line of Lua that runs or waits; nil when there is none. */
static void push_where(lua_State *L)
{
    lua_Debug ar;
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline > 0) {
            lua_pushfstring(L, "%s:%d", ar.short_src, ar.currentline);
            return;
        }
    }
    lua_pushnil(L);
}

static int raise_error(lua_State *L, struct task *t, enum err code, const char *text, const char *reason)
{
    struct err_info info;
    err_set(&info, code, "%s", text);
    args_push_error(L, &info);
    if (code == ERR_BUDGET && t->over_budget_where)
        lua_pushstring(L, t->over_budget_where);
    else
        push_where(L);
    if (code == ERR_BUDGET && !t->over_budget_where)
        t->over_budget_where = mem_str(lua_tostring(L, -1));
    lua_setfield(L, -2, "where");
    if (reason) {
        lua_pushstring(L, reason);
        lua_setfield(L, -2, "reason");
    }
    return lua_error(L);
}

static void raise_if_over(lua_State *L, struct task *t)
{
    if (t->over_budget && !t->limits.shields)
        raise_error(L, t, ERR_BUDGET, "the task computed too long without waiting and was stopped (run --slice SECONDS)", NULL);
    if (t->cancel_reason && !t->limits.shields)
        raise_error(L, t, ERR_CANCELLED, "the task was cancelled", t->cancel_reason);
    if (task_is_late(t))
        raise_error(L, t, ERR_TIMEOUT, "the deadline has passed", NULL);
}

/* Waiting and waking */

struct waiter task_waiter_shielded(lua_State *L)
{
    struct tasks *ts = tasks_of(L);
    if (!ts->running)
        luaL_error(L, "cannot wait here: this code does not run in a task");
    if (!lua_isyieldable(L))
        luaL_error(L, "cannot wait here: not inside a table.sort comparator, a string.gsub callback, __tostring, __gc or "
                      "the body of a module that is being required");
    struct task *t = ts->running;
    t->wait_id = ++ts->next_wait_id;
    t->is_woken_early = false;
    return (struct waiter){.tasks = ts, .slot = t->slot, .wait_id = t->wait_id};
}

struct waiter task_waiter(lua_State *L)
{
    struct waiter w = task_waiter_shielded(L);
    raise_if_over(L, w.tasks->running);
    return w;
}

int task_wait(lua_State *L, lua_KContext ctx, lua_KFunction k)
{
    lua_pushlightuserdata(L, (void *)&sentinel);
    return lua_yieldk(L, 1, ctx, k);
}

void task_woken(lua_State *L)
{
    raise_if_over(L, tasks_of(L)->running);
}

static void make_ready(struct task *t)
{
    if (t->status == TASK_WAITING) {
        t->status = TASK_READY;
        list_append(&t->tasks->ready, &t->node);
    } else if (t->status == TASK_RUNNING) {
        t->is_woken_early = true;
    }
}

void task_wake(struct waiter *w)
{
    struct tasks *ts = w->tasks;
    w->tasks = NULL;
    if (!ts || w->slot >= ts->slots_n)
        return;
    struct task *t = ts->slots[w->slot];
    if (t && t->wait_id == w->wait_id)
        make_ready(t);
}

void task_cancel(struct task *t, const char *reason)
{
    if (t->status == TASK_DONE || t->cancel_reason)
        return;
    t->cancel_reason = reason;
    if (!t->limits.shields)
        make_ready(t);
}

/* Deadlines */

static void on_deadline(struct loop_timer *timer)
{
    make_ready(CONTAINER_OF(timer, struct task, deadline_timer));
}

struct task_limits task_limits_get(const struct task *t)
{
    return t->limits;
}

void task_limits_set(struct task *t, struct task_limits limits)
{
    struct host *h = t->tasks->host;
    t->limits = limits;
    if (!limits.deadline_us) {
        loop_timer_stop(h->loop, &t->deadline_timer);
        return;
    }
    int64_t left_ms = (limits.deadline_us - clock_mono_us(h->clock) + 999) / 1000;
    loop_timer_start(h->loop, &t->deadline_timer, left_ms, on_deadline);
}

/* The hook: a tick found a task running for long */

static void on_tick(lua_State *L, lua_Debug *ar)
{
    struct tasks *ts = tasks_of(L);
    struct task *t = ts->running;
    UNUSED(ar);
    int64_t now_us = clock_mono_us(ts->host->clock);
    if (t && (t->over_budget || now_us - t->resumed_us > ts->slice_us)) {
        /* Time for its close handlers; after that, a script that swallows the error is given no instruction. */
        t->over_budget++;
        ticker_done(ts->ticker, L, t->over_budget < OVER_BUDGET_RAISES ? OVER_BUDGET_INSTRUCTIONS : 1);
    } else {
        ticker_done(ts->ticker, L, 0);
    }
    if (!t)
        return;
    /* Signals and sockets are served although the script does not wait; this runs no Lua. */
    if (now_us - ts->loop_stepped_us > LOOP_STARVED_US) {
        loop_step(ts->host->loop, LOOP_NOWAIT);
        ts->loop_stepped_us = clock_mono_us(ts->host->clock);
    }
    /* Between two waits code may count on not being interrupted: only one that computes for long is. */
    if (now_us - t->resumed_us > TASK_INTERRUPT_MS * 1000)
        raise_if_over(L, t);
}

bool task_is_waiting(lua_State *co)
{
    return lua_status(co) == LUA_YIELD && lua_gettop(co) > 0 && lua_touserdata(co, -1) == (const void *)&sentinel;
}

int task_resume(lua_State *from, lua_State *co, int nargs, int *nvalues)
{
    struct ticker *ticker = tasks_of(co)->ticker;
    if (nargs == 0 && task_is_waiting(co))
        lua_pop(co, 1);
    lua_State *before = ticker_enter(ticker, co);
    int status = lua_resume(co, from, nargs, nvalues);
    ticker_enter(ticker, before);
    return status;
}

int task_reset(lua_State *co)
{
    struct ticker *ticker = tasks_of(co)->ticker;
    lua_State *before = ticker_enter(ticker, co);
    int status = lua_resetthread(co);
    ticker_enter(ticker, before);
    return status;
}

/* Starting */

/* The message handler of a task: whatever was raised becomes an error object with a traceback. */
static int on_error(lua_State *L)
{
    if (!args_is_error(L, 1)) {
        struct err_info info;
        const char *text = luaL_tolstring(L, 1, NULL);
        bool is_memory = strcmp(text, "not enough memory") == 0;
        err_set(&info, is_memory ? ERR_BUDGET : ERR_INVALID, "%s", is_memory ? "not enough memory: the script's memory limit is reached" : "");
        args_push_error(L, &info);
        if (!is_memory) {
            lua_pushvalue(L, 2); /* the whole text, however long */
            lua_setfield(L, -2, "message");
            lua_pushvalue(L, 1);
            lua_setfield(L, -2, "cause");
            lua_pushnil(L);
            lua_setfield(L, -2, "code");
        }
        lua_replace(L, 1);
    }
    lua_settop(L, 1);
    if (lua_getfield(L, 1, "traceback") == LUA_TNIL) {
        luaL_traceback(L, L, NULL, 1);
        lua_setfield(L, 1, "traceback");
    }
    lua_settop(L, 1);
    return 1;
}

static int body_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(ctx);
    struct task *t = tasks_of(L)->running;
    t->is_failed = status != LUA_OK && status != LUA_YIELD;
    return lua_gettop(L) - 1; /* all but the message handler: the results, or the error */
}

/* The bottom of every task's coroutine: (on_error, fn, args...) */
static int body(lua_State *L)
{
    int nargs = lua_gettop(L) - 2;
    return body_k(L, lua_pcallk(L, nargs, LUA_MULTRET, 1, 0, body_k), 0);
}

static uint32_t take_slot(struct tasks *ts)
{
    if (ts->free_n)
        return ts->free_slots[--ts->free_n];
    uint32_t n = ts->slots_n;
    ts->slots_n = n ? n * 2 : 64;
    ts->slots = mem_resize(ts->slots, ts->slots_n * sizeof *ts->slots);
    ts->free_slots = mem_resize(ts->free_slots, ts->slots_n * sizeof *ts->free_slots);
    memset(ts->slots + n, 0, (ts->slots_n - n) * sizeof *ts->slots);
    for (uint32_t i = ts->slots_n - 1; i > n; i--)
        ts->free_slots[ts->free_n++] = i;
    return n;
}

struct task *task_spawn(lua_State *L, int nargs)
{
    struct tasks *ts = tasks_of(L);
    if (ts->is_closing)
        luaL_error(L, "the host is shutting down: no task can be started");
    if (ts->live >= TASKS_MAX)
        luaL_error(L, "too many tasks (at most %d)", TASKS_MAX);
    lua_State *co = lua_newthread(L);
    lua_insert(L, -nargs - 2);
    if (!lua_checkstack(co, nargs + 4)) /* raising on co would end the process: nothing there is protected */
        luaL_error(L, "too many arguments for a task");
    lua_pushcfunction(co, body);
    lua_pushcfunction(co, on_error);
    lua_xmove(L, co, nargs + 1);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX); /* the last call that may raise */
    struct task *t = mem_zero(1, sizeof *t);
    t->tasks = ts;
    t->co = co;
    t->co_ref = ref;
    t->nargs = nargs + 2;
    t->refs = 2; /* the caller's and its own, until it is done */
    t->slot = take_slot(ts);
    t->wait_id = ++ts->next_wait_id;
    t->status = TASK_READY;
    ts->slots[t->slot] = t;
    ts->live++;
    list_init(&t->watches);
    list_init(&t->node);
    list_append(&ts->ready, &t->node);
    return t;
}

/* Ending */

/* Logs the error of a task that nobody waited for. Protected: it runs outside of any task. */
static int f_report(lua_State *L)
{
    struct task *t = lua_touserdata(L, 1);
    if (!lua_checkstack(t->co, 1))
        return 0;
    lua_pushvalue(t->co, -1);
    lua_xmove(t->co, L, 1);
    if (args_is_error(L, 2)) {
        lua_getfield(L, 2, "kind");
        if (strcmp(luaL_optstring(L, -1, ""), "cancelled") == 0)
            return 0;
    }
    log_printf(t->tasks->host->log, LOG_ERROR, "task", "a task failed and nobody waited for it: %s",
               luaL_tolstring(L, 2, NULL));
    return 0;
}

void task_ref(struct task *t)
{
    t->refs++;
}

void task_unref(lua_State *L, struct task *t)
{
    if (--t->refs > 0)
        return;
    ASSERT(t->status == TASK_DONE);
    if (t->is_failed && !t->is_error_seen && lua_checkstack(L, 4)) {
        lua_pushcfunction(L, f_report);
        lua_pushlightuserdata(L, t);
        if (lua_pcall(L, 1, 0, 0) != LUA_OK)
            lua_pop(L, 1);
    }
    luaL_unref(L, LUA_REGISTRYINDEX, t->co_ref);
    mem_free(t->over_budget_where);
    mem_free(t);
}

static void end(struct task *t, int nresults)
{
    struct tasks *ts = t->tasks;
    t->status = TASK_DONE;
    t->nresults = nresults;
    loop_timer_stop(ts->host->loop, &t->deadline_timer);
    list_remove(&t->node);
    ts->slots[t->slot] = NULL;
    ts->free_slots[ts->free_n++] = t->slot;
    ts->live--;
    struct list *node;
    while ((node = list_first(&t->watches))) {
        list_remove(node);
        struct task_watch *w = CONTAINER_OF(node, struct task_watch, node);
        w->on_end(w);
    }
    task_unref(ts->host->L, t);
}

static int f_push_broken(lua_State *L)
{
    struct err_info info;
    err_set(&info, ERR_INVALID, "%s", (const char *)lua_touserdata(L, 1));
    args_push_error(L, &info);
    return 1;
}

/* The coroutine itself failed: an error in the message handler, or a yield that is not a wait. */
static void end_broken(struct task *t, const char *text)
{
    t->status = TASK_RUNNING;
    t->tasks->running = t;
    task_reset(t->co);
    t->tasks->running = NULL;
    lua_settop(t->co, 0);
    lua_pushcfunction(t->co, f_push_broken);
    lua_pushlightuserdata(t->co, (void *)text);
    lua_pcall(t->co, 1, 1, 0); /* out of memory: the plain message is the error */
    t->is_failed = true;
    end(t, 1);
}

/* The drain */

static void run(struct tasks *ts, struct task *t)
{
    int nvalues = 0, nargs = t->nargs;
    t->nargs = 0;
    t->status = TASK_RUNNING;
    t->resumed_us = ts->loop_stepped_us = clock_mono_us(ts->host->clock);
    ts->running = t;
    int status = task_resume(ts->host->L, t->co, nargs, &nvalues);
    ts->running = NULL;
    if (status == LUA_OK) {
        end(t, nvalues);
    } else if (status != LUA_YIELD) {
        end_broken(t, "the task failed while its error was being reported");
    } else if (!task_is_waiting(t->co)) {
        end_broken(t, "coroutine.yield was called outside of a generator: there is nobody to yield to");
    } else {
        t->status = TASK_WAITING;
        if (t->is_woken_early)
            make_ready(t);
    }
}

void tasks_drain(struct tasks *ts)
{
    struct list now, *node;
    ASSERT(!ts->running);
    list_move_all(&ts->ready, &now);
    while ((node = list_first(&now))) {
        list_remove(node);
        run(ts, CONTAINER_OF(node, struct task, node));
    }
}

/* Looking at tasks */

void task_must_run(lua_State *L)
{
    if (!tasks_of(L)->running)
        luaL_error(L, "this code does not run in a task");
}

struct task *task_running(struct tasks *ts)
{
    return ts->running;
}

const char *task_cancel_reason(const struct task *t)
{
    return t->cancel_reason;
}

bool task_is_done(const struct task *t)
{
    return t->status == TASK_DONE;
}

bool task_has_failed(const struct task *t)
{
    return t->status == TASK_DONE && t->is_failed;
}

const char *task_state(const struct task *t)
{
    if (t->status == TASK_DONE)
        return t->is_failed ? (t->cancel_reason ? "cancelled" : "failed") : "done";
    return t->cancel_reason ? "cancelling" : "active";
}

int task_push_results(lua_State *L, struct task *t)
{
    ASSERT(t->status == TASK_DONE);
    int n = t->nresults;
    luaL_checkstack(L, n, "task results");
    if (!lua_checkstack(t->co, n))
        luaL_error(L, "too many task results");
    int top = lua_gettop(t->co);
    for (int i = top - n + 1; i <= top; i++)
        lua_pushvalue(t->co, i);
    lua_xmove(t->co, L, n);
    t->is_error_seen = true;
    return n;
}

void task_watch(struct task *t, struct task_watch *w, void (*on_end)(struct task_watch *w))
{
    ASSERT(t->status != TASK_DONE);
    w->on_end = on_end;
    list_init(&w->node);
    list_append(&t->watches, &w->node);
}

bool tasks_any_ready(const struct tasks *ts)
{
    return !list_is_empty(&ts->ready);
}

size_t tasks_live(const struct tasks *ts)
{
    return ts->live;
}

void tasks_set_slice(struct tasks *ts, int64_t slice_ms)
{
    ts->slice_us = slice_ms * 1000;
}

void tasks_cancel_all(struct tasks *ts, const char *reason)
{
    for (uint32_t i = 0; i < ts->slots_n; i++)
        if (ts->slots[i])
            task_cancel(ts->slots[i], reason);
}

void tasks_kill_all(struct tasks *ts)
{
    ts->is_closing = true;
    for (uint32_t i = 0; i < ts->slots_n; i++)
        if (ts->slots[i])
            end_broken(ts->slots[i], "the host is shutting down");
}

struct tasks *tasks_new(struct host *h)
{
    struct tasks *ts = mem_zero(1, sizeof *ts);
    ts->host = h;
    ts->ticker = ticker_new(on_tick);
    ts->slice_us = TASK_SLICE_MS * 1000LL;
    list_init(&ts->ready);
    return ts;
}

void tasks_free(struct tasks *ts)
{
    ASSERT(ts->live == 0);
    ticker_free(ts->ticker);
    mem_free(ts->slots);
    mem_free(ts->free_slots);
    mem_free(ts);
}
