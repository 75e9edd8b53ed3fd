/* Bodies cut anywhere: into other pieces, which changes nothing, or off, which is resumed exactly.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"
#include "support/world.h"

/* Frame head, timestamp, blank and newline: what a line's text is wrapped in. */
#define FRAME_OVERHEAD (8 + 31 + 1)

static void cut_body(struct speaker *s, uint64_t bytes, enum sim_bytes count, uint32_t times,
                     bool reset)
{
    world_fault(s->world, &(struct sim_fault){.kind = SIM_FAULT_CUT,
                                              .on = SIM_REQUEST_LOGS,
                                              .container = s->container,
                                              .times = times,
                                              .bytes = bytes,
                                              .count = count,
                                              .reset = reset});
}

/* ---- S03 ---- */

static void say_three(struct speaker *s)
{
    say(s, SIM_STDOUT, "one");
    say(s, SIM_STDERR, "two");
    say(s, SIM_STDOUT, "three");
}

static void cut_at_every_offset(struct world *w, enum sim_bytes count, bool tty, bool live)
{
    enum { WIRE_OVERHEAD = 6, OFFSETS = 3 * (FRAME_OVERHEAD + WIRE_OVERHEAD) + 11 + 1 };
    struct speaker *speakers[OFFSETS];

    world_engine(w, NULL);
    for (unsigned i = 0; i < OFFSETS; i++) {
        speakers[i] = world_speaker_spec(w, &(struct sim_spec){.tty = tty});
        if (!live)
            say_three(speakers[i]);
        cut_body(speakers[i], i, count, 1 + i % 2, i % 3 == 0);
    }
    world_run(w, "--set", "stream.openings_max=100");
    if (live) {
        /* A body cut at its first byte is over before it has begun. */
        world_wait_more_requests(w, SIM_REQUEST_LOGS, OFFSETS);
        for (unsigned i = 0; i < OFFSETS; i++)
            say_three(speakers[i]);
    }
    world_wait_all(w);
    for (unsigned i = 0; i < OFFSETS; i++)
        say_three(speakers[i]);
    world_wait_all(w);
    world_stop(w);
}

static void test_a_cut_at_every_byte_of_the_frames(void **state)
{
    cut_at_every_offset(*state, SIM_BYTES_BODY, false, false);
}

static void test_a_cut_at_every_byte_of_live_frames(void **state)
{
    cut_at_every_offset(*state, SIM_BYTES_BODY, false, true);
}

static void test_a_cut_at_every_byte_on_the_wire(void **state)
{
    cut_at_every_offset(*state, SIM_BYTES_WIRE, false, true);
}

static void test_a_cut_at_every_byte_of_a_tty(void **state)
{
    cut_at_every_offset(*state, SIM_BYTES_WIRE, true, true);
}

static void test_a_cut_at_every_byte_of_the_head(void **state)
{
    struct world *w = *state;

    world_engine(w, NULL);
    for (unsigned i = 0; i < 260; i++) {
        struct speaker *s = world_speaker(w, NULL);

        say_three(s);
        cut_body(s, i, SIM_BYTES_RESPONSE, 1, i % 2);
    }
    world_run(w, "--set", "stream.openings_max=100");
    world_wait_all(w);
    world_stop(w);
}

/* ---- S09 ---- */

static void test_equal_lines_of_one_nanosecond(void **state)
{
    enum { LINES = 8, FRAME = FRAME_OVERHEAD + 4 };
    struct world *w = *state;
    struct speaker *speakers[LINES * 4 + 1];

    world_engine(w, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(speakers); i++) {
        struct speaker *s = speakers[i] = world_speaker(w, NULL);
        int64_t ts_ns = world_next_ts(w);

        for (unsigned n = 0; n < LINES; n++)
            say_at(s, n % 4 == 3 ? SIM_STDERR : SIM_STDOUT, ts_ns, "same", 4);
        cut_body(s, i * FRAME / 4, SIM_BYTES_BODY, 2, false);
    }
    world_run(w);
    world_wait_all(w);
    for (unsigned i = 0; i < ARRAY_SIZE(speakers); i++)
        say(speakers[i], SIM_STDOUT, "other");
    world_wait_all(w);
    world_stop(w);
}

