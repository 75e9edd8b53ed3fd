/*
 * The Kafka transport and librdkafka's own mock of a cluster, in this process. What was accepted is
 * read back with a consumer. The ring is not one: a wake-up is a byte in a pipe.
 */
#include "ringtail/sink/kafka.h"

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/random.h"
#include "ringtail/record/identity.h"
#include "ringtail/record/ndjson.h"
#include "ringtail/sink/transport.h"

#define PARTITIONS 4
#define SOURCES 5
#define BROKERS 3
#define TOPIC "logs"
#define TS INT64_C(1795250000123456789)
/* Kafka's request types. */
#define API_PRODUCE 0
#define API_INIT_PRODUCER_ID 22
#define RECONNECT_SOON "reconnect.backoff.ms=10", "reconnect.backoff.max.ms=50"

/* The ring, as far as a transport knows it. */

static struct ring_waker *waker;
static int wake_fd = -1;

void ring_add_waker(struct ring *ring, struct ring_waker *w)
{
    assert_null(waker);
    waker = w;
}

void ring_remove_waker(struct ring_waker *w)
{
    assert_ptr_equal(waker, w);
    waker = NULL;
}

void ring_wake(struct ring *ring)
{
    const uint64_t one = 1;

    assert_int_equal(sizeof one, write(wake_fd, &one, sizeof one));
}

/* The linker sends the transport's dlopen here. */

static bool no_library;

void *__real_dlopen(const char *name, int flags);
void *__wrap_dlopen(const char *name, int flags);

void *__wrap_dlopen(const char *name, int flags)
{
    return __real_dlopen(no_library ? "no-such-library.so" : name, flags);
}

/* librdkafka finds this one. A name server that does not answer keeps it for as long as it likes.
 */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stuck;
    unsigned asking;
} names = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    static __typeof__(&getaddrinfo) real;
    bool was_stuck;

    pthread_mutex_lock(&names.lock);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    was_stuck = names.stuck;
    names.asking++;
    pthread_cond_broadcast(&names.changed);
    while (names.stuck)
        pthread_cond_wait(&names.changed, &names.lock);
    names.asking--;
    pthread_mutex_unlock(&names.lock);
    return was_stuck ? EAI_AGAIN : real(name, service, hints, ret);
}

/* A message as a consumer has it. */
struct message {
    char topic[256];
    int32_t partition;
    int64_t offset, timestamp_ms;
    char key[80], identity[RECORD_IDENTITY_LEN + 1];
    char container_name[64], image[64], stream[16], container_id[80];
    struct buf value;
};

struct fixture {
    rd_kafka_t *handle; /* the mock cluster's host */
    rd_kafka_mock_cluster_t *cluster;
    struct transport *transport;
    struct kafka_options options;
    struct source *sources[SOURCES];
    struct batch *batch;
    struct message *messages;
    size_t messages_count;
    char why[512];
};

struct
try {
    struct request request;
    const struct record **records;
    bool done;
};

static void on_done(struct request *request)
{
    struct try *try = container_of(request, struct try, request);

    assert_false(try->done);
    try->done = true;
}

static bool ignore_line(void *ctx, struct slice line)
{
    return true;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char id[SOURCE_ID_LEN + 1], name[16];

    assert_non_null(f);
    log_set_writer(ignore_line, NULL);
    wake_fd = eventfd(0, EFD_CLOEXEC);
    assert_true(wake_fd >= 0);
    assert_int_equal(0, rd_kafka_conf_set(conf, "log_level", "0", NULL, 0));
    f->handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, f->why, sizeof f->why);
    assert_non_null(f->handle);
    f->cluster = rd_kafka_mock_cluster_new(f->handle, BROKERS);
    assert_non_null(f->cluster);
    assert_int_equal(0, rd_kafka_mock_topic_create(f->cluster, TOPIC, PARTITIONS, BROKERS));
    for (size_t i = 0; i < SOURCES; i++) {
        (void)snprintf(name, sizeof name, "web-%zu", i);
        memset(id, "123456789abcdef"[i], SOURCE_ID_LEN);
        id[SOURCE_ID_LEN] = '\0';
        f->sources[i] = source_create(slice_str(id), slice_str(name), slice_str("nginx:1.27"));
        assert_non_null(f->sources[i]);
    }
    f->batch = batch_create(NULL, NULL);
    assert_non_null(f->batch);
    f->options = (struct kafka_options){
        .brokers = rd_kafka_mock_cluster_bootstraps(f->cluster),
        .topic = TOPIC,
        .message_max_bytes = 100000,
        .linger_ms = 5,
        .request_timeout_ms = 1000,
        .delivery_timeout_ms = 60000,
    };
    *state = f;
    return 0;
}

