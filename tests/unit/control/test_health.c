/* `ringtail health` against servers that say all is well, that it is not, nonsense, or nothing. */
#include "control/health.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define TIMEOUT_MS 30000
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nOK\n"

/* Answers connection after connection with one text each; NULL ends them. */
struct server {
    int listener;
    const char *replies[3];
    char requests[3][256];
    pthread_t thread;
};

static int listen_anywhere(struct config *c, int backlog)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(0, bind(fd, (struct sockaddr *)&address, len));
    if (backlog > 0)
        assert_int_equal(0, listen(fd, backlog));
    assert_int_equal(0, getsockname(fd, (struct sockaddr *)&address, &len));
    c->admin_port = ntohs(address.sin_port);
    return fd;
}

static void *serve(void *arg)
{
    struct server *s = arg;

    for (size_t i = 0; s->replies[i]; i++) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        size_t len = strlen(s->replies[i]);

        if (fd < 0 || recv(fd, s->requests[i], sizeof s->requests[i] - 1, 0) < 0 ||
            send(fd, s->replies[i], len, MSG_NOSIGNAL) != (ssize_t)len)
            abort();
        (void)close(fd); /* a short reply is in the socket's buffer by now */
    }
    return NULL;
}

static bool asked(struct config *c, struct server *s, struct buf *said)
{
    bool well;

    s->listener = listen_anywhere(c, 8);
    assert_int_equal(0, pthread_create(&s->thread, NULL, serve, s));
    well = health_ask(c, TIMEOUT_MS, said);
    assert_int_equal(0, pthread_join(s->thread, NULL));
    assert_int_equal(0, close(s->listener));
    return well;
}

/* One line, and nothing else. */
static void assert_line(struct buf *said, const char *what)
{
    const char *text = buf_cstr(said);

    assert_non_null(text);
    if (!strstr(text, what))
        fail_msg("\"%s\" is not in \"%s\"", what, text);
    assert_ptr_equal(strchr(text, '\n'), text + said->len - 1);
}

static int setup(void **state)
{
    struct config *c = malloc(sizeof *c);

    *state = c;
    return c ? config_init(c) : -1;
}

static int teardown(void **state)
{
    config_finish(*state);
    free(*state);
    return 0;
}

static void set(struct config *c, const char *name, const char *value)
{
    struct option_problems problems = {0};

    assert_int_equal(
        0, options_set(config_options(), c, "test", slice_str(name), slice_str(value), &problems));
    option_problems_finish(&problems);
}

static void test_two_good_answers_are_well(void **state)
{
    struct server s = {.replies = {OK, "HTTP/1.1 200 OK\r\n\r\n{\"ready\":true}\n"}};
    struct buf said = {0};

    /* All interfaces: the loopback is one of them. */
    set(*state, "admin.address", "0.0.0.0");
    assert_true(asked(*state, &s, &said));
    assert_line(&said, "ready: {\"ready\":true}");
    assert_memory_equal("GET /health ", s.requests[0], 12);
    assert_memory_equal("GET /ready ", s.requests[1], 11);
    buf_finish(&said);
}

static void test_what_is_not_ready_is_told(void **state)
{
    struct server s = {
        .replies = {OK,
                    "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"engine\":\n\"unreachable\"}\n"}};
    struct buf said = {0};

    assert_false(asked(*state, &s, &said));
    assert_line(&said, "not ready: status 503: {\"engine\": \"unreachable\"}");
    buf_finish(&said);
}

static void test_a_sick_one_is_not_asked_further(void **state)
{
    struct server s = {.replies = {"HTTP/1.1 503 Service Unavailable\r\n\r\nstuck"}};
    struct buf said = {0};

    assert_false(asked(*state, &s, &said));
    assert_line(&said, "not working: status 503: stuck");
    buf_finish(&said);
}

static void test_nonsense_is_no_answer(void **state)
{
    static const char *const nonsense[] = {"", "HTTP/1.1 200 OK\r\n", "SSH-2.0-OpenSSH_9.2\r\n\r\n",
                                           "HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/1.1\r\n\r\n"};

    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        struct server s = {.replies = {nonsense[i]}};
        struct buf said = {0};

        assert_false(asked(*state, &s, &said));
        assert_line(&said, "no answer from 127.0.0.1");
        buf_finish(&said);
    }
}

static void test_silence_ends_by_itself(void **state)
{
    struct config *c = *state;
    int fd = listen_anywhere(c, 8);
    struct buf said = {0};

    assert_false(health_ask(c, 50, &said));
    assert_line(&said, "timed out");
    assert_int_equal(0, close(fd));
    buf_finish(&said);
}

static void test_where_nobody_listens_is_told(void **state)
{
    struct config *c = *state;
    int fd = listen_anywhere(c, 0);
    struct buf said = {0};

    assert_false(health_ask(c, TIMEOUT_MS, &said));
    assert_line(&said, "refused");
    assert_int_equal(0, close(fd));
    buf_finish(&said);
}

static void test_a_configuration_without_an_endpoint_is_told(void **state)
{
    struct config *c = *state;
    struct buf said = {0};

    c->admin_port = 0;
    assert_false(health_ask(c, TIMEOUT_MS, &said));
    assert_line(&said, "admin.port");
    buf_reset(&said);
    c->admin_port = 8001;
    set(c, "admin.address", "localhost");
    assert_false(health_ask(c, TIMEOUT_MS, &said));
    assert_line(&said, "no IP address");
    buf_reset(&said);
    set(c, "admin.address", "");
    assert_false(health_ask(c, TIMEOUT_MS, &said));
    assert_line(&said, "admin.address");
    buf_finish(&said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_two_good_answers_are_well, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_ready_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_sick_one_is_not_asked_further, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nonsense_is_no_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silence_ends_by_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(test_where_nobody_listens_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_configuration_without_an_endpoint_is_told, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
