/*
 * ljson.c - perilune.sys.json: JSON text to Lua values, arrays that stay arrays, and text that is passed on unread. The
 * grammar is base/json.c's; what is here is which Lua value a token becomes. The way back is ljson_encode.c.
 *
 * It holds no memory of its own: what it builds lies on the Lua stack, in userdata or in its own C frames, so an
 * error that Lua raises in the middle leaks nothing.
 */
#include "ljson.h"

#include "../base/json.h"
#include "../base/utf8.h"
#include "../script/args.h"
#include "api.h"

#include <string.h>

#define ARRAY_TYPE "perilune.json.array" /* the metatable of arrays; the first upvalue of every function here */
#define STACK_SPARE 8      /* Lua stack slots for what a function pushes besides its members */
#define VALUES_PENDING 64  /* elements, and */
#define MEMBERS_PENDING 32 /* pairs, that wait on the Lua stack so that their table is made in the right size */

/* ---- decode ---- */

struct decode {
    lua_State *L;
    struct json_reader reader;
    int orders; /* stack index of the orders that objects share; 0: nobody wants them */
    struct err_info info;
};

static enum err push_value(struct decode *d, const struct json_token *t);

static void push_text(lua_State *L, const struct json_token *t)
{
    if (t->is_plain) {
        lua_pushlstring(L, t->text.p, t->text.n);
        return;
    }
    luaL_Buffer b;
    json_unescape(t, luaL_buffinitsize(L, &b, t->text_bytes));
    luaL_pushresultsize(&b, t->text_bytes);
}

static enum err push_placeholder(struct decode *d, int slots)
{
    if (!lua_checkstack(d->L, slots + STACK_SPARE))
        return json_fail(&d->reader, d->reader.p, "nested too deeply for the Lua stack");
    lua_pushnil(d->L);
    return ERR_OK;
}

/* Makes the array with `room` places out of the n values above its placeholder. */
static void make_array(lua_State *L, int table, int n, int room)
{
    lua_createtable(L, room, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, -2);
    lua_replace(L, table);
    for (; n > 0; n--)
        lua_rawseti(L, table, n);
}

static enum err push_array(struct decode *d)
{
    lua_State *L = d->L;
    struct json_token t;
    lua_Integer n = 0;
    if (push_placeholder(d, VALUES_PENDING) != ERR_OK)
        return ERR_JSON;
    int table = lua_gettop(L);
    for (;;) {
        if (json_next(&d->reader, &t) != ERR_OK)
            return ERR_JSON;
        if (t.kind == JSON_ARRAY_END)
            break;
        if (push_value(d, &t) != ERR_OK)
            return ERR_JSON;
        if (++n > VALUES_PENDING)
            lua_rawseti(L, table, n);
        else if (n == VALUES_PENDING)
            make_array(L, table, VALUES_PENDING, VALUES_PENDING * 2);
    }
    if (n < VALUES_PENDING)
        make_array(L, table, (int)n, (int)n);
    return ERR_OK;
}

/* An object that is being read. While it is small its pairs wait above its placeholder. */
struct members {
    int table; /* stack index of the table, or of its placeholder */
    int pending;
    bool is_made;
    uint64_t seen; /* one bit a fingerprint of a key: a bit that is not set proves that a key is new */
};

/* [-0, +1, m] The table to be, with the order of the pending keys. An object that goes on growing has its own. */
static void push_ordered(struct decode *d, const struct members *m, int room)
{
    lua_State *L = d->L;
    lua_createtable(L, 0, room);
    if (m->pending < MEMBERS_PENDING)
        ljson_order_push(L, d->orders, m->table + 1, m->pending);
    else
        ljson_order_begin(L, m->table + 1, m->pending);
    lua_setmetatable(L, -2);
}

static void make_object(struct decode *d, struct members *m, int room)
{
    lua_State *L = d->L;
    if (d->orders)
        push_ordered(d, m, room);
    else
        lua_createtable(L, 0, room);
    lua_replace(L, m->table);
    for (; m->pending > 0; m->pending--)
        lua_rawset(L, m->table);
    m->is_made = true;
}

