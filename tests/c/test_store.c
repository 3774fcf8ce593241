/*
 * test_store.c - the store from the loop's side: the catalogue, group commit, readers, queues, closing, several
 * processes and processes that are killed. Started with arguments it is one of the writing processes.
 */
#include "store_kit.h"

#include <signal.h>
#include <sys/wait.h>

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
    CHECK(parse("-- words\n\n-- name: a (b)\n-- more\nSELECT\n $1;\n\n-- name: c ()\nSELECT 1;", &info, NULL) ==
          ERR_OK);
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
    CHECK(prepare_all("-- name: a ()\nSELECT 1; SELECT 2;", &info) == ERR_INVALID &&
          strstr(info.text, "one statement"));
    CHECK(prepare_all("-- name: a ()\nSELEKT 1;", &info) == ERR_DB && strstr(info.text, "SELEKT"));
}

/* Values and memory */

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
    CHECK(after.batches - before.batches == N - 1);
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
    CHECK(job->error.code == ERR_OK && job->calls[0]->changes == 1 && job->calls[1]->changes == 0 &&
          call->changes == 1);
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
        execl("/proc/self/exe", "test_store", path, name, number, (char *)NULL);
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
        CHECK(found >= last + 1 && found <= last + 1 + 16 &&
              all >= found); /* every acknowledged row, and at most what was on its way */
    }
    CHECK(count_problems(path, "") == 0);
}

int main(int argc, char **argv)
{
    kit_begin();
    if (argc == 4) {
        rmdir(folder);
        return writer_main(argv[1], argv[2], (int)strtol(argv[3], NULL, 10));
    }
    char path[128];
    snprintf(path, sizeof path, "%s", path_of("a.db"));
    test_catalogue();
    test_statements();
    test_values(path);
    test_memory();
    test_group_commit(path);
    test_batches(path);
    test_queue_and_close(path);
    test_checkpoint();
    test_processes();
    test_kill();
    return kit_end();
}
