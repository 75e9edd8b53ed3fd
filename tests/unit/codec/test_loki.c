/* Loki's push: the body read back strictly, streams, order, and the bound on labels. */
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

#define LABELS "container={container_name},stream={stream},where=a b {host}"
#define METADATA "container_id={container_id_short},image={image},day={date}"

static void make_codec(struct codec_fixture *f, const char *labels, const char *metadata,
                       uint32_t values_max)
{
    fixture_codec(f, &(struct codec_options){
                         .kind = CODEC_LOKI,
                         .host = "host-1",
                         .loki_labels = labels,
                         .loki_metadata = metadata,
                         .loki_label_values_max = values_max,
                     });
}

static int64_t entry_time(yyjson_val *entry)
{
    yyjson_val *time = yyjson_arr_get(entry, 0);
    char *end;
    int64_t ns;

    assert_true(yyjson_is_str(time));
    ns = strtoll(yyjson_get_str(time), &end, 10);
    assert_int_equal('\0', *end);
    return ns;
}

/** Whether the stream is the record's. */
static bool is_stream_of(yyjson_val *labels, const struct record *r)
{
    const char *name = r->source->name.len > 0 ? r->source->name.data : "_none";

    return yyjson_equals_str(yyjson_obj_get(labels, "container"), name) &&
           yyjson_equals_str(yyjson_obj_get(labels, "stream"),
                             r->stream == RECORD_STDERR ? "stderr" : "stdout");
}

/** Finds the entry of the record: the first one not yet used of its stream, time and text. */
static yyjson_val *find_entry(yyjson_val *streams, const struct record *r, bool *used, size_t *at)
{
    yyjson_arr_iter each_stream = yyjson_arr_iter_with(streams);
    yyjson_val *stream;
    size_t number = 0;

    while ((stream = yyjson_arr_iter_next(&each_stream))) {
        yyjson_arr_iter each = yyjson_arr_iter_with(yyjson_obj_get(stream, "values"));
        yyjson_val *entry;

        for (; (entry = yyjson_arr_iter_next(&each)); number++) {
            if (used[number] || !is_stream_of(yyjson_obj_get(stream, "stream"), r) ||
                entry_time(entry) != r->ts_ns)
                continue;
            *at = number;
            return entry;
        }
    }
    return NULL;
}

/** Every record is there once, no entry beside, streams are distinct and in order of time. */
static void check_body(struct codec_fixture *f)
{
    yyjson_doc *doc = fixture_json(buf_slice(&f->body));
    yyjson_val *root = yyjson_doc_get_root(doc), *streams = yyjson_obj_get(root, "streams");
    bool used[FIXTURE_RECORDS_MAX] = {0};
    size_t entries = 0;

    assert_int_equal(1, yyjson_obj_size(root));
    for (size_t i = 0; i < yyjson_arr_size(streams); i++) {
        yyjson_val *stream = yyjson_arr_get(streams, i);
        yyjson_val *labels = yyjson_obj_get(stream, "stream");
        yyjson_val *values = yyjson_obj_get(stream, "values");

        assert_int_equal(2, yyjson_obj_size(stream));
        assert_int_equal(3, yyjson_obj_size(labels));
        assert_slice(slice_str("a b host-1"), json_text(labels, "where"));
        for (size_t k = 0; k < i; k++)
            assert_false(
                yyjson_equals(labels, yyjson_obj_get(yyjson_arr_get(streams, k), "stream")));
        assert_true(yyjson_arr_size(values) > 0);
        for (size_t k = 1; k < yyjson_arr_size(values); k++)
            assert_true(entry_time(yyjson_arr_get(values, k - 1)) <=
                        entry_time(yyjson_arr_get(values, k)));
        entries += yyjson_arr_size(values);
    }
    assert_int_equal(f->count, entries);
    for (size_t i = 0; i < f->count; i++) {
        const struct record *r = &f->records[i];
        size_t at = 0;
        yyjson_val *entry = find_entry(streams, r, used, &at), *metadata, *line;

        /* In order where times are equal, so the first one left is the record's. */
        assert_non_null(entry);
        used[at] = true;
        assert_int_equal(3, yyjson_arr_size(entry));
        line = yyjson_arr_get(entry, 1);
        assert_lossy(r, slice_of(yyjson_get_str(line), yyjson_get_len(line)));
        metadata = yyjson_arr_get(entry, 2);
        assert_int_equal(3, yyjson_obj_size(metadata));
        assert_slice(slice_of(r->source->id.data, 12), json_text(metadata, "container_id"));
        assert_slice(r->source->image.len > 0 ? r->source->image : slice_str("_none"),
                     json_text(metadata, "image"));
        assert_slice(slice_str(r->ts_ns ? "2026-11-21" : "1970-01-01"), json_text(metadata, "day"));
    }
    yyjson_doc_free(doc);
}

