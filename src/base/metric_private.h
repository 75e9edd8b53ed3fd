/* What the registry and the text of metrics share. */
#pragma once

#include <stdatomic.h>

#include "ringtail/base/metric.h"

/** Escaped, and shared by a series or an owner and its snapshots. */
struct metric_labels {
    atomic_uint refs;
    uint32_t len;
    /* A series': the metric's number, which makes the text a key, and the inside of a line's
     * braces. An owner's: its values, a NUL behind each. */
    char text[];
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
    const struct metric_labels *labels;
    const struct metric_row *row; /* of an owner; NULL: the labels are a series' */
    double value;
    const uint64_t *counts; /* HISTOGRAM */
};

/**
 * Which lines there are, in the table's order. Made anew only when series or owners come or go, and
 * shared by the snapshots between, by a count that any thread may lower: it is what holds on to the
 * labels.
 */
struct metrics_layout {
    atomic_uint refs;
    const struct metric_row *rows;
    size_t rows_count, row_counts_count; /* the latter: buckets of all histograms of an owner */
    size_t owners_count, lines_count;
    struct metric_labels **owners;
    struct metrics_line {
        const struct metric *metric;
        struct metric_labels *labels;
    } lines[];
};

/** One allocation. The numbers of the lines, in the layout's order, and of the owners, row by row
 * in each; then the same of histograms' counts. */
struct metrics_snapshot {
    struct metrics_layout *layout;
    double *values, *owner_values;
    uint64_t *counts, *owner_counts;
};
