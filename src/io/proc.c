/*
 * proc.c - child processes on posix_spawn and libuv. uv_spawn is not used: it forks, which blocks the loop for
 * milliseconds and longer the larger the host is.
 *
 * The exit is seen through a pidfd with WNOWAIT, and the child is reaped only when the proc is closed. Until then its
 * process id cannot be given to anybody else, so signalling the group is always safe, and what the child left
 * running dies with it.
 */
#include "proc.h"

#include "../base/limits.h"
#include "../base/mem.h"
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#define READ_BYTES (16u << 10)

struct stream { /* the host's end of one standard descriptor */
    struct proc *proc;
    uv_pipe_t pipe;
    bool is_open, is_reading;
    struct buf buf; /* what was read */
};

struct proc { /* freed when it is closed and its last handle is */
    struct loop *loop;
    enum proc_mode mode;
    pid_t pid; /* 0: not started, or reaped */
    int pidfd;
    uv_poll_t exit_poll;
    bool is_exit_open;
    struct stream streams[3];
    struct loop_timer timer; /* timeout, then the grace to SIGKILL, then (after the exit) the drain */
    int handles;
    bool is_closed, has_exited, is_timed_out, is_truncated, is_input_ending;
    struct proc_status status;
    void (*on_event)(void *user, enum proc_event event);
    void *user;
    char scrap[READ_BYTES]; /* where dropped output is read to */
};

struct write { /* one queued write; owns the bytes behind it */
    uv_write_t request;
    char bytes[];
};

static void emit(struct proc *p, enum proc_event event)
{
    if (!p->is_closed)
        p->on_event(p->user, event);
}

/* Handles */

static void free_when_idle(struct proc *p)
{
    if (!p->is_closed || p->handles)
        return;
    for (int fd = 1; fd <= 2; fd++)
        buf_deinit(&p->streams[fd].buf);
    mem_free(p);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct proc *p = handle->data;
    p->handles--;
    free_when_idle(p);
}

static void close_stream(struct stream *s)
{
    if (!s->is_open)
        return;
    s->is_open = s->is_reading = false;
    uv_close((uv_handle_t *)&s->pipe, on_handle_closed);
}

static void close_exit_poll(struct proc *p)
{
    if (!p->is_exit_open)
        return;
    p->is_exit_open = false;
    uv_poll_stop(&p->exit_poll);
    close(p->pidfd);
    uv_close((uv_handle_t *)&p->exit_poll, on_handle_closed);
}

/* Output */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    UNUSED(suggested);
    struct stream *s = CONTAINER_OF(handle, struct stream, pipe);
    size_t room = s->buf.max - s->buf.n;
    size_t bytes = room < READ_BYTES ? room : READ_BYTES;
    if (bytes && buf_reserve(&s->buf, bytes) == ERR_OK)
        *out = uv_buf_init(s->buf.p + s->buf.n, (unsigned)bytes);
    else
        *out = uv_buf_init(s->proc->scrap, READ_BYTES);
}

static enum proc_event event_of(const struct stream *s)
{
    return s == &s->proc->streams[1] ? PROC_OUTPUT : PROC_ERROR_OUTPUT;
}

static bool waits_for_reader(const struct stream *s)
{
    return event_of(s) == PROC_OUTPUT && s->proc->mode == PROC_STREAM;
}

static void on_read(uv_stream_t *pipe, ssize_t n, const uv_buf_t *into)
{
    struct stream *s = CONTAINER_OF(pipe, struct stream, pipe);
    if (n == 0)
        return;
    if (n < 0) {
        close_stream(s);
    } else if (into->base == s->proc->scrap) {
        s->proc->is_truncated = true;
    } else {
        s->buf.n += (size_t)n;
        s->buf.p[s->buf.n] = '\0';
        if (s->buf.n == s->buf.max && waits_for_reader(s)) {
            uv_read_stop(pipe);
            s->is_reading = false;
        }
    }
    emit(s->proc, event_of(s));
}

static void start_reading(struct stream *s)
{
    if (!s->is_open || s->is_reading)
        return;
    int rc = uv_read_start((uv_stream_t *)&s->pipe, on_alloc, on_read);
    ASSERT(rc == 0);
    s->is_reading = true;
}

