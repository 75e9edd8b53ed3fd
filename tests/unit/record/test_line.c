/* Lines out of parts: joined by their timestamp, cut at the bound, and nothing changed by a
 * failure. */
#include "ringtail/record/line.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"

#define PART_BYTES 16384
#define MIB (1u << 20)

struct shipped {
    int64_t ts_ns;
    enum record_stream stream;
    unsigned flags;
    uint16_t ordinal;
    struct buf bytes;
};

struct fixture {
    struct line_joiner joiner;
    struct shipped lines[64];
    size_t count;
    unsigned failures; /* so many calls of on_line fail */
    bool take_heap;
    size_t heaps; /* lines that came in a buffer of their own */
};

static int on_line(void *ctx, const struct line *line)
{
    struct fixture *f = ctx;
    struct shipped *s = &f->lines[f->count];

    if (f->failures > 0) {
        f->failures--;
        return -ENOMEM;
    }
    assert_true(f->count < ARRAY_SIZE(f->lines));
    *s = (struct shipped){
        .ts_ns = line->ts_ns,
        .stream = line->stream,
        .flags = line->flags,
        .ordinal = line->ordinal,
    };
    f->heaps += line->heap != NULL;
    if (line->heap) {
        assert_ptr_equal(line->heap->data, line->bytes.data);
        assert_int_equal(line->heap->len, line->bytes.len);
    }
    if (line->heap && f->take_heap) {
        s->bytes = *line->heap;
        *line->heap = (struct buf){0};
    } else {
        assert_int_equal(0, buf_append_slice(&s->bytes, line->bytes));
    }
    f->count++;
    return 0;
}

static void begin(struct fixture *f, size_t bytes_max)
{
    *f = (struct fixture){.joiner = {.on_line = on_line, .bytes_max = bytes_max}};
    f->joiner.ctx = f;
}

static void forget_lines(struct fixture *f)
{
    for (size_t i = 0; i < f->count; i++)
        buf_finish(&f->lines[i].bytes);
    f->count = 0;
}

static void finish(struct fixture *f)
{
    line_joiner_finish(&f->joiner);
    forget_lines(f);
}

/* The part lies in memory of exactly its size. */
static int feed_bytes(struct fixture *f, enum record_stream stream, int64_t ts_ns, const char *text,
                      size_t len)
{
    char *copy = malloc(len + 1);
    struct part part = {.ts_ns = ts_ns, .stream = stream};
    int r;

    assert_non_null(copy);
    memcpy(copy + 1, text, len);
    part.text = slice_of(copy + 1, len);
    r = line_joiner_feed(&f->joiner, &part);
    memset(copy, 0x5a, len + 1);
    free(copy);
    return r;
}

static void feed(struct fixture *f, enum record_stream stream, int64_t ts_ns, const char *text)
{
    assert_int_equal(0, feed_bytes(f, stream, ts_ns, text, strlen(text)));
}

static void expect(const struct fixture *f, size_t index, enum record_stream stream, int64_t ts_ns,
                   unsigned flags, const char *text, size_t len)
{
    const struct shipped *s = &f->lines[index];

    assert_true(index < f->count);
    assert_int_equal(stream, s->stream);
    assert_int_equal(ts_ns, s->ts_ns);
    assert_int_equal(flags, s->flags);
    assert_int_equal(len, s->bytes.len);
    if (len > 0)
        assert_memory_equal(text, s->bytes.data, len);
}

static void expect_text(const struct fixture *f, size_t index, enum record_stream stream,
                        int64_t ts_ns, unsigned flags, const char *text)
{
    expect(f, index, stream, ts_ns, flags, text, strlen(text));
}

/* Bytes that differ from themselves moved by a part's length. */
static char *make_text(size_t len, unsigned seed)
{
    char *text = malloc(len + 1);

    assert_non_null(text);
    for (size_t i = 0; i < len; i++)
        text[i] = (char)('a' + (i * 7 + i / 26 + i / PART_BYTES * 3 + seed) % 26);
    text[len] = '\n';
    return text;
}

/* As the Engine cuts it: parts of 16 KiB, the last one with the newline (and maybe nothing else).
 */
