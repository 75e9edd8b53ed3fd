/*
 * src/control/doctor.h. Every check runs in a child, so that what it waits for in vain (a name
 * server, a network file system) or stumbles over ends it alone. A child says what it finds into a
 * pipe (doctor_show.h); nothing else of a check comes into this process.
 */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/log.h"
#include "ringtail/control/daemon.h"

#include "doctor_checks.h"
#include "doctor_show.h"

/* A child that was killed is waited for that long; one that the kernel can't end is left behind. */
#define KILLED_TIMEOUT_MS 200
#define READ_BYTES 4096

static size_t once(const struct config *c)
{
    return 1;
}

static size_t for_output(const struct config *c)
{
    return config_has_output(c);
}

static size_t for_each_sink(const struct config *c)
{
    return c->sinks_count;
}

static const struct check {
    const char *name;
    size_t (*count)(const struct config *c); /* how many turns it has */
    void (*run)(struct doctor *d);
} checks[] = {
    {"configuration", once, doctor_check_configuration},
    {"kernel", once, doctor_check_kernel},
    {"ring", once, doctor_check_ring},
    {"process", once, doctor_check_process},
    {"limits", once, doctor_check_limits},
    {"engine", once, doctor_check_engine},
    {"containers", once, doctor_check_containers},
    {"output", for_output, doctor_check_output},
    {"sinks", for_each_sink, doctor_check_sink},
    {"spool", once, doctor_check_spool},
    {"positions", once, doctor_check_positions},
    {"clock", once, doctor_check_clock},
};

/* ---- findings, in the child ---- */

static void put_item(struct doctor *d, char kind, struct slice text)
{
    RT_CLEANUP(buf_finish) struct buf item = {0};

    /* Who can't say what it finds has nothing more to do here. */
    if (doctor_item_append(&item, kind, text) < 0 ||
        write(d->fd, item.data, item.len) != (ssize_t)item.len)
        _exit(EXIT_FAILED);
}

static void put_text(struct doctor *d, char kind, const char *fmt, va_list ap)
{
    RT_CLEANUP(buf_finish) struct buf text = {0};

    if (buf_vprintf(&text, fmt, ap) < 0)
        _exit(EXIT_FAILED); /* the same */
    put_item(d, kind, buf_slice(&text));
}

void doctor_find(struct doctor *d, enum doctor_level level, const char *subject, const char *fmt,
                 ...)
{
    va_list ap;

    put_item(d, DOCTOR_ITEM_LEVEL(level), slice_str(subject));
    va_start(ap, fmt);
    put_text(d, DOCTOR_ITEM_TEXT, fmt, ap);
    va_end(ap);
}

void doctor_advise(struct doctor *d, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    put_text(d, DOCTOR_ITEM_ADVICE, fmt, ap);
    va_end(ap);
}

void doctor_container(struct doctor *d, const char *name)
{
    put_item(d, DOCTOR_ITEM_CONTAINER, slice_str(name));
}

const char *doctor_bytes(int64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    static char texts[3][32];
    static unsigned next;
    char *out = texts[next++ % ARRAY_SIZE(texts)];
    double value = (double)bytes / 1024;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(out, sizeof texts[0], "%.*f %s", value < 10 ? 1 : 0, value, units[unit]);
    return out;
}

int64_t doctor_proc_number(const char *path)
{
    FILE *file = fopen(path, "re");
    char text[32] = "-1";

    if (!file)
        return -1;
    (void)fgets(text, sizeof text, file); /* an empty file has no number either */
    (void)fclose(file);                   /* read only: nothing to lose */
    return strtoll(text, NULL, 10);
}

/* ---- children ---- */

#define TURNS_MAX (ARRAY_SIZE(checks) + OPTION_INSTANCES_MAX)

/* A check's turn. */
struct turn {
    const struct check *check;
    pid_t pid;
    int fd; /* -1: all of it has come */
    struct buf said;
};

struct examination {
    struct turn turns[TURNS_MAX];
    size_t count;
};

static bool drop_line(void *ctx, struct slice line)
{
    return true;
}

static void run_in_child(const struct check *check, struct doctor *d)
{
    /* What libraries log is found in other words. */
    log_set_writer(drop_line, NULL);
    /* A receiver that hangs up in the middle of a handshake must not look like a crash. */
    (void)signal(SIGPIPE, SIG_IGN);
    check->run(d);
    exit(EXIT_CLEAN);
}

static int begin(struct examination *e, const struct check *check, struct doctor *d)
{
    int ends[2], r = 0;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    pid = fork();
    if (pid == 0) {
        d->fd = ends[1];
        run_in_child(check, d);
    }
    if (pid < 0)
        r = -errno;
    (void)close(ends[1]); /* the child's */
    if (r < 0) {
        (void)close(ends[0]); /* nobody writes into it */
        return r;
    }
    e->turns[e->count++] = (struct turn){.check = check, .pid = pid, .fd = ends[0]};
    return 0;
}

static int read_some(struct turn *turn)
{
    ssize_t n;

    if (buf_reserve(&turn->said, READ_BYTES) < 0)
        return -ENOMEM;
    n = read(turn->fd, turn->said.data + turn->said.len, turn->said.cap - turn->said.len);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    turn->said.len += (size_t)n;
    if (n == 0) {
        (void)close(turn->fd); /* read to its end */
        turn->fd = -1;
    }
    return 0;
}

