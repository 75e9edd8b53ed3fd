/*
 * io/http.h: one exchange, from socket to close.
 *
 * Owns its operations, its socket and its request. Never frees itself while an operation is in
 * flight: closing cancels, waits for each to land, closes the socket, tells the owner, and only
 * then frees.
 */
#include "ringtail/io/http.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"

enum http_state {
    HTTP_CONNECTING,
    HTTP_SENDING,
    HTTP_READING,
    HTTP_PAUSED,
    HTTP_CLOSING,
    HTTP_CLOSED,
    HTTP_STATE_COUNT,
};

static const uint8_t http_edges[HTTP_STATE_COUNT] = {
    [HTTP_CONNECTING] = BIT(HTTP_SENDING) | BIT(HTTP_CLOSING),
    [HTTP_SENDING] = BIT(HTTP_READING) | BIT(HTTP_CLOSING),
    [HTTP_READING] = BIT(HTTP_PAUSED) | BIT(HTTP_CLOSING),
    [HTTP_PAUSED] = BIT(HTTP_READING) | BIT(HTTP_CLOSING),
    [HTTP_CLOSING] = BIT(HTTP_CLOSED),
};

/** What is needed until the request is sent. */
struct http_opening {
    struct sockaddr_un addr;
    struct buf request;
    size_t sent;
};

struct http_exchange {
    struct ring *ring;
    const struct http_handlers *handlers;
    void *ctx;
    enum http_state state;
    int result; /* what on_closed will be told */
    int sock;   /* -1: none */
    bool pause_wanted;
    bool receiving; /* inside http_recv_done, which arms the next receive itself */

    struct op sock_op; /* socket, connect, send, close: one after the other */
    struct op recv_op;
    struct op timer_op;

    struct http_opening *opening; /* NULL: sent, so an idle stream does not hold it */
    int64_t idle_timeout_ms, head_timeout_ms, deadline_ms, opened_at_mono_ns;
    uint64_t bytes_received;
    struct http_reader reader;
};

static struct http_opening *opening_destroy(struct http_opening *o)
{
    if (o)
        buf_finish(&o->request);
    free(o);
    return NULL;
}

static void http_enter(struct http_exchange *x, enum http_state next)
{
    assert(http_edges[x->state] & BIT(next));
    x->state = next;
}

/* The last step of closing, taken by whichever operation lands last. */
static void http_try_close(struct http_exchange *x)
{
    if (op_in_flight(&x->sock_op) || op_in_flight(&x->recv_op) || op_in_flight(&x->timer_op))
        return;
    if (x->sock >= 0) {
        int sock = x->sock;

        x->sock = -1;
        ring_close_socket(x->ring, &x->sock_op, sock);
        return;
    }
    http_enter(x, HTTP_CLOSED);
    x->handlers->on_closed(x->ctx, x->result);
    x->opening = opening_destroy(x->opening);
    free(x);
}

static void http_begin_close(struct http_exchange *x, int result)
{
    if (x->state == HTTP_CLOSING)
        return;
    http_enter(x, HTTP_CLOSING);
    x->result = result;
    http_reader_stop(&x->reader);
    ring_cancel(x->ring, &x->sock_op);
    ring_cancel(x->ring, &x->recv_op);
    ring_cancel(x->ring, &x->timer_op);
}

/* From a completion: also closes when nothing was left to wait for. */
static void http_end(struct http_exchange *x, int result)
{
    http_begin_close(x, result);
    http_try_close(x);
}

static void http_send(struct http_exchange *x)
{
    struct http_opening *o = x->opening;

    ring_send(x->ring, &x->sock_op, x->sock, slice_from(buf_slice(&o->request), o->sent),
              x->idle_timeout_ms);
}

static void http_sent(struct http_exchange *x, int res)
{
    struct http_opening *o = x->opening;

    if (res == -ETIME) {
        http_send(x); /* the head's timeout bounds this */
        return;
    }
    if (res < 0) {
        /* A send and a receive have different words for a peer that is gone. */
        http_end(x, res == -EPIPE ? -ECONNRESET : res);
        return;
    }
    o->sent += (size_t)res;
    if (o->sent < o->request.len) {
        http_send(x);
        return;
    }
    x->opening = opening_destroy(o);
    http_enter(x, HTTP_READING);
    if (x->pause_wanted)
        http_enter(x, HTTP_PAUSED);
    else
        ring_recv(x->ring, &x->recv_op, x->sock, x->idle_timeout_ms);
}

static void http_sock_done(struct op *op, int res)
{
    struct http_exchange *x = container_of(op, struct http_exchange, sock_op);

    switch (x->state) {
    case HTTP_CONNECTING:
        if (res < 0) {
            http_end(x, res);
        } else if (x->sock < 0) {
            x->sock = res;
            ring_connect(x->ring, op, x->sock, &x->opening->addr);
        } else {
            http_enter(x, HTTP_SENDING);
            http_send(x);
        }
        break;
    case HTTP_SENDING:
        http_sent(x, res);
        break;
    case HTTP_CLOSING:
        if (op->kind == OP_SOCKET && res >= 0)
            x->sock = res;
        http_try_close(x);
        break;
    case HTTP_READING:
    case HTTP_PAUSED:
    case HTTP_CLOSED:
    case HTTP_STATE_COUNT:
        assert(false); /* the socket operation is idle in these */
    }
}

