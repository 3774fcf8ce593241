/*
 * lstore.c - perilune.sys.store: the database for tasks. It turns tables into jobs and rows into tables; the SQL
 * is in db/, the threads are in src/store. Parameters go by name, and an unknown name is a mistake of the
 * caller's.
 *
 * Surprising: a task that is cancelled while it waits does not take its batch back. It is written or it is not,
 * and nobody was told.
 */
#include "../base/limits.h"
#include "../io/loop.h"
#include "../script/args.h"
#include "../script/host.h"
#include "../script/task.h"
#include "../store/store.h"
#include "api.h"

#include <string.h>

#define STORE_TYPE "perilune.store"
#define JOB_TYPE "perilune.store.job"

struct database { /* owned by the script; `store` is NULL once the threads have ended */
    struct store *store;
    struct job *closing; /* its last job */
    struct waiter closer;
    bool is_read_only;
};

struct op { /* one wait: owned by the to-be-closed slot of the function that waits */
    struct job *job;
    struct waiter waiter;
    struct database *opening; /* to be closed unless it was handed over */
};

/* Closing */

static void on_closed(struct job *job, void *user)
{
    struct database *d = user;
    job_free(job);
    d->closing = NULL;
    d->store = NULL;
    task_wake(&d->closer);
}

static void start_closing(struct database *d)
{
    if (!d->store || d->closing)
        return;
    d->closing = job_new(JOB_CLOSE);
    d->closing->on_done = on_closed;
    d->closing->user = d;
    store_close(d->store, d->closing);
}

/* Blocks until everything is written and the threads have ended: the loop may never turn again. */
static void close_now(struct database *d)
{
    start_closing(d);
    if (!d->store)
        return;
    store_join(d->store);
    job_free(d->closing); /* the loop has it still; it no longer tells us */
    d->closing = NULL;
    d->store = NULL;
}

static int close_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(status);
    struct database *d = luaL_checkudata(L, 1, STORE_TYPE);
    if (d->closing) { /* woken by a cancel: what was written must reach the disk all the same */
        d->closer = task_waiter_shielded(L);
        return task_wait(L, ctx, close_k);
    }
    lua_pushboolean(L, true);
    return 1;
}

/* close(): also __close. Waits where it can, blocks where it cannot. A second call leaves the waiting to the
 * first. */
static int m_close(lua_State *L)
{
    struct database *d = luaL_checkudata(L, 1, STORE_TYPE);
    bool can_wait = lua_isyieldable(L) && task_running(host_of(L)->tasks);
    lua_settop(L, 1);
    if (!can_wait) {
        close_now(d);
    } else if (d->store && !d->closing) {
        start_closing(d);
        return close_k(L, LUA_OK, 0);
    }
    lua_pushboolean(L, true);
    return 1;
}

static int mm_gc(lua_State *L)
{
    close_now(luaL_checkudata(L, 1, STORE_TYPE));
    return 0;
}

static struct database *check_open(lua_State *L)
{
    struct database *d = luaL_checkudata(L, 1, STORE_TYPE);
    if (!d->store || d->closing)
        luaL_error(L, "the database is closed");
    return d;
}

/* Waiting */

static void on_done(struct job *job, void *user)
{
    UNUSED(job);
    task_wake(&((struct op *)user)->waiter);
}

static int mm_op_close(lua_State *L)
{
    struct op *op = luaL_checkudata(L, 1, JOB_TYPE);
    job_free(op->job);
    op->job = NULL;
    if (op->opening)
        start_closing(op->opening);
    op->opening = NULL;
    return 0;
}

/* [-0, +1, m] The job's owner while a binding fills it. `database` is the stack index it keeps alive. */
static struct op *push_op(lua_State *L, int database, enum job_kind kind)
{
    struct op *op = lua_newuserdatauv(L, sizeof *op, 1);
    memset(op, 0, sizeof *op);
    luaL_setmetatable(L, JOB_TYPE);
    lua_pushvalue(L, database);
    lua_setiuservalue(L, -2, 1);
    op->job = job_new(kind);
    return op;
}

