/*
 * The epoll backend of the ring, for hosts that refuse io_uring.
 *
 * Owns the epoll descriptor, the socket table, the deadlines, and the threads that carry out what
 * may block. Nothing here blocks but epoll_wait.
 *
 *  - Sockets are watched edge-triggered from their connect on. What was learned is kept with the
 *    socket: a receive that came back full, or found the peer gone, leaves it readable.
 *  - What could end at once when it is started does so in the next pass, like what io_uring has yet
 *    to be told of: a stream that always has bytes is served once a pass.
 *  - Reads and writes at a file's own position are watched where epoll can (pipes, terminals,
 *    sockets) and then tried without blocking; the descriptor's own flags are not touched, since
 *    others may share it. Everything else of files goes to the workers.
 *  - Deadlines are in a heap, whose first says how long epoll_wait may take.
 */
#include "ring_backend.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ringtail/base/clock.h"

#include "workers.h"

#define EVENTS_MAX 256
/* As io_uring's own choice. */
#define WORKERS_PER_PROCESSOR 4

/* What an event belongs to: an operation, by its address, or one of these, by the lowest bits. */
#define EVENT_OF_SOCKET UINT64_C(1) /* above it the number of the socket */
#define EVENT_OF_WORKERS UINT64_C(2)
#define EVENT_BITS 2

enum epoll_place {
    PLACE_WAITING = PLACE_BACKEND, /* for an event or a deadline */
    PLACE_READY,                   /* in `started` or `ready`: tried soon */
    PLACE_ENDED,                   /* in `ended` or `due` */
    PLACE_HANDED,                  /* in `handed`: for the workers, who do not know it yet */
    PLACE_WORKERS,                 /* who alone know how far it is */
};

struct socket {
    struct op *receiver, *sender; /* that wait for an event, or are ready */
    int fd;
    unsigned next_free; /* number and one of the next free socket */
    bool is_open, is_watched;
    bool is_readable; /* as far as is known */
    bool has_hung_up; /* will always be readable */
};

struct deadline {
    int64_t at_mono_ns;
    struct op *op;
};

/* The scratch of sends, receives and timers. That of operations on files is their op_args. */
struct __attribute__((may_alias)) wait_state {
    uint32_t heap_at; /* in the heap, and one; 0: not there */
    uint32_t len;     /* send */
    int64_t deadline_mono_ns;
    union {
        const char *data;   /* send */
        int64_t timeout_ms; /* receive: ring_backend.h has put it here */
    };
};
static_assert(sizeof(struct wait_state) <= sizeof((struct op *)0)->scratch, "fits");
static_assert(offsetof(struct wait_state, timeout_ms) == 2 * sizeof(uint64_t), "is scratch[2]");
static_assert(sizeof(union op_args) <= sizeof((struct op *)0)->scratch, "fits");

struct ring_epoll {
    struct ring ring;
    int epoll_fd, notify_fd;

    struct socket *sockets;
    unsigned sockets_used; /* those above have never been open */
    unsigned first_free;   /* number and one */

    unsigned *buffers_free; /* a stack: the last one used is the warmest */
    struct deadline *heap;
    size_t heap_count, heap_room;

    /* The next wait moves what was started and is ready, and what has ended without waiting or was
     * cancelled, on to what the collection behind it tries and lands. */
    struct list started, ready;
    struct list ended, due;
    struct list handed;
    struct workers workers;

    bool has_more_events;
    struct epoll_event events[EVENTS_MAX];
};

static struct ring_epoll *from_ring(const struct ring *ring)
{
    return container_of(ring, struct ring_epoll, ring);
}

static struct wait_state *wait_state(struct op *op)
{
    return (struct wait_state *)(void *)op->scratch;
}

/* Of an operation on files, from its start on. */
static union op_args kept_args(const struct op *op)
{
    union op_args args;

    memcpy(&args, op->scratch, sizeof args);
    return args;
}

/* Lands in the next pass. */
static void end(struct ring_epoll *e, struct op *op, int res)
{
    op->res = res;
    op->place = PLACE_ENDED;
    list_append(&e->ended, &op->link);
}

/* ---- deadlines ---- */

static void heap_put(struct ring_epoll *e, size_t at, struct deadline deadline)
{
    e->heap[at] = deadline;
    wait_state(deadline.op)->heap_at = (uint32_t)at + 1;
}

