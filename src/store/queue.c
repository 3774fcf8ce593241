/*
 * queue.c - a mutex, a condition and a list. Taking everything that is there is what makes group commit: no delay
 * is ever added to gather more.
 */
#include "queue.h"

#include <errno.h>
#include <time.h>

void queue_init(struct queue *q)
{
    *q = (struct queue){.last = &q->first};
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&q->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&q->lock, NULL);
}

void queue_deinit(struct queue *q)
{
    ASSERT(!q->first);
    pthread_cond_destroy(&q->wake);
    pthread_mutex_destroy(&q->lock);
}

bool queue_push(struct queue *q, struct job *job, bool is_forced, bool *is_awaited)
{
    pthread_mutex_lock(&q->lock);
    bool fits = is_forced || q->count < STORE_QUEUE_MAX;
    if (fits) {
        job->next = NULL;
        *q->last = job;
        q->last = &job->next;
        q->count++;
        pthread_cond_signal(&q->wake);
    }
    if (is_awaited)
        *is_awaited = q->takers >= q->count;
    pthread_mutex_unlock(&q->lock);
    return fits;
}

static struct timespec after_ms(int ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += ms % 1000 * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000L;
    }
    return at;
}

/* Waits for a job, for the end, or for the idle moment. */
static void wait_for_job(struct queue *q, int idle_ms)
{
    struct timespec at = after_ms(idle_ms < 0 ? 0 : idle_ms);
    int rc = 0;
    q->takers++;
    while (!q->first && !q->is_stopped && rc != ETIMEDOUT)
        rc = idle_ms < 0 ? pthread_cond_wait(&q->wake, &q->lock) : pthread_cond_timedwait(&q->wake, &q->lock, &at);
    q->takers--;
}

size_t queue_take(struct queue *q, struct job *jobs[], size_t max, int idle_ms)
{
    size_t n = 0;
    pthread_mutex_lock(&q->lock);
    wait_for_job(q, idle_ms);
    for (; q->first && n < max; n++) {
        jobs[n] = q->first;
        q->first = q->first->next;
    }
    if (!q->first)
        q->last = &q->first;
    q->count -= n;
    pthread_mutex_unlock(&q->lock);
    return n;
}

void queue_stop(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->is_stopped = true;
    pthread_cond_broadcast(&q->wake);
    pthread_mutex_unlock(&q->lock);
}
