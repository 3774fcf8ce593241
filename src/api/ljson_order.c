/*
 * ljson_order.c - the order of an object's keys, for what is decoded to be encoded again in the same one.
 *
 * A table has no order, so its metatable holds one: where each key stood, in a table of its own, so that no key of a text
 * is ever taken for a metamethod. Objects with the same keys share it. Encode writes keys in byte order by itself: an
 * object whose keys came in that order has no metatable.
 */
#include "ljson.h"

#include <lauxlib.h>
#include <stdint.h>
#include <string.h>

static const char order_key; /* its address is where a metatable has the places: by key, and at 1 how many there are */

/* Is the key at the stack index i before the one at j, in byte order? */
static bool is_before(lua_State *L, int i, int j)
{
    size_t n, m;
    const char *p = lua_tolstring(L, i, &n), *q = lua_tolstring(L, j, &m);
    int order = memcmp(p, q, n < m ? n : m);
    return order < 0 || (order == 0 && n < m);
}

static bool are_in_byte_order(lua_State *L, int first, int count)
{
    for (int i = 1; i < count; i++)
        if (!is_before(L, first + 2 * (i - 1), first + 2 * i))
            return false;
    return true;
}

static lua_Integer fingerprint(lua_State *L, int first, int count)
{
    uint64_t print = 0;
    for (int i = 0; i < count; i++) {
        size_t n;
        const unsigned char *p = (const unsigned char *)lua_tolstring(L, first + 2 * i, &n);
        print = print * 31 + n * 7 + p[0] + (n ? p[n - 1] : 0) * 3u;
    }
    return (lua_Integer)print;
}

/* Is the value on top the metatable for these keys? */
static bool is_for(lua_State *L, int first, int count)
{
    int top = lua_gettop(L);
    if (!lua_istable(L, top))
        return false;
    lua_rawgetp(L, top, &order_key);
    lua_rawgeti(L, top + 1, 1);
    bool is_same = lua_tointeger(L, -1) == count;
    for (int i = 0; is_same && i < count; i++) {
        lua_pushvalue(L, first + 2 * i);
        lua_rawget(L, top + 1);
        is_same = lua_tointeger(L, -1) == i + 1;
        lua_settop(L, top + 1);
    }
    lua_settop(L, top);
    return is_same;
}

void ljson_order_begin(lua_State *L, int first, int count)
{
    lua_createtable(L, 0, 1);
    lua_createtable(L, 1, count);
    lua_pushinteger(L, count);
    lua_rawseti(L, -2, 1);
    for (int i = 0; i < count; i++) {
        lua_pushvalue(L, first + 2 * i);
        lua_pushinteger(L, i + 1);
        lua_rawset(L, -3);
    }
    lua_rawsetp(L, -2, &order_key);
}

void ljson_order_push(lua_State *L, int shared, int first, int count)
{
    if (are_in_byte_order(L, first, count)) {
        lua_pushnil(L);
        return;
    }
    lua_Integer print = fingerprint(L, first, count);
    lua_rawgeti(L, shared, print);
    if (is_for(L, first, count))
        return;
    lua_pop(L, 1);
    ljson_order_begin(L, first, count);
    lua_pushvalue(L, -1);
    lua_rawseti(L, shared, print);
}

bool ljson_order_get(lua_State *L, int table)
{
    if (!lua_getmetatable(L, table))
        return false;
    bool has_order = lua_rawgetp(L, -1, &order_key) == LUA_TTABLE;
    lua_replace(L, -2);
    if (!has_order)
        lua_pop(L, 1);
    return has_order;
}

void ljson_order_add(lua_State *L, int table, int key)
{
    if (!ljson_order_get(L, table))
        return;
    lua_rawgeti(L, -1, 1);
    lua_Integer count = lua_tointeger(L, -1) + 1;
    lua_pop(L, 1);
    lua_pushvalue(L, key);
    lua_pushinteger(L, count);
    lua_rawset(L, -3);
    lua_pushinteger(L, count);
    lua_rawseti(L, -2, 1);
    lua_pop(L, 1);
}

int ljson_keep_order(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    if (!lua_getmetatable(L, 1) && ljson_order_get(L, 2)) {
        lua_getmetatable(L, 2);
        lua_setmetatable(L, 1);
    }
    lua_settop(L, 1);
    return 1;
}