static void heap_up(struct ring_epoll *e, size_t at, struct deadline deadline)
{
    while (at > 0 && deadline.at_mono_ns < e->heap[(at - 1) / 2].at_mono_ns) {
        heap_put(e, at, e->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_put(e, at, deadline);
}

static void heap_down(struct ring_epoll *e, size_t at, struct deadline deadline)
{
    for (;;) {
        size_t child = 2 * at + 1;

        if (child + 1 < e->heap_count && e->heap[child + 1].at_mono_ns < e->heap[child].at_mono_ns)
            child++;
        if (child >= e->heap_count || deadline.at_mono_ns <= e->heap[child].at_mono_ns)
            break;
        heap_put(e, at, e->heap[child]);
        at = child;
    }
    heap_put(e, at, deadline);
}

static int heap_add(struct ring_epoll *e, struct op *op, int64_t at_mono_ns)
{
    if (e->heap_count == e->heap_room) {
        size_t room = MAX(2 * e->heap_room, (size_t)64);
        struct deadline *heap = reallocarray(e->heap, room, sizeof *heap);

        if (!heap)
            return -ENOMEM;
        e->heap = heap;
        e->heap_room = room;
    }
    e->heap_count++;
    heap_up(e, e->heap_count - 1, (struct deadline){.at_mono_ns = at_mono_ns, .op = op});
    return 0;
}

static void heap_remove(struct ring_epoll *e, struct op *op)
{
    size_t at = wait_state(op)->heap_at;
    struct deadline last;

    if (at == 0)
        return;
    at--;
    wait_state(op)->heap_at = 0;
    last = e->heap[--e->heap_count];
    if (last.op == op)
        return;
    if (at > 0 && last.at_mono_ns < e->heap[(at - 1) / 2].at_mono_ns)
        heap_up(e, at, last);
    else
        heap_down(e, at, last);
}

static int64_t deadline_after(const struct op *op, int64_t ms)
{
    int64_t ns;

    if (__builtin_mul_overflow(ms, NSEC_PER_MSEC, &ns) ||
        __builtin_add_overflow(op->started_at_mono_ns, ns, &ns))
        return INT64_MAX;
    return ns;
}

/* ---- sockets ---- */

/* NULL: no such socket is open. */
static struct socket *socket_of(struct ring_epoll *e, const struct op *op)
{
    unsigned number = (unsigned)op->target;

    return number < e->sockets_used && e->sockets[number].is_open ? &e->sockets[number] : NULL;
}

static int socket_open(struct ring_epoll *e)
{
    unsigned number = e->first_free > 0 ? e->first_free - 1 : e->sockets_used;
    struct socket *s = &e->sockets[number];
    int fd;

    if (number == e->ring.options.sockets_max)
        return -ENFILE;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (e->first_free > 0)
        e->first_free = s->next_free;
    else
        e->sockets_used++;
    *s = (struct socket){.fd = fd, .is_open = true};
    return (int)number;
}

static int socket_connect(struct ring_epoll *e, const struct op *op, const struct sockaddr_un *addr)
{
    struct socket *s = socket_of(e, op);
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
        .data.u64 = (uint64_t)op->target << EVENT_BITS | EVENT_OF_SOCKET,
    };

    if (!s)
        return -EBADF;
    if (connect(s->fd, (const struct sockaddr *)addr, sizeof *addr) < 0)
        return -errno;
    /* Not before: one that is not connected counts as hung up. */
    if (epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, s->fd, &event) < 0)
        return -errno;
    s->is_watched = true;
    return 0;
}

static int socket_close(struct ring_epoll *e, const struct op *op)
{
    struct socket *s = socket_of(e, op);

    if (!s)
        return -EBADF;
    assert(!s->receiver && !s->sender);
    /* A child that was forked may hold it open, and then it would stay watched. */
    if (s->is_watched)
        (void)epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
    (void)close(s->fd);
    s->is_open = false;
    s->next_free = e->first_free;
    e->first_free = (unsigned)op->target + 1;
    return 0;
}

/* ---- receiving and sending ---- */

/* The operation leaves its socket. */
static void detach(struct ring_epoll *e, struct socket *s, struct op *op)
{
    heap_remove(e, op);
    if (op->kind == OP_RECV)
        s->receiver = NULL;
    else
        s->sender = NULL;
}

/* Until an event or its deadline. */
static void wait_for_socket(struct ring_epoll *e, struct socket *s, struct op *op)
{
    struct wait_state *state = wait_state(op);

    op->place = PLACE_WAITING;
    if (state->heap_at > 0 || state->deadline_mono_ns == 0)
        return;
    if (heap_add(e, op, state->deadline_mono_ns) < 0) {
        detach(e, s, op);
        end(e, op, -ENOMEM);
    }
}

