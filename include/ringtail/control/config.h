/*
 * Everything that can be set, as one struct, and the table that says all about each option.
 * Read-only after start; owned by the daemon. Secrets are in it as they are: it is never printed
 * but by option_format_value.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/base/option.h"

/** output.sync, in the order of its values. */
enum output_sync { OUTPUT_SYNC_POSITIONS, OUTPUT_SYNC_NEVER };

/** What a sink does when its queue is full, and the spool too where it has one. */
enum queue_policy { QUEUE_PAUSE, QUEUE_DROP_OLDEST, QUEUE_DROP_NEWEST };

enum sink_type {
    SINK_TYPE_FILE,
    SINK_TYPE_STDOUT,
    SINK_TYPE_LOKI,
    SINK_TYPE_ELASTICSEARCH,
    SINK_TYPE_HTTP,
    SINK_TYPE_OTLP,
    SINK_TYPE_SPLUNK,
    SINK_TYPE_KAFKA,
    SINK_TYPE_COUNT,
};

enum http_format { HTTP_FORMAT_NDJSON, HTTP_FORMAT_JSON, HTTP_FORMAT_TEXT };
enum otlp_encoding { OTLP_ENCODING_PROTOBUF, OTLP_ENCODING_JSON };

enum kafka_compression {
    KAFKA_COMPRESSION_NONE,
    KAFKA_COMPRESSION_GZIP,
    KAFKA_COMPRESSION_SNAPPY,
    KAFKA_COMPRESSION_LZ4,
    KAFKA_COMPRESSION_ZSTD,
};

/** By enum kafka_compression and enum sasl_mechanism, as librdkafka calls them too, SASL_NONE
 * excepted. */
extern const char *const config_kafka_compressions[];
extern const char *const config_sasl_mechanisms[];

enum sasl_mechanism { SASL_NONE, SASL_PLAIN, SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_512 };

/**
 * One of `sinks`. What its type does not have is zero; texts are never NULL.
 */
struct sink_config {
    char *name; /* first: option_section */
    int type;   /* enum sink_type */
    int64_t queue_max_bytes;
    int queue_policy; /* enum queue_policy */

    /* file: the same as output_* */
    char *path, *template;
    int64_t rotate_bytes, rotate_interval_ms, rotate_keep;
    int rotate_compression; /* enum compression */
    int64_t retention_ms, free_space_min_bytes;
    int64_t open_files_max;
    int64_t retry_interval_ms;
    int sync; /* enum output_sync */

    /* Remote types. */
    bool spool; /* in force only where there is a spool_path */
    bool spool_given;
    int64_t request_max_bytes, request_max_records;
    int64_t request_linger_ms, request_timeout_ms;
    int64_t in_flight;
    int64_t retry_min_ms, retry_max_ms, retry_suspended_ms;
    int64_t retry_after_max_ms; /* not kafka */
    int compression;            /* enum compression; not kafka */
    int kafka_compression;      /* enum kafka_compression */
    bool tls_enabled;           /* kafka; elsewhere the URL says it */
    char *tls_ca, *tls_certificate, *tls_key;
    char *tls_key_password; /* secret */
    bool tls_verify;

    /* Those over HTTP. */
    char *url;
    char *proxy;
    struct option_list headers; /* `Name: value` */
    int64_t connect_timeout_ms;
    int64_t connections;
    char *auth_user;
    char *auth_password, *auth_token; /* secrets */
    char *auth_scheme;                /* what stands before the token */

    char *loki_labels, *loki_metadata, *loki_tenant;
    int64_t loki_label_values_max;
    char *elasticsearch_index;
    int http_format;    /* enum http_format */
    int otlp_encoding;  /* enum otlp_encoding */
    char *splunk_token; /* secret */
    char *splunk_source, *splunk_sourcetype, *splunk_index;

    struct option_list kafka_brokers; /* host:port */
    char *kafka_topic;                /* a pattern */
    char *kafka_client_id;
    int64_t kafka_message_max_bytes;
    int64_t kafka_delivery_timeout_ms;
    int sasl_mechanism; /* enum sasl_mechanism */
    char *sasl_user;
    char *sasl_password;                 /* secret */
    struct option_list kafka_properties; /* `name=value`, for librdkafka */
};

