/*
 * fuzz_http1.c - libFuzzer: a request that arrives whole and one that arrives in random pieces get the same verdict,
 * the same status and the same body. The first four bytes seed the cuts, the rest are the request.
 */
#include "../../src/base/http1.h"

#include <string.h>

#define FUZZ_HEAD_MAX 600 /* small, so that the limit is met */
#define FUZZ_BODY_MAX 300

struct outcome {
    enum http1_verdict verdict;
    int status;
    size_t used, body_bytes;
    unsigned char body[FUZZ_BODY_MAX];
};

/* How many bytes have arrived, given that `at` of n are used up: more than at. A seed of 0 delivers all at once. */
static size_t arrived(uint32_t *seed, size_t at, size_t n)
{
    if (!*seed)
        return n;
    *seed = *seed * 1664525u + 1013904223u;
    *seed |= 1;
    size_t step = 1 + (*seed >> 16) % 9;
    return n - at < step ? n : at + step;
}

static void read_chunks(const char *p, size_t n, uint32_t seed, struct outcome *o)
{
    struct http1_chunks chunks;
    struct http1_fault fault = {0};
    http1_chunks_init(&chunks, FUZZ_BODY_MAX);
    o->verdict = HTTP1_MORE;
    while (o->used < n && o->verdict == HTTP1_MORE) {
        size_t used, end = arrived(&seed, o->used, n);
        struct slice data;
        o->verdict = http1_chunks_feed(&chunks, p + o->used, end - o->used, &used, &data, &fault);
        ASSERT(used > 0 && used <= end - o->used);
        ASSERT(data.n <= FUZZ_BODY_MAX - o->body_bytes);
        memcpy(o->body + o->body_bytes, data.p, data.n);
        o->body_bytes += data.n;
        o->used += used;
    }
    o->status = fault.status;
}

static void check_head(const struct http1_head *head, const char *p, size_t head_bytes)
{
    ASSERT(head->method.n > 0 && head->target.n > 0 && head->path.n > 0);
    ASSERT(head->method.p == p && head->path.p > p && head->query.p + head->query.n <= p + head_bytes);
    ASSERT(head->header_count <= SERVE_HEADERS_MAX);
    ASSERT(!head->is_chunked || head->length == 0);
    for (size_t i = 0; i < head->header_count; i++) {
        struct http1_header h = head->headers[i];
        ASSERT(h.name.n > 0 && h.name.p > p && h.value.p + h.value.n <= p + head_bytes);
        ASSERT(!memchr(h.value.p, '\r', h.value.n) && !memchr(h.value.p, '\n', h.value.n));
        ASSERT(!memchr(h.value.p, '\0', h.value.n));
    }
}

static void read_request(const char *p, size_t n, uint32_t seed, struct outcome *o)
{
    static struct http1_head head;
    struct http1_scan scan = {0};
    struct http1_fault fault = {0};
    size_t head_bytes = 0, at = 0;
    while (at < n && o->verdict == HTTP1_MORE) {
        at = arrived(&seed, at, n);
        o->verdict = http1_scan(&scan, p, at, FUZZ_HEAD_MAX, &head_bytes, &fault);
    }
    if (o->verdict == HTTP1_DONE) {
        o->used = head_bytes;
        o->verdict = http1_parse(p, head_bytes, &head, &fault);
    }
    o->status = fault.status;
    if (o->verdict != HTTP1_DONE)
        return;
    check_head(&head, p, head_bytes);
    if (head.is_chunked)
        read_chunks(p, n, seed, o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t seed;
    if (size < sizeof seed)
        return 0;
    memcpy(&seed, data, sizeof seed);
    const char *p = (const char *)data + sizeof seed;
    size_t n = size - sizeof seed;
    struct outcome whole = {.verdict = HTTP1_MORE}, split = {.verdict = HTTP1_MORE};
    read_request(p, n, 0, &whole);
    read_request(p, n, seed | 1, &split);
    ASSERT(whole.verdict == split.verdict && whole.status == split.status);
    ASSERT(whole.body_bytes == split.body_bytes && memcmp(whole.body, split.body, whole.body_bytes) == 0);
    ASSERT(whole.verdict == HTTP1_BAD || whole.used == split.used);
    return 0;
}
