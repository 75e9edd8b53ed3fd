/*
 * deliver/outbox.h. A parcel is one batch for one sink: in memory (queued), with the sink
 * (submitted), and on the way into the spool or there (spill, place).
 *
 * Invariants: `queued` and `submitted` are in the order of the batches; while it spools, what is
 * queued waits for room in the spool and is younger than all that is there; a parcel has a claim
 * until its records are settled or durable.
 */
#include "ringtail/deliver/outbox.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"

/* Read back at once. */
#define READ_BYTES ((size_t)1 << 20)
#define RETRY_MS 200
/* A place in the spool that the disk can't read is tried so often: for some ten seconds. */
#define READ_TRIES 50

struct parcel {
    struct list link; /* of queued or submitted */
    struct list in_spill;
    struct outbox *outbox;
    struct batch *batch; /* NULL: the sink's share has the records */
    struct batch *claim; /* NULL: settled, or durable */
    struct manifest *manifest;
    size_t bytes;
    uint64_t aborted; /* records that the sink has not delivered, whoever's they are */
    int64_t taken_at_mono_ns;
    struct spool_place begin; /* if it is spooled */
    bool is_submitted;        /* the sink has it, or has had it */
    bool is_done;             /* … and all is where it belongs, or lost */
    bool is_spooled;          /* appended, and durable once it has no claim */
};

struct spill {
    struct spool_append append;
    struct batch *batch;
    uint16_t cursors; /* bits */
    struct spool *spool;
    struct list parcels;
};

static void pump(struct outbox *o);

/* ---- parcels ---- */

int outbox_reserve(struct outbox *o)
{
    if (!o->spare)
        o->spare = malloc(sizeof *o->spare);
    return o->spare ? 0 : -ENOMEM;
}

/* After outbox_reserve. */
static struct parcel *parcel_create(struct outbox *o, struct batch *batch, struct manifest *m)
{
    struct parcel *p = TAKE_PTR(o->spare);

    *p = (struct parcel){.outbox = o, .batch = batch_ref(batch)};
    p->manifest = manifest_ref(m);
    p->bytes = batch->memory_bytes;
    p->taken_at_mono_ns = clock_mono_ns();
    list_init(&p->link);
    list_init(&p->in_spill);
    return p;
}

/* A claim may be the last one, and its owner may look around: the outbox is whole by then. */
static void let_go_of_claim(struct parcel *p)
{
    struct batch *claim = p->claim;

    p->claim = NULL;
    (void)batch_unref(claim);
}

static void parcel_free(struct parcel *p)
{
    struct batch *claim = p->claim;

    assert(!list_is_linked(&p->in_spill));
    list_remove(&p->link);
    (void)manifest_unref(p->outbox->tallies, p->manifest);
    (void)batch_unref(p->batch);
    free(p);
    (void)batch_unref(claim);
}

static size_t bytes_with_sink(const struct outbox *o)
{
    return o->options.is_local ? o->sink->queued_bytes : o->submitted_bytes;
}

size_t outbox_held_bytes(const struct outbox *o)
{
    return o->queued_bytes + bytes_with_sink(o);
}

static void unqueue(struct parcel *p)
{
    list_remove(&p->link);
    p->outbox->queued_bytes -= p->bytes;
}

static void tell_unsettled(struct outbox *o)
{
    if (o->events.on_unsettled)
        o->events.on_unsettled(o->events.ctx, o);
}

static void lose_queued(struct parcel *p, enum lost_reason reason)
{
    struct outbox *o = p->outbox;

    unqueue(p);
    tallies_move(o->tallies, o->options.number, p->manifest, ACCOUNT_QUEUED, account_lost(reason));
    if (reason == LOST_ABORTED)
        tell_unsettled(o);
    parcel_free(p);
}

/* ---- the spool ---- */

static bool has_waiting(const struct outbox *o)
{
    return !list_is_empty(&o->queued);
}

