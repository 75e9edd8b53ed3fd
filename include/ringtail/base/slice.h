/* A borrowed run of bytes. Who hands one out says until when it is good; it is never freed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct slice {
    const char *data;
    size_t len;
};

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){.data = data, .len = len};
}

/** The bytes of a C string without its NUL; NULL gives the empty slice. */
static inline struct slice slice_str(const char *s)
{
    return (struct slice){.data = s, .len = s ? strlen(s) : 0};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_eq_str(struct slice a, const char *s)
{
    return slice_eq(a, slice_str(s));
}

/** What follows the first n bytes (n ≤ len). */
static inline struct slice slice_from(struct slice s, size_t n)
{
    return n == 0 ? s : (struct slice){.data = s.data + n, .len = s.len - n};
}

/** A malloc'ed, NUL-terminated copy; NULL without memory. */
static inline char *slice_dup(struct slice s)
{
    char *copy = malloc(s.len + 1);

    if (!copy)
        return NULL;
    if (s.len > 0)
        memcpy(copy, s.data, s.len);
    copy[s.len] = '\0';
    return copy;
}
