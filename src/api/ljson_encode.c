/*
 * ljson_encode.c - Lua values to JSON text: the writing half of perilune.sys.json.
 *
 * Metatables are not asked, except for the mark of an array and the order of keys, so no Lua code runs meanwhile. Only
 * finalizers may, and they could change a table that is being written: hence keys and values stay anchored on the Lua
 * stack. Short texts are built in the C frame, longer ones in userdata, so an error that Lua raises in the middle leaks
 * nothing.
 */
#include "ljson.h"

#include "../base/decimal.h"
#include "../base/json.h"
#include "../script/args.h"

#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STACK_SPARE 8         /* Lua stack slots for what a function pushes besides its members */
#define STACK_CHUNK 32        /* pairs for which room on the Lua stack is made at once */
#define INSERTION_MAX 16      /* keys sorted by insertion; more go to qsort */
#define SMALL_TEXT_BYTES 8192 /* what is written before memory is asked for */
#define SMALL_KEYS 64
#define PATH_BYTES 128

struct key { /* the text is borrowed from the Lua string at the stack index `pair`; its value is at pair + 1 */
    struct slice text;
    int pair;
    int place; /* where it is to stand; those of one place are sorted */
};

struct step { /* from a table to its member */
    struct slice key; /* p is NULL in an array */
    lua_Integer index;
};

struct encode {
    lua_State *L;
    char *p; /* the text: small_text, or the userdata in text_slot */
    size_t n, cap;
    struct key *keys; /* of all objects that are being written: small_keys, or the userdata in keys_slot */
    size_t key_count, key_cap;
    int text_slot, keys_slot;
    unsigned depth, depth_max; /* depth: how many steps of `path` are in use */
    bool is_pretty, repair, is_repaired;
    struct err_info info;
    struct step path[JSON_DEPTH_MAX];
    struct key small_keys[SMALL_KEYS];
    char small_text[SMALL_TEXT_BYTES];
};

static enum err write_value(struct encode *e, int index);

static bool is_name(struct slice key)
{
    for (size_t i = 0; i < key.n; i++) {
        char c = key.p[i], letter = (char)(c | 0x20);
        bool is_digit = c >= '0' && c <= '9';
        if (!(letter >= 'a' && letter <= 'z') && c != '_' && !(is_digit && i > 0))
            return false;
    }
    return key.n > 0 && key.n < 64;
}

static void format_step(const struct step *step, char *out, size_t out_bytes)
{
    char quoted[64];
    if (!step->key.p) {
        snprintf(out, out_bytes, "[%lld]", (long long)step->index);
    } else if (is_name(step->key)) {
        snprintf(out, out_bytes, ".%s", step->key.p);
    } else {
        json_quote(step->key, quoted, sizeof quoted);
        snprintf(out, out_bytes, "[%s]", quoted);
    }
}

/* "$.messages[2].content": where the value is in the caller's table, with Lua's indices; "..." ends a long path. */
static void format_path(const struct encode *e, char *out, size_t out_bytes)
{
    size_t n = (size_t)snprintf(out, out_bytes, "$");
    for (unsigned i = 0; i < e->depth; i++) {
        char step[80];
        format_step(&e->path[i], step, sizeof step);
        size_t bytes = strlen(step);
        if (n + bytes + sizeof "..." > out_bytes) {
            memcpy(out + n, "...", sizeof "...");
            return;
        }
        memcpy(out + n, step, bytes + 1);
        n += bytes;
    }
}

PRINTF_LIKE(3, 4)
static enum err fail(struct encode *e, enum err code, const char *format, ...)
{
    char path[PATH_BYTES], problem[ERR_TEXT_MAX - PATH_BYTES - 8];
    va_list args;
    va_start(args, format);
    vsnprintf(problem, sizeof problem, format, args);
    va_end(args);
    format_path(e, path, sizeof path);
    return err_set(&e->info, code, "at %s: %s", path, problem);
}

/* Doubles the memory at *p, which moves into a userdata in the stack slot. The old block is left to the collector. */
static void grow(lua_State *L, int slot, void **p, size_t bytes_used, size_t bytes)
{
    void *bigger = lua_newuserdatauv(L, bytes, 0);
    memcpy(bigger, *p, bytes_used);
    *p = bigger;
    lua_replace(L, slot);
}

