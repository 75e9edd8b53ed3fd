/* Files that are rotated by time, and what becomes of rotated files: compressed, shifted, removed;
 * and a disk that is not to be filled. The wall clock and the space left are the test's. */
#include "ringtail/sink/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <zlib.h>
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"
#include "ringtail/sink/rotated.h"
#include "support/fake_ring.h"
#include "sink_fixture.h"

#define HOUR_MS INT64_C(3600000)
#define HOUR_NS (HOUR_MS * NSEC_PER_MSEC)
#define WAIT_S 20
#define PAUSE_NS 1000000
#define KEEP 1000

int64_t __real_clock_wall_ns(void);
int64_t __wrap_clock_wall_ns(void);
int __wrap_fstatvfs(int fd, struct statvfs *ret);
/* What the C library may make of it. */
int __wrap_fstatvfs64(int fd, struct statvfs *ret);

static _Atomic int64_t wall_ns; /* 0: the real one */
static atomic_ulong blocks_free;

int64_t __wrap_clock_wall_ns(void)
{
    int64_t ns = atomic_load(&wall_ns);

    return ns ? ns : __real_clock_wall_ns();
}

int __wrap_fstatvfs(int fd, struct statvfs *ret)
{
    (void)fd;
    *ret = (struct statvfs){.f_frsize = 4096, .f_bavail = atomic_load(&blocks_free)};
    return 0;
}

int __wrap_fstatvfs64(int fd, struct statvfs *ret)
{
    return __wrap_fstatvfs(fd, ret);
}

static int setup(void **state)
{
    struct sink_fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    sink_fixture_open(f, fake_ring_create());
    atomic_store(&wall_ns, 0);
    atomic_store(&blocks_free, 1000);
    *state = f;
    return 0;
}

static void close_sink(struct sink_fixture *f)
{
    sink_close(f->sink);
    fake_ring_run(f->ring);
    assert_int_equal(1, f->closed);
}

/** Closed and gone, as after a stop; another may be made. */
static void end_sink(struct sink_fixture *f)
{
    close_sink(f);
    f->sink = sink_destroy(f->sink);
    f->records = f->closed = 0;
}

static int teardown(void **state)
{
    struct sink_fixture *f = *state;
    struct ring *ring = f->ring;

    if (f->sink && !f->closed)
        close_sink(f);
    sink_fixture_close(f);
    fake_ring_destroy(ring);
    free(f);
    return 0;
}

#define MAKE(f, ...) sink_fixture_make_file((f), &(struct sink_file_options){__VA_ARGS__})
#define STATS(f) sink_file_stats_get((f)->sink)

/** Runs the ring until it holds; fails after a while. */
#define WAIT(f, condition)                                                                         \
    do {                                                                                           \
        time_t end_ = time(NULL) + WAIT_S;                                                         \
        fake_ring_run((f)->ring);                                                                  \
        while (!(condition)) {                                                                     \
            if (time(NULL) > end_)                                                                 \
                fail_msg("waited %d s: %s", WAIT_S, #condition);                                   \
            nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);                              \
            fake_ring_run((f)->ring);                                                              \
        }                                                                                          \
    } while (0)

static bool exists(const struct sink_fixture *f, const char *name)
{
    return access(test_path(f, "%s", name), F_OK) == 0;
}

static void put(const struct sink_fixture *f, const char *name, const char *text)
{
    test_write_file(test_path(f, "%s", name), text);
}

static void make_old(const struct sink_fixture *f, const char *name, int64_t by_s)
{
    const struct timespec then = {.tv_sec = time(NULL) - (time_t)by_s, .tv_nsec = 123456789};

    assert_int_equal(0, utimensat(AT_FDCWD, test_path(f, "%s", name),
                                  (const struct timespec[2]){then, then}, 0));
}

static void expect_text(const struct sink_fixture *f, const char *name, const char *text)
{
    struct buf expected = {0};

    assert_int_equal(0, buf_append_str(&expected, text));
    test_expect_file(test_path(f, "%s", name), &expected);
    buf_finish(&expected);
}

