/*
 * HTTP transports with every codec against the strict receiver: it takes what they send without a
 * complaint, in order; what it does not take is not called accepted, and the other way round.
 */
#include "http_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yyjson.h>

#include "ringtail/base/json.h"
#include "ringtail/base/macros.h"
#include "support/child.h"
#include "support/receiver.h"

static struct receiver receiver, secure;

static const char *const splunk_token[] = {"Authorization: Splunk 0123"};

static const struct way {
    const char *protocol, *path;
    struct codec_options codec;
    bool has_source;  /* what it takes has containers and times */
    bool knows_again; /* leaves out what it has already */
} ways[] = {
    {"http", "/ndjson", {.kind = CODEC_NDJSON}, true, false},
    {"http", "/json", {.kind = CODEC_JSON_ARRAY}, true, false},
    {"http", "/text", {.kind = CODEC_TEXT}, false, false},
    {"loki",
     "",
     {.kind = CODEC_LOKI,
      .loki_labels = "container={container_name},stream={stream}",
      .loki_metadata = "container_id={container_id}",
      .loki_label_values_max = 100},
     true,
     true},
    {"elastic", "", {.kind = CODEC_ELASTIC, .elastic_index = "logs-{date}"}, true, true},
    {"otlp", "", {.kind = CODEC_OTLP_JSON}, true, false},
    {"otlp", "", {.kind = CODEC_OTLP_PROTOBUF, .host = "here"}, true, false},
    {"splunk", "", {.kind = CODEC_SPLUNK, .splunk_source = "{image}"}, true, false},
};

static int group_setup(void **state)
{
    const char *dir = fixture_directory();
    const char *certificates[] = {CERTIFICATES_SH, dir, NULL};
    char cert[64], key[64];
    const char *arguments[] = {"--cert", cert, "--key", key, NULL};

    if (!dir || child_run(certificates) != 0)
        return -1;
    (void)snprintf(cert, sizeof cert, "%s/server.pem", dir);
    (void)snprintf(key, sizeof key, "%s/server.key", dir);
    return receiver_start(&receiver, NULL) == 0 && receiver_start(&secure, arguments) == 0 ? 0 : -1;
}

static int group_teardown(void **state)
{
    receiver_stop(&receiver);
    receiver_stop(&secure);
    return 0;
}

static int test_setup(void **state)
{
    if (receiver_command(&receiver, "/mode", "{\"do\":\"ok\"}") != 200 ||
        receiver_command(&receiver, "/forget", "") != 200)
        return -1;
    return http_fixture_setup(state);
}

static void command(const char *path, const char *json)
{
    assert_int_equal(200, receiver_command(&receiver, path, json));
}

static struct http_transport_options options_of(const struct way *way)
{
    struct http_transport_options options =
        fixture_options(fixture_url("http", receiver.port, way->path));

    options.codec = &way->codec;
    if (way->codec.kind == CODEC_SPLUNK) {
        options.headers = splunk_token;
        options.headers_count = 1;
    }
    return options;
}

static yyjson_doc *get_stats(const struct receiver *r)
{
    struct buf text = {0};
    yyjson_doc *doc;

    assert_int_equal(200, receiver_get(r, "/stats", &text));
    doc = yyjson_read(text.data, text.len, YYJSON_READ_NOFLAG);
    assert_non_null(doc);
    buf_finish(&text);
    return doc;
}

static uint64_t get_stat(const char *name)
{
    yyjson_doc *doc = get_stats(&receiver);
    uint64_t value = yyjson_get_uint(yyjson_obj_get(yyjson_doc_get_root(doc), name));

    yyjson_doc_free(doc);
    return value;
}

static void assert_no_violations(const struct receiver *r)
{
    yyjson_doc *doc = get_stats(r);
    yyjson_val *violations = yyjson_obj_get(yyjson_doc_get_root(doc), "violations");

    assert_true(yyjson_is_arr(violations));
    if (yyjson_arr_size(violations) > 0)
        fail_msg("%s", yyjson_get_str(yyjson_arr_get_first(violations)));
    yyjson_doc_free(doc);
}

