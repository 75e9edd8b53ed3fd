/* The stdout sink: every byte in order through short writes, full pipes and failures. */
#include "ringtail/sink/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/fake_ring.h"
#include "sink_fixture.h"

struct fixture {
    struct sink_fixture s;
    struct source *source;
    struct buf expected, got;
    int fd;     /* the sink's */
    int reader; /* of a pipe; -1: the sink writes to the file "out" */
};

static struct fixture *open_fixture(bool is_pipe)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct sink_events events;
    int ends[2];

    assert_non_null(f);
    sink_fixture_open(&f->s, fake_ring_create());
    f->source = test_source("web");
    f->reader = -1;
    if (is_pipe) {
        assert_int_equal(0, pipe2(ends, O_NONBLOCK | O_CLOEXEC));
        f->reader = ends[0];
        f->fd = ends[1];
    } else {
        f->fd = open(test_path(&f->s, "out"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        assert_true(f->fd >= 0);
    }
    events = sink_fixture_events(&f->s);
    assert_int_equal(0, sink_stdout_create(f->s.ring, f->fd, &events, &f->s.sink));
    return f;
}

static int setup_file(void **state)
{
    *state = open_fixture(false);
    return 0;
}

static int setup_pipe(void **state)
{
    *state = open_fixture(true);
    return 0;
}

static void drain_pipe(struct fixture *f)
{
    ssize_t n;

    do {
        assert_int_equal(0, buf_reserve(&f->got, 65536));
        n = read(f->reader, f->got.data + f->got.len, 65536);
        if (n > 0)
            f->got.len += (size_t)n;
    } while (n > 0);
}

static void expect_got(struct fixture *f)
{
    if (f->reader < 0)
        assert_true(test_read_file(test_path(&f->s, "out"), &f->got));
    else
        drain_pipe(f);
    assert_int_equal(f->expected.len, f->got.len);
    assert_memory_equal(f->expected.data, f->got.data, f->expected.len);
}

static void close_sink(struct fixture *f)
{
    sink_close(f->s.sink);
    assert_int_equal(0, f->s.closed);
    fake_ring_run(f->s.ring);
    assert_int_equal(1, f->s.closed);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct ring *ring = f->s.ring;

    sink_fixture_close(&f->s);
    fake_ring_destroy(ring);
    /* The descriptor was only borrowed. */
    assert_int_equal(0, close(f->fd));
    if (f->reader >= 0)
        (void)close(f->reader);
    (void)source_unref(f->source);
    buf_finish(&f->expected);
    buf_finish(&f->got);
    free(f);
    return 0;
}

static void test_lines_come_out_in_order_and_batches_settle(void **state)
{
    struct fixture *f = *state;

    for (uint64_t n = 0; n < 100; n++) {
        struct batch *b = test_batch(&f->s);

        for (uint64_t i = 0; i < n; i++)
            test_line(b, f->source, n * 100 + i, 20 + i, &f->expected);
        test_submit(&f->s, b);
        if (n % 7 == 0)
            fake_ring_run(f->s.ring);
    }
    fake_ring_run(f->s.ring);
    assert_int_equal(f->s.batches, f->s.settled);
    assert_int_equal(f->s.records, f->s.sink->records_settled);
    assert_int_equal(f->expected.len, f->s.sink->bytes_written);
    assert_int_equal(0, f->s.sink->queued_bytes);
    assert_true(f->s.progress > 0);
    close_sink(f);
    expect_got(f);
}

static void test_an_unwritten_batch_is_not_settled(void **state)
{
    struct fixture *f = *state;

    test_submit_line(&f->s, f->source, 1, 50, &f->expected);
    test_submit_line(&f->s, f->source, 2, 50, &f->expected);
    assert_int_equal(0, f->s.settled);
    assert_int_equal(f->expected.len, f->s.sink->queued_bytes);
    /* One write is in flight, however much is queued. */
    assert_int_equal(1, fake_ring_in_flight(f->s.ring));
    fake_ring_limit_writes(f->s.ring, f->expected.len / 2 - 1);
    assert_true(fake_ring_step(f->s.ring));
    assert_int_equal(0, f->s.settled);
    assert_true(fake_ring_step(f->s.ring));
    assert_int_equal(1, f->s.settled);
    fake_ring_run(f->s.ring);
    assert_int_equal(2, f->s.settled);
    close_sink(f);
    expect_got(f);
}

static void test_short_writes_of_every_size_change_nothing(void **state)
{
    struct fixture *f = *state;

    for (size_t limit = 1; limit < 700; limit += 1 + limit / 8) {
        struct batch *b = test_batch(&f->s);

        fake_ring_limit_writes(f->s.ring, limit);
        for (uint64_t i = 0; i < 10; i++)
            test_line(b, f->source, limit * 10 + i, 10 * i, &f->expected);
        test_submit(&f->s, b);
        fake_ring_run(f->s.ring);
        assert_int_equal(f->s.batches, f->s.settled);
    }
    close_sink(f);
    expect_got(f);
}

static void test_a_line_longer_than_any_buffer_comes_out_whole(void **state)
{
    struct fixture *f = *state;
    static const size_t lens[] = {1, 16384, 65000, 300000, 1 << 20, 5, 100000};

    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++)
        test_submit_line(&f->s, f->source, i, lens[i] + 20, &f->expected);
    fake_ring_run(f->s.ring);
    close_sink(f);
    expect_got(f);
}

