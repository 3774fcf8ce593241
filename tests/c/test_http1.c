/*
 * test_http1.c - the verdict table of the request parser: what is accepted, what is refused and with which status.
 * Every case runs whole and cut at every byte; the verdict must be the same.
 */
#include "../../src/base/http1.h"

#include "../../src/base/mem.h"
#include "check.h"

#include <string.h>

#define BODY_MAX 1000

struct outcome {
    enum http1_verdict verdict;
    int status;
    size_t used; /* head and body */
    struct buf body;
    struct http1_head head; /* slices into the input */
};

/* What a server does: the head is searched in what has arrived so far, then the body is decoded. `cut` is where the
 * input was cut in two; pieces of one byte each when it is 0. */
struct feed {
    const char *p;
    size_t n, at, cut;
};

static size_t arrived(struct feed *f)
{
    if (f->cut)
        return f->at < f->cut ? f->cut : f->n;
    return f->at + 1;
}

static void read_chunks(struct feed *f, struct outcome *o)
{
    struct http1_chunks chunks;
    struct http1_fault fault = {0};
    http1_chunks_init(&chunks, BODY_MAX);
    o->verdict = HTTP1_MORE;
    while (o->used < f->n && o->verdict == HTTP1_MORE) {
        f->at = o->used;
        size_t used, end = arrived(f);
        struct slice data;
        o->verdict = http1_chunks_feed(&chunks, f->p + o->used, end - o->used, &used, &data, &fault);
        CHECK(used > 0 && used <= end - o->used);
        CHECK(buf_add(&o->body, data.p, data.n) == ERR_OK);
        o->used += used;
    }
    o->status = fault.status;
}

static void read_request(struct feed *f, struct outcome *o)
{
    struct http1_scan scan = {0};
    struct http1_fault fault = {0};
    size_t head_bytes = 0;
    buf_init(&o->body, BODY_MAX);
    o->verdict = HTTP1_MORE;
    for (f->at = 0; f->at < f->n && o->verdict == HTTP1_MORE; f->at = arrived(f))
        o->verdict = http1_scan(&scan, f->p, arrived(f), SERVE_HEAD_BYTES_MAX, &head_bytes, &fault);
    if (o->verdict == HTTP1_DONE)
        o->verdict = http1_parse(f->p, head_bytes, &o->head, &fault);
    o->status = fault.status;
    o->used = head_bytes;
    if (o->verdict == HTTP1_DONE && o->head.is_chunked)
        read_chunks(f, o);
}

/* Runs the bytes whole, byte by byte, and (when short) cut at every place; all must agree. The caller frees body. */
static struct outcome run_all(const char *text, size_t n)
{
    char *copy = mem_dup(text, n); /* its own block, so that reading past the end is seen */
    struct outcome whole = {0};
    read_request(&(struct feed){.p = text, .n = n, .cut = n}, &whole);
    for (size_t cut = 0; cut < (n < 600 ? n : 1); cut++) {
        struct outcome o = {0};
        read_request(&(struct feed){.p = copy, .n = n, .cut = cut}, &o);
        CHECK(o.verdict == whole.verdict && o.status == whole.status);
        CHECK(o.verdict == HTTP1_BAD || o.used == whole.used);
        CHECK(o.body.n == whole.body.n && (!o.body.n || memcmp(o.body.p, whole.body.p, o.body.n) == 0));
        buf_deinit(&o.body);
    }
    mem_free(copy);
    return whole;
}

static void expect_status(const char *name, const char *text, size_t n, int status)
{
    struct outcome o = run_all(text, n);
    bool is_right = status ? o.verdict == HTTP1_BAD && o.status == status : o.verdict == HTTP1_DONE;
    CHECK(is_right);
    if (!is_right)
        fprintf(stderr, "  %s: verdict %d status %d, expected %d\n", name, (int)o.verdict, o.status, status);
    buf_deinit(&o.body);
}

#define HOST "Host: a.example\r\n"
#define POST "POST / HTTP/1.1\r\n" HOST
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

