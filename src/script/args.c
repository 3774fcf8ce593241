/*
 * args.c - option tables and error objects for bindings. Every function here may raise, so callers
 * check their arguments before they acquire anything.
 */
#include "args.h"

#include <math.h>
#include <string.h>

#define NAME_MAX_BYTES 64

/* Error objects */

/* __tostring: "timeout: no data for 30 s (openai/gpt-4o)" */
static int mm_error_tostring(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_getfield(L, 1, "kind");
    lua_getfield(L, 1, "message");
    const char *kind = lua_tostring(L, 2), *message = lua_tostring(L, 3);
    lua_pushfstring(L, "%s: %s", kind ? kind : "error", message ? message : "no message");
    return 1;
}

void args_push_error_metatable(lua_State *L)
{
    if (luaL_newmetatable(L, "perilune.error")) {
        lua_pushcfunction(L, mm_error_tostring);
        lua_setfield(L, -2, "__tostring");
    }
}

void args_push_error(lua_State *L, const struct err_info *info)
{
    luaL_checkstack(L, 4, "error object");
    lua_createtable(L, 0, 4);
    lua_pushstring(L, err_kind(info->code));
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, err_code(info->code));
    lua_setfield(L, -2, "code");
    lua_pushstring(L, info->text);
    lua_setfield(L, -2, "message");
    if (info->os_errno) {
        lua_pushinteger(L, info->os_errno);
        lua_setfield(L, -2, "os_errno");
    }
    args_push_error_metatable(L);
    lua_setmetatable(L, -2);
}

int args_fail(lua_State *L, const struct err_info *info)
{
    lua_pushnil(L);
    args_push_error(L, info);
    return 2;
}

bool args_is_error(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index))
        return false;
    args_push_error_metatable(L);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

/* Options */

static int type_error(lua_State *L, const char *name, const char *expected)
{
    return luaL_error(L, "option '%s': expected %s, got %s", name, expected, luaL_typename(L, -1));
}

/* [-0, +1, m] Raw: what a metamethod made up would be held by nobody. Returns the type. */
static int push_field(lua_State *L, int index, const char *name)
{
    index = lua_absindex(L, index);
    lua_pushstring(L, name);
    return lua_rawget(L, index);
}

bool opt_string(lua_State *L, int index, const char *name, struct slice *out)
{
    int type = push_field(L, index, name);
    if (type == LUA_TNIL) {
        lua_pop(L, 1);
        return false;
    }
    if (type != LUA_TSTRING)
        type_error(L, name, "string");
    out->p = lua_tolstring(L, -1, &out->n);
    lua_pop(L, 1); /* the table still holds it */
    return true;
}

bool opt_integer(lua_State *L, int index, const char *name, lua_Integer min, lua_Integer max, lua_Integer *out)
{
    if (push_field(L, index, name) == LUA_TNIL) {
        lua_pop(L, 1);
        return false;
    }
    int is_integer;
    lua_Integer value = lua_tointegerx(L, -1, &is_integer);
    if (!is_integer || lua_type(L, -1) != LUA_TNUMBER)
        type_error(L, name, "integer");
    if (value < min || value > max)
        luaL_error(L, "option '%s': %I is not between %I and %I", name, (LUAI_UACINT)value, (LUAI_UACINT)min,
                   (LUAI_UACINT)max);
    *out = value;
    lua_pop(L, 1);
    return true;
}

bool opt_seconds(lua_State *L, int index, const char *name, int64_t *out_ms)
{
    int type = push_field(L, index, name);
    if (type == LUA_TNIL) {
        lua_pop(L, 1);
        return false;
    }
    if (type != LUA_TNUMBER)
        type_error(L, name, "seconds (a number)");
    lua_Number seconds = lua_tonumber(L, -1);
    if (!(seconds > 0) || seconds > 1e9)
        luaL_error(L, "option '%s': %f is not a duration in seconds (more than 0, at most 1e9)", name, seconds);
    *out_ms = (int64_t)ceil(seconds * 1000);
    lua_pop(L, 1);
    return true;
}

bool opt_bool(lua_State *L, int index, const char *name, bool *out)
{
    int type = push_field(L, index, name);
    if (type == LUA_TNIL) {
        lua_pop(L, 1);
        return false;
    }
    if (type != LUA_TBOOLEAN)
        type_error(L, name, "boolean");
    *out = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return true;
}

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

size_t args_distance(const char *a, const char *b)
{
    size_t rows[2][NAME_MAX_BYTES + 1];
    size_t an = strlen(a), bn = strlen(b);
    if (an > NAME_MAX_BYTES || bn > NAME_MAX_BYTES)
        return NAME_MAX_BYTES;
    for (size_t j = 0; j <= bn; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= an; i++) {
        size_t *above = rows[(i - 1) & 1], *row = rows[i & 1];
        row[0] = i;
        for (size_t j = 1; j <= bn; j++)
            row[j] = smallest(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
    }
    return rows[an & 1][bn];
}

static const char *nearest(const char *word, const char *const names[])
{
    const char *best = NULL;
    size_t best_distance = strlen(word) / 3 + 2;
    for (size_t i = 0; names[i]; i++) {
        size_t d = args_distance(word, names[i]);
        if (d < best_distance) {
            best = names[i];
            best_distance = d;
        }
    }
    return best;
}

static bool is_one_of(const char *word, const char *const names[])
{
    for (size_t i = 0; names[i]; i++)
        if (strcmp(word, names[i]) == 0)
            return true;
    return false;
}

void opt_only(lua_State *L, int index, const char *const names[])
{
    index = lua_absindex(L, index);
    luaL_checktype(L, index, LUA_TTABLE);
    if (luaL_getmetafield(L, index, "__index") != LUA_TNIL)
        luaL_error(L, "options are a plain table: one with __index was given");
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "options are named: a table with the key %s was given", luaL_tolstring(L, -2, NULL));
        const char *key = lua_tostring(L, -2);
        if (is_one_of(key, names))
            continue;
        const char *better = nearest(key, names);
        if (better)
            luaL_error(L, "unknown option '%s', did you mean '%s'?", key, better);
        luaL_error(L, "unknown option '%s'", key);
    }
}

void args_new_type(lua_State *L, const char *name, const luaL_Reg *methods, const luaL_Reg *metamethods)
{
    luaL_newmetatable(L, name);
    luaL_setfuncs(L, metamethods, 0);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
}
