/*
 * breaker.h - the circuit breaker of one endpoint. Closed: everybody may ask. It opens after `failures` strikes in a row,
 * or when half or more of at least `window_requests` verdicts of the last `window_us` are strikes. Open: nobody may, for
 * `open_us` (10 % more or less), twice as long each time that it opens again, up to `open_us_max`. Then half-open: one
 * probe at a time; `successes` good ones close it, a bad one opens it again.
 *
 * A value without clock, lock or memory. Whoever starts gets a ticket and hands it back with the verdict: one from before
 * the breaker last opened or closed says nothing about now and is ignored.
 */
#ifndef PERILUNE_BREAKER_H
#define PERILUNE_BREAKER_H

#include "../base/token.h"
#include "window.h"

struct breaker_settings {
    int failures, successes;
    int64_t open_us, open_us_max;
    int64_t window_us;
    int window_requests;
};

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

struct breaker { /* zeroed, but for the settings, which may change at any time, it is closed */
    struct breaker_settings settings;
    bool is_open;    /* or half-open, once open_until_us has passed */
    uint32_t period; /* a new one whenever it opens or closes */
    int failures;    /* closed: in a row */
    int successes;   /* open: since then */
    int64_t open_us; /* open: how long, without the jitter */
    int64_t open_until_us;
    uint64_t probe, probes; /* the one under way, 0: none; and how many there ever were */
    int64_t probe_until_us; /* a probe that has not reported by then has lost its right */
    struct window window;
};

struct breaker_ticket {
    uint32_t period;
    uint64_t probe; /* 0: it is none */
};

enum breaker_state breaker_state(const struct breaker *b, int64_t now_us);
/* Would a start succeed? */
bool breaker_allows(const struct breaker *b, int64_t now_us);
/* When it would not: how long until asking again makes sense. */
int64_t breaker_retry_us(const struct breaker *b, int64_t now_us);
/* False: not now. A forced start always succeeds: a good verdict counts like that of a probe, a bad one does not. */
MUST_CHECK bool breaker_start(struct breaker *b, int64_t now_us, bool is_forced, struct breaker_ticket *out);
/* The verdicts, one for each ticket. A drop says nothing about the endpoint. */
void breaker_succeed(struct breaker *b, struct breaker_ticket t, int64_t now_us);
void breaker_fail(struct breaker *b, struct breaker_ticket t, int64_t now_us, struct token_source *tokens);
void breaker_drop(struct breaker *b, struct breaker_ticket t);

#endif
