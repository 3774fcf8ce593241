/*
 * file.h - files, on libuv's thread pool: one job is one whole operation, so that a script waits once and the
 * loop never waits for a disk. Paths are bytes without NUL; messages name them.
 *
 * Loop thread only. Failures: ERR_NOT_FOUND, ERR_PERMISSION, ERR_LIMIT, ERR_INVALID, else ERR_IO.
 */
#ifndef PERILUNE_FILE_H
#define PERILUNE_FILE_H

#include "../base/buf.h"

#define FILE_MODE_DEFAULT (-1) /* what the file has already, or what the umask leaves of 0666 */

struct loop;
struct file_job;

enum file_verb {
    FILE_READ,     /* a regular file, whole; ERR_LIMIT above bytes_max */
    FILE_WRITE,    /* atomic: a new file beside it, fsync, rename, fsync of the folder. Follows a symbolic link. */
    FILE_APPEND,   /* one write at the end, created when missing; not synced */
    FILE_LIST,     /* names in byte order, without . and .. */
    FILE_STAT,     /* follows symbolic links, but not inside of a root */
    FILE_MKDIR,    /* with its parents; fine when it exists */
    FILE_REMOVE,   /* a file or an empty folder; with is_recursive a tree. Never follows symbolic links. */
    FILE_TEMP_DIR, /* `path` is a prefix: a new folder of that name and six characters in $TMPDIR or /tmp */
    FILE_VERBS
};

struct file_request { /* copied */
    enum file_verb verb;
    const char *path;
    /* Not NULL: `path` is inside of this folder, and no symbolic link is followed on the way or at its end. Not for
     * FILE_REMOVE and FILE_TEMP_DIR. */
    const char *root;
    struct slice data; /* FILE_WRITE, FILE_APPEND */
    size_t bytes_max;  /* FILE_READ */
    int mode;          /* FILE_WRITE, FILE_APPEND */
    bool is_new;       /* FILE_WRITE: ERR_INVALID when there is such a file already */
    bool is_recursive; /* FILE_REMOVE */
};

struct file_stat {
    const char *type; /* "file", "directory", "link" (inside of a root only) or "other" */
    int64_t size;
    int64_t modified_us;
    int mode; /* permission bits */
};

struct file_result { /* borrowed from the job */
    enum err code;
    struct err_info info;
    struct slice bytes; /* READ: the contents. TEMP_DIR: the path. LIST: names, each followed by a NUL */
    struct file_stat stat;
};

/* Starts it. The caller owns the job until file_drop; `on_done` runs once, on the loop thread, unless the job is
 * dropped before. */
struct file_job *file_start(struct loop *loop, const struct file_request *request, void (*on_done)(void *user),
                            void *user);
bool file_is_done(const struct file_job *j);
const struct file_result *file_result(const struct file_job *j); /* of a done job */
/* Forgets the job, done or not. What a thread has begun runs to its end; it frees itself then. */
void file_drop(struct file_job *j);

#endif
