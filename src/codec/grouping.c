/* Groups. Owns the groups and their keys, each in one allocation, until the next request. */
#include "grouping.h"

#include <errno.h>
#include <stdlib.h>

int grouping_init(struct grouping *g)
{
    *g = (struct grouping){0};
    return table_init(&g->table);
}

static void forget(struct grouping *g)
{
    while (g->head) {
        struct group *group = g->head;

        g->head = group->next;
        table_remove(&g->table, &group->link);
        free(group);
    }
    g->tail = NULL;
}

void grouping_finish(struct grouping *g)
{
    forget(g);
    table_finish(&g->table);
    free(g->next);
    *g = (struct grouping){0};
}

int grouping_begin(struct grouping *g, size_t count)
{
    uint32_t *next;

    forget(g);
    if (count <= g->cap)
        return 0;
    next = realloc(g->next, count * sizeof *next);
    if (!next)
        return -ENOMEM;
    g->next = next;
    g->cap = count;
    return 0;
}

struct group *grouping_find(struct grouping *g, struct slice key)
{
    struct table_link *link = table_find(&g->table, key);
    struct group *group;
    char *copy;

    if (link)
        return container_of(link, struct group, link);
    group = malloc(sizeof *group + key.len);
    if (!group)
        return NULL;
    *group = (struct group){.first = GROUPING_END, .last = GROUPING_END};
    copy = (char *)(group + 1);
    if (key.len > 0)
        memcpy(copy, key.data, key.len);
    table_insert(&g->table, &group->link, slice_of(copy, key.len));
    if (g->tail)
        g->tail->next = group;
    else
        g->head = group;
    g->tail = group;
    return group;
}

void grouping_add(struct grouping *g, struct group *group, uint32_t index)
{
    if (group->count++ == 0)
        group->first = index;
    else
        g->next[group->last] = index;
    group->last = index;
    g->next[index] = GROUPING_END;
}
