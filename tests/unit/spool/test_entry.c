/* The walk through a segment's bytes, without files: any cut gives the same. */
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/random.h"

#include "spool/entry.h"

#define BEGIN 1000u

static void add(struct buf *out, enum entry_kind kind, uint64_t number, size_t len)
{
    char header[ENTRY_HEADER_BYTES], payload[300];
    struct entry e = {.kind = kind, .number = number, .ts_ns = (int64_t)number};
    struct slice piece = slice_of(payload, len);

    memset(payload, (int)('a' + number % 26), sizeof payload);
    entry_put(header, BEGIN + out->len, &e, &piece, 1);
    assert_int_equal(0, buf_append(out, header, sizeof header));
    assert_int_equal(0, buf_append_slice(out, piece));
}

static void make(struct buf *out)
{
    for (uint64_t number = 0; number < 12; number++) {
        if (number % 5 == 0)
            add(out, ENTRY_SOURCE, number, 40);
        add(out, ENTRY_RECORD, number, (size_t)number * 17 % 130);
    }
}

struct sums {
    uint64_t records, sources, missing, damaged, hash;
};

/** Windows are as long as the random numbers say; `most` 0: everything at once. */
static struct sums walk(struct slice all, struct random *random, size_t most)
{
    struct walk w = {.place = {.at = BEGIN}, .limit = BEGIN + all.len};
    struct sums sums = {0};
    size_t want = 0;

    for (;;) {
        struct slice rest = slice_from(all, (size_t)(w.place.at - BEGIN));
        size_t len = most ? want + (size_t)random_below(random, most) : rest.len;
        struct entry e;
        char *window = malloc(rest.len < len ? rest.len + 1 : len + 1);
        enum walk_step step;

        /* A copy, so that a look behind its end is seen. */
        assert_non_null(window);
        len = rest.len < len ? rest.len : len;
        if (len > 0)
            memcpy(window, rest.data, len);
        window = realloc(window, len ? len : 1);
        step = walk_next(&w, slice_of(window, len), &e);
        want = step == WALK_MORE ? w.need : 0;
        sums.missing += step == WALK_MORE ? 0 : w.missing;
        sums.damaged += step == WALK_DAMAGED ? w.damaged : 0;
        if (step == WALK_MORE)
            assert_true(w.need > len && w.need <= rest.len);
        if (step == WALK_RECORD || step == WALK_SOURCE) {
            sums.records += step == WALK_RECORD;
            sums.sources += step == WALK_SOURCE;
            sums.hash = sums.hash * 31 + e.number * 7 + e.payload.len;
            for (size_t i = 0; i < e.payload.len; i++)
                assert_int_equal('a' + e.number % 26, e.payload.data[i]);
        }
        free(window);
        if (step == WALK_END)
            return sums;
    }
}

static void test_every_cut_gives_the_same_entries(void **state)
{
    struct random random;
    struct buf all = {0};

    (void)state;
    random_seed(&random, 7);
    make(&all);
    for (size_t at = 0; at < all.len; at++) {
        struct sums whole;

        all.data[at] ^= 0x10;
        whole = walk(buf_slice(&all), NULL, 0);
        assert_true(whole.damaged > 0);
        assert_true(whole.records >= 11 && whole.sources >= 2);
        for (size_t most = 1; most < 400; most += 57) {
            struct sums cut = walk(buf_slice(&all), &random, most);

            assert_memory_equal(&whole, &cut, sizeof whole);
        }
        all.data[at] ^= 0x10;
    }
    buf_finish(&all);
}

static void test_what_is_missing_is_told_by_the_next_number(void **state)
{
    struct buf all = {0};
    struct sums sums;

    (void)state;
    add(&all, ENTRY_RECORD, 0, 10);
    assert_int_equal(0, buf_append_str(&all, "what were entries once"));
    add(&all, ENTRY_RECORD, 41, 10);
    add(&all, ENTRY_RECORD, 40, 10); /* goes back: none */
    sums = walk(buf_slice(&all), NULL, 0);
    assert_int_equal(2, sums.records);
    assert_int_equal(40, sums.missing);
    assert_int_equal(22 + 58, sums.damaged);
    buf_finish(&all);
}

static void test_names_of_segments_sort_by_place_and_come_back(void **state)
{
    static const uint64_t places[] = {0, 1, 255, UINT64_C(0x0123456789abcdef), UINT64_MAX};
    char name[SEGMENT_NAME_LEN + 1];
    uint64_t back;

    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        segment_name_put(name, places[i]);
        assert_true(segment_name_parse(name, &back));
        assert_int_equal(places[i], back);
    }
    assert_false(segment_name_parse("cursors", &back));
    assert_false(segment_name_parse("000000000000000g.spool", &back));
    assert_false(segment_name_parse("000000000000000A.spool", &back));
    assert_false(segment_name_parse("0000000000000000.spoon", &back));
    assert_false(segment_name_parse("00000000000000000.spool", &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut_gives_the_same_entries),
        cmocka_unit_test(test_what_is_missing_is_told_by_the_next_number),
        cmocka_unit_test(test_names_of_segments_sort_by_place_and_come_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
