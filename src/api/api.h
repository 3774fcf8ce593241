/*
 * api.h - the C modules that Lua sees: one file a module, `require "perilune.sys.<name>"`.
 */
#ifndef PERILUNE_API_H
#define PERILUNE_API_H

#include <lua.h>

/* [-0, +0, m] Puts every module into package.preload. Creates no globals. */
void api_install(lua_State *L);

int luaopen_perilune_sys_clock(lua_State *L);
int luaopen_perilune_sys_failover(lua_State *L);
int luaopen_perilune_sys_fetch(lua_State *L);
int luaopen_perilune_sys_fs(lua_State *L);
int luaopen_perilune_sys_json(lua_State *L);
int luaopen_perilune_sys_log(lua_State *L);
int luaopen_perilune_sys_proc(lua_State *L);
int luaopen_perilune_sys_serve(lua_State *L);
int luaopen_perilune_sys_store(lua_State *L);
int luaopen_perilune_sys_task(lua_State *L);
int luaopen_perilune_sys_token(lua_State *L);

#endif
