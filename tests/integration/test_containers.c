/* Containers' lives: found whatever events say, read to their ends, never followed twice. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "ringtail/base/macros.h"
#include "support/world.h"

/* ---- S10 ---- */

static void test_every_container_is_followed_by_one_stream_whatever_events_do(void **state)
{
    enum { CONTAINERS = 150 };
    struct world *w = *state;
    struct speaker *speakers[CONTAINERS];

    world_engine(w, &(struct sim_options){.seed = 7});
    sim_set_event_faults(w->sim, &(struct sim_event_faults){.drop_percent = 30,
                                                            .duplicate_percent = 20,
                                                            .delay_percent = 20,
                                                            .delay_ms = 150,
                                                            .reorder_percent = 20});
    world_run(w);
    for (unsigned i = 0; i < CONTAINERS; i++) {
        speakers[i] = world_speaker(w, NULL);
        say_many(speakers[i], "line", 3);
        /* Some come to an end and back while their events are lost. */
        if (i >= 10 && i % 5 == 0)
            assert_int_equal(0, sim_container_restart(speakers[i - 10]->container));
        if (i % 30 == 29)
            world_wait_all(w);
    }
    world_wait_follows(w, NULL, CONTAINERS);
    for (unsigned i = 0; i < CONTAINERS; i++)
        say_many(speakers[i], "more", 3);
    world_wait_all(w);
    for (unsigned i = 0; i < CONTAINERS; i++)
        world_assert_within(w, speaker_stats(speakers[i]).follows_max, 1, 1);
    world_stop(w);
}

static void test_without_any_event_the_list_is_enough(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    sim_set_event_faults(w->sim, &(struct sim_event_faults){.drop_percent = 100});
    world_run(w);
    s = world_speaker(w, NULL);
    say_many(s, "line", 3);
    world_wait_all(w);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(0, sim_container_exit(s->container, 0));
        assert_int_equal(0, sim_container_start(s->container));
        say_many(s, "next run", 3);
        world_wait_all(w);
    }
    world_stop(w);
}

static void test_events_of_others_are_ignored(void **state)
{
    static const char *const events[] = {
        "{\"Type\":\"network\",\"Action\":\"start\",\"Actor\":{\"ID\":\"n\",\"Attributes\":{}}}",
        "{\"Type\":\"container\",\"Action\":\"start\"}",
        "{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"../../etc\"}}",
        "{\"Type\":\"container\",\"Action\":7,\"Actor\":[]}",
        "[]",
        "not JSON at all",
        "{",
    };
    struct world *w = *state;

    world_engine(w, NULL);
    world_run(w);
    for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
        struct speaker *s;

        assert_int_equal(0, sim_wait_event_streams(w->sim, 1, world_timeout_ms()));
        assert_int_equal(0, sim_emit_event(w->sim, events[i], sim_now_ns(w->sim)));
        s = world_speaker(w, NULL);
        say_many(s, "line", 3);
        assert_int_equal(0, sim_emit_container_event(s->container, "exec_start: sh"));
        assert_int_equal(0, sim_emit_container_event(s->container, "health_status: healthy"));
        world_wait_all(w);
    }
    world_stop(w);
}

/* ---- S11 ---- */

static void starts_while(struct world *w, enum sim_request_kind kind)
{
    world_engine(w, NULL);
    say_many(world_speaker(w, NULL), "early", 3);
    world_fault(
        w, &(struct sim_fault){.kind = SIM_FAULT_DELAY, .on = kind, .times = 1, .delay_ms = 500});
    world_run(w, "--set", "discovery.resync_interval=1m");
    world_wait_more_requests(w, kind, 1);
    say_many(world_speaker(w, NULL), "in between", 3);
    world_wait_all(w);
    say_many(world_speaker(w, NULL), "late", 3);
    world_wait_all(w);
    world_stop(w);
}

static void test_a_container_that_starts_before_the_list_is_answered(void **state)
{
    starts_while(*state, SIM_REQUEST_LIST);
}

static void test_a_container_that_starts_before_events_are_answered(void **state)
{
    starts_while(*state, SIM_REQUEST_EVENTS);
}

static void test_a_container_that_starts_before_the_inspect_is_answered(void **state)
{
    starts_while(*state, SIM_REQUEST_INSPECT);
}

/* ---- S15 ---- */

