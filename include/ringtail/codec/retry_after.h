/*
 * The Retry-After header: how long a receiver asks to be left alone (RFC 9110, section 10.2.3).
 * Pure; the caller says what time it is.
 */
#pragma once

#include <stdint.h>

#include "ringtail/base/slice.h"

/** Whatever is asked for, it is never more than this: a day. */
#define RETRY_AFTER_MAX_MS INT64_C(86400000)

/**
 * Parses the header's value: seconds (`120`), or a date in one of the three forms of RFC 9110,
 * section 5.6.7 (`Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT`,
 * `Sun Nov  6 08:49:37 1994`). Blanks and tabs around it are ignored. The name of the day is only
 * checked to be one.
 *
 * now_ns:  wall clock; what a date is measured against.
 * ret_ms:  from now on; 0 for a date that has passed; at most RETRY_AFTER_MAX_MS.
 * returns: 0; -EINVAL for anything else, among it dates before 1970 and days that do not exist.
 */
int retry_after_parse(struct slice value, int64_t now_ns, int64_t *ret_ms);
