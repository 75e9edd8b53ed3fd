/* Timestamps: legal forms, illegal ones, and every day of three centuries against the C library. */
#include "ringtail/base/timestamp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"

#define UNTOUCHED INT64_C(-77)

static int64_t parsed(const char *text)
{
    int64_t ns = UNTOUCHED;

    if (timestamp_parse(slice_str(text), &ns) != 0)
        fail_msg("not parsed: %s", text);
    return ns;
}

static void assert_refused(const char *text)
{
    char payload[128];
    int64_t ns = UNTOUCHED;

    if (timestamp_parse(slice_str(text), &ns) != -EINVAL || ns != UNTOUCHED)
        fail_msg("taken for a timestamp: %s", text);
    (void)snprintf(payload, sizeof payload, "%s and a line", text);
    if (timestamp_parse_prefix(slice_str(payload), &ns) != -EINVAL || ns != UNTOUCHED)
        fail_msg("taken for a prefix: %s", payload);
}

static void assert_formats(const char *expected, int64_t ns)
{
    char text[TIMESTAMP_LEN + 1] = {0};

    timestamp_format(text, ns);
    assert_string_equal(expected, text);
}

static void test_one_instant_in_all_its_forms_is_the_same(void **state)
{
    static const char *const whole[] = {
        "2024-02-29T23:30:00.000000000Z", "2024-02-29T23:30:00Z",
        "2024-02-29T23:30:00.0Z",         "2024-03-01T01:30:00+02:00",
        "2024-02-29T12:30:00-11:00",      "2024-03-01T05:15:00.000+05:45",
        "2024-02-29T23:30:00+00:00",      "2024-02-29T23:30:00-00:00",
        "2024-02-29t23:30:00z",
    };
    static const char *const with_fraction[] = {
        "2024-02-29T23:30:00.120000000Z", "2024-02-29T23:30:00.12Z",
        "2024-03-01T01:30:00.120+02:00", "2024-02-29T22:30:00.120000-01:00"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(whole); i++)
        assert_int_equal(INT64_C(1709249400000000000), parsed(whole[i]));
    for (size_t i = 0; i < ARRAY_SIZE(with_fraction); i++)
        assert_int_equal(INT64_C(1709249400120000000), parsed(with_fraction[i]));
}

static void test_fractions_of_one_to_nine_digits_count_from_the_point(void **state)
{
    char text[64];
    int64_t expected = 0, place = 100000000;

    (void)state;
    for (int digits = 1; digits <= 9; digits++, place /= 10) {
        expected += digits * place;
        (void)snprintf(text, sizeof text, "1970-01-01T00:00:00.%.*sZ", digits, "123456789");
        assert_int_equal(expected, parsed(text));
    }
}

static void test_digits_beyond_the_ninth_are_cut_off(void **state)
{
    (void)state;
    assert_int_equal(123456789, parsed("1970-01-01T00:00:00.1234567899Z"));
    assert_int_equal(999999999, parsed("1970-01-01T00:00:00.99999999999999999999999999Z"));
}

static void test_a_leap_second_is_the_following_second(void **state)
{
    (void)state;
    assert_int_equal(parsed("2017-01-01T00:00:00.500000000Z"),
                     parsed("2016-12-31T23:59:60.500000000Z"));
    assert_int_equal(parsed("2017-01-01T00:00:00Z"), parsed("2017-01-01T00:59:60+01:00"));
}

static void test_what_is_no_timestamp_is_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        "2",
        "2024-01-01",
        "2024-01-01T00:00:00",
        "2024-01-01T00:00:00.123456789",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00.+01:00",
        "2024-01-01_00:00:00.000000000Z",
        "2024/01/01T00:00:00.000000000Z",
        "2024-01-01T00.00.00.000000000Z",
        "2024-01-01T00:00:00,000000000Z",
        "2024-01-01T00:00:00.000000000X",
        "2024-01-01T00:00:00.00000000-Z",
        "2024-01-01T00:00:00.000000000ZZ",
        "2024-01-01T00:00:00+0100",
        "2024-01-01T00:00:00+1:00",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+01:60",
        "2024-00-01T00:00:00.000000000Z",
        "2024-13-01T00:00:00.000000000Z",
        "2024-19-01T00:00:00.000000000Z",
        "2024-99-01T00:00:00.000000000Z",
        "2024-01-00T00:00:00.000000000Z",
        "2024-01-32T00:00:00.000000000Z",
        "2024-04-31T00:00:00.000000000Z",
        "2023-02-29T00:00:00.000000000Z",
        "2100-02-29T00:00:00.000000000Z",
        "2024-02-30T00:00:00.000000000Z",
        "2024-01-01T24:00:00.000000000Z",
        "2024-01-01T00:60:00.000000000Z",
        "2024-01-01T00:00:61.000000000Z",
        "+024-01-01T00:00:00.000000000Z",
        "2o24-01-01T00:00:00.000000000Z",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        assert_refused(wrong[i]);
}

