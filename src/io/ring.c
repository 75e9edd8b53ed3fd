/*
 * The io_uring backend of io/ring.h.
 *
 * Owns the ring, the socket table, the pool of receive buffers and the eventfd behind ring_wake.
 * Never calls `done` from a start or a cancel: completions are collected into `landed` first and
 * run after.
 *
 * Facts about the kernel that the code leans on were measured on 6.18 and read in its sources:
 *  - A completion is decided by the operation's own result alone; its LINK_TIMEOUT's says nothing,
 * and is silenced by IOSQE_CQE_SKIP_SUCCESS.
 *  - The submission queue is consumed in order, so a cancel queued before an operation's next start
 *    cannot hit that next start although both carry the same user_data.
 *  - Multishot receives can lose the end of a unix stream under load; one-shot receives do not.
 *  - DEFER_TASKRUN runs some twenty completions an enter: go on while IORING_SQ_TASKRUN is set.
 *  - Requests with links defeat the lazy wake-up of waits for many completions, so batching is a
 * sleep outside the ring.
 */
#include "ringtail/io/ring.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"

/* Completions of link timeouts and cancels, where they come at all, carry this. */
#define USER_DATA_IGNORED 0

#define BUFFER_GROUP 1
/* Callbacks run between collections, so a flood of one kind cannot keep on_pass_end waiting for
 * ever. */
#define PASS_COLLECTIONS_MAX 64

enum op_place { PLACE_NOWHERE, PLACE_KERNEL, PLACE_PARKED, PLACE_LANDED };

struct ring {
    struct io_uring uring;
    struct ring_options options;
    bool deferred; /* DEFER_TASKRUN: nothing interrupts a pause */
    bool skip_cqe; /* IOSQE_CQE_SKIP_SUCCESS is there */
    bool stopping;
    bool saw_data, saw_full_buffer; /* in this pass */

    struct list landed; /* completed, `done` not yet run */
    struct list parked; /* receives in line for a buffer, first come first served */
    struct list wakers;

    struct io_uring_buf_ring *buf_ring;
    size_t buf_ring_bytes;
    char *buffers;
    size_t buffers_bytes;

    int wake_fd;
    struct op wake_op;
    uint64_t wake_value;

    struct ring_stats stats;
    char description[96];
};

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

/* ---- what the kernel refuses, said so that a person can act on it ---- */

static int read_proc_int(const char *path)
{
    char text[32] = "";
    FILE *f = fopen(path, "re");
    int value = -1;

    if (!f)
        return -1;
    if (fgets(text, sizeof text, f))
        value = (int)strtol(text, NULL, 10);
    (void)fclose(f); /* read only: nothing to lose */
    return value;
}

static void refusal_explain(struct ring_refusal *refusal, int error, const char *what)
{
    struct utsname uts = {0};
    struct rlimit limit = {0};
    int disabled = read_proc_int("/proc/sys/kernel/io_uring_disabled");
    char *out = refusal->reason;
    size_t size = sizeof refusal->reason;

    (void)uname(&uts); /* an empty release is shown as such */
    refusal->error = error;
    switch (-error) {
    case EPERM:
        if (disabled > 0)
            snprintf(out, size, "sysctl kernel.io_uring_disabled is %d: set it to 0%s", disabled,
                     disabled == 1 ? ", or join the group of kernel.io_uring_group" : "");
        else
            snprintf(
                out, size,
                "a seccomp profile denies io_uring (container engines' default does): run with a "
                "profile that allows io_uring_setup, io_uring_enter and io_uring_register");
        break;
    case ENOSYS:
        snprintf(
            out, size,
            "this kernel (%s) has no io_uring, or a seccomp profile hides it: use Linux 5.19 or "
            "newer, and a profile that allows io_uring_setup, io_uring_enter and "
            "io_uring_register",
            uts.release);
        break;
    case ENOMEM:
        (void)getrlimit(RLIMIT_MEMLOCK, &limit);
        snprintf(out, size,
                 "not enough lockable memory (RLIMIT_MEMLOCK is %llu KiB): raise it to 8192 KiB "
                 "(ulimit -l, LimitMEMLOCK=, --ulimit memlock), or lower ring.entries",
                 (unsigned long long)limit.rlim_cur / 1024);
        break;
    case EMFILE:
        (void)getrlimit(RLIMIT_NOFILE, &limit);
        snprintf(
            out, size,
            "too few file descriptors (RLIMIT_NOFILE is %llu): raise it above ring.sockets_max "
            "(ulimit -n, LimitNOFILE=, --ulimit nofile)",
            (unsigned long long)limit.rlim_cur);
        break;
    case EINVAL:
    case EOPNOTSUPP:
        snprintf(out, size, "this kernel (%s) is too old (%s): use Linux 5.19 or newer",
                 uts.release, what);
        break;
    default:
        snprintf(out, size, "%s: %s", what, strerror(-error));
    }
}

