/* See client.h. Parses what the simulated Engine sends, and nothing more general. */
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un address_of(struct sim *sim)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    assert_true(strlen(sim_socket_path(sim)) < sizeof address.sun_path);
    memcpy(address.sun_path, sim_socket_path(sim), strlen(sim_socket_path(sim)));
    return address;
}

void client_open(struct client *c, struct sim *sim)
{
    struct sockaddr_un address = address_of(sim);
    struct timeval patience = {.tv_sec = CLIENT_TIMEOUT_MS / 1000};

    *c = (struct client){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_true(c->fd >= 0);
    assert_int_equal(0, setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience));
    assert_int_equal(0, connect(c->fd, (struct sockaddr *)&address, sizeof address));
}

void client_close(struct client *c)
{
    close(c->fd);
    buf_finish(&c->in);
}

int client_try_connect(struct sim *sim)
{
    struct sockaddr_un address = address_of(sim);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r = connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ? errno : 0;

    close(fd);
    return r;
}

static void client_send_all(struct client *c, struct slice text)
{
    while (text.len) {
        ssize_t n = send(c->fd, text.data, text.len, MSG_NOSIGNAL);

        assert_true(n > 0);
        text = slice_from(text, (size_t)n);
    }
}

void client_send(struct client *c, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;

    va_start(ap, fmt);
    assert_int_equal(0, buf_vprintf(&text, fmt, ap));
    va_end(ap);
    client_send_all(c, buf_slice(&text));
    buf_finish(&text);
}

void client_get(struct client *c, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;

    assert_int_equal(0, buf_append_str(&text, "GET "));
    va_start(ap, fmt);
    assert_int_equal(0, buf_vprintf(&text, fmt, ap));
    va_end(ap);
    assert_int_equal(0, buf_append_str(&text, " HTTP/1.1\r\nHost: docker\r\n\r\n"));
    client_send_all(c, buf_slice(&text));
    buf_finish(&text);
}

/** More bytes into c->in. False at EOF or an error. */
static bool client_receive(struct client *c)
{
    ssize_t n;

    if (c->eof || c->error)
        return false;
    assert_int_equal(0, buf_reserve(&c->in, 65536));
    n = recv(c->fd, c->in.data + c->in.len, 65536, 0);
    if (n < 0) {
        c->error = errno;
        assert_int_not_equal(EAGAIN, c->error); /* the time is up */
        return false;
    }
    c->eof = n == 0;
    c->receives++;
    c->in.len += (size_t)n;
    return n > 0;
}

/** Bytes of c->in up to and with `end`; receives until they are there. 0 when they never come. */
static size_t client_until(struct client *c, const char *end)
{
    for (;;) {
        const char *found = c->in.len ? memmem(c->in.data, c->in.len, end, strlen(end)) : NULL;

        if (found)
            return (size_t)(found - c->in.data) + strlen(end);
        if (!client_receive(c))
            return 0;
    }
}

void client_read_head(struct client *c, struct reply *r)
{
    size_t len = client_until(c, "\r\n\r\n");
    const char *text;

    *r = (struct reply){.length = -1};
    assert_true(len > 0);
    assert_int_equal(0, buf_append(&r->head, c->in.data, len));
    buf_consume(&c->in, len);
    text = buf_cstr(&r->head);
    assert_int_equal(1, sscanf(text, "HTTP/1.%*d %d", &r->status));
    r->chunked = strstr(text, "\r\nTransfer-Encoding: chunked\r\n") != NULL;
    text = strstr(text, "\r\nContent-Length: ");
    if (text)
        r->length = atoll(text + strlen("\r\nContent-Length: "));
}

/** Moves up to `len` bytes into the reply, as they are and (if `data`) as body. False when it ended
 * before. */
static bool client_take(struct client *c, struct reply *r, size_t len, bool data)
{
    while (c->in.len < len && client_receive(c))
        continue;
    len = MIN(len, c->in.len) == len ? len : c->in.len;
    assert_int_equal(0, buf_append(&r->wire, c->in.data, len));
    if (data)
        assert_int_equal(0, buf_append(&r->body, c->in.data, len));
    buf_consume(&c->in, len);
    return !c->eof && !c->error;
}

bool client_read_chunk(struct client *c, struct reply *r)
{
    size_t len = client_until(c, "\r\n");
    unsigned long size;

    assert_true(r->chunked);
    if (len == 0) {
        (void)client_take(c, r, c->in.len, false);
        return false;
    }
    size = strtoul(c->in.data, NULL, 16);
    (void)client_take(c, r, len, false);
    if (size > 0) {
        size_t before = r->body.len;

        (void)client_take(c, r, size, true);
        if (r->body.len - before < size)
            return false;
        r->chunks = realloc(r->chunks, (r->chunks_count + 1) * sizeof *r->chunks);
        r->chunks[r->chunks_count++] = (uint32_t)size;
    }
    (void)client_take(c, r, 2, false);
    r->whole =
        size == 0 && r->wire.len >= 2 && memcmp(r->wire.data + r->wire.len - 2, "\r\n", 2) == 0;
    return size > 0;
}

void client_read_body(struct client *c, struct reply *r)
{
    if (r->chunked) {
        while (client_read_chunk(c, r))
            continue;
    } else if (r->length >= 0) {
        (void)client_take(c, r, (size_t)r->length, true);
        r->whole = (int64_t)r->body.len == r->length;
    } else {
        (void)client_take(c, r, SIZE_MAX, true);
    }
}

void client_read_to_eof(struct client *c, struct buf *out)
{
    while (client_receive(c))
        continue;
    assert_int_equal(0, buf_append(out, c->in.data, c->in.len));
    buf_reset(&c->in);
}

bool client_is_silent(struct client *c)
{
    char byte;

    return c->in.len == 0 && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

void fetch(struct sim *sim, struct reply *r, const char *fmt, ...)
{
    struct buf target = {0};
    struct client c;
    va_list ap;

    va_start(ap, fmt);
    assert_int_equal(0, buf_vprintf(&target, fmt, ap));
    va_end(ap);
    client_open(&c, sim);
    client_get(&c, "%s", buf_cstr(&target));
    client_read_head(&c, r);
    client_read_body(&c, r);
    client_close(&c);
    buf_finish(&target);
}

void reply_finish(struct reply *r)
{
    buf_finish(&r->head);
    buf_finish(&r->wire);
    buf_finish(&r->body);
    free(r->chunks);
    *r = (struct reply){0};
}

const char *reply_text(struct reply *r)
{
    return buf_cstr(&r->body);
}

bool reply_has_header(struct reply *r, const char *line)
{
    const char *at = strstr(buf_cstr(&r->head), line);

    return at && at[-1] == '\n' && at[strlen(line)] == '\r';
}

void frames_text(struct slice body, struct buf *out)
{
    while (body.len) {
        const unsigned char *head = (const unsigned char *)body.data;
        size_t len;

        assert_true(body.len >= 8 && head[0] >= 1 && head[0] <= 3);
        len = (size_t)head[4] << 24 | (size_t)head[5] << 16 | (size_t)head[6] << 8 | head[7];
        assert_true(body.len >= 8 + len);
        assert_int_equal(0, buf_append_str(out, head[0] == 1 ? "o:" : head[0] == 2 ? "e:" : "x:"));
        assert_int_equal(0, buf_append(out, body.data + 8, len));
        body = slice_from(body, 8 + len);
    }
    assert_non_null(buf_cstr(out));
}
