/* What ringtail tells a service manager, whose socket the test holds. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ringtail/base/macros.h"
#include "support/world.h"

struct manager {
    int fd;
    char name[128];
    char said[64];
    const char *wanted;
};

static void manager_listen(struct world *w, struct manager *m, bool abstract)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len;

    *m = (struct manager){.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    assert_true(m->fd >= 0);
    snprintf(m->name, sizeof m->name, "%s%s/notify", abstract ? "@" : "", w->dir);
    len = strlen(m->name);
    memcpy(address.sun_path, m->name, len);
    if (abstract)
        address.sun_path[0] = '\0';
    assert_int_equal(0, bind(m->fd, (struct sockaddr *)&address,
                             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)));
    assert_int_equal(0, setenv("NOTIFY_SOCKET", m->name, 1));
}

/* The next datagram, or false when there is none yet. */
static bool manager_take(struct manager *m)
{
    ssize_t n = recv(m->fd, m->said, sizeof m->said - 1, MSG_DONTWAIT);

    if (n < 0) {
        assert_int_equal(EAGAIN, errno);
        return false;
    }
    m->said[n] = '\0';
    return true;
}

static bool is_said(struct world *w, void *ctx)
{
    struct manager *m = ctx;

    (void)w;
    return manager_take(m) && strcmp(m->said, m->wanted) == 0;
}

static void manager_wait(struct world *w, struct manager *m, const char *wanted)
{
    m->wanted = wanted;
    world_wait(w, wanted, is_said, m);
}

static int teardown(void **state)
{
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
    return world_teardown(state);
}

static void test_ready_alive_and_stopping_are_told(void **state)
{
    struct world *w = *state;
    struct manager m;

    manager_listen(w, &m, false);
    assert_int_equal(0, setenv("WATCHDOG_USEC", "20000", 1));
    world_engine(w, NULL);
    say_many(world_speaker(w, NULL), "line", 3);
    world_run(w);
    manager_wait(w, &m, "READY=1");
    for (unsigned i = 0; i < 5; i++)
        manager_wait(w, &m, "WATCHDOG=1");
    world_wait_all(w);
    ringtail_proc_signal(&w->ringtail, SIGTERM);
    manager_wait(w, &m, "STOPPING=1");
    world_wait_exit(w, 0);
    assert_int_equal(0, close(m.fd));
}

/* Everything that it said until its end. */
static void assert_says_only(struct world *w, struct manager *m)
{
    say_many(world_speaker(w, NULL), "line", 3);
    world_run(w);
    world_wait_all(w);
    world_stop(w);
    assert_true(manager_take(m));
    assert_string_equal("READY=1", m->said);
    assert_true(manager_take(m));
    assert_string_equal("STOPPING=1", m->said);
    assert_false(manager_take(m));
    assert_int_equal(0, close(m->fd));
}

static void test_a_watchdog_that_is_for_another_process_is_not_fed(void **state)
{
    struct world *w = *state;
    struct manager m;

    manager_listen(w, &m, false);
    assert_int_equal(0, setenv("WATCHDOG_USEC", "1000", 1));
    assert_int_equal(0, setenv("WATCHDOG_PID", "1", 1));
    world_engine(w, NULL);
    assert_says_only(w, &m);
}

static void test_an_abstract_socket_is_found(void **state)
{
    struct world *w = *state;
    struct manager m;

    manager_listen(w, &m, true);
    assert_int_equal(0, setenv("WATCHDOG_USEC", "often", 1));
    world_engine(w, NULL);
    assert_says_only(w, &m);
}

static void test_a_manager_that_is_not_there_changes_nothing(void **state)
{
    static const char *const names[] = {"/no/such/socket", "not a path"};
    struct world *w = *state;

    world_engine(w, NULL);
    assert_int_equal(0, setenv("WATCHDOG_USEC", "1000", 1));
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        assert_int_equal(0, setenv("NOTIFY_SOCKET", names[i], 1));
        say_many(world_speaker(w, NULL), "line", 3);
        world_run(w);
        world_wait_all(w);
        world_stop(w);
    }
}

#define NOTIFY_TEST(title, fn)                                                                     \
    {                                                                                              \
        .name = (title), .test_func = (fn), .setup_func = world_setup, .teardown_func = teardown   \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        NOTIFY_TEST("a service manager is told that it is ready, alive, and stopping",
                    test_ready_alive_and_stopping_are_told),
        NOTIFY_TEST("a watchdog that is for another process is not fed",
                    test_a_watchdog_that_is_for_another_process_is_not_fed),
        NOTIFY_TEST("a manager with an abstract socket is found", test_an_abstract_socket_is_found),
        NOTIFY_TEST("a manager that is not there changes nothing",
                    test_a_manager_that_is_not_there_changes_nothing),
    };

    return world_main(tests);
}
