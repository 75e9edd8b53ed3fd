/* Many containers, many lines: nobody starves, and what was used is given back. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "ringtail/base/macros.h"
#include "support/world.h"

#define FIREHOSE ((struct sim_generator){.firehose = true, .stderr_percent = 30})

static struct speaker *add_generator(struct world *w, const char *name,
                                     const struct sim_generator *generator, uint64_t lines)
{
    struct speaker *s =
        world_speaker_spec(w, &(struct sim_spec){.name = name, .generator = generator});

    told_set_name(s->told, name);
    told_generated(s->told, generator, name, lines);
    return s;
}

/* Whether this process and ringtail, which inherits the limit, may have so many descriptors. */
static bool can_open(rlim_t count)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return false;
    limit.rlim_cur = limit.rlim_max;
    return limit.rlim_max >= count && setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/* ---- S18 ---- */

static void test_a_thousand_short_lives_leave_nothing_behind(void **state)
{
    enum { WAVES = 20, WAVE = 50, WARM = 4 };
    struct world *w = *state;
    struct speaker *speakers[WAVE];
    long descriptors = 0, rss_kib = 0;

    world_engine(w, NULL);
    world_run(w, "--set", "output.open_files_max=16", "--set", "log.level=info");
    world_wait_log(w, "Following containers", NULL, 1);
    for (unsigned wave = 0; wave < WAVES; wave++) {
        for (unsigned i = 0; i < WAVE; i++) {
            speakers[i] = world_speaker_spec(w, &(struct sim_spec){.tty = i % 10 == 0});
            say_many(speakers[i], "short life", 5);
            if (i % 2)
                assert_int_equal(0, sim_container_exit(speakers[i]->container, 0));
        }
        world_wait_all(w);
        for (unsigned i = 0; i < WAVE; i++)
            assert_int_equal(0, sim_container_remove(speakers[i]->container));
        world_wait_follows(w, NULL, 0);
        if (wave == WARM) {
            descriptors = ringtail_proc_descriptors(&w->ringtail);
            rss_kib = ringtail_proc_rss_kib(&w->ringtail);
        }
    }
    world_assert_within(w, descriptors, 3, 64);
    /* Up to open_files_max come and go; 750 containers that left one each would show. */
    world_assert_within(w, ringtail_proc_descriptors(&w->ringtail), 3, descriptors + 20);
    /* 750 more containers have come and gone: what is left of each are its series, for a while. */
    world_assert_within(w, ringtail_proc_rss_kib(&w->ringtail) - rss_kib, -65536, 9000);
    world_stop(w);
}

/* ---- a thousand at once ---- */

#define CROWD 1000

static bool all_have_rotated(struct world *w, void *ctx)
{
    struct speaker *const *crowd = ctx;

    for (unsigned i = 0; i < CROWD; i++)
        if (speaker_stats(crowd[i]).logs_requests < 2)
            return false;
    return true;
}

static void all_say(struct speaker *const *crowd, const char *what)
{
    for (unsigned i = 0; i < CROWD; i++)
        say_many(crowd[i], what, 3);
}

static void test_a_thousand_containers_rotate_and_outlive_their_engine(void **state)
{
    struct speaker *crowd[CROWD];
    struct world *w = *state;

    /* A descriptor here for each stream, and another one while it rotates. */
    if (!can_open(3 * CROWD)) {
        print_message("RLIMIT_NOFILE allows too few descriptors here\n");
        skip();
    }
    world_engine(w, NULL);
    for (unsigned i = 0; i < CROWD; i++)
        crowd[i] = world_speaker_spec(w, &(struct sim_spec){.tty = i % 10 == 0, .silent = true});
    all_say(crowd, "before");
    world_run(w, "--set", "log.level=info", "--set", "stream.rotation_interval=4s", "--set",
              "discovery.resync_interval=2s");
    world_wait_follows(w, NULL, CROWD);
    all_say(crowd, "followed");
    world_wait(w, "a rotation of each", all_have_rotated, crowd);
    all_say(crowd, "rotated");
    world_wait_all(w);
    /* Files on both backends; with epoll a stream is a descriptor, too. */
    world_assert_within(w, ringtail_proc_descriptors(&w->ringtail), 1, 2 * CROWD);
    assert_int_equal(0, sim_engine_stop(w->sim, SIM_STOP_LIVE_RESTORE));
    all_say(crowd, "alone");
    assert_int_equal(0, sim_engine_start(w->sim, false));
    all_say(crowd, "back");
    world_wait_all(w);
    world_stop(w);
}

/* ---- S41 ---- */

static void test_quiet_containers_pass_a_firehose(void **state)
{
    enum { QUIET = 200, ROUNDS = 5 };
    const struct sim_generator firehose = FIREHOSE;
    struct world *w = *state;
    struct speaker *quiet[QUIET], *loud;
    uint64_t before = 0;

    world_engine(w, NULL);
    for (unsigned i = 0; i < QUIET; i++)
        quiet[i] = world_speaker(w, NULL);
    loud = add_generator(w, "loud", &firehose, 0);
    world_run(w, "--set", "log.level=info");
    world_wait_follows(w, NULL, QUIET + 1);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < QUIET; i++)
            say_many(quiet[i], "quiet", 2);
        world_wait_all(w);
        /* All of them have passed, and the firehose is still at it. */
        world_assert_within(w, speaker_stats(loud).follows_now, 1, 1);
        world_wait_lines(w, loud, before + 2000);
        before = told_seen(loud->told);
    }
    world_stop(w);
    world_assert_within(w, told_seen(loud->told), ROUNDS * 2000, INT64_MAX);
}

