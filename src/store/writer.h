/*
 * writer.h - the one thread that writes. It owns the writing connection from the first job (JOB_OPEN) to the last
 * (JOB_CLOSE).
 */
#ifndef PERILUNE_STORE_WRITER_H
#define PERILUNE_STORE_WRITER_H

#include "reader.h"

#include <stdatomic.h>

struct writer { /* embedded in the store */
    struct queue queue;
    struct sqlite_options options;
    struct loop *loop;
    struct readers *readers; /* ended by JOB_CLOSE, so that the writer's connection is the last */
    pthread_t thread;
    atomic_ullong transactions, batches, checkpoints;
    /* The thread's own. */
    struct sqlite *connection;
    struct err_info refusal; /* why nothing is written any more; ERR_OK: it is */
    size_t checkpoint_bytes; /* the size of the log at which the next checkpoint does not wait for an idle moment */
    bool has_log;            /* commits since the last checkpoint */
};

MUST_CHECK enum err writer_start(struct writer *w, const struct sqlite_options *options, struct readers *readers,
                                 struct loop *loop, struct err_info *info);
/* False: the queue is full. */
bool writer_push(struct writer *w, struct job *job, bool is_forced);
/* Waits for the end of the thread, which comes after JOB_CLOSE. */
void writer_join(struct writer *w);

#endif
