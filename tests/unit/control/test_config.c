/* The option table, and what only the options together can get wrong. */
#include "ringtail/control/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"

#define NOW_NS (INT64_C(1795188000) * NSEC_PER_SEC) /* 2026-11-20T15:20:00Z */

struct fixture {
    struct config config;
    struct option_problems problems;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    assert_int_equal(0, config_init(&f->config));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    config_finish(&f->config);
    option_problems_finish(&f->problems);
    free(f);
    return 0;
}

static int set(struct fixture *f, const char *name, const char *value)
{
    return options_set(config_options(), &f->config, "test", slice_str(name), slice_str(value),
                       &f->problems);
}

/* Set as told, the check finds exactly one problem, which names the option. */
static void expect_problem(struct fixture *f, const char *name, const char *value)
{
    assert_int_equal(0, set(f, name, value));
    assert_int_equal(-EINVAL, config_check(&f->config, &f->problems));
    assert_int_equal(1, f->problems.count);
    if (strncmp(f->problems.items[0].text, name, strlen(name)) != 0)
        fail_msg("\"%s\" does not begin with %s", f->problems.items[0].text, name);
    option_problems_finish(&f->problems);
    f->problems = (struct option_problems){0};
}

static void expect_good(struct fixture *f, const char *name, const char *value)
{
    assert_int_equal(0, set(f, name, value));
    assert_int_equal(0, config_check(&f->config, &f->problems));
    assert_int_equal(0, f->problems.count);
}

static void test_the_defaults_are_good(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(0, config_check(&f->config, &f->problems));
    assert_int_equal(0, f->problems.count);
    assert_string_equal("/var/run/docker.sock", config_engine_path(&f->config));
    assert_string_equal("stdout", f->config.output_path);
    assert_int_equal(1 << 20, f->config.stream_max_line_bytes);
    assert_int_equal(30000, f->config.stream_read_timeout_ms);
}

/* Each in the notation of its type, and within its own bounds. */
static void test_every_default_can_be_set_by_its_name(void **state)
{
    struct fixture *f = *state;
    const struct option_table *t = config_options();

    assert_true(t->count > 20);
    for (size_t i = 0; i < t->count; i++) {
        struct buf text = {0};

        if (t->items[i].def && set(f, t->items[i].name, t->items[i].def) != 0)
            fail_msg("%s=%s is refused: %s", t->items[i].name, t->items[i].def,
                     f->problems.items[0].text);
        assert_int_equal(0, option_format_value(&t->items[i], &f->config, &text));
        if (text.len > 0 && set(f, t->items[i].name, buf_cstr(&text)) != 0)
            fail_msg("%s=%s is refused: %s", t->items[i].name, buf_cstr(&text),
                     f->problems.items[0].text);
        buf_finish(&text);
    }
    assert_int_equal(0, config_check(&f->config, &f->problems));
}

static void test_every_bound_is_good_and_what_is_beyond_is_not(void **state)
{
    struct fixture *f = *state;
    const struct option_table *t = config_options();

    for (size_t i = 0; i < t->count; i++) {
        const struct option *o = &t->items[i];

        if (o->type != OPTION_INT && o->type != OPTION_SIZE && o->type != OPTION_DURATION)
            continue;
        assert_int_equal(0, set(f, o->name, o->least));
        assert_int_equal(0, set(f, o->name, o->most));
        assert_int_equal(-EINVAL, set(f, o->name, "-1"));
        assert_int_equal(-EINVAL, set(f, o->name, "9223372036854775807"));
        assert_int_equal(-EINVAL, set(f, o->name, ""));
    }
}

static void test_every_option_has_its_own_place_and_help(void **state)
{
    const struct option_table *t = config_options();

    for (size_t i = 0; i < t->count; i++) {
        assert_non_null(t->items[i].help);
        assert_non_null(t->items[i].group);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(t->items[i].name, t->items[j].name);
            assert_true(t->items[i].offset != t->items[j].offset);
        }
    }
}

static void test_only_unix_sockets_are_engines(void **state)
{
    struct fixture *f = *state;
    char url[116 + 1];

    expect_problem(f, "engine.url", "tcp://127.0.0.1:2375");
    expect_problem(f, "engine.url", "unix://relative");
    expect_problem(f, "engine.url", "unix:/one-slash");
    expect_problem(f, "engine.url", "UNIX:///run/docker.sock");
    expect_problem(f, "engine.url", "/run/docker.sock");
    assert_null(config_engine_path(&f->config));
    expect_good(f, "engine.url", "unix:///run/podman/podman.sock");
    assert_string_equal("/run/podman/podman.sock", config_engine_path(&f->config));

    /* 107 bytes and a NUL fill sun_path. */
    memset(url, 'x', sizeof url);
    memcpy(url, "unix:///", 8);
    url[7 + 107] = '\0';
    expect_good(f, "engine.url", url);
    url[7 + 107] = 'x';
    url[7 + 108] = '\0';
    expect_problem(f, "engine.url", url);
}

