/* The options of a sink: one table for all types, each option with the types that have it. */
#include "config_private.h"

#include "ringtail/base/macros.h"

#define FILE_ BIT(SINK_TYPE_FILE)
#define LOKI BIT(SINK_TYPE_LOKI)
#define ELASTICSEARCH BIT(SINK_TYPE_ELASTICSEARCH)
#define HTTP BIT(SINK_TYPE_HTTP)
#define OTLP BIT(SINK_TYPE_OTLP)
#define SPLUNK BIT(SINK_TYPE_SPLUNK)
#define KAFKA BIT(SINK_TYPE_KAFKA)
#define OVER_HTTP (LOKI | ELASTICSEARCH | HTTP | OTLP | SPLUNK)
#define REMOTE (OVER_HTTP | KAFKA)

static const char *const types[] = {
    "file", "stdout", "loki", "elasticsearch", "http", "otlp", "splunk", "kafka", NULL,
};
static const char *const policies[] = {"pause", "drop_oldest", "drop_newest", NULL};
static const char *const formats[] = {"ndjson", "json", "text", NULL};
static const char *const encodings[] = {"protobuf", "json", NULL};

const char *const config_kafka_compressions[] = {"none", "gzip", "snappy", "lz4", "zstd", NULL};
const char *const config_sasl_mechanisms[] = {"none", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512",
                                              NULL};

#define OPT_STRUCT struct sink_config

