/* The hash: known values (they are stored on disk), the same for any cut, and well spread. */
#include "ringtail/base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"

static void fill(char *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (char)(i * 7 + i / 13);
}

static void test_stored_values_never_change(void **state)
{
    static const struct {
        size_t len;
        uint64_t seed, value;
    } known[] = {
        {0, UINT64_C(0x0), UINT64_C(0xf39a8e5000b39983)},
        {0, UINT64_C(0x123456789abcdef0), UINT64_C(0x4ca4aab96b636713)},
        {1, UINT64_C(0x0), UINT64_C(0xf9d82f08cfd43cea)},
        {3, UINT64_C(0x0), UINT64_C(0x6ae3c19c57c86795)},
        {7, UINT64_C(0x0), UINT64_C(0x1444d47a451b8c8f)},
        {7, UINT64_C(0x123456789abcdef0), UINT64_C(0xd17fe6ac22eb984d)},
        {8, UINT64_C(0x0), UINT64_C(0xed4bb0126e734fb5)},
        {9, UINT64_C(0x0), UINT64_C(0x0c46e9707b249da8)},
        {16, UINT64_C(0x0), UINT64_C(0xfe13ee528466a4c2)},
        {16, UINT64_C(0x123456789abcdef0), UINT64_C(0x46c0c510c5c621f7)},
        {31, UINT64_C(0x0), UINT64_C(0x81de5205b8b84590)},
        {32, UINT64_C(0x0), UINT64_C(0x976fdc9c5d5658c2)},
        {33, UINT64_C(0x0), UINT64_C(0xc2481908dff82cb8)},
        {33, UINT64_C(0x123456789abcdef0), UINT64_C(0x023462bd267addd5)},
        {64, UINT64_C(0x0), UINT64_C(0xf08102f1a0439046)},
        {100, UINT64_C(0x0), UINT64_C(0xc79dd223e9de07f1)},
        {200, UINT64_C(0x0), UINT64_C(0xc84dcf6310a9afaf)},
        {200, UINT64_C(0x123456789abcdef0), UINT64_C(0x541bfee6b201c924)},
    };
    char bytes[200];

    (void)state;
    fill(bytes, sizeof bytes);
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        uint64_t value = hash_bytes(slice_of(bytes, known[i].len), known[i].seed);

        if (value != known[i].value)
            fail_msg("%zu bytes, seed %llx: 0x%016llx", known[i].len,
                     (unsigned long long)known[i].seed, (unsigned long long)value);
    }
}

static void test_every_cut_in_three_gives_the_value_of_the_whole(void **state)
{
    char bytes[70];

    (void)state;
    fill(bytes, sizeof bytes);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        uint64_t whole = hash_bytes(slice_of(bytes, len), 5);

        for (size_t a = 0; a <= len; a++) {
            for (size_t b = a; b <= len; b++) {
                struct hash_stream h;

                hash_stream_init(&h, 5);
                hash_stream_feed(&h, slice_of(bytes, a));
                hash_stream_feed(&h, slice_of(bytes + a, b - a));
                hash_stream_feed(&h, slice_of(bytes + b, len - b));
                assert_true(hash_stream_value(&h) == whole);
            }
        }
    }
}

static void test_byte_by_byte_gives_the_value_of_the_whole_at_each_length(void **state)
{
    struct hash_stream h;
    char bytes[300];

    (void)state;
    fill(bytes, sizeof bytes);
    hash_stream_init(&h, 0);
    for (size_t len = 0; len < sizeof bytes; len++) {
        assert_true(hash_stream_value(&h) == hash_bytes(slice_of(bytes, len), 0));
        hash_stream_feed(&h, slice_of(bytes + len, 1));
    }
}

/** Exact heap copies let the address sanitizer see a read too far. */
static void test_alignment_does_not_matter(void **state)
{
    char bytes[100];

    (void)state;
    fill(bytes, sizeof bytes);
    for (size_t shift = 0; shift < 8; shift++) {
        for (size_t len = 0; len <= sizeof bytes; len++) {
            char *copy = malloc(shift + len + (shift + len == 0));

            assert_non_null(copy);
            memcpy(copy + shift, bytes, len);
            assert_true(hash_bytes(slice_of(copy + shift, len), 9) ==
                        hash_bytes(slice_of(bytes, len), 9));
            free(copy);
        }
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void test_similar_keys_have_different_values(void **state)
{
    enum { COUNT = 100000 };
    uint64_t *values = calloc(COUNT, sizeof *values);

    (void)state;
    assert_non_null(values);
    for (int i = 0; i < COUNT; i++) {
        char text[64];
        int len = snprintf(text, sizeof text, "container-%d/stdout line %d", i % 317, i / 317);

        values[i] = hash_bytes(slice_of(text, (size_t)len), 0);
    }
    qsort(values, COUNT, sizeof *values, compare);
    for (int i = 1; i < COUNT; i++)
        assert_true(values[i] != values[i - 1]);
    free(values);
}

static void test_zeros_of_different_length_and_seed_have_different_values(void **state)
{
    static const char zeros[100];
    uint64_t values[200];

    (void)state;
    for (size_t i = 0; i < 200; i++)
        values[i] = hash_bytes(slice_of(zeros, i / 2), i % 2);
    qsort(values, 200, sizeof *values, compare);
    for (size_t i = 1; i < 200; i++)
        assert_true(values[i] != values[i - 1]);
}

static void test_one_flipped_bit_flips_about_half_of_the_value(void **state)
{
    struct random random;
    uint64_t flipped = 0, trials = 0;
    unsigned per_bit[64] = {0};

    (void)state;
    random_seed(&random, 1);
    for (int round = 0; round < 60; round++) {
        char bytes[40];
        uint64_t before;

        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (char)random_next(&random);
        before = hash_bytes(slice_of(bytes, 37), 0);
        for (size_t bit = 0; bit < 37 * 8; bit++) {
            uint64_t change;

            bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
            change = before ^ hash_bytes(slice_of(bytes, 37), 0);
            bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
            flipped += (uint64_t)__builtin_popcountll(change);
            for (int i = 0; i < 64; i++)
                per_bit[i] += (unsigned)(change >> i & 1);
            trials++;
        }
    }
    assert_in_range(flipped * 100 / (trials * 64), 49, 51);
    for (int i = 0; i < 64; i++)
        assert_in_range(per_bit[i] * 100 / trials, 45, 55);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stored_values_never_change),
        cmocka_unit_test(test_every_cut_in_three_gives_the_value_of_the_whole),
        cmocka_unit_test(test_byte_by_byte_gives_the_value_of_the_whole_at_each_length),
        cmocka_unit_test(test_alignment_does_not_matter),
        cmocka_unit_test(test_similar_keys_have_different_values),
        cmocka_unit_test(test_zeros_of_different_length_and_seed_have_different_values),
        cmocka_unit_test(test_one_flipped_bit_flips_about_half_of_the_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
