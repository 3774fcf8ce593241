/*
 * sqlite.c - a connection with its prepared statements, and the words for SQLite's result codes. It opens what is
 * there: creating and migrating is schema.c, checking and copying maintain.c. Apart from db/, this is the only
 * file with SQL.
 *
 * Surprising: "$1" is a *name* to SQLite, numbered by first appearance; so every prepared statement has a small
 * map.
 */
#include "sqlite.h"

#include "../base/limits.h"
#include "../base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PATH_BYTES_SHOWN 90
#define COLUMNS_MAX 64
#define WAL_RETRY_MS 5

struct prepared {
    sqlite3_stmt *stmt; /* NULL until first used */
    uint8_t index_of[STORE_PARAMS_MAX];
    bool is_query;
};

/* What every transaction needs: prepared once, like the statements of db/. */
enum control {
    CONTROL_BEGIN,
    CONTROL_BEGIN_READ,
    CONTROL_COMMIT,
    CONTROL_SAVEPOINT,
    CONTROL_UNDO,
    CONTROL_RELEASE,
    CONTROL_COUNT
};

static const char *const control_sql[CONTROL_COUNT] = {
    [CONTROL_BEGIN] = "BEGIN IMMEDIATE",     [CONTROL_BEGIN_READ] = "BEGIN",       [CONTROL_COMMIT] = "COMMIT",
    [CONTROL_SAVEPOINT] = "SAVEPOINT batch", [CONTROL_UNDO] = "ROLLBACK TO batch", [CONTROL_RELEASE] = "RELEASE batch",
};

struct sqlite {
    const struct sqlite_options *options;
    sqlite3 *db;
    struct prepared *prepared; /* by statement->index */
    sqlite3_stmt *controls[CONTROL_COUNT];
    size_t wal_pages, page_bytes;
    bool is_relaxed; /* commits are not synced */
    int last_rc, last_errno;
};

bool sqlite_is_memory(const char *path)
{
    return strcmp(path, ":memory:") == 0;
}

const struct sqlite_options *sqlite_options(const struct sqlite *c)
{
    return c->options;
}

struct sqlite3 *sqlite_handle(struct sqlite *c)
{
    return c->db;
}

/* Failures */

const char *sqlite_short_path(const char *path)
{
    size_t n = strlen(path);
    return n > PATH_BYTES_SHOWN ? path + (n - PATH_BYTES_SHOWN) : path;
}

static enum err fail_io(struct sqlite *c, const char *path, struct err_info *info)
{
    if (c->last_errno == ENOSPC || c->last_errno == EDQUOT)
        return err_set(info, ERR_DB_FULL, "no space left for the database %s: free some space and try again", path);
    return err_os(info, ERR_DB, c->last_errno, "cannot read or write the database %s (%s)", path,
                  sqlite3_errstr(c->last_rc));
}

enum err sqlite_fail(struct sqlite *c, int rc, const char *doing, struct err_info *info)
{
    const char *path = sqlite_short_path(c->options->path), *text = sqlite3_errmsg(c->db);
    c->last_rc = rc;
    c->last_errno = sqlite3_system_errno(c->db);
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(info, ERR_DB_LOCKED,
                       "another process has locked the database %s for more than %d ms: try again, or end it", path,
                       c->options->busy_ms);
    case SQLITE_READONLY:
        return err_set(info, ERR_DB_READONLY, "the database %s %s", path,
                       c->options->is_read_only ? "was opened read-only: open it for writing"
                                                : "is read-only: check the permissions of the file and its folder");
    case SQLITE_FULL:
        return err_set(info, ERR_DB_FULL, "no space left for the database %s: free some space and try again", path);
    case SQLITE_IOERR:
        return fail_io(c, path, info);
    case SQLITE_NOTADB:
        return err_set(info, ERR_DB_CORRUPT, "%s is not a database: name another file, or restore a backup", path);
    case SQLITE_CORRUPT:
        return err_set(info, ERR_DB_CORRUPT, "the database %s is damaged: keep the file and restore a backup (%s)",
                       path, text);
    case SQLITE_CONSTRAINT:
        return err_set(info, ERR_DB_CONSTRAINT, "%s: %s", doing, text);
    case SQLITE_CANTOPEN:
        return err_os(info, ERR_DB_OPEN, c->last_errno,
                      "cannot open the database %s: check the path and its permissions", path);
    case SQLITE_TOOBIG:
        return err_set(info, ERR_LIMIT, "%s: %s", doing, text);
    default:
        return err_set(info, ERR_DB, "%s: %s (database %s)", doing, text, path);
    }
}

