/*
 * A transport without a receiver: it keeps what it was given until the test says what the reply is.
 * It asserts what a sink promises to a transport.
 */
#pragma once

#include "ringtail/sink/transport.h"

struct fake_transport {
    struct transport transport;
    struct list pending; /* requests, the oldest first */
    size_t pending_count;
    size_t in_flight_max; /* of the sink; 0: not checked */
    unsigned started, cancels, destroyed;
    /** Called in transport_start, at its end; may reply at once. NULL: the test replies later. */
    void (*on_start)(void *ctx, struct request *request);
    void *ctx;
};

void fake_transport_init(struct fake_transport *t);

/** The oldest request that has no reply, or NULL. */
struct request *fake_transport_first(struct fake_transport *t);
/** The one behind it. */
struct request *fake_transport_nth(struct fake_transport *t, size_t n);

/** Prepares a judgement in which every record is to be sent again. */
void fake_judge(struct request *request, enum codec_outcome outcome, int status);
void fake_verdict(struct request *request, size_t i, enum codec_verdict_kind kind,
                  const char *reason);

/** Ends the request with what was prepared. */
void fake_done(struct fake_transport *t, struct request *request);

/** All at once: every record has this verdict. */
void fake_reply(struct fake_transport *t, struct request *request, enum codec_outcome outcome,
                enum codec_verdict_kind kind, int status);
void fake_accept(struct fake_transport *t, struct request *request);
void fake_no_reply(struct fake_transport *t, struct request *request, int error);
