/*
 * log.c - one line, one write(2). It knows no files and no rotation: that is for whoever reads standard error.
 *
 * Secrets are replaced before anything is escaped or cut, so that neither hides one from the search; each is
 * searched for in every spelling it may have in a line (as it is, inside JSON, inside a URL). The clock on a
 * text line is UTC, as on a JSON line: local time would need the time zone database and its lock.
 */
#include "log.h"

#include "date.h"
#include "json.h"
#include "limits.h"
#include "mem.h"
#include "utf8.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECRET_BYTES_MIN 8
#define SECRET_BYTES_MAX 8192
#define TAIL_BYTES 32 /* kept free in a line for its end */
#define REDACTED "[redacted]"

struct log { /* owned by main */
    int fd;
    struct clock *clock;
    _Atomic int level;
    pthread_mutex_t lock; /* guards everything below, and the order of lines */
    enum log_format format;
    bool use_colour;
    struct slice *secrets; /* the bytes are ours */
    size_t secrets_n;
    bool is_first[256]; /* some secret begins with this byte */
    struct buf clean, line;
};

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

/* Secrets */

static size_t longest_secret_at(const struct log *l, const char *p, const char *end)
{
    size_t longest = 0;
    if (!l->is_first[(uint8_t)*p])
        return 0;
    for (size_t i = 0; i < l->secrets_n; i++) {
        struct slice s = l->secrets[i];
        if (s.n > longest && s.n <= (size_t)(end - p) && memcmp(s.p, p, s.n) == 0)
            longest = s.n;
    }
    return longest;
}

/* How many bytes from p are secret: those that overlap the one that begins here are part of it. */
static size_t secret_at(const struct log *l, const char *p, const char *end)
{
    const char *covered = p + longest_secret_at(l, p, end);
    for (const char *q = p + 1; q < covered; q++) {
        size_t n = longest_secret_at(l, q, end);
        if (n > (size_t)(covered - q))
            covered = q + n;
    }
    return (size_t)(covered - p);
}

/* As much of the bytes as there is room for. */
static enum err add_some(struct buf *out, const char *p, size_t n)
{
    size_t room = out->max - out->n;
    enum err code = buf_add(out, p, n < room ? n : room);
    return n <= room ? code : ERR_LIMIT;
}

/* ERR_LIMIT: `out` is full, with the beginning of the text. */
static enum err redact(const struct log *l, struct slice text, struct buf *out)
{
    const char *p = text.p, *end = text.n ? p + text.n : p;
    enum err code = ERR_OK;
    while (p < end && code == ERR_OK) {
        const char *run = p;
        size_t hidden = 0;
        while (p < end && !(hidden = secret_at(l, p, end)))
            p++;
        code = add_some(out, run, (size_t)(p - run));
        if (hidden && code == ERR_OK)
            code = add_some(out, REDACTED, sizeof REDACTED - 1);
        p += hidden;
    }
    return code;
}

static bool is_known(const struct log *l, struct slice value)
{
    for (size_t i = 0; i < l->secrets_n; i++)
        if (l->secrets[i].n == value.n && memcmp(l->secrets[i].p, value.p, value.n) == 0)
            return true;
    return false;
}

static bool add_spelling(struct log *l, struct slice value)
{
    if (is_known(l, value))
        return true;
    if (l->secrets_n == LOG_SECRETS_MAX)
        return false;
    l->secrets = mem_resize(l->secrets, (l->secrets_n + 1) * sizeof *l->secrets);
    l->secrets[l->secrets_n++] = (struct slice){mem_dup(value.p, value.n), value.n};
    l->is_first[(uint8_t)value.p[0]] = true;
    return true;
}

/* The value inside a JSON string; some writers also escape the slash. */
static void spell_json(struct slice value, bool escape_slash, struct buf *out)
{
    struct buf quoted;
    buf_init(&quoted, out->max);
    enum err code = json_add_string(&quoted, value);
    for (size_t i = 1; code == ERR_OK && i + 1 < quoted.n; i++)
        code = quoted.p[i] == '/' && escape_slash ? buf_add_str(out, "\\/") : buf_add_char(out, quoted.p[i]);
    ASSERT(code == ERR_OK);
    if (quoted.p)
        mem_wipe(quoted.p, quoted.n);
    buf_deinit(&quoted);
}

