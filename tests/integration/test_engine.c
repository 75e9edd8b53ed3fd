/* The Engine itself: missing, forbidden, replaced, restarted, or of a version that is hard to talk
 * to. */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ringtail/base/macros.h"
#include "support/world.h"

#define ENGINE_SPEAKERS 100

/* ---- S17 ---- */

static void test_a_missing_socket_is_waited_for(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    assert_int_equal(0, sim_engine_stop(w->sim, SIM_STOP_LIVE_RESTORE));
    s = world_speaker(w, "early");
    say_many(s, "before", 3);
    world_run(w);
    world_wait_log(w, "Engine unreachable", sim_socket_path(w->sim), 1);
    say_many(s, "still before", 3);
    assert_int_equal(0, sim_engine_start(w->sim, false));
    world_wait_log(w, "Engine connected", NULL, 1);
    world_wait_all(w);
    say_many(s, "after", 3);
    world_wait_all(w);
    world_stop(w);
}

static void test_a_stale_socket_is_waited_for(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    assert_int_equal(0, sim_engine_stop(w->sim, SIM_STOP_KILL));
    s = world_speaker(w, "early");
    say_many(s, "before", 3);
    world_run(w);
    world_wait_log(w, "Engine unreachable", NULL, 1);
    assert_int_equal(0, sim_engine_start(w->sim, false));
    world_wait_all(w);
    world_stop(w);
}

static void test_an_engine_that_never_comes_does_not_keep_ringtail(void **state)
{
    struct world *w = *state;

    world_engine(w, NULL);
    assert_int_equal(0, sim_engine_stop(w->sim, SIM_STOP_LIVE_RESTORE));
    world_run(w);
    world_wait_log(w, "Engine unreachable", NULL, 1);
    world_stop(w);
}

static void test_a_new_socket_under_the_path_is_found(void **state)
{
    struct world *w = *state;
    struct speaker *old, *new;

    world_engine(w, NULL);
    old = world_speaker(w, "old");
    world_run(w);
    say_many(old, "before", 5);
    world_wait_all(w);
    assert_int_equal(0, sim_socket_replace(w->sim));
    say_many(old, "after", 5);
    new = world_speaker(w, "new");
    say_many(new, "new", 5);
    world_wait_all(w);
    sim_follow_cut(w->sim, NULL);
    say_many(old, "on the new socket", 5);
    say_many(new, "on the new socket", 5);
    world_wait_all(w);
    world_stop(w);
}

static void test_another_engine_under_the_path_is_followed(void **state)
{
    struct world *w = *state;

    world_engine(w, &(struct sim_options){.seed = 1});
    say_many(world_speaker(w, "same-name"), "first engine", 5);
    world_run(w);
    world_wait_all(w);
    sim_destroy(w->sim);
    world_engine(w, &(struct sim_options){.engine = SIM_ENGINE_20_10, .seed = 2});
    say_many(world_speaker(w, "same-name"), "second engine", 5);
    world_wait_all(w);
    world_stop(w);
}

static void test_a_forbidden_socket_names_the_group_to_join(void **state)
{
    struct world *w = *state;
    struct group *group;
    struct stat st;
    char name[256];

    world_engine(w, NULL);
    assert_int_equal(0, chmod(sim_socket_path(w->sim), 0));
    /* A group that is not root's own shows that it is the socket's. Only root can give it away. */
    group = getgrnam("daemon");
    if (group)
        (void)chown(sim_socket_path(w->sim), (uid_t)-1, group->gr_gid);
    assert_int_equal(0, stat(sim_socket_path(w->sim), &st));
    group = getgrgid(st.st_gid);
    if (group)
        snprintf(name, sizeof name, "%s", group->gr_name);
    else
        snprintf(name, sizeof name, "%u", (unsigned)st.st_gid);

    say_many(world_speaker(w, "behind"), "before", 3);
    world_run_how(w,
                  &(struct ringtail_how){.args = (const char *const[]){NULL}, .plain_user = true});
    world_wait_log(w, "Engine unreachable", "ermission denied", 1);
    world_wait_log(w, "Engine unreachable", "group", 1);
    world_wait_log(w, "Engine unreachable", name, 1);
    assert_int_equal(0, chmod(sim_socket_path(w->sim), 0666));
    world_wait_all(w);
    world_stop(w);
}

