/*
 * buf.c - growable buffers with a limit. Growth doubles, capped at the limit.
 */
#include "buf.h"

#include "mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

void buf_init(struct buf *b, size_t bytes_max)
{
    *b = (struct buf){.max = bytes_max};
}

void buf_deinit(struct buf *b)
{
    mem_free(b->p);
    *b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    if (b->p)
        b->p[0] = '\0';
}

void buf_shrink(struct buf *b, size_t bytes_keep)
{
    if (b->n == 0 && b->cap > bytes_keep)
        buf_deinit(b);
}

void buf_consume(struct buf *b, size_t bytes)
{
    ASSERT(bytes <= b->n);
    if (!bytes)
        return;
    b->n -= bytes;
    memmove(b->p, b->p + bytes, b->n + 1);
}

char *buf_take(struct buf *b, size_t *n)
{
    char *p = b->p ? b->p : mem_dup("", 0);
    if (n)
        *n = b->n;
    *b = (struct buf){.max = b->max};
    return p;
}

enum err buf_reserve(struct buf *b, size_t bytes)
{
    if (bytes > b->max || b->n > b->max - bytes)
        return ERR_LIMIT;
    size_t need = b->n + bytes + 1;
    if (need <= b->cap)
        return ERR_OK;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap *= 2;
    if (cap > b->max + 1)
        cap = b->max + 1;
    b->p = mem_resize(b->p, cap);
    b->cap = cap;
    return ERR_OK;
}

enum err buf_add(struct buf *b, const void *p, size_t bytes)
{
    if (buf_reserve(b, bytes) != ERR_OK)
        return ERR_LIMIT;
    if (bytes)
        memcpy(b->p + b->n, p, bytes);
    b->n += bytes;
    b->p[b->n] = '\0';
    return ERR_OK;
}

enum err buf_add_char(struct buf *b, char c)
{
    return buf_add(b, &c, 1);
}

enum err buf_add_str(struct buf *b, const char *s)
{
    return buf_add(b, s, strlen(s));
}

enum err buf_addf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    ASSERT(n >= 0);
    if (buf_reserve(b, (size_t)n) != ERR_OK)
        return ERR_LIMIT;
    va_start(args, format);
    vsnprintf(b->p + b->n, (size_t)n + 1, format, args);
    va_end(args);
    b->n += (size_t)n;
    return ERR_OK;
}

bool slice_is(struct slice s, const char *text)
{
    size_t n = strlen(text);
    return s.n == n && memcmp(s.p, text, n) == 0;
}

bool slice_is_nocase(struct slice s, const char *text)
{
    size_t n = strlen(text);
    return s.n == n && strncasecmp(s.p, text, n) == 0;
}
