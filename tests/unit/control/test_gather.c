/* Lines gathered into batches for a sink that does as it is told. */
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

#define QUEUE_MAX 10000
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
    struct gather gather;
    struct source *source;
    unsigned pauses, resumes, settled;
    bool paused;
};

static void slow_submit(struct sink *sink, struct batch *batch)
{
    struct slow_sink *s = container_of(sink, struct slow_sink, sink);

    assert_true(s->count < BATCHES_MAX);
    s->batches[s->count++] = batch_ref(batch);
    sink->queued_bytes += batch->bytes;
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
    struct fixture *f = ctx;

    assert_true(paused != f->paused); /* each is told once */
    f->paused = paused;
    f->pauses += paused;
    f->resumes += !paused;
}

static void on_settled(void *ctx, int64_t after_ns)
{
    struct fixture *f = ctx;

    assert_true(after_ns >= 0);
    f->settled++;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->config.queue_max_bytes = QUEUE_MAX;
    f->config.queue_batch_bytes = BATCH_BYTES;
    f->slow.sink.ops = &slow_ops;
    f->gather = (struct gather){
        .config = &f->config,
        .sink = &f->slow.sink,
        .on_pause = on_pause,
        .on_settled = on_settled,
        .ctx = f,
    };
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
    gather_progress(&f->gather);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    gather_hand_over(&f->gather);
    while (f->slow.first < f->slow.count)
        settle_one(f);
    assert_int_equal(f->gather.lines, f->gather.lines_settled);
    assert_int_equal(f->slow.count, f->settled);
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

    assert_int_equal(0, gather_line(&f->gather, f->source, &line));
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
    assert_int_equal(0, gather_line(&f->gather, f->source, &line));
    assert_null(heap.data);
    assert_ptr_equal(data, f->gather.open->records[0].data);
    assert_int_equal(15, f->gather.open->records[0].len);
    assert_int_equal(RECORD_PARTIAL, f->gather.open->records[0].flags);
}

static void test_reading_pauses_when_the_queue_is_full_and_resumes_at_half(void **state)
{
    struct fixture *f = *state;

    for (unsigned times = 1; times <= 3; times++) {
        while (f->slow.sink.queued_bytes < QUEUE_MAX)
            gather_much(f);
        assert_int_equal(times - 1, f->pauses);
        gather_much(f);
        assert_true(f->paused);
        assert_true(gather_paused_ns(&f->gather) >= 0);
        gather_much(f); /* what was on its way still comes */
        while (f->slow.sink.queued_bytes > QUEUE_MAX / 2) {
            assert_int_equal(times - 1, f->resumes);
            assert_true(f->paused);
            settle_one(f);
        }
        assert_int_equal(times, f->pauses);
        assert_int_equal(times, f->resumes);
        assert_int_equal(times, f->gather.pauses);
    }
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
        GATHERING(test_reading_pauses_when_the_queue_is_full_and_resumes_at_half),
        GATHERING(test_the_barrier_stands_until_all_before_it_has_settled),
        GATHERING(test_the_barrier_stands_until_the_sink_has_synced),
    };

    return cmocka_run_group_tests_name("gather", tests, NULL, NULL);
}
