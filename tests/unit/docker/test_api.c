/* docker/api: request texts, and the choice of an API version. */
#include "ringtail/docker/api.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ringtail/base/macros.h"

#define HEADERS "Host: docker\r\nUser-Agent: ringtail/" RINGTAIL_VERSION "\r\n"
#define CLOSE "Connection: close\r\n"
#define ID "2e66b9ec3fe171038c0fef75f4befd5b18e34992fd55cc60f366a1e81055328f"

static const struct api_version v141 = {1, 41};

static void assert_request(const char *expected, struct buf *b, int result)
{
    assert_int_equal(0, result);
    assert_non_null(buf_cstr(b));
    assert_string_equal(expected, buf_cstr(b));
    buf_reset(b);
}

static void test_requests_are_as_the_engine_wants_them(void **state)
{
    struct buf b = {0};

    assert_request("GET /_ping HTTP/1.1\r\n" HEADERS CLOSE "\r\n", &b, api_request_ping(&b));
    assert_request("GET /v1.41/version HTTP/1.1\r\n" HEADERS CLOSE "\r\n", &b,
                   api_request_version(&b, v141));
    assert_request("GET /v1.41/containers/json HTTP/1.1\r\n" HEADERS CLOSE "\r\n", &b,
                   api_request_list(&b, v141, false));
    assert_request("GET /v1.24/containers/json?all=1 HTTP/1.1\r\n" HEADERS CLOSE "\r\n", &b,
                   api_request_list(&b, (struct api_version){1, 24}, true));
    assert_request("GET /v1.41/containers/" ID "/json HTTP/1.1\r\n" HEADERS CLOSE "\r\n", &b,
                   api_request_inspect(&b, v141, slice_str(ID)));
    buf_finish(&b);
}

static void test_logs_are_asked_for_with_both_streams_and_timestamps(void **state)
{
    struct buf b = {0};
    struct api_logs_query q = {.follow = true, .tail = -1};

    assert_request("GET /v1.41/containers/" ID
                   "/logs?follow=1&stdout=1&stderr=1&timestamps=1&tail=all HTTP/1.1\r\n" HEADERS
                   "\r\n",
                   &b, api_request_logs(&b, v141, slice_str(ID), &q));

    q = (struct api_logs_query){
        .follow = true, .has_since = true, .since_ns = INT64_C(1795189150000000007), .tail = 1000};
    assert_request("GET /v1.41/containers/" ID "/logs?follow=1&stdout=1&stderr=1&timestamps=1"
                   "&since=1795189150.000000007&tail=1000 HTTP/1.1\r\n" HEADERS "\r\n",
                   &b, api_request_logs(&b, v141, slice_str(ID), &q));

    q.follow = false;
    q.tail = 0;
    q.since_ns = INT64_MAX;
    assert_request("GET /v1.54/containers/a/logs?follow=0&stdout=1&stderr=1&timestamps=1"
                   "&since=9223372036.854775807&tail=0 HTTP/1.1\r\n" HEADERS CLOSE "\r\n",
                   &b, api_request_logs(&b, API_VERSION_NEWEST, slice_str("a"), &q));

    /* Before 1970 there is nothing to leave out. */
    q.since_ns = -1;
    q.tail = INT64_MAX;
    assert_request("GET /v1.41/containers/a/logs?follow=0&stdout=1&stderr=1&timestamps=1"
                   "&since=0.000000000&tail=9223372036854775807 HTTP/1.1\r\n" HEADERS CLOSE "\r\n",
                   &b, api_request_logs(&b, v141, slice_str("a"), &q));
    buf_finish(&b);
}

static void percent_decode(char *text)
{
    char *out = text;

    for (; *text; text++) {
        unsigned byte;

        if (*text == '%') {
            assert_int_equal(1, sscanf(text + 1, "%2X", &byte));
            *out++ = (char)byte;
            text += 2;
        } else {
            *out++ = *text;
        }
    }
    *out = '\0';
}

static void test_events_are_filtered_by_json_in_the_query(void **state)
{
    struct buf b = {0};
    char *text;

    assert_int_equal(0, api_request_events(&b, v141, INT64_C(1795189150000000007)));
    assert_non_null(buf_cstr(&b));
    text = strdup(buf_cstr(&b));
    assert_non_null(text);
    assert_null(strpbrk(text, "\"{}[],"));
    percent_decode(text);
    assert_string_equal(
        "GET /v1.41/events?since=1795189150.000000007&filters="
        "{\"type\":[\"container\"],\"event\":[\"create\",\"start\",\"die\",\"stop\",\"kill\","
        "\"destroy\",\"rename\",\"pause\",\"unpause\",\"restart\",\"oom\"]} HTTP/1.1\r\n" HEADERS
        "\r\n",
        text);
    free(text);
    buf_finish(&b);
}

static void test_requests_are_appended(void **state)
{
    struct buf b = {0};

    assert_int_equal(0, api_request_ping(&b));
    assert_request("GET /_ping HTTP/1.1\r\n" HEADERS CLOSE "\r\n"
                   "GET /_ping HTTP/1.1\r\n" HEADERS CLOSE "\r\n",
                   &b, api_request_ping(&b));
    buf_finish(&b);
}