/* The value inside a URL. */
static void spell_url(struct slice value, struct buf *out)
{
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    enum err code = ERR_OK;
    for (size_t i = 0; code == ERR_OK && i < value.n; i++) {
        char c = value.p[i];
        code = c && strchr(unreserved, c) ? buf_add_char(out, c) : buf_addf(out, "%%%02X", (unsigned)(uint8_t)c);
    }
    ASSERT(code == ERR_OK);
}

bool log_secret_add(struct log *l, const char *value, size_t bytes)
{
    if (bytes < SECRET_BYTES_MIN || bytes > SECRET_BYTES_MAX)
        return false;
    struct slice raw = {value, bytes};
    struct buf spelling;
    buf_init(&spelling, SECRET_BYTES_MAX * 8);
    pthread_mutex_lock(&l->lock);
    bool is_added = add_spelling(l, raw);
    for (int form = 0; is_added && form < 3; form++) {
        buf_clear(&spelling);
        if (form == 2)
            spell_url(raw, &spelling);
        else
            spell_json(raw, form == 1, &spelling);
        is_added = add_spelling(l, (struct slice){spelling.p, spelling.n});
    }
    pthread_mutex_unlock(&l->lock);
    if (spelling.p)
        mem_wipe(spelling.p, spelling.cap);
    buf_deinit(&spelling);
    return is_added;
}

enum err log_redact(struct log *l, struct slice text, struct buf *out)
{
    size_t n = out->n;
    pthread_mutex_lock(&l->lock);
    enum err code = redact(l, text, out);
    pthread_mutex_unlock(&l->lock);
    if (code != ERR_OK)
        out->n = n;
    return code;
}

/* Escaping: nothing a line contains may end it, move the cursor, or look like another line. */

enum style {
    STYLE_TEXT,
    STYLE_JSON, /* the inside of a JSON string */
    STYLE_RAW   /* JSON already: its line breaks are white space */
};

static bool is_plain(char c, enum style style)
{
    if ((uint8_t)c < 0x20 || (uint8_t)c >= 0x7f)
        return false;
    return style != STYLE_JSON || (c != '"' && c != '\\');
}

/* Appends the character at p as it may be shown; *used is its length in the text. */
static enum err add_special(struct buf *line, const char *p, const char *end, enum style style, size_t *used)
{
    int n = utf8_at(p, end);
    *used = (size_t)abs(n);
    if (n < 0)
        return buf_add(line, UTF8_REPLACEMENT, UTF8_REPLACEMENT_BYTES);
    if (n == 2 && (uint8_t)p[0] == 0xc2 && (uint8_t)p[1] < 0xa0)
        return buf_addf(line, "\\u00%02x",
                        (unsigned)(uint8_t)p[1]); /* the other control characters, U+0080 to U+009F */
    if (n > 1)
        return buf_add(line, p, (size_t)n);
    if (style == STYLE_RAW && *p != 0x7f)
        return buf_add_char(line, ' ');
    switch (*p) {
    case '\n':
        return buf_add_str(line, "\\n");
    case '\t':
        return buf_add_str(line, "\\t");
    case '\r':
        return buf_add_str(line, "\\r");
    case '"':
        return buf_add_str(line, "\\\"");
    case '\\':
        return buf_add_str(line, "\\\\");
    default:
        return buf_addf(line, "\\u%04x", (unsigned)*p);
    }
}

/* ERR_LIMIT: the line is full; it ends with a whole character. */
static enum err add_escaped(struct buf *line, struct slice text, enum style style)
{
    const char *p = text.p, *end = text.n ? p + text.n : p;
    enum err code = ERR_OK;
    while (p < end && code == ERR_OK) {
        const char *run = p;
        while (p < end && is_plain(*p, style))
            p++;
        code = add_some(line, run, (size_t)(p - run));
        if (p < end && code == ERR_OK) {
            size_t used;
            code = add_special(line, p, end, style, &used);
            p += used;
        }
    }
    return code;
}

static enum err add_clean(struct log *l, struct slice text, enum style style)
{
    buf_clear(&l->clean);
    enum err redacted = redact(l, text, &l->clean);
    enum err escaped = add_escaped(&l->line, (struct slice){l->clean.p, l->clean.n}, style);
    return redacted == ERR_OK ? escaped : redacted;
}

/* Fields */

struct member { /* of a JSON object, as it is written there */
    struct slice key, value;
    bool is_string;
};

