/*
 * frame.h - cuts a body into frames, the same frames however its bytes are split.
 *
 *   FRAME_SSE     events by the WHATWG rules; comments vanish. A body that starts with `{`, `[` or `<` is no
 *                 event stream: it is handed over whole, as one frame (providers answer errors that way). So is the
 *                 rest of a body from a line on that begins with `{` where an event could begin (Google ends a
 *                 stream with a bare error).
 *   FRAME_LINES   lines (LF or CRLF), empty ones skipped
 *   FRAME_JSON    the elements of a streamed array; any other document is one frame
 *   FRAME_WHOLE   everything in one frame
 *   FRAME_BYTES   as it comes
 *
 * Pure: bytes in, frames out through a callback. Slices are valid only during the call.
 */
#ifndef PERILUNE_FRAME_H
#define PERILUNE_FRAME_H

#include "buf.h"

#define FRAME_EVENT_BYTES_MAX 1024 /* the name of an SSE event */

enum frame_kind { FRAME_SSE, FRAME_LINES, FRAME_JSON, FRAME_WHOLE, FRAME_BYTES };

/* `event` is the SSE event name, empty for the other kinds and for unnamed events. */
typedef void frame_fn(void *user, struct slice data, struct slice event);

struct framer { /* owned by whoever called frame_init */
    enum frame_kind kind;
    int state;
    int depth;          /* JSON: nesting inside the element */
    bool in_string, is_escaped;
    bool has_data;      /* SSE: a data field was seen in this event */
    bool is_document;   /* SSE: the events are over, `data` collects the rest */
    bool skip_lf;       /* SSE: the last byte was CR */
    struct buf line;    /* the incomplete line, or the document */
    struct buf data;    /* SSE: the event's data so far */
    struct buf event;   /* SSE: the event's name */
    frame_fn *on_frame;
    void *user;
};

void frame_init(struct framer *f, enum frame_kind kind, size_t frame_bytes_max, frame_fn *on_frame, void *user);
void frame_deinit(struct framer *f);
/* ERR_LIMIT when a frame is larger than frame_bytes_max; the framer must not be used after that. */
MUST_CHECK enum err frame_feed(struct framer *f, const char *p, size_t n);
/* The end of the body: what is complete enough is handed over (an SSE event without its blank line). */
MUST_CHECK enum err frame_finish(struct framer *f);
MUST_CHECK bool frame_kind_parse(const char *name, enum frame_kind *kind); /* "sse", "lines", "json", "whole", "bytes" */

#endif
