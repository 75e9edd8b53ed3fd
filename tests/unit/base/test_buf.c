/* The growing buffer: what it holds after each call, and that a refused call changes nothing. */
#include "ringtail/base/buf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_appended_pieces_are_held_in_order(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_int_equal(0, buf_append(&b, "ab", 2));
    assert_int_equal(0, buf_append_str(&b, "cd"));
    assert_int_equal(0, buf_append_slice(&b, slice_of("e\0f", 3)));
    assert_int_equal(0, buf_append_char(&b, 'g'));
    assert_int_equal(0, buf_printf(&b, "-%d-%s", 7, "x"));
    assert_int_equal(12, b.len);
    assert_memory_equal("abcde\0fg-7-x", b.data, 12);
    buf_finish(&b);
}

static void test_growth_keeps_every_byte(void **state)
{
    struct buf b = {0};

    (void)state;
    for (int i = 0; i < 10000; i++)
        assert_int_equal(0, buf_append_char(&b, (char)(i % 251)));
    assert_int_equal(10000, b.len);
    assert_true(b.cap >= b.len);
    for (int i = 0; i < 10000; i++)
        assert_int_equal((char)(i % 251), b.data[i]);
    buf_finish(&b);
    assert_null(b.data);
    assert_int_equal(0, b.cap);
}

static void test_nothing_appended_to_an_empty_buffer_needs_no_memory(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_int_equal(0, buf_append(&b, NULL, 0));
    assert_int_equal(0, buf_append_slice(&b, slice_str(NULL)));
    assert_null(b.data);
}

static void test_room_beyond_memory_is_refused_and_changes_nothing(void **state)
{
    struct buf b = {0};
    char *data;

    (void)state;
    assert_int_equal(0, buf_append_str(&b, "abc"));
    data = b.data;
    assert_int_equal(-ENOMEM, buf_reserve(&b, SIZE_MAX));
    assert_int_equal(-ENOMEM, buf_reserve(&b, SIZE_MAX - 3));
    assert_ptr_equal(data, b.data);
    assert_int_equal(3, b.len);
    assert_memory_equal("abc", b.data, 3);
    buf_finish(&b);
}

static void test_consuming_moves_the_rest_to_the_front(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_int_equal(0, buf_append_str(&b, "abcdef"));
    buf_consume(&b, 0);
    assert_int_equal(6, b.len);
    buf_consume(&b, 4);
    assert_int_equal(2, b.len);
    assert_memory_equal("ef", b.data, 2);
    buf_consume(&b, 2);
    assert_int_equal(0, b.len);
    buf_finish(&b);
}

static void test_a_c_string_ends_behind_the_bytes_also_when_the_buffer_is_full(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_string_equal("", buf_cstr(&b));
    for (size_t n = 1; n <= 300; n++) {
        assert_int_equal(0, buf_append_char(&b, 'x'));
        assert_int_equal(n, strlen(buf_cstr(&b)));
        assert_int_equal(n, b.len);
    }
    buf_finish(&b);
}

static void test_printing_something_long_grows_the_buffer(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_int_equal(0, buf_printf(&b, "%0500d|", 7));
    assert_int_equal(501, b.len);
    assert_memory_equal("07|", b.data + 498, 3);
    buf_finish(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appended_pieces_are_held_in_order),
        cmocka_unit_test(test_growth_keeps_every_byte),
        cmocka_unit_test(test_nothing_appended_to_an_empty_buffer_needs_no_memory),
        cmocka_unit_test(test_room_beyond_memory_is_refused_and_changes_nothing),
        cmocka_unit_test(test_consuming_moves_the_rest_to_the_front),
        cmocka_unit_test(test_a_c_string_ends_behind_the_bytes_also_when_the_buffer_is_full),
        cmocka_unit_test(test_printing_something_long_grows_the_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
