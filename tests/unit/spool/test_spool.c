/* The spool on the fake ring: what comes back, what goes, and what fails on the way. */
#include "ringtail/spool/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ringtail/base/crc32c.h"
#include "ringtail/base/macros.h"

#include "support/fake_ring.h"
#include "spool_fixture.h"

static void run_fake(struct spool_fixture *f, bool (*is_reached)(const struct spool_fixture *f))
{
    fake_ring_run(f->ring);
    for (unsigned i = 0; !is_reached(f); i++) {
        assert_true(i < 10000);
        fake_ring_advance(f->ring, 10);
    }
}

static int setup(void **state)
{
    struct spool_fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    spool_fixture_open(f, fake_ring_create());
    f->run = run_fake;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct spool_fixture *f = *state;

    spool_fixture_close(f);
    fake_ring_destroy(f->ring);
    batch_free_kept();
    free(f);
    return 0;
}

static struct spool_cursor *cursor(struct spool_fixture *f, const char *name)
{
    struct spool_cursor *c = test_cursor(f->spool, name);

    assert_non_null(c);
    return c;
}

static void append_all(struct spool_fixture *f, size_t batches, size_t count, size_t len)
{
    for (size_t i = 0; i < batches; i++)
        assert_int_equal(0, test_append(f, count, len));
    f->run(f, is_all_done);
}

/* ---- what comes back ---- */

static void test_everything_comes_back_as_it_was(void **state)
{
    static const size_t sizes[] = {
        0, 1, 2, 47, 48, 49, 1000, 4096, 65535, 65536, 1 << 20, (1 << 20) - 48, (3 << 20) + 1,
        0, 7};
    struct spool_fixture *f = *state;
    struct spool_cursor *c;
    char *line = malloc((size_t)4 << 20);

    assert_non_null(line);
    test_start(f);
    c = cursor(f, "a");
    for (size_t i = 0; i < (size_t)4 << 20; i++)
        line[i] = (char)random_next(&f->random);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        assert_int_equal(0, test_append_line(f, slice_of(line + i, sizes[i])));
        assert_int_equal(0, test_append(f, 20, 100));
    }
    free(line);
    assert_int_equal(0, f->done);
    f->run(f, is_all_done);
    test_stop(f);

    test_start(f);
    c = cursor(f, "a");
    assert_int_equal(f->count, spool_end(f->spool).record - spool_cursor_place(c).record);
    assert_int_equal(f->count, test_drain(f, c, 0, 100000));
    assert_int_equal(0, f->damaged);
    assert_int_equal(0, spool_stats_get(f->spool)->bytes_damaged);
    assert_int_equal(0, spool_stats_get(f->spool)->bytes_torn);
}

static void test_short_writes_change_nothing(void **state)
{
    struct spool_fixture *f = *state;

    fake_ring_limit_writes(f->ring, 4096); /* more than the file of cursors */
    test_start(f);
    (void)cursor(f, "a");
    append_all(f, 10, 50, 333);
    assert_int_equal(500, test_drain(f, cursor(f, "a"), 0, 1000));
    assert_int_equal(0, f->damaged);
}

static void test_a_read_from_every_record_finds_its_source(void **state)
{
    struct spool_fixture *f = *state;
    struct spool_place places[61], place = {0};

    test_start(f);
    (void)cursor(f, "a");
    append_all(f, 3, 20, 50);
    for (size_t i = 0; i < 60; i++) {
        assert_int_equal(0, test_read(f, place, 1));
        assert_int_equal(1, f->read.batch->count);
        (void)batch_unref(f->read.batch);
        places[i] = place;
        place = f->read.end;
    }
    assert_int_equal(-ENODATA, test_read(f, place, 1));
    for (size_t i = 60; i-- > 0;) {
        test_stop(f);
        test_start(f);
        assert_int_equal(0, test_read(f, places[i], 100000));
        assert_int_equal(60 - i, f->read.batch->count);
        for (size_t k = i; k < 60; k++)
            assert_true(test_is_record(f, k, &f->read.batch->records[k - i]));
        (void)batch_unref(f->read.batch);
    }
}

static void test_equal_sources_are_one_object_in_a_batch(void **state)
{
    struct spool_fixture *f = *state;
    struct source *same;

    test_start(f);
    (void)cursor(f, "a");
    append_all(f, 1, 30, 20);
    for (size_t i = 0; i < TEST_SOURCES; i++) {
        same = source_create(f->sources[i]->id, f->sources[i]->name, f->sources[i]->image);
        assert_non_null(same);
        (void)source_unref(f->sources[i]);
        f->sources[i] = same;
    }
    append_all(f, 1, 30, 20);
    assert_int_equal(0, test_read(f, (struct spool_place){0}, 100000));
    assert_int_equal(60, f->read.batch->count);
    assert_int_equal(TEST_SOURCES, f->read.batch->sources_count);
    (void)batch_unref(f->read.batch);
}

