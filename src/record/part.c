/*
 * record/part.h. The pending buffer is empty between records and given back when it was large, so
 * that an idle response holds no memory for long.
 */
#include "ringtail/record/part.h"

#include <errno.h>

#include "ringtail/base/hash.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"

#define PENDING_KEEP_BYTES 1024

static int hand_on(struct part_reader *r, enum record_stream stream, struct slice payload)
{
    struct part part = {.stream = stream};
    int prefix = timestamp_parse_prefix(payload, &part.ts_ns);

    if (unlikely(prefix < 0))
        return -EBADMSG;
    part.text = slice_from(payload, (size_t)prefix);
    part.fingerprint = hash_bytes(part.text, (uint64_t)stream);
    return r->on_part(r->ctx, &part);
}

int part_reader_feed(struct part_reader *r, enum record_stream stream, struct slice piece,
                     unsigned flags)
{
    int result;

    if (likely((flags & (PART_BEGIN | PART_END)) == (PART_BEGIN | PART_END))) {
        if (unlikely(piece.len > r->size_max))
            return -EMSGSIZE;
        return hand_on(r, stream, piece);
    }
    if (flags & PART_BEGIN)
        buf_reset(&r->pending);
    if (piece.len > r->size_max - r->pending.len)
        return -EMSGSIZE;
    result = buf_append_slice(&r->pending, piece);
    if (result < 0 || !(flags & PART_END))
        return result;
    result = hand_on(r, stream, buf_slice(&r->pending));
    if (r->pending.cap > PENDING_KEEP_BYTES)
        buf_finish(&r->pending);
    else
        buf_reset(&r->pending);
    return result;
}

void part_reader_finish(struct part_reader *r)
{
    buf_finish(&r->pending);
}
