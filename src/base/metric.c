/*
 * The registry of series and owners. Owns all of them; a family lists the series of one metric in
 * the order in which they were made. Shares the layout of its lines, and with it the label texts,
 * with snapshots, by counts that any thread may lower.
 *
 * Invariants: a series that is not dropped is in at most one owner's list; what lingers is in one
 * list, the longest dropped first; `refused` is in no family and takes what has no place; a layout
 * that is there has every series and every owner in it.
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
    struct table by_labels, owners_by_id;
    struct list families[METRIC_COUNT];
    struct list owners;
    struct list lingering;
    size_t labelled_count;  /* lines that count against series_max */
    size_t lingering_count; /* of these */
    size_t series_count, counts_count;
    size_t owners_count, row_counts_count;
    struct metrics_layout *layout; /* NULL: something has come or gone since the last one */
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

/* Of an owner. */
static int append_values(struct buf *b, const char *const *values)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < METRIC_OWNER_VALUES; i++) {
        r = append_value(b, slice_str(values[i]));
        if (r == 0)
            r = buf_append_char(b, '\0');
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
    for (size_t i = 0; i < l->owners_count; i++)
        labels_unref(l->owners[i]);
    free(l);
}

static void forget_layout(struct metrics *m)
{
    layout_unref(m->layout);
    free(m->order);
    m->layout = NULL;
    m->order = NULL;
}

static struct metrics_layout *layout_create(const struct metrics *m)
{
    struct metrics_layout *l = malloc(sizeof *l + m->series_count * sizeof *l->lines +
                                      m->owners_count * sizeof(struct metric_labels *));

    if (!l)
        return NULL;
    *l = (struct metrics_layout){
        .rows = m->options.rows,
        .rows_count = m->options.rows_count,
        .row_counts_count = m->row_counts_count,
        .owners = (struct metric_labels **)(void *)(l->lines + m->series_count),
    };
    atomic_init(&l->refs, 1);
    return l;
}

static int make_layout(struct metrics *m)
{
    struct metrics_layout *l;

    if (m->layout)
        return 0;
    m->order = malloc(m->series_count * sizeof(struct metric_series *));
    m->layout = l = m->order ? layout_create(m) : NULL;
    if (!l) {
        forget_layout(m);
        return -ENOMEM;
    }
    for (enum metric_id id = 0; id < METRIC_COUNT; id++) {
        LIST_FOR_EACH_ENTRY (s, &m->families[id], struct metric_series, in_family) {
            m->order[l->lines_count] = s;
            l->lines[l->lines_count++] = (struct metrics_line){s->metric, labels_ref(s->labels)};
        }
    }
    LIST_FOR_EACH_ENTRY (o, &m->owners, struct metric_owner, in_all)
        l->owners[l->owners_count++] = labels_ref(o->labels);
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

/* ---- what lingers ---- */

static size_t lines_of(const struct metrics *m, const struct metric_life *life)
{
    return life->is_owner ? m->options.rows_count : 1;
}

static void drop(struct metrics *m, struct metric_life *life, int64_t now_mono_ns)
{
    assert(!life->dropped);
    list_remove(&life->link);
    life->dropped = true;
    life->dropped_at_mono_ns = now_mono_ns;
    list_append(&m->lingering, &life->link);
    m->lingering_count += lines_of(m, life);
}

static void revive(struct metrics *m, struct metric_life *life)
{
    if (!life->dropped)
        return;
    life->dropped = false;
    list_remove(&life->link);
    m->lingering_count -= lines_of(m, life);
}

/* The end of a series or an owner, of which so many lines counted against series_max. */
static void end_life(struct metrics *m, struct metric_life *life, size_t lines)
{
    forget_layout(m);
    revive(m, life);
    list_remove(&life->link);
    m->labelled_count -= lines;
}

static void series_destroy(struct metric_series *s)
{
    struct metrics *m = s->metrics;

    end_life(m, &s->life, is_labelled(s->metric));
    list_remove(&s->in_family);
    table_remove(&m->by_labels, &s->by_labels);
    m->series_count--;
    m->counts_count -= metric_counts(s->metric);
    labels_unref(s->labels);
    free(s);
}

static void owner_destroy(struct metric_owner *o)
{
    struct metrics *m = o->metrics;

    end_life(m, &o->life, m->options.rows_count);
    list_remove(&o->in_all);
    table_remove(&m->owners_by_id, &o->by_id);
    m->owners_count--;
    labels_unref(o->labels);
    free(o);
}

static struct metric_life *first_lingering(struct metrics *m)
{
    if (list_is_empty(&m->lingering))
        return NULL;
    return container_of(m->lingering.next, struct metric_life, link);
}

static void forget(struct metric_life *life)
{
    if (life->is_owner)
        owner_destroy(container_of(life, struct metric_owner, life));
    else
        series_destroy(container_of(life, struct metric_series, life));
}

static void forget_lingered(struct metrics *m, int64_t now_mono_ns)
{
    int64_t linger_ns = m->options.linger_ms * NSEC_PER_MSEC;
    struct metric_life *life;

    while ((life = first_lingering(m)) && now_mono_ns - life->dropped_at_mono_ns >= linger_ns)
        forget(life);
}

static bool has_room(const struct metrics *m, size_t lines)
{
    return m->labelled_count - m->lingering_count + lines <= m->options.series_max;
}

static bool make_room(struct metrics *m, size_t lines)
{
    if (!has_room(m, lines))
        return false;
    while (m->labelled_count + lines > m->options.series_max)
        forget(first_lingering(m));
    return true;
}

/* ---- finding and making ---- */

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
    if (is_labelled(&metric_table[id]) && !make_room(m, 1))
        return NULL;
    return series_create(m, id, buf_slice(&key));
}

