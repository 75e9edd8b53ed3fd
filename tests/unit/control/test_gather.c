/* Lines gathered into batches, for one sink that does as it is told. */
#include "control/gather.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"

#define BATCH_BYTES 1000
#define BATCHES_MAX 256

/* Holds batches until it is told to settle them. */
struct slow_sink {
    struct sink sink;
    struct batch *batches[BATCHES_MAX];
    size_t first, count; /* settled, and taken in all */
    bool syncs_take_time;
    unsigned syncs;
};

struct fixture {
    struct config config;
    struct slow_sink slow;
    struct fanout fanout;
    struct gather gather;
    struct source *source;
    unsigned settled;
};

static int slow_submit(struct sink *sink, struct batch *batch)
{
    struct slow_sink *s = container_of(sink, struct slow_sink, sink);

    assert_true(s->count < BATCHES_MAX);
    s->batches[s->count++] = batch_ref(batch);
    sink->queued_bytes += batch->bytes;
    return 0;
}

/* Syncs until the test says that it has. */
static void slow_sync(struct sink *sink)
{
    struct slow_sink *s = container_of(sink, struct slow_sink, sink);

    assert_false(sink->syncing);
    sink->syncing = s->syncs_take_time;
    s->syncs++;
}

static const struct sink_ops slow_ops = {.kind = "slow", .submit = slow_submit, .sync = slow_sync};

static void on_pause(void *ctx, bool paused)
{
    fail(); /* the queue has room */
}

static void on_settled(void *ctx, const struct outbox *o, int64_t after_ns)
{
    struct fixture *f = ctx;

    assert_true(after_ns >= 0);
    f->settled++;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->config.queue_batch_bytes = BATCH_BYTES;
    f->slow.sink.ops = &slow_ops;
    assert_int_equal(0, fanout_init(&f->fanout, 1, NULL,
                                    &(struct fanout_events){
                                        .on_pause = on_pause, .on_settled = on_settled, .ctx = f}));
    f->slow.sink.events = fanout_sink_events(&f->fanout);
    assert_int_equal(0, fanout_add(&f->fanout,
                                   &(struct outbox_options){
                                       .name = "slow",
                                       .queue_max_bytes = SIZE_MAX,
                                       .window_bytes = SIZE_MAX,
                                       .is_local = true,
                                   },
                                   false, &f->slow.sink));
    f->gather = (struct gather){.config = &f->config, .fanout = &f->fanout};
    f->source = source_create(slice_str("id"), slice_str("name"), slice_str("image"));
    assert_non_null(f->source);
    *state = f;
    return 0;
}

/* The oldest batch is where it belongs. */
static void settle_one(struct fixture *f)
{
    struct slow_sink *s = &f->slow;
    struct batch *b = s->batches[s->first++];

    assert_true(s->first <= s->count);
    s->sink.queued_bytes -= b->bytes;
    batch_unref(b);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    gather_hand_over(&f->gather);
    while (f->slow.first < f->slow.count)
        settle_one(f);
    assert_int_equal(f->gather.lines, f->gather.lines_settled);
    assert_int_equal(f->slow.count, f->settled);
    fanout_finish(&f->fanout);
    assert_null(source_unref(f->source));
    batch_free_kept();
    free(f);
    return 0;
}

static void gather_text(struct fixture *f, const char *text)
{
    struct line line = {
        .ts_ns = 7,
        .stream = RECORD_STDERR,
        .ordinal = (uint16_t)(3 + f->gather.lines),
        .bytes = slice_str(text),
    };

    assert_int_equal(0, gather_line(&f->gather, f->source, &line, 0));
}

/* A batch's worth of bytes. */
static void gather_much(struct fixture *f)
{
    char text[BATCH_BYTES + 1];

    memset(text, 'x', BATCH_BYTES);
    text[BATCH_BYTES] = '\0';
    gather_text(f, text);
}

