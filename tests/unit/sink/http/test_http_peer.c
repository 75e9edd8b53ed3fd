/* HTTP transports and receivers that misbehave, which are sockets of the test. */
#include "http_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ringtail/base/macros.h"
#include "support/http_peer.h"

#define SUCCESS "{\"text\":\"Success\",\"code\":0}"
#define REPLY(head, body) "HTTP/1.1 " head "\r\n\r\n" body

/** A receiver that takes connections and requests, and never says anything. */
struct silent {
    int listener;
    const char *url;
};

static struct silent silent_open(void)
{
    uint16_t port;
    int listener = fixture_listen(&port);

    return (struct silent){listener, fixture_url("http", port, "/")};
}

/** One request against a peer with this script. */
static void try(struct http_fixture *f, struct sent *s, const struct http_peer_step *steps,
                size_t count, int64_t timeout_ms)
{
    struct http_peer peer = {0};
    struct http_transport_options options;
    uint16_t port;
    int listener = fixture_listen(&port);

    options = fixture_options(fixture_url("http", port, "/"));
    options.timeout_ms = timeout_ms;
    http_peer_start(&peer, listener, steps, count);
    fixture_send(f, fixture_open(f, &options), s);
    fixture_close_transports(f);
    http_peer_join(&peer);
    (void)close(listener);
}

static void try_reply(struct http_fixture *f, struct sent *s, const char *reply)
{
    const struct http_peer_step steps[] = {{.act = PEER_TAKE_REQUEST},
                                           {.act = PEER_SEND, .data = slice_str(reply)}};

    try(f, s, steps, ARRAY_SIZE(steps), FIXTURE_PATIENCE_MS);
}

static void test_a_receiver_that_never_answers_times_out(void **state)
{
    struct http_fixture *f = *state;
    struct silent silent = silent_open();
    struct http_transport_options options = fixture_options(silent.url);
    struct transport *t;
    struct sent s[3] = {0};

    options.timeout_ms = 30;
    t = fixture_open(f, &options);
    for (size_t i = 0; i < ARRAY_SIZE(s); i++) /* one after the other */
        fixture_start(f, t, &s[i], i, 1);
    fixture_wait(f, s, ARRAY_SIZE(s));
    for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
        assert_int_equal(-ETIMEDOUT, s[i].request.error);
        assert_int_equal(0, s[i].request.status);
        assert_true(s[i].request.duration_ns >= 30 * NSEC_PER_MSEC);
    }
    (void)close(silent.listener);
}

static void test_a_reply_that_stops_in_its_middle_times_out(void **state)
{
    const struct http_peer_step steps[] = {
        {.act = PEER_TAKE_REQUEST},
        {.act = PEER_SEND, .data = slice_str(REPLY("200 OK\r\nContent-Length: 100", SUCCESS))},
        {.act = PEER_AWAIT_CLOSE}};
    struct sent s = {0};

    try(*state, &s, steps, ARRAY_SIZE(steps), 30);
    assert_int_equal(-ETIMEDOUT, s.request.error);
    assert_int_equal(0, s.request.judgement.accepted);
}

static void test_a_reply_that_is_cut_off_accepts_nothing(void **state)
{
    const char reply[] = REPLY("200 OK\r\nContent-Length: 27", SUCCESS);
    struct sent s = {0};

    assert_int_equal(27, strlen(SUCCESS));
    for (size_t cut = 0; cut < strlen(reply); cut++) {
        struct http_peer_step steps[] = {{.act = PEER_TAKE_REQUEST},
                                         {.act = PEER_SEND, .data = slice_of(reply, cut)}};

        try(*state, &s, steps, cut > 0 ? 2 : 1, FIXTURE_PATIENCE_MS);
        assert_true(s.request.error < 0);
        assert_string_not_equal("", s.request.message);
    }
    try_reply(*state, &s, reply);
    assert_int_equal(0, s.request.error);
    assert_int_equal(3, s.request.judgement.accepted);
    sent_finish(&s);
}