/* ---- generated load ---- */

static void test_many_lines_of_all_lengths_come_out_exactly(void **state)
{
    static const struct sim_generator plain = {
        .firehose = true, .lines = 60000, .stderr_percent = 20};
    static const struct sim_generator quotes = {.firehose = true, .lines = 30000, .quotes = true};
    static const struct sim_generator mixed = {.firehose = true,
                                               .lines = 6000,
                                               .stderr_percent = 50,
                                               .long_every = 50,
                                               .long_bytes = 40000};
    static const struct sim_generator ends = {.lines_per_s = 5000,
                                              .lines_before = 3000,
                                              .lines = 6000,
                                              .stderr_percent = 10,
                                              .exit_at_end = true};
    struct world *w = *state;

    world_engine(w, &(struct sim_options){.bulk = true});
    add_generator(w, "plain", &plain, plain.lines);
    add_generator(w, "quotes", &quotes, quotes.lines);
    add_generator(w, "mixed", &mixed, mixed.lines);
    world_run(w, "--set", "log.level=info");
    /* It runs for less than a second: ended before the first listing, it would be nobody's. */
    world_wait_log(w, "Following containers", NULL, 1);
    add_generator(w, "ends", &ends, ends.lines);
    world_wait_all(w);
    world_stop(w);
}

static void test_a_small_queue_only_slows(void **state)
{
    const struct sim_generator firehose = {.firehose = true, .lines = 30000, .line_bytes = 500};
    struct world *w = *state;

    world_engine(w, &(struct sim_options){.bulk = true});
    add_generator(w, "a", &firehose, firehose.lines);
    add_generator(w, "b", &firehose, firehose.lines);
    say_many(world_speaker(w, "quiet"), "quiet", 10);
    world_run(w, "--set", "queue.max_bytes=1MiB", "--set", "queue.batch_bytes=4KiB", "--set",
              "ring.buffers=4", "--set", "ring.buffer_bytes=4KiB");
    world_wait_all(w);
    world_stop(w);
}

static void test_cuts_under_load_lose_nothing(void **state)
{
    enum { LOUD = 4, ROUNDS = 25 };
    const struct sim_generator busy = {.lines_per_s = 10000, .stderr_percent = 30};
    struct world *w = *state;
    struct speaker *loud[LOUD];

    world_engine(w, &(struct sim_options){.bulk = true});
    for (unsigned i = 0; i < LOUD; i++) {
        char name[16];

        snprintf(name, sizeof name, "loud-%u", i);
        loud[i] = add_generator(w, name, &busy, 0);
    }
    world_run(w);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct speaker *s = loud[round % LOUD];

        world_wait_lines(w, s, told_seen(s->told) + 300);
        sim_follow_cut(w->sim, s->container);
    }
    for (unsigned i = 0; i < LOUD; i++)
        world_wait_lines(w, loud[i], told_seen(loud[i]->told) + 300);
    world_stop(w);
}

static void test_sigterm_under_load_ends_with_whole_lines(void **state)
{
    enum { LOUD = 4, ROUNDS = 12 };
    const struct sim_generator firehose = {.firehose = true, .lines = 100000, .stderr_percent = 30};
    struct world *w = *state;

    for (unsigned round = 0; round < ROUNDS; round++) {
        struct speaker *s = NULL;

        /* The seed makes other ids, and so other files, in each round. */
        world_engine(w, &(struct sim_options){.bulk = round % 2, .seed = round + 1});
        for (unsigned i = 0; i < LOUD; i++) {
            char name[16];

            snprintf(name, sizeof name, "loud-%u", i);
            s = add_generator(w, name, &firehose, 0);
        }
        world_run(w, "--set", round % 3 ? "queue.max_bytes=32MiB" : "queue.max_bytes=1MiB");
        world_wait_log(w, "Starting", NULL, 1);
        world_wait_lines(w, s, round * 300);
        world_stop_early(w);
        w->sim = sim_destroy(w->sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST("S18 a thousand short lives leave nothing behind",
                   test_a_thousand_short_lives_leave_nothing_behind),
        WORLD_TEST("S13 a thousand containers rotate, and outlive their Engine",
                   test_a_thousand_containers_rotate_and_outlive_their_engine),
        WORLD_TEST("S41 quiet containers pass a firehose", test_quiet_containers_pass_a_firehose),
        WORLD_TEST("many lines of all lengths come out exactly",
                   test_many_lines_of_all_lengths_come_out_exactly),
        WORLD_TEST("a small queue only slows", test_a_small_queue_only_slows),
        WORLD_TEST("S08 cuts under load lose nothing", test_cuts_under_load_lose_nothing),
        WORLD_TEST("SIGTERM under load ends with whole lines",
                   test_sigterm_under_load_ends_with_whole_lines),
    };

    /* Freed memory that a sanitizer keeps in quarantine would look like a leak. */
    world_add_environment("ASAN_OPTIONS", "quarantine_size_mb=1");
    return world_main(tests);
}
