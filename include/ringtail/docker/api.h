/*
 * The Engine API's words, outgoing: HTTP/1.1 requests built by hand. GET is the only method that
 * ringtail ever sends to an Engine. No I/O here.
 *
 * Every request is versioned (`/v1.41/…`) except the ping that finds the version out. None
 * half-closes or asks for an upgrade: the Engine ends a stream whose client shuts down its writing
 * side.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/slice.h"

/** An Engine API version, 1.41 being {1, 41}. */
struct api_version {
    uint16_t major, minor;
};

#define API_VERSION_OLDEST ((struct api_version){1, 24})
#define API_VERSION_NEWEST ((struct api_version){1, 54})

/** Parses `1.41`. Returns 0 or -EINVAL. */
int api_version_parse(struct slice in, struct api_version *ret);

int api_version_compare(struct api_version a, struct api_version b);

/**
 * The version to speak with an Engine whose newest is `engine` and oldest is `engine_oldest`
 * ({0,0} where unknown): the newest that both know.
 * returns: 0; -EPROTONOSUPPORT when there is none.
 */
int api_version_negotiate(struct api_version engine_oldest, struct api_version engine,
                          struct api_version *ret);

/** A point in time or a count for a logs request. */
struct api_logs_query {
    bool follow;
    bool has_since;
    int64_t since_ns; /* inclusive; sent as sec.nnnnnnnnn, what is negative as 0 */
    int64_t tail;     /* the last N Engine records, applied before since; -1: all */
};

/* Each appends one whole request to `out`, or nothing. Returns 0, -ENOMEM, or -EINVAL for an id
 * that is not 1 to 128 characters of [0-9A-Za-z_.-], beginning with a letter or digit (an id from
 * outside never ends up in a request line unchecked). All but followed logs and events say
 * `Connection: close`. */

int api_request_ping(struct buf *out);
/** {0,0}: unversioned, when the ping did not tell. */
int api_request_version(struct buf *out, struct api_version v);
/** Running and paused containers; `all`: the others too. */
int api_request_list(struct buf *out, struct api_version v, bool all);
int api_request_inspect(struct buf *out, struct api_version v, struct slice id);
/**
 * Container events that matter for following logs (create start die stop kill destroy rename pause
 * unpause restart oom), from since_ns on.
 */
int api_request_events(struct buf *out, struct api_version v, int64_t since_ns);
/** Both streams with timestamps. */
int api_request_logs(struct buf *out, struct api_version v, struct slice id,
                     const struct api_logs_query *q);