/** One line of /taken is this record. */
static void assert_is_record(const struct way *way, const struct record *record, const char *line,
                             size_t len)
{
    yyjson_doc *doc = yyjson_read(line, len, YYJSON_READ_NOFLAG);
    yyjson_val *told = yyjson_doc_get_root(doc);

    assert_int_equal(4, yyjson_arr_size(told));
    assert_string_equal(record->data, yyjson_get_str(yyjson_arr_get(told, 3)));
    if (way->has_source) {
        assert_string_equal(record->source->id.data, yyjson_get_str(yyjson_arr_get(told, 0)));
        assert_string_equal(record->stream == RECORD_STDOUT ? "stdout" : "stderr",
                            yyjson_get_str(yyjson_arr_get(told, 1)));
        assert_int_equal(record->ts_ns, yyjson_get_sint(yyjson_arr_get(told, 2)));
    }
    yyjson_doc_free(doc);
}

/** The receiver has the first `count` records, once each; within a stream in order. */
static void assert_taken(struct http_fixture *f, const struct way *way, size_t count)
{
    size_t next[2] = {0, 1}, seen = 0;
    struct buf text = {0};

    assert_int_equal(200, receiver_get(&receiver, "/taken", &text));
    for (size_t at = 0; at < text.len; seen++) {
        const char *end = memchr(text.data + at, '\n', text.len - at);
        size_t len, which;

        assert_non_null(end);
        len = (size_t)(end - text.data) - at;
        /* Loki's streams come one behind the other; all else as it was sent. */
        which = way->codec.kind == CODEC_LOKI ? memmem(text.data + at, len, "stderr", 6) != NULL
                                              : seen % 2;
        assert_is_record(way, &f->records[next[which]], text.data + at, len);
        next[which] += 2;
        at += len + 1;
    }
    assert_int_equal(count, seen);
    buf_finish(&text);
}

static void send_first(struct http_fixture *f, struct transport *t, struct sent *s, size_t count)
{
    fixture_start(f, t, s, 0, count);
    fixture_wait(f, s, 1);
}

static void assert_accepted(const struct sent *s)
{
    if (s->request.error != 0 || s->request.judgement.outcome != CODEC_DONE)
        fail_msg("%s: %s", s->request.message, sent_reason(s));
    assert_int_equal(s->request.count, s->request.judgement.accepted);
}

static void try_compression(struct http_fixture *f, enum compression compression)
{
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        struct http_transport_options options = options_of(&ways[i]);
        struct sent s = {0};

        options.compression = compression;
        command("/forget", "");
        send_first(f, fixture_open(f, &options), &s, FIXTURE_RECORDS);
        assert_accepted(&s);
        assert_no_violations(&receiver);
        assert_taken(f, &ways[i], FIXTURE_RECORDS);
        assert_int_equal(s.request.wire_bytes, get_stat("bytes"));
        if (compression == COMPRESSION_NONE)
            assert_int_equal(s.request.wire_bytes, s.request.body_bytes);
        else
            assert_true(s.request.wire_bytes < s.request.body_bytes);
        sent_finish(&s);
        fixture_close_transports(f);
    }
}

static void test_every_codecs_requests_are_taken(void **state)
{
    try_compression(*state, COMPRESSION_NONE);
}

static void test_requests_in_gzip_are_taken(void **state)
{
    try_compression(*state, COMPRESSION_GZIP);
}

static void test_requests_in_zstd_are_taken(void **state)
{
    if (!compression_is_available(COMPRESSION_ZSTD)) {
        print_message("built without zstd\n");
        skip();
    }
    try_compression(*state, COMPRESSION_ZSTD);
}

static void test_requests_over_tls_are_taken(void **state)
{
    struct http_fixture *f = *state;
    struct http_transport_options options = options_of(&ways[0]);
    char ca[64];
    struct sent s[20] = {0};
    struct transport *t;

    (void)snprintf(ca, sizeof ca, "%s/ca.pem", fixture_directory());
    options.url = fixture_url("https", secure.port, "/ndjson");
    options.tls.ca_file = ca;
    t = fixture_open(f, &options);
    for (size_t i = 0; i < ARRAY_SIZE(s); i++)
        fixture_start(f, t, &s[i], i * 10, 10);
    fixture_wait(f, s, ARRAY_SIZE(s));
    for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
        assert_accepted(&s[i]);
        sent_finish(&s[i]);
    }
    assert_no_violations(&secure);
}

