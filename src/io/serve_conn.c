/*
 * serve_conn.c - one connection: bytes in, requests out; queued bytes out; deadlines; the ways to end. It does not
 * know what an answer looks like (serve_reply.c).
 *
 * The surprising decision: reading goes on while the handler works, into a bounded buffer, because that is how a client
 * that has gone is noticed. And a connection that we end lingers: our side is shut down and input is thrown away for a
 * moment, since closing with unread input makes the kernel reset the connection, which may destroy the answer.
 */
#include "serve_conn.h"

#include "../base/mem.h"
#include "serve_reply.h"

#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct serve_write { /* bytes that the kernel did not take at once; freed in on_written */
    uv_write_t write;
    struct serve_conn *conn;
    struct loop_timer stall;
    size_t left_bytes; /* of all that is unsent, at the last look */
    char *bytes;
};

static void on_deadline(struct loop_timer *t);

static void tell(struct serve_request *r)
{
    if (r->on_change)
        r->on_change(r);
}

static void set_deadline(struct serve_conn *c, int64_t delay_ms)
{
    loop_timer_start(c->server->loop, &c->deadline, delay_ms, on_deadline);
}

static int64_t now_ms(const struct serve_conn *c)
{
    return clock_mono_ms(loop_clock(c->server->loop));
}

/* Looks at a body after a while, then every second, until it must be complete. */
static void set_body_deadline(struct serve_conn *c, int64_t elapsed_ms)
{
    int64_t next_ms = elapsed_ms < SERVE_BODY_SLOW_MS ? SERVE_BODY_SLOW_MS : elapsed_ms + 1000;
    int64_t end_ms = c->server->options.body_ms;
    set_deadline(c, (next_ms < end_ms ? next_ms : end_ms) - elapsed_ms);
}

/* The body is complete, or will never be. */
static void leave_body(struct serve_conn *c)
{
    if (c->state == CONN_BODY)
        c->server->bodies_bytes -= c->body_bytes;
}

/* Ending */

static void on_closed(uv_handle_t *handle)
{
    struct serve_conn *c = CONTAINER_OF((uv_tcp_t *)handle, struct serve_conn, tcp);
    struct serve *s = c->server;
    serve_peers_leave(&s->peers, c->peer);
    buf_deinit(&c->in);
    buf_deinit(&c->out);
    mem_free(c);
    serve_conn_closed(s);
}

static void close_with(struct serve_conn *c, bool with_reset)
{
    if (c->state == CONN_CLOSED)
        return;
    bool is_handed_over = c->state == CONN_BUSY;
    leave_body(c);
    c->state = CONN_CLOSED;
    loop_timer_stop(c->server->loop, &c->deadline);
    if (c->writing)
        loop_timer_stop(c->server->loop, &c->writing->stall);
    list_remove(&c->link);
    list_remove(&c->dirty_link);
    if (!with_reset || uv_tcp_close_reset(&c->tcp, on_closed))
        uv_close((uv_handle_t *)&c->tcp, on_closed);
    struct serve_request *r = c->request;
    if (r && is_handed_over)
        serve_request_detach(r, SERVE_GONE);
    else if (r)
        serve_request_free(r);
    c->request = NULL;
}

void serve_conn_close(struct serve_conn *c)
{
    close_with(c, false);
}

void serve_conn_reset(struct serve_conn *c)
{
    close_with(c, true);
}

/* All is sent: shut down our side and wait for the client to close its own. */
static void linger(struct serve_conn *c)
{
    uv_os_fd_t fd;
    if (c->is_eof || c->skips_linger || uv_fileno((uv_handle_t *)&c->tcp, &fd) || shutdown(fd, SHUT_WR)) {
        serve_conn_close(c);
        return;
    }
    c->state = CONN_LINGER;
    set_deadline(c, SERVE_LINGER_MS);
}

/* Reading, on or off */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    UNUSED(suggested);
    struct serve *s = CONTAINER_OF((uv_tcp_t *)handle, struct serve_conn, tcp)->server;
    *out = uv_buf_init(s->read, sizeof s->read);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes);

static void update_reading(struct serve_conn *c)
{
    bool has_room = c->state >= CONN_LAST || c->in.n < c->server->options.head_bytes_max;
    bool wants = has_room && !c->is_eof && c->state != CONN_CLOSED;
    if (wants == c->is_reading)
        return;
    c->is_reading = wants;
    if (!wants) {
        uv_read_stop((uv_stream_t *)&c->tcp);
        return;
    }
    int rc = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    ASSERT(rc == 0);
}