static void forget_messages(struct fixture *f)
{
    for (size_t i = 0; i < f->messages_count; i++)
        buf_finish(&f->messages[i].value);
    free(f->messages);
    f->messages = NULL;
    f->messages_count = 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    (void)transport_destroy(f->transport);
    assert_null(waker);
    forget_messages(f);
    (void)batch_unref(f->batch);
    for (size_t i = 0; i < SOURCES; i++)
        (void)source_unref(f->sources[i]);
    rd_kafka_mock_cluster_destroy(f->cluster);
    rd_kafka_destroy(f->handle);
    (void)close(wake_fd);
    batch_free_kept();
    log_set_writer(NULL, NULL);
    free(f);
    return 0;
}

static int create(struct fixture *f)
{
    static struct ring *const no_ring = NULL;

    f->why[0] = '\0';
    return kafka_transport_create(no_ring, &f->options, &f->transport, f->why, sizeof f->why);
}

static void make(struct fixture *f)
{
    int r = create(f);

    assert_string_equal("", f->why);
    assert_int_equal(0, r);
}

/** A line of the source: its number in words, and `more` bytes. */
static void add_line(struct fixture *f, size_t source, size_t number, size_t more)
{
    char *line = malloc(32 + more);
    size_t len;

    assert_non_null(line);
    len = (size_t)snprintf(line, 32, "line %zu ", number);
    memset(line + len, 'x', more);
    assert_int_equal(
        0, batch_append(f->batch, f->sources[source], number % 3 ? RECORD_STDOUT : RECORD_STDERR,
                        TS + (int64_t)number * NSEC_PER_MSEC, 0, slice_of(line, len + more)));
    free(line);
}

static void add_lines(struct fixture *f, size_t count)
{
    for (size_t i = 0; i < count; i++)
        add_line(f, i % SOURCES, f->batch->count, i % 50);
}

static struct try *start(struct fixture *f, size_t from, size_t count)
{
    struct try *try = calloc(1, sizeof *try);

    assert_non_null(try);
    try->records = calloc(count, sizeof(struct record *));
    assert_non_null(try->records);
    for (size_t i = 0; i < count; i++)
        try->records[i] = &f->batch->records[from + i];
    try->request.records = try->records;
    try->request.count = count;
    try->request.done = on_done;
    transport_start(f->transport, &try->request);
    return try;
}

static void try_free(struct try *try)
{
    codec_judgement_finish(&try->request.judgement);
    free(try->records);
    free(try);
}

/** What the ring does. Waits for as long as it takes. */
static void wait_done(struct try *try)
{
    while (!try->done) {
        uint64_t count;

        assert_int_equal(sizeof count, read(wake_fd, &count, sizeof count));
        waker->fn(waker->ctx);
    }
}

/** The judgement adds up. */
static void check(const struct try *try)
{
    const struct codec_judgement *j = &try->request.judgement;
    size_t of_kind[3] = {0};

    assert_int_equal(try->request.count, j->count);
    for (size_t i = 0; i < j->count; i++)
        of_kind[j->verdicts[i].kind]++;
    assert_int_equal(of_kind[CODEC_ACCEPTED], j->accepted);
    assert_int_equal(of_kind[CODEC_RETRY], j->retry);
    assert_int_equal(of_kind[CODEC_REFUSED], j->refused);
    assert_int_equal(j->outcome == CODEC_DONE, j->retry == 0);
    assert_int_equal(-1, j->retry_after_ms);
    assert_true(try->request.duration_ns > 0);
}

static struct try *send_all(struct fixture *f)
{
    struct try *try = start(f, 0, f->batch->count);

    wait_done(try);
    check(try);
    return try;
}

static void assert_all_accepted(struct try *try)
{
    assert_int_equal(0, try->request.error);
    assert_string_equal("", try->request.message);
    assert_int_equal(CODEC_DONE, try->request.judgement.outcome);
    assert_int_equal(try->request.count, try->request.judgement.accepted);
}

