/*
 * task.h - tasks: coroutines that the host runs. One wait, one wake, one drain.
 *
 * An operation that must wait takes a waiter, starts, and does `return task_wait(L, ctx, k)`. Its
 * callback, whenever it fires, does task_wake(&waiter): that only queues the task, it never runs Lua.
 * The drain resumes the task, which continues in `k`. A waiter is two numbers, so a wake-up that
 * comes too late is ignored.
 *
 * `k` MUST begin with task_woken(L): it raises the task's `cancelled` or `timeout` error if there is
 * one. A wait may end without its operation being done (a cancel), never the other way round.
 *
 * One-shot operations (sleep, query, run a process) own their state in a userdata with `__close` and
 * `__gc`, made *before* anything is acquired, and mark it with lua_toclose(L, -1) before they wait: it
 * is closed exactly once, on wake-up, on error and on cancel. Long-lived handles keep the waiter inside
 * and the script owns them with `local x <close>`; a second task that waits on a busy handle is misuse.
 *
 * Loop thread only.
 */
#ifndef PERILUNE_TASK_H
#define PERILUNE_TASK_H

#include <lua.h>

#include "../base/list.h"

struct host;
struct task;
struct tasks;

struct waiter {
    struct tasks *tasks; /* NULL: nobody waits */
    uint32_t slot, wait_id;
};

struct tasks *tasks_new(struct host *h);
void tasks_free(struct tasks *ts); /* after tasks_kill_all and lua_close */

/* [-0, +0, e] The running task as a waiter, to be taken just before task_wait. Raises where a script
 * cannot wait (sort comparators, gsub callbacks, __gc, a module body being required), and when the task
 * is cancelled or past its deadline. */
struct waiter task_waiter(lua_State *L);
/* The same without the check for cancel and deadline: for the wait of a `__close` that must happen. */
struct waiter task_waiter_shielded(lua_State *L);
/* Suspends the running task: `return task_wait(L, ctx, k)`. Never returns to its caller. */
int task_wait(lua_State *L, lua_KContext ctx, lua_KFunction k);
/* [-0, +0, e] First thing in a continuation: raises if the task was cancelled or is past its deadline. */
void task_woken(lua_State *L);
/* For generator.c: does the coroutine wait, or a generator that it resumed? Then only who resumed it goes on with it. */
bool task_is_waiting(lua_State *co);
/* lua_resume, watched by the ticker; a wait goes on with no arguments. Only the drain and generator.c call it. */
int task_resume(lua_State *from, lua_State *co, int nargs, int *nvalues);
/* lua_resetthread, watched by the ticker: pending `__close` handlers run, but cannot wait. */
int task_reset(lua_State *co);
/* Queues the waiting task as ready; O(1); clears *w; harmless when stale or empty. */
void task_wake(struct waiter *w);

/* [-nargs-1, +0, m] Starts a task that runs the function below its nargs arguments. The caller holds a
 * reference (task_unref). */
struct task *task_spawn(lua_State *L, int nargs);
void task_ref(struct task *t);
void task_unref(lua_State *L, struct task *t);
/* [-0, +0, e] Raises where no task runs: in a finalizer while the state is closed. */
void task_must_run(lua_State *L);
struct task *task_running(struct tasks *ts); /* NULL outside of a drain */

/* Marks the task and wakes it. `reason` (static): user_requested, timeout, error, shutdown. */
void task_cancel(struct task *t, const char *reason);
const char *task_cancel_reason(const struct task *t); /* NULL: not cancelled */
bool task_is_late(const struct task *t); /* past its deadline */
bool task_is_done(const struct task *t);
bool task_has_failed(const struct task *t); /* done, with an error */
const char *task_state(const struct task *t);
/* [-0, +n, m] Copies the results (n of them) or the error (n = 1) of a done task; marks the error as seen. */
int task_push_results(lua_State *L, struct task *t);
/* Told once when the task ends; no Lua in there. Embedded in whoever watches; list_remove(&w->node) ends it early. */
struct task_watch {
    struct list node;
    void (*on_end)(struct task_watch *w);
};
void task_watch(struct task *t, struct task_watch *w, void (*on_end)(struct task_watch *w));

/* The limits of the running task, saved and restored by the scopes of api/ltask.c. */
struct task_limits {
    int64_t deadline_us; /* monotonic; 0: none */
    int shields;
};
struct task_limits task_limits_get(const struct task *t);
void task_limits_set(struct task *t, struct task_limits limits);

/* Runs every task that was ready when it began, once. The only place where tasks are resumed. */
void tasks_drain(struct tasks *ts);
bool tasks_any_ready(const struct tasks *ts);
size_t tasks_live(const struct tasks *ts);
/* How long a task may compute without waiting. */
void tasks_set_slice(struct tasks *ts, int64_t slice_ms);
void tasks_cancel_all(struct tasks *ts, const char *reason);
/* Ends what is left: pending `__close` handlers run, but cannot wait any more. Nothing can be spawned from then on. */
void tasks_kill_all(struct tasks *ts);

#endif
