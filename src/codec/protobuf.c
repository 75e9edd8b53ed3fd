/*
 * Protocol Buffers. The length of a message stands before it and is known after it: room for the
 * longest length is left, and the message moved back over what of it is not needed.
 */
#include "protobuf.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#define VARINT_MAX 10
#define LENGTH_ROOM 5 /* of a varint of 32 bits */

static size_t put_varint(char *out, uint64_t value)
{
    size_t n = 0;

    for (; value >= 0x80; value >>= 7)
        out[n++] = (char)(value | 0x80);
    out[n++] = (char)value;
    return n;
}

/** Reserves room for a field's head and `more` bytes, and appends the head. */
static int append_head(struct buf *out, uint32_t field, enum protobuf_type type, size_t more)
{
    int r = buf_reserve(out, VARINT_MAX + more);

    if (r < 0)
        return r;
    out->len += put_varint(out->data + out->len, (uint64_t)field << 3 | type);
    return 0;
}

int protobuf_append_bytes(struct buf *out, uint32_t field, struct slice value)
{
    int r = append_head(out, field, PROTOBUF_BYTES, VARINT_MAX + value.len);

    if (r < 0)
        return r;
    out->len += put_varint(out->data + out->len, value.len);
    return buf_append_slice(out, value);
}

int protobuf_append_fixed64(struct buf *out, uint32_t field, uint64_t value)
{
    uint64_t little = htole64(value);
    int r = append_head(out, field, PROTOBUF_FIXED64, sizeof little);

    return r < 0 ? r : buf_append(out, &little, sizeof little);
}

int protobuf_append_varint(struct buf *out, uint32_t field, uint64_t value)
{
    int r = append_head(out, field, PROTOBUF_VARINT, VARINT_MAX);

    if (r < 0)
        return r;
    out->len += put_varint(out->data + out->len, value);
    return 0;
}

int protobuf_begin(struct buf *out, uint32_t field, size_t *ret_at)
{
    int r = append_head(out, field, PROTOBUF_BYTES, LENGTH_ROOM);

    if (r < 0)
        return r;
    *ret_at = out->len;
    out->len += LENGTH_ROOM;
    return 0;
}

void protobuf_end(struct buf *out, size_t at)
{
    size_t len = out->len - at - LENGTH_ROOM;
    size_t head;

    assert(len <= UINT32_MAX);
    head = put_varint(out->data + at, len);
    memmove(out->data + at + head, out->data + at + LENGTH_ROOM, len);
    out->len = at + head + len;
}

static int take_varint(struct slice *in, uint64_t *ret)
{
    uint64_t value = 0;

    for (size_t i = 0; i < VARINT_MAX && i < in->len; i++) {
        uint8_t byte = (uint8_t)in->data[i];

        /* Of the tenth byte only one bit has a place. */
        if (i == VARINT_MAX - 1 && byte > 1)
            return -EBADMSG;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *in = slice_from(*in, i + 1);
            *ret = value;
            return 0;
        }
    }
    return -EBADMSG;
}

static int take_bytes(struct slice *in, uint64_t len, struct slice *ret)
{
    if (len > in->len)
        return -EBADMSG;
    *ret = slice_of(in->data, (size_t)len);
    *in = slice_from(*in, (size_t)len);
    return 0;
}

static int take_fixed(struct slice *in, size_t len, uint64_t *ret)
{
    struct slice bytes;
    uint64_t value = 0;

    if (take_bytes(in, len, &bytes) < 0)
        return -EBADMSG;
    for (size_t i = len; i-- > 0;)
        value = value << 8 | (uint8_t)bytes.data[i];
    *ret = value;
    return 0;
}

int protobuf_next(struct slice *in, struct protobuf_field *ret)
{
    uint64_t head, len;
    int r;

    if (in->len == 0)
        return 0;
    if (take_varint(in, &head) < 0 || head > UINT32_MAX || head >> 3 == 0)
        return -EBADMSG;
    *ret = (struct protobuf_field){
        .number = (uint32_t)(head >> 3),
        .type = (enum protobuf_type)(head & 7),
    };
    switch (head & 7) {
    case PROTOBUF_VARINT:
        r = take_varint(in, &ret->number_value);
        break;
    case PROTOBUF_FIXED64:
        r = take_fixed(in, 8, &ret->number_value);
        break;
    case PROTOBUF_BYTES:
        r = take_varint(in, &len);
        if (r == 0)
            r = take_bytes(in, len, &ret->bytes);
        break;
    case PROTOBUF_FIXED32:
        r = take_fixed(in, 4, &ret->number_value);
        break;
    default:
        r = -EBADMSG;
        break;
    }
    return r < 0 ? r : 1;
}