static void copy_header(const rd_kafka_headers_t *headers, const char *name, char *out, size_t room)
{
    const void *value;
    size_t len;

    assert_int_equal(0, rd_kafka_header_get_last(headers, name, &value, &len));
    assert_true(len < room);
    memcpy(out, value, len);
    out[len] = '\0';
}

static void keep_message(struct fixture *f, const rd_kafka_message_t *from)
{
    struct message *m;
    rd_kafka_headers_t *headers;
    rd_kafka_timestamp_type_t type;

    f->messages = realloc(f->messages, (f->messages_count + 1) * sizeof *f->messages);
    assert_non_null(f->messages);
    m = &f->messages[f->messages_count++];
    *m = (struct message){.partition = from->partition, .offset = from->offset};
    (void)snprintf(m->topic, sizeof m->topic, "%s", rd_kafka_topic_name(from->rkt));
    (void)snprintf(m->key, sizeof m->key, "%.*s", (int)from->key_len, (const char *)from->key);
    m->timestamp_ms = rd_kafka_message_timestamp(from, &type);
    assert_int_equal(RD_KAFKA_TIMESTAMP_CREATE_TIME, type);
    assert_int_equal(0, rd_kafka_message_headers(from, &headers));
    copy_header(headers, "container_id", m->container_id, sizeof m->container_id);
    copy_header(headers, "container_name", m->container_name, sizeof m->container_name);
    copy_header(headers, "image", m->image, sizeof m->image);
    copy_header(headers, "stream", m->stream, sizeof m->stream);
    copy_header(headers, "identity", m->identity, sizeof m->identity);
    assert_int_equal(0, buf_append(&m->value, from->payload, from->len));
}

/** Everything that the cluster has of a topic, partition by partition. */
static void consume(struct fixture *f, const char *topic)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_topic_partition_list_t *partitions = rd_kafka_topic_partition_list_new(PARTITIONS);
    rd_kafka_t *consumer;
    int ends = 0;

    forget_messages(f);
    rd_kafka_mock_clear_request_errors(f->cluster, API_PRODUCE);
    rd_kafka_conf_set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(f->cluster), NULL,
                      0);
    rd_kafka_conf_set(conf, "group.id", "test", NULL, 0);
    rd_kafka_conf_set(conf, "fetch.wait.max.ms", "5", NULL, 0);
    rd_kafka_conf_set(conf, "fetch.error.backoff.ms", "5", NULL, 0);
    rd_kafka_conf_set(conf, "enable.partition.eof", "true", NULL, 0);
    rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
    consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, f->why, sizeof f->why);
    assert_non_null(consumer);
    rd_kafka_poll_set_consumer(consumer);
    for (int p = 0; p < PARTITIONS; p++)
        rd_kafka_topic_partition_list_add(partitions, topic, p)->offset = RD_KAFKA_OFFSET_BEGINNING;
    assert_int_equal(0, rd_kafka_assign(consumer, partitions));
    while (ends < PARTITIONS) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(consumer, 1000);

        if (!m)
            continue;
        if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            ends++;
        else if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            keep_message(f, m);
        rd_kafka_message_destroy(m);
    }
    rd_kafka_topic_partition_list_destroy(partitions);
    (void)rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
}

/** How many messages are the record, to the last byte. */
static size_t count_messages(const struct fixture *f, const struct record *r)
{
    char identity[RECORD_IDENTITY_LEN];
    struct buf value = {0};
    size_t count = 0;

    record_identity(r, identity);
    assert_int_equal(0, ndjson_append(&value, r));
    for (size_t i = 0; i < f->messages_count; i++) {
        const struct message *m = &f->messages[i];

        if (memcmp(identity, m->identity, sizeof identity) != 0)
            continue;
        count++;
        assert_string_equal(r->source->id.data, m->key);
        assert_string_equal(r->source->id.data, m->container_id);
        assert_string_equal(r->source->name.data, m->container_name);
        assert_string_equal(r->source->image.data, m->image);
        assert_string_equal(r->stream == RECORD_STDERR ? "stderr" : "stdout", m->stream);
        assert_int_equal(r->ts_ns / NSEC_PER_MSEC, m->timestamp_ms);
        assert_int_equal(value.len - 1, m->value.len);
        assert_memory_equal(value.data, m->value.data, m->value.len);
    }
    buf_finish(&value);
    return count;
}

