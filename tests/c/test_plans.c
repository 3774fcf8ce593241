/*
 * test_plans.c - what a turn costs does not grow with its thread, its run or the database: no statement reads a table from
 * end to end, but for those that are there for it, and each one of a turn takes as many steps of SQLite's machine in
 * a full database as in one that is nearly empty.
 */
#include "store_kit.h"

#include "../../src/store/catalogue.h"

/* Scans */

/* Reports, and searches on a person's word; of thread_latest it is one row. */
static const char *const may_scan[] = {
    "database_info", "stats_tables", "workflow_find", "thread_latest",
    "account_list", "account_list_due", "key_any", "key_list", /* there are few; no request asks for them */
    "hold_list_open",                                          /* an index of the open ones alone */
};

static bool is_free_to_scan(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(may_scan); i++)
        if (strcmp(name, may_scan[i]) == 0)
            return true;
    return strncmp(name, "check_", 6) == 0 || strncmp(name, "test_", 5) == 0;
}

/* A constant is no table, nor is what a statement has found so far ("gone"), and runs_active holds only what is under way. */
static bool is_scan(const char *detail)
{
    return strncmp(detail, "SCAN ", 5) == 0 && strcmp(detail, "SCAN CONSTANT ROW") != 0 && strcmp(detail, "SCAN gone") != 0 &&
           !strstr(detail, " USING INDEX runs_active");
}

/* Prints the steps of a plan, triggers included, that read a whole table; returns how many. */
static int count_scans(sqlite3 *db, const struct statement *s)
{
    sqlite3_stmt *stmt = NULL;
    char *sql = sqlite3_mprintf("EXPLAIN QUERY PLAN %.*s", (int)s->sql.n, s->sql.p);
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), scans = 0;
    CHECK(rc == SQLITE_OK);
    while (stmt && sqlite3_step(stmt) == SQLITE_ROW) {
        const char *detail = (const char *)sqlite3_column_text(stmt, 3);
        if (is_scan(detail)) {
            if (!is_free_to_scan(s->name))
                printf("%s: %s\n", s->name, detail);
            scans++;
        }
    }
    sqlite3_finalize(stmt);
    sqlite3_free(sql);
    return scans;
}

static void test_scans(sqlite3 *db, const struct catalogue *c)
{
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRIGGER_EQP, 1, NULL);
    for (size_t i = 0; i < catalogue_count(c); i++)
        CHECK(is_free_to_scan(catalogue_at(c, i)->name) || count_scans(db, catalogue_at(c, i)) == 0);
    CHECK(count_scans(db, catalogue_find(c, "check_step_seqs")) > 0); /* the check can fail */
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRIGGER_EQP, 0, NULL);
}

/* Work */

/* The statements of a turn, its resume and its readers, with parameters that are other than usual. */
static const struct {
    const char *name, *params;
} turn[] = {
    {"thread_by_key", ""},
    {"thread_create", "id=new key=another_key"},
    {"thread_by_id", "id=idle"},
    {"run_create", "id=new thread_id=idle"},
    {"message_append_guarded", "status=complete"},
    {"thread_advance", "id=busy"},
    {"step_start", ""},
    {"summary_latest", ""},
    {"message_list_down", ""},
    {"message_list_up", ""},
    {"step_finish", ""},
    {"attempt_add", ""},
    {"event_add", ""},
    {"event_list", "after=last"},
    {"run_get", ""},
    {"run_active", ""},
    {"run_claim", ""},
    {"run_list_of_thread", "after=NULL"},
    {"run_list_open", ""},
    {"step_list", ""},
    {"run_finish", "status=completed"},
};

/* Whatever is in neither list is 1. */
static const char usual[] =
    "thread_id=busy run_id=run id=run key=a_key owner=me role=user kind=model body=[] provider=p "
    "model=m outcome=ok limit=10 before=1048576";

/* The value of a name in such a list; empty when it is not there. */
static struct slice find_value(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = list; *p; p += strspn(p, " ")) {
        size_t length = strcspn(p, " ");
        if (length > n && p[n] == '=' && strncmp(p, name, n) == 0)
            return (struct slice){p + n + 1, length - n - 1};
        p += length;
    }
    return (struct slice){"", 0};
}

static bool is_word(struct slice s, const char *word)
{
    return s.n == strlen(word) && strncmp(s.p, word, s.n) == 0;
}