static void feed_long(struct fixture *f, enum record_stream stream, int64_t ts_ns, const char *text,
                      size_t len)
{
    size_t at = 0;

    for (; len - at >= PART_BYTES; at += PART_BYTES)
        assert_int_equal(0, feed_bytes(f, stream, ts_ns, text + at, PART_BYTES));
    assert_int_equal(0, feed_bytes(f, stream, ts_ns, text + at, len - at + 1));
}

static const size_t lengths[] = {0,     1,     16383, 16384, 16385,   32767,
                                 32768, 32769, 40000, 65536, MIB - 1, MIB};

static void test_a_line_in_parts_is_one_record_with_one_timestamp(void **state)
{
    for (unsigned take = 0; take < 2; take++)
        for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
            char *text = make_text(lengths[i], (unsigned)i);
            struct fixture f;

            begin(&f, MIB);
            f.take_heap = take;
            feed_long(&f, RECORD_STDOUT, 7, text, lengths[i]);
            feed(&f, RECORD_STDOUT, 8, "next\n");
            assert_int_equal(2, f.count);
            expect(&f, 0, RECORD_STDOUT, 7, 0, text, lengths[i]);
            expect_text(&f, 1, RECORD_STDOUT, 8, 0, "next");
            assert_int_equal(lengths[i] >= PART_BYTES, f.heaps);
            assert_int_equal(0, f.joiner.open[0].bytes.cap);
            finish(&f);
            free(text);
        }
}

static void test_parts_of_both_streams_may_interleave(void **state)
{
    char *out = make_text(100000, 1), *err = make_text(50000, 2);
    struct fixture f;

    begin(&f, MIB);
    for (size_t at = 0; at < 100000; at += PART_BYTES) {
        size_t out_len = MIN((size_t)PART_BYTES, 100001 - at);

        assert_int_equal(0, feed_bytes(&f, RECORD_STDOUT, 7, out + at, out_len));
        /* The same nanosecond on the other stream is another line. */
        if (at < 50000)
            assert_int_equal(
                0, feed_bytes(&f, RECORD_STDERR, 7, err + at, MIN((size_t)PART_BYTES, 50001 - at)));
        else
            feed(&f, RECORD_STDERR, 9, "between\n");
    }
    assert_int_equal(5, f.count);
    expect(&f, 0, RECORD_STDERR, 7, 0, err, 50000);
    expect_text(&f, 1, RECORD_STDERR, 9, 0, "between");
    expect(&f, 3, RECORD_STDOUT, 7, 0, out, 100000);
    finish(&f);
    free(out);
    free(err);
}

static void test_an_unfinished_line_is_not_glued_to_the_next_run(void **state)
{
    char *text = make_text(PART_BYTES, 3);
    struct fixture f;

    begin(&f, MIB);
    /* Death between two parts, then the next run's first line. */
    assert_int_equal(0, feed_bytes(&f, RECORD_STDOUT, 7, text, PART_BYTES));
    feed(&f, RECORD_STDERR, 7, "to the other stream it means nothing\n");
    feed(&f, RECORD_STDOUT, 8, "first\n");
    assert_int_equal(3, f.count);
    expect(&f, 1, RECORD_STDOUT, 7, RECORD_PARTIAL, text, PART_BYTES);
    expect_text(&f, 2, RECORD_STDOUT, 8, 0, "first");
    /* Even one that is unfinished itself, and whose clock was set back. */
    feed(&f, RECORD_STDOUT, 9, "tail");
    feed(&f, RECORD_STDOUT, 5, "tail");
    feed(&f, RECORD_STDOUT, 6, "");
    feed(&f, RECORD_STDOUT, 6, "\n");
    assert_int_equal(6, f.count);
    expect_text(&f, 3, RECORD_STDOUT, 9, RECORD_PARTIAL, "tail");
    expect_text(&f, 4, RECORD_STDOUT, 5, RECORD_PARTIAL, "tail");
    expect_text(&f, 5, RECORD_STDOUT, 6, 0, "");
    finish(&f);
    free(text);
}

