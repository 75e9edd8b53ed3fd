/*
 * docker/frame against itself: a body in one piece and cut by the input's own bytes give the same
 * records and the same result. Input: one byte of seed for the cuts, then the body.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"
#include "ringtail/docker/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What came out, in one text: for each record its stream and bytes, and a note of where it ended.
 */
struct outcome {
    uint8_t *bytes;
    size_t len;
    size_t *ends;
    size_t ends_count;
    bool open;
    enum frame_stream stream;
};

static int outcome_on_piece(void *ctx, enum frame_stream stream, struct slice piece, unsigned flags)
{
    struct outcome *o = ctx;

    if (flags & FRAME_BEGIN) {
        if (o->open || stream < FRAME_STDOUT || stream > FRAME_ERROR)
            abort();
        o->stream = stream;
        o->bytes[o->len++] = (uint8_t)stream;
    } else if (!o->open || stream != o->stream) {
        abort();
    }
    if (piece.len > 0)
        memcpy(o->bytes + o->len, piece.data, piece.len);
    o->len += piece.len;
    o->open = !(flags & FRAME_END);
    if (!o->open)
        o->ends[o->ends_count++] = o->len;
    return 0;
}

/* A record has at least 8 bytes of header in the input, so the room is enough. */
static struct outcome outcome_create(size_t size)
{
    struct outcome o = {.bytes = malloc(size + 1), .ends = malloc((size + 1) * sizeof *o.ends)};

    if (!o.bytes || !o.ends)
        abort();
    return o;
}

static void outcome_destroy(struct outcome *o)
{
    free(o->bytes);
    free(o->ends);
}

static int feed_cut(struct frame_reader *r, struct slice body, uint8_t seed)
{
    struct random rnd;

    random_seed(&rnd, seed);
    while (body.len > 0) {
        size_t take = 1 + (size_t)random_below(&rnd, seed % 2 ? 4 : 40);
        int k;

        take = MIN(take, body.len);
        k = frame_reader_feed(r, slice_of(body.data, take));
        if (k < 0)
            return k;
        body = slice_from(body, take);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole, cut;
    struct frame_reader a, b;
    struct slice body;
    int result;

    if (size < 1)
        return 0;
    body = slice_of(data + 1, size - 1);
    whole = outcome_create(size);
    cut = outcome_create(size);
    a = (struct frame_reader){.on_piece = outcome_on_piece, .ctx = &whole, .size_max = 65536};
    b = (struct frame_reader){.on_piece = outcome_on_piece, .ctx = &cut, .size_max = 65536};

    result = frame_reader_feed(&a, body);
    if (feed_cut(&b, body, data[0]) != result)
        abort();
    if (whole.len != cut.len || whole.open != cut.open || whole.ends_count != cut.ends_count ||
        memcmp(whole.bytes, cut.bytes, whole.len) != 0 ||
        memcmp(whole.ends, cut.ends, whole.ends_count * sizeof *whole.ends) != 0)
        abort();
    if (result == 0 && frame_reader_is_whole(&a) != frame_reader_is_whole(&b))
        abort();

    outcome_destroy(&whole);
    outcome_destroy(&cut);
    return 0;
}
