#include "support/metrics_page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"

static double number_at(const char *at, size_t len)
{
    char copy[40];

    snprintf(copy, sizeof copy, "%.*s", (int)MIN(len, sizeof copy - 1), at);
    return strtod(copy, NULL);
}

bool metrics_page_next(struct slice *rest, const char *beginning, struct slice *ret_line,
                       double *ret_value)
{
    size_t len = strlen(beginning);

    while (rest->len > 0) {
        const char *end = memchr(rest->data, '\n', rest->len);
        struct slice line = {rest->data, end ? (size_t)(end - rest->data) : rest->len};
        const char *space = memrchr(line.data, ' ', line.len);

        *rest = slice_from(*rest, line.len + (end != NULL));
        if (space && line.len >= len && memcmp(line.data, beginning, len) == 0) {
            *ret_line = line;
            *ret_value = number_at(space, line.len - (size_t)(space - line.data));
            return true;
        }
    }
    return false;
}

double metrics_page_value(const struct buf *page, const char *beginning)
{
    struct slice rest = buf_slice(page), line;
    double value;

    return metrics_page_next(&rest, beginning, &line, &value) ? value : NAN;
}

double metrics_page_sum(const struct buf *page, const char *beginning)
{
    struct slice rest = buf_slice(page), line;
    double value, sum = NAN;

    while (metrics_page_next(&rest, beginning, &line, &value))
        sum = (isnan(sum) ? 0 : sum) + value;
    return sum;
}

double metrics_page_quantile(const struct buf *page, const char *histogram, double share)
{
    struct slice rest = buf_slice(page), line;
    char beginning[160];
    double value, total;

    snprintf(beginning, sizeof beginning, "%s_count ", histogram);
    total = metrics_page_value(page, beginning);
    if (!(total > 0))
        return NAN;
    snprintf(beginning, sizeof beginning, "%s_bucket{le=\"", histogram);
    while (metrics_page_next(&rest, beginning, &line, &value)) {
        size_t len = strlen(beginning);

        if (value >= total * share)
            return number_at(line.data + len, line.len - len);
    }
    return NAN;
}
