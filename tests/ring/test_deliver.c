/*
 * The fan-out over a real spool on the kernel's ring: two sinks, of which one follows a script
 * (hangs, gives back, is slow), over several runs that end in any way. What no claim has
 * acknowledged is read again by the next run, as from an Engine.
 */
#include "ringtail/deliver/fanout.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"

#include "ring_fixture.h"

enum { SINKS = 2, RUNS = 5, RECORDS = 3000, LINE_BYTES = 200, HELD_MAX = 4096 };
enum { QUICK, SCRIPTED };

struct script {
    bool hangs;      /* settles nothing */
    bool ends_early; /* the run ends while it hangs, its grace with it */
    unsigned settles_max;
};

/* Settles when the script says so. */
struct test_sink {
    struct sink sink;
    struct batch *held[HELD_MAX];
    size_t first, count;
    bool closing, closed;
    uint64_t last;                     /* number of what came last, and the run that had read it */
    uint8_t delivered[RUNS * RECORDS]; /* how often */
};

struct rig {
    struct ring_fixture *f;
    struct random random;
    struct spool *spool;
    struct fanout fanout;
    struct test_sink sinks[SINKS];
    struct source *sources[3];
    struct op tick_op;
    struct spool_options spool_options;
    char spool_dir[64];
    enum outbox_policy policy;
    struct script script;
    uint64_t written, read;
    uint64_t next; /* of this run: what is not acknowledged is given from here on */
    uint8_t acknowledged[RUNS * RECORDS];
    uint64_t dropped, pauses, spool_turns;
    uint16_t run;
    bool paused, unsettled, closing, all_closed, finishing, ticks;
};

/* ---- sinks ---- */

static int take_in(struct sink *sink, struct batch *batch)
{
    struct test_sink *s = container_of(sink, struct test_sink, sink);

    assert_false(s->closing);
    assert_true(s->count < HELD_MAX);
    s->held[s->count++] = batch_ref(batch);
    sink->queued_bytes += batch->bytes;
    return 0;
}

/* The oldest batch that it has is done with. */
static void let_go(struct test_sink *s)
{
    struct batch *b = s->held[s->first++];

    if (s->first == s->count)
        s->first = s->count = 0;
    s->sink.queued_bytes -= b->bytes;
    (void)batch_unref(b);
}

static void settle_one(struct test_sink *s)
{
    const struct batch *b = s->held[s->first];

    for (size_t i = 0; i < b->count; i++) {
        uint64_t number = (uint64_t)b->records[i].ts_ns;
        uint64_t key = (uint64_t)b->records[i].ordinal << 32 | number;

        assert_true(number < RUNS * RECORDS && b->records[i].len == LINE_BYTES);
        assert_true(key > s->last || s->last == 0);
        s->last = key;
        if (s->delivered[number] < UINT8_MAX)
            s->delivered[number]++;
    }
    let_go(s);
    s->sink.events.on_progress(s->sink.events.ctx, &s->sink);
}

static void end_sink(struct test_sink *s)
{
    if (!s->closing || s->closed || s->first < s->count)
        return;
    s->closed = true;
    s->sink.events.on_closed(s->sink.events.ctx, &s->sink);
}

static void close_in(struct sink *sink)
{
    container_of(sink, struct test_sink, sink)->closing = true;
}

static void abort_in(struct sink *sink)
{
    struct test_sink *s = container_of(sink, struct test_sink, sink);

    while (s->first < s->count) {
        struct batch *b = s->held[s->first];

        for (size_t i = 0; i < b->count; i++)
            sink->events.on_lost(sink->events.ctx, sink, b, b->records[i].source, 1, LOST_ABORTED);
        let_go(s);
    }
}

static const struct sink_ops test_ops = {
    .kind = "test", .submit = take_in, .close = close_in, .abort = abort_in};

/* ---- what the fan-out says ---- */

static void on_pause(void *ctx, bool paused)
{
    struct rig *r = ctx;

    r->paused = paused;
}

static void on_settled(void *ctx, const struct outbox *o, int64_t after_ns)
{
    assert_true(after_ns >= 0);
}

static void on_unsettled(void *ctx, const struct outbox *o)
{
    struct rig *r = ctx;

    r->unsettled = true;
}

static void on_closed(void *ctx)
{
    struct rig *r = ctx;

    r->all_closed = true;
}

static void on_claim_settled(void *ctx, struct batch *claim)
{
    struct rig *r = ctx;

    for (size_t i = 0; !r->unsettled && i < claim->count; i++)
        r->acknowledged[claim->records[i].ts_ns] = true;
}

static void check_books(const struct rig *r)
{
    for (size_t i = 0; i < SINKS; i++) {
        const struct account *a = &r->fanout.tallies.total[i];
        uint64_t sum = a->settled + a->queued + a->spooled;

        for (size_t why = 0; why < LOST_REASON_COUNT; why++)
            sum += a->lost[why];
        assert_int_equal(r->read + a->found, sum);
    }
}

/* ---- a run ---- */

