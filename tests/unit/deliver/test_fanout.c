/*
 * Batches on their way to several sinks: each gets every record once and in order, whatever the
 * others do; the books balance at every step; a claim is let go of when nobody needs it.
 */
#include "ringtail/deliver/fanout.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"
#include "support/failing_malloc.h"
#include "support/fake_ring.h"

#include "fake_spool.h"

#define HELD_MAX 4096
#define MODEL_RECORDS 200000
#define SINKS 3

/* Takes batches and settles them when the test says so. */
struct test_sink {
    struct sink sink;
    struct batch *held[HELD_MAX];
    size_t first, count;
    uint64_t next; /* the record that is to come next, by its timestamp */
    uint64_t got, lost;
    bool is_exact;      /* nothing is dropped by policy: no record may be missing */
    uint8_t *delivered; /* how often, by number; NULL: it is looked at as it comes */
    uint64_t last;      /* run and number of the record that came last in this run */
    bool closing, closed;
};

struct fixture {
    struct ring *ring;
    struct spool *spool;
    struct fanout fanout;
    struct test_sink sinks[SINKS];
    struct source *source;
    uint64_t written; /* records handed over in all runs */
    uint64_t read;    /* in this run */
    uint64_t claims, claims_settled;
    bool paused, all_closed;
    uint8_t *acknowledged; /* by number; NULL: nobody asks */
    uint16_t run;
    bool unsettled; /* no claim that goes from here on says anything */
};

static int take_in(struct sink *sink, struct batch *batch)
{
    struct test_sink *s = container_of(sink, struct test_sink, sink);

    assert_false(s->closing);
    assert_true(s->count < HELD_MAX);
    s->held[s->count++] = batch_ref(batch);
    sink->queued_bytes += batch->bytes;
    return 0;
}

static void end_sink(struct test_sink *s)
{
    if (!s->closing || s->closed || s->first < s->count)
        return;
    s->closed = true;
    s->sink.events.on_closed(s->sink.events.ctx, &s->sink);
}

/* The oldest batch that it has is where it belongs, but for `lost` records. */
static bool settle_one(struct test_sink *s, uint64_t lost)
{
    struct batch *b;

    if (s->first == s->count)
        return false;
    b = s->held[s->first++];
    if (s->first == s->count)
        s->first = s->count = 0;
    lost = MIN(lost, b->count);
    for (size_t i = 0; i < b->count; i++) {
        uint64_t number = (uint64_t)b->records[i].ts_ns;

        if (s->delivered) {
            uint64_t key = (uint64_t)b->records[i].ordinal << 32 | number;

            assert_true(key > s->last || s->last == 0);
            s->last = key;
            if (s->delivered[number] < UINT8_MAX)
                s->delivered[number]++;
            continue;
        }
        if (s->is_exact)
            assert_int_equal(s->next, number);
        assert_true(number >= s->next);
        s->next = number + 1;
    }
    s->got += b->count - lost;
    s->lost += lost;
    if (lost > 0)
        s->sink.events.on_lost(s->sink.events.ctx, &s->sink, b, b->records[0].source, lost,
                               LOST_REFUSED);
    s->sink.queued_bytes -= b->bytes;
    (void)batch_unref(b);
    s->sink.events.on_progress(s->sink.events.ctx, &s->sink);
    end_sink(s);
    return true;
}

static void close_in(struct sink *sink)
{
    struct test_sink *s = container_of(sink, struct test_sink, sink);

    s->closing = true;
}

/* What it has is dropped, and comes again from the spool, if it is there. */
static void abort_in(struct sink *sink)
{
    struct test_sink *s = container_of(sink, struct test_sink, sink);

    while (s->first < s->count) {
        struct batch *b = s->held[s->first++];

        s->sink.events.on_lost(s->sink.events.ctx, sink, b, b->records[0].source, b->count,
                               LOST_ABORTED);
        sink->queued_bytes -= b->bytes;
        (void)batch_unref(b);
    }
    s->first = s->count = 0;
}

static const struct sink_ops test_ops = {
    .kind = "test", .submit = take_in, .close = close_in, .abort = abort_in};

static void on_pause(void *ctx, bool paused)
{
    struct fixture *f = ctx;

    assert_true(paused != f->paused);
    f->paused = paused;
}

static void on_settled(void *ctx, const struct outbox *o, int64_t after_ns)
{
    assert_true(after_ns >= 0);
}

static void on_unsettled(void *ctx, const struct outbox *o)
{
    struct fixture *f = ctx;

    f->unsettled = true;
}

