/*
 * test_health.c - the table of endpoints: what is shared and what is not, what is replaced, waiting for a slot, bans, and
 * four threads at once (build it with -fsanitize=thread).
 */
#include "check.h"
#include "failover/health.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000)

static int64_t now_us = 1000 * SECOND;

static int64_t read_now(struct clock *c)
{
    UNUSED(c);
    return now_us;
}

static struct clock fake_clock = {.mono_us = read_now, .wall_us = read_now};

static struct slice slice_of(const char *text)
{
    return (struct slice){text, strlen(text)};
}

static struct endpoint *endpoint(struct health *h, const char *provider, const char *credential, const char *model)
{
    struct endpoint_name name = {slice_of(provider), slice_of(credential), slice_of(model)};
    return health_endpoint(h, &name, NULL);
}

static struct health_row status(struct health *h, struct endpoint *e)
{
    struct health_row row;
    health_status(h, e, &row);
    return row;
}

/* Starts without waiting. */
static enum start start(struct health *h, struct endpoint *e, bool is_forced, struct attempt *out)
{
    int64_t retry_us;
    return health_start(h, e, is_forced, NULL, out, &retry_us);
}

static void finish(struct health *h, struct attempt *a, enum verdict verdict)
{
    health_end(h, a, verdict, slice_of("the reason"), NULL);
}

static void test_identity(void)
{
    struct health *h = health_new(&fake_clock);
    struct endpoint *a = endpoint(h, "openai", "sk-1", "gpt"), *same = endpoint(h, "openai", "sk-1", "gpt");
    struct endpoint *other_model = endpoint(h, "openai", "sk-1", "gp"), *other_key = endpoint(h, "openai", "sk-2", "gpt");
    struct endpoint *no_key = endpoint(h, "openai", "", "gpt"), *shifted = endpoint(h, "openais", "k-1", "gpt");
    CHECK(a == same && a != other_model && a != other_key && a != no_key && a != shifted);
    CHECK(health_list(h, NULL, 0) == 5);
    struct health_row rows[8];
    CHECK(health_list(h, rows, 3) == 3 && health_list(h, rows, 8) == 5);
    CHECK(strcmp(rows[0].model, "gp") == 0 && strcmp(rows[1].credential, "") == 0 && strcmp(rows[4].provider, "openais") == 0);
    CHECK(strcmp(status(h, a).credential, "0f2c10bf") == 0); /* of SHA-256("sk-1") */
    health_release(h, same);
    CHECK(strcmp(status(h, a).state, "closed") == 0);
    struct endpoint *all[] = {a, other_model, other_key, no_key, shifted};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        health_release(h, all[i]);
    CHECK(health_list(h, NULL, 0) == 5); /* what is known stays known */
    health_free(h);
}

static void test_long_names(void)
{
    char name[1000] = "x"; /* then two bytes a character: the limit is in the middle of one */
    struct health *h = health_new(&fake_clock);
    for (size_t i = 1; i + 2 < sizeof name; i += 2)
        memcpy(name + i, "\xC3\xA9", 2);
    name[sizeof name - 2] = 'a';
    struct endpoint *a = endpoint(h, "p", "", name);
    name[sizeof name - 2] = 'b';
    struct endpoint *b = endpoint(h, "p", "", name);
    CHECK(a != b && strlen(status(h, a).model) == FAILOVER_NAME_BYTES_MAX - 1);
    health_release(h, a);
    health_release(h, b);
    health_free(h);
}

/* The clock moves 1 s in each attempt. */
static void attempt(struct health *h, struct endpoint *e, bool is_forced, enum verdict verdict)
{
    struct attempt a;
    CHECK(start(h, e, is_forced, &a) == START_OK);
    now_us += SECOND / 4;
    health_content(h, &a);
    now_us += SECOND * 3 / 4;
    health_content(h, &a); /* only the first counts */
    finish(h, &a, verdict);
    finish(h, &a, VERDICT_BAD); /* as does only the first verdict */
}

static void test_counts(void)
{
    struct health *h = health_new(&fake_clock);
    struct endpoint *e = endpoint(h, "openai", "sk-1", "gpt");
    attempt(h, e, false, VERDICT_GOOD);
    attempt(h, e, false, VERDICT_BAD);
    attempt(h, e, false, VERDICT_NONE);
    struct health_row row = status(h, e);
    CHECK(row.requests == 3 && row.successes == 1 && row.failures == 1 && row.inflight == 0);
    CHECK(row.latency.count == 1 && row.latency.p50_us == SECOND);
    CHECK(row.first_content.count == 3 && row.first_content.p99_us == SECOND / 4);
    CHECK(strcmp(row.last_error, "the reason") == 0 && row.last_error_us == now_us - SECOND);
    health_release(h, e);
    health_free(h);
}

