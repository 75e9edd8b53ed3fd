/*
 * What is appended, until it is durable. Batches wait in memory as they are; their entries are made
 * in buffers of fixed size when they are written, so that what waits costs nothing twice, and a
 * sync that has failed can be followed by writing everything again that it was to cover: of pages
 * that could not be written the kernel keeps no promise.
 *
 * Invariants: at most one write in flight for each slot, and one sync beside them; the bytes of a
 * slot follow those of the one that was filled before it, each is written at its own offset, and
 * the same bytes if they are written again; appends are done in order, and only when everything
 * before their end is durable.
 */
#include "private.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "ringtail/base/macros.h"

#define WRITE_BYTES ((size_t)256 << 10)
#define FILE_FLAGS (O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY)

/*
 *      ┌──────────────── IDLE ◄──────────────┐   in which slots are written, and synced
 *      ▼                  │                  │
 *   OPENING, DIR_SYNCING, CLOSING ──► IDLE   │
 *                         └──────► WAITING ──┘   after a failure
 */
static const uint32_t writer_edges[WRITER_STATE_COUNT] = {
    [WRITER_IDLE] =
        BIT(WRITER_OPENING) | BIT(WRITER_DIR_SYNCING) | BIT(WRITER_CLOSING) | BIT(WRITER_WAITING),
    [WRITER_OPENING] = BIT(WRITER_IDLE),
    [WRITER_DIR_SYNCING] = BIT(WRITER_IDLE),
    [WRITER_CLOSING] = BIT(WRITER_IDLE),
    [WRITER_WAITING] = BIT(WRITER_IDLE),
};

static void writer_enter(struct writer *w, enum writer_state next)
{
    assert(writer_edges[w->state] & BIT(next));
    assert(!op_in_flight(&w->op));
    w->state = next;
}

static void begin_wait(struct spool *s)
{
    if (s->aborted || s->writer.state == WRITER_WAITING)
        return;
    writer_enter(&s->writer, WRITER_WAITING);
    ring_timer(s->ring, &s->writer.op, s->options.retry_ms);
}

/* ---- from batches to bytes ---- */

/** `a` may be NULL. Its first byte is the next one. */
static void encode_from(struct encoder *e, struct spool_append *a)
{
    *e = (struct encoder){.append = a};
    if (a) {
        e->place = a->begin.at;
        e->number = a->begin.record;
    }
}

static struct spool_append *append_after(const struct writer *w, const struct spool_append *a)
{
    return a->link.next == &w->appends ? NULL
                                       : container_of(a->link.next, struct spool_append, link);
}

static void encoded_entry(struct writer *w)
{
    struct encoder *e = &w->encoder;

    e->skip = 0;
    if (e->copy < SOURCE_COPIES) {
        e->copy++;
        return;
    }
    e->copy = 0;
    e->number++;
    e->record++;
    if (e->record == e->append->batch->count)
        encode_from(e, append_after(w, e->append));
}

/** Copies what there is room for, behind the first `skip` bytes of all pieces. */
static size_t gather(const struct slice *pieces, size_t count, size_t skip, char *out, size_t room)
{
    size_t copied = 0;

    for (size_t i = 0; i < count && copied < room; i++) {
        size_t from = MIN(skip, pieces[i].len);
        size_t n = MIN(pieces[i].len - from, room - copied);

        if (n > 0)
            memcpy(out + copied, pieces[i].data + from, n);
        copied += n;
        skip -= from;
    }
    return copied;
}

/** Encodes the next entry, or what of it there is room for. */
static void encode(struct writer *w, struct writer_slot *slot)
{
    struct encoder *e = &w->encoder;
    const struct record *r = &e->append->batch->records[e->record];
    const struct source_map_item *item = source_map_find(&w->segment->map, r->source);
    uint64_t entry_place = e->place - e->skip;
    char header[ENTRY_HEADER_BYTES], lengths[SOURCE_LENGTHS_BYTES];
    struct slice pieces[1 + SOURCE_PIECES] = {slice_of(header, sizeof header)};
    struct entry entry = {
        .number = e->number, .at_ms = e->append->at_ms, .source = item->at, .kind = ENTRY_SOURCE};
    size_t count = SOURCE_PIECES, total = 0, room = WRITE_BYTES - slot->len, n;
    char *out = slot->buffer + slot->len;

    if (e->copy == 0 && entry_place != w->segment->begin.at + item->at)
        e->copy = SOURCE_COPIES;
    if (e->copy < SOURCE_COPIES) {
        source_put(r->source, lengths, pieces + 1);
    } else {
        entry.kind = ENTRY_RECORD;
        entry.ts_ns = r->ts_ns;
        entry.ordinal = r->ordinal;
        entry.cursors = e->append->cursors;
        entry.stream = r->stream;
        entry.flags = r->flags;
        pieces[1] = slice_of(r->data, r->len);
        count = 1;
    }
    for (size_t i = 0; i <= count; i++)
        total += pieces[i].len;
    if (e->skip == 0 && total <= room) {
        entry_put(out, entry_place, &entry, pieces + 1, count);
        n = sizeof header + gather(pieces + 1, count, 0, out + sizeof header, room - sizeof header);
    } else {
        entry_put(header, entry_place, &entry, pieces + 1, count);
        n = gather(pieces, 1 + count, e->skip, out, room);
    }
    slot->len += n;
    e->place += n;
    e->skip += n;
    if (e->skip == total)
        encoded_entry(w);
}

