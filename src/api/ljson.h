/*
 * ljson.h - what the two halves of perilune.sys.json share. Both functions are Lua functions whose first upvalue is the
 * metatable that marks arrays.
 */
#ifndef PERILUNE_LJSON_H
#define PERILUNE_LJSON_H

#include <lua.h>

#define LJSON_RAW_TYPE "perilune.json.raw" /* a userdata whose user value is JSON text, validated */

/* encode(value, options?) -> text [, true] | nil, err */
int ljson_encode(lua_State *L);
/* is_array(value) -> would encode write it as an array? */
int ljson_is_array(lua_State *L);

#endif