/* Is the key on top of the stack a new one? Otherwise *pair is the stack index of the pending pair that has it, or 0
 * when it is in the table already. */
static bool is_new_key(lua_State *L, struct members *m, int *pair)
{
    size_t n;
    const unsigned char *p = (const unsigned char *)lua_tolstring(L, -1, &n);
    uint64_t bit = UINT64_C(1) << ((n * 7 + p[0] + (n ? p[n - 1] : 0) * 3u) & 63);
    bool is_surely_new = !(m->seen & bit);
    m->seen |= bit;
    *pair = 0;
    if (is_surely_new)
        return true;
    if (m->is_made) {
        lua_pushvalue(L, -1);
        bool is_new = lua_rawget(L, m->table) == LUA_TNIL;
        lua_pop(L, 1);
        return is_new;
    }
    for (int i = 0; i < m->pending; i++) {
        *pair = m->table + 1 + 2 * i;
        if (lua_rawequal(L, -1, *pair))
            return false;
    }
    return true;
}

static enum err fail_duplicate(struct decode *d, const struct json_token *t)
{
    char key[64];
    size_t n;
    const char *p = lua_tolstring(d->L, -1, &n);
    json_quote((struct slice){p, n}, key, sizeof key);
    return json_fail(&d->reader, t->text.p - 1, "duplicate key %s", key);
}

/* Reads the value of the key token `t`, and stores the pair. */
static enum err push_member(struct decode *d, struct members *m, struct json_token *t)
{
    lua_State *L = d->L;
    int pair;
    push_text(L, t);
    bool is_new = is_new_key(L, m, &pair);
    if (!is_new && !d->reader.repair)
        return fail_duplicate(d, t);
    d->reader.is_repaired |= !is_new;
    if (json_next(&d->reader, t) != ERR_OK || push_value(d, t) != ERR_OK)
        return ERR_JSON;
    if (m->is_made) {
        if (is_new && d->orders)
            ljson_order_add(L, m->table, lua_gettop(L) - 1);
        lua_rawset(L, m->table);
    } else if (!is_new) {
        lua_replace(L, pair + 1);
        lua_pop(L, 1);
    } else if (++m->pending == MEMBERS_PENDING) {
        make_object(d, m, MEMBERS_PENDING * 2);
    }
    return ERR_OK;
}

static enum err push_object(struct decode *d)
{
    if (push_placeholder(d, MEMBERS_PENDING * 2) != ERR_OK)
        return ERR_JSON;
    struct members m = {.table = lua_gettop(d->L)};
    struct json_token t;
    for (;;) {
        if (json_next(&d->reader, &t) != ERR_OK)
            return ERR_JSON;
        if (t.kind == JSON_OBJECT_END)
            break;
        if (push_member(d, &m, &t) != ERR_OK)
            return ERR_JSON;
    }
    if (!m.is_made)
        make_object(d, &m, m.pending);
    return ERR_OK;
}

/* Pushes the value that begins with the token; on failure the stack holds leftovers. */
static enum err push_value(struct decode *d, const struct json_token *t)
{
    switch (t->kind) {
    case JSON_OBJECT:
        return push_object(d);
    case JSON_ARRAY:
        return push_array(d);
    case JSON_STRING:
        push_text(d->L, t);
        break;
    case JSON_INTEGER:
        lua_pushinteger(d->L, t->integer);
        break;
    case JSON_DOUBLE:
        lua_pushnumber(d->L, t->number);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(d->L, t->kind == JSON_TRUE);
        break;
    default: /* JSON_NULL: the reader yields nothing else in place of a value */
        lua_pushlightuserdata(d->L, NULL);
    }
    return ERR_OK;
}

static enum err check_size(struct slice text, lua_Integer bytes_max, struct err_info *info)
{
    if (text.n <= (size_t)bytes_max)
        return ERR_OK;
    return err_set(info, ERR_JSON, "JSON text of %zu bytes, the limit is %lld", text.n, (long long)bytes_max);
}

