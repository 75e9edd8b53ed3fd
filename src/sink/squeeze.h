/*
 * Compression of a file, as a stream: a fixed amount of memory however large it is. Blocks; for the
 * keeper's thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/codec/compress.h"

/**
 * Writes all of `from` (from its beginning) to `to`, as one gzip member or one zstd frame with a
 * checksum. Asks `go_on` before each piece. returns: 0; -ECANCELED when told not to go on; -ENOMEM;
 * -EOPNOTSUPP; -errno from reading or writing. `ret_in` and `ret_out` are set on success: bytes.
 */
int squeeze(enum compression compression, int from, int to, bool (*go_on)(void *ctx), void *ctx,
            uint64_t *ret_in, uint64_t *ret_out);
