/* Several file sinks at once: each of them is continued exactly, whichever was ahead when ringtail
 * was killed, and whichever others there are from run to run. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"

#include "ledger.h"

/* One sink is --output; the others are in a configuration file. The last one's directory lies in
 * the first one's. */
struct place {
    const char *name, *below;
    const char *options; /* beside type and path; NULL: it is the output */
    char dir[96];
    struct ledger *ledger; /* what has to be in it */
    bool is_left_out;      /* it is not configured at present */
};

enum { PLACES = 3 };

struct files {
    struct world *world;
    struct place places[PLACES];
    char config[96];
};

static struct files *files_create(struct world *w)
{
    struct files *f = calloc(1, sizeof *f);

    assert_non_null(f);
    *f = (struct files){
        .world = w,
        .places =
            {
                {.name = "output", .below = "out"},
                {.name = "single",
                 .below = "single",
                 .options = "    template: \"all.ndjson\"\n"
                            "    rotate_bytes: 8KiB\n"
                            "    rotate_keep: 1000\n"},
                {.name = "packed",
                 .below = "out/packed",
                 .options = "    template: \"{container_id_short}.log\"\n"
                            "    sync: positions\n"
                            "    rotate_bytes: 4KiB\n"
                            "    rotate_keep: 1000\n"
                            "    rotate_compression: gzip\n"},
            },
    };
    snprintf(f->config, sizeof f->config, "%s/ringtail.yaml", w->dir);
    for (size_t i = 0; i < PLACES; i++) {
        snprintf(f->places[i].dir, sizeof f->places[i].dir, "%s/%s", w->dir, f->places[i].below);
        f->places[i].ledger = ledger_create(w);
    }
    world_engine(w, NULL);
    return f;
}

static void files_destroy(struct files *f)
{
    for (size_t i = 0; i < PLACES; i++)
        ledger_destroy(f->places[i].ledger);
    free(f);
}

/* The sinks of the file in this order, the last first. */
static void write_config(const struct files *f, bool backwards)
{
    FILE *file = fopen(f->config, "we");

    assert_non_null(file);
    fputs("sinks:\n", file);
    for (size_t n = 1; n < PLACES; n++) {
        const struct place *p = &f->places[backwards ? PLACES - n : n];

        if (!p->is_left_out)
            fprintf(file, "  %s:\n    type: file\n    path: \"%s\"\n    retry.interval: 20ms\n%s",
                    p->name, p->dir, p->options);
    }
    if (f->places[1].is_left_out && f->places[2].is_left_out)
        fputs("  {}\n", file);
    assert_int_equal(0, fclose(file));
}

static void look_at(struct files *f, const struct place *p)
{
    snprintf(f->world->out_dir, sizeof f->world->out_dir, "%s", p->dir);
}

static void files_run(struct files *f, const char *positions_interval, bool backwards)
{
    char interval[64];

    write_config(f, backwards);
    look_at(f, &f->places[0]);
    snprintf(interval, sizeof interval, "positions.interval=%s", positions_interval);
    world_run(f->world, "--config", f->config, "--set", interval);
}

/* Every sink that there is gets them. */
static void files_say(struct files *f, struct sim_container *c, const char *what, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        enum sim_stream stream = i % 3 == 2 ? SIM_STDERR : SIM_STDOUT;
        int64_t ts_ns = world_next_ts(f->world);
        char text[128];
        int len = snprintf(text, sizeof text, "%s %u", what, i);

        for (size_t n = 1; n < PLACES; n++)
            if (!f->places[n].is_left_out)
                ledger_add(f->places[n].ledger, c, stream, ts_ns, text, (size_t)len, 0);
        ledger_say(f->places[0].ledger, c, stream, ts_ns, text, (size_t)len);
    }
}

/* Every sink has all that it has to have, and nothing else. */
static void files_wait(struct files *f)
{
    for (size_t i = PLACES; i-- > 0;) {
        look_at(f, &f->places[i]);
        ledger_wait(f->places[i].ledger);
    }
}

static void files_stop(struct files *f)
{
    const char *why;

    world_stop_early(f->world);
    for (size_t i = PLACES; i-- > 0;) {
        look_at(f, &f->places[i]);
        if (!ledger_is_met(f->places[i].ledger, &why))
            world_fail(f->world, "%s: %s", f->places[i].name, why);
    }
}

static void files_end(struct files *f, struct sim_container *c)
{
    files_run(f, "10ms", false);
    files_say(f, c, "at the end", 3);
    files_wait(f);
    files_stop(f);
    files_destroy(f);
}

static void test_kills_with_three_file_sinks(void **state)
{
    enum { SPEAKERS = 3, PAUSE_US_MAX = 15000 };
    unsigned kills = getenv("RINGTAIL_TEST_FULL") ? 200 : 20;
    static const char *const intervals[] = {"10ms", "100ms", "1h"};
    struct files *f = files_create(*state);
    struct sim_container *c[SPEAKERS];
    struct random random;

    random_seed(&random, 42);
    for (size_t i = 0; i < SPEAKERS; i++)
        c[i] = sim_add(f->world->sim, NULL);
    for (unsigned round = 0; round < kills; round++) {
        files_run(f, intervals[random_below(&random, ARRAY_SIZE(intervals))], round % 2);
        /* Mostly killed at work, now and then at its start. */
        if (round % 5)
            world_wait_log(f->world, "Following containers", NULL, 1);
        for (uint64_t bursts = random_below(&random, 6); bursts > 0; bursts--) {
            files_say(f, c[random_below(&random, SPEAKERS)], "under fire",
                      1 + (unsigned)random_below(&random, 40));
            nanosleep(
                &(struct timespec){.tv_nsec = (long)random_below(&random, PAUSE_US_MAX) * 1000},
                NULL);
        }
        ledger_kill(f->world);
    }
    files_end(f, c[0]);
}