static void http_recv_done(struct op *op, int res)
{
    struct http_exchange *x = container_of(op, struct http_exchange, recv_op);
    int r = res;

    x->receiving = true;
    if (res > 0 && x->state != HTTP_CLOSING) {
        x->bytes_received += (uint64_t)res;
        r = http_reader_feed(&x->reader, op->received);
        if (r == 0)
            r = http_reader_is_complete(&x->reader) ? 0 : 1;
    } else if (res == 0 && x->state != HTTP_CLOSING) {
        r = http_reader_finish(&x->reader);
    }

    switch (x->state) {
    case HTTP_READING:
    case HTTP_PAUSED:
        /* An expired receive is no error, and only a pause cancels one without closing. */
        if (res == -ETIME || res == -ECANCELED || res == -EINTR)
            r = 1;
        if (res == -ETIME && x->handlers->on_idle)
            x->handlers->on_idle(x->ctx);
        x->receiving = false;
        if (x->state == HTTP_CLOSING)
            http_try_close(x); /* on_idle closed it */
        else if (r <= 0)
            http_end(x, r);
        else if (x->state == HTTP_READING)
            ring_recv(x->ring, op, x->sock, x->idle_timeout_ms);
        break;
    case HTTP_CLOSING:
        http_try_close(x);
        break;
    case HTTP_CONNECTING:
    case HTTP_SENDING:
    case HTTP_CLOSED:
    case HTTP_STATE_COUNT:
        assert(false); /* none of these arms a receive */
    }
}

static void http_timer_done(struct op *op, int res)
{
    struct http_exchange *x = container_of(op, struct http_exchange, timer_op);
    int64_t used_ms;

    if (x->state == HTTP_CLOSING) {
        http_try_close(x);
        return;
    }
    used_ms = (clock_mono_ns() - x->opened_at_mono_ns) / NSEC_PER_MSEC;
    /* The head is complete, if only just in time: the deadline is left to watch. */
    if (res == -ECANCELED || (res == -ETIME && x->reader.head_complete &&
                              (x->deadline_ms <= 0 || used_ms < x->deadline_ms))) {
        if (x->deadline_ms > 0)
            ring_timer(x->ring, op, MAX(x->deadline_ms - used_ms, 1));
        return;
    }
    http_end(x, res == -ETIME ? -ETIMEDOUT : res);
}

static int http_on_head(void *ctx, const struct http_head *head)
{
    struct http_exchange *x = ctx;

    if (x->head_timeout_ms > 0)
        ring_cancel(x->ring, &x->timer_op);
    return x->handlers->reply.on_head(x->ctx, head);
}

static int http_on_body(void *ctx, struct slice span, unsigned flags)
{
    struct http_exchange *x = ctx;

    return x->handlers->reply.on_body(x->ctx, span, flags);
}

static const struct http_reader_handlers http_reply_handlers = {
    .on_head = http_on_head,
    .on_body = http_on_body,
};

int http_open(struct ring *ring, const struct http_options *options, struct buf *request,
              const struct http_handlers *handlers, void *ctx, struct http_exchange **ret)
{
    struct http_exchange *x = calloc(1, sizeof *x);
    struct http_opening *opening = calloc(1, sizeof *opening);
    struct buf taken = *request;
    size_t path_len = strlen(options->path);
    int64_t first_ms = options->head_timeout_ms;

    *request = (struct buf){0};
    if (!x || !opening || path_len >= sizeof opening->addr.sun_path) {
        int r = x && opening ? -ENAMETOOLONG : -ENOMEM;

        buf_finish(&taken);
        free(opening);
        free(x);
        return r;
    }
    x->ring = ring;
    x->handlers = handlers;
    x->ctx = ctx;
    x->sock = -1;
    x->opening = opening;
    opening->request = taken;
    x->idle_timeout_ms = options->idle_timeout_ms;
    x->head_timeout_ms = options->head_timeout_ms;
    x->deadline_ms = options->deadline_ms;
    x->opened_at_mono_ns = clock_mono_ns();
    opening->addr.sun_family = AF_UNIX;
    memcpy(opening->addr.sun_path, options->path, path_len + 1);
    x->sock_op.done = http_sock_done;
    x->recv_op.done = http_recv_done;
    x->timer_op.done = http_timer_done;
    http_reader_init(&x->reader, &http_reply_handlers, x, options->head_bytes_max,
                     options->want_chunks);

    if (first_ms <= 0 || (options->deadline_ms > 0 && options->deadline_ms < first_ms))
        first_ms = options->deadline_ms;
    if (first_ms > 0)
        ring_timer(ring, &x->timer_op, first_ms);
    ring_socket(ring, &x->sock_op);
    *ret = x;
    return 0;
}

void http_close(struct http_exchange *x)
{
    http_end(x, -ECANCELED);
}

void http_pause(struct http_exchange *x)
{
    x->pause_wanted = true;
    if (x->state == HTTP_READING) {
        http_enter(x, HTTP_PAUSED);
        ring_cancel(x->ring, &x->recv_op);
    }
}

void http_resume(struct http_exchange *x)
{
    x->pause_wanted = false;
    if (x->state == HTTP_PAUSED) {
        http_enter(x, HTTP_READING);
        /* A receive that the pause cancelled and that has not landed yet is armed again when it
         * does. */
        if (!op_in_flight(&x->recv_op) && !x->receiving)
            ring_recv(x->ring, &x->recv_op, x->sock, x->idle_timeout_ms);
    }
}

uint64_t http_bytes_received(const struct http_exchange *x)
{
    return x->bytes_received;
}

int64_t http_waiting_since(const struct http_exchange *x)
{
    return op_in_flight(&x->recv_op) ? x->recv_op.started_at_mono_ns : 0;
}

const char *http_state_name(const struct http_exchange *x)
{
    static const char *const names[HTTP_STATE_COUNT] = {
        [HTTP_CONNECTING] = "connecting", [HTTP_SENDING] = "sending", [HTTP_READING] = "reading",
        [HTTP_PAUSED] = "paused",         [HTTP_CLOSING] = "closing", [HTTP_CLOSED] = "closed",
    };

    return names[x->state];
}
