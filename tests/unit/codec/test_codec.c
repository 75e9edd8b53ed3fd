/* What all codecs have in common, and those without a protocol of their own: lines of JSON, arrays
 * of it, and text. */
#include "ringtail/codec/codec.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec_fixture.h"
#include "ringtail/base/json.h"
#include "ringtail/base/macros.h"
#include "ringtail/record/ndjson.h"

static const struct codec_options every_codec[] = {
    {.kind = CODEC_NDJSON},
    {.kind = CODEC_JSON_ARRAY},
    {.kind = CODEC_TEXT},
    {.kind = CODEC_LOKI,
     .host = "h1",
     .loki_labels = "container={container_name},stream={stream}",
     .loki_metadata = "id={container_id}",
     .loki_label_values_max = 100},
    {.kind = CODEC_ELASTIC, .host = "h1", .elastic_index = "logs-{date}"},
    {.kind = CODEC_OTLP_JSON, .host = "h1"},
    {.kind = CODEC_OTLP_PROTOBUF, .host = "h1"},
    {.kind = CODEC_SPLUNK, .host = "h1", .splunk_source = "{container_name}"},
};

static void test_ndjson_is_one_object_a_line(void **state)
{
    struct codec_fixture *f = *state;
    struct buf expected = {0};

    fixture_codec(f, &(struct codec_options){.kind = CODEC_NDJSON});
    fixture_add_kinds(f);
    fixture_add_random(f, 200);
    fixture_encode(f);
    for (size_t i = 0; i < f->count; i++)
        assert_int_equal(0, ndjson_append(&expected, &f->records[i]));
    assert_slice(buf_slice(&expected), buf_slice(&f->body));
    assert_string_equal("application/x-ndjson", codec_content_type(f->codec));
    assert_string_equal("/", codec_path(f->codec));
    buf_finish(&expected);
}

static void test_a_json_array_has_every_record_in_order(void **state)
{
    struct codec_fixture *f = *state;

    fixture_codec(f, &(struct codec_options){.kind = CODEC_JSON_ARRAY});
    assert_string_equal("application/json", codec_content_type(f->codec));
    for (size_t count = 1; count <= 300; count += 100) {
        yyjson_doc *doc;
        yyjson_val *array;

        fixture_clear(f);
        fixture_add_random(f, count);
        fixture_encode(f);
        doc = fixture_json(buf_slice(&f->body));
        array = yyjson_doc_get_root(doc);
        assert_int_equal(count, yyjson_arr_size(array));
        for (size_t i = 0; i < count; i++) {
            yyjson_val *object = yyjson_arr_get(array, i);

            assert_slice(f->records[i].source->id, json_text(object, "container_id"));
            if (utf8_is_valid(slice_of(f->records[i].data, f->records[i].len)))
                assert_slice(slice_of(f->records[i].data, f->records[i].len),
                             json_text(object, "line"));
            assert_line_b64(&f->records[i], object);
        }
        yyjson_doc_free(doc);
    }
}

static void test_text_is_the_lines_as_they_are(void **state)
{
    struct codec_fixture *f = *state;
    struct slice rest;

    fixture_codec(f, &(struct codec_options){.kind = CODEC_TEXT});
    assert_string_equal("text/plain", codec_content_type(f->codec));
    fixture_add_kinds(f);
    fixture_encode(f);
    rest = buf_slice(&f->body);
    for (size_t i = 0; i < f->count; i++) {
        const struct record *r = &f->records[i];

        assert_true(rest.len > r->len);
        assert_slice(slice_of(r->data, r->len), slice_of(rest.data, r->len));
        assert_int_equal('\n', rest.data[r->len]);
        rest = slice_from(rest, r->len + 1);
    }
    assert_int_equal(0, rest.len);
}

