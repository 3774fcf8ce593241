/*
 * serve_client.h - for the tests of io/serve: a server whose clock stands still unless a test moves it, and clients
 * that are plain sockets, driven from the same thread. Nothing sleeps.
 */
#ifndef PERILUNE_SERVE_CLIENT_H
#define PERILUNE_SERVE_CLIENT_H

#include "../../src/base/mem.h"
#include "../../src/io/loop.h"
#include "../../src/io/serve_reply.h"
#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST "Host: a\r\n"
#define PATIENCE_US 3000000

static struct {
    struct clock clock;
    struct loop *loop;
    struct serve *serve;
    struct serve_request *held[16]; /* requests to "/hold", in order */
    size_t held_count, request_count, changes;
} t;

static const char big[100000];

struct client {
    int fd;
    bool is_eof;
    int error;
    struct buf in;
};

/* The server's side */

static inline void on_change(struct serve_request *r)
{
    UNUSED(r);
    t.changes++;
}

static inline void reply(struct serve_request *r, int status, struct slice body)
{
    struct serve_reply head = {.status = status};
    struct err_info info = {0};
    enum err err = serve_reply_send(r, &head, body, &info);
    CHECK(err == ERR_OK);
    if (err)
        fprintf(stderr, "  %s\n", info.text);
}

static inline void on_request(void *user, struct serve_request *r)
{
    CHECK(user == &t);
    t.request_count++;
    if (slice_is(r->path, "/hold")) {
        CHECK(t.held_count < ARRAY_LEN(t.held));
        r->on_change = on_change;
        t.held[t.held_count++] = r;
        return;
    }
    if (slice_is(r->path, "/echo"))
        reply(r, 200, r->body);
    else if (slice_is(r->path, "/query"))
        reply(r, 200, r->query);
    else if (slice_is(r->path, "/big"))
        reply(r, 200, (struct slice){big, sizeof big});
    else if (!slice_is(r->path, "/close"))
        reply(r, 404, (struct slice){"no", 2});
    serve_request_free(r);
}

/* Time stands still unless a test moves it. */
static inline int64_t frozen_us(struct clock *c)
{
    UNUSED(c);
    return 1000000000000;
}

static inline void start(const struct serve_options *options)
{
    struct err_info info;
    memset(&t, 0, sizeof t);
    t.clock = (struct clock){.mono_us = frozen_us, .wall_us = frozen_us};
    CHECK(loop_open(&t.loop, &t.clock, &info) == ERR_OK);
    CHECK(serve_open(&t.serve, t.loop, options, on_request, &t, &info) == ERR_OK);
}

static inline void start_default(void)
{
    struct serve_options options;
    serve_options_init(&options);
    start(&options);
}

static inline void stop(void)
{
    if (t.serve)
        serve_close(t.serve);
    for (size_t i = 0; i < t.held_count; i++)
        serve_request_free(t.held[i]);
    CHECK(loop_close(t.loop) == 0);
}

/* The client's side */

static inline int64_t now_us(void)
{
    return clock_mono_us(clock_system());
}

static inline void pump(struct client *c)
{
    char bytes[65536];
    loop_step(t.loop, LOOP_NOWAIT);
    ssize_t n = c && !c->is_eof ? recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT) : -2;
    if (n > 0)
        CHECK(buf_add(&c->in, bytes, (size_t)n) == ERR_OK);
    else if (n == 0)
        c->is_eof = true;
    else if (n == -1 && errno != EAGAIN) {
        c->is_eof = true;
        c->error = errno;
    }
}

#define WAIT_FOR(client, cond)                                  \
    do {                                                        \
        int64_t end_us = now_us() + PATIENCE_US;                \
        while (!(cond) && now_us() < end_us)                    \
            pump(client);                                       \
        CHECK(cond);                                            \
    } while (0)

static inline void settle(struct client *c)
{
    for (int i = 0; i < 30; i++)
        pump(c);
}

static inline void pass(struct client *c, int64_t ms)
{
    t.clock.offset_us += ms * 1000;
    settle(c);
}

static inline void client_connect(struct client *c)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)serve_port(t.serve))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(connect(c->fd, (struct sockaddr *)&address, sizeof address) == 0);
}

static inline struct client client_open(void)
{
    struct client c = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    buf_init(&c.in, 256u << 20);
    client_connect(&c);
    return c;
}

static inline void client_close(struct client *c, bool with_reset)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    if (with_reset)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(c->fd);
    buf_deinit(&c->in);
}

/* In pieces of that size, each given time to arrive alone; what the kernel refuses waits. */
static inline void client_send(struct client *c, const char *p, size_t n, size_t piece)
{
    int64_t end_us = now_us() + PATIENCE_US;
    while (n && now_us() < end_us) {
        size_t size = n < piece ? n : piece;
        ssize_t sent = send(c->fd, p, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        pump(c);
        if (sent < 0 && errno != EAGAIN)
            return;
        p += sent > 0 ? sent : 0;
        n -= sent > 0 ? (size_t)sent : 0;
    }
    CHECK(n == 0);
}

static inline void client_say(struct client *c, const char *text)
{
    client_send(c, text, strlen(text), strlen(text));
}

static inline bool has(const struct client *c, const char *text)
{
    return c->in.n && memmem(c->in.p, c->in.n, text, strlen(text));
}

static inline size_t count(const struct client *c, const char *text)
{
    size_t found = 0, n = strlen(text);
    if (!c->in.n)
        return 0;
    const char *p = c->in.p, *end = p + c->in.n;
    while ((p = memmem(p, (size_t)(end - p), text, n))) {
        found++;
        p += n;
    }
    return found;
}

static inline bool ends_with(const struct client *c, const char *text)
{
    size_t n = strlen(text);
    return c->in.n >= n && memcmp(c->in.p + c->in.n - n, text, n) == 0;
}

/* One exchange on its own connection: sends, waits until the server closes. */
static inline struct client exchange(const char *text, size_t n, size_t piece)
{
    struct client c = client_open();
    client_send(&c, text, n, piece);
    WAIT_FOR(&c, c.is_eof);
    return c;
}

static inline struct client hold(const char *request)
{
    size_t held = t.held_count;
    struct client c = client_open();
    client_say(&c, request);
    WAIT_FOR(&c, t.held_count == held + 1);
    return c;
}

#define GET_HOLD "GET /hold HTTP/1.1\r\n" HOST "\r\n"
#define SLICE(text) ((struct slice){text, sizeof(text) - 1})
#define HEADER(name, value) {{name, sizeof(name) - 1}, {value, sizeof(value) - 1}}

#endif
