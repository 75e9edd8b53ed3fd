/*
 * What lies in a segment file: a head, then entries. Bytes only; no I/O, no memory of its own.
 *
 *   head    magic "ringspol", version, CRC32C, begin (bytes, records), when it was made; 64 bytes
 *   entry   magic, CRC32C of the header, length, CRC32C of the payload, number of the record,
 *           time, when it was appended (48 bits), for whom (16 bits), source, ordinal, stream,
 *           flags; 48 bytes; then the payload
 *
 * All numbers are little-endian. A record's payload is its line. A source's payload is its id, name
 * and image; `source` of an entry is where in the file the first copy of its source begins, so that
 * a reader finds it from anywhere. The CRC of a header begins with the entry's place, so that only
 * what was written there is taken for an entry, and not a line that looks like one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/slice.h"
#include "ringtail/record/batch.h"
#include "ringtail/spool/spool.h"

#define ENTRY_HEADER_BYTES 48
#define SEGMENT_HEAD_BYTES 64
#define SEGMENT_NAME_LEN 22 /* 16 hex digits, ".spool" */
#define SOURCE_COPIES 2

enum entry_kind { ENTRY_RECORD, ENTRY_SOURCE };

struct entry {
    enum entry_kind kind;
    uint32_t source;  /* offset in the segment */
    uint64_t number;  /* of the record; of a source: of the next record */
    int64_t ts_ns;    /* of a record */
    int64_t at_ms;    /* appended, wall clock */
    uint16_t cursors; /* bits: who is to see the record */
    uint16_t ordinal; /* these three of a record */
    uint8_t stream, flags;
    struct slice payload;
};

/** Writes a header. The payload comes in pieces; `place` is where the entry begins. */
void entry_put(char out[ENTRY_HEADER_BYTES], uint64_t place, const struct entry *e,
               const struct slice *payload, size_t pieces);

/** The payload of a source in pieces; `lengths` is memory for the first. */
#define SOURCE_PIECES 4
#define SOURCE_LENGTHS_BYTES 8
void source_put(const struct source *source, char lengths[SOURCE_LENGTHS_BYTES],
                struct slice pieces[SOURCE_PIECES]);
size_t source_entry_bytes(const struct source *source); /* one copy, header and all */

struct source_names {
    struct slice id, name, image;
};

/** False: it is none, though its CRC holds. */
bool source_parse(struct slice payload, struct source_names *ret);

struct segment_head {
    struct spool_place begin;
    int64_t made_ms;
};

void segment_head_put(char out[SEGMENT_HEAD_BYTES], const struct segment_head *head);

/** returns: 0; -EBADMSG: damaged; -EPROTONOSUPPORT: whole, and of another version. */
int segment_head_parse(struct slice in, struct segment_head *ret);

void segment_name_put(char out[SEGMENT_NAME_LEN + 1], uint64_t begin);
bool segment_name_parse(const char *name, uint64_t *ret_begin);

/* ---- walking ---- */

enum walk_step {
    WALK_RECORD,
    WALK_SOURCE,
    WALK_DAMAGED, /* bytes that are no entry, or one that isn't whole */
    WALK_MORE,    /* `need` bytes from the walk's place on are not in the window */
    WALK_END,     /* at the limit */
};

/** Goes from entry to entry. Any cut of the bytes into windows gives the same. */
struct walk {
    struct spool_place place; /* where it is, and the number of the next record */
    uint64_t limit;           /* where there is no more (bytes) */
    uint64_t missing;         /* records that this step found to be gone */
    uint64_t damaged;         /* bytes that this step has passed over */
    uint64_t entry_at;        /* where the entry of this step begins */
    size_t need;
};

/**
 * One step. `window` are the bytes from walk->place on, as many as there are up to the limit. The
 * entry's payload points into the window.
 */
enum walk_step walk_next(struct walk *w, struct slice window, struct entry *ret);
