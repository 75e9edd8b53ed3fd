/*
 * Many containers that say one line and then nothing: what ringtail costs then. Memory is only
 * looked at where no sanitizer adds its own. How much processor time it takes is printed; what is
 * asserted has room for a busy machine.
 */
#include "dock.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ringtail/base/clock.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define CONTAINERS_COUNT 200
#define RSS_MAX_KIB (16 * 1024)
#define WATCHED_MS 20000

struct usage {
    int threads;
    int64_t cpu_ns;
    int64_t at_mono_ns;
};

/* Of all its threads, those that the kernel runs for its ring among them. */
static struct usage usage_of(pid_t pid)
{
    struct usage usage = {.at_mono_ns = clock_mono_ns()};
    char path[320];
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        int64_t ns = 0;
        FILE *file;

        if (e->d_name[0] == '.')
            continue;
        usage.threads++;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)pid, e->d_name);
        file = fopen(path, "re");
        if (!file)
            continue; /* it has just ended */
        assert_int_equal(1, fscanf(file, "%" SCNd64, &ns));
        usage.cpu_ns += ns;
        fclose(file);
    }
    closedir(dir);
    return usage;
}

static bool start(void *ctx, size_t index)
{
    static const char *const args[] = {"/writer", "--count", "1", "--linger", "86400", NULL};

    return dock_run(&(struct dock_spec){.args = args}, (struct dock_container *)ctx + index);
}

static void test_idle(void **state)
{
    const size_t count = CONTAINERS_COUNT;
    struct dock_container *containers = calloc(count, sizeof *containers);
    struct dock *d = *state;
    int64_t began_ns = clock_mono_ns();
    struct usage before, after;
    long rss_kib;
    int threads_at_rest;
    double share;

    assert_non_null(containers);
    dock_ringtail(d, "--since", "all");
    dock_wait_log(d, "Following containers", NULL, 1);
    threads_at_rest = usage_of(d->ringtail.pid).threads;
    dock_assert(d, dock_parallel(count, 8, start, containers));
    printf("%zu containers started in %.1f s\n", count,
           (double)(clock_mono_ns() - began_ns) / (double)NSEC_PER_SEC);
    for (size_t i = 0; i < count; i++)
        dock_tell_written(d, &containers[i], &dock_one_line);
    dock_wait_complete(d);
    dock_wait_log(d, "Stream opened", NULL, count);

    /* The kernel's own workers for files go after five seconds without work. */
    dock_sleep_ms(6000);
    before = usage_of(d->ringtail.pid);
    dock_sleep_ms(WATCHED_MS);
    after = usage_of(d->ringtail.pid);
    rss_kib = ringtail_proc_rss_kib(&d->ringtail);
    share = (double)(after.cpu_ns - before.cpu_ns) / (double)(after.at_mono_ns - before.at_mono_ns);
    printf("%zu idle containers: %.3f %% of a core, %ld KiB resident, %d threads (%d before), %ld "
           "descriptors\n",
           count, 100 * share, rss_kib, after.threads, threads_at_rest,
           ringtail_proc_descriptors(&d->ringtail));
    assert_int_equal(threads_at_rest, after.threads);
    assert_true(share < 0.02);
    if (!SANITIZED && rss_kib >= RSS_MAX_KIB)
        dock_fail(d, "%ld KiB resident", rss_kib);
    assert_int_equal(count, ringtail_proc_log_count(&d->ringtail, "Stream opened", NULL));
    dock_stop(d);
    free(containers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DOCK_TEST("idle containers cost a little memory and nothing else", test_idle),
    };

    return dock_main(tests, false);
}
