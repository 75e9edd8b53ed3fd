/* One reader, many sinks: a file and two receivers over HTTP that fail, hang, refuse and come back;
 * each gets every line once and in order, and the books add up at any moment. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"

#include "admin_peer.h"
#include "delivery.h"

#define LONG_BYTES 4000

static const char ok[] = "{\"do\": \"ok\"}", hang[] = "{\"do\": \"hang\"}";

/* Lines that fill queues: numbered, of LONG_BYTES, every third on stderr. */
static void say_long(struct delivery *d, struct sim_container *c, unsigned count)
{
    static char text[LONG_BYTES];

    for (unsigned i = 0; i < count; i++) {
        memset(text, 'x', sizeof text);
        text[snprintf(text, sizeof text, "long %u", i)] = ' ';
        ledger_say(d->ledger, c, i % 3 == 2 ? SIM_STDERR : SIM_STDOUT, world_next_ts(d->world),
                   text, sizeof text);
    }
}

static void mode(struct delivery *d, enum delivery_sink sink, const char *json)
{
    delivery_tell(d, sink, "/mode", json);
}

/* From now on it answers, also those that it has kept waiting: they find their connection closed.
 */
static void revive(struct delivery *d, enum delivery_sink sink)
{
    mode(d, sink, ok);
    delivery_tell(d, sink, "/release", "");
}

static void rest(struct random *random, uint64_t most_us)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)random_below(random, most_us) * 1000}, NULL);
}

/* ---- all is well ---- */

static void test_every_sink_gets_every_line(void **state)
{
    struct delivery *d = *state;
    struct sim_container *c[4];

    for (size_t i = 0; i < ARRAY_SIZE(c); i++)
        c[i] = sim_add(d->world->sim, NULL);
    ledger_say_many(d->ledger, c[0], "before it runs", 500);
    delivery_run(d);
    for (unsigned round = 0; round < 10; round++) {
        for (size_t i = 0; i < ARRAY_SIZE(c); i++)
            ledger_say_many(d->ledger, c[i], "while it runs", 50);
        books_check(d->world);
    }
    delivery_wait_all(d);
    delivery_stop(d);
}

/* ---- S26 ---- */

/* A sanitizer's red zones come on top; 32 MB that a queue kept would still show. */
#if defined(__SANITIZE_ADDRESS__)
enum { RSS_FACTOR = 2 };
#else
enum { RSS_FACTOR = 1 };
#endif

static void test_a_sink_that_hangs_holds_up_no_other(void **state)
{
    struct delivery *d = *state;
    struct sim_container *c[2];
    long before_kib;

    for (size_t i = 0; i < ARRAY_SIZE(c); i++)
        c[i] = sim_add(d->world->sim, NULL);
    mode(d, DELIVERY_LOKI, hang);
    delivery_run(d, "--set", "sinks.file.queue.max_bytes=1MiB", "--set",
                 "sinks.loki.request.timeout=10m");
    ledger_say_many(d->ledger, c[0], "to begin with", 100);
    ledger_wait(d->ledger);
    delivery_wait(d, DELIVERY_ELASTIC);
    before_kib = ringtail_proc_rss_kib(&d->world->ringtail);
    for (size_t i = 0; i < ARRAY_SIZE(c); i++)
        say_long(d, c[i], 4000);
    books_check(d->world);
    ledger_wait(d->ledger);
    delivery_wait(d, DELIVERY_ELASTIC);
    assert_int_equal(0, delivery_stat(d, DELIVERY_LOKI, "accepted"));
    assert_true(books_sum(d->world, "records_spooled{sink=\"loki\"}") > 0);
    /* 32 MB have gone by; three queues of 1 MiB, and 16 MiB for everything else. */
    world_assert_within(d->world, ringtail_proc_rss_kib(&d->world->ringtail) - before_kib,
                        INT32_MIN, (3 + 16) * 1024 * RSS_FACTOR);
    revive(d, DELIVERY_LOKI);
    delivery_wait_all(d);
    delivery_stop(d);
}

/* ---- S27 ---- */

