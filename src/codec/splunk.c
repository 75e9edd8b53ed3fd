/*
 * Splunk's HTTP Event Collector, POST /services/collector/event: JSON objects one behind the other,
 *
 *   {"time":1700000000.123456789,"host":"…","source":"…","sourcetype":"…","index":"…",
 *    "event":"<line>","fields":{"container_id":"…","container_name":"…","image":"…","stream":"…"}}
 *
 * with the time in seconds and their fraction, and fields that are indexed and flat (Splunk's
 * documentation, "Format events for HTTP Event Collector"). The token is a header, `Authorization:
 * Splunk …`, which the caller sends.
 *
 * An event must not be missing nor blank (codes 12 and 13), so a line without anything but blanks
 * becomes {"line":"…"}, an event that is an object.
 *
 * The reply is {"text":"…","code":N}; a refusal names the event at fault, from 0 on, as
 * "invalid-event-number" ("Troubleshoot HTTP Event Collector", "Possible error codes"). Whether the
 * events before it are taken is not documented and was seen to differ (moby/moby issue 35862: they
 * are; signalfx/splunk-otel-collector-chart issue 935: they are not), so all others are sent again:
 * none is lost, some may come twice.
 */
#include <errno.h>

#include "ringtail/base/json.h"
#include "ringtail/base/macros.h"

#include "judgement.h"
#include "private.h"

/* Codes of replies with a status of 400, as documented. All but these are the content's. */
#define CODE_INCORRECT_INDEX 7
static const uint64_t configuration_codes[] = {
    10, /* data channel is missing */
    11, /* invalid data channel */
    14, /* ACK is disabled */
    16, /* query string authorization is not enabled */
};

static int init_pattern(struct pattern *p, const char *text, char *why, size_t why_size)
{
    return text && *text ? pattern_init(p, slice_str(text), why, why_size) : 0;
}

static int splunk_init(struct codec *c, const struct codec_options *options, char *why,
                       size_t why_size)
{
    int r = init_pattern(&c->source, options->splunk_source, why, why_size);

    if (r == 0)
        r = init_pattern(&c->sourcetype, options->splunk_sourcetype, why, why_size);
    if (r == 0)
        r = init_pattern(&c->index, options->splunk_index, why, why_size);
    return r;
}

static void splunk_finish(struct codec *c)
{
    pattern_finish(&c->source);
    pattern_finish(&c->sourcetype);
    pattern_finish(&c->index);
}

/** The members that all records of a source have. */
static int make_members(struct codec *c, const struct source *source)
{
    struct buf *m = &c->members;

    if (c->members_of == source)
        return 0;
    c->members_of = NULL;
    buf_reset(m);
    if (text_append_member(m, ",\"fields\":{\"container_id\":", source->id) < 0 ||
        text_append_member(m, ",\"container_name\":", source->name) < 0 ||
        text_append_member(m, ",\"image\":", source->image) < 0)
        return -ENOMEM;
    c->members_of = source;
    return 0;
}

static int append_pattern(struct codec *c, const struct pattern *p, const char *key,
                          const struct record *r, struct buf *out)
{
    if (p->parts_count == 0)
        return 0;
    buf_reset(&c->scratch);
    if (pattern_append(p, r, codec_host(c), &c->scratch) < 0)
        return -ENOMEM;
    return text_append_member(out, key, buf_slice(&c->scratch));
}

static bool is_blank(struct slice line)
{
    for (size_t i = 0; i < line.len; i++) {
        if (!strchr(" \t\r\n\v\f", line.data[i]) || line.data[i] == '\0')
            return false;
    }
    return true;
}

static int append_event(const struct record *r, struct buf *out)
{
    if (!is_blank(record_line(r)))
        return text_append_member(out, ",\"event\":", record_line(r));
    if (text_append_member(out, ",\"event\":{\"line\":", record_line(r)) < 0)
        return -ENOMEM;
    return buf_append_char(out, '}');
}

static int append_fields(struct codec *c, const struct record *r, struct buf *out)
{
    if (make_members(c, r->source) < 0 || buf_append_slice(out, buf_slice(&c->members)) < 0 ||
        text_append(out, ",\"stream\":\"", record_stream_name(r),
                    r->flags & RECORD_PARTIAL ? "\",\"partial\":\"true\"" : "\"") < 0)
        return -ENOMEM;
    if (!utf8_is_valid(record_line(r)) &&
        (buf_append_str(out, ",\"line_b64\":") < 0 || text_append_base64(out, record_line(r)) < 0))
        return -ENOMEM;
    return buf_append_char(out, '}');
}

