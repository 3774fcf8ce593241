/*
 * address.h - what kind of place an Internet address is, judged by its bytes alone: names and spellings are the resolver's
 * business, and whoever asks here has what it said. Pure functions; any thread.
 */
#ifndef PERILUNE_ADDRESS_H
#define PERILUNE_ADDRESS_H

#include <sys/socket.h>

#include "../base/base.h"

#define ADDRESS_TEXT_BYTES 48
#define ADDRESS_RANGES_MAX 64 /* of one policy */

struct address_range { /* IPv4 stands in its mapped form, ::ffff:a.b.c.d */
    uint8_t bytes[16];
    unsigned bits; /* how many of them count, from the first */
};

struct address_policy { /* public addresses, and those in these ranges */
    struct address_range allowed[ADDRESS_RANGES_MAX];
    size_t allowed_n;
};

/* "10.0.0.0/8", "127.0.0.1", "fd00::/8"; what is beyond the bits does not count. False: none of these. */
bool address_parse_range(const char *text, struct address_range *out);
bool address_is_in(const struct address_range *range, const struct sockaddr *address);

/* NULL for an address that belongs to the whole Internet, else what it is: "a loopback address". */
const char *address_why_not_public(const struct sockaddr *address);
/* NULL: one may connect to it; else what it is. A policy that is NULL allows everything. */
const char *address_refusal(const struct address_policy *policy, const struct sockaddr *address);
/* The same for an address in writing, without brackets. What cannot be read is refused. */
const char *address_refusal_of_text(const struct address_policy *policy, const char *text);

/* The address in writing, without a port; returns `out`. */
const char *address_text(const struct sockaddr *address, char out[ADDRESS_TEXT_BYTES]);

#endif
