/*
 * serve_peers.h - how many connections each address has. An IPv4 address is one peer, mapped into IPv6 or not; of IPv6 a
 * peer is a /64, which is the least that anybody has. This machine's own connections are not counted.
 */
#ifndef PERILUNE_SERVE_PEERS_H
#define PERILUNE_SERVE_PEERS_H

#include "../base/base.h"

#include <stdint.h>
#include <sys/socket.h>

#define SERVE_PEER_BUCKETS 1024

struct serve_peer; /* owned by the table; goes with its last connection */

struct serve_peers { /* owned by a server; zeroed memory but for the seed is an empty one */
    struct serve_peer *buckets[SERVE_PEER_BUCKETS];
    uint64_t seed; /* so that nobody chooses addresses of one bucket */
};

void serve_peers_init(struct serve_peers *ps);
/* Counts a connection. False: its address has `max` already, and it is not counted. *out is for serve_peers_leave; NULL
 * when nothing was counted: the address is this machine's, or max is 0 (no limit). */
MUST_CHECK bool serve_peers_enter(struct serve_peers *ps, const struct sockaddr_storage *from, size_t max,
                                  struct serve_peer **out);
void serve_peers_leave(struct serve_peers *ps, struct serve_peer *peer); /* peer may be NULL */

#endif
