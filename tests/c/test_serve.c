/*
 * test_serve.c - requests and answers of the server layer: bytes cut anywhere, pipelining, refusals, framing,
 * back-pressure. Each test ends with no handle open.
 */
#include "serve_client.h"

#include <stdlib.h>

/* Requests */

static void test_keep_alive(void)
{
    start_default();
    struct client c = client_open();
    for (size_t i = 1; i <= 3; i++) {
        client_say(&c, "GET /query?abc HTTP/1.1\r\n" HOST "\r\n");
        WAIT_FOR(&c, count(&c, "\r\n\r\nabc") == i);
    }
    CHECK(count(&c, "HTTP/1.1 200 OK\r\ndate: ") == 3 && count(&c, "\r\ncontent-length: 3\r\n\r\nabc") == 3);
    CHECK(!has(&c, "connection:") && !c.is_eof && serve_connections(t.serve) == 1);
    client_say(&c, "GET /query?end HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    WAIT_FOR(&c, c.is_eof);
    CHECK(has(&c, "connection: close\r\ncontent-length: 3\r\n\r\nend"));
    client_close(&c, false);
    WAIT_FOR(NULL, serve_connections(t.serve) == 0);
    stop();
}

static void test_bodies(void)
{
    static const char *const requests[] = {
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 11\r\nConnection: close\r\n\r\nhello\r\nyou!",
        "POST /echo HTTP/1.1\r\n" HOST "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5\r\nhello\r\n6;x\r\n\r\nyou!\r\n0\r\nX-Sum: 1\r\n\r\n",
        "GET /echo HTTP/1.0\r\nContent-Length: 11\r\n\r\nhello\r\nyou!",
    };
    start_default();
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        for (size_t piece = 1; piece < 200; piece = piece * 3 + 1) {
            struct client c = exchange(requests[i], strlen(requests[i]), piece);
            CHECK(has(&c, "HTTP/1.1 200 OK") && ends_with(&c, "content-length: 11\r\n\r\nhello\r\nyou!"));
            client_close(&c, false);
        }
    }
    stop();
}

static void test_large_body(void)
{
    size_t n = 3u << 20;
    char head[200];
    int head_bytes = snprintf(head, sizeof head, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n", n);
    char *body = mem_alloc(n);
    for (size_t i = 0; i < n; i++)
        body[i] = (char)(i * 31 >> 3);
    start_default();
    struct client c = client_open();
    client_send(&c, head, (size_t)head_bytes, 1000);
    client_send(&c, body, n, 50000);
    WAIT_FOR(&c, c.in.n > n);
    CHECK(memcmp(c.in.p + c.in.n - n, body, n) == 0);
    settle(&c);
    CHECK(!c.is_eof);
    pass(&c, SERVE_IDLE_MS + 1);
    CHECK(c.is_eof);
    client_close(&c, false);
    mem_free(body);
    stop();
}

static void test_pipelining(void)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 1000; i++)
        CHECK(buf_addf(&b, "GET /query?n%04d HTTP/1.1\r\n" HOST "%s\r\n", i,
                       i == 999 ? "Connection: close\r\n" : "") == ERR_OK);
    start_default();
    struct client c = exchange(b.p, b.n, b.n);
    CHECK(count(&c, "HTTP/1.1 200 OK") == 1000 && t.request_count == 1000);
    size_t next = 0;
    for (const char *p = c.in.p; (p = strstr(p, "\r\n\r\nn")); p += 5)
        next += (size_t)strtoul(p + 5, NULL, 10) == next;
    CHECK(next == 1000);
    client_close(&c, false);
    stop();
    buf_deinit(&b);
}

/* Answers that nobody reads must not pile up. */
static void test_pipelining_without_reading(void)
{
    size_t requests = 500;
    start_default();
    struct client c = client_open();
    for (size_t i = 0; i < requests; i++)
        CHECK(send(c.fd, "GET /big HTTP/1.1\r\n" HOST "\r\n", 30, MSG_NOSIGNAL) == 30);
    settle(NULL);
    settle(NULL);
    CHECK(t.request_count > 0 && t.request_count < requests);
    WAIT_FOR(&c, c.in.n > requests * sizeof big && t.request_count == requests);
    settle(&c);
    CHECK(count(&c, "HTTP/1.1 200 OK") == requests);
    client_close(&c, false);
    stop();
}

