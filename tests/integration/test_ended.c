/*
 * Containers that have ended: what they wrote while ringtail was away, or while their events were
 * lost, is read once, and those that ended before its time are left alone.
 */
#include <stdio.h>
#include <string.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"

#include "ledger.h"

#define HOUR_NS (3600 * NSEC_PER_SEC)

static struct sim_container *add_ended(struct world *w, unsigned lines)
{
    struct sim_container *c = sim_add(w->sim, NULL);

    for (unsigned i = 0; i < lines; i++)
        assert_int_equal(0, sim_linef(c, SIM_STDOUT, "long ago %u", i));
    assert_int_equal(0, sim_container_exit(c, 0));
    return c;
}

/** A whole life: `count` lines that are to be in the output. */
static struct sim_container *live(struct world *w, struct ledger *l, unsigned count)
{
    struct sim_container *c = sim_add(w->sim, NULL);

    ledger_say_many(l, c, "a life", count);
    assert_int_equal(0, sim_container_exit(c, 0));
    return c;
}

static void live_again(struct ledger *l, struct sim_container *c, unsigned count)
{
    assert_int_equal(0, sim_container_start(c));
    ledger_say_many(l, c, "another life", count);
    assert_int_equal(0, sim_container_exit(c, 0));
}

static uint64_t logs_requests(struct sim_container *c)
{
    struct sim_container_stats stats;

    sim_container_get_stats(c, &stats);
    return stats.logs_requests;
}

static void wait_listings(struct world *w, uint64_t n)
{
    world_wait_more_requests(w, SIM_REQUEST_LIST, n);
}

/* ---- away ---- */

static void ended_while_down(struct world *w, enum sim_engine engine, const char *since, bool kill)
{
    struct ledger *l = ledger_create(w);
    struct sim_container *followed, *silent, *before, *again;

    world_engine(w, &(struct sim_options){.engine = engine});
    before = add_ended(w, 50);
    again = add_ended(w, 50);
    followed = sim_add(w->sim, NULL);
    silent = sim_add(w->sim, NULL);
    world_run(w, "--since", since);
    world_wait_follows(w, NULL, 2);
    ledger_say_many(l, followed, "while it runs", 20);
    ledger_wait(l);
    if (kill)
        ledger_kill(w);
    else
        ledger_stop(l);

    ledger_say_many(l, followed, "and ends", 700);
    assert_int_equal(0, sim_container_exit(followed, 0));
    ledger_say_many(l, silent, "its only words", 3);
    assert_int_equal(0, sim_container_exit(silent, 1));
    for (unsigned i = 0; i < 5; i++)
        (void)live(w, l, 30 + 400 * i);
    (void)live(w, l, 0);
    live_again(l, again, 40);
    live_again(l, live(w, l, 10), 10);
    world_run(w, "--since", since);
    ledger_wait(l);
    wait_listings(w, 3);
    ledger_stop(l);

    /* And no more the next time. */
    world_run(w, "--since", since);
    world_wait_log(w, "Following containers", NULL, 1);
    wait_listings(w, 3);
    ledger_stop(l);
    assert_int_equal(0, logs_requests(before));
    ledger_destroy(l);
}

static void test_what_ended_while_down_is_read(void **state)
{
    ended_while_down(*state, SIM_ENGINE_28_5, "now", false);
}

static void test_what_ended_after_a_kill_is_read(void **state)
{
    ended_while_down(*state, SIM_ENGINE_28_5, "now", true);
}

static void test_what_ended_while_down_is_read_of_an_old_engine(void **state)
{
    ended_while_down(*state, SIM_ENGINE_20_10, "now", false);
}

static void test_what_ended_while_the_engine_restarted_is_read(void **state)
{
    struct world *w = *state;
    struct ledger *l = ledger_create(w);
    struct sim_container *c;

    world_engine(w, NULL);
    c = sim_add(w->sim, NULL);
    world_run(w);
    ledger_say_many(l, c, "before", 20);
    ledger_wait(l);
    for (unsigned round = 0; round < 3; round++) {
        /* Its history of events is gone with it. */
        assert_int_equal(0, sim_engine_stop(w->sim, SIM_STOP_LIVE_RESTORE));
        ledger_say_many(l, c, "meanwhile", 20);
        assert_int_equal(0, sim_container_exit(c, 0));
        (void)live(w, l, 30);
        assert_int_equal(0, sim_engine_start(w->sim, false));
        ledger_wait(l);
        assert_int_equal(0, sim_container_start(c));
    }
    ledger_stop(l);
    ledger_destroy(l);
}

