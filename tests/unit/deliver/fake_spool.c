#include "fake_spool.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"

#define CURSORS_MAX 4

struct spool_cursor {
    struct spool *spool;
    char name[32];
    struct spool_place place;
};

struct kept {
    struct list link;
    struct batch *batch;
    struct spool_place begin, end;
    uint16_t cursors;
};

struct spool {
    struct list kept, appends, reads;
    size_t bytes_max, bytes;
    struct spool_place end, durable_end;
    struct spool_cursor cursors[CURSORS_MAX];
    unsigned cursors_count;
    struct spool_stats stats;
    bool read_fails;
    int read_res;
    uint64_t broken_from, broken_to;
    bool aborted, read_is_next;
};

struct spool *fake_spool_create(size_t bytes_max)
{
    struct spool *s = calloc(1, sizeof *s);

    assert_non_null(s);
    s->bytes_max = bytes_max;
    list_init(&s->kept);
    list_init(&s->appends);
    list_init(&s->reads);
    return s;
}

static void forget(struct spool *s, struct kept *k)
{
    s->bytes -= k->batch->bytes;
    list_remove(&k->link);
    (void)batch_unref(k->batch);
    free(k);
}

void fake_spool_destroy(struct spool *s)
{
    assert_true(list_is_empty(&s->appends) && list_is_empty(&s->reads));
    LIST_FOR_EACH_ENTRY (k, &s->kept, struct kept, link)
        forget(s, k);
    free(s);
}

static struct batch *copy_of(const struct batch *b)
{
    struct batch *copy = batch_create(NULL, NULL);

    if (!copy)
        return NULL;
    for (size_t i = 0; i < b->count; i++) {
        const struct record *r = &b->records[i];

        if (batch_append(copy, r->source, (enum record_stream)r->stream, r->ts_ns, r->flags,
                         slice_of(r->data, r->len)) < 0)
            return batch_unref(copy);
        copy->records[i].ordinal = r->ordinal;
    }
    return copy;
}

int spool_append_batch(struct spool *s, struct spool_append *a, struct batch *batch,
                       uint16_t cursors)
{
    struct kept *k;

    assert_false(s->aborted);
    if (s->bytes + batch->bytes > s->bytes_max)
        return -ENOSPC;
    k = calloc(1, sizeof *k);
    if (!k)
        return -ENOMEM;
    k->batch = copy_of(batch);
    if (!k->batch) {
        free(k);
        return -ENOMEM;
    }
    k->cursors = cursors;
    k->begin = a->begin = s->end;
    s->end.at += batch->bytes + 1;
    s->end.record += batch->count;
    k->end = a->end = s->end;
    a->batch = batch_ref(batch);
    s->bytes += batch->bytes;
    s->stats.writing_bytes += batch->bytes;
    list_append(&s->kept, &k->link);
    list_append(&s->appends, &a->link);
    return 0;
}

struct spool_place spool_end(const struct spool *s)
{
    return s->end;
}

struct spool_cursor *spool_cursor_get(struct spool *s, const char *name)
{
    struct spool_cursor *c;

    for (unsigned i = 0; i < s->cursors_count; i++)
        if (strcmp(s->cursors[i].name, name) == 0)
            return &s->cursors[i];
    assert_true(s->cursors_count < CURSORS_MAX);
    c = &s->cursors[s->cursors_count++];
    *c = (struct spool_cursor){.spool = s, .place = SPOOL_NOTHING};
    strcpy(c->name, name);
    return c;
}

uint16_t spool_cursor_bit(const struct spool_cursor *c)
{
    return (uint16_t)BIT(c - c->spool->cursors);
}

static bool is_wanted(const struct spool *s, const struct kept *k)
{
    for (unsigned i = 0; i < s->cursors_count; i++)
        if (s->cursors[i].place.at < k->end.at)
            return true;
    return false;
}

void spool_cursor_set(struct spool_cursor *c, struct spool_place place)
{
    assert_true(spool_is_nothing(place) || spool_is_nothing(c->place) ||
                (place.at >= c->place.at && place.at <= c->spool->end.at));
    c->place = place;
    LIST_FOR_EACH_ENTRY (k, &c->spool->kept, struct kept, link) {
        if (is_wanted(c->spool, k) || k->end.at > c->spool->durable_end.at)
            break;
        forget(c->spool, k);
    }
}

struct spool_place spool_cursor_place(const struct spool_cursor *c)
{
    return c->place;
}

