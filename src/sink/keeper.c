/*
 * src/sink/keeper.h. The ring's thread keeps the queues and gives the thread one job at a time; a
 * compression comes back in between, to be placed once no rotation is in its way.
 *
 * Invariants: `held` is set exactly while the thread has a job that changes names; a job is in one
 * queue, or is `placing`, or is the thread's.
 */
#include "keeper.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "ringtail/base/clock.h"

#define NICE_MOST 19
#define PROBE_INTERVAL_MS 1000
/* What is to be removed may be this much older than asked for, or a tenth, whichever is less. */
#define SWEEP_INTERVAL_MS 300000
#define SWEEP_INTERVAL_MIN_MS 1000
/* When there was more to find than a sweep takes. */
#define SWEEP_AGAIN_MS 10000
/* More wait in the directory. */
#define JOBS_MAX 1024

/* ---- the thread ---- */

static void probe(struct keeper *k)
{
    uint64_t least = (uint64_t)k->options.free_space_min, block;
    struct statvfs st;
    /* A file system that does not say is written to: then the writes will say. */
    bool low = fstatvfs(k->options.dir_fd, &st) == 0;

    if (low) {
        block = MAX(st.f_frsize, (unsigned long)1);
        low = st.f_bavail < (least + block - 1) / block;
    }
    atomic_store(&k->low, low);
    k->probe_at_mono_ns = clock_mono_ns() + PROBE_INTERVAL_MS * NSEC_PER_MSEC;
}

static bool probe_if_due(struct keeper *k)
{
    if (k->options.free_space_min == 0 || clock_mono_ns() < k->probe_at_mono_ns)
        return false;
    probe(k);
    return true;
}

static bool go_on(void *ctx)
{
    struct keeper *k = ctx;

    (void)probe_if_due(k);
    return !atomic_load(&k->stop);
}

static int64_t sweep_interval_ms(const struct keeper *k)
{
    int64_t ms = k->options.retention_ms > 0 ? k->options.retention_ms / 10 : SWEEP_INTERVAL_MS;

    return MIN(MAX(ms, SWEEP_INTERVAL_MIN_MS), SWEEP_INTERVAL_MS);
}

static bool does_sweep(const struct keeper *k)
{
    return k->options.retention_ms > 0 || k->options.compression != COMPRESSION_NONE;
}

static bool is_sweep_due(const struct keeper *k)
{
    return does_sweep(k) && !atomic_load(&k->stop) && clock_mono_ns() >= k->sweep_at_mono_ns;
}

static void find_jobs(struct keeper *k, struct list *found)
{
    const struct keeper_options *o = &k->options;
    int64_t before_ns =
        o->retention_ms > 0 ? clock_wall_ns() - o->retention_ms * NSEC_PER_MSEC : INT64_MIN;
    bool is_full =
        keeper_jobs_find(o->dir_fd, o->files, before_ns, o->compression != COMPRESSION_NONE, found);
    int64_t wait_ms = sweep_interval_ms(k);

    if (is_full)
        wait_ms = MIN(wait_ms, SWEEP_AGAIN_MS);
    k->sweep_at_mono_ns = clock_mono_ns() + wait_ms * NSEC_PER_MSEC;
}

static void run_job(struct keeper *k, struct keeper_job *job)
{
    const struct keeper_work work = {
        .dir_fd = k->options.dir_fd,
        .compression = k->options.compression,
        .rotate_keep = k->options.rotate_keep,
        .go_on = go_on,
        .ctx = k,
    };

    keeper_job_run(job, &work);
}

/** Waits, with the lock held, until there may be something to do. */
static void wait_for_work(struct keeper *k)
{
    int64_t until_ns = INT64_MAX;
    struct timespec until;

    if (k->options.free_space_min > 0)
        until_ns = k->probe_at_mono_ns;
    if (does_sweep(k) && !atomic_load(&k->stop))
        until_ns = MIN(until_ns, k->sweep_at_mono_ns);
    if (until_ns == INT64_MAX || !k->begun) {
        (void)pthread_cond_wait(&k->changed, &k->lock);
        return;
    }
    until.tv_sec = until_ns / NSEC_PER_SEC;
    until.tv_nsec = until_ns % NSEC_PER_SEC;
    (void)pthread_cond_timedwait(&k->changed, &k->lock, &until);
}

/** One thing that is to be done, without the lock. Returns whether there was any. */
static bool work(struct keeper *k, struct keeper_job *job, struct list *found)
{
    if (job)
        run_job(k, job);
    else if (is_sweep_due(k))
        find_jobs(k, found);
    else
        return probe_if_due(k);
    return true;
}