static void test_a_refusal_counts_once_its_head_is_complete(void **state)
{
    const char reply[] =
        REPLY("413 Too Large\r\nContent-Length: 20\r\nRetry-After: 4", "much too large, it is");
    size_t head = (size_t)(strstr(reply, "\r\n\r\n") - reply) + 4;
    struct sent s = {0};

    for (size_t cut = 1; cut < strlen(reply); cut++) {
        struct http_peer_step steps[] = {{.act = PEER_TAKE_REQUEST},
                                         {.act = PEER_SEND, .data = slice_of(reply, cut)}};

        try(*state, &s, steps, ARRAY_SIZE(steps), FIXTURE_PATIENCE_MS);
        if (cut < head) {
            assert_true(s.request.error < 0);
            continue;
        }
        assert_int_equal(0, s.request.error);
        assert_int_equal(413, s.request.status);
        assert_int_equal(CODEC_SPLIT, s.request.judgement.outcome);
        assert_int_equal(0, s.request.judgement.accepted);
    }
    sent_finish(&s);
}

static void test_what_is_not_http_is_an_error(void **state)
{
    static const char *const replies[] = {
        "220 mail.example ESMTP\r\n",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 27\r\n\r\n" SUCCESS,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" SUCCESS,
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" SUCCESS,
    };
    struct sent s = {0};

    for (size_t i = 0; i < ARRAY_SIZE(replies); i++) {
        try_reply(*state, &s, replies[i]);
        if (s.request.error >= 0 || s.request.message[0] == '\0')
            fail_msg("reply %zu is taken for one: %d", i, s.request.status);
    }
}

static void test_messages_are_one_line_of_utf_8(void **state)
{
    struct sent s = {0};

    try_reply(*state, &s, "HTTP/1.1 200 OK\r\nContent-Encoding: \xff\x01\x1b[1m\r\n\r\nx");
    assert_int_equal(-EPROTO, s.request.error);
    for (const char *c = s.request.message; *c; c++)
        assert_true((unsigned char)*c >= ' ');
}

static void test_the_head_before_the_last_says_nothing(void **state)
{
    struct sent s = {0};

    try_reply(*state, &s,
              "HTTP/1.1 103 Early Hints\r\nRetry-After: 9\r\n\r\n" REPLY(
                  "503 Busy\r\nContent-Length: 0\r\nConnection: close", ""));
    assert_int_equal(503, s.request.status);
    assert_int_equal(-1, s.request.judgement.retry_after_ms);
    sent_finish(&s);
}

static void test_a_reset_connection_is_an_error(void **state)
{
    const struct http_peer_step steps[] = {{.act = PEER_RESET}};
    struct sent s = {0};

    try(*state, &s, steps, ARRAY_SIZE(steps), FIXTURE_PATIENCE_MS);
    assert_int_equal(-ECONNRESET, s.request.error);
}

static void test_a_reply_without_end_is_cut(void **state)
{
    static const char head[] =
        REPLY("503 Busy\r\nTransfer-Encoding: chunked\r\nRetry-After: 5", "");
    const struct http_peer_step steps[] = {
        {.act = PEER_TAKE_REQUEST},
        {.act = PEER_SEND, .data = slice_of(head, sizeof head - 1)},
        {.act = PEER_FLOOD, .bytes = UINT64_C(1) << 40}};
    struct sent s = {0};

    /* The script ends when the client has hung up. */
    try(*state, &s, steps, ARRAY_SIZE(steps), FIXTURE_PATIENCE_MS);
    assert_int_equal(0, s.request.error);
    assert_int_equal(503, s.request.status);
    assert_int_equal(CODEC_BUSY, s.request.judgement.outcome);
    assert_int_equal(5000, s.request.judgement.retry_after_ms);
    sent_finish(&s);
}

