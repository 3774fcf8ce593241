/*
 * retry_after.c - a hand-written parser over a cursor. What it reads comes from the network: it never looks beyond the
 * text, never overflows (numbers are doubles, times are checked before they are computed with), and says no to whatever
 * it does not understand completely; only a message may go on after the time.
 */
#include "retry_after.h"

#include "../base/date.h"
#include "../base/decimal.h"

#include <string.h>

#define EPOCH_S_MIN 1e9  /* 2001; as a duration it would be 31 years */
#define EPOCH_S_MAX 1e11
#define EPOCH_MS_MIN 1e12
#define EPOCH_MS_MAX 1e14
#define HTTP_DATE_BYTES_MAX 64
#define EXPONENT_MAX 1000
#define MESSAGE_BYTES_MAX 4096 /* looked at */

struct cursor {
    const char *p, *end;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c & 0x80);
}

static bool at(const struct cursor *c, char expected)
{
    return c->p < c->end && *c->p == expected;
}

static bool at_digit(const struct cursor *c)
{
    return c->p < c->end && is_digit(*c->p);
}

static void skip_spaces(struct cursor *c)
{
    while (at(c, ' ') || at(c, '\t'))
        c->p++;
}

/* The letters at the cursor; a micro sign counts as one. */
static struct slice take_word(struct cursor *c)
{
    struct slice word = {c->p, 0};
    while (c->p < c->end && is_letter(*c->p))
        c->p++;
    word.n = (size_t)(c->p - word.p);
    return word;
}

/* Numbers: digits, perhaps a fraction, perhaps an exponent. No sign, no ".5", no "2.". */

static void take_digits(struct cursor *c, struct decimal *d)
{
    for (; at_digit(c); c->p++) {
        d->value = d->value * 10 + (uint64_t)(*c->p - '0');
        d->digits++;
    }
}

/* "e18" belongs to a number, the "e" of anything else does not. */
static void take_exponent(struct cursor *c, struct decimal *d)
{
    struct cursor ahead = {c->p + 1, c->end};
    if (!at(c, 'e') && !at(c, 'E'))
        return;
    bool is_negative = at(&ahead, '-');
    if (is_negative || at(&ahead, '+'))
        ahead.p++;
    if (!at_digit(&ahead))
        return;
    long exponent = 0;
    for (; at_digit(&ahead); ahead.p++)
        exponent = exponent < EXPONENT_MAX ? exponent * 10 + (*ahead.p - '0') : EXPONENT_MAX;
    d->exponent += is_negative ? -exponent : exponent;
    c->p = ahead.p;
}

static bool take_number(struct cursor *c, double *out)
{
    struct decimal d = {.p = c->p};
    take_digits(c, &d);
    if (d.digits == 0)
        return false;
    if (at(c, '.') && c->p + 1 < c->end && is_digit(c->p[1])) {
        long before = d.digits;
        c->p++;
        take_digits(c, &d);
        d.exponent = before - d.digits;
    }
    d.end = c->p;
    take_exponent(c, &d);
    *out = decimal_double(&d);
    return true;
}

/* Durations: "250ms", "6m0s", "1h2m3.5s", "2 minutes", "1 minute and 30 seconds" */

static const struct {
    const char *name;
    double seconds;
} units[] = {
    {"s", 1},          {"sec", 1},        {"secs", 1},        {"second", 1},      {"seconds", 1},
    {"ms", 1e-3},      {"msec", 1e-3},    {"msecs", 1e-3},    {"millisecond", 1e-3}, {"milliseconds", 1e-3},
    {"m", 60},         {"min", 60},       {"mins", 60},       {"minute", 60},     {"minutes", 60},
    {"h", 3600},       {"hr", 3600},      {"hrs", 3600},      {"hour", 3600},     {"hours", 3600},
    {"d", 86400},      {"day", 86400},    {"days", 86400},    {"us", 1e-6},       {"\xC2\xB5s", 1e-6},
    {"\xCE\xBCs", 1e-6}, {"ns", 1e-9},
};

static bool take_unit(struct cursor *c, double *out)
{
    struct slice word = take_word(c);
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (slice_is_nocase(word, units[i].name)) {
            *out = units[i].seconds;
            return true;
        }
    }
    return false;
}

/* One "2 minutes"; the cursor stays where it was when there is none. */
static bool take_part(struct cursor *c, double *seconds)
{
    struct cursor ahead = *c;
    double value, unit;
    if (!take_number(&ahead, &value))
        return false;
    skip_spaces(&ahead);
    if (!take_unit(&ahead, &unit))
        return false;
    *seconds += value * unit;
    *c = ahead;
    return true;
}

