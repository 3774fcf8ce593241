/*
 * job.h - one piece of work for the store's threads, with everything that comes back: a batch of writes, a query,
 * opening, closing. A job owns its memory (parameters in, rows out) and is freed as a whole.
 *
 * Ownership passes with the job: its maker fills it; store_submit hands it to the store; on_done hands it back. In
 * between nobody but the thread that runs it may touch it. No locks in here.
 */
#ifndef PERILUNE_STORE_JOB_H
#define PERILUNE_STORE_JOB_H

#include "../base/buf.h"
#include "../io/loop.h"
#include "catalogue.h"

enum value_type { VALUE_NULL, VALUE_INTEGER, VALUE_REAL, VALUE_TEXT };

struct value {
    enum value_type type;
    union {
        int64_t integer;
        double real;
        struct slice text;
    } as;
};

struct job_row {
    struct job_row *next;
    struct value *values; /* column_count of them */
};

#define JOB_ANY INT64_MIN /* any number of rows will do */

struct job_call {                      /* one statement of a job, and its result */
    const struct statement *statement; /* NULL: rows of many statements (JOB_CHECK) */
    int64_t expect;                    /* rows it must change (a query: return), or JOB_ANY */
    struct value params[STORE_PARAMS_MAX];
    int64_t changes; /* rows changed; of a query: returned */
    size_t column_count, row_count;
    const char **columns;
    struct job_row *rows, **rows_end;
};

enum job_kind {
    JOB_OPEN,   /* always the first */
    JOB_WRITE,  /* all calls in one transaction, or none */
    JOB_READ,   /* one call that changes nothing */
    JOB_CHECK,  /* no call -> one call with a row {problem} for each thing that is wrong */
    JOB_BACKUP, /* `path` names the copy */
    JOB_CLOSE,  /* always the last */
};

enum job_blame { JOB_BLAME_NONE, JOB_BLAME_CALL, JOB_BLAME_EXPECTATION }; /* what failed: see failed_call */

struct store;
struct job_chunk;

struct job {
    enum job_kind kind;
    struct job_call **calls;
    size_t call_count, call_cap;
    const char *path;
    struct err_info error; /* code is ERR_OK when all went well */
    enum job_blame blame;
    size_t failed_call;
    bool is_relaxed; /* JOB_WRITE: it may be lost in a power cut, but not in the middle of what is written later */
    /* Runs on the loop thread when the job is done; NULL: nobody waits, the store frees the job. */
    void (*on_done)(struct job *job, void *user);
    void *user;
    /* The store's own. */
    struct store *store;
    struct job *next;
    struct loop_call done;
    bool is_submitted;
    struct job_chunk *chunks;
    size_t bytes;
};

struct job *job_new(enum job_kind kind);
/* Frees the job, or, while the store has it, only forgets its on_done: the work goes on, nobody hears of it. Loop
 * thread only. NULL is fine. */
void job_free(struct job *job);

/* Memory that lives as long as the job; NULL when it would hold more than STORE_JOB_BYTES_MAX. */
void *job_alloc(struct job *job, size_t bytes);
/* A copy with a NUL behind it, in *out. */
MUST_CHECK enum err job_copy(struct job *job, struct slice text, struct slice *out);

/* Adds a call whose parameters are all NULL; NULL above STORE_CALLS_MAX. Valid as long as the job. */
struct job_call *job_add(struct job *job, const struct statement *statement);
/* Sets a parameter; text is copied. */
MUST_CHECK enum err job_bind(struct job *job, struct job_call *call, size_t param, struct value value);

/* The result: columns once (the names are copied), then rows with values to be filled. NULL at a limit. */
MUST_CHECK enum err job_columns(struct job *job, struct job_call *call, const char *const names[], size_t count);
struct job_row *job_add_row(struct job *job, struct job_call *call);

#endif
