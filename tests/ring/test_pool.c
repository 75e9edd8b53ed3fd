/*
 * io/ring.h with more streams than receive buffers, with thousands of sockets, and with one stream
 * that never stops: everybody is served in turn, and not a byte is lost.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ring_fixture.h"
#include "ringtail/base/macros.h"

struct crowd;

/* One stream that is read to its end, its bytes compared with its pattern. */
struct reader {
    struct op op;
    struct crowd *crowd;
    struct link link;
    uint32_t id;
    unsigned reads, cancelled;
    uint64_t received;
    bool ended;
};

struct crowd {
    struct ring_fixture *f;
    struct reader *readers;
    unsigned count, ended_count;
    unsigned
        reads_spread_max; /* how far the most served reader was ever ahead of the least served */
    bool stop_reading;
};

static void watch_fairness(struct crowd *crowd)
{
    unsigned least = UINT32_MAX, most = 0;

    for (unsigned i = 0; i < crowd->count; i++) {
        least = MIN(least, crowd->readers[i].reads);
        most = MAX(most, crowd->readers[i].reads);
    }
    crowd->reads_spread_max = MAX(crowd->reads_spread_max, most - least);
}

static void reader_done(struct op *op, int res)
{
    struct reader *reader = container_of(op, struct reader, op);
    struct crowd *crowd = reader->crowd;

    assert_int_equal(0, ring_starting);
    if (res > 0) {
        assert_true(pattern_holds(reader->id, reader->received, op->received.data, (size_t)res));
        reader->received += (uint64_t)res;
        reader->reads++;
    } else if (res == 0) {
        reader->ended = true;
        crowd->ended_count++;
        return;
    } else {
        assert_int_equal(-ECANCELED, res);
        reader->cancelled++;
    }
    if (!crowd->stop_reading)
        START(ring_recv(crowd->f->ring, op, reader->link.sock, TEST_RUNS_FOREVER_MS));
}

static void crowd_open(struct crowd *crowd, struct ring_fixture *f, unsigned count)
{
    *crowd =
        (struct crowd){.f = f, .count = count, .readers = calloc(count, sizeof(struct reader))};
    assert_non_null(crowd->readers);
    for (unsigned i = 0; i < count; i++) {
        struct reader *reader = &crowd->readers[i];

        reader->op.done = reader_done;
        reader->crowd = crowd;
        reader->id = i;
        link_open(f, &reader->link);
    }
}

static void crowd_close(struct crowd *crowd)
{
    for (unsigned i = 0; i < crowd->count; i++)
        link_close(crowd->f, &crowd->readers[i].link);
    free(crowd->readers);
}

static void crowd_start(struct crowd *crowd)
{
    for (unsigned i = 0; i < crowd->count; i++)
        START(ring_recv(crowd->f->ring, &crowd->readers[i].op, crowd->readers[i].link.sock,
                        TEST_RUNS_FOREVER_MS));
}

/* What the peers send without waiting for a reader, then hang up if wanted. */
static void crowd_fill(struct crowd *crowd, size_t bytes, bool hang_up)
{
    static char data[32768];
    int room = 1 << 20;

    assert_true(bytes <= sizeof data);
    for (unsigned i = 0; i < crowd->count; i++) {
        struct reader *reader = &crowd->readers[i];

        assert_int_equal(0,
                         setsockopt(reader->link.peer, SOL_SOCKET, SO_SNDBUF, &room, sizeof room));
        pattern_fill(reader->id, 0, data, bytes);
        write_all(reader->link.peer, data, bytes);
        if (hang_up) {
            (void)close(reader->link.peer);
            reader->link.peer = -1;
        }
    }
}

static bool crowd_has_ended(void *ctx)
{
    struct crowd *crowd = ctx;

    return crowd->ended_count == crowd->count;
}

/* ---- more ready streams than buffers ---- */

#define SMALL_POOL 4
#define SMALL_BUFFER 512

static int small_pool_setup(void **state)
{
    const struct ring_options options = {.entries = 256,
                                         .sockets_max = 256,
                                         .buffers_count = SMALL_POOL,
                                         .buffer_bytes = SMALL_BUFFER};
    struct ring_fixture *f = malloc(sizeof *f);

    assert_non_null(f);
    fixture_open(f, &options);
    *state = f;
    return 0;
}

