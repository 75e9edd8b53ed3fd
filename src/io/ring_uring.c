/*
 * The io_uring backend of the ring.
 *
 * Owns the queues, the socket table and the kernel's view of the receive buffers, of which it gets
 * more as receives are refused for want of one. `opcodes` is all that it ever submits, and is what
 * the kernel is told to accept.
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
#include "ring_backend.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ringtail/base/clock.h"

/* Completions of link timeouts and cancels, where they come at all, carry this. */
#define USER_DATA_IGNORED 0

#define BUFFER_GROUP 1
/* The kernel takes buffers in turn, so each that it is given is soon memory in use. */
#define BUFFERS_OFFERED_FIRST 8

/* What each kind of operation is to the kernel: the one list of what is used. */
static const uint8_t opcodes[OP_KIND_COUNT] = {
    [OP_SOCKET] = IORING_OP_SOCKET,   [OP_CONNECT] = IORING_OP_CONNECT,
    [OP_SEND] = IORING_OP_SEND,       [OP_RECV] = IORING_OP_RECV,
    [OP_CLOSE] = IORING_OP_CLOSE,     [OP_TIMER] = IORING_OP_TIMEOUT,
    [OP_OPEN] = IORING_OP_OPENAT2,    [OP_READ] = IORING_OP_READ,
    [OP_WRITE] = IORING_OP_WRITE,     [OP_FSYNC] = IORING_OP_FSYNC,
    [OP_RENAME] = IORING_OP_RENAMEAT, [OP_MKDIR] = IORING_OP_MKDIRAT,
    [OP_UNLINK] = IORING_OP_UNLINKAT, [OP_STATX] = IORING_OP_STATX,
};
/* Those that go with operations of any kind. OP_NONE is no operation, and its opcode is none. */
static const uint8_t opcodes_beside[] = {IORING_OP_LINK_TIMEOUT, IORING_OP_ASYNC_CANCEL};

#define SQE_FLAGS_USED                                                                             \
    (IOSQE_FIXED_FILE | IOSQE_IO_LINK | IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS)

struct ring_uring {
    struct ring ring;
    struct io_uring uring;
    struct io_uring_buf_ring *buf_ring;
    size_t buf_ring_bytes;
    unsigned buffers_offered; /* the first so many have been given to the kernel */
};

static struct ring_uring *from_ring(const struct ring *ring)
{
    return container_of(ring, struct ring_uring, ring);
}

/* ---- making and ending ---- */

static void set_feature(struct ring_uring *u, enum ring_feature feature, bool has)
{
    if (has)
        u->ring.features |= 1U << feature;
}

static int setup_queue(struct ring_uring *u)
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
                     IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED,
            .cq_entries = u->ring.options.entries * 4,
        };

        r = io_uring_queue_init_params(u->ring.options.entries, &u->uring, &params);
        if (r == 0) {
            u->ring.can_pause = ladder[i].deferred;
            set_feature(u, RING_FEATURE_COOP_TASKRUN, true);
            set_feature(u, RING_FEATURE_DEFER_TASKRUN, ladder[i].deferred);
            set_feature(u, RING_FEATURE_CQE_SKIP, (params.features & IORING_FEAT_CQE_SKIP) != 0);
            snprintf(u->ring.reason, sizeof u->ring.reason, "%s", ladder[i].name);
            return 0;
        }
        if (r != -EINVAL)
            return r;
    }
    return r;
}

static void offer_buffers(struct ring_uring *u, unsigned more)
{
    unsigned all = u->ring.options.buffers_count;
    unsigned count = MIN(more, all - u->buffers_offered);

    for (unsigned i = 0; i < count; i++) {
        unsigned buffer = u->buffers_offered + i;

        io_uring_buf_ring_add(u->buf_ring, ring_buffer(&u->ring, buffer),
                              u->ring.options.buffer_bytes, (unsigned short)buffer,
                              io_uring_buf_ring_mask(all), (int)i);
    }
    io_uring_buf_ring_advance(u->buf_ring, (int)count);
    u->buffers_offered += count;
}

