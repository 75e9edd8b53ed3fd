/*
 * Codecs: what a request to a receiver says about records, and what its reply says about them. No
 * I/O, no time, no threads: who sends requests owns the connection, the headers and the patience.
 *
 * One request carries some records, in order. The receiver's reply gives each of them a verdict
 * (accepted, to be sent again, refused) and an outcome that says how to go on:
 *
 *   DONE       no record is left to send: each was accepted or refused
 *   AGAIN      send those with CODEC_RETRY again after a pause
 *   BUSY       the same, and the receiver has said that it is too much (429, 503)
 *   SPLIT      the request was refused for its content, and not all of it is at fault: send those
 *              with CODEC_RETRY again at once, as two requests of half as many (one for a last one)
 *   SUSPENDED  the receiver will take nothing from us (credentials, address, index): send nothing
 *              but a try now and then, of those with CODEC_RETRY
 *
 * No record is ever called accepted unless the receiver says so in a reply of its protocol with a
 * status of 2xx; whatever cannot be understood is to be sent again.
 *
 * What becomes of a line that is not UTF-8:
 *
 *   NDJSON, JSON array     "line_b64" in place of "line", as in record/ndjson.h
 *   text                   the bytes as they are
 *   Loki                   U+FFFD for what is invalid (nothing but text has a place there)
 *   Elasticsearch, Splunk  the same, and the exact bytes beside it as "line_b64"
 *   OTLP                   a body of bytes (bytes_value) in place of a string
 *
 * A codec and its judgements belong to one thread at a time. Records and their sources are only
 * read, and reference counts are left alone.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/slice.h"
#include "ringtail/record/batch.h"

/** What one request takes at most; codec_encode refuses more. */
#define CODEC_RECORDS_MAX ((size_t)65536)
#define CODEC_PAYLOAD_MAX ((size_t)64 * 1024 * 1024)

enum codec_kind {
    CODEC_NDJSON,        /* a line of JSON for each record */
    CODEC_JSON_ARRAY,    /* the same objects in one array */
    CODEC_TEXT,          /* the lines alone */
    CODEC_LOKI,          /* Loki's push API, JSON */
    CODEC_ELASTIC,       /* Elasticsearch's and OpenSearch's bulk API */
    CODEC_OTLP_JSON,     /* OTLP/HTTP logs */
    CODEC_OTLP_PROTOBUF, /* the same, binary */
    CODEC_SPLUNK,        /* Splunk's HTTP Event Collector, /services/collector/event */
};

/**
 * Borrowed for codec_create. Fields that a kind does not name are not looked at.
 *
 * Patterns are text with placeholders: {container_id} {container_id_short} {container_name} {image}
 * {stream} {host}, and of the record's time (UTC) {date} (2026-11-21) {year} {month} {day}.
 */
struct codec_options {
    enum codec_kind kind;
    /** This machine's name, for {host} and where a protocol has a place for it; NULL or "": none.
     */
    const char *host;

    /**
     * Loki: `name=pattern,name=pattern`. At least one label, at most 15 (Loki's own default limit,
     * max_label_names_per_series). Times are refused here: each would be a new stream.
     */
    const char *loki_labels;
    /** Loki: structured metadata, likewise, at most 15; NULL or "": none. */
    const char *loki_metadata;
    /** Loki: how many values a label may have. What comes beyond is CODEC_LABEL_OTHER. */
    uint32_t loki_label_values_max;

    /** Elasticsearch: the index, or data stream, as a pattern. */
    const char *elastic_index;

    /** Splunk: patterns; NULL or "": left to the receiver. */
    const char *splunk_source;
    const char *splunk_sourcetype;
    const char *splunk_index;
};

#define CODEC_LABEL_OTHER "_other"

struct codec;

/** Returns 0; -EINVAL with the reason in `why`; -ENOMEM. Any thread. */
int codec_create(const struct codec_options *options, struct codec **ret, char *why,
                 size_t why_size);

/** NULL is fine. Returns NULL. */
struct codec *codec_destroy(struct codec *c);