static const struct option options[] = {
#define OPT_GROUP "Every sink"
    OPT_ENUM("type", type, NULL, types, "What it is.", .required = true),
    OPT_SIZE("queue.max_bytes", queue_max_bytes, "1MiB", "64GiB", "32MiB",
             "Lines that wait for it in memory."),
    OPT_ENUM("queue.policy", queue_policy, "pause", policies,
             "When its queue is full, and the spool too where it has one. pause: reading from the "
             "Engine stops, for all sinks, so that nothing is lost. drop_oldest, drop_newest: "
             "lines of this sink are dropped, and counted."),
#undef OPT_GROUP
#define OPT_GROUP "File sinks"
    OPT_STRING("path", path, "1", "4096", NULL,
               "Directory for one file per container. Up to 6 sinks, output.path among them, can "
               "write files, and each is continued exactly after a crash. Their directories may "
               "lie in each other only where no template leads from one into the other.",
               .kinds = FILE_, .required = true, .sample = "/var/log/containers"),
    OPT_STRING("template", template, "1", "1024", "{container_name}-{container_id_short}.ndjson",
               "File name below the directory, as output.template.", .kinds = FILE_),
    OPT_SIZE("rotate_bytes", rotate_bytes, "0", "1024GiB", "0",
             "Begin a new file when one has reached this size; 0: never.", .kinds = FILE_),
    OPT_DURATION("rotate_interval", rotate_interval_ms, "0", "365d", "0",
                 "As output.rotate_interval.", .kinds = FILE_, .sample = "1d"),
    OPT_INT("rotate_keep", rotate_keep, "1", "1000", "5",
            "Rotated files kept beside the current one, as name.1 (newest), name.2 ...",
            .kinds = FILE_),
    OPT_ENUM("rotate_compression", rotate_compression, "none", config_compressions,
             "As output.rotate_compression.", .kinds = FILE_, .sample = "gzip"),
    OPT_DURATION("retention", retention_ms, "0", "3650d", "0", "As output.retention.",
                 .kinds = FILE_),
    OPT_SIZE("free_space_min", free_space_min_bytes, "0", "1048576GiB", "0",
             "As output.free_space_min.", .kinds = FILE_),
    OPT_INT("open_files_max", open_files_max, "1", "100000", "512",
            "Files open at once; the least recently written are closed first.", .kinds = FILE_),
    OPT_DURATION("retry.interval", retry_interval_ms, "10ms", "10m", "1s",
                 "A write that failed (disk full, say) is tried again this often, as output.retry.",
                 .kinds = FILE_),
    OPT_ENUM("sync", sync, "never", config_output_syncs, "As output.sync.", .kinds = FILE_),
#undef OPT_GROUP
#define OPT_GROUP "Remote sinks"
    OPT_BOOL("spool", spool, "true",
             "Lines that do not fit into its queue wait in the spool; with no spool.path there is "
             "none.",
             .kinds = REMOTE, .given = offsetof(struct sink_config, spool_given)),
    OPT_SIZE("request.max_bytes", request_max_bytes, "1KiB", "64MiB", "1MiB",
             "Lines in one request, before they are encoded and compressed. A single longer line "
             "goes alone.",
             .kinds = REMOTE),
    OPT_INT("request.max_records", request_max_records, "1", "65536", "10000",
            "Lines in one request.", .kinds = LOKI | HTTP | KAFKA),
    OPT_INT("request.max_records", request_max_records, "1", "65536", "5000",
            "Lines in one request.", .kinds = ELASTICSEARCH | SPLUNK),
    OPT_INT("request.max_records", request_max_records, "1", "65536", "8192",
            "Lines in one request.", .kinds = OTLP),
    OPT_DURATION("request.linger", request_linger_ms, "0", "1m", "100ms",
                 "A request that is not full waits this long for more lines.", .kinds = REMOTE),
    OPT_DURATION("request.timeout", request_timeout_ms, "100ms", "10m", "30s",
                 "One try may take this long.", .kinds = OVER_HTTP),
    OPT_DURATION("request.timeout", request_timeout_ms, "100ms", "4m50s", "30s",
                 "A request to a broker may take this long.", .kinds = KAFKA),
    OPT_INT("in_flight", in_flight, "1", "64", "1",
            "Requests under way at once. With more than one, lines may arrive out of order when a "
            "request is repeated.",
            .kinds = REMOTE),
    OPT_DURATION("retry.min", retry_min_ms, "10ms", "1m", "200ms",
                 "The pause after a first try that failed. Later ones double, with jitter; a "
                 "Retry-After of the receiver is waited for.",
                 .kinds = REMOTE),
    OPT_DURATION("retry.max", retry_max_ms, "100ms", "1h", "30s",
                 "The longest pause between two tries.", .kinds = REMOTE),
    OPT_DURATION("retry.after_max", retry_after_max_ms, "1s", "1d", "10m",
                 "A longer Retry-After of the receiver is taken for this.", .kinds = OVER_HTTP),
    OPT_DURATION("retry.suspended", retry_suspended_ms, "1s", "1d", "1m",
                 "A receiver that refuses everything (wrong credentials, no such index) is tried "
                 "again this often.",
                 .kinds = REMOTE),
    OPT_ENUM("compression", compression, "gzip", config_compressions, "Of requests.",
             .kinds = OVER_HTTP),
    OPT_ENUM("compression", kafka_compression, "lz4", config_kafka_compressions, "Of batches.",
             .kinds = KAFKA),
    OPT_BOOL("tls.enabled", tls_enabled, "false", "Talk TLS to the brokers.", .kinds = KAFKA),
    OPT_STRING("tls.ca", tls_ca, "0", "4096", NULL,
               "File (PEM) of the authorities to trust. Empty: the system's.", .kinds = REMOTE),
    OPT_STRING("tls.certificate", tls_certificate, "0", "4096", NULL,
               "File (PEM) of the certificate to show, with tls.key.", .kinds = REMOTE),
    OPT_STRING("tls.key", tls_key, "0", "4096", NULL, "File (PEM) of its private key.",
               .kinds = REMOTE),
    OPT_SECRET("tls.key_password", tls_key_password, "Password of that file.", .kinds = REMOTE),
    OPT_BOOL("tls.verify", tls_verify, "true",
             "Check the receiver's certificate and name. Without it anybody can pretend to be the "
             "receiver.",
             .kinds = REMOTE),
#undef OPT_GROUP
#define OPT_GROUP "Sinks over HTTP"
    OPT_STRING("url", url, "8", "4096", NULL,
               "Address of the receiver, http:// or https://. Without a path the usual one of its "
               "type is taken. Credentials do not go here.",
               .kinds = OVER_HTTP, .required = true, .sample = "https://logs.example.net"),
    OPT_STRING("proxy", proxy, "0", "4096", NULL,
               "Proxy to go through: http://, https://, socks5:// or socks5h://host:port. Empty: "
               "none.",
               .kinds = OVER_HTTP),
    OPT_LIST("headers", headers,
             "Further headers, each as \"Name: value\". Not for secrets: see auth.token.",
             .kinds = OVER_HTTP),
    OPT_DURATION("connect_timeout", connect_timeout_ms, "100ms", "5m", "10s",
                 "A connection, TLS included, may take this long to come about.",
                 .kinds = OVER_HTTP),
    OPT_INT("connections", connections, "1", "64", "4",
            "Connections to the receiver at once; they are kept.", .kinds = OVER_HTTP),
    OPT_STRING("auth.user", auth_user, "0", "256", NULL, "User for basic authentication.",
               .kinds = OVER_HTTP & ~SPLUNK),
    OPT_SECRET("auth.password", auth_password, "Password for basic authentication.",
               .kinds = OVER_HTTP & ~SPLUNK),
    OPT_SECRET("auth.token", auth_token, "Token for bearer authentication, in place of a user.",
               .kinds = OVER_HTTP & ~SPLUNK, .sample = "env:LOGS_TOKEN"),
    OPT_STRING("auth.scheme", auth_scheme, "1", "32", "Bearer",
               "Word before the token in the header Authorization: ApiKey for an API key of "
               "Elasticsearch.",
               .kinds = OVER_HTTP & ~SPLUNK),
#undef OPT_GROUP
#define OPT_GROUP "Loki"
    OPT_STRING("labels", loki_labels, "1", "4096",
               "job=ringtail,host={host},container={container_name},stream={stream}",
               "Labels of a stream, from {container_id} {container_id_short} {container_name} "
               "{image} {stream} {host}. Each set of values is a stream of its own: few and short.",
               .kinds = LOKI),
    OPT_STRING("metadata", loki_metadata, "0", "4096", NULL,
               "Structured metadata of each line, written likewise; {date} and the like are fine "
               "here. Needs Loki 3, or a schema of v13.",
               .kinds = LOKI),
    OPT_INT("label_values_max", loki_label_values_max, "1", "1000000", "1000",
            "Values that a label may have; what comes beyond is \"_other\".", .kinds = LOKI),
    OPT_STRING("tenant", loki_tenant, "0", "150", NULL, "The header X-Scope-OrgID. Empty: none.",
               .kinds = LOKI),
#undef OPT_GROUP
#define OPT_GROUP "Elasticsearch and OpenSearch"
    OPT_STRING("index", elasticsearch_index, "1", "255", "ringtail-{date}",
               "Index or data stream, from the same placeholders and {date} {year} {month} {day} "
               "of the line's time. An index by date leaves out lines that are sent again; a data "
               "stream does that only until its next rollover.",
               .kinds = ELASTICSEARCH),
#undef OPT_GROUP
#define OPT_GROUP "HTTP"
    OPT_ENUM("format", http_format, "ndjson", formats,
             "Body of a request. ndjson: a line of JSON for each line. json: the same objects in "
             "an array. text: the lines alone.",
             .kinds = HTTP),
#undef OPT_GROUP
#define OPT_GROUP "OTLP"
    OPT_ENUM("encoding", otlp_encoding, "protobuf", encodings, "Body of a request.", .kinds = OTLP),
#undef OPT_GROUP
#define OPT_GROUP "Splunk"
    OPT_SECRET("token", splunk_token, "Token of the HTTP Event Collector.", .kinds = SPLUNK,
               .required = true, .sample = "env:SPLUNK_TOKEN"),
    OPT_STRING("source", splunk_source, "0", "1024", "{container_name}",
               "Source of each line, from the placeholders of elasticsearch's index. Empty: left "
               "to the receiver.",
               .kinds = SPLUNK),
    OPT_STRING("sourcetype", splunk_sourcetype, "0", "1024", NULL, "Likewise.", .kinds = SPLUNK),
    OPT_STRING("index", splunk_index, "0", "1024", NULL, "Likewise.", .kinds = SPLUNK),
#undef OPT_GROUP
#define OPT_GROUP "Kafka"
    OPT_LIST("brokers", kafka_brokers, "Some of the cluster's brokers, each as host:port.",
             .kinds = KAFKA, .required = true,
             .sample = "kafka-1.example.net:9092,kafka-2.example.net:9092"),
    OPT_STRING("topic", kafka_topic, "1", "249", NULL,
               "Where the lines go; the placeholders of Loki's labels may be in it.",
               .kinds = KAFKA, .required = true, .sample = "container-logs"),
    OPT_STRING("client_id", kafka_client_id, "1", "256", "ringtail",
               "What the brokers call this client in their logs.", .kinds = KAFKA),
    OPT_SIZE("message_max_bytes", kafka_message_max_bytes, "1000", "1000000000", "1000000",
             "A longer message is refused. The brokers' message.max.bytes says what they take.",
             .kinds = KAFKA),
    OPT_DURATION("delivery_timeout", kafka_delivery_timeout_ms, "1s", "1d", "5m",
                 "A message that is not acknowledged for this long is taken back and sent again.",
                 .kinds = KAFKA),
    OPT_ENUM("sasl.mechanism", sasl_mechanism, "none", config_sasl_mechanisms,
             "How to log in to the brokers.", .kinds = KAFKA),
    OPT_STRING("sasl.user", sasl_user, "0", "256", NULL, "User for it.", .kinds = KAFKA),
    OPT_SECRET("sasl.password", sasl_password, "Password for it.", .kinds = KAFKA),
    OPT_LIST("properties", kafka_properties,
             "Further properties of librdkafka, each as name=value. Not for secrets.",
             .kinds = KAFKA),
#undef OPT_GROUP
};

const struct option_table config_sink_table = {.items = options, .count = ARRAY_SIZE(options)};
