/*
 * What is done for each stream now and then, and not for each line: its position put down and saved
 * once a second, its metrics filled in and printed when somebody asks. A thousand streams each.
 */
#include <string.h>

#include <yyjson.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"

#include "perf/micro/bench.h"
#include "perf/micro/control/rig.h"
#include "perf/micro/fed_ring.h"

#define STREAMS 1000
#define MARKS 64
/* As a position keeps them, and each as its text. */
#define MARKS_SAVED 8
#define MARK_TEXT_BYTES 32

struct state {
    struct rig *rig;
    uint64_t marks;
    struct buf text;
};

/* A line came to each stream. */
static void state_prepare(struct bench_job *job)
{
    struct state *s = job->state;

    s->marks++;
    for (size_t i = 0; i < STREAMS; i++) {
        struct container *c = s->rig->items[i];
        struct splice_mark mark = {
            .ts_ns = (int64_t)s->marks,
            .fingerprint = s->marks * UINT64_C(0x9e3779b97f4a7c10),
        };

        c->lines++;
        bench_require(splice_restore(&c->history, &mark) == 0);
    }
    s->rig->gather.lines += STREAMS;
}

static void state_open(struct bench_job *job, bool with_positions)
{
    struct state *s = job->state = bench_alloc(1, sizeof *s);

    s->rig = rig_create(STREAMS, with_positions);
    job->units = STREAMS;
    for (size_t i = 0; i < MARKS; i++)
        state_prepare(job);
}

static void state_close(struct bench_job *job)
{
    struct state *s = job->state;

    rig_destroy(s->rig);
    buf_finish(&s->text);
    free(s);
}

/* ---- positions ---- */

static void positions_open_bench(struct bench_job *job)
{
    state_open(job, true);
}

static void put_pass(struct bench_job *job)
{
    struct state *s = job->state;

    containers_put_positions(&s->rig->containers);
}

static void save_pass(struct bench_job *job)
{
    struct state *s = job->state;

    positions_save_now(&s->rig->positions);
    fed_ring_settle(s->rig->ring);
}

static void save_check(struct bench_job *job)
{
    struct state *s = job->state;
    struct slice text;
    yyjson_doc *doc;
    yyjson_val *all, *v;
    size_t i, n;

    save_pass(job);
    bench_require(s->rig->positions.saves == 1 && positions_is_idle(&s->rig->positions));
    text = fed_ring_written(s->rig->ring);
    text = slice_from(text, (size_t)((const char *)memchr(text.data, '\n', text.len) - text.data));
    doc = yyjson_read(text.data, text.len, 0);
    all = yyjson_obj_get(yyjson_doc_get_root(doc), "containers");
    bench_require(yyjson_arr_size(all) == STREAMS);
    yyjson_arr_foreach(all, i, n, v)
    {
        const char *marks = yyjson_get_str(yyjson_obj_get(v, "marks"));
        char newest[17];

        (void)snprintf(newest, sizeof newest, "%016llx", (unsigned long long)s->marks);
        bench_require(marks && strlen(marks) == (size_t)MARKS_SAVED * MARK_TEXT_BYTES);
        bench_require(memcmp(marks + strlen(marks) - MARK_TEXT_BYTES, newest, 16) == 0);
    }
    yyjson_doc_free(doc);
}

/* ---- metrics ---- */

static void metrics_open_bench(struct bench_job *job)
{
    state_open(job, false);
    meters_fill(&((struct state *)job->state)->rig->meters,
                ((struct state *)job->state)->rig->meters.metrics);
}

static void fill_pass(struct bench_job *job)
{
    struct state *s = job->state;

    meters_fill(&s->rig->meters, s->rig->meters.metrics);
}

static void render_pass(struct bench_job *job)
{
    struct state *s = job->state;
    struct metrics_snapshot *snapshot = metrics_snapshot(s->rig->meters.metrics, clock_mono_ns());

    bench_require(snapshot);
    buf_reset(&s->text);
    bench_require(metrics_render(snapshot, &s->text) == 0);
    metrics_snapshot_destroy(snapshot);
}

/** Every container has its line, with the number of lines that it has. */
static void metrics_check(struct bench_job *job)
{
    struct state *s = job->state;
    const char *name = metric_table[METRIC_CONTAINER_LINES].name;

    fill_pass(job);
    render_pass(job);
    bench_require(buf_cstr(&s->text));
    for (size_t i = 0; i < STREAMS; i++) {
        const struct container *c = s->rig->items[i];
        char line[256];

        (void)snprintf(line, sizeof line, "\n%s{container_id=\"%s\",container_name=\"%s\"} %llu\n",
                       name, c->id_short, c->name, (unsigned long long)c->lines);
        bench_require(strstr(s->text.data, line));
    }
    job->bytes = job->bench->pass == render_pass ? s->text.len : 0;
}

const struct bench bench_state[] = {
    {
        .name = "positions-put",
        .unit = "stream",
        .open = positions_open_bench,
        .check = save_check,
        .prepare = state_prepare,
        .pass = put_pass,
        .close = state_close,
    },
    {
        .name = "positions-save",
        .unit = "stream",
        .open = positions_open_bench,
        .check = save_check,
        .prepare = state_prepare,
        .pass = save_pass,
        .close = state_close,
    },
    {
        .name = "metrics-fill",
        .unit = "stream",
        .open = metrics_open_bench,
        .check = metrics_check,
        .prepare = state_prepare,
        .pass = fill_pass,
        .close = state_close,
    },
    {
        .name = "metrics-render",
        .unit = "stream",
        .open = metrics_open_bench,
        .check = metrics_check,
        .prepare = state_prepare,
        .pass = render_pass,
        .close = state_close,
    },
    {0},
};
