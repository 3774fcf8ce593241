/*
 * token.c - identifiers, hashes and encodings. Not a cryptographic library: SHA-256 is here because
 * webhooks, API keys and caches need exactly that one.
 *
 * An identifier is one 128-bit number. Within a millisecond the next one is the last plus a random 64-bit
 * step, and a carry simply runs into the time bits: order needs no counter and no waiting.
 */
#include "token.h"

#include "mem.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

typedef unsigned __int128 uint128;

/* Randomness */

static void system_random(void *out, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = getrandom((char *)out + done, bytes - done, 0);
        if (n < 0) {
            ASSERT(errno == EINTR);
            continue;
        }
        done += (size_t)n;
    }
}

/* SplitMix64. Reproducible, not secret: for tests. */
static uint64_t seeded_next(struct token_source *s)
{
    uint64_t z = s->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void token_seed(struct token_source *s, uint64_t seed)
{
    *s = (struct token_source){.is_seeded = true, .state = seed};
}

void token_random(struct token_source *s, void *out, size_t bytes)
{
    if (!s || !s->is_seeded) {
        system_random(out, bytes);
        return;
    }
    for (size_t done = 0; done < bytes; done += sizeof(uint64_t)) {
        uint64_t value = seeded_next(s);
        size_t left = bytes - done;
        memcpy((char *)out + done, &value, left < sizeof value ? left : sizeof value);
    }
}

void token_id(struct token_source *s, int64_t now_ms, const char *prefix, char out[TOKEN_ID_BYTES])
{
    static const char letters[] = "0123456789abcdefghjkmnpqrstvwxyz";
    size_t prefix_n = strlen(prefix);
    ASSERT(prefix_n <= TOKEN_PREFIX_MAX);
    uint8_t bytes[10];
    uint64_t low;
    uint16_t high;
    token_random(s, bytes, sizeof bytes);
    memcpy(&low, bytes, sizeof low);
    memcpy(&high, bytes + sizeof low, sizeof high);

    uint128 last = (uint128)s->last[0] << 64 | s->last[1];
    uint64_t time_bits = (uint64_t)now_ms & 0xffffffffffffu;
    uint128 id = (uint128)time_bits << 80 | (uint128)high << 64 | low;
    if (time_bits <= (uint64_t)(last >> 80))
        id = last + 1 + low;
    s->last[0] = (uint64_t)(id >> 64);
    s->last[1] = (uint64_t)id;

    memcpy(out, prefix, prefix_n);
    char *p = out + prefix_n;
    *p++ = '_';
    for (int shift = 125; shift >= 0; shift -= 5)
        *p++ = letters[(unsigned)(id >> shift) & 31];
    *p = '\0';
}

/* SHA-256 (FIPS 180-4) */

#define BLOCK_BYTES 64

struct sha256 {
    uint32_t h[8];
    uint64_t bytes;
    uint8_t block[BLOCK_BYTES];
};

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, int bits)
{
    return x >> bits | x << (32 - bits);
}

static void sha256_block(uint32_t h[8], const uint8_t *p)
{
    uint32_t w[64];
    for (int i = 0; i < 16; i++, p += 4)
        w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], last = h[7];
    for (int i = 0; i < 64; i++) {
        uint32_t t1 =
            last + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + round_constants[i] + w[i];
        uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        last = g, g = f, f = e, e = d + t1;
        d = c, c = b, b = a, a = t1 + t2;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d;
    h[4] += e, h[5] += f, h[6] += g, h[7] += last;
}

