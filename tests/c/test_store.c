/*
 * test_store.c - the store from the loop's side: group commit, readers, failures, several processes, killed processes,
 * databases that are damaged, foreign, newer, locked, read-only or out of space. Started with arguments it is one of
 * the writing processes.
 */
#include "../../src/base/mem.h"
#include "../../src/store/schema.h"
#include "../../src/store/store.h"
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *self; /* this program */
static char folder[64];  /* everything is written here */
static struct loop *loop;
static struct embed_file *files; /* the embedded ones and test.sql */
static size_t file_count;

static const char extra_sql[] = "-- name: test_count ()\n"
                                "SELECT COUNT(*) AS n FROM threads;\n"
                                "-- name: test_slow (n)\n"
                                "WITH RECURSIVE counter (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM counter WHERE i < $1)\n"
                                "SELECT COUNT(*) AS n FROM counter;\n"
                                "-- name: test_rows (n)\n"
                                "WITH RECURSIVE counter (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM counter WHERE i < $1)\n"
                                "SELECT i FROM counter;\n"
                                "-- name: test_values (a, b, c, d)\n"
                                "SELECT $4 AS d, $2 AS b, $3 AS c, $1 AS a;\n";

/* Small things */

static void make_files(void)
{
    files = mem_zero(embed_file_count + 1, sizeof *files);
    memcpy(files, embed_files, embed_file_count * sizeof *files);
    files[embed_file_count] = (struct embed_file){"db/queries/test.sql", extra_sql, sizeof extra_sql - 1};
    file_count = embed_file_count + 1;
}

static const char *path_of(const char *name)
{
    static char paths[4][128];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    UNUSED(st);
    UNUSED(type);
    UNUSED(ftw);
    return remove(path);
}

static int64_t now_ms(void)
{
    return clock_mono_ms(clock_system());
}

