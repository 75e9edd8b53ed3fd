#include "support/world.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"

#include "integration/books.h"

#define POLL_MS 5

int world_timeout_ms(void)
{
    const char *text = getenv("RINGTAIL_TEST_PATIENCE");

    return 60000 * (text ? MAX((int)strtol(text, NULL, 10), 1) : 1);
}

int world_setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    const char *tmp = getenv("TMPDIR");

    if (!w)
        return -1;
    /* The socket's path has to fit into 108 bytes. */
    if (!tmp || strlen(tmp) > 30)
        tmp = "/tmp";
    snprintf(w->dir, sizeof w->dir, "%s/ringtail-test-XXXXXX", tmp);
    if (!mkdtemp(w->dir)) {
        free(w);
        return -1;
    }
    snprintf(w->out_dir, sizeof w->out_dir, "%s/out", w->dir);
    w->check = ndjson_check_create(w->out_dir);
    *state = w;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* Of every test: ringtail looks at the Engine and changes nothing. */
static bool sent_only_get(struct world *w)
{
    uint64_t others = w->sim ? world_stats(w).requests_not_get : 0;

    if (others > 0)
        fprintf(stderr, "the Engine got %ju requests that are no GET\n", (uintmax_t)others);
    return others == 0;
}

int world_teardown(void **state)
{
    struct world *w = *state;
    bool good = sent_only_get(w);

    if (!w->passed && w->ringtail.pid > 0)
        ringtail_proc_print_tail(&w->ringtail);
    ringtail_proc_finish(&w->ringtail);
    sim_destroy(w->sim);
    ndjson_check_destroy(w->check);
    for (struct speaker *s = w->speakers, *next; s; s = next) {
        next = s->next;
        free(s);
    }
    (void)nftw(w->dir, remove_one, 32, FTW_DEPTH | FTW_PHYS);
    free(w);
    return good ? 0 : -1;
}

void world_fail_at(struct world *w, const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "%s:%d: ", file, line);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    if (w->ringtail.pid > 0)
        ringtail_proc_print_tail(&w->ringtail);
    w->passed = true; /* its tail has been shown */
    _fail(file, line);
    abort();
}

/* ---- The Engine and its containers ---- */

void world_engine(struct world *w, const struct sim_options *options)
{
    struct sim_options o = options ? *options : (struct sim_options){0};
    char path[96];

    snprintf(path, sizeof path, "%s/docker.sock", w->dir);
    o.socket_path = path;
    assert_int_equal(0, sim_create(&o, &w->sim));
}

struct speaker *world_adopt(struct world *w, struct sim_container *container)
{
    struct speaker *s = calloc(1, sizeof *s);

    assert_non_null(s);
    s->world = w;
    s->container = container;
    s->told = ndjson_check_add(w->check, sim_container_id(container));
    s->next = w->speakers;
    w->speakers = s;
    return s;
}

struct speaker *world_speaker_spec(struct world *w, const struct sim_spec *spec)
{
    struct sim_container *container;
    struct speaker *s;

    assert_int_equal(0, sim_container_add(w->sim, spec, &container));
    s = world_adopt(w, container);
    s->tty = spec->tty;
    return s;
}

struct speaker *world_speaker(struct world *w, const char *name)
{
    struct speaker *s = world_speaker_spec(w, &(struct sim_spec){.name = name});

    told_set_name(s->told, name);
    return s;
}

const char *speaker_mark(const struct speaker *s)
{
    static char mark[13];

    snprintf(mark, sizeof mark, "%s", sim_container_id(s->container));
    return mark;
}

int64_t world_next_ts(struct world *w)
{
    w->last_ts_ns = MAX(sim_now_ns(w->sim), w->last_ts_ns + 1);
    return w->last_ts_ns;
}

void say_expect(struct speaker *s, enum sim_stream stream, int64_t ts_ns, const void *bytes,
                size_t len, unsigned flags)
{
    told_line(s->told, s->tty ? SIM_STDOUT : stream, ts_ns, slice_of(bytes, len), flags);
}

void say_record(struct speaker *s, enum sim_stream stream, int64_t ts_ns, const void *bytes,
                size_t len)
{
    assert_int_equal(0, sim_log(s->container, stream, ts_ns, bytes, len));
}

void say_at(struct speaker *s, enum sim_stream stream, int64_t ts_ns, const void *bytes, size_t len)
{
    unsigned flags = len + (s->tty ? 2 : 1) > SIM_PART_BYTES ? TOLD_IN_PARTS : 0;

    if (s->tty) {
        struct buf line = {0};

        if (buf_append(&line, bytes, len) < 0 || buf_append_char(&line, '\r') < 0)
            abort();
        say_expect(s, stream, ts_ns, line.data, line.len, flags);
        buf_finish(&line);
    } else {
        say_expect(s, stream, ts_ns, bytes, len, flags);
    }
    assert_int_equal(0, sim_line_bytes(s->container, stream, ts_ns, bytes, len));
}

