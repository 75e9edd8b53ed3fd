/* Streams that take over from one another while containers write, and the watchdog behind them. */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ringtail/base/macros.h"

#include "admin_peer.h"
#include "ledger.h"

#define ROTATIONS "log_capturer_container_stream_rotations_total{"
#define STUCK "log_capturer_container_stream_errors_total{error_type=\"rotation_stuck\""
#define STUCK_LOG "Stream rotation stuck - possible deadlock"

struct until {
    uint16_t port;
    const char *beginning;
    double least;
};

static bool has_reached(struct world *w, void *ctx)
{
    const struct until *until = ctx;

    return admin_peer_sum(w, until->port, until->beginning) >= until->least;
}

static void wait_metric(struct world *w, uint16_t port, const char *beginning, double least)
{
    world_wait(w, beginning, has_reached,
               &(struct until){.port = port, .beginning = beginning, .least = least});
}

/* ---- S02 ---- */

static void test_a_deaf_stream_is_replaced(void **state)
{
    enum { ROUNDS = 5 };
    struct world *w = *state;
    struct speaker *s[3];

    world_engine(w, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(s); i++)
        s[i] = world_speaker(w, NULL);
    world_run(w, "--set", "stream.rotation_interval=1s");
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
            say_many(s[i], "heard", 10);
        }
        world_wait_all(w);
        for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
            world_assert_within(w, sim_follow_stall(w->sim, s[i]->container), 1, 2);
            say_many(s[i], "not heard", 10u << round);
        }
        /* All this while each goes on: only the next stream can bring it. */
        world_wait_all(w);
    }
    world_stop(w);
}

static void test_a_stream_that_never_heard_anything_is_replaced(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    world_run(w, "--set", "stream.rotation_interval=1s");
    world_wait_log(w, "Following containers", NULL, 1);
    s = world_speaker(w, NULL);
    world_wait_follows(w, s, 1);
    world_assert_within(w, sim_follow_stall(w->sim, s->container), 1, 2);
    say_many(s, "not heard", 100);
    world_wait_all(w);
    world_stop(w);
}

/* ---- S09, S21 ---- */

static void test_equal_lines_of_one_nanosecond_during_rotation(void **state)
{
    enum { ROTATIONS_MIN = 12 };
    struct world *w = *state;
    uint64_t opened;
    struct speaker *s;

    world_engine(w, NULL);
    s = world_speaker(w, NULL);
    world_run(w, "--set", "stream.rotation_interval=200ms");
    world_wait_follows(w, s, 1);
    opened = speaker_stats(s).logs_requests;
    while (speaker_stats(s).logs_requests < opened + ROTATIONS_MIN) {
        int64_t ts_ns = world_next_ts(w);

        for (unsigned n = 0; n < 6; n++)
            say_at(s, n % 4 == 3 ? SIM_STDERR : SIM_STDOUT, ts_ns, "same", 4);
        world_wait_lines(w, s, told_count(s->told));
    }
    world_wait_all(w);
    world_stop(w);
}

static void test_long_lines_during_rotation(void **state)
{
    enum { ROTATIONS_MIN = 12, LEN = 3 * SIM_PART_BYTES + 5 };
    static char text[LEN];
    struct world *w = *state;
    uint64_t opened;
    struct speaker *s;

    memset(text, 'x', sizeof text);
    world_engine(w, NULL);
    s = world_speaker(w, NULL);
    world_run(w, "--set", "stream.rotation_interval=200ms");
    world_wait_follows(w, s, 1);
    opened = speaker_stats(s).logs_requests;
    while (speaker_stats(s).logs_requests < opened + ROTATIONS_MIN) {
        say_bytes(s, SIM_STDOUT, text, sizeof text);
        say(s, SIM_STDERR, "in between");
        world_wait_lines(w, s, told_count(s->told));
    }
    world_wait_all(w);
    world_stop(w);
}

/* ---- S03 ---- */

static void test_cuts_during_rotation(void **state)
{
    enum { ROUNDS = 60 };
    struct world *w = *state;
    struct speaker *s[4];

    world_engine(w, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
        s[i] = world_speaker(w, NULL);
        for (unsigned n = 0; n < ROUNDS; n++)
            world_fault(w, &(struct sim_fault){.kind = SIM_FAULT_CUT,
                                               .on = SIM_REQUEST_LOGS,
                                               .container = s[i]->container,
                                               .skip = n % 3,
                                               .times = 1,
                                               .bytes = n * 5 + i,
                                               .count = SIM_BYTES_BODY});
    }
    world_run(w, "--set", "stream.rotation_interval=200ms");
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < ARRAY_SIZE(s); i++)
            say_many(s[i], "line", 3);
        world_wait_lines(w, s[round % ARRAY_SIZE(s)], told_count(s[round % ARRAY_SIZE(s)]->told));
    }
    world_wait_all(w);
    world_stop(w);
}

/* ---- the watchdog ---- */

