/*
 * The Kafka transport. Owns one thread and, one after the other, its producers; requests are
 * borrowed between start and done.
 *
 * The ring's thread puts requests into `started` and takes them from `finished`. The transport's
 * thread does everything else: it makes messages, and hears the delivery reports, since librdkafka
 * calls back only from rd_kafka_poll. It sleeps in poll(2) on one eventfd, to which the ring's
 * thread writes, and librdkafka too when it has something to say.
 *
 * Invariants:
 * - A record is accepted by a delivery report without an error that calls it persisted, and by
 *   nothing else. What was never reported is to be sent again.
 * - A producer that failed to deliver one record is spent: what it has only queued is purged, what
 *   is on its way is waited for, and no further message is given to it. It is replaced when nothing
 *   of it is out any more. So nothing overtakes what has failed, and nothing depends on how
 *   librdkafka goes on after gaps, errors, or a fatal error of the idempotent producer.
 * - A report finds its record by the address of its verdict. A producer is destroyed before the
 *   verdicts that its messages know are anybody else's.
 */
#include "ringtail/sink/kafka.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/clock.h"
#include "ringtail/base/log.h"
#include "ringtail/codec/pattern.h"
#include "ringtail/record/identity.h"
#include "ringtail/record/ndjson.h"

#include "kafka_conf.h"
#include "rdkafka.h"
#include "ringtail/sink/transport.h"

/* Kafka's limit. */
#define TOPIC_MAX 249
/* A cancelled request waits that long for what was on its way; purging takes far less. */
#define CANCEL_MS 1000
/* An encoded record that was larger leaves no memory behind it. */
#define VALUE_KEEP ((size_t)1024 * 1024)

/** A request that the thread has taken. */
struct flight {
    struct list link;
    struct request *request;
    size_t produced; /* records that were made messages, or never will be */
    size_t reported; /* whose verdict is final */
    size_t content;  /* refused for their content, or that of a neighbour in their batch */
    size_t content_at;
    bool again, suspended, cancelled;
};

struct kafka {
    struct transport transport;
    struct ring *ring;
    struct ring_waker waker;
    const struct rdkafka *lib;
    rd_kafka_conf_t *conf; /* what each producer gets a copy of */
    struct pattern topic;
    char *host;
    size_t message_max_bytes;
    int event_fd;
    pthread_t thread;

    pthread_mutex_t lock;
    struct list started, finished; /* under the lock, as all until the next blank line */
    bool cancelling, ending;
    bool abandoned; /* the thread frees everything when it ends */
    bool ended;

    /* The thread's. */
    struct list flights; /* in the order of their start */
    rd_kafka_t *producer;
    rd_kafka_queue_t *queue; /* where its events are */
    rd_kafka_topic_t *rkt;   /* the last topic used */
    struct buf rkt_name, topic_name, value;
    size_t content;     /* over all requests of this producer */
    bool spent, purged; /* of this producer */
    bool shut_out;      /* it is refused by those brokers that it has reached */
    bool all_down;
    char trouble[256]; /* what it has last said of its connections */
};

/* What an error says of a record. */
enum error_class {
    ERROR_AGAIN,
    ERROR_CONTENT,   /* it, or one in the same batch, will never be taken */
    ERROR_SUSPENDED, /* nothing will be taken until somebody has done something */
    ERROR_PURGED,    /* by ourselves */
};

static enum error_class error_class(rd_kafka_resp_err_t error)
{
    /* Several hundred values, and new ones with every release: what is not known passes. */
    switch ((int)error) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
        return ERROR_CONTENT;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE:
    case RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_SECURITY_DISABLED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
        return ERROR_SUSPENDED;
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
        return ERROR_PURGED;
    default:
        return ERROR_AGAIN;
    }
}

/** One line, as the log and the dead-letter file want it. */
static void flatten(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = ' ';
}

static void wake_thread(struct kafka *k)
{
    const uint64_t one = 1;

    /* A counter that is full (EAGAIN) wakes all the same. */
    (void)!write(k->event_fd, &one, sizeof one);
}

