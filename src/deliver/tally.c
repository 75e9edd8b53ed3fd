/* deliver/tally.h. */
#include "ringtail/deliver/tally.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"

const char *lost_reason_name(enum lost_reason reason)
{
    static const char *const names[LOST_REASON_COUNT] = {
        [LOST_ABORTED] = "stopped",
        [LOST_REFUSED] = "refused",
        [LOST_UNNAMED] = "dropped_by_receiver",
        [LOST_DROPPED_OLDEST] = "drop_oldest",
        [LOST_DROPPED_NEWEST] = "drop_newest",
        [LOST_DAMAGED] = "spool_damaged",
        [LOST_EXPIRED] = "spool_expired",
        [LOST_UNREADABLE] = "spool_unreadable",
    };

    return names[reason];
}

int tallies_init(struct tallies *t, size_t sinks_count)
{
    assert(sinks_count <= SINKS_MAX);
    *t = (struct tallies){.sinks_count = sinks_count};
    return table_init(&t->table);
}

static void tally_free(struct tallies *t, struct tally *tally)
{
    table_remove(&t->table, &tally->by_id);
    free(tally);
}

void tallies_finish(struct tallies *t)
{
    struct table_link *link, *next;

    if (!t->table.buckets)
        return;
    for (link = table_next(&t->table, NULL); link; link = next) {
        struct tally *tally = container_of(link, struct tally, by_id);

        next = table_next(&t->table, link);
        assert(tally->refs == 0);
        tally_free(t, tally);
    }
    table_finish(&t->table);
}

struct tally *tallies_get(struct tallies *t, struct slice id)
{
    struct table_link *link = table_find(&t->table, id);
    struct tally *tally;

    if (link) {
        tally = container_of(link, struct tally, by_id);
        tally->refs++;
        return tally;
    }
    if (id.len > SOURCE_ID_LEN)
        return NULL;
    tally = calloc(1, sizeof *tally + t->sinks_count * sizeof tally->of[0]);
    if (!tally)
        return NULL;
    tally->refs = 1;
    memcpy(tally->id, id.data, id.len);
    table_insert(&t->table, &tally->by_id, slice_of(tally->id, id.len));
    return tally;
}

static bool has_spooled(const struct tallies *t, const struct tally *tally)
{
    for (size_t i = 0; i < t->sinks_count; i++)
        if (tally->of[i].spooled > 0)
            return true;
    return false;
}

struct tally *tallies_release(struct tallies *t, struct tally *tally)
{
    if (!tally)
        return NULL;
    assert(tally->refs > 0);
    if (--tally->refs == 0 && !has_spooled(t, tally))
        tally_free(t, tally);
    return NULL;
}

/* Lines of one container mostly come one after the other. */
static void count_by_source(const struct batch *batch)
{
    size_t begin = 0;

    while (begin < batch->count) {
        struct source *source = batch->records[begin].source;
        size_t end = begin + 1;

        while (end < batch->count && batch->records[end].source == source)
            end++;
        source->counted += end - begin;
        begin = end;
    }
}

struct manifest *manifest_create(struct tallies *t, const struct batch *batch)
{
    struct manifest *m = malloc(sizeof *m + batch->sources_count * sizeof m->of[0]);
    bool lacks = false;

    if (!m)
        return NULL;
    *m = (struct manifest){.refs = 1, .records = batch->count};
    count_by_source(batch);
    for (size_t i = 0; i < batch->sources_count; i++) {
        struct source *source = batch->sources[i];

        if (source->counted == 0)
            continue;
        m->of[m->count].tally = tallies_get(t, source->id);
        lacks |= !m->of[m->count].tally && source->id.len <= SOURCE_ID_LEN;
        m->of[m->count++].records = source->counted;
        source->counted = 0;
    }
    return lacks ? manifest_unref(t, m) : m;
}

struct manifest *manifest_ref(struct manifest *m)
{
    m->refs++;
    return m;
}

struct manifest *manifest_unref(struct tallies *t, struct manifest *m)
{
    if (!m || --m->refs > 0)
        return NULL;
    for (size_t i = 0; i < m->count; i++)
        (void)tallies_release(t, m->of[i].tally);
    free(m);
    return NULL;
}

