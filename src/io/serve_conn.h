/*
 * serve_conn.h - one connection, and what serve.c, serve_conn.c and serve_reply.c know of each other. Not for others.
 *
 * A connection owns its socket, its buffers and (until it is handed over) its request. It is freed in libuv's close
 * callback and nowhere else.
 */
#ifndef PERILUNE_SERVE_CONN_H
#define PERILUNE_SERVE_CONN_H

#include <uv.h>

#include "serve.h"
#include "serve_peers.h"

struct serve {
    struct loop *loop;
    struct serve_options options;
    void (*on_request)(void *user, struct serve_request *r);
    void *user;
    int fd, reserve_fd, port;
    bool is_accepting, is_draining, is_closing;
    uv_poll_t poll;
    struct loop_timer accept_timer;
    struct loop_timer flush_timer;  /* 0 ms: the end of the turn */
    struct serve_peers peers;
    struct list conns, dirty;       /* all; those with something to send */
    size_t conn_count;
    size_t bodies_bytes;            /* that have come of bodies that are not complete */
    int handle_count;               /* freed at 0 */
    int64_t date_s;
    char date[HTTP1_DATE_BYTES];
    struct http1_head head;         /* scratch: the head being parsed */
    char read[SERVE_READ_BYTES];
};

enum conn_state {
    CONN_HEAD,   /* between requests, or inside a head */
    CONN_BODY,
    CONN_BUSY,   /* the handler has the request */
    CONN_LAST,   /* sends what is left; input is discarded */
    CONN_LINGER, /* all is sent and our side is shut down; waits for the client to close */
    CONN_CLOSED  /* libuv is closing the handle */
};

struct serve_conn {
    uv_tcp_t tcp;
    struct serve_peer *peer;       /* of server->peers */
    struct serve *server;
    struct list link, dirty_link;
    enum conn_state state;
    bool is_running;   /* inside run(): whoever completes an answer must not start it again */
    bool is_reading;
    bool is_eof;       /* the client sends no more */
    bool is_first;     /* no request yet: the time of the head runs since the connection began */
    bool is_head_timed;
    bool skips_linger;
    struct http1_scan scan;
    int64_t since_ms;              /* of the connection while is_first, then of the body */
    size_t body_bytes;
    struct loop_timer deadline;    /* of the head, the body, the idle time or the lingering, by state */
    struct serve_request *request; /* CONN_BODY: ours; CONN_BUSY: the handler's */
    struct buf in, out;            /* `in`: a partial head, or what came too early */
    struct serve_write *writing;   /* given to libuv */
};

/* Takes over an accepted, non-blocking descriptor, and its place among the connections of its address. */
void serve_conn_open(struct serve *s, int fd, struct serve_peer *peer);
/* Frees the handle soon; an open request becomes SERVE_GONE now. Idempotent. */
void serve_conn_close(struct serve_conn *c);
void serve_conn_reset(struct serve_conn *c);
/* No more requests: sends what is queued, then closes. */
void serve_conn_finish(struct serve_conn *c);
void serve_conn_drain(struct serve_conn *c); /* the same, once nothing is under way */
/* The answer of c->request is complete: the next request may begin. */
void serve_conn_next(struct serve_conn *c, bool is_keep_alive);
void serve_conn_flush(struct serve_conn *c); /* sends c->out now */
bool serve_conn_is_full(const struct serve_conn *c);

/* serve.c: c->out has grown, to be sent at the end of the turn; and a connection's handle has been closed. */
void serve_conn_mark(struct serve_conn *c);
void serve_conn_closed(struct serve *s);

/* serve_request.c: a request with a copy of its head, in one block of memory. */
struct serve_request *serve_request_new(const struct http1_head *head, const char *p, size_t head_bytes,
                                        size_t body_bytes_max);
/* The request leaves its connection; the handler is told. Returns the connection. */
struct serve_conn *serve_request_detach(struct serve_request *r, enum serve_state state);

#endif