static void check_dead_letters(struct delivery *d)
{
    char path[256], line[4096];
    unsigned count = 0, of[DELIVERY_SINKS] = {0};
    FILE *file;

    snprintf(path, sizeof path, "%s/.ringtail/dead_letters", d->world->out_dir);
    file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        count++;
        assert_non_null(strstr(line, "has poison in it"));
        assert_non_null(strstr(line, "\"status\":400"));
        for (enum delivery_sink i = 0; i < DELIVERY_SINKS; i++) {
            char named[64];

            snprintf(named, sizeof named, "\"sink\":\"%s\"", delivery_name(i));
            of[i] += strstr(line, named) && strstr(line, "\"reason\":\"") &&
                     !strstr(line, "\"reason\":\"\"");
        }
    }
    assert_int_equal(0, fclose(file));
    assert_int_equal(2, count);
    assert_int_equal(1, of[DELIVERY_LOKI]);
    assert_int_equal(1, of[DELIVERY_ELASTIC]);
}

static void test_a_line_that_is_refused_goes_alone(void **state)
{
    static const char text[] = "this line has poison in it";
    struct delivery *d = *state;
    struct sim_container *c = sim_add(d->world->sim, NULL);

    d->left_out = "poison";
    for (enum delivery_sink i = 0; i < DELIVERY_SINKS; i++)
        mode(d, i, "{\"do\": \"ok\", \"poison\": \"poison\"}");
    ledger_say_many(d->ledger, c, "a good line", 300);
    ledger_say(d->ledger, c, SIM_STDOUT, world_next_ts(d->world), text, strlen(text));
    ledger_say_many(d->ledger, c, "another good line", 199);
    delivery_run(d);
    delivery_wait_all(d);
    assert_true(books_sum(d->world, "records_lost_total{sink=\"loki\",reason=\"refused\"}") == 1);
    assert_true(
        books_sum(d->world, "records_lost_total{sink=\"elasticsearch\",reason=\"refused\"}") == 1);
    assert_true(books_sum(d->world, "records_lost_total{") == 2);
    check_dead_letters(d);
    delivery_stop(d);
}

/* ---- S28 ---- */

static void add_refusal(char *json, size_t size, int status, const char *when)
{
    size_t len = strlen(json);

    snprintf(json + len, size - len, "%s{\"do\": \"status\", \"status\": %d%s%s%s}",
             len > 1 ? ", " : "", status, when ? ", \"headers\": {\"Retry-After\": \"" : "",
             when ? when : "", when ? "\"}" : "");
}

static void test_receivers_that_are_busy(void **state)
{
    static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                        "%a %b %e %H:%M:%S %Y"};
    struct delivery *d = *state;
    struct sim_container *c = sim_add(d->world->sim, NULL);
    time_t soon = time(NULL) + 1;
    char json[4096] = "[", when[64];
    struct tm tm;

    assert_non_null(gmtime_r(&soon, &tm));
    for (int status = 429; status <= 503; status += 503 - 429) {
        add_refusal(json, sizeof json, status, NULL);
        add_refusal(json, sizeof json, status, "0");
        add_refusal(json, sizeof json, status, "1");
        for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
            assert_true(strftime(when, sizeof when, forms[i], &tm) > 0);
            add_refusal(json, sizeof json, status, when);
        }
    }
    strncat(json, "]", sizeof json - strlen(json) - 1);
    for (enum delivery_sink i = 0; i < DELIVERY_SINKS; i++)
        delivery_tell(d, i, "/script", json);
    delivery_run(d);
    for (unsigned round = 0; round < 10; round++) {
        ledger_say_many(d->ledger, c, "to a busy receiver", 100);
        books_check(d->world);
    }
    delivery_wait_all(d);
    for (enum delivery_sink i = 0; i < DELIVERY_SINKS; i++)
        assert_int_equal(0, delivery_stat(d, i, "script"));
    assert_true(books_sum(d->world, "records_lost_total{") == 0);
    delivery_stop(d);
}

/* ---- S32 ---- */

#define SMALL_SPOOL "--set", "spool.max_bytes=1MiB", "--set", "spool.segment_bytes=256KiB"

