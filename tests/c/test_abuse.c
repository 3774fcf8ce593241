/*
 * test_abuse.c - every row of the first table of docs/abuse.md against the real HTTP layer: whole, split at every byte,
 * and cut at every byte, with a FIN, a reset or silence behind it. A row that has gone wrong once is not played on.
 */
#include "abuse_rows.h"

#define SPLITS_MAX 400 /* longer payloads are split and cut at that many places, evenly */

/* The statuses of the answers so far, in order. */
static size_t statuses_of(const struct client *c, int out[STATUSES_MAX])
{
    size_t n = 0;
    const char *p = c->in.n ? c->in.p : NULL, *end = p ? p + c->in.n : NULL;
    while (p && (p = memmem(p, (size_t)(end - p), "HTTP/1.1 ", 9))) {
        int status = (int)strtol(p + 9, NULL, 10);
        if (status > 100 && n < STATUSES_MAX) /* 0: the words of a refusal */
            out[n++] = status;
        p += 9;
    }
    return n;
}

static bool is_allowed(const struct row *r, size_t position, int status)
{
    for (int i = 0; i < 4 && r->statuses[position][i]; i++)
        if (r->statuses[position][i] == status)
            return true;
    return false;
}

/* Are these what the row says, from the first on? */
static bool is_beginning(const struct row *r, const int *statuses, size_t n)
{
    if (n > r->status_count)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!is_allowed(r, i, statuses[i]))
            return false;
    return true;
}

static void complain(const struct row *r, const char *how, size_t at, const struct client *c)
{
    fprintf(stderr, "  %s, %s at %zu: answered %.*s\n", r->what, how, at, (int)(c->in.n < 60 ? c->in.n : 60), c->in.n ? c->in.p : "");
}

/* Whoever is refused can read why, as JSON. */
static bool explains_refusal(const struct client *c, const int *statuses, size_t n)
{
    if (!n || statuses[n - 1] < 400)
        return true;
    return count(c, "content-type: application/json\r\n") == 1 && count(c, "\r\n\r\n{\"error\":{\"message\":\"") == 1 && ends_with(c, "\"}}");
}

static bool check_whole(const struct row *r, size_t at, struct client *c)
{
    int statuses[STATUSES_MAX];
    int64_t end_us = now_us() + PATIENCE_US;
    while ((statuses_of(c, statuses) < r->status_count || (r->closes && !c->is_eof)) && now_us() < end_us)
        pump(c);
    bool is_right = statuses_of(c, statuses) == r->status_count && is_beginning(r, statuses, r->status_count) &&
                    (!r->closes || c->is_eof) && (!r->keeps || !c->is_eof) && explains_refusal(c, statuses, r->status_count);
    CHECK(is_right);
    if (!is_right)
        complain(r, "split", at, c);
    return is_right;
}

/* Another client is served as if nothing had happened. */
static void check_others(void)
{
    struct client c = client_open();
    client_say(&c, "POST /echo HTTP/1.1\r\n" HOST "Connection: close\r\nContent-Length: 2\r\n\r\nok");
    WAIT_FOR(&c, c.is_eof);
    CHECK(has(&c, "200 OK") && ends_with(&c, "ok"));
    client_close(&c, false);
}

static bool play_split(const struct row *r, size_t at)
{
    struct client c = client_open();
    client_send(&c, r->payload.p, at, at ? at : 1);
    settle(&c);
    if (!c.is_eof)
        client_send(&c, r->payload.p + at, r->payload.n - at, 65536);
    bool is_right = check_whole(r, at, &c);
    client_close(&c, false);
    return is_right;
}

static struct client send_cut(const struct row *r, size_t at)
{
    struct client c = client_open();
    client_send(&c, r->payload.p, at, at ? at : 1);
    return c;
}

static bool play_fin(const struct row *r, size_t at)
{
    int statuses[STATUSES_MAX];
    struct client c = send_cut(r, at);
    shutdown(c.fd, SHUT_WR);
    WAIT_FOR(&c, c.is_eof);
    bool is_right = is_beginning(r, statuses, statuses_of(&c, statuses));
    CHECK(is_right);
    if (!is_right)
        complain(r, "ended", at, &c);
    client_close(&c, false);
    return is_right;
}

static void play_reset(const struct row *r, size_t at)
{
    struct client c = send_cut(r, at);
    client_close(&c, true);
    settle(NULL);
}

/* The client says no more, and stays: when all the times are over it is gone, and what it was told last may be 408. */
static bool play_silence(const struct row *r, size_t at)
{
    static const int64_t times_ms[] = {SERVE_FIRST_MS, SERVE_HEAD_MS, SERVE_BODY_MS, SERVE_IDLE_MS, SERVE_LINGER_MS};
    int statuses[STATUSES_MAX];
    struct client c = send_cut(r, at);
    for (size_t i = 0; i < ARRAY_LEN(times_ms); i++) {
        pump(&c);
        t.clock.offset_us += times_ms[i] * 1000;
        pump(&c);
    }
    WAIT_FOR(&c, c.is_eof && serve_connections(t.serve) == 0);
    size_t n = statuses_of(&c, statuses);
    bool is_right = explains_refusal(&c, statuses, n) && is_beginning(r, statuses, n && statuses[n - 1] == 408 ? n - 1 : n);
    CHECK(is_right);
    if (!is_right)
        complain(r, "silent", at, &c);
    client_close(&c, false);
    return is_right;
}

static void play(const struct row *r)
{
    size_t step = r->payload.n / SPLITS_MAX + 1;
    bool is_right = play_split(r, 0);
    for (size_t at = 1; is_right && at < r->payload.n; at += step)
        is_right = play_split(r, at);
    check_others();
    for (size_t at = 0; is_right && at < r->payload.n; at += step) {
        play_reset(r, at);
        is_right = play_fin(r, at) && play_silence(r, at);
    }
    check_others();
    WAIT_FOR(NULL, serve_connections(t.serve) == 0);
}

int main(void)
{
    start_default();
    rows_play(play);
    stop();
    return check_report();
}
