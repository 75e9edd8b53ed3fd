/*
 * io/ring.h, as far as it does not matter who carries an operation out.
 *
 * Owns the life of every operation, the line for receive buffers, the eventfd behind ring_wake, and
 * the order of things: completions are collected into `landed` first and run after, so `done` never
 * runs inside a start or a cancel. The backends are in ring_uring.c and ring_epoll.c.
 */
#include "ringtail/io/ring.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"

#include "ring_backend.h"

/* Callbacks run between collections, so a flood of one kind cannot keep on_pass_end waiting for
 * ever. */
#define PASS_COLLECTIONS_MAX 64

const char *op_kind_name(enum op_kind kind)
{
    static const char *const names[OP_KIND_COUNT] = {
        [OP_NONE] = "none",   [OP_SOCKET] = "socket", [OP_CONNECT] = "connect",
        [OP_SEND] = "send",   [OP_RECV] = "recv",     [OP_CLOSE] = "close",
        [OP_TIMER] = "timer", [OP_OPEN] = "open",     [OP_READ] = "read",
        [OP_WRITE] = "write", [OP_FSYNC] = "fsync",   [OP_RENAME] = "rename",
        [OP_MKDIR] = "mkdir", [OP_UNLINK] = "unlink", [OP_STATX] = "statx",
    };

    return names[kind];
}

/* ---- making and ending the ring ---- */

static void wake_done(struct op *op, int res)
{
    struct ring *ring = container_of(op, struct ring, wake_op);

    LIST_FOR_EACH (link, &ring->wakers) {
        struct ring_waker *waker = container_of(link, struct ring_waker, link);

        waker->fn(waker->ctx);
    }
    /* Also when a waker has just stopped the ring: the next run wants to be woken too. */
    ring_read(ring, op, ring->wake_fd, &ring->wake_value, sizeof ring->wake_value, -1);
}

/* What every backend needs: the eventfd and the buffers. */
static int setup_shared(struct ring *ring, struct ring_refusal *refusal)
{
    void *p;

    ring->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (ring->wake_fd < 0) {
        ring_refusal_explain(refusal, -errno, "eventfd");
        return refusal->error;
    }
    ring->buffers_bytes = (size_t)ring->options.buffers_count * ring->options.buffer_bytes;
    p = mmap(NULL, ring->buffers_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        ring_refusal_explain(refusal, -errno, "receive buffers");
        return refusal->error;
    }
    ring->buffers = p;
    ring->stats.buffers_count = ring->stats.buffers_free = ring->options.buffers_count;
    ring->stats.sockets_max = ring->options.sockets_max;
    return 0;
}

static int create_with(const struct ring_backend *backend, const struct ring_options *options,
                       struct ring **ret, struct ring_refusal *refusal)
{
    struct ring *ring = calloc(1, backend->size);
    int r;

    if (!ring) {
        refusal->error = -ENOMEM;
        snprintf(refusal->reason, sizeof refusal->reason, "out of memory");
        return -ENOMEM;
    }
    ring->options = *options;
    ring->wake_fd = -1;
    list_init(&ring->landed);
    list_init(&ring->parked);
    list_init(&ring->wakers);
    r = setup_shared(ring, refusal);
    if (r < 0) {
        ring_destroy(ring);
        return r;
    }
    ring->backend = backend;
    ring->confine_error = -EOPNOTSUPP;
    r = backend->setup(ring, refusal);
    if (r < 0) {
        ring_destroy(ring);
        return r;
    }
    ring->wake_op.done = wake_done;
    ring_read(ring, &ring->wake_op, ring->wake_fd, &ring->wake_value, sizeof ring->wake_value, -1);
    *ret = ring;
    return 0;
}

