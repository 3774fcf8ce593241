/*
 * console.h - the standard descriptors: reading standard input without blocking the loop, and writing to
 * standard output and error as a command does. Loop thread only.
 */
#ifndef PERILUNE_CONSOLE_H
#define PERILUNE_CONSOLE_H

#include "../base/buf.h"

struct loop;
struct console;

/* Reads from `fd` (0), which stays the caller's and keeps its flags. */
struct console *console_new(struct loop *loop, int fd);
void console_free(struct console *c); /* stops a wait */

enum console_state {
    CONSOLE_READY, /* *out is what was asked for */
    CONSOLE_END,   /* nothing more will come */
    CONSOLE_WAIT,  /* call console_wait, then try again */
    CONSOLE_FAILED /* info says why */
};

/* The next line without its line feed; a last line without one counts. ERR_LIMIT above CONSOLE_LINE_BYTES_MAX.
 * *out is valid until the next call. */
enum console_state console_line(struct console *c, struct slice *out, struct err_info *info);
/* Everything that is left, when the end has come. ERR_LIMIT above CONSOLE_BYTES_MAX. */
enum console_state console_rest(struct console *c, struct slice *out, struct err_info *info);

/* Calls on_ready once when there may be something to read. One wait at a time. */
MUST_CHECK enum err console_wait(struct console *c, void (*on_ready)(void *user), void *user, struct err_info *info);
bool console_is_waiting(const struct console *c);
void console_stop(struct console *c); /* harmless when nobody waits */

/* Writes all of it, blocking. ERR_CLOSED: nobody reads any more. */
MUST_CHECK enum err console_write(int fd, struct slice text, struct err_info *info);

#endif