static void test_get_is_the_only_method(void **state)
{
    struct api_logs_query q = {.follow = true, .tail = -1};
    struct buf b = {0};
    unsigned count = 0;

    assert_int_equal(0, api_request_ping(&b));
    assert_int_equal(0, api_request_version(&b, v141));
    assert_int_equal(0, api_request_list(&b, v141, true));
    assert_int_equal(0, api_request_inspect(&b, v141, slice_str(ID)));
    assert_int_equal(0, api_request_logs(&b, v141, slice_str(ID), &q));
    assert_int_equal(0, api_request_events(&b, v141, 0));
    for (const char *at = buf_cstr(&b), *end; *at; at = end + 4) {
        assert_memory_equal("GET /", at, 5);
        end = strstr(at, "\r\n\r\n"); /* there are no bodies */
        assert_non_null(end);
        count++;
    }
    assert_int_equal(6, count);
    buf_finish(&b);
}

static void test_an_id_that_is_none_never_gets_into_a_request(void **state)
{
    static const char *const bad[] = {
        "",       "a b",  "a/b",  "../x", "..",      ".",          "-a",       "_a",
        "a\r\nX", "a?b",  "a#b",  "a%62", "a\\b",    "a\x7f",      "\xc3\xa4", "a:b",
        "a&b",    "a\"b", "a\tb", "a;b",  "a\nHost", "/a/json?x=",
    };
    struct api_logs_query q = {.tail = -1};
    struct buf b = {0};
    char longest[129];

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(-EINVAL, api_request_inspect(&b, v141, slice_str(bad[i])));
        assert_int_equal(-EINVAL, api_request_logs(&b, v141, slice_str(bad[i]), &q));
    }
    assert_int_equal(-EINVAL, api_request_inspect(&b, v141, slice_of("a\0b", 3)));

    memset(longest, 'a', sizeof longest);
    assert_int_equal(-EINVAL, api_request_inspect(&b, v141, slice_of(longest, 129)));
    assert_int_equal(0, b.len);
    assert_int_equal(0, api_request_inspect(&b, v141, slice_of(longest, 128)));
    assert_int_equal(0, api_request_logs(&b, v141, slice_str("web_1.blue-Green"), &q));
    buf_finish(&b);
}

static void test_versions_are_parsed(void **state)
{
    static const char *const bad[] = {
        "",       "1",     "1.",      ".41",     "1.41 ",
        " 1.41",  "v1.41", "1.4a",    "-1.41",   "1.+41",
        "1.41.1", "1,41",  "1.65536", "65536.1", "1.99999999999999999999"};
    struct api_version v = {7, 7};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(-EINVAL, api_version_parse(slice_str(bad[i]), &v));
    assert_int_equal(-EINVAL, api_version_parse(slice_of("1.4\0", 4), &v));
    assert_int_equal(7, v.major);
    assert_int_equal(7, v.minor);
    assert_int_equal(0, api_version_parse(slice_str("1.41"), &v));
    assert_int_equal(1, v.major);
    assert_int_equal(41, v.minor);
    assert_int_equal(0, api_version_parse(slice_str("65535.65535"), &v));
    assert_int_equal(65535, v.major);
    assert_int_equal(65535, v.minor);
}

static void test_versions_are_ordered_by_number(void **state)
{
    static const struct api_version ordered[] = {{0, 0},  {1, 9},   {1, 24},
                                                 {1, 41}, {1, 100}, {2, 0}};

    for (size_t i = 0; i < ARRAY_SIZE(ordered); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(ordered); k++)
            assert_int_equal((i > k) - (i < k), api_version_compare(ordered[i], ordered[k]));
    }
}

static void test_s25_the_newest_common_version_is_spoken(void **state)
{
    static const struct {
        struct api_version engine_oldest, engine;
        int result;
        struct api_version spoken;
    } cases[] = {
        {{1, 12}, {1, 41}, 0, {1, 41}}, /* 20.10 */
        {{1, 24}, {1, 45}, 0, {1, 45}}, /* 26.1 */
        {{1, 24}, {1, 51}, 0, {1, 51}}, /* 28.5 */
        {{0, 0}, {1, 41}, 0, {1, 41}},  /* the oldest is unknown */
        {{1, 44}, {1, 60}, 0, {1, 54}}, /* newer than we know */
        {{1, 44}, {1, 44}, 0, {1, 44}},
        {{1, 12}, {1, 24}, 0, {1, 24}},
        {{1, 54}, {1, 70}, 0, {1, 54}},
        {{1, 55}, {1, 70}, -EPROTONOSUPPORT, {9, 9}}, /* too new for us */
        {{1, 0}, {1, 23}, -EPROTONOSUPPORT, {9, 9}},  /* too old */
        {{0, 0}, {0, 0}, -EPROTONOSUPPORT, {9, 9}},   /* names no version */
        {{2, 0}, {2, 1}, -EPROTONOSUPPORT, {9, 9}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct api_version spoken = {9, 9};

        assert_int_equal(cases[i].result,
                         api_version_negotiate(cases[i].engine_oldest, cases[i].engine, &spoken));
        assert_int_equal(0, api_version_compare(cases[i].spoken, spoken));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_are_as_the_engine_wants_them),
        cmocka_unit_test(test_logs_are_asked_for_with_both_streams_and_timestamps),
        cmocka_unit_test(test_events_are_filtered_by_json_in_the_query),
        cmocka_unit_test(test_requests_are_appended),
        cmocka_unit_test(test_get_is_the_only_method),
        cmocka_unit_test(test_an_id_that_is_none_never_gets_into_a_request),
        cmocka_unit_test(test_versions_are_parsed),
        cmocka_unit_test(test_versions_are_ordered_by_number),
        {.name = "S25 the newest version that both know is spoken, or none",
         .test_func = test_s25_the_newest_common_version_is_spoken},
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