static void test_the_last_line_without_newline_comes_once_and_marked(void **state)
{
    struct fixture f;

    begin(&f, MIB);
    feed(&f, RECORD_STDERR, 5, "err");
    feed(&f, RECORD_STDOUT, 6, "out");
    assert_int_equal(0, f.count);
    assert_int_equal(0, line_joiner_flush(&f.joiner));
    assert_int_equal(2, f.count);
    expect_text(&f, 0, RECORD_STDOUT, 6, RECORD_PARTIAL, "out");
    expect_text(&f, 1, RECORD_STDERR, 5, RECORD_PARTIAL, "err");
    assert_int_equal(0, line_joiner_flush(&f.joiner));
    assert_int_equal(2, f.count);
    /* The same timestamp again after that is another line. */
    feed(&f, RECORD_STDOUT, 6, "again\n");
    expect_text(&f, 2, RECORD_STDOUT, 6, 0, "again");
    finish(&f);
}

static void feed_ordinal(struct fixture *f, uint16_t ordinal, const char *text)
{
    struct part part = {
        .ts_ns = 10, .stream = RECORD_STDOUT, .text = slice_str(text), .ordinal = ordinal};

    assert_int_equal(0, line_joiner_feed(&f->joiner, &part));
}

static void test_a_line_has_the_ordinal_of_its_first_part(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, MIB);
    feed_ordinal(&f, 4, "whole\n");
    feed_ordinal(&f, 5, "in ");
    feed_ordinal(&f, 6, "two ");
    feed_ordinal(&f, 7, "or three\n");
    feed_ordinal(&f, 8, "open");
    assert_int_equal(0, line_joiner_flush(&f.joiner));
    assert_int_equal(3, f.count);
    assert_int_equal(4, f.lines[0].ordinal);
    assert_int_equal(5, f.lines[1].ordinal);
    assert_int_equal(8, f.lines[2].ordinal);
    finish(&f);
}

static void test_lines_open_since_before_a_part_can_be_flushed_alone(void **state)
{
    struct part part = {.stream = RECORD_STDOUT, .ts_ns = 1, .text = slice_str("old"), .number = 3};
    struct fixture f;

    begin(&f, MIB);
    assert_int_equal(0, line_joiner_feed(&f.joiner, &part));
    part =
        (struct part){.stream = RECORD_STDERR, .ts_ns = 2, .text = slice_str("young"), .number = 9};
    assert_int_equal(0, line_joiner_feed(&f.joiner, &part));
    /* The number is the first part's. */
    part =
        (struct part){.stream = RECORD_STDOUT, .ts_ns = 1, .text = slice_str("er"), .number = 10};
    assert_int_equal(0, line_joiner_feed(&f.joiner, &part));
    assert_int_equal(0, line_joiner_flush_before(&f.joiner, 3));
    assert_int_equal(0, f.count);
    assert_int_equal(0, line_joiner_flush_before(&f.joiner, 9));
    assert_int_equal(1, f.count);
    expect_text(&f, 0, RECORD_STDOUT, 1, RECORD_PARTIAL, "older");
    assert_int_equal(0, line_joiner_flush_before(&f.joiner, 10));
    assert_int_equal(2, f.count);
    expect_text(&f, 1, RECORD_STDERR, 2, RECORD_PARTIAL, "young");
    finish(&f);
}

static void test_a_line_without_end_is_cut_and_marked_and_bounded(void **state)
{
    static const size_t maxima[] = {1024, 16384, 20000, 65536};
    char *text = make_text(PART_BYTES, 4);

    text[PART_BYTES - 1] = '\r';
    for (size_t i = 0; i < ARRAY_SIZE(maxima); i++) {
        size_t max = maxima[i], parts = (64u << 20) / PART_BYTES;
        struct fixture f;

        begin(&f, max);
        for (size_t n = 0; n < parts; n++) {
            assert_int_equal(0, feed_bytes(&f, RECORD_STDOUT, 7, text, PART_BYTES));
            assert_true(f.joiner.open[0].bytes.cap <= 2 * max);
        }
        assert_int_equal(0, f.count);
        /* The stream lives on beside it, and the line ends at last. */
        feed(&f, RECORD_STDERR, 8, "fine\n");
        feed(&f, RECORD_STDOUT, 7, "end\n");
        feed(&f, RECORD_STDOUT, 9, "next\n");
        assert_int_equal(3, f.count);
        assert_int_equal(RECORD_PARTIAL | RECORD_TRUNCATED, f.lines[1].flags);
        assert_int_equal(max, f.lines[1].bytes.len);
        for (size_t at = 0; at < max; at++)
            assert_int_equal(text[at % PART_BYTES], f.lines[1].bytes.data[at]);
        expect_text(&f, 2, RECORD_STDOUT, 9, 0, "next");
        assert_int_equal(1, f.joiner.lines_cut);
        assert_int_equal(parts * PART_BYTES + 3 - max, f.joiner.bytes_cut);
        finish(&f);
    }
    free(text);
}