static void *keeper_main(void *arg)
{
    struct keeper *k = arg;
    struct list found;

    list_init(&found);
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE_MOST); /* of this thread alone */
    (void)pthread_mutex_lock(&k->lock);
    while (!k->quit) {
        struct keeper_job *job = TAKE_PTR(k->given);
        bool worked, begun = k->begun;

        (void)pthread_mutex_unlock(&k->lock);
        worked = begun && work(k, job, &found);
        (void)pthread_mutex_lock(&k->lock);
        if (job || !list_is_empty(&found)) {
            k->returned = job ? job : k->returned;
            list_splice(&k->found, &found);
            ring_wake(k->ring);
        } else if (!worked && !k->given && k->begun == begun && !k->quit) {
            wait_for_work(k);
        }
    }
    (void)pthread_mutex_unlock(&k->lock);
    return NULL;
}

/* ---- the ring's thread ---- */

static struct keeper_job *first(struct list *jobs)
{
    return list_is_empty(jobs) ? NULL : container_of(jobs->next, struct keeper_job, link);
}

static bool may_compress(const struct keeper *k, const struct keeper_job *job)
{
    return !k->options.wait_for_saves || k->saved > job->snapshot;
}

/** What is to be done next, where it stands. NULL: nothing now. */
static struct keeper_job *next_job(struct keeper *k)
{
    struct keeper_job *job = k->placing ? k->placing : first(&k->removals);

    if (job)
        return job;
    job = first(&k->compressions);
    return job && may_compress(k, job) ? job : NULL;
}

static void take_out(struct keeper *k, struct keeper_job *job)
{
    if (job == k->placing) {
        k->placing = NULL;
        return;
    }
    list_remove(&job->link);
    k->queued_count--;
}

/** Its file is written to after all; once that has ended a sweep finds it. */
static void drop(struct keeper *k, struct keeper_job *job)
{
    take_out(k, job);
    if (job->kind == KEEPER_PLACE)
        keeper_job_drop_temporary(job, k->options.dir_fd);
    free(job);
}

static void give(struct keeper *k, struct keeper_job *job)
{
    take_out(k, job);
    k->running = job;
    k->held = job->kind == KEEPER_COMPRESS ? NULL : job->path;
    (void)pthread_mutex_lock(&k->lock);
    k->given = job;
    (void)pthread_cond_signal(&k->changed);
    (void)pthread_mutex_unlock(&k->lock);
}

void keeper_step(struct keeper *k)
{
    const struct keeper_options *o = &k->options;
    struct keeper_job *job;

    k->blocked = false;
    if (!k->started || !k->begun_here || k->running || k->stopped)
        return;
    while ((job = next_job(k)) && o->is_open(o->ctx, job->device, job->inode))
        drop(k, job);
    if (!job)
        return;
    k->blocked = job->kind != KEEPER_COMPRESS && o->is_rotating(o->ctx, job->path);
    if (!k->blocked)
        give(k, job);
}

static void count_job(struct sink_file_stats *to, const struct keeper_job *job)
{
    /* Gone by itself, or left for the next time. */
    if (job->result == -ENOENT || job->result == -ECANCELED || job->result == -EBUSY)
        return;
    if (job->kind == KEEPER_REMOVE) {
        to->files_expired += job->result == 0;
        to->expire_errors += job->result < 0;
        return;
    }
    to->compress_errors += job->result < 0;
    if (job->result < 0 || job->kind == KEEPER_COMPRESS)
        return;
    to->files_compressed++;
    to->compress_bytes_in += job->bytes_before;
    to->compress_bytes_out += job->bytes_after;
}

static void take_back(struct keeper *k, struct keeper_job *job)
{
    k->running = NULL;
    k->held = NULL;
    count_job(k->options.to, job);
    if (job->kind == KEEPER_COMPRESS && job->result == 0) {
        job->kind = KEEPER_PLACE;
        k->placing = job;
    } else {
        free(job);
    }
}

static bool is_same_file(const struct keeper_job *a, const struct keeper_job *b)
{
    return a && a->inode == b->inode && a->device == b->device;
}

static struct keeper_job *find_queued(struct list *jobs, const struct keeper_job *of)
{
    LIST_FOR_EACH_ENTRY (job, jobs, struct keeper_job, link) {
        if (is_same_file(job, of))
            return job;
    }
    return NULL;
}

/** Puts it in line, unless there are too many. */
static void queue(struct keeper *k, struct keeper_job *job)
{
    if (k->stopped || k->queued_count == JOBS_MAX) {
        free(job);
        return;
    }
    job->snapshot = k->snapshot;
    list_append(job->kind == KEEPER_REMOVE ? &k->removals : &k->compressions, &job->link);
    k->queued_count++;
}

/** A sweep has found a file to do something to, which may be known already. */
static void queue_found(struct keeper *k, struct keeper_job *job)
{
    struct list *jobs = job->kind == KEEPER_REMOVE ? &k->removals : &k->compressions;

    if (is_same_file(k->running, job) || is_same_file(k->placing, job) || find_queued(jobs, job))
        free(job);
    else
        queue(k, job);
}

