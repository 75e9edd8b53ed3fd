/* Batches: bytes kept as they were, sources counted once, one settlement. */
#include "ringtail/record/batch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct settled {
    unsigned calls;
    uint64_t serial;
    size_t count;
};

static void on_settled(void *ctx, struct batch *b)
{
    struct settled *s = ctx;

    s->calls++;
    s->serial = b->serial;
    s->count = b->count;
    /* All is still there to be looked at. */
    for (size_t i = 0; i < b->count; i++)
        assert_true(b->records[i].source->refs > 0);
}

static struct source *new_source(int n)
{
    char name[32];

    (void)snprintf(name, sizeof name, "container-%d", n);
    return source_create(slice_str("00"), slice_str(name), slice_str("image"));
}

/** The byte at `at` of line `n`: no two lines look alike. */
static char pattern(size_t n, size_t at)
{
    return (char)(n * 31 + at * 7 + (n >> 5) + (at >> 8));
}

static void append_pattern(struct batch *b, struct source *s, size_t n, size_t len)
{
    char *line = malloc(len + 1);

    assert_non_null(line);
    for (size_t i = 0; i < len; i++)
        line[i] = pattern(n, i);
    assert_int_equal(0, batch_append(b, s, n % 2 ? RECORD_STDERR : RECORD_STDOUT, (int64_t)n,
                                     n % 3 ? 0 : RECORD_PARTIAL, slice_of(line, len)));
    free(line);
}

static void check_pattern(const struct batch *b, size_t index, size_t n, size_t len)
{
    const struct record *r = &b->records[index];

    assert_int_equal(len, r->len);
    assert_int_equal((int64_t)n, r->ts_ns);
    assert_int_equal(n % 2 ? RECORD_STDERR : RECORD_STDOUT, r->stream);
    assert_int_equal(n % 3 ? 0 : RECORD_PARTIAL, r->flags);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(pattern(n, i), r->data[i]);
}

static void test_lines_of_all_lengths_stay_as_they_were_and_in_order(void **state)
{
    static const size_t lens[] = {0, 1, 100, 5000, 8192, 16383, 16384, 65536, 65537, 300000, 17};
    struct source *s = new_source(1);
    struct batch *b = batch_create(NULL, NULL);
    size_t bytes = 0, lines = 0;

    (void)state;
    assert_non_null(b);
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
            append_pattern(b, s, lines++, lens[i]);
            bytes += lens[i];
        }
        for (size_t i = 0; i < 500; i++) {
            append_pattern(b, s, lines++, i);
            bytes += i;
        }
    }
    assert_int_equal(lines, b->count);
    assert_int_equal(bytes, b->bytes);
    assert_true(b->memory_bytes > bytes);
    lines = 0;
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++, lines++)
            check_pattern(b, lines, lines, lens[i]);
        for (size_t i = 0; i < 500; i++, lines++)
            check_pattern(b, lines, lines, i);
    }
    (void)batch_unref(b);
    (void)source_unref(s);
}

static void test_a_line_may_hold_any_bytes(void **state)
{
    struct source *s = new_source(1);
    struct batch *b = batch_create(NULL, NULL);
    char all[256];

    (void)state;
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (char)i;
    assert_int_equal(0, batch_append(b, s, RECORD_STDOUT, 1, 0, slice_of(all, sizeof all)));
    memset(all, 'x', sizeof all);
    for (size_t i = 0; i < sizeof all; i++)
        assert_int_equal((char)i, b->records[0].data[i]);
    (void)batch_unref(b);
    (void)source_unref(s);
}

static void test_it_settles_once_with_the_last_reference(void **state)
{
    struct settled settled = {0};
    struct source *s = new_source(1);
    struct batch *b = batch_create(on_settled, &settled);
    uint64_t serial = b->serial;

    (void)state;
    append_pattern(b, s, 1, 10);
    assert_ptr_equal(b, batch_ref(b));
    assert_null(batch_unref(b));
    assert_int_equal(0, settled.calls);
    assert_null(batch_unref(b));
    assert_int_equal(1, settled.calls);
    assert_int_equal(serial, settled.serial);
    assert_int_equal(1, settled.count);
    assert_null(batch_unref(NULL));
    (void)source_unref(s);
}

static void test_a_share_settles_by_itself_and_holds_the_records(void **state)
{
    struct settled whole = {0}, first = {0}, second = {0};
    struct source *s = new_source(1);
    struct batch *b = batch_create(on_settled, &whole), *shares[2];

    for (size_t i = 0; i < 10; i++)
        append_pattern(b, s, i, 100);
    shares[0] = batch_share(b, on_settled, &first);
    shares[1] = batch_share(b, on_settled, &second);
    (void)batch_unref(b);
    (void)batch_ref(shares[0]);
    (void)batch_unref(shares[0]);
    assert_int_equal(0, first.calls);
    (void)batch_unref(shares[0]);
    assert_int_equal(1, first.calls);
    assert_int_equal(10, first.count);
    assert_int_equal(0, whole.calls);
    assert_int_equal(10, shares[1]->count);
    check_pattern(shares[1], 9, 9, 100);
    (void)batch_unref(shares[1]);
    assert_int_equal(1, second.calls);
    assert_int_equal(1, whole.calls);
    assert_int_equal(whole.serial, second.serial);
    assert_int_equal(1, s->refs);
    (void)source_unref(s);
}

