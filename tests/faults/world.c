/*
 * world.c - the world around a process, for tests: name resolution and the clocks, loaded before libc (LD_PRELOAD). The
 * file named by PERILUNE_WORLD says how it is, and may change at any time: `NAMES SECONDS MS`.
 *
 * NAMES: `answers` (every name under .test is this machine), `missing` (it does not exist), `failing` (the server is
 * broken), `silent` (the server does not answer, for as long as the file says so). SECONDS are added to the wall clock.
 * MS is how long the process is held up whenever it looks at the other clock.
 */
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TOP_LEVEL ".test"
#define SILENCE_MS 10

struct world {
    char names[16];
    long seconds, held_up_ms;
};

static struct world look(void)
{
    struct world w = {"answers", 0, 0};
    const char *path = getenv("PERILUNE_WORLD");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file)
        return w;
    if (fscanf(file, "%15s %ld %ld", w.names, &w.seconds, &w.held_up_ms) != 3)
        w = (struct world){"answers", 0, 0}; /* it is being written */
    fclose(file);
    return w;
}

static void wait_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static void *next_symbol(const char *name)
{
    void *symbol = dlsym(RTLD_NEXT, name);
    if (!symbol)
        abort();
    return symbol;
}

int getaddrinfo(const char *restrict node, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict result)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = next_symbol("getaddrinfo");
    size_t n = node ? strlen(node) : 0, suffix_n = strlen(TOP_LEVEL);
    if (n < suffix_n || strcmp(node + n - suffix_n, TOP_LEVEL) != 0)
        return real(node, service, hints, result);
    struct world w = look();
    for (; strcmp(w.names, "silent") == 0; w = look())
        wait_ms(SILENCE_MS);
    if (strcmp(w.names, "missing") == 0)
        return EAI_NONAME;
    if (strcmp(w.names, "failing") == 0)
        return EAI_AGAIN;
    return real("127.0.0.1", service, hints, result);
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    int (*real)(clockid_t, struct timespec *);
    *(void **)&real = next_symbol("clock_gettime");
    struct world w = look();
    if (id != CLOCK_REALTIME && w.held_up_ms)
        wait_ms(w.held_up_ms);
    int rc = real(id, t);
    if (rc == 0 && id == CLOCK_REALTIME)
        t->tv_sec += w.seconds;
    return rc;
}