static void test_only_a_line_over_the_bound_is_cut(void **state)
{
    struct fixture f;

    begin(&f, 4);
    feed(&f, RECORD_STDOUT, 1, "1234\n");
    feed(&f, RECORD_STDOUT, 2, "12345\n");
    feed(&f, RECORD_STDOUT, 3, "12");
    feed(&f, RECORD_STDOUT, 3, "34\n");
    feed(&f, RECORD_STDOUT, 4, "1234");
    feed(&f, RECORD_STDOUT, 4, "\n");
    feed(&f, RECORD_STDOUT, 5, "1234");
    feed(&f, RECORD_STDOUT, 5, "5\n");
    feed(&f, RECORD_STDOUT, 6, "12345");
    assert_int_equal(0, line_joiner_flush(&f.joiner));
    assert_int_equal(6, f.count);
    for (size_t i = 0; i < f.count; i++) {
        bool over = i == 1 || i == 4 || i == 5;

        expect_text(&f, i, RECORD_STDOUT, (int64_t)i + 1,
                    over ? RECORD_PARTIAL | RECORD_TRUNCATED : 0, "1234");
    }
    assert_int_equal(3, f.joiner.lines_cut);
    assert_int_equal(3, f.joiner.bytes_cut);
    finish(&f);
}

static void test_any_byte_comes_through(void **state)
{
    char bytes[256];
    struct fixture f;

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i == '\n' ? '\r' : i);
    begin(&f, MIB);
    for (size_t cut = 0; cut <= 255; cut++) {
        assert_int_equal(0, feed_bytes(&f, RECORD_STDOUT, 7, bytes, cut));
        assert_int_equal(0, feed_bytes(&f, RECORD_STDOUT, 7, bytes + cut, 256 - cut));
        feed(&f, RECORD_STDOUT, 7, "\n");
        assert_int_equal(1, f.count);
        expect(&f, 0, RECORD_STDOUT, 7, 0, bytes, 256);
        forget_lines(&f);
    }
    finish(&f);
}

static void test_20_10_local_drops_the_newline_of_a_line_in_parts(void **state)
{
    char *text = make_text(40000, 5);
    struct fixture f;

    for (unsigned lacks = 0; lacks < 2; lacks++) {
        begin(&f, MIB);
        f.joiner.parts_lack_newline = lacks;
        assert_int_equal(0, feed_bytes(&f, RECORD_STDOUT, 7, text, PART_BYTES));
        assert_int_equal(0, feed_bytes(&f, RECORD_STDOUT, 7, text + PART_BYTES, PART_BYTES));
        assert_int_equal(
            0, feed_bytes(&f, RECORD_STDOUT, 7, text + 2 * PART_BYTES, 40000 - 2 * PART_BYTES));
        feed(&f, RECORD_STDOUT, 8, "next\n");
        /* A line in one part has its newline there, too: without it is unfinished. */
        feed(&f, RECORD_STDOUT, 9, "tail");
        assert_int_equal(0, line_joiner_flush(&f.joiner));
        assert_int_equal(3, f.count);
        expect(&f, 0, RECORD_STDOUT, 7, lacks ? 0 : RECORD_PARTIAL, text, 40000);
        expect_text(&f, 1, RECORD_STDOUT, 8, 0, "next");
        expect_text(&f, 2, RECORD_STDOUT, 9, RECORD_PARTIAL, "tail");
        finish(&f);
    }
    free(text);
}

