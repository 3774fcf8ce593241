/*
 * main.c - builds a host, runs boot.lua as the main task, tears the host down. The only file that exits,
 * and the only one that knows about signals.
 *
 * Exit codes: what boot.lua returns; 1 when it raised; 130 after Ctrl-C; 128 + 15 after SIGTERM.
 */
#include "api/api.h"
#include "base/limits.h"
#include "base/mem.h"
#include "failover/health.h"
#include "io/fetch.h"
#include "io/loop.h"
#include "script/args.h"
#include "script/host.h"
#include "script/state.h"
#include "script/task.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define SHUTDOWN_GRACE_MS 5000
#define SHUTDOWN_MEMORY_BYTES (64u << 20)

struct program {
    struct host host;
    struct state_budget budget;
    int argc;
    char **argv;
    int signum;      /* the signal that asked to stop, 0: none */
    int exit_code;
};

/* The first signal cancels what is in the foreground (or goes to the script that waits for signals), the second
 * everything, the third does not ask. */
static void on_signal(void *user, int signum)
{
    struct program *p = user;
    struct host *h = &p->host;
    if (h->on_signal && (signum == SIGHUP || h->interrupts == 0)) {
        h->interrupts += signum != SIGHUP;
        h->on_signal(h->on_signal_user, signum);
        return;
    }
    int count = ++h->interrupts;
    if (count >= 3)
        _exit(128 + signum);
    if (signum == SIGINT && count == 1 && h->foreground && !task_is_done(h->foreground)) {
        task_cancel(h->foreground, "user_requested");
        return;
    }
    p->signum = signum;
    task_cancel(h->main, signum == SIGINT ? "user_requested" : "shutdown");
}

/* [-0, +0, e] (program) Loads boot.lua and starts the main task: boot(version, argument...) */
static int f_start(lua_State *L)
{
    struct program *p = lua_touserdata(L, 1);
    api_install(L);
    lua_createtable(L, p->argc, 0);
    for (int i = 0; i < p->argc; i++) {
        lua_pushstring(L, p->argv[i]);
        lua_rawseti(L, -2, i);
    }
    lua_getglobal(L, "require");
    lua_pushliteral(L, "perilune.boot");
    lua_call(L, 1, 1);
    lua_insert(L, -2);
    lua_pushstring(L, p->host.version);
    p->host.main = task_spawn(L, 2); /* boot(arg, version) */
    return 0;
}

/* [-0, +0, m] (program) Reads what the main task left: an exit code, or an error to report. */
static int f_finish(lua_State *L)
{
    struct program *p = lua_touserdata(L, 1);
    bool has_failed = task_has_failed(p->host.main);
    lua_settop(L, 1);
    int n = task_push_results(L, p->host.main);
    if (!has_failed) {
        p->exit_code = n > 0 ? (int)luaL_optinteger(L, 2, 0) : 0;
    } else if (!p->signum) { /* boot.lua reports errors itself: this one came from the reporting */
        p->exit_code = 1;
        log_printf(p->host.log, LOG_ERROR, "script", "%s", luaL_tolstring(L, 2, NULL));
    }
    return 0;
}

static bool call(lua_State *L, lua_CFunction f, struct program *p)
{
    lua_pushcfunction(L, f);
    lua_pushlightuserdata(L, p);
    if (lua_pcall(L, 1, 0, 0) == LUA_OK)
        return true;
    const char *text = luaL_tolstring(L, -1, NULL);
    log_printf(p->host.log, LOG_ERROR, "script", "%s", text);
    lua_settop(L, 0);
    return false;
}

/* Steps until `t` is done, or until nothing could ever happen again. A script whose output goes nowhere is ended. */
static bool run_until_done(struct host *h, struct task *t)
{
    while (!task_is_done(t)) {
        tasks_drain(h->tasks);
        if (task_is_done(t))
            break;
        if (ferror(stdout))
            task_cancel(t, "shutdown");
        if (tasks_any_ready(h->tasks)) {
            loop_step(h->loop, LOOP_NOWAIT);
        } else if (loop_is_alive(h->loop)) {
            loop_step(h->loop, LOOP_WAIT);
        } else {
            log_printf(h->log, LOG_ERROR, "task", "every task waits for another one: nothing can happen any more");
            return false;
        }
    }
    return true;
}

static void on_grace_over(struct loop_timer *timer)
{
    UNUSED(timer); /* it only ends the step */
}

