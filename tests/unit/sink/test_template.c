/* Path templates: what they make of the worst names, and what they refuse. */
#include "sink/template.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ringtail/base/timestamp.h"
#include "ringtail/sink/rotated.h"
#include "ringtail/sink/sink.h"

static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static struct buf expanded; /* the last expansion; its memory is reused */

static const char *expand_all(const char *text, struct slice name, struct slice image,
                              enum record_stream stream, int64_t day)
{
    struct source *source = source_create(slice_str(id), name, image);
    struct path_template *t;
    char why[256] = "";

    if (path_template_create(text, &t, why, sizeof why) != 0)
        fail_msg("%s: %s", text, why);
    assert_int_equal(0, path_template_expand(t, source, stream, day, &expanded));
    assert_int_equal(strlen(expanded.data), expanded.len);
    (void)path_template_destroy(t);
    (void)source_unref(source);
    return expanded.data;
}

static const char *expand(const char *text, const char *name)
{
    return expand_all(text, slice_str(name), slice_str("nginx:1.27"), RECORD_STDOUT, 0);
}

static int free_expanded(void **state)
{
    (void)state;
    buf_finish(&expanded);
    return 0;
}

static void test_each_placeholder_gives_its_value(void **state)
{
    int64_t ns;

    (void)state;
    assert_int_equal(0, timestamp_parse(slice_str("2026-11-20T23:59:59.999999999Z"), &ns));
    assert_string_equal(id, expand("{container_id}", "web"));
    assert_string_equal("0123456789ab", expand("{container_id_short}", "web"));
    assert_string_equal("web", expand("{container_name}", "web"));
    assert_string_equal("nginx%3A1.27.log", expand("{image}.log", "web"));
    assert_string_equal("stdout", expand("{stream}", "web"));
    assert_string_equal("stderr",
                        expand_all("{stream}", slice_str("web"), slice_str("i"), RECORD_STDERR, 0));
    assert_string_equal("2026-11-20", expand_all("{date}", slice_str("web"), slice_str("i"),
                                                 RECORD_STDOUT, path_template_day(ns)));
    assert_string_equal("2026-11-21", expand_all("{date}", slice_str("web"), slice_str("i"),
                                                 RECORD_STDOUT, path_template_day(ns + 1)));
    assert_string_equal(
        "logs/web-0123456789ab/stdout.ndjson",
        expand("logs/{container_name}-{container_id_short}/{stream}.ndjson", "web"));
}

