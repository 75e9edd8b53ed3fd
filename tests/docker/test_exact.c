/*
 * Exactly once against a real Engine, whatever ends in between: log files that rotate under the
 * reader, a ringtail that is away, and a ringtail that is killed.
 *
 * RINGTAIL_TEST_SEED repeats the instants at which it is killed.
 */
#include "dock.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/random.h"

struct member {
    struct dock_container container;
    struct dock_writer writer;
    struct dock_spec spec;
    const char *rate;
    char prefix[24], bytes[24], every[24], count[24];
};

static bool start(void *ctx, size_t index)
{
    struct member *m = (struct member *)ctx + index;
    const char *args[] = {"/writer", "--prefix",       m->prefix, "--rate",  m->rate,  "--bytes",
                          m->bytes,  "--stderr-every", m->every,  "--count", m->count, NULL};

    snprintf(m->prefix, sizeof m->prefix, "x%zu", index);
    m->writer.prefix = m->prefix;
    m->writer.tty = m->spec.tty;
    snprintf(m->bytes, sizeof m->bytes, "%zu", m->writer.line_bytes);
    snprintf(m->every, sizeof m->every, "%" PRIu64, m->writer.stderr_every);
    snprintf(m->count, sizeof m->count, "%" PRIu64, m->writer.lines_count);
    m->spec.args = args;
    return dock_run(&m->spec, &m->container);
}

static bool stop(void *ctx, size_t index)
{
    struct member *m = (struct member *)ctx + index;

    return dock_post(&m->container, "stop?t=10");
}

static bool wait_for_end(void *ctx, size_t index)
{
    struct member *m = (struct member *)ctx + index;

    return dock_post(&m->container, "wait");
}

/* The Engine has all that was written, and ringtail has all that the Engine has. */
static void compare(struct dock *d, struct member *members, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct dock_writer writer = members[i].writer;

        writer.lines_count = 0; /* some are stopped, some are started again */
        dock_assert_log_is_written(d, &members[i].container, &writer);
        dock_tell_log(d, &members[i].container);
        assert_true(told_count(members[i].container.told) > 0);
    }
    dock_wait_complete(d);
    dock_stop(d);
    assert_int_equal(0, ringtail_proc_log_count(&d->ringtail, "Lines may be missing", NULL));
}

/* ---- S01 ---- */

/*
 * The Engine keeps only the newest lines of these logs, so what ringtail wrote is compared with
 * what was written. At these rates the Engine itself loses none for who follows.
 */
static void test_log_files_rotate(void **state)
{
    const uint64_t seconds = dock_is_full() ? 180 : 15;
    struct dock *d = *state;
    struct member members[] = {
        {.rate = "50",
         .writer = {.line_bytes = 60, .lines_count = 50 * seconds},
         .spec = {.driver_options = "{\"max-size\":\"10k\",\"max-file\":\"3\"}"}},
        {.rate = "50",
         .writer = {.line_bytes = 60, .lines_count = 50 * seconds, .stderr_every = 3},
         .spec = {.driver_options = "{\"max-size\":\"10k\",\"max-file\":\"3\"}"}},
        {.rate = "2000",
         .writer = {.line_bytes = 120, .lines_count = 2000 * seconds},
         .spec = {.driver_options = "{\"max-size\":\"200k\",\"max-file\":\"3\"}"}},
    };

    dock_ringtail(d, "--set", "stream.rotation_interval=1s");
    dock_wait_log(d, "Following containers", NULL, 1);
    dock_assert(d, dock_parallel(ARRAY_SIZE(members), 4, start, members));
    dock_sleep_ms((int64_t)seconds * 1000); /* one request does not wait for minutes */
    dock_assert(d, dock_parallel(ARRAY_SIZE(members), 4, wait_for_end, members));
    for (size_t i = 0; i < ARRAY_SIZE(members); i++)
        dock_tell_written(d, &members[i].container, &members[i].writer);
    dock_wait_complete(d);
    dock_stop(d);
}

/* ---- S16 ---- */

static void wait_for_lines(struct dock *d, const struct member *members, size_t count)
{
    int64_t until_ns = clock_mono_ns() + DOCK_TIMEOUT_MS * NSEC_PER_MSEC;

    for (size_t i = 0; i < count; i++)
        while (dock_lines(d, &members[i].container) == 0) {
            if (clock_mono_ns() > until_ns)
                dock_fail(d, "no lines of member %zu", i);
            dock_sleep_ms(50);
        }
}

