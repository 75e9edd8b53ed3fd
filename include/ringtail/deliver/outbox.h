/*
 * What one sink still has to get: its queue in memory, what of it is in the spool, and what to do
 * when both are full. A sink that hangs or fails holds nobody up but itself, unless its policy is
 * to pause reading.
 *
 *     batch ──▶ queued ──▶ the sink ──▶ settled         while the sink keeps up
 *
 *     batch ──▶ spool ──▶ read back ──▶ the sink        while it does not: from when the queue was
 *                                                       full until the spool has been read to its
 * end
 *
 * A batch's claim is let go of when its records are where they belong, or durable in the spool: the
 * position may then move past them. Order is kept: whatever is in the spool is older than what is
 * queued.
 *
 * All on the ring's thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/list.h"
#include "ringtail/deliver/tally.h"
#include "ringtail/record/batch.h"
#include "ringtail/sink/sink.h"
#include "ringtail/spool/spool.h"

struct outbox;

/** What is done when there is no room, in memory or in the spool. */
enum outbox_policy { OUTBOX_PAUSE, OUTBOX_DROP_OLDEST, OUTBOX_DROP_NEWEST };

struct outbox_options {
    const char *name;       /* lent for ever; the spool's cursor has it too */
    size_t number;          /* the sink's account */
    size_t queue_max_bytes; /* memory: queued and with the sink */
    size_t window_bytes;    /* the sink is given more while it has less than this */
    bool is_local;          /* the sink encodes at once: its queued_bytes are memory */
    enum outbox_policy policy;
    struct spool *spool; /* NULL: none */
};

struct outbox_events {
    /** Reading should pause, or need not any more, as far as this sink goes. */
    void (*on_pause)(void *ctx, struct outbox *o);
    /** A batch has settled so long after it was taken. NULL: nobody wants to know. */
    void (*on_settled)(void *ctx, struct outbox *o, int64_t after_ns);
    /** Records that were handed over will not settle: before the first of their claims goes, so
     * that no position is moved past them. */
    void (*on_unsettled)(void *ctx, struct outbox *o);
    /** After outbox_close: the sink has closed, and nothing is on its way to the spool. Last call,
     * from the ring. */
    void (*on_closed)(void *ctx, struct outbox *o);
    void *ctx;
};

/** Read-only for others. */
struct outbox {
    struct outbox_options options;
    struct outbox_events events;
    struct tallies *tallies;
    struct sink *sink; /* its owner destroys it, after on_closed */

    struct list queued;    /* parcels that nobody has yet, oldest first */
    struct list submitted; /* the sink's, oldest first */
    struct parcel *spare;  /* for the next batch */
    size_t queued_bytes, submitted_bytes;
    bool paused;
    uint64_t pauses;
    bool pumping, pump_again;

    struct spool_cursor *cursor;
    bool spooling;                 /* what comes goes behind what is in the spool */
    struct spool_place read_place; /* what is before it is with the sink, or done */
    struct spool_place last_place; /* behind the last record that is for this sink */
    struct spool_read read;
    bool reading, read_failed;
    unsigned read_tries;           /* of this place, that the disk could not read */
    bool read_sheds;               /* what is being read is to make room, not for the sink */
    bool shedding;                 /* the oldest in the spool make room */
    struct spool_place shed_place; /* what was in front of it has */
    bool expired;                  /* some of what was there was too old */
    bool unreadable;               /* some of it could not be read, and was passed over */
    struct spool_place run_place;  /* where this run's part of the spool begins */
    unsigned appends;              /* under way */
    uint64_t spool_turns;          /* how often it began to spool */
    bool memory_owed;              /* to the system, once what was queued is on disk */
    struct op retry_op;

    bool closing, given_up, spool_over, sink_closing, sink_aborted, sink_closed, told_closed;
};

/** A batch on its way into the spool, for all sinks that want it there. */
struct spill;

/** sink_events for the sink that the outbox is to have: made before both. */
struct sink_events outbox_sink_events(struct outbox *o);

/** `sink` was made with outbox_sink_events. What an earlier run has left in the spool goes first.
 * Returns 0 or -ENOMEM. */
int outbox_init(struct outbox *o, const struct outbox_options *options,
                const struct outbox_events *events, struct tallies *tallies, struct sink *sink);

/** The ring is about to run: what waits in the spool is read. */
void outbox_start(struct outbox *o);

/** Closed, or never given anything. */
void outbox_finish(struct outbox *o);

/** Makes sure that outbox_take can take a batch. Returns 0 or -ENOMEM. */
int outbox_reserve(struct outbox *o);

/**
 * Takes a sealed batch, with a reference to its claim and to its manifest, after outbox_reserve.
 * `spill` begins as NULL and is shown to every outbox that is given the batch; spill_start then
 * does what they want.
 */
void outbox_take(struct outbox *o, struct batch *batch, struct batch *claim, struct manifest *m,
                 struct spill **spill);
void spill_start(struct spill *spill);

/** Nothing of this run is queued or with the sink. */
static inline bool outbox_is_empty(const struct outbox *o)
{
    return list_is_empty(&o->queued) && list_is_empty(&o->submitted);
}

/** Memory that is held for this sink. */
size_t outbox_held_bytes(const struct outbox *o);

/** Nothing more comes. What is queued is sent, or spooled if the sink can't take it now. To be
 * called again while it ends: a sink may begin to fail at any time. */
void outbox_close(struct outbox *o);

/** The grace period is over: what is not sent goes to the spool, or is lost. */
void outbox_give_up(struct outbox *o);

/** The spool is about to be aborted, after outbox_give_up: what is not there by now is lost. */
void outbox_end_spool(struct outbox *o);