/* Requests. */

/** 0, the empty one, when there is no memory for it. */
static uint32_t add_reason(struct codec_judgement *j, const char *text)
{
    size_t start = j->reasons.len;

    if (buf_reserve(&j->reasons, CODEC_REASON_MAX + 1) < 0)
        return 0;
    (void)buf_printf(&j->reasons, "%.*s", CODEC_REASON_MAX, text);
    flatten(j->reasons.data + start);
    (void)buf_append_char(&j->reasons, '\0');
    return (uint32_t)start;
}

static void hand_back(struct kafka *k, struct request *request)
{
    request->duration_ns = clock_mono_ns() - request->duration_ns;
    pthread_mutex_lock(&k->lock);
    list_append(&k->finished, &request->link);
    pthread_mutex_unlock(&k->lock);
    ring_wake(k->ring);
}

static void flight_take(struct kafka *k, struct request *request)
{
    struct flight *flight = calloc(1, sizeof *flight);

    if (!flight || codec_judgement_begin(&request->judgement, request->count) < 0) {
        free(flight);
        request->error = -ENOMEM;
        hand_back(k, request);
        return;
    }
    flight->request = request;
    list_append(&k->flights, &flight->link);
}

static bool flight_is_reported(const struct flight *flight)
{
    return flight->reported == flight->request->count;
}

static void flight_refuse(struct flight *flight, size_t i, int status, const char *why)
{
    struct codec_judgement *j = &flight->request->judgement;

    j->verdicts[i] =
        (struct codec_verdict){add_reason(j, why), (uint16_t)status, (uint8_t)CODEC_REFUSED};
}

/** Judges and hands back. `content` is that of the whole producer. */
static void flight_end(struct kafka *k, struct flight *flight)
{
    struct request *request = flight->request;
    struct codec_judgement *j = &request->judgement;

    /* One alone had no neighbours in its batch that could have been at fault. */
    if (flight->content == 1 && k->content == 1)
        flight_refuse(flight, flight->content_at, j->verdicts[flight->content_at].status,
                      request->message);
    for (size_t i = 0; i < j->count; i++) {
        j->accepted += j->verdicts[i].kind == CODEC_ACCEPTED;
        j->refused += j->verdicts[i].kind == CODEC_REFUSED;
    }
    j->retry = j->count - j->accepted - j->refused;
    if (j->retry == 0)
        j->outcome = CODEC_DONE;
    else if (flight->suspended)
        j->outcome = CODEC_SUSPENDED;
    else if (flight->content > 0 && !flight->again && !flight->cancelled)
        j->outcome = CODEC_SPLIT;
    else
        j->outcome = CODEC_AGAIN;
    if (j->outcome != CODEC_DONE && *request->message)
        j->reason = add_reason(j, request->message);
    if (flight->cancelled && j->retry == j->count)
        request->error = -ECANCELED;
    list_remove(&flight->link);
    free(flight);
    hand_back(k, request);
}

/* Failures. */

static void note_trouble(struct flight *flight, const char *what, const char *more)
{
    char *message = flight->request->message;

    if (*message)
        return;
    /* What is too long is cut. */
    if (snprintf(message, sizeof flight->request->message, "%s%s%s", what, *more ? ": " : "",
                 more) < 0)
        *message = '\0';
    flatten(message);
}

