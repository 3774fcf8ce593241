/*
 * serve_reply.h - answers to the requests of serve.h. Bytes are copied and sent at the end of the loop's turn, those
 * of one turn together. A writer looks at serve_reply_is_full and then waits for the request's on_change.
 *
 * All fail with ERR_RESET when the client is gone, ERR_INVALID on misuse (nothing is sent then), ERR_LIMIT above
 * SERVE_REPLY_BYTES_MAX. Loop thread only.
 */
#ifndef PERILUNE_SERVE_REPLY_H
#define PERILUNE_SERVE_REPLY_H

#include "serve.h"

struct serve_reply {
    int status; /* 200 to 599 */
    const struct http1_header *headers; /* content-length and "connection: close" are obeyed; no transfer-encoding */
    size_t header_count;
};

/* The whole answer. The request is SERVE_DONE afterwards. */
MUST_CHECK enum err serve_reply_send(struct serve_request *r, const struct serve_reply *reply, struct slice body,
                                     struct err_info *info);
/* A streamed answer: content-length if the headers have one, else chunks, else (HTTP/1.0) until close. */
MUST_CHECK enum err serve_reply_start(struct serve_request *r, const struct serve_reply *reply, struct err_info *info);
MUST_CHECK enum err serve_reply_write(struct serve_request *r, struct slice data, struct err_info *info);
MUST_CHECK enum err serve_reply_finish(struct serve_request *r, struct err_info *info);
/* Bytes without any framing, sent at once: for tests and recordings. The framing is the caller's from here on. */
MUST_CHECK enum err serve_reply_raw(struct serve_request *r, struct slice data, struct err_info *info);
/* More than SERVE_OUT_BYTES_MAX unsent. */
bool serve_reply_is_full(const struct serve_request *r);
/* Sends an interim answer (102) in front of one that has not begun: a client that has gone answers it with a reset, one
 * that only stopped sending takes no notice. Nothing for HTTP/1.0, and once the answer has begun. */
void serve_reply_probe(struct serve_request *r);

/* The answer to what is no request, and the last of its connection. */
#define SERVE_REFUSAL_BYTES_MAX 1024
void serve_reply_refuse(struct buf *out, struct http1_fault fault);

#endif