/** The lines of each key lie in one partition, and the time of each is behind the one's before. */
static void assert_order(const struct fixture *f)
{
    for (size_t s = 0; s < SOURCES; s++) {
        const struct message *before = NULL;

        for (size_t i = 0; i < f->messages_count; i++) {
            const struct message *m = &f->messages[i];

            if (strcmp(m->key, f->sources[s]->id.data) != 0)
                continue;
            if (before) {
                assert_int_equal(before->partition, m->partition);
                assert_true(before->offset < m->offset);
                assert_true(before->timestamp_ms < m->timestamp_ms);
            }
            before = m;
        }
    }
}

static void test_all_records_arrive_with_key_headers_and_time_in_order(void **state)
{
    struct fixture *f = *state;
    struct try *try;

    make(f);
    add_lines(f, 2000);
    try = send_all(f);
    assert_all_accepted(try);
    assert_true(try->request.body_bytes > 2000 * 100);
    try_free(try);
    consume(f, TOPIC);
    assert_int_equal(2000, f->messages_count);
    for (size_t i = 0; i < f->batch->count; i++)
        assert_int_equal(1, count_messages(f, &f->batch->records[i]));
    assert_order(f);
}

static void test_requests_at_the_same_time_are_sent_in_the_order_of_their_start(void **state)
{
    struct fixture *f = *state;
    struct try *tries[10];

    make(f);
    add_lines(f, 1000);
    for (size_t i = 0; i < ARRAY_SIZE(tries); i++)
        tries[i] = start(f, i * 100, 100);
    for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
        wait_done(tries[i]);
        check(tries[i]);
        assert_all_accepted(tries[i]);
        try_free(tries[i]);
    }
    consume(f, TOPIC);
    assert_int_equal(1000, f->messages_count);
    assert_order(f);
}

static void test_every_compression_is_read_back(void **state)
{
    static const char *const kinds[] = {"none", "gzip", "snappy", "lz4", "zstd"};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct try *try;

        f->options.compression = kinds[i];
        make(f);
        add_lines(f, 100);
        try = start(f, i * 100, 100);
        wait_done(try);
        assert_all_accepted(try);
        try_free(try);
        f->transport = transport_destroy(f->transport);
    }
    consume(f, TOPIC);
    for (size_t i = 0; i < f->batch->count; i++)
        assert_int_equal(1, count_messages(f, &f->batch->records[i]));
}

static void test_a_request_larger_than_the_queue_is_sent_as_room_is_made(void **state)
{
    struct fixture *f = *state;
    struct try *tries[2];
    size_t count = 40000;

    make(f);
    add_lines(f, count);
    for (size_t i = 0; i < ARRAY_SIZE(tries); i++)
        tries[i] = start(f, 0, count);
    for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
        wait_done(tries[i]);
        check(tries[i]);
        assert_all_accepted(tries[i]);
        try_free(tries[i]);
    }
}

static void test_a_topic_can_be_a_pattern(void **state)
{
    static const char *const properties[] = {"topic.metadata.refresh.fast.interval.ms=10"};
    struct fixture *f = *state;
    struct try *try;

    f->options.topic = "{host}/{container_name}.{image}";
    f->options.host = "h\xc3\xb6st";
    f->options.properties = properties;
    f->options.properties_count = ARRAY_SIZE(properties);
    make(f);
    add_lines(f, 50);
    try = send_all(f);
    assert_all_accepted(try);
    try_free(try);
    consume(f, "h__st_web-3.nginx_1.27");
    assert_int_equal(10, f->messages_count);
    for (size_t i = 3; i < f->batch->count; i += SOURCES)
        assert_int_equal(1, count_messages(f, &f->batch->records[i]));
}

static void test_a_time_before_1970_is_sent_as_1970(void **state)
{
    struct fixture *f = *state;
    struct try *try;

    make(f);
    assert_int_equal(0, batch_append(f->batch, f->sources[0], RECORD_STDOUT, -5, 0, slice_str("")));
    try = send_all(f);
    assert_all_accepted(try);
    try_free(try);
    consume(f, TOPIC);
    assert_int_equal(1, f->messages_count);
    assert_int_equal(1, f->messages[0].timestamp_ms);
}

