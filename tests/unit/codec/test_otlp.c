/*
 * OTLP in both encodings. What was encoded is read back by readers of the test's own, strictly: any
 * field that is not expected, or not in its place, fails. The same checks run on both.
 */
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
#include "ringtail/record/identity.h"

/** One log record as it was read, and the resource that it stands under. */
struct log {
    struct slice container_id, container_name, image, host;
    uint64_t time, observed;
    bool has_text, has_bytes;
    struct slice body; /* base64 in JSON */
    struct slice iostream, uid;
    bool partial;
};

struct logs {
    struct log items[FIXTURE_RECORDS_MAX];
    size_t count, resources;
    bool is_json;
    yyjson_doc *doc; /* whose strings the items lend */
};

static void take_resource_attribute(struct log *log, struct slice key, struct slice value)
{
    struct slice *place = slice_eq_str(key, "container.id")           ? &log->container_id
                          : slice_eq_str(key, "container.name")       ? &log->container_name
                          : slice_eq_str(key, "container.image.name") ? &log->image
                          : slice_eq_str(key, "host.name")            ? &log->host
                                                                      : NULL;

    assert_non_null(place);
    assert_null(place->data);
    *place = value;
}

static void take_log_attribute(struct log *log, struct slice key, struct slice value)
{
    struct slice *place = slice_eq_str(key, "log.iostream")     ? &log->iostream
                          : slice_eq_str(key, "log.record.uid") ? &log->uid
                                                                : NULL;

    assert_non_null(place);
    assert_null(place->data);
    *place = value;
}

/* A reader of JSON. */

static uint64_t json_number(yyjson_val *object, const char *key)
{
    struct slice text = json_text(object, key);
    char *end;
    uint64_t n = strtoull(text.data, &end, 10);

    assert_int_equal('\0', *end);
    return n;
}

static void read_json_log(struct logs *logs, const struct log *resource, yyjson_val *record)
{
    struct log *log = &logs->items[logs->count++];
    yyjson_val *attributes = yyjson_obj_get(record, "attributes");
    yyjson_val *body = yyjson_obj_get(record, "body");

    *log = *resource;
    assert_int_equal(4, yyjson_obj_size(record));
    log->time = json_number(record, "timeUnixNano");
    log->observed = json_number(record, "observedTimeUnixNano");
    assert_int_equal(1, yyjson_obj_size(body));
    log->has_text = yyjson_obj_get(body, "stringValue");
    log->has_bytes = yyjson_obj_get(body, "bytesValue");
    log->body = json_text(body, log->has_text ? "stringValue" : "bytesValue");
    for (size_t i = 0; i < yyjson_arr_size(attributes); i++) {
        yyjson_val *pair = yyjson_arr_get(attributes, i);
        yyjson_val *value = yyjson_obj_get(pair, "value");

        assert_int_equal(2, yyjson_obj_size(pair));
        assert_int_equal(1, yyjson_obj_size(value));
        if (slice_eq_str(json_text(pair, "key"), "ringtail.partial")) {
            assert_true(yyjson_is_true(yyjson_obj_get(value, "boolValue")));
            log->partial = true;
        } else {
            take_log_attribute(log, json_text(pair, "key"), json_text(value, "stringValue"));
        }
    }
}

static void read_json(struct slice text, struct logs *logs)
{
    yyjson_val *root, *all;

    logs->is_json = true;
    logs->doc = fixture_json(text);
    root = yyjson_doc_get_root(logs->doc);
    assert_int_equal(1, yyjson_obj_size(root));
    all = yyjson_obj_get(root, "resourceLogs");
    logs->resources = yyjson_arr_size(all);
    for (size_t i = 0; i < logs->resources; i++) {
        yyjson_val *one = yyjson_arr_get(all, i);
        yyjson_val *attributes = yyjson_obj_get(yyjson_obj_get(one, "resource"), "attributes");
        yyjson_val *scopes = yyjson_obj_get(one, "scopeLogs"), *scope, *records;
        struct log resource = {0};

        assert_int_equal(2, yyjson_obj_size(one));
        for (size_t k = 0; k < yyjson_arr_size(attributes); k++) {
            yyjson_val *pair = yyjson_arr_get(attributes, k);

            take_resource_attribute(&resource, json_text(pair, "key"),
                                    json_text(yyjson_obj_get(pair, "value"), "stringValue"));
        }
        assert_int_equal(1, yyjson_arr_size(scopes));
        scope = yyjson_obj_get(yyjson_arr_get(scopes, 0), "scope");
        assert_slice(slice_str("ringtail"), json_text(scope, "name"));
        assert_slice(slice_str(RINGTAIL_VERSION), json_text(scope, "version"));
        records = yyjson_obj_get(yyjson_arr_get(scopes, 0), "logRecords");
        assert_true(yyjson_arr_size(records) > 0);
        for (size_t k = 0; k < yyjson_arr_size(records); k++)
            read_json_log(logs, &resource, yyjson_arr_get(records, k));
    }
}

