/*
 * The raw log body of a container with a TTY, taken apart into Engine records (see docker/frame.h).
 * No I/O, no allocation.
 *
 * Each record is `timestamp blank text`, all on stdout. A text ends with its only newline, or,
 * where the Engine gave a line in parts, without one: after 16384 bytes (16 KiB parts, all with the
 * same timestamp), at the end of a container's run, and in the last part that Engine 20.10's
 * `local` driver stores, which ends in a bare `\r`. Nothing but the next record's timestamp marks
 * such an end.
 *
 * A record begins
 *  1. at the start of the body and after a newline, always;
 *  2. at the start of an HTTP chunk, where a timestamp stands there that is not before the open
 *     record's: the Engine writes each record as one chunk. The first sign that somebody between
 *     has cut the body anew (a record that begins elsewhere, a chunk that does not begin with one)
 *     ends this rule for the rest of the body. A body without chunks never has it;
 *  3. after 16384 bytes of text or more (the Engine makes three of each invalid byte), where the
 *     open record's own prefix stands again;
 *  4. only where rule 2 is off: after a `\r` in a later part of a line, where a later timestamp
 *     stands.
 *
 * On the Engine's own chunks this is exact, whatever the text looks like, unless the clock was set
 * back between two runs of which the first ended in the middle of a line: the two are then one
 * record. What the bytes of a body that was cut anew cannot tell:
 *  - the end of a run that stopped in the middle of a line: the next run's first record, with its
 *    timestamp, becomes the rest of that line (a timestamp later than the record's is legal text);
 *  - the missing newline of 20.10's `local` driver where the terminal adds no `\r`, or where the
 *    body begins with that last part, or in the very chunk in which whole records stand together
 *    for the first time;
 *  - a `\r` and a later timestamp in the program's own text, past the first 16 KiB of a line: taken
 *    for a record's beginning; likewise text that begins with a later timestamp where the first
 *    cut falls.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/docker/frame.h"

#define TTY_PART_LEN 16384
#define TTY_PREFIX_MAX 64

/** All zero plus on_piece and ctx is a reader at the start of a body. */
struct tty_reader {
    frame_piece_fn on_piece;
    void *ctx;

    /* The rest is the reader's own. First the open record. */
    int64_t at_ns;               /* its timestamp, if it has a prefix */
    uint32_t text_len;           /* bytes behind the prefix; stops counting at TTY_PART_LEN */
    uint8_t prefix_len;          /* timestamp and blank; 0: it has none */
    char prefix[TTY_PREFIX_MAX]; /* for comparison, handed out already */
    bool open;
    bool begun;      /* a piece of it was handed out */
    bool later_part; /* it goes on with the line of the record before it */
    bool after_cr;   /* the last byte of text was \r */

    bool rechunked;            /* chunks are not records: rule 2 is off */
    char held[TTY_PREFIX_MAX]; /* bytes not handed out yet: they could turn out to begin a record */
    uint8_t held_len;
    uint8_t chunk_mark; /* the current chunk begins at held[chunk_mark - 1]; 0: before that */
};

/**
 * Feed body bytes; `chunk_begins` says that in[0] is the first byte of an HTTP chunk. Any split
 * gives the same records. Bytes that could begin a record in the middle of a line (fewer than
 * TTY_PREFIX_MAX) are held back until that is decided. A record that does not begin with a
 * timestamp comes as it is.
 *
 * A record's end without a newline is told when the next record begins, or by tty_reader_finish.
 *
 * in:      borrowed for this call, and so are the pieces.
 * returns: 0, or the first negative value that on_piece returned: the reader is then spent.
 */
int tty_reader_feed(struct tty_reader *r, struct slice in, bool chunk_begins);

/**
 * The current chunk is complete. The next chunk's first byte and tty_reader_finish say so too, so
 * it need not be called. Hands nothing out.
 */
void tty_reader_chunk_end(struct tty_reader *r);

/** The body is complete: what is held back is text, and the open record ends, if there is one. */
int tty_reader_finish(struct tty_reader *r);
