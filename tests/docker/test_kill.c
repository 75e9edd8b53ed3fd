/*
 * The Engine goes away under load and takes the containers with it: once by SIGKILL, and once as it
 * should. Half of the containers are started again by the Engine that comes back. ringtail stays
 * up. What counts is the Engine's own log: what an Engine had read from a container's pipe, and not
 * yet logged when it was killed, is lost for everybody.
 */
#include "dock.h"

#include <stdio.h>

#define MEMBERS_COUNT 10

struct member {
    struct dock_container container;
    char prefix[16];
};

static bool start(void *ctx, size_t index)
{
    struct member *m = (struct member *)ctx + index;
    const char *args[] = {"/writer", "--prefix", m->prefix,        "--rate", "200",
                          "--bytes", "80",       "--stderr-every", "4",      NULL};

    snprintf(m->prefix, sizeof m->prefix, "k%zu", index);
    return dock_run(&(struct dock_spec){.args = args,
                                        .restart_policy = index % 2 == 0 ? "always" : NULL,
                                        .driver = index % 3 == 2 ? "local" : NULL},
                    &m->container);
}

static bool stop(void *ctx, size_t index)
{
    struct member *m = (struct member *)ctx + index;

    return dock_post(&m->container, "stop?t=5");
}

static void go_away_and_compare(struct dock *d, const char *away, const char *back)
{
    struct member members[MEMBERS_COUNT];

    dock_ringtail(d, "--set", "engine.reconnect_max=1s");
    dock_wait_log(d, "Following containers", NULL, 1);
    dock_assert(d, dock_parallel(MEMBERS_COUNT, 5, start, members));
    dock_sleep_ms(4000);
    dock_engine(d, away, NULL);
    dock_wait_log(d, "Engine unreachable", NULL, 1);
    dock_engine(d, back, NULL);
    dock_wait_log(d, "Engine connected", NULL, 2);
    dock_sleep_ms(3000);
    dock_assert(d, dock_parallel(MEMBERS_COUNT, 5, stop, members));
    for (size_t i = 0; i < MEMBERS_COUNT; i++) {
        dock_tell_log(d, &members[i].container);
        assert_true(told_count(members[i].container.told) > 0);
    }
    dock_wait_complete(d);
    dock_stop(d);
    assert_int_equal(0, ringtail_proc_log_count(&d->ringtail, "Lines may be missing", NULL));
}

static void test_kill(void **state)
{
    go_away_and_compare(*state, "kill", "up");
}

static void test_down(void **state)
{
    go_away_and_compare(*state, "down", "up");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DOCK_TEST("an Engine that is killed costs no line of its logs", test_kill),
        DOCK_TEST("an Engine that stops its containers and starts them again costs no line",
                  test_down),
    };

    return dock_main(tests, false);
}
