/*
 * The registry of series. Owns every series; a family lists those of one metric in the order in
 * which they were made. Shares the layout of its lines, and with it the label texts, with
 * snapshots, by counts that any thread may lower.
 *
 * Invariants: a series that is not dropped is in at most one group; those that linger are in one
 * list, the longest dropped first; `refused` is in no family and takes what has no place; a layout
 * that is there has every series in it.
 */
#include "ringtail/base/metric.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/json.h"
#include "ringtail/base/macros.h"

#include "metric_private.h"

struct metrics {
    struct metrics_options options;
    struct table by_labels;
    struct list families[METRIC_COUNT];
    struct list lingering;
    size_t labelled_count; /* series that count against series_max */
    size_t series_count, counts_count;
    struct metrics_layout *layout; /* NULL: series have come or gone since the last one */
    struct metric_series **order;  /* of the layout's lines */
    struct metric_series refused;
};

/* ---- labels ---- */

/* Prometheus wants UTF-8. A value that is none keeps its ASCII. */
static int append_value(struct buf *b, struct slice value)
{
    bool valid = utf8_is_valid(value);
    int r = 0;

    for (size_t i = 0; r == 0 && i < value.len; i++) {
        char c = value.data[i];

        if (c == '\n')
            r = buf_append_str(b, "\\n");
        else if (c == '"' || c == '\\')
            r = buf_printf(b, "\\%c", c);
        else if (!valid && (c & 0x80))
            r = buf_append_str(b, "\xef\xbf\xbd");
        else
            r = buf_append_char(b, c);
    }
    return r;
}

static int append_key(struct buf *b, enum metric_id id, const char *const *values)
{
    const struct metric *metric = &metric_table[id];
    uint16_t number = (uint16_t)id;
    int r = buf_append(b, &number, sizeof number);

    for (size_t i = 0; r == 0 && i < METRIC_LABELS_MAX && metric->labels[i]; i++) {
        assert(values[i]);
        r = buf_printf(b, "%s%s=\"", i > 0 ? "," : "", metric->labels[i]);
        if (r == 0)
            r = append_value(b, slice_str(values[i]));
        if (r == 0)
            r = buf_append_char(b, '"');
    }
    return r;
}

static struct metric_labels *labels_create(struct slice key)
{
    struct metric_labels *l = malloc(sizeof *l + key.len);

    if (!l)
        return NULL;
    atomic_init(&l->refs, 1);
    l->len = (uint32_t)key.len;
    memcpy(l->text, key.data, key.len);
    return l;
}

static struct metric_labels *labels_ref(struct metric_labels *l)
{
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    return l;
}

static void labels_unref(struct metric_labels *l)
{
    if (l && atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) == 1)
        free(l);
}

/* ---- layouts ---- */

static void layout_unref(struct metrics_layout *l)
{
    if (!l || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < l->lines_count; i++)
        labels_unref(l->lines[i].labels);
    free(l);
}

static void forget_layout(struct metrics *m)
{
    layout_unref(m->layout);
    free(m->order);
    m->layout = NULL;
    m->order = NULL;
}

static int make_layout(struct metrics *m)
{
    size_t count = m->series_count, i = 0;

    if (m->layout)
        return 0;
    m->order = malloc(count * sizeof(struct metric_series *));
    m->layout = malloc(sizeof *m->layout + count * sizeof *m->layout->lines);
    if (!m->order || !m->layout) {
        free(m->layout);
        m->layout = NULL;
        forget_layout(m);
        return -ENOMEM;
    }
    atomic_init(&m->layout->refs, 1);
    m->layout->lines_count = count;
    for (enum metric_id id = 0; id < METRIC_COUNT; id++) {
        LIST_FOR_EACH_ENTRY (s, &m->families[id], struct metric_series, in_family) {
            m->layout->lines[i] = (struct metrics_line){s->metric, labels_ref(s->labels)};
            m->order[i++] = s;
        }
    }
    return 0;
}

/* ---- series ---- */

static bool is_labelled(const struct metric *metric)
{
    return metric->labels[0] != NULL;
}

static struct metric_series *series_create(struct metrics *m, enum metric_id id, struct slice key)
{
    const struct metric *metric = &metric_table[id];
    struct metric_series *s = calloc(1, sizeof *s + metric_counts(metric) * sizeof *s->counts);

    if (!s)
        return NULL;
    s->labels = labels_create(key);
    if (!s->labels) {
        free(s);
        return NULL;
    }
    s->counts = metric_counts(metric) > 0 ? (uint64_t *)(s + 1) : NULL;
    s->metric = metric;
    s->metrics = m;
    list_append(&m->families[id], &s->in_family);
    table_insert(&m->by_labels, &s->by_labels, slice_of(s->labels->text, s->labels->len));
    m->series_count++;
    m->counts_count += metric_counts(metric);
    m->labelled_count += is_labelled(metric);
    forget_layout(m);
    return s;
}

static void series_destroy(struct metric_series *s)
{
    struct metrics *m = s->metrics;

    forget_layout(m);
    list_remove(&s->link);
    list_remove(&s->in_family);
    table_remove(&m->by_labels, &s->by_labels);
    m->series_count--;
    m->counts_count -= metric_counts(s->metric);
    m->labelled_count -= is_labelled(s->metric);
    labels_unref(s->labels);
    free(s);
}

static struct metric_series *first_lingering(struct metrics *m)
{
    if (list_is_empty(&m->lingering))
        return NULL;
    return container_of(m->lingering.next, struct metric_series, link);
}