static void append_gzip(const char *path, struct buf *out)
{
    gzFile file = gzopen(path, "rbe");
    int n;

    assert_non_null(file);
    do {
        assert_int_equal(0, buf_reserve(out, 65536));
        n = gzread(file, out->data + out->len, 65536);
        assert_true(n >= 0);
        out->len += (size_t)n;
    } while (n > 0);
    assert_int_equal(Z_OK, gzclose(file));
}

static void append_zstd(const char *path, struct buf *out)
{
#ifdef HAVE_ZSTD
    struct buf in = {0};
    ZSTD_DCtx *zstd = ZSTD_createDCtx();
    ZSTD_inBuffer from;
    size_t left = 1;

    assert_true(test_read_file(path, &in));
    from = (ZSTD_inBuffer){.src = in.data, .size = in.len};
    while (left > 0) {
        ZSTD_outBuffer to = {.size = 65536};

        assert_int_equal(0, buf_reserve(out, to.size));
        to.dst = out->data + out->len;
        left = ZSTD_decompressStream(zstd, &to, &from);
        assert_false(ZSTD_isError(left));
        assert_true(left == 0 || to.pos > 0 || from.pos < from.size);
        out->len += to.pos;
    }
    assert_int_equal(from.size, from.pos);
    (void)ZSTD_freeDCtx(zstd);
    buf_finish(&in);
#else
    fail_msg("%s, and no zstd", path);
#endif
}

struct counts {
    unsigned of[ROTATED_FORM_COUNT];
};

/** All files of `base`, the oldest first, are these bytes; each number is there in one form. */
static struct counts expect_row(const struct sink_fixture *f, const char *base,
                                const struct buf *expected)
{
    struct counts counts = {0};
    struct buf got = {0};
    char name[256];

    for (uint32_t number = KEEP + 1; number-- > 0;) {
        unsigned forms = 0;

        for (enum rotated_form form = ROTATED_PLAIN; form < ROTATED_FORM_COUNT; form++) {
            const char *path;

            rotated_print(name, sizeof name, base, number, form);
            path = test_path(f, "%s", name);
            if ((number == 0 && form > 0) || access(path, F_OK) < 0)
                continue;
            assert_int_not_equal(ROTATED_TEMPORARY, form);
            counts.of[form]++;
            forms++;
            if (form == ROTATED_PLAIN)
                assert_true(test_read_file(path, &got));
            else if (form == ROTATED_GZIP)
                append_gzip(path, &got);
            else
                append_zstd(path, &got);
        }
        assert_in_range(forms, 0, 1);
    }
    assert_int_equal(expected->len, got.len);
    assert_memory_equal(expected->data, got.data, got.len);
    buf_finish(&got);
    return counts;
}

/* ---- by time ---- */

static void test_a_file_is_rotated_at_the_first_line_of_a_new_interval(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");
    int64_t began_ns = __real_clock_wall_ns(), next_ns = (began_ns / HOUR_NS + 1) * HOUR_NS;
    struct buf expected = {0};

    MAKE(f, .rotate_interval_ms = HOUR_MS, .rotate_keep = KEEP);
    atomic_store(&wall_ns, began_ns);
    test_submit_line(f, s, 1, 60, &expected);
    fake_ring_run(f->ring);
    atomic_store(&wall_ns, next_ns - 1);
    test_submit_line(f, s, 2, 60, &expected);
    fake_ring_run(f->ring);
    assert_int_equal(1, test_count_files(f->dir));
    atomic_store(&wall_ns, next_ns);
    test_submit_line(f, s, 3, 60, &expected);
    fake_ring_run(f->ring);
    assert_int_equal(2, test_count_files(f->dir));
    test_submit_line(f, s, 4, 60, &expected);
    fake_ring_run(f->ring);
    assert_int_equal(2, test_count_files(f->dir));
    /* Hours without a line are no reason. */
    atomic_store(&wall_ns, next_ns + 5 * HOUR_NS);
    fake_ring_advance(f->ring, HOUR_MS);
    assert_int_equal(2, test_count_files(f->dir));
    test_submit_line(f, s, 5, 60, &expected);
    fake_ring_run(f->ring);
    assert_int_equal(3, test_count_files(f->dir));
    /* Nor is a clock that is set back. */
    atomic_store(&wall_ns, next_ns);
    test_submit_line(f, s, 6, 60, &expected);
    fake_ring_run(f->ring);
    assert_int_equal(2, STATS(f)->rotations);
    assert_int_equal(3, test_expect_rotated(test_path(f, "web.ndjson"), &expected, 1000));
    buf_finish(&expected);
    (void)source_unref(s);
}