struct metric_series *metrics_series_get(struct metrics *m, struct metric_owner *owner,
                                         enum metric_id id, const char *const *values)
{
    struct metric_series *s = find_or_create(m, id, values);

    if (!s) {
        metric_add(metrics_plain(m, METRIC_SERIES_REFUSED), 1);
        return &m->refused;
    }
    revive(m, &s->life);
    if (owner && !list_is_linked(&s->life.link))
        list_append(&owner->series, &s->life.link);
    return s;
}

struct metric_series *metrics_plain(struct metrics *m, enum metric_id id)
{
    assert(!is_labelled(&metric_table[id]));
    return container_of(m->families[id].next, struct metric_series, in_family);
}

static size_t bucket_of(const struct metric *metric, double value)
{
    size_t i = 0;

    while (i < metric->bounds_count && value > metric->bounds[i])
        i++;
    return i;
}

void metric_observe(struct metric_series *s, double value)
{
    s->value += value;
    if (s->counts) /* else a series that was refused */
        s->counts[bucket_of(s->metric, value)]++;
}

/* ---- owners ---- */

static struct slice owner_id(const struct metric_labels *values)
{
    return slice_str(values->text);
}

static struct metric_labels *values_create(const char *const *values)
{
    RT_CLEANUP(buf_finish) struct buf text = {0};

    return append_values(&text, values) < 0 ? NULL : labels_create(buf_slice(&text));
}

static struct metric_owner *owner_create(struct metrics *m, struct metric_labels *labels)
{
    struct metric_owner *o = calloc(1, sizeof *o + m->options.rows_count * sizeof *o->values +
                                           m->row_counts_count * sizeof *o->counts);

    if (!o)
        return NULL;
    o->metrics = m;
    o->labels = labels_ref(labels);
    o->counts = (uint64_t *)(o->values + m->options.rows_count);
    o->life.is_owner = true;
    list_init(&o->series);
    list_append(&m->owners, &o->in_all);
    table_insert(&m->owners_by_id, &o->by_id, owner_id(o->labels));
    m->owners_count++;
    m->labelled_count += m->options.rows_count;
    forget_layout(m);
    return o;
}

static void relabel(struct metric_owner *o, struct metric_labels *labels)
{
    struct metrics *m = o->metrics;

    assert(slice_eq(owner_id(labels), owner_id(o->labels)));
    table_remove(&m->owners_by_id, &o->by_id);
    labels_unref(o->labels);
    o->labels = labels_ref(labels);
    table_insert(&m->owners_by_id, &o->by_id, owner_id(o->labels));
    forget_layout(m);
}

static struct metric_owner *find_or_create_owner(struct metrics *m, struct metric_labels *labels)
{
    struct table_link *found = table_find(&m->owners_by_id, owner_id(labels));
    struct metric_owner *o;

    if (!found)
        return make_room(m, m->options.rows_count) ? owner_create(m, labels) : NULL;
    o = container_of(found, struct metric_owner, by_id);
    if (!o->life.dropped)
        return NULL;
    revive(m, &o->life);
    relabel(o, labels);
    return o;
}

struct metric_owner *metrics_owner_get(struct metrics *m, const char *const *values)
{
    struct metric_labels *labels = values_create(values);
    struct metric_owner *o = labels ? find_or_create_owner(m, labels) : NULL;

