/*
 * serve.h - incoming HTTP/1.1: a listening socket, its connections, and the requests they bring.
 *
 * A request is handed over when its body is complete. From then on it belongs to the handler, until
 * serve_request_free; the connection may die earlier, which the request survives. One request per connection is in
 * flight; what a client sends ahead waits in a bounded buffer. Answers are in serve_reply.h.
 *
 * Anything ambiguous is answered with 400 and the connection is closed. Deadlines for the head and the body are
 * absolute. Loop thread only.
 */
#ifndef PERILUNE_SERVE_H
#define PERILUNE_SERVE_H

#include "../base/http1.h"
#include "../base/list.h"
#include "loop.h"

#define SERVE_REMOTE_BYTES 64 /* "[address]:port" and its NUL */

struct serve;
struct serve_conn;

struct serve_options {
    const char *host; /* a numeric address, or "localhost"; used by serve_open only */
    int port;         /* 0: any free one */
    int64_t first_ms, head_ms, body_ms, idle_ms, write_ms; /* limits.h says what each is */
    size_t head_bytes_max, body_bytes_max, bodies_bytes_max, connections_max;
    size_t per_address_max; /* 0: no limit */
};

enum serve_state {
    SERVE_OPEN, /* waits for its answer */
    SERVE_DONE, /* was answered, or closed by the handler */
    SERVE_GONE  /* the connection broke, or the server was closed */
};

struct serve_request {
    struct slice method, target, path, query, body; /* borrowed from the request */
    const struct http1_header *headers;
    size_t header_count;
    int minor;              /* HTTP/1.minor */
    enum serve_state state;
    bool is_half_closed;    /* the client sends no more; it may still read */

    /* The handler's. `on_change` (may be NULL) says that state, is_half_closed or the room for output has changed;
     * it may be called from within serve_* functions and must not free the request. */
    void (*on_change)(struct serve_request *r);
    void *user;
    struct list link;

    /* The layer's own. */
    struct serve_conn *conn; /* NULL unless SERVE_OPEN */
    struct buf body_buf;
    struct http1_chunks chunks;
    uint64_t left;           /* of the body, then of an answer with a content-length */
    int framing;             /* of the answer: serve_reply.c */
    bool is_head, is_chunked, is_keep_alive;
};

void serve_options_init(struct serve_options *o); /* the limits of limits.h, 127.0.0.1, port 0 */

/* `on_request` is called for every complete request; it may answer at once. Fails with ERR_INVALID (address),
 * ERR_PERMISSION or ERR_IO. */
MUST_CHECK enum err serve_open(struct serve **out, struct loop *l, const struct serve_options *o,
                               void (*on_request)(void *user, struct serve_request *r), void *user,
                               struct err_info *info);
/* Takes no new connections; those that wait for a request are closed, the others with their next answer. */
void serve_drain(struct serve *s);
/* Stops listening and closes every connection, after one attempt to send what is queued. Open requests become
 * SERVE_GONE. The memory goes when libuv has let go of the handles. */
void serve_close(struct serve *s);
int serve_port(const struct serve *s);
size_t serve_connections(const struct serve *s);

/* "127.0.0.1:4711". ERR_RESET when the connection is gone. */
MUST_CHECK enum err serve_request_remote(const struct serve_request *r, char out[SERVE_REMOTE_BYTES]);
/* Sends what is queued, then closes the connection: the client sees an answer that was cut off. */
void serve_request_close(struct serve_request *r);
/* Drops the connection with a TCP reset; what is queued is offered to the kernel first. */
void serve_request_reset(struct serve_request *r);
/* serve_request_close, if it is still open, then frees it. */
void serve_request_free(struct serve_request *r);

#endif