static void test_a_batch_that_was_read_outlives_the_spool(void **state)
{
    struct spool_fixture *f = *state;
    struct batch *b;

    test_start(f);
    append_all(f, 1, 10, 20);
    assert_int_equal(0, test_read(f, (struct spool_place){0}, 100000));
    b = f->read.batch;
    test_stop(f);
    for (size_t i = 0; i < 10; i++)
        assert_true(test_is_record(f, i, &b->records[i]));
    (void)batch_unref(b);
}

static void test_a_read_of_what_is_being_written_waits_for_it(void **state)
{
    struct spool_fixture *f = *state;

    test_start(f);
    assert_int_equal(0, test_append(f, 5, 20));
    assert_int_equal(0, test_read(f, (struct spool_place){0}, 100000));
    assert_int_equal(1, f->done);
    assert_int_equal(5, f->read.batch->count);
    (void)batch_unref(f->read.batch);
}

static void on_canceled_read(struct spool_read *r, int res)
{
    assert_int_equal(-ECANCELED, res);
    assert_null(r->batch);
    r->done = NULL;
}

static void test_the_end_cancels_reads_that_wait(void **state)
{
    struct spool_fixture *f = *state;
    struct spool_read read = {.done = on_canceled_read};

    test_start(f);
    fake_ring_fail(f->ring, OP_OPEN, -ENOSPC, 0, 1000000);
    fake_ring_fail_only(f->ring, ".spool");
    assert_int_equal(0, test_append(f, 5, 20));
    spool_read_from(f->spool, &read, test_cursor(f->spool, "a"), (struct spool_place){0}, 1000);
    fake_ring_advance(f->ring, 100);
    assert_non_null(read.done);
    spool_abort(f->spool);
    f->run(f, is_idle);
    assert_null(read.done);
    assert_int_equal(1, f->given_up);
    assert_int_equal(0, f->done);
}

static void test_the_end_of_patience_gives_up_what_waits_for_a_cursor(void **state)
{
    struct spool_fixture *f = *state;

    test_start(f);
    fake_ring_fail(f->ring, OP_WRITE, -EIO, 0, UINT_MAX);
    fake_ring_fail_only(f->ring, "cursors");
    (void)cursor(f, "a");
    assert_int_equal(0, test_append(f, 5, 20));
    fake_ring_advance(f->ring, 5000);
    spool_finish(f->spool);
    fake_ring_advance(f->ring, 5000);
    assert_false(spool_is_idle(f->spool));
    spool_abort(f->spool);
    fake_ring_run(f->ring);
    assert_true(spool_is_idle(f->spool));
    assert_int_equal(0, f->done);
    assert_int_equal(1, f->given_up);
}

static void test_every_moment_can_be_the_last_one(void **state)
{
    struct spool_fixture *f = *state;

    f->options.segment_bytes = 20000;
    f->options.sync = SPOOL_SYNC_ALWAYS;
    for (unsigned steps = 0; steps < 60; steps++) {
        size_t from = f->done * 10, came;

        test_start(f);
        (void)cursor(f, "a");
        for (size_t i = 0; i < 10; i++)
            assert_int_equal(0, test_append(f, 10, 500));
        for (unsigned i = 0; i < steps; i++)
            (void)fake_ring_step(f->ring);
        spool_abort(f->spool);
        fake_ring_run(f->ring);
        assert_true(spool_is_idle(f->spool));
        assert_true(is_all_done(f));
        assert_null(spool_close(f->spool));
        f->spool = NULL;
        test_start(f);
        came = test_drain(f, cursor(f, "a"), 0, 10000);
        assert_true(came >= f->done * 10 - from);
        assert_int_equal(0, f->damaged);
        test_stop(f);
    }
    assert_true(f->done > 0 && f->given_up > 0);
}

