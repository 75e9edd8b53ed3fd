/* Going on where a log was left: games against a model Engine, and the rules one by one. */
#include "ringtail/record/splice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ringtail/base/hash.h"
#include "ringtail/base/macros.h"
#include "support/splice_model.h"

#define START_NS (INT64_C(1795188000) * NSEC_PER_SEC)
#define SEEDS 400

/* ---- games ---- */

struct totals {
    uint64_t records, delivered, missing, jumps, gaps, repeated, widened;
};

/* The history's size and the game's length come from the seed. */
static void play(struct splice_model_options options, struct totals *t)
{
    *t = (struct totals){0};
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        struct choices choices = {0};
        struct splice_model_result r;

        random_seed(&choices.random, seed);
        options.marks_max = 64u << (seed % 5);
        options.steps = 40 + seed % 360;
        splice_model_play(&choices, &options, &r);
        if (r.error[0])
            fail_msg("seed %u, %u marks, %u steps: %s", seed, options.marks_max, options.steps,
                     r.error);
        t->records += r.records;
        t->delivered += r.delivered;
        t->missing += r.missing;
        t->jumps += r.jumps;
        t->gaps += r.gaps_suspected;
        t->repeated += r.repeated;
        t->widened += r.widened;
    }
    /* A game in which nothing happens shows nothing. */
    assert_true(t->delivered > SEEDS * 100);
    assert_true(t->repeated > SEEDS * 100);
    assert_true(t->widened > SEEDS / 2);
}

static void test_every_record_comes_once_and_in_order_whatever_is_cut(void **state)
{
    struct totals t;

    play((struct splice_model_options){0}, &t);
    assert_int_equal(t.records, t.delivered);
    assert_int_equal(0, t.gaps);
}

static void test_equal_lines_of_one_nanosecond_all_come(void **state)
{
    struct totals t;

    play((struct splice_model_options){.equal_lines = true}, &t);
    assert_int_equal(t.records, t.delivered);
}

static void test_equal_parts_of_one_line_all_come(void **state)
{
    struct totals t;

    play((struct splice_model_options){.equal_parts = true, .equal_lines = true}, &t);
    assert_int_equal(t.records, t.delivered);
}

static void test_any_number_of_lines_of_one_nanosecond_comes_once(void **state)
{
    struct totals t;

    play((struct splice_model_options){.crowds = true}, &t);
    assert_int_equal(t.records, t.delivered);
    play((struct splice_model_options){.crowds = true, .restarts = true}, &t);
    assert_int_equal(t.records, t.delivered);
    assert_int_equal(0, t.gaps);
}

static void test_a_restart_goes_on_with_the_last_marks(void **state)
{
    struct totals t;

    play((struct splice_model_options){.restarts = true}, &t);
    assert_int_equal(t.records, t.delivered);
    play((struct splice_model_options){.restarts = true, .equal_lines = true, .equal_parts = true},
         &t);
    assert_int_equal(t.records, t.delivered);
    assert_int_equal(0, t.gaps);
}

static void test_what_20_10_sends_again_is_dropped(void **state)
{
    struct totals t;

    play((struct splice_model_options){.engine_20_10 = true, .equal_parts = true}, &t);
    assert_int_equal(t.records, t.delivered);
    assert_true(t.jumps > SEEDS);
}

static void test_what_the_engine_dropped_is_a_gap_that_is_counted(void **state)
{
    struct totals t;

    play((struct splice_model_options){.drops = true, .equal_lines = true, .equal_parts = true},
         &t);
    assert_true(t.missing > 0);
    assert_true(t.gaps > 0);
    play((struct splice_model_options){.drops = true, .engine_20_10 = true}, &t);
    assert_true(t.missing > 0);
    assert_true(t.gaps > 0);
}

static void test_a_floor_begins_where_it_says(void **state)
{
    static const enum splice_model_since sinces[] = {SPLICE_MODEL_NOW, SPLICE_MODEL_PAST};
    struct totals t;

    for (size_t i = 0; i < ARRAY_SIZE(sinces); i++) {
        play((struct splice_model_options){.since = sinces[i], .equal_lines = true}, &t);
        assert_true(t.delivered < t.records);
        play((struct splice_model_options){.since = sinces[i], .engine_20_10 = true, .drops = true},
             &t);
        assert_true(t.delivered < t.records);
    }
}

