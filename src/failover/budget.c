/*
 * budget.c - the rule of the retry budget.
 */
#include "budget.h"

#include "../base/limits.h"

void budget_request(struct budget *b, int64_t now_us)
{
    window_add(&b->window, FAILOVER_BUDGET_US, now_us, 1, 0);
}

bool budget_begin(struct budget *b, int64_t now_us)
{
    struct window_count count = window_count(&b->window, FAILOVER_BUDGET_US, now_us);
    if (b->under_way >= FAILOVER_RETRIES_FREE && count.marked * 10 >= count.all)
        return false;
    window_add(&b->window, FAILOVER_BUDGET_US, now_us, 0, 1);
    b->under_way++;
    return true;
}

void budget_end(struct budget *b)
{
    if (b->under_way > 0) /* it may have been reset meanwhile */
        b->under_way--;
}
