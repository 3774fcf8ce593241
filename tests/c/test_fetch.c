/*
 * test_fetch.c - outgoing HTTP where the process is at its limits: no descriptor left. Everything else about fetches is in
 * tests/unit/fetch_spec.lua.
 */
#include "base/limits.h"
#include "check.h"
#include "io/fetch.h"
#include "io/serve.h"
#include "io/serve_reply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static struct {
    struct loop *loop;
    struct serve *serve;
    struct fetcher *fetcher;
} t;

static void on_request(void *user, struct serve_request *r)
{
    UNUSED(user);
    struct serve_reply head = {.status = 200};
    struct err_info info;
    CHECK(serve_reply_send(r, &head, (struct slice){"hello", 5}, &info) == ERR_OK);
    serve_request_free(r);
}

static void on_change(void *user)
{
    UNUSED(user);
}

static struct fetch *start(void)
{
    static char url[64];
    struct err_info info;
    struct fetch *f;
    int n = snprintf(url, sizeof url, "http://127.0.0.1:%d/", serve_port(t.serve));
    struct fetch_options o = {.method = {"GET", 3}, .url = {url, (size_t)n}, .frame = FRAME_WHOLE, .total_ms = 5000, .proxy = {"", 0},
                              .body_bytes_max = 100, .frame_bytes_max = 100};
    if (fetch_start(t.fetcher, &o, on_change, NULL, &f, &info) != ERR_OK)
        abort();
    return f;
}

/* How it ended; `info` says why it failed. */
static enum fetch_step finish(struct fetch *f, struct err_info *info)
{
    struct slice data, event;
    enum fetch_step step;
    while ((step = fetch_next(f, &data, &event, info)) == FETCH_WAIT)
        loop_step(t.loop, LOOP_WAIT);
    if (step == FETCH_FRAME)
        CHECK(slice_is(data, "hello") && fetch_next(f, &data, &event, info) == FETCH_END);
    fetch_close(f);
    return step;
}

static void test_descriptors(void)
{
    struct err_info info;
    struct rlimit before, none;
    struct fetch *first = start();
    CHECK(finish(first, &info) == FETCH_FRAME); /* libcurl is loaded; a connection is kept */
    struct fetch *kept = start(), *refused = start();
    int next = dup(0);
    close(next);
    getrlimit(RLIMIT_NOFILE, &before);
    none = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(finish(refused, &info) == FETCH_FAILED && info.code == ERR_CONNECT && info.os_errno == EMFILE);
    CHECK(finish(kept, &info) == FETCH_FRAME); /* over the connection that there is */
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    struct fetch *again[3] = {start(), start(), start()};
    for (size_t i = 0; i < ARRAY_LEN(again); i++)
        CHECK(finish(again[i], &info) == FETCH_FRAME);
}

int main(void)
{
    struct serve_options o;
    struct err_info info;
    serve_options_init(&o);
    if (loop_open(&t.loop, clock_system(), &info) != ERR_OK || serve_open(&t.serve, t.loop, &o, on_request, NULL, &info) != ERR_OK)
        abort();
    t.fetcher = fetcher_new(t.loop, FETCH_POOL_CONNECTIONS);
    test_descriptors();
    CHECK(fetcher_live(t.fetcher) == 0);
    fetcher_free(t.fetcher);
    serve_close(t.serve);
    CHECK(loop_close(t.loop) == 0);
    return check_report();
}