struct row {
    const char *name, *text;
    size_t n;
    int status; /* 0: accepted */
};
#define ROW(name, status, text) {name, text, sizeof(text) - 1, status}

static const struct row rows[] = {
    ROW("plain", 0, "GET / HTTP/1.1\r\n" HOST "\r\n"),
    ROW("1.0 without host", 0, "GET / HTTP/1.0\r\n\r\n"),
    ROW("options *", 0, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n"),
    ROW("absolute form, same host", 0, "GET http://A.example/x HTTP/1.1\r\n" HOST "\r\n"),
    ROW("ipv6 host", 0, "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"),
    ROW("empty value", 0, "GET / HTTP/1.1\r\n" HOST "X:\r\n\r\n"),
    ROW("8-bit value", 0, "GET / HTTP/1.1\r\n" HOST "X: \xc3\xa9\r\n\r\n"),
    ROW("tab in value", 0, "GET / HTTP/1.1\r\n" HOST "X:\t a\tb \r\n\r\n"),
    ROW("upgrade ignored", 0, "GET / HTTP/1.1\r\n" HOST "Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
    /* rows of the abuse corpus */
    ROW("1 length and chunks", 400, POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ROW("1 chunks and length", 400, POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
    ROW("2 two lengths", 400, POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    ROW("3 two equal lengths", 400, POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    ROW("4 plus", 400, POST "Content-Length: +1\r\n\r\n"),
    ROW("5 minus", 400, POST "Content-Length: -1\r\n\r\n"),
    ROW("5 minus 48", 400, POST "Content-Length: -48\r\n\r\n"),
    ROW("6 hex", 400, POST "Content-Length: 0x10\r\n\r\n"),
    ROW("7 underscore", 400, POST "Content-Length: 1_0\r\n\r\n"),
    ROW("8 octal", 400, POST "Content-Length: 010\r\n\r\n"),
    ROW("9 empty length", 400, POST "Content-Length: \r\n\r\n"),
    ROW("10 junk", 400, POST "Content-Length: 1Z\r\n\r\n"),
    ROW("11 overflow", 400, POST "Content-Length: 18446744073709551617\r\n\r\n"),
    ROW("12 list", 400, POST "Content-Length: 5, 5\r\n\r\n"),
    ROW("13 comma chunked", 400, POST "Transfer-Encoding: ,chunked\r\n\r\n"),
    ROW("14 chunked, identity", 400, POST "Transfer-Encoding: chunked, identity\r\n\r\n"),
    ROW("15 xchunked", 400, POST "Transfer-Encoding: xchunked\r\n\r\n"),
    ROW("15 identity", 400, POST "Transfer-Encoding: identity\r\n\r\n"),
    ROW("15 gzip, chunked", 400, POST "Transfer-Encoding: gzip, chunked\r\n\r\n"),
    ROW("16 two codings", 400, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ROW("17 vertical tab", 400, POST "Transfer-Encoding:\x0b" "chunked\r\n\r\n"),
    ROW("17 nbsp", 400, POST "Transfer-Encoding: \xa0" "chunked\r\n\r\n"),
    ROW("17 coding in 1.0", 400, "POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"),
    ROW("18 0x5", 400, CHUNKED "0x5\r\nhello\r\n0\r\n\r\n"),
    ROW("18 +5", 400, CHUNKED "+5\r\nhello\r\n0\r\n\r\n"),
    ROW("18 -0", 400, CHUNKED "-0\r\n\r\n"),
    ROW("18 5_", 400, CHUNKED "5_\r\nhello\r\n0\r\n\r\n"),
    ROW("18 empty size", 400, CHUNKED "\r\nhello\r\n0\r\n\r\n"),
    ROW("18 leading space", 400, CHUNKED " 5\r\nhello\r\n0\r\n\r\n"),
    ROW("18 trailing space", 400, CHUNKED "5 \r\nhello\r\n0\r\n\r\n"),
    ROW("18 17 digits", 400, CHUNKED "00000000000000005\r\nhello\r\n0\r\n\r\n"),
    ROW("18 16 digits", 0, CHUNKED "0000000000000005\r\nhello\r\n0\r\n\r\n"),
    ROW("18 huge size", 413, CHUNKED "ffffffffffffffff\r\n"),
    ROW("18 two sizes that wrap", 413, CHUNKED "1\r\na\r\nffffffffffffffff\r\n"),
    ROW("19 size line ends with LF", 400, CHUNKED "5\nhello\r\n0\r\n\r\n"),
    ROW("19 size line ends with CR X", 400, CHUNKED "5\rXhello\r\n0\r\n\r\n"),
    ROW("20 data without CRLF", 400, CHUNKED "5\r\nhello0\r\n\r\n"),
    ROW("20 data then LF", 400, CHUNKED "5\r\nhello\n0\r\n\r\n"),
    ROW("21 extension", 0, CHUNKED "5;a=\"b c\"\r\nhello\r\n0;x\r\n\r\n"),
    ROW("21 LF in extension", 400, CHUNKED "5;a\nhello\r\n0\r\n\r\n"),
    ROW("22 trailer", 0, CHUNKED "0\r\nX-Sum: 1\r\nY:\r\n\r\n"),
    ROW("22 length trailer", 400, CHUNKED "0\r\nContent-Length: 5\r\n\r\n"),
    ROW("22 coding trailer", 400, CHUNKED "0\r\ntransfer-encoding: chunked\r\n\r\n"),
    ROW("22 host trailer", 400, CHUNKED "0\r\nHost: b\r\n\r\n"),
    ROW("22 folded trailer", 400, CHUNKED "0\r\nX: 1\r\n y\r\n\r\n"),
    ROW("22 trailer without colon", 400, CHUNKED "0\r\nX\r\n\r\n"),
    ROW("22 trailer ends with LF", 400, CHUNKED "0\r\nX: 1\n\r\n"),
    ROW("22 body ends with CR X", 400, CHUNKED "0\r\n\rX"),
    ROW("23 bare LF after request line", 400, "GET / HTTP/1.1\n" HOST "\r\n"),
    ROW("23 bare LF after header", 400, "GET / HTTP/1.1\r\nHost: a\n\r\n"),
    ROW("23 bare LF at the end", 400, "GET / HTTP/1.1\r\n" HOST "\n"),
    ROW("24 bare CR in value", 400, "GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n"),
    ROW("24 CR CR LF", 400, "GET / HTTP/1.1\r\n" HOST "X: a\r\r\n\r\n"),
    ROW("25 NUL in value", 400, "GET / HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n"),
    ROW("25 NUL in name", 400, "GET / HTTP/1.1\r\n" HOST "X\0: a\r\n\r\n"),
    ROW("25 DEL in value", 400, "GET / HTTP/1.1\r\n" HOST "X: a\x7f\r\n\r\n"),
    ROW("26 folded line", 400, "GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n"),
    ROW("27 space before colon", 400, "GET / HTTP/1.1\r\n" HOST "X : a\r\n\r\n"),
    ROW("28 no colon", 400, "GET / HTTP/1.1\r\n" HOST "X\r\n\r\n"),
    ROW("29 no name", 400, "GET / HTTP/1.1\r\n" HOST ": x\r\n\r\n"),
    ROW("30 leading space", 400, "GET / HTTP/1.1\r\n " HOST "\r\n"),
    ROW("31 bracket in name", 400, "GET / HTTP/1.1\r\n" HOST "X[]: a\r\n\r\n"),
    ROW("31 8-bit name", 400, "GET / HTTP/1.1\r\n" HOST "X\xc3: a\r\n\r\n"),
    ROW("32 HTTP/0.9", 400, "GET /\r\n\r\n"),
    ROW("32 HTTP/1.32", 400, "GET / HTTP/1.32\r\n" HOST "\r\n"),
    ROW("32 HTTP/1.2", 505, "GET / HTTP/1.2\r\n" HOST "\r\n"),
    ROW("32 HTTP/2.0", 505, "GET / HTTP/2.0\r\n" HOST "\r\n"),
    ROW("32 HTTP/1.1x", 400, "GET / HTTP/1.1x\r\n" HOST "\r\n"),
    ROW("32 lower case", 400, "GET / http/1.1\r\n" HOST "\r\n"),
    ROW("32 LF inside", 400, "GET /\n HTTP/1.1\r\n" HOST "\r\n"),
    ROW("32 two spaces", 400, "GET  / HTTP/1.1\r\n" HOST "\r\n"),
    ROW("32 two spaces behind", 400, "GET /  HTTP/1.1\r\n" HOST "\r\n"),
    ROW("32 tab", 400, "GET\t/ HTTP/1.1\r\n" HOST "\r\n"),
    ROW("32 no target", 400, "GET HTTP/1.1\r\n" HOST "\r\n"),
    ROW("32 8-bit target", 400, "GET /\xc3 HTTP/1.1\r\n" HOST "\r\n"),
    ROW("32 fragment", 400, "GET /#a HTTP/1.1\r\n" HOST "\r\n"),
    ROW("32 empty line first", 400, "\r\nGET / HTTP/1.1\r\n" HOST "\r\n"),
    ROW("33 odd method", 400, "G=\":<> / HTTP/1.1\r\n" HOST "\r\n"),
    ROW("33 TLS", 400, "\x16\x03\x01\x02\x00"),
    ROW("34 absolute form, other host", 400, "GET http://b.example/ HTTP/1.1\r\n" HOST "\r\n"),
    ROW("34 absolute form with user", 400, "GET http://u@a.example/ HTTP/1.1\r\n" HOST "\r\n"),
    ROW("34 other scheme", 400, "GET ftp://a.example/ HTTP/1.1\r\n" HOST "\r\n"),
    ROW("34 authority form", 400, "CONNECT a.example:80 HTTP/1.1\r\n" HOST "\r\n"),
    ROW("34 * with GET", 400, "GET * HTTP/1.1\r\n" HOST "\r\n"),
    ROW("35 no host", 400, "GET / HTTP/1.1\r\n\r\n"),
    ROW("35 two hosts", 400, "GET / HTTP/1.1\r\n" HOST HOST "\r\n"),
    ROW("35 empty host", 400, "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    ROW("35 host with @", 400, "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"),
    ROW("35 host with NUL", 400, "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n"),
    ROW("35 host with comma", 400, "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"),
    ROW("35 host with path", 400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ROW("35 host with odd port", 400, "GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n"),
    ROW("35 host with empty port", 400, "GET / HTTP/1.1\r\nHost: a:\r\n\r\n"),
    ROW("35 open bracket", 400, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    ROW("39 unknown expectation", 417, POST "Expect: 200-ok\r\n\r\n"),
    ROW("40 HTTP/2 preface", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
};

static void test_rows(void)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        expect_status(rows[i].name, rows[i].text, rows[i].n, rows[i].status);
}

static void fill(struct buf *b, char c, size_t n)
{
    while (n--)
        CHECK(buf_add_char(b, c) == ERR_OK);
}

static void test_limits(void)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    CHECK(buf_add_str(&b, "GET /") == ERR_OK);
    fill(&b, 'a', 64 << 10);
    expect_status("32 long target", b.p, b.n, 414);
    buf_clear(&b);
    CHECK(buf_add_str(&b, "GET / HTTP/1.1\r\n" HOST "X: ") == ERR_OK);
    fill(&b, 'a', 64 << 10);
    expect_status("41 long header", b.p, b.n, 431);
    for (int extra = 0; extra < 2; extra++) {
        buf_clear(&b);
        CHECK(buf_add_str(&b, "GET / HTTP/1.1\r\n" HOST) == ERR_OK);
        for (int i = 1; i < SERVE_HEADERS_MAX + extra; i++)
            CHECK(buf_add_str(&b, "X: y\r\n") == ERR_OK);
        CHECK(buf_add_str(&b, "\r\n") == ERR_OK);
        expect_status("41 many headers", b.p, b.n, extra ? 431 : 0);
    }
    for (int extra = 0; extra < 2; extra++) { /* a head of exactly the limit, and one byte more */
        const char *start = "GET / HTTP/1.1\r\n" HOST "X: ";
        buf_clear(&b);
        CHECK(buf_add_str(&b, start) == ERR_OK);
        fill(&b, 'a', SERVE_HEAD_BYTES_MAX - strlen(start) - 4 + (size_t)extra);
        CHECK(buf_add_str(&b, "\r\n\r\n") == ERR_OK);
        expect_status("41 limit", b.p, b.n, extra ? 431 : 0);
    }
    buf_clear(&b);
    CHECK(buf_add_str(&b, CHUNKED "1;") == ERR_OK);
    fill(&b, 'e', HTTP1_CHUNK_EXT_BYTES_MAX + 1);
    expect_status("21 long extension", b.p, b.n, 400);
    buf_clear(&b);
    CHECK(buf_add_str(&b, CHUNKED) == ERR_OK);
    for (int i = 0; i < 20; i++) {
        CHECK(buf_add_str(&b, "1;") == ERR_OK);
        fill(&b, 'e', 1000);
        CHECK(buf_add_str(&b, "\r\na\r\n") == ERR_OK);
    }
    expect_status("21 many extensions", b.p, b.n, 400);
    buf_clear(&b);
    CHECK(buf_add_str(&b, CHUNKED "0\r\nX: ") == ERR_OK);
    fill(&b, 't', HTTP1_TRAILER_BYTES_MAX);
    expect_status("22 long trailer", b.p, b.n, 431);
    buf_clear(&b);
    CHECK(buf_add_str(&b, CHUNKED "3e8\r\n") == ERR_OK);
    fill(&b, 'd', BODY_MAX);
    CHECK(buf_add_str(&b, "\r\n1\r\nx\r\n") == ERR_OK);
    expect_status("42 chunks above the limit", b.p, b.n, 413);
    buf_deinit(&b);
}

static void test_fields(void)
{
    const char *text = "POST /v1/a%20b?x=1&y?z HTTP/1.1\r\nHost: a.example:80\r\nconnection: foo, Close\r\n"
                       "X-A:  one \r\nExpect: 100-Continue\r\nContent-Length: 12\r\n\r\nhello world!next";
    struct outcome o = run_all(text, strlen(text));
    CHECK(o.verdict == HTTP1_DONE && o.used == strlen(text) - 16);
    CHECK(slice_is(o.head.method, "POST") && slice_is(o.head.path, "/v1/a%20b") && slice_is(o.head.query, "x=1&y?z"));
    CHECK(slice_is(o.head.target, "/v1/a%20b?x=1&y?z") && slice_is(o.head.host, "a.example:80"));
    CHECK(o.head.minor == 1 && o.head.length == 12 && !o.head.is_chunked && o.head.expects_continue);
    CHECK(!o.head.is_keep_alive && o.head.header_count == 5);
    CHECK(slice_is(o.head.headers[2].name, "X-A") && slice_is(o.head.headers[2].value, "one"));

    text = "GET http://a.example?q HTTP/1.1\r\n" HOST "\r\n";
    o = run_all(text, strlen(text));
    CHECK(o.verdict == HTTP1_DONE && slice_is(o.head.path, "/") && slice_is(o.head.query, "q") && o.head.is_keep_alive);
    text = "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\nExpect: 100-continue\r\n\r\n";
    o = run_all(text, strlen(text));
    CHECK(o.verdict == HTTP1_DONE && o.head.is_keep_alive && o.head.minor == 0 && !o.head.expects_continue);
    text = "GET / HTTP/1.0\r\n\r\n";
    o = run_all(text, strlen(text));
    CHECK(o.verdict == HTTP1_DONE && !o.head.is_keep_alive && !o.head.host.n && !o.head.query.n);

    text = CHUNKED "5\r\nhello\r\nA;x=y\r\n, chunked \r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\nGET";
    o = run_all(text, strlen(text));
    CHECK(o.verdict == HTTP1_DONE && o.used == strlen(text) - 3);
    CHECK(slice_is((struct slice){o.body.p, o.body.n}, "hello, chunked !"));
    buf_deinit(&o.body);
    text = CHUNKED "5\r\nhel";
    o = run_all(text, strlen(text));
    CHECK(o.verdict == HTTP1_MORE && o.body.n == 3);
    buf_deinit(&o.body);
}

/* Every byte as a method, in a name, in a value and in a target, against the definitions written out. */
static void test_every_byte(void)
{
    const char *token = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (int c = 0; c < 256; c++) {
        char name[] = "GET / HTTP/1.1\r\n" HOST "X?X: a\r\n\r\n", value[] = "GET / HTTP/1.1\r\n" HOST "X: a?b\r\n\r\n";
        char target[] = "GET /?/ HTTP/1.1\r\n" HOST "\r\n", method[] = "?GET / HTTP/1.1\r\n" HOST "\r\n";
        *strchr(name, '?') = *strchr(value, '?') = *strchr(target, '?') = *strchr(method, '?') = (char)c;
        bool is_token = c && strchr(token, c);
        bool is_value = c == '\t' || (c >= 32 && c != 127);
        bool is_target = c > 32 && c < 127 && c != '#';
        expect_status("name", name, sizeof name - 1, is_token || c == ':' ? 0 : 400); /* "X:X: a" is a value "X: a" */
        expect_status("value", value, sizeof value - 1, is_value ? 0 : 400);
        expect_status("target", target, sizeof target - 1, is_target ? 0 : 400);
        expect_status("method", method, sizeof method - 1, is_token ? 0 : 400);
    }
}

static void test_responses(void)
{
    struct buf b;
    buf_init(&b, 1000);
    CHECK(http1_add_status(&b, 200) == ERR_OK && http1_add_status(&b, 404) == ERR_OK);
    CHECK(http1_add_header(&b, (struct slice){"x-a", 3}, (struct slice){"b c", 3}) == ERR_OK);
    CHECK(http1_add_length(&b, 0) == ERR_OK && http1_add_length(&b, 1234567890) == ERR_OK);
    CHECK(http1_add_chunk(&b, (struct slice){"0123456789abcdef!", 17}) == ERR_OK);
    CHECK(slice_is((struct slice){b.p, b.n},
                   "HTTP/1.1 200 OK\r\nHTTP/1.1 404 Not Found\r\nx-a: b c\r\ncontent-length: 0\r\n"
                   "content-length: 1234567890\r\n11\r\n0123456789abcdef!\r\n"));
    size_t n = b.n;
    CHECK(http1_add_header(&b, (struct slice){"x", 1}, (struct slice){"a\r\nSet-Cookie: b", 16}) == ERR_INVALID);
    CHECK(http1_add_header(&b, (struct slice){"x", 1}, (struct slice){"a\0", 2}) == ERR_INVALID);
    CHECK(http1_add_header(&b, (struct slice){"x y", 3}, (struct slice){"a", 1}) == ERR_INVALID);
    CHECK(http1_add_header(&b, (struct slice){"", 0}, (struct slice){"a", 1}) == ERR_INVALID);
    CHECK(b.n == n);
    buf_deinit(&b);
    buf_init(&b, 10);
    CHECK(http1_add_status(&b, 200) == ERR_LIMIT && b.n == 0);
    CHECK(http1_add_chunk(&b, (struct slice){"12345678", 8}) == ERR_LIMIT && b.n == 0);
    buf_deinit(&b);
    char date[HTTP1_DATE_BYTES];
    http1_date(784111777, date);
    CHECK(strcmp(date, "Sun, 06 Nov 1994 08:49:37 GMT") == 0);
    http1_date(0, date);
    CHECK(strcmp(date, "Thu, 01 Jan 1970 00:00:00 GMT") == 0);
    http1_date(1709251199, date);
    CHECK(strcmp(date, "Thu, 29 Feb 2024 23:59:59 GMT") == 0);
}

int main(void)
{
    test_rows();
    test_limits();
    test_fields();
    test_every_byte();
    test_responses();
    return check_report();
}
