/*
 * test_buf.c - growth, the limit, and what a buffer that refused looks like.
 */
#include "../../src/base/buf.h"

#include "../../src/base/mem.h"
#include "check.h"

#include <string.h>

static void test_growth(void)
{
    struct buf b;
    buf_init(&b, 1000);
    CHECK(b.p == NULL && b.n == 0);
    for (int i = 0; i < 1000; i++)
        CHECK(buf_add_char(&b, (char)('a' + i % 26)) == ERR_OK);
    CHECK(b.n == 1000 && b.p[1000] == '\0' && b.p[999] == 'a' + 999 % 26);
    CHECK(buf_add_char(&b, 'x') == ERR_LIMIT);
    CHECK(b.n == 1000 && b.p[1000] == '\0');
    CHECK(b.cap <= 1001);
    buf_deinit(&b);
    CHECK(b.p == NULL && b.n == 0 && b.max == 1000);
}

static void test_limit_is_exact(void)
{
    for (size_t max = 0; max < 200; max++) {
        struct buf b;
        char bytes[201] = {0};
        buf_init(&b, max);
        CHECK(buf_add(&b, bytes, max + 1) == ERR_LIMIT && b.n == 0);
        CHECK(buf_add(&b, bytes, max) == ERR_OK && b.n == max);
        CHECK(buf_reserve(&b, 1) == ERR_LIMIT);
        CHECK(buf_reserve(&b, SIZE_MAX) == ERR_LIMIT);
        CHECK(buf_add(&b, NULL, 0) == ERR_OK);
        buf_deinit(&b);
    }
}

static void test_format(void)
{
    struct buf b;
    buf_init(&b, 10);
    CHECK(buf_addf(&b, "%d-%s", 12, "ab") == ERR_OK && strcmp(b.p, "12-ab") == 0);
    CHECK(buf_addf(&b, "%s", "123456") == ERR_LIMIT && strcmp(b.p, "12-ab") == 0);
    CHECK(buf_addf(&b, "%s", "12345") == ERR_OK && strcmp(b.p, "12-ab12345") == 0);
    buf_deinit(&b);
}

static void test_consume(void)
{
    struct buf b;
    buf_init(&b, 100);
    buf_consume(&b, 0);
    CHECK(buf_add_str(&b, "hello world") == ERR_OK);
    buf_consume(&b, 0);
    buf_consume(&b, 6);
    CHECK(b.n == 5 && strcmp(b.p, "world") == 0);
    buf_consume(&b, 5);
    CHECK(b.n == 0 && b.p[0] == '\0');
    buf_shrink(&b, 1000);
    CHECK(b.p != NULL);
    buf_shrink(&b, 10);
    CHECK(b.p == NULL && b.max == 100);
    buf_clear(&b);
    buf_deinit(&b);
}

static void test_take(void)
{
    struct buf b;
    size_t n = 99;
    buf_init(&b, 100);
    char *empty = buf_take(&b, &n);
    CHECK(n == 0 && strcmp(empty, "") == 0);
    mem_free(empty);
    CHECK(buf_add(&b, "a\0b", 3) == ERR_OK);
    char *p = buf_take(&b, &n);
    CHECK(n == 3 && memcmp(p, "a\0b", 4) == 0 && b.p == NULL && b.n == 0);
    mem_free(p);
    CHECK(buf_add_str(&b, "again") == ERR_OK);
    p = buf_take(&b, NULL);
    CHECK(strcmp(p, "again") == 0);
    mem_free(p);
}

static void test_slices(void)
{
    CHECK(slice_is((struct slice){"GET ", 3}, "GET"));
    CHECK(!slice_is((struct slice){"GET", 3}, "get"));
    CHECK(!slice_is((struct slice){"GET", 3}, "GETS"));
    CHECK(slice_is((struct slice){"", 0}, ""));
    CHECK(slice_is_nocase((struct slice){"Content-Type", 12}, "content-type"));
    CHECK(!slice_is_nocase((struct slice){"Content-Type", 11}, "content-type"));
}

int main(void)
{
    test_growth();
    test_limit_is_exact();
    test_format();
    test_consume();
    test_take();
    test_slices();
    return check_report();
}
