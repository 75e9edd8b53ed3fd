/*
 * ringtail behind a proxy that lets only GET of _ping, version, events and containers through to
 * the Engine, as docker-socket-proxy does. Here it is nginx, on a socket of its own.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"
#include "support/socket_proxy.h"
#include "support/world.h"

#define CONTAINERS 20
#define LINES 100

static struct socket_proxy proxy;

static void proxy_start(struct world *w, const char *allowed)
{
    char engine[96];

    (void)snprintf(engine, sizeof engine, "%s/docker.sock", w->dir);
    assert_true(socket_proxy_start(&proxy, w->dir, engine, allowed));
}

static int teardown(void **state)
{
    int r = world_teardown(state);

    socket_proxy_stop(&proxy, SIGKILL);
    return r;
}

static void run_behind(struct world *w, const char *allowed)
{
    proxy_start(w, allowed);
    world_run(w, "--engine", proxy.url, "--set", "stream.rotation_interval=300ms", "--set",
              "stream.read_timeout=100ms", "--set", "stream.stuck_grace=2s");
}

static void test_everything_is_followed(void **state)
{
    struct speaker *speakers[CONTAINERS];
    struct world *w = *state;

    world_engine(w, NULL);
    for (unsigned i = 0; i < CONTAINERS / 2; i++)
        speakers[i] = world_speaker(w, NULL);
    run_behind(w, SOCKET_PROXY_ENOUGH);
    for (unsigned i = CONTAINERS / 2; i < CONTAINERS; i++)
        speakers[i] = world_speaker(w, NULL); /* told by events */
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < CONTAINERS; i++)
            say_many(speakers[i], "line", LINES / 4);
        /* Silent streams are replaced, too. */
        world_wait_more_requests(w, SIM_REQUEST_LOGS, CONTAINERS * 2);
    }
    world_wait_all(w);
    for (unsigned i = 0; i < CONTAINERS; i++)
        assert_int_equal(0, sim_container_exit(speakers[i]->container, 0));
    world_wait_follows(w, NULL, 0);
    world_stop(w);
    assert_int_equal(0, world_stats(w).requests_not_get);
}

/* The Engine's side of the connection is gone or silent; the proxy's is open. */
static void test_breaks_behind_the_proxy_lose_nothing(void **state)
{
    struct speaker *speakers[CONTAINERS];
    struct world *w = *state;

    world_engine(w, NULL);
    for (unsigned i = 0; i < CONTAINERS; i++)
        speakers[i] = world_speaker(w, NULL);
    world_fault(w, &(struct sim_fault){
                       .kind = SIM_FAULT_STALL, .on = SIM_REQUEST_LOGS, .times = 10, .bytes = 300});
    world_fault(
        w,
        &(struct sim_fault){
            .kind = SIM_FAULT_CUT, .on = SIM_REQUEST_LOGS, .skip = 10, .times = 20, .bytes = 500});
    run_behind(w, SOCKET_PROXY_ENOUGH);
    for (unsigned i = 0; i < CONTAINERS; i++)
        say_many(speakers[i], "line", LINES);
    world_wait_all(w);
    world_stop(w);
}

static void test_a_proxy_that_is_killed_is_waited_for(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    s = world_speaker(w, NULL);
    run_behind(w, SOCKET_PROXY_ENOUGH);
    say_many(s, "before", LINES);
    world_wait_all(w);
    socket_proxy_stop(&proxy, SIGKILL);
    say_many(s, "without", LINES);
    world_wait_log(w, "Engine unreachable", NULL, 1);
    proxy_start(w, SOCKET_PROXY_ENOUGH);
    say_many(s, "after", LINES);
    world_wait_all(w);
    world_stop(w);
}

/* The proxy answers 502 meanwhile, which is no word of the Engine's about any container. */
static void test_an_engine_that_restarts_behind_it_is_resumed(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    s = world_speaker(w, NULL);
    run_behind(w, SOCKET_PROXY_ENOUGH);
    say_many(s, "before", LINES);
    world_wait_all(w);
    assert_int_equal(0, sim_engine_stop(w->sim, SIM_STOP_LIVE_RESTORE));
    world_wait_log(w, "Engine unreachable", "a proxy answers", 1);
    assert_int_equal(0, sim_engine_start(w->sim, false));
    say_many(s, "after", LINES);
    world_wait_all(w);
    assert_int_equal(0, ringtail_proc_log_count(&w->ringtail, "Log unreadable", NULL));
    world_stop(w);
}

/* HAProxy's word for the same is 503, which an Engine says too, of a log that it can't read now. */
static void test_a_page_with_503_is_no_refusal(void **state)
{
    struct world *w = *state;
    struct speaker *s;

    world_engine(w, NULL);
    s = world_speaker(w, NULL);
    say_many(s, "line", LINES);
    for (unsigned kind = SIM_REQUEST_PING; kind <= SIM_REQUEST_LOGS; kind++)
        world_fault(w, &(struct sim_fault){.kind = SIM_FAULT_REPLY,
                                           .on = (enum sim_request_kind)kind,
                                           .times = 2,
                                           .status = 503,
                                           .content_type = "text/html",
                                           .body = "<html>No server is available</html>"});
    world_run(w);
    world_wait_all(w);
    assert_int_equal(0, ringtail_proc_log_count(&w->ringtail, "Log unreadable", NULL));
    assert_int_equal(0, ringtail_proc_log_count(&w->ringtail, "Engine refuses its events", NULL));
    world_stop(w);
}

static void test_what_it_has_to_allow_is_said(void **state)
{
    static const struct {
        const char *allowed, *message;
    } cases[] = {
        {"version|events|containers/.*", "Engine unreachable"},
        {"_ping|version|containers/.*", "Engine refuses its events, relying on listings"},
        {"_ping|version|events", "Containers could not be listed"},
        {"_ping|version|events|containers/json|containers/[0-9a-f]+/logs",
         "Container could not be inspected"},
        {"_ping|version|events|containers/json|containers/[0-9a-f]+/json", "Log unreadable"},
    };
    struct world *w = *state;

    world_engine(w, NULL);
    (void)world_speaker(w, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        run_behind(w, cases[i].allowed);
        world_wait_log(w, cases[i].message, "ringtail needs GET of _ping, version, events and", 1);
        world_stop_early(w);
        socket_proxy_stop(&proxy, SIGKILL);
        ringtail_proc_finish(&w->ringtail);
    }
}

#define PROXY_TEST(title, fn)                                                                      \
    {                                                                                              \
        .name = (title), .test_func = (fn), .setup_func = world_setup, .teardown_func = teardown   \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROXY_TEST("everything is followed through a proxy that allows little",
                   test_everything_is_followed),
        PROXY_TEST("breaks behind the proxy lose nothing",
                   test_breaks_behind_the_proxy_lose_nothing),
        PROXY_TEST("a proxy that is killed is waited for",
                   test_a_proxy_that_is_killed_is_waited_for),
        PROXY_TEST("an Engine that restarts behind the proxy is resumed",
                   test_an_engine_that_restarts_behind_it_is_resumed),
        PROXY_TEST("a page with 503 is no refusal", test_a_page_with_503_is_no_refusal),
        PROXY_TEST("what a proxy has to allow is said", test_what_it_has_to_allow_is_said),
    };

    return socket_proxy_is_there() ? world_main(tests) : 77;
}
