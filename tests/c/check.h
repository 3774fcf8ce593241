/*
 * check.h - what every C test uses: CHECK counts, a failure prints where and what, and main ends with
 * `return check_report();`.
 */
#ifndef PERILUNE_CHECK_H
#define PERILUNE_CHECK_H

#include <stdbool.h>
#include <stdio.h>

static int checks_passed, checks_failed, checks_skipped;

#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)

/* Returns the condition, so that a test may print more about a failure. */
static inline bool check(bool holds, const char *condition, const char *file, int line)
{
    if (!holds)
        fprintf(stderr, "%s:%d: failed: %s\n", file, line, condition);
    *(holds ? &checks_passed : &checks_failed) += 1;
    return holds;
}

/* What could not be checked here, for want of that. */
static inline void check_skip(const char *missing)
{
    fprintf(stderr, "skipped: no %s\n", missing);
    checks_skipped++;
}

/* Call once, at the end; no checks at all is a failure too. */
static inline int check_report(void)
{
    printf("%d passed, %d failed, %d skipped\n", checks_passed, checks_failed, checks_skipped);
    return checks_failed > 0 || checks_passed + checks_skipped == 0;
}

#endif
