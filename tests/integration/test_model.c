/*
 * A random life of containers, of the Engine and of ringtail, and at its end the output is what the
 * containers wrote: per container and stream, in order, each line once.
 *
 * A schedule is a pure function of its seed; when its steps meet ringtail's is up to the machine.
 * RINGTAIL_TEST_SEEDS=N runs that many seeds from RINGTAIL_TEST_FIRST_SEED on, RINGTAIL_TEST_SEED=X
 * only this one. No step proves anything by time: the pauses only let things happen in between.
 */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"
#include "ringtail/base/timestamp.h"

#include "ledger.h"

enum {
    SEEDS = 50,
    STEPS = 45,
    CONTAINERS_MAX = 4,
    LONG_PARTS_MAX = 4,
    BURST_MAX = 20,
    CROWD_MAX = 60,
    STEP_PAUSE_US_MAX = 40000,
    CLOCK_BACK_MS_MAX = 3000,
    ALIKE_MAX = 512,
};

/* A line that is written part by part; what came so far. */
struct open_line {
    bool is_open;
    int64_t ts_ns;
    size_t len;
    char bytes[(LONG_PARTS_MAX + 1) * SIM_PART_BYTES];
};

struct actor {
    struct sim_container *container;
    struct open_line open[2];
    int64_t last_ts_ns[2], newest_ts_ns[2];
    int64_t unfinished_ts_ns[2];       /* of a last line without newline: no other line has it */
    int64_t alike_ts_ns[2][ALIKE_MAX]; /* of the lines that are alike */
    unsigned alike_count[2];
};

struct model {
    struct world *world;
    struct ledger *ledger;
    struct random random;
    uint64_t seed;
    enum sim_engine engine;
    struct actor actors[CONTAINERS_MAX];
    size_t count;
    int64_t clock_offset_ns;
    uint64_t lines;
    bool engine_is_down, ringtail_is_down;
    bool traced;
    bool has_parts; /* lines in parts */
    bool repeats;   /* the Engine repeats lines, so equal ones of one nanosecond are one */
};

static uint64_t below(struct model *m, uint64_t bound)
{
    return random_below(&m->random, bound);
}

static bool chance(struct model *m, unsigned percent)
{
    return below(m, 100) < percent;
}