/** A life that ends after so many operations, as by a kill. Returns how many appends were done. */
static size_t live_and_die(struct spool_fixture *f, unsigned steps, size_t appends)
{
    size_t before = f->done, done = 0;
    int ends[2], status;
    pid_t pid;

    assert_int_equal(0, pipe2(ends, O_CLOEXEC));
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        test_start(f);
        (void)cursor(f, "a");
        for (size_t i = 0; i < appends; i++)
            (void)test_append(f, 10, 500);
        while (steps-- > 0 && fake_ring_step(f->ring)) {
        }
        done = f->done - before;
        _exit(write(ends[1], &done, sizeof done) == sizeof done ? 0 : 1);
    }
    (void)close(ends[1]);
    assert_int_equal(sizeof done, read(ends[0], &done, sizeof done));
    (void)close(ends[0]);
    assert_int_equal(pid, waitpid(pid, &status, 0));
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return done;
}

static void test_a_death_between_any_two_operations_loses_nothing_done(void **state)
{
    struct spool_fixture *f = *state;
    enum { APPENDS = 12, STEPS = 50 };
    size_t most = 0;

    f->options.segment_bytes = 20000;
    f->options.sync = SPOOL_SYNC_ALWAYS;
    fake_ring_limit_writes(f->ring, 15000);
    for (unsigned steps = 0; steps < STEPS; steps++) {
        size_t done = live_and_die(f, steps, APPENDS), came = 0;
        struct spool_place place;
        struct spool_cursor *c;

        test_start(f);
        c = cursor(f, "a");
        place = spool_cursor_place(c);
        while (test_read(f, place, 100000) == 0) {
            assert_int_equal(0, f->read.skipped);
            for (size_t i = 0; f->read.batch && i < f->read.batch->count; i++) {
                char line[16];

                (void)snprintf(line, sizeof line, "%zu ", came++);
                assert_memory_equal(line, f->read.batch->records[i].data, strlen(line));
            }
            (void)batch_unref(f->read.batch);
            place = f->read.end;
            spool_cursor_set(c, place);
        }
        assert_int_equal(-ENODATA, f->read_res);
        assert_true(came >= 10 * done);
        most = MAX(most, done);
        test_stop(f);
    }
    assert_int_equal(APPENDS, most);
}

/* ---- cursors and segments ---- */

static void test_each_cursor_reads_at_its_own_pace_and_keeps_its_place(void **state)
{
    struct spool_fixture *f = *state;
    struct spool_cursor *a, *b;
    size_t from;

    f->options.segment_bytes = 20000;
    test_start(f);
    a = cursor(f, "a");
    b = cursor(f, "b");
    append_all(f, 50, 10, 200);
    assert_true(spool_stats_get(f->spool)->segments > 5);
    assert_int_equal(500, test_drain(f, a, 0, 5000));
    assert_true(spool_stats_get(f->spool)->segments > 5);
    assert_int_equal(0, test_read(f, (struct spool_place){0}, 30000));
    (void)batch_unref(f->read.batch);
    spool_cursor_set(b, f->read.end);
    test_stop(f);

    test_start(f);
    a = cursor(f, "a");
    b = cursor(f, "b");
    assert_int_equal(500, spool_cursor_place(a).record);
    assert_int_equal(f->read.end.record, spool_cursor_place(b).record);
    assert_int_equal(f->read.end.at, spool_cursor_place(b).at);
    assert_int_equal(-ENODATA, test_read(f, spool_cursor_place(a), 1000));
    append_all(f, 1, 10, 200);
    assert_int_equal(10, test_drain(f, a, 500, 5000));
    from = (size_t)spool_cursor_place(b).record;
    assert_int_equal(510 - from, test_drain(f, b, from, 5000));
    assert_int_equal(0, f->damaged);
}

static void test_segments_go_when_all_cursors_are_behind_them(void **state)
{
    struct spool_fixture *f = *state;
    char names[TEST_FILES_MAX][32];
    struct spool_cursor *a, *b;

    f->options.segment_bytes = 20000;
    test_start(f);
    a = cursor(f, "a");
    b = cursor(f, "b");
    append_all(f, 50, 10, 200);
    (void)test_drain(f, a, 0, 5000);
    assert_true(test_files(f, ".spool", names) > 5);
    (void)test_drain(f, b, 0, 5000);
    fake_ring_run(f->ring);
    assert_true(test_files(f, ".spool", names) <= 1); /* the one that is appended to */
    test_stop(f);
    assert_int_equal(0, test_files(f, ".spool", names));
    test_start(f);
    assert_int_equal(500, spool_end(f->spool).record);
    assert_int_equal(500, spool_cursor_place(cursor(f, "a")).record);
    append_all(f, 1, 10, 200);
    assert_int_equal(10, test_drain(f, cursor(f, "a"), 500, 5000));
}

static void on_forgotten(void *ctx, const char *name, uint64_t records)
{
    assert_string_equal("old", name);
    *(uint64_t *)ctx += records;
}

