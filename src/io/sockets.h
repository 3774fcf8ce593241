/*
 * sockets.h - the libuv polls of curl's sockets, one per descriptor, and curl's timer. A kept-alive
 * connection stays armed between two requests, which saves two epoll_ctl calls a request.
 */
#ifndef PERILUNE_SOCKETS_H
#define PERILUNE_SOCKETS_H

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
    int os_errno; /* why the last socket could not be opened, 0: it could; curl does not say */
};

struct sockets *sockets_new(struct loop *l, const struct curl *c);
void sockets_free(struct sockets *ss); /* after every shard is closed */
/* Connects a multi handle to the loop; on_done runs outside of curl, once for each finished transfer. */
void shard_open(struct shard *s, struct sockets *ss, void (*on_done)(struct shard *s, CURL *easy, CURLcode result));
void shard_close(struct shard *s);
/* Makes curl open and close this handle's sockets through the table. */
void shard_adopt(struct shard *s, CURL *easy, struct opener *opener);

#endif
