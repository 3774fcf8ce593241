/* The allocator of Lua states: what is handed out does not overlap, keeps what was written, and comes back. */
#include "../../src/script/pool.h"
#include "check.h"

#include <stdlib.h>
#include <string.h>

#define BLOCKS 2000
#define ROUNDS 200000

struct block {
    unsigned char *p;
    size_t bytes;
    unsigned char mark;
};

static unsigned next_random(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static bool is_marked(const struct block *b, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (b->p[i] != b->mark)
            return false;
    return true;
}

static size_t any_size(unsigned *state)
{
    unsigned kind = next_random(state) % 10;
    return kind == 0 ? 0 : kind == 1 ? next_random(state) % 5000 + 1 : next_random(state) % (POOL_BYTES_MAX + 40) + 1;
}

static void test_any_history(void)
{
    static struct block blocks[BLOCKS];
    struct pool pool = {0};
    unsigned state = 7;
    bool is_right = true;
    for (int round = 0; round < ROUNDS; round++) {
        struct block *b = &blocks[next_random(&state) % BLOCKS];
        size_t bytes = any_size(&state);
        unsigned char *p = pool_resize(&pool, b->p, b->bytes, bytes);
        is_right &= (p != NULL) == (bytes > 0) && ((size_t)p % sizeof(void *)) == 0;
        b->p = p;
        is_right &= is_marked(b, b->bytes < bytes ? b->bytes : bytes);
        b->bytes = bytes;
        b->mark = (unsigned char)next_random(&state);
        if (bytes)
            memset(p, b->mark, bytes);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        is_right &= is_marked(&blocks[i], blocks[i].bytes);
        pool_resize(&pool, blocks[i].p, blocks[i].bytes, 0);
    }
    CHECK(is_right);
    pool_deinit(&pool);
    CHECK(pool.arenas == NULL);
}

/* What is given back is handed out again: a thousand rounds need no more arenas than one. */
static void test_reuse(void)
{
    struct pool pool = {0};
    void *first = pool_resize(&pool, NULL, 0, 100), *arena = pool.arenas;
    for (int i = 0; i < 100000; i++) {
        pool_resize(&pool, first, 100, 0);
        first = pool_resize(&pool, NULL, 0, 100);
    }
#if !defined(__SANITIZE_ADDRESS__)
    CHECK(arena != NULL);
#endif
    CHECK(pool.arenas == arena);
    pool_resize(&pool, first, 100, 0);
    pool_deinit(&pool);
}

int main(void)
{
    test_any_history();
    test_reuse();
    return check_report();
}
