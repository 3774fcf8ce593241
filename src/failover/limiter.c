/*
 * limiter.c - counting slots, and a list sorted by deadline. Those who wait mostly have the same patience, so a new one
 * nearly always belongs at the end: it is searched from there.
 */
#include "limiter.h"

void limiter_init(struct limiter *l, int inflight_max, int queue_max)
{
    *l = (struct limiter){.inflight_max = inflight_max, .queue_max = queue_max};
    list_init(&l->waits);
}

static bool has_slot(const struct limiter *l)
{
    return l->inflight_max == 0 || l->inflight < l->inflight_max;
}

bool limiter_take(struct limiter *l)
{
    if (!has_slot(l))
        return false;
    l->inflight++;
    return true;
}

bool limiter_join(struct limiter *l, struct limiter_wait *w)
{
    ASSERT(w->state == LIMITER_IDLE);
    if (l->queued >= l->queue_max)
        return false;
    struct list *before = l->waits.prev;
    while (before != &l->waits && CONTAINER_OF(before, struct limiter_wait, node)->deadline_us > w->deadline_us)
        before = before->prev;
    list_append(before->next, &w->node);
    w->state = LIMITER_QUEUED;
    l->queued++;
    return true;
}

void limiter_give(struct limiter *l)
{
    ASSERT(l->inflight > 0);
    l->inflight--;
}

void limiter_leave(struct limiter *l, struct limiter_wait *w)
{
    if (w->state == LIMITER_QUEUED) {
        list_remove(&w->node);
        l->queued--;
    } else if (w->state == LIMITER_GRANTED) {
        limiter_give(l);
    }
    w->state = LIMITER_IDLE;
}

void limiter_grant(struct limiter *l, struct list *granted)
{
    struct list *node;
    while (has_slot(l) && (node = list_first(&l->waits))) {
        list_remove(node);
        list_append(granted, node);
        CONTAINER_OF(node, struct limiter_wait, node)->state = LIMITER_GRANTED;
        l->queued--;
        l->inflight++;
    }
}

void limiter_wake(struct list *granted)
{
    struct list *node;
    while ((node = list_first(granted))) {
        struct limiter_wait *w = CONTAINER_OF(node, struct limiter_wait, node);
        list_remove(node);
        w->ready(w); /* it may be gone now */
    }
}
