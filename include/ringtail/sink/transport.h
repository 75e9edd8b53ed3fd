/*
 * What stands between a remote sink and its receiver: one request out, one judgement back. The
 * remote sink (remote.h) has the patience: what to send, when to send it again, when to give up. A
 * transport has the connection: HTTP (http.h), Kafka (kafka.h).
 *
 * All calls and `done` on the ring's thread. A transport works on a thread of its own, which wakes
 * the ring; between transport_start and `done` the request, its records and their sources belong to
 * that thread, which only reads records and never touches a reference count.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/list.h"
#include "ringtail/codec/codec.h"
#include "ringtail/record/batch.h"

struct request {
    /* Set by who starts it; the array and what it points to live until done. */
    const struct record *const *records;
    size_t count; /* 1 … CODEC_RECORDS_MAX */
    void (*done)(struct request *request);

    /* Set by the transport. */
    /** Negative errno: there was no reply (-ETIMEDOUT, -ECONNREFUSED, -ECANCELED, …), and nothing
     * is known of the records; they are sent again. -EMSGSIZE: nothing was sent, as one request
     * cannot take so much; it is halved, and a record by itself is refused. 0: `judgement` says. */
    int error;
    struct codec_judgement judgement;
    int status;          /* HTTP's; 0: none */
    char message[256];   /* for the log, when something went wrong: one line of UTF-8, without
                            secrets, and nothing that quotes a record */
    size_t body_bytes;   /* encoded */
    size_t wire_bytes;   /* compressed */
    int64_t duration_ns; /* from the start to the reply */

    struct list link; /* the transport's while it has the request */
};

struct transport;

struct transport_ops {
    const char *kind; /* "loki", "kafka", … */
    void (*start)(struct transport *t, struct request *request);
    /** Ends every request early, with -ECANCELED or what has happened first. */
    void (*cancel)(struct transport *t);
    /** Nothing may be in flight. Ends the thread's part in it. */
    struct transport *(*destroy)(struct transport *t);
};

struct transport {
    const struct transport_ops *ops;
};

static inline void transport_start(struct transport *t, struct request *r)
{
    t->ops->start(t, r);
}

static inline void transport_cancel(struct transport *t)
{
    t->ops->cancel(t);
}

static inline struct transport *transport_destroy(struct transport *t)
{
    return t ? t->ops->destroy(t) : NULL;
}
