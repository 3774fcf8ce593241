/*
 * store.c - hands jobs to the writer and the readers and gets them back. It runs no SQL and takes no locks: all of
 * its state belongs to the loop thread, the queues are the only thing that is shared.
 *
 * Surprising: the store has no free of its own. JOB_CLOSE is the last job of the writer's queue, and its return
 * frees it.
 */
#include "store.h"

#include "../base/mem.h"
#include "writer.h"

struct store {
    struct loop *loop;
    struct catalogue *catalogue;
    char *path;
    struct writer writer;
    struct readers readers;
    struct job *waiting, **waiting_end; /* did not fit into a queue */
    bool is_memory, is_closing, is_joined;
};

static bool push(struct store *s, struct job *job, bool is_forced)
{
    bool is_reading = job->kind == JOB_READ || job->kind == JOB_CHECK || job->kind == JOB_BACKUP;
    return is_reading && !s->is_memory ? readers_push(&s->readers, job, is_forced)
                                       : writer_push(&s->writer, job, is_forced);
}

/* In order: the first that does not fit keeps the others waiting. */
static void push_waiting(struct store *s, bool is_forced)
{
    while (s->waiting) {
        struct job *job = s->waiting, *next = job->next; /* a pushed job is no longer ours */
        if (!push(s, job, is_forced))
            return;
        s->waiting = next;
    }
    s->waiting_end = &s->waiting;
}

static void store_free(struct store *s)
{
    if (!s->is_joined)
        writer_join(&s->writer);
    catalogue_free(s->catalogue);
    mem_free(s->path);
    mem_free(s);
}

static void on_job_done(struct loop_call *call)
{
    struct job *job = CONTAINER_OF(call, struct job, done);
    struct store *s = job->store;
    loop_unref(s->loop);
    job->is_submitted = false;
    if (job->kind == JOB_CLOSE)
        store_free(s);
    else
        push_waiting(s, false);
    if (job->on_done)
        job->on_done(job, job->user);
    else
        job_free(job);
}

enum err store_new(struct store **out, struct loop *loop, const struct store_options *options, struct err_info *info)
{
    struct store *s = mem_zero(1, sizeof *s);
    s->loop = loop;
    s->waiting_end = &s->waiting;
    s->is_memory = sqlite_is_memory(options->path);
    enum err e = catalogue_new(&s->catalogue, options->files, options->file_count, info);
    if (e) {
        mem_free(s);
        return e;
    }
    s->path = mem_str(options->path);
    const struct sqlite_options o = {s->path, s->catalogue, options->busy_ms, options->is_read_only};
    readers_init(&s->readers, &o, loop);
    e = writer_start(&s->writer, &o, &s->readers, loop, info);
    if (e) {
        readers_stop(&s->readers);
        s->is_joined = true;
        store_free(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

const struct catalogue *store_catalogue(const struct store *s)
{
    return s->catalogue;
}

const char *store_path(const struct store *s)
{
    return s->path;
}

const char *store_library(void)
{
    return sqlite_library();
}

struct store_stats store_stats(struct store *s)
{
    struct writer *w = &s->writer;
    return (struct store_stats){atomic_load(&w->transactions), atomic_load(&w->batches), atomic_load(&w->checkpoints)};
}

static void submit(struct store *s, struct job *job)
{
    ASSERT(!job->is_submitted);
    job->store = s;
    job->done.run = on_job_done;
    job->is_submitted = true;
    loop_ref(s->loop);
    if (!s->waiting && push(s, job, job->kind == JOB_CLOSE))
        return;
    job->next = NULL;
    *s->waiting_end = job;
    s->waiting_end = &job->next;
}

void store_submit(struct store *s, struct job *job)
{
    ASSERT(!s->is_closing);
    submit(s, job);
}

void store_close(struct store *s, struct job *job)
{
    ASSERT(!s->is_closing);
    s->is_closing = true;
    push_waiting(s, true);
    submit(s, job ? job : job_new(JOB_CLOSE));
}

void store_join(struct store *s)
{
    ASSERT(s->is_closing && !s->is_joined);
    writer_join(&s->writer);
    s->is_joined = true;
}
