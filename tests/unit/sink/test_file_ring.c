/* Both sinks on the kernel's own ring: what the fake one cannot know. Exits 77 where there is none.
 */
#include "ringtail/sink/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sink_fixture.h"

static struct ring_options ring_options = {
    .entries = 64, .sockets_max = 16, .buffers_count = 4, .buffer_bytes = 4096};

static int setup(void **state)
{
    struct sink_fixture *f = calloc(1, sizeof *f);
    struct ring_refusal refusal = {0};
    struct ring *ring;

    assert_non_null(f);
    if (ring_create(&ring_options, &ring, &refusal) < 0)
        fail_msg("%s", refusal.reason);
    sink_fixture_open(f, ring);
    *state = f;
    return 0;
}

struct until {
    struct sink_fixture *f;
    bool (*is_reached)(const struct sink_fixture *f);
};

static void stop_when_reached(void *ctx)
{
    const struct until *u = ctx;

    if (u->is_reached(u->f))
        ring_stop(u->f->ring);
}

static void run_until(struct sink_fixture *f, bool (*is_reached)(const struct sink_fixture *f))
{
    struct until u = {f, is_reached};

    if (!is_reached(f))
        assert_int_equal(0, ring_run(f->ring, stop_when_reached, &u));
}

static bool is_all_settled(const struct sink_fixture *f)
{
    return f->settled == f->batches;
}

static bool is_one_settled(const struct sink_fixture *f)
{
    return f->settled > 0;
}

static bool is_closed(const struct sink_fixture *f)
{
    return f->closed > 0;
}

static bool is_failing(const struct sink_fixture *f)
{
    return f->sink->last_error != 0;
}

static void close_sink(struct sink_fixture *f)
{
    sink_close(f->sink);
    assert_int_equal(0, f->closed);
    run_until(f, is_closed);
}

static int teardown(void **state)
{
    struct sink_fixture *f = *state;
    struct ring *ring = f->ring;

    if (f->sink && !f->closed)
        close_sink(f);
    sink_fixture_close(f);
    assert_null(ring_destroy(ring));
    free(f);
    return 0;
}

#define MAKE(f, ...) sink_fixture_make_file((f), &(struct sink_file_options){__VA_ARGS__})

static void test_rotation_by_size_splits_no_line_and_keeps_every_byte(void **state)
{
    struct sink_fixture *f = *state;
    enum { SOURCES = 5 };
    struct source *sources[SOURCES];
    struct buf expected[SOURCES] = {0};
    char name[32];

    MAKE(f, .path_template = "{container_name}/{container_id_short}.log", .rotate_bytes = 100000,
         .rotate_keep = 1000, .open_files_max = 3);
    for (size_t i = 0; i < SOURCES; i++) {
        (void)snprintf(name, sizeof name, "c%zu", i);
        sources[i] = test_source(name);
    }
    for (uint64_t n = 0; n < 100; n++) {
        struct batch *b = test_batch(f);

        for (uint64_t i = 0; i < 300; i++) {
            size_t which = (n + i) % SOURCES;

            test_line(b, sources[which], n * 1000 + i, n == 50 ? 20000 : 20 + i, &expected[which]);
        }
        test_submit(f, b);
        if (n % 10 == 0)
            run_until(f, is_all_settled);
    }
    run_until(f, is_all_settled);
    assert_int_equal(f->records, f->sink->records_settled);
    close_sink(f);
    assert_int_equal(0, f->sink->errors);
    for (size_t i = 0; i < SOURCES; i++) {
        unsigned files = test_expect_rotated(test_path(f, "c%zu/%.12s.log", i, sources[i]->id.data),
                                             &expected[i], 100000);

        assert_true(files > 10);
        buf_finish(&expected[i]);
        (void)source_unref(sources[i]);
    }
}