static void test_equal_lines_before_and_after_a_cut(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    s = world_speaker(w, "same");
    say_many(s, "before", 4);
    world_run(w);
    for (unsigned round = 0; round < 10; round++) {
        int64_t ts_ns = world_next_ts(w);

        for (unsigned n = 0; n < 5; n++)
            say_at(s, SIM_STDOUT, ts_ns, "same", 4);
        world_wait_caught_up(w, s);
        /* Where the place among equals could not be told, the request before the wider one may not
         * be gone yet. */
        world_assert_within(w, sim_follow_cut(w->sim, s->container), 1, 2);
        for (unsigned n = 0; n < 1 + round % 3; n++)
            say_at(s, SIM_STDOUT, ts_ns, "same", 4);
        world_wait_all(w);
    }
    world_stop(w);
}

/* ---- S08 ---- */

/* As two goroutines of the Engine write them: stderr's timestamps lag behind. */
static void say_going_back(struct speaker *s, unsigned count)
{
    int64_t base_ns = world_next_ts(s->world);

    for (unsigned i = 0; i < count; i++) {
        char text[32];
        bool err = i % 3 == 1;
        int64_t ts_ns = base_ns + i * NSEC_PER_MSEC + (err ? 0 : 5 * NSEC_PER_MSEC);
        int len = snprintf(text, sizeof text, "%s %u", err ? "err" : "out", i);

        say_at(s, err ? SIM_STDERR : SIM_STDOUT, ts_ns, text, (size_t)len);
        s->world->last_ts_ns = MAX(s->world->last_ts_ns, ts_ns);
    }
}

static void going_back(struct world *w, enum sim_engine engine)
{
    enum { SPEAKERS = 60 };
    struct speaker *speakers[SPEAKERS];

    world_engine(w, &(struct sim_options){.engine = engine});
    for (unsigned i = 0; i < SPEAKERS; i++) {
        speakers[i] = world_speaker(w, NULL);
        say_going_back(speakers[i], 30);
        cut_body(speakers[i], i * 25, SIM_BYTES_BODY, 1 + i % 3, i % 2);
    }
    world_run(w);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < SPEAKERS; i++) {
            say_going_back(speakers[i], 20);
            if (i % 5 == round)
                sim_follow_cut(w->sim, speakers[i]->container);
            say_going_back(speakers[i], 20);
        }
        world_wait_all(w);
    }
    world_stop(w);
}

static void test_timestamps_that_go_back_on_28_5(void **state)
{
    going_back(*state, SIM_ENGINE_28_5);
}

static void test_timestamps_that_go_back_on_20_10(void **state)
{
    going_back(*state, SIM_ENGINE_20_10);
}

static void test_cuts_at_random_while_lines_come(void **state)
{
    enum { SPEAKERS = 20 };
    struct world *w = *state;
    struct speaker *speakers[SPEAKERS];
    struct random random;

    random_seed(&random, 20);
    world_engine(w, NULL);
    for (unsigned i = 0; i < SPEAKERS; i++)
        speakers[i] = world_speaker_spec(w, &(struct sim_spec){.tty = i % 4 == 0});
    world_run(w);
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned i = 0; i < SPEAKERS; i++)
            say_many(speakers[i], "line", (unsigned)random_below(&random, 20));
        for (unsigned n = 0; n < 3; n++)
            sim_follow_cut(w->sim, speakers[random_below(&random, SPEAKERS)]->container);
        if (round % 10 == 0)
            world_wait_all(w);
    }
    world_wait_all(w);
    world_stop(w);
}

/* ---- S24 ---- */

struct split {
    uint64_t split; /* 0: none */
    uint64_t chunk; /* UINT64_MAX: as the Engine does */
    bool paced;
    unsigned step; /* between the lengths 2560 and 2815 of frames; 0: none of those */
};

