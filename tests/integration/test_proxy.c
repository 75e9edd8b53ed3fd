/*
 * ringtail behind a proxy that lets only GET of _ping, version, events and containers through to
 * the Engine, as docker-socket-proxy does. Here it is nginx, on a socket of its own.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/macros.h"
#include "support/child.h"
#include "support/world.h"

#define CONTAINERS 20
#define LINES 100

struct proxy {
    pid_t pid;
    char config[96], socket[96], url[128];
};

static struct proxy proxy;

static bool is_listening(struct world *w, void *ctx)
{
    struct stat st;

    (void)w;
    (void)ctx;
    return stat(proxy.socket, &st) == 0;
}

/* What may be asked is a pattern behind the version: "_ping|version|events|containers/.*". */
static void proxy_start(struct world *w, const char *allowed)
{
    const char *const argv[] = {NGINX, "-p", w->dir, "-c", proxy.config, "-e", "stderr", NULL};
    FILE *file;

    (void)snprintf(proxy.config, sizeof proxy.config, "%s/nginx.conf", w->dir);
    (void)snprintf(proxy.socket, sizeof proxy.socket, "%s/proxy.sock", w->dir);
    (void)snprintf(proxy.url, sizeof proxy.url, "unix://%s", proxy.socket);
    file = fopen(proxy.config, "we");
    assert_non_null(file);
    fprintf(file,
            "daemon off; master_process off; pid %s/nginx.pid; error_log stderr emerg;\n"
            "events { worker_connections 512; }\n"
            "http {\n"
            "  access_log off;\n"
            "  client_body_temp_path %s/nginx-body; proxy_temp_path %s/nginx-proxy;\n"
            "  fastcgi_temp_path %s/nginx-1; uwsgi_temp_path %s/nginx-2; scgi_temp_path "
            "%s/nginx-3;\n"
            "  server {\n"
            "    listen unix:%s;\n"
            "    location / { return 403; }\n"
            "    location ~ ^/(v[0-9.]+/)?(%s)$ {\n"
            "      limit_except GET { deny all; }\n"
            "      proxy_pass http://unix:%s/docker.sock:;\n"
            "      proxy_http_version 1.1;\n"
            "      proxy_set_header Connection \"\";\n"
            "      proxy_buffering off;\n"
            "      proxy_read_timeout 1h;\n"
            "    }\n"
            "  }\n"
            "}\n",
            w->dir, w->dir, w->dir, w->dir, w->dir, w->dir, proxy.socket, allowed, w->dir);
    assert_int_equal(0, fclose(file));
    (void)unlink(proxy.socket); /* of the one before */
    proxy.pid = child_start(argv, NULL, NULL);
    assert_true(proxy.pid > 0);
    if (w->ringtail.pid > 0)
        return;
    for (unsigned i = 0; i < 2000 && !is_listening(w, NULL); i++)
        (void)usleep(5000);
    assert_true(is_listening(w, NULL));
}

static void proxy_stop(int signal)
{
    if (proxy.pid > 0)
        (void)child_end(proxy.pid, signal);
    proxy.pid = 0;
}

static int teardown(void **state)
{
    int r = world_teardown(state);

    proxy_stop(SIGKILL);
    return r;
}

#define EVERYTHING "_ping|version|events|containers/.*"

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
    run_behind(w, EVERYTHING);
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
    run_behind(w, EVERYTHING);
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
    run_behind(w, EVERYTHING);
    say_many(s, "before", LINES);
    world_wait_all(w);
    proxy_stop(SIGKILL);
    say_many(s, "without", LINES);
    world_wait_log(w, "Engine unreachable", NULL, 1);
    proxy_start(w, EVERYTHING);
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
    run_behind(w, EVERYTHING);
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
        proxy_stop(SIGKILL);
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
        PROXY_TEST("what a proxy has to allow is said", test_what_it_has_to_allow_is_said),
    };

    if (access(NGINX, X_OK) < 0) {
        puts("no nginx");
        return 77;
    }
    return world_main(tests);
}