/* Everything in front of it is done with, as far as this sink goes. */
static void move_cursor(struct outbox *o)
{
    struct spool_place place = o->spooling ? o->read_place : SPOOL_NOTHING;

    if (!o->cursor || o->sink_aborted)
        return; /* what an aborted sink gives back is not done with */
    LIST_FOR_EACH_ENTRY (p, &o->submitted, struct parcel, link) {
        if (p->is_spooled) {
            place = p->begin;
            break;
        }
    }
    if (place.at < o->shed_place.at)
        place = o->shed_place;
    spool_cursor_set(o->cursor, place);
}

static struct spill *spill_create(struct outbox *o, struct batch *batch)
{
    struct spill *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->batch = batch_ref(batch);
    s->spool = o->options.spool;
    list_init(&s->parcels);
    return s;
}

static void spill_free(struct spill *s)
{
    assert(list_is_empty(&s->parcels));
    (void)batch_unref(s->batch);
    free(s);
}

static void spill_add(struct spill *s, struct parcel *p)
{
    s->cursors |= spool_cursor_bit(p->outbox->cursor);
    list_append(&s->parcels, &p->in_spill);
}

/* The spool has given it up at the end: a parcel that the sink has is its alone again. */
static void give_back(struct parcel *p)
{
    struct outbox *o = p->outbox;

    p->is_spooled = false;
    if (p->is_submitted)
        return;
    tallies_move(o->tallies, o->options.number, p->manifest, ACCOUNT_SPOOLED,
                 account_lost(LOST_ABORTED));
    tell_unsettled(o);
}

/* A whole queue has gone to the disk, and will not be needed again soon. */
static void give_memory_back(struct outbox *o)
{
    if (!o->memory_owed || o->appends > 0)
        return;
    o->memory_owed = false;
    (void)malloc_trim(0);
}

/* It is durable now, or never will be. */
static void on_appended(struct spool_append *a)
{
    struct spill *s = container_of(a, struct spill, append);
    struct list *link;

    while ((link = list_pop(&s->parcels))) {
        struct parcel *p = container_of(link, struct parcel, in_spill);
        struct outbox *o = p->outbox;

        o->appends--;
        if (a->error)
            give_back(p);
        if (p->is_done || !p->is_submitted)
            parcel_free(p);
        else if (!a->error)
            let_go_of_claim(p);
        give_memory_back(o);
        pump(o);
    }
    spill_free(s);
}

/* It goes behind what waits for room, as the youngest. */
static void queue(struct parcel *p)
{
    list_append(&p->outbox->queued, &p->link);
    p->outbox->queued_bytes += p->bytes;
}

/* Whether the spool takes it; if not, the parcels are as they were. */
static bool spill_try(struct spill *s)
{
    int r;

    s->append.done = on_appended;
    r = spool_append_batch(s->spool, &s->append, s->batch, s->cursors);
    if (r < 0)
        return false;
    LIST_FOR_EACH_ENTRY (p, &s->parcels, struct parcel, in_spill) {
        struct outbox *o = p->outbox;

        p->is_spooled = true;
        p->begin = s->append.begin;
        o->last_place = s->append.end;
        o->appends++;
        if (p->is_submitted)
            continue;
        if (list_is_linked(&p->link))
            unqueue(p);
        tallies_move(o->tallies, o->options.number, p->manifest, ACCOUNT_QUEUED, ACCOUNT_SPOOLED);
        p->batch = batch_unref(p->batch); /* the spool has it */
    }
    return true;
}

/* One parcel by itself. */
static bool spill_one(struct parcel *p)
{
    struct spill *s = spill_create(p->outbox, p->batch);

    if (!s)
        return false;
    spill_add(s, p);
    if (spill_try(s))
        return true;
    list_remove(&p->in_spill);
    spill_free(s);
    return false;
}

/* As much as the spool writes at once is as much as is held in memory. */
static bool spool_is_slow(const struct outbox *o)
{
    return spool_stats_get(o->options.spool)->writing_bytes > o->options.queue_max_bytes;
}

/* Something that the sink has is not in the spool, and older than all that is to go there. */
static bool has_gap(const struct outbox *o)
{
    LIST_FOR_EACH_ENTRY (p, &o->submitted, struct parcel, link) {
        if (p->claim && !p->is_spooled)
            return true;
    }
    return false;
}

