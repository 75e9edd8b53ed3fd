/*
 * Memory that runs out in the middle of everything: each allocation of a run fails in turn, once or
 * a few times, and nothing is lost, done too early, or leaked. Linked with malloc, calloc and
 * realloc wrapped.
 */
#include "ringtail/spool/spool.h"

#include <errno.h>
#include <stdlib.h>

#include "support/failing_malloc.h"
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

static struct batch *make_batch(struct spool_fixture *f, size_t len)
{
    struct batch *b = batch_create(NULL, NULL);
    char *line = calloc(1, len);

    assert_non_null(b);
    assert_non_null(line);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(0, batch_append(b, f->sources[i % TEST_SOURCES], RECORD_STDOUT, 1, 0,
                                         slice_of(line, len)));
    free(line);
    return b;
}

struct appended {
    struct spool_append append;
    struct spool_fixture *f;
};

static void on_appended(struct spool_append *a)
{
    assert_int_equal(0, a->error);
    container_of(a, struct appended, append)->f->done++;
}

static void on_read(struct spool_read *r, int res)
{
    struct spool_fixture *f = container_of(r, struct spool_fixture, read);

    f->read_came = true;
    f->read_res = res;
}

/** Opens, appends, reads and closes; what fails for want of memory is tried again. */
static void live(struct spool_fixture *f, size_t count)
{
    struct appended appends[8] = {0};
    struct batch *batches[8];
    struct spool_place place;
    struct spool_cursor *c;
    size_t came = 0;

    for (size_t i = 0; i < count; i++)
        batches[i] = make_batch(f, i == 3 ? 100000 : 100);
    failing_malloc.counting = true;
    while (spool_open(f->ring, &f->options, &f->spool, f->why, sizeof f->why) == -ENOMEM) {
    }
    assert_non_null(f->spool);
    while (!(c = spool_cursor_get(f->spool, "a"))) {
    }
    if (spool_is_nothing(spool_cursor_place(c)))
        spool_cursor_set(c, spool_end(f->spool));
    place = spool_cursor_place(c);
    assert_int_equal(0, spool_end(f->spool).record - place.record);
    for (size_t i = 0; i < count; i++) {
        int r;

        appends[i] = (struct appended){.append.done = on_appended, .f = f};
        while ((r = spool_append_batch(f->spool, &appends[i].append, batches[i], UINT16_MAX)) ==
               -ENOMEM) {
        }
        assert_int_equal(0, r);
        f->appends++;
    }
    f->run(f, is_all_done);
    for (;;) {
        f->read = (struct spool_read){.done = on_read};
        f->read_came = false;
        spool_read_from(f->spool, &f->read, c, place, 20000);
        fake_ring_run(f->ring);
        assert_true(f->read_came);
        if (f->read_res == -ENODATA)
            break;
        assert_true(f->read_res == 0 || f->read_res == -ENOMEM);
        assert_int_equal(0, f->read.skipped);
        came += f->read.batch ? f->read.batch->count : 0;
        (void)batch_unref(f->read.batch);
        assert_true(f->read_res == 0 || f->read.end.at == place.at);
        place = f->read.end;
    }
    assert_int_equal(10 * count, came);
    spool_cursor_set(c, place);
    test_stop(f);
    failing_malloc.counting = false;
    for (size_t i = 0; i < count; i++)
        (void)batch_unref(batches[i]);
}

static void test_no_allocation_that_fails_costs_anything(void **state)
{
    (void)state;
    for (unsigned times = 1; times <= 3; times += 2) {
        for (unsigned skip = 0;; skip++) {
            struct spool_fixture f;

            spool_fixture_open(&f, fake_ring_create());
            f.run = run_fake;
            f.options.segment_bytes = 4096;
            failing_malloc.until_failure = skip;
            failing_malloc.failures = times;
            failing_malloc.failed = 0;
            live(&f, 6);
            live(&f, 2);
            spool_fixture_close(&f);
            fake_ring_destroy(f.ring);
            batch_free_kept();
            if (failing_malloc.failed == 0)
                break;
            assert_true(skip < 1000);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_allocation_that_fails_costs_anything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
