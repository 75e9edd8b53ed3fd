/*
 * The bulk API of Elasticsearch and OpenSearch, POST /_bulk, as NDJSON of two lines a record:
 *
 *   {"create":{"_index":"…","_id":"…"}}
 *   {"@timestamp":"…Z","message":"…","log":{"iostream":"stdout"},"container":{…}}
 *
 * `create` is what data streams take, and it fails when the index has that _id already (Elastic's
 * documentation, "Bulk API"); the _id is the record's identity, so a repeat is answered with 409
 * for the item and is no second document. Where the name of the index changes by date it does so by
 * the record's time, so that a repeat on the next day meets the same index.
 *
 * The reply is 200 with one item for each action, in order, each with a status of its own; its
 * `errors` is true when one has failed (the same). The path asks for those parts of it only that
 * are read here ("Common options", "Response filtering").
 *
 * Members are named by the Elastic Common Schema: @timestamp, message, container.id,
 * container.name, container.image.name, host.name; `log.iostream` is OpenTelemetry's.
 */
#include <errno.h>

#include "ringtail/base/json.h"
#include "ringtail/base/timestamp.h"
#include "ringtail/record/identity.h"

#include "judgement.h"
#include "private.h"

/* "Create index API": not longer than this; no upper-case letter and none of these; no -, _ or + in
 * front; neither . nor .. */
#define INDEX_MAX 255
#define INDEX_FORBIDDEN "\\/*?\"<>| ,#:"
/* An item with a reason that quotes a field; without one it is some 30 bytes. */
#define ITEM_REPLY_MAX 4096

static int elastic_init(struct codec *c, const struct codec_options *options, char *why,
                        size_t why_size)
{
    return pattern_init(&c->index, slice_str(options->elastic_index), why, why_size);
}

static void elastic_finish(struct codec *c)
{
    pattern_finish(&c->index);
}

/** The name of the record's index, in c->scratch. */
static int make_index(struct codec *c, const struct record *r)
{
    struct buf *name = &c->scratch;

    buf_reset(name);
    if (pattern_append(&c->index, r, codec_host(c), name) < 0)
        return -ENOMEM;
    name->len = MIN(name->len, (size_t)INDEX_MAX);
    for (size_t i = 0; i < name->len; i++) {
        unsigned char ch = (unsigned char)name->data[i];

        if (ch >= 'A' && ch <= 'Z')
            name->data[i] = (char)(ch - 'A' + 'a');
        else if (ch < ' ' || ch >= 0x7f || strchr(INDEX_FORBIDDEN, ch))
            name->data[i] = '_';
    }
    if (name->len == 0 || slice_eq_str(buf_slice(name), ".") ||
        slice_eq_str(buf_slice(name), "..")) {
        buf_reset(name);
        return buf_append_char(name, 'x');
    }
    if (strchr("-_+", name->data[0]))
        name->data[0] = 'x';
    return 0;
}

/** The members that all records of a source have. */
static int make_members(struct codec *c, const struct source *source)
{
    struct buf *m = &c->members;

    if (c->members_of == source)
        return 0;
    c->members_of = NULL;
    buf_reset(m);
    if (text_append_member(m, ",\"container\":{\"id\":", source->id) < 0 ||
        text_append_member(m, ",\"name\":", source->name) < 0 ||
        text_append_member(m, ",\"image\":{\"name\":", source->image) < 0 ||
        buf_append_str(m, "}}") < 0)
        return -ENOMEM;
    if (c->host[0] != '\0' && (text_append_member(m, ",\"host\":{\"name\":", codec_host(c)) < 0 ||
                               buf_append_char(m, '}') < 0))
        return -ENOMEM;
    c->members_of = source;
    return 0;
}

static int append_document(struct codec *c, const struct record *r, struct buf *out)
{
    char time[TIMESTAMP_LEN];

    timestamp_format(time, record_time_ns(r));
    if (buf_append_str(out, "{\"@timestamp\":\"") < 0 || buf_append(out, time, sizeof time) < 0 ||
        text_append_member(out, "\",\"message\":", record_line(r)) < 0 ||
        text_append(out, ",\"log\":{\"iostream\":\"", record_stream_name(r),
                    r->flags & RECORD_PARTIAL ? "\",\"partial\":true}" : "\"}") < 0)
        return -ENOMEM;
    if (!utf8_is_valid(record_line(r)) &&
        (buf_append_str(out, ",\"line_b64\":") < 0 || text_append_base64(out, record_line(r)) < 0))
        return -ENOMEM;
    if (make_members(c, r->source) < 0 || buf_append_slice(out, buf_slice(&c->members)) < 0)
        return -ENOMEM;
    return buf_append_str(out, "}\n");
}

static int elastic_encode(struct codec *c, const struct record *const *records, size_t count,
                          struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        char id[RECORD_IDENTITY_LEN];

        record_identity(records[i], id);
        if (make_index(c, records[i]) < 0 ||
            text_append_member(out, "{\"create\":{\"_index\":", buf_slice(&c->scratch)) < 0 ||
            buf_append_str(out, ",\"_id\":\"") < 0 || buf_append(out, id, sizeof id) < 0 ||
            buf_append_str(out, "\"}}\n") < 0 || append_document(c, records[i], out) < 0)
            return -ENOMEM;
    }
    return 0;
}

