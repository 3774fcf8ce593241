/*
 * ljson.h - what the parts of perilune.sys.json share. Its Lua functions have the metatable that marks arrays as their first
 * upvalue.
 */
#ifndef PERILUNE_LJSON_H
#define PERILUNE_LJSON_H

#include <lua.h>
#include <stdbool.h>

#define LJSON_RAW_TYPE "perilune.json.raw" /* a userdata whose user value is JSON text, validated */

/* encode(value, options?) -> text [, true] | nil, err */
int ljson_encode(lua_State *L);
/* is_array(value) -> would encode write it as an array? */
int ljson_is_array(lua_State *L);
/* keep_order(copy, source) -> copy, whose keys are written in the source's order */
int ljson_keep_order(lua_State *L);

/* The order of keys. Those of a call are strings at the stack indices first, first + 2, ... */

/* [-0, +1, m] The metatable that holds their order: nil where it is byte order, else new or out of the table at `shared`. */
void ljson_order_push(lua_State *L, int shared, int first, int count);
/* [-0, +1, m] A metatable that is nobody else's, whatever their order: more keys can be added. */
void ljson_order_begin(lua_State *L, int first, int count);
/* [-0, +0, m] Adds the key at that stack index as the last one of the table. */
void ljson_order_add(lua_State *L, int table, int key);
/* [-0, +1|0, -] The places of a table's keys, by key, from 1; false: it has no order, and nothing is pushed. */
bool ljson_order_get(lua_State *L, int table);

#endif