static enum err grow_text(struct encode *e, size_t bytes)
{
    size_t cap = e->cap;
    if (bytes > JSON_BYTES_MAX || e->n > JSON_BYTES_MAX - bytes)
        return fail(e, ERR_LIMIT, "the text grows over %u bytes", JSON_BYTES_MAX);
    while (cap < e->n + bytes)
        cap *= 2;
    void *p = e->p;
    grow(e->L, e->text_slot, &p, e->n, cap);
    e->p = p;
    e->cap = cap;
    return ERR_OK;
}

static inline enum err reserve(struct encode *e, size_t bytes)
{
    return e->cap - e->n >= bytes ? ERR_OK : grow_text(e, bytes);
}

static inline enum err put(struct encode *e, const char *p, size_t n)
{
    if (reserve(e, n) != ERR_OK)
        return ERR_LIMIT;
    memcpy(e->p + e->n, p, n);
    e->n += n;
    return ERR_OK;
}

static inline enum err put_char(struct encode *e, char c)
{
    return put(e, &c, 1);
}

static enum err put_indent(struct encode *e, unsigned depth)
{
    size_t n = 1 + 2 * (size_t)depth;
    if (reserve(e, n) != ERR_OK)
        return ERR_LIMIT;
    memset(e->p + e->n, ' ', n);
    e->p[e->n] = '\n';
    e->n += n;
    return ERR_OK;
}

/* What comes before a member: a bracket or a comma, and a new line when the text is for people. */
static inline enum err put_before(struct encode *e, char c)
{
    if (put_char(e, c) != ERR_OK)
        return ERR_LIMIT;
    return e->is_pretty ? put_indent(e, e->depth + 1) : ERR_OK;
}

static enum err put_close(struct encode *e, char c)
{
    if (e->is_pretty && put_indent(e, e->depth) != ERR_OK)
        return ERR_LIMIT;
    return put_char(e, c);
}

static enum err put_string(struct encode *e, struct slice text)
{
    struct json_measure m = json_measure(text);
    if (!m.is_utf8 && !e->repair)
        return fail(e, ERR_INVALID, "a string that is not UTF-8");
    e->is_repaired |= !m.is_utf8;
    if (reserve(e, m.bytes) != ERR_OK)
        return ERR_LIMIT;
    json_write_string(e->p + e->n, text, m);
    e->n += m.bytes;
    return ERR_OK;
}

static enum err write_number(struct encode *e, int index)
{
    if (reserve(e, DECIMAL_BYTES) != ERR_OK)
        return ERR_LIMIT;
    if (lua_isinteger(e->L, index)) {
        e->n += decimal_write_integer(e->p + e->n, lua_tointeger(e->L, index));
        return ERR_OK;
    }
    double value = lua_tonumber(e->L, index);
    if (!isfinite(value))
        return fail(e, ERR_INVALID, "%s is not a JSON number", isnan(value) ? "NaN" : value > 0 ? "inf" : "-inf");
    e->n += decimal_write_double(e->p + e->n, value);
    return ERR_OK;
}

/* On failure the step stays on the path: it is in the message already, and nothing is written any more. */
static enum err write_member(struct encode *e, struct slice key, lua_Integer i, int value)
{
    e->path[e->depth++] = (struct step){key, i};
    if (write_value(e, value) != ERR_OK)
        return e->info.code;
    e->depth--;
    return ERR_OK;
}

static enum err write_element(struct encode *e, lua_Integer i, int value)
{
    if (put_before(e, i == 1 ? '[' : ',') != ERR_OK)
        return ERR_LIMIT;
    return write_member(e, (struct slice){NULL, 0}, i, value);
}

/* How many elements a table has whose keys did not come in order, or a failure when they are not 1..n. */
static enum err count_elements(struct encode *e, int table, lua_Integer *count)
{
    lua_State *L = e->L;
    lua_Integer n = 0, highest = 0;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        if (!lua_isinteger(L, -2))
            return fail(e, ERR_INVALID, "a list that also has a key of type %s", luaL_typename(L, -2));
        lua_Integer key = lua_tointeger(L, -2);
        if (key < 1)
            return fail(e, ERR_INVALID, "a list with the index %lld", (long long)key);
        highest = key > highest ? key : highest;
        n++;
    }
    if (highest != n)
        return fail(e, ERR_INVALID, "a list with holes: %lld values up to index %lld", (long long)n,
                    (long long)highest);
    *count = n;
    return ERR_OK;
}

/* The first pair of the table is at the stack index `key`, on top. Elements nearly always come in order; where they
 * cease to, the rest is checked and then fetched by index. */
