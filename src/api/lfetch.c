/*
 * lfetch.c - perilune.sys.fetch: outgoing HTTP for tasks. No policy here: retries, JSON and redaction live in
 * lua/perilune/net. A handle is a long-lived one: the script owns it with `local h <close>`, one task waits on
 * it at a time.
 */
#include "../io/fetch.h"

#include "../base/limits.h"
#include "../base/utf8.h"
#include "../script/args.h"
#include "../script/host.h"
#include "../script/task.h"
#include "api.h"

#include <string.h>

#define FETCH_TYPE "perilune.fetch"
#define HEADERS_MAX 200
#define TEXTS_BYTES_MAX 8192 /* of texts that are taken together */

struct handle {
    struct fetch *fetch; /* NULL: closed */
    struct waiter waiter;
    bool is_sent; /* of one that is closed: it had been on its way */
};

static struct handle *check_open(lua_State *L)
{
    struct handle *h = luaL_checkudata(L, 1, FETCH_TYPE);
    if (!h->fetch)
        luaL_error(L, "the fetch is closed");
    return h;
}

static void on_change(void *user)
{
    task_wake(&((struct handle *)user)->waiter);
}

static int wait(lua_State *L, struct handle *h, lua_KFunction k)
{
    if (h->waiter.tasks)
        return luaL_error(L, "another task waits on this fetch");
    h->waiter = task_waiter(L);
    return task_wait(L, 0, k);
}

static void woken(lua_State *L)
{
    ((struct handle *)lua_touserdata(L, 1))->waiter.tasks = NULL;
    task_woken(L);
}

/* Options */

static const char *const option_names[] = {
    "method", "url", "headers", "body", "frame", "connect", "first_byte", "first_content", "idle", "progress", "total",
    "body_bytes", "frame_bytes", "proxy", "ca_file", "insecure", "http2", "redirects", "addresses", NULL,
};

static bool is_clean(struct slice s)
{
    return !memchr(s.p, '\r', s.n) && !memchr(s.p, '\n', s.n) && !memchr(s.p, '\0', s.n);
}

static bool is_word(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!(s.p[i] >= 'A' && s.p[i] <= 'Z') && !(s.p[i] >= 'a' && s.p[i] <= 'z') && s.p[i] != '-')
            return false;
    return s.n > 0;
}

/* [-0, +1, e] Pushes the line for the header at the top: key at -2, value at -1. */
static void push_header(lua_State *L)
{
    if (lua_type(L, -2) != LUA_TSTRING || (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER))
        luaL_error(L, "option 'headers': expected names and values that are strings");
    lua_pushvalue(L, -1); /* lua_tostring must not change a value that is being iterated over */
    struct slice name, value;
    name.p = lua_tolstring(L, -3, &name.n);
    value.p = lua_tolstring(L, -1, &value.n);
    if (!is_clean(name) || !is_clean(value) || name.n == 0 || memchr(name.p, ':', name.n))
        luaL_error(L, "option 'headers': the header '%s' holds a character that is not allowed", name.p);
    lua_pushfstring(L, value.n ? "%s: %s" : "%s;", name.p, value.p); /* curl's way to send an empty one */
    lua_remove(L, -2);
}

/* [-0, +2, e] Pushes what keeps the headers alive: a table of lines and the array of slices. */
static void read_headers(lua_State *L, struct fetch_options *o)
{
    lua_newtable(L);
    int lines = lua_gettop(L);
    struct slice *slices = lua_newuserdatauv(L, HEADERS_MAX * sizeof *slices, 0);
    o->headers = slices;
    if (lua_getfield(L, 1, "headers") == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    luaL_checktype(L, -1, LUA_TTABLE);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (o->headers_n == HEADERS_MAX)
            luaL_error(L, "option 'headers': more than %d headers", HEADERS_MAX);
        push_header(L);
        slices[o->headers_n].p = lua_tolstring(L, -1, &slices[o->headers_n].n);
        lua_rawseti(L, lines, (lua_Integer)++o->headers_n);
    }
    lua_pop(L, 1);
}

static void read_frame(lua_State *L, struct fetch_options *o)
{
    struct slice name;
    if (opt_string(L, 1, "frame", &name) && !frame_kind_parse(name.p, &o->frame))
        luaL_error(L, "option 'frame': '%s' is none of sse, lines, json, whole, bytes", name.p);
}

static void read_size(lua_State *L, const char *name, size_t max, size_t *out)
{
    lua_Integer value = (lua_Integer)*out;
    opt_integer(L, 1, name, 1, (lua_Integer)max, &value);
    *out = (size_t)value;
}

