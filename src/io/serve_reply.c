/*
 * serve_reply.c - answers: heads, framing, and the rules that keep a connection in step. It writes to the connection's
 * output buffer; sending is serve_conn.c's.
 *
 * The surprising decision: a call that fails as misuse has written nothing, and an answer that is never finished is
 * never repaired: the connection is closed, so that the client can tell.
 */
#include "serve_reply.h"

#include "serve_conn.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HEAD_BYTES_USUAL 512 /* room for most heads at once */

enum framing { NOT_STARTED, NO_BODY, LENGTH, CHUNKS, UNTIL_CLOSE, RAW };

struct plan { /* what the headers say about the message */
    bool has_length, has_date;
    uint64_t length;
};

static enum err check_open(const struct serve_request *r, struct err_info *info)
{
    if (r->state == SERVE_OPEN)
        return ERR_OK;
    if (r->state == SERVE_GONE)
        return err_set(info, ERR_RESET, "the client has gone");
    return err_set(info, ERR_INVALID, "the request was already answered");
}

static enum err too_much(struct err_info *info)
{
    return err_set(info, ERR_LIMIT, "more than %u unsent bytes on one connection", SERVE_REPLY_BYTES_MAX);
}

static enum err look_at_headers(struct serve_request *r, const struct serve_reply *reply, struct plan *plan,
                                struct err_info *info)
{
    for (size_t i = 0; i < reply->header_count; i++) {
        struct http1_header h = reply->headers[i];
        if (slice_is_nocase(h.name, "transfer-encoding"))
            return err_set(info, ERR_INVALID, "transfer-encoding is not for handlers to set");
        if (slice_is_nocase(h.name, "content-length")) {
            if (plan->has_length || !http1_length(h.value, &plan->length))
                return err_set(info, ERR_INVALID, "malformed or repeated content-length");
            plan->has_length = true;
        } else if (slice_is_nocase(h.name, "connection")) {
            if (!slice_is_nocase(h.value, "close"))
                return err_set(info, ERR_INVALID, "the only connection header a handler may set is 'close'");
            r->is_keep_alive = false;
        }
        plan->has_date |= slice_is_nocase(h.name, "date");
    }
    return ERR_OK;
}

static const char *date_now(struct serve *s)
{
    int64_t now_s = clock_wall_us(loop_clock(s->loop)) / 1000000;
    if (now_s != s->date_s)
        http1_date(s->date_s = now_s, s->date);
    return s->date;
}

static enum err add_header(struct buf *out, const char *name, const char *value)
{
    return http1_add_header(out, (struct slice){name, strlen(name)}, (struct slice){value, strlen(value)});
}

/* The connection, length and coding headers are written here, whatever the handler's looked like. */
static enum err add_framing(struct buf *out, const struct serve_request *r, const struct plan *plan)
{
    enum err err = ERR_OK;
    if (!r->is_keep_alive)
        err = add_header(out, "connection", "close");
    else if (r->minor == 0)
        err = add_header(out, "connection", "keep-alive");
    if (!err && r->framing == LENGTH)
        err = http1_add_length(out, plan->length);
    if (!err && r->framing == CHUNKS)
        err = add_header(out, "transfer-encoding", "chunked");
    return err ? err : buf_add(out, "\r\n", 2);
}

static enum err add_head(struct serve_request *r, const struct serve_reply *reply, const struct plan *plan,
                         struct err_info *info)
{
    struct buf *out = &r->conn->out;
    enum err err = buf_reserve(out, HEAD_BYTES_USUAL);
    err = err ? err : http1_add_status(out, reply->status);
    if (!err && !plan->has_date)
        err = add_header(out, "date", date_now(r->conn->server));
    for (size_t i = 0; !err && i < reply->header_count; i++) {
        struct http1_header h = reply->headers[i];
        if (slice_is_nocase(h.name, "content-length") || slice_is_nocase(h.name, "connection"))
            continue;
        err = http1_add_header(out, h.name, h.value);
        if (err == ERR_INVALID)
            err_set(info, err, "header %zu: a name must be a token, a value without control characters", i + 1);
    }
    err = err ? err : add_framing(out, r, plan);
    return err == ERR_LIMIT ? too_much(info) : err;
}

/* Writes the head and the body, or nothing. `body` is NULL for a streamed answer. */
static enum err start(struct serve_request *r, const struct serve_reply *reply, const struct slice *body,
                      struct err_info *info)
{
    enum err err = check_open(r, info);
    if (err)
        return err;
    if (r->framing != NOT_STARTED)
        return err_set(info, ERR_INVALID, "the answer was already started");
    if (reply->status < 200 || reply->status > 599)
        return err_set(info, ERR_INVALID, "status %d is not between 200 and 599", reply->status);
    struct plan plan = {0};
    bool was_keep_alive = r->is_keep_alive;
    bool is_empty = reply->status == 204 || reply->status == 304;
    size_t before = r->conn->out.n;
    err = look_at_headers(r, reply, &plan, info);
    if (!err && body && is_empty && body->n)
        err = err_set(info, ERR_INVALID, "an answer with status %d has no body", reply->status);
    if (!err && body && plan.has_length && plan.length != body->n && !r->is_head)
        err = err_set(info, ERR_INVALID, "content-length is not the length of the body");
    if (body && !plan.has_length)
        plan = (struct plan){.has_length = true, .has_date = plan.has_date, .length = body->n};
    r->framing = is_empty ? NO_BODY : plan.has_length ? LENGTH : r->minor == 1 ? CHUNKS : UNTIL_CLOSE;
    r->is_keep_alive &= r->framing != UNTIL_CLOSE && !r->conn->server->is_draining;
    r->left = plan.length;
    err = err ? err : add_head(r, reply, &plan, info);
    if (!err && body && !r->is_head && buf_add(&r->conn->out, body->p, body->n) != ERR_OK)
        err = too_much(info);
    if (err) {
        r->conn->out.n = before;
        r->framing = NOT_STARTED;
        r->is_keep_alive = was_keep_alive;
    }
    return err;
}

