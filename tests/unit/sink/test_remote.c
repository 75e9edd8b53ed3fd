/* The remote sink: what it sends, when it sends it again, and when a record is done with. */
#include "ringtail/sink/remote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"
#include "support/fake_ring.h"
#include "remote_fixture.h"

static const struct sink_remote_options usual;

/* ---- what goes into a request ---- */

static void test_requests_are_cut_by_their_number_of_records(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 10}, false);
    remote_submit_lines(&f, 3); /* there is a slot, so they go at once */
    remote_expect(remote_request(&f), 0, 2);
    remote_submit_lines(&f, 4);
    remote_submit_lines(&f, 25);
    assert_int_equal(1, f.t.pending_count);
    remote_accept(&f);
    remote_expect(remote_request(&f), 3, 12);
    assert_int_equal(1, f.s.settled);
    remote_accept(&f);
    assert_int_equal(2, f.s.settled);
    remote_expect(remote_request(&f), 13, 22);
    remote_accept(&f);
    remote_expect(remote_request(&f), 23, 31);
    assert_int_equal(2, f.s.settled);
    remote_accept(&f);
    assert_null(fake_transport_first(&f.t));
    remote_expect_all(&f, 32);
    assert_int_equal(32, f.s.sink->records_settled);
    assert_int_equal(0, f.s.sink->queued_bytes);
    assert_int_equal(4, f.s.progress);
    assert_int_equal(4, f.replies);
    assert_int_equal(4, remote_stats(&f)->requests[CODEC_DONE]);
    assert_int_equal(32, remote_stats(&f)->records_sent);
    assert_int_equal(0, remote_stats(&f)->records_again);
    assert_int_equal(400, remote_stats(&f)->body_bytes);
    assert_int_equal(40, f.s.sink->bytes_written);
    remote_finish(&f);
}

static void test_requests_are_cut_by_their_bytes(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.bytes_max = 100}, false);
    remote_submit_long(&f, 1, 40);
    remote_submit_long(&f, 3, 40); /* 2 fit */
    remote_submit_long(&f, 1, 500);
    remote_submit_long(&f, 2, 50);
    assert_int_equal(4 * 40 + 500 + 2 * 50, f.s.sink->queued_bytes);
    remote_expect(remote_request(&f), 0, 0);
    remote_accept(&f);
    remote_expect(remote_request(&f), 1, 2);
    assert_int_equal(3 * 40 + 500 + 2 * 50, f.s.sink->queued_bytes);
    remote_accept(&f);
    remote_expect(remote_request(&f), 3, 3);
    remote_accept(&f);
    remote_expect(remote_request(&f), 4, 4); /* too long for any request, and goes all the same */
    remote_accept(&f);
    remote_expect(remote_request(&f), 5, 6);
    remote_accept(&f);
    remote_expect_all(&f, 7);
    remote_finish(&f);
}

static void test_a_request_waits_to_become_full_only_for_so_long(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 10, .linger_ms = 50}, false);
    remote_submit_lines(&f, 9);
    fake_ring_advance(f.s.ring, 49);
    assert_null(fake_transport_first(&f.t));
    fake_ring_advance(f.s.ring, 1);
    remote_expect(remote_request(&f), 0, 8);
    remote_accept(&f);
    /* Full: it goes at once, and the rest lingers. */
    remote_submit_lines(&f, 12);
    remote_expect(remote_request(&f), 9, 18);
    remote_accept(&f);
    assert_null(fake_transport_first(&f.t));
    fake_ring_advance(f.s.ring, 50);
    remote_expect(remote_request(&f), 19, 20);
    /* What has lingered while no request was free goes with the next one. */
    remote_submit_lines(&f, 2);
    fake_ring_advance(f.s.ring, 50);
    assert_int_equal(1, f.t.pending_count);
    remote_submit_lines(&f, 1);
    remote_accept(&f);
    remote_expect(remote_request(&f), 21, 23);
    remote_accept(&f);
    /* The end is not waited for. */
    remote_submit_lines(&f, 1);
    assert_null(fake_transport_first(&f.t));
    sink_close(f.s.sink);
    remote_expect(remote_request(&f), 24, 24);
    remote_accept(&f);
    fake_ring_run(f.s.ring);
    assert_int_equal(1, f.s.closed);
    remote_expect_all(&f, 25);
    remote_finish(&f);
}

static void test_full_by_bytes_does_not_linger(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.bytes_max = 100, .linger_ms = 50}, false);
    remote_submit_long(&f, 1, 60);
    assert_null(fake_transport_first(&f.t));
    remote_submit_long(&f, 1, 60);
    remote_expect(remote_request(&f), 0, 0);
    remote_accept(&f);
    assert_null(fake_transport_first(&f.t));
    fake_ring_advance(f.s.ring, 50);
    remote_expect(remote_request(&f), 1, 1);
    remote_accept(&f);
    remote_finish(&f);
}

static void test_several_requests_are_in_flight_at_once(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 10, .in_flight_max = 3}, false);
    remote_submit_lines(&f, 100);
    assert_int_equal(3, f.t.pending_count);
    assert_int_equal(3, remote_stats(&f)->in_flight);
    /* The middle one is answered first: its batch has others to wait for. */
    fake_accept(&f.t, fake_transport_nth(&f.t, 1));
    assert_int_equal(3, f.t.pending_count);
    remote_expect(fake_transport_nth(&f.t, 2), 30, 39);
    for (unsigned n = 0; n < 9; n++) {
        assert_int_equal(0, f.s.settled);
        remote_accept(&f);
    }
    assert_int_equal(1, f.s.settled);
    assert_int_equal(100, f.s.sink->records_settled);
    remote_finish(&f);
}

