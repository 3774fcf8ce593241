/*
 * test_log.c - what a line looks like in both formats, that no message can forge one, that no secret survives in any
 * spelling or at any cut, and that threads do not mix their lines.
 */
#include "../../src/base/log.h"

#include "../../src/base/json.h"
#include "../../src/base/limits.h"
#include "../../src/base/mem.h"
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLICE(literal) ((struct slice){literal, sizeof literal - 1})
#define NONE ((struct slice){NULL, 0})

static int64_t fixed_us(struct clock *c)
{
    UNUSED(c);
    return 1767323045678999; /* 2026-01-02T03:04:05.678Z */
}

struct fixture {
    struct clock clock;
    struct log *log;
    int fd;
    char name[32];
    struct buf out;
};

static void set_up(struct fixture *f, enum log_format format)
{
    *f = (struct fixture){.clock = {.mono_us = fixed_us, .wall_us = fixed_us}, .name = "/tmp/test_log.XXXXXX"};
    f->fd = mkstemp(f->name);
    CHECK(f->fd >= 0);
    f->log = log_new(f->fd, &f->clock);
    log_set_format(f->log, format, false);
    buf_init(&f->out, 64 << 20);
}

static void tear_down(struct fixture *f)
{
    log_free(f->log);
    close(f->fd);
    unlink(f->name);
    buf_deinit(&f->out);
}

/* What was written since the last call. */
static const char *written(struct fixture *f)
{
    off_t n = lseek(f->fd, 0, SEEK_CUR);
    buf_clear(&f->out);
    CHECK(buf_reserve(&f->out, (size_t)n + 1) == ERR_OK);
    CHECK(pread(f->fd, f->out.p, (size_t)n, 0) == n);
    f->out.n = (size_t)n;
    f->out.p[n] = '\0';
    CHECK(ftruncate(f->fd, 0) == 0 && lseek(f->fd, 0, SEEK_SET) == 0);
    return f->out.p;
}

static const char *line(struct fixture *f, struct slice message, struct slice fields)
{
    log_write(f->log, LOG_WARN, "fetch", message, fields);
    return written(f);
}

static bool is_json_line(const struct buf *b)
{
    return b->n && memchr(b->p, '\n', b->n) == b->p + b->n - 1 &&
           json_validate((struct slice){b->p, b->n}, NULL) == ERR_OK;
}

static void test_text(void)
{
    struct fixture f;
    set_up(&f, LOG_TEXT);
    CHECK(strcmp(line(&f, SLICE("hello"), NONE), "03:04:05.678 warn  fetch  hello\n") == 0);
    CHECK(
        strcmp(line(&f, SLICE("m"), SLICE("{\"a\":\"b\",\"n\":1,\"t\":\"two words\",\"e\":\"\",\"o\":{\"x\":[1, 2]}}")),
               "03:04:05.678 warn  fetch  m  a=b n=1 t=\"two words\" e=\"\" o={\"x\":[1, 2]}\n") == 0);
    CHECK(strcmp(line(&f, SLICE("m"), SLICE(" { } ")), "03:04:05.678 warn  fetch  m \n") == 0);
    CHECK(strcmp(line(&f, SLICE("m"), SLICE("[1]")), "03:04:05.678 warn  fetch  m  (fields: not JSON)\n") == 0);
    log_set_format(f.log, LOG_TEXT, true);
    CHECK(strcmp(line(&f, SLICE("hello"), NONE), "\x1b[2m03:04:05.678\x1b[0m \x1b[33mwarn \x1b[0m fetch  hello\n") ==
          0);
    tear_down(&f);
}

static void test_json(void)
{
    struct fixture f;
    set_up(&f, LOG_JSON);
    CHECK(strcmp(line(&f, SLICE("say \"hi\" \\ \xc3\xa9"), NONE),
                 "{\"time\":\"2026-01-02T03:04:05.678Z\",\"level\":\"warn\",\"area\":\"fetch\",\"message\":\"say "
                 "\\\"hi\\\" \\\\ \xc3\xa9\"}\n") == 0);
    const char *text = line(&f, SLICE("m"), SLICE("{\"a\": \"b\",\n\"time\":1,\"o\":{\"x\" : [1,\t2]}}"));
    CHECK(strstr(text, "\"message\":\"m\",\"a\":\"b\",\"_time\":1,\"o\":{\"x\" : [1, 2]}}\n") != NULL);
    CHECK(is_json_line(&f.out));
    CHECK(strstr(line(&f, SLICE("m"), SLICE("{\"a\":1} , {")), "\"fields\":\"not JSON\"}\n") != NULL);
    CHECK(is_json_line(&f.out));
    log_printf(f.log, LOG_ERROR, "area\n\"", "%d of %s", 3, "7");
    CHECK(strstr(written(&f), "\"level\":\"error\",\"area\":\"area\\n\\\"\",\"message\":\"3 of 7\"}\n") != NULL);
    tear_down(&f);
}

