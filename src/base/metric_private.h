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

struct metric_sample {
    const struct metric *metric;
    struct metric_labels *labels;
    double value;
    const uint64_t *counts; /* HISTOGRAM */
};

/** One allocation: samples in the table's order, and behind them the counts of all histograms. */
struct metrics_snapshot {
    size_t samples_count;
    struct metric_sample samples[];
};