struct slice proc_output(const struct proc *p, int fd)
{
    const struct buf *b = &p->streams[fd].buf;
    return (struct slice){b->n ? b->p : "", b->n};
}

void proc_consume(struct proc *p, int fd, size_t bytes)
{
    struct stream *s = &p->streams[fd];
    buf_consume(&s->buf, bytes);
    buf_shrink(&s->buf, 4 * READ_BYTES);
    start_reading(s);
}

bool proc_is_at_end(const struct proc *p, int fd)
{
    return !p->streams[fd].is_open;
}

/* Input */

bool proc_can_write(const struct proc *p)
{
    return p->streams[0].is_open && !p->is_input_ending;
}

bool proc_is_writing(const struct proc *p)
{
    const struct stream *s = &p->streams[0];
    return s->is_open && uv_stream_get_write_queue_size((const uv_stream_t *)&s->pipe) > 0;
}

static void end_input_when_written(struct proc *p)
{
    if (p->is_input_ending && !proc_is_writing(p))
        close_stream(&p->streams[0]);
}

static void on_written(uv_write_t *request, int rc)
{
    struct proc *p = request->handle->data;
    mem_free(CONTAINER_OF(request, struct write, request));
    if (rc < 0)
        close_stream(&p->streams[0]); /* EPIPE: the child does not read any more */
    end_input_when_written(p);
    if (!proc_is_writing(p))
        emit(p, PROC_INPUT);
}

enum err proc_write(struct proc *p, struct slice bytes, struct err_info *info)
{
    struct stream *s = &p->streams[0];
    if (!proc_can_write(p))
        return err_set(info, ERR_CLOSED, "process %d: its standard input is closed", (int)p->pid);
    size_t queued = uv_stream_get_write_queue_size((uv_stream_t *)&s->pipe);
    if (bytes.n > PROC_IN_BYTES_MAX - queued)
        return err_set(info, ERR_LIMIT,
                       "process %d: more than %u bytes wait for its standard input (PROC_IN_BYTES_MAX)", (int)p->pid,
                       PROC_IN_BYTES_MAX);
    if (!bytes.n)
        return ERR_OK;
    struct write *w = mem_alloc(sizeof *w + bytes.n);
    memcpy(w->bytes, bytes.p, bytes.n);
    uv_buf_t b = uv_buf_init(w->bytes, (unsigned)bytes.n);
    int rc = uv_write(&w->request, (uv_stream_t *)&s->pipe, &b, 1, on_written);
    if (rc) {
        mem_free(w);
        return err_os(info, ERR_CLOSED, -rc, "process %d: cannot write to its standard input", (int)p->pid);
    }
    return ERR_OK;
}

void proc_end_input(struct proc *p)
{
    p->is_input_ending = true;
    end_input_when_written(p);
}

/* Signals, time and the exit */

static const struct {
    const char *name;
    int signum;
} signals[] = {
    {"TERM", SIGTERM}, {"KILL", SIGKILL}, {"INT", SIGINT},   {"HUP", SIGHUP},   {"QUIT", SIGQUIT}, {"USR1", SIGUSR1},
    {"USR2", SIGUSR2}, {"STOP", SIGSTOP}, {"CONT", SIGCONT}, {"ABRT", SIGABRT}, {"PIPE", SIGPIPE}, {"SEGV", SIGSEGV},
};

int proc_signum(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        if (strcmp(signals[i].name, name) == 0)
            return signals[i].signum;
    return 0;
}

const char *proc_signal_name(int signum)
{
    return sigabbrev_np(signum);
}

void proc_signal(struct proc *p, int signum)
{
    if (!p->pid)
        return;
    kill(-p->pid, signum);
    if (getpgid(p->pid) != p->pid)
        kill(p->pid, signum); /* it has moved to another group; twice the same signal would be another message */
}

static bool are_outputs_ended(const struct proc *p)
{
    return proc_is_at_end(p, 1) && proc_is_at_end(p, 2);
}

/* Something the child left running holds its outputs open. */
static void give_up_outputs(struct proc *p)
{
    for (int fd = 1; fd <= 2; fd++) {
        p->is_truncated |= p->streams[fd].is_open;
        close_stream(&p->streams[fd]);
    }
    emit(p, PROC_OUTPUT);
}