static void test_every_line_of_every_kind_is_in_its_stream(void **state)
{
    struct codec_fixture *f = *state;

    make_codec(f, LABELS, METADATA, 100);
    assert_string_equal("application/json", codec_content_type(f->codec));
    assert_string_equal("/loki/api/v1/push", codec_path(f->codec));
    fixture_add_kinds(f);
    fixture_encode(f);
    check_body(f);
}

static void test_random_records_come_back_ordered_by_time(void **state)
{
    struct codec_fixture *f = *state;

    make_codec(f, LABELS, METADATA, 100);
    for (size_t round = 0; round < 10; round++) {
        fixture_clear(f);
        fixture_add_random(f, 1 + round * 60);
        fixture_encode(f);
        check_body(f);
    }
    assert_int_equal(0, codec_labels_replaced(f->codec));
}

static void test_the_text_is_exactly_as_documented(void **state)
{
    struct codec_fixture *f = *state;

    make_codec(f, " container = {container_name} , job=ringtail", NULL, 10);
    fixture_add(f, 0, RECORD_STDOUT, 1700000000000000002, slice_str("b"));
    fixture_add(f, 1, RECORD_STDOUT, 1700000000000000001, slice_str("c"));
    fixture_add(f, 0, RECORD_STDERR, 1700000000000000001, slice_str("a\n\"x\""));
    fixture_encode(f);
    assert_slice(slice_str("{\"streams\":[{\"stream\":{\"container\":\"web\",\"job\":\"ringtail\"},"
                           "\"values\":[[\"1700000000000000001\",\"a\\n\\\"x\\\"\"],"
                           "[\"1700000000000000002\",\"b\"]]},"
                           "{\"stream\":{\"container\":\"data\\\"base\",\"job\":\"ringtail\"},"
                           "\"values\":[[\"1700000000000000001\",\"c\"]]}]}"),
                 buf_slice(&f->body));
}

/** Encodes one record of a container with that name; returns the name of its stream. */
static const char *label_of(struct codec_fixture *f, const char *name, char out[64])
{
    struct source *source = source_create(slice_str("id"), slice_str(name), slice_str("image"));
    struct record r = {.data = "x", .len = 1, .stream = RECORD_STDOUT, .source = source};
    const struct record *p = &r;
    yyjson_doc *doc;
    yyjson_val *labels;
    struct slice value;

    assert_non_null(source);
    assert_int_equal(0, codec_encode(f->codec, &p, 1, &f->body));
    doc = fixture_json(buf_slice(&f->body));
    labels = yyjson_obj_get(yyjson_arr_get(yyjson_obj_get(yyjson_doc_get_root(doc), "streams"), 0),
                            "stream");
    value = json_text(labels, "c");
    assert_true(value.len < 64);
    memcpy(out, value.data, value.len + 1);
    yyjson_doc_free(doc);
    (void)source_unref(source);
    return out;
}

static void test_a_label_has_no_more_values_than_its_bound(void **state)
{
    struct codec_fixture *f = *state;
    char text[64], name[16];

    make_codec(f, "c={container_name}", NULL, 3);
    for (int i = 0; i < 10; i++) {
        (void)snprintf(name, sizeof name, "n%d", i);
        assert_string_equal(i < 3 ? name : CODEC_LABEL_OTHER, label_of(f, name, text));
    }
    assert_int_equal(7, codec_labels_replaced(f->codec));
    /* Those that are in stay in. */
    assert_string_equal("n1", label_of(f, "n1", text));
    assert_string_equal(CODEC_LABEL_OTHER, label_of(f, "n9", text));
    assert_int_equal(8, codec_labels_replaced(f->codec));
    codec_forget_labels(f->codec);
    assert_string_equal("n9", label_of(f, "n9", text));
    assert_int_equal(8, codec_labels_replaced(f->codec));
}

static void test_every_record_with_a_replaced_label_is_counted(void **state)
{
    struct codec_fixture *f = *state;

    make_codec(f, "c={container_name},i={image},s={stream}", NULL, 1);
    fixture_add(f, 0, RECORD_STDOUT, 1, slice_str("a"));
    fixture_add(f, 1, RECORD_STDOUT, 1, slice_str("b"));
    fixture_add(f, 1, RECORD_STDOUT, 1, slice_str("c"));
    fixture_add(f, 1, RECORD_STDERR, 1, slice_str("d"));
    fixture_encode(f);
    assert_int_equal(2 + 2 + 3, codec_labels_replaced(f->codec));
    assert_non_null(buf_cstr(&f->body));
    assert_non_null(strstr(f->body.data, "{\"c\":\"_other\",\"i\":\"_other\",\"s\":\"stdout\"}"));
}