/* Where a sink is to make the container's file there is a directory: it waits, and the others go
 * on. Then ringtail is killed. */
static void test_a_sink_that_is_behind_the_others(void **state)
{
    static const char *const names[PLACES] = {"%s/%s.ndjson", NULL, "%s/%.12s.log"};
    struct files *f = files_create(*state);

    for (size_t behind = 0; behind < PLACES; behind++) {
        struct sim_container *c = sim_add(f->world->sim, NULL);
        char path[256];

        if (!names[behind])
            continue;
        (void)mkdir(f->places[behind].dir, 0700);
        snprintf(path, sizeof path, names[behind], f->places[behind].dir, sim_container_id(c));
        assert_int_equal(0, mkdir(path, 0700));
        for (unsigned round = 0; round < 3; round++) {
            files_run(f, "10ms", round % 2);
            files_say(f, c, "while one can't be written", 50);
            for (size_t i = 0; i < PLACES; i++) {
                look_at(f, &f->places[i]);
                if (i != behind)
                    ledger_wait(f->places[i].ledger);
            }
            ledger_kill(f->world);
        }
        assert_int_equal(0, rmdir(path));
        files_run(f, "10ms", false);
        files_say(f, c, "when all can be written", 50);
        files_wait(f);
        ledger_kill(f->world);
    }
    files_end(f, sim_add(f->world->sim, NULL));
}

/* Whether there are positions with a mark, which there is for one line as well as for many. */
static bool has_saved_marks(struct world *w, void *ctx)
{
    static char text[1 << 16];
    char path[256];
    FILE *file;
    size_t n;

    (void)ctx;
    snprintf(path, sizeof path, "%s/.ringtail/positions", w->out_dir);
    file = fopen(path, "re");
    if (!file)
        return false;
    n = fread(text, 1, sizeof text - 1, file);
    assert_int_equal(0, fclose(file));
    text[n] = '\0';
    return strstr(text, "\"marks\":\"") && !strstr(text, "\"marks\":\"\"");
}

/* It gets all that comes behind the positions, which are of a moment before. */
static void test_a_sink_is_added(void **state)
{
    struct files *f = files_create(*state);
    struct sim_container *c = sim_add(f->world->sim, NULL);

    f->places[2].is_left_out = true;
    files_run(f, "1h", false);
    files_say(f, c, "before the positions", 1);
    world_wait(f->world, "a mark is saved", has_saved_marks, NULL);
    files_say(f, c, "behind them", 50);
    files_wait(f);
    ledger_kill(f->world);
    for (size_t n = 1; n < 51; n++) {
        struct ledger_line line;

        assert_true(ledger_line(f->places[0].ledger, n, &line));
        ledger_add(f->places[2].ledger, c, line.stream, line.ts_ns, line.bytes.data, line.bytes.len,
                   0);
    }
    f->places[2].is_left_out = false;
    for (unsigned round = 0; round < 4; round++) {
        files_run(f, round % 2 ? "10ms" : "1h", round == 1);
        files_say(f, c, "for three sinks", 50);
        if (round != 2)
            files_wait(f);
        ledger_kill(f->world);
    }
    files_end(f, c);
}

static void test_a_sink_is_taken_away_and_comes_back(void **state)
{
    struct files *f = files_create(*state);
    struct sim_container *c = sim_add(f->world->sim, NULL);

    for (size_t away = 1; away < PLACES; away++) {
        files_run(f, "10ms", false);
        files_say(f, c, "for three sinks", 50);
        files_wait(f);
        ledger_kill(f->world);
        f->places[away].is_left_out = true;
        files_run(f, "1h", false);
        files_say(f, c, "for two sinks", 50);
        files_wait(f);
        ledger_kill(f->world);
        files_run(f, "10ms", false);
        files_say(f, c, "for two sinks again", 50);
        files_wait(f);
        files_stop(f);
        f->places[away].is_left_out = false;
        files_run(f, "1h", false);
        files_say(f, c, "for three sinks again", 50);
        files_wait(f);
        ledger_kill(f->world);
    }
    files_end(f, c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST("S42 SIGKILL with three file sinks", test_kills_with_three_file_sinks),
        WORLD_TEST("S42 SIGKILL while one file sink is behind the others",
                   test_a_sink_that_is_behind_the_others),
        WORLD_TEST("S42 a file sink that is added gets what comes behind the positions",
                   test_a_sink_is_added),
        WORLD_TEST("S42 a file sink that is taken away comes back to what is new",
                   test_a_sink_is_taken_away_and_comes_back),
    };

    return world_main(tests);
}