/* [-0, +1, e] Pushes what keeps the policy alive: the option's list of ranges, or "public" for none of them. */
static void read_addresses(lua_State *L, struct fetch_options *o)
{
    int type = lua_getfield(L, 1, "addresses");
    if (type == LUA_TNIL)
        return;
    if (type != LUA_TTABLE && (type != LUA_TSTRING || strcmp(lua_tostring(L, -1), "public") != 0))
        luaL_error(L, "option 'addresses': expected \"public\" or a list of ranges");
    if (o->proxy.n)
        luaL_error(L, "option 'addresses': not together with a proxy, which resolves names itself");
    struct address_policy *policy = lua_newuserdatauv(L, sizeof *policy, 0);
    policy->allowed_n = 0;
    for (size_t i = 0; type == LUA_TTABLE && i < lua_rawlen(L, -2); i++) {
        if (i == ADDRESS_RANGES_MAX)
            luaL_error(L, "option 'addresses': more than %d ranges", ADDRESS_RANGES_MAX);
        const char *text = lua_rawgeti(L, -2, (lua_Integer)i + 1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
        if (!address_parse_range(text, &policy->allowed[policy->allowed_n++]))
            luaL_error(L, "option 'addresses': '%s' is no address or range such as 10.0.0.0/8 or ::1", text);
        lua_pop(L, 1);
    }
    lua_remove(L, -2);
    o->addresses = policy;
}

static void read_options(lua_State *L, struct fetch_options *o)
{
    lua_Integer redirects = 0;
    *o = (struct fetch_options){
        .method = {"GET", 3}, .frame = FRAME_BYTES, .connect_ms = 10000, .body_bytes_max = FETCH_BODY_BYTES_MAX,
        .frame_bytes_max = FETCH_FRAME_BYTES_MAX, .proxy = {"", 0}, .ca_file = {"", 0},
    };
    opt_only(L, 1, option_names);
    if (!opt_string(L, 1, "url", &o->url) || !is_clean(o->url))
        luaL_error(L, "option 'url': a URL is needed");
    if (opt_string(L, 1, "method", &o->method) && !is_word(o->method))
        luaL_error(L, "option 'method': expected a word, such as GET");
    opt_string(L, 1, "body", &o->body);
    opt_string(L, 1, "proxy", &o->proxy);
    opt_string(L, 1, "ca_file", &o->ca_file);
    opt_seconds(L, 1, "connect", &o->connect_ms);
    opt_seconds(L, 1, "first_byte", &o->first_byte_ms);
    opt_seconds(L, 1, "first_content", &o->first_content_ms);
    opt_seconds(L, 1, "idle", &o->idle_ms);
    opt_seconds(L, 1, "progress", &o->progress_ms);
    opt_seconds(L, 1, "total", &o->total_ms);
    opt_bool(L, 1, "insecure", &o->is_insecure);
    opt_bool(L, 1, "http2", &o->is_http2);
    opt_integer(L, 1, "redirects", 0, 20, &redirects);
    o->redirects_max = (long)redirects;
    read_frame(L, o);
    read_size(L, "body_bytes", 1u << 30, &o->body_bytes_max);
    read_size(L, "frame_bytes", 1u << 30, &o->frame_bytes_max);
    if (o->frame == FRAME_WHOLE)
        o->frame_bytes_max = o->body_bytes_max;
    read_headers(L, o);
    read_addresses(L, o);
}

/* Functions */

/* is_range(text) -> may it stand in the option `addresses`? */
static int f_is_range(lua_State *L)
{
    struct address_range range;
    lua_pushboolean(L, address_parse_range(luaL_checkstring(L, 1), &range));
    return 1;
}

/* open{...} -> handle | nil, err. Starts the request; nothing is waited for. */
static int f_open(lua_State *L)
{
    struct fetch_options o;
    struct err_info info;
    luaL_checktype(L, 1, LUA_TTABLE);
    task_must_run(L); /* in a finalizer while the state is closed nobody would close it */
    read_options(L, &o);
    struct handle *h = lua_newuserdatauv(L, sizeof *h, 0);
    memset(h, 0, sizeof *h);
    luaL_setmetatable(L, FETCH_TYPE);
    if (fetch_start(host_of(L)->fetcher, &o, on_change, h, &h->fetch, &info) != ERR_OK)
        return args_fail(L, &info);
    return 1;
}

/* live() -> requests under way in this process */
static int f_live(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)fetcher_live(host_of(L)->fetcher));
    return 1;
}

/* library() -> text | nil, error */
static int f_library(lua_State *L)
{
    const char *version;
    struct err_info info;
    if (fetcher_library(host_of(L)->fetcher, &version, &info) != ERR_OK)
        return args_fail(L, &info);
    lua_pushstring(L, version);
    return 1;
}