/* ---- making and ending the ring ---- */

static int setup_queue(struct ring *ring)
{
    static const struct {
        unsigned flags;
        bool deferred;
        const char *name;
    } ladder[] = {
        {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG, true,
         "single issuer, deferred task work"},
        {IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, false, "cooperative task work"},
    };
    int r = -EINVAL;

    for (size_t i = 0; i < ARRAY_SIZE(ladder); i++) {
        struct io_uring_params params = {
            .flags = ladder[i].flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP |
                     IORING_SETUP_SUBMIT_ALL,
            .cq_entries = ring->options.entries * 4,
        };

        r = io_uring_queue_init_params(ring->options.entries, &ring->uring, &params);
        if (r == 0) {
            ring->deferred = ladder[i].deferred;
            ring->skip_cqe = (params.features & IORING_FEAT_CQE_SKIP) != 0;
            snprintf(ring->description, sizeof ring->description, "io_uring (%s)", ladder[i].name);
            return 0;
        }
        if (r != -EINVAL)
            return r;
    }
    return r;
}

static int setup_buffers(struct ring *ring)
{
    struct io_uring_buf_reg reg = {.bgid = BUFFER_GROUP};
    unsigned count = ring->options.buffers_count;
    void *p;
    int r;

    ring->buf_ring_bytes = count * sizeof(struct io_uring_buf);
    p = mmap(NULL, ring->buf_ring_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
             0);
    if (p == MAP_FAILED)
        return -errno;
    ring->buf_ring = p;
    ring->buffers_bytes = (size_t)count * ring->options.buffer_bytes;
    p = mmap(NULL, ring->buffers_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return -errno;
    ring->buffers = p;

    reg.ring_addr = (uint64_t)(uintptr_t)ring->buf_ring;
    reg.ring_entries = count;
    r = io_uring_register_buf_ring(&ring->uring, &reg, 0);
    if (r < 0)
        return r;
    io_uring_buf_ring_init(ring->buf_ring);
    for (unsigned i = 0; i < count; i++)
        io_uring_buf_ring_add(
            ring->buf_ring, ring->buffers + (size_t)i * ring->options.buffer_bytes,
            ring->options.buffer_bytes, (unsigned short)i, io_uring_buf_ring_mask(count), (int)i);
    io_uring_buf_ring_advance(ring->buf_ring, (int)count);
    ring->stats.buffers_count = ring->stats.buffers_free = count;
    return 0;
}

static bool has_opcodes(struct ring *ring)
{
    static const uint8_t needed[] = {
        IORING_OP_SOCKET, IORING_OP_CONNECT,      IORING_OP_SEND,    IORING_OP_RECV,
        IORING_OP_CLOSE,  IORING_OP_LINK_TIMEOUT, IORING_OP_TIMEOUT, IORING_OP_ASYNC_CANCEL,
        IORING_OP_READ,   IORING_OP_WRITE,        IORING_OP_FSYNC,   IORING_OP_OPENAT2,
        IORING_OP_STATX,  IORING_OP_RENAMEAT,     IORING_OP_MKDIRAT, IORING_OP_UNLINKAT,
    };
    struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->uring);
    bool all = probe != NULL;

    for (size_t i = 0; all && i < ARRAY_SIZE(needed); i++)
        all = io_uring_opcode_supported(probe, needed[i]);
    io_uring_free_probe(probe);
    return all;
}

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

