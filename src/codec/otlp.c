/*
 * OTLP/HTTP logs, POST /v1/logs: an ExportLogsServiceRequest as protobuf, or as JSON (OpenTelemetry
 * Protocol specification 1.9, "OTLP/HTTP"; field numbers from opentelemetry-proto's logs.proto,
 * common.proto, resource.proto and logs_service.proto). In JSON names are in lowerCamelCase, 64-bit
 * numbers are strings, bytes are base64 ("JSON Protobuf Encoding").
 *
 * One ResourceLogs for each container as it is named, with the semantic conventions' container.id,
 * container.name, container.image.name, host.name; of a record log.iostream and log.record.uid, of
 * which the conventions say that records with the same one "will be considered duplicates"
 * ("General logs attributes"), which is what our identity is for.
 *
 * The Engine's timestamp is both times of a record: the Engine observed the line then, and when its
 * writer made it nobody else knows.
 *
 * The reply to a success is an ExportLogsServiceResponse, encoded as the request was. Its
 * partial_success says how many records were rejected, not which; the client then must not send the
 * request again ("Partial Success"). Of failures the specification allows to repeat 429, 502, 503
 * and 504 and forbids the others; a 500 (or another 5xx) is repeated here all the same, because a
 * receiver in trouble is no reason to lose lines.
 */
#include <errno.h>

#include "ringtail/base/json.h"
#include "ringtail/record/identity.h"

#include "judgement.h"
#include "private.h"
#include "protobuf.h"

#define SCOPE_NAME "ringtail"
#define ATTRIBUTE_PARTIAL                                                                          \
    "ringtail.partial" /* the line has no end; the conventions have no name                        \
                        */

/* ExportLogsServiceRequest */
#define REQUEST_RESOURCE_LOGS 1
/* ResourceLogs */
#define RESOURCE_LOGS_RESOURCE 1
#define RESOURCE_LOGS_SCOPE_LOGS 2
/* Resource */
#define RESOURCE_ATTRIBUTES 1
/* ScopeLogs */
#define SCOPE_LOGS_SCOPE 1
#define SCOPE_LOGS_LOG_RECORDS 2
/* InstrumentationScope */
#define SCOPE_FIELD_NAME 1
#define SCOPE_FIELD_VERSION 2
/* LogRecord */
#define LOG_TIME_UNIX_NANO 1
#define LOG_BODY 5
#define LOG_ATTRIBUTES 6
#define LOG_OBSERVED_TIME_UNIX_NANO 11
/* KeyValue */
#define KEY_VALUE_KEY 1
#define KEY_VALUE_VALUE 2
/* AnyValue */
#define ANY_STRING 1
#define ANY_BOOL 2
#define ANY_BYTES 7
/* ExportLogsServiceResponse, ExportLogsPartialSuccess */
#define RESPONSE_PARTIAL_SUCCESS 1
#define PARTIAL_REJECTED 1
#define PARTIAL_MESSAGE 2

/** Records whose containers are named alike, whatever the struct that names them. */
static int group_sources(struct codec *c, const struct record *const *records, size_t count)
{
    const struct source *last = NULL;
    struct group *group = NULL;

    if (grouping_begin(&c->grouping, count) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        const struct source *source = records[i]->source;

        if (source != last) {
            buf_reset(&c->scratch);
            if (buf_append_slice(&c->scratch, source->id) < 0 ||
                buf_append_char(&c->scratch, '\0') < 0 ||
                buf_append_slice(&c->scratch, source->name) < 0 ||
                buf_append_char(&c->scratch, '\0') < 0 ||
                buf_append_slice(&c->scratch, source->image) < 0)
                return -ENOMEM;
            group = grouping_find(&c->grouping, buf_slice(&c->scratch));
            if (!group)
                return -ENOMEM;
            last = source;
        }
        grouping_add(&c->grouping, group, (uint32_t)i);
    }
    return 0;
}

/** `{"key":"…","value":{"stringValue":"…"}}`, and what stands before it. */
static int json_append_attribute(struct buf *out, const char *before, const char *key,
                                 struct slice value)
{
    if (text_append(out, before, "{\"key\":\"", key, "\",\"value\":{\"stringValue\":") < 0 ||
        json_append_string(out, value) < 0)
        return -ENOMEM;
    return buf_append_str(out, "}}");
}