static void test_cursors_that_nobody_wants_hold_segments_until_they_are_forgotten(void **state)
{
    struct spool_fixture *f = *state;
    struct spool_cursor *a;
    char names[TEST_FILES_MAX][32];
    uint64_t forgotten = 0;

    test_start(f);
    (void)cursor(f, "old");
    a = cursor(f, "a");
    append_all(f, 10, 10, 200);
    (void)test_drain(f, a, 0, 5000);
    test_stop(f);
    test_start(f);
    a = cursor(f, "a");
    fake_ring_advance(f->ring, 2000);
    assert_int_equal(1, test_files(f, ".spool", names));
    spool_forget_other_cursors(f->spool, on_forgotten, &forgotten);
    assert_int_equal(100, forgotten);
    assert_int_equal(100, spool_stats_get(f->spool)->records_forgotten);
    fake_ring_advance(f->ring, 2000);
    assert_int_equal(0, test_files(f, ".spool", names));
    test_stop(f);
    test_start(f);
    assert_int_equal(100, spool_cursor_place(cursor(f, "old")).record); /* new: at the end */
}

static void test_for_a_new_cursor_nothing_waits(void **state)
{
    struct spool_fixture *f = *state;

    test_start(f);
    (void)cursor(f, "a");
    append_all(f, 10, 10, 200);
    assert_true(spool_is_nothing(spool_cursor_place(spool_cursor_get(f->spool, "b"))));
    test_stop(f);
    test_start(f);
    assert_true(spool_is_nothing(spool_cursor_place(spool_cursor_get(f->spool, "b"))));
    assert_int_equal(0, spool_cursor_place(cursor(f, "a")).record);
    assert_null(spool_cursor_get(f->spool, ""));
}

/* Segments are held back only by those for whom something waits. */
static void test_a_cursor_for_which_nothing_waits_holds_nothing_back(void **state)
{
    struct spool_fixture *f = *state;
    char names[TEST_FILES_MAX][32];
    struct spool_cursor *a, *idle;

    test_start(f);
    a = cursor(f, "a");
    idle = spool_cursor_get(f->spool, "idle");
    assert_non_null(idle);
    append_all(f, 10, 10, 200);
    spool_cursor_set(a, SPOOL_NOTHING);
    fake_ring_advance(f->ring, 2000);
    test_stop(f);
    assert_int_equal(0, test_files(f, ".spool", names));
}

static bool append_for_came;
static int read_for_res;

static void on_append_for(struct spool_append *a)
{
    append_for_came = true;
}

static bool has_append_for_come(const struct spool_fixture *f)
{
    return append_for_came;
}

static void on_read_for(struct spool_read *r, int res)
{
    read_for_res = res;
}

static bool has_read_for_come(const struct spool_fixture *f)
{
    return read_for_res <= 0;
}

static struct batch *batch_for_bits(struct spool_fixture *f, int64_t first, int count)
{
    struct batch *b = batch_create(NULL, NULL);

    for (int64_t i = first; i < first + count; i++)
        assert_int_equal(
            0, batch_append(b, f->sources[0], RECORD_STDOUT, i, 0, slice_str("for somebody")));
    return b;
}

static void append_for(struct spool_fixture *f, int64_t first, int count, uint16_t cursors)
{
    struct spool_append a = {.done = NULL};
    struct batch *b = batch_for_bits(f, first, count);

    a.done = on_append_for;
    assert_int_equal(0, spool_append_batch(f->spool, &a, b, cursors));
    (void)batch_unref(b);
    append_for_came = false;
    f->run(f, has_append_for_come);
}

/* What is read for a cursor from its place on: the sum of the timestamps tells which. */
static int64_t sum_of(struct spool_fixture *f, const struct spool_cursor *c, uint64_t *ret_others)
{
    struct spool_place place = {0};
    int64_t sum = 0, last = -1;

    *ret_others = 0;
    for (;;) {
        f->read = (struct spool_read){.done = on_read_for};
        read_for_res = 1;
        spool_read_from(f->spool, &f->read, c, place, 1000);
        f->run(f, has_read_for_come);
        if (read_for_res == -ENODATA)
            return sum;
        assert_int_equal(0, read_for_res);
        *ret_others += f->read.others;
        for (size_t i = 0; f->read.batch && i < f->read.batch->count; i++) {
            assert_true(f->read.batch->records[i].ts_ns > last);
            last = f->read.batch->records[i].ts_ns;
            sum += last;
        }
        f->read.batch = batch_unref(f->read.batch);
        place = f->read.end;
    }
}

