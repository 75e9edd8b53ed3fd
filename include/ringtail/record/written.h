/*
 * The lines of one container that outputs already hold although its position does not know of them:
 * what a crash leaves behind. They come again, each once, and are left out of those outputs then.
 *
 * Lines of a stream are written in the order in which they come, so the lines behind the position
 * that are in an output are the first ones that come again. A line that is not among them and is
 * younger than all of them is therefore the first new one of its stream.
 *
 * A line is remembered by 8 bytes for each output that holds it, and an output is told from others
 * by a number that is as good as random and stays the same from run to run. All zero is an empty
 * set. No I/O.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/record/line.h"

/** Of one stream, in all outputs. */
struct written_stream {
    uint64_t *fingerprints; /* 0: a free place */
    size_t cap;             /* a power of two */
    size_t count;
    int64_t until_ns; /* the newest line's timestamp */
};

struct written {
    struct written_stream of[2]; /* stdout, stderr */
};

static inline bool written_is_empty(const struct written *w)
{
    return w->of[0].count == 0 && w->of[1].count == 0;
}

/** The output holds this line. Returns 0 or -ENOMEM. */
int written_add(struct written *w, uint64_t output, enum record_stream stream, int64_t ts_ns,
                struct slice bytes);

/** The same of a fingerprint that was saved. Returns 0 or -ENOMEM. */
int written_restore(struct written_stream *s, uint64_t fingerprint);

/** Which of the outputs hold the line, the first one being bit 0. */
unsigned written_find(struct written *w, const uint64_t *outputs, size_t count,
                      const struct line *line);

/** The line has come to those that written_find told of, and is forgotten: of two equal ones each
 * counts. */
void written_take(struct written *w, const uint64_t *outputs, unsigned found,
                  const struct line *line);

void written_finish(struct written *w);