static void test_a_name_is_one_component_whatever_it_is(void **state)
{
    static const struct {
        const char *name, *path;
    } names[] = {
        {"../../etc/passwd", "..%2F..%2Fetc%2Fpasswd.log"},
        {"a/b", "a%2Fb.log"},
        {"/abs", "%2Fabs.log"},
        {".", "%2E.log"},
        {"..", "%2E%2E.log"},
        {"...", "....log"},
        {"", "%empty.log"},
        {"%empty", "%25empty.log"},
        {"%2E", "%252E.log"},
        {"a b\n", "a%20b%0A.log"},
        {"caf\xc3\xa9", "caf%C3%A9.log"},
        {"Az09._-", "Az09._-.log"},
        {"~", "%7E.log"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_string_equal(names[i].path, expand("{container_name}.log", names[i].name));
    assert_string_equal("%00.log", expand_all("{container_name}.log", slice_of("\0", 1),
                                              slice_str("i"), RECORD_STDOUT, 0));
    /* As a directory, and where literal dots stand beside it. */
    assert_string_equal("%2E%2E/log", expand("{container_name}/log", ".."));
    assert_string_equal(".%2E", expand(".{container_name}", "."));
    assert_string_equal("..%empty/x", expand("..{container_name}/x", ""));
}

static void test_overlong_names_are_cut_and_stay_apart(void **state)
{
    char name[400], first[300], second[300];

    (void)state;
    memset(name, 'n', sizeof name);
    for (size_t len = 195; len <= 300; len += 1) {
        const char *path =
            expand_all("{container_name}", slice_of(name, len), slice_str("i"), RECORD_STDOUT, 0);

        assert_true(strlen(path) <= TEMPLATE_VALUE_MAX);
        assert_int_equal(len > TEMPLATE_VALUE_MAX, strchr(path, '~') != NULL);
    }
    name[300] = '\0';
    (void)snprintf(first, sizeof first, "%s", expand("{container_name}.log", name));
    name[299] = 'm';
    (void)snprintf(second, sizeof second, "%s", expand("{container_name}.log", name));
    assert_string_not_equal(first, second);
    assert_memory_equal(first, second, 150);
    assert_string_equal(".log", first + strlen(first) - 4);
    /* The same name is the same file, today and tomorrow. */
    assert_string_equal(second, expand("{container_name}.log", name));
    /* No cut goes through the middle of a %XX. */
    for (size_t shift = 0; shift < 3; shift++) {
        const char *cut;

        memset(name, ' ', sizeof name);
        memset(name, 'x', shift);
        name[120] = '\0';
        cut = strchr(expand("{container_name}", name), '~');
        assert_non_null(cut);
        assert_int_equal(0, ((size_t)(cut - expanded.data) - shift) % 3);
    }
}

static void test_a_component_of_several_long_values_is_cut_and_keeps_its_end(void **state)
{
    char name[200], first[300];

    (void)state;
    memset(name, 'n', sizeof name);
    name[199] = '\0';
    (void)snprintf(first, sizeof first, "%s",
                   expand("{container_name}-{container_id}.ndjson", name));
    assert_int_equal(TEMPLATE_COMPONENT_MAX, strlen(first));
    assert_string_equal(".ndjson", first + strlen(first) - 7);
    name[0] = 'm';
    assert_string_not_equal(first, expand("{container_name}-{container_id}.ndjson", name));
    assert_true(strlen(expand("{container_name}{container_id}/{container_name}{container_id}",
                              name)) == 2 * TEMPLATE_COMPONENT_MAX + 1);
}

static void test_no_file_is_called_like_another_ones_rotated_file(void **state)
{
    (void)state;
    assert_string_equal("web%2E1", expand("{container_name}", "web.1"));
    assert_string_equal("web.1.x", expand("{container_name}", "web.1.x"));
    assert_string_equal("web.1/log", expand("{container_name}/log", "web.1"));
    assert_string_equal("web%2E20261120", expand("{container_name}", "web.20261120"));
    assert_string_equal("1", expand("{container_name}", "1"));
    assert_string_equal("web%2E1", expand("{container_name}.1", "web"));
    assert_string_equal("web%252E1", expand("{container_name}", "web%2E1"));
    assert_string_equal("web%2E1.gz", expand("{container_name}", "web.1.gz"));
    assert_string_equal("web%2E12.zst", expand("{container_name}.zst", "web.12"));
    assert_string_equal("web%2E12.tmp", expand("{container_name}.tmp", "web.12"));
    assert_string_equal("web.1.bz", expand("{container_name}", "web.1.bz"));
    assert_string_equal("1.gz", expand("{container_name}", "1.gz"));
}

static void test_names_that_differ_give_paths_that_differ(void **state)
{
    /* All names of up to three of these bytes. */
    static const char bytes[] = {'.', '%', '/', '2', 'E', '~', '\0', 'a', '1'};
    enum { BYTES = sizeof bytes, NAMES = 1 + BYTES + BYTES * BYTES + BYTES * BYTES * BYTES };
    static char paths[NAMES][32];
    size_t count = 0;

    (void)state;
    for (size_t len = 0; len <= 3; len++) {
        size_t all = 1;

        for (size_t i = 0; i < len; i++)
            all *= BYTES;
        for (size_t n = 0; n < all; n++) {
            char name[3];
            size_t rest = n;

            for (size_t i = 0; i < len; i++, rest /= BYTES)
                name[i] = bytes[rest % BYTES];
            (void)snprintf(paths[count++], sizeof paths[0], "%s",
                           expand_all("{container_name}", slice_of(name, len), slice_str("i"),
                                      RECORD_STDOUT, 0));
        }
    }
    assert_int_equal(NAMES, count);
    qsort(paths, count, sizeof paths[0], (int (*)(const void *, const void *))strcmp);
    for (size_t i = 1; i < count; i++)
        assert_string_not_equal(paths[i - 1], paths[i]);
    for (size_t i = 0; i < count; i++) {
        assert_null(strchr(paths[i], '/'));
        assert_string_not_equal("", paths[i]);
        assert_string_not_equal(".", paths[i]);
        assert_string_not_equal("..", paths[i]);
    }
}

static void test_bad_templates_are_refused_with_a_reason(void **state)
{
    char long_text[1100], many[200], long_literal[100];
    const struct {
        const char *text, *why;
    } bad[] = {
        {"", "empty"},
        {"/var/log/{stream}", "absolute"},
        {"a//b", "empty"},
        {"a/", "empty"},
        {"../{stream}", "\"..\""},
        {"a/../b", "\"..\""},
        {"./a", "\".\""},
        {"a/.", "\".\""},
        {"{pod}", "unknown placeholder {pod}: valid ones are {container_id} "
                  "{container_id_short} {container_name} {image} {stream} {date}"},
        {"{}", "unknown placeholder"},
        {"{Stream}", "unknown placeholder"},
        {"{stream", "'{' without"},
        {"{str{eam}", "'{' without"},
        {"a}", "'}' without"},
        {"a\tb", "control"},
        {long_text, "longer"},
        {long_literal, "longer"},
        {many, "more than"},
    };

    (void)state;
    memset(long_text, 'x', sizeof long_text);
    long_text[sizeof long_text - 1] = '\0';
    memset(long_literal, 'x', sizeof long_literal);
    long_literal[sizeof long_literal - 1] = '\0';
    for (size_t i = 0; i < sizeof many; i += 2)
        memcpy(many + i, "a/", 2);
    many[sizeof many - 1] = '\0';
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char why[256] = "";

        assert_int_equal(-EINVAL, sink_file_check_template(bad[i].text, why, sizeof why));
        if (!strstr(why, bad[i].why))
            fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].text, why, bad[i].why);
    }
    assert_int_equal(-EINVAL, sink_file_check_template("{pod}", NULL, 0));
    assert_int_equal(
        0, sink_file_check_template("{container_name}-{container_id_short}.ndjson", NULL, 0));
}

