/*
 * lserve_request.c - the part of perilune.sys.serve that is one request: what the client sent, the answer, and the end.
 *
 * The surprising decision: a request has two waiters, because the task that writes the answer and the one that
 * watches for a client that goes away are usually not the same. Who only wants to be ended with its client need not
 * wait for that: end_with_client.
 */
#include "lserve.h"

#include "../io/serve_reply.h"
#include "../script/args.h"
#include "../script/host.h"

#include <string.h>

#define REQUEST_TYPE "perilune.serve.request"

struct request {
    struct serve_request *r; /* NULL: closed */
    struct waiter writer, watcher;
    struct task *handler;  /* cancelled when the client has gone; a reference; NULL */
    struct lserve_server *server; /* which is the user value, so that it lives as long */
    bool has_told_half;    /* gone() has returned "half_closed" */
};

/* Operational failures are returned, misuse is raised. */
static int fail(lua_State *L, const struct err_info *info)
{
    if (info->code == ERR_INVALID)
        return luaL_error(L, "%s", info->text);
    return args_fail(L, info);
}

static int push_slice(lua_State *L, struct slice s)
{
    lua_pushlstring(L, s.p, s.n);
    return 1;
}

static void on_change(struct serve_request *r)
{
    struct request *q = r->user;
    if (r->state == SERVE_GONE && q->handler)
        task_cancel(q->handler, "user_requested");
    if (r->is_half_closed && r->state == SERVE_OPEN && !q->has_told_half) {
        q->server->has_half = true;
        task_wake(&q->server->half_waiter);
    }
    task_wake(&q->writer);
    task_wake(&q->watcher);
}

bool lserve_push_request(lua_State *L, struct lserve_server *s)
{
    struct request *q = lua_newuserdatauv(L, sizeof *q, 1);
    memset(q, 0, sizeof *q);
    q->server = s;
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, REQUEST_TYPE);
    for (struct list *node; !q->r && (node = list_first(&s->queue));) {
        struct serve_request *r = CONTAINER_OF(node, struct serve_request, link);
        list_remove(node);
        if (r->state != SERVE_OPEN) {
            serve_request_free(r);
            continue;
        }
        r->user = q;
        r->on_change = on_change;
        q->r = r;
        on_change(r); /* it may have stopped sending already */
    }
    return q->r != NULL;
}

/* The request: what the client sent */

static struct request *check_request(lua_State *L)
{
    struct request *q = luaL_checkudata(L, 1, REQUEST_TYPE);
    if (!q->r)
        luaL_error(L, "the request is closed");
    return q;
}

static int m_method(lua_State *L)
{
    return push_slice(L, check_request(L)->r->method);
}

static int m_target(lua_State *L)
{
    return push_slice(L, check_request(L)->r->target);
}

static int m_path(lua_State *L)
{
    return push_slice(L, check_request(L)->r->path);
}

static int m_query(lua_State *L)
{
    return push_slice(L, check_request(L)->r->query);
}

static int m_body(lua_State *L)
{
    return push_slice(L, check_request(L)->r->body);
}

/* request:header(name) -> value | nil. A repeated header is joined with ", ". */
static int m_header(lua_State *L)
{
    const struct serve_request *r = check_request(L)->r;
    const char *name = luaL_checkstring(L, 2);
    int found = 0;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < r->header_count; i++) {
        if (!slice_is_nocase(r->headers[i].name, name))
            continue;
        if (found++)
            luaL_addlstring(&b, ", ", 2);
        luaL_addlstring(&b, r->headers[i].value.p, r->headers[i].value.n);
    }
    luaL_pushresult(&b);
    if (!found)
        lua_pushnil(L);
    return 1;
}

