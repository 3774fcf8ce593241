/*
 * llog.c - perilune.sys.log: the host's log for scripts. log.info and friends, and turning fields into JSON, are Lua.
 */
#include "../base/log.h"
#include "../script/args.h"
#include "../script/host.h"
#include "api.h"

#define SCRATCH_TYPE "perilune.log.scratch"

static const char *const levels[] = {"debug", "info", "warn", "error", "off", NULL};
static const char *const formats[] = {"text", "json", NULL};

static struct slice check_slice(lua_State *L, int arg)
{
    struct slice s;
    s.p = luaL_checklstring(L, arg, &s.n);
    return s;
}

/* A level that a line can have. */
static enum log_level check_line_level(lua_State *L, int arg)
{
    enum log_level level = (enum log_level)luaL_checkoption(L, arg, NULL, levels);
    luaL_argcheck(L, level != LOG_OFF, arg, "'off' is not the level of a line");
    return level;
}

/* write(level, area, message, fields_json?) */
static int f_write(lua_State *L)
{
    struct log *log = host_of(L)->log;
    enum log_level level = check_line_level(L, 1);
    const char *area = luaL_checkstring(L, 2);
    struct slice message = check_slice(L, 3), fields = {NULL, 0};
    if (!lua_isnoneornil(L, 4))
        fields = check_slice(L, 4);
    log_write(log, level, area, message, fields);
    return 0;
}

/* is_on(level) -> boolean */
static int f_is_on(lua_State *L)
{
    lua_pushboolean(L, log_is_on(host_of(L)->log, check_line_level(L, 1)));
    return 1;
}

/* set_level(level) */
static int f_set_level(lua_State *L)
{
    log_set_level(host_of(L)->log, (enum log_level)luaL_checkoption(L, 1, NULL, levels));
    return 0;
}

/* set_format("text" | "json", use_colour?) */
static int f_set_format(lua_State *L)
{
    enum log_format format = (enum log_format)luaL_checkoption(L, 1, NULL, formats);
    log_set_format(host_of(L)->log, format, lua_toboolean(L, 2));
    return 0;
}

/* secret(value) -> was it registered? */
static int f_secret(lua_State *L)
{
    struct slice value = check_slice(L, 1);
    lua_pushboolean(L, log_secret_add(host_of(L)->log, value.p, value.n));
    return 1;
}

static int mm_scratch_close(lua_State *L)
{
    buf_deinit(luaL_checkudata(L, 1, SCRATCH_TYPE));
    return 0;
}

/* redact(text) -> text */
static int f_redact(lua_State *L)
{
    struct slice text = check_slice(L, 1);
    struct buf *out = lua_newuserdatauv(L, sizeof *out, 0);
    buf_init(out, text.n + text.n / 4 + 16); /* a secret has at least 8 bytes, and its replacement 10 */
    luaL_setmetatable(L, SCRATCH_TYPE);
    lua_toclose(L, -1);
    enum err code = log_redact(host_of(L)->log, text, out);
    if (code != ERR_OK)
        return luaL_error(L, "log.redact: the result is longer than it can be");
    lua_pushlstring(L, out->p ? out->p : "", out->n);
    return 1;
}

static const luaL_Reg functions[] = {
    {"write", f_write},
    {"is_on", f_is_on},
    {"set_level", f_set_level},
    {"set_format", f_set_format},
    {"secret", f_secret},
    {"redact", f_redact},
    {NULL, NULL},
};

static const luaL_Reg no_methods[] = {{NULL, NULL}};
static const luaL_Reg scratch_metamethods[] = {{"__close", mm_scratch_close}, {"__gc", mm_scratch_close}, {NULL, NULL}};

int luaopen_perilune_sys_log(lua_State *L)
{
    args_new_type(L, SCRATCH_TYPE, no_methods, scratch_metamethods);
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
