/*
 * address.c - the registers of special addresses (IANA, RFC 6890 and its successors) as a table in words. The words are read
 * anew for every question: a few microseconds beside a connection, and no state.
 *
 * IPv6 is refused unless it is known to be public (2000::/3 without its exceptions); what leads into IPv4 by translation is
 * judged by the IPv4 address, or refused where nobody uses it any more.
 */
#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAPPED_BITS 96

static const struct special {
    const char *range, *what;
} specials[] = {
    /* the first that fits gives the name */
    {"169.254.169.254", "a cloud metadata address"},
    {"169.254.170.2", "a cloud metadata address"}, /* containers */
    {"100.100.100.200", "a cloud metadata address"},
    {"168.63.129.16", "a cloud metadata address"}, /* looks public, and is the host's */
    {"192.0.0.192", "a cloud metadata address"},
    {"fd00:ec2::/32", "a cloud metadata address"},
    {"fd20:ce::254", "a cloud metadata address"},
    {"0.0.0.0/8", "an address of this host"},
    {"10.0.0.0/8", "a private address"},
    {"100.64.0.0/10", "a carrier's private address"},
    {"127.0.0.0/8", "a loopback address"},
    {"169.254.0.0/16", "a link-local address"},
    {"172.16.0.0/12", "a private address"},
    {"192.0.0.0/24", "a reserved address"},
    {"192.0.2.0/24", "an address for documentation"},
    {"192.88.99.0/24", "a 6to4 relay"},
    {"192.168.0.0/16", "a private address"},
    {"198.18.0.0/15", "an address for benchmarks"},
    {"198.51.100.0/24", "an address for documentation"},
    {"203.0.113.0/24", "an address for documentation"},
    {"224.0.0.0/4", "a multicast address"},
    {"255.255.255.255", "a broadcast address"},
    {"240.0.0.0/4", "a reserved address"},
    {"::", "an address of this host"},
    {"::1", "a loopback address"},
    {"::/96", "an IPv4-compatible address"},
    {"::ffff:0:0:0/96", "an IPv4-translated address"},
    {"64:ff9b:1::/48", "a local translation of IPv4"},
    {"100::/64", "a discard address"},
    {"2001::/32", "a Teredo address"},
    {"2001::/23", "a reserved address"},
    {"2001:db8::/32", "an address for documentation"},
    {"2002::/16", "a 6to4 address"},
    {"3fff::/20", "an address for documentation"},
    {"fc00::/7", "a private address"},
    {"fe80::/10", "a link-local address"},
    {"fec0::/10", "a site-local address"},
    {"ff00::/8", "a multicast address"},
};

/* Ranges */

static void map_ipv4(const void *ipv4, uint8_t out[16])
{
    memset(out, 0, 10);
    memset(out + 10, 0xff, 2);
    memcpy(out + 12, ipv4, 4);
}

static bool bytes_of(const struct sockaddr *address, uint8_t out[16])
{
    if (address->sa_family == AF_INET)
        map_ipv4(&((const struct sockaddr_in *)(const void *)address)->sin_addr, out);
    else if (address->sa_family == AF_INET6)
        memcpy(out, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
    return address->sa_family == AF_INET || address->sa_family == AF_INET6;
}

/* "8" -> 8; nothing but digits. */
static bool parse_bits(const char *text, unsigned max, unsigned *out)
{
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 3 || text[n])
        return false;
    *out = (unsigned)strtoul(text, NULL, 10);
    return *out <= max;
}

bool address_parse_range(const char *text, struct address_range *out)
{
    char host[ADDRESS_TEXT_BYTES];
    struct in_addr ipv4;
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    if (n >= sizeof host)
        return false;
    memcpy(host, text, n);
    host[n] = '\0';
    unsigned first_bits = 0;
    if (inet_pton(AF_INET, host, &ipv4) == 1) {
        map_ipv4(&ipv4, out->bytes);
        first_bits = MAPPED_BITS;
    } else if (inet_pton(AF_INET6, host, out->bytes) != 1) {
        return false;
    }
    out->bits = 128;
    if (slash) {
        if (!parse_bits(slash + 1, 128 - first_bits, &out->bits))
            return false;
        out->bits += first_bits;
    }
    return true;
}

static bool is_in(const struct address_range *range, const uint8_t bytes[16])
{
    unsigned whole = range->bits / 8, rest = range->bits % 8;
    if (memcmp(range->bytes, bytes, whole) != 0)
        return false;
    return rest == 0 || (range->bytes[whole] ^ bytes[whole]) >> (8 - rest) == 0;
}

static bool is_in_text(const char *text, const uint8_t bytes[16])
{
    struct address_range range;
    bool is_range = address_parse_range(text, &range);
    ASSERT(is_range);
    return is_in(&range, bytes);
}

bool address_is_in(const struct address_range *range, const struct sockaddr *address)
{
    uint8_t bytes[16];
    return bytes_of(address, bytes) && is_in(range, bytes);
}

/* Judging */

static const char *why_not_public(const uint8_t given[16])
{
    uint8_t bytes[16];
    if (is_in_text("64:ff9b::/96", given)) /* NAT64: a network without IPv4 reaches the rest of the world so */
        map_ipv4(given + 12, bytes);
    else
        memcpy(bytes, given, sizeof bytes);
    for (size_t i = 0; i < ARRAY_LEN(specials); i++)
        if (is_in_text(specials[i].range, bytes))
            return specials[i].what;
    return is_in_text("::ffff:0:0/96", bytes) || is_in_text("2000::/3", bytes) ? NULL : "a reserved address";
}

const char *address_why_not_public(const struct sockaddr *address)
{
    uint8_t bytes[16];
    return bytes_of(address, bytes) ? why_not_public(bytes) : "not an Internet address";
}

const char *address_refusal(const struct address_policy *policy, const struct sockaddr *address)
{
    for (size_t i = 0; policy && i < policy->allowed_n; i++)
        if (address_is_in(&policy->allowed[i], address))
            return NULL;
    return policy ? address_why_not_public(address) : NULL;
}

const char *address_refusal_of_text(const struct address_policy *policy, const char *text)
{
    struct sockaddr_in ipv4 = {.sin_family = AF_INET};
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &ipv4.sin_addr) == 1)
        return address_refusal(policy, (const struct sockaddr *)&ipv4);
    if (inet_pton(AF_INET6, text, &ipv6.sin6_addr) == 1)
        return address_refusal(policy, (const struct sockaddr *)&ipv6);
    return policy ? "not an Internet address" : NULL;
}

const char *address_text(const struct sockaddr *address, char out[ADDRESS_TEXT_BYTES])
{
    const void *bytes = address->sa_family == AF_INET6
                            ? (const void *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr
                            : (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
    bool is_internet = address->sa_family == AF_INET || address->sa_family == AF_INET6;
    if (!is_internet || !inet_ntop(address->sa_family, bytes, out, ADDRESS_TEXT_BYTES))
        snprintf(out, ADDRESS_TEXT_BYTES, "an address of family %d", address->sa_family);
    return out;
}
