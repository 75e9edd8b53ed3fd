/*
 * What is done to a line's bytes: its timestamp read, its fingerprint taken, its text escaped, and
 * the whole record encoded.
 */
#include <string.h>

#include <yyjson.h>

#include "ringtail/base/hash.h"
#include "ringtail/base/json.h"
#include "ringtail/base/timestamp.h"
#include "ringtail/record/batch.h"
#include "ringtail/record/ndjson.h"

#include "bench.h"
#include "corpus.h"

/* Where the sink begins its next chunk. */
#define CHUNK_BYTES ((size_t)65536)

static struct wire *open_wire(struct bench_job *job)
{
    job->units = CORPUS_LINES;
    return wire_create((enum corpus_kind)job->bench->variant);
}

/* ---- timestamps ---- */

static void timestamp_open(struct bench_job *job)
{
    job->state = open_wire(job);
    job->bytes = (uint64_t)CORPUS_LINES * (TIMESTAMP_LEN + 1);
}

static void timestamp_check(struct bench_job *job)
{
    const struct wire *w = job->state;

    for (size_t i = 0; i < CORPUS_LINES; i++) {
        int64_t ns = 0;

        bench_require(timestamp_parse_prefix(w->records[i].payload, &ns) == TIMESTAMP_LEN + 1);
        bench_require(ns == w->records[i].ts_ns);
    }
}

static void timestamp_pass(struct bench_job *job)
{
    const struct wire *w = job->state;

    for (size_t i = 0; i < CORPUS_LINES; i++) {
        int64_t ns = 0;
        int skip = timestamp_parse_prefix(w->records[i].payload, &ns);

        bench_keep(ns + skip);
    }
}

static void on_wire_go_on(struct bench_job *job)
{
    wire_go_on(job->state);
}

static void close_wire(struct bench_job *job)
{
    wire_destroy(job->state);
}

/* ---- fingerprints ---- */

static void fingerprint_open(struct bench_job *job)
{
    const struct wire *w = job->state = open_wire(job);

    job->bytes = w->corpus->bytes + CORPUS_LINES;
}

static void fingerprint_check(struct bench_job *job)
{
    const struct wire *w = job->state;

    for (size_t i = 0; i < CORPUS_LINES; i++) {
        struct hash_stream h;

        hash_stream_init(&h, w->records[i].stream);
        hash_stream_feed(&h, w->records[i].text);
        bench_require(hash_bytes(w->records[i].text, w->records[i].stream) ==
                      hash_stream_value(&h));
    }
}

static void fingerprint_pass(struct bench_job *job)
{
    const struct wire *w = job->state;

    for (size_t i = 0; i < CORPUS_LINES; i++)
        bench_keep(hash_bytes(w->records[i].text, w->records[i].stream));
}

/* ---- escaping ---- */

struct escaping {
    struct corpus *corpus;
    char *out;
};

static void escape_open(struct bench_job *job)
{
    struct escaping *e = job->state = bench_alloc(1, sizeof *e);

    e->corpus = corpus_create((enum corpus_kind)job->bench->variant);
    e->out = bench_alloc(1, CHUNK_BYTES + JSON_ESCAPED_MAX(CHUNK_BYTES) + 16);
    job->units = CORPUS_LINES;
    job->bytes = e->corpus->bytes;
}

static void escape_check(struct bench_job *job)
{
    const struct escaping *e = job->state;

    for (size_t i = 0; i < CORPUS_LINES; i++) {
        struct slice line = e->corpus->lines[i];
        char *end = e->out + 1;
        yyjson_doc *doc;

        e->out[0] = '"';
        end = json_escape(end, line);
        *end++ = '"';
        doc = yyjson_read(e->out, (size_t)(end - e->out), 0);
        bench_require(doc && yyjson_get_len(yyjson_doc_get_root(doc)) == line.len);
        bench_require(memcmp(yyjson_get_str(yyjson_doc_get_root(doc)), line.data, line.len) == 0);
        yyjson_doc_free(doc);
    }
}

static void escape_pass(struct bench_job *job)
{
    const struct escaping *e = job->state;
    char *end = e->out;

    for (size_t i = 0; i < CORPUS_LINES; i++) {
        if (end > e->out + CHUNK_BYTES)
            end = e->out;
        end = json_escape(end, e->corpus->lines[i]);
    }
    bench_keep(end);
}

static void escape_close(struct bench_job *job)
{
    struct escaping *e = job->state;

    corpus_destroy(e->corpus);
    free(e->out);
    free(e);
}

/* ---- records ---- */

struct encoding {
    struct wire *wire;
    struct source *source;
    struct record records[CORPUS_LINES];
    struct buf out;
};

