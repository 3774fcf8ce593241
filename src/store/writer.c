/*
 * writer.c - group commit. All batches that wait when the writer is free share one transaction, each in a
 * savepoint of its own: a batch that fails fails alone, and one fsync serves them all. No delay is added to gather
 * more; but where both threads share a core the writer does not push aside the one that is just making more.
 *
 * Surprising: after a commit whose fsync failed nobody knows what is on the disk, so the store refuses to write
 * until it is opened again. Reads go on.
 */
#include "writer.h"

#include "schema.h"

#include <sched.h>
#include <string.h>

static void post(struct writer *w, struct job *job)
{
    loop_post(w->loop, &job->done);
}

/* One batch */

static enum err run_calls(struct writer *w, struct job *job)
{
    for (size_t i = 0; i < job->call_count; i++) {
        struct job_call *call = job->calls[i];
        job->failed_call = i;
        enum err e = sqlite_call(w->connection, job, call, &job->error);
        if (e) {
            job->blame = JOB_BLAME_CALL;
            return e;
        }
        if (call->expect != JOB_ANY && call->expect != call->changes) {
            job->blame = JOB_BLAME_EXPECTATION;
            return err_set(&job->error, ERR_DB_CONSTRAINT, "%s: expected %lld rows, got %lld", call->statement->name,
                           (long long)call->expect, (long long)call->changes);
        }
    }
    return ERR_OK;
}

/* The error is the batch's own; what is returned is a failure of the whole transaction. */
static enum err run_batch(struct writer *w, struct job *job, struct err_info *info)
{
    enum err e = sqlite_savepoint(w->connection, info);
    if (e)
        return e;
    e = run_calls(w, job);
    if (e && !sqlite_in_transaction(w->connection)) { /* SQLite itself rolled everything back */
        *info = job->error;
        return e;
    }
    return sqlite_release(w->connection, e != ERR_OK, info);
}

/* Many batches */

static enum err run_transaction(struct writer *w, struct job *jobs[], size_t n, struct err_info *info)
{
    bool is_relaxed = true;
    for (size_t i = 0; i < n; i++)
        is_relaxed &= jobs[i]->is_relaxed;
    enum err e = sqlite_begin(w->connection, is_relaxed, info);
    if (!e)
        e = schema_verify(w->connection, info);
    for (size_t i = 0; !e && i < n; i++)
        e = run_batch(w, jobs[i], info);
    if (!e)
        e = sqlite_commit(w->connection, info);
    if (e && sqlite_is_broken(w->connection)) {
        w->refusal = *info;
        w->refusal.os_errno = 0;
        err_set(&w->refusal, info->code, "%.*s; nothing is written until the database is opened again",
                ERR_TEXT_MAX - 64, info->text);
    }
    sqlite_rollback(w->connection);
    return e;
}

static void run_group(struct writer *w, struct job *jobs[], size_t n)
{
    struct err_info info = w->refusal;
    enum err e = info.code ? info.code : run_transaction(w, jobs, n, &info);
    if (!e) {
        atomic_fetch_add(&w->transactions, 1);
        w->has_log = true;
    }
    for (size_t i = 0; i < n; i++) {
        if (e && !jobs[i]->error.code)
            jobs[i]->error = info;
        if (!jobs[i]->error.code)
            atomic_fetch_add(&w->batches, 1);
        post(w, jobs[i]);
    }
}

/* Everything else */

static void open_database(struct writer *w, struct job *job)
{
    struct err_info info;
    if (schema_open(&w->connection, &w->options, &info) != ERR_OK)
        job->error = w->refusal = info;
}

static void close_all(struct writer *w)
{
    readers_stop(w->readers);
    sqlite_close(w->connection);
    w->connection = NULL;
}

/* False after JOB_CLOSE. */
static bool run_single(struct writer *w, struct job *job)
{
    bool goes_on = true;
    if (job->kind == JOB_OPEN) {
        open_database(w, job);
    } else if (job->kind == JOB_CLOSE) {
        close_all(w);
        goes_on = false;
    } else if (!w->connection) {
        job->error = w->refusal;
    } else {
        reader_run(w->connection, job);
    }
    post(w, job);
    return goes_on;
}

/* Checkpoints cost milliseconds: they wait for an idle moment, unless the log has become long. */
static void checkpoint(struct writer *w)
{
    bool is_whole = sqlite_checkpoint(w->connection);
    atomic_fetch_add(&w->checkpoints, 1);
    w->checkpoint_bytes = (is_whole ? 0 : sqlite_wal_bytes(w->connection)) + STORE_WAL_BYTES;
    w->has_log = false;
}

static bool run_jobs(struct writer *w, struct job *jobs[], size_t n)
{
    bool goes_on = true;
    for (size_t i = 0; i < n;) {
        size_t batches = 0;
        while (i + batches < n && jobs[i + batches]->kind == JOB_WRITE)
            batches++;
        if (batches)
            run_group(w, jobs + i, batches);
        else
            goes_on = run_single(w, jobs[i]);
        i += batches ? batches : 1;
    }
    return goes_on;
}

/* A batch thread waits for its turn when it is woken. On one core that halves what a batch costs: there are twice as many in a
 * transaction. Where a core is idle it starts at once, as before. Without leave to say so it works too. */
static void yield_to_others(void)
{
    struct sched_param none = {0};
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
}

static void *writer_main(void *user)
{
    struct writer *w = user;
    yield_to_others();
    struct job *jobs[STORE_BATCH_MAX];
    for (;;) {
        size_t n = queue_take(&w->queue, jobs, STORE_BATCH_MAX, w->has_log ? STORE_IDLE_MS : -1);
        if (!run_jobs(w, jobs, n))
            return NULL;
        if (w->has_log && (n == 0 || sqlite_wal_bytes(w->connection) >= w->checkpoint_bytes))
            checkpoint(w);
    }
}

/* Public */

enum err writer_start(struct writer *w, const struct sqlite_options *options, struct readers *readers,
                      struct loop *loop, struct err_info *info)
{
    memset(w, 0, sizeof *w);
    w->options = *options;
    w->readers = readers;
    w->loop = loop;
    w->checkpoint_bytes = STORE_WAL_BYTES;
    w->refusal.code = ERR_OK;
    queue_init(&w->queue);
    int rc = pthread_create(&w->thread, NULL, writer_main, w);
    if (rc == 0)
        return ERR_OK;
    queue_deinit(&w->queue);
    return err_os(info, ERR_IO, rc, "cannot start the database thread");
}

bool writer_push(struct writer *w, struct job *job, bool is_forced)
{
    return queue_push(&w->queue, job, is_forced, NULL);
}

void writer_join(struct writer *w)
{
    pthread_join(w->thread, NULL);
    queue_deinit(&w->queue);
}