/*
 * What the sink has and may yet deliver, then what waits for room in the spool. What it can't take
 * now stays where it is, and so does all that is younger.
 */
static void spool_held(struct outbox *o)
{
    if (o->spool_over)
        return;
    LIST_FOR_EACH_ENTRY (p, &o->submitted, struct parcel, link) {
        if (!p->claim || p->is_spooled)
            continue;
        if (!spill_one(p))
            return;
        o->read_place = o->last_place; /* the sink has it: it is not read back */
    }
    while (has_waiting(o) && !spool_is_slow(o))
        if (!spill_one(container_of(o->queued.next, struct parcel, link)))
            return;
}

/* The queue is full, or is to survive us: from the oldest batch on all goes to the spool. */
static void begin_spooling(struct outbox *o)
{
    struct spool_place place = spool_end(o->options.spool);

    o->spooling = true;
    o->read_place = o->last_place = place;
    spool_held(o);
    o->spooling = o->last_place.at > place.at; /* it had no room at all */
    o->spool_turns += o->spooling;
    o->memory_owed = o->spooling;
    move_cursor(o);
}

static void end_spooling(struct outbox *o)
{
    o->spooling = false;
    o->shedding = false;
    tallies_close_spooled(o->tallies, o->options.number,
                          o->unreadable ? LOST_UNREADABLE
                          : o->expired  ? LOST_EXPIRED
                                        : LOST_DAMAGED);
    o->expired = o->unreadable = false;
    move_cursor(o);
}

static void retry_later(struct outbox *o)
{
    if (!op_in_flight(&o->retry_op) && !o->told_closed)
        ring_timer(o->sink->ring, &o->retry_op, RETRY_MS);
}

static void on_retry(struct op *op, int res)
{
    struct outbox *o = container_of(op, struct outbox, retry_op);

    o->read_failed = false;
    pump(o);
}

static bool submit(struct parcel *p);

/* What was read goes to the sink, or away. Returns false when it is to be read again. */
static bool take_read(struct outbox *o, const struct spool_read *r, int res)
{
    enum account_name from = r->begin.at >= o->run_place.at ? ACCOUNT_SPOOLED : ACCOUNT_FOUND;
    struct manifest *m;
    struct parcel *p;

    if (res < 0 && res != -ENODATA)
        return false;
    if (!r->batch) {
        o->read_place = r->end;
        return true;
    }
    m = manifest_create(o->tallies, r->batch);
    if (!m || outbox_reserve(o) < 0) {
        (void)manifest_unref(o->tallies, m);
        return false;
    }
    p = parcel_create(o, r->batch, m);
    p->is_spooled = true;
    p->begin = r->begin;
    o->read_place = r->end;
    if (o->read_sheds) {
        tallies_move(o->tallies, o->options.number, m, from, account_lost(LOST_DROPPED_OLDEST));
        parcel_free(p);
    } else {
        tallies_move(o->tallies, o->options.number, m, from, ACCOUNT_QUEUED);
        if (!submit(p)) {
            tallies_move(o->tallies, o->options.number, m, ACCOUNT_QUEUED, from);
            parcel_free(p);
            o->read_place = r->begin;
        }
    }
    (void)manifest_unref(o->tallies, m);
    return o->read_place.at == r->end.at;
}

/* What the disk says of a place that it can't read, and of a file system that is damaged. */
static bool is_unreadable(int res)
{
    return res == -EIO || res == -EUCLEAN || res == -EBADMSG;
}

/* The rest of a segment is given up, so that it does not hold up all that is behind it. Whose its
 * records were cannot be read: those of this run are in the books as spooled, and stay there until
 * all has been read; of an earlier run's all there are may have been for this sink. */
