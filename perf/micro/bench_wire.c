/*
 * The steps of a line's way one by one, each fed with what the step before it would give: chunks,
 * frames, parts, the splice, lines, batches.
 */
#include <string.h>

#include "ringtail/base/hash.h"
#include "ringtail/base/macros.h"
#include "ringtail/docker/frame.h"
#include "ringtail/io/http_reader.h"
#include "ringtail/record/batch.h"
#include "ringtail/record/line.h"
#include "ringtail/record/part.h"
#include "ringtail/record/splice.h"

#include "bench.h"
#include "corpus.h"

#define HEAD_BYTES_MAX 65536
#define FRAME_BYTES_MAX 65536
#define LINE_BYTES_MAX ((size_t)1 << 20)
#define MARKS_MAX 1024
#define BATCH_BYTES ((size_t)256 * 1024)
#define SOURCES 50
/* So many lines of one container come together. */
#define BURST_LINES 16
/* A long line as the Engine cuts it. */
#define PART_BYTES 16384
#define LONG_LINES 64
#define LONG_BYTES 40000
#define LONG_PARTS 3

static struct wire *open_wire(struct bench_job *job)
{
    struct wire *w = wire_create((enum corpus_kind)job->bench->variant);

    job->units = CORPUS_LINES;
    job->bytes = w->len;
    return w;
}

/* ---- chunks ---- */

static const char head[] = "HTTP/1.1 200 OK\r\n"
                           "Api-Version: 1.51\r\n"
                           "Content-Type: application/vnd.docker.multiplexed-stream\r\n"
                           "Docker-Experimental: false\r\n"
                           "Ostype: linux\r\n"
                           "Server: Docker/28.5.2 (linux)\r\n"
                           "Date: Sat, 03 Jan 2026 10:00:00 GMT\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n";

struct chunks {
    struct wire *wire;
    struct http_reader reader;
    uint64_t body_bytes;
    struct buf *body; /* while checking: what came */
};

static int chunks_on_head(void *ctx, const struct http_head *h)
{
    return h->status == 200 ? 0 : -1;
}

static int chunks_on_body(void *ctx, struct slice span, unsigned flags)
{
    struct chunks *c = ctx;

    c->body_bytes += span.len;
    return c->body ? buf_append_slice(c->body, span) : 0;
}

static const struct http_reader_handlers chunks_handlers = {.on_head = chunks_on_head,
                                                            .on_body = chunks_on_body};

static void http_open_bench(struct bench_job *job)
{
    struct chunks *c = job->state = bench_alloc(1, sizeof *c);

    c->wire = open_wire(job);
    http_reader_init(&c->reader, &chunks_handlers, c, HEAD_BYTES_MAX, false);
    bench_require(http_reader_feed(&c->reader, slice_str(head)) == 0);
}

static void http_pass(struct bench_job *job)
{
    struct chunks *c = job->state;

    for (size_t at = 0; at < c->wire->len; at += CORPUS_RECEIVE_BYTES)
        bench_require(http_reader_feed(&c->reader, wire_receive(c->wire, at)) == 0);
    bench_keep(c->body_bytes);
}

static void http_check(struct bench_job *job)
{
    struct chunks *c = job->state;
    struct buf body = {0};
    size_t at = 0;

    c->body = &body;
    http_pass(job);
    c->body = NULL;
    for (size_t i = 0; i < CORPUS_LINES; i++) {
        size_t len = 8 + c->wire->records[i].payload.len;

        bench_require(body.len - at >= len);
        bench_require(memcmp(body.data + at, c->wire->records[i].frame, len) == 0);
        at += len;
    }
    bench_require(at == body.len);
    buf_finish(&body);
}

static void http_close_bench(struct bench_job *job)
{
    struct chunks *c = job->state;

    wire_destroy(c->wire);
    free(c);
}

/* ---- frames ---- */

struct frames {
    struct wire *wire;
    struct frame_reader reader;
    struct slice *spans; /* the body as the chunk reader gives it: frames, cut where receives end */
    size_t spans_count;
    uint64_t pieces, bytes, wrong;
    bool checking;
    size_t at; /* while checking: the record, and how much of it has come */
    size_t at_bytes;
};