bool sqlite_is_broken(struct sqlite *c)
{
    bool is_io = (c->last_rc & 0xff) == SQLITE_IOERR;
    bool is_sync = c->last_rc == SQLITE_IOERR_FSYNC || c->last_rc == SQLITE_IOERR_DIR_FSYNC;
    bool is_full = c->last_errno == ENOSPC || c->last_errno == EDQUOT;
    return is_sync || (is_io && !is_full) || (c->last_rc & 0xff) == SQLITE_CORRUPT;
}

/* SQL that belongs to the engine */

enum err sqlite_exec(struct sqlite *c, const char *sql, const char *doing, struct err_info *info)
{
    int rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    return rc ? sqlite_fail(c, rc, doing, info) : ERR_OK;
}

enum err sqlite_pragma(struct sqlite *c, const char *name, int64_t *value, struct err_info *info)
{
    char sql[80];
    sqlite3_stmt *stmt = NULL;
    snprintf(sql, sizeof sql, "PRAGMA %s", name);
    int rc = sqlite3_prepare_v2(c->db, sql, -1, &stmt, NULL);
    if (!rc)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        *value = sqlite3_column_int64(stmt, 0);
        rc = SQLITE_OK;
    }
    enum err e = rc ? sqlite_fail(c, rc, sql, info) : ERR_OK;
    sqlite3_finalize(stmt);
    return e;
}

enum err sqlite_pragma_set(struct sqlite *c, const char *name, int64_t value, struct err_info *info)
{
    char sql[80];
    snprintf(sql, sizeof sql, "PRAGMA %s = %lld", name, (long long)value);
    return sqlite_exec(c, sql, sql, info);
}

