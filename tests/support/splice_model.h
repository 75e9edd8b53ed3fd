/*
 * A client and an Engine in miniature, to play record/splice against: the Engine's log grows, is
 * dropped from its beginning, and is asked for in responses that end anywhere. What is delivered
 * must be the log.
 *
 * Every decision comes from one source of choices, a seed or a fuzzer's bytes, so a game repeats
 * exactly.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/random.h"

/** Where decisions come from: the bytes until they end, or a generator. */
struct choices {
    struct random random;
    const uint8_t *bytes;
    size_t left;
    bool from_bytes;
};

/** Uniform in [0, bound) where it is random; 0 when the bytes have ended. */
uint64_t choose(struct choices *c, uint64_t bound);

enum splice_model_since {
    SPLICE_MODEL_ALL,
    SPLICE_MODEL_NOW,  /* `--since now` on a log that has a past */
    SPLICE_MODEL_PAST, /* a point in that past */
};

/** What may happen in a game. */
struct splice_model_options {
    uint32_t marks_max;
    enum splice_model_since since;
    bool engine_20_10; /* filters every record by since, and goes back at rotations; else as 26.1 */
    bool clock_steps;  /* back, by up to an hour */
    bool drops;        /* of the log's oldest records */
    bool equal_lines;  /* lines of one nanosecond that are alike */
    bool equal_parts;  /* long lines of parts that are alike */
    bool crowds;       /* more lines of one nanosecond than the history has marks, some alike */
    bool restarts;     /* with the last marks alone */
    unsigned steps;
};

struct splice_model_result {
    char error[256];                    /* empty: the log came out exactly */
    size_t records, delivered, missing; /* missing: gone before they were asked for */
    unsigned responses, widened, jumps;
    uint64_t repeated, went_back, gaps_suspected;
};

void splice_model_play(struct choices *choices, const struct splice_model_options *options,
                       struct splice_model_result *ret);
