/* docker/tty: raw bodies come apart into the records that the Engine wrote, as far as the bytes can
 * tell. */
#include "ringtail/docker/tty.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"

#include "recording.h"

#define P1 "2026-11-20T15:39:10.255600879Z "
#define P2 "2026-11-20T15:39:10.305942159Z "
#define P3 "2026-11-20T15:39:11.000000000Z "
#define EARLIER "2026-11-20T15:39:09.000000001Z "

#define RECORDS_MAX 32

/* Records as the Engine gives them, one chunk each, and their body. */
struct sample {
    struct buf body;
    size_t lens[RECORDS_MAX];
    struct expected_record records[RECORDS_MAX];
    size_t count;
};

static void sample_end_record(struct sample *s)
{
    size_t before = 0;

    assert_true(s->count < RECORDS_MAX);
    for (size_t i = 0; i < s->count; i++)
        before += s->lens[i];
    s->lens[s->count++] = s->body.len - before;
    before = 0;
    for (size_t i = 0; i < s->count; i++) {
        s->records[i] =
            (struct expected_record){FRAME_STDOUT, slice_of(s->body.data + before, s->lens[i])};
        before += s->lens[i];
    }
}

static void sample_add(struct sample *s, struct slice record)
{
    assert_int_equal(0, buf_append_slice(&s->body, record));
    sample_end_record(s);
}

static void sample_add_str(struct sample *s, const char *record)
{
    sample_add(s, slice_str(record));
}

/* prefix, `len` bytes of text without a newline, end */
static void sample_add_long(struct sample *s, const char *prefix, size_t len, const char *end)
{
    assert_int_equal(0, buf_append_str(&s->body, prefix));
    for (size_t i = 0; i < len; i++)
        assert_int_equal(0, buf_append_char(&s->body, "2026-11 T:Zab\t"[i % 14]));
    assert_int_equal(0, buf_append_str(&s->body, end));
    sample_end_record(s);
}

static void sample_add_recording(struct sample *s, const struct recording *rec)
{
    for (size_t i = 0; i < rec->chunks_count; i++)
        sample_add(s, rec->chunks[i]);
}

static void sample_reset(struct sample *s)
{
    buf_finish(&s->body);
    *s = (struct sample){0};
}

static struct checker checker_of(const struct sample *s)
{
    return (struct checker){.records = s->records, .count = s->count};
}

static struct tty_reader reader_of(struct checker *c)
{
    return (struct tty_reader){.on_piece = checker_on_piece, .ctx = c};
}

static void assert_ends_well(struct tty_reader *r, const struct checker *c)
{
    assert_int_equal(0, tty_reader_finish(r));
    checker_assert_done(c);
    assert_int_equal(0, tty_reader_finish(r)); /* nothing is left */
}

/* The Engine's chunks, with the reads cut at `cut`; step 1 cuts everywhere. */
static void assert_own_chunks_come_apart(const struct sample *s, size_t cut, size_t step)
{
    struct checker c = checker_of(s);
    struct tty_reader r = reader_of(&c);
    size_t at = 0, chunk = 0, chunk_end = 0;

    while (at < s->body.len) {
        bool begins = at == chunk_end;
        size_t end;

        if (begins)
            chunk_end += s->lens[chunk++];
        end = MIN(chunk_end, at + step);
        if (cut > at)
            end = MIN(end, cut);
        assert_int_equal(0, tty_reader_feed(&r, slice_of(s->body.data + at, end - at), begins));
        if (end == chunk_end && chunk % 2 == 0)
            tty_reader_chunk_end(&r); /* allowed, not needed */
        at = end;
    }
    assert_ends_well(&r, &c);
}

/* Two pieces of the body, the first and the second being the beginning of a chunk or not. */
static void assert_two_come_apart(const struct sample *s, size_t cut, bool first, bool second)
{
    struct checker c = checker_of(s);
    struct tty_reader r = reader_of(&c);

    assert_int_equal(0, tty_reader_feed(&r, slice_of(s->body.data, cut), first));
    assert_int_equal(0, tty_reader_feed(&r, slice_from(buf_slice(&s->body), cut), second));
    assert_ends_well(&r, &c);
}

static void assert_bytes_come_apart(const struct sample *s, bool chunked)
{
    struct checker c = checker_of(s);
    struct tty_reader r = reader_of(&c);

    for (size_t i = 0; i < s->body.len; i++) {
        char *byte = malloc(1);

        assert_non_null(byte);
        *byte = s->body.data[i];
        assert_int_equal(0, tty_reader_feed(&r, slice_of(byte, 1), chunked));
        free(byte);
    }
    assert_ends_well(&r, &c);
}

