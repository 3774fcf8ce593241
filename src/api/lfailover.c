/*
 * lfailover.c - perilune.sys.failover: the endpoints of the process (breakers, caps, health), the retry budget, delays and
 * Retry-After, for Lua. The mechanism is in src/failover/; what waits without an endpoint is in lfailover_wait.c. Which
 * target is asked, and what a failure means, is lua/perilune/model's business.
 */
#include "lfailover.h"

#include "../failover/backoff.h"
#include "../failover/health.h"
#include "../failover/retry_after.h"
#include "../script/args.h"
#include "../script/host.h"
#include "api.h"

#include <string.h>

#define ENDPOINT_TYPE "perilune.failover.endpoint"
#define ATTEMPT_TYPE "perilune.failover.attempt"
#define HISTOGRAM_TYPE "perilune.failover.histogram"
#define WAIT_INDEX 6 /* of m_start: self, is_forced, max_wait, pause, attempt, wait */

static struct health *health_of(lua_State *L)
{
    return host_of(L)->health;
}

static struct slice check_slice(lua_State *L, int arg)
{
    struct slice s;
    s.p = luaL_checklstring(L, arg, &s.n);
    return s;
}

/* Endpoints */

struct handle {
    struct endpoint *endpoint; /* NULL: collected */
};

static struct endpoint *check_endpoint(lua_State *L)
{
    struct handle *handle = luaL_checkudata(L, 1, ENDPOINT_TYPE);
    if (!handle->endpoint)
        luaL_error(L, "the endpoint was already collected");
    return handle->endpoint;
}

static void read_count(lua_State *L, const char *name, lua_Integer min, lua_Integer max, int *out)
{
    lua_Integer value = *out;
    opt_integer(L, 4, name, min, max, &value);
    *out = (int)value;
}

static void read_time(lua_State *L, const char *name, int64_t *out_us)
{
    int64_t ms = *out_us / 1000;
    opt_seconds(L, 4, name, &ms);
    *out_us = ms * 1000;
}

static void read_settings(lua_State *L, struct endpoint_settings *s)
{
    static const char *const names[] = {"failures", "successes", "open", "open_max", "window", "window_requests", "max_inflight", "queue", NULL};
    opt_only(L, 4, names);
    read_count(L, "failures", 1, 1000000, &s->breaker.failures);
    read_count(L, "successes", 1, 1000000, &s->breaker.successes);
    read_time(L, "open", &s->breaker.open_us);
    read_time(L, "open_max", &s->breaker.open_us_max);
    read_time(L, "window", &s->breaker.window_us);
    read_count(L, "window_requests", 1, 1000000, &s->breaker.window_requests);
    read_count(L, "max_inflight", 1, FAILOVER_INFLIGHT_MAX, &s->inflight_max);
    read_count(L, "queue", 0, FAILOVER_QUEUE_MAX, &s->queue_max);
}

/* endpoint(provider, credential, model, options?) */
static int f_endpoint(lua_State *L)
{
    struct endpoint_name name = {check_slice(L, 1), check_slice(L, 2), check_slice(L, 3)};
    struct endpoint_settings settings;
    bool has_settings = !lua_isnoneornil(L, 4);
    endpoint_settings_init(&settings);
    if (has_settings)
        read_settings(L, &settings);
    struct handle *handle = lua_newuserdatauv(L, sizeof *handle, 0);
    handle->endpoint = NULL;
    luaL_setmetatable(L, ENDPOINT_TYPE);
    handle->endpoint = health_endpoint(health_of(L), &name, has_settings ? &settings : NULL);
    return 1;
}

static int mm_endpoint_gc(lua_State *L)
{
    struct handle *handle = luaL_checkudata(L, 1, ENDPOINT_TYPE);
    if (handle->endpoint)
        health_release(health_of(L), handle->endpoint);
    handle->endpoint = NULL;
    return 0;
}

