/*
 * Retry-After. The forms of a date are taken apart into fields, written as an RFC 3339 timestamp
 * and given to the one parser that knows the calendar. Every step is checked against the end of
 * the value.
 */
#include "ringtail/codec/retry_after.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"

#define YEAR_S INT64_C(31556952) /* a mean year of the calendar */

struct date {
    unsigned year, month, day, hour, minute, second;
    bool short_year; /* two digits */
};

static bool take(struct slice *in, const char *text)
{
    size_t len = strlen(text);

    if (in->len < len || memcmp(in->data, text, len) != 0)
        return false;
    *in = slice_from(*in, len);
    return true;
}

/** Exactly so many digits. */
static bool take_number(struct slice *in, size_t digits, unsigned *ret)
{
    unsigned n = 0;

    if (in->len < digits)
        return false;
    for (size_t i = 0; i < digits; i++) {
        char c = in->data[i];

        if (c < '0' || c > '9')
            return false;
        n = n * 10 + (unsigned)(c - '0');
    }
    *in = slice_from(*in, digits);
    *ret = n;
    return true;
}

static bool take_month(struct slice *in, unsigned *ret)
{
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

    for (unsigned i = 0; i < ARRAY_SIZE(months); i++) {
        if (take(in, months[i])) {
            *ret = i + 1;
            return true;
        }
    }
    return false;
}

static bool take_clock(struct slice *in, struct date *d)
{
    return take_number(in, 2, &d->hour) && take(in, ":") && take_number(in, 2, &d->minute) &&
           take(in, ":") && take_number(in, 2, &d->second);
}

/** `06 Nov 1994 08:49:37 GMT` */
static bool take_fixed(struct slice in, struct date *d)
{
    return take_number(&in, 2, &d->day) && take(&in, " ") && take_month(&in, &d->month) &&
           take(&in, " ") && take_number(&in, 4, &d->year) && take(&in, " ") &&
           take_clock(&in, d) && take(&in, " GMT") && in.len == 0;
}

/** `06-Nov-94 08:49:37 GMT` */
static bool take_rfc850(struct slice in, struct date *d)
{
    d->short_year = true;
    return take_number(&in, 2, &d->day) && take(&in, "-") && take_month(&in, &d->month) &&
           take(&in, "-") && take_number(&in, 2, &d->year) && take(&in, " ") &&
           take_clock(&in, d) && take(&in, " GMT") && in.len == 0;
}

/** `Nov  6 08:49:37 1994` */
static bool take_asctime(struct slice in, struct date *d)
{
    return take_month(&in, &d->month) && take(&in, " ") &&
           (take(&in, " ") ? take_number(&in, 1, &d->day) : take_number(&in, 2, &d->day)) &&
           take(&in, " ") && take_clock(&in, d) && take(&in, " ") &&
           take_number(&in, 4, &d->year) && in.len == 0;
}

static bool take_date(struct slice in, struct date *d)
{
    static const char days[7][10] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                     "Friday", "Saturday", "Sunday"};

    for (size_t i = 0; i < ARRAY_SIZE(days); i++) {
        char name[4] = {days[i][0], days[i][1], days[i][2]};
        struct slice rest = in;

        if (take(&rest, days[i]))
            return take(&rest, ", ") && take_rfc850(rest, d);
        if (take(&rest, name))
            return take(&rest, ", ") ? take_fixed(rest, d)
                                     : take(&rest, " ") && take_asctime(rest, d);
    }
    return false;
}

static int date_ns(const struct date *d, int64_t *ret_ns)
{
    char text[64];
    int len = snprintf(text, sizeof text, "%04u-%02u-%02uT%02u:%02u:%02uZ", d->year, d->month,
                       d->day, d->hour, d->minute, d->second);

    return timestamp_parse(slice_of(text, (size_t)len), ret_ns);
}

/** A year of two digits is the one that is at most 50 years ahead (RFC 9110, section 5.6.7). */
static int resolve(struct date *d, int64_t now_ns, int64_t *ret_ns)
{
    int r;

    if (!d->short_year)
        return date_ns(d, ret_ns);
    d->year += 2000;
    r = date_ns(d, ret_ns);
    if (r < 0 || *ret_ns / NSEC_PER_SEC - now_ns / NSEC_PER_SEC <= 50 * YEAR_S)
        return r;
    d->year -= 100;
    return date_ns(d, ret_ns);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

int retry_after_parse(struct slice value, int64_t now_ns, int64_t *ret_ms)
{
    struct date date = {0};
    int64_t at_ns, ms = 0;

    while (value.len > 0 && is_blank(value.data[0]))
        value = slice_from(value, 1);
    while (value.len > 0 && is_blank(value.data[value.len - 1]))
        value.len--;
    if (value.len == 0)
        return -EINVAL;

    if (value.data[0] >= '0' && value.data[0] <= '9') {
        for (size_t i = 0; i < value.len; i++) {
            char c = value.data[i];

            if (c < '0' || c > '9')
                return -EINVAL;
            ms = MIN(ms * 10 + (c - '0') * INT64_C(1000), RETRY_AFTER_MAX_MS);
        }
    } else {
        if (!take_date(value, &date) || resolve(&date, now_ns, &at_ns) < 0)
            return -EINVAL;
        if (at_ns > now_ns)
            ms = MIN((at_ns - now_ns) / NSEC_PER_MSEC, RETRY_AFTER_MAX_MS);
    }
    *ret_ms = ms;
    return 0;
}