static void test_a_full_pipe_is_waited_for_and_is_no_error(void **state)
{
    struct fixture *f = *state;
    size_t most = 0;

    for (uint64_t n = 0; n < 4000; n++)
        test_submit_line(&f->s, f->source, n, 100, &f->expected);
    assert_true(f->expected.len > 1000000);
    for (int i = 0; i < 1000 && f->s.sink->queued_bytes > 0; i++) {
        fake_ring_run(f->s.ring);
        most = f->s.sink->queued_bytes > most ? f->s.sink->queued_bytes : most;
        drain_pipe(f);
        fake_ring_advance(f->s.ring, 100);
    }
    assert_true(most > 0);
    assert_int_equal(0, f->s.sink->queued_bytes);
    assert_int_equal(0, f->s.sink->errors);
    close_sink(f);
    expect_got(f);
}

static void test_an_interrupted_write_is_done_again_at_once(void **state)
{
    struct fixture *f = *state;

    fake_ring_fail(f->s.ring, OP_WRITE, -EINTR, 0, 3);
    test_submit_line(&f->s, f->source, 1, 50, &f->expected);
    fake_ring_run(f->s.ring);
    assert_int_equal(1, f->s.settled);
    assert_int_equal(0, f->s.sink->errors);
    close_sink(f);
    expect_got(f);
}

static void test_a_full_disk_is_tried_again_each_second_and_loses_nothing(void **state)
{
    struct fixture *f = *state;

    fake_ring_fail(f->s.ring, OP_WRITE, -ENOSPC, 1, 3);
    for (uint64_t n = 0; n < 10; n++)
        test_submit_line(&f->s, f->source, n, 50, &f->expected);
    fake_ring_limit_writes(f->s.ring, 100);
    fake_ring_run(f->s.ring);
    assert_int_equal(-ENOSPC, f->s.sink->last_error);
    assert_int_equal(SINK_RETRYING, f->s.sink->state);
    assert_string_equal("No space left on device", f->s.sink->reason);
    assert_int_equal(1, f->s.sink->errors);
    assert_int_equal(0, f->s.sink->records_lost);
    fake_ring_advance(f->s.ring, 900);
    assert_int_equal(1, f->s.sink->errors);
    fake_ring_advance(f->s.ring, 2200);
    assert_int_equal(3, f->s.sink->errors);
    assert_int_equal(0, f->s.sink->last_error);
    assert_int_equal(SINK_OK, f->s.sink->state);
    assert_string_equal("", f->s.sink->reason);
    assert_int_equal(10, f->s.settled);
    close_sink(f);
    expect_got(f);
}

static void test_a_reader_that_is_gone_is_reported_and_the_queue_is_kept(void **state)
{
    struct fixture *f = *state;

    fake_ring_fail(f->s.ring, OP_WRITE, -EPIPE, 1, 1000);
    test_submit_line(&f->s, f->source, 1, 50, &f->expected);
    fake_ring_run(f->s.ring);
    for (uint64_t n = 0; n < 10; n++)
        test_submit_line(&f->s, f->source, n, 50, NULL);
    fake_ring_advance(f->s.ring, 100000);
    assert_int_equal(-EPIPE, f->s.sink->last_error);
    assert_int_equal(SINK_SUSPENDED, f->s.sink->state);
    assert_string_equal("Broken pipe", f->s.sink->reason);
    assert_int_equal(-EPIPE, f->s.last_error_seen);
    assert_int_equal(1, f->s.sink->errors);
    assert_int_equal(1, f->s.settled);
    assert_true(f->s.sink->queued_bytes > 500);
    sink_close(f->s.sink);
    fake_ring_advance(f->s.ring, 100000);
    assert_int_equal(0, f->s.closed);
    sink_abort(f->s.sink);
    assert_int_equal(0, f->s.closed);
    fake_ring_run(f->s.ring);
    assert_int_equal(1, f->s.closed);
    assert_int_equal(10, f->s.sink->records_lost);
    assert_int_equal(11, f->s.settled);
    expect_got(f);
}