static void sleep_ms(int ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

static struct value text(const char *s)
{
    return (struct value){.type = VALUE_TEXT, .as.text = {s, strlen(s)}};
}

static struct value integer(int64_t i)
{
    return (struct value){.type = VALUE_INTEGER, .as.integer = i};
}

/* Jobs */

static void on_done(struct job *job, void *user)
{
    UNUSED(job);
    --*(int *)user;
}

static int pending;

static struct job *submit(struct store *s, struct job *job)
{
    job->on_done = on_done;
    job->user = &pending;
    pending++;
    store_submit(s, job);
    return job;
}

static void wait_all(void)
{
    while (pending)
        loop_step(loop, LOOP_WAIT);
}

static struct job_call *add(struct store *s, struct job *job, const char *name)
{
    const struct statement *statement = catalogue_find(store_catalogue(s), name);
    ASSERT(statement);
    return job_add(job, statement);
}

static void set(struct job *job, struct job_call *call, size_t param, struct value v)
{
    enum err e = job_bind(job, call, param, v);
    ASSERT(e == ERR_OK);
}

static void add_thread(struct store *s, struct job *job, const char *id, const char *key)
{
    struct job_call *call = add(s, job, "thread_create");
    set(job, call, 0, text(id));
    if (key)
        set(job, call, 1, text(key));
    set(job, call, 4, integer(1));
}

static struct job *new_thread(struct store *s, const char *id)
{
    struct job *job = job_new(JOB_WRITE);
    add_thread(s, job, id, NULL);
    return submit(s, job);
}

static enum err write_thread(struct store *s, const char *id, struct err_info *info)
{
    struct job *job = new_thread(s, id);
    wait_all();
    if (info)
        *info = job->error;
    enum err e = job->error.code;
    job_free(job);
    return e;
}

static struct job *new_read(struct store *s, const char *name, int64_t n)
{
    struct job *job = job_new(JOB_READ);
    struct job_call *call = add(s, job, name);
    if (call->statement->param_count)
        set(job, call, 0, integer(n));
    return submit(s, job);
}

static int64_t count_threads(struct store *s)
{
    struct job *job = new_read(s, "test_count", 0);
    wait_all();
    int64_t n = job->error.code ? -1 : job->calls[0]->rows->values[0].as.integer;
    job_free(job);
    return n;
}

static void close_now(struct store *s)
{
    store_close(s, NULL);
    store_join(s);
}

static struct store *open_with(const char *path, int busy_ms, bool is_read_only, struct err_info *info)
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

static struct store *open_store(const char *path)
{
    struct err_info info;
    struct store *s = open_with(path, 5000, false, &info);
    if (!s)
        printf("open %s: %s\n", path, info.text);
    ASSERT(s);
    return s;
}

static void close_store(struct store *s)
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
static sqlite3 *open_raw(const char *path)
{
    sqlite3 *db;
    int rc = sqlite3_open(path, &db);
    ASSERT(rc == SQLITE_OK);
    return db;
}

static void raw(sqlite3 *db, const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        printf("%s: %s\n", sql, message);
    ASSERT(!message);
}

static void raw_on(const char *path, const char *sql)
{
    sqlite3 *db = open_raw(path);
    raw(db, sql);
    sqlite3_close(db);
}

/* The catalogue */

static enum err parse(const char *sql, struct err_info *info, const char *second)
{
    const struct embed_file two[] = {{"db/queries/a.sql", sql, strlen(sql)}, {second, "", 0}};
    struct catalogue *c = NULL;
    enum err e = catalogue_new(&c, two, second ? 2 : 1, info);
    if (!e)
        catalogue_free(c);
    return e;
}

static void test_catalogue(void)
{
    static const char *const wrong[] = {
        "SELECT 1;",
        "-- name: A ()\nSELECT 1;",
        "-- name: a\nSELECT 1;",
        "-- name: a (b\nSELECT 1;",
        "-- name: a (b c)\nSELECT 1;",
        "-- name: a (b, b)\nSELECT 1;",
        "-- name: a () b\nSELECT 1;",
        "-- name: a ()\n",
        "-- name: a ()\nSELECT 1",
        "-- name: a ()\n-- name: b ()\nSELECT 1;",
        "-- name: a ()\nSELECT 1;\n-- name: a ()\nSELECT 2;",
    };
    struct err_info info;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        CHECK(parse(wrong[i], &info, NULL) == ERR_INVALID && strstr(info.text, "db/queries/a.sql:"));
    CHECK(strstr(info.text, "a.sql:3") && strstr(info.text, "a.sql:1") && strstr(info.text, "'a'"));
    CHECK(parse("-- words\n\n-- name: a (b)\n-- more\nSELECT\n $1;\n\n-- name: c ()\nSELECT 1;", &info, NULL) == ERR_OK);
    CHECK(parse("", &info, "db/schema/0002_late.sql") == ERR_INVALID && strstr(info.text, "0001"));
    CHECK(parse("", &info, "db/schema/late.sql") == ERR_INVALID);
}

static enum err prepare_all(const char *sql, struct err_info *info)
{
    const struct embed_file more[] = {{"db/queries/a.sql", sql, sql ? strlen(sql) : 0}};
    struct catalogue *c = NULL;
    struct sqlite *db = NULL;
    enum err e = sql ? catalogue_new(&c, more, 1, info) : catalogue_new(&c, files, file_count, info);
    ASSERT(e == ERR_OK);
    const struct sqlite_options o = {":memory:", c, 1000, false};
    e = schema_open(&db, &o, info);
    ASSERT(e == ERR_OK);
    e = sqlite_prepare_all(db, info);
    sqlite_close(db);
    catalogue_free(c);
    return e;
}

static void test_statements(void)
{
    struct err_info info = {0};
    CHECK(prepare_all(NULL, &info) == ERR_OK);
    if (info.code)
        printf("%s\n", info.text);
    CHECK(prepare_all("-- name: a (b)\nSELECT 1;", &info) == ERR_INVALID && strstr(info.text, "a.sql:1"));
    CHECK(prepare_all("-- name: a ()\nSELECT $1;", &info) == ERR_INVALID);
    CHECK(prepare_all("-- name: a (b)\nSELECT $2;", &info) == ERR_INVALID);
    CHECK(prepare_all("-- name: a ()\nSELECT 1; SELECT 2;", &info) == ERR_INVALID && strstr(info.text, "one statement"));
    CHECK(prepare_all("-- name: a ()\nSELEKT 1;", &info) == ERR_DB && strstr(info.text, "SELEKT"));
}

/* Values, files, memory */

static void test_values(const char *path)
{
    struct store *s = open_store(path);
    struct job *job = job_new(JOB_READ);
    struct job_call *call = add(s, job, "test_values");
    set(job, call, 0, (struct value){.type = VALUE_TEXT, .as.text = {"a\0b", 3}});
    set(job, call, 1, integer(INT64_MIN));
    set(job, call, 2, (struct value){.type = VALUE_REAL, .as.real = 0.5});
    submit(s, job);
    wait_all();
    CHECK(job->error.code == ERR_OK && call->row_count == 1 && call->column_count == 4);
    const struct value *v = call->rows->values;
    CHECK(strcmp(call->columns[0], "d") == 0 && v[0].type == VALUE_NULL);
    CHECK(strcmp(call->columns[1], "b") == 0 && v[1].type == VALUE_INTEGER && v[1].as.integer == INT64_MIN);
    CHECK(v[2].type == VALUE_REAL && memcmp(&v[2].as.real, &(double){0.5}, sizeof(double)) == 0);
    CHECK(v[3].type == VALUE_TEXT && v[3].as.text.n == 3 && memcmp(v[3].as.text.p, "a\0b", 3) == 0);
    job_free(job);
    job = new_read(s, "test_rows", STORE_ROWS_MAX + 1);
    wait_all();
    CHECK(job->error.code == ERR_LIMIT && strstr(job->error.text, "test_rows"));
    job_free(job);
    job = new_read(s, "steps_give_up", 1);
    wait_all();
    CHECK(job->error.code == ERR_INVALID && job->blame == JOB_BLAME_CALL);
    job_free(job);
    close_store(s);
}

static int64_t raw_integer(const char *path, const char *sql)
{
    sqlite3 *db = open_raw(path);
    sqlite3_stmt *stmt = NULL;
    sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    int64_t n = sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1;
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return n;
}

static void test_new_file(void)
{
    const char *path = path_of("new/deep/a.db");
    struct stat st;
    struct store *s = open_store(path);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    CHECK(stat(path_of("new/deep"), &st) == 0 && (st.st_mode & 0777) == 0700);
    CHECK(write_thread(s, "thread_1", NULL) == ERR_OK);
    CHECK(stat(path_of("new/deep/a.db-wal"), &st) == 0 && (st.st_mode & 0777) == 0600);
    close_store(s);
    CHECK(access(path_of("new/deep/a.db-wal"), F_OK) != 0); /* the last connection cleaned up */
    CHECK(raw_integer(path, "PRAGMA page_size") == 8192 && raw_integer(path, "PRAGMA application_id") == 0x50657269);
    CHECK(raw_integer(path, "PRAGMA user_version") == 1);
}

/* Group commit, isolation, expectations */

static void test_group_commit(const char *path)
{
    enum { N = 300 };
    struct store *s = open_store(path);
    sqlite3 *other = open_raw(path);
    struct job *jobs[N];
    raw(other, "BEGIN IMMEDIATE");
    struct store_stats before = store_stats(s);
    for (int i = 0; i < N; i++) {
        char id[32];
        snprintf(id, sizeof id, "thread_%d", i);
        jobs[i] = new_thread(s, i == 200 ? "thread_100" : id); /* one of them is a duplicate */
    }
    /* A read does not wait behind the writer, who waits for the other process. */
    int64_t begin_ms = now_ms();
    struct job *read = new_read(s, "test_count", 0);
    read->user = &(int){1};
    while (*(int *)read->user)
        loop_step(loop, LOOP_WAIT);
    pending--;
    CHECK(read->error.code == ERR_OK && now_ms() - begin_ms < 1000 && pending == N);
    job_free(read);
    raw(other, "ROLLBACK");
    sqlite3_close(other);
    wait_all();
    struct store_stats after = store_stats(s);
    CHECK(after.batches - before.batches == N);
    CHECK(after.transactions - before.transactions <= 3); /* at most one alone, 256, and the rest */
    int failures = 0;
    for (int i = 0; i < N; i++) {
        failures += jobs[i]->error.code != ERR_OK;
        CHECK(jobs[i]->error.code == (i == 200 ? ERR_DB_CONSTRAINT : ERR_OK));
        job_free(jobs[i]);
    }
    CHECK(failures == 1 && count_threads(s) == N - 1);
    close_store(s);
}

static void test_batches(const char *path)
{
    struct store *s = open_store(path);
    int64_t n = count_threads(s);
    struct job *job = job_new(JOB_WRITE);
    add_thread(s, job, "b1", NULL);
    add_thread(s, job, "b2", "key");
    add_thread(s, job, "b3", "key"); /* taken: nothing happens */
    job->calls[2]->expect = 1;
    submit(s, job);
    wait_all();
    CHECK(job->error.code == ERR_DB_CONSTRAINT && job->blame == JOB_BLAME_EXPECTATION && job->failed_call == 2);
    CHECK(strstr(job->error.text, "thread_create") && count_threads(s) == n);
    job_free(job);
    job = job_new(JOB_WRITE);
    add_thread(s, job, "b1", "key");
    add_thread(s, job, "b2", "key");
    struct job_call *call = add(s, job, "thread_by_key");
    set(job, call, 0, text("key"));
    submit(s, job);
    wait_all();
    CHECK(job->error.code == ERR_OK && job->calls[0]->changes == 1 && job->calls[1]->changes == 0 && call->changes == 1);
    CHECK(slice_is(call->rows->values[0].as.text, "b1") && count_threads(s) == n + 1);
    job_free(job);
    close_store(s);
}

static void test_queue_and_close(const char *path)
{
    enum { N = STORE_QUEUE_MAX + 700 };
    struct store *s = open_store(path);
    sqlite3 *other = open_raw(path);
    int64_t n = count_threads(s);
    raw(other, "BEGIN IMMEDIATE");
    for (int i = 0; i < N; i++) {
        char id[32];
        snprintf(id, sizeof id, "q%d", i);
        struct job *job = job_new(JOB_WRITE);
        add_thread(s, job, id, NULL);
        store_submit(s, job);
        if (i % 2)
            job_free(job); /* nobody waits: it is written all the same, and freed by the store */
    }
    raw(other, "COMMIT");
    sqlite3_close(other);
    close_now(s); /* with jobs in the queue, and beyond it */
    while (loop_is_alive(loop))
        loop_step(loop, LOOP_WAIT);
    s = open_store(path);
    CHECK(count_threads(s) == n + N);
    close_store(s);
}

static void test_memory(void)
{
    struct store *s = open_store(":memory:");
    CHECK(write_thread(s, "m", NULL) == ERR_OK && count_threads(s) == 1);
    struct job *job = submit(s, job_new(JOB_CHECK));
    wait_all();
    CHECK(job->error.code == ERR_OK && job->calls[0]->row_count == 0);
    job_free(job);
    close_store(s);
    s = open_store(":memory:");
    CHECK(count_threads(s) == 0);
    close_now(s);
    CHECK(access(":memory:", F_OK) != 0);
}

static void test_checkpoint(void)
{
    const char *path = path_of("checkpoint.db");
    struct store *s = open_store(path);
    char *big = mem_zero(1, 100001);
    memset(big, 'x', 100000);
    struct stat st;
    for (int i = 0; i < 150; i++) {
        char id[32];
        snprintf(id, sizeof id, "c%d", i);
        struct job *job = job_new(JOB_WRITE);
        add_thread(s, job, id, NULL);
        set(job, job->calls[0], 3, text(big));
        submit(s, job);
        wait_all();
        job_free(job);
    }
    mem_free(big);
    CHECK(stat(path_of("checkpoint.db-wal"), &st) == 0 && st.st_size < (off_t)(STORE_WAL_BYTES + (1u << 20)));
    unsigned long long before = store_stats(s).checkpoints;
    CHECK(before >= 3);
    CHECK(write_thread(s, "last", NULL) == ERR_OK);
    sleep_ms(STORE_IDLE_MS * 4);
    CHECK(store_stats(s).checkpoints == before + 1); /* in the idle moment, once */
    close_store(s);
}

/* Databases that cannot be used */

static void check_refused(const char *path, bool is_read_only, enum err expected, const char *word)
{
    struct err_info info;
    struct store *s = open_with(path, 200, is_read_only, &info);
    CHECK(!s && info.code == expected);
    CHECK(strstr(info.text, word) && strstr(info.text, strrchr(path, '/') + 1));
    if (s || info.code != expected || !strstr(info.text, word))
        printf("%s: %d %s\n", path, info.code, info.text);
    if (s)
        close_store(s);
}

static void write_bytes(const char *path, off_t at, const char *p, size_t n)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    ssize_t written = pwrite(fd, p, n, at);
    ASSERT(written == (ssize_t)n);
    close(fd);
}

