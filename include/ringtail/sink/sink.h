/*
 * The contract of a sink: takes sealed batches in order, keeps a reference to each until every
 * record in it is where it belongs, and says how much it holds. It never blocks, and never tells
 * the reader to stop: who feeds it looks at `queued_bytes`. All calls on the ring's thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/codec/compress.h"
#include "ringtail/io/ring.h"
#include "ringtail/record/batch.h"

struct sink;

/** Why a record will never be where it belongs. */
enum lost_reason {
    LOST_ABORTED, /* the grace period was over */
    LOST_REFUSED, /* by the receiver, for its content; it is in the dead-letter file if there is one
                   */
    LOST_UNNAMED, /* dropped by the receiver, which did not say which: OTLP's partial success */
    LOST_DROPPED_OLDEST, /* by policy, the queue being full */
    LOST_DROPPED_NEWEST,
    LOST_DAMAGED,    /* in the spool */
    LOST_EXPIRED,    /* in the spool for too long */
    LOST_UNREADABLE, /* in a part of the spool that the disk can't read */
    LOST_REASON_COUNT,
};

/** What happens to a sink that its owner should hear of. */
struct sink_events {
    /** Bytes have left the queue (called after each write that settled something). */
    void (*on_progress)(void *ctx, struct sink *sink);
    /** Before the batch settles: so many records of it are lost. `source` NULL: whose they are is
     * not known. on_lost NULL: nobody counts. */
    void (*on_lost)(void *ctx, struct sink *sink, struct batch *batch, struct source *source,
                    uint64_t records, enum lost_reason reason);
    /** The sink has nothing queued and nothing in flight after sink_close. Last call. */
    void (*on_closed)(void *ctx, struct sink *sink);
    void *ctx;
};

struct sink_ops {
    const char *kind; /* "stdout", "file" */
    int (*submit)(struct sink *sink, struct batch *batch);
    void (*sync)(struct sink *sink); /* NULL: nothing to sync */
    void (*close)(struct sink *sink);
    void (*abort)(struct sink *sink);
    struct sink *(*destroy)(struct sink *sink);
};

enum sink_state {
    SINK_OK,
    SINK_RETRYING,  /* the last try has failed for a reason that may pass */
    SINK_SUSPENDED, /* the receiver will take nothing from us: only a try now and then */
};

struct sink {
    const struct sink_ops *ops;
    struct ring *ring;
    struct sink_events events;
    size_t queued_bytes; /* encoded bytes not yet written */
    uint64_t records_settled, bytes_written;
    uint64_t errors; /* failed tries */
    int last_error;  /* negative errno of the last failed try; 0 after a good one */
    enum sink_state state;
    char reason[256];      /* of a state that is not SINK_OK: one line for people */
    uint64_t records_lost; /* only ever by a counted policy; 0 in a sink that waits */
    bool syncing;          /* what sink_sync began is not done */
    uint64_t sync_errors;
    int sync_error; /* negative errno of the last sync that failed; 0: none has */
};

/** For sinks that were aborted: so many records of the batch are lost, whoever's they are. */
static inline void sink_lose(struct sink *s, struct batch *b, uint64_t records)
{
    s->records_lost += records;
    if (records > 0 && s->events.on_lost)
        s->events.on_lost(s->events.ctx, s, b, NULL, records, LOST_ABORTED);
}

/** Hands a sealed batch over; the sink takes its own reference. Returns 0, or -ENOMEM: the sink
 * does not have it. */
static inline int sink_submit(struct sink *s, struct batch *b)
{
    return s->ops->submit(s, b);
}

/** Has what is settled by now brought to where it survives a power loss; `syncing` until it is
 * there, or could not be brought there. Also after on_closed, when it is there already. */
static inline void sink_sync(struct sink *s)
{
    if (s->ops->sync)
        s->ops->sync(s);
}

/** No more batches come: write out what is queued, then on_closed. */
static inline void sink_close(struct sink *s)
{
    s->ops->close(s);
}

/** The grace period is over: stop trying, drop what is queued (its batches are released unsettled
 * in effect: counted in records_lost), let what is in flight land, then on_closed. */
static inline void sink_abort(struct sink *s)
{
    s->ops->abort(s);
}

/** After on_closed only. NULL is fine. Returns NULL. */
static inline struct sink *sink_destroy(struct sink *s)
{
    return s ? s->ops->destroy(s) : NULL;
}

