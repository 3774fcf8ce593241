/*
 * decimal.h - decimal text to double and back, exactly, whatever the locale. Pure functions; any thread.
 */
#ifndef PERILUNE_DECIMAL_H
#define PERILUNE_DECIMAL_H

#include "base.h"

#define DECIMAL_BYTES 32 /* room for any number */

/* A decimal literal without its sign, taken apart by a parser. */
struct decimal {
    const char *p, *end; /* its digits and perhaps one '.' */
    uint64_t value;      /* of the digits, the point ignored; unused when there are more than 19 */
    long digits;         /* how many, leading zeros too */
    long exponent;       /* the literal is `value` times ten to this power */
};

/* The nearest double; infinity when it is too large for one. */
double decimal_double(const struct decimal *d);
/* Write without a NUL; return the bytes written, at most DECIMAL_BYTES. A double must be finite; it is written with the
 * fewest digits that read back the same, and always has a '.' or an 'e'. */
size_t decimal_write_integer(char *to, int64_t value);
size_t decimal_write_double(char *to, double value);

#endif
