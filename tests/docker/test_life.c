/*
 * The life of streams against a real Engine: many rotations cost nothing that stays, a rotation
 * costs the Engine next to nothing, and an Engine's restart under many streams costs no line.
 *
 * What takes how long is printed; what is asserted about it has room for a busy machine, except in
 * a full run.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ringtail/base/clock.h"
#include "support/engine_api.h"
#include "support/metrics_page.h"

#include "dock.h"
#include "scrape.h"

#define PREFIX "log_capturer_"
#define REREAD_BYTES_MAX (64.0 * 1024)

static void assert_no_complaint(struct dock *d, struct buf *page)
{
    scrape(d, page);
    assert_false(metrics_page_sum(page, PREFIX "container_stream_errors_total{") > 0);
    assert_int_equal(0, ringtail_proc_log_count(&d->ringtail, "Lines may be missing", NULL));
}

/* ---- S04 ---- */

static bool start_idle(void *ctx, size_t index)
{
    static const char *const args[] = {"/writer", "--count", "1", "--linger", "86400", NULL};

    return dock_run(&(struct dock_spec){.args = args}, (struct dock_container *)ctx + index);
}

static void assert_no_growth(struct dock *d, const struct holdings *before,
                             const struct holdings *after)
{
    printf("ringtail: descriptors %" PRId64 " -> %" PRId64 ", threads %" PRId64 " -> %" PRId64
           ", operations %" PRId64 " -> %" PRId64 "; Engine: descriptors %" PRId64 " -> %" PRId64
           "\n",
           before->descriptors, after->descriptors, before->threads, after->threads,
           before->operations, after->operations, before->engine_descriptors,
           after->engine_descriptors);
    if (after->descriptors > before->descriptors || after->threads > before->threads ||
        after->operations > before->operations ||
        after->engine_descriptors > before->engine_descriptors)
        dock_fail(d, "something has grown");
}

static void test_idle_rotations(void **state)
{
    const size_t count = dock_is_full() ? 300 : 60;
    const int64_t rotations = dock_is_full() ? 100 : 20;
    struct dock_container *containers = calloc(count, sizeof *containers);
    struct dock *d = *state;
    struct holdings before, after;
    struct buf page = {0};
    double p50, p99;

    assert_non_null(containers);
    dock_ringtail(d, "--since", "all", "--set", "admin.port=0", "--set",
                  dock_is_full() ? "stream.rotation_interval=4s" : "stream.rotation_interval=1s");
    dock_wait_log(d, "Following containers", NULL, 1);
    dock_assert(d, dock_parallel(count, 8, start_idle, containers));
    for (size_t i = 0; i < count; i++)
        dock_tell_written(d, &containers[i], &dock_one_line);
    dock_wait_complete(d);

    scrape_wait_rotations(d, containers, count, 2);
    before = scrape_holdings(d);
    scrape_wait_rotations(d, containers, count, rotations);
    after = scrape_holdings_after(d, &before);
    assert_no_growth(d, &before, &after);

    assert_no_complaint(d, &page);
    assert_true(metrics_page_value(&page, PREFIX "container_streams_active ") >= (double)count);
    p50 = metrics_page_quantile(&page, PREFIX "ring_cancel_duration_seconds", 0.5);
    p99 = metrics_page_quantile(&page, PREFIX "ring_cancel_duration_seconds", 0.99);
    printf("%zu idle streams: %.0f rotations, cancel p50 <= %.2f ms, p99 <= %.2f ms\n", count,
           metrics_page_sum(&page, PREFIX "container_stream_rotations_total{"), p50 * 1000,
           p99 * 1000);
    if (dock_is_full() && p99 > 0.01)
        dock_fail(d, "cancels take too long");
    buf_finish(&page);
    dock_stop(d);
    free(containers);
}

/* ---- S05 ---- */

#define SLOW_PREFIX "slow"

static int note_slow(void *ctx, const struct engine_record *record)
{
    size_t len = strlen(SLOW_PREFIX);
    bool *is_slow = ctx;

    *is_slow = record->bytes.len > len && memcmp(record->bytes.data, SLOW_PREFIX, len) == 0;
    return 0;
}

static int count_nothing(void *ctx, const struct engine_record *record)
{
    (void)ctx;
    (void)record;
    return 0;
}

static void wait_until_slow(struct dock *d, const struct dock_container *c)
{
    int64_t until_ns = clock_mono_ns() + DOCK_TIMEOUT_MS * NSEC_PER_MSEC;
    bool is_slow = false;

    while (engine_api_logs(dock_socket(), c->id, "tail=1", false, note_slow, &is_slow) == 200 &&
           !is_slow) {
        if (clock_mono_ns() > until_ns)
            dock_fail(d, "the big log is not written");
        dock_sleep_ms(200);
    }
}

static double rereads(struct buf *page, const struct dock_container *c)
{
    char series[160];

    snprintf(series, sizeof series, PREFIX "stream_reread_bytes_total{container_id=\"%.12s\"",
             c->id);
    return metrics_page_value(page, series);
}

/* What the Engine's daemon takes for `ms` of whatever it does at the moment. */
static double engine_cpu_per_s(int64_t ms)
{
    int64_t cpu_ns = scrape_engine_cpu_ns(), began_ns = clock_mono_ns();

    dock_sleep_ms(ms);
    return (double)(scrape_engine_cpu_ns() - cpu_ns) / (double)(clock_mono_ns() - began_ns);
}

