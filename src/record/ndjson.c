/*
 * The NDJSON encoder: done for every byte of every line, so all room is reserved once and
 * everything is written straight into it. Pure.
 */
#include "ringtail/record/ndjson.h"

#include <stdint.h>
#include <string.h>

#include "ringtail/base/json.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"

#define PUT(out, literal) put((out), (literal), sizeof(literal) - 1)

static inline char *put(char *out, const char *bytes, size_t len)
{
    memcpy(out, bytes, len);
    return out + len;
}

char *ndjson_encode(char *out, const struct record *r)
{
    const struct source *source = r->source;
    struct slice line = slice_of(r->data, r->len);
    char *key, *end;

    out = PUT(out, "{\"ts\":\"");
    /* There is no text for the time before 1970, and no Engine that sends it. */
    timestamp_format(out, r->ts_ns > 0 ? r->ts_ns : 0);
    out = put(out + TIMESTAMP_LEN, source->json_middle.data, source->json_middle.len);
    if (r->stream == RECORD_STDERR)
        memcpy(out - source->json_middle.len + SOURCE_STREAM_AT, "stderr", 6);
    key = out;
    out = PUT(out, "\":\"");
    end = json_escape_utf8(out, line);
    if (unlikely(!end))
        end = base64_encode(PUT(key, "_b64\":\""), line);
    return r->flags & RECORD_PARTIAL ? PUT(end, "\",\"partial\":true}\n") : PUT(end, "\"}\n");
}

int ndjson_append(struct buf *out, const struct record *r)
{
    int e = buf_reserve(out, ndjson_size_max(r));

    if (e < 0)
        return e;
    out->len = (size_t)(ndjson_encode(out->data + out->len, r) - out->data);
    return 0;
}
