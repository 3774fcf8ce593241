/*
 * date.c - days to calendar and back by counting 400-year eras that begin in March, so that the leap day is
 * the last day of a year and needs no table. Does not use the C library's time functions: they read the
 * time zone and take a lock.
 */
#include "date.h"

#include <stdio.h>
#include <string.h>

#define DAY_SECONDS 86400
#define ERA_DAYS 146097 /* 400 years */

static const char *const month_names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char *const day_names[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
static const char *const long_day_names[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                             "Friday", "Saturday", "Sunday"};

struct date date_of(int64_t seconds)
{
    ASSERT(seconds >= 0 && seconds <= DATE_SECONDS_MAX);
    int rest = (int)(seconds % DAY_SECONDS);
    int64_t days = seconds / DAY_SECONDS + 719468; /* from 0000-03-01 */
    int64_t era = days / ERA_DAYS;
    int day_of_era = (int)(days % ERA_DAYS);
    int year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int month_from_march = (5 * day_of_year + 2) / 153;
    int month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    return (struct date){
        .year = (int)(era * 400) + year_of_era + (month <= 2),
        .month = month,
        .day = day_of_year - (153 * month_from_march + 2) / 5 + 1,
        .hour = rest / 3600,
        .minute = rest / 60 % 60,
        .second = rest % 60,
    };
}

int64_t date_seconds(const struct date *d)
{
    int64_t year = d->year - (d->month <= 2);
    int64_t era = year / 400;
    int64_t year_of_era = year % 400;
    int64_t month_from_march = d->month > 2 ? d->month - 3 : d->month + 9;
    int64_t day_of_year = (153 * month_from_march + 2) / 5 + d->day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    int64_t days = era * ERA_DAYS + day_of_era - 719468;
    return days * DAY_SECONDS + d->hour * 3600 + d->minute * 60 + d->second;
}

void date_iso(int64_t unix_us, bool with_ms, char out[DATE_ISO_BYTES])
{
    if (unix_us < 0)
        unix_us = 0;
    if (unix_us > DATE_SECONDS_MAX * 1000000)
        unix_us = DATE_SECONDS_MAX * 1000000;
    struct date d = date_of(unix_us / 1000000);
    int n = snprintf(out, DATE_ISO_BYTES, "%04d-%02d-%02dT%02d:%02d:%02d", d.year, d.month, d.day, d.hour, d.minute,
                     d.second);
    if (with_ms)
        snprintf(out + n, DATE_ISO_BYTES - (size_t)n, ".%03dZ", (int)(unix_us / 1000 % 1000));
    else
        snprintf(out + n, DATE_ISO_BYTES - (size_t)n, "Z");
}

/* Parsing. Each take_* moves the cursor over what it expects; the first miss empties it and sticks. */

struct cursor {
    const char *p, *end;
    bool is_bad;
};

static void take_text(struct cursor *c, const char *text)
{
    size_t n = strlen(text);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, text, n) != 0)
        c->is_bad = true;
    else
        c->p += n;
}

static int take_number(struct cursor *c, int digits)
{
    int value = 0;
    for (; digits > 0; digits--) {
        if (c->p == c->end || *c->p < '0' || *c->p > '9') {
            c->is_bad = true;
            return 0;
        }
        value = value * 10 + (*c->p++ - '0');
    }
    return value;
}

/* The index of the name from 0, or -1. */
static int take_name(struct cursor *c, const char *const names[], int count)
{
    for (int i = 0; i < count; i++) {
        size_t n = strlen(names[i]);
        if ((size_t)(c->end - c->p) >= n && memcmp(c->p, names[i], n) == 0) {
            c->p += n;
            return i;
        }
    }
    return -1;
}

static int take_month(struct cursor *c)
{
    int month = take_name(c, month_names, ARRAY_LEN(month_names));
    if (month < 0)
        c->is_bad = true;
    return month + 1;
}

static void take_time(struct cursor *c, struct date *d)
{
    d->hour = take_number(c, 2);
    take_text(c, ":");
    d->minute = take_number(c, 2);
    take_text(c, ":");
    d->second = take_number(c, 2);
}

/* "Sun, 06 Nov 1994 08:49:37 GMT", after "Sun". */
static void take_fixdate(struct cursor *c, struct date *d)
{
    take_text(c, ", ");
    d->day = take_number(c, 2);
    take_text(c, " ");
    d->month = take_month(c);
    take_text(c, " ");
    d->year = take_number(c, 4);
    take_text(c, " ");
    take_time(c, d);
    take_text(c, " GMT");
}

/* "Sunday, 06-Nov-94 08:49:37 GMT", after "Sunday". A year more than 50 years ahead is in the past. */
static void take_rfc850(struct cursor *c, struct date *d, int64_t now_s)
{
    take_text(c, ", ");
    d->day = take_number(c, 2);
    take_text(c, "-");
    d->month = take_month(c);
    take_text(c, "-");
    d->year = take_number(c, 2);
    take_text(c, " ");
    take_time(c, d);
    take_text(c, " GMT");
    int this_year = date_of(now_s).year;
    d->year += this_year - this_year % 100;
    if (d->year > this_year + 50)
        d->year -= 100;
}

/* "Sun Nov  6 08:49:37 1994", after "Sun". */
static void take_asctime(struct cursor *c, struct date *d)
{
    take_text(c, " ");
    d->month = take_month(c);
    take_text(c, " ");
    if (c->p < c->end && *c->p == ' ') {
        c->p++;
        d->day = take_number(c, 1);
    } else {
        d->day = take_number(c, 2);
    }
    take_text(c, " ");
    take_time(c, d);
    take_text(c, " ");
    d->year = take_number(c, 4);
}

static bool is_valid(const struct date *d)
{
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (d->year < 1970 || d->month < 1 || d->month > 12 || d->day < 1)
        return false;
    bool is_leap = d->year % 4 == 0 && (d->year % 100 != 0 || d->year % 400 == 0);
    int days = month_days[d->month - 1] + (d->month == 2 && is_leap);
    return d->day <= days && d->hour < 24 && d->minute < 60 && d->second <= 60;
}

bool date_parse_http(struct slice text, int64_t now_s, int64_t *out_s)
{
    struct cursor c = {text.p, text.p + text.n, false};
    struct date d = {0};
    if (take_name(&c, long_day_names, ARRAY_LEN(long_day_names)) >= 0)
        take_rfc850(&c, &d, now_s);
    else if (take_name(&c, day_names, ARRAY_LEN(day_names)) < 0)
        return false;
    else if (c.p < c.end && *c.p == ',')
        take_fixdate(&c, &d);
    else
        take_asctime(&c, &d);
    if (c.is_bad || c.p != c.end || !is_valid(&d))
        return false;
    *out_s = date_seconds(&d);
    return true;
}