static uint64_t *account_of(struct account *a, enum account_name name)
{
    switch (name) {
    case ACCOUNT_FOUND:
        return &a->found;
    case ACCOUNT_SETTLED:
        return &a->settled;
    case ACCOUNT_QUEUED:
        return &a->queued;
    case ACCOUNT_SPOOLED:
        return &a->spooled;
    case ACCOUNT_NONE:
        return NULL;
    case ACCOUNT_LOST:
        break;
    }
    return &a->lost[name - ACCOUNT_LOST];
}

/* Never below nothing: an account may lack what there was no memory to note. */
static void move(struct account *a, uint64_t records, enum account_name from, enum account_name to)
{
    uint64_t *taken = account_of(a, from);

    if (from == ACCOUNT_FOUND)
        a->found += records;
    else if (taken)
        *taken -= MIN(*taken, records);
    if (to == ACCOUNT_FOUND)
        a->found -= MIN(a->found, records);
    else
        *account_of(a, to) += records;
}

void tallies_move(struct tallies *t, size_t sink, const struct manifest *m, enum account_name from,
                  enum account_name to)
{
    move(&t->total[sink], m->records, from, to);
    for (size_t i = 0; i < m->count; i++)
        if (m->of[i].tally)
            move(&m->of[i].tally->of[sink], m->of[i].records, from, to);
}

/* Out of the queue before their batch settles. */
static void take_out(struct tallies *t, size_t sink, const struct source *source, uint64_t records,
                     enum account_name to)
{
    struct table_link *link = table_find(&t->table, source->id);
    struct account *of[] = {
        &t->total[sink],
        link ? &container_of(link, struct tally, by_id)->of[sink] : NULL,
    };

    for (size_t i = 0; i < ARRAY_SIZE(of); i++)
        if (of[i]) {
            move(of[i], records, ACCOUNT_QUEUED, to);
            of[i]->lost_ahead += records;
        }
}

void tallies_lose(struct tallies *t, size_t sink, const struct source *source, uint64_t records,
                  enum lost_reason reason)
{
    take_out(t, sink, source, records, account_lost(reason));
}

void tallies_leave_spooled(struct tallies *t, size_t sink, const struct source *source,
                           uint64_t records)
{
    take_out(t, sink, source, records, ACCOUNT_SPOOLED);
}

/* Which batch a lost record was of makes no difference in the end. */
static void settle(struct account *a, uint64_t records)
{
    uint64_t lost = MIN(a->lost_ahead, records);

    a->lost_ahead -= lost;
    move(a, records - lost, ACCOUNT_QUEUED, ACCOUNT_SETTLED);
}

static void settle_but(struct account *a, uint64_t records, uint64_t lost)
{
    move(a, lost, ACCOUNT_QUEUED, account_lost(LOST_ABORTED));
    settle(a, records - lost);
}

void tallies_settle(struct tallies *t, size_t sink, const struct manifest *m, uint64_t aborted)
{
    assert(aborted <= m->records);
    settle_but(&t->total[sink], m->records, aborted);
    for (size_t i = m->count; i-- > 0;) {
        uint64_t lost = MIN(aborted, m->of[i].records);

        aborted -= lost;
        if (m->of[i].tally)
            settle_but(&m->of[i].tally->of[sink], m->of[i].records, lost);
    }
}

void tallies_close_spooled(struct tallies *t, size_t sink, enum lost_reason reason)
{
    struct table_link *link, *next;

    move(&t->total[sink], t->total[sink].spooled, ACCOUNT_SPOOLED, account_lost(reason));
    for (link = table_next(&t->table, NULL); link; link = next) {
        struct tally *tally = container_of(link, struct tally, by_id);
        struct account *a = &tally->of[sink];

        next = table_next(&t->table, link);
        move(a, a->spooled, ACCOUNT_SPOOLED, account_lost(reason));
        if (tally->refs == 0 && !has_spooled(t, tally))
            tally_free(t, tally);
    }
}