/* Whether a cut is worth trying: all in short bodies; in long ones those near a record's edge, and
 * some. */
static bool cut_matters(const struct sample *s, size_t cut)
{
    size_t at = 0;

    if (s->body.len < 2000 || cut % 397 == 0)
        return true;
    for (size_t i = 0; i < s->count; i++) {
        if (cut + 40 > at && cut < at + 80)
            return true;
        at += s->lens[i];
    }
    return cut + 40 > at;
}

static void assert_comes_apart_on_own_chunks(const struct sample *s)
{
    assert_own_chunks_come_apart(s, 0, SIZE_MAX / 2);
    assert_own_chunks_come_apart(s, 0, 1);
    assert_own_chunks_come_apart(s, 0, 7);
    for (size_t cut = 1; cut < s->body.len; cut++) {
        if (cut_matters(s, cut))
            assert_own_chunks_come_apart(s, cut, SIZE_MAX / 2);
    }
}

static void assert_comes_apart_without_chunks(const struct sample *s)
{
    assert_bytes_come_apart(s, false);
    for (size_t cut = 0; cut <= s->body.len; cut++) {
        if (cut_matters(s, cut))
            assert_two_come_apart(s, cut, false, false);
    }
}

static void assert_comes_apart_as_one_chunk(const struct sample *s)
{
    for (size_t cut = 1; cut <= s->body.len; cut++) {
        if (cut_matters(s, cut))
            assert_two_come_apart(s, cut, true, false);
    }
}

static void assert_comes_apart_as_two_chunks(const struct sample *s)
{
    for (size_t cut = 1; cut < s->body.len; cut++) {
        if (cut_matters(s, cut))
            assert_two_come_apart(s, cut, true, true);
    }
}

static void assert_comes_apart_any_way(const struct sample *s)
{
    assert_comes_apart_on_own_chunks(s);
    assert_comes_apart_without_chunks(s);
    assert_comes_apart_as_one_chunk(s);
    assert_comes_apart_as_two_chunks(s);
    assert_bytes_come_apart(s, true);
}

static void test_every_recorded_tty_log_comes_apart_any_way(void **state)
{
    for (size_t e = 0; e < ARRAY_SIZE(recording_engines); e++) {
        static const char *const names[] = {"logs-tty", "logs-partial-tty"};

        for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
            struct recording rec;
            struct sample s = {0};

            recording_load(&rec, recording_engines[e], names[n]);
            assert_true(rec.chunks_count > 2);
            sample_add_recording(&s, &rec);
            assert_comes_apart_any_way(&s);
            sample_reset(&s);
            recording_finish(&rec);
        }
    }
}

static void test_s19_tty_text_comes_unchanged(void **state)
{
    static const char header_like[] = P3 "\x01\0\0\0\0\0\0\x05hello\x02\0\0\0\0\0\1\r\r\n";
    struct sample s = {0};

    sample_add_str(&s, P1 "plain\r\n");
    sample_add_str(&s, P2 " 10%\r 50%\r100%\r\n");
    sample_add_str(&s, P3 "\r\n");
    sample_add_str(&s, P3 "\r\r\n");
    sample_add_str(&s, P3 "newline alone\n");
    sample_add_str(&s, P3 "\n");
    sample_add(&s, slice_of(header_like, sizeof header_like - 1));
    sample_add_str(&s, P3 EARLIER "a line that begins with the program's own time\r\n");
    sample_add_str(&s, P3 "two of them " EARLIER "\r" EARLIER "\r\n");
    sample_add_str(&s, P3 "2026-11-20 2026-11-20T 15:39:09.0Z 2026-11-20T15:39:09\r\n");
    sample_add_str(&s, P3 "\x1b[31mred\x1b[0m\r\n");
    assert_comes_apart_any_way(&s);
    sample_reset(&s);
}

