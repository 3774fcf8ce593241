/*
 * args.h - what every binding needs: option tables that reject unknown keys, and error objects.
 *
 * Misuse raises (luaL_error and friends). Operational failure returns nil and an error object: a table
 * {kind, code, message, ...} with the metatable `perilune.error`.
 */
#ifndef PERILUNE_ARGS_H
#define PERILUNE_ARGS_H

#include <lauxlib.h>
#include <lua.h>

#include "../base/buf.h"
#include "../base/err.h"

/* [-0, +2, m] Pushes nil and the error object for `info`; returns 2, so `return args_fail(L, &info)`. */
int args_fail(lua_State *L, const struct err_info *info);
/* [-0, +1, m] Pushes only the error object. */
void args_push_error(lua_State *L, const struct err_info *info);
/* [-0, +1, m] Pushes the metatable of error objects. */
void args_push_error_metatable(lua_State *L);
/* [-0, +0, m] Is the value an error object? */
bool args_is_error(lua_State *L, int index);

/* Options. `index` is the table. Each opt_* reads one field, checks its type (raises "option 'x': expected
 * number, got string") and leaves the stack as it was. Slices stay valid while the table holds the string. */
bool opt_string(lua_State *L, int index, const char *name, struct slice *out);      /* false: absent */
bool opt_integer(lua_State *L, int index, const char *name, lua_Integer min, lua_Integer max, lua_Integer *out);
bool opt_seconds(lua_State *L, int index, const char *name, int64_t *out_ms);       /* seconds in Lua, ms in C; > 0 */
bool opt_bool(lua_State *L, int index, const char *name, bool *out);
/* Raises "unknown option 'temprature', did you mean 'temperature'?" unless every key is in the
 * NULL-terminated list. Also raises for a table with __index: fields are read raw. */
void opt_only(lua_State *L, int index, const char *const names[]);

/* Levenshtein's distance of two names, for "did you mean"; names above 64 bytes are far from everything. */
size_t args_distance(const char *a, const char *b);

/* [-0, +1, m] Pushes a new metatable for a userdata type: registers methods (in a separate __index table) and metamethods. */
void args_new_type(lua_State *L, const char *name, const luaL_Reg *methods, const luaL_Reg *metamethods);

#endif
