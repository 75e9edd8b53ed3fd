/*
 * Loki's push API as JSON, POST /loki/api/v1/push:
 *
 *   {"streams":[{"stream":{"name":"value",…},"values":[["<ns>","<line>",{"name":"value",…}],…]},…]}
 *
 * The time is a string of nanoseconds; the third element, structured metadata, is optional, and its
 * values are strings; 204 says that all was taken (Grafana Loki, "Loki HTTP API", "Ingest logs").
 * The tenant is a header of its own, X-Scope-OrgID (the same), which the caller sends. An entry
 * with the same stream, time and line as one that Loki still holds in memory is dropped as a
 * repetition ("Loki overview", "Ingester"; so a repeated request is harmless).
 *
 * Values of a stream go by ascending time: a Loki with unordered_writes off refuses what is older
 * than the last ("Configuration", limits_config). A request with one entry that it refuses is a 400
 * although it has taken the others; bisecting then repeats those, which is harmless as above.
 *
 * Every label's distinct values are kept, up to their bound, so that names which nobody foresaw
 * cannot make streams without end (Loki's documentation, "Label best practices").
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/json.h"

#include "private.h"

/* Loki's defaults ("Configuration", limits_config): max_label_names_per_series is 15,
 * max_label_name_length 1024 and max_label_value_length 2048. */
#define LABELS_MAX 15
#define LABEL_NAME_MAX 128
#define LABEL_VALUE_MAX 1024
#define LABEL_EMPTY "_none" /* for Loki a label without a value is no label */

struct label_value {
    struct table_link link;
    char text[];
};

struct label {
    char *name;
    struct pattern pattern;
    struct table values; /* struct label_value; of labels only, not of metadata */
};

struct loki {
    struct label labels[LABELS_MAX], metadata[LABELS_MAX];
    size_t labels_count, metadata_count;
    uint32_t values_max;
    uint64_t replaced;
    struct buf value; /* while a label is made */
    uint32_t *order;  /* a stream's indices, while they are sorted */
    size_t order_cap;
};

static bool is_name(struct slice name)
{
    if (name.len == 0 || name.len > LABEL_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
              (i > 0 && c >= '0' && c <= '9')))
            return false;
    }
    /* Two underscores in front are Loki's own. */
    return name.len < 2 || name.data[0] != '_' || name.data[1] != '_';
}

static bool is_taken(const struct label *labels, size_t count, struct slice name)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq_str(name, labels[i].name))
            return true;
    }
    return false;
}

static struct slice trim(struct slice s)
{
    while (s.len > 0 && s.data[0] == ' ')
        s = slice_from(s, 1);
    while (s.len > 0 && s.data[s.len - 1] == ' ')
        s.len--;
    return s;
}

/** Reads one `name=pattern` into the next of `labels`. */
static int add_label(struct label *labels, size_t *count, struct slice in, char *why,
                     size_t why_size)
{
    const char *equals = in.len > 0 ? memchr(in.data, '=', in.len) : NULL;
    struct label *label = &labels[*count];
    struct slice name;
    int r;

    if (!equals)
        return pattern_refuse(why, why_size, "a label is written name=pattern");
    name = trim(slice_of(in.data, (size_t)(equals - in.data)));
    if (!is_name(name))
        return pattern_refuse(why, why_size, "\"%.*s\" is not the name of a label",
                              (int)MIN(name.len, 64), name.data);
    if (is_taken(labels, *count, name))
        return pattern_refuse(why, why_size, "label %.*s twice", (int)name.len, name.data);
    if (*count == LABELS_MAX)
        return pattern_refuse(why, why_size, "more than %d labels", LABELS_MAX);
    r = pattern_init(&label->pattern, trim(slice_from(in, (size_t)(equals - in.data) + 1)), why,
                     why_size);
    if (r < 0)
        return r;
    (*count)++;
    label->name = strndup(name.data, name.len);
    if (!label->name)
        return -ENOMEM;
    r = table_init(&label->values);
    if (r < 0)
        label->values = (struct table){0};
    return r;
}

