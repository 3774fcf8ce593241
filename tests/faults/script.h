/*
 * script.h - what a port of the fault server plays, parsed: scripts, one for each connection, of steps. docs/faults.md explains them.
 */
#ifndef FAULTS_SCRIPT_H
#define FAULTS_SCRIPT_H

#include <stddef.h>

enum kind { READ, SEND, FILL, SLEEP, SPLIT, REPEAT, STALL, CLOSE, RESET, REFUSE, BLACKHOLE, NEXT_SCRIPT };

struct step {
    enum kind kind;
    long number; /* bytes, milliseconds, copies */
    char *text;
    size_t n, block_n;
};

struct script { /* never freed: a connection may still play it when its port has another one */
    struct step *steps;
    size_t n;
};

/* The scripts of a line; returns the word that makes no sense, or NULL. The line is taken apart. An empty one has no script. */
const char *script_parse(char *line, struct script **scripts, size_t *n);

/* The next word of a line, "" at its end. */
char *script_word(char **line);

/* realloc that does not fail. */
void *grow(void *p, size_t bytes);

#endif
