/*
 * health.c - one table, one mutex. Every function takes it once and does little inside: the machines of this folder are
 * plain values. Wake-ups are collected inside and made outside.
 *
 * Identity is SHA-256 of the hashes of the names, so the table compares 32 bytes, keeps no credential, and long names
 * cost nothing. What is replaced or reset is only taken out of the table; it is freed with its last reference.
 */
#include "health.h"

#include "../base/mem.h"
#include "../base/token.h"
#include "../base/utf8.h"
#include "budget.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 1024 /* of each map; a power of two */

/* Maps */

struct entry {
    struct entry *next; /* in its bucket */
    uint8_t key[TOKEN_HASH_BYTES];
    bool is_listed;
    size_t refs;
};

struct map {
    struct entry *buckets[BUCKETS];
    size_t count;
};

static struct entry **bucket_of(struct map *m, const uint8_t *key)
{
    return &m->buckets[(key[0] | key[1] << 8) & (BUCKETS - 1)];
}

static struct entry *map_find(struct map *m, const uint8_t *key)
{
    struct entry *e = *bucket_of(m, key);
    while (e && memcmp(e->key, key, sizeof e->key) != 0)
        e = e->next;
    return e;
}

static void map_add(struct map *m, struct entry *e, const uint8_t *key)
{
    memcpy(e->key, key, sizeof e->key);
    struct entry **bucket = bucket_of(m, key);
    e->next = *bucket;
    *bucket = e;
    e->is_listed = true;
    m->count++;
}

static void map_remove(struct map *m, struct entry *e)
{
    if (!e->is_listed)
        return;
    struct entry **link = bucket_of(m, e->key);
    while (*link != e)
        link = &(*link)->next;
    *link = e->next;
    e->is_listed = false;
    m->count--;
}

/* Credentials and endpoints */

struct ban { /* a time for which something is not asked */
    int64_t since_us, until_us;
};

struct credential {
    struct entry entry; /* first; a reference for each endpoint */
    char text[HEALTH_CREDENTIAL_BYTES];
    struct limiter limiter;
    struct ban parked;
};

struct endpoint {
    struct entry entry; /* first; a reference for each holder and each attempt */
    struct list used;   /* among all listed ones, the least recently used first */
    struct credential *credential;
    char provider[FAILOVER_NAME_BYTES_MAX + 1], model[FAILOVER_NAME_BYTES_MAX + 1];
    struct breaker breaker;
    struct ban cooling;
    uint64_t requests, successes, failures;
    int inflight, queued;
    struct latency latency, first_content;
    char last_error[FAILOVER_REASON_BYTES_MAX + 1];
    int64_t last_error_us;
};

struct health {
    struct clock *clock;
    pthread_mutex_t lock; /* guards all below, and all that is reached from there */
    struct map endpoints, credentials;
    struct list used;
    struct budget budget;
};

/* Cut where a character ends: what is shown must stay text. */
static void copy_text(char *to, size_t max, struct slice text)
{
    size_t n = text.n < max ? text.n : max;
    while (n < text.n && n > 0 && utf8_is_continuation(text.p[n]))
        n--;
    memcpy(to, text.p, n);
    to[n] = '\0';
}

void endpoint_settings_init(struct endpoint_settings *s)
{
    *s = (struct endpoint_settings){
        .breaker = {.failures = 5, .successes = 1, .open_us = 5000000, .open_us_max = 60000000, .window_us = 10000000, .window_requests = 10},
        .inflight_max = 64,
        .queue_max = 256,
    };
}

struct health *health_new(struct clock *clock)
{
    struct health *h = mem_zero(1, sizeof *h);
    h->clock = clock;
    list_init(&h->used);
    pthread_mutex_init(&h->lock, NULL);
    return h;
}

/* With the lock held. */
static void unref(struct health *h, struct endpoint *e)
{
    struct credential *c = e->credential;
    if (--e->entry.refs > 0 || e->entry.is_listed)
        return;
    mem_free(e);
    if (--c->entry.refs == 0) {
        map_remove(&h->credentials, &c->entry);
        mem_free(c);
    }
}

/* Takes an endpoint out of the table; frees it when nobody holds it. */
static void forget(struct health *h, struct endpoint *e)
{
    list_remove(&e->used);
    e->entry.refs++;
    map_remove(&h->endpoints, &e->entry);
    unref(h, e);
}

static void forget_all(struct health *h)
{
    struct list *node;
    while ((node = list_first(&h->used))) {
        struct endpoint *e = CONTAINER_OF(node, struct endpoint, used);
        map_remove(&h->credentials, &e->credential->entry);
        forget(h, e);
    }
    h->budget = (struct budget){0};
}

