/*
 * Compression of request bodies, whole and in memory: gzip by zlib, zstd by libzstd where ringtail
 * is built with it. No state is kept between calls; any thread.
 */
#pragma once

#include <stdbool.h>

#include "ringtail/base/buf.h"

enum compression { COMPRESSION_NONE, COMPRESSION_GZIP, COMPRESSION_ZSTD };

/** What one call takes at most. */
#define COMPRESS_INPUT_MAX ((size_t)1 << 30)

/** Whether this build has it. */
bool compression_is_available(enum compression compression);

/** The value of the Content-Encoding header; NULL for COMPRESSION_NONE: there is no such header. */
const char *compression_encoding(enum compression compression);

/**
 * Replaces `out` with `in` compressed: one gzip member (RFC 1952) or one zstd frame (RFC 8878),
 * the latter with its content's size in its header. COMPRESSION_NONE copies.
 *
 * level:   0: the library's usual one; gzip has 1 to 9, zstd 1 to 19; others are brought in range.
 * returns: 0; -ENOMEM; -EMSGSIZE for more than COMPRESS_INPUT_MAX; -EOPNOTSUPP when this build does
 *          not have it. Except for 0, `out` is empty.
 */
int compress_buf(enum compression compression, int level, struct slice in, struct buf *out);
