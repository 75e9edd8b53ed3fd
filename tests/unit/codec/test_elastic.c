/* The bulk API: actions and documents read back strictly, and replies item by item. */
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

#include "ringtail/base/timestamp.h"
#include "ringtail/record/identity.h"

static void make_codec(struct codec_fixture *f, const char *index)
{
    fixture_codec(f, &(struct codec_options){
                         .kind = CODEC_ELASTIC, .host = "host-1", .elastic_index = index});
}

/** Takes a line off `in`. */
static struct slice next_line(struct slice *in)
{
    const char *end = in->len > 0 ? memchr(in->data, '\n', in->len) : NULL;
    struct slice line;

    assert_non_null(end);
    line = slice_of(in->data, (size_t)(end - in->data));
    *in = slice_from(*in, line.len + 1);
    return line;
}

static void check_action(struct slice line, const struct record *r, const char *index)
{
    char id[RECORD_IDENTITY_LEN];
    yyjson_doc *doc = fixture_json(line);
    yyjson_val *root = yyjson_doc_get_root(doc), *create = yyjson_obj_get(root, "create");

    record_identity(r, id);
    assert_int_equal(1, yyjson_obj_size(root));
    assert_int_equal(2, yyjson_obj_size(create));
    assert_slice(slice_str(index), json_text(create, "_index"));
    assert_slice(slice_of(id, sizeof id), json_text(create, "_id"));
    yyjson_doc_free(doc);
}

static void check_document(struct slice line, const struct record *r)
{
    yyjson_doc *doc = fixture_json(line);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *container = yyjson_obj_get(root, "container"), *log = yyjson_obj_get(root, "log");
    bool partial = r->flags & RECORD_PARTIAL;
    int64_t ts_ns;

    assert_int_equal(0, timestamp_parse(json_text(root, "@timestamp"), &ts_ns));
    assert_int_equal(r->ts_ns, ts_ns);
    assert_lossy(r, json_text(root, "message"));
    assert_line_b64(r, root);
    assert_int_equal(yyjson_obj_get(root, "line_b64") ? 6 : 5, yyjson_obj_size(root));
    assert_int_equal(partial ? 2 : 1, yyjson_obj_size(log));
    assert_slice(slice_str(r->stream == RECORD_STDERR ? "stderr" : "stdout"),
                 json_text(log, "iostream"));
    assert_int_equal(partial, yyjson_is_true(yyjson_obj_get(log, "partial")));
    assert_int_equal(3, yyjson_obj_size(container));
    assert_slice(r->source->id, json_text(container, "id"));
    assert_slice(r->source->name, json_text(container, "name"));
    assert_slice(r->source->image, json_text(yyjson_obj_get(container, "image"), "name"));
    assert_slice(slice_str("host-1"), json_text(yyjson_obj_get(root, "host"), "name"));
    yyjson_doc_free(doc);
}

static void test_every_record_is_an_action_and_a_document(void **state)
{
    struct codec_fixture *f = *state;
    struct slice rest;

    make_codec(f, "logs-{year}.{month}.{day}");
    assert_string_equal("application/x-ndjson", codec_content_type(f->codec));
    assert_non_null(strstr(codec_path(f->codec), "/_bulk?filter_path=errors,items.*.status"));
    fixture_add_kinds(f);
    fixture_add_random(f, 400);
    fixture_encode(f);
    rest = buf_slice(&f->body);
    for (size_t i = 0; i < f->count; i++) {
        const struct record *r = &f->records[i];

        check_action(next_line(&rest), r, r->ts_ns ? "logs-2026.11.21" : "logs-1970.01.01");
        check_document(next_line(&rest), r);
    }
    assert_int_equal(0, rest.len);
}

