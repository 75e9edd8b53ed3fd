/* What the ring is asked for, and the limits of the process that it is bounded by. */
#pragma once

#include "ringtail/control/config.h"
#include "ringtail/io/ring.h"

struct ring_options ring_setup_options(const struct config *config);

/**
 * Raises two soft limits to the hard ones: RLIMIT_NOFILE, because a stream is a socket in the
 * ring's table, which may be no larger, and RLIMIT_MEMLOCK, because some kernels (6.18 does) count
 * the ring's queues against it, over all rings of a user that is not privileged.
 */
void ring_setup_raise_limits(void);

/** What such a kernel counts for the ring. */
int64_t ring_setup_locked_bytes(const struct config *config);
