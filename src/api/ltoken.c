/*
 * ltoken.c - perilune.sys.token: random bytes, identifiers, hashes, base64, comparison in constant time. Identifiers
 * and random bytes come from the host's source, which a test may seed.
 */
#include "../base/token.h"
#include "../script/args.h"
#include "../script/host.h"
#include "api.h"

#define RANDOM_BYTES_MAX (64 << 10)

static const char *const alphabets[] = {"standard", "url", NULL};

static struct slice check_slice(lua_State *L, int arg)
{
    struct slice s;
    s.p = luaL_checklstring(L, arg, &s.n);
    return s;
}

/* random(n) -> n bytes */
static int f_random(lua_State *L)
{
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n >= 1 && n <= RANDOM_BYTES_MAX, 1, "not between 1 and 65536 bytes");
    luaL_Buffer b;
    token_random(&host_of(L)->tokens, luaL_buffinitsize(L, &b, (size_t)n), (size_t)n);
    luaL_pushresultsize(&b, (size_t)n);
    return 1;
}

static bool is_prefix(struct slice s)
{
    if (s.n == 0 || s.n > TOKEN_PREFIX_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (i > 0 && ((c >= '0' && c <= '9') || c == '_'))))
            return false;
    }
    return true;
}

/* id(prefix) -> "prefix_01j9..." */
static int f_id(lua_State *L)
{
    struct host *h = host_of(L);
    struct slice prefix = check_slice(L, 1);
    luaL_argcheck(L, is_prefix(prefix), 1, "a prefix is 1 to 24 of a-z, 0-9 and _, and begins with a letter");
    char id[TOKEN_ID_BYTES];
    token_id(&h->tokens, clock_wall_ms(h->clock), prefix.p, id);
    lua_pushstring(L, id);
    return 1;
}

/* seed(integer?): for tests; without an argument back to real randomness */
static int f_seed(lua_State *L)
{
    struct token_source *tokens = &host_of(L)->tokens;
    if (lua_isnoneornil(L, 1))
        *tokens = (struct token_source){0};
    else
        token_seed(tokens, (uint64_t)luaL_checkinteger(L, 1));
    return 0;
}

static int push_hex(lua_State *L, const uint8_t hash[TOKEN_HASH_BYTES])
{
    char hex[2 * TOKEN_HASH_BYTES + 1];
    token_hex(hash, TOKEN_HASH_BYTES, hex);
    lua_pushstring(L, hex);
    return 1;
}

/* sha256(text) -> 64 hexadecimal digits */
static int f_sha256(lua_State *L)
{
    uint8_t hash[TOKEN_HASH_BYTES];
    struct slice text = check_slice(L, 1);
    token_sha256(text.p, text.n, hash);
    return push_hex(L, hash);
}

/* hmac_sha256(key, text) -> 64 hexadecimal digits */
static int f_hmac_sha256(lua_State *L)
{
    uint8_t hash[TOKEN_HASH_BYTES];
    struct slice key = check_slice(L, 1), text = check_slice(L, 2);
    token_hmac_sha256(key.p, key.n, text.p, text.n, hash);
    return push_hex(L, hash);
}

/* base64(bytes, "standard" | "url") -> text */
static int f_base64(lua_State *L)
{
    struct slice bytes = check_slice(L, 1);
    enum token_alphabet alphabet = (enum token_alphabet)luaL_checkoption(L, 2, "standard", alphabets);
    luaL_Buffer b;
    char *out = luaL_buffinitsize(L, &b, TOKEN_BASE64_BYTES(bytes.n));
    luaL_pushresultsize(&b, token_base64(bytes.p, bytes.n, alphabet, out));
    return 1;
}

/* unbase64(text, "standard" | "url") -> bytes | nil, err */
static int f_unbase64(lua_State *L)
{
    struct slice text = check_slice(L, 1);
    enum token_alphabet alphabet = (enum token_alphabet)luaL_checkoption(L, 2, "standard", alphabets);
    luaL_Buffer b;
    uint8_t *out = (uint8_t *)luaL_buffinitsize(L, &b, text.n / 4 * 3 + 2);
    size_t n;
    if (!token_unbase64(text.p, text.n, alphabet, out, &n)) {
        struct err_info info;
        if (n < text.n)
            err_set(&info, ERR_INVALID, "not base64 (%s): character %zu is wrong", alphabets[alphabet], n + 1);
        else
            err_set(&info, ERR_INVALID, "not base64 (%s): it ends after %zu characters", alphabets[alphabet], n);
        return args_fail(L, &info);
    }
    luaL_pushresultsize(&b, n);
    return 1;
}

/* equal(a, b) -> boolean */
static int f_equal(lua_State *L)
{
    struct slice a = check_slice(L, 1), b = check_slice(L, 2);
    lua_pushboolean(L, token_equal(a.p, a.n, b.p, b.n));
    return 1;
}

static const luaL_Reg functions[] = {
    {"random", f_random},
    {"id", f_id},
    {"seed", f_seed},
    {"sha256", f_sha256},
    {"hmac_sha256", f_hmac_sha256},
    {"base64", f_base64},
    {"unbase64", f_unbase64},
    {"equal", f_equal},
    {NULL, NULL},
};

int luaopen_perilune_sys_token(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
