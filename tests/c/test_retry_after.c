/*
 * test_retry_after.c - every spelling of "come back later" that is known, what must not be understood, and random bytes.
 */
#include "base/token.h"
#include "check.h"
#include "failover/retry_after.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NOW_S 1767323045 /* 2026-01-02T03:04:05Z */
#define NOW_US (NOW_S * INT64_C(1000000))

#define NONE -1.0

struct row {
    enum retry_after_kind kind;
    const char *text;
    double seconds;
};

static const struct row rows[] = {
    /* numbers */
    {RETRY_AFTER_SECONDS, "2", 2},
    {RETRY_AFTER_SECONDS, "0", 0},
    {RETRY_AFTER_SECONDS, "2.5", 2.5},
    {RETRY_AFTER_SECONDS, "0.001", 0.001},
    {RETRY_AFTER_SECONDS, "  120\t", 120},
    {RETRY_AFTER_SECONDS, "007", 7},
    {RETRY_AFTER_SECONDS, "1e1", 10},
    {RETRY_AFTER_SECONDS, "25E-1", 2.5},
    {RETRY_AFTER_SECONDS, "315360000", 315360000}, /* ten years */
    {RETRY_AFTER_SECONDS, "1e18", 1e9},
    {RETRY_AFTER_SECONDS, "1000000000000000000", 1e9},
    {RETRY_AFTER_SECONDS, "1e999999999999999999999", 1e9},
    {RETRY_AFTER_SECONDS, "99999999999999999999999999999999999999999999999999", 1e9},
    {RETRY_AFTER_MS, "1500", 1.5},
    {RETRY_AFTER_MS, "0.5", 0.0005},
    {RETRY_AFTER_MS, "250ms", 0.25},
    {RETRY_AFTER_MS, "1e18", 1e9},
    /* units */
    {RETRY_AFTER_SECONDS, "6m0s", 360},
    {RETRY_AFTER_SECONDS, "250ms", 0.25},
    {RETRY_AFTER_SECONDS, "1h2m3.5s", 3723.5},
    {RETRY_AFTER_SECONDS, "33s", 33},
    {RETRY_AFTER_SECONDS, "33.123456789s", 33.123456789},
    {RETRY_AFTER_SECONDS, "1d2h", 93600},
    {RETRY_AFTER_SECONDS, "12 s", 12},
    {RETRY_AFTER_SECONDS, "2 minutes", 120},
    {RETRY_AFTER_SECONDS, "1 minute and 30 seconds", 90},
    {RETRY_AFTER_SECONDS, "1 hour, 2 min, and 3 sec", 3723},
    {RETRY_AFTER_SECONDS, "500\xC2\xB5s", 0.0005},
    {RETRY_AFTER_SECONDS, "500us", 0.0005},
    {RETRY_AFTER_SECONDS, "1000000ns", 0.001},
    {RETRY_AFTER_SECONDS, "2S", 2},
    {RETRY_AFTER_SECONDS, "1e300h", 1e9},
    /* times */
    {RETRY_AFTER_SECONDS, "Fri, 02 Jan 2026 03:04:35 GMT", 30},
    {RETRY_AFTER_SECONDS, "Friday, 02-Jan-26 03:04:35 GMT", 30},
    {RETRY_AFTER_SECONDS, "Fri Jan  2 03:04:35 2026", 30},
    {RETRY_AFTER_SECONDS, "Fri, 02 Jan 2026 04:04:35 +0100", 30},
    {RETRY_AFTER_SECONDS, "Thu, 01 Jan 2026 19:34:35 -0730", 30},
    {RETRY_AFTER_SECONDS, "Thu, 01 Jan 2026 22:04:35 EST", 30},
    {RETRY_AFTER_SECONDS, "Thu, 01 Jan 2026 19:04:35 PST", 30},
    {RETRY_AFTER_SECONDS, "Fri, 02 Jan 2026 03:04:35 UTC", 30},
    {RETRY_AFTER_SECONDS, "Sun, 06 Nov 1994 08:49:37 GMT", 0},
    {RETRY_AFTER_SECONDS, "Fri, 01 Jan 2100 00:00:00 GMT", 1e9},
    {RETRY_AFTER_SECONDS, "2026-01-02T03:04:35Z", 30},
    {RETRY_AFTER_SECONDS, "2026-01-02T03:04:35.25Z", 30.25},
    {RETRY_AFTER_SECONDS, "2026-01-02T03:04:35", 30},
    {RETRY_AFTER_SECONDS, "2026-01-02 03:04:35z", 30},
    {RETRY_AFTER_SECONDS, "2026-01-02t05:34:35.000+02:30", 30},
    {RETRY_AFTER_SECONDS, "2026-01-01T23:04:35-0400", 30},
    {RETRY_AFTER_SECONDS, "0001-01-01T00:00:00Z", 0},
    {RETRY_AFTER_SECONDS, "1767323075", 30},
    {RETRY_AFTER_SECONDS, "1767323075.5", 30.5},
    {RETRY_AFTER_SECONDS, "1767323075500", 30.5},
    {RETRY_AFTER_SECONDS, "1500000000", 0},
    /* sentences */
    {RETRY_AFTER_MESSAGE, "Rate limit reached for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Used 29000. "
                          "Please try again in 6m0s. Visit https://example.com to learn more.", 360},
    {RETRY_AFTER_MESSAGE, "Please try again in 20s.", 20},
    {RETRY_AFTER_MESSAGE, "Please try again in 1.5 seconds", 1.5},
    {RETRY_AFTER_MESSAGE, "please TRY AGAIN IN 2 minutes!", 120},
    {RETRY_AFTER_MESSAGE, "Please try again in 7.66s. Need more tokens?", 7.66},
    {RETRY_AFTER_MESSAGE, "Please try again in 120ms.", 0.12},
    {RETRY_AFTER_MESSAGE, "Please retry in 33.5s.", 33.5},
    {RETRY_AFTER_MESSAGE, "Please retry after 20 seconds.", 20},
    {RETRY_AFTER_MESSAGE, "Retry after 20", 20},
    {RETRY_AFTER_MESSAGE, "quota exceeded, retry-after: 12", 12},
    {RETRY_AFTER_MESSAGE, "Your limit resets at 2026-01-02T03:05:05Z.", 60},
    {RETRY_AFTER_MESSAGE, "wait for it, then try again in 1 minute and 30 seconds, please", 90},
    {RETRY_AFTER_MESSAGE, "33s", 33},
    /* what is not understood */
    {RETRY_AFTER_SECONDS, "", NONE},
    {RETRY_AFTER_SECONDS, "   ", NONE},
    {RETRY_AFTER_SECONDS, "-1", NONE},
    {RETRY_AFTER_SECONDS, "-0.5s", NONE},
    {RETRY_AFTER_SECONDS, "+5", NONE},
    {RETRY_AFTER_SECONDS, "soon", NONE},
    {RETRY_AFTER_SECONDS, "2.", NONE},
    {RETRY_AFTER_SECONDS, ".5", NONE},
    {RETRY_AFTER_SECONDS, "1,5", NONE},
    {RETRY_AFTER_SECONDS, "0x10", NONE},
    {RETRY_AFTER_SECONDS, "inf", NONE},
    {RETRY_AFTER_SECONDS, "nan", NONE},
    {RETRY_AFTER_SECONDS, "5 lightyears", NONE},
    {RETRY_AFTER_SECONDS, "6m0", NONE},
    {RETRY_AFTER_SECONDS, "1m-5s", NONE},
    {RETRY_AFTER_SECONDS, "Fri, 32 Jan 2026 03:04:35 GMT", NONE},
    {RETRY_AFTER_SECONDS, "Fri, 02 Jan 2026 03:04:35 XYZ", NONE},
    {RETRY_AFTER_SECONDS, "Fri, 02 Jan 2026 03:04:35 +9999", NONE},
    {RETRY_AFTER_SECONDS, "2026-13-02T03:04:35Z", NONE},
    {RETRY_AFTER_SECONDS, "2026-01-02T25:04:35Z", NONE},
    {RETRY_AFTER_SECONDS, "2026-01-02T03:04:35+1", NONE},
    {RETRY_AFTER_SECONDS, "2026-01-02", NONE},
    {RETRY_AFTER_SECONDS, "2026-01-02T03:04:35Z or so", NONE},
    {RETRY_AFTER_MS, "-250", NONE},
    {RETRY_AFTER_MESSAGE, "Please try again later", NONE},
    {RETRY_AFTER_MESSAGE, "Please try again in a few minutes", NONE},
    {RETRY_AFTER_MESSAGE, "try again in 5 lightyears", NONE},
    {RETRY_AFTER_MESSAGE, "try again in 5-10 seconds", NONE},
    {RETRY_AFTER_MESSAGE, "try again in -3s", NONE},
    {RETRY_AFTER_MESSAGE, "try again in ", NONE},
    {RETRY_AFTER_MESSAGE, "The model has 20 seconds", NONE},
    {RETRY_AFTER_MESSAGE, "429", NONE},
};