static void test_batches_settle_by_themselves(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 10, .in_flight_max = 3}, false);
    for (unsigned n = 0; n < 3; n++)
        remote_submit_lines(&f, 10);
    fake_accept(&f.t, fake_transport_nth(&f.t, 2));
    assert_int_equal(1, f.s.settled);
    fake_accept(&f.t, fake_transport_nth(&f.t, 0));
    assert_int_equal(2, f.s.settled);
    remote_accept(&f);
    assert_int_equal(3, f.s.settled);
    remote_finish(&f);
}

static void test_empty_batches_settle_at_once(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &usual, false);
    remote_submit_lines(&f, 0);
    assert_int_equal(1, f.s.settled);
    assert_int_equal(0, f.t.started);
    remote_finish(&f);
}

static void test_many_batches_and_long_requests_need_more_room(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 1000}, false);
    for (unsigned n = 0; n < 300; n++)
        remote_submit_lines(&f, n % 7 + 1);
    remote_accept(&f);
    assert_int_equal(1000, remote_request(&f)->count);
    while (fake_transport_first(&f.t))
        remote_accept(&f);
    assert_int_equal(300, f.s.settled);
    remote_expect_all(&f, f.next_line);
    remote_finish(&f);
}

/* ---- tries that fail ---- */

static void test_without_a_reply_the_same_records_are_sent_again(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 10}, false);
    remote_submit_lines(&f, 15);
    remote_submit_lines(&f, 15);
    fake_no_reply(&f.t, remote_request(&f), -ECONNREFUSED);
    assert_int_equal(SINK_RETRYING, f.s.sink->state);
    assert_string_equal("Connection refused", f.s.sink->reason);
    assert_int_equal(1, f.s.sink->errors);
    assert_int_equal(-ECONNREFUSED, f.s.sink->last_error);
    assert_null(fake_transport_first(&f.t));
    assert_in_range(remote_stats(&f)->pause_ms, 50, 100);
    fake_ring_advance(f.s.ring, remote_stats(&f)->pause_ms - 1);
    assert_null(fake_transport_first(&f.t));
    remote_submit_lines(&f, 1);
    assert_null(fake_transport_first(&f.t));
    fake_ring_advance(f.s.ring, 1);
    assert_int_equal(0, remote_stats(&f)->pause_ms);
    remote_expect(remote_request(&f), 0, 9);
    assert_int_equal(SINK_RETRYING, f.s.sink->state);
    remote_accept(&f);
    assert_int_equal(SINK_OK, f.s.sink->state);
    assert_string_equal("", f.s.sink->reason);
    assert_int_equal(0, f.s.sink->last_error);
    while (fake_transport_first(&f.t))
        remote_accept(&f);
    remote_expect_all(&f, 31);
    assert_int_equal(1, remote_stats(&f)->retries);
    assert_int_equal(10, remote_stats(&f)->records_again);
    assert_int_equal(1, remote_stats(&f)->requests[SINK_REMOTE_NO_REPLY]);
    remote_finish(&f);
}

static void test_the_pauses_grow_and_have_a_bound(void **state)
{
    struct remote_fixture f;
    int64_t bound = 100, most_seen = 0;
    unsigned distinct = 0;
    int64_t before = 0;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.retry_max_ms = 1500}, false);
    remote_submit_lines(&f, 1);
    for (unsigned n = 0; n < 60; n++) {
        int64_t pause_ms;

        fake_reply(&f.t, remote_request(&f), CODEC_AGAIN, CODEC_RETRY, 500);
        pause_ms = remote_stats(&f)->pause_ms;
        assert_in_range(pause_ms, 50, MIN(bound, 1500));
        most_seen = MAX(most_seen, pause_ms);
        distinct += pause_ms != before;
        before = pause_ms;
        bound = MIN(2 * bound, 1500);
        fake_ring_advance(f.s.ring, pause_ms);
    }
    assert_true(most_seen > 1000);
    assert_true(distinct > 40);
    assert_string_equal("status 500, says the transport", f.s.sink->reason);
    remote_accept(&f);
    /* After a good one they begin anew. */
    remote_submit_lines(&f, 1);
    fake_no_reply(&f.t, remote_request(&f), -ETIMEDOUT);
    assert_in_range(remote_stats(&f)->pause_ms, 50, 100);
    fake_ring_advance(f.s.ring, 100);
    remote_accept(&f);
    remote_expect_all(&f, 2);
    remote_finish(&f);
}

static void test_a_receiver_that_is_busy_is_left_alone_as_long_as_it_asks(void **state)
{
    static const int statuses[] = {429, 503};
    struct remote_fixture f;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
        struct request *q;

        remote_open(&f, &(struct sink_remote_options){.records_max = 10}, false);
        remote_submit_lines(&f, 25);
        q = remote_request(&f);
        fake_judge(q, CODEC_BUSY, statuses[i]);
        q->judgement.retry_after_ms = 30000;
        fake_done(&f.t, q);
        assert_int_equal(SINK_RETRYING, f.s.sink->state);
        assert_non_null(strstr(f.s.sink->reason, i == 0 ? "429" : "503"));
        assert_in_range(remote_stats(&f)->pause_ms, 30000, 30100);
        fake_ring_advance(f.s.ring, 29999);
        assert_null(fake_transport_first(&f.t));
        fake_ring_advance(f.s.ring, 101);
        remote_expect(remote_request(&f), 0, 9);
        /* Absent: back-off. */
        fake_reply(&f.t, remote_request(&f), CODEC_BUSY, CODEC_RETRY, statuses[i]);
        assert_in_range(remote_stats(&f)->pause_ms, 50, 200);
        fake_ring_advance(f.s.ring, 200);
        while (fake_transport_first(&f.t))
            remote_accept(&f);
        assert_int_equal(2, remote_stats(&f)->requests[CODEC_BUSY]);
        assert_int_equal(SINK_OK, f.s.sink->state);
        remote_expect_all(&f, 25);
        remote_finish(&f);
    }
}

