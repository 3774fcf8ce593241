/*
 * test_console.c - lines and the rest of standard input from pipes, files, /dev/null and a terminal; the waits in
 * between, and that the descriptor stays as it was.
 */
#include "../../src/io/console.h"

#include "../../src/base/limits.h"
#include "../../src/base/mem.h"
#include "../../src/io/loop.h"
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct loop *open_loop(void)
{
    struct loop *l = NULL;
    struct err_info info;
    CHECK(loop_open(&l, clock_system(), &info) == ERR_OK);
    return l;
}

static bool line_is(struct console *c, const char *expected)
{
    struct slice line;
    struct err_info info;
    return console_line(c, &line, &info) == CONSOLE_READY && slice_is(line, expected);
}

static enum console_state line_state(struct console *c)
{
    struct slice line;
    struct err_info info;
    return console_line(c, &line, &info);
}

static void on_ready(void *user)
{
    ++*(int *)user;
}

static void test_pipe(void)
{
    struct loop *l = open_loop();
    int ends[2], ready = 0;
    struct err_info info;
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    struct console *c = console_new(l, ends[0]);
    CHECK(line_state(c) == CONSOLE_WAIT);
    CHECK(console_wait(c, on_ready, &ready, &info) == ERR_OK && console_is_waiting(c));
    loop_step(l, LOOP_NOWAIT);
    CHECK(ready == 0);
    CHECK(write(ends[1], "one\ntw", 6) == 6);
    loop_step(l, LOOP_WAIT);
    CHECK(ready == 1 && !console_is_waiting(c));
    CHECK(line_is(c, "one"));
    CHECK(line_state(c) == CONSOLE_WAIT);
    CHECK(write(ends[1], "o\n\nlast", 7) == 7);
    CHECK(line_is(c, "two"));
    CHECK(line_is(c, ""));
    CHECK(line_state(c) == CONSOLE_WAIT);
    CHECK(console_wait(c, on_ready, &ready, &info) == ERR_OK);
    close(ends[1]);
    loop_step(l, LOOP_WAIT);
    CHECK(ready == 2);
    CHECK(line_is(c, "last"));
    CHECK(line_state(c) == CONSOLE_END && line_state(c) == CONSOLE_END);
    CHECK((fcntl(ends[0], F_GETFL) & O_NONBLOCK) == 0);
    console_free(c);
    close(ends[0]);
    CHECK(loop_close(l) == 0);
}

static void test_stop(void)
{
    struct loop *l = open_loop();
    int ends[2], ready = 0;
    struct err_info info;
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    struct console *c = console_new(l, ends[0]);
    for (int i = 0; i < 3; i++) {
        CHECK(console_wait(c, on_ready, &ready, &info) == ERR_OK);
        console_stop(c);
        console_stop(c);
    }
    CHECK(console_wait(c, on_ready, &ready, &info) == ERR_OK);
    CHECK(write(ends[1], "x", 1) == 1);
    console_free(c);
    loop_step(l, LOOP_NOWAIT);
    CHECK(ready == 0);
    close(ends[0]);
    close(ends[1]);
    CHECK(loop_close(l) == 0);
}

