/*
 * Metrics: one table says all about each (name, kind, labels, help, buckets), and the Prometheus
 * text and docs/metrics.md are made from it. The numbers live in series, one for each set of label
 * values; whoever counts keeps the pointer to its series, so that counting is one addition. What
 * there are hundreds of (containers) has all its series in one piece of memory, as an owner with a
 * row for each.
 *
 * Registry, series and owners belong to the ring's thread. Other threads see snapshots.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/list.h"
#include "ringtail/base/table.h"

#define METRIC_PREFIX "log_capturer_"
#define METRIC_STANDARD_PREFIX "process_"
#define METRIC_LABELS_MAX 4
#define METRIC_OWNER_VALUES 3

/** In the order of the table and of /metrics. The comment behind each names its labels. */
enum metric_id {
    /* Streams */
    METRIC_STREAMS_ACTIVE,
    METRIC_STREAM_ROTATIONS,    /* container_id, container_name */
    METRIC_LAST_ROTATION,       /* container_id, container_name */
    METRIC_STREAM_AGE,          /* container_id */
    METRIC_STREAM_ERRORS,       /* error_type, container_id */
    METRIC_STREAM_REREAD_BYTES, /* container_id, container_name */
    METRIC_STREAM_REFUSALS,

    /* Containers */
    METRIC_CONTAINER_MONITORED, /* container_id, container_name, image */
    METRIC_CONTAINERS_MONITORED,
    METRIC_CONTAINERS_MISSED,
    METRIC_CONTAINER_LINES,     /* container_id, container_name */
    METRIC_CONTAINER_BYTES,     /* container_id, container_name */
    METRIC_CONTAINER_LAG,       /* container_id, container_name */
    METRIC_CONTAINER_REPEATED,  /* container_id, container_name */
    METRIC_CONTAINER_GAPS,      /* container_id, container_name */
    METRIC_CONTAINER_TIME_BACK, /* container_id, container_name */
    METRIC_CONTAINER_TRUNCATED, /* container_id, container_name */
    METRIC_CONTAINER_AT_RISK,   /* container_id, container_name */
    METRIC_TASK_HEARTBEATS,     /* task_id, task_type */
    METRIC_ACTIVE_TASKS,        /* task_type, state */

    /* Records */
    METRIC_LOGS_PROCESSED, /* source_type, source_id, pipeline */
    METRIC_LOGS_SENT,      /* sink_type, status */
    METRIC_ERRORS,         /* component, error_type */
    METRIC_RECORDS_READ,
    METRIC_RECORDS_FILTERED,
    METRIC_RECORDS_FOUND,             /* sink */
    METRIC_RECORDS_SETTLED,           /* sink */
    METRIC_RECORDS_LOST,              /* sink, reason */
    METRIC_RECORDS_QUEUED,            /* sink */
    METRIC_RECORDS_SPOOLED,           /* sink */
    METRIC_CONTAINER_RECORDS_FOUND,   /* container_id, container_name, sink */
    METRIC_CONTAINER_RECORDS_SETTLED, /* container_id, container_name, sink */
    METRIC_CONTAINER_RECORDS_LOST,    /* container_id, container_name, sink, reason */
    METRIC_CONTAINER_RECORDS_QUEUED,  /* container_id, container_name, sink */
    METRIC_CONTAINER_RECORDS_SPOOLED, /* container_id, container_name, sink */

    /* Queue */
    METRIC_DISPATCHER_UTILIZATION,
    METRIC_QUEUE_SIZE,         /* component, queue_type */
    METRIC_QUEUE_BYTES,        /* sink */
    METRIC_QUEUE_LIMIT_BYTES,  /* sink */
    METRIC_SINK_UTILIZATION,   /* sink_type */
    METRIC_SINK_SEND_DURATION, /* sink_type */
    METRIC_SINK_STATE,         /* sink, state */
    METRIC_SINK_SPOOLING,      /* sink */
    METRIC_READING_PAUSES,
    METRIC_READING_PAUSED_SECONDS,

