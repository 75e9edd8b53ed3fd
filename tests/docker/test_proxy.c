/* Through a proxy that allows little, on a real Engine: the proxy's idea of HTTP is its own. */
#include <signal.h>
#include <stdio.h>

#include "dock.h"
#include "support/socket_proxy.h"

#define CONTAINERS 6

static struct socket_proxy proxy;

static int teardown(void **state)
{
    int r = dock_teardown(state);

    socket_proxy_stop(&proxy, SIGKILL);
    return r;
}

static void test_everything_is_followed(void **state)
{
    static const char *const args[] = {"/writer", "--rate",  "200", "--count",
                                       "800",     "--bytes", "80",  NULL};
    struct dock_container containers[CONTAINERS];
    struct dock *d = *state;

    assert_true(socket_proxy_start(&proxy, d->dir, dock_socket(), SOCKET_PROXY_ENOUGH));
    dock_ringtail(d, "--engine", proxy.url, "--set", "stream.rotation_interval=300ms", "--set",
                  "engine.reconnect_max=1s");
    dock_wait_log(d, "Following containers", NULL, 1);
    for (size_t i = 0; i < CONTAINERS; i++)
        dock_assert(d, dock_run(&(struct dock_spec){.args = args, .tty = i == 0}, &containers[i]));
    dock_wait_log(d, "Stream rotated successfully", NULL, CONTAINERS);
    dock_engine(d, "restart", "1");
    dock_wait_log(d, "Engine connected", NULL, 2);
    for (size_t i = 0; i < CONTAINERS; i++) {
        dock_assert(d, dock_post(&containers[i], "wait"));
        dock_tell_log(d, &containers[i]);
        assert_true(told_count(containers[i].told) > 0);
    }
    dock_wait_complete(d);
    dock_stop(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {.name = "behind a proxy that allows little everything is followed",
         .test_func = test_everything_is_followed,
         .setup_func = dock_setup,
         .teardown_func = teardown},
    };

    return socket_proxy_is_there() ? dock_main(tests, true) : 77;
}
