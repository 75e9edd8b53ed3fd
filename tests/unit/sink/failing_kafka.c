/* tests/support/failing_libraries.h. */
#include "support/failing_libraries.h"

#include <dlfcn.h>
#include <stdio.h>

#include "sink/rdkafka.h"

int __real_rdkafka_load(const struct rdkafka **ret, char *why, size_t why_size);
int __wrap_rdkafka_load(const struct rdkafka **ret, char *why, size_t why_size);

static const struct rdkafka *real;
static __typeof__(rd_kafka_error_new) *error_new;

static rd_kafka_conf_res_t conf_set(rd_kafka_conf_t *conf, const char *name, const char *value,
                                    char *why, size_t why_size)
{
    if (!failing_kafka_must_fail())
        return real->conf_set(conf, name, value, why, why_size);
    (void)snprintf(why, why_size, "by a test");
    return RD_KAFKA_CONF_INVALID;
}

static rd_kafka_t *producer_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, char *why,
                                size_t why_size)
{
    if (!failing_kafka_must_fail())
        return real->new (type, conf, why, why_size);
    (void)snprintf(why, why_size, "by a test");
    return NULL;
}

static rd_kafka_topic_t *topic_new(rd_kafka_t *producer, const char *topic,
                                   rd_kafka_topic_conf_t *conf)
{
    return failing_kafka_must_fail() ? NULL : real->topic_new(producer, topic, conf);
}

static rd_kafka_resp_err_t header_add(rd_kafka_headers_t *headers, const char *name,
                                      ssize_t name_size, const void *value, ssize_t value_size)
{
    return failing_kafka_must_fail()
               ? RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE
               : real->header_add(headers, name, name_size, value, value_size);
}

static rd_kafka_error_t *produceva(rd_kafka_t *producer, const rd_kafka_vu_t *vus, size_t count)
{
    return failing_kafka_must_fail() ? error_new(RD_KAFKA_RESP_ERR__QUEUE_FULL, "by a test")
                                     : real->produceva(producer, vus, count);
}

static rd_kafka_resp_err_t purge(rd_kafka_t *producer, int flags)
{
    return failing_kafka_must_fail() ? RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE
                                     : real->purge(producer, flags);
}

int __wrap_rdkafka_load(const struct rdkafka **ret, char *why, size_t why_size)
{
    static struct rdkafka wrapped;
    int r = __real_rdkafka_load(&real, why, why_size);

    if (r < 0)
        return r;
    error_new =
        (__typeof__(error_new))dlsym(dlopen("librdkafka.so.1", RTLD_NOW), "rd_kafka_error_new");
    wrapped = *real;
    wrapped.conf_set = conf_set;
    wrapped.new = producer_new;
    wrapped.topic_new = topic_new;
    wrapped.header_add = header_add;
    wrapped.produceva = produceva;
    wrapped.purge = purge;
    *ret = &wrapped;
    return 0;
}
