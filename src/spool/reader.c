/*
 * Reads, one after the other, in the order they were asked for: a chunk of one segment each, walked
 * through into a new batch. A source that does not lie in the chunk is read from where the entry
 * says that it is, and kept for the next ones.
 *
 * Invariants: the first of `waiting` is the one that runs; `done` runs from a completion only; no
 * more is held in memory than a chunk (as large as one record needs), a look aside, and FOUND_SLOTS
 * sources.
 */
#include "private.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ringtail/base/macros.h"

#define CHUNK_BYTES_MIN ((size_t)64 << 10)
#define CHUNK_BYTES_MAX ((size_t)1 << 20)
#define ASIDE_BYTES ((size_t)4 << 10)
#define ASIDE_BYTES_MAX ((size_t)1 << 20)
/* Sources that are kept: sets of so many slots each, so that two that are in use hardly ever drive
 * each other out. */
#define FOUND_SETS 512
#define FOUND_WAYS 8
#define FOUND_SLOTS (FOUND_SETS * FOUND_WAYS)
#define FILE_FLAGS (O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY)

/*
 *   IDLE ─► CLOSING ─► OPENING ─► READING ◄──► FINDING    each may go back to IDLE
 *     └─► TELLING                                         when the result is known at once
 */
static const uint32_t reader_edges[READER_STATE_COUNT] = {
    [READER_IDLE] =
        BIT(READER_TELLING) | BIT(READER_CLOSING) | BIT(READER_OPENING) | BIT(READER_READING),
    [READER_TELLING] = BIT(READER_IDLE),
    [READER_CLOSING] = BIT(READER_IDLE),
    [READER_OPENING] = BIT(READER_IDLE),
    [READER_READING] = BIT(READER_READING) | BIT(READER_FINDING) | BIT(READER_IDLE),
    [READER_FINDING] = BIT(READER_READING) | BIT(READER_FINDING) | BIT(READER_IDLE),
};

static void go(struct spool *s);

static void reader_enter(struct reader *rd, enum reader_state next)
{
    assert(reader_edges[rd->state] & BIT(next));
    assert(!op_in_flight(&rd->op));
    rd->state = next;
}

static struct spool_read *current(const struct reader *rd)
{
    return container_of(rd->waiting.next, struct spool_read, link);
}

static int reserve(char **bytes, size_t *cap, size_t need)
{
    char *more;

    if (need <= *cap)
        return 0;
    more = realloc(*bytes, need);
    if (!more)
        return -ENOMEM;
    *bytes = more;
    *cap = need;
    return 0;
}

/* ---- the end of a read ---- */

static void forget_sources(struct reader *rd)
{
    for (size_t i = 0; rd->found && i < FOUND_SLOTS; i++)
        (void)source_unref(rd->found[i].source);
    free(rd->found);
    rd->found = NULL;
}

static void free_chunk(struct reader *rd)
{
    free(rd->chunk);
    rd->chunk = NULL;
    rd->chunk_cap = 0;
}

/** Nobody reads: what was kept for the next one goes. */
static void rest(struct reader *rd)
{
    forget_sources(rd);
    free_chunk(rd);
    free(rd->aside);
    rd->aside = NULL;
    rd->aside_cap = 0;
}

static void tell(struct spool *s, int res)
{
    struct reader *rd = &s->reader;
    struct spool_read *r = current(rd);

    reader_enter(rd, READER_IDLE);
    rd->segment = NULL;
    list_remove(&r->link);
    s->stats.records_damaged += r->skipped;
    s->stats.records_expired += r->expired;
    if (r->batch && (res < 0 || r->batch->count == 0))
        r->batch = batch_unref(r->batch);
    if (r->batch) {
        s->stats.records_read += r->batch->count;
        s->stats.bytes_read += r->batch->bytes;
    }
    if (res == -ENODATA && list_is_empty(&rd->waiting))
        rest(rd);
    else if (rd->chunk_cap > CHUNK_BYTES_MAX)
        free_chunk(rd);
    r->done(r, res);
    go(s);
    spool_drop(s);
}