static void test_planted_symlinks_are_not_followed(void **state)
{
    struct sink_fixture *f = *state;
    struct source *file = test_source("file"), *dir = test_source("dir");
    struct buf files = {0}, dirs = {0}, victim = {0};
    char logs[256];

    (void)snprintf(logs, sizeof logs, "%s", test_path(f, "logs"));
    assert_int_equal(0, mkdir(logs, 0700));
    assert_int_equal(0, mkdir(test_path(f, "outside"), 0700));
    assert_int_equal(0, mkdir(test_path(f, "logs/file"), 0700));
    test_write_file(test_path(f, "outside/log"), "untouched\n");
    assert_int_equal(0, symlink("../../outside/log", test_path(f, "logs/file/log")));
    assert_int_equal(0, symlink("../outside", test_path(f, "logs/dir")));
    MAKE(f, .directory = logs, .path_template = "{container_name}/log", .retry_ms = 5);

    test_submit_line(f, file, 1, 100, &files);
    run_until(f, is_failing);
    assert_int_equal(-ELOOP, f->sink->last_error);
    test_submit_line(f, dir, 2, 100, &dirs);
    f->sink->last_error = 0;
    run_until(f, is_failing);
    assert_int_equal(-ELOOP, f->sink->last_error);
    assert_int_equal(0, f->settled);
    assert_int_equal(0, buf_append_str(&victim, "untouched\n"));
    test_expect_file(test_path(f, "outside/log"), &victim);

    assert_int_equal(0, unlink(test_path(f, "logs/file/log")));
    assert_int_equal(0, unlink(test_path(f, "logs/dir")));
    run_until(f, is_all_settled);
    test_expect_file(test_path(f, "logs/file/log"), &files);
    test_expect_file(test_path(f, "logs/dir/log"), &dirs);
    test_expect_file(test_path(f, "outside/log"), &victim);
    buf_finish(&files);
    buf_finish(&dirs);
    buf_finish(&victim);
    (void)source_unref(file);
    (void)source_unref(dir);
}

static void test_a_planted_fifo_blocks_nothing(void **state)
{
    struct sink_fixture *f = *state;
    struct source *fifo = test_source("fifo"), *good = test_source("good");
    struct buf fifos = {0}, goods = {0};

    assert_int_equal(0, mkfifo(test_path(f, "fifo.ndjson"), 0600));
    MAKE(f, .retry_ms = 5, .open_files_max = 1);
    test_submit_line(f, fifo, 1, 100, &fifos);
    run_until(f, is_failing);
    assert_int_equal(-ENOTSUP, f->sink->last_error);
    test_submit_line(f, good, 2, 100, &goods);
    run_until(f, is_one_settled);
    test_expect_file(test_path(f, "good.ndjson"), &goods);
    assert_int_equal(0, unlink(test_path(f, "fifo.ndjson")));
    run_until(f, is_all_settled);
    test_expect_file(test_path(f, "fifo.ndjson"), &fifos);
    buf_finish(&fifos);
    buf_finish(&goods);
    (void)source_unref(fifo);
    (void)source_unref(good);
}

static void test_a_full_disk_is_waited_for_and_the_output_is_whole(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");
    struct buf expected = {0};
    char disk[256], filler[256];
    int fd;

    (void)snprintf(disk, sizeof disk, "%s", test_path(f, "disk"));
    assert_int_equal(0, mkdir(disk, 0700));
    if (mount("tmpfs", disk, "tmpfs", 0, "size=1m") < 0) {
        print_message("no file system of our own: %s\n", strerror(errno));
        (void)source_unref(s);
        skip();
    }
    (void)snprintf(filler, sizeof filler, "%s", test_path(f, "disk/filler"));
    fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(0, posix_fallocate(fd, 0, 900 * 1024));
    assert_int_equal(0, close(fd));

    MAKE(f, .directory = disk, .retry_ms = 5, .rotate_bytes = 200000, .rotate_keep = 10);
    for (uint64_t n = 0; n < 1000; n++)
        test_submit_line(f, s, n, 300, &expected);
    run_until(f, is_failing);
    assert_int_equal(-ENOSPC, f->sink->last_error);
    assert_false(is_all_settled(f));
    assert_true(f->settled > 0);
    assert_int_equal(0, unlink(filler));
    run_until(f, is_all_settled);
    assert_int_equal(0, f->sink->last_error);
    assert_int_equal(0, f->sink->records_lost);
    close_sink(f);
    (void)test_expect_rotated(test_path(f, "disk/web.ndjson"), &expected, 200000);
    f->sink = sink_destroy(f->sink);
    assert_int_equal(0, umount(disk));
    buf_finish(&expected);
    (void)source_unref(s);
}

