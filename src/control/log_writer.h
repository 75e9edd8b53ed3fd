/*
 * ringtail's own log lines to stderr through the ring, so that a stalled terminal or pipe stalls
 * nobody. Bounded: lines that find no room are counted (base/log.h).
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "ringtail/base/buf.h"
#include "ringtail/io/ring.h"

struct log_writer {
    struct ring *ring;
    pthread_mutex_t lock; /* of `filling`: any thread may log */
    struct buf filling, writing;
    size_t written;
    struct op write_op;
    bool closing;
};

/** Takes over the log's lines. */
void log_writer_init(struct log_writer *w, struct ring *ring);

/** On the ring's thread, now and then: starts writing what has come. */
void log_writer_flush(struct log_writer *w);

/** Lines go straight to stderr again. A write in flight is cancelled; wait for log_writer_is_idle.
 */
void log_writer_close(struct log_writer *w);
bool log_writer_is_idle(const struct log_writer *w);

/** Writes the rest, as far as stderr takes it, and frees. */
void log_writer_finish(struct log_writer *w);
