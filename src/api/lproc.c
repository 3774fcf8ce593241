/*
 * lproc.c - perilune.sys.proc: child processes for tasks. What is about this process itself is in lproc_self.c. No
 * shell and no search for commands beyond PATH.
 *
 * A child does not inherit the environment, where the API keys are: without `env` it gets a short list of names.
 */
#include "../base/limits.h"
#include "../io/proc.h"
#include "../script/args.h"
#include "../script/host.h"
#include "../script/task.h"
#include "api.h"
#include "lproc.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUN_TYPE "perilune.proc.run"
#define CHILD_TYPE "perilune.proc.child"

/* Options. What they point to stays on the stack above the table until the function returns. */

static const char *check_text(lua_State *L, int index, const char *what)
{
    size_t n;
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "%s: expected string, got %s", what, luaL_typename(L, index));
    const char *text = lua_tolstring(L, index, &n);
    if (strlen(text) != n)
        luaL_error(L, "%s: a NUL byte inside", what);
    return text;
}

static const char **push_pointers(lua_State *L, size_t n)
{
    if (n > PROC_ARGS_MAX)
        luaL_error(L, "more than %d arguments or variables", PROC_ARGS_MAX);
    const char **pointers = lua_newuserdatauv(L, (n + 1) * sizeof *pointers, 0);
    pointers[n] = NULL;
    return pointers;
}

/* [-0, +2, e] */
static const char *const *push_argv(lua_State *L)
{
    if (lua_getfield(L, 1, "argv") != LUA_TTABLE)
        luaL_error(L, "option 'argv': expected a list of strings, got %s", luaL_typename(L, -1));
    size_t n = lua_rawlen(L, -1);
    if (n == 0)
        luaL_error(L, "option 'argv': the program is missing");
    const char **argv = push_pointers(L, n);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, -2, (lua_Integer)i + 1);
        argv[i] = check_text(L, -1, "option 'argv'");
        lua_pop(L, 1); /* the list still holds it */
    }
    return argv;
}

/* [-0, +1, m] The list of "NAME=value" that a child gets without `env`. */
static void push_default_variables(lua_State *L)
{
    static const char *const kept[] = {"PATH", "HOME",   "USER",     "LOGNAME", "SHELL", "TERM",
                                       "LANG", "LC_ALL", "LC_CTYPE", "TZ",      "TMPDIR"};
    lua_Integer n = 0;
    lua_newtable(L);
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        const char *value = getenv(kept[i]);
        if (!value)
            continue;
        lua_pushfstring(L, "%s=%s", kept[i], value);
        lua_rawseti(L, -2, ++n);
    }
}

/* [-1, +1, e] Turns the table {NAME = value} on top into such a list. */
static void to_variables(lua_State *L)
{
    lua_Integer n = 0;
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, -3); lua_pop(L, 1)) {
        const char *name = check_text(L, -2, "option 'env', name");
        const char *value = check_text(L, -1, "option 'env', value");
        if (!*name || strchr(name, '='))
            luaL_error(L, "option 'env': '%s' is not a name", name);
        lua_pushfstring(L, "%s=%s", name, value);
        lua_rawseti(L, -4, ++n);
    }
    lua_remove(L, -2);
}

/* [-0, +2, e] */
static const char *const *push_env(lua_State *L)
{
    int type = lua_getfield(L, 1, "env");
    if (type == LUA_TNIL) {
        lua_pop(L, 1);
        push_default_variables(L);
    } else if (type == LUA_TTABLE) {
        to_variables(L);
    } else {
        luaL_error(L, "option 'env': expected table, got %s", luaL_typename(L, -1));
    }
    size_t n = lua_rawlen(L, -1);
    const char **env = push_pointers(L, n);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, -2, (lua_Integer)i + 1);
        env[i] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    return env;
}

