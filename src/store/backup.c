/*
 * backup.c - SQLite's backup into "PATH.partial", then a rename that refuses to replace. All pages in one step:
 * that is one read transaction, so other connections may write meanwhile and the copy does not start again.
 */
#include "backup.h"

#include "../base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum err fail_exists(const char *path, struct err_info *info)
{
    return err_set(info, ERR_DB_OPEN, "%s exists: a backup never overwrites, name another file",
                   sqlite_short_path(path));
}

static enum err fail_os(const char *path, int os_errno, struct err_info *info)
{
    return err_os(info, os_errno == ENOSPC ? ERR_DB_FULL : ERR_DB_OPEN, os_errno, "cannot write the backup %s",
                  sqlite_short_path(path));
}

static enum err copy_pages(struct sqlite *c, sqlite3 *to, const char *path, struct err_info *info)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", sqlite_handle(c), "main");
    int rc = backup ? sqlite3_backup_step(backup, -1) : sqlite3_errcode(to);
    if (backup)
        sqlite3_backup_finish(backup);
    if (rc == SQLITE_DONE)
        return ERR_OK;
    if ((rc & 0xff) == SQLITE_FULL)
        return err_set(info, ERR_DB_FULL, "no space left for the backup %s", sqlite_short_path(path));
    return err_set(info, ERR_DB, "cannot write the backup %s: %s", sqlite_short_path(path), sqlite3_errstr(rc));
}

static enum err write_partial(struct sqlite *c, const char *partial, struct err_info *info)
{
    int fd = open(partial, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_os(partial, errno, info);
    close(fd);
    sqlite3 *to = NULL;
    int rc = sqlite3_open_v2(partial, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    enum err e =
        rc ? err_set(info, ERR_DB, "cannot write the backup %s: %s", sqlite_short_path(partial), sqlite3_errstr(rc))
           : copy_pages(c, to, partial, info);
    sqlite3_close(to);
    return e;
}

/* Makes the new name durable; a file system that cannot do that has done what it could. */
static void sync_folder(const char *path)
{
    char *folder = mem_str(path), *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mem_free(folder);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

enum err backup_write(struct sqlite *c, const char *path, struct err_info *info)
{
    if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return fail_exists(path, info);
    size_t n = strlen(path);
    char *partial = mem_alloc(n + sizeof ".partial" + 2);
    snprintf(partial, n + sizeof ".partial" + 2, "%s%s.partial", *path == '/' ? "" : "./", path);
    enum err e = write_partial(c, partial, info);
    if (!e && renameat2(AT_FDCWD, partial, AT_FDCWD, path, RENAME_NOREPLACE) != 0)
        e = errno == EEXIST ? fail_exists(path, info) : fail_os(path, errno, info);
    if (e)
        unlink(partial);
    else
        sync_folder(path);
    mem_free(partial);
    return e;
}