static void test_s19_text_with_later_timestamps_comes_unchanged_on_own_chunks(void **state)
{
    struct sample s = {0};

    sample_add_str(&s, P1 "next run at " P3 "or so\r\n");
    sample_add_str(&s, P1 P3 "\r" P3 "\r" P1 "\r\n");
    /* The same in a long line's later part. */
    sample_add_long(&s, P2, TTY_PART_LEN, "");
    sample_add_str(&s, P2 "\r" P3 "50%\r" P3 "100%\r" P2 "\r\n");
    sample_add_str(&s, P3 "end\r\n");
    assert_comes_apart_on_own_chunks(&s);
    sample_reset(&s);

    /* In a line that is no later part, cut anew or not. */
    sample_add_str(&s, P1 "plain\r\n");
    sample_add_str(&s, P1 "next run at " P3 "\r" P3 "or so\r\n");
    assert_comes_apart_on_own_chunks(&s);
    assert_comes_apart_without_chunks(&s);
    assert_comes_apart_as_one_chunk(&s);
    assert_bytes_come_apart(&s, true);
    sample_reset(&s);
}

static void test_the_parts_of_long_lines_come_apart_any_way(void **state)
{
    static const size_t last[] = {0, 1, 30, 31, 32, 63, 64, 65, 5000, TTY_PART_LEN - 1};

    for (size_t i = 0; i < ARRAY_SIZE(last); i++) {
        struct sample s = {0};

        sample_add_str(&s, P1 "before\r\n");
        sample_add_long(&s, P2, TTY_PART_LEN, "");
        sample_add_long(&s, P2, TTY_PART_LEN, "");
        sample_add_long(&s, P2, last[i], "\n");
        sample_add_str(&s, P3 "after\r\n");
        assert_comes_apart_any_way(&s);
        sample_reset(&s);

        /* Without a line before it. */
        sample_add_long(&s, P2, TTY_PART_LEN, "");
        sample_add_long(&s, P2, last[i], "\r\n");
        assert_comes_apart_any_way(&s);
        sample_reset(&s);
    }
}

static void test_a_part_may_be_longer_by_replaced_bytes(void **state)
{
    static const size_t lens[] = {TTY_PART_LEN + 1, TTY_PART_LEN + 2, TTY_PART_LEN + 30,
                                  2 * TTY_PART_LEN + 1, 3 * TTY_PART_LEN};

    for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
        struct sample s = {0};

        sample_add_long(&s, P2, lens[i], "");
        sample_add_long(&s, P2, lens[i], "2026-11-20T2026-11-20T15:39:10.3059");
        sample_add_long(&s, P2, 77, "\r\n");
        sample_add_str(&s, P3 "after\r\n");
        assert_comes_apart_any_way(&s);
        sample_reset(&s);
    }
}

static void test_a_last_part_without_newline_ends_at_a_later_timestamp(void **state)
{
    static const size_t last[] = {1, 30, 31, 32, 5000};

    for (size_t i = 0; i < ARRAY_SIZE(last); i++) {
        struct sample s = {0};

        /* As 20.10's local driver stores them. */
        sample_add_long(&s, P1, TTY_PART_LEN, "");
        sample_add_long(&s, P1, last[i], "\r");
        sample_add_str(&s, P2 "after\r\n");
        sample_add_long(&s, P2, TTY_PART_LEN, "");
        sample_add_long(&s, P2, TTY_PART_LEN, "");
        sample_add_long(&s, P2, last[i], "\r");
        sample_add_long(&s, P3, TTY_PART_LEN, "");
        sample_add_long(&s, P3, last[i], "\r");
        assert_comes_apart_on_own_chunks(&s);
        assert_comes_apart_without_chunks(&s);
        assert_comes_apart_as_one_chunk(&s);
        assert_bytes_come_apart(&s, true);
        sample_reset(&s);

        sample_add_str(&s, P1 "before\r\n");
        sample_add_long(&s, P2, TTY_PART_LEN, "");
        sample_add_long(&s, P2, last[i], "\r");
        sample_add_str(&s, P3 "after\r\n");
        assert_comes_apart_any_way(&s);
        sample_reset(&s);
    }
}

static void test_a_last_part_may_be_nothing_but_its_missing_newline(void **state)
{
    struct sample s = {0};

    sample_add_str(&s, EARLIER "before\r\n");
    sample_add_long(&s, P1, TTY_PART_LEN - 1, "\r");
    sample_add_str(&s, P1);
    sample_add_str(&s, P2 "after\r\n");
    assert_comes_apart_any_way(&s);
    sample_reset(&s);
}