/* request:headers() -> list of {name, value} in order of arrival */
static int m_headers(lua_State *L)
{
    const struct serve_request *r = check_request(L)->r;
    lua_createtable(L, (int)r->header_count, 0);
    for (size_t i = 0; i < r->header_count; i++) {
        lua_createtable(L, 2, 0);
        push_slice(L, r->headers[i].name);
        lua_rawseti(L, -2, 1);
        push_slice(L, r->headers[i].value);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* request:remote() -> "127.0.0.1:4711" | nil, err */
static int m_remote(lua_State *L)
{
    struct request *q = check_request(L);
    struct err_info info;
    char text[SERVE_REMOTE_BYTES];
    if (serve_request_remote(q->r, text) != ERR_OK) {
        err_set(&info, ERR_RESET, "the client has gone");
        return args_fail(L, &info);
    }
    lua_pushstring(L, text);
    return 1;
}

/* The request: the answer */

struct answer {
    struct serve_reply reply;
    struct http1_header headers[SERVE_HEADERS_MAX]; /* slices of strings that the script's table holds */
};

/* [-0, +0, e] Adds the header whose name and value are the two strings on top. */
static void add_header(lua_State *L, struct answer *a)
{
    if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "option 'headers': expected names and values that are strings");
    if (a->reply.header_count == SERVE_HEADERS_MAX)
        luaL_error(L, "option 'headers': more than %d headers", SERVE_HEADERS_MAX);
    struct http1_header *h = &a->headers[a->reply.header_count++];
    h->name.p = lua_tolstring(L, -2, &h->name.n);
    h->value.p = lua_tolstring(L, -1, &h->value.n);
}

/* [-0, +0, e] Reads the table on top: pairs {name, value} in order, then fields name = value. */
static void read_headers(lua_State *L, struct answer *a)
{
    lua_Integer pairs = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; i <= pairs; i++) {
        if (lua_rawgeti(L, -1, i) != LUA_TTABLE)
            luaL_error(L, "option 'headers': item %d is not a {name, value}", (int)i);
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        add_header(L, a);
        lua_pop(L, 3);
    }
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (!lua_isinteger(L, -2))
            add_header(L, a);
    }
}

static void read_answer(lua_State *L, const char *const names[], struct answer *a)
{
    lua_Integer status = 200;
    a->reply = (struct serve_reply){.headers = a->headers};
    luaL_checktype(L, 2, LUA_TTABLE);
    opt_only(L, 2, names);
    opt_integer(L, 2, "status", 200, 599, &status);
    a->reply.status = (int)status;
    if (lua_getfield(L, 2, "headers") != LUA_TNIL) {
        if (!lua_istable(L, -1))
            luaL_error(L, "option 'headers': expected table, got %s", luaL_typename(L, -1));
        read_headers(L, a);
    }
    lua_pop(L, 1);
}

static int room_k(lua_State *L, int status, lua_KContext ctx);

/* true, at once or when the client has taken enough | nil, err */
static int room_or_wait(lua_State *L)
{
    struct request *q = check_request(L);
    struct err_info info;
    if (q->r->state == SERVE_GONE) {
        err_set(&info, ERR_RESET, "the client has gone");
        return args_fail(L, &info);
    }
    if (serve_reply_is_full(q->r))
        return lserve_wait(L, &q->writer, room_k);
    lua_pushboolean(L, 1);
    return 1;
}

static int room_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(status);
    UNUSED(ctx);
    lserve_woken(L, &((struct request *)lua_touserdata(L, 1))->writer);
    return room_or_wait(L);
}

/* request:reply{status=, headers=, body=} -> true | nil, err */
static int m_reply(lua_State *L)
{
    static const char *const names[] = {"status", "headers", "body", NULL};
    struct request *q = check_request(L);
    struct answer a;
    struct slice body = {"", 0};
    struct err_info info;
    lua_settop(L, 2);
    read_answer(L, names, &a);
    opt_string(L, 2, "body", &body);
    if (serve_reply_send(q->r, &a.reply, body, &info) != ERR_OK)
        return fail(L, &info);
    return room_or_wait(L);
}

/* request:start{status=, headers=} -> true | nil, err */
static int m_start(lua_State *L)
{
    static const char *const names[] = {"status", "headers", NULL};
    struct request *q = check_request(L);
    struct answer a;
    struct err_info info;
    lua_settop(L, 2);
    read_answer(L, names, &a);
    if (serve_reply_start(q->r, &a.reply, &info) != ERR_OK)
        return fail(L, &info);
    lua_pushboolean(L, 1);
    return 1;
}

static int send_bytes(lua_State *L, enum err (*send)(struct serve_request *, struct slice, struct err_info *))
{
    struct request *q = check_request(L);
    struct slice data;
    struct err_info info;
    data.p = luaL_checklstring(L, 2, &data.n);
    if (q->writer.tasks)
        return luaL_error(L, "another task already waits here");
    if (send(q->r, data, &info) != ERR_OK)
        return fail(L, &info);
    lua_settop(L, 1);
    return room_or_wait(L);
}

/* request:write(bytes) -> true | nil, err */
static int m_write(lua_State *L)
{
    return send_bytes(L, serve_reply_write);
}

/* request:raw(bytes) -> true | nil, err */
static int m_raw(lua_State *L)
{
    return send_bytes(L, serve_reply_raw);
}