static int frames_on_piece(void *ctx, enum frame_stream stream, struct slice piece, unsigned flags)
{
    struct frames *f = ctx;

    f->pieces++;
    f->bytes += piece.len;
    if (f->checking) {
        const struct wire_record *r = &f->wire->records[f->at];
        bool same = stream == r->stream && (f->at_bytes == 0) == ((flags & FRAME_BEGIN) != 0) &&
                    f->at_bytes + piece.len <= r->payload.len &&
                    memcmp(r->payload.data + f->at_bytes, piece.data, piece.len) == 0;

        f->wrong += !same;
        f->at_bytes += piece.len;
        if (flags & FRAME_END) {
            f->wrong += f->at_bytes != r->payload.len;
            f->at++;
            f->at_bytes = 0;
        }
    }
    return 0;
}

static void add_span(struct frames *f, const char *from, const char *to)
{
    const char *begin = f->wire->bytes;

    while (from < to) {
        size_t receive = (size_t)(from - begin) / CORPUS_RECEIVE_BYTES;
        const char *cut = begin + (receive + 1) * CORPUS_RECEIVE_BYTES;
        const char *end = MIN(to, cut);

        f->spans[f->spans_count++] = slice_of(from, (size_t)(end - from));
        from = end;
    }
}

static void frame_open(struct bench_job *job)
{
    struct frames *f = job->state = bench_alloc(1, sizeof *f);

    f->wire = open_wire(job);
    f->reader =
        (struct frame_reader){.on_piece = frames_on_piece, .ctx = f, .size_max = FRAME_BYTES_MAX};
    f->spans = bench_alloc(CORPUS_LINES * 2, sizeof *f->spans);
    for (size_t i = 0; i < CORPUS_LINES; i++) {
        const struct wire_record *r = &f->wire->records[i];

        add_span(f, r->frame, r->payload.data + r->payload.len);
    }
}

static void frame_pass(struct bench_job *job)
{
    struct frames *f = job->state;

    for (size_t i = 0; i < f->spans_count; i++)
        bench_require(frame_reader_feed(&f->reader, f->spans[i]) == 0);
    bench_keep(f->bytes);
}

static void frame_check(struct bench_job *job)
{
    struct frames *f = job->state;

    f->checking = true;
    frame_pass(job);
    f->checking = false;
    bench_require(f->wrong == 0 && f->at == CORPUS_LINES);
    bench_require(frame_reader_is_whole(&f->reader));
}

static void frame_close(struct bench_job *job)
{
    struct frames *f = job->state;

    wire_destroy(f->wire);
    free(f->spans);
    free(f);
}

/* ---- parts ---- */

struct parts {
    struct wire *wire;
    struct part_reader reader;
    struct part last;
    uint64_t count;
    bool checking;
};

static int parts_on_part(void *ctx, struct part *part)
{
    struct parts *p = ctx;

    if (p->checking) {
        const struct wire_record *r = &p->wire->records[p->count];

        bench_require(part->ts_ns == r->ts_ns && slice_eq(part->text, r->text));
        bench_require((unsigned)part->stream == r->stream);
    }
    p->count++;
    bench_keep(part->fingerprint);
    return 0;
}

static void part_open(struct bench_job *job)
{
    struct parts *p = job->state = bench_alloc(1, sizeof *p);

    p->wire = open_wire(job);
    p->reader =
        (struct part_reader){.on_part = parts_on_part, .ctx = p, .size_max = FRAME_BYTES_MAX};
}

static void part_prepare(struct bench_job *job)
{
    wire_go_on(((struct parts *)job->state)->wire);
}

static void part_pass(struct bench_job *job)
{
    struct parts *p = job->state;

    for (size_t i = 0; i < CORPUS_LINES; i++) {
        const struct wire_record *r = &p->wire->records[i];

        bench_require(part_reader_feed(&p->reader, (enum record_stream)r->stream, r->payload,
                                       PART_BEGIN | PART_END) == 0);
    }
}

static void part_check(struct bench_job *job)
{
    struct parts *p = job->state;

    p->checking = true;
    part_pass(job);
    p->checking = false;
    bench_require(p->count == CORPUS_LINES);
}

static void part_close(struct bench_job *job)
{
    struct parts *p = job->state;

    part_reader_finish(&p->reader);
    wire_destroy(p->wire);
    free(p);
}

/* ---- what works on parts ---- */

/** The parts of all records, as the part reader gives them. */
static void parts_fill(const struct wire *w, struct part *parts)
{
    for (size_t i = 0; i < CORPUS_LINES; i++) {
        const struct wire_record *r = &w->records[i];

        parts[i] = (struct part){
            .ts_ns = r->ts_ns,
            .fingerprint = hash_bytes(r->text, r->stream),
            .text = r->text,
            .stream = (enum record_stream)r->stream,
        };
    }
}

