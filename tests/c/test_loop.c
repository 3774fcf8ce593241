/*
 * test_loop.c - timers in order, stopped and started again inside callbacks; timers of 0 ms and sockets; calls posted
 * from threads; what keeps the loop alive; handles that were forgotten.
 */
#include "base/clock.h"
#include "check.h"
#include "io/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#define TIMERS 300
#define THREADS 4
#define CALLS 500

/* Time that stands still until a test moves it. */
static int64_t frozen_us(struct clock *c)
{
    UNUSED(c);
    return 1000000;
}

static struct clock *frozen(void)
{
    static struct clock c;
    c = (struct clock){.mono_us = frozen_us, .wall_us = frozen_us};
    return &c;
}

static struct loop *open_loop(struct clock *c)
{
    struct loop *l;
    struct err_info info;
    if (loop_open(&l, c, &info) != ERR_OK)
        abort();
    return l;
}

/* Timers */

struct alarm {
    struct loop_timer timer;
    struct loop *loop;
    int number, again; /* how often it starts itself again */
    struct alarm *other; /* what it stops, and frees */
};

static int rung[2 * TIMERS], rung_n;

static void on_alarm(struct loop_timer *timer)
{
    struct alarm *a = CONTAINER_OF(timer, struct alarm, timer);
    CHECK(!loop_timer_is_on(timer));
    if (rung_n < 2 * TIMERS)
        rung[rung_n++] = a->number;
    if (a->again-- > 0)
        loop_timer_start(a->loop, &a->timer, 0, on_alarm);
    if (a->other) {
        loop_timer_stop(a->loop, &a->other->timer);
        free(a->other);
        a->other = NULL;
    }
}

static bool rang(int n, const int *numbers)
{
    bool same = n == rung_n;
    for (int i = 0; i < n && same; i++)
        same = rung[i] == numbers[i];
    rung_n = 0;
    return same;
}

static void test_order(void)
{
    struct clock *c = frozen();
    struct loop *l = open_loop(c);
    struct alarm alarms[TIMERS] = {0};
    unsigned random = 12345;
    for (int i = 0; i < TIMERS; i++) { /* each delay several times; the number says delay first, start second */
        random = random * 1103515245 + 12345;
        int delay_ms = (int)(random >> 16) % 50 + 1;
        alarms[i] = (struct alarm){.loop = l, .number = delay_ms * TIMERS + i};
        loop_timer_start(l, &alarms[i].timer, delay_ms, on_alarm);
    }
    for (int i = 0; i < TIMERS; i += 3)
        loop_timer_stop(l, &alarms[i].timer);
    loop_timer_stop(l, &alarms[0].timer); /* twice is harmless */
    c->offset_us += 25000;
    loop_step(l, LOOP_NOWAIT);
    int half = rung_n;
    c->offset_us += 25000;
    loop_step(l, LOOP_NOWAIT);
    CHECK(half > 0 && half < rung_n && rung_n == TIMERS - TIMERS / 3);
    for (int i = 1; i < rung_n; i++)
        CHECK(rung[i - 1] < rung[i]); /* by time; those of the same moment as they were started */
    CHECK(rung[half - 1] / TIMERS <= 25 && rung[half] / TIMERS > 25);
    rung_n = 0;
    CHECK(!loop_is_alive(l));
    CHECK(loop_close(l) == 0);
}

static void test_callbacks(void)
{
    struct clock *c = frozen();
    struct loop *l = open_loop(c);
    struct alarm *victim = calloc(1, sizeof *victim);
    struct alarm first = {.loop = l, .number = 1, .other = victim}, second = {.loop = l, .number = 2, .again = 2};
    *victim = (struct alarm){.loop = l, .number = 3};
    loop_timer_start(l, &first.timer, 5, on_alarm);
    loop_timer_start(l, &victim->timer, 5, on_alarm); /* due in the same step, but stopped by the first */
    loop_timer_start(l, &second.timer, 5, on_alarm);
    loop_timer_start(l, &second.timer, 0, on_alarm); /* started again: moved */
    loop_step(l, LOOP_NOWAIT);
    CHECK(rang(2, (int[]){2, 2})); /* before and after the poll, never twice in one go */
    c->offset_us += 5000;
    loop_step(l, LOOP_NOWAIT);
    CHECK(rang(2, (int[]){2, 1}));
    CHECK(!loop_is_alive(l));
    struct alarm far = {.loop = l};
    loop_timer_start(l, &far.timer, INT64_MAX, on_alarm);
    CHECK(loop_is_alive(l));
    loop_step(l, LOOP_NOWAIT);
    CHECK(rang(0, NULL));
    loop_timer_stop(l, &far.timer);
    CHECK(loop_close(l) == 0);
}

