/*
 * The ring's side of the HTTP transport: who is handed to the thread, and what comes back from it.
 *
 * Requests lie in exactly one list at a time: submitted (or cancelled), then the thread's, then
 * finished. The thread touches a transport only under the lock or while it has a request of it, and
 * gives its requests back at the end of a pass; so a transport without requests is nobody's but
 * ours, and is freed without asking the thread.
 */
#include "ringtail/sink/http.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/macros.h"

#include "http_private.h"

/* ---- the client ---- */

/** Gives requests back. A callback may free its transport, and the last one the client too. */
static void deliver(void *ctx)
{
    struct http_client *client = ctx;
    struct list finished, *link;

    list_init(&finished);
    pthread_mutex_lock(&client->lock);
    list_splice(&finished, &client->finished);
    pthread_mutex_unlock(&client->lock);
    while ((link = list_pop(&finished))) {
        struct request *request = container_of(link, struct request, link);

        request->done(request);
    }
}

int http_client_create(struct ring *ring, struct http_client **ret)
{
    struct http_client *client = calloc(1, sizeof *client);

    if (!client)
        return -ENOMEM;
    client->ring = ring;
    list_init(&client->news);
    list_init(&client->finished);
    list_init(&client->busy);
    list_init(&client->done);
    /* Fails only for attributes, and there are none. */
    (void)pthread_mutex_init(&client->lock, NULL);
    client->waker = (struct ring_waker){.fn = deliver, .ctx = client};
    ring_add_waker(ring, &client->waker);
    *ret = client;
    return 0;
}

/** Signals are for the threads that were there before; a SIGPIPE of TLS would end the process. */
static int start_thread(struct http_client *client)
{
    sigset_t all, before;
    int r;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&client->thread, NULL, http_worker_run, client);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r == 0)
        (void)pthread_setname_np(client->thread, "ringtail-http");
    return -r;
}

static int start(struct http_client *client, char *why, size_t why_size)
{
    int r;

    if (client->running)
        return 0;
    r = curl_calls_load(&client->curl, why, why_size);
    if (r < 0)
        return r;
    if (client->curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        (void)snprintf(why, why_size, "libcurl does not start (curl_global_init)");
        return -ENOMEM;
    }
    client->multi = client->curl.multi_init();
    r = client->multi ? start_thread(client) : -ENOMEM;
    if (r < 0) {
        (void)snprintf(why, why_size, "no thread for HTTP sinks: %s", strerror(-r));
        if (client->multi)
            (void)client->curl.multi_cleanup(client->multi);
        client->multi = NULL;
        client->curl.global_cleanup();
        return r;
    }
    client->running = true;
    return 0;
}

/** The thread looks at its news once it is awake; a wake-up that fails costs it a second. */
static void wake(struct http_client *client)
{
    (void)client->curl.multi_wakeup(client->multi);
}

static void stop(struct http_client *client)
{
    pthread_mutex_lock(&client->lock);
    client->stop = true;
    pthread_mutex_unlock(&client->lock);
    wake(client);
    (void)pthread_join(client->thread, NULL);
    (void)client->curl.multi_cleanup(client->multi);
    client->curl.global_cleanup();
}

struct http_client *http_client_destroy(struct http_client *client)
{
    if (!client)
        return NULL;
    assert(client->transports_count == 0);
    if (client->running)
        stop(client);
    ring_remove_waker(&client->waker);
    buf_finish(&client->encoded);
    (void)pthread_mutex_destroy(&client->lock);
    free(client);
    return NULL;
}

/* ---- transports ---- */

static struct http_transport *http_transport_of(struct transport *t)
{
    return container_of(t, struct http_transport, transport);
}

/** Under the lock. */
static void add_news(struct http_transport *t)
{
    if (!list_is_linked(&t->news_link))
        list_append(&t->client->news, &t->news_link);
}

static void http_transport_start(struct transport *transport, struct request *request)
{
    struct http_transport *t = http_transport_of(transport);

    assert(request->count > 0);
    request->error = 0;
    request->status = 0;
    request->message[0] = '\0';
    request->body_bytes = request->wire_bytes = 0;
    request->duration_ns = 0;
    pthread_mutex_lock(&t->client->lock);
    list_append(&t->submitted, &request->link);
    add_news(t);
    pthread_mutex_unlock(&t->client->lock);
    wake(t->client);
}

