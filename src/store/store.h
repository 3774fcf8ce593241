/*
 * store.h - the database as the loop thread sees it: submit a job, hear when it is done.
 *
 * Writes go to one thread as batches that commit or fail as a whole; batches that wait together share one
 * transaction. A write is done when it is on the disk. Reads run on other threads and see everything that was done
 * before they were submitted. Loop thread only.
 */
#ifndef PERILUNE_STORE_H
#define PERILUNE_STORE_H

#include "job.h"

struct store_options {
    const char *path;               /* copied; ":memory:" is a database of its own */
    const struct embed_file *files; /* where db/ is */
    size_t file_count;
    int busy_ms; /* how long another process may hold a lock */
    bool is_read_only;
};

struct store_stats {
    unsigned long long transactions, batches, checkpoints;
};

/* Starts the writer's thread; the first job must be JOB_OPEN, and nothing else until it is done. If it fails, only
 * store_close is left. */
MUST_CHECK enum err store_new(struct store **out, struct loop *loop, const struct store_options *options,
                              struct err_info *info);
const struct catalogue *store_catalogue(const struct store *s);
const char *store_path(const struct store *s);
struct store_stats store_stats(struct store *s);

const char *store_library(void); /* SQLite's version, "3.40.1" */

/* Takes the job until on_done. When STORE_QUEUE_MAX jobs are queued it waits for its turn here. */
void store_submit(struct store *s, struct job *job);

/* Ends with a last job (JOB_CLOSE): what was submitted before is done first. The store is gone when that job's
 * on_done has run; `job` may be NULL. */
void store_close(struct store *s, struct job *job);
/* Blocks until a store that is closing has ended its threads. The on_done of every job still comes from the loop,
 * and frees the store: it may not be used any more. For finalizers, which cannot wait. */
void store_join(struct store *s);

#endif