static void test_the_same_records_give_the_same_body(void **state)
{
    struct codec_fixture *f = *state;

    fixture_add_kinds(f);
    fixture_add_random(f, 100);
    for (size_t i = 0; i < ARRAY_SIZE(every_codec); i++) {
        struct buf first;

        fixture_codec(f, &every_codec[i]);
        fixture_encode(f);
        first = f->body;
        f->body = (struct buf){0};
        fixture_encode(f);
        assert_slice(buf_slice(&first), buf_slice(&f->body));
        buf_finish(&first);
    }
}

static void test_a_source_that_is_gone_is_not_remembered(void **state)
{
    struct codec_fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(every_codec); i++) {
        if (every_codec[i].kind == CODEC_TEXT)
            continue;
        fixture_codec(f, &every_codec[i]);
        for (char digit = '0'; digit <= '9'; digit++) {
            char name[] = "container-x";
            struct record r = {.data = "x", .len = 1, .stream = RECORD_STDOUT};
            const struct record *p = &r;

            name[sizeof name - 2] = digit;
            r.source = source_create(slice_str("id"), slice_str(name), slice_str("image"));
            assert_non_null(r.source);
            assert_int_equal(0, codec_encode(f->codec, &p, 1, &f->body));
            if (every_codec[i].kind != CODEC_LOKI || digit < '9')
                assert_non_null(memmem(f->body.data, f->body.len, name, strlen(name)));
            /* The next one mostly gets the same address. */
            (void)source_unref(r.source);
        }
    }
}

static void test_a_request_is_bounded(void **state)
{
    struct codec_fixture *f = *state;
    const struct record **many = calloc(CODEC_RECORDS_MAX + 1, sizeof *many);
    struct record large = {.data = "", .source = f->sources[0], .stream = RECORD_STDOUT};

    assert_non_null(many);
    for (size_t i = 0; i <= CODEC_RECORDS_MAX; i++)
        many[i] = &large;
    fixture_codec(f, &(struct codec_options){.kind = CODEC_TEXT});
    assert_int_equal(0, codec_encode(f->codec, many, CODEC_RECORDS_MAX, &f->body));
    assert_int_equal(CODEC_RECORDS_MAX, f->body.len);
    assert_int_equal(-EMSGSIZE, codec_encode(f->codec, many, CODEC_RECORDS_MAX + 1, &f->body));
    assert_int_equal(0, f->body.len);
    assert_int_equal(-EINVAL, codec_encode(f->codec, many, 0, &f->body));
    /* The bytes are not there: only their number is looked at. */
    large.len = (uint32_t)(CODEC_PAYLOAD_MAX / 2 + 1);
    assert_int_equal(-EMSGSIZE, codec_encode(f->codec, many, 2, &f->body));
    free(many);
}

static void test_a_status_says_what_is_to_be_done(void **state)
{
    static const struct {
        int status;
        enum codec_outcome outcome;
    } rows[] = {
        {200, CODEC_DONE},      {201, CODEC_DONE},      {202, CODEC_DONE},
        {204, CODEC_DONE},      {299, CODEC_DONE},      {400, CODEC_SPLIT},
        {413, CODEC_SPLIT},     {422, CODEC_SPLIT},     {401, CODEC_SUSPENDED},
        {402, CODEC_SUSPENDED}, {403, CODEC_SUSPENDED}, {404, CODEC_SUSPENDED},
        {405, CODEC_SUSPENDED}, {407, CODEC_SUSPENDED}, {410, CODEC_SUSPENDED},
        {415, CODEC_SUSPENDED}, {499, CODEC_SUSPENDED}, {300, CODEC_SUSPENDED},
        {301, CODEC_SUSPENDED}, {308, CODEC_SUSPENDED}, {408, CODEC_AGAIN},
        {425, CODEC_AGAIN},     {429, CODEC_BUSY},      {500, CODEC_AGAIN},
        {502, CODEC_AGAIN},     {503, CODEC_BUSY},      {504, CODEC_AGAIN},
        {507, CODEC_AGAIN},     {599, CODEC_AGAIN},     {501, CODEC_SUSPENDED},
        {505, CODEC_SUSPENDED}, {0, CODEC_AGAIN},       {100, CODEC_AGAIN},
        {199, CODEC_AGAIN},     {600, CODEC_AGAIN},     {-1, CODEC_AGAIN},
        {99999, CODEC_AGAIN},
    };
    struct codec_fixture *f = *state;

    fixture_codec(f, &(struct codec_options){.kind = CODEC_NDJSON});
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct codec_judgement *j = fixture_judge(f, rows[i].status, "why", 3);

        assert_int_equal(rows[i].outcome, j->outcome);
        assert_int_equal(rows[i].outcome == CODEC_DONE ? 3 : 0, j->accepted);
        assert_int_equal(0, j->refused);
        assert_string_equal(rows[i].outcome == CODEC_DONE ? "" : "why", codec_reason(j, j->reason));
    }
}