static void test_a_long_value_is_cut_between_characters(void **state)
{
    struct codec_fixture *f = *state;
    char name[2001];

    make_codec(f, "c={container_name}", NULL, 10);
    for (size_t shift = 0; shift < 3; shift++) {
        struct record r = {.data = "x", .len = 1, .stream = RECORD_STDOUT};
        const struct record *p = &r;
        yyjson_doc *doc;
        yyjson_val *stream;
        size_t len;

        for (size_t i = 0; i < 2000; i++)
            name[i] = i < shift ? 'x' : "\xe2\x82\xac"[(i - shift) % 3];
        name[2000] = '\0';
        r.source = source_create(slice_str("id"), slice_str(name), slice_str("image"));
        assert_non_null(r.source);
        assert_int_equal(0, codec_encode(f->codec, &p, 1, &f->body));
        doc = fixture_json(buf_slice(&f->body));
        stream = yyjson_obj_get(
            yyjson_arr_get(yyjson_obj_get(yyjson_doc_get_root(doc), "streams"), 0), "stream");
        len = yyjson_get_len(yyjson_obj_get(stream, "c"));
        assert_true(len > 1024 - 3 && len <= 1024);
        assert_slice(slice_of(name, len), json_text(stream, "c"));
        yyjson_doc_free(doc);
        (void)source_unref(r.source);
    }
}

static void test_options_that_loki_would_refuse_are_refused(void **state)
{
    static const struct {
        const char *labels, *metadata, *why;
    } rows[] = {
        {NULL, NULL, "Loki needs at least one label"},
        {"", NULL, "Loki needs at least one label"},
        {"a", NULL, "a label is written name=pattern"},
        {"a=b,", "c", "a label is written name=pattern"},
        {",a=b", NULL, "a label is written name=pattern"},
        {"a=", NULL, "an empty pattern"},
        {"=b", NULL, "\"\" is not the name of a label"},
        {"9a=b", NULL, "\"9a\" is not the name of a label"},
        {"a-b=b", NULL, "\"a-b\" is not the name of a label"},
        {"__a=b", NULL, "\"__a\" is not the name of a label"},
        {"a=b,a=c", NULL, "label a twice"},
        {"a=b", "x=1,x=2", "label x twice"},
        {"a={date}", NULL, "label a has a time in it: that never ends"},
        {"a={nonsense}", NULL, NULL},
        {"a={image", NULL, "a brace without its other one"},
        {"a=image}", NULL, "a brace without its other one"},
        {"a=x\ty", NULL, "a control character"},
        {"a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1,l=1,m=1,n=1,o=1,p=1", NULL,
         "more than 15 labels"},
        {"a=x{day}x{day}x{day}x{day}x{day}x{day}x{day}x{day}x", NULL, "more than 16 parts"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct codec *c;
        char why[300] = "";

        assert_int_equal(-EINVAL, codec_create(
                                      &(struct codec_options){
                                          .kind = CODEC_LOKI,
                                          .loki_labels = rows[i].labels,
                                          .loki_metadata = rows[i].metadata,
                                          .loki_label_values_max = 1,
                                      },
                                      &c, why, sizeof why));
        if (rows[i].why)
            assert_string_equal(rows[i].why, why);
        else
            assert_non_null(strstr(why, "unknown placeholder {nonsense}"));
    }
}

static void test_loki_s_answers_are_understood(void **state)
{
    struct codec_fixture *f = *state;
    struct codec_judgement *j;

    make_codec(f, LABELS, METADATA, 10);
    j = fixture_judge(f, 204, "", 5);
    assert_int_equal(CODEC_DONE, j->outcome);
    assert_int_equal(5, j->accepted);
    j = fixture_judge(f, 400, "entry for stream '{a=\"b\"}' has timestamp too old", 5);
    assert_int_equal(CODEC_SPLIT, j->outcome);
    j = fixture_judge(f, 429, "Ingestion rate limit exceeded for user fake", 5);
    assert_int_equal(CODEC_BUSY, j->outcome);
    assert_string_equal("Ingestion rate limit exceeded for user fake", codec_reason(j, j->reason));
    j = fixture_judge(f, 401, "no org id", 5);
    assert_int_equal(CODEC_SUSPENDED, j->outcome);
    assert_int_equal(5, j->retry);
}

#define TEST(test)                                                                                 \
    cmocka_unit_test_setup_teardown(test, codec_fixture_setup, codec_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_line_of_every_kind_is_in_its_stream),
        TEST(test_random_records_come_back_ordered_by_time),
        TEST(test_the_text_is_exactly_as_documented),
        TEST(test_a_label_has_no_more_values_than_its_bound),
        TEST(test_every_record_with_a_replaced_label_is_counted),
        TEST(test_a_long_value_is_cut_between_characters),
        cmocka_unit_test(test_options_that_loki_would_refuse_are_refused),
        TEST(test_loki_s_answers_are_understood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