static void test_instants_that_cannot_be_written_are_refused(void **state)
{
    (void)state;
    assert_refused("0000-01-01T00:00:00Z");
    assert_refused("0001-01-01T00:00:00Z");
    assert_refused("1969-12-31T23:59:59.999999999Z");
    assert_refused("1970-01-01T00:59:59.999999999+01:00");
    assert_refused("2262-04-11T23:47:16.854775808Z");
    assert_refused("9999-12-31T23:59:59.999999999Z");
    assert_int_equal(0, parsed("1970-01-01T00:00:00.000000000Z"));
    assert_int_equal(0, parsed("1969-12-31T23:00:00-01:00"));
    assert_int_equal(INT64_MAX, parsed("2262-04-11T23:47:16.854775807Z"));
    assert_formats("2262-04-11T23:47:16.854775807Z", INT64_MAX);
    assert_formats("1970-01-01T00:00:00.000000000Z", 0);
}

/** Every byte of the usual form, replaced by every other byte: parsed only where that is a
 * timestamp. */
static void test_a_wrong_byte_at_any_place_is_found(void **state)
{
    static const char form[] = "2024-11-11T11:11:11.111111111Z";

    (void)state;
    for (size_t at = 0; at < TIMESTAMP_LEN; at++) {
        for (int c = 0; c < 256; c++) {
            bool digit = c >= '0' && c <= '9', written_digit = form[at] >= '0' && form[at] <= '9';
            bool other_case = (form[at] == 'T' && c == 't') || (form[at] == 'Z' && c == 'z');
            char text[TIMESTAMP_LEN + 1];
            int64_t ns;
            int r;

            memcpy(text, form, sizeof text);
            text[at] = (char)c;
            r = timestamp_parse(slice_of(text, TIMESTAMP_LEN), &ns);
            if ((char)c == form[at] || other_case)
                assert_int_equal(0, r);
            else if (!digit || !written_digit)
                assert_int_equal(-EINVAL, r);
            if (r == 0 && !other_case)
                assert_formats(text, ns);
        }
    }
}

static void test_every_day_is_the_one_that_the_c_library_knows(void **state)
{
    (void)state;
    for (int64_t day = 0; day < 106751; day++) {
        int64_t ns = (day * 86400 + day % 86400) * NSEC_PER_SEC + day * 9001 % NSEC_PER_SEC;
        time_t s = (time_t)(ns / NSEC_PER_SEC);
        char expected[64], text[TIMESTAMP_LEN + 1] = {0};
        struct tm tm;
        size_t n;

        assert_non_null(gmtime_r(&s, &tm));
        n = strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S", &tm);
        (void)snprintf(expected + n, sizeof expected - n, ".%09lldZ",
                       (long long)(ns % NSEC_PER_SEC));
        timestamp_format(text, ns);
        assert_string_equal(expected, text);
        assert_int_equal(ns, parsed(text));
    }
}

static void test_random_instants_come_back_from_their_text(void **state)
{
    struct random random;

    (void)state;
    random_seed(&random, 12);
    for (int i = 0; i < 100000; i++) {
        int64_t ns = (int64_t)(random_next(&random) >> 1);
        char text[TIMESTAMP_LEN + 1] = {0};

        timestamp_format(text, ns);
        assert_int_equal(ns, parsed(text));
    }
}