static void on_timer(struct loop_timer *timer)
{
    struct proc *p = CONTAINER_OF(timer, struct proc, timer);
    if (p->has_exited) {
        give_up_outputs(p);
    } else if (p->is_timed_out) {
        proc_signal(p, SIGKILL);
    } else {
        p->is_timed_out = true;
        proc_signal(p, SIGTERM);
        proc_signal(p, SIGCONT); /* a stopped process would not hear it */
        loop_timer_start(p->loop, &p->timer, PROC_TERM_MS, on_timer);
    }
}

static void reap(struct proc *p)
{
    siginfo_t unused;
    while (waitid(P_PID, (id_t)p->pid, &unused, WEXITED) < 0 && errno == EINTR)
        ;
    p->pid = 0;
}

/* Has it exited? Leaves it to be reaped. */
static bool look_for_exit(struct proc *p)
{
    siginfo_t exit = {0};
    if (waitid(P_PID, (id_t)p->pid, &exit, WEXITED | WNOWAIT | WNOHANG) < 0 || exit.si_pid == 0)
        return false;
    p->has_exited = true;
    if (exit.si_code == CLD_EXITED)
        p->status.code = exit.si_status;
    else
        p->status.signum = exit.si_status;
    return true;
}

static void on_exit_readable(uv_poll_t *poll_handle, int rc, int events)
{
    UNUSED(rc);
    UNUSED(events);
    struct proc *p = CONTAINER_OF(poll_handle, struct proc, exit_poll);
    if (!look_for_exit(p))
        return;
    close_exit_poll(p);
    if (p->is_closed) {
        reap(p);
        return;
    }
    loop_timer_stop(p->loop, &p->timer);
    if (p->is_timed_out)
        proc_signal(p, SIGKILL); /* whoever of the group ignored SIGTERM */
    if (p->mode == PROC_COLLECT && !are_outputs_ended(p))
        loop_timer_start(p->loop, &p->timer, PROC_DRAIN_MS, on_timer);
    emit(p, PROC_EXIT);
}

/* Starting */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* A pipe whose ends are both above 2, so that putting them in place overwrites none of them. */
static int open_pipe(int ends[2])
{
    int low[2];
    if (pipe2(low, O_CLOEXEC) < 0)
        return errno;
    int rc = 0;
    for (int i = 0; i < 2; i++) {
        ends[i] = low[i] > 2 ? low[i] : fcntl(low[i], F_DUPFD_CLOEXEC, 3);
        if (ends[i] < 0)
            rc = errno;
        if (ends[i] != low[i])
            close(low[i]);
    }
    return rc;
}