static bool leave_endpoint(lua_State *L, struct lfailover_wait *w)
{
    return health_leave(health_of(L), w->limited, &w->slot->wait);
}

static int turn_away(lua_State *L, const char *why, int64_t retry_us)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    lua_pushnumber(L, (lua_Number)retry_us / 1e6);
    return 3;
}

static int finish_start(lua_State *L, enum start answer, int64_t retry_us)
{
    static const char *const names[] = {
        [START_WAIT] = "queue_timeout", [START_QUEUE_FULL] = "queue_full", [START_PARKED] = "parked",
        [START_COOLING] = "cooling",    [START_OPEN] = "open",
    };
    if (answer != START_OK)
        return turn_away(L, names[answer], retry_us);
    lua_pushvalue(L, WAIT_INDEX - 1);
    return 1;
}

static int start_k(lua_State *L, int status, lua_KContext ctx)
{
    struct endpoint *e = check_endpoint(L);
    struct attempt *a = lua_touserdata(L, WAIT_INDEX - 1);
    struct lfailover_wait *w = lua_touserdata(L, WAIT_INDEX);
    int64_t retry_us = FAILOVER_TURNED_AWAY_US;
    UNUSED(status);
    UNUSED(ctx);
    task_woken(L);
    if (lfailover_is_woken(w))
        return turn_away(L, "interrupted", 0);
    if (!w->slot->has_come)
        return finish_start(L, START_WAIT, retry_us);
    return finish_start(L, health_start(health_of(L), e, lua_toboolean(L, 2), &w->slot->wait, a, &retry_us), retry_us);
}

/* No slot is free. */
static int start_waiting(lua_State *L, struct endpoint *e, struct attempt *a)
{
    int64_t now_us = clock_mono_us(host_of(L)->clock), deadline_us = lfailover_check_deadline_us(L, 3);
    int64_t retry_us = FAILOVER_TURNED_AWAY_US;
    if (deadline_us <= now_us)
        return finish_start(L, START_WAIT, retry_us);
    struct lfailover_wait *w = lfailover_push_wait(L, lua_isnil(L, 4) ? 0 : 4, 0);
    if (lfailover_is_woken(w))
        return turn_away(L, "interrupted", 0);
    struct limiter_wait *wait = lfailover_slot(w, deadline_us, e, leave_endpoint);
    enum start answer = health_start(health_of(L), e, lua_toboolean(L, 2), wait, a, &retry_us);
    if (answer != START_WAIT)
        return finish_start(L, answer, retry_us);
    return lfailover_suspend(L, w, deadline_us - now_us, start_k);
}

/* endpoint:start(is_forced?, max_wait?, pause?) -> attempt | nil, why, seconds */
static int m_start(lua_State *L)
{
    struct endpoint *e = check_endpoint(L);
    int64_t retry_us = 0;
    lua_settop(L, WAIT_INDEX - 2);
    struct attempt *a = lua_newuserdatauv(L, sizeof *a, 0);
    memset(a, 0, sizeof *a);
    luaL_setmetatable(L, ATTEMPT_TYPE);
    enum start answer = health_start(health_of(L), e, lua_toboolean(L, 2), NULL, a, &retry_us);
    return answer == START_WAIT ? start_waiting(L, e, a) : finish_start(L, answer, retry_us);
}

/* endpoint:park(seconds, reason) */
static int m_park(lua_State *L)
{
    struct endpoint *e = check_endpoint(L);
    int64_t us = lfailover_check_seconds_us(L, 2);
    health_park(health_of(L), e, us, check_slice(L, 3));
    return 0;
}

/* endpoint:cool(seconds, reason) */
static int m_cool(lua_State *L)
{
    struct endpoint *e = check_endpoint(L);
    int64_t us = lfailover_check_seconds_us(L, 2);
    health_cool(health_of(L), e, us, check_slice(L, 3));
    return 0;
}

/* Attempts */

