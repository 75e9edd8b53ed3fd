/*
 * All containers: who is followed, by what events and listings say; the line for opening; the clock
 * that watches over them. All on the ring's thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/base/list.h"
#include "ringtail/base/random.h"
#include "ringtail/base/table.h"
#include "ringtail/docker/reply.h"

#include "container.h"
#include "engine.h"
#include "gather.h"
#include "positions.h"

struct meters;

struct containers {
    struct ring *ring;
    struct engine *engine;
    struct gather *gather;
    struct positions *positions;
    struct meters *meters;
    const struct config *config;
    const char *self_id; /* NULL: not in a container */
    struct table table;
    struct list waiting, refused;
    struct random random;
    struct op tick_op;
    unsigned opening_count; /* slots taken */
    unsigned streams_count;
    bool paused, closing;
    int64_t floor_ns;  /* --since */
    bool floor_is_now; /* it was `now` */

    /* What ended before, without being known, is none of ours: wall clock. Moves on with each
     * listing. */
    int64_t accounted_ns;
    int64_t listing_asked_ns;
    bool is_listing;
    struct buf
        removed_ids; /* since it was asked for, each with a newline: it may list them still */

    int64_t tick_ms;
    bool rotation_waits; /* a rotation is due and found no slot */
    int64_t refused_tried_at_mono_ns;

    uint64_t missed, refusals, streams_opened, streams_broken, streams_widened, engine_errors;
    uint64_t rotations, rotations_failed, rotations_stuck, streams_silent, streams_promoted;
};

int containers_init(struct containers *all, struct ring *ring, struct engine *engine,
                    struct gather *gather, struct positions *positions, struct meters *meters,
                    const struct config *config);
void containers_finish(struct containers *all);

/** What is known of a container when it is mentioned. */
enum container_mention {
    MENTION_CREATED, /* it may run soon: learn about it */
    MENTION_RUNNING, /* a listing says so */
    MENTION_STARTED, /* an event says that a run has begun */
};

/** Follows the container, if it is to be and is not yet. */
void containers_mention(struct containers *all, const char *id, enum container_mention mention);

/** It has another name now. Ignored for containers that are not known. */
void containers_rename(struct containers *all, const char *id, const char *name);

/** The Engine has removed it: forgotten as soon as its log is read to the end. */
void containers_remove(struct containers *all, const char *id);

/** A listing of everything the Engine has is asked for now … */
void containers_listing_begin(struct containers *all);
/** … and has come. What was there when it was asked for and is not in it is removed. */
void containers_listing_take(struct containers *all, const struct reply_list *list);

/** The Engine is there: those who wait go on. */
void containers_engine_up(struct containers *all);

/** Brings the position of every container up to date (positions.collect). */
void containers_put_positions(struct containers *all);

/** Stops or goes on reading, all of them. */
void containers_pause(struct containers *all, bool paused);

/** Ends everything. Idle when containers_is_idle; calls under way are engine_close's to end. */
void containers_close(struct containers *all);
bool containers_is_idle(const struct containers *all);

/** Lets those in line open, as far as there are slots. */
void containers_pump(struct containers *all);
