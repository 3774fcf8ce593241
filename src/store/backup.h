/*
 * backup.h - a consistent copy of a database while it is in use.
 */
#ifndef PERILUNE_STORE_BACKUP_H
#define PERILUNE_STORE_BACKUP_H

#include "sqlite.h"

/* Copies the database of `c` as it is now into a new file (0600). An existing file is never overwritten
 * (ERR_DB_OPEN), and the name appears only when the copy is whole and on the disk. */
MUST_CHECK enum err backup_write(struct sqlite *c, const char *path, struct err_info *info);

#endif
