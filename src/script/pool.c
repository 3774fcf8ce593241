/*
 * pool.c - size classes over arenas; larger blocks are the C library's. Under AddressSanitizer every block is the C
 * library's, so that a use after it was given back is found.
 */
#include "pool.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES (64u << 10)

#if defined(__SANITIZE_ADDRESS__)
#define IS_SMALL(bytes) false
#else
#define IS_SMALL(bytes) ((bytes) <= POOL_BYTES_MAX)
#endif

static size_t class_of(size_t bytes)
{
    return (bytes - 1) / POOL_STEP_BYTES;
}

static bool add_arena(struct pool *p)
{
    char *arena = malloc(ARENA_BYTES);
    if (!arena)
        return false;
    *(void **)arena = p->arenas;
    p->arenas = arena;
    p->fresh = arena + POOL_STEP_BYTES;
    p->fresh_end = arena + ARENA_BYTES;
    return true;
}

static void give_slot(struct pool *p, void *slot, size_t class)
{
    *(void **)slot = p->free[class];
    p->free[class] = slot;
}

/* What is left of an arena becomes slots of the classes that fit. */
static void use_up(struct pool *p)
{
    size_t left;
    while ((left = (size_t)(p->fresh_end - p->fresh)) >= POOL_STEP_BYTES) {
        size_t bytes = left < POOL_BYTES_MAX ? left / POOL_STEP_BYTES * POOL_STEP_BYTES : POOL_BYTES_MAX;
        give_slot(p, p->fresh, class_of(bytes));
        p->fresh += bytes;
    }
}

static void *take(struct pool *p, size_t bytes)
{
    if (!IS_SMALL(bytes))
        return malloc(bytes);
    size_t class = class_of(bytes), slot_bytes = (class + 1) * POOL_STEP_BYTES;
    void *slot = p->free[class];
    if (slot) {
        p->free[class] = *(void **)slot;
        return slot;
    }
    if ((size_t)(p->fresh_end - p->fresh) < slot_bytes) {
        use_up(p);
        if (!add_arena(p))
            return NULL;
    }
    slot = p->fresh;
    p->fresh += slot_bytes;
    return slot;
}

static void give(struct pool *p, void *block, size_t bytes)
{
    if (IS_SMALL(bytes))
        give_slot(p, block, class_of(bytes));
    else
        free(block);
}

void *pool_resize(struct pool *p, void *old, size_t old_bytes, size_t new_bytes)
{
    if (!old_bytes)
        return new_bytes ? take(p, new_bytes) : NULL;
    if (!new_bytes) {
        give(p, old, old_bytes);
        return NULL;
    }
    if (!IS_SMALL(old_bytes) && !IS_SMALL(new_bytes))
        return realloc(old, new_bytes);
    if (IS_SMALL(old_bytes) && IS_SMALL(new_bytes) && class_of(old_bytes) == class_of(new_bytes))
        return old;
    void *block = take(p, new_bytes);
    if (!block) /* shrinking must not fail: the block stays where it is, and becomes a slot when it is given back */
        return new_bytes < old_bytes ? old : NULL;
    memcpy(block, old, old_bytes < new_bytes ? old_bytes : new_bytes);
    give(p, old, old_bytes);
    return block;
}

void pool_deinit(struct pool *p)
{
    for (void *arena = p->arenas, *next; arena; arena = next) {
        next = *(void **)arena;
        free(arena);
    }
    *p = (struct pool){0};
}