static void on_closed(void *ctx)
{
    struct fixture *f = ctx;

    assert_false(f->all_closed);
    f->all_closed = true;
}

static void on_claim_settled(void *ctx, struct batch *claim)
{
    struct fixture *f = ctx;

    f->claims_settled++;
    for (size_t i = 0; f->acknowledged && !f->unsettled && i < claim->count; i++)
        f->acknowledged[claim->records[i].ts_ns] = true;
}

static const char *const names[SINKS] = {"one", "two", "three"};

struct how {
    size_t sinks;
    size_t queue_max_bytes, window_bytes;
    enum outbox_policy policy;
    bool spools;
};

static void open_all(struct fixture *f, const struct how *how)
{
    struct fanout_events events = {.on_pause = on_pause,
                                   .on_settled = on_settled,
                                   .on_unsettled = on_unsettled,
                                   .on_closed = on_closed,
                                   .ctx = f};

    f->all_closed = f->paused = f->unsettled = false;
    f->run++;
    f->read = 0;
    assert_int_equal(0, fanout_init(&f->fanout, how->sinks, f->spool, &events));
    for (size_t i = 0; i < how->sinks; i++) {
        struct test_sink *s = &f->sinks[i];
        struct outbox_options options = {
            .name = names[i],
            .queue_max_bytes = how->queue_max_bytes,
            .window_bytes = how->window_bytes,
            .policy = how->policy,
        };

        s->closing = s->closed = false;
        s->last = 0;
        s->sink = (struct sink){.ops = &test_ops, .ring = f->ring};
        s->sink.events = fanout_sink_events(&f->fanout);
        assert_int_equal(0, fanout_add(&f->fanout, &options, how->spools, &s->sink));
    }
    fanout_start(&f->fanout);
}

/* ---- memory that fails ---- */

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->ring = fake_ring_create();
    f->source = source_create(slice_str("id"), slice_str("name"), slice_str("image"));
    for (size_t i = 0; i < SINKS; i++)
        f->sinks[i].is_exact = true;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    fanout_finish(&f->fanout);
    if (f->spool)
        fake_spool_destroy(f->spool);
    fake_ring_destroy(f->ring);
    assert_null(source_unref(f->source));
    batch_free_kept();
    free(f);
    return 0;
}

static void check_books(const struct fixture *f)
{
    for (size_t i = 0; i < f->fanout.count; i++) {
        const struct account *a = &f->fanout.tallies.total[i];
        uint64_t sum = a->settled + a->queued + a->spooled;

        for (size_t why = 0; why < LOST_REASON_COUNT; why++)
            sum += a->lost[why];
        assert_int_equal(f->read + a->found, sum);
    }
}

static void give(struct fixture *f, size_t records)
{
    struct batch *b = batch_create(NULL, NULL), *claim;

    for (size_t i = 0; i < records; i++)
        assert_int_equal(0, batch_append(b, f->source, RECORD_STDOUT, (int64_t)f->written++, 0,
                                         slice_str("some line of a container's log")));
    f->read += records;
    f->claims++;
    claim = batch_share(b, on_claim_settled, f);
    assert_non_null(claim);
    assert_int_equal(0, fanout_hand_over(&f->fanout, b, claim));
    (void)batch_unref(claim);
    (void)batch_unref(b);
    check_books(f);
}

static void run_spool(struct fixture *f)
{
    while (f->spool && fake_spool_step(f->spool))
        check_books(f);
}

/* Until nothing moves any more. */
static void drain(struct fixture *f)
{
    bool moved;

    do {
        moved = f->spool && fake_spool_step(f->spool);
        for (size_t i = 0; i < f->fanout.count; i++)
            moved |= settle_one(&f->sinks[i], 0);
        check_books(f);
        if (!moved && fake_ring_in_flight(f->ring) > 0) {
            fake_ring_advance(f->ring, 1000);
            moved = fake_ring_in_flight(f->ring) > 0 || (f->spool && fake_spool_step(f->spool));
        }
    } while (moved);
}

static void close_all(struct fixture *f)
{
    fanout_close(&f->fanout);
    for (size_t i = 0; i < f->fanout.count; i++)
        end_sink(&f->sinks[i]);
    for (unsigned i = 0; i < 100 && !f->all_closed; i++) {
        run_spool(f);
        fake_ring_advance(f->ring, 1000);
        for (size_t n = 0; n < f->fanout.count; n++)
            end_sink(&f->sinks[n]);
    }
}

