/*
 * Every recorded log reply, through the readers as control/stream.c puts them together: it yields
 * exactly the records that are expected, however the bytes are cut.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <yyjson.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"
#include "ringtail/docker/frame.h"
#include "ringtail/docker/tty.h"
#include "ringtail/io/http_reader.h"
#include "ringtail/record/line.h"
#include "ringtail/record/part.h"

#define ENGINES_COUNT 3
#define RECORDINGS_MAX 32
#define RECORDS_MAX 64
#define HEAD_BYTES_MAX 65536
#define FRAME_BYTES_MAX 65536
#define LINE_BYTES_MAX (1u << 20)
/* Recordings up to here are cut at every offset; longer ones so near their ends, and between. */
#define SMALL_BYTES 4096
#define STRIDE 7

static const char *const engines[ENGINES_COUNT] = {"docker-20.10.24", "docker-26.1.5",
                                                   "docker-28.5.2"};

struct expected {
    char ts[TIMESTAMP_LEN];
    struct slice line; /* in the document, or decoded into memory of our own */
    bool decoded;
};

struct recording {
    char name[128];
    bool tty, drops_newline, ends_early;
    struct buf bytes;
    size_t body_at;   /* behind the head */
    struct buf plain; /* the body without its chunks; empty where it had none */
    yyjson_doc *docs[RECORDS_MAX];
    size_t docs_count;
    struct expected records[2][RECORDS_MAX]; /* stdout, stderr */
    size_t counts[2];
};

static struct recording recordings[ENGINES_COUNT][RECORDINGS_MAX];
static size_t recordings_count[ENGINES_COUNT];

/* ---- loading ---- */

static bool file_read(struct buf *b, const char *path)
{
    FILE *file = fopen(path, "re");
    size_t n;

    if (!file)
        return false;
    do {
        assert_int_equal(0, buf_reserve(b, 65536));
        n = fread(b->data + b->len, 1, b->cap - b->len, file);
        b->len += n;
    } while (n > 0);
    assert_int_equal(0, fclose(file));
    return true;
}

static struct slice base64_decode(struct slice in)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = malloc(in.len + 1);
    uint32_t bits = 0;
    size_t len = 0, held = 0;

    assert_non_null(out);
    for (size_t i = 0; i < in.len && in.data[i] != '='; i++) {
        const char *digit = memchr(digits, in.data[i], 64);

        assert_non_null(digit);
        bits = bits << 6 | (uint32_t)(digit - digits);
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[len++] = (char)(bits >> held);
        }
    }
    return slice_of(out, len);
}

static void expected_add(struct recording *r, struct slice text)
{
    yyjson_doc *doc = yyjson_read(text.data, text.len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc), *ts, *line;
    struct expected *e;
    size_t s;

    assert_non_null(doc);
    assert_true(r->docs_count < RECORDS_MAX);
    r->docs[r->docs_count++] = doc;
    s = yyjson_equals_str(yyjson_obj_get(root, "stream"), "stderr");
    e = &r->records[s][r->counts[s]++];
    ts = yyjson_obj_get(root, "ts");
    assert_int_equal(TIMESTAMP_LEN, yyjson_get_len(ts));
    memcpy(e->ts, yyjson_get_str(ts), TIMESTAMP_LEN);
    line = yyjson_obj_get(root, "line");
    if (line) {
        e->line = slice_of(yyjson_get_str(line), yyjson_get_len(line));
    } else {
        line = yyjson_obj_get(root, "line_b64");
        e->line = base64_decode(slice_of(yyjson_get_str(line), yyjson_get_len(line)));
        e->decoded = true;
    }
}

/* Takes the chunks apart without the code under test. */
static void find_plain_body(struct recording *r)
{
    struct slice in = buf_slice(&r->bytes);
    const char *head_end = memmem(in.data, in.len, "\r\n\r\n", 4);

    assert_non_null(head_end);
    r->body_at = (size_t)(head_end + 4 - in.data);
    if (!memmem(in.data, r->body_at, "\nTransfer-Encoding: chunked", 27))
        return;
    in = slice_from(in, r->body_at);
    while (in.len > 0) {
        char *size_end;
        size_t size = strtoul(in.data, &size_end, 16);

        in = slice_from(in, (size_t)(size_end - in.data) + 2);
        if (size == 0)
            return;
        assert_int_equal(0, buf_append(&r->plain, in.data, size));
        in = slice_from(in, size + 2);
    }
    r->ends_early = true;
}