/* The steps of a schedule that is run alone, with the time for comparing with ringtail's log. */
__attribute__((format(printf, 2, 3))) static void trace(const struct model *m, const char *fmt, ...)
{
    char ts[TIMESTAMP_LEN];
    va_list ap;

    if (!m->traced)
        return;
    timestamp_format(ts, clock_wall_ns());
    fprintf(stderr, "%.*s ", TIMESTAMP_LEN, ts);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

static void set_clock(struct model *m)
{
    sim_clock_set(m->world->sim, clock_wall_ns() + m->clock_offset_ns);
}

/*
 * The Engine's time, mostly; now and then that of the line before, or of the other stream's, or one
 * a little earlier. Equal lines never have equal times: no Engine has been seen to give such.
 */
static int64_t next_ts(struct model *m, struct actor *a, unsigned stream, bool fresh)
{
    int64_t ts_ns = sim_now_ns(m->world->sim) + (int64_t)below(m, NSEC_PER_USEC);
    unsigned kind = (unsigned)below(m, 10);

    if (kind < 2 && a->last_ts_ns[stream] && !fresh)
        ts_ns = a->last_ts_ns[stream];
    else if (kind == 2)
        ts_ns -= (int64_t)below(m, 40 * NSEC_PER_MSEC);
    else if (kind == 3 && a->last_ts_ns[1 - stream] > a->newest_ts_ns[stream])
        ts_ns = a->last_ts_ns[1 - stream];
    while (ts_ns == a->unfinished_ts_ns[stream])
        ts_ns++;
    a->last_ts_ns[stream] = ts_ns;
    a->newest_ts_ns[stream] = MAX(a->newest_ts_ns[stream], ts_ns);
    return ts_ns;
}

/* ---- what containers do ---- */

static enum sim_stream sim_stream_of(unsigned stream)
{
    return stream ? SIM_STDERR : SIM_STDOUT;
}

static void end_part_line(struct model *m, struct actor *a, unsigned stream, bool whole)
{
    struct open_line *o = &a->open[stream];

    ledger_add(m->ledger, a->container, sim_stream_of(stream), o->ts_ns, o->bytes, o->len,
               TOLD_IN_PARTS | (whole ? 0 : TOLD_MAYBE_PARTIAL));
    o->is_open = false;
    if (!whole)
        a->unfinished_ts_ns[stream] = o->ts_ns;
}

/* Begins a line in parts, goes on with it, or ends it. */
static void write_part(struct model *m, struct actor *a, unsigned stream, bool last)
{
    struct open_line *o = &a->open[stream];
    bool alike = chance(m, 30);
    char *at;

    if (!o->is_open) {
        o->is_open = true;
        o->len = 0;
        o->ts_ns = next_ts(m, a, stream, true);
        last = false;
    }
    if (o->len / SIM_PART_BYTES == LONG_PARTS_MAX)
        last = true;
    at = o->bytes + o->len;
    if (last) {
        int len;

        trace(m, "line in parts of %zu ends, stream %u of %s", o->len, stream,
              sim_container_id(a->container));
        len = snprintf(at, 64, "the end of long line %ju\n", (uintmax_t)m->lines++);

        assert_int_equal(0,
                         sim_log(a->container, sim_stream_of(stream), o->ts_ns, at, (size_t)len));
        o->len += (size_t)len - 1;
        end_part_line(m, a, stream, true);
        return;
    }
    trace(m, "part behind %zu, stream %u of %s", o->len, stream, sim_container_id(a->container));
    memset(at, 'x', SIM_PART_BYTES);
    if (!alike || o->len == 0) {
        char head[64];
        int len = snprintf(head, sizeof head, "part of long line %ju ", (uintmax_t)m->lines++);

        memcpy(at, head, (size_t)len);
    }
    assert_int_equal(0, sim_log(a->container, sim_stream_of(stream), o->ts_ns, at, SIM_PART_BYTES));
    o->len += SIM_PART_BYTES;
}

static int64_t next_ts_for_alike(struct model *m, struct actor *a, unsigned stream)
{
    int64_t ts_ns = next_ts(m, a, stream, true);

    for (unsigned i = 0; i < a->alike_count[stream]; i++)
        if (a->alike_ts_ns[stream][i] == ts_ns) {
            ts_ns++;
            i = UINT_MAX; /* from the first on again */
        }
    a->alike_ts_ns[stream][a->alike_count[stream]++] = ts_ns;
    a->last_ts_ns[stream] = ts_ns;
    return ts_ns;
}

static void write_line(struct model *m, struct actor *a, unsigned stream)
{
    bool alike = !m->repeats && a->alike_count[stream] < ALIKE_MAX && chance(m, 20);
    char text[1200];
    int len;

    if (a->open[stream].is_open) {
        write_part(m, a, stream, chance(m, 50));
        return;
    }
    if (m->has_parts && chance(m, 4)) {
        write_part(m, a, stream, false);
        return;
    }
    len = alike ? snprintf(text, sizeof text, "the same again")
                : snprintf(text, sizeof text, "line %ju %.*s", (uintmax_t)m->lines++,
                           (int)below(m, 1000),
                           "the quick brown fox jumps over the lazy dog and goes on and on");
    ledger_say(m->ledger, a->container, sim_stream_of(stream),
               alike ? next_ts_for_alike(m, a, stream) : next_ts(m, a, stream, false), text,
               (size_t)len);
}

/* More lines of one nanosecond than there are marks in the positions. */
static void crowd(struct model *m, struct actor *a)
{
    int64_t ts_ns[] = {next_ts(m, a, 0, false), next_ts(m, a, 1, false)};

    for (uint64_t n = 1 + below(m, CROWD_MAX); n > 0; n--) {
        unsigned stream = chance(m, 35);
        char text[64];
        int len = snprintf(text, sizeof text, "line %ju of many", (uintmax_t)m->lines++);

        if (!a->open[stream].is_open)
            ledger_say(m->ledger, a->container, sim_stream_of(stream), ts_ns[stream], text,
                       (size_t)len);
    }
}

static void burst(struct model *m)
{
    struct actor *a = &m->actors[below(m, m->count)];

    if (chance(m, 15))
        crowd(m, a);
    for (uint64_t n = 1 + below(m, BURST_MAX); n > 0; n--)
        write_line(m, a, chance(m, 35));
}

/* The process ends, whatever it was about to write, and a new one begins. */
static void restart_container(struct model *m)
{
    struct actor *a = &m->actors[below(m, m->count)];
    struct sim_container *c = a->container;

    trace(m, "%s starts again", sim_container_id(c));
    for (unsigned stream = 0; stream < 2; stream++) {
        if (a->open[stream].is_open) {
            end_part_line(m, a, stream, false);
        } else if (chance(m, 30)) {
            char text[64];
            int len = snprintf(text, sizeof text, "no newline behind %ju", (uintmax_t)m->lines++);
            int64_t ts_ns = next_ts(m, a, stream, true);

            assert_int_equal(0, sim_log(c, sim_stream_of(stream), ts_ns, text, (size_t)len));
            ledger_add(m->ledger, c, sim_stream_of(stream), ts_ns, text, (size_t)len,
                       TOLD_MAYBE_PARTIAL | TOLD_IN_PARTS);
            a->unfinished_ts_ns[stream] = ts_ns;
        }
    }
    assert_int_equal(0, chance(m, 50) ? sim_container_exit(c, 1) : sim_container_stop(c));
    if (chance(m, 50))
        nanosleep(&(struct timespec){.tv_nsec = (long)below(m, STEP_PAUSE_US_MAX) * 1000}, NULL);
    set_clock(m);
    assert_int_equal(0, sim_container_start(c));
}

/* ---- what befalls the Engine and ringtail ---- */

static void step_clock(struct model *m)
{
    m->clock_offset_ns = chance(m, 50) ? 0 : -(int64_t)below(m, CLOCK_BACK_MS_MAX) * NSEC_PER_MSEC;
    set_clock(m);
}

static void toggle_engine(struct model *m)
{
    if (m->engine_is_down)
        assert_int_equal(0, sim_engine_start(m->world->sim, chance(m, 50)));
    else
        assert_int_equal(0, sim_engine_stop(m->world->sim,
                                            chance(m, 50) ? SIM_STOP_KILL : SIM_STOP_LIVE_RESTORE));
    m->engine_is_down = !m->engine_is_down;
}

static void start_ringtail(struct model *m)
{
    char interval[64], positions[64];

    snprintf(interval, sizeof interval, "stream.rotation_interval=%ums",
             200 + (unsigned)(m->seed % 5) * 200);
    snprintf(positions, sizeof positions, "positions.interval=%ums",
             m->seed % 2 ? 10 : 10 + (unsigned)(m->seed % 7) * 60);
    world_run(m->world, "--set", interval, "--set", positions, "--set", "stream.stuck_grace=1s",
              "--set", "stream.seek_timeout=200ms", "--set", "log.burst=0");
    m->ringtail_is_down = false;
    trace(m, "ringtail begins");
}

/* A signal that comes before ringtail is ready for it ends it like any program. */
static void terminate_ringtail(struct world *w)
{
    world_wait_log(w, "Starting", NULL, 1);
    world_stop_early(w);
}

static void toggle_ringtail(struct model *m)
{
    if (m->ringtail_is_down) {
        start_ringtail(m);
        return;
    }
    trace(m, "ringtail ends");
    if (chance(m, 60))
        ledger_kill(m->world);
    else
        terminate_ringtail(m->world);
    m->ringtail_is_down = true;
    if (chance(m, 60))
        start_ringtail(m);
}

static void step(struct model *m)
{
    struct sim *sim = m->world->sim;
    struct actor *a = &m->actors[below(m, m->count)];
    unsigned kind = (unsigned)below(m, 16);

    set_clock(m);
    trace(m, "step %u at %s", kind, sim_container_id(a->container));
    switch (kind) {
    case 0:
        restart_container(m);
        break;
    case 1:
        (void)sim_follow_cut(sim, chance(m, 70) ? a->container : NULL);
        break;
    case 2:
        (void)sim_follow_stall(sim, a->container);
        break;
    case 3:
        (void)sim_events_cut(sim);
        break;
    case 4:
        toggle_engine(m);
        break;
    case 5:
        step_clock(m);
        break;
    case 6:
    case 7:
        toggle_ringtail(m);
        break;
    default:
        burst(m);
        break;
    }
    if (chance(m, 60))
        nanosleep(&(struct timespec){.tv_nsec = (long)below(m, STEP_PAUSE_US_MAX) * 1000}, NULL);
}

/* All is well again, and every stream's last line is whole. */
static void settle(struct model *m)
{
    if (m->engine_is_down)
        toggle_engine(m);
    if (m->ringtail_is_down)
        start_ringtail(m);
    set_clock(m);
    for (size_t i = 0; i < m->count; i++)
        for (unsigned stream = 0; stream < 2; stream++) {
            if (m->actors[i].open[stream].is_open)
                write_part(m, &m->actors[i], stream, true);
            else
                ledger_say(m->ledger, m->actors[i].container, sim_stream_of(stream),
                           next_ts(m, &m->actors[i], stream, true), "the last line", 13);
        }
    ledger_wait(m->ledger);
    ledger_stop(m->ledger);
}

static void play(struct world *w, uint64_t seed)
{
    static const enum sim_engine engines[] = {SIM_ENGINE_28_5, SIM_ENGINE_26_1, SIM_ENGINE_28_5,
                                              SIM_ENGINE_20_10};
    static struct model model;
    struct model *m = &model;

    memset(m, 0, sizeof *m);
    m->traced = getenv("RINGTAIL_TEST_SEED") != NULL;
    m->world = w;
    m->seed = seed;
    m->engine = engines[seed % ARRAY_SIZE(engines)];
    m->repeats = m->engine == SIM_ENGINE_20_10;
    m->has_parts = seed % 2 == 0;
    random_seed(&m->random, seed);
    m->ledger = ledger_create(w);
    world_engine(w, &(struct sim_options){.engine = m->engine,
                                          .scripted_clock = true,
                                          .clock_start_ns = clock_wall_ns(),
                                          .seed = seed});
    m->count = 1 + below(m, CONTAINERS_MAX);
    for (size_t i = 0; i < m->count; i++) {
        char name[32];

        snprintf(name, sizeof name, "actor-%zu", i);
        m->actors[i].container = sim_add(w->sim, name);
    }
    m->ringtail_is_down = true;
    if (chance(m, 80))
        start_ringtail(m);
    for (unsigned i = 0; i < STEPS; i++)
        step(m);
    settle(m);
    ledger_destroy(m->ledger);
}

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);

    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

/* Each seed is a world of its own; the one at hand is printed, so that a failure can be repeated.
 */
static void test_any_schedule_ends_with_what_was_written(void **state)
{
    uint64_t only = number_from("RINGTAIL_TEST_SEED", 0);
    uint64_t first = only ? only : number_from("RINGTAIL_TEST_FIRST_SEED", 1);
    uint64_t end = first + (only ? 1 : number_from("RINGTAIL_TEST_SEEDS", SEEDS));

    for (uint64_t seed = first; seed < end; seed++) {
        struct world **w = (struct world **)state;

        fprintf(stderr, "RINGTAIL_TEST_SEED=%ju\n", (uintmax_t)seed);
        play(*w, seed);
        assert_int_equal(0, world_teardown(state));
        assert_int_equal(0, world_setup(state));
    }
    (*(struct world **)state)->passed = true;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST("S42 any schedule ends with what was written",
                   test_any_schedule_ends_with_what_was_written),
    };

    return world_main(tests);
}