static void test_every_sink_gets_every_record_and_the_claim_waits_for_the_last(void **state)
{
    struct fixture *f = *state;

    open_all(f, &(struct how){2, SIZE_MAX, SIZE_MAX, OUTBOX_PAUSE, false});
    give(f, 10);
    give(f, 5);
    while (settle_one(&f->sinks[0], 0))
        ;
    assert_int_equal(0, f->claims_settled);
    assert_true(settle_one(&f->sinks[1], 0));
    assert_int_equal(1, f->claims_settled);
    assert_true(settle_one(&f->sinks[1], 2));
    assert_int_equal(2, f->claims_settled);
    assert_int_equal(15, f->sinks[0].got);
    assert_int_equal(13, f->sinks[1].got);
    assert_int_equal(2, f->fanout.tallies.total[1].lost[LOST_REFUSED]);
    check_books(f);
    close_all(f);
    assert_true(f->all_closed);
}

static void test_reading_pauses_while_a_queue_is_full_and_goes_on_at_half(void **state)
{
    struct fixture *f = *state;
    unsigned batches = 0;

    open_all(f, &(struct how){2, 1 << 20, 1 << 18, OUTBOX_PAUSE, false});
    for (unsigned times = 1; times <= 3; times++) {
        while (!f->paused) {
            give(f, 100);
            while (settle_one(&f->sinks[0], 0)) /* which holds nobody up */
                ;
            batches++;
        }
        assert_true(outbox_held_bytes(&f->fanout.outboxes[1]) > 1 << 20);
        while (f->paused) {
            assert_true(outbox_held_bytes(&f->fanout.outboxes[1]) > 1 << 19);
            assert_true(settle_one(&f->sinks[1], 0));
        }
        assert_int_equal(times, f->fanout.pauses);
    }
    assert_true(batches > 10);
    drain(f);
    assert_int_equal(f->written, f->sinks[1].got);
    close_all(f);
}

/* S33, without a spool. */
static void test_when_full_the_oldest_or_the_newest_are_dropped_and_counted(void **state)
{
    for (int which = 0; which < 2; which++) {
        enum outbox_policy policy = which ? OUTBOX_DROP_NEWEST : OUTBOX_DROP_OLDEST;
        enum lost_reason reason = which ? LOST_DROPPED_NEWEST : LOST_DROPPED_OLDEST;
        struct fixture *f;
        const struct account *a;

        setup(state);
        f = *state;
        open_all(f, &(struct how){2, 1 << 20, 1 << 18, policy, false});
        f->sinks[1].is_exact = false;
        for (unsigned i = 0; i < 500; i++) {
            give(f, 100);
            assert_false(f->paused);
            while (settle_one(&f->sinks[0], 0))
                ;
            assert_true(outbox_held_bytes(&f->fanout.outboxes[1]) <= 1 << 20);
        }
        drain(f);
        a = &f->fanout.tallies.total[1];
        assert_true(a->lost[reason] > 0);
        assert_int_equal(f->written, f->sinks[1].got + a->lost[reason]);
        assert_int_equal(which ? f->sinks[1].got : f->written, f->sinks[1].next);
        assert_int_equal(f->written, f->sinks[0].got);
        assert_int_equal(f->claims, f->claims_settled);
        close_all(f);
        teardown(state);
    }
    *state = NULL;
}

static void test_a_sink_that_hangs_is_spooled_for_and_reading_goes_on(void **state)
{
    struct fixture *f = *state;

    f->spool = fake_spool_create(SIZE_MAX);
    open_all(f, &(struct how){2, 1 << 20, 1 << 18, OUTBOX_PAUSE, true});
    for (unsigned i = 0; i < 2000; i++) {
        give(f, 50);
        while (settle_one(&f->sinks[0], 0))
            ;
        run_spool(f);
        assert_false(f->paused);
        assert_true(outbox_held_bytes(&f->fanout.outboxes[1]) <= 1 << 20);
    }
    /* The position may move past all of it, also past what the sink has and does not answer for. */
    assert_int_equal(f->claims, f->claims_settled);
    assert_true(f->fanout.outboxes[1].spooling);
    assert_false(f->fanout.outboxes[0].spooling);
    drain(f);
    assert_false(f->fanout.outboxes[1].spooling);
    assert_int_equal(f->written, f->sinks[1].got);
    assert_int_equal(0, fake_spool_records(f->spool, "two"));
    give(f, 10);
    drain(f);
    assert_int_equal(f->written, f->sinks[1].got);
    close_all(f);
}

