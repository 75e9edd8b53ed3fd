/*
 * src/control/admin.h. Owns the listening socket (through libmicrohttpd), its thread, and the pages
 * made last.
 *
 * Two threads meet here, in what is under `lock`: the admin thread says what it wants, the ring's
 * leaves an answer. Neither holds the lock for longer than it takes to move pointers. The pages are
 * the admin thread's alone.
 */
#include "admin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"

#define ANSWER_TIMEOUT_MS 2000
#define LIVENESS_MS 10000
#define FRESH_NS (100 * NSEC_PER_MSEC)
#define BACKLOG 64
/* Of a connection: request head and reply head. Bodies are shared and not counted here. */
#define CONNECTION_BYTES (16u << 10)
#define STACK_BYTES (256u << 10)

#define TYPE_JSON "application/json"
#define TYPE_PLAIN "text/plain; charset=utf-8"

enum page_id { PAGE_METRICS, PAGE_HEALTH, PAGE_READY, PAGE_STREAMS, PAGE_STREAMS_TEXT, PAGE_COUNT };

static const struct {
    const char *path; /* NULL: reached through the one before */
    const char *type;
} page_kinds[PAGE_COUNT] = {
    [PAGE_METRICS] = {"/metrics", "text/plain; version=0.0.4; charset=utf-8"},
    [PAGE_HEALTH] = {"/health", TYPE_PLAIN},
    [PAGE_READY] = {"/ready", TYPE_JSON},
    [PAGE_STREAMS] = {"/debug/streams", TYPE_JSON},
    [PAGE_STREAMS_TEXT] = {NULL, TYPE_PLAIN},
};

/* What the ring's thread leaves. All zero: nothing. */
struct answer {
    int64_t at_mono_ns;
    int error;
    bool ready;
    struct metrics_snapshot *snapshot; /* PAGE_METRICS */
    struct buf body;                   /* the others */
};

/* What was sent last, and is sent again while it is fresh. */
struct page {
    struct MHD_Response *response;
    unsigned status;
    int64_t at_mono_ns;
};

struct admin {
    struct admin_callbacks callbacks;
    struct metrics *metrics;
    int64_t answer_timeout_ns, liveness_ns;
    struct MHD_Daemon *daemon;
    uint16_t port;

    atomic_uint wanted; /* bits by page; written under the lock */
    pthread_mutex_t lock;
    pthread_cond_t answered;
    struct answer answers[PAGE_COUNT];
    int64_t asked_at_mono_ns; /* the oldest wish that has no answer; 0: there is none */
    bool closing;

    struct page pages[PAGE_COUNT];
};

/* ---- the ring's thread ---- */

static void answer_finish(struct answer *a)
{
    metrics_snapshot_destroy(a->snapshot);
    buf_finish(&a->body);
    *a = (struct answer){0};
}

static struct answer answer_make(struct admin *a, enum page_id id)
{
    const struct admin_callbacks *c = &a->callbacks;
    struct answer answer = {.at_mono_ns = clock_mono_ns()};

    switch (id) {
    case PAGE_METRICS:
        c->fill_metrics(c->ctx, a->metrics);
        answer.snapshot = metrics_snapshot(a->metrics, answer.at_mono_ns);
        answer.error = answer.snapshot ? 0 : -ENOMEM;
        break;
    case PAGE_READY:
        answer.ready = c->ready(c->ctx, &answer.body);
        break;
    case PAGE_STREAMS:
    case PAGE_STREAMS_TEXT:
        answer.error = c->streams(c->ctx, &answer.body, id == PAGE_STREAMS_TEXT);
        break;
    case PAGE_HEALTH: /* that there is an answer is the answer */
    case PAGE_COUNT:
        break;
    }
    return answer;
}

void admin_serve(struct admin *a)
{
    unsigned wanted = atomic_exchange_explicit(&a->wanted, 0, memory_order_acquire);
    struct answer made[PAGE_COUNT] = {0};

    if (wanted == 0)
        return;
    for (enum page_id id = 0; id < PAGE_COUNT; id++) {
        if (wanted & BIT(id))
            made[id] = answer_make(a, id);
    }
    pthread_mutex_lock(&a->lock);
    for (enum page_id id = 0; id < PAGE_COUNT; id++) {
        struct answer old = a->answers[id];

        if (!(wanted & BIT(id)))
            continue;
        a->answers[id] = made[id];
        made[id] = old;
    }
    /* What was wished for meanwhile has to wait for the next call. */
    a->asked_at_mono_ns = atomic_load(&a->wanted) != 0 ? clock_mono_ns() : 0;
    pthread_cond_broadcast(&a->answered);
    pthread_mutex_unlock(&a->lock);
    for (enum page_id id = 0; id < PAGE_COUNT; id++)
        answer_finish(&made[id]);
}

