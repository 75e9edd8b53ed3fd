/* The Engine is one per program, hence the one static object here. */
#include "dock.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <yyjson.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/json.h"
#include "support/engine_api.h"

#define POLL_MS 20
#define EXIT_SKIPPED 77

static struct {
    char dir[40];
    char engine_dir[48];
    char socket[64];
    const char *script;
    int keeper_fd; /* the keeper acts when this is closed, by us or by our end */
    pid_t keeper;
    bool is_20_10;
    unsigned tests;
} engine = {.keeper_fd = -1};

static _Thread_local char why[600];

const char *dock_why(void)
{
    return why;
}

bool dock_wrong(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    return false;
}

static void must(int r)
{
    if (r < 0)
        abort();
}

void dock_sleep_ms(int64_t ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NSEC_PER_MSEC};

    nanosleep(&pause, NULL);
}

bool dock_is_full(void)
{
    const char *value = getenv("RINGTAIL_TEST_FULL");

    return value && value[0] != '\0' && strcmp(value, "0") != 0;
}

const char *dock_socket(void)
{
    return engine.socket;
}

bool dock_engine_is_20_10(void)
{
    return engine.is_20_10;
}

/* ---- The program ---- */

static int run_script(const char *const *argv)
{
    int status;
    pid_t pid = fork();

    if (pid < 0)
        return -1;
    if (pid == 0) {
        /* What it says is no part of the test's report. */
        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* A session of its own: whoever kills the test, and its process group, leaves the keeper alone. */
static int start_keeper(void)
{
    static const char command[] = "\"$0\" stop \"$1\"\n"
                                  "[ -n \"${RINGTAIL_TEST_KEEP:-}\" ] || rm -rf \"$2\"\n";
    int ends[2];
    char byte;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    engine.keeper = fork();
    if (engine.keeper < 0)
        return -errno;
    if (engine.keeper == 0) {
        setsid();
        close(ends[1]);
        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
        while (read(ends[0], &byte, 1) < 0 && errno == EINTR)
            continue;
        execlp("bash", "bash", "-c", command, engine.script, engine.engine_dir, engine.dir, NULL);
        _exit(127);
    }
    close(ends[0]);
    engine.keeper_fd = ends[1];
    return 0;
}

static int say_skipped(const char *reason)
{
    printf("skipped: %s\n", reason);
    return EXIT_SKIPPED;
}

static bool learn_version(void)
{
    struct buf body = {0};
    int status = engine_api_request(engine.socket, "GET", "/version", NULL, &body);
    yyjson_doc *doc = status == 200 ? yyjson_read(body.data, body.len, 0) : NULL;
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *version = yyjson_get_str(yyjson_obj_get(root, "Version"));
    const char *api = yyjson_get_str(yyjson_obj_get(root, "ApiVersion"));
    int major = 0, minor = 0;

    if (version && api && sscanf(api, "%d.%d", &major, &minor) == 2) {
        engine.is_20_10 = major == 1 && minor <= 41;
        printf("Engine %s, API %s\n", version, api);
        fflush(stdout);
    }
    yyjson_doc_free(doc);
    buf_finish(&body);
    return major > 0;
}

static void use_other_dockerd(void)
{
    const char *first = getenv("RINGTAIL_TEST_DOCKERD_PATH"), *rest = getenv("PATH");
    struct buf path = {0};

    if (!first || first[0] == '\0')
        return;
    must(buf_printf(&path, "%s:%s", first, rest ? rest : "/usr/bin:/bin"));
    if (setenv("PATH", buf_cstr(&path), 1) < 0)
        abort();
    buf_finish(&path);
}

int dock_begin(bool live_restore)
{
    const char *writer = getenv("RINGTAIL_TEST_WRITER");
    const char *argv[] = {"bash", NULL, "start", engine.engine_dir, NULL, NULL, NULL, NULL};
    size_t argc = 4;
    int code;

    engine.script = getenv("RINGTAIL_TEST_ENGINE_SCRIPT");
    if (!engine.script || !getenv("RINGTAIL_BIN")) {
        fputs("RINGTAIL_TEST_ENGINE_SCRIPT and RINGTAIL_BIN have to be set\n", stderr);
        return 1;
    }
    if (geteuid() != 0)
        return say_skipped("a private Engine needs root");
    use_other_dockerd();
    /* The Engine's sockets need a short path, so not below TMPDIR. */
    snprintf(engine.dir, sizeof engine.dir, "/tmp/rtXXXXXX");
    if (!mkdtemp(engine.dir)) {
        perror(engine.dir);
        return 1;
    }
    snprintf(engine.engine_dir, sizeof engine.engine_dir, "%s/e", engine.dir);
    snprintf(engine.socket, sizeof engine.socket, "%s/docker.sock", engine.engine_dir);
    if (start_keeper() < 0)
        return 1;
    argv[1] = engine.script;
    if (live_restore)
        argv[argc++] = "--live-restore";
    if (writer) {
        argv[argc++] = "--writer";
        argv[argc++] = writer;
    }
    code = run_script(argv);
    if (code == 0 && !learn_version())
        code = 1;
    if (code != 0) {
        dock_end();
        return code == EXIT_SKIPPED ? say_skipped("engine.sh says why, above") : 1;
    }
    return 0;
}

void dock_end(void)
{
    close(engine.keeper_fd);
    while (waitpid(engine.keeper, NULL, 0) < 0 && errno == EINTR)
        continue;
}

void dock_engine(struct dock *d, const char *verb, const char *argument)
{
    const char *argv[] = {"bash", engine.script, verb, engine.engine_dir, argument, NULL};
    int code = run_script(argv);

    if (code != 0)
        dock_fail(d, "engine.sh %s ended with %d", verb, code);
}

int dock_setup(void **state)
{
    struct dock *d = calloc(1, sizeof *d);

    if (!d)
        return -1;
    snprintf(d->dir, sizeof d->dir, "%s/%u", engine.dir, engine.tests++);
    snprintf(d->out_dir, sizeof d->out_dir, "%s/out", d->dir);
    if (mkdir(d->dir, 0700) < 0) {
        free(d);
        return -1;
    }
    d->check = ndjson_check_create(d->out_dir);
    *state = d;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static bool remove_row(void *ctx, size_t index)
{
    yyjson_val *row = yyjson_arr_get(ctx, index);
    struct dock_container c = {0};

    snprintf(c.id, sizeof c.id, "%s", yyjson_get_str(yyjson_obj_get(row, "Id")));
    (void)dock_remove(&c, true); /* one that is on its way is what we want */
    return true;
}

static void remove_all(void)
{
    struct buf body = {0};
    yyjson_doc *doc = NULL;

    if (engine_api_request(engine.socket, "GET", "/containers/json?all=1", NULL, &body) == 200)
        doc = yyjson_read(body.data, body.len, 0);
    if (doc) {
        yyjson_val *rows = yyjson_doc_get_root(doc);

        (void)dock_parallel(yyjson_arr_size(rows), 8, remove_row, rows);
    }
    yyjson_doc_free(doc);
    buf_finish(&body);
}

int dock_teardown(void **state)
{
    struct dock *d = *state;

    if (!d->silent && d->ringtail.pid > 0)
        ringtail_proc_print_tail(&d->ringtail);
    ringtail_proc_finish(&d->ringtail);
    ndjson_check_destroy(d->check);
    remove_all();
    if (!getenv("RINGTAIL_TEST_KEEP"))
        (void)nftw(d->dir, remove_one, 32, FTW_DEPTH | FTW_PHYS);
    free(d);
    return 0;
}

void dock_fail_at(struct dock *d, const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "%s:%d: ", file, line);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    if (d->ringtail.pid > 0)
        ringtail_proc_print_tail(&d->ringtail);
    d->silent = true;
    _fail(file, line);
    abort();
}

/* ---- Containers ---- */

static const char *message_of(struct buf *body)
{
    return body->len > 0 ? buf_cstr(body) : "";
}

static bool request(const char *method, const char *path, const char *json, struct buf *ret_body)
{
    struct buf body = {0};
    int status = engine_api_request(engine.socket, method, path, json, &body);
    bool good = status >= 200 && status < 400;

    if (status < 0)
        dock_wrong("%s %s: %s", method, path, strerror(-status));
    else if (!good)
        dock_wrong("%s %s: %d %s", method, path, status, message_of(&body));
    else if (ret_body)
        must(buf_append_slice(ret_body, buf_slice(&body)));
    buf_finish(&body);
    return good;
}

static void print_spec(struct buf *b, const struct dock_spec *spec)
{
    must(buf_append_str(b, "{\"Image\":\"busybox:latest\",\"Cmd\":["));
    for (size_t i = 0; spec->args[i]; i++) {
        must(buf_append_str(b, i > 0 ? "," : ""));
        must(json_append_string(b, slice_str(spec->args[i])));
    }
    must(buf_printf(b,
                    "],\"Tty\":%s,\"HostConfig\":{\"NetworkMode\":\"none\",\"AutoRemove\":%s,"
                    "\"RestartPolicy\":{\"Name\":\"%s\"},"
                    "\"LogConfig\":{\"Type\":\"%s\",\"Config\":%s}}}",
                    spec->tty ? "true" : "false", spec->auto_remove ? "true" : "false",
                    spec->restart_policy ? spec->restart_policy : "",
                    spec->driver ? spec->driver : "json-file",
                    spec->driver_options ? spec->driver_options : "{}"));
}

bool dock_create(const struct dock_spec *spec, struct dock_container *ret)
{
    struct buf json = {0}, body = {0};
    char path[128];
    yyjson_doc *doc;
    const char *id;
    bool good;

    print_spec(&json, spec);
    snprintf(path, sizeof path, "/containers/create%s%s", spec->name ? "?name=" : "",
             spec->name ? spec->name : "");
    good = request("POST", path, buf_cstr(&json), &body);
    doc = good ? yyjson_read(body.data, body.len, 0) : NULL;
    id = yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "Id"));
    if (good && (!id || strlen(id) != SIM_ID_LEN))
        good = dock_wrong("%s: no id in %s", path, message_of(&body));
    if (good) {
        *ret = (struct dock_container){
            .tty = spec->tty, .is_local = spec->driver && strcmp(spec->driver, "json-file") != 0};
        snprintf(ret->id, sizeof ret->id, "%s", id);
    }
    yyjson_doc_free(doc);
    buf_finish(&json);
    buf_finish(&body);
    return good;
}

