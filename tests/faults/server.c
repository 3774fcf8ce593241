/*
 * server.c - a provider that fails on command: raw sockets, one poll loop, libc only. It knows enough of HTTP to tell where a
 * request ends, and nothing else.
 *
 * A line on standard input says what a port plays: `NAME SCRIPT`; the answer on standard output is `NAME port NUMBER`, or `NAME bad
 * WORD`. The same name again changes what later connections get; without a script the port is closed: `NAME dropped`. `NAME tell`
 * is answered `NAME told`, once everything else has been told. What happens on a port is told with its time (ms): `NAME n open`, `NAME n request HEAD BODY` (bytes), `NAME n full BYTES` (the client does not read),
 * `NAME n over` (neither side has the connection any more). It ends with its standard input. docs/faults.md explains the scripts.
 */
#include "script.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NAME_BYTES_MAX 64
#define HEAD_BYTES_MAX (64u << 10)
#define SEND_BUFFER_BYTES (64 << 10)
#define SPLIT_PAUSE_US 30    /* between two pieces, so that the client may see each alone */
#define FULL_US 200000       /* a client that takes nothing for this long does not read */
#define BLACKHOLE_CONNECTS 4 /* fill the queue of a listener that never accepts */

struct port {
    char name[NAME_BYTES_MAX];
    int fd;
    struct script *scripts; /* of the first connection, the second, ...; after the last the first again */
    size_t scripts_n;
    unsigned connections;
    int fillers[BLACKHOLE_CONNECTS];
};

struct conn {
    struct port *port;
    const struct script *script;
    int fd;
    unsigned number;
    size_t at, repeat_from; /* steps */
    bool is_repeating, is_closing, waits_for_input, waits_for_room, has_told_full;
    size_t done; /* bytes of the step that were sent or read */
    size_t sent, split, head_n, body_n, body_wanted;
    int64_t wake_us, blocked_us;
    char head[HEAD_BYTES_MAX];
};

enum outcome { BLOCKED, DONE, OVER };

static struct port **ports;
static struct conn **conns;
static size_t ports_n, conns_n;

/* Small things */

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void tell(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    putchar('\n');
    fflush(stdout);
}

static void tell_of(const struct conn *c, const char *what, size_t a, size_t b)
{
    tell("%s %u %s %zu %zu %.3f", c->port->name, c->number, what, a, b, (double)now_us() / 1000);
}

/* Connections */

static void drop(struct conn *c)
{
    for (size_t i = 0; i < conns_n; i++) {
        if (conns[i] == c) {
            conns[i] = conns[--conns_n];
            break;
        }
    }
    close(c->fd);
    tell_of(c, "over", 0, 0);
    free(c);
}

static enum outcome would_block(struct conn *c, bool is_read)
{
    if (errno != EAGAIN && errno != EINTR)
        return OVER;
    c->waits_for_input = is_read;
    c->waits_for_room = !is_read;
    return BLOCKED;
}

static size_t content_length(const struct conn *c)
{
    for (size_t i = 0; i + 15 < c->head_n; i++)
        if (c->head[i] == '\n' && strncasecmp(c->head + i + 1, "content-length:", 15) == 0)
            return strtoul(c->head + i + 16, NULL, 10);
    return 0;
}

/* Takes what has arrived of a head: DONE when it is complete. */
static enum outcome read_head(struct conn *c)
{
    ssize_t n = recv(c->fd, c->head + c->head_n, sizeof c->head - 1 - c->head_n, MSG_PEEK);
    if (n <= 0)
        return n == 0 ? OVER : would_block(c, true);
    c->head[c->head_n + (size_t)n] = '\0';
    char *from = c->head + (c->head_n < 3 ? 0 : c->head_n - 3), *end = strstr(from, "\r\n\r\n");
    size_t taken = end ? (size_t)(end + 4 - c->head) - c->head_n : (size_t)n;
    if (recv(c->fd, c->head + c->head_n, taken, 0) != (ssize_t)taken)
        return OVER;
    c->head_n += taken;
    c->body_wanted = end ? content_length(c) : 0;
    if (!end && c->head_n == sizeof c->head - 1)
        return OVER;
    return end ? DONE : BLOCKED;
}

static enum outcome read_bytes(struct conn *c, size_t *got, size_t wanted)
{
    char block[16384];
    while (*got < wanted) {
        size_t most = wanted - *got < sizeof block ? wanted - *got : sizeof block;
        ssize_t n = recv(c->fd, block, most, 0);
        if (n <= 0)
            return n == 0 ? OVER : would_block(c, true);
        *got += (size_t)n;
    }
    return DONE;
}