/* `return wait_for(L, d, op, k)` with the op on top of the stack; `k` finds it there again. */
static int wait_for(lua_State *L, struct database *d, struct op *op, lua_KFunction k)
{
    lua_toclose(L, -1);
    op->waiter = task_waiter(L);
    op->job->on_done = on_done;
    op->job->user = op;
    store_submit(d->store, op->job);
    return task_wait(L, 0, k);
}

static int push_failure(lua_State *L, const struct job *job)
{
    args_fail(L, &job->error);
    if (job->blame == JOB_BLAME_NONE)
        return 2;
    if (job->blame == JOB_BLAME_EXPECTATION) {
        lua_pushliteral(L, "expectation");
        lua_setfield(L, -2, "code");
    }
    lua_createtable(L, 0, 2);
    lua_pushstring(L, job->calls[job->failed_call]->statement->name);
    lua_setfield(L, -2, "statement");
    lua_pushinteger(L, (lua_Integer)job->failed_call + 1);
    lua_setfield(L, -2, "call");
    lua_setfield(L, -2, "details");
    return 2;
}

/* First thing in a continuation; the job's owner is on top of the stack. */
static struct job *finished_job(lua_State *L)
{
    struct op *op = luaL_checkudata(L, -1, JOB_TYPE);
    task_woken(L);
    ASSERT(!op->job->is_submitted); /* a wait ends by the job or by a raise */
    return op->job;
}

/* Parameters */

static const char *statement_name(const struct catalogue *c, size_t i)
{
    return catalogue_at(c, i)->name;
}

/* Raises "where: unknown statement 'thread_crate', did you mean 'thread_create'?" */
static int fail_unknown_statement(lua_State *L, const struct catalogue *c, const char *name)
{
    const char *best = NULL;
    size_t best_distance = strlen(name) / 3 + 2;
    for (size_t i = 0; i < catalogue_count(c); i++) {
        size_t d = args_distance(name, statement_name(c, i));
        best = d < best_distance ? statement_name(c, i) : best;
        best_distance = d < best_distance ? d : best_distance;
    }
    return best ? luaL_error(L, "unknown statement '%s', did you mean '%s'?", name, best)
                : luaL_error(L, "unknown statement '%s'", name);
}

static int fail_unknown_parameter(lua_State *L, const struct statement *s, const char *name)
{
    luaL_Buffer list;
    luaL_buffinit(L, &list);
    for (size_t i = 0; i < s->param_count; i++) {
        luaL_addstring(&list, i ? ", " : "");
        luaL_addstring(&list, s->params[i]);
    }
    luaL_pushresult(&list);
    return luaL_error(L, "%s has no parameter '%s'; it takes: %s", s->name, name, lua_tostring(L, -1));
}

static size_t find_parameter(lua_State *L, const struct statement *s, int key)
{
    if (lua_type(L, key) != LUA_TSTRING)
        luaL_error(L, "%s: parameters go by name, not by position", s->name);
    const char *name = lua_tostring(L, key);
    for (size_t i = 0; i < s->param_count; i++)
        if (strcmp(s->params[i], name) == 0)
            return i;
    return (size_t)fail_unknown_parameter(L, s, name);
}

static struct value check_value(lua_State *L, int index, const struct statement *s, size_t param)
{
    struct value v = {.type = VALUE_NULL};
    switch (lua_type(L, index)) {
    case LUA_TBOOLEAN:
        v.type = VALUE_INTEGER;
        v.as.integer = lua_toboolean(L, index);
        break;
    case LUA_TNUMBER:
        v.type = lua_isinteger(L, index) ? VALUE_INTEGER : VALUE_REAL;
        if (v.type == VALUE_INTEGER)
            v.as.integer = lua_tointeger(L, index);
        else
            v.as.real = lua_tonumber(L, index);
        break;
    case LUA_TSTRING:
        v.type = VALUE_TEXT;
        v.as.text.p = lua_tolstring(L, index, &v.as.text.n);
        break;
    case LUA_TLIGHTUSERDATA: /* json.null */
        if (!lua_touserdata(L, index))
            break;
        /* fall through */
    default:
        luaL_error(L, "%s: parameter '%s' is a %s; expected string, number, boolean or null", s->name, s->params[param],
                   luaL_typename(L, index));
    }
    return v;
}