int ring_create(const struct ring_options *options, struct ring **ret, struct ring_refusal *refusal)
{
    struct ring *ring = NULL;
    int r;

    if (options->backend == RING_BACKEND_EPOLL) {
        r = create_with(&ring_epoll_backend, options, &ring, refusal);
        if (r == 0)
            snprintf(ring->reason, sizeof ring->reason, "asked for");
    } else {
        r = create_with(&ring_uring_backend, options, &ring, refusal);
        if (r < 0 && options->backend == RING_BACKEND_AUTO) {
            struct ring_refusal refused = *refusal;

            r = create_with(&ring_epoll_backend, options, &ring, refusal);
            if (r == 0)
                snprintf(ring->reason, sizeof ring->reason, "io_uring refused: %s", refused.reason);
        }
    }
    if (r < 0)
        return r;
    snprintf(ring->description, sizeof ring->description, "%s (%s)", ring->backend->name,
             ring->reason);
    *ret = ring;
    return 0;
}

struct ring *ring_destroy(struct ring *ring)
{
    if (!ring)
        return NULL;
    if (ring->backend)
        ring->backend->destroy(ring);
    if (ring->buffers)
        (void)munmap(ring->buffers, ring->buffers_bytes);
    if (ring->wake_fd >= 0)
        (void)close(ring->wake_fd);
    free(ring);
    return NULL;
}

/* ---- starting operations ---- */

static void take_op(struct ring *ring, struct op *op, enum op_kind kind, int target)
{
    assert(!op->in_flight && op->done);
    op->kind = (uint8_t)kind;
    op->target = target;
    op->started_at_mono_ns = clock_mono_ns();
    op->cancelled_at_mono_ns = 0;
    op->received = (struct slice){0};
    op->in_flight = true;
    op->place = PLACE_BACKEND;
    ring->stats.in_flight[kind]++;
}

static void start(struct ring *ring, struct op *op, enum op_kind kind, int target,
                  const union op_args *args, int64_t timeout_ms)
{
    take_op(ring, op, kind, target);
    ring->backend->start(ring, op, args, timeout_ms);
}

void ring_socket(struct ring *ring, struct op *op)
{
    start(ring, op, OP_SOCKET, -1, NULL, 0);
}

void ring_connect(struct ring *ring, struct op *op, int sock, const struct sockaddr_un *addr)
{
    start(ring, op, OP_CONNECT, sock, &(union op_args){.addr = addr}, 0);
}

void ring_send(struct ring *ring, struct op *op, int sock, struct slice data, int64_t timeout_ms)
{
    start(ring, op, OP_SEND, sock, &(union op_args){.write = {.data = data.data, .len = data.len}},
          timeout_ms);
}

void ring_recv(struct ring *ring, struct op *op, int sock, int64_t timeout_ms)
{
    take_op(ring, op, OP_RECV, sock);
    op->scratch[2] = (uint64_t)timeout_ms;
    /* Behind those in line, or streams that always have bytes would keep the buffers to themselves.
     */
    if (list_is_empty(&ring->parked))
        ring->backend->receive(ring, op);
    else
        ring_park(ring, op);
}

void ring_close_socket(struct ring *ring, struct op *op, int sock)
{
    start(ring, op, OP_CLOSE, sock, &(union op_args){.is_socket = true}, 0);
    ring->stats.sockets_open--;
}

void ring_close_fd(struct ring *ring, struct op *op, int fd)
{
    start(ring, op, OP_CLOSE, fd, &(union op_args){.is_socket = false}, 0);
}

void ring_timer(struct ring *ring, struct op *op, int64_t after_ms)
{
    start(ring, op, OP_TIMER, -1, NULL, after_ms);
}

void ring_open(struct ring *ring, struct op *op, int dir_fd, const char *path, int flags,
               mode_t mode, uint64_t resolve)
{
    start(
        ring, op, OP_OPEN, dir_fd,
        &(union op_args){.open = {.path = path, .flags = flags, .mode = mode, .resolve = resolve}},
        0);
}