static void test_it_says_what_it_depends_on(void **state)
{
    struct path_template *t;

    (void)state;
    assert_int_equal(0, path_template_create("{container_id}.log", &t, NULL, 0));
    assert_false(path_template_by_stream(t) || path_template_by_day(t));
    (void)path_template_destroy(t);
    assert_int_equal(0, path_template_create("{stream}", &t, NULL, 0));
    assert_true(path_template_by_stream(t) && !path_template_by_day(t));
    (void)path_template_destroy(t);
    assert_int_equal(0, path_template_create("{date}/x", &t, NULL, 0));
    assert_true(!path_template_by_stream(t) && path_template_by_day(t));
    assert_null(path_template_destroy(t));
    assert_null(path_template_destroy(NULL));
}

/* ---- which files are a template's ---- */

/** Whether the components of `path` are those of a path of this template. */
static bool matches(const char *text, const char *path)
{
    struct path_template *t;
    size_t components, i = 0;
    bool all = true;

    assert_int_equal(0, path_template_create(text, &t, NULL, 0));
    components = path_template_components(t);
    for (const char *at = path;; at++, i++) {
        size_t len = strcspn(at, "/");
        bool last = at[len] == '\0';

        if (last != (i + 1 == components)) {
            all = false;
            break;
        }
        all = all && (last ? path_template_matches_last(t, slice_of(at, len))
                           : path_template_matches(t, i, slice_of(at, len)));
        if (last)
            break;
        at += len;
    }
    (void)path_template_destroy(t);
    return all;
}

static void test_every_path_of_a_template_is_told_to_be_one(void **state)
{
    static const char *const templates[] = {
        "{container_name}",
        "{container_name}.1",
        "{container_name}.2.gz",
        "all.ndjson",
        "all.7",
        "{container_name}-{container_id_short}.ndjson",
        "{image}{container_name}{image}",
        "{image}/{container_name}-{stream}/{date}.log",
        "{container_id}-{container_name}-{container_name}.ndjson",
    };
    char longest[301];
    const char *names[] = {"web",    ".",   "..",     "",           "a/b", "w.1",  "x%2E1",
                           "1.2.gz", "~~~", "\n\xff", "web-stdout", "-",   longest};

    (void)state;
    for (size_t len = 60; len < sizeof longest; len += 8) {
        memset(longest, len % 3 ? 'n' : '/', len);
        longest[len] = '\0';
        for (size_t t = 0; t < sizeof templates / sizeof templates[0]; t++) {
            for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
                if (!matches(templates[t], expand(templates[t], names[n])))
                    fail_msg("%s: %s", templates[t], expanded.data);
            }
        }
    }
}