static void test_away(void **state)
{
    /* `local` keeps 100 MB: no more than that may be written meanwhile. */
    const char *rate_of_long = dock_is_full() ? "2" : "20";
    struct dock *d = *state;
    struct member members[] = {
        {.rate = "200", .writer = {.line_bytes = 80, .stderr_every = 4}},
        {.rate = "200", .writer = {.line_bytes = 80, .stderr_every = 2}, .spec.driver = "local"},
        {.rate = "200", .writer.line_bytes = 80, .spec.tty = true},
        {.rate = "1500", .writer = {.line_bytes = 80, .stderr_every = 3}},
        {.rate = rate_of_long, .writer = {.line_bytes = 40000, .stderr_every = 3}},
        {.rate = rate_of_long,
         .writer = {.line_bytes = 40000, .stderr_every = 3},
         .spec.driver = "local"},
        {.rate = "200", .writer.line_bytes = 80}, /* ends meanwhile */
        {.rate = "200", .writer.line_bytes = 80}, /* is started again meanwhile */
        {.rate = "200", .writer.line_bytes = 80}, /* begins meanwhile */
    };
    const size_t last = ARRAY_SIZE(members) - 1;

    dock_ringtail(d, "--set", "stream.rotation_interval=1s");
    dock_wait_log(d, "Following containers", NULL, 1);
    dock_assert(d, dock_parallel(last, 4, start, members));
    wait_for_lines(d, members, last);
    dock_sleep_ms(2000);
    dock_terminate(d);
    ringtail_proc_finish(&d->ringtail);

    dock_sleep_ms(1000);
    dock_assert(d, stop(members, last - 2));
    dock_assert(d, dock_post(&members[last - 1].container, "restart?t=5"));
    dock_assert(d, start(members, last));
    dock_sleep_ms(dock_is_full() ? 300000 : 4000);

    d->silent = false;
    dock_ringtail(d, "--set", "stream.rotation_interval=1s");
    dock_wait_log(d, "Following containers", NULL, 1);
    dock_sleep_ms(3000);
    for (size_t i = 0; i <= last; i++)
        if (i != last - 2)
            dock_assert(d, stop(members, i));
    compare(d, members, ARRAY_SIZE(members));
}

/* ---- S42 ---- */

static uint64_t seed(void)
{
    const char *text = getenv("RINGTAIL_TEST_SEED");

    return text ? strtoull(text, NULL, 0) : (uint64_t)clock_wall_ns();
}

static void kill_ringtail(struct dock *d)
{
    ringtail_proc_signal(&d->ringtail, SIGKILL);
    while (!ringtail_proc_poll(&d->ringtail))
        dock_sleep_ms(1);
    if (ringtail_proc_log_count(&d->ringtail, "Lines may be missing", NULL) > 0 ||
        ringtail_proc_has_report(&d->ringtail))
        dock_fail(d, "its log has a complaint");
    ringtail_proc_finish(&d->ringtail);
}

static void test_killed(void **state)
{
    const unsigned kills = dock_is_full() ? 200 : 10;
    const uint64_t number = seed();
    /* When `local` of 20.10 begins a new file (at 20 MB) within a line, it may give a part of it
     * again, and nobody can tell that from a line with equal parts. */
    const char *rate_of_long = dock_is_full() ? "1" : "10";
    struct dock *d = *state;
    struct random random;
    struct member members[] = {
        {.rate = "400", .writer = {.line_bytes = 80, .stderr_every = 3}},
        {.rate = "400", .writer = {.line_bytes = 80, .stderr_every = 2}, .spec.driver = "local"},
        {.rate = "400", .writer.line_bytes = 80, .spec.tty = true},
        {.rate = "1000", .writer = {.line_bytes = 200, .stderr_every = 7}},
        {.rate = rate_of_long, .writer = {.line_bytes = 40000, .stderr_every = 2}},
        {.rate = rate_of_long,
         .writer = {.line_bytes = 40000, .stderr_every = 2},
         .spec.driver = "local"},
        {.rate = "1", .writer = {.line_bytes = 60}},
    };

    printf("RINGTAIL_TEST_SEED=%" PRIu64 "\n", number);
    random_seed(&random, number);
    dock_assert(d, dock_parallel(ARRAY_SIZE(members), 4, start, members));
    for (unsigned i = 0; i < kills; i++) {
        dock_ringtail(d, "--since", "all", "--set", "stream.rotation_interval=300ms");
        if (i % 4 != 3)
            dock_wait_log(d, "Following containers", NULL, 1);
        /* The first positions are saved by then: they say, and the output does not, that parts of
         * 20.10's `local` lack their newline. */
        dock_sleep_ms((int64_t)random_below(&random, 1500) + (i == 0 ? 2000 : 0));
        kill_ringtail(d);
    }
    dock_ringtail(d, "--since", "all", "--set", "stream.rotation_interval=300ms");
    wait_for_lines(d, members, ARRAY_SIZE(members));
    dock_sleep_ms(2000);
    dock_assert(d, dock_parallel(ARRAY_SIZE(members), 4, stop, members));
    compare(d, members, ARRAY_SIZE(members));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DOCK_TEST("S01 log files that rotate fast cost no line and double none",
                  test_log_files_rotate),
        DOCK_TEST("S16 what containers wrote while ringtail was away comes once", test_away),
        DOCK_TEST("S42 a ringtail that is killed at any time loses no line and doubles none",
                  test_killed),
    };

    return dock_main(tests, false);
}
