/*
 * librdkafka, loaded on first use: with what it depends on it would add 2.8 MiB to the resident
 * memory of every ringtail, whether it has a Kafka sink or not.
 */
#pragma once

#include <stddef.h>

#include <librdkafka/rdkafka.h>

/* The functions that are used; each is `lib->name` instead of `rd_kafka_name`. */
#define RDKAFKA_FUNCTIONS(X)                                                                       \
    X(conf_destroy)                                                                                \
    X(conf_dup)                                                                                    \
    X(conf_new)                                                                                    \
    X(conf_set)                                                                                    \
    X(conf_set_dr_msg_cb)                                                                          \
    X(conf_set_error_cb)                                                                           \
    X(conf_set_log_cb)                                                                             \
    X(conf_set_opaque)                                                                             \
    X(destroy)                                                                                     \
    X(err2str)                                                                                     \
    X(error_code)                                                                                  \
    X(error_destroy)                                                                               \
    X(fatal_error)                                                                                 \
    X(header_add)                                                                                  \
    X(headers_destroy)                                                                             \
    X(headers_new)                                                                                 \
    X(message_status)                                                                              \
    X(new)                                                                                         \
    X(poll)                                                                                        \
    X(produceva)                                                                                   \
    X(purge)                                                                                       \
    X(queue_destroy)                                                                               \
    X(queue_get_main)                                                                              \
    X(queue_io_event_enable)                                                                       \
    X(topic_destroy)                                                                               \
    X(topic_new)                                                                                   \
    X(version)                                                                                     \
    X(version_str)

struct rdkafka {
#define RDKAFKA_MEMBER(name) __typeof__(&rd_kafka_##name) name;
    RDKAFKA_FUNCTIONS(RDKAFKA_MEMBER)
#undef RDKAFKA_MEMBER
};

/**
 * returns: 0 with the library, which stays loaded; -EOPNOTSUPP with the reason in `why`.
 * thread:  one at a time.
 */
int rdkafka_load(const struct rdkafka **ret, char *why, size_t why_size);
