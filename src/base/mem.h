/*
 * mem.h - the host's own allocations. Out of memory aborts with a message, so no caller has an
 * error path for it. Memory that *scripts* ask for does not come from here: it goes through the
 * budgeted allocator of script/state.c, which fails politely.
 */
#ifndef PERILUNE_MEM_H
#define PERILUNE_MEM_H

#include "base.h"

void *mem_alloc(size_t bytes);                /* uninitialised; bytes may be 0 */
void *mem_zero(size_t count, size_t bytes);   /* zeroed array; aborts on overflow */
void *mem_resize(void *old, size_t bytes);    /* old may be NULL */
char *mem_dup(const void *p, size_t bytes);   /* copy plus a terminating NUL */
char *mem_str(const char *s);                 /* copy of a C string; NULL stays NULL */
void mem_free(void *p);                       /* NULL is fine */
void mem_wipe(void *p, size_t bytes);         /* zeroes, not optimised away: for secrets */

#endif
