/* The file sink on a ring that does as it is told: content is exact whatever fails, and whenever.
 */
#include "ringtail/sink/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/fake_ring.h"
#include "sink_fixture.h"

#define TICK_MS 5000
#define DAY_NS INT64_C(86400000000000)

static int setup(void **state)
{
    struct sink_fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    sink_fixture_open(f, fake_ring_create());
    *state = f;
    return 0;
}

static void close_sink(struct sink_fixture *f)
{
    sink_close(f->sink);
    assert_int_equal(0, f->closed);
    fake_ring_run(f->ring);
    assert_int_equal(1, f->closed);
    assert_int_equal(0, fake_ring_open_fds(f->ring));
}

static int teardown(void **state)
{
    struct sink_fixture *f = *state;
    struct ring *ring = f->ring;

    if (f->sink && !f->closed)
        close_sink(f);
    sink_fixture_close(f);
    fake_ring_destroy(ring);
    free(f);
    return 0;
}

#define MAKE(f, ...) sink_fixture_make_file((f), &(struct sink_file_options){__VA_ARGS__})

/** The directory has this file with these bytes. Frees `expected`. */
static void expect(struct sink_fixture *f, const char *name, struct buf *expected)
{
    test_expect_file(test_path(f, "%s", name), expected);
    buf_finish(expected);
}

static void test_each_container_has_its_own_file(void **state)
{
    struct sink_fixture *f = *state;
    enum { SOURCES = 40 };
    struct source *sources[SOURCES];
    struct buf expected[SOURCES] = {0};
    char name[32];

    MAKE(f, 0);
    for (int i = 0; i < SOURCES; i++) {
        (void)snprintf(name, sizeof name, "c%d", i);
        sources[i] = test_source(name);
    }
    for (uint64_t n = 0; n < 200; n++) {
        struct batch *b = test_batch(f);

        for (uint64_t i = 0; i < n % 50; i++) {
            size_t which = (n * 7 + i / 3) % SOURCES;

            test_line(b, sources[which], n * 100 + i, 10 + i * 5, &expected[which]);
        }
        test_submit(f, b);
        if (n % 5 == 0)
            fake_ring_run(f->ring);
    }
    fake_ring_run(f->ring);
    assert_int_equal(f->batches, f->settled);
    assert_int_equal(f->records, f->sink->records_settled);
    assert_int_equal(0, f->sink->queued_bytes);
    close_sink(f);
    assert_int_equal(SOURCES, test_count_files(f->dir));
    for (int i = 0; i < SOURCES; i++) {
        (void)snprintf(name, sizeof name, "c%d.ndjson", i);
        expect(f, name, &expected[i]);
        (void)source_unref(sources[i]);
    }
}

static void test_a_batch_settles_when_all_of_its_files_have_their_share(void **state)
{
    struct sink_fixture *f = *state;
    struct source *a = test_source("a"), *b = test_source("b");
    struct batch *batch;

    MAKE(f, 0);
    fake_ring_fail(f->ring, OP_OPEN, -EACCES, 0, 1);
    fake_ring_fail_only(f->ring, "b.ndjson");
    batch = test_batch(f);
    test_line(batch, a, 1, 100, NULL);
    test_line(batch, b, 2, 100, NULL);
    test_line(batch, a, 3, 100, NULL);
    test_submit(f, batch);
    fake_ring_run(f->ring);
    assert_int_equal(2, f->sink->records_settled);
    assert_int_equal(0, f->settled);
    assert_int_equal(-EACCES, f->sink->last_error);
    assert_int_equal(1, f->sink->errors);
    /* The other file's next batch does not wait for it, and does not hide the failure. */
    test_submit_line(f, a, 4, 100, NULL);
    fake_ring_run(f->ring);
    assert_int_equal(1, f->settled);
    assert_int_equal(-EACCES, f->sink->last_error);
    fake_ring_advance(f->ring, 999);
    assert_int_equal(1, f->settled);
    fake_ring_advance(f->ring, 1);
    assert_int_equal(2, f->settled);
    assert_int_equal(0, f->sink->last_error);
    assert_int_equal(0, f->sink->records_lost);
    (void)source_unref(a);
    (void)source_unref(b);
}

static void test_directories_of_the_template_are_made(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");
    struct buf expected = {0};
    struct stat st;
    char name[64];

    MAKE(f, .path_template = "a/{container_name}/{stream}/{container_id_short}.log");
    for (uint64_t n = 0; n < 20; n += 2)
        test_submit_line(f, s, n, 60, &expected);
    close_sink(f);
    (void)snprintf(name, sizeof name, "a/web/stdout/%.12s.log", s->id.data);
    expect(f, name, &expected);
    assert_int_equal(0, stat(test_path(f, "a/web"), &st));
    assert_int_equal(0750, st.st_mode & 0777);
    (void)source_unref(s);
}

static void test_streams_and_days_part_where_the_template_says_so(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");
    struct buf expected[4] = {0};

    MAKE(f, .path_template = "{date}/{stream}");
    for (int i = 0; i < 60; i++) {
        /* To and fro over midnight. */
        int64_t ts_ns = TEST_TS_NS / DAY_NS * DAY_NS + DAY_NS - 5 + (i * 7) % 10;
        size_t which = (ts_ns / DAY_NS > TEST_TS_NS / DAY_NS) + 2 * (size_t)(i % 3 == 0);
        struct batch *b = test_batch(f);

        test_line_at(b, s, i % 3 == 0 ? RECORD_STDERR : RECORD_STDOUT, ts_ns, "x",
                     &expected[which]);
        test_submit(f, b);
        if (i % 4 == 0)
            fake_ring_run(f->ring);
    }
    close_sink(f);
    assert_int_equal(4, test_count_files(f->dir));
    expect(f, "2026-11-20/stdout", &expected[0]);
    expect(f, "2026-11-21/stdout", &expected[1]);
    expect(f, "2026-11-20/stderr", &expected[2]);
    expect(f, "2026-11-21/stderr", &expected[3]);
    (void)source_unref(s);
}