static bool crowd_has_ended_fairly(void *ctx)
{
    struct crowd *crowd = ctx;

    /* Once the first has been read to its end, the others are as good as there. */
    if (crowd->ended_count == 0)
        watch_fairness(crowd);
    return crowd_has_ended(crowd);
}

static void test_more_ready_streams_than_buffers_are_served_in_turn(void **state)
{
    struct ring_fixture *f = *state;
    const struct ring_stats *stats = ring_stats_get(f->ring);
    struct crowd crowd;

    crowd_open(&crowd, f, 64);
    crowd_fill(&crowd, 16384, true);
    crowd_start(&crowd);
    run_until(f, crowd_has_ended_fairly, &crowd);
    for (unsigned i = 0; i < crowd.count; i++) {
        assert_int_equal(16384, crowd.readers[i].received);
        assert_int_equal(16384 / SMALL_BUFFER, crowd.readers[i].reads);
    }
    assert_true(stats->buffer_waits > 0);
    /* Nobody is more than two turns ahead: one of the first submission, one for those in line. */
    assert_in_range(crowd.reads_spread_max, 1, 2);
    crowd_close(&crowd);
}

/* So many that the ends of their refused receives' timeouts take several collections a pass. */
static void test_a_stream_in_line_for_a_buffer_is_not_refused_over_and_over(void **state)
{
    const struct ring_options options = {
        .entries = 1024, .sockets_max = 408, .buffers_count = 16, .buffer_bytes = SMALL_BUFFER};
    struct ring_fixture f;
    struct crowd crowd;

    fixture_open(&f, &options);
    crowd_open(&crowd, &f, 400);
    crowd_fill(&crowd, 8 * SMALL_BUFFER, true);
    crowd_start(&crowd);
    run_until(&f, crowd_has_ended, &crowd);
    assert_in_range(ring_stats_get(f.ring)->buffer_waits, 1, crowd.count);
    crowd_close(&crowd);
    fixture_close(&f);
}

static void test_quiet_streams_pass_loud_ones_that_hold_every_buffer(void **state)
{
    struct ring_fixture *f = *state;
    struct crowd loud, quiet;

    /* As many loud streams as there are buffers, each started before any of the quiet ones. */
    crowd_open(&loud, f, SMALL_POOL);
    crowd_open(&quiet, f, 8);
    crowd_fill(&loud, 32768, true);
    crowd_fill(&quiet, 100, true);
    crowd_start(&loud);
    crowd_start(&quiet);
    run_until(f, crowd_has_ended, &quiet);
    for (unsigned i = 0; i < loud.count; i++)
        assert_in_range(loud.readers[i].received, SMALL_BUFFER, 32768 / 4);
    run_until(f, crowd_has_ended, &loud);
    for (unsigned i = 0; i < loud.count; i++)
        assert_int_equal(32768, loud.readers[i].received);
    for (unsigned i = 0; i < quiet.count; i++)
        assert_int_equal(100, quiet.readers[i].received);
    crowd_close(&loud);
    crowd_close(&quiet);
}

/* Cancels everybody, the ones in line for a buffer among them, as soon as the first has its bytes.
 */
static bool crowd_is_cancelled(void *ctx)
{
    struct crowd *crowd = ctx;
    bool idle = true;

    crowd->stop_reading = true;
    for (unsigned i = 0; i < crowd->count; i++) {
        if (ring_stats_get(crowd->f->ring)->buffer_waits > 0)
            START(ring_cancel(crowd->f->ring, &crowd->readers[i].op));
        idle = idle && !op_in_flight(&crowd->readers[i].op);
    }
    return idle;
}

static void test_receives_cancelled_in_line_for_a_buffer_lose_nothing(void **state)
{
    struct ring_fixture *f = *state;
    const struct ring_stats *stats = ring_stats_get(f->ring);
    unsigned cancelled = 0;
    struct crowd crowd;

    crowd_open(&crowd, f, 200);
    crowd_fill(&crowd, 4096, true);
    for (int round = 0; round < 20; round++) {
        crowd_start(&crowd);
        run_until(f, crowd_is_cancelled, &crowd);
        for (unsigned i = 0; i < crowd.count && round < 19; i++)
            if (crowd.readers[i].ended) {
                /* Its end was seen: reading it again would count it twice. */
                crowd.readers[i].ended = false;
                crowd.ended_count--;
            }
    }
    for (unsigned i = 0; i < crowd.count; i++)
        cancelled += crowd.readers[i].cancelled;
    assert_true(cancelled > 200);
    assert_int_equal(cancelled, stats->cancels);

    crowd.stop_reading = false;
    for (unsigned i = 0; i < crowd.count; i++)
        if (!crowd.readers[i].ended)
            START(ring_recv(f->ring, &crowd.readers[i].op, crowd.readers[i].link.sock, 0));
    run_until(f, crowd_has_ended, &crowd);
    for (unsigned i = 0; i < crowd.count; i++)
        assert_int_equal(4096, crowd.readers[i].received);
    crowd_close(&crowd);
}