static void test_big_log(void **state)
{
    const char *script = dock_is_full()
                             ? "/writer --burst --count 1900000 --bytes 100; "
                               "exec /writer --prefix " SLOW_PREFIX " --rate 20 --bytes 100"
                             : "/writer --burst --count 200000 --bytes 100; "
                               "exec /writer --prefix " SLOW_PREFIX " --rate 20 --bytes 100";
    const char *args[] = {"sh", "-c", script, NULL};
    const int64_t rotations = 10;
    struct dock *d = *state;
    struct dock_container c;
    struct buf page = {0};
    double reread, reread_before, at_rest, cpu_ns, since_cpu_ns;
    int64_t cpu_began_ns, began_ns, done, done_before;
    char query[64];

    dock_assert(d, dock_run(&(struct dock_spec){.args = args}, &c));
    wait_until_slow(d, &c);

    snprintf(query, sizeof query, "since=%lld", (long long)time(NULL));
    cpu_began_ns = scrape_engine_cpu_ns();
    assert_int_equal(200, engine_api_logs(dock_socket(), c.id, query, false, count_nothing, NULL));
    since_cpu_ns = (double)(scrape_engine_cpu_ns() - cpu_began_ns);

    at_rest = engine_cpu_per_s(3000);
    dock_ringtail(d, "--set", "admin.port=0", "--set", "stream.rotation_interval=500ms");
    scrape_wait_rotations(d, &c, 1, 1);
    scrape(d, &page);
    done_before = scrape_rotations(&page, &c);
    reread_before = rereads(&page, &c);
    cpu_began_ns = scrape_engine_cpu_ns();
    began_ns = clock_mono_ns();
    scrape_wait_rotations(d, &c, 1, done_before + rotations);
    scrape(d, &page);
    cpu_ns = (double)(scrape_engine_cpu_ns() - cpu_began_ns) -
             at_rest * (double)(clock_mono_ns() - began_ns);
    done = scrape_rotations(&page, &c) - done_before;
    reread = rereads(&page, &c) - reread_before;
    printf("%" PRId64 " rotations: %.0f bytes re-read each; the Engine's CPU: %.2f ms each, a "
           "reopen with since alone %.0f ms (%.3f %%)\n",
           done, reread / (double)done, cpu_ns / (double)done / 1e6, since_cpu_ns / 1e6,
           100 * cpu_ns / (double)done / since_cpu_ns);
    assert_true(reread > 0);
    assert_true(reread <= REREAD_BYTES_MAX * (double)done);
    if (dock_is_full() && cpu_ns / (double)done >= since_cpu_ns / 100)
        dock_fail(d, "a rotation costs the Engine too much");
    assert_no_complaint(d, &page);
    buf_finish(&page);
    dock_terminate(d);
}

/* ---- S13 ---- */

#define RESTART_MEMBERS_MAX 100

struct member {
    struct dock_container container;
    char prefix[24];
};

static bool start_member(void *ctx, size_t index)
{
    struct member *m = (struct member *)ctx + index;
    bool tty = index % 7 == 4;
    const char *args[] = {"/writer", "--prefix", m->prefix,        "--rate",        "20",
                          "--bytes", "80",       "--stderr-every", tty ? "0" : "3", NULL};

    snprintf(m->prefix, sizeof m->prefix, "r%zu", index);
    return dock_run(
        &(struct dock_spec){.args = args, .tty = tty, .driver = index % 5 == 2 ? "local" : NULL},
        &m->container);
}

static bool stop_member(void *ctx, size_t index)
{
    struct member *m = (struct member *)ctx + index;

    return dock_post(&m->container, "stop?t=10");
}

static void wait_for_more_lines(struct dock *d, const struct member *members, size_t count)
{
    static uint64_t before[RESTART_MEMBERS_MAX];
    int64_t until_ns = clock_mono_ns() + DOCK_TIMEOUT_MS * NSEC_PER_MSEC;

    for (size_t i = 0; i < count; i++)
        before[i] = dock_lines(d, &members[i].container);
    for (size_t i = 0; i < count; i++)
        while (dock_lines(d, &members[i].container) == before[i]) {
            if (clock_mono_ns() > until_ns)
                dock_fail(d, "no line of %s any more", members[i].container.id);
            dock_sleep_ms(50);
        }
}

/*
 * The Engine's own log is what counts: an Engine of 20.10 that ends while it copies a line from a
 * container's pipe into the log loses that line for everybody.
 */
static void test_engine_restarts(void **state)
{
    static struct member members[RESTART_MEMBERS_MAX];
    const size_t count = dock_is_full() ? RESTART_MEMBERS_MAX : 24;
    struct dock *d = *state;

    dock_ringtail(d, "--set", "admin.port=0", "--set", "engine.reconnect_max=1s", "--set",
                  "stream.rotation_interval=1s");
    dock_wait_log(d, "Following containers", NULL, 1);
    dock_assert(d, dock_parallel(count, 8, start_member, members));
    for (unsigned round = 0; round < 2; round++) {
        dock_sleep_ms(3000);
        dock_engine(d, "restart", dock_is_full() ? "20" : "3");
        dock_wait_log(d, "Engine connected", NULL, round + 2);
        wait_for_more_lines(d, members, count);
    }
    dock_sleep_ms(4000);
    dock_assert(d, dock_parallel(count, 8, stop_member, members));
    for (size_t i = 0; i < count; i++) {
        dock_tell_log(d, &members[i].container);
        assert_true(told_count(members[i].container.told) > 0);
    }
    dock_wait_complete(d);
    dock_stop(d);
    assert_int_equal(0, ringtail_proc_log_count(&d->ringtail, "Lines may be missing", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DOCK_TEST("S04 many rotations of idle streams leave nothing behind", test_idle_rotations),
        DOCK_TEST("S05 a rotation of a big log costs the Engine next to nothing", test_big_log),
        DOCK_TEST("S13 an Engine that restarts twice under many rotating streams costs no line",
                  test_engine_restarts),
    };

    return dock_main(tests, true);
}
