/* The option table: notations, bounds, what is said about mistakes, YAML, help and documentation.
 */
#include "ringtail/base/option.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"

struct settings {
    bool colour;
    int64_t workers;
    int64_t line_max_bytes;
    int64_t read_timeout_ms;
    int64_t rotate_every_ms;
    char *engine;
    int format;
    struct option_list labels;
};

static const char *const formats[] = {"auto", "text", "json", NULL};

#define FIELD(member) offsetof(struct settings, member)

static const struct option options[] = {
    {.name = "engine",
     .type = OPTION_STRING,
     .offset = FIELD(engine),
     .least = "1",
     .most = "40",
     .def = "unix:///var/run/docker.sock",
     .help = "Where the Engine listens.",
     .group = "Engine"},
    {.name = "stream.read_timeout",
     .type = OPTION_DURATION,
     .offset = FIELD(read_timeout_ms),
     .least = "1s",
     .most = "1h",
     .def = "30s",
     .help = "How long a read waits before it is asked for again, which ends nothing and costs "
             "next to nothing either.",
     .group = "Streams"},
    {.name = "log.format",
     .type = OPTION_ENUM,
     .offset = FIELD(format),
     .choices = formats,
     .def = "auto",
     .help = "What our own log looks like: text | json.",
     .group = "Log"},
    {.name = "stream.rotate_every",
     .type = OPTION_DURATION,
     .offset = FIELD(rotate_every_ms),
     .def = "5m",
     .help = "Reopen each stream this often.",
     .group = "Streams"},
    {.name = "stream.line.max_bytes",
     .type = OPTION_SIZE,
     .offset = FIELD(line_max_bytes),
     .least = "1KiB",
     .def = "1MiB",
     .help = "Longer lines are cut.",
     .group = "Streams"},
    {.name = "log.colour",
     .type = OPTION_BOOL,
     .offset = FIELD(colour),
     .def = "false",
     .help = "Paint it.",
     .group = "Log"},
    {.name = "workers",
     .type = OPTION_INT,
     .offset = FIELD(workers),
     .least = "-4",
     .most = "64",
     .def = "4",
     .help = "How many.",
     .group = "Engine"},
    {.name = "labels",
     .type = OPTION_LIST,
     .offset = FIELD(labels),
     .def = "a,b c",
     .help = "Which labels.",
     .group = "Engine"},
};

static const struct option_table table = {.items = options, .count = ARRAY_SIZE(options)};

struct fixture {
    struct settings settings;
    struct option_problems problems;
    struct buf text;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    assert_int_equal(0, options_set_defaults(&table, &f->settings));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    options_finish(&table, &f->settings);
    option_problems_finish(&f->problems);
    buf_finish(&f->text);
    free(f);
    return 0;
}

/** All problems, each ended by a newline; they are forgotten. */
static const char *problems(struct fixture *f)
{
    buf_reset(&f->text);
    for (size_t i = 0; i < f->problems.count; i++)
        assert_int_equal(0, buf_printf(&f->text, "%s\n", f->problems.items[i].text));
    option_problems_finish(&f->problems);
    return buf_cstr(&f->text);
}

static const char *value_of(struct fixture *f, const char *name)
{
    buf_reset(&f->text);
    for (size_t i = 0; i < table.count; i++) {
        if (strcmp(options[i].name, name) == 0)
            assert_int_equal(0, option_format_value(&options[i], &f->settings, &f->text));
    }
    return buf_cstr(&f->text);
}

static int set(struct fixture *f, const char *name, const char *value)
{
    return options_set(&table, &f->settings, "--set", slice_str(name), slice_str(value),
                       &f->problems);
}

static void assert_set(struct fixture *f, const char *name, const char *value, const char *expected)
{
    assert_int_equal(0, set(f, name, value));
    assert_string_equal(expected, value_of(f, name));
    assert_string_equal("", problems(f));
}

static void assert_set_refused(struct fixture *f, const char *name, const char *value,
                               const char *expected)
{
    char before[64];

    (void)snprintf(before, sizeof before, "%s", value_of(f, name));
    assert_int_equal(-EINVAL, set(f, name, value));
    assert_string_equal(expected, problems(f));
    assert_string_equal(before, value_of(f, name));
}