void serve_conn_finish(struct serve_conn *c)
{
    if (c->state >= CONN_LAST)
        return;
    c->state = CONN_LAST;
    loop_timer_stop(c->server->loop, &c->deadline);
    serve_conn_mark(c);
    update_reading(c);
}

/* Requests */

static void add(struct buf *b, const char *p, size_t n)
{
    enum err err = buf_add(b, p, n);
    ASSERT(err == ERR_OK); /* the callers keep below the limits */
}

static void refuse(struct serve_conn *c, struct http1_fault fault)
{
    leave_body(c);
    if (c->request)
        serve_request_free(c->request);
    c->request = NULL;
    serve_reply_refuse(&c->out, fault);
    serve_conn_finish(c);
}

static void hand_over(struct serve_conn *c)
{
    struct serve_request *r = c->request;
    leave_body(c);
    loop_timer_stop(c->server->loop, &c->deadline);
    c->state = CONN_BUSY;
    r->conn = c;
    r->is_half_closed = c->is_eof;
    r->body = (struct slice){r->body_buf.n ? r->body_buf.p : "", r->body_buf.n};
    c->server->on_request(c->server->user, r);
}

static void begin_request(struct serve_conn *c, const char *p, size_t head_bytes, bool has_more)
{
    const struct http1_head *head = &c->server->head;
    bool wants_continue = head->expects_continue && !has_more;
    c->request = serve_request_new(head, p, head_bytes, c->server->options.body_bytes_max);
    c->is_first = c->is_head_timed = false;
    if (!head->is_chunked && !head->length) {
        hand_over(c);
        return;
    }
    c->state = CONN_BODY;
    c->since_ms = now_ms(c);
    c->body_bytes = 0;
    set_body_deadline(c, 0);
    if (wants_continue) {
        add(&c->out, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        serve_conn_mark(c);
    }
}

static size_t take_head(struct serve_conn *c, const char *p, size_t n)
{
    struct serve *s = c->server;
    struct http1_fault fault;
    size_t head_bytes = 0;
    enum http1_verdict verdict = http1_scan(&c->scan, p, n, s->options.head_bytes_max, &head_bytes, &fault);
    if (verdict == HTTP1_MORE)
        return 0;
    c->scan = (struct http1_scan){0};
    if (verdict == HTTP1_DONE)
        verdict = http1_parse(p, head_bytes, &s->head, &fault);
    if (verdict == HTTP1_DONE && s->head.length > s->options.body_bytes_max) {
        fault = (struct http1_fault){413, "the request body is too large"};
        verdict = HTTP1_BAD;
    }
    if (verdict == HTTP1_BAD) {
        refuse(c, fault);
        return n;
    }
    begin_request(c, p, head_bytes, n > head_bytes);
    return head_bytes;
}

/* Adds to the body. False: all bodies together are too large, and so it was refused. */
static bool add_body(struct serve_conn *c, const char *p, size_t n)
{
    struct serve *s = c->server;
    if (s->bodies_bytes + n > s->options.bodies_bytes_max && c->body_bytes + n > SERVE_BODY_SMALL_BYTES) {
        refuse(c, (struct http1_fault){503, "too many large requests at once"});
        return false;
    }
    add(&c->request->body_buf, p, n);
    c->body_bytes += n;
    s->bodies_bytes += n;
    return true;
}

static size_t take_chunks(struct serve_conn *c, const char *p, size_t n)
{
    struct serve_request *r = c->request;
    struct http1_fault fault;
    enum http1_verdict verdict = HTTP1_MORE;
    size_t used = 0;
    while (used < n && verdict == HTTP1_MORE) {
        size_t step;
        struct slice data;
        verdict = http1_chunks_feed(&r->chunks, p + used, n - used, &step, &data, &fault);
        used += step;
        if (!add_body(c, data.p, data.n))
            return used;
    }
    if (verdict == HTTP1_BAD)
        refuse(c, fault);
    else if (verdict == HTTP1_DONE)
        hand_over(c);
    return used;
}

static size_t take_body(struct serve_conn *c, const char *p, size_t n)
{
    struct serve_request *r = c->request;
    if (r->is_chunked)
        return take_chunks(c, p, n);
    size_t take = r->left < n ? (size_t)r->left : n;
    if (!add_body(c, p, take))
        return take;
    r->left -= take;
    if (!r->left)
        hand_over(c);
    return take;
}

/* Uses as much of p[0..n) as the state allows. A handler that answers at once makes the loop go on with the next
 * request; one that has filled the output makes it stop. */
static size_t run(struct serve_conn *c, const char *p, size_t n)
{
    size_t used = 0, step = 1;
    c->is_running = true;
    while (used < n && step) {
        if (c->state == CONN_HEAD && !serve_conn_is_full(c))
            step = take_head(c, p + used, n - used);
        else if (c->state == CONN_BODY)
            step = take_body(c, p + used, n - used);
        else
            break;
        used += step;
    }
    c->is_running = false;
    return used;
}

/* A head gets its time when its first byte has come, or from the beginning of the connection if it is the first one. */
static void time_head(struct serve_conn *c)
{
    const struct serve_options *o = &c->server->options;
    int64_t head_ms = c->is_first ? o->head_ms - (now_ms(c) - c->since_ms) : o->head_ms;
    if (c->is_head_timed)
        return;
    c->is_head_timed = c->in.n > 0;
    set_deadline(c, !c->in.n ? o->idle_ms : head_ms > 0 ? head_ms : 0);
}

/* After the input has been looked at: is there more to come, and how long may it take? */
static void settle(struct serve_conn *c)
{
    if (c->in.n == 0)
        buf_deinit(&c->in);
    if (c->is_eof && c->state == CONN_BODY) {
        serve_conn_close(c);
    } else if (c->state == CONN_HEAD && !serve_conn_is_full(c)) {
        if (c->is_eof)
            serve_conn_finish(c);
        else
            time_head(c);
    }
    update_reading(c);
}

/* Goes on with what came early. */
static void resume(struct serve_conn *c)
{
    buf_consume(&c->in, run(c, c->in.p, c->in.n));
    settle(c);
}

void serve_conn_next(struct serve_conn *c, bool is_keep_alive)
{
    ASSERT(c->state == CONN_BUSY);
    if (!is_keep_alive || c->server->is_draining || c->server->is_closing) {
        serve_conn_finish(c);
        return;
    }
    c->state = CONN_HEAD;
    if (!c->is_running)
        resume(c);
}

/* Has it taken all its time, or come more slowly than it may? If not it is looked at again. */
static bool body_is_late(struct serve_conn *c)
{
    int64_t elapsed_ms = now_ms(c) - c->since_ms;
    bool is_slow = (int64_t)c->body_bytes < SERVE_BODY_RATE * elapsed_ms / 1000;
    if (elapsed_ms >= c->server->options.body_ms || is_slow)
        return true;
    set_body_deadline(c, elapsed_ms);
    return false;
}

void serve_conn_drain(struct serve_conn *c)
{
    if (c->state == CONN_HEAD && c->in.n == 0)
        serve_conn_finish(c);
}

static void on_deadline(struct loop_timer *t)
{
    struct serve_conn *c = CONTAINER_OF(t, struct serve_conn, deadline);
    if (c->state == CONN_BODY && !body_is_late(c))
        return;
    c->skips_linger = true;
    if (c->state == CONN_BODY)
        refuse(c, (struct http1_fault){408, "the request body took too long"});
    else if (c->state == CONN_HEAD && c->in.n)
        refuse(c, (struct http1_fault){408, "the request head took too long"});
    else
        serve_conn_close(c);
}

/* What libuv reads */

static void on_bytes(struct serve_conn *c, const char *p, size_t n)
{
    if (c->in.n) {
        add(&c->in, p, n);
        resume(c);
        return;
    }
    size_t used = run(c, p, n);
    if (c->state < CONN_LAST)
        add(&c->in, p + used, n - used);
    settle(c);
}

static void on_eof(struct serve_conn *c)
{
    c->is_eof = true;
    c->is_reading = false;
    if (c->state == CONN_LINGER) {
        serve_conn_close(c);
    } else if (c->state == CONN_BUSY) {
        c->request->is_half_closed = true;
        tell(c->request);
    } else {
        settle(c);
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
    struct serve_conn *c = CONTAINER_OF((uv_tcp_t *)stream, struct serve_conn, tcp);
    if (n == UV_EOF)
        on_eof(c);
    else if (n < 0)
        serve_conn_close(c);
    else if (n > 0 && c->state < CONN_LAST)
        on_bytes(c, bytes->base, (size_t)n);
}

/* Writing */

/* What the client has not acknowledged: in libuv's queue, and in the kernel's, which may be large. */
static size_t unsent_bytes(const struct serve_conn *c)
{
    uv_os_fd_t fd;
    int in_kernel = 0;
    if (uv_fileno((const uv_handle_t *)&c->tcp, &fd) || ioctl(fd, SIOCOUTQ, &in_kernel))
        in_kernel = 0;
    return uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp) + (size_t)in_kernel;
}

/* A client that is behind must at least take some. */
static void on_stall(struct loop_timer *t)
{
    struct serve_write *w = CONTAINER_OF(t, struct serve_write, stall);
    struct serve_conn *c = w->conn;
    size_t left_bytes = unsent_bytes(c), least = (size_t)(SERVE_WRITE_RATE * c->server->options.write_ms / 1000) + 1;
    if (left_bytes + least > w->left_bytes) {
        serve_conn_reset(c);
        return;
    }
    w->left_bytes = left_bytes;
    loop_timer_start(c->server->loop, t, c->server->options.write_ms, on_stall);
}

static void on_written(uv_write_t *write, int status)
{
    struct serve_write *w = CONTAINER_OF(write, struct serve_write, write);
    struct serve_conn *c = w->conn;
    loop_timer_stop(c->server->loop, &w->stall);
    mem_free(w->bytes);
    mem_free(w);
    c->writing = NULL;
    if (c->state == CONN_CLOSED)
        return;
    if (status < 0) {
        serve_conn_close(c);
        return;
    }
    serve_conn_flush(c);
    if (c->state == CONN_BUSY)
        tell(c->request);
}

/* The kernel took `done` bytes of c->out; libuv sends the rest when it takes more. */
static void write_rest(struct serve_conn *c, size_t done)
{
    struct serve_write *w = mem_zero(1, sizeof *w);
    size_t n;
    w->conn = c;
    w->bytes = buf_take(&c->out, &n);
    uv_buf_t rest = uv_buf_init(w->bytes + done, (unsigned)(n - done));
    int rc = uv_write(&w->write, (uv_stream_t *)&c->tcp, &rest, 1, on_written);
    ASSERT(rc == 0); /* it only queues; failures reach on_written */
    w->left_bytes = unsent_bytes(c);
    c->writing = w;
    loop_timer_start(c->server->loop, &w->stall, c->server->options.write_ms, on_stall);
}

static void on_all_sent(struct serve_conn *c)
{
    if (c->state == CONN_LAST) {
        linger(c);
    } else if (c->state == CONN_BUSY) {
        tell(c->request);
    } else if (c->state == CONN_HEAD) {
        buf_deinit(&c->out);
        if (!loop_timer_is_on(&c->deadline) && !c->is_running && !c->server->is_closing)
            resume(c); /* it had stopped because the output was full, and so had no deadline */
    }
}

void serve_conn_flush(struct serve_conn *c)
{
    if (c->state == CONN_CLOSED || c->writing)
        return;
    if (c->out.n) {
        uv_buf_t bytes = uv_buf_init(c->out.p, (unsigned)c->out.n);
        int n = uv_try_write((uv_stream_t *)&c->tcp, &bytes, 1);
        if (n < 0 && n != UV_EAGAIN) {
            serve_conn_close(c);
            return;
        }
        if (n < 0 || (size_t)n < c->out.n) {
            write_rest(c, n < 0 ? 0 : (size_t)n);
            return;
        }
        buf_clear(&c->out);
    }
    on_all_sent(c);
}

bool serve_conn_is_full(const struct serve_conn *c)
{
    return c->out.n + uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp) > SERVE_OUT_BYTES_MAX;
}

void serve_conn_open(struct serve *s, int fd, struct serve_peer *peer)
{
    struct serve_conn *c = mem_zero(1, sizeof *c);
    c->server = s;
    c->peer = peer;
    s->conn_count++;
    s->handle_count++;
    list_init(&c->dirty_link);
    list_append(&s->conns, &c->link);
    buf_init(&c->in, s->options.head_bytes_max + SERVE_READ_BYTES);
    buf_init(&c->out, SERVE_REPLY_BYTES_MAX);
    int rc = uv_tcp_init(loop_uv(s->loop), &c->tcp);
    ASSERT(rc == 0);
    if (uv_tcp_open(&c->tcp, fd)) {
        close(fd);
        serve_conn_close(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    c->is_first = true;
    c->since_ms = now_ms(c);
    set_deadline(c, s->options.first_ms < s->options.head_ms ? s->options.first_ms : s->options.head_ms);
    update_reading(c);
}
