/*
 * json.c - the exact JSON codec. It builds no values: that is for api/ljson.c, or for whoever loops over the tokens.
 *
 * The decision that may surprise: strings are handled in two passes, first scanned (checked and measured), then
 * converted if they need it. Most need nothing, and nobody has to grow a buffer.
 */
#include "json.h"

#include "decimal.h"
#include "utf8.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum expect { EXPECT_VALUE, EXPECT_FIRST_VALUE, EXPECT_KEY, EXPECT_FIRST_KEY, EXPECT_COMMA };

#define EXPONENT_MAX 1000000000L /* far above any document's length, so that clamping changes nothing */

/* ---- bytes ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Eight bytes, the first of them lowest; so that the lowest set bit belongs to the first byte that matters. */
static inline uint64_t load_8(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static inline uint64_t load_4(const char *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap32(word);
#endif
    return word;
}

/* Fewer than eight bytes, zeros above them: put together from pieces that may overlap. */
static inline uint64_t load_tail(const char *p, size_t n)
{
    if (n >= 4)
        return load_4(p) | load_4(p + n - 4) << (8 * (n - 4));
    if (n == 0)
        return 0;
    uint64_t first = (unsigned char)p[0], middle = (unsigned char)p[n / 2], last = (unsigned char)p[n - 1];
    return first | middle << (8 * (n / 2)) | last << (8 * (n - 1));
}

/* The lowest byte of the word that a string cannot hold verbatim or that is above ASCII, as its high bit: quotes,
 * backslashes, control characters, above 0x7F. Subtracting borrows into the high bit of a byte that is too small; above
 * such a byte there may be false ones, below it not. */
static inline uint64_t special_bytes(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\');
    return (word | (word - ones * ' ') | (quote - ones) | (backslash - ones)) & highs;
}

/* Skips what is not special, eight bytes at a time. In the last word the zeros behind the end stop it. */
static inline const char *skip_plain(const char *p, const char *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t special = special_bytes(load_8(p));
        if (special)
            return p + (__builtin_ctzll(special) >> 3);
    }
    return p + (__builtin_ctzll(special_bytes(load_tail(p, (size_t)(end - p)))) >> 3);
}

static bool is_surrogate(uint32_t code)
{
    return code >= 0xD800 && code <= 0xDFFF;
}

static bool hex4_at(const char *p, const char *end, uint32_t *code)
{
    if (end - p < 4)
        return false;
    *code = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i], letter = (char)(c | 0x20);
        if (is_digit(c))
            *code = *code << 4 | (uint32_t)(c - '0');
        else if (letter >= 'a' && letter <= 'f')
            *code = *code << 4 | (uint32_t)(letter - 'a' + 10);
        else
            return false;
    }
    return true;
}

/* The length of the escape at p, a backslash, or 0 when there is no such escape. A surrogate pair is one escape; a
 * surrogate without its other half is handed out as it is. */
static size_t escape_at(const char *p, const char *end, uint32_t *code)
{
    static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (end - p < 2)
        return 0;
    if (p[1] != 'u') {
        const char *letter = p[1] ? strchr(letters, p[1]) : NULL;
        *code = letter ? (uint32_t)values[letter - letters] : 0;
        return letter ? 2 : 0;
    }
    uint32_t low;
    if (!hex4_at(p + 2, end, code))
        return 0;
    if (*code < 0xD800 || *code > 0xDBFF || end - p < 12 || p[6] != '\\' || p[7] != 'u' || !hex4_at(p + 8, end, &low) ||
        low < 0xDC00 || low > 0xDFFF)
        return 6;
    *code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
    return 12;
}

/* ---- failures ---- */

