/* `ringtail doctor` beside simulated Engines and receivers: what it finds, and that it says what to
 * do. What depends on this machine (its clock, its disk) is not asked for. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <yyjson.h>

#include "ringtail/base/macros.h"
#include "support/world.h"

#define ARGS_MAX 32

struct examined {
    struct world *world;
    yyjson_doc *doc;
    char *text;
};

static void forget(struct examined *e)
{
    e->world->passed = true;
    yyjson_doc_free(e->doc);
    free(e->text);
    *e = (struct examined){0};
}

static const char *member(yyjson_val *finding, const char *name)
{
    const char *text = yyjson_get_str(yyjson_obj_get(finding, name));

    assert_non_null(text);
    return text;
}

/* What holds for every examination: the exit code tells of problems, and all that is not good comes
 * with what to do, notes apart. */
static void check_all(struct examined *e)
{
    yyjson_val *root = yyjson_doc_get_root(e->doc), *finding;
    yyjson_val *counts = yyjson_obj_get(root, "counts");
    static const char *const levels[] = {"ok", "note", "warning", "problem"};
    uint64_t found[ARRAY_SIZE(levels)] = {0};
    size_t i, max;

    yyjson_arr_foreach(yyjson_obj_get(root, "findings"), i, max, finding)
    {
        const char *level = member(finding, "level");
        bool known = false;

        for (size_t n = 0; n < ARRAY_SIZE(levels); n++) {
            known |= strcmp(level, levels[n]) == 0;
            found[n] += strcmp(level, levels[n]) == 0;
        }
        if (!known || !*member(finding, "check") || !*member(finding, "subject") ||
            !*member(finding, "text") || strcmp(member(finding, "subject"), "examination") == 0)
            world_fail(e->world, "not a finding: %s", e->text);
        if ((strcmp(level, "warning") == 0 || strcmp(level, "problem") == 0) &&
            !*member(finding, "advice"))
            world_fail(e->world, "a finding without advice: %s", member(finding, "text"));
        assert_true(yyjson_is_arr(yyjson_obj_get(finding, "containers")));
    }
    for (size_t n = 0; n < ARRAY_SIZE(levels); n++)
        assert_int_equal(found[n], yyjson_get_uint(yyjson_obj_get(counts, levels[n])));
    assert_int_equal(found[3] > 0, e->world->ringtail.code);
}

/* Runs `ringtail doctor --json` at the Engine of this world, if there is one, with these arguments
 * and as a user for whom permissions count. */
#define examine(w, ...) examine_how((w), 0, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static struct examined examine_how(struct world *w, int io_uring_errno, const char *const *more)
{
    const char *args[ARGS_MAX] = {"doctor", "--json"};
    struct examined e = {.world = w};
    size_t n = 2;

    w->passed = false; /* until what was found has been looked at */
    if (w->sim) {
        args[n++] = "--engine";
        args[n++] = sim_url(w->sim);
    }
    while (*more && n < ARGS_MAX - 1)
        args[n++] = *more++;
    world_command_how(w, &(struct ringtail_how){
                             .args = args, .plain_user = true, .io_uring_errno = io_uring_errno});
    world_wait(w, "the end of the examination", world_has_ended, NULL);
    world_assert(w, !ringtail_proc_has_report(&w->ringtail));
    e.text = world_stdout(w);
    e.doc = yyjson_read(e.text, strlen(e.text), 0);
    if (!e.doc)
        world_fail(w, "not JSON (exit code %d): %s", w->ringtail.code, e.text);
    check_all(&e);
    return e;
}

/* The first finding like this from `check` on; NULL: there is none. */
static yyjson_val *find(const struct examined *e, const char *check, const char *subject,
                        const char *needle)
{
    yyjson_val *findings = yyjson_obj_get(yyjson_doc_get_root(e->doc), "findings"), *finding;
    size_t i, max;

    yyjson_arr_foreach(findings, i, max, finding)
    {
        if (strcmp(member(finding, "check"), check) == 0 &&
            strcmp(member(finding, "subject"), subject) == 0 &&
            strstr(member(finding, "text"), needle))
            return finding;
    }
    return NULL;
}

static yyjson_val *expect(const struct examined *e, const char *check, const char *subject,
                          const char *level, const char *needle)
{
    yyjson_val *finding = find(e, check, subject, needle);

    if (!finding || strcmp(member(finding, "level"), level) != 0)
        world_fail(e->world, "no %s of %s %s with `%s` in:\n%s", level, check, subject, needle,
                   e->text);
    return finding;
}