static void test_each_cursor_sees_only_its_own_records(void **state)
{
    struct spool_fixture *f = *state;
    struct spool_cursor *a, *b;
    uint16_t bit_a, bit_b;
    uint64_t others;

    test_start(f);
    a = cursor(f, "a");
    b = cursor(f, "b");
    bit_a = spool_cursor_bit(a);
    bit_b = spool_cursor_bit(b);
    assert_int_equal(0, bit_a & bit_b);
    append_for(f, 10, 3, bit_a);                     /* 10 11 12 */
    append_for(f, 8, 2, bit_b);                      /* 8 9 */
    append_for(f, 20, 2, (uint16_t)(bit_a | bit_b)); /* 20 21 */
    assert_int_equal(10 + 11 + 12 + 20 + 21, sum_of(f, a, &others));
    assert_int_equal(2, others);
    assert_int_equal(8 + 9 + 20 + 21, sum_of(f, b, &others));
    assert_int_equal(3, others);
    test_stop(f);
    test_start(f);
    a = cursor(f, "a");
    assert_int_equal(bit_a, spool_cursor_bit(a)); /* the same after a restart */
    assert_int_equal(10 + 11 + 12 + 20 + 21, sum_of(f, a, &others));
}

static void test_nothing_is_done_before_a_new_cursor_is_in_the_file(void **state)
{
    struct spool_fixture *f = *state;

    test_start(f);
    fake_ring_fail(f->ring, OP_WRITE, -EIO, 0, 1000000);
    fake_ring_fail_only(f->ring, "cursors");
    (void)cursor(f, "a");
    assert_int_equal(0, test_append(f, 5, 20));
    fake_ring_advance(f->ring, 10000);
    assert_int_equal(0, f->done);
    assert_int_equal(-EIO, spool_stats_get(f->spool)->last_error);
    fake_ring_fail(f->ring, OP_WRITE, 0, 0, 0);
    f->run(f, is_all_done);
    assert_int_equal(1, f->done);
    assert_int_equal(0, spool_stats_get(f->spool)->last_error);
}

static void test_a_lost_file_of_cursors_sends_again_and_loses_nothing(void **state)
{
    struct spool_fixture *f = *state;

    test_start(f);
    (void)cursor(f, "a");
    append_all(f, 10, 10, 200);
    test_stop(f);
    assert_int_equal(0, unlink(test_path(f, "cursors")));
    test_start(f);
    assert_int_equal(100, test_drain(f, cursor(f, "a"), 0, 5000));
}

static void test_cursors_survive_every_torn_slot(void **state)
{
    struct spool_fixture *f = *state;
    size_t kept, at_last = 0, before_it = 0;
    struct buf file = {0};
    struct spool_cursor *a;

    test_start(f);
    a = cursor(f, "a");
    append_all(f, 10, 10, 200);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(0, test_read(f, spool_cursor_place(a), 2000));
        (void)batch_unref(f->read.batch);
        before_it = (size_t)spool_cursor_place(a).record;
        spool_cursor_set(a, f->read.end);
        fake_ring_advance(f->ring, 1000); /* saves it */
    }
    kept = (size_t)f->read.end.record;
    test_stop(f);
    test_read_file(test_path(f, "cursors"), &file);
    assert_int_equal(4 * 512, file.len);
    for (size_t i = 0; i < file.len; i++) {
        size_t came;

        file.data[i] ^= 1;
        test_write_file(test_path(f, "cursors"), buf_slice(&file));
        test_start(f);
        fake_ring_fail(f->ring, OP_UNLINK, -EPERM, 0, UINT_MAX);
        a = cursor(f, "a");
        came = test_drain(f, a, 0, 5000);
        at_last += came == 100 - kept;
        assert_true(came == 100 - kept || came == 100 - before_it);
        test_stop(f);
        file.data[i] ^= 1;
    }
    assert_int_equal(3 * 512, at_last);
    buf_finish(&file);
}

static void test_a_read_of_what_is_being_dropped_passes_over_it(void **state)
{
    struct spool_fixture *f = *state;
    struct spool_cursor *a;

    f->options.segment_bytes = 20000;
    test_start(f);
    a = cursor(f, "a");
    append_all(f, 50, 10, 200);
    spool_cursor_set(a, spool_skip_segment(f->spool, (struct spool_place){0}));
    assert_int_equal(0, test_read(f, (struct spool_place){0}, 1000));
    assert_int_equal(spool_cursor_place(a).record, f->read.skipped);
    assert_true(test_is_record(f, (size_t)f->read.skipped, &f->read.batch->records[0]));
    (void)batch_unref(f->read.batch);
}

