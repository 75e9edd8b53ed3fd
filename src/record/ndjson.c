/*
 * The NDJSON encoder: done for every byte of every line, so all room is reserved once and
 * everything is written straight into it. Pure but for one cache: the text of the last second,
 * since the lines of a burst share it.
 */
#include "ringtail/record/ndjson.h"

#include <stdint.h>
#include <string.h>

#include "ringtail/base/json.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"

/* `YYYY-MM-DDTHH:MM:SS.` */
#define SECOND_LEN 20
/* Everything but the source's members and the line: less than this for any record. */
#define FRAME_MAX 128

#define PUT(out, literal) put((out), (literal), sizeof(literal) - 1)

static inline char *put(char *out, const char *bytes, size_t len)
{
    memcpy(out, bytes, len);
    return out + len;
}

static inline char *put_pair(char *out, uint32_t n)
{
    out[0] = (char)('0' + n / 10);
    out[1] = (char)('0' + n % 10);
    return out + 2;
}

static char *put_timestamp(char *out, int64_t ts_ns)
{
    static _Thread_local int64_t second = -1;
    static _Thread_local char text[SECOND_LEN];
    /* There is no text for the time before 1970, and no Engine that sends it. */
    int64_t ns = ts_ns > 0 ? ts_ns : 0;
    int64_t this_second = ns / NSEC_PER_SEC;
    uint32_t rest;

    if (unlikely(this_second != second)) {
        char whole[TIMESTAMP_LEN];

        timestamp_format(whole, ns);
        memcpy(text, whole, SECOND_LEN);
        second = this_second;
    }
    out = put(out, text, SECOND_LEN);
    rest = (uint32_t)(ns - this_second * NSEC_PER_SEC);
    out = put_pair(out, rest / 10000000);
    out = put_pair(out, rest / 100000 % 100);
    out = put_pair(out, rest / 1000 % 100);
    out = put_pair(out, rest / 10 % 100);
    *out++ = (char)('0' + rest % 10);
    *out++ = 'Z';
    return out;
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
    p = put_timestamp(p, r->ts_ns);
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
