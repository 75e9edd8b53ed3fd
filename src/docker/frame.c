/*
 * The framed body of a logs reply, taken apart. Owns nothing; the reader keeps at most one frame
 * header between calls. Invariant between calls: header_len < 8 means between or inside headers,
 * and then left is 0; header_len == 8 means inside a payload, and then at least one byte of it is
 * to come.
 */
#include "ringtail/docker/frame.h"

#include <errno.h>
#include <string.h>

#include "ringtail/base/macros.h"

#define HEADER_LEN 8

/* One 8-byte header. Type 0 (stdin) is an attach's: a log never holds it. */
static inline bool header_parse(const char *p, uint32_t size_max, uint8_t *ret_stream,
                                uint32_t *ret_size)
{
    uint32_t kind, size;

    memcpy(&kind, p, sizeof kind);
    memcpy(&size, p + sizeof kind, sizeof size);
    kind = __builtin_bswap32(kind);
    size = __builtin_bswap32(size);
    if (kind << 8 != 0)
        return false;
    kind >>= 24;
    if (kind < FRAME_STDOUT || kind > FRAME_ERROR || size > size_max)
        return false;
    *ret_stream = (uint8_t)kind;
    *ret_size = size;
    return true;
}

/* Payload bytes of the frame that is open: as many as there are, or as it still needs. */
static int payload_feed(struct frame_reader *r, struct slice *in)
{
    size_t take = MIN(in->len, (size_t)r->left);
    unsigned flags = (r->begun ? 0 : FRAME_BEGIN) | (take == r->left ? FRAME_END : 0);
    struct slice piece = slice_of(in->data, take);

    if (take == 0 && r->left > 0)
        return 0;
    r->left -= (uint32_t)take;
    r->begun = r->left > 0;
    if (r->left == 0)
        r->header_len = 0;
    *in = slice_from(*in, take);
    return r->on_piece(r->ctx, (enum frame_stream)r->stream, piece, flags);
}

int frame_reader_feed(struct frame_reader *r, struct slice in)
{
    uint32_t size;
    uint8_t stream;
    int k;

    while (in.len > 0) {
        if (r->header_len == HEADER_LEN) {
            k = payload_feed(r, &in);
            if (k < 0)
                return k;
            continue;
        }

        /* Whole frames: nothing is kept, so nothing is written to the reader. */
        if (r->header_len == 0) {
            while (in.len >= HEADER_LEN) {
                if (unlikely(!header_parse(in.data, r->size_max, &stream, &size)))
                    return -EBADMSG;
                if (in.len - HEADER_LEN < size)
                    break;
                k = r->on_piece(r->ctx, (enum frame_stream)stream,
                                slice_of(in.data + HEADER_LEN, size), FRAME_BEGIN | FRAME_END);
                if (unlikely(k < 0))
                    return k;
                in = slice_from(in, HEADER_LEN + size);
            }
        }

        while (in.len > 0 && r->header_len < HEADER_LEN) {
            r->header[r->header_len++] = (uint8_t)in.data[0];
            in = slice_from(in, 1);
        }
        if (r->header_len < HEADER_LEN)
            return 0;
        if (!header_parse((const char *)r->header, r->size_max, &r->stream, &r->left))
            return -EBADMSG;
        /* Also with no input left: an empty payload is complete with its header. */
        k = payload_feed(r, &in);
        if (k < 0)
            return k;
    }
    return 0;
}

bool frame_reader_is_whole(const struct frame_reader *r)
{
    return r->header_len == 0;
}