/** The record's verdict is in: not this time. */
static void settle_failure(struct kafka *k, struct flight *flight, size_t i,
                           rd_kafka_resp_err_t error)
{
    struct codec_verdict *verdict = &flight->request->judgement.verdicts[i];
    char fatal[256] = "";
    enum error_class class;

    if (error == RD_KAFKA_RESP_ERR__FATAL)
        error = k->lib->fatal_error(k->producer, fatal, sizeof fatal);
    class = error_class(error);
    if (class == ERROR_AGAIN && k->shut_out)
        class = ERROR_SUSPENDED;
    flight->reported++;
    verdict->status = error > 0 ? (uint16_t)error : 0;
    k->spent = true;
    switch (class) {
    case ERROR_AGAIN:
        flight->again = true;
        note_trouble(flight, k->lib->err2str(error), *fatal ? fatal : k->trouble);
        break;
    case ERROR_SUSPENDED:
        flight->suspended = true;
        note_trouble(flight, k->lib->err2str(error), *fatal ? fatal : k->trouble);
        break;
    case ERROR_CONTENT:
        flight->content++;
        flight->content_at = i;
        k->content++;
        note_trouble(flight, k->lib->err2str(error), "");
        break;
    case ERROR_PURGED:
        if (k->shut_out) {
            flight->suspended = true;
            note_trouble(flight, k->trouble, "");
        }
        break;
    }
}

static struct flight *find_flight(struct kafka *k, const struct codec_verdict *verdict)
{
    LIST_FOR_EACH (link, &k->flights) {
        struct flight *flight = container_of(link, struct flight, link);
        const struct codec_judgement *j = &flight->request->judgement;

        if (verdict >= j->verdicts && verdict < j->verdicts + j->count)
            return flight;
    }
    return NULL;
}

/* What librdkafka calls from rd_kafka_poll. */

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct kafka *k = opaque;
    struct codec_verdict *verdict = message->_private;
    struct flight *flight = find_flight(k, verdict);

    if (!flight) /* it was ended by a cancel before this came */
        return;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR &&
        k->lib->message_status(message) == RD_KAFKA_MSG_STATUS_PERSISTED) {
        verdict->kind = CODEC_ACCEPTED;
        flight->reported++;
        k->shut_out = k->all_down = false;
    } else {
        settle_failure(k, flight, (size_t)(verdict - flight->request->judgement.verdicts),
                       message->err);
    }
}

static void on_error(rd_kafka_t *rk, int error, const char *reason, void *opaque)
{
    struct kafka *k = opaque;
    char fatal[256] = "";

    if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        k->all_down = true;
        return;
    }
    if (error == RD_KAFKA_RESP_ERR__FATAL) {
        error = k->lib->fatal_error(rk, fatal, sizeof fatal);
        k->spent = true;
        log_warn("The Kafka producer cannot go on, and is made anew",
                 LOG_STR("reason", *fatal ? fatal : reason));
    }
    if (error_class(error) == ERROR_SUSPENDED)
        k->shut_out = true;
    (void)snprintf(k->trouble, sizeof k->trouble, "%s", *fatal ? fatal : reason);
}

/** From threads of librdkafka's. */
static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    /* syslog's levels. Its errors are connections that fail, which it tries again by itself. */
    static const enum log_level levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_ERROR, LOG_LEVEL_ERROR,
                                            LOG_LEVEL_WARN,  LOG_LEVEL_WARN,  LOG_LEVEL_INFO,
                                            LOG_LEVEL_INFO,  LOG_LEVEL_DEBUG};

    log_at(levels[MIN(MAX(level, 0), 7)], "librdkafka", LOG_STR("facility", facility),
           LOG_STR("text", text));
}

/* Producers. */

static void drop_producer(struct kafka *k)
{
    if (k->rkt)
        k->lib->topic_destroy(k->rkt);
    if (k->producer) {
        k->lib->queue_io_event_enable(k->queue, -1, NULL, 0);
        k->lib->queue_destroy(k->queue);
        k->lib->destroy(k->producer);
    }
    k->rkt = NULL;
    k->queue = NULL;
    k->producer = NULL;
    k->spent = k->purged = k->shut_out = k->all_down = false;
    k->content = 0;
    k->trouble[0] = '\0';
}

/** Returns 0; -EINVAL with the reason in `why`. */
static int make_producer(struct kafka *k, char *why, size_t why_size)
{
    static const uint64_t one = 1;
    rd_kafka_conf_t *conf = k->lib->conf_dup(k->conf);

    k->producer = k->lib->new (RD_KAFKA_PRODUCER, conf, why, why_size);
    if (!k->producer) {
        k->lib->conf_destroy(conf);
        return -EINVAL;
    }
    k->queue = k->lib->queue_get_main(k->producer);
    k->lib->queue_io_event_enable(k->queue, k->event_fd, &one, sizeof one);
    return 0;
}