/* ---- events lost ---- */

static void test_lives_between_two_listings_without_events_are_read(void **state)
{
    struct world *w = *state;
    struct ledger *l = ledger_create(w);
    struct sim_container *c, *old;

    world_engine(w, NULL);
    old = add_ended(w, 20);
    sim_set_event_faults(w->sim, &(struct sim_event_faults){.drop_percent = 100});
    world_run(w, "--since", "now");
    world_wait_log(w, "Following containers", NULL, 1);
    c = live(w, l, 30);
    ledger_wait(l);
    for (unsigned round = 0; round < 5; round++) {
        live_again(l, c, 20);
        (void)live(w, l, 10);
        ledger_wait(l);
    }
    live_again(l, old, 20);
    ledger_wait(l);
    ledger_stop(l);
    ledger_destroy(l);
}

/* ---- left alone ---- */

static void test_a_first_start_reads_nothing_that_has_ended(void **state)
{
    struct world *w = *state;
    struct ledger *l = ledger_create(w);
    struct sim_container *old[20], *c;

    world_engine(w, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(old); i++)
        old[i] = add_ended(w, 10);
    c = sim_add(w->sim, NULL);
    world_run(w, "--since", "all");
    ledger_say_many(l, c, "it runs", 10);
    ledger_wait(l);
    wait_listings(w, 5);
    for (size_t i = 0; i < ARRAY_SIZE(old); i++)
        assert_int_equal(0, logs_requests(old[i]));
    ledger_stop(l);
    ledger_destroy(l);
}

static void test_of_thousands_that_ended_long_ago_nothing_is_asked(void **state)
{
    enum { MANY = 3000 };
    struct world *w = *state;
    struct ledger *l = ledger_create(w);
    struct sim_container *c;
    struct sim_stats stats;

    world_engine(w, &(struct sim_options){.scripted_clock = true,
                                          .clock_start_ns = clock_wall_ns() - HOUR_NS});
    for (unsigned i = 0; i < MANY; i++)
        (void)add_ended(w, 1);
    sim_clock_set(w->sim, clock_wall_ns());
    c = sim_add(w->sim, NULL);
    for (unsigned run = 0; run < 2; run++) {
        world_run(w, "--since", "now", "--set", "discovery.resync_interval=100ms");
        world_wait_follows(w, NULL, 1);
        sim_clock_set(w->sim, clock_wall_ns());
        ledger_say_many(l, c, "it runs", 10);
        ledger_wait(l);
        wait_listings(w, 10);
        ledger_stop(l);
    }
    stats = world_stats(w);
    world_assert_within(w, stats.requests[SIM_REQUEST_INSPECT], 2, 2);
    ledger_destroy(l);
}

static bool has_settled_down(struct world *w, void *ctx)
{
    struct sim_container *c = ctx;
    uint64_t before = logs_requests(c);

    wait_listings(w, 5);
    return logs_requests(c) == before;
}

static void test_what_was_read_to_its_end_is_left_alone(void **state)
{
    struct world *w = *state;
    struct ledger *l = ledger_create(w);
    struct sim_container *c;

    world_engine(w, NULL);
    world_run(w);
    c = sim_add(w->sim, NULL);
    ledger_say_many(l, c, "a life", 10);
    ledger_wait(l);
    assert_int_equal(0, sim_container_exit(c, 0));
    /* The Engine tells its end to the second only, so within this second it may be read again. */
    world_wait(w, "nothing is asked any more", has_settled_down, c);
    ledger_stop(l);
    ledger_destroy(l);
}

/* ---- not known to the positions yet ---- */

static bool has_position(struct world *w, void *ctx)
{
    char path[256], text[4096] = "";
    FILE *file;
    size_t n;

    snprintf(path, sizeof path, "%s/.ringtail/positions", w->out_dir);
    file = fopen(path, "re");
    if (!file)
        return false;
    n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    return n > 0 && strstr(text, sim_container_id(ctx));
}