/* [-0, +2, m] The head, which keeps its lines alive (a finalizer may close the handle), and these lines as a table:
 * lower-case names; a repeated header is joined with ", ". */
static void push_headers(lua_State *L, struct slice head)
{
    head.p = lua_pushlstring(L, head.p, head.n);
    lua_newtable(L);
    while (head.n) {
        const char *end = memchr(head.p, '\n', head.n), *colon = memchr(head.p, ':', (size_t)(end - head.p));
        if (colon) {
            luaL_Buffer b;
            const char *value = colon + 1;
            char *name = luaL_buffinitsize(L, &b, (size_t)(colon - head.p));
            for (const char *p = head.p; p < colon; p++)
                *name++ = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
            luaL_pushresultsize(&b, (size_t)(colon - head.p));
            while (value < end && (*value == ' ' || *value == '\t'))
                value++;
            lua_pushvalue(L, -1);
            if (lua_rawget(L, -3) == LUA_TNIL) {
                lua_pop(L, 1);
                lua_pushlstring(L, value, (size_t)(end - value));
            } else {
                lua_pushliteral(L, ", ");
                lua_pushlstring(L, value, (size_t)(end - value));
                lua_concat(L, 3);
            }
            lua_rawset(L, -3);
        }
        head.n -= (size_t)(end + 1 - head.p);
        head.p = end + 1;
    }
}

static int push_error(lua_State *L, struct handle *h, const struct err_info *info)
{
    bool is_sent = h->fetch ? fetch_is_sent(h->fetch) : h->is_sent; /* from then on the provider may have worked, and charged */
    args_fail(L, info);
    lua_pushboolean(L, is_sent);
    lua_setfield(L, -2, "maybe_billed");
    return 2;
}

/* After a wait: did another task close the handle meanwhile? */
static bool was_closed(lua_State *L, struct err_info *info)
{
    struct handle *h = lua_touserdata(L, 1);
    if (!h->fetch)
        err_set(info, ERR_CANCELLED, "the request was closed while it was read");
    return !h->fetch;
}

static int m_head_k(lua_State *L, int status, lua_KContext ctx);

static int head_or_wait(lua_State *L)
{
    struct handle *h = check_open(L);
    struct slice unused;
    struct err_info info;
    int status = fetch_status(h->fetch);
    if (status) {
        push_headers(L, fetch_head(h->fetch));
        lua_createtable(L, 0, 2);
        lua_insert(L, -2);
        lua_setfield(L, -2, "headers");
        lua_pushinteger(L, status);
        lua_setfield(L, -2, "status");
        return 1;
    }
    if (fetch_next(h->fetch, &unused, &unused, &info) == FETCH_FAILED) /* without a head there is no other end */
        return push_error(L, h, &info);
    return wait(L, h, m_head_k);
}

static int m_head_k(lua_State *L, int status, lua_KContext ctx)
{
    struct err_info info;
    UNUSED(status);
    UNUSED(ctx);
    woken(L);
    return was_closed(L, &info) ? push_error(L, lua_touserdata(L, 1), &info) : head_or_wait(L);
}

/* handle:head() -> {status=, headers=} | nil, err */
static int m_head(lua_State *L)
{
    lua_settop(L, 1);
    return head_or_wait(L);
}

/* Frames that differ in a text alone */

static bool is_plain(struct slice text)
{
    const char *end = text.p + text.n;
    for (const char *p = text.p; p < end;) {
        int n = utf8_at(p, end);
        if (n < 1 || (unsigned char)*p < 0x20 || *p == '"' || *p == '\\')
            return false;
        p += n;
    }
    return text.n > 0;
}

/* What stands between the two in the frame that comes next, where JSON writes that as it is. */
static bool text_between(const struct fetch *f, struct slice before, struct slice after, struct slice *text)
{
    struct slice data, event;
    if (!fetch_peek(f, &data, &event) || event.n || data.n <= before.n + after.n || memcmp(data.p, before.p, before.n) != 0 ||
        memcmp(data.p + data.n - after.n, after.p, after.n) != 0)
        return false;
    *text = (struct slice){data.p + before.n, data.n - before.n - after.n};
    return is_plain(*text);
}

