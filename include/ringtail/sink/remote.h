/*
 * A sink whose records go to a receiver elsewhere, in requests that can fail. It has the patience:
 * what goes into a request, what is sent again and when, and when a record is given up. The
 * connection is its transport's (http.h, kafka.h), the words are a codec's (codec/codec.h).
 *
 * A record is settled only by a verdict of its receiver: accepted, or refused and written to the
 * dead letters. All else is sent again, for as long as it takes.
 *
 * Order: requests are begun in the order of their records, and nothing newer is begun before what
 * has to be sent again. With one request in flight that is the order of arrival; with more of them,
 * those that were under way when an older one failed may arrive before it.
 *
 * Memory: a reference to each batch, and twelve bytes for each record of the requests in flight or
 * waiting for another try.
 */
#pragma once

#include <stdint.h>

#include "ringtail/sink/dead_letters.h"
#include "ringtail/sink/sink.h"

struct transport;

struct sink_remote_options {
    const char *name;      /* of the sink, in our log and the dead letters. Copied */
    int64_t records_max;   /* of one request; at most CODEC_RECORDS_MAX */
    int64_t bytes_max;     /* of lines in one request, unless one line is longer; at most
                              CODEC_PAYLOAD_MAX */
    int64_t in_flight_max; /* requests */
    int64_t linger_ms;     /* wait this long for a request to become full; 0: send what there is */
    int64_t retry_min_ms, retry_max_ms; /* back-off, with jitter, after a try that failed */
    int64_t retry_after_max_ms;         /* a receiver's Retry-After counts up to this */
    int64_t suspend_retry_ms;           /* between two tries while suspended */
    /** Where refused records go; borrowed, and closed after the sink. NULL: they are lost. */
    struct dead_letters *dead_letters;
    /** A receiver has replied (for a histogram). NULL: nobody wants to know. */
    void (*on_reply)(void *ctx, struct sink *sink, int64_t duration_ns);
    void *ctx;
    uint64_t jitter_seed; /* 0: the system's */
};

/** Requests that ended without any reply, beside those of each enum codec_outcome. */
#define SINK_REMOTE_NO_REPLY 5
#define SINK_REMOTE_OUTCOMES 6

/** Counts go up only, but for the last group. */
struct sink_remote_stats {
    uint64_t requests[SINK_REMOTE_OUTCOMES]; /* ended, by outcome */
    uint64_t retries;                        /* requests begun after a pause */
    uint64_t splits;                         /* requests cut in two */
    uint64_t records_sent;                   /* in all requests */
    uint64_t records_again;                  /* of these, those that had been sent before */
    uint64_t records_accepted, records_refused;
    uint64_t records_dead_lettered; /* of the refused, those written */
    uint64_t body_bytes, wire_bytes;

    unsigned in_flight;         /* requests under way */
    uint64_t letters_waiting;   /* refused, and not written yet */
    int64_t last_duration_ns;   /* of the last reply; 0: there was none yet */
    int64_t pause_ms;           /* planned before the next try; 0: there is no pause */
    uint64_t batches_held;      /* references */
    uint64_t bookkeeping_bytes; /* what the sink itself has of memory, judgements apart */
};

/**
 * Makes the sink. `transport` is the sink's from then on, and destroyed with it; on error it stays
 * the caller's. Options out of range are brought to the nearest one that is in it.
 *
 * returns: 0; -ENOMEM.
 */
int sink_remote_create(struct ring *ring, struct transport *transport,
                       const struct sink_remote_options *options, const struct sink_events *events,
                       struct sink **ret);

/** Brought up to date by the call; good as long as the sink. */
const struct sink_remote_stats *sink_remote_stats(struct sink *sink);
