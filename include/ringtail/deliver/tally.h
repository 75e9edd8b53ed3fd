/*
 * The books: what became of every record, by container and sink.
 *
 *     read + found = settled + queued + spooled + Σ lost{reason}
 *
 * holds for each sink, for each container and in total, whenever it is looked at: a record is moved
 * from one account to another, never added to one without being taken from another. `found` are
 * records that an earlier run has left in the spool; they are in the books from when they are read.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/table.h"
#include "ringtail/record/batch.h"
#include "ringtail/sink/sink.h"

#define SINKS_MAX 16

struct account {
    uint64_t found;   /* by the run before, in the spool */
    uint64_t settled; /* where they belong */
    uint64_t queued;  /* in memory, not settled */
    uint64_t spooled; /* on disk alone */
    uint64_t lost[LOST_REASON_COUNT];
    uint64_t lost_ahead; /* of `lost`: their batch has not settled yet */
};

/** One container's. */
struct tally {
    struct table_link by_id;
    uint32_t refs;
    char id[SOURCE_ID_LEN + 1];
    struct account of[]; /* by the sink's number */
};

struct tallies {
    struct table table;
    size_t sinks_count;
    struct account total[SINKS_MAX];
};

/** Returns 0 or -ENOMEM. */
int tallies_init(struct tallies *t, size_t sinks_count);

/** Nobody holds a tally any more but those with records in the spool, which end here. */
void tallies_finish(struct tallies *t);

/**
 * The container's, made if there is none, with a reference for the caller. It ends with the last
 * reference, unless some of its records are on disk: then it waits for them. NULL without memory:
 * what happens to it is in the total alone then.
 */
struct tally *tallies_get(struct tallies *t, struct slice id);

/** NULL is fine. Returns NULL. */
struct tally *tallies_release(struct tallies *t, struct tally *tally);

/** "aborted", "refused", … for metrics. */
const char *lost_reason_name(enum lost_reason reason);

/** How many records of a batch are whose: counted once, for all sinks. */
struct manifest {
    uint32_t refs;
    uint64_t records;
    size_t count;
    struct {
        struct tally *tally; /* a reference; NULL: in the total alone */
        uint64_t records;
    } of[];
};

/** Counts a batch; each of its containers has a tally then. NULL without memory. The caller holds
 * the first reference. */
struct manifest *manifest_create(struct tallies *t, const struct batch *batch);
struct manifest *manifest_ref(struct manifest *m);
struct manifest *manifest_unref(struct tallies *t, struct manifest *m);

/** Where records are moved from and to. ACCOUNT_NONE is outside: they have just been read. */
enum account_name {
    ACCOUNT_NONE,
    ACCOUNT_FOUND,
    ACCOUNT_SETTLED,
    ACCOUNT_QUEUED,
    ACCOUNT_SPOOLED,
    ACCOUNT_LOST, /* the first of as many as there are reasons */
};

static inline enum account_name account_lost(enum lost_reason reason)
{
    return (enum account_name)(ACCOUNT_LOST + (unsigned)reason);
}

/** Moves all records of the manifest. ACCOUNT_FOUND gives without having less;
 * what it is given was not found after all. */
void tallies_move(struct tallies *t, size_t sink, const struct manifest *m, enum account_name from,
                  enum account_name to);

/** So many records of a batch that is queued are lost, before it settles. */
void tallies_lose(struct tallies *t, size_t sink, const struct source *source, uint64_t records,
                  enum lost_reason reason);

/** The same of records that are in the spool as well: there they stay. */
void tallies_leave_spooled(struct tallies *t, size_t sink, const struct source *source,
                           uint64_t records);

/** A queued batch has settled, but for what was lost of it. Of the `aborted` ones it is not known
 * whose they are: the last containers of the batch have them in their books. */
void tallies_settle(struct tallies *t, size_t sink, const struct manifest *m, uint64_t aborted);

/** The sink has read all that it had in the spool: what is missing was damaged. */
void tallies_close_spooled(struct tallies *t, size_t sink, enum lost_reason reason);
