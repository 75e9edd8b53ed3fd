/* The spool on the kernel's own ring: what the fake one cannot know. */
#include "ringtail/spool/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ringtail/base/macros.h"

#include "spool_fixture.h"

static const struct ring_options ring_options = {
    .entries = 64, .sockets_max = 16, .buffers_count = 4, .buffer_bytes = 4096};

/* What is freed has to be gone, or memory can't be measured. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=1";
}

static struct ring *make_ring(void)
{
    struct ring_refusal refusal = {0};
    struct ring *ring = NULL;

    if (ring_create(&ring_options, &ring, &refusal) < 0)
        fail_msg("%s", refusal.reason);
    return ring;
}

struct until {
    struct spool_fixture *f;
    bool (*is_reached)(const struct spool_fixture *f);
};

static void stop_when_reached(void *ctx)
{
    const struct until *u = ctx;

    if (u->is_reached(u->f))
        ring_stop(u->f->ring);
}

static void run_real(struct spool_fixture *f, bool (*is_reached)(const struct spool_fixture *f))
{
    struct until u = {f, is_reached};

    if (!is_reached(f))
        assert_int_equal(0, ring_run(f->ring, stop_when_reached, &u));
}

static int setup(void **state)
{
    struct spool_fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    spool_fixture_open(f, make_ring());
    f->run = run_real;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct spool_fixture *f = *state;
    struct ring *ring = f->ring;
    char small[128];

    (void)snprintf(small, sizeof small, "%s/small", f->dir);
    spool_fixture_close(f);
    (void)umount2(small, MNT_DETACH); /* if a test has failed before */
    assert_null(ring_destroy(ring));
    batch_free_kept();
    free(f);
    return 0;
}

static void test_everything_comes_back_by_the_kernels_ring(void **state)
{
    struct spool_fixture *f = *state;

    f->options.segment_bytes = 1 << 20;
    for (unsigned life = 0; life < 4; life++) {
        f->options.sync = life % 2 ? SPOOL_SYNC_ALWAYS : SPOOL_SYNC_NEVER;
        test_start(f);
        assert_non_null(test_cursor(f->spool, "a"));
        for (size_t i = 0; i < 40; i++)
            assert_int_equal(0, test_append(f, 1 + i, 1 << i % 16));
        f->run(f, is_all_done);
        test_stop(f);
    }
    test_start(f);
    assert_int_equal(f->count, test_drain(f, test_cursor(f->spool, "a"), 0, 200000));
    assert_int_equal(0, f->damaged);
    assert_int_equal(0, spool_stats_get(f->spool)->bytes_torn);
}

/* ---- killed ---- */

struct worker {
    struct spool_append append;
    struct spool *spool;
    struct source *source;
    struct ring *ring;
    uint32_t round, next;
    int pipe;
};

#define LINES_PER_APPEND 7

static void worker_append(struct worker *w)
{
    struct batch *b = batch_create(NULL, NULL);
    char line[3000];

    if (!b)
        _exit(3);
    memset(line, 'x', sizeof line);
    for (size_t i = 0; i < LINES_PER_APPEND; i++, w->next++) {
        uint32_t head[2] = {w->round, w->next};

        memcpy(line, head, sizeof head);
        if (batch_append(b, w->source, RECORD_STDOUT, w->next, 0,
                         slice_of(line, sizeof head + w->next * 37 % 2900)) < 0)
            _exit(3);
    }
    if (spool_append_batch(w->spool, &w->append, b, UINT16_MAX) < 0)
        _exit(3);
    (void)batch_unref(b);
}

static void worker_done(struct spool_append *a)
{
    struct worker *w = container_of(a, struct worker, append);
    uint32_t acknowledged = (uint32_t)(a->end.record - a->begin.record);

    if (write(w->pipe, &acknowledged, sizeof acknowledged) != sizeof acknowledged)
        _exit(3);
    worker_append(w);
}

static _Noreturn void run_worker(const struct spool_options *options, struct source *source,
                                 uint32_t round, int fd)
{
    struct worker w = {.append.done = worker_done, .source = source, .round = round, .pipe = fd};
    struct ring_refusal refusal;
    char why[256];

    if (ring_create(&ring_options, &w.ring, &refusal) < 0 ||
        spool_open(w.ring, options, &w.spool, why, sizeof why) < 0 || !test_cursor(w.spool, "a"))
        _exit(3);
    worker_append(&w);
    (void)ring_run(w.ring, NULL, NULL);
    _exit(3);
}

/** Lets a worker append until it has had `count` acknowledgements, and kills it somewhere behind.
 */
static uint32_t kill_one(struct spool_fixture *f, uint32_t round, uint64_t count)
{
    uint32_t acknowledged = 0, one;
    int ends[2], status;
    pid_t pid;

    assert_int_equal(0, pipe2(ends, O_CLOEXEC));
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(ends[0]);
        run_worker(&f->options, f->sources[1], round, ends[1]);
    }
    (void)close(ends[1]);
    for (uint64_t i = 0; i < count; i++) {
        assert_int_equal(sizeof one, read(ends[0], &one, sizeof one));
        acknowledged += one;
    }
    usleep((useconds_t)random_below(&f->random, 700));
    assert_int_equal(0, kill(pid, SIGKILL));
    assert_int_equal(pid, waitpid(pid, &status, 0));
    assert_true(WIFSIGNALED(status));
    while (read(ends[0], &one, sizeof one) == sizeof one)
        acknowledged += one;
    (void)close(ends[0]);
    return acknowledged;
}