static int load(struct fixture *f, const char *yaml)
{
    return options_load_text(&table, &f->settings, "r.yaml", slice_str(yaml), &f->problems);
}

static void assert_load_refused(struct fixture *f, const char *yaml, const char *expected)
{
    assert_int_equal(-EINVAL, load(f, yaml));
    assert_string_equal(expected, problems(f));
}

static void assert_all_defaults(struct fixture *f)
{
    assert_false(f->settings.colour);
    assert_int_equal(4, f->settings.workers);
    assert_int_equal(1048576, f->settings.line_max_bytes);
    assert_int_equal(30000, f->settings.read_timeout_ms);
    assert_int_equal(300000, f->settings.rotate_every_ms);
    assert_string_equal("unix:///var/run/docker.sock", f->settings.engine);
    assert_int_equal(0, f->settings.format);
    assert_int_equal(2, f->settings.labels.count);
    assert_string_equal("a", f->settings.labels.items[0]);
    assert_string_equal("b c", f->settings.labels.items[1]);
}

static void test_durations_are_read_in_their_units(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"0", 0},          {"0s", 0},
        {"250ms", 250},    {"30s", 30000},
        {"5m", 300000},    {"1h30m", 5400000},
        {"7d", 604800000}, {"1d2h3m4s5ms", 93784005},
        {"90m", 5400000},  {"9223372036854775807ms", INT64_MAX},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t ms;

        assert_int_equal(0, duration_parse(slice_str(cases[i].text), &ms));
        assert_int_equal(cases[i].ms, ms);
    }
}

static void test_what_is_no_duration_is_refused(void **state)
{
    static const char *const wrong[] = {"",    "1",   "00",  "30",   "s",     "1.5s",  "-1s", "+1s",
                                        " 1s", "1s ", "1 s", "1S",   "1h1h",  "30m1h", "1s5", "1w",
                                        "1us", "1hm", "1h5", "0x1s", "1h,1m", "5ms1s"};
    static const char *const too_large[] = {"9223372036854775808ms", "9223372036854775807s",
                                            "99999999999999999999999d", "106751991167d23h59m"};
    int64_t ms = -7;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        if (duration_parse(slice_str(wrong[i]), &ms) != -EINVAL)
            fail_msg("taken for a duration: %s", wrong[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(too_large); i++)
        assert_int_equal(-ERANGE, duration_parse(slice_str(too_large[i]), &ms));
    assert_int_equal(-7, ms);
}

static void test_sizes_are_read_in_powers_of_1024(void **state)
{
    static const struct {
        const char *text;
        int64_t bytes;
    } cases[] = {
        {"0", 0},
        {"512", 512},
        {"64k", 65536},
        {"64K", 65536},
        {"64KiB", 65536},
        {"64kiB", 65536},
        {"10MiB", 10485760},
        {"10m", 10485760},
        {"1g", 1073741824},
        {"1GiB", 1073741824},
        {"9223372036854775807", INT64_MAX},
    };
    static const char *const wrong[] = {"",   "k",   "1kb", "1KB",   "1T",  "1.5k",
                                        "-1", "1 k", "1ki", "1KiBx", "1k1", "1mm"};
    int64_t bytes = -7;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        if (size_parse(slice_str(wrong[i]), &bytes) != -EINVAL)
            fail_msg("taken for a size: %s", wrong[i]);
    }
    assert_int_equal(-ERANGE, size_parse(slice_str("9223372036854775808"), &bytes));
    assert_int_equal(-ERANGE, size_parse(slice_str("8589934592g"), &bytes));
    assert_int_equal(-7, bytes);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(0, size_parse(slice_str(cases[i].text), &bytes));
        assert_int_equal(cases[i].bytes, bytes);
    }
}

static void test_defaults_are_those_of_the_table(void **state)
{
    assert_all_defaults(*state);
}