/** Fills k->topic_name, with a NUL. Returns 0 or -ENOMEM. */
static int name_topic(struct kafka *k, const struct record *r)
{
    struct buf *name = &k->topic_name;

    buf_reset(name);
    if (pattern_append(&k->topic, r, slice_str(k->host), name) < 0 ||
        buf_append_char(name, '\0') < 0)
        return -ENOMEM;
    name->len = MIN(name->len, (size_t)TOPIC_MAX + 1);
    name->data[--name->len] = '\0';
    for (size_t i = 0; i < name->len; i++) {
        char c = name->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '_' || c == '-'))
            name->data[i] = '_';
    }
    /* Names that Kafka does not allow; a container without a name gives the first. */
    if (name->len == 0 || strcmp(name->data, ".") == 0 || strcmp(name->data, "..") == 0) {
        name->len = 0;
        if (buf_append(name, "_", 2) < 0)
            return -ENOMEM;
        name->len--;
    }
    return 0;
}

/** The handle of the record's topic; librdkafka keeps one for each until the producer ends. */
static int find_topic(struct kafka *k, const struct record *r)
{
    if (k->rkt && k->topic.is_fixed)
        return 0;
    if (name_topic(k, r) < 0)
        return -ENOMEM;
    if (k->rkt && slice_eq(buf_slice(&k->rkt_name), buf_slice(&k->topic_name)))
        return 0;
    buf_reset(&k->rkt_name);
    if (buf_append_slice(&k->rkt_name, buf_slice(&k->topic_name)) < 0)
        return -ENOMEM;
    if (k->rkt)
        k->lib->topic_destroy(k->rkt);
    k->rkt = k->lib->topic_new(k->producer, k->topic_name.data, NULL);
    return k->rkt ? 0 : -EINVAL;
}

static rd_kafka_vu_t vu_bytes(rd_kafka_vtype_t type, const void *data, size_t len)
{
    rd_kafka_vu_t vu = {.vtype = type};

    vu.u.mem.ptr = (void *)(uintptr_t)data; /* it is only copied from */
    vu.u.mem.size = len;
    return vu;
}

static rd_kafka_resp_err_t add_header(struct kafka *k, rd_kafka_headers_t *headers,
                                      const char *name, struct slice value)
{
    return k->lib->header_add(headers, name, -1, value.data, (ssize_t)value.len);
}

/** NULL without memory. */
static rd_kafka_headers_t *make_headers(struct kafka *k, const struct record *r)
{
    rd_kafka_headers_t *headers = k->lib->headers_new(5);
    char identity[RECORD_IDENTITY_LEN];

    if (!headers)
        return NULL;
    record_identity(r, identity);
    if (add_header(k, headers, "container_id", r->source->id) ||
        add_header(k, headers, "container_name", r->source->name) ||
        add_header(k, headers, "image", r->source->image) ||
        add_header(k, headers, "stream",
                   slice_str(r->stream == RECORD_STDERR ? "stderr" : "stdout")) ||
        add_header(k, headers, "identity", slice_of(identity, sizeof identity))) {
        k->lib->headers_destroy(headers);
        return NULL;
    }
    return headers;
}

/** Returns what librdkafka says; it has copied everything. */
static rd_kafka_resp_err_t produce(struct kafka *k, const struct record *r,
                                   struct codec_verdict *verdict, size_t *ret_bytes)
{
    rd_kafka_headers_t *headers;
    rd_kafka_resp_err_t code;
    rd_kafka_error_t *error;
    int e = find_topic(k, r);

    if (e < 0)
        return e == -ENOMEM ? RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE
                            : RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;
    buf_reset(&k->value);
    if (ndjson_append(&k->value, r) < 0)
        return RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE;
    k->value.len--; /* the newline */
    headers = make_headers(k, r);
    if (!headers)
        return RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE;