static const char *copy_of(const char *from, const char *name)
{
    char command[512];
    snprintf(command, sizeof command, "cp %s %s", from, path_of(name));
    int rc = system(command);
    ASSERT(rc == 0);
    return path_of(name);
}

static void test_refused(const char *good)
{
    const char *path = path_of("garbage.db");
    char bytes[5000];
    memset(bytes, 'g', sizeof bytes);
    write_bytes(path, 0, bytes, sizeof bytes);
    check_refused(path, false, ERR_DB_CORRUPT, "not a database");
    path = copy_of(good, "truncated.db");
    int rc = truncate(path, 3 * 8192 + 100);
    ASSERT(rc == 0);
    check_refused(path, false, ERR_DB_CORRUPT, "damaged");
    struct stat st;
    CHECK(stat(path, &st) == 0 && st.st_size == 3 * 8192 + 100); /* nobody touched it */
    write_bytes(path_of("empty.db-wal"), 0, bytes, 100);
    write_bytes(path_of("empty.db"), 0, bytes, 0);
    check_refused(path_of("empty.db"), false, ERR_DB_CORRUPT, "-wal");
    raw_on(path_of("foreign.db"), "CREATE TABLE t (a)");
    check_refused(path_of("foreign.db"), false, ERR_DB_OPEN, "another program");
    raw_on(path_of("foreign2.db"), "PRAGMA application_id = 7; PRAGMA user_version = 1");
    check_refused(path_of("foreign2.db"), false, ERR_DB_OPEN, "another program");
    path = copy_of(good, "newer.db");
    raw_on(path, "PRAGMA user_version = 7");
    check_refused(path, false, ERR_DB_NEWER, "version 7, this one knows 1");
    check_refused(path, true, ERR_DB_NEWER, "version 7");
    check_refused(path_of("missing.db"), true, ERR_DB_OPEN, "No such file");
    CHECK(access(path_of("missing.db"), F_OK) != 0);
    raw_on(path_of("fresh.db"), "PRAGMA journal_mode = WAL");
    check_refused(path_of("fresh.db"), true, ERR_DB_READONLY, "migrated");
    check_refused(path_of("garbage.db/x.db"), false, ERR_DB_OPEN, "x.db");
    path = path_of("locked.db");
    sqlite3 *other = open_raw(path);
    raw(other, "BEGIN EXCLUSIVE");
    check_refused(path, false, ERR_DB_LOCKED, "locked");
    sqlite3_close(other);
}