static void on_wake(void *ctx)
{
    struct keeper *k = ctx;
    struct keeper_job *returned;
    struct list found, *link;

    keeper_begin(k);
    if (!k->started)
        return;
    list_init(&found);
    (void)pthread_mutex_lock(&k->lock);
    returned = TAKE_PTR(k->returned);
    list_splice(&found, &k->found);
    (void)pthread_mutex_unlock(&k->lock);
    if (!returned && list_is_empty(&found))
        return;
    if (returned)
        take_back(k, returned);
    while ((link = list_pop(&found)))
        queue_found(k, container_of(link, struct keeper_job, link));
    keeper_step(k);
}

void keeper_rotated(struct keeper *k, const char *path, uint64_t device, uint64_t inode)
{
    struct keeper_job *job, *stale;

    if (!k->started || k->options.compression == COMPRESSION_NONE)
        return;
    job = keeper_job_create(KEEPER_COMPRESS, "", path, strlen(path));
    if (!job)
        return; /* a sweep finds it */
    job->base = strrchr(path, '/') ? (size_t)(strrchr(path, '/') + 1 - path) : 0;
    job->device = device;
    job->inode = inode;
    /* The kernel gives the number of a file that is gone to a new one: a job that has it was meant
     * for another file, and may be from before a save that does not cover this one. */
    while ((stale = find_queued(&k->compressions, job)) || (stale = find_queued(&k->removals, job)))
        drop(k, stale);
    queue(k, job);
    keeper_step(k);
}

void keeper_snapshot(struct keeper *k)
{
    k->snapshot++;
}

void keeper_saved(struct keeper *k)
{
    k->saved = k->snapshot;
    keeper_step(k);
}

/* ---- beginning and end ---- */

static int start_thread(struct keeper *k)
{
    sigset_t all, before;
    int r;

    /* Signals are the ring's thread's. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&k->thread, NULL, keeper_main, k);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -r;
}

static int init_lock(struct keeper *k)
{
    pthread_condattr_t attr;
    int r = pthread_mutex_init(&k->lock, NULL);

    if (r != 0)
        return -r;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    r = pthread_cond_init(&k->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    if (r != 0)
        (void)pthread_mutex_destroy(&k->lock);
    return -r;
}

static void finish_lock(struct keeper *k)
{
    (void)pthread_cond_destroy(&k->changed);
    (void)pthread_mutex_destroy(&k->lock);
}

int keeper_start(struct keeper *k, struct ring *ring, const struct keeper_options *options)
{
    int r;

    *k = (struct keeper){.options = *options, .ring = ring};
    list_init(&k->compressions);
    list_init(&k->removals);
    list_init(&k->found);
    if (does_sweep(k) || options->free_space_min > 0) {
        (void)probe_if_due(k);
        r = init_lock(k);
        if (r < 0)
            return r;
        r = start_thread(k);
        if (r < 0) {
            finish_lock(k);
            return r;
        }
        k->started = true;
    }
    k->waker = (struct ring_waker){.fn = on_wake, .ctx = k};
    ring_add_waker(ring, &k->waker);
    ring_wake(ring);
    return 0;
}

void keeper_begin(struct keeper *k)
{
    if (k->begun_here)
        return;
    k->begun_here = true;
    keeper_clean(k->options.dir_fd, k->options.files);
    if (!k->started)
        return;
    (void)pthread_mutex_lock(&k->lock);
    k->begun = true;
    (void)pthread_cond_signal(&k->changed);
    (void)pthread_mutex_unlock(&k->lock);
}

void keeper_stop(struct keeper *k)
{
    if (!k->started || k->stopped)
        return;
    k->stopped = true;
    (void)pthread_mutex_lock(&k->lock);
    atomic_store(&k->stop, true);
    (void)pthread_cond_signal(&k->changed);
    (void)pthread_mutex_unlock(&k->lock);
}

static void free_jobs(struct list *jobs)
{
    struct list *link;

    while ((link = list_pop(jobs)))
        free(container_of(link, struct keeper_job, link));
}

void keeper_finish(struct keeper *k)
{
    ring_remove_waker(&k->waker); /* if it was ever added */
    if (!k->started)
        return;
    keeper_stop(k);
    (void)pthread_mutex_lock(&k->lock);
    k->quit = true;
    (void)pthread_cond_signal(&k->changed);
    (void)pthread_mutex_unlock(&k->lock);
    (void)pthread_join(k->thread, NULL);
    if (k->returned)
        take_back(k, TAKE_PTR(k->returned));
    if (k->placing)
        drop(k, k->placing);
    if (k->given && k->given->kind == KEEPER_PLACE)
        keeper_job_drop_temporary(k->given, k->options.dir_fd);
    free(k->given);
    free_jobs(&k->found);
    free_jobs(&k->removals);
    free_jobs(&k->compressions);
    finish_lock(k);
    k->started = false;
}
