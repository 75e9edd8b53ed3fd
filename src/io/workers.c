/* workers.h. */
#include "workers.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "ringtail/base/macros.h"

/* Results of operations that have none yet. Under the lock. */
#define BEGUN INT32_MIN
#define QUEUED (INT32_MIN + 1)

struct worker {
    struct workers *pool;
    pthread_t thread;
    bool exists; /* the owner's: it was made and not yet joined */
    bool ended;  /* under the lock: it will not take anything any more */
};

int workers_init(struct workers *w, unsigned max)
{
    pthread_condattr_t attr;

    w->each = calloc(max, sizeof *w->each);
    if (!w->each)
        return -ENOMEM;
    w->max = max;
    w->idle_s = WORKERS_IDLE_S;
    list_init(&w->queue);
    list_init(&w->finished);
    /* None of these can fail on Linux. */
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&w->more, &attr);
    (void)pthread_condattr_destroy(&attr);
    return 0;
}

void workers_finish(struct workers *w)
{
    if (!w->each)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->max; i++)
        if (w->each[i].exists)
            (void)pthread_join(w->each[i].thread, NULL);
    (void)pthread_cond_destroy(&w->more);
    (void)pthread_mutex_destroy(&w->lock);
    free(w->each);
    w->each = NULL;
}

/* ---- on a worker's thread ---- */

/* Under the lock. False: there was nothing for long, or there never will be. */
static bool wait_for_work(struct workers *w)
{
    struct timespec until;
    int r = 0;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += w->idle_s;
    while (list_is_empty(&w->queue) && !w->stopping && r == 0) {
        w->idle++;
        r = pthread_cond_timedwait(&w->more, &w->lock, &until);
        w->idle--;
    }
    return !list_is_empty(&w->queue);
}

static void *work(void *ctx)
{
    struct worker *self = ctx;
    struct workers *w = self->pool;

    (void)pthread_setname_np(pthread_self(), "ring-worker");
    pthread_mutex_lock(&w->lock);
    while (wait_for_work(w)) {
        struct op *op = container_of(list_pop(&w->queue), struct op, link);
        bool was_notified;
        int res;

        w->queued--;
        op->res = BEGUN;
        pthread_mutex_unlock(&w->lock);
        res = w->perform(op);
        pthread_mutex_lock(&w->lock);
        op->res = res;
        list_append(&w->finished, &op->link);
        was_notified = atomic_exchange(&w->notified, true);
        if (!was_notified) {
            uint64_t one = 1;

            pthread_mutex_unlock(&w->lock);
            (void)!write(w->notify_fd, &one, sizeof one); /* cannot fail below 2^64 */
            pthread_mutex_lock(&w->lock);
        }
    }
    self->ended = true;
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- on the owner's thread ---- */

static int start_worker(struct worker *worker)
{
    sigset_t all, before;
    int r;

    /* Signals are the owner's. */
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&worker->thread, NULL, work, worker);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    worker->exists = r == 0;
    return -r;
}

/* Under the lock. Makes up to `missing` threads. The number that there are, or a negative errno. */
static int start_workers(struct workers *w, unsigned missing)
{
    int count = 0, r = 0;

    for (unsigned i = 0; i < w->max; i++) {
        struct worker *worker = &w->each[i];

        /* It said so under the lock, and takes the lock no more. */
        if (worker->exists && worker->ended) {
            (void)pthread_join(worker->thread, NULL);
            *worker = (struct worker){0};
        }
        if (!worker->exists && missing > 0) {
            worker->pool = w;
            r = start_worker(worker);
            missing--;
        }
        count += worker->exists;
    }
    return count > 0 ? count : r;
}

int workers_submit(struct workers *w, struct list *ops)
{
    unsigned count = 0, wake;
    int r = 0;

    LIST_FOR_EACH (link, ops) {
        container_of(link, struct op, link)->res = QUEUED;
        count++;
    }
    pthread_mutex_lock(&w->lock);
    /* First, so that a thread which is about to end for want of work does not. */
    list_splice(&w->queue, ops);
    w->queued += count;
    if (w->queued > w->idle)
        r = start_workers(w, w->queued - w->idle);
    if (r < 0) {
        list_splice(ops, &w->queue);
        w->queued = 0;
    }
    wake = MIN(count, w->idle);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < wake; i++)
        pthread_cond_signal(&w->more);
    return MIN(r, 0);
}

bool workers_take_back(struct workers *w, struct op *op)
{
    bool was_queued;

    pthread_mutex_lock(&w->lock);
    was_queued = op->res == QUEUED;
    if (was_queued) {
        list_remove(&op->link);
        w->queued--;
    }
    pthread_mutex_unlock(&w->lock);
    return was_queued;
}

void workers_take(struct workers *w, struct list *ret)
{
    if (!workers_have_finished(w))
        return;
    pthread_mutex_lock(&w->lock);
    atomic_store_explicit(&w->notified, false, memory_order_relaxed);
    list_splice(ret, &w->finished);
    pthread_mutex_unlock(&w->lock);
}

unsigned workers_count(struct workers *w)
{
    unsigned count = 0;

    pthread_mutex_lock(&w->lock);
    for (unsigned i = 0; i < w->max; i++)
        count += w->each[i].exists && !w->each[i].ended;
    pthread_mutex_unlock(&w->lock);
    return count;
}