static void test_read_only(const char *good)
{
    struct err_info info;
    struct store *s = open_with(good, 200, true, &info);
    CHECK(s && count_threads(s) > 0);
    CHECK(write_thread(s, "no", &info) == ERR_DB_READONLY && strstr(info.text, "opened read-only"));
    close_store(s);
    if (getuid() != 0)
        return;
    const char *path = copy_of(good, "owned.db"); /* somebody else's, who may read it */
    int rc = chmod(path, 0644) | chmod(folder, 0777);
    ASSERT(rc == 0);
    pid_t pid = fork();
    if (pid == 0) {
        const struct sqlite_options o = {path, NULL, 200, false};
        struct catalogue *c = NULL;
        struct sqlite *db = NULL;
        struct sqlite_options options = o;
        bool is_ready = setresuid(65534, 65534, 65534) == 0 && catalogue_new(&c, files, file_count, &info) == ERR_OK;
        options.catalogue = c;
        bool is_refused = is_ready && schema_open(&db, &options, &info) == ERR_DB_READONLY;
        _exit(is_refused && strstr(info.text, "owned.db is read-only") ? 0 : 1);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    CHECK(status == 0);
}

static void test_locked_and_migrated(const char *path)
{
    struct err_info info;
    struct store *s = open_with(path, 200, false, &info);
    sqlite3 *other = open_raw(path);
    raw(other, "BEGIN IMMEDIATE");
    int64_t begin_ms = now_ms();
    CHECK(write_thread(s, "l1", &info) == ERR_DB_LOCKED && now_ms() - begin_ms >= 190);
    raw(other, "COMMIT");
    CHECK(write_thread(s, "l1", &info) == ERR_OK);
    raw(other, "PRAGMA user_version = 9"); /* a newer program migrates under us */
    CHECK(write_thread(s, "l2", &info) == ERR_DB_NEWER && strstr(info.text, "version 9"));
    raw(other, "PRAGMA user_version = 1");
    CHECK(write_thread(s, "l2", &info) == ERR_OK);
    sqlite3_close(other);
    close_store(s);
}

/* A disk that fails: the real file system, with an fsync of the log that can be told to fail. */

static sqlite3_vfs failing_vfs;
static sqlite3_io_methods failing_methods;
static const sqlite3_io_methods *real_methods;
static int sync_failures;

static int failing_sync(sqlite3_file *file, int flags)
{
    if (__atomic_load_n(&sync_failures, __ATOMIC_SEQ_CST) > 0) {
        __atomic_sub_fetch(&sync_failures, 1, __ATOMIC_SEQ_CST);
        return SQLITE_IOERR_FSYNC;
    }
    return real_methods->xSync(file, flags);
}

static int failing_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    sqlite3_vfs *real = vfs->pAppData;
    int rc = real->xOpen(real, name, file, flags, out_flags);
    if (rc == SQLITE_OK && (flags & SQLITE_OPEN_WAL)) {
        real_methods = file->pMethods;
        failing_methods = *file->pMethods;
        failing_methods.xSync = failing_sync;
        file->pMethods = &failing_methods;
    }
    return rc;
}