static int setup_buffers(struct ring_uring *u)
{
    struct io_uring_buf_reg reg = {.bgid = BUFFER_GROUP};
    unsigned count = u->ring.options.buffers_count;
    void *p;
    int r;

    u->buf_ring_bytes = count * sizeof(struct io_uring_buf);
    p = mmap(NULL, u->buf_ring_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return -errno;
    u->buf_ring = p;
    reg.ring_addr = (uint64_t)(uintptr_t)u->buf_ring;
    reg.ring_entries = count;
    r = io_uring_register_buf_ring(&u->uring, &reg, 0);
    if (r < 0)
        return r;
    io_uring_buf_ring_init(u->buf_ring);
    offer_buffers(u, BUFFERS_OFFERED_FIRST);
    return 0;
}

static int check_operations(struct ring_uring *u)
{
    struct io_uring_probe *probe =
        calloc(1, sizeof *probe + IORING_OP_LAST * sizeof(struct io_uring_probe_op));
    int r = probe ? io_uring_register_probe(&u->uring, probe, IORING_OP_LAST) : -ENOMEM;

    for (size_t i = OP_NONE + 1; r == 0 && i < ARRAY_SIZE(opcodes); i++)
        if (!io_uring_opcode_supported(probe, opcodes[i]))
            r = -EOPNOTSUPP;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(opcodes_beside); i++)
        if (!io_uring_opcode_supported(probe, opcodes_beside[i]))
            r = -EOPNOTSUPP;
    free(probe);
    return r;
}

static int refuse(struct ring_refusal *refusal, int error, enum ring_feature feature)
{
    char what[40];

    snprintf(what, sizeof what, "no %s", ring_feature_info(feature)->name);
    ring_refusal_explain(refusal, error, what);
    return error;
}

/* What it does without is a part of the reason that people read. */
static void describe(struct ring *ring)
{
    char *out = ring->reason;
    size_t len = strlen(out), size = sizeof ring->reason;

    for (int f = RING_FEATURE_FIRST_OPTIONAL; f < RING_FEATURE_COUNT && len < size; f++)
        if (f != RING_FEATURE_DEFER_TASKRUN && !ring_has(ring, (enum ring_feature)f))
            len += (size_t)snprintf(out + len, size - len, ", no %s",
                                    ring_feature_info((enum ring_feature)f)->name);
}

/* liburing has functions for what is asked here, but up to 2.3 does not export them. */
static int register_here(const struct ring_uring *u, unsigned what, const void *arg, unsigned count)
{
    return syscall(SYS_io_uring_register, u->uring.ring_fd, what, arg, count) < 0 ? -errno : 0;
}

/*
 * From here on the kernel takes these operations and no others, for whoever holds the ring; of
 * what can be registered only the last step of its end. It has to be said before the ring is
 * enabled.
 */
static int confine(struct ring_uring *u)
{
    struct io_uring_restriction all[OP_KIND_COUNT + ARRAY_SIZE(opcodes_beside) + 2] = {0};
    unsigned count = 0;

    for (size_t i = OP_NONE + 1; i < ARRAY_SIZE(opcodes); i++)
        all[count++] = (struct io_uring_restriction){
            .opcode = IORING_RESTRICTION_SQE_OP,
            .sqe_op = opcodes[i],
        };
    for (size_t i = 0; i < ARRAY_SIZE(opcodes_beside); i++)
        all[count++] = (struct io_uring_restriction){
            .opcode = IORING_RESTRICTION_SQE_OP,
            .sqe_op = opcodes_beside[i],
        };
    all[count++] = (struct io_uring_restriction){
        .opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
        .sqe_flags = SQE_FLAGS_USED,
    };
    all[count++] = (struct io_uring_restriction){
        .opcode = IORING_RESTRICTION_REGISTER_OP,
        .register_op = IORING_UNREGISTER_RING_FDS,
    };
    return register_here(u, IORING_REGISTER_RESTRICTIONS, all, count);
}

