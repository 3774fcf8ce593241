/*
 * date.h - the calendar, as pure functions: seconds since 1970 to text and back. UTC only; no locale, no
 * time zone files, no clock. Thread-safe.
 */
#ifndef PERILUNE_DATE_H
#define PERILUNE_DATE_H

#include "buf.h"

#define DATE_ISO_BYTES 32             /* enough for date_iso with its NUL */
#define DATE_SECONDS_MAX 253402300799 /* 9999-12-31T23:59:59Z */

struct date {
    int year, month, day; /* month and day from 1 */
    int hour, minute, second;
};

struct date date_of(int64_t seconds);       /* seconds in 0..DATE_SECONDS_MAX */
int64_t date_seconds(const struct date *d); /* the inverse; a second of 60 is the next minute */

/* "2026-01-02T03:04:05Z", or with ".678" before the Z. Out of range is clamped. */
void date_iso(int64_t unix_us, bool with_ms, char out[DATE_ISO_BYTES]);

/* The three forms of RFC 9110 5.6.7. `now_s` decides the century of a two-digit year. False: not a date. */
MUST_CHECK bool date_parse_http(struct slice text, int64_t now_s, int64_t *out_s);

#endif