static void test_failed_fsync(void)
{
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    failing_vfs = *real;
    failing_vfs.zName = "failing";
    failing_vfs.pAppData = real;
    failing_vfs.xOpen = failing_open;
    sqlite3_vfs_register(&failing_vfs, 1);
    const char *path = path_of("fsync.db");
    struct err_info info;
    struct store *s = open_store(path);
    CHECK(write_thread(s, "f1", NULL) == ERR_OK);
    __atomic_store_n(&sync_failures, 1, __ATOMIC_SEQ_CST);
    CHECK(write_thread(s, "f2", &info) == ERR_DB && strstr(info.text, "fsync.db"));
    CHECK(write_thread(s, "f3", &info) == ERR_DB && strstr(info.text, "until the database is opened again"));
    CHECK(count_threads(s) == 1);
    close_store(s);
    s = open_store(path);
    CHECK(write_thread(s, "f3", NULL) == ERR_OK);
    close_store(s);
    sqlite3_vfs_unregister(&failing_vfs);
}

static void test_full_disk(void)
{
    const char *mount_point = path_of("small");
    mkdir(mount_point, 0700);
    if (mount("tmpfs", mount_point, "tmpfs", 0, "size=1m") != 0) {
        printf("skipped: a full disk (mounting is not permitted)\n");
        return;
    }
    const char *path = path_of("small/full.db"), *ballast = path_of("small/ballast");
    struct err_info info;
    struct store *s = open_store(path);
    CHECK(write_thread(s, "before", NULL) == ERR_OK);
    char bytes[4096] = {0};
    int fd = open(ballast, O_RDWR | O_CREAT, 0600);
    while (write(fd, bytes, sizeof bytes) > 0) {
    }
    close(fd);
    enum err e = ERR_OK;
    int written = 1;
    for (int i = 0; i < 100 && !e; i++) {
        char id[16];
        snprintf(id, sizeof id, "d%d", i);
        e = write_thread(s, id, &info);
        written += !e;
    }
    CHECK(e == ERR_DB_FULL && strstr(info.text, "full.db"));
    CHECK(count_threads(s) == written);
    CHECK(write_thread(s, "again", &info) == ERR_DB_FULL);
    unlink(ballast);
    CHECK(write_thread(s, "after", &info) == ERR_OK);
    CHECK(count_threads(s) == written + 1);
    close_store(s);
    s = open_store(path);
    CHECK(count_threads(s) == written + 1);
    close_store(s);
    umount(mount_point);
}