static void test_a_refused_connection_says_so(void **state)
{
    struct http_fixture *f = *state;
    struct silent silent = silent_open();
    struct http_transport_options options = fixture_options(silent.url);
    struct sent s = {0};

    (void)close(silent.listener);
    fixture_send(f, fixture_open(f, &options), &s);
    assert_int_equal(-ECONNREFUSED, s.request.error);
    assert_non_null(strstr(s.request.message, "connect"));
}

static void test_a_name_that_does_not_exist_says_so(void **state)
{
    struct http_fixture *f = *state;
    struct http_transport_options options =
        fixture_options("http://receiver.invalid/?token=hidden");
    struct sent s = {0};

    fixture_send(f, fixture_open(f, &options), &s);
    assert_int_equal(-EHOSTUNREACH, s.request.error);
    assert_null(strstr(s.request.message, "hidden"));
}

/** Waits until a request has come to the silent receiver. Returns the connection. */
static int take_request(const struct silent *silent)
{
    int fd = accept(silent->listener, NULL, NULL);
    char byte;

    assert_true(fd >= 0);
    assert_int_equal(1, recv(fd, &byte, 1, 0));
    return fd;
}

static void test_a_cancel_ends_every_request_of_its_transport(void **state)
{
    struct http_fixture *f = *state;
    struct silent silent = silent_open(), other = silent_open();
    struct http_transport_options options = fixture_options(silent.url);
    struct transport *t, *bystander;
    struct sent s[6] = {0}, stays = {0};
    int with_receiver, with_other;

    options.connections_max = 2;
    t = fixture_open(f, &options);
    options.url = other.url;
    bystander = fixture_open(f, &options);
    fixture_start(f, bystander, &stays, 0, 1);
    with_other = take_request(&other);
    for (size_t i = 0; i < 3; i++)
        fixture_start(f, t, &s[i], i, 1);
    with_receiver = take_request(&silent);
    for (size_t i = 3; i < ARRAY_SIZE(s); i++) /* these may not even have been seen */
        fixture_start(f, t, &s[i], i, 1);
    transport_cancel(t);
    fixture_wait(f, s, ARRAY_SIZE(s));
    for (size_t i = 0; i < ARRAY_SIZE(s); i++)
        assert_int_equal(-ECANCELED, s[i].request.error);
    assert_int_equal(0, stays.done);
    (void)close(with_receiver);
    (void)close(silent.listener);
    transport_cancel(bystander);
    fixture_wait(f, &stays, 1);
    assert_int_equal(-ECANCELED, stays.request.error);
    (void)close(with_other);
    (void)close(other.listener);
}

static void test_a_request_after_a_cancel_is_not_cancelled(void **state)
{
    struct http_fixture *f = *state;
    struct silent silent = silent_open();
    struct http_transport_options options = fixture_options(silent.url);
    struct transport *t = fixture_open(f, &options);

    for (unsigned round = 0; round < 100; round++) {
        struct sent s[2] = {0};
        int fd;

        fixture_start(f, t, &s[0], 0, 1);
        transport_cancel(t);
        fixture_start(f, t, &s[1], 1, 1);
        fixture_wait(f, s, 1);
        assert_int_equal(-ECANCELED, s[0].request.error);
        /* The first may have come this far too. */
        do {
            char text[4096];
            ssize_t n;

            fd = accept(silent.listener, NULL, NULL);
            assert_true(fd >= 0);
            n = recv(fd, text, sizeof text - 1, 0);
            if (n > 0) {
                text[n] = '\0';
                if (!strstr(text, "line 0"))
                    break;
            }
            (void)close(fd);
        } while (true);
        (void)close(fd);
        fixture_wait(f, &s[1], 1);
        assert_int_equal(-ECONNRESET, s[1].request.error);
    }
    (void)close(silent.listener);
}

static void test_a_cancel_of_nothing_does_nothing(void **state)
{
    struct http_fixture *f = *state;
    struct http_transport_options options = fixture_options("http://127.0.0.1:1/");
    struct transport *t = fixture_open(f, &options);

    for (unsigned i = 0; i < 1000; i++)
        transport_cancel(t);
}