static void test_bounds_that_contradict_each_other_are_found(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(0, set(f, "engine.reconnect_max", "50ms"));
    expect_problem(f, "engine.reconnect_min", "51ms");
    expect_good(f, "engine.reconnect_min", "50ms");
    expect_problem(f, "ring.buffers", "48");
    expect_good(f, "ring.buffers", "32768");
    expect_problem(f, "stream.history_records", "1000");
    expect_good(f, "stream.history_records", "65536");
    expect_problem(f, "output.template", "../{container_name}");
    expect_problem(f, "output.template", "{container");
    expect_good(f, "output.template", "{date}/{container_name}.{stream}");
}

static void test_every_problem_is_told_at_once(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(0, set(f, "engine.url", "tcp://nowhere"));
    assert_int_equal(0, set(f, "stream.since", "yesterday"));
    assert_int_equal(0, set(f, "ring.buffers", "5"));
    assert_int_equal(0, set(f, "output.template", "/absolute"));
    assert_int_equal(-EINVAL, config_check(&f->config, &f->problems));
    assert_int_equal(4, f->problems.count);
}

static void test_since_is_a_word_a_duration_a_time_or_seconds(void **state)
{
    static const struct {
        const char *text;
        int64_t floor_ns;
        bool is_now;
    } good[] = {
        {"now", NOW_NS, true},
        {"all", INT64_MIN, false},
        {"1h", NOW_NS - 3600 * NSEC_PER_SEC, false},
        {"1h30m", NOW_NS - 5400 * NSEC_PER_SEC, false},
        {"250ms", NOW_NS - 250 * NSEC_PER_MSEC, false},
        {"2026-11-20T15:20:00Z", NOW_NS, false},
        {"2026-11-20T16:20:00.5+01:00", NOW_NS + NSEC_PER_SEC / 2, false},
        {"1795188000", NOW_NS, false},
        {"9223372036", INT64_C(9223372036) * NSEC_PER_SEC, false},
        {"100000d", 0, false}, /* before 1970 */
    };
    static const char *const bad[] = {
        "",           "yesterday", "-1",
        "-1h",        "1.5h",      "2026-11-20",
        "9223372037", "1h x",      "18446744073709551617",
        "0x10",       "NOW",       "1e3",
    };
    int64_t floor_ns;
    bool is_now;

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        floor_ns = 1;
        if (config_since_parse(good[i].text, NOW_NS, &floor_ns, &is_now) != 0)
            fail_msg("%s is refused", good[i].text);
        assert_int_equal(good[i].floor_ns, floor_ns);
        assert_int_equal(good[i].is_now, is_now);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (config_since_parse(bad[i], NOW_NS, &floor_ns, &is_now) != -EINVAL)
            fail_msg("\"%s\" is taken", bad[i]);
}

/* The check has another clock than the run: what it finds good is good then. */
static void test_a_since_that_is_checked_is_good_at_any_time(void **state)
{
    static const char *const texts[] = {"now", "all", "1h", "100000d", "0", "1795188000"};
    static const int64_t nows_ns[] = {0, NSEC_PER_SEC, NOW_NS, INT64_MAX};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        for (size_t n = 0; n < ARRAY_SIZE(nows_ns); n++) {
            int64_t floor_ns;
            bool is_now;

            assert_int_equal(0, config_since_parse(texts[i], nows_ns[n], &floor_ns, &is_now));
        }
}

#define WITH_CONFIG(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CONFIG(test_the_defaults_are_good),
        WITH_CONFIG(test_every_default_can_be_set_by_its_name),
        WITH_CONFIG(test_every_bound_is_good_and_what_is_beyond_is_not),
        cmocka_unit_test(test_every_option_has_its_own_place_and_help),
        WITH_CONFIG(test_only_unix_sockets_are_engines),
        WITH_CONFIG(test_bounds_that_contradict_each_other_are_found),
        WITH_CONFIG(test_every_problem_is_told_at_once),
        cmocka_unit_test(test_since_is_a_word_a_duration_a_time_or_seconds),
        cmocka_unit_test(test_a_since_that_is_checked_is_good_at_any_time),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
