/*
 * sockets.h - the libuv polls of curl's sockets, one per descriptor, and curl's timer. A kept-alive
 * connection stays armed between two requests, which saves two epoll_ctl calls a request.
 */
#ifndef PERILUNE_SOCKETS_H
#define PERILUNE_SOCKETS_H

#include "address.h"
#include "curl.h"
#include "loop.h"

struct sockets; /* owned by the fetcher */

struct shard { /* one multi handle; embedded in the fetcher's list */
    struct sockets *sockets;
    CURLM *multi;
    struct loop_timer timer;
    size_t live;
    void (*on_done)(struct shard *s, CURL *easy, CURLcode result);
};

struct opener { /* for one transfer; embedded in its fetch */
    struct sockets *sockets;
    const struct address_policy *addresses; /* NULL: all */
    int os_errno; /* why the last socket could not be opened, 0: it could; curl does not say */
    const char *refusal; /* what the last address is that was not to be connected to; NULL: it was */
    char refused[ADDRESS_TEXT_BYTES];
};

/* Is the peer of a connection that stands already, in writing, one that this transfer may not have? Then the opener says so. */
bool opener_refuses(struct opener *opener, const char *peer);

struct sockets *sockets_new(struct loop *l, const struct curl *c);
void sockets_free(struct sockets *ss); /* after every shard is closed */
/* Connects a multi handle to the loop; on_done runs outside of curl, once for each finished transfer. */
void shard_open(struct shard *s, struct sockets *ss, void (*on_done)(struct shard *s, CURL *easy, CURLcode result));
void shard_close(struct shard *s);
/* Makes curl open and close this handle's sockets through the table, to these addresses only. */
void shard_adopt(struct shard *s, CURL *easy, struct opener *opener, const struct address_policy *addresses);

#endif