static void test_levels(void)
{
    struct fixture f;
    enum log_level level;
    set_up(&f, LOG_TEXT);
    CHECK(log_level_parse("debug", &level) && level == LOG_DEBUG);
    CHECK(log_level_parse("off", &level) && level == LOG_OFF);
    CHECK(!log_level_parse("loud", &level));
    CHECK(!log_is_on(f.log, LOG_DEBUG) && log_is_on(f.log, LOG_INFO));
    log_write(f.log, LOG_DEBUG, "a", SLICE("x"), NONE);
    CHECK(strcmp(written(&f), "") == 0);
    log_set_level(f.log, LOG_OFF);
    log_write(f.log, LOG_ERROR, "a", SLICE("x"), NONE);
    CHECK(strcmp(written(&f), "") == 0 && !log_is_on(f.log, LOG_ERROR) && !log_is_on(f.log, LOG_OFF));
    tear_down(&f);
}

/* Every byte and every pair that begins with a lead byte: one line, valid JSON, no control characters. */
static void test_no_forgery(void)
{
    struct fixture f;
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        set_up(&f, (enum log_format)format);
        size_t wrong = 0;
        for (int pair = 0; pair < 65536; pair += pair < 256 ? 1 : 7) {
            char bytes[4] = {'<', (char)(pair & 255), (char)(pair >> 8), '>'};
            line(&f, (struct slice){bytes, 4}, NONE);
            wrong += memchr(f.out.p, '\n', f.out.n) != f.out.p + f.out.n - 1;
            for (size_t i = 0; i + 1 < f.out.n; i++) {
                unsigned char c = (unsigned char)f.out.p[i], before = i ? (unsigned char)f.out.p[i - 1] : 0;
                wrong += c < 0x20 || c == 0x7f || (before == 0xc2 && c < 0xa0);
            }
            if (format == LOG_JSON)
                wrong += !is_json_line(&f.out);
        }
        CHECK(wrong == 0);
        tear_down(&f);
    }
}

static void test_cut(void)
{
    struct fixture f;
    char *text = mem_alloc(100000);
    for (size_t i = 0; i < 100000; i++)
        text[i] = "\xc3\xa9\"\n"[i % 4];
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        set_up(&f, (enum log_format)format);
        for (size_t n = LOG_LINE_BYTES_MAX / 2 - 200; n < LOG_LINE_BYTES_MAX / 2 + 200; n++) {
            line(&f, (struct slice){text, n}, SLICE("{\"a\":1,\"b\":\"some more of it\"}"));
            CHECK(f.out.n <= LOG_LINE_BYTES_MAX && f.out.p[f.out.n - 1] == '\n');
            if (format == LOG_JSON)
                CHECK(is_json_line(&f.out));
        }
        line(&f, (struct slice){text, 100000}, NONE);
        CHECK(f.out.n > LOG_LINE_BYTES_MAX - 64 && f.out.n <= LOG_LINE_BYTES_MAX);
        CHECK(strstr(f.out.p, format == LOG_JSON ? "\",\"cut\":true}\n" : " (cut)\n") != NULL);
        tear_down(&f);
    }
    mem_free(text);
}

static void test_secrets(void)
{
    static const char secret[] = "sk-a/b\"c\\d e+f";
    static const struct slice spellings[] = {
        {secret, sizeof secret - 1},
        {"sk-a/b\\\"c\\\\d e+f", 17 - 1},
        {"sk-a\\/b\\\"c\\\\d e+f", 18 - 1},
        {"sk-a%2Fb%22c%5Cd%20e%2Bf", 24},
    };
    struct fixture f;
    set_up(&f, LOG_TEXT);
    CHECK(!log_secret_add(f.log, "short", 5));
    CHECK(!log_secret_add(f.log, "", 0));
    CHECK(log_secret_add(f.log, secret, sizeof secret - 1));
    CHECK(log_secret_add(f.log, secret, sizeof secret - 1));
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        log_set_format(f.log, (enum log_format)format, false);
        for (size_t i = 0; i < ARRAY_LEN(spellings); i++) {
            struct buf message;
            buf_init(&message, 1000);
            CHECK(buf_addf(&message, "key %.*s!", (int)spellings[i].n, spellings[i].p) == ERR_OK);
            const char *text = line(&f, (struct slice){message.p, message.n}, NONE);
            CHECK(strstr(text, "key [redacted]!") != NULL);
            buf_deinit(&message);
        }
        CHECK(strstr(line(&f, SLICE("m"), SLICE("{\"k\":\"sk-a/b\\\"c\\\\d e+f\"}")), "sk-a") == NULL);
        CHECK(strstr(f.out.p, "[redacted]") != NULL);
    }
    log_write(f.log, LOG_WARN, secret, SLICE("m"), NONE);
    CHECK(strstr(written(&f), "sk-a") == NULL);
    tear_down(&f);
}