static void test_yesterdays_file_is_closed(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");

    MAKE(f, .path_template = "{date}");
    for (int i = 0; i < 30; i++) {
        struct batch *b = test_batch(f);

        test_line_at(b, s, RECORD_STDOUT, TEST_TS_NS + i * DAY_NS, "x", NULL);
        test_submit(f, b);
        fake_ring_run(f->ring);
        assert_int_equal(1, fake_ring_open_fds(f->ring));
    }
    (void)source_unref(s);
}

static void test_it_appends_to_what_is_there(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");
    struct buf expected = {0};

    test_write_file(test_path(f, "web.ndjson"), "old\n");
    assert_int_equal(0, buf_append_str(&expected, "old\n"));
    MAKE(f, 0);
    test_submit_line(f, s, 1, 60, &expected);
    close_sink(f);
    expect(f, "web.ndjson", &expected);
    (void)source_unref(s);
}

static void test_a_line_torn_by_a_crash_keeps_a_line_to_itself(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");
    struct buf expected = {0};

    test_write_file(test_path(f, "web.ndjson"), "whole\n{\"ts\":\"20");
    assert_int_equal(0, buf_append_str(&expected, "whole\n{\"ts\":\"20\n"));
    MAKE(f, 0);
    test_submit_line(f, s, 1, 60, &expected);
    test_submit_line(f, s, 2, 60, &expected);
    close_sink(f);
    expect(f, "web.ndjson", &expected);
    (void)source_unref(s);
}

static void test_rotation_by_size_splits_no_line_and_keeps_every_byte(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");
    struct buf expected = {0};
    unsigned files;

    MAKE(f, .rotate_bytes = 5000, .rotate_keep = 1000);
    for (uint64_t n = 0; n < 300; n++) {
        struct batch *b = test_batch(f);

        fake_ring_limit_writes(f->ring, n % 3 ? 1 + n * 13 % 700 : 0);
        for (uint64_t i = 0; i < 1 + n % 9; i++)
            test_line(b, s, n * 10 + i, 20 + n * 37 % 800, &expected);
        test_submit(f, b);
        if (n % 4)
            fake_ring_run(f->ring);
    }
    fake_ring_run(f->ring);
    assert_int_equal(f->batches, f->settled);
    close_sink(f);
    files = test_expect_rotated(test_path(f, "web.ndjson"), &expected, 5000);
    assert_true(files >= expected.len / 5000);
    /* They are as full as whole lines allow. */
    assert_true(files <= expected.len / (5000 - 1100) + 1);
    buf_finish(&expected);
    (void)source_unref(s);
}

static void test_a_line_larger_than_a_file_gets_a_file_to_itself(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");
    struct buf expected = {0};

    MAKE(f, .rotate_bytes = 1000, .rotate_keep = 100);
    test_submit_line(f, s, 1, 100, &expected);
    test_submit_line(f, s, 2, 5000, &expected);
    test_submit_line(f, s, 3, 300000, &expected);
    test_submit_line(f, s, 4, 100, &expected);
    test_submit_line(f, s, 5, 100, &expected);
    close_sink(f);
    assert_int_equal(4, test_expect_rotated(test_path(f, "web.ndjson"), &expected, 310000));
    buf_finish(&expected);
    (void)source_unref(s);
}

static void test_only_as_many_rotated_files_are_kept_as_asked_for(void **state)
{
    struct sink_fixture *f = *state;

    for (int keep = 0; keep < 4; keep++) {
        struct source *s;
        struct buf expected = {0}, last = {0};
        char name[16];

        (void)snprintf(name, sizeof name, "k%d", keep);
        s = test_source(name);
        MAKE(f, .rotate_bytes = 1, .rotate_keep = keep);
        for (uint64_t n = 0; n < 10; n++) {
            test_submit_line(f, s, n, 50, n >= 9 - (uint64_t)keep ? &expected : &last);
            fake_ring_run(f->ring);
        }
        close_sink(f);
        assert_int_equal(keep + 1,
                         test_expect_rotated(test_path(f, "%s.ndjson", name), &expected, 1000));
        assert_int_equal(keep + 1, test_count_files(f->dir));
        f->sink = sink_destroy(f->sink);
        f->records = f->closed = 0;
        for (int i = 0; i <= keep; i++)
            assert_int_equal(0, unlink(test_path(f, i ? "%s.ndjson.%d" : "%s.ndjson", name, i)));
        buf_finish(&expected);
        buf_finish(&last);
        (void)source_unref(s);
    }
}

static void test_an_interrupted_rotation_is_completed_and_overwrites_nothing(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");
    struct buf expected = {0};
    struct buf text = {0};

    /* A crash has moved 2 to 3 and not yet 1 to 2. */
    test_write_file(test_path(f, "web.ndjson.3"), "third\n");
    test_write_file(test_path(f, "web.ndjson.1"), "second\n");
    test_write_file(test_path(f, "web.ndjson"), "first\n");
    MAKE(f, .rotate_bytes = 10, .rotate_keep = 3);
    test_submit_line(f, s, 1, 60, &expected);
    close_sink(f);
    expect(f, "web.ndjson", &expected);
    assert_int_equal(0, buf_append_str(&text, "first\n"));
    expect(f, "web.ndjson.1", &text);
    assert_int_equal(0, buf_append_str(&text, "second\n"));
    expect(f, "web.ndjson.2", &text);
    assert_int_equal(0, buf_append_str(&text, "third\n"));
    expect(f, "web.ndjson.3", &text);
    (void)source_unref(s);
}

