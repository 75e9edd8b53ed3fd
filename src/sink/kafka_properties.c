/* Which of librdkafka's properties a Kafka sink sets itself: known also where there is no
 * librdkafka. */
#include "ringtail/sink/kafka.h"

#include "ringtail/base/macros.h"

/* By all of their names. */
static const struct {
    const char *name;
    const char *option; /* of a sink's, in its place; NULL: there is none */
} reserved[] = {
    /* The promises. */
    {"acks", NULL},
    {"request.required.acks", NULL},
    {"enable.idempotence", NULL},
    {"enable.gapless.guarantee", NULL},
    {"transactional.id", NULL},
    {"partitioner", NULL},
    {"queuing.strategy", NULL},
    {"delivery.report.only.error", NULL},
    {"produce.offset.report", NULL},
    /* How the thread is woken, and what it hears. */
    {"enabled_events", NULL},
    {"log.queue", NULL},
    {"internal.termination.signal", NULL},
    /* Secrets, which are to be given as such. */
    {"ssl.keystore.password", NULL},
    {"sasl.oauthbearer.client.secret", NULL},
    /* Room for the largest request. */
    {"queue.buffering.max.messages", NULL},
    {"queue.buffering.max.kbytes", NULL},
    /* What has an option. */
    {"bootstrap.servers", "brokers"},
    {"metadata.broker.list", "brokers"},
    {"client.id", "client_id"},
    {"compression.codec", "compression"},
    {"compression.type", "compression"},
    {"message.max.bytes", "message_max_bytes"},
    {"linger.ms", "request.linger"},
    {"queue.buffering.max.ms", "request.linger"},
    {"request.timeout.ms", "request.timeout"},
    {"socket.timeout.ms", "request.timeout"},
    {"delivery.timeout.ms", "delivery_timeout"},
    {"message.timeout.ms", "delivery_timeout"},
    {"security.protocol", "tls.enabled and sasl.mechanism"},
    {"ssl.ca.location", "tls.ca"},
    {"ssl.certificate.location", "tls.certificate"},
    {"ssl.key.location", "tls.key"},
    {"ssl.key.password", "tls.key_password"},
    {"enable.ssl.certificate.verification", "tls.verify"},
    {"ssl.endpoint.identification.algorithm", "tls.verify"},
    {"sasl.mechanism", "sasl.mechanism"},
    {"sasl.mechanisms", "sasl.mechanism"},
    {"sasl.username", "sasl.user"},
    {"sasl.password", "sasl.password"},
};

bool kafka_property_is_reserved(struct slice name, const char **ret_option)
{
    for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
        if (slice_eq_str(name, reserved[i].name)) {
            *ret_option = reserved[i].option;
            return true;
        }
    return false;
}