static bool redacts_to(struct log *l, const char *text, const char *expected)
{
    struct buf out;
    buf_init(&out, 1000);
    bool same =
        log_redact(l, (struct slice){text, strlen(text)}, &out) == ERR_OK && strcmp(out.p ? out.p : "", expected) == 0;
    buf_deinit(&out);
    return same;
}

static void test_overlap(void)
{
    struct fixture f;
    set_up(&f, LOG_TEXT);
    CHECK(log_secret_add(f.log, "abcdefgh", 8));
    CHECK(log_secret_add(f.log, "efghijkl", 8));
    CHECK(log_secret_add(f.log, "abcdefghLONG", 12));
    CHECK(redacts_to(f.log, "", ""));
    CHECK(redacts_to(f.log, "<abcdefgh>", "<[redacted]>"));
    CHECK(redacts_to(f.log, "<abcdefghijkl>", "<[redacted]>"));
    CHECK(redacts_to(f.log, "<abcdefghLONG>", "<[redacted]>"));
    CHECK(redacts_to(f.log, "abcdefghabcdefg", "[redacted]abcdefg"));
    CHECK(redacts_to(f.log, "aabcdefghh", "a[redacted]h"));
    struct buf small;
    buf_init(&small, 12);
    CHECK(buf_add_str(&small, "x") == ERR_OK);
    CHECK(log_redact(f.log, SLICE("ab abcdefgh"), &small) == ERR_LIMIT && small.n == 1);
    CHECK(log_redact(f.log, SLICE("abcdefgh"), &small) == ERR_OK && small.n == 11);
    buf_deinit(&small);
    tear_down(&f);
}

/* A secret that lies across the place where the line is cut must not be cut in half. */
static void test_secret_at_the_cut(void)
{
    static const char secret[] = "0123456789-secret-0123456789";
    struct fixture f;
    set_up(&f, LOG_JSON);
    CHECK(log_secret_add(f.log, secret, sizeof secret - 1));
    size_t n = LOG_LINE_BYTES_MAX + 200, wrong = 0;
    char *text = mem_alloc(n);
    for (size_t at = LOG_LINE_BYTES_MAX - 200; at < LOG_LINE_BYTES_MAX; at++) {
        memset(text, '.', n);
        memcpy(text + at, secret, sizeof secret - 1);
        line(&f, (struct slice){text, n}, NONE);
        wrong += strstr(f.out.p, "-secret") != NULL || strstr(f.out.p, ".01") != NULL || !is_json_line(&f.out);
    }
    CHECK(wrong == 0);
    mem_free(text);
    tear_down(&f);
}

#define LINES 2000

static void *write_lines(void *user)
{
    for (int i = 0; i < LINES; i++)
        log_printf(user, LOG_INFO, "thread", "line %d with thread-secret-1 in it", i);
    return NULL;
}

static void test_threads(void)
{
    struct fixture f;
    pthread_t threads[4];
    set_up(&f, LOG_TEXT);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        CHECK(pthread_create(&threads[i], NULL, write_lines, f.log) == 0);
    CHECK(log_secret_add(f.log, "thread-secret-1", 15));
    log_set_level(f.log, LOG_INFO);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    written(&f);
    size_t lines = 0, wrong = 0;
    for (char *p = f.out.p, *end; (end = strchr(p, '\n')); p = end + 1, lines++)
        wrong += strncmp(p, "03:04:05.678 info  thread  line ", 32) != 0 || strncmp(end - 6, " in it", 6) != 0;
    CHECK(lines == ARRAY_LEN(threads) * LINES && wrong == 0);
    tear_down(&f);
}

/* A full pipe that is nonblocking: lines wait instead of getting lost. */
static void *read_slowly(void *user)
{
    int fd = *(int *)user;
    static size_t total;
    char bytes[4096];
    for (ssize_t n; (n = read(fd, bytes, sizeof bytes)) > 0;)
        total += (size_t)n;
    return &total;
}

static void test_nonblocking(void)
{
    int ends[2];
    pthread_t reader;
    void *total;
    CHECK(pipe2(ends, O_NONBLOCK) == 0);
    CHECK(fcntl(ends[0], F_SETFL, 0) == 0);
    struct clock clock = {.mono_us = fixed_us, .wall_us = fixed_us};
    struct log *l = log_new(ends[1], &clock);
    CHECK(pthread_create(&reader, NULL, read_slowly, &ends[0]) == 0);
    for (int i = 0; i < 5000; i++)
        log_printf(l, LOG_INFO, "pipe", "%050d", i);
    log_free(l);
    close(ends[1]);
    pthread_join(reader, &total);
    close(ends[0]);
    CHECK(*(size_t *)total == 5000 * (strlen("03:04:05.678 info  pipe  \n") + 50));
}

int main(void)
{
    test_text();
    test_json();
    test_levels();
    test_no_forgery();
    test_cut();
    test_secrets();
    test_overlap();
    test_secret_at_the_cut();
    test_threads();
    test_nonblocking();
    return check_report();
}