static void test_a_record_that_is_too_large_is_refused_alone(void **state)
{
    struct fixture *f = *state;
    const struct codec_judgement *j;
    struct try *try;

    make(f);
    for (size_t i = 0; i < 100; i++)
        add_line(f, i % SOURCES, i, i % 10 == 7 ? 100000 : 10);
    try = send_all(f);
    j = &try->request.judgement;
    assert_int_equal(CODEC_DONE, j->outcome);
    assert_int_equal(90, j->accepted);
    assert_int_equal(10, j->refused);
    for (size_t i = 0; i < 100; i++)
        if (i % 10 == 7) {
            assert_int_equal(CODEC_REFUSED, j->verdicts[i].kind);
            assert_int_equal(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, j->verdicts[i].status);
            assert_non_null(strstr(codec_reason(j, j->verdicts[i].reason), "message_max_bytes"));
        }
    consume(f, TOPIC);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(i % 10 == 7 ? 0 : 1, count_messages(f, &f->batch->records[i]));
    try_free(try);
}

static void push_error(struct fixture *f, rd_kafka_resp_err_t error, size_t count)
{
    for (size_t i = 0; i < count; i++)
        rd_kafka_mock_push_request_errors(f->cluster, API_PRODUCE, 1, error);
}

static void test_a_batch_refused_for_its_content_is_split(void **state)
{
    struct fixture *f = *state;
    struct try *try;

    make(f);
    for (size_t i = 0; i < 20; i++)
        add_line(f, 0, i, 10);
    push_error(f, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 1);
    try = send_all(f);
    assert_int_equal(CODEC_SPLIT, try->request.judgement.outcome);
    assert_int_equal(0, try->request.judgement.refused);
    assert_non_null(strstr(try->request.message, "too large"));
    try_free(try);
    /* What was refused has no consequences for what comes next. */
    try = send_all(f);
    assert_all_accepted(try);
    try_free(try);
}

static void test_a_record_refused_while_it_was_alone_is_at_fault(void **state)
{
    struct fixture *f = *state;
    struct try *try;

    make(f);
    add_lines(f, 1);
    push_error(f, RD_KAFKA_RESP_ERR_INVALID_RECORD, 1);
    try = send_all(f);
    assert_int_equal(CODEC_DONE, try->request.judgement.outcome);
    assert_int_equal(CODEC_REFUSED, try->request.judgement.verdicts[0].kind);
    assert_int_equal(RD_KAFKA_RESP_ERR_INVALID_RECORD, try->request.judgement.verdicts[0].status);
    assert_string_not_equal(
        "", codec_reason(&try->request.judgement, try->request.judgement.verdicts[0].reason));
    try_free(try);
}

static void test_brokers_that_are_down_for_a_while_lose_nothing(void **state)
{
    static const char *const properties[] = {RECONNECT_SOON};
    struct fixture *f = *state;
    struct try *try, *idle;

    f->options.properties = properties;
    f->options.properties_count = ARRAY_SIZE(properties);
    make(f);
    add_lines(f, 500);
    idle = start(f, 0, 100);
    wait_done(idle);
    assert_all_accepted(idle);
    rd_kafka_mock_broker_set_down(f->cluster, -1);
    try = start(f, 100, 400);
    rd_kafka_mock_broker_set_up(f->cluster, -1);
    wait_done(try);
    check(try);
    assert_all_accepted(try);
    try_free(try);
    try_free(idle);
    consume(f, TOPIC);
    assert_int_equal(500, f->messages_count);
    assert_order(f);
}

static void test_what_is_not_delivered_in_time_is_to_be_sent_again(void **state)
{
    static const char *const properties[] = {RECONNECT_SOON};
    struct fixture *f = *state;
    const struct codec_judgement *j;
    struct try *try;

    f->options.delivery_timeout_ms = 500;
    f->options.properties = properties;
    f->options.properties_count = ARRAY_SIZE(properties);
    make(f);
    add_lines(f, 100);
    rd_kafka_mock_broker_set_down(f->cluster, -1);
    try = send_all(f);
    j = &try->request.judgement;
    assert_int_equal(0, try->request.error);
    assert_int_equal(CODEC_AGAIN, j->outcome);
    assert_int_equal(100, j->retry);
    assert_non_null(strstr(try->request.message, "timed out"));
    assert_string_equal(try->request.message, codec_reason(j, j->reason));
    try_free(try);
    rd_kafka_mock_broker_set_up(f->cluster, -1);
    do {
        try = send_all(f);
        if (try->request.judgement.outcome == CODEC_DONE)
            break;
        try_free(try);
    } while (true);
    assert_all_accepted(try);
    try_free(try);
}