static void test_no_codec_takes_a_failure_for_a_success(void **state)
{
    static const int statuses[] = {0, 100, 301, 400, 401, 403, 404, 408, 413, 422, 429, 500, 503};
    static const char *const bodies[] = {
        "",
        "{}",
        "{\"errors\":false,\"items\":[{\"create\":{\"status\":201}}]}",
        "{\"text\":\"Success\",\"code\":0}",
        "{\"partialSuccess\":{}}",
    };
    struct codec_fixture *f = *state;

    for (size_t c = 0; c < ARRAY_SIZE(every_codec); c++) {
        fixture_codec(f, &every_codec[c]);
        for (size_t s = 0; s < ARRAY_SIZE(statuses); s++) {
            for (size_t b = 0; b < ARRAY_SIZE(bodies); b++)
                assert_int_equal(0, fixture_judge(f, statuses[s], bodies[b], 1)->accepted);
        }
    }
}

static void test_one_record_that_is_refused_is_at_fault_itself(void **state)
{
    struct codec_fixture *f = *state;

    for (size_t c = 0; c < ARRAY_SIZE(every_codec); c++) {
        struct codec_judgement *j;

        fixture_codec(f, &every_codec[c]);
        for (size_t s = 0; s < 3; s++) {
            static const int statuses[] = {400, 413, 422};

            j = fixture_judge(f, statuses[s], "too\nlate", 1);
            assert_int_equal(CODEC_DONE, j->outcome);
            assert_int_equal(1, j->refused);
            assert_int_equal(statuses[s], j->verdicts[0].status);
            assert_string_equal("too late", fixture_reason(f, 0));
            j = fixture_judge(f, statuses[s], "too\nlate", 2);
            assert_int_equal(CODEC_SPLIT, j->outcome);
            assert_int_equal(2, j->retry);
        }
    }
}

/** Halves a request as a sink does, until each record has been settled. */
static size_t bisect(struct codec_fixture *f, const bool *bad, size_t from, size_t count,
                     size_t *ret_requests)
{
    bool any = false;
    struct codec_judgement *j;

    for (size_t i = from; i < from + count; i++)
        any |= bad[i];
    (*ret_requests)++;
    j = fixture_judge(f, any ? 400 : 204, any ? "entry too far behind" : "", count);
    if (j->outcome == CODEC_DONE)
        return j->refused;
    assert_int_equal(CODEC_SPLIT, j->outcome);
    return bisect(f, bad, from, count / 2, ret_requests) +
           bisect(f, bad, from + count / 2, count - count / 2, ret_requests);
}

static void test_bisecting_finds_the_one_line_in_500(void **state)
{
    struct codec_fixture *f = *state;
    bool bad[500] = {0};

    fixture_codec(f, &every_codec[CODEC_LOKI]);
    for (size_t at = 0; at < 500; at += 99) {
        size_t requests = 0;

        bad[at] = true;
        assert_int_equal(1, bisect(f, bad, 0, 500, &requests));
        assert_true(requests <= 2 * 10 + 1);
        bad[at] = false;
    }
}