static void test_nothing_that_was_done_is_lost_by_a_kill(void **state)
{
    struct spool_fixture *f = *state;
    enum { ROUNDS = 40 };
    uint32_t acknowledged[ROUNDS], came[ROUNDS] = {0};
    struct spool_place place = {0};
    int r;

    f->options.segment_bytes = 100000;
    test_start(f);
    assert_non_null(test_cursor(f->spool, "a"));
    test_stop(f);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        f->options.sync = round % 4 ? SPOOL_SYNC_NEVER : SPOOL_SYNC_ALWAYS;
        acknowledged[round] = kill_one(f, round, random_below(&f->random, 30));
    }
    test_start(f);
    while ((r = test_read(f, place, 100000)) == 0) {
        struct batch *b = f->read.batch;

        assert_int_equal(0, f->read.skipped);
        for (size_t i = 0; b && i < b->count; i++) {
            uint32_t head[2];

            memcpy(head, b->records[i].data, sizeof head);
            assert_true(head[0] < ROUNDS);
            assert_int_equal(came[head[0]], head[1]);
            came[head[0]]++;
        }
        (void)batch_unref(b);
        place = f->read.end;
    }
    assert_int_equal(-ENODATA, r);
    for (uint32_t round = 0; round < ROUNDS; round++)
        assert_true(came[round] >= acknowledged[round]);
}

/* ---- bounds ---- */

static size_t resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    assert_non_null(file);
    assert_int_equal(2, fscanf(file, "%lu %lu", &size, &resident));
    (void)fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/** Not by way of the fixture, which keeps what it has appended. */
static void test_a_spool_larger_than_memory_drains(void **state)
{
    struct spool_fixture *f = *state;
    enum { BATCHES = 256, LINES = 256, LINE_BYTES = 1024 };
    char line[LINE_BYTES];
    struct spool_place place = {0};
    size_t before, most = 0;
    uint64_t records = 0;
    int r;

    memset(line, 'y', sizeof line);
    f->options.segment_bytes = 8 << 20;
    test_start(f);
    before = resident_bytes();
    for (size_t i = 0; i < BATCHES; i++) {
        struct batch *b = batch_create(NULL, NULL);

        assert_non_null(b);
        for (size_t k = 0; k < LINES; k++)
            assert_int_equal(0, batch_append(b, f->sources[k % TEST_SOURCES], RECORD_STDOUT, 1, 0,
                                             slice_of(line, sizeof line)));
        assert_int_equal(0, test_append_batch(f, b));
        f->run(f, is_all_done);
        most = MAX(most, resident_bytes());
    }
    while ((r = test_read(f, place, 1 << 20)) == 0) {
        assert_int_equal(0, f->read.skipped);
        records += f->read.batch ? f->read.batch->count : 0;
        (void)batch_unref(f->read.batch);
        place = f->read.end;
        most = MAX(most, resident_bytes());
    }
    assert_int_equal(-ENODATA, r);
    assert_int_equal(BATCHES * LINES, records);
    assert_true(most < before + ((size_t)24 << 20));
}

static bool is_failing(const struct spool_fixture *f)
{
    return spool_stats_get(f->spool)->last_error != 0;
}

static void test_a_full_disk_is_waited_out(void **state)
{
    struct spool_fixture *f = *state;
    char small[128], filler[128];
    char zeros[65536] = {0};
    ssize_t n;
    int fd;

    (void)snprintf(small, sizeof small, "%s/small", f->dir);
    assert_int_equal(0, mkdir(small, 0700));
    if (mount("none", small, "tmpfs", 0, "size=1m") < 0) {
        print_message("a small file system can't be mounted here: %s\n", strerror(errno));
        skip();
    }
    (void)snprintf(f->spool_dir, sizeof f->spool_dir, "%s/small/spool", f->dir);
    f->options.segment_bytes = 1 << 16;
    f->options.retry_ms = 5;
    test_start(f);
    assert_non_null(test_cursor(f->spool, "a"));
    assert_int_equal(0, test_append(f, 10, 100));
    f->run(f, is_all_done);
    (void)snprintf(filler, sizeof filler, "%s/small/filler", f->dir);
    fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    do {
        n = write(fd, zeros, sizeof zeros);
    } while (n > 0);
    assert_int_equal(ENOSPC, errno);
    (void)close(fd);

    for (size_t i = 0; i < 20; i++)
        assert_int_equal(0, test_append(f, 10, 1000));
    f->run(f, is_failing);
    assert_int_equal(-ENOSPC, spool_stats_get(f->spool)->last_error);
    assert_true(f->done < 21);
    assert_int_equal(0, unlink(filler));
    f->run(f, is_all_done);
    assert_int_equal(21, f->done);
    assert_int_equal(210, test_drain(f, test_cursor(f->spool, "a"), 0, 10000));
    assert_int_equal(0, f->damaged);
    test_stop(f);
    assert_int_equal(0, umount(small));
}

int main(void)
{
#define TEST(title, fn)                                                                            \
    {                                                                                              \
        title, fn, setup, teardown, NULL                                                           \
    }
    const struct CMUnitTest tests[] = {
        TEST("everything comes back by the kernel's ring",
             test_everything_comes_back_by_the_kernels_ring),
        TEST("S30 nothing that was done is lost by a kill",
             test_nothing_that_was_done_is_lost_by_a_kill),
        TEST("S31 a spool larger than memory drains", test_a_spool_larger_than_memory_drains),
        TEST("S37 a full disk is waited out", test_a_full_disk_is_waited_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