/* `r` reads a document that was found valid. False: there are no more members. */
static bool next_member(struct json_reader *r, struct member *m)
{
    struct json_token t;
    enum err code = json_next(r, &t);
    if (code != ERR_OK || t.kind != JSON_KEY)
        return false;
    m->key = t.text;
    m->value.p = r->p;
    unsigned depth = r->depth;
    do {
        code = json_next(r, &t);
    } while (code == ERR_OK && r->depth > depth);
    while (*m->value.p == ' ' || *m->value.p == '\t' || *m->value.p == '\n' || *m->value.p == '\r')
        m->value.p++;
    m->value.n = (size_t)(r->p - m->value.p);
    m->is_string = t.kind == JSON_STRING;
    return code == ERR_OK;
}

static bool is_own_key(struct slice key)
{
    return slice_is(key, "time") || slice_is(key, "level") || slice_is(key, "area") || slice_is(key, "message");
}

static enum err add_json_member(struct buf *line, const struct member *m)
{
    enum err code = buf_add_str(line, is_own_key(m->key) ? ",\"_" : ",\"");
    if (code == ERR_OK)
        code = add_escaped(line, m->key, STYLE_RAW);
    if (code == ERR_OK)
        code = buf_add_str(line, "\":");
    return code == ERR_OK ? add_escaped(line, m->value, STYLE_RAW) : code;
}

static bool is_bare(struct slice text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == ' ' || text.p[i] == '\\' || text.p[i] == '=' || text.p[i] == '\'')
            return false;
    return text.n > 0;
}

static enum err add_text_member(struct buf *line, const struct member *m)
{
    enum err code = buf_add_char(line, ' ');
    if (code == ERR_OK)
        code = add_escaped(line, m->key, STYLE_RAW);
    if (code == ERR_OK)
        code = buf_add_char(line, '=');
    struct slice value = m->value;
    struct slice inside = {value.p + 1, value.n >= 2 ? value.n - 2 : 0};
    if (m->is_string && is_bare(inside))
        value = inside;
    return code == ERR_OK ? add_escaped(line, value, STYLE_RAW) : code;
}

/* Fields that do not fit are left out whole. */
static enum err add_fields(struct log *l, struct slice json,
                           enum err (*add_member)(struct buf *, const struct member *))
{
    struct json_reader r;
    struct json_token t;
    buf_clear(&l->clean);
    if (redact(l, json, &l->clean) != ERR_OK)
        return ERR_LIMIT;
    struct slice clean = {l->clean.p, l->clean.n};
    json_reader_init(&r, clean, NULL);
    if (json_validate(clean, NULL) != ERR_OK || json_next(&r, &t) != ERR_OK || t.kind != JSON_OBJECT)
        return ERR_INVALID;
    struct member m;
    enum err code = ERR_OK;
    size_t n = l->line.n;
    while (code == ERR_OK && next_member(&r, &m)) {
        n = l->line.n;
        code = add_member(&l->line, &m);
    }
    if (code != ERR_OK)
        l->line.n = n;
    return code;
}

/* Lines. The line's limit leaves room for its end while its contents are written. */

static void begin_line(struct log *l)
{
    buf_clear(&l->line);
    l->line.max = LOG_LINE_BYTES_MAX - TAIL_BYTES;
}

static void end_line(struct log *l, const char *tail)
{
    l->line.max = LOG_LINE_BYTES_MAX;
    enum err code = buf_add_str(&l->line, tail);
    ASSERT(code == ERR_OK);
}

static void json_line(struct log *l, enum log_level level, const char *area, struct slice message, struct slice fields)
{
    char time[DATE_ISO_BYTES];
    date_iso(clock_wall_us(l->clock), true, time);
    begin_line(l);
    enum err code = buf_addf(&l->line, "{\"time\":\"%s\",\"level\":\"%s\",\"area\":\"", time, level_names[level]);
    if (code == ERR_OK)
        code = add_clean(l, (struct slice){area, strnlen(area, 256)}, STYLE_JSON);
    if (code == ERR_OK)
        code = buf_add_str(&l->line, "\",\"message\":\"");
    if (code == ERR_OK)
        code = add_clean(l, message, STYLE_JSON);
    if (code == ERR_OK)
        code = buf_add_char(&l->line, '"');
    if (code != ERR_OK) {
        end_line(l, "\",\"cut\":true}\n");
        return;
    }
    if (fields.n)
        code = add_fields(l, fields, add_json_member);
    end_line(l, code == ERR_OK ? "}\n" : code == ERR_LIMIT ? ",\"cut\":true}\n" : ",\"fields\":\"not JSON\"}\n");
}

