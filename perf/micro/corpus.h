/*
 * Lines to measure with, the same in every run: made up from a seed, so that lengths and bytes vary
 * as they do in a log and no branch can be learned by heart. And the same lines as the Engine
 * sends them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/slice.h"

enum corpus_kind {
    CORPUS_PLAIN,     /* 100 bytes each, nothing to escape */
    CORPUS_PLAIN_ONE, /* the same, but one line over and over: the best case */
    CORPUS_QUOTES,    /* 100 bytes each, 24 of them quotes */
    CORPUS_QUOTES_ONE,
    CORPUS_JSON,  /* JSON objects of 60 to 250 bytes */
    CORPUS_MIXED, /* what containers say: access logs, key=value, JSON, stack traces, UTF-8 */
};

/** How many lines a corpus has. */
#define CORPUS_LINES 4096
/** What the ring receives at once. */
#define CORPUS_RECEIVE_BYTES ((size_t)32768)

struct corpus {
    struct slice lines[CORPUS_LINES]; /* without newlines */
    uint64_t bytes;
    char *data;
};

struct corpus *corpus_create(enum corpus_kind kind);
void corpus_destroy(struct corpus *c);

/** A record on the wire. Its chunk is size, CRLF, frame, CRLF. */
struct wire_record {
    char *frame;          /* 8 bytes of header, then the payload */
    struct slice payload; /* timestamp, blank, text with its newline */
    struct slice text;    /* the line with its newline */
    int64_t ts_ns;
    unsigned stream; /* 1 or 2 */
};

/** The chunked body of a logs reply, one chunk a record, as the Engine sends it. */
struct wire {
    struct corpus *corpus;
    struct wire_record records[CORPUS_LINES];
    char *bytes;
    size_t len;
    int64_t next_ts_ns;
};

struct wire *wire_create(enum corpus_kind kind);
void wire_destroy(struct wire *w);

/** Every record gets a later timestamp than any had before: the log goes on. */
void wire_go_on(struct wire *w);

/** The next receive's bytes from `at` on; empty at the end. */
static inline struct slice wire_receive(const struct wire *w, size_t at)
{
    size_t left = w->len - at;

    return slice_of(w->bytes + at, left < CORPUS_RECEIVE_BYTES ? left : CORPUS_RECEIVE_BYTES);
}
