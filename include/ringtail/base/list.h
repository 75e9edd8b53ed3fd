/*
 * Intrusive doubly linked lists: membership costs no allocation, and leaving a list cannot fail.
 * A link that is in no list points at itself (list_init) or is all zero.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ringtail/base/macros.h"

struct list {
    struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_is_linked(const struct list *link)
{
    return link->next && link->next != link;
}

static inline void list_append(struct list *head, struct list *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

static inline void list_prepend(struct list *head, struct list *link)
{
    list_append(head->next, link);
}

/** Leaves whichever list the link is in; does nothing to a link that is in none. */
static inline void list_remove(struct list *link)
{
    if (!link->next)
        return;
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

/** The first link, unlinked; NULL when the list is empty. */
static inline struct list *list_pop(struct list *head)
{
    struct list *first = head->next;

    if (first == head)
        return NULL;
    list_remove(first);
    return first;
}

/** Moves all links of `from` to the end of `to`, in order. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_is_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

/** Walks the links; the current one may be removed (or freed) on the way. */
#define LIST_FOR_EACH(link, head)                                                                  \
    for (struct list *link = (head)->next, *link##_next = link->next; link != (head);              \
         link = link##_next, link##_next = link->next)

/** Walks the structs of `type` that embed their link as `member`. */
#define LIST_FOR_EACH_ENTRY(var, head, type, member)                                               \
    for (type *var = container_of((head)->next, type, member),                                     \
              *var##_next = container_of(var->member.next, type, member);                          \
         &var->member != (head);                                                                   \
         var = var##_next, var##_next = container_of(var##_next->member.next, type, member))
