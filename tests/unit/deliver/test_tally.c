/* The books: every record is in one account, whatever becomes of it. */
#include "ringtail/deliver/tally.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"

static struct source *new_source(char c)
{
    char id[SOURCE_ID_LEN];

    memset(id, c, sizeof id);
    return source_create(slice_of(id, sizeof id), slice_str("name"), slice_str("image"));
}

static uint64_t sum(const struct account *a)
{
    uint64_t n = a->settled + a->queued + a->spooled;

    for (size_t i = 0; i < LOST_REASON_COUNT; i++)
        n += a->lost[i];
    return n;
}

/* Three lines of one container and two of another, in turns. */
static struct batch *five(struct source *a, struct source *b)
{
    struct batch *batch = batch_create(NULL, NULL);

    for (int i = 0; i < 5; i++)
        assert_int_equal(
            0, batch_append(batch, i % 2 ? b : a, RECORD_STDOUT, i, 0, slice_str("line")));
    return batch;
}

static void test_a_batch_is_counted_by_container(void **state)
{
    struct source *a = new_source('a'), *b = new_source('b');
    struct batch *batch = five(a, b);
    struct tallies t;
    struct manifest *m;

    assert_int_equal(0, tallies_init(&t, 2));
    m = manifest_create(&t, batch);
    assert_int_equal(5, m->records);
    assert_int_equal(2, m->count);
    assert_int_equal(3, m->of[0].records);
    assert_int_equal(2, m->of[1].records);
    tallies_move(&t, 1, m, ACCOUNT_NONE, ACCOUNT_QUEUED);
    assert_int_equal(5, t.total[1].queued);
    assert_int_equal(0, t.total[0].queued);
    assert_int_equal(3, m->of[0].tally->of[1].queued);
    tallies_settle(&t, 1, m, 0);
    assert_int_equal(2, m->of[1].tally->of[1].settled);
    assert_int_equal(5, sum(&t.total[1]));
    m = manifest_unref(&t, m);
    assert_null(m);
    assert_int_equal(0, t.table.count); /* nobody holds them */
    tallies_finish(&t);
    (void)batch_unref(batch);
    (void)source_unref(a);
    (void)source_unref(b);
}

static void test_what_is_lost_of_a_batch_does_not_settle_with_it(void **state)
{
    struct source *a = new_source('a'), *b = new_source('b');
    struct batch *batch = five(a, b);
    struct tally *held;
    struct manifest *m;
    struct tallies t;

    assert_int_equal(0, tallies_init(&t, 1));
    held = tallies_get(&t, a->id);
    m = manifest_create(&t, batch);
    tallies_move(&t, 0, m, ACCOUNT_NONE, ACCOUNT_QUEUED);
    tallies_lose(&t, 0, a, 2, LOST_REFUSED);
    assert_int_equal(1, held->of[0].queued);
    assert_int_equal(5, sum(&t.total[0]));
    tallies_settle(&t, 0, m, 0);
    assert_int_equal(2, held->of[0].lost[LOST_REFUSED]);
    assert_int_equal(1, held->of[0].settled);
    assert_int_equal(3, t.total[0].settled);
    assert_int_equal(0, t.total[0].queued);
    (void)manifest_unref(&t, m);
    assert_int_equal(1, t.table.count);
    (void)tallies_release(&t, held);
    tallies_finish(&t);
    (void)batch_unref(batch);
    (void)source_unref(a);
    (void)source_unref(b);
}

static void test_a_container_that_is_gone_waits_for_what_is_on_disk(void **state)
{
    struct source *a = new_source('a'), *b = new_source('b');
    struct batch *batch = five(a, b);
    struct manifest *m;
    struct tallies t;

    assert_int_equal(0, tallies_init(&t, 1));
    m = manifest_create(&t, batch);
    tallies_move(&t, 0, m, ACCOUNT_NONE, ACCOUNT_QUEUED);
    tallies_move(&t, 0, m, ACCOUNT_QUEUED, ACCOUNT_SPOOLED);
    (void)manifest_unref(&t, m);
    assert_int_equal(2, t.table.count);
    /* Of what was read back, one batch was damaged. */
    tallies_close_spooled(&t, 0, LOST_DAMAGED);
    assert_int_equal(0, t.table.count);
    assert_int_equal(5, t.total[0].lost[LOST_DAMAGED]);
    tallies_finish(&t);
    (void)batch_unref(batch);
    (void)source_unref(a);
    (void)source_unref(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_batch_is_counted_by_container),
        cmocka_unit_test(test_what_is_lost_of_a_batch_does_not_settle_with_it),
        cmocka_unit_test(test_a_container_that_is_gone_waits_for_what_is_on_disk),
    };

    return cmocka_run_group_tests_name("tally", tests, NULL, NULL);
}