enum err json_fail(struct json_reader *r, const char *at, const char *format, ...)
{
    if (!r->info)
        return ERR_JSON;
    size_t line = 1, column = 1;
    for (const char *p = r->start; p < at; p++) {
        if (*p == '\n') {
            line++;
            column = 1;
        } else if (!utf8_is_continuation(*p)) {
            column++;
        }
    }
    char problem[ERR_TEXT_MAX / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(problem, sizeof problem, format, args);
    va_end(args);
    return err_set(r->info, ERR_JSON, "invalid JSON at line %zu, column %zu (byte %zu): %s", line, column,
                   (size_t)(at - r->start) + 1, problem);
}

static enum err fail_expected(struct json_reader *r, const char *at, const char *what)
{
    if (at == r->end)
        return json_fail(r, at, "expected %s, found the end of the text", what);
    if (*at > ' ' && *at < 0x7F)
        return json_fail(r, at, "expected %s, found '%c'", what, *at);
    return json_fail(r, at, "expected %s, found the byte 0x%02X", what, (unsigned)(unsigned char)*at);
}

/* ---- numbers ---- */

static enum err finish_double(struct json_reader *r, const struct decimal *d, bool is_negative, struct json_token *t)
{
    double value = decimal_double(d);
    if (isinf(value))
        return json_fail(r, d->p, "the number is too large for a double");
    t->kind = JSON_DOUBLE;
    t->number = is_negative ? -value : value;
    return ERR_OK;
}

static inline const char *read_digits(struct decimal *d, const char *p, const char *end)
{
    for (; p < end && is_digit(*p); p++) {
        d->value = d->value * 10 + (uint64_t)(*p - '0');
        d->digits++;
    }
    return p;
}

static enum err read_exponent(struct json_reader *r, struct decimal *d)
{
    const char *p = r->p + 1;
    bool is_negative = p < r->end && *p == '-';
    if (p < r->end && (*p == '-' || *p == '+'))
        p++;
    if (p == r->end || !is_digit(*p))
        return fail_expected(r, p, "a digit");
    long exponent = 0;
    for (; p < r->end && is_digit(*p); p++)
        if (exponent < EXPONENT_MAX)
            exponent = exponent * 10 + (*p - '0');
    d->exponent += is_negative ? -exponent : exponent;
    r->p = p;
    return ERR_OK;
}

/* The point and the exponent, both of which may be missing. */
static enum err read_fraction(struct json_reader *r, struct decimal *d, bool is_negative, struct json_token *t)
{
    if (r->p < r->end && *r->p == '.') {
        long before = d->digits;
        r->p = read_digits(d, r->p + 1, r->end);
        if (d->digits == before)
            return fail_expected(r, r->p, "a digit");
        d->exponent = before - d->digits;
    }
    d->end = r->p;
    if (r->p < r->end && (*r->p == 'e' || *r->p == 'E') && read_exponent(r, d) != ERR_OK)
        return ERR_JSON;
    return finish_double(r, d, is_negative, t);
}

/* -0 becomes the double -0.0: no integer keeps its sign. */
static enum err read_number(struct json_reader *r, struct json_token *t)
{
    bool is_negative = *r->p == '-';
    struct decimal d = {.p = r->p + is_negative};
    r->p = read_digits(&d, d.p, r->end);
    if (d.digits == 0)
        return fail_expected(r, r->p, "a digit");
    if (*d.p == '0' && d.digits > 1)
        return json_fail(r, d.p, "a number may not begin with 0");
    bool is_whole = r->p == r->end || (*r->p != '.' && *r->p != 'e' && *r->p != 'E');
    bool fits = d.digits <= 19 && d.value <= (uint64_t)INT64_MAX + is_negative;
    if (!is_whole || !fits || (is_negative && d.value == 0))
        return read_fraction(r, &d, is_negative, t);
    t->kind = JSON_INTEGER;
    t->integer = is_negative ? (int64_t)(0 - d.value) : (int64_t)d.value;
    return ERR_OK;
}

/* ---- strings ---- */

/* One thing in a string that is not plain: an escape or a sequence above ASCII. Moves the reader past it. */
static enum err scan_special(struct json_reader *r, struct json_token *t)
{
    uint32_t code;
    if ((unsigned char)*r->p < ' ')
        return json_fail(r, r->p, "the control character 0x%02X in a string must be escaped", (unsigned)*r->p);
    if (*r->p != '\\') {
        int n = utf8_at(r->p, r->end);
        if (n > 0) {
            r->p += n;
            return ERR_OK;
        }
        if (!r->repair)
            return json_fail(r, r->p, "a string is not UTF-8 (byte 0x%02X)", (unsigned)(unsigned char)*r->p);
        r->is_repaired = true;
        t->is_plain = false;
        t->text_bytes += (size_t)(UTF8_REPLACEMENT_BYTES + n);
        r->p -= n;
        return ERR_OK;
    }
    size_t n = escape_at(r->p, r->end, &code);
    if (n == 0)
        return json_fail(r, r->p, "a backslash that begins no escape");
    if (is_surrogate(code)) {
        if (!r->repair)
            return json_fail(r, r->p, "half of a surrogate pair: \\u%04X", (unsigned)code);
        r->is_repaired = true;
    }
    t->is_plain = false;
    t->text_bytes -= n - utf8_bytes(code);
    r->p += n;
    return ERR_OK;
}

/* From the opening quote to past the closing one. text_bytes first collects, modulo 2^64, how much longer the text
 * is than the bytes between the quotes. */
static enum err read_string(struct json_reader *r, struct json_token *t)
{
    const char *open = r->p, *p = skip_plain(open + 1, r->end);
    t->is_plain = true;
    t->text_bytes = 0;
    while (p < r->end && *p != '"') {
        r->p = p;
        if (scan_special(r, t) != ERR_OK)
            return ERR_JSON;
        p = skip_plain(r->p, r->end);
    }
    if (p == r->end)
        return json_fail(r, open, "a string that does not end");
    t->text = (struct slice){open + 1, (size_t)(p - open) - 1};
    t->text_bytes += t->text.n;
    r->p = p + 1;
    return ERR_OK;
}

void json_unescape(const struct json_token *t, char *to)
{
    const char *p = t->text.p, *end = p + t->text.n;
    for (;;) {
        const char *run = p;
        p = skip_plain(p, end);
        memcpy(to, run, (size_t)(p - run));
        to += p - run;
        if (p == end)
            return;
        if (*p == '\\') {
            uint32_t code;
            p += escape_at(p, end, &code);
            to = utf8_put(to, is_surrogate(code) ? 0xFFFD : code);
        } else {
            int n = utf8_at(p, end);
            size_t bytes = (size_t)(n > 0 ? n : UTF8_REPLACEMENT_BYTES);
            memcpy(to, n > 0 ? p : UTF8_REPLACEMENT, bytes);
            to += bytes;
            p += abs(n);
        }
    }
}

enum err json_text(const struct json_token *t, struct buf *scratch, struct slice *out)
{
    *out = t->text;
    if (t->is_plain)
        return ERR_OK;
    buf_clear(scratch);
    if (buf_reserve(scratch, t->text_bytes) != ERR_OK)
        return ERR_LIMIT;
    json_unescape(t, scratch->p);
    scratch->n = t->text_bytes;
    scratch->p[scratch->n] = '\0';
    *out = (struct slice){scratch->p, scratch->n};
    return ERR_OK;
}

/* ---- the reader ---- */

void json_reader_init(struct json_reader *r, struct slice text, struct err_info *info)
{
    r->start = r->p = text.n ? text.p : "";
    r->end = r->p + text.n;
    r->info = info;
    r->depth = 0;
    r->depth_max = JSON_DEPTH_MAX;
    r->expect = EXPECT_VALUE;
    r->repair = r->is_repaired = false;
    if (text.n >= 3 && memcmp(text.p, UTF8_BYTE_ORDER_MARK, 3) == 0)
        r->p += 3;
}

/* The character after white space, or -1 at the end. */
static inline int peek(struct json_reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\r' || *r->p == '\t'))
        r->p++;
    return r->p < r->end ? (unsigned char)*r->p : -1;
}

static enum err read_open(struct json_reader *r, struct json_token *t, bool is_object)
{
    if (r->depth == r->depth_max)
        return json_fail(r, r->p, "nested deeper than %u levels", r->depth_max);
    r->is_object[r->depth++] = is_object;
    r->expect = is_object ? EXPECT_FIRST_KEY : EXPECT_FIRST_VALUE;
    r->p++;
    t->kind = is_object ? JSON_OBJECT : JSON_ARRAY;
    return ERR_OK;
}

static enum err read_close(struct json_reader *r, struct json_token *t)
{
    r->p++;
    t->kind = r->is_object[--r->depth] ? JSON_OBJECT_END : JSON_ARRAY_END;
    r->expect = EXPECT_COMMA;
    return ERR_OK;
}

static enum err read_literal(struct json_reader *r, struct json_token *t, const char *word, enum json_kind kind)
{
    size_t n = strlen(word);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0)
        return fail_expected(r, r->p, "a value");
    r->p += n;
    t->kind = kind;
    return ERR_OK;
}