static void complete(struct serve_request *r)
{
    serve_conn_mark(r->conn);
    serve_conn_next(serve_request_detach(r, SERVE_DONE), r->is_keep_alive);
}

enum err serve_reply_send(struct serve_request *r, const struct serve_reply *reply, struct slice body,
                          struct err_info *info)
{
    enum err err = start(r, reply, &body, info);
    if (!err)
        complete(r);
    return err;
}

enum err serve_reply_start(struct serve_request *r, const struct serve_reply *reply, struct err_info *info)
{
    enum err err = start(r, reply, NULL, info);
    if (!err)
        serve_conn_mark(r->conn);
    return err;
}

enum err serve_reply_write(struct serve_request *r, struct slice data, struct err_info *info)
{
    enum err err = check_open(r, info);
    if (err)
        return err;
    if (r->framing == NOT_STARTED)
        return err_set(info, ERR_INVALID, "the answer was not started");
    if (!data.n)
        return ERR_OK; /* an empty chunk would end the body */
    if (r->framing == NO_BODY || (r->framing == LENGTH && data.n > r->left))
        return err_set(info, ERR_INVALID, "more bytes than the head announced");
    if (!r->is_head)
        err = r->framing == CHUNKS ? http1_add_chunk(&r->conn->out, data) : buf_add(&r->conn->out, data.p, data.n);
    if (err)
        return too_much(info);
    if (r->framing == LENGTH)
        r->left -= data.n;
    serve_conn_mark(r->conn);
    return ERR_OK;
}

enum err serve_reply_finish(struct serve_request *r, struct err_info *info)
{
    enum err err = check_open(r, info);
    if (err)
        return err;
    if (r->framing == NOT_STARTED)
        return err_set(info, ERR_INVALID, "the answer was not started");
    if (r->framing == LENGTH && r->left && !r->is_head)
        return err_set(info, ERR_INVALID, "%" PRIu64 " bytes of the announced body are missing", r->left);
    if (r->framing == CHUNKS && !r->is_head && buf_add(&r->conn->out, "0\r\n\r\n", 5) != ERR_OK)
        return too_much(info);
    complete(r);
    return ERR_OK;
}

enum err serve_reply_raw(struct serve_request *r, struct slice data, struct err_info *info)
{
    enum err err = check_open(r, info);
    if (err)
        return err;
    r->framing = RAW;
    if (buf_add(&r->conn->out, data.p, data.n) != ERR_OK)
        return too_much(info);
    serve_conn_flush(r->conn);
    return check_open(r, info);
}

bool serve_reply_is_full(const struct serve_request *r)
{
    return r->conn && serve_conn_is_full(r->conn);
}

void serve_reply_probe(struct serve_request *r)
{
    static const char interim[] = "HTTP/1.1 102 Processing\r\n\r\n";
    if (r->state != SERVE_OPEN || r->framing != NOT_STARTED || r->minor == 0)
        return;
    if (buf_add(&r->conn->out, interim, sizeof interim - 1) == ERR_OK)
        serve_conn_mark(r->conn);
}

/* Refusals */

static const char *code_of(int status)
{
    switch (status) {
    case 408: return "request_timeout";
    case 413: return "request_too_large";
    case 414: return "uri_too_long";
    case 417: return "expectation_failed";
    case 429: return "too_many_connections";
    case 431: return "headers_too_large";
    case 503: return "overloaded";
    case 505: return "http_version";
    default: return "bad_request";
    }
}

/* In the shape that clients of OpenAI's API read. The words are ours, and need no escapes. */
void serve_reply_refuse(struct buf *out, struct http1_fault fault)
{
    bool is_busy = fault.status == 429 || fault.status == 503;
    char body[256];
    int n = snprintf(body, sizeof body, "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,\"code\":\"%s\"}}", fault.why,
                     fault.status == 503 ? "server_error" : fault.status == 429 ? "rate_limit_exceeded" : "invalid_request_error",
                     code_of(fault.status));
    ASSERT(n > 0 && (size_t)n < sizeof body);
    enum err err = http1_add_status(out, fault.status);
    err = err ? err : buf_add_str(out, "connection: close\r\ncontent-type: application/json\r\n");
    err = err || !is_busy ? err : buf_add_str(out, "retry-after: 1\r\n");
    err = err ? err : http1_add_length(out, (uint64_t)n);
    err = err ? err : buf_add_str(out, "\r\n");
    err = err ? err : buf_add(out, body, (size_t)n);
    ASSERT(err == ERR_OK); /* the callers have room for it */
}
