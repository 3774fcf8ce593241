/*
 * job.c - the memory of a job: a chain of chunks that only grows and is freed at once, so that a row costs no
 * allocation of its own and every pointer stays where it is. It knows neither SQL nor threads.
 */
#include "job.h"

#include "../base/limits.h"
#include "../base/mem.h"

#include <string.h>

#define CHUNK_BYTES 4096u
#define ALIGNMENT 16u

struct job_chunk {
    struct job_chunk *next;
    size_t used, cap;
};

#define CHUNK_HEAD ((sizeof(struct job_chunk) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT)

struct job *job_new(enum job_kind kind)
{
    struct job *job = mem_zero(1, sizeof *job);
    job->kind = kind;
    return job;
}

void job_free(struct job *job)
{
    if (!job)
        return;
    if (job->is_submitted) {
        job->on_done = NULL;
        return;
    }
    while (job->chunks) {
        struct job_chunk *next = job->chunks->next;
        mem_free(job->chunks);
        job->chunks = next;
    }
    mem_free(job->calls);
    mem_free(job);
}

static void add_chunk(struct job *job, size_t bytes)
{
    size_t cap = job->chunks ? CHUNK_BYTES * 4 : CHUNK_BYTES;
    if (cap < bytes)
        cap = bytes;
    struct job_chunk *chunk = mem_alloc(CHUNK_HEAD + cap);
    *chunk = (struct job_chunk){.next = job->chunks, .cap = cap};
    job->chunks = chunk;
}

void *job_alloc(struct job *job, size_t bytes)
{
    if (bytes > STORE_JOB_BYTES_MAX - job->bytes)
        return NULL;
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (bytes > STORE_JOB_BYTES_MAX - job->bytes)
        return NULL;
    job->bytes += bytes;
    if (!job->chunks || bytes > job->chunks->cap - job->chunks->used)
        add_chunk(job, bytes);
    char *p = (char *)job->chunks + CHUNK_HEAD + job->chunks->used;
    job->chunks->used += bytes;
    return p;
}

enum err job_copy(struct job *job, struct slice text, struct slice *out)
{
    char *p = job_alloc(job, text.n + 1);
    if (!p)
        return ERR_LIMIT;
    if (text.n)
        memcpy(p, text.p, text.n);
    p[text.n] = '\0';
    *out = (struct slice){p, text.n};
    return ERR_OK;
}

struct job_call *job_add(struct job *job, const struct statement *statement)
{
    struct job_call *call = job->call_count < STORE_CALLS_MAX ? job_alloc(job, sizeof *call) : NULL;
    if (!call)
        return NULL;
    if (job->call_count == job->call_cap) {
        job->call_cap = job->call_cap ? job->call_cap * 2 : 4;
        job->calls = mem_resize(job->calls, job->call_cap * sizeof(struct job_call *));
    }
    *call = (struct job_call){.statement = statement, .expect = JOB_ANY};
    call->rows_end = &call->rows;
    job->calls[job->call_count++] = call;
    return call;
}

enum err job_bind(struct job *job, struct job_call *call, size_t param, struct value value)
{
    ASSERT(param < call->statement->param_count);
    if (value.type == VALUE_TEXT && job_copy(job, value.as.text, &value.as.text) != ERR_OK)
        return ERR_LIMIT;
    call->params[param] = value;
    return ERR_OK;
}

enum err job_columns(struct job *job, struct job_call *call, const char *const names[], size_t count)
{
    call->columns = job_alloc(job, count * sizeof(char *));
    if (!call->columns)
        return ERR_LIMIT;
    for (size_t i = 0; i < count; i++) {
        struct slice name;
        if (job_copy(job, (struct slice){names[i], strlen(names[i])}, &name) != ERR_OK)
            return ERR_LIMIT;
        call->columns[i] = name.p;
    }
    call->column_count = count;
    return ERR_OK;
}

struct job_row *job_add_row(struct job *job, struct job_call *call)
{
    if (call->row_count >= STORE_ROWS_MAX)
        return NULL;
    struct job_row *row = job_alloc(job, sizeof *row);
    struct value *values = row ? job_alloc(job, call->column_count * sizeof *values) : NULL;
    if (!values)
        return NULL;
    *row = (struct job_row){.values = values};
    *call->rows_end = row;
    call->rows_end = &row->next;
    call->row_count++;
    return row;
}
