/* The HTTP transport: what its parts share (http.c the ring's side, http_worker.c the thread,
 * http_settings.c the options). */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/list.h"
#include "ringtail/sink/http.h"

#include "http_curl.h"
#include "ringtail/sink/transport.h"

/** The options, checked, and in the form in which libcurl takes them. Nothing changes later. */
struct http_settings {
    char *url;
    char *connect_to; /* libcurl's CURLOPT_CONNECT_TO: the address behind tls.server_name */
    char *proxy;
    char *ca_file, *ca_path, *cert_file, *key_file, *key_password;
    /** Nodes in one array, linked in its order. */
    struct curl_slist *headers;
    size_t headers_count;
    struct curl_slist connect_to_node;
    enum compression compression;
    int compression_level;
    long timeout_ms, connect_timeout_ms;
    enum http_version_policy version;
    bool unverified;
};

/**
 * `codec` is the transport's own. returns: 0; -EINVAL or -ENOMEM with the reason in `why`. Nothing
 * is left to free then.
 */
int http_settings_init(struct http_settings *s, const struct curl_calls *curl,
                       const struct http_transport_options *options, const struct codec *codec,
                       char *why, size_t why_size);

/** Overwrites and frees. */
void http_settings_finish(struct http_settings *s);

struct http_transport;

/** One request at a time with the receiver, and what is used again for the next. */
struct http_slot {
    struct list link; /* in its transport's `idle`, or in its client's `busy` */
    struct http_transport *transport;
    CURL *easy; /* NULL: to be made */
    struct request *request;
    struct buf body;
    struct buf reply;
    size_t reply_max;
    size_t reply_dropped; /* bytes of the reply behind those */
    bool reply_cut;       /* its end was not waited for */
    bool head_complete;   /* of the final reply */
    int reply_error;      /* why a byte of it could not be kept */
    char retry_after[64];
    size_t retry_after_len;
    int64_t started_at_mono_ns;
    char error[CURL_ERROR_SIZE];
};

struct http_transport {
    struct transport transport;
    struct http_client *client;
    struct http_settings settings; /* constant */

    /* Under the client's lock. */
    struct list news_link; /* in the client's `news` while there is something to tell the thread */
    struct list submitted; /* requests, in order */
    struct list cancelled; /* those submitted before a cancel that the thread has yet to see */
    bool cancel;

    /* The thread's, while it has a request of ours; the ring's thread makes and frees them. */
    struct codec *codec;
    int64_t forget_at_mono_ns;
    int64_t http_2_at_mono_ns; /* HTTP/1.1 until then */
    struct list waiting;       /* requests, in order */
    struct list idle;          /* slots */
    size_t busy_count;         /* of slots */
    struct http_slot *slots;
    size_t slots_count;

    atomic_uint_fast64_t requests, connections, labels_replaced;
};

struct http_client {
    struct ring *ring;
    struct ring_waker waker;
    size_t transports_count;

    /* From the first transport on. */
    bool running;
    struct curl_calls curl;
    CURLM *multi;
    pthread_t thread;

    pthread_mutex_t lock;
    /* Under the lock. */
    struct list news;     /* transports */
    struct list finished; /* requests */
    bool stop;

    /* The thread's. */
    struct list busy; /* slots */
    struct list done; /* requests that `finished` gets at the end of the pass */
    struct buf encoded;
};

/** The thread. `arg` is the client; ends once `stop` is set. */
void *http_worker_run(void *arg);

/**
 * Makes the slot's handle and tells it all that is the same for every request. returns: 0; -ENOMEM,
 * or -EINVAL for what this libcurl does not have, with the reason in `why`.
 */
int http_slot_open(struct http_slot *slot, char *why, size_t why_size);

/** Frees what it has; nothing may be in flight. */
void http_slot_finish(struct http_slot *slot);