static void pass_over_segment(struct outbox *o, int error)
{
    struct spool_place from = o->read_place, to = spool_skip_segment(o->options.spool, from);
    uint64_t of_this_run = o->run_place.record;
    struct manifest found = {.records =
                                 MIN(to.record, of_this_run) - MIN(from.record, of_this_run)};

    if (to.at <= from.at)
        return;
    log_error("A part of the spool can't be read and is passed over, its lines are lost to the "
              "sink: look at the kernel's log and at the disk, which may need to be replaced",
              LOG_STR("sink", o->options.name), LOG_ERRNO(error),
              LOG_INT("records_at_most", to.record - from.record),
              LOG_INT("bytes", to.at - from.at));
    tallies_move(o->tallies, o->options.number, &found, ACCOUNT_FOUND,
                 account_lost(LOST_UNREADABLE));
    o->unreadable |= to.record > of_this_run;
    o->read_place = to;
    o->read_tries = 0;
    if (o->read_sheds)
        o->shed_place = to;
    move_cursor(o);
}

static void on_read(struct spool_read *r, int res)
{
    struct outbox *o = container_of(r, struct outbox, read);
    bool is_taken;

    o->reading = false;
    if (o->closing) {
        r->batch = batch_unref(r->batch); /* the next run reads it */
        pump(o);
        return;
    }
    is_taken = take_read(o, r, res);
    r->batch = batch_unref(r->batch);
    if (is_taken) {
        o->read_tries = 0;
        o->expired |= r->expired > 0;
        if (o->read_sheds)
            o->shed_place = o->read_place;
        move_cursor(o);
    } else {
        o->read_failed = true; /* read again from the same place */
        o->read_tries += is_unreadable(res);
        if (o->read_tries >= READ_TRIES)
            pass_over_segment(o, res);
        retry_later(o);
    }
    pump(o);
}

static void read_back(struct outbox *o)
{
    if (o->reading || o->read_failed || o->closing)
        return;
    if (o->read_place.at >= o->last_place.at) {
        if (o->appends == 0)
            end_spooling(o); /* what waits for room there is next */
        return;
    }
    if (bytes_with_sink(o) >= o->options.window_bytes && !o->shedding)
        return;
    o->reading = true;
    o->read_sheds = o->shedding;
    o->read.done = on_read;
    spool_read_from(o->options.spool, &o->read, o->cursor, o->read_place, READ_BYTES);
}

/* ---- the sink ---- */

/* All records of the parcel are where they belong, or counted as lost. */
static void on_share_settled(void *ctx, struct batch *share)
{
    struct parcel *p = ctx;
    struct outbox *o = p->outbox;
    int64_t after_ns = clock_mono_ns() - p->taken_at_mono_ns;

    list_remove(&p->link);
    o->submitted_bytes -= p->bytes;
    tallies_settle(o->tallies, o->options.number, p->manifest, p->aborted);
    p->is_done = true;
    if (list_is_linked(&p->in_spill))
        let_go_of_claim(p);
    else
        parcel_free(p);
    move_cursor(o);
    if (o->events.on_settled)
        o->events.on_settled(o->events.ctx, o, after_ns);
    pump(o);
}

/* Returns whether the sink has it, for want of memory; if so, `p` may be gone. */
static bool submit(struct parcel *p)
{
    struct outbox *o = p->outbox;
    struct batch *share = batch_share(p->batch, on_share_settled, p);
    bool is_taken;

    if (!share)
        return false;
    list_append(&o->submitted, &p->link);
    o->submitted_bytes += p->bytes;
    p->is_submitted = true;
    is_taken = sink_submit(o->sink, share) == 0;
    if (!is_taken) {
        list_remove(&p->link);
        o->submitted_bytes -= p->bytes;
        p->is_submitted = false;
        share->on_settled = NULL;
    }
    (void)batch_unref(share);
    return is_taken;
}

static void submit_queued(struct outbox *o)
{
    while (has_waiting(o) && (o->closing || bytes_with_sink(o) < o->options.window_bytes) &&
           !o->sink_closing) {
        struct parcel *p = container_of(o->queued.next, struct parcel, link);

        unqueue(p);
        if (submit(p))
            continue;
        list_prepend(&o->queued, &p->link);
        o->queued_bytes += p->bytes;
        retry_later(o);
        break;
    }
}

/* ---- bounds ---- */

