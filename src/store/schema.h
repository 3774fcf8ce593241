/*
 * schema.h - opening a database so that its schema is the one this program knows. On the writer's thread, because
 * it may wait for other processes.
 */
#ifndef PERILUNE_STORE_SCHEMA_H
#define PERILUNE_STORE_SCHEMA_H

#include "sqlite.h"

/* Creates the file (0600) and its folder (0700) when they are missing, then migrates. Never repairs, never
 * overwrites: ERR_DB_NEWER, ERR_DB_CORRUPT, ERR_DB_OPEN (another program's file), ERR_DB_READONLY, ERR_DB_LOCKED
 * say what is wrong. */
MUST_CHECK enum err schema_open(struct sqlite **out, const struct sqlite_options *options, struct err_info *info);

/* Inside a transaction: has a newer program migrated the database since it was opened? Then ERR_DB_NEWER. */
MUST_CHECK enum err schema_verify(struct sqlite *c, struct err_info *info);

#endif