static void expect_containers(const struct examined *e, yyjson_val *finding, const char *names)
{
    yyjson_val *containers = yyjson_obj_get(finding, "containers"), *name;
    char copy[256], *rest = copy;
    size_t i, max, count = 0;

    snprintf(copy, sizeof copy, "%s", names);
    for (const char *wanted; (wanted = strsep(&rest, " ")); count++) {
        bool there = false;

        yyjson_arr_foreach(containers, i, max, name) there |=
            strcmp(yyjson_get_str(name), wanted) == 0;
        if (!there)
            world_fail(e->world, "%s is not in:\n%s", wanted, e->text);
    }
    assert_int_equal(count, yyjson_arr_size(containers));
}

static void add(struct world *w, const char *name, const char *driver, ...)
{
    struct sim_pair options[4];
    struct sim_spec spec = {.name = name, .log_driver = driver, .log_options = options};
    struct sim_container *c;
    const char *key;
    va_list ap;

    va_start(ap, driver);
    while ((key = va_arg(ap, const char *)) && spec.log_options_count < ARRAY_SIZE(options))
        options[spec.log_options_count++] =
            (struct sim_pair){.key = key, .value = va_arg(ap, const char *)};
    va_end(ap);
    assert_int_equal(0, sim_container_add(w->sim, &spec, &c));
}

/* ---- tests ---- */

static void test_a_good_host_has_no_problem(void **state)
{
    static const char *const good[] = {"ping", "clock", "api", "version", "events"};
    struct world *w = *state;
    struct sim_request requests[64];
    struct examined e;
    size_t count;

    world_engine(w, NULL);
    add(w, "web", NULL, "max-size", "50m", "max-file", "3", NULL);
    add(w, "db", "local", NULL);
    e = examine(w, "--output", w->out_dir);
    world_assert_within(w, w->ringtail.code, 0, 0);
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        expect(&e, "engine", good[i], "ok", "");
    expect(&e, "configuration", "options", "ok", "good");
    expect(&e, "kernel", "version", "ok", "Linux ");
    expect(&e, "containers", "running", "ok", "2 to follow, 2 of 2 logs can be read");
    assert_non_null(find(&e, "limits", "descriptors", "with 2 containers"));
    assert_non_null(find(&e, "output", "output", w->out_dir));
    forget(&e);
    /* Nothing but GET was sent, and nothing was made. */
    count = sim_requests(w->sim, SIM_REQUEST_ANY, NULL, requests, ARRAY_SIZE(requests));
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++)
        assert_string_equal("GET", requests[i].method);
    world_assert(w, access(w->out_dir, F_OK) < 0 || rmdir(w->out_dir) == 0);
}

static void test_containers_that_may_lose_lines_are_named(void **state)
{
    const struct sim_generator loud = {.lines_per_s = 2000, .lines_before = 100000};
    struct sim_pair small[] = {{"max-size", "1m"}, {"max-file", "3"}};
    struct sim_spec spec = {
        .name = "loud", .log_options = small, .log_options_count = 2, .generator = &loud};
    struct sim_container *c;
    struct world *w = *state;
    struct examined e;

    world_engine(w, NULL);
    add(w, "silent", "none", NULL);
    add(w, "in-journal", "journald", NULL);
    add(w, "by-syslog", "syslog", NULL);
    add(w, "tight", NULL, "max-size", "100k", NULL);
    add(w, "short", NULL, "max-size", "10m", NULL);
    add(w, "endless", NULL, NULL);
    add(w, "hasty", "local", "mode", "non-blocking", NULL);
    add(w, "buffered", "local", "mode", "non-blocking", "max-buffer-size", "16m", NULL);
    add(w, "not-ours", "none", NULL);
    assert_int_equal(0, sim_container_add(w->sim, &spec, &c));
    e = examine(w, "--set", "containers.exclude=not-*");
    expect(&e, "containers", "running", "ok", "9 to follow, 7 of 9");
    expect_containers(&e, expect(&e, "containers", "unreadable", "warning", "2 have"),
                      "silent in-journal");
    expect_containers(&e, expect(&e, "containers", "max-size", "warning", "3 MiB"), "tight");
    expect_containers(&e, expect(&e, "containers", "max-size", "note", "30 MiB"), "short");
    expect_containers(&e, expect(&e, "containers", "max-size", "note", "without end"), "endless");
    expect_containers(&e, expect(&e, "containers", "non-blocking", "warning", "instant"), "hasty");
    expect_containers(&e, expect(&e, "containers", "non-blocking", "note", "for long"), "buffered");
    expect_containers(&e, expect(&e, "containers", "at-risk", "warning", "within a minute"),
                      "loud");
    forget(&e);
}