static void test_serials_rise_by_one(void **state)
{
    struct batch *a = batch_create(NULL, NULL), *b = batch_create(NULL, NULL), *c;
    uint64_t serial = a->serial;

    (void)state;
    assert_true(serial > 0);
    assert_int_equal(serial + 1, b->serial);
    (void)batch_unref(a);
    (void)batch_unref(b);
    c = batch_create(NULL, NULL);
    assert_int_equal(serial + 2, c->serial);
    (void)batch_unref(c);
}

static void test_each_source_is_held_once_and_let_go_at_the_end(void **state)
{
    enum { SOURCES = 100 };
    struct source *sources[SOURCES];
    struct batch *b = batch_create(NULL, NULL);

    (void)state;
    for (int i = 0; i < SOURCES; i++)
        sources[i] = new_source(i);
    for (size_t n = 0; n < 10 * SOURCES; n++)
        append_pattern(b, sources[n * 7 % SOURCES], n, 20);
    assert_int_equal(SOURCES, b->sources_count);
    for (int i = 0; i < SOURCES; i++)
        assert_int_equal(2, sources[i]->refs);
    for (size_t n = 0; n < 10 * SOURCES; n++)
        assert_ptr_equal(sources[n * 7 % SOURCES], b->records[n].source);
    (void)batch_unref(b);
    for (int i = 0; i < SOURCES; i++) {
        assert_int_equal(1, sources[i]->refs);
        (void)source_unref(sources[i]);
    }
}

static void test_two_batches_that_fill_in_turns_hold_each_source_once(void **state)
{
    struct source *s = new_source(1), *t = new_source(2);
    struct batch *a = batch_create(NULL, NULL), *b = batch_create(NULL, NULL);

    (void)state;
    for (size_t n = 0; n < 50; n++) {
        append_pattern(n % 2 ? a : b, s, n, 5);
        append_pattern(n % 3 ? a : b, t, n, 5);
    }
    assert_int_equal(2, a->sources_count);
    assert_int_equal(2, b->sources_count);
    assert_int_equal(3, s->refs);
    assert_int_equal(3, t->refs);
    (void)batch_unref(a);
    (void)batch_unref(b);
    (void)source_unref(s);
    (void)source_unref(t);
}

static void test_an_adopted_block_is_not_copied_and_freed_with_the_batch(void **state)
{
    struct source *s = new_source(1);
    struct batch *b = batch_create(NULL, NULL);
    size_t memory = b->memory_bytes;
    char *heap = malloc(100000);

    (void)state;
    memset(heap, 'h', 100000);
    append_pattern(b, s, 0, 10);
    assert_int_equal(0, batch_adopt(b, s, RECORD_STDERR, 7, RECORD_PARTIAL | RECORD_TRUNCATED, heap,
                                    90000, 100000));
    append_pattern(b, s, 2, 10);
    assert_ptr_equal(heap, b->records[1].data);
    assert_int_equal(90000, b->records[1].len);
    assert_int_equal(RECORD_PARTIAL | RECORD_TRUNCATED, b->records[1].flags);
    assert_true(b->memory_bytes >= memory + 100000);
    assert_int_equal(90020, b->bytes);
    check_pattern(b, 0, 0, 10);
    check_pattern(b, 2, 2, 10);
    (void)batch_unref(b);
    (void)source_unref(s);
}

static void test_batches_made_of_kept_memory_are_like_new(void **state)
{
    struct source *s = new_source(1);

    (void)state;
    for (size_t round = 0; round < 50; round++) {
        struct batch *live[12];

        for (size_t i = 0; i < 12; i++) {
            live[i] = batch_create(NULL, NULL);
            assert_int_equal(0, live[i]->count);
            assert_int_equal(0, live[i]->bytes);
            assert_int_equal(0, live[i]->sources_count);
            for (size_t n = 0; n < 20 * i; n++)
                append_pattern(live[i], s, n + i, 1000);
        }
        for (size_t i = 0; i < 12; i++) {
            for (size_t n = 0; n < 20 * i; n++)
                check_pattern(live[i], n, n + i, 1000);
        }
        for (size_t i = 0; i < 12; i++)
            (void)batch_unref(live[(i * 5 + round) % 12]);
        assert_int_equal(1, s->refs);
    }
    batch_free_kept();
    (void)source_unref(s);
}

static int free_kept(void **state)
{
    (void)state;
    batch_free_kept();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_of_all_lengths_stay_as_they_were_and_in_order),
        cmocka_unit_test(test_a_line_may_hold_any_bytes),
        cmocka_unit_test(test_it_settles_once_with_the_last_reference),
        cmocka_unit_test(test_a_share_settles_by_itself_and_holds_the_records),
        cmocka_unit_test(test_serials_rise_by_one),
        cmocka_unit_test(test_each_source_is_held_once_and_let_go_at_the_end),
        cmocka_unit_test(test_two_batches_that_fill_in_turns_hold_each_source_once),
        cmocka_unit_test(test_an_adopted_block_is_not_copied_and_freed_with_the_batch),
        cmocka_unit_test(test_batches_made_of_kept_memory_are_like_new),
    };

    return cmocka_run_group_tests(tests, NULL, free_kept);
}
