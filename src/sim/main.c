/*
 * ringtail-sim: the simulated Engine as a program, for demonstrations and as a load generator.
 * Reads its options, fills an Engine with containers, and waits for a signal. Everything else is
 * the library's.
 */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"
#include "ringtail/sim/sim.h"

#define EXIT_USAGE 2
#define LOG_OPTIONS_MAX 8

static const char help[] =
    "Usage: ringtail-sim --socket PATH [OPTION]…\n"
    "\n"
    "A simulated Docker Engine: answers ping, version, list, inspect, events and logs on a unix "
    "socket.\n"
    "Its containers write numbered lines, `c=<name> s=<o|e> n=<number> <padding>`.\n"
    "\n"
    "  --socket PATH         where to listen; a socket that is there already is replaced\n"
    "  --engine VERSION      which Engine it is like: 20.10, 26.1 or 28.5 (default 28.5)\n"
    "  --containers N        how many containers run (default 10)\n"
    "  --names PREFIX        they are called PREFIX0, PREFIX1, … (default sim-)\n"
    "  --rate LINES          lines per second of each container, fractions too (default 1)\n"
    "  --firehose            instead of a rate: as fast as the lines are read\n"
    "  --lines N             lines of each container in total (default: without end)\n"
    "  --before N            of these, so many exist already at the start (default 0)\n"
    "  --exit-at-end         a container exits after its last line; without this it idles\n"
    "  --bytes N             length of a line without its newline (default 120)\n"
    "  --stderr-percent P    share of the lines that go to stderr (default 0)\n"
    "  --quotes              padding full of quotes, like JSON\n"
    "  --long-every N        each Nth line is a long one (default: none)\n"
    "  --long-bytes N        length of a long line (default 40000)\n"
    "  --tty                 containers have a terminal: raw streams without frames\n"
    "  --log-opt KEY=VALUE   what inspect says of the log driver's options (max-size=10m); may be\n"
    "                        repeated\n"
    "  --bulk                many records per write, up to 64 KiB; default is one, as Docker does "
    "it\n"
    "  --churn N             so many containers per minute are removed and replaced by new ones\n"
    "  --exit-after SECONDS  end by itself after that time\n"
    "  --help, --version\n"
    "\n"
    "SIGTERM and SIGINT end it and remove the socket. Exit codes: 0 ended well, 1 failed, 2 wrong "
    "usage.\n";

struct settings {
    struct sim_options sim;
    struct sim_generator generator;
    uint64_t containers;
    const char *names;
    bool tty, has_rate;
    struct sim_pair log_options[LOG_OPTIONS_MAX];
    size_t log_options_count;
    double churn_per_min;
    double exit_after_s;
};

/** The containers that run, as a ring: the oldest is the first to be replaced. */
struct population {
    struct sim_container **items;
    uint64_t oldest, numbers;
};

enum {
    OPT_SOCKET = 256,
    OPT_ENGINE,
    OPT_CONTAINERS,
    OPT_NAMES,
    OPT_RATE,
    OPT_FIREHOSE,
    OPT_LINES,
    OPT_BEFORE,
    OPT_EXIT_AT_END,
    OPT_BYTES,
    OPT_STDERR,
    OPT_QUOTES,
    OPT_LONG_EVERY,
    OPT_LONG_BYTES,
    OPT_TTY,
    OPT_LOG_OPT,
    OPT_BULK,
    OPT_CHURN,
    OPT_EXIT_AFTER,
    OPT_HELP,
    OPT_VERSION,
};

static const struct option options[] = {
    {"socket", required_argument, NULL, OPT_SOCKET},
    {"engine", required_argument, NULL, OPT_ENGINE},
    {"containers", required_argument, NULL, OPT_CONTAINERS},
    {"names", required_argument, NULL, OPT_NAMES},
    {"rate", required_argument, NULL, OPT_RATE},
    {"firehose", no_argument, NULL, OPT_FIREHOSE},
    {"lines", required_argument, NULL, OPT_LINES},
    {"before", required_argument, NULL, OPT_BEFORE},
    {"exit-at-end", no_argument, NULL, OPT_EXIT_AT_END},
    {"bytes", required_argument, NULL, OPT_BYTES},
    {"stderr-percent", required_argument, NULL, OPT_STDERR},
    {"quotes", no_argument, NULL, OPT_QUOTES},
    {"long-every", required_argument, NULL, OPT_LONG_EVERY},
    {"long-bytes", required_argument, NULL, OPT_LONG_BYTES},
    {"tty", no_argument, NULL, OPT_TTY},
    {"log-opt", required_argument, NULL, OPT_LOG_OPT},
    {"bulk", no_argument, NULL, OPT_BULK},
    {"churn", required_argument, NULL, OPT_CHURN},
    {"exit-after", required_argument, NULL, OPT_EXIT_AFTER},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {0},
};