static void test_while_rotation_fails_the_old_file_grows_on(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");
    struct buf expected = {0};

    MAKE(f, .rotate_bytes = 500, .rotate_keep = 10);
    fake_ring_fail(f->ring, OP_RENAME, -EACCES, 0, 1000000);
    for (uint64_t n = 0; n < 20; n++) {
        test_submit_line(f, s, n, 100, &expected);
        fake_ring_run(f->ring);
        assert_int_equal(n + 1, f->settled);
    }
    /* One try until the next tick. */
    assert_int_equal(1, f->sink->errors);
    assert_int_equal(1, test_count_files(f->dir));
    test_expect_file(test_path(f, "web.ndjson"), &expected);
    fake_ring_fail(f->ring, OP_RENAME, 0, 0, 0);
    fake_ring_advance(f->ring, TICK_MS);
    test_submit_line(f, s, 20, 100, &expected);
    fake_ring_run(f->ring);
    assert_int_equal(2, test_expect_rotated(test_path(f, "web.ndjson"), &expected, 8000));
    buf_finish(&expected);
    (void)source_unref(s);
}

/** What is in `outside` beside the sink's directory: nothing may come to it. */
static void make_outside(struct sink_fixture *f, char *path, size_t size)
{
    (void)snprintf(path, size, "%s", test_path(f, "outside"));
    assert_int_equal(0, mkdir(path, 0700));
    test_write_file(test_path(f, "outside/victim"), "untouched\n");
    assert_int_equal(0, mkdir(test_path(f, "logs"), 0700));
}

static void expect_outside_untouched(struct sink_fixture *f)
{
    struct buf text = {0};

    assert_int_equal(1, test_count_files(test_path(f, "outside")));
    assert_int_equal(0, buf_append_str(&text, "untouched\n"));
    expect(f, "outside/victim", &text);
}

static void test_no_name_leaves_the_directory(void **state)
{
    struct sink_fixture *f = *state;
    char outside[256], logs[256], long_name[301];
    const char *names[] = {"../../etc/passwd", "../outside/victim", "a/b", ".",      "..", "",
                           "/etc/passwd",      "%2e%2e/x",          "\n",  long_name};
    enum { NAMES = sizeof names / sizeof names[0] };
    struct source *sources[NAMES];

    memset(long_name, 'n', sizeof long_name);
    long_name[300] = '\0';
    make_outside(f, outside, sizeof outside);
    (void)snprintf(logs, sizeof logs, "%s", test_path(f, "logs"));
    MAKE(f, .directory = logs, .path_template = "{container_name}", .rotate_bytes = 400,
         .rotate_keep = 2);
    for (size_t i = 0; i < NAMES; i++) {
        sources[i] = test_source(names[i]);
        for (uint64_t n = 0; n < 5; n++)
            test_submit_line(f, sources[i], n, 100, NULL);
    }
    close_sink(f);
    assert_int_equal(0, f->sink->errors);
    assert_int_equal(3 * NAMES, test_count_files(logs));
    expect_outside_untouched(f);
    assert_int_equal(3 * NAMES + 1, test_count_files(f->dir));
    for (size_t i = 0; i < NAMES; i++)
        (void)source_unref(sources[i]);
}

static void test_planted_symlinks_are_not_followed(void **state)
{
    struct sink_fixture *f = *state;
    struct source *evil = test_source("evil"), *good = test_source("good");
    struct buf expected = {0}, evils = {0};
    char outside[256], logs[256];

    make_outside(f, outside, sizeof outside);
    (void)snprintf(logs, sizeof logs, "%s", test_path(f, "logs"));
    assert_int_equal(0, symlink("../outside/victim", test_path(f, "logs/evil.ndjson")));
    MAKE(f, .directory = logs);
    for (uint64_t n = 0; n < 10; n++) {
        test_submit_line(f, evil, n, 50, &evils);
        test_submit_line(f, good, n, 50, &expected);
        fake_ring_advance(f->ring, 1000);
    }
    assert_int_equal(10, f->settled);
    assert_int_equal(-ELOOP, f->sink->last_error);
    assert_int_equal(10, f->sink->records_settled);
    expect_outside_untouched(f);
    expect(f, "logs/good.ndjson", &expected);
    /* Nothing was dropped: it goes on when the trap is gone. */
    assert_int_equal(0, unlink(test_path(f, "logs/evil.ndjson")));
    fake_ring_advance(f->ring, 1000);
    assert_int_equal(0, f->sink->last_error);
    assert_int_equal(20, f->settled);
    expect(f, "logs/evil.ndjson", &evils);
    (void)source_unref(evil);
    (void)source_unref(good);
}

static void test_planted_symlinks_to_directories_are_not_followed(void **state)
{
    struct sink_fixture *f = *state;
    struct source *evil = test_source("evil");
    struct buf evils = {0};
    char outside[256], logs[256];

    make_outside(f, outside, sizeof outside);
    (void)snprintf(logs, sizeof logs, "%s", test_path(f, "logs"));
    assert_int_equal(0, symlink("../outside", test_path(f, "logs/evil")));
    MAKE(f, .directory = logs, .path_template = "{container_name}/deep/{image}.log");
    test_submit_line(f, evil, 1, 50, &evils);
    fake_ring_advance(f->ring, 5000);
    assert_int_equal(0, f->settled);
    assert_int_equal(-ELOOP, f->sink->last_error);
    expect_outside_untouched(f);
    assert_int_equal(0, unlink(test_path(f, "logs/evil")));
    fake_ring_advance(f->ring, 1000);
    assert_int_equal(1, f->settled);
    expect(f, "logs/evil/deep/image%3A1.log", &evils);
    (void)source_unref(evil);
}

