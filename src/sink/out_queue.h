/*
 * Encoded bytes on their way to one descriptor, in order, with the batches that they come from: a
 * batch's reference goes when the last byte of its share has been written.
 *
 * Records lie whole in one chunk each, so the line that a short write has torn can be begun again
 * (out_queue_rewind). A chunk's bytes never move, so the front may be in flight while more is
 * appended.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/list.h"
#include "ringtail/base/slice.h"
#include "ringtail/record/batch.h"
#include "ringtail/sink/sink.h"

/** Empty chunks for the next ones who need some: shared by the queues of one sink. All zero is
 * empty. */
struct chunk_pool {
    struct out_chunk *free[7]; /* by size */
    size_t kept_bytes;
    struct buf scratch; /* where long lines are encoded */
};

void chunk_pool_finish(struct chunk_pool *pool);

/** The share of one batch: all bytes of it before `end`. */
struct out_mark {
    struct batch *batch;
    uint64_t end; /* in bytes since the queue began */
    uint32_t records;
};

struct out_queue {
    struct chunk_pool *pool;
    struct out_chunk *head, *tail;
    uint64_t appended, written; /* bytes since the queue began */
    uint64_t filled_from;       /* `appended` when it was last empty */
    struct out_mark *marks;     /* a ring: marks_cap is 0 or a power of two */
    size_t marks_first, marks_count, marks_cap;
    uint32_t unmarked; /* records appended since the last mark */
};

void out_queue_init(struct out_queue *q, struct chunk_pool *pool);

static inline size_t out_queue_bytes(const struct out_queue *q)
{
    return (size_t)(q->appended - q->written);
}

/**
 * Encodes a record behind the rest. Room for the mark is made too, so that out_queue_mark cannot
 * fail. Returns the bytes that it became, or -ENOMEM (then nothing was appended).
 */
int64_t out_queue_append(struct out_queue *q, const struct record *r);

/** What has been appended since the last mark is the batch's share: takes a reference. */
void out_queue_mark(struct out_queue *q, struct batch *batch);

/** The next bytes to write, contiguous; empty when there are none. Good until out_queue_consume. */
struct slice out_queue_front(const struct out_queue *q);

/**
 * The first n bytes (n ≤ front's length) are written. Batches whose share is done lose their
 * reference, which may run their owner's callback; the queue is whole by then. Returns how many
 * records that settled.
 */
uint64_t out_queue_consume(struct out_queue *q, size_t n);

/** Whether the bytes written so far end in the middle of a record. */
bool out_queue_is_torn(const struct out_queue *q);

/** Goes back to the beginning of the torn record, if there is one. Returns how many bytes it went
 * back. */
size_t out_queue_rewind(struct out_queue *q);

/** Drops what is queued; nothing of it may be in flight. What of a batch was not settled is lost to
 * the sink, and no more in its queued_bytes. */
void out_queue_drop(struct out_queue *q, struct sink *sink);

/** Nothing is queued: frees all memory. */
void out_queue_finish(struct out_queue *q);
