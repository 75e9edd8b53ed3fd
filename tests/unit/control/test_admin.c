/* The admin endpoint over real sockets, with a thread that stands in for the ring's. */
#include "control/admin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/process.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
#define LAST_LINE METRIC_PREFIX "metric_series_refused_total 0\n"

enum { CONNECTIONS_MAX = 8 };

struct fixture {
    struct metrics *metrics;
    struct metric_series *lines;
    struct admin *admin;

    /* The ring's thread. */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool woken, hung, ending;

    /* What the callbacks say, and how often they were asked. */
    atomic_bool ready;
    atomic_int fills;
};

/* ---- the ring's side ---- */

static void fill_metrics(void *ctx, struct metrics *metrics)
{
    struct fixture *f = ctx;

    atomic_fetch_add(&f->fills, 1);
    metric_set(metrics_plain(metrics, METRIC_STREAMS_ACTIVE), 55);
}

static bool ready(void *ctx, struct buf *json)
{
    struct fixture *f = ctx;

    if (atomic_load(&f->ready))
        assert_int_equal(0, buf_append_str(json, "{\"ready\":true,\"engine\":\"up\"}\n"));
    else
        assert_int_equal(0, buf_append_str(json, "{\"ready\":false,\"engine\":\"unreachable\"}\n"));
    return atomic_load(&f->ready);
}

static int streams(void *ctx, struct buf *out, bool as_text)
{
    return buf_append_str(out, as_text ? "a stream\n" : "{\"streams\":[]}\n");
}