    /* Sinks */
    METRIC_SINK_ERRORS,                 /* sink */
    METRIC_SINK_REQUESTS,               /* sink, outcome */
    METRIC_SINK_REQUEST_RETRIES,        /* sink */
    METRIC_SINK_REQUEST_SPLITS,         /* sink */
    METRIC_SINK_REQUESTS_IN_FLIGHT,     /* sink */
    METRIC_SINK_REQUESTS_IN_FLIGHT_MAX, /* sink */
    METRIC_SINK_REPLY_DURATION,         /* sink */
    METRIC_SINK_PAUSE,                  /* sink */
    METRIC_SINK_RECORDS_SENT,           /* sink */
    METRIC_SINK_RECORDS_AGAIN,          /* sink */
    METRIC_SINK_RECORDS_ACCEPTED,       /* sink */
    METRIC_SINK_RECORDS_REFUSED,        /* sink */
    METRIC_SINK_RECORDS_DEAD_LETTERED,  /* sink */
    METRIC_SINK_LETTERS_WAITING,        /* sink */
    METRIC_SINK_BODY_BYTES,             /* sink */
    METRIC_SINK_WIRE_BYTES,             /* sink */
    METRIC_SINK_BATCHES_HELD,           /* sink */
    METRIC_SINK_BOOKKEEPING_BYTES,      /* sink */
    METRIC_SINK_HTTP_REQUESTS,          /* sink */
    METRIC_SINK_HTTP_CONNECTIONS,       /* sink */
    METRIC_SINK_LABELS_REPLACED,        /* sink */
    METRIC_SINK_FILE_ROTATIONS,         /* sink */
    METRIC_SINK_FILES_COMPRESSED,       /* sink */
    METRIC_SINK_COMPRESS_ERRORS,        /* sink */
    METRIC_SINK_COMPRESS_BYTES_IN,      /* sink */
    METRIC_SINK_COMPRESS_BYTES_OUT,     /* sink */
    METRIC_SINK_FILES_EXPIRED,          /* sink */
    METRIC_SINK_EXPIRE_ERRORS,          /* sink */
    METRIC_SINK_SPACE_WAITS,            /* sink */
    METRIC_SINK_SPOOL_BEHIND_RECORDS,   /* sink */
    METRIC_SINK_SPOOL_BEHIND_BYTES,     /* sink */

    /* Spool */
    METRIC_SPOOL_SEGMENTS,
    METRIC_SPOOL_BYTES,
    METRIC_SPOOL_LIMIT_BYTES,
    METRIC_SPOOL_RECORDS,
    METRIC_SPOOL_WRITING_BYTES,
    METRIC_SPOOL_RECORDS_APPENDED,
    METRIC_SPOOL_BYTES_APPENDED,
    METRIC_SPOOL_RECORDS_READ,
    METRIC_SPOOL_BYTES_READ,
    METRIC_SPOOL_RECORDS_DAMAGED,
    METRIC_SPOOL_BYTES_DAMAGED,
    METRIC_SPOOL_RECORDS_EXPIRED,
    METRIC_SPOOL_RECORDS_FORGOTTEN,
    METRIC_SPOOL_BYTES_TORN,
    METRIC_SPOOL_ERRORS,
    METRIC_SPOOL_SYNCS,

    /* Dead letters */
    METRIC_DEAD_LETTERS_WRITTEN,
    METRIC_DEAD_LETTERS_BYTES,
    METRIC_DEAD_LETTERS_WAITING,
    METRIC_DEAD_LETTERS_LIMIT_BYTES,
    METRIC_DEAD_LETTERS_ERRORS,
    METRIC_DEAD_LETTERS_ROTATED,
    METRIC_DEAD_LETTERS_DELETED,
    METRIC_DEAD_LETTERS_DELETED_BYTES,