static int setup(struct ring *ring, struct ring_refusal *refusal)
{
    unsigned workers[2] = {ring->options.workers_max, 0}; /* 0: as it is */
    int r;

    ring->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (ring->wake_fd < 0) {
        r = -errno;
        refusal_explain(refusal, r, "eventfd");
        return r;
    }
    r = setup_queue(ring);
    if (r < 0) {
        ring->uring.ring_fd = -1;
        refusal_explain(refusal, r, "io_uring_setup refuses the flags");
        return r;
    }
    if (!has_opcodes(ring)) {
        refusal_explain(refusal, -EOPNOTSUPP, "io_uring lacks operations");
        return -EOPNOTSUPP;
    }
    r = io_uring_register_files_sparse(&ring->uring, ring->options.sockets_max);
    if (r < 0) {
        refusal_explain(refusal, r, "no sparse socket table");
        return r;
    }
    r = setup_buffers(ring);
    if (r < 0) {
        refusal_explain(refusal, r, "no provided-buffer ring");
        return r;
    }
    (void)io_uring_register_ring_fd(&ring->uring); /* a little cheaper; fine without */
    /* Kernels without this start as many as they like: up to four for each processor. */
    (void)io_uring_register_iowq_max_workers(&ring->uring, workers);
    return 0;
}

int ring_create(const struct ring_options *options, struct ring **ret, struct ring_refusal *refusal)
{
    struct ring *ring = calloc(1, sizeof *ring);
    int r;

    if (!ring) {
        refusal->error = -ENOMEM;
        snprintf(refusal->reason, sizeof refusal->reason, "out of memory");
        return -ENOMEM;
    }
    ring->options = *options;
    ring->wake_fd = -1;
    ring->uring.ring_fd = -1;
    list_init(&ring->landed);
    list_init(&ring->parked);
    list_init(&ring->wakers);
    ring->stats.sockets_max = options->sockets_max;
    r = setup(ring, refusal);
    if (r < 0) {
        ring_destroy(ring);
        return r;
    }
    ring->wake_op.done = wake_done;
    ring_read(ring, &ring->wake_op, ring->wake_fd, &ring->wake_value, sizeof ring->wake_value, -1);
    *ret = ring;
    return 0;
}

struct ring *ring_destroy(struct ring *ring)
{
    if (!ring)
        return NULL;
    if (ring->uring.ring_fd >= 0)
        io_uring_queue_exit(&ring->uring);
    if (ring->buf_ring)
        (void)munmap(ring->buf_ring, ring->buf_ring_bytes);
    if (ring->buffers)
        (void)munmap(ring->buffers, ring->buffers_bytes);
    if (ring->wake_fd >= 0)
        (void)close(ring->wake_fd);
    free(ring);
    return NULL;
}

/* ---- collecting completions ---- */

static void land(struct ring *ring, struct op *op, int res)
{
    op->res = res;
    op->place = PLACE_LANDED;
    list_append(&ring->landed, &op->link);
}

static void park(struct ring *ring, struct op *op)
{
    op->place = PLACE_PARKED;
    list_append(&ring->parked, &op->link);
}

static unsigned collect(struct ring *ring)
{
    struct io_uring_cqe *cqe;
    unsigned head, count = 0;

    io_uring_for_each_cqe(&ring->uring, head, cqe)
    {
        struct op *op = (struct op *)(uintptr_t)cqe->user_data;

        count++;
        if (cqe->user_data == USER_DATA_IGNORED)
            continue;
        op->cqe_flags = cqe->flags;
        if (cqe->flags & IORING_CQE_F_BUFFER)
            ring->stats.buffers_free--;
        if (op->kind == OP_RECV && cqe->res == -ENOBUFS) {
            ring->stats.buffer_waits++;
            if (op->cancelled_at_mono_ns)
                land(ring, op, -ECANCELED);
            else
                park(ring, op);
            continue;
        }
        land(ring, op, cqe->res);
    }
    io_uring_cq_advance(&ring->uring, count);
    return count;
}

