/*
 * reader.h - threads with read-only connections of their own. In WAL mode they never wait behind a commit.
 */
#ifndef PERILUNE_STORE_READER_H
#define PERILUNE_STORE_READER_H

#include "queue.h"
#include "sqlite.h"

struct readers { /* embedded in the store */
    struct queue queue;
    struct sqlite_options options; /* is_read_only */
    struct loop *loop;
    pthread_t threads[STORE_READERS];
    size_t thread_count;
};

void readers_init(struct readers *r, const struct sqlite_options *options, struct loop *loop);
/* Loop thread. Starts a thread when all are busy and there may be more. False: the queue is full. */
bool readers_push(struct readers *r, struct job *job, bool is_forced);
/* Any one thread, after the last push: does what is queued, ends the threads, closes the connections. */
void readers_stop(struct readers *r);

/* Runs a job that changes nothing (JOB_READ, JOB_CHECK, JOB_BACKUP) and leaves the outcome in it. */
void reader_run(struct sqlite *c, struct job *job);

#endif
