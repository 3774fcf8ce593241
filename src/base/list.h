/*
 * list.h - an intrusive, circular, doubly linked list. A node that is in no list points to itself, so
 * removing twice is harmless. Owns nothing.
 */
#ifndef PERILUNE_LIST_H
#define PERILUNE_LIST_H

#include "base.h"

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_is_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_append(struct list *l, struct list *node)
{
    node->prev = l->prev;
    node->next = l;
    l->prev->next = node;
    l->prev = node;
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* First node, or NULL. */
static inline struct list *list_first(const struct list *l)
{
    return l->next == l ? NULL : l->next;
}

/* Moves all nodes of `from` to the (initialised, empty) list `to`. */
static inline void list_move_all(struct list *from, struct list *to)
{
    list_init(to);
    if (list_is_empty(from))
        return;
    to->next = from->next;
    to->prev = from->prev;
    to->next->prev = to;
    to->prev->next = to;
    list_init(from);
}

#endif