static void test_a_restart_does_not_make_a_file_younger(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");
    int64_t began_ns = __real_clock_wall_ns(), next_ns = (began_ns / HOUR_NS + 1) * HOUR_NS;

    /* An empty file has begun nothing yet. */
    put(f, "web.ndjson", "");
    make_old(f, "web.ndjson", 100000);
    for (unsigned run = 0; run < 3; run++) {
        MAKE(f, .rotate_interval_ms = HOUR_MS, .rotate_keep = KEEP);
        atomic_store(&wall_ns, began_ns);
        test_submit_line(f, s, run, 60, NULL);
        end_sink(f);
        assert_int_equal(1, test_count_files(f->dir));
    }
    /* What was born in this hour is rotated in a later one. */
    MAKE(f, .rotate_interval_ms = HOUR_MS, .rotate_keep = KEEP);
    atomic_store(&wall_ns, next_ns + HOUR_NS);
    test_submit_line(f, s, 4, 60, NULL);
    end_sink(f);
    assert_int_equal(2, test_count_files(f->dir));
    /* Whatever its birth, a file that was last written to hours ago is of another hour. */
    make_old(f, "web.ndjson", 3 * 3600);
    MAKE(f, .rotate_interval_ms = HOUR_MS, .rotate_keep = KEEP);
    atomic_store(&wall_ns, began_ns);
    test_submit_line(f, s, 5, 60, NULL);
    end_sink(f);
    assert_int_equal(3, test_count_files(f->dir));
    (void)source_unref(s);
}

static void test_without_an_interval_nobody_asks_for_the_time(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");

    MAKE(f, .rotate_bytes = 1000000, .rotate_keep = 3);
    for (unsigned n = 0; n < 3; n++) {
        atomic_store(&wall_ns, __real_clock_wall_ns() + n * 1000 * HOUR_NS);
        test_submit_line(f, s, n, 60, NULL);
        fake_ring_run(f->ring);
    }
    assert_int_equal(1, test_count_files(f->dir));
    (void)source_unref(s);
}

/* ---- one row of numbers ---- */

static void test_plain_and_compressed_files_share_one_row_of_numbers(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");

    put(f, "web.ndjson", "current\n");
    put(f, "web.ndjson.1", "one\n");
    put(f, "web.ndjson.2.gz", "two\n");
    put(f, "web.ndjson.3.zst", "three\n");
    put(f, "web.ndjson.4.gz", "four\n");
    MAKE(f, .rotate_bytes = 10, .rotate_keep = 4);
    test_submit_line(f, s, 1, 60, NULL);
    fake_ring_run(f->ring);
    assert_int_equal(5, test_count_files(f->dir));
    expect_text(f, "web.ndjson.1", "current\n");
    expect_text(f, "web.ndjson.2", "one\n");
    expect_text(f, "web.ndjson.3.gz", "two\n");
    expect_text(f, "web.ndjson.4.zst", "three\n");
    /* A gap is filled, and what is above it stays. */
    assert_int_equal(0, unlink(test_path(f, "web.ndjson.3.gz")));
    test_submit_line(f, s, 2, 60, NULL);
    fake_ring_run(f->ring);
    assert_int_equal(5, test_count_files(f->dir));
    expect_text(f, "web.ndjson.2", "current\n");
    expect_text(f, "web.ndjson.3", "one\n");
    expect_text(f, "web.ndjson.4.zst", "three\n");
    (void)source_unref(s);
}