/* There is more than there should be, and nowhere to put it. */
static void make_room(struct outbox *o)
{
    size_t max = o->options.queue_max_bytes;

    switch (o->options.policy) {
    case OUTBOX_PAUSE:
        break; /* watch_bound */
    case OUTBOX_DROP_NEWEST:
        while (has_waiting(o) && outbox_held_bytes(o) > max)
            lose_queued(container_of(o->queued.prev, struct parcel, link), LOST_DROPPED_NEWEST);
        break;
    case OUTBOX_DROP_OLDEST: /* of those in memory: the disk has had from half of it on */
        while (has_waiting(o) && outbox_held_bytes(o) > max)
            lose_queued(container_of(o->queued.next, struct parcel, link), LOST_DROPPED_OLDEST);
        break;
    }
}

/* The oldest are in the spool, which has no room: they go in time for the bound to hold, as reading
 * them takes a while. */
static void watch_shedding(struct outbox *o)
{
    if (!o->shedding && o->spooling && has_waiting(o) && !o->closing &&
        o->options.policy == OUTBOX_DROP_OLDEST && !spool_is_slow(o) &&
        outbox_held_bytes(o) > o->options.queue_max_bytes / 2)
        o->shedding = o->pump_again = true;
    if (o->shedding && !has_waiting(o))
        o->shedding = false;
}

static void watch_bound(struct outbox *o)
{
    size_t max = o->options.queue_max_bytes;
    bool pause;

    if (o->options.spool && !o->spooling && !o->closing && outbox_held_bytes(o) > max - max / 8)
        begin_spooling(o); /* before it is full: what is on its way to the disk is memory, too */
    watch_shedding(o);
    if (outbox_held_bytes(o) > max && !o->closing && (!o->spooling || has_waiting(o)))
        make_room(o);
    pause = o->options.policy == OUTBOX_PAUSE && (!o->spooling || has_waiting(o)) &&
            outbox_held_bytes(o) > (o->paused ? max / 2 : max);
    if (pause == o->paused)
        return;
    o->paused = pause;
    o->pauses += pause;
    if (o->events.on_pause)
        o->events.on_pause(o->events.ctx, o);
}

/* ---- the end ---- */

static void close_sink(struct outbox *o)
{
    if (o->sink_closing)
        return;
    o->sink_closing = true;
    sink_close(o->sink);
}

static void abort_sink(struct outbox *o)
{
    close_sink(o);
    if (o->sink_aborted)
        return;
    o->sink_aborted = true;
    sink_abort(o->sink);
}

static void step_to_end(struct outbox *o)
{
    if (!o->closing)
        return;
    if (o->options.spool && !o->spooling && !o->spool_over && !outbox_is_empty(o) &&
        o->sink->state != SINK_OK)
        begin_spooling(o); /* it will not take it soon */
    if (o->given_up && o->spooling && o->appends == 0)
        spool_held(o); /* for the last time */
    if (o->given_up && o->appends == 0) {
        while (has_waiting(o))
            lose_queued(container_of(o->queued.next, struct parcel, link), LOST_ABORTED);
        abort_sink(o);
    } else if (!has_waiting(o) && o->appends == 0) {
        if (!o->spooling && (outbox_is_empty(o) || o->sink->state == SINK_OK))
            close_sink(o);
        else if (o->options.spool && !has_gap(o))
            abort_sink(o); /* the spool has it */
        else if (!o->spooling)
            close_sink(o);
    }
    if (!o->sink_closed || o->appends > 0 || o->reading || o->told_closed)
        return;
    if (op_in_flight(&o->retry_op)) {
        ring_cancel(o->sink->ring, &o->retry_op);
        return;
    }
    o->told_closed = true;
    o->events.on_closed(o->events.ctx, o);
}

void outbox_close(struct outbox *o)
{
    o->closing = true;
    pump(o);
}

void outbox_give_up(struct outbox *o)
{
    if (o->given_up || o->told_closed)
        return;
    o->given_up = true;
    o->closing = true;
    if (o->options.spool && !o->spooling && (has_waiting(o) || !list_is_empty(&o->submitted)))
        begin_spooling(o);
    pump(o);
}

void outbox_end_spool(struct outbox *o)
{
    o->spool_over = true;
    if (!o->told_closed)
        pump(o);
}

/* ---- all together ---- */