static void test_a_clock_that_is_set_back_loses_nothing(void **state)
{
    struct totals t;

    play((struct splice_model_options){.clock_steps = true}, &t);
    assert_int_equal(t.records, t.delivered);
    play((struct splice_model_options){.clock_steps = true, .since = SPLICE_MODEL_NOW}, &t);
}

/* ---- the rules ---- */

static const char part_of_line[16384];

struct log {
    struct splice_history history;
    struct splice_cursor cursor;
};

static struct part part_at(enum record_stream stream, int64_t at_ms, const char *text)
{
    return (struct part){
        .ts_ns = START_NS + at_ms * NSEC_PER_MSEC,
        .stream = stream,
        .text = slice_str(text),
        .fingerprint = hash_bytes(slice_str(text), (uint64_t)stream),
    };
}

static struct part long_part_at(int64_t at_ms)
{
    struct part p = part_at(RECORD_STDOUT, at_ms, "part");

    p.text = slice_of(part_of_line, sizeof part_of_line);
    return p;
}

static enum splice_verdict judge(struct log *l, struct part p)
{
    enum splice_verdict v = splice_judge(&l->history, &l->cursor, &p);

    if (v == SPLICE_DELIVER) {
        p.ordinal = splice_ordinal(&l->history, &l->cursor, &p);
        splice_delivered(&l->history, &l->cursor, &p);
    }
    return v;
}

static void open_level(struct log *l, unsigned level, int64_t tail)
{
    splice_cursor_init(&l->cursor, level);
    l->cursor.tail = tail;
}

/* A history of stdout lines "a" to "h", 1 ms apart. */
static void log_begin(struct log *l)
{
    *l = (struct log){.history = {.marks_max = 64, .floor_ns = INT64_MIN, .floor_is_far = true}};
    open_level(l, 0, -1);
    for (int i = 0; i < 8; i++) {
        char text[] = {(char)('a' + i), '\n', '\0'};

        assert_int_equal(SPLICE_DELIVER, judge(l, part_at(RECORD_STDOUT, i, text)));
    }
}

static void test_a_response_goes_on_behind_the_last_record(void **state)
{
    struct log l;

    log_begin(&l);
    open_level(&l, 0, 16);
    assert_false(splice_is_placed(&l.cursor));
    assert_int_equal(SPLICE_DROP, judge(&l, part_at(RECORD_STDOUT, -1, "before\n")));
    assert_true(splice_is_unplaced(&l.cursor));
    assert_int_equal(SPLICE_DROP, judge(&l, part_at(RECORD_STDOUT, 6, "g\n")));
    assert_true(splice_is_placed(&l.cursor));
    assert_int_equal(SPLICE_DROP, judge(&l, part_at(RECORD_STDOUT, 7, "h\n")));
    assert_int_equal(SPLICE_DELIVER, judge(&l, part_at(RECORD_STDOUT, 8, "i\n")));
    assert_int_equal(2, l.history.repeated);
    splice_history_finish(&l.history);
}

/* Timestamps tell nothing then, and a busy container is never silent. */
static void test_with_the_clock_set_back_a_short_tail_is_noticed_by_its_length(void **state)
{
    struct log l;

    log_begin(&l);
    open_level(&l, 0, 16);
    for (int i = 0; i < 15; i++)
        assert_int_equal(SPLICE_DROP, judge(&l, part_at(RECORD_STDOUT, -3600000 + i, "new\n")));
    assert_int_equal(SPLICE_WIDEN, judge(&l, part_at(RECORD_STDOUT, -3600000 + 15, "new\n")));
    splice_history_finish(&l.history);
}

static void test_behind_the_history_a_line_that_went_back_is_new(void **state)
{
    struct log l;

    log_begin(&l);
    assert_int_equal(SPLICE_DELIVER, judge(&l, part_at(RECORD_STDERR, 2, "late\n")));
    assert_int_equal(SPLICE_DELIVER, judge(&l, part_at(RECORD_STDOUT, -3600000, "set back\n")));
    assert_int_equal(1, l.history.went_back);
    splice_history_finish(&l.history);
}

