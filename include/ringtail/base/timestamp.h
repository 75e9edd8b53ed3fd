/*
 * RFC 3339 timestamps, as the Engine writes them, to and from nanoseconds since 1970 (UTC).
 * The usual form is 30 bytes, `YYYY-MM-DDTHH:MM:SS.nnnnnnnnnZ`, always with nine digits
 * (measured on Engines 20.10 to 28.5); offsets and shorter or absent fractions are legal too.
 */
#pragma once

#include <stdint.h>

#include "ringtail/base/slice.h"

#define TIMESTAMP_LEN 30

/**
 * Parses one timestamp that fills `in` exactly: any fraction of 0 to 9 digits (further digits are
 * cut off), `T` or `t`, `Z`, `z` or `±HH:MM`; a leap second (:60) counts as the following second.
 * returns: 0; -EINVAL for anything else, among it days that the month does not have and instants
 * that timestamp_format cannot write (before 1970, such as the Engine's 0001-01-01T00:00:00Z for
 * "never", or after 2262-04-11).
 */
int timestamp_parse(struct slice in, int64_t *ret_ns);

/**
 * The timestamp at the head of a log payload, up to and without the blank that ends it.
 * returns: the bytes to skip (timestamp and blank); -EINVAL when there is none within 64 bytes.
 * Fast for the 30-byte form (a few ns).
 */
int timestamp_parse_prefix(struct slice in, int64_t *ret_ns);

/** Writes the 30-byte form, without a NUL. `ns` is not negative; int64 ends in the year 2262. */
void timestamp_format(char out[TIMESTAMP_LEN], int64_t ns);
