/*
 * The hash: a polynomial over the mixed pairs of little-endian words of the input,
 *
 *     state = seed' · P^n + m(w0, w1) · P^(n-1) + … + m(w(2n-2), w(2n-1))        (mod 2^64)
 *
 * finished with the bytes of the last, incomplete pair and the length. A pair of 16 bytes costs two
 * multiplications, of which only the one with P waits for the pair before.
 */
#include "ringtail/base/hash.h"

#include <endian.h>
#include <string.h>

#include "ringtail/base/macros.h"

#define PAIR 16

#define P1 UINT64_C(0x9fb21c651e98df25)
#define P2 (P1 * P1)

static const uint64_t mix_first = UINT64_C(0xa0761d6478bd642f);
static const uint64_t mix_second = UINT64_C(0xe7037ed1a0b428db);
static const uint64_t end_factor = UINT64_C(0x8ebc6af09c88c6e3);

struct pair {
    uint64_t first, second;
};

static inline uint64_t fold_multiply(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t pair_mix(struct pair x)
{
    return fold_multiply(x.first ^ mix_first, x.second ^ mix_second);
}

static inline struct pair pair_load(const char *p)
{
    struct pair x;

    memcpy(&x, p, sizeof x);
    return (struct pair){le64toh(x.first), le64toh(x.second)};
}

static inline uint64_t low_load(const char *p, size_t bytes)
{
    uint64_t x = 0;

    memcpy(&x, p, bytes);
    return le64toh(x);
}

/** The fewer than 16 bytes at `p`, as the low bytes of a pair. Loads that overlap and are shifted:
 * bytes put together in memory first would have to be waited for. */
static inline struct pair pair_load_part(const char *p, size_t len)
{
    struct pair x = {0, 0};

    if (len > 8) {
        x.first = low_load(p, 8);
        x.second = low_load(p + len - 8, 8) >> (8 * (PAIR - len));
    } else if (len >= 4) {
        x.first = low_load(p, 4) | low_load(p + len - 4, 4) << (8 * (len - 4));
    } else if (len > 0) {
        x.first = low_load(p, 1) | low_load(p + len / 2, 1) << (8 * (len / 2)) |
                  low_load(p + len - 1, 1) << (8 * (len - 1));
    }
    return x;
}

static inline uint64_t state_init(uint64_t seed)
{
    return pair_mix((struct pair){seed, 0});
}

static inline uint64_t state_feed_pairs(uint64_t state, const char *p, size_t pairs)
{
    for (; pairs > 0; pairs--, p += PAIR)
        state = state * P1 + pair_mix(pair_load(p));
    return state;
}

static inline uint64_t state_value(uint64_t state, struct pair last, uint64_t len)
{
    return fold_multiply((state * P1 + pair_mix(last)) ^ (state >> 32), end_factor ^ (len * P2));
}

uint64_t hash_bytes(struct slice in, uint64_t seed)
{
    size_t pairs = in.len / PAIR, rest = in.len % PAIR;
    uint64_t state = state_feed_pairs(state_init(seed), in.data, pairs);
    /* What is empty may be nowhere. */
    const char *last = in.len > 0 ? in.data + in.len - rest : in.data;

    return state_value(state, pair_load_part(last, rest), in.len);
}

void hash_stream_init(struct hash_stream *h, uint64_t seed)
{
    *h = (struct hash_stream){.state = state_init(seed)};
}

void hash_stream_feed(struct hash_stream *h, struct slice in)
{
    size_t held = h->len % PAIR;

    if (in.len == 0)
        return;
    h->len += in.len;
    if (held > 0) {
        size_t n = MIN(PAIR - held, in.len);

        memcpy(h->tail + held, in.data, n);
        in = slice_from(in, n);
        if (held + n < PAIR)
            return;
        h->state = state_feed_pairs(h->state, (const char *)h->tail, 1);
    }
    h->state = state_feed_pairs(h->state, in.data, in.len / PAIR);
    in = slice_from(in, in.len / PAIR * PAIR);
    if (in.len > 0)
        memcpy(h->tail, in.data, in.len);
}

uint64_t hash_stream_value(const struct hash_stream *h)
{
    return state_value(h->state, pair_load_part((const char *)h->tail, h->len % PAIR), h->len);
}
