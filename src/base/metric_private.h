/* What the registry and the text of metrics share. */
#pragma once

#include <stdatomic.h>

#include "ringtail/base/metric.h"

/** The inside of a line's braces, escaped and shared by a series and its snapshots. */
struct metric_labels {
    atomic_uint refs;
    uint32_t len;
    char text[]; /* the metric's number, which makes the text a key, and then the labels */
};

#define METRIC_KEY_BYTES sizeof(uint16_t)

/** `container_id="0123456789ab",container_name="web"`. */
static inline struct slice metric_labels_text(const struct metric_labels *l)
{
    return slice_of(l->text + METRIC_KEY_BYTES, l->len - METRIC_KEY_BYTES);
}

/** How many buckets its series have. */
static inline size_t metric_counts(const struct metric *metric)
{
    return metric->kind == METRIC_HISTOGRAM ? metric->bounds_count + 1 : 0;
}

struct metric_sample {
    const struct metric *metric;
    struct metric_labels *labels;
    double value;
    const uint64_t *counts; /* HISTOGRAM */
};

/**
 * Which lines there are, in the table's order. Made anew only when series come or go, and shared by
 * the snapshots between, by a count that any thread may lower: it is what holds on to the labels.
 */
struct metrics_layout {
    atomic_uint refs;
    size_t lines_count;
    struct metrics_line {
        const struct metric *metric;
        struct metric_labels *labels;
    } lines[];
};

/** One allocation: the numbers in the layout's order, and the counts of all histograms. */
struct metrics_snapshot {
    struct metrics_layout *layout;
    double *values;
    uint64_t *counts;
};