static void test_a_full_spool_and_back(void **state)
{
    struct delivery *d = *state;
    struct sim_container *c[2];

    for (size_t i = 0; i < ARRAY_SIZE(c); i++)
        c[i] = sim_add(d->world->sim, NULL);
    delivery_run(d, SMALL_SPOOL, "--set", "sinks.loki.request.timeout=10m");
    for (unsigned round = 0; round < 3; round++) {
        double pauses = books_sum(d->world, "reading_pauses_total");

        mode(d, DELIVERY_LOKI, hang);
        for (size_t i = 0; i < ARRAY_SIZE(c); i++)
            say_long(d, c[i], 600);
        delivery_wait_sum(d, "reading_pauses_total", pauses + 1, 1e9);
        assert_true(delivery_lacks(d, DELIVERY_LOKI) > 0);
        revive(d, DELIVERY_LOKI);
        delivery_wait_all(d);
    }
    assert_true(books_sum(d->world, "records_lost_total{") == 0);
    delivery_stop(d);
}

/* ---- S33 ---- */

/* Loki's queue, of 1 MiB, gets 5 MB while it hangs. */
static void drop(struct delivery *d, const char *policy, const char *spool, const char *reason)
{
    struct sim_container *c = sim_add(d->world->sim, NULL);
    char policy_set[80], lost[80];
    size_t lacks;

    snprintf(policy_set, sizeof policy_set, "sinks.loki.queue.policy=%s", policy);
    snprintf(lost, sizeof lost, "records_lost_total{sink=\"loki\",reason=\"%s\"}", reason);
    mode(d, DELIVERY_LOKI, hang);
    delivery_run(d, SMALL_SPOOL, "--set", policy_set, "--set", spool, "--set",
                 "sinks.loki.request.timeout=10m");
    say_long(d, c, 1250);
    ledger_wait(d->ledger);
    delivery_wait(d, DELIVERY_ELASTIC);
    delivery_wait_sum(d, lost, 1, 1249);
    revive(d, DELIVERY_LOKI);
    delivery_wait_sum(d, "records_queued{", 0, 0);
    delivery_wait_sum(d, "records_spooled{", 0, 0);
    lacks = delivery_lacks(d, DELIVERY_LOKI);
    assert_true(lacks > 0);
    assert_true(books_sum(d->world, lost) == (double)lacks);
    assert_true(books_sum(d->world, "records_lost_total{") == (double)lacks);
    ledger_stop(d->ledger);
}

static void test_drop_oldest(void **state)
{
    drop(*state, "drop_oldest", "sinks.loki.spool=false", "drop_oldest");
}

static void test_drop_newest(void **state)
{
    drop(*state, "drop_newest", "sinks.loki.spool=false", "drop_newest");
}

static void test_drop_oldest_of_the_spool(void **state)
{
    drop(*state, "drop_oldest", "sinks.loki.spool=true", "drop_oldest");
}

static void test_drop_newest_with_a_full_spool(void **state)
{
    drop(*state, "drop_newest", "sinks.loki.spool=true", "drop_newest");
}

/* ---- S36 ---- */

/* A fifth of the grace period is the spool's: enough of it on a machine with other work, too. */
static void test_ends_while_a_sink_hangs(void **state)
{
    enum { ENDS = 4 };
    struct delivery *d = *state;
    struct sim_container *c[2];
    struct random random;

    random_seed(&random, 36);
    for (size_t i = 0; i < ARRAY_SIZE(c); i++)
        c[i] = sim_add(d->world->sim, NULL);
    mode(d, DELIVERY_LOKI, hang);
    for (unsigned round = 0; round < ENDS; round++) {
        delivery_run(d, "--set", "run.grace_period=2s");
        world_wait_log(d->world, "Following containers", NULL, 1);
        for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
            ledger_say_many(d->ledger, c[i], "before the end",
                            (unsigned)random_below(&random, 200));
            say_long(d, c[i], round % 2 ? 300 : 0);
        }
        rest(&random, 100000);
        books_check(d->world);
        ringtail_proc_signal(&d->world->ringtail, SIGTERM);
        ledger_say_many(d->ledger, c[0], "as it ends", 20);
        world_wait_exit(d->world, 0);
    }
    assert_int_equal(0, delivery_stat(d, DELIVERY_LOKI, "accepted"));
    revive(d, DELIVERY_LOKI);
    delivery_run(d);
    delivery_wait_all(d);
    delivery_stop(d);
}