static void test_close_writes_out_what_is_queued(void **state)
{
    struct fixture *f = *state;

    for (uint64_t n = 0; n < 1000; n++)
        test_submit_line(&f->s, f->source, n, 300, &f->expected);
    close_sink(f);
    assert_int_equal(1000, f->s.settled);
    assert_int_equal(0, f->s.sink->records_lost);
    expect_got(f);
}

static void test_abort_ends_a_write_that_nobody_reads(void **state)
{
    struct fixture *f = *state;

    for (uint64_t n = 0; n < 10; n++)
        test_submit_line(&f->s, f->source, n, 300, NULL);
    sink_close(f->s.sink);
    sink_abort(f->s.sink);
    assert_int_equal(0, f->s.closed);
    fake_ring_run(f->s.ring);
    assert_int_equal(1, f->s.closed);
    assert_int_equal(10, f->s.sink->records_lost);
    assert_int_equal(10, f->s.settled);
    expect_got(f);
}

static void test_abort_does_not_wait_for_a_timer(void **state)
{
    struct fixture *f = *state;

    fake_ring_fail(f->s.ring, OP_WRITE, -EIO, 0, 1000);
    test_submit_line(&f->s, f->source, 1, 300, NULL);
    fake_ring_run(f->s.ring);
    sink_abort(f->s.sink);
    fake_ring_run(f->s.ring);
    assert_int_equal(1, f->s.closed);
    assert_int_equal(1, f->s.sink->records_lost);
}

static void submit_another(struct sink_fixture *s)
{
    struct fixture *f = (struct fixture *)s;

    if (s->batches < 100)
        test_submit_line(s, f->source, s->batches, 40, &f->expected);
}

static void test_submitting_from_either_callback_is_fine(void **state)
{
    struct fixture *f = *state;

    f->s.on_settled = submit_another;
    test_submit_line(&f->s, f->source, 0, 40, &f->expected);
    fake_ring_run(f->s.ring);
    assert_int_equal(100, f->s.settled);
    f->s.on_settled = NULL;
    f->s.on_progress = submit_another;
    f->s.batches = f->s.settled = 50;
    test_submit_line(&f->s, f->source, 0, 40, &f->expected);
    fake_ring_run(f->s.ring);
    assert_int_equal(100, f->s.settled);
    f->s.on_progress = NULL;
    close_sink(f);
    expect_got(f);
}

static void test_an_empty_batch_settles_and_an_unused_sink_closes(void **state)
{
    struct fixture *f = *state;

    test_submit(&f->s, test_batch(&f->s));
    assert_int_equal(1, f->s.settled);
    close_sink(f);
    sink_close(f->s.sink);
    sink_abort(f->s.sink);
    fake_ring_run(f->s.ring);
    assert_int_equal(1, f->s.closed);
}

#define TO_FILE(test) cmocka_unit_test_setup_teardown(test, setup_file, teardown)
#define TO_PIPE(test) cmocka_unit_test_setup_teardown(test, setup_pipe, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TO_FILE(test_lines_come_out_in_order_and_batches_settle),
        TO_FILE(test_an_unwritten_batch_is_not_settled),
        TO_FILE(test_short_writes_of_every_size_change_nothing),
        TO_FILE(test_a_line_longer_than_any_buffer_comes_out_whole),
        TO_PIPE(test_a_full_pipe_is_waited_for_and_is_no_error),
        TO_FILE(test_an_interrupted_write_is_done_again_at_once),
        TO_FILE(test_a_full_disk_is_tried_again_each_second_and_loses_nothing),
        TO_PIPE(test_a_reader_that_is_gone_is_reported_and_the_queue_is_kept),
        TO_FILE(test_close_writes_out_what_is_queued),
        TO_PIPE(test_abort_ends_a_write_that_nobody_reads),
        TO_PIPE(test_abort_does_not_wait_for_a_timer),
        TO_FILE(test_submitting_from_either_callback_is_fine),
        TO_FILE(test_an_empty_batch_settles_and_an_unused_sink_closes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