static void stop_and_start(struct world *w, enum sim_engine engine)
{
    enum { CONTAINERS = 10, RUNS = 30 };
    struct speaker *speakers[CONTAINERS];

    world_engine(w, &(struct sim_options){.engine = engine});
    for (unsigned i = 0; i < CONTAINERS; i++)
        speakers[i] = world_speaker_spec(w, &(struct sim_spec){.tty = i == 0});
    world_run(w);
    for (unsigned run = 0; run < RUNS; run++) {
        for (unsigned i = 0; i < CONTAINERS; i++) {
            struct speaker *s = speakers[i];

            say_many(s, "run", 1 + run % 4);
            /* Some end in the midst of a line. */
            if (run % 3 == 1) {
                say_expect(s, SIM_STDOUT, 0, "cut", 3, TOLD_PARTIAL);
                assert_int_equal(0, sim_write(s->container, SIM_STDOUT, "cut", 3));
            }
            if (i % 2)
                assert_int_equal(0, sim_container_restart(s->container));
            else
                assert_int_equal(0, sim_container_crash(s->container, 1));
        }
        /* Sometimes ringtail keeps up, sometimes several runs lie behind it. That a line was cut
         * can be seen only at the run's end or by the next line. */
        if (run % 5 == 0 && run % 3 != 1)
            world_wait_all(w);
        for (unsigned i = 0; i < CONTAINERS; i += 2)
            assert_int_equal(0, sim_container_start(speakers[i]->container));
    }
    for (unsigned i = 0; i < CONTAINERS; i++)
        say_many(speakers[i], "last", 3);
    world_wait_all(w);
    world_wait_follows(w, NULL, CONTAINERS);
    for (unsigned i = 0; i < CONTAINERS; i++)
        world_assert_within(w, speaker_stats(speakers[i]).follows_max, 1, 1);
    world_stop(w);
}

static void test_each_runs_lines_are_whole(void **state)
{
    stop_and_start(*state, SIM_ENGINE_28_5);
}

static void test_each_runs_lines_are_whole_on_20_10(void **state)
{
    stop_and_start(*state, SIM_ENGINE_20_10);
}

/* ---- S20 ---- */

struct lives {
    struct speaker **speakers;
    size_t count, settled;
    unsigned lines;
};

/* Each has its lines in the output, or is said to be missed; never both, never a part. */
static bool lives_are_settled(struct world *w, void *ctx)
{
    struct lives *lives = ctx;

    for (; lives->settled < lives->count; lives->settled++) {
        struct speaker *s = lives->speakers[lives->settled];
        uint64_t seen = told_seen(s->told);
        size_t missed = ringtail_proc_log_count(&w->ringtail, "Container missed", speaker_mark(s));

        if (seen > 0 && missed > 0)
            world_fail(w, "%s: %ju lines, and missed", speaker_mark(s), (uintmax_t)seen);
        if (seen != lives->lines && missed == 0)
            return false;
    }
    return true;
}

static void test_a_short_life_is_read_or_counted_as_missed(void **state)
{
    enum { LIVES = 100 };
    struct world *w = *state;
    struct speaker *speakers[LIVES];
    struct lives lives = {.speakers = speakers, .count = LIVES, .lines = 4};

    world_engine(w, NULL);
    world_run(w, "--set", "log.burst=0");
    world_wait_log(w, "Following containers", NULL, 1);
    for (unsigned i = 0; i < LIVES; i++) {
        struct speaker *s = speakers[i] = world_speaker(w, NULL);

        told_set_optional(s->told);
        say_many(s, "short", lives.lines);
        /* Some live until they are asked for, some do not. */
        if (i % 3)
            world_wait_follows(w, s, 1);
        assert_int_equal(0, sim_container_exit(s->container, 0));
        assert_int_equal(0, sim_container_remove(s->container));
    }
    world_wait(w, "an end of all short lives", lives_are_settled, &lives);
    world_stop(w);
    for (unsigned i = 0; i < LIVES; i++)
        if (i % 3)
            world_assert_within(w, told_seen(speakers[i]->told), lives.lines, lives.lines);
}

static void test_a_life_shorter_than_its_inspect_is_missed(void **state)
{
    struct world *w = *state;
    struct speaker *s, *other;

    world_engine(w, NULL);
    other = world_speaker(w, "other");
    world_run(w);
    world_wait_follows(w, other, 1);
    world_fault(w, &(struct sim_fault){
                       .kind = SIM_FAULT_DELAY, .on = SIM_REQUEST_INSPECT, .delay_ms = 200});
    s = world_speaker(w, "short");
    told_set_optional(s->told);
    say_many(s, "unseen", 3);
    assert_int_equal(0, sim_container_remove(s->container));
    world_wait_log(w, "Container missed", speaker_mark(s), 1);
    sim_fault_clear(w->sim, 0);
    say_many(other, "other", 3);
    world_wait_all(w);
    world_assert_within(w, told_seen(s->told), 0, 0);
    world_stop(w);
    world_assert_within(w, ringtail_proc_log_count(&w->ringtail, "Container missed", NULL), 1, 1);
}