/* A reader of protobuf, made from the description of the encoding and not from ringtail's. */

#define VARINT 0
#define FIXED64 1
#define BYTES 2

static uint64_t read_varint(struct slice *in)
{
    uint64_t n = 0;

    for (unsigned shift = 0;; shift += 7) {
        unsigned char byte;

        assert_true(in->len > 0 && shift < 64);
        byte = (unsigned char)in->data[0];
        *in = slice_from(*in, 1);
        n += (uint64_t)(byte % 128) << shift;
        if (byte < 128) {
            /* The shortest form: no zeros behind. */
            assert_true(byte != 0 || shift == 0);
            return n;
        }
    }
}

/** The next field's number; its wire type has to be `type_of[number]`. */
static unsigned read_head(struct slice *in, const int *type_of, unsigned numbers)
{
    uint64_t head = read_varint(in);

    assert_true(head / 8 > 0 && head / 8 < numbers);
    assert_int_equal(type_of[head / 8], (int)(head % 8));
    return (unsigned)(head / 8);
}

static struct slice read_bytes(struct slice *in)
{
    uint64_t len = read_varint(in);
    struct slice bytes = slice_of(in->data, len);

    assert_true(len <= in->len);
    *in = slice_from(*in, len);
    return bytes;
}

static uint64_t read_fixed64(struct slice *in)
{
    uint64_t n = 0;

    assert_true(in->len >= 8);
    for (unsigned i = 0; i < 8; i++)
        n |= (uint64_t)(unsigned char)in->data[i] << (8 * i);
    *in = slice_from(*in, 8);
    return n;
}

static struct slice read_text(struct slice *in)
{
    struct slice text = read_bytes(in);

    assert_true(utf8_is_valid(text));
    return text;
}

/** A KeyValue: the key, and the AnyValue's one field, of which text or a bool is expected. */
static struct slice read_pair(struct slice in, struct slice *ret_value, bool *ret_is_true)
{
    static const int types[] = {[1] = BYTES, [2] = BYTES};
    static const int any_types[] = {[1] = BYTES, [2] = VARINT};
    struct slice key, any;

    assert_int_equal(1, read_head(&in, types, ARRAY_SIZE(types)));
    key = read_text(&in);
    assert_int_equal(2, read_head(&in, types, ARRAY_SIZE(types)));
    any = read_bytes(&in);
    assert_int_equal(0, in.len);
    *ret_is_true = false;
    *ret_value = (struct slice){0};
    if (read_head(&any, any_types, ARRAY_SIZE(any_types)) == 1)
        *ret_value = read_text(&any);
    else
        *ret_is_true = read_varint(&any) == 1;
    assert_int_equal(0, any.len);
    return key;
}

static void read_binary_log(struct logs *logs, const struct log *resource, struct slice in)
{
    static const int types[] = {
        [1] = FIXED64, [2] = -1, [3] = -1, [4] = -1,  [5] = BYTES,    [6] = BYTES,
        [7] = -1,      [8] = -1, [9] = -1, [10] = -1, [11] = FIXED64,
    };
    static const int any_types[] = {
        [1] = BYTES, [2] = -1, [3] = -1, [4] = -1, [5] = -1, [6] = -1, [7] = BYTES,
    };
    struct log *log = &logs->items[logs->count++];

    *log = *resource;
    while (in.len > 0) {
        struct slice body, value;
        bool is_true;

        switch (read_head(&in, types, ARRAY_SIZE(types))) {
        case 1:
            log->time = read_fixed64(&in);
            break;
        case 5:
            body = read_bytes(&in);
            assert_false(log->has_text || log->has_bytes);
            if (read_head(&body, any_types, ARRAY_SIZE(any_types)) == 1)
                log->has_text = true;
            else
                log->has_bytes = true;
            log->body = log->has_text ? read_text(&body) : read_bytes(&body);
            assert_int_equal(0, body.len);
            break;
        case 6: {
            struct slice key = read_pair(read_bytes(&in), &value, &is_true);

            if (slice_eq_str(key, "ringtail.partial"))
                log->partial = is_true;
            else
                take_log_attribute(log, key, value);
            break;
        }
        default:
            log->observed = read_fixed64(&in);
            break;
        }
    }
}