/** 0, or -EINVAL after having said what is wrong. */
static int count_parse(const char *name, const char *text, uint64_t least, uint64_t most,
                       uint64_t *ret)
{
    char *end;
    unsigned long long n;

    errno = 0;
    n = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || n < least || n > most) {
        fprintf(stderr, "ringtail-sim: --%s: '%s' is not a whole number from %llu to %llu\n", name,
                text, (unsigned long long)least, (unsigned long long)most);
        return -EINVAL;
    }
    *ret = n;
    return 0;
}

static int real_parse(const char *name, const char *text, double most, double *ret)
{
    char *end;
    double n = strtod(text, &end);

    if (end == text || *end || !isfinite(n) || n < 0 || n > most) {
        fprintf(stderr, "ringtail-sim: --%s: '%s' is not a number from 0 to %.0f\n", name, text,
                most);
        return -EINVAL;
    }
    *ret = n;
    return 0;
}

static int engine_parse(const char *text, enum sim_engine *ret)
{
    static const char *const names[] = {
        [SIM_ENGINE_28_5] = "28.5", [SIM_ENGINE_26_1] = "26.1", [SIM_ENGINE_20_10] = "20.10"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum sim_engine)i;
            return 0;
        }
    }
    fprintf(stderr, "ringtail-sim: --engine: '%s' is none of 20.10, 26.1, 28.5\n", text);
    return -EINVAL;
}

/* The text is an argument of main's, which nobody else reads: cut in two where it stands. */
static int log_option_add(struct settings *s, char *text)
{
    char *equals = strchr(text, '=');

    if (!equals || equals == text || s->log_options_count == LOG_OPTIONS_MAX) {
        fprintf(stderr, "ringtail-sim: --log-opt: '%s' is not KEY=VALUE, or one too many\n", text);
        return -EINVAL;
    }
    *equals = '\0';
    s->log_options[s->log_options_count++] = (struct sim_pair){text, equals + 1};
    return 0;
}

static int option_take(struct settings *s, int opt, const char *name, char *text)
{
    uint64_t n = 0;
    int r = 0;

    switch (opt) {
    case OPT_SOCKET:
        s->sim.socket_path = text;
        break;
    case OPT_ENGINE:
        return engine_parse(text, &s->sim.engine);
    case OPT_CONTAINERS:
        return count_parse(name, text, 0, 100000, &s->containers);
    case OPT_NAMES:
        s->names = text;
        break;
    case OPT_RATE:
        s->has_rate = true;
        return real_parse(name, text, 1e7, &s->generator.lines_per_s);
    case OPT_FIREHOSE:
        s->generator.firehose = true;
        break;
    case OPT_LINES:
        return count_parse(name, text, 1, UINT64_C(1000000000000), &s->generator.lines);
    case OPT_BEFORE:
        return count_parse(name, text, 0, UINT64_C(1000000000000), &s->generator.lines_before);
    case OPT_EXIT_AT_END:
        s->generator.exit_at_end = true;
        break;
    case OPT_BYTES:
        r = count_parse(name, text, 1, 16 << 20, &n);
        s->generator.line_bytes = (uint32_t)n;
        break;
    case OPT_STDERR:
        r = count_parse(name, text, 0, 100, &n);
        s->generator.stderr_percent = (uint32_t)n;
        break;
    case OPT_QUOTES:
        s->generator.quotes = true;
        break;
    case OPT_LONG_EVERY:
        r = count_parse(name, text, 1, UINT32_MAX, &n);
        s->generator.long_every = (uint32_t)n;
        break;
    case OPT_LONG_BYTES:
        r = count_parse(name, text, 1, 16 << 20, &n);
        s->generator.long_bytes = (uint32_t)n;
        break;
    case OPT_TTY:
        s->tty = true;
        break;
    case OPT_LOG_OPT:
        return log_option_add(s, text);
    case OPT_BULK:
        s->sim.bulk = true;
        break;
    case OPT_CHURN:
        return real_parse(name, text, 60000, &s->churn_per_min);
    case OPT_EXIT_AFTER:
        return real_parse(name, text, 1e9, &s->exit_after_s);
    default: /* getopt has said what it is */
        return -EINVAL;
    }
    return r;
}