static void test_transports_come_and_go_while_others_work(void **state)
{
    struct http_fixture *f = *state;
    struct silent silent = silent_open();
    struct http_transport_options options = fixture_options(silent.url);
    struct transport *t;
    struct sent stays = {0};
    int fd;

    fixture_start(f, fixture_open(f, &options), &stays, 0, 1);
    fd = take_request(&silent);
    for (unsigned i = 0; i < 200; i++) {
        struct sent s = {0};

        t = NULL;
        assert_int_equal(0, http_transport_create(f->client, &options, &t, f->why, sizeof f->why));
        if (i % 2) {
            fixture_start(f, t, &s, 1, 1);
            transport_cancel(t);
            fixture_wait(f, &s, 1);
        } else {
            transport_cancel(t);
        }
        assert_null(transport_destroy(t));
    }
    assert_int_equal(0, stays.done);
    (void)close(fd);
    fixture_wait(f, &stays, 1);
    (void)close(silent.listener);
}

static void test_a_receiver_that_hangs_holds_up_no_other(void **state)
{
    static const char reply[] = REPLY("200 OK\r\nContent-Length: 27", SUCCESS);
    const struct http_peer_step steps[] = {
        {.act = PEER_TAKE_REQUEST}, {.act = PEER_SEND, .data = slice_of(reply, sizeof reply - 1)}};
    struct http_fixture *f = *state;
    struct silent silent = silent_open();
    struct http_transport_options options = fixture_options(silent.url);
    struct transport *t;
    struct sent hanging = {0}, s = {0};
    int fd;

    t = fixture_open(f, &options);
    fixture_start(f, t, &hanging, 0, 1);
    fd = take_request(&silent);
    for (unsigned i = 0; i < 5; i++) {
        struct http_peer peer = {0};
        uint16_t port;
        int listener = fixture_listen(&port);
        struct transport *other = NULL;

        options.url = fixture_url("http", port, "/");
        http_peer_start(&peer, listener, steps, ARRAY_SIZE(steps));
        assert_int_equal(0,
                         http_transport_create(f->client, &options, &other, f->why, sizeof f->why));
        fixture_send(f, other, &s);
        assert_int_equal(3, s.request.judgement.accepted);
        assert_null(transport_destroy(other));
        http_peer_join(&peer);
        (void)close(listener);
    }
    assert_int_equal(0, hanging.done);
    transport_cancel(t);
    fixture_wait(f, &hanging, 1);
    sent_finish(&s);
    (void)close(fd);
    (void)close(silent.listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define HTTP_TEST(test)                                                                            \
    cmocka_unit_test_setup_teardown(test, http_fixture_setup, http_fixture_teardown)
        HTTP_TEST(test_a_receiver_that_never_answers_times_out),
        HTTP_TEST(test_a_reply_that_stops_in_its_middle_times_out),
        HTTP_TEST(test_a_reply_that_is_cut_off_accepts_nothing),
        HTTP_TEST(test_a_refusal_counts_once_its_head_is_complete),
        HTTP_TEST(test_what_is_not_http_is_an_error),
        HTTP_TEST(test_messages_are_one_line_of_utf_8),
        HTTP_TEST(test_the_head_before_the_last_says_nothing),
        HTTP_TEST(test_a_reset_connection_is_an_error),
        HTTP_TEST(test_a_reply_without_end_is_cut),
        HTTP_TEST(test_a_refused_connection_says_so),
        HTTP_TEST(test_a_name_that_does_not_exist_says_so),
        HTTP_TEST(test_a_cancel_ends_every_request_of_its_transport),
        HTTP_TEST(test_a_request_after_a_cancel_is_not_cancelled),
        HTTP_TEST(test_a_cancel_of_nothing_does_nothing),
        HTTP_TEST(test_transports_come_and_go_while_others_work),
        HTTP_TEST(test_a_receiver_that_hangs_holds_up_no_other),
#undef HTTP_TEST
    };
    int skip = http_fixture_skip_code();

    return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
