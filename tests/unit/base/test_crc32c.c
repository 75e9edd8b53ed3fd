/* CRC32C: known values, the same for any cut, and every flipped bit is seen. */
#include "ringtail/base/crc32c.h"

#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"

static void fill(char *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (char)(i * 7 + i / 13);
}

/* The values of RFC 3720, B.4, and the customary one of the digits. */
static void test_known_values(void **state)
{
    char bytes[32];

    (void)state;
    assert_int_equal(0, crc32c(0, slice_of(NULL, 0)));
    assert_int_equal(0xe3069283, crc32c(0, slice_str("123456789")));
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(0x8a9136aa, crc32c(0, slice_of(bytes, sizeof bytes)));
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(0x62a8ab43, crc32c(0, slice_of(bytes, sizeof bytes)));
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)i;
    assert_int_equal(0x46dd794e, crc32c(0, slice_of(bytes, sizeof bytes)));
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(31 - i);
    assert_int_equal(0x113fdb5c, crc32c(0, slice_of(bytes, sizeof bytes)));
}

static void test_every_cut_gives_the_same_value(void **state)
{
    char bytes[70];
    struct slice all = slice_of(bytes, sizeof bytes);
    uint32_t whole;

    (void)state;
    fill(bytes, sizeof bytes);
    whole = crc32c(0, all);
    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        uint32_t crc = crc32c(0, slice_of(bytes, cut));

        assert_int_equal(whole, crc32c(crc, slice_from(all, cut)));
    }
}

static void test_every_flipped_bit_changes_the_value(void **state)
{
    char bytes[41];
    uint32_t whole;

    (void)state;
    fill(bytes, sizeof bytes);
    whole = crc32c(0, slice_of(bytes, sizeof bytes));
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
        assert_int_not_equal(whole, crc32c(0, slice_of(bytes, sizeof bytes)));
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_every_cut_gives_the_same_value),
        cmocka_unit_test(test_every_flipped_bit_changes_the_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