/* S32: both full, then the sink is back. */
static void test_with_memory_and_spool_full_the_policy_decides(void **state)
{
    struct fixture *f = *state;

    f->spool = fake_spool_create(1 << 20);
    open_all(f, &(struct how){1, 1 << 19, 1 << 17, OUTBOX_PAUSE, true});
    for (unsigned times = 1; times <= 20; times++) {
        while (!f->paused) {
            give(f, 50);
            run_spool(f);
        }
        drain(f);
        assert_false(f->paused);
        assert_int_equal(f->written, f->sinks[0].got);
    }
    close_all(f);
}

static void test_the_oldest_in_the_spool_make_room_for_the_newest(void **state)
{
    struct fixture *f = *state;
    const struct account *a;

    f->spool = fake_spool_create(1 << 20);
    open_all(f, &(struct how){1, 1 << 19, 1 << 17, OUTBOX_DROP_OLDEST, true});
    f->sinks[0].is_exact = false;
    for (unsigned i = 0; i < 2000; i++) {
        give(f, 50);
        run_spool(f);
        assert_false(f->paused);
        assert_true(outbox_held_bytes(&f->fanout.outboxes[0]) <= 1 << 19);
    }
    drain(f);
    a = &f->fanout.tallies.total[0];
    assert_true(a->lost[LOST_DROPPED_OLDEST] > 0);
    assert_int_equal(f->written, f->sinks[0].got + a->lost[LOST_DROPPED_OLDEST]);
    assert_int_equal(f->written, f->sinks[0].next);
    close_all(f);
}

/* The disk takes its time, or does nothing at all, just when room is to be made there. */
static void test_memory_is_bounded_while_the_oldest_wait_to_make_room(void **state)
{
    for (unsigned slowness = 2; slowness <= 2000; slowness *= 10) {
        const struct account *a;
        struct fixture *f;

        setup(state);
        f = *state;
        f->spool = fake_spool_create(1 << 20);
        open_all(f, &(struct how){1, 1 << 19, 1 << 17, OUTBOX_DROP_OLDEST, true});
        f->sinks[0].is_exact = false;
        while (!f->fanout.outboxes[0].shedding) {
            give(f, 50);
            while (f->fanout.outboxes[0].appends > 0)
                (void)fake_spool_step(f->spool);
        }
        for (unsigned i = 0; i < 2000; i++) {
            give(f, 50);
            if (i % slowness == slowness - 1)
                (void)fake_spool_step(f->spool);
            assert_false(f->paused);
            assert_true(outbox_held_bytes(&f->fanout.outboxes[0]) <= 1 << 19);
        }
        drain(f);
        a = &f->fanout.tallies.total[0];
        assert_int_equal(f->written, f->sinks[0].got + a->lost[LOST_DROPPED_OLDEST]);
        assert_int_equal(f->written, f->sinks[0].next);
        assert_int_equal(f->claims, f->claims_settled);
        close_all(f);
        teardown(state);
    }
    *state = NULL;
}

static void test_what_is_damaged_in_the_spool_is_counted(void **state)
{
    struct fixture *f = *state;

    f->spool = fake_spool_create(SIZE_MAX);
    open_all(f, &(struct how){1, 1 << 18, 1 << 17, OUTBOX_PAUSE, true});
    f->sinks[0].is_exact = false;
    for (unsigned i = 0; i < 200; i++)
        give(f, 50);
    while (f->fanout.outboxes[0].appends > 0)
        assert_true(fake_spool_step(f->spool));
    fake_spool_fail_read(f->spool, -5); /* is tried again */
    assert_true(settle_one(&f->sinks[0], 0));
    drain(f);
    for (unsigned i = 0; i < 200; i++)
        give(f, 50);
    while (f->fanout.outboxes[0].appends > 0)
        assert_true(fake_spool_step(f->spool));
    fake_spool_fail_read(f->spool, 0);
    drain(f);
    assert_int_equal(50, f->fanout.tallies.total[0].lost[LOST_DAMAGED]);
    assert_int_equal(f->written, f->sinks[0].got + 50);
    close_all(f);
}

static int64_t errors_logged;

static bool count_errors(void *ctx, struct slice line)
{
    errors_logged += memmem(line.data, line.len, "can't be read and is passed over", 32) != NULL;
    return true;
}