static void test_what_brokers_do_not_allow_suspends(void **state)
{
    static const rd_kafka_resp_err_t errors[] = {
        RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
        RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT,
    };
    struct fixture *f = *state;

    make(f);
    add_lines(f, 10);
    for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
        struct try *try;

        push_error(f, errors[i], 10);
        try = send_all(f);
        assert_int_equal(CODEC_SUSPENDED, try->request.judgement.outcome);
        assert_int_equal(0, try->request.judgement.refused);
        assert_non_null(strstr(try->request.message, rd_kafka_err2str(errors[i])));
        try_free(try);
        rd_kafka_mock_clear_request_errors(f->cluster, API_PRODUCE);
        try = send_all(f);
        assert_all_accepted(try);
        try_free(try);
    }
}

static void test_a_topic_that_is_missing_suspends(void **state)
{
    static const char *const properties[] = {"topic.metadata.propagation.max.ms=0"};
    struct fixture *f = *state;
    struct try *try;

    rd_kafka_mock_topic_set_error(f->cluster, "none", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    f->options.topic = "none";
    f->options.properties = properties;
    f->options.properties_count = ARRAY_SIZE(properties);
    make(f);
    add_lines(f, 10);
    try = send_all(f);
    assert_int_equal(CODEC_SUSPENDED, try->request.judgement.outcome);
    assert_int_equal(10, try->request.judgement.retry);
    try_free(try);
    rd_kafka_mock_topic_set_error(f->cluster, "none", RD_KAFKA_RESP_ERR_NO_ERROR);
    try = send_all(f);
    assert_all_accepted(try);
    try_free(try);
}

static void test_a_fatal_error_makes_a_new_producer(void **state)
{
    struct fixture *f = *state;
    struct try *try;

    rd_kafka_mock_push_request_errors(f->cluster, API_INIT_PRODUCER_ID, 1,
                                      RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED);
    make(f);
    add_lines(f, 100);
    try = send_all(f);
    /* The request may have been taken before or after it was known. */
    if (try->request.judgement.outcome != CODEC_DONE) {
        assert_int_equal(CODEC_SUSPENDED, try->request.judgement.outcome);
        assert_int_equal(100, try->request.judgement.retry);
        try_free(try);
        try = send_all(f);
    }
    assert_all_accepted(try);
    try_free(try);
}

static void test_a_cancel_ends_every_request(void **state)
{
    struct fixture *f = *state;
    struct try *tries[3];

    make(f);
    add_lines(f, 300);
    rd_kafka_mock_broker_set_down(f->cluster, -1);
    for (size_t i = 0; i < ARRAY_SIZE(tries); i++)
        tries[i] = start(f, i * 100, 100);
    transport_cancel(f->transport);
    for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
        wait_done(tries[i]);
        check(tries[i]);
        assert_int_equal(-ECANCELED, tries[i]->request.error);
        assert_int_equal(100, tries[i]->request.judgement.retry);
        try_free(tries[i]);
    }
    rd_kafka_mock_broker_set_up(f->cluster, -1);
    tries[0] = send_all(f);
    assert_all_accepted(tries[0]);
    try_free(tries[0]);
}

static void note_accepted(const struct try *try, size_t from, bool *accepted)
{
    for (size_t i = 0; i < try->request.count; i++)
        accepted[from + i] |= try->request.judgement.verdicts[i].kind == CODEC_ACCEPTED;
}

static void assert_accepted_are_there(struct fixture *f, const bool *accepted)
{
    consume(f, TOPIC);
    for (size_t i = 0; i < f->batch->count; i++)
        if (accepted[i])
            assert_true(count_messages(f, &f->batch->records[i]) > 0);
}

static void test_a_cancel_in_the_middle_accepts_nothing_that_is_not_there(void **state)
{
    struct fixture *f = *state;
    bool accepted[900] = {false};

    make(f);
    add_lines(f, ARRAY_SIZE(accepted));
    for (int round = 0; round < 3; round++) {
        struct try *first = start(f, 0, 300), *second = start(f, 300, 600);

        if (round > 0)
            wait_done(first);
        transport_cancel(f->transport);
        wait_done(first);
        wait_done(second);
        check(first);
        check(second);
        note_accepted(first, 0, accepted);
        note_accepted(second, 300, accepted);
        try_free(first);
        try_free(second);
    }
    assert_true(accepted[0]);
    assert_accepted_are_there(f, accepted);
}

