/* test_serve_peers.c - connections counted by address. */
#include "../../src/io/serve_peers.h"
#include "check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

static struct sockaddr_storage at(const char *text)
{
    struct sockaddr_storage out = {0};
    struct sockaddr_in *in4 = (struct sockaddr_in *)&out;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&out;
    if (inet_pton(AF_INET, text, &in4->sin_addr) == 1) {
        in4->sin_family = AF_INET;
        return out;
    }
    CHECK(inet_pton(AF_INET6, text, &in6->sin6_addr) == 1);
    in6->sin6_family = AF_INET6;
    return out;
}

static bool enter(struct serve_peers *ps, const char *text, struct serve_peer **out)
{
    struct sockaddr_storage from = at(text);
    return serve_peers_enter(ps, &from, 2, out);
}

static void test_limit(void)
{
    struct serve_peers ps;
    struct serve_peer *a, *b, *c, *other;
    serve_peers_init(&ps);
    CHECK(enter(&ps, "192.0.2.1", &a) && enter(&ps, "192.0.2.1", &b) && a == b);
    CHECK(!enter(&ps, "192.0.2.1", &c) && !c);
    CHECK(enter(&ps, "192.0.2.2", &other) && other != a);
    serve_peers_leave(&ps, a);
    CHECK(enter(&ps, "192.0.2.1", &c));
    serve_peers_leave(&ps, b);
    serve_peers_leave(&ps, c);
    serve_peers_leave(&ps, other);
    for (size_t i = 0; i < SERVE_PEER_BUCKETS; i++)
        CHECK(!ps.buckets[i]);
}

static void test_who_is_who(void)
{
    static const struct {
        const char *one, *other;
        bool is_same;
    } rows[] = {
        {"192.0.2.1", "::ffff:192.0.2.1", true},
        {"2001:db8::1", "2001:db8::ffff:1", true}, /* one /64 */
        {"2001:db8::1", "2001:db8:0:1::1", false},
        {"2001:db8:100::1", "32.1.13.184", false}, /* the same bytes in front */
        {"0:1:c000:201::1", "192.0.2.2", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct serve_peers ps;
        struct serve_peer *one, *other;
        serve_peers_init(&ps);
        CHECK(enter(&ps, rows[i].one, &one) && enter(&ps, rows[i].other, &other) && (one == other) == rows[i].is_same);
        serve_peers_leave(&ps, one);
        serve_peers_leave(&ps, other);
    }
}

static void test_not_counted(void)
{
    static const char *const own[] = {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"};
    struct serve_peers ps;
    struct serve_peer *peer;
    struct sockaddr_storage from = at("192.0.2.1");
    serve_peers_init(&ps);
    for (size_t i = 0; i < 5 * ARRAY_LEN(own); i++)
        CHECK(enter(&ps, own[i % ARRAY_LEN(own)], &peer) && !peer);
    CHECK(serve_peers_enter(&ps, &from, 0, &peer) && !peer); /* no limit */
}

/* More addresses than buckets, each of them twice, leaving in another order. */
static void test_many(void)
{
    static struct serve_peer *peers[2][5000];
    struct serve_peers ps;
    char text[32];
    serve_peers_init(&ps);
    for (size_t round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 5000; i++) {
            snprintf(text, sizeof text, "10.0.%u.%u", i >> 8, i & 255);
            CHECK(enter(&ps, text, &peers[round][i]));
        }
    }
    for (size_t i = 0; i < 5000; i++)
        CHECK(peers[0][i] == peers[1][i]);
    for (size_t i = 0; i < 10000; i++)
        serve_peers_leave(&ps, peers[i & 1][i * 7919 % 5000]);
    for (size_t i = 0; i < SERVE_PEER_BUCKETS; i++)
        CHECK(!ps.buckets[i]);
}

int main(void)
{
    test_limit();
    test_who_is_who();
    test_not_counted();
    test_many();
    return check_report();
}