static void test_a_directory_that_becomes_a_symlink_is_noticed_before_rotation(void **state)
{
    struct sink_fixture *f = *state;
    struct source *evil = test_source("evil");
    char outside[256], logs[256], from[512];

    make_outside(f, outside, sizeof outside);
    (void)snprintf(logs, sizeof logs, "%s", test_path(f, "logs"));
    MAKE(f, .directory = logs, .path_template = "{container_name}/victim", .rotate_bytes = 300,
         .rotate_keep = 2);
    test_submit_line(f, evil, 1, 50, NULL);
    fake_ring_run(f->ring);
    (void)snprintf(from, sizeof from, "%s", test_path(f, "logs/evil"));
    assert_int_equal(0, rename(from, test_path(f, "logs/moved")));
    assert_int_equal(0, symlink("../outside", from));
    for (uint64_t n = 2; n < 10; n++)
        test_submit_line(f, evil, n, 100, NULL);
    fake_ring_run(f->ring);
    assert_int_equal(1, f->sink->errors);
    assert_int_equal(9, f->settled);
    /* It was too large and grew on where it is; the next look finds that its path leads elsewhere.
     */
    fake_ring_advance(f->ring, TICK_MS);
    test_submit_line(f, evil, 10, 100, NULL);
    fake_ring_run(f->ring);
    assert_int_equal(-ELOOP, f->sink->last_error);
    assert_int_equal(9, f->settled);
    expect_outside_untouched(f);
    sink_abort(f->sink);
    fake_ring_run(f->ring);
    assert_int_equal(1, f->closed);
    (void)source_unref(evil);
}

static void test_what_is_not_a_regular_file_is_refused(void **state)
{
    struct sink_fixture *f = *state;
    struct source *fifo = test_source("fifo"), *dir = test_source("dir"), *good = test_source("g");
    struct buf expected[3] = {0};

    assert_int_equal(0, mkfifo(test_path(f, "fifo.ndjson"), 0600));
    assert_int_equal(0, mkdir(test_path(f, "dir.ndjson"), 0700));
    MAKE(f, 0);
    test_submit_line(f, dir, 2, 50, &expected[1]);
    fake_ring_run(f->ring);
    assert_int_equal(-EISDIR, f->sink->last_error);
    test_submit_line(f, fifo, 1, 50, &expected[0]);
    fake_ring_run(f->ring);
    assert_int_equal(-ENOTSUP, f->sink->last_error);
    test_submit_line(f, good, 3, 50, &expected[2]);
    fake_ring_advance(f->ring, 10000);
    assert_int_equal(1, f->settled);
    assert_int_equal(0, unlink(test_path(f, "fifo.ndjson")));
    assert_int_equal(0, rmdir(test_path(f, "dir.ndjson")));
    fake_ring_advance(f->ring, 1000);
    assert_int_equal(3, f->settled);
    expect(f, "fifo.ndjson", &expected[0]);
    expect(f, "dir.ndjson", &expected[1]);
    expect(f, "g.ndjson", &expected[2]);
    (void)source_unref(fifo);
    (void)source_unref(dir);
    (void)source_unref(good);
}

static void test_a_full_disk_is_waited_for_and_the_torn_line_goes_on(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");
    struct buf expected = {0};

    MAKE(f, 0);
    for (uint64_t n = 0; n < 10; n++)
        test_submit_line(f, s, n, 100, &expected);
    /* 250 bytes are less than a line: the second write ends in the middle of one. */
    fake_ring_limit_writes(f->ring, 250);
    fake_ring_fail(f->ring, OP_WRITE, -ENOSPC, 3, 5);
    fake_ring_run(f->ring);
    assert_int_equal(-ENOSPC, f->sink->last_error);
    assert_int_equal(SINK_RETRYING, f->sink->state);
    assert_string_equal("web.ndjson: No space left on device", f->sink->reason);
    assert_int_equal(1, f->sink->errors);
    assert_true(f->settled > 0 && f->settled < 10);
    fake_ring_advance(f->ring, 1000);
    assert_int_equal(2, f->sink->errors);
    fake_ring_advance(f->ring, 10000);
    assert_int_equal(5, f->sink->errors);
    assert_int_equal(0, f->sink->last_error);
    assert_int_equal(SINK_OK, f->sink->state);
    assert_string_equal("", f->sink->reason);
    assert_int_equal(10, f->settled);
    assert_int_equal(0, f->sink->records_lost);
    close_sink(f);
    expect(f, "web.ndjson", &expected);
    (void)source_unref(s);
}

static void test_a_torn_line_is_written_whole_when_its_file_is_no_more(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");
    struct buf first = {0}, second = {0}, moved = {0};
    char from[512];

    MAKE(f, 0);
    test_submit_line(f, s, 1, 100, &first);
    test_submit_line(f, s, 2, 100, &second);
    test_submit_line(f, s, 3, 100, &second);
    fake_ring_limit_writes(f->ring, first.len + 10);
    fake_ring_fail(f->ring, OP_WRITE, -EIO, 1, 1);
    fake_ring_run(f->ring);
    assert_int_equal(1, f->settled);
    (void)snprintf(from, sizeof from, "%s", test_path(f, "web.ndjson"));
    assert_int_equal(0, rename(from, test_path(f, "moved")));
    fake_ring_advance(f->ring, 1000);
    assert_int_equal(3, f->settled);
    expect(f, "web.ndjson", &second);
    assert_true(test_read_file(test_path(f, "moved"), &moved));
    assert_int_equal(first.len + 10, moved.len);
    assert_memory_equal(first.data, moved.data, first.len);
    buf_finish(&first);
    buf_finish(&moved);
    (void)source_unref(s);
}