static void test_a_full_backlog_is_waited_for(void **state)
{
    struct world *w = *state;

    world_engine(w, NULL);
    say_many(world_speaker(w, "behind"), "before", 3);
    assert_int_equal(0, sim_listen_full(w->sim, true));
    world_run(w, "--set", "engine.request_timeout=100ms");
    world_wait_log(w, "Engine unreachable", NULL, 1);
    assert_int_equal(0, sim_listen_full(w->sim, false));
    world_wait_all(w);
    world_stop(w);
}

/* ---- S13, in short ---- */

static void engine_restarts(struct world *w, enum sim_stop how, enum sim_engine engine)
{
    struct speaker *speakers[ENGINE_SPEAKERS];
    bool containers_stop = how == SIM_STOP_WITH_CONTAINERS;

    world_engine(w, &(struct sim_options){.engine = engine});
    for (unsigned i = 0; i < ENGINE_SPEAKERS; i++)
        speakers[i] = world_speaker_spec(w, &(struct sim_spec){.tty = i % 10 == 9});
    world_run(w);
    world_wait_follows(w, NULL, ENGINE_SPEAKERS);
    for (unsigned round = 0; round < 3; round++) {
        struct sim_stats stats;

        for (unsigned i = 0; i < ENGINE_SPEAKERS; i++)
            say_many(speakers[i], "before", 5);
        assert_int_equal(0, sim_engine_stop(w->sim, how));
        if (!containers_stop)
            for (unsigned i = 0; i < ENGINE_SPEAKERS; i++)
                say_many(speakers[i], "meanwhile", 5);
        world_wait_log(w, "Engine unreachable", NULL, round + 1);
        assert_int_equal(0, sim_engine_start(w->sim, false));
        if (containers_stop)
            for (unsigned i = 0; i < ENGINE_SPEAKERS; i++)
                assert_int_equal(0, sim_container_start(speakers[i]->container));
        for (unsigned i = 0; i < ENGINE_SPEAKERS; i++)
            say_many(speakers[i], "after", 5);
        world_wait_all(w);
        world_wait_follows(w, NULL, ENGINE_SPEAKERS);
        stats = world_stats(w);
        world_assert_within(w, stats.follows_max, ENGINE_SPEAKERS, ENGINE_SPEAKERS);
    }
    world_stop(w);
}

static void test_a_killed_engine_is_resumed(void **state)
{
    engine_restarts(*state, SIM_STOP_KILL, SIM_ENGINE_28_5);
}

static void test_a_live_restored_engine_is_resumed(void **state)
{
    engine_restarts(*state, SIM_STOP_LIVE_RESTORE, SIM_ENGINE_28_5);
}

static void test_an_engine_that_stops_its_containers_is_resumed(void **state)
{
    engine_restarts(*state, SIM_STOP_WITH_CONTAINERS, SIM_ENGINE_26_1);
}

static void test_a_killed_20_10_is_resumed(void **state)
{
    engine_restarts(*state, SIM_STOP_KILL, SIM_ENGINE_20_10);
}

static void test_an_events_stream_that_is_cut_is_taken_up_again(void **state)
{
    struct world *w = *state;

    world_engine(w, NULL);
    say_many(world_speaker(w, NULL), "before", 3);
    world_run(w, "--set", "discovery.resync_interval=1m");
    world_wait_all(w);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(1, sim_events_cut(w->sim));
        say_many(world_speaker(w, NULL), "meanwhile", 3);
        assert_int_equal(0, sim_wait_event_streams(w->sim, 1, world_timeout_ms()));
        say_many(world_speaker(w, NULL), "after", 3);
        world_wait_all(w);
    }
    world_stop(w);
}

/* ---- S25 ---- */

static bool target_begins(struct world *w, enum sim_request_kind kind, const char *prefix)
{
    struct sim_request requests[64];
    size_t n = sim_requests(w->sim, kind, NULL, requests, ARRAY_SIZE(requests));

    for (size_t i = 0; i < n; i++)
        if (strncmp(requests[i].target, prefix, strlen(prefix)) != 0) {
            fprintf(stderr, "target: %s\n", requests[i].target);
            return false;
        }
    return n > 0;
}

static void talks(struct world *w, const struct sim_options *options, const char *prefix)
{
    world_engine(w, options);
    say_many(world_speaker(w, NULL), "before", 3);
    world_run(w);
    world_wait_all(w);
    say_many(world_speaker(w, NULL), "after", 3);
    world_wait_all(w);
    world_assert(w, target_begins(w, SIM_REQUEST_LIST, prefix));
    world_assert(w, target_begins(w, SIM_REQUEST_LOGS, prefix));
    world_assert(w, target_begins(w, SIM_REQUEST_INSPECT, prefix));
    world_assert(w, target_begins(w, SIM_REQUEST_EVENTS, prefix));
    world_stop(w);
}

