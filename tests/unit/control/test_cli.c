/* The command line, in this process: what it makes of arguments, and what it says where. */
#include "ringtail/control/cli.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"
#include "ringtail/control/daemon.h"
#include "ringtail/io/ring.h"

#define ARGS_MAX 16

/* What a command line came to. */
struct outcome {
    struct cli cli;
    char out[65536], err[8192];
};

struct captured {
    int fd, saved, file;
};

static void capture(struct captured *c, int fd)
{
    c->fd = fd;
    c->saved = dup(fd);
    c->file = memfd_create("output", MFD_CLOEXEC);
    assert_true(c->saved >= 0 && c->file >= 0);
    assert_int_equal(fd, dup2(c->file, fd));
}

static void release(struct captured *c, char *text, size_t size)
{
    ssize_t n;

    assert_int_equal(c->fd, dup2(c->saved, c->fd));
    n = pread(c->file, text, size - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    assert_int_equal(0, close(c->saved));
    assert_int_equal(0, close(c->file));
}

static void run(struct outcome *o, const char *first, ...)
{
    char *argv[ARGS_MAX + 1] = {(char *)"ringtail"};
    struct captured out, err;
    int argc = 1;
    va_list ap;

    va_start(ap, first);
    for (const char *arg = first; arg; arg = va_arg(ap, const char *)) {
        assert_true(argc < ARGS_MAX);
        argv[argc++] = (char *)arg;
    }
    va_end(ap);
    assert_int_equal(0, fflush(stdout));
    capture(&out, STDOUT_FILENO);
    capture(&err, STDERR_FILENO);
    cli_parse(&o->cli, argc, argv);
    (void)fflush(stdout);
    release(&out, o->out, sizeof o->out);
    release(&err, o->err, sizeof o->err);
}

static void finish(struct outcome *o)
{
    config_finish(&o->cli.config);
}

static void expect_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in \"%s\"", part, text);
}

