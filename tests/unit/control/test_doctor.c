/* How `ringtail doctor` runs its checks, whatever they do, and how it shows what they say. */
#include "control/doctor.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <yyjson.h>

#include "control/doctor_checks.h"
#include "control/doctor_show.h"
#include "ringtail/control/daemon.h"

#define TIMEOUT_MS 30000

/* What the two checks do that this program has in place of the real ones. */
static void (*kernel_does)(struct doctor *d), (*clock_does)(struct doctor *d);

void __wrap_doctor_check_kernel(struct doctor *d);
void __wrap_doctor_check_kernel(struct doctor *d)
{
    kernel_does(d);
}

void __wrap_doctor_check_clock(struct doctor *d);
void __wrap_doctor_check_clock(struct doctor *d)
{
    clock_does(d);
}

static void is_good(struct doctor *d)
{
    doctor_find(d, DOCTOR_OK, "stub", "good");
}

static void hangs(struct doctor *d)
{
    doctor_find(d, DOCTOR_OK, "stub", "begun");
    for (;;)
        pause();
}

static void dies(struct doctor *d)
{
    doctor_find(d, DOCTOR_OK, "stub", "begun");
    (void)raise(SIGKILL);
}

static void hides(struct doctor *d)
{
    doctor_find(d, DOCTOR_NOTE, "stub", "an Engine \"\033[2J\x01\"");
    doctor_advise(d, "look\nhere");
    doctor_container(d, "a\033[1mb");
    doctor_container(d, "\xff");
}

/* What it prints; freed by the caller. */
static char *examine(bool json, int64_t timeout_ms, int exit_code)
{
    struct option_problems problems = {0};
    struct config config = {0};
    int file = memfd_create("output", MFD_CLOEXEC), saved = dup(STDOUT_FILENO), told;
    char *text = calloc(1, 65536);

    assert_true(file >= 0 && saved >= 0 && text);
    assert_int_equal(0, config_init(&config));
    assert_int_equal(0, config_complete(&config, &problems));
    assert_int_equal(0, fflush(stdout));
    assert_int_equal(STDOUT_FILENO, dup2(file, STDOUT_FILENO));
    told = doctor_run(&config, &problems, json, timeout_ms);
    assert_int_equal(STDOUT_FILENO, dup2(saved, STDOUT_FILENO));
    assert_true(pread(file, text, 65535, 0) > 0);
    assert_int_equal(0, close(file));
    assert_int_equal(0, close(saved));
    if (exit_code >= 0)
        assert_int_equal(exit_code, told);
    option_problems_finish(&problems);
    config_finish(&config);
    return text;
}

static void expect(const char *text, const char *part)
{
    assert_non_null(text);
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in \"%s\"", part, text);
}

static void test_a_check_that_hangs_is_ended(void **state)
{
    char *text;

    kernel_does = is_good;
    clock_does = hangs;
    /* Long enough for the others only on a machine at rest; what they say is not looked at. */
    text = examine(false, 1000, EXIT_FAILED);
    expect(text, "clock         problem  examination: it was not done in time");
    expect(text, "-> what it asks does not answer");
    free(text);
}

static void test_a_check_that_dies_is_told_beside_the_others(void **state)
{
    char *text;

    kernel_does = dies;
    clock_does = is_good;
    text = examine(false, TIMEOUT_MS, EXIT_FAILED);
    expect(text, "kernel        ok       stub: begun\n"
                 "kernel        problem  examination: it ended before it was done\n");
    expect(text, "clock         ok       stub: good\n");
    free(text);
}