bool dock_post(const struct dock_container *c, const char *what)
{
    char path[256];

    snprintf(path, sizeof path, "/containers/%s/%s", c->id, what);
    return request("POST", path, NULL, NULL);
}

bool dock_run(const struct dock_spec *spec, struct dock_container *ret)
{
    return dock_create(spec, ret) && dock_post(ret, "start");
}

bool dock_remove(const struct dock_container *c, bool force)
{
    char path[128];

    snprintf(path, sizeof path, "/containers/%s%s", c->id, force ? "?force=1" : "");
    return request("DELETE", path, NULL, NULL);
}

static int count_record(void *ctx, const struct engine_record *record)
{
    uint64_t *count = ctx;

    (void)record;
    ++*count;
    return 0;
}

bool dock_log_count(const struct dock_container *c, uint64_t *ret)
{
    int status;

    *ret = 0;
    status = engine_api_logs(engine.socket, c->id, NULL, c->tty, count_record, ret);
    return status == 200 || dock_wrong("logs of %s: %d", c->id, status);
}

struct crew {
    size_t count;
    atomic_size_t next;
    atomic_bool failed;
    bool (*fn)(void *ctx, size_t index);
    void *ctx;
    pthread_mutex_t lock; /* of the reason */
    char reason[sizeof why];
};

