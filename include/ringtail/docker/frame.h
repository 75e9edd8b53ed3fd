/*
 * The body of a logs reply, taken apart into Engine records. One Engine record is what the Engine
 * wrote in one go: timestamp, blank, and a line or a 16 KiB part of one. No I/O, no allocation.
 *
 * Two readers, one way out. Without a TTY the body is a sequence of frames: 8 bytes
 * {1 stdout | 2 stderr | 3 engine error, 0, 0, 0, big-endian length}, then the payload. With a TTY
 * it is raw: records follow one another with nothing between them but what docker/tty.h can tell.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/base/slice.h"

enum frame_stream {
    FRAME_STDOUT = 1,
    FRAME_STDERR = 2,
    FRAME_ERROR = 3, /* in-band: the Engine could not read the log any further */
};

/* Where in its record a piece stands. A record in one piece has both. */
#define FRAME_BEGIN 1u
#define FRAME_END 2u

/**
 * One contiguous piece of a record's payload (timestamp included), in order. Every record begins
 * with exactly one piece flagged FRAME_BEGIN and ends with exactly one flagged FRAME_END; pieces
 * may be empty. piece: borrowed for the call. Returns 0, or a negative value that stops the reader.
 */
typedef int (*frame_piece_fn)(void *ctx, enum frame_stream stream, struct slice piece,
                              unsigned flags);

/** All zero plus on_piece, ctx and size_max is a reader at the start of a body. */
struct frame_reader {
    frame_piece_fn on_piece;
    void *ctx;
    uint32_t size_max; /* a longer frame is corruption; the largest legal one is 49183 bytes */

    uint32_t left; /* payload bytes still to come */
    uint8_t header[8];
    uint8_t header_len; /* bytes of the header seen so far; 8 while in a payload */
    uint8_t stream;
    bool begun; /* a piece of the current payload was handed out */
};

/**
 * Feed body bytes. Any split of the body gives the same pieces joined, down to one byte at a time.
 * A frame that lies whole in `in` comes as one piece (the usual case, and the fast one).
 *
 * returns: 0; -EBADMSG if a header is not one (type not 1 to 3, padding not zero, longer than
 * size_max): the reader is then spent; or the first negative value that on_piece returned.
 */
int frame_reader_feed(struct frame_reader *r, struct slice in);

/** Whether the bytes so far end between two frames (false: a frame was cut). */
bool frame_reader_is_whole(const struct frame_reader *r);