static int json_append_resource(const struct codec *c, const struct source *source, struct buf *out)
{
    if (json_append_attribute(out, "{\"resource\":{\"attributes\":[", "container.id", source->id) <
            0 ||
        json_append_attribute(out, ",", "container.name", source->name) < 0 ||
        json_append_attribute(out, ",", "container.image.name", source->image) < 0)
        return -ENOMEM;
    if (c->host[0] != '\0' && json_append_attribute(out, ",", "host.name", codec_host(c)) < 0)
        return -ENOMEM;
    return buf_append_str(out, "]},\"scopeLogs\":[{\"scope\":{\"name\":\"" SCOPE_NAME
                               "\",\"version\":\"" RINGTAIL_VERSION "\"},\"logRecords\":[");
}

static int json_append_body(const struct record *r, struct buf *out)
{
    if (utf8_is_valid(record_line(r))) {
        if (text_append_member(out, "\"body\":{\"stringValue\":", record_line(r)) < 0)
            return -ENOMEM;
    } else if (buf_append_str(out, "\"body\":{\"bytesValue\":") < 0 ||
               text_append_base64(out, record_line(r)) < 0) {
        return -ENOMEM;
    }
    return buf_append_char(out, '}');
}

static int json_append_log(const struct record *r, struct buf *out)
{
    char id[RECORD_IDENTITY_LEN];
    uint64_t ts_ns = (uint64_t)record_time_ns(r);

    record_identity(r, id);
    if (buf_append_str(out, "{\"timeUnixNano\":\"") < 0 || text_append_number(out, ts_ns, 1) < 0 ||
        buf_append_str(out, "\",\"observedTimeUnixNano\":\"") < 0 ||
        text_append_number(out, ts_ns, 1) < 0 || buf_append_str(out, "\",") < 0 ||
        json_append_body(r, out) < 0 ||
        json_append_attribute(out, ",\"attributes\":[", "log.iostream",
                              slice_str(record_stream_name(r))) < 0 ||
        json_append_attribute(out, ",", "log.record.uid", slice_of(id, sizeof id)) < 0)
        return -ENOMEM;
    if (r->flags & RECORD_PARTIAL && buf_append_str(out, ",{\"key\":\"" ATTRIBUTE_PARTIAL
                                                         "\",\"value\":{\"boolValue\":true}}") < 0)
        return -ENOMEM;
    return buf_append_str(out, "]},");
}

static int json_encode(struct codec *c, const struct record *const *records, size_t count,
                       struct buf *out)
{
    if (group_sources(c, records, count) < 0 || buf_append_str(out, "{\"resourceLogs\":[") < 0)
        return -ENOMEM;
    for (const struct group *group = c->grouping.head; group; group = group->next) {
        if (json_append_resource(c, records[group->first]->source, out) < 0)
            return -ENOMEM;
        for (uint32_t i = group->first; i != GROUPING_END; i = c->grouping.next[i]) {
            if (json_append_log(records[i], out) < 0)
                return -ENOMEM;
        }
        out->len--; /* the last comma */
        if (buf_append_str(out, "]}]},") < 0)
            return -ENOMEM;
    }
    out->len--;
    return buf_append_str(out, "]}");
}

/** A KeyValue with a string, which on the wire has to be UTF-8. */
static int binary_append_attribute(struct buf *out, uint32_t field, const char *key,
                                   struct slice value)
{
    size_t pair, any, text;

    if (protobuf_begin(out, field, &pair) < 0 ||
        protobuf_append_bytes(out, KEY_VALUE_KEY, slice_str(key)) < 0 ||
        protobuf_begin(out, KEY_VALUE_VALUE, &any) < 0 ||
        protobuf_begin(out, ANY_STRING, &text) < 0 || utf8_append(out, value) < 0)
        return -ENOMEM;
    protobuf_end(out, text);
    protobuf_end(out, any);
    protobuf_end(out, pair);
    return 0;
}

static int binary_append_partial(struct buf *out)
{
    size_t pair, any;

    if (protobuf_begin(out, LOG_ATTRIBUTES, &pair) < 0 ||
        protobuf_append_bytes(out, KEY_VALUE_KEY, slice_str(ATTRIBUTE_PARTIAL)) < 0 ||
        protobuf_begin(out, KEY_VALUE_VALUE, &any) < 0 ||
        protobuf_append_varint(out, ANY_BOOL, 1) < 0)
        return -ENOMEM;
    protobuf_end(out, any);
    protobuf_end(out, pair);
    return 0;
}

