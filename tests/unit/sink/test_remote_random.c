/*
 * The remote sink against a receiver that does anything a receiver may do, by a random script:
 * every line is accounted for, at every step and in the end. A failure names its seed.
 */
#include "ringtail/sink/remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"
#include "support/fake_ring.h"
#include "remote_fixture.h"

enum { SEEDS = 300, SOURCES = 3, BATCHES_MOST = 40, LINES_MOST = BATCHES_MOST * 16 };

struct line {
    size_t source;
    unsigned delivered;  /* times that the receiver has taken it */
    unsigned lost_reply; /* of these, without a word */
    unsigned accepted, refused;
    bool under_way, settled;
};

struct model {
    struct remote_fixture f;
    struct random random;
    struct source *sources[SOURCES];
    struct line lines[LINES_MOST];
    size_t lines_count;
    size_t batches, settled, lines_settled;
    uint64_t poison; /* every so manieth line is never accepted; 0: none */
    uint64_t unnamed;
    bool is_orderly;                 /* the receiver takes the first ones of a request, or none */
    size_t first_delivered[SOURCES]; /* one more than the last line that was delivered first */
    bool aborted;
};

static uint64_t seed_at_hand = SEEDS;

static int name_seed(void **state)
{
    (void)state;
    if (seed_at_hand < SEEDS)
        print_message("it was seed %u\n", (unsigned)seed_at_hand);
    seed_at_hand = SEEDS;
    return 0;
}

static uint64_t draw(struct model *m, uint64_t bound)
{
    return random_below(&m->random, bound);
}

static struct line *line_of(struct model *m, const struct record *record)
{
    uint64_t n = remote_number(record);

    assert_true(n < m->lines_count);
    return &m->lines[n];
}

static bool is_poison(const struct model *m, const struct record *record)
{
    return m->poison > 0 && remote_number(record) % m->poison == m->poison - 1;
}

/** What is begun is in order, and nothing that is older waits. */
static void on_start(void *ctx, struct request *q)
{
    struct model *m = ctx;
    uint64_t first = remote_number(q->records[0]), before = 0;

    for (uint64_t n = 0; n < first; n++) {
        const struct line *line = &m->lines[n];

        assert_true(line->accepted || line->refused || line->under_way);
    }
    for (size_t i = 0; i < q->count; i++) {
        struct line *line = line_of(m, q->records[i]);

        assert_true(i == 0 || remote_number(q->records[i]) > before);
        before = remote_number(q->records[i]);
        assert_false(line->under_way || line->accepted || line->refused || line->settled);
        line->under_way = true;
    }
}

static void on_settled(void *ctx, struct batch *b)
{
    struct model *m = ctx;

    m->settled++;
    for (size_t i = 0; i < b->count; i++) {
        struct line *line = line_of(m, &b->records[i]);

        assert_false(line->settled);
        line->settled = true;
        m->lines_settled++;
        if (!m->aborted)
            assert_int_equal(1, line->accepted + line->refused);
    }
}

static void deliver(struct model *m, const struct record *record)
{
    struct line *line = line_of(m, record);

    if (line->delivered++ > 0)
        return;
    if (m->is_orderly)
        assert_true(remote_number(record) >= m->first_delivered[line->source]);
    m->first_delivered[line->source] = remote_number(record) + 1;
}

static void take_back(struct model *m, struct request *q)
{
    for (size_t i = 0; i < q->count; i++)
        line_of(m, q->records[i])->under_way = false;
}

static void accept_one(struct model *m, struct request *q, size_t i)
{
    deliver(m, q->records[i]);
    line_of(m, q->records[i])->accepted++;
    fake_verdict(q, i, CODEC_ACCEPTED, NULL);
}

static void refuse_one(struct model *m, struct request *q, size_t i)
{
    line_of(m, q->records[i])->refused++;
    fake_verdict(q, i, CODEC_REFUSED, "poison");
}

static void reply_some(struct model *m, struct request *q)
{
    static const enum codec_outcome outcomes[] = {CODEC_AGAIN, CODEC_BUSY, CODEC_SUSPENDED,
                                                  CODEC_SPLIT};
    enum codec_outcome outcome = outcomes[draw(m, q->count > 1 ? 4 : 3)];
    size_t most = draw(m, q->count);

    fake_judge(q, outcome, 500);
    if (draw(m, 2))
        q->judgement.retry_after_ms = (int64_t)draw(m, 20000);
    for (size_t i = 0; i < q->count - 1; i++) {
        if (m->is_orderly ? i >= most : draw(m, 3) == 0)
            continue;
        if (is_poison(m, q->records[i]))
            refuse_one(m, q, i);
        else
            accept_one(m, q, i);
    }
}