static void test_every_type_is_set_from_its_notation_and_written_back(void **state)
{
    struct fixture *f = *state;

    assert_set(f, "stream.read_timeout", "90s", "1m30s");
    assert_set(f, "stream.read_timeout", "1h", "1h");
    assert_set(f, "stream.rotate_every", "0", "0");
    assert_set(f, "stream.rotate_every", "25h1ms", "1d1h1ms");
    assert_set(f, "stream.line.max_bytes", "2048k", "2MiB");
    assert_set(f, "stream.line.max_bytes", "1025", "1025");
    assert_set(f, "stream.line.max_bytes", "3g", "3GiB");
    assert_set(f, "workers", "-4", "-4");
    assert_set(f, "workers", "64", "64");
    assert_set(f, "engine", "x", "x");
    assert_set(f, "log.format", "json", "json");
    assert_int_equal(2, f->settings.format);
    assert_set(f, "labels", "", "");
    assert_int_equal(0, f->settings.labels.count);
    assert_set(f, "labels", "one", "one");
    assert_set(f, "labels", "one,two,three,four,five", "one,two,three,four,five");
    assert_int_equal(5, f->settings.labels.count);
}

static void test_a_bool_has_six_words(void **state)
{
    static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};
    struct fixture *f = *state;

    for (size_t i = 0; i < 3; i++) {
        assert_set(f, "log.colour", yes[i], "true");
        assert_set(f, "log.colour", no[i], "false");
    }
    assert_set_refused(f, "log.colour", "maybe",
                       "--set log.colour=maybe: expected true or false\n");
}

static void test_a_wrong_value_is_told_what_it_should_be_and_changes_nothing(void **state)
{
    struct fixture *f = *state;

    assert_set_refused(f, "stream.read_timeout", "1",
                       "--set stream.read_timeout=1: expected a duration such as 30s between 1s "
                       "and 1h\n");
    assert_set_refused(f, "stream.read_timeout", "999ms",
                       "--set stream.read_timeout=999ms: expected a duration such as 30s between "
                       "1s and 1h\n");
    assert_set_refused(f, "stream.read_timeout", "1h1ms",
                       "--set stream.read_timeout=1h1ms: expected a duration such as 30s between "
                       "1s and 1h\n");
    assert_set_refused(f, "stream.rotate_every", "-1s",
                       "--set stream.rotate_every=-1s: expected a duration such as 30s\n");
    assert_set_refused(f, "stream.line.max_bytes", "1023",
                       "--set stream.line.max_bytes=1023: expected a size such as 64KiB of at "
                       "least 1KiB\n");
    assert_set_refused(f, "workers", "65",
                       "--set workers=65: expected a number between -4 and 64\n");
    assert_set_refused(f, "workers", "99999999999999999999",
                       "--set workers=99999999999999999999: expected a number between -4 and 64\n");
    assert_set_refused(f, "workers", "4x",
                       "--set workers=4x: expected a number between -4 and 64\n");
    assert_set_refused(f, "log.format", "xml",
                       "--set log.format=xml: expected one of auto, text, json\n");
    assert_set_refused(f, "engine", "", "--set engine=: expected text between 1 and 40 bytes\n");
    assert_set_refused(f, "labels", "a,,b",
                       "--set labels=a,,b: expected a list without empty items\n");
    assert_set_refused(f, "labels", "a,", "--set labels=a,: expected a list without empty items\n");
    assert_set_refused(f, "labels", ",", "--set labels=,: expected a list without empty items\n");
}

static void test_an_unknown_name_gets_the_nearest_one_suggested(void **state)
{
    struct fixture *f = *state;

    assert_set_refused(f, "stream.read_timout", "1",
                       "--set stream.read_timout: unknown option \"stream.read_timout\" (did you "
                       "mean \"stream.read_timeout\"?)\n");
    assert_set_refused(f, "wrokers", "1",
                       "--set wrokers: unknown option \"wrokers\" (did you mean \"workers\"?)\n");
    assert_set_refused(f, "wrokesr", "1",
                       "--set wrokesr: unknown option \"wrokesr\" (did you mean \"workers\"?)\n");
    assert_set_refused(f, "rotate_every", "1s",
                       "--set rotate_every: unknown option \"rotate_every\" (did you mean "
                       "\"stream.rotate_every\"?)\n");
    assert_set_refused(f, "colour", "yes",
                       "--set colour: unknown option \"colour\" (did you mean "
                       "\"log.colour\"?)\n");
    assert_set_refused(f, "nothing.like.it", "1",
                       "--set nothing.like.it: unknown option \"nothing.like.it\"\n");
    assert_set_refused(f, "", "1", "--set : unknown option \"\"\n");
    assert_set_refused(f, "stream", "1",
                       "--set stream: this is a group of options, such as "
                       "\"stream.read_timeout\"\n");
}

