/*
 * JSON strings, UTF-8 and base64. Pure; nothing here allocates but json_append_string.
 *
 * Escaping and the search for non-ASCII work on blocks: a block is loaded once and becomes a mask
 * with one bit per byte that needs care. What a processor has decides the block and the mask; the
 * algorithm above them is the same. RT_NO_SIMD chooses the portable one, for its tests.
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
#define LANE_SHIFT 0 /* one bit of the mask per byte */

static inline __m128i block_load(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static inline uint64_t block_special(const char *p)
{
    __m128i x = block_load(p);
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
    __m128i quote = _mm_cmpeq_epi8(x, _mm_set1_epi8('"'));
    __m128i slash = _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'));

    return (uint64_t)_mm_movemask_epi8(_mm_or_si128(control, _mm_or_si128(quote, slash)));
}

static inline uint64_t block_not_ascii(const char *p)
{
    return (uint64_t)_mm_movemask_epi8(block_load(p));
}

#elif defined(__ARM_NEON) && defined(__aarch64__) && !defined(RT_NO_SIMD)

#define BLOCK 16
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

static inline size_t mask_first(uint64_t mask)
{
    return (size_t)__builtin_ctzll(mask) >> LANE_SHIFT;
}

/** The mask's bits of the first `len` bytes (fewer than a block). */
static inline uint64_t mask_head(uint64_t mask, size_t len)
{
    return mask & ((UINT64_C(1) << (len << LANE_SHIFT)) - 1);
}

/* Eight bytes, so that an escape is one load and one store, whatever its length. */
struct escape {
    char text[7];
    uint8_t len;
};
_Static_assert(sizeof(struct escape) == 8, "an escape is one word");

#define ESCAPE_LONG(code, hex) [code] = {"\\u00" hex, 6}
#define ESCAPE_SHORT(code, letter) [code] = {"\\" letter, 2}

static const struct escape escapes['\\' + 1] = {
    ESCAPE_LONG(0x00, "00"),  ESCAPE_LONG(0x01, "01"), ESCAPE_LONG(0x02, "02"),
    ESCAPE_LONG(0x03, "03"),  ESCAPE_LONG(0x04, "04"), ESCAPE_LONG(0x05, "05"),
    ESCAPE_LONG(0x06, "06"),  ESCAPE_LONG(0x07, "07"), ESCAPE_SHORT('\b', "b"),
    ESCAPE_SHORT('\t', "t"),  ESCAPE_SHORT('\n', "n"), ESCAPE_LONG(0x0b, "0b"),
    ESCAPE_SHORT('\f', "f"),  ESCAPE_SHORT('\r', "r"), ESCAPE_LONG(0x0e, "0e"),
    ESCAPE_LONG(0x0f, "0f"),  ESCAPE_LONG(0x10, "10"), ESCAPE_LONG(0x11, "11"),
    ESCAPE_LONG(0x12, "12"),  ESCAPE_LONG(0x13, "13"), ESCAPE_LONG(0x14, "14"),
    ESCAPE_LONG(0x15, "15"),  ESCAPE_LONG(0x16, "16"), ESCAPE_LONG(0x17, "17"),
    ESCAPE_LONG(0x18, "18"),  ESCAPE_LONG(0x19, "19"), ESCAPE_LONG(0x1a, "1a"),
    ESCAPE_LONG(0x1b, "1b"),  ESCAPE_LONG(0x1c, "1c"), ESCAPE_LONG(0x1d, "1d"),
    ESCAPE_LONG(0x1e, "1e"),  ESCAPE_LONG(0x1f, "1f"), ESCAPE_SHORT('"', "\""),
    ESCAPE_SHORT('\\', "\\"),
};

/**
 * Escapes the `len` bytes at `p`, whose special ones `mask` tells. Copies whole blocks and then
 * steps on by what was meant, so it reads up to p[2·BLOCK] and writes a block too many.
 */
static inline char *escape_block(char *out, const char *p, uint64_t mask, size_t len)
{
    size_t done = 0;

    while (mask) {
        size_t at = mask_first(mask);
        const struct escape *escape = &escapes[(uint8_t)p[at]];

        memcpy(out, p + done, BLOCK);
        out += at - done;
        memcpy(out, escape, sizeof *escape);
        out += escape->len;
        done = at + 1;
        mask &= mask - 1;
    }
    memcpy(out, p + done, BLOCK);
    return out + (len - done);
}

/** Copies fewer than 16 bytes without a call. */
static inline void copy_short(char *out, const char *p, size_t len)
{
    if (len >= 8) {
        memcpy(out, p, 8);
        memcpy(out + len - 8, p + len - 8, 8);
    } else if (len >= 4) {
        memcpy(out, p, 4);
        memcpy(out + len - 4, p + len - 4, 4);
    } else if (len > 0) {
        out[0] = p[0];
        out[len / 2] = p[len / 2];
        out[len - 1] = p[len - 1];
    }
}

/** The last bytes, fewer than two blocks, from a copy that may be read past their end. */
static char *escape_tail(char *out, const char *p, size_t len)
{
    char tail[3 * BLOCK] = {0};

    if (len < BLOCK) {
        copy_short(tail, p, len);
        return escape_block(out, tail, mask_head(block_special(tail), len), len);
    }
    memcpy(tail, p, BLOCK);
    memcpy(tail + len - BLOCK, p + len - BLOCK, BLOCK);
    out = escape_block(out, tail, block_special(tail), BLOCK);
    return escape_block(out, tail + BLOCK, mask_head(block_special(tail + BLOCK), len - BLOCK),
                        len - BLOCK);
}

char *json_escape(char *out, struct slice in)
{
    const char *p = in.data;
    size_t left = in.len;

    for (; left >= 2 * BLOCK; p += BLOCK, left -= BLOCK) {
        uint64_t mask = block_special(p);

        if (likely(!mask)) {
            memcpy(out, p, BLOCK);
            out += BLOCK;
        } else {
            out = escape_block(out, p, mask, BLOCK);
        }
    }
    /* Between one and two blocks are left, unless there never was one. */
    if (left >= BLOCK && !(block_special(p) | block_special(p + left - BLOCK))) {
        memcpy(out, p, BLOCK);
        memcpy(out + left - BLOCK, p + left - BLOCK, BLOCK);
        return out + left;
    }
    return escape_tail(out, p, left);
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
        size_t good = 0, bad = 0;

        while (good < in.len && bad == 0) {
            bool valid;
            size_t len = utf8_step((const uint8_t *)in.data + good, in.len - good, &valid);

            if (valid)
                good += len;
            else
                bad = len;
        }
        out = json_escape(out, slice_of(in.data, good));
        if (bad > 0) {
            memcpy(out, "\xef\xbf\xbd", 3);
            out += 3;
        }
        in = slice_from(in, good + bad);
    }
    *out++ = '"';
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