    /* Engine */
    METRIC_ENGINE_UP,
    METRIC_ENGINE_CONNECTS,
    METRIC_ENGINE_RECONNECTS,
    METRIC_ENGINE_REQUESTS, /* kind, outcome */
    METRIC_ENGINE_EVENTS,
    METRIC_ENGINE_LISTINGS,

    /* Positions */
    METRIC_POSITIONS_SAVES,
    METRIC_POSITIONS_SAVE_ERRORS,
    METRIC_POSITIONS_AGE,
    METRIC_POSITIONS_CONTAINERS,
    METRIC_POSITIONS_OUTPUTS_SHORTER,

    /* Ring */
    METRIC_RING_IN_FLIGHT,   /* kind */
    METRIC_RING_COMPLETIONS, /* kind */
    METRIC_RING_TIMEOUTS,
    METRIC_RING_CANCELS,
    METRIC_RING_CANCEL_DURATION,
    METRIC_RING_BUFFERS,
    METRIC_RING_BUFFERS_FREE,
    METRIC_RING_BUFFER_WAITS,
    METRIC_RING_CQ_OVERFLOWS,
    METRIC_RING_SOCKETS_OPEN,
    METRIC_RING_SOCKETS_MAX,
    METRIC_RING_PASSES,
    METRIC_RING_PAUSES,
    METRIC_RING_ENTERS,

    /* Process */
    METRIC_GOROUTINES,
    METRIC_THREADS,
    METRIC_DESCRIPTORS_OPEN,
    METRIC_RESIDENT_BYTES,
    METRIC_START_TIME,
    METRIC_PROCESS_CPU,
    METRIC_PROCESS_RESIDENT_BYTES,
    METRIC_PROCESS_DESCRIPTORS_OPEN,
    METRIC_PROCESS_START_TIME,
    METRIC_BUILD_INFO,       /* version */
    METRIC_BACKEND_INFO,     /* backend, reason */
    METRIC_CONFINEMENT_INFO, /* ring, no_new_privs, capabilities, system_calls */
    METRIC_LOG_LINES_DROPPED,
    METRIC_SERIES,
    METRIC_SERIES_REFUSED,

    METRIC_COUNT,
};

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
    const char *name; /* with the prefix */
    enum metric_kind kind;
    bool bare; /* printed without HELP and TYPE: scripts take the line that begins with its name */
    const char *labels[METRIC_LABELS_MAX]; /* in the order of the output; NULL behind the last */
    const double *bounds;                  /* HISTOGRAM: upper bounds, rising; +Inf is implied */
    size_t bounds_count;
    const char *help;  /* one sentence */
    const char *group; /* heading in the documentation */
};

/** METRIC_COUNT of them, by enum metric_id. */
extern const struct metric metric_table[METRIC_COUNT];

struct metrics;
struct metric_labels;

/** While something is used, in its owner's list or in none; dropped, among those that linger. */
struct metric_life {
    struct list link;
    int64_t dropped_at_mono_ns;
    bool dropped, is_owner;
};

/** One line (or, for a histogram, one set of lines) of the output. Read `value` at will. */
struct metric_series {
    double value;     /* HISTOGRAM: the sum of what was observed */
    uint64_t *counts; /* HISTOGRAM: by bucket, not cumulated, the last is +Inf */

    /* The registry's own from here on. */
    const struct metric *metric;
    struct metrics *metrics;
    struct metric_labels *labels;
    struct table_link by_labels;
    struct list in_family; /* all series of the metric */
    struct metric_life life;
};

/** A series that each owner has, and what its labels are: one of the owner's values each, by
 * number, or where `text` is not NULL always that. */
struct metric_row {
    enum metric_id id;
    struct {
        unsigned value;
        const char *text; /* printed as it is */
    } labels[METRIC_LABELS_MAX];
};

