/*
 * bucket.h - a token bucket, as one number (GCRA): the time at which it will be full again. Taking a token is a
 * reservation that says how long to wait for it; the tokens of any stretch of time t are at most burst + rate * t.
 * A value without clock or lock.
 */
#ifndef PERILUNE_BUCKET_H
#define PERILUNE_BUCKET_H

#include "../base/base.h"

struct bucket {
    int64_t token_ns; /* one token comes every so often */
    int64_t burst_ns; /* how far ahead of that one may be */
    int64_t full_ns;  /* monotonic time */
};

struct bucket_reservation {
    int64_t before_ns, after_ns;
};

/* `rate`: tokens a second, 1e-6 to 1e6; `burst` at least 1. Full at first. */
void bucket_init(struct bucket *b, double rate, int burst);
/* How long the next token would take. */
int64_t bucket_wait_us(const struct bucket *b, int64_t now_us);
/* Takes the next token and returns how long to wait for it. */
int64_t bucket_reserve(struct bucket *b, int64_t now_us, struct bucket_reservation *out);
/* Gives the token of a wait that was cancelled back, if nobody has reserved one since. */
void bucket_return(struct bucket *b, const struct bucket_reservation *r);

#endif
