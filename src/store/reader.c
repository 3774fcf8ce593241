/*
 * reader.c - what a reading thread does. Threads start when they are first needed, and open their connection with
 * their first job: a script that only writes pays for none.
 */
#include "reader.h"

#include "backup.h"

#include <string.h>

/* Jobs that change nothing */

static void run_calls(struct sqlite *c, struct job *job)
{
    for (size_t i = 0; i < job->call_count; i++) {
        if (sqlite_call(c, job, job->calls[i], &job->error) != ERR_OK) {
            job->blame = JOB_BLAME_CALL;
            job->failed_call = i;
            return;
        }
    }
}

/* Damage found by a check is a finding, not a failure of the check. */
static enum err add_problem(struct job *job, struct job_call *call, const char *text)
{
    static const char *const columns[] = {"problem"};
    enum err e = call->columns ? ERR_OK : job_columns(job, call, columns, 1);
    struct job_row *row = e ? NULL : job_add_row(job, call);
    if (!row)
        return ERR_LIMIT;
    row->values[0].type = VALUE_TEXT;
    return job_copy(job, (struct slice){text, strlen(text)}, &row->values[0].as.text);
}

/* Every statement called check_*, in one transaction: they see one state. */
static enum err check(struct sqlite *c, struct job *job, struct err_info *info)
{
    const struct catalogue *catalogue = sqlite_options(c)->catalogue;
    struct job_call *call = job_add(job, NULL);
    enum err e = call ? sqlite_begin_read(c, info) : ERR_LIMIT;
    for (size_t i = 0; !e && i < catalogue_count(catalogue); i++) {
        call->statement = catalogue_at(catalogue, i);
        if (strncmp(call->statement->name, "check_", 6) != 0)
            continue;
        e = sqlite_call(c, job, call, info);
        if (e == ERR_DB_CORRUPT)
            e = add_problem(job, call, info->text);
    }
    sqlite_rollback(c);
    return e;
}

void reader_run(struct sqlite *c, struct job *job)
{
    struct err_info info = {.code = ERR_OK};
    if (job->kind == JOB_READ) {
        run_calls(c, job);
        return;
    }
    enum err e = job->kind == JOB_CHECK ? check(c, job, &info) : backup_write(c, job->path, &info);
    if (e)
        job->error = info;
}

/* Threads */

static void *reader_main(void *user)
{
    struct readers *r = user;
    struct sqlite *c = NULL;
    struct job *job;
    while (queue_take(&r->queue, &job, 1, -1)) {
        if (c || sqlite_open(&c, &r->options, &job->error) == ERR_OK)
            reader_run(c, job);
        loop_post(r->loop, &job->done);
    }
    sqlite_close(c);
    return NULL;
}

void readers_init(struct readers *r, const struct sqlite_options *options, struct loop *loop)
{
    *r = (struct readers){.options = *options, .loop = loop};
    r->options.is_read_only = true;
    queue_init(&r->queue);
}

bool readers_push(struct readers *r, struct job *job, bool is_forced)
{
    bool is_awaited = false;
    if (!queue_push(&r->queue, job, is_forced, &is_awaited))
        return false;
    if (is_awaited || r->thread_count == STORE_READERS)
        return true;
    int rc = pthread_create(&r->threads[r->thread_count], NULL, reader_main, r);
    ASSERT(rc == 0 || r->thread_count > 0);
    if (rc == 0)
        r->thread_count++;
    return true;
}

void readers_stop(struct readers *r)
{
    queue_stop(&r->queue);
    for (size_t i = 0; i < r->thread_count; i++)
        pthread_join(r->threads[i], NULL);
    queue_deinit(&r->queue);
}