void health_reset(struct health *h)
{
    pthread_mutex_lock(&h->lock);
    forget_all(h);
    pthread_mutex_unlock(&h->lock);
}

void health_free(struct health *h)
{
    forget_all(h);
    ASSERT(h->endpoints.count == 0 && h->credentials.count == 0);
    pthread_mutex_destroy(&h->lock);
    mem_free(h);
}

/* Finding */

struct keys {
    uint8_t credential[TOKEN_HASH_BYTES], endpoint[TOKEN_HASH_BYTES], secret[TOKEN_HASH_BYTES];
};

static void hash_name(const struct endpoint_name *name, struct keys *out)
{
    uint8_t parts[3 * TOKEN_HASH_BYTES]; /* provider, credential, model */
    token_sha256(name->provider.p, name->provider.n, parts);
    token_sha256(name->credential.p, name->credential.n, out->secret);
    memcpy(parts + TOKEN_HASH_BYTES, out->secret, TOKEN_HASH_BYTES);
    token_sha256(name->model.p, name->model.n, parts + 2 * TOKEN_HASH_BYTES);
    token_sha256(parts, 2 * TOKEN_HASH_BYTES, out->credential);
    token_sha256(parts, sizeof parts, out->endpoint);
}

static struct credential *find_credential(struct health *h, const struct endpoint_name *name, const struct keys *keys)
{
    struct credential *c = (struct credential *)map_find(&h->credentials, keys->credential);
    if (!c) {
        c = mem_zero(1, sizeof *c);
        if (name->credential.n)
            token_hex(keys->secret, (sizeof c->text - 1) / 2, c->text);
        map_add(&h->credentials, &c->entry, keys->credential);
        limiter_init(&c->limiter, 0, 0);
    }
    c->entry.refs++;
    return c;
}

/* Makes room in the table if that is possible: what is in use is left alone. */
static bool make_room(struct health *h)
{
    if (h->endpoints.count < FAILOVER_ENDPOINTS_MAX)
        return true;
    for (struct list *node = h->used.next; node != &h->used; node = node->next) {
        struct endpoint *e = CONTAINER_OF(node, struct endpoint, used);
        if (e->inflight == 0 && e->queued == 0) {
            forget(h, e);
            return true;
        }
    }
    return false;
}

static struct endpoint *new_endpoint(struct health *h, const struct endpoint_name *name, const struct keys *keys)
{
    struct endpoint *e = mem_zero(1, sizeof *e);
    bool has_room = make_room(h); /* first: it may free the credential */
    e->credential = find_credential(h, name, keys);
    copy_text(e->provider, FAILOVER_NAME_BYTES_MAX, name->provider);
    copy_text(e->model, FAILOVER_NAME_BYTES_MAX, name->model);
    list_init(&e->used);
    if (has_room) { /* else all are in use: this one is nobody else's */
        map_add(&h->endpoints, &e->entry, keys->endpoint);
        list_append(&h->used, &e->used);
    }
    return e;
}

static void set(struct endpoint *e, const struct endpoint_settings *s, struct list *granted)
{
    struct limiter *l = &e->credential->limiter;
    e->breaker.settings = s->breaker;
    l->inflight_max = s->inflight_max;
    l->queue_max = s->queue_max;
    limiter_grant(l, granted);
}

static void mark_used(struct health *h, struct endpoint *e)
{
    if (e->entry.is_listed && h->used.prev != &e->used) {
        list_remove(&e->used);
        list_append(&h->used, &e->used);
    }
}

struct endpoint *health_endpoint(struct health *h, const struct endpoint_name *name, const struct endpoint_settings *s)
{
    struct keys keys;
    struct list granted;
    struct endpoint_settings defaults;
    list_init(&granted);
    hash_name(name, &keys);
    pthread_mutex_lock(&h->lock);
    struct endpoint *e = (struct endpoint *)map_find(&h->endpoints, keys.endpoint);
    if (!e) {
        e = new_endpoint(h, name, &keys);
        endpoint_settings_init(&defaults);
        if (!s)
            s = &defaults;
    }
    if (s)
        set(e, s, &granted);
    mark_used(h, e);
    e->entry.refs++;
    pthread_mutex_unlock(&h->lock);
    limiter_wake(&granted);
    return e;
}

void health_release(struct health *h, struct endpoint *e)
{
    pthread_mutex_lock(&h->lock);
    unref(h, e);
    pthread_mutex_unlock(&h->lock);
}

/* Attempts */

static int64_t ban_left_us(const struct ban *b, int64_t now_us)
{
    return b->until_us > now_us ? b->until_us - now_us : 0;
}