static void
test_what_somebody_wrote_is_shown_without_control_characters_and_not_at_length(void **state)
{
    struct fixture *f = *state;
    char longer[201];

    assert_set_refused(f, "workers", "\x1b[2J\n",
                       "--set workers=\\u001b[2J\\n: expected a number between -4 and 64\n");
    memset(longer, 'z', 200);
    longer[200] = '\0';
    assert_int_equal(-EINVAL, set(f, longer, longer));
    assert_in_range(strlen(problems(f)), 100, 300);
    assert_int_equal(-EINVAL, set(f, "engine", longer));
    assert_in_range(strlen(problems(f)), 64, 200);
}

static void test_yaml_sets_nested_and_dotted_options(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(0, load(f, "# A comment.\n"
                                "engine: unix:///x.sock\n"
                                "stream:\n"
                                "  read_timeout: 45s\n"
                                "  line: {max_bytes: 2MiB}\n"
                                "stream.rotate_every: \"0\"\n"
                                "log:\n"
                                "  format: json\n"
                                "  colour: yes\n"
                                "workers: -3\n"
                                "labels:\n"
                                "  - one\n"
                                "  - 'two, three'\n"));
    assert_string_equal("", problems(f));
    assert_string_equal("unix:///x.sock", f->settings.engine);
    assert_int_equal(45000, f->settings.read_timeout_ms);
    assert_int_equal(2097152, f->settings.line_max_bytes);
    assert_int_equal(0, f->settings.rotate_every_ms);
    assert_int_equal(2, f->settings.format);
    assert_true(f->settings.colour);
    assert_int_equal(-3, f->settings.workers);
    assert_int_equal(2, f->settings.labels.count);
    assert_string_equal("two, three", f->settings.labels.items[1]);
}

static void test_yaml_that_says_nothing_leaves_the_defaults(void **state)
{
    static const char *const texts[] = {
        "",   "\n\n", "# only a comment\n", "---\n",     "---\n...\n",
        "{}", "~",    "stream:\n",          "log: {}\n", "\xef\xbb\xbf# BOM\n"};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        assert_int_equal(0, load(*state, texts[i]));
        assert_all_defaults(*state);
    }
    assert_int_equal(0, load(*state, "labels: []\n"));
    assert_int_equal(0, ((struct fixture *)*state)->settings.labels.count);
}

static void test_yaml_tells_every_problem_with_its_place(void **state)
{
    struct fixture *f = *state;

    assert_load_refused(
        f,
        "engine: [a]\n"
        "strem:\n"
        "  read_timeout: 5\n"
        "stream:\n"
        "  read_timout: 1s\n"
        "  read_timeout: 1\n"
        "  rotate_every:\n"
        "  line: 7\n"
        "  line: {max_bytes: 1, min: 2}\n"
        "workers: {a: b}\n"
        "log: {format: text, format: json}\n"
        "labels: x\n",
        "r.yaml:1:9: engine: expected text between 1 and 40 bytes, found a list\n"
        "r.yaml:2:1: unknown option \"strem\" (did you mean \"stream\"?)\n"
        "r.yaml:5:3: unknown option \"stream.read_timout\" (did you mean "
        "\"stream.read_timeout\"?)\n"
        "r.yaml:6:17: stream.read_timeout: expected a duration such as 30s between 1s and 1h, "
        "found \"1\"\n"
        "r.yaml:7:16: stream.rotate_every: expected a duration such as 30s, found nothing (leave "
        "it out for its default)\n"
        "r.yaml:8:9: stream.line: expected a group of options, such as \"stream.line.max_bytes\"\n"
        "r.yaml:9:3: \"stream.line\" is given twice (first in line 8)\n"
        "r.yaml:9:21: stream.line.max_bytes: expected a size such as 64KiB of at least 1KiB, found "
        "\"1\"\n"
        "r.yaml:9:24: unknown option \"stream.line.min\"\n"
        "r.yaml:10:10: workers: expected a number between -4 and 64, found a group of options\n"
        "r.yaml:11:21: \"log.format\" is given twice (first in line 11)\n"
        "r.yaml:12:9: labels: expected a list without empty items, found \"x\"\n");
}

