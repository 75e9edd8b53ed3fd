/* tests/unit/codec/codec_fixture.h. */
#include "codec_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ringtail/base/json.h"
#include "ringtail/base/macros.h"

static const char *const names[FIXTURE_SOURCES][3] = {
    {"1111111111111111111111111111111111111111111111111111111111111111", "web", "nginx:1.27"},
    {"2222222222222222222222222222222222222222222222222222222222222222", "data\"base", "pg\\16"},
    {"3333333333333333333333333333333333333333333333333333333333333333", "Gr\xc3\xbc\xc3\x9f",
     "Registry/Some Image:1"},
    {"4444444444444444444444444444444444444444444444444444444444444444", "", ""},
};

int codec_fixture_setup(void **state)
{
    struct codec_fixture *f = calloc(1, sizeof *f);

    if (!f)
        return -1;
    *state = f;
    random_seed(&f->random, 7);
    for (size_t i = 0; i < FIXTURE_SOURCES; i++) {
        f->sources[i] =
            source_create(slice_str(names[i][0]), slice_str(names[i][1]), slice_str(names[i][2]));
        if (!f->sources[i])
            return -1;
    }
    return 0;
}

void fixture_clear(struct codec_fixture *f)
{
    for (size_t i = 0; i < f->count; i++)
        free(f->lines[i]);
    f->count = 0;
}

int codec_fixture_teardown(void **state)
{
    struct codec_fixture *f = *state;

    fixture_clear(f);
    for (size_t i = 0; i < FIXTURE_SOURCES; i++)
        (void)source_unref(f->sources[i]);
    (void)codec_destroy(f->codec);
    buf_finish(&f->body);
    codec_judgement_finish(&f->judgement);
    free(f);
    return 0;
}

void fixture_codec(struct codec_fixture *f, const struct codec_options *options)
{
    char why[200] = "";

    f->codec = codec_destroy(f->codec);
    assert_int_equal(0, codec_create(options, &f->codec, why, sizeof why));
    assert_string_equal("", why);
}

struct record *fixture_add(struct codec_fixture *f, size_t source, enum record_stream stream,
                           int64_t ts_ns, struct slice line)
{
    struct record *r = &f->records[f->count];
    /* Exactly as large as the line, so that a read behind its end is seen. */
    char *copy = malloc(line.len > 0 ? line.len : 1);

    assert_true(f->count < FIXTURE_RECORDS_MAX);
    assert_non_null(copy);
    if (line.len > 0)
        memcpy(copy, line.data, line.len);
    *r = (struct record){
        .ts_ns = ts_ns,
        .data = copy,
        .source = f->sources[source],
        .len = (uint32_t)line.len,
        .stream = (uint8_t)stream,
    };
    f->lines[f->count] = copy;
    f->pointers[f->count] = r;
    f->count++;
    return r;
}

void fixture_add_kinds(struct codec_fixture *f)
{
    static const char *const lines[] = {
        "plain text",
        "with \"quotes\" and \\backslashes\\",
        "",
        " \t ",
        "\x01\x02\x1f\x7f\r\b\f",
        "gr\xc3\xbc\xc3\x9f dich \xf0\x9f\x90\xb3\xf4\x8f\xbf\xbf",
        "\xff\xfe not text \xc3",
        "\xed\xa0\x80",
        "{\"json\":true}",
        "</script>\xe2\x80\xa8",
    };
    size_t len = 1024 * 1024;
    char *large = malloc(len);
    char all[256];

    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        fixture_add(f, i % FIXTURE_SOURCES, i % 3 ? RECORD_STDOUT : RECORD_STDERR,
                    FIXTURE_TS + (int64_t)i, slice_str(lines[i]))
            ->flags = i % 4 == 1 ? RECORD_PARTIAL : 0;
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (char)i;
    fixture_add(f, 0, RECORD_STDOUT, FIXTURE_TS, slice_of(all, sizeof all));
    fixture_add(f, 1, RECORD_STDOUT, FIXTURE_TS, slice_of(all, 128));
    fixture_add(f, 1, RECORD_STDOUT, 0, slice_str("no time"));
    fixture_add(f, 3, RECORD_STDOUT, FIXTURE_TS, slice_of("\0", 1));
    assert_non_null(large);
    for (size_t i = 0; i < len; i++)
        large[i] = "a\"\x01\n\xc3\xa9"[i % 6];
    fixture_add(f, 2, RECORD_STDOUT, FIXTURE_TS, slice_of(large, len));
    large[len - 1] = (char)0xff;
    fixture_add(f, 2, RECORD_STDERR, FIXTURE_TS, slice_of(large, len))->flags =
        RECORD_PARTIAL | RECORD_TRUNCATED;
    free(large);
}

