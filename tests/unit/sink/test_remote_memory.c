/*
 * Memory that runs out in the middle of everything, for the remote sink and the dead letters: each
 * allocation of a run fails in turn, once or from then on for a while, and every line is accepted
 * once or a dead letter once. Linked with malloc, calloc and realloc wrapped.
 */
#include "ringtail/sink/remote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support/failing_malloc.h"
#include "support/fake_ring.h"
#include "remote_fixture.h"

enum { LINES = 600, POISON = 97 };

static unsigned refused[LINES];

static bool is_poison(const struct record *record)
{
    return remote_number(record) % POISON == POISON - 1;
}

/** A receiver that now and then refuses a request as a whole, or fails. */
static void answer(struct remote_fixture *f, unsigned n)
{
    struct request *q = remote_request(f);
    size_t bad = 0;

    for (size_t i = 0; i < q->count; i++)
        bad += is_poison(q->records[i]);
    if (n % 7 == 3) {
        fake_judge(q, CODEC_AGAIN, 500);
    } else if (bad > 0 && q->count > 1 && n % 2) {
        fake_judge(q, CODEC_SPLIT, 400);
    } else {
        fake_judge(q, CODEC_DONE, 200);
        for (size_t i = 0; i < q->count; i++) {
            if (!is_poison(q->records[i]))
                remote_receive(f, q->records[i]);
            fake_verdict(q, i, is_poison(q->records[i]) ? CODEC_REFUSED : CODEC_ACCEPTED,
                         is_poison(q->records[i]) ? "poison" : NULL);
        }
    }
    failing_malloc.counting = true;
    fake_done(&f->t, q);
    failing_malloc.counting = false;
}

static void go_on(struct remote_fixture *f)
{
    for (unsigned n = 0; n < 1000; n++) {
        failing_malloc.counting = true;
        fake_ring_advance(f->s.ring, 100);
        failing_malloc.counting = false;
        if (fake_transport_first(&f->t))
            answer(f, n);
    }
}

static int count_letter(void *ctx, const struct dead_letter_line *line)
{
    uint64_t n = strtoull(line->line.data + 5, NULL, 10);

    (void)ctx;
    assert_true(n < LINES);
    refused[n]++;
    return 0;
}

static int submit(struct remote_fixture *f, size_t count)
{
    struct batch *b = test_batch(&f->s);
    int r;

    for (size_t i = 0; i < count; i++)
        test_line(b, f->source, f->next_line++, 30, NULL);
    failing_malloc.counting = true;
    r = sink_submit(f->s.sink, b);
    failing_malloc.counting = false;
    f->s.records += r == 0 ? count : 0;
    (void)batch_unref(b);
    return r;
}

static void run(unsigned skip, unsigned times)
{
    struct remote_fixture f;
    struct dead_letters_found found;

    remote_open(&f, &(struct sink_remote_options){.records_max = 300}, true);
    failing_malloc.until_failure = skip;
    failing_malloc.failures = times;
    failing_malloc.failed = 0;
    while (f.next_line < LINES)
        assert_int_equal(0, submit(&f, 60));
    go_on(&f);
    failing_malloc.failures = 0;
    go_on(&f);
    assert_int_equal(f.s.batches, f.s.settled);
    memset(refused, 0, sizeof refused);
    assert_int_equal(
        0, dead_letters_read(test_path(&f.s, "dead/letters"), 1, count_letter, NULL, &found));
    assert_int_equal(0, found.damaged);
    for (size_t i = 0; i < f.got_count; i++) {
        assert_true(i == 0 || f.got[i] > f.got[i - 1]);
        refused[f.got[i]]++;
    }
    for (size_t n = 0; n < LINES; n++)
        assert_int_equal(1, refused[n]);
    assert_int_equal(LINES / POISON, f.lost[LOST_REFUSED]);
    assert_int_equal(LINES / POISON, f.s.sink->records_lost);
    remote_finish(&f);
}

static void test_nothing_is_lost_or_doubled_when_memory_is_short(void **state)
{
    unsigned skip = 0;

    (void)state;
    do {
        run(skip, 1);
        run(skip, 5);
        run(skip, 1000);
        skip++;
    } while (failing_malloc.failed > 0);
    /* It was worth the name: there were allocations to fail. */
    assert_true(skip > 10);
}

static void test_a_batch_that_there_is_no_memory_to_hold_is_not_taken(void **state)
{
    struct remote_fixture f;

    (void)state;
    remote_open(&f, &(struct sink_remote_options){.records_max = 1}, false);
    for (unsigned n = 0; n < 64; n++)
        assert_int_equal(0, submit(&f, 3));
    failing_malloc.until_failure = 0;
    failing_malloc.failures = 1;
    failing_malloc.failed = 0;
    assert_int_equal(-ENOMEM, submit(&f, 5));
    assert_int_equal(1, failing_malloc.failed);
    assert_int_equal(0, f.lost_calls);
    assert_int_equal(0, f.s.sink->records_lost);
    assert_int_equal(-ENOMEM, f.s.sink->last_error);
    assert_int_equal(0, submit(&f, 5));
    while (fake_transport_first(&f.t))
        remote_accept(&f);
    assert_int_equal(64 * 3 + 5, f.s.sink->records_settled);
    remote_finish(&f);
}

static void test_what_cannot_be_made_says_so(void **state)
{
    struct ring *ring = fake_ring_create();
    struct fake_transport t;
    struct dead_letters *letters = NULL;
    struct sink *sink = NULL;
    int r;

    (void)state;
    fake_transport_init(&t);
    for (unsigned skip = 0;; skip++) {
        failing_malloc.until_failure = skip;
        failing_malloc.failures = 1;
        failing_malloc.counting = true;
        r = sink_remote_create(
            ring, &t.transport,
            &(struct sink_remote_options){.name = "far", .in_flight_max = 2, .records_max = 1},
            NULL, &sink);
        failing_malloc.counting = false;
        if (r == 0)
            break;
        assert_int_equal(-ENOMEM, r);
        assert_int_equal(0, t.destroyed);
    }
    sink_close(sink);
    fake_ring_run(ring);
    (void)sink_destroy(sink);
    assert_int_equal(1, t.destroyed);
    for (unsigned skip = 0;; skip++) {
        failing_malloc.until_failure = skip;
        failing_malloc.failures = 1;
        failing_malloc.counting = true;
        r = dead_letters_create(
            ring,
            &(struct dead_letters_options){.path = "a/b", .bytes_max = 1, .keep = 1, .retry_ms = 1},
            &letters);
        failing_malloc.counting = false;
        if (r == 0)
            break;
        assert_int_equal(-ENOMEM, r);
    }
    (void)dead_letters_destroy(letters);
    fake_ring_destroy(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_lost_or_doubled_when_memory_is_short),
        cmocka_unit_test(test_a_batch_that_there_is_no_memory_to_hold_is_not_taken),
        cmocka_unit_test(test_what_cannot_be_made_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