static const struct statement *check_statement(lua_State *L, const struct database *d, int index)
{
    const struct catalogue *c = store_catalogue(d->store);
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "a statement is named by a string, not by a %s", luaL_typename(L, index));
    const char *name = lua_tostring(L, index);
    const struct statement *s = catalogue_find(c, name);
    if (!s)
        fail_unknown_statement(L, c, name);
    return s;
}

/* Adds a call with the parameters of the table (or nil) at `params`. */
static struct job_call *add_call(lua_State *L, struct job *job, const struct statement *s, int params)
{
    struct job_call *call = job_add(job, s);
    if (!call)
        luaL_error(L, "more than %d statements in one batch", STORE_CALLS_MAX);
    if (lua_isnoneornil(L, params))
        return call;
    if (!lua_istable(L, params))
        luaL_error(L, "%s: parameters are a table, not a %s", s->name, luaL_typename(L, params));
    for (lua_pushnil(L); lua_next(L, params); lua_pop(L, 1)) {
        size_t param = find_parameter(L, s, -2);
        if (job_bind(job, call, param, check_value(L, -1, s, param)) != ERR_OK)
            luaL_error(L, "%s: the batch is larger than %d MB", s->name, (int)(STORE_JOB_BYTES_MAX >> 20));
    }
    return call;
}

/* Results */

static void push_value(lua_State *L, const struct value *v)
{
    if (v->type == VALUE_INTEGER)
        lua_pushinteger(L, v->as.integer);
    else if (v->type == VALUE_REAL)
        lua_pushnumber(L, v->as.real);
    else
        lua_pushlstring(L, v->as.text.p, v->as.text.n);
}

/* [-0, +1, m] A list of rows; a column that is NULL is absent. */
static void push_rows(lua_State *L, const struct job_call *call)
{
    lua_Integer n = 0;
    lua_createtable(L, (int)call->row_count, 1);
    for (const struct job_row *row = call->rows; row; row = row->next) {
        lua_createtable(L, 0, (int)call->column_count);
        for (size_t i = 0; i < call->column_count; i++) {
            if (row->values[i].type == VALUE_NULL)
                continue;
            push_value(L, &row->values[i]);
            lua_setfield(L, -2, call->columns[i]);
        }
        lua_rawseti(L, -2, ++n);
    }
}

/* Writing */

