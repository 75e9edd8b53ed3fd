/* See delivery.h. */
#include "delivery.h"

#include <stdlib.h>
#include <string.h>

#include <yyjson.h>

#include "ringtail/base/macros.h"

static const struct {
    const char *name, *protocol;
} sinks[DELIVERY_SINKS] = {
    [DELIVERY_LOKI] = {"loki", "loki"},
    [DELIVERY_ELASTIC] = {"elasticsearch", "elastic"},
};

const char *delivery_name(enum delivery_sink sink)
{
    return sinks[sink].name;
}

int delivery_setup(void **state)
{
    struct delivery *d = calloc(1, sizeof *d);
    void *world = NULL;

    if (!d || world_setup(&world) < 0)
        return -1;
    d->world = world;
    for (size_t i = 0; i < DELIVERY_SINKS; i++)
        if (receiver_start(&d->receivers[i], NULL) < 0)
            return -1;
    world_engine(d->world, NULL);
    d->ledger = ledger_create(d->world);
    snprintf(d->config, sizeof d->config, "%s/ringtail.yaml", d->world->dir);
    snprintf(d->spool_dir, sizeof d->spool_dir, "%s/spool", d->world->dir);
    *state = d;
    return 0;
}

int delivery_teardown(void **state)
{
    struct delivery *d = *state;
    void *world = d->world;
    int r = world_teardown(&world);

    for (size_t i = 0; i < DELIVERY_SINKS; i++)
        receiver_stop(&d->receivers[i]);
    ledger_destroy(d->ledger);
    free(d);
    return r;
}

/* ---- ringtail ---- */

static void write_remote(FILE *file, const struct delivery *d, enum delivery_sink sink)
{
    fprintf(file,
            "  %s:\n"
            "    type: %s\n"
            "    url: \"http://127.0.0.1:%u\"\n"
            "    queue.max_bytes: 1MiB\n"
            "    request.max_bytes: 64KiB\n"
            "    request.linger: 5ms\n"
            "    retry.min: 10ms\n"
            "    retry.max: 100ms\n"
            "    retry.suspended: 1s\n",
            sinks[sink].name, sinks[sink].name, d->receivers[sink].port);
}

static void write_config(const struct delivery *d)
{
    FILE *file = fopen(d->config, "we");

    assert_non_null(file);
    fprintf(file,
            "spool:\n"
            "  path: \"%s\"\n"
            "  segment_bytes: 256KiB\n"
            "sinks:\n"
            "  file:\n"
            "    type: file\n"
            "    path: \"%s\"\n"
            "    template: \"{container_id}.ndjson\"\n"
            "    retry.interval: 20ms\n",
            d->spool_dir, d->world->out_dir);
    write_remote(file, d, DELIVERY_LOKI);
    fputs("    labels: \"job=ringtail,container={container_id_short},stream={stream}\"\n"
          "    metadata: \"container_id={container_id}\"\n",
          file);
    write_remote(file, d, DELIVERY_ELASTIC);
    assert_int_equal(0, fclose(file));
}

void delivery_run_how(struct delivery *d, const char *const *args)
{
    const char *all[50] = {
        "run",
        "--config",
        d->config,
        "--engine",
        sim_url(d->world->sim),
        "--set",
        "engine.reconnect_min=10ms",
        "--set",
        "engine.reconnect_max=200ms",
        "--set",
        "discovery.resync_interval=200ms",
        "--set",
        "stream.since=all",
        "--set",
        "positions.interval=10ms",
        "--set",
        "log.level=debug",
        "--set",
        "admin.port=0",
    };
    size_t count = 0;

    write_config(d);
    while (all[count])
        count++;
    for (size_t i = 0; args[i]; i++) {
        assert_true(count < ARRAY_SIZE(all) - 1);
        all[count++] = args[i];
    }
    world_command_how(d->world, &(struct ringtail_how){.args = all});
}