/* What neither the sink nor the spool has taken is read from the Engine again. */
static void test_ends_while_the_spool_is_full(void **state)
{
    struct delivery *d = *state;
    struct sim_container *c = sim_add(d->world->sim, NULL);

    mode(d, DELIVERY_LOKI, hang);
    for (unsigned round = 0; round < 3; round++) {
        delivery_run(d, SMALL_SPOOL, "--set", "run.grace_period=300ms");
        say_long(d, c, 1000);
        delivery_wait_sum(d, "reading_pauses_total", 1, 1e9);
        ringtail_proc_signal(&d->world->ringtail, SIGTERM);
        world_wait_exit(d->world, 1);
    }
    revive(d, DELIVERY_LOKI);
    delivery_run(d, SMALL_SPOOL);
    delivery_wait_all(d);
    delivery_stop(d);
}

/* ---- S37 ---- */

/* A file system of 2 MiB for the spool and the positions, which nobody but us and our children
 * sees.
 */
static void mount_small(struct delivery *d)
{
    char path[128];

    snprintf(path, sizeof path, "%s/small", d->world->dir);
    assert_int_equal(0, mkdir(path, 0700));
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", path, "tmpfs", 0, "size=2m") < 0) {
        print_message("a file system of our own needs root: %s\n", strerror(errno));
        skip();
    }
    snprintf(d->spool_dir, sizeof d->spool_dir, "%s/spool", path);
}

static void umount_small(struct delivery *d)
{
    char path[128];

    snprintf(path, sizeof path, "%s/small", d->world->dir);
    assert_int_equal(0, umount2(path, MNT_DETACH));
}

/* A file that takes all the room there is; its name. */
static const char *fill_small(struct delivery *d)
{
    static char path[160], bytes[65536];
    int fd;

    snprintf(path, sizeof path, "%s/small/ballast", d->world->dir);
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (size_t size = sizeof bytes; size > 0; size /= 2)
        while (write(fd, bytes, size) > 0)
            continue;
    assert_int_equal(0, close(fd));
    return path;
}

#define ON_SMALL(positions) "--set", "spool.max_bytes=8MiB", "--set", (positions)

static void test_a_spool_larger_than_its_disk(void **state)
{
    struct delivery *d = *state;
    struct sim_container *c = sim_add(d->world->sim, NULL);
    char positions[200];

    mount_small(d);
    snprintf(positions, sizeof positions, "positions.path=%s/small/positions", d->world->dir);
    delivery_run(d, ON_SMALL(positions));
    mode(d, DELIVERY_LOKI, hang);
    say_long(d, c, 1500);
    delivery_wait_sum(d, "reading_pauses_total", 1, 1e9);
    revive(d, DELIVERY_LOKI);
    delivery_wait_all(d);
    delivery_stop(d);
    umount_small(d);
}

static void fill_and_go_on(struct delivery *d, int signal, int code)
{
    struct sim_container *c = sim_add(d->world->sim, NULL);
    const char *ballast;
    char positions[200];

    mount_small(d);
    snprintf(positions, sizeof positions, "positions.path=%s/small/positions", d->world->dir);
    delivery_run(d, ON_SMALL(positions), "--set", "run.grace_period=300ms");
    ledger_say_many(d->ledger, c, "while there is room", 100);
    delivery_wait_all(d);
    ballast = fill_small(d);
    mode(d, DELIVERY_LOKI, hang);
    say_long(d, c, 1500);
    delivery_wait_sum(d, "reading_pauses_total", 1, 1e9);
    if (signal) {
        ringtail_proc_signal(&d->world->ringtail, signal);
        world_wait_exit(d->world, code);
        delivery_run(d, ON_SMALL(positions));
        world_wait_log(d->world, "Following containers", NULL, 1);
    }
    assert_int_equal(0, unlink(ballast));
    revive(d, DELIVERY_LOKI);
    delivery_wait_all(d);
    delivery_stop(d);
    umount_small(d);
}

static void test_a_full_disk_that_gets_room(void **state)
{
    fill_and_go_on(*state, 0, 0);
}

static void test_a_full_disk_and_sigkill(void **state)
{
    fill_and_go_on(*state, SIGKILL, 128 + SIGKILL);
}

static void test_a_full_disk_and_sigterm(void **state)
{
    fill_and_go_on(*state, SIGTERM, 1);
}

/* ---- S42 ---- */

enum { SPEAKERS = 3 };