static void test_a_file_that_is_renamed_outside_is_made_anew_within_a_tick(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");
    struct buf expected = {0};
    char from[512], to[512];

    MAKE(f, .path_template = "{container_name}/log");
    for (int round = 0; round < 3; round++) {
        for (uint64_t n = 0; n < 5; n++)
            test_submit_line(f, s, n, 100, &expected);
        fake_ring_run(f->ring);
        (void)snprintf(from, sizeof from, "%s", test_path(f, "web/log"));
        (void)snprintf(to, sizeof to, "%s", test_path(f, "web/old-%d", round));
        assert_int_equal(0, rename(from, to));
        /* Until it is noticed, lines go where the file went. */
        test_submit_line(f, s, 6, 100, &expected);
        fake_ring_run(f->ring);
        fake_ring_advance(f->ring, TICK_MS);
        test_expect_file(to, &expected);
        buf_reset(&expected);
    }
    test_submit_line(f, s, 7, 100, &expected);
    fake_ring_run(f->ring);
    test_expect_file(from, &expected);
    /* Removed with its directory. */
    assert_int_equal(0, unlink(from));
    for (int round = 0; round < 3; round++)
        assert_int_equal(0, unlink(test_path(f, "web/old-%d", round)));
    assert_int_equal(0, rmdir(test_path(f, "web")));
    fake_ring_advance(f->ring, TICK_MS);
    buf_reset(&expected);
    test_submit_line(f, s, 8, 100, &expected);
    fake_ring_run(f->ring);
    expect(f, "web/log", &expected);
    assert_int_equal(0, f->sink->errors);
    (void)source_unref(s);
}

static void test_a_file_truncated_outside_is_written_on_from_its_new_end(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");
    struct buf expected = {0};

    MAKE(f, .rotate_bytes = 1500, .rotate_keep = 5);
    for (uint64_t n = 0; n < 4; n++)
        test_submit_line(f, s, n, 100, &expected);
    fake_ring_run(f->ring);
    assert_int_equal(0, truncate(test_path(f, "web.ndjson"), 0));
    buf_reset(&expected);
    fake_ring_advance(f->ring, TICK_MS);
    /* Its size is known again, so it does not rotate too early. */
    for (uint64_t n = 0; n < 4; n++)
        test_submit_line(f, s, n, 100, &expected);
    fake_ring_run(f->ring);
    assert_int_equal(1, test_count_files(f->dir));
    expect(f, "web.ndjson", &expected);
    (void)source_unref(s);
}

static void test_no_more_files_are_open_than_allowed(void **state)
{
    struct sink_fixture *f = *state;
    enum { SOURCES = 12 };
    struct source *sources[SOURCES];
    struct buf expected[SOURCES] = {0};
    char name[32];

    MAKE(f, .open_files_max = 3);
    for (int i = 0; i < SOURCES; i++) {
        (void)snprintf(name, sizeof name, "c%d", i);
        sources[i] = test_source(name);
    }
    for (uint64_t n = 0; n < 300; n++) {
        struct batch *b = test_batch(f);

        for (uint64_t i = 0; i < 4; i++) {
            size_t which = (n * 5 + i * i) % SOURCES;

            test_line(b, sources[which], n * 10 + i, 30, &expected[which]);
        }
        test_submit(f, b);
        for (uint64_t i = 0; i < n % 13; i++) {
            (void)fake_ring_step(f->ring);
            assert_true(fake_ring_open_fds(f->ring) <= 3);
        }
    }
    while (fake_ring_step(f->ring))
        assert_true(fake_ring_open_fds(f->ring) <= 3);
    assert_int_equal(300, f->settled);
    close_sink(f);
    for (int i = 0; i < SOURCES; i++) {
        (void)snprintf(name, sizeof name, "c%d.ndjson", i);
        expect(f, name, &expected[i]);
        (void)source_unref(sources[i]);
    }
}

static void test_the_least_recently_written_file_is_the_one_closed(void **state)
{
    struct sink_fixture *f = *state;
    struct source *a = test_source("a"), *b = test_source("b"), *c = test_source("c");
    unsigned opens;

    MAKE(f, .open_files_max = 2);
    test_submit_line(f, a, 1, 30, NULL);
    fake_ring_run(f->ring);
    test_submit_line(f, b, 2, 30, NULL);
    fake_ring_run(f->ring);
    test_submit_line(f, a, 3, 30, NULL);
    fake_ring_run(f->ring);
    test_submit_line(f, c, 4, 30, NULL); /* b gives way */
    fake_ring_run(f->ring);
    opens = fake_ring_started(f->ring, OP_OPEN);
    test_submit_line(f, a, 5, 30, NULL);
    test_submit_line(f, c, 6, 30, NULL);
    fake_ring_run(f->ring);
    assert_int_equal(opens, fake_ring_started(f->ring, OP_OPEN));
    test_submit_line(f, b, 7, 30, NULL);
    fake_ring_run(f->ring);
    assert_int_equal(opens + 1, fake_ring_started(f->ring, OP_OPEN));
    (void)source_unref(a);
    (void)source_unref(b);
    (void)source_unref(c);
}

static void test_failing_files_keep_no_descriptor_from_the_others(void **state)
{
    struct sink_fixture *f = *state;
    struct source *bad = test_source("bad"), *good = test_source("good");

    MAKE(f, .open_files_max = 1, .retry_ms = 500);
    fake_ring_fail(f->ring, OP_WRITE, -EIO, 0, 1000);
    fake_ring_fail_only(f->ring, "bad.ndjson");
    test_submit_line(f, bad, 1, 30, NULL);
    test_submit_line(f, good, 2, 30, NULL);
    for (uint64_t n = 0; n < 10; n++) {
        fake_ring_advance(f->ring, 100);
        test_submit_line(f, good, n, 30, NULL);
        test_submit_line(f, bad, n, 30, NULL);
    }
    fake_ring_run(f->ring);
    assert_int_equal(11, f->settled);
    fake_ring_fail(f->ring, OP_WRITE, 0, 0, 0);
    fake_ring_advance(f->ring, 500);
    assert_int_equal(22, f->settled);
    (void)source_unref(bad);
    (void)source_unref(good);
}