void say_bytes(struct speaker *s, enum sim_stream stream, const void *bytes, size_t len)
{
    say_at(s, stream, world_next_ts(s->world), bytes, len);
}

void say(struct speaker *s, enum sim_stream stream, const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    assert_in_range(len, 0, sizeof text - 1);
    say_bytes(s, stream, text, (size_t)len);
}

void say_many(struct speaker *s, const char *what, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        say(s, i % 3 == 2 ? SIM_STDERR : SIM_STDOUT, "%s %u", what, i);
}

uint64_t world_fault(struct world *w, const struct sim_fault *fault)
{
    uint64_t id;

    assert_int_equal(0, sim_fault_add(w->sim, fault, &id));
    return id;
}

/* ---- ringtail ---- */

void world_command_how(struct world *w, const struct ringtail_how *how)
{
    struct ringtail_how here = *how;

    ringtail_proc_finish(&w->ringtail);
    w->passed = false;
    here.directory = w->dir;
    assert_int_equal(0, ringtail_proc_start(&here, &w->ringtail));
}

void world_run_how(struct world *w, const struct ringtail_how *how)
{
    const char *args[60] = {
        "run",
        "--engine",
        w->sim ? sim_url(w->sim) : "",
        "--output",
        w->out_dir,
        "--set",
        "engine.reconnect_min=10ms",
        "--set",
        "engine.reconnect_max=200ms",
        "--set",
        "discovery.resync_interval=200ms",
        "--set",
        "stream.since=all",
        "--set",
        "output.template={container_id}.ndjson",
        "--set",
        "log.level=debug",
        "--set",
        "admin.address=",
        "--backend",
    };
    const char *backend = getenv("RINGTAIL_TEST_BACKEND");
    struct ringtail_how here = *how;
    size_t count = 0;

    while (args[count])
        count++;
    args[count++] = backend ? backend : "auto";
    for (size_t i = 0; how->args[i]; i++) {
        assert_true(count < ARRAY_SIZE(args) - 1);
        args[count++] = how->args[i];
    }
    here.args = args;
    world_command_how(w, &here);
}

void world_add_environment(const char *name, const char *more)
{
    const char *old = getenv(name);
    char value[1024];

    snprintf(value, sizeof value, "%s%s%s", old ? old : "", old ? ":" : "", more);
    if (setenv(name, value, 1) < 0)
        abort();
}

/* Whether there may be more to read. */
static bool poll_output(struct world *w)
{
    int r = ndjson_check_poll(w->check);

    if (r < 0)
        world_fail(w, "the output is wrong: %s", ndjson_check_why(w->check));
    return r > 0;
}

bool world_has_ended(struct world *w, void *ctx)
{
    (void)ctx;
    return ringtail_proc_poll(&w->ringtail);
}

void world_wait_exit(struct world *w, int code)
{
    world_wait(w, "ringtail's end", world_has_ended, NULL);
    if (ringtail_proc_has_report(&w->ringtail))
        world_fail(w, "a sanitizer or an assertion has complained");
    if (w->ringtail.code != code)
        world_fail(w, "ringtail ended with %d, not %d", w->ringtail.code, code);
    w->passed = true;
}

void world_stop_early(struct world *w)
{
    int64_t records;

    books_check(w);
    ringtail_proc_signal(&w->ringtail, SIGTERM);
    world_wait_exit(w, 0);
    while (poll_output(w))
        continue;
    if (!ndjson_check_is_whole(w->check))
        world_fail(w, "the output ends within a line");
    records = ringtail_proc_log_number(&w->ringtail, "Stopped", "records");
    if (records < 0)
        world_fail(w, "no word of its end in ringtail's log");
}

void world_stop(struct world *w)
{
    const char *why;

    world_stop_early(w);
    if (!ndjson_check_is_complete(w->check, &why))
        world_fail(w, "the output lacks lines: %s", why);
}

char *world_stdout(struct world *w)
{
    FILE *file = fopen(w->ringtail.stdout_path, "re");
    struct buf text = {0};
    size_t n;

    assert_non_null(file);
    do {
        if (buf_reserve(&text, 65536) < 0)
            abort();
        n = fread(text.data + text.len, 1, 65535, file);
        text.len += n;
    } while (n > 0);
    fclose(file);
    text.data[text.len] = '\0';
    return text.data;
}

/* ---- Waiting ---- */