static void test_yaml_lists_have_plain_items_only(void **state)
{
    struct fixture *f = *state;

    assert_load_refused(
        f, "labels: [a, [b], {c: d}, '', ~, \"\\0\", z]\n",
        "r.yaml:1:13: labels: expected a list without empty items, found a nested one\n"
        "r.yaml:1:18: labels: expected a list without empty items, found a nested one\n"
        "r.yaml:1:26: labels: expected a list without empty items, found \"\"\n"
        "r.yaml:1:30: labels: expected a list without empty items, found \"~\"\n"
        "r.yaml:1:33: labels: expected a list without empty items, found \"\\u0000\"\n");
    assert_all_defaults(f);
}

static void test_yaml_aliases_anchors_and_tags_are_refused(void **state)
{
    struct fixture *f = *state;

    assert_load_refused(f,
                        "workers: &w 3\n"
                        "engine: !!str x\n"
                        "stream:\n"
                        "  read_timeout: *w\n"
                        "unknown: {a: [*w]}\n"
                        "labels: [*w]\n"
                        "<<: *w\n",
                        "r.yaml:1:10: anchors are not supported (leave it out)\n"
                        "r.yaml:2:9: tags are not supported (leave it out)\n"
                        "r.yaml:4:17: aliases are not supported (write the value out)\n"
                        "r.yaml:5:1: unknown option \"unknown\"\n"
                        "r.yaml:5:15: aliases are not supported (write the value out)\n"
                        "r.yaml:6:10: aliases are not supported (write the value out)\n"
                        "r.yaml:7:1: unknown option \"<<\"\n"
                        "r.yaml:7:5: aliases are not supported (write the value out)\n");
}

static void test_yaml_of_another_shape_is_refused(void **state)
{
    struct fixture *f = *state;

    assert_load_refused(f, "- a\n- b\n",
                        "r.yaml:1:1: expected a group of options, such as \"engine\"\n");
    assert_load_refused(f, "just text\n",
                        "r.yaml:1:1: expected a group of options, such as \"engine\"\n");
    assert_load_refused(
        f, "? [a, b]\n: c\nworkers: 99\n",
        "r.yaml:1:3: expected the name of an option\n"
        "r.yaml:3:10: workers: expected a number between -4 and 64, found \"99\"\n");
    assert_load_refused(f, "workers: 3\n---\nworkers: 4\n",
                        "r.yaml:2:1: a second document is not supported\n");
}

static void test_a_yaml_syntax_error_is_told_after_the_problems_before_it(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(-EINVAL, load(f, "workers: 99\nlog: {format: text}}\nengine: x\n"));
    assert_int_equal(2, f->problems.count);
    assert_string_equal("r.yaml:1:10: workers: expected a number between -4 and 64, found \"99\"",
                        f->problems.items[0].text);
    assert_int_equal(0, strncmp("r.yaml:2:20: ", f->problems.items[1].text, 13));
    (void)problems(f);
    assert_int_equal(-EINVAL, load(f, "workers: 3\nengine: \"\xc3\xa9 \xff\"\n"));
    assert_int_equal(1, f->problems.count);
    assert_int_equal(0, strncmp("r.yaml:2:12: ", f->problems.items[0].text, 13));
}

