/*
 * How fast the spool takes records and gives them back, beside how fast the same disk takes as many
 * bytes from plain writes: spool-bench DIRECTORY [MIB] [LINE_BYTES] [ROUNDS]
 *
 * Appends like an outbox does: some batches are always on their way. Everything is timed with what
 * it takes to bring it to the disk; beside what is synced all the time there are plain writes with
 * as many syncs. Disks are moody, so they take turns, and what counts is the median of the rounds'
 * ratios.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"
#include "ringtail/spool/spool.h"

#define SOURCES 200
#define BATCH_RECORDS 2000
#define ON_THEIR_WAY 8
#define READ_BYTES ((size_t)1 << 20)
#define WRITE_BYTES ((size_t)1 << 20)
#define ROUNDS_MAX 99

struct bench {
    struct ring *ring;
    struct spool *spool;
    struct source *sources[SOURCES];
    struct batch *batch;
    struct spool_append appends[ON_THEIR_WAY];
    struct spool_read read;
    struct spool_cursor *cursor;
    uint64_t records, wanted, done, came, syncs;
};

static struct bench bench;

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "does not hold: %s\n", what);
    exit(1);
}

static double cpu_seconds(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void append_one(struct spool_append *a)
{
    if (bench.records >= bench.wanted)
        return;
    bench.records += BATCH_RECORDS;
    require(spool_append_batch(bench.spool, a, bench.batch, spool_cursor_bit(bench.cursor)) == 0,
            "room for a batch");
}

static void on_appended(struct spool_append *a)
{
    bench.done += BATCH_RECORDS;
    append_one(a);
    if (bench.done >= bench.wanted)
        ring_stop(bench.ring);
}

static void on_read(struct spool_read *r, int res)
{
    if (res == -ENODATA) {
        ring_stop(bench.ring);
        return;
    }
    require(res == 0 && r->skipped == 0, "a whole spool");
    bench.came += r->batch ? r->batch->count : 0;
    (void)batch_unref(r->batch);
    spool_read_from(bench.spool, r, bench.cursor, r->end, READ_BYTES);
}

static void stop_when_idle(void *ctx)
{
    (void)ctx;
    if (spool_is_idle(bench.spool))
        ring_stop(bench.ring);
}

enum what { PLAIN, APPEND, PLAIN_SYNCED, APPEND_SYNCED, READ, WHAT_COUNT };

struct result {
    double mb_per_s, to_plain, ns, cpu_ns; /* the last two for each record */
};

static struct result results[WHAT_COUNT][ROUNDS_MAX];
static unsigned rounds_done;

static void note(enum what what, int64_t ns, double cpu, uint64_t bytes, uint64_t records)
{
    struct result *r = &results[what][rounds_done];

    r->mb_per_s = (double)bytes * 1e3 / (double)ns;
    r->ns = records > 0 ? (double)ns / (double)records : 0;
    r->cpu_ns = records > 0 ? cpu * 1e9 / (double)records : 0;
}

/** The round is over. */
static void compare(void)
{
    for (enum what what = PLAIN; what < WHAT_COUNT; what++) {
        bool is_synced = what == PLAIN_SYNCED || what == APPEND_SYNCED;
        struct result *r = &results[what][rounds_done];

        r->to_plain = r->mb_per_s / results[is_synced ? PLAIN_SYNCED : PLAIN][rounds_done].mb_per_s;
    }
    rounds_done++;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median(enum what what, size_t offset)
{
    double all[ROUNDS_MAX];

    for (unsigned i = 0; i < rounds_done; i++)
        memcpy(&all[i], (const char *)&results[what][i] + offset, sizeof all[i]);
    qsort(all, rounds_done, sizeof all[0], by_size);
    return all[rounds_done / 2];
}

static void print_all(void)
{
    static const char *const names[WHAT_COUNT] = {
        [PLAIN] = "plain writes, one sync",
        [APPEND] = "append, one sync",
        [PLAIN_SYNCED] = "plain writes, synced",
        [APPEND_SYNCED] = "append, all synced",
        [READ] = "read",
    };

    printf("%-24s %10s %10s %10s %10s\n", "", "MB/s", "to plain", "ns/record", "CPU ns");
    for (enum what what = PLAIN; what < WHAT_COUNT; what++)
        printf("%-24s %10.0f %9.0f%% %10.0f %10.0f\n", names[what],
               median(what, offsetof(struct result, mb_per_s)),
               100 * median(what, offsetof(struct result, to_plain)),
               median(what, offsetof(struct result, ns)),
               median(what, offsetof(struct result, cpu_ns)));
}

/** Brings the files of a directory to the disk, and nobody else's. */
static void sync_files(const char *directory)
{
    DIR *dir = opendir(directory);
    struct dirent *e;

    require(dir != NULL, "a directory");
    while ((e = readdir(dir))) {
        int fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

        require(fd >= 0 && (e->d_name[0] == '.' || fdatasync(fd) == 0), "a sync");
        (void)close(fd);
    }
    (void)closedir(dir);
}

/** What the disk does with nothing in between. */
static void write_plainly(const char *directory, enum what what, uint64_t bytes, uint64_t syncs)
{
    static char block[WRITE_BYTES];
    char path[4096];
    int64_t begin;
    double cpu;
    int fd;

    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)(i * 7 + i / 13);
    (void)snprintf(path, sizeof path, "%s/plain", directory);
    begin = clock_mono_ns();
    cpu = cpu_seconds();
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    require(fd >= 0, "a file");
    for (uint64_t at = 0, synced = 1; at < bytes; at += sizeof block) {
        if (at * syncs >= synced * bytes) {
            require(fdatasync(fd) == 0, "a sync");
            synced++;
        }
        require(write(fd, block, sizeof block) == (ssize_t)sizeof block, "a whole write");
    }
    require(fdatasync(fd) == 0, "a sync");
    note(what, clock_mono_ns() - begin, cpu_seconds() - cpu, bytes, 0);
    (void)close(fd);
    (void)unlink(path);
}

