/*
 * file.c - the operations, written as plain blocking code that runs in a thread of the pool. It does not watch
 * files and does not keep them open between jobs.
 *
 * A dropped job is not stopped in the middle: the thread finishes what it is doing and the job is freed when its
 * end is reported to the loop.
 */
#include "file.h"

#include "../base/limits.h"
#include "../base/mem.h"
#include "../base/token.h"
#include "file_beneath.h"
#include "loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#define MODE_BITS 07777

struct file_job { /* owned by the starter until file_drop, then by its work */
    uv_work_t work;
    struct file_request request; /* path, root and data are ours */
    struct file_place place;     /* where the path leads */
    int nofollow;                /* inside of a root: O_NOFOLLOW */
    struct file_result result;
    struct buf out;
    bool is_done, is_dropped;
    void (*on_done)(void *user);
    void *user;
};

/* Failing */

static enum err code_of(int os_errno)
{
    switch (os_errno) {
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_PERMISSION;
    default:
        return ERR_IO;
    }
}

static enum err fail(struct file_job *j, int os_errno, const char *what)
{
    if (j->nofollow && file_place_is_link(&j->place))
        return err_set(&j->result.info, ERR_PERMISSION, "%.160s is refused: a symbolic link is not followed",
                       j->request.path);
    return err_os(&j->result.info, code_of(os_errno), os_errno, "cannot %s %.160s", what, j->request.path);
}

/* Reading */

/* The buffer grows only when one more byte is there, so that a file of known size is read into memory of that size. */
static enum err read_all(struct file_job *j, int fd)
{
    struct buf *out = &j->out;
    for (;;) {
        char next;
        size_t room = out->cap - 1 - out->n;
        ssize_t n = read(fd, room ? out->p + out->n : &next, room ? room : 1);
        if (n == 0)
            return ERR_OK;
        if (n < 0 && errno != EINTR)
            return fail(j, errno, "read");
        if (n > 0 && room)
            out->n += (size_t)n;
        else if (n > 0 && buf_add_char(out, next) != ERR_OK)
            return err_set(&j->result.info, ERR_LIMIT, "cannot read %.160s: larger than %zu bytes", j->request.path,
                           out->max);
    }
}

static enum err do_read(struct file_job *j)
{
    struct stat st;
    int fd = openat(j->place.folder, j->place.name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | j->nofollow);
    if (fd < 0)
        return fail(j, errno, "open");
    enum err code;
    buf_init(&j->out, j->request.bytes_max);
    if (fstat(fd, &st) < 0)
        code = fail(j, errno, "read");
    else if (!S_ISREG(st.st_mode))
        code = err_set(&j->result.info, ERR_INVALID, "cannot read %.160s: not a regular file", j->request.path);
    else if (st.st_size > 0 && (uint64_t)st.st_size > j->request.bytes_max)
        code = err_set(&j->result.info, ERR_LIMIT, "cannot read %.160s: %lld bytes, more than %zu", j->request.path,
                       (long long)st.st_size, j->request.bytes_max);
    else if (buf_reserve(&j->out, (size_t)st.st_size) != ERR_OK)
        code = ERR_LIMIT;
    else
        code = read_all(j, fd);
    close(fd);
    return code;
}

/* Writing */

static int write_all(int fd, struct slice data)
{
    for (size_t done = 0; done < data.n;) {
        ssize_t n = write(fd, data.p + done, data.n - done);
        if (n >= 0)
            done += (size_t)n;
        else if (errno != EINTR)
            return errno;
    }
    return 0;
}