void fixture_add_random(struct codec_fixture *f, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = random_below(&f->random, 80);
        uint64_t kind = random_below(&f->random, 3);
        char line[80];

        for (size_t at = 0; at < len; at++) {
            uint64_t bits = random_next(&f->random);

            line[at] = (char)(kind == 0 ? 'a' + bits % 26 : kind == 1 ? bits % 128 : bits);
        }
        fixture_add(f, random_below(&f->random, FIXTURE_SOURCES),
                    random_below(&f->random, 2) ? RECORD_STDOUT : RECORD_STDERR,
                    FIXTURE_TS + (int64_t)random_below(&f->random, 1000), slice_of(line, len))
            ->ordinal = (uint16_t)i;
    }
}

void fixture_encode(struct codec_fixture *f)
{
    assert_int_equal(0, codec_encode(f->codec, f->pointers, f->count, &f->body));
}

struct codec_judgement *fixture_judge(struct codec_fixture *f, int status, const char *body,
                                      size_t count)
{
    struct codec_judgement *j = &f->judgement;
    size_t of_kind[3] = {0};
    struct codec_reply reply = {.status = status, .body = slice_str(body)};

    assert_int_equal(0, codec_judge(f->codec, &reply, count, j));
    assert_int_equal(count, j->count);
    for (size_t i = 0; i < count; i++)
        of_kind[j->verdicts[i].kind]++;
    assert_int_equal(of_kind[CODEC_ACCEPTED], j->accepted);
    assert_int_equal(of_kind[CODEC_RETRY], j->retry);
    assert_int_equal(of_kind[CODEC_REFUSED], j->refused);
    assert_int_equal(j->outcome == CODEC_DONE, j->retry == 0);
    assert_int_equal(-1, j->retry_after_ms);
    return j;
}

const char *fixture_reason(const struct codec_fixture *f, size_t i)
{
    return codec_reason(&f->judgement, f->judgement.verdicts[i].reason);
}

yyjson_doc *fixture_json(struct slice text)
{
    yyjson_doc *doc;

    assert_true(text.len > 0);
    doc = yyjson_read(text.data, text.len, YYJSON_READ_NOFLAG);
    assert_non_null(doc);
    return doc;
}

struct slice json_text(yyjson_val *object, const char *key)
{
    yyjson_val *value = yyjson_obj_get(object, key);

    assert_true(yyjson_is_str(value));
    return slice_of(yyjson_get_str(value), yyjson_get_len(value));
}

void assert_slice(struct slice expected, struct slice actual)
{
    assert_int_equal(expected.len, actual.len);
    if (expected.len > 0)
        assert_memory_equal(expected.data, actual.data, expected.len);
}

void assert_lossy(const struct record *r, struct slice actual)
{
    struct buf expected = {0};

    assert_int_equal(0, utf8_append(&expected, slice_of(r->data, r->len)));
    assert_slice(buf_slice(&expected), actual);
    buf_finish(&expected);
}

void assert_line_b64(const struct record *r, yyjson_val *object)
{
    struct slice line = slice_of(r->data, r->len);
    yyjson_val *value = yyjson_obj_get(object, "line_b64");
    char *expected;

    if (utf8_is_valid(line)) {
        assert_null(value);
        return;
    }
    expected = malloc(BASE64_LEN(line.len) + 1);
    assert_non_null(expected);
    *base64_encode(expected, line) = '\0';
    assert_string_equal(expected, yyjson_get_str(value));
    free(expected);
}