static void forget_lingered(struct metrics *m, int64_t now_mono_ns)
{
    int64_t linger_ns = m->options.linger_ms * NSEC_PER_MSEC;
    struct metric_series *s;

    while ((s = first_lingering(m)) && now_mono_ns - s->dropped_at_mono_ns >= linger_ns)
        series_destroy(s);
}

bool metrics_has_room(const struct metrics *m)
{
    return m->labelled_count < m->options.series_max || !list_is_empty(&m->lingering);
}

bool metrics_is_refused(const struct metrics *m, const struct metric_series *s)
{
    return s == &m->refused;
}

static bool make_room(struct metrics *m, enum metric_id id)
{
    if (!is_labelled(&metric_table[id]) || m->labelled_count < m->options.series_max)
        return true;
    if (!metrics_has_room(m))
        return false;
    series_destroy(first_lingering(m));
    return true;
}

static struct metric_series *find_or_create(struct metrics *m, enum metric_id id,
                                            const char *const *values)
{
    RT_CLEANUP(buf_finish) struct buf key = {0};
    struct table_link *found;

    if (append_key(&key, id, values) < 0)
        return NULL;
    found = table_find(&m->by_labels, buf_slice(&key));
    if (found)
        return container_of(found, struct metric_series, by_labels);
    return make_room(m, id) ? series_create(m, id, buf_slice(&key)) : NULL;
}

struct metric_series *metrics_series_get(struct metrics *m, struct metric_group *group,
                                         enum metric_id id, const char *const *values)
{
    struct metric_series *s = find_or_create(m, id, values);

    if (!s) {
        metric_add(metrics_plain(m, METRIC_SERIES_REFUSED), 1);
        return &m->refused;
    }
    if (s->dropped) {
        s->dropped = false;
        list_remove(&s->link);
    }
    if (group && !list_is_linked(&s->link))
        list_append(&group->series, &s->link);
    return s;
}

struct metric_series *metrics_plain(struct metrics *m, enum metric_id id)
{
    assert(!is_labelled(&metric_table[id]));
    return container_of(m->families[id].next, struct metric_series, in_family);
}

void metrics_series_drop(struct metric_series *s, int64_t now_mono_ns)
{
    if (!s || s == &s->metrics->refused)
        return;
    assert(!s->dropped && is_labelled(s->metric));
    list_remove(&s->link);
    s->dropped = true;
    s->dropped_at_mono_ns = now_mono_ns;
    list_append(&s->metrics->lingering, &s->link);
    forget_lingered(s->metrics, now_mono_ns);
}

void metric_group_drop(struct metric_group *g, int64_t now_mono_ns)
{
    struct list *link;

    while ((link = list_pop(&g->series)))
        metrics_series_drop(container_of(link, struct metric_series, link), now_mono_ns);
}

void metric_observe(struct metric_series *s, double value)
{
    size_t i = 0;

    s->value += value;
    if (!s->counts)
        return; /* a series that was refused */
    while (i < s->metric->bounds_count && value > s->metric->bounds[i])
        i++;
    s->counts[i]++;
}

/* ---- the registry ---- */

struct metrics *metrics_create(const struct metrics_options *options)
{
    struct metrics *m = calloc(1, sizeof *m);

    if (!m)
        return NULL;
    m->options = *options;
    m->refused.metrics = m;
    list_init(&m->lingering);
    for (enum metric_id id = 0; id < METRIC_COUNT; id++)
        list_init(&m->families[id]);
    if (table_init(&m->by_labels) < 0)
        return metrics_destroy(m);
    for (enum metric_id id = 0; id < METRIC_COUNT; id++) {
        if (!is_labelled(&metric_table[id]) && !find_or_create(m, id, NULL))
            return metrics_destroy(m);
    }
    return m;
}

struct metrics *metrics_destroy(struct metrics *m)
{
    if (!m)
        return NULL;
    for (enum metric_id id = 0; id < METRIC_COUNT; id++) {
        LIST_FOR_EACH_ENTRY (s, &m->families[id], struct metric_series, in_family)
            series_destroy(s);
    }
    forget_layout(m);
    table_finish(&m->by_labels);
    free(m);
    return NULL;
}

/* ---- snapshots ---- */

struct metrics_snapshot *metrics_snapshot(struct metrics *m, int64_t now_mono_ns)
{
    struct metrics_snapshot *snapshot;
    uint64_t *counts;

    forget_lingered(m, now_mono_ns);
    metric_set(metrics_plain(m, METRIC_SERIES), (double)m->labelled_count);
    if (make_layout(m) < 0)
        return NULL;
    snapshot = malloc(sizeof *snapshot + m->series_count * sizeof *snapshot->values +
                      m->counts_count * sizeof *counts);
    if (!snapshot)
        return NULL;
    snapshot->layout = m->layout;
    snapshot->values = (double *)(snapshot + 1);
    snapshot->counts = counts = (uint64_t *)(snapshot->values + m->series_count);
    atomic_fetch_add_explicit(&m->layout->refs, 1, memory_order_relaxed);
    for (size_t i = 0; i < m->series_count; i++) {
        const struct metric_series *s = m->order[i];

        snapshot->values[i] = s->value;
        for (size_t k = 0; k < metric_counts(s->metric); k++)
            *counts++ = s->counts[k];
    }
    return snapshot;
}

struct metrics_snapshot *metrics_snapshot_destroy(struct metrics_snapshot *s)
{
    if (!s)
        return NULL;
    layout_unref(s->layout);
    free(s);
    return NULL;
}
