/*
 * codec/codec.h: what all codecs have in common, and the three that need nothing else (NDJSON, JSON
 * array, text), whose receivers say everything by the status.
 */
#include "ringtail/codec/codec.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "ringtail/base/json.h"
#include "ringtail/codec/retry_after.h"
#include "ringtail/record/ndjson.h"

#include "judgement.h"
#include "private.h"

#define NUMBER_DIGITS_MAX 20
/* What a reply may have beside its items. */
#define REPLY_MAX ((size_t)64 * 1024)

static int encode_ndjson(struct codec *c, const struct record *const *records, size_t count,
                         struct buf *out)
{
    int r = 0;

    for (size_t i = 0; i < count && r == 0; i++)
        r = ndjson_append(out, records[i]);
    return r;
}

static int encode_json_array(struct codec *c, const struct record *const *records, size_t count,
                             struct buf *out)
{
    int r = buf_append_char(out, '[');

    for (size_t i = 0; i < count && r == 0; i++) {
        r = ndjson_append(out, records[i]);
        if (r == 0)
            out->data[out->len - 1] = ','; /* the newline */
    }
    if (r < 0)
        return r;
    out->data[out->len - 1] = ']'; /* the last comma */
    return 0;
}

static int encode_text(struct codec *c, const struct record *const *records, size_t count,
                       struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        if (buf_append_slice(out, record_line(records[i])) < 0 || buf_append_char(out, '\n') < 0)
            return -ENOMEM;
    }
    return 0;
}

static const struct codec_ops ndjson_ops = {
    .content_type = "application/x-ndjson",
    .path = "/",
    .encode = encode_ndjson,
};

static const struct codec_ops json_array_ops = {
    .content_type = "application/json",
    .path = "/",
    .encode = encode_json_array,
};

static const struct codec_ops text_ops = {
    .content_type = "text/plain",
    .path = "/",
    .encode = encode_text,
};

static const struct codec_ops *ops_of(enum codec_kind kind)
{
    switch (kind) {
    case CODEC_NDJSON:
        return &ndjson_ops;
    case CODEC_JSON_ARRAY:
        return &json_array_ops;
    case CODEC_TEXT:
        return &text_ops;
    case CODEC_LOKI:
        return &codec_loki_ops;
    case CODEC_ELASTIC:
        return &codec_elastic_ops;
    case CODEC_OTLP_JSON:
        return &codec_otlp_json_ops;
    case CODEC_OTLP_PROTOBUF:
        return &codec_otlp_protobuf_ops;
    case CODEC_SPLUNK:
        return &codec_splunk_ops;
    }
    return NULL;
}

int codec_create(const struct codec_options *options, struct codec **ret, char *why,
                 size_t why_size)
{
    const struct codec_ops *ops = ops_of(options->kind);
    struct codec *c;
    int r;

    if (!ops)
        return pattern_refuse(why, why_size, "no such codec");
    c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->ops = ops;
    c->host = strdup(options->host ? options->host : "");
    r = c->host ? grouping_init(&c->grouping) : -ENOMEM;
    if (r == 0 && ops->init)
        r = ops->init(c, options, why, why_size);
    if (r < 0) {
        (void)codec_destroy(c);
        return r;
    }
    *ret = c;
    return 0;
}

struct codec *codec_destroy(struct codec *c)
{
    if (!c)
        return NULL;
    if (c->ops->finish)
        c->ops->finish(c);
    grouping_finish(&c->grouping);
    buf_finish(&c->scratch);
    buf_finish(&c->members);
    free(c->host);
    free(c);
    return NULL;
}

const char *codec_content_type(const struct codec *c)
{
    return c->ops->content_type;
}

const char *codec_path(const struct codec *c)
{
    return c->ops->path;
}

int codec_encode(struct codec *c, const struct record *const *records, size_t count,
                 struct buf *out)
{
    size_t payload = 0;
    int r;

    buf_reset(out);
    if (count == 0)
        return -EINVAL;
    if (count > CODEC_RECORDS_MAX)
        return -EMSGSIZE;
    for (size_t i = 0; i < count; i++)
        payload += records[i]->len;
    if (payload > CODEC_PAYLOAD_MAX)
        return -EMSGSIZE;
    /* The last call's sources may be gone, and others in their place. */
    c->members_of = NULL;
    r = c->ops->encode(c, records, count, out);
    if (r < 0)
        buf_reset(out);
    return r;
}

size_t codec_reply_max(const struct codec *c, size_t count)
{
    return REPLY_MAX + MIN(count, CODEC_RECORDS_MAX) * c->ops->item_reply_max;
}

int codec_judge(const struct codec *c, const struct codec_reply *reply, size_t count,
                struct codec_judgement *j)
{
    struct codec_reply bounded = *reply;
    int r;

    assert(count > 0);
    bounded.body.len = MIN(bounded.body.len, codec_reply_max(c, count));
    r = codec_judgement_begin(j, count);
    if (r < 0)
        return r;
    r = c->ops->judge ? c->ops->judge(c, &bounded, j) : 0;
    if (r == 0)
        r = judgement_by_status(j, bounded.status, bounded.body);
    if (r < 0)
        return r;
    judgement_end(j);
    if (reply->retry_after.len > 0 && j->outcome != CODEC_DONE && j->outcome != CODEC_SPLIT)
        (void)retry_after_parse(reply->retry_after, reply->now_ns, &j->retry_after_ms);
    return 0;
}

int text_append_all(struct buf *out, const char *const *texts)
{
    int r = 0;

    for (; *texts && r == 0; texts++)
        r = buf_append_str(out, *texts);
    return r;
}

int text_append_number(struct buf *out, uint64_t n, unsigned digits)
{
    char text[NUMBER_DIGITS_MAX];
    char *p = text + sizeof text;

    while (n > 0 || text + sizeof text - p < digits) {
        *--p = (char)('0' + n % 10);
        n /= 10;
    }
    return buf_append(out, p, (size_t)(text + sizeof text - p));
}

int text_append_base64(struct buf *out, struct slice in)
{
    int r = buf_reserve(out, BASE64_LEN(in.len) + 2);
    char *p;

    if (r < 0)
        return r;
    p = out->data + out->len;
    *p++ = '"';
    p = base64_encode(p, in);
    *p++ = '"';
    out->len = (size_t)(p - out->data);
    return 0;
}

int text_append_member(struct buf *out, const char *text, struct slice value)
{
    int r = buf_append_str(out, text);

    return r < 0 ? r : json_append_string(out, value);
}
