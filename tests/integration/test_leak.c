/*
 * Many streams that rotate each second for a while: what a process holds does not grow, and no
 * container is ever without a stream.
 *
 * RINGTAIL_TEST_FULL=1 has hundreds of streams, takes five minutes, and asserts what depends on how
 * fast the machine is. Samples are the least of several looks, so that a stream just opening beside
 * another one does not count.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"
#include "support/metrics_page.h"

#include "admin_peer.h"

#define PREFIX "log_capturer_"
#define ROTATIONS PREFIX "container_stream_rotations_total{"
#define IDLE_PREFIX "idle-"
#define CANCEL_MAX_S 0.01

enum {
    IDLE_MAX = 300,
    LOOKS = 60,
    TRIES_AFTER = 8,
    WARM_S = 5,
    WARM_TRIES = 12,
    WARM_BYTES = 128 << 10,
    INTERVAL_S = 1,
    JITTER_PERCENT = 10,
};

struct size {
    unsigned chatty, idle, rotations;
    int64_t least_s; /* takes so long, however many rotations that is */
};

struct crowd {
    const struct size *size;
    struct speaker *idle[IDLE_MAX];
    uint16_t port;
};

struct sample {
    double descriptors, operations, threads, sockets, rss_bytes;
    double uncounted; /* idle containers' streams that the Engine opened and no counter knows */
    double rotations; /* of the last look, which was between these times */
    int64_t from_ns, to_ns;
};

static bool is_full(void)
{
    const char *full = getenv("RINGTAIL_TEST_FULL");

    return full && *full != '\0' && strcmp(full, "0") != 0;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NSEC_PER_MSEC}, NULL);
}

static double idle_rotations(const struct buf *page)
{
    static const char mark[] = ",container_name=\"" IDLE_PREFIX;
    struct slice rest = buf_slice(page), line;
    double value, sum = 0;

    while (metrics_page_next(&rest, ROTATIONS, &line, &value))
        if (memmem(line.data, line.len, mark, sizeof mark - 1))
            sum += value;
    return sum;
}

/* An idle stream finds its place with the first request: the first stream and each rotation is one.
 */
static double idle_requests(const struct crowd *crowd)
{
    double sum = 0;

    for (unsigned i = 0; i < crowd->size->idle; i++)
        sum += (double)speaker_stats(crowd->idle[i]).logs_requests;
    return sum;
}

static void look(struct world *w, const struct crowd *crowd, struct buf *page, struct sample *least)
{
    least->from_ns = clock_mono_ns();
    if (!admin_peer_get(crowd->port, page))
        world_fail(w, "no answer from /metrics at port %u", crowd->port);
    least->to_ns = clock_mono_ns();
    least->uncounted =
        fmin(least->uncounted, idle_requests(crowd) - crowd->size->idle - idle_rotations(page));
    least->descriptors = fmin(least->descriptors, (double)ringtail_proc_descriptors(&w->ringtail));
    least->threads = fmin(least->threads, (double)ringtail_proc_threads(&w->ringtail));
    least->operations =
        fmin(least->operations, metrics_page_sum(page, PREFIX "ring_operations_in_flight{"));
    least->sockets = fmin(least->sockets, metrics_page_value(page, PREFIX "ring_sockets_open "));
    least->rss_bytes =
        fmin(least->rss_bytes, metrics_page_value(page, PREFIX "resident_memory_bytes "));
    least->rotations = metrics_page_sum(page, ROTATIONS);
}

static struct sample take(struct world *w, const struct crowd *crowd)
{
    struct sample least = {INFINITY, INFINITY, INFINITY, INFINITY, INFINITY, INFINITY, 0, 0, 0};
    struct buf page = {0};

    for (unsigned i = 0; i < LOOKS; i++) {
        look(w, crowd, &page, &least);
        pause_ms(20);
    }
    buf_finish(&page);
    return least;
}

static bool holds_more(const struct sample *now, const struct sample *before)
{
    return now->descriptors > before->descriptors || now->operations > before->operations ||
           now->threads > before->threads || now->sockets > before->sockets || now->uncounted > 0;
}

/* What has leaked stays. */
static struct sample take_after(struct world *w, const struct crowd *crowd,
                                const struct sample *before)
{
    struct sample now = take(w, crowd);

    for (unsigned i = 0; i < TRIES_AFTER && holds_more(&now, before); i++)
        now = take(w, crowd);
    return now;
}

/*
 * The allocator's pools, and what containers and outputs keep for each, fill over some rotations.
 * What goes on growing never gets warm.
 */
static struct sample warm_up(struct world *w, const struct crowd *crowd)
{
    struct sample now = take(w, crowd);

    for (unsigned i = 0; i < WARM_TRIES; i++) {
        double before_bytes = now.rss_bytes;

        pause_ms(WARM_S * 1000);
        now = take(w, crowd);
        if (now.rss_bytes - before_bytes < (double)WARM_BYTES)
            return now;
    }
    world_fail(w, "after %d s it still grows: %.0f KiB", WARM_S * WARM_TRIES, now.rss_bytes / 1024);
}

static bool is_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#else
    return false;
#endif
}

static void print_sample(const char *when, const struct sample *s)
{
    fprintf(stderr,
            "%s: %.0f descriptors, %.0f operations, %.0f threads, %.0f sockets, %.0f KiB, %.0f "
            "rotations\n",
            when, s->descriptors, s->operations, s->threads, s->sockets, s->rss_bytes / 1024,
            s->rotations);
}