/* Takes the frames that have come and are like that -> text, nil, count, pieces?; nothing when the next one is not. */
static int take_texts(lua_State *L, struct handle *h)
{
    char joined[TEXTS_BYTES_MAX];
    size_t n = 0;
    lua_Integer count = 0;
    bool wants_pieces = lua_toboolean(L, 4);
    struct slice before, after, text, data, event;
    struct err_info info;
    before.p = luaL_checklstring(L, 2, &before.n);
    after.p = luaL_checklstring(L, 3, &after.n);
    if (!text_between(h->fetch, before, after, &text) || text.n > sizeof joined)
        return 0;
    if (wants_pieces)
        lua_newtable(L); /* here and below a finalizer may run, and close the handle */
    check_open(L);
    while (h->fetch && text_between(h->fetch, before, after, &text) && n + text.n <= sizeof joined) {
        memcpy(joined + n, text.p, text.n);
        count++;
        (void)fetch_next(h->fetch, &data, &event, &info);
        if (wants_pieces) {
            lua_pushlstring(L, joined + n, text.n);
            lua_rawseti(L, -2, count);
        }
        n += text.n;
    }
    lua_pushlstring(L, joined, n);
    lua_pushnil(L);
    lua_pushinteger(L, count);
    if (!wants_pieces)
        return 3;
    lua_rotate(L, -4, -1);
    return 4;
}

static int m_next_k(lua_State *L, int status, lua_KContext ctx);

static int next_or_wait(lua_State *L)
{
    struct handle *h = check_open(L);
    struct slice data, event;
    struct err_info info;
    char event_name[FRAME_EVENT_BYTES_MAX];
    int taken = lua_isnil(L, 2) ? 0 : take_texts(L, h);
    if (taken)
        return taken;
    switch (fetch_next(h->fetch, &data, &event, &info)) {
    case FETCH_FRAME:
        memcpy(event_name, event.p, event.n); /* a finalizer that runs between the two may close the handle */
        lua_pushlstring(L, data.p, data.n);
        if (event.n == 0)
            return 1;
        lua_pushlstring(L, event_name, event.n);
        return 2;
    case FETCH_WAIT:
        return wait(L, h, m_next_k);
    case FETCH_FAILED:
        return push_error(L, h, &info);
    case FETCH_END:
        break;
    }
    lua_pushnil(L);
    return 1;
}

static int m_next_k(lua_State *L, int status, lua_KContext ctx)
{
    struct err_info info;
    UNUSED(status);
    UNUSED(ctx);
    woken(L);
    return was_closed(L, &info) ? push_error(L, lua_touserdata(L, 1), &info) : next_or_wait(L);
}

/* handle:next() -> data, event_name? | nil at the end | nil, err */
static int m_next(lua_State *L)
{
    lua_settop(L, 1); /* what a generic for gives beside the handle */
    lua_settop(L, 4);
    return next_or_wait(L);
}

/* handle:next_texts(before, after, wants_pieces?) -> text, nil, count, pieces? | as next */
static int m_next_texts(lua_State *L)
{
    luaL_checkstring(L, 2);
    luaL_checkstring(L, 3);
    lua_settop(L, 4);
    return next_or_wait(L);
}

/* handle:first_byte() -> seconds from the start to the head of the answer, or nil */
static int m_first_byte(lua_State *L)
{
    int64_t us = fetch_first_byte_us(check_open(L)->fetch);
    if (us)
        lua_pushnumber(L, (lua_Number)us / 1e6);
    else
        lua_pushnil(L);
    return 1;
}

/* handle:progress(): content was understood; the `progress` limit counts from here */
static int m_progress(lua_State *L)
{
    fetch_progress(check_open(L)->fetch);
    return 0;
}

/* Idempotent; an unfinished request is cancelled and its socket closed. */
static int mm_close(lua_State *L)
{
    struct handle *h = luaL_checkudata(L, 1, FETCH_TYPE);
    if (!h->fetch)
        return 0;
    h->is_sent = fetch_is_sent(h->fetch);
    fetch_close(h->fetch);
    h->fetch = NULL;
    task_wake(&h->waiter);
    return 0;
}

static int mm_tostring(lua_State *L)
{
    struct handle *h = luaL_checkudata(L, 1, FETCH_TYPE);
    lua_pushfstring(L, "perilune.fetch (%s)", !h->fetch ? "closed" : fetch_status(h->fetch) ? "answered" : "waiting");
    return 1;
}

static const luaL_Reg functions[] = {{"open", f_open}, {"live", f_live}, {"library", f_library}, {"is_range", f_is_range}, {NULL, NULL}};
static const luaL_Reg methods[] = {
    {"head", m_head},         {"next", m_next},   {"next_texts", m_next_texts}, {"first_byte", m_first_byte},
    {"progress", m_progress}, {"close", mm_close}, {NULL, NULL},
};
static const luaL_Reg metamethods[] = {
    {"__close", mm_close}, {"__gc", mm_close}, {"__tostring", mm_tostring}, {NULL, NULL}};

int luaopen_perilune_sys_fetch(lua_State *L)
{
    args_new_type(L, FETCH_TYPE, methods, metamethods);
    luaL_newlib(L, functions);
    return 1;
}
