/*
 * file_beneath.c - the walk from a root to a name. openat2 with RESOLVE_BENEATH could follow links that stay inside; it is not
 * there in every kernel and container, and a rule without exceptions is easier to trust: no links.
 */
#include "file_beneath.h"

#include "../base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER (O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

struct walk {
    int folder;
    const char *path; /* for messages */
    struct err_info *info;
};

static enum err refuse(const struct walk *w, const char *why)
{
    return err_set(w->info, ERR_PERMISSION, "%.160s is refused: %s", w->path, why);
}

static enum err fail(const struct walk *w, int os_errno)
{
    enum err code = os_errno == ENOENT || os_errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
    if (os_errno == EACCES || os_errno == EPERM || os_errno == EROFS)
        code = ERR_PERMISSION;
    return err_os(w->info, code, os_errno, "cannot open %.160s", w->path);
}

static bool is_link(int folder, const char *name)
{
    struct stat st;
    return fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
}

/* Goes into the folder of that name. */
static enum err enter(struct walk *w, const char *name, bool makes_folders)
{
    if (makes_folders && mkdirat(w->folder, name, 0777) < 0 && errno != EEXIST)
        return fail(w, errno);
    int inner = openat(w->folder, name, FOLDER | O_NOFOLLOW);
    if (inner < 0) {
        int os_errno = errno;
        return is_link(w->folder, name) ? refuse(w, "a symbolic link is not followed") : fail(w, os_errno);
    }
    close(w->folder);
    w->folder = inner;
    return ERR_OK;
}

static char *take_component(const char **p)
{
    while (**p == '/')
        ++*p;
    size_t n = strcspn(*p, "/");
    char *component = mem_dup(*p, n);
    *p += n;
    return component;
}

/* Leaves the last component in *name. */
static enum err descend(struct walk *w, bool makes_folders, char **name)
{
    enum err code = ERR_OK;
    for (const char *p = w->path; code == ERR_OK && *p;) {
        char *component = take_component(&p);
        if (strcmp(component, "..") == 0) {
            code = refuse(w, "it may not contain '..'");
        } else if (component[0] && strcmp(component, ".") != 0) {
            if (*name)
                code = enter(w, *name, makes_folders);
            mem_free(*name);
            *name = component;
            continue;
        }
        mem_free(component);
    }
    if (code == ERR_OK && makes_folders && *name) {
        code = enter(w, *name, true);
        mem_free(*name);
        *name = NULL;
    }
    return code;
}

enum err file_place_open(struct file_place *place, const char *root, const char *path, bool makes_folders,
                         struct err_info *info)
{
    struct walk w = {.path = path, .info = info};
    if (path[0] == '/')
        return refuse(&w, "it must be relative");
    w.folder = open(root, FOLDER);
    if (w.folder < 0)
        return err_os(info, errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO, errno,
                      "cannot open the folder %.160s", root);
    char *name = NULL;
    enum err code = descend(&w, makes_folders, &name);
    *place = (struct file_place){w.folder, name ? name : mem_str(".")};
    if (code != ERR_OK)
        file_place_close(place);
    return code;
}

bool file_place_is_link(const struct file_place *place)
{
    return is_link(place->folder, place->name);
}

void file_place_close(struct file_place *place)
{
    if (place->name && place->folder >= 0)
        close(place->folder);
    mem_free(place->name);
    place->name = NULL;
}
