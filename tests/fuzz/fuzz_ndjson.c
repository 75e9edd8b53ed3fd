/*
 * record/ndjson: any line comes out as the simplest encoder there is would write it, from memory of
 * exactly its size and into the room that was asked for.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/json.h"
#include "ringtail/record/ndjson.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void put_simply(struct buf *out, uint8_t c)
{
    const char *letter = c ? strchr("\bb\tt\nn\ff\rr\"\"\\\\", c) : NULL;
    int r;

    if (c >= 0x20 && c != '"' && c != '\\')
        r = buf_append_char(out, (char)c);
    else if (letter)
        r = buf_printf(out, "\\%c", letter[1]);
    else
        r = buf_printf(out, "\\u%04x", c);
    require(r == 0);
}

static void encode_simply(struct buf *out, const struct record *r)
{
    struct slice line = slice_of(r->data, r->len);
    bool is_text = utf8_is_valid(line);

    require(buf_printf(out,
                       "{\"ts\":\"1970-01-01T00:00:00.000000001Z\",\"stream\":\"%s\","
                       "\"container_id\":\"i\",\"container_name\":\"n\",\"image\":\"m\",\"%s\":\"",
                       r->stream == RECORD_STDERR ? "stderr" : "stdout",
                       is_text ? "line" : "line_b64") == 0);
    if (is_text) {
        for (size_t i = 0; i < r->len; i++)
            put_simply(out, (uint8_t)r->data[i]);
    } else {
        require(buf_reserve(out, BASE64_LEN(line.len)) == 0);
        out->len = (size_t)(base64_encode(out->data + out->len, line) - out->data);
    }
    require(buf_append_str(out, r->flags & RECORD_PARTIAL ? "\",\"partial\":true}\n" : "\"}\n") ==
            0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct source *source = source_create(slice_str("i"), slice_str("n"), slice_str("m"));
    struct buf expected = {0};
    struct record r = {.ts_ns = 1, .source = source, .stream = RECORD_STDOUT};
    char *line, *out, *end;

    if (size == 0) {
        (void)source_unref(source);
        return 0;
    }
    require(source != NULL);
    if (data[0] & 1)
        r.stream = RECORD_STDERR;
    if (data[0] & 2)
        r.flags = RECORD_PARTIAL;
    r.len = (uint32_t)(size - 1);
    line = malloc(size);
    require(line != NULL);
    memcpy(line + 1, data + 1, r.len);
    r.data = line + 1;
    out = malloc(ndjson_size_max(&r));
    require(out != NULL);
    end = ndjson_encode(out, &r);
    encode_simply(&expected, &r);
    require((size_t)(end - out) == expected.len);
    require(memcmp(out, expected.data, expected.len) == 0);
    buf_finish(&expected);
    free(out);
    free(line);
    (void)source_unref(source);
    return 0;
}