static void tell_soon(struct spool *s, int res)
{
    struct reader *rd = &s->reader;

    rd->result = res;
    reader_enter(rd, READER_TELLING);
    ring_timer(s->ring, &rd->op, 0);
}

static void fail(struct spool *s, int res)
{
    struct spool_read *r = current(&s->reader);

    if (res == -ENODATA)
        res = -EIO; /* some disks say so of a place that they can't read; of us it means the end */
    spool_note(s, PART_READER, res);
    r->end = r->begin;
    r->skipped = r->expired = r->others = 0;
    if (s->reader.state == READER_IDLE)
        tell_soon(s, res);
    else
        tell(s, res);
}

/** The read ends where its walk is. */
static void finish_walk(struct spool *s)
{
    struct reader *rd = &s->reader;
    struct spool_read *r = current(rd);

    r->end = rd->walk.place;
    if (r->end.at == rd->limit.at && r->end.record < rd->limit.record) {
        r->skipped += rd->limit.record - r->end.record;
        r->end.record = rd->limit.record;
    }
    spool_note(s, PART_READER, 0);
    tell(s, 0);
}

/* ---- sources ---- */

static struct found_source *set_of(const struct reader *rd, uint64_t place)
{
    uint64_t hash = place * UINT64_C(0x9e3779b97f4a7c15);

    return &rd->found[(hash >> 32) % FOUND_SETS * FOUND_WAYS];
}

static struct found_source *find_source(const struct reader *rd, uint64_t place)
{
    struct found_source *set = set_of(rd, place);

    for (size_t i = 0; i < FOUND_WAYS; i++) {
        if (set[i].place == place)
            return &set[i];
    }
    return NULL;
}

static bool is_of(const struct source *source, const struct source_names *names)
{
    return source && slice_eq(source->id, names->id) && slice_eq(source->name, names->name) &&
           slice_eq(source->image, names->image);
}

/** An equal one that is known already, so that a batch names each source once. */
static struct source *find_equal(const struct reader *rd, const struct source_names *names)
{
    const struct batch *b = current(rd)->batch;

    for (size_t i = 0; b && i < b->sources_count; i++) {
        if (is_of(b->sources[i], names))
            return b->sources[i];
    }
    for (size_t i = 0; i < FOUND_SLOTS; i++) {
        if (is_of(rd->found[i].source, names))
            return rd->found[i].source;
    }
    return NULL;
}

/** `names` NULL: there is none at the place. Returns 0 or -ENOMEM. */
static int keep_source(struct reader *rd, uint64_t place, const struct source_names *names)
{
    struct found_source *set = set_of(rd, place), *oldest = &set[FOUND_WAYS - 1];
    struct source *source = NULL;

    if (names) {
        source = find_equal(rd, names);
        source = source ? source_ref(source) : source_create(names->id, names->name, names->image);
        if (!source)
            return -ENOMEM;
    }
    (void)source_unref(oldest->source);
    memmove(set + 1, set, (FOUND_WAYS - 1) * sizeof *set);
    set[0] = (struct found_source){.place = place, .source = source};
    return 0;
}

static int take_source(struct reader *rd, const struct entry *e)
{
    uint64_t place = rd->segment->begin.at + e->source;
    struct source_names names;

    if (find_source(rd, place) || !source_parse(e->payload, &names))
        return 0;
    return keep_source(rd, place, &names);
}

/** Reads `bytes` from the source's first copy on. */
static void look_aside(struct spool *s, size_t bytes)
{
    struct reader *rd = &s->reader;

    if (reserve(&rd->aside, &rd->aside_cap, bytes) < 0) {
        fail(s, -ENOMEM);
        return;
    }
    reader_enter(rd, READER_FINDING);
    ring_read(s->ring, &rd->op, rd->fd, rd->aside,
              (size_t)MIN((uint64_t)bytes, rd->limit.at - rd->finding),
              (int64_t)(rd->finding - rd->segment->begin.at));
}

static void walk_on(struct spool *s);

