/*
 * host.h - pointers to every service of one process. Made in main.c, torn down there in reverse
 * order. Lua C functions find it with host_of(L); there are no other globals.
 */
#ifndef PERILUNE_HOST_H
#define PERILUNE_HOST_H

#include <lua.h>

#include "../base/clock.h"
#include "../base/log.h"
#include "../base/token.h"

struct host {
    struct clock *clock;
    struct log *log;
    struct token_source tokens; /* zeroed: the system's randomness */
    struct loop *loop;         /* io/loop.h */
    struct fetcher *fetcher;   /* io/fetch.h */
    struct health *health;     /* failover/health.h */
    struct tasks *tasks;       /* script/task.h */
    struct state_budget *budget; /* script/state.h */
    lua_State *L;              /* the main state; every task is a coroutine of it */
    const char *lua_dir;       /* PERILUNE_LUA: load Lua modules from here instead of from the binary; NULL */
    const char *version;
    struct task *main;         /* runs boot.lua; a reference */
    struct task *foreground;   /* what Ctrl-C cancels; NULL: main; a reference */
    int interrupts;            /* signals since the last wait for input */
    void (*on_signal)(void *user, int signum); /* a script waits for signals: the first of a kind goes to it; NULL */
    void *on_signal_user;
};

/* Every coroutine inherits a copy of the main thread's extra space. */
static inline struct host *host_of(lua_State *L)
{
    return *(struct host **)lua_getextraspace(L);
}

#endif