static void test_a_lost_reply_accepts_nothing_and_a_repeat_is_known_again(void **state)
{
    struct http_fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        struct http_transport_options options = options_of(&ways[i]);
        struct transport *t = fixture_open(f, &options);
        struct sent s = {0};

        command("/forget", "");
        command("/mode", "{\"do\":\"take_and_close\"}");
        send_first(f, t, &s, 100);
        assert_int_equal(-ECONNRESET, s.request.error);
        command("/mode", "{\"do\":\"ok\"}");
        send_first(f, t, &s, 100);
        assert_accepted(&s);
        if (ways[i].knows_again) {
            assert_true(get_stat("repeated") >= 100);
            assert_taken(f, &ways[i], 100);
        } else {
            assert_true(get_stat("accepted") >= 200);
        }
        assert_no_violations(&receiver);
        sent_finish(&s);
        fixture_close_transports(f);
    }
}

static void test_a_reply_that_never_comes_accepts_nothing(void **state)
{
    struct http_fixture *f = *state;
    struct http_transport_options options = options_of(&ways[0]);
    struct transport *t;
    struct sent s = {0};

    options.timeout_ms = 100;
    t = fixture_open(f, &options);
    command("/mode", "{\"do\":\"take_and_hang\"}");
    send_first(f, t, &s, 10);
    assert_int_equal(-ETIMEDOUT, s.request.error);
    command("/mode", "{\"do\":\"ok\"}");
    command("/release", "");
    fixture_close_transports(f);
    options.timeout_ms = FIXTURE_PATIENCE_MS;
    send_first(f, fixture_open(f, &options), &s, 10);
    assert_accepted(&s);
    sent_finish(&s);
}

static void test_a_receiver_that_comes_back_is_used_again(void **state)
{
    struct http_fixture *f = *state;
    struct http_transport_options options = options_of(&ways[3]);
    struct transport *t = fixture_open(f, &options);
    struct sent s = {0};

    for (unsigned round = 0; round < 3; round++) {
        send_first(f, t, &s, 100); /* leaves a connection to be cut */
        assert_accepted(&s);
        command("/mode", "{\"do\":\"refuse\"}");
        for (unsigned i = 0; i < 3; i++) {
            send_first(f, t, &s, 100);
            assert_int_equal(-ECONNREFUSED, s.request.error);
        }
        command("/mode", "{\"do\":\"slow\",\"delay_ms\":1}");
    }
    assert_taken(f, &ways[3], 100);
    assert_no_violations(&receiver);
    sent_finish(&s);
}

static void test_scripted_refusals_are_judged(void **state)
{
    struct http_fixture *f = *state;
    struct http_transport_options options = options_of(&ways[3]);
    struct transport *t = fixture_open(f, &options);
    struct sent s = {0};

    /* Two for the last, since libcurl tries a connection that was kept once more on a new one. */
    command("/script",
            "[{\"do\":\"status\",\"status\":429,\"headers\":{\"Retry-After\":\"3\"},"
            "\"times\":2},{\"do\":\"status\",\"status\":500},{\"do\":\"close\",\"times\":2}]");
    for (unsigned i = 0; i < 2; i++) {
        send_first(f, t, &s, 10);
        assert_int_equal(CODEC_BUSY, s.request.judgement.outcome);
        assert_int_equal(3000, s.request.judgement.retry_after_ms);
    }
    send_first(f, t, &s, 10);
    assert_int_equal(CODEC_AGAIN, s.request.judgement.outcome);
    assert_int_equal(500, s.request.status);
    send_first(f, t, &s, 10);
    assert_int_equal(-ECONNRESET, s.request.error);
    assert_int_equal(0, get_stat("accepted"));
    send_first(f, t, &s, 10);
    assert_accepted(&s);
    sent_finish(&s);
}

static void test_poison_is_refused_as_its_protocol_does_it(void **state)
{
    static const struct {
        size_t way;
        enum codec_outcome outcome;
        size_t accepted, refused, taken;
    } cases[] = {
        {0, CODEC_SPLIT, 0, 0, 0}, {3, CODEC_SPLIT, 0, 0, 19}, {4, CODEC_DONE, 19, 1, 19},
        {6, CODEC_SPLIT, 0, 0, 0}, {7, CODEC_SPLIT, 0, 1, 0},
    };
    struct http_fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct http_transport_options options = options_of(&ways[cases[i].way]);
        struct sent s = {0};

        command("/forget", "");
        command("/mode", "{\"do\":\"ok\",\"poison\":\"line 7\"}");
        send_first(f, fixture_open(f, &options), &s, 20);
        assert_int_equal(0, s.request.error);
        assert_int_equal(cases[i].outcome, s.request.judgement.outcome);
        assert_int_equal(cases[i].accepted, s.request.judgement.accepted);
        assert_int_equal(cases[i].refused, s.request.judgement.refused);
        assert_int_equal(cases[i].taken, get_stat("accepted"));
        if (cases[i].refused > 0)
            assert_int_equal(CODEC_REFUSED, s.request.judgement.verdicts[7].kind);
        sent_finish(&s);
        fixture_close_transports(f);
    }
}