/* What no run has acknowledged yet, in order, up to what this run writes. */
static void give(struct rig *r)
{
    uint64_t most = 1 + random_below(&r->random, 100);
    struct batch *b = batch_create(NULL, NULL), *claim;
    char line[LINE_BYTES];

    assert_non_null(b);
    memset(line, 'x', sizeof line);
    while (r->next < r->written && b->count < most) {
        uint64_t n = r->next++;

        if (r->acknowledged[n])
            continue;
        assert_int_equal(0, batch_append(b, r->sources[n % ARRAY_SIZE(r->sources)], RECORD_STDOUT,
                                         (int64_t)n, 0, slice_of(line, sizeof line)));
        b->records[b->count - 1].ordinal = r->run;
    }
    r->read += b->count;
    claim = batch_share(b, on_claim_settled, r);
    assert_non_null(claim);
    if (b->count > 0)
        assert_int_equal(0, fanout_hand_over(&r->fanout, b, claim));
    (void)batch_unref(claim);
    (void)batch_unref(b);
}

static void play_sinks(struct rig *r)
{
    uint64_t some = r->script.hangs ? 0 : random_below(&r->random, r->script.settles_max + 1);

    while (r->sinks[QUICK].first < r->sinks[QUICK].count)
        settle_one(&r->sinks[QUICK]);
    while (some-- > 0 && r->sinks[SCRIPTED].first < r->sinks[SCRIPTED].count)
        settle_one(&r->sinks[SCRIPTED]);
    for (size_t i = 0; i < SINKS; i++)
        end_sink(&r->sinks[i]);
}

static bool has_all(const struct rig *r)
{
    const struct outbox *o = &r->fanout.outboxes[SCRIPTED];

    return r->next == r->written && outbox_is_empty(&r->fanout.outboxes[QUICK]) &&
           (outbox_is_empty(o) && !o->spooling);
}

static void begin_end(struct rig *r)
{
    r->closing = true;
    r->sinks[SCRIPTED].sink.state = r->script.hangs ? SINK_RETRYING : SINK_OK;
    fanout_close(&r->fanout);
    if (r->script.ends_early)
        fanout_give_up(&r->fanout);
}

/* After each pass; true at the end of the run. */
static bool step(void *ctx)
{
    struct rig *r = ctx;

    for (unsigned i = 0; i < 8 && !r->closing && !r->paused && r->next < r->written; i++)
        give(r);
    play_sinks(r);
    check_books(r);
    /* What hangs does so until all is in the spool, or it is full. */
    if (r->script.hangs && !r->script.ends_early && (r->paused || r->next == r->written) &&
        r->fanout.outboxes[SCRIPTED].appends == 0)
        r->script.hangs = false;
    if (!r->closing &&
        (has_all(r) || (r->script.ends_early && (r->paused || r->next == r->written))))
        begin_end(r);
    if (r->all_closed && !r->finishing) {
        r->finishing = true;
        spool_finish(r->spool);
        r->ticks = false;
    }
    return r->finishing && spool_is_idle(r->spool) && !op_in_flight(&r->tick_op);
}

static void on_tick(struct op *op, int res)
{
    struct rig *r = container_of(op, struct rig, tick_op);

    if (r->ticks)
        ring_timer(r->f->ring, op, 1);
}

static void open_run(struct rig *r)
{
    static const char *const names[SINKS] = {"quick", "scripted"};
    struct fanout_events events = {.on_pause = on_pause,
                                   .on_settled = on_settled,
                                   .on_unsettled = on_unsettled,
                                   .on_closed = on_closed,
                                   .ctx = r};
    char why[256] = "";

    r->run++;
    r->read = r->next = 0;
    r->paused = r->unsettled = r->closing = r->all_closed = r->finishing = false;
    r->written += RECORDS;
    if (spool_open(r->f->ring, &r->spool_options, &r->spool, why, sizeof why) < 0)
        fail_msg("%s", why);
    assert_int_equal(0, fanout_init(&r->fanout, SINKS, r->spool, &events));
    for (size_t i = 0; i < SINKS; i++) {
        struct test_sink *s = &r->sinks[i];
        struct outbox_options options = {
            .name = names[i],
            .queue_max_bytes = (size_t)1 << 20,
            .window_bytes = (size_t)1 << 16,
            .policy = r->policy,
        };

        s->closing = s->closed = false;
        s->last = 0;
        s->sink = (struct sink){.ops = &test_ops, .ring = r->f->ring};
        s->sink.events = fanout_sink_events(&r->fanout);
        assert_int_equal(0, fanout_add(&r->fanout, &options, true, &s->sink));
    }
    fanout_start(&r->fanout);
    r->ticks = true;
    r->tick_op.done = on_tick;
    ring_timer(r->f->ring, &r->tick_op, 1);
}