static void test_the_last_line_once_more_is_a_repetition_on_20_10_only(void **state)
{
    struct log l;

    for (unsigned repeats = 0; repeats < 2; repeats++) {
        log_begin(&l);
        l.history.engine_repeats = repeats;
        assert_int_equal(repeats ? SPLICE_DROP : SPLICE_DELIVER,
                         judge(&l, part_at(RECORD_STDOUT, 7, "h\n")));
        /* An equal part is the same line going on, on any Engine. */
        assert_int_equal(SPLICE_DELIVER, judge(&l, long_part_at(8)));
        assert_int_equal(SPLICE_DELIVER, judge(&l, long_part_at(8)));
        splice_history_finish(&l.history);
    }
}

static void test_a_tail_that_begins_with_a_part_of_the_last_line_is_too_short(void **state)
{
    struct log l;

    log_begin(&l);
    assert_int_equal(SPLICE_DELIVER, judge(&l, long_part_at(8)));
    for (unsigned level = 0; level < 2; level++) {
        open_level(&l, level, 16);
        assert_int_equal(SPLICE_WIDEN, judge(&l, long_part_at(8)));
    }
    /* `since` begins before all of them. */
    open_level(&l, 2, -1);
    assert_int_equal(SPLICE_DROP, judge(&l, long_part_at(8)));
    assert_int_equal(SPLICE_DELIVER, judge(&l, long_part_at(8)));
    /* A prompt is no part: it is whole. */
    assert_int_equal(SPLICE_DELIVER, judge(&l, part_at(RECORD_STDOUT, 9, "login: ")));
    open_level(&l, 0, 1);
    assert_int_equal(SPLICE_DROP, judge(&l, part_at(RECORD_STDOUT, 9, "login: ")));
    splice_history_finish(&l.history);
}

/* Parts of a line that was open when we were started anew come again, wherever the response begins.
 */
static void test_owed_parts_are_delivered_again(void **state)
{
    struct splice_mark owed = {.ts_ns = START_NS + 8 * NSEC_PER_MSEC};
    struct log l = {.history = {.marks_max = 64, .floor_ns = INT64_MIN, .floor_is_far = true}};

    owed.fingerprint = (long_part_at(8).fingerprint & ~SPLICE_MARK_FLAGS) | SPLICE_MARK_OWED;
    assert_int_equal(0, splice_restore_uncounted(&l.history, &owed));
    assert_int_equal(0, splice_restore_uncounted(&l.history, &owed));
    for (unsigned level = 0; level < 2; level++) {
        open_level(&l, level, 16);
        assert_int_equal(SPLICE_DROP, judge(&l, part_at(RECORD_STDOUT, 7, "before\n")));
        assert_int_equal(SPLICE_WIDEN, judge(&l, long_part_at(8)));
    }
    open_level(&l, 2, -1);
    assert_int_equal(SPLICE_DROP, judge(&l, part_at(RECORD_STDOUT, 7, "before\n")));
    for (unsigned i = 0; i < 4; i++) /* two that are owed, two that are new */
        assert_int_equal(SPLICE_DELIVER, judge(&l, long_part_at(8)));
    assert_int_equal(4, l.history.next);
    /* They are not owed any more, and there may have been more of them before. */
    open_level(&l, 2, -1);
    assert_int_equal(SPLICE_DROP, judge(&l, long_part_at(8)));
    assert_true(splice_is_unplaced(&l.cursor));
    open_level(&l, SPLICE_LEVELS - 1, -1);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(SPLICE_DROP, judge(&l, long_part_at(8)));
    assert_int_equal(SPLICE_DELIVER, judge(&l, part_at(RECORD_STDOUT, 8, "end\n")));
    splice_history_finish(&l.history);
}

