/*
 * Memory that runs out anywhere: each allocation fails in turn, the call says so, leaves nothing
 * half done, and does its work when it is called again. Linked with the allocator wrapped.
 */
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
#include "ringtail/base/macros.h"
#include "ringtail/codec/compress.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
char *__wrap_strdup(const char *s);
char *__real_strndup(const char *s, size_t len);
char *__wrap_strndup(const char *s, size_t len);

static unsigned until_failure; /* 0: no allocation fails; n: the n-th from now on, once */
static bool failed;

static bool fails(void)
{
    if (until_failure == 0 || --until_failure > 0)
        return false;
    failed = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
    return fails() ? NULL : __real_reallocarray(old, count, size);
}

char *__wrap_strdup(const char *s)
{
    return fails() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t len)
{
    return fails() ? NULL : __real_strndup(s, len);
}

static const struct codec_options options[] = {
    {.kind = CODEC_NDJSON},
    {.kind = CODEC_JSON_ARRAY},
    {.kind = CODEC_TEXT},
    {.kind = CODEC_LOKI,
     .host = "h",
     .loki_labels = "c={container_name},s={stream}",
     .loki_metadata = "i={image},d={day}",
     .loki_label_values_max = 2},
    {.kind = CODEC_ELASTIC, .host = "h", .elastic_index = "logs-{date}"},
    {.kind = CODEC_OTLP_JSON, .host = "h"},
    {.kind = CODEC_OTLP_PROTOBUF, .host = "h"},
    {.kind = CODEC_SPLUNK,
     .host = "h",
     .splunk_source = "{image}",
     .splunk_sourcetype = "t",
     .splunk_index = "{stream}"},
};

/** Whether the call that was just made met the failure; its result has to tell. */
static bool met_failure(int r)
{
    bool was = failed;

    until_failure = 0;
    failed = false;
    assert_true(r == 0 || (r == -ENOMEM && was));
    return was;
}

static void test_making_a_codec_without_memory_leaves_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        unsigned n = 0;
        int r;

        do {
            struct codec *c = NULL;

            until_failure = ++n;
            r = codec_create(&options[i], &c, NULL, 0);
            assert_int_equal(met_failure(r), r < 0);
            (void)codec_destroy(c);
        } while (r < 0);
        assert_true(n > 2);
    }
}

static void test_a_body_is_whole_or_empty(void **state)
{
    struct codec_fixture *f = *state;

    fixture_add_random(f, 40);
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        struct buf expected = {0};
        unsigned n = 0;
        bool met;

        fixture_codec(f, &options[i]);
        assert_int_equal(0, codec_encode(f->codec, f->pointers, f->count, &expected));
        do {
            int r;

            /* Anew, so that nothing has been allocated before. */
            fixture_codec(f, &options[i]);
            buf_finish(&f->body);
            until_failure = ++n;
            r = codec_encode(f->codec, f->pointers, f->count, &f->body);
            met = met_failure(r);
            if (r == 0)
                assert_slice(buf_slice(&expected), buf_slice(&f->body));
            else
                assert_int_equal(0, f->body.len);
            fixture_encode(f);
            assert_slice(buf_slice(&expected), buf_slice(&f->body));
        } while (met);
        assert_true(n > 1);
        buf_finish(&expected);
    }
}

static void test_a_judgement_is_made_or_it_is_not(void **state)
{
    static const struct {
        enum codec_kind kind;
        int status;
        const char *body;
    } replies[] = {
        {CODEC_NDJSON, 200, ""},
        {CODEC_NDJSON, 400, "bad line"},
        {CODEC_ELASTIC, 200,
         "{\"errors\":true,\"items\":[{\"create\":{\"status\":400,\"error\":{\"type\":\"t\","
         "\"reason\":\"r\"}}},{\"create\":{\"status\":201}}]}"},
        {CODEC_ELASTIC, 200, "<html>"},
        {CODEC_OTLP_JSON, 200,
         "{\"partialSuccess\":{\"rejectedLogRecords\":\"1\",\"errorMessage\":\"m\"}}"},
        {CODEC_OTLP_JSON, 200, "x"},
        {CODEC_SPLUNK, 400, "{\"code\":6,\"text\":\"t\",\"invalid-event-number\":1}"},
        {CODEC_SPLUNK, 200, "{\"code\":0}"},
        {CODEC_SPLUNK, 200, "x"},
    };
    struct codec_fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(replies); i++) {
        struct codec_reply reply = {.status = replies[i].status,
                                    .body = slice_str(replies[i].body)};
        unsigned n = 0;
        int r;

        fixture_codec(f, &options[replies[i].kind]);
        do {
            codec_judgement_finish(&f->judgement);
            until_failure = ++n;
            r = codec_judge(f->codec, &reply, 2, &f->judgement);
            assert_int_equal(met_failure(r), r < 0);
        } while (r < 0);
        assert_true(n > 1);
        assert_int_equal(2, f->judgement.count);
    }
}

static void test_compressing_without_memory_leaves_nothing(void **state)
{
    (void)state;
    for (enum compression c = COMPRESSION_NONE; c <= COMPRESSION_ZSTD; c++) {
        struct buf out = {0};

        if (!compression_is_available(c))
            continue;
        until_failure = 1;
        assert_int_equal(-ENOMEM, compress_buf(c, 0, slice_str("text"), &out));
        assert_true(met_failure(-ENOMEM));
        assert_int_equal(0, out.len);
        assert_int_equal(0, compress_buf(c, 0, slice_str("text"), &out));
        buf_finish(&out);
    }
}

#define TEST(test)                                                                                 \
    cmocka_unit_test_setup_teardown(test, codec_fixture_setup, codec_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_making_a_codec_without_memory_leaves_nothing),
        TEST(test_a_body_is_whole_or_empty),
        TEST(test_a_judgement_is_made_or_it_is_not),
        cmocka_unit_test(test_compressing_without_memory_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
