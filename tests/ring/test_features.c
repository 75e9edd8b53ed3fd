/*
 * What a ring does on kernels that lack something of its table: each row of it is taken away in
 * turn. That io_uring does its work without is shown by the other programs of this directory, run
 * with RINGTAIL_TEST_WITHOUT.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "ring_fixture.h"

static const struct ring_options usual = {.backend = RING_BACKEND_AUTO,
                                          .entries = 64,
                                          .sockets_max = 16,
                                          .buffers_count = 4,
                                          .buffer_bytes = 4096};

static struct ring *create_without(enum ring_feature feature)
{
    struct ring_refusal refusal = {0};
    struct ring *ring = NULL;

    take_away(feature);
    if (ring_create(&usual, &ring, &refusal) < 0)
        fail_msg("without %s: %s", ring_feature_info(feature)->name, refusal.reason);
    take_away(RING_FEATURE_COUNT);
    return ring;
}

static void assert_says(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" does not say %s", text, part);
}

static void test_without_what_is_needed_epoll_takes_over_and_the_feature_is_named(void **state)
{
    for (int f = 0; f < RING_FEATURE_FIRST_OPTIONAL; f++) {
        const struct ring_feature_info *info = ring_feature_info((enum ring_feature)f);
        struct ring *ring = create_without((enum ring_feature)f);
        struct ring_options strict = usual;
        struct ring_refusal refusal = {0};
        struct ring *none = NULL;
        char name[64];

        snprintf(name, sizeof name, "no %s)", info->name);
        assert_null(info->without);
        assert_string_equal("epoll", ring_backend_name(ring));
        assert_says(ring_describe(ring), name);
        for (int other = 0; other < RING_FEATURE_COUNT; other++)
            assert_false(ring_has(ring, (enum ring_feature)other));
        ring_destroy(ring);

        strict.backend = RING_BACKEND_IO_URING;
        take_away((enum ring_feature)f);
        assert_true(ring_create(&strict, &none, &refusal) < 0);
        take_away(RING_FEATURE_COUNT);
        assert_null(none);
        assert_says(refusal.reason, name);
        assert_says(refusal.reason, "5.19");
    }
}

static void test_without_an_optional_feature_it_is_io_uring_and_says_so(void **state)
{
    for (int f = RING_FEATURE_FIRST_OPTIONAL; f < RING_FEATURE_COUNT; f++) {
        const struct ring_feature_info *info = ring_feature_info((enum ring_feature)f);
        struct ring *ring = create_without((enum ring_feature)f);
        char name[64];

        snprintf(name, sizeof name, "no %s", info->name);
        assert_non_null(info->without);
        assert_string_equal("io_uring", ring_backend_name(ring));
        assert_false(ring_has(ring, (enum ring_feature)f));
        assert_says(ring_describe(ring),
                    f == RING_FEATURE_DEFER_TASKRUN ? "cooperative task work" : name);
        for (int other = 0; other < RING_FEATURE_FIRST_OPTIONAL; other++)
            assert_true(ring_has(ring, (enum ring_feature)other));
        ring_destroy(ring);
    }
}

static int version_of(const char *text)
{
    int major = 0, minor = 0;

    assert_int_equal(2, sscanf(text, "%d.%d", &major, &minor));
    return major * 1000 + minor;
}

/* One way only: what was added to an older kernel by those who build it is welcome. */
static void test_this_kernel_has_all_that_came_before_it(void **state)
{
    struct ring *ring = create_without(RING_FEATURE_COUNT); /* nothing */
    struct utsname uts;

    assert_int_equal(0, uname(&uts));
    print_message("Linux %s: %s\n", uts.release, ring_describe(ring));
    for (int f = 0; f < RING_FEATURE_COUNT; f++) {
        const struct ring_feature_info *info = ring_feature_info((enum ring_feature)f);

        print_message("feature %s: %s\n", info->name,
                      ring_has(ring, (enum ring_feature)f) ? "yes" : "no");
        if (version_of(uts.release) >= version_of(info->since) &&
            !ring_has(ring, (enum ring_feature)f))
            fail_msg("%s came with %s, and Linux %s has none", info->name, info->since,
                     uts.release);
    }
    ring_destroy(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_what_is_needed_epoll_takes_over_and_the_feature_is_named),
        cmocka_unit_test(test_without_an_optional_feature_it_is_io_uring_and_says_so),
        cmocka_unit_test(test_this_kernel_has_all_that_came_before_it),
    };
    int skip_code = ring_skip_code();

    return skip_code ? skip_code : cmocka_run_group_tests(tests, NULL, NULL);
}
