/*
 * test_failover.c - the machines of src/failover/ without threads: each against a naive model or against its definition,
 * with random operations from a fixed seed.
 */
#include "base/limits.h"
#include "check.h"
#include "failover/backoff.h"
#include "failover/breaker.h"
#include "failover/bucket.h"
#include "failover/budget.h"
#include "failover/latency.h"
#include "failover/limiter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000)

static struct token_source tokens;

static int64_t below(int64_t n)
{
    uint64_t bits;
    token_random(&tokens, &bits, sizeof bits);
    return (int64_t)(bits % (uint64_t)n);
}

static bool chance(int percent)
{
    return below(100) < percent;
}

/* The breaker against a model that keeps everything and counts anew each time. */

#define VERDICTS_MAX 4000
#define TICKETS_MAX 12

struct model {
    struct breaker_settings settings;
    bool is_open;
    int period, row, good;
    int64_t open_us, until_us, now_us;
    int probe; /* its number; 0: none */
    int probes;
    int64_t probe_at_us;
    struct {
        int64_t at_us;
        bool is_bad;
    } verdicts[VERDICTS_MAX]; /* of this period */
    int verdicts_n;
};

struct pending {
    struct breaker_ticket ticket;
    int period, probe;
};

static void model_begin(struct model *m, bool is_open)
{
    m->is_open = is_open;
    m->period++;
    m->row = m->good = m->verdicts_n = m->probe = 0;
}

static void model_open(struct model *m, struct breaker *b, int64_t open_us)
{
    model_begin(m, true);
    m->open_us = open_us < m->settings.open_us_max ? open_us : m->settings.open_us_max;
    m->until_us = b->open_until_us; /* its jitter is chance: only its bounds are known */
    int64_t length_us = m->until_us - m->now_us;
    if (length_us < m->open_us * 9 / 10 - 1 || length_us > m->open_us * 11 / 10 + 1)
        m->until_us = 0; /* which makes the comparison fail */
}

static bool model_allows(const struct model *m)
{
    bool is_probing = m->probe && m->now_us - m->probe_at_us < FAILOVER_PROBE_US;
    return !m->is_open || (m->now_us >= m->until_us && !is_probing);
}

static bool model_is_flapping(const struct model *m)
{
    int all = 0, bad = 0;
    int64_t piece_us = m->settings.window_us / WINDOW_SLOTS, first = m->now_us / piece_us - WINDOW_SLOTS + 1;
    for (int i = 0; i < m->verdicts_n; i++) {
        if (m->verdicts[i].at_us / piece_us >= first) {
            all++;
            bad += m->verdicts[i].is_bad;
        }
    }
    return all >= m->settings.window_requests && 2 * bad >= all;
}

static void model_judge(struct model *m, struct breaker *b, const struct pending *p, int verdict)
{
    if (p->period != m->period)
        return;
    if (p->probe && p->probe == m->probe)
        m->probe = 0;
    if (verdict == 2)
        return;
    bool is_bad = verdict == 1;
    if (m->is_open) {
        if (is_bad && p->probe)
            model_open(m, b, m->open_us * 2);
        else if (!is_bad && ++m->good >= m->settings.successes)
            model_begin(m, false);
        return;
    }
    m->verdicts[m->verdicts_n].at_us = m->now_us;
    m->verdicts[m->verdicts_n++].is_bad = is_bad;
    m->row = is_bad ? m->row + 1 : 0;
    if (is_bad && (m->row >= m->settings.failures || model_is_flapping(m)))
        model_open(m, b, m->settings.open_us);
}

static int steps_open, steps_half_open, steps_closed;

static bool is_as_modelled(const struct model *m, const struct breaker *b)
{
    enum breaker_state expected = !m->is_open ? BREAKER_CLOSED : m->now_us < m->until_us ? BREAKER_OPEN : BREAKER_HALF_OPEN;
    *(expected == BREAKER_CLOSED ? &steps_closed : expected == BREAKER_OPEN ? &steps_open : &steps_half_open) += 1;
    return breaker_state(b, m->now_us) == expected && breaker_allows(b, m->now_us) == model_allows(m) &&
           (breaker_retry_us(b, m->now_us) > 0) == !model_allows(m);
}