static int sync_folder_of(int at, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == path ? mem_str("/") : slash ? mem_dup(path, (size_t)(slash - path)) : mem_str(".");
    int fd = openat(at, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mem_free(folder);
    if (fd < 0)
        return errno;
    int rc = fsync(fd) < 0 && errno != EINVAL && errno != EROFS ? errno : 0; /* some file systems cannot */
    close(fd);
    return rc;
}

/* A name in the same folder that nobody else has. */
static char *temp_name(const char *path)
{
    uint8_t random[8];
    char hex[2 * sizeof random + 1];
    struct buf name;
    token_random(NULL, random, sizeof random);
    token_hex(random, sizeof random, hex);
    buf_init(&name, strlen(path) + 32);
    enum err code = buf_addf(&name, "%s.%s.tmp", path, hex);
    ASSERT(code == ERR_OK);
    return buf_take(&name, NULL);
}

/* Gives the temporary file its name. A link fails where the name is taken, a rename takes it over. */
static int move_into_place(int at, const char *temp, const char *path, bool is_new)
{
    if (!is_new)
        return renameat(at, temp, at, path) < 0 ? errno : 0;
    int rc = linkat(at, temp, at, path, 0) < 0 ? errno : 0;
    if (rc == 0)
        unlinkat(at, temp, 0);
    return rc;
}

static int write_and_rename(const struct file_job *j, const char *path, int mode)
{
    int at = j->place.folder, rc = 0;
    char *temp = temp_name(path);
    int fd = openat(at, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                    mode == FILE_MODE_DEFAULT ? 0666 : mode & 0600);
    if (fd < 0)
        rc = errno;
    else if (mode != FILE_MODE_DEFAULT && fchmod(fd, (mode_t)mode) < 0)
        rc = errno;
    if (rc == 0)
        rc = write_all(fd, j->request.data);
    if (rc == 0 && fsync(fd) < 0)
        rc = errno;
    if (fd >= 0 && close(fd) < 0 && rc == 0)
        rc = errno;
    if (rc == 0)
        rc = move_into_place(at, temp, path, j->request.is_new);
    if (rc && fd >= 0)
        unlinkat(at, temp, 0);
    mem_free(temp);
    return rc ? rc : sync_folder_of(at, path);
}

static enum err fail_exists(struct file_job *j)
{
    return err_set(&j->result.info, ERR_INVALID, "cannot write %.160s: it exists already", j->request.path);
}

static enum err do_write(struct file_job *j)
{
    struct stat st;
    int mode = j->request.mode;
    char *target = NULL; /* what a symbolic link points to */
    if (fstatat(j->place.folder, j->place.name, &st, j->nofollow ? AT_SYMLINK_NOFOLLOW : 0) == 0) {
        if (S_ISLNK(st.st_mode))
            return fail(j, ELOOP, "write");
        if (!S_ISREG(st.st_mode))
            return err_set(&j->result.info, ERR_INVALID, "cannot write %.160s: not a regular file", j->request.path);
        if (j->request.is_new)
            return fail_exists(j);
        if (mode == FILE_MODE_DEFAULT)
            mode = (int)(st.st_mode & MODE_BITS);
        target = j->request.root ? NULL : realpath(j->request.path, NULL);
    }
    int rc = write_and_rename(j, target ? target : j->place.name, mode);
    mem_free(target);
    if (rc == EEXIST)
        return fail_exists(j);
    return rc ? fail(j, rc, "write") : ERR_OK;
}

/* A pipe or a device cannot be meant where a tool may write. */
static bool is_regular(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static enum err do_append(struct file_job *j)
{
    int mode = j->request.mode == FILE_MODE_DEFAULT ? 0666 : j->request.mode;
    int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | j->nofollow;
    int fd = openat(j->place.folder, j->place.name, flags, mode);
    if (fd < 0)
        return fail(j, errno, "append to");
    int rc = j->request.root && !is_regular(fd) ? ENXIO : write_all(fd, j->request.data);
    if (close(fd) < 0 && rc == 0)
        rc = errno;
    return rc ? fail(j, rc, "append to") : ERR_OK;
}

/* Folders */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static enum err pack_names(struct buf *out, char **names, size_t n)
{
    enum err code = ERR_OK;
    buf_init(out, (size_t)FILE_NAMES_MAX * (NAME_MAX + 1));
    for (size_t i = 0; i < n && code == ERR_OK; i++)
        code = buf_add(out, names[i], strlen(names[i]) + 1);
    return code;
}

static enum err do_list(struct file_job *j)
{
    int fd = openat(j->place.folder, j->place.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | j->nofollow);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) {
        int os_errno = errno;
        if (fd >= 0)
            close(fd);
        return fail(j, os_errno, "list");
    }
    char **names = NULL;
    size_t n = 0, cap = 0;
    enum err code = ERR_OK;
    errno = 0;
    for (struct dirent *e; code == ERR_OK && (e = readdir(folder));) {
        if (is_dots(e->d_name))
            continue;
        if (n == FILE_NAMES_MAX) {
            code = err_set(&j->result.info, ERR_LIMIT, "cannot list %.160s: more than %d names (FILE_NAMES_MAX)",
                           j->request.path, FILE_NAMES_MAX);
            break;
        }
        if (n == cap)
            names = mem_resize(names, (cap = cap ? cap * 2 : 64) * sizeof *names);
        names[n++] = mem_str(e->d_name);
    }
    if (code == ERR_OK && errno)
        code = fail(j, errno, "list");
    closedir(folder);
    if (n)
        qsort(names, n, sizeof *names, compare_names);
    if (code == ERR_OK)
        code = pack_names(&j->out, names, n);
    while (n)
        mem_free(names[--n]);
    mem_free(names);
    return code;
}

static enum err do_stat(struct file_job *j)
{
    struct stat st;
    if (fstatat(j->place.folder, j->place.name, &st, j->nofollow ? AT_SYMLINK_NOFOLLOW : 0) < 0)
        return fail(j, errno, "look at");
    j->result.stat = (struct file_stat){
        .type = S_ISREG(st.st_mode)   ? "file"
                : S_ISDIR(st.st_mode) ? "directory"
                : S_ISLNK(st.st_mode) ? "link"
                                      : "other",
        .size = st.st_size,
        .modified_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000,
        .mode = (int)(st.st_mode & MODE_BITS),
    };
    return ERR_OK;
}

static int make_folder(const char *path)
{
    struct stat st;
    if (mkdir(path, 0777) == 0)
        return 0;
    int rc = errno;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? 0 : rc;
}

static enum err do_mkdir(struct file_job *j)
{
    if (j->request.root)
        return ERR_OK; /* the way there was made */
    char *path = mem_str(j->request.path);
    int rc = 0;
    for (char *p = path + 1; path[0] && *p && rc == 0; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        rc = make_folder(path);
        *p = '/';
    }
    if (rc == 0)
        rc = make_folder(path);
    mem_free(path);
    return rc ? fail(j, rc, "make the folder") : ERR_OK;
}

/* Removes what is inside the folder; takes the descriptor. */
static int empty_folder(int fd, int depth)
{
    DIR *folder = depth > FILE_DEPTH_MAX ? NULL : fdopendir(fd);
    if (!folder) {
        int rc = depth > FILE_DEPTH_MAX ? ELOOP : errno;
        close(fd);
        return rc;
    }
    int rc = 0;
    for (struct dirent *e; rc == 0 && (e = readdir(folder));) {
        if (is_dots(e->d_name) || unlinkat(fd, e->d_name, 0) == 0)
            continue;
        rc = errno;
        if (rc != EISDIR && rc != EPERM)
            break;
        int inner = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (inner < 0)
            break;
        rc = empty_folder(inner, depth + 1);
        if (rc == 0 && unlinkat(fd, e->d_name, AT_REMOVEDIR) < 0)
            rc = errno;
    }
    closedir(folder);
    return rc;
}

static enum err do_remove(struct file_job *j)
{
    int rc = 0;
    if (j->request.is_recursive) {
        int fd = open(j->request.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0)
            rc = empty_folder(fd, 1);
        else if (errno != ENOTDIR && errno != ELOOP) /* not a folder, or a link to one */
            rc = errno;
    }
    if (rc == 0 && remove(j->request.path) < 0)
        rc = errno;
    return rc ? fail(j, rc, "remove") : ERR_OK;
}

static enum err do_temp_dir(struct file_job *j)
{
    const char *parent = getenv("TMPDIR");
    buf_init(&j->out, PATH_MAX);
    if (buf_addf(&j->out, "%s/%sXXXXXX", parent && *parent ? parent : "/tmp", j->request.path) != ERR_OK)
        return fail(j, ENAMETOOLONG, "make a temporary folder");
    return mkdtemp(j->out.p) ? ERR_OK : fail(j, errno, "make a temporary folder");
}

/* Jobs */

static enum err (*const verbs[FILE_VERBS])(struct file_job *) = {
    [FILE_READ] = do_read, [FILE_WRITE] = do_write, [FILE_APPEND] = do_append, [FILE_LIST] = do_list,
    [FILE_STAT] = do_stat, [FILE_MKDIR] = do_mkdir, [FILE_REMOVE] = do_remove, [FILE_TEMP_DIR] = do_temp_dir,
};

static void free_job(struct file_job *j)
{
    mem_free((char *)j->request.path);
    mem_free((char *)j->request.root);
    mem_free((char *)j->request.data.p);
    buf_deinit(&j->out);
    mem_free(j);
}

static enum err find_place(struct file_job *j)
{
    const struct file_request *r = &j->request;
    if (r->root)
        return file_place_open(&j->place, r->root, r->path, r->verb == FILE_MKDIR, &j->result.info);
    j->place = (struct file_place){AT_FDCWD, mem_str(r->path)};
    return ERR_OK;
}

static void on_work(uv_work_t *work) /* in a thread of the pool */
{
    struct file_job *j = CONTAINER_OF(work, struct file_job, work);
    j->result.code = find_place(j);
    if (j->result.code == ERR_OK)
        j->result.code = verbs[j->request.verb](j);
    file_place_close(&j->place);
    j->result.bytes = (struct slice){j->out.n ? j->out.p : "", j->out.n};
}

static void on_worked(uv_work_t *work, int rc)
{
    UNUSED(rc); /* UV_ECANCELED: it was dropped before a thread took it */
    struct file_job *j = CONTAINER_OF(work, struct file_job, work);
    j->is_done = true;
    if (j->is_dropped)
        free_job(j);
    else
        j->on_done(j->user);
}

struct file_job *file_start(struct loop *loop, const struct file_request *request, void (*on_done)(void *user),
                            void *user)
{
    struct file_job *j = mem_zero(1, sizeof *j);
    j->request = *request;
    j->request.path = mem_str(request->path);
    j->request.root = request->root ? mem_str(request->root) : NULL;
    j->nofollow = request->root ? O_NOFOLLOW : 0;
    j->request.data.p = mem_dup(request->data.p, request->data.n);
    j->on_done = on_done;
    j->user = user;
    int rc = uv_queue_work(loop_uv(loop), &j->work, on_work, on_worked);
    ASSERT(rc == 0); /* fails only without a callback */
    return j;
}

bool file_is_done(const struct file_job *j)
{
    return j->is_done;
}

const struct file_result *file_result(const struct file_job *j)
{
    ASSERT(j->is_done);
    return &j->result;
}

void file_drop(struct file_job *j)
{
    if (j->is_done) {
        free_job(j);
        return;
    }
    j->is_dropped = true;
    uv_cancel((uv_req_t *)&j->work); /* if no thread has it yet; on_worked runs either way */
}