/* ---- compression ---- */

static void compress_all(struct sink_fixture *f, enum compression compression,
                         enum rotated_form form)
{
    struct source *s = test_source("web");
    struct buf expected = {0};
    struct counts counts;
    struct stat st;

    MAKE(f, .path_template = "{container_name}/log", .rotate_bytes = 20000, .rotate_keep = KEEP,
         .rotate_compression = compression);
    for (uint64_t n = 0; n < 200; n++) {
        test_submit_line(f, s, n, n == 100 ? 900000 : 100 + n * 37 % 2000, &expected);
        /* While a file is put in its place there is no rotation. */
        WAIT(f, STATS(f)->files_compressed + STATS(f)->compress_errors == STATS(f)->rotations);
    }
    counts = expect_row(f, "web/log", &expected);
    assert_int_equal(1, counts.of[ROTATED_PLAIN]);
    assert_int_equal(STATS(f)->rotations, counts.of[form]);
    assert_true(counts.of[form] > 10);
    assert_int_equal(0, STATS(f)->compress_errors);
    assert_true(STATS(f)->compress_bytes_in > STATS(f)->compress_bytes_out);
    assert_int_equal(
        0, stat(test_path(f, form == ROTATED_GZIP ? "web/log.1.gz" : "web/log.1.zst"), &st));
    assert_int_equal(0640, st.st_mode & 0777);
    buf_finish(&expected);
    (void)source_unref(s);
}

static void test_rotated_files_are_compressed_with_gzip(void **state)
{
    compress_all(*state, COMPRESSION_GZIP, ROTATED_GZIP);
}

static void test_rotated_files_are_compressed_with_zstd(void **state)
{
    struct sink_fixture *f = *state;
    char why[256];

    if (compression_is_available(COMPRESSION_ZSTD)) {
        compress_all(f, COMPRESSION_ZSTD, ROTATED_ZSTD);
        return;
    }
    assert_int_equal(-EOPNOTSUPP, sink_file_create(f->ring,
                                                   &(struct sink_file_options){
                                                       .directory = f->dir,
                                                       .path_template = "x",
                                                       .rotate_compression = COMPRESSION_ZSTD},
                                                   NULL, &f->sink, why, sizeof why));
    assert_string_equal("this build has no zstd: Operation not supported", why);
}

static void test_rotation_and_compression_at_once_lose_nothing(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s[3] = {test_source("a"), test_source("b"), test_source("c")};
    struct buf expected[3] = {0};
    static const char *const names[] = {"a.ndjson", "b.ndjson", "c.ndjson"};

    MAKE(f, .rotate_bytes = 600, .rotate_keep = KEEP, .rotate_compression = COMPRESSION_GZIP);
    for (uint64_t n = 0; n < 3000; n++) {
        test_submit_line(f, s[n % 3], n, 100, &expected[n % 3]);
        for (uint64_t steps = n * 7 % 30; steps > 0; steps--)
            (void)fake_ring_step(f->ring);
        if (n % 100 == 99)
            WAIT(f, STATS(f)->files_compressed + STATS(f)->compress_errors == STATS(f)->rotations);
    }
    assert_int_equal(0, STATS(f)->compress_errors);
    assert_true(STATS(f)->files_compressed >= 30);
    end_sink(f);
    for (size_t i = 0; i < 3; i++) {
        struct counts counts = expect_row(f, names[i], &expected[i]);

        assert_int_equal(1, counts.of[ROTATED_PLAIN]);
        buf_finish(&expected[i]);
        (void)source_unref(s[i]);
    }
}

static void show_nothing(void *ctx, const char *path, uint64_t device, uint64_t inode,
                         uint64_t size)
{
    (void)ctx;
    (void)path;
    (void)device;
    (void)inode;
    (void)size;
}

