/* See sink_fixture.h. */
#include "sink_fixture.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ringtail/base/hash.h"
#include "ringtail/record/ndjson.h"

/* A rotation that has failed half-way leaves a gap in the numbers; so many in a row are the end. */
#define GAP_MAX 10

void sink_fixture_open(struct sink_fixture *f, struct ring *ring)
{
    const char *tmp = getenv("TMPDIR");

    *f = (struct sink_fixture){.ring = ring};
    (void)snprintf(f->dir, sizeof f->dir, "%s/ringtail-sink-XXXXXX",
                   tmp && strlen(tmp) < 32 ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->dir));
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void sink_fixture_close(struct sink_fixture *f)
{
    if (f->sink) {
        assert_int_equal(1, f->closed);
        assert_int_equal(0, f->sink->queued_bytes);
        assert_int_equal(f->records, f->sink->records_settled + f->sink->records_lost);
    }
    assert_int_equal(f->batches, f->settled);
    f->sink = sink_destroy(f->sink);
    assert_int_equal(0, nftw(f->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS));
    batch_free_kept();
}

static void on_progress(void *ctx, struct sink *sink)
{
    struct sink_fixture *f = ctx;

    assert_ptr_equal(f->sink, sink);
    assert_int_equal(0, f->closed);
    f->progress++;
    f->last_error_seen = sink->last_error;
    if (f->on_progress)
        f->on_progress(f);
}

static void on_closed(void *ctx, struct sink *sink)
{
    struct sink_fixture *f = ctx;

    assert_ptr_equal(f->sink, sink);
    f->closed++;
}

struct sink_events sink_fixture_events(struct sink_fixture *f)
{
    return (struct sink_events){.on_progress = on_progress, .on_closed = on_closed, .ctx = f};
}

void sink_fixture_make_file(struct sink_fixture *f, const struct sink_file_options *options)
{
    struct sink_file_options o = *options;
    struct sink_events events = sink_fixture_events(f);
    char why[256] = "";

    if (!o.directory)
        o.directory = f->dir;
    if (!o.path_template)
        o.path_template = "{container_name}.ndjson";
    if (o.open_files_max == 0)
        o.open_files_max = 100;
    if (o.retry_ms == 0)
        o.retry_ms = 1000;
    if (sink_file_create(f->ring, &o, &events, &f->sink, why, sizeof why) != 0)
        fail_msg("%s", why);
}

struct source *test_source(const char *name)
{
    char id[SOURCE_ID_LEN + 1];
    struct source *s;

    (void)snprintf(id, sizeof id, "%016llx%048d",
                   (unsigned long long)hash_bytes(slice_str(name), 0), 0);
    s = source_create(slice_str(id), slice_str(name), slice_str("image:1"));
    assert_non_null(s);
    return s;
}

static void on_settled(void *ctx, struct batch *b)
{
    struct sink_fixture *f = ctx;

    (void)b;
    f->settled++;
    if (f->on_settled)
        f->on_settled(f);
}

struct batch *test_batch(struct sink_fixture *f)
{
    struct batch *b = batch_create(on_settled, f);

    assert_non_null(b);
    f->batches++;
    return b;
}

static void expect_last(const struct batch *b, struct buf *expected)
{
    if (expected)
        assert_int_equal(0, ndjson_append(expected, &b->records[b->count - 1]));
}

void test_line(struct batch *b, struct source *source, uint64_t n, size_t len, struct buf *expected)
{
    char *text = malloc(len + 32);
    int head;

    assert_non_null(text);
    head = snprintf(text, len + 32, "line %llu ", (unsigned long long)n);
    for (size_t i = (size_t)head; i < len; i++)
        text[i] = (char)('a' + (n + i) % 26);
    assert_int_equal(0, batch_append(b, source, n % 2 ? RECORD_STDERR : RECORD_STDOUT,
                                     TEST_TS_NS + (int64_t)n, 0, slice_of(text, len)));
    free(text);
    expect_last(b, expected);
}

void test_line_at(struct batch *b, struct source *source, enum record_stream stream, int64_t ts_ns,
                  const char *text, struct buf *expected)
{
    assert_int_equal(0, batch_append(b, source, stream, ts_ns, 0, slice_str(text)));
    expect_last(b, expected);
}

void test_submit(struct sink_fixture *f, struct batch *b)
{
    f->records += b->count;
    sink_submit(f->sink, b);
    (void)batch_unref(b);
}

void test_submit_line(struct sink_fixture *f, struct source *source, uint64_t n, size_t len,
                      struct buf *expected)
{
    struct batch *b = test_batch(f);

    test_line(b, source, n, len, expected);
    test_submit(f, b);
}

const char *test_path(const struct sink_fixture *f, const char *format, ...)
{
    static char path[2048];
    size_t len = (size_t)snprintf(path, sizeof path, "%s/", f->dir);
    va_list ap;

    va_start(ap, format);
    (void)vsnprintf(path + len, sizeof path - len, format, ap);
    va_end(ap);
    return path;
}

bool test_read_file(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "rb");
    size_t n;

    if (!file) {
        assert_int_equal(ENOENT, errno);
        return false;
    }
    do {
        assert_int_equal(0, buf_reserve(out, 65536));
        n = fread(out->data + out->len, 1, 65536, file);
        out->len += n;
    } while (n > 0);
    assert_int_equal(0, fclose(file));
    return true;
}

void test_write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(strlen(text), fwrite(text, 1, strlen(text), file));
    assert_int_equal(0, fclose(file));
}

static void expect_bytes(const char *path, const struct buf *expected, const struct buf *got)
{
    size_t at = 0;

    while (at < expected->len && at < got->len && expected->data[at] == got->data[at])
        at++;
    if (at < expected->len || at < got->len)
        fail_msg("%s: %zu bytes instead of %zu, different from byte %zu on: \"%.*s\"", path,
                 got->len, expected->len, at, (int)(got->len - at > 100 ? 100 : got->len - at),
                 got->data ? got->data + at : "");
}

void test_expect_file(const char *path, const struct buf *expected)
{
    struct buf got = {0};

    if (!test_read_file(path, &got))
        fail_msg("there is no %s", path);
    expect_bytes(path, expected, &got);
    buf_finish(&got);
}

unsigned test_expect_rotated(const char *path, const struct buf *expected, size_t most)
{
    struct buf got = {0};
    char name[1024];
    unsigned count = 0, end = 0;

    for (unsigned number = 0; number < end + GAP_MAX; number++) {
        (void)snprintf(name, sizeof name, number ? "%s.%u" : "%s", path, number);
        if (access(name, F_OK) == 0)
            end = number + 1;
    }
    for (unsigned number = end; number-- > 0;) {
        size_t before = got.len;

        (void)snprintf(name, sizeof name, number ? "%s.%u" : "%s", path, number);
        if (!test_read_file(name, &got))
            continue;
        count++;
        assert_true(got.len > before);
        assert_true(got.len - before <= most);
        assert_int_equal('\n', got.data[got.len - 1]);
    }
    expect_bytes(path, expected, &got);
    buf_finish(&got);
    return count;
}

static unsigned files_met;

static int count_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path;
    (void)st;
    (void)ftw;
    files_met += type != FTW_D;
    return 0;
}

unsigned test_count_files(const char *path)
{
    files_met = 0;
    assert_int_equal(0, nftw(path, count_entry, 16, FTW_PHYS));
    return files_met;
}