static void test_nothing_is_accepted_falsely_whatever_brokers_answer(void **state)
{
    static const rd_kafka_resp_err_t errors[] = {
        RD_KAFKA_RESP_ERR_NO_ERROR,
        RD_KAFKA_RESP_ERR__TRANSPORT,
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
        RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
        RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID,
        RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
        RD_KAFKA_RESP_ERR_INVALID_MSG,
    };
    /* One batch on its way at a time, as the mock does not compare sequence numbers. */
    static const char *const properties[] = {RECONNECT_SOON, "retry.backoff.ms=10",
                                             "batch.num.messages=50",
                                             "max.in.flight.requests.per.connection=1"};
    struct fixture *f = *state;
    bool accepted[2000] = {false};
    struct random random;
    size_t outcomes[5] = {0};

    random_seed(&random, 11);
    f->options.delivery_timeout_ms = 3000;
    f->options.properties = properties;
    f->options.properties_count = ARRAY_SIZE(properties);
    make(f);
    add_lines(f, ARRAY_SIZE(accepted));
    for (size_t from = 0; from < ARRAY_SIZE(accepted); from += 100) {
        struct try *try;

        for (uint64_t n = random_below(&random, 4); n > 0; n--)
            push_error(f, errors[random_below(&random, ARRAY_SIZE(errors))], 1);
        try = start(f, from, 100);
        wait_done(try);
        check(try);
        assert_int_equal(0, try->request.error);
        outcomes[try->request.judgement.outcome]++;
        note_accepted(try, from, accepted);
        try_free(try);
    }
    assert_true(outcomes[CODEC_DONE] > 0);
    assert_true(outcomes[CODEC_SUSPENDED] + outcomes[CODEC_SPLIT] + outcomes[CODEC_AGAIN] > 0);
    assert_accepted_are_there(f, accepted);
}

static void test_options_that_cannot_be_are_refused_with_a_reason(void **state)
{
    struct fixture *f = *state;
    const struct kafka_options good = f->options;
    const char *property = NULL;

#define REFUSED(words, ...)                                                                        \
    do {                                                                                           \
        f->options = good;                                                                         \
        __VA_ARGS__;                                                                               \
        assert_int_equal(-EINVAL, create(f));                                                      \
        if (!strstr(f->why, words))                                                                \
            fail_msg("not in it: %s: %s", words, f->why);                                          \
    } while (0)
#define REFUSED_PROPERTY(words, text)                                                              \
    REFUSED(words, property = text; f->options.properties = &property;                             \
            f->options.properties_count = 1)

    REFUSED("no brokers", f->options.brokers = "");
    REFUSED("topic: an empty pattern", f->options.topic = NULL);
    REFUSED("unknown placeholder {x}", f->options.topic = "{x}");
    REFUSED("times", f->options.topic = "{date}");
    REFUSED("compression", f->options.compression = "rar");
    REFUSED("message_max_bytes", f->options.message_max_bytes = 999);
    REFUSED("request.linger", f->options.linger_ms = -1);
    REFUSED("request.timeout", f->options.request_timeout_ms = 0);
    REFUSED("delivery_timeout", f->options.delivery_timeout_ms = 5);
    REFUSED("sasl.mechanism", f->options.sasl_mechanism = "GSSAPI");
    REFUSED("sasl.user", f->options.sasl_mechanism = "PLAIN");
    REFUSED("ssl.ca.location", f->options.tls = true; f->options.tls_ca_file = "/none/such.pem");
    REFUSED_PROPERTY("name=value", "acks");
    REFUSED_PROPERTY("name=value", "=1");
    REFUSED_PROPERTY("for ringtail to set", "acks=1");
    REFUSED_PROPERTY("for ringtail to set", "request.required.acks=1");
    REFUSED_PROPERTY("for ringtail to set", "enable.idempotence=false");
    REFUSED_PROPERTY("for ringtail to set", "partitioner=random");
    REFUSED_PROPERTY("use request.linger", "linger.ms=1");
    REFUSED_PROPERTY("No such configuration property", "no.such=1");
    REFUSED_PROPERTY("max.in.flight", "max.in.flight.requests.per.connection=6");
}