static void bind_all(sqlite3_stmt *stmt, const struct statement *s, const char *params, int last)
{
    for (size_t i = 0; i < s->param_count; i++) {
        char name[8];
        snprintf(name, sizeof name, "$%u", (unsigned)(i + 1));
        int index = sqlite3_bind_parameter_index(stmt, name);
        struct slice value = find_value(params, s->params[i]);
        if (!value.n)
            value = find_value(usual, s->params[i]);
        if (is_word(value, "last"))
            sqlite3_bind_int(stmt, index, last);
        else if (!value.n || strspn(value.p, "0123456789") >= value.n)
            sqlite3_bind_int64(stmt, index, value.n ? atoll(value.p) : 1);
        else if (!is_word(value, "NULL")) /* what is not bound */
            sqlite3_bind_text(stmt, index, value.p, (int)value.n, SQLITE_STATIC);
    }
}

/* Steps of SQLite's machine. What it changes is taken back; one that finds and changes nothing measures nothing. */
static int work_of(sqlite3 *db, const struct statement *s, const char *params, int last)
{
    raw(db, "BEGIN");
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, s->sql.p, (int)s->sql.n, &stmt, NULL), rows = 0;
    ASSERT(rc == SQLITE_OK);
    bind_all(stmt, s, params, last);
    int64_t changes_before = sqlite3_total_changes(db);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
        rows++;
    if (!CHECK(rc == SQLITE_DONE && rows + sqlite3_total_changes(db) - changes_before > 0))
        printf("%s: %s\n", s->name, sqlite3_errmsg(db));
    int steps = sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_VM_STEP, 0);
    sqlite3_finalize(stmt);
    raw(db, "ROLLBACK");
    return steps;
}

/* A thread with an open run, one without, both with as many messages, ended runs, summaries and events of the open run as
 * `n` says; and as many other threads with a run each. */
static void fill(sqlite3 *db, int n)
{
    char *sql = sqlite3_mprintf(
        "BEGIN;"
        "CREATE TEMP TABLE n AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i "
        "FROM n;"
        "INSERT INTO threads (no, id, key, next_seq, created_at, updated_at) VALUES"
        "  (1, 'busy', 'a_key', %d, 1, 1), (2, 'idle', NULL, %d, 1, 1);"
        "INSERT INTO threads (id, key, next_seq, created_at, updated_at) SELECT 't' || i, 'k' || i, 1, 1, 1 FROM n;"
        "INSERT INTO messages (pk, role, status, body, created_at)"
        "  SELECT no << 20 | i, 'user', 'complete', '{}', 1 FROM threads, n WHERE no <= 2;"
        "INSERT INTO runs (id, thread_no, status, created_at, finished_at)"
        "  SELECT 'r' || no || ' ' || i, no, 'completed', 1, 1 FROM threads, n WHERE no <= 2 OR i = 1;"
        "INSERT INTO runs (id, thread_no, status, lease_owner, created_at) VALUES ('run', 1, 'running', 'me', 1);"
        "INSERT INTO steps (run_id, seq, kind, status, started_at) VALUES ('run', 1, 'model', 'started', 1);"
        "INSERT INTO events (run_no, first_seq, last_seq, body, created_at)"
        "  SELECT no, i, i, '[]', 1 FROM runs, n WHERE id = 'run';"
        "INSERT INTO summaries (thread_no, upto_seq, body, created_at) SELECT 1, i, '', 1 FROM n;"
        "DROP TABLE n;"
        "COMMIT",
        n, n + 1, n + 1);
    raw(db, sql);
    sqlite3_free(sql);
}

static void test_work(const struct catalogue *c)
{
    enum { SMALL = 20, LARGE = 3000 };
    const int sizes[] = {SMALL, LARGE};
    int work[2][ARRAY_LEN(turn)];
    for (size_t size = 0; size < ARRAY_LEN(sizes); size++) {
        const char *path = path_of(size ? "large.db" : "small.db");
        close_store(open_store(path));
        sqlite3 *db = open_raw(path);
        raw(db, "PRAGMA foreign_keys = ON");
        fill(db, sizes[size]);
        for (size_t i = 0; i < ARRAY_LEN(turn); i++)
            work[size][i] = work_of(db, catalogue_find(c, turn[i].name), turn[i].params, sizes[size] - 1);
        sqlite3_close(db);
    }
    for (size_t i = 0; i < ARRAY_LEN(turn); i++)
        if (!CHECK(work[0][i] == work[1][i]))
            printf("%s: %d steps beside %d rows, %d beside %d\n", turn[i].name, work[0][i], SMALL, work[1][i], LARGE);
}

int main(void)
{
    kit_begin();
    const char *path = path_of("plans.db");
    struct store *s = open_store(path);
    sqlite3 *db = open_raw(path);
    test_scans(db, store_catalogue(s));
    sqlite3_close(db);
    test_work(store_catalogue(s));
    close_store(s);
    return kit_end();
}
