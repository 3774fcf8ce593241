/*
 * buf.h - borrowed slices and owned, growable byte buffers. Every buffer names its limit when it is
 * made; going over it is ERR_LIMIT and leaves the buffer as it was. The bytes are always followed by
 * a NUL that is not counted.
 */
#ifndef PERILUNE_BUF_H
#define PERILUNE_BUF_H

#include "err.h"

struct slice { /* borrowed: valid as long as what it points into */
    const char *p;
    size_t n;
};

struct buf { /* owned by whoever called buf_init */
    char *p; /* NULL until the first byte */
    size_t n, cap, max;
};

void buf_init(struct buf *b, size_t bytes_max);
void buf_deinit(struct buf *b);
void buf_clear(struct buf *b);                       /* n = 0, keeps the memory */
void buf_shrink(struct buf *b, size_t bytes_keep);   /* frees the memory of an empty buffer above this */
void buf_consume(struct buf *b, size_t bytes);       /* drops bytes from the front */
char *buf_take(struct buf *b, size_t *n);            /* hands the bytes to the caller (mem_free) */
MUST_CHECK enum err buf_reserve(struct buf *b, size_t bytes); /* room for this many more */
MUST_CHECK enum err buf_add(struct buf *b, const void *p, size_t bytes);
MUST_CHECK enum err buf_add_char(struct buf *b, char c);
MUST_CHECK enum err buf_add_str(struct buf *b, const char *s);
MUST_CHECK enum err buf_addf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);

bool slice_is(struct slice s, const char *text);         /* exact */
bool slice_is_nocase(struct slice s, const char *text);  /* ASCII case-insensitive */

#endif
