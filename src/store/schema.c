/*
 * schema.c - looks before it touches: whose file is this, how new, is something missing. Each migration is a
 * transaction together with its number, so several processes may start at once and a crash leaves a whole version.
 *
 * Surprising: the file is created here with O_EXCL and not by SQLite. That gives it its mode, and it never closes
 * a descriptor of a database that is open elsewhere in this process, which would drop SQLite's locks.
 */
#include "schema.h"

#include "../base/limits.h"
#include "../base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION_ID 0x50657269 /* "Peri" */
#define PAGE_BYTES 8192

/* Files */

/* Makes the folders of `path`, outermost first; what exists stays as it is. */
static enum err make_folders(const char *path, struct err_info *info)
{
    enum err e = ERR_OK;
    char *folder = mem_str(path);
    for (char *p = strchr(folder + 1, '/'); p && !e; p = strchr(p + 1, '/')) {
        *p = '\0';
        if (mkdir(folder, 0700) != 0 && errno != EEXIST && errno != EISDIR)
            e = err_os(info, ERR_DB_OPEN, errno, "cannot make the folder %s for the database",
                       sqlite_short_path(folder));
        *p = '/';
    }
    mem_free(folder);
    return e;
}

static enum err create_file(const char *path, struct err_info *info)
{
    if (access(path, F_OK) == 0)
        return ERR_OK;
    enum err e = *path ? make_folders(path, info) : ERR_OK;
    if (e)
        return e;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    else if (errno != EEXIST)
        return err_os(info, errno == ENOSPC ? ERR_DB_FULL : ERR_DB_OPEN, errno,
                      "cannot create the database %s: name another path, or fix its permissions",
                      sqlite_short_path(path));
    return ERR_OK;
}

/* An empty database beside a log: somebody cut it off. SQLite would delete the log, and with it the last commits. */
static bool has_lost_its_head(const char *path)
{
    struct stat database, log;
    size_t n = strlen(path);
    char *log_path = mem_alloc(n + sizeof "-wal");
    memcpy(log_path, path, n);
    memcpy(log_path + n, "-wal", sizeof "-wal");
    bool is_lost = stat(path, &database) == 0 && database.st_size == 0 && stat(log_path, &log) == 0 &&
                   log.st_size > 0 && stat(path, &database) == 0 &&
                   database.st_size == 0; /* again: another process may just be creating it */
    mem_free(log_path);
    return is_lost;
}

static enum err prepare_file(const struct sqlite_options *options, struct err_info *info)
{
    const char *path = options->path;
    if (sqlite_is_memory(path))
        return ERR_OK;
    enum err e = options->is_read_only ? ERR_OK : create_file(path, info);
    if (!e && has_lost_its_head(path))
        return err_set(info, ERR_DB_CORRUPT,
                       "the database %s is empty, but its log (-wal) is not: keep both and restore a backup",
                       sqlite_short_path(path));
    return e;
}

/* What is in it */

struct found {
    int64_t application, version, cookie; /* cookie: 0 when there has never been a table */
};

static enum err look(struct sqlite *c, struct found *f, struct err_info *info)
{
    enum err e = sqlite_pragma(c, "schema_version", &f->cookie, info);
    if (!e)
        e = sqlite_pragma(c, "application_id", &f->application, info);
    if (!e)
        e = sqlite_pragma(c, "user_version", &f->version, info);
    return e;
}

static enum err fail_newer(struct sqlite *c, int64_t version, struct err_info *info)
{
    const struct sqlite_options *o = sqlite_options(c);
    return err_set(
        info, ERR_DB_NEWER,
        "the database %s was written by a newer Perilune (schema version %lld, this one knows %d): update Perilune, or "
        "name another database",
        sqlite_short_path(o->path), (long long)version, catalogue_version(o->catalogue));
}

static enum err judge(struct sqlite *c, const struct found *f, struct err_info *info)
{
    const struct sqlite_options *o = sqlite_options(c);
    const char *path = sqlite_short_path(o->path);
    bool is_new = f->cookie == 0 && f->application == 0 && f->version == 0;
    if (!is_new && f->application != APPLICATION_ID)
        return err_set(info, ERR_DB_OPEN,
                       "%s is a database of another program (application id %lld): name another file", path,
                       (long long)f->application);
    if (f->version > catalogue_version(o->catalogue))
        return fail_newer(c, f->version, info);
    if (o->is_read_only && f->version < catalogue_version(o->catalogue) && !sqlite_is_memory(o->path))
        return err_set(info, ERR_DB_READONLY,
                       "the database %s has schema version %lld and must be migrated to %d: open it for "
                       "writing once",
                       path, (long long)f->version, catalogue_version(o->catalogue));
    if (!o->is_read_only && sqlite3_db_readonly(sqlite_handle(c), "main"))
        return err_set(info, ERR_DB_READONLY,
                       "the database %s is read-only: fix its permissions, or open it with read_only", path);
    return ERR_OK;
}

/* Migrating */

static enum err run_script(struct sqlite *c, const struct migration *m, struct err_info *info)
{
    char *sql = mem_dup(m->sql.p, m->sql.n);
    enum err e = sqlite_exec(c, sql, m->file, info);
    mem_free(sql);
    if (!e && m->version == 1)
        e = sqlite_pragma_set(c, "application_id", APPLICATION_ID, info);
    if (!e)
        e = sqlite_pragma_set(c, "user_version", m->version, info);
    return e;
}

/* All that is missing, in one transaction: a new database is there with one sync, and no half-way version is ever seen. */
static enum err apply_all(struct sqlite *c, const struct catalogue *catalogue, struct err_info *info)
{
    int64_t version = 0;
    enum err e = sqlite_begin(c, false, info);
    if (!e)
        e = sqlite_pragma(c, "user_version", &version, info); /* another process may have been faster */
    while (!e && version < catalogue_version(catalogue))
        e = run_script(c, catalogue_migration(catalogue, (int)++version), info);
    if (!e)
        e = sqlite_commit(c, info);
    sqlite_rollback(c);
    return e;
}

static enum err migrate(struct sqlite *c, const struct found *f, struct err_info *info)
{
    const struct catalogue *catalogue = sqlite_options(c)->catalogue;
    enum err e = f->cookie == 0 ? sqlite_pragma_set(c, "page_size", PAGE_BYTES, info) : ERR_OK;
    if (!e)
        e = sqlite_use_wal(c, info);
    if (!e && f->version < catalogue_version(catalogue))
        e = apply_all(c, catalogue, info);
    return e;
}

/* Public */

enum err schema_verify(struct sqlite *c, struct err_info *info)
{
    int64_t version = 0;
    enum err e = sqlite_pragma(c, "user_version", &version, info);
    if (!e && version > catalogue_version(sqlite_options(c)->catalogue))
        e = fail_newer(c, version, info);
    return e;
}

enum err schema_open(struct sqlite **out, const struct sqlite_options *options, struct err_info *info)
{
    struct sqlite *c = NULL;
    struct found found = {0};
    enum err e = prepare_file(options, info);
    if (!e)
        e = sqlite_open(&c, options, info);
    if (!e)
        e = look(c, &found, info);
    if (!e)
        e = judge(c, &found, info);
    if (!e && !options->is_read_only)
        e = migrate(c, &found, info);
    if (e) {
        sqlite_close(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}
