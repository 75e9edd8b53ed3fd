/*
 * The spool: records that wait on disk because a sink can't take them now. One log of segment
 * files that all sinks share; each sink reads it from its own cursor, and a segment goes when every
 * cursor is behind it.
 *
 * A place in it says how many bytes and how many records were appended before it; it never goes
 * back, and no place is ever used twice. So the difference of two places says exactly how many
 * records lie between them, also where some of them are damaged. What was appended is durable, by
 * the policy asked for, once `done` has run: only then may a sink call its records settled.
 *
 * Every record lies in an entry of its own with a CRC32C over its header and one over its bytes;
 * a reader that meets a damaged entry finds the next whole one, so that a flipped byte costs one
 * record at most. What a crash has torn at the end is cut off when the spool is opened. Sources
 * (a container's names) are entries of their own, twice in each segment that uses them.
 *
 * All I/O goes through the ring and nothing blocks, but for spool_open and spool_close. All on the
 * ring's thread, but for spool_scan.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/io/ring.h"
#include "ringtail/record/batch.h"

struct spool;
struct spool_segment;

struct spool_place {
    uint64_t at;     /* bytes; decides which of two places comes first */
    uint64_t record; /* records */
};

enum spool_sync {
    SPOOL_SYNC_NEVER,  /* left to the system: survives the death of ringtail, not a power loss */
    SPOOL_SYNC_ALWAYS, /* an append is done when it has been synced; appends share syncs */
};

struct spool_options {
    const char *directory; /* made if missing (one level), 0700 */
    int64_t bytes_max;     /* of all segments */
    int64_t segment_bytes; /* a new segment begins behind this; a quarter of bytes_max at most */
    int64_t age_max_ms;    /* records appended longer ago are given up; 0: never */
    int64_t retry_ms;      /* after a failed write (ENOSPC, EIO, …) */
    enum spool_sync sync;
};

/** For metrics. */
struct spool_stats {
    uint64_t segments, bytes, records; /* there now, with what is being written */
    uint64_t records_appended, bytes_appended;
    uint64_t records_read, bytes_read; /* payload, for all cursors */
    uint64_t records_damaged;          /* skipped while reading */
    uint64_t bytes_damaged;            /* of entries that were not whole; also of segments' heads */
    uint64_t records_expired;          /* skipped while reading */
    uint64_t records_forgotten;        /* at most: with cursors that were forgotten */
    uint64_t bytes_torn;               /* cut off at the end when it was opened */
    uint64_t errors;                   /* failed tries */
    uint64_t syncs;
    size_t writing_bytes; /* appended and not done: memory */
    int last_error;       /* negative errno of the last failed try; 0 after a good one */
};

/**
 * Opens the directory, takes its lock, finds the segments and cuts a torn end off. Blocks: for
 * start-up. Options are copied. returns: 0; -EWOULDBLOCK when another ringtail has it;
 * -EPROTONOSUPPORT when it is of a version that we don't know; a negative errno; `why` says what.
 */
int spool_open(struct ring *ring, const struct spool_options *options, struct spool **ret,
               char *why, size_t why_size);

/**
 * Begins the end: what was appended is written, cursors are saved at once, reads that wait for more
 * end with -ECANCELED. Nothing may be appended or read from here on. Cursors may still be set; call
 * it again then.
 */
void spool_finish(struct spool *s);

/** The grace is over: what is not written is given up, `done` comes with -ECANCELED. Implies
 * spool_finish; what is appended then is refused. */
void spool_abort(struct spool *s);

/** Whether nothing is in flight, waiting, or unsaved; after spool_finish this comes to be. */
bool spool_is_idle(const struct spool *s);

/** Nothing may be in flight (spool_is_idle after spool_finish). NULL is fine. Returns NULL. */
struct spool *spool_close(struct spool *s);

const struct spool_stats *spool_stats_get(const struct spool *s);

/* ---- in ---- */

struct spool_append {
    /** Always comes, after retries. May free the append. Never from inside a call of the spool. */
    void (*done)(struct spool_append *a);
    int error; /* 0: durable, by the policy; -ECANCELED: given up by spool_abort */
    struct spool_place begin, end; /* known at once */
    struct batch *batch;           /* the spool's reference, dropped right behind done */
    uint16_t cursors;              /* bits */

    /* The spool's own from here on. */
    struct list link;
    struct spool_segment *segment;
    int64_t at_ms;
};

/**
 * Appends all records of the batch (one at least) for the cursors whose bits are set, takes a
 * reference until done, and never fails for the disk: a write that fails is tried again. returns:
 * 0; -ENOSPC: it would be larger than bytes_max, or is given up, and nothing was appended; -ENOMEM
 * likewise.
 */
int spool_append_batch(struct spool *s, struct spool_append *a, struct batch *batch,
                       uint16_t cursors);

/** The place behind the last record. */
struct spool_place spool_end(const struct spool *s);