static void test_file_and_null(void)
{
    struct loop *l = open_loop();
    struct slice rest;
    struct err_info info;
    char name[] = "/tmp/test_console.XXXXXX";
    int fd = mkstemp(name);
    size_t n = 300000;
    char *text = mem_alloc(n);
    for (size_t i = 0; i < n; i++)
        text[i] = i % 100 == 99 ? '\n' : (char)('a' + i % 26);
    CHECK(fd >= 0 && write(fd, text, n) == (ssize_t)n && lseek(fd, 0, SEEK_SET) == 0);
    struct console *c = console_new(l, fd);
    size_t wrong = 0;
    for (size_t i = 0; i < 1000; i++) {
        struct slice line;
        wrong +=
            console_line(c, &line, &info) != CONSOLE_READY || line.n != 99 || memcmp(line.p, text + i * 100, 99) != 0;
    }
    CHECK(wrong == 0);
    CHECK(console_rest(c, &rest, &info) == CONSOLE_READY && rest.n == n - 100000 &&
          memcmp(rest.p, text + 100000, rest.n) == 0);
    CHECK(console_rest(c, &rest, &info) == CONSOLE_READY && rest.n == 0);
    CHECK(line_state(c) == CONSOLE_END);
    console_free(c);
    close(fd);
    unlink(name);
    mem_free(text);

    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    c = console_new(l, fd);
    CHECK(line_state(c) == CONSOLE_END);
    console_free(c);
    close(fd);
    c = console_new(l, fd); /* nothing is open there */
    CHECK(line_state(c) == CONSOLE_FAILED);
    console_free(c);
    CHECK(loop_close(l) == 0);
}

static void test_terminal(void)
{
    struct loop *l = open_loop();
    int ready = 0, main_fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct err_info info;
    CHECK(main_fd >= 0 && grantpt(main_fd) == 0 && unlockpt(main_fd) == 0);
    int fd = open(ptsname(main_fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(fd >= 0 && isatty(fd));
    struct console *c = console_new(l, fd);
    CHECK(line_state(c) == CONSOLE_WAIT);
    CHECK(console_wait(c, on_ready, &ready, &info) == ERR_OK);
    CHECK(write(main_fd, "hello\n", 6) == 6);
    while (!ready)
        loop_step(l, LOOP_WAIT);
    CHECK(line_is(c, "hello"));
    CHECK(line_state(c) == CONSOLE_WAIT);
    CHECK(write(main_fd, "\x04", 1) == 1); /* Ctrl-D */
    CHECK(console_wait(c, on_ready, &ready, &info) == ERR_OK);
    while (ready < 2)
        loop_step(l, LOOP_WAIT);
    CHECK(line_state(c) == CONSOLE_END);
    CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) == 0);
    console_free(c);
    close(fd);
    close(main_fd);
    CHECK(loop_close(l) == 0);
}

static void test_long_line(void)
{
    struct loop *l = open_loop();
    struct err_info info;
    struct slice line;
    char name[] = "/tmp/test_console.XXXXXX";
    int fd = mkstemp(name);
    size_t n = CONSOLE_LINE_BYTES_MAX + 2;
    char *text = mem_alloc(n);
    memset(text, 'x', n);
    text[n - 1] = '\n';
    CHECK(fd >= 0 && write(fd, text + 1, n - 1) == (ssize_t)(n - 1) && write(fd, text, n) == (ssize_t)n);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    struct console *c = console_new(l, fd);
    CHECK(console_line(c, &line, &info) == CONSOLE_READY && line.n == CONSOLE_LINE_BYTES_MAX);
    CHECK(console_line(c, &line, &info) == CONSOLE_FAILED && info.code == ERR_LIMIT);
    console_free(c);
    close(fd);
    unlink(name);
    mem_free(text);
    CHECK(loop_close(l) == 0);
}

static void test_write(void)
{
    int ends[2];
    struct err_info info;
    char bytes[16] = {0};
    signal(SIGPIPE, SIG_IGN);
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    CHECK(console_write(ends[1], (struct slice){"hello", 5}, &info) == ERR_OK);
    CHECK(read(ends[0], bytes, sizeof bytes) == 5 && strcmp(bytes, "hello") == 0);
    CHECK(console_write(ends[1], (struct slice){"", 0}, &info) == ERR_OK);
    close(ends[0]);
    CHECK(console_write(ends[1], (struct slice){"hello", 5}, &info) == ERR_CLOSED);
    close(ends[1]);
    CHECK(console_write(ends[1], (struct slice){"hello", 5}, &info) == ERR_IO);
}

int main(void)
{
    test_pipe();
    test_stop();
    test_file_and_null();
    test_terminal();
    test_long_line();
    test_write();
    return check_report();
}
