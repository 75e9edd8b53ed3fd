/* Record identities. Pure: nothing is kept between calls. */
#include "ringtail/record/identity.h"

#include "ringtail/base/hash.h"
#include "ringtail/base/macros.h"

static char *put_hex(char *out, uint64_t n)
{
    static const char digits[16] = "0123456789abcdef";

    for (int shift = 60; shift >= 0; shift -= 4)
        *out++ = digits[n >> shift & 15];
    return out;
}

void record_identity(const struct record *r, char out[RECORD_IDENTITY_LEN])
{
    /* Of fixed length, and before what has none, so that no two records are one run of bytes. */
    const uint8_t head[] = {
        r->stream,
        (uint8_t)r->ordinal,
        (uint8_t)(r->ordinal >> 8),
        (uint8_t)r->source->id.len,
    };
    /* Two hashes, because 64 bits are too few for the lines of years. */
    static const uint64_t seeds[] = {0x6964656e74697479, 0x72696e677461696c};

    out = put_hex(out, (uint64_t)r->ts_ns);
    *out++ = '-';
    for (size_t i = 0; i < ARRAY_SIZE(seeds); i++) {
        struct hash_stream hash;

        hash_stream_init(&hash, seeds[i] ^ (uint64_t)r->ts_ns);
        hash_stream_feed(&hash, slice_of(head, sizeof head));
        hash_stream_feed(&hash, r->source->id);
        hash_stream_feed(&hash, slice_of(r->data, r->len));
        out = put_hex(out, hash_stream_value(&hash));
    }
}