void world_wait(struct world *w, const char *what, bool (*pred)(struct world *w, void *ctx),
                void *ctx)
{
    int64_t until_ns = clock_mono_ns() + world_timeout_ms() * NSEC_PER_MSEC;
    struct timespec pause = {.tv_nsec = POLL_MS * NSEC_PER_MSEC};

    for (;;) {
        poll_output(w);
        if (pred(w, ctx))
            return;
        if (ringtail_proc_poll(&w->ringtail) && !pred(w, ctx))
            world_fail(w, "ringtail ended with %d before there was %s", w->ringtail.code, what);
        if (clock_mono_ns() > until_ns)
            world_fail(w, "waited %d s for %s", world_timeout_ms() / 1000, what);
        nanosleep(&pause, NULL);
    }
}

static bool all_there(struct world *w, void *ctx)
{
    return ndjson_check_is_complete(w->check, ctx);
}

void world_wait_all(struct world *w)
{
    int64_t until_ns = clock_mono_ns() + world_timeout_ms() * NSEC_PER_MSEC;
    struct timespec pause = {.tv_nsec = POLL_MS * NSEC_PER_MSEC};
    const char *why = "";

    /* Not world_wait: the reason is worth more than that it did not happen. */
    for (;;) {
        poll_output(w);
        if (all_there(w, &why))
            return;
        if (ringtail_proc_poll(&w->ringtail)) {
            while (poll_output(w))
                continue;
            if (!all_there(w, &why))
                world_fail(w, "ringtail ended with %d: %s", w->ringtail.code, why);
            return;
        }
        if (clock_mono_ns() > until_ns)
            world_fail(w, "waited %d s: %s", world_timeout_ms() / 1000, why);
        nanosleep(&pause, NULL);
    }
}

struct wanted {
    struct speaker *speaker;
    uint64_t n;
    const char *message, *needle;
    enum sim_request_kind kind;
};

static bool lines_there(struct world *w, void *ctx)
{
    const struct wanted *wanted = ctx;

    (void)w;
    return told_seen(wanted->speaker->told) >= wanted->n;
}

void world_wait_lines(struct world *w, struct speaker *s, uint64_t n)
{
    char what[64];

    snprintf(what, sizeof what, "%ju lines of a container", (uintmax_t)n);
    world_wait(w, what, lines_there, &(struct wanted){.speaker = s, .n = n});
}

static bool log_there(struct world *w, void *ctx)
{
    const struct wanted *wanted = ctx;

    return ringtail_proc_log_count(&w->ringtail, wanted->message, wanted->needle) >= wanted->n;
}

void world_wait_log(struct world *w, const char *message, const char *needle, size_t n)
{
    char what[256];

    snprintf(what, sizeof what, "%zu times \"%s\" with \"%s\" in the log", n, message,
             needle ? needle : "");
    world_wait(w, what, log_there, &(struct wanted){.message = message, .needle = needle, .n = n});
}

static bool follows_there(struct world *w, void *ctx)
{
    const struct wanted *wanted = ctx;

    return (wanted->speaker ? speaker_stats(wanted->speaker).follows_now
                            : world_stats(w).follows_now) == wanted->n;
}

void world_wait_follows(struct world *w, struct speaker *s, uint64_t n)
{
    char what[64];

    snprintf(what, sizeof what, "%ju follows", (uintmax_t)n);
    world_wait(w, what, follows_there, &(struct wanted){.speaker = s, .n = n});
}

static bool requests_there(struct world *w, void *ctx)
{
    const struct wanted *wanted = ctx;

    return world_stats(w).requests[wanted->kind] >= wanted->n;
}

void world_wait_more_requests(struct world *w, enum sim_request_kind kind, uint64_t n)
{
    char what[64];

    snprintf(what, sizeof what, "%ju more requests of kind %d", (uintmax_t)n, (int)kind);
    world_wait(w, what, requests_there,
               &(struct wanted){.kind = kind, .n = world_stats(w).requests[kind] + n});
}

static bool caught_up(struct world *w, void *ctx)
{
    const struct wanted *wanted = ctx;

    (void)w;
    return sim_wait_caught_up(wanted->speaker->container, 1) == 0;
}

void world_wait_caught_up(struct world *w, struct speaker *s)
{
    world_wait(w, "a follow that has caught up", caught_up, &(struct wanted){.speaker = s});
}

struct sim_stats world_stats(struct world *w)
{
    struct sim_stats stats;

    sim_get_stats(w->sim, &stats);
    return stats;
}

struct sim_container_stats speaker_stats(const struct speaker *s)
{
    struct sim_container_stats stats;

    sim_container_get_stats(s->container, &stats);
    return stats;
}
