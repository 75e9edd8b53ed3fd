/* spool_fixture.h. */
#include "spool_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ringtail/base/macros.h"
#include "spool/private.h"

void spool_fixture_open(struct spool_fixture *f, struct ring *ring)
{
    *f = (struct spool_fixture){.ring = ring};
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/ringtail-spool-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->spool_dir, sizeof f->spool_dir, "%s/spool", f->dir);
    f->options = (struct spool_options){
        .directory = f->spool_dir,
        .bytes_max = (int64_t)1 << 30,
        .segment_bytes = (int64_t)1 << 24,
        .retry_ms = 10,
    };
    random_seed(&f->random, 42);
    for (size_t i = 0; i < TEST_SOURCES; i++) {
        char id[SOURCE_ID_LEN + 1], name[400];
        size_t len = i == TEST_SOURCES - 1 ? sizeof name - 1 : 6 + i;

        for (size_t k = 0; k < SOURCE_ID_LEN; k++)
            id[k] = "0123456789abcdef"[(k * (i + 3) + i) % 16];
        memset(name, (int)('a' + i), len);
        f->sources[i] = source_create(slice_of(id, SOURCE_ID_LEN), slice_of(name, len),
                                      slice_str(i == 0 ? "" : "registry/image:1.2"));
        assert_non_null(f->sources[i]);
    }
}

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *e;

    while (dir && (e = readdir(dir))) {
        char below[512];

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        (void)snprintf(below, sizeof below, "%s/%s", path, e->d_name);
        if (unlink(below) < 0)
            remove_tree(below);
    }
    if (dir)
        (void)closedir(dir);
    (void)rmdir(path);
}

void spool_fixture_close(struct spool_fixture *f)
{
    if (f->spool)
        test_stop(f);
    for (size_t i = 0; i < TEST_SOURCES; i++)
        (void)source_unref(f->sources[i]);
    for (size_t i = 0; i < f->count; i++)
        free(f->expected[i].line);
    free(f->expected);
    remove_tree(f->dir);
}

void test_start(struct spool_fixture *f)
{
    int r = spool_open(f->ring, &f->options, &f->spool, f->why, sizeof f->why);

    if (r < 0)
        fail_msg("%s", f->why);
}

bool is_idle(const struct spool_fixture *f)
{
    return spool_is_idle(f->spool);
}

void test_stop(struct spool_fixture *f)
{
    spool_finish(f->spool);
    f->run(f, is_idle);
    assert_null(spool_close(f->spool));
    f->spool = NULL;
}

struct append {
    struct spool_append append;
    struct spool_fixture *f;
};

static void on_done(struct spool_append *append)
{
    struct append *a = container_of(append, struct append, append);

    assert_true(append->error == 0 || append->error == -ECANCELED);
    if (append->error == 0)
        a->f->done++;
    else
        a->f->given_up++;
    free(a);
}

bool is_all_done(const struct spool_fixture *f)
{
    return f->done + f->given_up == f->appends;
}

static void expect(struct spool_fixture *f, struct batch *b, struct slice line)
{
    struct expected_record e = {
        .ts_ns = (int64_t)(random_next(&f->random) >> 1),
        .line = slice_dup(line),
        .len = (uint32_t)line.len,
        .ordinal = (uint16_t)random_next(&f->random),
        .stream = f->count % 3 ? RECORD_STDOUT : RECORD_STDERR,
        .flags = f->count % 5 == 0 ? RECORD_PARTIAL : 0,
        .source = (uint8_t)random_below(&f->random, TEST_SOURCES),
    };

    assert_non_null(e.line);
    if (f->count == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 64;
        f->expected = realloc(f->expected, f->cap * sizeof *f->expected);
        assert_non_null(f->expected);
    }
    f->expected[f->count++] = e;
    assert_int_equal(0, batch_append(b, f->sources[e.source], e.stream, e.ts_ns, e.flags, line));
    b->records[b->count - 1].ordinal = e.ordinal;
}

int test_append_batch(struct spool_fixture *f, struct batch *b)
{
    struct append *a = calloc(1, sizeof *a);
    int r;

    assert_non_null(a);
    *a = (struct append){.append.done = on_done, .f = f};
    r = spool_append_batch(f->spool, &a->append, b, UINT16_MAX);
    if (r == 0)
        f->appends++;
    else
        free(a);
    (void)batch_unref(b);
    return r;
}

/** What could not be appended is not expected either. */
static int append(struct spool_fixture *f, struct batch *b)
{
    size_t count = b->count;
    int r = test_append_batch(f, b);

    while (r < 0 && count-- > 0)
        free(f->expected[--f->count].line);
    return r;
}