static void http_transport_cancel(struct transport *transport)
{
    struct http_transport *t = http_transport_of(transport);

    pthread_mutex_lock(&t->client->lock);
    list_splice(&t->cancelled, &t->submitted);
    t->cancel = true;
    add_news(t);
    pthread_mutex_unlock(&t->client->lock);
    wake(t->client);
}

static struct transport *http_transport_destroy(struct transport *transport)
{
    struct http_transport *t = http_transport_of(transport);

    pthread_mutex_lock(&t->client->lock);
    assert(list_is_empty(&t->submitted) && list_is_empty(&t->cancelled));
    list_remove(&t->news_link);
    pthread_mutex_unlock(&t->client->lock);
    assert(list_is_empty(&t->waiting) && t->busy_count == 0);
    for (size_t i = 0; i < t->slots_count; i++)
        http_slot_finish(&t->slots[i]);
    free(t->slots);
    http_settings_finish(&t->settings);
    (void)codec_destroy(t->codec);
    t->client->transports_count--;
    free(t);
    return NULL;
}

/* By enum codec_kind. */
#define HTTP_TRANSPORT_OPS(name)                                                                   \
    {                                                                                              \
        .kind = name, .start = http_transport_start, .cancel = http_transport_cancel,              \
        .destroy = http_transport_destroy,                                                         \
    }
static const struct transport_ops http_transport_ops[] = {
    [CODEC_NDJSON] = HTTP_TRANSPORT_OPS("http"),
    [CODEC_JSON_ARRAY] = HTTP_TRANSPORT_OPS("http"),
    [CODEC_TEXT] = HTTP_TRANSPORT_OPS("http"),
    [CODEC_LOKI] = HTTP_TRANSPORT_OPS("loki"),
    [CODEC_ELASTIC] = HTTP_TRANSPORT_OPS("elasticsearch"),
    [CODEC_OTLP_JSON] = HTTP_TRANSPORT_OPS("otlp"),
    [CODEC_OTLP_PROTOBUF] = HTTP_TRANSPORT_OPS("otlp"),
    [CODEC_SPLUNK] = HTTP_TRANSPORT_OPS("splunk"),
};

static int init(struct http_transport *t, const struct http_transport_options *options, char *why,
                size_t why_size)
{
    int r;

    r = codec_create(options->codec, &t->codec, why, why_size);
    if (r < 0)
        return r;
    r = http_settings_init(&t->settings, &t->client->curl, options, t->codec, why, why_size);
    if (r < 0)
        return r;
    t->slots = calloc(options->connections_max, sizeof *t->slots);
    if (!t->slots)
        return -ENOMEM;
    t->slots_count = options->connections_max;
    for (size_t i = 0; i < t->slots_count; i++) {
        t->slots[i].transport = t;
        list_append(&t->idle, &t->slots[i].link);
    }
    /* What this libcurl does not have shows here, and not with the first request. */
    return http_slot_open(&t->slots[0], why, why_size);
}

int http_transport_create(struct http_client *client, const struct http_transport_options *options,
                          struct transport **ret, char *why, size_t why_size)
{
    struct http_transport *t;
    int r;

    if (why_size > 0)
        why[0] = '\0';
    r = start(client, why, why_size);
    if (r < 0)
        return r;
    t = calloc(1, sizeof *t);
    if (t) {
        t->transport.ops = &http_transport_ops[options->codec->kind];
        t->client = client;
        list_init(&t->news_link);
        list_init(&t->submitted);
        list_init(&t->cancelled);
        list_init(&t->waiting);
        list_init(&t->idle);
        client->transports_count++;
        r = init(t, options, why, why_size);
    } else {
        r = -ENOMEM;
    }
    if (r < 0) {
        if (t)
            (void)http_transport_destroy(&t->transport);
        if (r == -ENOMEM && why_size > 0 && why[0] == '\0')
            (void)snprintf(why, why_size, "out of memory");
        return r;
    }
    *ret = &t->transport;
    return 0;
}

void http_transport_stats(const struct transport *transport, struct http_transport_stats *ret)
{
    const struct http_transport *t =
        container_of((struct transport *)(uintptr_t)transport, struct http_transport, transport);

    ret->requests = atomic_load_explicit(&t->requests, memory_order_relaxed);
    ret->connections = atomic_load_explicit(&t->connections, memory_order_relaxed);
    ret->labels_replaced = atomic_load_explicit(&t->labels_replaced, memory_order_relaxed);
}
