/*
 * Reads a page of /metrics. A page can be a megabyte, and sanitizers measure a whole C string at
 * each call that is handed one, so nothing here treats a page as such.
 */
#pragma once

#include <stdbool.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/slice.h"

/** The next series whose text begins like this, and its value; moves *rest behind it. False: none.
 */
bool metrics_page_next(struct slice *rest, const char *beginning, struct slice *ret_line,
                       double *ret_value);

/** The value of the first series that begins like this, and the sum of all. NAN: there is none. */
double metrics_page_value(const struct buf *page, const char *beginning);
double metrics_page_sum(const struct buf *page, const char *beginning);

/** The upper end of the bucket that this share (0 to 1) of a histogram without labels ends in. */
double metrics_page_quantile(const struct buf *page, const char *histogram, double share);