static void play_run(struct rig *r, const struct script *script)
{
    r->script = *script;
    open_run(r);
    run_until(r->f, step, r);
    check_books(r);
    for (size_t i = 0; i < SINKS; i++) {
        const struct account *a = &r->fanout.tallies.total[i];

        assert_int_equal(0, a->queued + a->lost[LOST_DAMAGED] + a->lost[LOST_UNREADABLE]);
        r->dropped += a->lost[LOST_DROPPED_OLDEST] + a->lost[LOST_DROPPED_NEWEST];
    }
    r->pauses += r->fanout.pauses;
    r->spool_turns += r->fanout.outboxes[SCRIPTED].spool_turns;
    assert_int_equal(0, spool_stats_get(r->spool)->errors);
    fanout_finish(&r->fanout);
    r->spool = spool_close(r->spool);
}

static void remove_spool(const struct rig *r)
{
    DIR *dir = opendir(r->spool_dir);
    struct dirent *e;

    assert_non_null(dir);
    while ((e = readdir(dir)))
        (void)unlinkat(dirfd(dir), e->d_name, 0); /* but for . and .. */
    assert_int_equal(0, closedir(dir));
    assert_int_equal(0, rmdir(r->spool_dir));
}

static struct rig *rig_open(struct ring_fixture *f, uint64_t seed, int64_t spool_bytes)
{
    struct rig *r = calloc(1, sizeof *r);

    assert_non_null(r);
    r->f = f;
    random_seed(&r->random, seed);
    (void)snprintf(r->spool_dir, sizeof r->spool_dir, "%s/spool", f->dir);
    r->spool_options = (struct spool_options){
        .directory = r->spool_dir,
        .bytes_max = spool_bytes,
        .segment_bytes = 128 << 10,
        .retry_ms = 10,
        .sync = seed % 2 ? SPOOL_SYNC_ALWAYS : SPOOL_SYNC_NEVER,
    };
    for (size_t i = 0; i < ARRAY_SIZE(r->sources); i++) {
        char id[8];

        (void)snprintf(id, sizeof id, "id%zu", i);
        r->sources[i] = source_create(slice_str(id), slice_str("name"), slice_str("image"));
        assert_non_null(r->sources[i]);
    }
    return r;
}

static void rig_close(struct rig *r)
{
    for (size_t i = 0; i < ARRAY_SIZE(r->sources); i++)
        assert_null(source_unref(r->sources[i]));
    batch_free_kept();
    remove_spool(r);
    free(r);
}

static void assert_delivered(const struct rig *r, uint8_t most)
{
    for (size_t i = 0; i < SINKS; i++)
        for (uint64_t n = 0; n < r->written; n++)
            assert_in_range(r->sinks[i].delivered[n], 1, most);
}

static const struct script catches_up = {.hangs = true, .settles_max = 8};
static const struct script is_slow = {.settles_max = 1};
static const struct script ends_hanging = {.hangs = true, .ends_early = true};
static const struct script ends_at_work = {.settles_max = 2, .ends_early = true};

static void test_with_room_in_the_spool_every_record_comes_once(void **state)
{
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct rig *r = rig_open(*state, seed, INT64_MAX);

        play_run(r, &catches_up);
        play_run(r, &ends_hanging);
        play_run(r, &ends_at_work);
        play_run(r, &ends_hanging);
        play_run(r, &catches_up);
        assert_delivered(r, 1);
        assert_true(r->spool_turns >= RUNS);
        assert_int_equal(0, r->pauses);
        rig_close(r);
    }
}

static void test_with_a_spool_that_is_full_every_record_comes(void **state)
{
    for (uint64_t seed = 11; seed <= 12; seed++) {
        struct rig *r = rig_open(*state, seed, 512 << 10);

        play_run(r, &catches_up);
        play_run(r, &ends_hanging);
        play_run(r, &is_slow);
        play_run(r, &ends_hanging);
        play_run(r, &catches_up);
        assert_delivered(r,
                         UINT8_MAX); /* what was given up, and is read again, may be a repetition */
        assert_true(r->pauses >= 2);
        rig_close(r);
    }
}

static void test_what_is_dropped_from_a_full_spool_is_all_that_is_missing(void **state)
{
    for (uint64_t seed = 21; seed <= 22; seed++) {
        struct rig *r = rig_open(*state, seed, 256 << 10);
        uint64_t missing = 0;

        r->policy = OUTBOX_DROP_OLDEST;
        play_run(r, &is_slow);
        play_run(r, &catches_up);
        play_run(r, &is_slow);
        for (uint64_t n = 0; n < r->written; n++) {
            assert_in_range(r->sinks[SCRIPTED].delivered[n], 0, 1);
            missing += r->sinks[SCRIPTED].delivered[n] == 0;
            assert_int_equal(1, r->sinks[QUICK].delivered[n]);
        }
        assert_int_equal(r->dropped, missing);
        assert_true(missing > 0);
        rig_close(r);
    }
}

#define DELIVERING(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DELIVERING(test_with_room_in_the_spool_every_record_comes_once),
        DELIVERING(test_with_a_spool_that_is_full_every_record_comes),
        DELIVERING(test_what_is_dropped_from_a_full_spool_is_all_that_is_missing),
    };
    int skip_code = ring_skip_code();

    return skip_code ? skip_code : cmocka_run_group_tests(tests, NULL, NULL);
}