static void test_other_files_are_not_taken_for_a_templates(void **state)
{
    static const struct {
        const char *text, *path;
    } others[] = {
        {"all.ndjson", "all.ndjso"},
        {"all.ndjson", "xall.ndjson"},
        {"all.ndjson", "all.ndjson/x"},
        {"{container_name}.ndjson", ".ndjson"},
        {"{container_name}.ndjson", "web.log"},
        {"{container_name}.ndjson", "we b.ndjson"},
        {"{container_name}.ndjson", "we%2f.ndjson"},
        {"{container_name}.ndjson", "we~.ndjson"},
        {"{container_name}-{container_id_short}.ndjson", "web-0123456789a.ndjson"},
        {"{container_name}-{container_id_short}.ndjson", "web-0123456789aX.ndjson"},
        {"{container_name}-{container_id_short}.ndjson", "-0123456789ab.ndjson"},
        {"{container_id}", "0123456789ab"},
        {"{stream}.log", "stdin.log"},
        {"{date}.log", "2026-11-2x.log"},
        {"{date}.log", "2026-11-200.log"},
        {"{date}/{stream}", "2026-11-20"},
        {"{date}/{stream}", "2026/stdout"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (matches(others[i].text, others[i].path))
            fail_msg("%s: %s", others[i].text, others[i].path);
    }
}

static void test_rotated_files_are_known_by_their_names(void **state)
{
    static const struct {
        const char *name;
        size_t base_len;
        uint32_t number;
        enum rotated_form form;
    } good[] = {
        {"web.1", 3, 1, ROTATED_PLAIN},
        {"a/web.log.4294967295", 9, UINT32_MAX, ROTATED_PLAIN},
        {"web.12.gz", 3, 12, ROTATED_GZIP},
        {"web.1.2.zst", 5, 2, ROTATED_ZSTD},
        {"web.10.tmp", 3, 10, ROTATED_TEMPORARY},
    };
    static const char *const bad[] = {"",       "web",    "web.",           "web.0",     "web.01",
                                      ".1",     "a/.1",   "web.4294967296", "web.1x",    "1",
                                      "web.gz", "web.gz", "web.1.gz.",      "web.1.gzi", "web1.gz"};
    char printed[64];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct rotated_name name;
        char base[32];

        assert_true(rotated_parse(good[i].name, &name));
        assert_int_equal(good[i].base_len, name.base_len);
        assert_int_equal(good[i].number, name.number);
        assert_int_equal(good[i].form, name.form);
        (void)snprintf(base, sizeof base, "%.*s", (int)name.base_len, good[i].name);
        rotated_print(printed, sizeof printed, base, name.number, name.form);
        assert_string_equal(good[i].name, printed);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct rotated_name name;

        if (rotated_parse(bad[i], &name))
            fail_msg("%s", bad[i]);
    }
    rotated_print(printed, sizeof printed, "web", 0, ROTATED_PLAIN);
    assert_string_equal("web", printed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_placeholder_gives_its_value),
        cmocka_unit_test(test_a_name_is_one_component_whatever_it_is),
        cmocka_unit_test(test_overlong_names_are_cut_and_stay_apart),
        cmocka_unit_test(test_a_component_of_several_long_values_is_cut_and_keeps_its_end),
        cmocka_unit_test(test_no_file_is_called_like_another_ones_rotated_file),
        cmocka_unit_test(test_names_that_differ_give_paths_that_differ),
        cmocka_unit_test(test_bad_templates_are_refused_with_a_reason),
        cmocka_unit_test(test_it_says_what_it_depends_on),
        cmocka_unit_test(test_every_path_of_a_template_is_told_to_be_one),
        cmocka_unit_test(test_other_files_are_not_taken_for_a_templates),
        cmocka_unit_test(test_rotated_files_are_known_by_their_names),
    };

    return cmocka_run_group_tests(tests, NULL, free_expanded);
}
