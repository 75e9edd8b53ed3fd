/*
 * source_map.h. Open addressing with linear probing. An item that goes is always the newest one, so
 * no other's way leads over its slot, and emptying that is enough.
 */
#include "source_map.h"

#include <errno.h>
#include <stdlib.h>

#include "ringtail/base/macros.h"

#define FIRST_CAP 32

/** The slot that the source is in, or the empty one where it would be. */
static size_t slot_of(const struct source_map *m, const struct source *source)
{
    uint64_t hash = ((uintptr_t)source >> 4) * UINT64_C(0x9e3779b97f4a7c15);
    size_t mask = m->slots_count - 1;
    size_t i = (size_t)(hash >> 32) & mask;

    while (m->slots[i] != 0 && m->items[m->slots[i] - 1].source != source)
        i = (i + 1) & mask;
    return i;
}

const struct source_map_item *source_map_find(const struct source_map *m,
                                              const struct source *source)
{
    uint32_t number;

    if (m->count == 0)
        return NULL;
    number = m->slots[slot_of(m, source)];
    return number == 0 ? NULL : &m->items[number - 1];
}

static int grow(struct source_map *m)
{
    size_t cap = m->cap ? 2 * m->cap : FIRST_CAP;
    struct source_map_item *items = realloc(m->items, cap * sizeof *items);
    uint32_t *slots;

    if (!items)
        return -ENOMEM;
    m->items = items;
    slots = calloc(2 * cap, sizeof *slots);
    if (!slots)
        return -ENOMEM;
    free(m->slots);
    m->slots = slots;
    m->slots_count = 2 * cap;
    m->cap = cap;
    for (size_t i = 0; i < m->count; i++)
        slots[slot_of(m, items[i].source)] = (uint32_t)i + 1;
    return 0;
}

int source_map_add(struct source_map *m, struct source *source, uint32_t at)
{
    if (m->count == m->cap) {
        int r = grow(m);

        if (r < 0)
            return r;
    }
    m->slots[slot_of(m, source)] = (uint32_t)m->count + 1;
    m->items[m->count++] = (struct source_map_item){.source = source_ref(source), .at = at};
    return 0;
}

void source_map_shrink(struct source_map *m, size_t count)
{
    while (m->count > count) {
        struct source *source = m->items[m->count - 1].source;

        m->slots[slot_of(m, source)] = 0;
        m->count--;
        (void)source_unref(source);
    }
}

void source_map_finish(struct source_map *m)
{
    source_map_shrink(m, 0);
    free(m->items);
    free(m->slots);
    *m = (struct source_map){0};
}