static void test_retry_after_has_a_bound(void **state)
{
    struct remote_fixture f;
    struct request *q;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.retry_after_max_ms = 5000}, false);
    remote_submit_lines(&f, 1);
    q = remote_request(&f);
    fake_judge(q, CODEC_BUSY, 503);
    q->judgement.retry_after_ms = 86400000;
    fake_done(&f.t, q);
    assert_in_range(remote_stats(&f)->pause_ms, 5000, 5100);
    /* 0 is no answer: without a pause it would be sent again and again. */
    fake_ring_advance(f.s.ring, 5100);
    q = remote_request(&f);
    fake_judge(q, CODEC_BUSY, 503);
    q->judgement.retry_after_ms = 0;
    fake_done(&f.t, q);
    assert_in_range(remote_stats(&f)->pause_ms, 50, 200);
    fake_ring_advance(f.s.ring, 200);
    remote_accept(&f);
    remote_finish(&f);
}

static void test_a_longer_pause_takes_the_place_of_a_shorter_one(void **state)
{
    struct remote_fixture f;
    struct request *q;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 10, .in_flight_max = 4}, false);
    remote_submit_lines(&f, 40);
    fake_no_reply(&f.t, remote_request(&f), -ECONNRESET);
    assert_in_range(remote_stats(&f)->pause_ms, 50, 100);
    fake_ring_advance(f.s.ring, 10);
    q = remote_request(&f);
    fake_judge(q, CODEC_BUSY, 429);
    q->judgement.retry_after_ms = 60000;
    fake_done(&f.t, q);
    assert_in_range(remote_stats(&f)->pause_ms, 60000, 60100);
    /* A failure of the same outage is not another one, and a shorter pause is none. */
    fake_no_reply(&f.t, remote_request(&f), -ECONNRESET);
    q = remote_request(&f);
    fake_judge(q, CODEC_BUSY, 429);
    q->judgement.retry_after_ms = 1000;
    fake_done(&f.t, q);
    assert_in_range(remote_stats(&f)->pause_ms, 60000, 60100);
    fake_ring_advance(f.s.ring, 59999);
    assert_null(fake_transport_first(&f.t));
    fake_ring_advance(f.s.ring, 101);
    remote_expect(remote_request(&f), 0, 9);
    for (unsigned n = 0; n < 4; n++)
        remote_accept(&f);
    remote_expect_all(&f, 40);
    remote_finish(&f);
}

static void test_what_failed_goes_before_what_is_new_and_first_by_itself(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 10, .in_flight_max = 4}, false);
    remote_submit_lines(&f, 100);
    assert_int_equal(4, f.t.pending_count);
    /* The first and the third of them fail; the other two land. */
    fake_no_reply(&f.t, fake_transport_nth(&f.t, 2), -ECONNRESET);
    fake_no_reply(&f.t, fake_transport_nth(&f.t, 0), -ECONNRESET);
    remote_expect(fake_transport_nth(&f.t, 0), 10, 19);
    fake_accept(&f.t, fake_transport_nth(&f.t, 0));
    assert_int_equal(SINK_RETRYING, f.s.sink->state);
    fake_accept(&f.t, fake_transport_nth(&f.t, 0));
    assert_null(fake_transport_first(&f.t));
    fake_ring_advance(f.s.ring, 100);
    /* One request shows whether the receiver is well again. */
    assert_int_equal(1, f.t.pending_count);
    remote_expect(remote_request(&f), 0, 9);
    fake_accept(&f.t, remote_request(&f));
    assert_int_equal(4, f.t.pending_count);
    remote_expect(fake_transport_nth(&f.t, 0), 20, 29);
    for (size_t n = 1; n < 4; n++)
        remote_expect(fake_transport_nth(&f.t, n), 30 + 10 * n, 39 + 10 * n);
    while (fake_transport_first(&f.t))
        remote_accept(&f);
    assert_int_equal(100, f.s.sink->records_settled);
    remote_finish(&f);
}

static void test_a_suspended_sink_tries_only_now_and_then(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 10, .in_flight_max = 4}, false);
    remote_submit_lines(&f, 100);
    for (unsigned n = 0; n < 4; n++)
        fake_reply(&f.t, remote_request(&f), CODEC_SUSPENDED, CODEC_RETRY, 401);
    assert_int_equal(SINK_SUSPENDED, f.s.sink->state);
    assert_string_equal("status 401, says the transport", f.s.sink->reason);
    assert_int_equal(-EACCES, f.s.sink->last_error);
    for (unsigned n = 0; n < 5; n++) {
        assert_int_equal(60000, remote_stats(&f)->pause_ms);
        remote_submit_lines(&f, 10);
        fake_ring_advance(f.s.ring, 59999);
        assert_int_equal(4 + n, f.t.started);
        fake_ring_advance(f.s.ring, 1);
        assert_int_equal(5 + n, f.t.started);
        assert_int_equal(SINK_SUSPENDED, f.s.sink->state);
        remote_expect(remote_request(&f), 0, 9);
        fake_reply(&f.t, remote_request(&f), CODEC_SUSPENDED, CODEC_RETRY, 403);
    }
    fake_ring_advance(f.s.ring, 60000);
    remote_accept(&f);
    assert_int_equal(SINK_OK, f.s.sink->state);
    while (fake_transport_first(&f.t))
        remote_accept(&f);
    remote_expect_all(&f, 150);
    remote_finish(&f);
}

