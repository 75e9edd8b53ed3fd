/* Logs that cannot be opened, break off with an Engine's error, jump back, or have lost records. */
#include <stdio.h>
#include <string.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"
#include "support/world.h"

/* ---- S06 ---- */

static const char error_text[] = "Error grabbing logs: invalid character 'x' after object\n";

static uint64_t error_after(struct speaker *s, uint64_t records, uint32_t times, bool eof)
{
    return world_fault(s->world, &(struct sim_fault){.kind = SIM_FAULT_ENGINE_ERROR,
                                                     .on = SIM_REQUEST_LOGS,
                                                     .container = s->container,
                                                     .times = times,
                                                     .records = records,
                                                     .eof = eof,
                                                     .body = error_text});
}

static void test_an_engines_error_is_no_line(void **state)
{
    struct world *w = *state;
    struct speaker *speakers[24];

    world_engine(w, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(speakers); i++) {
        speakers[i] = world_speaker(w, NULL);
        say_many(speakers[i], "before", 8);
        error_after(speakers[i], i / 2, 2, i % 2);
    }
    world_run(w, "--set", "log.burst=0");
    world_wait_all(w);
    for (unsigned i = 0; i < ARRAY_SIZE(speakers); i++)
        say_many(speakers[i], "after", 8);
    world_wait_all(w);
    for (unsigned i = 0; i < 16; i++)
        world_wait_log(w, "Engine reported an error in a log", speaker_mark(speakers[i]), 2);
    world_wait_log(w, "Engine reported an error in a log", "invalid character", 32);
    world_stop(w);
}

static void test_an_engines_error_at_every_reopen_is_backed_off(void **state)
{
    struct world *w = *state;
    struct sim_request requests[6];
    struct speaker *s;
    uint64_t fault;

    world_engine(w, NULL);
    s = world_speaker(w, "broken");
    fault = error_after(s, 0, 0, false);
    world_run(w, "--set", "engine.reconnect_min=20ms", "--set", "engine.reconnect_max=10s");
    while (sim_fault_hits(w->sim, fault) < ARRAY_SIZE(requests))
        world_wait_more_requests(w, SIM_REQUEST_LOGS, 1);
    assert_int_equal(ARRAY_SIZE(requests), sim_requests(w->sim, SIM_REQUEST_LOGS, s->container,
                                                        requests, ARRAY_SIZE(requests)));
    /* At least half of the first pause lies between any two tries. */
    for (size_t i = 1; i < ARRAY_SIZE(requests); i++)
        world_assert_within(w, requests[i].at_mono_ns - requests[i - 1].at_mono_ns,
                            9 * NSEC_PER_MSEC, INT64_MAX);
    sim_fault_clear(w->sim, fault);
    say_many(s, "after", 1);
    world_wait_all(w);
    say_many(s, "at last", 20);
    world_wait_all(w);
    world_stop(w);
}

static void test_what_the_engine_cannot_read_is_skipped_in_the_end(void **state)
{
    enum { LINES = 20, READABLE = 5 };
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    s = world_speaker(w, "corrupt");
    for (unsigned i = 0; i < LINES; i++) {
        int64_t ts_ns = world_next_ts(w);
        char text[16];
        int len = snprintf(text, sizeof text, "line %u\n", i);

        say_record(s, SIM_STDOUT, ts_ns, text, (size_t)len);
        if (i < READABLE || i == LINES - 1)
            say_expect(s, SIM_STDOUT, ts_ns, text, (size_t)len - 1, 0);
    }
    /* Three tries end behind the fifth record. The fourth asks for the newest one alone. */
    error_after(s, READABLE, 3, false);
    world_run(w);
    world_wait_all(w);
    world_wait_log(w, "Lines may be missing", speaker_mark(s), 1);
    say_many(s, "after", 5);
    world_wait_all(w);
    /* That is over: the next break is resumed exactly, as any other. */
    world_wait_caught_up(w, s);
    sim_follow_cut(w->sim, s->container);
    say_many(s, "after a cut", 10);
    world_wait_all(w);
    world_stop(w);
}

/* ---- S14 ---- */

static void refuse(struct speaker *s, int status, uint32_t times)
{
    world_fault(s->world, &(struct sim_fault){.kind = SIM_FAULT_REPLY,
                                              .on = SIM_REQUEST_LOGS,
                                              .container = s->container,
                                              .times = times,
                                              .status = status,
                                              .body = "{\"message\":\"refused for the test\"}\n"});
}