static void recording_load(struct recording *r, const char *engine, const char *file)
{
    struct buf text = {0};
    char path[512];
    struct slice rest;
    int len = (int)(strlen(file) - strlen(".http"));

    (void)snprintf(path, sizeof path, "%s/%s/%.*s.expected.ndjson", FIXTURES_DIR, engine, len,
                   file);
    if (!file_read(&text, path)) {
        /* Without timestamps it is no input for us. */
        assert_non_null(strstr(file, "notimestamps"));
        return;
    }
    for (rest = buf_slice(&text); rest.len > 0;) {
        const char *end = memchr(rest.data, '\n', rest.len);

        assert_non_null(end);
        expected_add(r, slice_of(rest.data, (size_t)(end - rest.data)));
        rest = slice_from(rest, (size_t)(end - rest.data) + 1);
    }
    buf_finish(&text);
    (void)snprintf(r->name, sizeof r->name, "%s/%.*s", engine, len, file);
    (void)snprintf(path, sizeof path, "%s/%s/%s", FIXTURES_DIR, engine, file);
    assert_true(file_read(&r->bytes, path));
    r->tty = strstr(file, "tty") && !strstr(file, "nontty");
    r->drops_newline = strstr(r->name, "20.10") && strstr(r->name, "local");
    find_plain_body(r);
}

static int load_all(void **state)
{
    for (size_t e = 0; e < ENGINES_COUNT; e++) {
        char path[512];
        struct dirent *entry;
        DIR *dir;

        (void)snprintf(path, sizeof path, "%s/%s", FIXTURES_DIR, engines[e]);
        dir = opendir(path);
        assert_non_null(dir);
        while ((entry = readdir(dir))) {
            struct recording *r = &recordings[e][recordings_count[e]];
            const char *dot = strrchr(entry->d_name, '.');

            if (strncmp(entry->d_name, "logs-", 5) != 0 || !dot || strcmp(dot, ".http") != 0)
                continue;
            assert_true(recordings_count[e] < RECORDINGS_MAX);
            recording_load(r, engines[e], entry->d_name);
            recordings_count[e] += r->name[0] != '\0';
        }
        assert_int_equal(0, closedir(dir));
        assert_int_equal(20, recordings_count[e]);
    }
    return 0;
}

static int forget_all(void **state)
{
    for (size_t e = 0; e < ENGINES_COUNT; e++)
        for (size_t i = 0; i < recordings_count[e]; i++) {
            struct recording *r = &recordings[e][i];

            for (size_t s = 0; s < 2; s++)
                for (size_t n = 0; n < r->counts[s]; n++)
                    if (r->records[s][n].decoded)
                        free((void *)(uintptr_t)r->records[s][n].line.data);
            for (size_t n = 0; n < r->docs_count; n++)
                yyjson_doc_free(r->docs[n]);
            buf_finish(&r->bytes);
            buf_finish(&r->plain);
        }
    return 0;
}

/* ---- the readers, one behind the other ---- */

struct pipeline {
    const struct recording *recording;
    struct http_reader http;
    struct frame_reader frames;
    struct tty_reader tty;
    struct part_reader parts;
    struct line_joiner joiner;
    size_t done[2];
    bool bad;
};

static int on_line(void *ctx, const struct line *line)
{
    struct pipeline *p = ctx;
    size_t s = line->stream == RECORD_STDERR, n = p->done[s]++;
    const struct expected *e = &p->recording->records[s][n];
    char ts[TIMESTAMP_LEN];

    timestamp_format(ts, line->ts_ns);
    if (n >= p->recording->counts[s] || memcmp(ts, e->ts, TIMESTAMP_LEN) != 0 ||
        !slice_eq(line->bytes, e->line))
        p->bad = true;
    return 0;
}

static int on_part(void *ctx, struct part *part)
{
    struct pipeline *p = ctx;

    return line_joiner_feed(&p->joiner, part);
}

static int on_piece(void *ctx, enum frame_stream stream, struct slice piece, unsigned flags)
{
    struct pipeline *p = ctx;

    assert_int_not_equal(FRAME_ERROR, stream);
    return part_reader_feed(&p->parts, (enum record_stream)stream, piece, flags);
}

static int on_head(void *ctx, const struct http_head *head)
{
    assert_int_equal(200, head->status);
    return 0;
}

static int on_body(void *ctx, struct slice span, unsigned flags)
{
    struct pipeline *p = ctx;

    if (!p->recording->tty)
        return frame_reader_feed(&p->frames, span);
    if (flags & HTTP_CHUNK_END) {
        tty_reader_chunk_end(&p->tty);
        return 0;
    }
    return tty_reader_feed(&p->tty, span, (flags & HTTP_CHUNK_BEGIN) != 0);
}

static const struct http_reader_handlers handlers = {.on_head = on_head, .on_body = on_body};

static void pipeline_begin(struct pipeline *p, const struct recording *r)
{
    *p = (struct pipeline){
        .recording = r,
        .frames = {.on_piece = on_piece, .ctx = p, .size_max = FRAME_BYTES_MAX},
        .tty = {.on_piece = on_piece, .ctx = p},
        .parts = {.on_part = on_part, .ctx = p, .size_max = FRAME_BYTES_MAX},
        .joiner = {.on_line = on_line,
                   .ctx = p,
                   .bytes_max = LINE_BYTES_MAX,
                   .parts_lack_newline = r->drops_newline},
    };
    http_reader_init(&p->http, &handlers, p, HEAD_BYTES_MAX, r->tty);
}

static void pipeline_feed(struct pipeline *p, struct slice in)
{
    int r = in.len > 0 ? http_reader_feed(&p->http, in) : 0;

    if (r < 0)
        fail_msg("%s: %s (%d)", p->recording->name, http_reader_error(&p->http), r);
}