/** The request's Content-Type. Constant. */
const char *codec_content_type(const struct codec *c);

/** The usual path (and query) of the receiver's endpoint, for an address that names none; "/" where
 * there is no usual one. Constant. */
const char *codec_path(const struct codec *c);

/**
 * Replaces `out` with the body of one request for the records, in order (within a Loki stream by
 * time, and in order where times are equal). The same records give the same body, but for labels
 * that meet their bound.
 *
 * returns: 0; -EINVAL for none; -EMSGSIZE for more than CODEC_RECORDS_MAX records or
 *          CODEC_PAYLOAD_MAX bytes of lines; -ENOMEM. Except for 0, `out` is empty.
 */
int codec_encode(struct codec *c, const struct record *const *records, size_t count,
                 struct buf *out);

/** Loki: how often a label's value was replaced by CODEC_LABEL_OTHER, over all encoded records. */
uint64_t codec_labels_replaced(const struct codec *c);

/**
 * Loki: forgets which label values there were, so that those of containers long gone make room. To
 * be called now and then (once an hour, say): streams that are idle for long cost Loki nothing.
 */
void codec_forget_labels(struct codec *c);

/** The longest body of a reply that codec_judge has a use for. What is longer need not be read. */
size_t codec_reply_max(const struct codec *c, size_t count);

/** What came back. Slices are borrowed for the call. */
struct codec_reply {
    int status;               /* HTTP's; whatever is none is CODEC_AGAIN */
    struct slice retry_after; /* the header's value; empty: there was none */
    struct slice body;        /* decoded, if it was compressed */
    int64_t now_ns;           /* wall clock, for a Retry-After that is a date */
};

enum codec_verdict_kind {
    CODEC_RETRY, /* not known to be there: keep it */
    CODEC_ACCEPTED,
    CODEC_REFUSED, /* for its content, and it always would be: for the dead-letter file */
};

struct codec_verdict {
    uint32_t reason; /* codec_reason */
    uint16_t status; /* of the reply, or of the item in it */
    uint8_t kind;    /* enum codec_verdict_kind */
};

enum codec_outcome {
    CODEC_DONE,
    CODEC_AGAIN,
    CODEC_BUSY,
    CODEC_SPLIT,
    CODEC_SUSPENDED,
};

/** All zero is valid and can be used for one reply after the other. */
struct codec_judgement {
    enum codec_outcome outcome;
    size_t accepted, retry, refused; /* how many verdicts of each kind there are */
    /**
     * So many of the accepted records the receiver has dropped without saying which (OTLP's partial
     * success). Its protocol forbids to send any of them again: they are lost, and counted.
     */
    size_t dropped_unnamed;
    int64_t retry_after_ms; /* -1: the receiver did not say */
    uint32_t reason;        /* of the outcome, codec_reason */
    struct codec_verdict *verdicts;
    size_t count, cap;
    struct buf reasons;
};

/**
 * Judges the reply to a request for `count` records (as many as were encoded; at least one).
 *
 * returns: 0; -ENOMEM, and then nothing is known of the records: send them again.
 */
int codec_judge(const struct codec *c, const struct codec_reply *reply, size_t count,
                struct codec_judgement *j);

/**
 * Begins a judgement anew: every record to be sent again, CODEC_AGAIN, no reasons. For those who
 * judge by something else than a reply (Kafka's delivery reports). Returns 0 or -ENOMEM.
 */
int codec_judgement_begin(struct codec_judgement *j, size_t count);

/**
 * A reason as text for people: one line of UTF-8, at most CODEC_REASON_MAX bytes, empty when there
 * is none. Receivers quote lines in theirs, so it is for the dead-letter file, not for our log.
 * Good until the judgement is used again.
 */
#define CODEC_REASON_MAX 240
const char *codec_reason(const struct codec_judgement *j, uint32_t reason);

/** Frees the memory; the judgement is usable again. */
void codec_judgement_finish(struct codec_judgement *j);