static void read_binary_resource_logs(struct logs *logs, struct slice in)
{
    static const int types[] = {[1] = BYTES, [2] = BYTES};
    static const int resource_types[] = {[1] = BYTES};
    struct slice resource, scope_logs, scope;
    struct log log = {0};
    bool is_true;

    assert_int_equal(1, read_head(&in, types, ARRAY_SIZE(types)));
    resource = read_bytes(&in);
    assert_int_equal(2, read_head(&in, types, ARRAY_SIZE(types)));
    scope_logs = read_bytes(&in);
    assert_int_equal(0, in.len);
    while (resource.len > 0) {
        struct slice key, value;

        (void)read_head(&resource, resource_types, ARRAY_SIZE(resource_types));
        key = read_pair(read_bytes(&resource), &value, &is_true);
        take_resource_attribute(&log, key, value);
    }
    assert_int_equal(1, read_head(&scope_logs, types, ARRAY_SIZE(types)));
    scope = read_bytes(&scope_logs);
    assert_int_equal(1, read_head(&scope, types, ARRAY_SIZE(types)));
    assert_slice(slice_str("ringtail"), read_text(&scope));
    assert_int_equal(2, read_head(&scope, types, ARRAY_SIZE(types)));
    assert_slice(slice_str(RINGTAIL_VERSION), read_text(&scope));
    assert_int_equal(0, scope.len);
    assert_true(scope_logs.len > 0);
    while (scope_logs.len > 0) {
        assert_int_equal(2, read_head(&scope_logs, types, ARRAY_SIZE(types)));
        read_binary_log(logs, &log, read_bytes(&scope_logs));
    }
}

static void read_binary(struct slice in, struct logs *logs)
{
    static const int types[] = {[1] = BYTES};

    while (in.len > 0) {
        (void)read_head(&in, types, ARRAY_SIZE(types));
        read_binary_resource_logs(logs, read_bytes(&in));
        logs->resources++;
    }
}

/* What both have to say. */

static void assert_body(const struct logs *logs, const struct log *log, const struct record *r)
{
    struct slice line = slice_of(r->data, r->len);
    char *text;

    assert_int_equal(utf8_is_valid(line), log->has_text);
    assert_int_equal(!utf8_is_valid(line), log->has_bytes);
    if (log->has_text || !logs->is_json) {
        assert_slice(line, log->body);
        return;
    }
    text = malloc(BASE64_LEN(line.len));
    assert_non_null(text);
    assert_slice(slice_of(text, (size_t)(base64_encode(text, line) - text)), log->body);
    free(text);
}

static void check_logs(struct codec_fixture *f, const struct logs *logs, const char *host)
{
    size_t last_of[FIXTURE_SOURCES] = {0};
    bool has_last[FIXTURE_SOURCES] = {0};

    assert_int_equal(f->count, logs->count);
    for (size_t i = 0; i < logs->count; i++) {
        const struct log *log = &logs->items[i];
        const struct record *r = NULL;
        size_t n, source = 0;

        for (n = 0; n < f->count && !r; n++) {
            char id[RECORD_IDENTITY_LEN];

            record_identity(&f->records[n], id);
            if (slice_eq(slice_of(id, sizeof id), log->uid))
                r = &f->records[n];
        }
        assert_non_null(r);
        while (f->sources[source] != r->source)
            source++;
        /* In order within a container. */
        assert_true(!has_last[source] || n > last_of[source]);
        has_last[source] = true;
        last_of[source] = n;
        assert_slice(r->source->id, log->container_id);
        assert_slice(r->source->name, log->container_name);
        assert_slice(r->source->image, log->image);
        assert_slice(slice_str(host), log->host);
        assert_int_equal(r->ts_ns, log->time);
        assert_int_equal(r->ts_ns, log->observed);
        assert_slice(slice_str(r->stream == RECORD_STDERR ? "stderr" : "stdout"), log->iostream);
        assert_int_equal((r->flags & RECORD_PARTIAL) != 0, log->partial);
        assert_body(logs, log, r);
    }
}