static void test_a_late_failure_does_not_end_a_suspension(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 10, .in_flight_max = 2}, false);
    remote_submit_lines(&f, 20);
    fake_reply(&f.t, remote_request(&f), CODEC_SUSPENDED, CODEC_RETRY, 404);
    fake_no_reply(&f.t, remote_request(&f), -ETIMEDOUT);
    assert_int_equal(SINK_SUSPENDED, f.s.sink->state);
    assert_string_equal("status 404, says the transport", f.s.sink->reason);
    assert_int_equal(60000, remote_stats(&f)->pause_ms);
    /* But a try that fails in another way does. */
    fake_ring_advance(f.s.ring, 60000);
    fake_no_reply(&f.t, remote_request(&f), -ECONNREFUSED);
    assert_int_equal(SINK_RETRYING, f.s.sink->state);
    fake_ring_advance(f.s.ring, 100);
    remote_accept(&f);
    remote_accept(&f);
    remote_expect_all(&f, 20);
    remote_finish(&f);
}

/* ---- verdicts ---- */

static void test_each_record_gets_its_own_verdict(void **state)
{
    struct remote_fixture f;
    struct request *q;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 12}, true);
    remote_submit_lines(&f, 6);
    remote_submit_lines(&f, 12);
    remote_accept(&f);
    q = remote_request(&f);
    remote_expect(q, 6, 17);
    fake_judge(q, CODEC_BUSY, 200);
    for (size_t i = 0; i < 12; i++) {
        if (i % 3 == 1)
            fake_verdict(q, i, CODEC_ACCEPTED, NULL);
        if (i % 3 == 2)
            fake_verdict(q, i, CODEC_REFUSED, "a field is not a number");
    }
    fake_done(&f.t, q);
    assert_int_equal(SINK_RETRYING, f.s.sink->state);
    assert_int_equal(10, f.s.sink->records_settled);
    assert_int_equal(0, f.s.sink->records_lost);
    fake_ring_run(f.s.ring); /* the letters */
    assert_int_equal(4, f.lost[LOST_REFUSED]);
    assert_int_equal(4, remote_stats(&f)->records_dead_lettered);
    fake_ring_advance(f.s.ring, 100);
    q = remote_request(&f);
    assert_int_equal(4, q->count);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(6 + 3 * i, remote_number(q->records[i]));
    fake_judge(q, CODEC_AGAIN, 200);
    fake_verdict(q, 0, CODEC_ACCEPTED, NULL);
    fake_verdict(q, 2, CODEC_ACCEPTED, NULL);
    fake_done(&f.t, q);
    fake_ring_advance(f.s.ring, 200);
    q = remote_request(&f);
    assert_int_equal(2, q->count);
    assert_int_equal(9, remote_number(q->records[0]));
    assert_int_equal(15, remote_number(q->records[1]));
    assert_int_equal(1, f.s.settled);
    fake_accept(&f.t, q);
    assert_int_equal(2, f.s.settled);
    assert_int_equal(14, f.s.sink->records_settled);
    assert_int_equal(6, remote_stats(&f)->records_again);
    remote_finish(&f);
}

/** Answers as a receiver that refuses whole requests for what `is_bad` says. */
static unsigned answer_all(struct remote_fixture *f, bool (*is_bad)(uint64_t number, uint64_t bad),
                           uint64_t bad)
{
    struct request *q;
    unsigned requests = 0;

    while ((q = fake_transport_first(&f->t))) {
        size_t found = 0;

        requests++;
        for (size_t i = 0; i < q->count; i++)
            found += is_bad(remote_number(q->records[i]), bad);
        if (found == 0)
            remote_accept(f);
        else if (q->count > 1)
            fake_reply(&f->t, q, CODEC_SPLIT, CODEC_RETRY, 400);
        else
            fake_reply(&f->t, q, CODEC_DONE, CODEC_REFUSED, 400);
    }
    fake_ring_run(f->s.ring);
    return requests;
}

static bool is_number(uint64_t number, uint64_t bad)
{
    return number == bad;
}

static int expect_letter(void *ctx, const struct dead_letter_line *line)
{
    const uint64_t *number = ctx;

    assert_int_equal(400, line->status);
    assert_true(slice_eq_str(line->sink, "far"));
    assert_true(slice_eq_str(line->reason, "not like that"));
    assert_int_equal(*number, strtoull(line->line.data + 5, NULL, 10));
    return 0;
}

static void test_one_bad_line_of_500_is_found(void **state)
{
    struct remote_fixture f;
    struct dead_letters_found found;
    uint64_t bad = 321;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 500}, true);
    remote_submit_lines(&f, 500);
    /* A try and a half of its size for each halving, the bad one's own, and the rest of them. */
    assert_in_range(answer_all(&f, is_number, bad), 10, 19);
    assert_int_equal(499, f.got_count);
    for (size_t i = 0; i < 499; i++)
        assert_int_equal(i < bad ? i : i + 1, f.got[i]);
    assert_int_equal(499, f.s.sink->records_settled);
    assert_int_equal(1, f.lost[LOST_REFUSED]);
    assert_int_equal(1, f.s.settled);
    assert_int_equal(0, f.settled_at_loss);
    assert_int_equal(SINK_OK, f.s.sink->state);
    assert_int_equal(0, f.s.sink->errors);
    assert_int_equal(
        0, dead_letters_read(test_path(&f.s, "dead/letters"), 1, expect_letter, &bad, &found));
    assert_int_equal(1, found.lines);
    assert_int_equal(0, found.damaged);
    remote_finish(&f);
}