/* Two processes that switch at once are told "busy" at once, whatever the timeout: it would be a deadlock. */
enum err sqlite_use_wal(struct sqlite *c, struct err_info *info)
{
    if (sqlite_is_memory(c->options->path))
        return ERR_OK;
    const struct timespec pause = {.tv_nsec = WAL_RETRY_MS * 1000000L};
    int rc;
    for (int waited_ms = 0;; waited_ms += WAL_RETRY_MS) {
        rc = sqlite3_exec(c->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
        if ((rc & 0xff) != SQLITE_BUSY || waited_ms >= c->options->busy_ms)
            break;
        nanosleep(&pause, NULL);
    }
    return rc ? sqlite_fail(c, rc, "switching to a write-ahead log", info) : ERR_OK;
}

/* Opening and closing */

static int on_commit(void *user, sqlite3 *db, const char *name, int pages)
{
    UNUSED(db);
    UNUSED(name);
    ((struct sqlite *)user)->wal_pages = (size_t)pages;
    return SQLITE_OK;
}

static enum err configure(struct sqlite *c, struct err_info *info)
{
    sqlite3_busy_timeout(c->db, c->options->busy_ms);
    sqlite3_wal_hook(c->db, on_commit, c); /* also turns automatic checkpoints off */
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    char sql[256];
    snprintf(sql, sizeof sql,
             "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cell_size_check = ON; "
             "PRAGMA temp_store = MEMORY; " /* savepoints would be a file each */
             "PRAGMA journal_size_limit = %u",
             STORE_WAL_BYTES);
    return sqlite_exec(c, sql, "configuring the connection", info);
}

/* Nobody asks how much memory SQLite has: keeping the figure is a mutex around every allocation. */
static void configure_library(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* refused when somebody else has used the library before: then it stays slower */
}

enum err sqlite_open(struct sqlite **out, const struct sqlite_options *options, struct err_info *info)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, configure_library);
    struct sqlite *c = mem_zero(1, sizeof *c);
    c->options = options;
    c->prepared = mem_zero(catalogue_count(options->catalogue), sizeof *c->prepared);
    bool is_memory = sqlite_is_memory(options->path);
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    flags |= options->is_read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    if (is_memory)
        flags |= SQLITE_OPEN_MEMORY | SQLITE_OPEN_CREATE;
    /* Debian's library takes "file:" for a URI; "./" in front keeps it a name. */
    char *path = mem_alloc(strlen(options->path) + 3);
    memcpy(path, "./", 3);
    size_t skip = !is_memory && strncmp(options->path, "file:", 5) == 0 ? 2 : 0;
    memcpy(path + skip, options->path, strlen(options->path) + 1);
    int rc = sqlite3_open_v2(path, &c->db, flags, NULL);
    mem_free(path);
    enum err e = rc ? sqlite_fail(c, rc, "opening", info) : configure(c, info);
    if (e) {
        sqlite_close(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void sqlite_close(struct sqlite *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < catalogue_count(c->options->catalogue); i++)
        sqlite3_finalize(c->prepared[i].stmt);
    for (size_t i = 0; i < CONTROL_COUNT; i++)
        sqlite3_finalize(c->controls[i]);
    int rc = sqlite3_close(c->db);
    ASSERT(rc == SQLITE_OK);
    mem_free(c->prepared);
    mem_free(c);
}

/* Transactions */

static enum err run_control(struct sqlite *c, enum control which, struct err_info *info)
{
    sqlite3_stmt **stmt = &c->controls[which];
    int rc =
        *stmt ? SQLITE_OK : sqlite3_prepare_v3(c->db, control_sql[which], -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL);
    if (!rc)
        rc = sqlite3_step(*stmt);
    enum err e = rc == SQLITE_DONE ? ERR_OK : sqlite_fail(c, rc, control_sql[which], info);
    sqlite3_reset(*stmt);
    return e;
}

/* Not a control: the pragma works while it is prepared. */
static enum err set_relaxed(struct sqlite *c, bool is_relaxed, struct err_info *info)
{
    const char *sql = is_relaxed ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL";
    if (is_relaxed == c->is_relaxed)
        return ERR_OK;
    int rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    if (rc)
        return sqlite_fail(c, rc, sql, info);
    c->is_relaxed = is_relaxed;
    return ERR_OK;
}

enum err sqlite_begin(struct sqlite *c, bool is_relaxed, struct err_info *info)
{
    enum err e = set_relaxed(c, is_relaxed, info);
    return e ? e : run_control(c, CONTROL_BEGIN, info);
}

enum err sqlite_begin_read(struct sqlite *c, struct err_info *info)
{
    return run_control(c, CONTROL_BEGIN_READ, info);
}

enum err sqlite_commit(struct sqlite *c, struct err_info *info)
{
    return run_control(c, CONTROL_COMMIT, info);
}

void sqlite_rollback(struct sqlite *c)
{
    if (sqlite_in_transaction(c))
        sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
}

bool sqlite_in_transaction(struct sqlite *c)
{
    return !sqlite3_get_autocommit(c->db);
}

enum err sqlite_savepoint(struct sqlite *c, struct err_info *info)
{
    return run_control(c, CONTROL_SAVEPOINT, info);
}

enum err sqlite_release(struct sqlite *c, bool is_undone, struct err_info *info)
{
    enum err e = is_undone ? run_control(c, CONTROL_UNDO, info) : ERR_OK;
    return e ? e : run_control(c, CONTROL_RELEASE, info);
}

/* The log */

size_t sqlite_wal_bytes(struct sqlite *c)
{
    int64_t page_bytes = 0;
    if (!c->page_bytes && sqlite_pragma(c, "page_size", &page_bytes, NULL) == ERR_OK)
        c->page_bytes = (size_t)page_bytes;
    return c->wal_pages * c->page_bytes;
}

bool sqlite_checkpoint(struct sqlite *c)
{
    int in_log = 0, copied = 0;
    int rc = sqlite3_wal_checkpoint_v2(c->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &in_log, &copied);
    return rc == SQLITE_OK && in_log == copied;
}

/* Statements */

static bool has_only_params(const struct statement *s, struct prepared *p)
{
    if ((size_t)sqlite3_bind_parameter_count(p->stmt) != s->param_count)
        return false;
    for (size_t i = 0; i < s->param_count; i++) {
        char name[8];
        snprintf(name, sizeof name, "$%u", (unsigned)(i + 1));
        int index = sqlite3_bind_parameter_index(p->stmt, name);
        if (!index)
            return false;
        p->index_of[i] = (uint8_t)index;
    }
    return true;
}

static bool is_blank(const char *p, const char *end)
{
    while (p < end && strchr(" \t\r\n;", *p))
        p++;
    return p == end;
}

static enum err prepare(struct sqlite *c, const struct statement *s, struct prepared *p, struct err_info *info)
{
    const char *tail = NULL;
    int rc = sqlite3_prepare_v3(c->db, s->sql.p, (int)s->sql.n, SQLITE_PREPARE_PERSISTENT, &p->stmt, &tail);
    if (rc)
        return sqlite_fail(c, rc, s->name, info);
    const char *wrong = NULL;
    if (!p->stmt || !is_blank(tail, s->sql.p + s->sql.n))
        wrong = "it must be one statement";
    else if (!has_only_params(s, p))
        wrong = "the SQL must use exactly the parameters of its '-- name:' line";
    if (wrong) {
        sqlite3_finalize(p->stmt);
        p->stmt = NULL;
        return err_set(info, ERR_INVALID, "%.*s:%d: %s: %s", (int)s->origin.n, s->origin.p, s->line, s->name, wrong);
    }
    p->is_query = sqlite3_stmt_readonly(p->stmt);
    return ERR_OK;
}

enum err sqlite_prepare_all(struct sqlite *c, struct err_info *info)
{
    for (size_t i = 0; i < catalogue_count(c->options->catalogue); i++) {
        struct prepared *p = &c->prepared[i];
        enum err e = p->stmt ? ERR_OK : prepare(c, catalogue_at(c->options->catalogue, i), p, info);
        if (e)
            return e;
    }
    return ERR_OK;
}

/* The bytes of text are the job's: they stay until the statement is reset. */
static int bind(const struct prepared *p, size_t i, const struct value *v)
{
    int index = p->index_of[i];
    switch (v->type) {
    case VALUE_INTEGER:
        return sqlite3_bind_int64(p->stmt, index, v->as.integer);
    case VALUE_REAL:
        return sqlite3_bind_double(p->stmt, index, v->as.real);
    case VALUE_TEXT:
        return sqlite3_bind_text64(p->stmt, index, v->as.text.p, v->as.text.n, SQLITE_STATIC, SQLITE_UTF8);
    default:
        return sqlite3_bind_null(p->stmt, index);
    }
}

static enum err take_columns(sqlite3_stmt *stmt, struct job *job, struct job_call *call)
{
    const char *names[COLUMNS_MAX];
    size_t count = (size_t)sqlite3_column_count(stmt);
    if (count > COLUMNS_MAX)
        return ERR_LIMIT;
    for (size_t i = 0; i < count; i++)
        names[i] = sqlite3_column_name(stmt, (int)i);
    return job_columns(job, call, names, count);
}

static enum err take_value(sqlite3_stmt *stmt, int column, struct job *job, struct value *v)
{
    *v = (struct value){VALUE_NULL, {0}};
    switch (sqlite3_column_type(stmt, column)) {
    case SQLITE_NULL:
        return ERR_OK;
    case SQLITE_INTEGER:
        v->type = VALUE_INTEGER;
        v->as.integer = sqlite3_column_int64(stmt, column);
        return ERR_OK;
    case SQLITE_FLOAT:
        v->type = VALUE_REAL;
        v->as.real = sqlite3_column_double(stmt, column);
        return ERR_OK;
    default:
        v->type = VALUE_TEXT;
        const void *p = sqlite3_column_blob(stmt, column); /* text comes as it is stored: UTF-8 */
        return job_copy(job, (struct slice){p, (size_t)sqlite3_column_bytes(stmt, column)}, &v->as.text);
    }
}

static enum err take_row(sqlite3_stmt *stmt, struct job *job, struct job_call *call)
{
    enum err e = call->columns ? ERR_OK : take_columns(stmt, job, call);
    struct job_row *row = e ? NULL : job_add_row(job, call);
    if (!row)
        return ERR_LIMIT;
    for (size_t i = 0; i < call->column_count; i++) {
        e = take_value(stmt, (int)i, job, &row->values[i]);
        if (e)
            return e;
    }
    return ERR_OK;
}

static enum err take_rows(struct sqlite *c, sqlite3_stmt *stmt, const char *name, struct job *job,
                          struct job_call *call, struct err_info *info)
{
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
        if (take_row(stmt, job, call) != ERR_OK)
            return err_set(info, ERR_LIMIT, "%s: the result is larger than %d rows or %u MB: ask for fewer", name,
                           STORE_ROWS_MAX, STORE_JOB_BYTES_MAX >> 20);
    return rc == SQLITE_DONE ? ERR_OK : sqlite_fail(c, rc, name, info);
}

enum err sqlite_call(struct sqlite *c, struct job *job, struct job_call *call, struct err_info *info)
{
    const struct statement *s = call->statement;
    struct prepared *p = &c->prepared[s->index];
    enum err e = p->stmt ? ERR_OK : prepare(c, s, p, info);
    if (e)
        return e;
    if (!p->is_query && job->kind != JOB_WRITE)
        return err_set(info, ERR_INVALID, "%s changes rows: it belongs into a write", s->name);
    int rc = SQLITE_OK;
    for (size_t i = 0; i < s->param_count && !rc; i++)
        rc = bind(p, i, &call->params[i]);
    e = rc ? sqlite_fail(c, rc, s->name, info) : take_rows(c, p->stmt, s->name, job, call, info);
    if (!e)
        call->changes = p->is_query ? (int64_t)call->row_count : sqlite3_changes64(c->db);
    sqlite3_reset(p->stmt);
    return e;
}

const char *sqlite_library(void)
{
    return sqlite3_libversion();
}