struct splicing {
    struct wire *wire;
    struct part parts[CORPUS_LINES];
    struct splice_history history;
    struct splice_cursor cursor;
    uint64_t delivered;
};

static void splice_open(struct bench_job *job)
{
    struct splicing *s = job->state = bench_alloc(1, sizeof *s);

    s->wire = open_wire(job);
    job->bytes = 0;
    parts_fill(s->wire, s->parts);
    s->history = (struct splice_history){
        .marks_max = MARKS_MAX, .floor_ns = INT64_MIN, .floor_is_far = true};
    splice_cursor_init(&s->cursor, 0);
}

static void splice_prepare(struct bench_job *job)
{
    struct splicing *s = job->state;

    wire_go_on(s->wire);
    for (size_t i = 0; i < CORPUS_LINES; i++)
        s->parts[i].ts_ns = s->wire->records[i].ts_ns;
}

static void splice_pass(struct bench_job *job)
{
    struct splicing *s = job->state;

    for (size_t i = 0; i < CORPUS_LINES; i++) {
        if (splice_judge(&s->history, &s->cursor, &s->parts[i]) != SPLICE_DELIVER)
            continue;
        s->parts[i].ordinal = splice_ordinal(&s->history, &s->cursor, &s->parts[i]);
        splice_delivered(&s->history, &s->cursor, &s->parts[i]);
        s->delivered++;
    }
}

static void splice_check(struct bench_job *job)
{
    struct splicing *s = job->state;
    const struct splice_mark *last;

    splice_pass(job);
    bench_require(s->delivered == CORPUS_LINES && s->history.next == CORPUS_LINES);
    bench_require(s->history.next - s->history.first == MARKS_MAX && s->history.repeated == 0);
    last = splice_mark(&s->history, s->history.next - 1);
    bench_require(last->ts_ns == s->wire->records[CORPUS_LINES - 1].ts_ns);
}

static void splice_close(struct bench_job *job)
{
    struct splicing *s = job->state;

    splice_history_finish(&s->history);
    wire_destroy(s->wire);
    free(s);
}

/* ---- lines ---- */

struct joining {
    struct wire *wire;
    struct part *parts;
    size_t parts_count;
    char *text;
    struct line_joiner joiner;
    uint64_t lines, bytes;
    bool checking;
};

static int joining_on_line(void *ctx, const struct line *line)
{
    struct joining *j = ctx;

    if (j->checking) {
        struct slice wanted =
            j->text ? slice_of(j->text, LONG_BYTES) : j->wire->corpus->lines[j->lines];

        bench_require(slice_eq(line->bytes, wanted) && line->flags == 0);
    }
    j->lines++;
    j->bytes += line->bytes.len;
    return 0;
}

static void line_open_bench(struct bench_job *job)
{
    struct joining *j = job->state = bench_alloc(1, sizeof *j);

    j->wire = open_wire(job);
    job->bytes = j->wire->corpus->bytes;
    j->parts_count = CORPUS_LINES;
    j->parts = bench_alloc(j->parts_count, sizeof *j->parts);
    parts_fill(j->wire, j->parts);
    j->joiner =
        (struct line_joiner){.on_line = joining_on_line, .ctx = j, .bytes_max = LINE_BYTES_MAX};
}

/* Every line comes in three parts. */
static void line_open_long(struct bench_job *job)
{
    struct joining *j;

    line_open_bench(job);
    j = job->state;
    j->text = bench_alloc(1, LONG_BYTES + 1);
    memset(j->text, 'x', LONG_BYTES);
    j->text[LONG_BYTES] = '\n';
    j->parts_count = (size_t)LONG_LINES * LONG_PARTS;
    for (size_t i = 0; i < j->parts_count; i++) {
        size_t at = i % LONG_PARTS * PART_BYTES;

        j->parts[i].ts_ns = (int64_t)(i / LONG_PARTS);
        j->parts[i].stream = RECORD_STDOUT;
        j->parts[i].text = slice_of(j->text + at, MIN((size_t)PART_BYTES, LONG_BYTES + 1 - at));
    }
    job->units = LONG_LINES;
    job->bytes = (uint64_t)LONG_LINES * LONG_BYTES;
}

static void line_pass(struct bench_job *job)
{
    struct joining *j = job->state;

    for (size_t i = 0; i < j->parts_count; i++)
        bench_require(line_joiner_feed(&j->joiner, &j->parts[i]) == 0);
    bench_keep(j->bytes);
}

static void line_check(struct bench_job *job)
{
    struct joining *j = job->state;

    j->checking = true;
    line_pass(job);
    j->checking = false;
    bench_require(j->lines == job->units);
}

