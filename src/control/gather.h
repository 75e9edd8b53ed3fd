/*
 * Where the lines of all streams come together: the open batch, which is handed over when it is
 * full or when the pass ends, and what of the handed over has settled.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/control/config.h"
#include "ringtail/deliver/fanout.h"
#include "ringtail/record/batch.h"
#include "ringtail/record/line.h"

struct gather {
    const struct config *config;
    struct fanout *fanout;
    struct batch *open;      /* NULL between batches */
    uint64_t handed_over;    /* serial of the last batch handed over */
    uint64_t barrier;        /* 0, or: batches up to this serial … */
    uint64_t before_barrier; /* … of which so many have not settled */
    bool sync_owed;          /* for the barrier */
    uint64_t outstanding;    /* batches handed over and not settled */
    uint64_t lines, bytes;   /* taken in */
    uint64_t lines_settled;  /* in every sink, or durable in the spool */
};

/** Copies the line into the open batch (or takes its heap), with `flags` (RECORD_*) besides its
 * own. Returns 0 or -ENOMEM. */
int gather_line(struct gather *g, struct source *source, const struct line *line, unsigned flags);

/** Hands the open batch over. Without memory it stays open. */
void gather_hand_over(struct gather *g);

/** There was no memory to hand the open batch over. Returns how many lines of it are lost. */
uint64_t gather_give_up(struct gather *g);

/** From now on gather_is_settled tells whether everything handed over so far has settled, and the
 * sinks, which are told to sync once that is so, have done that too. */
void gather_set_barrier(struct gather *g);
bool gather_is_settled(struct gather *g);