static int write_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(status);
    UNUSED(ctx);
    const struct job *job = finished_job(L);
    if (job->error.code)
        return push_failure(L, job);
    lua_createtable(L, (int)job->call_count, 0);
    for (size_t i = 0; i < job->call_count; i++) {
        push_rows(L, job->calls[i]);
        lua_pushinteger(L, job->calls[i]->changes);
        lua_setfield(L, -2, "changes");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* One {"name", {params}, expect = n}, on top of the stack. */
static void add_batch_call(lua_State *L, struct database *d, struct job *job)
{
    int call = lua_absindex(L, -1);
    if (!lua_istable(L, call))
        luaL_error(L, "a batch is a list of {\"name\", {parameters}}, not of %ss", luaL_typename(L, call));
    lua_rawgeti(L, call, 1);
    lua_rawgeti(L, call, 2);
    const struct statement *s = check_statement(L, d, call + 1);
    struct job_call *added = add_call(L, job, s, call + 2);
    lua_settop(L, call + 1); /* the name */
    for (lua_pushnil(L); lua_next(L, call); lua_pop(L, 1)) {
        bool is_expect = lua_type(L, -2) == LUA_TSTRING && strcmp(lua_tostring(L, -2), "expect") == 0;
        bool is_positional = lua_isinteger(L, -2) && lua_tointeger(L, -2) >= 1 && lua_tointeger(L, -2) <= 2;
        if (is_expect && lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 0)
            added->expect = lua_tointeger(L, -1);
        else if (is_expect)
            luaL_error(L, "%s: expect is a number of rows", s->name);
        else if (!is_positional)
            luaL_error(L, "%s: unknown field '%s', did you mean 'expect'?", s->name, luaL_tolstring(L, -2, NULL));
    }
    lua_settop(L, call);
}

/* write(batch) -> results | nil, err */
static int m_write(lua_State *L)
{
    struct database *d = check_open(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    struct op *op = push_op(L, 1, JOB_WRITE);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 2);
    luaL_argcheck(L, n > 0, 2, "the batch is empty");
    lua_getfield(L, 2, "relaxed");
    op->job->is_relaxed = lua_toboolean(L, -1);
    lua_pop(L, 1);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, 2, i);
        add_batch_call(L, d, op->job);
        lua_pop(L, 1);
    }
    return wait_for(L, d, op, write_k);
}

/* Reading */

static int rows_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(status);
    UNUSED(ctx);
    const struct job *job = finished_job(L);
    if (job->error.code)
        return push_failure(L, job);
    push_rows(L, job->calls[0]);
    return 1;
}

/* read(name, params?) -> rows | nil, err */
static int m_read(lua_State *L)
{
    struct database *d = check_open(L);
    const struct statement *s = check_statement(L, d, 2);
    lua_settop(L, 3);
    struct op *op = push_op(L, 1, JOB_READ);
    add_call(L, op->job, s, 3);
    return wait_for(L, d, op, rows_k);
}

static int problems_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(status);
    UNUSED(ctx);
    const struct job *job = finished_job(L);
    if (job->error.code)
        return push_failure(L, job);
    const struct job_call *call = job->calls[0];
    lua_Integer n = 0;
    lua_createtable(L, (int)call->row_count, 0);
    for (const struct job_row *row = call->rows; row; row = row->next) {
        push_value(L, &row->values[0]);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* check() -> list of problems | nil, err */
static int m_check(lua_State *L)
{
    struct database *d = check_open(L);
    lua_settop(L, 1);
    return wait_for(L, d, push_op(L, 1, JOB_CHECK), problems_k);
}

static int true_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(status);
    UNUSED(ctx);
    const struct job *job = finished_job(L);
    if (job->error.code)
        return push_failure(L, job);
    lua_pushboolean(L, true);
    return 1;
}

static struct slice check_path(lua_State *L, struct slice path)
{
    if (path.n == 0 || strlen(path.p) != path.n)
        luaL_error(L, "a path is a string that is not empty, without NUL bytes");
    return path;
}

/* backup(path) -> true | nil, err */
static int m_backup(lua_State *L)
{
    struct database *d = check_open(L);
    struct slice path;
    path.p = luaL_checklstring(L, 2, &path.n);
    check_path(L, path);
    lua_settop(L, 2);
    struct op *op = push_op(L, 1, JOB_BACKUP);
    if (job_copy(op->job, path, &path) != ERR_OK)
        luaL_error(L, "the path is too long");
    op->job->path = path.p;
    return wait_for(L, d, op, true_k);
}

static void set_count(lua_State *L, const char *name, unsigned long long n)
{
    lua_pushinteger(L, (lua_Integer)n);
    lua_setfield(L, -2, name);
}

static int info_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(status);
    UNUSED(ctx);
    const struct job *job = finished_job(L);
    if (job->error.code)
        return push_failure(L, job);
    struct database *d = check_open(L);
    push_rows(L, job->calls[0]);
    lua_rawgeti(L, -1, 1);
    struct store_stats stats = store_stats(d->store);
    set_count(L, "transactions", stats.transactions);
    set_count(L, "batches", stats.batches);
    set_count(L, "checkpoints", stats.checkpoints);
    lua_pushstring(L, store_path(d->store));
    lua_setfield(L, -2, "path");
    lua_pushboolean(L, d->is_read_only);
    lua_setfield(L, -2, "read_only");
    return 1;
}

