/*
 * sqlite.h - one SQLite connection: opening and closing it, running named statements, transactions, checkpoints.
 *
 * A connection belongs to the thread that opened it. Failures name the database and what to do about it.
 */
#ifndef PERILUNE_STORE_SQLITE_H
#define PERILUNE_STORE_SQLITE_H

#include "job.h"

struct sqlite3;
struct sqlite;

struct sqlite_options { /* outlives the connection */
    const char *path;   /* ":memory:" is a database that only this connection sees */
    const struct catalogue *catalogue;
    int busy_ms; /* how long another process may hold a lock */
    bool is_read_only;
};

/* Opens the file as it is; does not create it, does not look inside. */
MUST_CHECK enum err sqlite_open(struct sqlite **out, const struct sqlite_options *options, struct err_info *info);
void sqlite_close(struct sqlite *c); /* NULL is fine. The last connection copies the log into the database. */
const struct sqlite_options *sqlite_options(const struct sqlite *c);
struct sqlite3 *sqlite_handle(struct sqlite *c);
bool sqlite_is_memory(const char *path);

/* `rc` is SQLite's code, `doing` a few words for the codes that explain nothing; never ERR_OK. */
enum err sqlite_fail(struct sqlite *c, int rc, const char *doing, struct err_info *info);
/* The path for messages: a long one loses its beginning. */
const char *sqlite_short_path(const char *path);

/* Takes the write lock, waits for it. What a relaxed transaction commits is in the log at once, and on the disk with the
 * next one that is not: a crash of this process takes nothing of it, a power cut may. */
MUST_CHECK enum err sqlite_begin(struct sqlite *c, bool is_relaxed, struct err_info *info);
MUST_CHECK enum err sqlite_begin_read(struct sqlite *c, struct err_info *info);
MUST_CHECK enum err sqlite_commit(struct sqlite *c, struct err_info *info);
void sqlite_rollback(struct sqlite *c); /* fine without a transaction */
bool sqlite_in_transaction(struct sqlite *c);
MUST_CHECK enum err sqlite_savepoint(struct sqlite *c, struct err_info *info);
MUST_CHECK enum err sqlite_release(struct sqlite *c, bool is_undone, struct err_info *info);
/* After a failure: may what is on the disk differ from what was reported? Then nothing more may be written. */
bool sqlite_is_broken(struct sqlite *c);

/* Runs the call's statement with its parameters and adds rows, columns and changes to it. Only a JOB_WRITE may change
 * rows. */
MUST_CHECK enum err sqlite_call(struct sqlite *c, struct job *job, struct job_call *call, struct err_info *info);
/* Prepares every statement of the catalogue: ERR_INVALID names the first that is wrong. */
MUST_CHECK enum err sqlite_prepare_all(struct sqlite *c, struct err_info *info);

MUST_CHECK enum err sqlite_exec(struct sqlite *c, const char *sql, const char *doing, struct err_info *info);
MUST_CHECK enum err sqlite_pragma(struct sqlite *c, const char *name, int64_t *value, struct err_info *info);
MUST_CHECK enum err sqlite_pragma_set(struct sqlite *c, const char *name, int64_t value, struct err_info *info);
/* Write-ahead log; a database in memory has none. Waits for other processes that do the same. */
MUST_CHECK enum err sqlite_use_wal(struct sqlite *c, struct err_info *info);

const char *sqlite_library(void); /* its version, "3.40.1" */
size_t sqlite_wal_bytes(struct sqlite *c); /* of the log after this connection's last commit */
/* Copies what nobody reads any more from the log into the database, without waiting. True: all of it. */
bool sqlite_checkpoint(struct sqlite *c);

#endif
