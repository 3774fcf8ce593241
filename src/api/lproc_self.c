/*
 * lproc_self.c - the part of perilune.sys.proc that is about this process: its identity, environment, standard
 * descriptors, and signals.
 *
 * The reader of standard input is an upvalue of the functions, not a global: what it has read ahead lives as long as
 * the Lua state.
 */
#include "lproc.h"

#include "../io/console.h"
#include "../io/loop.h"
#include "../io/owner.h"
#include "../script/args.h"
#include "../script/host.h"
#include "../script/task.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define CONSOLE_TYPE "perilune.proc.console"
#define CONSOLE_WAIT_TYPE "perilune.proc.console.wait"
#define SIGNALS_TYPE "perilune.proc.signals"

/* self() -> owner | nil, err */
static int f_self(lua_State *L)
{
    char owner[OWNER_BYTES];
    struct err_info info;
    if (owner_self(owner, &info) != ERR_OK)
        return args_fail(L, &info);
    lua_pushstring(L, owner);
    return 1;
}

/* is_alive(owner) -> boolean */
static int f_is_alive(lua_State *L)
{
    lua_pushboolean(L, owner_is_alive(luaL_checkstring(L, 1)));
    return 1;
}

/* env(name) -> value | nil */
static int f_env(lua_State *L)
{
    lua_pushstring(L, getenv(luaL_checkstring(L, 1)));
    return 1;
}

static int check_fd(lua_State *L, int min)
{
    lua_Integer fd = luaL_checkinteger(L, 1);
    luaL_argcheck(L, fd >= min && fd <= STDERR_FILENO, 1, "not a standard descriptor");
    return (int)fd;
}

/* is_tty(fd) -> boolean */
static int f_is_tty(lua_State *L)
{
    lua_pushboolean(L, isatty(check_fd(L, STDIN_FILENO)));
    return 1;
}