static void test_a_response_that_begins_behind_an_owed_part_is_too_short(void **state)
{
    struct part first = part_at(RECORD_STDERR, 8, "the first part"), line;
    struct log l;
    struct splice_query q;

    log_begin(&l);
    for (int i = 0; i < 40; i++) {
        line = i == 0 ? first : part_at(RECORD_STDOUT, 9 + i, "line\n");
        assert_int_equal(
            0, splice_restore_uncounted(
                   &l.history,
                   &(struct splice_mark){line.ts_ns, (line.fingerprint & ~SPLICE_MARK_FLAGS) |
                                                         (i ? 0 : SPLICE_MARK_OWED | 2)}));
    }
    l.history.has_owed = true;
    open_level(&l, 0, 16);
    assert_int_equal(SPLICE_WIDEN, judge(&l, line));
    splice_plan(&l.history, 0, line.ts_ns, &q);
    assert_true(q.tail >= 40);
    open_level(&l, 0, q.tail);
    assert_int_equal(SPLICE_DROP, judge(&l, part_at(RECORD_STDOUT, 7, "h\n")));
    assert_int_equal(SPLICE_DELIVER, judge(&l, first));
    open_level(&l, 0, 16);
    assert_int_equal(SPLICE_DROP, judge(&l, line));
    splice_history_finish(&l.history);
}

/* Of a line's parts the positions keep the last ones, and an equal one may stand in front of them.
 */
static void test_a_part_is_no_place_while_its_line_may_have_begun_before_the_history(void **state)
{
    struct part other = part_at(RECORD_STDOUT, 8, "another part");
    struct part end = part_at(RECORD_STDERR, 8, "line\n");
    const struct part kept[] = {other, long_part_at(8), end};
    struct log l = {.history = {.marks_max = 64, .floor_ns = INT64_MIN, .floor_is_far = true}};

    for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
        assert_int_equal(
            0,
            splice_restore_uncounted(
                &l.history, &(struct splice_mark){
                                kept[i].ts_ns,
                                (kept[i].fingerprint & ~SPLICE_MARK_FLAGS) |
                                    (kept[i].stream == RECORD_STDERR ? SPLICE_MARK_STDERR : 0)}));
    open_level(&l, 0, 16);
    assert_int_equal(SPLICE_DROP, judge(&l, part_at(RECORD_STDOUT, 7, "before\n")));
    assert_int_equal(SPLICE_DROP, judge(&l, long_part_at(8)));
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
        assert_int_equal(SPLICE_DROP, judge(&l, kept[i]));
    assert_int_equal(SPLICE_DELIVER, judge(&l, part_at(RECORD_STDOUT, 8, "end\n")));
    splice_history_finish(&l.history);
}

/* What is behind the anchor is younger, mostly; with the clock set back, what is before it is, too.
 */
static void test_a_response_with_an_end_is_looked_through_to_its_end(void **state)
{
    struct log l;
    struct splice_query q;

    log_begin(&l);
    splice_plan(&l.history, 2, START_NS + NSEC_PER_SEC, &q);
    assert_false(q.whole);
    splice_plan(&l.history, 3, START_NS + NSEC_PER_SEC, &q);
    assert_true(q.whole);
    open_level(&l, 3, -1);
    l.cursor.whole = true;
    assert_int_equal(SPLICE_DROP, judge(&l, part_at(RECORD_STDOUT, 5000, "before the step\n")));
    assert_true(splice_is_unplaced(&l.cursor));
    assert_int_equal(SPLICE_DROP, judge(&l, part_at(RECORD_STDOUT, 7, "h\n")));
    assert_true(splice_is_placed(&l.cursor));
    assert_int_equal(SPLICE_DELIVER, judge(&l, part_at(RECORD_STDOUT, 8, "i\n")));
    splice_history_finish(&l.history);
}

static void test_the_last_level_takes_what_there_is_and_counts_the_gap(void **state)
{
    struct log l;

    log_begin(&l);
    for (unsigned level = 0; level < SPLICE_LEVELS - 1; level++) {
        open_level(&l, level, level < 2 ? 1 : -1);
        assert_int_equal(SPLICE_WIDEN, judge(&l, part_at(RECORD_STDOUT, 100, "z\n")));
    }
    open_level(&l, SPLICE_LEVELS - 1, -1);
    assert_int_equal(SPLICE_DELIVER, judge(&l, part_at(RECORD_STDOUT, 100, "z\n")));
    assert_int_equal(SPLICE_DELIVER, judge(&l, part_at(RECORD_STDOUT, 101, "zz\n")));
    assert_int_equal(1, l.history.gaps_suspected);
    splice_history_finish(&l.history);
}