/* For ever: what is behind it comes all the same, in this run and in the one after. */
static void test_what_the_disk_cannot_read_is_passed_over_and_counted(void **state)
{
    enum { BATCHES = 400, PER_BATCH = 50, BROKEN = 3 };
    struct fixture *f = *state;
    struct how how = {1, 1 << 18, 1 << 17, OUTBOX_PAUSE, true};
    const struct account *a = &f->fanout.tallies.total[0];
    struct spool_place broken;
    uint64_t left;

    errors_logged = 0;
    log_set_writer(count_errors, NULL);
    f->spool = fake_spool_create(SIZE_MAX);
    f->sinks[0].is_exact = false;
    open_all(f, &how);
    for (unsigned i = 0; i < BATCHES; i++)
        give(f, PER_BATCH);
    while (f->fanout.outboxes[0].appends > 0)
        assert_true(fake_spool_step(f->spool));
    broken = f->fanout.outboxes[0].read_place;
    fake_spool_break(f->spool, broken.at, broken.at + 1);
    for (unsigned i = 0; i < BROKEN - 1; i++)
        broken = spool_skip_segment(f->spool, broken);
    fake_spool_break(f->spool, f->fanout.outboxes[0].read_place.at, broken.at + 1);
    drain(f);
    assert_int_equal(BROKEN, errors_logged);
    assert_int_equal(BROKEN * PER_BATCH, a->lost[LOST_UNREADABLE]);
    assert_int_equal(f->written, f->sinks[0].got + BROKEN * PER_BATCH);
    assert_int_equal(f->written, f->sinks[0].next);

    /* What an earlier run has left is counted as soon as it is given up. */
    for (unsigned i = 0; i < BATCHES; i++)
        give(f, PER_BATCH);
    fanout_close(&f->fanout);
    fanout_give_up(&f->fanout);
    close_all(f);
    fanout_finish(&f->fanout);
    left = fake_spool_records(f->spool, names[0]);
    assert_true(left > 2 * PER_BATCH);
    broken = spool_cursor_place(spool_cursor_get(f->spool, names[0]));
    fake_spool_break(f->spool, broken.at, broken.at + 1);
    open_all(f, &how);
    drain(f);
    assert_int_equal(PER_BATCH, a->lost[LOST_UNREADABLE]);
    assert_int_equal(left, a->found);
    assert_int_equal(left - PER_BATCH, a->settled);
    assert_int_equal(f->written, f->sinks[0].got + (BROKEN + 1) * PER_BATCH);
    close_all(f);
    log_set_writer(NULL, NULL);
}

static void test_a_read_that_fails_for_another_reason_is_tried_for_ever(void **state)
{
    struct fixture *f = *state;

    f->spool = fake_spool_create(SIZE_MAX);
    open_all(f, &(struct how){1, 1 << 18, 1 << 17, OUTBOX_PAUSE, true});
    for (unsigned i = 0; i < 200; i++)
        give(f, 50);
    while (f->fanout.outboxes[0].appends > 0)
        assert_true(fake_spool_step(f->spool));
    assert_true(settle_one(&f->sinks[0], 0));
    for (unsigned i = 0; i < 200; i++) {
        fake_spool_fail_read(f->spool, -EACCES);
        (void)fake_spool_step(f->spool);
        fake_ring_advance(f->ring, 1000);
    }
    drain(f);
    assert_int_equal(f->written, f->sinks[0].got);
    close_all(f);
}

/* S36: what can't be sent is there for the next run, and is counted in both. */
static void test_what_is_left_at_the_end_is_in_the_spool_for_the_next_run(void **state)
{
    struct fixture *f = *state;
    struct how how = {2, 1 << 20, 1 << 18, OUTBOX_PAUSE, true};

    f->spool = fake_spool_create(SIZE_MAX);
    for (unsigned run = 0; run < 6; run++) {
        open_all(f, &how);
        for (unsigned i = 0; i < (run % 2 ? 20 : 1000); i++)
            give(f, 20);
        while (settle_one(&f->sinks[0], 0))
            ;
        if (run % 3 == 0)
            (void)settle_one(&f->sinks[1], 0);
        fanout_close(&f->fanout);
        fanout_give_up(&f->fanout);
        close_all(f);
        assert_true(f->all_closed);
        check_books(f);
        assert_int_equal(f->claims, f->claims_settled);
        assert_int_equal(0, f->fanout.tallies.total[1].lost[LOST_ABORTED]);
        assert_false(f->unsettled);
        assert_int_equal(f->written, f->sinks[1].got + fake_spool_records(f->spool, names[1]));
        fanout_finish(&f->fanout);
    }
    open_all(f, &how);
    drain(f);
    assert_int_equal(f->written, f->sinks[1].got);
    assert_int_equal(f->written, f->sinks[0].got);
    close_all(f);
}