/* Lines of the text, each one problem. */
static unsigned count_lines(const char *text)
{
    unsigned n = 0;

    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static int setup(void **state)
{
    struct outcome *o = malloc(sizeof *o);

    assert_non_null(o);
    assert_int_equal(0, unsetenv("DOCKER_HOST"));
    *state = o;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return unsetenv("DOCKER_HOST");
}

static void test_run_takes_all_its_options(void **state)
{
    struct outcome *o = *state;

    run(o, "run", "--engine", "unix:///e.sock", "--output=/logs", "--since", "1h", "--backend",
        "epoll", "--set", "log.level=debug", "-s", "stream.max_line_bytes=2MiB", NULL);
    assert_int_equal(CLI_RUN, o->cli.command);
    assert_string_equal("unix:///e.sock", o->cli.config.engine_url);
    assert_string_equal("/logs", o->cli.config.output_path);
    assert_string_equal("1h", o->cli.config.stream_since);
    assert_int_equal(RING_BACKEND_EPOLL, o->cli.config.ring_backend);
    assert_int_equal(0, o->cli.config.log_level);
    assert_int_equal(2 << 20, o->cli.config.stream_max_line_bytes);
    assert_string_equal("", o->out);
    assert_string_equal("", o->err);
    finish(o);
    /* The command may stand anywhere, short options may carry their value. */
    run(o, "-eunix:///e.sock", "-o", "stdout", "run", NULL);
    assert_int_equal(CLI_RUN, o->cli.command);
    assert_string_equal("unix:///e.sock", o->cli.config.engine_url);
    finish(o);
}

static void test_check_says_that_all_is_good(void **state)
{
    struct outcome *o = *state;

    run(o, "check", NULL);
    assert_int_equal(CLI_DONE, o->cli.command);
    assert_int_equal(EXIT_CLEAN, o->cli.exit_code);
    expect_contains(o->out, "good");
    assert_string_equal("", o->err);
    finish(o);
}

static void write_file(char *path, const char *text)
{
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(strlen(text), write(fd, text, strlen(text)));
    assert_int_equal(0, close(fd));
}

static void test_check_shows_what_is_in_force_and_no_secret(void **state)
{
    static const char text[] = "containers.include: [\"web-*\", \"a,b\"]\n"
                               "log.level: warn\n"
                               "sinks:\n"
                               "  far:\n"
                               "    type: splunk\n"
                               "    url: https://logs.example.net\n"
                               "    token: hunter2\n";
    char path[] = "/tmp/ringtail-cli-XXXXXX", again[] = "/tmp/ringtail-cli-XXXXXX";
    struct outcome *o = *state;
    char *first;

    write_file(path, text);
    run(o, "check", "--config", path, "--verbose", "--set", "log.burst=7", NULL);
    assert_int_equal(EXIT_CLEAN, o->cli.exit_code);
    expect_contains(o->out, "\ncontainers.include: [\"web-*\", \"a,b\"]\n");
    expect_contains(o->out, "\nlog.level: warn\n");
    expect_contains(o->out, "\nlog.burst: 7\n");
    expect_contains(o->out, "\nstream.rotation_interval: 5m\n");
    expect_contains(o->out, "\n# output.path: \"stdout\"\n");
    expect_contains(o->out, "\nsinks.far.type: splunk\n");
    expect_contains(o->out, "\nsinks.far.token: \"***\"\n");
    assert_null(strstr(o->out, "sinks.far.index: \"ringtail"));
    assert_null(strstr(o->out, "hunter2"));
    finish(o);

    /* It is a file that says the same. */
    first = strdup(o->out);
    assert_non_null(first);
    write_file(again, first);
    run(o, "check", "--config", again, "--verbose", NULL);
    assert_int_equal(EXIT_CLEAN, o->cli.exit_code);
    assert_string_equal(first, o->out);
    finish(o);
    free(first);
    assert_int_equal(0, unlink(path));
    assert_int_equal(0, unlink(again));
}

static const struct option_table *sink_options(void)
{
    return config_options()->sections[0].table;
}

static void test_help_and_version_answer_on_stdout(void **state)
{
    struct outcome *o = *state;
    static const char *const ways[] = {"--help", "-h"};

    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        run(o, ways[i], NULL);
        assert_int_equal(CLI_DONE, o->cli.command);
        assert_int_equal(EXIT_CLEAN, o->cli.exit_code);
        expect_contains(o->out, "ringtail run");
        for (size_t n = 0; n < config_options()->count; n++)
            expect_contains(o->out, config_options()->items[n].name);
        for (size_t n = 0; n < sink_options()->count; n++)
            expect_contains(o->out, sink_options()->items[n].name);
        assert_string_equal("", o->err);
        finish(o);
    }
    run(o, "run", "--help", "--set", "no.such=option", NULL);
    assert_int_equal(EXIT_CLEAN, o->cli.exit_code);
    finish(o);
    run(o, "--version", NULL);
    assert_int_equal(CLI_DONE, o->cli.command);
    assert_int_equal(EXIT_CLEAN, o->cli.exit_code);
    assert_string_equal("ringtail " RINGTAIL_VERSION "\n", o->out);
    finish(o);
}

static void test_options_prints_a_table_of_all(void **state)
{
    struct outcome *o = *state;

    run(o, "options", NULL);
    assert_int_equal(CLI_DONE, o->cli.command);
    assert_int_equal(EXIT_CLEAN, o->cli.exit_code);
    for (size_t n = 0; n < config_options()->count; n++)
        expect_contains(o->out, config_options()->items[n].name);
    for (size_t n = 0; n < sink_options()->count; n++)
        expect_contains(o->out, sink_options()->items[n].name);
    finish(o);
}

