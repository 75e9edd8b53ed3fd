/* Engine records out of pieces: every cut gives the same, and what is no record is refused. */
#include "ringtail/record/part.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"

#define STAMP "2026-11-20T15:39:29.985079923Z"
#define STAMP_NS INT64_C(1795189169985079923)

struct seen {
    struct buf text;
    int64_t ts_ns;
    uint64_t fingerprint;
    enum record_stream stream;
    unsigned count;
    int answer;
};

static int on_part(void *ctx, struct part *part)
{
    struct seen *s = ctx;

    s->count++;
    s->ts_ns = part->ts_ns;
    s->fingerprint = part->fingerprint;
    s->stream = part->stream;
    buf_reset(&s->text);
    assert_int_equal(0, buf_append_slice(&s->text, part->text));
    return s->answer;
}

static struct part_reader reader_of(struct seen *s, size_t size_max)
{
    return (struct part_reader){.on_part = on_part, .ctx = s, .size_max = size_max};
}

static void assert_text(const struct seen *s, const char *text, size_t len)
{
    assert_int_equal(len, s->text.len);
    if (len > 0)
        assert_memory_equal(text, s->text.data, len);
}

/* The piece lies in memory of exactly its size, so that reading on is seen. */
static int feed(struct part_reader *r, enum record_stream stream, const char *data, size_t len,
                unsigned flags)
{
    char *copy = malloc(len + 1);
    int result;

    assert_non_null(copy);
    memcpy(copy + 1, data, len);
    result = part_reader_feed(r, stream, slice_of(copy + 1, len), flags);
    free(copy);
    return result;
}

static void test_every_cut_gives_the_same_part(void **state)
{
    static const struct {
        const char *record;
        size_t record_len, text_len;
    } records[] = {
        {STAMP " hello\n", 37, 6},
        {STAMP " no newline", 41, 10},
        {STAMP " \n", 32, 1},
        {STAMP " ", 31, 0},
        {STAMP " a\0b\xff\xfe\r\x1b[0m\n", 41, 10},
        {STAMP " " STAMP " not mine\n", 71, 40},
        {"2026-11-20T15:39:29Z short\n", 27, 6},
        {"2026-11-20T16:39:29.985079923+01:00 offset\n", 43, 7},
    };

    for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
        const char *record = records[i].record;
        size_t len = records[i].record_len, text_len = records[i].text_len;
        struct seen s = {0};
        struct part_reader r = reader_of(&s, 1000);
        struct seen whole = {0};

        assert_int_equal(0, feed(&r, RECORD_STDERR, record, len, PART_BEGIN | PART_END));
        assert_int_equal(1, s.count);
        assert_int_equal(RECORD_STDERR, s.stream);
        assert_int_equal(i == 6 ? STAMP_NS - 985079923 : STAMP_NS, s.ts_ns);
        assert_text(&s, record + len - text_len, text_len);
        whole = s;
        for (size_t a = 0; a <= len; a++)
            for (size_t b = a; b <= len; b++) {
                s.count = 0;
                assert_int_equal(0, feed(&r, RECORD_STDERR, record, a, PART_BEGIN));
                assert_int_equal(0, feed(&r, RECORD_STDERR, record + a, b - a, 0));
                assert_int_equal(0, s.count);
                assert_int_equal(0, feed(&r, RECORD_STDERR, record + b, len - b, PART_END));
                assert_int_equal(1, s.count);
                assert_int_equal(whole.ts_ns, s.ts_ns);
                assert_true(whole.fingerprint == s.fingerprint);
                assert_text(&s, record + len - text_len, text_len);
                assert_int_equal(0, r.pending.len);
            }
        part_reader_finish(&r);
        buf_finish(&s.text);
    }
}

static void test_single_bytes_give_the_same_part(void **state)
{
    static const char record[] = STAMP " one byte at a time\n";
    size_t len = sizeof record - 1;
    struct seen s = {0};
    struct part_reader r = reader_of(&s, 1000);

    for (unsigned times = 0; times < 3; times++) {
        for (size_t i = 0; i < len; i++)
            assert_int_equal(0, feed(&r, RECORD_STDOUT, record + i, 1,
                                     (i == 0 ? PART_BEGIN : 0) | (i == len - 1 ? PART_END : 0)));
        assert_int_equal(times + 1, s.count);
        assert_text(&s, "one byte at a time\n", 19);
    }
    part_reader_finish(&r);
    buf_finish(&s.text);
}

static void test_a_record_without_timestamp_is_refused_at_every_cut(void **state)
{
    static const char *const records[] = {
        "",
        "no stamp\n",
        STAMP,
        STAMP "x\n",
        "2026-13-20T15:39:29.985079923Z month\n",
        " ",
        "0001-01-01T00:00:00Z never\n",
    };

    for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
        size_t len = strlen(records[i]);
        struct seen s = {0};

        for (size_t cut = 0; cut <= len; cut++) {
            struct part_reader r = reader_of(&s, 1000);

            assert_int_equal(0, feed(&r, RECORD_STDOUT, records[i], cut, PART_BEGIN));
            assert_int_equal(-EBADMSG,
                             feed(&r, RECORD_STDOUT, records[i] + cut, len - cut, PART_END));
            assert_int_equal(-EBADMSG,
                             feed(&r, RECORD_STDOUT, records[i], len, PART_BEGIN | PART_END));
            part_reader_finish(&r);
        }
        assert_int_equal(0, s.count);
        buf_finish(&s.text);
    }
}