static void check_both(struct codec_fixture *f, const char *host)
{
    for (size_t i = 0; i < 2; i++) {
        struct logs *logs = calloc(1, sizeof *logs);

        assert_non_null(logs);
        fixture_codec(f, &(struct codec_options){
                             .kind = i == 0 ? CODEC_OTLP_JSON : CODEC_OTLP_PROTOBUF, .host = host});
        assert_string_equal("/v1/logs", codec_path(f->codec));
        assert_string_equal(i == 0 ? "application/json" : "application/x-protobuf",
                            codec_content_type(f->codec));
        fixture_encode(f);
        if (i == 0)
            read_json(buf_slice(&f->body), logs);
        else
            read_binary(buf_slice(&f->body), logs);
        assert_true(logs->resources <= FIXTURE_SOURCES);
        check_logs(f, logs, host);
        yyjson_doc_free(logs->doc);
        free(logs);
    }
}

static void test_every_line_of_every_kind_comes_back(void **state)
{
    struct codec_fixture *f = *state;

    fixture_add_kinds(f);
    check_both(f, "host-1");
    check_both(f, "");
}

static void test_random_records_come_back(void **state)
{
    struct codec_fixture *f = *state;

    for (size_t round = 0; round < 10; round++) {
        fixture_clear(f);
        fixture_add_random(f, 1 + round * 50);
        check_both(f, "h");
    }
}

/* Every length around those where a length needs one byte more, of a line and of all that it is in.
 */
static void test_every_length_of_a_line_is_framed_right(void **state)
{
    struct codec_fixture *f = *state;
    size_t len = 0;

    while (len < 70000) {
        char *line = malloc(len + 1);

        assert_non_null(line);
        memset(line, 'x', len + 1);
        fixture_clear(f);
        fixture_add(f, 0, RECORD_STDOUT, FIXTURE_TS, slice_of(line, len));
        check_both(f, "");
        free(line);
        len += len < 300 || (len > 16000 && len < 16500) ? 1 : 501;
    }
}

static void test_containers_that_are_named_alike_are_one_resource(void **state)
{
    struct codec_fixture *f = *state;
    struct source *again =
        source_create(f->sources[0]->id, f->sources[0]->name, f->sources[0]->image);
    struct logs *logs = calloc(1, sizeof *logs);

    assert_non_null(again);
    assert_non_null(logs);
    fixture_codec(f, &(struct codec_options){.kind = CODEC_OTLP_PROTOBUF});
    fixture_add(f, 0, RECORD_STDOUT, FIXTURE_TS, slice_str("a"));
    fixture_add(f, 1, RECORD_STDOUT, FIXTURE_TS, slice_str("b"));
    fixture_add(f, 0, RECORD_STDOUT, FIXTURE_TS, slice_str("c"))->source = again;
    fixture_encode(f);
    read_binary(buf_slice(&f->body), logs);
    assert_int_equal(2, logs->resources);
    assert_int_equal(3, logs->count);
    assert_slice(slice_str("c"), logs->items[1].body);
    free(logs);
    (void)source_unref(again);
}

static void test_a_name_that_is_not_utf8_is_text_all_the_same(void **state)
{
    struct codec_fixture *f = *state;
    struct source *odd = source_create(slice_str("id"), slice_str("n\xff"), slice_str("\xc3"));

    assert_non_null(odd);
    for (size_t i = 0; i < 2; i++) {
        struct logs *logs = calloc(1, sizeof *logs);

        assert_non_null(logs);
        fixture_clear(f);
        fixture_add(f, 0, RECORD_STDOUT, FIXTURE_TS, slice_str("a"))->source = odd;
        fixture_codec(
            f, &(struct codec_options){.kind = i == 0 ? CODEC_OTLP_JSON : CODEC_OTLP_PROTOBUF});
        fixture_encode(f);
        if (i == 0)
            read_json(buf_slice(&f->body), logs);
        else
            read_binary(buf_slice(&f->body), logs);
        assert_slice(slice_str("n\xef\xbf\xbd"), logs->items[0].container_name);
        assert_slice(slice_str("\xef\xbf\xbd"), logs->items[0].image);
        yyjson_doc_free(logs->doc);
        free(logs);
    }
    (void)source_unref(odd);
}

