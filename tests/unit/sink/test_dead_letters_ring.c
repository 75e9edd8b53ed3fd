/* The dead letters on the kernel's own ring: what the fake one cannot know. Exits 77 where there is
 * none. */
#include "ringtail/sink/dead_letters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"
#include "sink_fixture.h"

enum { LETTERS = 40 };

static struct ring *ring;
static size_t done;
static bool closed;

static void letter_done(struct dead_letter *letter, int res)
{
    (void)letter;
    assert_int_equal(0, res);
    done++;
}

static void on_closed(void *ctx)
{
    (void)ctx;
    closed = true;
}

static void stop_at_the_end(void *ctx)
{
    (void)ctx;
    if (closed)
        ring_stop(ring);
}

static int expect_next(void *ctx, const struct dead_letter_line *line)
{
    uint64_t *next = ctx;

    assert_int_equal((*next)++, strtoull(line->line.data + 5, NULL, 10));
    return 0;
}

static void test_letters_are_written_and_their_file_is_rotated(void **state)
{
    struct sink_fixture f;
    struct source *source = test_source("web");
    struct dead_letter letters[LETTERS] = {0};
    struct dead_letters *d;
    struct dead_letters_found found;
    struct batch *batch;
    uint64_t next = 0;

    (void)state;
    sink_fixture_open(&f, ring);
    batch = test_batch(&f);
    for (uint64_t n = 0; n < LETTERS; n++)
        test_line(batch, source, n, 100, NULL);
    assert_int_equal(0, dead_letters_create(ring,
                                            &(struct dead_letters_options){
                                                .path = test_path(&f, "dead/letters"),
                                                .bytes_max = 2000,
                                                .keep = 100,
                                                .retry_ms = 100,
                                            },
                                            &d));
    for (size_t n = 0; n < LETTERS; n++) {
        letters[n] = (struct dead_letter){
            .record = &batch->records[n], .sink = "far", .reason = "", .done = letter_done};
        dead_letters_add(d, &letters[n]);
    }
    dead_letters_close(d, on_closed, NULL);
    assert_int_equal(0, ring_run(ring, stop_at_the_end, NULL));
    assert_int_equal(LETTERS, done);
    assert_int_equal(0, dead_letters_stats(d)->errors);
    assert_true(dead_letters_stats(d)->rotated > 3);
    assert_int_equal(
        0, dead_letters_read(test_path(&f, "dead/letters"), 100, expect_next, &next, &found));
    assert_int_equal(LETTERS, found.lines);
    assert_int_equal(dead_letters_stats(d)->rotated + 1, found.files);
    assert_int_equal(0, found.damaged);
    (void)dead_letters_destroy(d);
    (void)batch_unref(batch);
    (void)source_unref(source);
    sink_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_letters_are_written_and_their_file_is_rotated),
    };
    const struct ring_options options = {
        .entries = 64, .sockets_max = 16, .buffers_count = 4, .buffer_bytes = 4096};
    struct ring_refusal refusal = {0};
    int failed;

    if (ring_create(&options, &ring, &refusal) < 0) {
        printf("skipped: %s\n", refusal.reason);
        return 77;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)ring_destroy(ring);
    return failed;
}