static void test_a_bad_line_is_found_wherever_it_is(void **state)
{
    (void)state;
    for (int64_t size = 1; size <= 9; size++) {
        for (uint64_t bad = 0; bad < 18; bad++) {
            struct remote_fixture f;

            remote_open(&f, &(struct sink_remote_options){.records_max = size}, false);
            remote_submit_lines(&f, 7);
            remote_submit_lines(&f, 11);
            (void)answer_all(&f, is_number, bad);
            assert_int_equal(17, f.got_count);
            for (size_t i = 0; i < 17; i++)
                assert_int_equal(i < bad ? i : i + 1, f.got[i]);
            assert_int_equal(1, f.lost[LOST_REFUSED]);
            assert_int_equal(2, f.s.settled);
            remote_finish(&f);
        }
    }
}

static bool is_in_mask(uint64_t number, uint64_t mask)
{
    return mask >> number & 1;
}

static void test_any_set_of_bad_lines_is_found(void **state)
{
    (void)state;
    for (uint64_t mask = 0; mask < 256; mask++) {
        struct remote_fixture f;
        size_t next = 0;

        remote_open(&f, &(struct sink_remote_options){.records_max = 8}, false);
        remote_submit_lines(&f, 8);
        (void)answer_all(&f, is_in_mask, mask);
        for (uint64_t number = 0; number < 8; number++) {
            if (!is_in_mask(number, mask))
                assert_int_equal(number, f.got[next++]);
        }
        assert_int_equal(next, f.got_count);
        assert_int_equal(8 - next, f.lost[LOST_REFUSED]);
        remote_finish(&f);
    }
}

static void test_nothing_newer_is_sent_while_a_request_is_cut_up(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 8, .in_flight_max = 3}, false);
    remote_submit_lines(&f, 8);
    remote_submit_lines(&f, 8);
    fake_reply(&f.t, remote_request(&f), CODEC_SPLIT, CODEC_RETRY, 413);
    remote_submit_lines(&f, 80);
    /* The second request was under way; of the first one, the first half is. */
    assert_int_equal(2, f.t.pending_count);
    remote_expect(fake_transport_nth(&f.t, 1), 0, 3);
    fake_accept(&f.t, fake_transport_nth(&f.t, 1));
    /* With the last piece of it the way is free. */
    assert_int_equal(3, f.t.pending_count);
    remote_expect(fake_transport_nth(&f.t, 1), 4, 7);
    remote_expect(fake_transport_nth(&f.t, 2), 16, 23);
    while (fake_transport_first(&f.t))
        remote_accept(&f);
    assert_int_equal(96, f.s.sink->records_settled);
    assert_int_equal(1, remote_stats(&f)->splits);
    assert_int_equal(8, remote_stats(&f)->records_again);
    assert_int_equal(0, remote_stats(&f)->retries);
    remote_finish(&f);
}

static void test_a_half_that_fails_is_sent_again_as_it_is(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 8}, false);
    remote_submit_lines(&f, 16);
    fake_reply(&f.t, remote_request(&f), CODEC_SPLIT, CODEC_RETRY, 400);
    remote_expect(remote_request(&f), 0, 3);
    fake_no_reply(&f.t, remote_request(&f), -ETIMEDOUT);
    fake_ring_advance(f.s.ring, 100);
    remote_expect(remote_request(&f), 0, 3);
    remote_accept(&f);
    remote_expect(remote_request(&f), 4, 7);
    remote_accept(&f);
    remote_expect(remote_request(&f), 8, 15);
    remote_accept(&f);
    remote_expect_all(&f, 16);
    remote_finish(&f);
}

static void test_what_some_verdicts_leave_of_a_request_is_halved(void **state)
{
    struct remote_fixture f;
    struct request *q;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 8}, false);
    remote_submit_lines(&f, 8);
    q = remote_request(&f);
    fake_judge(q, CODEC_SPLIT, 400);
    for (size_t i = 0; i < 5; i++)
        fake_verdict(q, i, CODEC_ACCEPTED, NULL);
    fake_done(&f.t, q);
    remote_expect(remote_request(&f), 5, 6);
    fake_accept(&f.t, remote_request(&f));
    remote_expect(remote_request(&f), 7, 7);
    fake_accept(&f.t, remote_request(&f));
    assert_int_equal(8, f.s.sink->records_settled);
    remote_finish(&f);
}

static void test_a_record_alone_that_is_to_be_split_waits(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &usual, false);
    remote_submit_lines(&f, 1);
    fake_reply(&f.t, remote_request(&f), CODEC_SPLIT, CODEC_RETRY, 400);
    assert_null(fake_transport_first(&f.t));
    assert_int_equal(SINK_RETRYING, f.s.sink->state);
    fake_ring_advance(f.s.ring, 100);
    remote_accept(&f);
    remote_finish(&f);
}

static void test_what_is_too_much_for_one_request_becomes_two(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &usual, false);
    remote_submit_lines(&f, 9);
    fake_no_reply(&f.t, remote_request(&f), -EMSGSIZE);
    assert_int_equal(SINK_OK, f.s.sink->state);
    remote_expect(remote_request(&f), 0, 4);
    remote_accept(&f);
    remote_expect(remote_request(&f), 5, 8);
    remote_accept(&f);
    remote_expect_all(&f, 9);
    remote_finish(&f);
}

static void test_refused_records_without_a_file_are_counted_before_their_batch_settles(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &usual, false);
    remote_submit_lines(&f, 3);
    fake_reply(&f.t, remote_request(&f), CODEC_DONE, CODEC_REFUSED, 400);
    assert_int_equal(3, f.lost[LOST_REFUSED]);
    assert_int_equal(1, f.lost_calls); /* one source, one reason */
    assert_int_equal(0, f.settled_at_loss);
    assert_int_equal(1, f.s.settled);
    assert_int_equal(0, f.s.sink->records_settled);
    assert_int_equal(3, remote_stats(&f)->records_refused);
    assert_int_equal(0, remote_stats(&f)->records_dead_lettered);
    remote_finish(&f);
}

