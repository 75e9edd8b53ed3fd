/*
 * docker/tty against itself: the same chunks, read whole and read in pieces, give the same records,
 * and the records joined are the body. Input: a byte of seed for the reads, one for the chunks,
 * then the body.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"
#include "ringtail/docker/tty.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    struct slice body; /* what the bytes have to be */
    size_t len;
    size_t *ends;
    size_t ends_count;
    bool open;
};

static int outcome_on_piece(void *ctx, enum frame_stream stream, struct slice piece, unsigned flags)
{
    struct outcome *o = ctx;

    if (stream != FRAME_STDOUT || o->open == !!(flags & FRAME_BEGIN))
        abort();
    if (piece.len > o->body.len - o->len)
        abort();
    if (piece.len > 0 && memcmp(o->body.data + o->len, piece.data, piece.len) != 0)
        abort();
    o->len += piece.len;
    o->open = !(flags & FRAME_END);
    if (!o->open) {
        /* No record is empty, so there are no more of them than bytes. */
        if (o->len == (o->ends_count > 0 ? o->ends[o->ends_count - 1] : 0))
            abort();
        o->ends[o->ends_count++] = o->len;
    }
    return 0;
}

/* Chunks by chunk_seed (0: none), and each in reads of at most read_max bytes by read_seed. */
static void feed(struct outcome *o, uint8_t chunk_seed, uint8_t read_seed, size_t read_max)
{
    struct tty_reader r = {.on_piece = outcome_on_piece, .ctx = o};
    struct random chunk_rnd, read_rnd;
    size_t at = 0;

    random_seed(&chunk_rnd, chunk_seed);
    random_seed(&read_rnd, read_seed);
    while (at < o->body.len) {
        bool begins = chunk_seed > 0;
        size_t chunk_end = at + 1 + (size_t)random_below(&chunk_rnd, chunk_seed * 4u);

        chunk_end = MIN(chunk_end, o->body.len);
        while (at < chunk_end) {
            size_t take = 1 + (size_t)random_below(&read_rnd, read_max);

            take = MIN(take, chunk_end - at);
            if (tty_reader_feed(&r, slice_of(o->body.data + at, take), begins) != 0)
                abort();
            at += take;
            begins = false;
        }
    }
    if (tty_reader_finish(&r) != 0 || o->open || o->len != o->body.len)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole = {0}, cut = {0};

    if (size < 2)
        return 0;
    whole.body = cut.body = slice_of(data + 2, size - 2);
    whole.ends = malloc(size * sizeof *whole.ends);
    cut.ends = malloc(size * sizeof *cut.ends);
    if (!whole.ends || !cut.ends)
        abort();

    feed(&whole, data[1], 0, SIZE_MAX / 2);
    feed(&cut, data[1], data[0], data[0] % 2 ? 3 : 50);
    if (whole.ends_count != cut.ends_count ||
        memcmp(whole.ends, cut.ends, whole.ends_count * sizeof *whole.ends) != 0)
        abort();

    free(whole.ends);
    free(cut.ends);
    return 0;
}