static int add_labels(struct label *labels, size_t *count, const char *text, char *why,
                      size_t why_size)
{
    struct slice in = slice_str(text);

    while (in.len > 0) {
        const char *comma = memchr(in.data, ',', in.len);
        size_t len = comma ? (size_t)(comma - in.data) : in.len;
        int r = add_label(labels, count, slice_of(in.data, len), why, why_size);

        if (r < 0)
            return r;
        in = slice_from(in, comma ? len + 1 : len);
    }
    return 0;
}

static int loki_init(struct codec *c, const struct codec_options *options, char *why,
                     size_t why_size)
{
    struct loki *loki = calloc(1, sizeof *loki);
    int r;

    if (!loki)
        return -ENOMEM;
    c->loki = loki;
    loki->values_max = MAX(options->loki_label_values_max, 1u);
    r = add_labels(loki->labels, &loki->labels_count, options->loki_labels, why, why_size);
    if (r < 0)
        return r;
    if (loki->labels_count == 0)
        return pattern_refuse(why, why_size, "Loki needs at least one label");
    for (size_t i = 0; i < loki->labels_count; i++) {
        if (loki->labels[i].pattern.by_time)
            return pattern_refuse(why, why_size, "label %s has a time in it: that never ends",
                                  loki->labels[i].name);
    }
    return add_labels(loki->metadata, &loki->metadata_count, options->loki_metadata, why, why_size);
}

static void forget_values(struct label *label)
{
    struct table_link *link, *next;

    for (link = table_next(&label->values, NULL); link; link = next) {
        next = table_next(&label->values, link);
        table_remove(&label->values, link);
        free(container_of(link, struct label_value, link));
    }
}

static void free_labels(struct label *labels, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        forget_values(&labels[i]);
        table_finish(&labels[i].values);
        pattern_finish(&labels[i].pattern);
        free(labels[i].name);
    }
}

static void loki_finish(struct codec *c)
{
    struct loki *loki = c->loki;

    if (!loki)
        return;
    free_labels(loki->labels, loki->labels_count);
    free_labels(loki->metadata, loki->metadata_count);
    buf_finish(&loki->value);
    free(loki->order);
    free(loki);
}

/** Fills in the pattern; what is too long is cut between two characters. */
static int expand(struct codec *c, const struct label *label, const struct record *r,
                  struct slice *ret)
{
    struct buf *value = &c->loki->value;

    buf_reset(value);
    if (pattern_append(&label->pattern, r, codec_host(c), value) < 0)
        return -ENOMEM;
    if (value->len > LABEL_VALUE_MAX) {
        value->len = LABEL_VALUE_MAX;
        while (value->len > 0 && ((unsigned char)value->data[value->len] & 0xc0) == 0x80)
            value->len--;
    }
    *ret = value->len > 0 ? buf_slice(value) : slice_str(LABEL_EMPTY);
    return 0;
}

/** Whether the value is one of the label's, or becomes one. Returns 1, 0 beyond the bound, -ENOMEM.
 */
static int admit(const struct loki *loki, struct label *label, struct slice text)
{
    struct label_value *value;

    if (table_find(&label->values, text))
        return 1;
    if (label->values.count >= loki->values_max)
        return 0;
    value = malloc(sizeof *value + text.len);
    if (!value)
        return -ENOMEM;
    *value = (struct label_value){0};
    memcpy(value->text, text.data, text.len);
    table_insert(&label->values, &value->link, slice_of(value->text, text.len));
    return 1;
}

/** `{"name":"value",…}`; how many values were replaced is added to *replaced. */
static int append_labels(struct codec *c, const struct record *r, struct buf *out,
                         unsigned *replaced)
{
    struct loki *loki = c->loki;

    for (size_t i = 0; i < loki->labels_count; i++) {
        struct label *label = &loki->labels[i];
        struct slice value;
        int admitted;

        if (expand(c, label, r, &value) < 0)
            return -ENOMEM;
        admitted = admit(loki, label, value);
        if (admitted < 0)
            return admitted;
        if (!admitted) {
            value = slice_str(CODEC_LABEL_OTHER);
            (*replaced)++;
        }
        if (text_append(out, i == 0 ? "{\"" : ",\"", label->name, "\":") < 0 ||
            json_append_string(out, value) < 0)
            return -ENOMEM;
    }
    return buf_append_char(out, '}');
}

