/*
 * test_migration.c - a database of an earlier schema, with rows in every table, is opened: it is migrated, nothing in it has changed,
 * it passes the check, and what protected its rows still does.
 */
#include "store_kit.h"

#define FIXTURE "tests/fixtures/store/schema_1.sql"
#define APPLICATION_ID 0x50657269
#define DUMP_BYTES 65536

static const char *const columns[][2] = {
    {"threads", "no, id, key, title, metadata, next_seq, created_at, updated_at"},
    {"messages", "pk, run_id, role, status, body, created_at"},
    {"runs", "no, id, thread_no, assistant, model, status, lease_owner, lease_epoch, lease_until, error, usage, "
             "cost_nano, created_at, "
             "started_at, finished_at"},
    {"steps", "run_id, seq, kind, status, name, call_id, idempotent, input, result, started_at, finished_at"},
    {"attempts",
     "id, run_id, step_seq, n, provider, model, status, outcome, started_at, first_event_ms, duration_ms, "
     "prompt_tokens, "
     "completion_tokens, cached_tokens, cache_write_tokens, reasoning_tokens, cost_nano, price, estimated, error"},
};

static struct slice embedded(const char *name)
{
    for (size_t i = 0; i < file_count; i++)
        if (strcmp(files[i].name, name) == 0)
            return (struct slice){files[i].p, files[i].n};
    ASSERT(!"no such embedded file");
    return (struct slice){NULL, 0};
}

static char *read_fixture(void)
{
    FILE *file = fopen(FIXTURE, "rb");
    ASSERT(file);
    char *sql = mem_zero(1, DUMP_BYTES);
    size_t n = fread(sql, 1, DUMP_BYTES - 1, file);
    ASSERT(n > 0 && n < DUMP_BYTES - 1);
    fclose(file);
    return sql;
}

static const char *const schemas[] = {"db/schema/0001_init.sql", "db/schema/0002_durable_runs.sql", "db/schema/0003_server.sql"};

/* A database as that version left it. */
static void make_old(const char *path, size_t version, const char *rows_sql)
{
    char ids[100];
    sqlite3 *db = open_raw(path);
    raw(db, "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON");
    for (size_t i = 0; i < version; i++) {
        struct slice schema = embedded(schemas[i]);
        char *schema_sql = mem_dup(schema.p, schema.n);
        raw(db, schema_sql);
        mem_free(schema_sql);
    }
    raw(db, rows_sql);
    snprintf(ids, sizeof ids, "PRAGMA application_id = %d; PRAGMA user_version = %zu", APPLICATION_ID, version);
    raw(db, ids);
    sqlite3_close(db);
}

/* The rows of a table as text, in the columns that the first version had. */
static char *dump(const char *path, const char *table, const char *names)
{
    char sql[1024], *text_of = mem_zero(1, DUMP_BYTES);
    size_t used = 0;
    snprintf(sql, sizeof sql, "SELECT %s FROM %s ORDER BY 1, 2", names, table);
    sqlite3 *db = open_raw(path);
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    ASSERT(rc == SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW)
        for (int i = 0; i < sqlite3_column_count(stmt); i++) {
            const char *value = (const char *)sqlite3_column_text(stmt, i);
            used += (size_t)snprintf(text_of + used, DUMP_BYTES - used, "%d:%s|", sqlite3_column_type(stmt, i),
                                     value ? value : "");
            ASSERT(used < DUMP_BYTES);
        }
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return text_of;
}

static void test_keeps_its_rows(const char *path)
{
    char *before[ARRAY_LEN(columns)];
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        before[i] = dump(path, columns[i][0], columns[i][1]);
        CHECK(before[i][0] != '\0'); /* the fixture has rows in every table */
    }
    struct store *s = open_store(path);
    close_store(s);
    CHECK(raw_integer(path, "PRAGMA user_version") > 1);
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        char *after = dump(path, columns[i][0], columns[i][1]);
        CHECK(strcmp(before[i], after) == 0);
        mem_free(after);
        mem_free(before[i]);
    }
    CHECK(raw_integer(
              path, "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name GLOB '*_[0-9]'") == 0);
}

/* Does the statement fail with these words? */
static bool refuses(sqlite3 *db, const char *sql, const char *words)
{
    char *message = NULL;
    int rc = sqlite3_exec(db, sql, NULL, NULL, &message);
    bool is_so = rc != SQLITE_OK && message && strstr(message, words);
    if (!is_so)
        printf("%s: %s\n", sql, message ? message : "is done");
    sqlite3_free(message);
    return is_so;
}

