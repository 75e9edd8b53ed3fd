/*
 * Where lines come from: one container, as records name it. Immutable once made, shared by
 * reference: a rename or a new run makes a new source, and records already read keep the one they
 * were read under. Reference counts are plain: all use is on the ring's thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/slice.h"

#define SOURCE_ID_LEN 64
#define SOURCE_ID_SHORT_LEN 12
#define SOURCE_STREAM_AT 12

struct source {
    uint32_t refs;
    uint64_t batch_seen; /* serial of the last batch that took a reference (record/batch.c's) */
    uint64_t counted;    /* 0 but while a batch's records are counted (deliver/tally.c's) */
    struct slice id;     /* 64 hex digits, NUL-terminated */
    struct slice name;   /* NUL-terminated, as the Engine gave it, without the slash */
    struct slice image;  /* NUL-terminated */
    /**
     * What is the same in all records of it as JSON, escaped once:
     * `","stream":"stdout","container_id":"…","container_name":"…","image":"…","line`. The six
     * letters of the stream, equally many for both, are at SOURCE_STREAM_AT.
     */
    struct slice json_middle;
};

/** Copies all three. NULL without memory. The caller holds the first reference. */
struct source *source_create(struct slice id, struct slice name, struct slice image);

struct source *source_ref(struct source *s);

/** Frees with the last reference. NULL is fine. Returns NULL. */
struct source *source_unref(struct source *s);