static int uring_setup(struct ring *ring, struct ring_refusal *refusal)
{
    struct ring_uring *u = from_ring(ring);
    unsigned workers[2] = {ring->options.workers_max, 0}; /* 0: as it is */
    int r;

    u->uring.ring_fd = -1;
    r = setup_queue(u);
    if (r < 0) {
        u->uring.ring_fd = -1;
        return refuse(refusal, r, RING_FEATURE_COOP_TASKRUN);
    }
    r = check_operations(u);
    if (r < 0)
        return refuse(refusal, r, RING_FEATURE_OPERATIONS);
    set_feature(u, RING_FEATURE_OPERATIONS, true);
    r = io_uring_register_files_sparse(&u->uring, ring->options.sockets_max);
    if (r < 0)
        return refuse(refusal, r, RING_FEATURE_SOCKET_TABLE);
    set_feature(u, RING_FEATURE_SOCKET_TABLE, true);
    r = setup_buffers(u);
    if (r < 0)
        return refuse(refusal, r, RING_FEATURE_BUFFER_RING);
    set_feature(u, RING_FEATURE_BUFFER_RING, true);
    set_feature(u, RING_FEATURE_RING_FD, io_uring_register_ring_fd(&u->uring) == 1);
    set_feature(u, RING_FEATURE_WORKERS_MAX,
                io_uring_register_iowq_max_workers(&u->uring, workers) == 0);
    if (ring->options.confined)
        ring->confine_error = confine(u); /* whoever asked for it decides what that means */
    r = register_here(u, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (r < 0) {
        ring_refusal_explain(refusal, r, "the ring can't be enabled");
        return r;
    }
    describe(ring);
    return 0;
}

static void uring_destroy(struct ring *ring)
{
    struct ring_uring *u = from_ring(ring);

    if (u->uring.ring_fd >= 0)
        io_uring_queue_exit(&u->uring);
    if (u->buf_ring)
        (void)munmap(u->buf_ring, u->buf_ring_bytes);
}

/* ---- collecting completions ---- */

static void uring_collect(struct ring *ring)
{
    struct ring_uring *u = from_ring(ring);
    bool refused = false;
    struct io_uring_cqe *cqe;
    unsigned head, count = 0;

    io_uring_for_each_cqe(&u->uring, head, cqe)
    {
        struct op *op = (struct op *)(uintptr_t)cqe->user_data;

        count++;
        if (cqe->user_data == USER_DATA_IGNORED)
            continue;
        if (cqe->flags & IORING_CQE_F_BUFFER) {
            op->buffer = (cqe->flags >> IORING_CQE_BUFFER_SHIFT) + 1;
            ring->stats.buffers_free--;
        }
        if (op->kind == OP_RECV && cqe->res == -ENOBUFS) {
            refused = true;
            ring->stats.buffer_waits++;
            if (op->cancelled_at_mono_ns)
                ring_land(ring, op, -ECANCELED);
            else
                ring_park(ring, op);
            continue;
        }
        ring_land(ring, op, cqe->res);
    }
    io_uring_cq_advance(&u->uring, count);
    if (refused)
        offer_buffers(u, u->buffers_offered);
}

static bool uring_has_more(const struct ring *ring)
{
    unsigned flags = atomic_load_explicit((_Atomic unsigned *)from_ring(ring)->uring.sq.kflags,
                                          memory_order_relaxed);

    return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

static void uring_gather(struct ring *ring)
{
    /* What it can't get now, the next wait gets. */
    (void)io_uring_get_events(&from_ring(ring)->uring);
}

static void uring_submit(struct ring *ring)
{
    (void)io_uring_submit(&from_ring(ring)->uring); /* -EBUSY: the next one tries again */
}

static int uring_wait(struct ring *ring, bool block)
{
    struct ring_uring *u = from_ring(ring);
    int r =
        block ? io_uring_submit_and_wait(&u->uring, 1) : io_uring_submit_and_get_events(&u->uring);

    ring->stats.cq_overflows = *u->uring.cq.koverflow;
    return r == -EINTR || r == -EBUSY || r == -EAGAIN ? 0 : MIN(r, 0);
}

/* ---- starting operations ---- */

/*
 * A pair of entries or none: a full queue between an operation and its timeout would break the
 * link.
 */
static struct io_uring_sqe *take_entries(struct ring_uring *u, unsigned count)
{
    struct io_uring_sqe *sqe;

    while (io_uring_sq_space_left(&u->uring) < count) {
        int r = io_uring_submit(&u->uring);

        /* -EBUSY, -EAGAIN: the completion side is full; take what is there and try again. */
        if (r < 0) {
            (void)io_uring_get_events(&u->uring);
            uring_collect(&u->ring);
        }
    }
    sqe = io_uring_get_sqe(&u->uring);
    assert(sqe);
    return sqe;
}

static void set_timespec(struct op *op, int64_t ms)
{
    struct __kernel_timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NSEC_PER_MSEC};

    static_assert(sizeof ts <= 2 * sizeof op->scratch[0], "beside a receive's timeout");
    memcpy(op->scratch, &ts, sizeof ts);
}

/* An entry that is not what the tables say a confined ring would refuse. */
static void finish_entry(struct io_uring_sqe *sqe, uint8_t opcode, uint64_t user_data)
{
    assert(sqe->opcode == opcode && (sqe->flags & ~SQE_FLAGS_USED) == 0);
    sqe->user_data = user_data;
}

/* Links `sqe` to a timeout, whose own completion is of no interest. */
static void link_timeout(struct ring_uring *u, struct op *op, struct io_uring_sqe *sqe,
                         int64_t timeout_ms)
{
    struct io_uring_sqe *timeout = io_uring_get_sqe(&u->uring);

    assert(timeout);
    set_timespec(op, timeout_ms);
    sqe->flags |= IOSQE_IO_LINK;
    io_uring_prep_link_timeout(timeout, (struct __kernel_timespec *)(void *)op->scratch, 0);
    if (ring_has(&u->ring, RING_FEATURE_CQE_SKIP))
        timeout->flags |= IOSQE_CQE_SKIP_SUCCESS;
    finish_entry(timeout, IORING_OP_LINK_TIMEOUT, USER_DATA_IGNORED);
}

static void uring_receive(struct ring *ring, struct op *op)
{
    struct ring_uring *u = from_ring(ring);
    struct io_uring_sqe *sqe = take_entries(u, 2);

    io_uring_prep_recv(sqe, op->target, NULL, ring->options.buffer_bytes, 0);
    sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    finish_entry(sqe, opcodes[OP_RECV], (uint64_t)(uintptr_t)op);
    if (op_timeout_ms(op) > 0)
        link_timeout(u, op, sqe, op_timeout_ms(op));
}

static void prepare_open(struct op *op, struct io_uring_sqe *sqe, const union op_args *args)
{
    struct open_how how = ring_open_how(args);

    static_assert(sizeof how <= sizeof op->scratch, "scratch holds an open_how");
    memcpy(op->scratch, &how, sizeof how);
    io_uring_prep_openat2(sqe, op->target, args->open.path, (struct open_how *)(void *)op->scratch);
}

static void prepare(struct op *op, struct io_uring_sqe *sqe, const union op_args *args,
                    int64_t timeout_ms)
{
    int target = op->target;

    switch ((enum op_kind)op->kind) {
    case OP_SOCKET:
        /* Not blocking, so that a full backlog is -EAGAIN at once and not a worker thread stuck in
         * connect. */
        io_uring_prep_socket_direct_alloc(sqe, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, 0);
        break;
    case OP_CONNECT:
        io_uring_prep_connect(sqe, target, (const struct sockaddr *)args->addr, sizeof *args->addr);
        sqe->flags |= IOSQE_FIXED_FILE;
        break;
    case OP_SEND:
        io_uring_prep_send(sqe, target, args->write.data, args->write.len, MSG_NOSIGNAL);
        sqe->flags |= IOSQE_FIXED_FILE;
        break;
    case OP_CLOSE:
        if (args->is_socket)
            io_uring_prep_close_direct(sqe, (unsigned)target);
        else
            io_uring_prep_close(sqe, target);
        break;
    case OP_TIMER:
        set_timespec(op, timeout_ms);
        io_uring_prep_timeout(sqe, (struct __kernel_timespec *)(void *)op->scratch, 0, 0);
        break;
    case OP_OPEN:
        prepare_open(op, sqe, args);
        break;
    case OP_READ:
        io_uring_prep_read(sqe, target, args->read.data, (unsigned)args->read.len,
                           (uint64_t)args->read.offset);
        break;
    case OP_WRITE:
        io_uring_prep_write(sqe, target, args->write.data, (unsigned)args->write.len,
                            (uint64_t)args->write.offset);
        break;
    case OP_FSYNC:
        io_uring_prep_fsync(sqe, target, args->data_only ? IORING_FSYNC_DATASYNC : 0);
        break;
    case OP_RENAME:
        io_uring_prep_renameat(sqe, target, args->name.path, target, args->name.to, 0);
        break;
    case OP_MKDIR:
        io_uring_prep_mkdirat(sqe, target, args->name.path, args->name.mode);
        break;
    case OP_UNLINK:
        io_uring_prep_unlinkat(sqe, target, args->name.path, 0);
        break;
    case OP_STATX:
        io_uring_prep_statx(sqe, target, args->statx.path, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW,
                            args->statx.mask, args->statx.ret);
        break;
    case OP_RECV:
    case OP_NONE:
    case OP_KIND_COUNT:
        assert(false); /* receives are uring_receive's */
    }
}

static void uring_start(struct ring *ring, struct op *op, const union op_args *args,
                        int64_t timeout_ms)
{
    struct ring_uring *u = from_ring(ring);
    bool linked = op->kind == OP_SEND && timeout_ms > 0;
    struct io_uring_sqe *sqe = take_entries(u, linked ? 2 : 1);

    prepare(op, sqe, args, timeout_ms);
    finish_entry(sqe, opcodes[op->kind], (uint64_t)(uintptr_t)op);
    if (linked)
        link_timeout(u, op, sqe, timeout_ms);
}

static void uring_cancel(struct ring *ring, struct op *op)
{
    struct ring_uring *u = from_ring(ring);
    struct io_uring_sqe *sqe = take_entries(u, 1);

    io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)op, 0);
    if (ring_has(&u->ring, RING_FEATURE_CQE_SKIP))
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    finish_entry(sqe, IORING_OP_ASYNC_CANCEL, USER_DATA_IGNORED);
}

static void uring_give_back(struct ring *ring, unsigned buffer)
{
    struct ring_uring *u = from_ring(ring);

    io_uring_buf_ring_add(u->buf_ring, ring_buffer(ring, buffer), ring->options.buffer_bytes,
                          (unsigned short)buffer,
                          io_uring_buf_ring_mask(ring->options.buffers_count), 0);
    io_uring_buf_ring_advance(u->buf_ring, 1);
}

const struct ring_backend ring_uring_backend = {
    .name = "io_uring",
    .size = sizeof(struct ring_uring),
    .setup = uring_setup,
    .destroy = uring_destroy,
    .start = uring_start,
    .receive = uring_receive,
    .cancel = uring_cancel,
    .give_back = uring_give_back,
    .submit = uring_submit,
    .wait = uring_wait,
    .collect = uring_collect,
    .has_more = uring_has_more,
    .gather = uring_gather,
};