static void test_a_socket_that_is_none_is_told_from_one_that_is_not_there(void **state)
{
    struct world *w = *state;
    char url[160], path[128];
    struct examined e;

    snprintf(path, sizeof path, "%s/engine.sock", w->dir);
    snprintf(url, sizeof url, "unix://%s", path);
    e = examine(w, "--engine", url);
    assert_non_null(strstr(
        member(expect(&e, "engine", "socket", "problem", "No such file"), "advice"), "running?"));
    forget(&e);
    assert_int_equal(0, mkdir(path, 0755));
    e = examine(w, "--engine", url);
    assert_non_null(
        strstr(member(expect(&e, "engine", "socket", "problem", "a directory"), "advice"),
               "volume's source"));
    forget(&e);
    assert_int_equal(0, rmdir(path));
    world_engine(w, NULL);
    assert_int_equal(0, sim_engine_stop(w->sim, SIM_STOP_KILL));
    e = examine(w);
    expect(&e, "engine", "ping", "problem", "refused");
    forget(&e);
}

static void test_a_forbidden_socket_names_the_group_to_join(void **state)
{
    struct world *w = *state;
    struct examined e;

    world_engine(w, NULL);
    assert_int_equal(0, chmod(sim_socket_path(w->sim), 0));
    e = examine(w);
    assert_non_null(
        strstr(member(expect(&e, "engine", "socket", "problem", "mode 0000"), "advice"), "group"));
    forget(&e);
}

static void test_an_engine_that_hangs_holds_nobody_up(void **state)
{
    struct world *w = *state;
    struct examined e;

    world_engine(w, NULL);
    world_fault(w, &(struct sim_fault){.kind = SIM_FAULT_NO_ANSWER, .on = SIM_REQUEST_ANY});
    e = examine(w, "--set", "engine.request_timeout=200ms");
    expect(&e, "engine", "ping", "problem", "timed out");
    forget(&e);
}

static void test_an_engine_without_a_version_in_common_is_told(void **state)
{
    struct world *w = *state;
    struct examined e;

    world_engine(w, &(struct sim_options){.api_oldest = "1.98", .api_newest = "1.99"});
    /* A ping tells the newest alone: a version request would be refused as too old. */
    world_fault(w, &(struct sim_fault){.kind = SIM_FAULT_NO_API_VERSION, .on = SIM_REQUEST_PING});
    e = examine(w);
    expect(&e, "engine", "api", "problem", "in common");
    forget(&e);
}

static void test_an_engine_older_than_any_tested_is_told(void **state)
{
    struct world *w = *state;
    struct examined e;

    world_engine(w, &(struct sim_options){.engine = SIM_ENGINE_20_10, .api_newest = "1.30"});
    e = examine(w);
    expect(&e, "engine", "api", "ok", "1.30");
    expect(&e, "engine", "version", "note", "older than any");
    forget(&e);
}

static void test_a_clock_apart_from_the_engines_is_told(void **state)
{
    struct world *w = *state;
    struct examined e;

    world_engine(w, &(struct sim_options){.scripted_clock = true,
                                          .clock_start_ns = 1600000000 * NSEC_PER_SEC});
    e = examine(w);
    expect(&e, "engine", "clock", "warning", "behind ours");
    forget(&e);
}

static void test_what_a_proxy_refuses_is_told(void **state)
{
    struct world *w = *state;
    struct examined e;

    world_engine(w, NULL);
    add(w, "web", NULL, NULL);
    for (enum sim_request_kind kind = SIM_REQUEST_INSPECT; kind <= SIM_REQUEST_EVENTS; kind++)
        world_fault(w, &(struct sim_fault){.kind = SIM_FAULT_REPLY,
                                           .on = kind,
                                           .status = 403,
                                           .body = "{\"message\":\"forbidden\"}"});
    e = examine(w);
    expect(&e, "engine", "events", "problem", "403");
    expect(&e, "containers", "inspect", "problem", "1 of 1");
    forget(&e);
    world_fault(w, &(struct sim_fault){.kind = SIM_FAULT_REPLY,
                                       .on = SIM_REQUEST_LIST,
                                       .status = 403,
                                       .body = "{\"message\":\"forbidden\"}"});
    e = examine(w);
    expect(&e, "containers", "list", "problem", "403");
    forget(&e);
}

