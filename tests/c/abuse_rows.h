/*
 * abuse_rows.h - reads the first table of docs/abuse.md: a payload and its verdict in each row. How they are written is said there.
 */
#ifndef PERILUNE_ABUSE_ROWS_H
#define PERILUNE_ABUSE_ROWS_H

#include "serve_client.h"

#include <stdlib.h>

#define ABUSE_TABLE "docs/abuse.md"
#define STATUSES_MAX 64

struct row {
    char what[80];
    struct buf payload;
    int statuses[STATUSES_MAX][4]; /* alternatives, 0-terminated */
    size_t status_count;
    bool closes, keeps;
};

static inline void row_add(struct buf *b, const char *p, size_t n)
{
    CHECK(buf_add(b, p, n) == ERR_OK);
}

static inline size_t row_add_escape(struct buf *b, const char *p)
{
    static const struct { char name, byte; } simple[] = {{'r', '\r'}, {'n', '\n'}, {'t', '\t'}, {'\\', '\\'}};
    for (size_t i = 0; i < ARRAY_LEN(simple); i++) {
        if (p[1] == simple[i].name) {
            row_add(b, &simple[i].byte, 1);
            return 2;
        }
    }
    CHECK(p[1] == 'x');
    char digits[3] = {p[2], p[3], 0}, byte = (char)strtol(digits, NULL, 16);
    row_add(b, &byte, 1);
    return 4;
}

static inline void row_expand(struct buf *b, const char *p, const char *end);

/* {H} {P} {a*100} {more}...{/more 5} */
static inline size_t row_add_macro(struct buf *b, const char *p, const char *end)
{
    const char *close = memchr(p, '}', (size_t)(end - p));
    CHECK(close != NULL);
    if (p[1] == 'H' && p[2] == '}') {
        row_add(b, HOST, strlen(HOST));
    } else if (p[1] == 'P' && p[2] == '}') {
        row_add(b, "POST /echo HTTP/1.1\r\n" HOST, strlen("POST /echo HTTP/1.1\r\n" HOST));
    } else if (p[2] == '*') {
        for (long n = strtol(p + 3, NULL, 10); n > 0; n--)
            row_add(b, p + 1, 1);
    } else {
        const char *stop = strstr(p, "{/more ");
        CHECK(stop != NULL && stop < end);
        for (long n = strtol(stop + 7, NULL, 10); n > 0; n--)
            row_expand(b, close + 1, stop);
        close = strchr(stop, '}');
    }
    return (size_t)(close + 1 - p);
}

static inline void row_expand(struct buf *b, const char *p, const char *end)
{
    while (p < end) {
        if (*p == '\\') {
            p += row_add_escape(b, p);
        } else if (*p == '{') {
            p += row_add_macro(b, p, end);
        } else {
            row_add(b, p++, 1);
        }
    }
}

/* "400/431", "200*50" */
static inline void row_read_statuses(struct row *r, const char *word)
{
    int alternatives[4] = {0};
    char *end;
    long times = 1;
    alternatives[0] = (int)strtol(word, &end, 10);
    for (int i = 1; i < 3 && *end == '/'; i++)
        alternatives[i] = (int)strtol(end + 1, &end, 10);
    if (*end == '*')
        times = strtol(end + 1, NULL, 10);
    for (; times > 0; times--) {
        CHECK(r->status_count < STATUSES_MAX);
        memcpy(r->statuses[r->status_count++], alternatives, sizeof alternatives);
    }
}

/* "200 400/431 close" */
static inline void row_read_verdict(struct row *r, char *text)
{
    char *rest = text;
    for (char *word; (word = strtok_r(rest, " |\n", &rest));) {
        if (strcmp(word, "close") == 0)
            r->closes = true;
        else if (strcmp(word, "keep") == 0)
            r->keeps = true;
        else
            row_read_statuses(r, word);
    }
}

static inline bool row_read(char *line, struct row *r)
{
    int number;
    memset(r, 0, sizeof *r);
    if (sscanf(line, "| %d | %79[^|] |", &number, r->what) != 2)
        return false;
    char *from = strchr(line, '`'), *to = from ? strrchr(line, '`') : NULL;
    if (!from || from == to)
        return false;
    buf_init(&r->payload, 1 << 20);
    row_expand(&r->payload, from + 1, to);
    row_read_verdict(r, to + 1);
    return true;
}

/* Plays every row; the API's, behind the next headline, are for a spec. */
static inline void rows_play(void (*play)(const struct row *))
{
    FILE *file = fopen(ABUSE_TABLE, "r");
    char line[4096];
    size_t rows = 0;
    CHECK(file != NULL);
    while (file && fgets(line, sizeof line, file) && strncmp(line, "## ", 3) != 0) {
        struct row r;
        if (!row_read(line, &r))
            continue;
        play(&r);
        buf_deinit(&r.payload);
        rows++;
    }
    CHECK(rows > 80);
    if (file)
        fclose(file);
}

#endif
