/*
 * test_address.c - every special range at its first and last address and just outside, the forms of IPv6 that hide an IPv4
 * address, ranges in writing, and policies.
 */
#include "../../src/io/address.h"

#include "check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static struct sockaddr_storage parse(const char *text)
{
    struct sockaddr_storage storage = {0};
    struct sockaddr_in *ipv4 = (void *)&storage;
    struct sockaddr_in6 *ipv6 = (void *)&storage;
    if (inet_pton(AF_INET, text, &ipv4->sin_addr) == 1) {
        ipv4->sin_family = AF_INET;
    } else {
        CHECK(inet_pton(AF_INET6, text, &ipv6->sin6_addr) == 1);
        ipv6->sin6_family = AF_INET6;
    }
    return storage;
}

static const char *why_not(const char *text)
{
    struct sockaddr_storage address = parse(text);
    return address_why_not_public((const struct sockaddr *)&address);
}

static void check_is(const char *text, const char *part)
{
    const char *what = why_not(text);
    if (!CHECK(part ? what && strstr(what, part) : !what))
        fprintf(stderr, "  %s: %s\n", text, what ? what : "public");
}

static void test_ipv4(void)
{
    static const char *const table[][2] = {
        {"0.0.0.0", "this host"},         {"0.255.255.255", "this host"}, {"1.0.0.0", NULL},
        {"9.255.255.255", NULL},          {"10.0.0.0", "private"},        {"10.255.255.255", "private"},
        {"11.0.0.0", NULL},               {"100.63.255.255", NULL},       {"100.64.0.0", "carrier"},
        {"100.100.100.200", "metadata"},  {"100.127.255.255", "carrier"}, {"100.128.0.0", NULL},
        {"126.255.255.255", NULL},        {"127.0.0.0", "loopback"},      {"127.0.0.1", "loopback"},
        {"127.255.255.255", "loopback"},  {"128.0.0.0", NULL},            {"168.63.129.15", NULL},
        {"168.63.129.16", "metadata"},    {"168.63.129.17", NULL},        {"169.253.255.255", NULL},
        {"169.254.0.0", "link-local"},    {"169.254.169.254", "metadata"}, {"169.254.170.2", "metadata"},
        {"169.254.255.255", "link-local"}, {"169.255.0.0", NULL},         {"172.15.255.255", NULL},
        {"172.16.0.0", "private"},        {"172.31.255.255", "private"},  {"172.32.0.0", NULL},
        {"191.255.255.255", NULL},        {"192.0.0.0", "reserved"},      {"192.0.0.192", "metadata"},
        {"192.0.1.0", NULL},              {"192.0.2.0", "documentation"}, {"192.0.3.0", NULL},
        {"192.88.98.255", NULL},          {"192.88.99.1", "6to4"},        {"192.88.100.0", NULL},
        {"192.167.255.255", NULL},        {"192.168.0.0", "private"},     {"192.168.255.255", "private"},
        {"192.169.0.0", NULL},            {"198.17.255.255", NULL},       {"198.18.0.0", "benchmarks"},
        {"198.19.255.255", "benchmarks"}, {"198.20.0.0", NULL},           {"198.51.100.7", "documentation"},
        {"203.0.113.255", "documentation"}, {"203.0.114.0", NULL},        {"223.255.255.255", NULL},
        {"224.0.0.0", "multicast"},       {"239.255.255.255", "multicast"}, {"240.0.0.0", "reserved"},
        {"255.255.255.254", "reserved"},  {"255.255.255.255", "broadcast"}, {"8.8.8.8", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        check_is(table[i][0], table[i][1]);
}

static void test_ipv6(void)
{
    static const char *const table[][2] = {
        {"::", "this host"},           {"::1", "loopback"},          {"::2", "IPv4-compatible"},
        {"::127.0.0.1", "IPv4-compatible"}, {"::8.8.8.8", "IPv4-compatible"}, {"::1:0:0:0", "reserved"},
        {"100::", "discard"},          {"100:0:0:1::", "reserved"},  {"1fff:ffff::", "reserved"},
        {"2000::", NULL},              {"2001::1", "Teredo"},        {"2001:2::", "reserved"},
        {"2001:1ff::", "reserved"},    {"2001:200::", NULL},         {"2001:4860:4860::8888", NULL},
        {"2001:db7:ffff::", NULL},     {"2001:db8::1", "documentation"}, {"2001:db9::", NULL},
        {"2002::", "6to4"},            {"2002:7f00:1::", "6to4"},    {"2002:808:808::", "6to4"},
        {"2003::", NULL},              {"2606:4700::1111", NULL},    {"3fff::1", "documentation"},
        {"3fff:1000::", NULL},         {"4000::", "reserved"},       {"5f00::", "reserved"},
        {"fbff::", "reserved"},        {"fc00::", "private"},        {"fd00:ec2::254", "metadata"},
        {"fd20:ce::254", "metadata"},  {"fdff:ffff::", "private"},   {"fe00::", "reserved"},
        {"fe80::1", "link-local"},     {"febf:ffff::", "link-local"}, {"fec0::1", "site-local"},
        {"ff02::1", "multicast"},      {"ffff::", "multicast"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        check_is(table[i][0], table[i][1]);
}

/* Whatever hides an IPv4 address is no more public than that address is. */
static void test_hidden_ipv4(void)
{
    static const char *const places[] = {"127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.0.1", "0.0.0.0", "224.0.0.1"};
    static const char *const forms[] = {"::ffff:", "::", "::ffff:0:", "64:ff9b::", "64:ff9b:1::"};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        for (size_t k = 0; k < ARRAY_LEN(forms); k++) {
            char text[ADDRESS_TEXT_BYTES];
            snprintf(text, sizeof text, "%s%s", forms[k], places[i]);
            CHECK(why_not(text) != NULL);
        }
    }
    check_is("::ffff:127.0.0.1", "loopback");
    check_is("::ffff:169.254.169.254", "metadata");
    check_is("64:ff9b::10.0.0.1", "private");
    check_is("::ffff:8.8.8.8", NULL);
    check_is("64:ff9b::8.8.8.8", NULL);
    check_is("64:ff9b:1::8.8.8.8", "translation");
}

/* A mapped address and the plain one are always judged alike. */
static void test_mapped_like_plain(void)
{
    uint32_t state = 1;
    size_t different = 0, public = 0;
    for (int i = 0; i < 20000; i++) {
        struct sockaddr_in plain = {.sin_family = AF_INET};
        struct sockaddr_in6 mapped = {.sin6_family = AF_INET6};
        state = state * 1664525u + 1013904223u;
        plain.sin_addr.s_addr = state;
        memset(mapped.sin6_addr.s6_addr + 10, 0xff, 2);
        memcpy(mapped.sin6_addr.s6_addr + 12, &plain.sin_addr, 4);
        const char *a = address_why_not_public((const void *)&plain), *b = address_why_not_public((const void *)&mapped);
        different += a != b;
        public += !a;
    }
    CHECK(different == 0);
    CHECK(public > 15000 && public < 19000); /* of 20,000; 3.7 of 4.3 thousand million addresses are */
}

static void test_other_families(void)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "/x"};
    char text[ADDRESS_TEXT_BYTES];
    CHECK(address_why_not_public((const struct sockaddr *)&local) != NULL);
    CHECK(strcmp(address_text((const struct sockaddr *)&local, text), "an address of family 1") == 0);
    struct sockaddr_storage long_one = parse("2001:db8:1111:2222:3333:4444:5555:6666");
    CHECK(strcmp(address_text((const struct sockaddr *)&long_one, text), "2001:db8:1111:2222:3333:4444:5555:6666") == 0);
    struct sockaddr_storage mapped = parse("::ffff:1.2.3.4");
    CHECK(strcmp(address_text((const struct sockaddr *)&mapped, text), "::ffff:1.2.3.4") == 0);
}

static bool is_in(const char *range_text, const char *text)
{
    struct address_range range;
    struct sockaddr_storage address = parse(text);
    CHECK(address_parse_range(range_text, &range));
    return address_is_in(&range, (const struct sockaddr *)&address);
}

static void test_ranges(void)
{
    CHECK(is_in("10.0.0.0/8", "10.255.0.1") && !is_in("10.0.0.0/8", "11.0.0.0"));
    CHECK(is_in("10.9.9.9/8", "10.1.1.1"));
    CHECK(is_in("127.0.0.1", "127.0.0.1") && !is_in("127.0.0.1", "127.0.0.2") && !is_in("127.0.0.1", "::1"));
    CHECK(is_in("127.0.0.1", "::ffff:127.0.0.1"));
    CHECK(is_in("0.0.0.0/0", "255.0.0.1") && !is_in("0.0.0.0/0", "2001:db8::1"));
    CHECK(is_in("::/0", "255.0.0.1") && is_in("::/0", "fe80::1"));
    CHECK(is_in("192.168.4.0/22", "192.168.7.255") && !is_in("192.168.4.0/22", "192.168.8.0"));
    CHECK(is_in("fd00::/8", "fdff::1") && !is_in("fd00::/8", "fc00::1"));
    CHECK(is_in("2001:db8::/127", "2001:db8::1") && !is_in("2001:db8::/127", "2001:db8::2"));
    static const char *const bad[] = {
        "", "/", "/8", "10", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0.0/8/8", "10.0.0/8", "010.0.0.1",
        "10.0.0.0/ 8", " 10.0.0.0", "0x7f000001", "2130706433", "127.1", "localhost", "[::1]", "::1/129", "fe80::1%eth0", ":::",
        "::1/99999999999999999999", "1111:2222:3333:4444:5555:6666:7777:8888:9999/1", "*", "10.0.0.*",
    };
    struct address_range range;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (!CHECK(!address_parse_range(bad[i], &range)))
            fprintf(stderr, "  %s\n", bad[i]);
}

static bool allows(const struct address_policy *policy, const char *text)
{
    struct sockaddr_storage address = parse(text);
    const char *refusal = address_refusal(policy, (const struct sockaddr *)&address);
    CHECK(refusal == address_refusal_of_text(policy, text));
    return !refusal;
}

static void test_policies(void)
{
    struct address_policy public = {.allowed_n = 0}, wider = {.allowed_n = 2};
    CHECK(address_parse_range("127.0.0.1", &wider.allowed[0]));
    CHECK(address_parse_range("10.0.0.0/8", &wider.allowed[1]));
    CHECK(allows(NULL, "127.0.0.1") && allows(NULL, "ff02::1"));
    CHECK(allows(&public, "8.8.8.8") && !allows(&public, "127.0.0.1") && !allows(&public, "10.0.0.1"));
    CHECK(allows(&wider, "8.8.8.8") && allows(&wider, "127.0.0.1") && allows(&wider, "10.0.0.1"));
    CHECK(!allows(&wider, "127.0.0.2") && !allows(&wider, "::1") && !allows(&wider, "192.168.0.1"));
    CHECK(allows(&wider, "::ffff:127.0.0.1") && !allows(&wider, "64:ff9b::127.0.0.1"));
    CHECK(address_refusal_of_text(&wider, "localhost") && address_refusal_of_text(&wider, "") &&
          address_refusal_of_text(&wider, "127.1") && !address_refusal_of_text(NULL, "localhost"));
}

int main(void)
{
    test_ipv4();
    test_ipv6();
    test_hidden_ipv4();
    test_mapped_like_plain();
    test_other_families();
    test_ranges();
    test_policies();
    return check_report();
}
