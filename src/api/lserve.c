/*
 * lserve.c - perilune.sys.serve: incoming HTTP for tasks. No policy here: routes, JSON and SSE live in
 * lua/perilune/serve. One task accepts; each request is a handle (lserve_request.c) that its handler owns with
 * `local r <close>`.
 */
#include "lserve.h"

#include "../io/serve_reply.h"
#include "../script/args.h"
#include "../script/host.h"
#include "api.h"

#include <string.h>

#define SERVER_TYPE "perilune.serve.server"

int lserve_wait(lua_State *L, struct waiter *w, lua_KFunction k)
{
    if (w->tasks)
        return luaL_error(L, "another task already waits here");
    *w = task_waiter(L);
    return task_wait(L, 0, k);
}

void lserve_woken(lua_State *L, struct waiter *w)
{
    w->tasks = NULL;
    task_woken(L);
}

/* The server */

static struct lserve_server *check_server(lua_State *L)
{
    return luaL_checkudata(L, 1, SERVER_TYPE);
}

static void on_request(void *user, struct serve_request *r)
{
    struct lserve_server *s = user;
    list_append(&s->queue, &r->link);
    task_wake(&s->acceptor);
}

static void read_size(lua_State *L, const char *name, size_t *out)
{
    lua_Integer value;
    if (opt_integer(L, 1, name, 1, 1 << 30, &value))
        *out = (size_t)value;
}

static const char *const listen_options[] = {
    "host",       "port",       "first_seconds", "head_seconds", "body_seconds", "idle_seconds", "write_seconds",
    "head_bytes", "body_bytes", "connections",   "connections_per_address", NULL,
};

/* listen{...} -> server | nil, err */
static int f_listen(lua_State *L)
{
    struct serve_options o;
    struct slice host = {0};
    lua_Integer port = 0;
    struct err_info info;
    task_must_run(L); /* in a finalizer while the state is closed nobody would close it */
    luaL_checktype(L, 1, LUA_TTABLE);
    serve_options_init(&o);
    opt_only(L, 1, listen_options);
    if (opt_string(L, 1, "host", &host))
        o.host = host.p;
    opt_integer(L, 1, "port", 0, 65535, &port);
    o.port = (int)port;
    opt_seconds(L, 1, "first_seconds", &o.first_ms);
    opt_seconds(L, 1, "head_seconds", &o.head_ms);
    opt_seconds(L, 1, "body_seconds", &o.body_ms);
    opt_seconds(L, 1, "idle_seconds", &o.idle_ms);
    opt_seconds(L, 1, "write_seconds", &o.write_ms);
    read_size(L, "head_bytes", &o.head_bytes_max);
    read_size(L, "body_bytes", &o.body_bytes_max);
    read_size(L, "connections", &o.connections_max);
    read_size(L, "connections_per_address", &o.per_address_max);
    struct lserve_server *s = lua_newuserdatauv(L, sizeof *s, 0);
    memset(s, 0, sizeof *s);
    list_init(&s->queue);
    luaL_setmetatable(L, SERVER_TYPE);
    if (serve_open(&s->serve, host_of(L)->loop, &o, on_request, s, &info) != ERR_OK)
        return args_fail(L, &info); /* a wrong address may come from a user's configuration: not raised */
    return 1;
}

static int m_port(lua_State *L)
{
    struct lserve_server *s = check_server(L);
    luaL_argcheck(L, s->serve, 1, "the server is closed");
    lua_pushinteger(L, serve_port(s->serve));
    return 1;
}

static int m_connections(lua_State *L)
{
    struct lserve_server *s = check_server(L);
    lua_pushinteger(L, s->serve ? (lua_Integer)serve_connections(s->serve) : 0);
    return 1;
}

static int accept_k(lua_State *L, int status, lua_KContext ctx);

static int accept_or_wait(lua_State *L)
{
    struct lserve_server *s = lua_touserdata(L, 1);
    if (!list_is_empty(&s->queue) && lserve_push_request(L, s))
        return 1;
    lua_settop(L, 1);
    if (s->serve)
        return lserve_wait(L, &s->acceptor, accept_k);
    lua_pushnil(L);
    return 1;
}

static int accept_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(status);
    UNUSED(ctx);
    lserve_woken(L, &((struct lserve_server *)lua_touserdata(L, 1))->acceptor);
    return accept_or_wait(L);
}

/* server:accept() -> request | nil when the server is closed */
static int m_accept(lua_State *L)
{
    check_server(L);
    lua_settop(L, 1);
    return accept_or_wait(L);
}

static int half_k(lua_State *L, int status, lua_KContext ctx);

/* server:half_closed() -> true when a client has stopped sending | nil when the server is closed */
static int m_half_closed(lua_State *L)
{
    struct lserve_server *s = check_server(L);
    lua_settop(L, 1);
    if (s->serve && !s->has_half)
        return lserve_wait(L, &s->half_waiter, half_k);
    s->has_half = false;
    if (s->serve)
        lua_pushboolean(L, 1);
    else
        lua_pushnil(L);
    return 1;
}

static int half_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(status);
    UNUSED(ctx);
    lserve_woken(L, &((struct lserve_server *)lua_touserdata(L, 1))->half_waiter);
    return m_half_closed(L);
}

/* server:stop_accepting() */
static int m_stop_accepting(lua_State *L)
{
    struct lserve_server *s = check_server(L);
    if (s->serve)
        serve_drain(s->serve);
    return 0;
}

/* Idempotent. Connections are closed; requests that were accepted become gone. */
static int mm_server_close(lua_State *L)
{
    struct lserve_server *s = check_server(L);
    if (!s->serve)
        return 0;
    serve_close(s->serve);
    s->serve = NULL;
    for (struct list *node; (node = list_first(&s->queue));)
        serve_request_free(CONTAINER_OF(node, struct serve_request, link));
    task_wake(&s->acceptor);
    task_wake(&s->half_waiter);
    return 0;
}

static int mm_server_tostring(lua_State *L)
{
    struct lserve_server *s = check_server(L);
    if (s->serve)
        lua_pushfstring(L, "perilune.serve.server (port %d)", serve_port(s->serve));
    else
        lua_pushliteral(L, "perilune.serve.server (closed)");
    return 1;
}

static const luaL_Reg functions[] = {{"listen", f_listen}, {NULL, NULL}};
static const luaL_Reg server_methods[] = {
    {"port", m_port},
    {"connections", m_connections},
    {"accept", m_accept},
    {"half_closed", m_half_closed},
    {"stop_accepting", m_stop_accepting},
    {"close", mm_server_close},
    {NULL, NULL},
};
static const luaL_Reg server_metamethods[] = {
    {"__close", mm_server_close}, {"__gc", mm_server_close}, {"__tostring", mm_server_tostring}, {NULL, NULL}};

int luaopen_perilune_sys_serve(lua_State *L)
{
    args_new_type(L, SERVER_TYPE, server_methods, server_metamethods);
    lserve_request_install(L);
    luaL_newlib(L, functions);
    return 1;
}
