/*
 * The fake ring. Operations wait in the order of their start; a step takes the first one that is
 * not a timer. Everything that a caller lends (paths, buffers) is looked at only in the step, as
 * the kernel may.
 */
#include "fake_ring.h"

#include <assert.h>
#include <errno.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ringtail/base/macros.h"

#define FDS_MAX 1024
#define OPS_MAX 1024
#define STEPS_MAX 1000000
#define NEVER INT64_MAX

struct fake_op {
    struct list link;
    struct op *op;
    enum op_kind kind;
    int fd;
    const char *path, *to;
    int flags;
    mode_t mode;
    uint64_t resolve;
    void *data;
    struct slice out;
    int64_t offset, due_ms;
    bool cancelled;
};

struct ring {
    struct fake_op slots[OPS_MAX]; /* so that starting one needs no memory */
    struct list unused, ops;
    int64_t now_ms;
    unsigned in_flight;
    unsigned started[OP_KIND_COUNT];
    size_t write_limit;
    enum op_kind fail_kind;
    int fail_res;
    unsigned fail_skip, fail_times;
    const char *fail_only;
    bool is_open[FDS_MAX]; /* opened by an operation */
    bool is_lent[FDS_MAX]; /* synced: may be a duplicate, which an operation closes */
    struct list wakers;
    atomic_bool woken;
};

struct ring *fake_ring_create(void)
{
    struct ring *ring = calloc(1, sizeof *ring);

    assert(ring);
    list_init(&ring->ops);
    list_init(&ring->unused);
    list_init(&ring->wakers);
    for (size_t i = 0; i < OPS_MAX; i++)
        list_append(&ring->unused, &ring->slots[i].link);
    return ring;
}

void fake_ring_destroy(struct ring *ring)
{
    assert(ring->in_flight == 0);
    for (size_t i = 0; i < FDS_MAX; i++)
        assert(!ring->is_open[i]);
    free(ring);
}

static struct fake_op *start(struct ring *ring, struct op *op, enum op_kind kind, int fd)
{
    struct list *link = list_pop(&ring->unused);
    struct fake_op *f;

    assert(link && op->done && !op->in_flight);
    f = container_of(link, struct fake_op, link);
    *f = (struct fake_op){.op = op, .kind = kind, .fd = fd};
    op->in_flight = true;
    op->kind = (uint8_t)kind;
    ring->in_flight++;
    ring->started[kind]++;
    list_append(&ring->ops, &f->link);
    return f;
}

static void land(struct ring *ring, struct fake_op *f, int res)
{
    struct op *op = f->op;

    list_remove(&f->link);
    list_append(&ring->unused, &f->link);
    ring->in_flight--;
    op->in_flight = false;
    op->done(op, res);
}

static int or_errno(long r)
{
    return r < 0 ? -errno : (int)r;
}

static int do_open(struct ring *ring, const struct fake_op *f)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)f->flags | O_CLOEXEC,
        .mode = f->mode,
        .resolve = f->resolve,
    };
    int fd = or_errno(syscall(SYS_openat2, f->fd, f->path, &how, sizeof how));

    if (fd >= 0) {
        assert(fd < FDS_MAX);
        ring->is_open[fd] = true;
    }
    return fd;
}

static int do_close(struct ring *ring, const struct fake_op *f)
{
    assert(f->fd >= 0 && f->fd < FDS_MAX && (ring->is_open[f->fd] || ring->is_lent[f->fd]));
    ring->is_open[f->fd] = ring->is_lent[f->fd] = false;
    return or_errno(close(f->fd));
}

static int do_write(const struct ring *ring, const struct fake_op *f)
{
    size_t len = f->out.len;

    if (ring->write_limit > 0)
        len = MIN(len, ring->write_limit);
    assert(len > 0);
    if (f->offset < 0)
        return or_errno(write(f->fd, f->out.data, len));
    return or_errno(pwrite(f->fd, f->out.data, len, f->offset));
}

static int carry_out(struct ring *ring, const struct fake_op *f)
{
    switch (f->kind) {
    case OP_OPEN:
        return do_open(ring, f);
    case OP_CLOSE:
        return do_close(ring, f);
    case OP_READ:
        return or_errno(pread(f->fd, f->data, f->out.len, f->offset));
    case OP_WRITE:
        return do_write(ring, f);
    case OP_FSYNC:
        return or_errno(fsync(f->fd));
    case OP_RENAME:
        return or_errno(renameat(f->fd, f->path, f->fd, f->to));
    case OP_MKDIR:
        return or_errno(mkdirat(f->fd, f->path, f->mode));
    case OP_UNLINK:
        return or_errno(unlinkat(f->fd, f->path, 0));
    case OP_STATX:
        return or_errno(statx(f->fd, f->path, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW,
                              (unsigned)f->flags, f->data));
    case OP_NONE:
    case OP_SOCKET:
    case OP_CONNECT:
    case OP_SEND:
    case OP_RECV:
    case OP_TIMER:
    case OP_KIND_COUNT:
        break;
    }
    assert(false);
    return -ENOSYS;
}

static bool is_meant(const struct ring *ring, const struct fake_op *f)
{
    char link[64], path[4096];
    const char *at = f->path;
    size_t len, end_len;

    if (!ring->fail_only)
        return true;
    if (!at || !*at) {
        ssize_t n;

        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", f->fd);
        n = readlink(link, path, sizeof path - 1);
        assert(n > 0);
        path[n] = '\0';
        at = path;
    }
    len = strlen(at);
    end_len = strlen(ring->fail_only);
    return len >= end_len && strcmp(at + len - end_len, ring->fail_only) == 0;
}