static int spawn(pid_t *pid, const struct proc_options *o, const int child_fds[3])
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    int rc = 0;
    if (child_fds[0] < 0)
        rc = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    for (int fd = 0; fd < 3 && rc == 0; fd++)
        if (child_fds[fd] >= 0)
            rc = posix_spawn_file_actions_adddup2(&actions, child_fds[fd], fd);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (rc == 0 && o->cwd)
        rc = posix_spawn_file_actions_addchdir_np(&actions, o->cwd);
    if (rc == 0)
        rc = posix_spawnp(pid, o->argv[0], &actions, &attributes, (char *const *)o->argv, (char *const *)o->env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static enum err spawn_failed(const struct proc_options *o, int rc, struct err_info *info)
{
    struct stat st;
    enum err code = rc == ENOENT || rc == ENOTDIR ? ERR_NOT_FOUND : rc == EACCES ? ERR_PERMISSION : ERR_IO;
    if (o->cwd && (stat(o->cwd, &st) < 0 || !S_ISDIR(st.st_mode)))
        return err_os(info, code, rc, "cannot run %.60s in the folder %.100s", o->argv[0], o->cwd);
    return err_os(info, code, rc, "cannot run %.150s", o->argv[0]);
}

static int adopt_pipe(struct proc *p, int fd, int *host_fd)
{
    struct stream *s = &p->streams[fd];
    int rc = uv_pipe_init(loop_uv(p->loop), &s->pipe, 0);
    if (rc)
        return rc;
    s->pipe.data = p;
    s->is_open = true;
    p->handles++;
    rc = uv_pipe_open(&s->pipe, *host_fd);
    if (rc)
        return rc;
    *host_fd = -1; /* closed with the handle */
    if (fd > 0)
        start_reading(s);
    return 0;
}

static int adopt_child(struct proc *p)
{
    p->pidfd = pidfd_open(p->pid, 0);
    if (p->pidfd < 0)
        return -errno;
    int rc = uv_poll_init(loop_uv(p->loop), &p->exit_poll, p->pidfd);
    if (rc) {
        close(p->pidfd);
        return rc;
    }
    p->exit_poll.data = p;
    p->is_exit_open = true;
    p->handles++;
    return uv_poll_start(&p->exit_poll, UV_READABLE, on_exit_readable);
}

static struct proc *new_proc(struct loop *loop, const struct proc_options *o)
{
    struct proc *p = mem_zero(1, sizeof *p);
    p->loop = loop;
    p->mode = o->mode;
    for (int fd = 0; fd < 3; fd++) {
        p->streams[fd].proc = p;
        buf_init(&p->streams[fd].buf, o->out_bytes_max);
    }
    return p;
}

enum err proc_open(struct proc **out, struct loop *loop, const struct proc_options *o,
                   void (*on_event)(void *user, enum proc_event event), void *user, struct err_info *info)
{
    struct proc *p = new_proc(loop, o);
    int host_fds[3] = {-1, -1, -1}, child_fds[3] = {-1, -1, -1};
    enum err code = ERR_OK;
    int rc = 0;
    for (int fd = o->has_input ? 0 : 1; fd < 3 && rc == 0; fd++) {
        int ends[2] = {-1, -1};
        rc = open_pipe(ends);
        child_fds[fd] = ends[fd > 0];
        host_fds[fd] = ends[fd == 0];
    }
    if (rc) {
        code = err_os(info, ERR_IO, rc, "cannot make a pipe for %.100s", o->argv[0]);
        goto done;
    }
    rc = spawn(&p->pid, o, child_fds);
    if (rc) {
        p->pid = 0;
        code = spawn_failed(o, rc, info);
        goto done;
    }
    rc = adopt_child(p);
    for (int fd = o->has_input ? 0 : 1; fd < 3 && rc == 0; fd++)
        rc = adopt_pipe(p, fd, &host_fds[fd]);
    if (rc)
        code = err_os(info, ERR_IO, -rc, "cannot watch %.100s", o->argv[0]);
done:
    for (int fd = 0; fd < 3; fd++) {
        close_fd(&child_fds[fd]);
        close_fd(&host_fds[fd]);
    }
    if (code != ERR_OK) {
        proc_close(p);
        return code;
    }
    p->on_event = on_event;
    p->user = user;
    if (o->timeout_ms)
        loop_timer_start(loop, &p->timer, o->timeout_ms, on_timer);
    *out = p;
    return ERR_OK;
}

void proc_close(struct proc *p)
{
    ASSERT(!p->is_closed);
    p->is_closed = true;
    loop_timer_stop(p->loop, &p->timer);
    for (int fd = 0; fd < 3; fd++)
        close_stream(&p->streams[fd]);
    if (p->pid) {
        proc_signal(p, SIGKILL);
        if (p->is_exit_open)
            (void)poll(&(struct pollfd){.fd = p->pidfd, .events = POLLIN}, 1, PROC_REAP_MS);
        if (!p->is_exit_open || look_for_exit(p)) {
            close_exit_poll(p);
            reap(p);
        }
    }
    free_when_idle(p);
}

/* Looking */

pid_t proc_pid(const struct proc *p)
{
    return p->pid;
}

bool proc_has_exited(const struct proc *p, struct proc_status *status)
{
    if (status)
        *status = p->status;
    return p->has_exited;
}

bool proc_is_done(const struct proc *p)
{
    return p->has_exited && are_outputs_ended(p);
}

bool proc_is_timed_out(const struct proc *p)
{
    return p->is_timed_out;
}

bool proc_is_truncated(const struct proc *p)
{
    return p->is_truncated;
}