static enum outcome play_read(struct conn *c, const struct step *s)
{
    enum outcome outcome = DONE;
    c->waits_for_input = true;
    if (s->number)
        return read_bytes(c, &c->done, (size_t)s->number);
    if (c->done == 0) {
        outcome = read_head(c);
        if (outcome != DONE)
            return outcome;
        c->done = 1; /* the head is there */
    }
    outcome = read_bytes(c, &c->body_n, c->body_wanted);
    if (outcome != DONE)
        return outcome;
    tell_of(c, "request", c->head_n, c->body_n);
    c->head_n = c->body_n = c->body_wanted = 0;
    return DONE;
}

static enum outcome play_send(struct conn *c, const struct step *s)
{
    size_t total = s->kind == FILL ? s->n * (size_t)s->number : s->n;
    bool is_split = c->split && s->kind == SEND;
    while (c->done < total) {
        size_t from = c->done % (s->n ? s->n : 1), most = s->block_n - from;
        if (most > total - c->done)
            most = total - c->done;
        if (is_split && most > c->split)
            most = c->split;
        ssize_t n = send(c->fd, s->text + from, most, MSG_NOSIGNAL);
        if (n < 0)
            return would_block(c, false);
        c->done += (size_t)n;
        c->sent += (size_t)n;
        c->blocked_us = 0;
        if (is_split && c->done < total) {
            c->wake_us = now_us() + SPLIT_PAUSE_US;
            return BLOCKED;
        }
    }
    return DONE;
}

static enum outcome play_sleep(struct conn *c, const struct step *s)
{
    if (c->done)
        return DONE;
    c->done = 1;
    c->wake_us = now_us() + s->number * 1000;
    return BLOCKED;
}

static enum outcome play_reset(struct conn *c)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    return OVER;
}

static enum outcome play(struct conn *c, const struct step *s)
{
    switch (s->kind) {
    case READ:
        return play_read(c, s);
    case SEND:
    case FILL:
        return play_send(c, s);
    case SLEEP:
        return play_sleep(c, s);
    case SPLIT:
        c->split = (size_t)s->number;
        return DONE;
    case REPEAT:
        c->is_repeating = true;
        c->repeat_from = c->at + 1;
        return DONE;
    case CLOSE:
        shutdown(c->fd, SHUT_WR);
        c->is_closing = true; /* until the client closes as well: a close with unread input would be a reset */
        return BLOCKED;
    case RESET:
        return play_reset(c);
    default:
        return BLOCKED;
    }
}

/* Plays on until something must be waited for. */
static void go_on(struct conn *c)
{
    enum outcome outcome;
    c->waits_for_input = c->waits_for_room = false;
    c->wake_us = 0;
    do {
        outcome = play(c, &c->script->steps[c->at]);
        if (outcome != DONE)
            break;
        c->done = 0;
        if (++c->at == c->script->n) /* the next request on this connection */
            c->at = c->is_repeating ? c->repeat_from : 0;
    } while (true);
    if (outcome == OVER)
        drop(c);
    else if (c->waits_for_room && !c->blocked_us)
        c->blocked_us = now_us();
}

static void tell_full(struct conn *c, int64_t now)
{
    if (c->waits_for_room && c->blocked_us && !c->has_told_full && now - c->blocked_us >= FULL_US) {
        c->has_told_full = true;
        tell_of(c, "full", c->sent, 0);
    }
}

/* What poll says about a connection. */
static void on_conn(struct conn *c, short events)
{
    char block[4096];
    int64_t now = now_us();
    bool is_reading = c->waits_for_input;
    if (c->is_closing && (events & POLLIN))
        while (recv(c->fd, block, sizeof block, 0) > 0)
            continue;
    if ((events & (POLLERR | POLLHUP)) || ((events & POLLRDHUP) && !is_reading))
        drop(c);
    else if ((is_reading && (events & POLLIN)) || (c->waits_for_room && (events & POLLOUT)) ||
             (c->wake_us && now >= c->wake_us))
        go_on(c);
    else
        tell_full(c, now);
}

