/*
 * The ring: every operation of the kernel that ringtail waits for goes through here, on one thread.
 *
 * One operation is one `struct op`, embedded in its owner. From the call that starts it until its
 * `done` runs it is in flight, and neither it nor what it points to may be freed or reused. `done`
 * runs exactly once for each start, from ring_run, after all completions of a pass have been
 * collected: never inside a start or a cancel. In `done` the op is no longer in flight and may be
 * started again.
 *
 * Two backends stand behind the same operations: io_uring, and epoll with a few threads for files
 * where io_uring is refused. Sockets are numbers of the ring's own table, not file descriptors;
 * files are file descriptors.
 *
 * Results are what the system call would have returned, or a negative errno. Two are the ring's
 * own: -ETIME says that the operation's timeout ran out, -ECANCELED that ring_cancel stopped it. In
 * both cases it has consumed nothing.
 */
#pragma once

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "ringtail/base/list.h"
#include "ringtail/base/slice.h"

struct ring;
struct op;

typedef void (*op_done_fn)(struct op *op, int res);

enum op_kind {
    OP_NONE,
    OP_SOCKET,
    OP_CONNECT,
    OP_SEND,
    OP_RECV,
    OP_CLOSE,
    OP_TIMER,
    OP_OPEN,
    OP_READ,
    OP_WRITE,
    OP_FSYNC,
    OP_RENAME,
    OP_MKDIR,
    OP_UNLINK,
    OP_STATX,
    OP_KIND_COUNT,
};

/** "recv", "timer", … for metrics and debug output. */
const char *op_kind_name(enum op_kind kind);

/** All zero is an idle op. Set `done` before the first start. Read-only for owners otherwise. */
struct op {
    op_done_fn done;
    /** OP_RECV with res > 0: the bytes, lent until `done` returns. */
    struct slice received;

    /* The ring's own from here on. */
    struct list link;
    int64_t started_at_mono_ns;
    int64_t cancelled_at_mono_ns; /* 0: not cancelled */
    uint64_t scratch[3];          /* the backend's */
    int32_t res;
    uint32_t buffer; /* that it received into, and one; 0: none */
    int32_t target;  /* descriptor or socket */
    uint8_t kind;
    uint8_t place; /* where it is: with the backend, parked, landed */
    bool in_flight;
};

static inline bool op_in_flight(const struct op *op)
{
    return op->in_flight;
}

enum ring_backend_choice {
    RING_BACKEND_AUTO, /* io_uring, or epoll where it is refused */
    RING_BACKEND_IO_URING,
    RING_BACKEND_EPOLL,
};

struct ring_options {
    enum ring_backend_choice backend;
    unsigned entries;       /* submission queue; the completion queue has four times as many */
    unsigned sockets_max;   /* size of the socket table */
    unsigned buffers_count; /* receive buffers, a power of two */
    unsigned buffer_bytes;  /* of each */
    /** Threads (of the kernel, or with epoll our own) for operations on files at once. With two,
     * writes go on beside one that waits for the disk, and many small ones at once wake few
     * threads. 0: the kernel's choice, and four for each processor with epoll. */
    unsigned workers_max;
    int64_t batch_pause_us; /* sleep outside the ring after a pass that found work; 0: never */
    bool confined;          /* the kernel is to refuse every operation but those of op_kind */
};

/** Why there is no ring of a kind, for the one message that a person reads. */
struct ring_refusal {
    int error;        /* negative errno */
    char reason[256]; /* what is in the way, and the knob to turn: "kernel.io_uring_disabled is 2:
                         …" */
};

/**
 * Makes the ring on the calling thread, which must be the one that runs it. Walks down the ladder
 * of what the kernel has (DEFER_TASKRUN 6.1, COOP_TASKRUN 5.19; nothing older: provided-buffer
 * rings and direct sockets came with 5.19), and at its foot, unless io_uring was asked for, is
 * epoll (Linux 5.6). returns: 0; negative errno with `refusal` filled in: of the last kind tried.
 */
int ring_create(const struct ring_options *options, struct ring **ret,
                struct ring_refusal *refusal);

/** Nothing may be in flight. NULL is fine. Returns NULL. */
struct ring *ring_destroy(struct ring *ring);

/**
 * Runs completions until ring_stop. Returns 0, or a negative errno when the ring itself fails.
 * `on_pass_end` (may be NULL) is called after each pass's callbacks, before the ring waits again:
 * the place to hand over what a pass has gathered.
 */
int ring_run(struct ring *ring, void (*on_pass_end)(void *ctx), void *ctx);

/** ring_run returns after the current pass. */
void ring_stop(struct ring *ring);

/* Starting operations. None fails: what goes wrong arrives at `done`. The op must be idle. */

/** A blocking-free AF_UNIX stream socket. res: the socket. */
void ring_socket(struct ring *ring, struct op *op);

