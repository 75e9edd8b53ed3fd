/*
 * Where in a segment each source lies: from the source's address, of which the map holds a
 * reference, to the offset of its first copy. Sources come in order and go in reverse.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ringtail/record/source.h"

struct source_map_item {
    struct source *source;
    uint32_t at;
};

/** All zero is empty. */
struct source_map {
    struct source_map_item *items;
    uint32_t *slots; /* numbers of items, from 1 on; 0: empty */
    size_t count, cap;
    size_t slots_count; /* a power of two, at least twice `cap` */
};

/** NULL: it is not in it. */
const struct source_map_item *source_map_find(const struct source_map *m,
                                              const struct source *source);

/** Takes a reference. The source is not in it yet. Returns 0 or -ENOMEM. */
int source_map_add(struct source_map *m, struct source *source, uint32_t at);

/** Forgets the newest until `count` are left. */
void source_map_shrink(struct source_map *m, size_t count);

void source_map_finish(struct source_map *m);