static void test_problems_without_end_are_cut_at_a_hundred(void **state)
{
    struct fixture *f = *state;
    struct buf yaml = {0};

    for (int i = 0; i < 5000; i++)
        assert_int_equal(0, buf_printf(&yaml, "key%d: 1\n", i));
    assert_int_equal(-EINVAL, load(f, buf_cstr(&yaml)));
    assert_int_equal(101, f->problems.count);
    assert_string_equal("r.yaml: more problems are not shown", f->problems.items[100].text);
    buf_finish(&yaml);
}

static void nest(struct buf *yaml, int depth)
{
    buf_reset(yaml);
    assert_int_equal(0, buf_append_str(yaml, "deep: "));
    for (int i = 0; i < depth; i++)
        assert_int_equal(0, buf_append_char(yaml, '['));
    for (int i = 0; i < depth; i++)
        assert_int_equal(0, buf_append_char(yaml, ']'));
    assert_int_equal(0, buf_append_str(yaml, "\nworkers: 7\n"));
}

static void test_nesting_is_passed_over_up_to_a_depth_and_refused_beyond(void **state)
{
    struct fixture *f = *state;
    struct buf yaml = {0};

    nest(&yaml, 65);
    assert_load_refused(f, buf_cstr(&yaml),
                        "r.yaml:1:1: unknown option \"deep\"\n"
                        "r.yaml:1:71: nested too deeply, the rest is not read\n");
    assert_int_equal(4, f->settings.workers);
    nest(&yaml, 64);
    assert_load_refused(f, buf_cstr(&yaml), "r.yaml:1:1: unknown option \"deep\"\n");
    assert_int_equal(7, f->settings.workers);
    buf_finish(&yaml);
}

static void test_a_file_is_read_and_named_in_its_problems(void **state)
{
    struct fixture *f = *state;
    char path[] = "test_option_XXXXXX", expected[128];
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(11, write(fd, "workers: 5\n", 11));
    assert_int_equal(0, options_load_file(&table, &f->settings, path, &f->problems));
    assert_int_equal(5, f->settings.workers);
    assert_int_equal(11, write(fd, "engine: ''\n", 11));
    assert_int_equal(-EINVAL, options_load_file(&table, &f->settings, path, &f->problems));
    (void)snprintf(expected, sizeof expected,
                   "%s:2:9: engine: expected text between 1 and 40 bytes, found \"\"\n", path);
    assert_string_equal(expected, problems(f));
    assert_int_equal(0, ftruncate(fd, 1024 * 1024 + 1));
    assert_int_equal(-EFBIG, options_load_file(&table, &f->settings, path, &f->problems));
    (void)snprintf(expected, sizeof expected,
                   "%s: is larger than 1 MiB (is it a configuration file?)\n", path);
    assert_string_equal(expected, problems(f));
    assert_int_equal(0, unlink(path));
    assert_int_equal(0, close(fd));
    assert_int_equal(-ENOENT, options_load_file(&table, &f->settings, path, &f->problems));
    (void)snprintf(expected, sizeof expected, "%s: cannot be read: No such file or directory\n",
                   path);
    assert_string_equal(expected, problems(f));
    assert_int_equal(-EISDIR, options_load_file(&table, &f->settings, "/", &f->problems));
    assert_string_equal("/: cannot be read: Is a directory\n", problems(f));
}

static void test_help_has_every_option_under_its_group(void **state)
{
    struct fixture *f = *state;
    const char *help, *streams, *log;

    assert_int_equal(0, options_write_help(&table, &f->text, 60));
    help = buf_cstr(&f->text);
    for (size_t i = 0; i < table.count; i++) {
        char entry[64];

        (void)snprintf(entry, sizeof entry, "\n  %s (", options[i].name);
        assert_non_null(strstr(help, entry));
    }
    assert_non_null(strstr(help, "  stream.read_timeout (duration)\n"
                                 "      How long a read waits before it is asked for again,\n"));
    assert_non_null(strstr(help, " nothing either.\n      (1s to 1h; default 30s)\n"));
    assert_non_null(strstr(help, " json. (auto, text,\n      json; default auto)\n"));
    assert_non_null(strstr(help, "      How many. (-4 to 64; default 4)\n"));
    streams = strstr(help, "\nStreams:\n");
    log = strstr(help, "\nLog:\n");
    assert_true(streams && log && streams < log);
    assert_true(strstr(help, "stream.line.max_bytes") < log);
    assert_null(strstr(streams + 2, "Streams:"));
}