    labels_unref(labels);
    if (!o)
        metric_add(metrics_plain(m, METRIC_SERIES_REFUSED), (double)m->options.rows_count);
    return o;
}

bool metrics_has_owner_room(const struct metrics *m)
{
    return has_room(m, m->options.rows_count);
}

static void drop_series(struct metric_owner *o, int64_t now_mono_ns)
{
    struct list *link;

    while ((link = list_pop(&o->series)))
        drop(o->metrics, container_of(link, struct metric_life, link), now_mono_ns);
}

int metric_owner_relabel(struct metric_owner *o, const char *const *values, int64_t now_mono_ns)
{
    struct metric_labels *labels = values_create(values);

    if (!labels)
        return -ENOMEM;
    drop_series(o, now_mono_ns);
    relabel(o, labels);
    labels_unref(labels);
    return 0;
}

void metrics_owner_drop(struct metric_owner *o, int64_t now_mono_ns)
{
    if (!o)
        return;
    drop_series(o, now_mono_ns);
    drop(o->metrics, &o->life, now_mono_ns);
    forget_lingered(o->metrics, now_mono_ns);
}

static size_t counts_before(const struct metrics *m, size_t row)
{
    size_t count = 0;

    for (size_t i = 0; i < row; i++)
        count += metric_counts(&metric_table[m->options.rows[i].id]);
    return count;
}

void metric_owner_observe(struct metric_owner *o, size_t row, double value)
{
    const struct metrics *m = o->metrics;
    const struct metric *metric = &metric_table[m->options.rows[row].id];

    o->values[row] += value;
    o->counts[counts_before(m, row) + bucket_of(metric, value)]++;
}

/* ---- the registry ---- */

struct metrics *metrics_create(const struct metrics_options *options)
{
    struct metrics *m = calloc(1, sizeof *m);

    if (!m)
        return NULL;
    m->options = *options;
    m->row_counts_count = counts_before(m, m->options.rows_count);
    m->refused.metrics = m;
    list_init(&m->lingering);
    list_init(&m->owners);
    for (enum metric_id id = 0; id < METRIC_COUNT; id++)
        list_init(&m->families[id]);
    if (table_init(&m->by_labels) < 0 || table_init(&m->owners_by_id) < 0)
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
    LIST_FOR_EACH_ENTRY (o, &m->owners, struct metric_owner, in_all)
        owner_destroy(o);
    forget_layout(m);
    table_finish(&m->by_labels);
    table_finish(&m->owners_by_id);
    free(m);
    return NULL;
}

/* ---- snapshots ---- */

static struct metrics_snapshot *snapshot_create(const struct metrics *m)
{
    size_t owner_values = m->owners_count * m->options.rows_count;
    size_t owner_counts = m->owners_count * m->row_counts_count;
    struct metrics_snapshot *s =
        malloc(sizeof *s + (m->series_count + owner_values) * sizeof *s->values +
               (m->counts_count + owner_counts) * sizeof *s->counts);

    if (!s)
        return NULL;
    s->values = (double *)(s + 1);
    s->owner_values = s->values + m->series_count;
    s->counts = (uint64_t *)(s->owner_values + owner_values);
    s->owner_counts = s->counts + m->counts_count;
    s->layout = m->layout;
    atomic_fetch_add_explicit(&m->layout->refs, 1, memory_order_relaxed);
    return s;
}

struct metrics_snapshot *metrics_snapshot(struct metrics *m, int64_t now_mono_ns)
{
    size_t rows_bytes = m->options.rows_count * sizeof(double);
    size_t counts_bytes = m->row_counts_count * sizeof(uint64_t);
    struct metrics_snapshot *snapshot;
    uint64_t *counts;
    size_t at = 0;

    forget_lingered(m, now_mono_ns);
    metric_set(metrics_plain(m, METRIC_SERIES), (double)m->labelled_count);
    if (make_layout(m) < 0)
        return NULL;
    snapshot = snapshot_create(m);
    if (!snapshot)
        return NULL;
    counts = snapshot->counts;
    for (size_t i = 0; i < m->series_count; i++) {
        const struct metric_series *s = m->order[i];

        snapshot->values[i] = s->value;
        for (size_t k = 0; k < metric_counts(s->metric); k++)
            *counts++ = s->counts[k];
    }
    LIST_FOR_EACH_ENTRY (o, &m->owners, struct metric_owner, in_all) {
        memcpy(snapshot->owner_values + at * m->options.rows_count, o->values, rows_bytes);
        memcpy(snapshot->owner_counts + at++ * m->row_counts_count, o->counts, counts_bytes);
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
