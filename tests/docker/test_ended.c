/*
 * ringtail is away while containers live their whole lives, and ones that it followed end. All of
 * it is there when it is back, and nothing of what had ended before its first start.
 */
#include "dock.h"

#define LIVES_COUNT 6
#define LINES "300"

static bool live(void *ctx, size_t index)
{
    static const char *const args[] = {"/writer", "--burst",        "--count", LINES, "--bytes",
                                       "80",      "--stderr-every", "4",       NULL};
    struct dock_container *c = (struct dock_container *)ctx + index;

    return dock_run(&(struct dock_spec){.args = args, .driver = index % 3 == 2 ? "local" : NULL},
                    c) &&
           dock_post(c, "wait");
}

static void test_ended(void **state)
{
    static const char *const endless[] = {"/writer", "--rate", "200", "--bytes", "80", NULL};
    struct dock *d = *state;
    struct dock_container old[2], followed, lives[LIVES_COUNT];

    dock_assert(d, dock_parallel(ARRAY_SIZE(old), 2, live, old));
    dock_ringtail(d);
    dock_wait_log(d, "Following containers", NULL, 1);
    dock_assert(d, dock_run(&(struct dock_spec){.args = endless}, &followed));
    dock_sleep_ms(2000);
    dock_terminate(d);
    ringtail_proc_finish(&d->ringtail);

    dock_assert(d, dock_parallel(LIVES_COUNT, 3, live, lives));
    dock_assert(d, dock_post(&followed, "stop?t=5"));
    /* And one of them lives twice. */
    dock_assert(d, dock_post(&lives[0], "start") && dock_post(&lives[0], "wait"));

    dock_ringtail(d);
    dock_wait_log(d, "Following containers", NULL, 1);
    for (size_t i = 0; i < LIVES_COUNT; i++)
        dock_tell_log(d, &lives[i]);
    dock_tell_log(d, &followed);
    assert_int_equal(600, told_count(lives[0].told));
    dock_wait_complete(d);
    dock_stop(d);
    assert_int_equal(0, ringtail_proc_log_count(&d->ringtail, "Lines may be missing", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DOCK_TEST("S16 lives that ended while ringtail was down are read", test_ended),
    };

    return dock_main(tests, false);
}
