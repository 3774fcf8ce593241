/*
 * health.h - the endpoints that a process knows, shared by all of its threads. An endpoint is a provider, a credential and
 * a model: it has a breaker, a time of cooling, latencies and counts. A credential (of a provider) has what its endpoints
 * share: the cap of requests in flight with its queue, and the time for which it is parked.
 *
 * Every function may be called from any thread. Names are kept cut, credentials only as a hash. At most
 * FAILOVER_ENDPOINTS_MAX endpoints are listed: one that is replaced goes on working for those who hold it, but whoever
 * asks for it gets a new one.
 */
#ifndef PERILUNE_HEALTH_H
#define PERILUNE_HEALTH_H

#include "../base/buf.h"
#include "../base/clock.h"
#include "../base/limits.h"
#include "breaker.h"
#include "latency.h"
#include "limiter.h"

struct health;
struct endpoint; /* owned by the health; whoever got it from health_endpoint() holds a reference */

struct endpoint_name {
    struct slice provider, credential, model;
};

struct endpoint_settings {
    struct breaker_settings breaker;
    int inflight_max, queue_max; /* of the credential */
};

struct health *health_new(struct clock *clock);
void health_free(struct health *h); /* after every endpoint was released */
/* For tests: forgets all endpoints, and the retry budget. What is under way ends where it began. */
void health_reset(struct health *h);

void endpoint_settings_init(struct endpoint_settings *s);
/* The endpoint of that name. Its settings become these; NULL: they stay as they are, at first the defaults. */
struct endpoint *health_endpoint(struct health *h, const struct endpoint_name *name, const struct endpoint_settings *s);
void health_release(struct health *h, struct endpoint *e);

/* Attempts. One that has started must end. */

struct attempt { /* zeroed: none; holds a reference to its endpoint until it has ended */
    struct endpoint *endpoint;
    struct breaker_ticket ticket;
    int64_t started_us;
    bool has_content;
};

enum start {
    START_OK,
    START_WAIT, /* without a wait: no slot is free. With one: it has joined the queue */
    START_QUEUE_FULL,
    START_PARKED,
    START_COOLING,
    START_OPEN,
};

/* `w`: NULL does not wait; a fresh one joins the queue when no slot is free; once its `ready` was called, a second call
 * uses the slot. Whatever else is answered then has given the slot back. `is_forced`: breaker, park and cooling are not
 * asked. `retry_us`: when it was turned away, how long until asking again makes sense. */
MUST_CHECK enum start health_start(struct health *h, struct endpoint *e, bool is_forced, struct limiter_wait *w,
                                   struct attempt *out, int64_t *retry_us);
/* Ends a wait before it was used. False: `ready` was called or will be, in whichever thread: the memory must live on. */
bool health_leave(struct health *h, struct endpoint *e, struct limiter_wait *w);

enum verdict { VERDICT_GOOD, VERDICT_BAD, VERDICT_NONE };

void health_content(struct health *h, struct attempt *a); /* the first content has come */
/* Ends the attempt; harmless when it has ended. `reason` of a bad one is kept to be shown. */
void health_end(struct health *h, struct attempt *a, enum verdict verdict, struct slice reason, struct token_source *tokens);

/* The credential, or the endpoint, is not asked for so long; the later end holds. A good verdict of an attempt that began
 * afterwards (a forced one) ends it early. Cut to FAILOVER_PARK_US_MAX and FAILOVER_COOL_US_MAX. */
void health_park(struct health *h, struct endpoint *e, int64_t for_us, struct slice reason);
void health_cool(struct health *h, struct endpoint *e, int64_t for_us, struct slice reason);

/* The retry budget of the process (budget.h). */
void health_note_request(struct health *h);
MUST_CHECK bool health_begin_retry(struct health *h);
void health_end_retry(struct health *h);

/* What is known, for people. */

#define HEALTH_CREDENTIAL_BYTES 9

struct health_row {
    char provider[FAILOVER_NAME_BYTES_MAX + 1], model[FAILOVER_NAME_BYTES_MAX + 1];
    char credential[HEALTH_CREDENTIAL_BYTES]; /* the first digits of its hash; "" without one */
    const char *state;                        /* closed, open, half_open, parked, cooling */
    int64_t retry_us;                         /* 0: may be asked now */
    uint64_t requests, successes, failures;
    int inflight, queued;
    struct latency_summary latency, first_content;
    char last_error[FAILOVER_REASON_BYTES_MAX + 1];
    int64_t last_error_us; /* wall clock; 0: never */
};

void health_status(struct health *h, struct endpoint *e, struct health_row *out);
/* Fills at most `max` rows, sorted by name, and returns how many. `rows` NULL: returns how many there are. */
size_t health_list(struct health *h, struct health_row *rows, size_t max);

#endif
