/*
 * What the tests of the docker room share: recorded replies, taken apart without the code under
 * test, and a check that a reader hands out exactly the records that are expected, in whatever
 * pieces.
 */
#pragma once

#include "ringtail/base/buf.h"
#include "ringtail/docker/frame.h"

#define RECORDING_CHUNKS_MAX 128

extern const char *const recording_engines[3];

/** A reply's body; chunks only where it had them. */
struct recording {
    struct buf file;
    struct buf body;
    struct slice chunks[RECORDING_CHUNKS_MAX];
    size_t chunks_count;
};

/** Reads tests/fixtures/<engine>/<name>.http. Fails the test if it cannot. */
void recording_load(struct recording *r, const char *engine, const char *name);
void recording_finish(struct recording *r);

struct expected_record {
    enum frame_stream stream;
    struct slice payload;
};

/** Gets the pieces as they come. A wrong one fails the test. */
struct checker {
    const struct expected_record *records;
    size_t count;
    size_t done;   /* records that ended */
    size_t offset; /* in the open one */
    bool open;
};

/** A frame_piece_fn; ctx is a checker. */
int checker_on_piece(void *ctx, enum frame_stream stream, struct slice piece, unsigned flags);

/** All records came and ended. */
void checker_assert_done(const struct checker *c);

/** Appends a frame. */
void frame_append(struct buf *b, unsigned stream, struct slice payload);
