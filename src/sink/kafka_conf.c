/*
 * Options of a Kafka sink as properties of librdkafka. Nothing is kept. What ringtail promises
 * (order, no loss, no false acknowledgement) is set here and cannot be set otherwise.
 */
#include "kafka_conf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ringtail/base/macros.h"
#include "ringtail/codec/codec.h"

#define QUEUE_BYTES ((size_t)64 * 1024 * 1024)

/* What is being filled, and the first thing that went wrong with it. */
struct filling {
    const struct rdkafka *lib;
    rd_kafka_conf_t *conf;
    char *why;
    size_t why_size;
    int error;
};

static void fail(struct filling *f, const char *fmt, ...) RT_PRINTF(2, 3);

static void fail(struct filling *f, const char *fmt, ...)
{
    va_list ap;

    /* The first reason is the one to give. */
    if (f->error == 0) {
        va_start(ap, fmt);
        (void)vsnprintf(f->why, f->why_size, fmt, ap);
        va_end(ap);
    }
    f->error = -EINVAL;
}

static void set(struct filling *f, const char *name, const char *value)
{
    char why[512] = "";

    if (f->error == 0 &&
        f->lib->conf_set(f->conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK)
        fail(f, "%s", why);
}

/** librdkafka quotes what it does not like, so its words are not for secrets. */
static void set_secret(struct filling *f, const char *name, const char *value)
{
    if (f->error == 0 && f->lib->conf_set(f->conf, name, value, NULL, 0) != RD_KAFKA_CONF_OK)
        fail(f, "librdkafka does not take this %s", name);
}

static void set_int(struct filling *f, const char *name, int64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRId64, value);
    set(f, name, text);
}

static bool is_given(const char *text)
{
    return text && *text;
}

static void set_given(struct filling *f, const char *name, const char *value)
{
    if (is_given(value))
        set(f, name, value);
}

static void check(struct filling *f, const char *name, int64_t value, int64_t least, int64_t most)
{
    if (value < least || value > most)
        fail(f, "%s: %" PRId64 " is not in %" PRId64 " … %" PRId64, name, value, least, most);
}

size_t kafka_queue_max_bytes(size_t message_max_bytes)
{
    return MAX(QUEUE_BYTES, 2 * message_max_bytes);
}

static void fill_promises(struct filling *f, const struct kafka_options *o)
{
    set(f, "acks", "all");
    set(f, "enable.idempotence", "true");
    /* As Kafka's own clients do, so that what they write with the same key lies beside it. */
    set(f, "partitioner", "murmur2_random");
    set_int(f, "queue.buffering.max.messages", (int64_t)CODEC_RECORDS_MAX);
    set_int(f, "queue.buffering.max.kbytes",
            (int64_t)(kafka_queue_max_bytes(o->message_max_bytes) / 1024));
}

static void fill_sending(struct filling *f, const struct kafka_options *o)
{
    if (!is_given(o->brokers))
        fail(f, "no brokers");
    check(f, "message_max_bytes", (int64_t)o->message_max_bytes, 1000, 1000000000);
    check(f, "request.linger", o->linger_ms, 0, 900000);
    check(f, "request.timeout", o->request_timeout_ms, 100, 290000);
    check(f, "delivery_timeout", o->delivery_timeout_ms, o->linger_ms + 1, INT32_MAX);
    set(f, "bootstrap.servers", o->brokers);
    set(f, "client.id", is_given(o->client_id) ? o->client_id : "ringtail");
    set(f, "compression.type", is_given(o->compression) ? o->compression : "none");
    set_int(f, "message.max.bytes", (int64_t)o->message_max_bytes);
    set_int(f, "linger.ms", o->linger_ms);
    set_int(f, "request.timeout.ms", o->request_timeout_ms);
    /* The broker answers within the one; what it did not is given up some time later. */
    set_int(f, "socket.timeout.ms", o->request_timeout_ms + 1000);
    set_int(f, "delivery.timeout.ms", o->delivery_timeout_ms);
}

static void fill_security(struct filling *f, const struct kafka_options *o)
{
    bool sasl = is_given(o->sasl_mechanism);

    set(f, "security.protocol",
        sasl ? (o->tls ? "sasl_ssl" : "sasl_plaintext") : (o->tls ? "ssl" : "plaintext"));
    if (o->tls) {
        set_given(f, "ssl.ca.location", o->tls_ca_file);
        set_given(f, "ssl.certificate.location", o->tls_cert_file);
        set_given(f, "ssl.key.location", o->tls_key_file);
        if (is_given(o->tls_key_password))
            set_secret(f, "ssl.key.password", o->tls_key_password);
        set(f, "enable.ssl.certificate.verification", o->tls_verify ? "true" : "false");
        set(f, "ssl.endpoint.identification.algorithm", o->tls_verify ? "https" : "none");
    }
    if (sasl) {
        if (strcmp(o->sasl_mechanism, "PLAIN") != 0 &&
            strcmp(o->sasl_mechanism, "SCRAM-SHA-256") != 0 &&
            strcmp(o->sasl_mechanism, "SCRAM-SHA-512") != 0)
            fail(f, "sasl.mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512");
        else if (!is_given(o->sasl_user) || !is_given(o->sasl_password))
            fail(f, "sasl.mechanism needs sasl.user and sasl.password");
        set(f, "sasl.mechanisms", o->sasl_mechanism);
        set_secret(f, "sasl.username", is_given(o->sasl_user) ? o->sasl_user : "");
        set_secret(f, "sasl.password", is_given(o->sasl_password) ? o->sasl_password : "");
    }
}

static void fill_property(struct filling *f, const char *property)
{
    const char *equals = strchr(property, '=');
    const char *option;
    char name[128];
    size_t len;

    if (!equals || equals == property || (size_t)(equals - property) >= sizeof name) {
        fail(f, "a property is name=value");
        return;
    }
    len = (size_t)(equals - property);
    memcpy(name, property, len);
    name[len] = '\0';
    if (kafka_property_is_reserved(slice_str(name), &option)) {
        if (option)
            fail(f, "%s is not for properties: use %s", name, option);
        else
            fail(f, "%s is not for properties: it is for ringtail to set", name);
        return;
    }
    set(f, name, equals + 1);
}

int kafka_conf_create(const struct rdkafka *lib, const struct kafka_options *options,
                      rd_kafka_conf_t **ret, char *why, size_t why_size)
{
    struct filling f = {.lib = lib, .conf = lib->conf_new(), .why = why, .why_size = why_size};

    if (!f.conf)
        return -ENOMEM;
    fill_sending(&f, options);
    fill_promises(&f, options);
    fill_security(&f, options);
    for (size_t i = 0; i < options->properties_count && f.error == 0; i++)
        fill_property(&f, options->properties[i]);
    if (f.error < 0) {
        lib->conf_destroy(f.conf);
        return f.error;
    }
    *ret = f.conf;
    return 0;
}
