/*
 * What tests of the spool need: a directory of their own, records that are told apart, and a reader
 * that compares what comes with what was appended. Knows nothing of which ring runs.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/random.h"
#include "ringtail/spool/spool.h"

#define TEST_SOURCES 7

struct expected_record {
    int64_t ts_ns;
    char *line;
    uint32_t len;
    uint16_t ordinal;
    uint8_t stream, flags, source;
};

struct spool_fixture {
    struct ring *ring;
    struct spool *spool;
    struct spool_options options;
    char dir[64];
    char spool_dir[80]; /* options.directory points here */
    /** Runs the ring until the condition holds, or fails the test. */
    void (*run)(struct spool_fixture *f, bool (*is_reached)(const struct spool_fixture *f));
    struct random random;
    struct source *sources[TEST_SOURCES];
    struct expected_record *expected; /* all that was appended */
    size_t count, cap;
    size_t appends, done, given_up; /* appends, and their ends */
    struct spool_read read;         /* the one that test_read has made */
    bool read_came;
    int read_res;
    uint64_t damaged, expired; /* of all test_drain */
    char why[256];
};

/** A fresh directory, removed with all that is in it by spool_fixture_close. */
void spool_fixture_open(struct spool_fixture *f, struct ring *ring);
/** Closes the spool too, if it is open. */
void spool_fixture_close(struct spool_fixture *f);

/** Opens the spool; it has to go well. */
void test_start(struct spool_fixture *f);
/** Finishes and closes it. */
void test_stop(struct spool_fixture *f);

/** Appends a batch of `count` records with lines of `len` bytes, of sources in turn. */
int test_append(struct spool_fixture *f, size_t count, size_t len);
/** The same with a line of exactly these bytes. */
int test_append_line(struct spool_fixture *f, struct slice line);
/** Takes the batch, and keeps nothing of it. */
int test_append_batch(struct spool_fixture *f, struct batch *b);
bool is_all_done(const struct spool_fixture *f);
bool is_idle(const struct spool_fixture *f);

/** One read, run to its end. Returns its result; the batch is in f->read. */
/** The cursor, waiting from the end of the spool on if nothing waited for it. */
struct spool_cursor *test_cursor(struct spool *s, const char *name);

int test_read(struct spool_fixture *f, struct spool_place place, size_t bytes_max);

bool test_is_record(const struct spool_fixture *f, size_t index, const struct record *r);

/**
 * Reads from the cursor to the end, and sets it behind each read. What comes has to be what was
 * appended from record `from` on, in order, with nothing but what was counted left out. Returns how
 * many records came.
 */
size_t test_drain(struct spool_fixture *f, struct spool_cursor *c, size_t from, size_t bytes_max);

/** `name` below the spool's directory (static memory). */
const char *test_path(const struct spool_fixture *f, const char *name);
/** The names of the files with that end, sorted; returns how many. */
#define TEST_FILES_MAX 64
size_t test_files(const struct spool_fixture *f, const char *end, char names[TEST_FILES_MAX][32]);
void test_read_file(const char *path, struct buf *out);
void test_write_file(const char *path, struct slice bytes);
