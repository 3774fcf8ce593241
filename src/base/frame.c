/*
 * frame.c - the body cutters. It gives no meaning to what it cuts: "[DONE]" is data like any other.
 * Against the letter of WHATWG, an event at the end of the body needs no blank line: providers forget it.
 */
#include "frame.h"

#include <string.h>

enum state { AT_START, IN_SSE, IN_DOCUMENT, IN_ARRAY, AFTER_ARRAY };

void frame_init(struct framer *f, enum frame_kind kind, size_t frame_bytes_max, frame_fn *on_frame, void *user)
{
    *f = (struct framer){.kind = kind, .on_frame = on_frame, .user = user};
    buf_init(&f->line, frame_bytes_max);
    buf_init(&f->data, frame_bytes_max);
    buf_init(&f->event, FRAME_EVENT_BYTES_MAX);
}

void frame_deinit(struct framer *f)
{
    buf_deinit(&f->line);
    buf_deinit(&f->data);
    buf_deinit(&f->event);
}

static void emit(struct framer *f, const char *p, size_t n)
{
    f->on_frame(f->user, (struct slice){p, n}, (struct slice){f->event.n ? f->event.p : "", f->event.n});
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Server-sent events */

static void dispatch(struct framer *f)
{
    if (f->has_data)
        emit(f, f->data.n ? f->data.p : "", f->data.n);
    f->has_data = false;
    buf_clear(&f->data);
    buf_clear(&f->event);
}

static enum err sse_field(struct framer *f, struct slice name, struct slice value)
{
    if (slice_is(name, "data")) {
        if (f->has_data && buf_add_char(&f->data, '\n') != ERR_OK)
            return ERR_LIMIT;
        f->has_data = true;
        return buf_add(&f->data, value.p, value.n);
    }
    if (slice_is(name, "event")) {
        buf_clear(&f->event);
        return buf_add(&f->event, value.p, value.n);
    }
    return ERR_OK; /* id, retry and unknown fields */
}

/* A line that begins with `{` where an event could begin is no field: from it on the body is a document. */
static bool begins_document(const struct framer *f, const char *p, size_t n)
{
    return n > 0 && *p == '{' && !f->has_data && f->event.n == 0;
}

static enum err sse_line(struct framer *f, const char *p, size_t n)
{
    if (f->is_document || begins_document(f, p, n)) {
        if (f->is_document && buf_add_char(&f->data, '\n') != ERR_OK)
            return ERR_LIMIT;
        f->is_document = f->has_data = true;
        return buf_add(&f->data, p, n);
    }
    if (n == 0) {
        dispatch(f);
        return ERR_OK;
    }
    const char *colon = memchr(p, ':', n);
    if (!colon)
        return sse_field(f, (struct slice){p, n}, (struct slice){"", 0});
    if (colon == p)
        return ERR_OK; /* a comment */
    const char *value = colon + 1, *end = p + n;
    if (value < end && *value == ' ')
        value++;
    return sse_field(f, (struct slice){p, (size_t)(colon - p)}, (struct slice){value, (size_t)(end - value)});
}

static const char *find_line_end(const char *p, const char *end)
{
    const char *lf = memchr(p, '\n', (size_t)(end - p));
    const char *cr = memchr(p, '\r', (size_t)((lf ? lf : end) - p));
    return cr ? cr : lf;
}

/* Cuts lines at LF, CRLF and, for SSE, a lone CR. */
static enum err feed_lines(struct framer *f, const char *p, size_t n, enum err (*on_line)(struct framer *, const char *, size_t))
{
    const char *end = p + n;
    while (p < end) {
        if (f->skip_lf && *p == '\n') {
            f->skip_lf = false;
            p++;
            continue;
        }
        f->skip_lf = false;
        const char *stop = f->kind == FRAME_SSE ? find_line_end(p, end) : memchr(p, '\n', (size_t)(end - p));
        if (!stop)
            return buf_add(&f->line, p, (size_t)(end - p));
        enum err err;
        if (f->line.n == 0) {
            err = on_line(f, p, (size_t)(stop - p));
        } else {
            err = buf_add(&f->line, p, (size_t)(stop - p));
            if (err == ERR_OK)
                err = on_line(f, f->line.p, f->line.n);
            buf_clear(&f->line);
        }
        if (err != ERR_OK)
            return err;
        f->skip_lf = *stop == '\r';
        p = stop + 1;
    }
    return ERR_OK;
}

static enum err plain_line(struct framer *f, const char *p, size_t n)
{
    if (n > f->line.max)
        return ERR_LIMIT;
    if (n && p[n - 1] == '\r')
        n--;
    if (n)
        emit(f, p, n);
    return ERR_OK;
}

/* The elements of an array */

static void emit_element(struct framer *f)
{
    size_t n = f->line.n;
    while (n && is_space(f->line.p[n - 1]))
        n--;
    if (n)
        emit(f, f->line.p, n);
    buf_clear(&f->line);
}

static enum err array_byte(struct framer *f, char c)
{
    if (f->in_string) {
        if (f->is_escaped)
            f->is_escaped = false;
        else if (c == '\\')
            f->is_escaped = true;
        else if (c == '"')
            f->in_string = false;
        return buf_add_char(&f->line, c);
    }
    if (f->depth == 0 && (c == ',' || c == ']')) {
        emit_element(f);
        if (c == ']')
            f->state = AFTER_ARRAY;
        return ERR_OK;
    }
    if (c == '"')
        f->in_string = true;
    else if (c == '{' || c == '[')
        f->depth++;
    else if (c == '}' || c == ']')
        f->depth--;
    else if (f->line.n == 0 && is_space(c))
        return ERR_OK;
    return buf_add_char(&f->line, c);
}

static enum err feed_array(struct framer *f, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (f->state == AFTER_ARRAY)
            return buf_add(&f->line, p + i, n - i); /* not JSON any more: shown by frame_finish */
        enum err err = array_byte(f, p[i]);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

/* The start of the body: a byte order mark and blank lines are skipped, then the first byte decides */

static enum state first_state(const struct framer *f, char c)
{
    if (f->kind == FRAME_JSON)
        return c == '[' ? IN_ARRAY : IN_DOCUMENT;
    return c == '{' || c == '[' || c == '<' ? IN_DOCUMENT : IN_SSE;
}

/* Returns how many bytes of p belong to the start; leaves AT_START when the first byte is known. */
static size_t feed_start(struct framer *f, const char *p, size_t n)
{
    static const char bom[] = "\xef\xbb\xbf";
    size_t i = 0;
    for (; i < n && f->state == AT_START; i++) {
        if (f->depth < 3 && p[i] == bom[f->depth]) {
            f->depth++; /* counts the bytes of the mark while the body has not begun */
            continue;
        }
        if (is_space(p[i]))
            continue;
        f->depth = 0;
        f->state = first_state(f, p[i]);
        if (f->state == IN_ARRAY)
            continue; /* the bracket itself is no part of an element */
        break;
    }
    return i;
}

enum err frame_feed(struct framer *f, const char *p, size_t n)
{
    if (f->kind == FRAME_BYTES) {
        if (n)
            emit(f, p, n);
        return ERR_OK;
    }
    if (f->kind == FRAME_LINES)
        return feed_lines(f, p, n, plain_line);
    if (f->kind == FRAME_WHOLE)
        return buf_add(&f->line, p, n);
    size_t used = f->state == AT_START ? feed_start(f, p, n) : 0;
    p += used;
    n -= used;
    switch ((enum state)f->state) {
    case IN_SSE:
        return feed_lines(f, p, n, sse_line);
    case IN_DOCUMENT:
        return buf_add(&f->line, p, n);
    case IN_ARRAY:
    case AFTER_ARRAY:
        return feed_array(f, p, n);
    default:
        return ERR_OK;
    }
}

enum err frame_finish(struct framer *f)
{
    if (f->kind == FRAME_SSE && f->state == IN_SSE) {
        enum err err = f->line.n ? sse_line(f, f->line.p, f->line.n) : ERR_OK;
        buf_clear(&f->line);
        dispatch(f);
        return err;
    }
    emit_element(f); /* the rest: a last line, a document, an element that was cut off */
    return ERR_OK;
}

bool frame_kind_parse(const char *name, enum frame_kind *kind)
{
    static const char *const names[] = {"sse", "lines", "json", "whole", "bytes"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            *kind = (enum frame_kind)i;
            return true;
        }
    }
    return false;
}
