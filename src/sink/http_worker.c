/*
 * The thread of the HTTP transports. A pass: news from the ring's thread, libcurl's work, replies
 * judged and given back; then it waits in curl_multi_poll, for sockets, timers, or a wake-up.
 *
 * A slot is one request with the receiver: its handle, its bodies. Handles are kept, with what is
 * the same for all requests already set, and thrown away when libcurl has refused something that
 * cannot fail, so that no request meets a handle in an unknown state.
 *
 * Nothing is accepted without a whole reply: when a transfer fails after a status of 2xx, the
 * request has failed. Two kinds of replies are judged without their end: refusals, whose status
 * says enough, and what is longer than any that its codec has a use for.
 *
 * A request on a kept connection that ends without a byte of reply libcurl sends once more, on a
 * new connection: most times the receiver has closed an idle one just then. So a receiver may see a
 * request twice that we have sent once.
 *
 * What a receiver answers by HTTP/2 before it has read the request to its end, a refusal mostly,
 * libcurl 7.88 may lose when it resets the stream then, and say only that the stream is broken. So
 * after such an error requests go by HTTP/1.1 for a while, where the answer is seen.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/json.h"
#include "ringtail/base/macros.h"

#include "http_private.h"

/* How long a wake-up that failed may go unseen. */
#define POLL_MS 1000
/* When waiting itself fails: so that the thread does not turn without a pause. */
#define POLL_FAILED_NS (10 * NSEC_PER_MSEC)
#define FORGET_LABELS_NS (3600 * NSEC_PER_SEC)
/* A reply's end beyond what is of use is read up to here, to keep the connection; then it is cut.
 */
#define REPLY_DROPPED_MAX ((size_t)256 * 1024)
/* Buffers that have grown beyond are given back, so that a rare large request is not kept for. */
#define BUFFER_KEPT_MAX ((size_t)256 * 1024)
#define KEEPALIVE_S 60L
/* HTTP/1.1 after HTTP/2 has failed. */
#define HTTP_2_AVOIDED_NS (600 * NSEC_PER_SEC)
/* The authorities' file is read again after this long; libcurl's own default is a day. */
#define CA_CACHE_S 300L

/* Options that are younger than the oldest libcurl that will do. */
#if LIBCURL_VERSION_NUM >= 0x075700
#define HAVE_YOUNG_OPTIONS
#endif

/* ---- messages ---- */

static void set_message(struct request *request, const char *fmt, ...) RT_PRINTF(2, 3);

/** One line of UTF-8, whatever libcurl or a receiver has put into it. */
static void set_message(struct request *request, const char *fmt, ...)
{
    RT_CLEANUP(buf_finish) struct buf raw = {0};
    RT_CLEANUP(buf_finish) struct buf text = {0};
    size_t len;
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = buf_vprintf(&raw, fmt, ap);
    va_end(ap);
    request->message[0] = '\0';
    if (r < 0 || utf8_append(&text, buf_slice(&raw)) < 0)
        return;
    len = MIN(text.len, sizeof request->message - 1);
    if (len < text.len)
        while (len > 0 && ((unsigned char)text.data[len] & 0xc0) == 0x80)
            len--;
    for (size_t i = 0; i < len; i++)
        request->message[i] =
            (unsigned char)text.data[i] < ' ' || text.data[i] == 0x7f ? ' ' : text.data[i];
    request->message[len] = '\0';
}

/* ---- a slot's handle ---- */

static const struct curl_calls *curl_of(const struct http_slot *slot)
{
    return &slot->transport->client->curl;
}

/** Keeps what of the body is of use. */
static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
    struct http_slot *slot = ctx;
    size_t len = size * count;
    size_t kept = MIN(len, slot->reply_max - slot->reply.len);

    if (buf_append(&slot->reply, data, kept) < 0) {
        slot->reply_error = -ENOMEM;
        return 0;
    }
    slot->reply_dropped += len - kept;
    if (slot->reply_dropped > REPLY_DROPPED_MAX) {
        slot->reply_cut = true;
        return 0;
    }
    return len;
}

