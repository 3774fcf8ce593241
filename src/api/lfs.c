/*
 * lfs.c - perilune.sys.fs: files for tasks. Every call but cwd and embedded waits for a thread of the pool; a cancelled task does
 * not stop what the thread has begun, it only stops waiting.
 */
#include "../base/embed.h"
#include "../base/limits.h"
#include "../io/file.h"
#include "../script/args.h"
#include "../script/host.h"
#include "../script/task.h"
#include "api.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#define OP_TYPE "perilune.fs.op"

struct op { /* one waiting call; owned by its to-be-closed slot */
    struct file_job *job;
    enum file_verb verb;
    struct waiter waiter;
};

static int mm_op_close(lua_State *L)
{
    struct op *op = luaL_checkudata(L, 1, OP_TYPE);
    struct file_job *job = op->job;
    op->job = NULL;
    if (job)
        file_drop(job);
    return 0;
}

static void on_done(void *user)
{
    struct op *op = user;
    task_wake(&op->waiter);
}

static int push_names(lua_State *L, struct slice names)
{
    lua_newtable(L);
    lua_Integer i = 0;
    for (const char *p = names.p; p < names.p + names.n; p += strlen(p) + 1) {
        lua_pushstring(L, p);
        lua_rawseti(L, -2, ++i);
    }
    return 1;
}

static int push_stat(lua_State *L, const struct file_stat *st)
{
    lua_createtable(L, 0, 4);
    lua_pushstring(L, st->type);
    lua_setfield(L, -2, "type");
    lua_pushinteger(L, st->size);
    lua_setfield(L, -2, "size");
    lua_pushnumber(L, (lua_Number)st->modified_us / 1e6);
    lua_setfield(L, -2, "modified");
    lua_pushinteger(L, st->mode);
    lua_setfield(L, -2, "mode");
    return 1;
}

static int done_k(lua_State *L, int status, lua_KContext op_index)
{
    UNUSED(status);
    task_woken(L);
    struct op *op = lua_touserdata(L, (int)op_index);
    if (!file_is_done(op->job)) {
        op->waiter = task_waiter(L);
        return task_wait(L, op_index, done_k);
    }
    const struct file_result *r = file_result(op->job);
    if (r->code != ERR_OK)
        return args_fail(L, &r->info);
    switch (op->verb) {
    case FILE_READ:
    case FILE_TEMP_DIR:
        lua_pushlstring(L, r->bytes.p, r->bytes.n);
        return 1;
    case FILE_LIST:
        return push_names(L, r->bytes);
    case FILE_STAT:
        return push_stat(L, &r->stat);
    default:
        lua_pushboolean(L, 1);
        return 1;
    }
}

static int start(lua_State *L, const struct file_request *request)
{
    struct op *op = lua_newuserdatauv(L, sizeof *op, 0);
    *op = (struct op){.verb = request->verb};
    luaL_setmetatable(L, OP_TYPE);
    lua_toclose(L, -1);
    op->waiter = task_waiter(L);
    op->job = file_start(host_of(L)->loop, request, on_done, op);
    return task_wait(L, lua_gettop(L), done_k);
}

static const char *check_path(lua_State *L, int arg)
{
    size_t n;
    const char *path = luaL_checklstring(L, arg, &n);
    luaL_argcheck(L, n > 0 && strlen(path) == n, arg, "a path is not empty and contains no NUL");
    return path;
}

/* Is there an options table? Nothing else may be there. */
static bool has_options(lua_State *L, int arg, const char *const names[])
{
    if (lua_isnoneornil(L, arg))
        return false;
    opt_only(L, arg, names);
    return true;
}

/* The option `beneath`, of the table at `arg`. */
static void opt_root(lua_State *L, int arg, struct file_request *request)
{
    struct slice root;
    if (!opt_string(L, arg, "beneath", &root))
        return;
    if (root.n == 0 || strlen(root.p) != root.n)
        luaL_error(L, "option 'beneath': a path is not empty and contains no NUL");
    request->root = root.p;
}

/* read(path, {bytes=, beneath=}?) -> text | nil, err */
static int f_read(lua_State *L)
{
    static const char *const names[] = {"bytes", "beneath", NULL};
    lua_Integer bytes = FILE_BYTES_MAX;
    struct file_request request = {.verb = FILE_READ, .path = check_path(L, 1)};
    if (has_options(L, 2, names)) {
        opt_integer(L, 2, "bytes", 1, INT_MAX, &bytes);
        opt_root(L, 2, &request);
    }
    request.bytes_max = (size_t)bytes;
    return start(L, &request);
}