static void reply_all(struct model *m, struct request *q)
{
    size_t poisoned = 0;

    for (size_t i = 0; i < q->count; i++)
        poisoned += is_poison(m, q->records[i]);
    if (poisoned > 0 && q->count > 1 && draw(m, 2)) {
        fake_judge(q, CODEC_SPLIT, 400);
        return;
    }
    fake_judge(q, CODEC_DONE, 200);
    for (size_t i = 0; i < q->count; i++) {
        if (is_poison(m, q->records[i]))
            refuse_one(m, q, i);
        else
            accept_one(m, q, i);
    }
    if (draw(m, 10) == 0) {
        q->judgement.dropped_unnamed = draw(m, q->judgement.accepted + 1);
        m->unnamed += q->judgement.dropped_unnamed;
    }
}

/** Answers one request; well, if it has to come to an end. */
static void answer(struct model *m, bool well)
{
    struct fake_transport *t = &m->f.t;
    struct request *q = fake_transport_nth(t, draw(m, t->pending_count));
    uint64_t what = well ? 9 : draw(m, 10);

    if (what < 2) {
        q->error = m->aborted ? -ECANCELED : -ETIMEDOUT;
        for (size_t i = 0; what == 1 && i < q->count; i++) {
            if (is_poison(m, q->records[i]))
                continue;
            deliver(m, q->records[i]);
            line_of(m, q->records[i])->lost_reply++;
        }
    } else if (what < 5) {
        reply_some(m, q);
    } else {
        reply_all(m, q);
    }
    take_back(m, q);
    fake_done(t, q);
}

static void submit(struct model *m)
{
    struct batch *b = batch_create(on_settled, m);
    size_t count = 1 + draw(m, 16);

    assert_non_null(b);
    for (size_t i = 0; i < count; i++) {
        size_t source = draw(m, SOURCES);

        m->lines[m->lines_count].source = source;
        test_line(b, m->sources[source], m->lines_count++, 10 + draw(m, 60), NULL);
    }
    m->batches++;
    m->f.s.records += count;
    sink_submit(m->f.s.sink, b);
    (void)batch_unref(b);
}

static void step(struct model *m)
{
    switch (draw(m, 8)) {
    case 0:
    case 1:
        if (m->batches < BATCHES_MOST)
            submit(m);
        break;
    case 2:
        fake_ring_advance(m->f.s.ring, (int64_t)draw(m, 3000));
        break;
    case 3:
        fake_ring_advance(m->f.s.ring, (int64_t)draw(m, 60000));
        break;
    case 4:
        if (draw(m, 4) == 0)
            fake_ring_fail(m->f.s.ring, OP_WRITE, -ENOSPC, 0, 1 + (unsigned)draw(m, 3));
        else
            (void)fake_ring_step(m->f.s.ring);
        break;
    default:
        if (m->f.t.pending_count > 0)
            answer(m, false);
        break;
    }
}

/** What holds at any time. */
static void expect_balance(struct model *m)
{
    const struct sink *sink = m->f.s.sink;
    const struct sink_remote_stats *stats = remote_stats(&m->f);
    uint64_t accepted = 0, refused = 0;

    for (size_t i = 0; i < m->lines_count; i++) {
        accepted += m->lines[i].accepted;
        refused += m->lines[i].refused;
        assert_true(m->lines[i].accepted + m->lines[i].refused <= 1);
    }
    assert_int_equal(accepted, stats->records_accepted);
    assert_int_equal(accepted, sink->records_settled + m->unnamed);
    assert_int_equal(m->unnamed, m->f.lost[LOST_UNNAMED]);
    assert_int_equal(m->f.t.pending_count, stats->in_flight);
    assert_int_equal(m->batches - m->settled, stats->batches_held);
    if (m->aborted)
        return;
    assert_int_equal(refused, stats->records_refused);
    assert_int_equal(refused, m->f.lost[LOST_REFUSED] + stats->letters_waiting);
    assert_int_equal(0, m->f.lost[LOST_ABORTED]);
    assert_true((sink->state == SINK_OK) == (sink->reason[0] == '\0'));
}

