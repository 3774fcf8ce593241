/*
 * test_task_memory.c - tasks, groups, signals, fetches and failover when memory runs out: the n-th allocation of a script fails,
 * together with all that follow or only with the next one (Lua tries twice), for every n. The script may fail; nothing
 * may crash, hang or leak.
 */
#include "api/api.h"
#include "base/log.h"
#include "check.h"
#include "failover/health.h"
#include "io/fetch.h"
#include "io/loop.h"
#include "io/serve.h"
#include "io/serve_reply.h"
#include "script/host.h"
#include "script/state.h"
#include "script/task.h"

#include <fcntl.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 5000
#define FOREVER (1 << 30)

static const char script[] =
    "local task, fetch, failover, url = ...\n"
    "local function attempt()\n"
    "  local endpoint = failover.endpoint('p', 'key', 'model', { max_inflight = 1 })\n"
    "  local limiter, pause = failover.limiter { max_inflight = 1, rate = 1000, burst = 1 }, failover.pause()\n"
    "  local group <close> = task.group()\n"
    "  for _ = 1, 2 do\n"
    "    group:spawn(function()\n"
    "      local attempt <close> = assert(endpoint:start(false, 5))\n"
    "      assert(limiter:acquire(5, pause))\n"
    "      attempt:content()\n"
    "      task.yield()\n"
    "      limiter:release()\n"
    "      attempt:succeed()\n"
    "    end)\n"
    "  end\n"
    "  pause:wait(0)\n"
    "  group:wait()\n"
    "  assert(#failover.health() == 1 and endpoint:status().successes >= 2)\n"
    "end\n"
    "local function stream()\n"
    "  local handle <close> = assert(fetch.open { url = url, frame = 'sse', method = 'POST', body = 'x', headers = { a = '1' } })\n"
    "  local head, bytes = assert(handle:head()), 0\n"
    "  assert(head.status == 200 and head.headers['content-type'])\n"
    "  for data, event in handle.next, handle do\n"
    "    bytes = bytes + #data + #event\n"
    "  end\n"
    "  return bytes\n"
    "end\n"
    "local function numbers()\n"
    "  for i = 1, 3 do\n"
    "    task.yield()\n"
    "    coroutine.yield(i)\n"
    "  end\n"
    "end\n"
    "return function()\n"
    "  local changed, sum = task.signal(), 0\n"
    "  do\n"
    "    local group <close> = task.group()\n"
    "    local one, two = group:spawn(stream), group:spawn(stream)\n"
    "    group:spawn(function() changed:wait() sum = sum + 1 end)\n"
    "    group:spawn(function(...) task.yield() sum = sum + select('#', ...) changed:wake() end, table.unpack({}, 1, 100))\n"
    "    for i in coroutine.wrap(numbers) do sum = sum + i end\n"
    "    local bytes = task.deadline(5, one.wait, one)\n"
    "    local more = task.shield(5, two.wait, two)\n"
    "    group:wait()\n"
    "    sum = sum + bytes + more\n"
    "  end\n"
    "  local ok = pcall(function()\n"
    "    local group <close> = task.group()\n"
    "    group:spawn(task.sleep, 60)\n"
    "    group:spawn(error, { 'first' })\n"
    "  end)\n"
    "  local closed = coroutine.create(stream)\n"
    "  assert(not ok and coroutine.close(closed))\n"
    "  local failing, lazy = task.spawn(error, 'x'), task.spawn(task.sleep, 60)\n"
    "  assert(not pcall(failing.wait, failing))\n"
    "  lazy:cancel()\n"
    "  assert(not pcall(lazy.wait, lazy))\n"
    "  assert(not pcall(task.deadline, 0, task.sleep, 60))\n"
    "  attempt()\n"
    "  local refused <close> = fetch.open { url = 'http://127.0.0.1:1/' }\n"
    "  assert(not refused:head() and task.current():state() == 'active')\n"
    "  return sum\n"
    "end\n";

#define SUM (1 + 100 + 1 + 2 + 3 + 2 * 3 * 9) /* what the script returns */

static const char stream[] = "event: word\ndata: hello\n\nevent: word\ndata: hello\n\nevent: word\ndata: hello\n\n";

/* The script's memory */

struct heap {
    struct pool *pool;
    size_t bytes;   /* in use */
    long left;      /* allocations that succeed; negative: all */
    int refusals;   /* how many fail after these */
    bool has_failed;
};

static bool is_refused(struct heap *h)
{
    if (h->left < 0)
        return false;
    if (h->left-- > 0)
        return false;
    h->left = --h->refusals > 0 ? 0 : -1;
    h->has_failed = true;
    return true;
}

static void *reallocate(void *user, void *old, size_t old_bytes, size_t bytes)
{
    struct heap *h = user;
    size_t had = old ? old_bytes : 0;
    if (bytes > had && is_refused(h)) /* shrinking never fails, as Lua demands */
        return NULL;
    h->bytes = h->bytes - had + bytes;
    void *p = pool_resize(h->pool, old, had, bytes);
    if (bytes && !p)
        abort();
    return p;
}