static void looked_aside(struct spool *s, int res)
{
    struct reader *rd = &s->reader;
    struct walk w = {.place = {.at = rd->finding}, .limit = rd->limit.at};
    struct source_names names;
    enum walk_step step;
    bool is_found = false;
    struct entry e;
    int r;

    if (res == -EINTR) {
        look_aside(s, rd->aside_cap);
        return;
    }
    if (res < 0) {
        fail(s, res);
        return;
    }
    /* The copies stand together: behind a record there is none any more. */
    do {
        size_t from = (size_t)MIN(w.place.at - rd->finding, (uint64_t)res);

        step = walk_next(&w, slice_of(rd->aside + from, (size_t)res - from), &e);
        is_found = step == WALK_SOURCE && rd->segment->begin.at + e.source == rd->finding &&
                   source_parse(e.payload, &names);
    } while (!is_found && (step == WALK_DAMAGED || step == WALK_SOURCE));
    if (step == WALK_MORE && rd->aside_cap < ASIDE_BYTES_MAX) {
        look_aside(s, 2 * rd->aside_cap);
        return;
    }
    r = keep_source(rd, rd->finding, is_found ? &names : NULL);
    if (r < 0)
        fail(s, r);
    else
        walk_on(s);
}

/* ---- walking ---- */

static void read_chunk(struct spool *s, size_t bytes)
{
    struct reader *rd = &s->reader;
    uint64_t there = rd->limit.at - rd->walk.place.at;
    int r = reserve(&rd->chunk, &rd->chunk_cap, bytes);

    if (r < 0) {
        fail(s, r);
        return;
    }
    rd->chunk_place = rd->walk.place.at;
    rd->chunk_len = 0;
    reader_enter(rd, READER_READING);
    ring_read(s->ring, &rd->op, rd->fd, rd->chunk, (size_t)MIN((uint64_t)bytes, there),
              (int64_t)(rd->chunk_place - rd->segment->begin.at));
}

static bool is_expired(const struct spool *s, int64_t at_ms, int64_t now_ms)
{
    return s->options.age_max_ms > 0 && at_ms < now_ms - s->options.age_max_ms;
}

/** returns: 0, or -ENOMEM with nothing taken. */
static int take_record(struct spool *s, struct spool_read *r, const struct entry *e, int64_t now_ms)
{
    struct reader *rd = &s->reader;
    struct source *source;
    int k;

    if (!(e->cursors & r->cursor)) {
        r->others++;
        return 0;
    }
    if (is_expired(s, e->at_ms, now_ms)) {
        r->expired++;
        return 0;
    }
    source = find_source(rd, rd->segment->begin.at + e->source)->source;
    if (!source) {
        r->skipped++;
        return 0;
    }
    if (!r->batch)
        r->batch = batch_create(NULL, NULL);
    if (!r->batch)
        return -ENOMEM;
    k = batch_append(r->batch, source, e->stream, e->ts_ns, e->flags, e->payload);
    if (k < 0)
        return k;
    r->batch->records[r->batch->count - 1].ordinal = e->ordinal;
    return 0;
}

static size_t taken(const struct spool_read *r)
{
    return r->batch ? r->batch->count : 0;
}

static void no_memory(struct spool *s, const struct walk *before)
{
    if (taken(current(&s->reader)) == 0) {
        fail(s, -ENOMEM);
        return;
    }
    s->reader.walk = *before;
    finish_walk(s);
}

