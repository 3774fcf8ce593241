/*
 * generator.c - coroutine.resume, wrap and close for scripts. A wait inside a generator belongs to the task, not
 * to whoever asked the generator for its next value: it is handed up, and the generator goes on where it was when
 * the task is woken; meanwhile nobody else can resume or close it. Everything else is as in Lua's own library.
 */
#include "generator.h"

#include "../base/base.h"
#include "task.h"

#include <lauxlib.h>

static lua_State *check_coroutine(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co, 1, "coroutine");
    return co;
}

static int resume_k(lua_State *L, int status, lua_KContext is_wrap);

/* Resumes the coroutine at index 1 with nargs values that are on its stack; -1: error on top of L. */
static int resume_step(lua_State *L, lua_State *co, int nargs, lua_KContext is_wrap)
{
    int nvalues;
    int status = task_resume(L, co, nargs, &nvalues);
    if (task_is_waiting(co) && lua_isyieldable(L))
        return task_wait(L, is_wrap, resume_k);
    if (task_is_waiting(co)) {
        task_reset(co); /* its operation is released: nobody would wake it */
        lua_settop(co, 0);
        return luaL_error(L, "cannot wait here: the generator was resumed by code that cannot wait");
    }
    if (status == LUA_OK || status == LUA_YIELD) {
        luaL_checkstack(L, nvalues + 1, "too many results to resume");
        if (!is_wrap)
            lua_pushboolean(L, 1);
        lua_xmove(co, L, nvalues);
        return is_wrap ? nvalues : nvalues + 1;
    }
    if (is_wrap) {
        task_reset(co); /* leaves the error on top */
        lua_xmove(co, L, 1);
        return lua_error(L);
    }
    lua_pushboolean(L, 0);
    lua_xmove(co, L, 1);
    return 2;
}

static int resume_k(lua_State *L, int status, lua_KContext is_wrap)
{
    UNUSED(status);
    lua_State *co = lua_tothread(L, is_wrap ? lua_upvalueindex(1) : 1);
    lua_settop(L, is_wrap ? 0 : 1);
    return resume_step(L, co, 0, is_wrap);
}

static bool is_resumable(lua_State *co, int nargs)
{
    return lua_status(co) == LUA_YIELD || (lua_status(co) == LUA_OK && lua_gettop(co) > 0 && nargs >= 0);
}

static bool is_running(lua_State *L, lua_State *co)
{
    lua_Debug ar;
    return co == L || (lua_status(co) == LUA_OK && lua_getstack(co, 0, &ar));
}

static int resume(lua_State *L, lua_State *co, int nargs, lua_KContext is_wrap)
{
    const char *problem = NULL;
    if (is_running(L, co))
        problem = "cannot resume non-suspended coroutine";
    else if (task_is_waiting(co))
        problem = "cannot resume a coroutine that waits: another task resumed it, or it is a task";
    else if (!is_resumable(co, nargs))
        problem = "cannot resume dead coroutine";
    else if (!lua_checkstack(co, nargs))
        problem = "too many arguments to resume";
    if (problem && is_wrap)
        return luaL_error(L, "%s", problem);
    if (problem) {
        lua_pushboolean(L, 0);
        lua_pushstring(L, problem);
        return 2;
    }
    lua_xmove(L, co, nargs);
    return resume_step(L, co, nargs, is_wrap);
}

static int f_resume(lua_State *L)
{
    lua_State *co = check_coroutine(L);
    return resume(L, co, lua_gettop(L) - 1, 0);
}

static int f_wrapped(lua_State *L)
{
    return resume(L, lua_tothread(L, lua_upvalueindex(1)), lua_gettop(L), 1);
}

static int f_wrap(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    lua_pushcclosure(L, f_wrapped, 1);
    return 1;
}

static int f_close(lua_State *L)
{
    lua_State *co = check_coroutine(L);
    if (is_running(L, co))
        return luaL_error(L, "cannot close a running coroutine");
    if (task_is_waiting(co))
        return luaL_error(L, "cannot close a coroutine that waits: another task resumed it, or it is a task");
    bool is_ok = task_reset(co) == LUA_OK;
    lua_pushboolean(L, is_ok);
    if (is_ok)
        return 1;
    lua_xmove(co, L, 1);
    return 2;
}

void generator_install(lua_State *L)
{
    lua_getglobal(L, "coroutine");
    lua_pushcfunction(L, f_close);
    lua_setfield(L, -2, "close");
    lua_pushcfunction(L, f_resume);
    lua_setfield(L, -2, "resume");
    lua_pushcfunction(L, f_wrap);
    lua_setfield(L, -2, "wrap");
    lua_pop(L, 1);
}