/** A container, say: the series of all rows, with its label values. */
struct metric_owner {
    struct metrics *metrics;
    struct metric_labels *labels; /* its values, escaped, a NUL behind each */
    struct table_link by_id;
    struct list in_all;
    struct list series; /* those that were made for it beside its rows */
    struct metric_life life;
    uint64_t *counts; /* of the rows that are histograms, one behind the other */
    double values[];  /* by row */
};

struct metrics_options {
    size_t series_max;             /* beside those without labels; more are refused and counted */
    int64_t linger_ms;             /* what was dropped stays in the output this long */
    const struct metric_row *rows; /* of each owner, in the order of the table; they stay */
    size_t rows_count;
};

/** Series without labels exist from here on, at 0. NULL without memory. */
struct metrics *metrics_create(const struct metrics_options *options);

/** Snapshots may outlive it; series and their pointers do not. NULL is fine. Returns NULL. */
struct metrics *metrics_destroy(struct metrics *m);

/**
 * The series of `id` with these label values (strings, as many as the metric has labels), made at 0
 * if there is none; one that lingers is revived with its value.
 *
 *     s = metrics_series(m, NULL, METRIC_SINK_REQUESTS, "loki", "refused");
 *
 * owner:   is dropped with it; NULL: it stays as long as the registry. One owner per series.
 * values:  copied. Bytes that are no UTF-8 are replaced.
 * returns: never NULL. At series_max (when nothing lingers that could make room) or without memory
 *          it is a series that counts and is never shown, and METRIC_SERIES_REFUSED goes up.
 */
#define metrics_series(m, owner, id, ...)                                                          \
    metrics_series_get((m), (owner), (id), (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
struct metric_series *metrics_series_get(struct metrics *m, struct metric_owner *owner,
                                         enum metric_id id, const char *const *values);

/** The series of a metric without labels: an array access. */
struct metric_series *metrics_plain(struct metrics *m, enum metric_id id);

/** Counters go up only. */
static inline void metric_add(struct metric_series *s, double by)
{
    s->value += by;
}

/** Gauges, and counters whose number is kept elsewhere. */
static inline void metric_set(struct metric_series *s, double value)
{
    s->value = value;
}

void metric_observe(struct metric_series *s, double value);

/* ---- owners ---- */

/**
 * The owner with these values, all rows at 0; one that lingers is revived with its numbers.
 *
 * values:  METRIC_OWNER_VALUES strings, copied. The first tells owners apart, and a revived one
 *          takes the others over.
 * returns: NULL when its rows find no room (METRIC_SERIES_REFUSED goes up), without memory, and
 *          when there is one with this first value.
 */
struct metric_owner *metrics_owner_get(struct metrics *m, const char *const *values);

/** Whether an owner would find room now. */
bool metrics_has_owner_room(const struct metrics *m);

/** Its rows have these values from now on, of which the first is the same as before; its other
 * series are dropped, to be made anew. Returns 0, or -ENOMEM: all is as it was. */
int metric_owner_relabel(struct metric_owner *o, const char *const *values, int64_t now_mono_ns);

/** The pointer is not valid any more; its lines, and those of its other series, leave the output
 * after the linger time. NULL is fine. */
void metrics_owner_drop(struct metric_owner *o, int64_t now_mono_ns);

void metric_owner_observe(struct metric_owner *o, size_t row, double value);

/* ---- output ---- */

struct metrics_snapshot;

/**
 * Copies all numbers, shares the labels, and forgets what has lingered long enough.
 * The ring's thread. NULL without memory.
 */
struct metrics_snapshot *metrics_snapshot(struct metrics *m, int64_t now_mono_ns);

/** Any thread. NULL is fine. Returns NULL. */
struct metrics_snapshot *metrics_snapshot_destroy(struct metrics_snapshot *s);

/** Appends Prometheus text, version 0.0.4. Any thread, one at a time. Returns 0 or -ENOMEM. */
int metrics_render(const struct metrics_snapshot *s, struct buf *out);

/** Appends docs/metrics.md, whole. Returns 0 or -ENOMEM. */
int metrics_write_markdown(struct buf *out);
