/*
 * Every call to libcurl, and every allocation that libcurl makes, fails in turn: all requests come
 * back, each once; nothing is called accepted that the receiver has not taken; nothing leaks.
 */
#include "http_fixture.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"
#include "sink/http_curl.h"
#include "support/failing_libraries.h"
#include "support/receiver.h"

#define REQUESTS 6
/* A scenario makes some hundred calls, and some two thousand allocations. */
#define CALLS_MAX 5000

static struct receiver receiver;

/* The calls of all threads are counted under one lock; so are libcurl's allocations. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned countdown; /* the call that fails; 0: none does */
static bool lasting;       /* and all after it */
static bool in_allocations, has_failed;

static bool must_fail(bool is_allocation)
{
    bool fails = false;

    pthread_mutex_lock(&lock);
    if (is_allocation == in_allocations && countdown > 0) {
        fails = countdown == 1;
        if (countdown > 1 || !lasting)
            countdown--;
        has_failed |= fails;
    }
    pthread_mutex_unlock(&lock);
    return fails;
}

bool failing_curl_must_fail(void)
{
    return must_fail(false);
}

static void *failing_malloc(size_t size)
{
    return must_fail(true) ? NULL : malloc(size);
}

static void *failing_realloc(void *old, size_t size)
{
    return must_fail(true) ? NULL : realloc(old, size);
}

static char *failing_strdup(const char *text)
{
    return must_fail(true) ? NULL : strdup(text);
}

static void *failing_calloc(size_t count, size_t size)
{
    return must_fail(true) ? NULL : calloc(count, size);
}

static int init_with_failing_memory(long flags)
{
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    __typeof__(curl_global_init_mem) *init =
        (__typeof__(init))dlsym(library, "curl_global_init_mem");

    assert_non_null(init);
    return (int)init(flags, failing_malloc, free, failing_realloc, failing_strdup, failing_calloc);
}

static int group_setup(void **state)
{
    failing_curl_global_init = init_with_failing_memory;
    return receiver_start(&receiver, NULL);
}

static int group_teardown(void **state)
{
    receiver_stop(&receiver);
    return 0;
}

/** How many records the receiver has: those whose requests came to it, whatever became of these. */
static size_t count_taken(void)
{
    struct buf text = {0};
    size_t count = 0;

    assert_int_equal(200, receiver_get(&receiver, "/taken", &text));
    for (size_t i = 0; i < text.len; i++)
        count += text.data[i] == '\n';
    buf_finish(&text);
    assert_int_equal(200, receiver_command(&receiver, "/forget", ""));
    return count;
}

/**
 * One life of a client: a transport, requests, a cancel, more requests. Elasticsearch's codec,
 * since its receiver has every record once, however often it is sent.
 */
static void live(void)
{
    static const struct codec_options codec = {.kind = CODEC_ELASTIC, .elastic_index = "logs"};
    struct http_fixture *f = NULL;
    struct http_transport_options options = fixture_options(fixture_url("http", receiver.port, ""));
    struct sent sent[REQUESTS] = {0};
    struct transport *t = NULL;
    size_t accepted = 0;
    void *state = NULL;
    int r;

    options.codec = &codec;
    options.connections_max = 2;
    options.compression = COMPRESSION_GZIP;
    options.user = "user";
    options.tls.server_name = "receiver.test";
    assert_int_equal(0, http_fixture_setup(&state));
    f = state;
    r = http_transport_create(f->client, &options, &t, f->why, sizeof f->why);
    if (r < 0) {
        assert_null(t);
        assert_string_not_equal("", f->why);
    } else {
        for (size_t i = 0; i < REQUESTS; i++)
            fixture_start(f, t, &sent[i], i * 10, 10);
        fixture_wait(f, sent, REQUESTS);
        for (size_t i = 0; i < REQUESTS; i++) {
            const struct request *request = &sent[i].request;

            if (request->error == 0)
                accepted += request->judgement.accepted;
            else
                assert_string_not_equal("", request->message);
            sent_finish(&sent[i]);
        }
        assert_null(transport_destroy(t));
    }
    assert_int_equal(0, http_fixture_teardown(&state));
    assert_true(accepted <= count_taken());
    if (!has_failed)
        assert_int_equal(REQUESTS * 10, accepted);
}

static void fail_in_turn(bool allocations, bool and_all_after)
{
    unsigned n = 0;

    in_allocations = allocations;
    lasting = and_all_after;
    do {
        has_failed = false;
        countdown = ++n;
        live();
        assert_true(n < CALLS_MAX);
    } while (has_failed);
    countdown = 0;
    assert_true(n > 50); /* there were calls to fail */
}

static void test_one_call_fails(void **state)
{
    fail_in_turn(false, false);
}

static void test_all_calls_fail_from_one_on(void **state)
{
    fail_in_turn(false, true);
}

static void test_one_allocation_of_libcurl_fails(void **state)
{
    fail_in_turn(true, false);
}

static void test_all_allocations_of_libcurl_fail_from_one_on(void **state)
{
    fail_in_turn(true, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_call_fails),
        cmocka_unit_test(test_all_calls_fail_from_one_on),
        cmocka_unit_test(test_one_allocation_of_libcurl_fails),
        cmocka_unit_test(test_all_allocations_of_libcurl_fail_from_one_on),
    };
    int skip = http_fixture_skip_code();

    return skip ? skip : cmocka_run_group_tests(tests, group_setup, group_teardown);
}