/* Backup and check */

static enum err run_backup(struct store *s, const char *to, struct err_info *info)
{
    struct job *job = job_new(JOB_BACKUP);
    struct slice path;
    enum err e = job_copy(job, (struct slice){to, strlen(to)}, &path);
    ASSERT(e == ERR_OK);
    job->path = path.p;
    submit(s, job);
    wait_all();
    *info = job->error;
    job_free(job);
    return info->code;
}

static void test_backup(const char *path)
{
    struct err_info info;
    struct store *s = open_store(path);
    int64_t n = count_threads(s);
    const char *to = path_of("backup.db");
    CHECK(run_backup(s, to, &info) == ERR_OK);
    CHECK(access(path_of("backup.db.partial"), F_OK) != 0);
    struct stat st;
    CHECK(stat(to, &st) == 0 && (st.st_mode & 0777) == 0600);
    CHECK(run_backup(s, to, &info) == ERR_DB_OPEN && strstr(info.text, "exists"));
    CHECK(run_backup(s, path_of("no/where.db"), &info) == ERR_DB_OPEN);
    close_store(s);
    s = open_store(to);
    CHECK(count_threads(s) == n);
    close_store(s);
}

static size_t count_problems(const char *path, const char *word)
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

static void test_check(const char *good)
{
    const char *path = copy_of(good, "check.db");
    CHECK(count_problems(path, "") == 0);
    raw_on(path, "INSERT INTO messages VALUES (7 << 40, 'run_x', 'user', 'complete', '{}', 1)");
    CHECK(count_problems(path, "thread") == 2); /* no such thread, no such run */
    raw_on(path, "UPDATE threads SET next_seq = 5 WHERE id = 'b1'");
    CHECK(count_problems(path, "thread b1 has given out 4") == 1);
    raw_on(path, "PRAGMA foreign_keys = OFF; INSERT INTO steps (run_id, seq, kind, status, started_at) "
                 "VALUES ('run_y', 2, 'tool', 'started', 1)");
    CHECK(count_problems(path, "run_y") == 2 && count_problems(path, "a row of steps") == 1);
    /* Bytes of a page in the middle. */
    char bytes[3000];
    memset(bytes, 0xa5, sizeof bytes);
    write_bytes(path, raw_integer(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'threads'") * 8192 - 5000, bytes,
                sizeof bytes);
    CHECK(count_problems(path, "") > 5);
}

/* Processes */

static pid_t start_writer(const char *path, const char *name, int count, int *out)
{
    int pipe_fds[2];
    char number[16];
    int rc = pipe2(pipe_fds, O_CLOEXEC);
    ASSERT(rc == 0);
    snprintf(number, sizeof number, "%d", count);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipe_fds[1], STDOUT_FILENO);
        execl(self, self, path, name, number, (char *)NULL);
        _exit(127);
    }
    close(pipe_fds[1]);
    *out = pipe_fds[0];
    return pid;
}