/* ---- asking the ring ---- */

static void ask(struct admin *a, enum page_id id)
{
    unsigned before;

    pthread_mutex_lock(&a->lock);
    if (a->asked_at_mono_ns == 0)
        a->asked_at_mono_ns = clock_mono_ns();
    before = atomic_fetch_or(&a->wanted, BIT(id));
    pthread_mutex_unlock(&a->lock);
    if (!(before & BIT(id)))
        a->callbacks.wake(a->callbacks.ctx);
}

static struct timespec timespec_of(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / NSEC_PER_SEC, .tv_nsec = ns % NSEC_PER_SEC};
}

/* The answer to a question asked just now, or one as fresh. Who finds the ring late does not wait
 * again, so a ring that hangs costs the admin thread one timeout. */
static int await(struct admin *a, enum page_id id, struct answer *ret)
{
    int64_t fresh_from = clock_mono_ns() - FRESH_NS;
    int r = 0;

    ask(a, id);
    pthread_mutex_lock(&a->lock);
    while (a->answers[id].at_mono_ns < fresh_from && r == 0) {
        struct timespec deadline = timespec_of(a->asked_at_mono_ns + a->answer_timeout_ns);

        r = a->closing ? -ECANCELED : -pthread_cond_timedwait(&a->answered, &a->lock, &deadline);
    }
    if (a->answers[id].at_mono_ns >= fresh_from) {
        *ret = a->answers[id];
        a->answers[id] = (struct answer){0};
        r = 0;
    }
    pthread_mutex_unlock(&a->lock);
    return r;
}

/* Not whether the ring answers this time, which would be a matter of waiting: whether it owes an
 * answer for long. */
static bool ring_is_alive(struct admin *a)
{
    int64_t asked_at, answered_at, now = clock_mono_ns();

    pthread_mutex_lock(&a->lock);
    asked_at = a->asked_at_mono_ns;
    answered_at = a->answers[PAGE_HEALTH].at_mono_ns;
    pthread_mutex_unlock(&a->lock);
    if (now - answered_at >= FRESH_NS)
        ask(a, PAGE_HEALTH);
    return asked_at == 0 || now - asked_at < a->liveness_ns;
}

/* ---- pages ---- */

static struct MHD_Response *response_of(char *body, size_t len, enum MHD_ResponseMemoryMode mode,
                                        const char *type)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(len, body, mode);

    if (!response)
        return NULL;
    if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) == MHD_NO ||
        MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") == MHD_NO) {
        MHD_destroy_response(response);
        return NULL;
    }
    return response;
}

/** Takes the bytes over. */
static struct MHD_Response *response_of_buf(struct buf *body, const char *type)
{
    struct MHD_Response *response = response_of(body->data, body->len, MHD_RESPMEM_MUST_FREE, type);

    if (response)
        *body = (struct buf){0};
    return response;
}

static int page_fill(struct page *page, enum page_id id, struct answer *answer)
{
    struct MHD_Response *response;
    int r = answer->error;

    if (r == 0 && answer->snapshot)
        r = metrics_render(answer->snapshot, &answer->body);
    if (r < 0)
        return r;
    response = response_of_buf(&answer->body, page_kinds[id].type);
    if (!response)
        return -ENOMEM;
    if (page->response)
        MHD_destroy_response(page->response); /* connections that still send it hold their own */
    *page = (struct page){
        .response = response,
        .status = id == PAGE_READY && !answer->ready ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK,
        .at_mono_ns = answer->at_mono_ns,
    };
    return 0;
}

static int page_refresh(struct admin *a, enum page_id id)
{
    struct page *page = &a->pages[id];
    struct answer answer;
    int r;

    if (page->response && clock_mono_ns() - page->at_mono_ns < FRESH_NS)
        return 0;
    r = await(a, id, &answer);
    if (r < 0)
        return r;
    r = page_fill(page, id, &answer);
    answer_finish(&answer);
    return r;
}