/* A socket of the loopback and its port: one that somebody listens on, or nobody. */
static int bound_socket(bool listens, unsigned *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(0, bind(fd, (struct sockaddr *)&address, len));
    assert_int_equal(0, getsockname(fd, (struct sockaddr *)&address, &len));
    if (listens)
        assert_int_equal(0, listen(fd, 8));
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void test_receivers_are_reached_or_not(void **state)
{
    struct world *w = *state;
    unsigned open_port, dead_port;
    int open_fd = bound_socket(true, &open_port), dead_fd = bound_socket(false, &dead_port);
    char path[128], text[1024];
    struct examined e;
    FILE *file;

    snprintf(text, sizeof text,
             "sinks:\n"
             "  near: {type: loki, url: \"http://127.0.0.1:%u\"}\n"
             "  dead: {type: elasticsearch, url: \"http://127.0.0.1:%u\"}\n"
             "  nameless: {type: http, url: \"http://ringtail.invalid/\"}\n"
             "  brokers: {type: kafka, topic: logs, brokers: [\"127.0.0.1:%u\"]}\n"
             "  half: {type: kafka, topic: logs, brokers: [\"127.0.0.1:%u\", \"[::1]:%u\", "
             "\"127.0.0.1:%u\"]}\n"
             "  gone: {type: kafka, topic: logs, brokers: [\"127.0.0.1:%u\"]}\n"
             "  here: {type: file, path: \"%s/here\"}\n",
             open_port, dead_port, open_port, open_port, dead_port, dead_port, dead_port, w->dir);
    snprintf(path, sizeof path, "%s/ringtail.yaml", w->dir);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(0, fclose(file));

    world_engine(w, NULL);
    e = examine(w, "--config", path);
    expect(&e, "sinks", "near", "ok", "can be reached");
    expect(&e, "sinks", "dead", "problem", "can't be reached");
    expect(&e, "sinks", "nameless", "problem", "resolve");
    expect(&e, "sinks", "brokers", "ok", "every broker");
    expect(&e, "sinks", "half", "warning", "[::1]");
    expect(&e, "sinks", "gone", "problem", "refused");
    assert_non_null(find(&e, "sinks", "here", "/here"));
    expect(&e, "spool", "directory", "note", "there is none");
    forget(&e);
    assert_int_equal(0, close(open_fd));
    assert_int_equal(0, close(dead_fd));
}

static void test_directories_that_cannot_be_written_to_are_told(void **state)
{
    struct world *w = *state;
    char spool[160], positions[160];
    struct examined e;

    snprintf(spool, sizeof spool, "spool.path=%s/closed/spool", w->dir);
    snprintf(positions, sizeof positions, "positions.path=%s/positions", w->dir);
    assert_int_equal(0, mkdir(w->out_dir, 0500));
    assert_int_equal(0, chmod(w->out_dir, 0500));
    world_engine(w, NULL);
    e = examine(w, "--output", w->out_dir, "--set", positions, "--set", "spool.path=/dev/null/x",
                "--set", "output.free_space_min=1000000GiB");
    expect(&e, "output", "output", "problem", "can't be written to");
    expect(&e, "spool", "directory", "problem", "/dev/null");
    forget(&e);
    assert_int_equal(0, chmod(w->out_dir, 0700));
    e = examine(w, "--output", w->out_dir, "--set", positions, "--set", spool, "--set",
                "output.free_space_min=1000000GiB", "--set", "spool.max_bytes=1000000GiB");
    expect(&e, "output", "output", "problem", "free_space_min");
    expect(&e, "spool", "directory", "warning", "spool.max_bytes");
    forget(&e);
}

static void test_too_few_sockets_are_told(void **state)
{
    struct world *w = *state;
    struct examined e;

    world_engine(w, NULL);
    e = examine(w, "--set", "ring.sockets_max=32");
    expect(&e, "limits", "sockets", "problem", "ring.sockets_max is 32");
    forget(&e);
    e = examine(w, "--set", "output.open_files_max=100000", "--output", w->out_dir, "--set",
                "ring.sockets_max=65536");
    if (find(&e, "limits", "descriptors", "may be needed (ring.sockets_max 65536"))
        expect(&e, "limits", "descriptors", "problem", "RLIMIT_NOFILE");
    forget(&e);
}

static void test_a_refused_io_uring_is_told_with_its_knob(void **state)
{
    static const char *const nothing[] = {NULL};
    static const char *const demanded[] = {"--backend", "io_uring", NULL};
    static const char *const chosen[] = {"--backend", "epoll", NULL};
    struct world *w = *state;
    struct examined e;

    world_engine(w, NULL);
    e = examine_how(w, EPERM, nothing);
    expect(&e, "ring", "backend", "warning", "seccomp profile");
    expect(&e, "process", "seccomp", "note", "in force");
    forget(&e);
    e = examine_how(w, EPERM, demanded);
    expect(&e, "ring", "backend", "problem", "seccomp profile");
    forget(&e);
    e = examine_how(w, EPERM, chosen);
    expect(&e, "ring", "backend", "ok", "asked for");
    forget(&e);
}

static void test_a_wrong_configuration_is_a_finding(void **state)
{
    struct world *w = *state;
    struct examined e;

    world_engine(w, NULL);
    e = examine(w, "--set", "log.level=loud", "--set", "sinks.far.type=splunk", "--set",
                "sinks.far.url=http://127.0.0.1:1", "--set",
                "sinks.far.token=file:/no/such/secret");
    expect(&e, "configuration", "option", "problem", "log.level=loud");
    expect(&e, "configuration", "option", "problem", "/no/such/secret");
    expect(&e, "engine", "ping", "ok", "");
    forget(&e);
    world_command(w, "doctor", "--sinse", "now");
    world_wait_exit(w, 2);
    world_command(w, "doctor", "--remove");
    world_wait_exit(w, 2);
}

static void test_people_get_words(void **state)
{
    struct world *w = *state;
    char *text;

    world_engine(w, NULL);
    for (unsigned i = 0; i < 7; i++) {
        char name[16];

        snprintf(name, sizeof name, "quiet-%u", i);
        add(w, name, "none", NULL);
    }
    world_command(w, "doctor", "--engine", sim_url(w->sim), "--set", "admin.port=0");
    world_wait(w, "the end of the examination", world_has_ended, NULL);
    text = world_stdout(w);
    if (!strstr(text, "\nengine        ok       ping: ") || !strstr(text, " and 2 more\n") ||
        !strstr(text, "-> use json-file or local") || !strstr(text, " ok\n") ||
        strchr(text, '\033'))
        world_fail(w, "these are no words for people: %s", text);
    w->passed = true;
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST("a good host has no problem", test_a_good_host_has_no_problem),
        WORLD_TEST("containers that may lose lines are named",
                   test_containers_that_may_lose_lines_are_named),
        WORLD_TEST("S17 a socket that is none is told from one that is not there",
                   test_a_socket_that_is_none_is_told_from_one_that_is_not_there),
        WORLD_TEST("S17 a forbidden socket names the group to join",
                   test_a_forbidden_socket_names_the_group_to_join),
        WORLD_TEST("an Engine that hangs holds nobody up",
                   test_an_engine_that_hangs_holds_nobody_up),
        WORLD_TEST("S25 an Engine without a version in common is told",
                   test_an_engine_without_a_version_in_common_is_told),
        WORLD_TEST("an Engine older than any tested is told",
                   test_an_engine_older_than_any_tested_is_told),
        WORLD_TEST("a clock apart from the Engine's is told",
                   test_a_clock_apart_from_the_engines_is_told),
        WORLD_TEST("what a proxy refuses is told", test_what_a_proxy_refuses_is_told),
        WORLD_TEST("receivers are reached or not", test_receivers_are_reached_or_not),
        WORLD_TEST("directories that cannot be written to are told",
                   test_directories_that_cannot_be_written_to_are_told),
        WORLD_TEST("too few sockets are told", test_too_few_sockets_are_told),
        WORLD_TEST("S38 a refused io_uring is told with its knob",
                   test_a_refused_io_uring_is_told_with_its_knob),
        WORLD_TEST("a wrong configuration is a finding", test_a_wrong_configuration_is_a_finding),
        WORLD_TEST("people get words", test_people_get_words),
    };

    return world_main(tests);
}