/* False: the two do not agree whether an attempt may start. */
static bool model_step(struct model *m, struct breaker *b, struct pending *pending, int *pending_n, int failing_percent)
{
    struct pending p = {.period = 0};
    m->now_us += chance(10) ? below(20 * SECOND) : chance(2) ? FAILOVER_PROBE_US : below(SECOND / 2);
    if (*pending_n < TICKETS_MAX && chance(50)) {
        bool is_forced = chance(10), is_allowed = model_allows(m);
        bool has_started = breaker_start(b, m->now_us, is_forced, &p.ticket);
        if (!has_started || !(is_allowed || is_forced))
            return has_started == (is_allowed || is_forced);
        p.period = m->period;
        if (is_allowed && m->is_open) {
            p.probe = m->probe = ++m->probes;
            m->probe_at_us = m->now_us;
        }
        pending[(*pending_n)++] = p;
    } else if (*pending_n > 0) {
        int i = (int)below(*pending_n), verdict = chance(10) ? 2 : chance(failing_percent);
        p = pending[i];
        pending[i] = pending[--*pending_n];
        if (verdict == 0)
            breaker_succeed(b, p.ticket, m->now_us);
        else if (verdict == 1)
            breaker_fail(b, p.ticket, m->now_us, &tokens);
        else
            breaker_drop(b, p.ticket);
        model_judge(m, b, &p, verdict);
    }
    return true;
}

static void test_breaker_against_model(void)
{
    static struct model m;
    for (int round = 0; round < 300; round++) {
        struct breaker b = {.settings = {
            .failures = 1 + (int)below(8), .successes = 1 + (int)below(3), .open_us = (1 + below(10)) * SECOND,
            .open_us_max = (10 + below(60)) * SECOND, .window_us = (1 + below(20)) * SECOND, .window_requests = 2 + (int)below(12),
        }};
        struct pending pending[TICKETS_MAX];
        int pending_n = 0, failing_percent = (int)below(101);
        memset(&m, 0, sizeof m);
        m.settings = b.settings;
        m.now_us = below(1000 * SECOND);
        int agreed = 0;
        while (agreed < 1000 && model_step(&m, &b, pending, &pending_n, failing_percent) && is_as_modelled(&m, &b))
            agreed++;
        CHECK(agreed == 1000);
    }
    CHECK(steps_closed > 10000 && steps_open > 10000 && steps_half_open > 10000); /* it was really tried */
}

/* A provider that fails every second time, or always: how many requests until it opens, and single probes then. */
static int requests_until_open(int every)
{
    struct breaker b = {.settings = {5, 1, 5 * SECOND, 60 * SECOND, 10 * SECOND, 10}};
    for (int i = 1; i <= 100; i++) {
        struct breaker_ticket t;
        if (!breaker_start(&b, i * 1000, false, &t))
            return i - 1;
        if (i % every == 0)
            breaker_fail(&b, t, i * 1000, &tokens);
        else
            breaker_succeed(&b, t, i * 1000);
    }
    return -1;
}

static void test_breaker_opens(void)
{
    CHECK(requests_until_open(1) == 5);
    CHECK(requests_until_open(2) == 10);
    CHECK(requests_until_open(3) == -1);
}

static void test_breaker_doubles(void)
{
    struct breaker b = {.settings = {1, 1, 5 * SECOND, 60 * SECOND, 10 * SECOND, 10}};
    struct breaker_ticket t;
    int64_t now_us = SECOND, expected_us = 5 * SECOND;
    for (int i = 0; i < 8; i++) {
        CHECK(breaker_start(&b, now_us, false, &t) && (t.probe != 0) == (i > 0));
        CHECK(i == 0 || !breaker_start(&b, now_us, false, &(struct breaker_ticket){0})); /* one probe at a time */
        breaker_fail(&b, t, now_us, &tokens);
        int64_t open_us = breaker_retry_us(&b, now_us);
        CHECK(llabs(open_us - expected_us) <= expected_us / 10 + 1);
        now_us += open_us;
        expected_us = expected_us * 2 < 60 * SECOND ? expected_us * 2 : 60 * SECOND;
    }
    CHECK(breaker_start(&b, now_us, false, &t));
    breaker_succeed(&b, t, now_us);
    CHECK(breaker_start(&b, now_us, false, &t));
    breaker_fail(&b, t, now_us, &tokens);
    CHECK(breaker_retry_us(&b, now_us) <= 5.5 * SECOND); /* a new beginning */
}

