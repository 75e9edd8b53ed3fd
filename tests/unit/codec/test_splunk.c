/* Splunk's event collector: events read back strictly, and its codes. */
#include "ringtail/codec/codec.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec_fixture.h"
#include "ringtail/base/macros.h"

#include "ringtail/base/json.h"

static void make_codec(struct codec_fixture *f, const char *index)
{
    fixture_codec(f, &(struct codec_options){
                         .kind = CODEC_SPLUNK,
                         .host = "host-1",
                         .splunk_source = "docker:{container_name}",
                         .splunk_sourcetype = "ringtail",
                         .splunk_index = index,
                     });
}

static bool is_blank(const struct record *r)
{
    for (size_t i = 0; i < r->len; i++) {
        if (!memchr(" \t\r\n\v\f", r->data[i], 6))
            return false;
    }
    return true;
}

static void check_event(struct slice line, const struct record *r, const char *index)
{
    yyjson_doc *doc = fixture_json(line);
    yyjson_val *root = yyjson_doc_get_root(doc), *fields = yyjson_obj_get(root, "fields");
    bool partial = r->flags & RECORD_PARTIAL;
    char time[40], source[80];
    int len = snprintf(time, sizeof time, "{\"time\":%lld.%09lld,\"",
                       (long long)(r->ts_ns / NSEC_PER_SEC), (long long)(r->ts_ns % NSEC_PER_SEC));

    /* As text, since a number read as a double loses its last digits. */
    assert_memory_equal(time, line.data, (size_t)len);
    assert_true(yyjson_is_real(yyjson_obj_get(root, "time")));
    assert_int_equal(index ? 7 : 6, yyjson_obj_size(root));
    assert_slice(slice_str("host-1"), json_text(root, "host"));
    (void)snprintf(source, sizeof source, "docker:%s", r->source->name.data);
    assert_slice(slice_str(source), json_text(root, "source"));
    assert_slice(slice_str("ringtail"), json_text(root, "sourcetype"));
    if (index)
        assert_slice(slice_str(index), json_text(root, "index"));
    if (is_blank(r)) {
        assert_int_equal(1, yyjson_obj_size(yyjson_obj_get(root, "event")));
        assert_lossy(r, json_text(yyjson_obj_get(root, "event"), "line"));
    } else {
        assert_lossy(r, json_text(root, "event"));
    }
    assert_slice(r->source->id, json_text(fields, "container_id"));
    assert_slice(r->source->name, json_text(fields, "container_name"));
    assert_slice(r->source->image, json_text(fields, "image"));
    assert_slice(slice_str(r->stream == RECORD_STDERR ? "stderr" : "stdout"),
                 json_text(fields, "stream"));
    assert_line_b64(r, fields);
    assert_int_equal(4 + partial + (yyjson_obj_get(fields, "line_b64") != NULL),
                     yyjson_obj_size(fields));
    if (partial)
        assert_slice(slice_str("true"), json_text(fields, "partial"));
    yyjson_doc_free(doc);
}

static void check_body(struct codec_fixture *f, const char *index)
{
    struct slice rest;

    fixture_encode(f);
    rest = buf_slice(&f->body);
    for (size_t i = 0; i < f->count; i++) {
        const char *end = memchr(rest.data, '\n', rest.len);
        size_t len;

        assert_non_null(end);
        len = (size_t)(end - rest.data);
        check_event(slice_of(rest.data, len), &f->records[i], index);
        rest = slice_from(rest, len + 1);
    }
    assert_int_equal(0, rest.len);
}

static void test_every_line_of_every_kind_is_an_event(void **state)
{
    struct codec_fixture *f = *state;

    make_codec(f, "main");
    assert_string_equal("application/json", codec_content_type(f->codec));
    assert_string_equal("/services/collector/event", codec_path(f->codec));
    fixture_add_kinds(f);
    fixture_add_random(f, 300);
    check_body(f, "main");
    make_codec(f, NULL);
    check_body(f, NULL);
}

static void test_what_is_not_set_is_left_to_splunk(void **state)
{
    struct codec_fixture *f = *state;

    fixture_codec(f, &(struct codec_options){.kind = CODEC_SPLUNK, .splunk_source = ""});
    fixture_add(f, 0, RECORD_STDOUT, 1700000000000000001, slice_str("x"));
    fixture_add(f, 3, RECORD_STDERR, 1700000000000000001, slice_str(""));
    fixture_encode(f);
    assert_slice(
        slice_str("{\"time\":1700000000.000000001,\"event\":\"x\",\"fields\":{\"container_id\":"
                  "\"1111111111111111111111111111111111111111111111111111111111111111\","
                  "\"container_name\":\"web\",\"image\":\"nginx:1.27\",\"stream\":\"stdout\"}}\n"
                  "{\"time\":1700000000.000000001,\"event\":{\"line\":\"\"},\"fields\":"
                  "{\"container_id\":"
                  "\"4444444444444444444444444444444444444444444444444444444444444444\","
                  "\"container_name\":\"\",\"image\":\"\",\"stream\":\"stderr\"}}\n"),
        buf_slice(&f->body));
}