static void stuck(struct world *w, const struct sim_fault *like)
{
    struct sim_fault fault = *like;
    double rotations;
    struct speaker *s;
    uint16_t port;

    world_engine(w, NULL);
    s = world_speaker(w, "wedged");
    world_run(w, ADMIN_PEER_ARGS, "--set", "stream.rotation_interval=200ms", "--set",
              "stream.stuck_grace=500ms");
    port = admin_peer_port(w);
    say_many(s, "before", 20);
    world_wait_all(w);
    wait_metric(w, port, ROTATIONS, 2);
    fault.on = SIM_REQUEST_LOGS;
    fault.container = s->container;
    (void)world_fault(w, &fault);
    world_wait_log(w, STUCK_LOG, speaker_mark(s), 1);
    world_assert_within(w, ringtail_proc_log_number(&w->ringtail, STUCK_LOG, "rotation_count"), 1,
                        INT64_MAX);
    wait_metric(w, port, STUCK, 1);
    sim_fault_clear(w->sim, 0);
    rotations = admin_peer_sum(w, port, ROTATIONS);
    say_many(s, "behind", 20);
    world_wait_all(w);
    wait_metric(w, port, ROTATIONS, rotations + 2);
    say_many(s, "at the end", 20);
    world_wait_all(w);
    world_stop(w);
}

static void test_a_refused_successor_is_said_and_repaired(void **state)
{
    stuck(*state, &(struct sim_fault){
                      .kind = SIM_FAULT_REPLY, .status = 409, .body = "{\"message\":\"not now\"}"});
}

static void test_an_unanswered_successor_is_said_and_repaired(void **state)
{
    stuck(*state, &(struct sim_fault){.kind = SIM_FAULT_NO_ANSWER});
}

/* ---- scrapes ---- */

struct scraper {
    pthread_t thread;
    uint16_t port;
    unsigned wanted;
    _Atomic unsigned done, failed;
};

static void *scrape_on(void *ctx)
{
    struct scraper *s = ctx;
    struct buf page = {0};

    for (; s->done < s->wanted; s->done++)
        s->failed += !admin_peer_get(s->port, &page);
    buf_finish(&page);
    return NULL;
}

static bool are_done(struct world *w, void *ctx)
{
    const struct scraper *s = ctx;
    unsigned done = 0;

    (void)w;
    for (unsigned i = 0; i < 4; i++)
        done += s[i].done;
    return done == 4 * s->wanted;
}

static void test_scrapes_change_no_line(void **state)
{
    enum { SCRAPERS = 4, SCRAPES = 10000, SLOW = 8 };
    const struct sim_generator busy = {.lines_per_s = 3000, .stderr_percent = 30};
    struct world *w = *state;
    struct scraper scrapers[SCRAPERS];
    struct speaker *s[4];
    int slow[SLOW];
    uint16_t port;

    world_engine(w, &(struct sim_options){.bulk = true});
    for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
        char name[16];

        snprintf(name, sizeof name, "busy-%zu", i);
        s[i] = world_speaker_spec(w, &(struct sim_spec){.name = name, .generator = &busy});
        told_generated(s[i]->told, &busy, name, 0);
    }
    world_run(w, ADMIN_PEER_ARGS, "--set", "stream.rotation_interval=1s", "--set",
              "log.level=info");
    port = admin_peer_port(w);
    world_wait_lines(w, s[0], 100);
    /* These ask and never read. */
    for (unsigned i = 0; i < SLOW; i++) {
        slow[i] = admin_peer_ask(port);
        assert_true(slow[i] >= 0);
    }
    for (unsigned i = 0; i < SCRAPERS; i++) {
        scrapers[i] = (struct scraper){.port = port, .wanted = SCRAPES / SCRAPERS};
        assert_int_equal(0, pthread_create(&scrapers[i].thread, NULL, scrape_on, &scrapers[i]));
    }
    world_wait(w, "10,000 scrapes", are_done, scrapers);
    for (unsigned i = 0; i < SCRAPERS; i++) {
        assert_int_equal(0, pthread_join(scrapers[i].thread, NULL));
        world_assert_within(w, scrapers[i].failed, 0, 0);
    }
    for (unsigned i = 0; i < SLOW; i++)
        close(slow[i]);
    for (size_t i = 0; i < ARRAY_SIZE(s); i++)
        world_wait_lines(w, s[i], told_seen(s[i]->told) + 100);
    world_stop(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST("S02 a stream that has gone deaf is replaced", test_a_deaf_stream_is_replaced),
        WORLD_TEST("S02 a stream that never heard anything is replaced",
                   test_a_stream_that_never_heard_anything_is_replaced),
        WORLD_TEST("S09 equal lines of one nanosecond while streams rotate",
                   test_equal_lines_of_one_nanosecond_during_rotation),
        WORLD_TEST("S21 lines in parts while streams rotate", test_long_lines_during_rotation),
        WORLD_TEST("S03 cuts while streams rotate", test_cuts_during_rotation),
        WORLD_TEST("a refused successor is said and repaired",
                   test_a_refused_successor_is_said_and_repaired),
        WORLD_TEST("an unanswered successor is said and repaired",
                   test_an_unanswered_successor_is_said_and_repaired),
        WORLD_TEST("scrapes change no line", test_scrapes_change_no_line),
    };

    return world_main(tests);
}