static bool has_task_work(const struct ring *ring)
{
    unsigned flags =
        atomic_load_explicit((_Atomic unsigned *)ring->uring.sq.kflags, memory_order_relaxed);

    return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

/* ---- starting operations ---- */

/*
 * A pair of entries or none: a full queue between an operation and its timeout would break the
 * link.
 */
static struct io_uring_sqe *take_entries(struct ring *ring, unsigned count)
{
    struct io_uring_sqe *sqe;

    while (io_uring_sq_space_left(&ring->uring) < count) {
        int r = io_uring_submit(&ring->uring);

        /* -EBUSY, -EAGAIN: the completion side is full; take what is there and try again. */
        if (r < 0) {
            (void)io_uring_get_events(&ring->uring);
            collect(ring);
        }
    }
    sqe = io_uring_get_sqe(&ring->uring);
    assert(sqe);
    return sqe;
}

static void take_op(struct ring *ring, struct op *op, enum op_kind kind, int target)
{
    assert(!op->in_flight && op->done);
    op->kind = (uint8_t)kind;
    op->target = target;
    op->started_at_mono_ns = clock_mono_ns();
    op->cancelled_at_mono_ns = 0;
    op->received = (struct slice){0};
    op->in_flight = true;
    op->place = PLACE_KERNEL;
    ring->stats.in_flight[kind]++;
}

static struct io_uring_sqe *begin(struct ring *ring, struct op *op, enum op_kind kind, int target,
                                  unsigned entries)
{
    take_op(ring, op, kind, target);
    return take_entries(ring, entries);
}

static void set_timespec(struct op *op, int64_t ms)
{
    struct __kernel_timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NSEC_PER_MSEC};

    static_assert(sizeof ts <= sizeof op->scratch, "scratch holds a timespec");
    memcpy(op->scratch, &ts, sizeof ts);
}

/* Links `sqe` to a timeout, whose own completion is of no interest. */
static void link_timeout(struct ring *ring, struct op *op, struct io_uring_sqe *sqe)
{
    struct io_uring_sqe *timeout = io_uring_get_sqe(&ring->uring);

    assert(timeout);
    sqe->flags |= IOSQE_IO_LINK;
    io_uring_prep_link_timeout(timeout, (struct __kernel_timespec *)(void *)op->scratch, 0);
    if (ring->skip_cqe)
        timeout->flags |= IOSQE_CQE_SKIP_SUCCESS;
    timeout->user_data = USER_DATA_IGNORED;
}

static void finish(struct op *op, struct io_uring_sqe *sqe)
{
    sqe->user_data = (uint64_t)(uintptr_t)op;
}

void ring_socket(struct ring *ring, struct op *op)
{
    struct io_uring_sqe *sqe = begin(ring, op, OP_SOCKET, -1, 1);

    /* Not blocking, so that a full backlog is -EAGAIN at once and not a worker thread stuck in
     * connect. */
    io_uring_prep_socket_direct_alloc(sqe, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, 0);
    finish(op, sqe);
}

void ring_connect(struct ring *ring, struct op *op, int sock, const struct sockaddr_un *addr)
{
    struct io_uring_sqe *sqe = begin(ring, op, OP_CONNECT, sock, 1);

    io_uring_prep_connect(sqe, sock, (const struct sockaddr *)addr, sizeof *addr);
    sqe->flags |= IOSQE_FIXED_FILE;
    finish(op, sqe);
}

void ring_send(struct ring *ring, struct op *op, int sock, struct slice data, int64_t timeout_ms)
{
    struct io_uring_sqe *sqe = begin(ring, op, OP_SEND, sock, 2);

    io_uring_prep_send(sqe, sock, data.data, data.len, MSG_NOSIGNAL);
    sqe->flags |= IOSQE_FIXED_FILE;
    finish(op, sqe);
    if (timeout_ms > 0) {
        set_timespec(op, timeout_ms);
        link_timeout(ring, op, sqe);
    }
}