static void test_an_unfinished_run_ends_at_the_next_chunk(void **state)
{
    struct sample s = {0};

    sample_add_str(&s, P1 "first\r\n");
    sample_add_str(&s, P2 "tail");
    sample_add_str(&s, P3 "first\r\n");
    sample_add_str(&s, P3 "tail");
    assert_comes_apart_on_own_chunks(&s);
    sample_reset(&s);

    /* The end of the text and the begin of the next chunk could be the part's prefix again. */
    sample_add_long(&s, "1992-01-01T00:00:00.000000000Z ", TTY_PART_LEN, "199");
    sample_add_str(&s, "2000-01-01T00:00:00.000000000Z first\r\n");
    assert_comes_apart_on_own_chunks(&s);
    sample_reset(&s);
}

static void test_text_in_a_body_cut_anew_begins_no_record(void **state)
{
    struct sample s = {0};

    /* Only a later timestamp, and only behind a \r, ends a later part. */
    sample_add_long(&s, P2, TTY_PART_LEN, "");
    sample_add_long(&s, P2, 10, "\r" P1 "\r" P2 "\r");
    sample_add_str(&s, P3 "\n");
    sample_add_long(&s, P3, TTY_PART_LEN, "");
    sample_add_str(&s, P3 "2027-01-01T00:00:00.000000000Z is later\r\n");
    assert_comes_apart_without_chunks(&s);
    assert_comes_apart_as_one_chunk(&s);
    sample_reset(&s);
}

/* The first record goes over several chunks, each given by its text. */
static void assert_is_one_record(const char *const chunks[], size_t count)
{
    struct sample s = {0};
    struct checker c;
    struct tty_reader r;

    for (size_t i = 0; i < count; i++)
        assert_int_equal(0, buf_append_str(&s.body, chunks[i]));
    sample_end_record(&s);
    c = checker_of(&s);
    r = reader_of(&c);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(0, tty_reader_feed(&r, slice_str(chunks[i]), true));
    assert_ends_well(&r, &c);
    sample_reset(&s);
}

static void test_chunks_are_no_longer_believed_after_the_first_wrong_one(void **state)
{
    static const char *const in_text[] = {P1 "a", "bc ", P3 "is later\r\n"};
    static const char *const in_digits[] = {P1 "a", "20", P3 "is later\r\n"};
    static const char *const in_prefix[] = {"2026-11-20T15:39:10.2556", "00879Z a", P3 "\r\n"};

    assert_is_one_record(in_text, ARRAY_SIZE(in_text));
    assert_is_one_record(in_digits, ARRAY_SIZE(in_digits));
    assert_is_one_record(in_prefix, ARRAY_SIZE(in_prefix));
}

static void test_an_unfinished_run_in_a_body_cut_anew_takes_the_next_line(void **state)
{
    struct sample s = {0};

    sample_add_str(&s, P1 "first\r\n");
    sample_add_str(&s, P2 "tail" P3 "first\r\n");
    assert_comes_apart_without_chunks(&s);
    assert_comes_apart_as_one_chunk(&s);
    assert_bytes_come_apart(&s, true);
    sample_reset(&s);
}

static void test_a_chunk_with_an_earlier_timestamp_goes_on_with_the_line(void **state)
{
    struct sample s = {0};
    struct checker c;
    struct tty_reader r;
    static const char head[] = P1, rest[] = EARLIER "the program's own time\r\n";

    sample_add_str(&s, P1 EARLIER "the program's own time\r\n");
    c = checker_of(&s);
    r = reader_of(&c);
    assert_int_equal(0, tty_reader_feed(&r, slice_str(head), true));
    assert_int_equal(0, tty_reader_feed(&r, slice_str(rest), true));
    assert_ends_well(&r, &c);
    sample_reset(&s);
}

static void test_records_without_a_timestamp_come_as_they_are(void **state)
{
    struct sample s = {0};

    sample_add_str(&s, P1 "first\r\n");
    sample_add_str(&s, "Error grabbing logs: unexpected EOF\n");
    sample_add_str(&s, "\n");
    sample_add_str(&s, "2026-11-20T15:39:10.255600879Z\n");
    sample_add_str(&s, "2026-13-20T15:39:10.255600879Z no such month\n");
    sample_add_str(&s, "1234567890123456789012345678901234567890123456789012345678901234567890 \n");
    sample_add_long(&s, "", 3 * TTY_PART_LEN, "\n");
    sample_add_str(&s, P2 "end\r\n");
    assert_comes_apart_any_way(&s);
    sample_reset(&s);
}