static void test_a_success_says_so_itself(void **state)
{
    static const char *const others[] = {
        "",
        "<html>",
        "{}",
        "{\"text\":\"Success\"}",
        "{\"text\":\"x\",\"code\":8}",
        "{\"text\":\"Success\",\"code\":\"0\"}",
        "{\"text\":\"Success\",\"code\":0",
        "[{\"code\":0}]",
    };
    struct codec_fixture *f = *state;
    struct codec_judgement *j;

    make_codec(f, "main");
    j = fixture_judge(f, 200, "{\"text\":\"Success\",\"code\":0,\"ackId\":3}", 3);
    assert_int_equal(CODEC_DONE, j->outcome);
    assert_int_equal(3, j->accepted);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        j = fixture_judge(f, 200, others[i], 3);
        assert_int_equal(CODEC_AGAIN, j->outcome);
        assert_int_equal(3, j->retry);
    }
}

static void test_the_event_that_is_named_is_refused_and_the_others_go_again(void **state)
{
    struct codec_fixture *f = *state;
    struct codec_judgement *j;

    make_codec(f, "main");
    j = fixture_judge(
        f, 400, "{\"text\":\"Invalid data format\",\"code\":6,\"invalid-event-number\":1}", 3);
    assert_int_equal(CODEC_SPLIT, j->outcome);
    assert_int_equal(1, j->refused);
    assert_int_equal(2, j->retry);
    assert_int_equal(CODEC_REFUSED, j->verdicts[1].kind);
    assert_non_null(strstr(fixture_reason(f, 1), "Invalid data format"));
    /* Alone, it is at fault whatever number is named. */
    j = fixture_judge(
        f, 400, "{\"text\":\"Invalid data format\",\"code\":6,\"invalid-event-number\":7}", 1);
    assert_int_equal(CODEC_DONE, j->outcome);
    assert_int_equal(1, j->refused);
    /* A number that is none of ours, or none at all: halves. */
    for (size_t i = 0; i < 4; i++) {
        static const char *const numbers[] = {"3", "-1", "\"1\"", "18446744073709551615"};
        char body[100];

        (void)snprintf(body, sizeof body, "{\"code\":6,\"invalid-event-number\":%s}", numbers[i]);
        j = fixture_judge(f, 400, body, 3);
        assert_int_equal(CODEC_SPLIT, j->outcome);
        assert_int_equal(3, j->retry);
    }
    j = fixture_judge(f, 400, "Bad Request", 3);
    assert_int_equal(CODEC_SPLIT, j->outcome);
}

static void test_what_the_content_is_not_to_blame_for_suspends(void **state)
{
    struct codec_fixture *f = *state;

    make_codec(f, "main");
    for (size_t i = 0; i < 5; i++) {
        static const int codes[] = {7, 10, 11, 14, 16};
        struct codec_judgement *j;
        char body[100];

        (void)snprintf(body, sizeof body,
                       "{\"text\":\"no\",\"code\":%d,\"invalid-event-number\":0}", codes[i]);
        j = fixture_judge(f, 400, body, 3);
        assert_int_equal(CODEC_SUSPENDED, j->outcome);
        assert_int_equal(3, j->retry);
        assert_int_equal(0, j->refused);
    }
    assert_int_equal(CODEC_SUSPENDED,
                     fixture_judge(f, 403, "{\"text\":\"Invalid token\",\"code\":4}", 3)->outcome);
    assert_int_equal(
        CODEC_SUSPENDED,
        fixture_judge(f, 401, "{\"text\":\"Token is required\",\"code\":2}", 3)->outcome);
    assert_int_equal(CODEC_BUSY,
                     fixture_judge(f, 503, "{\"text\":\"Server is busy\",\"code\":9}", 3)->outcome);
}

static void test_an_index_that_records_choose_is_their_fault(void **state)
{
    struct codec_fixture *f = *state;
    struct codec_judgement *j;

    make_codec(f, "logs-{container_name}");
    j = fixture_judge(f, 400,
                      "{\"text\":\"Incorrect index\",\"code\":7,\"invalid-event-number\":2}", 3);
    assert_int_equal(CODEC_SPLIT, j->outcome);
    assert_int_equal(CODEC_REFUSED, j->verdicts[2].kind);
    assert_int_equal(2, j->retry);
}

#define TEST(test)                                                                                 \
    cmocka_unit_test_setup_teardown(test, codec_fixture_setup, codec_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_line_of_every_kind_is_an_event),
        TEST(test_what_is_not_set_is_left_to_splunk),
        TEST(test_a_success_says_so_itself),
        TEST(test_the_event_that_is_named_is_refused_and_the_others_go_again),
        TEST(test_what_the_content_is_not_to_blame_for_suspends),
        TEST(test_an_index_that_records_choose_is_their_fault),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
