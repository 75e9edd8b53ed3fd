/*
 * The file `cursors`: two slots of 512 bytes for each cursor, of which the one with the higher
 * sequence number counts. Only one of them is changed by a write, so that one is whole whatever
 * becomes of it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/spool/spool.h"

#define CURSORS_FILE "cursors"
#define CURSOR_SLOT_BYTES 512
#define CURSOR_PAIR_BYTES ((size_t)2 * CURSOR_SLOT_BYTES)

struct cursor_slot {
    struct spool_place place;
    uint64_t sequence; /* from 1 on */
    char name[SPOOL_CURSOR_NAME_MAX + 1];
};

void cursor_slot_put(char out[CURSOR_SLOT_BYTES], uint64_t sequence, struct spool_place place,
                     const char *name);

enum cursor_pair { CURSOR_PAIR_EMPTY, CURSOR_PAIR_WHOLE, CURSOR_PAIR_DAMAGED };

/** Pair `index` of the file's bytes, of which the last one may be torn. */
enum cursor_pair cursor_pair_parse(struct slice file, size_t index, struct cursor_slot *ret);
