/*
 * What the daemon shows of itself: every series of /metrics, /ready and /debug/streams. Things that
 * happen are counted where they happen; the rest is read off the other modules when somebody asks.
 */
#pragma once

#include "ringtail/base/metric.h"

#include "confine.h"
#include "containers.h"
#include "discovery.h"
#include "engine.h"
#include "gather.h"
#include "positions.h"
#include "sinks.h"

struct meters {
    struct metrics *metrics;
    struct ring *ring;
    const struct confinement *confinement;
    const struct config *config;
    struct fanout *fanout;
    struct sinks *sinks;
    struct gather *gather;
    struct engine *engine;
    struct containers *containers;
    struct discovery *discovery;
    struct positions *positions;
    int64_t started_at_ns;
    uint64_t outputs_shorter;                       /* found at the start */
    struct metric_series *send_duration[SINKS_MAX]; /* NULL: not asked for yet */
};

/** Returns 0 or -ENOMEM. The pointers are the caller's to set before the first fill. */
int meters_init(struct meters *m, const struct config *config);
void meters_finish(struct meters *m);

/* What happens to one container. */
void meters_container_opened(struct meters *m, struct container *c);
void meters_container_renamed(struct meters *m, struct container *c);
void meters_container_rotated(struct meters *m, struct container *c, int64_t age_ns);
void meters_container_error(struct meters *m, struct container *c, const char *error_type);
void meters_container_heartbeat(struct meters *m, struct container *c);
void meters_container_gone(struct meters *m, struct container *c);

/** All pointers are set, and the ring does not run yet: replies of receivers are counted from now
 * on. */
void meters_sinks_opened(struct meters *m);

/** Of meters_fill: what single sinks, the spool and the dead letters say of themselves. */
void meters_fill_sinks(struct meters *m);

/** A batch has settled in this sink after this long. */
void meters_settled(struct meters *m, const struct outbox *o, int64_t after_ns);

/* admin.h's callbacks; ctx is the struct meters. */
void meters_fill(void *ctx, struct metrics *metrics);
bool meters_ready(void *ctx, struct buf *json);
int meters_streams(void *ctx, struct buf *out, bool as_text);
