/*
 * http1.c - HTTP/1.1 messages as bytes. No I/O; nothing is copied while parsing.
 *
 * The surprising decision: a head is found first (http1_scan) and parsed once, when it is complete. The scan looks at
 * each byte once, so a head that drips in byte by byte costs no more than one that comes whole, and the parser needs
 * no states. A bare LF is refused by the scan already, so that nobody waits for a head that cannot become valid.
 */
#include "http1.h"

#include "date.h"

#include <string.h>
#include <strings.h>

static enum http1_verdict bad(struct http1_fault *fault, int status, const char *why)
{
    *fault = (struct http1_fault){.status = status, .why = why};
    return HTTP1_BAD;
}

/* Bytes */

static bool is_token(unsigned char c)
{
    /* RFC 9110 5.6.2: letters, digits and !#$%&'*+-.^_`|~ */
    static const uint64_t bits[2] = {0x03ff6cfa00000000u, 0x57ffffffc7fffffeu};
    return c < 128 && (bits[c >> 6] >> (c & 63) & 1);
}

static bool is_value(unsigned char c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

static bool is_target(unsigned char c)
{
    return c > ' ' && c < 0x7f && c != '#';
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static int hex_digit(unsigned char c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static struct slice trim(struct slice s)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

static bool slices_match(struct slice a, struct slice b)
{
    return a.n == b.n && strncasecmp(a.p, b.p, a.n) == 0;
}

bool http1_length(struct slice text, uint64_t *out)
{
    if (!text.n || text.n > 18 || (text.n > 1 && text.p[0] == '0'))
        return false;
    uint64_t length = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (!is_digit((unsigned char)text.p[i]))
            return false;
        length = length * 10 + (uint64_t)(text.p[i] - '0');
    }
    *out = length;
    return true;
}

/* The end of a head */

enum http1_verdict http1_scan(struct http1_scan *s, const char *p, size_t n, size_t bytes_max, size_t *head_bytes,
                              struct http1_fault *fault)
{
    if (n && !is_token((unsigned char)p[0]))
        return bad(fault, 400, "a request begins with a method");
    size_t stop = n < bytes_max ? n : bytes_max;
    const char *lf;
    while (s->at < stop && (lf = memchr(p + s->at, '\n', stop - s->at))) {
        size_t i = (size_t)(lf - p);
        if (p[i - 1] != '\r') /* i > 0: p[0] is a token character */
            return bad(fault, 400, "a line ends without a carriage return");
        s->at = i + 1;
        if (i - 1 == s->line) {
            *head_bytes = i + 1;
            return HTTP1_DONE;
        }
        s->line = i + 1;
    }
    s->at = stop;
    if (n < bytes_max)
        return HTTP1_MORE;
    return s->line ? bad(fault, 431, "the request head is too long") : bad(fault, 414, "the request line is too long");
}

/* The request line */

/* uri-host [ ":" port ]; a comma, '@', '/' or anything that is not a host name or an address is no host. */
static bool is_host(struct slice s)
{
    size_t i = 0;
    if (s.n && s.p[0] == '[') {
        for (i = 1; i < s.n && (hex_digit((unsigned char)s.p[i]) >= 0 || s.p[i] == ':' || s.p[i] == '.'); i++)
            ;
        if (i < 3 || i == s.n || s.p[i++] != ']')
            return false;
    } else {
        for (; i < s.n && s.p[i] != ':'; i++) {
            unsigned char c = (unsigned char)s.p[i];
            if (!is_digit(c) && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z') && !memchr("-._~", c, 4))
                return false;
        }
        if (i == 0)
            return false;
    }
    if (i == s.n)
        return true;
    if (s.p[i++] != ':' || i == s.n || s.n - i > 5)
        return false;
    for (; i < s.n; i++) {
        if (!is_digit((unsigned char)s.p[i]))
            return false;
    }
    return true;
}

/* "HTTP/1.0" or "HTTP/1.1": sets the minor version. */
static enum http1_verdict parse_version(struct slice s, int *minor, struct http1_fault *fault)
{
    if (s.n != 8 || memcmp(s.p, "HTTP/", 5) || !is_digit((unsigned char)s.p[5]) || s.p[6] != '.' ||
        !is_digit((unsigned char)s.p[7]))
        return bad(fault, 400, "malformed HTTP version");
    if (s.p[5] != '1' || s.p[7] > '1')
        return bad(fault, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    *minor = s.p[7] - '0';
    return HTTP1_DONE;
}

/* `line` is without its CRLF. Exactly one space between the three parts. */
static enum http1_verdict parse_request_line(struct slice line, struct http1_head *head, struct http1_fault *fault)
{
    size_t i = 0;
    while (i < line.n && is_token((unsigned char)line.p[i]))
        i++;
    if (i == 0 || i == line.n || line.p[i] != ' ')
        return bad(fault, 400, "malformed method");
    head->method = (struct slice){line.p, i};
    size_t start = ++i;
    while (i < line.n && is_target((unsigned char)line.p[i]))
        i++;
    if (i == start || i == line.n || line.p[i] != ' ')
        return bad(fault, 400, "malformed request target");
    head->target = (struct slice){line.p + start, i - start};
    i++;
    return parse_version((struct slice){line.p + i, line.n - i}, &head->minor, fault);
}

static void cut_query(struct http1_head *head, struct slice s)
{
    const char *mark = memchr(s.p, '?', s.n);
    size_t n = mark ? (size_t)(mark - s.p) : s.n;
    head->path = (struct slice){s.p, n};
    head->query = mark ? (struct slice){mark + 1, s.n - n - 1} : (struct slice){s.p + s.n, 0};
}

static bool has_prefix(struct slice s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n > n && strncasecmp(s.p, prefix, n) == 0;
}

/* http://host/path: the host must be the one of the Host header. */
static enum http1_verdict parse_absolute(struct http1_head *head, struct http1_fault *fault)
{
    struct slice t = head->target;
    size_t scheme = has_prefix(t, "http://") ? 7 : has_prefix(t, "https://") ? 8 : 0;
    if (!scheme)
        return bad(fault, 400, "the request target is neither a path nor an address");
    size_t end = scheme;
    while (end < t.n && t.p[end] != '/' && t.p[end] != '?')
        end++;
    struct slice authority = {t.p + scheme, end - scheme};
    if (!is_host(authority) || (head->host.n && !slices_match(authority, head->host)))
        return bad(fault, 400, "the request target names another host than the Host header");
    cut_query(head, (struct slice){t.p + end, t.n - end});
    if (!head->path.n)
        head->path = (struct slice){t.p + scheme - 1, 1}; /* no path means "/": the scheme ends with one */
    return HTTP1_DONE;
}

static enum http1_verdict parse_target(struct http1_head *head, struct http1_fault *fault)
{
    if (head->target.p[0] != '/' && !(slice_is(head->target, "*") && slice_is(head->method, "OPTIONS")))
        return parse_absolute(head, fault);
    cut_query(head, head->target);
    return HTTP1_DONE;
}

/* Headers that decide about the message */

struct framing {
    int hosts, lengths, codings, expects;
    bool says_close, says_keep_alive;
};

static void parse_connection(struct slice value, struct framing *f)
{
    while (value.n) {
        const char *comma = memchr(value.p, ',', value.n);
        size_t n = comma ? (size_t)(comma - value.p) : value.n;
        struct slice option = trim((struct slice){value.p, n});
        f->says_close |= slice_is_nocase(option, "close");
        f->says_keep_alive |= slice_is_nocase(option, "keep-alive");
        n += comma != NULL;
        value = (struct slice){value.p + n, value.n - n};
    }
}

static enum http1_verdict look_at_header(struct http1_head *head, struct http1_header h, struct framing *f,
                                         struct http1_fault *fault)
{
    if (slice_is_nocase(h.name, "host")) {
        if (f->hosts++ || !is_host(h.value))
            return bad(fault, 400, "there must be one valid Host header");
        head->host = h.value;
    } else if (slice_is_nocase(h.name, "content-length")) {
        if (f->lengths++ || !http1_length(h.value, &head->length))
            return bad(fault, 400, "there may be one Content-Length, in plain decimal digits");
    } else if (slice_is_nocase(h.name, "transfer-encoding")) {
        if (f->codings++ || !slice_is_nocase(h.value, "chunked"))
            return bad(fault, 400, "the only transfer encoding is one 'chunked'");
        head->is_chunked = true;
    } else if (slice_is_nocase(h.name, "connection")) {
        parse_connection(h.value, f);
    } else if (slice_is_nocase(h.name, "expect")) {
        if (f->expects++ || !slice_is_nocase(h.value, "100-continue"))
            return bad(fault, 417, "the only expectation that can be met is 100-continue");
        head->expects_continue = true;
    }
    return HTTP1_DONE;
}

static enum http1_verdict settle(struct http1_head *head, const struct framing *f, struct http1_fault *fault)
{
    if (head->minor == 1 && !f->hosts)
        return bad(fault, 400, "there must be one valid Host header");
    if (f->codings && f->lengths)
        return bad(fault, 400, "both Content-Length and Transfer-Encoding");
    if (f->codings && head->minor == 0)
        return bad(fault, 400, "HTTP/1.0 has no Transfer-Encoding");
    head->is_keep_alive = !f->says_close && (head->minor == 1 || f->says_keep_alive);
    head->expects_continue &= head->minor == 1;
    return parse_target(head, fault);
}

/* `line` is without its CRLF. */
static enum http1_verdict parse_header(struct slice line, struct http1_header *h, struct http1_fault *fault)
{
    size_t i = 0;
    while (i < line.n && is_token((unsigned char)line.p[i]))
        i++;
    if (i == 0 || i == line.n || line.p[i] != ':')
        return bad(fault, 400, "malformed header name");
    h->name = (struct slice){line.p, i};
    h->value = trim((struct slice){line.p + i + 1, line.n - i - 1});
    for (i = 0; i < h->value.n; i++) {
        if (!is_value((unsigned char)h->value.p[i]))
            return bad(fault, 400, "a header value holds a control character");
    }
    return HTTP1_DONE;
}

/* Cuts the next line off *rest, without its CRLF. http1_scan has seen that every LF has its CR. */
static struct slice next_line(struct slice *rest)
{
    const char *lf = memchr(rest->p, '\n', rest->n);
    ASSERT(lf);
    struct slice line = {rest->p, (size_t)(lf - rest->p) - 1};
    *rest = (struct slice){lf + 1, rest->n - line.n - 2};
    return line;
}

enum http1_verdict http1_parse(const char *p, size_t head_bytes, struct http1_head *head, struct http1_fault *fault)
{
    struct slice rest = {p, head_bytes};
    struct framing f = {0};
    memset(head, 0, offsetof(struct http1_head, headers));
    if (parse_request_line(next_line(&rest), head, fault) != HTTP1_DONE)
        return HTTP1_BAD;
    for (struct slice line; (line = next_line(&rest)).n;) {
        if (head->header_count == SERVE_HEADERS_MAX)
            return bad(fault, 431, "too many headers");
        struct http1_header *h = &head->headers[head->header_count++];
        if (parse_header(line, h, fault) != HTTP1_DONE || look_at_header(head, *h, &f, fault) != HTTP1_DONE)
            return HTTP1_BAD;
    }
    return settle(head, &f, fault);
}

/* Chunked bodies: a state machine over single bytes, except for the data, which is handed on in pieces. */

enum {
    CHUNK_SIZE,      /* hexadecimal digits */
    CHUNK_EXT,       /* after ';': skipped, bounded */
    CHUNK_SIZE_LF,   /* the LF that ends the size line */
    CHUNK_DATA,
    CHUNK_DATA_CR,   /* CR LF behind the data */
    CHUNK_DATA_LF,
    TRAILER_START,   /* first byte of a trailer line, or CR of the empty one */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    CHUNKS_END_LF    /* the LF that ends the body */
};

void http1_chunks_init(struct http1_chunks *c, uint64_t bytes_max)
{
    *c = (struct http1_chunks){.max = bytes_max};
}

static enum http1_verdict step_size(struct http1_chunks *c, unsigned char byte, struct http1_fault *fault)
{
    int digit = hex_digit(byte);
    if (digit >= 0) {
        if (++c->digits > 16)
            return bad(fault, 400, "a chunk size is too long");
        c->left = c->left << 4 | (uint64_t)digit;
        return HTTP1_MORE;
    }
    if (!c->digits || (byte != ';' && byte != '\r'))
        return bad(fault, 400, "malformed chunk size");
    if (c->left > c->max - c->total)
        return bad(fault, 413, "the request body is too large");
    c->total += c->left;
    c->line_ext_bytes = 0;
    c->state = byte == ';' ? CHUNK_EXT : CHUNK_SIZE_LF;
    return HTTP1_MORE;
}

static enum http1_verdict step_ext(struct http1_chunks *c, unsigned char byte, struct http1_fault *fault)
{
    if (byte == '\r') {
        c->state = CHUNK_SIZE_LF;
        return HTTP1_MORE;
    }
    if (!is_value(byte))
        return bad(fault, 400, "a chunk extension holds a control character");
    if (++c->line_ext_bytes > HTTP1_CHUNK_EXT_BYTES_MAX || ++c->ext_bytes > HTTP1_CHUNK_EXTS_BYTES_MAX)
        return bad(fault, 400, "the chunk extensions are too long");
    return HTTP1_MORE;
}

/* Fields that would change how the message is read must not come after it. */
static bool is_forbidden_trailer(struct slice name)
{
    static const char *const names[] = {"content-length", "transfer-encoding", "host", "content-encoding", "trailer"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_is_nocase(name, names[i]))
            return true;
    }
    return false;
}

static enum http1_verdict step_trailer(struct http1_chunks *c, unsigned char byte, struct http1_fault *fault)
{
    if (++c->trailer_bytes > HTTP1_TRAILER_BYTES_MAX)
        return bad(fault, 431, "the trailers are too long");
    if (c->state == TRAILER_VALUE) {
        if (byte == '\r')
            c->state = TRAILER_LF;
        else if (!is_value(byte))
            return bad(fault, 400, "a trailer holds a control character");
    } else if (c->state == TRAILER_START && byte == '\r') {
        c->state = CHUNKS_END_LF;
    } else if (is_token(byte)) {
        if (c->state == TRAILER_START)
            c->name_bytes = 0;
        c->state = TRAILER_NAME;
        if (c->name_bytes < sizeof c->name)
            c->name[c->name_bytes++] = (char)byte;
    } else if (c->state == TRAILER_NAME && byte == ':') {
        if (is_forbidden_trailer((struct slice){c->name, c->name_bytes}))
            return bad(fault, 400, "a trailer that must not be one");
        c->state = TRAILER_VALUE;
    } else {
        return bad(fault, 400, "malformed trailer");
    }
    return HTTP1_MORE;
}

/* The bytes that allow no choice. */
static enum http1_verdict step_exact(struct http1_chunks *c, unsigned char byte, struct http1_fault *fault)
{
    if (byte != (c->state == CHUNK_DATA_CR ? '\r' : '\n'))
        return bad(fault, 400, "a line of the chunked body does not end with CR LF");
    switch (c->state) {
    case CHUNK_SIZE_LF:
        c->state = c->left ? CHUNK_DATA : TRAILER_START;
        return HTTP1_MORE;
    case CHUNK_DATA_CR:
        c->state = CHUNK_DATA_LF;
        return HTTP1_MORE;
    case CHUNK_DATA_LF:
        c->state = CHUNK_SIZE;
        c->digits = 0;
        return HTTP1_MORE;
    case TRAILER_LF:
        c->state = TRAILER_START;
        return HTTP1_MORE;
    default:
        return HTTP1_DONE;
    }
}

static enum http1_verdict step(struct http1_chunks *c, unsigned char byte, struct http1_fault *fault)
{
    switch (c->state) {
    case CHUNK_SIZE:
        return step_size(c, byte, fault);
    case CHUNK_EXT:
        return step_ext(c, byte, fault);
    case TRAILER_START:
    case TRAILER_NAME:
    case TRAILER_VALUE:
        return step_trailer(c, byte, fault);
    default:
        return step_exact(c, byte, fault);
    }
}

enum http1_verdict http1_chunks_feed(struct http1_chunks *c, const char *p, size_t n, size_t *used, struct slice *data,
                                     struct http1_fault *fault)
{
    enum http1_verdict verdict = HTTP1_MORE;
    size_t i = 0;
    *data = (struct slice){p, 0};
    while (i < n && verdict == HTTP1_MORE && c->state != CHUNK_DATA)
        verdict = step(c, (unsigned char)p[i++], fault);
    if (verdict == HTTP1_MORE && i < n) {
        *data = (struct slice){p + i, c->left < n - i ? (size_t)c->left : n - i};
        i += data->n;
        c->left -= data->n;
        if (!c->left)
            c->state = CHUNK_DATA_CR;
    }
    *used = i;
    return verdict;
}

/* Responses */

const char *http1_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"}, {201, "Created"}, {202, "Accepted"}, {204, "No Content"}, {206, "Partial Content"},
        {301, "Moved Permanently"}, {302, "Found"}, {303, "See Other"}, {304, "Not Modified"},
        {307, "Temporary Redirect"}, {308, "Permanent Redirect"}, {400, "Bad Request"}, {401, "Unauthorized"},
        {402, "Payment Required"}, {403, "Forbidden"}, {404, "Not Found"}, {405, "Method Not Allowed"},
        {406, "Not Acceptable"}, {408, "Request Timeout"}, {409, "Conflict"}, {410, "Gone"}, {411, "Length Required"},
        {412, "Precondition Failed"}, {413, "Content Too Large"}, {414, "URI Too Long"},
        {415, "Unsupported Media Type"}, {417, "Expectation Failed"}, {422, "Unprocessable Content"},
        {425, "Too Early"}, {429, "Too Many Requests"}, {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"}, {501, "Not Implemented"}, {502, "Bad Gateway"}, {503, "Service Unavailable"},
        {504, "Gateway Timeout"}, {505, "HTTP Version Not Supported"}, {529, "Overloaded"},
    };
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (reasons[i].status == status)
            return reasons[i].reason;
    }
    return "Unknown";
}

static void put_digits(char *p, int value, int digits)
{
    while (digits--) {
        p[digits] = (char)('0' + value % 10);
        value /= 10;
    }
}

void http1_date(int64_t unix_seconds, char out[HTTP1_DATE_BYTES])
{
    unix_seconds = unix_seconds < 0 ? 0 : unix_seconds > DATE_SECONDS_MAX ? DATE_SECONDS_MAX : unix_seconds;
    struct date d = date_of(unix_seconds);
    memcpy(out, "Sun, 00 Jan 0000 00:00:00 GMT", HTTP1_DATE_BYTES);
    memcpy(out, &"SunMonTueWedThuFriSat"[(unix_seconds / 86400 + 4) % 7 * 3], 3);
    memcpy(out + 8, &"JanFebMarAprMayJunJulAugSepOctNovDec"[(d.month - 1) * 3], 3);
    put_digits(out + 5, d.day, 2);
    put_digits(out + 12, d.year, 4);
    put_digits(out + 17, d.hour, 2);
    put_digits(out + 20, d.minute, 2);
    put_digits(out + 23, d.second, 2);
}

enum err http1_add_status(struct buf *out, int status)
{
    ASSERT(status >= 100 && status <= 999);
    const char *reason = http1_reason(status);
    size_t n = strlen(reason);
    if (buf_reserve(out, n + 15) != ERR_OK)
        return ERR_LIMIT;
    char line[] = "HTTP/1.1 000 ";
    put_digits(line + 9, status, 3);
    enum err err = buf_add(out, line, 13);
    err = err ? err : buf_add(out, reason, n);
    return err ? err : buf_add(out, "\r\n", 2);
}

enum err http1_add_header(struct buf *out, struct slice name, struct slice value)
{
    for (size_t i = 0; i < name.n; i++) {
        if (!is_token((unsigned char)name.p[i]))
            return ERR_INVALID;
    }
    for (size_t i = 0; i < value.n; i++) {
        if (!is_value((unsigned char)value.p[i]))
            return ERR_INVALID;
    }
    if (!name.n)
        return ERR_INVALID;
    if (buf_reserve(out, name.n + value.n + 4) != ERR_OK)
        return ERR_LIMIT;
    enum err err = buf_add(out, name.p, name.n);
    err = err ? err : buf_add(out, ": ", 2);
    err = err ? err : buf_add(out, value.p, value.n);
    return err ? err : buf_add(out, "\r\n", 2);
}

enum err http1_add_length(struct buf *out, uint64_t length)
{
    char text[20];
    size_t i = sizeof text;
    do {
        text[--i] = (char)('0' + length % 10);
        length /= 10;
    } while (length);
    return http1_add_header(out, (struct slice){"content-length", 14}, (struct slice){text + i, sizeof text - i});
}

enum err http1_add_chunk(struct buf *out, struct slice data)
{
    ASSERT(data.n);
    char size[18];
    size_t i = 16;
    memcpy(size + 16, "\r\n", 2);
    for (size_t n = data.n; n; n >>= 4)
        size[--i] = "0123456789abcdef"[n & 15];
    if (buf_reserve(out, data.n + sizeof size + 2) != ERR_OK)
        return ERR_LIMIT;
    enum err err = buf_add(out, size + i, sizeof size - i);
    err = err ? err : buf_add(out, data.p, data.n);
    return err ? err : buf_add(out, "\r\n", 2);
}