static void test_what_gone_containers_used_is_given_back(void **state)
{
    struct sink_fixture *f = *state;
    struct source *stays = test_source("stays");
    char name[32];

    MAKE(f, .open_files_max = 1000);
    for (int i = 0; i < 500; i++) {
        struct source *s;

        (void)snprintf(name, sizeof name, "short-lived-%d", i);
        s = test_source(name);
        test_submit_line(f, s, 1, 30, NULL);
        if (i % 100 == 0)
            test_submit_line(f, stays, 1, 30, NULL);
        fake_ring_run(f->ring);
        (void)source_unref(s);
    }
    fake_ring_advance(f->ring, 2 * TICK_MS);
    assert_int_equal(1, fake_ring_open_fds(f->ring));
    assert_int_equal(2, stays->refs);
    (void)source_unref(stays);
    fake_ring_advance(f->ring, 2 * TICK_MS);
    assert_int_equal(0, fake_ring_open_fds(f->ring));
    /* And with nothing open there is not even a timer. */
    assert_int_equal(0, fake_ring_in_flight(f->ring));
}

/* One run over everything that a file can go through. */

enum { TOUR_BATCHES = 7 };

struct tour {
    struct source *sources[3];
    struct buf expected[3];
};

static void tour_begin(struct sink_fixture *f, struct tour *t)
{
    *t = (struct tour){
        .sources = {test_source("one"), test_source("two"), test_source("three")},
    };
    /* One of them has a past. */
    assert_int_equal(0, mkdir(test_path(f, "two"), 0700));
    assert_int_equal(0, mkdir(test_path(f, "two/x"), 0700));
    test_write_file(test_path(f, "two/x/log"), "old\n");
    assert_int_equal(0, buf_append_str(&t->expected[1], "old\n"));
    MAKE(f, .path_template = "{container_name}/x/log", .rotate_bytes = 900, .rotate_keep = 100,
         .open_files_max = 2, .retry_ms = 100);
    for (uint64_t n = 0; n < TOUR_BATCHES; n++) {
        struct batch *b = test_batch(f);

        for (size_t i = 0; i < 3; i++)
            test_line(b, t->sources[i], n * 3 + i, 50 + n * 40, &t->expected[i]);
        test_submit(f, b);
    }
    fake_ring_limit_writes(f->ring, 400);
}

static void tour_end(struct sink_fixture *f, struct tour *t, bool is_whole)
{
    static const char *const names[] = {"one", "two", "three"};

    assert_int_equal(1, f->closed);
    assert_int_equal(TOUR_BATCHES, f->settled);
    assert_int_equal(0, fake_ring_in_flight(f->ring));
    assert_int_equal(0, fake_ring_open_fds(f->ring));
    assert_int_equal(0, f->sink->queued_bytes);
    if (is_whole) {
        assert_int_equal(0, f->sink->records_lost);
        for (size_t i = 0; i < 3; i++)
            (void)test_expect_rotated(test_path(f, "%s/x/log", names[i]), &t->expected[i],
                                      SIZE_MAX);
    }
    for (size_t i = 0; i < 3; i++) {
        buf_finish(&t->expected[i]);
        (void)source_unref(t->sources[i]);
    }
}

/** Starts afresh, with the ring and a directory of its own. */
static void again(struct sink_fixture *f)
{
    struct ring *ring = f->ring;

    sink_fixture_close(f);
    fake_ring_destroy(ring);
    sink_fixture_open(f, fake_ring_create());
}

static void test_any_operation_may_fail_once_and_nothing_is_lost(void **state)
{
    static const enum op_kind kinds[] = {OP_OPEN,  OP_READ,  OP_WRITE, OP_RENAME,
                                         OP_MKDIR, OP_STATX, OP_CLOSE};
    struct sink_fixture *f = *state;

    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        unsigned tries = 0;

        for (unsigned skip = 0;; skip++) {
            struct tour t;
            bool all_failed;

            tour_begin(f, &t);
            fake_ring_fail(f->ring, kinds[k], -EIO, skip, 1);
            fake_ring_advance(f->ring, 3000);
            sink_close(f->sink);
            fake_ring_advance(f->ring, 3000);
            all_failed = fake_ring_started(f->ring, kinds[k]) <= skip;
            assert_true(f->sink->errors <= 1);
            tour_end(f, &t, true);
            again(f);
            if (all_failed)
                break;
            tries++;
        }
        assert_true(tries > 0);
    }
}

static void test_any_operation_may_fail_for_a_while_and_nothing_is_lost(void **state)
{
    static const enum op_kind kinds[] = {OP_OPEN, OP_WRITE, OP_RENAME, OP_MKDIR, OP_STATX};
    struct sink_fixture *f = *state;

    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        for (unsigned skip = 0; skip < 20; skip += 3) {
            struct tour t;

            tour_begin(f, &t);
            fake_ring_fail(f->ring, kinds[k], -ENOSPC, skip, 7);
            fake_ring_advance(f->ring, 3 * TICK_MS);
            sink_close(f->sink);
            fake_ring_advance(f->ring, 3 * TICK_MS);
            tour_end(f, &t, true);
            again(f);
        }
    }
}

