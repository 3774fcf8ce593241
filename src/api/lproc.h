/*
 * lproc.h - the second half of perilune.sys.proc, for lproc.c only.
 */
#ifndef PERILUNE_LPROC_H
#define PERILUNE_LPROC_H

#include <lua.h>

/* [-0, +0, m] Adds the functions about this process to the table on top. */
void lproc_self_install(lua_State *L);

#endif