static void start_recv(struct ring *ring, struct op *op, struct io_uring_sqe *sqe)
{
    const struct __kernel_timespec *timeout = (const void *)op->scratch;

    io_uring_prep_recv(sqe, op->target, NULL, ring->options.buffer_bytes, 0);
    sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    finish(op, sqe);
    if (timeout->tv_sec || timeout->tv_nsec)
        link_timeout(ring, op, sqe);
}

void ring_recv(struct ring *ring, struct op *op, int sock, int64_t timeout_ms)
{
    take_op(ring, op, OP_RECV, sock);
    set_timespec(op, timeout_ms);
    /* Behind those in line, or streams that always have bytes would keep the buffers to themselves.
     */
    if (list_is_empty(&ring->parked))
        start_recv(ring, op, take_entries(ring, 2));
    else
        park(ring, op);
}

void ring_close_socket(struct ring *ring, struct op *op, int sock)
{
    struct io_uring_sqe *sqe = begin(ring, op, OP_CLOSE, sock, 1);

    io_uring_prep_close_direct(sqe, (unsigned)sock);
    finish(op, sqe);
    ring->stats.sockets_open--;
}

void ring_close_fd(struct ring *ring, struct op *op, int fd)
{
    struct io_uring_sqe *sqe = begin(ring, op, OP_CLOSE, fd, 1);

    io_uring_prep_close(sqe, fd);
    finish(op, sqe);
}

void ring_timer(struct ring *ring, struct op *op, int64_t after_ms)
{
    struct io_uring_sqe *sqe = begin(ring, op, OP_TIMER, -1, 1);

    set_timespec(op, after_ms);
    io_uring_prep_timeout(sqe, (struct __kernel_timespec *)(void *)op->scratch, 0, 0);
    finish(op, sqe);
}

void ring_open(struct ring *ring, struct op *op, int dir_fd, const char *path, int flags,
               mode_t mode, uint64_t resolve)
{
    struct io_uring_sqe *sqe = begin(ring, op, OP_OPEN, dir_fd, 1);
    struct open_how how = {
        .flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
        .mode = mode,
        .resolve = resolve,
    };

    static_assert(sizeof how <= sizeof op->scratch, "scratch holds an open_how");
    memcpy(op->scratch, &how, sizeof how);
    io_uring_prep_openat2(sqe, dir_fd, path, (struct open_how *)(void *)op->scratch);
    finish(op, sqe);
}

void ring_read(struct ring *ring, struct op *op, int fd, void *data, size_t len, int64_t offset)
{
    struct io_uring_sqe *sqe = begin(ring, op, OP_READ, fd, 1);

    io_uring_prep_read(sqe, fd, data, (unsigned)MIN(len, (size_t)INT32_MAX), (uint64_t)offset);
    finish(op, sqe);
}

void ring_write(struct ring *ring, struct op *op, int fd, struct slice data, int64_t offset)
{
    struct io_uring_sqe *sqe = begin(ring, op, OP_WRITE, fd, 1);

    io_uring_prep_write(sqe, fd, data.data, (unsigned)MIN(data.len, (size_t)INT32_MAX),
                        (uint64_t)offset);
    finish(op, sqe);
}

void ring_fsync(struct ring *ring, struct op *op, int fd, bool data_only)
{
    struct io_uring_sqe *sqe = begin(ring, op, OP_FSYNC, fd, 1);

    io_uring_prep_fsync(sqe, fd, data_only ? IORING_FSYNC_DATASYNC : 0);
    finish(op, sqe);
}

void ring_rename(struct ring *ring, struct op *op, int dir_fd, const char *from, const char *to)
{
    struct io_uring_sqe *sqe = begin(ring, op, OP_RENAME, dir_fd, 1);

    io_uring_prep_renameat(sqe, dir_fd, from, dir_fd, to, 0);
    finish(op, sqe);
}

void ring_mkdir(struct ring *ring, struct op *op, int dir_fd, const char *path, mode_t mode)
{
    struct io_uring_sqe *sqe = begin(ring, op, OP_MKDIR, dir_fd, 1);

    io_uring_prep_mkdirat(sqe, dir_fd, path, mode);
    finish(op, sqe);
}