static void wake(void *ctx)
{
    struct fixture *f = ctx;

    pthread_mutex_lock(&f->lock);
    f->woken = true;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

/* Counts, as the ring's thread does, whenever it has nothing else to do. */
static void *ring_thread(void *ctx)
{
    struct fixture *f = ctx;

    pthread_mutex_lock(&f->lock);
    while (!f->ending) {
        if (f->hung || !f->woken) {
            pthread_cond_wait(&f->changed, &f->lock);
            continue;
        }
        f->woken = false;
        pthread_mutex_unlock(&f->lock);
        metric_add(f->lines, 1);
        admin_serve(f->admin);
        pthread_mutex_lock(&f->lock);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

static void set_flag(struct fixture *f, bool *flag, bool value)
{
    pthread_mutex_lock(&f->lock);
    *flag = value;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static const struct admin_options usual = {
    .address = "127.0.0.1",
    .connections_max = CONNECTIONS_MAX,
    .timeout_s = 10,
};

static int open_admin(struct fixture *f, const struct admin_options *options, char *why,
                      size_t why_size)
{
    struct admin_callbacks callbacks = {
        .fill_metrics = fill_metrics,
        .ready = ready,
        .streams = streams,
        .wake = wake,
        .ctx = f,
    };

    return admin_open(options, &callbacks, f->metrics, &f->admin, why, why_size);
}

static struct fixture *start(const struct admin_options *options)
{
    struct metrics_options limits = {.series_max = 1000, .linger_ms = 1000};
    struct fixture *f = calloc(1, sizeof *f);
    char why[256] = "";

    assert_non_null(f);
    f->metrics = metrics_create(&limits);
    assert_non_null(f->metrics);
    f->lines = metrics_series(f->metrics, NULL, METRIC_CONTAINER_LINES, "0123456789ab", "web");
    atomic_store(&f->ready, true);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    if (open_admin(f, options, why, sizeof why) < 0)
        fail_msg("%s", why);
    assert_int_equal(0, pthread_create(&f->thread, NULL, ring_thread, f));
    return f;
}

static void stop(struct fixture *f)
{
    set_flag(f, &f->ending, true);
    assert_int_equal(0, pthread_join(f->thread, NULL));
    f->admin = admin_close(f->admin);
    metrics_destroy(f->metrics);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

static int setup(void **state)
{
    *state = start(&usual);
    return 0;
}

static int teardown(void **state)
{
    stop(*state);
    return 0;
}

/* ---- the client's side ---- */

static int dial(const struct fixture *f)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(admin_port(f->admin))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(0, connect(fd, (struct sockaddr *)&to, sizeof to));
    return fd;
}

static void say(int fd, const char *text)
{
    size_t len = strlen(text);

    assert_int_equal(len, send(fd, text, len, MSG_NOSIGNAL));
}

/** All up to the end of the connection, however that comes; good until the next call on this
 * thread. */
static const char *hear(int fd)
{
    static _Thread_local char text[1 << 17];
    size_t len = 0;
    ssize_t n;

    while ((n = recv(fd, text + len, sizeof text - 1 - len, 0)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    assert_int_equal(0, close(fd));
    return text;
}

static const char *exchange(const struct fixture *f, const char *request)
{
    int fd = dial(f);

    say(fd, request);
    return hear(fd);
}

static void assert_status(const char *reply, int status)
{
    char expected[32];

    (void)snprintf(expected, sizeof expected, "HTTP/1.1 %d ", status);
    if (strncmp(reply, expected, strlen(expected)) != 0)
        fail_msg("expected %d: %.200s", status, reply);
}

static const char *body_of(const char *reply)
{
    const char *end = strstr(reply, "\r\n\r\n");

    assert_non_null(end);
    return end + 4;
}

static void assert_has(const char *text, const char *part)
{
    if (!text || !strstr(text, part))
        fail_msg("no \"%s\" in: %.500s", part, text ? text : "");
}

static void assert_ends_with(const char *text, const char *end)
{
    assert_true(strlen(text) >= strlen(end));
    assert_string_equal(end, text + strlen(text) - strlen(end));
}

/* ---- pages ---- */

static void test_metrics_are_prometheus_text_brought_up_to_date(void **state)
{
    const char *reply = exchange(*state, GET("/metrics"));

    assert_status(reply, 200);
    assert_has(reply, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    assert_has(reply, "\n" METRIC_PREFIX "container_streams_active 55\n");
    assert_has(reply, METRIC_PREFIX "container_lines_total{container_id=\"0123456789ab\","
                                    "container_name=\"web\"} 1\n");
    assert_ends_with(reply, LAST_LINE);
}

static void test_health_is_ok(void **state)
{
    const char *reply = exchange(*state, GET("/health"));

    assert_status(reply, 200);
    assert_string_equal("OK", body_of(reply));
}

static void test_readiness_says_why_not(void **state)
{
    struct fixture *f = *state;
    const char *reply;

    atomic_store(&f->ready, false);
    reply = exchange(f, GET("/ready"));
    assert_status(reply, 503);
    assert_has(reply, "Content-Type: application/json\r\n");
    assert_string_equal("{\"ready\":false,\"engine\":\"unreachable\"}\n", body_of(reply));
    atomic_store(&f->ready, true);
    /* What was said last may be said again for a while. */
    do
        reply = exchange(f, GET("/ready"));
    while (strncmp(reply, "HTTP/1.1 503 ", 13) == 0);
    assert_status(reply, 200);
    assert_string_equal("{\"ready\":true,\"engine\":\"up\"}\n", body_of(reply));
}

static void test_streams_are_json_or_text(void **state)
{
    static const struct {
        const char *request;
        bool text;
    } cases[] = {
        {GET("/debug/streams"), false},
        {GET("/debug/streams?format=text"), true},
        {GET("/debug/streams?format=json"), false},
        {"GET /debug/streams HTTP/1.0\r\nAccept: text/plain\r\n\r\n", true},
        {"GET /debug/streams HTTP/1.0\r\naccept: text/html, text/plain;q=0.5\r\n\r\n", true},
        {"GET /debug/streams?format=json HTTP/1.0\r\nAccept: text/plain\r\n\r\n", false},
        {"GET /debug/streams HTTP/1.0\r\nAccept: */*\r\n\r\n", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *reply = exchange(*state, cases[i].request);

        assert_has(reply, " 200 OK\r\n");
        assert_has(reply, cases[i].text ? "Content-Type: text/plain; charset=utf-8\r\n"
                                        : "Content-Type: application/json\r\n");
        assert_string_equal(cases[i].text ? "a stream\n" : "{\"streams\":[]}\n", body_of(reply));
    }
}

static void test_head_sends_the_head_alone(void **state)
{
    static const char *const paths[] = {"/metrics", "/health", "/ready", "/debug/streams"};

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        char request[128];
        const char *reply;

        (void)snprintf(request, sizeof request,
                       "HEAD %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", paths[i]);
        reply = exchange(*state, request);
        assert_status(reply, 200);
        assert_has(reply, "Content-Length: ");
        assert_null(strstr(reply, "Content-Length: 0\r\n"));
        assert_string_equal("", body_of(reply));
    }
}

static void test_other_methods_are_refused(void **state)
{
    static const char *const methods[] = {"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"};

    for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
        char request[128];
        const char *reply;

        (void)snprintf(request, sizeof request,
                       "%s /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab",
                       methods[i]);
        reply = exchange(*state, request);
        assert_status(reply, 405);
        assert_has(reply, "Allow: GET, HEAD\r\n");
    }
}

static void test_other_paths_are_told_which_there_are(void **state)
{
    static const char *const paths[] = {"/",        "/metrics/",      "/METRICS", "/debug/pprof/",
                                        "//health", "/%2e%2e/metrics"};

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        char request[128];
        const char *reply;

        (void)snprintf(request, sizeof request,
                       "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", paths[i]);
        reply = exchange(*state, request);
        assert_status(reply, 404);
        assert_string_equal(
            "{\"error\":\"not found\",\"paths\":[\"/metrics\",\"/health\",\"/ready\","
            "\"/debug/streams\"]}\n",
            body_of(reply));
    }
}

static void test_one_connection_may_ask_many_times(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    const char *reply;
    int replies = 0;

    for (int i = 0; i < 20; i++)
        say(fd, "GET /ready HTTP/1.1\r\nHost: x\r\n\r\n");
    say(fd, GET("/ready"));
    reply = hear(fd);
    for (; (reply = strstr(reply, "HTTP/1.1 200 OK\r\n")); reply++)
        replies++;
    assert_int_equal(21, replies);
}

/* ---- a ring that does not answer ---- */

static const struct admin_options impatient = {
    .address = "127.0.0.1",
    .connections_max = CONNECTIONS_MAX,
    .timeout_s = 10,
    .answer_timeout_ms = 50,
    .liveness_ms = 200,
};

static void test_a_ring_that_hangs_makes_busy_and_in_the_end_ill(void **state)
{
    struct fixture *f = start(&impatient);
    const char *reply;

    (void)state;
    set_flag(f, &f->hung, true);
    assert_status(exchange(f, GET("/metrics")), 503);
    assert_has(exchange(f, GET("/metrics")), "busy");
    reply = exchange(f, GET("/ready"));
    assert_status(reply, 503);
    assert_has(reply, "\"ready\":false");
    while (strstr(reply, "does not answer") == NULL || strstr(reply, "ready"))
        reply = exchange(f, GET("/health"));
    assert_status(reply, 503);

    /* It answers what it was asked for meanwhile, and everything is well again. */
    set_flag(f, &f->hung, false);
    do
        reply = exchange(f, GET("/health"));
    while (strstr(reply, "does not answer"));
    assert_status(reply, 200);
    do
        reply = exchange(f, GET("/metrics"));
    while (strstr(reply, "busy"));
    assert_ends_with(reply, LAST_LINE);
    stop(f);
}

static void test_health_does_not_wait_for_a_ring_that_hangs(void **state)
{
    struct fixture *f = *state;

    set_flag(f, &f->hung, true);
    for (int i = 0; i < 100; i++)
        assert_status(exchange(f, GET("/health")), 200);
    assert_int_equal(0, atomic_load(&f->fills));
}

/* ---- clients that mean no good ---- */

enum { SCRAPERS = 4, SCRAPES_EACH = 2500 };

struct scraper {
    struct fixture *f;
    pthread_t thread;
    int whole;
};

static void *scrape(void *ctx)
{
    struct scraper *s = ctx;

    for (int i = 0; i < SCRAPES_EACH; i++) {
        const char *reply = exchange(s->f, GET("/metrics"));

        s->whole += strncmp(reply, "HTTP/1.1 200 ", 13) == 0 && strstr(reply, "\n" LAST_LINE);
    }
    return NULL;
}

static void test_ten_thousand_scrapes_cost_the_ring_ten_answers_a_second(void **state)
{
    struct fixture *f = *state;
    int64_t began = clock_mono_ns();
    struct scraper scrapers[SCRAPERS] = {0};

    for (int i = 0; i < SCRAPERS; i++) {
        scrapers[i].f = f;
        assert_int_equal(0, pthread_create(&scrapers[i].thread, NULL, scrape, &scrapers[i]));
    }
    for (int i = 0; i < SCRAPERS; i++) {
        assert_int_equal(0, pthread_join(scrapers[i].thread, NULL));
        assert_int_equal(SCRAPES_EACH, scrapers[i].whole);
    }
    /* By construction: one is asked for no sooner than 100 ms after the one before. */
    assert_true(atomic_load(&f->fills) <= (clock_mono_ns() - began) / (100 * NSEC_PER_MSEC) + 1);
}

static void test_what_is_no_request_ends_the_connection(void **state)
{
    struct admin_options options = usual;
    struct fixture *f;
    static const char *const nonsense[] = {
        "\x16\x03\x01\x02\x01\x01\xfc\x03\x03",
        "GET\r\n\r\n",
        "GET /metrics HTTP/9.9\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nContent-Length: -1\r\nHost: x\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde",
        "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\n",
        "\r\n\r\n\r\n\r\n",
        "",
    };

    (void)state;
    options.timeout_s = 1; /* some of it might become a request yet */
    f = start(&options);
    for (size_t i = 0; i < ARRAY_SIZE(nonsense); i++) {
        int fd = dial(f);

        say(fd, nonsense[i]);
        assert_int_equal(0, shutdown(fd, SHUT_WR));
        (void)hear(fd); /* whatever it is, it ends */
        assert_status(exchange(f, GET("/health")), 200);
    }
    stop(f);
}

static void test_a_head_without_end_is_refused(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    char piece[1024];
    ssize_t n = 1;

    say(fd, "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Long: ");
    memset(piece, 'a', sizeof piece);
    while (n > 0) /* until it has had enough: a reset, or a reply that ends the connection */
        n = send(fd, piece, sizeof piece, MSG_NOSIGNAL);
    (void)hear(fd);
    assert_status(exchange(f, GET("/metrics")), 200);
}

static void test_a_body_without_end_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const methods[] = {"GET", "POST"};

    for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
        int fd = dial(f);
        char head[128], piece[1024] = {0};
        ssize_t n = 1;

        (void)snprintf(head, sizeof head,
                       "%s /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n",
                       methods[i]);
        say(fd, head);
        while (n > 0)
            n = send(fd, piece, sizeof piece, MSG_NOSIGNAL);
        (void)hear(fd);
    }
    assert_status(exchange(f, GET("/metrics")), 200);
}

static void test_slow_clients_hold_up_nobody(void **state)
{
    struct fixture *f = *state;
    int slow[CONNECTIONS_MAX - 1];

    for (size_t i = 0; i < ARRAY_SIZE(slow); i++) {
        slow[i] = dial(f);
        say(slow[i], i % 2 ? "GET /metr" : "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    for (int i = 0; i < 50; i++)
        assert_status(exchange(f, GET("/metrics")), 200);
    for (size_t i = 0; i < ARRAY_SIZE(slow); i++)
        assert_int_equal(0, close(slow[i]));
}

static void test_more_connections_than_allowed_wait_their_turn(void **state)
{
    struct fixture *f = *state;
    int fds[3 * CONNECTIONS_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fds[i] = dial(f);
    /* Whoever was let in goes away again, and makes room for those who came last. */
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        say(fds[i], GET("/health"));
        assert_status(hear(fds[i]), 200);
    }
}

static void test_a_client_with_too_many_connections_is_sent_away(void **state)
{
    struct admin_options options = usual;
    struct fixture *f;
    int fds[CONNECTIONS_MAX], served = 0;

    (void)state;
    options.connections_per_ip_max = 2;
    f = start(&options);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fds[i] = dial(f);
    /* Those that are let in stay; the others end without a word. */
    for (size_t i = 2; i < ARRAY_SIZE(fds); i++)
        assert_string_equal("", hear(fds[i]));
    for (size_t i = 0; i < 2; i++) {
        say(fds[i], GET("/health"));
        served += strstr(hear(fds[i]), "200 OK") != NULL;
    }
    assert_int_equal(2, served);
    stop(f);
}

static void test_a_silent_connection_is_closed(void **state)
{
    struct admin_options options = usual;
    struct fixture *f;
    int silent, halfway;

    (void)state;
    options.timeout_s = 1;
    f = start(&options);
    silent = dial(f);
    halfway = dial(f);
    say(halfway, "GET /metrics HTTP/1.1\r\n");
    assert_string_equal("", hear(silent));
    assert_null(strstr(hear(halfway), "200 OK"));
    stop(f);
}

/* ---- opening and closing ---- */

static void test_an_address_that_can_not_be_had_is_explained(void **state)
{
    struct fixture *f = *state, second = {.metrics = f->metrics};
    struct admin_options options = usual;
    char why[256];

    options.port = admin_port(f->admin);
    assert_int_equal(-EADDRINUSE, open_admin(&second, &options, why, sizeof why));
    assert_has(why, "can't listen on 127.0.0.1 port ");
    assert_has(why, "another program listens there");
    options = usual;
    options.address = "localhost";
    assert_int_equal(-EINVAL, open_admin(&second, &options, why, sizeof why));
    assert_has(why, "localhost");
    options.address = "192.0.2.1"; /* of a block that is for documentation */
    assert_int_equal(-EADDRNOTAVAIL, open_admin(&second, &options, why, sizeof why));
    assert_has(why, "192.0.2.1");
    assert_null(second.admin);
}

static void test_a_port_that_was_just_used_can_be_had_again(void **state)
{
    struct fixture *f = *state;
    struct admin_options options = usual;
    int fd = dial(f);

    options.port = admin_port(f->admin);
    say(fd, GET("/health"));
    assert_status(hear(fd), 200);
    stop(f);
    f = start(&options);
    *state = f;
    assert_int_equal(options.port, admin_port(f->admin));
    assert_status(exchange(f, GET("/health")), 200);
}

static void test_closing_waits_for_no_client(void **state)
{
    struct admin_options options = usual;
    struct fixture *f;
    int fds[CONNECTIONS_MAX + 2];

    (void)state;
    options.timeout_s = 3600; /* more than the test may take */
    f = start(&options);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = dial(f);
        say(fds[i], "GET /metr");
    }
    stop(f);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        assert_string_equal("", hear(fds[i]));
}

static void *ask_a_ring_that_hangs(void *ctx)
{
    (void)exchange(ctx, GET("/metrics"));
    return NULL;
}

static void test_closing_ends_a_wait_for_the_ring(void **state)
{
    struct admin_options options = usual;
    struct fixture *f;
    pthread_t client;
    bool woken = false;

    (void)state;
    options.answer_timeout_ms = 3600000;
    f = start(&options);
    set_flag(f, &f->hung, true);
    assert_int_equal(0, pthread_create(&client, NULL, ask_a_ring_that_hangs, f));
    while (!woken) {
        pthread_mutex_lock(&f->lock);
        woken = f->woken;
        pthread_mutex_unlock(&f->lock);
    }
    stop(f);
    assert_int_equal(0, pthread_join(client, NULL));
}

static void test_opening_and_closing_leaves_nothing_behind(void **state)
{
    struct process_stat before, after;

    (void)state;
    assert_int_equal(0, process_stat_read(&before));
    for (int i = 0; i < 20; i++) {
        struct fixture *f = start(&usual);

        assert_status(exchange(f, GET("/metrics")), 200);
        stop(f);
    }
    assert_int_equal(0, process_stat_read(&after));
    assert_int_equal(before.descriptors_open, after.descriptors_open);
}

static void test_ipv6_works_where_there_is_ipv6(void **state)
{
    struct fixture *f = *state, second = {.metrics = f->metrics};
    struct admin_options options = usual;
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    char why[256] = "";
    int fd, r;

    options.address = "::1";
    r = open_admin(&second, &options, why, sizeof why);
    if (r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT) {
        assert_has(why, "::1");
        return;
    }
    assert_int_equal(0, r);
    to.sin6_port = htons(admin_port(second.admin));
    fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(0, connect(fd, (struct sockaddr *)&to, sizeof to));
    say(fd, GET("/nowhere"));
    assert_status(hear(fd), 404);
    admin_close(second.admin);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_metrics_are_prometheus_text_brought_up_to_date),
        CASE(test_health_is_ok),
        CASE(test_readiness_says_why_not),
        CASE(test_streams_are_json_or_text),
        CASE(test_head_sends_the_head_alone),
        CASE(test_other_methods_are_refused),
        CASE(test_other_paths_are_told_which_there_are),
        CASE(test_one_connection_may_ask_many_times),
        cmocka_unit_test(test_a_ring_that_hangs_makes_busy_and_in_the_end_ill),
        CASE(test_health_does_not_wait_for_a_ring_that_hangs),
        CASE(test_ten_thousand_scrapes_cost_the_ring_ten_answers_a_second),
        cmocka_unit_test(test_what_is_no_request_ends_the_connection),
        CASE(test_a_head_without_end_is_refused),
        CASE(test_a_body_without_end_is_refused),
        CASE(test_slow_clients_hold_up_nobody),
        CASE(test_more_connections_than_allowed_wait_their_turn),
        cmocka_unit_test(test_a_client_with_too_many_connections_is_sent_away),
        cmocka_unit_test(test_a_silent_connection_is_closed),
        CASE(test_an_address_that_can_not_be_had_is_explained),
        CASE(test_a_port_that_was_just_used_can_be_had_again),
        cmocka_unit_test(test_closing_waits_for_no_client),
        cmocka_unit_test(test_closing_ends_a_wait_for_the_ring),
        cmocka_unit_test(test_opening_and_closing_leaves_nothing_behind),
        CASE(test_ipv6_works_where_there_is_ipv6),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
