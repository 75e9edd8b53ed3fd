/*
 * What the ring asks of a backend, and what it lends to one. Of the ring's own files alone.
 *
 * ring.c owns an operation's life: it counts it when it starts, knows whether it was cancelled,
 * keeps the line for receive buffers, and runs `done`. A backend carries operations out and says
 * with ring_land how each has ended, once. It may do so at any time, but never runs `done`.
 */
#pragma once

#include <linux/openat2.h>

#include "ringtail/base/macros.h"
#include "ringtail/io/ring.h"
#include "ringtail/io/ring_features.h"

/** Where an operation that is in flight is. */
enum op_place {
    PLACE_NOWHERE,
    PLACE_PARKED,  /* a receive in line for a buffer */
    PLACE_LANDED,  /* it has ended, and `done` has not yet run */
    PLACE_BACKEND, /* with the backend, which may tell more places apart from here on */
};

/** What an operation is to do, beside its kind and target. Lives only while it is started. */
union op_args {
    const struct sockaddr_un *addr; /* connect */
    bool is_socket;                 /* close */
    bool data_only;                 /* fsync */
    struct {
        const char *data;
        size_t len;
        int64_t offset; /* not of sends */
    } write;            /* and send */
    struct {
        void *data;
        size_t len;
        int64_t offset;
    } read;
    struct {
        const char *path;
        int flags;
        mode_t mode;
        uint64_t resolve;
    } open;
    struct {
        const char *path; /* all there is of an unlink */
        const char *to;   /* rename */
        mode_t mode;      /* mkdir */
    } name;
    struct {
        const char *path;
        struct statx *ret;
        unsigned mask;
    } statx;
};

struct ring_backend {
    const char *name;
    size_t size; /* of the struct that begins with a struct ring */

    /** Fills in what is behind `ring`. Negative errno with the refusal explained; destroy comes
     * after that, too. */
    int (*setup)(struct ring *ring, struct ring_refusal *refusal);
    void (*destroy)(struct ring *ring);

    /** Every kind but receives. timeout_ms: of sends (0: none) and timers. */
    void (*start)(struct ring *ring, struct op *op, const union op_args *args, int64_t timeout_ms);
    /** A receive, at its first start and each time that it left the line for a buffer. */
    void (*receive)(struct ring *ring, struct op *op);
    /** What is with the backend. It lands sooner or later. */
    void (*cancel)(struct ring *ring, struct op *op);
    void (*give_back)(struct ring *ring, unsigned buffer);

    /** Everything that was started is on its way afterwards. */
    void (*submit)(struct ring *ring);
    /** submit, and learn what has ended; `block`: until something has. Negative errno: the backend
     * is broken. */
    int (*wait)(struct ring *ring, bool block);
    /** Lands what is known to have ended. */
    void (*collect)(struct ring *ring);
    /** Whether more has ended than what was learned of, and learning of that without waiting. */
    bool (*has_more)(const struct ring *ring);
    void (*gather)(struct ring *ring);
};

struct ring {
    const struct ring_backend *backend;
    struct ring_options options;
    unsigned features; /* bits of enum ring_feature */
    bool can_pause;    /* nothing interrupts a pause, or makes it dearer */
    int confine_error;
    bool stopping;
    bool saw_data, saw_full_buffer; /* in this pass */

    struct list landed; /* completed, `done` not yet run */
    struct list parked; /* receives in line for a buffer, first come first served */
    unsigned unparked;  /* of them, started again since the last submission */
    struct list wakers;

    char *buffers;
    size_t buffers_bytes;

    int wake_fd;
    struct op wake_op;
    uint64_t wake_value;

    struct ring_stats stats;
    char reason[sizeof((struct ring_refusal *)0)->reason + 32];
    char description[sizeof((struct ring_refusal *)0)->reason + 64];
};

extern const struct ring_backend ring_uring_backend;
extern const struct ring_backend ring_epoll_backend;

/** The operation has ended; res as in ring.h. A receive or send that ended by its timeout may say
 * -ECANCELED: the ring knows who was cancelled. */
static inline void ring_land(struct ring *ring, struct op *op, int res)
{
    op->res = res;
    op->place = PLACE_LANDED;
    list_append(&ring->landed, &op->link);
}

static inline void ring_park(struct ring *ring, struct op *op)
{
    op->place = PLACE_PARKED;
    list_append(&ring->parked, &op->link);
}

static inline char *ring_buffer(const struct ring *ring, unsigned buffer)
{
    return ring->buffers + (size_t)buffer * ring->options.buffer_bytes;
}

/** A receive's timeout in milliseconds; stays there while the operation is in flight. */
static inline int64_t op_timeout_ms(const struct op *op)
{
    return (int64_t)op->scratch[2];
}

static inline struct open_how ring_open_how(const union op_args *args)
{
    return (struct open_how){
        .flags = (uint64_t)(unsigned)args->open.flags | O_CLOEXEC,
        .mode = args->open.mode,
        .resolve = args->open.resolve,
    };
}

/** Says what is in the way and which knob to turn. `what` was tried. */
void ring_refusal_explain(struct ring_refusal *refusal, int error, const char *what);