static void test_a_secret_is_in_no_message(void **state)
{
    struct fixture *f = *state;

    f->options.sasl_mechanism = "PLAIN";
    f->options.sasl_user = "me";
    f->options.sasl_password = "hunter2";
    f->options.tls = true;
    f->options.tls_key_password = "hunter2";
    f->options.tls_cert_file = f->options.tls_key_file = "/none/such.pem";
    assert_int_equal(-EINVAL, create(f));
    assert_string_not_equal("", f->why);
    assert_null(strstr(f->why, "hunter2"));
}

static void test_credentials_that_nobody_takes_suspend(void **state)
{
    static const char *const properties[] = {RECONNECT_SOON};
    struct fixture *f = *state;
    struct try *try;

    /* The mock knows no SASL, and says so. */
    f->options.sasl_mechanism = "PLAIN";
    f->options.sasl_user = "me";
    f->options.sasl_password = "secret";
    f->options.properties = properties;
    f->options.properties_count = ARRAY_SIZE(properties);
    make(f);
    add_lines(f, 10);
    try = send_all(f);
    assert_int_equal(CODEC_SUSPENDED, try->request.judgement.outcome);
    assert_int_equal(10, try->request.judgement.retry);
    assert_null(strstr(try->request.message, "secret"));
    try_free(try);
}

static void test_a_library_that_is_missing_is_a_reason_in_words(void **state)
{
    struct fixture *f = *state;

    no_library = true;
    assert_int_equal(-EOPNOTSUPP, create(f));
    assert_non_null(strstr(f->why, "librdkafka can't be loaded: "));
    no_library = false;
    make(f);
}

static void test_an_end_without_brokers_is_an_end(void **state)
{
    struct fixture *f = *state;

    f->options.brokers = "127.0.0.1:1";
    make(f);
    f->transport = transport_destroy(f->transport);
    assert_null(waker);
}

static void test_an_end_does_not_wait_for_a_name_server(void **state)
{
    struct fixture *f = *state;

    names.stuck = true;
    f->options.brokers = "kafka.example:9092";
    make(f);
    pthread_mutex_lock(&names.lock);
    while (names.asking == 0)
        pthread_cond_wait(&names.changed, &names.lock);
    pthread_mutex_unlock(&names.lock);
    f->transport = transport_destroy(f->transport);
    assert_null(waker);
    pthread_mutex_lock(&names.lock);
    assert_int_equal(1, names.asking);
    names.stuck = false;
    pthread_cond_broadcast(&names.changed);
    pthread_mutex_unlock(&names.lock);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* Before it was loaded. */
        TEST(test_a_library_that_is_missing_is_a_reason_in_words),
        TEST(test_an_end_does_not_wait_for_a_name_server),
        TEST(test_all_records_arrive_with_key_headers_and_time_in_order),
        TEST(test_requests_at_the_same_time_are_sent_in_the_order_of_their_start),
        TEST(test_every_compression_is_read_back),
        TEST(test_a_request_larger_than_the_queue_is_sent_as_room_is_made),
        TEST(test_a_topic_can_be_a_pattern),
        TEST(test_a_time_before_1970_is_sent_as_1970),
        TEST(test_a_record_that_is_too_large_is_refused_alone),
        TEST(test_a_batch_refused_for_its_content_is_split),
        TEST(test_a_record_refused_while_it_was_alone_is_at_fault),
        TEST(test_brokers_that_are_down_for_a_while_lose_nothing),
        TEST(test_what_is_not_delivered_in_time_is_to_be_sent_again),
        TEST(test_what_brokers_do_not_allow_suspends),
        TEST(test_a_topic_that_is_missing_suspends),
        TEST(test_a_fatal_error_makes_a_new_producer),
        TEST(test_a_cancel_ends_every_request),
        TEST(test_a_cancel_in_the_middle_accepts_nothing_that_is_not_there),
        TEST(test_nothing_is_accepted_falsely_whatever_brokers_answer),
        TEST(test_options_that_cannot_be_are_refused_with_a_reason),
        TEST(test_a_secret_is_in_no_message),
        TEST(test_credentials_that_nobody_takes_suspend),
        TEST(test_an_end_without_brokers_is_an_end),
    };

    return cmocka_run_group_tests_name("sink/kafka", tests, NULL, NULL);
}