/* `how` and `at` say what was done to the bytes. */
static void pipeline_end(struct pipeline *p, const char *how, size_t at)
{
    bool complete = http_reader_finish(&p->http) == 0;

    if (p->recording->tty)
        assert_int_equal(0, tty_reader_finish(&p->tty));
    else
        assert_true(frame_reader_is_whole(&p->frames));
    assert_int_equal(0, line_joiner_flush(&p->joiner));
    if (p->bad || complete == p->recording->ends_early || p->done[0] != p->recording->counts[0] ||
        p->done[1] != p->recording->counts[1])
        fail_msg("%s, %s %zu: %zu of %zu stdout and %zu of %zu stderr records%s%s",
                 p->recording->name, how, at, p->done[0], p->recording->counts[0], p->done[1],
                 p->recording->counts[1], p->bad ? ", not as expected" : "",
                 complete ? "" : ", not complete");
    part_reader_finish(&p->parts);
    line_joiner_finish(&p->joiner);
}

static void check_cut(const struct recording *r, size_t cut)
{
    struct slice in = buf_slice(&r->bytes);
    struct pipeline p;

    pipeline_begin(&p, r);
    pipeline_feed(&p, slice_of(in.data, cut));
    pipeline_feed(&p, slice_from(in, cut));
    pipeline_end(&p, "cut at", cut);
}

/* ---- tests ---- */

#define FOR_EACH_RECORDING(r)                                                                      \
    for (size_t e_ = 0; e_ < ENGINES_COUNT; e_++)                                                  \
        for (const struct recording *r = recordings[e_];                                           \
             r < recordings[e_] + recordings_count[e_]; r++)

static void test_every_recording_gives_the_expected_records(void **state)
{
    FOR_EACH_RECORDING(r)
    check_cut(r, 0);
}

static void test_a_cut_at_any_offset_changes_nothing(void **state)
{
    FOR_EACH_RECORDING(r)
    {
        size_t len = r->bytes.len;

        for (size_t cut = 1; cut < len; cut++)
            if (cut < SMALL_BYTES || cut + SMALL_BYTES > len || cut % STRIDE == 0)
                check_cut(r, cut);
    }
}

static void test_single_bytes_and_small_reads_change_nothing(void **state)
{
    static const size_t sizes[] = {1, 2, 3, 7, 64, 1000};

    FOR_EACH_RECORDING(r)
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct pipeline p;

        pipeline_begin(&p, r);
        for (size_t at = 0; at < r->bytes.len; at += sizes[i]) {
            /* In memory of exactly its size, so that reading on is seen. */
            size_t n = MIN(sizes[i], r->bytes.len - at);
            char *copy = malloc(n + 1);

            assert_non_null(copy);
            memcpy(copy + 1, r->bytes.data + at, n);
            pipeline_feed(&p, slice_of(copy + 1, n));
            free(copy);
        }
        pipeline_end(&p, "in reads of", sizes[i]);
    }
}

/* As a proxy between us and the Engine may do. */
static void check_chunks(const struct recording *r, size_t size)
{
    struct buf again = {0};
    struct pipeline p;

    assert_int_equal(0, buf_append(&again, r->bytes.data, r->body_at));
    for (size_t at = 0; at < r->plain.len; at += size) {
        size_t n = MIN(size, r->plain.len - at);

        assert_int_equal(0, buf_printf(&again, "%zx\r\n", n));
        assert_int_equal(0, buf_append(&again, r->plain.data + at, n));
        assert_int_equal(0, buf_append_str(&again, "\r\n"));
    }
    if (!r->ends_early)
        assert_int_equal(0, buf_append_str(&again, "0\r\n\r\n"));
    for (size_t read = 1; read <= 4096; read *= 16) {
        pipeline_begin(&p, r);
        for (size_t at = 0; at < again.len; at += read)
            pipeline_feed(&p, slice_of(again.data + at, MIN(read, again.len - at)));
        pipeline_end(&p, "in chunks of", size);
    }
    buf_finish(&again);
}

static void test_other_chunks_change_nothing(void **state)
{
    static const size_t sizes[] = {1,  2,   3,    5,    8,     9,     31,    32,
                                   39, 100, 1000, 4096, 16384, 16415, 65536, 1000000};

    FOR_EACH_RECORDING(r)
    if (r->plain.len > 0)
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
            check_chunks(r, sizes[i]);
}

#define TITLED(title, fn)                                                                          \
    {                                                                                              \
        .name = (title), .test_func = (fn)                                                         \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TITLED("S07 S19 S21 S23 every recording gives the expected records",
               test_every_recording_gives_the_expected_records),
        TITLED("S24 a cut at any offset changes nothing", test_a_cut_at_any_offset_changes_nothing),
        TITLED("S24 single bytes and small reads change nothing",
               test_single_bytes_and_small_reads_change_nothing),
        TITLED("S24 other chunks change nothing", test_other_chunks_change_nothing),
    };

    return cmocka_run_group_tests_name("recordings", tests, load_all, forget_all);
}
