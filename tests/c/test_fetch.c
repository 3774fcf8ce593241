/*
 * test_fetch.c - outgoing HTTP where a script cannot bring it: no descriptor left, a resolver that hangs, hosts with several
 * addresses, servers that take no connection. Everything else about fetches is in tests/unit/fetch_spec.lua.
 */
#include "base/limits.h"
#include "check.h"
#include "io/fetch.h"
#include "io/serve.h"
#include "io/serve_reply.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define SHORT_MS 100
#define LONG_MS 5000

static struct {
    struct loop *loop;
    struct serve *serve;
    struct fetcher *fetcher;
    sem_t resolver; /* names that hang do so until this is posted */
} t;

typedef int resolve(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* In front of libc's, also for libcurl. What ends in ".two.test" has an address where nobody listens before the one of the server. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    resolve *next = (resolve *)(uintptr_t)dlsym(RTLD_NEXT, "getaddrinfo");
    if (strcmp(name, "hangs.test") == 0) {
        sem_wait(&t.resolver);
        return EAI_AGAIN;
    }
    if (!strstr(name, ".two.test"))
        return next(name, service, hints, out);
    int status = next("127.0.0.2", service, hints, out);
    return status == 0 ? next("127.0.0.1", service, hints, &(*out)->ai_next) : status;
}

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

static struct fetch *start_at(const char *scheme, const char *host, int port, int64_t connect_ms)
{
    static char url[64];
    struct err_info info;
    struct fetch *f;
    int n = snprintf(url, sizeof url, "%s://%s:%d/", scheme, host, port);
    struct fetch_options o = {.method = {"GET", 3}, .url = {url, (size_t)n}, .frame = FRAME_WHOLE, .connect_ms = connect_ms,
                              .total_ms = LONG_MS, .proxy = {"", 0}, .body_bytes_max = 100, .frame_bytes_max = 100};
    if (fetch_start(t.fetcher, &o, on_change, NULL, &f, &info) != ERR_OK)
        abort();
    return f;
}

static struct fetch *start(void)
{
    return start_at("http", "127.0.0.1", serve_port(t.serve), LONG_MS);
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
    CHECK(finish(refused, &info) == FETCH_FAILED && info.code == ERR_NO_DESCRIPTORS && info.os_errno == EMFILE);
    CHECK(finish(kept, &info) == FETCH_FRAME); /* over the connection that there is */
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    struct fetch *again[3] = {start(), start(), start()};
    for (size_t i = 0; i < ARRAY_LEN(again); i++)
        CHECK(finish(again[i], &info) == FETCH_FRAME);
}

static int64_t now_ms(void)
{
    return clock_mono_us(clock_system()) / 1000;
}

/* A resolver that hangs holds up nothing: neither the end of its request nor the others. */
static void test_resolver_hangs(void)
{
    struct err_info info;
    int64_t before_ms = now_ms();
    struct fetch *hangs = start_at("http", "hangs.test", 80, SHORT_MS), *closed = start_at("http", "hangs.test", 80, LONG_MS);
    CHECK(finish(hangs, &info) == FETCH_FAILED && info.code == ERR_TIMEOUT_DNS);
    CHECK(strcmp(info.text, "the resolver did not answer for hangs.test:80 within 0.1 s") == 0);
    fetch_close(closed);
    CHECK(finish(start(), &info) == FETCH_FRAME);
    CHECK(now_ms() - before_ms < LONG_MS / 2);
    sem_post(&t.resolver);
    sem_post(&t.resolver);
}

/* A port whose queue of connections is full: it takes no more. 0 is any. `fds` are to be closed. */
static int open_full_port(const char *host, int port, int fds[3])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(host), .sin_port = htons((uint16_t)port)};
    socklen_t n = sizeof address;
    for (int i = 0; i < 3; i++)
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(bind(fds[0], (struct sockaddr *)&address, n) == 0 && listen(fds[0], 0) == 0);
    getsockname(fds[0], (struct sockaddr *)&address, &n);
    for (int i = 1; i < 3; i++)
        CHECK(connect(fds[i], (struct sockaddr *)&address, n) == 0 || errno == EINPROGRESS);
    return ntohs(address.sin_port);
}

static void close_all(const int fds[3])
{
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}

/* The first refuses, or takes no connection: then curl may need all the time there is. Others get their descriptors. */
static void test_second_address(void)
{
    struct err_info info;
    int fds[3], port = serve_port(t.serve);
    CHECK(finish(start_at("http", "refuses.two.test", port, LONG_MS), &info) == FETCH_FRAME);
    open_full_port("127.0.0.2", port, fds);
    struct fetch *f = start_at("http", "stalls.two.test", port, 4 * SHORT_MS);
    CHECK(finish(f, &info) == FETCH_FRAME || info.code == ERR_TIMEOUT_CONNECT);
    CHECK(finish(start_at("http", "localhost", port, LONG_MS), &info) == FETCH_FRAME);
    close_all(fds);
}

/* Both attempts have the same descriptor; curl closes the first without telling us. */
static void test_no_connection(void)
{
    struct err_info info;
    int fds[3], port = open_full_port("127.0.0.1", 0, fds);
    for (int i = 0; i < 2; i++) {
        CHECK(finish(start_at("http", "127.0.0.1", port, SHORT_MS), &info) == FETCH_FAILED && info.code == ERR_TIMEOUT_CONNECT);
        CHECK(strstr(info.text, "no connection to 127.0.0.1:") && strstr(info.text, " within 0.1 s"));
        CHECK(finish(start(), &info) == FETCH_FRAME);
    }
    struct fetch *closed = start_at("http", "127.0.0.1", port, LONG_MS);
    loop_step(t.loop, LOOP_WAIT); /* it has begun to connect */
    fetch_close(closed);
    CHECK(finish(start_at("http", "localhost", serve_port(t.serve), LONG_MS), &info) == FETCH_FRAME);
    close_all(fds);
    CHECK(finish(start_at("http", "127.0.0.1", port, LONG_MS), &info) == FETCH_FAILED && info.code == ERR_REFUSED);
}

static void test_no_handshake(void)
{
    struct err_info info;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(fd, (struct sockaddr *)&address, n) == 0 && listen(fd, 8) == 0);
    getsockname(fd, (struct sockaddr *)&address, &n);
    struct fetch *f = start_at("https", "127.0.0.1", ntohs(address.sin_port), SHORT_MS);
    CHECK(finish(f, &info) == FETCH_FAILED && info.code == ERR_TIMEOUT_TLS);
    close(fd);
}

int main(void)
{
    struct serve_options o;
    struct err_info info;
    serve_options_init(&o);
    if (loop_open(&t.loop, clock_system(), &info) != ERR_OK || serve_open(&t.serve, t.loop, &o, on_request, NULL, &info) != ERR_OK)
        abort();
    t.fetcher = fetcher_new(t.loop, FETCH_POOL_CONNECTIONS);
    sem_init(&t.resolver, 0, 0);
    test_descriptors();
    test_resolver_hangs();
    test_second_address();
    test_no_connection();
    test_no_handshake();
    CHECK(fetcher_live(t.fetcher) == 0);
    fetcher_free(t.fetcher);
    serve_close(t.serve);
    CHECK(loop_close(t.loop) == 0);
    return check_report();
}
