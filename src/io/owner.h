/*
 * owner.h - who holds something that outlives processes (a run, a lock row): a name for this process that no other
 * process on this machine ever has, and the question whether the process with such a name still lives.
 *
 * A name is "boot_id:pid:start". It means something only where /proc shows the same processes: hosts in different
 * containers must not share what is guarded by it.
 */
#ifndef PERILUNE_OWNER_H
#define PERILUNE_OWNER_H

#include "../base/err.h"

#define OWNER_BYTES 96

MUST_CHECK enum err owner_self(char out[OWNER_BYTES], struct err_info *info);
/* False also for what is not a name, and for a zombie. */
bool owner_is_alive(const char *owner);

#endif
