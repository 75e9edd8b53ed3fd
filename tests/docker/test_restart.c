/*
 * The Engine is restarted under load, as a package upgrade does it, with --live-restore: the
 * containers go on writing into their pipes, and ringtail stays up. What counts is the Engine's own
 * log: a line that an Engine of 20.10 has read from a pipe, and not yet logged when it ends, is
 * lost for everybody.
 */
#include "dock.h"

#include <stdio.h>

#define MEMBERS_COUNT 12
#define RATE_PER_SEC 200

struct member {
    struct dock_container container;
    struct dock_spec spec;
    char prefix[16], count[16];
};

static bool start(void *ctx, size_t index)
{
    struct member *m = (struct member *)ctx + index;
    const char *args[] = {"/writer",
                          "--prefix",
                          m->prefix,
                          "--rate",
                          "200",
                          "--bytes",
                          "80",
                          "--stderr-every",
                          m->spec.tty ? "0" : "4",
                          "--count",
                          m->count,
                          NULL};

    m->spec.args = args;
    return dock_run(&m->spec, &m->container);
}

static bool stop(void *ctx, size_t index)
{
    struct member *m = (struct member *)ctx + index;

    return dock_post(&m->container, "stop?t=5");
}

static void test_restart(void **state)
{
    struct dock *d = *state;
    struct member members[MEMBERS_COUNT + 1] = {0};

    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        struct member *m = &members[i];

        m->spec = (struct dock_spec){.tty = i % 6 == 4, .driver = i % 3 == 2 ? "local" : NULL};
        snprintf(m->prefix, sizeof m->prefix, "m%zu", i);
        /* Every fifth ends by itself, most of them while the Engine is away. */
        snprintf(m->count, sizeof m->count, "%zu",
                 i % 5 == 1 ? RATE_PER_SEC * (4 + i / 5) : (size_t)0);
    }
    dock_ringtail(d, "--set", "engine.reconnect_max=1s");
    dock_wait_log(d, "Following containers", NULL, 1);
    dock_assert(d, dock_parallel(MEMBERS_COUNT, 6, start, members));
    for (unsigned round = 0; round < 2; round++) {
        dock_sleep_ms(3000);
        dock_engine(d, "restart", "2");
        dock_wait_log(d, "Engine connected", NULL, round + 2);
    }
    /* Events work again, too. */
    dock_assert(d, start(members, MEMBERS_COUNT));
    dock_sleep_ms(3000);
    dock_assert(d, dock_parallel(ARRAY_SIZE(members), 6, stop, members));
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        dock_tell_log(d, &members[i].container);
        assert_true(told_count(members[i].container.told) > 0);
    }
    dock_wait_complete(d);
    dock_stop(d);
    assert_int_equal(0, ringtail_proc_log_count(&d->ringtail, "Lines may be missing", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DOCK_TEST("an Engine that comes back to running containers costs no line", test_restart),
    };

    return dock_main(tests, true);
}