/* No operation takes or gives more at once: results are ints. */
static size_t at_most(size_t len)
{
    return MIN(len, (size_t)INT32_MAX);
}

void ring_read(struct ring *ring, struct op *op, int fd, void *data, size_t len, int64_t offset)
{
    start(ring, op, OP_READ, fd,
          &(union op_args){.read = {.data = data, .len = at_most(len), .offset = offset}}, 0);
}

void ring_write(struct ring *ring, struct op *op, int fd, struct slice data, int64_t offset)
{
    start(
        ring, op, OP_WRITE, fd,
        &(union op_args){.write = {.data = data.data, .len = at_most(data.len), .offset = offset}},
        0);
}

void ring_fsync(struct ring *ring, struct op *op, int fd, bool data_only)
{
    start(ring, op, OP_FSYNC, fd, &(union op_args){.data_only = data_only}, 0);
}

void ring_rename(struct ring *ring, struct op *op, int dir_fd, const char *from, const char *to)
{
    start(ring, op, OP_RENAME, dir_fd, &(union op_args){.name = {.path = from, .to = to}}, 0);
}

void ring_mkdir(struct ring *ring, struct op *op, int dir_fd, const char *path, mode_t mode)
{
    start(ring, op, OP_MKDIR, dir_fd, &(union op_args){.name = {.path = path, .mode = mode}}, 0);
}

void ring_unlink(struct ring *ring, struct op *op, int dir_fd, const char *path)
{
    start(ring, op, OP_UNLINK, dir_fd, &(union op_args){.name = {.path = path}}, 0);
}

void ring_statx(struct ring *ring, struct op *op, int dir_fd, const char *path, unsigned mask,
                struct statx *ret)
{
    start(ring, op, OP_STATX, dir_fd,
          &(union op_args){.statx = {.path = path, .ret = ret, .mask = mask}}, 0);
}

void ring_cancel(struct ring *ring, struct op *op)
{
    if (!op->in_flight || op->cancelled_at_mono_ns)
        return;
    op->cancelled_at_mono_ns = clock_mono_ns();
    if (op->place == PLACE_PARKED) {
        list_remove(&op->link);
        ring_land(ring, op, -ECANCELED);
    } else if (op->place != PLACE_LANDED) { /* what happened has happened */
        ring->backend->cancel(ring, op);
    }
}

/* ---- running ---- */

static unsigned cancel_bucket(uint64_t ns)
{
    static const uint64_t bounds_us[RING_CANCEL_BUCKETS - 1] = {RING_CANCEL_BOUNDS_US};
    unsigned bucket = 0;

    while (bucket < ARRAY_SIZE(bounds_us) && ns > bounds_us[bucket] * NSEC_PER_USEC)
        bucket++;
    return bucket;
}

static void run_one(struct ring *ring, struct op *op)
{
    int res = op->res;
    bool has_buffer = op->buffer > 0;
    unsigned buffer = op->buffer - 1;

    ring->stats.in_flight[op->kind]--;
    ring->stats.completions[op->kind]++;
    if (op->cancelled_at_mono_ns) {
        uint64_t ns = (uint64_t)(clock_mono_ns() - op->cancelled_at_mono_ns);

        if (res == -EINTR)
            res = -ECANCELED;
        ring->stats.cancels += res == -ECANCELED;
        ring->stats.cancel_ns_sum += ns;
        ring->stats.cancel_ns_max = MAX(ring->stats.cancel_ns_max, ns);
        ring->stats.cancel_buckets[cancel_bucket(ns)]++;
    } else if ((op->kind == OP_RECV || op->kind == OP_SEND) &&
               (res == -ECANCELED || res == -EINTR)) {
        ring->stats.timeouts++;
        res = -ETIME;
    }
    if (op->kind == OP_SOCKET && res >= 0)
        ring->stats.sockets_open++;
    if (has_buffer && res > 0) {
        op->received = slice_of(ring_buffer(ring, buffer), (size_t)res);
        ring->saw_data = true;
        ring->saw_full_buffer |= (unsigned)res == ring->options.buffer_bytes;
    }

    op->buffer = 0;
    op->place = PLACE_NOWHERE;
    op->in_flight = false;
    op->done(op, res); /* may free the op */

    if (has_buffer) {
        ring->backend->give_back(ring, buffer);
        ring->stats.buffers_free++;
    }
}

