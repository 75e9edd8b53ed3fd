/*
 * The hash: a polynomial over the mixed little-endian words of the input,
 *
 *     state = seed' · P^n + m(w0) · P^(n-1) + … + m(w(n-1))        (mod 2^64)
 *
 * finished with the bytes of the last, incomplete word and the length. Being a polynomial, it gives
 * the same value word by word (pieces) and four words at a time (speed: the additions then wait for
 * one multiplication in 32 bytes and not for four).
 */
#include "ringtail/base/hash.h"

#include <endian.h>
#include <string.h>

#include "ringtail/base/macros.h"

#define WORD 8

#define P1 UINT64_C(0x9fb21c651e98df25)
#define P2 (P1 * P1)
#define P3 (P2 * P1)
#define P4 (P2 * P2)

static const uint64_t mix_offset = UINT64_C(0xa0761d6478bd642f);
static const uint64_t mix_factor = UINT64_C(0xe7037ed1a0b428db);
static const uint64_t end_factor = UINT64_C(0x8ebc6af09c88c6e3);

static inline uint64_t fold_multiply(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t word_mix(uint64_t w)
{
    return fold_multiply(w ^ mix_offset, mix_factor);
}

static inline uint64_t word_load(const char *p)
{
    uint64_t w;

    memcpy(&w, p, sizeof w);
    return le64toh(w);
}

/** The fewer than 8 bytes at `p`, as the low bytes of a word. */
static inline uint64_t word_load_part(const char *p, size_t len)
{
    uint64_t w = 0;

    for (size_t i = 0; i < len; i++)
        w |= (uint64_t)(uint8_t)p[i] << (8 * i);
    return w;
}

static inline uint64_t state_init(uint64_t seed)
{
    return word_mix(seed);
}

static inline uint64_t state_feed_words(uint64_t state, const char *p, size_t words)
{
    for (; words >= 4; words -= 4, p += 4 * WORD)
        state = state * P4 + word_mix(word_load(p)) * P3 + word_mix(word_load(p + WORD)) * P2 +
                word_mix(word_load(p + 2 * WORD)) * P1 + word_mix(word_load(p + 3 * WORD));
    for (; words > 0; words--, p += WORD)
        state = state * P1 + word_mix(word_load(p));
    return state;
}

static inline uint64_t state_value(uint64_t state, uint64_t last, uint64_t len)
{
    return fold_multiply((state * P1 + word_mix(last)) ^ (state >> 32), end_factor ^ (len * P2));
}

uint64_t hash_bytes(struct slice in, uint64_t seed)
{
    size_t words = in.len / WORD, rest = in.len % WORD;
    uint64_t state = state_feed_words(state_init(seed), in.data, words), last = 0;

    if (rest > 0 && words > 0)
        /* One load that reaches back into bytes that were hashed, then shifted out. */
        last = word_load(in.data + in.len - WORD) >> (8 * (WORD - rest));
    else if (rest > 0)
        last = word_load_part(in.data, rest);
    return state_value(state, last, in.len);
}

void hash_stream_init(struct hash_stream *h, uint64_t seed)
{
    *h = (struct hash_stream){.state = state_init(seed)};
}

void hash_stream_feed(struct hash_stream *h, struct slice in)
{
    size_t held = h->len % WORD;

    if (in.len == 0)
        return;
    h->len += in.len;
    if (held > 0) {
        size_t n = MIN(WORD - held, in.len);

        memcpy(h->tail + held, in.data, n);
        in = slice_from(in, n);
        if (held + n < WORD)
            return;
        h->state = state_feed_words(h->state, (const char *)h->tail, 1);
    }
    h->state = state_feed_words(h->state, in.data, in.len / WORD);
    in = slice_from(in, in.len / WORD * WORD);
    if (in.len > 0)
        memcpy(h->tail, in.data, in.len);
}

uint64_t hash_stream_value(const struct hash_stream *h)
{
    return state_value(h->state, word_load_part((const char *)h->tail, h->len % WORD), h->len);
}