/* ---- HTTP ---- */

static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned status,
                                 const char *type, const char *text, const char *allow)
{
    struct MHD_Response *response =
        response_of((char *)text, strlen(text), MHD_RESPMEM_MUST_COPY, type);
    enum MHD_Result r = MHD_NO;

    if (!response)
        return MHD_NO;
    if (!allow || MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow) == MHD_YES)
        r = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return r;
}

static enum MHD_Result send_page(struct admin *a, struct MHD_Connection *connection,
                                 enum page_id id)
{
    int r = page_refresh(a, id);

    if (r == 0)
        return MHD_queue_response(connection, a->pages[id].status, a->pages[id].response);
    if (r == -ENOMEM)
        return send_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, TYPE_JSON,
                         "{\"error\":\"out of memory\"}\n", NULL);
    return send_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, TYPE_JSON,
                     id == PAGE_READY ? "{\"ready\":false,\"ring\":\"does not answer\"}\n"
                                      : "{\"error\":\"busy: the ring does not answer\"}\n",
                     NULL);
}

static enum MHD_Result send_health(struct admin *a, struct MHD_Connection *connection)
{
    if (ring_is_alive(a))
        return send_text(connection, MHD_HTTP_OK, TYPE_PLAIN, "OK", NULL);
    return send_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, TYPE_PLAIN,
                     "the ring does not answer", NULL);
}

static enum MHD_Result send_not_found(struct MHD_Connection *connection)
{
    char text[256];
    size_t len = (size_t)snprintf(text, sizeof text, "{\"error\":\"not found\",\"paths\":[");

    for (enum page_id id = 0; id < PAGE_COUNT; id++) {
        if (page_kinds[id].path)
            len += (size_t)snprintf(text + len, sizeof text - len, "%s\"%s\"", id > 0 ? "," : "",
                                    page_kinds[id].path);
    }
    (void)snprintf(text + len, sizeof text - len, "]}\n");
    return send_text(connection, MHD_HTTP_NOT_FOUND, TYPE_JSON, text, NULL);
}

static bool wants_text(struct MHD_Connection *connection)
{
    const char *format = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "format");
    const char *accept =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);

    if (format)
        return strcmp(format, "text") == 0;
    return accept && strstr(accept, "text/plain");
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_bytes, void **request)
{
    struct admin *a = ctx;

    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return send_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, TYPE_JSON,
                         "{\"error\":\"method not allowed\"}\n", "GET, HEAD");
    if (*request == NULL) {
        /* Only the head is here. Answering now would close the connection. */
        *request = a;
        return MHD_YES;
    }
    if (*upload_bytes > 0)
        return MHD_NO; /* a body, of any length, with a GET: closed */
    for (enum page_id id = 0; id < PAGE_COUNT; id++) {
        if (!page_kinds[id].path || strcmp(url, page_kinds[id].path) != 0)
            continue;
        if (id == PAGE_HEALTH)
            return send_health(a, connection);
        if (id == PAGE_STREAMS && wants_text(connection))
            return send_page(a, connection, PAGE_STREAMS_TEXT);
        return send_page(a, connection, id);
    }
    return send_not_found(connection);
}

static void on_message(void *ctx, const char *fmt, va_list ap)
{
    char text[256];
    int len = vsnprintf(text, sizeof text, fmt, ap);

    if (len <= 0)
        return;
    text[strcspn(text, "\n")] = '\0';
    log_debug("Admin connection", LOG_STR("reason", text));
}

/* ---- opening and closing ---- */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static int parse_address(const struct admin_options *o, union address *ret, socklen_t *ret_len)
{
    *ret = (union address){0};
    if (inet_pton(AF_INET, o->address, &ret->v4.sin_addr) == 1) {
        ret->v4.sin_family = AF_INET;
        ret->v4.sin_port = htons(o->port);
        *ret_len = sizeof ret->v4;
        return 0;
    }
    if (inet_pton(AF_INET6, o->address, &ret->v6.sin6_addr) == 1) {
        ret->v6.sin6_family = AF_INET6;
        ret->v6.sin6_port = htons(o->port);
        *ret_len = sizeof ret->v6;
        return 0;
    }
    return -EINVAL;
}

