/*
 * The harness: picks benchmarks, checks them, runs rounds, prints one line for each benchmark and
 * round. perf/micro/run makes results of these lines; what they mean is in perf/micro/README.md.
 *
 *   NAME <tab> UNIT <tab> ROUND <tab> NS PER PASS <tab> UNITS PER PASS <tab> BYTES PER PASS
 *
 * A round's figure is the median CPU time of its passes: one that was disturbed does not count.
 */
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "ringtail/base/macros.h"
#include "ringtail/record/batch.h"

#define EXIT_USAGE 2
#define PASSES_MAX 100000
#define WARM_UP_PASSES 3
#define ONLY_MAX 64

static const struct bench *const lists[] = {bench_text, bench_wire, bench_path, bench_state};

struct settings {
    const char *only[ONLY_MAX];
    size_t only_count;
    unsigned rounds, round_ms;
    unsigned passes; /* 0: as many as fit into round_ms */
    bool list, check;
};

void *bench_alloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);

    bench_require(p);
    return p;
}

/* By this name an instruction counter knows what to count. */
__attribute__((noinline)) static void bench_timed(struct bench_job *job)
{
    job->bench->pass(job);
    __asm__ volatile("" : : : "memory");
}

/* Of this thread: what others make of the processor meanwhile is not ours. */
static int64_t cpu_ns(void)
{
    struct timespec ts;

    bench_require(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts) == 0);
    return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static int compare_ns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void run_round(struct bench_job *job, const struct settings *s, unsigned round)
{
    static int64_t times[PASSES_MAX];
    int64_t total = 0, budget = (int64_t)s->round_ms * NSEC_PER_MSEC;
    size_t count = 0, most = s->passes ? s->passes : PASSES_MAX;

    for (unsigned i = 0; i < WARM_UP_PASSES; i++) {
        if (job->bench->prepare)
            job->bench->prepare(job);
        job->bench->pass(job);
    }
    while (count < most && (s->passes || count == 0 || total < budget)) {
        int64_t began;

        if (job->bench->prepare)
            job->bench->prepare(job);
        began = cpu_ns();
        bench_timed(job);
        times[count] = cpu_ns() - began;
        total += times[count++];
    }
    qsort(times, count, sizeof times[0], compare_ns);
    printf("%s\t%s\t%u\t%" PRId64 "\t%" PRIu64 "\t%" PRIu64 "\n", job->bench->name,
           job->bench->unit, round, times[count / 2], job->units, job->bytes);
    (void)fflush(stdout);
}

static bool is_wanted(const struct settings *s, const struct bench *b)
{
    for (size_t i = 0; i < s->only_count; i++) {
        if (strcmp(s->only[i], b->name) == 0)
            return true;
    }
    return s->only_count == 0;
}

static size_t open_wanted(const struct settings *s, struct bench_job *jobs, size_t jobs_max)
{
    size_t count = 0;

    for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
        for (const struct bench *b = lists[l]; b->name; b++) {
            struct bench_job *job = &jobs[count];

            if (!is_wanted(s, b))
                continue;
            if (s->list) {
                printf("%s\t%s\n", b->name, b->unit);
                continue;
            }
            bench_require(count < jobs_max);
            *job = (struct bench_job){.bench = b};
            b->open(job);
            if (b->prepare)
                b->prepare(job);
            b->check(job);
            count++;
        }
    }
    return count;
}

static int number_read(const char *text, unsigned most, unsigned *ret)
{
    char *end;
    unsigned long n;

    errno = 0;
    n = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || n > most)
        return -EINVAL;
    *ret = (unsigned)n;
    return 0;
}

static int settings_read(struct settings *s, int argc, char **argv)
{
    static const struct option options[] = {
        {"list", no_argument, NULL, 'l'},
        {"check", no_argument, NULL, 'c'},
        {"only", required_argument, NULL, 'o'},
        {"rounds", required_argument, NULL, 'r'},
        {"ms", required_argument, NULL, 'm'},
        {"passes", required_argument, NULL, 'p'},
        {0},
    };
    int opt, r = 0;

    while (r == 0 && (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (opt) {
        case 'l':
            s->list = true;
            break;
        case 'c':
            s->check = true;
            break;
        case 'o':
            if (s->only_count == ONLY_MAX)
                return -EINVAL;
            s->only[s->only_count++] = optarg;
            break;
        case 'r':
            r = number_read(optarg, 1000, &s->rounds);
            break;
        case 'm':
            r = number_read(optarg, 60000, &s->round_ms);
            break;
        case 'p':
            r = number_read(optarg, PASSES_MAX, &s->passes);
            break;
        default:
            return -EINVAL;
        }
    }
    return r < 0 || optind < argc ? -EINVAL : 0;
}

int main(int argc, char **argv)
{
    struct settings s = {.rounds = 5, .round_ms = 100};
    struct bench_job jobs[ONLY_MAX];
    size_t count;

    if (settings_read(&s, argc, argv) < 0) {
        fprintf(stderr,
                "usage: %s [--list] [--check] [--only NAME]... [--rounds N] [--ms N] "
                "[--passes N]\n",
                argv[0]);
        return EXIT_USAGE;
    }
    count = open_wanted(&s, jobs, ARRAY_SIZE(jobs));
    if (count == 0 && !s.list) {
        fprintf(stderr, "%s: there is no such benchmark (--list shows them)\n", argv[0]);
        return EXIT_USAGE;
    }
    for (unsigned round = 0; !s.check && round < s.rounds; round++) {
        for (size_t i = 0; i < count; i++)
            run_round(&jobs[i], &s, round);
    }
    for (size_t i = 0; i < count; i++)
        jobs[i].bench->close(&jobs[i]);
    batch_free_kept();
    return 0;
}
