/* librdkafka's configuration, made of our options. */
#pragma once

#include "ringtail/sink/kafka.h"

#include "rdkafka.h"

/** The bytes that librdkafka may hold for a transport whose messages have at most so many. */
size_t kafka_queue_max_bytes(size_t message_max_bytes);

/**
 * A configuration without callbacks, which the caller destroys.
 *
 * returns: 0; -EINVAL with the reason in `why`, which has no secret in it; -ENOMEM.
 */
int kafka_conf_create(const struct rdkafka *lib, const struct kafka_options *options,
                      rd_kafka_conf_t **ret, char *why, size_t why_size);
