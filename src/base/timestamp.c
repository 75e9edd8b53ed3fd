/*
 * RFC 3339 to nanoseconds and back, in the proleptic Gregorian calendar and UTC. No time zone
 * database, no libc time functions (they are slow, and depend on TZ). The only state are two caches
 * of each thread: the second that was read last and the one that was written last, since the lines
 * of a burst share it and only their fractions differ.
 *
 * The Engine's own 30-byte form is read as four words: each is XORed with the form's own bytes, so
 * that digits become 0…9 and separators 0, and one addition per word shows whether all are so.
 */
#include "ringtail/base/timestamp.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "ringtail/base/macros.h"

#define PREFIX_MAX 64
/* `YYYY-MM-DDTHH:MM:SS.` */
#define SECOND_LEN 20
#define DAY_S INT64_C(86400)
/* Days from 0000-03-01 to 1970-01-01. */
#define EPOCH_FROM_MARCH_0 719468u
/* Days from 0001-01-01 to 1970-01-01. */
#define EPOCH_FROM_YEAR_1 719162

struct civil {
    uint32_t year, month, day, hour, minute, second;
};

static inline bool year_is_leap(uint32_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/** Seconds since 1970 of a date and time that exist, from 1969 on (offsets reach back a day). */
static inline bool civil_to_seconds(const struct civil *c, int64_t *ret_s)
{
    static const uint16_t days_before[16] = {0,   0,   31,  59,  90,  120, 151,
                                             181, 212, 243, 273, 304, 334};
    static const uint8_t days_in[16] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    uint32_t days, leap, past = c->year - 1;

    if (c->year < 1969 || c->month > 12 || c->hour > 23 || c->minute > 59 || c->second > 60)
        return false;
    leap = year_is_leap(c->year);
    /* Month 0 has no days, so it is refused here too. */
    if (c->day == 0 || c->day > days_in[c->month] + (leap & (c->month == 2)))
        return false;
    days = past * 365 + past / 4 - past / 100 + past / 400;
    days += days_before[c->month] + (leap & (c->month > 2)) + c->day - 1;
    *ret_s =
        ((int64_t)days - EPOCH_FROM_YEAR_1) * DAY_S + (c->hour * 3600 + c->minute * 60 + c->second);
    return true;
}

/** The word at `p` with the bytes of `form` taken off; false when one is not as `above` allows. */
static inline bool form_take(const char *p, const char form[8], uint64_t above, uint64_t *ret)
{
    uint64_t x, f;

    memcpy(&x, p, sizeof x);
    memcpy(&f, form, sizeof f);
    x = le64toh(x) ^ le64toh(f);
    if (((x + above) | x) & UINT64_C(0x8080808080808080))
        return false;
    *ret = x;
    return true;
}

/** Makes byte i the two-digit number of the digits i and i+1. */
static inline uint64_t digits_pair(uint64_t x)
{
    return x * 10 + (x >> 8);
}

static inline uint32_t byte_at(uint64_t x, unsigned i)
{
    return (uint32_t)(x >> (8 * i)) & 0xff;
}

/** The nine digits and the `Z` behind the second. */
static inline bool fraction_parse(const char *p, int64_t *ret_ns)
{
    const uint64_t above = UINT64_C(0x7676767676767676), low = UINT64_C(0x000000ff000000ff);
    uint32_t last = (uint32_t)(uint8_t)p[8] - '0';
    uint64_t x;

    if (!form_take(p, "00000000", above, &x) || last > 9 || p[9] != 'Z')
        return false;
    x = digits_pair(x);
    /* The pairs 0 and 2 of a word, then 1 and 3: each product adds up in the upper half. */
    x = ((x & low) * ((UINT64_C(1000000) << 32) + 100) +
         (x >> 16 & low) * ((UINT64_C(10000) << 32) + 1)) >>
        32;
    *ret_ns = (int64_t)(x * 10 + last);
    return true;
}

/** The 30 bytes at `p`, when they have the Engine's form and lie in the years 1970 to 2261. */
static bool form_parse_whole(const char *p, int64_t *ret_ns)
{
    /* Added to a byte, these carry into bit 7 from 10 on for digits, from 1 on for separators. */
    const uint64_t above_0 = UINT64_C(0x7f76767f76767676), above_1 = UINT64_C(0x76767f76767f7676);
    const uint64_t above_2 = UINT64_C(0x767676767f76767f), above_3 = UINT64_C(0x7f76767676767676);
    uint64_t date, time, second, fraction;
    uint64_t date_2, time_2, second_2, fraction_2;
    struct civil c;
    int64_t s;

    if (!form_take(p, "0000-00-", above_0, &date) ||
        !form_take(p + 8, "00T00:00", above_1, &time) ||
        !form_take(p + 16, ":00.0000", above_2, &second) ||
        !form_take(p + 22, "0000000Z", above_3, &fraction))
        return false;
    date_2 = digits_pair(date);
    time_2 = digits_pair(time);
    second_2 = digits_pair(second);
    fraction_2 = digits_pair(fraction);
    c = (struct civil){
        .year = byte_at(date_2, 0) * 100 + byte_at(date_2, 2),
        .month = byte_at(date_2, 5),
        .day = byte_at(time_2, 0),
        .hour = byte_at(time_2, 3),
        .minute = byte_at(time_2, 6),
        .second = byte_at(second_2, 1),
    };
    if (c.year - 1970 > 2261 - 1970 || !civil_to_seconds(&c, &s))
        return false;
    *ret_ns = s * NSEC_PER_SEC + byte_at(second_2, 4) * 10000000 + byte_at(second_2, 6) * 100000 +
              byte_at(fraction_2, 2) * 1000 + byte_at(fraction_2, 4) * 10 + byte_at(fraction, 6);
    return true;
}

/** The same; all but the fraction is looked at only when it is not that of the last call. */
static inline bool form_parse(const char *p, int64_t *ret_ns)
{
    static _Thread_local struct {
        char text[SECOND_LEN]; /* all zero is none */
        int64_t ns;
    } last;
    int64_t fraction_ns;

    if (unlikely(memcmp(p, last.text, SECOND_LEN) != 0)) {
        if (!form_parse_whole(p, ret_ns))
            return false;
        memcpy(last.text, p, SECOND_LEN);
        last.ns = *ret_ns - *ret_ns % NSEC_PER_SEC;
        return true;
    }
    if (unlikely(!fraction_parse(p + SECOND_LEN, &fraction_ns)))
        return false;
    *ret_ns = last.ns + fraction_ns;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/** Takes `count` digits off the head. */
static bool take_number(struct slice *in, size_t count, uint32_t *ret)
{
    uint32_t value = 0;

    if (in->len < count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!is_digit(in->data[i]))
            return false;
        value = value * 10 + (uint32_t)(in->data[i] - '0');
    }
    *in = slice_from(*in, count);
    *ret = value;
    return true;
}

static bool take_char(struct slice *in, char a, char b)
{
    if (in->len == 0 || (in->data[0] != a && in->data[0] != b))
        return false;
    *in = slice_from(*in, 1);
    return true;
}

/** A fraction, if there is one: false only for a point without digits. */
static bool take_fraction(struct slice *in, uint32_t *ret_ns)
{
    uint32_t value = 0;
    size_t digits = 0;

    *ret_ns = 0;
    if (!take_char(in, '.', '.'))
        return true;
    for (; in->len > 0 && is_digit(in->data[0]); *in = slice_from(*in, 1), digits++) {
        if (digits < 9)
            value = value * 10 + (uint32_t)(in->data[0] - '0');
    }
    if (digits == 0)
        return false;
    for (; digits < 9; digits++)
        value *= 10;
    *ret_ns = value;
    return true;
}

static bool take_offset(struct slice *in, int64_t *ret_s)
{
    uint32_t hours, minutes;
    bool west;

    *ret_s = 0;
    if (take_char(in, 'Z', 'z'))
        return true;
    west = in->len > 0 && in->data[0] == '-';
    if (!take_char(in, '+', '-') || !take_number(in, 2, &hours) || !take_char(in, ':', ':') ||
        !take_number(in, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret_s = (int64_t)hours * 3600 + (int64_t)minutes * 60;
    if (west)
        *ret_s = -*ret_s;
    return true;
}

static int general_parse(struct slice in, int64_t *ret_ns)
{
    struct civil c;
    uint32_t fraction_ns;
    int64_t s, offset_s, ns;

    if (!take_number(&in, 4, &c.year) || !take_char(&in, '-', '-') ||
        !take_number(&in, 2, &c.month) || !take_char(&in, '-', '-') ||
        !take_number(&in, 2, &c.day) || !take_char(&in, 'T', 't') ||
        !take_number(&in, 2, &c.hour) || !take_char(&in, ':', ':') ||
        !take_number(&in, 2, &c.minute) || !take_char(&in, ':', ':') ||
        !take_number(&in, 2, &c.second) || !take_fraction(&in, &fraction_ns) ||
        !take_offset(&in, &offset_s) || in.len > 0)
        return -EINVAL;
    if (!civil_to_seconds(&c, &s))
        return -EINVAL;
    s -= offset_s;
    if (s < 0 || __builtin_mul_overflow(s, NSEC_PER_SEC, &ns) ||
        __builtin_add_overflow(ns, fraction_ns, &ns))
        return -EINVAL;
    *ret_ns = ns;
    return 0;
}

int timestamp_parse(struct slice in, int64_t *ret_ns)
{
    if (in.len == TIMESTAMP_LEN && form_parse(in.data, ret_ns))
        return 0;
    return general_parse(in, ret_ns);
}

int timestamp_parse_prefix(struct slice in, int64_t *ret_ns)
{
    const char *blank;
    int64_t ns;
    int r;

    if (likely(in.len > TIMESTAMP_LEN && in.data[TIMESTAMP_LEN] == ' ') &&
        likely(form_parse(in.data, ret_ns)))
        return TIMESTAMP_LEN + 1;
    if (in.len == 0)
        return -EINVAL;
    blank = memchr(in.data, ' ', MIN(in.len, PREFIX_MAX));
    if (!blank)
        return -EINVAL;
    r = general_parse(slice_of(in.data, (size_t)(blank - in.data)), &ns);
    if (r < 0)
        return r;
    *ret_ns = ns;
    return (int)(blank - in.data) + 1;
}

static inline void put_pair(char *out, uint32_t value)
{
    static const char pairs[201] = "00010203040506070809101112131415161718192021222324252627282930"
                                   "31323334353637383940414243444546474849505152535455565758596061"
                                   "62636465666768697071727374757677787980818283848586878889909192"
                                   "93949596979899";

    memcpy(out, pairs + value * 2, 2);
}

/** Eight digits at once: halves into the lanes of a word, then pairs, then digits. Each division is
 * a multiplication that is exact for numbers of so many digits. */
static inline void put_eight(char *out, uint32_t value)
{
    uint64_t x = value / 10000 | (uint64_t)(value % 10000) << 32;
    uint64_t high = (x * 10486 >> 20) & UINT64_C(0x0000007f0000007f);

    x = high | (x - high * 100) << 16;
    high = (x * 103 >> 10) & UINT64_C(0x000f000f000f000f);
    x = (high | (x - high * 10) << 8) + UINT64_C(0x3030303030303030);
    x = htole64(x);
    memcpy(out, &x, sizeof x);
}

static void second_format(char out[SECOND_LEN], uint64_t all_s)
{
    uint32_t days, rest_s, cycle, day_of_cycle, year_of_cycle, day_of_year, month_0;
    uint32_t year, month, day;

    days = (uint32_t)(all_s / (uint64_t)DAY_S) + EPOCH_FROM_MARCH_0;
    rest_s = (uint32_t)(all_s % (uint64_t)DAY_S);

    /* Years that begin in March put the leap day last, and the months' lengths into one formula. */
    cycle = days / 146097;
    day_of_cycle = days % 146097;
    year_of_cycle =
        (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36524 - day_of_cycle / 146096) / 365;
    day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    month_0 = (5 * day_of_year + 2) / 153;
    day = day_of_year - (153 * month_0 + 2) / 5 + 1;
    month = month_0 < 10 ? month_0 + 3 : month_0 - 9;
    year = cycle * 400 + year_of_cycle + (month <= 2);

    memcpy(out, "0000-00-00T00:00:00.", SECOND_LEN);
    put_pair(out, year / 100);
    put_pair(out + 2, year % 100);
    put_pair(out + 5, month);
    put_pair(out + 8, day);
    put_pair(out + 11, rest_s / 3600);
    put_pair(out + 14, rest_s / 60 % 60);
    put_pair(out + 17, rest_s % 60);
}

void timestamp_format(char out[TIMESTAMP_LEN], int64_t ns)
{
    static _Thread_local struct {
        uint64_t second;
        char text[SECOND_LEN];
    } last = {.second = UINT64_MAX};
    uint64_t second;
    uint32_t rest_ns;

    assert(ns >= 0);
    second = (uint64_t)ns / (uint64_t)NSEC_PER_SEC;
    rest_ns = (uint32_t)((uint64_t)ns - second * (uint64_t)NSEC_PER_SEC);
    if (unlikely(second != last.second)) {
        second_format(last.text, second);
        last.second = second;
    }
    memcpy(out, last.text, SECOND_LEN);
    put_eight(out + SECOND_LEN, rest_ns / 10);
    out[28] = (char)('0' + rest_ns % 10);
    out[29] = 'Z';
}
