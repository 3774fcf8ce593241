/*
 * generator.h - coroutine.resume, wrap and close that know about waiting.
 */
#ifndef PERILUNE_GENERATOR_H
#define PERILUNE_GENERATOR_H

#include <lua.h>

/* [-0, +0, m] Replaces them in the global table `coroutine`. */
void generator_install(lua_State *L);

#endif