/** One line of the head: the status, or a header. */
static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
    static const char retry_after[] = "Retry-After:";
    struct http_slot *slot = ctx;
    struct slice line = slice_of(data, size * count);

    /* A head begins: the one before was a 1xx. */
    if (line.len >= 5 && memcmp(line.data, "HTTP/", 5) == 0) {
        slot->retry_after_len = 0;
        slot->head_complete = false;
    }
    if (line.len > 0 && (line.data[0] == '\r' || line.data[0] == '\n'))
        slot->head_complete = true;
    if (line.len > sizeof retry_after - 1 &&
        strncasecmp(line.data, retry_after, sizeof retry_after - 1) == 0) {
        struct slice value = slice_from(line, sizeof retry_after - 1);

        while (value.len > 0 && strchr(" \t\r\n", value.data[value.len - 1]))
            value.len--;
        while (value.len > 0 && strchr(" \t", value.data[0]))
            value = slice_from(value, 1);
        /* What is longer than any date says nothing. */
        slot->retry_after_len = value.len <= sizeof slot->retry_after ? value.len : 0;
        memcpy(slot->retry_after, value.data, slot->retry_after_len);
    }
    return line.len;
}

/** Options one after the other; the first that fails is remembered. */
struct setup {
    const struct curl_calls *curl;
    CURL *easy;
    CURLcode code;
    CURLoption option;
};

static void note(struct setup *s, CURLoption option, CURLcode code)
{
    if (s->code == CURLE_OK && code != CURLE_OK) {
        s->code = code;
        s->option = option;
    }
}

static void set_long(struct setup *s, CURLoption option, long value)
{
    note(s, option, s->curl->easy_setopt(s->easy, option, value));
}

/** What libcurl takes as a pointer: texts, lists, itself. NULL is left as it is. */
static void set_pointer(struct setup *s, CURLoption option, const void *value)
{
    if (value)
        note(s, option, s->curl->easy_setopt(s->easy, option, value));
}

#ifdef HAVE_YOUNG_OPTIONS
/** An older libcurl goes without it. */
static void set_long_if_known(struct setup *s, CURLoption option, long value)
{
    CURLcode code = s->curl->easy_setopt(s->easy, option, value);

    if (code != CURLE_UNKNOWN_OPTION && code != CURLE_NOT_BUILT_IN)
        note(s, option, code);
}
#endif

static void set_callbacks(struct setup *s, struct http_slot *slot)
{
    curl_write_callback body = on_body, header = on_header;

    note(s, CURLOPT_WRITEFUNCTION, s->curl->easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, body));
    note(s, CURLOPT_HEADERFUNCTION, s->curl->easy_setopt(s->easy, CURLOPT_HEADERFUNCTION, header));
    set_pointer(s, CURLOPT_WRITEDATA, slot);
    set_pointer(s, CURLOPT_HEADERDATA, slot);
    set_pointer(s, CURLOPT_ERRORBUFFER, slot->error);
}

static void set_connection(struct setup *s, const struct http_settings *settings)
{
    set_long(s, CURLOPT_NOSIGNAL, 1);
    set_long(s, CURLOPT_TIMEOUT_MS, settings->timeout_ms);
    set_long(s, CURLOPT_CONNECTTIMEOUT_MS, settings->connect_timeout_ms);
    set_long(s, CURLOPT_TCP_KEEPALIVE, 1);
    set_long(s, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_S);
    set_long(s, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_S);
    /* Empty ones: not even those of the environment. */
    set_pointer(s, CURLOPT_PROXY, settings->proxy ? settings->proxy : "");
    set_pointer(s, CURLOPT_NOPROXY, "");
    set_long(s, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1);
    if (settings->connect_to)
        set_pointer(s, CURLOPT_CONNECT_TO, &settings->connect_to_node);
#ifdef HAVE_YOUNG_OPTIONS
    /* A name that is being looked up when its request ends is left to its own thread; else ours,
     * and every sink with it, waits for a name server that is gone. */
    set_long_if_known(s, CURLOPT_QUICK_EXIT, 1);
#endif
}

