/*
 * Where the lines of all streams come together: the open batch, and the bound on what waits for the
 * sink.
 *
 * A batch is handed over when it is full or when the pass ends. When the sink holds more than the
 * queue's bound, `pause` is called once, and `resume` once half of it is free.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/control/config.h"
#include "ringtail/record/batch.h"
#include "ringtail/record/line.h"
#include "ringtail/sink/sink.h"

#define GATHER_TIMES 64

struct gather {
    const struct config *config;
    struct sink *sink;
    struct batch *open; /* NULL between batches */
    bool paused;
    void (*on_pause)(void *ctx, bool paused);
    void *ctx;
    uint64_t handed_over;    /* serial of the last batch handed over */
    uint64_t barrier;        /* 0, or: batches up to this serial … */
    uint64_t before_barrier; /* … of which so many have not settled */
    bool sync_owed;          /* for the barrier */
    uint64_t outstanding;    /* batches handed over and not settled */
    uint64_t lines, bytes;   /* taken in */
    uint64_t lines_settled;
    uint64_t pauses;
    int64_t paused_ns, paused_at_mono_ns;
    /** When each of the last batches was handed over, by serial; told to on_settled. */
    int64_t handed_over_at_mono_ns[GATHER_TIMES];
    void (*on_settled)(void *ctx, int64_t after_ns);
};

/** Copies the line into the open batch (or takes its heap). Returns 0 or -ENOMEM. */
int gather_line(struct gather *g, struct source *source, const struct line *line);

/** Hands the open batch over. */
void gather_hand_over(struct gather *g);

/** From now on gather_is_settled tells whether everything handed over so far has settled, and the
 * sink, which is told to sync once that is so, has done that too. */
void gather_set_barrier(struct gather *g);
bool gather_is_settled(struct gather *g);

/** How long reading has paused, all told. */
int64_t gather_paused_ns(const struct gather *g);

/** The sink holds less than before. */
void gather_progress(struct gather *g);
