/*
 * A few threads that carry out operations which may block, for one thread that may not.
 *
 * Threads are made when there is work for them and end when there was none for a while. They see
 * operations only between workers_submit and workers_take; of these nobody else may touch the link
 * and the result.
 * All functions are for the one thread that owns the pool.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "ringtail/base/list.h"
#include "ringtail/io/ring.h"

#define WORKERS_IDLE_S 10

struct worker;

struct workers {
    /** Carries one out, on a worker's thread. The result, as op->res. */
    int (*perform)(struct op *op);
    int notify_fd; /* an eventfd, written to when there is something to take */

    pthread_mutex_t lock;
    pthread_cond_t more;
    struct list queue, finished;
    unsigned queued, idle;
    bool stopping;
    atomic_bool notified; /* since the last workers_take */

    struct worker *each;
    unsigned max;
    int idle_s; /* a thread without work ends after this long */
};

/** perform and notify_fd are the caller's to set first. Returns 0 or -ENOMEM. */
int workers_init(struct workers *w, unsigned max);

/** Nothing may be queued or worked at. All zero is fine. */
void workers_finish(struct workers *w);

/**
 * Takes over all operations of the list, in order. Returns 0, or a negative errno with the list as
 * it was: there is no thread and none can be made.
 */
int workers_submit(struct workers *w, struct list *ops);

/** Takes back an operation that no worker has begun. False: too late, it will be finished. */
bool workers_take_back(struct workers *w, struct op *op);

/** Moves what has been finished to the end of `ret`. */
void workers_take(struct workers *w, struct list *ret);

/** Threads that take work, now. */
unsigned workers_count(struct workers *w);

static inline bool workers_have_finished(const struct workers *w)
{
    return atomic_load_explicit(&w->notified, memory_order_relaxed);
}