static int binary_append_resource(const struct codec *c, const struct source *source,
                                  struct buf *out)
{
    size_t at;

    if (protobuf_begin(out, RESOURCE_LOGS_RESOURCE, &at) < 0 ||
        binary_append_attribute(out, RESOURCE_ATTRIBUTES, "container.id", source->id) < 0 ||
        binary_append_attribute(out, RESOURCE_ATTRIBUTES, "container.name", source->name) < 0 ||
        binary_append_attribute(out, RESOURCE_ATTRIBUTES, "container.image.name", source->image) <
            0)
        return -ENOMEM;
    if (c->host[0] != '\0' &&
        binary_append_attribute(out, RESOURCE_ATTRIBUTES, "host.name", codec_host(c)) < 0)
        return -ENOMEM;
    protobuf_end(out, at);
    return 0;
}

static int binary_append_scope(struct buf *out)
{
    size_t at;

    if (protobuf_begin(out, SCOPE_LOGS_SCOPE, &at) < 0 ||
        protobuf_append_bytes(out, SCOPE_FIELD_NAME, slice_str(SCOPE_NAME)) < 0 ||
        protobuf_append_bytes(out, SCOPE_FIELD_VERSION, slice_str(RINGTAIL_VERSION)) < 0)
        return -ENOMEM;
    protobuf_end(out, at);
    return 0;
}

static int binary_append_log(const struct record *r, struct buf *out)
{
    uint64_t ts_ns = (uint64_t)record_time_ns(r);
    char id[RECORD_IDENTITY_LEN];
    size_t at, body;

    record_identity(r, id);
    if (protobuf_begin(out, SCOPE_LOGS_LOG_RECORDS, &at) < 0 ||
        protobuf_append_fixed64(out, LOG_TIME_UNIX_NANO, ts_ns) < 0 ||
        protobuf_begin(out, LOG_BODY, &body) < 0 ||
        protobuf_append_bytes(out, utf8_is_valid(record_line(r)) ? ANY_STRING : ANY_BYTES,
                              record_line(r)) < 0)
        return -ENOMEM;
    protobuf_end(out, body);
    if (binary_append_attribute(out, LOG_ATTRIBUTES, "log.iostream",
                                slice_str(record_stream_name(r))) < 0 ||
        binary_append_attribute(out, LOG_ATTRIBUTES, "log.record.uid", slice_of(id, sizeof id)) <
            0 ||
        (r->flags & RECORD_PARTIAL && binary_append_partial(out) < 0) ||
        protobuf_append_fixed64(out, LOG_OBSERVED_TIME_UNIX_NANO, ts_ns) < 0)
        return -ENOMEM;
    protobuf_end(out, at);
    return 0;
}

static int binary_encode(struct codec *c, const struct record *const *records, size_t count,
                         struct buf *out)
{
    if (group_sources(c, records, count) < 0)
        return -ENOMEM;
    for (const struct group *group = c->grouping.head; group; group = group->next) {
        size_t resource_logs, scope_logs;

        if (protobuf_begin(out, REQUEST_RESOURCE_LOGS, &resource_logs) < 0 ||
            binary_append_resource(c, records[group->first]->source, out) < 0 ||
            protobuf_begin(out, RESOURCE_LOGS_SCOPE_LOGS, &scope_logs) < 0 ||
            binary_append_scope(out) < 0)
            return -ENOMEM;
        for (uint32_t i = group->first; i != GROUPING_END; i = c->grouping.next[i]) {
            if (binary_append_log(records[i], out) < 0)
                return -ENOMEM;
        }
        protobuf_end(out, scope_logs);
        protobuf_end(out, resource_logs);
    }
    return 0;
}

struct partial_success {
    uint64_t rejected;
    struct slice message; /* lent by the document, or by the body */
};

