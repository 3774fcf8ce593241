/*
 * catalogue.h - the SQL of db/: named statements and migrations, parsed out of the embedded files.
 *
 *   -- name: message_append (thread_id, role, body)      the parameters $1, $2, ... in order
 *   -- comment lines, then one statement that ends with a semicolon
 *
 * Immutable once made, so any thread may read it. It borrows the files' bytes.
 */
#ifndef PERILUNE_STORE_CATALOGUE_H
#define PERILUNE_STORE_CATALOGUE_H

#include "../base/buf.h"
#include "../base/embed.h"
#include "../base/limits.h"

struct catalogue;

struct statement {
    const char *name;
    struct slice sql;
    size_t index; /* 0 .. catalogue_count - 1, in the order of the names */
    size_t param_count;
    const char *params[STORE_PARAMS_MAX + 1]; /* NULL-terminated */
    struct slice origin;                      /* the file, and ... */
    int line;                                 /* ... the line of its name */
};

struct migration {
    int version;
    const char *file;
    struct slice sql;
};

/* Reads db/queries/ and db/schema/ among the files. Malformed or duplicate names, and migrations that are not
 * numbered 1, 2, 3, ... are ERR_INVALID with file and line. */
MUST_CHECK enum err catalogue_new(struct catalogue **out, const struct embed_file files[], size_t count,
                                  struct err_info *info);
void catalogue_free(struct catalogue *c); /* NULL is fine */

size_t catalogue_count(const struct catalogue *c);
const struct statement *catalogue_at(const struct catalogue *c, size_t index);
const struct statement *catalogue_find(const struct catalogue *c, const char *name); /* NULL: no such name */

int catalogue_version(const struct catalogue *c);                                    /* of the newest migration */
const struct migration *catalogue_migration(const struct catalogue *c, int version); /* 1 .. catalogue_version */

#endif
