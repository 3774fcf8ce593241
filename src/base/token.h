/*
 * token.h - random bytes, identifiers, SHA-256, base64, hexadecimal, and comparison in constant time.
 * Everything but a token_source is pure and thread-safe.
 */
#ifndef PERILUNE_TOKEN_H
#define PERILUNE_TOKEN_H

#include "base.h"

#define TOKEN_PREFIX_MAX 24
#define TOKEN_ID_BYTES (TOKEN_PREFIX_MAX + 1 + 26 + 1) /* prefix _ 26 characters NUL */
#define TOKEN_HASH_BYTES 32
#define TOKEN_BASE64_BYTES(n) (((n) + 2) / 3 * 4)

/* Where randomness comes from. Zeroed memory is the operating system's; token_seed makes it a
 * reproducible one, for tests only. Owned by main; one thread. */
struct token_source {
    bool is_seeded;
    uint64_t state;   /* of the seeded generator */
    uint64_t last[2]; /* the last identifier, high half first */
};

void token_seed(struct token_source *s, uint64_t seed);

/* `s` NULL is the operating system's randomness, from any thread. Aborts if there is none. */
void token_random(struct token_source *s, void *out, size_t bytes);

/* "prefix_" and 26 characters of Crockford's base32, lower case: 48 bits of milliseconds, 80 random bits.
 * Each identifier of a source sorts after the one before it, also within a millisecond and when the wall
 * clock steps back; knowing one leaves at least 64 random bits of the next. `prefix` has at most
 * TOKEN_PREFIX_MAX bytes. */
void token_id(struct token_source *s, int64_t now_ms, const char *prefix, char out[TOKEN_ID_BYTES]);

void token_sha256(const void *p, size_t n, uint8_t out[TOKEN_HASH_BYTES]);
void token_hmac_sha256(const void *key, size_t key_n, const void *p, size_t n, uint8_t out[TOKEN_HASH_BYTES]);

/* Lower case, 2 * n characters and a NUL. */
void token_hex(const void *p, size_t n, char *out);

/* RFC 4648. Standard: "+/", padded. URL: "-_", without padding. Encoding writes at most
 * TOKEN_BASE64_BYTES(n) characters, no NUL, and returns how many. */
enum token_alphabet { TOKEN_STANDARD, TOKEN_URL };
size_t token_base64(const void *p, size_t n, enum token_alphabet alphabet, char *out);
/* Strict: no white space, no wrong padding, no stray bits in the last character, so that every value has
 * one spelling. Writes at most n / 4 * 3 + 2 bytes. False: *out_n is the position of the first bad character. */
MUST_CHECK bool token_unbase64(const char *text, size_t n, enum token_alphabet alphabet, uint8_t *out, size_t *out_n);

/* Takes the same time wherever they differ. Different lengths are told apart at once. */
bool token_equal(const void *a, size_t a_n, const void *b, size_t b_n);

#endif