/** What the reply has said so far, over all items. */
struct tally {
    size_t again, busy, suspended;
    uint32_t reason; /* of the first item that is worth one */
};

/** Whether an error with a status of 400 is about the index all the same: it is closed, say. */
static bool is_about_index(struct slice type)
{
    static const char *const beginnings[] = {"index_", "invalid_index"};

    for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++) {
        size_t len = strlen(beginnings[i]);

        if (type.len >= len && memcmp(type.data, beginnings[i], len) == 0)
            return true;
    }
    return false;
}

static int judge_item(struct codec_judgement *j, size_t i, int status, yyjson_val *error,
                      struct tally *tally)
{
    struct slice type = reply_member_text(error, "type");
    enum codec_verdict_kind kind = CODEC_RETRY;
    uint32_t reason = 0;

    switch (status_class(status)) {
    case STATUS_SUCCESS:
        kind = CODEC_ACCEPTED;
        break;
    case STATUS_CONTENT:
        /* Something is wrong with the document: a mapping that it does not fit, mostly. */
        if (is_about_index(type))
            tally->suspended++;
        else
            kind = CODEC_REFUSED;
        break;
    case STATUS_AGAIN:
        tally->again++;
        break;
    case STATUS_BUSY:
        tally->busy++;
        break;
    case STATUS_SUSPENDED:
        /* A conflict: the document is there, from an earlier try. All else here is the index's: it
         * is missing, closed, read-only because a disk is full, or not ours to write. */
        if (status == 409)
            kind = CODEC_ACCEPTED;
        else
            tally->suspended++;
        break;
    }
    if (kind != CODEC_ACCEPTED && (kind == CODEC_REFUSED || tally->reason == 0)) {
        int r = judgement_add_reason(j, type, reply_member_text(error, "reason"), &reason);

        if (r < 0)
            return r;
        if (tally->reason == 0)
            tally->reason = reason;
    }
    judgement_set(j, i, kind, status, reason);
    return 0;
}

/** An item is an object with one member, named by its action. Returns 0, -EBADMSG or -ENOMEM. */
static int judge_items(struct codec_judgement *j, yyjson_val *items, struct tally *tally)
{
    yyjson_arr_iter iter = yyjson_arr_iter_with(items);
    yyjson_val *item;

    for (size_t i = 0; (item = yyjson_arr_iter_next(&iter)); i++) {
        yyjson_obj_iter members = yyjson_obj_iter_with(item);
        yyjson_val *action = yyjson_obj_iter_get_val(yyjson_obj_iter_next(&members));
        yyjson_val *status = yyjson_obj_get(action, "status");
        int r;

        if (!yyjson_is_uint(status) || yyjson_get_uint(status) > 599 ||
            yyjson_get_uint(status) < 200)
            return -EBADMSG;
        r = judge_item(j, i, (int)yyjson_get_uint(status), yyjson_obj_get(action, "error"), tally);
        if (r < 0)
            return r;
    }
    return 0;
}

static int not_understood(struct codec_judgement *j, const struct codec_reply *reply)
{
    int r = codec_judgement_begin(j, j->count);

    if (r == 0)
        r = judgement_add_reason(j, slice_str("not a reply of the bulk API"), reply->body,
                                 &j->reason);
    return r < 0 ? r : 1;
}

static int elastic_judge(const struct codec *c, const struct codec_reply *reply,
                         struct codec_judgement *j)
{
    RT_CLEANUP(reply_doc_freep) yyjson_doc *doc = NULL;
    struct tally tally = {0};
    yyjson_val *root, *items;
    int r;

    if (status_class(reply->status) != STATUS_SUCCESS)
        return 0;
    r = reply_parse_json(reply->body, &doc);
    if (r < 0)
        return r == -EBADMSG ? not_understood(j, reply) : r;
    root = yyjson_doc_get_root(doc);
    items = yyjson_obj_get(root, "items");
    if (!yyjson_is_bool(yyjson_obj_get(root, "errors")) || yyjson_arr_size(items) != j->count)
        return not_understood(j, reply);
    r = judge_items(j, items, &tally);
    if (r < 0)
        return r == -EBADMSG ? not_understood(j, reply) : r;
    j->reason = tally.reason;
    if (tally.suspended > 0)
        j->outcome = CODEC_SUSPENDED;
    else if (tally.busy > 0)
        j->outcome = CODEC_BUSY;
    else
        j->outcome = tally.again > 0 ? CODEC_AGAIN : CODEC_DONE;
    return 1;
}

const struct codec_ops codec_elastic_ops = {
    .content_type = "application/x-ndjson",
    .path = "/_bulk?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason",
    .item_reply_max = ITEM_REPLY_MAX,
    .init = elastic_init,
    .finish = elastic_finish,
    .encode = elastic_encode,
    .judge = elastic_judge,
};
