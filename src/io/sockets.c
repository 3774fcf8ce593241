/*
 * sockets.c - the glue between libuv and curl's multi_socket interface. Sockets that curl opens for itself
 * (the resolver's wake-up pair) are told apart from connections: only those are closed through us, so
 * only those may stay armed while curl does not look at them.
 *
 * Attempts to connect that curl gives up are closed without a word. They are found when curl stops looking at them, or
 * when their descriptor comes again.
 */
#include "sockets.h"

#include "../base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

struct sock { /* freed in the poll's close callback */
    uv_poll_t poll;
    struct sockets *sockets;
    struct shard *shard;
    int fd;
    int armed;         /* UV_READABLE | UV_WRITABLE, 0: stopped */
    bool is_connection; /* opened through on_open */
    uint64_t cookie;    /* of a connection: no two sockets have the same */
    bool is_idle;      /* curl does not look at it now */
};

struct sockets {
    struct loop *loop;
    const struct curl *curl;
    struct sock **table; /* by descriptor */
    size_t table_n;
};

static struct sock *get(struct sockets *ss, int fd)
{
    return (size_t)fd < ss->table_n ? ss->table[fd] : NULL;
}

static struct sock *add(struct sockets *ss, int fd)
{
    if ((size_t)fd >= ss->table_n) {
        size_t n = ss->table_n ? ss->table_n : 64;
        while (n <= (size_t)fd)
            n *= 2;
        ss->table = mem_resize(ss->table, n * sizeof *ss->table);
        for (size_t i = ss->table_n; i < n; i++)
            ss->table[i] = NULL;
        ss->table_n = n;
    }
    struct sock *s = mem_zero(1, sizeof *s);
    s->sockets = ss;
    s->fd = fd;
    s->poll.data = s;
    if (uv_poll_init(loop_uv(ss->loop), &s->poll, fd) != 0) {
        mem_free(s);
        return NULL;
    }
    return ss->table[fd] = s;
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

static void drop(struct sock *s)
{
    s->sockets->table[s->fd] = NULL;
    uv_poll_stop(&s->poll);
    uv_close((uv_handle_t *)&s->poll, on_closed);
}

/* Finished transfers are collected after curl has returned, never inside one of its callbacks. */
static void collect(struct shard *s)
{
    int left;
    CURLMsg *message;
    while ((message = s->sockets->curl->multi_info_read(s->multi, &left)))
        if (message->msg == CURLMSG_DONE)
            s->on_done(s, message->easy_handle, message->data.result);
}

static void act(struct shard *s, curl_socket_t fd, int flags)
{
    int running;
    s->sockets->curl->multi_socket_action(s->multi, fd, flags, &running);
    collect(s);
}

static void arm(struct sock *s, int events);

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct sock *s = poll->data;
    if (s->is_idle) { /* the peer closed a pooled connection: curl finds out when it wants to use it */
        uv_poll_stop(poll);
        s->armed = 0;
        return;
    }
    struct sockets *ss = s->sockets;
    int fd = s->fd, armed = s->armed;
    if (status < 0) { /* a reset: libuv has stopped the poll; curl reads what came before it, then the error */
        s->armed = 0;
        events = UV_READABLE;
    }
    act(s->shard, fd, (events & UV_READABLE ? CURL_CSELECT_IN : 0) | (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0));
    s = get(ss, fd);
    if (status < 0 && s && !s->is_idle && !s->armed)
        arm(s, armed);
}

static void arm(struct sock *s, int events)
{
    if (s->armed == events)
        return;
    s->armed = events;
    uv_poll_start(&s->poll, events, on_ready);
}

/* What is idle does not keep the loop alive. */
static void set_idle(struct sock *s, bool is_idle)
{
    s->is_idle = is_idle;
    (is_idle ? uv_unref : uv_ref)((uv_handle_t *)&s->poll);
}

static uint64_t cookie_of(int fd)
{
    uint64_t cookie = 0;
    socklen_t n = sizeof cookie;
    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &n);
    return cookie;
}

