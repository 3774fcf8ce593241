/*
 * test_date.c - the calendar against known dates and against itself for every day of 10,000 years, the three forms of
 * an HTTP date, and what is not one.
 */
#include "../../src/base/date.h"

#include "../../src/base/clock.h"
#include "check.h"

#include <string.h>

#define DAY 86400
#define NOW 1767322800 /* 2026-01-02 */

static bool iso_is(int64_t us, bool with_ms, const char *text)
{
    char out[DATE_ISO_BYTES];
    date_iso(us, with_ms, out);
    return strcmp(out, text) == 0;
}

static void test_iso(void)
{
    CHECK(iso_is(0, false, "1970-01-01T00:00:00Z"));
    CHECK(iso_is(1767323045678999, true, "2026-01-02T03:04:05.678Z"));
    CHECK(iso_is(951782400000000, false, "2000-02-29T00:00:00Z"));
    CHECK(iso_is(4107542399000000, false, "2100-02-28T23:59:59Z"));
    CHECK(iso_is(4107542400000000, false, "2100-03-01T00:00:00Z"));
    CHECK(iso_is(-5, true, "1970-01-01T00:00:00.000Z"));
    CHECK(iso_is(INT64_MAX, false, "9999-12-31T23:59:59Z"));
}

static bool follows(const struct date *a, const struct date *b)
{
    if (b->day == a->day + 1)
        return b->month == a->month && b->year == a->year;
    if (b->month == a->month + 1)
        return b->day == 1 && b->year == a->year && a->day >= 28;
    return b->day == 1 && b->month == 1 && b->year == a->year + 1 && a->month == 12 && a->day == 31;
}

static void test_every_day(void)
{
    struct date last = date_of(0);
    int64_t wrong = 0;
    for (int64_t s = DAY; s <= DATE_SECONDS_MAX; s += DAY) {
        struct date d = date_of(s + 3661);
        wrong += !follows(&last, &d) || date_seconds(&d) != s + 3661 || d.hour != 1 || d.minute != 1 || d.second != 1;
        last = d;
    }
    CHECK(wrong == 0);
    CHECK(last.year == 9999 && last.month == 12 && last.day == 31);
}

static bool parses_to(const char *text, int64_t expected)
{
    int64_t s = -1;
    return date_parse_http((struct slice){text, strlen(text)}, NOW, &s) && s == expected;
}

static void test_http(void)
{
    CHECK(parses_to("Sun, 06 Nov 1994 08:49:37 GMT", 784111777));
    CHECK(parses_to("Sunday, 06-Nov-94 08:49:37 GMT", 784111777));
    CHECK(parses_to("Sun Nov  6 08:49:37 1994", 784111777));
    CHECK(parses_to("Wed Nov 16 08:49:37 1994", 784975777));
    CHECK(parses_to("Thu, 29 Feb 2024 23:59:60 GMT", 1709251200));
    CHECK(parses_to("Thursday, 01-Jan-76 00:00:00 GMT", 3345062400)); /* fifty years ahead at most */
    CHECK(parses_to("Saturday, 01-Jan-77 00:00:00 GMT", 220924800));
}

static void test_not_http(void)
{
    static const char *const bad[] = {
        "",
        "Sun",
        "Sun,",
        "120",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 31 Feb 2024 00:00:00 GMT",
        "Sun, 29 Feb 2023 00:00:00 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Xyz, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1969 08:49:37 GMT",
        "Sun, -6 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 +0000",
    };
    int64_t s;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CHECK(!date_parse_http((struct slice){bad[i], strlen(bad[i])}, NOW, &s));
    static const char whole[] = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (size_t n = 0; n < sizeof whole - 1; n++)
        CHECK(!date_parse_http((struct slice){whole, n}, NOW, &s));
}

static void test_clock(void)
{
    struct clock c = *clock_system();
    int64_t mono = clock_mono_us(&c), wall = clock_wall_us(&c);
    CHECK(clock_mono_us(&c) >= mono);
    CHECK(wall > 1577836800000000); /* 2020 */
    c.offset_us = 3600000000;
    CHECK(clock_mono_us(&c) >= mono + c.offset_us && clock_mono_us(&c) < mono + c.offset_us + 60000000);
    CHECK(clock_wall_ms(&c) >= wall / 1000 + 3600000);
    CHECK(clock_system()->offset_us == 0);
}

int main(void)
{
    test_iso();
    test_every_day();
    test_http();
    test_not_http();
    test_clock();
    return check_report();
}