static void line_close(struct bench_job *job)
{
    struct joining *j = job->state;

    line_joiner_finish(&j->joiner);
    wire_destroy(j->wire);
    free(j->parts);
    free(j->text);
    free(j);
}

/* ---- batches ---- */

struct batching {
    struct wire *wire;
    struct source *sources[SOURCES];
    uint64_t settled;
    bool checking;
};

static void batching_on_settled(void *ctx, struct batch *b)
{
    struct batching *g = ctx;

    for (size_t i = 0; g->checking && i < b->count; i++) {
        const struct record *r = &b->records[i];

        bench_require(slice_eq(slice_of(r->data, r->len), g->wire->corpus->lines[g->settled + i]));
        bench_require(r->source == g->sources[(g->settled + i) / BURST_LINES % SOURCES]);
    }
    g->settled += b->count;
}

static void batch_open(struct bench_job *job)
{
    struct batching *g = job->state = bench_alloc(1, sizeof *g);

    g->wire = open_wire(job);
    job->bytes = g->wire->corpus->bytes;
    for (size_t i = 0; i < SOURCES; i++) {
        char id[SOURCE_ID_LEN + 1], name[32];

        (void)snprintf(id, sizeof id, "%064zx", i);
        (void)snprintf(name, sizeof name, "container-%zu", i);
        g->sources[i] = source_create(slice_str(id), slice_str(name), slice_str("image:latest"));
        bench_require(g->sources[i]);
    }
}

static void batch_pass(struct bench_job *job)
{
    struct batching *g = job->state;
    struct batch *b = NULL;

    for (size_t i = 0; i < CORPUS_LINES; i++) {
        const struct wire_record *r = &g->wire->records[i];

        if (!b)
            b = batch_create(batching_on_settled, g);
        bench_require(b);
        bench_require(batch_append(b, g->sources[i / BURST_LINES % SOURCES],
                                   (enum record_stream)r->stream, r->ts_ns, 0,
                                   g->wire->corpus->lines[i]) == 0);
        if (b->bytes >= BATCH_BYTES)
            b = batch_unref(b);
    }
    batch_unref(b);
}

static void batch_check(struct bench_job *job)
{
    struct batching *g = job->state;

    g->checking = true;
    batch_pass(job);
    g->checking = false;
    bench_require(g->settled == CORPUS_LINES);
}

static void batch_close(struct bench_job *job)
{
    struct batching *g = job->state;

    for (size_t i = 0; i < SOURCES; i++)
        source_unref(g->sources[i]);
    wire_destroy(g->wire);
    free(g);
}

#define HTTP(bench_name, corpus)                                                                   \
    {                                                                                              \
        .name = bench_name, .unit = "line", .variant = corpus, .open = http_open_bench,            \
        .check = http_check, .pass = http_pass, .close = http_close_bench                          \
    }
#define FRAME(bench_name, corpus)                                                                  \
    {                                                                                              \
        .name = bench_name, .unit = "line", .variant = corpus, .open = frame_open,                 \
        .check = frame_check, .pass = frame_pass, .close = frame_close                             \
    }

const struct bench bench_wire[] = {
    HTTP("http", CORPUS_MIXED),
    HTTP("http-one", CORPUS_PLAIN_ONE),
    FRAME("frame", CORPUS_MIXED),
    FRAME("frame-one", CORPUS_PLAIN_ONE),
    {
        .name = "part",
        .unit = "line",
        .variant = CORPUS_MIXED,
        .open = part_open,
        .check = part_check,
        .prepare = part_prepare,
        .pass = part_pass,
        .close = part_close,
    },
    {
        .name = "splice",
        .unit = "line",
        .variant = CORPUS_MIXED,
        .open = splice_open,
        .check = splice_check,
        .prepare = splice_prepare,
        .pass = splice_pass,
        .close = splice_close,
    },
    {
        .name = "line",
        .unit = "line",
        .variant = CORPUS_MIXED,
        .open = line_open_bench,
        .check = line_check,
        .pass = line_pass,
        .close = line_close,
    },
    {
        .name = "line-long",
        .unit = "line",
        .variant = CORPUS_MIXED,
        .open = line_open_long,
        .check = line_check,
        .pass = line_pass,
        .close = line_close,
    },
    {
        .name = "batch",
        .unit = "line",
        .variant = CORPUS_MIXED,
        .open = batch_open,
        .check = batch_check,
        .pass = batch_pass,
        .close = batch_close,
    },
    {0},
};