/* The process */

static struct {
    struct loop *loop;
    struct serve *serve;
    struct log *log;
} t;

static void on_request(void *user, struct serve_request *r)
{
    UNUSED(user);
    static const struct http1_header type = {{"content-type", 12}, {"text/event-stream", 17}};
    struct serve_reply head = {.status = 200, .headers = &type, .header_count = 1};
    struct err_info info;
    CHECK(serve_reply_send(r, &head, (struct slice){stream, sizeof stream - 1}, &info) == ERR_OK);
    serve_request_free(r);
}

static void set_up(void)
{
    struct serve_options o;
    struct err_info info;
    serve_options_init(&o);
    t.log = log_new(open("/dev/null", O_WRONLY), clock_system());
    if (loop_open(&t.loop, clock_system(), &info) != ERR_OK || serve_open(&t.serve, t.loop, &o, on_request, NULL, &info) != ERR_OK)
        abort();
}

/* A host */

static int f_start(lua_State *L)
{
    struct host *h = lua_touserdata(L, 1);
    if (luaL_loadstring(L, script) != LUA_OK)
        return lua_error(L);
    luaL_requiref(L, "perilune.sys.task", luaopen_perilune_sys_task, 0);
    luaL_requiref(L, "perilune.sys.fetch", luaopen_perilune_sys_fetch, 0);
    luaL_requiref(L, "perilune.sys.failover", luaopen_perilune_sys_failover, 0);
    lua_pushfstring(L, "http://127.0.0.1:%d/", serve_port(t.serve));
    lua_call(L, 4, 1);
    lua_gc(L, LUA_GCCOLLECT);
    h->main = task_spawn(L, 0);
    return 0;
}

static void on_impatience(struct loop_timer *timer)
{
    UNUSED(timer);
}

/* Until `t` is done, or all tasks if it is NULL. */
static bool run_until_done(struct host *h, struct task *task)
{
    struct loop_timer patience = {0};
    loop_timer_start(h->loop, &patience, PATIENCE_MS, on_impatience);
    for (;;) {
        tasks_drain(h->tasks);
        if ((task ? task_is_done(task) : tasks_live(h->tasks) == 0) || !loop_timer_is_on(&patience))
            break;
        loop_step(h->loop, tasks_any_ready(h->tasks) ? LOOP_NOWAIT : LOOP_WAIT);
    }
    bool is_done = loop_timer_is_on(&patience);
    loop_timer_stop(h->loop, &patience);
    return is_done;
}

static void tear_down(struct host *h, struct heap *heap)
{
    tasks_cancel_all(h->tasks, "shutdown");
    CHECK(run_until_done(h, NULL));
    tasks_kill_all(h->tasks);
    task_unref(h->L, h->main);
    lua_close(h->L);
    pool_deinit(heap->pool);
    CHECK(heap->bytes == 0 && fetcher_live(h->fetcher) == 0);
    fetcher_free(h->fetcher);
    loop_step(t.loop, LOOP_NOWAIT); /* slots that were granted and given up */
    health_free(h->health);
    tasks_free(h->tasks);
}

/* Runs the script; the first `allocations` succeed (negative: all), then so many are refused. True if it noticed nothing. */
static bool run(long allocations, int refusals)
{
    struct state_budget budget = {.max_bytes = (size_t)1 << 30};
    struct host h = {.clock = clock_system(), .log = t.log, .loop = t.loop, .fetcher = fetcher_new(t.loop, 10),
                     .health = health_new(clock_system()), .budget = &budget};
    h.tasks = tasks_new(&h);
    h.L = state_new(&h, &budget);
    struct heap heap = {.pool = &budget.pool, .bytes = budget.used_bytes, .left = -1};
    lua_setallocf(h.L, reallocate, &heap);
    lua_pushcfunction(h.L, f_start);
    lua_pushlightuserdata(h.L, &h);
    if (lua_pcall(h.L, 1, 0, 0) != LUA_OK)
        abort();
    heap.left = allocations;
    heap.refusals = refusals;
    if (!CHECK(run_until_done(&h, h.main)))
        fprintf(stderr, "  allocations: %ld\n", allocations);
    heap.left = -1;
    if (!heap.has_failed && CHECK(!task_has_failed(h.main))) {
        CHECK(task_push_results(h.L, h.main) == 1 && lua_tointeger(h.L, -1) == SUM);
        lua_pop(h.L, 1);
    }
    tear_down(&h, &heap);
    return !heap.has_failed;
}

static void test_refusals(int refusals)
{
    long allocations = 0;
    while (!run(allocations, refusals) && checks_failed == 0)
        allocations++;
    CHECK(allocations > 100); /* it was really tried */
}

int main(void)
{
    set_up();
    CHECK(run(-1, 0));
    test_refusals(FOREVER);
    test_refusals(2);
    serve_close(t.serve);
    CHECK(loop_close(t.loop) == 0);
    log_free(t.log);
    return check_report();
}
