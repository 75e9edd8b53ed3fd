/*
 * One container: its life from its first mention to its removal.
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
#include "ringtail/record/written.h"

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

/** The container's series, held so that a scrape looks nothing up. Control/meters' own. */
struct container_meters {
    bool shown;
    struct metric_owner *owner; /* NULL: not shown, or it found no room in the registry */
};

struct container {
    struct table_link by_id;
    int64_t
        watch_due_mono_ns; /* nothing can be due before; beside by_id, as each tick reads both */
    struct list link;      /* in the line of WAITING, or of REFUSED; else in none */
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
    bool mark;    /* seen in the listing under way */
    bool renamed; /* since that was asked for, so that its name may be the one before */
    /* Found when it had ended already: wanted if that was not before; 0: it was found otherwise. */
    int64_t wanted_if_ended_ns;
    /* Wall clock: of what was written before, nothing is left to read once it is IDLE. */
    int64_t asked_at_ns;
    unsigned attempt, level, engine_errors;
    unsigned refusals;   /* in a row */
    int64_t due_mono_ns; /* REFUSED: try again then; INT64_MAX: at the next start */

    struct engine_call inspect;
    struct op backoff_op;
    struct stream *stream;    /* the one in use */
    struct stream *successor; /* opened beside it, to take over: a rotation under way */
    unsigned retired_count;   /* closed ones that have yet to land */
    bool go_when_landed;
    struct splice_history history;
    struct line_joiner joiner;
    struct written written; /* lines that a crash has left in the output: they come again */
    struct tally *tally;    /* from the first line on, if there is memory */
    int64_t log_bytes_max;  /* what its log driver keeps: max-size × max-file; 0: all of it */
    bool at_risk;           /* so far behind that the Engine may drop lines before they are read */
    uint64_t lines, bytes;
    uint64_t lines_repeated; /* taken out again, being written already */
    int64_t newest_ts_ns;
    struct container_meters meters;
    int64_t heartbeat_at_mono_ns;
    uint64_t position_next; /* the history's, as of its last position */
    bool position_is_open;  /* there was an open line then */

    unsigned rotation_level;
    int64_t rotation_due_mono_ns, stuck_at_mono_ns;
    int64_t rotated_at_wall_ns;
    uint64_t rotations, reread_bytes, gaps_told;
    bool predecessor_was_silent;
    uint64_t heard_bytes; /* of the stream in use, as of the last tick */
    int64_t heard_at_mono_ns;
};

/** Whether the configuration says not to follow it. self_id: our own container's; NULL: none. */
bool container_is_ignored(const struct config *config, const char *self_id, const char *id,
                          const char *name);

/** An option of its log driver (`max-size`), or NULL. Lives as long as the reply. */
const char *container_log_option(const struct reply_inspect *reply, const char *key);

/** What the Engine keeps of the log before it drops the oldest; 0: all of it. */
int64_t container_log_bytes_max(const struct reply_inspect *reply);

/** Whether reading that is so many bytes behind is in danger to lose some: half of what is kept. */
static inline bool container_is_at_risk(int64_t log_bytes_max, double behind_bytes)
{
    return log_bytes_max > 0 && behind_bytes > (double)log_bytes_max / 2;
}

/** The container's fields of a log line. */
#define LOG_CONTAINER(c)                                                                           \
    LOG_STR("container_id", (c)->id_short), LOG_STR("container_name", (c)->name ? (c)->name : "")

/** In the table of `all` from now on, IDLE, with its restored position if there is one. NULL
 * without memory. */
struct container *container_create(struct containers *all, const char *id);

/** Leaves the table; nothing of it may be under way. Its position is kept unless the Engine has
 * removed it. */
void container_free(struct container *c);

/** Whether an operation of it has yet to land. */
bool container_is_busy(const struct container *c);

/** Moves to `next`, which has to be a legal move. */
void container_enter(struct container *c, enum container_state next);

/** From any state that has nothing under way: on to whatever is next. May free it. */
void container_go(struct container *c);

/** Nothing worked: tries again after a pause that grows. */
void container_back_off(struct container *c);

/** The Engine does not have it any more, and nothing is under way for it. May free it. */
void container_lost(struct container *c);

/** We end. May free it. */
void container_leave(struct container *c);

/** Its position as of now, for the next save. */
void container_put_position(struct container *c);

/** Ships lines that will not be continued. */
void container_flush(struct container *c);

/** Records to come carry this name. Returns 0 or -ENOMEM. */
int container_set_source(struct container *c, const char *name, const char *image);

/** Learns what it is (INSPECTING), then goes on. */
void container_inspect(struct container *c);
