/*
 * queue.h - the bounded first-in, first-out queue between the loop thread and the store's threads. Any thread.
 */
#ifndef PERILUNE_STORE_QUEUE_H
#define PERILUNE_STORE_QUEUE_H

#include <pthread.h>

#include "job.h"

struct queue { /* embedded in whoever owns the threads that take from it */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct job *first, **last;
    size_t count, takers; /* takers: threads that wait for a job */
    bool is_stopped;
};

void queue_init(struct queue *q);
void queue_deinit(struct queue *q); /* empty, and nobody uses it any more */

/* False when STORE_QUEUE_MAX jobs are waiting and it is not forced. `*is_awaited` (may be NULL): will a thread
 * that waits already take it? */
bool queue_push(struct queue *q, struct job *job, bool is_forced, bool *is_awaited);
/* Takes up to `max` jobs and waits for the first: for ever when idle_ms < 0. 0: stopped and empty, or idle that
 * long. */
size_t queue_take(struct queue *q, struct job *jobs[], size_t max, int idle_ms);
/* Whoever waits on an empty queue gets 0 from now on. */
void queue_stop(struct queue *q);

#endif