/* ---- S35 ---- */

static void test_a_die_event_before_ten_thousand_lines(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    s = world_speaker(w, "dies");
    say_many(s, "before", 5);
    world_run(w);
    world_wait_all(w);
    /* While ringtail stands still, the event waits in its socket beside the lines. */
    ringtail_proc_signal(&w->ringtail, SIGSTOP);
    say_many(s, "buffered", 10000);
    assert_int_equal(0, sim_container_exit(s->container, 0));
    ringtail_proc_signal(&w->ringtail, SIGCONT);
    world_wait_all(w);
    world_wait_follows(w, s, 0);
    world_stop(w);
}

static void test_a_die_event_alone_ends_no_stream(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    s = world_speaker(w, "lives");
    world_run(w);
    world_wait_follows(w, s, 1);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(0, sim_emit_container_event(s->container, "die"));
        world_wait_more_requests(w, SIM_REQUEST_LIST, 2);
        say_many(s, "still here", 3);
        world_wait_all(w);
    }
    world_assert_within(w, speaker_stats(s).logs_requests, 1, 1);
    world_stop(w);
}

/* ---- S39 ---- */

static void test_a_paused_container_is_left_alone(void **state)
{
    struct world *w = *state;
    struct speaker *s, *paused_before;

    world_engine(w, NULL);
    s = world_speaker(w, "pauses");
    paused_before = world_speaker_spec(w, &(struct sim_spec){.state = SIM_PAUSED});
    say_many(paused_before, "before", 3);
    say_many(s, "before", 3);
    world_run(w, "--set", "stream.read_timeout=50ms");
    world_wait_all(w);
    assert_int_equal(0, sim_container_pause(s->container));
    /* Long enough for many an expired read and for several lists. */
    world_wait_more_requests(w, SIM_REQUEST_LIST, 8);
    world_assert_within(w, speaker_stats(s).logs_requests, 1, 1);
    world_assert_within(w, speaker_stats(paused_before).logs_requests, 1, 1);
    assert_int_equal(0, sim_container_unpause(s->container));
    assert_int_equal(0, sim_container_unpause(paused_before->container));
    say_many(s, "after", 3);
    say_many(paused_before, "after", 3);
    world_wait_all(w);
    world_assert_within(w, speaker_stats(s).logs_requests, 1, 1);
    world_stop(w);
}

static void test_a_paused_container_is_not_stuck(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    s = world_speaker(w, "pauses");
    world_run(w, "--set", "stream.rotation_interval=200ms", "--set", "stream.stuck_grace=500ms");
    say_many(s, "before", 3);
    world_wait_all(w);
    assert_int_equal(0, sim_container_pause(s->container));
    world_wait_log(w, "Stream rotated successfully", speaker_mark(s), 12);
    assert_int_equal(0, sim_container_unpause(s->container));
    say_many(s, "after", 3);
    world_wait_all(w);
    assert_int_equal(0, ringtail_proc_log_count(&w->ringtail,
                                                "Stream rotation stuck - possible deadlock", NULL));
    assert_int_equal(
        0, ringtail_proc_log_count(&w->ringtail,
                                   "Stream had fallen silent while its container went on, replaced",
                                   NULL));
    world_stop(w);
}

/* ---- S40 ---- */

static bool has_name(struct world *w, void *ctx)
{
    struct speaker *s = ctx;

    (void)w;
    if (strcmp(told_last_name(s->told), "new-name") == 0)
        return true;
    /* The rename is known once a line says so: one more question. */
    if (told_seen(s->told) == told_count(s->told))
        say(s, SIM_STDOUT, "who am I");
    return false;
}

static void test_a_renamed_container_goes_on_under_its_new_name(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    s = world_speaker(w, "old-name");
    world_run(w);
    say_many(s, "before", 5);
    world_wait_all(w);
    told_set_name(s->told, NULL);
    assert_int_equal(0, sim_container_rename(s->container, "new-name"));
    world_wait(w, "the new name", has_name, s);
    world_wait_all(w);
    told_set_name(s->told, "new-name");
    say_many(s, "after", 5);
    world_wait_all(w);
    world_assert_within(w, speaker_stats(s).logs_requests, 1, 1);
    world_stop(w);
}

