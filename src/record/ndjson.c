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

/* Everything but the source's members and the line: less than this for any record. */
#define FRAME_MAX 128

#define PUT(out, literal) put((out), (literal), sizeof(literal) - 1)

static inline char *put(char *out, const char *bytes, size_t len)
{
    memcpy(out, bytes, len);
    return out + len;
}

size_t ndjson_size_max(const struct record *r)
{
    /* Base64 never needs more than escaping does. The 16 bytes are what json_escape writes beyond
     * its end. */
    return FRAME_MAX + r->source->json_members.len + JSON_ESCAPED_MAX((size_t)r->len) + 16;
}

int ndjson_append(struct buf *out, const struct record *r)
{
    struct slice members = r->source->json_members;
    struct slice line = slice_of(r->data, r->len);
    char *p;
    int e;

    e = buf_reserve(out, ndjson_size_max(r));
    if (e < 0)
        return e;
    p = PUT(out->data + out->len, "{\"ts\":\"");
    /* There is no text for the time before 1970, and no Engine that sends it. */
    timestamp_format(p, r->ts_ns > 0 ? r->ts_ns : 0);
    p += TIMESTAMP_LEN;
    p = r->stream == RECORD_STDERR ? PUT(p, "\",\"stream\":\"stderr\",")
                                   : PUT(p, "\",\"stream\":\"stdout\",");
    p = put(p, members.data, members.len);
    if (likely(utf8_is_valid(line))) {
        p = PUT(p, ",\"line\":\"");
        p = json_escape(p, line);
    } else {
        p = PUT(p, ",\"line_b64\":\"");
        p = base64_encode(p, line);
    }
    p = r->flags & RECORD_PARTIAL ? PUT(p, "\",\"partial\":true}\n") : PUT(p, "\"}\n");
    out->len = (size_t)(p - out->data);
    return 0;
}
