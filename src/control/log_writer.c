/* src/control/log_writer.h. */
#include "log_writer.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"

#define ROOM_BYTES (256u << 10)
#define LAST_WAIT_MS 200

static bool take_line(void *ctx, struct slice line)
{
    struct log_writer *w = ctx;
    bool taken;

    pthread_mutex_lock(&w->lock);
    taken = w->filling.len + line.len <= ROOM_BYTES && buf_append_slice(&w->filling, line) == 0;
    pthread_mutex_unlock(&w->lock);
    return taken;
}

static void write_rest(struct log_writer *w)
{
    ring_write(w->ring, &w->write_op, STDERR_FILENO, slice_from(buf_slice(&w->writing), w->written),
               -1);
}

static void on_written(struct op *op, int res)
{
    struct log_writer *w = container_of(op, struct log_writer, write_op);

    /* An error is the end of this piece: there is no other place to complain. */
    w->written = res > 0 ? w->written + (size_t)res : w->closing ? w->written : w->writing.len;
    if (w->closing)
        return;
    if (w->written < w->writing.len)
        write_rest(w);
    else
        log_writer_flush(w);
}

void log_writer_init(struct log_writer *w, struct ring *ring)
{
    *w = (struct log_writer){.ring = ring, .lock = PTHREAD_MUTEX_INITIALIZER};
    w->write_op.done = on_written;
    log_set_writer(take_line, w);
}

void log_writer_flush(struct log_writer *w)
{
    struct buf empty;

    if (op_in_flight(&w->write_op) || w->closing)
        return;
    pthread_mutex_lock(&w->lock);
    empty = w->writing;
    w->writing = w->filling;
    buf_reset(&empty);
    w->filling = empty;
    pthread_mutex_unlock(&w->lock);
    w->written = 0;
    if (w->writing.len > 0)
        write_rest(w);
}

void log_writer_close(struct log_writer *w)
{
    log_set_writer(NULL, NULL);
    w->closing = true;
    ring_cancel(w->ring, &w->write_op);
}

bool log_writer_is_idle(const struct log_writer *w)
{
    return !op_in_flight(&w->write_op);
}

/* A reader that has stalled is not waited for: the end is not to hang on our own words. What a pipe
 * says it has room for is PIPE_BUF at least. */
static void write_last(struct slice rest)
{
    struct pollfd stderr_poll = {.fd = STDERR_FILENO, .events = POLLOUT};

    while (rest.len > 0 && poll(&stderr_poll, 1, LAST_WAIT_MS) == 1) {
        ssize_t n = write(STDERR_FILENO, rest.data, MIN(rest.len, (size_t)PIPE_BUF));

        if (n <= 0)
            return; /* nowhere to complain */
        rest = slice_from(rest, (size_t)n);
    }
}

void log_writer_finish(struct log_writer *w)
{
    write_last(slice_from(buf_slice(&w->writing), w->written));
    write_last(buf_slice(&w->filling));
    buf_finish(&w->writing);
    buf_finish(&w->filling);
    pthread_mutex_destroy(&w->lock);
}