static enum err read_value(struct json_reader *r, struct json_token *t, int c)
{
    r->expect = EXPECT_COMMA;
    switch (c) {
    case '"':
        t->kind = JSON_STRING;
        return read_string(r, t);
    case '{':
        return read_open(r, t, true);
    case '[':
        return read_open(r, t, false);
    case 't':
        return read_literal(r, t, "true", JSON_TRUE);
    case 'f':
        return read_literal(r, t, "false", JSON_FALSE);
    case 'n':
        return read_literal(r, t, "null", JSON_NULL);
    default:
        if (c == '-' || (c >= '0' && c <= '9'))
            return read_number(r, t);
        return fail_expected(r, r->p, "a value");
    }
}

static enum err read_key(struct json_reader *r, struct json_token *t, int c)
{
    if (c != '"')
        return fail_expected(r, r->p, r->expect == EXPECT_KEY ? "a key" : "a key or '}'");
    t->kind = JSON_KEY;
    if (read_string(r, t) != ERR_OK)
        return ERR_JSON;
    if (peek(r) != ':')
        return fail_expected(r, r->p, "':' after a key");
    r->p++;
    r->expect = EXPECT_VALUE;
    return ERR_OK;
}

enum err json_next(struct json_reader *r, struct json_token *t)
{
    int c = peek(r);
    if (r->expect == EXPECT_COMMA) {
        if (r->depth == 0) {
            t->kind = JSON_END;
            return c < 0 ? ERR_OK : fail_expected(r, r->p, "the end of the text");
        }
        bool is_object = r->is_object[r->depth - 1];
        if (c == (is_object ? '}' : ']'))
            return read_close(r, t);
        if (c != ',')
            return fail_expected(r, r->p, is_object ? "',' or '}'" : "',' or ']'");
        r->p++;
        c = peek(r);
        r->expect = is_object ? EXPECT_KEY : EXPECT_VALUE;
    } else if ((c == '}' && r->expect == EXPECT_FIRST_KEY) || (c == ']' && r->expect == EXPECT_FIRST_VALUE)) {
        return read_close(r, t);
    }
    if (r->expect == EXPECT_KEY || r->expect == EXPECT_FIRST_KEY)
        return read_key(r, t, c);
    return read_value(r, t, c);
}