/* [-0, +4, e] The options that run and start share. */
static void push_options(lua_State *L, struct proc_options *o)
{
    struct slice cwd;
    lua_Integer out_bytes = PROC_OUT_BYTES_MAX;
    o->argv = push_argv(L);
    o->env = push_env(L);
    opt_integer(L, 1, "out_bytes", 1, INT_MAX, &out_bytes);
    o->out_bytes_max = (size_t)out_bytes;
    if (opt_string(L, 1, "cwd", &cwd)) {
        if (strlen(cwd.p) != cwd.n)
            luaL_error(L, "option 'cwd': a NUL byte inside");
        o->cwd = cwd.p;
    }
}

/* [-0, +0, m] Adds `status` or `signal` to the table on top. */
static void set_status(lua_State *L, const struct proc *p)
{
    struct proc_status status;
    proc_has_exited(p, &status);
    if (status.signum) {
        lua_pushstring(L, proc_signal_name(status.signum));
        lua_setfield(L, -2, "signal");
    } else {
        lua_pushinteger(L, status.code);
        lua_setfield(L, -2, "status");
    }
}

/* run: one call, one child */

struct run { /* owned by the call's to-be-closed slot */
    struct proc *proc;
    struct waiter waiter;
    int64_t timeout_ms;
};

static int mm_run_close(lua_State *L)
{
    struct run *run = luaL_checkudata(L, 1, RUN_TYPE);
    struct proc *p = run->proc;
    run->proc = NULL;
    if (p)
        proc_close(p);
    return 0;
}

static void on_run_event(void *user, enum proc_event event)
{
    UNUSED(event);
    struct run *run = user;
    if (proc_is_done(run->proc))
        task_wake(&run->waiter);
}

/* [-0, +1, m] */
static void push_outputs(lua_State *L, const struct proc *p)
{
    struct slice out = proc_output(p, STDOUT_FILENO), err = proc_output(p, STDERR_FILENO);
    lua_createtable(L, 0, 4);
    lua_pushlstring(L, out.p, out.n);
    lua_setfield(L, -2, "stdout");
    lua_pushlstring(L, err.p, err.n);
    lua_setfield(L, -2, "stderr");
    lua_pushboolean(L, proc_is_truncated(p));
    lua_setfield(L, -2, "truncated");
}

static int push_timeout(lua_State *L, const struct run *run)
{
    struct err_info info;
    err_set(&info, ERR_TIMEOUT, "process %d was killed: it did not end within %g s", (int)proc_pid(run->proc),
            (double)run->timeout_ms / 1e3);
    args_fail(L, &info);
    push_outputs(L, run->proc);
    lua_setfield(L, -2, "details");
    return 2;
}

static int run_k(lua_State *L, int status, lua_KContext run_index)
{
    UNUSED(status);
    task_woken(L);
    struct run *run = lua_touserdata(L, (int)run_index);
    if (!proc_is_done(run->proc)) {
        run->waiter = task_waiter(L);
        return task_wait(L, run_index, run_k);
    }
    if (proc_is_timed_out(run->proc))
        return push_timeout(L, run);
    push_outputs(L, run->proc);
    set_status(L, run->proc);
    return 1;
}

/* run{argv=, cwd=, env=, stdin=, timeout=, out_bytes=} -> {status, signal, stdout, stderr, truncated} | nil, err */
static int f_run(lua_State *L)
{
    static const char *const names[] = {"argv", "cwd", "env", "stdin", "timeout", "out_bytes", NULL};
    struct proc_options o = {.mode = PROC_COLLECT};
    struct slice input = {NULL, 0};
    struct err_info info;
    lua_settop(L, 1);
    opt_only(L, 1, names);
    push_options(L, &o);
    o.has_input = opt_string(L, 1, "stdin", &input);
    opt_seconds(L, 1, "timeout", &o.timeout_ms);

    struct run *run = lua_newuserdatauv(L, sizeof *run, 0);
    *run = (struct run){.timeout_ms = o.timeout_ms};
    luaL_setmetatable(L, RUN_TYPE);
    lua_toclose(L, -1);
    run->waiter = task_waiter(L);
    if (proc_open(&run->proc, host_of(L)->loop, &o, on_run_event, run, &info) != ERR_OK)
        return args_fail(L, &info);
    if (o.has_input) {
        if (proc_write(run->proc, input, &info) != ERR_OK)
            return args_fail(L, &info);
        proc_end_input(run->proc);
    }
    return task_wait(L, lua_gettop(L), run_k);
}