static bool parses(const char *p, size_t n, enum retry_after_kind kind, double *out_s)
{
    char *exact = malloc(n ? n : 1); /* no byte more, so that the sanitizer sees what is read beyond it */
    memcpy(exact, p, n);
    bool is_read = retry_after_parse((struct slice){exact, n}, kind, NOW_US, out_s);
    free(exact);
    return is_read;
}

static void test_spellings(void)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        double seconds = 0;
        bool is_read = parses(r->text, strlen(r->text), r->kind, &seconds);
        if (!CHECK(r->seconds < 0 ? !is_read : is_read && fabs(seconds - r->seconds) < 1e-5))
            fprintf(stderr, "  '%s' gave %s %.9g\n", r->text, is_read ? "seconds:" : "nothing,", seconds);
    }
}

/* Known texts with some of their bytes changed, cut off, or doubled. */
static void test_damage(void)
{
    struct token_source tokens;
    uint32_t random[4];
    int wrong = 0, understood = 0;
    token_seed(&tokens, 61);
    for (int i = 0; i < 200000; i++) {
        char text[512];
        token_random(&tokens, random, sizeof random);
        const struct row *r = &rows[random[0] % ARRAY_LEN(rows)];
        size_t n = strlen(r->text);
        memcpy(text, r->text, n);
        for (uint32_t k = 0; n && k < random[1] % 4; k++)
            text[(random[2] >> k * 8) % n] = (char)(random[3] >> k * 8);
        if (n && random[1] & 16)
            n = random[2] % n;
        if (random[1] & 32) {
            memcpy(text + n, text, n);
            n *= 2;
        }
        double seconds = 0;
        if (parses(text, n, random[0] >> 16 & 1 ? r->kind : random[1] >> 8 & 1 ? RETRY_AFTER_MESSAGE : RETRY_AFTER_MS, &seconds)) {
            understood++;
            wrong += !(seconds >= 0 && seconds <= RETRY_AFTER_MAX_S);
        }
    }
    CHECK(wrong == 0 && understood > 10000);
}

int main(void)
{
    test_spellings();
    test_damage();
    return check_report();
}