static void rotate_once(struct sink_fixture *f, struct source *s, uint64_t n)
{
    uint64_t before = STATS(f)->rotations;

    test_submit_line(f, s, n, 100, NULL);
    fake_ring_run(f->ring);
    assert_int_equal(before + 1, STATS(f)->rotations);
}

static void save(struct sink_fixture *f)
{
    assert_true(sink_file_each(f->sink, show_nothing, NULL));
    sink_file_saved(f->sink);
}

static void test_what_no_save_covers_is_not_compressed(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");

    put(f, "old.ndjson.1", "of an earlier run\n");
    MAKE(f, .rotate_bytes = 1, .rotate_keep = KEEP, .rotate_compression = COMPRESSION_GZIP,
         .wait_for_saves = true);
    test_submit_line(f, s, 0, 100, NULL);
    fake_ring_run(f->ring);
    rotate_once(f, s, 1);
    assert_true(sink_file_each(f->sink, show_nothing, NULL));
    rotate_once(f, s, 2);
    /* The save covers the first one alone; what an earlier run has left may have been found by then
     * or not. */
    sink_file_saved(f->sink);
    WAIT(f, exists(f, "web.ndjson.2.gz"));
    for (unsigned i = 0; i < 50; i++) {
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
        fake_ring_run(f->ring);
    }
    assert_true(exists(f, "web.ndjson.1"));
    /* Taken and not saved says nothing. */
    assert_true(sink_file_each(f->sink, show_nothing, NULL));
    for (unsigned i = 0; i < 50; i++) {
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
        fake_ring_run(f->ring);
    }
    assert_true(exists(f, "web.ndjson.1"));
    sink_file_saved(f->sink);
    WAIT(f, exists(f, "web.ndjson.1.gz"));
    save(f);
    WAIT(f, exists(f, "old.ndjson.1.gz"));
    WAIT(f, !exists(f, "old.ndjson.1"));
    (void)source_unref(s);
}

static void test_what_a_crash_has_left_is_put_right(void **state)
{
    struct sink_fixture *f = *state;
    struct buf expected = {0};
    struct counts counts;
    struct stat st;

    put(f, "web.ndjson", "current\n");
    put(f, "web.ndjson.1", "one\n");
    put(f, "web.ndjson.1.tmp", "half of on");
    put(f, "web.ndjson.2", "two\n");
    put(f, "web.ndjson.2.gz", "renamed, and the other not yet removed");
    put(f, "web.ndjson.3.zst.tmp", "somebody else's");
    put(f, "notes.1.tmp", "somebody else's");
    make_old(f, "web.ndjson.2", 5000);
    MAKE(f, .rotate_bytes = 1000, .rotate_keep = KEEP);
    /* Not before it is known that nobody else works here. */
    assert_int_equal(7, test_count_files(f->dir));
    fake_ring_run(f->ring);
    assert_int_equal(5, test_count_files(f->dir));
    expect_text(f, "notes.1.tmp", "somebody else's");
    expect_text(f, "web.ndjson.2", "two\n");
    end_sink(f);
    MAKE(f, .rotate_bytes = 1000, .rotate_keep = KEEP, .rotate_compression = COMPRESSION_GZIP);
    WAIT(f, STATS(f)->files_compressed == 2);
    assert_int_equal(0, buf_append_str(&expected, "two\none\ncurrent\n"));
    counts = expect_row(f, "web.ndjson", &expected);
    assert_int_equal(2, counts.of[ROTATED_GZIP]);
    /* It is as old as what is in it. */
    assert_int_equal(0, stat(test_path(f, "web.ndjson.2.gz"), &st));
    assert_in_range(time(NULL) - st.st_mtim.tv_sec, 5000, 5000 + 2 * WAIT_S);
    assert_int_equal(123456789, st.st_mtim.tv_nsec);
    assert_int_equal(5, test_count_files(f->dir));
    buf_finish(&expected);
}