static void ndjson_prepare(struct bench_job *job)
{
    struct encoding *e = job->state;

    wire_go_on(e->wire);
    for (size_t i = 0; i < CORPUS_LINES; i++)
        e->records[i].ts_ns = e->wire->records[i].ts_ns;
}

static void ndjson_open(struct bench_job *job)
{
    struct encoding *e = job->state = bench_alloc(1, sizeof *e);

    e->wire = open_wire(job);
    job->bytes = e->wire->corpus->bytes;
    e->source = source_create(
        slice_str("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
        slice_str("shop-frontend-1"), slice_str("registry.example/shop/frontend:1.2"));
    bench_require(e->source);
    for (size_t i = 0; i < CORPUS_LINES; i++) {
        struct slice line = e->wire->corpus->lines[i];

        e->records[i] = (struct record){
            .data = line.data,
            .source = e->source,
            .len = (uint32_t)line.len,
            .stream = (uint8_t)e->wire->records[i].stream,
        };
    }
}

static bool text_is(yyjson_val *root, const char *key, struct slice text)
{
    yyjson_val *v = yyjson_obj_get(root, key);

    return yyjson_is_str(v) && slice_eq(slice_of(yyjson_get_str(v), yyjson_get_len(v)), text);
}

static void ndjson_check(struct bench_job *job)
{
    struct encoding *e = job->state;

    for (size_t i = 0; i < CORPUS_LINES; i++) {
        const struct record *r = &e->records[i];
        char stamp[TIMESTAMP_LEN];
        yyjson_doc *doc;
        yyjson_val *root;

        buf_reset(&e->out);
        bench_require(ndjson_append(&e->out, r) == 0);
        bench_require(e->out.data[e->out.len - 1] == '\n');
        doc = yyjson_read(e->out.data, e->out.len - 1, 0);
        root = yyjson_doc_get_root(doc);
        timestamp_format(stamp, r->ts_ns);
        bench_require(text_is(root, "ts", slice_of(stamp, sizeof stamp)));
        bench_require(
            text_is(root, "stream", slice_str(r->stream == RECORD_STDERR ? "stderr" : "stdout")));
        bench_require(text_is(root, "container_id", e->source->id));
        bench_require(text_is(root, "line", slice_of(r->data, r->len)));
        yyjson_doc_free(doc);
    }
}

static void ndjson_pass(struct bench_job *job)
{
    struct encoding *e = job->state;

    for (size_t i = 0; i < CORPUS_LINES; i++) {
        if (e->out.len > CHUNK_BYTES)
            buf_reset(&e->out);
        (void)ndjson_append(&e->out, &e->records[i]); /* the check has shown that it has room */
    }
    bench_keep(e->out.len);
}

static void ndjson_close(struct bench_job *job)
{
    struct encoding *e = job->state;

    wire_destroy(e->wire);
    source_unref(e->source);
    buf_finish(&e->out);
    free(e);
}

#define ESCAPE(suffix, corpus)                                                                     \
    {                                                                                              \
        .name = "escape-" suffix, .unit = "line", .variant = corpus, .open = escape_open,          \
        .check = escape_check, .pass = escape_pass, .close = escape_close                          \
    }
#define NDJSON(suffix, corpus)                                                                     \
    {                                                                                              \
        .name = "ndjson-" suffix, .unit = "line", .variant = corpus, .open = ndjson_open,          \
        .check = ndjson_check, .prepare = ndjson_prepare, .pass = ndjson_pass,                     \
        .close = ndjson_close                                                                      \
    }

const struct bench bench_text[] = {
    {
        .name = "timestamp",
        .unit = "line",
        .variant = CORPUS_MIXED,
        .open = timestamp_open,
        .check = timestamp_check,
        .prepare = on_wire_go_on,
        .pass = timestamp_pass,
        .close = close_wire,
    },
    {
        .name = "fingerprint",
        .unit = "line",
        .variant = CORPUS_MIXED,
        .open = fingerprint_open,
        .check = fingerprint_check,
        .pass = fingerprint_pass,
        .close = close_wire,
    },
    ESCAPE("plain", CORPUS_PLAIN),
    ESCAPE("plain-one", CORPUS_PLAIN_ONE),
    ESCAPE("quotes", CORPUS_QUOTES),
    ESCAPE("quotes-one", CORPUS_QUOTES_ONE),
    ESCAPE("json", CORPUS_JSON),
    NDJSON("plain", CORPUS_PLAIN),
    NDJSON("plain-one", CORPUS_PLAIN_ONE),
    NDJSON("quotes", CORPUS_QUOTES),
    NDJSON("quotes-one", CORPUS_QUOTES_ONE),
    NDJSON("json", CORPUS_JSON),
    NDJSON("mixed", CORPUS_MIXED),
    {0},
};