struct config {
    char *engine_url;
    int64_t engine_request_timeout_ms;
    int64_t engine_reconnect_min_ms, engine_reconnect_max_ms;
    int64_t engine_requests_max;
    int64_t engine_reply_bytes_max;
    int64_t engine_head_bytes_max;

    int64_t discovery_resync_ms;
    struct option_list containers_include, containers_exclude;
    bool containers_follow_self;

    char *stream_since;
    int64_t stream_read_timeout_ms;
    int64_t stream_rotation_interval_ms;
    int64_t stream_rotation_jitter_percent;
    int64_t stream_stuck_grace_ms;
    int64_t stream_reread_max_bytes;
    int64_t stream_openings_max;
    int64_t stream_max_line_bytes;
    int64_t stream_max_frame_bytes;
    int64_t stream_history_records;
    int64_t stream_seek_timeout_ms;
    int64_t stream_retry_refused_ms;

    char *output_path;
    bool output_path_given;
    char *output_template;
    int64_t output_rotate_bytes, output_rotate_interval_ms, output_rotate_keep;
    int output_rotate_compression; /* enum compression */
    int64_t output_retention_ms, output_free_space_min_bytes;
    int64_t output_open_files_max;
    int64_t output_retry_ms;
    int output_sync; /* enum output_sync */

    char *positions_path;
    int64_t positions_interval_ms, positions_keep_ms;

    int64_t queue_max_bytes;
    int64_t queue_batch_bytes;

    char *spool_path; /* "": there is no spool */
    int64_t spool_max_bytes, spool_segment_bytes, spool_max_age_ms;
    int spool_sync; /* enum spool_sync */
    char *dead_letters_path;
    int64_t dead_letters_max_bytes, dead_letters_keep;

    struct sink_config *sinks; /* after config_complete */
    size_t sinks_count;
    struct option_instances sink_instances; /* what owns them */

    int ring_backend; /* enum ring_backend_choice */
    int64_t ring_entries;
    int64_t ring_sockets_max;
    int64_t ring_buffers;
    int64_t ring_buffer_bytes;
    int64_t ring_workers_max;
    int64_t ring_batch_pause_ms;

    char *host_name; /* "": the system's */

    char *admin_address;
    int64_t admin_port;
    int64_t admin_connections_max;
    int64_t admin_timeout_ms;
    int64_t metrics_series_max;
    int64_t metrics_linger_ms;
    int64_t heartbeat_interval_ms;

    int log_level, log_format;
    int64_t log_burst;

    int64_t run_grace_ms;
    int run_confine;
};

/** The table of all options, for set, load, help and documentation (base/option.h). */
const struct option_table *config_options(void);

/** All defaults. Returns 0 or -ENOMEM. */
int config_init(struct config *c);
void config_finish(struct config *c);

/** Makes the sinks, once all is set (options_complete). */
int config_complete(struct config *c, struct option_problems *problems);

/** Whether there is the sink that output.* describes. */
bool config_has_output(const struct config *c);

/**
 * What single options can't know: a template that makes no file name, a URL that is none, bounds
 * that contradict each other, files that are not there. Nothing is connected to. Adds every
 * problem. Returns 0 or -EINVAL.
 */
int config_check(const struct config *c, struct option_problems *problems);

/** Whether there is that sink, and it writes files below a directory, not our standard output. */
bool config_output_is_directory(const struct config *c);

/** The path in `unix:///path`. NULL for anything else. */
const char *config_engine_path(const struct config *c);

/**
 * `now`, `all`, a duration back from now (`1h30m`), an RFC 3339 timestamp, or seconds since 1970.
 * ret_floor_ns: INT64_MIN for all; ret_is_now: it was `now`. Returns 0 or -EINVAL.
 */
int config_since_parse(const char *text, int64_t now_ns, int64_t *ret_floor_ns, bool *ret_is_now);
