/*
 * console.c - the standard descriptors. Standard input is shared with whoever started us, so it must not be made
 * nonblocking: that would outlive the process and break the shell's. Instead an epoll descriptor of our own holds it,
 * and libuv watches that one; when it is readable one read(2) does not block. What epoll refuses (files, /dev/null) is
 * always readable and never gets there.
 */
#include "console.h"

#include "../base/limits.h"
#include "../base/mem.h"
#include "loop.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <uv.h>

#define READ_BYTES (64u << 10)

struct watch { /* freed when its handle is closed */
    uv_poll_t poll;
    int epoll_fd;
    struct console *console; /* NULL: stopped */
};

struct console { /* owned by the binding's userdata */
    struct loop *loop;
    int fd;
    struct buf in;
    size_t start;   /* of what was not handed out yet */
    size_t scanned; /* up to here there is no line feed after start */
    bool is_at_end;
    struct watch *watch;
    void (*on_ready)(void *user);
    void *user;
};

struct console *console_new(struct loop *loop, int fd)
{
    struct console *c = mem_zero(1, sizeof *c);
    c->loop = loop;
    c->fd = fd;
    buf_init(&c->in, CONSOLE_BYTES_MAX + READ_BYTES);
    return c;
}

void console_free(struct console *c)
{
    console_stop(c);
    buf_deinit(&c->in);
    mem_free(c);
}

/* Reading */

/* CONSOLE_READY: something was read, or the end was. */
static enum console_state fill(struct console *c, struct err_info *info)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    if (poll(&p, 1, 0) == 0)
        return CONSOLE_WAIT;
    buf_consume(&c->in, c->start);
    c->scanned -= c->start;
    c->start = 0;
    if (buf_reserve(&c->in, READ_BYTES) != ERR_OK) {
        err_set(info, ERR_LIMIT, "standard input is larger than %u bytes (CONSOLE_BYTES_MAX)", CONSOLE_BYTES_MAX);
        return CONSOLE_FAILED;
    }
    ssize_t n = read(c->fd, c->in.p + c->in.n, READ_BYTES);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return CONSOLE_WAIT;
    if (n < 0) {
        err_os(info, ERR_IO, errno, "cannot read standard input");
        return CONSOLE_FAILED;
    }
    c->in.n += (size_t)n;
    c->is_at_end = n == 0;
    return CONSOLE_READY;
}

static enum console_state hand_out(struct console *c, size_t bytes, size_t used, struct slice *out)
{
    *out = (struct slice){bytes ? c->in.p + c->start : "", bytes};
    c->start += used;
    c->scanned = c->start;
    return CONSOLE_READY;
}

enum console_state console_line(struct console *c, struct slice *out, struct err_info *info)
{
    for (;;) {
        size_t left = c->in.n - c->scanned;
        const char *feed = left ? memchr(c->in.p + c->scanned, '\n', left) : NULL;
        size_t bytes = (feed ? (size_t)(feed - c->in.p) : c->in.n) - c->start;
        if (bytes > CONSOLE_LINE_BYTES_MAX) {
            err_set(info, ERR_LIMIT, "a line of standard input is longer than %u bytes (CONSOLE_LINE_BYTES_MAX)",
                    CONSOLE_LINE_BYTES_MAX);
            return CONSOLE_FAILED;
        }
        if (feed)
            return hand_out(c, bytes, bytes + 1, out);
        if (c->is_at_end)
            return bytes ? hand_out(c, bytes, bytes, out) : CONSOLE_END;
        c->scanned = c->in.n;
        enum console_state state = fill(c, info);
        if (state != CONSOLE_READY)
            return state;
    }
}

enum console_state console_rest(struct console *c, struct slice *out, struct err_info *info)
{
    while (!c->is_at_end) {
        enum console_state state = fill(c, info);
        if (state != CONSOLE_READY)
            return state;
    }
    return hand_out(c, c->in.n - c->start, c->in.n - c->start, out);
}

/* Waiting */

static void on_watch_closed(uv_handle_t *handle)
{
    mem_free(CONTAINER_OF(handle, struct watch, poll));
}

void console_stop(struct console *c)
{
    struct watch *w = c->watch;
    if (!w)
        return;
    c->watch = NULL;
    uv_poll_stop(&w->poll);
    close(w->epoll_fd);
    uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

static void on_readable(uv_poll_t *handle, int rc, int events)
{
    UNUSED(rc);
    UNUSED(events);
    struct console *c = CONTAINER_OF(handle, struct watch, poll)->console;
    console_stop(c);
    c->on_ready(c->user);
}

bool console_is_waiting(const struct console *c)
{
    return c->watch != NULL;
}

enum err console_wait(struct console *c, void (*on_ready)(void *user), void *user, struct err_info *info)
{
    ASSERT(!c->watch);
    struct epoll_event event = {.events = EPOLLIN};
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0)
        return err_os(info, ERR_IO, errno, "cannot wait for standard input");
    struct watch *w = mem_zero(1, sizeof *w);
    int rc = epoll_ctl(fd, EPOLL_CTL_ADD, c->fd, &event) < 0 ? -errno : uv_poll_init(loop_uv(c->loop), &w->poll, fd);
    if (rc) {
        close(fd);
        mem_free(w);
        return err_os(info, ERR_IO, -rc, "cannot wait for standard input");
    }
    w->epoll_fd = fd;
    w->console = c;
    c->watch = w;
    c->on_ready = on_ready;
    c->user = user;
    rc = uv_poll_start(&w->poll, UV_READABLE, on_readable);
    ASSERT(rc == 0);
    return ERR_OK;
}

/* Writing */

enum err console_write(int fd, struct slice text, struct err_info *info)
{
    for (size_t done = 0; done < text.n;) {
        ssize_t n = write(fd, text.p + done, text.n - done);
        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno == EAGAIN)
            (void)poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        else if (n == 0 || errno != EINTR)
            return err_os(info, n < 0 && errno == EPIPE ? ERR_CLOSED : ERR_IO, n < 0 ? errno : EIO,
                          "cannot write to descriptor %d", fd);
    }
    return ERR_OK;
}
