/*
 * serve_peers.c - how many connections each address has: a hash table of those that have any. It is asked for each
 * connection that is accepted, also when one address opens them as fast as it can, so it does not walk along them.
 */
#include "serve_peers.h"

#include "../base/mem.h"

#include <endian.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/random.h>

struct serve_peer {
    struct serve_peer *next; /* of the bucket */
    uint64_t key;
    size_t count;
};

void serve_peers_init(struct serve_peers *ps)
{
    memset(ps, 0, sizeof *ps);
    ssize_t n = getrandom(&ps->seed, sizeof ps->seed, GRND_NONBLOCK);
    UNUSED(n); /* without one the table is slower for whoever attacks it, and for all, but right */
}

static uint64_t ipv4_key(const unsigned char *p)
{
    uint32_t address;
    memcpy(&address, p, sizeof address);
    return 1ull << 32 | address; /* as an IPv6 prefix, 0:1::, it is nobody's */
}

/* 0: this machine. */
static uint64_t key_of(const struct sockaddr_storage *from)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (from->ss_family != AF_INET6) {
        const unsigned char *p = (const unsigned char *)&((const struct sockaddr_in *)from)->sin_addr;
        return p[0] == 127 ? 0 : ipv4_key(p);
    }
    const unsigned char *p = ((const struct sockaddr_in6 *)from)->sin6_addr.s6_addr;
    if (memcmp(p, mapped, sizeof mapped) == 0)
        return p[12] == 127 ? 0 : ipv4_key(p + 12);
    uint64_t prefix; /* of ::1 it is 0 */
    memcpy(&prefix, p, sizeof prefix);
    return be64toh(prefix);
}

static struct serve_peer **bucket_of(struct serve_peers *ps, uint64_t key)
{
    uint64_t h = key ^ ps->seed; /* the end of MurmurHash3: every bit of the key reaches every bit of the hash */
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
    return &ps->buckets[(h ^ h >> 33) % SERVE_PEER_BUCKETS];
}

bool serve_peers_enter(struct serve_peers *ps, const struct sockaddr_storage *from, size_t max, struct serve_peer **out)
{
    uint64_t key = key_of(from);
    *out = NULL;
    if (!key || !max)
        return true;
    struct serve_peer **bucket = bucket_of(ps, key), *peer = *bucket;
    while (peer && peer->key != key)
        peer = peer->next;
    if (!peer) {
        peer = mem_zero(1, sizeof *peer);
        *peer = (struct serve_peer){.next = *bucket, .key = key};
        *bucket = peer;
    }
    if (peer->count >= max)
        return false;
    peer->count++;
    *out = peer;
    return true;
}

void serve_peers_leave(struct serve_peers *ps, struct serve_peer *peer)
{
    if (!peer || --peer->count)
        return;
    struct serve_peer **link = bucket_of(ps, peer->key);
    while (*link != peer)
        link = &(*link)->next;
    *link = peer->next;
    mem_free(peer);
}
