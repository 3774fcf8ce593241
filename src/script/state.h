/*
 * state.h - a Lua state: standard libraries, the embedded modules, a memory budget, and collector settings
 * that keep pauses short.
 */
#ifndef PERILUNE_STATE_H
#define PERILUNE_STATE_H

#include <lua.h>

#include "pool.h"

struct host;
struct state_budget { /* owned by the host, outlives the state */
    size_t used_bytes, max_bytes;
    struct pool pool; /* pool_deinit after lua_close */
};

/* NULL when there is not enough memory. The state finds `h` with host_of. */
lua_State *state_new(struct host *h, struct state_budget *budget);

#endif
