/* docker/frame: frames come apart the same way however the body was cut. */
#include "ringtail/docker/frame.h"

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

#define SIZE_MAX_TEST 65536

static struct frame_reader reader_of(struct checker *c)
{
    return (struct frame_reader){.on_piece = checker_on_piece, .ctx = c, .size_max = SIZE_MAX_TEST};
}

static void assert_comes_apart_in_two(const struct expected_record *records, size_t count,
                                      struct slice body, size_t cut)
{
    struct checker c = {.records = records, .count = count};
    struct frame_reader r = reader_of(&c);

    assert_int_equal(0, frame_reader_feed(&r, slice_of(body.data, cut)));
    assert_int_equal(0, frame_reader_feed(&r, slice_from(body, cut)));
    assert_true(frame_reader_is_whole(&r));
    checker_assert_done(&c);
}

static void assert_comes_apart_by_bytes(const struct expected_record *records, size_t count,
                                        struct slice body)
{
    struct checker c = {.records = records, .count = count};
    struct frame_reader r = reader_of(&c);

    for (size_t i = 0; i < body.len; i++) {
        /* A heap copy of one byte: a reader that looks further is caught. */
        char *byte = malloc(1);

        assert_non_null(byte);
        *byte = body.data[i];
        assert_int_equal(0, frame_reader_feed(&r, slice_of(byte, 1)));
        free(byte);
    }
    assert_true(frame_reader_is_whole(&r));
    checker_assert_done(&c);
}

static void test_s24_every_split_gives_the_same_records(void **state)
{
    static char text[4096];
    struct buf body = {0};

    /* Text full of what could be taken for headers. */
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "\x01\0\0\0\0\0\0\n\x02\0\0\0\0\0\n\n"[i % 16];

    for (size_t len = 10; len <= 2815; len = len == 10    ? 266
                                             : len == 266 ? 522
                                             : len == 522 ? 2560
                                                          : len + 1) {
        struct expected_record records[] = {
            {FRAME_STDERR, slice_of(text, 10)},
            {FRAME_STDOUT, slice_of(text, len)},
            {FRAME_STDERR, slice_of(text + 3, 1)},
        };

        buf_reset(&body);
        for (size_t i = 0; i < ARRAY_SIZE(records); i++)
            frame_append(&body, records[i].stream, records[i].payload);
        for (size_t cut = 0; cut <= body.len; cut++)
            assert_comes_apart_in_two(records, ARRAY_SIZE(records), buf_slice(&body), cut);
        assert_comes_apart_by_bytes(records, ARRAY_SIZE(records), buf_slice(&body));
    }
    buf_finish(&body);
}

static void test_every_recorded_log_comes_apart_at_every_cut(void **state)
{
    static const char *const names[] = {
        "logs-bytes-jsonfile",
        "logs-bytes-local",
        "logs-follow-created-not-started",
        "logs-follow-daemon-killed",
        "logs-follow-idle-headers-only",
        "logs-follow-unterminated-at-exit",
        "logs-nontty-mixed-follow-keepalive-exit",
        "logs-nontty-mixed-notimestamps",
        "logs-nontty-mixed-v141",
        "logs-nontty-mixed",
        "logs-nontty-stderr-only",
        "logs-nontty-tail2",
        "logs-partial-interleaved",
        "logs-partial-json-file",
        "logs-partial-local",
        "logs-partial-utf8-split-jsonfile",
        "logs-syslog-dual-logging",
        "logs-unterminated-then-restart",
    };

    for (size_t e = 0; e < ARRAY_SIZE(recording_engines); e++) {
        for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
            struct expected_record records[RECORDING_CHUNKS_MAX];
            struct recording rec;
            size_t next = 0, at = 0;

            recording_load(&rec, recording_engines[e], names[n]);
            /* Each chunk is one frame. */
            for (size_t i = 0; i < rec.chunks_count; i++) {
                records[i].stream = (enum frame_stream)rec.chunks[i].data[0];
                records[i].payload = slice_from(rec.chunks[i], 8);
            }
            /* Every cut up to 40 bytes from a frame's edge, and one in 61 elsewhere. */
            for (size_t cut = 0; cut <= rec.body.len; cut++) {
                if (next < rec.chunks_count && cut == at + rec.chunks[next].len)
                    at += rec.chunks[next++].len;
                if (cut - at > 40 && cut % 61 != 0 &&
                    (next == rec.chunks_count || at + rec.chunks[next].len - cut > 40))
                    continue;
                assert_comes_apart_in_two(records, rec.chunks_count, buf_slice(&rec.body), cut);
            }
            assert_comes_apart_by_bytes(records, rec.chunks_count, buf_slice(&rec.body));
            recording_finish(&rec);
        }
    }
}