static void test_a_full_history_forgets_the_oldest(void **state)
{
    struct log l;
    char text[16];

    log_begin(&l);
    for (int i = 8; i < 1000; i++) {
        (void)snprintf(text, sizeof text, "line %d\n", i);
        assert_int_equal(SPLICE_DELIVER, judge(&l, part_at(RECORD_STDOUT, i, text)));
        assert_true(l.history.next - l.history.first <= 64);
        assert_true(l.history.cap <= 64);
    }
    assert_int_equal(1000, l.history.next);
    assert_int_equal(START_NS + 999 * NSEC_PER_MSEC, splice_mark(&l.history, 999)->ts_ns);
    assert_int_equal(START_NS + 936 * NSEC_PER_MSEC, splice_mark(&l.history, 936)->ts_ns);
    splice_history_finish(&l.history);
}

static void test_first_contact_asks_by_the_floor(void **state)
{
    struct splice_history h = {.marks_max = 64, .floor_ns = INT64_MIN, .floor_is_far = true};
    struct splice_query q;

    splice_plan(&h, 0, START_NS, &q);
    assert_int_equal(-1, q.tail);
    assert_false(q.has_since);

    h.floor_ns = START_NS - NSEC_PER_SEC;
    splice_plan(&h, 0, START_NS, &q);
    assert_int_equal(-1, q.tail);
    assert_true(q.has_since);
    assert_int_equal(h.floor_ns, q.since_ns);

    h.floor_is_far = false;
    for (unsigned level = 0; level < SPLICE_LEVELS; level++) {
        int64_t before = q.tail;

        splice_plan(&h, level, START_NS, &q);
        assert_int_equal(level<2, q.tail> 0);
        assert_int_equal(level >= 2, q.has_since);
        assert_true(level != 1 || q.tail > before);
    }
}

static void test_short_tails_before_the_first_record_never_begin_too_late(void **state)
{
    struct log l = {.history = {.marks_max = 64, .floor_ns = START_NS}};

    for (unsigned level = 0; level < 2; level++) {
        open_level(&l, level, 64);
        assert_int_equal(SPLICE_WIDEN, judge(&l, part_at(RECORD_STDOUT, 1, "a\n")));
    }
    /* A record of before the floor in front says that the tail was long enough. */
    open_level(&l, 0, 64);
    assert_int_equal(SPLICE_DROP, judge(&l, part_at(RECORD_STDOUT, -1, "before\n")));
    assert_true(splice_is_placed(&l.cursor));
    assert_int_equal(SPLICE_DELIVER, judge(&l, part_at(RECORD_STDOUT, 1, "a\n")));
    splice_history_finish(&l.history);
}

static void test_a_query_asks_for_more_with_the_gap_and_the_level(void **state)
{
    struct splice_query first, later, wider, widest;
    struct log l;

    log_begin(&l);
    splice_plan(&l.history, 0, START_NS + 10 * NSEC_PER_MSEC, &first);
    splice_plan(&l.history, 0, START_NS + 10 * NSEC_PER_SEC, &later);
    splice_plan(&l.history, 1, START_NS + 10 * NSEC_PER_SEC, &wider);
    splice_plan(&l.history, 2, START_NS + 10 * NSEC_PER_SEC, &widest);
    assert_true(first.tail >= 16 && first.tail < 64);
    assert_true(later.tail > 10000); /* 1000 lines a second */
    assert_true(wider.tail > later.tail);
    assert_int_equal(-1, widest.tail);
    assert_true(widest.has_since && widest.since_ns <= START_NS + 7 * NSEC_PER_MSEC - NSEC_PER_SEC);
    /* A line of long ago on the other stream does not make it read the whole log. */
    for (int i = 0; i < 70; i++)
        assert_int_equal(SPLICE_DELIVER,
                         judge(&l, part_at(RECORD_STDERR, 3600000 + i, i ? "x\n" : "y\n")));
    splice_plan(&l.history, 2, START_NS + 3700 * NSEC_PER_SEC, &widest);
    assert_true(widest.since_ns > START_NS + 3590 * NSEC_PER_SEC);
    assert_true(widest.since_ns <= START_NS + 3600 * NSEC_PER_SEC);
    /* With the clock set back `since` would hide what was written since. */
    splice_plan(&l.history, 2, START_NS - 3600 * NSEC_PER_SEC, &widest);
    assert_int_equal(-1, widest.tail);
    assert_false(widest.has_since);
    splice_history_finish(&l.history);
}

