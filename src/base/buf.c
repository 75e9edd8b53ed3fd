/*
 * The growing buffer. Owns the memory behind `data`, never what was appended to it. Holds
 * len ≤ cap always, and a call that fails changes neither the bytes nor the length.
 */
#include "ringtail/base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_LEAST_CAP 64

int buf_reserve(struct buf *b, size_t more)
{
    size_t need, cap;
    char *data;

    if (more <= b->cap - b->len)
        return 0;
    if (__builtin_add_overflow(b->len, more, &need))
        return -ENOMEM;
    cap = MAX(b->cap, BUF_LEAST_CAP);
    while (cap < need) {
        if (__builtin_mul_overflow(cap, 2, &cap))
            return -ENOMEM;
    }
    data = realloc(b->data, cap);
    if (!data)
        return -ENOMEM;
    b->data = data;
    b->cap = cap;
    return 0;
}

int buf_append(struct buf *b, const void *data, size_t len)
{
    int r;

    if (len == 0)
        return 0;
    r = buf_reserve(b, len);
    if (r < 0)
        return r;
    memcpy(b->data + b->len, data, len);
    b->len += len;
    return 0;
}

int buf_append_slice(struct buf *b, struct slice s)
{
    return buf_append(b, s.data, s.len);
}

int buf_append_str(struct buf *b, const char *s)
{
    return buf_append(b, s, strlen(s));
}

int buf_append_char(struct buf *b, char c)
{
    return buf_append(b, &c, 1);
}

int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    int n, r;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    /* A format that cannot be printed is too long for an int: there is no memory for it either. */
    if (n < 0)
        return -ENOMEM;
    r = buf_reserve(b, (size_t)n + 1);
    if (r < 0)
        return r;
    (void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    b->len += (size_t)n;
    return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = buf_vprintf(b, fmt, ap);
    va_end(ap);
    return r;
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= b->len);
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}

const char *buf_cstr(struct buf *b)
{
    if (buf_reserve(b, 1) < 0)
        return NULL;
    b->data[b->len] = '\0';
    return b->data;
}

void buf_finish(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}
