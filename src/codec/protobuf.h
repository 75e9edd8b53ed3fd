/*
 * Protocol Buffers on the wire, as far as OTLP needs them: a message written in one pass, and a
 * reader of fields. (Protocol Buffers documentation, "Encoding": a field is a varint of number and
 * wire type, then a varint, eight bytes, a length and so many bytes, or four bytes.)
 */
#pragma once

#include <stdint.h>

#include "ringtail/base/buf.h"

enum protobuf_type {
    PROTOBUF_VARINT = 0,
    PROTOBUF_FIXED64 = 1,
    PROTOBUF_BYTES = 2, /* strings, bytes, messages */
    PROTOBUF_FIXED32 = 5,
};

/** Each appends one field. Returns 0 or -ENOMEM. */
int protobuf_append_bytes(struct buf *out, uint32_t field, struct slice value);
int protobuf_append_fixed64(struct buf *out, uint32_t field, uint64_t value);
int protobuf_append_varint(struct buf *out, uint32_t field, uint64_t value);

/**
 * Begins a message inside the message: fields appended from here on are its own, until
 * protobuf_end with what *ret_at got, which cannot fail. Returns 0 or -ENOMEM.
 */
int protobuf_begin(struct buf *out, uint32_t field, size_t *ret_at);
void protobuf_end(struct buf *out, size_t at);

struct protobuf_field {
    uint32_t number;
    enum protobuf_type type;
    uint64_t number_value; /* of a varint, or of fixed bytes */
    struct slice bytes;    /* points into what was read */
};

/**
 * Takes the next field off `in`. Returns 1; 0 at the end; -EBADMSG for what is no field (or is of
 * the groups that are no more).
 */
int protobuf_next(struct slice *in, struct protobuf_field *ret);
