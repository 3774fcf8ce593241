/*
 * http1.h - HTTP/1.1 messages as bytes: the head of a request, a chunked body, the head of a response.
 * Pure functions: no I/O, no allocation while parsing, no clock. Everything is strict: what two programs could read
 * differently (bare LF, folded lines, two lengths, a length and chunks, ...) is HTTP1_BAD, never repaired.
 * The verdict depends only on the bytes, not on how they were cut when they arrived.
 */
#ifndef PERILUNE_HTTP1_H
#define PERILUNE_HTTP1_H

#include "buf.h"
#include "limits.h"

enum http1_verdict { HTTP1_DONE, HTTP1_MORE, HTTP1_BAD };

struct http1_fault { /* filled with HTTP1_BAD */
    int status;      /* what to answer: 400, 413, 414, 417, 431, 505 */
    const char *why; /* static text */
};

struct http1_header {
    struct slice name, value; /* borrowed */
};

struct http1_head {
    struct slice method, target;  /* borrowed from the bytes parsed, like all slices here */
    struct slice path, query;     /* target cut at its first '?'; not percent-decoded */
    struct slice host;            /* empty only in HTTP/1.0 */
    int minor;                    /* 0 or 1 */
    bool is_keep_alive;           /* the client wants the connection kept */
    bool is_chunked;              /* else the body has `length` bytes */
    bool expects_continue;
    uint64_t length;
    size_t header_count;
    struct http1_header headers[SERVE_HEADERS_MAX]; /* in order of arrival */
};

/* Where the search for the end of a head stands. Zeroed memory is the beginning. */
struct http1_scan {
    size_t at, line;
};

/* Looks for the end of the head that starts at p[0]; each byte is looked at once however it arrives, so the caller
 * passes the same bytes with more behind them. HTTP1_DONE sets *head_bytes. A head longer than bytes_max is 431, a
 * request line that long 414. */
MUST_CHECK enum http1_verdict http1_scan(struct http1_scan *s, const char *p, size_t n, size_t bytes_max,
                                         size_t *head_bytes, struct http1_fault *fault);
/* Parses the complete head that http1_scan found. HTTP1_DONE or HTTP1_BAD. */
MUST_CHECK enum http1_verdict http1_parse(const char *p, size_t head_bytes, struct http1_head *head,
                                          struct http1_fault *fault);

/* Decoder of a chunked body. Trailers are checked and dropped. */
struct http1_chunks {
    int state;
    unsigned digits;
    uint64_t left;        /* of the current chunk */
    uint64_t total, max;  /* bytes announced so far; above max is 413 */
    size_t line_ext_bytes, ext_bytes, trailer_bytes;
    size_t name_bytes;
    char name[20];        /* start of the trailer's name: longer than any forbidden one */
};

void http1_chunks_init(struct http1_chunks *c, uint64_t bytes_max);
/* Reads from p[0..n): sets *used and *data (a piece of the body inside p, may be empty). HTTP1_MORE: call again with
 * the rest, or when more has come. HTTP1_DONE: the body ended after *used bytes. */
MUST_CHECK enum http1_verdict http1_chunks_feed(struct http1_chunks *c, const char *p, size_t n, size_t *used,
                                                struct slice *data, struct http1_fault *fault);

/* Responses. */
#define HTTP1_DATE_BYTES 30
const char *http1_reason(int status);
void http1_date(int64_t unix_seconds, char out[HTTP1_DATE_BYTES]); /* "Sun, 06 Nov 1994 08:49:37 GMT" */
MUST_CHECK enum err http1_add_status(struct buf *out, int status);
/* ERR_INVALID when the name is no token or the value holds a control character: nothing is written then. */
MUST_CHECK enum err http1_add_header(struct buf *out, struct slice name, struct slice value);
MUST_CHECK enum err http1_add_length(struct buf *out, uint64_t length); /* the content-length header */
MUST_CHECK enum err http1_add_chunk(struct buf *out, struct slice data); /* never the last one: data is not empty */

/* A content-length: decimal digits only, no leading zero, at most 18 of them. */
MUST_CHECK bool http1_length(struct slice text, uint64_t *out);

#endif
