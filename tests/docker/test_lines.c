/* What lines can look like, on pipes and terminals, in both of the Engine's own drivers. */
#include "dock.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define KIB 1024

static const char *const drivers[] = {"json-file", "local"};

/* ---- Long lines of the writer, whose bytes are known ---- */

struct long_case {
    size_t line_bytes;
    unsigned lines_count;
    bool tty;
    const char *driver;
    struct dock_container container;
    char prefix[48];
};

static struct dock_writer writer_of(const struct long_case *c)
{
    return (struct dock_writer){.prefix = c->prefix,
                                .lines_count = c->lines_count,
                                .line_bytes = c->line_bytes,
                                .stderr_every = c->tty ? 0 : 2,
                                .tty = c->tty};
}

static bool run_long(void *ctx, size_t index)
{
    struct long_case *c = (struct long_case *)ctx + index;
    char count[16], bytes[16];
    const char *args[] = {"/writer",          "--prefix", c->prefix, "--rate", "60",
                          "--count",          count,      "--bytes", bytes,    "--stderr-every",
                          c->tty ? "0" : "2", NULL};

    snprintf(c->prefix, sizeof c->prefix, "%s-%s-%zu", c->driver, c->tty ? "tty" : "pipe",
             c->line_bytes);
    snprintf(count, sizeof count, "%u", c->lines_count);
    snprintf(bytes, sizeof bytes, "%zu", c->line_bytes);
    return dock_run(&(struct dock_spec){.args = args, .driver = c->driver, .tty = c->tty},
                    &c->container) &&
           dock_post(&c->container, "wait");
}

static void test_long_lines(void **state)
{
    static const size_t sizes[] = {16382, 16383, 16384, 32768, 40 * 1000, 100 * KIB};
    struct long_case cases[ARRAY_SIZE(sizes) * 4];
    struct dock *d = *state;
    size_t count = 0;

    for (size_t s = 0; s < ARRAY_SIZE(sizes); s++)
        for (size_t k = 0; k < 4; k++)
            cases[count++] = (struct long_case){.line_bytes = sizes[s],
                                                .lines_count = 40,
                                                .tty = k % 2 == 1,
                                                .driver = drivers[k / 2]};
    dock_ringtail(d);
    dock_wait_log(d, "Following containers", NULL, 1);
    dock_assert(d, dock_parallel(count, 6, run_long, cases));
    for (size_t i = 0; i < count; i++) {
        struct dock_writer writer = writer_of(&cases[i]);

        dock_assert_log_is_written(d, &cases[i].container, &writer);
        dock_tell_log(d, &cases[i].container);
        assert_int_equal(writer.lines_count, told_count(cases[i].container.told));
    }
    dock_wait_complete(d);
    dock_stop(d);
}

/* ---- Strange bytes ---- */

struct strange_case {
    const char *script;
    const char *driver;
    bool tty;
    struct dock_container container;
};

static const char *const scripts[] = {
    /* Nothing, blanks, carriage returns, NUL, ESC, quotes. */
    "echo; echo; echo ' '; printf 'a\\rb\\r\\nc\\r\\n'; printf 'x\\000y\\000\\n'; echo >&2;"
    "printf '\\033[1mbold\\033[0m\\n'; printf '\"q\" \\\\ \\t /\\n' >&2; printf '\\r\\r\\r\\n'",
    /* Every byte, alone and in a row. */
    "i=0; while [ $i -lt 256 ]; do o=$(printf %o $i); printf \"<\\\\$o>\\n\"; "
    "i=$((i+1)); done; i=128; while [ $i -lt 256 ]; do printf \"\\\\$(printf %o $i)\"; "
    "i=$((i+1)); done; echo",
    /* UTF-8 of three bytes across the cut at 16384, at all of its three places. */
    "for n in 16381 16382 16383 16384; do head -c $n /dev/zero | tr '\\000' x; "
    "printf '\\342\\202\\254 end\\n'; done",
    "head -c 300000 /dev/urandom; head -c 300000 /dev/urandom >&2",
    /* A progress bar, and a line that is one long part. */
    "i=0; while [ $i -lt 3000 ]; do printf '%d%%\\r' $i; i=$((i+1)); done; echo done",
    "yes 'one and another line of a flood of lines' | head -n 20000",
};