/* info() -> table | nil, err */
static int m_info(lua_State *L)
{
    struct database *d = check_open(L);
    lua_settop(L, 1);
    lua_pushnil(L); /* no parameters */
    struct op *op = push_op(L, 1, JOB_READ);
    const struct statement *s = catalogue_find(store_catalogue(d->store), "database_info");
    ASSERT(s);
    add_call(L, op->job, s, 2);
    return wait_for(L, d, op, info_k);
}

static int mm_tostring(lua_State *L)
{
    struct database *d = luaL_checkudata(L, 1, STORE_TYPE);
    lua_pushfstring(L, "%s (%s)", STORE_TYPE, d->store && !d->closing ? store_path(d->store) : "closed");
    return 1;
}

/* Opening */

static int open_k(lua_State *L, int status, lua_KContext ctx)
{
    UNUSED(status);
    UNUSED(ctx);
    const struct job *job = finished_job(L);
    if (job->error.code)
        return push_failure(L, job);
    ((struct op *)lua_touserdata(L, -1))->opening = NULL;
    lua_pushvalue(L, 2);
    return 1;
}

/* open{ path=, read_only=?, busy_seconds=? } -> database | nil, err */
static int f_open(lua_State *L)
{
    static const char *const names[] = {"path", "read_only", "busy_seconds", NULL};
    task_must_run(L); /* in a finalizer while the state is closed nobody would close it */
    opt_only(L, 1, names);
    struct slice path;
    if (!opt_string(L, 1, "path", &path))
        return luaL_error(L, "option 'path' is missing");
    check_path(L, path);
    bool is_read_only = false;
    int64_t busy_ms = STORE_BUSY_MS;
    opt_bool(L, 1, "read_only", &is_read_only);
    opt_seconds(L, 1, "busy_seconds", &busy_ms);
    lua_settop(L, 1);
    struct database *d = lua_newuserdatauv(L, sizeof *d, 0);
    memset(d, 0, sizeof *d);
    d->is_read_only = is_read_only;
    luaL_setmetatable(L, STORE_TYPE);
    struct op *op = push_op(L, 2, JOB_OPEN);
    struct err_info info;
    const struct store_options options = {path.p, embed_files, embed_file_count,
                                          busy_ms > INT32_MAX ? INT32_MAX : (int)busy_ms, is_read_only};
    if (store_new(&d->store, host_of(L)->loop, &options, &info) != ERR_OK)
        return args_fail(L, &info);
    op->opening = d;
    return wait_for(L, d, op, open_k);
}

/* library() -> text */
static int f_library(lua_State *L)
{
    lua_pushstring(L, store_library());
    return 1;
}

static const luaL_Reg functions[] = {
    {"open", f_open},
    {"library", f_library},
    {NULL, NULL},
};

static const luaL_Reg methods[] = {
    {"write", m_write}, {"read", m_read},   {"check", m_check}, {"backup", m_backup},
    {"info", m_info},   {"close", m_close}, {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__close", m_close},
    {"__gc", mm_gc},
    {"__tostring", mm_tostring},
    {NULL, NULL},
};

static const luaL_Reg no_methods[] = {{NULL, NULL}};

static const luaL_Reg op_metamethods[] = {
    {"__close", mm_op_close},
    {"__gc", mm_op_close},
    {NULL, NULL},
};

int luaopen_perilune_sys_store(lua_State *L)
{
    args_new_type(L, STORE_TYPE, methods, metamethods);
    args_new_type(L, JOB_TYPE, no_methods, op_metamethods);
    lua_pop(L, 2);
    luaL_newlib(L, functions);
    return 1;
}
