/*
 * Lines out of Engine records, for one container.
 *
 * The Engine cuts lines over 16 KiB into parts. The rule that puts them together again (and covers
 * unfinished lines, restarts, and an Engine that forgets the last part's newline): a record without
 * a newline stays open; the next record of the same stream continues it only if its timestamp is
 * equal; otherwise the open one is a line by itself.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/buf.h"
#include "ringtail/record/batch.h"
#include "ringtail/record/part.h"

struct line {
    int64_t ts_ns;
    enum record_stream stream;
    unsigned flags;     /* RECORD_* */
    uint16_t ordinal;   /* of its first part */
    struct slice bytes; /* without the newline; lent for the call */
    struct buf *heap;   /* not NULL: holds the bytes, and may be taken (left empty) */
};

/** Returns 0, or a negative value that is passed on. */
typedef int (*line_fn)(void *ctx, const struct line *line);

struct line_open {
    bool open;
    unsigned parts;
    int64_t ts_ns;
    uint64_t number;    /* of its first part */
    uint16_t ordinal;   /* of its first part */
    uint64_t cut_bytes; /* beyond bytes_max */
    struct buf bytes;
};

/** All zero plus on_line, ctx and bytes_max is a joiner without open lines. */
struct line_joiner {
    line_fn on_line;
    void *ctx;
    size_t bytes_max; /* of a line; the rest is cut off, counted and marked */
    /** Engine 20.10's `local` driver drops the newline of a line in several parts: its end is not a
     * lack. */
    bool parts_lack_newline;
    struct line_open open[2]; /* stdout, stderr */
    uint64_t lines_cut, bytes_cut;
};

static inline bool line_joiner_is_open(const struct line_joiner *j)
{
    return j->open[0].open || j->open[1].open;
}

/** Takes the next record. Returns 0, -ENOMEM, or what on_line returned. */
int line_joiner_feed(struct line_joiner *j, const struct part *part);

/** The container's run is over: what is open is shipped as unfinished lines. Returns as
 * line_joiner_feed. */
int line_joiner_flush(struct line_joiner *j);

/** Ships what is open since before part `number`, as unfinished: it would be forgotten otherwise.
 * Returns as line_joiner_feed. */
int line_joiner_flush_before(struct line_joiner *j, uint64_t number);

/** Frees open lines without shipping them. */
void line_joiner_finish(struct line_joiner *j);