static void test_an_engine_of_only_new_versions(void **state)
{
    talks(*state, &(struct sim_options){.api_oldest = "1.44", .api_newest = "1.51"}, "/v1.51/");
}

static void test_an_engine_of_only_old_versions(void **state)
{
    talks(*state,
          &(struct sim_options){
              .engine = SIM_ENGINE_20_10, .api_oldest = "1.12", .api_newest = "1.24"},
          "/v1.24/");
}

static void test_an_engine_newer_than_all_we_know(void **state)
{
    talks(*state, &(struct sim_options){.api_oldest = "1.40", .api_newest = "1.99"}, "/v1.5");
}

static void test_an_engine_that_names_no_version(void **state)
{
    struct world *w = *state;

    world_engine(w, NULL);
    world_fault(w, &(struct sim_fault){.kind = SIM_FAULT_NO_API_VERSION, .on = SIM_REQUEST_ANY});
    say_many(world_speaker(w, NULL), "before", 3);
    world_run(w);
    world_wait_all(w);
    world_stop(w);
}

/* `message` is how the refusal shows, and the Engine's or our own words about versions are in it.
 */
static void refuses(struct world *w, const struct sim_options *options, const char *message)
{
    world_engine(w, options);
    (void)world_speaker(w, "unread");
    assert_int_equal(0, sim_line(sim_container_find(w->sim, "unread"), SIM_STDOUT, 0, "unread"));
    world_run(w);
    world_wait_log(w, message, "API version", 1);
    world_stop(w);
    assert_int_equal(0, ndjson_check_records(w->check));
}

static void test_an_engine_too_old_is_a_clear_error(void **state)
{
    refuses(*state, &(struct sim_options){.api_oldest = "1.12", .api_newest = "1.23"},
            "Engine unreachable");
}

static void test_an_engine_too_new_is_a_clear_error(void **state)
{
    refuses(*state, &(struct sim_options){.api_oldest = "1.60", .api_newest = "1.70"},
            "Containers could not be listed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST("S17 a missing socket is waited for", test_a_missing_socket_is_waited_for),
        WORLD_TEST("S17 a stale socket is waited for", test_a_stale_socket_is_waited_for),
        WORLD_TEST("S17 an Engine that never comes does not keep ringtail from its end",
                   test_an_engine_that_never_comes_does_not_keep_ringtail),
        WORLD_TEST("S17 a new socket under the path is found",
                   test_a_new_socket_under_the_path_is_found),
        WORLD_TEST("S17 another Engine under the path is followed",
                   test_another_engine_under_the_path_is_followed),
        WORLD_TEST("S17 a forbidden socket names the group to join",
                   test_a_forbidden_socket_names_the_group_to_join),
        WORLD_TEST("S17 a full backlog is waited for", test_a_full_backlog_is_waited_for),
        WORLD_TEST("S13 a killed Engine is resumed under 100 streams",
                   test_a_killed_engine_is_resumed),
        WORLD_TEST("S13 a live-restored Engine is resumed under 100 streams",
                   test_a_live_restored_engine_is_resumed),
        WORLD_TEST("S13 an Engine that stops its containers is resumed under 100 streams",
                   test_an_engine_that_stops_its_containers_is_resumed),
        WORLD_TEST("S13 a killed Engine 20.10 is resumed under 100 streams",
                   test_a_killed_20_10_is_resumed),
        WORLD_TEST("an events stream that is cut is taken up again",
                   test_an_events_stream_that_is_cut_is_taken_up_again),
        WORLD_TEST("S25 an Engine of only new versions is followed",
                   test_an_engine_of_only_new_versions),
        WORLD_TEST("S25 an Engine of only old versions is followed",
                   test_an_engine_of_only_old_versions),
        WORLD_TEST("S25 an Engine newer than all we know is followed",
                   test_an_engine_newer_than_all_we_know),
        WORLD_TEST("S25 an Engine that names no version is followed",
                   test_an_engine_that_names_no_version),
        WORLD_TEST("S25 an Engine too old is a clear error",
                   test_an_engine_too_old_is_a_clear_error),
        WORLD_TEST("S25 an Engine too new is a clear error",
                   test_an_engine_too_new_is_a_clear_error),
    };

    return world_main(tests);
}