#define AS_IT_IS UINT64_MAX

static const struct split splits[] = {
    {.split = 1, .chunk = AS_IT_IS, .step = 8},
    {.split = 0, .chunk = 1, .step = 8},
    {.split = 1, .chunk = 1, .step = 32},
    {.split = 2, .chunk = AS_IT_IS, .step = 16},
    {.split = 3, .chunk = 2, .step = 16},
    {.split = 7, .chunk = 5, .step = 16},
    {.split = 0, .chunk = 9, .step = 16},
    {.split = 13, .chunk = AS_IT_IS, .step = 16},
    {.split = 0, .chunk = 41, .step = 16},
    {.split = 0, .chunk = 0, .step = 1},
    {.split = 997, .chunk = 0, .step = 16},
    {.split = 0, .chunk = 16384, .step = 16},
    {.split = 4095, .chunk = 4097, .step = 1},
    {.split = 1, .chunk = AS_IT_IS, .paced = true, .step = 0},
    {.split = 3, .chunk = 1, .paced = true, .step = 0},
    {.split = 0, .chunk = AS_IT_IS, .step = 1},
};

/* Payload lengths with 0x0A in the frame's head, among others. */
static void say_frame_lengths(struct speaker *s, unsigned step)
{
    char text[2816];

    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('0' + i % 75);
    say(s, SIM_STDOUT, "%s", "");
    say_bytes(s, SIM_STDERR, text, 266 - 32);
    say_bytes(s, SIM_STDOUT, text, 522 - 32);
    for (unsigned len = 2560; step && len < 2816; len += step)
        say_bytes(s, len % 7 ? SIM_STDOUT : SIM_STDERR, text, len - 32);
    say(s, SIM_STDERR, "last");
}

static void every_split(struct world *w, bool tty)
{
    struct speaker *speakers[ARRAY_SIZE(splits)];

    world_engine(w, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(splits); i++) {
        const struct split *p = &splits[i];
        struct speaker *s = speakers[i] = world_speaker_spec(w, &(struct sim_spec){.tty = tty});

        say_frame_lengths(s, p->step);
        if (p->split)
            world_fault(w, &(struct sim_fault){.kind = SIM_FAULT_SPLIT,
                                               .on = SIM_REQUEST_LOGS,
                                               .container = s->container,
                                               .bytes = p->split,
                                               .paced = p->paced});
        if (p->chunk != AS_IT_IS)
            world_fault(w, &(struct sim_fault){.kind = SIM_FAULT_RECHUNK,
                                               .on = SIM_REQUEST_LOGS,
                                               .container = s->container,
                                               .bytes = p->chunk});
    }
    world_run(w);
    world_wait_all(w);
    for (size_t i = 0; i < ARRAY_SIZE(splits); i++)
        say_frame_lengths(speakers[i], splits[i].step ? 128 : 0);
    world_wait_all(w);
    world_stop(w);
}

static void test_every_split_gives_the_same_lines(void **state)
{
    every_split(*state, false);
}

static void test_every_split_of_a_tty_gives_the_same_lines(void **state)
{
    every_split(*state, true);
}

static void test_lists_and_events_in_pieces(void **state)
{
    static const enum sim_request_kind kinds[] = {SIM_REQUEST_PING, SIM_REQUEST_VERSION,
                                                  SIM_REQUEST_LIST, SIM_REQUEST_INSPECT,
                                                  SIM_REQUEST_EVENTS};
    struct world *w = *state;

    world_engine(w, NULL);
    for (unsigned i = 0; i < 10; i++)
        say_three(world_speaker(w, NULL));
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        world_fault(w, &(struct sim_fault){.kind = SIM_FAULT_SPLIT, .on = kinds[i], .bytes = 1});
        world_fault(w, &(struct sim_fault){.kind = SIM_FAULT_RECHUNK, .on = kinds[i], .bytes = 1});
    }
    world_run(w);
    world_wait_all(w);
    for (unsigned i = 0; i < 10; i++)
        say_three(world_speaker(w, NULL));
    world_wait_all(w);
    world_stop(w);
}

