/* Retry-After in all its forms, and in those that it does not have. */
#include "ringtail/codec/retry_after.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"

/* RFC 9110's example: 784111777 is Sun, 06 Nov 1994 08:49:37 GMT. */
#define EXAMPLE_S INT64_C(784111777)

static void assert_ms(int64_t expected, const char *value, int64_t now_s)
{
    int64_t ms = -7;

    assert_int_equal(0, retry_after_parse(slice_str(value), now_s * NSEC_PER_SEC, &ms));
    assert_int_equal(expected, ms);
}

static void assert_refused(struct slice value)
{
    int64_t ms = -7;

    assert_int_equal(-EINVAL, retry_after_parse(value, 0, &ms));
    assert_int_equal(-7, ms);
}

static void test_seconds_are_milliseconds_up_to_a_day(void **state)
{
    (void)state;
    assert_ms(0, "0", EXAMPLE_S);
    assert_ms(1000, "1", EXAMPLE_S);
    assert_ms(120000, " \t120 ", EXAMPLE_S);
    assert_ms(86399000, "86399", EXAMPLE_S);
    assert_ms(RETRY_AFTER_MAX_MS, "86400", EXAMPLE_S);
    assert_ms(RETRY_AFTER_MAX_MS, "86401", EXAMPLE_S);
    assert_ms(RETRY_AFTER_MAX_MS, "99999999999999999999999999999999999999999", EXAMPLE_S);
    assert_ms(7000, "00000000000000000000000000000000000000007", EXAMPLE_S);
}

static void test_the_three_forms_of_a_date_are_the_same(void **state)
{
    static const char *const dates[] = {
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        " Sun, 06 Nov 1994 08:49:37 GMT\t",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(dates); i++) {
        assert_ms(37000, dates[i], EXAMPLE_S - 37);
        assert_ms(0, dates[i], EXAMPLE_S);
        assert_ms(0, dates[i], EXAMPLE_S + 1000000);
        assert_ms(RETRY_AFTER_MAX_MS, dates[i], EXAMPLE_S - 100000);
        assert_ms(RETRY_AFTER_MAX_MS, dates[i], 0);
    }
}

static void test_every_hour_of_many_years_is_the_calendar_s(void **state)
{
    (void)state;
    for (int64_t at = 0; at < INT64_C(4102444800); at += 5000077) {
        time_t t = (time_t)at;
        struct tm tm;
        char text[64];

        assert_non_null(gmtime_r(&t, &tm));
        assert_true(strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0);
        assert_ms(at >= 10 ? 10000 : at * 1000, text, at >= 10 ? at - 10 : 0);
        assert_true(strftime(text, sizeof text, "%a %b %e %H:%M:%S %Y", &tm) > 0);
        assert_ms(at >= 10 ? 10000 : at * 1000, text, at >= 10 ? at - 10 : 0);
    }
}

static void test_a_year_of_two_digits_is_at_most_50_years_ahead(void **state)
{
    (void)state;
    assert_ms(0, "Sunday, 06-Nov-94 08:49:37 GMT", INT64_C(1795250000)); /* in 2026: 1994 */
    assert_ms(RETRY_AFTER_MAX_MS, "Sunday, 06-Nov-70 08:49:37 GMT", INT64_C(1795250000)); /* 2070 */
    assert_ms(RETRY_AFTER_MAX_MS, "Monday, 01-Jan-01 00:00:00 GMT", EXAMPLE_S);           /* 2001 */
}

static void test_a_fraction_of_the_clock_is_not_lost(void **state)
{
    int64_t ms;

    (void)state;
    assert_int_equal(0, retry_after_parse(slice_str("Sun, 06 Nov 1994 08:49:37 GMT"),
                                          EXAMPLE_S * NSEC_PER_SEC - 1500 * NSEC_PER_MSEC, &ms));
    assert_int_equal(1500, ms);
}

static void test_what_is_neither_is_refused(void **state)
{
    static const char *const values[] = {
        "",
        " ",
        "-1",
        "+1",
        "1.5",
        "1s",
        "1 2",
        "0x10",
        "soon",
        "Sun",
        "Sun,",
        "Sun, ",
        "Sunday",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT x",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nov 1894 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sun Nov 06  08:49:37 1994",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 94",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sum, 06 Nov 1994 08:49:37 GMT",
        "2026-11-21T00:00:00Z",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
        assert_refused(slice_str(values[i]));
    assert_refused(slice_of("1\0", 2));
}

static void test_every_cut_of_a_date_is_refused(void **state)
{
    static const char *const dates[] = {
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(dates); i++) {
        for (size_t len = 0; len < strlen(dates[i]); len++) {
            char *cut = malloc(len + 1);

            assert_non_null(cut);
            memcpy(cut, dates[i], len);
            assert_refused(slice_of(cut, len));
            free(cut);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seconds_are_milliseconds_up_to_a_day),
        cmocka_unit_test(test_the_three_forms_of_a_date_are_the_same),
        cmocka_unit_test(test_every_hour_of_many_years_is_the_calendar_s),
        cmocka_unit_test(test_a_year_of_two_digits_is_at_most_50_years_ahead),
        cmocka_unit_test(test_a_fraction_of_the_clock_is_not_lost),
        cmocka_unit_test(test_what_is_neither_is_refused),
        cmocka_unit_test(test_every_cut_of_a_date_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
