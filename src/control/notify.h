/*
 * What a service manager is told (sd_notify(3), by hand): ready, stopping, and a sign of life as
 * often as its watchdog wants one. Where there is no NOTIFY_SOCKET in the environment, nothing.
 *
 * Ready and alive are said by a timer of the ring, so that both are only said while the ring turns.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "ringtail/io/ring.h"

struct notify {
    struct ring *ring;
    struct op timer_op;
    struct sockaddr_un address;
    socklen_t address_len;
    int fd;              /* -1: nobody wants to know */
    int64_t watchdog_ms; /* between two signs of life; 0: none are wanted */
    bool said_ready;
};

/**
 * Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and says in the ring's first pass that it is
 * ready. An address that is none is logged, and nothing is said then.
 */
void notify_start(struct notify *n, struct ring *ring);

/** Says that it is stopping. Signs of life go on. */
void notify_stopping(struct notify *n);

/** Ends them; idle once the timer has landed. */
void notify_close(struct notify *n);
bool notify_is_idle(const struct notify *n);