static bool run_strange(void *ctx, size_t index)
{
    struct strange_case *c = (struct strange_case *)ctx + index;
    const char *args[] = {"/bin/sh", "-c", c->script, NULL};

    return dock_run(&(struct dock_spec){.args = args, .driver = c->driver, .tty = c->tty},
                    &c->container) &&
           dock_post(&c->container, "wait");
}

static void test_strange_bytes(void **state)
{
    struct strange_case cases[ARRAY_SIZE(scripts) * 4];
    struct dock *d = *state;
    size_t count = 0;

    for (size_t s = 0; s < ARRAY_SIZE(scripts); s++)
        for (size_t k = 0; k < 4; k++)
            cases[count++] = (struct strange_case){
                .script = scripts[s], .tty = k % 2 == 1, .driver = drivers[k / 2]};
    dock_ringtail(d);
    dock_wait_log(d, "Following containers", NULL, 1);
    dock_assert(d, dock_parallel(count, 6, run_strange, cases));
    for (size_t i = 0; i < count; i++) {
        dock_tell_log(d, &cases[i].container);
        assert_true(told_count(cases[i].container.told) > 0);
    }
    dock_wait_complete(d);
    dock_stop(d);
}

/* ---- Last lines without a newline ---- */

#define RUNS_COUNT 3

static bool run_unfinished(void *ctx, size_t index)
{
    /* Every other one ends while it is surely being followed. */
    static const char *const waits[] = {"sleep 0.6", "true"};
    struct strange_case *c = (struct strange_case *)ctx + index;
    char script[256];
    const char *args[] = {"/bin/sh", "-c", script, NULL};

    snprintf(script, sizeof script,
             "echo whole; echo whole >&2; %s; printf 'no end of %zu'; printf 'nor of %zu' >&2",
             waits[index / 4 % 2], index, index);
    if (!dock_create(&(struct dock_spec){.args = args, .driver = c->driver, .tty = c->tty},
                     &c->container))
        return false;
    for (unsigned run = 0; run < RUNS_COUNT; run++)
        if (!dock_post(&c->container, "start") || !dock_post(&c->container, "wait"))
            return false;
    return true;
}

static void test_unfinished_lines(void **state)
{
    struct strange_case cases[24];
    struct dock *d = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        cases[i] = (struct strange_case){.tty = i % 2 == 1, .driver = drivers[i / 2 % 2]};
    dock_ringtail(d);
    dock_wait_log(d, "Following containers", NULL, 1);
    dock_assert(d, dock_parallel(ARRAY_SIZE(cases), 6, run_unfinished, cases));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        dock_tell_log(d, &cases[i].container);
        assert_int_equal((cases[i].tty ? 3 : 4) * RUNS_COUNT, told_count(cases[i].container.told));
    }
    dock_wait_complete(d);
    dock_stop(d);
}

/* ---- Logs that the Engine turns over ---- */

/* Whatever the Engine jumps over or says again, no line is doubled or moved. */
static void test_turned_over(void **state)
{
    static const char *const args[] = {"/writer", "--prefix",       "turn",  "--rate",
                                       "4000",    "--count",        "24000", "--bytes",
                                       "120",     "--stderr-every", "3",     NULL};
    struct dock *d = *state;
    struct dock_container c;
    uint64_t numbers[2] = {0}, lines_count = 0;
    char path[256], wrong[256] = "", *line = NULL;
    size_t room = 0;
    FILE *file;

    dock_ringtail(d);
    dock_wait_log(d, "Following containers", NULL, 1);
    dock_assert(d, dock_run(&(struct dock_spec){.args = args,
                                                .driver_options = "{\"max-size\":\"200k\","
                                                                  "\"max-file\":\"3\"}"},
                            &c));
    dock_assert(d, dock_post(&c, "wait"));
    dock_wait_log(d, "Stream ended", NULL, dock_engine_is_20_10() ? 2 : 1);
    dock_terminate(d);
    snprintf(path, sizeof path, "%s/%s.ndjson", d->out_dir, c.id);
    file = fopen(path, "re");
    assert_non_null(file);
    while (wrong[0] == '\0' && getline(&line, &room, file) > 0) {
        const char *text = strstr(line, "\"turn ");
        uint64_t number = 0;
        char stream = ' ';

        if (!text || sscanf(text, "\"turn %c %" SCNu64 " ", &stream, &number) != 2 ||
            number <= numbers[stream == 'e'])
            snprintf(wrong, sizeof wrong,
                     "after %" PRIu64 " of stdout and %" PRIu64 " of stderr "
                     "comes %.150s",
                     numbers[0], numbers[1], line);
        numbers[stream == 'e'] = number;
        lines_count++;
    }
    free(line);
    fclose(file);
    if (wrong[0] != '\0')
        dock_fail(d, "%s", wrong);
    printf("%" PRIu64 " of 24000 lines got through the Engine's rotation\n", lines_count);
    /* Nothing can be asserted of the Engine's own losses, but some have to come through. */
    assert_true(lines_count > 1000);
}