/** `addr` lives until done. -EAGAIN: the listener's backlog is full; -ENOENT, -ECONNREFUSED,
 * -EACCES as connect(2). */
void ring_connect(struct ring *ring, struct op *op, int sock, const struct sockaddr_un *addr);

/** Sends some of `data` (res: how much), which lives until done. timeout_ms 0: none. */
void ring_send(struct ring *ring, struct op *op, int sock, struct slice data, int64_t timeout_ms);

/**
 * One receive linked to a timeout (0: none) into a buffer of the ring's pool, taken only when there
 * is data: a waiting receive holds none. res: bytes in op->received, lent until done returns; 0:
 * end of stream. An empty pool is the ring's business: the receive waits in line for a buffer.
 */
void ring_recv(struct ring *ring, struct op *op, int sock, int64_t timeout_ms);

/** Closes a socket of the ring's table. Cancel and land everything on it first. */
void ring_close_socket(struct ring *ring, struct op *op, int sock);

/** Closes a file descriptor. */
void ring_close_fd(struct ring *ring, struct op *op, int fd);

/** res: -ETIME when the time has come, -ECANCELED. */
void ring_timer(struct ring *ring, struct op *op, int64_t after_ms);

/* Files. Paths, buffers and structs live until done. Writes and fsyncs that have started cannot be
 * cancelled. */

/** resolve: RESOLVE_* of openat2(2). res: a file descriptor (close-on-exec). */
void ring_open(struct ring *ring, struct op *op, int dir_fd, const char *path, int flags,
               mode_t mode, uint64_t resolve);
/** offset -1: the file's own position (pipes, terminals, O_APPEND). */
void ring_read(struct ring *ring, struct op *op, int fd, void *data, size_t len, int64_t offset);
void ring_write(struct ring *ring, struct op *op, int fd, struct slice data, int64_t offset);
/** data_only: fdatasync. */
void ring_fsync(struct ring *ring, struct op *op, int fd, bool data_only);
void ring_rename(struct ring *ring, struct op *op, int dir_fd, const char *from, const char *to);
void ring_mkdir(struct ring *ring, struct op *op, int dir_fd, const char *path, mode_t mode);
void ring_unlink(struct ring *ring, struct op *op, int dir_fd, const char *path);
/** Fills `ret` (no symlink is followed at the last component; an empty path with dir_fd means that
 * file itself). */
void ring_statx(struct ring *ring, struct op *op, int dir_fd, const char *path, unsigned mask,
                struct statx *ret);

/** Asks for an early end. `done` still comes, with -ECANCELED or with what had happened first. Does
 * nothing to an op that is not in flight. */
void ring_cancel(struct ring *ring, struct op *op);

/**
 * A wake-up from other threads (and signal handlers): `fn` runs on the ring's thread, at least once
 * after each ring_wake, several may fall together. Register before ring_run.
 */
struct ring_waker {
    struct list link;
    void (*fn)(void *ctx);
    void *ctx;
};
void ring_add_waker(struct ring *ring, struct ring_waker *waker);
void ring_remove_waker(struct ring_waker *waker);

/** Any thread, async-signal-safe. Runs every waker. */
void ring_wake(struct ring *ring);

/** What the ring is doing, for metrics. Read on the ring's thread. */
/** Upper bounds of cancel_buckets in microseconds; what is above the last is in one bucket more. */
#define RING_CANCEL_BOUNDS_US                                                                      \
    10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000,      \
        1000000
#define RING_CANCEL_BUCKETS 17

struct ring_stats {
    uint64_t in_flight[OP_KIND_COUNT];
    uint64_t completions[OP_KIND_COUNT];
    uint64_t timeouts;                     /* receives and sends that ended by their timeout */
    uint64_t cancels;                      /* operations that ended by ring_cancel */
    uint64_t cancel_ns_max, cancel_ns_sum; /* from ring_cancel to done */
    uint64_t cancel_buckets[RING_CANCEL_BUCKETS];
    uint64_t buffer_waits; /* receives that found the pool empty */
    uint64_t passes, pauses, enters;
    uint64_t cq_overflows;
    unsigned buffers_free, buffers_count;
    unsigned sockets_open, sockets_max;
};
const struct ring_stats *ring_stats_get(struct ring *ring);

/** What was chosen: "io_uring" or "epoll". */
const char *ring_backend_name(const struct ring *ring);
/** Of io_uring what it can do; of epoll why it is not io_uring. For people. */
const char *ring_backend_reason(const struct ring *ring);
/** How options.confined went: 0, or a negative errno and the ring is as open as any; -EOPNOTSUPP
 * with epoll, where a filter of system calls does the same. */
int ring_confine_error(const struct ring *ring);
/** "io_uring (single issuer, …)", "epoll (io_uring refused: …)": both in one, for the log. */
const char *ring_describe(const struct ring *ring);