    rd_kafka_vu_t vus[] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = k->rkt},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        /* 0 would be the time of now to librdkafka, and less is nothing to it. */
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = MAX(r->ts_ns / NSEC_PER_MSEC, 1)},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = verdict},
        vu_bytes(RD_KAFKA_VTYPE_KEY, r->source->id.data, r->source->id.len),
        vu_bytes(RD_KAFKA_VTYPE_VALUE, k->value.data, k->value.len),
        /* One by one, without a list of ours, librdkafka 2.0.2 frees them twice when it fails. */
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
    };

    error = k->lib->produceva(k->producer, vus, ARRAY_SIZE(vus));
    if (!error) {
        *ret_bytes = k->value.len;
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    code = k->lib->error_code(error);
    k->lib->error_destroy(error);
    k->lib->headers_destroy(headers);
    return code;
}

/** Makes messages of what is left of the request. Returns whether there was room for all. */
static bool produce_flight(struct kafka *k, struct flight *flight)
{
    struct request *request = flight->request;
    struct codec_judgement *j = &request->judgement;

    while (flight->produced < request->count && !k->spent) {
        size_t i = flight->produced, bytes = 0;
        rd_kafka_resp_err_t error = produce(k, request->records[i], &j->verdicts[i], &bytes);

        if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return false;
        flight->produced++;
        request->body_bytes += bytes;
        if (error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
            char why[CODEC_REASON_MAX];

            (void)snprintf(why, sizeof why, "%zu bytes are more than message_max_bytes, %zu",
                           k->value.len, k->message_max_bytes);
            flight_refuse(flight, i, error, why);
            flight->reported++;
        } else if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            settle_failure(k, flight, i, error);
        }
    }
    return true;
}

static void purge(struct kafka *k, int flags)
{
    if (k->producer)
        (void)k->lib->purge(k->producer, flags | RD_KAFKA_PURGE_F_NON_BLOCKING);
}

/** Gives back what the spent producer has not sent, and what it was never given. */
static void give_back_unsent(struct kafka *k)
{
    LIST_FOR_EACH (link, &k->flights) {
        struct flight *flight = container_of(link, struct flight, link);

        if (k->shut_out && flight->produced < flight->request->count) {
            flight->suspended = true;
            note_trouble(flight, k->trouble, "");
        }
        flight->reported += flight->request->count - flight->produced;
        flight->produced = flight->request->count;
    }
    if (!k->purged)
        purge(k, RD_KAFKA_PURGE_F_QUEUE);
    k->purged = true;
}

/**
 * Those that have all they wanted end at once; the others when nothing is out any more, as only
 * then it is known who was alone with a refusal.
 */
static void end_flights(struct kafka *k)
{
    bool all = true;

    LIST_FOR_EACH (link, &k->flights) {
        struct flight *flight = container_of(link, struct flight, link);

        all &= flight_is_reported(flight);
        if (!k->spent && flight_is_reported(flight))
            flight_end(k, flight);
    }
    if (!k->spent || !all)
        return;
    LIST_FOR_EACH (link, &k->flights)
        flight_end(k, container_of(link, struct flight, link));
    drop_producer(k);
}