static int splunk_encode(struct codec *c, const struct record *const *records, size_t count,
                         struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct record *r = records[i];
        uint64_t ts_ns = (uint64_t)record_time_ns(r);

        if (buf_append_str(out, "{\"time\":") < 0 ||
            text_append_number(out, ts_ns / NSEC_PER_SEC, 1) < 0 || buf_append_char(out, '.') < 0 ||
            text_append_number(out, ts_ns % NSEC_PER_SEC, 9) < 0 ||
            (c->host[0] != '\0' && text_append_member(out, ",\"host\":", codec_host(c)) < 0) ||
            append_pattern(c, &c->source, ",\"source\":", r, out) < 0 ||
            append_pattern(c, &c->sourcetype, ",\"sourcetype\":", r, out) < 0 ||
            append_pattern(c, &c->index, ",\"index\":", r, out) < 0 || append_event(r, out) < 0 ||
            append_fields(c, r, out) < 0 || buf_append_str(out, "}\n") < 0)
            return -ENOMEM;
    }
    return 0;
}

/** A success says so in words too: a page of a proxy does not. */
static int judge_success(const struct codec_reply *reply, yyjson_val *root,
                         struct codec_judgement *j)
{
    yyjson_val *code = yyjson_obj_get(root, "code");
    int r;

    if (yyjson_is_uint(code) && yyjson_get_uint(code) == 0) {
        judgement_set_all(j, CODEC_ACCEPTED, reply->status, 0);
        j->outcome = CODEC_DONE;
        return 1;
    }
    r = judgement_add_reason(j, slice_str("not a reply of the event collector"), reply->body,
                             &j->reason);
    return r < 0 ? r : 1;
}

/** Whether nothing that we send would be taken, whatever its content. */
static bool is_configuration(const struct codec *c, uint64_t code)
{
    /* An index that records choose may be wrong for one container alone. */
    if (code == CODE_INCORRECT_INDEX)
        return c->index.parts_count == 0 || c->index.is_fixed;
    for (size_t i = 0; i < ARRAY_SIZE(configuration_codes); i++) {
        if (code == configuration_codes[i])
            return true;
    }
    return false;
}

static int judge_refusal(const struct codec *c, const struct codec_reply *reply, yyjson_val *root,
                         struct codec_judgement *j)
{
    yyjson_val *code = yyjson_obj_get(root, "code");
    yyjson_val *number = yyjson_obj_get(root, "invalid-event-number");
    int r;

    if (!yyjson_is_uint(code))
        return 0;
    r = judgement_add_reason(j, (struct slice){0}, reply->body, &j->reason);
    if (r < 0)
        return r;
    judgement_set_all(j, CODEC_RETRY, reply->status, 0);
    if (is_configuration(c, yyjson_get_uint(code))) {
        j->outcome = CODEC_SUSPENDED;
    } else if (j->count > 1 && yyjson_is_uint(number) && yyjson_get_uint(number) < j->count) {
        judgement_set(j, yyjson_get_uint(number), CODEC_REFUSED, reply->status, j->reason);
        j->outcome = CODEC_SPLIT;
    } else {
        judgement_refuse(j, reply->status, j->reason);
    }
    return 1;
}

static int splunk_judge(const struct codec *c, const struct codec_reply *reply,
                        struct codec_judgement *j)
{
    RT_CLEANUP(reply_doc_freep) yyjson_doc *doc = NULL;
    enum status_class class = status_class(reply->status);
    int r;

    if (class != STATUS_SUCCESS && reply->status != 400)
        return 0;
    r = reply_parse_json(reply->body, &doc);
    if (r == -ENOMEM)
        return r;
    return class == STATUS_SUCCESS ? judge_success(reply, yyjson_doc_get_root(doc), j)
                                   : judge_refusal(c, reply, yyjson_doc_get_root(doc), j);
}

const struct codec_ops codec_splunk_ops = {
    .content_type = "application/json",
    .path = "/services/collector/event",
    .init = splunk_init,
    .finish = splunk_finish,
    .encode = splunk_encode,
    .judge = splunk_judge,
};
