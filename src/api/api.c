/*
 * api.c - the table of C modules.
 */
#include "api.h"

#include "../base/base.h"

#include <lauxlib.h>
#include <lua-cjson.h>

extern int luaopen_cjson_safe(lua_State *L); /* in the library, not in its header */

static const luaL_Reg modules[] = {
    {"perilune.sys.clock", luaopen_perilune_sys_clock},
    {"perilune.sys.failover", luaopen_perilune_sys_failover},
    {"perilune.sys.fetch", luaopen_perilune_sys_fetch},
    {"perilune.sys.fs", luaopen_perilune_sys_fs},
    {"perilune.sys.json", luaopen_perilune_sys_json},
    {"perilune.sys.log", luaopen_perilune_sys_log},
    {"perilune.sys.proc", luaopen_perilune_sys_proc},
    {"perilune.sys.serve", luaopen_perilune_sys_serve},
    {"perilune.sys.store", luaopen_perilune_sys_store},
    {"perilune.sys.task", luaopen_perilune_sys_task},
    {"perilune.sys.token", luaopen_perilune_sys_token},
    /* For scripts that expect it; the host itself uses perilune.json. */
    {"cjson", luaopen_cjson},
    {"cjson.safe", luaopen_cjson_safe},
};

void api_install(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    for (size_t i = 0; i < ARRAY_LEN(modules); i++) {
        lua_pushcfunction(L, modules[i].func);
        lua_setfield(L, -2, modules[i].name);
    }
    lua_pop(L, 1);
}