static void test_gate(void)
{
    struct health *h = health_new(&fake_clock);
    struct endpoint *e = endpoint(h, "openai", "sk-1", "gpt"), *sibling = endpoint(h, "openai", "sk-1", "mini");
    struct attempt a;
    health_cool(h, e, 3600 * SECOND, slice_of("429"));
    CHECK(start(h, e, false, &a) == START_COOLING && status(h, e).retry_us == 60 * SECOND);
    CHECK(start(h, sibling, false, &a) == START_OK); /* only this model */
    finish(h, &a, VERDICT_GOOD);
    health_park(h, e, 600 * SECOND, slice_of("401"));
    health_park(h, e, SECOND, slice_of("401 again"));
    CHECK(start(h, e, false, &a) == START_PARKED && start(h, sibling, false, &a) == START_PARKED);
    CHECK(status(h, e).retry_us == 600 * SECOND && strcmp(status(h, sibling).state, "parked") == 0);
    now_us += 601 * SECOND;
    CHECK(strcmp(status(h, e).state, "closed") == 0);
    health_park(h, e, 600 * SECOND, slice_of("401"));
    attempt(h, e, true, VERDICT_BAD); /* says nothing about the ban */
    CHECK(start(h, e, false, &a) == START_PARKED);
    attempt(h, e, true, VERDICT_GOOD);
    CHECK(start(h, sibling, false, &a) == START_OK);
    now_us++;
    health_park(h, e, 600 * SECOND, slice_of("401"));
    finish(h, &a, VERDICT_GOOD); /* it began before */
    CHECK(start(h, e, false, &a) == START_PARKED);
    now_us += 601 * SECOND;
    for (int i = 0; i < 5; i++)
        attempt(h, e, false, VERDICT_BAD);
    CHECK(start(h, e, false, &a) == START_OPEN && strcmp(status(h, e).state, "open") == 0);
    now_us += 6 * SECOND;
    CHECK(strcmp(status(h, e).state, "half_open") == 0);
    attempt(h, e, false, VERDICT_GOOD);
    CHECK(strcmp(status(h, e).state, "closed") == 0);
    health_release(h, e);
    health_release(h, sibling);
    health_free(h);
}

/* Waiting */

static struct limiter_wait *ready[8];
static int ready_n;

static void on_ready(struct limiter_wait *w)
{
    ready[ready_n++] = w;
}

static void test_waiting(void)
{
    struct health *h = health_new(&fake_clock);
    struct endpoint *e = endpoint(h, "openai", "sk-1", "gpt");
    struct endpoint_settings s;
    int64_t retry_us;
    endpoint_settings_init(&s);
    s.inflight_max = 1;
    s.queue_max = 2;
    struct endpoint_name name = {slice_of("openai"), slice_of("sk-1"), slice_of("mini")};
    struct endpoint *sibling = health_endpoint(h, &name, &s); /* the cap is the credential's */
    struct attempt a, b = {NULL};
    struct limiter_wait late = {.deadline_us = 9, .ready = on_ready}, early = {.deadline_us = 5, .ready = on_ready}, third = early;
    CHECK(start(h, e, false, &a) == START_OK && start(h, sibling, false, &b) == START_WAIT);
    CHECK(health_start(h, sibling, false, &late, &b, &retry_us) == START_WAIT);
    CHECK(health_start(h, e, false, &early, &b, &retry_us) == START_WAIT);
    CHECK(health_start(h, e, false, &third, &b, &retry_us) == START_QUEUE_FULL && retry_us > 0);
    CHECK(status(h, e).queued == 1 && status(h, sibling).queued == 1);
    finish(h, &a, VERDICT_GOOD);
    CHECK(ready_n == 1 && ready[0] == &early);
    CHECK(start(h, e, false, &b) == START_WAIT); /* nobody overtakes */
    CHECK(health_start(h, e, false, &early, &a, &retry_us) == START_OK);
    CHECK(health_leave(h, e, &early)); /* nothing is left of it */
    CHECK(health_leave(h, sibling, &late));
    CHECK(health_start(h, sibling, false, &late, &b, &retry_us) == START_WAIT);
    finish(h, &a, VERDICT_NONE);
    CHECK(ready_n == 2 && !health_leave(h, sibling, &late)); /* its message is on the way */
    CHECK(start(h, e, false, &a) == START_OK);
    CHECK(health_start(h, e, false, &late, &b, &retry_us) == START_WAIT);
    health_park(h, e, 10 * SECOND, slice_of("401"));
    finish(h, &a, VERDICT_BAD);
    CHECK(ready_n == 3 && health_start(h, e, false, &late, &b, &retry_us) == START_PARKED); /* meanwhile */
    CHECK(start(h, e, true, &a) == START_OK); /* and its slot is free again */
    late.state = LIMITER_IDLE;
    CHECK(health_start(h, e, true, &late, &b, &retry_us) == START_WAIT);
    s.inflight_max = 2;
    health_release(h, health_endpoint(h, &name, &s));
    CHECK(ready_n == 4 && health_start(h, e, true, &late, &b, &retry_us) == START_OK);
    finish(h, &a, VERDICT_NONE);
    finish(h, &b, VERDICT_NONE);
    CHECK(status(h, e).inflight == 0 && status(h, e).queued == 0);
    health_release(h, e);
    health_release(h, sibling);
    health_free(h);
}

