/*
 * The containers: who is followed, and each one's life from its first mention to its removal.
 *
 *                 ┌──► IGNORED                     (excluded, or ourselves)
 *   INSPECTING ───┼──► IDLE ◄────────────────────────────┐ the run is over, all of it was read
 *     ▲ │         │     │ it runs                        │
 *     │ │         └─────▼                                │
 *     │ │            WAITING ──► OPENING ──► READING ────┤ last chunk: once more for what an
 *     │ │ failed      ▲  ▲          │           │        │ old Engine held back (OPENING again)
 *     │ ▼             │  └──────────┼───────────┘        │
 *    BACKOFF ─────────┘◄────────────┤ broken             │
 *                                   └──► REFUSED ────────┘ until the next start, or for a while
 *
 * WAITING is for a slot (openings are bounded) and for the Engine. One stream per container id,
 * whatever events say. A container's life and its streams' lives are apart: a stream may be opened
 * any number of times without a line coming twice or getting lost (record/splice.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/base/list.h"
#include "ringtail/base/metric.h"
#include "ringtail/base/random.h"
#include "ringtail/base/table.h"
#include "ringtail/docker/reply.h"
#include "ringtail/record/line.h"
#include "ringtail/record/source.h"
#include "ringtail/record/splice.h"

#include "engine.h"
#include "gather.h"
#include "positions.h"
#include "stream.h"

enum container_state {
    CONTAINER_INSPECTING,
    CONTAINER_IGNORED,
    CONTAINER_IDLE,
    CONTAINER_WAITING,
    CONTAINER_OPENING,
    CONTAINER_READING,
    CONTAINER_BACKOFF,
    CONTAINER_REFUSED,
    CONTAINER_STATE_COUNT,
};

const char *container_state_name(enum container_state state);

struct containers;
struct meters;

struct container {
    struct table_link by_id;
    struct list link; /* in the line of WAITING, or of REFUSED; else in none */
    struct containers *all;
    char id[REPLY_ID_LEN + 1];
    char id_short[SOURCE_ID_SHORT_LEN + 1];
    char *name; /* newest known; NULL until inspected */
    char *image;
    struct source *source;
    enum container_state state;

    bool inspected, tty, driver_is_local;
    bool wanted;      /* it runs, or ran, and its log is to be read */
    bool started;     /* a start came while its log was being read: read on after the end */
    bool removed;     /* the Engine does not have it any more */
    bool catching_up; /* the follow has ended: one request more, without follow */
    bool refusal_said;
    bool mark; /* seen in the listing under way */
    unsigned attempt, level, engine_errors;
    int64_t due_mono_ns; /* REFUSED: try again then; INT64_MAX: at the next start */

    struct engine_call inspect;
    struct op backoff_op;
    struct stream *stream;    /* the one in use */
    struct stream *successor; /* opened beside it, to take over: a rotation under way */
    unsigned retired_count;   /* closed ones that have yet to land */
    bool go_when_landed;
    struct splice_history history;
    struct line_joiner joiner;
    int64_t log_bytes_max; /* what its log driver keeps: max-size × max-file; 0: all of it */
    bool at_risk;          /* so far behind that the Engine may drop lines before they are read */
    uint64_t lines, bytes;
    int64_t newest_ts_ns;
    struct metric_group meters;
    bool metered; /* its series are on /metrics */
    int64_t heartbeat_at_mono_ns;
    uint64_t position_next; /* the history's, when its position was last put down */

    unsigned rotation_level;
    int64_t rotation_due_mono_ns, stuck_at_mono_ns;
    int64_t rotated_at_wall_ns;
    uint64_t rotations, reread_bytes, gaps_told;
    bool predecessor_was_silent;
    uint64_t heard_bytes; /* of the stream in use, as of the last tick */
    int64_t heard_at_mono_ns;
};

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

    int64_t tick_ms;
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

/* A listing of everything the Engine has: begin when it is asked for, then see each row, then end:
 * what was there at the beginning and was not seen is removed. */
void containers_listing_begin(struct containers *all);
void containers_listing_see(struct containers *all, const struct reply_container *row);
void containers_listing_end(struct containers *all);

/** The Engine is there: those who wait go on. */
void containers_engine_up(struct containers *all);

/** Brings the position of every container up to date (positions.collect). */
void containers_put_positions(struct containers *all);

/** Stops or goes on reading, all of them. */
void containers_pause(struct containers *all, bool paused);

/** Ends everything. Idle when containers_is_idle; calls under way are engine_close's to end. */
void containers_close(struct containers *all);
bool containers_is_idle(const struct containers *all);
