/*
 * JSON strings, UTF-8 and base64. Pure; nothing here allocates but what appends to a buffer.
 *
 * Escaping and the search for non-ASCII work on blocks: a block is loaded once and becomes a mask
 * with one bit per byte that needs care. What a processor has decides the block, the mask, and how
 * many blocks share a mask (a window); the algorithm above them is the same. RT_NO_SIMD chooses the
 * portable one, for its tests.
 *
 * Text that needs many escapes is walked from bit to bit of a window's mask: what costs time there
 * is the wrong guess of a branch at the end of each mask, so windows are as wide as a mask can be.
 */
#include "ringtail/base/json.h"

#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(RT_NO_SIMD)
#include <emmintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__) && !defined(RT_NO_SIMD)
#include <arm_neon.h>
#endif

#if defined(__SSE2__) && !defined(RT_NO_SIMD)

#define BLOCK 16
#define WINDOW (4 * BLOCK)
#define LANE_SHIFT 0 /* one bit of the mask per byte */

static inline __m128i block_load(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/** Not zero where there is an escape to write or, with `high`, a byte that is not ASCII. */
static inline __m128i block_care(__m128i x, bool high)
{
    /* Signed, so that bytes from 0x80 on are less, too. */
    __m128i low = high ? _mm_cmplt_epi8(x, _mm_set1_epi8(0x20))
                       : _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
    __m128i quote = _mm_cmpeq_epi8(x, _mm_set1_epi8('"'));
    __m128i slash = _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'));

    return _mm_or_si128(low, _mm_or_si128(quote, slash));
}

static inline uint64_t block_special(const char *p)
{
    return (uint64_t)_mm_movemask_epi8(block_care(block_load(p), false));
}

static inline uint64_t block_not_ascii(const char *p)
{
    return (uint64_t)_mm_movemask_epi8(block_load(p));
}

static inline uint64_t block_not_plain(const char *p)
{
    return (uint64_t)_mm_movemask_epi8(block_care(block_load(p), true));
}

static inline bool window_is_plain(const char *p, bool high)
{
    __m128i a = _mm_or_si128(block_care(block_load(p), high), block_care(block_load(p + 16), high));
    __m128i b =
        _mm_or_si128(block_care(block_load(p + 32), high), block_care(block_load(p + 48), high));

    return _mm_movemask_epi8(_mm_or_si128(a, b)) == 0;
}

static inline uint64_t window_special(const char *p)
{
    return block_special(p) | block_special(p + 16) << 16 | block_special(p + 32) << 32 |
           block_special(p + 48) << 48;
}

static inline bool window_is_ascii(const char *p)
{
    __m128i a = _mm_or_si128(block_load(p), block_load(p + 16));
    __m128i b = _mm_or_si128(block_load(p + 32), block_load(p + 48));

    return _mm_movemask_epi8(_mm_or_si128(a, b)) == 0;
}

#elif defined(__ARM_NEON) && defined(__aarch64__) && !defined(RT_NO_SIMD)

#define BLOCK 16
#define WINDOW BLOCK
#define LANE_SHIFT 2 /* four bits of the mask per byte, of which one is kept */

static inline uint64_t block_mask(uint8x16_t hits)
{
    uint8x8_t nibbles = vshrn_n_u16(vreinterpretq_u16_u8(hits), 4);

    return vget_lane_u64(vreinterpret_u64_u8(nibbles), 0) & UINT64_C(0x8888888888888888);
}

static inline uint64_t block_special(const char *p)
{
    uint8x16_t x = vld1q_u8((const uint8_t *)p);
    uint8x16_t control = vcltq_u8(x, vdupq_n_u8(0x20));
    uint8x16_t quote = vceqq_u8(x, vdupq_n_u8('"'));
    uint8x16_t slash = vceqq_u8(x, vdupq_n_u8('\\'));

    return block_mask(vorrq_u8(control, vorrq_u8(quote, slash)));
}

static inline uint64_t block_not_ascii(const char *p)
{
    return block_mask(vcgeq_u8(vld1q_u8((const uint8_t *)p), vdupq_n_u8(0x80)));
}

#else

#define BLOCK 8
#define WINDOW BLOCK
#define LANE_SHIFT 3 /* the top bit of each byte */

static const uint64_t ones = UINT64_C(0x0101010101010101);
static const uint64_t tops = UINT64_C(0x8080808080808080);

static inline uint64_t block_load(const char *p)
{
    uint64_t x;

    memcpy(&x, p, sizeof x);
    return le64toh(x);
}

/** The top bit of each byte that is at least `least` (at most 0x80); no byte carries into the next.
 */
static inline uint64_t block_from(uint64_t x, uint8_t least)
{
    return (((x & ~tops) + ones * (uint8_t)(0x80 - least)) | x) & tops;
}

static inline uint64_t block_special(const char *p)
{
    uint64_t x = block_load(p);
    uint64_t plain = block_from(x, 0x20) & block_from(x ^ (ones * '"'), 1);

    plain &= block_from(x ^ (ones * '\\'), 1);
    return ~plain & tops;
}

static inline uint64_t block_not_ascii(const char *p)
{
    return block_load(p) & tops;
}

#endif

#if WINDOW == BLOCK

static inline uint64_t block_not_plain(const char *p)
{
    return block_special(p) | block_not_ascii(p);
}

static inline bool window_is_plain(const char *p, bool high)
{
    return (high ? block_not_plain(p) : block_special(p)) == 0;
}

static inline uint64_t window_special(const char *p)
{
    return block_special(p);
}

static inline bool window_is_ascii(const char *p)
{
    return block_not_ascii(p) == 0;
}

#endif

static inline size_t mask_first(uint64_t mask)
{
    return (size_t)__builtin_ctzll(mask) >> LANE_SHIFT;
}

/* Eight bytes, so that an escape is one load and one store, whatever its length. A byte that needs
 * none is its own. */
struct escape {
    char text[7];
    uint8_t len;
};
_Static_assert(sizeof(struct escape) == 8, "an escape is one word");

#define ESCAPE_LONG(code, hex) [code] = {"\\u00" hex, 6}
#define ESCAPE_SHORT(code, letter) [code] = {"\\" letter, 2}
#define PLAIN(code) [code] = {{(char)(code)}, 1}
#define PLAIN_2(code) PLAIN(code), PLAIN((code) + 1)
#define PLAIN_4(code) PLAIN_2(code), PLAIN_2((code) + 2)
#define PLAIN_8(code) PLAIN_4(code), PLAIN_4((code) + 4)
#define PLAIN_16(code) PLAIN_8(code), PLAIN_8((code) + 8)

static const struct escape escapes[256] = {
    ESCAPE_LONG(0x00, "00"),
    ESCAPE_LONG(0x01, "01"),
    ESCAPE_LONG(0x02, "02"),
    ESCAPE_LONG(0x03, "03"),
    ESCAPE_LONG(0x04, "04"),
    ESCAPE_LONG(0x05, "05"),
    ESCAPE_LONG(0x06, "06"),
    ESCAPE_LONG(0x07, "07"),
    ESCAPE_SHORT('\b', "b"),
    ESCAPE_SHORT('\t', "t"),
    ESCAPE_SHORT('\n', "n"),
    ESCAPE_LONG(0x0b, "0b"),
    ESCAPE_SHORT('\f', "f"),
    ESCAPE_SHORT('\r', "r"),
    ESCAPE_LONG(0x0e, "0e"),
    ESCAPE_LONG(0x0f, "0f"),
    ESCAPE_LONG(0x10, "10"),
    ESCAPE_LONG(0x11, "11"),
    ESCAPE_LONG(0x12, "12"),
    ESCAPE_LONG(0x13, "13"),
    ESCAPE_LONG(0x14, "14"),
    ESCAPE_LONG(0x15, "15"),
    ESCAPE_LONG(0x16, "16"),
    ESCAPE_LONG(0x17, "17"),
    ESCAPE_LONG(0x18, "18"),
    ESCAPE_LONG(0x19, "19"),
    ESCAPE_LONG(0x1a, "1a"),
    ESCAPE_LONG(0x1b, "1b"),
    ESCAPE_LONG(0x1c, "1c"),
    ESCAPE_LONG(0x1d, "1d"),
    ESCAPE_LONG(0x1e, "1e"),
    ESCAPE_LONG(0x1f, "1f"),
    PLAIN_2(0x20),
    ESCAPE_SHORT('"', "\""),
    PLAIN(0x23),
    PLAIN_4(0x24),
    PLAIN_8(0x28),
    PLAIN_16(0x30),
    PLAIN_16(0x40),
    PLAIN_8(0x50),
    PLAIN_4(0x58),
    ESCAPE_SHORT('\\', "\\"),
    PLAIN(0x5d),
    PLAIN_2(0x5e),
    PLAIN_16(0x60),
    PLAIN_16(0x70),
    PLAIN_16(0x80),
    PLAIN_16(0x90),
    PLAIN_16(0xa0),
    PLAIN_16(0xb0),
    PLAIN_16(0xc0),
    PLAIN_16(0xd0),
    PLAIN_16(0xe0),
    PLAIN_16(0xf0),
};

/* Above so many in a window, going from byte to byte is faster than from escape to escape. */
#define FEW_ESCAPES 6

static inline char *put_escape(char *out, char c)
{
    struct escape escape = escapes[(uint8_t)c];
    uint64_t word;

    memcpy(&word, &escape, sizeof word);
    memcpy(out, &word, sizeof word);
    return out + (le64toh(word) >> 56);
}

/** Byte by byte. *ret_high: whether some of them are not ASCII. */
static inline char *escape_bytes(char *out, const char *p, size_t len, bool *ret_high)
{
    uint64_t all = 0, x;

    for (; len >= sizeof x; p += sizeof x, len -= sizeof x) {
        memcpy(&x, p, sizeof x);
        all |= x;
        for (size_t i = 0; i < sizeof x; i++)
            out = put_escape(out, p[i]);
    }
    for (; len > 0; p++, len--) {
        all |= (uint8_t)*p;
        out = put_escape(out, *p);
    }
    *ret_high = (all & UINT64_C(0x8080808080808080)) != 0;
    return out;
}

/** Copies whole blocks, at least one, and returns the end of what was meant. */
static inline char *copy_blocks(char *out, const char *p, size_t len)
{
    memcpy(out, p, BLOCK);
    for (size_t i = BLOCK; unlikely(i < len); i += BLOCK)
        memcpy(out + i, p + i, BLOCK);
    return out + len;
}

/** A window, whose special bytes `mask` tells. Reads and writes up to a block too many. */
static inline char *escape_window(char *out, const char *p, uint64_t mask)
{
    size_t done = 0;
    bool high;

    for (int i = 0; i < FEW_ESCAPES; i++) {
        size_t at;

        if (!mask)
            return copy_blocks(out, p + done, WINDOW - done);
        at = mask_first(mask);
        out = copy_blocks(out, p + done, at - done);
        out = put_escape(out, p[at]);
        done = at + 1;
        mask &= mask - 1;
    }
    return escape_bytes(out, p + done, WINDOW - done, &high);
}

/** Copies a block or more, fewer than a window; false when some of it needs care. */
static inline bool copy_plain(char *out, const char *p, size_t len, bool high)
{
    size_t last = len - BLOCK;
    uint64_t care = high ? block_not_plain(p + last) : block_special(p + last);

    for (size_t i = 0; i < last; i += BLOCK) {
        care |= high ? block_not_plain(p + i) : block_special(p + i);
        memcpy(out + i, p + i, BLOCK);
    }
    memcpy(out + last, p + last, BLOCK);
    return !care;
}

/** The rest of a text of which something is not ASCII. NULL: it is not UTF-8. */
static char *escape_checked(char *out, const char *p, size_t len)
{
    struct slice rest = slice_of(p, len);

    return utf8_is_valid(rest) ? json_escape(out, rest) : NULL;
}

/** checked: returns NULL for what is not UTF-8. */
static inline char *escape(char *out, struct slice in, bool checked)
{
    const char *p = in.data;
    size_t left = in.len;
    bool high;
    char *end;

    for (; left >= WINDOW; p += WINDOW, left -= WINDOW) {
        memcpy(out, p, WINDOW);
        if (likely(window_is_plain(p, checked)))
            out += WINDOW;
        else if (checked && unlikely(!window_is_ascii(p)))
            return escape_checked(out, p, left);
        else if (likely(left >= WINDOW + BLOCK))
            out = escape_window(out, p, window_special(p));
        else
            out = escape_bytes(out, p, WINDOW, &high);
    }
    if (left >= BLOCK && likely(copy_plain(out, p, left, checked)))
        return out + left;
    end = escape_bytes(out, p, left, &high);
    return checked && unlikely(high) ? escape_checked(out, p, left) : end;
}

char *json_escape(char *out, struct slice in)
{
    return escape(out, in, false);
}

char *json_escape_utf8(char *out, struct slice in)
{
    return escape(out, in, true);
}

/**
 * The length of the character at `p` (n > 0 bytes are there); for what is none, the length of the
 * longest part that begins like one, which is what one U+FFFD stands for.
 */
static inline size_t utf8_step(const uint8_t *p, size_t n, bool *ret_valid)
{
    uint8_t first = p[0], least = 0x80, most = 0xbf;
    size_t len;

    *ret_valid = false;
    if (first < 0x80) {
        *ret_valid = true;
        return 1;
    }
    if (first < 0xc2 || first > 0xf4)
        return 1;
    if (first < 0xe0) {
        len = 2;
    } else if (first < 0xf0) {
        len = 3;
        if (first == 0xe0)
            least = 0xa0; /* shorter forms exist for less */
        else if (first == 0xed)
            most = 0x9f; /* surrogates */
    } else {
        len = 4;
        if (first == 0xf0)
            least = 0x90; /* shorter forms exist for less */
        else if (first == 0xf4)
            most = 0x8f; /* beyond U+10FFFF */
    }
    if (n < 2 || p[1] < least || p[1] > most)
        return 1;
    for (size_t i = 2; i < len; i++) {
        if (i >= n || (p[i] & 0xc0) != 0x80)
            return i;
    }
    *ret_valid = true;
    return len;
}

bool utf8_is_valid(struct slice in)
{
    const uint8_t *p = (const uint8_t *)in.data;
    size_t left = in.len;

    while (left > 0) {
        bool valid;

        if (left >= BLOCK) {
            uint64_t mask = block_not_ascii((const char *)p);
            size_t ascii = mask ? mask_first(mask) : BLOCK;

            p += ascii;
            left -= ascii;
            if (!mask)
                continue;
        } else if (*p < 0x80) {
            p++;
            left--;
            continue;
        }
        /* Text that is not ASCII tends to stay so: no new block before it has changed back. */
        while (left > 0 && *p >= 0x80) {
            size_t len = utf8_step(p, left, &valid);

            if (!valid)
                return false;
            p += len;
            left -= len;
        }
    }
    return true;
}

/** The length of the valid beginning; *ret_bad: of what behind it is none (0 at the end). */
static size_t utf8_head(struct slice in, size_t *ret_bad)
{
    size_t good = 0;

    *ret_bad = 0;
    if (utf8_is_valid(in))
        return in.len;
    while (good < in.len) {
        bool valid;
        size_t len = utf8_step((const uint8_t *)in.data + good, in.len - good, &valid);

        if (!valid) {
            *ret_bad = len;
            break;
        }
        good += len;
    }
    return good;
}

static char *put_replacement(char *out)
{
    memcpy(out, "\xef\xbf\xbd", 3);
    return out + 3;
}

int json_append_string(struct buf *b, struct slice in)
{
    size_t room;
    char *out;
    int r;

    if (__builtin_mul_overflow(in.len, JSON_ESCAPED_MAX(1), &room) ||
        __builtin_add_overflow(room, 16 + 2, &room))
        return -ENOMEM;
    r = buf_reserve(b, room);
    if (r < 0)
        return r;
    out = b->data + b->len;
    *out++ = '"';
    while (in.len > 0) {
        size_t bad, good = utf8_head(in, &bad);

        out = json_escape(out, slice_of(in.data, good));
        if (bad > 0)
            out = put_replacement(out);
        in = slice_from(in, good + bad);
    }
    *out++ = '"';
    b->len = (size_t)(out - b->data);
    return 0;
}

int utf8_append(struct buf *b, struct slice in)
{
    size_t room;
    char *out;
    int r;

    if (in.len == 0)
        return 0; /* there may be no buffer yet */
    /* One byte becomes three at most. */
    if (__builtin_mul_overflow(in.len, 3, &room))
        return -ENOMEM;
    r = buf_reserve(b, room);
    if (r < 0)
        return r;
    out = b->data + b->len;
    while (in.len > 0) {
        size_t bad, good = utf8_head(in, &bad);

        if (good > 0)
            memcpy(out, in.data, good);
        out += good;
        if (bad > 0)
            out = put_replacement(out);
        in = slice_from(in, good + bad);
    }
    b->len = (size_t)(out - b->data);
    return 0;
}

char *base64_encode(char *out, struct slice in)
{
    static const char digits[65] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = (const uint8_t *)in.data;
    size_t left = in.len;

    for (; left >= 3; p += 3, left -= 3) {
        uint32_t x = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];

        *out++ = digits[x >> 18];
        *out++ = digits[x >> 12 & 63];
        *out++ = digits[x >> 6 & 63];
        *out++ = digits[x & 63];
    }
    if (left > 0) {
        uint32_t x = (uint32_t)p[0] << 16 | (left == 2 ? (uint32_t)p[1] << 8 : 0);

        *out++ = digits[x >> 18];
        *out++ = digits[x >> 12 & 63];
        *out++ = left == 2 ? digits[x >> 6 & 63] : '=';
        *out++ = '=';
    }
    return out;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_append(struct buf *b, struct slice in)
{
    size_t padding = 0;
    uint32_t bits = 0;
    char *out;
    int r;

    if (in.len % 4 != 0)
        return -EBADMSG;
    if (in.len == 0)
        return 0; /* there may be no memory to write to */
    while (padding < 2 && padding < in.len && in.data[in.len - 1 - padding] == '=')
        padding++;
    r = buf_reserve(b, in.len / 4 * 3);
    if (r < 0)
        return r;
    out = b->data + b->len;
    for (size_t i = 0; i < in.len; i++) {
        int value = i < in.len - padding ? base64_value(in.data[i]) : 0;

        if (value < 0)
            return -EBADMSG;
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 != 3)
            continue;
        *out++ = (char)(bits >> 16);
        *out++ = (char)(bits >> 8);
        *out++ = (char)bits;
    }
    b->len += in.len / 4 * 3 - padding;
    return 0;
}