static void test_close_at_any_moment_writes_everything_out(void **state)
{
    struct sink_fixture *f = *state;
    bool more = true;

    for (unsigned steps = 0; more; steps++) {
        struct tour t;

        tour_begin(f, &t);
        for (unsigned i = 0; i < steps && more; i++)
            more = fake_ring_step(f->ring);
        close_sink(f);
        tour_end(f, &t, true);
        again(f);
    }
}

static void test_abort_at_any_moment_ends_it_and_counts_what_is_lost(void **state)
{
    struct sink_fixture *f = *state;

    for (int failing = 0; failing < 3; failing++) {
        bool more = true;

        for (unsigned steps = 0; more; steps++) {
            struct tour t;
            uint64_t settled;

            tour_begin(f, &t);
            if (failing)
                fake_ring_fail(f->ring, failing == 1 ? OP_WRITE : OP_RENAME, -EIO, 4, 100);
            for (unsigned i = 0; i < steps && more; i++)
                more = fake_ring_step(f->ring);
            if (steps % 3 == 0)
                sink_close(f->sink);
            sink_abort(f->sink);
            assert_int_equal(0, f->closed);
            settled = f->sink->records_settled;
            fake_ring_run(f->ring);
            /* At most what was in flight: one write of three files, of at most three records. */
            assert_true(f->sink->records_settled - settled <= 9);
            assert_int_equal(3 * TOUR_BATCHES, f->sink->records_settled + f->sink->records_lost);
            tour_end(f, &t, false);
            again(f);
        }
    }
}

static void test_an_unused_sink_closes(void **state)
{
    struct sink_fixture *f = *state;

    MAKE(f, 0);
    test_submit(f, test_batch(f));
    assert_int_equal(1, f->settled);
    close_sink(f);
    sink_close(f->sink);
    sink_abort(f->sink);
    fake_ring_run(f->ring);
    assert_int_equal(1, f->closed);
}

static void submit_another(struct sink_fixture *f)
{
    static const char *const names[] = {"a", "b"};

    if (f->batches < 100) {
        struct source *s = test_source(names[f->batches % 2]);

        test_submit_line(f, s, f->batches, 40, NULL);
        (void)source_unref(s);
    }
}

static void test_submitting_from_either_callback_is_fine(void **state)
{
    struct sink_fixture *f = *state;

    MAKE(f, 0);
    f->on_settled = submit_another;
    submit_another(f);
    fake_ring_run(f->ring);
    assert_int_equal(100, f->settled);
    f->on_settled = NULL;
    f->on_progress = submit_another;
    f->batches = f->settled = 50;
    submit_another(f);
    fake_ring_run(f->ring);
    assert_int_equal(100, f->settled);
}