/* Replies. */

static struct codec_judgement *judge_bytes(struct codec_fixture *f, struct slice body, size_t count)
{
    struct codec_reply reply = {.status = 200, .body = body};

    assert_int_equal(0, codec_judge(f->codec, &reply, count, &f->judgement));
    return &f->judgement;
}

static void test_a_full_success_is_one_in_either_encoding(void **state)
{
    static const char *const bodies[] = {
        "",
        "{}",
        "{\"partialSuccess\":null}",
        "{\"partialSuccess\":{}}",
        "{\"partialSuccess\":{\"rejectedLogRecords\":\"0\"}}",
        "{\"partialSuccess\":{\"rejectedLogRecords\":0,\"errorMessage\":\"\"},\"unknown\":[1]}",
    };
    struct codec_fixture *f = *state;

    for (size_t kind = 0; kind < 2; kind++) {
        fixture_codec(
            f, &(struct codec_options){.kind = kind == 0 ? CODEC_OTLP_JSON : CODEC_OTLP_PROTOBUF});
        for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
            struct codec_judgement *j = fixture_judge(f, 200, bodies[i], 4);

            assert_int_equal(CODEC_DONE, j->outcome);
            assert_int_equal(4, j->accepted);
            assert_int_equal(0, j->dropped_unnamed);
        }
    }
    assert_int_equal(4, judge_bytes(f, slice_of("\x0a\x00", 2), 4)->accepted);
    assert_int_equal(4, judge_bytes(f, slice_of("\x0a\x02\x08\x00", 4), 4)->accepted);
    /* Fields of a later version are passed over. */
    assert_int_equal(4, judge_bytes(f,
                                    slice_of("\x10\x05\x1a\x01x\x25"
                                             "abcd\x29"
                                             "abcdefgh",
                                             19),
                                    4)
                            ->accepted);
}

static void test_a_warning_is_told_and_nothing_is_lost(void **state)
{
    struct codec_fixture *f = *state;
    struct codec_judgement *j;

    fixture_codec(f, &(struct codec_options){.kind = CODEC_OTLP_PROTOBUF});
    j = judge_bytes(f, slice_of("\x0a\x06\x12\x04slow", 8), 2);
    assert_int_equal(CODEC_DONE, j->outcome);
    assert_int_equal(2, j->accepted);
    assert_int_equal(0, j->dropped_unnamed);
    assert_string_equal("slow", codec_reason(j, j->reason));
}

static void test_records_rejected_without_a_name_are_counted_and_not_sent_again(void **state)
{
    struct codec_fixture *f = *state;
    struct codec_judgement *j;

    for (size_t kind = 0; kind < 2; kind++) {
        static const char json[] = "{\"partialSuccess\":{\"rejectedLogRecords\":\"3\","
                                   "\"errorMessage\":\"too old\"}}";
        static const char binary[] = "\x0a\x0b\x08\x03\x12\x07too old";
        struct slice body = kind == 0 ? slice_str(json) : slice_of(binary, sizeof binary - 1);

        fixture_codec(
            f, &(struct codec_options){.kind = kind == 0 ? CODEC_OTLP_JSON : CODEC_OTLP_PROTOBUF});
        j = judge_bytes(f, body, 10);
        assert_int_equal(CODEC_DONE, j->outcome);
        assert_int_equal(10, j->accepted);
        assert_int_equal(3, j->dropped_unnamed);
        assert_string_equal("too old", codec_reason(j, j->reason));
        /* All of them: then it is known which. */
        for (size_t count = 1; count <= 3; count++) {
            j = judge_bytes(f, body, count);
            assert_int_equal(CODEC_DONE, j->outcome);
            assert_int_equal(count, j->refused);
            assert_int_equal(0, j->dropped_unnamed);
            assert_string_equal("too old", fixture_reason(f, count - 1));
        }
    }
}

