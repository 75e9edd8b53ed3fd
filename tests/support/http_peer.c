/*
 * See http_peer.h. A send that has been taken is known from SIOCOUTQ, so that each piece of a
 * script is a receive of its own at the other end.
 */
#include "support/http_peer.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"

static void must(bool holds, const char *what)
{
    if (!holds) {
        perror(what);
        abort();
    }
}

static bool send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            must(errno == EPIPE || errno == ECONNRESET, "send");
            return false;
        }
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static bool wait_until_taken(int fd)
{
    for (;;) {
        struct pollfd gone = {.fd = fd};
        int left = 0;

        must(ioctl(fd, SIOCOUTQ, &left) == 0, "SIOCOUTQ");
        if (left == 0)
            return true;
        if (poll(&gone, 1, 0) == 1 && (gone.revents & POLLHUP))
            return false;
        usleep(10);
    }
}

static bool send_in_pieces(int fd, struct slice data, size_t piece_bytes)
{
    size_t piece = piece_bytes ? piece_bytes : data.len;

    for (size_t at = 0; at < data.len; at += piece)
        if (!send_all(fd, data.data + at, MIN(piece, data.len - at)) || !wait_until_taken(fd))
            return false;
    return true;
}

static bool take_request(struct http_peer *peer, int fd)
{
    char end[4] = "";

    while (memcmp(end, "\r\n\r\n", 4) != 0) {
        char c;
        ssize_t n = recv(fd, &c, 1, 0);

        if (n <= 0)
            return false;
        memmove(end, end + 1, 3);
        end[3] = c;
        if (peer->request_bytes < sizeof peer->request - 1)
            peer->request[peer->request_bytes++] = c;
    }
    return true;
}

char http_peer_byte(uint64_t offset)
{
    uint64_t x = (offset + 1) * UINT64_C(0x9e3779b97f4a7c15);

    return (char)((x ^ x >> 29) >> 24);
}

static bool flood(int fd, uint64_t bytes)
{
    struct random random;
    uint64_t sent = 0;

    random_seed(&random, bytes);
    while (sent < bytes) {
        char out[8192];
        size_t len = (size_t)MIN(1 + random_below(&random, 6000), bytes - sent);
        size_t head = (size_t)snprintf(out, sizeof out, "%zx\r\n", len), cut;

        for (size_t i = 0; i < len; i++)
            out[head + i] = http_peer_byte(sent + i);
        memcpy(out + head + len, "\r\n", 2);
        cut = (size_t)random_below(&random, head + len + 2);
        if (!send_all(fd, out, cut) || !send_all(fd, out + cut, head + len + 2 - cut))
            return false;
        sent += len;
    }
    return send_all(fd, "0\r\n\r\n", 5);
}

static bool await_close(int fd)
{
    char byte;
    ssize_t n;

    do
        n = recv(fd, &byte, 1, 0);
    while (n > 0 || (n < 0 && errno == EINTR));
    return true;
}

static bool take_step(struct http_peer *peer, int fd, const struct http_peer_step *step)
{
    struct pollfd request = {.fd = fd, .events = POLLIN};

    switch (step->act) {
    case PEER_TAKE_REQUEST:
        return take_request(peer, fd);
    case PEER_SEND:
        return send_in_pieces(fd, step->data, step->piece_bytes);
    case PEER_WAIT:
        while (sem_wait(&peer->go) < 0)
            must(errno == EINTR, "sem_wait");
        return true;
    case PEER_FLOOD:
        return flood(fd, step->bytes);
    case PEER_AWAIT_CLOSE:
        peer->saw_close = await_close(fd);
        return true;
    case PEER_RESET:
        must(poll(&request, 1, -1) == 1, "poll");
        return false;
    }
    return false;
}

static void *peer_run(void *ctx)
{
    struct http_peer *peer = ctx;
    int fd = accept(peer->listener, NULL, NULL);

    must(fd >= 0, "accept");
    for (size_t i = 0; i < peer->count; i++)
        if (!take_step(peer, fd, &peer->steps[i]))
            break;
    (void)close(fd);
    return NULL;
}

void http_peer_start(struct http_peer *peer, int listener, const struct http_peer_step *steps,
                     size_t count)
{
    *peer = (struct http_peer){.listener = listener, .steps = steps, .count = count};
    must(sem_init(&peer->go, 0, 0) == 0, "sem_init");
    must(pthread_create(&peer->thread, NULL, peer_run, peer) == 0, "pthread_create");
}

void http_peer_go(struct http_peer *peer)
{
    must(sem_post(&peer->go) == 0, "sem_post");
}

void http_peer_join(struct http_peer *peer)
{
    must(pthread_join(peer->thread, NULL) == 0, "pthread_join");
    must(sem_destroy(&peer->go) == 0, "sem_destroy");
}
