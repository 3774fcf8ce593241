/*
 * owner.c - the identity of a process, from /proc. The start time is what makes a process id unique, and the boot
 * id what makes the start time unique. Reads are a few hundred bytes that the kernel makes up: they do not wait.
 */
#include "owner.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BOOT_ID_BYTES 36
#define STAT_BYTES 1024
#define STAT_START_FIELD 22

/* The beginning of a file, as text; -1: errno. */
static ssize_t read_text(const char *path, char *out, size_t bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, out, bytes - 1);
    int saved = errno;
    close(fd);
    errno = saved;
    out[n > 0 ? n : 0] = '\0';
    return n;
}

static bool read_boot_id(char out[BOOT_ID_BYTES + 1])
{
    return read_text("/proc/sys/kernel/random/boot_id", out, BOOT_ID_BYTES + 1) == BOOT_ID_BYTES;
}

/* When the process started, in clock ticks since boot; 0: there is none, or it is dead and not reaped. The name of
 * the program may contain anything, so fields are counted from the last parenthesis. */
static uint64_t start_of(int64_t pid)
{
    char path[40], text[STAT_BYTES];
    snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
    if (read_text(path, text, sizeof text) <= 0)
        return 0;
    const char *p = strrchr(text, ')');
    if (!p || p[1] != ' ' || p[2] == 'Z' || p[2] == 'X')
        return 0;
    for (int field = 2; p && field < STAT_START_FIELD; field++)
        p = strchr(p + 1, ' ');
    return p ? strtoull(p + 1, NULL, 10) : 0;
}

enum err owner_self(char out[OWNER_BYTES], struct err_info *info)
{
    char boot_id[BOOT_ID_BYTES + 1];
    int64_t pid = getpid();
    uint64_t start = start_of(pid);
    if (!start || !read_boot_id(boot_id))
        return err_os(info, ERR_IO, errno, "cannot read this process's identity from /proc");
    snprintf(out, OWNER_BYTES, "%s:%" PRId64 ":%" PRIu64, boot_id, pid, start);
    return ERR_OK;
}

bool owner_is_alive(const char *owner)
{
    char boot_id[BOOT_ID_BYTES + 1];
    if (!read_boot_id(boot_id) || strncmp(owner, boot_id, BOOT_ID_BYTES) != 0 || owner[BOOT_ID_BYTES] != ':')
        return false;
    char *end;
    errno = 0;
    long long pid = strtoll(owner + BOOT_ID_BYTES + 1, &end, 10);
    if (errno || pid <= 0 || *end != ':')
        return false;
    unsigned long long start = strtoull(end + 1, &end, 10);
    return !errno && *end == '\0' && start != 0 && start_of(pid) == start;
}
