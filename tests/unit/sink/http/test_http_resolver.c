/*
 * A name server that does not answer: this program's getaddrinfo stands in for the system's, also
 * for libcurl, and hangs when it is asked for receiver.hangs.
 */
#include "http_fixture.h"

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <unistd.h>

#include "ringtail/base/macros.h"
#include "support/http_peer.h"

static sem_t asked, go, left;

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        (__typeof__(real))dlsym(RTLD_NEXT, "getaddrinfo");

    if (node && strcmp(node, "receiver.hangs") == 0) {
        (void)sem_post(&asked);
        (void)sem_wait(&go);
        (void)sem_post(&left);
        return EAI_AGAIN;
    }
    return real(node, service, hints, ret);
}

static int setup(void **state)
{
    return sem_init(&asked, 0, 0) == 0 && sem_init(&go, 0, 0) == 0 && sem_init(&left, 0, 0) == 0
               ? http_fixture_setup(state)
               : -1;
}

static void test_a_name_server_that_hangs_holds_up_nothing(void **state)
{
    static const char reply[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"text\":\"Success\",\"code\":0}";
    const struct http_peer_step steps[] = {
        {.act = PEER_TAKE_REQUEST}, {.act = PEER_SEND, .data = slice_of(reply, sizeof reply - 1)}};
    struct http_fixture *f = *state;
    struct http_transport_options options = fixture_options("http://receiver.hangs/");
    struct http_peer peer = {0};
    struct sent times_out = {0}, cancelled = {0}, s = {0};
    struct transport *t;
    uint16_t port;
    int listener = fixture_listen(&port);

    options.timeout_ms = 30;
    fixture_start(f, fixture_open(f, &options), &times_out, 0, 1);
    fixture_wait(f, &times_out, 1);
    assert_int_equal(-ETIMEDOUT, times_out.request.error);

    options.timeout_ms = FIXTURE_PATIENCE_MS;
    t = fixture_open(f, &options);
    (void)sem_wait(&asked);
    fixture_start(f, t, &cancelled, 0, 1);
    (void)sem_wait(&asked);
    transport_cancel(t);
    fixture_wait(f, &cancelled, 1);
    assert_int_equal(-ECANCELED, cancelled.request.error);

    options.url = fixture_url("http", port, "/");
    http_peer_start(&peer, listener, steps, ARRAY_SIZE(steps));
    fixture_send(f, fixture_open(f, &options), &s);
    assert_int_equal(3, s.request.judgement.accepted);
    http_peer_join(&peer);
    (void)close(listener);
    sent_finish(&s);

    /* Nor does the end wait. */
    fixture_close_transports(f);
    f->client = http_client_destroy(f->client);
    for (unsigned i = 0; i < 2; i++)
        (void)sem_post(&go);
    for (unsigned i = 0; i < 2; i++)
        (void)sem_wait(&left);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_name_server_that_hangs_holds_up_nothing, setup,
                                        http_fixture_teardown),
    };
    int skip = http_fixture_skip_code();

    return skip ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
