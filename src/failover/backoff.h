/*
 * backoff.h - how long to wait before the next attempt: full jitter, so that clients which failed together do not come
 * back together. Pure but for the source of randomness (base/token.h; NULL is the system's).
 */
#ifndef PERILUNE_BACKOFF_H
#define PERILUNE_BACKOFF_H

#include "../base/token.h"

/* Uniform in 0 .. min(max, base * 2^(attempt - 1)); `attempt` counts from 1. */
int64_t backoff_us(struct token_source *tokens, int64_t attempt, int64_t base_us, int64_t max_us);
/* Uniform in value * (1 - share) .. value * (1 + share). */
int64_t backoff_jitter_us(struct token_source *tokens, int64_t value_us, double share);

#endif
