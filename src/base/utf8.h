/*
 * utf8.h - what well-formed UTF-8 is, in one place. Pure functions.
 */
#ifndef PERILUNE_UTF8_H
#define PERILUNE_UTF8_H

#include "base.h"

#define UTF8_REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */
#define UTF8_REPLACEMENT_BYTES 3
#define UTF8_BYTE_ORDER_MARK "\xEF\xBB\xBF"

/* The length of the well-formed sequence at p < end, or minus the length of the ill-formed piece there: the longest
 * start of a sequence, which is what one U+FFFD stands for in Unicode's recommendation. */
int utf8_at(const char *p, const char *end);
/* The bytes of a code point: 1 to 4. */
size_t utf8_bytes(uint32_t code);
/* Writes them; returns the end. */
char *utf8_put(char *to, uint32_t code);

static inline bool utf8_is_continuation(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

#endif
