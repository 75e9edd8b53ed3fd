/*
 * Batches that a sink has taken and not yet encoded. Empty but for the one at hand, unless memory
 * ran out in the middle of it: then it stays, with what comes after it, and nothing is lost or
 * reordered.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/slice.h"
#include "ringtail/record/batch.h"
#include "ringtail/sink/sink.h"

struct inbox {
    struct batch **items; /* a ring; cap is a power of two */
    size_t first, count, cap;
    size_t next_record; /* of the first batch */
};

/** Returns 0 or -ENOMEM. Has room for some batches from the start, for when there is no memory. */
int inbox_init(struct inbox *in);

/** Nothing may be in it. */
void inbox_finish(struct inbox *in);

/** Takes a reference. Returns 0 or -ENOMEM. */
int inbox_push(struct inbox *in, struct batch *batch);

/** The oldest batch, or NULL. */
struct batch *inbox_first(const struct inbox *in);

/** The oldest batch is done with: drops its reference, which may run its owner's callback. */
void inbox_pop(struct inbox *in);

/** Drops everything: what had not been taken is lost to the sink, and no more in its queued_bytes.
 */
void inbox_drop(struct inbox *in, struct sink *sink);
