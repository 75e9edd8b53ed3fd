/*
 * Records to a Kafka cluster, through librdkafka: one message for each record.
 *
 *   key        the container's id: the lines of a container stay in one partition, in order
 *   value      the record's JSON object (record/ndjson.h), without a newline
 *   timestamp  the record's, in milliseconds
 *   headers    container_id, container_name, image, stream, identity (record/identity.h)
 *
 * The producer is idempotent and waits for all replicas in sync, always: a record is accepted when
 * the cluster says that it has it, and librdkafka's own repetitions double and reorder nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/slice.h"
#include "ringtail/io/ring.h"

struct transport;

/** Borrowed for kafka_transport_create. A string that is not needed is NULL or "". */
struct kafka_options {
    const char *brokers; /* host:port,host:port: where the cluster is asked for its brokers */
    /** A pattern (codec/pattern.h) without times. What Kafka does not allow in a topic's name
     * becomes '_'; a name is cut at 249 bytes. */
    const char *topic;
    const char *host;        /* for {host} */
    const char *client_id;   /* "ringtail" */
    const char *compression; /* none, gzip, snappy, lz4 or zstd; none */
    /** A record whose message is larger is refused. At most what the topics allow (Kafka's own
     * limit is 1048588), so that no request is refused by the cluster for one record. */
    size_t message_max_bytes;     /* 1000 … 1000000000 */
    int64_t linger_ms;            /* 0 … 900000: waits that long for a batch to fill */
    int64_t request_timeout_ms;   /* 100 … 290000: of one request to a broker */
    int64_t delivery_timeout_ms;  /* > linger_ms: what is not there after it is to be sent again */
    bool tls;                     /* the rest of TLS only with it */
    const char *tls_ca_file;      /* PEM; "": those of the system */
    const char *tls_cert_file;    /* PEM; ours */
    const char *tls_key_file;     /* PEM */
    const char *tls_key_password; /* of that file */
    bool tls_verify;              /* the broker's certificate and name */
    const char *sasl_mechanism;   /* PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; "": no SASL */
    const char *sasl_user;
    const char *sasl_password;
    /** `name=value`: other properties of librdkafka. Those that ringtail sets itself, and those
     * that would break what it promises, are refused. */
    const char *const *properties;
    size_t properties_count;
};

/**
 * Loads librdkafka and makes the transport with its thread and its producer, which begins to
 * connect by itself. `ring` is used for wake-ups alone.
 *
 * returns: 0; -EINVAL for options that cannot be, -EOPNOTSUPP when this ringtail was built without
 *          Kafka or librdkafka is not installed (both with the reason in `why`); -ENOMEM; other
 *          errors of threads and descriptors.
 * thread:  the ring's, as all calls of the transport.
 *
 * Of the transport:
 *
 * - A request for which a record could not be delivered is judged when all that is on its way has
 *   been reported; what was only queued is given back at once, so that nothing is sent that would
 *   overtake what has failed. The next request begins with a new producer.
 * - Requests are sent in the order of their start. Whoever needs the order of lines over failures
 *   too has one request in flight at a time.
 * - CODEC_SPLIT is what a cluster's refusal of a batch becomes (it does not say of which record).
 * - `wire_bytes` stays 0: librdkafka compresses across requests. `status` of a verdict is Kafka's
 *   error code, 0 for librdkafka's own errors.
 * - destroy waits for the connections' end for at most KAFKA_DESTROY_MS; a thread that is stuck
 *   longer (in a look-up of a name) ends by itself.
 */
int kafka_transport_create(struct ring *ring, const struct kafka_options *options,
                           struct transport **ret, char *why, size_t why_size);

#define KAFKA_DESTROY_MS 3000

/**
 * Whether a property of librdkafka is not for `properties`, because ringtail sets it: `ret_option`
 * is then the option of the sink to use in its place, or NULL where there is none. Also in a build
 * without Kafka. Thread: any.
 */
bool kafka_property_is_reserved(struct slice name, const char **ret_option);