/* Lands, unless there is nothing to receive (false), or the receive has to stand in line. */
static bool try_receive(struct ring_epoll *e, struct socket *s, struct op *op)
{
    struct ring *ring = &e->ring;
    size_t room = ring->options.buffer_bytes;
    unsigned buffer;
    ssize_t n;

    if (ring->stats.buffers_free == 0) {
        ring->stats.buffer_waits++;
        detach(e, s, op);
        if (op->cancelled_at_mono_ns)
            ring_land(ring, op, -ECANCELED);
        else
            ring_park(ring, op);
        return true;
    }
    buffer = e->buffers_free[ring->stats.buffers_free - 1];
    do {
        n = recv(s->fd, ring_buffer(ring, buffer), room, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        s->is_readable = false;
        return false;
    }
    /* Less than there was room for: that was all, and the next bytes will be an event. */
    s->is_readable = s->has_hung_up || n < 0 || (size_t)n == room;
    detach(e, s, op);
    if (n > 0) {
        op->buffer = buffer + 1;
        ring->stats.buffers_free--;
    }
    ring_land(ring, op, n < 0 ? -errno : (int)n);
    return true;
}

static int send_now(struct socket *s, struct op *op)
{
    const struct wait_state *state = wait_state(op);
    ssize_t n;

    do {
        n = send(s->fd, state->data, state->len, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : (int)n;
}

static void epoll_receive(struct ring *ring, struct op *op)
{
    struct ring_epoll *e = from_ring(ring);
    struct socket *s = socket_of(e, op);
    struct wait_state *state = wait_state(op);

    if (!s) {
        end(e, op, -EBADF);
        return;
    }
    assert(!s->receiver);
    s->receiver = op;
    state->heap_at = 0;
    state->deadline_mono_ns = state->timeout_ms > 0 ? deadline_after(op, state->timeout_ms) : 0;
    if (s->is_readable) {
        op->place = PLACE_READY;
        list_append(&e->started, &op->link);
    } else {
        wait_for_socket(e, s, op);
    }
}

static void start_send(struct ring_epoll *e, struct op *op, const union op_args *args,
                       int64_t timeout_ms)
{
    struct socket *s = socket_of(e, op);
    struct wait_state *state = wait_state(op);
    int res;

    *state = (struct wait_state){
        .data = args->write.data,
        .len = (uint32_t)MIN(args->write.len, (size_t)INT32_MAX),
        .deadline_mono_ns = timeout_ms > 0 ? deadline_after(op, timeout_ms) : 0,
    };
    res = s ? send_now(s, op) : -EBADF;
    if (res != -EAGAIN) {
        end(e, op, res);
        return;
    }
    assert(!s->sender);
    s->sender = op;
    wait_for_socket(e, s, op);
}

static void socket_event(struct ring_epoll *e, struct socket *s, uint32_t events)
{
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        s->has_hung_up = true;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        s->is_readable = true;
        if (s->receiver && s->receiver->place == PLACE_WAITING) {
            s->receiver->place = PLACE_READY;
            list_append(&e->ready, &s->receiver->link);
        }
    }
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR) && s->sender &&
        s->sender->place == PLACE_WAITING) {
        s->sender->place = PLACE_READY;
        list_append(&e->ready, &s->sender->link);
    }
}

/* ---- files ---- */

static int perform_open(const struct op *op, const union op_args *args)
{
    struct open_how how = ring_open_how(args);

    return (int)syscall(SYS_openat2, op->target, args->open.path, &how, sizeof how);
}

