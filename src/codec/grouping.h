/*
 * Records of one request by a key, in the order in which the keys first came; within a group in
 * the order in which the records came. Holds indices, never records.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/table.h"

#define GROUPING_END UINT32_MAX

struct group {
    struct group *next;
    struct table_link link; /* its key is the group's */
    uint32_t first, last;   /* indices */
    uint32_t count;
};

struct grouping {
    struct table table;
    struct group *head, *tail;
    uint32_t *next; /* of each index, the next one of its group; GROUPING_END behind the last */
    size_t cap;
};

int grouping_init(struct grouping *g);
void grouping_finish(struct grouping *g);

/** Forgets all groups, and makes room for `count` indices. Returns 0 or -ENOMEM. */
int grouping_begin(struct grouping *g, size_t count);

/** The group of a key (copied), made if there is none yet; NULL without memory. */
struct group *grouping_find(struct grouping *g, struct slice key);

/** Indices come in ascending order, each once. */
void grouping_add(struct grouping *g, struct group *group, uint32_t index);
