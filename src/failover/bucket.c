/*
 * bucket.c - the generic cell rate algorithm. Nanoseconds, rounded up, so that rounding never gives more than the rate.
 */
#include "bucket.h"

#include <math.h>

void bucket_init(struct bucket *b, double rate, int burst)
{
    ASSERT(rate >= 1e-6 && rate <= 1e6 && burst >= 1 && burst <= 1000000);
    b->token_ns = (int64_t)ceil(1e9 / rate);
    b->burst_ns = b->token_ns > INT64_MAX / 4 / burst ? INT64_MAX / 4 : b->token_ns * (burst - 1);
    b->full_ns = INT64_MIN / 2;
}

int64_t bucket_wait_us(const struct bucket *b, int64_t now_us)
{
    int64_t early_ns = b->full_ns - b->burst_ns - now_us * 1000;
    return early_ns > 0 ? (early_ns + 999) / 1000 : 0;
}

int64_t bucket_reserve(struct bucket *b, int64_t now_us, struct bucket_reservation *out)
{
    int64_t wait_us = bucket_wait_us(b, now_us), now_ns = now_us * 1000;
    out->before_ns = b->full_ns;
    b->full_ns = (b->full_ns > now_ns ? b->full_ns : now_ns) + b->token_ns;
    out->after_ns = b->full_ns;
    return wait_us;
}

void bucket_return(struct bucket *b, const struct bucket_reservation *r)
{
    if (b->full_ns == r->after_ns)
        b->full_ns = r->before_ns;
}
