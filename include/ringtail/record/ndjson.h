/*
 * One record as one JSON object and a newline:
 *   {"ts":"…Z","stream":"stdout","container_id":"…","container_name":"…","image":"…","line":"…"}
 * with `"line_b64"` in place of `"line"` when the bytes are not UTF-8, and `"partial":true` behind
 * it when the line has no end.
 */
#pragma once

#include "ringtail/base/buf.h"
#include "ringtail/record/batch.h"

/** The most bytes that one record can become (what ndjson_append reserves). */
size_t ndjson_size_max(const struct record *r);

/** Writes the record at `out`, where there is room for ndjson_size_max. Returns its end. */
char *ndjson_encode(char *out, const struct record *r);

/** Appends the record. Returns 0 or -ENOMEM (then nothing was appended). */
int ndjson_append(struct buf *out, const struct record *r);
