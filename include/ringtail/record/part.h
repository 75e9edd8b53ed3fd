/*
 * Engine records out of the pieces that a body was received in. One Engine record is a timestamp, a
 * blank, and a line or a 16 KiB part of one.
 *
 * A record that lies whole in the receive buffer is handed on from there; one that straddles two
 * receives is put together in a buffer of its own first. One reader per response.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/buf.h"
#include "ringtail/record/batch.h"

/* Where in its record a piece stands. */
#define PART_BEGIN 1u
#define PART_END 2u

struct part {
    int64_t ts_ns;
    uint64_t fingerprint; /* of stream and text */
    struct slice
        text; /* without the timestamp, with its newline if it has one; lent for the call */
    enum record_stream stream;
    uint64_t number;  /* of its mark in the container's history; whoever judges it fills it in */
    uint16_t ordinal; /* splice_ordinal's; likewise */
};

/** Returns 0, or a negative value that stops the reader. */
typedef int (*part_fn)(void *ctx, struct part *part);

/** All zero plus on_part, ctx and size_max is a reader at the start of a body. */
struct part_reader {
    part_fn on_part;
    void *ctx;
    size_t size_max; /* of a record, timestamp included */
    struct buf pending;
};

/**
 * Feed one piece; a record's pieces come in order, the first flagged PART_BEGIN, the last PART_END.
 * returns: 0; -EBADMSG no timestamp in front; -EMSGSIZE longer than size_max; -ENOMEM; or what
 * on_part returned.
 */
int part_reader_feed(struct part_reader *r, enum record_stream stream, struct slice piece,
                     unsigned flags);

/** Forgets the record under way (a response was cut in the middle of it) and frees the memory. */
void part_reader_finish(struct part_reader *r);
