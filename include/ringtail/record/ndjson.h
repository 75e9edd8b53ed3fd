/*
 * One record as one JSON object and a newline:
 *   {"ts":"…Z","stream":"stdout","container_id":"…","container_name":"…","image":"…","line":"…"}
 * with `"line_b64"` in place of `"line"` when the bytes are not UTF-8, and `"partial":true` behind
 * it when the line has no end.
 */
#pragma once

#include "ringtail/base/buf.h"
#include "ringtail/base/json.h"
#include "ringtail/record/batch.h"

/* Everything but what its source adds and the line: less than this for any record. */
#define NDJSON_FRAME_MAX 128

/** The most bytes that one record can become (what ndjson_append reserves). */
static inline size_t ndjson_size_max(const struct record *r)
{
    /* Base64 never needs more than escaping does. The 16 bytes are what json_escape writes beyond
     * its end. */
    return NDJSON_FRAME_MAX + r->source->json_middle.len + JSON_ESCAPED_MAX((size_t)r->len) + 16;
}

/** Writes the record at `out`, where there is room for ndjson_size_max. Returns its end. */
char *ndjson_encode(char *out, const struct record *r);

/** Appends the record. Returns 0 or -ENOMEM (then nothing was appended). */
int ndjson_append(struct buf *out, const struct record *r);
