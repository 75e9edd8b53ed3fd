/*
 * One reader, many sinks: every batch goes to the outbox of each. Nothing here waits; reading
 * pauses while an outbox asks for it.
 *
 * All on the ring's thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ringtail/deliver/outbox.h"
#include "ringtail/deliver/tally.h"
#include "ringtail/record/batch.h"
#include "ringtail/sink/sink.h"
#include "ringtail/spool/spool.h"

struct fanout_events {
    void (*on_pause)(void *ctx, bool paused);
    /** A batch has settled in this sink, so long after it was handed over. */
    void (*on_settled)(void *ctx, const struct outbox *o, int64_t after_ns);
    /** What was handed over will not settle in this sink: said before a claim goes that covers it.
     */
    void (*on_unsettled)(void *ctx, const struct outbox *o);
    /** After fanout_close: every sink has closed. Last call, from the ring. */
    void (*on_closed)(void *ctx);
    void *ctx;
};

struct fanout {
    struct outbox outboxes[SINKS_MAX];
    size_t count;
    struct tallies tallies;
    struct spool *spool; /* NULL: none */
    struct fanout_events events;
    unsigned paused_count, closed_count; /* of outboxes */
    int64_t paused_ns, paused_at_mono_ns;
    uint64_t pauses;
    bool closing;
};

/** Returns 0 or -ENOMEM. */
int fanout_init(struct fanout *f, size_t sinks_count, struct spool *spool,
                const struct fanout_events *events);
void fanout_finish(struct fanout *f);

/** What the next sink is to be made with. */
struct sink_events fanout_sink_events(struct fanout *f);

/** Adds the sink that was made with them; `options` but for the number and the spool's handle,
 * which is given if `spools`. Returns 0 or -ENOMEM. */
int fanout_add(struct fanout *f, const struct outbox_options *options, bool spools,
               struct sink *sink);

/** Before the ring runs. */
void fanout_start(struct fanout *f);

/**
 * Hands a sealed batch to every sink. `claim` is a share of it (batch_share) that settles when the
 * last sink has let go of it. The caller keeps its own references. Returns 0, or -ENOMEM: nobody
 * has it.
 */
int fanout_hand_over(struct fanout *f, struct batch *batch, struct batch *claim);

static inline bool fanout_is_paused(const struct fanout *f)
{
    return f->paused_count > 0;
}

/** Memory that is held for all sinks; what several of them hold counts for each. */
size_t fanout_held_bytes(const struct fanout *f);

/** How long reading has paused, all told. */
int64_t fanout_paused_ns(const struct fanout *f);

/** All sinks that can bring what has settled to the disk begin to; fanout_is_syncing until done. */
void fanout_sync(struct fanout *f);
bool fanout_is_syncing(const struct fanout *f);

void fanout_close(struct fanout *f);

/** The grace period is nearly over: what is not sent goes to the spool, or is lost. */
void fanout_give_up(struct fanout *f);

/** The grace period is over: what is not in the spool by now is lost. */
void fanout_end_spool(struct fanout *f);