static void test_a_refused_record_is_done_with_when_its_letter_is_written(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &usual, true);
    remote_submit_lines(&f, 3);
    fake_ring_fail(f.s.ring, OP_WRITE, -ENOSPC, 0, 3);
    fake_reply(&f.t, remote_request(&f), CODEC_DONE, CODEC_REFUSED, 400);
    for (unsigned n = 0; n < 3; n++) {
        fake_ring_run(f.s.ring);
        assert_int_equal(0, f.s.settled);
        assert_int_equal(0, f.s.sink->records_lost);
        assert_int_equal(60, f.s.sink->queued_bytes);
        assert_int_equal(3, remote_stats(&f)->letters_waiting);
        assert_int_equal(-ENOSPC, dead_letters_stats(f.letters)->last_error);
        fake_ring_advance(f.s.ring, 1000);
    }
    assert_int_equal(1, f.s.settled);
    assert_int_equal(3, f.lost[LOST_REFUSED]);
    assert_int_equal(0, f.settled_at_loss);
    assert_true(f.s.progress > 0);
    assert_int_equal(3, remote_stats(&f)->records_dead_lettered);
    /* The receiver did nothing wrong. */
    assert_int_equal(SINK_OK, f.s.sink->state);
    remote_finish(&f);
}

static void test_what_a_receiver_drops_without_a_name_is_counted(void **state)
{
    struct remote_fixture f;
    struct request *q;

    (void)state;
    remote_open(&f, &usual, true);
    remote_submit_lines(&f, 10);
    q = remote_request(&f);
    fake_judge(q, CODEC_DONE, 200);
    for (size_t i = 0; i < 10; i++)
        fake_verdict(q, i, CODEC_ACCEPTED, NULL);
    q->judgement.dropped_unnamed = 4;
    fake_done(&f.t, q);
    assert_int_equal(4, f.lost[LOST_UNNAMED]);
    assert_int_equal(6, f.s.sink->records_settled);
    assert_int_equal(0, f.settled_at_loss);
    assert_int_equal(1, f.s.settled);
    assert_int_equal(0, dead_letters_stats(f.letters)->written);
    remote_finish(&f);
}

static void test_a_record_too_long_for_any_request_is_refused(void **state)
{
    (void)state;
    for (int has_letters = 0; has_letters < 2; has_letters++) {
        struct remote_fixture f;

        remote_open(&f, &(struct sink_remote_options){.records_max = 1}, has_letters);
        remote_submit_lines(&f, 1);
        remote_submit_lines(&f, 1);
        fake_no_reply(&f.t, remote_request(&f), -EMSGSIZE);
        fake_ring_run(f.s.ring);
        assert_int_equal(1, f.lost[LOST_REFUSED]);
        assert_int_equal(1, f.s.settled);
        assert_int_equal(1, remote_stats(&f)->records_refused);
        assert_int_equal(has_letters, remote_stats(&f)->records_dead_lettered);
        assert_int_equal(SINK_OK, f.s.sink->state);
        remote_expect(remote_request(&f), 1, 1);
        remote_accept(&f);
        remote_finish(&f);
    }
}

static void test_the_log_tells_of_changes_and_of_no_lines(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 2}, false);
    remote_submit_lines(&f, 4);
    for (unsigned n = 0; n < 5; n++) {
        fake_reply(&f.t, remote_request(&f), CODEC_AGAIN, CODEC_RETRY, 502);
        fake_ring_advance(f.s.ring, 10000);
    }
    assert_int_equal(1, f.logged_count);
    assert_non_null(strstr(f.logged, "\"sink\":\"far\""));
    assert_non_null(strstr(f.logged, "status 502, says the transport"));
    for (unsigned n = 0; n < 5; n++) {
        fake_reply(&f.t, remote_request(&f), CODEC_SUSPENDED, CODEC_RETRY, 401);
        fake_ring_advance(f.s.ring, 60000);
    }
    assert_int_equal(2, f.logged_count);
    assert_non_null(strstr(f.logged, "\"level\":\"error\""));
    assert_non_null(strstr(f.logged, "suspended"));
    remote_accept(&f);
    assert_int_equal(3, f.logged_count);
    assert_non_null(strstr(f.logged, "again"));
    fake_reply(&f.t, remote_request(&f), CODEC_DONE, CODEC_REFUSED, 400);
    assert_int_equal(4, f.logged_count);
    assert_non_null(strstr(f.logged, "\"records\":2"));
    assert_null(strstr(f.logged, "not like that"));
    remote_finish(&f);
}

/* ---- the end ---- */

static void test_close_waits_for_the_back_off_and_sends_the_rest(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 10}, false);
    remote_submit_lines(&f, 25);
    fake_no_reply(&f.t, remote_request(&f), -ECONNREFUSED);
    sink_close(f.s.sink);
    fake_ring_run(f.s.ring);
    assert_null(fake_transport_first(&f.t));
    assert_int_equal(0, f.s.closed);
    fake_ring_advance(f.s.ring, 100);
    for (unsigned n = 0; n < 3; n++)
        remote_accept(&f);
    fake_ring_run(f.s.ring);
    assert_int_equal(1, f.s.closed);
    remote_expect_all(&f, 25);
    remote_finish(&f);
}

