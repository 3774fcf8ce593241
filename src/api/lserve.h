/*
 * lserve.h - the two halves of perilune.sys.serve: servers (lserve.c) and requests (lserve_request.c).
 */
#ifndef PERILUNE_LSERVE_H
#define PERILUNE_LSERVE_H

#include <lua.h>

#include "../io/serve.h"
#include "../script/task.h"

struct lserve_server {
    struct serve *serve; /* NULL: closed */
    struct list queue;   /* requests that nobody has accepted; at most one a connection */
    struct waiter acceptor, half_waiter;
    bool has_half;       /* a client has stopped sending since half_closed() was asked */
};

/* [-0, +0, m] Makes the type of requests. */
void lserve_request_install(lua_State *L);
/* [-0, +1, m] The first request of the queue whose client is still there, as a handle; false: there is none. The server is
 * the value at index 1. */
bool lserve_push_request(lua_State *L, struct lserve_server *s);

/* Waits inside the handle at index 1: `return lserve_wait(L, &w, k)`; `k` begins with lserve_woken. */
int lserve_wait(lua_State *L, struct waiter *w, lua_KFunction k);
void lserve_woken(lua_State *L, struct waiter *w);

#endif
