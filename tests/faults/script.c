/*
 * script.c - the parser of scripts. Texts are kept as they are sent; what is sent many times is kept in blocks.
 */
#include "script.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES_MIN (64u << 10) /* short texts that are sent many times are sent in blocks of this size */

void *grow(void *p, size_t bytes)
{
    void *grown = realloc(p, bytes ? bytes : 1);
    if (!grown)
        abort();
    return grown;
}

static int hex(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

/* The quoted text at *p, its escapes resolved; NULL when there is none. */
static char *take_text(char **p, size_t *n)
{
    char quote, *from, *to;
    while (**p == ' ')
        (*p)++;
    quote = **p;
    if (quote != '\'' && quote != '"')
        return NULL;
    from = ++*p;
    to = from;
    char *text = from;
    for (; *from && *from != quote; from++) {
        if (*from != '\\') {
            *to++ = *from;
        } else if (from[1] == 'x' && hex(from[2]) >= 0 && hex(from[3]) >= 0) {
            *to++ = (char)(hex(from[2]) * 16 + hex(from[3]));
            from += 3;
        } else if (from[1]) {
            from++;
            *to++ = *from == 'r' ? '\r' : *from == 'n' ? '\n' : *from == 't' ? '\t' : *from;
        }
    }
    if (*from != quote)
        return NULL;
    *p = from + 1;
    *n = (size_t)(to - text);
    return text;
}

char *script_word(char **p)
{
    while (**p == ' ')
        (*p)++;
    char *word = *p;
    while (**p && **p != ' ')
        (*p)++;
    if (**p)
        *(*p)++ = '\0';
    return word;
}

static bool take_number(char **p, long *number)
{
    char *end;
    *number = strtol(*p, &end, 10);
    if (end == *p || *number < 0)
        return false;
    *p = end;
    return true;
}

/* As often as fits into a block, so that `fill 9000000 ' '` is not a system call a byte. */
static void keep_text(struct step *s, const char *text, size_t n)
{
    size_t copies = s->kind == FILL && n && n < BLOCK_BYTES_MIN ? BLOCK_BYTES_MIN / n : 1;
    s->text = grow(NULL, n * copies);
    for (size_t i = 0; i < copies; i++)
        memcpy(s->text + i * n, text, n);
    s->n = n;
    s->block_n = n * copies;
}

static bool parse_reply(char **p, struct step *s)
{
    long status;
    size_t head_n, body_n;
    char *head, *body;
    if (!take_number(p, &status) || !(head = take_text(p, &head_n)) || !(body = take_text(p, &body_n)))
        return false;
    char *text = grow(NULL, head_n + body_n + 128);
    int n = sprintf(text, "HTTP/1.1 %ld Reply\r\n%.*s%scontent-length: %zu\r\n\r\n", status, (int)head_n, head,
                    head_n ? "\r\n" : "", body_n);
    memcpy(text + n, body, body_n);
    s->kind = SEND;
    keep_text(s, text, (size_t)n + body_n);
    free(text);
    return true;
}

static bool parse_file(char **p, struct step *s)
{
    char block[4096];
    char *text = NULL;
    size_t n = 0, got;
    FILE *file = fopen(script_word(p), "rb");
    if (!file)
        return false;
    while ((got = fread(block, 1, sizeof block, file)) > 0) {
        text = grow(text, n + got);
        memcpy(text + n, block, got);
        n += got;
    }
    fclose(file);
    s->kind = FILL; /* whole, even where everything else is split: a file is large */
    s->number = 1;
    keep_text(s, text ? text : "", n);
    free(text);
    return true;
}

static bool parse_step(const char *word, char **p, struct step *s)
{
    static const struct {
        const char *word;
        enum kind kind;
        bool has_number, has_text;
    } words[] = {{"send", SEND, false, true},      {"fill", FILL, true, true},
                 {"sleep", SLEEP, true, false},    {"split", SPLIT, true, false},
                 {"repeat", REPEAT, false, false}, {"stall", STALL, false, false},
                 {"close", CLOSE, false, false},   {"reset", RESET, false, false},
                 {"refuse", REFUSE, false, false}, {"blackhole", BLACKHOLE, false, false},
                 {"/", NEXT_SCRIPT, false, false}};
    memset(s, 0, sizeof *s);
    if (strcmp(word, "read") == 0) {
        s->kind = READ;
        take_number(p, &s->number);
        return true;
    }
    if (strcmp(word, "reply") == 0)
        return parse_reply(p, s);
    if (strcmp(word, "body") == 0)
        return parse_file(p, s);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(word, words[i].word) != 0)
            continue;
        size_t n;
        char *text = NULL;
        s->kind = words[i].kind;
        if ((words[i].has_number && !take_number(p, &s->number)) || (words[i].has_text && !(text = take_text(p, &n))))
            return false;
        if (text)
            keep_text(s, text, n);
        return true;
    }
    return false;
}

const char *script_parse(char *line, struct script **out, size_t *out_n)
{
    struct script *scripts = NULL, *last = NULL;
    size_t n = 0;
    for (char *word = script_word(&line); *word; word = script_word(&line)) {
        struct step s;
        if (!parse_step(word, &line, &s))
            return word;
        if (s.kind == NEXT_SCRIPT)
            last = NULL;
        if (!last) {
            scripts = grow(scripts, (n + 1) * sizeof *scripts);
            last = &scripts[n++];
            memset(last, 0, sizeof *last);
        }
        if (s.kind == NEXT_SCRIPT)
            continue;
        last->steps = grow(last->steps, (last->n + 1) * sizeof s);
        last->steps[last->n++] = s;
    }
    for (size_t i = 0; i < n; i++)
        if (scripts[i].n == 0)
            return "/";
    *out = scripts;
    *out_n = n;
    return NULL;
}