/*
 * All leases are home: let as many of the parked receives try again as there are buffers. No more
 * than that in one submission: the others would only be refused and parked again, all of them each
 * time, and an empty line would let the ring pause with streams that have waited for long.
 */
static void unpark(struct ring *ring)
{
    while (ring->unparked < ring->options.buffers_count && !list_is_empty(&ring->parked)) {
        struct op *op = container_of(list_pop(&ring->parked), struct op, link);

        ring->unparked++;
        op->place = PLACE_BACKEND;
        ring->backend->receive(ring, op);
    }
}

static void run_landed(struct ring *ring)
{
    struct list *link;

    while ((link = list_pop(&ring->landed)))
        run_one(ring, container_of(link, struct op, link));
    unpark(ring);
}

/* Everything that has completed by now, in as many collections as that takes. */
static void run_pass(struct ring *ring)
{
    for (unsigned i = 0; i < PASS_COLLECTIONS_MAX; i++) {
        ring->backend->collect(ring);
        run_landed(ring);
        if (!ring->backend->has_more(ring) && list_is_empty(&ring->landed))
            break;
        ring->stats.enters++;
        ring->backend->gather(ring);
    }
}

static void pause_outside(struct ring *ring)
{
    struct timespec ts = {.tv_nsec = ring->options.batch_pause_us * NSEC_PER_USEC};

    ring->stats.pauses++;
    (void)nanosleep(&ts, NULL); /* cut short by a signal: only a smaller batch */
}

int ring_run(struct ring *ring, void (*on_pass_end)(void *ctx), void *ctx)
{
    ring->stopping = false;
    while (!ring->stopping) {
        bool busy = !list_is_empty(&ring->parked) || !list_is_empty(&ring->landed);
        int r;

        if (ring->saw_data && !ring->saw_full_buffer && ring->can_pause &&
            ring->options.batch_pause_us > 0 && list_is_empty(&ring->parked)) {
            ring->backend->submit(ring);
            pause_outside(ring);
            busy = true;
        }
        ring->saw_data = ring->saw_full_buffer = false;
        ring->stats.passes++;
        ring->stats.enters++;
        r = ring->backend->wait(ring, !busy);
        if (r < 0)
            return r;
        ring->unparked = 0;
        run_pass(ring);
        if (on_pass_end)
            on_pass_end(ctx);
    }
    return 0;
}

void ring_stop(struct ring *ring)
{
    ring->stopping = true;
}

/* ---- waking up from elsewhere ---- */

void ring_add_waker(struct ring *ring, struct ring_waker *waker)
{
    list_append(&ring->wakers, &waker->link);
}

void ring_remove_waker(struct ring_waker *waker)
{
    list_remove(&waker->link);
}

void ring_wake(struct ring *ring)
{
    uint64_t one = 1;

    /* A full counter (-EAGAIN is impossible on a blocking eventfd below 2^64) wakes all the same.
     */
    (void)!write(ring->wake_fd, &one, sizeof one);
}

/* ---- telling ---- */

const struct ring_stats *ring_stats_get(struct ring *ring)
{
    return &ring->stats;
}

const char *ring_backend_name(const struct ring *ring)
{
    return ring->backend->name;
}

const char *ring_backend_reason(const struct ring *ring)
{
    return ring->reason;
}

int ring_confine_error(const struct ring *ring)
{
    return ring->confine_error;
}

const char *ring_describe(const struct ring *ring)
{
    return ring->description;
}