/* ---- Drivers whose logs are no files ---- */

static void test_driver_none(void **state)
{
    static const char *const args[] = {"/writer", "--rate", "10", NULL};
    struct dock *d = *state;
    struct dock_container none, other;

    dock_ringtail(d, "--set", "discovery.resync_interval=200ms", "--set",
                  "stream.retry_refused=1s");
    dock_wait_log(d, "Following containers", NULL, 1);
    dock_assert(d, dock_run(&(struct dock_spec){.args = args, .driver = "none"}, &none));
    dock_wait_log(d, "Log unreadable", "501", 1);
    /* The other one's lines show that it goes on, over several listings. */
    dock_assert(d, dock_run(&(struct dock_spec){.args = args}, &other));
    while (dock_lines(d, &other) < 30 && !ringtail_proc_poll(&d->ringtail))
        dock_sleep_ms(50);
    dock_assert(d, dock_post(&other, "stop?t=5"));
    dock_tell_log(d, &other);
    dock_wait_complete(d);
    dock_stop(d);
    assert_int_equal(1, ringtail_proc_log_count(&d->ringtail, "Log unreadable", NULL));
    assert_int_equal(0, dock_lines(d, &none));
}

static void test_driver_syslog(void **state)
{
    static const char *const args[] = {"/writer", "--prefix", "sys", "--rate",
                                       "100",     "--count",  "300", "--stderr-every",
                                       "3",       NULL};
    struct dock_writer writer = {
        .prefix = "sys", .lines_count = 300, .line_bytes = 64, .stderr_every = 3};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t address_len = sizeof address;
    struct dock *d = *state;
    struct dock_container c;
    char options[96];
    /* Somebody to send to; what is not read is dropped. */
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(0, bind(fd, (struct sockaddr *)&address, sizeof address));
    assert_int_equal(0, getsockname(fd, (struct sockaddr *)&address, &address_len));
    snprintf(options, sizeof options, "{\"syslog-address\":\"udp://127.0.0.1:%u\"}",
             ntohs(address.sin_port));
    dock_ringtail(d);
    dock_wait_log(d, "Following containers", NULL, 1);
    dock_assert(
        d,
        dock_run(&(struct dock_spec){.args = args, .driver = "syslog", .driver_options = options},
                 &c));
    dock_assert(d, dock_post(&c, "wait"));
    dock_assert_log_is_written(d, &c, &writer);
    dock_tell_log(d, &c);
    dock_wait_complete(d);
    dock_stop(d);
    assert_int_equal(0, ringtail_proc_log_count(&d->ringtail, "Log unreadable", NULL));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DOCK_TEST("lines up to 100 KiB are joined on pipes and terminals", test_long_lines),
        DOCK_TEST("every byte that the Engine has comes through", test_strange_bytes),
        DOCK_TEST("a last line without newline is there once, also with a next run behind it",
                  test_unfinished_lines),
        DOCK_TEST("a log that the Engine turns over doubles no line", test_turned_over),
        DOCK_TEST("the driver none is reported once and holds up nothing", test_driver_none),
        DOCK_TEST("a log that goes to syslog is read from the Engine's copy", test_driver_syslog),
    };

    return dock_main(tests, false);
}