static void test_a_compression_that_fails_leaves_the_file(void **state)
{
    struct sink_fixture *f = *state;

    put(f, "web.ndjson.1", "one\n");
    assert_int_equal(0, mkdir(test_path(f, "web.ndjson.1.tmp"), 0700));
    MAKE(f, .rotate_keep = KEEP, .rotate_compression = COMPRESSION_GZIP);
    WAIT(f, STATS(f)->compress_errors == 1);
    expect_text(f, "web.ndjson.1", "one\n");
    assert_int_equal(1, test_count_files(f->dir));
    assert_int_equal(0, f->sink->errors);
    assert_int_equal(0, rmdir(test_path(f, "web.ndjson.1.tmp")));
}

/* ---- retention ---- */

static void test_old_rotated_files_are_removed_and_no_others(void **state)
{
    static const char *const old[] = {"gone/log.1", "gone/log.2.gz", "gone/log.7.zst", "web/log.1"};
    static const char *const others[] = {
        "gone/log",       "gone/log.1.bak", "gone/note.1",       "gone/log.01",     "log.1",
        "gone/sub/log.1", "we b/log.1",     "gone/log.1.tar.gz", "gone/log.1.tmp.1"};
    struct sink_fixture *f = *state;
    char outside[512];

    assert_int_equal(0, mkdir(test_path(f, "gone"), 0700));
    assert_int_equal(0, mkdir(test_path(f, "gone/sub"), 0700));
    assert_int_equal(0, mkdir(test_path(f, "web"), 0700));
    assert_int_equal(0, mkdir(test_path(f, "we b"), 0700));
    for (size_t i = 0; i < ARRAY_SIZE(old); i++) {
        put(f, old[i], "old\n");
        make_old(f, old[i], 7200);
    }
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        put(f, others[i], "somebody else's\n");
        make_old(f, others[i], 7200);
    }
    put(f, "gone/log.3", "young enough\n");
    make_old(f, "gone/log.3", 3000);
    /* A link out of the directory leads nowhere. */
    (void)snprintf(outside, sizeof outside, "%s", test_path(f, "we b"));
    assert_int_equal(0, symlink(outside, test_path(f, "link")));
    MAKE(f, .path_template = "{container_name}/log", .retention_ms = HOUR_MS);
    WAIT(f, STATS(f)->files_expired == ARRAY_SIZE(old));
    assert_int_equal(0, STATS(f)->expire_errors);
    for (size_t i = 0; i < ARRAY_SIZE(old); i++)
        assert_false(exists(f, old[i]));
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        expect_text(f, others[i], "somebody else's\n");
    expect_text(f, "gone/log.3", "young enough\n");
}

static void test_a_file_that_is_written_to_is_not_touched_whatever_its_name(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");
    struct buf expected = {0};
    char from[512];

    /* One millisecond, so that a sweep comes each second. */
    MAKE(f, .rotate_keep = KEEP, .retention_ms = 1, .rotate_compression = COMPRESSION_GZIP);
    test_submit_line(f, s, 1, 100, &expected);
    fake_ring_run(f->ring);
    (void)snprintf(from, sizeof from, "%s", test_path(f, "web.ndjson"));
    assert_int_equal(0, rename(from, test_path(f, "web.ndjson.1")));
    make_old(f, "web.ndjson.1", 7200);
    /* A sweep that has found this one has found the other. */
    put(f, "gone.ndjson.1", "old\n");
    make_old(f, "gone.ndjson.1", 7200);
    WAIT(f, STATS(f)->files_expired == 1);
    assert_false(exists(f, "gone.ndjson.1"));
    test_submit_line(f, s, 2, 100, &expected);
    fake_ring_run(f->ring);
    test_expect_file(test_path(f, "web.ndjson.1"), &expected);
    buf_finish(&expected);
    (void)source_unref(s);
}

/* ---- space ---- */