static void test_abort_waits_for_the_transport_and_counts_the_rest(void **state)
{
    struct remote_fixture f;
    struct request *q;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 10, .in_flight_max = 2}, false);
    remote_submit_lines(&f, 10);
    remote_submit_lines(&f, 40);
    sink_abort(f.s.sink);
    assert_int_equal(1, f.t.cancels);
    fake_ring_run(f.s.ring);
    assert_int_equal(0, f.s.closed);
    assert_int_equal(30, f.lost[LOST_ABORTED]);
    /* One has been answered all the same. */
    q = remote_request(&f);
    fake_accept(&f.t, q);
    assert_int_equal(10, f.s.sink->records_settled);
    assert_int_equal(1, f.s.settled);
    fake_no_reply(&f.t, remote_request(&f), -ECANCELED);
    assert_int_equal(40, f.lost[LOST_ABORTED]);
    assert_int_equal(2, f.s.settled);
    assert_int_equal(0, f.s.sink->errors);
    assert_int_equal(SINK_OK, f.s.sink->state);
    fake_ring_run(f.s.ring);
    assert_int_equal(1, f.s.closed);
    assert_int_equal(1, f.t.cancels);
    remote_finish(&f);
}

static void test_abort_ends_a_pause(void **state)
{
    static const enum codec_outcome outcomes[] = {CODEC_AGAIN, CODEC_SUSPENDED};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++) {
        struct remote_fixture f;

        remote_open(&f, &(struct sink_remote_options){.linger_ms = 1}, false);
        remote_submit_lines(&f, 10);
        fake_ring_advance(f.s.ring, 1);
        fake_reply(&f.t, remote_request(&f), outcomes[i], CODEC_RETRY, 401);
        remote_submit_lines(&f, 10);
        sink_close(f.s.sink);
        sink_abort(f.s.sink);
        fake_ring_run(f.s.ring);
        assert_int_equal(1, f.s.closed);
        assert_int_equal(20, f.lost[LOST_ABORTED]);
        remote_finish(&f);
    }
}

static void test_abort_takes_letters_back(void **state)
{
    (void)state;
    /* Letters that wait for room; letters that are being written; and a write that then fails. */
    for (unsigned n = 0; n < 3; n++) {
        struct remote_fixture f;

        remote_open(&f, &usual, true);
        remote_submit_lines(&f, 3);
        if (n != 1)
            fake_ring_fail(f.s.ring, OP_WRITE, -ENOSPC, 0, 1);
        fake_reply(&f.t, remote_request(&f), CODEC_DONE, CODEC_REFUSED, 400);
        if (n == 0) {
            fake_ring_run(f.s.ring);
        } else {
            while (fake_ring_started(f.s.ring, OP_WRITE) == 0)
                assert_true(fake_ring_step(f.s.ring));
        }
        assert_int_equal(0, f.s.settled);
        sink_abort(f.s.sink);
        assert_int_equal(n == 0 ? 3 : 0, f.lost[LOST_ABORTED]);
        fake_ring_advance(f.s.ring, 5000);
        assert_int_equal(n == 1 ? 0 : 3, f.lost[LOST_ABORTED]);
        assert_int_equal(n == 1 ? 3 : 0, f.lost[LOST_REFUSED]);
        assert_int_equal(1, f.s.closed);
        remote_finish(&f);
    }
}

static void test_a_hanging_receiver_holds_its_own_batches_and_no_more(void **state)
{
    struct remote_fixture hung;
    struct sink_events none = {0};
    struct fake_transport other;
    struct sink *sink = NULL;
    uint64_t bytes;

    (void)state;
    remote_open(&hung, &(struct sink_remote_options){.records_max = 64, .in_flight_max = 2}, false);
    fake_transport_init(&other);
    assert_int_equal(
        0, sink_remote_create(
               hung.s.ring, &other.transport,
               &(struct sink_remote_options){.name = "near", .records_max = 64, .in_flight_max = 2},
               &none, &sink));
    remote_submit_lines(&hung, 64);
    remote_submit_lines(&hung, 64);
    bytes = remote_stats(&hung)->bookkeeping_bytes;
    for (unsigned n = 0; n < 60; n++) {
        struct batch *b = test_batch(&hung.s);
        struct batch *shares[2];

        for (uint64_t i = 0; i < 1000; i++)
            test_line(b, hung.source, i, 40, NULL);
        for (size_t i = 0; i < 2; i++) {
            shares[i] = batch_share(b, NULL, NULL);
            assert_non_null(shares[i]);
            sink_submit(i ? sink : hung.s.sink, shares[i]);
            (void)batch_unref(shares[i]);
        }
        hung.s.records += b->count;
        (void)batch_unref(b);
        while (fake_transport_first(&other))
            fake_accept(&other, fake_transport_first(&other));
        /* The other one is through with it. */
        assert_int_equal(0, sink->queued_bytes);
        assert_int_equal(1000 * (n + 1), sink->records_settled);
    }
    assert_int_equal(2, hung.t.started);
    assert_int_equal(62, remote_stats(&hung)->batches_held);
    assert_int_equal(128 * 20 + UINT64_C(60000) * 40, hung.s.sink->queued_bytes);
    assert_int_equal(bytes, remote_stats(&hung)->bookkeeping_bytes);
    assert_int_equal(0, hung.s.settled);
    sink_close(sink);
    fake_ring_run(hung.s.ring);
    (void)sink_destroy(sink);
    sink_abort(hung.s.sink);
    while (fake_transport_first(&hung.t))
        fake_no_reply(&hung.t, fake_transport_first(&hung.t), -ECANCELED);
    fake_ring_run(hung.s.ring);
    assert_int_equal(60128, hung.lost[LOST_ABORTED]);
    remote_finish(&hung);
}

