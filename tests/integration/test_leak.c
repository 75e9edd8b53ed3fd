/*
 * Hundreds of streams that rotate each second for a while: what a process holds does not grow.
 *
 * RINGTAIL_TEST_FULL=1 takes five minutes. Samples are taken when nothing is on its way, as the
 * least of several looks, so that a stream just opening beside another one does not count.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"

#include "admin_peer.h"

#define PREFIX "log_capturer_"
#define ROTATIONS PREFIX "container_stream_rotations_total{"

enum {
    CHATTY = 55,
    IDLE = 300,
    STREAMS = CHATTY + IDLE,
    LOOKS = 60,
    TRIES_AFTER = 8,
    WARM_S = 5,
    WARM_TRIES = 12,
    WARM_BYTES = 128 << 10,
    SECONDS = 20,
    SECONDS_FULL = 300,
    INTERVAL_S = 1,
    JITTER_PERCENT = 10,
};

struct sample {
    double descriptors, operations, threads, sockets, rss_bytes, rotations;
    int64_t at_ns;
};

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NSEC_PER_MSEC}, NULL);
}

static struct sample take(struct world *w, uint16_t port)
{
    struct sample least = {INFINITY, INFINITY, INFINITY, INFINITY, INFINITY, 0, 0};
    struct buf page = {0};

    for (unsigned i = 0; i < LOOKS; i++) {
        if (!admin_peer_get(port, &page))
            world_fail(w, "no answer from /metrics at port %u", port);
        least.descriptors =
            fmin(least.descriptors, (double)ringtail_proc_descriptors(&w->ringtail));
        least.operations =
            fmin(least.operations, admin_peer_page_sum(&page, PREFIX "ring_operations_in_flight{"));
        least.threads = fmin(least.threads, admin_peer_page_sum(&page, PREFIX "threads "));
        least.sockets =
            fmin(least.sockets, admin_peer_page_sum(&page, PREFIX "ring_sockets_open "));
        least.rss_bytes =
            fmin(least.rss_bytes, admin_peer_page_sum(&page, PREFIX "resident_memory_bytes "));
        least.rotations = admin_peer_page_sum(&page, ROTATIONS);
        least.at_ns = clock_mono_ns();
        pause_ms(20);
    }
    buf_finish(&page);
    return least;
}

static bool holds_more(const struct sample *now, const struct sample *before)
{
    return now->descriptors > before->descriptors || now->operations > before->operations ||
           now->threads > before->threads || now->sockets > before->sockets;
}

/* The kernel's workers live some seconds longer than what they were started for. */
static struct sample take_after(struct world *w, uint16_t port, const struct sample *before)
{
    struct sample now = take(w, port);

    for (unsigned i = 0; i < TRIES_AFTER && holds_more(&now, before); i++)
        now = take(w, port);
    return now;
}

/*
 * The allocator's pools, and what containers and outputs keep for each, fill over some rotations.
 * What goes on growing never gets warm.
 */
static struct sample warm_up(struct world *w, uint16_t port)
{
    struct sample now = take(w, port);

    for (unsigned i = 0; i < WARM_TRIES; i++) {
        double before_bytes = now.rss_bytes;

        pause_ms(WARM_S * 1000);
        now = take(w, port);
        if (now.rss_bytes - before_bytes < WARM_BYTES)
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

static void test_rotation_each_second_leaks_nothing(void **state)
{
    const struct sim_generator chatty = {.lines_per_s = 20, .stderr_percent = 30};
    const char *full = getenv("RINGTAIL_TEST_FULL");
    long seconds = full && *full ? SECONDS_FULL : SECONDS;
    struct world *w = *state;
    struct sample before, after;
    double passed_s, due_least, due_most, turned;
    uint16_t port;

    world_engine(w, NULL);
    /* With so few records remembered, every history is full before the first sample. */
    for (unsigned i = 0; i < CHATTY; i++) {
        char name[16];
        struct speaker *s;

        snprintf(name, sizeof name, "chatty-%u", i);
        s = world_speaker_spec(w, &(struct sim_spec){.name = name, .generator = &chatty});
        told_generated(s->told, &chatty, name, 0);
    }
    for (unsigned i = 0; i < IDLE; i++)
        say_many(world_speaker(w, NULL), "idle", 3);
    world_run(w, ADMIN_PEER_ARGS, "--set", "stream.rotation_interval=1s", "--set",
              "stream.openings_max=100", "--set", "stream.history_records=64", "--set",
              "stream.max_line_bytes=64KiB", "--set", "log.level=info", "--set", "log.burst=10");
    port = admin_peer_port(w);
    world_wait_all(w);
    before = is_sanitized() ? take(w, port) : warm_up(w, port);
    pause_ms(seconds * 1000);
    after = take_after(w, port, &before);

    fprintf(stderr,
            "before: %.0f descriptors, %.0f operations, %.0f threads, %.0f sockets, %.0f KiB, "
            "%.0f rotations\n",
            before.descriptors, before.operations, before.threads, before.sockets,
            before.rss_bytes / 1024, before.rotations);
    fprintf(stderr,
            "after %.1f s: %.0f descriptors, %.0f operations, %.0f threads, %.0f sockets, %.0f "
            "KiB, %.0f rotations\n",
            (double)(after.at_ns - before.at_ns) / (double)NSEC_PER_SEC, after.descriptors,
            after.operations, after.threads, after.sockets, after.rss_bytes / 1024,
            after.rotations);
    world_assert_within(w, after.descriptors - before.descriptors, -1000, 0);
    world_assert_within(w, after.operations - before.operations, -1000, 0);
    world_assert_within(w, after.threads - before.threads, -1000, 0);
    world_assert_within(w, after.sockets - before.sockets, -1000, 0);
    if (!is_sanitized())
        world_assert_within(w, after.rss_bytes - before.rss_bytes, INT32_MIN, 1 << 20);
    /* A stream is replaced when it is between (1 - jitter) and one interval old, so a time t holds
     * t / interval to t / (interval · (1 - jitter)) rotations of each stream, one more or less for
     * where in its interval a stream was at the two ends. */
    passed_s = (double)(after.at_ns - before.at_ns) / (double)NSEC_PER_SEC;
    turned = (after.rotations - before.rotations) / STREAMS;
    due_least = passed_s / INTERVAL_S - 1;
    due_most = passed_s / (INTERVAL_S * (100 - JITTER_PERCENT) / 100.0) + 1;
    fprintf(stderr, "%.2f rotations a stream, due: %.2f to %.2f\n", turned, due_least, due_most);
    world_assert_within(w, turned * 100, due_least * 100, due_most * 100);
    world_stop(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST("rotation each second leaks nothing", test_rotation_each_second_leaks_nothing),
    };

    return world_main(tests);
}