/* From where the walk is through the chunk. */
static void walk_on(struct spool *s)
{
    struct reader *rd = &s->reader;
    struct spool_read *r = current(rd);
    int64_t now_ms = spool_now_ms();
    struct entry e;

    for (;;) {
        size_t from = (size_t)MIN(rd->walk.place.at - rd->chunk_place, (uint64_t)rd->chunk_len);
        struct walk before = rd->walk;
        int k = 0;

        if (r->batch && r->batch->bytes >= r->bytes_max)
            break;
        switch (walk_next(&rd->walk, slice_of(rd->chunk + from, rd->chunk_len - from), &e)) {
        case WALK_RECORD:
            if (e.cursors & r->cursor && !is_expired(s, e.at_ms, now_ms) &&
                !find_source(rd, rd->segment->begin.at + e.source)) {
                rd->walk = before;
                rd->finding = rd->segment->begin.at + e.source;
                look_aside(s, MAX(rd->aside_cap, ASIDE_BYTES));
                return;
            }
            k = take_record(s, r, &e, now_ms);
            break;
        case WALK_SOURCE:
            k = take_source(rd, &e);
            break;
        case WALK_DAMAGED:
            break;
        case WALK_MORE:
            /* Of a record that is larger than a chunk, all; else what there is, is enough. */
            if (taken(r) > 0) {
                finish_walk(s);
                return;
            }
            read_chunk(s, MAX(rd->walk.need, rd->chunk_want));
            return;
        case WALK_END:
            finish_walk(s);
            return;
        }
        if (k < 0) {
            no_memory(s, &before);
            return;
        }
        r->skipped += rd->walk.missing;
        s->stats.bytes_damaged += rd->walk.damaged;
    }
    finish_walk(s);
}

static void chunk_came(struct spool *s, int res)
{
    struct reader *rd = &s->reader;

    if (res == -EINTR || res == -EAGAIN) {
        read_chunk(s, MAX(rd->walk.need, rd->chunk_want));
        return;
    }
    if (res < 0) {
        fail(s, res);
        return;
    }
    rd->chunk_len = (size_t)res;
    if (rd->chunk_len < MIN(rd->limit.at - rd->chunk_place, (uint64_t)rd->walk.need)) {
        /* The file is shorter than it was. */
        s->stats.bytes_damaged += rd->limit.at - rd->walk.place.at;
        rd->walk.place.at = rd->limit.at;
        finish_walk(s);
        return;
    }
    walk_on(s);
}

/* ---- finding the place ---- */

static void pass_over(struct spool_read *r, struct spool_place to, uint64_t *count)
{
    if (to.record > r->at.record) {
        *count += to.record - r->at.record;
        r->at.record = to.record;
    }
    r->at.at = to.at;
}

/** Up to where a segment can be read. */
static struct spool_place limit_of(const struct spool *s, const struct spool_segment *seg)
{
    return seg->end.at > s->done.at ? s->done : seg->end;
}

/** Moves `at` to where there is something, and says in which segment; NULL: there is nothing more.
 */
static struct spool_segment *locate(const struct spool *s, struct spool_read *r)
{
    int64_t now_ms = spool_now_ms();

    for (;;) {
        struct spool_segment *seg = segment_behind(s, r->at.at);

        if (!seg || seg->begin.at >= s->done.at)
            break;
        if (seg->begin.at >= r->at.at) {
            /* What should be before it is gone; its head is no entry. */
            pass_over(r, seg->begin, &r->skipped);
            r->at.at += SEGMENT_HEAD_BYTES;
        }
        if (!segment_is_expired(s, seg, now_ms))
            return r->at.at < limit_of(s, seg).at ? seg : NULL;
        pass_over(r, seg->end, &r->expired);
    }
    if (r->at.at < s->done.at)
        pass_over(r, s->done, &r->skipped);
    return NULL;
}