static void test_lines_wait_in_the_open_batch_until_it_is_handed_over(void **state)
{
    struct fixture *f = *state;
    const struct batch *b;

    gather_hand_over(&f->gather); /* of nothing */
    assert_int_equal(0, f->slow.count);
    gather_text(f, "one");
    gather_text(f, "two");
    assert_int_equal(0, f->slow.count);
    gather_hand_over(&f->gather);
    assert_int_equal(1, f->slow.count);
    b = f->slow.batches[0];
    assert_int_equal(2, b->count);
    assert_memory_equal("one", b->records[0].data, 3);
    assert_memory_equal("two", b->records[1].data, 3);
    assert_int_equal(7, b->records[1].ts_ns);
    assert_int_equal(RECORD_STDERR, b->records[1].stream);
    assert_int_equal(3, b->records[0].ordinal);
    assert_int_equal(4, b->records[1].ordinal);
    assert_int_equal(2, f->gather.lines);
    assert_int_equal(6, f->gather.bytes);
    assert_int_equal(0, f->gather.lines_settled);
    settle_one(f);
    assert_int_equal(2, f->gather.lines_settled);
}

static void test_a_full_batch_is_handed_over_at_once(void **state)
{
    struct fixture *f = *state;

    gather_text(f, "small");
    gather_much(f);
    assert_int_equal(1, f->slow.count);
    assert_null(f->gather.open);
    gather_text(f, "next");
    assert_int_equal(1, f->slow.count);
}

static void test_a_line_in_a_buffer_of_its_own_is_taken_without_copying(void **state)
{
    struct fixture *f = *state;
    struct buf heap = {0};
    struct line line = {.ts_ns = 9, .stream = RECORD_STDOUT, .flags = RECORD_PARTIAL};
    const char *data;

    assert_int_equal(0, buf_append_str(&heap, "a line in parts"));
    data = heap.data;
    line.heap = &heap;
    line.bytes = buf_slice(&heap);
    assert_int_equal(0, gather_line(&f->gather, f->source, &line, 0));
    assert_null(heap.data);
    assert_ptr_equal(data, f->gather.open->records[0].data);
    assert_int_equal(15, f->gather.open->records[0].len);
    assert_int_equal(RECORD_PARTIAL, f->gather.open->records[0].flags);
}

static void test_the_barrier_stands_until_all_before_it_has_settled(void **state)
{
    struct fixture *f = *state;

    gather_set_barrier(&f->gather);
    assert_true(gather_is_settled(&f->gather));
    gather_much(f);
    gather_much(f);
    gather_set_barrier(&f->gather);
    gather_much(f); /* behind it */
    assert_false(gather_is_settled(&f->gather));
    settle_one(f);
    assert_false(gather_is_settled(&f->gather));
    settle_one(f);
    assert_true(gather_is_settled(&f->gather));
    /* A new one counts what is still outstanding. */
    gather_set_barrier(&f->gather);
    assert_false(gather_is_settled(&f->gather));
    settle_one(f);
    assert_true(gather_is_settled(&f->gather));
}

static void test_the_barrier_stands_until_the_sink_has_synced(void **state)
{
    struct fixture *f = *state;

    f->slow.syncs_take_time = true;
    gather_much(f);
    gather_set_barrier(&f->gather);
    assert_false(gather_is_settled(&f->gather));
    assert_int_equal(0, f->slow.syncs);
    settle_one(f);
    assert_false(gather_is_settled(&f->gather));
    assert_false(gather_is_settled(&f->gather));
    assert_int_equal(1, f->slow.syncs);
    f->slow.sink.syncing = false;
    assert_true(gather_is_settled(&f->gather));
    assert_int_equal(1, f->slow.syncs);
}

#define GATHERING(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        GATHERING(test_lines_wait_in_the_open_batch_until_it_is_handed_over),
        GATHERING(test_a_full_batch_is_handed_over_at_once),
        GATHERING(test_a_line_in_a_buffer_of_its_own_is_taken_without_copying),
        GATHERING(test_the_barrier_stands_until_all_before_it_has_settled),
        GATHERING(test_the_barrier_stands_until_the_sink_has_synced),
    };

    return cmocka_run_group_tests_name("gather", tests, NULL, NULL);
}