/* What may stand between two parts: nothing, spaces, a comma, "and". */
static void skip_joint(struct cursor *c)
{
    struct cursor ahead = *c;
    skip_spaces(&ahead);
    if (at(&ahead, ','))
        ahead.p++;
    skip_spaces(&ahead);
    struct cursor word = ahead;
    if (slice_is_nocase(take_word(&word), "and")) {
        ahead = word;
        skip_spaces(&ahead);
    }
    if (at_digit(&ahead))
        *c = ahead;
}

static bool take_duration(struct cursor *c, double *seconds)
{
    *seconds = 0;
    if (!take_part(c, seconds))
        return false;
    for (;;) {
        struct cursor before = *c;
        skip_joint(c);
        if (!take_part(c, seconds)) {
            *c = before;
            return true;
        }
    }
}

/* Times */

static bool take_int(struct cursor *c, int digits, int *out)
{
    *out = 0;
    for (; digits > 0; digits--) {
        if (!at_digit(c))
            return false;
        *out = *out * 10 + (*c->p++ - '0');
    }
    return true;
}

static bool take_char(struct cursor *c, char expected)
{
    if (!at(c, expected))
        return false;
    c->p++;
    return true;
}

/* "+01:00", "-0730" after the sign's place. */
static bool take_offset(struct cursor *c, int *offset_s)
{
    int hours, minutes;
    bool is_west = at(c, '-');
    if (!is_west && !at(c, '+'))
        return false;
    c->p++;
    if (!take_int(c, 2, &hours))
        return false;
    take_char(c, ':');
    if (!take_int(c, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *offset_s = (is_west ? -60 : 60) * (hours * 60 + minutes);
    return true;
}

static bool is_date(const struct date *d)
{
    static const int month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return d->month >= 1 && d->month <= 12 && d->day >= 1 && d->day <= month_days[d->month - 1] && d->hour < 24 &&
           d->minute < 60 && d->second <= 60;
}

/* "2026-01-02T03:04:05.678Z"; a space instead of the T, an offset instead of the Z. Without either it is UTC. */
static bool take_rfc3339(struct cursor *c, double *unix_s)
{
    struct date d;
    int offset_s = 0;
    double fraction = 0, scale = 1;
    if (!take_int(c, 4, &d.year) || !take_char(c, '-') || !take_int(c, 2, &d.month) || !take_char(c, '-') || !take_int(c, 2, &d.day))
        return false;
    if (!take_char(c, 'T') && !take_char(c, 't') && !take_char(c, ' '))
        return false;
    if (!take_int(c, 2, &d.hour) || !take_char(c, ':') || !take_int(c, 2, &d.minute) || !take_char(c, ':') || !take_int(c, 2, &d.second))
        return false;
    if (at(c, '.') && c->p + 1 < c->end && is_digit(c->p[1]))
        for (c->p++; at_digit(c); c->p++)
            fraction += (*c->p - '0') * (scale /= 10);
    if (!take_char(c, 'Z') && !take_char(c, 'z') && (at(c, '+') || at(c, '-')) && !take_offset(c, &offset_s))
        return false;
    if (!is_date(&d))
        return false;
    *unix_s = (double)(date_seconds(&d) - offset_s) + fraction;
    return true;
}

static const struct {
    const char *name;
    int hours;
} zones[] = {{"GMT", 0},  {"UTC", 0},  {"UT", 0},   {"Z", 0},    {"EST", -5}, {"EDT", -4}, {"CST", -6},
             {"CDT", -5}, {"MST", -7}, {"MDT", -6}, {"PST", -8}, {"PDT", -7}, {"CET", 1},  {"CEST", 2}};

/* What follows the last space of an HTTP date: a name or "+0100". */
static bool read_zone(struct slice text, int *offset_s)
{
    struct cursor c = {text.p, text.p + text.n};
    for (size_t i = 0; i < ARRAY_LEN(zones); i++) {
        if (slice_is_nocase(text, zones[i].name)) {
            *offset_s = zones[i].hours * 3600;
            return true;
        }
    }
    return take_offset(&c, offset_s) && c.p == c.end;
}

/* The three forms of RFC 9110, and the first two with another zone than GMT: those are rewritten. */
static bool read_http_date(struct slice text, int64_t now_us, double *unix_s)
{
    char copy[HTTP_DATE_BYTES_MAX];
    int64_t seconds;
    int offset_s = 0;
    const char *space = memrchr(text.p, ' ', text.n);
    if (!space || text.n + 3 > sizeof copy)
        return false;
    size_t kept = (size_t)(space + 1 - text.p);
    struct slice zone = {space + 1, text.n - kept}, date = {copy, kept + 3};
    if (read_zone(zone, &offset_s)) {
        memcpy(copy, text.p, kept);
        memcpy(copy + kept, "GMT", 3);
    } else {
        date = text;
    }
    if (!date_parse_http(date, now_us / 1000000, &seconds))
        return false;
    *unix_s = (double)(seconds - offset_s);
    return true;
}

static double from_now(double unix_s, int64_t now_us)
{
    return unix_s - (double)now_us / 1e6;
}

/* The kinds */

/* A number, perhaps with units, to the end of the text. */
static bool read_value(struct slice text, enum retry_after_kind kind, int64_t now_us, double *out_s)
{
    struct cursor c = {text.p, text.p + text.n};
    if (take_duration(&c, out_s) && c.p == c.end)
        return true;
    c.p = text.p;
    if (!take_number(&c, out_s) || c.p != c.end)
        return false;
    if (kind == RETRY_AFTER_MS)
        *out_s /= 1000;
    else if (*out_s >= EPOCH_S_MIN && *out_s < EPOCH_S_MAX)
        *out_s = from_now(*out_s, now_us);
    else if (*out_s >= EPOCH_MS_MIN && *out_s < EPOCH_MS_MAX)
        *out_s = from_now(*out_s / 1000, now_us);
    return true;
}

static bool read_time(struct slice text, int64_t now_us, double *out_s)
{
    struct cursor c = {text.p, text.p + text.n};
    double unix_s;
    if (!(take_rfc3339(&c, &unix_s) && c.p == c.end) && !read_http_date(text, now_us, &unix_s))
        return false;
    *out_s = from_now(unix_s, now_us);
    return true;
}

/* A duration, a time, or a bare number of seconds that no word follows. */
static bool read_after_phrase(struct cursor c, int64_t now_us, double *out_s)
{
    double unix_s;
    while (at(&c, ' ') || at(&c, ':') || at(&c, '~'))
        c.p++;
    struct cursor begin = c;
    if (take_duration(&c, out_s))
        return true;
    c = begin;
    if (take_rfc3339(&c, &unix_s)) {
        *out_s = from_now(unix_s, now_us);
        return true;
    }
    c = begin;
    if (!take_number(&c, out_s))
        return false;
    skip_spaces(&c);
    return c.p == c.end || (!is_letter(*c.p) && !strchr("-:/%", *c.p));
}

static bool take_phrase(struct cursor *c, const char *phrase)
{
    size_t n = strlen(phrase);
    if ((size_t)(c->end - c->p) < n || !slice_is_nocase((struct slice){c->p, n}, phrase))
        return false;
    c->p += n;
    return true;
}

static bool read_message(struct slice text, int64_t now_us, double *out_s)
{
    static const char *const phrases[] = {
        "again in ", "again after ", "again at ", "retry in ",  "retry after ", "retry-after",
        "wait ",     "reset in ",    "resets in ", "resets at ", "reset after ", "available in ",
    };
    struct cursor c = {text.p, text.p + (text.n < MESSAGE_BYTES_MAX ? text.n : MESSAGE_BYTES_MAX)};
    struct cursor whole = c;
    if (take_duration(&whole, out_s) && whole.p == whole.end)
        return true;
    for (; c.p < c.end; c.p++) {
        for (size_t i = 0; i < ARRAY_LEN(phrases); i++) {
            struct cursor after = c;
            if (take_phrase(&after, phrases[i]) && read_after_phrase(after, now_us, out_s))
                return true;
        }
    }
    return false;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct slice trim(struct slice text)
{
    for (; text.n && is_space(text.p[0]); text.n--)
        text.p++;
    while (text.n && is_space(text.p[text.n - 1]))
        text.n--;
    return text;
}

bool retry_after_parse(struct slice text, enum retry_after_kind kind, int64_t now_us, double *out_s)
{
    text = trim(text);
    bool is_message = kind == RETRY_AFTER_MESSAGE;
    if (text.n == 0 || (is_message && !read_message(text, now_us, out_s)))
        return false;
    if (!is_message && !read_value(text, kind, now_us, out_s) && !read_time(text, now_us, out_s))
        return false;
    *out_s = *out_s < 0 ? 0 : *out_s > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : *out_s;
    return true;
}