static void test_too_little_space_is_waited_out_like_a_full_disk(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");
    struct buf expected = {0};
    time_t end = time(NULL) + WAIT_S;

    atomic_store(&blocks_free, 99);
    MAKE(f, .free_space_min = 100 * 4096, .retry_ms = 1000);
    for (uint64_t n = 0; n < 10; n++)
        test_submit_line(f, s, n, 100, &expected);
    fake_ring_run(f->ring);
    fake_ring_advance(f->ring, 3500);
    assert_int_equal(-ENOSPC, f->sink->last_error);
    assert_int_equal(SINK_RETRYING, f->sink->state);
    assert_string_equal("less is free than has to be: No space left on device", f->sink->reason);
    assert_int_equal(4, STATS(f)->space_waits);
    assert_int_equal(4, f->sink->errors);
    assert_int_equal(0, f->settled);
    assert_int_equal(0, f->sink->bytes_written);
    atomic_store(&blocks_free, 100);
    /* The thread looks once a second. */
    while (f->settled < 10 && time(NULL) < end) {
        nanosleep(&(struct timespec){.tv_nsec = 10 * PAUSE_NS}, NULL);
        fake_ring_advance(f->ring, 1000);
    }
    assert_int_equal(10, f->settled);
    assert_int_equal(SINK_OK, f->sink->state);
    assert_string_equal("", f->sink->reason);
    assert_int_equal(0, f->sink->last_error);
    assert_int_equal(0, f->sink->records_lost);
    test_expect_file(test_path(f, "web.ndjson"), &expected);
    buf_finish(&expected);
    (void)source_unref(s);
}

static void test_space_that_comes_back_while_closing_is_used(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");
    struct buf expected = {0};
    time_t end = time(NULL) + WAIT_S;

    atomic_store(&blocks_free, 0);
    MAKE(f, .free_space_min = 1, .retry_ms = 1000);
    test_submit_line(f, s, 1, 100, &expected);
    sink_close(f->sink);
    fake_ring_advance(f->ring, 2000);
    assert_int_equal(0, f->closed);
    atomic_store(&blocks_free, 1);
    while (!f->closed && time(NULL) < end) {
        nanosleep(&(struct timespec){.tv_nsec = 10 * PAUSE_NS}, NULL);
        fake_ring_advance(f->ring, 1000);
    }
    assert_int_equal(1, f->closed);
    test_expect_file(test_path(f, "web.ndjson"), &expected);
    buf_finish(&expected);
    (void)source_unref(s);
}

static void test_an_abort_does_not_wait_for_space(void **state)
{
    struct sink_fixture *f = *state;
    struct source *s = test_source("web");

    atomic_store(&blocks_free, 0);
    MAKE(f, .free_space_min = 1);
    test_submit_line(f, s, 1, 100, NULL);
    fake_ring_run(f->ring);
    sink_abort(f->sink);
    fake_ring_run(f->ring);
    assert_int_equal(1, f->closed);
    assert_int_equal(1, f->sink->records_lost);
    (void)source_unref(s);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_file_is_rotated_at_the_first_line_of_a_new_interval),
        TEST(test_a_restart_does_not_make_a_file_younger),
        TEST(test_without_an_interval_nobody_asks_for_the_time),
        TEST(test_plain_and_compressed_files_share_one_row_of_numbers),
        TEST(test_rotated_files_are_compressed_with_gzip),
        TEST(test_rotated_files_are_compressed_with_zstd),
        TEST(test_rotation_and_compression_at_once_lose_nothing),
        TEST(test_what_no_save_covers_is_not_compressed),
        TEST(test_what_a_crash_has_left_is_put_right),
        TEST(test_a_compression_that_fails_leaves_the_file),
        TEST(test_old_rotated_files_are_removed_and_no_others),
        TEST(test_a_file_that_is_written_to_is_not_touched_whatever_its_name),
        TEST(test_too_little_space_is_waited_out_like_a_full_disk),
        TEST(test_space_that_comes_back_while_closing_is_used),
        TEST(test_an_abort_does_not_wait_for_space),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
