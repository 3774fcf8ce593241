/*
 * fuzz_frame.c - libFuzzer: the first byte chooses the kind of framing, the second how the rest is split. The
 * oracle: a body fed whole and fed in pieces gives the same frames, or fails both times.
 */
#include "base/frame.h"

#include <stdlib.h>
#include <string.h>

#define FRAME_MAX 4096
#define LOG_MAX (1u << 22)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void on_frame(void *user, struct slice data, struct slice event)
{
    struct buf *log = user;
    if (buf_add(log, event.p, event.n) != ERR_OK || buf_add_char(log, '=') != ERR_OK || buf_add(log, data.p, data.n) != ERR_OK ||
        buf_add_char(log, '|') != ERR_OK)
        abort();
}

static enum err cut(enum frame_kind kind, const char *p, size_t n, size_t step, struct buf *log)
{
    struct framer f;
    enum err err = ERR_OK;
    frame_init(&f, kind, FRAME_MAX, on_frame, log);
    for (size_t at = 0; at < n && err == ERR_OK; at += step)
        err = frame_feed(&f, p + at, n - at < step ? n - at : step);
    if (err == ERR_OK)
        err = frame_finish(&f);
    frame_deinit(&f);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 2)
        return 0;
    enum frame_kind kind = data[0] % FRAME_BYTES; /* FRAME_BYTES itself cuts where the bytes come */
    struct buf whole, pieces;
    buf_init(&whole, LOG_MAX);
    buf_init(&pieces, LOG_MAX);
    enum err err_whole = cut(kind, (const char *)data + 2, n - 2, n, &whole);
    enum err err_pieces = cut(kind, (const char *)data + 2, n - 2, 1 + data[1] % 7, &pieces);
    if (err_whole != err_pieces)
        abort();
    if (err_whole == ERR_OK && (whole.n != pieces.n || (whole.n && memcmp(whole.p, pieces.p, whole.n) != 0)))
        abort();
    buf_deinit(&whole);
    buf_deinit(&pieces);
    return 0;
}