static void test_a_record_over_the_bound_is_refused_at_every_cut(void **state)
{
    static const char record[] = STAMP " 0123456789\n";
    size_t len = sizeof record - 1;
    struct seen s = {0};

    for (size_t cut = 0; cut <= len; cut++) {
        struct part_reader fits = reader_of(&s, len), over = reader_of(&s, len - 1);
        int r;

        assert_int_equal(0, feed(&fits, RECORD_STDOUT, record, cut, PART_BEGIN));
        assert_int_equal(0, feed(&fits, RECORD_STDOUT, record + cut, len - cut, PART_END));
        r = feed(&over, RECORD_STDOUT, record, cut, PART_BEGIN);
        if (r == 0)
            r = feed(&over, RECORD_STDOUT, record + cut, len - cut, PART_END);
        assert_int_equal(-EMSGSIZE, r);
        /* What was taken in stays within the bound. */
        assert_true(over.pending.len <= len - 1);
        part_reader_finish(&fits);
        part_reader_finish(&over);
    }
    assert_int_equal(len + 1, s.count);
    {
        struct part_reader over = reader_of(&s, len - 1);

        assert_int_equal(-EMSGSIZE, feed(&over, RECORD_STDOUT, record, len, PART_BEGIN | PART_END));
        part_reader_finish(&over);
    }
    assert_int_equal(len + 1, s.count);
    buf_finish(&s.text);
}

static void test_the_fingerprint_is_of_stream_and_text_alone(void **state)
{
    struct seen s = {0};
    struct part_reader r = reader_of(&s, 1000);
    uint64_t first;

    assert_int_equal(0, feed(&r, RECORD_STDOUT, STAMP " same\n", 36, PART_BEGIN | PART_END));
    first = s.fingerprint;
    assert_int_equal(
        0, feed(&r, RECORD_STDOUT, "2027-11-20T15:39:29Z same\n", 26, PART_BEGIN | PART_END));
    assert_true(first == s.fingerprint);
    assert_int_equal(0, feed(&r, RECORD_STDERR, STAMP " same\n", 36, PART_BEGIN | PART_END));
    assert_true(first != s.fingerprint);
    assert_int_equal(0, feed(&r, RECORD_STDOUT, STAMP " same", 35, PART_BEGIN | PART_END));
    assert_true(first != s.fingerprint);
    part_reader_finish(&r);
    buf_finish(&s.text);
}

static void test_a_record_that_was_cut_off_is_forgotten(void **state)
{
    struct seen s = {0};
    struct part_reader r = reader_of(&s, 1000);

    assert_int_equal(0, feed(&r, RECORD_STDOUT, STAMP " never fin", 41, PART_BEGIN));
    part_reader_finish(&r);
    assert_null(r.pending.data);
    assert_int_equal(0, feed(&r, RECORD_STDERR, STAMP " a", 32, PART_BEGIN));
    /* A beginning in the middle of a record begins anew. */
    assert_int_equal(0, feed(&r, RECORD_STDERR, STAMP " b", 32, PART_BEGIN));
    assert_int_equal(0, feed(&r, RECORD_STDERR, "c\n", 2, PART_END));
    assert_int_equal(1, s.count);
    assert_text(&s, "bc\n", 3);
    part_reader_finish(&r);
    buf_finish(&s.text);
}

static void test_between_records_no_large_buffer_is_held(void **state)
{
    struct seen s = {0};
    struct part_reader r = reader_of(&s, 65536);
    char *text = malloc(49152);

    assert_non_null(text);
    memset(text, 'x', 49152);
    assert_int_equal(0, feed(&r, RECORD_STDOUT, STAMP " ", 31, PART_BEGIN));
    assert_int_equal(0, feed(&r, RECORD_STDOUT, text, 49152, PART_END));
    assert_text(&s, text, 49152);
    assert_int_equal(0, r.pending.cap);
    free(text);
    part_reader_finish(&r);
    buf_finish(&s.text);
}

static void test_what_on_part_returns_is_passed_on(void **state)
{
    struct seen s = {.answer = -ECANCELED};
    struct part_reader r = reader_of(&s, 1000);

    assert_int_equal(-ECANCELED, feed(&r, RECORD_STDOUT, STAMP " a\n", 33, PART_BEGIN | PART_END));
    assert_int_equal(0, feed(&r, RECORD_STDOUT, STAMP " a", 32, PART_BEGIN));
    assert_int_equal(-ECANCELED, feed(&r, RECORD_STDOUT, "\n", 1, PART_END));
    assert_int_equal(2, s.count);
    part_reader_finish(&r);
    buf_finish(&s.text);
}

#define TITLED(title, fn)                                                                          \
    {                                                                                              \
        .name = (title), .test_func = (fn)                                                         \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TITLED("S24 every cut gives the same part", test_every_cut_gives_the_same_part),
        TITLED("S24 single bytes give the same part", test_single_bytes_give_the_same_part),
        cmocka_unit_test(test_a_record_without_timestamp_is_refused_at_every_cut),
        cmocka_unit_test(test_a_record_over_the_bound_is_refused_at_every_cut),
        cmocka_unit_test(test_the_fingerprint_is_of_stream_and_text_alone),
        cmocka_unit_test(test_a_record_that_was_cut_off_is_forgotten),
        cmocka_unit_test(test_between_records_no_large_buffer_is_held),
        cmocka_unit_test(test_what_on_part_returns_is_passed_on),
    };

    return cmocka_run_group_tests_name("part", tests, NULL, NULL);
}