static void on_connect(struct port *port)
{
    int on = 1, fd;
    while ((fd = accept4(port->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *c = calloc(1, sizeof *c);
        if (!c)
            abort();
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        c->port = port;
        c->fd = fd;
        c->script = &port->scripts[port->connections++ % port->scripts_n];
        c->number = port->connections;
        conns = grow(conns, (conns_n + 1) * sizeof(struct conn *));
        conns[conns_n++] = c;
        tell_of(c, "open", 0, 0);
        go_on(c);
    }
}

/* Ports */

static struct port *find(const char *name)
{
    for (size_t i = 0; i < ports_n; i++)
        if (strcmp(ports[i]->name, name) == 0)
            return ports[i];
    return NULL;
}

/* A listener that is full: connections beyond it get no answer. */
static void fill_queue(struct port *port, const struct sockaddr_in *address)
{
    listen(port->fd, 0);
    for (size_t i = 0; i < BLACKHOLE_CONNECTS; i++) {
        port->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(port->fillers[i], (const struct sockaddr *)address, sizeof *address) < 0 && errno != EINPROGRESS)
            abort();
    }
}

static struct port *open_port(const char *name, enum kind first)
{
    int bytes = SEND_BUFFER_BYTES;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof address;
    struct port *port = calloc(1, sizeof *port);
    if (!port)
        abort();
    snprintf(port->name, sizeof port->name, "%s", name);
    port->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(port->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    if (bind(port->fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        getsockname(port->fd, (struct sockaddr *)&address, &n) < 0)
        abort();
    if (first == BLACKHOLE)
        fill_queue(port, &address);
    else if (first != REFUSE)
        listen(port->fd, SOMAXCONN);
    ports = grow(ports, (ports_n + 1) * sizeof(struct port *));
    ports[ports_n++] = port;
    return port;
}

static void close_port(struct port *port)
{
    for (size_t i = conns_n; i-- > 0;)
        if (conns[i]->port == port)
            drop(conns[i]);
    for (size_t i = 0; i < ports_n; i++) {
        if (ports[i] == port) {
            ports[i] = ports[--ports_n];
            break;
        }
    }
    for (size_t i = 0; i < BLACKHOLE_CONNECTS; i++)
        if (port->fillers[i])
            close(port->fillers[i]);
    close(port->fd);
    tell("%s dropped", port->name);
    free(port);
}

static void obey(char *line)
{
    struct script *scripts;
    size_t scripts_n;
    struct sockaddr_in address;
    socklen_t n = sizeof address;
    char *name = script_word(&line);
    if (strcmp(line, "tell") == 0) {
        tell("%s told", name);
        return;
    }
    const char *bad = script_parse(line, &scripts, &scripts_n);
    struct port *port = find(name);
    if (bad) {
        tell("%s bad %s", name, bad);
        return;
    }
    if (!scripts_n) {
        if (port)
            close_port(port);
        return;
    }
    port = port ? port : open_port(name, scripts[0].steps[0].kind);
    port->scripts = scripts;
    port->scripts_n = scripts_n;
    getsockname(port->fd, (struct sockaddr *)&address, &n);
    tell("%s port %d", name, ntohs(address.sin_port));
}

/* Reads commands; false at the end of standard input. */
static bool read_commands(void)
{
    static char *buffer;
    static size_t size, used;
    if (size - used < 4096)
        buffer = grow(buffer, size = size * 2 + 8192);
    ssize_t n = read(STDIN_FILENO, buffer + used, size - used - 1);
    if (n <= 0)
        return n < 0 && errno == EINTR;
    used += (size_t)n;
    char *end;
    while ((end = memchr(buffer, '\n', used))) {
        *end = '\0';
        size_t line_n = (size_t)(end + 1 - buffer);
        obey(buffer);
        memmove(buffer, buffer + line_n, used - line_n);
        used -= line_n;
    }
    return true;
}

/* The loop */

/* When the next connection must go on by itself; -1: none must. */
static int64_t wait_us(void)
{
    int64_t first = -1, now = now_us();
    for (size_t i = 0; i < conns_n; i++) {
        const struct conn *c = conns[i];
        int64_t at = c->wake_us ? c->wake_us : c->waits_for_room && !c->has_told_full ? c->blocked_us + FULL_US : 0;
        if (at && (first < 0 || at - now < first))
            first = at > now ? at - now : 0;
    }
    return first;
}

/* Does anybody connect to it? A port that refuses or swallows connections is never asked. */
static bool is_listening(const struct port *port)
{
    enum kind first = port->scripts[0].steps[0].kind;
    return first != REFUSE && first != BLACKHOLE;
}

static bool turn(void)
{
    static struct pollfd *fds;
    size_t n = 0, ports_before = ports_n, conns_before = conns_n;
    struct conn **seen = grow(NULL, conns_n * sizeof(struct conn *));
    fds = grow(fds, (1 + ports_n + conns_n) * sizeof *fds);
    fds[n++] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    for (size_t i = 0; i < ports_n; i++)
        fds[n++] = (struct pollfd){.fd = is_listening(ports[i]) ? ports[i]->fd : -1, .events = POLLIN};
    for (size_t i = 0; i < conns_n; i++) {
        short events = (short)(POLLRDHUP | (conns[i]->waits_for_input || conns[i]->is_closing ? POLLIN : 0) |
                               (conns[i]->waits_for_room ? POLLOUT : 0));
        seen[i] = conns[i];
        fds[n++] = (struct pollfd){.fd = conns[i]->fd, .events = events};
    }
    int64_t us = wait_us();
    struct timespec timeout = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    ppoll(fds, n, us < 0 ? NULL : &timeout, NULL);
    for (size_t i = 0; i < conns_before; i++)
        on_conn(seen[i], fds[1 + ports_before + i].revents); /* drops no other connection than this one */
    free(seen);
    for (size_t i = 0; i < ports_before; i++)
        if (fds[1 + i].revents & POLLIN)
            on_connect(ports[i]);
    return !fds[0].revents || read_commands();
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    while (turn())
        continue;
    return 0;
}