static void make_batch(size_t line_bytes)
{
    char *line = malloc(line_bytes);

    require(line != NULL, "memory");
    bench.batch = batch_create(NULL, NULL);
    for (size_t i = 0; i < SOURCES; i++) {
        char id[SOURCE_ID_LEN + 1];

        (void)snprintf(id, sizeof id, "%064zx", i);
        bench.sources[i] = source_create(slice_str(id), slice_str("some-name"),
                                         slice_str("registry/some/image:1.2.3"));
    }
    for (size_t i = 0; i < BATCH_RECORDS; i++) {
        memset(line, (int)('a' + i % 26), line_bytes);
        require(batch_append(bench.batch, bench.sources[i * 7 % SOURCES], RECORD_STDOUT, 1, 0,
                             slice_of(line, line_bytes)) == 0,
                "memory");
    }
    free(line);
}

static void finish(void)
{
    spool_finish(bench.spool);
    if (!spool_is_idle(bench.spool))
        require(ring_run(bench.ring, stop_when_idle, NULL) == 0, "the ring");
    bench.spool = spool_close(bench.spool);
}

static void open_spool(const char *path, enum spool_sync sync)
{
    const struct spool_options options = {
        .directory = path,
        .bytes_max = INT64_MAX,
        .segment_bytes = (int64_t)64 << 20,
        .retry_ms = 1000,
        .sync = sync,
    };
    char why[256];

    if (spool_open(bench.ring, &options, &bench.spool, why, sizeof why) < 0) {
        (void)fprintf(stderr, "%s\n", why);
        exit(1);
    }
    bench.cursor = spool_cursor_get(bench.spool, "bench");
    require(bench.cursor != NULL, "memory");
    spool_cursor_set(bench.cursor, spool_end(bench.spool));
}

static uint64_t append_all(const char *path, enum spool_sync sync)
{
    uint64_t bytes;
    int64_t begin;
    double cpu;

    open_spool(path, sync);
    bench.records = bench.done = bench.came = 0;
    begin = clock_mono_ns();
    cpu = cpu_seconds();
    for (size_t i = 0; i < ON_THEIR_WAY; i++) {
        bench.appends[i] = (struct spool_append){.done = on_appended};
        append_one(&bench.appends[i]);
    }
    require(ring_run(bench.ring, NULL, NULL) == 0, "the ring");
    bytes = spool_stats_get(bench.spool)->bytes;
    bench.syncs = spool_stats_get(bench.spool)->syncs;
    if (sync == SPOOL_SYNC_NEVER)
        sync_files(path);
    note(sync == SPOOL_SYNC_NEVER ? APPEND : APPEND_SYNCED, clock_mono_ns() - begin,
         cpu_seconds() - cpu, bytes, bench.done);
    return bytes;
}

static void read_all(uint64_t bytes)
{
    struct spool_place end = spool_end(bench.spool);
    int64_t begin = clock_mono_ns();
    double cpu = cpu_seconds();

    bench.read = (struct spool_read){.done = on_read};
    spool_read_from(bench.spool, &bench.read, bench.cursor, spool_cursor_place(bench.cursor),
                    READ_BYTES);
    require(ring_run(bench.ring, NULL, NULL) == 0, "the ring");
    require(bench.came == bench.done, "every record");
    note(READ, clock_mono_ns() - begin, cpu_seconds() - cpu, bytes, bench.came);
    spool_cursor_set(bench.cursor, end);
}

int main(int argc, char **argv)
{
    const struct ring_options ring_options = {
        .entries = 256,
        .sockets_max = 16,
        .buffers_count = 4,
        .buffer_bytes = 4096,
        .workers_max = 2,
        .batch_pause_us = 1000,
    };
    uint64_t mib = argc > 2 ? strtoull(argv[2], NULL, 10) : 256;
    size_t line_bytes = argc > 3 ? strtoull(argv[3], NULL, 10) : 150;
    unsigned long rounds = argc > 4 ? strtoul(argv[4], NULL, 10) : 9;
    struct ring_refusal refusal;
    char path[4096];

    if (argc < 2 || mib == 0 || line_bytes == 0 || rounds == 0 || rounds > ROUNDS_MAX) {
        (void)fprintf(stderr, "usage: spool-bench DIRECTORY [MIB] [LINE_BYTES] [ROUNDS]\n");
        return 2;
    }
    if (ring_create(&ring_options, &bench.ring, &refusal) < 0) {
        (void)fprintf(stderr, "%s\n", refusal.reason);
        return 77;
    }
    (void)snprintf(path, sizeof path, "%s/records", argv[1]);
    make_batch(line_bytes);
    bench.wanted = (mib << 20) / line_bytes / BATCH_RECORDS * BATCH_RECORDS + BATCH_RECORDS;
    while (rounds_done < rounds) {
        write_plainly(argv[1], PLAIN, bench.wanted * (line_bytes + 48), 1);
        for (enum spool_sync sync = SPOOL_SYNC_NEVER; sync <= SPOOL_SYNC_ALWAYS; sync++) {
            read_all(append_all(path, sync));
            finish();
        }
        write_plainly(argv[1], PLAIN_SYNCED, bench.wanted * (line_bytes + 48), bench.syncs);
        compare();
    }
    print_all();
    (void)batch_unref(bench.batch);
    for (size_t i = 0; i < SOURCES; i++)
        (void)source_unref(bench.sources[i]);
    batch_free_kept();
    (void)ring_destroy(bench.ring);
    return 0;
}
