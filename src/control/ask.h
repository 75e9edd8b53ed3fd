/*
 * One request and its reply over a socket, blocking, for processes that do nothing else: `ringtail
 * health` and `ringtail doctor`. Everything ends at a deadline (monotonic, in nanoseconds).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/slice.h"

/** A stream socket, connected: its descriptor, the caller's to close. -ETIMEDOUT, or -errno of
 * connect(2): -EAGAIN where the backlog of a unix socket is full. */
int ask_connect(const struct sockaddr *address, socklen_t len, int64_t deadline_ns);

/**
 * Sends the request, which fits into any socket's buffer, and appends what comes back until the
 * peer closes, or with `head_only` until an empty line has come.
 * returns: 0; -ETIMEDOUT; -EMSGSIZE for more than reply_max bytes; -ENOMEM; another -errno.
 */
int ask_exchange(int fd, struct slice request, bool head_only, size_t reply_max,
                 int64_t deadline_ns, struct buf *reply);