/** 0; 1 when it is answered already (help, version); -EINVAL. */
static int settings_read(struct settings *s, int argc, char **argv)
{
    int opt, index = 0;

    while ((opt = getopt_long(argc, argv, "", options, &index)) != -1) {
        if (opt == OPT_HELP) {
            fputs(help, stdout);
            return 1;
        }
        if (opt == OPT_VERSION) {
            puts("ringtail-sim " RINGTAIL_VERSION);
            return 1;
        }
        if (option_take(s, opt, options[index].name, optarg) < 0)
            return -EINVAL;
    }
    if (optind < argc) {
        fprintf(stderr, "ringtail-sim: '%s' is not an option\n", argv[optind]);
        return -EINVAL;
    }
    if (!s->sim.socket_path || !*s->sim.socket_path) {
        fprintf(stderr, "ringtail-sim: --socket PATH is missing\n");
        return -EINVAL;
    }
    if (s->generator.firehose && s->has_rate) {
        fprintf(stderr, "ringtail-sim: --rate and --firehose exclude each other\n");
        return -EINVAL;
    }
    if (!s->generator.firehose && !s->has_rate)
        s->generator.lines_per_s = 1;
    return 0;
}

static int population_add(struct population *p, const struct settings *s, struct sim *sim,
                          uint64_t place)
{
    struct sim_spec spec = {.tty = s->tty,
                            .generator = &s->generator,
                            .log_options = s->log_options,
                            .log_options_count = s->log_options_count};
    char name[256];

    snprintf(name, sizeof name, "%s%llu", s->names, (unsigned long long)p->numbers++);
    spec.name = name;
    return sim_container_add(sim, &spec, &p->items[place]);
}

static int population_replace_oldest(struct population *p, const struct settings *s,
                                     struct sim *sim)
{
    uint64_t place = p->oldest++ % s->containers;

    (void)sim_container_remove(p->items[place]); /* it is there, since nobody else removes any */
    sim_container_release(p->items[place]);
    return population_add(p, s, sim, place);
}

/** Thousands of followers need thousands of descriptors; what the limit allows is what there will
 * be. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/** Until a signal, or until the time is over; replaces containers meanwhile. */
static int serve(struct population *p, const struct settings *s, struct sim *sim,
                 const sigset_t *signals)
{
    int64_t start = clock_mono_ns(), end = INT64_MAX, step = INT64_MAX, next = INT64_MAX;

    if (s->exit_after_s > 0)
        end = start + (int64_t)(s->exit_after_s * (double)NSEC_PER_SEC);
    if (s->churn_per_min > 0 && s->containers > 0) {
        step = (int64_t)(60.0 / s->churn_per_min * (double)NSEC_PER_SEC);
        next = start + step;
    }
    for (;;) {
        int64_t now = clock_mono_ns(), wait = MIN(end, next) - now;
        struct timespec ts = {.tv_sec = (time_t)(MAX(wait, 0) / NSEC_PER_SEC),
                              .tv_nsec = MAX(wait, 0) % NSEC_PER_SEC};

        if (now >= end)
            return 0;
        if (now >= next) {
            int r = population_replace_oldest(p, s, sim);

            if (r < 0)
                return r;
            next += step;
            continue;
        }
        if (sigtimedwait(signals, NULL, &ts) > 0)
            return 0;
    }
}

int main(int argc, char **argv)
{
    struct settings s = {.containers = 10,
                         .names = "sim-",
                         .generator.long_bytes = 40000,
                         .sim.seed = (uint64_t)clock_wall_ns()}; /* other ids each time */
    struct population p = {0};
    struct sim *sim = NULL;
    sigset_t signals;
    int r = settings_read(&s, argc, argv);

    if (r != 0)
        return r > 0 ? EXIT_SUCCESS : EXIT_USAGE;

    /* Before the thread begins, so that it inherits the mask and the signals wait for us. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    raise_descriptor_limit();

    r = sim_create(&s.sim, &sim);
    if (r < 0) {
        fprintf(stderr, "ringtail-sim: cannot listen on %s: %s\n", s.sim.socket_path, strerror(-r));
        return EXIT_FAILURE;
    }
    p.items = calloc(s.containers + 1, sizeof(struct sim_container *));
    if (!p.items)
        r = -ENOMEM;
    for (uint64_t i = 0; r == 0 && i < s.containers; i++)
        r = population_add(&p, &s, sim, i);
    if (r == 0) {
        printf("ringtail-sim: ready on %s with %llu containers\n", sim_url(sim),
               (unsigned long long)s.containers);
        (void)fflush(stdout);
        r = serve(&p, &s, sim, &signals);
    }
    if (r < 0)
        fprintf(stderr, "ringtail-sim: cannot add a container: %s\n", strerror(-r));
    sim_destroy(sim);
    free(p.items);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