/* Until all have ended, or the time is over. */
static int read_all(struct examination *e, int64_t deadline_ns)
{
    struct pollfd polls[TURNS_MAX];
    int r = 0;

    while (r == 0) {
        int64_t left_ms = (deadline_ns - clock_mono_ns()) / NSEC_PER_MSEC;
        bool open = false;

        for (size_t i = 0; i < e->count; i++) {
            polls[i] = (struct pollfd){.fd = e->turns[i].fd, .events = POLLIN};
            open |= e->turns[i].fd >= 0;
        }
        if (!open || left_ms <= 0)
            break;
        if (poll(polls, e->count, (int)left_ms) < 0 && errno != EINTR)
            return -errno;
        for (size_t i = 0; r == 0 && i < e->count; i++)
            if (polls[i].fd >= 0 && polls[i].revents)
                r = read_some(&e->turns[i]);
    }
    return r;
}

/* A finding about the check itself. */
static int add_finding(struct turn *turn, const char *text, const char *advice)
{
    struct buf *said = &turn->said;
    int r;

    while (said->len > 0 && said->data[said->len - 1] != '\0')
        said->len--; /* half an item */
    r = doctor_item_append(said, DOCTOR_ITEM_LEVEL(DOCTOR_PROBLEM), slice_str("examination"));
    if (r == 0)
        r = doctor_item_append(said, DOCTOR_ITEM_TEXT, slice_str(text));
    if (r == 0)
        r = doctor_item_append(said, DOCTOR_ITEM_ADVICE, slice_str(advice));
    return r;
}

/* Its child is gone afterwards, if the kernel can end it. */
static int end(struct turn *turn)
{
    int64_t deadline_ns = clock_mono_ns() + KILLED_TIMEOUT_MS * NSEC_PER_MSEC;
    bool late = turn->fd >= 0;
    int status = 0;

    if (late) {
        (void)kill(turn->pid, SIGKILL); /* it may have ended just now */
        (void)close(turn->fd);          /* what it still says is too late */
        turn->fd = -1;
        while (waitpid(turn->pid, &status, WNOHANG) == 0 && clock_mono_ns() < deadline_ns)
            (void)usleep(1000);
        return add_finding(turn, "it was not done in time, and was ended",
                           "what it asks does not answer: a name server, a network file system, "
                           "or the Engine");
    }
    (void)waitpid(turn->pid, &status, 0); /* its end of the pipe went with it */
    return status == 0 ? 0
                       : add_finding(turn, "it ended before it was done",
                                     "examine again, and report it as a defect if it stays so");
}

static int examine(struct examination *e, const struct config *config,
                   const struct option_problems *problems, int64_t timeout_ms)
{
    int64_t timeout_ns = timeout_ms * NSEC_PER_MSEC, began_ns = clock_mono_ns();
    struct doctor d = {
        .config = config,
        .problems = problems,
        /* It learns that its time is over before it is ended for it. */
        .deadline_ns = began_ns + timeout_ns / 5 * 4,
    };
    int r = 0, each;

    for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
        for (d.number = 0; r == 0 && d.number < checks[i].count(config); d.number++)
            r = begin(e, &checks[i], &d);
    if (r == 0)
        r = read_all(e, began_ns + timeout_ns);
    for (size_t i = 0; i < e->count; i++) {
        each = end(&e->turns[i]);
        r = r < 0 ? r : each;
    }
    return r;
}

/* ---- what comes of it ---- */

static int show(const struct examination *e, bool json, unsigned counts[DOCTOR_LEVELS])
{
    RT_CLEANUP(buf_finish) struct buf out = {0};
    struct doctor_said said[TURNS_MAX];
    const char *no_color = getenv("NO_COLOR");
    int r;

    for (size_t i = 0; i < e->count; i++)
        said[i] = (struct doctor_said){.check = e->turns[i].check->name,
                                       .items = buf_slice(&e->turns[i].said)};
    r = json ? doctor_show_json(said, e->count, counts, &out)
             : doctor_show(said, e->count, isatty(STDOUT_FILENO) && !(no_color && *no_color),
                           counts, &out);
    if (r == 0)
        (void)fwrite(out.data, 1, out.len, stdout);
    return r < 0 || fflush(stdout) != 0 ? -EIO : 0;
}

int doctor_run(const struct config *config, const struct option_problems *problems, bool json,
               int64_t timeout_ms)
{
    struct examination e = {.count = 0};
    unsigned counts[DOCTOR_LEVELS] = {0};
    int r;

    (void)fflush(stdout); /* or children would say it again */
    r = examine(&e, config, problems, timeout_ms);
    if (r < 0)
        (void)fprintf(stderr, "ringtail: can't examine: %s\n", strerror(-r));
    if (show(&e, json, counts) < 0)
        r = -EIO;
    for (size_t i = 0; i < e.count; i++)
        buf_finish(&e.turns[i].said);
    return r < 0 || counts[DOCTOR_PROBLEM] > 0 ? EXIT_FAILED : EXIT_CLEAN;
}
