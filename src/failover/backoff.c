/*
 * backoff.c - the ceiling doubles with each attempt, the delay is anything below it.
 */
#include "backoff.h"

/* Uniform in 0 <= x < 1, with the 53 bits of a double. */
static double unit(struct token_source *tokens)
{
    uint64_t bits;
    token_random(tokens, &bits, sizeof bits);
    return (double)(bits >> 11) * 0x1p-53;
}

int64_t backoff_us(struct token_source *tokens, int64_t attempt, int64_t base_us, int64_t max_us)
{
    int64_t ceiling_us = base_us;
    ASSERT(attempt >= 1 && base_us >= 0 && max_us >= 0);
    for (; attempt > 1 && ceiling_us > 0 && ceiling_us < max_us; attempt--)
        ceiling_us = ceiling_us > max_us / 2 ? max_us : ceiling_us * 2;
    if (ceiling_us > max_us)
        ceiling_us = max_us;
    return (int64_t)(unit(tokens) * ((double)ceiling_us + 1));
}

int64_t backoff_jitter_us(struct token_source *tokens, int64_t value_us, double share)
{
    return (int64_t)((double)value_us * (1 + share * (2 * unit(tokens) - 1)));
}
