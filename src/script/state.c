/*
 * state.c - makes Lua states. Modules come from the binary ("@lua/perilune/..." in tracebacks), or from a
 * folder while developing; Debian's own Lua paths stay for what users install. A script that wants too much
 * memory gets an error, the process lives on.
 */
#include "state.h"

#include "../base/embed.h"
#include "../base/mem.h"
#include "generator.h"
#include "host.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

static void *allocate(void *user, void *old, size_t old_bytes, size_t new_bytes)
{
    struct state_budget *b = user;
    if (!old)
        old_bytes = 0; /* Lua passes the kind of object there */
    if (new_bytes > old_bytes && b->used_bytes + (new_bytes - old_bytes) > b->max_bytes)
        return NULL;
    void *p = pool_resize(&b->pool, old, old_bytes, new_bytes);
    if (p || !new_bytes)
        b->used_bytes += new_bytes - old_bytes;
    return p;
}

/* An error outside of every protected call is a bug of the host: say so and stop. */
static int on_panic(lua_State *L)
{
    const char *text = lua_tostring(L, -1);
    log_printf(host_of(L)->log, LOG_ERROR, "script", "unprotected Lua error: %s", text ? text : "(not a string)");
    return 0; /* Lua aborts */
}

/* Modules */

static const struct embed_file *find_embedded(const char *name)
{
    for (size_t i = 0; i < embed_file_count; i++)
        if (strcmp(embed_files[i].name, name) == 0)
            return &embed_files[i];
    return NULL;
}

/* [-0, +1, e] Pushes the chunk of lua/<name>, or nothing and returns false. */
static bool load_file(lua_State *L, const char *name)
{
    const char *dir = host_of(L)->lua_dir;
    int status;
    if (dir) {
        const char *path = lua_pushfstring(L, "%s/%s", dir, name + 4);
        if (luaL_loadfilex(L, path, "t") == LUA_ERRFILE) {
            lua_pop(L, 2);
            return false;
        }
        lua_remove(L, -2);
        status = lua_type(L, -1) == LUA_TFUNCTION ? LUA_OK : LUA_ERRSYNTAX;
    } else {
        const struct embed_file *file = find_embedded(name);
        if (!file)
            return false;
        const char *chunk = lua_pushfstring(L, "@%s", name);
        status = luaL_loadbufferx(L, file->p, file->n, chunk, "t");
        lua_remove(L, -2);
    }
    if (status != LUA_OK)
        lua_error(L);
    return true;
}

/* A package searcher: (module) -> loader, file name | message */
static int f_search(lua_State *L)
{
    const char *module = luaL_checkstring(L, 1);
    static const char *const forms[] = {"lua/%s.lua", "lua/%s/init.lua"};
    const char *path = luaL_gsub(L, module, ".", "/");
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        const char *name = lua_pushfstring(L, forms[i], path);
        if (load_file(L, name)) {
            lua_insert(L, -2);
            return 2;
        }
    }
    lua_pushfstring(L, "no module '%s' in the binary", module);
    return 1;
}

static void install_searcher(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchers");
    for (lua_Integer i = (lua_Integer)lua_rawlen(L, -1); i >= 2; i--) { /* second place, after preload */
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, f_search);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 2);
}

/* Lua 5.4.4 breaks luaL_Buffer for good when memory runs out in its first large use ("got a non-closable
 * value" from then on): use it once while there is memory. */
static void warm_up_buffers(lua_State *L)
{
    luaL_Buffer b;
    luaL_buffinitsize(L, &b, 10000);
    luaL_pushresultsize(&b, 0);
    lua_pop(L, 1);
}

static int f_prepare(lua_State *L)
{
    luaL_openlibs(L);
    warm_up_buffers(L);
    generator_install(L);
    install_searcher(L);
    return 0;
}

lua_State *state_new(struct host *h, struct state_budget *budget)
{
    lua_State *L = lua_newstate(allocate, budget);
    if (!L)
        return NULL;
    *(struct host **)lua_getextraspace(L) = h;
    lua_atpanic(L, on_panic);
    lua_gc(L, LUA_GCINC, 200, 50, 10); /* short steps: worst pause 2-4 ms instead of 14-37 ms */
    lua_pushcfunction(L, f_prepare);
    if (lua_pcall(L, 0, 0, 0) != LUA_OK) {
        lua_close(L);
        return NULL;
    }
    return L;
}