static int append_metadata(struct codec *c, const struct record *r, struct buf *out)
{
    const struct loki *loki = c->loki;

    for (size_t i = 0; i < loki->metadata_count; i++) {
        struct slice value;

        if (expand(c, &loki->metadata[i], r, &value) < 0 ||
            text_append(out, i == 0 ? ",{\"" : ",\"", loki->metadata[i].name, "\":") < 0 ||
            json_append_string(out, value) < 0)
            return -ENOMEM;
    }
    return loki->metadata_count > 0 ? buf_append_char(out, '}') : 0;
}

static int append_entry(struct codec *c, const struct record *r, struct buf *out)
{
    if (buf_append_str(out, "[\"") < 0 ||
        text_append_number(out, (uint64_t)record_time_ns(r), 1) < 0 ||
        text_append_member(out, "\",", record_line(r)) < 0 || append_metadata(c, r, out) < 0)
        return -ENOMEM;
    return buf_append_str(out, "],");
}

/** Finds the stream of every record. Neighbours are mostly of one, which is then not made again. */
static int group_streams(struct codec *c, const struct record *const *records, size_t count)
{
    const struct record *last = NULL;
    struct group *group = NULL;
    unsigned replaced = 0;

    for (size_t i = 0; i < count; i++) {
        const struct record *r = records[i];

        if (!last || r->source != last->source || r->stream != last->stream) {
            replaced = 0;
            buf_reset(&c->scratch);
            if (append_labels(c, r, &c->scratch, &replaced) < 0)
                return -ENOMEM;
            group = grouping_find(&c->grouping, buf_slice(&c->scratch));
            if (!group)
                return -ENOMEM;
            last = r;
        }
        c->loki->replaced += replaced;
        grouping_add(&c->grouping, group, (uint32_t)i);
    }
    return 0;
}

static int compare_times(const void *a, const void *b, void *ctx)
{
    const struct record *const *records = ctx;
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    int64_t x = record_time_ns(records[i]), y = record_time_ns(records[j]);

    if (x != y)
        return x < y ? -1 : 1;
    return i < j ? -1 : i > j;
}

/** The group's indices, by time, in loki->order. */
static void sort_stream(const struct codec *c, const struct record *const *records,
                        const struct group *group)
{
    uint32_t *order = c->loki->order;
    bool sorted = true;
    size_t n = 0;

    for (uint32_t i = group->first; i != GROUPING_END; i = c->grouping.next[i]) {
        sorted &= n == 0 || record_time_ns(records[order[n - 1]]) <= record_time_ns(records[i]);
        order[n++] = i;
    }
    if (!sorted)
        qsort_r(order, n, sizeof *order, compare_times, (void *)(uintptr_t)records);
}

static int loki_encode(struct codec *c, const struct record *const *records, size_t count,
                       struct buf *out)
{
    struct loki *loki = c->loki;

    if (count > loki->order_cap) {
        uint32_t *more = reallocarray(loki->order, count, sizeof *more);

        if (!more)
            return -ENOMEM;
        loki->order = more;
        loki->order_cap = count;
    }
    if (grouping_begin(&c->grouping, count) < 0 || group_streams(c, records, count) < 0 ||
        buf_append_str(out, "{\"streams\":[") < 0)
        return -ENOMEM;
    for (const struct group *group = c->grouping.head; group; group = group->next) {
        sort_stream(c, records, group);
        if (buf_append_str(out, "{\"stream\":") < 0 || buf_append_slice(out, group->link.key) < 0 ||
            buf_append_str(out, ",\"values\":[") < 0)
            return -ENOMEM;
        for (size_t i = 0; i < group->count; i++) {
            if (append_entry(c, records[loki->order[i]], out) < 0)
                return -ENOMEM;
        }
        out->len--; /* the last comma */
        if (buf_append_str(out, "]},") < 0)
            return -ENOMEM;
    }
    out->len--;
    return buf_append_str(out, "]}");
}

uint64_t codec_labels_replaced(const struct codec *c)
{
    return c->loki ? c->loki->replaced : 0;
}

void codec_forget_labels(struct codec *c)
{
    if (!c->loki)
        return;
    for (size_t i = 0; i < c->loki->labels_count; i++)
        forget_values(&c->loki->labels[i]);
}

const struct codec_ops codec_loki_ops = {
    .content_type = "application/json",
    .path = "/loki/api/v1/push",
    .init = loki_init,
    .finish = loki_finish,
    .encode = loki_encode,
};
