/*
 * Memory that runs out in the middle of everything: each allocation of a run fails in turn, once or
 * from then on for a while, and the output is the same. Linked with malloc, calloc and realloc
 * wrapped.
 */
#include "ringtail/sink/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "support/failing_malloc.h"
#include "support/fake_ring.h"
#include "sink_fixture.h"

enum { SOURCES = 3, BATCHES = 8 };

/** Lines short and long, of several sources; submitted while memory fails. */
static void submit_all(struct sink_fixture *f, struct source **sources, struct buf *expected,
                       bool is_one_file)
{
    for (uint64_t n = 0; n < BATCHES; n++) {
        struct batch *b = test_batch(f);

        for (uint64_t i = 0; i < 2 * SOURCES; i++) {
            size_t which = (n + i) % SOURCES;

            test_line(b, sources[which], n * 10 + i, n == 4 ? 90000 : 40,
                      &expected[is_one_file ? 0 : which]);
        }
        f->records += b->count;
        failing_malloc.counting = true;
        sink_submit(f->sink, b);
        failing_malloc.counting = false;
        (void)batch_unref(b);
        if (n % 3 == 0)
            fake_ring_run(f->ring);
    }
}

static void finish(struct sink_fixture *f)
{
    struct ring *ring = f->ring;

    fake_ring_advance(ring, 6000);
    sink_close(f->sink);
    fake_ring_advance(ring, 6000);
    assert_int_equal(1, f->closed);
    assert_int_equal(0, f->sink->records_lost);
    assert_int_equal(BATCHES, f->settled);
    assert_true(f->sink->errors == 0 || failing_malloc.failed > 0);
}

static void run(unsigned skip, unsigned times, bool is_file)
{
    static const char *const names[] = {"a", "b", "c"};
    struct sink_fixture f;
    struct source *sources[SOURCES];
    struct buf expected[SOURCES] = {0};
    struct ring *ring;
    int fd = -1;

    sink_fixture_open(&f, fake_ring_create());
    for (size_t i = 0; i < SOURCES; i++)
        sources[i] = test_source(names[i]);
    if (is_file) {
        sink_fixture_make_file(
            &f, &(struct sink_file_options){.path_template = "{container_name}/log"});
    } else {
        struct sink_events events = sink_fixture_events(&f);

        fd = open(test_path(&f, "out"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_int_equal(0, sink_stdout_create(f.ring, fd, &events, &f.sink));
    }
    failing_malloc.until_failure = skip;
    failing_malloc.failures = times;
    failing_malloc.failed = 0;
    submit_all(&f, sources, expected, !is_file);
    finish(&f);
    if (is_file) {
        for (size_t i = 0; i < SOURCES; i++)
            test_expect_file(test_path(&f, "%s/log", names[i]), &expected[i]);
    } else {
        test_expect_file(test_path(&f, "out"), &expected[0]);
        assert_int_equal(0, close(fd));
    }
    for (size_t i = 0; i < SOURCES; i++) {
        buf_finish(&expected[i]);
        (void)source_unref(sources[i]);
    }
    ring = f.ring;
    sink_fixture_close(&f);
    fake_ring_destroy(ring);
}

static void run_all(bool is_file)
{
    unsigned skip = 0;

    do {
        run(skip, 1, is_file);
        run(skip, 5, is_file);
        run(skip, 1000, is_file);
        skip++;
    } while (failing_malloc.failed > 0);
    /* It was worth the name: there were allocations to fail. */
    assert_true(skip > 10);
}

static void test_stdout_loses_nothing_when_memory_is_short(void **state)
{
    (void)state;
    run_all(false);
}

static void test_files_lose_nothing_when_memory_is_short(void **state)
{
    (void)state;
    run_all(true);
}

static void test_a_sink_that_cannot_be_made_says_so(void **state)
{
    struct sink_fixture f;
    struct sink_file_options o = {.path_template = "{stream}", .open_files_max = 1};
    struct ring *ring = fake_ring_create();
    int r;

    (void)state;
    sink_fixture_open(&f, ring);
    o.directory = f.dir;
    for (unsigned skip = 0;; skip++) {
        failing_malloc.until_failure = skip;
        failing_malloc.failures = 1;
        failing_malloc.counting = true;
        r = sink_file_create(ring, &o, NULL, &f.sink, NULL, 0);
        failing_malloc.counting = false;
        if (r == 0)
            break;
        assert_int_equal(-ENOMEM, r);
    }
    sink_close(f.sink);
    fake_ring_run(ring);
    f.sink = sink_destroy(f.sink);
    for (unsigned skip = 0;; skip++) {
        failing_malloc.until_failure = skip;
        failing_malloc.failures = 1;
        failing_malloc.counting = true;
        r = sink_stdout_create(ring, 1, NULL, &f.sink);
        failing_malloc.counting = false;
        if (r == 0)
            break;
        assert_int_equal(-ENOMEM, r);
    }
    sink_close(f.sink);
    fake_ring_run(ring);
    f.sink = sink_destroy(f.sink);
    sink_fixture_close(&f);
    fake_ring_destroy(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stdout_loses_nothing_when_memory_is_short),
        cmocka_unit_test(test_files_lose_nothing_when_memory_is_short),
        cmocka_unit_test(test_a_sink_that_cannot_be_made_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