/** Whatever is not known by now is to be sent again. */
static void cancel_flights(struct kafka *k)
{
    int64_t until_ns = clock_mono_ns() + CANCEL_MS * NSEC_PER_MSEC;
    bool all = false;

    k->spent = true;
    LIST_FOR_EACH (link, &k->flights)
        container_of(link, struct flight, link)->cancelled = true;
    give_back_unsent(k);
    purge(k, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    while (!all && clock_mono_ns() < until_ns) {
        if (k->producer)
            (void)k->lib->poll(k->producer, 10);
        all = true;
        LIST_FOR_EACH (link, &k->flights)
            all &= flight_is_reported(container_of(link, struct flight, link));
    }
    LIST_FOR_EACH (link, &k->flights) {
        struct flight *flight = container_of(link, struct flight, link);

        flight->reported = flight->request->count;
    }
    end_flights(k);
}

/** A producer for the flights. Without one they are given back. */
static bool has_producer(struct kafka *k)
{
    char why[256] = "";

    if (k->producer || make_producer(k, why, sizeof why) == 0)
        return true;
    LIST_FOR_EACH (link, &k->flights) {
        struct flight *flight = container_of(link, struct flight, link);

        note_trouble(flight, "no producer could be made", why);
        flight_end(k, flight);
    }
    return false;
}

/** Returns whether the thread is to go on. */
static bool take_orders(struct kafka *k)
{
    struct list started;
    bool cancelling, ending;

    list_init(&started);
    pthread_mutex_lock(&k->lock);
    list_splice(&started, &k->started);
    cancelling = k->cancelling;
    k->cancelling = false;
    ending = k->ending;
    pthread_mutex_unlock(&k->lock);
    for (struct list *link; (link = list_pop(&started));)
        flight_take(k, container_of(link, struct request, link));
    if (cancelling && !list_is_empty(&k->flights))
        cancel_flights(k);
    return !ending;
}

/** Does all that can be done without waiting. */
static void work(struct kafka *k)
{
    bool heard;

    do {
        if (!list_is_empty(&k->flights) && has_producer(k)) {
            /* Nothing that is waited for could come, and the next producer may be let in. */
            k->spent |= k->shut_out && k->all_down;
            LIST_FOR_EACH (link, &k->flights)
                if (!produce_flight(k, container_of(link, struct flight, link)))
                    break;
            if (k->spent)
                give_back_unsent(k);
        }
        heard = k->producer && k->lib->poll(k->producer, 0) > 0;
        end_flights(k);
    } while (heard);
    if (k->value.cap > VALUE_KEEP)
        buf_finish(&k->value);
}

static void kafka_free(struct kafka *k)
{
    if (k->conf)
        k->lib->conf_destroy(k->conf);
    pattern_finish(&k->topic);
    buf_finish(&k->rkt_name);
    buf_finish(&k->topic_name);
    buf_finish(&k->value);
    if (k->event_fd >= 0)
        (void)close(k->event_fd);
    pthread_mutex_destroy(&k->lock);
    free(k->host);
    free(k);
}

static void *run(void *arg)
{
    struct kafka *k = arg;
    struct pollfd event = {.fd = k->event_fd, .events = POLLIN};
    bool abandoned;

    while (take_orders(k)) {
        uint64_t count;

        work(k);
        if (poll(&event, 1, -1) > 0)
            (void)!read(k->event_fd, &count, sizeof count);
    }
    drop_producer(k);
    pthread_mutex_lock(&k->lock);
    k->ended = true;
    abandoned = k->abandoned;
    pthread_mutex_unlock(&k->lock);
    if (abandoned)
        kafka_free(k);
    return NULL;
}

/* The ring's side. */

static void on_wake(void *ctx)
{
    struct kafka *k = ctx;
    struct list finished;

    list_init(&finished);
    pthread_mutex_lock(&k->lock);
    list_splice(&finished, &k->finished);
    pthread_mutex_unlock(&k->lock);
    for (struct list *link; (link = list_pop(&finished));) {
        struct request *request = container_of(link, struct request, link);

        request->done(request);
    }
}

static void kafka_start(struct transport *t, struct request *request)
{
    struct kafka *k = container_of(t, struct kafka, transport);

    assert(request->count > 0 && request->count <= CODEC_RECORDS_MAX);
    request->error = request->status = 0;
    request->message[0] = '\0';
    request->body_bytes = request->wire_bytes = 0;
    request->duration_ns = clock_mono_ns(); /* the start, until hand_back */
    pthread_mutex_lock(&k->lock);
    list_append(&k->started, &request->link);
    pthread_mutex_unlock(&k->lock);
    wake_thread(k);
}

static void kafka_cancel(struct transport *t)
{
    struct kafka *k = container_of(t, struct kafka, transport);

    pthread_mutex_lock(&k->lock);
    k->cancelling = true;
    pthread_mutex_unlock(&k->lock);
    wake_thread(k);
}

static struct transport *kafka_destroy(struct transport *t)
{
    struct kafka *k = container_of(t, struct kafka, transport);
    int64_t until_ns = clock_mono_ns() + KAFKA_DESTROY_MS * NSEC_PER_MSEC;
    struct timespec until = {until_ns / NSEC_PER_SEC, until_ns % NSEC_PER_SEC};

    assert(list_is_empty(&k->started) && list_is_empty(&k->finished));
    ring_remove_waker(&k->waker);
    pthread_mutex_lock(&k->lock);
    k->ending = true;
    pthread_mutex_unlock(&k->lock);
    wake_thread(k);
    if (pthread_clockjoin_np(k->thread, NULL, CLOCK_MONOTONIC, &until) != 0) {
        bool ended;

        pthread_mutex_lock(&k->lock);
        ended = k->ended;
        k->abandoned = true;
        pthread_mutex_unlock(&k->lock);
        if (!ended) {
            (void)pthread_detach(k->thread);
            return NULL;
        }
        (void)pthread_join(k->thread, NULL);
    }
    kafka_free(k);
    return NULL;
}

static const struct transport_ops kafka_ops = {
    .kind = "kafka",
    .start = kafka_start,
    .cancel = kafka_cancel,
    .destroy = kafka_destroy,
};

static int start_thread(struct kafka *k)
{
    sigset_t all, before;
    int r;

    /* Signals are for the ring's thread. */
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    r = -pthread_create(&k->thread, NULL, run, k);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r == 0)
        (void)pthread_setname_np(k->thread, "kafka");
    return r;
}