static void test_the_index_is_always_a_name_that_is_allowed(void **state)
{
    static const struct {
        const char *index, *name, *expected;
    } rows[] = {
        {"{container_name}", "Web-1", "web-1"},
        {"{container_name}", "a/b\\c*d?e\"f<g>h|i j,k#l:m", "a_b_c_d_e_f_g_h_i_j_k_l_m"},
        {"{container_name}", "-x", "xx"},
        {"{container_name}", "_x", "xx"},
        {"{container_name}", "+x", "xx"},
        {"{container_name}", ".", "x"},
        {"{container_name}", "..", "x"},
        {"{container_name}", "", "x"},
        {"{container_name}", "\xc3\x9c", "x_"},
        {"Logs-{stream}-{host}", "x", "logs-stdout-host-1"},
        {"l-{date}", "x", "l-2026-11-21"},
    };
    struct codec_fixture *f = *state;
    struct record r = {.ts_ns = FIXTURE_TS, .data = "x", .len = 1, .stream = RECORD_STDOUT};
    const struct record *p = &r;
    char large[400];
    struct slice rest;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        make_codec(f, rows[i].index);
        r.source = source_create(slice_str("id"), slice_str(rows[i].name), slice_str("image"));
        assert_non_null(r.source);
        assert_int_equal(0, codec_encode(f->codec, &p, 1, &f->body));
        rest = buf_slice(&f->body);
        check_action(next_line(&rest), &r, rows[i].expected);
        (void)source_unref(r.source);
    }
    memset(large, 'n', sizeof large);
    make_codec(f, "{container_name}");
    r.source = source_create(slice_str("id"), slice_of(large, sizeof large), slice_str("image"));
    assert_non_null(r.source);
    assert_int_equal(0, codec_encode(f->codec, &p, 1, &f->body));
    large[255] = '\0';
    rest = buf_slice(&f->body);
    check_action(next_line(&rest), &r, large);
    (void)source_unref(r.source);
}

static void test_a_codec_without_an_index_is_refused(void **state)
{
    struct codec *c;
    char why[100] = "";

    (void)state;
    assert_int_equal(
        -EINVAL, codec_create(&(struct codec_options){.kind = CODEC_ELASTIC}, &c, why, sizeof why));
    assert_string_equal("an empty pattern", why);
}

static void test_a_success_is_one_for_every_item(void **state)
{
    struct codec_fixture *f = *state;
    struct codec_judgement *j;

    make_codec(f, "logs");
    j = fixture_judge(f, 200,
                      "{\"took\":30,\"errors\":false,\"items\":[{\"create\":{\"_index\":\"logs\","
                      "\"_id\":\"1\",\"_version\":1,\"result\":\"created\",\"status\":201}},"
                      "{\"create\":{\"status\":200}}]}",
                      2);
    assert_int_equal(CODEC_DONE, j->outcome);
    assert_int_equal(2, j->accepted);
    assert_int_equal(201, j->verdicts[0].status);
}

static void test_every_item_is_judged_by_itself(void **state)
{
    struct codec_fixture *f = *state;
    struct codec_judgement *j;

    make_codec(f, "logs");
    j = fixture_judge(
        f, 200,
        "{\"errors\":true,\"items\":["
        "{\"create\":{\"status\":201}},"
        "{\"create\":{\"status\":409,\"error\":{\"type\":\"version_conflict_engine_exception\","
        "\"reason\":\"[1]: version conflict, document already exists\"}}},"
        "{\"create\":{\"status\":400,\"error\":{\"type\":\"mapper_parsing_exception\","
        "\"reason\":\"failed to parse\"}}},"
        "{\"create\":{\"status\":500,\"error\":{\"type\":\"internal\"}}},"
        "{\"index\":{\"status\":201}}]}",
        5);
    assert_int_equal(CODEC_AGAIN, j->outcome);
    assert_int_equal(3, j->accepted);
    assert_int_equal(CODEC_ACCEPTED, j->verdicts[1].kind);
    assert_int_equal(CODEC_REFUSED, j->verdicts[2].kind);
    assert_int_equal(400, j->verdicts[2].status);
    assert_string_equal("mapper_parsing_exception: failed to parse", fixture_reason(f, 2));
    assert_string_equal("mapper_parsing_exception: failed to parse", codec_reason(j, j->reason));
    assert_int_equal(CODEC_RETRY, j->verdicts[3].kind);

    j = fixture_judge(f, 200,
                      "{\"errors\":true,\"items\":[{\"create\":{\"status\":409}},{\"create\":"
                      "{\"status\":400,\"error\":{\"type\":\"x\",\"reason\":\"y\"}}},"
                      "{\"create\":{\"status\":400,\"error\":{\"reason\":\"only\"}}},"
                      "{\"create\":{\"status\":400,\"error\":\"text\"}}]}",
                      4);
    assert_int_equal(CODEC_DONE, j->outcome);
    assert_int_equal(3, j->refused);
    assert_string_equal("x: y", fixture_reason(f, 1));
    assert_string_equal("only", fixture_reason(f, 2));
    assert_string_equal("", fixture_reason(f, 3));
}