/** Nothing is in flight: the first read begins, or takes its next step towards its segment. */
static void go(struct spool *s)
{
    struct reader *rd = &s->reader;
    struct spool_read *r;

    if (rd->state != READER_IDLE)
        return;
    if (list_is_empty(&rd->waiting)) {
        if (s->finishing && rd->fd >= 0) {
            reader_enter(rd, READER_CLOSING);
            ring_close_fd(s->ring, &rd->op, rd->fd);
        }
        return;
    }
    r = current(rd);
    if (s->finishing) {
        tell_soon(s, -ECANCELED);
        return;
    }
    rd->segment = locate(s, r);
    if (!rd->segment) {
        r->end = r->at;
        if (r->at.at > r->begin.at || r->skipped > 0) {
            tell_soon(s, 0);
        } else if (r->at.at < s->end.at) {
            list_remove(&r->link);
            list_append(&rd->parked, &r->link);
            go(s);
        } else {
            tell_soon(s, -ENODATA);
        }
        return;
    }
    if (!rd->found)
        rd->found = calloc(FOUND_SLOTS, sizeof *rd->found);
    if (!rd->found) {
        fail(s, -ENOMEM);
        return;
    }
    if (rd->fd >= 0 && rd->fd_begin != rd->segment->begin.at) {
        reader_enter(rd, READER_CLOSING);
        ring_close_fd(s->ring, &rd->op, rd->fd);
        return;
    }
    if (rd->fd < 0) {
        reader_enter(rd, READER_OPENING);
        rd->fd_begin = rd->segment->begin.at;
        ring_open(s->ring, &rd->op, s->dir_fd, rd->segment->name, FILE_FLAGS, 0, 0);
        return;
    }
    rd->limit = limit_of(s, rd->segment);
    rd->walk = (struct walk){.place = r->at, .limit = rd->limit.at, .need = ENTRY_HEADER_BYTES};
    rd->chunk_want = MIN(MAX(r->bytes_max, CHUNK_BYTES_MIN), CHUNK_BYTES_MAX);
    read_chunk(s, rd->chunk_want);
}

static void opened(struct spool *s, int res)
{
    struct reader *rd = &s->reader;
    struct spool_read *r = current(rd);

    if (res >= 0) {
        rd->fd = res;
        reader_enter(rd, READER_IDLE);
        go(s);
        return;
    }
    if (res != -ENOENT) {
        fail(s, res);
        return;
    }
    /* Somebody has removed it. */
    rd->limit = limit_of(s, rd->segment);
    rd->walk.place = (struct spool_place){.at = rd->limit.at, .record = r->at.record};
    finish_walk(s);
}

static void on_op(struct op *op, int res)
{
    struct reader *rd = container_of(op, struct reader, op);
    struct spool *s = container_of(rd, struct spool, reader);

    switch (rd->state) {
    case READER_TELLING:
        tell(s, rd->result);
        break;
    case READER_CLOSING:
        reader_enter(rd, READER_IDLE);
        rd->fd = -1;
        go(s);
        spool_drop(s);
        break;
    case READER_OPENING:
        opened(s, res);
        break;
    case READER_READING:
        chunk_came(s, res);
        break;
    case READER_FINDING:
        looked_aside(s, res);
        break;
    case READER_IDLE:
    case READER_STATE_COUNT:
        assert(false); /* nothing is in flight in these */
    }
}

void spool_read_from(struct spool *s, struct spool_read *r, const struct spool_cursor *c,
                     struct spool_place place, size_t bytes_max)
{
    r->batch = NULL;
    r->begin = r->end = r->at = place;
    r->skipped = r->expired = r->others = 0;
    r->cursor = spool_cursor_bit(c);
    r->bytes_max = bytes_max;
    list_append(&s->reader.waiting, &r->link);
    go(s);
}

void reader_init(struct spool *s)
{
    struct reader *rd = &s->reader;

    rd->fd = -1;
    rd->op.done = on_op;
    list_init(&rd->waiting);
    list_init(&rd->parked);
}

void reader_wake(struct spool *s)
{
    list_splice(&s->reader.waiting, &s->reader.parked);
    go(s);
}

bool reader_is_idle(const struct spool *s)
{
    const struct reader *rd = &s->reader;

    return rd->state == READER_IDLE && list_is_empty(&rd->waiting) && list_is_empty(&rd->parked);
}

bool reader_uses(const struct spool *s, const struct spool_segment *seg)
{
    return s->reader.segment == seg;
}

void reader_forget(struct spool *s, uint64_t begin)
{
    struct reader *rd = &s->reader;

    if (rd->state != READER_IDLE || rd->fd < 0 || rd->fd_begin != begin)
        return;
    reader_enter(rd, READER_CLOSING);
    ring_close_fd(s->ring, &rd->op, rd->fd);
}

void reader_close(struct spool *s)
{
    rest(&s->reader);
    if (s->reader.fd >= 0)
        (void)close(s->reader.fd); /* read only: nothing to lose */
}