static void test_help_keeps_within_its_columns(void **state)
{
    struct fixture *f = *state;
    size_t longest = 0;

    for (unsigned columns = 40; columns <= 90; columns++) {
        buf_reset(&f->text);
        longest = 0;
        assert_int_equal(0, options_write_help(&table, &f->text, columns));
        for (const char *line = buf_cstr(&f->text); *line; line = strchr(line, '\n') + 1)
            longest = MAX(longest, (size_t)(strchr(line, '\n') - line));
        assert_in_range(longest, columns - 12, columns);
    }
}

static void test_documentation_has_a_row_per_option(void **state)
{
    struct fixture *f = *state;
    const char *text;

    assert_int_equal(0, options_write_markdown(&table, &f->text));
    text = buf_cstr(&f->text);
    assert_int_equal(0, strncmp(text, "## Engine\n\n| Option | Type |", 28));
    for (size_t i = 0; i < table.count; i++) {
        char row[64];

        (void)snprintf(row, sizeof row, "\n| `%s` | ", options[i].name);
        assert_non_null(strstr(text, row));
    }
    assert_non_null(strstr(text, "| `stream.line.max_bytes` | size | at least 1KiB | `1MiB` | "
                                 "Longer lines are cut. |\n"));
    assert_non_null(strstr(text, "text \\| json. |\n"));
}

static void test_the_documented_file_loads_and_says_the_defaults(void **state)
{
    struct fixture *f = *state;
    const char *sample, *end;

    assert_int_equal(0, options_write_markdown(&table, &f->text));
    sample = strstr(buf_cstr(&f->text), "```yaml\n");
    assert_non_null(sample);
    sample += strlen("```yaml\n");
    end = strstr(sample, "```");
    assert_non_null(end);
    assert_int_equal(0, set(f, "workers", "9"));
    assert_int_equal(0, set(f, "stream.line.max_bytes", "9k"));
    assert_int_equal(0, set(f, "labels", "z"));
    assert_int_equal(0, set(f, "engine", "z"));
    assert_int_equal(0, options_load_text(&table, &f->settings, "sample",
                                          slice_of(sample, (size_t)(end - sample)), &f->problems));
    assert_all_defaults(f);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations_are_read_in_their_units),
        cmocka_unit_test(test_what_is_no_duration_is_refused),
        cmocka_unit_test(test_sizes_are_read_in_powers_of_1024),
        TEST(test_defaults_are_those_of_the_table),
        TEST(test_every_type_is_set_from_its_notation_and_written_back),
        TEST(test_a_bool_has_six_words),
        TEST(test_a_wrong_value_is_told_what_it_should_be_and_changes_nothing),
        TEST(test_an_unknown_name_gets_the_nearest_one_suggested),
        TEST(test_what_somebody_wrote_is_shown_without_control_characters_and_not_at_length),
        TEST(test_yaml_sets_nested_and_dotted_options),
        TEST(test_yaml_that_says_nothing_leaves_the_defaults),
        TEST(test_yaml_tells_every_problem_with_its_place),
        TEST(test_yaml_lists_have_plain_items_only),
        TEST(test_yaml_aliases_anchors_and_tags_are_refused),
        TEST(test_yaml_of_another_shape_is_refused),
        TEST(test_a_yaml_syntax_error_is_told_after_the_problems_before_it),
        TEST(test_problems_without_end_are_cut_at_a_hundred),
        TEST(test_nesting_is_passed_over_up_to_a_depth_and_refused_beyond),
        TEST(test_a_file_is_read_and_named_in_its_problems),
        TEST(test_help_has_every_option_under_its_group),
        TEST(test_help_keeps_within_its_columns),
        TEST(test_documentation_has_a_row_per_option),
        TEST(test_the_documented_file_loads_and_says_the_defaults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