static void test_what_others_have_named_moves_no_cursor(void **state)
{
    yyjson_doc *doc;
    yyjson_val *findings, *finding;
    bool seen = false;
    size_t i, max;
    char *text;

    kernel_does = clock_does = hides;
    text = examine(false, TIMEOUT_MS, -1);
    expect(text, "note     stub: an Engine \"?[2J?\": a?[1mb, \xff\n");
    expect(text, "-> look?here\n");
    assert_null(strchr(text, '\033'));
    free(text);

    text = examine(true, TIMEOUT_MS, -1);
    doc = yyjson_read(text, strlen(text), 0);
    if (!doc)
        fail_msg("not JSON: %s", text);
    findings = yyjson_obj_get(yyjson_doc_get_root(doc), "findings");
    yyjson_arr_foreach(findings, i, max, finding)
    {
        if (strcmp("stub", yyjson_get_str(yyjson_obj_get(finding, "subject"))) != 0)
            continue;
        assert_string_equal("an Engine \"\033[2J\x01\"",
                            yyjson_get_str(yyjson_obj_get(finding, "text")));
        assert_int_equal(2, yyjson_arr_size(yyjson_obj_get(finding, "containers")));
        seen = true;
    }
    assert_true(seen);
    yyjson_doc_free(doc);
    free(text);
}

/* ---- showing ---- */

static int say(struct buf *items, char kind, const char *text)
{
    return doctor_item_append(items, kind, slice_str(text));
}

static void test_levels_have_colours_and_are_counted(void **state)
{
    struct buf items = {0}, out = {0};
    unsigned counts[DOCTOR_LEVELS] = {0};
    struct doctor_said said = {.check = "disk"};
    const char *text;

    for (int level = 0; level < DOCTOR_LEVELS; level++) {
        assert_int_equal(0, say(&items, DOCTOR_ITEM_LEVEL(level), "room"));
        assert_int_equal(0, say(&items, DOCTOR_ITEM_TEXT, "there is some"));
    }
    said.items = buf_slice(&items);
    assert_int_equal(0, doctor_show(&said, 1, true, counts, &out));
    text = buf_cstr(&out);
    assert_non_null(text);
    expect(text, "disk          \033[1;31mproblem\033[0m  room: there is some\n");
    expect(text, "\n1 problem, 1 warning, 1 note, 1 ok\n");
    for (int level = 0; level < DOCTOR_LEVELS; level++)
        assert_int_equal(1, counts[level]);
    buf_finish(&items);
    buf_finish(&out);
}

static void test_half_an_item_is_no_finding(void **state)
{
    struct buf items = {0}, out = {0};
    unsigned counts[DOCTOR_LEVELS];

    assert_int_equal(0, say(&items, DOCTOR_ITEM_LEVEL(DOCTOR_NOTE), "room"));
    assert_int_equal(0, say(&items, DOCTOR_ITEM_TEXT, "there is some"));
    assert_int_equal(0, say(&items, DOCTOR_ITEM_CONTAINER, "a"));
    /* Wherever it is cut it is shown as far as it goes, and as JSON. */
    for (size_t len = 0; len <= items.len; len++) {
        char *exact = malloc(MAX(len, 1));
        struct doctor_said said = {.check = "disk", .items = slice_of(exact, len)};
        yyjson_doc *doc;

        assert_non_null(exact);
        memcpy(exact, items.data, len);
        memset(counts, 0, sizeof counts);
        buf_reset(&out);
        assert_int_equal(0, doctor_show_json(&said, 1, counts, &out));
        doc = yyjson_read(out.data, out.len, 0);
        assert_non_null(doc);
        assert_int_equal(len > 0, counts[DOCTOR_NOTE]);
        yyjson_doc_free(doc);
        free(exact);
    }
    buf_finish(&items);
    buf_finish(&out);
}

static void test_sizes_are_for_people(void **state)
{
    assert_string_equal("0.0 KiB", doctor_bytes(0));
    assert_string_equal("8.0 MiB", doctor_bytes(8 << 20));
    assert_string_equal("160 KiB", doctor_bytes(160 << 10));
    assert_string_equal("1.5 GiB", doctor_bytes(INT64_C(3) << 29));
    assert_string_equal("8192 PiB", doctor_bytes(INT64_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_check_that_hangs_is_ended),
        cmocka_unit_test(test_a_check_that_dies_is_told_beside_the_others),
        cmocka_unit_test(test_what_others_have_named_moves_no_cursor),
        cmocka_unit_test(test_levels_have_colours_and_are_counted),
        cmocka_unit_test(test_half_an_item_is_no_finding),
        cmocka_unit_test(test_sizes_are_for_people),
    };

    return cmocka_run_group_tests_name("doctor", tests, NULL, NULL);
}
