/*
 * test_token.c - the published vectors of SHA-256 (FIPS 180-4), HMAC (RFC 4231) and base64 (RFC 4648), every strictness
 * rule of the decoder, and the order and spread of identifiers.
 */
#include "../../src/base/token.h"

#include "../../src/base/mem.h"
#include "check.h"

#include <string.h>

static bool hash_is(const void *p, size_t n, const char *expected)
{
    uint8_t hash[TOKEN_HASH_BYTES];
    char hex[2 * TOKEN_HASH_BYTES + 1];
    token_sha256(p, n, hash);
    token_hex(hash, sizeof hash, hex);
    return strcmp(hex, expected) == 0;
}

static void test_sha256(void)
{
    CHECK(hash_is("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
    CHECK(hash_is("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    CHECK(hash_is("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"));
    CHECK(hash_is("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnop"
                  "qrstnopqrstu",
                  112, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"));
    size_t million = 1000000;
    char *a = mem_alloc(million);
    memset(a, 'a', million);
    CHECK(hash_is(a, million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"));
    mem_free(a);
}

/* The padding at every length of the last block: a hash of hashes over 0 to 299 bytes of "a". */
static void test_sha256_lengths(void)
{
    char text[300], all[300 * 2 * TOKEN_HASH_BYTES + 1];
    memset(text, 'a', sizeof text);
    for (size_t n = 0; n < sizeof text; n++) {
        uint8_t hash[TOKEN_HASH_BYTES];
        token_sha256(text, n, hash);
        token_hex(hash, sizeof hash, all + n * 2 * TOKEN_HASH_BYTES);
    }
    CHECK(hash_is(all, sizeof all - 1, "dd21bb91165542678c760dec417a174580c2006e5105a25e373c77dd466cdf00"));
}

static bool hmac_is(const void *key, size_t key_n, const void *p, size_t n, const char *expected)
{
    uint8_t hash[TOKEN_HASH_BYTES];
    char hex[2 * TOKEN_HASH_BYTES + 1];
    token_hmac_sha256(key, key_n, p, n, hash);
    token_hex(hash, sizeof hash, hex);
    return strncmp(hex, expected, strlen(expected)) == 0;
}

static void test_hmac(void)
{
    char aa[131], dd[50], cd[50], key4[25];
    memset(aa, 0xaa, sizeof aa);
    memset(dd, 0xdd, sizeof dd);
    memset(cd, 0xcd, sizeof cd);
    for (size_t i = 0; i < sizeof key4; i++)
        key4[i] = (char)(i + 1);
    const char *large = "Test Using Larger Than Block-Size Key - Hash Key First";
    const char *both = "This is a test using a larger than block-size key and a larger than block-size data. "
                       "The key needs to be hashed before being used by the HMAC algorithm.";
    CHECK(hmac_is("\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b", 20, "Hi There", 8,
                  "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"));
    CHECK(hmac_is("Jefe", 4, "what do ya want for nothing?", 28,
                  "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
    CHECK(hmac_is(aa, 20, dd, 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"));
    CHECK(hmac_is(key4, 25, cd, 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"));
    CHECK(hmac_is("\x0c\x0c\x0c\x0c\x0c\x0c\x0c\x0c\x0c\x0c\x0c\x0c\x0c\x0c\x0c\x0c\x0c\x0c\x0c\x0c", 20,
                  "Test With Truncation", 20, "a3b6167473100ee06e0c796c2955552b"));
    CHECK(hmac_is(aa, 131, large, strlen(large), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"));
    CHECK(hmac_is(aa, 131, both, strlen(both), "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"));
}

static bool encodes_to(const char *bytes, size_t n, enum token_alphabet alphabet, const char *expected)
{
    char out[64];
    size_t out_n = token_base64(bytes, n, alphabet, out);
    return out_n == strlen(expected) && memcmp(out, expected, out_n) == 0 && out_n <= TOKEN_BASE64_BYTES(n);
}

static void test_base64_vectors(void)
{
    static const char *const standard[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    static const char *const url[] = {"", "Zg", "Zm8", "Zm9v", "Zm9vYg", "Zm9vYmE", "Zm9vYmFy"};
    for (size_t n = 0; n <= 6; n++) {
        CHECK(encodes_to("foobar", n, TOKEN_STANDARD, standard[n]));
        CHECK(encodes_to("foobar", n, TOKEN_URL, url[n]));
    }
    CHECK(encodes_to("\xfb\xff\xfe", 3, TOKEN_STANDARD, "+//+"));
    CHECK(encodes_to("\xfb\xff\xfe", 3, TOKEN_URL, "-__-"));
}

static void test_base64_round_trip(void)
{
    struct token_source source = {0};
    uint8_t bytes[200], back[201 + 3];
    char text[TOKEN_BASE64_BYTES(200)];
    token_seed(&source, 7);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        token_random(&source, bytes, sizeof bytes);
        for (int alphabet = TOKEN_STANDARD; alphabet <= TOKEN_URL; alphabet++) {
            size_t back_n, text_n = token_base64(bytes, n, (enum token_alphabet)alphabet, text);
            CHECK(token_unbase64(text, text_n, (enum token_alphabet)alphabet, back, &back_n));
            CHECK(back_n == n && memcmp(back, bytes, n) == 0);
        }
    }
}

static bool is_refused(const char *text, enum token_alphabet alphabet, size_t at)
{
    uint8_t out[64];
    size_t n = 99;
    return !token_unbase64(text, strlen(text), alphabet, out, &n) && n == at;
}

static void test_base64_is_strict(void)
{
    CHECK(is_refused("Zg", TOKEN_STANDARD, 2)); /* padding is missing */
    CHECK(is_refused("Zg=", TOKEN_STANDARD, 2));
    CHECK(is_refused("Zg===", TOKEN_STANDARD, 2));
    CHECK(is_refused("Zm9v====", TOKEN_STANDARD, 4));
    CHECK(is_refused("====", TOKEN_STANDARD, 0));
    CHECK(is_refused("Z===", TOKEN_STANDARD, 1));
    CHECK(is_refused("Zg==Zg==", TOKEN_STANDARD, 2));
    CHECK(is_refused("Zh==", TOKEN_STANDARD, 1)); /* stray bits */
    CHECK(is_refused("Zm9=", TOKEN_STANDARD, 2));
    CHECK(is_refused("Zm9v\n", TOKEN_STANDARD, 4)); /* white space */
    CHECK(is_refused("Zm 9v===", TOKEN_STANDARD, 2));
    CHECK(is_refused("-__-", TOKEN_STANDARD, 0)); /* the other alphabet */
    CHECK(is_refused("+//+", TOKEN_URL, 0));
    CHECK(is_refused("Zg==", TOKEN_URL, 2)); /* no padding there */
    CHECK(is_refused("Z", TOKEN_URL, 1));
    CHECK(is_refused("Zh", TOKEN_URL, 1));
    CHECK(is_refused("Zm9vY", TOKEN_URL, 5));
}

static void test_base64_every_byte(void)
{
    size_t accepted = 0, n;
    uint8_t out[8];
    for (int c = 0; c < 256; c++) {
        char text[4] = {'A', 'A', 'A', (char)c};
        accepted += token_unbase64(text, 4, TOKEN_STANDARD, out, &n);
    }
    CHECK(accepted == 65); /* the alphabet, and '=' */
}

static void test_equal(void)
{
    CHECK(token_equal("", 0, "", 0));
    CHECK(token_equal("secret", 6, "secret", 6));
    CHECK(!token_equal("secret", 6, "secreT", 6));
    CHECK(!token_equal("secret", 6, "Secret", 6));
    CHECK(!token_equal("secret", 6, "secret1", 7));
}

static void test_id_order(void)
{
    struct token_source source = {0};
    char last[TOKEN_ID_BYTES], id[TOKEN_ID_BYTES];
    token_id(&source, 1000000, "run", last);
    CHECK(strlen(last) == 30 && strncmp(last, "run_", 4) == 0);
    CHECK(strspn(last + 4, "0123456789abcdefghjkmnpqrstvwxyz") == 26);
    size_t wrong = 0;
    for (int i = 0; i < 200000; i++) { /* one millisecond: the step carries into the time more than once */
        token_id(&source, 1000000, "run", id);
        wrong += strcmp(id, last) <= 0;
        memcpy(last, id, sizeof id);
    }
    CHECK(wrong == 0);
    token_id(&source, 5, "run", id); /* the wall clock stepped back */
    CHECK(strcmp(id, last) > 0);
    memcpy(last, id, sizeof id);
    token_id(&source, 2000000, "run", id);
    CHECK(strcmp(id, last) > 0);
}

static void test_id_time(void)
{
    struct token_source source;
    char a[TOKEN_ID_BYTES], b[TOKEN_ID_BYTES];
    token_seed(&source, 1);
    token_id(&source, 0x123456789abc, "x", a);
    CHECK(strncmp(a, "x_0j6hb7h6nw", 12) == 0); /* 48 bits in ten characters */
    token_seed(&source, 1);
    token_id(&source, 0x123456789abc, "x", b);
    CHECK(strcmp(a, b) == 0);
    token_seed(&source, 2);
    token_id(&source, 0x123456789abc, "x", b);
    CHECK(strcmp(a, b) != 0 && strncmp(a, b, 12) == 0);
    token_id(&source, 0xffffffffffff, "a23456789_b23456789_c234", b);
    CHECK(strlen(b) == TOKEN_ID_BYTES - 1 && strncmp(b + 25, "7zzzzzzzzz", 10) == 0);
}

static void test_random(void)
{
    uint8_t bytes[1000] = {0};
    token_random(NULL, bytes, sizeof bytes);
    size_t counts[256] = {0}, distinct = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        distinct += counts[bytes[i]]++ == 0;
    CHECK(distinct > 200);
    struct token_source a, b;
    uint8_t x[13], y[13];
    token_seed(&a, 42);
    token_seed(&b, 42);
    token_random(&a, x, sizeof x);
    token_random(&b, y, sizeof y);
    CHECK(memcmp(x, y, sizeof x) == 0);
    token_random(&a, x, sizeof x);
    CHECK(memcmp(x, y, sizeof x) != 0);
}

int main(void)
{
    test_sha256();
    test_sha256_lengths();
    test_hmac();
    test_base64_vectors();
    test_base64_round_trip();
    test_base64_is_strict();
    test_base64_every_byte();
    test_equal();
    test_id_order();
    test_id_time();
    test_random();
    return check_report();
}