/* The table is bounded. */

static struct endpoint *numbered(struct health *h, int i)
{
    char model[32];
    snprintf(model, sizeof model, "model-%d", i);
    return endpoint(h, "p", i % 3 ? "key" : "", model);
}

static void test_replacement(void)
{
    struct health *h = health_new(&fake_clock);
    struct endpoint *held = numbered(h, 0), *busy = numbered(h, 1), *used = numbered(h, 2);
    struct attempt a, b;
    CHECK(start(h, busy, false, &a) == START_OK);
    for (int i = 3; i < FAILOVER_ENDPOINTS_MAX; i++)
        health_release(h, numbered(h, i));
    CHECK(health_list(h, NULL, 0) == FAILOVER_ENDPOINTS_MAX);
    attempt(h, used, false, VERDICT_GOOD);
    for (int i = 0; i < 10; i++)
        health_release(h, numbered(h, FAILOVER_ENDPOINTS_MAX + i));
    CHECK(health_list(h, NULL, 0) == FAILOVER_ENDPOINTS_MAX);
    struct endpoint *again[] = {numbered(h, 0), numbered(h, 1), numbered(h, 2)};
    CHECK(again[0] != held && again[1] == busy && again[2] == used);
    CHECK(start(h, held, false, &b) == START_OK); /* it goes on working */
    finish(h, &b, VERDICT_GOOD);
    health_reset(h);
    CHECK(health_list(h, NULL, 0) == 0);
    finish(h, &a, VERDICT_GOOD); /* what was under way ends where it began */
    CHECK(status(h, busy).successes == 1);
    struct endpoint *fresh = numbered(h, 1);
    CHECK(fresh != busy && status(h, fresh).requests == 0);
    struct endpoint *all[] = {held, busy, used, again[0], again[1], again[2], fresh};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        health_release(h, all[i]);
    health_free(h);
}

static void test_all_busy(void)
{
    static struct attempt attempts[FAILOVER_ENDPOINTS_MAX];
    struct health *h = health_new(&fake_clock);
    struct endpoint_settings s;
    char model[32];
    endpoint_settings_init(&s);
    s.inflight_max = FAILOVER_ENDPOINTS_MAX;
    int started = 0;
    for (int i = 0; i < FAILOVER_ENDPOINTS_MAX; i++) {
        snprintf(model, sizeof model, "model-%d", i);
        struct endpoint_name name = {slice_of("p"), slice_of("k"), slice_of(model)};
        struct endpoint *e = health_endpoint(h, &name, &s);
        started += start(h, e, false, &attempts[i]) == START_OK;
        health_release(h, e); /* the attempt holds it */
    }
    CHECK(started == FAILOVER_ENDPOINTS_MAX);
    struct endpoint *one_more = endpoint(h, "p", "other", "x"), *another = endpoint(h, "p", "other", "x");
    CHECK(one_more != another && health_list(h, NULL, 0) == FAILOVER_ENDPOINTS_MAX);
    attempt(h, one_more, false, VERDICT_GOOD);
    for (int i = 0; i < FAILOVER_ENDPOINTS_MAX; i++)
        finish(h, &attempts[i], VERDICT_GOOD);
    health_release(h, one_more);
    health_release(h, another);
    health_free(h);
}

/* Threads: each starts, waits where it must, gives up now and then, and ends with every verdict. */

