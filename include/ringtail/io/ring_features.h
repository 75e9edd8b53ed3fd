/*
 * What of io_uring ringtail uses, from which kernel on, and what it does without: one table, for
 * docs/kernels.md, for the one line that says why a ring was refused, and for the tests that take
 * each away. Nothing is concluded from the kernel's version: each ring tries, and remembers.
 */
#pragma once

#include <stdbool.h>

#include "ringtail/base/buf.h"
#include "ringtail/io/ring.h"

enum ring_feature {
    /* Without one of these there is no io_uring, but epoll. */
    RING_FEATURE_OPERATIONS,
    RING_FEATURE_COOP_TASKRUN,
    RING_FEATURE_SOCKET_TABLE,
    RING_FEATURE_BUFFER_RING,
    /* Without these io_uring does the same, at more cost. */
    RING_FEATURE_DEFER_TASKRUN,
    RING_FEATURE_CQE_SKIP,
    RING_FEATURE_RING_FD,
    RING_FEATURE_WORKERS_MAX,
    RING_FEATURE_COUNT,
};

#define RING_FEATURE_FIRST_OPTIONAL RING_FEATURE_DEFER_TASKRUN

struct ring_feature_info {
    const char *name;    /* short: "CQE_SKIP" */
    const char *since;   /* of the kernel: "5.17" */
    const char *use;     /* what it is to ringtail, as a part of a sentence */
    const char *without; /* what happens instead; NULL: ringtail runs on epoll */
};

/** A feature's row of the table, for ever. */
const struct ring_feature_info *ring_feature_info(enum ring_feature feature);

/** Whether this ring found it when it was made, and uses it. With epoll it has none. */
bool ring_has(const struct ring *ring, enum ring_feature feature);

/** Writes docs/kernels.md. Returns 0 or -ENOMEM. */
int ring_features_write_markdown(struct buf *out);