static void test_a_listing_from_before_a_rename_does_not_take_it_back(void **state)
{
    struct world *w = *state;
    struct sim_fault reply = {.kind = SIM_FAULT_REPLY, .on = SIM_REQUEST_LIST, .status = 200};
    const struct sim_fault late = {
        .kind = SIM_FAULT_DELAY, .on = SIM_REQUEST_LIST, .times = 1, .delay_ms = 500};
    /* Nor does the listing after it say the new name. */
    const struct sim_fault none = {.kind = SIM_FAULT_NO_ANSWER, .on = SIM_REQUEST_LIST, .skip = 1};
    struct speaker *s;
    struct sim_stats before;
    uint64_t listings;
    char body[256];

    world_engine(w, NULL);
    s = world_speaker(w, "old-name");
    world_run(w, "--set", "discovery.resync_interval=1m");
    say_many(s, "before", 5);
    world_wait_all(w);
    told_set_name(s->told, NULL);
    assert_int_equal(0, sim_wait_event_streams(w->sim, 1, world_timeout_ms()));

    snprintf(body, sizeof body, "[{\"Id\":\"%s\",\"Names\":[\"/old-name\"],\"State\":\"running\"}]",
             sim_container_id(s->container));
    reply.body = body;
    reply.times = 1;
    assert_int_equal(0, sim_fault_add(w->sim, &reply, NULL));
    assert_int_equal(0, sim_fault_add(w->sim, &late, NULL));
    assert_int_equal(0, sim_fault_add(w->sim, &none, NULL));
    sim_get_stats(w->sim, &before);
    listings = before.requests[SIM_REQUEST_LIST];
    /* What can't be read makes ringtail ask for a listing. */
    assert_int_equal(0, sim_emit_event(w->sim, "{", sim_now_ns(w->sim)));
    assert_int_equal(0,
                     sim_wait_requests(w->sim, SIM_REQUEST_LIST, listings + 1, world_timeout_ms()));
    assert_int_equal(0, sim_container_rename(s->container, "new-name"));
    assert_int_equal(0, sim_emit_event(w->sim, "{", sim_now_ns(w->sim)));
    world_wait(w, "the new name", has_name, s);
    /* The next one is asked for when the late one has been taken. */
    assert_int_equal(0,
                     sim_wait_requests(w->sim, SIM_REQUEST_LIST, listings + 2, world_timeout_ms()));
    world_wait_all(w);
    told_set_name(s->told, "new-name");
    say_many(s, "after", 5);
    world_wait_all(w);
    world_stop(w);
}

static void test_a_listing_from_before_a_removal_brings_nobody_back(void **state)
{
    struct world *w = *state;
    struct sim_fault reply = {
        .kind = SIM_FAULT_REPLY, .on = SIM_REQUEST_LIST, .times = 1, .status = 200};
    const struct sim_fault late = {
        .kind = SIM_FAULT_DELAY, .on = SIM_REQUEST_LIST, .times = 1, .delay_ms = 500};
    struct speaker *s;
    struct sim_stats before;
    uint64_t listings;
    char body[256];

    world_engine(w, NULL);
    s = world_speaker(w, NULL);
    world_run(w, "--set", "discovery.resync_interval=1m");
    say_many(s, "a life", 5);
    world_wait_all(w);
    assert_int_equal(0, sim_wait_event_streams(w->sim, 1, world_timeout_ms()));
    assert_int_equal(0, sim_container_exit(s->container, 0));
    world_wait_follows(w, NULL, 0);

    snprintf(body, sizeof body, "[{\"Id\":\"%s\",\"Names\":[\"/a\"],\"State\":\"running\"}]",
             sim_container_id(s->container));
    reply.body = body;
    world_fault(w, &reply);
    world_fault(w, &late);
    sim_get_stats(w->sim, &before);
    listings = before.requests[SIM_REQUEST_LIST];
    /* What can't be read makes ringtail ask for a listing. */
    assert_int_equal(0, sim_emit_event(w->sim, "{", sim_now_ns(w->sim)));
    assert_int_equal(0,
                     sim_wait_requests(w->sim, SIM_REQUEST_LIST, listings + 1, world_timeout_ms()));
    assert_int_equal(0, sim_container_remove(s->container));
    /* The next one is asked for when the late one has been taken. */
    assert_int_equal(0, sim_emit_event(w->sim, "{", sim_now_ns(w->sim)));
    assert_int_equal(0,
                     sim_wait_requests(w->sim, SIM_REQUEST_LIST, listings + 2, world_timeout_ms()));
    /* Who was brought back would be looked for before this one is. */
    say_many(world_speaker(w, NULL), "another life", 5);
    world_wait_all(w);
    world_stop(w);
    assert_int_equal(0, ringtail_proc_log_count(&w->ringtail, "Container missed", NULL));
}

