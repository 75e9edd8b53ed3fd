/*
 * What tests of sinks need: sources, batches of numbered lines, the bytes that they should become,
 * and a directory of their own. Knows nothing of which ring runs.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ringtail/base/buf.h"
#include "ringtail/sink/sink.h"

#define TEST_TS_NS INT64_C(1795188000000000000) /* 2026-11-20T15:20:00Z */

struct sink_fixture {
    struct ring *ring;
    struct sink *sink;
    char dir[64];
    unsigned batches, settled; /* submitted, and their on_settled calls */
    uint64_t records;          /* submitted */
    unsigned progress, closed; /* calls of the events */
    int last_error_seen;       /* sink->last_error at the last on_progress */
    void (*on_progress)(struct sink_fixture *f);
    void (*on_settled)(struct sink_fixture *f);
};

/** A fresh directory, removed with all that is in it by sink_fixture_close. */
void sink_fixture_open(struct sink_fixture *f, struct ring *ring);

/** Destroys the sink; every batch must have settled, and on_closed must have come if there was a
 * sink. */
void sink_fixture_close(struct sink_fixture *f);

struct sink_events sink_fixture_events(struct sink_fixture *f);

/** Makes the file sink. Options not named: no rotation, 100 files, a try each second. */
void sink_fixture_make_file(struct sink_fixture *f, const struct sink_file_options *options);

/** A source with this name; its id begins with digits that the name decides. */
struct source *test_source(const char *name);

struct batch *test_batch(struct sink_fixture *f);

/** Appends `line N …` of `len` bytes, and its encoding to `expected` (may be NULL). */
void test_line(struct batch *b, struct source *source, uint64_t n, size_t len,
               struct buf *expected);
void test_line_at(struct batch *b, struct source *source, enum record_stream stream, int64_t ts_ns,
                  const char *text, struct buf *expected);

/** Submits and lets go of it. */
void test_submit(struct sink_fixture *f, struct batch *b);

/** One batch of one line. */
void test_submit_line(struct sink_fixture *f, struct source *source, uint64_t n, size_t len,
                      struct buf *expected);

/** `format` below the fixture's directory (static memory). */
const char *test_path(const struct sink_fixture *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Appends a file's content. Returns false when there is none. */
bool test_read_file(const char *path, struct buf *out);
void test_write_file(const char *path, const char *text);

/** The file is exactly these bytes. */
void test_expect_file(const char *path, const struct buf *expected);

/** The file and its rotated ones, oldest first, are these bytes; none is over `most` bytes or ends
 * in the middle of a line. Returns how many there are. */
unsigned test_expect_rotated(const char *path, const struct buf *expected, size_t most);

/** Files (not directories) below a directory. */
unsigned test_count_files(const char *path);
