/* What the codecs of this room share: the codec itself, its operations, and pieces of text. */
#pragma once

#include <stdbool.h>

#include "ringtail/codec/codec.h"
#include "ringtail/codec/pattern.h"

#include "grouping.h"

struct codec_ops {
    const char *content_type;
    const char *path;
    size_t item_reply_max; /* of a reply, bytes for each record */
    /** Reads the options of its kind; NULL: there are none. Returns 0, -EINVAL with why, -ENOMEM.
     */
    int (*init)(struct codec *c, const struct codec_options *options, char *why, size_t why_size);
    /** The state of init, even of one that has failed. */
    void (*finish)(struct codec *c);
    /** Appends the body to `out`, which is empty; the records are bounded. */
    int (*encode)(struct codec *c, const struct record *const *records, size_t count,
                  struct buf *out);
    /**
     * Judges what the status alone does not tell; NULL: it tells everything. Returns 1 when it has
     * judged, 0 to have the status judged, -ENOMEM.
     */
    int (*judge)(const struct codec *c, const struct codec_reply *reply, struct codec_judgement *j);
};

struct loki; /* loki.c's */

struct codec {
    const struct codec_ops *ops;
    char *host;
    struct loki *loki;
    struct pattern index, source, sourcetype; /* of Elasticsearch and Splunk */
    struct grouping grouping;
    struct buf scratch;
    /** JSON of the last record's source, for as long as one call takes. */
    const struct source *members_of;
    struct buf members;
};

extern const struct codec_ops codec_loki_ops;
extern const struct codec_ops codec_elastic_ops;
extern const struct codec_ops codec_otlp_json_ops;
extern const struct codec_ops codec_otlp_protobuf_ops;
extern const struct codec_ops codec_splunk_ops;

static inline struct slice codec_host(const struct codec *c)
{
    return slice_str(c->host);
}

static inline struct slice record_line(const struct record *r)
{
    return slice_of(r->data, r->len);
}

static inline const char *record_stream_name(const struct record *r)
{
    return r->stream == RECORD_STDERR ? "stderr" : "stdout";
}

/** As record/ndjson.h has it: there is no text for the time before 1970. */
static inline int64_t record_time_ns(const struct record *r)
{
    return r->ts_ns > 0 ? r->ts_ns : 0;
}

/** Appends the texts, up to a NULL. For every line, so not printf. Returns 0 or -ENOMEM. */
int text_append_all(struct buf *out, const char *const *texts);
#define text_append(out, ...) text_append_all(out, (const char *const[]){__VA_ARGS__, NULL})

/** Appends a decimal number, with zeros in front up to `digits` (at most 20). Returns 0 or -ENOMEM.
 */
int text_append_number(struct buf *out, uint64_t n, unsigned digits);

/** Appends `"…"`, standard base64. Returns 0 or -ENOMEM. */
int text_append_base64(struct buf *out, struct slice in);

/** Appends `text` and a JSON string. Returns 0 or -ENOMEM. */
int text_append_member(struct buf *out, const char *text, struct slice value);