/* What the receivers do to the next requests. */
static void fail_now_and_then(struct delivery *d, struct random *random)
{
    static const char *const steps[] = {
        "[{\"do\": \"close\"}]",
        "[{\"do\": \"take_and_close\"}]",
        "[{\"do\": \"take_and_hang\"}]",
        "[{\"do\": \"status\", \"status\": 503}, {\"do\": \"slow\", \"delay_ms\": 20}]",
        "[{\"do\": \"ok\"}, {\"do\": \"take_and_close\"}]",
        "[{\"do\": \"hang\"}]",
    };

    for (enum delivery_sink i = 0; i < DELIVERY_SINKS; i++)
        if (random_below(random, 2))
            delivery_tell(d, i, "/script", steps[random_below(random, ARRAY_SIZE(steps))]);
}

/* Lines of one timestamp, some of them equal in everything. */
static void say_at_once(struct delivery *d, struct sim_container *c, unsigned count)
{
    int64_t ts_ns = world_next_ts(d->world);

    for (unsigned i = 0; i < count; i++) {
        char text[64];
        int len = snprintf(text, sizeof text, "at once %u", i / 2);

        ledger_say(d->ledger, c, SIM_STDOUT, ts_ns, text, (size_t)len);
    }
}

/* Whatever run reads a line, it has the identity by which a receiver knows it. */
static void test_equal_lines_on_both_sides_of_a_restart(void **state)
{
    struct delivery *d = *state;
    struct sim_container *c = sim_add(d->world->sim, NULL);
    int64_t ts_ns = world_next_ts(d->world);
    struct random random;

    random_seed(&random, 9);
    for (unsigned run = 0; run < 4; run++) {
        delivery_run(d);
        for (unsigned n = 0; n < 2; n++) {
            const char *text = &"ab"[random_below(&random, 2)];

            ledger_say(d->ledger, c, random_below(&random, 4) ? SIM_STDOUT : SIM_STDERR, ts_ns,
                       text, 1);
        }
        delivery_wait_all(d);
        if (run % 2)
            delivery_stop(d);
        else
            ledger_kill(d->world);
    }
}

/* Of one nanosecond; a third of them is alike. */
static void say_crowd(struct delivery *d, struct sim_container *c, bool tty, int64_t ts_ns,
                      unsigned count, struct random *random)
{
    static unsigned number;

    for (unsigned i = 0; i < count; i++) {
        enum sim_stream stream = tty || random_below(random, 3) ? SIM_STDOUT : SIM_STDERR;
        char text[64];
        int len = random_below(random, 3) ? snprintf(text, sizeof text, "line %u", number++)
                                          : snprintf(text, sizeof text, "the same");

        assert_int_equal(0, sim_line_bytes(c, stream, ts_ns, text, (size_t)len));
        if (tty)
            text[len++] = '\r';
        ledger_add(d->ledger, c, stream, ts_ns, text, (size_t)len, 0);
    }
}

/* Runs of ringtail that each get some of 1,000 lines, and end in the middle of them. */
static void crowd_over_restarts(struct delivery *d, bool tty)
{
    enum { RUNS = 8, LINES = 1000 };
    struct sim_container *c;
    unsigned left = LINES;
    int64_t ts_ns;
    struct random random;

    random_seed(&random, 1000 + tty);
    assert_int_equal(0, sim_container_add(d->world->sim, &(struct sim_spec){.tty = tty}, &c));
    if (!tty)
        ledger_say_many(d->ledger, c, "before", 3);
    ts_ns = world_next_ts(d->world);
    for (unsigned run = 0; run < RUNS; run++) {
        unsigned count = run == RUNS - 1 ? left : 1 + (unsigned)random_below(&random, left / 4);

        left -= count;
        delivery_run(d);
        world_wait_log(d->world, "Following containers", NULL, 1);
        say_crowd(d, c, tty, ts_ns, count, &random);
        if (run % 4 == 0)
            ledger_kill(d->world); /* at once */
        else if (run % 4 == 2)
            rest(&random, 100000);
        else
            delivery_wait_all(d);
        if (run % 4 == 1)
            delivery_stop(d);
        else if (run % 4 > 1)
            ledger_kill(d->world);
    }
    delivery_run(d);
    delivery_wait_all(d);
    delivery_stop(d);
}

static void test_many_lines_of_one_nanosecond(void **state)
{
    crowd_over_restarts(*state, false);
}

static void test_many_lines_of_one_nanosecond_on_a_tty(void **state)
{
    crowd_over_restarts(*state, true);
}

