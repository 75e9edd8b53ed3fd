/*
 * The stdout sink: everything into one descriptor that is somebody else's. It owns the queue of
 * encoded bytes and one operation, which is a write or, between tries, a timer; it never closes the
 * descriptor.
 *
 * One chunk is in flight while the next ones fill. A reader that does not read stops the write, not
 * us: the queue grows, and who feeds it looks at queued_bytes.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "ringtail/base/macros.h"
#include "ringtail/sink/sink.h"

#include "health.h"
#include "inbox.h"
#include "out_queue.h"

/* A non-blocking pipe that is full: look again soon, then less and less often. */
#define FULL_LEAST_MS 1
#define FULL_MOST_MS 64
/* A failure (a full disk behind the descriptor, no memory): it is worth a try each second. */
#define FAILED_MS 1000

/*
 *   ┌────► IDLE ◄────► WRITING ─────► BROKEN     the reader is gone: no try can succeed any more
 *   │       │           │   ▲            │
 *   │       ▼           ▼   │            │
 *   └───── WAITING ◄────┘   │            │       WAITING: for room, or for another try
 *           │  └────────────┘            │
 *           ▼                            ▼
 *   IDLE ► ENDING ◄──────────────────────┘
 *           ▼
 *         CLOSED
 */
enum stdout_state {
    STDOUT_IDLE,
    STDOUT_WRITING,
    STDOUT_WAITING,
    STDOUT_BROKEN,
    STDOUT_ENDING,
    STDOUT_CLOSED,
    STDOUT_STATE_COUNT,
};

static const uint8_t stdout_edges[STDOUT_STATE_COUNT] = {
    [STDOUT_IDLE] = BIT(STDOUT_WRITING) | BIT(STDOUT_WAITING) | BIT(STDOUT_ENDING),
    [STDOUT_WRITING] = BIT(STDOUT_IDLE) | BIT(STDOUT_WAITING) | BIT(STDOUT_BROKEN),
    [STDOUT_WAITING] = BIT(STDOUT_IDLE),
    [STDOUT_BROKEN] = BIT(STDOUT_ENDING),
    [STDOUT_ENDING] = BIT(STDOUT_CLOSED),
};

struct sink_stdout {
    struct sink sink;
    int fd;
    enum stdout_state state;
    struct op op;
    struct inbox inbox;
    struct chunk_pool pool;
    struct out_queue queue;
    int64_t full_ms;
    bool closing, aborted;
};

static struct sink_stdout *from_sink(struct sink *sink)
{
    return container_of(sink, struct sink_stdout, sink);
}

static void stdout_enter(struct sink_stdout *s, enum stdout_state next)
{
    assert(stdout_edges[s->state] & BIT(next));
    s->state = next;
}

static void count_error(struct sink_stdout *s, int error)
{
    /* Without its reader nothing can be written any more, however often it is tried. */
    enum sink_state state = error == -EPIPE || error == -EBADF ? SINK_SUSPENDED : SINK_RETRYING;

    health_failed(&s->sink, state, error, NULL);
}

static void wait_ms(struct sink_stdout *s, int64_t ms)
{
    stdout_enter(s, STDOUT_WAITING);
    ring_timer(s->sink.ring, &s->op, ms);
}

/** Returns 0, or -ENOMEM with the rest still in the inbox. */
static int encode(struct sink_stdout *s)
{
    struct batch *batch;

    while ((batch = inbox_first(&s->inbox))) {
        while (s->inbox.next_record < batch->count) {
            const struct record *r = &batch->records[s->inbox.next_record];
            int64_t bytes = out_queue_append(&s->queue, r);

            if (bytes < 0) {
                out_queue_mark(&s->queue, batch);
                return (int)bytes;
            }
            s->sink.queued_bytes += (size_t)bytes - r->len;
            s->inbox.next_record++;
        }
        out_queue_mark(&s->queue, batch);
        inbox_pop(&s->inbox);
    }
    return 0;
}

static void drop_all(struct sink_stdout *s)
{
    out_queue_drop(&s->queue, &s->sink);
    inbox_drop(&s->inbox, &s->sink);
}

/** Decides what an idle sink does next. */
static void step(struct sink_stdout *s)
{
    struct slice front;
    int r;

    assert(s->state == STDOUT_IDLE);
    if (s->aborted)
        drop_all(s);
    r = encode(s);
    if (r < 0)
        count_error(s, r);
    if (s->state != STDOUT_IDLE)
        return; /* a batch's owner has submitted from its callback, and that took the step */
    front = out_queue_front(&s->queue);
    if (front.len > 0) {
        stdout_enter(s, STDOUT_WRITING);
        ring_write(s->sink.ring, &s->op, s->fd, front, -1);
    } else if (r < 0) {
        wait_ms(s, FAILED_MS);
    } else if (s->closing) {
        /* The owner hears of the end from the ring, never from inside its own call. */
        stdout_enter(s, STDOUT_ENDING);
        ring_timer(s->sink.ring, &s->op, 0);
    }
}

