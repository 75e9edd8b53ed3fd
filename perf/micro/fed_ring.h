/*
 * A ring without a kernel: what is started ends well as soon as the benchmark says so, files are
 * never touched, and receives get the bytes that the benchmark has. It stands in for the io room's
 * ring, so all that runs above it is the real code.
 */
#pragma once

#include "ringtail/base/slice.h"
#include "ringtail/io/ring.h"

struct ring *fed_ring_create(void);

/** What is in flight is never told. */
void fed_ring_destroy(struct ring *ring);

/** Ends everything that is in flight but receives and timers, and what that starts. */
void fed_ring_settle(struct ring *ring);

/** Gives the bytes to the one receive that waits. */
void fed_ring_feed(struct ring *ring, struct slice bytes);

/** The text that was written last: lent until the next write. */
struct slice fed_ring_written(const struct ring *ring);