/* CURLMOPT_SOCKETFUNCTION */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *unused)
{
    UNUSED(easy);
    UNUSED(unused);
    struct shard *shard = user;
    struct sock *s = get(shard->sockets, fd);
    if (what == CURL_POLL_REMOVE) {
        if (s && s->is_connection && s->cookie == cookie_of(fd)) {
            set_idle(s, true);
            if (s->armed)
                arm(s, UV_READABLE);
        } else if (s) {
            drop(s);
        }
        return 0;
    }
    if (!s && !(s = add(shard->sockets, fd)))
        return -1;
    s->shard = shard;
    set_idle(s, false);
    arm(s, (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0));
    return 0;
}

static void on_timer(struct loop_timer *timer)
{
    act(CONTAINER_OF(timer, struct shard, timer), CURL_SOCKET_TIMEOUT, 0);
}

/* CURLMOPT_TIMERFUNCTION. 0 ms is allowed: the loop runs such a timer in its next step. */
static int on_timeout(CURLM *multi, long timeout_ms, void *user)
{
    UNUSED(multi);
    struct shard *s = user;
    if (timeout_ms < 0)
        loop_timer_stop(s->sockets->loop, &s->timer);
    else
        loop_timer_start(s->sockets->loop, &s->timer, timeout_ms, on_timer);
    return 0;
}

/* CURLOPT_OPENSOCKETFUNCTION */
static curl_socket_t on_open(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    UNUSED(purpose);
    struct opener *opener = user;
    opener->refusal = address_refusal(opener->addresses, &address->addr);
    if (opener->refusal) {
        address_text(&address->addr, opener->refused);
        return CURL_SOCKET_BAD; /* curl tries the next one that the name has */
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
    opener->os_errno = fd < 0 ? errno : 0;
    if (fd < 0)
        return CURL_SOCKET_BAD;
    struct sock *s = get(opener->sockets, fd);
    if (s)
        drop(s);
    s = add(opener->sockets, fd);
    if (!s) {
        close(fd);
        return CURL_SOCKET_BAD;
    }
    s->is_connection = true;
    s->cookie = cookie_of(fd);
    set_idle(s, true);
    return fd;
}

bool opener_refuses(struct opener *opener, const char *peer)
{
    opener->refusal = address_refusal_of_text(opener->addresses, peer);
    if (opener->refusal)
        snprintf(opener->refused, sizeof opener->refused, "%s", peer);
    return opener->refusal != NULL;
}

/* CURLOPT_CLOSESOCKETFUNCTION */
static int on_close(void *user, curl_socket_t fd)
{
    struct sock *s = get(user, fd);
    if (s)
        drop(s);
    return close(fd);
}

struct sockets *sockets_new(struct loop *l, const struct curl *c)
{
    struct sockets *ss = mem_zero(1, sizeof *ss);
    ss->loop = l;
    ss->curl = c;
    return ss;
}

void sockets_free(struct sockets *ss)
{
    for (size_t i = 0; i < ss->table_n; i++)
        if (ss->table[i])
            drop(ss->table[i]);
    mem_free(ss->table);
    mem_free(ss);
}

void shard_open(struct shard *s, struct sockets *ss, void (*on_done)(struct shard *s, CURL *easy, CURLcode result))
{
    const struct curl *c = ss->curl;
    s->sockets = ss;
    s->on_done = on_done;
    s->multi = c->multi_init();
    ASSERT(s->multi);
    c->multi_setopt(s->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    c->multi_setopt(s->multi, CURLMOPT_SOCKETDATA, s);
    c->multi_setopt(s->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    c->multi_setopt(s->multi, CURLMOPT_TIMERDATA, s);
}

void shard_close(struct shard *s)
{
    s->sockets->curl->multi_cleanup(s->multi);
    loop_timer_stop(s->sockets->loop, &s->timer);
}

void shard_adopt(struct shard *s, CURL *easy, struct opener *opener, const struct address_policy *addresses)
{
    const struct curl *c = s->sockets->curl;
    *opener = (struct opener){.sockets = s->sockets, .addresses = addresses};
    c->easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    c->easy_setopt(easy, CURLOPT_OPENSOCKETDATA, opener);
    c->easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    c->easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, s->sockets);
}