static void sha256_init(struct sha256 *s)
{
    *s = (struct sha256){
        .h = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

static void sha256_add(struct sha256 *s, const void *data, size_t n)
{
    const uint8_t *p = data;
    size_t held = s->bytes % BLOCK_BYTES;
    s->bytes += n;
    if (held) {
        size_t take = n < BLOCK_BYTES - held ? n : BLOCK_BYTES - held;
        if (take)
            memcpy(s->block + held, p, take);
        if (held + take < BLOCK_BYTES)
            return;
        sha256_block(s->h, s->block);
        p += take;
        n -= take;
    }
    for (; n >= BLOCK_BYTES; p += BLOCK_BYTES, n -= BLOCK_BYTES)
        sha256_block(s->h, p);
    if (n)
        memcpy(s->block, p, n);
}

static void sha256_end(struct sha256 *s, uint8_t out[TOKEN_HASH_BYTES])
{
    static const uint8_t padding[BLOCK_BYTES] = {0x80};
    uint64_t bits = s->bytes * 8;
    size_t held = s->bytes % BLOCK_BYTES;
    sha256_add(s, padding, (held < 56 ? 56 : 120) - held);
    uint8_t length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    sha256_add(s, length, sizeof length);
    for (int i = 0; i < TOKEN_HASH_BYTES; i++)
        out[i] = (uint8_t)(s->h[i / 4] >> (24 - 8 * (i % 4)));
}

void token_sha256(const void *p, size_t n, uint8_t out[TOKEN_HASH_BYTES])
{
    struct sha256 s;
    sha256_init(&s);
    sha256_add(&s, p, n);
    sha256_end(&s, out);
}

void token_hmac_sha256(const void *key, size_t key_n, const void *p, size_t n, uint8_t out[TOKEN_HASH_BYTES])
{
    uint8_t inner[BLOCK_BYTES] = {0}, outer[BLOCK_BYTES];
    if (key_n > BLOCK_BYTES)
        token_sha256(key, key_n, inner);
    else if (key_n)
        memcpy(inner, key, key_n);
    for (size_t i = 0; i < BLOCK_BYTES; i++) {
        outer[i] = inner[i] ^ 0x5c;
        inner[i] ^= 0x36;
    }
    struct sha256 s;
    sha256_init(&s);
    sha256_add(&s, inner, sizeof inner);
    sha256_add(&s, p, n);
    sha256_end(&s, out);
    sha256_init(&s);
    sha256_add(&s, outer, sizeof outer);
    sha256_add(&s, out, TOKEN_HASH_BYTES);
    sha256_end(&s, out);
    mem_wipe(inner, sizeof inner);
    mem_wipe(outer, sizeof outer);
    mem_wipe(&s, sizeof s);
}

/* Text */

void token_hex(const void *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = p;
    for (size_t i = 0; i < n; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

static const char alphabets[2][65] = {
    [TOKEN_STANDARD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    [TOKEN_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

size_t token_base64(const void *p, size_t n, enum token_alphabet alphabet, char *out)
{
    const char *letters = alphabets[alphabet];
    const uint8_t *in = p;
    char *to = out;
    for (; n >= 3; n -= 3, in += 3) {
        *to++ = letters[in[0] >> 2];
        *to++ = letters[(in[0] & 3) << 4 | in[1] >> 4];
        *to++ = letters[(in[1] & 15) << 2 | in[2] >> 6];
        *to++ = letters[in[2] & 63];
    }
    if (n) {
        uint8_t second = n == 2 ? in[1] : 0;
        *to++ = letters[in[0] >> 2];
        *to++ = letters[(in[0] & 3) << 4 | second >> 4];
        if (n == 2)
            *to++ = letters[(second & 15) << 2];
        for (size_t i = n; alphabet == TOKEN_STANDARD && i < 3; i++)
            *to++ = '=';
    }
    return (size_t)(to - out);
}

/* The value of each character, or 64. */
static void fill_values(uint8_t values[256], enum token_alphabet alphabet)
{
    memset(values, 64, 256);
    for (uint8_t i = 0; i < 64; i++)
        values[(uint8_t)alphabets[alphabet][i]] = i;
}

/* How many characters carry data: everything but the padding, which must be exactly right. */
static bool strip_padding(const char *text, size_t *n, enum token_alphabet alphabet)
{
    size_t data = *n;
    if (alphabet == TOKEN_STANDARD) {
        while (data && *n - data < 2 && text[data - 1] == '=')
            data--;
        if (*n % 4)
            return false;
    }
    *n = data;
    return data % 4 != 1;
}

bool token_unbase64(const char *text, size_t n, enum token_alphabet alphabet, uint8_t *out, size_t *out_n)
{
    uint8_t values[256];
    fill_values(values, alphabet);
    size_t data = n, i = 0;
    bool is_whole = strip_padding(text, &data, alphabet);
    uint32_t bits = 0;
    uint8_t *to = out;
    for (; i < data; i++) {
        uint8_t value = values[(uint8_t)text[i]];
        if (value == 64)
            break;
        bits = bits << 6 | value;
        if (i % 4 == 3) {
            *to++ = (uint8_t)(bits >> 16);
            *to++ = (uint8_t)(bits >> 8);
            *to++ = (uint8_t)bits;
            bits = 0;
        }
    }
    *out_n = i;
    if (i < data || !is_whole)
        return false;
    size_t rest = data % 4; /* 0, 2 or 3 characters: 0, 1 or 2 bytes, and stray bits that must be 0 */
    uint32_t stray = rest == 2 ? bits & 15 : rest == 3 ? bits & 3 : 0;
    if (stray) {
        *out_n = data - 1;
        return false;
    }
    if (rest)
        *to++ = (uint8_t)(rest == 2 ? bits >> 4 : bits >> 10);
    if (rest == 3)
        *to++ = (uint8_t)(bits >> 2);
    *out_n = (size_t)(to - out);
    return true;
}

bool token_equal(const void *a, size_t a_n, const void *b, size_t b_n)
{
    if (a_n != b_n)
        return false;
    const volatile uint8_t *x = a, *y = b;
    uint8_t difference = 0;
    for (size_t i = 0; i < a_n; i++)
        difference |= x[i] ^ y[i];
    return difference == 0;
}
