/*
 * The spool: records that wait on disk because a sink can't take them now. One log of segment
 * files that all sinks share; each sink reads it from its own cursor, and a segment goes when every
 * cursor is behind it.
 *
 * A place in it is a number of bytes since its beginning (spool_place), which never goes back. What
 * was appended is durable, by the policy asked for, once `done` has run: only then may a sink call
 * its records settled.
 *
 * Every record lies in an entry of its own with a CRC32C over its header and one over its bytes;
 * a reader that meets a damaged entry finds the next whole one, so that a flipped byte costs one
 * record at most. What a crash has torn at the end is cut off when the spool is opened. Sources
 * (a container's names) are entries of their own, twice in each segment that uses them.
 *
 * All I/O goes through the ring and nothing blocks, but for spool_open. All on the ring's thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/io/ring.h"
#include "ringtail/record/batch.h"

struct spool;

enum spool_sync {
    SPOOL_SYNC_NEVER,  /* left to the system: survives the death of ringtail, not a power loss */
    SPOOL_SYNC_ALWAYS, /* an append is done when it has been synced; appends share syncs */
};

struct spool_options {
    const char *directory; /* made if missing (one level), 0700 */
    int64_t bytes_max;     /* of all segments */
    int64_t segment_bytes; /* a new segment begins behind this */
    int64_t age_max_ms;    /* records appended longer ago are given up; 0: never */
    int64_t retry_ms;      /* after a failed write (ENOSPC, EIO, …) */
    enum spool_sync sync;
};

/** For metrics. */
struct spool_stats {
    uint64_t segments, bytes, records; /* on disk now */
    uint64_t records_appended, bytes_appended;
    uint64_t records_read, bytes_read;
    uint64_t entries_damaged; /* skipped while reading */
    uint64_t bytes_damaged;   /* skipped, of no entry that could be told */
    uint64_t bytes_torn;      /* cut off at the end when it was opened */
    uint64_t errors;          /* failed tries */
    uint64_t syncs;
    size_t writing_bytes; /* appended and not done: memory */
    int last_error;       /* negative errno of the last failed try; 0 after a good one */
};

/**
 * Opens the directory, takes its lock, finds the segments and cuts a torn end off. Blocks: for
 * start-up. returns: 0; -EWOULDBLOCK when another ringtail has it; a negative errno; `why` says
 * what.
 */
int spool_open(struct ring *ring, const struct spool_options *options, struct spool **ret,
               char *why, size_t why_size);

/** Nothing may be in flight (spool_is_idle). NULL is fine. Returns NULL. */
struct spool *spool_close(struct spool *s);
bool spool_is_idle(const struct spool *s);

const struct spool_stats *spool_stats_get(const struct spool *s);

/* ---- in ---- */

struct spool_append {
    void (*done)(
        struct spool_append *a); /* durable now, by the policy; always comes, after retries */
    uint64_t begin, end;         /* its place, known at once */
    struct list link;
    struct batch *batch; /* the spool's reference, until done */
};

/**
 * Appends all records of the batch, takes a reference until done, and never fails for the disk: a
 * write that fails is tried again. Whether there is room is for the caller to ask first.
 * returns: 0; -ENOSPC: it would be larger than bytes_max, nothing was appended; -ENOMEM likewise.
 */
int spool_append_batch(struct spool *s, struct spool_append *a, struct batch *batch);

/** The place behind the last record. */
uint64_t spool_end(const struct spool *s);

/* ---- out ---- */

/**
 * A sink's cursor, by the sink's name. Kept over restarts (two slots with a CRC each, so that a
 * torn write leaves the one before); the file is written at most each second and at the end, by the
 * ring.
 */
struct spool_cursor;

/** The cursor of that name, found again or new (then at spool_end, and nothing waits behind it).
 * NULL without memory. */
struct spool_cursor *spool_cursor_get(struct spool *s, const char *name);

/** Everything before `place` is done with. */
void spool_cursor_set(struct spool_cursor *c, uint64_t place);
uint64_t spool_cursor_place(const struct spool_cursor *c);

/** Cursors that nobody has asked for since spool_open (their sinks are gone from the configuration)
 * hold segments back until they are forgotten. */
void spool_forget_other_cursors(struct spool *s);

struct spool_read {
    void (*done)(struct spool_read *r, int res);
    /** The records, with sources; who asked owns the reference. NULL: there was nothing whole. */
    struct batch *batch;
    uint64_t begin, end; /* of what was read: read on from `end` */
    uint64_t skipped;    /* damaged entries between them */
    uint64_t expired;    /* records given up for their age */
    struct op op;
    struct list link;
};

/**
 * Reads about bytes_max of records from `place` on (at least one record; what is being written is
 * read once it is done). res: 0, or a negative errno; -ENODATA: `place` is the end.
 */
void spool_read_from(struct spool *s, struct spool_read *r, uint64_t place, size_t bytes_max);