/* A timer of 0 ms that always starts itself again, beside a pipe */

struct reader {
    uv_poll_t poll;
    int seen;
};

static void on_pipe(uv_poll_t *poll, int status, int events)
{
    ((struct reader *)poll)->seen += status == 0 && (events & UV_READABLE);
}

static void test_starvation(void)
{
    struct loop *l = open_loop(clock_system());
    struct alarm alarm = {.loop = l, .again = 1 << 30};
    struct reader reader = {.seen = 0};
    int ends[2];
    CHECK(pipe(ends) == 0 && write(ends[1], "x", 1) == 1);
    uv_poll_init(loop_uv(l), &reader.poll, ends[0]);
    uv_poll_start(&reader.poll, UV_READABLE, on_pipe);
    CHECK(loop_handles(l) == 1);
    loop_timer_start(l, &alarm.timer, 0, on_alarm);
    for (int i = 0; i < 10; i++)
        loop_step(l, LOOP_WAIT);
    CHECK(reader.seen >= 9 && loop_timer_is_on(&alarm.timer));
    loop_timer_stop(l, &alarm.timer);
    uv_close((uv_handle_t *)&reader.poll, NULL);
    CHECK(loop_handles(l) == 0 && loop_close(l) == 0);
    close(ends[0]);
    close(ends[1]);
    rung_n = 0;
}

/* Waiting takes as long as the next timer, not longer and not shorter. */
static void test_waiting(void)
{
    struct clock *c = clock_system();
    struct loop *l = open_loop(c);
    struct alarm alarm = {.loop = l, .number = 7};
    int64_t before_us = clock_mono_us(c);
    loop_timer_start(l, &alarm.timer, 20, on_alarm);
    for (int i = 0; i < 100 && !rung_n; i++)
        loop_step(l, LOOP_WAIT);
    CHECK(rang(1, (int[]){7}) && clock_mono_us(c) - before_us >= 20000);
    CHECK(loop_close(l) == 0);
}

/* Posted calls */

struct post {
    struct loop_call call;
    int thread, number;
};

static struct loop *posted_loop;
static int posted_next[THREADS], posted_n, posted_wrong;

static void on_post(struct loop_call *call)
{
    struct post *p = CONTAINER_OF(call, struct post, call);
    posted_wrong += p->number != posted_next[p->thread]++;
    posted_n++;
    loop_unref(posted_loop);
    free(p);
}

static void *post_many(void *user)
{
    for (int i = 0; i < CALLS; i++) {
        struct post *p = malloc(sizeof *p);
        *p = (struct post){.call.run = on_post, .thread = (int)(size_t)user, .number = i};
        loop_post(posted_loop, &p->call);
    }
    return NULL;
}

static void test_posts(void)
{
    struct loop *l = posted_loop = open_loop(clock_system());
    pthread_t threads[THREADS];
    CHECK(!loop_is_alive(l));
    for (int i = 0; i < THREADS * CALLS; i++)
        loop_ref(l);
    CHECK(loop_is_alive(l));
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, post_many, (void *)i) == 0);
    while (loop_is_alive(l))
        loop_step(l, LOOP_WAIT);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK(posted_n == THREADS * CALLS && posted_wrong == 0);
    loop_ref(l);
    post_many((void *)0); /* not run by any step: by loop_close, before anything is freed */
    for (int i = 0; i < CALLS - 1; i++)
        loop_ref(l);
    posted_next[0] = 0;
    CHECK(loop_close(l) == 0 && posted_n == (THREADS + 1) * CALLS && posted_wrong == 0);
}

/* Signals and handles */

static void on_signal(void *user, int signum)
{
    *(int *)user = signum;
}

static void test_signals(void)
{
    struct loop *l = open_loop(clock_system());
    int seen = 0;
    loop_on_signal(l, on_signal, &seen);
    CHECK(!loop_is_alive(l) && loop_handles(l) == 0); /* they keep nothing alive */
    raise(SIGHUP);
    loop_step(l, LOOP_NOWAIT);
    CHECK(seen == SIGHUP);
    CHECK(loop_close(l) == 0);
}

static void test_forgotten(void)
{
    static uv_idle_t idle[2]; /* the loop is left to the process: it still knows them */
    struct loop *l = open_loop(clock_system());
    uv_idle_init(loop_uv(l), &idle[0]);
    uv_idle_init(loop_uv(l), &idle[1]);
    CHECK(loop_handles(l) == 2);
    uv_close((uv_handle_t *)&idle[0], NULL);
    CHECK(loop_handles(l) == 1);
    CHECK(loop_close(l) == 1);
}

int main(void)
{
    test_order();
    test_callbacks();
    test_starvation();
    test_waiting();
    test_posts();
    test_signals();
    test_forgotten();
    return check_report();
}