static void test_an_item_too_many_is_busy_and_one_without_index_suspends(void **state)
{
    struct codec_fixture *f = *state;
    struct codec_judgement *j;

    make_codec(f, "logs");
    j = fixture_judge(
        f, 200,
        "{\"errors\":true,\"items\":[{\"create\":{\"status\":201}},{\"create\":"
        "{\"status\":429,\"error\":{\"type\":\"es_rejected_execution_exception\"}}}]}",
        2);
    assert_int_equal(CODEC_BUSY, j->outcome);
    assert_int_equal(1, j->accepted);
    assert_int_equal(1, j->retry);
    for (size_t i = 0; i < 4; i++) {
        static const char *const errors[] = {
            "\"status\":404,\"error\":{\"type\":\"index_not_found_exception\"}",
            "\"status\":403,\"error\":{\"type\":\"cluster_block_exception\"}",
            "\"status\":400,\"error\":{\"type\":\"index_closed_exception\"}",
            "\"status\":400,\"error\":{\"type\":\"invalid_index_name_exception\"}",
        };
        char body[300];

        (void)snprintf(
            body, sizeof body,
            "{\"errors\":true,\"items\":[{\"create\":{%s}},{\"create\":{\"status\":429}},"
            "{\"create\":{\"status\":201}}]}",
            errors[i]);
        j = fixture_judge(f, 200, body, 3);
        assert_int_equal(CODEC_SUSPENDED, j->outcome);
        assert_int_equal(1, j->accepted);
        assert_int_equal(2, j->retry);
        assert_true(strlen(codec_reason(j, j->reason)) > 10);
    }
}

static void test_what_is_no_reply_of_the_bulk_api_acknowledges_nothing(void **state)
{
    static const char *const bodies[] = {
        "",
        "<html>welcome</html>",
        "[]",
        "null",
        "{}",
        "{\"errors\":false}",
        "{\"errors\":false,\"items\":{}}",
        "{\"errors\":false,\"items\":[]}",
        "{\"errors\":false,\"items\":[{\"create\":{\"status\":201}}]}",
        "{\"errors\":false,\"items\":[{\"create\":{\"status\":201}},{\"create\":{\"status\":201}},"
        "{\"create\":{\"status\":201}}]}",
        "{\"items\":[{\"create\":{\"status\":201}},{\"create\":{\"status\":201}}]}",
        "{\"errors\":false,\"items\":[{\"create\":{\"status\":201}},{\"create\":{}}]}",
        "{\"errors\":false,\"items\":[{\"create\":{\"status\":201}},{}]}",
        "{\"errors\":false,\"items\":[{\"create\":{\"status\":201}},7]}",
        "{\"errors\":false,\"items\":[{\"create\":{\"status\":201}},{\"create\":7}]}",
        "{\"errors\":false,\"items\":[{\"create\":{\"status\":201}},{\"create\":{\"status\":"
        "\"201\"}}]}",
        "{\"errors\":false,\"items\":[{\"create\":{\"status\":201}},{\"create\":{\"status\":0}}]}",
        "{\"errors\":false,\"items\":[{\"create\":{\"status\":201}},{\"create\":{\"status\":-1}}]}",
        "{\"errors\":false,\"items\":[{\"create\":{\"status\":201}},{\"create\":"
        "{\"status\":4294967497}}]}",
        "{\"errors\":false,\"items\":[{\"create\":{\"status\":201}},{\"create\":{\"status\":201}}]",
        "{\"errors\":false,\"items\":[{\"create\":{\"status\":201}},{\"create\":{\"status\":201}}]}"
        "x",
    };
    struct codec_fixture *f = *state;

    make_codec(f, "logs");
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
        struct codec_judgement *j = fixture_judge(f, 200, bodies[i], 2);

        assert_int_equal(CODEC_AGAIN, j->outcome);
        assert_int_equal(2, j->retry);
        assert_non_null(strstr(codec_reason(j, j->reason), "not a reply of the bulk API"));
    }
}