static int kafka_init(struct kafka *k, const struct kafka_options *options, char *why,
                      size_t why_size)
{
    char reason[256] = "";
    int r;

    k->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (k->event_fd < 0)
        return -errno;
    k->message_max_bytes = options->message_max_bytes;
    k->host = strdup(options->host ? options->host : "");
    if (!k->host)
        return -ENOMEM;
    r = pattern_init(&k->topic, slice_str(options->topic ? options->topic : ""), reason,
                     sizeof reason);
    if (r < 0) {
        (void)snprintf(why, why_size, "topic: %s", reason);
        return r;
    }
    if (k->topic.by_time) {
        (void)snprintf(why, why_size, "topic: times would be new topics for ever");
        return -EINVAL;
    }
    r = rdkafka_load(&k->lib, why, why_size);
    if (r == 0)
        r = kafka_conf_create(k->lib, options, &k->conf, why, why_size);
    if (r < 0)
        return r;
    k->lib->conf_set_opaque(k->conf, k);
    k->lib->conf_set_dr_msg_cb(k->conf, on_report);
    k->lib->conf_set_error_cb(k->conf, on_error);
    k->lib->conf_set_log_cb(k->conf, on_log);
    /* What librdkafka checks only here is a matter of the options too. */
    return make_producer(k, why, why_size);
}

int kafka_transport_create(struct ring *ring, const struct kafka_options *options,
                           struct transport **ret, char *why, size_t why_size)
{
    struct kafka *k = calloc(1, sizeof *k);
    int r;

    if (!k)
        return -ENOMEM;
    *k = (struct kafka){
        .transport.ops = &kafka_ops,
        .ring = ring,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .event_fd = -1,
        .waker = {.fn = on_wake, .ctx = k},
    };
    list_init(&k->started);
    list_init(&k->finished);
    list_init(&k->flights);
    r = kafka_init(k, options, why, why_size);
    if (r == 0)
        r = start_thread(k);
    if (r < 0) {
        drop_producer(k);
        kafka_free(k);
        return r;
    }
    ring_add_waker(ring, &k->waker);
    *ret = &k->transport;
    return 0;
}
