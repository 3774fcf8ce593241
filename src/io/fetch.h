/*
 * fetch.h - outgoing HTTP on libcurl's multi interface: pooled connections, bodies cut into frames,
 * back-pressure, six separate time limits, cancel. No policy: no retries, no redirects unless asked.
 *
 * A fetch is started, calls `on_change` whenever it has something new, and is read with fetch_next until
 * FETCH_END or FETCH_FAILED. fetch_close ends it at any time and closes the socket of an unfinished
 * request. `on_change` must not call back into fetch. Loop thread only.
 */
#ifndef PERILUNE_FETCH_H
#define PERILUNE_FETCH_H

#include "../base/frame.h"
#include "address.h"
#include "loop.h"

struct fetcher; /* a pool of connections; owned by the host */
struct fetch;   /* one request; owned by whoever started it */

struct fetch_options { /* everything is copied by fetch_start */
    struct slice method, url, body;
    const struct slice *headers; /* "Name: value" each, without line ends */
    size_t headers_n;
    enum frame_kind frame;
    int64_t connect_ms;    /* name resolution, TCP and TLS together */
    int64_t first_byte_ms; /* from the request's way out to the head of the answer */
    int64_t first_content_ms; /* from the start to the first fetch_progress */
    int64_t idle_ms;       /* between two frames; comments and pings do not count */
    int64_t progress_ms;   /* from one fetch_progress to the next; while frames wait to be read, no time passes */
    int64_t total_ms;      /* 0 in any of the six: no such limit */
    size_t body_bytes_max, frame_bytes_max; /* after content decoding */
    struct slice proxy, ca_file;            /* empty: none, the system's */
    /* NULL: all. Asked for every connection, new or kept, redirects included: ERR_PERMISSION. Not together with a proxy,
     * which resolves names itself. */
    const struct address_policy *addresses;
    bool is_insecure;                       /* do not verify the peer's certificate */
    bool is_http2;                          /* ask for HTTP/2 (TLS only) */
    long redirects_max;                     /* 0: a redirect is an answer like any other */
};

enum fetch_step { FETCH_WAIT, FETCH_FRAME, FETCH_END, FETCH_FAILED };

struct fetcher *fetcher_new(struct loop *l, size_t pool_connections);
void fetcher_free(struct fetcher *fs); /* closes idle connections; every fetch must be closed before */
size_t fetcher_live(const struct fetcher *fs);
/* What curl and its parts are, "libcurl/7.88.1 OpenSSL/3.0.17 ..."; loads it. The text is curl's. */
MUST_CHECK enum err fetcher_library(struct fetcher *fs, const char **version, struct err_info *info);

MUST_CHECK enum err fetch_start(struct fetcher *fs, const struct fetch_options *o, void (*on_change)(void *user), void *user,
                                struct fetch **out, struct err_info *info);
/* The answer's head: 0 while it is not there. */
int fetch_status(const struct fetch *f);
struct slice fetch_head(const struct fetch *f); /* header lines, each ended by LF, without the status line */
/* The next frame; slices are valid until the next call for this fetch. FETCH_FAILED fills `info`. */
enum fetch_step fetch_next(struct fetch *f, struct slice *data, struct slice *event, struct err_info *info);
/* The frame that fetch_next would give now, left where it is; false when it would give none. */
bool fetch_peek(const struct fetch *f, struct slice *data, struct slice *event);
/* The reader has understood content; only notes the time. */
void fetch_progress(struct fetch *f);
int64_t fetch_first_byte_us(const struct fetch *f); /* from the start; 0: not yet */
bool fetch_is_sent(const struct fetch *f);          /* a connection was made and the request handed to it */
void fetch_close(struct fetch *f);                  /* NULL is fine */

#endif