static struct attempt *check_attempt(lua_State *L)
{
    return luaL_checkudata(L, 1, ATTEMPT_TYPE);
}

static int end(lua_State *L, enum verdict verdict, struct slice reason)
{
    health_end(health_of(L), check_attempt(L), verdict, reason, &host_of(L)->tokens);
    return 0;
}

/* attempt:content(): the first content has come */
static int m_content(lua_State *L)
{
    health_content(health_of(L), check_attempt(L));
    return 0;
}

static int m_succeed(lua_State *L)
{
    return end(L, VERDICT_GOOD, (struct slice){"", 0});
}

/* attempt:fail(reason): a strike */
static int m_fail(lua_State *L)
{
    return end(L, VERDICT_BAD, check_slice(L, 2));
}

/* attempt:drop(): no verdict; also __close and __gc */
static int m_drop(lua_State *L)
{
    return end(L, VERDICT_NONE, (struct slice){"", 0});
}

/* Health */

static void set_integer(lua_State *L, const char *name, uint64_t value)
{
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

static void set_seconds(lua_State *L, const char *name, double us)
{
    lua_pushnumber(L, us / 1e6);
    lua_setfield(L, -2, name);
}

/* [-0, +1, m] Without a count, zeroes are not numbers anybody measured: they are left out. */
static void push_summary(lua_State *L, const struct latency_summary *s)
{
    lua_createtable(L, 0, 6);
    set_integer(L, "count", s->count);
    if (s->count == 0)
        return;
    set_seconds(L, "mean", s->mean_us);
    set_seconds(L, "p50", (double)s->p50_us);
    set_seconds(L, "p95", (double)s->p95_us);
    set_seconds(L, "p99", (double)s->p99_us);
    set_seconds(L, "max", (double)s->max_us);
}

/* [-0, +1, m] */
static void push_row(lua_State *L, const struct health_row *row)
{
    const struct {
        const char *name, *text;
    } texts[] = {{"provider", row->provider}, {"model", row->model}, {"credential", row->credential}, {"state", row->state}};
    lua_createtable(L, 0, 14);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        lua_pushstring(L, texts[i].text);
        lua_setfield(L, -2, texts[i].name);
    }
    set_integer(L, "requests", row->requests);
    set_integer(L, "successes", row->successes);
    set_integer(L, "failures", row->failures);
    set_integer(L, "inflight", (uint64_t)row->inflight);
    set_integer(L, "queued", (uint64_t)row->queued);
    push_summary(L, &row->latency);
    lua_setfield(L, -2, "latency");
    push_summary(L, &row->first_content);
    lua_setfield(L, -2, "first_content");
    if (row->retry_us)
        set_seconds(L, "retry_in", (double)row->retry_us);
    if (row->last_error_us) {
        lua_pushstring(L, row->last_error);
        lua_setfield(L, -2, "last_error");
        set_seconds(L, "last_error_at", (double)row->last_error_us);
    }
}

/* endpoint:status() -> row */
static int m_status(lua_State *L)
{
    struct health_row row;
    health_status(health_of(L), check_endpoint(L), &row);
    push_row(L, &row);
    return 1;
}