/* On a worker's thread. */
static int perform(struct op *op)
{
    union op_args args = kept_args(op);
    int fd = op->target;
    ssize_t r = -1;

    switch ((enum op_kind)op->kind) {
    case OP_CLOSE:
        r = close(fd);
        break;
    case OP_OPEN:
        r = perform_open(op, &args);
        break;
    case OP_READ:
        r = args.read.offset < 0 ? read(fd, args.read.data, args.read.len)
                                 : pread(fd, args.read.data, args.read.len, args.read.offset);
        break;
    case OP_WRITE:
        r = args.write.offset < 0 ? write(fd, args.write.data, args.write.len)
                                  : pwrite(fd, args.write.data, args.write.len, args.write.offset);
        break;
    case OP_FSYNC:
        r = args.data_only ? fdatasync(fd) : fsync(fd);
        break;
    case OP_RENAME:
        r = renameat(fd, args.name.path, fd, args.name.to);
        break;
    case OP_MKDIR:
        r = mkdirat(fd, args.name.path, args.name.mode);
        break;
    case OP_UNLINK:
        r = unlinkat(fd, args.name.path, 0);
        break;
    case OP_STATX:
        r = statx(fd, args.statx.path, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, args.statx.mask,
                  args.statx.ret);
        break;
    case OP_NONE:
    case OP_SOCKET:
    case OP_CONNECT:
    case OP_SEND:
    case OP_RECV:
    case OP_TIMER:
    case OP_KIND_COUNT:
        assert(false); /* these are no work for a thread */
    }
    return r < 0 ? -errno : (int)r;
}

static void hand_over(struct ring_epoll *e, struct op *op)
{
    op->place = PLACE_HANDED;
    list_append(&e->handed, &op->link);
}

/* Whether there will be an event for it: files of disks have none. */
static bool watch_file(struct ring_epoll *e, struct op *op)
{
    struct epoll_event event = {
        .events = op->kind == OP_READ ? EPOLLIN : EPOLLOUT,
        .data.u64 = (uint64_t)(uintptr_t)op,
    };

    if (epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, op->target, &event) < 0)
        return false;
    op->place = PLACE_WAITING;
    return true;
}

static void unwatch_file(struct ring_epoll *e, struct op *op)
{
    (void)epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, op->target, NULL);
}

static void start_file(struct ring_epoll *e, struct op *op, const union op_args *args)
{
    bool at_own_position = (op->kind == OP_READ && args->read.offset < 0) ||
                           (op->kind == OP_WRITE && args->write.offset < 0);

    memcpy(op->scratch, args, sizeof *args);
    if (at_own_position && watch_file(e, op))
        return;
    /* Without room for another watch: a thread might wait for ever, and could not be told to end.
     */
    if (at_own_position && (errno == ENOSPC || errno == ENOMEM))
        end(e, op, -errno);
    else
        hand_over(e, op);
}

/* Between the event and now somebody else may have taken the bytes, or the room for them. */
static void try_file(struct ring_epoll *e, struct op *op)
{
    union op_args args = kept_args(op);
    struct iovec iov;
    ssize_t n;

    if (op->kind == OP_READ) {
        iov = (struct iovec){.iov_base = args.read.data, .iov_len = args.read.len};
        n = preadv2(op->target, &iov, 1, -1, RWF_NOWAIT);
    } else {
        iov = (struct iovec){.iov_base = (void *)args.write.data, .iov_len = args.write.len};
        n = pwritev2(op->target, &iov, 1, -1, RWF_NOWAIT);
    }
    if (n >= 0) {
        ring_land(&e->ring, op, (int)n);
    } else if (errno == EOPNOTSUPP) {
        /* Pipes before Linux 6.4, and terminals. What there was room for now does not keep the
         * thread for long. */
        if (op->kind == OP_WRITE)
            args.write.len = MIN(args.write.len, (size_t)PIPE_BUF);
        memcpy(op->scratch, &args, sizeof args);
        hand_over(e, op);
    } else if (errno != EAGAIN || !watch_file(e, op)) {
        ring_land(&e->ring, op, -errno);
    }
}

/* ---- starting and cancelling ---- */

static void start_timer(struct ring_epoll *e, struct op *op, int64_t after_ms)
{
    op->place = PLACE_WAITING;
    if (heap_add(e, op, deadline_after(op, after_ms)) < 0)
        end(e, op, -ENOMEM);
}

static void epoll_start(struct ring *ring, struct op *op, const union op_args *args,
                        int64_t timeout_ms)
{
    struct ring_epoll *e = from_ring(ring);

    switch ((enum op_kind)op->kind) {
    case OP_SOCKET:
        end(e, op, socket_open(e));
        break;
    case OP_CONNECT:
        end(e, op, socket_connect(e, op, args->addr));
        break;
    case OP_SEND:
        start_send(e, op, args, timeout_ms);
        break;
    case OP_TIMER:
        start_timer(e, op, timeout_ms);
        break;
    case OP_CLOSE:
        if (args->is_socket)
            end(e, op, socket_close(e, op));
        else
            start_file(e, op, args);
        break;
    case OP_OPEN:
    case OP_READ:
    case OP_WRITE:
    case OP_FSYNC:
    case OP_RENAME:
    case OP_MKDIR:
    case OP_UNLINK:
    case OP_STATX:
        start_file(e, op, args);
        break;
    case OP_RECV:
    case OP_NONE:
    case OP_KIND_COUNT:
        assert(false); /* receives are epoll_receive's */
    }
}

