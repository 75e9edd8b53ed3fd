/* src/control/ask.h. */
#include "ask.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"

#define READ_BYTES 4096

/* Waits until the socket is ready for that. Returns 0, -ETIMEDOUT or -errno. */
static int wait_for(int fd, short events, int64_t deadline_ns)
{
    struct pollfd p = {.fd = fd, .events = events};
    int n;

    do {
        int64_t left_ns = deadline_ns - clock_mono_ns();

        if (left_ns <= 0)
            return -ETIMEDOUT;
        n = poll(&p, 1, (int)(left_ns / NSEC_PER_MSEC) + 1);
    } while (n == 0 || (n < 0 && errno == EINTR));
    return n < 0 ? -errno : 0;
}

static int finish_connect(int fd, int64_t deadline_ns)
{
    int error = 0, r;
    socklen_t len = sizeof error;

    r = wait_for(fd, POLLOUT, deadline_ns);
    if (r < 0)
        return r;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        return -errno;
    return -error;
}

int ask_connect(const struct sockaddr *address, socklen_t len, int64_t deadline_ns)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r = 0;

    if (fd < 0)
        return -errno;
    if (connect(fd, address, len) < 0)
        r = errno == EINPROGRESS ? finish_connect(fd, deadline_ns) : -errno;
    if (r < 0) {
        (void)close(fd); /* nothing was sent */
        return r;
    }
    return fd;
}

static bool head_is_whole(const struct buf *reply)
{
    return reply->len >= 4 && memmem(reply->data, reply->len, "\r\n\r\n", 4);
}

int ask_exchange(int fd, struct slice request, bool head_only, size_t reply_max,
                 int64_t deadline_ns, struct buf *reply)
{
    size_t before = reply->len;

    if (send(fd, request.data, request.len, MSG_NOSIGNAL) < 0)
        return -errno;
    while (reply->len - before < reply_max) {
        int r = wait_for(fd, POLLIN, deadline_ns);
        ssize_t n;

        if (r == 0)
            r = buf_reserve(reply, READ_BYTES);
        if (r < 0)
            return r;
        n = recv(fd, reply->data + reply->len, reply->cap - reply->len, 0);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (n == 0)
            return 0;
        reply->len += n > 0 ? (size_t)n : 0;
        if (head_only && head_is_whole(reply))
            return 0;
    }
    return -EMSGSIZE;
}