/* Would the endpoint be asked? Else why not, and for how long. */
static enum start check(const struct endpoint *e, int64_t now_us, int64_t *retry_us)
{
    if ((*retry_us = ban_left_us(&e->credential->parked, now_us)) > 0)
        return START_PARKED;
    if ((*retry_us = ban_left_us(&e->cooling, now_us)) > 0)
        return START_COOLING;
    *retry_us = breaker_retry_us(&e->breaker, now_us);
    return breaker_allows(&e->breaker, now_us) ? START_OK : START_OPEN;
}

/* A slot, or a place in the queue. */
static enum start take_slot(struct endpoint *e, struct limiter_wait *w, int64_t *retry_us)
{
    struct limiter *l = &e->credential->limiter;
    if (limiter_take(l))
        return START_OK;
    *retry_us = FAILOVER_TURNED_AWAY_US;
    if (!w)
        return START_WAIT;
    if (!limiter_join(l, w))
        return START_QUEUE_FULL;
    e->queued++;
    e->entry.refs++; /* until the wait is used or left */
    return START_WAIT;
}

static void begin(struct endpoint *e, bool is_forced, int64_t now_us, struct attempt *out)
{
    *out = (struct attempt){.endpoint = e, .started_us = now_us};
    bool is_allowed = breaker_start(&e->breaker, now_us, is_forced, &out->ticket);
    ASSERT(is_allowed);
    e->entry.refs++;
    e->inflight++;
    e->requests++;
}

enum start health_start(struct health *h, struct endpoint *e, bool is_forced, struct limiter_wait *w, struct attempt *out, int64_t *retry_us)
{
    struct list granted;
    list_init(&granted);
    pthread_mutex_lock(&h->lock);
    int64_t now_us = clock_mono_us(h->clock);
    bool has_slot = w && w->state == LIMITER_GRANTED;
    enum start answer = is_forced ? START_OK : check(e, now_us, retry_us);
    if (has_slot) {
        e->queued--;
        e->entry.refs--; /* the caller's keeps it alive */
        if (answer == START_OK)
            w->state = LIMITER_IDLE; /* the slot is the attempt's now */
        else
            limiter_leave(&e->credential->limiter, w);
        limiter_grant(&e->credential->limiter, &granted);
    } else if (answer == START_OK) {
        answer = take_slot(e, w, retry_us);
    }
    if (answer == START_OK)
        begin(e, is_forced, now_us, out);
    mark_used(h, e);
    pthread_mutex_unlock(&h->lock);
    limiter_wake(&granted);
    return answer;
}

bool health_leave(struct health *h, struct endpoint *e, struct limiter_wait *w)
{
    struct list granted;
    list_init(&granted);
    pthread_mutex_lock(&h->lock);
    bool was_granted = w->state == LIMITER_GRANTED;
    if (w->state != LIMITER_IDLE) {
        limiter_leave(&e->credential->limiter, w);
        limiter_grant(&e->credential->limiter, &granted);
        e->queued--;
        unref(h, e);
    }
    pthread_mutex_unlock(&h->lock);
    limiter_wake(&granted);
    return !was_granted;
}

static void add_latency(struct latency *l, int64_t us)
{
    latency_add(l, us);
    if (l->count >= FAILOVER_LATENCIES_MAX)
        latency_fade(l);
}

void health_content(struct health *h, struct attempt *a)
{
    if (!a->endpoint || a->has_content)
        return;
    a->has_content = true;
    pthread_mutex_lock(&h->lock);
    add_latency(&a->endpoint->first_content, clock_mono_us(h->clock) - a->started_us);
    pthread_mutex_unlock(&h->lock);
}

static void note_error(struct health *h, struct endpoint *e, struct slice reason)
{
    copy_text(e->last_error, FAILOVER_REASON_BYTES_MAX, reason);
    e->last_error_us = clock_wall_us(h->clock);
}

static void end_ban(struct ban *b, const struct attempt *a)
{
    if (b->since_us <= a->started_us)
        b->until_us = 0;
}

static void judge(struct health *h, struct attempt *a, enum verdict verdict, struct slice reason, struct token_source *tokens)
{
    struct endpoint *e = a->endpoint;
    int64_t now_us = clock_mono_us(h->clock);
    switch (verdict) {
    case VERDICT_GOOD:
        e->successes++;
        add_latency(&e->latency, now_us - a->started_us);
        breaker_succeed(&e->breaker, a->ticket, now_us);
        end_ban(&e->cooling, a);
        end_ban(&e->credential->parked, a);
        break;
    case VERDICT_BAD:
        e->failures++;
        note_error(h, e, reason);
        breaker_fail(&e->breaker, a->ticket, now_us, tokens);
        break;
    case VERDICT_NONE:
        breaker_drop(&e->breaker, a->ticket);
        break;
    }
}