static void test_a_reason_is_one_printable_line_and_bounded(void **state)
{
    struct codec_fixture *f = *state;
    char *large = malloc(100001);
    struct codec_judgement *j;

    fixture_codec(f, &(struct codec_options){.kind = CODEC_NDJSON});
    j = fixture_judge(f, 500, "  a\r\n\tb\x7f \xff \x1b[31mc  ", 1);
    assert_string_equal("a b \xef\xbf\xbd [31mc", codec_reason(j, j->reason));
    j = fixture_judge(f, 500, " \n", 1);
    assert_string_equal("", codec_reason(j, j->reason));
    assert_non_null(large);
    memset(large, 'x', 100000);
    large[100000] = '\0';
    for (size_t shift = 0; shift < 5; shift++) {
        const char *reason;

        memcpy(large + CODEC_REASON_MAX - shift, "\xf0\x9f\x90\xb3", 4);
        j = fixture_judge(f, 500, large, 1);
        reason = codec_reason(j, j->reason);
        assert_true(strlen(reason) <= CODEC_REASON_MAX);
        assert_true(strlen(reason) > CODEC_REASON_MAX - 4);
        assert_null(strstr(reason, "\xef\xbf\xbd"));
        assert_true(utf8_is_valid(slice_str(reason)));
        memset(large, 'x', 1000);
    }
    assert_string_equal("", codec_reason(j, 12345678));
    free(large);
}

static void test_retry_after_is_told_when_there_is_something_to_send(void **state)
{
    struct codec_fixture *f = *state;
    struct codec_judgement *j = &f->judgement;
    struct codec_reply reply = {.status = 429, .retry_after = slice_str("120")};

    fixture_codec(f, &(struct codec_options){.kind = CODEC_NDJSON});
    assert_int_equal(0, codec_judge(f->codec, &reply, 2, j));
    assert_int_equal(CODEC_BUSY, j->outcome);
    assert_int_equal(120000, j->retry_after_ms);
    reply.status = 503;
    reply.retry_after = slice_str("Fri, 31 Dec 1999 23:59:59 GMT");
    reply.now_ns = INT64_C(946684790) * NSEC_PER_SEC; /* nine seconds before */
    assert_int_equal(0, codec_judge(f->codec, &reply, 2, j));
    assert_int_equal(9000, j->retry_after_ms);
    reply.retry_after = slice_str("soon");
    assert_int_equal(0, codec_judge(f->codec, &reply, 2, j));
    assert_int_equal(-1, j->retry_after_ms);
    reply.status = 200;
    reply.retry_after = slice_str("120");
    assert_int_equal(0, codec_judge(f->codec, &reply, 2, j));
    assert_int_equal(-1, j->retry_after_ms);
}

static void test_a_codec_that_does_not_exist_is_refused(void **state)
{
    struct codec *c;
    char why[100];

    (void)state;
    assert_int_equal(-EINVAL, codec_create(&(struct codec_options){.kind = (enum codec_kind)99}, &c,
                                           why, sizeof why));
    assert_string_equal("no such codec", why);
    assert_null(codec_destroy(NULL));
}

#define TEST(test)                                                                                 \
    cmocka_unit_test_setup_teardown(test, codec_fixture_setup, codec_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ndjson_is_one_object_a_line),
        TEST(test_a_json_array_has_every_record_in_order),
        TEST(test_text_is_the_lines_as_they_are),
        TEST(test_the_same_records_give_the_same_body),
        TEST(test_a_source_that_is_gone_is_not_remembered),
        TEST(test_a_request_is_bounded),
        TEST(test_a_status_says_what_is_to_be_done),
        TEST(test_no_codec_takes_a_failure_for_a_success),
        TEST(test_one_record_that_is_refused_is_at_fault_itself),
        TEST(test_bisecting_finds_the_one_line_in_500),
        TEST(test_a_reason_is_one_printable_line_and_bounded),
        TEST(test_retry_after_is_told_when_there_is_something_to_send),
        cmocka_unit_test(test_a_codec_that_does_not_exist_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
