/*
 * lclock.c - perilune.sys.clock: the host's clock, in seconds. No sleeping here: that is a task's wait (sys.task).
 */
#include "../base/date.h"
#include "../script/args.h"
#include "../script/host.h"
#include "api.h"

/* wall() -> seconds since 1970 */
static int f_wall(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)clock_wall_us(host_of(L)->clock) / 1e6);
    return 1;
}

/* mono() -> seconds from an arbitrary start */
static int f_mono(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)clock_mono_us(host_of(L)->clock) / 1e6);
    return 1;
}

/* iso(seconds?) -> "2026-01-02T03:04:05Z" */
static int f_iso(lua_State *L)
{
    char text[DATE_ISO_BYTES];
    int64_t us = clock_wall_us(host_of(L)->clock);
    if (!lua_isnoneornil(L, 1)) {
        lua_Number seconds = luaL_checknumber(L, 1);
        luaL_argcheck(L, seconds >= 0 && seconds <= (lua_Number)DATE_SECONDS_MAX, 1,
                      "not within the years 1970 to 9999");
        us = (int64_t)(seconds * 1e6);
    }
    date_iso(us, false, text);
    lua_pushstring(L, text);
    return 1;
}

/* parse_http_date(text) -> seconds | nil, err */
static int f_parse_http_date(lua_State *L)
{
    struct slice text;
    struct err_info info;
    int64_t seconds;
    text.p = luaL_checklstring(L, 1, &text.n);
    if (!date_parse_http(text, clock_wall_us(host_of(L)->clock) / 1000000, &seconds)) {
        err_set(&info, ERR_INVALID, "not an HTTP date: %.60s", text.p);
        return args_fail(L, &info);
    }
    lua_pushinteger(L, seconds);
    return 1;
}

/* advance(seconds): for tests */
static int f_advance(lua_State *L)
{
    lua_Number seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds >= 0 && seconds <= 1e9, 1, "time moves forward only, by at most 1e9 s");
    __atomic_fetch_add(&host_of(L)->clock->offset_us, (int64_t)(seconds * 1e6), __ATOMIC_RELAXED);
    return 0;
}

static const luaL_Reg functions[] = {
    {"wall", f_wall},       {"mono", f_mono}, {"iso", f_iso}, {"parse_http_date", f_parse_http_date},
    {"advance", f_advance}, {NULL, NULL},
};

int luaopen_perilune_sys_clock(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