/* Does whatever can be done now. Callbacks of the sink and of the spool come back here. */
static void pump(struct outbox *o)
{
    if (o->pumping) {
        o->pump_again = true;
        return;
    }
    o->pumping = true;
    do {
        o->pump_again = false;
        if (o->spooling)
            spool_held(o);
        if (o->spooling)
            read_back(o);
        if (!o->spooling)
            submit_queued(o);
        watch_bound(o);
    } while (o->pump_again);
    if (o->spooling && !o->spool_over && (has_waiting(o) || has_gap(o)))
        retry_later(o); /* others may make room */
    o->pumping = false;
    step_to_end(o);
}

void outbox_take(struct outbox *o, struct batch *batch, struct batch *claim, struct manifest *m,
                 struct spill **spill)
{
    struct parcel *p = parcel_create(o, batch, m);

    assert(!o->closing);
    p->claim = batch_ref(claim);
    tallies_move(o->tallies, o->options.number, m, ACCOUNT_NONE, ACCOUNT_QUEUED);
    if (o->spooling && !has_waiting(o) && !has_gap(o) && !spool_is_slow(o)) {
        if (!*spill)
            *spill = spill_create(o, batch);
        if (*spill) {
            spill_add(*spill, p);
            return;
        }
    }
    queue(p);
    pump(o);
}

void spill_start(struct spill *s)
{
    struct list *link;

    if (!s || spill_try(s))
        return;
    while ((link = list_pop(&s->parcels))) {
        struct parcel *p = container_of(link, struct parcel, in_spill);

        queue(p);
        pump(p->outbox);
    }
    spill_free(s);
}

static void on_sink_progress(void *ctx, struct sink *sink)
{
    pump(ctx);
}

static void on_sink_closed(void *ctx, struct sink *sink)
{
    struct outbox *o = ctx;

    o->sink_closed = true;
    pump(o);
}

/* The next run will find it in the spool. */
static bool is_kept(const struct parcel *p)
{
    return p->is_spooled && p->begin.at >= spool_cursor_place(p->outbox->cursor).at;
}

static void on_sink_lost(void *ctx, struct sink *sink, struct batch *share, struct source *source,
                         uint64_t records, enum lost_reason reason)
{
    struct outbox *o = ctx;
    struct parcel *p = share->ctx;

    if (reason == LOST_ABORTED && p->is_spooled && is_kept(p)) {
        tallies_leave_spooled(o->tallies, o->options.number, source, records);
        return;
    }
    if (reason == LOST_ABORTED && p->is_spooled)
        reason = LOST_DROPPED_OLDEST; /* it has made room */
    if (reason == LOST_ABORTED)
        tell_unsettled(o);
    if (source)
        tallies_lose(o->tallies, o->options.number, source, records, reason);
    else
        p->aborted += records;
}

struct sink_events outbox_sink_events(struct outbox *o)
{
    return (struct sink_events){
        .on_progress = on_sink_progress,
        .on_lost = on_sink_lost,
        .on_closed = on_sink_closed,
        .ctx = o,
    };
}

int outbox_init(struct outbox *o, const struct outbox_options *options,
                const struct outbox_events *events, struct tallies *tallies, struct sink *sink)
{
    *o = (struct outbox){
        .options = *options,
        .events = *events,
        .tallies = tallies,
        .sink = sink,
        .retry_op = {.done = on_retry},
    };
    list_init(&o->queued);
    list_init(&o->submitted);
    if (!options->spool)
        return 0;
    o->cursor = spool_cursor_get(options->spool, options->name);
    if (!o->cursor)
        return -ENOMEM;
    o->run_place = o->last_place = spool_end(options->spool);
    o->read_place = spool_cursor_place(o->cursor);
    if (spool_is_nothing(o->read_place))
        o->read_place = o->last_place;
    o->spooling = o->read_place.at < o->last_place.at;
    o->spool_turns += o->spooling;
    move_cursor(o);
    return 0;
}

void outbox_start(struct outbox *o)
{
    pump(o);
}

void outbox_finish(struct outbox *o)
{
    assert(list_is_empty(&o->queued) && list_is_empty(&o->submitted) && o->appends == 0);
    free(o->spare);
    o->spare = NULL;
}