/* ---- out ---- */

/**
 * A sink's cursor, by the sink's name. Kept over restarts (two slots with a CRC each, so that a
 * torn write leaves the one before); the file is written at most each second and at the end, by the
 * ring. Nothing appended is done before a new cursor is in the file.
 */
struct spool_cursor;

#define SPOOL_CURSOR_NAME_MAX 400
#define SPOOL_CURSORS_MAX 16

/** Where a cursor is for which nothing waits: it holds no segment back. */
#define SPOOL_NOTHING ((struct spool_place){.at = UINT64_MAX, .record = UINT64_MAX})

static inline bool spool_is_nothing(struct spool_place place)
{
    return place.at == UINT64_MAX;
}

/**
 * The cursor of that name, found again or new: then at SPOOL_NOTHING;
 * unless the file of cursors was missing or damaged, so that it may have stood anywhere: then at
 * the oldest record. NULL without memory, for a name that is empty or too long, and when there are
 * SPOOL_CURSORS_MAX.
 */
struct spool_cursor *spool_cursor_get(struct spool *s, const char *name);

/** Its bit in what is appended; the same after a restart. */
uint16_t spool_cursor_bit(const struct spool_cursor *c);

/** Everything before `place` (of a read, or of an append) is done with. Never goes back, but for
 * leaving SPOOL_NOTHING, which no append outruns: it is done when the file of cursors has it. */
void spool_cursor_set(struct spool_cursor *c, struct spool_place place);
struct spool_place spool_cursor_place(const struct spool_cursor *c);

/** For a cursor that is forgotten while records lie behind it: so many at most, as some of them may
 * be for others. */
typedef void (*spool_forgotten_fn)(void *ctx, const char *name, uint64_t records);

/** Cursors that nobody has asked for since spool_open (their sinks are gone from the configuration)
 * hold segments back until they are forgotten. Without any cursor nothing goes. */
void spool_forget_other_cursors(struct spool *s, spool_forgotten_fn fn, void *ctx);

struct spool_read {
    /** res: 0, or a negative errno. Never from inside spool_read_from. */
    void (*done)(struct spool_read *r, int res);
    /** The records, with sources; who asked owns the reference. NULL: there was nothing whole. */
    struct batch *batch;
    /** Of what was read: read on from `end`. The records between them are those of the batch, the
     * skipped and the expired ones. */
    struct spool_place begin, end;
    uint64_t others;  /* records for other cursors */
    uint64_t skipped; /* damaged records, whoever they were for */
    uint64_t expired; /* records given up for their age */

    /* The spool's own from here on. */
    struct list link;
    size_t bytes_max;
    uint16_t cursor; /* bit */
    struct spool_place at;
};

/**
 * Reads the cursor's records from `place` on, up to about bytes_max, and never beyond the end of a
 * segment; what is being written is read once it is done. res: 0; a negative errno, the same again
 * if the trouble stays (what lies there can be passed over with spool_skip_segment); -ENODATA:
 * `place` is the end.
 */
void spool_read_from(struct spool *s, struct spool_read *r, const struct spool_cursor *c,
                     struct spool_place place, size_t bytes_max);

/** The end of the segment that the place is in, to give up the oldest records and get their room
 * back. At most as far as what is done. */
struct spool_place spool_skip_segment(const struct spool *s, struct spool_place place);

/** The place behind whole segments that are too old, to give them up without reading. */
struct spool_place spool_skip_expired(const struct spool *s, struct spool_place place);

/* ---- for people ---- */

struct spool_segment_report {
    const char *name; /* of the file */
    struct spool_place begin, end;
    uint64_t records; /* whole ones */
    uint64_t records_damaged, bytes_damaged;
    uint64_t bytes_torn; /* at the end of the last segment; when in use: perhaps being written */
    uint64_t sources;
    int64_t first_ms, last_ms; /* when the first and the last of them was appended; 0: none was */
    int error;                 /* negative errno: the file can't be read to its end */
};

/** Any may be NULL. What they are handed is lent for the call. */
struct spool_scan_handlers {
    /** First, for each cursor. */
    void (*on_cursor)(void *ctx, const char *name, uint16_t bit, struct spool_place place);
    /** Each whole record at or behind the place asked for, in order, with the bits of the cursors
     * that are to see it. A negative return ends the scan with it. */
    int (*on_record)(void *ctx, const struct record *record, struct spool_place place,
                     uint16_t cursors, int64_t appended_ms);
    /** Behind the records of a segment. */
    void (*on_segment)(void *ctx, const struct spool_segment_report *report);
};

/**
 * Walks through a spool without changing it; it may be in use. Blocks; any thread. returns: 0; what
 * on_record returned; a negative errno, and `why` says what.
 */
int spool_scan(const char *directory, uint64_t from_at, const struct spool_scan_handlers *handlers,
               void *ctx, char *why, size_t why_size);