static void test_bytes_max_is_never_exceeded(void **state)
{
    struct spool_fixture *f = *state;
    char names[TEST_FILES_MAX][32];
    struct spool_cursor *a;
    size_t from = 0;

    f->options.bytes_max = 100000;
    f->options.segment_bytes = 20000;
    test_start(f);
    a = cursor(f, "a");
    for (unsigned round = 0; round < 5; round++) {
        uint64_t total = 0;
        size_t count;

        while (test_append(f, 10, 200) == 0) {
        }
        f->run(f, is_all_done);
        count = test_files(f, ".spool", names);
        for (size_t i = 0; i < count; i++) {
            struct stat st;

            assert_int_equal(0, stat(test_path(f, names[i]), &st));
            total += (uint64_t)st.st_size;
        }
        assert_int_equal(total, spool_stats_get(f->spool)->bytes);
        assert_in_range(total, 90000, 100000);
        assert_int_equal(f->count - from, test_drain(f, a, from, 5000));
        from = f->count;
        fake_ring_run(f->ring);
        assert_true(spool_stats_get(f->spool)->bytes < 10000);
    }
}

static void test_the_oldest_can_be_given_up_for_room(void **state)
{
    struct spool_fixture *f = *state;
    struct spool_place place;
    struct spool_cursor *a;

    f->options.bytes_max = 100000;
    f->options.segment_bytes = 20000;
    test_start(f);
    a = cursor(f, "a");
    while (test_append(f, 10, 200) == 0) {
    }
    f->run(f, is_all_done);
    place = spool_skip_segment(f->spool, spool_cursor_place(a));
    assert_in_range(place.record, 1, 100);
    spool_cursor_set(a, place);
    fake_ring_run(f->ring);
    assert_int_equal(0, test_append(f, 10, 200));
    f->run(f, is_all_done);
    assert_int_equal(f->count - place.record, test_drain(f, a, (size_t)place.record, 5000));
    place = spool_skip_segment(f->spool, spool_cursor_place(a));
    assert_int_equal(spool_end(f->spool).at, place.at);
}

static void test_what_is_too_old_is_given_up_and_counted(void **state)
{
    struct spool_fixture *f = *state;
    struct spool_cursor *a;

    f->options.segment_bytes = 20000;
    test_start(f);
    a = cursor(f, "a");
    append_all(f, 50, 10, 200);
    test_stop(f);
    f->options.age_max_ms = 1;
    usleep(20000);
    test_start(f);
    a = cursor(f, "a");
    assert_true(spool_skip_expired(f->spool, (struct spool_place){0}).record > 100);
    assert_int_equal(0, test_drain(f, a, 0, 5000));
    assert_int_equal(500, f->expired);
    assert_int_equal(500, spool_stats_get(f->spool)->records_expired);
    test_stop(f);
    f->options.age_max_ms = 3600000;
    test_start(f);
    a = cursor(f, "a");
    append_all(f, 1, 10, 200);
    assert_int_equal(10, test_drain(f, a, 500, 5000));
}

/* ---- what fails ---- */

