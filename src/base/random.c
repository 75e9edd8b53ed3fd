/*
 * A counter whose value is mixed on the way out (the splitmix64 construction): eight bytes of
 * state, every seed is good, and the same seed gives the same numbers on every machine.
 */
#include "ringtail/base/random.h"

#include <assert.h>
#include <sys/random.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"

void random_seed(struct random *r, uint64_t seed)
{
    r->state = seed;
}

void random_seed_system(struct random *r)
{
    uint64_t seed;

    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed)
        seed = (uint64_t)clock_wall_ns() ^ ((uint64_t)clock_mono_ns() << 20);
    random_seed(r, seed);
}

uint64_t random_next(struct random *r)
{
    uint64_t x;

    r->state += UINT64_C(0x9e3779b97f4a7c15);
    x = r->state;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t random_below(struct random *r, uint64_t bound)
{
    uint64_t excess, x;

    if (bound == 0)
        return 0;
    /* 2^64 mod bound: values under it are drawn again, or the small results would come too often.
     */
    excess = -bound % bound;
    do
        x = random_next(r);
    while (x < excess);
    return x % bound;
}

int64_t random_backoff_ms(struct random *r, uint32_t attempt, int64_t base_ms, int64_t cap_ms)
{
    int64_t most = base_ms, least;

    assert(base_ms >= 0 && cap_ms >= 0);
    for (uint32_t i = 0; i < attempt && most > 0 && most < cap_ms; i++)
        most = most > INT64_MAX / 2 ? INT64_MAX : most * 2;
    most = MIN(most, cap_ms);
    least = MIN(base_ms / 2, most);
    return least + (int64_t)random_below(r, (uint64_t)(most - least) + 1);
}