static void test_timestamps_of_other_forms_are_timestamps(void **state)
{
    struct sample s = {0};

    sample_add_str(&s, "2026-11-20T15:39:10Z a\r\n");
    sample_add_str(&s, "2026-11-20T17:39:10.5+02:00 tail");
    sample_add_str(&s, "2026-11-20T15:39:11.25Z b\r\n");
    assert_comes_apart_on_own_chunks(&s);
    sample_reset(&s);

    sample_add_long(&s, "2026-11-20T17:39:10.5+02:00 ", TTY_PART_LEN, "");
    sample_add_long(&s, "2026-11-20T17:39:10.5+02:00 ", 9, "\n");
    assert_comes_apart_any_way(&s);
    sample_reset(&s);
}

static void test_what_was_held_back_comes_at_the_end(void **state)
{
    static const char *const ends[] = {"2", "2026-11-20T15", "2026-11-20T15:39:10.305942159Z"};

    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        struct sample s = {0};

        /* A body that ends inside of a timestamp, */
        sample_add_str(&s, P1 "first\r\n");
        sample_add_str(&s, ends[i]);
        assert_comes_apart_any_way(&s);
        sample_reset(&s);

        sample_add_str(&s, ends[i]);
        assert_comes_apart_any_way(&s);
        sample_reset(&s);

        /* and one that ends in text which could have become one. */
        sample_add_long(&s, P2, TTY_PART_LEN, ends[i]);
        assert_comes_apart_any_way(&s);
        sample_reset(&s);
    }
}

static void test_an_empty_body_has_no_record(void **state)
{
    struct checker c = {0};
    struct tty_reader r = reader_of(&c);

    assert_int_equal(0, tty_reader_feed(&r, slice_of("", 0), false));
    assert_ends_well(&r, &c);
}

struct tally {
    size_t pieces, refuse_at;
    unsigned flags;
    size_t bytes;
};

static int tally_on_piece(void *ctx, enum frame_stream stream, struct slice piece, unsigned flags)
{
    struct tally *t = ctx;

    t->pieces++;
    t->bytes += piece.len;
    t->flags = flags;
    return t->pieces == t->refuse_at ? -ECANCELED : 0;
}

static void test_a_whole_record_is_one_piece(void **state)
{
    struct tally t = {0};
    struct tty_reader r = {.on_piece = tally_on_piece, .ctx = &t};

    assert_int_equal(0, tty_reader_feed(&r, slice_str(P1 "a\r\n"), true));
    assert_int_equal(1, t.pieces);
    assert_int_equal(FRAME_BEGIN | FRAME_END, t.flags);
    assert_int_equal(0, tty_reader_feed(&r, slice_str(P2 "b\r\n" P3 "c\r\n"), true));
    assert_int_equal(3, t.pieces);
    assert_int_equal(FRAME_BEGIN | FRAME_END, t.flags);
}

static void test_text_is_not_held_back_in_short_lines(void **state)
{
    struct tally t = {0};
    struct tty_reader r = {.on_piece = tally_on_piece, .ctx = &t};

    assert_int_equal(0, tty_reader_feed(&r, slice_str(P1 "12:30 2026"), true));
    assert_int_equal(strlen(P1 "12:30 2026"), t.bytes);
    assert_int_equal(FRAME_BEGIN, t.flags);
}

static void test_a_refused_piece_stops_the_reader(void **state)
{
    for (size_t at = 1; at <= 3; at++) {
        struct tally t = {.refuse_at = at};
        struct tty_reader r = {.on_piece = tally_on_piece, .ctx = &t};

        assert_int_equal(-ECANCELED,
                         tty_reader_feed(&r, slice_str(P1 "a\r\n" P2 "b\r\n" P3 "c\r\n"), true));
        assert_int_equal(at, t.pieces);
    }
    {
        struct tally t = {.refuse_at = 2};
        struct tty_reader r = {.on_piece = tally_on_piece, .ctx = &t};

        assert_int_equal(0, tty_reader_feed(&r, slice_str(P1 "tail"), true));
        assert_int_equal(-ECANCELED, tty_reader_finish(&r));
    }
}

/* Any text without '\n' and without a later timestamp, at any chunks: the records are the Engine's.
 */