/* The limiter against a plain array. */

#define WAITS_MAX 64

static int woken[WAITS_MAX], woken_n, wrong;
static struct limiter_wait waits[WAITS_MAX];
static int arrivals[WAITS_MAX]; /* when each joined; 0: it does not wait */

static void on_ready(struct limiter_wait *w)
{
    wrong += w->state != LIMITER_GRANTED;
    woken[woken_n++] = (int)(w - waits);
}

static int earliest_wait(void)
{
    int best = -1;
    for (int i = 0; i < WAITS_MAX; i++) {
        if (!arrivals[i])
            continue;
        bool is_earlier = best < 0 || waits[i].deadline_us < waits[best].deadline_us ||
                          (waits[i].deadline_us == waits[best].deadline_us && arrivals[i] < arrivals[best]);
        best = is_earlier ? i : best;
    }
    return best;
}

/* Grants and wakes, and compares with who should have been next. */
static void grant(struct limiter *l, int *inflight)
{
    struct list granted;
    list_init(&granted);
    woken_n = 0;
    limiter_grant(l, &granted);
    limiter_wake(&granted);
    for (int i = 0; i < woken_n; i++) {
        wrong += woken[i] != earliest_wait();
        arrivals[woken[i]] = 0;
        ++*inflight;
    }
    wrong += *inflight < l->inflight_max && earliest_wait() >= 0;
}

static void join_or_leave(struct limiter *l, int *inflight, int arrival)
{
    int i = (int)below(WAITS_MAX), queued = l->queued;
    if (arrivals[i]) {
        limiter_leave(l, &waits[i]);
        arrivals[i] = 0;
        wrong += l->queued != queued - 1;
    } else if (waits[i].state == LIMITER_GRANTED) {
        limiter_leave(l, &waits[i]);
        --*inflight;
        grant(l, inflight);
    } else if (!limiter_take(l)) {
        waits[i].deadline_us = below(20);
        waits[i].ready = on_ready;
        bool has_joined = limiter_join(l, &waits[i]);
        wrong += has_joined != (queued < l->queue_max);
        arrivals[i] = has_joined ? arrival : 0;
    } else {
        wrong += queued != 0;
        ++*inflight;
    }
}

static void test_limiter(void)
{
    struct limiter l;
    int inflight = 0, fullest = 0;
    limiter_init(&l, 5, 20);
    for (int step = 1; step < 50000 && wrong == 0; step++) {
        if (chance(1)) {
            l.inflight_max = 1 + (int)below(8);
            grant(&l, &inflight);
        } else if (chance(60) || inflight == 0) {
            join_or_leave(&l, &inflight, step);
        } else {
            bool was_over = inflight > l.inflight_max; /* the cap was lowered meanwhile */
            for (int i = 0; i < WAITS_MAX; i++) { /* a granted wait is used up before its slot is given back */
                if (waits[i].state == LIMITER_GRANTED)
                    waits[i].state = LIMITER_IDLE;
            }
            limiter_give(&l);
            inflight--;
            grant(&l, &inflight);
            wrong += !was_over && inflight > l.inflight_max;
        }
        wrong += l.inflight != inflight;
        fullest = l.queued > fullest ? l.queued : fullest;
    }
    CHECK(wrong == 0 && fullest == 20);
}

static void test_limiter_without_cap(void)
{
    struct limiter l;
    limiter_init(&l, 0, 0);
    int taken = 0;
    while (taken < 1000 && limiter_take(&l))
        taken++;
    CHECK(taken == 1000 && l.inflight == 1000);
}