/* ---- receivers ---- */

void delivery_tell(struct delivery *d, enum delivery_sink sink, const char *path, const char *json)
{
    assert_int_equal(200, receiver_command(&d->receivers[sink], path, json));
}

static yyjson_doc *read_stats(struct delivery *d, enum delivery_sink sink)
{
    struct buf page = {0};
    yyjson_doc *doc;

    assert_int_equal(200, receiver_get(&d->receivers[sink], "/stats", &page));
    doc = yyjson_read(page.data, page.len, 0);
    assert_non_null(doc);
    buf_finish(&page);
    return doc;
}

int64_t delivery_stat(struct delivery *d, enum delivery_sink sink, const char *name)
{
    yyjson_doc *doc = read_stats(d, sink);
    int64_t value = yyjson_get_sint(yyjson_obj_get(yyjson_doc_get_root(doc), name));

    yyjson_doc_free(doc);
    return value;
}

static void check_violations(struct delivery *d, enum delivery_sink sink)
{
    yyjson_doc *doc = read_stats(d, sink);
    yyjson_val *list = yyjson_obj_get(yyjson_doc_get_root(doc), "violations");

    if (yyjson_arr_size(list) > 0)
        world_fail(d->world, "%s complains: %s", sinks[sink].name,
                   yyjson_get_str(yyjson_arr_get_first(list)));
    yyjson_doc_free(doc);
}

/* How far a container's stream has been looked for in the ledger. */
struct progress {
    const struct sim_container *container;
    enum sim_stream stream;
    size_t next;
};

enum { STREAMS_MAX = 64 };

static struct progress *progress_of(struct progress *all, const struct ledger *l,
                                    const char *container_id, const char *stream_name)
{
    enum sim_stream stream = strcmp(stream_name, "stderr") == 0 ? SIM_STDERR : SIM_STDOUT;
    struct ledger_line line;
    size_t i = 0;

    for (; i < STREAMS_MAX && all[i].container; i++)
        if (all[i].stream == stream &&
            strcmp(sim_container_id(all[i].container), container_id) == 0)
            return &all[i];
    for (size_t n = 0; i < STREAMS_MAX && ledger_line(l, n, &line); n++)
        if (strcmp(sim_container_id(line.container), container_id) == 0) {
            all[i] = (struct progress){.container = line.container, .stream = stream};
            return &all[i];
        }
    return NULL;
}

/* Loki has one entry for lines that are equal in everything. */
static bool is_equal_to_one_before(const struct ledger *l, size_t n, const struct ledger_line *line)
{
    struct ledger_line before;

    while (n-- > 0 && ledger_line(l, n, &before) && before.ts_ns == line->ts_ns)
        if (before.container == line->container && before.stream == line->stream &&
            slice_eq(before.bytes, line->bytes))
            return true;
    return false;
}

/* The nth line of the ledger. */
static bool is_expected(const struct delivery *d, enum delivery_sink sink, size_t n,
                        const struct ledger_line *line)
{
    if (sink == DELIVERY_LOKI && is_equal_to_one_before(d->ledger, n, line))
        return false;
    return !d->left_out ||
           !memmem(line->bytes.data, line->bytes.len, d->left_out, strlen(d->left_out));
}

static size_t count_expected(const struct delivery *d, enum delivery_sink sink)
{
    struct ledger_line line;
    size_t count = 0;

    for (size_t n = 0; ledger_line(d->ledger, n, &line); n++)
        count += is_expected(d, sink, n, &line);
    return count;
}

/* Moves on to the line that was taken; false: it was never said, or comes at the wrong place. */
static bool move_on(struct delivery *d, enum delivery_sink sink, struct progress *p, int64_t ts_ns,
                    const char *text, size_t len)
{
    struct ledger_line line;

    while (ledger_line(d->ledger, p->next, &line)) {
        p->next++;
        if (line.container == p->container && line.stream == p->stream && line.ts_ns == ts_ns &&
            line.bytes.len == len && memcmp(line.bytes.data, text, len) == 0)
            return is_expected(d, sink, p->next - 1, &line);
    }
    return false;
}