static void test_random_records_come_apart_at_random_cuts(void **state)
{
    struct random rnd;

    random_seed(&rnd, 19);
    for (size_t round = 0; round < 3000; round++) {
        static const char *const words[] = {EARLIER, P1,           "\r", "2",
                                            "2026-", "20T15:39:1", " ",  "Z"};
        struct sample s = {0};
        struct checker c;
        struct tty_reader r;
        struct slice left;

        for (size_t i = 0; i < 8; i++) {
            size_t count = (size_t)random_below(&rnd, 6);

            assert_int_equal(
                0, buf_printf(&s.body, "2026-11-20T15:39:10.%09zuZ ", (size_t)(300000000 + i)));
            while (count-- > 0)
                assert_int_equal(
                    0, buf_append_str(&s.body, words[random_below(&rnd, ARRAY_SIZE(words))]));
            assert_int_equal(0, buf_append_str(&s.body, "\n"));
            sample_end_record(&s);
        }
        c = checker_of(&s);
        r = reader_of(&c);
        left = buf_slice(&s.body);
        while (left.len > 0) {
            size_t take = 1 + (size_t)random_below(&rnd, round % 2 == 0 ? 9 : 70);

            take = MIN(take, left.len);
            assert_int_equal(
                0, tty_reader_feed(&r, slice_of(left.data, take), random_below(&rnd, 3) == 0));
            left = slice_from(left, take);
        }
        assert_ends_well(&r, &c);
        sample_reset(&s);
    }
}

static void test_long_lines_come_apart_in_random_chunks(void **state)
{
    struct sample s = {0};
    struct random rnd;

    sample_add_str(&s, EARLIER "before\r\n");
    sample_add_long(&s, P1, TTY_PART_LEN, "");
    sample_add_long(&s, P1, 700, "\r");
    sample_add_long(&s, P2, TTY_PART_LEN, "");
    sample_add_long(&s, P2, TTY_PART_LEN, "");
    sample_add_long(&s, P2, 20, "\r\n");
    sample_add_str(&s, P3 "after\r\n");

    random_seed(&rnd, 16);
    for (size_t round = 0; round < 1000; round++) {
        struct checker c = checker_of(&s);
        struct tty_reader r = reader_of(&c);
        size_t at = 0, chunk_end = 0;

        while (at < s.body.len) {
            bool begins = at == chunk_end;
            size_t end;

            if (begins)
                chunk_end += 1 + (size_t)random_below(&rnd, round % 2 == 0 ? 100 : 20000);
            chunk_end = MIN(chunk_end, s.body.len);
            end = at + 1 + (size_t)random_below(&rnd, round % 3 == 0 ? 50 : 20000);
            end = MIN(end, chunk_end);
            assert_int_equal(0, tty_reader_feed(&r, slice_of(s.body.data + at, end - at), begins));
            at = end;
        }
        assert_ends_well(&r, &c);
    }
    sample_reset(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {.name = "S19 TTY text comes unchanged", .test_func = test_s19_tty_text_comes_unchanged},
        {.name = "S19 text with later timestamps comes unchanged on the Engine's own chunks",
         .test_func = test_s19_text_with_later_timestamps_comes_unchanged_on_own_chunks},
        {.name = "S24 every recorded TTY log comes apart at any split and in any chunks",
         .test_func = test_every_recorded_tty_log_comes_apart_any_way},
        cmocka_unit_test(test_the_parts_of_long_lines_come_apart_any_way),
        cmocka_unit_test(test_a_part_may_be_longer_by_replaced_bytes),
        cmocka_unit_test(test_a_last_part_without_newline_ends_at_a_later_timestamp),
        cmocka_unit_test(test_a_last_part_may_be_nothing_but_its_missing_newline),
        cmocka_unit_test(test_an_unfinished_run_ends_at_the_next_chunk),
        cmocka_unit_test(test_text_in_a_body_cut_anew_begins_no_record),
        cmocka_unit_test(test_chunks_are_no_longer_believed_after_the_first_wrong_one),
        cmocka_unit_test(test_an_unfinished_run_in_a_body_cut_anew_takes_the_next_line),
        cmocka_unit_test(test_a_chunk_with_an_earlier_timestamp_goes_on_with_the_line),
        cmocka_unit_test(test_records_without_a_timestamp_come_as_they_are),
        cmocka_unit_test(test_timestamps_of_other_forms_are_timestamps),
        cmocka_unit_test(test_what_was_held_back_comes_at_the_end),
        cmocka_unit_test(test_an_empty_body_has_no_record),
        cmocka_unit_test(test_a_whole_record_is_one_piece),
        cmocka_unit_test(test_text_is_not_held_back_in_short_lines),
        cmocka_unit_test(test_a_refused_piece_stops_the_reader),
        cmocka_unit_test(test_random_records_come_apart_at_random_cuts),
        cmocka_unit_test(test_long_lines_come_apart_in_random_chunks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
