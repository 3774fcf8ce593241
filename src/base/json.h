/*
 * json.h - the exact JSON codec, without Lua: a reader that yields one token a call, and helpers that
 * write. RFC 8259, nothing else: 64-bit integers stay integers, doubles read back identical, text is
 * UTF-8. The reader allocates nothing; its tokens borrow from the document. Any thread.
 */
#ifndef PERILUNE_JSON_H
#define PERILUNE_JSON_H

#include "buf.h"
#include "limits.h"

enum json_kind {
    JSON_END, /* the document is complete */
    JSON_OBJECT,
    JSON_OBJECT_END,
    JSON_ARRAY,
    JSON_ARRAY_END,
    JSON_KEY,
    JSON_STRING,
    JSON_INTEGER,
    JSON_DOUBLE, /* finite */
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL
};

struct json_token {
    enum json_kind kind;
    bool is_plain;     /* KEY, STRING: `text` is the text; otherwise json_unescape or json_text makes it */
    struct slice text; /* KEY, STRING: the bytes between the quotes, borrowed from the document */
    size_t text_bytes; /* KEY, STRING: how many bytes the text has once unescaped */
    int64_t integer;   /* INTEGER */
    double number;     /* DOUBLE */
};

struct json_reader { /* owns nothing */
    const char *start, *p, *end;
    struct err_info *info; /* may be NULL */
    unsigned depth, depth_max;
    unsigned char expect;
    bool repair;      /* ill-formed UTF-8 and lone surrogates become U+FFFD instead of failing */
    bool is_repaired; /* that has happened */
    bool is_object[JSON_DEPTH_MAX];
};

/* `text` must stay valid while tokens are used. A byte order mark at the start is skipped. The caller may then set
 * `repair`, and `depth_max` up to JSON_DEPTH_MAX, its default. The size of the text is the caller's to limit. */
void json_reader_init(struct json_reader *r, struct slice text, struct err_info *info);
/* The next token, JSON_END after the last. Fails with ERR_JSON, which ends the use of the reader. It does not look
 * for duplicate keys: that is for whoever remembers the keys. */
MUST_CHECK enum err json_next(struct json_reader *r, struct json_token *t);
/* Fills the reader's info with "invalid JSON at line L, column C (byte B): ..." for `at`, a place in the document;
 * returns ERR_JSON. For callers that find more to object to. */
enum err json_fail(struct json_reader *r, const char *at, const char *format, ...) PRINTF_LIKE(3, 4);
/* Writes the text_bytes bytes of a KEY or STRING to `to`, without a NUL. */
void json_unescape(const struct json_token *t, char *to);
/* The text of a KEY or STRING: borrowed from the document when plain, otherwise from `scratch`, which is cleared
 * first. Fails with ERR_LIMIT when scratch is too small for it. */
MUST_CHECK enum err json_text(const struct json_token *t, struct buf *scratch, struct slice *out);
/* ERR_OK when `text` is one document (duplicate keys are not looked for), else ERR_JSON. */
MUST_CHECK enum err json_validate(struct slice text, struct err_info *info);

/* Writing a string into the caller's memory: measure it, make room, write it. (Numbers: decimal.h.) */
struct json_measure {
    size_t bytes;  /* as a JSON string, quotes included */
    bool is_plain; /* nothing to escape and nothing to repair */
    bool is_utf8;  /* false: every ill-formed piece is written as U+FFFD */
};
struct json_measure json_measure(struct slice text);
/* Writes exactly `m.bytes` bytes, where m = json_measure(text). */
void json_write_string(char *to, struct slice text, struct json_measure m);

/* Append to a buf; ERR_LIMIT when it is full. Strings that are not UTF-8 are repaired, doubles must be finite. */
MUST_CHECK enum err json_add_string(struct buf *b, struct slice text);
MUST_CHECK enum err json_add_integer(struct buf *b, int64_t value);
MUST_CHECK enum err json_add_double(struct buf *b, double value);

/* `text` as a NUL-terminated JSON string for a message, shortened with "..." to fit `out_bytes` (at least 16). */
void json_quote(struct slice text, char *out, size_t out_bytes);

#endif