static void test_without_a_spool_giving_up_loses_what_is_queued_and_counts_it(void **state)
{
    struct fixture *f = *state;
    const struct account *a;

    open_all(f, &(struct how){1, 1 << 20, 1 << 17, OUTBOX_PAUSE, false});
    while (!f->paused)
        give(f, 50);
    assert_true(settle_one(&f->sinks[0], 0));
    fanout_give_up(&f->fanout);
    close_all(f);
    assert_true(f->all_closed);
    check_books(f);
    a = &f->fanout.tallies.total[0];
    assert_int_equal(f->sinks[0].got, a->settled);
    assert_int_equal(f->written - f->sinks[0].got, a->lost[LOST_ABORTED]);
    assert_true(f->unsettled);
}

/* A disk that is full, or that hangs: there has to be an end all the same. */
static void
test_what_the_spool_does_not_take_in_the_end_is_lost_and_no_claim_says_otherwise(void **state)
{
    for (int is_full = 0; is_full < 2; is_full++) {
        struct fixture *f;
        const struct account *a;

        setup(state);
        f = *state;
        f->spool = fake_spool_create(is_full ? 1 : SIZE_MAX);
        open_all(f, &(struct how){2, 1 << 20, 1 << 17, OUTBOX_PAUSE, true});
        for (unsigned i = 0; i < 100; i++)
            give(f, 50);
        while (settle_one(&f->sinks[0], 0))
            ;
        fanout_close(&f->fanout);
        fanout_give_up(&f->fanout);
        fake_ring_advance(f->ring, 1000);
        end_sink(&f->sinks[1]);
        assert_int_equal(is_full, f->unsettled);
        fanout_end_spool(&f->fanout);
        close_all(f);
        assert_true(f->all_closed && f->unsettled);
        check_books(f);
        a = &f->fanout.tallies.total[1];
        assert_int_equal(0, a->spooled + a->queued);
        assert_int_equal(f->written - f->sinks[1].got, a->lost[LOST_ABORTED]);
        teardown(state);
    }
    *state = NULL;
}

static void test_reading_back_does_not_wait_for_what_is_being_appended(void **state)
{
    struct fixture *f = *state;

    f->spool = fake_spool_create(SIZE_MAX);
    open_all(f, &(struct how){1, 1 << 18, 1 << 16, OUTBOX_PAUSE, true});
    while (!f->fanout.outboxes[0].spooling)
        give(f, 50);
    for (unsigned i = 0; i < 4000; i++) {
        /* Something is always on its way into the spool. */
        give(f, 1);
        give(f, 1);
        (void)fake_spool_step(f->spool);
        (void)fake_spool_step(f->spool);
        (void)settle_one(&f->sinks[0], 0);
        (void)settle_one(&f->sinks[0], 0);
    }
    assert_true(f->sinks[0].got > 3000);
    drain(f);
    assert_int_equal(f->written, f->sinks[0].got);
    close_all(f);
}

/* Any order of what can happen. */
static void play(struct fixture *f, uint64_t seed)
{
    struct random random;
    struct how how = {.sinks = SINKS, .window_bytes = 1 << 16};

    random_seed(&random, seed);
    how.queue_max_bytes = (size_t)1 << (17 + random_below(&random, 4));
    how.spools = random_below(&random, 4) > 0;
    how.policy = (enum outbox_policy)random_below(&random, 3);
    f->spool = how.spools ? fake_spool_create((size_t)1 << (14 + random_below(&random, 6))) : NULL;
    for (size_t i = 0; i < SINKS; i++)
        f->sinks[i].is_exact = how.policy == OUTBOX_PAUSE;
    for (unsigned run = 0; run < 2; run++) {
        open_all(f, &how);
        for (unsigned step = 0; step < 600; step++) {
            switch (random_below(&random, 6)) {
            case 0:
            case 1:
                if (!f->paused)
                    give(f, 1 + random_below(&random, 100));
                break;
            case 2:
                (void)settle_one(&f->sinks[0], random_below(&random, 8) == 0);
                break;
            case 3:
                (void)settle_one(&f->sinks[1 + random_below(&random, 2)],
                                 random_below(&random, 8) == 0);
                break;
            case 4:
                if (f->spool)
                    (void)fake_spool_step(f->spool);
                break;
            default:
                if (random_below(&random, 10) == 0)
                    fake_ring_advance(f->ring, 300);
                break;
            }
            check_books(f);
        }
        drain(f);
        for (size_t i = 0; i < SINKS; i++) {
            const struct account *a = &f->fanout.tallies.total[i];

            assert_int_equal(0, a->queued);
            assert_int_equal(0, a->spooled);
        }
        assert_int_equal(f->claims, f->claims_settled);
        close_all(f);
        assert_true(f->all_closed);
        if (run == 0)
            fanout_finish(&f->fanout);
    }
}