/** Writes NDJSON to a descriptor (stdout): any kind of file, pipe or terminal; borrowed, never
 * closed. */
int sink_stdout_create(struct ring *ring, int fd, const struct sink_events *events,
                       struct sink **ret);

/** An output file. path: relative, lent for the call. */
typedef void (*sink_file_fn)(void *ctx, const char *path, uint64_t device, uint64_t inode,
                             uint64_t size);

struct sink_file_options {
    const char *directory;      /* made if missing (one level) */
    const char *path_template;  /* relative; {container_id} {container_id_short} {container_name}
                                   {image} {stream} {date} */
    int64_t rotate_bytes;       /* 0: never */
    int64_t rotate_interval_ms; /* 0: never; see below */
    int64_t rotate_keep; /* rotated files kept beside the current one: name.1 is the newest */
    enum compression rotate_compression; /* name.1 becomes name.1.gz or name.1.zst */
    int64_t retention_ms; /* rotated files that were last changed longer ago are removed; 0: none */
    int64_t free_space_min; /* in bytes: with less, writing waits; 0: the disk may be filled */
    int64_t open_files_max; /* least recently written ones are closed */
    int64_t
        retry_ms; /* after a failed open or write (ENOSPC, EIO, …): try again, nothing is dropped */
    /** A file is not written to any more: `size` is its last. NULL: nobody wants to know. */
    sink_file_fn on_closed; /* it stays where it is, and may be opened again */
    sink_file_fn on_moved;  /* its path is, or will be, another file's */
    void *ctx;
    bool sync;        /* sink_sync does something, and a file is synced before it is closed */
    unsigned written; /* RECORD_WRITTEN of its number: records with it are left out; 0: none is */
    bool wait_for_saves; /* sink_file_saved will be called: see there */
};

/** What a file sink has done beside writing. Read on the ring's thread. */
struct sink_file_stats {
    uint64_t rotations;
    uint64_t files_compressed, compress_errors;
    uint64_t compress_bytes_in, compress_bytes_out;
    uint64_t files_expired, expire_errors; /* removed for their age, or not */
    uint64_t space_waits;                  /* tries to write that found too little space */
};

/**
 * NDJSON files below a directory. Every open is openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS): no
 * symlink is followed and no name from a container leaves the directory; bytes of a name outside
 * [0-9A-Za-z._-] are percent-encoded, `.` and `..` too, overlong names are cut and told apart by a
 * hash. Appends; one write in flight per file; a batch settles when all its files have written
 * their share.
 *
 * A file is rotated before the line that would make it larger than rotate_bytes, and before the
 * first line of a new interval: intervals are counted from 1970 in UTC, so that 1h means on the
 * hour, and what counts for a line is when it is written. A file without new lines stays.
 *
 * Compression, retention and the look at the space left are a background thread's, which exists
 * only if one of them is asked for. retention concerns rotated files that this template can have
 * named, also those of containers that are gone; never the ones that are written to.
 * With too little space, writing waits as it does for a full disk. returns: 0; -EINVAL for a bad
 * template (`why` says what); -errno from the directory.
 */
int sink_file_create(struct ring *ring, const struct sink_file_options *options,
                     const struct sink_events *events, struct sink **ret, char *why,
                     size_t why_size);

/** Checks a template alone (for `ringtail check`). 0 or -EINVAL with the reason in `why`. */
int sink_file_check_template(const char *path_template, char *why, size_t why_size);

/** Whether a file of this template can have the path, or lie below or above it. path: relative to
 * the directory, without `.`, `..` and empty components. */
bool sink_file_leads_to(const char *path_template, const char *path);

/**
 * Shows every file of a file sink, with the size that it has once all that was submitted is
 * written: which lines of it were submitted by now can be told by that for ever. Returns false, and
 * shows none, while it is not known which file some of it goes to: ask again after the next pass.
 */
bool sink_file_each(struct sink *sink, sink_file_fn fn, void *ctx);

/**
 * What sink_file_each showed last has been saved where it survives a crash, with positions of that
 * moment or later ones: what was rotated before that will not be read back any more. With
 * wait_for_saves nothing is compressed before that has been said of it.
 */
void sink_file_saved(struct sink *sink);

/** Lent as long as the sink lives. */
const struct sink_file_stats *sink_file_stats_get(const struct sink *sink);