/* The bucket: whatever the arrivals and cancels, no stretch of time has more tokens than burst + rate * t. */

static int compare_times(const void *a, const void *b)
{
    int64_t one = *(const int64_t *)a, two = *(const int64_t *)b;
    return (one > two) - (one < two);
}

static void run_bucket(double rate, int burst)
{
    static int64_t times[400];
    struct bucket b;
    struct bucket_reservation r;
    int n = 0, misplaced = 0;
    int64_t now_us = 123456;
    bucket_init(&b, rate, burst);
    while (n < 400) {
        now_us += chance(70) ? 0 : below((int64_t)(4e6 / rate) + 2);
        int64_t expected_us = bucket_wait_us(&b, now_us), wait_us = bucket_reserve(&b, now_us, &r);
        misplaced += wait_us != expected_us;
        times[n++] = now_us + wait_us;
        if (chance(30)) { /* cancelled at once, and still the last: the next one gets the same place */
            bucket_return(&b, &r);
            n--;
            misplaced += bucket_wait_us(&b, now_us) != wait_us;
        }
    }
    qsort(times, 400, sizeof *times, compare_times);
    int too_many = 0;
    for (int i = 0; i < 400; i++)
        for (int j = i + burst; j < 400; j++)
            too_many += j - i + 1 > burst + rate * ((double)(times[j] - times[i]) + 1) / 1e6;
    CHECK(too_many == 0 && misplaced == 0);
}

static void test_bucket(void)
{
    struct bucket b;
    struct bucket_reservation r, later;
    for (int i = 0; i < 40; i++)
        run_bucket((double)(1 + below(100000)) / 97, 1 + (int)below(30));
    bucket_init(&b, 10, 3); /* three at once, then one every tenth of a second */
    for (int i = 0; i < 8; i++)
        CHECK(bucket_reserve(&b, SECOND, &r) == (i < 3 ? 0 : (i - 2) * SECOND / 10));
    bucket_init(&b, 10, 3);
    for (int i = 0; i < 4; i++)
        CHECK(bucket_reserve(&b, 100 * SECOND, &r) == (i < 3 ? 0 : SECOND / 10)); /* full at first, and never fuller */
    bucket_reserve(&b, 100 * SECOND, &later);
    bucket_return(&b, &r); /* not the last any more */
    CHECK(bucket_wait_us(&b, 100 * SECOND) == 3 * SECOND / 10);
    bucket_return(&b, &later);
    CHECK(bucket_wait_us(&b, 100 * SECOND) == 2 * SECOND / 10);
}

/* Backoff */

static void test_backoff(void)
{
    for (int attempt = 1; attempt <= 8; attempt++) {
        int64_t ceiling_us = SECOND / 10 << (attempt - 1), sum_us = 0, largest_us = 0, smallest_us = INT64_MAX;
        if (ceiling_us > 8 * SECOND)
            ceiling_us = 8 * SECOND;
        for (int i = 0; i < 20000; i++) {
            int64_t us = backoff_us(&tokens, attempt, SECOND / 10, 8 * SECOND);
            largest_us = us > largest_us ? us : largest_us;
            smallest_us = us < smallest_us ? us : smallest_us;
            sum_us += us;
        }
        CHECK(smallest_us >= 0 && smallest_us < ceiling_us / 100 && largest_us <= ceiling_us && largest_us > ceiling_us * 99 / 100);
        CHECK(llabs(sum_us / 20000 - ceiling_us / 2) < ceiling_us / 50); /* nine times its standard deviation */
    }
    CHECK(backoff_us(&tokens, 1, 0, SECOND) == 0 && backoff_us(&tokens, INT64_MAX, 0, SECOND) == 0);
    CHECK(backoff_us(&tokens, INT64_MAX, 1, INT64_MAX / 8) <= INT64_MAX / 8);
    CHECK(backoff_us(&tokens, 1, 5 * SECOND, SECOND) <= SECOND);
    CHECK(backoff_us(NULL, 3, SECOND, SECOND) <= SECOND);
}