static void test_what_fails_is_tried_again_and_nothing_is_done_before(void **state)
{
    static const struct {
        enum op_kind kind;
        const char *path;
        int res;
        bool stops_all; /* nothing is done while it fails */
    } trouble[] = {
        {OP_WRITE, ".spool", -ENOSPC, true}, {OP_WRITE, ".spool", -EIO, true},
        {OP_WRITE, ".spool", 0, true},       {OP_OPEN, ".spool", -EMFILE, true},
        {OP_FSYNC, ".spool", -EIO, true},    {OP_FSYNC, "spool", -EIO, true},
        {OP_WRITE, "cursors", -EIO, false},  {OP_FSYNC, "cursors", -EIO, false},
        {OP_CLOSE, ".spool", -EIO, false},   {OP_UNLINK, ".spool", -EIO, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(trouble); i++) {
        for (unsigned skip = 0; skip < 8; skip++) {
            struct spool_fixture *f = *state;
            struct spool_cursor *a;
            size_t from = f->count;

            f->options.sync = SPOOL_SYNC_ALWAYS;
            f->options.segment_bytes = 20000;
            test_start(f);
            a = cursor(f, "a");
            fake_ring_run(f->ring);
            fake_ring_fail(f->ring, trouble[i].kind, trouble[i].res, skip, 3);
            fake_ring_fail_only(f->ring, trouble[i].path);
            for (size_t k = 0; k < 10; k++) {
                assert_int_equal(0, test_append(f, 50, 200));
                fake_ring_run(f->ring);
            }
            if (trouble[i].stops_all && skip == 0)
                assert_true(spool_stats_get(f->spool)->errors > 0 && !is_all_done(f));
            f->run(f, is_all_done);
            if (trouble[i].kind == OP_OPEN) /* which reading needs too */
                fake_ring_fail(f->ring, OP_NONE, 0, 0, 0);
            assert_int_equal(f->count - from, test_drain(f, a, from, 10000));
            test_stop(f);
            fake_ring_fail(f->ring, OP_NONE, 0, 0, 0);
        }
    }
}

static void test_an_append_is_done_only_when_a_sync_has_covered_it(void **state)
{
    struct spool_fixture *f = *state;

    f->options.sync = SPOOL_SYNC_ALWAYS;
    test_start(f);
    (void)cursor(f, "a");
    fake_ring_run(f->ring);
    fake_ring_fail(f->ring, OP_FSYNC, -EIO, 0, 5);
    fake_ring_fail_only(f->ring, ".spool");
    for (size_t k = 0; k < 10; k++)
        assert_int_equal(0, test_append(f, 5, 200));
    fake_ring_run(f->ring);
    assert_int_equal(0, f->done);
    f->run(f, is_all_done);
    assert_int_equal(5, spool_stats_get(f->spool)->errors);
    assert_int_equal(50, test_drain(f, cursor(f, "a"), 0, 10000));
    assert_int_equal(0, f->damaged);
}

static void test_a_read_that_fails_says_so_and_goes_well_again(void **state)
{
    struct spool_fixture *f = *state;

    test_start(f);
    (void)cursor(f, "a");
    append_all(f, 1, 50, 200);
    /* ENODATA is what some disks say of a place that they can't read; here it would be the end. */
    for (int i = 0; i < 2; i++) {
        fake_ring_fail(f->ring, OP_READ, i == 0 ? -EIO : -ENODATA, 0, 1);
        assert_int_equal(-EIO, test_read(f, (struct spool_place){0}, 100));
        assert_null(f->read.batch);
        assert_int_equal(0, f->read.end.at);
    }
    fake_ring_fail(f->ring, OP_OPEN, -EMFILE, 0, 1);
    assert_int_equal(50, test_drain(f, cursor(f, "a"), 0, 10000));
}

static void test_a_segment_that_somebody_removed_is_counted(void **state)
{
    struct spool_fixture *f = *state;
    char names[TEST_FILES_MAX][32];

    f->options.segment_bytes = 20000;
    test_start(f);
    (void)cursor(f, "a");
    append_all(f, 50, 10, 200);
    assert_true(test_files(f, ".spool", names) > 4);
    assert_int_equal(0, unlink(test_path(f, names[1])));
    assert_int_equal(500, test_drain(f, cursor(f, "a"), 0, 5000) + f->damaged);
    assert_in_range(f->damaged, 1, 100);
    append_all(f, 50, 10, 200);
    test_stop(f);
    f->damaged = 0;
    assert_true(test_files(f, ".spool", names) > 4);
    assert_int_equal(0, unlink(test_path(f, names[2])));
    test_start(f);
    assert_int_equal(500, test_drain(f, cursor(f, "a"), 500, 5000) + f->damaged);
    assert_in_range(f->damaged, 1, 100);
}

static void test_a_second_one_is_refused(void **state)
{
    struct spool_fixture *f = *state;
    struct spool *second = NULL;

    test_start(f);
    assert_int_equal(-EWOULDBLOCK,
                     spool_open(f->ring, &f->options, &second, f->why, sizeof f->why));
    assert_non_null(strstr(f->why, "another ringtail"));
    assert_null(second);
}

static void test_files_and_directory_are_private_and_no_symlink_is_followed(void **state)
{
    struct spool_fixture *f = *state;
    char names[TEST_FILES_MAX][32];
    struct stat st;

    test_start(f);
    (void)cursor(f, "a");
    append_all(f, 1, 10, 20);
    assert_int_equal(0, stat(f->spool_dir, &st));
    assert_int_equal(0700, st.st_mode & 07777);
    assert_int_equal(1, test_files(f, ".spool", names));
    assert_int_equal(0, stat(test_path(f, names[0]), &st));
    assert_int_equal(0600, st.st_mode & 07777);
    assert_int_equal(0, stat(test_path(f, "cursors"), &st));
    assert_int_equal(0600, st.st_mode & 07777);
    test_stop(f);
    assert_int_equal(0, unlink(test_path(f, "cursors")));
    assert_int_equal(0, symlink("/dev/null", test_path(f, "cursors")));
    assert_int_equal(-ELOOP, spool_open(f->ring, &f->options, &f->spool, f->why, sizeof f->why));
    assert_non_null(strstr(f->why, "cursors"));
}

static void test_an_unknown_version_is_refused_and_left_alone(void **state)
{
    struct spool_fixture *f = *state;
    char head[64] = "ringspol";
    struct spool *s = NULL;
    uint32_t crc;

    head[8] = 2;
    crc = crc32c(crc32c(0, slice_of(head, 12)), slice_of(head + 16, 48));
    for (size_t i = 0; i < 4; i++)
        head[12 + i] = (char)(crc >> 8 * i);
    assert_int_equal(0, mkdir(f->spool_dir, 0700));
    test_write_file(test_path(f, "0000000000000000.spool"), slice_of(head, sizeof head));
    assert_int_equal(-EPROTONOSUPPORT, spool_open(f->ring, &f->options, &s, f->why, sizeof f->why));
    assert_non_null(strstr(f->why, "version"));
    assert_int_equal(0, access(test_path(f, "0000000000000000.spool"), F_OK));
}

int main(void)
{
#define TEST(title, fn)                                                                            \
    {                                                                                              \
        title, fn, setup, teardown, NULL                                                           \
    }
    const struct CMUnitTest tests[] = {
        TEST("everything comes back as it was", test_everything_comes_back_as_it_was),
        TEST("short writes change nothing", test_short_writes_change_nothing),
        TEST("a read from every record finds its source",
             test_a_read_from_every_record_finds_its_source),
        TEST("equal sources are one object in a batch",
             test_equal_sources_are_one_object_in_a_batch),
        TEST("a batch that was read outlives the spool",
             test_a_batch_that_was_read_outlives_the_spool),
        TEST("a read of what is being written waits for it",
             test_a_read_of_what_is_being_written_waits_for_it),
        TEST("the end cancels reads that wait", test_the_end_cancels_reads_that_wait),
        TEST("the end of patience gives up what waits for a cursor",
             test_the_end_of_patience_gives_up_what_waits_for_a_cursor),
        TEST("every moment can be the last one", test_every_moment_can_be_the_last_one),
        TEST("S30 a death between any two operations loses nothing done",
             test_a_death_between_any_two_operations_loses_nothing_done),
        TEST("each cursor reads at its own pace and keeps its place",
             test_each_cursor_reads_at_its_own_pace_and_keeps_its_place),
        TEST("segments go when all cursors are behind them",
             test_segments_go_when_all_cursors_are_behind_them),
        TEST("cursors that nobody wants hold segments until they are forgotten",
             test_cursors_that_nobody_wants_hold_segments_until_they_are_forgotten),
        TEST("for a new cursor nothing waits", test_for_a_new_cursor_nothing_waits),
        TEST("a cursor for which nothing waits holds nothing back",
             test_a_cursor_for_which_nothing_waits_holds_nothing_back),
        TEST("each cursor sees only its own records", test_each_cursor_sees_only_its_own_records),
        TEST("nothing is done before a new cursor is in the file",
             test_nothing_is_done_before_a_new_cursor_is_in_the_file),
        TEST("a lost file of cursors sends again and loses nothing",
             test_a_lost_file_of_cursors_sends_again_and_loses_nothing),
        TEST("cursors survive every torn slot", test_cursors_survive_every_torn_slot),
        TEST("a read of what is being dropped passes over it",
             test_a_read_of_what_is_being_dropped_passes_over_it),
        TEST("bytes_max is never exceeded", test_bytes_max_is_never_exceeded),
        TEST("the oldest can be given up for room", test_the_oldest_can_be_given_up_for_room),
        TEST("what is too old is given up and counted",
             test_what_is_too_old_is_given_up_and_counted),
        TEST("S37 what fails is tried again, and nothing is done before",
             test_what_fails_is_tried_again_and_nothing_is_done_before),
        TEST("an append is done only when a sync has covered it",
             test_an_append_is_done_only_when_a_sync_has_covered_it),
        TEST("a read that fails says so and goes well again",
             test_a_read_that_fails_says_so_and_goes_well_again),
        TEST("a segment that somebody removed is counted",
             test_a_segment_that_somebody_removed_is_counted),
        TEST("a second one is refused", test_a_second_one_is_refused),
        TEST("files and directory are private and no symlink is followed",
             test_files_and_directory_are_private_and_no_symlink_is_followed),
        TEST("an unknown version is refused and left alone",
             test_an_unknown_version_is_refused_and_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