static void test_a_container_made_anew_is_another_one(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    s = world_speaker_spec(w, &(struct sim_spec){.name = "web", .image = "app:1"});
    world_run(w);
    for (unsigned i = 2; i < 6; i++) {
        struct sim_container *next;
        char image[16];

        say_many(s, "line", 5);
        world_wait_all(w);
        snprintf(image, sizeof image, "app:%u", i);
        assert_int_equal(
            0, sim_container_recreate(s->container, &(struct sim_spec){.image = image}, &next));
        s = world_adopt(w, next);
        told_set_name(s->told, "web");
        say_many(s, "line", 5);
        world_wait_all(w);
        world_assert(w, strcmp(told_last_image(s->told), image) == 0);
    }
    world_wait_follows(w, NULL, 1);
    world_stop(w);
}

static void test_containers_that_do_not_run_are_read_when_they_start(void **state)
{
    struct world *w = *state;
    struct speaker *created, *exited;

    world_engine(w, NULL);
    created = world_speaker_spec(w, &(struct sim_spec){.state = SIM_CREATED});
    exited = world_speaker(w, "exited");
    say_many(exited, "first run", 3);
    assert_int_equal(0, sim_container_exit(exited->container, 0));
    world_run(w);
    world_wait_log(w, "Following containers", NULL, 1);
    assert_int_equal(0, sim_container_start(created->container));
    assert_int_equal(0, sim_container_start(exited->container));
    say_many(created, "line", 3);
    say_many(exited, "second run", 3);
    world_wait_all(w);
    world_stop(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST("S10 every container is followed by one stream whatever events do",
                   test_every_container_is_followed_by_one_stream_whatever_events_do),
        WORLD_TEST("S10 without any event the list is enough",
                   test_without_any_event_the_list_is_enough),
        WORLD_TEST("S10 events of others are ignored", test_events_of_others_are_ignored),
        WORLD_TEST("S11 a container that starts before the list is answered is followed",
                   test_a_container_that_starts_before_the_list_is_answered),
        WORLD_TEST("S11 a container that starts before events are answered is followed",
                   test_a_container_that_starts_before_events_are_answered),
        WORLD_TEST("S11 a container that starts before the inspect is answered is followed",
                   test_a_container_that_starts_before_the_inspect_is_answered),
        WORLD_TEST("S15 each run's lines are whole", test_each_runs_lines_are_whole),
        WORLD_TEST("S15 each run's lines are whole on 20.10",
                   test_each_runs_lines_are_whole_on_20_10),
        WORLD_TEST("S20 a short life is read or counted as missed",
                   test_a_short_life_is_read_or_counted_as_missed),
        WORLD_TEST("S20 a life shorter than its inspect is missed",
                   test_a_life_shorter_than_its_inspect_is_missed),
        WORLD_TEST("S35 a die event before ten thousand lines loses none of them",
                   test_a_die_event_before_ten_thousand_lines),
        WORLD_TEST("S35 a die event alone ends no stream", test_a_die_event_alone_ends_no_stream),
        WORLD_TEST("S39 a paused container is left alone", test_a_paused_container_is_left_alone),
        WORLD_TEST("S39 a paused container is not stuck", test_a_paused_container_is_not_stuck),
        WORLD_TEST("S40 a renamed container goes on under its new name",
                   test_a_renamed_container_goes_on_under_its_new_name),
        WORLD_TEST("S40 a listing from before a rename does not take it back",
                   test_a_listing_from_before_a_rename_does_not_take_it_back),
        WORLD_TEST("S20 a listing from before a removal brings nobody back",
                   test_a_listing_from_before_a_removal_brings_nobody_back),
        WORLD_TEST("S40 a container made anew is another one",
                   test_a_container_made_anew_is_another_one),
        WORLD_TEST("containers that do not run are read when they start",
                   test_containers_that_do_not_run_are_read_when_they_start),
    };

    return world_main(tests);
}