static void start(struct world *w, struct crowd *crowd, const struct size *size)
{
    static const struct sim_generator chatty = {.lines_per_s = 20, .stderr_percent = 30};
    char name[24];

    crowd->size = size;
    world_engine(w, NULL);
    for (unsigned i = 0; i < size->chatty; i++) {
        struct speaker *s;

        snprintf(name, sizeof name, "chatty-%u", i);
        s = world_speaker_spec(w, &(struct sim_spec){.name = name, .generator = &chatty});
        told_generated(s->told, &chatty, name, 0);
    }
    for (unsigned i = 0; i < size->idle; i++) {
        snprintf(name, sizeof name, IDLE_PREFIX "%u", i);
        crowd->idle[i] = world_speaker(w, name);
        say_many(crowd->idle[i], "idle", 3);
    }
    /* With so few records remembered, every history is full before the first sample. */
    world_run(w, ADMIN_PEER_ARGS, "--set", "stream.rotation_interval=1s", "--set",
              "stream.openings_max=100", "--set", "stream.history_records=64", "--set",
              "stream.max_line_bytes=64KiB", "--set", "log.level=info", "--set", "log.burst=10");
    crowd->port = admin_peer_port(w);
    world_wait_all(w);
}

struct until {
    const struct crowd *crowd;
    unsigned member; /* those before have */
    uint64_t requests;
};

static bool have_asked(struct world *w, void *ctx)
{
    struct until *until = ctx;
    const struct crowd *crowd = until->crowd;

    (void)w;
    while (until->member < crowd->size->idle &&
           speaker_stats(crowd->idle[until->member]).logs_requests >= until->requests)
        until->member++;
    return until->member == crowd->size->idle;
}

/* However slow the machine, each of them has to move. */
static void wait_rotations(struct world *w, const struct crowd *crowd, unsigned count)
{
    uint64_t begun = speaker_stats(crowd->idle[0]).logs_requests;

    for (unsigned done = 1; done <= count; done++)
        world_wait(w, "a rotation of each stream", have_asked,
                   &(struct until){.crowd = crowd, .requests = begun + done});
}

static void test_rotation_each_second_leaks_nothing(void **state)
{
    static const struct size small = {.chatty = 15, .idle = 60, .rotations = 12};
    static const struct size whole = {.chatty = 55, .idle = 300, .least_s = 300};
    struct world *w = *state;
    struct crowd crowd;
    struct sample before, after;
    double passed_s, due_least, due_most, turned;
    unsigned streams;

    start(w, &crowd, is_full() ? &whole : &small);
    streams = crowd.size->chatty + crowd.size->idle;
    wait_rotations(w, &crowd, 1); /* by then each has its file */
    before = is_sanitized() ? take(w, &crowd) : warm_up(w, &crowd);
    pause_ms(crowd.size->least_s * 1000);
    wait_rotations(w, &crowd, crowd.size->rotations);
    after = take_after(w, &crowd, &before);

    passed_s = (double)(after.to_ns - before.from_ns) / (double)NSEC_PER_SEC;
    print_sample("before", &before);
    print_sample("after", &after);
    world_assert_within(w, after.descriptors - before.descriptors, -1000, 0);
    world_assert_within(w, after.operations - before.operations, -1000, 0);
    world_assert_within(w, after.threads - before.threads, -1000, 0);
    world_assert_within(w, after.sockets - before.sockets, -1000, 0);
    if (!is_sanitized())
        world_assert_within(w, after.rss_bytes - before.rss_bytes, INT32_MIN, 1 << 20);
    world_assert_within(w, after.uncounted, 0, 0);
    /* A stream is replaced when it is between (1 - jitter) and one interval old, so a time t holds
     * t / interval to t / (interval · (1 - jitter)) rotations of each stream, one more or less for
     * where in its interval a stream was at the two ends. A slow machine may be late. */
    turned = (after.rotations - before.rotations) / streams;
    due_least = passed_s / (double)INTERVAL_S - 1;
    due_most = passed_s / (INTERVAL_S * (100 - JITTER_PERCENT) / 100.0) + 1;
    fprintf(stderr, "%.2f rotations a stream in %.1f s, due: %.2f to %.2f\n", turned, passed_s,
            due_least, due_most);
    world_assert_within(w, turned * 100, is_full() ? due_least * 100 : 100, due_most * 100);
    world_stop(w);
}

static void test_idle_streams_rotate_without_a_gap(void **state)
{
    static const struct size small = {.idle = 60, .rotations = 8};
    static const struct size whole = {.idle = 300, .rotations = 100};
    struct world *w = *state;
    struct crowd crowd;
    struct buf page = {0};
    double p50, p99;

    start(w, &crowd, is_full() ? &whole : &small);
    wait_rotations(w, &crowd, crowd.size->rotations);
    for (unsigned i = 0; i < crowd.size->idle; i++)
        world_assert_within(w, speaker_stats(crowd.idle[i]).follow_gaps, 0, 0);
    if (!admin_peer_get(crowd.port, &page))
        world_fail(w, "no answer from /metrics at port %u", crowd.port);
    p50 = metrics_page_quantile(&page, PREFIX "ring_cancel_duration_seconds", 0.5);
    p99 = metrics_page_quantile(&page, PREFIX "ring_cancel_duration_seconds", 0.99);
    fprintf(stderr,
            "%u idle streams, %.0f rotations without a gap: cancel p50 <= %.3f ms, "
            "p99 <= %.3f ms\n",
            crowd.size->idle, idle_rotations(&page), p50 * 1000, p99 * 1000);
    if (is_full() && !(p99 <= CANCEL_MAX_S))
        world_fail(w, "cancels take too long");
    buf_finish(&page);
    world_stop(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST("rotation each second leaks nothing", test_rotation_each_second_leaks_nothing),
        WORLD_TEST("idle streams rotate without a gap", test_idle_streams_rotate_without_a_gap),
    };

    return world_main(tests);
}
