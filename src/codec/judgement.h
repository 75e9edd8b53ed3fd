/* Making judgements: what the codecs of this room share when they read replies. */
#pragma once

#include <stdbool.h>

#include <yyjson.h>

#include "ringtail/codec/codec.h"

/** What a status says by itself. */
enum status_class {
    STATUS_SUCCESS,
    STATUS_CONTENT,   /* the request's content is at fault, or its size */
    STATUS_AGAIN,     /* the receiver is in trouble */
    STATUS_BUSY,      /* it has too much to do */
    STATUS_SUSPENDED, /* it will take nothing from us */
};

enum status_class status_class(int status);

/** The same verdict for every record. */
void judgement_set_all(struct codec_judgement *j, enum codec_verdict_kind kind, int status,
                       uint32_t reason);

static inline void judgement_set(struct codec_judgement *j, size_t i, enum codec_verdict_kind kind,
                                 int status, uint32_t reason)
{
    j->verdicts[i] = (struct codec_verdict){reason, (uint16_t)status, (uint8_t)kind};
}

/** Refused as a whole: one record is at fault itself, several are split. */
void judgement_refuse(struct codec_judgement *j, int status, uint32_t reason);

/** By the status alone, with the beginning of the body as the reason. Returns 0 or -ENOMEM. */
int judgement_by_status(struct codec_judgement *j, int status, struct slice body);

/**
 * Keeps `prefix` (if it is not empty) and `text`, made one printable line and cut, as a reason.
 * Returns 0 or -ENOMEM.
 */
int judgement_add_reason(struct codec_judgement *j, struct slice prefix, struct slice text,
                         uint32_t *ret);

/** Counts the verdicts. */
void judgement_end(struct codec_judgement *j);

/** The body as a JSON object. Returns 0, -EBADMSG, or -ENOMEM. */
int reply_parse_json(struct slice body, yyjson_doc **ret);

void reply_doc_freep(yyjson_doc **doc);

/** A member's text; empty when it is missing or something else. */
struct slice reply_member_text(yyjson_val *object, const char *key);