static void test_a_body_without_chunks_comes_apart_too(void **state)
{
    for (size_t e = 0; e < ARRAY_SIZE(recording_engines); e++) {
        struct expected_record records[RECORDING_CHUNKS_MAX];
        struct recording chunked, bare;
        struct checker c;
        struct frame_reader r;

        recording_load(&chunked, recording_engines[e], "logs-nontty-mixed");
        recording_load(&bare, recording_engines[e], "logs-nontty-mixed-http10");
        assert_int_equal(0, bare.chunks_count);
        for (size_t i = 0; i < chunked.chunks_count; i++) {
            records[i].stream = (enum frame_stream)chunked.chunks[i].data[0];
            records[i].payload = slice_from(chunked.chunks[i], 8);
        }
        c = (struct checker){.records = records, .count = chunked.chunks_count};
        r = reader_of(&c);
        assert_int_equal(0, frame_reader_feed(&r, buf_slice(&bare.body)));
        assert_true(frame_reader_is_whole(&r));
        checker_assert_done(&c);
        recording_finish(&chunked);
        recording_finish(&bare);
    }
}

struct piece {
    enum frame_stream stream;
    struct slice bytes;
    unsigned flags;
};

struct pieces {
    struct piece items[16];
    size_t count;
    size_t fail_at; /* this piece is answered with -ECANCELED; 0: none */
};

static int pieces_on_piece(void *ctx, enum frame_stream stream, struct slice piece, unsigned flags)
{
    struct pieces *p = ctx;

    assert_true(p->count < ARRAY_SIZE(p->items));
    p->items[p->count++] = (struct piece){stream, piece, flags};
    return p->count == p->fail_at ? -ECANCELED : 0;
}

static void test_a_whole_frame_is_one_piece_of_the_input(void **state)
{
    struct pieces p = {0};
    struct frame_reader r = {.on_piece = pieces_on_piece, .ctx = &p, .size_max = 64};
    struct buf body = {0};

    frame_append(&body, 1, slice_str("ab\n"));
    frame_append(&body, 2, slice_str(""));
    frame_append(&body, 3, slice_str("Error grabbing logs: EOF\n"));
    assert_int_equal(0, frame_reader_feed(&r, buf_slice(&body)));

    assert_int_equal(3, p.count);
    assert_int_equal(FRAME_STDOUT, p.items[0].stream);
    assert_ptr_equal(body.data + 8, p.items[0].bytes.data);
    assert_int_equal(3, p.items[0].bytes.len);
    assert_int_equal(FRAME_STDERR, p.items[1].stream);
    assert_int_equal(0, p.items[1].bytes.len);
    assert_int_equal(FRAME_ERROR, p.items[2].stream);
    assert_ptr_equal(body.data + 27, p.items[2].bytes.data);
    for (size_t i = 0; i < p.count; i++)
        assert_int_equal(FRAME_BEGIN | FRAME_END, p.items[i].flags);
    buf_finish(&body);
}

