/*
 * pool.h - memory for many small objects that come and go: the tables, strings and closures of a Lua state. A block of
 * up to POOL_BYTES_MAX bytes is a slot of its size class; slots come out of large arenas, and a slot that is given
 * back is the next one of its class that is handed out. The C library's allocator does the same with locks and
 * bookkeeping that a state, which is one thread's, does not need: it was a sixth of what an answer costs.
 *
 * Arenas are given back to the system with the pool, not before. One thread at a time.
 */
#ifndef PERILUNE_POOL_H
#define PERILUNE_POOL_H

#include "../base/base.h"

#define POOL_BYTES_MAX 256
#define POOL_STEP_BYTES 16
#define POOL_CLASSES (POOL_BYTES_MAX / POOL_STEP_BYTES)

struct pool { /* zeroed memory is an empty pool */
    void *free[POOL_CLASSES];  /* each slot begins with a pointer to the next */
    char *fresh, *fresh_end;   /* of the newest arena */
    void *arenas;              /* each begins with a pointer to the next */
};

/* Grows, shrinks or moves a block of old_bytes (0: none) to new_bytes (0: freed, NULL). NULL when there is no memory;
 * the old block stays then; what shrinks always succeeds. The caller knows the size of what it gives back, as Lua does. */
void *pool_resize(struct pool *p, void *old, size_t old_bytes, size_t new_bytes);
/* Gives everything back, also blocks that are in use. */
void pool_deinit(struct pool *p);

#endif