/* The other side: writes rows, 8 at a time, and says each number once it is acknowledged. */
static int writer_main(const char *path, const char *name, int count)
{
    struct store *s = open_store(path);
    for (int i = 0; i < count; i += 8) {
        struct job *jobs[8];
        for (int j = 0; j < 8; j++) {
            char id[64];
            snprintf(id, sizeof id, "%s-%d", name, i + j);
            jobs[j] = new_thread(s, id);
        }
        wait_all();
        for (int j = 0; j < 8; j++) {
            if (jobs[j]->error.code) {
                fprintf(stderr, "%s\n", jobs[j]->error.text);
                return 1;
            }
            job_free(jobs[j]);
            int number = i + j;
            if (write(STDOUT_FILENO, &number, sizeof number) != sizeof number)
                return 1;
        }
    }
    close_store(s);
    return 0;
}

static int read_last(int fd)
{
    int number, last = -1;
    while (read(fd, &number, sizeof number) == sizeof number)
        last = number;
    close(fd);
    return last;
}

static void test_processes(void)
{
    enum { PROCESSES = 4, ROWS = 400 };
    const char *path = path_of("shared.db"); /* they also race to create it */
    pid_t pids[PROCESSES];
    int fds[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", i);
        pids[i] = start_writer(path, name, ROWS, &fds[i]);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status = -1;
        CHECK(read_last(fds[i]) == ROWS - 1);
        waitpid(pids[i], &status, 0);
        CHECK(status == 0);
    }
    struct store *s = open_store(path);
    CHECK(count_threads(s) == PROCESSES * ROWS);
    close_store(s);
}

