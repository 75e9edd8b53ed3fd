/*
 * An intrusive hash table from strings to structs that embed a link. Open chaining; grows by
 * itself, all buckets at once. Keys are borrowed from the entries: they live and stay the same
 * while linked.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/slice.h"

struct table_link {
    struct table_link *next;
    struct slice key;
    uint64_t hash;
};

struct table {
    struct table_link **buckets;
    size_t buckets_count; /* a power of two */
    size_t count;
};

int table_init(struct table *t);
void table_finish(struct table *t); /* the entries are the owner's: only the buckets go */

struct table_link *table_find(const struct table *t, struct slice key);

/** The key must not be in the table. Returns 0; a failed growth is no error (chains get longer). */
void table_insert(struct table *t, struct table_link *link, struct slice key);
void table_remove(struct table *t, struct table_link *link);

/** Walks in no particular order: start with NULL, NULL at the end. Removing the current one is
 * allowed only after the next has been asked for. */
struct table_link *table_next(const struct table *t, struct table_link *after);