static bool is_failed(struct ring *ring, const struct fake_op *f)
{
    if (ring->fail_times == 0 || ring->fail_kind != f->kind || !is_meant(ring, f))
        return false;
    if (ring->fail_skip > 0) {
        ring->fail_skip--;
        return false;
    }
    ring->fail_times--;
    return true;
}

static bool run_wakers(struct ring *ring)
{
    if (!atomic_exchange(&ring->woken, false))
        return false;
    LIST_FOR_EACH_ENTRY (waker, &ring->wakers, struct ring_waker, link) {
        waker->fn(waker->ctx);
    }
    return true;
}

bool fake_ring_step(struct ring *ring)
{
    if (run_wakers(ring))
        return true;
    LIST_FOR_EACH_ENTRY (f, &ring->ops, struct fake_op, link) {
        if (f->kind == OP_TIMER) {
            if (!f->cancelled && f->due_ms > ring->now_ms)
                continue;
            land(ring, f, f->cancelled ? -ECANCELED : -ETIME);
            return true;
        }
        if (f->cancelled && f->kind == OP_WRITE) {
            land(ring, f, -ECANCELED);
            return true;
        }
        if (is_failed(ring, f)) {
            int res = ring->fail_res;

            /* A close that fails has closed all the same. */
            if (f->kind == OP_CLOSE)
                (void)do_close(ring, f);
            land(ring, f, res);
            return true;
        }
        land(ring, f, carry_out(ring, f));
        return true;
    }
    return false;
}

void fake_ring_run(struct ring *ring)
{
    for (size_t i = 0; i < STEPS_MAX; i++) {
        if (!fake_ring_step(ring))
            return;
    }
    (void)fprintf(stderr, "the operations do not come to an end\n");
    abort();
}

void fake_ring_advance(struct ring *ring, int64_t ms)
{
    int64_t end = ring->now_ms + ms;

    for (;;) {
        int64_t due = NEVER;

        fake_ring_run(ring);
        LIST_FOR_EACH_ENTRY (f, &ring->ops, struct fake_op, link) {
            due = MIN(due, f->due_ms);
        }
        if (due > end)
            break;
        ring->now_ms = due;
    }
    ring->now_ms = end;
}

void fake_ring_fail(struct ring *ring, enum op_kind kind, int res, unsigned skip, unsigned times)
{
    ring->fail_kind = kind;
    ring->fail_res = res;
    ring->fail_skip = skip;
    ring->fail_times = times;
    ring->fail_only = NULL;
}

void fake_ring_fail_only(struct ring *ring, const char *path_end)
{
    ring->fail_only = path_end;
}

void fake_ring_limit_writes(struct ring *ring, size_t bytes)
{
    ring->write_limit = bytes;
}

unsigned fake_ring_started(const struct ring *ring, enum op_kind kind)
{
    return ring->started[kind];
}

unsigned fake_ring_in_flight(const struct ring *ring)
{
    return ring->in_flight;
}

unsigned fake_ring_open_fds(const struct ring *ring)
{
    unsigned count = 0;

    for (size_t i = 0; i < FDS_MAX; i++)
        count += ring->is_open[i];
    return count;
}

/* The ring's own calls. */

void ring_timer(struct ring *ring, struct op *op, int64_t after_ms)
{
    start(ring, op, OP_TIMER, -1)->due_ms = ring->now_ms + after_ms;
}

void ring_open(struct ring *ring, struct op *op, int dir_fd, const char *path, int flags,
               mode_t mode, uint64_t resolve)
{
    struct fake_op *f = start(ring, op, OP_OPEN, dir_fd);

    f->path = path;
    f->flags = flags;
    f->mode = mode;
    f->resolve = resolve;
}

void ring_close_fd(struct ring *ring, struct op *op, int fd)
{
    (void)start(ring, op, OP_CLOSE, fd);
}

void ring_read(struct ring *ring, struct op *op, int fd, void *data, size_t len, int64_t offset)
{
    struct fake_op *f = start(ring, op, OP_READ, fd);

    f->data = data;
    f->out.len = len;
    f->offset = offset;
}

void ring_write(struct ring *ring, struct op *op, int fd, struct slice data, int64_t offset)
{
    struct fake_op *f = start(ring, op, OP_WRITE, fd);

    f->out = data;
    f->offset = offset;
}

void ring_fsync(struct ring *ring, struct op *op, int fd, bool data_only)
{
    ring->is_lent[fd] = true;
    (void)data_only;
    (void)start(ring, op, OP_FSYNC, fd);
}

void ring_rename(struct ring *ring, struct op *op, int dir_fd, const char *from, const char *to)
{
    struct fake_op *f = start(ring, op, OP_RENAME, dir_fd);

    f->path = from;
    f->to = to;
}

void ring_mkdir(struct ring *ring, struct op *op, int dir_fd, const char *path, mode_t mode)
{
    struct fake_op *f = start(ring, op, OP_MKDIR, dir_fd);

    f->path = path;
    f->mode = mode;
}

void ring_unlink(struct ring *ring, struct op *op, int dir_fd, const char *path)
{
    start(ring, op, OP_UNLINK, dir_fd)->path = path;
}

void ring_statx(struct ring *ring, struct op *op, int dir_fd, const char *path, unsigned mask,
                struct statx *ret)
{
    struct fake_op *f = start(ring, op, OP_STATX, dir_fd);

    f->path = path;
    f->flags = (int)mask;
    f->data = ret;
}

void ring_cancel(struct ring *ring, struct op *op)
{
    LIST_FOR_EACH_ENTRY (f, &ring->ops, struct fake_op, link) {
        if (f->op == op)
            f->cancelled = true;
    }
}

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
    atomic_store(&ring->woken, true);
}
