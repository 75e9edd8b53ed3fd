/* The command line without an Engine: help, version, check, refusals, and what an exit code says.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"
#include "support/world.h"

static const char broken_config[] = "engine:\n"
                                    "  url: http://example\n"
                                    "  request_timeout: 3 parsecs\n"
                                    "  recconect_min: 10ms\n"
                                    "stream:\n"
                                    "  max_line_bytes: 1\n"
                                    "  since: yesterday\n"
                                    "  read_timeout: [1s]\n"
                                    "log:\n"
                                    "  level: loud\n"
                                    "no_such_section: true\n"
                                    "run.grace_period: 5s\n"
                                    "run:\n"
                                    "  grace_period: 6s\n";

/* stdout and stderr, as the two words of a user. Freed by the caller. */
static char *whole_output(struct world *w)
{
    char *out = world_stdout(w);
    struct buf both = {0};

    ringtail_proc_read_log(&w->ringtail);
    assert_int_equal(0, buf_append_str(&both, out));
    assert_int_equal(0, buf_append_slice(&both, buf_slice(&w->ringtail.log)));
    assert_int_equal(0, buf_append_char(&both, '\0'));
    free(out);
    return both.data;
}

static void assert_says(struct world *w, const char *text, const char *what)
{
    if (!strstr(text, what))
        world_fail(w, "`%s` is not in:\n%s", what, text);
}

static const char *write_config(struct world *w, const char *text)
{
    static char path[128];
    FILE *file;

    snprintf(path, sizeof path, "%s/ringtail.yaml", w->dir);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(0, fclose(file));
    return path;
}

static void test_help_names_commands_and_options(void **state)
{
    static const char *const words[] = {"run",
                                        "check",
                                        "--config",
                                        "--set",
                                        "--engine",
                                        "--output",
                                        "--since",
                                        "--backend",
                                        "--version",
                                        "engine.url",
                                        "stream.max_line_bytes",
                                        "output.template",
                                        "log.level"};
    struct world *w = *state;
    char *text;

    world_command(w, "--help");
    world_wait_exit(w, 0);
    text = world_stdout(w);
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        assert_says(w, text, words[i]);
    free(text);
}

static void test_version_is_one_line(void **state)
{
    struct world *w = *state;
    char *text;

    world_command(w, "--version");
    world_wait_exit(w, 0);
    text = world_stdout(w);
    assert_says(w, text, RINGTAIL_VERSION);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    free(text);
}

static void fails_with_usage(struct world *w, const char *const *args, const char *says)
{
    char *text;

    world_command_how(w, &(struct ringtail_how){.args = args});
    world_wait_exit(w, 2);
    text = whole_output(w);
    assert_says(w, text, says);
    free(text);
}

static void test_wrong_usage_is_told_with_exit_code_2(void **state)
{
    static const char *const no_args[] = {NULL};
    static const char *const bad_command[] = {"runn", NULL};
    static const char *const bad_option[] = {"run", "--sinse", "now", NULL};
    static const char *const no_value[] = {"run", "--since", NULL};
    static const char *const extra[] = {"run", "now", NULL};
    static const char *const no_file[] = {"check", "--config", "/no/such/file.yaml", NULL};
    static const char *const bad_engine[] = {"run", "--engine", "tcp://127.0.0.1:2375", NULL};
    static const char *const bad_since[] = {"run", "--since", "yesterday", NULL};
    struct world *w = *state;

    fails_with_usage(w, no_args, "run");
    fails_with_usage(w, bad_command, "runn");
    fails_with_usage(w, bad_option, "--sinse");
    fails_with_usage(w, no_value, "--since");
    fails_with_usage(w, extra, "now");
    fails_with_usage(w, no_file, "/no/such/file.yaml");
    fails_with_usage(w, bad_engine, "tcp://127.0.0.1:2375");
    fails_with_usage(w, bad_since, "yesterday");
}

static void test_an_unknown_option_names_the_nearest(void **state)
{
    static const char *const unknown[] = {"run", "--set", "stream.max_line_byte=1MiB", NULL};
    static const char *const range[] = {"run", "--set", "stream.max_line_bytes=1", NULL};
    static const char *const type[] = {"run", "--set", "engine.request_timeout=soon", NULL};
    static const char *const form[] = {"run", "--set", "engine.request_timeout", NULL};
    static const char *const both[] = {"check", "--set",          "first.wrong=1",
                                       "--set", "second.wrong=2", NULL};
    struct world *w = *state;

    fails_with_usage(w, unknown, "stream.max_line_bytes");
    fails_with_usage(w, range, "1KiB");
    fails_with_usage(w, type, "engine.request_timeout=soon");
    fails_with_usage(w, form, "engine.request_timeout");
    fails_with_usage(w, both, "first.wrong");
    fails_with_usage(w, both, "second.wrong");
}

