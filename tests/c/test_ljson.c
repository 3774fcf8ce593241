/*
 * test_ljson.c - perilune.sys.json when memory runs out: every allocation fails once, and all that follow it. The call
 * must end with a memory error, and closing the state must give every byte back.
 */
#include "../../src/api/api.h"
#include "check.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#define MODULE "perilune.sys.json"

struct heap {
    size_t bytes;     /* in use */
    long left;        /* allocations that still succeed; negative: all */
};

static void *reallocate(void *user, void *old, size_t old_bytes, size_t bytes)
{
    struct heap *h = user;
    size_t had = old ? old_bytes : 0;
    if (bytes == 0) {
        h->bytes -= had;
        free(old);
        return NULL;
    }
    if (bytes > had && h->left == 0) /* shrinking never fails, as Lua demands */
        return NULL;
    void *p = realloc(old, bytes);
    if (!p)
        abort();
    if (bytes > had && h->left > 0)
        h->left--;
    h->bytes = h->bytes - had + bytes;
    return p;
}

static void add_members(luaL_Buffer *b, int count, const char *format)
{
    for (int i = 0; i < count; i++) {
        lua_pushfstring(b->L, format, i);
        luaL_addvalue(b);
    }
}

/* A document that makes every kind of scratch memory grow: long arrays and objects, long strings with escapes. */
static void push_document(lua_State *L)
{
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addstring(&b, "{\"array\":[0");
    add_members(&b, 200, ",[%d]");
    luaL_addstring(&b, "],\"object\":{\"key\":0");
    add_members(&b, 150, ",\"key\\u0041 %d\":null");
    luaL_addstring(&b, "},\"text\":\"");
    add_members(&b, 1500, "%d\\n");
    luaL_addstring(&b, "\"}");
    luaL_pushresult(&b);
}

static int open_all(lua_State *L)
{
    luaL_requiref(L, MODULE, luaopen_perilune_sys_json, 0);
    push_document(L);
    return 2;
}

/* [-0, +1, e] What decode and encode make of the document. */
static void push_again(lua_State *L, bool is_ordered)
{
    lua_getfield(L, 1, "encode");
    lua_getfield(L, 1, "decode");
    lua_pushvalue(L, 2);
    lua_createtable(L, 0, 1);
    lua_pushboolean(L, is_ordered);
    lua_setfield(L, -2, "ordered");
    lua_call(L, 2, 1);
    lua_call(L, 1, 1);
}

/* (module, text) -> what decode and encode make of it, in both orders, and twice an error */
static int work(lua_State *L)
{
    push_again(L, true);
    lua_pop(L, 1);
    push_again(L, false);
    lua_getfield(L, 1, "decode");
    lua_pushliteral(L, "[{\"a\":[\"\\n\",{");
    lua_call(L, 1, 2);
    lua_getfield(L, 1, "raw");
    lua_pushliteral(L, "[1");
    lua_call(L, 1, 2);
    lua_settop(L, 3);
    return 1;
}

/* Runs the work with so many allocations, or as many as it likes; returns the status. */
static int run(struct heap *h, long allocations)
{
    lua_State *L = lua_newstate(reallocate, h);
    lua_pushcfunction(L, open_all);
    if (!L || lua_pcall(L, 0, 2, 0) != LUA_OK)
        abort();
    lua_pushcfunction(L, work);
    lua_insert(L, 1);
    lua_gc(L, LUA_GCCOLLECT);
    h->left = allocations;
    int status = lua_pcall(L, 2, 1, 0);
    h->left = -1;
    if (status == LUA_OK) {
        size_t n;
        const char *text = lua_tolstring(L, -1, &n);
        CHECK(n > 8192 && memcmp(text, "{\"array\":[0,[0],[1]", 19) == 0);
    } else {
        CHECK(status == LUA_ERRMEM);
    }
    lua_close(L);
    return status;
}

int main(void)
{
    struct heap h = {.left = -1};
    long allocations = 0;
    CHECK(run(&h, -1) == LUA_OK);
    while (run(&h, allocations) != LUA_OK && CHECK(h.bytes == 0))
        allocations++;
    CHECK(h.bytes == 0);
    CHECK(allocations > 300); /* the document needs that many: it was really tried */
    return check_report();
}
