/*
 * catalogue.c - cuts db/queries/NAME.sql into named statements and puts db/schema/NNNN_what.sql in order. It does not
 * understand SQL: whether a statement is correct, and uses exactly its parameters, shows when it is prepared.
 */
#include "catalogue.h"

#include "../base/mem.h"

#include <stdlib.h>
#include <string.h>

#define QUERIES "db/queries/"
#define SCHEMA "db/schema/"
#define MARK "-- name:"
#define MIGRATIONS_MAX 1000

struct catalogue {
    struct statement *statements; /* sorted by name */
    size_t count, cap;
    struct migration *migrations;
    int version;
};

/* Where the parser is: one file. */
struct cursor {
    struct slice file;
    const char *p, *end;
    int line;
};

static bool starts_with(const char *p, const char *end, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(end - p) >= n && memcmp(p, text, n) == 0;
}

static enum err fail(struct err_info *info, const struct cursor *at, const char *text)
{
    return err_set(info, ERR_INVALID, "%.*s:%d: %s", (int)at->file.n, at->file.p, at->line, text);
}

static const char *line_end(const struct cursor *at)
{
    const char *newline = memchr(at->p, '\n', (size_t)(at->end - at->p));
    return newline ? newline : at->end;
}

static void next_line(struct cursor *at)
{
    at->p = line_end(at);
    if (at->p < at->end)
        at->p++;
    at->line++;
}

static const char *skip_blanks(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r'))
        p++;
    return p;
}

static bool is_blank_or_comment(const struct cursor *at)
{
    const char *end = line_end(at), *p = skip_blanks(at->p, end);
    return p == end || starts_with(p, end, "--");
}

/* A word of a-z, 0-9 and '_'; NULL when there is none. */
static char *take_word(const char **p, const char *end)
{
    const char *start = *p;
    while (*p < end && ((**p >= 'a' && **p <= 'z') || (**p >= '0' && **p <= '9') || **p == '_'))
        ++*p;
    return *p > start ? mem_dup(start, (size_t)(*p - start)) : NULL;
}

static bool has_param(const struct statement *s, const char *name, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(s->params[i], name) == 0)
            return true;
    return false;
}

/* "(a, b)" without repetitions and nothing behind it; what was read so far belongs to the statement. */
static bool parse_params(struct statement *s, const char *p, const char *end)
{
    p = skip_blanks(p, end);
    if (p == end || *p++ != '(')
        return false;
    p = skip_blanks(p, end);
    while (p < end && *p != ')') {
        if (s->param_count == STORE_PARAMS_MAX)
            return false;
        char *word = take_word(&p, end);
        if (!word)
            return false;
        s->params[s->param_count++] = word;
        if (has_param(s, word, s->param_count - 1))
            return false;
        p = skip_blanks(p, end);
        if (p < end && *p == ',')
            p = skip_blanks(p + 1, end);
        else if (p < end && *p != ')')
            return false;
    }
    return p < end && skip_blanks(p + 1, end) == end;
}

static struct statement *add_statement(struct catalogue *c, const struct cursor *at)
{
    if (c->count == STORE_STATEMENTS_MAX)
        return NULL;
    if (c->count == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 64;
        c->statements = mem_resize(c->statements, c->cap * sizeof *c->statements);
    }
    struct statement *s = &c->statements[c->count++];
    *s = (struct statement){.origin = at->file, .line = at->line};
    return s;
}

/* The lines up to the next mark, without leading comments and trailing blank lines. */
static struct slice take_sql(struct cursor *at)
{
    while (at->p < at->end && is_blank_or_comment(at) && !starts_with(at->p, at->end, MARK))
        next_line(at);
    const char *start = at->p, *last = at->p;
    while (at->p < at->end && !starts_with(at->p, at->end, MARK)) {
        if (!is_blank_or_comment(at))
            last = line_end(at);
        next_line(at);
    }
    while (last > start && (last[-1] == ' ' || last[-1] == '\r'))
        last--;
    return (struct slice){start, (size_t)(last - start)};
}

static enum err parse_block(struct catalogue *c, struct cursor *at, struct err_info *info)
{
    struct cursor head = *at;
    struct statement *s = add_statement(c, at);
    if (!s)
        return fail(info, &head, "too many statements");
    const char *end = line_end(at), *p = skip_blanks(at->p + strlen(MARK), end);
    s->name = take_word(&p, end);
    if (!s->name || !parse_params(s, p, end))
        return fail(info, &head, "expected '-- name: lower_case_name (parameter, ...)'");
    next_line(at);
    s->sql = take_sql(at);
    if (s->sql.n == 0 || s->sql.p[s->sql.n - 1] != ';')
        return fail(info, &head, "expected one statement that ends with a semicolon");
    return ERR_OK;
}