/* The retry budget: a tenth of the requests, or three under way. */
static void test_budget(void)
{
    struct budget b = {.under_way = 0};
    for (int i = 0; i < FAILOVER_RETRIES_FREE; i++)
        CHECK(budget_begin(&b, SECOND));
    CHECK(!budget_begin(&b, SECOND));
    budget_end(&b);
    CHECK(budget_begin(&b, SECOND) && !budget_begin(&b, SECOND));
    for (int i = 0; i < 100; i++)
        budget_request(&b, 2 * SECOND);
    int allowed = 0;
    while (budget_begin(&b, 2 * SECOND))
        allowed++;
    CHECK(allowed == 10 - FAILOVER_RETRIES_FREE - 1); /* four have been made before */
    CHECK(!budget_begin(&b, 10 * SECOND));
    for (int i = 0; i < 10; i++)
        budget_request(&b, 12 * SECOND); /* the old requests count no more, nor do their retries */
    CHECK(budget_begin(&b, 12 * SECOND) && !budget_begin(&b, 12 * SECOND));
    for (int i = 0; i < 100; i++)
        budget_end(&b);
    CHECK(b.under_way == 0);
}

/* Histograms: percentiles against sorted values. */

static int64_t draw(int shape)
{
    switch (shape) {
    case 0:
        return below(SECOND);
    case 1:
        return (int64_t)exp((double)below(23000) / 1000); /* 1 us to 2.7 hours */
    case 2:
        return chance(90) ? 20000 + below(1000) : 30 * SECOND + below(SECOND);
    case 3:
        return below(40);
    default:
        return 777777;
    }
}

static bool is_near(int64_t us, int64_t truth_us)
{
    return (double)llabs(us - truth_us) <= 0.05 * (double)truth_us;
}

static void test_latency_shape(int shape, int n)
{
    static int64_t values[10000];
    struct latency l = {.count = 0};
    double sum = 0;
    for (int i = 0; i < n; i++) {
        values[i] = draw(shape);
        sum += (double)values[i];
        latency_add(&l, values[i]);
    }
    qsort(values, (size_t)n, sizeof *values, compare_times);
    struct latency_summary s = latency_summary(&l);
    CHECK(s.count == (uint64_t)n && fabs(s.mean_us - sum / n) < 1 && s.max_us == values[n - 1]);
    CHECK(is_near(s.p50_us, values[(n * 50 + 99) / 100 - 1]));
    CHECK(is_near(s.p95_us, values[(n * 95 + 99) / 100 - 1]));
    CHECK(is_near(s.p99_us, values[(n * 99 + 99) / 100 - 1]));
    latency_fade(&l);
    struct latency_summary faded = latency_summary(&l);
    CHECK(faded.count <= s.count / 2 + 1 && (faded.count == 0 || fabs(faded.mean_us - s.mean_us) < 1));
}

static void test_latency(void)
{
    struct latency l = {.count = 0};
    CHECK(latency_summary(&l).count == 0 && latency_summary(&l).p99_us == 0);
    for (int shape = 0; shape <= 4; shape++)
        for (int n = 1; n <= 10000; n = n * 3 + 1)
            test_latency_shape(shape, n < 10000 ? n : 10000);
    int wrong_values = 0;
    for (int64_t us = 1; us < 5000000; us += 1 + us / 300) { /* every place within a bucket */
        l = (struct latency){.count = 0};
        latency_add(&l, 0);
        latency_add(&l, us);
        latency_add(&l, 100 * us);
        wrong_values += llabs(latency_summary(&l).p50_us - us) > us * 4 / 100;
    }
    CHECK(wrong_values == 0);
    l = (struct latency){.count = 0};
    latency_add(&l, -5);
    latency_add(&l, INT64_MAX);
    CHECK(latency_summary(&l).p50_us == 0 && latency_summary(&l).max_us == INT64_MAX);
}

int main(void)
{
    token_seed(&tokens, 20260102);
    test_breaker_against_model();
    test_breaker_opens();
    test_breaker_doubles();
    test_limiter();
    test_limiter_without_cap();
    test_bucket();
    test_backoff();
    test_budget();
    test_latency();
    return check_report();
}