/* columns(fd) -> integer | nil when it is no terminal */
static int f_columns(lua_State *L)
{
    struct winsize size;
    if (ioctl(check_fd(L, STDIN_FILENO), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        lua_pushinteger(L, size.ws_col);
    else
        lua_pushnil(L);
    return 1;
}

/* write(1 | 2, text) -> true | nil, err */
static int f_write(lua_State *L)
{
    struct slice text;
    struct err_info info;
    int fd = check_fd(L, STDOUT_FILENO);
    text.p = luaL_checklstring(L, 2, &text.n);
    if (console_write(fd, text, &info) != ERR_OK)
        return args_fail(L, &info);
    lua_pushboolean(L, 1);
    return 1;
}

/* Standard input. The console is the functions' upvalue; a wait for it is owned by a to-be-closed slot. */

struct input { /* owned by the module */
    struct console *console;
    struct waiter waiter;
};

typedef enum console_state (*read_fn)(struct console *c, struct slice *out, struct err_info *info);
static const read_fn readers[] = {console_line, console_rest};

static struct input *get_input(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static int mm_input_gc(lua_State *L)
{
    struct input *input = luaL_checkudata(L, 1, CONSOLE_TYPE);
    if (input->console)
        console_free(input->console);
    input->console = NULL;
    return 0;
}

static int mm_input_wait_close(lua_State *L)
{
    struct input **wait = luaL_checkudata(L, 1, CONSOLE_WAIT_TYPE);
    if ((*wait)->console)
        console_stop((*wait)->console);
    return 0;
}

static void on_input(void *user)
{
    struct input *input = user;
    task_wake(&input->waiter);
}

static int input_k(lua_State *L, int status, lua_KContext reader);

static int read_input(lua_State *L, lua_KContext reader, bool has_slot)
{
    struct input *input = get_input(L);
    struct slice out;
    struct err_info info;
    if (console_is_waiting(input->console))
        return luaL_error(L, "busy: another task already reads standard input");
    switch (readers[reader](input->console, &out, &info)) {
    case CONSOLE_READY:
        lua_pushlstring(L, out.p, out.n);
        return 1;
    case CONSOLE_END:
        lua_pushnil(L);
        return 1;
    case CONSOLE_FAILED:
        return args_fail(L, &info);
    case CONSOLE_WAIT:
        break;
    }
    struct waiter waiter = task_waiter(L);
    if (!has_slot) {
        struct input **wait = lua_newuserdatauv(L, sizeof *wait, 0);
        *wait = input;
        luaL_setmetatable(L, CONSOLE_WAIT_TYPE);
        lua_toclose(L, -1);
    }
    input->waiter = waiter;
    host_of(L)->interrupts = 0;
    if (console_wait(input->console, on_input, input, &info) != ERR_OK)
        return args_fail(L, &info);
    return task_wait(L, reader, input_k);
}

static int input_k(lua_State *L, int status, lua_KContext reader)
{
    UNUSED(status);
    task_woken(L);
    return read_input(L, reader, true);
}

/* read_line() -> line | nil at the end | nil, err */
static int f_read_line(lua_State *L)
{
    return read_input(L, 0, false);
}

/* read_stdin() -> text | nil, err */
static int f_read_stdin(lua_State *L)
{
    return read_input(L, 1, false);
}

/* Signals of the process, for the one script that asked for them. */

struct signals {
    struct host *host; /* NULL: closed */
    struct waiter waiter;
    unsigned pending;  /* bits by position in `names` */
};

static const struct {
    int number;
    const char *name;
} names[] = {{SIGHUP, "HUP"}, {SIGINT, "INT"}, {SIGTERM, "TERM"}};
#define NAME_COUNT (sizeof names / sizeof *names)

static void on_signal(void *user, int signum)
{
    struct signals *s = user;
    for (unsigned i = 0; i < NAME_COUNT; i++)
        if (names[i].number == signum)
            s->pending |= 1u << i;
    task_wake(&s->waiter);
}

/* signals() -> signals */
static int f_signals(lua_State *L)
{
    struct host *h = host_of(L);
    task_must_run(L);
    if (h->on_signal)
        return luaL_error(L, "busy: another task already takes the signals of this process");
    struct signals *s = lua_newuserdatauv(L, sizeof *s, 0);
    *s = (struct signals){.host = h};
    luaL_setmetatable(L, SIGNALS_TYPE);
    h->on_signal = on_signal;
    h->on_signal_user = s;
    return 1;
}

static int signals_k(lua_State *L, int status, lua_KContext ctx);

static int next_signal(lua_State *L)
{
    struct signals *s = luaL_checkudata(L, 1, SIGNALS_TYPE);
    luaL_argcheck(L, s->host, 1, "closed");
    for (unsigned i = 0; i < NAME_COUNT; i++) {
        if (s->pending & 1u << i) {
            s->pending &= ~(1u << i);
            lua_pushstring(L, names[i].name);
            return 1;
        }
    }
    if (s->waiter.tasks)
        return luaL_error(L, "busy: another task already waits for signals");
    s->waiter = task_waiter(L);
    loop_ref(host_of(L)->loop); /* a signal may come although nothing else can happen */
    return task_wait(L, 0, signals_k);
}

static int signals_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(status);
    UNUSED(ctx);
    ((struct signals *)lua_touserdata(L, 1))->waiter.tasks = NULL;
    loop_unref(host_of(L)->loop);
    task_woken(L);
    return next_signal(L);
}

/* signals:wait() -> "HUP" | "INT" | "TERM" */
static int m_signals_wait(lua_State *L)
{
    lua_settop(L, 1);
    return next_signal(L);
}

/* From then on signals do again what they usually do. */
static int mm_signals_close(lua_State *L)
{
    struct signals *s = luaL_checkudata(L, 1, SIGNALS_TYPE);
    if (s->host) {
        s->host->on_signal = NULL;
        s->host = NULL;
        task_wake(&s->waiter);
    }
    return 0;
}

static const luaL_Reg signals_methods[] = {{"wait", m_signals_wait}, {"close", mm_signals_close}, {NULL, NULL}};
static const luaL_Reg signals_metamethods[] = {{"__close", mm_signals_close}, {"__gc", mm_signals_close}, {NULL, NULL}};

static const luaL_Reg functions[] = {
    {"self", f_self},           {"is_alive", f_is_alive},     {"env", f_env},
    {"is_tty", f_is_tty},       {"columns", f_columns},       {"write", f_write},
    {"read_line", f_read_line}, {"read_stdin", f_read_stdin}, {"signals", f_signals},
    {NULL, NULL},
};

static const luaL_Reg no_methods[] = {{NULL, NULL}};
static const luaL_Reg input_metamethods[] = {{"__gc", mm_input_gc}, {NULL, NULL}};
static const luaL_Reg input_wait_metamethods[] = {{"__close", mm_input_wait_close}, {NULL, NULL}};

void lproc_self_install(lua_State *L)
{
    args_new_type(L, CONSOLE_TYPE, no_methods, input_metamethods);
    args_new_type(L, CONSOLE_WAIT_TYPE, no_methods, input_wait_metamethods);
    args_new_type(L, SIGNALS_TYPE, signals_methods, signals_metamethods);
    lua_pop(L, 3);
    struct input *input = lua_newuserdatauv(L, sizeof *input, 0);
    *input = (struct input){.console = NULL};
    luaL_setmetatable(L, CONSOLE_TYPE);
    input->console = console_new(host_of(L)->loop, STDIN_FILENO);
    luaL_setfuncs(L, functions, 1);
}
