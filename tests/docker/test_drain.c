/* One long log from its beginning, compared with the Engine's own bytes line by line and in the
 * Engine's order. */
#include "dock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/timestamp.h"
#include "support/engine_api.h"

#define STDERR_EVERY 5

struct reading {
    FILE *output;
    char *line;
    size_t room;
    uint64_t lines_count;
    char reason[512];
};

static bool member_is(yyjson_val *row, const char *key, struct slice wanted)
{
    yyjson_val *value = yyjson_obj_get(row, key);

    return value && slice_eq(slice_of(yyjson_get_str(value), yyjson_get_len(value)), wanted);
}

static int compare_next(void *ctx, const struct engine_record *record)
{
    struct reading *reading = ctx;
    struct slice text = record->bytes;
    char ts[TIMESTAMP_LEN];
    yyjson_doc *doc;
    yyjson_val *row;
    ssize_t len = getline(&reading->line, &reading->room, reading->output);
    bool same;

    reading->lines_count++;
    text.len -= text.len > 0 && text.data[text.len - 1] == '\n';
    timestamp_format(ts, record->ts_ns);
    doc = len > 0 ? yyjson_read(reading->line, (size_t)len, 0) : NULL;
    row = yyjson_doc_get_root(doc);
    same = row && member_is(row, "ts", slice_of(ts, sizeof ts)) &&
           member_is(row, "stream", slice_str(record->is_stderr ? "stderr" : "stdout")) &&
           member_is(row, "line", text) && !yyjson_obj_get(row, "partial");
    yyjson_doc_free(doc);
    if (same)
        return 0;
    snprintf(reading->reason, sizeof reading->reason, "line %" PRIu64 " is %.30s %.60s, got %.300s",
             reading->lines_count, ts, text.data,
             len > 0 ? reading->line : "the end of the output");
    return -EBADMSG;
}

struct ending {
    uint64_t wanted[2];
    bool seen[2];
};

static int look_for_ending(void *ctx, const struct engine_record *record)
{
    struct ending *ending = ctx;
    uint64_t number = 0;
    char text[64];

    snprintf(text, sizeof text, "%.*s", (int)MIN(record->bytes.len, sizeof text - 1),
             record->bytes.data);
    (void)sscanf(text, "drain %*c %" SCNu64, &number);
    ending->seen[record->is_stderr] |= number == ending->wanted[record->is_stderr];
    return 0;
}

/* The two streams reach the log by different ways, so the end of each is looked for. */
static void wait_written(struct dock *d, const struct dock_container *c, uint64_t lines_count)
{
    struct ending ending = {
        .wanted = {lines_count - lines_count / STDERR_EVERY, lines_count / STDERR_EVERY}};
    int64_t until_ns = clock_mono_ns() + DOCK_TIMEOUT_MS * NSEC_PER_MSEC;

    while (!ending.seen[0] || !ending.seen[1]) {
        if (engine_api_logs(dock_socket(), c->id, "tail=20000", false, look_for_ending, &ending) !=
            200)
            dock_fail(d, "the log can't be read");
        if (clock_mono_ns() > until_ns)
            dock_fail(d, "the log does not come to its end");
        dock_sleep_ms(100);
    }
}

/* Waits for the output's last line, without reading any byte twice. */
static void wait_drained(struct dock *d, const char *path, uint64_t lines_count)
{
    int64_t until_ns = clock_mono_ns() + 3 * DOCK_TIMEOUT_MS * NSEC_PER_MSEC;
    static char bytes[1 << 20];
    uint64_t count = 0;
    FILE *output = NULL;

    while (count < lines_count) {
        size_t n;

        if (!output)
            output = fopen(path, "re");
        n = output ? fread(bytes, 1, sizeof bytes, output) : 0;
        for (const char *at = bytes; (at = memchr(at, '\n', (size_t)(bytes + n - at))); at++)
            count++;
        if (n > 0)
            continue;
        if (ringtail_proc_poll(&d->ringtail) || clock_mono_ns() > until_ns)
            dock_fail(d, "%" PRIu64 " of %" PRIu64 " lines came", count, lines_count);
        if (output)
            clearerr(output);
        dock_sleep_ms(20);
    }
    fclose(output);
}

static void drain(struct dock *d, const char *driver, uint64_t lines_count)
{
    char count[24], every[16], path[256];
    const char *args[] = {"/writer", "--burst", "--prefix", "drain", "--count",        count,
                          "--bytes", "124",     "--linger", "86400", "--stderr-every", every,
                          NULL};
    struct reading reading = {0};
    struct dock_container c;
    int64_t began_ns;
    int status;

    snprintf(count, sizeof count, "%" PRIu64, lines_count);
    snprintf(every, sizeof every, "%d", STDERR_EVERY);
    dock_assert(d, dock_run(&(struct dock_spec){.args = args, .driver = driver}, &c));
    wait_written(d, &c, lines_count);
    began_ns = clock_mono_ns();
    dock_ringtail(d, "--since", "all");
    snprintf(path, sizeof path, "%s/%s.ndjson", d->out_dir, c.id);
    wait_drained(d, path, lines_count);
    printf("%s: %" PRIu64 " lines in %.1f s\n", driver, lines_count,
           (double)(clock_mono_ns() - began_ns) / (double)NSEC_PER_SEC);
    dock_terminate(d);

    reading.output = fopen(path, "re");
    assert_non_null(reading.output);
    status = engine_api_logs(dock_socket(), c.id, NULL, false, compare_next, &reading);
    if (status != 200)
        dock_fail(d, "%s (%d)", reading.reason, status);
    assert_int_equal(lines_count, reading.lines_count);
    assert_int_equal(-1, getline(&reading.line, &reading.room, reading.output));
    fclose(reading.output);
    free(reading.line);
}

static void test_drain_json_file(void **state)
{
    drain(*state, "json-file", dock_is_full() ? 2000000 : 300000);
}

/* Below the size at which this driver begins to forget. */
static void test_drain_local(void **state)
{
    drain(*state, "local", 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DOCK_TEST("a long log is read to its end, byte by byte as the Engine has it",
                  test_drain_json_file),
        DOCK_TEST("so is the local driver's", test_drain_local),
    };

    return dock_main(tests, false);
}