static void fill(struct writer *w, struct writer_slot *slot)
{
    struct encoder *e = &w->encoder;

    slot->len = slot->taken = 0;
    slot->place = w->encoded;
    while (e->append && e->append->segment == w->segment && slot->len < WRITE_BYTES) {
        if (e->place == w->segment->begin.at) {
            segment_head_put(slot->buffer, &(struct segment_head){.begin = w->segment->begin,
                                                                  .made_ms = w->segment->made_ms});
            slot->len = SEGMENT_HEAD_BYTES;
            e->place += SEGMENT_HEAD_BYTES;
        }
        encode(w, slot);
    }
    w->encoded += slot->len;
}

/* ---- done ---- */

/** Everything before this place is written. */
static uint64_t written_place(const struct writer *w)
{
    uint64_t place = w->encoded;

    for (size_t i = 0; i < WRITER_SLOTS; i++) {
        if (w->slots[i].taken < w->slots[i].len)
            place = MIN(place, w->slots[i].place + w->slots[i].taken);
    }
    return place;
}

static uint64_t durable(const struct spool *s)
{
    return spool_is_synced(s) ? s->writer.synced : written_place(&s->writer);
}

static bool is_writing(const struct writer *w)
{
    bool any = false;

    for (size_t i = 0; i < WRITER_SLOTS; i++)
        any = any || op_in_flight(&w->slots[i].op);
    return any;
}

static bool has_any_in_flight(const struct writer *w)
{
    return op_in_flight(&w->op) || op_in_flight(&w->sync_op) || is_writing(w);
}

static void finish_append(struct spool *s, struct spool_append *a, int error)
{
    struct batch *batch = a->batch;

    list_remove(&a->link);
    s->stats.writing_bytes -= (size_t)(a->end.at - a->begin.at);
    if (error == 0)
        s->done = a->end;
    a->error = error;
    a->done(a);
    (void)batch_unref(batch);
}

static bool is_given_up(const struct spool *s)
{
    return s->aborted && !has_any_in_flight(&s->writer);
}

void writer_tell(struct spool *s)
{
    struct writer *w = &s->writer;

    while (!list_is_empty(&w->appends)) {
        struct spool_append *a = container_of(w->appends.next, struct spool_append, link);
        bool is_done = a->end.at <= durable(s) && !saver_is_owed(s);

        if (!is_done && !is_given_up(s))
            break;
        if (!is_done)
            encode_from(&w->encoder, NULL);
        finish_append(s, a, is_done ? 0 : -ECANCELED);
    }
    reader_wake(s);
    saver_go(s);
}

/* ---- to the disk ---- */

static void sync_written(struct spool *s)
{
    struct writer *w = &s->writer;

    if (!spool_is_synced(s) || op_in_flight(&w->sync_op) || w->sync_error || s->aborted ||
        written_place(w) <= w->synced)
        return;
    w->syncing = written_place(w);
    ring_fsync(s->ring, &w->sync_op, w->fd, true);
}

/** What was to be synced is written again, from the first append on that is not durable. */
static void rewind_to_synced(struct spool *s)
{
    struct writer *w = &s->writer;

    w->sync_error = 0;
    LIST_FOR_EACH_ENTRY (a, &w->appends, struct spool_append, link) {
        if (a->end.at > w->synced) {
            encode_from(&w->encoder, a);
            w->encoded = a->begin.at;
            break;
        }
    }
    for (size_t i = 0; i < WRITER_SLOTS; i++)
        w->slots[i].len = w->slots[i].taken = 0;
}

static void begin_segment(struct spool *s)
{
    struct writer *w = &s->writer;

    w->segment = w->encoder.append->segment;
    w->encoded = w->synced = w->segment->begin.at;
    w->dir_synced = false;
}