static void test_wrong_command_lines_are_usage_errors(void **state)
{
    struct outcome *o = *state;
    static const struct {
        const char *args[4];
        const char *said;
    } wrong[] = {
        {{NULL}, "command is missing"},
        {{"--set", "log.level=info"}, "command is missing"},
        {{"runn"}, "unknown command \"runn\""},
        {{""}, "command"},
        {{"run", "check"}, "unexpected argument \"check\""},
        {{"run", "--bogus"}, "unknown argument \"--bogus\""},
        {{"run", "-x"}, "unknown argument \"-x\""},
        {{"run", "-"}, "unknown argument \"-\""},
        {{"run", "--"}, "unknown argument \"--\""},
        {{"run", "--versions"}, "unknown argument \"--versions\""},
        {{"run", "--help=yes"}, "unknown argument \"--help=yes\""},
        {{"run", "--set"}, "--set: a value is missing"},
        {{"run", "--config"}, "--config: a value is missing"},
        {{"run", "--since"}, "--since: a value is missing"},
        {{"run", "-o"}, "--output: a value is missing"},
        {{"run", "--set", "log.level"}, "expected KEY=VALUE"},
        {{"run", "--set", "log.levl=info"}, "log.level"},
        {{"run", "--set", "log.level=loud"}, "log.level=loud"},
        {{"run", "--set", "=1"}, "--set"},
        {{"run", "--set="}, "KEY=VALUE"},
        {{"run", "--set", "ring.buffers=abc"}, "ring.buffers=abc"},
        {{"run", "--set", "ring.buffers=1000000"}, "ring.buffers=1000000"},
        {{"run", "--set", "stream.read_timeout=30"}, "30s"},
        {{"run", "--engine", "tcp://1.2.3.4:2375"}, "not a unix socket"},
        {{"run", "--engine", "x"}, "engine.url"},
        {{"run", "--engine="}, "engine.url"},
        {{"run", "--output="}, "output.path"},
        {{"run", "--since", "yesterday"}, "stream.since"},
        {{"run", "--since="}, "stream.since"},
        {{"run", "--backend"}, "--backend: a value is missing"},
        {{"run", "--backend", "kqueue"}, "ring.backend"},
        {{"run", "--config", "/nonexistent/file.yaml"}, "/nonexistent/file.yaml"},
        {{"run", "--config", "/"}, "/"},
        {{"check", "--set", "output.template=../x"}, "output.template"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        const char *const *a = wrong[i].args;

        run(o, a[0], a[1], a[2], a[3], NULL);
        if (o->cli.command != CLI_DONE || o->cli.exit_code != EXIT_USAGE)
            fail_msg("%s %s is taken", a[0] ? a[0] : "", a[1] ? a[1] : "");
        assert_string_equal("", o->out);
        assert_int_equal(1, count_lines(o->err));
        expect_contains(o->err, wrong[i].said);
        finish(o);
    }
}

static void test_every_problem_is_told_at_once(void **state)
{
    char path[] = "/tmp/ringtail-cli-XXXXXX";
    struct outcome *o = *state;

    write_file(path, "log:\n  level: loud\nno_such: 1\nring:\n  buffers: 5\n");
    run(o, "check", "--config", path, "--bogus", "--set", "log.format=xml", "--since", "never",
        "extra", NULL);
    assert_int_equal(EXIT_USAGE, o->cli.exit_code);
    assert_int_equal(7, count_lines(o->err));
    expect_contains(o->err, ":2:10: ");
    expect_contains(o->err, "no_such");
    expect_contains(o->err, "--bogus");
    expect_contains(o->err, "extra");
    expect_contains(o->err, "log.format=xml");
    expect_contains(o->err, "stream.since");
    expect_contains(o->err, "ring.buffers");
    finish(o);
    assert_int_equal(0, unlink(path));
}

static void test_what_is_set_later_wins(void **state)
{
    char path[] = "/tmp/ringtail-cli-XXXXXX";
    struct outcome *o = *state;

    assert_int_equal(0, setenv("DOCKER_HOST", "unix:///from/environment", 1));
    run(o, "run", NULL);
    assert_int_equal(CLI_RUN, o->cli.command);
    assert_string_equal("unix:///from/environment", o->cli.config.engine_url);
    finish(o);

    write_file(path, "engine:\n  url: unix:///from/file\nlog.level: warn\nlog.burst: 7\n");
    run(o, "run", "-c", path, "--set", "log.level=error", NULL);
    assert_int_equal(CLI_RUN, o->cli.command);
    assert_string_equal("unix:///from/file", o->cli.config.engine_url);
    assert_int_equal(3, o->cli.config.log_level);
    assert_int_equal(7, o->cli.config.log_burst);
    finish(o);

    /* The file comes before the rest of the command line, wherever it stands. */
    run(o, "run", "--engine", "unix:///first", "--set", "engine.url=unix:///second", "-c", path,
        NULL);
    assert_string_equal("unix:///second", o->cli.config.engine_url);
    finish(o);
    run(o, "run", "--set", "engine.url=unix:///first", "--engine", "unix:///second", NULL);
    assert_string_equal("unix:///second", o->cli.config.engine_url);
    finish(o);
    assert_int_equal(0, unlink(path));
}

static void test_sinks_come_from_the_file_and_the_command_line(void **state)
{
    char path[] = "/tmp/ringtail-cli-XXXXXX";
    struct outcome *o = *state;

    write_file(path, "sinks:\n  a:\n    type: loki\n    url: http://loki:3100\n  b.type: kafka\n");
    run(o, "run", "-c", path, "-s", "sinks.a.tenant=me", "-s", "sinks.b.type=file", "-s",
        "sinks.b.path=/logs", NULL);
    assert_int_equal(CLI_RUN, o->cli.command);
    assert_string_equal("", o->err);
    assert_int_equal(2, o->cli.config.sinks_count);
    assert_string_equal("a", o->cli.config.sinks[0].name);
    assert_string_equal("me", o->cli.config.sinks[0].loki_tenant);
    assert_int_equal(SINK_TYPE_FILE, o->cli.config.sinks[1].type);
    assert_false(config_has_output(&o->cli.config));
    finish(o);
    run(o, "run", "-c", path, "--output=stdout", NULL);
    assert_int_equal(EXIT_USAGE, o->cli.exit_code);
    assert_int_equal(2, count_lines(o->err));
    expect_contains(o->err, ":5:11: sinks.b: brokers is missing");
    expect_contains(o->err, ":5:11: sinks.b: topic is missing");
    assert_true(config_has_output(&o->cli.config));
    finish(o);
    assert_int_equal(0, unlink(path));
}

static void test_no_output_has_a_secret_in_it(void **state)
{
    static const char *const sets[] = {
        "sinks.a.auth.token=hunter2",          "sinks.a.auth.tokn=hunter2",
        "sinks.a.auth.token:hunter2",          "sinks.a.token=hunter2",
        "sinks.A.auth.token=hunter2",          "sink.a.auth.token=hunter2",
        "sinks.a.url=https://me:hunter2@loki", "sinks.a.headers=Authorization: Bearer hunter2",
    };
    static const char *const commands[] = {"run", "check", "options", "--help"};
    struct outcome *o = *state;

    for (size_t c = 0; c < ARRAY_SIZE(commands); c++) {
        for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
            run(o, commands[c], "-s", "sinks.a.type=loki", "-s", "sinks.a.url=http://loki", "-s",
                sets[i], NULL);
            assert_null(strstr(o->out, "hunter2"));
            assert_null(strstr(o->err, "hunter2"));
            if (strcmp(commands[c], "check") == 0)
                assert_int_equal(1, count_lines(o->err));
            finish(o);
        }
    }
}