/* health() -> rows, sorted by name */
static int f_health(lua_State *L)
{
    struct health *h = health_of(L);
    size_t count = health_list(h, NULL, 0);
    struct health_row *rows = lua_newuserdatauv(L, (count + 1) * sizeof *rows, 0);
    count = health_list(h, rows, count);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        push_row(L, &rows[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int f_reset(lua_State *L)
{
    health_reset(health_of(L));
    return 0;
}

/* The retry budget */

static int f_note_request(lua_State *L)
{
    health_note_request(health_of(L));
    return 0;
}

static int f_begin_retry(lua_State *L)
{
    lua_pushboolean(L, health_begin_retry(health_of(L)));
    return 1;
}

static int f_end_retry(lua_State *L)
{
    health_end_retry(health_of(L));
    return 0;
}

/* Times */

/* delay(attempt, base, max) -> seconds */
static int f_delay(lua_State *L)
{
    lua_Integer attempt = luaL_checkinteger(L, 1);
    luaL_argcheck(L, attempt >= 1, 1, "attempts count from 1");
    int64_t base_us = lfailover_check_seconds_us(L, 2), max_us = lfailover_check_seconds_us(L, 3);
    lua_pushnumber(L, (lua_Number)backoff_us(&host_of(L)->tokens, attempt, base_us, max_us) / 1e6);
    return 1;
}

/* retry_after(text, kind) -> seconds | nil */
static int f_retry_after(lua_State *L)
{
    static const char *const names[] = {"retry-after", "retry-after-ms", "reset", "message", NULL};
    static const enum retry_after_kind kinds[] = {RETRY_AFTER_SECONDS, RETRY_AFTER_MS, RETRY_AFTER_SECONDS, RETRY_AFTER_MESSAGE};
    struct slice text = check_slice(L, 1);
    enum retry_after_kind kind = kinds[luaL_checkoption(L, 2, NULL, names)];
    double seconds;
    if (retry_after_parse(text, kind, clock_wall_us(host_of(L)->clock), &seconds))
        lua_pushnumber(L, seconds);
    else
        lua_pushnil(L);
    return 1;
}

/* Histograms */

static struct latency *check_histogram(lua_State *L)
{
    return luaL_checkudata(L, 1, HISTOGRAM_TYPE);
}

static int f_histogram(lua_State *L)
{
    struct latency *l = lua_newuserdatauv(L, sizeof *l, 0);
    memset(l, 0, sizeof *l);
    luaL_setmetatable(L, HISTOGRAM_TYPE);
    return 1;
}

/* histogram:add(seconds) */
static int m_add(lua_State *L)
{
    latency_add(check_histogram(L), lfailover_check_seconds_us(L, 2));
    return 0;
}

/* histogram:summary() -> { count, mean, p50, p95, p99, max } */
static int m_summary(lua_State *L)
{
    struct latency_summary summary = latency_summary(check_histogram(L));
    push_summary(L, &summary);
    return 1;
}

static const luaL_Reg endpoint_methods[] = {
    {"start", m_start}, {"park", m_park}, {"cool", m_cool}, {"status", m_status}, {NULL, NULL}};
static const luaL_Reg endpoint_metamethods[] = {{"__gc", mm_endpoint_gc}, {NULL, NULL}};
static const luaL_Reg attempt_methods[] = {
    {"content", m_content}, {"succeed", m_succeed}, {"fail", m_fail}, {"drop", m_drop}, {NULL, NULL}};
static const luaL_Reg attempt_metamethods[] = {{"__close", m_drop}, {"__gc", m_drop}, {NULL, NULL}};
static const luaL_Reg histogram_methods[] = {{"add", m_add}, {"summary", m_summary}, {NULL, NULL}};
static const luaL_Reg no_metamethods[] = {{NULL, NULL}};

static const luaL_Reg functions[] = {
    {"endpoint", f_endpoint},       {"health", f_health},           {"reset", f_reset}, {"note_request", f_note_request},
    {"begin_retry", f_begin_retry}, {"end_retry", f_end_retry},     {"delay", f_delay}, {"retry_after", f_retry_after},
    {"histogram", f_histogram},     {NULL, NULL},
};

int luaopen_perilune_sys_failover(lua_State *L)
{
    args_new_type(L, ENDPOINT_TYPE, endpoint_methods, endpoint_metamethods);
    args_new_type(L, ATTEMPT_TYPE, attempt_methods, attempt_metamethods);
    args_new_type(L, HISTOGRAM_TYPE, histogram_methods, no_metamethods);
    luaL_newlib(L, functions);
    lfailover_wait_install(L);
    return 1;
}
