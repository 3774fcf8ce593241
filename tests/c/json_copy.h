/*
 * json_copy.h - for the tests of json.c: reads a document and writes every token again, without white space. Two
 * documents that say the same have the same copy.
 */
#ifndef PERILUNE_JSON_COPY_H
#define PERILUNE_JSON_COPY_H

#include "../../src/base/json.h"

static inline enum err json_copy_text(const struct json_token *t, struct buf *out)
{
    struct buf scratch;
    struct slice text;
    buf_init(&scratch, JSON_BYTES_MAX);
    enum err err = json_text(t, &scratch, &text);
    if (err == ERR_OK)
        err = json_add_string(out, text);
    if (err == ERR_OK && t->kind == JSON_KEY)
        err = buf_add_char(out, ':');
    buf_deinit(&scratch);
    return err;
}

static inline enum err json_copy_token(const struct json_token *t, struct buf *out)
{
    static const char *const words[] = {
        [JSON_OBJECT] = "{",    [JSON_OBJECT_END] = "}",  [JSON_ARRAY] = "[",    [JSON_ARRAY_END] = "]",
        [JSON_TRUE] = "true",   [JSON_FALSE] = "false",   [JSON_NULL] = "null",
    };
    switch (t->kind) {
    case JSON_KEY:
    case JSON_STRING:
        return json_copy_text(t, out);
    case JSON_INTEGER:
        return json_add_integer(out, t->integer);
    case JSON_DOUBLE:
        return json_add_double(out, t->number);
    default:
        return buf_add_str(out, words[t->kind]);
    }
}

/* `*is_repaired` may only become true when `repair` is. */
static inline enum err json_copy(struct slice text, bool repair, struct buf *out, bool *is_repaired,
                                 struct err_info *info)
{
    struct json_reader r;
    struct json_token t;
    bool needs_comma = false;
    json_reader_init(&r, text, info);
    r.repair = repair;
    buf_clear(out);
    for (;;) {
        enum err err = json_next(&r, &t);
        *is_repaired = r.is_repaired;
        if (err != ERR_OK || t.kind == JSON_END)
            return err;
        bool is_end = t.kind == JSON_OBJECT_END || t.kind == JSON_ARRAY_END;
        if (needs_comma && !is_end)
            err = buf_add_char(out, ',');
        if (err == ERR_OK)
            err = json_copy_token(&t, out);
        if (err != ERR_OK)
            return err;
        needs_comma = t.kind != JSON_OBJECT && t.kind != JSON_ARRAY && t.kind != JSON_KEY;
    }
}

#endif
