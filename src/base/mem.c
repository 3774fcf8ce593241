/*
 * mem.c - malloc with the error path removed. The only file that may call malloc and free
 * (script/state.c, which must be able to fail, calls realloc for Lua).
 */
#include "mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void assert_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "perilune: %s:%d: assertion failed: %s\n", file, line, cond);
    abort();
}

NORETURN static void out_of_memory(size_t bytes)
{
    fprintf(stderr, "perilune: out of memory (wanted %zu bytes)\n", bytes);
    abort();
}

void *mem_alloc(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    if (!p)
        out_of_memory(bytes);
    return p;
}

void *mem_zero(size_t count, size_t bytes)
{
    void *p = calloc(count ? count : 1, bytes ? bytes : 1);
    if (!p)
        out_of_memory(count * bytes);
    return p;
}

void *mem_resize(void *old, size_t bytes)
{
    void *p = realloc(old, bytes ? bytes : 1);
    if (!p)
        out_of_memory(bytes);
    return p;
}

char *mem_dup(const void *p, size_t bytes)
{
    char *copy = mem_alloc(bytes + 1);
    if (bytes)
        memcpy(copy, p, bytes);
    copy[bytes] = '\0';
    return copy;
}

char *mem_str(const char *s)
{
    return s ? mem_dup(s, strlen(s)) : NULL;
}

void mem_free(void *p)
{
    free(p);
}

void mem_wipe(void *p, size_t bytes)
{
    explicit_bzero(p, bytes);
}
