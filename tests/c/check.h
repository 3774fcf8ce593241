/*
 * check.h - what every C test uses: CHECK counts, a failure prints where and what, and main ends with
 * `return check_report();`.
 */
#ifndef PERILUNE_CHECK_H
#define PERILUNE_CHECK_H

#include <stdbool.h>
#include <stdio.h>

static int checks_passed, checks_failed;

#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)

/* Returns the condition, so that a test may print more about a failure. */
static inline bool check(bool holds, const char *condition, const char *file, int line)
{
    if (!holds)
        fprintf(stderr, "%s:%d: failed: %s\n", file, line, condition);
    *(holds ? &checks_passed : &checks_failed) += 1;
    return holds;
}

/* Call once, at the end; no checks at all is a failure too. */
static inline int check_report(void)
{
    printf("%d passed, %d failed\n", checks_passed, checks_failed);
    return checks_failed > 0 || checks_passed == 0;
}

#endif