int test_append(struct spool_fixture *f, size_t count, size_t len)
{
    struct batch *b = batch_create(NULL, NULL);
    char *line = malloc(len + 32);

    assert_non_null(b);
    assert_non_null(line);
    for (size_t i = 0; i < count; i++) {
        int head = snprintf(line, 32, "%zu ", f->count);

        for (size_t k = (size_t)head; k < len; k++)
            line[k] = (char)random_next(&f->random);
        expect(f, b, slice_of(line, len));
    }
    free(line);
    return append(f, b);
}

int test_append_line(struct spool_fixture *f, struct slice line)
{
    struct batch *b = batch_create(NULL, NULL);

    assert_non_null(b);
    expect(f, b, line);
    return append(f, b);
}

static void on_read(struct spool_read *r, int res)
{
    struct spool_fixture *f = container_of(r, struct spool_fixture, read);

    f->read_came = true;
    f->read_res = res;
}

static bool has_read_come(const struct spool_fixture *f)
{
    return f->read_came;
}

struct spool_cursor *test_cursor(struct spool *s, const char *name)
{
    struct spool_cursor *c = spool_cursor_get(s, name);

    assert_non_null(c);
    if (spool_is_nothing(spool_cursor_place(c)))
        spool_cursor_set(c, spool_end(s));
    return c;
}

int test_read(struct spool_fixture *f, struct spool_place place, size_t bytes_max)
{
    static const struct spool_cursor any = {.index = 1};

    f->read = (struct spool_read){.done = on_read};
    f->read_came = false;
    spool_read_from(f->spool, &f->read, &any, place, bytes_max);
    f->run(f, has_read_come);
    return f->read_res;
}

bool test_is_record(const struct spool_fixture *f, size_t index, const struct record *r)
{
    const struct expected_record *e = &f->expected[index];
    const struct source *s = f->sources[e->source];

    return r->len == e->len && memcmp(r->data, e->line, e->len) == 0 && r->ts_ns == e->ts_ns &&
           r->ordinal == e->ordinal && r->stream == e->stream && r->flags == e->flags &&
           slice_eq(r->source->id, s->id) && slice_eq(r->source->name, s->name) &&
           slice_eq(r->source->image, s->image);
}

size_t test_drain(struct spool_fixture *f, struct spool_cursor *c, size_t from, size_t bytes_max)
{
    struct spool_place place = spool_cursor_place(c);
    size_t came = 0, next = from;
    int r;

    while ((r = test_read(f, place, bytes_max)) == 0) {
        struct batch *b = f->read.batch;
        size_t count = b ? b->count : 0;

        assert_int_equal(place.at, f->read.begin.at);
        assert_true(f->read.end.at > place.at);
        assert_int_equal(f->read.end.record - place.record,
                         count + f->read.skipped + f->read.expired);
        for (size_t i = 0; i < count; i++) {
            while (next < f->count && !test_is_record(f, next, &b->records[i]))
                next++;
            assert_true(next < f->count);
            next++;
        }
        came += count;
        f->damaged += f->read.skipped;
        f->expired += f->read.expired;
        (void)batch_unref(b);
        place = f->read.end;
        spool_cursor_set(c, place);
    }
    assert_int_equal(-ENODATA, r);
    assert_int_equal(spool_end(f->spool).at, place.at);
    assert_int_equal(spool_end(f->spool).record, place.record);
    return came;
}

const char *test_path(const struct spool_fixture *f, const char *name)
{
    static char path[256];

    (void)snprintf(path, sizeof path, "%s/%s", f->spool_dir, name);
    return path;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

size_t test_files(const struct spool_fixture *f, const char *end, char names[TEST_FILES_MAX][32])
{
    DIR *dir = opendir(f->spool_dir);
    struct dirent *e;
    size_t count = 0;

    assert_non_null(dir);
    while ((e = readdir(dir))) {
        size_t len = strlen(e->d_name);

        if (len < strlen(end) || strcmp(e->d_name + len - strlen(end), end) != 0)
            continue;
        assert_true(count < TEST_FILES_MAX && len < 32);
        memcpy(names[count++], e->d_name, len + 1);
    }
    (void)closedir(dir);
    qsort(names, count, sizeof names[0], by_name);
    return count;
}

void test_read_file(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    buf_reset(out);
    assert_int_equal(0, buf_reserve(out, (size_t)st.st_size + 1));
    assert_int_equal(st.st_size, read(fd, out->data, (size_t)st.st_size));
    out->len = (size_t)st.st_size;
    (void)close(fd);
}

void test_write_file(const char *path, struct slice bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    if (bytes.len > 0)
        assert_int_equal(bytes.len, write(fd, bytes.data, bytes.len));
    /* Not O_TRUNC: ext4 writes a file that was cut to nothing out at once. */
    assert_int_equal(0, ftruncate(fd, (off_t)bytes.len));
    (void)close(fd);
}