static enum err parse_queries(struct catalogue *c, const struct embed_file *file, struct err_info *info)
{
    struct cursor at = {{file->name, strlen(file->name)}, file->p, file->p + file->n, 1};
    while (at.p < at.end) {
        if (starts_with(at.p, at.end, MARK)) {
            enum err e = parse_block(c, &at, info);
            if (e)
                return e;
        } else if (is_blank_or_comment(&at)) {
            next_line(&at);
        } else {
            return fail(info, &at, "SQL in front of the first '-- name:' line");
        }
    }
    return ERR_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct statement *)a)->name, ((const struct statement *)b)->name);
}

static enum err sort_statements(struct catalogue *c, struct err_info *info)
{
    if (c->count)
        qsort(c->statements, c->count, sizeof *c->statements, by_name);
    for (size_t i = 0; i < c->count; i++) {
        const struct statement *s = &c->statements[i], *before = i ? s - 1 : NULL;
        if (before && strcmp(s->name, before->name) == 0)
            return err_set(info, ERR_INVALID, "%.*s:%d: statement '%s' is also defined in %.*s:%d", (int)s->origin.n,
                           s->origin.p, s->line, s->name, (int)before->origin.n, before->origin.p, before->line);
        c->statements[i].index = i;
    }
    return ERR_OK;
}

/* "db/schema/0001_init.sql" -> 1; 0 when it is no such name */
static int migration_version(const char *name)
{
    const char *p = name + strlen(SCHEMA);
    int version = 0;
    for (int i = 0; i < 4; i++, p++) {
        if (*p < '0' || *p > '9')
            return 0;
        version = version * 10 + (*p - '0');
    }
    return *p == '_' && version < MIGRATIONS_MAX ? version : 0;
}

static enum err add_migration(struct catalogue *c, const struct embed_file *file, struct err_info *info)
{
    int version = migration_version(file->name);
    if (!version)
        return err_set(info, ERR_INVALID, "%s: expected a name like 0001_what.sql", file->name);
    struct migration *m = &c->migrations[version];
    if (m->file)
        return err_set(info, ERR_INVALID, "%s: %s has the same number", file->name, m->file);
    *m = (struct migration){version, file->name, {file->p, file->n}};
    if (version > c->version)
        c->version = version;
    return ERR_OK;
}

static enum err read_files(struct catalogue *c, const struct embed_file files[], size_t count, struct err_info *info)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = files[i].name, *end = name + strlen(name);
        enum err e = ERR_OK;
        if (starts_with(name, end, QUERIES))
            e = parse_queries(c, &files[i], info);
        else if (starts_with(name, end, SCHEMA))
            e = add_migration(c, &files[i], info);
        if (e)
            return e;
    }
    for (int version = 1; version <= c->version; version++)
        if (!c->migrations[version].file)
            return err_set(info, ERR_INVALID, SCHEMA ": number %04d is missing", version);
    return sort_statements(c, info);
}

enum err catalogue_new(struct catalogue **out, const struct embed_file files[], size_t count, struct err_info *info)
{
    struct catalogue *c = mem_zero(1, sizeof *c);
    c->migrations = mem_zero(MIGRATIONS_MAX, sizeof *c->migrations);
    enum err e = read_files(c, files, count, info);
    if (e) {
        catalogue_free(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void catalogue_free(struct catalogue *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++) {
        struct statement *s = &c->statements[i];
        for (size_t j = 0; j < s->param_count; j++)
            mem_free((void *)s->params[j]);
        mem_free((void *)s->name);
    }
    mem_free(c->statements);
    mem_free(c->migrations);
    mem_free(c);
}

size_t catalogue_count(const struct catalogue *c)
{
    return c->count;
}

const struct statement *catalogue_at(const struct catalogue *c, size_t index)
{
    ASSERT(index < c->count);
    return &c->statements[index];
}

const struct statement *catalogue_find(const struct catalogue *c, const char *name)
{
    const struct statement key = {.name = name};
    return c->count ? bsearch(&key, c->statements, c->count, sizeof *c->statements, by_name) : NULL;
}

int catalogue_version(const struct catalogue *c)
{
    return c->version;
}

const struct migration *catalogue_migration(const struct catalogue *c, int version)
{
    ASSERT(version >= 1 && version <= c->version);
    return &c->migrations[version];
}
