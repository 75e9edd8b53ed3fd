/*
 * Judgements. Reasons lie one behind the other, each with a NUL; the first is the empty one, so 0
 * means that there is none. What a receiver says is cut and made printable before it is kept.
 */
#include "judgement.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/json.h"
#include "ringtail/base/macros.h"

/*
 * RFC 9110, section 15; 425 is RFC 8470's, 429 and 431 are RFC 6585's. What is not a fault of the
 * content, and not known to pass, suspends: nothing is lost by it, and somebody gets to hear of it.
 * 5xx is to be sent again, whatever a protocol says of it, since there is no other way not to lose
 * records; only what says "never" (501, 505) suspends.
 */
enum status_class status_class(int status)
{
    if (status >= 200 && status < 300)
        return STATUS_SUCCESS;
    switch (status) {
    case 400:
    case 413:
    case 422:
        return STATUS_CONTENT;
    case 429:
    case 503:
        return STATUS_BUSY;
    case 408:
    case 425:
        return STATUS_AGAIN;
    case 501:
    case 505:
        return STATUS_SUSPENDED;
    default:
        break;
    }
    return status >= 300 && status < 500 ? STATUS_SUSPENDED : STATUS_AGAIN;
}

int codec_judgement_begin(struct codec_judgement *j, size_t count)
{
    if (count > j->cap) {
        struct codec_verdict *more = reallocarray(j->verdicts, count, sizeof *more);

        if (!more)
            return -ENOMEM;
        j->verdicts = more;
        j->cap = count;
    }
    buf_reset(&j->reasons);
    if (buf_append_char(&j->reasons, '\0') < 0)
        return -ENOMEM;
    j->count = count;
    j->outcome = CODEC_AGAIN;
    j->accepted = j->retry = j->refused = j->dropped_unnamed = 0;
    j->retry_after_ms = -1;
    j->reason = 0;
    judgement_set_all(j, CODEC_RETRY, 0, 0);
    return 0;
}

void judgement_set_all(struct codec_judgement *j, enum codec_verdict_kind kind, int status,
                       uint32_t reason)
{
    for (size_t i = 0; i < j->count; i++)
        judgement_set(j, i, kind, status, reason);
}

void judgement_refuse(struct codec_judgement *j, int status, uint32_t reason)
{
    j->reason = reason;
    if (j->count == 1) {
        judgement_set(j, 0, CODEC_REFUSED, status, reason);
        j->outcome = CODEC_DONE;
    } else {
        judgement_set_all(j, CODEC_RETRY, status, 0);
        j->outcome = CODEC_SPLIT;
    }
}

int judgement_by_status(struct codec_judgement *j, int status, struct slice body)
{
    enum status_class class = status_class(status);
    uint32_t reason = 0;
    int r;

    if (class != STATUS_SUCCESS) {
        r = judgement_add_reason(j, (struct slice){0}, body, &reason);
        if (r < 0)
            return r;
    }
    j->reason = reason;
    judgement_set_all(j, CODEC_RETRY, status, 0);
    switch (class) {
    case STATUS_SUCCESS:
        judgement_set_all(j, CODEC_ACCEPTED, status, 0);
        j->outcome = CODEC_DONE;
        break;
    case STATUS_CONTENT:
        judgement_refuse(j, status, reason);
        break;
    case STATUS_AGAIN:
        j->outcome = CODEC_AGAIN;
        break;
    case STATUS_BUSY:
        j->outcome = CODEC_BUSY;
        break;
    case STATUS_SUSPENDED:
        j->outcome = CODEC_SUSPENDED;
        break;
    }
    return 0;
}

static bool is_blank_or_control(char c)
{
    return (unsigned char)c <= ' ' || c == 0x7f;
}

/** The length of the longest beginning of at most `max` bytes that does not end inside a character.
 */
static size_t text_cut(struct slice text, size_t max)
{
    size_t len = MIN(text.len, max);

    if (len < text.len)
        while (len > 0 && ((unsigned char)text.data[len] & 0xc0) == 0x80)
            len--;
    return len;
}

/** Appends at most `room` bytes, never a part of a character; runs of blanks become one. */
static int append_printable(struct buf *out, struct slice in, size_t room)
{
    RT_CLEANUP(buf_finish) struct buf text = {0};
    bool blank = true; /* none at the beginning */
    size_t len = 0;

    in.len = text_cut(in, CODEC_REASON_MAX);
    if (utf8_append(&text, in) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < text.len; i++) {
        bool was_blank = blank;

        blank = is_blank_or_control(text.data[i]);
        if (!blank || !was_blank)
            text.data[len++] = blank ? ' ' : text.data[i];
    }
    len = text_cut(slice_of(text.data, len), room);
    while (len > 0 && text.data[len - 1] == ' ')
        len--;
    return buf_append(out, text.data, len);
}

int judgement_add_reason(struct codec_judgement *j, struct slice prefix, struct slice text,
                         uint32_t *ret)
{
    size_t start = j->reasons.len;

    if (append_printable(&j->reasons, prefix, CODEC_REASON_MAX) < 0)
        return -ENOMEM;
    if (j->reasons.len > start && text.len > 0 && j->reasons.len - start <= CODEC_REASON_MAX - 2 &&
        buf_append_str(&j->reasons, ": ") < 0)
        return -ENOMEM;
    if (append_printable(&j->reasons, text, CODEC_REASON_MAX - (j->reasons.len - start)) < 0)
        return -ENOMEM;
    if (j->reasons.len == start) {
        *ret = 0;
        return 0;
    }
    if (buf_append_char(&j->reasons, '\0') < 0)
        return -ENOMEM;
    *ret = (uint32_t)start;
    return 0;
}

void judgement_end(struct codec_judgement *j)
{
    for (size_t i = 0; i < j->count; i++) {
        switch ((enum codec_verdict_kind)j->verdicts[i].kind) {
        case CODEC_RETRY:
            j->retry++;
            break;
        case CODEC_ACCEPTED:
            j->accepted++;
            break;
        case CODEC_REFUSED:
            j->refused++;
            break;
        }
    }
    assert((j->outcome == CODEC_DONE) == (j->retry == 0));
}

const char *codec_reason(const struct codec_judgement *j, uint32_t reason)
{
    return reason < j->reasons.len ? j->reasons.data + reason : "";
}

void codec_judgement_finish(struct codec_judgement *j)
{
    free(j->verdicts);
    buf_finish(&j->reasons);
    *j = (struct codec_judgement){0};
}

void reply_doc_freep(yyjson_doc **doc)
{
    yyjson_doc_free(*doc);
}

int reply_parse_json(struct slice body, yyjson_doc **ret)
{
    RT_CLEANUP(reply_doc_freep) yyjson_doc *doc = NULL;
    yyjson_read_err err;

    if (body.len == 0)
        return -EBADMSG;
    /* Only with YYJSON_READ_INSITU would yyjson write to the text, which is why it takes a char *.
     */
    doc = yyjson_read_opts((char *)(uintptr_t)body.data, body.len, YYJSON_READ_NOFLAG, NULL, &err);
    if (!doc)
        return err.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION ? -ENOMEM : -EBADMSG;
    if (!yyjson_is_obj(yyjson_doc_get_root(doc)))
        return -EBADMSG;
    *ret = TAKE_PTR(doc);
    return 0;
}

struct slice reply_member_text(yyjson_val *object, const char *key)
{
    yyjson_val *value = yyjson_obj_get(object, key);

    return yyjson_is_str(value) ? slice_of(yyjson_get_str(value), yyjson_get_len(value))
                                : (struct slice){0};
}