/* Bytes that were there before the cancel are received, as io_uring does it. */
static void cancel_receive(struct ring_epoll *e, struct op *op)
{
    struct socket *s = socket_of(e, op);

    if (op->place == PLACE_READY)
        list_remove(&op->link);
    if (try_receive(e, s, op))
        return;
    detach(e, s, op);
    end(e, op, -ECANCELED);
}

static void cancel_waiting(struct ring_epoll *e, struct op *op)
{
    if (op->kind == OP_SEND)
        detach(e, socket_of(e, op), op);
    else if (op->kind == OP_TIMER)
        heap_remove(e, op);
    else
        unwatch_file(e, op);
    end(e, op, -ECANCELED);
}

static void epoll_cancel(struct ring *ring, struct op *op)
{
    struct ring_epoll *e = from_ring(ring);

    if (op->kind == OP_RECV && op->place != PLACE_ENDED) {
        cancel_receive(e, op);
        return;
    }
    /* A cancel comes between collections, when nothing but receives is ready. */
    switch ((enum epoll_place)op->place) {
    case PLACE_WAITING:
        cancel_waiting(e, op);
        break;
    case PLACE_HANDED:
        list_remove(&op->link);
        end(e, op, -ECANCELED);
        break;
    case PLACE_WORKERS:
        if (workers_take_back(&e->workers, op))
            end(e, op, -ECANCELED);
        break;
    case PLACE_READY:
    case PLACE_ENDED:
        break;
    }
}

static void epoll_give_back(struct ring *ring, unsigned buffer)
{
    from_ring(ring)->buffers_free[ring->stats.buffers_free] = buffer;
}

/* ---- waiting and collecting ---- */

static void epoll_submit(struct ring *ring)
{
    struct ring_epoll *e = from_ring(ring);
    struct list *link;
    int r;

    if (list_is_empty(&e->handed))
        return;
    LIST_FOR_EACH (of_op, &e->handed) {
        container_of(of_op, struct op, link)->place = PLACE_WORKERS;
    }
    r = workers_submit(&e->workers, &e->handed);
    while ((link = list_pop(&e->handed)))
        end(e, container_of(link, struct op, link), r);
}

/* Rounded up: nothing may end before its time. */
static int wait_ms(const struct ring_epoll *e)
{
    int64_t ns;

    if (e->heap_count == 0)
        return -1;
    ns = e->heap[0].at_mono_ns - clock_mono_ns();
    return ns <= 0 ? 0 : (int)MIN(ns / NSEC_PER_MSEC + 1, (int64_t)INT_MAX);
}

static int learn(struct ring_epoll *e, int timeout_ms)
{
    int count = epoll_wait(e->epoll_fd, e->events, EVENTS_MAX, timeout_ms);

    e->has_more_events = count == EVENTS_MAX;
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < count; i++) {
        uint64_t what = e->events[i].data.u64;

        if (what == EVENT_OF_WORKERS)
            continue; /* has only woken us */
        if (what & EVENT_OF_SOCKET) {
            socket_event(e, &e->sockets[what >> EVENT_BITS], e->events[i].events);
        } else {
            struct op *op = (struct op *)(uintptr_t)what;

            unwatch_file(e, op);
            op->place = PLACE_READY;
            list_append(&e->ready, &op->link);
        }
    }
    return 0;
}

static int epoll_wait_for(struct ring *ring, bool block)
{
    struct ring_epoll *e = from_ring(ring);

    epoll_submit(ring);
    list_splice(&e->ready, &e->started);
    list_splice(&e->due, &e->ended);
    block = block && list_is_empty(&e->ready) && list_is_empty(&e->due);
    return learn(e, block ? wait_ms(e) : 0);
}

static void epoll_gather(struct ring *ring)
{
    (void)learn(from_ring(ring), 0); /* what is broken the next wait finds, too */
}

static bool epoll_has_more(const struct ring *ring)
{
    return from_ring(ring)->has_more_events;
}