/** Numbers of 64 bits are strings, and read as numbers too ("JSON Protobuf Encoding"). */
static int parse_count(yyjson_val *value, uint64_t *ret)
{
    uint64_t n = 0;

    if (!value || yyjson_is_null(value)) {
        *ret = 0;
        return 0;
    }
    if (yyjson_is_uint(value)) {
        *ret = yyjson_get_uint(value);
        return 0;
    }
    if (!yyjson_is_str(value) || yyjson_get_len(value) == 0 || yyjson_get_len(value) > 18)
        return -EBADMSG;
    for (const char *p = yyjson_get_str(value), *end = p + yyjson_get_len(value); p < end; p++) {
        if (*p < '0' || *p > '9')
            return -EBADMSG;
        n = n * 10 + (uint64_t)(*p - '0');
    }
    *ret = n;
    return 0;
}

static int parse_json(yyjson_doc *doc, struct partial_success *ret)
{
    yyjson_val *partial = yyjson_obj_get(yyjson_doc_get_root(doc), "partialSuccess");

    if (!partial || yyjson_is_null(partial))
        return 0;
    if (!yyjson_is_obj(partial))
        return -EBADMSG;
    ret->message = reply_member_text(partial, "errorMessage");
    return parse_count(yyjson_obj_get(partial, "rejectedLogRecords"), &ret->rejected);
}

static int parse_partial(struct slice in, struct partial_success *ret)
{
    struct protobuf_field field;
    int r;

    while ((r = protobuf_next(&in, &field)) > 0) {
        if (field.number == PARTIAL_REJECTED) {
            /* An int64: a negative one is no count. */
            if (field.type != PROTOBUF_VARINT || field.number_value > INT64_MAX)
                return -EBADMSG;
            ret->rejected = field.number_value;
        } else if (field.number == PARTIAL_MESSAGE) {
            if (field.type != PROTOBUF_BYTES)
                return -EBADMSG;
            ret->message = field.bytes;
        }
    }
    return r;
}

static int parse_binary(struct slice in, struct partial_success *ret)
{
    struct protobuf_field field;
    int r;

    while ((r = protobuf_next(&in, &field)) > 0) {
        if (field.number != RESPONSE_PARTIAL_SUCCESS)
            continue;
        if (field.type != PROTOBUF_BYTES)
            return -EBADMSG;
        r = parse_partial(field.bytes, ret);
        if (r < 0)
            return r;
    }
    return r;
}

static int judge(const struct codec_reply *reply, struct codec_judgement *j, bool is_json)
{
    RT_CLEANUP(reply_doc_freep) yyjson_doc *doc = NULL;
    struct partial_success partial = {0};
    int r = 0;

    if (status_class(reply->status) != STATUS_SUCCESS)
        return 0;
    /* Nothing at all is an empty message; receivers answer requests in either encoding so. A brace
     * begins no field of protobuf, so JSON is told from it by its first byte. */
    if (reply->body.len > 0 && (is_json || reply->body.data[0] == '{')) {
        r = reply_parse_json(reply->body, &doc);
        if (r == 0)
            r = parse_json(doc, &partial);
    } else if (reply->body.len > 0) {
        r = parse_binary(reply->body, &partial);
    }
    if (r == -EBADMSG) {
        r = judgement_add_reason(j, slice_str("not a reply of OTLP"), reply->body, &j->reason);
        return r < 0 ? r : 1;
    }
    if (r < 0 || judgement_add_reason(j, (struct slice){0}, partial.message, &j->reason) < 0)
        return -ENOMEM;
    j->outcome = CODEC_DONE;
    if (partial.rejected < j->count) {
        judgement_set_all(j, CODEC_ACCEPTED, reply->status, 0);
        j->dropped_unnamed = (size_t)partial.rejected;
    } else {
        judgement_set_all(j, CODEC_REFUSED, reply->status, j->reason);
    }
    return 1;
}

static int json_judge(const struct codec *c, const struct codec_reply *reply,
                      struct codec_judgement *j)
{
    return judge(reply, j, true);
}

static int binary_judge(const struct codec *c, const struct codec_reply *reply,
                        struct codec_judgement *j)
{
    return judge(reply, j, false);
}

const struct codec_ops codec_otlp_json_ops = {
    .content_type = "application/json",
    .path = "/v1/logs",
    .encode = json_encode,
    .judge = json_judge,
};

const struct codec_ops codec_otlp_protobuf_ops = {
    .content_type = "application/x-protobuf",
    .path = "/v1/logs",
    .encode = binary_encode,
    .judge = binary_judge,
};