static void take_line(struct delivery *d, enum delivery_sink sink, struct progress *all,
                      const char *text, size_t len)
{
    yyjson_doc *doc = yyjson_read(text, len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc), *line = yyjson_arr_get(root, 3);
    struct progress *p;

    assert_true(yyjson_arr_size(root) == 4 && yyjson_is_str(line));
    p = progress_of(all, d->ledger, yyjson_get_str(yyjson_arr_get(root, 0)),
                    yyjson_get_str(yyjson_arr_get(root, 1)));
    if (!p || !move_on(d, sink, p, yyjson_get_sint(yyjson_arr_get(root, 2)), yyjson_get_str(line),
                       yyjson_get_len(line)))
        world_fail(d->world, "%s has taken what was not said, or not there: %.*s", sinks[sink].name,
                   (int)len, text);
    yyjson_doc_free(doc);
}

size_t delivery_lacks(struct delivery *d, enum delivery_sink sink)
{
    struct progress all[STREAMS_MAX] = {0};
    struct buf page = {0};
    struct slice rest;
    size_t expected = count_expected(d, sink), taken = 0;

    check_violations(d, sink);
    assert_int_equal(200, receiver_get(&d->receivers[sink], "/taken", &page));
    rest = buf_slice(&page);
    while (rest.len > 0) {
        const char *end = memchr(rest.data, '\n', rest.len);

        assert_non_null(end);
        take_line(d, sink, all, rest.data, (size_t)(end - rest.data));
        rest = slice_from(rest, (size_t)(end + 1 - rest.data));
        taken++;
    }
    buf_finish(&page);
    assert_true(taken <= expected);
    return expected - taken;
}

/* ---- waiting ---- */

struct wanted {
    struct delivery *delivery;
    enum delivery_sink sink;
    const char *beginning;
    double least, most, last;
};

static bool has_all(struct world *w, void *ctx)
{
    struct wanted *wanted = ctx;

    (void)w;
    return delivery_stat(wanted->delivery, wanted->sink, "accepted") >=
           (int64_t)count_expected(wanted->delivery, wanted->sink);
}

void delivery_wait(struct delivery *d, enum delivery_sink sink)
{
    char what[64];

    snprintf(what, sizeof what, "every line at %s", sinks[sink].name);
    world_wait(d->world, what, has_all, &(struct wanted){.delivery = d, .sink = sink});
    assert_int_equal(0, delivery_lacks(d, sink));
}

static bool is_within(struct world *w, void *ctx)
{
    struct wanted *wanted = ctx;

    wanted->last = books_sum(w, wanted->beginning);
    return wanted->last >= wanted->least && wanted->last <= wanted->most;
}

void delivery_wait_sum(struct delivery *d, const char *beginning, double least, double most)
{
    char what[256];

    snprintf(what, sizeof what, "%s of %.0f to %.0f", beginning, least, most);
    world_wait(d->world, what, is_within,
               &(struct wanted){.beginning = beginning, .least = least, .most = most});
}

void delivery_wait_all(struct delivery *d)
{
    ledger_wait(d->ledger);
    for (enum delivery_sink i = 0; i < DELIVERY_SINKS; i++)
        delivery_wait(d, i);
    delivery_wait_sum(d, "records_queued{", 0, 0);
    delivery_wait_sum(d, "records_spooled{", 0, 0);
}

void delivery_stop(struct delivery *d)
{
    ledger_stop(d->ledger);
    for (enum delivery_sink i = 0; i < DELIVERY_SINKS; i++)
        if (delivery_lacks(d, i) > 0)
            world_fail(d->world, "%s has not got every line", sinks[i].name);
}