/* ---- thousands of sockets ---- */

#define MANY 2000

static void test_two_thousand_sockets_are_read_to_their_ends(void **state)
{
    const struct ring_options options = {
        .entries = 1024, .sockets_max = MANY + 8, .buffers_count = 64, .buffer_bytes = 4096};
    struct rlimit limit, raised;
    struct ring_fixture f;
    struct crowd crowd;

    assert_int_equal(0, getrlimit(RLIMIT_NOFILE, &limit));
    raised = (struct rlimit){.rlim_cur = MAX(limit.rlim_cur, MIN(limit.rlim_max, 2 * MANY)),
                             .rlim_max = limit.rlim_max};
    assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &raised));
    if (raised.rlim_cur < MANY + 64) {
        print_message("RLIMIT_NOFILE is too low for %d sockets\n", MANY);
        skip();
    }
    fixture_open(&f, &options);
    crowd_open(&crowd, &f, MANY);
    assert_int_equal(MANY, ring_stats_get(f.ring)->sockets_open);
    crowd_start(&crowd); /* twice the queue's entries, with their timeouts four times */
    crowd_fill(&crowd, 6000, true);
    run_until(&f, crowd_has_ended, &crowd);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(6000, crowd.readers[i].received);
    crowd_close(&crowd);

    /* And once more, all of them cancelled while they wait. */
    crowd_open(&crowd, &f, MANY);
    crowd_start(&crowd);
    crowd.stop_reading = true;
    for (unsigned i = 0; i < MANY; i++)
        START(ring_cancel(f.ring, &crowd.readers[i].op));
    run_until(&f, crowd_is_cancelled, &crowd);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(1, crowd.readers[i].cancelled);
    crowd_close(&crowd);
    fixture_close(&f);
    assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &limit));
}

/* ---- a flood beside quiet streams ---- */

#define QUIET_STREAMS 50
#define QUIET_LINE 100
#define QUIET_ROUNDS 100
/* A waiting stream is served in the pass that sees its bytes, and a pass collects at most 64 times.
 */
#define FLOOD_READS_PER_LINE_MAX 200

struct flood {
    struct crowd loud, quiet;
    _Atomic bool over;
    unsigned next; /* quiet stream to be sent a line */
    unsigned lines_sent;
    unsigned reads_at_send; /* of the flood */
    unsigned reads_per_line_max;
    uint64_t sent; /* by the flood's thread, read after it has ended */
};

static void *flood_run(void *ctx)
{
    static char data[65536];
    struct flood *flood = ctx;

    while (!atomic_load(&flood->over)) {
        pattern_fill(0, flood->sent, data, sizeof data);
        write_all(flood->loud.readers[0].link.peer, data, sizeof data);
        flood->sent += sizeof data;
    }
    (void)shutdown(flood->loud.readers[0].link.peer, SHUT_WR);
    return NULL;
}

/* One quiet line at a time; while it is under way the flood's reads are counted. */
static bool quiet_lines_are_through(void *ctx)
{
    struct flood *flood = ctx;
    struct reader *reader = &flood->quiet.readers[flood->next];
    unsigned flood_reads = flood->loud.readers[0].reads;
    char line[QUIET_LINE];

    if (flood_reads == 0)
        return false;
    if (flood->lines_sent > 0) {
        if (reader->received < (flood->lines_sent - 1) / QUIET_STREAMS * QUIET_LINE + QUIET_LINE)
            return false;
        flood->reads_per_line_max =
            MAX(flood->reads_per_line_max, flood_reads - flood->reads_at_send);
    }
    if (flood->lines_sent == QUIET_STREAMS * QUIET_ROUNDS)
        return true;
    flood->next = flood->lines_sent % QUIET_STREAMS;
    reader = &flood->quiet.readers[flood->next];
    pattern_fill(reader->id, flood->lines_sent / QUIET_STREAMS * QUIET_LINE, line, sizeof line);
    write_all(reader->link.peer, line, sizeof line);
    flood->lines_sent++;
    flood->reads_at_send = flood_reads;
    return false;
}