static bool is_segment_written(const struct spool *s)
{
    const struct writer *w = &s->writer;

    return w->segment->complete && !is_writing(w) && written_place(w) == w->segment->end.at &&
           (!spool_is_synced(s) || w->synced == w->segment->end.at);
}

/** What comes while something is being written waits for it, so that a trickle is few writes: each
 * of them takes a turn of the kernel's threads, which other files need too. */
static bool is_worth_a_write(const struct writer *w)
{
    return !is_writing(w) || w->segment->end.at - w->encoded >= WRITE_BYTES;
}

static void write_slots(struct spool *s)
{
    struct writer *w = &s->writer;

    for (size_t i = 0; i < WRITER_SLOTS; i++) {
        struct writer_slot *slot = &w->slots[i];

        if (op_in_flight(&slot->op))
            continue;
        if (slot->taken == slot->len && is_worth_a_write(w))
            fill(w, slot);
        if (slot->taken < slot->len)
            ring_write(s->ring, &slot->op, w->fd,
                       slice_of(slot->buffer + slot->taken, slot->len - slot->taken),
                       (int64_t)(slot->place + slot->taken - w->segment->begin.at));
    }
}

/* Decides what is next when nothing but slots is in flight. */
void writer_go(struct spool *s)
{
    struct writer *w = &s->writer;

    if (op_in_flight(&w->op) || s->aborted)
        return;
    if (w->sync_error) {
        if (op_in_flight(&w->sync_op) || is_writing(w))
            return;
        rewind_to_synced(s);
        begin_wait(s);
        return;
    }
    if (!w->segment) {
        if (!w->encoder.append)
            return;
        begin_segment(s);
    }
    if (w->fd < 0) {
        writer_enter(w, WRITER_OPENING);
        ring_open(s->ring, &w->op, s->dir_fd, w->segment->name, FILE_FLAGS, SPOOL_FILE_MODE, 0);
        return;
    }
    if (spool_is_synced(s) && !w->dir_synced) {
        writer_enter(w, WRITER_DIR_SYNCING);
        ring_fsync(s->ring, &w->op, s->dir_fd, false);
        return;
    }
    write_slots(s);
    if (is_segment_written(s)) {
        writer_enter(w, WRITER_CLOSING);
        ring_close_fd(s->ring, &w->op, w->fd);
    }
}

static void go_on(struct spool *s)
{
    writer_tell(s);
    writer_go(s);
    spool_drop(s);
}

static void on_written(struct op *op, int res)
{
    struct writer_slot *slot = container_of(op, struct writer_slot, op);
    struct writer *w = slot->writer;
    struct spool *s = container_of(w, struct spool, writer);

    if (res != -EINTR)
        spool_note(s, PART_WRITER, res == 0 ? -EIO : res);
    if (res > 0) {
        slot->taken += (size_t)res;
        sync_written(s);
    } else if (res != -EINTR) {
        begin_wait(s);
    }
    go_on(s);
}

static void closed(struct spool *s, int res)
{
    struct writer *w = &s->writer;
    struct spool_segment *seg = w->segment;

    if (res < 0)
        spool_note(s, PART_WRITER,
                   res); /* a file system that only says now what it could not write */
    w->fd = -1;
    w->segment = NULL;
    source_map_finish(&seg->map);
    seg->written = true;
}

static void on_op(struct op *op, int res)
{
    struct writer *w = container_of(op, struct writer, op);
    struct spool *s = container_of(w, struct spool, writer);
    enum writer_state was = w->state;

    writer_enter(w, WRITER_IDLE);
    switch (was) {
    case WRITER_OPENING:
        spool_note(s, PART_WRITER, res);
        if (res >= 0)
            w->fd = res;
        else
            begin_wait(s);
        break;
    case WRITER_DIR_SYNCING:
        res = res == -EINVAL ? 0 : res; /* it can't be synced there */
        spool_note(s, PART_WRITER, res);
        w->dir_synced = res >= 0;
        if (res < 0)
            begin_wait(s);
        break;
    case WRITER_CLOSING:
        closed(s, res);
        break;
    case WRITER_WAITING:
        break;
    case WRITER_IDLE:
    case WRITER_STATE_COUNT:
        assert(false); /* nothing is in flight in these */
    }
    go_on(s);
}

static void on_sync(struct op *op, int res)
{
    struct writer *w = container_of(op, struct writer, sync_op);
    struct spool *s = container_of(w, struct spool, writer);

    res = res == -EINVAL ? 0 : MIN(res, 0);
    spool_note(s, PART_WRITER, res);
    s->stats.syncs++;
    if (res < 0)
        w->sync_error = res;
    else
        w->synced = w->syncing;
    sync_written(s);
    go_on(s);
}