static void test_whatever_happens_in_whatever_order_the_books_balance(void **state)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        setup(state);
        play(*state, seed);
        teardown(state);
    }
    *state = NULL;
}

/*
 * Several runs over one spool, each ended in some way, while memory fails now and then. What no
 * claim has acknowledged is read again by the next run.
 */
static void give_numbers(struct fixture *f, uint64_t first, size_t records)
{
    struct batch *b = batch_create(NULL, NULL), *claim;
    int r;

    for (size_t i = 0; i < records; i++) {
        assert_int_equal(0, batch_append(b, f->source, RECORD_STDOUT, (int64_t)(first + i), 0,
                                         slice_str("some line of a container's log")));
        b->records[i].ordinal = f->run;
    }
    do {
        claim = batch_share(b, on_claim_settled, f);
        failing_malloc.counting = true;
        r = fanout_hand_over(&f->fanout, b, claim);
        failing_malloc.counting = false;
        if (r < 0)
            claim->on_settled = NULL;
        (void)batch_unref(claim);
    } while (r < 0);
    f->read += records;
    f->claims++;
    (void)batch_unref(b);
    check_books(f);
}

static void give_what_is_not_acknowledged(struct fixture *f)
{
    uint64_t n = 0;

    while (n < f->written) {
        size_t count = 0;

        while (n + count < f->written && count < 50 && !f->acknowledged[n + count])
            count++;
        if (count > 0)
            give_numbers(f, n, count);
        n += count + (count == 0);
    }
}

static void step_somewhere(struct fixture *f, struct random *random)
{
    failing_malloc.counting = true;
    switch (random_below(random, 4)) {
    case 0:
    case 1:
        (void)settle_one(&f->sinks[random_below(random, f->fanout.count)],
                         random_below(random, 8) == 0);
        break;
    case 2:
        if (f->spool)
            (void)fake_spool_step(f->spool);
        break;
    default:
        fake_ring_advance(f->ring, (int64_t)random_below(random, 300));
        break;
    }
    failing_malloc.counting = false;
    check_books(f);
}

static void end_run(struct fixture *f, struct random *random, bool is_clean)
{
    failing_malloc.counting = !is_clean;
    if (is_clean)
        drain(f);
    for (size_t i = 0; i < f->fanout.count; i++)
        f->sinks[i].sink.state = random_below(random, 2) ? SINK_RETRYING : SINK_OK;
    fanout_close(&f->fanout);
    check_books(f);
    for (uint64_t n = random_below(random, 100); n > 0 && !f->all_closed; n--)
        step_somewhere(f, random);
    failing_malloc.counting = !is_clean;
    if (!f->all_closed && !is_clean)
        fanout_give_up(&f->fanout);
    check_books(f);
    for (uint64_t n = random_below(random, 50); n > 0 && !f->all_closed; n--)
        step_somewhere(f, random);
    failing_malloc.counting = !is_clean;
    if (!f->all_closed && !is_clean && random_below(random, 2))
        fanout_end_spool(&f->fanout);
    failing_malloc.counting = false;
    close_all(f);
    assert_true(f->all_closed);
    check_books(f);
    assert_int_equal(f->claims, f->claims_settled);
    if (f->spool)
        fake_spool_open_again(f->spool);
}

