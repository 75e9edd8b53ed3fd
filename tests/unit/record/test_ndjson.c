/* The encoder, read back with a JSON parser: what comes out is what went in, byte for byte. */
#include "ringtail/record/ndjson.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <yyjson.h>

#include "ringtail/base/json.h"
#include "ringtail/base/timestamp.h"

static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static int setup(void **state)
{
    *state = source_create(slice_str(id), slice_str("we\"b"), slice_str("nginx:1"));
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    (void)source_unref(*state);
    return 0;
}

static int base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

static void base64_decode(struct buf *out, const char *in, size_t len)
{
    uint32_t bits = 0;
    unsigned count = 0;

    assert_int_equal(0, len % 4);
    buf_reset(out);
    for (size_t i = 0; i < len && in[i] != '='; i++) {
        int digit = base64_digit(in[i]);

        assert_true(digit >= 0);
        bits = bits << 6 | (uint32_t)digit;
        count += 6;
        if (count >= 8) {
            count -= 8;
            assert_int_equal(0, buf_append_char(out, (char)(bits >> count & 0xff)));
        }
    }
}

/** Encodes the record behind other bytes, and checks all that can be said of the result. */
static void check(struct source *source, enum record_stream stream, const char *ts, unsigned flags,
                  struct slice line)
{
    struct record r = {
        .source = source,
        .data = line.data,
        .len = (uint32_t)line.len,
        .stream = (uint8_t)stream,
        .flags = (uint8_t)flags,
    };
    struct buf out = {0}, decoded = {0};
    bool is_text = utf8_is_valid(line);
    yyjson_doc *doc;
    yyjson_val *root, *value;

    assert_int_equal(0, timestamp_parse(slice_str(ts), &r.ts_ns));
    assert_int_equal(0, buf_append_str(&out, "before"));
    assert_int_equal(0, ndjson_append(&out, &r));
    assert_memory_equal("before{", out.data, 7);
    assert_int_equal('\n', out.data[out.len - 1]);
    assert_null(memchr(out.data, '\n', out.len - 1));
    assert_true(out.len - 6 <= ndjson_size_max(&r));

    doc = yyjson_read(out.data + 6, out.len - 6, 0);
    assert_non_null(doc);
    root = yyjson_doc_get_root(doc);
    assert_int_equal(flags & RECORD_PARTIAL ? 7 : 6, yyjson_obj_size(root));
    assert_string_equal(ts, yyjson_get_str(yyjson_obj_get(root, "ts")));
    assert_string_equal(stream == RECORD_STDERR ? "stderr" : "stdout",
                        yyjson_get_str(yyjson_obj_get(root, "stream")));
    assert_string_equal(id, yyjson_get_str(yyjson_obj_get(root, "container_id")));
    assert_string_equal("we\"b", yyjson_get_str(yyjson_obj_get(root, "container_name")));
    assert_string_equal("nginx:1", yyjson_get_str(yyjson_obj_get(root, "image")));
    if (flags & RECORD_PARTIAL)
        assert_true(yyjson_is_true(yyjson_obj_get(root, "partial")));
    value = yyjson_obj_get(root, is_text ? "line" : "line_b64");
    assert_non_null(value);
    if (is_text)
        assert_int_equal(0, buf_append(&decoded, yyjson_get_str(value), yyjson_get_len(value)));
    else
        base64_decode(&decoded, yyjson_get_str(value), yyjson_get_len(value));
    assert_true(slice_eq(line, buf_slice(&decoded)));
    yyjson_doc_free(doc);
    buf_finish(&out);
    buf_finish(&decoded);
}

static const char ts[] = "2026-11-20T15:39:55.674884210Z";

static void test_the_text_is_exactly_as_documented(void **state)
{
    struct record r = {.source = *state, .data = "a \"b\"", .len = 5, .stream = RECORD_STDERR};
    struct buf out = {0};

    assert_int_equal(0, timestamp_parse(slice_str(ts), &r.ts_ns));
    assert_int_equal(0, ndjson_append(&out, &r));
    r.flags = RECORD_PARTIAL | RECORD_TRUNCATED;
    r.stream = RECORD_STDOUT;
    r.data = "\xff";
    r.len = 1;
    assert_int_equal(0, ndjson_append(&out, &r));
    assert_non_null(buf_cstr(&out));
    assert_string_equal(
        "{\"ts\":\"2026-11-20T15:39:55.674884210Z\",\"stream\":\"stderr\",\"container_id\":"
        "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\","
        "\"container_name\":\"we\\\"b\",\"image\":\"nginx:1\",\"line\":\"a \\\"b\\\"\"}\n"
        "{\"ts\":\"2026-11-20T15:39:55.674884210Z\",\"stream\":\"stdout\",\"container_id\":"
        "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\","
        "\"container_name\":\"we\\\"b\",\"image\":\"nginx:1\",\"line_b64\":\"/w==\","
        "\"partial\":true}\n",
        out.data);
    buf_finish(&out);
}

static void test_every_single_byte_comes_back(void **state)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char line[40];

        for (size_t len = 1; len < sizeof line; len += 6) {
            memset(line, (int)byte, sizeof line);
            check(*state, RECORD_STDOUT, ts, 0, slice_of(line, len));
        }
        memset(line, 'x', sizeof line);
        for (size_t at = 0; at < sizeof line; at++) {
            line[at] = (char)byte;
            check(*state, RECORD_STDOUT, ts, 0, slice_of(line, sizeof line));
            line[at] = 'x';
        }
    }
}

static void test_all_bytes_in_one_line_come_back(void **state)
{
    char line[256];

    for (size_t i = 0; i < sizeof line; i++)
        line[i] = (char)i;
    check(*state, RECORD_STDERR, ts, 0, slice_of(line, sizeof line));
    check(*state, RECORD_STDERR, ts, 0, slice_of(line, 128));
    check(*state, RECORD_STDERR, ts, RECORD_PARTIAL, slice_of(line + 128, 128));
}

