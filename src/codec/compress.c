/*
 * Compression in one call: room for the worst case is reserved first, so that the library never
 * asks for more, and a result other than "done" can only be a lack of memory.
 */
#include "ringtail/codec/compress.h"

#include <errno.h>
#include <stdint.h>

#include <zlib.h>
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#define GZIP_LEVEL_MAX 9
#define ZSTD_LEVEL_MAX 19 /* beyond it a body costs hundreds of megabytes of memory */
/* zlib's documentation of deflateInit2: the largest window, 16 more for a gzip wrapper, and the
 * usual memory. */
#define GZIP_WINDOW_BITS (15 + 16)
#define GZIP_MEM_LEVEL 8

bool compression_is_available(enum compression compression)
{
#ifdef HAVE_ZSTD
    (void)compression;
    return true;
#else
    return compression != COMPRESSION_ZSTD;
#endif
}

const char *compression_encoding(enum compression compression)
{
    switch (compression) {
    case COMPRESSION_NONE:
        return NULL;
    case COMPRESSION_GZIP:
        return "gzip";
    case COMPRESSION_ZSTD:
        return "zstd";
    }
    return NULL;
}

static int compress_gzip(int level, struct slice in, struct buf *out)
{
    z_stream z = {0};
    uLong bound;
    int r = -ENOMEM;

    level = level <= 0 ? Z_DEFAULT_COMPRESSION : MIN(level, GZIP_LEVEL_MAX);
    if (deflateInit2(&z, level, Z_DEFLATED, GZIP_WINDOW_BITS, GZIP_MEM_LEVEL, Z_DEFAULT_STRATEGY) !=
        Z_OK)
        return -ENOMEM;
    bound = deflateBound(&z, (uLong)in.len);
    if (buf_reserve(out, bound) == 0) {
        /* zlib does not write to its input; the type is from before const. */
        z.next_in = (Bytef *)(uintptr_t)in.data;
        z.avail_in = (uInt)in.len;
        z.next_out = (Bytef *)out->data;
        z.avail_out = (uInt)bound;
        if (deflate(&z, Z_FINISH) == Z_STREAM_END) {
            out->len = bound - z.avail_out;
            r = 0;
        }
    }
    (void)deflateEnd(&z);
    return r;
}

#ifdef HAVE_ZSTD
static int compress_zstd(int level, struct slice in, struct buf *out)
{
    size_t bound = ZSTD_compressBound(in.len), len;
    int r = buf_reserve(out, bound);

    if (r < 0)
        return r;
    level = level <= 0 ? ZSTD_CLEVEL_DEFAULT : MIN(level, ZSTD_LEVEL_MAX);
    len = ZSTD_compress(out->data, bound, in.data, in.len, level);
    if (ZSTD_isError(len))
        return -ENOMEM;
    out->len = len;
    return 0;
}
#endif

int compress_buf(enum compression compression, int level, struct slice in, struct buf *out)
{
    buf_reset(out);
    if (in.len > COMPRESS_INPUT_MAX)
        return -EMSGSIZE;
    switch (compression) {
    case COMPRESSION_NONE:
        return buf_append_slice(out, in);
    case COMPRESSION_GZIP:
        return compress_gzip(level, in, out);
    case COMPRESSION_ZSTD:
#ifdef HAVE_ZSTD
        return compress_zstd(level, in, out);
#else
        return -EOPNOTSUPP;
#endif
    }
    return -EINVAL;
}
