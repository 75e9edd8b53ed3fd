/*
 * The admin endpoint: /metrics, /health, /ready and /debug/streams over HTTP, on one thread of
 * libmicrohttpd's.
 *
 * That thread never touches what belongs to the ring's. It says what it wants and wakes the ring;
 * the ring's thread answers in admin_serve, through the callbacks below; the text is made, kept and
 * sent by the admin thread. What is younger than 100 ms is sent again, so a scraper that asks
 * without pause costs the ring ten answers a second.
 *
 *   /metrics         Prometheus text
 *   /health          200 "OK" while the ring answers, else 503
 *   /ready           200 or 503, with JSON that says why
 *   /debug/streams   JSON; text with ?format=text or Accept: text/plain
 *
 * A ring that does not answer within 2 s makes 503, at once for those who ask meanwhile; /health
 * stays 200 for 10 s.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/metric.h"

struct admin;

struct admin_options {
    const char *address;             /* IPv4 or IPv6, numeric: "127.0.0.1" */
    uint16_t port;                   /* 0: any that is free (admin_port) */
    unsigned connections_max;        /* at once; more wait to be accepted */
    unsigned connections_per_ip_max; /* more are closed; 0: only connections_max counts */
    unsigned timeout_s;              /* a connection that is silent this long is closed */
    int64_t answer_timeout_ms;       /* how long to wait for the ring; 0: 2 s */
    int64_t liveness_ms;             /* how long the ring may be silent in good health; 0: 10 s */
};

/** What the ring's thread is asked for. All are called from admin_serve. */
struct admin_callbacks {
    /** Brings those series up to date that are not counted as things happen. */
    void (*fill_metrics)(void *ctx, struct metrics *metrics);
    /** Appends JSON that says why; returns whether all is ready. */
    bool (*ready)(void *ctx, struct buf *json);
    /** Appends JSON, or text for people. Returns 0 or -ENOMEM. */
    int (*streams)(void *ctx, struct buf *out, bool as_text);
    /** Any thread: gets admin_serve called soon (ring_wake). Not called any more once admin_close
     * has returned. */
    void (*wake)(void *ctx);
    void *ctx;
};

/**
 * Listens and starts the thread. options: borrowed for the call; metrics: for the admin's life.
 * returns: 0; -EADDRINUSE, -EACCES, -EADDRNOTAVAIL, -EINVAL (no address), … with the reason as a
 *          sentence in `why`.
 */
int admin_open(const struct admin_options *options, const struct admin_callbacks *callbacks,
               struct metrics *metrics, struct admin **ret, char *why, size_t why_size);

/** The port it listens on. */
uint16_t admin_port(const struct admin *a);

/** The ring's thread, from a waker: gives what has been asked for. Nothing asked: an atomic load.
 */
void admin_serve(struct admin *a);

/** The ring's thread. Closes all connections, ends the thread (without waiting for clients), frees.
 * NULL is fine. Returns NULL. */
struct admin *admin_close(struct admin *a);