static void test_items_and_partial_successes_are_judged(void **state)
{
    struct http_fixture *f = *state;
    struct http_transport_options options = options_of(&ways[4]);
    struct sent s = {0};

    command("/script", "[{\"do\":\"items\",\"every\":2,\"status\":429}]");
    send_first(f, fixture_open(f, &options), &s, 20);
    assert_int_equal(CODEC_BUSY, s.request.judgement.outcome);
    assert_int_equal(10, s.request.judgement.accepted);
    assert_int_equal(10, s.request.judgement.retry);
    for (size_t i = 5; i <= 6; i++) {
        options = options_of(&ways[i]);
        command("/script", "[{\"do\":\"partial\",\"rejected\":4}]");
        send_first(f, fixture_open(f, &options), &s, 20);
        assert_int_equal(CODEC_DONE, s.request.judgement.outcome);
        assert_int_equal(4, s.request.judgement.dropped_unnamed);
    }
    assert_int_equal(10 + 16 + 16, get_stat("accepted"));
    assert_no_violations(&receiver);
    sent_finish(&s);
}

/** A reply that is a small body of 64 MiB of zeros, compressed. */
static void test_a_compression_bomb_is_cut(void **state)
{
    struct http_fixture *f = *state;
    struct http_transport_options options = options_of(&ways[3]);
    struct transport *t = fixture_open(f, &options);
    size_t len = (size_t)64 * 1024 * 1024;
    char *zeros = calloc(1, len), *text;
    struct http_transport_stats stats;
    struct buf bomb = {0}, script = {0};
    struct sent s = {0};

    assert_non_null(zeros);
    assert_int_equal(0, compress_buf(COMPRESSION_GZIP, 9, slice_of(zeros, len), &bomb));
    free(zeros);
    text = malloc(BASE64_LEN(bomb.len) + 1);
    assert_non_null(text);
    *base64_encode(text, buf_slice(&bomb)) = '\0';
    assert_int_equal(0, buf_printf(&script,
                                   "[{\"do\":\"status\",\"status\":503,\"headers\":"
                                   "{\"Content-Encoding\":\"gzip\"},\"body_b64\":\"%s\"}]",
                                   text));
    command("/script", buf_cstr(&script));
    send_first(f, t, &s, 10);
    assert_int_equal(503, s.request.status);
    assert_int_equal(CODEC_BUSY, s.request.judgement.outcome);
    send_first(f, t, &s, 10);
    assert_accepted(&s);
    /* The connection was given up with the reply: its end was not read. */
    http_transport_stats(t, &stats);
    assert_int_equal(2, stats.connections);
    free(text);
    buf_finish(&bomb);
    buf_finish(&script);
    sent_finish(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define HTTP_TEST(test) cmocka_unit_test_setup_teardown(test, test_setup, http_fixture_teardown)
        HTTP_TEST(test_every_codecs_requests_are_taken),
        HTTP_TEST(test_requests_in_gzip_are_taken),
        HTTP_TEST(test_requests_in_zstd_are_taken),
        HTTP_TEST(test_requests_over_tls_are_taken),
        HTTP_TEST(test_a_lost_reply_accepts_nothing_and_a_repeat_is_known_again),
        HTTP_TEST(test_a_reply_that_never_comes_accepts_nothing),
        HTTP_TEST(test_a_receiver_that_comes_back_is_used_again),
        HTTP_TEST(test_scripted_refusals_are_judged),
        HTTP_TEST(test_poison_is_refused_as_its_protocol_does_it),
        HTTP_TEST(test_items_and_partial_successes_are_judged),
        HTTP_TEST(test_a_compression_bomb_is_cut),
#undef HTTP_TEST
    };
    int skip = http_fixture_skip_code();

    return skip ? skip : cmocka_run_group_tests(tests, group_setup, group_teardown);
}