static void run_flood(int64_t batch_pause_us)
{
    const struct ring_options options = {.entries = 256,
                                         .sockets_max = 256,
                                         .buffers_count = 16,
                                         .buffer_bytes = 32768,
                                         .batch_pause_us = batch_pause_us};
    struct flood flood = {0};
    struct ring_fixture f;
    pthread_t thread;

    fixture_open(&f, &options);
    crowd_open(&flood.loud, &f, 1);
    crowd_open(&flood.quiet, &f, QUIET_STREAMS);
    crowd_start(&flood.loud);
    crowd_start(&flood.quiet);
    assert_int_equal(0, pthread_create(&thread, NULL, flood_run, &flood));
    run_until(&f, quiet_lines_are_through, &flood);
    atomic_store(&flood.over, true);
    run_until(&f, crowd_has_ended, &flood.loud);
    assert_int_equal(0, pthread_join(thread, NULL));

    assert_int_equal(flood.sent, flood.loud.readers[0].received);
    assert_in_range(flood.reads_per_line_max, 0, FLOOD_READS_PER_LINE_MAX);
    for (unsigned i = 0; i < QUIET_STREAMS; i++)
        assert_int_equal(QUIET_ROUNDS * QUIET_LINE, flood.quiet.readers[i].received);
    flood.quiet.stop_reading = true;
    for (unsigned i = 0; i < QUIET_STREAMS; i++)
        START(ring_cancel(f.ring, &flood.quiet.readers[i].op));
    run_until(&f, crowd_is_cancelled, &flood.quiet);
    crowd_close(&flood.loud);
    crowd_close(&flood.quiet);
    fixture_close(&f);
}

static void test_quiet_lines_pass_beside_a_flood(void **state)
{
    run_flood(0);
}

static void test_quiet_lines_pass_beside_a_flood_with_pauses(void **state)
{
    run_flood(1000);
}

static void test_pauses_delay_bytes_and_lose_none(void **state)
{
    const struct ring_options options = {.entries = 64,
                                         .sockets_max = 64,
                                         .buffers_count = 16,
                                         .buffer_bytes = 4096,
                                         .batch_pause_us = 500};
    char line[QUIET_LINE];
    struct crowd crowd;
    struct ring_fixture f;

    fixture_open(&f, &options);
    crowd_open(&crowd, &f, 1);
    crowd_start(&crowd);
    for (unsigned i = 0; i < 50; i++) {
        pattern_fill(0, (uint64_t)i * sizeof line, line, sizeof line);
        write_all(crowd.readers[0].link.peer, line, sizeof line);
        if (i == 49) {
            (void)close(crowd.readers[0].link.peer);
            crowd.readers[0].link.peer = -1;
            run_until(&f, crowd_has_ended, &crowd);
        } else {
            struct waited timer;

            waited_init(&timer);
            START(ring_timer(f.ring, &timer.op, 0));
            assert_int_equal(-ETIME, run_op(&f, &timer));
        }
    }
    assert_int_equal(50 * sizeof line, crowd.readers[0].received);
    if (test_backend() == RING_BACKEND_EPOLL || strstr(ring_backend_reason(f.ring), "deferred"))
        assert_true(ring_stats_get(f.ring)->pauses > 0);
    crowd_close(&crowd);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_more_ready_streams_than_buffers_are_served_in_turn,
                                        small_pool_setup, fixture_teardown),
        cmocka_unit_test(test_a_stream_in_line_for_a_buffer_is_not_refused_over_and_over),
        cmocka_unit_test_setup_teardown(test_quiet_streams_pass_loud_ones_that_hold_every_buffer,
                                        small_pool_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_receives_cancelled_in_line_for_a_buffer_lose_nothing,
                                        small_pool_setup, fixture_teardown),
        cmocka_unit_test(test_two_thousand_sockets_are_read_to_their_ends),
        cmocka_unit_test(test_quiet_lines_pass_beside_a_flood),
        cmocka_unit_test(test_quiet_lines_pass_beside_a_flood_with_pauses),
        cmocka_unit_test(test_pauses_delay_bytes_and_lose_none),
    };
    int skip_code = ring_skip_code();

    return skip_code ? skip_code : cmocka_run_group_tests(tests, NULL, NULL);
}
