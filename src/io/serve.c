/*
 * serve.c - the listening socket and the life of a server. Connections are in serve_conn.c, answers in serve_reply.c.
 *
 * The surprising decision: the socket is polled and accepted from here, not by uv_listen. Out of descriptors, libuv
 * 1.44 either throws away everybody who waits or, when another thread has taken its reserve descriptor, never returns.
 * Here a few of those who wait get a 503 through our own reserve, then accepting pauses.
 */
#include "serve.h"

#include "../base/mem.h"
#include "serve_conn.h"
#include "serve_reply.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_BACKLOG 4096

void serve_options_init(struct serve_options *o)
{
    *o = (struct serve_options){
        .host = "127.0.0.1",
        .first_ms = SERVE_FIRST_MS,
        .head_ms = SERVE_HEAD_MS,
        .body_ms = SERVE_BODY_MS,
        .idle_ms = SERVE_IDLE_MS,
        .write_ms = SERVE_WRITE_MS,
        .head_bytes_max = SERVE_HEAD_BYTES_MAX,
        .body_bytes_max = SERVE_BODY_BYTES_MAX,
        .bodies_bytes_max = SERVE_BODIES_BYTES_MAX,
        .connections_max = SERVE_CONNECTIONS_MAX,
        .per_address_max = SERVE_PER_ADDRESS_MAX,
    };
}

/* Accepting */

static void on_acceptable(uv_poll_t *poll, int status, int events); /* accepting pauses and resumes itself */

static int open_reserve(void)
{
    return open("/", O_RDONLY | O_CLOEXEC | O_DIRECTORY);
}

static void accept_start(struct serve *s)
{
    if (s->is_accepting || s->is_draining || s->is_closing || s->conn_count >= s->options.connections_max)
        return;
    if (s->reserve_fd < 0)
        s->reserve_fd = open_reserve();
    loop_timer_stop(s->loop, &s->accept_timer);
    int rc = uv_poll_start(&s->poll, UV_READABLE, on_acceptable);
    ASSERT(rc == 0);
    s->is_accepting = true;
}

static void accept_stop(struct serve *s)
{
    uv_poll_stop(&s->poll);
    s->is_accepting = false;
}

static void on_accept_timer(struct loop_timer *t)
{
    accept_start(CONTAINER_OF(t, struct serve, accept_timer));
}

/* Says so and hangs up; what the kernel does not take at once is lost. */
static void turn_away(int fd, struct http1_fault fault)
{
    struct buf out;
    buf_init(&out, SERVE_REFUSAL_BYTES_MAX);
    serve_reply_refuse(&out, fault);
    ssize_t sent = send(fd, out.p, out.n, MSG_NOSIGNAL);
    UNUSED(sent);
    buf_deinit(&out);
    close(fd);
}

/* Out of descriptors: the reserve makes room for one at a time, who is told to come again. */
static void shed(struct serve *s)
{
    for (int i = 0; i < SERVE_ACCEPT_MAX && s->reserve_fd >= 0; i++) {
        close(s->reserve_fd);
        int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            turn_away(fd, (struct http1_fault){503, "too many connections"});
        s->reserve_fd = open_reserve();
        if (fd < 0)
            break;
    }
    accept_stop(s);
    loop_timer_start(s->loop, &s->accept_timer, SERVE_ACCEPT_PAUSE_MS, on_accept_timer);
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct serve *s = poll->data;
    UNUSED(status); /* an error shows again in accept4 */
    UNUSED(events);
    for (int i = 0; i < SERVE_ACCEPT_MAX && !s->is_draining && !s->is_closing; i++) {
        struct sockaddr_storage from;
        socklen_t bytes = sizeof from;
        int fd = accept4(s->fd, (struct sockaddr *)&from, &bytes, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            struct serve_peer *peer;
            if (serve_peers_enter(&s->peers, &from, s->options.per_address_max, &peer))
                serve_conn_open(s, fd, peer);
            else
                turn_away(fd, (struct http1_fault){429, "too many connections of one address"});
            if (s->conn_count >= s->options.connections_max) {
                accept_stop(s); /* the others wait in the kernel's queue */
                return;
            }
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            shed(s);
            return;
        } else if (errno == EAGAIN) {
            return;
        } /* else: this one connection failed before it was taken */
    }
}

/* Opening */

static enum err parse_address(const struct serve_options *o, struct sockaddr_storage *address, socklen_t *bytes,
                              struct err_info *info)
{
    const char *host = strcmp(o->host, "localhost") == 0 ? "127.0.0.1" : o->host;
    memset(address, 0, sizeof *address);
    if (o->port < 0 || o->port > 65535)
        return err_set(info, ERR_INVALID, "cannot listen on port %d: ports are 0 to 65535", o->port);
    *bytes = sizeof(struct sockaddr_in);
    if (uv_ip4_addr(host, o->port, (struct sockaddr_in *)address) == 0)
        return ERR_OK;
    *bytes = sizeof(struct sockaddr_in6);
    if (uv_ip6_addr(host, o->port, (struct sockaddr_in6 *)address) == 0)
        return ERR_OK;
    return err_set(info, ERR_INVALID, "cannot listen on '%s': not a numeric address", host);
}

