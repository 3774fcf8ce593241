/*
 * ltask.h - what the two halves of perilune.sys.task share.
 */
#ifndef PERILUNE_LTASK_H
#define PERILUNE_LTASK_H

#include <lua.h>
#include <stdint.h>

/* [-0, +0, e] The argument, a number of seconds, in microseconds. */
int64_t ltask_check_seconds_us(lua_State *L, int arg);
/* [-0, +0, m] Adds signal() to the table on top. */
void ltask_signal_install(lua_State *L);

#endif