static void written(struct sink_stdout *s, size_t n)
{
    s->full_ms = FULL_LEAST_MS;
    health_good(&s->sink);
    s->sink.bytes_written += n;
    s->sink.queued_bytes -= n;
    s->sink.records_settled += out_queue_consume(&s->queue, n);
    stdout_enter(s, STDOUT_IDLE);
    step(s);
    if (s->sink.events.on_progress)
        s->sink.events.on_progress(s->sink.events.ctx, &s->sink);
}

static void not_written(struct sink_stdout *s, int error)
{
    switch (error) {
    case -EINTR:
    case -ECANCELED:
        /* A signal, or the abort that step looks for. */
        stdout_enter(s, STDOUT_IDLE);
        step(s);
        break;
    case -EAGAIN:
        if (s->aborted) {
            stdout_enter(s, STDOUT_IDLE);
            step(s);
            break;
        }
        wait_ms(s, s->full_ms);
        s->full_ms = MIN(2 * s->full_ms, FULL_MOST_MS);
        break;
    case -EPIPE:
    case -EBADF:
        count_error(s, error);
        stdout_enter(s, STDOUT_BROKEN);
        if (s->aborted) {
            drop_all(s);
            stdout_enter(s, STDOUT_ENDING);
            ring_timer(s->sink.ring, &s->op, 0);
            break;
        }
        /* No bytes have left, but the owner has to hear of it: nothing more will. */
        if (s->sink.events.on_progress)
            s->sink.events.on_progress(s->sink.events.ctx, &s->sink);
        break;
    default:
        count_error(s, error);
        wait_ms(s, s->aborted ? 0 : FAILED_MS);
        break;
    }
}

static void stdout_op_done(struct op *op, int res)
{
    struct sink_stdout *s = container_of(op, struct sink_stdout, op);

    switch (s->state) {
    case STDOUT_WRITING:
        if (res > 0)
            written(s, (size_t)res);
        else
            not_written(s, res < 0 ? res : -EIO);
        break;
    case STDOUT_WAITING:
        stdout_enter(s, STDOUT_IDLE);
        step(s);
        break;
    case STDOUT_ENDING:
        stdout_enter(s, STDOUT_CLOSED);
        if (s->sink.events.on_closed)
            s->sink.events.on_closed(s->sink.events.ctx, &s->sink);
        break;
    case STDOUT_IDLE:
    case STDOUT_BROKEN:
    case STDOUT_CLOSED:
    case STDOUT_STATE_COUNT:
        assert(false); /* nothing is in flight in these */
    }
}

static int stdout_submit(struct sink *sink, struct batch *batch)
{
    struct sink_stdout *s = from_sink(sink);
    int r;

    assert(!s->closing);
    r = inbox_push(&s->inbox, batch);
    if (r < 0) {
        count_error(s, r);
        return r;
    }
    sink->queued_bytes += batch->bytes;
    if (s->state == STDOUT_IDLE) {
        step(s);
        return 0;
    }
    /* Encoded now, while its bytes are warm; where memory fails, the next step tries again. */
    r = encode(s);
    if (r < 0)
        count_error(s, r);
    return 0;
}

static void stdout_close(struct sink *sink)
{
    struct sink_stdout *s = from_sink(sink);

    if (s->closing)
        return;
    s->closing = true;
    if (s->state == STDOUT_IDLE)
        step(s);
}

static void stdout_abort(struct sink *sink)
{
    struct sink_stdout *s = from_sink(sink);

    s->closing = s->aborted = true;
    switch (s->state) {
    case STDOUT_IDLE:
        step(s);
        break;
    case STDOUT_WRITING: /* may wait for a reader for ever */
    case STDOUT_WAITING:
        ring_cancel(sink->ring, &s->op);
        break;
    case STDOUT_BROKEN:
        drop_all(s);
        stdout_enter(s, STDOUT_ENDING);
        ring_timer(sink->ring, &s->op, 0);
        break;
    case STDOUT_ENDING:
    case STDOUT_CLOSED:
    case STDOUT_STATE_COUNT:
        break;
    }
}

static struct sink *stdout_destroy(struct sink *sink)
{
    struct sink_stdout *s = from_sink(sink);

    assert(!op_in_flight(&s->op));
    out_queue_finish(&s->queue);
    inbox_finish(&s->inbox);
    chunk_pool_finish(&s->pool);
    free(s);
    return NULL;
}

static const struct sink_ops stdout_ops = {
    .kind = "stdout",
    .submit = stdout_submit,
    .close = stdout_close,
    .abort = stdout_abort,
    .destroy = stdout_destroy,
};

int sink_stdout_create(struct ring *ring, int fd, const struct sink_events *events,
                       struct sink **ret)
{
    struct sink_stdout *s = calloc(1, sizeof *s);

    if (!s)
        return -ENOMEM;
    if (inbox_init(&s->inbox) < 0) {
        free(s);
        return -ENOMEM;
    }
    s->sink.ops = &stdout_ops;
    s->sink.ring = ring;
    if (events)
        s->sink.events = *events;
    s->fd = fd;
    s->op.done = stdout_op_done;
    s->full_ms = FULL_LEAST_MS;
    out_queue_init(&s->queue, &s->pool);
    *ret = &s->sink;
    return 0;
}