static int bound_port(int fd)
{
    struct sockaddr_storage address;
    socklen_t bytes = sizeof address;
    int rc = getsockname(fd, (struct sockaddr *)&address, &bytes);
    ASSERT(rc == 0);
    in_port_t port = address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                                   : ((struct sockaddr_in *)&address)->sin_port;
    return ntohs(port);
}

static enum err listen_on(const struct serve_options *o, int *out, struct err_info *info)
{
    struct sockaddr_storage address;
    socklen_t bytes;
    enum err err = parse_address(o, &address, &bytes, info);
    if (err)
        return err;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_os(info, ERR_IO, errno, "cannot make a socket for %s", o->host);
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, bytes) || listen(fd, LISTEN_BACKLOG)) {
        int os_errno = errno;
        close(fd);
        return err_os(info, os_errno == EACCES ? ERR_PERMISSION : ERR_IO, os_errno, "cannot listen on %s port %d",
                      o->host, o->port);
    }
    *out = fd;
    return ERR_OK;
}

/* libuv writes with write(2), where a client that has gone means SIGPIPE. */
static void ignore_sigpipe(void)
{
    struct sigaction action;
    sigaction(SIGPIPE, NULL, &action);
    if (action.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

static void on_flush_timer(struct loop_timer *t)
{
    struct serve *s = CONTAINER_OF(t, struct serve, flush_timer);
    struct list dirty;
    list_move_all(&s->dirty, &dirty);
    for (struct list *node; (node = list_first(&dirty));) {
        list_remove(node);
        serve_conn_flush(CONTAINER_OF(node, struct serve_conn, dirty_link));
    }
}

void serve_conn_mark(struct serve_conn *c)
{
    struct serve *s = c->server;
    if (list_is_empty(&c->dirty_link))
        list_append(&s->dirty, &c->dirty_link);
    if (!loop_timer_is_on(&s->flush_timer))
        loop_timer_start(s->loop, &s->flush_timer, 0, on_flush_timer);
}

enum err serve_open(struct serve **out, struct loop *l, const struct serve_options *o,
                    void (*on_request)(void *user, struct serve_request *r), void *user, struct err_info *info)
{
    int fd = -1;
    enum err err = listen_on(o, &fd, info);
    if (err)
        return err;
    struct serve *s = mem_zero(1, sizeof *s);
    int rc = uv_poll_init(loop_uv(l), &s->poll, fd);
    if (rc) {
        close(fd);
        mem_free(s);
        return err_os(info, ERR_IO, -rc, "cannot watch the socket for %s port %d", o->host, o->port);
    }
    ignore_sigpipe();
    s->loop = l;
    s->options = *o;
    s->options.host = NULL;
    s->on_request = on_request;
    s->user = user;
    s->fd = fd;
    s->reserve_fd = -1;
    s->date_s = -1;
    s->port = bound_port(fd);
    s->poll.data = s;
    s->handle_count = 1;
    serve_peers_init(&s->peers);
    list_init(&s->conns);
    list_init(&s->dirty);
    accept_start(s);
    *out = s;
    return ERR_OK;
}

int serve_port(const struct serve *s)
{
    return s->port;
}

size_t serve_connections(const struct serve *s)
{
    return s->conn_count;
}

/* Closing */

static void close_listener(struct serve *s)
{
    loop_timer_stop(s->loop, &s->accept_timer);
    accept_stop(s);
    if (s->fd >= 0)
        close(s->fd); /* libuv has stopped watching it */
    if (s->reserve_fd >= 0)
        close(s->reserve_fd);
    s->fd = s->reserve_fd = -1;
}

void serve_drain(struct serve *s)
{
    if (s->is_draining)
        return;
    s->is_draining = true;
    close_listener(s);
    for (struct list *node = s->conns.next, *next; node != &s->conns; node = next) {
        next = node->next;
        serve_conn_drain(CONTAINER_OF(node, struct serve_conn, link));
    }
}

static void release(struct serve *s)
{
    if (--s->handle_count == 0)
        mem_free(s);
}

void serve_conn_closed(struct serve *s)
{
    s->conn_count--;
    accept_start(s);
    release(s);
}

static void on_poll_closed(uv_handle_t *handle)
{
    release(handle->data);
}

void serve_close(struct serve *s)
{
    ASSERT(!s->is_closing);
    s->is_closing = true;
    close_listener(s);
    for (struct list *node; (node = list_first(&s->conns));) {
        struct serve_conn *c = CONTAINER_OF(node, struct serve_conn, link);
        serve_conn_flush(c);
        serve_conn_close(c);
    }
    loop_timer_stop(s->loop, &s->flush_timer);
    uv_close((uv_handle_t *)&s->poll, on_poll_closed);
}
