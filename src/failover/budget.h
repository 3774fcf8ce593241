/*
 * budget.h - the retry budget of a process: retries must not multiply the load of an upstream that is already in trouble.
 * A retry may begin while fewer than FAILOVER_RETRIES_FREE are under way, or while the retries of the last
 * FAILOVER_BUDGET_US are fewer than a tenth of its requests. A value without clock or lock; zeroed memory is a fresh one.
 */
#ifndef PERILUNE_BUDGET_H
#define PERILUNE_BUDGET_H

#include "window.h"

struct budget {
    struct window window; /* all: requests; marked: retries */
    int under_way;
};

void budget_request(struct budget *b, int64_t now_us);
/* True: it is counted, budget_end() must follow. */
MUST_CHECK bool budget_begin(struct budget *b, int64_t now_us);
void budget_end(struct budget *b);

#endif