static void play_runs(struct fixture *f, uint64_t seed)
{
    struct how how = {.sinks = SINKS, .window_bytes = 1 << 15};
    uint64_t dropped[SINKS] = {0};
    bool is_clean = seed % 4 == 0;
    struct random random;

    random_seed(&random, seed);
    how.queue_max_bytes = (size_t)1 << (16 + random_below(&random, 3));
    how.spools = random_below(&random, 4) > 0;
    how.policy = (enum outbox_policy)random_below(&random, 3);
    f->spool = how.spools ? fake_spool_create((size_t)1 << (13 + random_below(&random, 6))) : NULL;
    for (unsigned run = 0; run < 4; run++) {
        bool is_last = run == 3;

        open_all(f, &how);
        give_what_is_not_acknowledged(f);
        for (unsigned step = 0; step < 400 && !is_last; step++) {
            if (random_below(&random, 16) == 0) {
                failing_malloc.until_failure = (unsigned)random_below(&random, 8);
                failing_malloc.failures = 1 + (unsigned)random_below(&random, 4);
            }
            if (!f->paused && random_below(&random, 2)) {
                uint64_t count = 1 + random_below(&random, 60);

                f->written += count;
                assert_true(f->written < MODEL_RECORDS);
                give_numbers(f, f->written - count, count);
            }
            step_somewhere(f, &random);
        }
        failing_malloc.failures = is_last ? 0 : failing_malloc.failures;
        if (is_last)
            drain(f);
        end_run(f, &random, is_clean || is_last);
        for (size_t i = 0; i < SINKS; i++) {
            const struct account *a = &f->fanout.tallies.total[i];

            assert_int_equal(0, a->queued);
            dropped[i] += a->lost[LOST_DROPPED_OLDEST] + a->lost[LOST_DROPPED_NEWEST];
            assert_int_equal(0, a->lost[LOST_DAMAGED] + a->lost[LOST_EXPIRED]);
        }
        failing_malloc.failures = 0;
        if (!is_last)
            fanout_finish(&f->fanout);
    }
    for (size_t i = 0; i < SINKS; i++) {
        uint64_t missing = 0;

        for (uint64_t n = 0; n < f->written; n++) {
            missing += f->sinks[i].delivered[n] == 0;
            if (is_clean)
                assert_true(f->sinks[i].delivered[n] <= 1);
        }
        assert_true(missing <= dropped[i]);
        assert_true(how.policy != OUTBOX_PAUSE || missing == 0);
    }
}

static void test_what_was_acknowledged_is_delivered_over_runs_that_end_in_any_way(void **state)
{
    uint64_t seeds = getenv("RINGTAIL_TEST_FULL") ? 5000 : 120;

    failing_malloc.failed = 0;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct fixture *f;

        setup(state);
        f = *state;
        f->acknowledged = calloc(MODEL_RECORDS, 1);
        for (size_t i = 0; i < SINKS; i++)
            f->sinks[i].delivered = calloc(MODEL_RECORDS, 1);
        play_runs(f, seed);
        for (size_t i = 0; i < SINKS; i++)
            free(f->sinks[i].delivered);
        free(f->acknowledged);
        f->acknowledged = NULL;
        teardown(state);
    }
    assert_true(failing_malloc.failed > seeds);
    *state = NULL;
}

#define FANNING(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define TITLED(title, fn)                                                                          \
    {                                                                                              \
        .name = (title), .test_func = (fn), .setup_func = setup, .teardown_func = teardown         \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        FANNING(test_every_sink_gets_every_record_and_the_claim_waits_for_the_last),
        FANNING(test_reading_pauses_while_a_queue_is_full_and_goes_on_at_half),
        {.name = "S33 when full the oldest or the newest are dropped and counted",
         .test_func = test_when_full_the_oldest_or_the_newest_are_dropped_and_counted},
        TITLED("S26 a sink that hangs is spooled for and reading goes on",
               test_a_sink_that_hangs_is_spooled_for_and_reading_goes_on),
        TITLED("S32 with memory and spool full the policy decides",
               test_with_memory_and_spool_full_the_policy_decides),
        TITLED("S33 the oldest in the spool make room for the newest",
               test_the_oldest_in_the_spool_make_room_for_the_newest),
        {.name = "S33 memory is bounded while the oldest wait to make room",
         .test_func = test_memory_is_bounded_while_the_oldest_wait_to_make_room},
        TITLED("S29 what is damaged in the spool is counted",
               test_what_is_damaged_in_the_spool_is_counted),
        FANNING(test_what_the_disk_cannot_read_is_passed_over_and_counted),
        FANNING(test_a_read_that_fails_for_another_reason_is_tried_for_ever),
        TITLED("S36 what is left at the end is in the spool for the next run",
               test_what_is_left_at_the_end_is_in_the_spool_for_the_next_run),
        FANNING(test_without_a_spool_giving_up_loses_what_is_queued_and_counts_it),
        cmocka_unit_test(
            test_what_the_spool_does_not_take_in_the_end_is_lost_and_no_claim_says_otherwise),
        FANNING(test_reading_back_does_not_wait_for_what_is_being_appended),
        cmocka_unit_test(test_what_was_acknowledged_is_delivered_over_runs_that_end_in_any_way),
        cmocka_unit_test(test_whatever_happens_in_whatever_order_the_books_balance),
    };

    return cmocka_run_group_tests_name("fanout", tests, NULL, NULL);
}