static void *crew_member(void *ctx)
{
    struct crew *crew = ctx;

    while (!atomic_load(&crew->failed)) {
        size_t index = atomic_fetch_add(&crew->next, 1);

        if (index >= crew->count)
            break;
        if (crew->fn(crew->ctx, index))
            continue;
        pthread_mutex_lock(&crew->lock);
        if (!atomic_exchange(&crew->failed, true))
            snprintf(crew->reason, sizeof crew->reason, "%s", why);
        pthread_mutex_unlock(&crew->lock);
    }
    return NULL;
}

bool dock_parallel(size_t count, size_t threads, bool (*fn)(void *ctx, size_t index), void *ctx)
{
    struct crew crew = {.count = count, .fn = fn, .ctx = ctx, .lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t members[256];
    size_t started = 0;

    while (started < threads && started < ARRAY_SIZE(members))
        if (pthread_create(&members[started++], NULL, crew_member, &crew) != 0)
            abort();
    for (size_t i = 0; i < started; i++)
        pthread_join(members[i], NULL);
    return !crew.failed || dock_wrong("%s", crew.reason);
}

/* ---- What there should be ---- */

void dock_written(const struct dock_writer *writer, bool is_stderr, uint64_t number,
                  struct buf *line)
{
    buf_reset(line);
    must(buf_printf(line, "%s %c %" PRIu64 " ", writer->prefix, is_stderr ? 'e' : 'o', number));
    while (line->len < writer->line_bytes)
        must(buf_append_char(line, (char)('a' + line->len % 26)));
    if (writer->tty)
        must(buf_append_char(line, '\r'));
}

struct open_line {
    struct buf bytes;
    int64_t ts_ns;
    unsigned parts;
};

struct telling {
    struct dock_container *container;
    struct open_line open[2];
};

static void tell_open(struct telling *t, bool is_stderr, bool ended)
{
    struct open_line *o = &t->open[is_stderr];
    unsigned flags = o->parts > 1 || !ended ? TOLD_IN_PARTS : 0;

    /* 20.10's `local` leaves out the newline of a line in parts: nobody can know if there was one.
     */
    if (!ended)
        flags |= t->container->is_local && engine.is_20_10 && o->parts > 1 ? TOLD_MAYBE_PARTIAL
                                                                           : TOLD_PARTIAL;
    told_line(t->container->told, is_stderr ? SIM_STDERR : SIM_STDOUT, o->ts_ns,
              buf_slice(&o->bytes), flags);
    buf_reset(&o->bytes);
    o->parts = 0;
}

/* A record without a newline is continued by one of the same time, and by no other. */
static int tell_record(void *ctx, const struct engine_record *record)
{
    struct telling *t = ctx;
    struct open_line *o = &t->open[record->is_stderr];
    struct slice text = record->bytes;
    bool ended = text.len > 0 && text.data[text.len - 1] == '\n';

    if (o->parts > 0 && o->ts_ns != record->ts_ns)
        tell_open(t, record->is_stderr, false);
    text.len -= ended;
    must(buf_append_slice(&o->bytes, text));
    o->ts_ns = record->ts_ns;
    o->parts++;
    if (ended)
        tell_open(t, record->is_stderr, true);
    return 0;
}

const struct dock_writer dock_one_line = {.prefix = "line", .lines_count = 1, .line_bytes = 64};

void dock_tell_log(struct dock *d, struct dock_container *c)
{
    struct telling t = {.container = c};
    int status;

    c->told = ndjson_check_add(d->check, c->id);
    status = engine_api_logs(engine.socket, c->id, NULL, c->tty, tell_record, &t);
    for (size_t i = 0; i < 2; i++) {
        if (t.open[i].parts > 0)
            tell_open(&t, i == 1, false);
        buf_finish(&t.open[i].bytes);
    }
    if (status != 200)
        dock_fail(d, "logs of %s: %d", c->id, status);
}

void dock_tell_written(struct dock *d, struct dock_container *c, const struct dock_writer *writer)
{
    struct buf line = {0};
    uint64_t numbers[2] = {0};

    c->told = ndjson_check_add(d->check, c->id);
    for (uint64_t i = 1; i <= writer->lines_count; i++) {
        bool is_stderr = writer->stderr_every > 0 && i % writer->stderr_every == 0;

        dock_written(writer, is_stderr, ++numbers[is_stderr], &line);
        told_line(c->told, is_stderr ? SIM_STDERR : SIM_STDOUT, 0, buf_slice(&line), TOLD_IN_PARTS);
    }
    buf_finish(&line);
}

struct comparing {
    const struct dock_writer *writer;
    struct buf open[2], wanted;
    uint64_t numbers[2];
};

/* Lines of the writer, joined by their length alone. A run of the container begins again at 1. */
static int compare_record(void *ctx, const struct engine_record *record)
{
    struct comparing *c = ctx;
    struct buf *open = &c->open[record->is_stderr];
    struct slice text = record->bytes;
    uint64_t number = c->numbers[record->is_stderr] + 1;

    if (text.len > 0 && text.data[text.len - 1] == '\n')
        text.len--;
    must(buf_append_slice(open, text));
    dock_written(c->writer, record->is_stderr, number, &c->wanted);
    if (open->len < c->wanted.len)
        return 0;
    if (!slice_eq(buf_slice(open), buf_slice(&c->wanted))) {
        number = 1;
        dock_written(c->writer, record->is_stderr, number, &c->wanted);
        if (!slice_eq(buf_slice(open), buf_slice(&c->wanted))) {
            dock_wrong("after line %" PRIu64 " of %s comes %.60s", c->numbers[record->is_stderr],
                       record->is_stderr ? "stderr" : "stdout", buf_cstr(open));
            return 1;
        }
    }
    c->numbers[record->is_stderr] = number;
    buf_reset(open);
    return 0;
}

void dock_assert_log_is_written(struct dock *d, const struct dock_container *c,
                                const struct dock_writer *writer)
{
    struct comparing state = {.writer = writer};
    int status = engine_api_logs(engine.socket, c->id, NULL, c->tty, compare_record, &state);
    uint64_t lines_count = state.numbers[0] + state.numbers[1];

    buf_finish(&state.wanted);
    buf_finish(&state.open[0]);
    buf_finish(&state.open[1]);
    if (status != 200)
        dock_fail(d, "the Engine's own log of %s is not what was written (%d): %s", c->id, status,
                  dock_why());
    if (writer->lines_count > 0 && lines_count != writer->lines_count)
        dock_fail(d, "the Engine's own log of %s has %" PRIu64 " of %" PRIu64 " lines", c->id,
                  lines_count, writer->lines_count);
}

/* ---- ringtail ---- */

void dock_ringtail_args(struct dock *d, const char *const *args)
{
    char url[96], positions[128];
    const char *all[60] = {
        "run",
        "--engine",
        url,
        "--output",
        d->out_dir,
        "--set",
        "output.template={container_id}.ndjson",
        "--set",
        "log.level=debug",
        "--set",
        "log.burst=0",
        "--set",
        "admin.port=0",
        "--set",
        positions,
    };
    struct ringtail_how how = {.args = all, .directory = d->dir};
    size_t count = 0;

    snprintf(url, sizeof url, "unix://%s", engine.socket);
    /* Everything below the output directory is taken for output. */
    snprintf(positions, sizeof positions, "positions.path=%s/positions", d->dir);
    while (all[count])
        count++;
    for (size_t i = 0; args[i]; i++) {
        assert_true(count < ARRAY_SIZE(all) - 1);
        all[count++] = args[i];
    }
    assert_int_equal(0, ringtail_proc_start(&how, &d->ringtail));
}

uint64_t dock_lines(const struct dock *d, const struct dock_container *c)
{
    char path[256], bytes[65536];
    uint64_t count = 0;
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "%s/%s.ndjson", d->out_dir, c->id);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    while ((n = read(fd, bytes, sizeof bytes)) > 0)
        for (const char *at = bytes; (at = memchr(at, '\n', (size_t)(bytes + n - at))); at++)
            count++;
    close(fd);
    return count;
}

