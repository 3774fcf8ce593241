/*
 * test_json.c - the codec without Lua: what is accepted and how it reads, what is refused and where, numbers against
 * the C library, UTF-8 against all code points.
 */
#include "../../src/base/decimal.h"
#include "../../src/base/utf8.h"
#include "check.h"
#include "json_copy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(literal) {"" literal, sizeof(literal) - 1}

static struct slice text_of(const char *s)
{
    return (struct slice){s, strlen(s)};
}

static uint64_t next_random(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* ---- documents ---- */

static const struct {
    struct slice text, copy;
} accepted[] = {
    {TEXT("null"), TEXT("null")},
    {TEXT(" \t\r\n true \n"), TEXT("true")},
    {TEXT("\xEF\xBB\xBF[false]"), TEXT("[false]")},
    {TEXT("[]"), TEXT("[]")},
    {TEXT("{ }"), TEXT("{}")},
    {TEXT("[[],{},[ ]]"), TEXT("[[],{},[]]")},
    {TEXT("{\"a\" : [1 , {\"b\":null}], \"\":{}}"), TEXT("{\"a\":[1,{\"b\":null}],\"\":{}}")},
    {TEXT("{\"a\":1,\"a\":2}"), TEXT("{\"a\":1,\"a\":2}")}, /* the reader leaves duplicates to others */
    {TEXT("0"), TEXT("0")},
    {TEXT("-0"), TEXT("-0.0")},
    {TEXT("-0.0"), TEXT("-0.0")},
    {TEXT("1.0"), TEXT("1.0")},
    {TEXT("1e0"), TEXT("1.0")},
    {TEXT("1E+2"), TEXT("100.0")},
    {TEXT("0.1"), TEXT("0.1")},
    {TEXT("9223372036854775807"), TEXT("9223372036854775807")},
    {TEXT("-9223372036854775808"), TEXT("-9223372036854775808")},
    {TEXT("9223372036854775808"), TEXT("9.223372036854776e+18")},
    {TEXT("-9223372036854775809"), TEXT("-9.223372036854776e+18")},
    {TEXT("18446744073709551616"), TEXT("1.8446744073709552e+19")},
    {TEXT("9007199254740993"), TEXT("9007199254740993")},
    {TEXT("9007199254740993.0"), TEXT("9007199254740992.0")},
    {TEXT("1e22"), TEXT("1e+22")},
    {TEXT("1e23"), TEXT("1e+23")},
    {TEXT("5e-324"), TEXT("4.94065645841247e-324")},
    {TEXT("1e-400"), TEXT("0.0")},
    {TEXT("0e999999999999999999999"), TEXT("0.0")},
    {TEXT("1.7976931348623157e308"), TEXT("1.7976931348623157e+308")},
    {TEXT("0.30000000000000004"), TEXT("0.30000000000000004")},
    {TEXT("\"\""), TEXT("\"\"")},
    {TEXT("\"a\\/b\""), TEXT("\"a/b\"")},
    {TEXT("\"\\\"\\\\\\b\\f\\n\\r\\t\""), TEXT("\"\\\"\\\\\\b\\f\\n\\r\\t\"")},
    {TEXT("\"\\u0000\\u001f\\u007F\""), TEXT("\"\\u0000\\u001f\x7F\"")},
    {TEXT("\"\\u00e9\\u20AC\\ud83d\\uDE00\""), TEXT("\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"")},
    {TEXT("\"\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEF\xBF\xBF\""), TEXT("\"\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEF\xBF\xBF\"")},
    {TEXT("{\"a\\u0062c\":1}"), TEXT("{\"abc\":1}")},
};

static void test_accepted(void)
{
    struct buf copy;
    struct err_info info;
    bool is_repaired;
    buf_init(&copy, 4096);
    for (size_t i = 0; i < ARRAY_LEN(accepted); i++) {
        enum err err = json_copy(accepted[i].text, false, &copy, &is_repaired, &info);
        struct slice expected = accepted[i].copy;
        bool is_right = err == ERR_OK && copy.n == expected.n && memcmp(copy.p, expected.p, copy.n) == 0;
        if (!CHECK(is_right))
            fprintf(stderr, "  %s -> %s\n", accepted[i].text.p, err == ERR_OK ? copy.p : info.text);
    }
    buf_deinit(&copy);
}

static const struct {
    struct slice text;
    const char *message; /* what follows "invalid JSON at line " */
} refused[] = {
    {TEXT(""), "1, column 1 (byte 1): expected a value, found the end of the text"},
    {TEXT(" \n "), "2, column 2 (byte 4): expected a value, found the end of the text"},
    {TEXT("[1,2"), "1, column 5 (byte 5): expected ',' or ']', found the end of the text"},
    {TEXT("[1,]"), "1, column 4 (byte 4): expected a value, found ']'"},
    {TEXT("[,1]"), "1, column 2 (byte 2): expected a value, found ','"},
    {TEXT("[1 2]"), "1, column 4 (byte 4): expected ',' or ']', found '2'"},
    {TEXT("[1}"), "1, column 3 (byte 3): expected ',' or ']', found '}'"},
    {TEXT("{\"a\":1]"), "1, column 7 (byte 7): expected ',' or '}', found ']'"},
    {TEXT("{\"a\" 1}"), "1, column 6 (byte 6): expected ':' after a key, found '1'"},
    {TEXT("{\"a\":}"), "1, column 6 (byte 6): expected a value, found '}'"},
    {TEXT("{\"a\":1,}"), "1, column 8 (byte 8): expected a key, found '}'"},
    {TEXT("{a:1}"), "1, column 2 (byte 2): expected a key or '}', found 'a'"},
    {TEXT("{1:1}"), "1, column 2 (byte 2): expected a key or '}', found '1'"},
    {TEXT("]"), "1, column 1 (byte 1): expected a value, found ']'"},
    {TEXT("1 1"), "1, column 3 (byte 3): expected the end of the text, found '1'"},
    {TEXT("{}}"), "1, column 3 (byte 3): expected the end of the text, found '}'"},
    {TEXT("1\0"), "1, column 2 (byte 2): expected the end of the text, found the byte 0x00"},
    {TEXT("[\"\xC3\xA9\",\n \"\xC3\xA9\" x]"), "2, column 6 (byte 14): expected ',' or ']', found 'x'"},
    {TEXT("nul"), "1, column 1 (byte 1): expected a value, found 'n'"},
    {TEXT("True"), "1, column 1 (byte 1): expected a value, found 'T'"},
    {TEXT("truex"), "1, column 5 (byte 5): expected the end of the text, found 'x'"},
    {TEXT("NaN"), "1, column 1 (byte 1): expected a value, found 'N'"},
    {TEXT("-Infinity"), "1, column 2 (byte 2): expected a digit, found 'I'"},
    {TEXT("'a'"), "1, column 1 (byte 1): expected a value, found '''"},
    {TEXT("/**/1"), "1, column 1 (byte 1): expected a value, found '/'"},
    {TEXT("+1"), "1, column 1 (byte 1): expected a value, found '+'"},
    {TEXT("-"), "1, column 2 (byte 2): expected a digit, found the end of the text"},
    {TEXT("01"), "1, column 1 (byte 1): a number may not begin with 0"},
    {TEXT("-00.5"), "1, column 2 (byte 2): a number may not begin with 0"},
    {TEXT("1."), "1, column 3 (byte 3): expected a digit, found the end of the text"},
    {TEXT(".5"), "1, column 1 (byte 1): expected a value, found '.'"},
    {TEXT("1.e5"), "1, column 3 (byte 3): expected a digit, found 'e'"},
    {TEXT("1e"), "1, column 3 (byte 3): expected a digit, found the end of the text"},
    {TEXT("1e+"), "1, column 4 (byte 4): expected a digit, found the end of the text"},
    {TEXT("0x10"), "1, column 2 (byte 2): expected the end of the text, found 'x'"},
    {TEXT("1e400"), "1, column 1 (byte 1): the number is too large for a double"},
    {TEXT("[-1e999999999999]"), "1, column 3 (byte 3): the number is too large for a double"},
    {TEXT("\"a"), "1, column 1 (byte 1): a string that does not end"},
    {TEXT("\"a\\\""), "1, column 1 (byte 1): a string that does not end"},
    {TEXT("\"\\"), "1, column 2 (byte 2): a backslash that begins no escape"},
    {TEXT("\"\\x41\""), "1, column 2 (byte 2): a backslash that begins no escape"},
    {TEXT("\"\\u12g4\""), "1, column 2 (byte 2): a backslash that begins no escape"},
    {TEXT("\"\\u12"), "1, column 2 (byte 2): a backslash that begins no escape"},
    {TEXT("\"\\\0\""), "1, column 2 (byte 2): a backslash that begins no escape"},
    {TEXT("\"a\nb\""), "1, column 3 (byte 3): the control character 0x0A in a string must be escaped"},
    {TEXT("\"a\0b\""), "1, column 3 (byte 3): the control character 0x00 in a string must be escaped"},
    {TEXT("[1\x0C]"), "1, column 3 (byte 3): expected ',' or ']', found the byte 0x0C"},
    {TEXT("[\xEF\xBB\xBF]"), "1, column 2 (byte 2): expected a value, found the byte 0xEF"},
    {TEXT("\xEF\xBB\xBF\xEF\xBB\xBF{}"), "1, column 2 (byte 4): expected a value, found the byte 0xEF"},
    {TEXT("\"\\ud800\""), "1, column 2 (byte 2): half of a surrogate pair: \\uD800"},
    {TEXT("\"\\udc00\\ud800\""), "1, column 2 (byte 2): half of a surrogate pair: \\uDC00"},
    {TEXT("\"\\ud800\\u0041\""), "1, column 2 (byte 2): half of a surrogate pair: \\uD800"},
    {TEXT("\"\x80\""), "1, column 2 (byte 2): a string is not UTF-8 (byte 0x80)"},
    {TEXT("\"a\xC3\""), "1, column 3 (byte 3): a string is not UTF-8 (byte 0xC3)"},
    {TEXT("\"\xED\xA0\x80\""), "1, column 2 (byte 2): a string is not UTF-8 (byte 0xED)"},
    {TEXT("\"\xC0\x80\""), "1, column 2 (byte 2): a string is not UTF-8 (byte 0xC0)"},
    {TEXT("\"\xF5\x80\x80\x80\""), "1, column 2 (byte 2): a string is not UTF-8 (byte 0xF5)"},
};

static void test_refused(void)
{
    struct err_info info;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        info.text[0] = '\0';
        enum err err = json_validate(refused[i].text, &info);
        size_t prefix = strlen("invalid JSON at line ");
        if (!CHECK(err == ERR_JSON && info.code == ERR_JSON && strlen(info.text) > prefix &&
                   strcmp(info.text + prefix, refused[i].message) == 0))
            fprintf(stderr, "  %s -> %s, not %s\n", refused[i].text.p, info.text, refused[i].message);
        CHECK(json_validate(refused[i].text, NULL) == ERR_JSON);
    }
}

static const struct {
    struct slice text, copy;
} repaired[] = {
    {TEXT("\"\\ud800\""), TEXT("\"\xEF\xBF\xBD\"")},
    {TEXT("\"\\ud800\\ud800\\udc00x\""), TEXT("\"\xEF\xBF\xBD\xF0\x90\x80\x80x\"")},
    {TEXT("{\"\\udfff\":1}"), TEXT("{\"\xEF\xBF\xBD\":1}")},
    {TEXT("\"a\x80\xFFz\""), TEXT("\"a\xEF\xBF\xBD\xEF\xBF\xBDz\"")},
    {TEXT("\"\xF0\x9F\x98\""), TEXT("\"\xEF\xBF\xBD\"")},             /* one piece, although three bytes */
    {TEXT("\"\xF0\x9F\x98x\""), TEXT("\"\xEF\xBF\xBDx\"")},
    {TEXT("\"\xED\xA0\x80\""), TEXT("\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"")},
    {TEXT("\"\xE2\x82\\n\""), TEXT("\"\xEF\xBF\xBD\\n\"")},
};

static void test_repaired(void)
{
    struct buf copy;
    bool is_repaired;
    buf_init(&copy, 4096);
    for (size_t i = 0; i < ARRAY_LEN(repaired); i++) {
        CHECK(json_validate(repaired[i].text, NULL) == ERR_JSON);
        CHECK(json_copy(repaired[i].text, true, &copy, &is_repaired, NULL) == ERR_OK && is_repaired);
        CHECK(copy.n == repaired[i].copy.n && memcmp(copy.p, repaired[i].copy.p, copy.n) == 0);
    }
    CHECK(json_copy(text_of("\"\\ud83d\\ude00\""), true, &copy, &is_repaired, NULL) == ERR_OK && !is_repaired);
    CHECK(json_copy(text_of("\"\\q\""), true, &copy, &is_repaired, NULL) == ERR_JSON);
    CHECK(json_copy(text_of("\"\n\""), true, &copy, &is_repaired, NULL) == ERR_JSON);
    buf_deinit(&copy);
}

static void test_depth(void)
{
    char text[2 * JSON_DEPTH_MAX + 2];
    size_t n = JSON_DEPTH_MAX;
    memset(text, '[', n);
    memset(text + n, ']', n);
    CHECK(json_validate((struct slice){text, 2 * n}, NULL) == ERR_OK);
    memset(text, '[', n + 1);
    memset(text + n + 1, ']', n + 1);
    struct err_info info;
    CHECK(json_validate((struct slice){text, 2 * n + 2}, &info) == ERR_JSON);
    CHECK(strstr(info.text, "nested deeper than 128 levels") != NULL);

    struct json_reader r;
    struct json_token t;
    json_reader_init(&r, text_of("[{}]"), &info);
    r.depth_max = 1;
    CHECK(json_next(&r, &t) == ERR_OK && t.kind == JSON_ARRAY);
    CHECK(json_next(&r, &t) == ERR_JSON);
}

static void test_end(void)
{
    struct json_reader r;
    struct json_token t;
    json_reader_init(&r, text_of("\"ab\" "), NULL);
    CHECK(json_next(&r, &t) == ERR_OK && t.kind == JSON_STRING && t.is_plain && slice_is(t.text, "ab"));
    CHECK(json_next(&r, &t) == ERR_OK && t.kind == JSON_END);
    CHECK(json_next(&r, &t) == ERR_OK && t.kind == JSON_END);
    CHECK(json_validate((struct slice){NULL, 0}, NULL) == ERR_JSON);
}

/* A quote, a backslash and so on at every place of strings of every length around the width of a word. */
static void test_places(void)
{
    static const char specials[] = {'"', '\\', '\n', '\0', '\x1F', '\x7F', ' ', '!', '#', '[', ']'};
    struct buf out, scratch;
    unsigned wrong = 0;
    buf_init(&out, 1000);
    buf_init(&scratch, 1000);
    for (size_t n = 1; n <= 20; n++) {
        for (size_t at = 0; at < n * ARRAY_LEN(specials); at++) {
            char text[20];
            memset(text, 'a', sizeof text);
            text[at % n] = specials[at / n];
            struct json_reader r;
            struct json_token t;
            struct slice back;
            buf_clear(&out);
            bool is_right = json_add_string(&out, (struct slice){text, n}) == ERR_OK;
            json_reader_init(&r, (struct slice){out.p, out.n}, NULL);
            is_right = is_right && json_next(&r, &t) == ERR_OK && json_text(&t, &scratch, &back) == ERR_OK;
            wrong += !is_right || back.n != n || memcmp(back.p, text, n) != 0;
        }
    }
    CHECK(wrong == 0);
    buf_deinit(&out);
    buf_deinit(&scratch);
}

/* ---- UTF-8 ---- */

static void test_code_points(void)
{
    unsigned wrong = 0;
    for (uint32_t code = 0; code < 0x110000; code++) {
        char text[4];
        size_t n = (size_t)(utf8_put(text, code) - text);
        bool is_surrogate = code >= 0xD800 && code <= 0xDFFF;
        int got = utf8_at(text, text + n);
        wrong += n != utf8_bytes(code) || got != (is_surrogate ? -1 : (int)n);
        if (n > 1 && !is_surrogate) /* cut short, it is one piece */
            wrong += utf8_at(text, text + n - 1) != -(int)(n - 1);
    }
    CHECK(wrong == 0);
}

/* A string with two bytes of every value: well-formed exactly where the table of Unicode says. */
static void test_byte_pairs(void)
{
    unsigned wrong = 0;
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            char text[2] = {(char)a, (char)b};
            bool is_utf8 = (a < 0x80 && b < 0x80) || (a >= 0xC2 && a <= 0xDF && b >= 0x80 && b <= 0xBF);
            wrong += json_measure((struct slice){text, 2}).is_utf8 != is_utf8;
        }
    }
    CHECK(wrong == 0);
}

/* ---- numbers ---- */

static double read_number(const char *text)
{
    struct json_reader r;
    struct json_token t;
    json_reader_init(&r, text_of(text), NULL);
    if (json_next(&r, &t) != ERR_OK)
        return (double)NAN;
    return t.kind == JSON_INTEGER ? (double)t.integer : t.number;
}

static bool is_same_double(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

/* Reads back the same, here and in the C library, and is not longer than it must be. Returns 1 when wrong. */
static unsigned is_wrong_double(double value)
{
    char text[DECIMAL_BYTES + 1], shortest[64];
    size_t n = decimal_write_double(text, value);
    text[n] = '\0';
    int digits = 15;
    do
        snprintf(shortest, sizeof shortest, "%.*g", digits, value);
    while (!is_same_double(strtod(shortest, NULL), value) && ++digits <= 17);
    bool is_right = n <= DECIMAL_BYTES && strpbrk(text, ".e") && is_same_double(strtod(text, NULL), value) &&
                    is_same_double(read_number(text), value) && n <= strlen(shortest) + 2;
    if (!is_right)
        fprintf(stderr, "  %s, the C library writes %s\n", text, shortest);
    return !is_right;
}

static void test_doubles(void)
{
    static const double values[] = {0.0,    -0.0,   1.0,     0.1,      0.7,    0.5,  1.0 / 3, 1e-4,   9.9e-5,
                                    1e-7,   1e15,   1.0e16,  1e22,     1e23,   1e308, 5e-324, 2.2250738585072014e-308,
                                    123456789012345.0, 999999999999999.9, 4503599627370497.5, 9007199254740993.0};
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        CHECK(!is_wrong_double(values[i]));
    unsigned wrong = 0;
    for (int i = 0; i < 20000; i++) { /* any bits; short decimals; whole numbers */
        uint64_t bits = next_random();
        double any;
        memcpy(&any, &bits, sizeof any);
        if (isfinite(any))
            wrong += is_wrong_double(any);
        wrong += is_wrong_double(((double)(next_random() % 2000000000) - 1e9) / 10000);
        wrong += is_wrong_double((double)(next_random() >> (next_random() % 64)));
    }
    CHECK(wrong == 0);
}

/* Literals of every shape, beside strtod (this test runs in the C locale). */
static void test_literals(void)
{
    unsigned wrong = 0;
    for (int i = 0; i < 50000; i++) {
        char text[1200];
        size_t n = 0, digits = next_random() % (i % 50 ? 25 : 1000), point = next_random() % 30;
        text[n++] = (char)('1' + next_random() % 9);
        for (size_t d = 0; d < digits; d++) {
            if (d == point)
                text[n++] = '.';
            text[n++] = (char)('0' + (next_random() % 3 ? next_random() % 10 : 0));
        }
        text[n] = '\0';
        if (i % 3)
            snprintf(text + n, sizeof text - n, "e%d", (int)(next_random() % 660) - 340);
        double expected = strtod(text, NULL);
        double got = read_number(text);
        bool is_right = isinf(expected) ? isnan(got) : is_same_double(got, expected);
        wrong += !is_right;
        if (!is_right)
            fprintf(stderr, "  %s\n", text);
    }
    CHECK(wrong == 0);
}

/* A tie is broken by what follows, however far away. */
static void test_ties(void)
{
    char text[2000] = "9007199254740993.";
    size_t n = strlen(text);
    memset(text + n, '0', 1500);
    text[n + 1500] = '\0';
    CHECK(is_same_double(read_number(text), 9007199254740992.0));
    text[n + 1499] = '1';
    CHECK(is_same_double(read_number(text), 9007199254740994.0));
    CHECK(is_same_double(read_number("0.000000000000000000000000000000000000000001e42"), 1.0));
}

static void test_integers(void)
{
    static const int64_t values[] = {0, 1, -1, 9, 10, 99, -100, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    char text[DECIMAL_BYTES], expected[32];
    unsigned wrong = 0;
    for (size_t i = 0; i < 1000 + ARRAY_LEN(values); i++) {
        int64_t value = i < ARRAY_LEN(values) ? values[i] : (int64_t)next_random() >> (next_random() % 63);
        size_t n = decimal_write_integer(text, value);
        snprintf(expected, sizeof expected, "%lld", (long long)value);
        wrong += n != strlen(expected) || memcmp(text, expected, n) != 0;
    }
    CHECK(wrong == 0);
}

/* ---- the rest ---- */

static void test_quote(void)
{
    char out[16];
    json_quote(text_of("abc"), out, sizeof out);
    CHECK(strcmp(out, "\"abc\"") == 0);
    json_quote(text_of("abcdefghijklmnop"), out, sizeof out);
    CHECK(strcmp(out, "\"abcdefghij\"...") == 0);
    json_quote(text_of("abcdefghi\xE2\x82\xACx"), out, sizeof out); /* not cut inside a character */
    CHECK(strcmp(out, "\"abcdefghi\"...") == 0);
    json_quote((struct slice){"\0\n\xFF", 3}, out, sizeof out);
    CHECK(strcmp(out, "\"\\u0000\\n\"...") == 0);
    json_quote((struct slice){NULL, 0}, out, sizeof out);
    CHECK(strcmp(out, "\"\"") == 0);
}

static void test_limits(void)
{
    struct buf b;
    struct json_reader r;
    struct json_token t;
    struct slice text;
    buf_init(&b, 4);
    CHECK(json_add_string(&b, text_of("abc")) == ERR_LIMIT && b.n == 0);
    CHECK(json_add_string(&b, text_of("ab")) == ERR_OK && b.n == 4);
    json_reader_init(&r, text_of("\"\\nabcd\""), NULL);
    CHECK(json_next(&r, &t) == ERR_OK && json_text(&t, &b, &text) == ERR_LIMIT);
    buf_deinit(&b);
}

int main(void)
{
    test_accepted();
    test_refused();
    test_repaired();
    test_depth();
    test_end();
    test_places();
    test_code_points();
    test_byte_pairs();
    test_doubles();
    test_literals();
    test_ties();
    test_integers();
    test_quote();
    test_limits();
    return check_report();
}