void ring_unlink(struct ring *ring, struct op *op, int dir_fd, const char *path)
{
    struct io_uring_sqe *sqe = begin(ring, op, OP_UNLINK, dir_fd, 1);

    io_uring_prep_unlinkat(sqe, dir_fd, path, 0);
    finish(op, sqe);
}

void ring_statx(struct ring *ring, struct op *op, int dir_fd, const char *path, unsigned mask,
                struct statx *ret)
{
    struct io_uring_sqe *sqe = begin(ring, op, OP_STATX, dir_fd, 1);

    io_uring_prep_statx(sqe, dir_fd, path, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, mask, ret);
    finish(op, sqe);
}

void ring_cancel(struct ring *ring, struct op *op)
{
    struct io_uring_sqe *sqe;

    if (!op->in_flight || op->cancelled_at_mono_ns)
        return;
    op->cancelled_at_mono_ns = clock_mono_ns();
    switch ((enum op_place)op->place) {
    case PLACE_PARKED:
        list_remove(&op->link);
        land(ring, op, -ECANCELED);
        return;
    case PLACE_LANDED:
        return; /* what happened has happened */
    case PLACE_NOWHERE:
    case PLACE_KERNEL:
        break;
    }
    sqe = take_entries(ring, 1);
    io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)op, 0);
    if (ring->skip_cqe)
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = USER_DATA_IGNORED;
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
    bool has_buffer = (op->cqe_flags & IORING_CQE_F_BUFFER) != 0;
    unsigned buffer = op->cqe_flags >> IORING_CQE_BUFFER_SHIFT;

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
        op->received =
            slice_of(ring->buffers + (size_t)buffer * ring->options.buffer_bytes, (size_t)res);
        ring->saw_data = true;
        ring->saw_full_buffer |= (unsigned)res == ring->options.buffer_bytes;
    }

    op->cqe_flags = 0;
    op->place = PLACE_NOWHERE;
    op->in_flight = false;
    op->done(op, res); /* may free the op */

    if (has_buffer) {
        io_uring_buf_ring_add(ring->buf_ring,
                              ring->buffers + (size_t)buffer * ring->options.buffer_bytes,
                              ring->options.buffer_bytes, (unsigned short)buffer,
                              io_uring_buf_ring_mask(ring->options.buffers_count), 0);
        io_uring_buf_ring_advance(ring->buf_ring, 1);
        ring->stats.buffers_free++;
    }
}

/* All leases are home: let as many of the parked receives try again as there are buffers. */
static void unpark(struct ring *ring)
{
    for (unsigned i = 0; i < ring->options.buffers_count && !list_is_empty(&ring->parked); i++) {
        struct op *op = container_of(list_pop(&ring->parked), struct op, link);

        op->place = PLACE_KERNEL;
        start_recv(ring, op, take_entries(ring, 2));
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
        collect(ring);
        run_landed(ring);
        if (!has_task_work(ring) && list_is_empty(&ring->landed))
            break;
        ring->stats.enters++;
        (void)io_uring_get_events(&ring->uring); /* what it can't get now, the next wait gets */
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

        if (ring->saw_data && !ring->saw_full_buffer && ring->deferred &&
            ring->options.batch_pause_us > 0 && list_is_empty(&ring->parked)) {
            (void)io_uring_submit(&ring->uring); /* -EBUSY: the submit below tries again */
            pause_outside(ring);
            busy = true;
        }
        ring->saw_data = ring->saw_full_buffer = false;
        ring->stats.passes++;
        ring->stats.enters++;
        r = busy ? io_uring_submit_and_get_events(&ring->uring)
                 : io_uring_submit_and_wait(&ring->uring, 1);
        if (r < 0 && r != -EINTR && r != -EBUSY && r != -EAGAIN)
            return r;
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
    ring->stats.cq_overflows = *ring->uring.cq.koverflow;
    return &ring->stats;
}

const char *ring_describe(const struct ring *ring)
{
    return ring->description;
}