static void test_check_tells_all_problems_with_their_places(void **state)
{
    /* Line and column of each key or value, and what is wrong there. */
    static const struct {
        const char *place, *what;
    } problems[] = {
        {":3:20: ", "request_timeout"}, {":4:3: ", "reconnect_min"}, {":6:19: ", "max_line_bytes"},
        {":8:17: ", "read_timeout"},    {":10:10: ", "level"},       {":11:1: ", "no_such_section"},
        {":14:3: ", "grace_period"},
    };
    struct world *w = *state;
    const char *path = write_config(w, broken_config);
    char *text;

    world_command(w, "check", "--config", path);
    world_wait_exit(w, 2);
    text = whole_output(w);
    for (size_t i = 0; i < ARRAY_SIZE(problems); i++) {
        char place[160];
        const char *line;

        snprintf(place, sizeof place, "%s%s", path, problems[i].place);
        assert_says(w, text, place);
        line = strstr(text, place);
        if (!memmem(line, strcspn(line, "\n"), problems[i].what, strlen(problems[i].what)))
            world_fail(w, "`%s` is not in the line of %s:\n%s", problems[i].what, place, text);
    }
    /* These are found only when the values are seen together. */
    assert_says(w, text, "http://example");
    assert_says(w, text, "yesterday");
    free(text);

    world_command(w, "run", "--config", path);
    world_wait_exit(w, 2);
}

static void test_check_accepts_what_is_good(void **state)
{
    struct world *w = *state;
    const char *path = write_config(w, "engine:\n"
                                       "  url: unix:///nowhere/docker.sock\n"
                                       "stream.since: 1h\n"
                                       "output:\n"
                                       "  path: /nowhere/out\n"
                                       "  rotate_bytes: 10MiB\n");

    world_command(w, "check", "--config", path);
    world_wait_exit(w, 0);
    world_command(w, "check");
    world_wait_exit(w, 0);
}

static void test_a_file_an_option_and_the_environment_say_where_the_engine_is(void **state)
{
    struct world *w = *state;
    char text[256];

    world_engine(w, NULL);
    say_many(world_speaker(w, "line"), "line", 3);
    snprintf(text, sizeof text, "engine:\n  url: %s\nstream:\n  since: all\noutput:\n  path: %s\n",
             sim_url(w->sim), w->out_dir);
    world_command(w, "run", "--config", write_config(w, text), "--set", "admin.address=");
    world_wait_all(w);
    world_stop(w);

    assert_int_equal(0, setenv("DOCKER_HOST", sim_url(w->sim), 1));
    say_many(world_speaker(w, "environment"), "line", 3);
    world_command(w, "run", "--since", "now", "--output", w->out_dir, "--set", "admin.address=");
    world_wait_follows(w, NULL, 2);
    say_many(world_speaker(w, "later"), "line", 3);
    assert_int_equal(0, unsetenv("DOCKER_HOST"));
    world_wait_log(w, "Engine connected", sim_url(w->sim), 1);
    world_stop_early(w);
}

static void test_an_output_that_cannot_be_written_is_told_with_exit_code_1(void **state)
{
    struct world *w = *state;
    char *text;

    world_engine(w, NULL);
    world_command(w, "run", "--engine", sim_url(w->sim), "--output", "/dev/null/directory", "--set",
                  "admin.address=");
    world_wait_exit(w, 1);
    text = whole_output(w);
    assert_says(w, text, "/dev/null/directory");
    free(text);
}

/* ---- S38 ---- */

static void io_uring_refused(struct world *w, int error, const char *const *words)
{
    char *text;

    world_engine(w, NULL);
    world_run_how(
        w, &(struct ringtail_how){.args = (const char *const[]){"--backend", "io_uring", NULL},
                                  .io_uring_errno = error});
    world_wait_exit(w, 3);
    text = whole_output(w);
    for (size_t i = 0; words[i]; i++)
        assert_says(w, text, words[i]);
    free(text);
    assert_int_equal(0, world_stats(w).requests[SIM_REQUEST_ANY]);
}

static void test_eperm_names_the_seccomp_profile(void **state)
{
    io_uring_refused(*state, EPERM, (const char *const[]){"seccomp", "io_uring_setup", NULL});
}

static void test_enosys_names_the_kernel_and_the_seccomp_profile(void **state)
{
    io_uring_refused(*state, ENOSYS, (const char *const[]){"kernel", "seccomp", NULL});
}

static void test_enomem_names_the_limit(void **state)
{
    io_uring_refused(*state, ENOMEM, (const char *const[]){"MEMLOCK", NULL});
}

static void test_check_needs_no_io_uring(void **state)
{
    struct world *w = *state;

    world_command_how(w, &(struct ringtail_how){.args = (const char *const[]){"check", NULL},
                                                .io_uring_errno = EPERM});
    world_wait_exit(w, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST("--help names commands and options", test_help_names_commands_and_options),
        WORLD_TEST("--version is one line", test_version_is_one_line),
        WORLD_TEST("wrong usage is told with exit code 2",
                   test_wrong_usage_is_told_with_exit_code_2),
        WORLD_TEST("an unknown option names the nearest", test_an_unknown_option_names_the_nearest),
        WORLD_TEST("check tells all problems with their places",
                   test_check_tells_all_problems_with_their_places),
        WORLD_TEST("check accepts what is good", test_check_accepts_what_is_good),
        WORLD_TEST("a file, an option and the environment say where the Engine is",
                   test_a_file_an_option_and_the_environment_say_where_the_engine_is),
        WORLD_TEST("an output that cannot be written is told with exit code 1",
                   test_an_output_that_cannot_be_written_is_told_with_exit_code_1),
        WORLD_TEST("S38 EPERM names the seccomp profile", test_eperm_names_the_seccomp_profile),
        WORLD_TEST("S38 ENOSYS names the kernel and the seccomp profile",
                   test_enosys_names_the_kernel_and_the_seccomp_profile),
        WORLD_TEST("S38 ENOMEM names the limit", test_enomem_names_the_limit),
        WORLD_TEST("S38 check needs no io_uring", test_check_needs_no_io_uring),
    };

    return world_main(tests);
}