static int write_or_append(lua_State *L, enum file_verb verb, const char *const names[])
{
    lua_Integer mode = FILE_MODE_DEFAULT;
    struct file_request request = {.verb = verb, .path = check_path(L, 1)};
    request.data.p = luaL_checklstring(L, 2, &request.data.n);
    if (has_options(L, 3, names)) {
        opt_integer(L, 3, "mode", 0, 07777, &mode);
        opt_bool(L, 3, "new", &request.is_new);
        opt_root(L, 3, &request);
    }
    request.mode = (int)mode;
    return start(L, &request);
}

/* write(path, text, {mode=, new=, beneath=}?) -> true | nil, err */
static int f_write(lua_State *L)
{
    static const char *const names[] = {"mode", "new", "beneath", NULL};
    return write_or_append(L, FILE_WRITE, names);
}

/* append(path, text, {mode=, beneath=}?) -> true | nil, err */
static int f_append(lua_State *L)
{
    static const char *const names[] = {"mode", "beneath", NULL};
    return write_or_append(L, FILE_APPEND, names);
}

static int start_simple(lua_State *L, enum file_verb verb)
{
    static const char *const names[] = {"beneath", NULL};
    struct file_request request = {.verb = verb, .path = check_path(L, 1)};
    if (has_options(L, 2, names))
        opt_root(L, 2, &request);
    return start(L, &request);
}

/* list(path, {beneath=}?) -> names | nil, err */
static int f_list(lua_State *L)
{
    return start_simple(L, FILE_LIST);
}

/* stat(path, {beneath=}?) -> {type, size, modified, mode} | nil, err */
static int f_stat(lua_State *L)
{
    return start_simple(L, FILE_STAT);
}

/* mkdir(path, {beneath=}?) -> true | nil, err */
static int f_mkdir(lua_State *L)
{
    return start_simple(L, FILE_MKDIR);
}

/* remove(path, {recursive=}?) -> true | nil, err */
static int f_remove(lua_State *L)
{
    static const char *const names[] = {"recursive", NULL};
    struct file_request request = {.verb = FILE_REMOVE, .path = check_path(L, 1)};
    if (has_options(L, 2, names))
        opt_bool(L, 2, "recursive", &request.is_recursive);
    return start(L, &request);
}

/* temp_dir(prefix) -> path | nil, err */
static int f_temp_dir(lua_State *L)
{
    const char *prefix = check_path(L, 1);
    luaL_argcheck(L, !strchr(prefix, '/'), 1, "the prefix is the beginning of a name, not a path");
    return start(L, &(struct file_request){.verb = FILE_TEMP_DIR, .path = prefix});
}

/* cwd() -> path | nil, err */
static int f_cwd(lua_State *L)
{
    char path[PATH_MAX];
    struct err_info info;
    if (!getcwd(path, sizeof path)) {
        err_os(&info, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "the working folder has no path");
        return args_fail(L, &info);
    }
    lua_pushstring(L, path);
    return 1;
}

/* embedded(folder) -> texts by name */
static int f_embedded(lua_State *L)
{
    size_t folder_n;
    const char *folder = luaL_checklstring(L, 1, &folder_n);
    lua_newtable(L);
    for (size_t i = 0; i < embed_file_count; i++) {
        if (strncmp(embed_files[i].name, folder, folder_n) != 0)
            continue;
        lua_pushlstring(L, embed_files[i].p, embed_files[i].n);
        lua_setfield(L, -2, embed_files[i].name + folder_n);
    }
    return 1;
}

static const luaL_Reg functions[] = {
    {"read", f_read},   {"write", f_write},   {"append", f_append},     {"list", f_list}, {"stat", f_stat},
    {"mkdir", f_mkdir}, {"remove", f_remove}, {"temp_dir", f_temp_dir}, {"cwd", f_cwd},
    {"embedded", f_embedded}, {NULL, NULL},
};

static const luaL_Reg no_methods[] = {{NULL, NULL}};
static const luaL_Reg op_metamethods[] = {{"__close", mm_op_close}, {"__gc", mm_op_close}, {NULL, NULL}};

int luaopen_perilune_sys_fs(lua_State *L)
{
    args_new_type(L, OP_TYPE, no_methods, op_metamethods);
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
