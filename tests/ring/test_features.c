/*
 * What a ring does on kernels that lack something of its table: each row of it is taken away in
 * turn. That io_uring does its work without is shown by the other programs of this directory, run
 * with RINGTAIL_TEST_WITHOUT. What the kernel under it has is printed, for tests/kernels.
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

static void skip_without_io_uring(void)
{
    struct ring *ring = create_without(RING_FEATURE_COUNT); /* nothing */
    bool has_io_uring = strcmp(ring_backend_name(ring), "io_uring") == 0;

    if (!has_io_uring)
        print_message("%s\n", ring_describe(ring));
    ring_destroy(ring);
    if (!has_io_uring)
        skip();
}

static void assert_says(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" does not say %s", text, part);
}

static void test_without_what_is_needed_epoll_takes_over_and_the_feature_is_named(void **state)
{
    skip_without_io_uring();
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
    skip_without_io_uring();
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

/* "5.19", and what stands behind it, as 5019. */
static long version_of(const char *text)
{
    char *dot;
    long major = strtol(text, &dot, 10);

    assert_int_equal('.', *dot);
    return major * 1000 + strtol(dot + 1, NULL, 10);
}

/* One way only: what was added to an older kernel by those who build it is welcome. */
static void test_this_kernel_has_all_that_came_before_it(void **state)
{
    struct ring *ring = create_without(RING_FEATURE_COUNT); /* nothing */
    bool has_io_uring = strcmp(ring_backend_name(ring), "io_uring") == 0;
    char described[512];
    struct utsname uts;
    unsigned has = 0;

    assert_int_equal(0, uname(&uts));
    snprintf(described, sizeof described, "%s", ring_describe(ring));
    for (int f = 0; f < RING_FEATURE_COUNT; f++)
        has |= (unsigned)ring_has(ring, (enum ring_feature)f) << f;
    ring_destroy(ring);

    print_message("Linux %s: %s\n", uts.release, described);
    for (int f = 0; f < RING_FEATURE_COUNT; f++) {
        const struct ring_feature_info *info = ring_feature_info((enum ring_feature)f);

        print_message("feature %s: %s\n", info->name, has >> f & 1 ? "yes" : "no");
        if (has_io_uring && version_of(uts.release) >= version_of(info->since) && !(has >> f & 1))
            fail_msg("%s came with %s, and Linux %s has none", info->name, info->since,
                     uts.release);
    }
    if (!has_io_uring && !strstr(described, "too old"))
        skip();
    assert_true(has_io_uring || version_of(uts.release) < version_of("5.19"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_what_is_needed_epoll_takes_over_and_the_feature_is_named),
        cmocka_unit_test(test_without_an_optional_feature_it_is_io_uring_and_says_so),
        cmocka_unit_test(test_this_kernel_has_all_that_came_before_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
