/*
 * test_database.c - databases that are new, damaged, foreign, newer, locked, read-only or out of space; a disk
 * whose fsync fails; backups and checks.
 */
#include "store_kit.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/wait.h>

/* A database with threads t0 ... t299. */
static void make_good(const char *path)
{
    struct store *s = open_store(path);
    struct job *job = job_new(JOB_WRITE);
    for (int i = 0; i < 300; i++) {
        char id[16];
        snprintf(id, sizeof id, "t%d", i);
        add_thread(s, job, id, NULL);
    }
    submit(s, job);
    wait_all();
    CHECK(job->error.code == ERR_OK);
    job_free(job);
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

static int newest_schema(void)
{
    int schemas = 0;
    for (size_t i = 0; i < file_count; i++)
        schemas += strncmp(files[i].name, "db/schema/", 10) == 0;
    return schemas;
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
    CHECK(raw_integer(path, "PRAGMA user_version") == newest_schema());
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
    char versions[64];
    snprintf(versions, sizeof versions, "version 77, this one knows %d", newest_schema());
    raw_on(path, "PRAGMA user_version = 77");
    check_refused(path, false, ERR_DB_NEWER, versions);
    check_refused(path, true, ERR_DB_NEWER, versions);
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
    raw(other, "PRAGMA user_version = 99"); /* a newer program migrates under us */
    CHECK(write_thread(s, "l2", &info) == ERR_DB_NEWER && strstr(info.text, "version 99"));
    char as_it_was[64];
    snprintf(as_it_was, sizeof as_it_was, "PRAGMA user_version = %d", newest_schema());
    raw(other, as_it_was);
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

static void test_check(const char *good)
{
    const char *path = copy_of(good, "check.db");
    CHECK(count_problems(path, "") == 0);
    raw_on(path, "INSERT INTO messages VALUES (7 << 40, 'run_x', 'user', 'complete', '{}', 1)");
    CHECK(count_problems(path, "thread") == 2); /* no such thread, no such run */
    raw_on(path, "UPDATE threads SET next_seq = 5 WHERE id = 't1'");
    CHECK(count_problems(path, "thread t1 has given out 4") == 1);
    raw_on(path, "PRAGMA foreign_keys = OFF; INSERT INTO steps (run_id, seq, kind, status, started_at) "
                 "VALUES ('run_y', 2, 'tool', 'started', 1)");
    CHECK(count_problems(path, "run_y") == 2 && count_problems(path, "a row of steps") == 1);
    /* Bytes of a page in the middle. */
    char bytes[3000];
    memset(bytes, 0xa5, sizeof bytes);
    write_bytes(path, raw_integer(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'threads'") * 8192 - 5000,
                bytes, sizeof bytes);
    CHECK(count_problems(path, "") > 5);
}

int main(void)
{
    kit_begin();
    char good[128];
    snprintf(good, sizeof good, "%s", path_of("good.db"));
    make_good(good);
    test_new_file();
    test_refused(good);
    test_read_only(good);
    test_locked_and_migrated(good);
    test_failed_fsync();
    test_full_disk();
    test_backup(good);
    test_check(good);
    return kit_end();
}
