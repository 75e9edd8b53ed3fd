/*
 * One HTTP/1.1 exchange with the Engine: connect, send one request, take the reply's head and body,
 * close. A connection serves one exchange; the Engine is a unix socket away.
 *
 *   CONNECTING ──► SENDING ──► READING ◄──► PAUSED
 *       │             │           │            │
 *       └─────────────┴───────────┴────────────┴──► CLOSING ──► CLOSED
 *
 * The head and the chunked body go through llhttp; body bytes are handed on as they lie in the
 * receive buffer, without a copy. Closing is: cancel what is in flight, wait for every operation to
 * land, close the socket, then tell.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/buf.h"
#include "ringtail/io/http_reader.h"
#include "ringtail/io/ring.h"

struct http_exchange;

struct http_handlers {
    struct http_reader_handlers reply; /* a negative return ends the exchange with that result */
    /** A receive ran into idle_timeout_ms; it is armed again by itself. May be NULL. */
    void (*on_idle)(void *ctx);
    /**
     * The last call, once for each http_open that returned 0, never from inside http_open. The
     * exchange is freed behind it. result: 0 the reply is complete (by its last chunk or
     * Content-Length); -ENOENT, -ECONNREFUSED, -EACCES, -EAGAIN … from connecting; -ECONNRESET the
     * peer closed before the reply was complete; -EBADMSG it did not speak HTTP; -EMSGSIZE a head
     * over head_bytes_max; -ETIMEDOUT the deadline passed; -ECANCELED http_close; or what a handler
     * returned.
     */
    void (*on_closed)(void *ctx, int result);
};

struct http_options {
    const char *path;        /* of the unix socket; copied */
    int64_t idle_timeout_ms; /* of each receive (and send); an expired receive is re-armed and ends
                                nothing */
    int64_t head_timeout_ms; /* from the start to the complete head; 0: none */
    int64_t deadline_ms;     /* for the whole exchange; 0: none */
    size_t head_bytes_max;
    bool want_chunks; /* on_body tells chunk boundaries (a few ns per chunk) */
};

/**
 * Starts an exchange. request: taken over (the buffer is empty afterwards), also on error.
 * returns: 0; -ENOMEM; -ENAMETOOLONG for a path that does not fit sockaddr_un.
 */
int http_open(struct ring *ring, const struct http_options *options, struct buf *request,
              const struct http_handlers *handlers, void *ctx, struct http_exchange **ret);

/** Ends it early: on_closed(-ECANCELED) comes when everything has landed. No other handler is
 * called from here on. */
void http_close(struct http_exchange *x);

/** After what was received already (at most one buffer more), no bytes are taken until http_resume.
 */
void http_pause(struct http_exchange *x);
void http_resume(struct http_exchange *x);

/** Bytes received so far, head and framing included. */
uint64_t http_bytes_received(const struct http_exchange *x);

/** Monotonic time since when the current receive has been waiting; 0 when none is in flight. */
int64_t http_waiting_since(const struct http_exchange *x);

/** "connecting", "reading", … for debug output. */
const char *http_state_name(const struct http_exchange *x);
