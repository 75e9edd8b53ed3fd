/*
 * Metrics as text: Prometheus's exposition format 0.0.4, and docs/metrics.md. Pure but for the
 * buffer it appends to; everything that is said about a metric comes from the table.
 */
#include "ringtail/base/metric.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metric_private.h"
#include "ringtail/base/macros.h"

#define NUMBER_MAX 32
/* Whole numbers up to here are exact in a double; 2^53. */
#define WHOLE_MAX 9007199254740992.0

static const char *const kind_names[] = {"counter", "gauge", "histogram"};

/** Keeps the first error, so that a run of puts is checked once. */
struct writer {
    struct buf *out;
    const struct metric *family; /* whose lines are being put */
    int error;
};

static void put_str(struct writer *w, const char *s)
{
    if (w->error == 0)
        w->error = buf_append_str(w->out, s);
}

static void put_slice(struct writer *w, struct slice s)
{
    if (w->error == 0)
        w->error = buf_append_slice(w->out, s);
}

/* Whole numbers as such, because scripts compare them; others with the fewest digits that read back
 * as the same. */
static void format_number(char out[NUMBER_MAX], double value)
{
    if (isnan(value) || isinf(value)) {
        (void)snprintf(out, NUMBER_MAX, "%s", isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
        return;
    }
    if (fabs(value) <= WHOLE_MAX && value == trunc(value)) {
        (void)snprintf(out, NUMBER_MAX, "%lld", (long long)value);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(out, NUMBER_MAX, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            return;
    }
}

static void put_number(struct writer *w, double value)
{
    char text[NUMBER_MAX];

    format_number(text, value);
    put_str(w, text);
}

static void put_count(struct writer *w, uint64_t count)
{
    if (w->error == 0)
        w->error = buf_printf(w->out, "%llu\n", (unsigned long long)count);
}

static const char *owner_value(const struct metric_labels *labels, unsigned number)
{
    const char *at = labels->text;

    while (number-- > 0)
        at += strlen(at) + 1;
    return at;
}

static void put_row_labels(struct writer *w, const struct metric_sample *s)
{
    for (size_t i = 0; i < METRIC_LABELS_MAX && s->metric->labels[i]; i++) {
        const char *text = s->row->labels[i].text;

        put_str(w, i > 0 ? "," : "");
        put_str(w, s->metric->labels[i]);
        put_str(w, "=\"");
        put_str(w, text ? text : owner_value(s->labels, s->row->labels[i].value));
        put_str(w, "\"");
    }
}

/** `name_suffix{labels} `; le, when not NULL, is the last label. */
static void put_name(struct writer *w, const struct metric_sample *s, const char *suffix,
                     const char *le)
{
    bool has_labels = s->metric->labels[0] != NULL;

    put_str(w, s->metric->name);
    put_str(w, suffix);
    if (has_labels || le) {
        put_str(w, "{");
        if (s->row)
            put_row_labels(w, s);
        else
            put_slice(w, metric_labels_text(s->labels));
        if (le) {
            put_str(w, has_labels ? ",le=\"" : "le=\"");
            put_str(w, le);
            put_str(w, "\"");
        }
        put_str(w, "}");
    }
    put_str(w, " ");
}

static void put_histogram(struct writer *w, const struct metric_sample *s)
{
    uint64_t count = 0;
    char le[NUMBER_MAX];

    for (size_t i = 0; i <= s->metric->bounds_count; i++) {
        count += s->counts[i];
        format_number(le, i < s->metric->bounds_count ? s->metric->bounds[i] : INFINITY);
        put_name(w, s, "_bucket", le);
        put_count(w, count);
    }
    put_name(w, s, "_sum", NULL);
    put_number(w, s->value);
    put_str(w, "\n");
    put_name(w, s, "_count", NULL);
    put_count(w, count);
}

static void put_head(struct writer *w, const struct metric *m)
{
    if (m->bare || w->error < 0)
        return;
    w->error = buf_printf(w->out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name,
                          kind_names[m->kind]);
}

static void put_sample(struct writer *w, const struct metric_sample *s)
{
    if (s->metric != w->family)
        put_head(w, s->metric);
    w->family = s->metric;
    if (s->metric->kind == METRIC_HISTOGRAM) {
        put_histogram(w, s);
        return;
    }
    put_name(w, s, "", NULL);
    put_number(w, s->value);
    put_str(w, "\n");
}

/* The line of each owner. counts_at: where the row's are among an owner's counts. */
static void put_row(struct writer *w, const struct metrics_snapshot *s, size_t row,
                    size_t counts_at)
{
    const struct metrics_layout *l = s->layout;

    for (size_t i = 0; i < l->owners_count && w->error == 0; i++)
        put_sample(w, &(struct metric_sample){
                          .metric = &metric_table[l->rows[row].id],
                          .labels = l->owners[i],
                          .row = &l->rows[row],
                          .value = s->owner_values[i * l->rows_count + row],
                          .counts = s->owner_counts + i * l->row_counts_count + counts_at,
                      });
}

int metrics_render(const struct metrics_snapshot *s, struct buf *out)
{
    const struct metrics_layout *l = s->layout;
    const uint64_t *counts = s->counts;
    size_t line = 0, row = 0, row_counts = 0;
    struct writer w = {.out = out};

    for (enum metric_id id = 0; id < METRIC_COUNT && w.error == 0; id++) {
        const struct metric *metric = &metric_table[id];

        for (; line < l->lines_count && l->lines[line].metric == metric; line++) {
            put_sample(&w, &(struct metric_sample){metric, l->lines[line].labels, NULL,
                                                   s->values[line], counts});
            counts += metric_counts(metric);
        }
        for (; row < l->rows_count && l->rows[row].id == id; row++) {
            put_row(&w, s, row, row_counts);
            row_counts += metric_counts(metric);
        }
    }
    return w.error;
}

/* ---- docs/metrics.md ---- */

static const char introduction[] =
    "# Metrics\n"
    "\n"
    "Every metric of ringtail, as `ringtail metrics` prints this page and `/metrics` shows the "
    "numbers: Prometheus text,\n"
    "on `127.0.0.1:8001` unless the configuration says otherwise. All names begin with "
    "`" METRIC_PREFIX "`, those of the\n"
    "program before, so that dashboards, alerts and scripts keep working, but for those that "
    "Prometheus's own libraries\n"
    "name for every process. Labels are printed in the order given here.\n"
    "\n"
    "- `container_id` is the first 12 hex digits. Whole numbers are printed as such, without a "
    "fraction or exponent.\n"
    "- A metric without labels is there from the start, one with labels from the moment it may "
    "change; both begin at 0.\n"
    "- The series of a container that is gone leave after a while, and there is a bound on how "
    "many "
    "there are.\n"
    "- `" METRIC_PREFIX "goroutines` is printed without HELP and TYPE: scripts take the only line "
    "that begins with its name.\n";

static void put_labels(struct writer *w, const struct metric *m)
{
    for (size_t i = 0; i < METRIC_LABELS_MAX && m->labels[i]; i++) {
        put_str(w, i > 0 ? ", `" : "`");
        put_str(w, m->labels[i]);
        put_str(w, "`");
    }
}

static void put_bounds(struct writer *w, const struct metric *m)
{
    for (size_t i = 0; i < m->bounds_count; i++) {
        put_str(w, i > 0 ? " " : " Buckets: ");
        put_number(w, m->bounds[i]);
    }
    if (m->bounds_count > 0)
        put_str(w, ".");
}

int metrics_write_markdown(struct buf *out)
{
    struct writer w = {.out = out};
    const char *group = "";

    put_str(&w, introduction);
    for (enum metric_id id = 0; id < METRIC_COUNT; id++) {
        const struct metric *m = &metric_table[id];

        if (strcmp(group, m->group) != 0) {
            put_str(&w, "\n## ");
            put_str(&w, m->group);
            put_str(&w, "\n\n| Metric | Type | Labels | What it says |\n|---|---|---|---|\n");
            group = m->group;
        }
        put_str(&w, "| `");
        put_str(&w, m->name);
        put_str(&w, "` | ");
        put_str(&w, kind_names[m->kind]);
        put_str(&w, " | ");
        put_labels(&w, m);
        put_str(&w, " | ");
        put_str(&w, m->help);
        put_bounds(&w, m);
        put_str(&w, " |\n");
    }
    return w.error;
}
