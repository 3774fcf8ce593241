/*
 * test_serve_ends.c - how connections of the server layer end: deadlines, clients that vanish, stall or half-close, a
 * server that is closed, and what happens when there are too many.
 */
#include "serve_client.h"

#include <ifaddrs.h>
#include <malloc.h>
#include <net/if.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>

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

/* Who connects must say something soon (abuse 47), and its first head is complete in the time that counts from there. */
static void test_first_byte(void)
{
    start_default();
    struct client silent = client_open(), late = client_open();
    settle(NULL);
    pass(&silent, SERVE_FIRST_MS - 1);
    CHECK(!silent.is_eof);
    client_say(&late, "GET / HTTP");
    settle(&late);
    pass(&silent, 1);
    CHECK(silent.is_eof && silent.in.n == 0);
    pass(&late, SERVE_HEAD_MS - SERVE_FIRST_MS - 1);
    CHECK(!late.is_eof);
    pass(&late, 1);
    CHECK(late.is_eof && has(&late, "HTTP/1.1 408 "));
    client_close(&silent, false);
    client_close(&late, false);

    struct client later = client_open(); /* from the second request on the whole time counts */
    client_say(&later, "GET /query?x HTTP/1.1\r\n" HOST "\r\n");
    settle(&later);
    pass(&later, SERVE_IDLE_MS - 1);
    client_say(&later, "GET / HTTP");
    settle(&later);
    pass(&later, SERVE_HEAD_MS - 1);
    CHECK(!later.is_eof);
    pass(&later, 1);
    CHECK(later.is_eof && has(&later, "HTTP/1.1 408 "));
    client_close(&later, false);
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

/* Takes that many bytes of an answer every minute; how many minutes until it is dropped, at most 10. */
static int minutes_of_reader(size_t bytes_a_minute)
{
    int small = 4096, minutes = 0;
    char *bytes = mem_zero(1, 32u << 20);
    start_default();
    struct client c = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    buf_init(&c.in, 64u << 20);
    setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    client_connect(&c);
    client_say(&c, GET_HOLD);
    WAIT_FOR(NULL, t.held_count == 1);
    CHECK(serve_reply_start(t.held[0], &(struct serve_reply){.status = 200}, NULL) == ERR_OK);
    CHECK(serve_reply_write(t.held[0], (struct slice){bytes, 32u << 20}, NULL) == ERR_OK);
    for (settle(NULL); t.held[0]->state == SERVE_OPEN && minutes < 10; minutes++) {
        for (size_t taken = 0; taken < bytes_a_minute;) {
            ssize_t n = recv(c.fd, bytes, bytes_a_minute - taken < 4096 ? bytes_a_minute - taken : 4096, MSG_DONTWAIT);
            taken += n > 0 ? (size_t)n : 0;
            loop_step(t.loop, LOOP_NOWAIT);
        }
        pass(NULL, SERVE_WRITE_MS + 1);
    }
    client_close(&c, true);
    stop();
    mem_free(bytes);
    return minutes;
}

/* To take something now and then is not enough (abuse 46). */
static void test_trickling_readers(void)
{
    CHECK(minutes_of_reader(0) == 1);
    CHECK(minutes_of_reader(SERVE_WRITE_RATE * SERVE_WRITE_MS / 1000 / 4) <= 2);
    CHECK(minutes_of_reader(SERVE_WRITE_RATE * SERVE_WRITE_MS / 1000 * 4) == 10);
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

/* A server that takes nobody new: what waits is closed, what has begun is answered, and told that this was all. */
static void test_drain(void)
{
    start_default();
    struct client idle = client_open(), silent = client_open(), sending = client_open(), streamed = hold(GET_HOLD), busy;
    client_say(&idle, "GET /query?x HTTP/1.1\r\n" HOST "\r\n");
    WAIT_FOR(&idle, ends_with(&idle, "\r\n\r\nx"));
    client_say(&sending, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhel");
    CHECK(serve_reply_start(t.held[0], &(struct serve_reply){.status = 200}, NULL) == ERR_OK);
    busy = hold(GET_HOLD GET_HOLD);
    WAIT_FOR(NULL, serve_connections(t.serve) == 5);
    serve_drain(t.serve);
    serve_drain(t.serve);
    WAIT_FOR(&idle, idle.is_eof);
    WAIT_FOR(&silent, silent.is_eof);
    CHECK(ends_with(&idle, "\r\n\r\nx") && silent.in.n == 0 && !busy.is_eof);
    client_say(&sending, "lo");
    WAIT_FOR(&sending, sending.is_eof);
    CHECK(has(&sending, "connection: close\r\n") && ends_with(&sending, "hello"));
    reply(t.held[1], 200, SLICE("answer"));
    WAIT_FOR(&busy, busy.is_eof);
    CHECK(has(&busy, "connection: close\r\n") && ends_with(&busy, "answer") && t.held_count == 2);
    CHECK(serve_reply_write(t.held[0], SLICE("end"), NULL) == ERR_OK && serve_reply_finish(t.held[0], NULL) == ERR_OK);
    WAIT_FOR(&streamed, streamed.is_eof);
    CHECK(ends_with(&streamed, "3\r\nend\r\n0\r\n\r\n"));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)serve_port(t.serve))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno == ECONNREFUSED);
    close(fd);
    client_close(&idle, false);
    client_close(&silent, false);
    client_close(&sending, false);
    client_close(&busy, false);
    client_close(&streamed, false);
    WAIT_FOR(NULL, serve_connections(t.serve) == 0);
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

/* Bodies are kept before anybody knows who sends them: all together they have a limit, which spares the small ones. */
static void test_bodies_at_once(void)
{
    static const char post[] = "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 900000\r\n\r\n";
    static const char chunk[] = "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n30D40\r\n";
    static const char small[] = "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 60000\r\n\r\n";
    char *body = mem_zero(1, 900000);
    struct serve_options options;
    serve_options_init(&options);
    options.bodies_bytes_max = 1000000;
    start(&options);
    for (int round = 0; round < 3; round++) { /* whatever way a body ends, its bytes are given back */
        struct client large = client_open(), other = client_open(), third = client_open();
        client_say(&large, post);
        client_send(&large, body, 899999, 65536);
        client_say(&other, round ? chunk : post);
        client_send(&other, body, 200000, 65536);
        WAIT_FOR(&other, other.is_eof);
        CHECK(has(&other, "HTTP/1.1 503 ") && has(&other, "retry-after: 1\r\n") && ends_with(&other, "\"code\":\"overloaded\"}}"));
        client_say(&third, small);
        client_send(&third, body, 60000, 65536);
        WAIT_FOR(&third, third.in.n > 60000);
        CHECK(has(&third, "200 OK"));
        if (round == 1) { /* complete */
            client_send(&large, body, 1, 1);
            WAIT_FOR(&large, large.in.n > 900000);
        } else if (round == 2) { /* too slow */
            pass(&large, SERVE_BODY_MS + 1);
            CHECK(has(&large, "HTTP/1.1 408 "));
        }
        client_close(&large, round == 0);
        client_close(&other, false);
        client_close(&third, false);
        WAIT_FOR(NULL, serve_connections(t.serve) == 0);
    }
    mem_free(body);
    stop();
}

/* What a connection costs before it has said anything of use (invariant 44). */
static void test_memory_of_connections(void)
{
    static struct client clients[400];
    start_default();
    for (size_t i = 0; i < 10; i++) { /* whatever is made once */
        struct client c = client_open();
        client_say(&c, "GET /query?x HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
        WAIT_FOR(&c, c.is_eof);
        client_close(&c, false);
    }
    size_t before = mallinfo2().uordblks;
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        clients[i] = client_open();
    WAIT_FOR(NULL, serve_connections(t.serve) == ARRAY_LEN(clients));
    size_t silent = (mallinfo2().uordblks - before) / ARRAY_LEN(clients);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        CHECK(send(clients[i].fd, "GET / HTTP/1.1\r\nX: y", 20, MSG_NOSIGNAL) == 20);
    settle(NULL);
    size_t slow = (mallinfo2().uordblks - before) / ARRAY_LEN(clients);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        client_say(&clients[i], "\r\n" HOST "\r\n");
        WAIT_FOR(&clients[i], has(&clients[i], "HTTP/1.1 404 "));
        buf_deinit(&clients[i].in);
    }
    settle(NULL);
    size_t idle = (mallinfo2().uordblks - before) / ARRAY_LEN(clients);
    CHECK(silent < 1024 && slow < 2048 && idle < 1024);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        client_close(&clients[i], false);
    stop();
}

/* An address of this machine that is not the loopback's, if it has one. */
static bool find_address(struct sockaddr_in *out)
{
    struct ifaddrs *all = NULL;
    bool is_found = false;
    CHECK(getifaddrs(&all) == 0);
    for (const struct ifaddrs *one = all; one && !is_found; one = one->ifa_next) {
        is_found = one->ifa_addr && one->ifa_addr->sa_family == AF_INET && !(one->ifa_flags & IFF_LOOPBACK) && one->ifa_flags & IFF_UP;
        if (is_found)
            memcpy(out, one->ifa_addr, sizeof *out);
    }
    freeifaddrs(all);
    return is_found;
}

static struct client client_at(struct sockaddr_in address)
{
    struct client c = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    buf_init(&c.in, 1u << 20);
    address.sin_port = htons((uint16_t)serve_port(t.serve));
    CHECK(connect(c.fd, (struct sockaddr *)&address, sizeof address) == 0);
    return c;
}

/* One address that takes more than its share is told so; this machine, and whoever comes later, are served. */
static void test_connections_of_one_address(void)
{
    struct sockaddr_in address;
    struct serve_options options;
    if (!find_address(&address))
        return; /* test_serve_peers has the counting */
    serve_options_init(&options);
    options.host = "0.0.0.0";
    options.per_address_max = 2;
    start(&options);
    struct client a = client_at(address), b = client_at(address), c = client_at(address), own[3];
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        own[i] = client_open();
    WAIT_FOR(&c, c.is_eof);
    CHECK(has(&c, "HTTP/1.1 429 ") && has(&c, "retry-after: 1\r\n") && ends_with(&c, "\"code\":\"too_many_connections\"}}"));
    WAIT_FOR(NULL, serve_connections(t.serve) == 5);
    client_close(&a, false);
    WAIT_FOR(NULL, serve_connections(t.serve) == 4);
    client_close(&c, false);
    c = client_at(address);
    client_say(&c, "GET /query?later HTTP/1.1\r\n" HOST "\r\n");
    WAIT_FOR(&c, ends_with(&c, "later"));
    client_close(&b, false);
    client_close(&c, false);
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        client_close(&own[i], false);
    stop();
}

static volatile sig_atomic_t alarms;

static void on_alarm(int signum)
{
    UNUSED(signum);
    alarms = alarms + 1;
}

/* A signal every 100 us interrupts whatever the kernel was asked for (abuse 59). */
static void test_signals_in_between(void)
{
    struct sigaction action = {.sa_handler = on_alarm}, old; /* no SA_RESTART */
    struct itimerval often = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
    size_t n = 4u << 20;
    char *body = mem_zero(1, n);
    start_default();
    CHECK(sigaction(SIGALRM, &action, &old) == 0);
    for (int i = 0; i < 200 && (i < 5 || alarms < 50); i++) {
        struct client c = client_open();
        CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
        client_say(&c, "POST /echo HTTP/1.1\r\n" HOST "Connection: close\r\nContent-Length: 4194304\r\n\r\n");
        client_send(&c, body, n, 65536);
        WAIT_FOR(&c, c.is_eof);
        CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
        CHECK(has(&c, "200 OK") && c.in.n > n && c.error == 0);
        client_close(&c, false);
    }
    CHECK(sigaction(SIGALRM, &old, NULL) == 0 && alarms >= 50);
    mem_free(body);
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
    CHECK(has(&c, "HTTP/1.1 503 ") && ends_with(&c, "\"code\":\"overloaded\"}}") && serve_connections(t.serve) == 0);
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
    test_first_byte();
    test_slow_bodies();
    test_write_stall();
    test_trickling_readers();
    test_half_close();
    test_client_gone();
    test_close_with_work_open();
    test_drain();
    test_connection_limit();
    test_bodies_at_once();
    test_memory_of_connections();
    test_connections_of_one_address();
    test_signals_in_between();
    test_out_of_descriptors();
    test_open_errors();
    return check_report();
}