static enum err write_array(struct encode *e, int table, int key)
{
    lua_State *L = e->L;
    lua_Integer i = 0, n = 0;
    bool has_more = true;
    while (has_more && lua_isinteger(L, key) && lua_tointeger(L, key) == i + 1) {
        if (write_element(e, ++i, key + 1) != ERR_OK)
            return e->info.code;
        lua_settop(L, key);
        has_more = lua_next(L, table);
    }
    lua_settop(L, key - 1);
    if (has_more && count_elements(e, table, &n) != ERR_OK)
        return e->info.code;
    while (i < n) {
        lua_rawgeti(L, table, ++i);
        if (write_element(e, i, key) != ERR_OK)
            return e->info.code;
        lua_settop(L, key - 1);
    }
    return put_close(e, ']');
}

static int compare_keys(const void *left, const void *right)
{
    const struct slice *a = &((const struct key *)left)->text, *b = &((const struct key *)right)->text;
    int order = ((const struct key *)left)->place - ((const struct key *)right)->place;
    if (order == 0)
        order = (unsigned char)*a->p - (unsigned char)*b->p; /* a Lua string ends with a NUL, so there is a byte */
    if (order == 0)
        order = memcmp(a->p, b->p, a->n < b->n ? a->n : b->n);
    if (order == 0)
        order = (a->n > b->n) - (a->n < b->n);
    return order;
}

static void sort_keys(struct key *keys, size_t count)
{
    if (count > INSERTION_MAX) {
        qsort(keys, count, sizeof *keys, compare_keys);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        struct key key = keys[i];
        size_t to = i;
        for (; to > 0 && compare_keys(&keys[to - 1], &key) > 0; to--)
            keys[to] = keys[to - 1];
        keys[to] = key;
    }
}

static void grow_keys(struct encode *e)
{
    void *p = e->keys;
    grow(e->L, e->keys_slot, &p, e->key_count * sizeof *e->keys, e->key_cap * 2 * sizeof *e->keys);
    e->keys = p;
    e->key_cap *= 2;
}

/* Collects the pairs of the table, the first of which is at the stack index `pair`, on top; they stay on the stack. */
static enum err collect_keys(struct encode *e, int table, int pair)
{
    lua_State *L = e->L;
    size_t n = 0;
    do {
        if (n % STACK_CHUNK == 0 && (n >= JSON_KEYS_MAX || !lua_checkstack(L, STACK_CHUNK * 2 + STACK_SPARE)))
            return fail(e, ERR_LIMIT, "an object with more than %zu keys", n);
        if (lua_type(L, pair) != LUA_TSTRING)
            return fail(e, ERR_INVALID, "a key of type %s in an object", luaL_typename(L, pair));
        if (e->key_count == e->key_cap)
            grow_keys(e);
        struct key *key = &e->keys[e->key_count++];
        key->text.p = lua_tolstring(L, pair, &key->text.n);
        key->pair = pair;
        key->place = 0;
        lua_pushvalue(L, pair);
        pair += 2;
        n++;
    } while (lua_next(L, table));
    return ERR_OK;
}

