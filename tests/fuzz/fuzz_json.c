/*
 * fuzz_json.c - libFuzzer: what was read and written again reads as the same; what is refused is refused by every
 * reader; and repair changes nothing that did not need it, and leaves nothing that does.
 */
#include "../c/json_copy.h"

#include <string.h>

#define COPY_BYTES_MAX (1u << 20)

struct outcome {
    struct buf copy;
    bool is_ok, is_repaired;
    struct err_info info;
};

static void read_into(struct outcome *o, struct slice text, bool repair)
{
    o->info.text[0] = '\0';
    o->is_ok = json_copy(text, repair, &o->copy, &o->is_repaired, &o->info) == ERR_OK;
    ASSERT(o->is_ok || o->info.code == ERR_JSON);
    ASSERT(o->is_ok || strncmp(o->info.text, "invalid JSON at line ", 21) == 0);
    ASSERT(json_measure((struct slice){o->info.text, strlen(o->info.text)}).is_utf8);
    ASSERT(repair || !o->is_repaired);
}

static bool is_same(const struct outcome *a, const struct outcome *b)
{
    return a->is_ok && b->is_ok && a->copy.n == b->copy.n && memcmp(a->copy.p, b->copy.p, a->copy.n) == 0;
}

static void check_again(const struct outcome *first)
{
    struct outcome again = {.copy.max = COPY_BYTES_MAX};
    read_into(&again, (struct slice){first->copy.p, first->copy.n}, false);
    ASSERT(is_same(first, &again));
    buf_deinit(&again.copy);
}

/* The bytes themselves as a string: it must read back, whole when they are UTF-8. */
static void check_string(struct slice text)
{
    struct buf quoted, scratch;
    struct json_reader r;
    struct json_token t;
    struct slice back;
    char shown[40];
    buf_init(&quoted, text.n * 6 + 2);
    buf_init(&scratch, text.n * 3);
    ASSERT(json_add_string(&quoted, text) == ERR_OK);
    ASSERT(quoted.n == json_measure(text).bytes);
    json_reader_init(&r, (struct slice){quoted.p, quoted.n}, NULL);
    ASSERT(json_next(&r, &t) == ERR_OK && t.kind == JSON_STRING);
    ASSERT(json_text(&t, &scratch, &back) == ERR_OK);
    if (json_measure(text).is_utf8)
        ASSERT(back.n == text.n && (text.n == 0 || memcmp(back.p, text.p, text.n) == 0));
    json_quote(text, shown, sizeof shown);
    ASSERT(strlen(shown) < sizeof shown);
    buf_deinit(&quoted);
    buf_deinit(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = {(const char *)data, size};
    struct outcome strict = {.copy.max = COPY_BYTES_MAX}, repaired = {.copy.max = COPY_BYTES_MAX};
    read_into(&strict, text, false);
    read_into(&repaired, text, true);
    ASSERT(strict.is_ok == (json_validate(text, NULL) == ERR_OK));
    if (strict.is_ok) {
        ASSERT(is_same(&strict, &repaired) && !repaired.is_repaired);
        check_again(&strict);
    } else if (repaired.is_ok) {
        ASSERT(repaired.is_repaired);
        check_again(&repaired);
    }
    check_string(text);
    buf_deinit(&strict.copy);
    buf_deinit(&repaired.copy);
    return 0;
}