/* request:finish() -> true | nil, err */
static int m_finish(lua_State *L)
{
    struct request *q = check_request(L);
    struct err_info info;
    if (serve_reply_finish(q->r, &info) != ERR_OK)
        return fail(L, &info);
    lua_pushboolean(L, 1);
    return 1;
}

/* The request: how it ends */

static int m_reset(lua_State *L)
{
    serve_request_reset(check_request(L)->r);
    return 0;
}

/* request:end_with_client(): the running task is cancelled when the client has gone */
static int m_end_with_client(lua_State *L)
{
    struct request *q = check_request(L);
    luaL_argcheck(L, !q->handler, 1, "another task ends with this client already");
    task_must_run(L);
    q->handler = task_running(host_of(L)->tasks);
    task_ref(q->handler);
    if (q->r->state == SERVE_GONE)
        task_cancel(q->handler, "user_requested");
    return 0;
}

/* request:is_half_closed() */
static int m_is_half_closed(lua_State *L)
{
    const struct request *q = luaL_checkudata(L, 1, REQUEST_TYPE);
    lua_pushboolean(L, q->r && q->r->state == SERVE_OPEN && q->r->is_half_closed);
    return 1;
}

/* request:probe() */
static int m_probe(lua_State *L)
{
    serve_reply_probe(check_request(L)->r);
    return 0;
}

static int m_is_gone(lua_State *L)
{
    lua_pushboolean(L, check_request(L)->r->state == SERVE_GONE);
    return 1;
}

static int gone_k(lua_State *L, int status, lua_KContext ctx);

static int gone_or_wait(lua_State *L)
{
    struct request *q = luaL_checkudata(L, 1, REQUEST_TYPE);
    if (!q->r || q->r->state == SERVE_DONE) {
        lua_pushliteral(L, "done");
    } else if (q->r->state == SERVE_GONE) {
        lua_pushliteral(L, "gone");
    } else if (q->r->is_half_closed && !q->has_told_half) {
        q->has_told_half = true;
        lua_pushliteral(L, "half_closed");
    } else {
        return lserve_wait(L, &q->watcher, gone_k);
    }
    return 1;
}

static int gone_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(status);
    UNUSED(ctx);
    lserve_woken(L, &((struct request *)lua_touserdata(L, 1))->watcher);
    return gone_or_wait(L);
}

/* request:gone() -> "half_closed" (once) | "gone" | "done"; waits */
static int m_gone(lua_State *L)
{
    lua_settop(L, 1);
    return gone_or_wait(L);
}

/* Idempotent; without a complete answer the connection is closed. */
static int mm_request_close(lua_State *L)
{
    struct request *q = luaL_checkudata(L, 1, REQUEST_TYPE);
    if (!q->r)
        return 0;
    if (q->handler)
        task_unref(L, q->handler);
    q->handler = NULL;
    serve_request_free(q->r);
    q->r = NULL;
    task_wake(&q->writer);
    task_wake(&q->watcher);
    return 0;
}

static int mm_request_tostring(lua_State *L)
{
    struct request *q = luaL_checkudata(L, 1, REQUEST_TYPE);
    if (!q->r) {
        lua_pushliteral(L, "perilune.serve.request (closed)");
        return 1;
    }
    lua_pushliteral(L, "perilune.serve.request (");
    push_slice(L, q->r->method);
    lua_pushliteral(L, " ");
    push_slice(L, q->r->target);
    lua_pushliteral(L, ")");
    lua_concat(L, 5);
    return 1;
}

static const luaL_Reg request_methods[] = {
    {"method", m_method}, {"target", m_target},   {"path", m_path},     {"query", m_query},
    {"body", m_body},     {"header", m_header},   {"headers", m_headers}, {"remote", m_remote},
    {"reply", m_reply},   {"start", m_start},     {"write", m_write},   {"raw", m_raw},
    {"finish", m_finish}, {"reset", m_reset},     {"is_gone", m_is_gone}, {"probe", m_probe},
    {"gone", m_gone},     {"is_half_closed", m_is_half_closed}, {"end_with_client", m_end_with_client},
    {"close", mm_request_close}, {NULL, NULL},
};
static const luaL_Reg request_metamethods[] = {
    {"__close", mm_request_close}, {"__gc", mm_request_close}, {"__tostring", mm_request_tostring}, {NULL, NULL}};

void lserve_request_install(lua_State *L)
{
    args_new_type(L, REQUEST_TYPE, request_methods, request_metamethods);
}