static void open_model(struct model *m, uint64_t seed)
{
    static const char *const names[SOURCES] = {"a", "b", "c"};
    struct sink_remote_options o = {0};

    *m = (struct model){0};
    random_seed(&m->random, seed);
    o.records_max = 1 + (int64_t)draw(m, 20);
    o.bytes_max = draw(m, 2) ? 1 + (int64_t)draw(m, 600) : 0;
    o.in_flight_max = 1 + (int64_t)draw(m, 4);
    o.linger_ms = draw(m, 2) ? (int64_t)draw(m, 500) : 0;
    m->is_orderly = o.in_flight_max == 1 && draw(m, 2);
    m->poison = draw(m, 2) ? 2 + draw(m, 30) : 0;
    remote_open(&m->f, &o, draw(m, 4) > 0);
    for (size_t i = 0; i < SOURCES; i++)
        m->sources[i] = test_source(names[i]);
    m->f.t.on_start = on_start;
    m->f.t.ctx = m;
}

static int expect_refused(void *ctx, const struct dead_letter_line *letter)
{
    struct model *m = ctx;
    uint64_t n = strtoull(letter->line.data + 5, NULL, 10);

    assert_true(n < m->lines_count);
    assert_int_equal(1, m->lines[n].refused);
    m->lines[n].refused++; /* met */
    return 0;
}

static void finish_model(struct model *m)
{
    struct dead_letters_found found = {0};
    uint64_t dead = remote_stats(&m->f)->records_dead_lettered;

    assert_int_equal(m->batches, m->settled);
    assert_int_equal(m->lines_count, m->lines_settled);
    assert_int_equal(m->lines_count, m->f.s.sink->records_settled + m->f.s.sink->records_lost);
    for (size_t i = 0; i < m->lines_count; i++)
        assert_int_equal(m->lines[i].delivered, m->lines[i].accepted + m->lines[i].lost_reply);
    assert_int_equal(
        0, dead_letters_read(test_path(&m->f.s, "dead/letters"), 1, expect_refused, m, &found));
    assert_int_equal(dead, found.lines);
    for (size_t i = 0; i < SOURCES; i++) {
        assert_int_equal(1, m->sources[i]->refs);
        (void)source_unref(m->sources[i]);
    }
    remote_finish(&m->f);
}

static void test_every_line_is_accepted_once_or_a_dead_letter(void **state)
{
    static struct model m;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        seed_at_hand = seed;
        open_model(&m, seed);
        for (unsigned n = 0; n < 400; n++) {
            step(&m);
            expect_balance(&m);
        }
        fake_ring_fail(m.f.s.ring, OP_WRITE, 0, 0, 0);
        if (seed % 2)
            sink_close(m.f.s.sink);
        for (unsigned n = 0; n < 5000 && m.settled < m.batches; n++) {
            if (m.f.t.pending_count > 0)
                answer(&m, true);
            else
                fake_ring_advance(m.f.s.ring, 1000);
            expect_balance(&m);
        }
        sink_close(m.f.s.sink);
        fake_ring_advance(m.f.s.ring, 60000);
        for (size_t i = 0; i < m.lines_count; i++)
            assert_int_equal(1, m.lines[i].accepted + m.lines[i].refused);
        finish_model(&m);
    }
    seed_at_hand = SEEDS;
}

static void test_an_abort_at_any_time_gives_everything_back(void **state)
{
    static struct model m;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        unsigned steps;

        seed_at_hand = seed;
        open_model(&m, seed);
        steps = (unsigned)draw(&m, 300);
        for (unsigned n = 0; n < steps; n++)
            step(&m);
        if (draw(&m, 3) == 0)
            sink_close(m.f.s.sink);
        m.aborted = true;
        sink_abort(m.f.s.sink);
        expect_balance(&m);
        while (m.f.t.pending_count > 0) {
            assert_int_equal(0, m.f.s.closed);
            answer(&m, false);
            expect_balance(&m);
            if (draw(&m, 2))
                fake_ring_advance(m.f.s.ring, (int64_t)draw(&m, 3000));
        }
        fake_ring_advance(m.f.s.ring, 10000);
        assert_int_equal(1, m.f.s.closed);
        finish_model(&m);
    }
    seed_at_hand = SEEDS;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_every_line_is_accepted_once_or_a_dead_letter, name_seed),
        cmocka_unit_test_teardown(test_an_abort_at_any_time_gives_everything_back, name_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