static void test_a_payload_behind_a_cut_header_is_one_piece(void **state)
{
    struct pieces p = {0};
    struct frame_reader r = {.on_piece = pieces_on_piece, .ctx = &p, .size_max = 64};
    struct buf body = {0};

    frame_append(&body, 1, slice_str("ab\n"));
    for (size_t cut = 1; cut <= 8; cut++) {
        p.count = 0;
        assert_int_equal(0, frame_reader_feed(&r, slice_of(body.data, cut)));
        assert_int_equal(0, p.count);
        assert_false(frame_reader_is_whole(&r));
        assert_int_equal(0, frame_reader_feed(&r, slice_from(buf_slice(&body), cut)));
        assert_int_equal(1, p.count);
        assert_int_equal(FRAME_BEGIN | FRAME_END, p.items[0].flags);
        assert_true(frame_reader_is_whole(&r));
    }
    buf_finish(&body);
}

static void test_an_empty_payload_ends_with_its_header(void **state)
{
    struct pieces p = {0};
    struct frame_reader r = {.on_piece = pieces_on_piece, .ctx = &p, .size_max = 64};
    struct buf body = {0};

    frame_append(&body, 2, slice_str(""));
    assert_int_equal(0, frame_reader_feed(&r, slice_of(body.data, 7)));
    assert_int_equal(0, p.count);
    assert_int_equal(0, frame_reader_feed(&r, slice_of(body.data + 7, 1)));
    assert_int_equal(1, p.count);
    assert_int_equal(FRAME_BEGIN | FRAME_END, p.items[0].flags);
    assert_true(frame_reader_is_whole(&r));
    buf_finish(&body);
}

static void test_a_cut_payload_is_not_whole(void **state)
{
    struct pieces p = {0};
    struct frame_reader r = {.on_piece = pieces_on_piece, .ctx = &p, .size_max = 64};
    struct buf body = {0};

    frame_append(&body, 1, slice_str("abc"));
    assert_int_equal(0, frame_reader_feed(&r, slice_of(body.data, body.len - 1)));
    assert_false(frame_reader_is_whole(&r));
    assert_int_equal(1, p.count);
    assert_int_equal(FRAME_BEGIN, p.items[0].flags);
    assert_int_equal(2, p.items[0].bytes.len);
    buf_finish(&body);
}

static void test_what_is_no_header_is_refused_at_every_cut(void **state)
{
    static const unsigned char bad[][8] = {
        {0, 0, 0, 0, 0, 0, 0, 1},    /* stdin is not in a log */
        {4, 0, 0, 0, 0, 0, 0, 1},    /* no such stream */
        {1, 1, 0, 0, 0, 0, 0, 1},    /* padding */
        {1, 0, 1, 0, 0, 0, 0, 1},    /* padding */
        {2, 0, 0, 1, 0, 0, 0, 1},    /* padding */
        {1, 0, 0, 0, 0, 1, 0, 1},    /* longer than size_max */
        {1, 0, 0, 0, 0x80, 0, 0, 0}, /* a negative one, for who takes it for an int */
        {1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff},
        {'H', 'T', 'T', 'P', '/', '1', '.', '1'},
    };
    struct buf body = {0};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        size_t header_end;

        buf_reset(&body);
        frame_append(&body, 1, slice_str("ok\n"));
        assert_int_equal(0, buf_append(&body, bad[i], 8));
        header_end = body.len;
        assert_int_equal(0, buf_append_str(&body, "payload"));
        for (size_t cut = 0; cut <= body.len; cut++) {
            struct pieces p = {0};
            struct frame_reader r = {
                .on_piece = pieces_on_piece, .ctx = &p, .size_max = SIZE_MAX_TEST};
            int first = frame_reader_feed(&r, slice_of(body.data, cut));

            assert_int_equal(cut < header_end ? 0 : -EBADMSG, first);
            if (first == 0)
                assert_int_equal(-EBADMSG,
                                 frame_reader_feed(&r, slice_from(buf_slice(&body), cut)));
            assert_true(p.count >= 1);
            assert_int_equal(FRAME_END, p.items[p.count - 1].flags & FRAME_END);
        }
    }
    buf_finish(&body);
}