static void test_warnings_are_told_and_stop_nothing(void **state)
{
    struct outcome *o = *state;

    run(o, "run", "-s", "sinks.a.type=splunk", "-s", "sinks.a.url=http://splunk", "-s",
        "sinks.a.token=plain", NULL);
    assert_int_equal(CLI_RUN, o->cli.command);
    assert_int_equal(1, count_lines(o->err));
    expect_contains(o->err, "ringtail: warning: --set sinks.a.token=***: ");
    assert_string_equal("plain", o->cli.config.sinks[0].splunk_token);
    finish(o);
}

static void test_docker_host_is_a_unix_socket_or_a_problem(void **state)
{
    struct outcome *o = *state;

    assert_int_equal(0, setenv("DOCKER_HOST", "", 1));
    run(o, "run", NULL);
    assert_int_equal(CLI_RUN, o->cli.command);
    assert_string_equal("unix:///var/run/docker.sock", o->cli.config.engine_url);
    finish(o);

    assert_int_equal(0, setenv("DOCKER_HOST", "tcp://10.0.0.1:2376", 1));
    run(o, "run", NULL);
    assert_int_equal(EXIT_USAGE, o->cli.exit_code);
    expect_contains(o->err, "tcp://10.0.0.1:2376");
    finish(o);
    run(o, "run", "--engine", "unix:///here", NULL);
    assert_int_equal(CLI_RUN, o->cli.command);
    finish(o);
}

