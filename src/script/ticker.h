/*
 * ticker.h - interrupts Lua code that computes for long. A count hook would do that too, but with one set Lua looks
 * at it before every instruction (a quarter of a stream's time). Instead a timer signal, armed only while
 * tasks run, sets the hook on the coroutine that is running when 10 ms have passed.
 *
 * The signal goes to the thread that made the ticker; lua_sethook may be called from a signal handler.
 */
#ifndef PERILUNE_TICKER_H
#define PERILUNE_TICKER_H

#include <lua.h>

#include "../base/base.h"

struct ticker;

/* `hook` runs in the coroutine at its next instruction; it must take the hook away again (ticker_done). */
struct ticker *ticker_new(lua_Hook hook);
void ticker_free(struct ticker *t);
/* The coroutine that runs from now on, NULL for none; returns the one before. */
lua_State *ticker_enter(struct ticker *t, lua_State *co);
/* Takes the hook away until the next tick (count 0), or lets it come back after so many instructions. */
void ticker_done(struct ticker *t, lua_State *L, int count);

#endif