static void test_a_file_that_is_renamed_outside_is_made_anew(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web"), *other = test_source("other");
    struct buf first = {0}, second = {0};
    char from[256];

    /* With one descriptor for two files each write opens anew, which looks at the path too. */
    MAKE(f, .open_files_max = 1);
    test_submit_line(f, s, 1, 100, &first);
    run_until(f, is_all_settled);
    (void)snprintf(from, sizeof from, "%s", test_path(f, "web.ndjson"));
    assert_int_equal(0, rename(from, test_path(f, "moved")));
    test_submit_line(f, other, 1, 100, NULL);
    run_until(f, is_all_settled);
    test_submit_line(f, s, 2, 100, &second);
    run_until(f, is_all_settled);
    test_expect_file(test_path(f, "moved"), &first);
    test_expect_file(from, &second);
    buf_finish(&first);
    buf_finish(&second);
    (void)source_unref(s);
    (void)source_unref(other);
}

static void test_abort_at_any_moment_ends_it(void **state)
{
    struct sink_fixture *f = *state;

    for (unsigned round = 0; round < 20; round++) {
        struct source *s = test_source("web");

        f->batches = f->settled = 0;
        MAKE(f, .path_template = "a/{container_name}", .rotate_bytes = 3000, .rotate_keep = 3);
        for (uint64_t n = 0; n < 20 * round; n++)
            test_submit_line(f, s, n, 300, NULL);
        if (round % 2)
            run_until(f, is_one_settled);
        if (round % 3)
            sink_close(f->sink);
        sink_abort(f->sink);
        run_until(f, is_closed);
        assert_int_equal(f->records, f->sink->records_settled + f->sink->records_lost);
        assert_true(is_all_settled(f));
        f->sink = sink_destroy(f->sink);
        f->closed = 0;
        f->records = 0;
        (void)source_unref(s);
    }
}

static bool is_a_pipe_full(const struct sink_fixture *f)
{
    return f->sink->bytes_written > 0;
}

static void test_stdout_into_a_pipe_is_whole_and_abort_ends_a_stalled_one(void **state)
{
    struct sink_fixture *f = *state;
    struct sink_events events = sink_fixture_events(f);
    struct source *s = test_source("web");
    struct buf expected = {0}, got = {0};
    int ends[2];

    assert_int_equal(0, pipe2(ends, O_CLOEXEC));
    assert_int_equal(0, sink_stdout_create(f->ring, ends[1], &events, &f->sink));
    for (uint64_t n = 0; n < 2000; n++)
        test_submit_line(f, s, n, 100, &expected);
    assert_int_equal(0, fcntl(ends[0], F_SETFL, O_NONBLOCK));
    while (f->sink->queued_bytes > 0) {
        uint64_t before = f->sink->bytes_written;
        ssize_t n;

        f->sink->bytes_written = 0;
        run_until(f, is_a_pipe_full);
        f->sink->bytes_written += before;
        do {
            assert_int_equal(0, buf_reserve(&got, 65536));
            n = read(ends[0], got.data + got.len, 65536);
            got.len += n > 0 ? (size_t)n : 0;
        } while (n > 0);
    }
    assert_true(is_all_settled(f));
    assert_int_equal(expected.len, got.len);
    assert_memory_equal(expected.data, got.data, expected.len);
    /* Nobody reads any more. */
    for (uint64_t n = 0; n < 2000; n++)
        test_submit_line(f, s, n, 100, NULL);
    sink_close(f->sink);
    sink_abort(f->sink);
    run_until(f, is_closed);
    assert_true(f->sink->records_lost > 0);
    (void)close(ends[0]);
    (void)close(ends[1]);
    buf_finish(&expected);
    buf_finish(&got);
    (void)source_unref(s);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rotation_by_size_splits_no_line_and_keeps_every_byte),
        TEST(test_planted_symlinks_are_not_followed),
        TEST(test_a_planted_fifo_blocks_nothing),
        TEST(test_a_full_disk_is_waited_for_and_the_output_is_whole),
        TEST(test_a_file_that_is_renamed_outside_is_made_anew),
        TEST(test_abort_at_any_moment_ends_it),
        TEST(test_stdout_into_a_pipe_is_whole_and_abort_ends_a_stalled_one),
    };
    const char *backend = getenv("RINGTAIL_TEST_BACKEND");
    struct ring_refusal refusal = {0};
    struct ring *ring;

    if (backend && strcmp(backend, "epoll") == 0)
        ring_options.backend = RING_BACKEND_EPOLL;
    if (ring_create(&ring_options, &ring, &refusal) < 0) {
        printf("no ring here: %s\n", refusal.reason);
        return 77;
    }
    (void)ring_destroy(ring);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