/** The second is remembered, both ways: what follows it may be of the same one or of another. */
static void test_instants_of_few_seconds_come_back_from_their_text(void **state)
{
    struct random random;
    int64_t ns = 0;

    (void)state;
    random_seed(&random, 13);
    for (int i = 0; i < 100000; i++) {
        char text[TIMESTAMP_LEN + 1] = {0}, expected[16];

        if (i % 7 == 0)
            ns = (int64_t)(random_next(&random) >> 1);
        ns = ns / NSEC_PER_SEC * NSEC_PER_SEC;
        if (ns > INT64_MAX - NSEC_PER_SEC)
            continue;
        ns += (int64_t)random_below(&random, (uint64_t)NSEC_PER_SEC);
        timestamp_format(text, ns);
        assert_int_equal(ns, parsed(text));
        (void)snprintf(expected, sizeof expected, ".%09lldZ", (long long)(ns % NSEC_PER_SEC));
        assert_string_equal(expected, text + 19);
    }
}

static void test_a_prefix_ends_at_its_blank(void **state)
{
    static const struct {
        const char *payload;
        int skip;
    } cases[] = {
        {"2024-02-29T23:30:00.000000000Z a line\n", 31},
        {"2024-02-29T23:30:00.000000000Z ", 31},
        {"2024-02-29T23:30:00.000000000Z  two blanks", 31},
        {"2024-02-29T23:30:00Z x", 21},
        {"2024-03-01T01:30:00.000+02:00 x", 30},
        {"2024-03-01T01:30:00.00000000+02:00 x", 35},
        {"2024-03-01T01:30:00.000000000+02:00 x", 36},
        {"2024-02-29T23:30:00.000000000000000000000000000000000000000000Z x", 64},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t ns = UNTOUCHED;

        assert_int_equal(cases[i].skip, timestamp_parse_prefix(slice_str(cases[i].payload), &ns));
        assert_int_equal(INT64_C(1709249400000000000), ns);
    }
}

static void test_a_payload_without_a_prefix_is_refused(void **state)
{
    static const char *const wrong[] = {
        "",
        " ",
        "2024-02-29T23:30:00.000000000Z",
        " 2024-02-29T23:30:00.000000000Z x",
        "2024-02-29T23:30:00.000000000Z\n",
        "2024-02-29T23:30:00.000000000Zx y",
        "2024-02-29T23:30:00.0000000000000000000000000000000000000000000Z x",
        "plain text without a time",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        int64_t ns = UNTOUCHED;

        assert_int_equal(-EINVAL, timestamp_parse_prefix(slice_str(wrong[i]), &ns));
        assert_int_equal(UNTOUCHED, ns);
    }
}

/** Heap copies of exactly the length let the address sanitizer see a read too far. */
static void test_a_prefix_cut_short_anywhere_is_refused(void **state)
{
    static const char form[] = "2024-02-29T23:30:00.000000000Z ";

    (void)state;
    for (size_t len = 0; len < TIMESTAMP_LEN + 1; len++) {
        char *copy = malloc(len + 1);
        int64_t ns;

        memcpy(copy + 1, form, len);
        assert_int_equal(-EINVAL, timestamp_parse_prefix(slice_of(copy + 1, len), &ns));
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {.name = "S12 an offset, no fraction and nine digits give the same instant",
         .test_func = test_one_instant_in_all_its_forms_is_the_same},
        cmocka_unit_test(test_fractions_of_one_to_nine_digits_count_from_the_point),
        cmocka_unit_test(test_digits_beyond_the_ninth_are_cut_off),
        cmocka_unit_test(test_a_leap_second_is_the_following_second),
        cmocka_unit_test(test_what_is_no_timestamp_is_refused),
        cmocka_unit_test(test_instants_that_cannot_be_written_are_refused),
        cmocka_unit_test(test_a_wrong_byte_at_any_place_is_found),
        cmocka_unit_test(test_every_day_is_the_one_that_the_c_library_knows),
        cmocka_unit_test(test_random_instants_come_back_from_their_text),
        cmocka_unit_test(test_instants_of_few_seconds_come_back_from_their_text),
        cmocka_unit_test(test_a_prefix_ends_at_its_blank),
        cmocka_unit_test(test_a_payload_without_a_prefix_is_refused),
        cmocka_unit_test(test_a_prefix_cut_short_anywhere_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