static void test_kill(void)
{
    enum { ROUNDS = 15 };
    const char *path = path_of("killed.db");
    for (int round = 0; round < ROUNDS; round++) {
        char name[16], sql[128];
        int fd, status;
        snprintf(name, sizeof name, "k%d", round);
        pid_t pid = start_writer(path, name, 1000000, &fd);
        int first;
        ssize_t n = read(fd, &first, sizeof first); /* it writes */
        sleep_ms(round * 7 % 40);
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        int last = read_last(fd);
        CHECK(n == sizeof first && first == 0 && WIFSIGNALED(status));
        struct store *s = open_store(path);
        int64_t all = count_threads(s);
        close_store(s);
        snprintf(sql, sizeof sql, "SELECT COUNT(*) FROM threads WHERE id LIKE '%s-%%'", name);
        int64_t found = raw_integer(path, sql);
        CHECK(found >= last + 1 && found <= last + 1 + 16 && all >= found); /* every acknowledged row, and at most what was on its way */
    }
    CHECK(count_problems(path, "") == 0);
}

int main(int argc, char **argv)
{
    struct err_info info;
    enum err e = loop_open(&loop, clock_system(), &info);
    ASSERT(e == ERR_OK);
    make_files();
    if (argc == 4)
        return writer_main(argv[1], argv[2], (int)strtol(argv[3], NULL, 10));
    self = "/proc/self/exe";
    snprintf(folder, sizeof folder, "%s/perilune-store-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    char *made = mkdtemp(folder);
    ASSERT(made);
    char good[128];
    snprintf(good, sizeof good, "%s", path_of("a.db"));
    test_catalogue();
    test_statements();
    test_values(good);
    test_new_file();
    test_group_commit(good);
    test_batches(good);
    test_queue_and_close(good);
    test_memory();
    test_checkpoint();
    test_refused(good);
    test_read_only(good);
    test_locked_and_migrated(good);
    test_failed_fsync();
    test_full_disk();
    test_backup(good);
    test_check(good);
    test_processes();
    test_kill();
    CHECK(!loop_is_alive(loop) && loop_close(loop) == 0);
    mem_free(files);
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return check_report();
}