static void try_op(struct ring_epoll *e, struct op *op)
{
    struct socket *s;
    int res;

    if (op->kind == OP_READ || op->kind == OP_WRITE) {
        try_file(e, op);
        return;
    }
    s = socket_of(e, op);
    if (op->kind == OP_RECV) {
        if (!try_receive(e, s, op))
            wait_for_socket(e, s, op);
        return;
    }
    res = send_now(s, op);
    if (res == -EAGAIN) {
        wait_for_socket(e, s, op);
        return;
    }
    detach(e, s, op);
    ring_land(&e->ring, op, res);
}

static void expire(struct ring_epoll *e, int64_t now)
{
    while (e->heap_count > 0 && e->heap[0].at_mono_ns <= now) {
        struct op *op = e->heap[0].op;

        if (op->kind == OP_TIMER) {
            heap_remove(e, op);
            ring_land(&e->ring, op, -ETIME);
            continue;
        }
        /* To be on the safe side the next receive asks the socket itself. */
        if (op->kind == OP_RECV)
            socket_of(e, op)->is_readable = true;
        detach(e, socket_of(e, op), op);
        ring_land(&e->ring, op, -ECANCELED);
    }
}

static void epoll_collect(struct ring *ring)
{
    struct ring_epoll *e = from_ring(ring);
    struct list *link;

    workers_take(&e->workers, &e->due);
    while ((link = list_pop(&e->due))) {
        struct op *op = container_of(link, struct op, link);

        ring_land(ring, op, op->res);
    }
    while ((link = list_pop(&e->ready)))
        try_op(e, container_of(link, struct op, link));
    if (e->heap_count > 0)
        expire(e, clock_mono_ns());
}

/* ---- making and ending ---- */

static int setup_workers(struct ring_epoll *e)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned max = e->ring.options.workers_max;
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = EVENT_OF_WORKERS};

    /* Never read: each write is an edge. */
    e->notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (e->notify_fd < 0)
        return -errno;
    if (epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, e->notify_fd, &event) < 0)
        return -errno;
    e->workers.perform = perform;
    e->workers.notify_fd = e->notify_fd;
    return workers_init(&e->workers,
                        max > 0 ? max : (unsigned)MAX(processors, 1) * WORKERS_PER_PROCESSOR);
}

static int epoll_setup(struct ring *ring, struct ring_refusal *refusal)
{
    struct ring_epoll *e = from_ring(ring);
    struct rlimit limit = {0};
    int r;

    ring->can_pause = true;
    e->epoll_fd = e->notify_fd = -1;
    list_init(&e->started);
    list_init(&e->ready);
    list_init(&e->ended);
    list_init(&e->due);
    list_init(&e->handed);
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    if (ring->options.sockets_max > limit.rlim_cur) {
        ring_refusal_explain(refusal, -EMFILE, "sockets");
        return -EMFILE;
    }
    e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    r = e->epoll_fd < 0 ? -errno : setup_workers(e);
    if (r < 0) {
        ring_refusal_explain(refusal, r, "epoll");
        return r;
    }
    e->sockets = calloc(ring->options.sockets_max, sizeof *e->sockets);
    e->buffers_free = calloc(ring->options.buffers_count, sizeof *e->buffers_free);
    if (!e->sockets || !e->buffers_free) {
        refusal->error = -ENOMEM;
        snprintf(refusal->reason, sizeof refusal->reason, "out of memory");
        return -ENOMEM;
    }
    for (unsigned i = 0; i < ring->options.buffers_count; i++)
        e->buffers_free[i] = ring->options.buffers_count - 1 - i;
    return 0;
}

static void epoll_destroy(struct ring *ring)
{
    struct ring_epoll *e = from_ring(ring);

    workers_finish(&e->workers);
    for (unsigned i = 0; i < e->sockets_used; i++)
        if (e->sockets[i].is_open)
            (void)close(e->sockets[i].fd);
    if (e->epoll_fd >= 0)
        (void)close(e->epoll_fd);
    if (e->notify_fd >= 0)
        (void)close(e->notify_fd);
    free(e->sockets);
    free(e->buffers_free);
    free(e->heap);
}

const struct ring_backend ring_epoll_backend = {
    .name = "epoll",
    .size = sizeof(struct ring_epoll),
    .setup = epoll_setup,
    .destroy = epoll_destroy,
    .start = epoll_start,
    .receive = epoll_receive,
    .cancel = epoll_cancel,
    .give_back = epoll_give_back,
    .submit = epoll_submit,
    .wait = epoll_wait_for,
    .collect = epoll_collect,
    .has_more = epoll_has_more,
    .gather = epoll_gather,
};