/* start: a child that lives beside the script */

struct child {                /* owned by the script */
    struct proc *proc;        /* NULL: closed */
    struct waiter waiters[4]; /* one for each enum proc_event */
};

static struct child *check_child(lua_State *L)
{
    return luaL_checkudata(L, 1, CHILD_TYPE);
}

static int fail_closed(lua_State *L, const char *text)
{
    struct err_info info;
    err_set(&info, ERR_CLOSED, "%s", text);
    return args_fail(L, &info);
}

static void on_child_event(void *user, enum proc_event event)
{
    struct child *c = user;
    task_wake(&c->waiters[event]);
}

static int wait_for(lua_State *L, struct child *c, enum proc_event event, lua_KContext ctx, lua_KFunction k)
{
    if (c->waiters[event].tasks)
        return luaL_error(L, "busy: another task already waits for this of the child process");
    c->waiters[event] = task_waiter(L);
    return task_wait(L, ctx, k);
}

static struct child *woken(lua_State *L, enum proc_event event)
{
    struct child *c = lua_touserdata(L, 1);
    c->waiters[event].tasks = NULL; /* a cancelled wait leaves it set */
    task_woken(L);
    return c;
}

static int read_k(lua_State *L, int status, lua_KContext fd);

static int read_step(lua_State *L, struct child *c, int fd)
{
    if (!c->proc)
        return fail_closed(L, "the child process is closed");
    struct slice out = proc_output(c->proc, fd);
    if (out.n) {
        lua_pushlstring(L, out.p, out.n);
        proc_consume(c->proc, fd, out.n);
        return 1;
    }
    if (proc_is_at_end(c->proc, fd)) {
        lua_pushnil(L);
        return 1;
    }
    return wait_for(L, c, fd == STDOUT_FILENO ? PROC_OUTPUT : PROC_ERROR_OUTPUT, fd, read_k);
}

static int read_k(lua_State *L, int status, lua_KContext fd)
{
    UNUSED(status);
    struct child *c = woken(L, fd == STDOUT_FILENO ? PROC_OUTPUT : PROC_ERROR_OUTPUT);
    return read_step(L, c, (int)fd);
}

/* child:read("stdout" | "stderr") -> bytes | nil at the end | nil, err */
static int m_read(lua_State *L)
{
    static const char *const names[] = {"stdout", "stderr", NULL};
    struct child *c = check_child(L);
    int fd = STDOUT_FILENO + luaL_checkoption(L, 2, "stdout", names);
    lua_settop(L, 1);
    return read_step(L, c, fd);
}

static int write_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(status);
    struct child *c = woken(L, PROC_INPUT);
    if (!c->proc || !proc_can_write(c->proc))
        return fail_closed(L, "the child process does not read its standard input any more");
    if (proc_is_writing(c->proc))
        return wait_for(L, c, PROC_INPUT, ctx, write_k);
    lua_pushboolean(L, 1);
    return 1;
}

/* child:write(bytes) -> true | nil, err; waits until the pipe has taken them */
static int m_write(lua_State *L)
{
    struct slice bytes;
    struct err_info info;
    struct child *c = check_child(L);
    bytes.p = luaL_checklstring(L, 2, &bytes.n);
    if (!c->proc)
        return fail_closed(L, "the child process is closed");
    if (proc_write(c->proc, bytes, &info) != ERR_OK)
        return args_fail(L, &info);
    if (proc_is_writing(c->proc))
        return wait_for(L, c, PROC_INPUT, 0, write_k);
    lua_pushboolean(L, 1);
    return 1;
}