static void test_the_longest_legal_frame_passes(void **state)
{
    struct buf payload = {0}, body = {0};
    struct expected_record record = {.stream = FRAME_STDOUT};

    assert_int_equal(0, buf_reserve(&payload, SIZE_MAX_TEST));
    memset(payload.data, 'x', SIZE_MAX_TEST);
    payload.len = SIZE_MAX_TEST;
    record.payload = buf_slice(&payload);
    frame_append(&body, 1, record.payload);
    assert_comes_apart_in_two(&record, 1, buf_slice(&body), 0);
    assert_comes_apart_in_two(&record, 1, buf_slice(&body), SIZE_MAX_TEST / 2);
    buf_finish(&payload);
    buf_finish(&body);
}

static void test_a_refused_piece_stops_the_reader(void **state)
{
    struct buf body = {0};

    frame_append(&body, 1, slice_str("one\n"));
    frame_append(&body, 1, slice_str("two\n"));
    for (size_t cut = 0; cut <= body.len; cut++) {
        struct pieces p = {.fail_at = 1};
        struct frame_reader r = {.on_piece = pieces_on_piece, .ctx = &p, .size_max = 64};
        int k = frame_reader_feed(&r, slice_of(body.data, cut));

        if (k == 0)
            k = frame_reader_feed(&r, slice_from(buf_slice(&body), cut));
        assert_int_equal(-ECANCELED, k);
        assert_int_equal(1, p.count);
    }
    buf_finish(&body);
}

static void test_random_frames_come_apart_at_random_cuts(void **state)
{
    static char text[1024];
    struct expected_record records[64];
    struct random rnd;
    struct buf body = {0};

    random_seed(&rnd, 24);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)random_below(&rnd, 4);
    for (size_t round = 0; round < 2000; round++) {
        struct checker c = {.records = records, .count = ARRAY_SIZE(records)};
        struct frame_reader r = reader_of(&c);
        struct slice left;

        buf_reset(&body);
        for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
            size_t len = (size_t)random_below(&rnd, random_below(&rnd, 4) == 0 ? 600 : 12);

            records[i].stream = (enum frame_stream)(1 + random_below(&rnd, 3));
            records[i].payload = slice_of(text + random_below(&rnd, sizeof text - len), len);
            frame_append(&body, records[i].stream, records[i].payload);
        }
        left = buf_slice(&body);
        while (left.len > 0) {
            size_t take = (size_t)random_below(&rnd, round % 2 == 0 ? 40 : 900);

            take = MIN(take, left.len);
            assert_int_equal(0, frame_reader_feed(&r, slice_of(left.data, take)));
            left = slice_from(left, take);
        }
        assert_true(frame_reader_is_whole(&r));
        checker_assert_done(&c);
    }
    buf_finish(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {.name = "S24 every split gives the same records",
         .test_func = test_s24_every_split_gives_the_same_records},
        cmocka_unit_test(test_every_recorded_log_comes_apart_at_every_cut),
        cmocka_unit_test(test_a_body_without_chunks_comes_apart_too),
        cmocka_unit_test(test_a_whole_frame_is_one_piece_of_the_input),
        cmocka_unit_test(test_a_payload_behind_a_cut_header_is_one_piece),
        cmocka_unit_test(test_an_empty_payload_ends_with_its_header),
        cmocka_unit_test(test_a_cut_payload_is_not_whole),
        cmocka_unit_test(test_what_is_no_header_is_refused_at_every_cut),
        cmocka_unit_test(test_the_longest_legal_frame_passes),
        cmocka_unit_test(test_a_refused_piece_stops_the_reader),
        cmocka_unit_test(test_random_frames_come_apart_at_random_cuts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
