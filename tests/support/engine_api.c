/* Blocking sockets and stdio: the Engine's replies are read as their grammar is written. */
#include "support/engine_api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "ringtail/base/macros.h"
#include "ringtail/base/timestamp.h"

/* Longer than any single thing that an Engine is asked for here, also on a busy machine. */
#define REPLY_TIMEOUT_SEC 120
#define FRAME_HEAD_BYTES 8

struct reply {
    FILE *in;
    int status;
    bool chunked;
    long long length; /* -1: up to the end of the connection */
};

static void must(int r)
{
    if (r < 0)
        abort();
}

static int open_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval timeout = {.tv_sec = REPLY_TIMEOUT_SEC};
    int fd, r;

    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static int send_request(int fd, const char *method, const char *path, const char *json)
{
    struct buf request = {0};
    int r = 0;

    must(buf_printf(&request, "%s %s HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n", method,
                    path));
    if (json)
        must(buf_printf(&request, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                        strlen(json)));
    must(buf_printf(&request, "\r\n%s", json ? json : ""));
    for (size_t sent = 0; sent < request.len && r == 0;) {
        ssize_t n = send(fd, request.data + sent, request.len - sent, MSG_NOSIGNAL);

        if (n > 0)
            sent += (size_t)n;
        else if (errno != EINTR)
            r = -errno;
    }
    buf_finish(&request);
    return r;
}

/* What stdio has to say about a read that gave too little. */
static int short_read(FILE *in)
{
    return ferror(in) && errno != 0 ? -errno : -ECONNRESET;
}

static int read_head(struct reply *reply)
{
    char *line = NULL;
    size_t room = 0;
    int r = 0;

    reply->length = -1;
    if (getline(&line, &room, reply->in) < 0)
        r = short_read(reply->in);
    else if (sscanf(line, "HTTP/1.%*d %d", &reply->status) != 1)
        r = -EPROTO;
    while (r == 0) {
        if (getline(&line, &room, reply->in) < 0) {
            r = short_read(reply->in);
            break;
        }
        if (strcmp(line, "\r\n") == 0)
            break;
        if (strncasecmp(line, "Content-Length:", 15) == 0)
            reply->length = strtoll(line + 15, NULL, 10);
        if (strncasecmp(line, "Transfer-Encoding: chunked", 26) == 0)
            reply->chunked = true;
    }
    if (reply->status == 204 || reply->status == 304)
        reply->length = 0;
    free(line);
    return r;
}

static int read_bytes(struct reply *reply, size_t count, struct buf *into)
{
    errno = 0;
    must(buf_reserve(into, count));
    if (fread(into->data + into->len, 1, count, reply->in) != count)
        return short_read(reply->in);
    into->len += count;
    return 0;
}

/* Appends one chunk. 1 when there was one, 0 after the last. */
static int read_chunk(struct reply *reply, struct buf *into)
{
    char line[64], crlf[2];
    size_t count;
    int r;

    errno = 0;
    if (!fgets(line, sizeof line, reply->in))
        return short_read(reply->in);
    count = strtoul(line, NULL, 16);
    r = read_bytes(reply, count, into);
    if (r == 0 && fread(crlf, 1, 2, reply->in) != 2)
        r = short_read(reply->in);
    return r < 0 ? r : count > 0;
}

static int read_body(struct reply *reply, struct buf *into)
{
    int r;

    if (reply->chunked) {
        do
            r = read_chunk(reply, into);
        while (r > 0);
        return r;
    }
    if (reply->length >= 0)
        return read_bytes(reply, (size_t)reply->length, into);
    do
        r = read_bytes(reply, 1, into);
    while (r == 0);
    return feof(reply->in) ? 0 : r;
}

/* On success the caller closes reply->in. */
static int exchange(const char *socket_path, const char *method, const char *path, const char *json,
                    struct reply *reply)
{
    int fd = open_socket(socket_path);
    int r;

    *reply = (struct reply){0};
    if (fd < 0)
        return fd;
    r = send_request(fd, method, path, json);
    if (r == 0) {
        reply->in = fdopen(fd, "r");
        r = reply->in ? read_head(reply) : -errno;
    }
    if (r < 0) {
        if (reply->in)
            fclose(reply->in);
        else
            close(fd);
    }
    return r;
}

int engine_api_request(const char *socket_path, const char *method, const char *path,
                       const char *json, struct buf *ret_body)
{
    struct reply reply;
    struct buf body = {0};
    int r = exchange(socket_path, method, path, json, &reply);

    if (r < 0)
        return r;
    r = read_body(&reply, &body);
    fclose(reply.in);
    if (r == 0 && ret_body)
        must(buf_append_slice(ret_body, buf_slice(&body)));
    buf_finish(&body);
    return r < 0 ? r : reply.status;
}

static int hand_on(struct slice payload, bool is_stderr, engine_record_fn *on_record, void *ctx)
{
    struct engine_record record = {.is_stderr = is_stderr};

    if (payload.len <= TIMESTAMP_LEN || payload.data[TIMESTAMP_LEN] != ' ' ||
        timestamp_parse(slice_of(payload.data, TIMESTAMP_LEN), &record.ts_ns) < 0)
        return -EBADMSG;
    record.bytes = slice_from(payload, TIMESTAMP_LEN + 1);
    return on_record(ctx, &record);
}

/* Takes the whole frames from the front of *bytes. */
static int take_frames(struct buf *bytes, engine_record_fn *on_record, void *ctx)
{
    size_t at = 0;
    int r = 0;

    while (r == 0 && bytes->len - at >= FRAME_HEAD_BYTES) {
        const unsigned char *head = (const unsigned char *)bytes->data + at;
        size_t len = (size_t)head[4] << 24 | (size_t)head[5] << 16 | (size_t)head[6] << 8 | head[7];

        if (head[0] != 1 && head[0] != 2)
            return -EBADMSG;
        if (bytes->len - at - FRAME_HEAD_BYTES < len)
            break;
        r = hand_on(slice_of(head + FRAME_HEAD_BYTES, len), head[0] == 2, on_record, ctx);
        at += FRAME_HEAD_BYTES + len;
    }
    buf_consume(bytes, at);
    return r;
}

int engine_api_logs(const char *socket_path, const char *id, const char *query, bool tty,
                    engine_record_fn *on_record, void *ctx)
{
    struct buf path = {0}, bytes = {0};
    struct reply reply;
    int r, more;

    must(buf_printf(&path, "/containers/%s/logs?stdout=1&stderr=1&timestamps=1%s%s", id,
                    query ? "&" : "", query ? query : ""));
    r = exchange(socket_path, "GET", buf_cstr(&path), NULL, &reply);
    buf_finish(&path);
    if (r < 0)
        return r;
    if (reply.status != 200 || !reply.chunked) {
        fclose(reply.in);
        return reply.status != 200 ? reply.status : -EPROTO;
    }
    do {
        more = r = read_chunk(&reply, &bytes);
        if (r > 0 && tty) {
            r = hand_on(buf_slice(&bytes), false, on_record, ctx);
            buf_reset(&bytes);
        } else if (r > 0) {
            r = take_frames(&bytes, on_record, ctx);
        }
    } while (more > 0 && r == 0);
    if (r == 0 && bytes.len > 0)
        r = -EBADMSG;
    fclose(reply.in);
    buf_finish(&bytes);
    return r == 0 ? 200 : r;
}
