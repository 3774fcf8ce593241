/*
 * file_beneath.h - paths that cannot leave a folder: each component is opened in the one before it and no symbolic link is
 * followed, so that nothing can be exchanged between a check and the use. For file.c only; blocking.
 */
#ifndef PERILUNE_FILE_BENEATH_H
#define PERILUNE_FILE_BENEATH_H

#include "../base/err.h"

struct file_place { /* a name in an open folder */
    int folder;     /* AT_FDCWD, or a descriptor to be closed */
    char *name;     /* one component, or "."; to be freed */
};

/* Where `path` is inside of `root`, which may be any path itself. With makes_folders what is missing on the way is made, the last
 * component too. ERR_PERMISSION for what would leave `root`: "..", an absolute path, a symbolic link. */
MUST_CHECK enum err file_place_open(struct file_place *place, const char *root, const char *path, bool makes_folders,
                                    struct err_info *info);
bool file_place_is_link(const struct file_place *place); /* a symbolic one, now; for messages */
void file_place_close(struct file_place *place);         /* harmless on a zeroed one and when called again */

#endif