static void test_kills_with_receivers_that_fail(void **state)
{
    unsigned kills = getenv("RINGTAIL_TEST_FULL") ? 200 : 20;
    struct delivery *d = *state;
    struct sim_container *c[SPEAKERS];
    struct random random;

    random_seed(&random, 42);
    for (size_t i = 0; i < SPEAKERS; i++)
        c[i] = sim_add(d->world->sim, NULL);
    for (unsigned round = 0; round < kills; round++) {
        fail_now_and_then(d, &random);
        delivery_run(d, "--set", "sinks.loki.request.timeout=500ms", "--set",
                     "sinks.elasticsearch.request.timeout=500ms");
        if (round % 5)
            world_wait_log(d->world, "Following containers", NULL, 1);
        for (uint64_t bursts = random_below(&random, 6); bursts > 0; bursts--) {
            struct sim_container *speaker = c[random_below(&random, SPEAKERS)];

            ledger_say_many(d->ledger, speaker, "under fire",
                            1 + (unsigned)random_below(&random, 40));
            say_at_once(d, speaker, (unsigned)random_below(&random, 9));
            if (random_below(&random, 8) == 0)
                say_long(d, speaker, 400);
            rest(&random, 20000);
        }
        if (round % 5)
            books_check(d->world);
        ledger_kill(d->world);
    }
    for (enum delivery_sink i = 0; i < DELIVERY_SINKS; i++)
        revive(d, i);
    delivery_run(d);
    for (size_t i = 0; i < SPEAKERS; i++)
        ledger_say_many(d->ledger, c[i], "at the end", 3);
    delivery_wait_all(d);
    delivery_stop(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DELIVERY_TEST("every sink gets every line once and in order",
                      test_every_sink_gets_every_line),
        DELIVERY_TEST("S26 a receiver that never answers holds up no other sink",
                      test_a_sink_that_hangs_holds_up_no_other),
        DELIVERY_TEST("S27 of 500 lines the refused one alone is a dead letter",
                      test_a_line_that_is_refused_goes_alone),
        DELIVERY_TEST("S28 receivers that are busy get everything in the end",
                      test_receivers_that_are_busy),
        DELIVERY_TEST("S32 reading pauses while memory and spool are full, and goes on",
                      test_a_full_spool_and_back),
        DELIVERY_TEST("S33 drop_oldest counts exactly what it drops", test_drop_oldest),
        DELIVERY_TEST("S33 drop_newest counts exactly what it drops", test_drop_newest),
        DELIVERY_TEST("S33 drop_oldest drops the oldest of the spool",
                      test_drop_oldest_of_the_spool),
        DELIVERY_TEST("S33 drop_newest with a spool that is full",
                      test_drop_newest_with_a_full_spool),
        DELIVERY_TEST("S36 SIGTERM while a sink hangs loses nothing", test_ends_while_a_sink_hangs),
        DELIVERY_TEST("S36 SIGTERM while a sink hangs and the spool is full loses nothing",
                      test_ends_while_the_spool_is_full),
        DELIVERY_TEST("S37 a spool that fills its disk is read and makes room",
                      test_a_spool_larger_than_its_disk),
        DELIVERY_TEST("S37 spool and positions on a full disk go on when there is room",
                      test_a_full_disk_that_gets_room),
        DELIVERY_TEST("S37 SIGKILL while spool and positions are on a full disk loses nothing",
                      test_a_full_disk_and_sigkill),
        DELIVERY_TEST("S37 SIGTERM while spool and positions are on a full disk loses nothing",
                      test_a_full_disk_and_sigterm),
        DELIVERY_TEST("S42 lines that are equal in everything are told apart over restarts",
                      test_equal_lines_on_both_sides_of_a_restart),
        DELIVERY_TEST("S42 a thousand lines of one nanosecond come once over restarts",
                      test_many_lines_of_one_nanosecond),
        DELIVERY_TEST("S42 a thousand lines of one nanosecond on a TTY come once over restarts",
                      test_many_lines_of_one_nanosecond_on_a_tty),
        DELIVERY_TEST("S42 SIGKILL with receivers that fail", test_kills_with_receivers_that_fail),
    };

    /* Freed memory that a sanitizer keeps in quarantine would look like growth. */
    world_add_environment("ASAN_OPTIONS", "quarantine_size_mb=1");
    return world_main(tests);
}