void health_end(struct health *h, struct attempt *a, enum verdict verdict, struct slice reason, struct token_source *tokens)
{
    struct endpoint *e = a->endpoint;
    struct list granted;
    if (!e)
        return;
    list_init(&granted);
    pthread_mutex_lock(&h->lock);
    judge(h, a, verdict, reason, tokens);
    e->inflight--;
    limiter_give(&e->credential->limiter);
    limiter_grant(&e->credential->limiter, &granted);
    a->endpoint = NULL;
    unref(h, e);
    pthread_mutex_unlock(&h->lock);
    limiter_wake(&granted);
}

/* Bans */

static void ban_for(struct health *h, struct ban *b, int64_t for_us, int64_t max_us)
{
    int64_t now_us = clock_mono_us(h->clock);
    int64_t until_us = now_us + (for_us < max_us ? for_us : max_us);
    b->since_us = now_us;
    if (until_us > b->until_us)
        b->until_us = until_us;
}

void health_park(struct health *h, struct endpoint *e, int64_t for_us, struct slice reason)
{
    pthread_mutex_lock(&h->lock);
    ban_for(h, &e->credential->parked, for_us, FAILOVER_PARK_US_MAX);
    note_error(h, e, reason);
    pthread_mutex_unlock(&h->lock);
}

void health_cool(struct health *h, struct endpoint *e, int64_t for_us, struct slice reason)
{
    pthread_mutex_lock(&h->lock);
    ban_for(h, &e->cooling, for_us, FAILOVER_COOL_US_MAX);
    note_error(h, e, reason);
    pthread_mutex_unlock(&h->lock);
}

/* The retry budget */

void health_note_request(struct health *h)
{
    pthread_mutex_lock(&h->lock);
    budget_request(&h->budget, clock_mono_us(h->clock));
    pthread_mutex_unlock(&h->lock);
}

bool health_begin_retry(struct health *h)
{
    pthread_mutex_lock(&h->lock);
    bool is_allowed = budget_begin(&h->budget, clock_mono_us(h->clock));
    pthread_mutex_unlock(&h->lock);
    return is_allowed;
}

void health_end_retry(struct health *h)
{
    pthread_mutex_lock(&h->lock);
    budget_end(&h->budget);
    pthread_mutex_unlock(&h->lock);
}

/* Rows */

static const char *state_name(const struct endpoint *e, enum start answer, int64_t now_us)
{
    static const char *const breaker_names[] = {"closed", "open", "half_open"};
    if (answer == START_PARKED)
        return "parked";
    return answer == START_COOLING ? "cooling" : breaker_names[breaker_state(&e->breaker, now_us)];
}

static void fill_row(const struct endpoint *e, int64_t now_us, struct health_row *out)
{
    *out = (struct health_row){
        .requests = e->requests,
        .successes = e->successes,
        .failures = e->failures,
        .inflight = e->inflight,
        .queued = e->queued,
        .latency = latency_summary(&e->latency),
        .first_content = latency_summary(&e->first_content),
        .last_error_us = e->last_error_us,
    };
    memcpy(out->provider, e->provider, sizeof out->provider);
    memcpy(out->model, e->model, sizeof out->model);
    memcpy(out->credential, e->credential->text, sizeof out->credential);
    memcpy(out->last_error, e->last_error, sizeof out->last_error);
    out->state = state_name(e, check(e, now_us, &out->retry_us), now_us);
}

void health_status(struct health *h, struct endpoint *e, struct health_row *out)
{
    pthread_mutex_lock(&h->lock);
    fill_row(e, clock_mono_us(h->clock), out);
    pthread_mutex_unlock(&h->lock);
}

static int compare_rows(const void *a, const void *b)
{
    const struct health_row *one = a, *two = b;
    int order = strcmp(one->provider, two->provider);
    if (order == 0)
        order = strcmp(one->model, two->model);
    return order ? order : strcmp(one->credential, two->credential);
}

size_t health_list(struct health *h, struct health_row *rows, size_t max)
{
    size_t filled = 0;
    pthread_mutex_lock(&h->lock);
    size_t count = h->endpoints.count;
    int64_t now_us = clock_mono_us(h->clock);
    for (struct list *node = h->used.next; rows && node != &h->used && filled < max; node = node->next)
        fill_row(CONTAINER_OF(node, struct endpoint, used), now_us, &rows[filled++]);
    pthread_mutex_unlock(&h->lock);
    if (filled)
        qsort(rows, filled, sizeof *rows, compare_rows);
    return rows ? filled : count;
}
