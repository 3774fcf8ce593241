/*
 * store_kit.h - what the tests of the store share: a folder, a loop, jobs that are waited for, and connections of
 * somebody else's. Between kit_begin and kit_end.
 */
#ifndef PERILUNE_STORE_KIT_H
#define PERILUNE_STORE_KIT_H

#include "../../src/base/mem.h"
#include "../../src/store/schema.h"
#include "../../src/store/store.h"
#include "check.h"

#include <fcntl.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char folder[64]; /* everything is written here */
static struct loop *loop;
static struct embed_file *files; /* the embedded ones and test.sql */
static size_t file_count;
static int pending; /* jobs that are not done */

static const char extra_sql[] =
    "-- name: test_count ()\n"
    "SELECT COUNT(*) AS n FROM threads;\n"
    "-- name: test_slow (n)\n"
    "WITH RECURSIVE counter (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM counter WHERE i < $1)\n"
    "SELECT COUNT(*) AS n FROM counter;\n"
    "-- name: test_rows (n)\n"
    "WITH RECURSIVE counter (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM counter WHERE i < $1)\n"
    "SELECT i FROM counter;\n"
    "-- name: test_values (a, b, c, d)\n"
    "SELECT $4 AS d, $2 AS b, $3 AS c, $1 AS a;\n";

static inline void make_files(void)
{
    files = mem_zero(embed_file_count + 1, sizeof *files);
    memcpy(files, embed_files, embed_file_count * sizeof *files);
    files[embed_file_count] = (struct embed_file){"db/queries/test.sql", extra_sql, sizeof extra_sql - 1};
    file_count = embed_file_count + 1;
}

static inline const char *path_of(const char *name)
{
    static char paths[4][128];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    UNUSED(st);
    UNUSED(type);
    UNUSED(ftw);
    return remove(path);
}

static inline int64_t now_ms(void)
{
    return clock_mono_ms(clock_system());
}

static inline void sleep_ms(int ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

static inline struct value text(const char *s)
{
    return (struct value){.type = VALUE_TEXT, .as.text = {s, strlen(s)}};
}

static inline struct value integer(int64_t i)
{
    return (struct value){.type = VALUE_INTEGER, .as.integer = i};
}

static inline void on_done(struct job *job, void *user)
{
    UNUSED(job);
    --*(int *)user;
}

static inline struct job *submit(struct store *s, struct job *job)
{
    job->on_done = on_done;
    job->user = &pending;
    pending++;
    store_submit(s, job);
    return job;
}

static inline void wait_all(void)
{
    while (pending)
        loop_step(loop, LOOP_WAIT);
}

static inline struct job_call *add(struct store *s, struct job *job, const char *name)
{
    const struct statement *statement = catalogue_find(store_catalogue(s), name);
    ASSERT(statement);
    return job_add(job, statement);
}

static inline void set(struct job *job, struct job_call *call, size_t param, struct value v)
{
    enum err e = job_bind(job, call, param, v);
    ASSERT(e == ERR_OK);
}

static inline void add_thread(struct store *s, struct job *job, const char *id, const char *key)
{
    struct job_call *call = add(s, job, "thread_create");
    set(job, call, 0, text(id));
    if (key)
        set(job, call, 1, text(key));
    set(job, call, 4, integer(1));
}

static inline struct job *new_thread(struct store *s, const char *id)
{
    struct job *job = job_new(JOB_WRITE);
    add_thread(s, job, id, NULL);
    return submit(s, job);
}

static inline enum err write_thread(struct store *s, const char *id, struct err_info *info)
{
    struct job *job = new_thread(s, id);
    wait_all();
    if (info)
        *info = job->error;
    enum err e = job->error.code;
    job_free(job);
    return e;
}

static inline struct job *new_read(struct store *s, const char *name, int64_t n)
{
    struct job *job = job_new(JOB_READ);
    struct job_call *call = add(s, job, name);
    if (call->statement->param_count)
        set(job, call, 0, integer(n));
    return submit(s, job);
}

static inline int64_t count_threads(struct store *s)
{
    struct job *job = new_read(s, "test_count", 0);
    wait_all();
    int64_t n = job->error.code ? -1 : job->calls[0]->rows->values[0].as.integer;
    job_free(job);
    return n;
}

static inline void close_now(struct store *s)
{
    store_close(s, NULL);
    store_join(s);
}

static inline struct store *open_with(const char *path, int busy_ms, bool is_read_only, struct err_info *info)
{
    struct store *s = NULL;
    const struct store_options o = {path, files, file_count, busy_ms, is_read_only};
    *info = (struct err_info){.code = ERR_OK};
    enum err e = store_new(&s, loop, &o, info);
    ASSERT(e == ERR_OK);
    struct job *job = submit(s, job_new(JOB_OPEN));
    wait_all();
    if (job->error.code) {
        *info = job->error;
        close_now(s);
        s = NULL;
    }
    job_free(job);
    return s;
}

static inline struct store *open_store(const char *path)
{
    struct err_info info;
    struct store *s = open_with(path, 5000, false, &info);
    if (!s)
        printf("open %s: %s\n", path, info.text);
    ASSERT(s);
    return s;
}

static inline void close_store(struct store *s)
{
    struct job *job = job_new(JOB_CLOSE);
    job->on_done = on_done;
    job->user = &pending;
    pending++;
    store_close(s, job);
    wait_all();
    job_free(job);
}

/* A connection of somebody else's. */
static inline sqlite3 *open_raw(const char *path)
{
    sqlite3 *db;
    int rc = sqlite3_open(path, &db);
    ASSERT(rc == SQLITE_OK);
    return db;
}

static inline void raw(sqlite3 *db, const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        printf("%s: %s\n", sql, message);
    ASSERT(!message);
}

static inline void raw_on(const char *path, const char *sql)
{
    sqlite3 *db = open_raw(path);
    raw(db, sql);
    sqlite3_close(db);
}

static inline int64_t raw_integer(const char *path, const char *sql)
{
    sqlite3 *db = open_raw(path);
    sqlite3_stmt *stmt = NULL;
    sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    int64_t n = sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1;
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return n;
}

static inline size_t count_problems(const char *path, const char *word)
{
    struct store *s = open_store(path);
    struct job *job = submit(s, job_new(JOB_CHECK));
    wait_all();
    CHECK(job->error.code == ERR_OK);
    size_t found = 0;
    for (struct job_row *row = job->calls[0]->rows; row; row = row->next)
        found += strstr(row->values[0].as.text.p, word) != NULL;
    job_free(job);
    close_store(s);
    return found;
}

/* The store's view of the world, in this process. */
static inline void kit_begin(void)
{
    struct err_info info;
    enum err e = loop_open(&loop, clock_system(), &info);
    ASSERT(e == ERR_OK);
    make_files();
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/perilune-store-XXXXXX", parent ? parent : "/tmp");
    char *made = mkdtemp(folder);
    ASSERT(made);
}

static inline int kit_end(void)
{
    CHECK(!loop_is_alive(loop) && loop_close(loop) == 0); /* nothing was left behind */
    mem_free(files);
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return check_report();
}

#endif
