/* Jitter and back-off. Not for secrets. One generator per owner; seedable, so that tests repeat. */
#pragma once

#include <stdint.h>

struct random {
    uint64_t state;
};

void random_seed(struct random *r, uint64_t seed);

/** Seeds from getrandom(2), or from the clocks where that fails. */
void random_seed_system(struct random *r);

uint64_t random_next(struct random *r);

/** Uniform in [0, bound); 0 for bound 0. */
uint64_t random_below(struct random *r, uint64_t bound);

/** Exponential back-off with full jitter: uniform in [base/2, min(cap, base·2^attempt)], attempt
 * from 0. */
int64_t random_backoff_ms(struct random *r, uint32_t attempt, int64_t base_ms, int64_t cap_ms);
