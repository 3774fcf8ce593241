/*
 * test_serve_ends.c - how connections of the server layer end: deadlines, clients that vanish, stall or half-close, a
 * server that is closed, and what happens when there are too many.
 */
#include "serve_client.h"

#include <sys/resource.h>

/* Deadlines */

static void test_deadlines(void)
{
    struct serve_options options;
    serve_options_init(&options);
    options.head_ms = 1000;
    options.body_ms = 2000;
    options.idle_ms = 5000;
    start(&options);
    struct client c = client_open(); /* connect and say nothing */
    settle(&c);
    CHECK(serve_connections(t.serve) == 1);
    pass(&c, 900);
    CHECK(!c.is_eof);
    pass(&c, 101);
    CHECK(c.is_eof && c.in.n == 0 && serve_connections(t.serve) == 0);
    client_close(&c, false);

    c = client_open(); /* a head that drips: the deadline is absolute */
    settle(&c);
    for (int i = 0; i < 12 && !c.is_eof; i++) {
        send(c.fd, &"GET / HTTP/1.1"[i], 1, MSG_NOSIGNAL);
        pass(&c, 100);
        CHECK(c.is_eof == (i >= 9));
    }
    CHECK(has(&c, "HTTP/1.1 408 ") && serve_connections(t.serve) == 0);
    client_close(&c, false);

    c = client_open(); /* a body that drips */
    client_say(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\n");
    settle(&c);
    for (int i = 0; i < 22 && !c.is_eof; i++) {
        send(c.fd, "x", 1, MSG_NOSIGNAL);
        pass(&c, 100);
        CHECK(c.is_eof == (i >= 19));
    }
    CHECK(has(&c, "HTTP/1.1 408 ") && t.request_count == 0);
    client_close(&c, false);

    c = client_open(); /* idle after an answer, with a second request in between */
    for (int i = 0; i < 2; i++) {
        client_say(&c, "GET /query?x HTTP/1.1\r\n" HOST "\r\n");
        settle(&c);
        pass(&c, 4900);
        CHECK(!c.is_eof);
    }
    client_say(&c, "GET"); /* a head begins: now its own deadline counts */
    settle(&c);
    pass(&c, 990);
    CHECK(!c.is_eof);
    pass(&c, 20);
    CHECK(c.is_eof && has(&c, "HTTP/1.1 408 "));
    client_close(&c, false);
    c = hold(GET_HOLD); /* no deadline while the handler works */
    pass(&c, 1000000);
    CHECK(!c.is_eof);
    reply(t.held[0], 200, SLICE("x"));
    settle(&c);
    pass(&c, 5001);
    CHECK(c.is_eof && ends_with(&c, "\r\n\r\nx"));
    client_close(&c, false);
    stop();
}

/* A body must come at 1 KB a second once it has had five seconds (abuse 45). */
static void test_slow_bodies(void)
{
    start_default();
    static const char head[] = "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 100000\r\n\r\n";
    struct client slow = client_open(), steady = client_open();
    client_say(&slow, head);
    client_say(&steady, head);
    client_send(&slow, big, 100, 100);
    for (int second = 0; second < 8; second++) {
        client_send(&steady, big, 1100, 1100);
        pass(&slow, 1000);
    }
    WAIT_FOR(&slow, slow.is_eof);
    CHECK(has(&slow, "408 Request Timeout"));
    settle(&steady);
    CHECK(!steady.is_eof && steady.in.n == 0);
    client_send(&steady, big, 100000 - 8 * 1100, 65536);
    WAIT_FOR(&steady, has(&steady, "200 OK"));
    client_close(&slow, false);
    client_close(&steady, false);
    stop();
}

static void test_write_stall(void)
{
    struct serve_options options;
    serve_options_init(&options);
    options.write_ms = 1000;
    start(&options);
    struct client c = hold(GET_HOLD);
    char *bytes = mem_zero(1, 32u << 20);
    CHECK(serve_reply_start(t.held[0], &(struct serve_reply){.status = 200}, NULL) == ERR_OK);
    CHECK(serve_reply_write(t.held[0], (struct slice){bytes, 32u << 20}, NULL) == ERR_OK);
    settle(NULL);
    pass(NULL, 900);
    size_t read_bytes = c.in.n;
    while (c.in.n < read_bytes + (4u << 20)) /* takes something: gets another second */
        pump(&c);
    pass(NULL, 900);
    CHECK(t.held[0]->state == SERVE_OPEN);
    pass(NULL, 1001);
    pass(NULL, 1001);
    CHECK(t.held[0]->state == SERVE_GONE && t.changes > 0 && serve_connections(t.serve) == 0);
    CHECK(serve_reply_write(t.held[0], SLICE("x"), NULL) == ERR_RESET);
    client_close(&c, false);
    mem_free(bytes);
    stop();
}

/* Ends */

static void test_half_close(void)
{
    start_default();
    struct client c = client_open();
    client_say(&c, "GET /query?one HTTP/1.1\r\n" HOST "\r\n" GET_HOLD GET_HOLD);
    shutdown(c.fd, SHUT_WR);
    WAIT_FOR(&c, t.held_count == 1 && t.held[0]->is_half_closed);
    CHECK(t.held[0]->state == SERVE_OPEN && t.changes > 0);
    reply(t.held[0], 200, SLICE("two"));
    CHECK(t.held_count == 2 && t.held[1]->is_half_closed);
    reply(t.held[1], 200, SLICE("three"));
    WAIT_FOR(&c, c.is_eof);
    CHECK(has(&c, "\r\n\r\none") && has(&c, "\r\n\r\ntwo") && ends_with(&c, "\r\n\r\nthree") && c.error == 0);
    client_close(&c, false);
    c = client_open(); /* half a head, half a body: nothing can come of them */
    client_say(&c, "GET / HT");
    shutdown(c.fd, SHUT_WR);
    WAIT_FOR(&c, c.is_eof);
    client_close(&c, false);
    c = client_open();
    client_say(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nabc");
    shutdown(c.fd, SHUT_WR);
    WAIT_FOR(&c, c.is_eof);
    CHECK(c.in.n == 0 && t.request_count == 3);
    client_close(&c, false);
    WAIT_FOR(NULL, serve_connections(t.serve) == 0);
    stop();
}

static void test_client_gone(void)
{
    start_default();
    struct client c = hold(GET_HOLD);
    client_close(&c, true);
    WAIT_FOR(NULL, t.held[0]->state == SERVE_GONE);
    struct err_info info;
    struct serve_reply head = {.status = 200};
    char remote[SERVE_REMOTE_BYTES];
    CHECK(t.changes > 0 && serve_reply_send(t.held[0], &head, SLICE("x"), &info) == ERR_RESET);
    CHECK(serve_request_remote(t.held[0], remote) == ERR_RESET);
    c = hold(GET_HOLD); /* gone without a reset: found out by writing, without SIGPIPE */
    CHECK(serve_request_remote(t.held[1], remote) == ERR_OK && strncmp(remote, "127.0.0.1:", 10) == 0);
    CHECK(serve_reply_start(t.held[1], &head, NULL) == ERR_OK);
    settle(&c);
    client_close(&c, false);
    for (int i = 0; i < 1000 && t.held[1]->state == SERVE_OPEN; i++) {
        enum err err = serve_reply_write(t.held[1], SLICE("data"), NULL);
        CHECK(err == ERR_OK || err == ERR_RESET);
        pump(NULL);
    }
    CHECK(t.held[1]->state == SERVE_GONE && serve_connections(t.serve) == 0);
    c = client_open(); /* a handler that gives up at once */
    client_say(&c, "GET /close HTTP/1.1\r\n" HOST "\r\n");
    WAIT_FOR(&c, c.is_eof);
    CHECK(c.in.n == 0 && c.error == 0);
    client_close(&c, false);
    stop();
}

static void test_close_with_work_open(void)
{
    start_default();
    struct client idle = client_open(), partial = client_open(), busy, answered;
    client_say(&partial, "POST / HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nabc");
    busy = hold(GET_HOLD);
    answered = hold(GET_HOLD);
    reply(t.held[1], 200, SLICE("sent before the close"));
    serve_close(t.serve);
    t.serve = NULL;
    CHECK(t.held[0]->state == SERVE_GONE && t.held[1]->state == SERVE_DONE);
    WAIT_FOR(&answered, answered.is_eof);
    CHECK(ends_with(&answered, "sent before the close"));
    WAIT_FOR(&busy, busy.is_eof);
    client_close(&idle, false);
    client_close(&partial, false);
    client_close(&busy, false);
    client_close(&answered, false);
    stop();
}

/* Limits */

static void test_connection_limit(void)
{
    struct serve_options options;
    serve_options_init(&options);
    options.connections_max = 2;
    start(&options);
    struct client a = client_open(), b = client_open(), c = client_open();
    client_say(&c, "GET /query?third HTTP/1.1\r\n" HOST "\r\n");
    settle(&c);
    CHECK(serve_connections(t.serve) == 2 && c.in.n == 0);
    client_close(&a, false);
    WAIT_FOR(&c, ends_with(&c, "third"));
    client_close(&b, false);
    client_close(&c, false);
    stop();
}

static void test_out_of_descriptors(void)
{
    struct rlimit old, low = {.rlim_cur = 64};
    start_default();
    getrlimit(RLIMIT_NOFILE, &old);
    low.rlim_max = old.rlim_max;
    struct client c = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}, later = c;
    later.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    buf_init(&c.in, 1000);
    buf_init(&later.in, 1000);
    setrlimit(RLIMIT_NOFILE, &low);
    int fds[64], n = 0;
    while (n < 64 && (fds[n] = dup(0)) >= 0)
        n++;
    client_connect(&c);
    WAIT_FOR(&c, c.is_eof);
    CHECK(has(&c, "HTTP/1.1 503 ") && serve_connections(t.serve) == 0);
    client_connect(&later); /* accepting pauses: not even a 503 */
    settle(&later);
    CHECK(later.in.n == 0 && !later.is_eof);
    while (n)
        close(fds[--n]);
    setrlimit(RLIMIT_NOFILE, &old);
    pass(&later, SERVE_ACCEPT_PAUSE_MS + 1);
    client_say(&later, "GET /query?later HTTP/1.1\r\n" HOST "\r\n");
    WAIT_FOR(&later, ends_with(&later, "later"));
    client_close(&c, false);
    client_close(&later, false);
    stop();
}

static void test_open_errors(void)
{
    struct serve_options options;
    struct serve *second;
    struct err_info info;
    start_default();
    serve_options_init(&options);
    options.port = serve_port(t.serve);
    CHECK(serve_open(&second, t.loop, &options, on_request, &t, &info) == ERR_IO && info.os_errno == EADDRINUSE);
    options.host = "example.invalid";
    CHECK(serve_open(&second, t.loop, &options, on_request, &t, &info) == ERR_INVALID);
    stop();
    options = (struct serve_options){0};
    serve_options_init(&options);
    options.host = "::1";
    memset(&t, 0, sizeof t);
    t.clock = (struct clock){.mono_us = frozen_us, .wall_us = frozen_us};
    CHECK(loop_open(&t.loop, &t.clock, &info) == ERR_OK);
    enum err err = serve_open(&t.serve, t.loop, &options, on_request, &t, &info);
    CHECK(err == ERR_OK || info.os_errno == EADDRNOTAVAIL || info.os_errno == EAFNOSUPPORT); /* no IPv6 here */
    CHECK(err || serve_port(t.serve) > 0);
    stop();
}

int main(void)
{
    test_deadlines();
    test_slow_bodies();
    test_write_stall();
    test_half_close();
    test_client_gone();
    test_close_with_work_open();
    test_connection_limit();
    test_out_of_descriptors();
    test_open_errors();
    return check_report();
}