/* Whether there may be more to read. */
static bool check_output(struct dock *d)
{
    int r = ndjson_check_poll(d->check);

    if (r < 0)
        dock_fail(d, "the output is wrong: %s", ndjson_check_why(d->check));
    return r > 0;
}

void dock_wait_log(struct dock *d, const char *message, const char *needle, size_t count)
{
    int64_t until_ns = clock_mono_ns() + DOCK_TIMEOUT_MS * NSEC_PER_MSEC;

    while (ringtail_proc_log_count(&d->ringtail, message, needle) < count) {
        if (ringtail_proc_poll(&d->ringtail))
            dock_fail(d, "ringtail ended with %d before it said \"%s\"", d->ringtail.code, message);
        if (clock_mono_ns() > until_ns)
            dock_fail(d, "waited for %zu times \"%s\" in ringtail's log", count, message);
        dock_sleep_ms(POLL_MS);
    }
}

void dock_wait_complete(struct dock *d)
{
    int64_t until_ns = clock_mono_ns() + DOCK_TIMEOUT_MS * NSEC_PER_MSEC;
    const char *missing = "";

    for (;;) {
        (void)check_output(d); /* what there is more comes with the next look */
        if (ndjson_check_is_complete(d->check, &missing))
            return;
        if (ringtail_proc_poll(&d->ringtail))
            dock_fail(d, "ringtail ended with %d: %s", d->ringtail.code, missing);
        if (clock_mono_ns() > until_ns)
            dock_fail(d, "waited %d s: %s", DOCK_TIMEOUT_MS / 1000, missing);
        dock_sleep_ms(POLL_MS);
    }
}

void dock_terminate(struct dock *d)
{
    int64_t until_ns = clock_mono_ns() + DOCK_TIMEOUT_MS * NSEC_PER_MSEC;

    ringtail_proc_signal(&d->ringtail, SIGTERM);
    while (!ringtail_proc_poll(&d->ringtail)) {
        if (clock_mono_ns() > until_ns)
            dock_fail(d, "ringtail does not end");
        dock_sleep_ms(POLL_MS);
    }
    if (ringtail_proc_has_report(&d->ringtail))
        dock_fail(d, "a sanitizer or an assertion has complained");
    if (d->ringtail.code != 0)
        dock_fail(d, "ringtail ended with %d", d->ringtail.code);
    d->silent = true;
}

void dock_stop(struct dock *d)
{
    const char *missing;

    dock_terminate(d);
    while (check_output(d))
        continue;
    if (!ndjson_check_is_whole(d->check))
        dock_fail(d, "the output ends within a line");
    if (!ndjson_check_is_complete(d->check, &missing))
        dock_fail(d, "the output lacks lines: %s", missing);
}