static void set_tls(struct setup *s, const struct http_settings *settings)
{
    set_long(s, CURLOPT_SSL_VERIFYPEER, settings->unverified ? 0 : 1);
    set_long(s, CURLOPT_SSL_VERIFYHOST, settings->unverified ? 0 : 2);
    set_long(s, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
    /* One of the two does not leave the system's in place for the other. */
    if (settings->ca_file || settings->ca_path) {
        note(s, CURLOPT_CAINFO,
             s->curl->easy_setopt(s->easy, CURLOPT_CAINFO, (const char *)settings->ca_file));
        note(s, CURLOPT_CAPATH,
             s->curl->easy_setopt(s->easy, CURLOPT_CAPATH, (const char *)settings->ca_path));
    }
    set_pointer(s, CURLOPT_SSLCERT, settings->cert_file);
    set_pointer(s, CURLOPT_SSLKEY, settings->key_file);
    set_pointer(s, CURLOPT_KEYPASSWD, settings->key_password);
#ifdef HAVE_YOUNG_OPTIONS
    set_long_if_known(s, CURLOPT_CA_CACHE_TIMEOUT, CA_CACHE_S);
#endif
}

static void set_request(struct setup *s, const struct http_settings *settings)
{
    set_pointer(s, CURLOPT_URL, settings->url);
    set_long(s, CURLOPT_POST, 1);
    set_pointer(s, CURLOPT_HTTPHEADER, settings->headers);
    set_long(s, CURLOPT_HEADEROPT, CURLHEADER_SEPARATE);
    set_long(s, CURLOPT_FOLLOWLOCATION, 0);
    /* Whatever this libcurl can decode. */
    set_pointer(s, CURLOPT_ACCEPT_ENCODING, "");
}

int http_slot_open(struct http_slot *slot, char *why, size_t why_size)
{
    const struct http_settings *settings = &slot->transport->settings;
    struct setup s = {.curl = curl_of(slot), .code = CURLE_OK};

    s.easy = s.curl->easy_init();
    if (!s.easy) {
        (void)snprintf(why, why_size, "out of memory (curl_easy_init)");
        return -ENOMEM;
    }
    set_callbacks(&s, slot);
    set_connection(&s, settings);
    set_tls(&s, settings);
    set_request(&s, settings);
    if (s.code != CURLE_OK) {
        (void)snprintf(why, why_size, "this libcurl refuses its option %d: %s", (int)s.option,
                       s.curl->easy_strerror(s.code));
        s.curl->easy_cleanup(s.easy);
        return s.code == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
    }
    slot->easy = s.easy;
    return 0;
}

/** A handle that is not known to be as it should be. The next request gets another. */
static void close_slot(struct http_slot *slot)
{
    if (slot->easy)
        curl_of(slot)->easy_cleanup(slot->easy);
    slot->easy = NULL;
}

void http_slot_finish(struct http_slot *slot)
{
    close_slot(slot);
    buf_finish(&slot->body);
    buf_finish(&slot->reply);
}

static void trim(struct buf *b)
{
    if (b->cap > BUFFER_KEPT_MAX)
        buf_finish(b);
}

/* ---- the end of a request ---- */

static void finish_request(struct http_client *client, struct request *request)
{
    list_append(&client->done, &request->link);
}

static void fail_request(struct http_client *client, struct request *request, int error,
                         const char *message)
{
    request->error = error;
    set_message(request, "%s", message);
    finish_request(client, request);
}

/** Gives the slot's request back, and the slot. */
static void free_slot(struct http_slot *slot)
{
    struct http_transport *t = slot->transport;

    finish_request(t->client, slot->request);
    slot->request = NULL;
    trim(&slot->body);
    trim(&slot->reply);
    list_remove(&slot->link);
    list_append(&t->idle, &slot->link);
    t->busy_count--;
}

static void fail_slot(struct http_slot *slot, int error, const char *message)
{
    slot->request->error = error;
    set_message(slot->request, "%s", message);
    free_slot(slot);
}

/** Takes the handle out of libcurl's hands, and throws it away when that does not go. */
static void remove_handle(struct http_slot *slot)
{
    if (curl_of(slot)->multi_remove_handle(slot->transport->client->multi, slot->easy) != CURLM_OK)
        close_slot(slot);
}

/** What the system has said, if that is what was in the way. */
static int connect_error(const struct http_slot *slot)
{
    long os = 0;

    if (curl_of(slot)->easy_getinfo(slot->easy, CURLINFO_OS_ERRNO, &os) != CURLE_OK || os <= 0 ||
        os == EINPROGRESS)
        return -ECONNREFUSED;
    return -(int)os;
}

static int error_of(const struct http_slot *slot, CURLcode code)
{
    if (slot->reply_error < 0)
        return slot->reply_error;
    switch ((int)code) {
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return -EHOSTUNREACH;
    case CURLE_COULDNT_CONNECT:
        return connect_error(slot);
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return -ECONNRESET;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    default:
        return -EPROTO; /* TLS, the proxy, and what is not HTTP */
    }
}

static void judge(struct http_slot *slot)
{
    struct http_transport *t = slot->transport;
    struct request *request = slot->request;
    struct codec_reply reply = {
        .retry_after = slice_of(slot->retry_after, slot->retry_after_len),
        .body = buf_slice(&slot->reply),
        .now_ns = clock_wall_ns(),
    };
    long status = 0;

    if (curl_of(slot)->easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK) {
        request->error = -EIO;
        set_message(request, "the reply's status cannot be had from libcurl");
        return;
    }
    reply.status = (int)status;
    request->status = reply.status;
    request->error = codec_judge(t->codec, &reply, request->count, &request->judgement);
    if (request->error < 0)
        set_message(request, "%s", strerror(-request->error));
    else if (status >= 300 && status < 400)
        set_message(request, "HTTP status %ld: redirects are not followed", status);
    else if (status < 200 || status >= 400)
        set_message(request, "HTTP status %ld", status);
    else if (request->judgement.retry > 0)
        set_message(request, "HTTP status %ld, and not everything is taken", status);
}

/** Whether the receiver has said no, before whatever went wrong then: it may hang up on a body that
 * it does not want, and its reason may be cut, but not its status. */
static bool is_refusal(const struct http_slot *slot)
{
    long status = 0;

    return slot->head_complete && slot->reply_error == 0 &&
           curl_of(slot)->easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK &&
           status >= 300;
}

static void end_transfer(struct http_slot *slot, CURLcode code)
{
    struct http_transport *t = slot->transport;
    struct request *request = slot->request;
    long connections = 0;

    request->duration_ns = clock_mono_ns() - slot->started_at_mono_ns;
    if (code == CURLE_HTTP2 || code == CURLE_HTTP2_STREAM)
        t->http_2_at_mono_ns = clock_mono_ns() + HTTP_2_AVOIDED_NS;
    if (curl_of(slot)->easy_getinfo(slot->easy, CURLINFO_NUM_CONNECTS, &connections) == CURLE_OK)
        atomic_fetch_add_explicit(&t->connections, (uint64_t)MAX(connections, 0L),
                                  memory_order_relaxed);
    if (code == CURLE_OK || slot->reply_cut || is_refusal(slot)) {
        judge(slot);
    } else {
        request->error = error_of(slot, code);
        set_message(request, "%s",
                    slot->error[0] != '\0' ? slot->error : curl_of(slot)->easy_strerror(code));
    }
    remove_handle(slot);
    free_slot(slot);
}

/* ---- the beginning of a request ---- */

static int encode(struct http_slot *slot)
{
    struct http_transport *t = slot->transport;
    struct request *request = slot->request;
    struct http_client *client = t->client;
    enum compression compression = t->settings.compression;
    struct buf *encoded = compression == COMPRESSION_NONE ? &slot->body : &client->encoded;
    int64_t now_ns = clock_mono_ns();
    int r;

    if (now_ns >= t->forget_at_mono_ns) {
        codec_forget_labels(t->codec);
        t->forget_at_mono_ns = now_ns + FORGET_LABELS_NS;
    }
    r = codec_encode(t->codec, request->records, request->count, encoded);
    atomic_store_explicit(&t->labels_replaced, codec_labels_replaced(t->codec),
                          memory_order_relaxed);
    request->body_bytes = encoded->len;
    if (r == 0 && encoded != &slot->body)
        r = compress_buf(compression, t->settings.compression_level, buf_slice(encoded),
                         &slot->body);
    request->wire_bytes = slot->body.len;
    trim(&client->encoded);
    return r;
}

/** What differs from request to request. */
static int set_up(struct http_slot *slot)
{
    const struct http_transport *t = slot->transport;
    const struct curl_calls *curl = curl_of(slot);
    bool offered = t->settings.version == HTTP_VERSION_OFFERED &&
                   slot->started_at_mono_ns >= t->http_2_at_mono_ns;
    long version = offered ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1;
    CURLcode code = curl->easy_setopt(slot->easy, CURLOPT_HTTP_VERSION, version);
    curl_off_t len = (curl_off_t)slot->body.len;

    /* A libcurl without HTTP/2 says so, and goes on with what it has. */
    if (code != CURLE_OK && code != CURLE_UNSUPPORTED_PROTOCOL)
        return -EIO;
    if (curl->easy_setopt(slot->easy, CURLOPT_POSTFIELDSIZE_LARGE, len) != CURLE_OK ||
        curl->easy_setopt(slot->easy, CURLOPT_POSTFIELDS, (void *)slot->body.data) != CURLE_OK)
        return -EIO;
    return 0;
}

static void start_transfer(struct http_slot *slot)
{
    struct http_transport *t = slot->transport;
    char why[CURL_ERROR_SIZE] = "";
    int r = encode(slot);

    if (r < 0) {
        fail_slot(slot, r, strerror(-r));
        return;
    }
    if (!slot->easy) {
        r = http_slot_open(slot, why, sizeof why);
        if (r < 0) {
            fail_slot(slot, r, why);
            return;
        }
    }
    buf_reset(&slot->reply);
    slot->reply_max = codec_reply_max(t->codec, slot->request->count);
    slot->reply_dropped = 0;
    slot->reply_cut = false;
    slot->reply_error = 0;
    slot->head_complete = false;
    slot->retry_after_len = 0;
    slot->error[0] = '\0';
    slot->started_at_mono_ns = clock_mono_ns();
    if (set_up(slot) < 0 ||
        t->client->curl.multi_add_handle(t->client->multi, slot->easy) != CURLM_OK) {
        close_slot(slot);
        fail_slot(slot, -EIO, "libcurl takes no request");
        return;
    }
    atomic_fetch_add_explicit(&t->requests, 1, memory_order_relaxed);
}

/** As many of the waiting requests as there are slots for. */
static void start_waiting(struct http_transport *t)
{
    while (!list_is_empty(&t->waiting) && !list_is_empty(&t->idle)) {
        struct http_slot *slot = container_of(list_pop(&t->idle), struct http_slot, link);

        slot->request = container_of(list_pop(&t->waiting), struct request, link);
        list_append(&t->client->busy, &slot->link);
        t->busy_count++;
        start_transfer(slot);
    }
}

/* ---- passes ---- */

/** Ends what is with the receivers of one transport (NULL: of all). Others get their turn. */
static void break_off(struct http_client *client, const struct http_transport *only, int error,
                      const char *message)
{
    struct list broken, *link;

    list_init(&broken);
    LIST_FOR_EACH_ENTRY (slot, &client->busy, struct http_slot, link) {
        if (!only || slot->transport == only) {
            list_remove(&slot->link);
            list_append(&broken, &slot->link);
        }
    }
    while ((link = list_pop(&broken))) {
        struct http_slot *slot = container_of(link, struct http_slot, link);
        struct http_transport *t = slot->transport;

        slot->request->duration_ns = clock_mono_ns() - slot->started_at_mono_ns;
        remove_handle(slot);
        fail_slot(slot, error, message);
        start_waiting(t);
    }
}

static void cancel_all(struct http_transport *t, struct list *submitted)
{
    struct list *link;

    list_splice(&t->waiting, submitted);
    while ((link = list_pop(&t->waiting)))
        fail_request(t->client, container_of(link, struct request, link), -ECANCELED, "cancelled");
    break_off(t->client, t, -ECANCELED, "cancelled");
}

/**
 * Takes one transport's news. Returns false when there are none. A transport without requests may
 * be gone once the lock is, so it is looked at no more.
 */
static bool take_news(struct http_client *client, bool *ret_stop)
{
    struct list cancelled, submitted, *link;
    struct http_transport *t = NULL;
    bool cancel = false, is_ours = false;

    list_init(&cancelled);
    list_init(&submitted);
    pthread_mutex_lock(&client->lock);
    *ret_stop = client->stop;
    link = list_pop(&client->news);
    if (link) {
        t = container_of(link, struct http_transport, news_link);
        cancel = t->cancel;
        t->cancel = false;
        list_splice(&cancelled, &t->cancelled);
        list_splice(&submitted, &t->submitted);
        is_ours = !list_is_empty(&cancelled) || !list_is_empty(&submitted) ||
                  !list_is_empty(&t->waiting) || t->busy_count > 0;
    }
    pthread_mutex_unlock(&client->lock);
    if (is_ours) {
        if (cancel)
            cancel_all(t, &cancelled);
        list_splice(&t->waiting, &submitted);
        start_waiting(t);
    }
    return link;
}

/** The request whose handle this is. There are few. */
static struct http_slot *slot_of(struct http_client *client, const CURL *easy)
{
    LIST_FOR_EACH_ENTRY (slot, &client->busy, struct http_slot, link)
        if (slot->easy == easy)
            return slot;
    return NULL;
}

static void take_ended(struct http_client *client)
{
    CURLMsg *message;
    int left;

    while ((message = client->curl.multi_info_read(client->multi, &left))) {
        struct http_slot *slot = slot_of(client, message->easy_handle);

        if (slot && message->msg == CURLMSG_DONE) {
            struct http_transport *t = slot->transport;

            end_transfer(slot, message->data.result);
            start_waiting(t);
        }
    }
}

/** At the end of a pass. After it, a transport may be gone. */
static void give_back(struct http_client *client)
{
    if (list_is_empty(&client->done))
        return;
    pthread_mutex_lock(&client->lock);
    list_splice(&client->finished, &client->done);
    pthread_mutex_unlock(&client->lock);
    ring_wake(client->ring);
}

void *http_worker_run(void *arg)
{
    struct http_client *client = arg;
    bool stop = false;

    for (;;) {
        int running;

        while (take_news(client, &stop))
            ;
        if (stop)
            return NULL;
        /* Which request is at fault it does not say, nor whether the others go on. */
        if (client->curl.multi_perform(client->multi, &running) != CURLM_OK)
            break_off(client, NULL, -EIO, "libcurl has failed (curl_multi_perform)");
        take_ended(client);
        give_back(client);
        if (client->curl.multi_poll(client->multi, NULL, 0, POLL_MS, NULL) != CURLM_OK)
            (void)nanosleep(&(struct timespec){.tv_nsec = POLL_FAILED_NS}, NULL);
    }
}
