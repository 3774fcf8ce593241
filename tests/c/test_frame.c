/*
 * test_frame.c - the same frames however the bytes are split: every case whole, byte by byte and cut at
 * every position.
 */
#include "base/frame.h"
#include "base/mem.h"
#include "check.h"

#include <string.h>

#define LOG_BYTES_MAX (1 << 20)

/* Frames as one text: data, and "event=" when it has a name, each ended by "|". */
static void on_frame(void *user, struct slice data, struct slice event)
{
    struct buf *log = user;
    if (event.n)
        CHECK(buf_addf(log, "%.*s=", (int)event.n, event.p) == ERR_OK);
    CHECK(buf_add(log, data.p, data.n) == ERR_OK && buf_add_char(log, '|') == ERR_OK);
}

static enum err feed_in_two(struct framer *f, const char *body, size_t n, size_t cut)
{
    enum err err = frame_feed(f, body, cut);
    return err == ERR_OK ? frame_feed(f, body + cut, n - cut) : err;
}

static enum err feed_bytes(struct framer *f, const char *body, size_t n)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < n && err == ERR_OK; i++)
        err = frame_feed(f, body + i, 1);
    return err;
}

static void expect_frames(enum frame_kind kind, const char *body, size_t n, const char *frames)
{
    for (size_t cut = 0; cut <= n + 1; cut++) {
        struct framer f;
        struct buf log;
        buf_init(&log, LOG_BYTES_MAX);
        frame_init(&f, kind, LOG_BYTES_MAX, on_frame, &log);
        enum err err = cut <= n ? feed_in_two(&f, body, n, cut) : feed_bytes(&f, body, n);
        CHECK(err == ERR_OK && frame_finish(&f) == ERR_OK);
        const char *got = log.n ? log.p : "";
        if (strcmp(got, frames) != 0)
            fprintf(stderr, "body <%s> cut at %zu\n  wanted <%s>\n  got    <%s>\n", body, cut, frames, got);
        CHECK(strcmp(got, frames) == 0);
        frame_deinit(&f);
        buf_deinit(&log);
    }
}

static void test_events(void)
{
    static const struct {
        const char *body, *frames;
    } cases[] = {
        {"data: a\n\ndata: b\n\n", "a|b|"},
        {"data:a\n\n", "a|"},
        {"data:  two spaces\n\n", " two spaces|"},
        {"data: a\r\n\r\ndata: b\r\n\r\n", "a|b|"},
        {"data: a\r\rdata: b\r\r", "a|b|"},
        {"data: a\r\n\ndata: b\n\r\n", "a|b|"},
        {"data: one\ndata: two\n\n", "one\ntwo|"},
        {"event: ping\ndata: {}\n\ndata: x\n\n", "ping={}|x|"},
        {"event: lonely\n\ndata: x\n\n", "x|"},
        {"data\n\n", "|"},
        {"data:\n\n", "|"},
        {"data: \ndata:\n\n", "\n|"},
        {": comment\n\n: another\ndata: x\n: in the middle\n\n", "x|"},
        {":\n\n:\n\n", ""},
        {"id: 1\nretry: 10\nunknown: y\ndata: x\n\n", "x|"},
        {"database: x\n\n", ""},
        {"data: no blank line at the end", "no blank line at the end|"},
        {"data: x\n", "x|"},
        {"data: x\n\n\n\n\ndata: y\n\n", "x|y|"},
        {"\xef\xbb\xbf" "data: mark\n\n", "mark|"},
        {"data: a\n\n\xef\xbb\xbf" "data: b\n\n", "a|"},
        {"\n\n\r\ndata: after blank lines\n\n", "after blank lines|"},
        {"data: [DONE]\n\n", "[DONE]|"},
        {"data: \xe2\x82\xac \xf0\x9f\x8c\x99\n\n", "\xe2\x82\xac \xf0\x9f\x8c\x99|"},
        {"event: a\nevent: b\ndata: x\n\n", "b=x|"},
        {"data: a\n\n{\n  \"error\": {}\n}\n", "a|{\n  \"error\": {}\n}|"},
        {"data: a\r\n\r\n{\r\n\r\n}\r\n\r\ndata: b\r\n", "a|{\n\n}\n\ndata: b|"},
        {": comment\n{}", "{}|"},
        {"data: {\n{ no field\ndata: }\n\n", "{\n}|"},
        {"event: x\n{ no field\ndata: a\n\n", "x=a|"},
        {"", ""},
        {"\n\n\n", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_frames(FRAME_SSE, cases[i].body, strlen(cases[i].body), cases[i].frames);
}

static void test_documents(void)
{
    static const struct {
        enum frame_kind kind;
        const char *body, *frames;
    } cases[] = {
        {FRAME_SSE, "{\"error\": {\n\n \"message\": \"no\"\n}}\n", "{\"error\": {\n\n \"message\": \"no\"\n}}|"},
        {FRAME_SSE, "\n \n[1]", "[1]|"},
        {FRAME_SSE, "<html>\n\n<body>data: x\n\n</body></html>", "<html>\n\n<body>data: x\n\n</body></html>|"},
        {FRAME_SSE, "\xef\xbb\xbf{}", "{}|"},
        {FRAME_WHOLE, " {} \n", " {}|"},
        {FRAME_WHOLE, "", ""},
        {FRAME_LINES, "{\"a\":1}\n{\"b\":2}\r\n\n{\"c\":3}", "{\"a\":1}|{\"b\":2}|{\"c\":3}|"},
        {FRAME_LINES, "{\"a\":\r1}\r\n\r\n2\r\n3\r", "{\"a\":\r1}|2|3|"},
        {FRAME_JSON, "[{\"a\":1},\n{\"b\":[1,2]}\n]\n", "{\"a\":1}|{\"b\":[1,2]}|"},
        {FRAME_JSON, "[]", ""},
        {FRAME_JSON, "[\"a,b\",\"]\",\"\\\"\",null, 5 ]", "\"a,b\"|\"]\"|\"\\\"\"|null|5|"},
        {FRAME_JSON, "{\"error\":1}", "{\"error\":1}|"},
        {FRAME_JSON, "[{\"a\":1},{\"b\":", "{\"a\":1}|{\"b\":|"},
        {FRAME_JSON, "[1] rest", "1| rest|"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_frames(cases[i].kind, cases[i].body, strlen(cases[i].body), cases[i].frames);
    expect_frames(FRAME_SSE, "data: a\0b\n\n", 12, "a");
}

static void test_limits(void)
{
    static const enum frame_kind kinds[] = {FRAME_SSE, FRAME_LINES, FRAME_JSON, FRAME_WHOLE};
    static const char *const starts[] = {"data: ", "", "[\"", ""};
    char long_text[300];
    memset(long_text, 'x', sizeof long_text);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct framer f;
        struct buf log;
        buf_init(&log, LOG_BYTES_MAX);
        frame_init(&f, kinds[i], 256, on_frame, &log);
        CHECK(frame_feed(&f, starts[i], strlen(starts[i])) == ERR_OK);
        CHECK(frame_feed(&f, long_text, sizeof long_text) == ERR_LIMIT);
        frame_deinit(&f);
        buf_deinit(&log);
    }
    enum frame_kind kind;
    CHECK(frame_kind_parse("json", &kind) && kind == FRAME_JSON);
    CHECK(!frame_kind_parse("yaml", &kind));
}

int main(void)
{
    test_events();
    test_documents();
    test_limits();
    return check_report();
}