static void test_protects_its_rows(const char *path)
{
    sqlite3 *db = open_raw(path);
    raw(db, "PRAGMA foreign_keys = ON");
    CHECK(refuses(db, "UPDATE messages SET role = 'user'", "never changed"));
    CHECK(refuses(db, "DELETE FROM messages", "goes only with its thread"));
    CHECK(refuses(db, "UPDATE runs SET model = 'x' WHERE id = 'run_done'", "never changed"));
    CHECK(refuses(db, "DELETE FROM runs", "goes only with its thread"));
    CHECK(refuses(db, "UPDATE steps SET name = 'x' WHERE run_id = 'run_done'", "never changed"));
    CHECK(refuses(db, "DELETE FROM steps WHERE run_id = 'run_done'", "goes only with its thread"));
    CHECK(refuses(db,
                  "INSERT INTO steps (run_id, seq, kind, status, started_at) VALUES ('run_x', 1, 'tool', 'started', 1)",
                  "FOREIGN KEY"));
    CHECK(refuses(
        db, "INSERT INTO steps (run_id, seq, kind, status, started_at) VALUES ('run_left', 1, 'tool', 'started', 1)",
        "UNIQUE"));
    CHECK(refuses(
        db, "INSERT INTO steps (run_id, seq, kind, status, started_at) VALUES ('run_left', 2, 'tool', 'waiting', 1)",
        "CHECK"));
    CHECK(refuses(db, "INSERT INTO runs (id, thread_no, status, created_at) VALUES ('run_x', 2, 'running', 1)",
                  "UNIQUE"));
    sqlite3_close(db);
}

/* The thread goes with all it holds, and nothing else does. */
static void test_deletes_a_thread(const char *path)
{
    raw_on(path, "PRAGMA foreign_keys = ON; DELETE FROM threads WHERE id = 'thread_a'");
    CHECK(raw_integer(path, "SELECT COUNT(*) FROM messages") == 1 &&
          raw_integer(path, "SELECT COUNT(*) FROM runs") == 1);
    CHECK(raw_integer(path, "SELECT COUNT(*) FROM steps") == 1);
    CHECK(raw_integer(path, "SELECT COUNT(*) FROM attempts WHERE run_id IS NOT NULL") == 0);
    CHECK(raw_integer(path, "SELECT COUNT(*) FROM attempts") > 1); /* what was spent stays */
    CHECK(count_problems(path, "") == 0);
}

/* Names of assistants were unique over all accounts; they are within each. */
static void test_parts_names_by_account(const char *path)
{
    make_old(path, 3,
             "INSERT INTO assistants (id, name, definition, created_at, updated_at, account) "
             "VALUES ('asst_a', 'helper', '{}', 1, 2, 'acct_a'), ('asst_b', 'mine', '{}', 3, 4, NULL)");
    close_store(open_store(path));
    char *rows = dump(path, "assistants", "no, id, name, definition, metadata, created_at, updated_at, account");
    CHECK(strcmp(rows, "1:1|3:asst_a|3:helper|3:{}|5:|1:1|1:2|3:acct_a|1:2|3:asst_b|3:mine|3:{}|5:|1:3|1:4|5:|") == 0);
    mem_free(rows);
    raw_on(path, "INSERT INTO assistants (id, name, definition, created_at, updated_at, account) "
                 "VALUES ('asst_c', 'helper', '{}', 1, 2, 'acct_c')");
    sqlite3 *db = open_raw(path);
    CHECK(refuses(db, "UPDATE assistants SET account = 'acct_a' WHERE id = 'asst_c'", "UNIQUE"));
    CHECK(refuses(db, "UPDATE assistants SET name = 'mine', account = NULL WHERE id = 'asst_c'", "UNIQUE"));
    sqlite3_close(db);
    CHECK(count_problems(path, "") == 0);
}

int main(void)
{
    kit_begin();
    char path[128], *rows_sql = read_fixture();
    snprintf(path, sizeof path, "%s", path_of("old.db"));
    make_old(path, 1, rows_sql);
    mem_free(rows_sql);
    test_keeps_its_rows(path);
    CHECK(count_problems(path, "") == 0);
    test_protects_its_rows(path);
    test_deletes_a_thread(path);
    snprintf(path, sizeof path, "%s", path_of("server.db"));
    test_parts_names_by_account(path);
    return kit_end();
}