/* Strings only: a number would be converted in the caller's table of arguments. */
static struct slice check_text(lua_State *L, int index)
{
    struct slice text;
    luaL_checktype(L, index, LUA_TSTRING);
    text.p = lua_tolstring(L, index, &text.n);
    return text;
}

/* decode(text, options?) -> value [, true] | nil, err */
static int f_decode(lua_State *L)
{
    static const char *const names[] = {"repair", "depth", "bytes", "ordered", NULL};
    struct slice text = check_text(L, 1);
    bool is_ordered = false;
    struct decode d = {.L = L};
    lua_Integer depth_max = JSON_DEPTH_MAX, bytes_max = JSON_BYTES_MAX;
    json_reader_init(&d.reader, text, &d.info);
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        opt_only(L, 2, names);
        opt_bool(L, 2, "repair", &d.reader.repair);
        opt_integer(L, 2, "depth", 1, JSON_DEPTH_MAX, &depth_max);
        opt_integer(L, 2, "bytes", 1, JSON_BYTES_MAX, &bytes_max);
        opt_bool(L, 2, "ordered", &is_ordered);
        d.reader.depth_max = (unsigned)depth_max;
    }
    if (is_ordered) {
        lua_newtable(L);
        d.orders = lua_gettop(L);
    }
    struct json_token t;
    if (check_size(text, bytes_max, &d.info) != ERR_OK || json_next(&d.reader, &t) != ERR_OK ||
        push_value(&d, &t) != ERR_OK || json_next(&d.reader, &t) != ERR_OK)
        return args_fail(L, &d.info);
    if (!d.reader.is_repaired)
        return 1;
    lua_pushboolean(L, true);
    return 2;
}

/* ---- arrays and raw text ---- */

/* array(t?) -> t, marked as an array */
static int f_array(lua_State *L)
{
    lua_settop(L, 1);
    if (lua_isnil(L, 1)) {
        lua_newtable(L);
        lua_replace(L, 1);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    if (ljson_order_get(L, 1)) {
        lua_pop(L, 1);
    } else if (lua_getmetatable(L, 1)) {
        luaL_argcheck(L, lua_rawequal(L, -1, lua_upvalueindex(1)), 1, "the table has another metatable");
        lua_pop(L, 1);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, 1);
    return 1;
}

/* raw(text) -> raw | nil, err */
static int f_raw(lua_State *L)
{
    struct slice text = check_text(L, 1);
    struct err_info info;
    if (check_size(text, JSON_BYTES_MAX, &info) != ERR_OK || json_validate(text, &info) != ERR_OK)
        return args_fail(L, &info);
    lua_newuserdatauv(L, 0, 1);
    size_t mark = text.n >= 3 && memcmp(text.p, UTF8_BYTE_ORDER_MARK, 3) == 0 ? 3 : 0;
    lua_pushlstring(L, text.p + mark, text.n - mark);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, LJSON_RAW_TYPE);
    return 1;
}

static int f_is_raw(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_pushboolean(L, luaL_testudata(L, 1, LJSON_RAW_TYPE) != NULL);
    return 1;
}

static int mm_raw_tostring(lua_State *L)
{
    luaL_checkudata(L, 1, LJSON_RAW_TYPE);
    lua_getiuservalue(L, 1, 1);
    return 1;
}

static const luaL_Reg raw_methods[] = {{NULL, NULL}};
static const luaL_Reg raw_metamethods[] = {{"__tostring", mm_raw_tostring}, {NULL, NULL}};
static const luaL_Reg functions[] = {
    {"decode", f_decode},     {"encode", ljson_encode}, {"array", f_array},
    {"is_array", ljson_is_array}, {"raw", f_raw},       {"is_raw", f_is_raw},
    {"keep_order", ljson_keep_order}, {NULL, NULL},
};

int luaopen_perilune_sys_json(lua_State *L)
{
    args_new_type(L, LJSON_RAW_TYPE, raw_methods, raw_metamethods);
    luaL_newlibtable(L, functions);
    luaL_newmetatable(L, ARRAY_TYPE);
    luaL_setfuncs(L, functions, 1);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}
