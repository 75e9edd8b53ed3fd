/* The generator: repeatable, in range, and not lopsided; back-off within what it promises. */
#include "ringtail/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_the_same_seed_gives_the_same_numbers(void **state)
{
    struct random a, b;

    (void)state;
    random_seed(&a, 7);
    random_seed(&b, 7);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(random_next(&a), random_next(&b));
}

static void test_the_first_numbers_of_a_seed_are_known(void **state)
{
    struct random r;

    (void)state;
    random_seed(&r, 1234567);
    assert_true(random_next(&r) == UINT64_C(6457827717110365317));
    assert_true(random_next(&r) == UINT64_C(3203168211198807973));
}

static void test_two_system_seeds_differ(void **state)
{
    struct random a, b;

    (void)state;
    random_seed_system(&a);
    random_seed_system(&b);
    assert_true(random_next(&a) != random_next(&b));
}

static void test_numbers_below_a_bound_stay_below_and_fill_it_evenly(void **state)
{
    struct random r;
    unsigned counts[7] = {0};

    (void)state;
    random_seed(&r, 1);
    for (int i = 0; i < 70000; i++) {
        uint64_t x = random_below(&r, 7);

        assert_true(x < 7);
        counts[x]++;
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(counts[i], 9500, 10500);
    assert_int_equal(0, random_below(&r, 0));
    assert_int_equal(0, random_below(&r, 1));
    for (int i = 0; i < 1000; i++)
        assert_true(random_below(&r, (UINT64_C(1) << 63) + 1) <= UINT64_C(1) << 63);
}

static void test_backoff_stays_between_half_the_base_and_the_doubled_or_the_cap(void **state)
{
    struct random r;

    (void)state;
    random_seed(&r, 2);
    for (uint32_t attempt = 0; attempt < 100; attempt++) {
        int64_t most = attempt < 10 ? 100 << attempt : 30000;

        most = most > 30000 ? 30000 : most;
        for (int i = 0; i < 200; i++) {
            int64_t ms = random_backoff_ms(&r, attempt, 100, 30000);

            assert_in_range(ms, 50, most);
        }
    }
}

static void test_backoff_grows_up_to_the_cap(void **state)
{
    struct random r;
    int64_t longest[12] = {0};

    (void)state;
    random_seed(&r, 3);
    for (uint32_t attempt = 0; attempt < 12; attempt++) {
        for (int i = 0; i < 500; i++) {
            int64_t ms = random_backoff_ms(&r, attempt, 100, 30000);

            longest[attempt] = ms > longest[attempt] ? ms : longest[attempt];
        }
    }
    for (int i = 1; i <= 8; i++)
        assert_true(longest[i] > longest[i - 1]);
    assert_true(longest[11] > 29000);
}

static void test_backoff_at_its_limits_does_not_overflow(void **state)
{
    struct random r;

    (void)state;
    random_seed(&r, 4);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(0, random_backoff_ms(&r, UINT32_MAX, 0, 1000));
        assert_int_equal(0, random_backoff_ms(&r, 5, 100, 0));
        assert_true(random_backoff_ms(&r, 0, 1000, 100) <= 100);
        assert_true(random_backoff_ms(&r, UINT32_MAX, 1, INT64_MAX) >= 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_seed_gives_the_same_numbers),
        cmocka_unit_test(test_the_first_numbers_of_a_seed_are_known),
        cmocka_unit_test(test_two_system_seeds_differ),
        cmocka_unit_test(test_numbers_below_a_bound_stay_below_and_fill_it_evenly),
        cmocka_unit_test(test_backoff_stays_between_half_the_base_and_the_doubled_or_the_cap),
        cmocka_unit_test(test_backoff_grows_up_to_the_cap),
        cmocka_unit_test(test_backoff_at_its_limits_does_not_overflow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