/* Its output tells of it after a crash, but not that its old log is wanted, which never was. */
static void test_after_a_crash_an_old_log_is_as_little_wanted_as_before(void **state)
{
    struct world *w = *state;
    struct ledger *l = ledger_create(w);
    struct sim_container *known, *unknown;

    world_engine(w, NULL);
    unknown = add_ended(w, 50);
    known = sim_add(w->sim, NULL);
    world_run(w, "--since", "now", "--set", "positions.interval=1h");
    world_wait_follows(w, NULL, 1);
    /* The positions are saved with the first line, and then for an hour no more. */
    ledger_say_many(l, known, "the first", 1);
    world_wait(w, "positions are saved", has_position, known);
    assert_int_equal(0, sim_container_start(unknown));
    ledger_say_many(l, unknown, "started again", 20);
    ledger_wait(l);
    ledger_kill(w);
    assert_false(has_position(w, unknown));
    ledger_say_many(l, unknown, "while it is down", 20);
    world_run(w, "--since", "now");
    ledger_wait(l);
    ledger_stop(l);
    ledger_destroy(l);
}

/* ---- a place that can't be told ---- */

/*
 * The last records are parts of one line, alike, and more of them than a tail asks for: none tells
 * which of them it begins with. That is found out once, and then the log is followed, or has been
 * read to its end.
 */
static void test_an_open_line_of_equal_parts_is_asked_for_a_few_times_only(void **state)
{
    enum { PARTS = 300, ENOUGH = 20 };
    static char text[PARTS * SIM_PART_BYTES + 4];
    struct world *w = *state;
    struct ledger *l = ledger_create(w);
    struct sim_container *running, *ended;
    int64_t ts_ns;

    memset(text, 'x', sizeof text);
    world_engine(w, &(struct sim_options){.engine = SIM_ENGINE_20_10});
    running = sim_add(w->sim, NULL);
    ended = sim_add(w->sim, NULL);
    world_run(w, "--set", "stream.max_line_bytes=8MiB");
    ts_ns = sim_now_ns(w->sim) + NSEC_PER_SEC;
    for (unsigned i = 0; i < PARTS; i++) {
        assert_int_equal(0, sim_log(running, SIM_STDOUT, ts_ns, text, SIM_PART_BYTES));
        assert_int_equal(0, sim_log(ended, SIM_STDOUT, ts_ns, text, SIM_PART_BYTES));
    }
    ledger_say(l, running, SIM_STDERR, ts_ns, "all parts are read by now", 25);
    ledger_say(l, ended, SIM_STDERR, ts_ns, "all parts are read by now", 25);
    assert_int_equal(0, sim_log(running, SIM_STDOUT, ts_ns, text, SIM_PART_BYTES));
    assert_int_equal(0, sim_log(ended, SIM_STDOUT, ts_ns, text, SIM_PART_BYTES));
    ledger_wait(l);
    assert_int_equal(0, sim_container_exit(ended, 0));
    assert_int_equal(1, sim_follow_cut(w->sim, running));
    wait_listings(w, 3);
    assert_in_range(logs_requests(running), 2, ENOUGH);
    assert_in_range(logs_requests(ended), 2, ENOUGH);
    world_stop(w);
    ledger_destroy(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST("S16 S18 lives that ended while ringtail was down are read",
                   test_what_ended_while_down_is_read),
        WORLD_TEST("S16 S42 lives that ended after a SIGKILL are read",
                   test_what_ended_after_a_kill_is_read),
        WORLD_TEST("S16 lives that ended while ringtail was down are read of Engine 20.10",
                   test_what_ended_while_down_is_read_of_an_old_engine),
        WORLD_TEST("S13 lives that ended while the Engine restarted are read",
                   test_what_ended_while_the_engine_restarted_is_read),
        WORLD_TEST("S10 lives between two listings without events are read",
                   test_lives_between_two_listings_without_events_are_read),
        WORLD_TEST("a first start reads nothing that has ended",
                   test_a_first_start_reads_nothing_that_has_ended),
        WORLD_TEST("of thousands that ended long ago nothing is asked",
                   test_of_thousands_that_ended_long_ago_nothing_is_asked),
        WORLD_TEST("what was read to its end is left alone",
                   test_what_was_read_to_its_end_is_left_alone),
        WORLD_TEST("S21 an open line of equal parts is asked for a few times only",
                   test_an_open_line_of_equal_parts_is_asked_for_a_few_times_only),
        WORLD_TEST("S42 after a crash an old log is as little wanted as before",
                   test_after_a_crash_an_old_log_is_as_little_wanted_as_before),
    };

    return world_main(tests);
}