static void test_three_hundred_refused_logs_make_no_storm(void **state)
{
    enum { FOREVER = 150, SERVER = 50, CONFLICT = 50, MISSING = 50 };
    enum { SAID = FOREVER + SERVER, ALL = SAID + CONFLICT + MISSING };
    struct world *w = *state;
    struct speaker *speakers[ALL], *good;
    int64_t since_ns;
    uint64_t tries = 0;

    world_engine(w, NULL);
    for (unsigned i = 0; i < ALL; i++) {
        struct speaker *s = speakers[i] =
            world_speaker_spec(w, &(struct sim_spec){.log_driver = i < FOREVER ? "none" : NULL});

        if (i >= FOREVER)
            refuse(s, i < SAID ? 500 : i < SAID + CONFLICT ? 409 : 404, 0);
    }
    since_ns = clock_mono_ns();
    world_run(w, "--set", "stream.retry_refused=1s", "--set", "log.burst=0");
    for (unsigned i = 0; i < SAID; i++)
        world_wait_log(w, "Log unreadable", speaker_mark(speakers[i]), 1);
    /* Another container is not kept waiting by them. */
    good = world_speaker(w, "good");
    say_many(good, "line", 5);
    world_wait_all(w);
    world_wait_more_requests(w, SIM_REQUEST_LIST, 12);

    for (unsigned i = 0; i < ALL; i++) {
        uint64_t requests = speaker_stats(speakers[i]).logs_requests;

        if (i < FOREVER)
            world_assert_within(w, requests, 1, 1);
        tries += requests;
    }
    world_assert_within(w, tries, ALL, ALL + (clock_mono_ns() - since_ns) / NSEC_PER_SEC + 1);
    world_stop(w);
    for (unsigned i = 0; i < ALL; i++)
        world_assert_within(
            w, ringtail_proc_log_count(&w->ringtail, "Log unreadable", speaker_mark(speakers[i])),
            i < SAID, 1);
}

static void test_a_log_that_is_refused_for_a_while_is_read_then(void **state)
{
    static const int statuses[] = {500, 503, 400};
    struct world *w = *state;

    world_engine(w, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
        struct speaker *s = world_speaker(w, NULL);

        say_many(s, "line", 5);
        refuse(s, statuses[i], 1);
    }
    world_run(w, "--set", "stream.retry_refused=1s");
    world_wait_log(w, "Log unreadable", "refused for the test", ARRAY_SIZE(statuses));
    world_wait_all(w);
    world_stop(w);
}

static void test_a_log_that_cannot_be_read_is_tried_at_the_next_start(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    s = world_speaker(w, "no-log");
    refuse(s, 501, 2);
    world_run(w);
    world_wait_log(w, "Log unreadable", "501", 1);
    assert_int_equal(0, sim_container_restart(s->container));
    /* Said again: it is another run. */
    world_wait_log(w, "Log unreadable", "501", 2);
    say_many(s, "line", 5);
    assert_int_equal(0, sim_container_restart(s->container));
    say_many(s, "line", 5);
    world_wait_all(w);
    world_stop(w);
}

static void test_a_log_that_is_not_found_or_in_conflict_is_read_later(void **state)
{
    static const int statuses[] = {404, 409};
    struct world *w = *state;

    world_engine(w, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
        struct speaker *s = world_speaker(w, NULL);

        say_many(s, "line", 3);
        refuse(s, statuses[i], 2);
    }
    world_run(w, "--set", "stream.retry_refused=1s");
    world_wait_all(w);
    world_stop(w);
}

static void test_transient_failures_of_inspects_and_lists_delay_only(void **state)
{
    static const enum sim_request_kind kinds[] = {SIM_REQUEST_LIST, SIM_REQUEST_INSPECT,
                                                  SIM_REQUEST_EVENTS};
    struct world *w = *state;

    world_engine(w, NULL);
    for (unsigned i = 0; i < 20; i++)
        say_many(world_speaker(w, NULL), "line", 3);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        world_fault(w, &(struct sim_fault){.kind = SIM_FAULT_REPLY,
                                           .on = kinds[i],
                                           .times = 3,
                                           .status = 500,
                                           .body = "{\"message\":\"not now\"}\n"});
        world_fault(w, &(struct sim_fault){.kind = SIM_FAULT_CUT,
                                           .on = kinds[i],
                                           .skip = 3,
                                           .times = 3,
                                           .bytes = 20,
                                           .count = SIM_BYTES_RESPONSE});
        world_fault(w, &(struct sim_fault){.kind = SIM_FAULT_REPLY,
                                           .on = kinds[i],
                                           .skip = 6,
                                           .times = 2,
                                           .status = 200,
                                           .body = "{ \"this is\": not JSON"});
        world_fault(w, &(struct sim_fault){
                           .kind = SIM_FAULT_NO_ANSWER, .on = kinds[i], .skip = 8, .times = 1});
    }
    world_run(w, "--set", "engine.request_timeout=300ms");
    world_wait_all(w);
    for (unsigned i = 0; i < 20; i++)
        say_many(world_speaker(w, NULL), "line", 3);
    world_wait_all(w);
    world_stop(w);
}

