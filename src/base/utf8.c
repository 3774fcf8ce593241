/*
 * utf8.c - one sequence at a time. Surrogates, overlong forms and what lies above U+10FFFF are ill-formed; it
 * repairs nothing itself.
 */
#include "utf8.h"

int utf8_at(const char *text, const char *text_end)
{
    const unsigned char *p = (const unsigned char *)text, *end = (const unsigned char *)text_end;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xC2 || p[0] > 0xF4)
        return -1;
    int more = p[0] < 0xE0 ? 1 : p[0] < 0xF0 ? 2 : 3;
    unsigned low = 0x80, high = 0xBF; /* of the next byte */
    if (p[0] == 0xE0)
        low = 0xA0; /* below: overlong */
    else if (p[0] == 0xED)
        high = 0x9F; /* above: surrogates */
    else if (p[0] == 0xF0)
        low = 0x90; /* below: overlong */
    else if (p[0] == 0xF4)
        high = 0x8F; /* above: beyond U+10FFFF */
    for (int i = 1; i <= more; i++) {
        if (p + i == end || p[i] < low || p[i] > high)
            return -i;
        low = 0x80;
        high = 0xBF;
    }
    return more + 1;
}

size_t utf8_bytes(uint32_t code)
{
    return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

char *utf8_put(char *to, uint32_t code)
{
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    size_t n = utf8_bytes(code);
    for (size_t i = n - 1; i > 0; i--, code >>= 6)
        to[i] = (char)(0x80 | (code & 0x3F));
    to[0] = (char)(lead[n] | code);
    return to + n;
}