/* ---- S12 ---- */

static void timestamps(struct world *w, enum sim_timestamps how)
{
    struct speaker *s;
    int64_t base_ns;

    world_engine(w, NULL);
    sim_set_timestamps(w->sim, how);
    s = world_speaker(w, "clock");
    world_run(w);
    base_ns = world_next_ts(w) / NSEC_PER_SEC * NSEC_PER_SEC;
    for (unsigned i = 0; i < 40; i++) {
        /* Tenths of a second: some fractions have one digit, some none. */
        int64_t ts_ns = base_ns + i * (NSEC_PER_SEC / 10);
        int64_t shown_ns = how == SIM_TIMESTAMPS_NO_FRACTION ? ts_ns - ts_ns % NSEC_PER_SEC : ts_ns;
        enum sim_stream stream = i % 3 ? SIM_STDOUT : SIM_STDERR;
        char text[32];
        int len = snprintf(text, sizeof text, "line %u", i);

        say_expect(s, stream, shown_ns, text, (size_t)len, 0);
        assert_int_equal(0, sim_line(s->container, stream, ts_ns, text));
        if (i % 10 == 7) {
            world_wait_caught_up(w, s);
            sim_follow_cut(w->sim, s->container);
        }
    }
    world_wait_all(w);
    world_stop(w);
}

static void test_timestamps_without_fraction(void **state)
{
    timestamps(*state, SIM_TIMESTAMPS_NO_FRACTION);
}

static void test_timestamps_with_few_digits(void **state)
{
    timestamps(*state, SIM_TIMESTAMPS_SHORT);
}

static void test_timestamps_with_an_offset(void **state)
{
    timestamps(*state, SIM_TIMESTAMPS_OFFSET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST("S03 a cut at every byte of the frames is resumed exactly",
                   test_a_cut_at_every_byte_of_the_frames),
        WORLD_TEST("S03 a cut at every byte of live frames is resumed exactly",
                   test_a_cut_at_every_byte_of_live_frames),
        WORLD_TEST("S03 a cut at every byte on the wire is resumed exactly",
                   test_a_cut_at_every_byte_on_the_wire),
        WORLD_TEST("S03 S19 a cut at every byte of a TTY's body is resumed exactly",
                   test_a_cut_at_every_byte_of_a_tty),
        WORLD_TEST("S03 a cut at every byte of the head is resumed exactly",
                   test_a_cut_at_every_byte_of_the_head),
        WORLD_TEST("S09 equal lines of one nanosecond come each once",
                   test_equal_lines_of_one_nanosecond),
        WORLD_TEST("S09 equal lines before and after a cut come each once",
                   test_equal_lines_before_and_after_a_cut),
        WORLD_TEST("S08 timestamps that go back lose nothing on 28.5",
                   test_timestamps_that_go_back_on_28_5),
        WORLD_TEST("S08 timestamps that go back lose nothing on 20.10",
                   test_timestamps_that_go_back_on_20_10),
        WORLD_TEST("S08 cuts at random lose nothing while lines come",
                   test_cuts_at_random_while_lines_come),
        WORLD_TEST("S24 every split gives the same lines", test_every_split_gives_the_same_lines),
        WORLD_TEST("S24 S19 every split of a TTY gives the same lines",
                   test_every_split_of_a_tty_gives_the_same_lines),
        WORLD_TEST("S24 lists and events in pieces are understood",
                   test_lists_and_events_in_pieces),
        WORLD_TEST("S12 timestamps without fraction are the same instant",
                   test_timestamps_without_fraction),
        WORLD_TEST("S12 timestamps with few digits are the same instant",
                   test_timestamps_with_few_digits),
        WORLD_TEST("S12 timestamps with an offset are the same instant",
                   test_timestamps_with_an_offset),
    };

    return world_main(tests);
}
