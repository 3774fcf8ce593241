/*
 * proc.h - child processes: started without a shell in a process group of their own, with pipes for their
 * three standard descriptors and nothing else open. A child's group dies with its `struct proc`.
 *
 * The loop reads into buffers and calls `on_event`; whoever owns the proc looks at it from there or later.
 * Loop thread only. The process must ignore SIGPIPE (main does).
 */
#ifndef PERILUNE_PROC_H
#define PERILUNE_PROC_H

#include <sys/types.h>

#include "../base/buf.h"

struct loop;
struct proc;

enum proc_mode {
    PROC_COLLECT, /* both outputs are kept up to out_bytes_max, the rest is read and dropped */
    PROC_STREAM   /* standard output waits for the reader when out_bytes_max are unread; standard error as above */
};

struct proc_options { /* borrowed for the call */
    enum proc_mode mode;
    const char *const *argv; /* NULL-terminated; argv[0] without a slash is looked up in the host's PATH */
    const char *const *env;  /* NULL-terminated "NAME=value": all that the child gets */
    const char *cwd;         /* NULL: the host's */
    bool has_input;          /* false: standard input is /dev/null */
    size_t out_bytes_max;    /* of each output */
    int64_t timeout_ms;      /* 0: none. SIGTERM, PROC_TERM_MS later SIGKILL */
};

enum proc_event { PROC_OUTPUT, PROC_ERROR_OUTPUT, PROC_EXIT, PROC_INPUT };

struct proc_status {
    int code;   /* of exit, when signum is 0 */
    int signum; /* that killed it */
};

/* Starts it. `on_event` is called when there is something new: bytes or the end of an output, the exit, room for
 * input; never from inside a function of this header. Fails with ERR_NOT_FOUND (no such program or folder),
 * ERR_PERMISSION or ERR_IO. The caller owns *out until proc_close. */
MUST_CHECK enum err proc_open(struct proc **out, struct loop *loop, const struct proc_options *options,
                              void (*on_event)(void *user, enum proc_event event), void *user, struct err_info *info);
/* Kills what is left of the group with SIGKILL and forgets the proc. `on_event` is not called any more. */
void proc_close(struct proc *p);

pid_t proc_pid(const struct proc *p);
bool proc_has_exited(const struct proc *p, struct proc_status *status); /* status may be NULL */
bool proc_is_done(const struct proc *p);                                /* exited, and both outputs are at their end */
bool proc_is_timed_out(const struct proc *p);                           /* was killed because timeout_ms had passed */
bool proc_is_truncated(const struct proc *p);                           /* some output was dropped */

/* What has been read and not consumed; valid until the loop runs again. `fd` is 1 or 2. */
struct slice proc_output(const struct proc *p, int fd);
void proc_consume(struct proc *p, int fd, size_t bytes);
bool proc_is_at_end(const struct proc *p, int fd); /* nothing more will be read */

/* Queues a copy. ERR_LIMIT above PROC_IN_BYTES_MAX, ERR_CLOSED when the child does not read any more. */
MUST_CHECK enum err proc_write(struct proc *p, struct slice bytes, struct err_info *info);
bool proc_can_write(const struct proc *p);  /* false: it was ended, or the child does not read any more */
bool proc_is_writing(const struct proc *p); /* something is still queued; PROC_INPUT tells when that ends */
void proc_end_input(struct proc *p);        /* closes standard input once the queue is empty */

/* To the whole group; harmless after the exit. */
void proc_signal(struct proc *p, int signum);

/* Signals by name, without "SIG": "TERM". 0, NULL: unknown. */
int proc_signum(const char *name);
const char *proc_signal_name(int signum);

#endif