void spool_read_from(struct spool *s, struct spool_read *r, const struct spool_cursor *c,
                     struct spool_place place, size_t bytes_max)
{
    assert_true(place.at < s->end.at && !s->aborted);
    r->at = place;
    r->cursor = spool_cursor_bit(c);
    list_append(&s->reads, &r->link);
}

const struct spool_stats *spool_stats_get(const struct spool *s)
{
    return &s->stats;
}

struct spool_place spool_skip_segment(const struct spool *s, struct spool_place place)
{
    LIST_FOR_EACH_ENTRY (k, &s->kept, struct kept, link)
        if (k->begin.at >= place.at && k->end.at <= s->durable_end.at)
            return k->end;
    return s->durable_end;
}

static void read_one(struct spool *s, struct spool_read *r)
{
    struct spool_place place = r->at;
    uint16_t cursor = r->cursor;
    int res = 0;

    *r = (struct spool_read){.done = r->done, .begin = place, .end = place};
    if (s->aborted || (s->read_fails && s->read_res < 0)) {
        s->read_fails = false;
        r->done(r, s->aborted ? -ECANCELED : s->read_res);
        return;
    }
    if (place.at >= s->broken_from && place.at < s->broken_to) {
        r->done(r, -EIO);
        return;
    }
    LIST_FOR_EACH_ENTRY (k, &s->kept, struct kept, link) {
        if (k->begin.at < place.at)
            continue;
        if (k->end.at > s->durable_end.at)
            break;
        r->begin = k->begin;
        r->end = k->end;
        if (!(k->cursors & cursor))
            break;
        if (s->read_fails)
            r->skipped = k->batch->count;
        else
            r->batch = copy_of(k->batch);
        if (!s->read_fails && !r->batch) {
            r->begin = r->end = place;
            res = -ENOMEM;
        }
        s->read_fails = false;
        break;
    }
    if (res == 0 && r->end.at == place.at)
        r->end = s->durable_end; /* nothing is there any more */
    r->done(r, res);
}

/* What was never durable is not there for anybody. */
static void forget_append(struct spool *s, const struct spool_append *a)
{
    LIST_FOR_EACH_ENTRY (k, &s->kept, struct kept, link) {
        if (k->begin.at == a->begin.at)
            forget(s, k);
    }
}

static bool can_read(const struct spool *s)
{
    if (list_is_empty(&s->reads))
        return false;
    return s->aborted ||
           container_of(s->reads.next, struct spool_read, link)->at.at < s->durable_end.at;
}

bool fake_spool_step(struct spool *s)
{
    struct list *link = NULL;

    if (!can_read(s) || !s->read_is_next)
        link = list_pop(&s->appends);
    s->read_is_next = link != NULL;
    if (link) {
        struct spool_append *a = container_of(link, struct spool_append, link);
        struct batch *batch = a->batch;

        s->stats.writing_bytes -= batch->bytes;
        if (s->aborted) {
            a->error = -ECANCELED;
            forget_append(s, a);
        } else {
            s->durable_end = a->end;
        }
        a->batch = NULL;
        a->done(a);
        (void)batch_unref(batch);
        return true;
    }
    link = can_read(s) ? list_pop(&s->reads) : NULL;
    if (link) {
        read_one(s, container_of(link, struct spool_read, link));
        return true;
    }
    return false;
}

void spool_abort(struct spool *s)
{
    s->aborted = true;
}

bool fake_spool_is_aborted(const struct spool *s)
{
    return s->aborted;
}

void fake_spool_open_again(struct spool *s)
{
    assert_true(list_is_empty(&s->appends) && list_is_empty(&s->reads));
    s->aborted = false;
    s->durable_end = s->end;
}

void fake_spool_fail_read(struct spool *s, int res)
{
    s->read_fails = true;
    s->read_res = res;
}

void fake_spool_break(struct spool *s, uint64_t from_at, uint64_t to_at)
{
    s->broken_from = from_at;
    s->broken_to = to_at;
}

uint64_t fake_spool_records(const struct spool *s, const char *cursor)
{
    uint64_t records = 0;

    for (unsigned i = 0; i < s->cursors_count; i++)
        if (strcmp(s->cursors[i].name, cursor) == 0) {
            LIST_FOR_EACH_ENTRY (k, &s->kept, struct kept, link)
                if (k->cursors & BIT(i) && k->begin.at >= s->cursors[i].place.at)
                    records += k->batch->count;
        }
    return records;
}