static void test_empty_and_unfinished_lines_are_records_too(void **state)
{
    check(*state, RECORD_STDOUT, ts, 0, slice_of("", 0));
    check(*state, RECORD_STDERR, ts, RECORD_PARTIAL, slice_of("", 0));
    check(*state, RECORD_STDOUT, ts, RECORD_PARTIAL, slice_str("no end"));
    check(*state, RECORD_STDOUT, ts, RECORD_PARTIAL | RECORD_TRUNCATED, slice_str("cut"));
    check(*state, RECORD_STDOUT, ts, 0, slice_str("cr\rmid\r"));
}

static void test_what_is_not_utf8_is_base64(void **state)
{
    static const char *const lines[] = {
        "\x80",        "\xc0\xaf",  "\xed\xa0\x80",       "\xf4\x90\x80\x80",
        "abc\xe2\x82", "\xff\xfex", "fifteen bytes \xc3", "sixteen bytes..\xc3"};

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_false(utf8_is_valid(slice_str(lines[i])));
        check(*state, RECORD_STDOUT, ts, 0, slice_str(lines[i]));
    }
    check(*state, RECORD_STDOUT, ts, 0, slice_str("gr\xc3\xbc\xc3\x9f dich \xf0\x9f\x90\xb3"));
}

static void test_long_lines_of_the_worst_bytes_fit(void **state)
{
    size_t len = 1024 * 1024;
    char *line = malloc(len);

    assert_non_null(line);
    memset(line, 1, len);
    check(*state, RECORD_STDOUT, ts, 0, slice_of(line, len));
    memset(line, '"', len);
    check(*state, RECORD_STDOUT, ts, 0, slice_of(line, len));
    memset(line, 0xff, len);
    check(*state, RECORD_STDOUT, ts, 0, slice_of(line, len));
    free(line);
}

static void test_timestamps_of_many_seconds_are_each_right(void **state)
{
    static const char *const times[] = {
        "1970-01-01T00:00:00.000000000Z", "1970-01-01T00:00:00.000000001Z",
        "2026-11-20T15:39:55.999999999Z", "2026-11-20T15:39:56.000000000Z",
        "2026-11-20T15:39:55.123456789Z", "2024-02-29T23:59:59.100000000Z",
        "2262-04-11T23:47:16.854775807Z", "1970-01-01T00:00:00.010203040Z",
    };

    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        check(*state, RECORD_STDOUT, times[i], 0, slice_str("x"));
}

/** Every record of a file of expectations, through the encoder and back. Returns how many. */
static size_t check_file(struct source *source, const char *path)
{
    FILE *file = fopen(path, "r");
    struct buf bytes = {0};
    char *text = NULL;
    size_t cap = 0, count = 0;

    assert_non_null(file);
    while (getline(&text, &cap, file) > 0) {
        yyjson_doc *doc = yyjson_read(text, strlen(text), 0);
        yyjson_val *root = yyjson_doc_get_root(doc), *line;
        bool is_stderr;

        assert_non_null(doc);
        is_stderr = strcmp("stderr", yyjson_get_str(yyjson_obj_get(root, "stream"))) == 0;
        line = yyjson_obj_get(root, "line");
        buf_reset(&bytes);
        if (line)
            assert_int_equal(0, buf_append(&bytes, yyjson_get_str(line), yyjson_get_len(line)));
        else
            base64_decode(&bytes, yyjson_get_str(yyjson_obj_get(root, "line_b64")),
                          yyjson_get_len(yyjson_obj_get(root, "line_b64")));
        check(source, is_stderr ? RECORD_STDERR : RECORD_STDOUT,
              yyjson_get_str(yyjson_obj_get(root, "ts")), 0, buf_slice(&bytes));
        yyjson_doc_free(doc);
        count++;
    }
    free(text);
    buf_finish(&bytes);
    (void)fclose(file);
    return count;
}

static void test_every_recorded_line_of_every_engine_comes_back(void **state)
{
    static const char *const engines[] = {"docker-20.10.24", "docker-26.1.5", "docker-28.5.2"};

    for (size_t i = 0; i < sizeof engines / sizeof engines[0]; i++) {
        char path[1024];
        struct dirent *entry;
        size_t records = 0;
        DIR *dir;

        (void)snprintf(path, sizeof path, "%s/%s", FIXTURES_DIR, engines[i]);
        dir = opendir(path);
        assert_non_null(dir);
        while ((entry = readdir(dir))) {
            if (!strstr(entry->d_name, ".expected.ndjson"))
                continue;
            (void)snprintf(path, sizeof path, "%s/%s/%s", FIXTURES_DIR, engines[i], entry->d_name);
            records += check_file(*state, path);
        }
        (void)closedir(dir);
        assert_true(records > 50);
    }
}

#define WITH_SOURCE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SOURCE(test_the_text_is_exactly_as_documented),
        {"S23 every single byte comes back", test_every_single_byte_comes_back, setup, teardown,
         NULL},
        {"S23 all bytes in one line come back", test_all_bytes_in_one_line_come_back, setup,
         teardown, NULL},
        WITH_SOURCE(test_empty_and_unfinished_lines_are_records_too),
        {"S23 what is not UTF-8 is base64", test_what_is_not_utf8_is_base64, setup, teardown, NULL},
        WITH_SOURCE(test_long_lines_of_the_worst_bytes_fit),
        WITH_SOURCE(test_timestamps_of_many_seconds_are_each_right),
        WITH_SOURCE(test_every_recorded_line_of_every_engine_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
