/*
 * fuzz_retry_after.c - libFuzzer: the first byte chooses the kind, the rest is what a provider said. Whatever it is, the
 * answer is none, or a time within the bounds; space around it changes nothing; and the later it is now, the sooner.
 */
#include "../../src/failover/retry_after.h"

#include <stdlib.h>
#include <string.h>

#define NOW_US INT64_C(1767323045000000)
#define DAY_US INT64_C(86400000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    double seconds = -1, tomorrow = -1, padded = -1;
    if (size == 0)
        return 0;
    enum retry_after_kind kind = (enum retry_after_kind)(data[0] % 3);
    size_t n = size - 1;
    char *text = malloc(n + 3);
    if (!text)
        abort();
    text[0] = ' ';
    memcpy(text + 1, data + 1, n);
    memcpy(text + 1 + n, "\r\n", 2);
    bool is_read = retry_after_parse((struct slice){(const char *)data + 1, n}, kind, NOW_US, &seconds);
    ASSERT(!is_read || (seconds >= 0 && seconds <= RETRY_AFTER_MAX_S));
    ASSERT(retry_after_parse((struct slice){text, n + 3}, kind, NOW_US, &padded) == is_read);
    ASSERT(!is_read || padded == seconds);
    if (retry_after_parse((struct slice){text, n + 3}, kind, NOW_US + DAY_US, &tomorrow) && is_read)
        ASSERT(tomorrow <= seconds);
    free(text);
    return 0;
}
