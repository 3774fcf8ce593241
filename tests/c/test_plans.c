/*
 * test_plans.c - what a turn costs does not grow with the database: each of its statements finds its rows by an index, none
 * reads a table from end to end.
 */
#include "store_kit.h"

#include "../../src/store/catalogue.h"

/* Everything that a turn, its resume and its readers run. */
static const char *const statements[] = {
    "thread_by_key", "thread_by_id", "thread_get", "thread_create", "thread_advance", "message_append", "message_append_guarded",
    "message_list_up", "message_list_down", "run_create", "run_get", "run_active", "run_claim", "run_park", "run_ask_cancel",
    "run_hand_over", "run_finish", "run_interrupt", "run_list_of_thread", "step_start", "step_wait", "step_begin", "step_hold",
    "step_decide", "step_finish", "step_lose", "steps_give_up", "step_list", "attempt_add", "attempt_list", "event_add",
    "event_list", "result_add", "result_get", "summary_add", "summary_latest",
};

/* Prints the steps of a plan that read a whole table; returns how many. A scan of what is one row is none. */
static int count_scans(sqlite3 *db, const struct statement *s)
{
    sqlite3_stmt *stmt = NULL;
    char *sql = sqlite3_mprintf("EXPLAIN QUERY PLAN %.*s", (int)s->sql.n, s->sql.p);
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), scans = 0;
    CHECK(rc == SQLITE_OK);
    while (stmt && sqlite3_step(stmt) == SQLITE_ROW) {
        const char *detail = (const char *)sqlite3_column_text(stmt, 3);
        if (strncmp(detail, "SCAN ", 5) == 0 && strcmp(detail, "SCAN CONSTANT ROW") != 0) {
            printf("%s: %s\n", s->name, detail);
            scans++;
        }
    }
    sqlite3_finalize(stmt);
    sqlite3_free(sql);
    return scans;
}

int main(void)
{
    kit_begin();
    const char *path = path_of("plans.db");
    struct store *s = open_store(path);
    sqlite3 *db = open_raw(path);
    for (size_t i = 0; i < ARRAY_LEN(statements); i++) {
        const struct statement *statement = catalogue_find(store_catalogue(s), statements[i]);
        CHECK(statement != NULL);
        CHECK(statement && count_scans(db, statement) == 0);
    }
    /* A statement that must scan is seen as one: the check can fail. */
    const struct statement *all = catalogue_find(store_catalogue(s), "check_step_seqs");
    CHECK(all && count_scans(db, all) > 0);
    sqlite3_close(db);
    close_store(s);
    return kit_end();
}