/* ---- calls from callbacks ---- */

static void accept_at_once(void *ctx, struct request *q)
{
    struct remote_fixture *f = ctx;

    for (size_t i = 0; i < q->count; i++)
        remote_receive(f, q->records[i]);
    fake_accept(&f->t, q);
}

static void test_a_reply_may_come_while_the_request_is_started(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 10, .in_flight_max = 2}, false);
    f.t.on_start = accept_at_once;
    f.t.ctx = &f;
    remote_submit_lines(&f, 1000);
    remote_submit_lines(&f, 5);
    remote_expect_all(&f, 1005);
    assert_int_equal(2, f.s.settled);
    remote_finish(&f);
}

static void submit_more(struct sink_fixture *s)
{
    struct remote_fixture *f = container_of(s, struct remote_fixture, s);

    if (f->next_line < 500)
        remote_submit_lines(f, 7);
}

static void test_more_may_be_submitted_from_callbacks(void **state)
{
    struct remote_fixture f;

    (void)state;
    for (unsigned n = 0; n < 2; n++) {
        remote_open(&f, &(struct sink_remote_options){.records_max = 10, .in_flight_max = 2},
                    false);
        f.s.on_settled = n == 0 ? submit_more : NULL;
        f.s.on_progress = n == 1 ? submit_more : NULL;
        remote_submit_lines(&f, 30);
        while (fake_transport_first(&f.t))
            remote_accept(&f);
        assert_true(f.next_line >= 500);
        remote_expect_all(&f, f.next_line);
        remote_finish(&f);
    }
}

static void abort_now(struct sink_fixture *s)
{
    sink_abort(s->sink);
}

static void test_abort_from_a_callback_happens_behind_the_reply(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 10, .in_flight_max = 2}, false);
    f.s.on_settled = abort_now;
    remote_submit_lines(&f, 5);
    remote_submit_lines(&f, 5);
    remote_submit_lines(&f, 90);
    fake_accept(&f.t, remote_request(&f));
    while (fake_transport_first(&f.t))
        fake_no_reply(&f.t, fake_transport_first(&f.t), -ECANCELED);
    fake_ring_run(f.s.ring);
    assert_int_equal(1, f.s.closed);
    assert_int_equal(5, f.s.sink->records_settled);
    assert_int_equal(95, f.lost[LOST_ABORTED]);
    f.s.on_settled = NULL;
    remote_finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_are_cut_by_their_number_of_records),
        cmocka_unit_test(test_requests_are_cut_by_their_bytes),
        cmocka_unit_test(test_a_request_waits_to_become_full_only_for_so_long),
        cmocka_unit_test(test_full_by_bytes_does_not_linger),
        cmocka_unit_test(test_several_requests_are_in_flight_at_once),
        cmocka_unit_test(test_batches_settle_by_themselves),
        cmocka_unit_test(test_empty_batches_settle_at_once),
        cmocka_unit_test(test_many_batches_and_long_requests_need_more_room),
        cmocka_unit_test(test_without_a_reply_the_same_records_are_sent_again),
        cmocka_unit_test(test_the_pauses_grow_and_have_a_bound),
        {"S28 a receiver that is busy is left alone for as long as it asks",
         test_a_receiver_that_is_busy_is_left_alone_as_long_as_it_asks, NULL, NULL, NULL},
        cmocka_unit_test(test_retry_after_has_a_bound),
        cmocka_unit_test(test_a_longer_pause_takes_the_place_of_a_shorter_one),
        cmocka_unit_test(test_what_failed_goes_before_what_is_new_and_first_by_itself),
        cmocka_unit_test(test_a_suspended_sink_tries_only_now_and_then),
        cmocka_unit_test(test_a_late_failure_does_not_end_a_suspension),
        cmocka_unit_test(test_each_record_gets_its_own_verdict),
        {"S27 one bad line of 500 is found, and the others arrive",
         test_one_bad_line_of_500_is_found, NULL, NULL, NULL},
        cmocka_unit_test(test_a_bad_line_is_found_wherever_it_is),
        cmocka_unit_test(test_any_set_of_bad_lines_is_found),
        cmocka_unit_test(test_nothing_newer_is_sent_while_a_request_is_cut_up),
        cmocka_unit_test(test_a_half_that_fails_is_sent_again_as_it_is),
        cmocka_unit_test(test_what_some_verdicts_leave_of_a_request_is_halved),
        cmocka_unit_test(test_a_record_alone_that_is_to_be_split_waits),
        cmocka_unit_test(test_what_is_too_much_for_one_request_becomes_two),
        cmocka_unit_test(
            test_refused_records_without_a_file_are_counted_before_their_batch_settles),
        cmocka_unit_test(test_a_refused_record_is_done_with_when_its_letter_is_written),
        cmocka_unit_test(test_what_a_receiver_drops_without_a_name_is_counted),
        cmocka_unit_test(test_a_record_too_long_for_any_request_is_refused),
        cmocka_unit_test(test_the_log_tells_of_changes_and_of_no_lines),
        cmocka_unit_test(test_close_waits_for_the_back_off_and_sends_the_rest),
        cmocka_unit_test(test_abort_waits_for_the_transport_and_counts_the_rest),
        cmocka_unit_test(test_abort_ends_a_pause),
        cmocka_unit_test(test_abort_takes_letters_back),
        cmocka_unit_test(test_a_hanging_receiver_holds_its_own_batches_and_no_more),
        cmocka_unit_test(test_a_reply_may_come_while_the_request_is_started),
        cmocka_unit_test(test_more_may_be_submitted_from_callbacks),
        cmocka_unit_test(test_abort_from_a_callback_happens_behind_the_reply),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
