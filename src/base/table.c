/*
 * The hash table. Owns its array of buckets and nothing else: links and keys sit in the entries.
 * Every link is in the chain of the bucket that the low bits of its hash name.
 */
#include "ringtail/base/table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "ringtail/base/hash.h"

#define TABLE_FIRST_BUCKETS 16

static struct table_link **table_bucket(const struct table *t, uint64_t hash)
{
    return &t->buckets[hash & (t->buckets_count - 1)];
}

int table_init(struct table *t)
{
    *t = (struct table){.buckets_count = TABLE_FIRST_BUCKETS};
    t->buckets = calloc(t->buckets_count, sizeof(struct table_link *));
    return t->buckets ? 0 : -ENOMEM;
}

void table_finish(struct table *t)
{
    free(t->buckets);
    *t = (struct table){0};
}

struct table_link *table_find(const struct table *t, struct slice key)
{
    uint64_t hash = hash_bytes(key, 0);

    for (struct table_link *l = *table_bucket(t, hash); l; l = l->next) {
        if (l->hash == hash && slice_eq(l->key, key))
            return l;
    }
    return NULL;
}

static void table_grow(struct table *t)
{
    struct table bigger = {.buckets_count = t->buckets_count * 2, .count = t->count};

    bigger.buckets = calloc(bigger.buckets_count, sizeof(struct table_link *));
    if (!bigger.buckets)
        return; /* Longer chains are still right, and the next insertion tries again. */
    for (size_t i = 0; i < t->buckets_count; i++) {
        struct table_link *next;

        for (struct table_link *l = t->buckets[i]; l; l = next) {
            struct table_link **bucket = table_bucket(&bigger, l->hash);

            next = l->next;
            l->next = *bucket;
            *bucket = l;
        }
    }
    free(t->buckets);
    *t = bigger;
}

void table_insert(struct table *t, struct table_link *link, struct slice key)
{
    struct table_link **bucket;

    assert(!table_find(t, key));
    if (t->count >= t->buckets_count)
        table_grow(t);
    link->key = key;
    link->hash = hash_bytes(key, 0);
    bucket = table_bucket(t, link->hash);
    link->next = *bucket;
    *bucket = link;
    t->count++;
}

void table_remove(struct table *t, struct table_link *link)
{
    struct table_link **at = table_bucket(t, link->hash);

    while (*at != link) {
        assert(*at);
        at = &(*at)->next;
    }
    *at = link->next;
    link->next = NULL;
    t->count--;
}

struct table_link *table_next(const struct table *t, struct table_link *after)
{
    size_t i = 0;

    if (after) {
        if (after->next)
            return after->next;
        i = (after->hash & (t->buckets_count - 1)) + 1;
    }
    for (; i < t->buckets_count; i++) {
        if (t->buckets[i])
            return t->buckets[i];
    }
    return NULL;
}
