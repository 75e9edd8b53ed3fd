/* See receiver.h. The control port is spoken to in HTTP/1.0, so that a reply ends where its
 * connection does. */
#include "support/receiver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/child.h"

#define ARGUMENTS_MAX 16

int receiver_start(struct receiver *r, const char *const *arguments)
{
    return receiver_start_program(r, "python3", "receiver.py", arguments);
}

int receiver_start_program(struct receiver *r, const char *interpreter, const char *program,
                           const char *const *arguments)
{
    char line[256], path[512];
    const char *argv[ARGUMENTS_MAX + 4] = {interpreter, path};
    size_t len = 0, count = 2;
    unsigned port, control_port;
    ssize_t n;

    (void)snprintf(path, sizeof path, "%s/%s", RECEIVERS, program);
    for (size_t i = 0; arguments && arguments[i] && i < ARGUMENTS_MAX; i++)
        argv[count++] = arguments[i];
    r->pid = child_start(argv, NULL, &r->output);
    if (r->pid < 0)
        return -1;
    do {
        n = read(r->output, line + len, sizeof line - 1 - len);
        len += n > 0 ? (size_t)n : 0;
    } while (n > 0 && !memchr(line, '\n', len));
    line[len] = '\0';
    if (sscanf(line, "{\"port\": %u, \"control_port\": %u", &port, &control_port) != 2) {
        receiver_stop(r);
        return -1;
    }
    r->port = (uint16_t)port;
    r->control_port = (uint16_t)control_port;
    return 0;
}

void receiver_stop(struct receiver *r)
{
    (void)child_end(r->pid, SIGTERM);
    (void)close(r->output);
}

static int exchange(const struct receiver *r, const char *request, size_t len, struct buf *reply)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(r->control_port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t n = 0;

    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0) {
        (void)close(fd);
        return -errno;
    }
    while (len > 0 && (n = send(fd, request, len, MSG_NOSIGNAL)) > 0) {
        request += n;
        len -= (size_t)n;
    }
    buf_reset(reply);
    do {
        char part[16384];

        n = recv(fd, part, sizeof part, 0);
        if (n > 0 && buf_append(reply, part, (size_t)n) < 0)
            n = -1;
    } while (n > 0);
    (void)close(fd);
    return n < 0 || len > 0 ? -EIO : 0;
}

/** Leaves the body alone. Returns the status. */
static int strip_head(struct buf *reply)
{
    const char *text = buf_cstr(reply);
    const char *end = text ? strstr(text, "\r\n\r\n") : NULL;
    int status = 0;

    if (!end || sscanf(text, "HTTP/%*s %d", &status) != 1)
        return -EBADMSG;
    buf_consume(reply, (size_t)(end + 4 - text));
    return status;
}

int receiver_command(const struct receiver *r, const char *path, const char *json)
{
    struct buf request = {0}, reply = {0};
    int result;

    result = buf_printf(&request,
                        "POST %s HTTP/1.0\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                        path, strlen(json), json);
    if (result == 0)
        result = exchange(r, request.data, request.len, &reply);
    if (result == 0)
        result = strip_head(&reply);
    buf_finish(&request);
    buf_finish(&reply);
    return result;
}

int receiver_get(const struct receiver *r, const char *path, struct buf *out)
{
    char request[256];
    int len =
        snprintf(request, sizeof request, "GET %s HTTP/1.0\r\nConnection: close\r\n\r\n", path);
    int result = exchange(r, request, (size_t)len, out);

    return result == 0 ? strip_head(out) : result;
}