static void test_a_bad_directory_or_template_is_refused_with_a_reason(void **state)
{
    struct sink_fixture *f = *state;
    struct sink_file_options o = {.path_template = "{stream}", .open_files_max = 1};
    char why[256], path[512];

    (void)snprintf(path, sizeof path, "%s", test_path(f, "file"));
    test_write_file(path, "x");
    o.directory = path;
    assert_int_equal(-ENOTDIR, sink_file_create(f->ring, &o, NULL, &f->sink, why, sizeof why));
    assert_non_null(strstr(why, path));
    assert_int_equal(0, unlink(path));
    assert_int_equal(0, symlink("/tmp", path));
    assert_int_equal(-ENOTDIR, sink_file_create(f->ring, &o, NULL, &f->sink, why, sizeof why));
    assert_non_null(strstr(why, "symbolic link"));
    (void)snprintf(path, sizeof path, "%s", test_path(f, "missing/deeper"));
    assert_int_equal(-ENOENT, sink_file_create(f->ring, &o, NULL, &f->sink, why, sizeof why));
    o.path_template = "{pod}";
    o.directory = f->dir;
    assert_int_equal(-EINVAL, sink_file_create(f->ring, &o, NULL, &f->sink, why, sizeof why));
    assert_non_null(strstr(why, "{container_name}"));
    assert_null(f->sink);
    /* One level is made. */
    (void)snprintf(path, sizeof path, "%s", test_path(f, "missing"));
    MAKE(f, .directory = path);
    assert_int_equal(0, access(path, W_OK));
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* ---- syncs ---- */

static void test_a_sync_covers_each_file_written_to_once(void **state)
{
    struct sink_fixture *f = *state;
    struct source *a = test_source("a"), *b = test_source("b");

    MAKE(f, .path_template = "{container_name}", .sync = true);
    test_submit_line(f, a, 1, 20, NULL);
    test_submit_line(f, a, 2, 20, NULL);
    test_submit_line(f, b, 1, 20, NULL);
    fake_ring_run(f->ring);
    assert_int_equal(0, fake_ring_started(f->ring, OP_FSYNC));
    sink_sync(f->sink);
    assert_true(f->sink->syncing);
    /* What is written meanwhile does not hold it up, and is for the next one. */
    test_submit_line(f, a, 3, 20, NULL);
    fake_ring_run(f->ring);
    assert_false(f->sink->syncing);
    assert_int_equal(2, fake_ring_started(f->ring, OP_FSYNC));
    sink_sync(f->sink);
    fake_ring_run(f->ring);
    assert_int_equal(3, fake_ring_started(f->ring, OP_FSYNC));
    sink_sync(f->sink);
    assert_false(f->sink->syncing);
    assert_int_equal(3, fake_ring_started(f->ring, OP_FSYNC));
    source_unref(a);
    source_unref(b);
}

static void test_many_files_are_synced_a_few_at_once(void **state)
{
    enum { FILES = 30 };
    struct sink_fixture *f = *state;

    MAKE(f, .path_template = "{container_name}", .sync = true);
    for (unsigned i = 0; i < FILES; i++) {
        struct source *source;
        char name[16];

        snprintf(name, sizeof name, "c%u", i);
        source = test_source(name);
        test_submit_line(f, source, 1, 20, NULL);
        source_unref(source);
    }
    fake_ring_run(f->ring);
    sink_sync(f->sink);
    while (f->sink->syncing) {
        /* The timer is in flight, too. */
        assert_in_range(fake_ring_in_flight(f->ring), 1, 9);
        assert_true(fake_ring_step(f->ring));
    }
    assert_int_equal(FILES, fake_ring_started(f->ring, OP_FSYNC));
}

static void test_a_file_is_synced_before_it_is_closed_or_rotated(void **state)
{
    struct sink_fixture *f = *state;
    struct source *a = test_source("a"), *b = test_source("b");

    MAKE(f, .path_template = "{container_name}", .sync = true, .open_files_max = 1,
         .rotate_bytes = 300, .rotate_keep = 5);
    test_submit_line(f, a, 1, 20, NULL);
    fake_ring_run(f->ring);
    test_submit_line(f, b, 1, 20, NULL); /* takes the only descriptor */
    fake_ring_run(f->ring);
    assert_int_equal(1, fake_ring_started(f->ring, OP_FSYNC));
    test_submit_line(f, b, 2, 200, NULL); /* into a new file */
    fake_ring_run(f->ring);
    assert_int_equal(2, fake_ring_started(f->ring, OP_FSYNC));
    sink_sync(f->sink);
    fake_ring_run(f->ring);
    assert_int_equal(3, fake_ring_started(f->ring, OP_FSYNC));
    test_submit_line(f, b, 3, 20, NULL);
    close_sink(f);
    assert_int_equal(4, fake_ring_started(f->ring, OP_FSYNC));
    sink_sync(f->sink);
    assert_false(f->sink->syncing);
    source_unref(a);
    source_unref(b);
}

static void test_a_sync_that_fails_is_counted_and_ends(void **state)
{
    struct sink_fixture *f = *state;
    struct source *a = test_source("a");

    MAKE(f, .path_template = "{container_name}", .sync = true);
    test_submit_line(f, a, 1, 20, NULL);
    fake_ring_run(f->ring);
    fake_ring_fail(f->ring, OP_FSYNC, -EIO, 0, 1);
    sink_sync(f->sink);
    fake_ring_run(f->ring);
    assert_false(f->sink->syncing);
    assert_int_equal(1, f->sink->sync_errors);
    assert_int_equal(-EIO, f->sink->sync_error);
    assert_int_equal(0, f->sink->errors);
    source_unref(a);
}

static void test_without_the_option_nothing_is_synced(void **state)
{
    struct sink_fixture *f = *state;
    struct source *a = test_source("a");

    MAKE(f, .path_template = "{container_name}");
    test_submit_line(f, a, 1, 20, NULL);
    fake_ring_run(f->ring);
    sink_sync(f->sink);
    assert_false(f->sink->syncing);
    close_sink(f);
    assert_int_equal(0, fake_ring_started(f->ring, OP_FSYNC));
    source_unref(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_container_has_its_own_file),
        TEST(test_a_sync_covers_each_file_written_to_once),
        TEST(test_many_files_are_synced_a_few_at_once),
        TEST(test_a_file_is_synced_before_it_is_closed_or_rotated),
        TEST(test_a_sync_that_fails_is_counted_and_ends),
        TEST(test_without_the_option_nothing_is_synced),
        TEST(test_a_batch_settles_when_all_of_its_files_have_their_share),
        TEST(test_directories_of_the_template_are_made),
        TEST(test_streams_and_days_part_where_the_template_says_so),
        TEST(test_yesterdays_file_is_closed),
        TEST(test_it_appends_to_what_is_there),
        TEST(test_a_line_torn_by_a_crash_keeps_a_line_to_itself),
        TEST(test_rotation_by_size_splits_no_line_and_keeps_every_byte),
        TEST(test_a_line_larger_than_a_file_gets_a_file_to_itself),
        TEST(test_only_as_many_rotated_files_are_kept_as_asked_for),
        TEST(test_an_interrupted_rotation_is_completed_and_overwrites_nothing),
        TEST(test_while_rotation_fails_the_old_file_grows_on),
        TEST(test_no_name_leaves_the_directory),
        TEST(test_planted_symlinks_are_not_followed),
        TEST(test_planted_symlinks_to_directories_are_not_followed),
        TEST(test_a_directory_that_becomes_a_symlink_is_noticed_before_rotation),
        TEST(test_what_is_not_a_regular_file_is_refused),
        TEST(test_a_full_disk_is_waited_for_and_the_torn_line_goes_on),
        TEST(test_a_torn_line_is_written_whole_when_its_file_is_no_more),
        TEST(test_a_file_that_is_renamed_outside_is_made_anew_within_a_tick),
        TEST(test_a_file_truncated_outside_is_written_on_from_its_new_end),
        TEST(test_no_more_files_are_open_than_allowed),
        TEST(test_the_least_recently_written_file_is_the_one_closed),
        TEST(test_failing_files_keep_no_descriptor_from_the_others),
        {"S18 what gone containers used is given back",
         test_what_gone_containers_used_is_given_back, setup, teardown, NULL},
        TEST(test_any_operation_may_fail_once_and_nothing_is_lost),
        TEST(test_any_operation_may_fail_for_a_while_and_nothing_is_lost),
        TEST(test_close_at_any_moment_writes_everything_out),
        TEST(test_abort_at_any_moment_ends_it_and_counts_what_is_lost),
        TEST(test_an_unused_sink_closes),
        TEST(test_submitting_from_either_callback_is_fine),
        TEST(test_a_bad_directory_or_template_is_refused_with_a_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