/* child:close_stdin(): the child reads the end of its input */
static int m_close_stdin(lua_State *L)
{
    struct child *c = check_child(L);
    if (c->proc)
        proc_end_input(c->proc);
    return 0;
}

static int wait_k(lua_State *L, int status, lua_KContext ctx);

static int wait_step(lua_State *L, struct child *c)
{
    if (!c->proc)
        return fail_closed(L, "the child process is closed");
    if (!proc_has_exited(c->proc, NULL))
        return wait_for(L, c, PROC_EXIT, 0, wait_k);
    lua_createtable(L, 0, 1);
    set_status(L, c->proc);
    return 1;
}

static int wait_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(status);
    UNUSED(ctx);
    return wait_step(L, woken(L, PROC_EXIT));
}

/* child:wait() -> {status, signal} | nil, err */
static int m_wait(lua_State *L)
{
    return wait_step(L, check_child(L));
}

/* child:kill(name?) -> true | nil, err */
static int m_kill(lua_State *L)
{
    struct child *c = check_child(L);
    int signum = proc_signum(luaL_optstring(L, 2, "TERM"));
    luaL_argcheck(L, signum, 2, "not the name of a signal (\"TERM\", \"KILL\", \"INT\", \"HUP\", ...)");
    if (!c->proc)
        return fail_closed(L, "the child process is closed");
    proc_signal(c->proc, signum);
    lua_pushboolean(L, 1);
    return 1;
}

/* child:pid() -> integer | nil, err */
static int m_pid(lua_State *L)
{
    struct child *c = check_child(L);
    if (!c->proc)
        return fail_closed(L, "the child process is closed");
    lua_pushinteger(L, proc_pid(c->proc));
    return 1;
}

static int m_close(lua_State *L)
{
    struct child *c = check_child(L);
    struct proc *p = c->proc;
    c->proc = NULL;
    if (p)
        proc_close(p);
    for (size_t i = 0; i < ARRAY_LEN(c->waiters); i++)
        task_wake(&c->waiters[i]);
    return 0;
}

/* start{argv=, cwd=, env=, out_bytes=} -> child | nil, err */
static int f_start(lua_State *L)
{
    static const char *const names[] = {"argv", "cwd", "env", "out_bytes", NULL};
    struct proc_options o = {.mode = PROC_STREAM, .has_input = true};
    task_must_run(L); /* in a finalizer while the state is closed nobody would close it */
    struct err_info info;
    lua_settop(L, 1);
    opt_only(L, 1, names);
    push_options(L, &o);
    struct child *c = lua_newuserdatauv(L, sizeof *c, 0);
    *c = (struct child){0};
    luaL_setmetatable(L, CHILD_TYPE);
    if (proc_open(&c->proc, host_of(L)->loop, &o, on_child_event, c, &info) != ERR_OK)
        return args_fail(L, &info);
    return 1;
}

static const luaL_Reg functions[] = {{"run", f_run}, {"start", f_start}, {NULL, NULL}};

static const luaL_Reg methods[] = {
    {"read", m_read},   {"write", m_write}, {"close_stdin", m_close_stdin},
    {"wait", m_wait},   {"kill", m_kill},   {"pid", m_pid},
    {"close", m_close}, {NULL, NULL},
};

static const luaL_Reg no_methods[] = {{NULL, NULL}};
static const luaL_Reg run_metamethods[] = {{"__close", mm_run_close}, {"__gc", mm_run_close}, {NULL, NULL}};
static const luaL_Reg child_metamethods[] = {{"__close", m_close}, {"__gc", m_close}, {NULL, NULL}};

int luaopen_perilune_sys_proc(lua_State *L)
{
    args_new_type(L, RUN_TYPE, no_methods, run_metamethods);
    args_new_type(L, CHILD_TYPE, methods, child_metamethods);
    lua_pop(L, 2);
    luaL_newlib(L, functions);
    lproc_self_install(L);
    return 1;
}