static int listen_on(const struct admin_options *o, uint16_t *ret_port)
{
    union address address;
    socklen_t len;
    int fd, on = 1, r = parse_address(o, &address, &len);

    if (r < 0)
        return r;
    fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    /* Connections of an earlier run that still time out are no reason not to start. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, &address.any, len) < 0 || listen(fd, BACKLOG) < 0 ||
        getsockname(fd, &address.any, &len) < 0) {
        r = -errno;
        (void)close(fd); /* nothing was sent through it */
        return r;
    }
    *ret_port =
        ntohs(address.any.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
    return fd;
}

static void explain(const struct admin_options *o, int error, char *why, size_t why_size)
{
    const char *reason = strerrordesc_np(-error);

    if (error == -EINVAL)
        reason = "it is no IPv4 or IPv6 address";
    else if (error == -EADDRINUSE)
        reason = "another program listens there";
    else if (error == -EACCES)
        reason = "ports below 1024 need the capability CAP_NET_BIND_SERVICE";
    else if (error == -EAGAIN)
        reason = "its thread can't be started";
    else if (error == -EADDRNOTAVAIL)
        reason = "this machine does not have the address";
    (void)snprintf(why, why_size, "can't listen on %s port %u: %s", o->address, o->port,
                   reason ? reason : "unknown error");
}

/* libmicrohttpd's thread takes no signals: they are for the ring's. MHD_USE_ITC: without a channel
 * to it, stopping it while it is at its connection limit takes as long as a connection's timeout.
 */
static struct MHD_Daemon *start_thread(struct admin *a, const struct admin_options *o, int fd)
{
    struct MHD_Daemon *daemon;
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request,
        a, MHD_OPTION_EXTERNAL_LOGGER, on_message, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, o->connections_max, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        o->connections_per_ip_max, MHD_OPTION_CONNECTION_TIMEOUT, o->timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES, MHD_OPTION_THREAD_STACK_SIZE,
        (size_t)STACK_BYTES, MHD_OPTION_END);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return daemon;
}

static struct admin *admin_create(const struct admin_options *o,
                                  const struct admin_callbacks *callbacks, struct metrics *metrics)
{
    struct admin *a = calloc(1, sizeof *a);
    pthread_condattr_t attributes;

    if (!a)
        return NULL;
    a->callbacks = *callbacks;
    a->metrics = metrics;
    a->answer_timeout_ns =
        (o->answer_timeout_ms > 0 ? o->answer_timeout_ms : ANSWER_TIMEOUT_MS) * NSEC_PER_MSEC;
    a->liveness_ns = (o->liveness_ms > 0 ? o->liveness_ms : LIVENESS_MS) * NSEC_PER_MSEC;
    pthread_mutex_init(&a->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&a->answered, &attributes);
    pthread_condattr_destroy(&attributes);
    return a;
}

int admin_open(const struct admin_options *options, const struct admin_callbacks *callbacks,
               struct metrics *metrics, struct admin **ret, char *why, size_t why_size)
{
    struct admin *a = admin_create(options, callbacks, metrics);
    int fd, r = -ENOMEM;

    if (a) {
        fd = listen_on(options, &a->port);
        r = fd;
    }
    if (r >= 0) {
        /* Where it fails decides whether it has closed the socket; we can't know. */
        a->daemon = start_thread(a, options, fd);
        r = a->daemon ? 0 : -EAGAIN;
    }
    if (r < 0) {
        explain(options, r, why, why_size);
        admin_close(a);
        return r;
    }
    *ret = a;
    return 0;
}

uint16_t admin_port(const struct admin *a)
{
    return a->port;
}

struct admin *admin_close(struct admin *a)
{
    if (!a)
        return NULL;
    /* The thread may be waiting for us. */
    pthread_mutex_lock(&a->lock);
    a->closing = true;
    pthread_cond_broadcast(&a->answered);
    pthread_mutex_unlock(&a->lock);
    if (a->daemon)
        MHD_stop_daemon(a->daemon);
    for (enum page_id id = 0; id < PAGE_COUNT; id++) {
        answer_finish(&a->answers[id]);
        if (a->pages[id].response)
            MHD_destroy_response(a->pages[id].response);
    }
    pthread_cond_destroy(&a->answered);
    pthread_mutex_destroy(&a->lock);
    free(a);
    return NULL;
}