#define THREADS 4
#define ROUNDS 20000
#define CAP 2

struct waiting { /* a wait with a condition to sleep on */
    struct limiter_wait wait;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_ready;
};

static struct {
    struct health *health;
    int inflight, over_cap, waited, gave_up, refused;
} shared;

static void on_ready_in_thread(struct limiter_wait *wait)
{
    struct waiting *w = CONTAINER_OF(wait, struct waiting, wait);
    pthread_mutex_lock(&w->lock);
    w->is_ready = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void await(struct waiting *w)
{
    pthread_mutex_lock(&w->lock);
    while (!w->is_ready)
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

static enum start start_or_wait(struct waiting *w, struct endpoint *e, bool will_give_up, struct attempt *out)
{
    int64_t retry_us;
    w->wait.state = LIMITER_IDLE;
    w->is_ready = false;
    enum start answer = health_start(shared.health, e, true, &w->wait, out, &retry_us);
    if (answer != START_WAIT)
        return answer;
    if (will_give_up) {
        if (!health_leave(shared.health, e, &w->wait))
            await(w); /* it was granted meanwhile: the memory must live until its message has come */
        __atomic_fetch_add(&shared.gave_up, 1, __ATOMIC_RELAXED);
        return answer;
    }
    await(w);
    __atomic_fetch_add(&shared.waited, 1, __ATOMIC_RELAXED);
    return health_start(shared.health, e, true, &w->wait, out, &retry_us);
}

static void *hammer(void *seed)
{
    struct token_source tokens;
    struct waiting w = {.wait = {.ready = on_ready_in_thread}};
    token_seed(&tokens, (uint64_t)(uintptr_t)seed);
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.changed, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t random;
        struct attempt a = {NULL};
        token_random(&tokens, &random, sizeof random);
        struct endpoint *e = endpoint(shared.health, "p", "key", random & 1 ? "one" : "two");
        w.wait.deadline_us = random >> 8 & 15;
        if (start_or_wait(&w, e, (random >> 12 & 7) == 0, &a) == START_OK) {
            int inflight = __atomic_add_fetch(&shared.inflight, 1, __ATOMIC_RELAXED);
            __atomic_fetch_add(&shared.over_cap, inflight > CAP, __ATOMIC_RELAXED);
            health_content(shared.health, &a);
            sched_yield(); /* so that others come while this one holds its place, also where all share a core */
            if ((random >> 16 & 63) == 0)
                health_list(shared.health, NULL, 0);
            __atomic_sub_fetch(&shared.inflight, 1, __ATOMIC_RELAXED);
            health_end(shared.health, &a, random >> 20 & 3 ? VERDICT_GOOD : random >> 22 & 1 ? VERDICT_BAD : VERDICT_NONE, slice_of("x"), &tokens);
        }
        health_release(shared.health, e);
        health_note_request(shared.health);
        if (health_begin_retry(shared.health))
            health_end_retry(shared.health);
        else
            __atomic_fetch_add(&shared.refused, 1, __ATOMIC_RELAXED);
    }
    pthread_cond_destroy(&w.changed);
    pthread_mutex_destroy(&w.lock);
    return NULL;
}

static void test_threads(void)
{
    pthread_t threads[THREADS];
    struct endpoint_settings s;
    struct health_row rows[2];
    struct endpoint_name name = {slice_of("p"), slice_of("key"), slice_of("one")};
    shared.health = health_new(clock_system());
    endpoint_settings_init(&s);
    s.inflight_max = CAP;
    health_release(shared.health, health_endpoint(shared.health, &name, &s));
    name.model = slice_of("two");
    health_release(shared.health, health_endpoint(shared.health, &name, &s));
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, hammer, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK(shared.over_cap == 0 && shared.inflight == 0);
    CHECK(shared.waited > 0 && shared.gave_up > 0); /* it was really tried */
    CHECK(health_list(shared.health, rows, 2) == 2);
    for (int i = 0; i < 2; i++)
        CHECK(rows[i].inflight == 0 && rows[i].queued == 0 && rows[i].requests >= rows[i].successes + rows[i].failures);
    CHECK(rows[0].requests + rows[1].requests + (uint64_t)shared.gave_up == THREADS * ROUNDS);
    health_free(shared.health);
}

int main(void)
{
    test_identity();
    test_long_names();
    test_counts();
    test_gate();
    test_waiting();
    test_replacement();
    test_all_busy();
    test_threads();
    return check_report();
}
