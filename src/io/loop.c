/*
 * loop.c - the libuv loop. All timers of the host live in one binary heap under a single uv_timer: a
 * streamed request re-arms three deadlines per chunk, and a heap entry costs no system call. That one
 * timer is never armed with 0 ms (libuv 1.44 then never reaches epoll); due timers run before and after
 * the poll instead.
 */
#include "loop.h"

#include "../base/mem.h"

#include <pthread.h>
#include <uv.h>

#define LOOP_SIGNALS 3

struct loop {
    uv_loop_t uv;
    uv_timer_t timer;
    uv_async_t async;
    uv_signal_t signals[LOOP_SIGNALS];
    struct clock *clock;
    struct loop_timer **heap; /* 1-based */
    size_t heap_n, heap_cap;
    uint64_t starts; /* of timers, ever */
    pthread_mutex_t lock; /* guards the posted list */
    struct loop_call *posted_first, **posted_last;
    int refs;
    int own_handles;
    bool has_signals;
    void (*on_signal)(void *user, int signum);
    void *on_signal_user;
};

/* The heap of timers */

static bool is_before(const struct loop_timer *a, const struct loop_timer *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_put(struct loop *l, size_t i, struct loop_timer *t)
{
    l->heap[i] = t;
    t->heap_index = i;
}

static void sift_up(struct loop *l, size_t i, struct loop_timer *t)
{
    for (; i > 1 && is_before(t, l->heap[i / 2]); i /= 2)
        heap_put(l, i, l->heap[i / 2]);
    heap_put(l, i, t);
}

static void sift_down(struct loop *l, size_t i, struct loop_timer *t)
{
    for (;;) {
        size_t child = i * 2;
        if (child > l->heap_n)
            break;
        if (child < l->heap_n && is_before(l->heap[child + 1], l->heap[child]))
            child++;
        if (!is_before(l->heap[child], t))
            break;
        heap_put(l, i, l->heap[child]);
        i = child;
    }
    heap_put(l, i, t);
}

void loop_timer_stop(struct loop *l, struct loop_timer *t)
{
    size_t i = t->heap_index;
    if (!i)
        return;
    struct loop_timer *last = l->heap[l->heap_n--];
    t->heap_index = 0;
    if (last == t)
        return;
    if (i > 1 && is_before(last, l->heap[i / 2]))
        sift_up(l, i, last);
    else
        sift_down(l, i, last);
}

void loop_timer_start(struct loop *l, struct loop_timer *t, int64_t delay_ms, void (*on_timer)(struct loop_timer *t))
{
    loop_timer_stop(l, t);
    if (l->heap_n + 2 > l->heap_cap) {
        l->heap_cap = l->heap_cap ? l->heap_cap * 2 : 64;
        l->heap = mem_resize(l->heap, l->heap_cap * sizeof *l->heap);
    }
    if (delay_ms < 0)
        delay_ms = 0;
    if (delay_ms > INT64_MAX / 4000)
        delay_ms = INT64_MAX / 4000;
    t->at_us = clock_mono_us(l->clock) + delay_ms * 1000;
    t->order = l->starts++;
    t->on_timer = on_timer;
    sift_up(l, ++l->heap_n, t);
}

/* Runs the timers that were due when it began; one that re-arms itself for now waits for the next step. */
static bool run_due_timers(struct loop *l)
{
    struct loop_timer begin = {.at_us = clock_mono_us(l->clock), .order = l->starts};
    bool has_run = false;
    for (; l->heap_n && is_before(l->heap[1], &begin); has_run = true) {
        struct loop_timer *t = l->heap[1];
        loop_timer_stop(l, t);
        t->on_timer(t);
    }
    return has_run;
}

/* libuv callbacks */

/*
 * It only ends the poll; run_due_timers does the work. When the process is held up it fires before the poll begins, which
 * would then have no end: so it stays armed until the step is over.
 */
static void on_uv_timer(uv_timer_t *timer)
{
    uv_timer_start(timer, on_uv_timer, 1, 0);
}

static void run_posted(struct loop *l)
{
    pthread_mutex_lock(&l->lock);
    struct loop_call *c = l->posted_first;
    l->posted_first = NULL;
    l->posted_last = &l->posted_first;
    pthread_mutex_unlock(&l->lock);
    while (c) {
        struct loop_call *next = c->next;
        c->run(c);
        c = next;
    }
}

static void on_async(uv_async_t *async)
{
    run_posted(async->data);
}

static void on_uv_signal(uv_signal_t *handle, int signum)
{
    struct loop *l = handle->data;
    l->on_signal(l->on_signal_user, signum);
}

/* Public */

enum err loop_open(struct loop **out, struct clock *clock, struct err_info *info)
{
    struct loop *l = mem_zero(1, sizeof *l);
    l->clock = clock;
    l->posted_last = &l->posted_first;
    int rc = uv_loop_init(&l->uv);
    if (rc) {
        mem_free(l);
        return err_os(info, ERR_IO, -rc, "cannot create the event loop");
    }
    pthread_mutex_init(&l->lock, NULL);
    rc = uv_async_init(&l->uv, &l->async, on_async);
    ASSERT(rc == 0);
    rc = uv_timer_init(&l->uv, &l->timer);
    ASSERT(rc == 0);
    l->async.data = l;
    uv_unref((uv_handle_t *)&l->async);
    l->own_handles = 2;
    *out = l;
    return ERR_OK;
}

static void count_open(uv_handle_t *handle, void *count)
{
    if (!uv_is_closing(handle))
        ++*(int *)count;
}

int loop_handles(struct loop *l)
{
    int count = 0;
    uv_walk(&l->uv, count_open, &count);
    return count - l->own_handles;
}

int loop_close(struct loop *l)
{
    int left = loop_handles(l);
    run_posted(l);
    uv_close((uv_handle_t *)&l->timer, NULL);
    uv_close((uv_handle_t *)&l->async, NULL);
    for (int i = 0; l->has_signals && i < LOOP_SIGNALS; i++)
        uv_close((uv_handle_t *)&l->signals[i], NULL);
    if (left == 0) {
        uv_run(&l->uv, UV_RUN_DEFAULT);
        int rc = uv_loop_close(&l->uv);
        ASSERT(rc == 0);
    } else {
        uv_run(&l->uv, UV_RUN_NOWAIT); /* somebody forgot a handle: leave the loop to the exiting process */
    }
    pthread_mutex_destroy(&l->lock);
    mem_free(l->heap);
    if (left == 0)
        mem_free(l);
    return left;
}

void loop_step(struct loop *l, enum loop_mode mode)
{
    if (run_due_timers(l))
        mode = LOOP_NOWAIT; /* somebody may have work now */
    if (mode == LOOP_WAIT && l->heap_n) {
        int64_t wait_us = l->heap[1]->at_us - clock_mono_us(l->clock);
        uv_update_time(&l->uv);
        uv_timer_start(&l->timer, on_uv_timer, wait_us <= 1000 ? 1 : (uint64_t)((wait_us + 999) / 1000), 0);
    }
    if (!uv_loop_alive(&l->uv))
        uv_timer_start(&l->timer, on_uv_timer, 1, 0); /* without an active handle libuv looks at nothing, signals included */
    uv_run(&l->uv, mode == LOOP_WAIT ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    uv_timer_stop(&l->timer);
    run_due_timers(l);
}

bool loop_is_alive(struct loop *l)
{
    return l->heap_n > 0 || uv_loop_alive(&l->uv);
}

uv_loop_t *loop_uv(struct loop *l)
{
    return &l->uv;
}

struct clock *loop_clock(struct loop *l)
{
    return l->clock;
}

void loop_post(struct loop *l, struct loop_call *c)
{
    c->next = NULL;
    pthread_mutex_lock(&l->lock);
    *l->posted_last = c;
    l->posted_last = &c->next;
    uv_async_send(&l->async); /* inside the lock: the loop cannot be closed between the two */
    pthread_mutex_unlock(&l->lock);
}

void loop_ref(struct loop *l)
{
    if (l->refs++ == 0)
        uv_ref((uv_handle_t *)&l->async);
}

void loop_unref(struct loop *l)
{
    ASSERT(l->refs > 0);
    if (--l->refs == 0)
        uv_unref((uv_handle_t *)&l->async);
}

void loop_on_signal(struct loop *l, void (*on_signal)(void *user, int signum), void *user)
{
    static const int numbers[LOOP_SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
    ASSERT(!l->has_signals);
    l->has_signals = true;
    l->on_signal = on_signal;
    l->on_signal_user = user;
    for (int i = 0; i < LOOP_SIGNALS; i++) {
        uv_signal_init(&l->uv, &l->signals[i]);
        l->signals[i].data = l;
        uv_unref((uv_handle_t *)&l->signals[i]);
        uv_signal_start(&l->signals[i], on_uv_signal, numbers[i]);
    }
    l->own_handles += LOOP_SIGNALS;
}