static void test_one_in_flight(void)
{
    start_default();
    struct client c = client_open();
    client_say(&c, GET_HOLD "GET /query?second HTTP/1.1\r\n" HOST "\r\nGET /hold HTTP/1.1\r\n");
    WAIT_FOR(&c, t.held_count == 1);
    settle(&c);
    CHECK(t.request_count == 1 && c.in.n == 0);
    reply(t.held[0], 200, (struct slice){"first", 5});
    WAIT_FOR(&c, ends_with(&c, "second"));
    CHECK(has(&c, "first") && t.request_count == 2);
    client_say(&c, HOST "\r\n"); /* the rest of the third head */
    WAIT_FOR(&c, t.held_count == 2);

    struct buf flood; /* more than a head ahead: reading stops, the rest stays in the kernel */
    buf_init(&flood, 64 << 20);
    for (int i = 0; i < 300000; i++)
        CHECK(buf_add_str(&flood, "GET /query?x HTTP/1.1\r\n" HOST "\r\n") == ERR_OK);
    size_t sent = 0;
    for (int i = 0; i < 3000; i++) {
        ssize_t n = send(c.fd, flood.p + sent, flood.n - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        pump(&c);
    }
    CHECK(sent < flood.n && t.request_count == 3);
    client_close(&c, false);
    stop();
    buf_deinit(&flood);
}

static void test_continue(void)
{
    start_default();
    struct client c = client_open();
    client_say(&c, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    WAIT_FOR(&c, has(&c, "HTTP/1.1 100 Continue\r\n\r\n"));
    client_say(&c, "hello");
    WAIT_FOR(&c, ends_with(&c, "hello"));
    client_say(&c, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nagain");
    WAIT_FOR(&c, ends_with(&c, "again"));
    CHECK(count(&c, "100 Continue") == 1); /* the body was there already */
    client_close(&c, false);
    c = client_open();
    client_say(&c, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 999999999999\r\n\r\n");
    WAIT_FOR(&c, c.is_eof);
    CHECK(count(&c, "HTTP/1.1 413 ") == 1 && !has(&c, "100 Continue"));
    client_close(&c, false);
    stop();
}

static void test_refusals(void)
{
    static const struct {
        const char *text, *status;
    } rows[] = {
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\n\r\n", "400"},
        {"GET / HTTP/1.1\nHost: a\n\n", "400"},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"},
        {"POST / HTTP/1.1\r\n" HOST "Expect: magic\r\n\r\n", "417"},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nffffffff\r\n", "413"},
    };
    start_default();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t piece = 1; piece < 100; piece += 40) {
            struct client c = exchange(rows[i].text, strlen(rows[i].text), piece);
            CHECK(c.in.n > 12 && memcmp(c.in.p + 9, rows[i].status, 3) == 0 && has(&c, "connection: close\r\n"));
            CHECK(count(&c, "content-length") == 1 && c.error == 0);
            client_close(&c, false);
        }
    }
    CHECK(t.request_count == 0);
    const char *text = "GET /query?ok HTTP/1.1\r\n" HOST "\r\nGARBAGE\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n";
    struct client c = exchange(text, strlen(text), 1000);
    CHECK(has(&c, "\r\n\r\nokHTTP/1.1 400 ") && t.request_count == 1);
    client_close(&c, false);
    stop();
}

/* A refusal must reach a client that is still sending: closing with unread input would reset the connection. */
static void test_lingering(void)
{
    start_default();
    struct client c = client_open();
    char *body = mem_zero(1, 4u << 20);
    client_say(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 99999999999\r\n\r\n");
    client_send(&c, body, 4u << 20, 60000);
    WAIT_FOR(&c, c.is_eof);
    CHECK(has(&c, "HTTP/1.1 413 ") && c.error == 0);
    CHECK(serve_connections(t.serve) == 1); /* we have not closed our side yet */
    pass(&c, SERVE_LINGER_MS + 1);
    CHECK(serve_connections(t.serve) == 0);
    client_close(&c, false);
    mem_free(body);
    stop();
}

/* Answers */

static void test_streaming(void)
{
    static const struct http1_header sse[] = {HEADER("content-type", "text/event-stream"), HEADER("date", "never")};
    struct serve_reply head = {.status = 200, .headers = sse, .header_count = 2};
    start_default();
    struct client c = hold(GET_HOLD);
    CHECK(serve_reply_start(t.held[0], &head, NULL) == ERR_OK);
    settle(&c);
    CHECK(slice_is((struct slice){c.in.p, c.in.n}, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                                                   "date: never\r\ntransfer-encoding: chunked\r\n\r\n"));
    buf_clear(&c.in);
    CHECK(serve_reply_write(t.held[0], SLICE("data: x\n\n"), NULL) == ERR_OK);
    CHECK(serve_reply_write(t.held[0], SLICE(""), NULL) == ERR_OK);
    CHECK(serve_reply_write(t.held[0], SLICE("!"), NULL) == ERR_OK);
    CHECK(serve_reply_finish(t.held[0], NULL) == ERR_OK);
    settle(&c);
    CHECK(slice_is((struct slice){c.in.p, c.in.n}, "9\r\ndata: x\n\n\r\n1\r\n!\r\n0\r\n\r\n") && !c.is_eof);
    CHECK(t.held[0]->state == SERVE_DONE && serve_reply_write(t.held[0], SLICE("x"), NULL) == ERR_INVALID);
    client_close(&c, false);

    c = hold("GET /hold HTTP/1.0\r\n\r\n"); /* no chunks there: until close */
    CHECK(serve_reply_start(t.held[1], &head, NULL) == ERR_OK);
    CHECK(serve_reply_write(t.held[1], SLICE("abc"), NULL) == ERR_OK && serve_reply_finish(t.held[1], NULL) == ERR_OK);
    WAIT_FOR(&c, c.is_eof);
    CHECK(ends_with(&c, "connection: close\r\n\r\nabc"));
    client_close(&c, false);

    c = hold("GET /hold HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    reply(t.held[2], 200, SLICE("kept"));
    WAIT_FOR(&c, ends_with(&c, "connection: keep-alive\r\ncontent-length: 4\r\n\r\nkept"));
    settle(&c);
    CHECK(!c.is_eof);
    client_close(&c, false);
    stop();
}

static void test_content_length(void)
{
    static const struct http1_header five[] = {HEADER("Content-Length", "5")};
    struct serve_reply head = {.status = 200, .headers = five, .header_count = 1};
    struct err_info info;
    start_default();
    struct client c = hold(GET_HOLD);
    struct serve_request *r = t.held[0];
    CHECK(serve_reply_write(r, SLICE("x"), &info) == ERR_INVALID && serve_reply_finish(r, &info) == ERR_INVALID);
    CHECK(serve_reply_start(r, &head, &info) == ERR_OK && serve_reply_start(r, &head, &info) == ERR_INVALID);
    CHECK(serve_reply_write(r, SLICE("abc"), &info) == ERR_OK);
    CHECK(serve_reply_write(r, SLICE("def"), &info) == ERR_INVALID);
    CHECK(serve_reply_finish(r, &info) == ERR_INVALID);
    CHECK(strcmp(info.text, "2 bytes of the announced body are missing") == 0);
    CHECK(serve_reply_write(r, SLICE("de"), &info) == ERR_OK && serve_reply_finish(r, &info) == ERR_OK);
    settle(&c);
    CHECK(ends_with(&c, "content-length: 5\r\n\r\nabcde") && !c.is_eof);
    client_close(&c, false);

    c = hold("HEAD /hold HTTP/1.1\r\n" HOST "\r\n");
    reply(t.held[1], 200, SLICE("hello"));
    settle(&c);
    CHECK(ends_with(&c, "content-length: 5\r\n\r\n") && !c.is_eof);
    client_close(&c, false);

    c = hold(GET_HOLD);
    reply(t.held[2], 204, SLICE(""));
    settle(&c);
    CHECK(has(&c, "204 No Content") && !has(&c, "content-length") && ends_with(&c, "\r\n\r\n"));
    client_close(&c, false);

    c = hold(GET_HOLD); /* cut off: the client can tell */
    CHECK(serve_reply_start(t.held[3], &head, &info) == ERR_OK);
    CHECK(serve_reply_write(t.held[3], SLICE("ab"), &info) == ERR_OK);
    serve_request_close(t.held[3]);
    WAIT_FOR(&c, c.is_eof);
    CHECK(ends_with(&c, "\r\n\r\nab") && c.error == 0 && t.held[3]->state == SERVE_DONE);
    client_close(&c, false);
    stop();
}

static void expect_misuse(struct serve_request *r, int status, struct http1_header h, const char *body)
{
    struct serve_reply head = {.status = status, .headers = &h, .header_count = 1};
    struct err_info info = {0};
    CHECK(serve_reply_send(r, &head, (struct slice){body, strlen(body)}, &info) == ERR_INVALID && info.text[0]);
}

static void test_misuse_writes_nothing(void)
{
    start_default();
    struct client c = hold(GET_HOLD);
    struct serve_request *r = t.held[0];
    expect_misuse(r, 200, (struct http1_header)HEADER("x", "a\r\nset-cookie: b"), "body");
    expect_misuse(r, 200, (struct http1_header)HEADER("x y", "a"), "body");
    expect_misuse(r, 200, (struct http1_header)HEADER("transfer-encoding", "chunked"), "body");
    expect_misuse(r, 200, (struct http1_header)HEADER("content-length", "+4"), "body");
    expect_misuse(r, 200, (struct http1_header)HEADER("content-length", "5"), "body");
    expect_misuse(r, 200, (struct http1_header)HEADER("connection", "upgrade"), "body");
    expect_misuse(r, 204, (struct http1_header)HEADER("connection", "close"), "body");
    expect_misuse(r, 100, (struct http1_header)HEADER("x", "a"), "");
    expect_misuse(r, 600, (struct http1_header)HEADER("x", "a"), "");
    settle(&c);
    CHECK(c.in.n == 0);
    struct serve_reply head = {.status = 200};
    char *huge = mem_alloc(SERVE_REPLY_BYTES_MAX);
    CHECK(serve_reply_send(r, &head, (struct slice){huge, SERVE_REPLY_BYTES_MAX}, NULL) == ERR_LIMIT);
    mem_free(huge);
    settle(&c);
    CHECK(c.in.n == 0);
    reply(r, 200, SLICE("body"));
    WAIT_FOR(&c, ends_with(&c, "content-length: 4\r\n\r\nbody"));
    CHECK(count(&c, "HTTP/1.1") == 1 && !has(&c, "connection"));
    client_close(&c, false);
    stop();
}

static void test_raw(void)
{
    static const char recording[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\0\xff";
    start_default();
    struct client c = hold(GET_HOLD);
    for (size_t i = 0; i < sizeof recording - 1; i++) {
        CHECK(serve_reply_raw(t.held[0], (struct slice){recording + i, 1}, NULL) == ERR_OK);
        char byte; /* sent at once: the loop has not turned */
        CHECK(recv(c.fd, &byte, 1, MSG_DONTWAIT) == 1 && byte == recording[i]);
    }
    serve_request_close(t.held[0]);
    WAIT_FOR(&c, c.is_eof);
    CHECK(c.in.n == 0 && c.error == 0);
    client_close(&c, false);

    c = hold(GET_HOLD); /* reset: what was written arrives, then the error */
    CHECK(serve_reply_raw(t.held[1], SLICE("HTTP/1.1 200 OK\r\n"), NULL) == ERR_OK);
    serve_request_reset(t.held[1]);
    WAIT_FOR(&c, c.is_eof);
    CHECK(c.error == ECONNRESET && ends_with(&c, "200 OK\r\n"));
    client_close(&c, false);

    c = hold(GET_HOLD); /* finish keeps the connection: a recording may be a whole answer */
    CHECK(serve_reply_raw(t.held[2], SLICE("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), NULL) == ERR_OK);
    CHECK(serve_reply_finish(t.held[2], NULL) == ERR_OK);
    client_say(&c, "GET /query?next HTTP/1.1\r\n" HOST "\r\n");
    WAIT_FOR(&c, ends_with(&c, "next"));
    client_close(&c, false);
    stop();
}

static void test_back_pressure(void)
{
    struct serve_reply head = {.status = 200};
    size_t piece = 100000, written = 0;
    char *bytes = mem_zero(1, piece);
    start_default();
    struct client c = client_open();
    client_say(&c, "GET /hold HTTP/1.0\r\n\r\n");
    WAIT_FOR(&c, t.held_count == 1);
    CHECK(serve_reply_start(t.held[0], &head, NULL) == ERR_OK);
    for (int i = 0; i < 1000 && !serve_reply_is_full(t.held[0]); i++) {
        CHECK(serve_reply_write(t.held[0], (struct slice){bytes, piece}, NULL) == ERR_OK);
        written += piece;
        loop_step(t.loop, LOOP_NOWAIT); /* nobody reads */
    }
    CHECK(serve_reply_is_full(t.held[0]) && written < 400 * piece);
    size_t changes = t.changes;
    WAIT_FOR(&c, !serve_reply_is_full(t.held[0])); /* now somebody does */
    WAIT_FOR(&c, t.changes > changes);
    CHECK(serve_reply_finish(t.held[0], NULL) == ERR_OK);
    WAIT_FOR(&c, c.is_eof);
    CHECK(c.in.n > written && c.in.n < written + 200);
    client_close(&c, false);
    mem_free(bytes);
    stop();
}

int main(void)
{
    test_keep_alive();
    test_bodies();
    test_large_body();
    test_pipelining();
    test_pipelining_without_reading();
    test_one_in_flight();
    test_continue();
    test_refusals();
    test_lingering();
    test_streaming();
    test_content_length();
    test_misuse_writes_nothing();
    test_raw();
    test_back_pressure();
    return check_report();
}
