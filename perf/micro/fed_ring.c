/* fed_ring.h. */
#include "fed_ring.h"

#include <errno.h>

#include "ringtail/base/list.h"
#include "ringtail/base/macros.h"

#include "bench.h"

struct ring {
    struct list started; /* will end well at the next settling */
    struct list waiting; /* receives and timers */
    struct op *receive;  /* the last one started */
    struct slice written;
    struct ring_stats stats;
};

struct ring *fed_ring_create(void)
{
    struct ring *ring = bench_alloc(1, sizeof *ring);

    list_init(&ring->started);
    list_init(&ring->waiting);
    return ring;
}

void fed_ring_destroy(struct ring *ring)
{
    free(ring);
}

static void start(struct list *list, struct op *op, enum op_kind kind, int32_t res)
{
    bench_require(!op->in_flight);
    op->kind = (uint8_t)kind;
    op->res = res;
    op->in_flight = true;
    list_append(list, &op->link);
}

static void end(struct op *op, int32_t res)
{
    list_remove(&op->link);
    op->in_flight = false;
    op->done(op, res);
}

void fed_ring_settle(struct ring *ring)
{
    while (!list_is_empty(&ring->started)) {
        struct op *op = container_of(ring->started.next, struct op, link);

        end(op, op->res);
    }
}

void fed_ring_feed(struct ring *ring, struct slice bytes)
{
    struct op *op = ring->receive;

    bench_require(op && op->in_flight);
    op->received = bytes;
    end(op, (int32_t)bytes.len);
}

struct slice fed_ring_written(const struct ring *ring)
{
    return ring->written;
}

void ring_socket(struct ring *ring, struct op *op)
{
    start(&ring->started, op, OP_SOCKET, 1);
}

void ring_connect(struct ring *ring, struct op *op, int sock, const struct sockaddr_un *addr)
{
    start(&ring->started, op, OP_CONNECT, 0);
}

void ring_send(struct ring *ring, struct op *op, int sock, struct slice data, int64_t timeout_ms)
{
    start(&ring->started, op, OP_SEND, (int32_t)data.len);
}

void ring_recv(struct ring *ring, struct op *op, int sock, int64_t timeout_ms)
{
    ring->receive = op;
    start(&ring->waiting, op, OP_RECV, 0);
}

void ring_timer(struct ring *ring, struct op *op, int64_t after_ms)
{
    start(&ring->waiting, op, OP_TIMER, 0);
}

void ring_close_socket(struct ring *ring, struct op *op, int sock)
{
    start(&ring->started, op, OP_CLOSE, 0);
}

void ring_cancel(struct ring *ring, struct op *op)
{
    if (!op->in_flight)
        return;
    list_remove(&op->link);
    op->res = -ECANCELED;
    list_append(&ring->started, &op->link);
}

void ring_open(struct ring *ring, struct op *op, int dir_fd, const char *path, int flags,
               mode_t mode, uint64_t resolve)
{
    start(&ring->started, op, OP_OPEN, 0);
}

void ring_write(struct ring *ring, struct op *op, int fd, struct slice data, int64_t offset)
{
    ring->written = data;
    start(&ring->started, op, OP_WRITE, (int32_t)data.len);
}

void ring_fsync(struct ring *ring, struct op *op, int fd, bool data_only)
{
    start(&ring->started, op, OP_FSYNC, 0);
}

void ring_close_fd(struct ring *ring, struct op *op, int fd)
{
    start(&ring->started, op, OP_CLOSE, 0);
}

void ring_rename(struct ring *ring, struct op *op, int dir_fd, const char *from, const char *to)
{
    start(&ring->started, op, OP_RENAME, 0);
}

/* The file sink is linked, but nothing makes one: these are never called. */

static void refuse(void)
{
    fputs("fed ring: no benchmark starts this operation\n", stderr);
    exit(1);
}

void ring_read(struct ring *ring, struct op *op, int fd, void *data, size_t len, int64_t offset)
{
    refuse();
}

void ring_mkdir(struct ring *ring, struct op *op, int dir_fd, const char *path, mode_t mode)
{
    refuse();
}

void ring_unlink(struct ring *ring, struct op *op, int dir_fd, const char *path)
{
    refuse();
}

void ring_statx(struct ring *ring, struct op *op, int dir_fd, const char *path, unsigned mask,
                struct statx *ret)
{
    refuse();
}

/* Nobody wakes it: it has one thread. */

void ring_add_waker(struct ring *ring, struct ring_waker *waker)
{
    refuse();
}

void ring_remove_waker(struct ring_waker *waker)
{
    refuse();
}

void ring_wake(struct ring *ring)
{
    refuse();
}

/* Telling. */

const struct ring_stats *ring_stats_get(struct ring *ring)
{
    return &ring->stats;
}

const char *ring_backend_name(const struct ring *ring)
{
    return "fed";
}

const char *ring_backend_reason(const struct ring *ring)
{
    return "benchmark";
}

const char *ring_describe(const struct ring *ring)
{
    return "fed";
}

const char *op_kind_name(enum op_kind kind)
{
    static const char *const names[OP_KIND_COUNT] = {
        "none", "socket", "connect", "send",   "recv",  "close",  "timer", "open",
        "read", "write",  "fsync",   "rename", "mkdir", "unlink", "statx",
    };

    return names[kind];
}