static void test_a_reply_cut_anywhere_acknowledges_nothing(void **state)
{
    static const char body[] =
        "{\"errors\":true,\"items\":[{\"create\":{\"status\":201}},{\"create\":{\"status\":400,"
        "\"error\":{\"type\":\"x\",\"reason\":\"\\u00e9\"}}}]}";
    struct codec_fixture *f = *state;

    make_codec(f, "logs");
    for (size_t len = 0; len < sizeof body - 1; len++) {
        char *cut = strndup(body, len);

        assert_non_null(cut);
        assert_int_equal(2, fixture_judge(f, 200, cut, 2)->retry);
        free(cut);
    }
    assert_int_equal(1, fixture_judge(f, 200, body, 2)->accepted);
}

static void test_a_reply_is_read_up_to_its_bound_and_no_further(void **state)
{
    struct codec_fixture *f = *state;
    size_t max;
    struct buf body = {0};

    make_codec(f, "logs");
    max = codec_reply_max(f->codec, 1);
    assert_true(max >= 64 * 1024 && max < 1024 * 1024);
    assert_true(codec_reply_max(f->codec, 1000) > 1000 * 1024);
    assert_true(codec_reply_max(f->codec, SIZE_MAX) < (size_t)1 << 30);
    for (size_t over = 0; over < 2; over++) {
        static const char head[] = "{\"errors\":false,\"items\":[{\"create\":{\"status\":201}}]";

        buf_reset(&body);
        assert_int_equal(0, buf_append_str(&body, head));
        while (body.len < max - 1 + over)
            assert_int_equal(0, buf_append_char(&body, ' '));
        assert_int_equal(0, buf_append_str(&body, "}"));
        assert_non_null(buf_cstr(&body));
        assert_int_equal(over ? 0 : 1, fixture_judge(f, 200, body.data, 1)->accepted);
    }
    buf_finish(&body);
}

static void test_many_items_with_long_reasons_are_each_kept(void **state)
{
    struct codec_fixture *f = *state;
    struct buf body = {0};
    struct codec_judgement *j;
    char long_reason[1001];
    size_t count = 3000;

    make_codec(f, "logs");
    memset(long_reason, 'r', 1000);
    long_reason[1000] = '\0';
    assert_int_equal(0, buf_append_str(&body, "{\"errors\":true,\"items\":["));
    for (size_t i = 0; i < count; i++)
        assert_int_equal(0, buf_printf(&body,
                                       "%s{\"create\":{\"status\":400,\"error\":{\"type\":\"t%zu\","
                                       "\"reason\":\"%s\"}}}",
                                       i ? "," : "", i, long_reason));
    assert_int_equal(0, buf_append_str(&body, "]}"));
    assert_non_null(buf_cstr(&body));
    j = fixture_judge(f, 200, body.data, count);
    assert_int_equal(count, j->refused);
    assert_int_equal(CODEC_DONE, j->outcome);
    for (size_t i = 0; i < count; i++) {
        char expected[32];

        (void)snprintf(expected, sizeof expected, "t%zu: rrrr", i);
        assert_memory_equal(expected, fixture_reason(f, i), strlen(expected));
        assert_int_equal(CODEC_REASON_MAX, strlen(fixture_reason(f, i)));
    }
    buf_finish(&body);
}

#define TEST(test)                                                                                 \
    cmocka_unit_test_setup_teardown(test, codec_fixture_setup, codec_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_record_is_an_action_and_a_document),
        TEST(test_the_index_is_always_a_name_that_is_allowed),
        cmocka_unit_test(test_a_codec_without_an_index_is_refused),
        TEST(test_a_success_is_one_for_every_item),
        TEST(test_every_item_is_judged_by_itself),
        TEST(test_an_item_too_many_is_busy_and_one_without_index_suspends),
        TEST(test_what_is_no_reply_of_the_bulk_api_acknowledges_nothing),
        TEST(test_a_reply_cut_anywhere_acknowledges_nothing),
        TEST(test_a_reply_is_read_up_to_its_bound_and_no_further),
        TEST(test_many_items_with_long_reasons_are_each_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
