/* Lines that the output holds already: each is taken out once, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"
#include "ringtail/record/written.h"

#define OUTPUT UINT64_C(0x9e3779b97f4a7c15)
#define OTHER UINT64_C(0xd1b54a32d192ed03)

static struct line line_at(enum record_stream stream, int64_t ts_ns, const char *text)
{
    return (struct line){.stream = stream, .ts_ns = ts_ns, .bytes = slice_str(text)};
}

static unsigned take_of(struct written *w, const uint64_t *outputs, size_t count,
                        const struct line *line)
{
    unsigned found = written_find(w, outputs, count, line);

    written_take(w, outputs, found, line);
    return found;
}

static bool take(struct written *w, enum record_stream stream, int64_t ts_ns, const char *text)
{
    struct line line = line_at(stream, ts_ns, text);

    return take_of(w, (const uint64_t[]){OUTPUT}, 1, &line) != 0;
}

static void add(struct written *w, enum record_stream stream, int64_t ts_ns, const char *text)
{
    assert_int_equal(0, written_add(w, OUTPUT, stream, ts_ns, slice_str(text)));
}

static void test_nothing_is_taken_from_an_empty_set(void **state)
{
    struct written w = {0};

    assert_true(written_is_empty(&w));
    assert_false(take(&w, RECORD_STDOUT, 1, "a"));
}

static void test_a_line_that_was_only_found_is_found_again(void **state)
{
    struct line line = line_at(RECORD_STDERR, 1, "a");
    struct written w = {0};

    add(&w, RECORD_STDERR, 1, "a");
    assert_int_equal(1, written_find(&w, (const uint64_t[]){OUTPUT}, 1, &line));
    assert_true(take(&w, RECORD_STDERR, 1, "a"));
    assert_true(written_is_empty(&w));
}

static void test_equal_lines_count_each(void **state)
{
    struct written w = {0};

    add(&w, RECORD_STDOUT, 1, "a");
    add(&w, RECORD_STDOUT, 1, "a");
    assert_true(take(&w, RECORD_STDOUT, 1, "a"));
    assert_false(written_is_empty(&w));
    assert_true(take(&w, RECORD_STDOUT, 1, "a"));
    assert_true(written_is_empty(&w));
    assert_false(take(&w, RECORD_STDOUT, 1, "a"));
}

static void test_stream_time_and_text_all_tell_lines_apart(void **state)
{
    struct written w = {0};

    add(&w, RECORD_STDOUT, 5, "a");
    assert_false(take(&w, RECORD_STDERR, 5, "a"));
    assert_false(take(&w, RECORD_STDOUT, 4, "a"));
    assert_false(take(&w, RECORD_STDOUT, 5, "b"));
    assert_false(take(&w, RECORD_STDOUT, 5, ""));
    assert_true(take(&w, RECORD_STDOUT, 5, "a"));
}

static void test_a_line_that_is_younger_than_all_ends_its_stream(void **state)
{
    struct written w = {0};

    add(&w, RECORD_STDOUT, 1, "dropped by the Engine");
    add(&w, RECORD_STDERR, 1, "still to come");
    assert_false(take(&w, RECORD_STDOUT, 2, "new"));
    assert_int_equal(0, w.of[0].count);
    assert_null(w.of[0].fingerprints);
    assert_true(take(&w, RECORD_STDERR, 1, "still to come"));
}

static void test_each_output_has_lines_of_its_own(void **state)
{
    static const uint64_t outputs[] = {OUTPUT, OTHER}, swapped[] = {OTHER, OUTPUT};
    struct line a = line_at(RECORD_STDOUT, 1, "a"), b = line_at(RECORD_STDOUT, 2, "b");
    struct written w = {0};

    add(&w, RECORD_STDOUT, 1, "a");
    add(&w, RECORD_STDOUT, 1, "a");
    add(&w, RECORD_STDOUT, 2, "b");
    assert_int_equal(0, written_add(&w, OTHER, RECORD_STDOUT, 1, slice_str("a")));
    assert_int_equal(3, take_of(&w, outputs, 2, &a));
    assert_int_equal(1, take_of(&w, outputs, 2, &a));
    assert_int_equal(0, take_of(&w, outputs, 2, &a));
    assert_int_equal(0, take_of(&w, outputs + 1, 1, &b));
    assert_int_equal(2, take_of(&w, swapped, 2, &b));
    assert_true(written_is_empty(&w));
}

static void test_many_lines_are_all_found_in_any_order(void **state)
{
    enum { LINES = 20000 };
    struct written w = {0};
    char text[32];

    for (int i = 0; i < LINES; i++) {
        (void)snprintf(text, sizeof text, "line %d", i % (LINES / 2)); /* each of them twice */
        add(&w, i % 3 ? RECORD_STDOUT : RECORD_STDERR, i % 7, text);
    }
    for (int i = LINES - 1; i >= 0; i--) {
        (void)snprintf(text, sizeof text, "line %d", i % (LINES / 2));
        assert_true(take(&w, i % 3 ? RECORD_STDOUT : RECORD_STDERR, i % 7, text));
    }
    assert_true(written_is_empty(&w));
}

static void test_what_was_saved_is_the_same_set(void **state)
{
    struct written w = {0}, copy = {0};
    char text[32];

    for (int i = 0; i < 500; i++) {
        (void)snprintf(text, sizeof text, "line %d", i);
        add(&w, RECORD_STDERR, i, text);
    }
    copy.of[1].until_ns = w.of[1].until_ns;
    for (size_t at = 0; at < w.of[1].cap; at++)
        assert_int_equal(0, written_restore(&copy.of[1], w.of[1].fingerprints[at]));
    assert_int_equal(500, copy.of[1].count);
    for (int i = 0; i < 500; i++) {
        (void)snprintf(text, sizeof text, "line %d", i);
        assert_true(take(&copy, RECORD_STDERR, i, text));
    }
    written_finish(&w);
    written_finish(&copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_taken_from_an_empty_set),
        cmocka_unit_test(test_a_line_that_was_only_found_is_found_again),
        cmocka_unit_test(test_equal_lines_count_each),
        cmocka_unit_test(test_stream_time_and_text_all_tell_lines_apart),
        cmocka_unit_test(test_a_line_that_is_younger_than_all_ends_its_stream),
        cmocka_unit_test(test_each_output_has_lines_of_its_own),
        cmocka_unit_test(test_many_lines_are_all_found_in_any_order),
        cmocka_unit_test(test_what_was_saved_is_the_same_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