/* Puts the keys where the table's order has them; those that it does not know come last. */
static void place_keys(struct encode *e, size_t first, int table)
{
    lua_State *L = e->L;
    if (!ljson_order_get(L, table))
        return;
    for (size_t i = first; i < e->key_count; i++) {
        lua_pushvalue(L, e->keys[i].pair);
        bool is_known = lua_rawget(L, -2) == LUA_TNUMBER;
        e->keys[i].place = is_known ? (int)lua_tointeger(L, -1) : INT_MAX;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static enum err write_pair(struct encode *e, struct key key, bool is_first)
{
    if (put_before(e, is_first ? '{' : ',') != ERR_OK || put_string(e, key.text) != ERR_OK ||
        put(e, ": ", e->is_pretty ? 2 : 1) != ERR_OK)
        return e->info.code;
    return write_member(e, key.text, 0, key.pair + 1);
}

static enum err write_object(struct encode *e, int table, int pair)
{
    size_t first = e->key_count;
    if (collect_keys(e, table, pair) != ERR_OK)
        return e->info.code;
    place_keys(e, first, table);
    sort_keys(e->keys + first, e->key_count - first);
    for (size_t i = first, end = e->key_count; i < end; i++)
        if (write_pair(e, e->keys[i], i == first) != ERR_OK)
            return e->info.code;
    e->key_count = first;
    return put_close(e, '}');
}

static bool is_array_marked(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return false;
    bool is_marked = lua_rawequal(L, -1, lua_upvalueindex(1));
    lua_pop(L, 1);
    return is_marked;
}

static enum err write_table(struct encode *e, int table)
{
    lua_State *L = e->L;
    int top = lua_gettop(L);
    if (e->depth == e->depth_max)
        return fail(e, ERR_LIMIT, "nested deeper than %u levels (a cycle?)", e->depth_max);
    if (!lua_checkstack(L, STACK_SPARE))
        return fail(e, ERR_LIMIT, "nested too deeply for the Lua stack");
    bool is_array = is_array_marked(L, table);
    lua_pushnil(L);
    if (!lua_next(L, table))
        return put(e, is_array ? "[]" : "{}", 2);
    is_array = is_array || lua_type(L, -2) == LUA_TNUMBER;
    enum err err = is_array ? write_array(e, table, top + 1) : write_object(e, table, top + 1);
    lua_settop(L, top);
    return err;
}

static enum err write_userdata(struct encode *e, int index)
{
    lua_State *L = e->L;
    struct slice text;
    if (!luaL_testudata(L, index, LJSON_RAW_TYPE))
        return fail(e, ERR_INVALID, "a userdata has no JSON form");
    lua_getiuservalue(L, index, 1);
    text.p = lua_tolstring(L, -1, &text.n);
    enum err err = put(e, text.p, text.n);
    lua_pop(L, 1);
    return err;
}

static enum err write_value(struct encode *e, int index)
{
    lua_State *L = e->L;
    struct slice text;
    int type = lua_type(L, index);
    switch (type) {
    case LUA_TTABLE:
        return write_table(e, index);
    case LUA_TSTRING:
        text.p = lua_tolstring(L, index, &text.n);
        return put_string(e, text);
    case LUA_TNUMBER:
        return write_number(e, index);
    case LUA_TBOOLEAN:
        return lua_toboolean(L, index) ? put(e, "true", 4) : put(e, "false", 5);
    case LUA_TUSERDATA:
        return write_userdata(e, index);
    case LUA_TLIGHTUSERDATA:
        if (!lua_touserdata(L, index))
            return put(e, "null", 4);
        break;
    case LUA_TNIL:
        return fail(e, ERR_INVALID, "nil has no JSON form, json.null has");
    }
    return fail(e, ERR_INVALID, "a %s has no JSON form", lua_typename(L, type));
}

static void read_encode_options(lua_State *L, struct encode *e)
{
    static const char *const names[] = {"pretty", "depth", "repair", NULL};
    lua_Integer depth_max = JSON_DEPTH_MAX;
    if (lua_isnoneornil(L, 2))
        return;
    luaL_checktype(L, 2, LUA_TTABLE);
    opt_only(L, 2, names);
    opt_bool(L, 2, "pretty", &e->is_pretty);
    opt_bool(L, 2, "repair", &e->repair);
    opt_integer(L, 2, "depth", 1, JSON_DEPTH_MAX, &depth_max);
    e->depth_max = (unsigned)depth_max;
}

int ljson_encode(lua_State *L)
{
    struct encode e; /* member by member: its arrays need no zeros */
    e.L = L;
    e.p = e.small_text;
    e.cap = sizeof e.small_text;
    e.keys = e.small_keys;
    e.key_cap = ARRAY_LEN(e.small_keys);
    e.n = e.key_count = 0;
    e.depth = 0;
    e.depth_max = JSON_DEPTH_MAX;
    e.is_pretty = e.repair = e.is_repaired = false;
    luaL_checkany(L, 1);
    read_encode_options(L, &e);
    lua_settop(L, 4);
    e.text_slot = 3;
    e.keys_slot = 4;
    if (write_value(&e, 1) != ERR_OK)
        return args_fail(L, &e.info);
    lua_pushlstring(L, e.p, e.n);
    lua_pushboolean(L, true);
    return e.is_repaired ? 2 : (lua_pop(L, 1), 1);
}

int ljson_is_array(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    bool is_array = is_array_marked(L, 1);
    if (!is_array && lua_istable(L, 1)) {
        lua_Unsigned n = lua_rawlen(L, 1), count = 0;
        is_array = n > 0;
        for (lua_pushnil(L); is_array && lua_next(L, 1); lua_pop(L, 1))
            is_array = lua_isinteger(L, -2) && (lua_Unsigned)lua_tointeger(L, -2) - 1 < n && ++count;
        is_array = is_array && count == n;
    }
    lua_pushboolean(L, is_array);
    return 1;
}
