/* src/sink/squeeze.h. One loop for both: a piece in, and out with what has become of it. */
#include "squeeze.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <zlib.h>
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#include "ringtail/base/macros.h"

#define PIECE_BYTES ((size_t)256 << 10)
/* The largest window, 16 more for a gzip wrapper, and zlib's usual memory. */
#define GZIP_WINDOW_BITS (15 + 16)
#define GZIP_MEM_LEVEL 8

struct squeezer {
    enum compression compression;
    int to;
    uint64_t in, out;
    char *piece, *result;
    z_stream gzip;
#ifdef HAVE_ZSTD
    ZSTD_CCtx *zstd;
#endif
};

static int squeezer_init(struct squeezer *s)
{
    s->piece = malloc(PIECE_BYTES);
    s->result = malloc(PIECE_BYTES);
    if (!s->piece || !s->result)
        return -ENOMEM;
    switch (s->compression) {
    case COMPRESSION_GZIP:
        return deflateInit2(&s->gzip, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW_BITS,
                            GZIP_MEM_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK
                   ? 0
                   : -ENOMEM;
    case COMPRESSION_ZSTD:
#ifdef HAVE_ZSTD
        s->zstd = ZSTD_createCCtx();
        if (!s->zstd)
            return -ENOMEM;
        return ZSTD_isError(ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_checksumFlag, 1)) ? -EINVAL : 0;
#else
        return -EOPNOTSUPP;
#endif
    case COMPRESSION_NONE:
        break;
    }
    return -EOPNOTSUPP;
}

static void squeezer_finish(struct squeezer *s)
{
    /* Both take one that has not been begun. */
    (void)deflateEnd(&s->gzip);
#ifdef HAVE_ZSTD
    (void)ZSTD_freeCCtx(s->zstd);
#endif
    free(s->piece);
    free(s->result);
}

static int write_out(struct squeezer *s, size_t len)
{
    const char *at = s->result;

    s->out += len;
    while (len > 0) {
        ssize_t n = write(s->to, at, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

static int squeeze_gzip(struct squeezer *s, size_t len)
{
    int r = 0;

    s->gzip.next_in = (Bytef *)s->piece;
    s->gzip.avail_in = (uInt)len;
    do {
        s->gzip.next_out = (Bytef *)s->result;
        s->gzip.avail_out = (uInt)PIECE_BYTES;
        if (deflate(&s->gzip, len == 0 ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_ERROR)
            return -EINVAL;
        r = write_out(s, PIECE_BYTES - s->gzip.avail_out);
    } while (r == 0 && s->gzip.avail_out == 0);
    return r;
}

static int squeeze_zstd(struct squeezer *s, size_t len)
{
#ifdef HAVE_ZSTD
    ZSTD_inBuffer in = {.src = s->piece, .size = len};
    size_t left;
    int r;

    do {
        ZSTD_outBuffer out = {.dst = s->result, .size = PIECE_BYTES};

        left = ZSTD_compressStream2(s->zstd, &out, &in, len == 0 ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return -ENOMEM;
        r = write_out(s, out.pos);
    } while (r == 0 && (len == 0 ? left > 0 : in.pos < in.size));
    return r;
#else
    (void)s;
    (void)len;
    return -EOPNOTSUPP;
#endif
}

int squeeze(enum compression compression, int from, int to, bool (*go_on)(void *ctx), void *ctx,
            uint64_t *ret_in, uint64_t *ret_out)
{
    struct squeezer s = {.compression = compression, .to = to};
    int r = squeezer_init(&s);
    ssize_t n = 1;

    while (r == 0 && n > 0) {
        if (!go_on(ctx)) {
            r = -ECANCELED;
            break;
        }
        n = pread(from, s.piece, PIECE_BYTES, (off_t)s.in);
        if (n < 0 && errno == EINTR) {
            n = 1;
            continue;
        }
        if (n < 0) {
            r = -errno;
            break;
        }
        s.in += (size_t)n;
        r = compression == COMPRESSION_GZIP ? squeeze_gzip(&s, (size_t)n)
                                            : squeeze_zstd(&s, (size_t)n);
    }
    squeezer_finish(&s);
    if (r == 0) {
        *ret_in = s.in;
        *ret_out = s.out;
    }
    return r;
}
