/*
 * The whole way of a line in user space: bytes as the ring receives them, through the real
 * exchange, stream, container and gathering, to a buffer of NDJSON. Batches are handed over after
 * each receive, as at the end of a pass of the ring.
 */
#include <string.h>

#include <yyjson.h>

#include "ringtail/base/macros.h"

#include "perf/micro/bench.h"
#include "perf/micro/control/rig.h"
#include "perf/micro/corpus.h"
#include "perf/micro/fed_ring.h"

/* As much as a sink writes at once. */
#define CHUNK_BYTES ((size_t)256 * 1024)

static const char head[] = "HTTP/1.1 200 OK\r\n"
                           "Api-Version: 1.51\r\n"
                           "Content-Type: application/vnd.docker.multiplexed-stream\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n";

struct path {
    struct rig *rig;
    struct wire *wire;
    struct stream *stream;
    bool opened, placed;
};

static void on_open(void *ctx, struct stream *s)
{
    ((struct path *)ctx)->opened = true;
}

static void on_placed(void *ctx, struct stream *s)
{
    ((struct path *)ctx)->placed = true;
}

static void on_idle(void *ctx, struct stream *s)
{
}

static void on_end(void *ctx, struct stream *s, const struct stream_end *end)
{
    bench_require(end->kind == STREAM_CLOSED);
    ((struct path *)ctx)->stream = NULL;
}

static void path_open(struct bench_job *job)
{
    struct path *p = job->state = bench_alloc(1, sizeof *p);
    struct stream_events events = {
        .on_open = on_open,
        .on_placed = on_placed,
        .on_idle = on_idle,
        .on_end = on_end,
        .ctx = p,
    };
    struct stream_request request = {.follow = true};
    struct container *c;

    p->rig = rig_create(1, false);
    p->rig->encoded_bytes_kept = CHUNK_BYTES;
    c = p->rig->items[0];
    request.id = slice_str(c->id);
    bench_require(
        stream_open(&p->rig->engine, &request, &c->history, &c->joiner, &events, &p->stream) == 0);
    fed_ring_settle(p->rig->ring);
    fed_ring_feed(p->rig->ring, slice_str(head));
    fed_ring_settle(p->rig->ring);
    bench_require(p->opened);
    p->wire = wire_create((enum corpus_kind)job->bench->variant);
    job->units = CORPUS_LINES;
    job->bytes = p->wire->len;
}

static void path_prepare(struct bench_job *job)
{
    wire_go_on(((struct path *)job->state)->wire);
}

static void path_pass(struct bench_job *job)
{
    struct path *p = job->state;

    for (size_t at = 0; at < p->wire->len; at += CORPUS_RECEIVE_BYTES) {
        fed_ring_feed(p->rig->ring, wire_receive(p->wire, at));
        gather_hand_over(&p->rig->gather);
    }
}

static void check_line(const struct path *p, size_t number, struct slice json)
{
    yyjson_doc *doc = yyjson_read(json.data, json.len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    const struct wire_record *r = &p->wire->records[number];
    yyjson_val *line = yyjson_obj_get(root, "line");
    const char *stream = yyjson_get_str(yyjson_obj_get(root, "stream"));

    bench_require(yyjson_is_str(line) && stream);
    bench_require(slice_eq(slice_of(yyjson_get_str(line), yyjson_get_len(line)),
                           p->wire->corpus->lines[number]));
    bench_require(strcmp(stream, r->stream == RECORD_STDERR ? "stderr" : "stdout") == 0);
    yyjson_doc_free(doc);
}

static void path_check(struct bench_job *job)
{
    struct path *p = job->state;
    const struct gather *g = &p->rig->gather;
    const char *at, *end;
    size_t number = 0;

    p->rig->encoded_bytes_kept = SIZE_MAX;
    path_pass(job);
    p->rig->encoded_bytes_kept = CHUNK_BYTES;
    bench_require(p->placed && g->lines == CORPUS_LINES && g->lines_settled == CORPUS_LINES);
    at = p->rig->encoded.data;
    end = at + p->rig->encoded.len;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));

        bench_require(newline && number < CORPUS_LINES);
        check_line(p, number++, slice_of(at, (size_t)(newline - at)));
        at = newline + 1;
    }
    bench_require(number == CORPUS_LINES);
}

static void path_close(struct bench_job *job)
{
    struct path *p = job->state;

    stream_close(p->stream);
    fed_ring_settle(p->rig->ring);
    bench_require(!p->stream);
    rig_destroy(p->rig);
    wire_destroy(p->wire);
    free(p);
}

#define PATH(bench_name, corpus)                                                                   \
    {                                                                                              \
        .name = bench_name, .unit = "line", .variant = corpus, .open = path_open,                  \
        .check = path_check, .prepare = path_prepare, .pass = path_pass, .close = path_close       \
    }

const struct bench bench_path[] = {
    PATH("path", CORPUS_MIXED),
    PATH("path-plain", CORPUS_PLAIN),
    PATH("path-plain-one", CORPUS_PLAIN_ONE),
    PATH("path-json", CORPUS_JSON),
    {0},
};
