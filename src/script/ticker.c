/*
 * ticker.c - a POSIX timer with SIGEV_THREAD_ID. It fires after 10 ms, and is armed again when a task is entered or
 * the hook has run: setting a hook walks the whole call stack, and a periodic timer could leave a very deep
 * one no time for anything else.
 */
#include "ticker.h"

#include "../base/mem.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#define TICK_NS 10000000 /* 10 ms */
#define AGAIN_S 1        /* a hook that Lua missed while it changed frames is set again after this long */

#ifndef sigev_notify_thread_id /* glibc before 2.38 has no name for it */
#define sigev_notify_thread_id _sigev_un._tid
#endif

struct ticker { /* owned by the tasks */
    timer_t timer;
    lua_Hook hook;
    lua_State *volatile running;
    volatile sig_atomic_t is_armed;
};

static void arm(struct ticker *t)
{
    struct itimerspec spec = {.it_value.tv_nsec = TICK_NS, .it_interval.tv_sec = AGAIN_S};
    t->is_armed = 1;
    timer_settime(t->timer, 0, &spec, NULL);
}

static void disarm(struct ticker *t)
{
    struct itimerspec never = {{0}, {0}};
    timer_settime(t->timer, 0, &never, NULL);
}

static void on_tick(int signum, siginfo_t *info, void *context)
{
    UNUSED(signum);
    UNUSED(context);
    struct ticker *t = info->si_value.sival_ptr;
    if (info->si_code != SI_TIMER || !t)
        return;
    t->is_armed = 0;
    if (t->running)
        lua_sethook(t->running, t->hook, LUA_MASKCOUNT, 1);
    else
        disarm(t);
}

struct ticker *ticker_new(lua_Hook hook)
{
    struct ticker *t = mem_zero(1, sizeof *t);
    struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigevent event = {
        .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 1, .sigev_value.sival_ptr = t, .sigev_notify_thread_id = gettid()};
    t->hook = hook;
    sigemptyset(&action.sa_mask);
    int rc = sigaction(SIGRTMIN + 1, &action, NULL);
    ASSERT(rc == 0);
    rc = timer_create(CLOCK_MONOTONIC, &event, &t->timer);
    ASSERT(rc == 0);
    return t;
}

void ticker_free(struct ticker *t)
{
    timer_delete(t->timer);
    signal(SIGRTMIN + 1, SIG_IGN); /* one that is still on its way must not find freed memory */
    mem_free(t);
}

lua_State *ticker_enter(struct ticker *t, lua_State *co)
{
    lua_State *before = t->running;
    t->running = co;
    if (co && !t->is_armed)
        arm(t);
    return before;
}

void ticker_done(struct ticker *t, lua_State *L, int count)
{
    lua_sethook(L, count ? lua_gethook(L) : NULL, count ? LUA_MASKCOUNT : 0, count);
    if (!t->is_armed)
        arm(t);
}