static void test_a_takeover_asks_for_next_to_nothing(void **state)
{
    struct splice_query q;
    struct log l;

    log_begin(&l);
    splice_plan_takeover(&l.history, 0, START_NS + 3600 * NSEC_PER_SEC, 65536, &q);
    assert_int_equal(1, q.tail);
    splice_plan_takeover(&l.history, 0, START_NS + 8 * NSEC_PER_MSEC, 65536, &q);
    assert_true(q.tail > 1 && q.tail * l.history.record_bytes_avg <= 65536 * 2);
    splice_plan_takeover(&l.history, 0, START_NS + 8 * NSEC_PER_MSEC, 1, &q);
    assert_int_equal(1, q.tail);
    splice_plan_takeover(&l.history, 2, START_NS + 8 * NSEC_PER_MSEC, 65536, &q);
    assert_false(q.whole);
    splice_history_finish(&l.history);
    /* Without a history the newest record says whether there is anything new. */
    l.history =
        (struct splice_history){.marks_max = 64, .floor_ns = INT64_MIN, .floor_is_far = true};
    splice_plan_takeover(&l.history, 0, START_NS, 65536, &q);
    assert_int_equal(1, q.tail);
    open_level(&l, 0, q.tail);
    assert_int_equal(SPLICE_WIDEN, judge(&l, part_at(RECORD_STDOUT, 0, "a\n")));
    splice_plan_takeover(&l.history, 1, START_NS, 65536, &q);
    assert_int_equal(-1, q.tail);
    open_level(&l, 1, q.tail);
    assert_int_equal(SPLICE_DELIVER, judge(&l, part_at(RECORD_STDOUT, 0, "a\n")));
    splice_history_finish(&l.history);
}

#define TITLED(title, fn)                                                                          \
    {                                                                                              \
        .name = (title), .test_func = (fn)                                                         \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TITLED("S08 every record comes once and in order whatever is cut",
               test_every_record_comes_once_and_in_order_whatever_is_cut),
        TITLED("S09 equal lines of one nanosecond all come",
               test_equal_lines_of_one_nanosecond_all_come),
        TITLED("S21 equal parts of one line all come", test_equal_parts_of_one_line_all_come),
        cmocka_unit_test(test_any_number_of_lines_of_one_nanosecond_comes_once),
        cmocka_unit_test(test_a_restart_goes_on_with_the_last_marks),
        cmocka_unit_test(test_what_20_10_sends_again_is_dropped),
        cmocka_unit_test(test_what_the_engine_dropped_is_a_gap_that_is_counted),
        cmocka_unit_test(test_a_floor_begins_where_it_says),
        cmocka_unit_test(test_a_clock_that_is_set_back_loses_nothing),
        cmocka_unit_test(test_a_response_goes_on_behind_the_last_record),
        cmocka_unit_test(test_with_the_clock_set_back_a_short_tail_is_noticed_by_its_length),
        cmocka_unit_test(test_behind_the_history_a_line_that_went_back_is_new),
        cmocka_unit_test(test_the_last_line_once_more_is_a_repetition_on_20_10_only),
        cmocka_unit_test(test_a_tail_that_begins_with_a_part_of_the_last_line_is_too_short),
        cmocka_unit_test(test_owed_parts_are_delivered_again),
        cmocka_unit_test(test_a_response_that_begins_behind_an_owed_part_is_too_short),
        TITLED("S21 a part is no place while its line may have begun before the history",
               test_a_part_is_no_place_while_its_line_may_have_begun_before_the_history),
        cmocka_unit_test(test_a_response_with_an_end_is_looked_through_to_its_end),
        cmocka_unit_test(test_the_last_level_takes_what_there_is_and_counts_the_gap),
        cmocka_unit_test(test_a_full_history_forgets_the_oldest),
        cmocka_unit_test(test_first_contact_asks_by_the_floor),
        cmocka_unit_test(test_short_tails_before_the_first_record_never_begin_too_late),
        cmocka_unit_test(test_a_query_asks_for_more_with_the_gap_and_the_level),
        cmocka_unit_test(test_a_takeover_asks_for_next_to_nothing),
    };

    return cmocka_run_group_tests_name("splice", tests, NULL, NULL);
}
