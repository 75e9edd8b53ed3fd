/*
 * A growable run of bytes, owned by whoever holds the struct. All zero is a valid empty buffer.
 * Growth doubles; a failed call leaves the buffer as it was.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/slice.h"

struct buf {
    char *data;
    size_t len;
    size_t cap;
};

/** Makes room for `more` bytes behind `len`. Returns 0 or -ENOMEM. */
int buf_reserve(struct buf *b, size_t more);

/** Appends. Returns 0 or -ENOMEM. */
int buf_append(struct buf *b, const void *data, size_t len);
int buf_append_slice(struct buf *b, struct slice s);
int buf_append_str(struct buf *b, const char *s);
int buf_append_char(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...) RT_PRINTF(2, 3);
int buf_vprintf(struct buf *b, const char *fmt, va_list ap) RT_PRINTF(2, 0);

/** Drops the first n bytes (n ≤ len), moving the rest to the front. */
void buf_consume(struct buf *b, size_t n);

/** A NUL behind the bytes (not counted in len) and the bytes as a C string; NULL without memory. */
const char *buf_cstr(struct buf *b);

/** Empties, keeping the memory. */
static inline void buf_reset(struct buf *b)
{
    b->len = 0;
}

/** Frees the memory; the buffer is empty and usable again. */
void buf_finish(struct buf *b);

static inline struct slice buf_slice(const struct buf *b)
{
    return slice_of(b->data, b->len);
}