/* Ended with a usage error that says so. */
#define expect_usage(o, says, ...)                                                                 \
    do {                                                                                           \
        run(o, __VA_ARGS__, NULL);                                                                 \
        assert_int_equal(CLI_DONE, (o)->cli.command);                                              \
        assert_int_equal(EXIT_USAGE, (o)->cli.exit_code);                                          \
        expect_contains((o)->err, says);                                                           \
        finish(o);                                                                                 \
    } while (0)

static void test_spool_and_dlq_say_what_they_expect(void **state)
{
    struct outcome *o = *state;

    expect_usage(o, "expected one of ls check cat replay", "spool");
    expect_usage(o, "expected one of ls check cat replay", "spool", "list");
    expect_usage(o, "expected one of ls cat replay", "dlq", "check");
    expect_usage(o, "which spool?", "spool", "ls");
    expect_usage(o, "which file?", "dlq", "ls", "--output", "stdout");
    expect_usage(o, "unexpected argument \"more\"", "spool", "ls", "/nowhere", "more");
    expect_usage(o, "--json is for ls", "spool", "cat", "/nowhere", "--json");
    expect_usage(o, "--json is for ringtail doctor, ringtail spool", "run", "--json");
    expect_usage(o, "--verbose is for ringtail check", "run", "--verbose");
    expect_usage(o, "--from is not for check", "spool", "check", "/nowhere", "--from", "1h");
    expect_usage(o, "--from: \"soon\" is no time", "spool", "cat", "/nowhere", "--from", "soon");
    expect_usage(o, "--remove is for replay --sink", "dlq", "cat", "/nowhere", "--remove");
    expect_usage(o, "no sink \"loki\"", "spool", "replay", "/nowhere", "--sink", "loki");
    expect_usage(o, "no --container", "spool", "replay", "/nowhere", "--sink", "loki",
                 "--container", "web");
    run(o, "spool", "ls", "/nowhere", NULL);
    assert_int_equal(EXIT_FAILED, o->cli.exit_code);
    expect_contains(o->err, "/nowhere: No such file");
    finish(o);
}

static void test_spool_and_dlq_have_help_of_their_own(void **state)
{
    struct outcome *o = *state;

    run(o, "spool", "--help", NULL);
    assert_int_equal(EXIT_CLEAN, o->cli.exit_code);
    expect_contains(o->out, "Usage: ringtail spool ls|check|cat|replay");
    finish(o);
    run(o, "dlq", "ls", "-h", NULL);
    assert_int_equal(EXIT_CLEAN, o->cli.exit_code);
    expect_contains(o->out, "Usage: ringtail dlq ls|cat|replay");
    finish(o);
}

#define PARSING(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PARSING(test_run_takes_all_its_options),
        PARSING(test_check_says_that_all_is_good),
        PARSING(test_check_shows_what_is_in_force_and_no_secret),
        PARSING(test_help_and_version_answer_on_stdout),
        PARSING(test_options_prints_a_table_of_all),
        PARSING(test_wrong_command_lines_are_usage_errors),
        PARSING(test_every_problem_is_told_at_once),
        PARSING(test_what_is_set_later_wins),
        PARSING(test_sinks_come_from_the_file_and_the_command_line),
        PARSING(test_no_output_has_a_secret_in_it),
        PARSING(test_warnings_are_told_and_stop_nothing),
        PARSING(test_docker_host_is_a_unix_socket_or_a_problem),
        PARSING(test_spool_and_dlq_say_what_they_expect),
        PARSING(test_spool_and_dlq_have_help_of_their_own),
    };

    return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