/* ---- in ---- */

/** Where the batch would end in this segment. Its new sources are in the segment's map then. */
static int measure(struct spool_segment *seg, const struct batch *batch, uint64_t *ret_end)
{
    uint64_t end = seg->end.at;

    for (size_t i = 0; i < batch->count; i++) {
        const struct record *r = &batch->records[i];

        if (!source_map_find(&seg->map, r->source)) {
            int k;

            if (end - seg->begin.at > UINT32_MAX)
                return -ENOSPC;
            k = source_map_add(&seg->map, r->source, (uint32_t)(end - seg->begin.at));
            if (k < 0)
                return k;
            end += SOURCE_COPIES * source_entry_bytes(r->source);
        }
        end += ENTRY_HEADER_BYTES + r->len;
    }
    *ret_end = end;
    return 0;
}

static struct spool_segment *open_segment(const struct spool *s)
{
    struct spool_segment *last;

    if (list_is_empty(&s->segments))
        return NULL;
    last = container_of(s->segments.prev, struct spool_segment, link);
    return last->complete ? NULL : last;
}

static void add_append(struct spool *s, struct spool_segment *seg, struct spool_append *a,
                       struct batch *batch, uint64_t end)
{
    uint64_t bytes = end - s->end.at;
    struct writer *w = &s->writer;

    a->segment = seg;
    a->error = 0;
    a->batch = batch_ref(batch);
    a->at_ms = spool_now_ms();
    a->begin = s->end;
    a->end = (struct spool_place){.at = end, .record = s->end.record + batch->count};
    list_append(&w->appends, &a->link);
    seg->end = s->end = a->end;
    seg->newest_ms = MAX(seg->newest_ms, a->at_ms);
    s->stats.bytes += bytes;
    s->stats.bytes_appended += bytes;
    s->stats.writing_bytes += (size_t)bytes;
    s->stats.records += batch->count;
    s->stats.records_appended += batch->count;
    if (!w->encoder.append)
        encode_from(&w->encoder, a);
}

int spool_append_batch(struct spool *s, struct spool_append *a, struct batch *batch,
                       uint16_t cursors)
{
    struct spool_segment *current = open_segment(s), *fresh = NULL, *seg = current;
    struct writer *w = &s->writer;
    uint64_t end = 0;
    size_t known;
    int r;

    if (s->aborted)
        return -ENOSPC;
    assert(batch->count > 0 && !s->finishing);
    for (size_t i = 0; i < WRITER_SLOTS; i++) {
        if (!w->slots[i].buffer)
            w->slots[i].buffer = malloc(WRITE_BYTES);
        if (!w->slots[i].buffer)
            return -ENOMEM;
    }
    if (!seg || seg->end.at - seg->begin.at >= (uint64_t)s->options.segment_bytes) {
        seg = fresh = segment_create(s->end);
        if (!seg)
            return -ENOMEM;
    }
    known = seg->map.count;
    r = measure(seg, batch, &end);
    if (r == 0 && s->stats.bytes + (end - s->end.at) > (uint64_t)s->options.bytes_max)
        r = -ENOSPC;
    if (r < 0) {
        source_map_shrink(&seg->map, known);
        if (fresh)
            segment_destroy(NULL, fresh);
        return r;
    }
    if (fresh) {
        if (current)
            current->complete = true;
        list_append(&s->segments, &fresh->link);
        s->stats.segments++;
    }
    a->cursors = cursors;
    add_append(s, seg, a, batch, end);
    writer_go(s);
    return 0;
}

struct spool_place spool_end(const struct spool *s)
{
    return s->end;
}

void writer_init(struct spool *s)
{
    struct writer *w = &s->writer;

    w->fd = -1;
    w->op.done = on_op;
    w->sync_op.done = on_sync;
    for (size_t i = 0; i < WRITER_SLOTS; i++)
        w->slots[i] = (struct writer_slot){.op.done = on_written, .writer = w};
    list_init(&w->appends);
}

void writer_abort(struct spool *s)
{
    if (s->writer.state == WRITER_WAITING)
        ring_cancel(s->ring, &s->writer.op);
}

bool writer_is_idle(const struct spool *s)
{
    const struct writer *w = &s->writer;

    return !has_any_in_flight(w) && list_is_empty(&w->appends);
}

void writer_close(struct spool *s)
{
    struct writer *w = &s->writer;

    if (w->fd >= 0)
        (void)close(w->fd); /* only what was given up is not written */
    for (size_t i = 0; i < WRITER_SLOTS; i++)
        free(w->slots[i].buffer);
}
