/*
 * A batch: lines of many containers in the order they were read, with their bytes in an arena. The
 * one place where payload is copied to (from the receive buffer); sinks encode from here.
 *
 * A batch is filled by one writer, sealed, then shared read-only by reference. When the last
 * reference goes, it has settled: every sink is done with every record, and on_settled says so,
 * once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/list.h"
#include "ringtail/base/slice.h"
#include "ringtail/record/source.h"

enum record_stream { RECORD_STDOUT = 1, RECORD_STDERR = 2 };

#define RECORD_PARTIAL                                                                             \
    1u /* the line has no end: its container stopped in the middle of it, or it was cut */
#define RECORD_TRUNCATED 2u /* cut at max_line_bytes (RECORD_PARTIAL is set too) */
/** The file sink of this number, from 0 on, has it already since before a crash; others may not. */
#define RECORD_WRITTEN(number) (1u << (RECORD_WRITTEN_SHIFT + (number)))
#define RECORD_WRITTEN_SHIFT 2
#define RECORD_FILES_MAX 6 /* file sinks that `flags` has room for */

struct record {
    int64_t ts_ns;    /* the Engine's timestamp of the line's first byte… of its first part */
    const char *data; /* without the newline; any bytes at all */
    struct source *source; /* the batch's reference */
    uint32_t len;
    uint8_t stream; /* enum record_stream */
    uint8_t flags;
    /**
     * Its place, from 0 on, among neighbours of its container and stream with the same timestamp:
     * part of its identity (record/identity.h). batch_append leaves 0; who knows better sets it.
     */
    uint16_t ordinal;
};

struct batch;
typedef void (*batch_settled_fn)(void *ctx, struct batch *b);

struct batch_block; /* a piece of arena */

struct batch {
    struct list link; /* the holder's: of whoever fills it, later free */
    uint32_t refs;
    uint64_t serial; /* 1, 2, 3 … in the order of creation */
    struct record *records;
    size_t count, cap;
    size_t bytes;            /* payload bytes of all records */
    size_t memory_bytes;     /* what the batch holds of memory, all told */
    struct source **sources; /* each distinct source once */
    size_t sources_count, sources_cap;
    struct batch_block *blocks; /* newest first */
    batch_settled_fn on_settled;
    void *ctx;
    struct batch *of; /* a share: whose records these are */
};

/** An empty batch with one reference, the caller's. NULL without memory. */
struct batch *batch_create(batch_settled_fn on_settled, void *ctx);

struct batch *batch_ref(struct batch *b);

/** Drops one reference; the last one calls on_settled and frees. NULL is fine. Returns NULL. */
struct batch *batch_unref(struct batch *b);

/**
 * A second batch over the same records, for one sink: it settles by itself, holds a reference to
 * `of`, and takes no records of its own. NULL without memory.
 */
struct batch *batch_share(struct batch *of, batch_settled_fn on_settled, void *ctx);

/** Appends a copy of `line`. Returns 0 or -ENOMEM (then the batch is as it was). */
int batch_append(struct batch *b, struct source *source, enum record_stream stream, int64_t ts_ns,
                 unsigned flags, struct slice line);

/**
 * Appends without a copy: `heap` is a malloc'ed block that the batch owns from now on (also on
 * error it stays the caller's: only 0 takes it), its first `len` bytes are the line.
 */
int batch_adopt(struct batch *b, struct source *source, enum record_stream stream, int64_t ts_ns,
                unsigned flags, char *heap, size_t len, size_t cap);

/**
 * Frees what the calling thread keeps for its next batches (batch_unref keeps a few, with their
 * memory). For a thread that ends, so that nothing is left at exit. Live batches are untouched.
 */
void batch_free_kept(void);
