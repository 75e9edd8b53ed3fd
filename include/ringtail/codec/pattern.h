/*
 * Patterns: text with placeholders that a record fills in. What they give is the values' own bytes;
 * whoever uses them knows what its protocol allows.
 */
#pragma once

#include <stdbool.h>

#include "ringtail/base/buf.h"
#include "ringtail/record/batch.h"

#define PATTERN_PARTS_MAX 16

enum pattern_kind {
    PATTERN_LITERAL,
    PATTERN_CONTAINER_ID,
    PATTERN_CONTAINER_ID_SHORT,
    PATTERN_CONTAINER_NAME,
    PATTERN_IMAGE,
    PATTERN_STREAM,
    PATTERN_HOST,
    PATTERN_DATE,
    PATTERN_YEAR,
    PATTERN_MONTH,
    PATTERN_DAY,
};

struct pattern_part {
    enum pattern_kind kind;
    struct slice literal; /* in `text` */
};

/** All zero is a pattern without parts, which gives nothing. */
struct pattern {
    char *text;
    size_t parts_count;
    bool by_time;  /* the record's time is in it */
    bool is_fixed; /* every record gives the same */
    struct pattern_part parts[PATTERN_PARTS_MAX];
};

/** `text` is copied. Returns 0; -EINVAL with the reason in `why`; -ENOMEM. */
int pattern_init(struct pattern *p, struct slice text, char *why, size_t why_size);

void pattern_finish(struct pattern *p);

/** Appends what the record gives. Returns 0 or -ENOMEM. */
int pattern_append(const struct pattern *p, const struct record *r, struct slice host,
                   struct buf *out);

/** Writes the reason, as printf would; returns -EINVAL. */
int pattern_refuse(char *why, size_t why_size, const char *fmt, ...) RT_PRINTF(3, 4);