/* After a failure the same part comes again, and the outcome is as if nothing had been. */
static void test_a_part_that_could_not_be_shipped_can_come_again(void **state)
{
    static const struct {
        int64_t ts_ns;
        const char *text;
    } parts[] = {
        {1, "whole\n"}, {2, "one "}, {2, "two "}, {2, "three\n"}, {3, "open"},
        {4, "next\n"},  {5, "a"},    {6, "b"},    {6, "c\n"},
    };

    for (size_t at = 0; at < ARRAY_SIZE(parts); at++)
        for (unsigned failures = 1; failures < 4; failures++) {
            struct fixture f;

            begin(&f, 10);
            for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
                size_t len = strlen(parts[i].text);
                int r;

                f.failures = i == at ? failures : 0;
                do {
                    r = feed_bytes(&f, RECORD_STDERR, parts[i].ts_ns, parts[i].text, len);
                    assert_true(r == 0 || r == -ENOMEM);
                } while (r < 0);
            }
            f.failures = 0;
            assert_int_equal(6, f.count);
            expect_text(&f, 0, RECORD_STDERR, 1, 0, "whole");
            expect_text(&f, 1, RECORD_STDERR, 2, RECORD_PARTIAL | RECORD_TRUNCATED, "one two th");
            expect_text(&f, 2, RECORD_STDERR, 3, RECORD_PARTIAL, "open");
            expect_text(&f, 3, RECORD_STDERR, 4, 0, "next");
            expect_text(&f, 4, RECORD_STDERR, 5, RECORD_PARTIAL, "a");
            expect_text(&f, 5, RECORD_STDERR, 6, 0, "bc");
            assert_int_equal(1, f.joiner.lines_cut);
            assert_int_equal(3, f.joiner.bytes_cut);
            finish(&f);
        }
}

static void test_a_flush_that_failed_can_be_tried_again(void **state)
{
    struct fixture f;

    begin(&f, MIB);
    feed(&f, RECORD_STDOUT, 1, "out");
    feed(&f, RECORD_STDERR, 2, "err");
    f.failures = 1;
    assert_int_equal(-ENOMEM, line_joiner_flush(&f.joiner));
    assert_int_equal(0, f.count);
    assert_int_equal(0, line_joiner_flush(&f.joiner));
    assert_int_equal(2, f.count);
    expect_text(&f, 0, RECORD_STDOUT, 1, RECORD_PARTIAL, "out");
    expect_text(&f, 1, RECORD_STDERR, 2, RECORD_PARTIAL, "err");
    finish(&f);
}

static void test_finishing_forgets_open_lines(void **state)
{
    struct fixture f;

    begin(&f, MIB);
    feed(&f, RECORD_STDOUT, 1, "gone");
    line_joiner_finish(&f.joiner);
    assert_int_equal(0, line_joiner_flush(&f.joiner));
    assert_int_equal(0, f.count);
    feed(&f, RECORD_STDOUT, 1, "new\n");
    expect_text(&f, 0, RECORD_STDOUT, 1, 0, "new");
    finish(&f);
}

#define TITLED(title, fn)                                                                          \
    {                                                                                              \
        .name = (title), .test_func = (fn)                                                         \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TITLED("S21 a line in parts is one record with one timestamp",
               test_a_line_in_parts_is_one_record_with_one_timestamp),
        TITLED("S21 parts of both streams may interleave",
               test_parts_of_both_streams_may_interleave),
        TITLED("S21 an unfinished line is not glued to the next run",
               test_an_unfinished_line_is_not_glued_to_the_next_run),
        TITLED("S07 the last line without newline comes once and marked",
               test_the_last_line_without_newline_comes_once_and_marked),
        cmocka_unit_test(test_a_line_has_the_ordinal_of_its_first_part),
        cmocka_unit_test(test_lines_open_since_before_a_part_can_be_flushed_alone),
        TITLED("S22 a line without end is cut and marked and bounded",
               test_a_line_without_end_is_cut_and_marked_and_bounded),
        cmocka_unit_test(test_only_a_line_over_the_bound_is_cut),
        TITLED("S23 any byte comes through", test_any_byte_comes_through),
        TITLED("S21 20.10's local driver drops the newline of a line in parts",
               test_20_10_local_drops_the_newline_of_a_line_in_parts),
        cmocka_unit_test(test_a_part_that_could_not_be_shipped_can_come_again),
        cmocka_unit_test(test_a_flush_that_failed_can_be_tried_again),
        cmocka_unit_test(test_finishing_forgets_open_lines),
    };

    return cmocka_run_group_tests_name("line", tests, NULL, NULL);
}
