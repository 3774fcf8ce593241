/*
 * breaker.c - the states and what moves between them. Nothing happens by itself: that an open breaker has become
 * half-open is noticed when somebody asks.
 */
#include "breaker.h"

#include "../base/limits.h"
#include "backoff.h"

#include <string.h>

#define OPEN_JITTER 0.1

enum breaker_state breaker_state(const struct breaker *b, int64_t now_us)
{
    if (!b->is_open)
        return BREAKER_CLOSED;
    return now_us < b->open_until_us ? BREAKER_OPEN : BREAKER_HALF_OPEN;
}

static bool has_probe(const struct breaker *b, int64_t now_us)
{
    return b->probe && now_us < b->probe_until_us;
}

bool breaker_allows(const struct breaker *b, int64_t now_us)
{
    enum breaker_state state = breaker_state(b, now_us);
    return state == BREAKER_CLOSED || (state == BREAKER_HALF_OPEN && !has_probe(b, now_us));
}

int64_t breaker_retry_us(const struct breaker *b, int64_t now_us)
{
    if (breaker_allows(b, now_us))
        return 0;
    if (breaker_state(b, now_us) == BREAKER_OPEN)
        return b->open_until_us - now_us;
    int64_t left_us = b->probe_until_us - now_us;
    return left_us < b->settings.open_us ? left_us : b->settings.open_us;
}

static void begin_period(struct breaker *b)
{
    b->period++;
    b->probe = 0;
    b->failures = b->successes = 0;
    memset(&b->window, 0, sizeof b->window);
}

static void open_for(struct breaker *b, int64_t open_us, int64_t now_us, struct token_source *tokens)
{
    begin_period(b);
    b->is_open = true;
    b->open_us = open_us < b->settings.open_us_max ? open_us : b->settings.open_us_max;
    b->open_until_us = now_us + backoff_jitter_us(tokens, b->open_us, OPEN_JITTER);
}

bool breaker_start(struct breaker *b, int64_t now_us, bool is_forced, struct breaker_ticket *out)
{
    bool is_allowed = breaker_allows(b, now_us);
    if (!is_allowed && !is_forced)
        return false;
    *out = (struct breaker_ticket){.period = b->period};
    if (is_allowed && b->is_open) {
        out->probe = b->probe = ++b->probes;
        b->probe_until_us = now_us + FAILOVER_PROBE_US;
    }
    return true;
}

/* The ticket is handed back: its probe is over. False: the ticket is from another period. */
static bool take_back(struct breaker *b, struct breaker_ticket t)
{
    if (t.period != b->period)
        return false;
    if (t.probe && t.probe == b->probe)
        b->probe = 0;
    return true;
}

void breaker_succeed(struct breaker *b, struct breaker_ticket t, int64_t now_us)
{
    if (!take_back(b, t))
        return;
    if (!b->is_open) {
        b->failures = 0;
        window_add(&b->window, b->settings.window_us, now_us, 1, 0);
    } else if (++b->successes >= b->settings.successes) {
        begin_period(b);
        b->is_open = false;
    }
}

void breaker_fail(struct breaker *b, struct breaker_ticket t, int64_t now_us, struct token_source *tokens)
{
    const struct breaker_settings *s = &b->settings;
    if (!take_back(b, t))
        return;
    if (b->is_open) {
        if (t.probe)
            open_for(b, b->open_us * 2, now_us, tokens);
        return;
    }
    window_add(&b->window, s->window_us, now_us, 1, 1);
    struct window_count count = window_count(&b->window, s->window_us, now_us);
    if (++b->failures >= s->failures || (count.all >= (uint64_t)s->window_requests && count.marked * 2 >= count.all))
        open_for(b, s->open_us, now_us, tokens);
}

void breaker_drop(struct breaker *b, struct breaker_ticket t)
{
    take_back(b, t);
}