static void test_what_is_no_reply_of_otlp_acknowledges_nothing(void **state)
{
    static const char *const texts[] = {
        "<html>",
        "[]",
        "{",
        "null",
        "{\"partialSuccess\":[]}",
        "{\"partialSuccess\":\"x\"}",
        "{\"partialSuccess\":{\"rejectedLogRecords\":-1}}",
        "{\"partialSuccess\":{\"rejectedLogRecords\":\"-1\"}}",
        "{\"partialSuccess\":{\"rejectedLogRecords\":1.5}}",
        "{\"partialSuccess\":{\"rejectedLogRecords\":\"\"}}",
        "{\"partialSuccess\":{\"rejectedLogRecords\":\"1234567890123456789\"}}",
        "{\"partialSuccess\":{\"rejectedLogRecords\":true}}",
        "ok",
        "{}}",
    };
    static const struct {
        const char *bytes;
        size_t len;
    } binaries[] = {
        {"\x00", 1},                                              /* field 0 */
        {"\x0a", 1},                                              /* no length */
        {"\x0a\x05\x08", 3},                                      /* shorter than its length */
        {"\x0a\x01", 2},                                          /* by one byte */
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},     /* a length of 2^64 - 1 */
        {"\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12}, /* a varint of eleven bytes */
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11},     /* more than 64 bits */
        {"\x08\x01", 2},                                          /* the wrong wire type */
        {"\x0a\x02\x0a\x00", 4},                                  /* likewise, of the count */
        {"\x0a\x02\x10\x01", 4},                                  /* likewise, of the message */
        {"\x0b", 1},                                              /* a group */
        {"\x0e", 1},                                              /* no such wire type */
        {"\x0d\x01\x02\x03", 4},                                  /* three of four bytes */
        {"\x09\x01\x02\x03", 4},                                  /* three of eight bytes */
        /* minus one */
        {"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 13},
    };
    struct codec_fixture *f = *state;

    for (size_t kind = 0; kind < 2; kind++) {
        fixture_codec(
            f, &(struct codec_options){.kind = kind == 0 ? CODEC_OTLP_JSON : CODEC_OTLP_PROTOBUF});
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
            struct codec_judgement *j = fixture_judge(f, 200, texts[i], 2);

            assert_int_equal(CODEC_AGAIN, j->outcome);
            assert_int_equal(2, j->retry);
            assert_non_null(strstr(codec_reason(j, j->reason), "not a reply of OTLP"));
        }
        for (size_t i = 0; i < ARRAY_SIZE(binaries); i++) {
            char *bytes = malloc(binaries[i].len);

            assert_non_null(bytes);
            memcpy(bytes, binaries[i].bytes, binaries[i].len);
            assert_int_equal(2, judge_bytes(f, slice_of(bytes, binaries[i].len), 2)->retry);
            free(bytes);
        }
    }
}

static void test_a_status_decides_where_otlp_has_none(void **state)
{
    struct codec_fixture *f = *state;

    fixture_codec(f, &(struct codec_options){.kind = CODEC_OTLP_PROTOBUF});
    assert_int_equal(CODEC_SPLIT, fixture_judge(f, 400,
                                                "\x08\x03\x12\x03"
                                                "bad",
                                                2)
                                      ->outcome);
    assert_int_equal(CODEC_BUSY, fixture_judge(f, 429, "", 2)->outcome);
    assert_int_equal(CODEC_AGAIN, fixture_judge(f, 502, "", 2)->outcome);
    assert_int_equal(CODEC_AGAIN, fixture_judge(f, 500, "", 2)->outcome);
    assert_int_equal(CODEC_SUSPENDED, fixture_judge(f, 415, "", 2)->outcome);
}

#define TEST(test)                                                                                 \
    cmocka_unit_test_setup_teardown(test, codec_fixture_setup, codec_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_line_of_every_kind_comes_back),
        TEST(test_random_records_come_back),
        TEST(test_every_length_of_a_line_is_framed_right),
        TEST(test_containers_that_are_named_alike_are_one_resource),
        TEST(test_a_name_that_is_not_utf8_is_text_all_the_same),
        TEST(test_a_full_success_is_one_in_either_encoding),
        TEST(test_a_warning_is_told_and_nothing_is_lost),
        TEST(test_records_rejected_without_a_name_are_counted_and_not_sent_again),
        TEST(test_what_is_no_reply_of_otlp_acknowledges_nothing),
        TEST(test_a_status_decides_where_otlp_has_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