static void test_a_log_that_is_never_answered_is_asked_for_again(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    s = world_speaker(w, "silent");
    say_many(s, "line", 3);
    world_fault(
        w, &(struct sim_fault){.kind = SIM_FAULT_NO_ANSWER, .on = SIM_REQUEST_LOGS, .times = 2});
    world_run(w, "--set", "engine.request_timeout=200ms");
    world_wait_all(w);
    world_stop(w);
}

/* ---- what the Engine does to logs that rotate ---- */

static void test_what_20_10_delivers_again_comes_once(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, &(struct sim_options){.engine = SIM_ENGINE_20_10});
    s = world_speaker(w, "rotates");
    say_many(s, "before", 30);
    world_run(w);
    for (unsigned i = 1; i < 20; i++) {
        say_many(s, "line", 10);
        world_wait_caught_up(w, s);
        assert_int_equal(0, sim_log_jump_back(s->container, i * 7));
        say_many(s, "line", 1 + i % 3);
        world_wait_all(w);
    }
    world_stop(w);
}

static void test_lines_that_the_engine_has_dropped_are_suspected(void **state)
{
    struct world *w = *state;
    struct speaker *s;
    unsigned lost = 20;

    world_engine(w, NULL);
    s = world_speaker(w, "rotates");
    say_many(s, "before", 30);
    world_run(w);
    world_wait_all(w);
    assert_int_equal(0, sim_engine_stop(w->sim, SIM_STOP_KILL));
    for (unsigned i = 0; i < lost; i++)
        say_record(s, SIM_STDOUT, world_next_ts(w), "lost\n", 5);
    assert_int_equal(0, sim_log_drop_oldest(s->container, 30 + lost));
    say_many(s, "after", 10);
    assert_int_equal(0, sim_engine_start(w->sim, false));
    world_wait_all(w);
    world_wait_log(w, "Lines may be missing", speaker_mark(s), 1);
    say_many(s, "live", 10);
    world_wait_all(w);
    world_stop(w);
}

static void test_a_long_absence_is_made_up_for(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    s = world_speaker(w, "talks");
    say_many(s, "before", 5);
    world_run(w, "--set", "stream.history_records=64", "--set", "stream.max_line_bytes=512KiB");
    world_wait_all(w);
    for (unsigned i = 0; i < 4; i++) {
        /* More than a small tail holds, and more than the history remembers. */
        assert_int_equal(0, sim_engine_stop(w->sim, SIM_STOP_KILL));
        say_many(s, "meanwhile", 5000);
        assert_int_equal(0, sim_engine_start(w->sim, false));
        world_wait_all(w);
    }
    world_assert_within(w, ringtail_proc_log_count(&w->ringtail, "Lines may be missing", NULL), 0,
                        0);
    world_stop(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST("S06 an Engine's error is no line", test_an_engines_error_is_no_line),
        WORLD_TEST("S06 an Engine's error at every reopen is backed off",
                   test_an_engines_error_at_every_reopen_is_backed_off),
        WORLD_TEST("S06 what the Engine cannot read is skipped in the end",
                   test_what_the_engine_cannot_read_is_skipped_in_the_end),
        WORLD_TEST("S14 three hundred refused logs make no storm",
                   test_three_hundred_refused_logs_make_no_storm),
        WORLD_TEST("S14 a log that is refused for a while is read then",
                   test_a_log_that_is_refused_for_a_while_is_read_then),
        WORLD_TEST("S14 a log that cannot be read is tried at the next start",
                   test_a_log_that_cannot_be_read_is_tried_at_the_next_start),
        WORLD_TEST("S14 a log that is not found, or in conflict, is read later",
                   test_a_log_that_is_not_found_or_in_conflict_is_read_later),
        WORLD_TEST("S14 transient failures of inspects and lists delay only",
                   test_transient_failures_of_inspects_and_lists_delay_only),
        WORLD_TEST("S14 a log that is never answered is asked for again",
                   test_a_log_that_is_never_answered_is_asked_for_again),
        WORLD_TEST("what 20.10 delivers again comes once",
                   test_what_20_10_delivers_again_comes_once),
        WORLD_TEST("lines that the Engine has dropped are suspected",
                   test_lines_that_the_engine_has_dropped_are_suspected),
        WORLD_TEST("a long absence is made up for", test_a_long_absence_is_made_up_for),
    };

    return world_main(tests);
}