enum err json_validate(struct slice text, struct err_info *info)
{
    struct json_reader r;
    struct json_token t;
    json_reader_init(&r, text, info);
    do {
        if (json_next(&r, &t) != ERR_OK)
            return ERR_JSON;
    } while (t.kind != JSON_END);
    return ERR_OK;
}

/* ---- writing ---- */

/* The letter of the two-character escape of c, or 0. */
static char short_escape(char c)
{
    switch (c) {
    case '"':
    case '\\':
        return c;
    case '\n':
        return 'n';
    case '\t':
        return 't';
    case '\r':
        return 'r';
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    default:
        return 0;
    }
}

struct json_measure json_measure(struct slice text)
{
    struct json_measure m = {.bytes = text.n + 2, .is_plain = true, .is_utf8 = true};
    if (text.n == 0)
        return m;
    const char *end = text.p + text.n;
    for (const char *p = skip_plain(text.p, end); p < end; p = skip_plain(p, end)) {
        int n = utf8_at(p, end);
        if (n == 1) {
            m.bytes += short_escape(*p) ? 1 : 5;
            m.is_plain = false;
        } else if (n < 0) {
            m.bytes += (size_t)(UTF8_REPLACEMENT_BYTES + n);
            m.is_plain = m.is_utf8 = false;
        }
        p += abs(n);
    }
    return m;
}

static char *put_special(char *to, const char *p, int n)
{
    static const char hex[] = "0123456789abcdef";
    if (n != 1) {
        size_t bytes = (size_t)(n > 0 ? n : UTF8_REPLACEMENT_BYTES);
        memcpy(to, n > 0 ? p : UTF8_REPLACEMENT, bytes);
        return to + bytes;
    }
    *to++ = '\\';
    char letter = short_escape(*p);
    if (letter) {
        *to++ = letter;
        return to;
    }
    memcpy(to, "u00", 3);
    to[3] = hex[*p >> 4];
    to[4] = hex[*p & 15];
    return to + 5;
}

void json_write_string(char *to, struct slice text, struct json_measure m)
{
    *to++ = '"';
    if (m.is_plain) {
        if (text.n)
            memcpy(to, text.p, text.n);
        to[text.n] = '"';
        return;
    }
    const char *p = text.p, *end = p + text.n;
    for (;;) {
        const char *run = p;
        p = skip_plain(p, end);
        memcpy(to, run, (size_t)(p - run));
        to += p - run;
        if (p == end)
            break;
        int n = utf8_at(p, end);
        to = put_special(to, p, n);
        p += abs(n);
    }
    *to = '"';
}

enum err json_add_string(struct buf *b, struct slice text)
{
    struct json_measure m = json_measure(text);
    if (buf_reserve(b, m.bytes) != ERR_OK)
        return ERR_LIMIT;
    json_write_string(b->p + b->n, text, m);
    b->n += m.bytes;
    b->p[b->n] = '\0';
    return ERR_OK;
}

enum err json_add_integer(struct buf *b, int64_t value)
{
    char text[DECIMAL_BYTES];
    return buf_add(b, text, decimal_write_integer(text, value));
}

enum err json_add_double(struct buf *b, double value)
{
    char text[DECIMAL_BYTES];
    return buf_add(b, text, decimal_write_double(text, value));
}

void json_quote(struct slice text, char *out, size_t out_bytes)
{
    ASSERT(out_bytes >= 16);
    size_t n = text.n < out_bytes ? text.n : out_bytes;
    struct json_measure m;
    for (;; n--) {
        while (n > 0 && n < text.n && utf8_is_continuation(text.p[n]))
            n--;
        m = json_measure((struct slice){text.p, n});
        if (m.bytes + sizeof "..." <= out_bytes)
            break;
    }
    json_write_string(out, (struct slice){text.p, n}, m);
    memcpy(out + m.bytes, "...", sizeof "...");
    if (n == text.n)
        out[m.bytes] = '\0';
}