/* What is left gets a moment to write its last rows, and memory for that and for closing. */
static void wind_down(struct host *h)
{
    struct loop_timer grace = {0};
    int64_t until_ms = clock_mono_ms(h->clock) + SHUTDOWN_GRACE_MS, left_ms;
    h->budget->max_bytes = h->budget->used_bytes + SHUTDOWN_MEMORY_BYTES;
    while (tasks_live(h->tasks) && (left_ms = until_ms - clock_mono_ms(h->clock)) > 0) {
        tasks_cancel_all(h->tasks, "shutdown"); /* also what was started meanwhile */
        tasks_drain(h->tasks);
        if (!tasks_live(h->tasks) || (!tasks_any_ready(h->tasks) && !loop_is_alive(h->loop)))
            break;
        loop_timer_start(h->loop, &grace, left_ms, on_grace_over);
        loop_step(h->loop, tasks_any_ready(h->tasks) ? LOOP_NOWAIT : LOOP_WAIT);
        loop_timer_stop(h->loop, &grace);
    }
    tasks_kill_all(h->tasks);
}

/* Children that were killed, but have not gone yet. */
static void await_children(struct host *h)
{
    struct loop_timer limit = {0};
    int64_t until_ms = clock_mono_ms(h->clock) + PROC_END_MS, left_ms;
    while (loop_handles(h->loop) && (left_ms = until_ms - clock_mono_ms(h->clock)) > 0) {
        loop_timer_start(h->loop, &limit, left_ms, on_grace_over);
        loop_step(h->loop, LOOP_WAIT);
        loop_timer_stop(h->loop, &limit);
    }
}

static void tear_down(struct program *p)
{
    struct host *h = &p->host;
    if (h->foreground)
        task_unref(h->L, h->foreground);
    if (h->main)
        task_unref(h->L, h->main);
    lua_close(h->L);
    pool_deinit(&p->budget.pool);
    fetcher_free(h->fetcher);
    await_children(h);
    tasks_free(h->tasks);
    int left = loop_close(h->loop);
    health_free(h->health);
    if (left)
        log_printf(h->log, LOG_WARN, "loop", "%d handles were left open", left);
    log_free(h->log);
}

/* What scripts print goes through stdio, and print() does not say when that fails: the exit code does. 128 + SIGPIPE
 * without a word when nobody reads any more, as for every program in a pipe. */
static int output_code(struct host *h, int exit_code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return exit_code;
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    if (poll(&out, 1, 0) == 1 && (out.revents & POLLERR))
        return 128 + SIGPIPE;
    log_printf(h->log, LOG_ERROR, "script", "the output is not complete: standard output could not be written");
    return 1;
}

/* A host started with a standard descriptor closed would hand its number to a socket or the database. */
static void open_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

/* Two descriptors a conversation: the usual soft limit of 1024 would be a low ceiling. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool set_up(struct program *p)
{
    struct host *h = &p->host;
    struct err_info info;
    open_standard_descriptors();
    raise_descriptor_limit();
    signal(SIGPIPE, SIG_IGN);
    mallopt(M_MXFAST, 0); /* fast bins make the collector's big frees walk millions of chunks */
    h->version = PERILUNE_VERSION;
    h->lua_dir = getenv("PERILUNE_LUA");
    h->clock = clock_system();
    h->log = log_new(STDERR_FILENO, h->clock);
    if (loop_open(&h->loop, h->clock, &info) != ERR_OK) {
        log_printf(h->log, LOG_ERROR, "loop", "%s", info.text);
        return false;
    }
    h->fetcher = fetcher_new(h->loop, FETCH_POOL_CONNECTIONS);
    h->health = health_new(h->clock);
    h->tasks = tasks_new(h);
    h->budget = &p->budget;
    p->budget.max_bytes = SCRIPT_MEMORY_BYTES_MAX;
    h->L = state_new(h, &p->budget);
    if (!h->L)
        log_printf(h->log, LOG_ERROR, "script", "not enough memory for a Lua state");
    return h->L != NULL;
}

int main(int argc, char **argv)
{
    struct program p = {.argc = argc, .argv = argv, .exit_code = 1};
    struct host *h = &p.host;
    if (!set_up(&p))
        return 1;
    if (call(h->L, f_start, &p)) {
        loop_on_signal(h->loop, on_signal, &p);
        if (run_until_done(h, h->main))
            call(h->L, f_finish, &p);
    }
    wind_down(h);
    p.exit_code = output_code(h, p.exit_code);
    tear_down(&p);
    return p.signum ? 128 + p.signum : p.exit_code;
}