static void text_line(struct log *l, enum log_level level, const char *area, struct slice message, struct slice fields)
{
    static const char *const colours[] = {"\x1b[2m", "", "\x1b[33m", "\x1b[31m"};
    char time[DATE_ISO_BYTES];
    date_iso(clock_wall_us(l->clock), true, time);
    begin_line(l);
    enum err code = buf_addf(&l->line, "%s%.12s%s %s%-5s%s ", l->use_colour ? "\x1b[2m" : "", time + 11,
                             l->use_colour ? "\x1b[0m" : "", l->use_colour ? colours[level] : "", level_names[level],
                             l->use_colour ? "\x1b[0m" : "");
    if (code == ERR_OK)
        code = add_clean(l, (struct slice){area, strnlen(area, 256)}, STYLE_TEXT);
    if (code == ERR_OK)
        code = buf_add_str(&l->line, "  ");
    if (code == ERR_OK)
        code = add_clean(l, message, STYLE_TEXT);
    if (code == ERR_OK && fields.n)
        code = buf_add_char(&l->line, ' ');
    if (code == ERR_OK && fields.n)
        code = add_fields(l, fields, add_text_member);
    end_line(l, code == ERR_OK ? "\n" : code == ERR_LIMIT ? " (cut)\n" : " (fields: not JSON)\n");
}

/* Blocks like a blocking descriptor even where somebody made it nonblocking. A line that cannot be written is lost:
 * there is nowhere left to say so. */
static void write_line(struct log *l)
{
    for (size_t done = 0; done < l->line.n;) {
        ssize_t n = write(l->fd, l->line.p + done, l->line.n - done);
        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno == EAGAIN)
            (void)poll(&(struct pollfd){.fd = l->fd, .events = POLLOUT}, 1, -1);
        else if (n == 0 || errno != EINTR)
            return;
    }
}

void log_write(struct log *l, enum log_level level, const char *area, struct slice message, struct slice fields_json)
{
    if (!log_is_on(l, level))
        return;
    pthread_mutex_lock(&l->lock);
    if (l->format == LOG_JSON)
        json_line(l, level, area, message, fields_json);
    else
        text_line(l, level, area, message, fields_json);
    write_line(l);
    pthread_mutex_unlock(&l->lock);
}

void log_printf(struct log *l, enum log_level level, const char *area, const char *format, ...)
{
    if (!log_is_on(l, level))
        return;
    ASSERT(format);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    ASSERT(n >= 0);
    char *text = mem_alloc((size_t)n + 1); /* whole, however long: half a secret would not be recognised */
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    log_write(l, level, area, (struct slice){text, (size_t)n}, (struct slice){NULL, 0});
    mem_free(text);
}

/* Settings */

bool log_level_parse(const char *name, enum log_level *level)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_is_on(struct log *l, enum log_level level)
{
    return level < LOG_OFF && (int)level >= atomic_load_explicit(&l->level, memory_order_relaxed);
}

void log_set_level(struct log *l, enum log_level level)
{
    atomic_store_explicit(&l->level, (int)level, memory_order_relaxed);
}

void log_set_format(struct log *l, enum log_format format, bool use_colour)
{
    pthread_mutex_lock(&l->lock);
    l->format = format;
    l->use_colour = use_colour;
    pthread_mutex_unlock(&l->lock);
}

struct log *log_new(int fd, struct clock *clock)
{
    struct log *l = mem_zero(1, sizeof *l);
    l->fd = fd;
    l->clock = clock;
    l->level = LOG_INFO;
    buf_init(&l->clean, LOG_LINE_BYTES_MAX);
    buf_init(&l->line, LOG_LINE_BYTES_MAX);
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void log_free(struct log *l)
{
    for (size_t i = 0; i < l->secrets_n; i++) {
        mem_wipe((char *)l->secrets[i].p, l->secrets[i].n);
        mem_free((char *)l->secrets[i].p);
    }
    mem_free(l->secrets);
    buf_deinit(&l->clean);
    buf_deinit(&l->line);
    pthread_mutex_destroy(&l->lock);
    mem_free(l);
}
