/*
 * retry_after.h - how long a provider asks us to stay away, in all the spellings there are: "2", "2.5", "250ms", "6m0s",
 * "1 minute and 30 seconds", "33s", an HTTP date of any zone, RFC 3339, seconds or milliseconds since 1970, and the words
 * of an error message, "Please try again in 1.5 seconds". Pure functions.
 */
#ifndef PERILUNE_RETRY_AFTER_H
#define PERILUNE_RETRY_AFTER_H

#include "../base/buf.h"

enum retry_after_kind {
    RETRY_AFTER_SECONDS, /* a bare number is seconds, or a time since 1970 when it is too large for that */
    RETRY_AFTER_MS,      /* a bare number is milliseconds */
    RETRY_AFTER_MESSAGE, /* a sentence that says it somewhere */
};

/* Seconds from now, 0 for what is past, at most RETRY_AFTER_MAX_S. False: nothing that could be understood; a negative
 * number is none either. `now_us` is the wall clock's. */
#define RETRY_AFTER_MAX_S 1e9
MUST_CHECK bool retry_after_parse(struct slice text, enum retry_after_kind kind, int64_t now_us, double *out_s);

#endif
