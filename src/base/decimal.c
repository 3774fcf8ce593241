/*
 * decimal.c - numbers as text. It does not check grammar: a parser has found the digits.
 *
 * strtod and printf obey the locale, which a script can set to one with a decimal comma. So strtod is only shown
 * digits with an exponent, and whatever printf puts between digits becomes a point. Only unusual numbers need them.
 */
#include "decimal.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_INTEGER_MAX (UINT64_C(1) << 53) /* doubles count without gaps up to here */
#define EXACT_POWER_MAX 22                    /* the highest power of ten that is a double */
#define VALUE_DIGITS_MAX 19                   /* so many always fit a uint64_t */
#define DECISIVE_DIGITS_MAX 780               /* rounding never depends on more than 767, and on whether more follow */
#define SHORT_FRACTION_MAX 8                  /* digits behind the point that write_short tries */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* One operation on two exact doubles, hence rounded once: the result is the nearest double. */
static double read_exact(const struct decimal *d)
{
    static const double powers[EXACT_POWER_MAX + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                       1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                       1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    double value = (double)d->value;
    return d->exponent < 0 ? value / powers[-d->exponent] : value * powers[d->exponent];
}

/* Any literal: hands strtod the decisive digits, and makes the last of them odd when something nonzero follows. */
static double read_any(const struct decimal *d)
{
    char text[DECISIVE_DIGITS_MAX + 32];
    size_t kept = 0;
    long dropped = 0;
    for (const char *p = d->p; p < d->end; p++) {
        if (*p == '.' || (kept == 0 && *p == '0'))
            continue;
        if (kept < DECISIVE_DIGITS_MAX) {
            text[kept++] = *p;
            continue;
        }
        dropped++;
        if (*p != '0')
            text[kept - 1] |= 1;
    }
    if (kept == 0)
        return 0;
    snprintf(text + kept, sizeof text - kept, "e%ld", d->exponent + dropped);
    return strtod(text, NULL);
}

double decimal_double(const struct decimal *d)
{
    bool is_exact = FLT_EVAL_METHOD == 0 && d->digits <= VALUE_DIGITS_MAX && d->value <= EXACT_INTEGER_MAX &&
                    d->exponent >= -EXACT_POWER_MAX && d->exponent <= EXACT_POWER_MAX;
    return is_exact ? read_exact(d) : read_any(d);
}

static size_t write_digits(char *to, uint64_t value, int digits_min)
{
    char text[24];
    size_t i = sizeof text;
    for (; value || digits_min > 0; value /= 10, digits_min--)
        text[--i] = (char)('0' + value % 10);
    memcpy(to, text + i, sizeof text - i);
    return sizeof text - i;
}

size_t decimal_write_integer(char *to, int64_t value)
{
    if (value >= 0)
        return write_digits(to, (uint64_t)value, 1);
    to[0] = '-';
    return 1 + write_digits(to + 1, 0 - (uint64_t)value, 1);
}

/* Most doubles in requests are short decimals like 0.7: an integer below 10^15 over a small power of ten. Dividing
 * the two rounds once, as reading the text does; when that gives the value back the text is right, and no other
 * text of up to 15 digits is. Returns 0 when the value is not of that kind. */
static size_t write_short(char *to, double value)
{
    double scale = 1;
    uint64_t divisor = 1;
    if (FLT_EVAL_METHOD != 0 || value < 1e-4)
        return 0;
    for (int digits = 0; digits <= SHORT_FRACTION_MAX && value * scale < 1e15; digits++, scale *= 10, divisor *= 10) {
        uint64_t whole = (uint64_t)(value * scale + 0.5);
        if ((double)whole / scale != value)
            continue;
        size_t n = write_digits(to, whole / divisor, 1);
        to[n++] = '.';
        return n + write_digits(to + n, whole % divisor, digits ? digits : 1);
    }
    return 0;
}

/* The shortest of 15, 16 and 17 digits that reads back the same. A decimal point may be several bytes. */
static size_t write_any(char *to, double value)
{
    char text[DECIMAL_BYTES * 2];
    for (int digits = DBL_DIG; digits <= DBL_DECIMAL_DIG; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    size_t n = 0;
    bool is_double = false;
    for (const char *p = text; *p; p++) {
        bool is_point = !is_digit(*p) && *p != 'e' && *p != '-' && *p != '+';
        if (!is_point)
            to[n++] = *p;
        else if (n > 0 && to[n - 1] != '.')
            to[n++] = '.';
        is_double |= is_point || *p == 'e';
    }
    if (!is_double) {
        memcpy(to + n, ".0", 2);
        n += 2;
    }
    return n;
}

size_t decimal_write_double(char *to, double value)
{
    ASSERT(isfinite(value));
    size_t sign = signbit(value) ? 1 : 0;
    to[0] = '-';
    to += sign;
    value = fabs(value);
    if (value == 0) {
        memcpy(to, "0.0", 3);
        return sign + 3;
    }
    size_t n = write_short(to, value);
    return sign + (n ? n : write_any(to, value));
}
