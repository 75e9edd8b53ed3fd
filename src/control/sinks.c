/* src/control/sinks.h. */
#include "sinks.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/clock.h"
#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/metric.h"
#include "ringtail/sink/kafka.h"
#include "ringtail/sink/remote.h"
#include "ringtail/sink/transport.h"

#include "positions.h"

#define OUTPUT_NAME "output"
#define RETRY_MS 1000
/* What a remote sink has beside the requests under way, so that the next one is ready. */
#define WINDOW_REQUESTS 2

/* The first directory of files. */
static const char *first_directory(const struct config *c)
{
    if (config_output_is_directory(c))
        return c->output_path;
    for (size_t i = 0; i < c->sinks_count; i++)
        if (c->sinks[i].type == SINK_TYPE_FILE)
            return c->sinks[i].path;
    return NULL;
}

int sinks_positions_path(const struct config *config, char **ret)
{
    const char *directory = first_directory(config);
    int r = 0;

    *ret = NULL;
    if (config->positions_path[0])
        r = asprintf(ret, "%s", config->positions_path);
    else if (directory)
        r = asprintf(ret, "%s/.ringtail/positions", directory);
    else if (config->spool_path[0])
        r = asprintf(ret, "%s/positions", config->spool_path);
    if (r < 0)
        *ret = NULL;
    return r < 0 ? -ENOMEM : 0;
}

static int say_why(const char *name, const char *why, int error)
{
    log_error("Sink can't be opened", LOG_STR("sink", name), LOG_STR("reason", why),
              LOG_ERRNO(error));
    return error;
}

static struct sink_entry *next_entry(struct sinks *s)
{
    return &s->entries[s->fanout->count];
}

static int add(struct sinks *s, const struct outbox_options *outbox, bool spools, struct sink *sink)
{
    int r;

    if (!next_entry(s)->kind)
        next_entry(s)->kind = sink->ops->kind;
    r = fanout_add(s->fanout, outbox, spools, sink);

    if (r < 0) {
        sink_destroy(sink);
        return say_why(outbox->name, "", r);
    }
    return 0;
}

/* ---- files and our standard output ---- */

/* A local sink writes as it is given, and what it has encoded is its queue. With a policy that
 * drops, half of the queue stays where it can still be dropped. */
static struct outbox_options local_outbox(const char *name, int64_t queue_max_bytes, int policy)
{
    return (struct outbox_options){
        .name = name,
        .queue_max_bytes = (size_t)queue_max_bytes,
        .window_bytes = policy == QUEUE_PAUSE ? SIZE_MAX : (size_t)queue_max_bytes / 2,
        .is_local = true,
        .policy = (enum outbox_policy)policy,
    };
}

static void put_file(void *ctx, const char *path, uint64_t device, uint64_t inode, uint64_t size)
{
    const struct sinks_files *f = ctx;

    positions_put_output(f->positions,
                         &(struct positions_file){f->number, path, device, inode, size});
}

static void on_file_closed(void *ctx, const char *path, uint64_t device, uint64_t inode,
                           uint64_t size)
{
    const struct sinks_files *f = ctx;

    positions_output_closed(f->positions,
                            &(struct positions_file){f->number, path, device, inode, size});
}

static void on_file_moved(void *ctx, const char *path, uint64_t device, uint64_t inode,
                          uint64_t size)
{
    const struct sinks_files *f = ctx;

    positions_output_moved(f->positions,
                           &(struct positions_file){f->number, path, device, inode, size});
}

static int open_file(struct sinks *s, struct sink_file_options *options, bool sync,
                     const struct outbox_options *outbox)
{
    struct sink_events events = fanout_sink_events(s->fanout);
    unsigned number = (unsigned)s->files_count;
    struct sinks_files *f = &s->files[number];
    struct sink *sink;
    char why[256] = "";
    int r;

    assert(number < RECORD_FILES_MAX);
    options->on_closed = on_file_closed;
    options->on_moved = on_file_moved;
    options->ctx = f;
    options->written = RECORD_WRITTEN(number);
    options->wait_for_saves = true;
    options->sync = sync;
    r = sink_file_create(s->ring, options, &events, &sink, why, sizeof why);
    if (r < 0)
        return say_why(outbox->name, why, r);
    *f = (struct sinks_files){.positions = s->positions, .sink = sink, .number = number};
    s->directories[s->files_count++] = options->directory;
    return add(s, outbox, false, sink);
}

static int open_stdout(struct sinks *s, const struct outbox_options *outbox)
{
    struct sink_events events = fanout_sink_events(s->fanout);
    struct sink *sink;
    int r = sink_stdout_create(s->ring, STDOUT_FILENO, &events, &sink);

    return r < 0 ? say_why(outbox->name, "", r) : add(s, outbox, false, sink);
}

static int open_output(struct sinks *s)
{
    const struct config *c = s->config;
    struct outbox_options outbox = local_outbox(OUTPUT_NAME, c->queue_max_bytes, QUEUE_PAUSE);
    struct sink_file_options options = {
        .directory = c->output_path,
        .path_template = c->output_template,
        .rotate_bytes = c->output_rotate_bytes,
        .rotate_interval_ms = c->output_rotate_interval_ms,
        .rotate_keep = c->output_rotate_keep,
        .rotate_compression = (enum compression)c->output_rotate_compression,
        .retention_ms = c->output_retention_ms,
        .free_space_min = c->output_free_space_min_bytes,
        .open_files_max = c->output_open_files_max,
        .retry_ms = c->output_retry_ms,
    };

    return config_output_is_directory(c)
               ? open_file(s, &options, c->output_sync == OUTPUT_SYNC_POSITIONS, &outbox)
               : open_stdout(s, &outbox);
}

static int open_local(struct sinks *s, const struct sink_config *c)
{
    struct outbox_options outbox = local_outbox(c->name, c->queue_max_bytes, c->queue_policy);
    struct sink_file_options options = {
        .directory = c->path,
        .path_template = c->template,
        .rotate_bytes = c->rotate_bytes,
        .rotate_interval_ms = c->rotate_interval_ms,
        .rotate_keep = c->rotate_keep,
        .rotate_compression = (enum compression)c->rotate_compression,
        .retention_ms = c->retention_ms,
        .free_space_min = c->free_space_min_bytes,
        .open_files_max = c->open_files_max,
        .retry_ms = c->retry_interval_ms,
    };

    return c->type == SINK_TYPE_FILE
               ? open_file(s, &options, c->sync == OUTPUT_SYNC_POSITIONS, &outbox)
               : open_stdout(s, &outbox);
}

/* ---- receivers ---- */

static struct codec_options codec_of(const struct sinks *s, const struct sink_config *c)
{
    static const enum codec_kind formats[] = {
        [HTTP_FORMAT_NDJSON] = CODEC_NDJSON,
        [HTTP_FORMAT_JSON] = CODEC_JSON_ARRAY,
        [HTTP_FORMAT_TEXT] = CODEC_TEXT,
    };
    static const enum codec_kind kinds[SINK_TYPE_COUNT] = {
        [SINK_TYPE_LOKI] = CODEC_LOKI,
        [SINK_TYPE_ELASTICSEARCH] = CODEC_ELASTIC,
        [SINK_TYPE_SPLUNK] = CODEC_SPLUNK,
    };
    struct codec_options options = {
        .kind = kinds[c->type],
        .host = s->host,
        .loki_labels = c->loki_labels,
        .loki_metadata = c->loki_metadata,
        .loki_label_values_max = (uint32_t)c->loki_label_values_max,
        .elastic_index = c->elasticsearch_index,
        .splunk_source = c->splunk_source,
        .splunk_sourcetype = c->splunk_sourcetype,
        .splunk_index = c->splunk_index,
    };

    if (c->type == SINK_TYPE_HTTP)
        options.kind = formats[c->http_format];
    else if (c->type == SINK_TYPE_OTLP)
        options.kind =
            c->otlp_encoding == OTLP_ENCODING_JSON ? CODEC_OTLP_JSON : CODEC_OTLP_PROTOBUF;
    return options;
}

/* A header that the configuration says in its own words; it may be a secret. */
static int add_header(char **list, size_t *count, const char *name, const char *value)
{
    if (asprintf(&list[*count], "%s: %s", name, value) < 0) {
        list[*count] = NULL;
        return -ENOMEM;
    }
    (*count)++;
    return 0;
}

static void forget(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

static int http_transport(struct sinks *s, const struct sink_config *c, struct transport **ret,
                          char *why, size_t why_size)
{
    struct codec_options codec = codec_of(s, c);
    char *own[2] = {NULL, NULL}, *authorization = NULL;
    const char **headers = calloc(c->headers.count + ARRAY_SIZE(own), sizeof *headers);
    struct http_transport_options options = {
        .url = c->url,
        .codec = &codec,
        .compression = (enum compression)c->compression,
        .timeout_ms = c->request_timeout_ms,
        .connect_timeout_ms = c->connect_timeout_ms,
        .connections_max = (unsigned)c->connections,
        .tls =
            {
                .ca_file = c->tls_ca,
                .cert_file = c->tls_certificate,
                .key_file = c->tls_key,
                .key_password = c->tls_key_password,
                .unverified = !c->tls_verify,
            },
        .user = c->auth_user,
        .password = c->auth_password,
        .headers = headers,
        .headers_count = c->headers.count,
        .proxy = c->proxy,
    };
    size_t own_count = 0;
    int r = headers ? 0 : -ENOMEM;

    if (r == 0 && !s->http)
        r = http_client_create(s->ring, &s->http);
    if (r == 0 && c->type == SINK_TYPE_LOKI && *c->loki_tenant)
        r = add_header(own, &own_count, "X-Scope-OrgID", c->loki_tenant);
    if (r == 0 && (c->type == SINK_TYPE_SPLUNK || *c->auth_token)) {
        const char *scheme = c->type == SINK_TYPE_SPLUNK ? "Splunk" : c->auth_scheme;

        if (strcmp(scheme, "Bearer") == 0)
            options.bearer_token = c->auth_token;
        else if (asprintf(&authorization, "%s %s", scheme,
                          c->type == SINK_TYPE_SPLUNK ? c->splunk_token : c->auth_token) < 0)
            r = -ENOMEM;
        else
            r = add_header(own, &own_count, "Authorization", authorization);
    }
    for (size_t i = 0; r == 0 && i < c->headers.count; i++)
        headers[i] = c->headers.items[i];
    for (size_t i = 0; r == 0 && i < own_count; i++)
        headers[options.headers_count++] = own[i];
    if (r == 0)
        r = http_transport_create(s->http, &options, ret, why, why_size);
    for (size_t i = 0; i < own_count; i++)
        forget(own[i]);
    forget(authorization);
    free(headers);
    return r;
}

static int kafka_transport(struct sinks *s, const struct sink_config *c, struct transport **ret,
                           char *why, size_t why_size)
{
    struct buf brokers = {0};
    struct kafka_options options = {
        .topic = c->kafka_topic,
        .host = s->host,
        .client_id = c->kafka_client_id,
        .compression = config_kafka_compressions[c->kafka_compression],
        .message_max_bytes = (size_t)c->kafka_message_max_bytes,
        .linger_ms = c->request_linger_ms,
        .request_timeout_ms = c->request_timeout_ms,
        .delivery_timeout_ms = c->kafka_delivery_timeout_ms,
        .tls = c->tls_enabled,
        .tls_ca_file = c->tls_ca,
        .tls_cert_file = c->tls_certificate,
        .tls_key_file = c->tls_key,
        .tls_key_password = c->tls_key_password,
        .tls_verify = c->tls_verify,
        .sasl_mechanism =
            c->sasl_mechanism == SASL_NONE ? NULL : config_sasl_mechanisms[c->sasl_mechanism],
        .sasl_user = c->sasl_user,
        .sasl_password = c->sasl_password,
        .properties = (const char *const *)c->kafka_properties.items,
        .properties_count = c->kafka_properties.count,
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < c->kafka_brokers.count; i++)
        r = buf_printf(&brokers, "%s%s", i > 0 ? "," : "", c->kafka_brokers.items[i]);
    options.brokers = buf_cstr(&brokers);
    if (r == 0)
        r = kafka_transport_create(s->ring, &options, ret, why, why_size);
    buf_finish(&brokers);
    return r;
}

int sinks_transport(struct sinks *s, const struct sink_config *c, struct transport **ret, char *why,
                    size_t why_size)
{
    return c->type == SINK_TYPE_KAFKA ? kafka_transport(s, c, ret, why, why_size)
                                      : http_transport(s, c, ret, why, why_size);
}

static void on_reply(void *ctx, struct sink *sink, int64_t duration_ns)
{
    struct sink_entry *entry = ctx;

    (void)sink;
    if (entry->reply_duration)
        metric_observe(entry->reply_duration, (double)duration_ns / (double)NSEC_PER_SEC);
}

static int open_remote(struct sinks *s, const struct sink_config *c)
{
    struct sink_entry *entry = next_entry(s);
    struct sink_events events = fanout_sink_events(s->fanout);
    struct sink_remote_options options = {
        .name = c->name,
        .records_max = c->request_max_records,
        .bytes_max = c->request_max_bytes,
        .in_flight_max = c->in_flight,
        .linger_ms = c->type == SINK_TYPE_KAFKA ? 0 : c->request_linger_ms,
        .retry_min_ms = c->retry_min_ms,
        .retry_max_ms = c->retry_max_ms,
        .retry_after_max_ms = c->retry_after_max_ms,
        .suspend_retry_ms = c->retry_suspended_ms,
        .dead_letters = s->dead_letters,
        .on_reply = on_reply,
        .ctx = entry,
    };
    size_t requests = (size_t)(c->request_max_bytes * (c->in_flight + WINDOW_REQUESTS));
    struct outbox_options outbox = {
        .name = c->name,
        .queue_max_bytes = (size_t)c->queue_max_bytes,
        .window_bytes = MIN(requests, (size_t)c->queue_max_bytes / 2),
        .policy = (enum outbox_policy)c->queue_policy,
    };
    struct transport *transport;
    struct sink *sink;
    char why[256] = "";
    int r = sinks_transport(s, c, &transport, why, sizeof why);

    if (r < 0)
        return say_why(c->name, why, r);
    r = sink_remote_create(s->ring, transport, &options, &events, &sink);
    if (r < 0) {
        (void)transport_destroy(transport);
        return say_why(c->name, "", r);
    }
    *entry = (struct sink_entry){
        .kind = transport->ops->kind,
        .config = c,
        .transport = transport,
    };
    return add(s, &outbox, c->spool, sink);
}

/* ---- what they share ---- */

bool sinks_is_remote(const struct sink_config *c)
{
    return c->type != SINK_TYPE_FILE && c->type != SINK_TYPE_STDOUT;
}

static int open_spool(struct sinks *s)
{
    const struct config *c = s->config;
    struct spool_options options = {
        .directory = c->spool_path,
        .bytes_max = c->spool_max_bytes,
        .segment_bytes = c->spool_segment_bytes,
        .age_max_ms = c->spool_max_age_ms,
        .retry_ms = RETRY_MS,
        .sync = (enum spool_sync)c->spool_sync,
    };
    char why[256] = "";
    int r;

    if (!c->spool_path[0])
        return 0;
    r = spool_open(s->ring, &options, &s->spool, why, sizeof why);
    if (r < 0)
        log_error("Spool can't be opened", LOG_STR("path", c->spool_path), LOG_STR("reason", why),
                  LOG_ERRNO(r));
    return r;
}

int sinks_dead_letters_path(const struct config *config, char **ret)
{
    RT_CLEANUP(freep) char *positions = NULL;
    const char *slash;
    int r;

    *ret = NULL;
    if (config->dead_letters_path[0]) {
        r = asprintf(ret, "%s", config->dead_letters_path);
    } else {
        r = sinks_positions_path(config, &positions);
        slash = positions ? strrchr(positions, '/') : NULL;
        if (!slash)
            return r;
        r = asprintf(ret, "%.*s/dead_letters", (int)(slash - positions), positions);
    }
    if (r < 0)
        *ret = NULL;
    return r < 0 ? -ENOMEM : 0;
}

/* Some of what is written is to survive a loss of power: so is what is refused. */
static bool syncs_anything(const struct config *c)
{
    bool syncs = c->spool_sync == SPOOL_SYNC_ALWAYS || c->output_sync == OUTPUT_SYNC_POSITIONS;

    for (size_t i = 0; i < c->sinks_count; i++)
        syncs |= c->sinks[i].type == SINK_TYPE_FILE && c->sinks[i].sync == OUTPUT_SYNC_POSITIONS;
    return syncs;
}

static int open_dead_letters(struct sinks *s)
{
    const struct config *c = s->config;
    RT_CLEANUP(freep) char *path = NULL;
    struct dead_letters_options options = {
        .bytes_max = c->dead_letters_max_bytes,
        .keep = c->dead_letters_keep,
        .retry_ms = RETRY_MS,
        .sync = syncs_anything(c),
    };
    int r = sinks_dead_letters_path(c, &path);

    if (!path)
        return r;
    options.path = path;
    r = dead_letters_create(s->ring, &options, &s->dead_letters);
    if (r < 0)
        log_error("Dead letters can't be kept", LOG_STR("path", options.path), LOG_ERRNO(r));
    return r;
}

static int open_shared(struct sinks *s)
{
    bool remote = false;
    int r;

    for (size_t i = 0; i < s->config->sinks_count; i++)
        remote |= sinks_is_remote(&s->config->sinks[i]);
    if (!remote)
        return 0;
    r = open_spool(s);
    return r < 0 ? r : open_dead_letters(s);
}

/* Its name may have been changed; whose sink it was, nobody can tell. */
static void say_forgotten(void *ctx, const char *name, uint64_t records)
{
    log_error("Sink is not configured any more, what waited for it in the spool is lost",
              LOG_STR("sink", name), LOG_INT("records_at_most", records));
}

int sinks_open(struct sinks *s, struct ring *ring, const struct config *config,
               struct positions *positions, struct fanout *fanout,
               const struct fanout_events *events)
{
    int r;

    *s = (struct sinks){
        .config = config,
        .ring = ring,
        .positions = positions,
        .host = config->host_name,
    };
    if (!s->host[0] && gethostname(s->host_name, sizeof s->host_name - 1) == 0)
        s->host = s->host_name;
    r = open_shared(s);
    if (r == 0)
        r = fanout_init(fanout, config->sinks_count + config_has_output(config), s->spool, events);
    if (r < 0)
        return r;
    s->fanout = fanout;
    if (config_has_output(config))
        r = open_output(s);
    for (size_t i = 0; r == 0 && i < config->sinks_count; i++)
        r = sinks_is_remote(&config->sinks[i]) ? open_remote(s, &config->sinks[i])
                                               : open_local(s, &config->sinks[i]);
    return r;
}

void sinks_forget_others(struct sinks *s)
{
    if (s->spool)
        spool_forget_other_cursors(s->spool, say_forgotten, s);
}

/* ---- while they run ---- */

int sinks_names(const struct sinks *s, struct buf *ret)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < s->fanout->count; i++)
        r = buf_printf(ret, "%s%s", i > 0 ? "," : "", s->fanout->outboxes[i].options.name);
    return r;
}

/* Returns whether it has no reader any more. */
static bool watch_local(struct sink_entry *entry, const struct outbox *o)
{
    const char *name = o->options.name;
    int error = o->sink->last_error;

    if (o->sink->sync_error != entry->told.sync_error)
        log_error("Output can't be synced to the disk, a power loss may cost lines",
                  LOG_STR("sink", name), LOG_ERRNO(o->sink->sync_error));
    entry->told.sync_error = o->sink->sync_error;
    if (error == entry->told.error)
        return false;
    if (error == 0)
        log_info("Output works again", LOG_STR("sink", name));
    else
        log_error("Output can't be written, lines wait", LOG_STR("sink", name), LOG_ERRNO(error));
    entry->told.error = error;
    return error == -EPIPE;
}

/* Once for each of the two: a disk that is broken would say it for every file. */
static void watch_files(struct sink_entry *entry, const struct outbox *o)
{
    const struct sink_file_stats *stats = sink_file_stats_get(o->sink);

    if (stats->compress_errors > 0 && entry->told.compress_errors == 0)
        log_warn("Rotated files can't be compressed, they stay as they are",
                 LOG_STR("sink", o->options.name), LOG_INT("errors", stats->compress_errors));
    if (stats->expire_errors > 0 && entry->told.expire_errors == 0)
        log_warn("Rotated files that are too old can't be removed",
                 LOG_STR("sink", o->options.name), LOG_INT("errors", stats->expire_errors));
    entry->told.compress_errors = stats->compress_errors;
    entry->told.expire_errors = stats->expire_errors;
}

static void watch_spool(struct sinks *s)
{
    int error = spool_stats_get(s->spool)->last_error;

    if (error == s->told_spool_error)
        return;
    if (error == 0)
        log_info("Spool works again");
    else
        log_error("Spool can't be read or written, trying again", LOG_ERRNO(error));
    s->told_spool_error = error;
}

bool sinks_is_file(const struct sinks *s, size_t number)
{
    return strcmp(s->entries[number].kind, "file") == 0;
}

bool sinks_put_files(struct sinks *s)
{
    for (size_t i = 0; i < s->files_count; i++)
        if (!sink_file_each(s->files[i].sink, put_file, &s->files[i]))
            return false;
    return true;
}

bool sinks_watch(struct sinks *s)
{
    bool is_cut_off = false;

    for (size_t i = 0; i < s->fanout->count; i++) {
        const struct outbox *o = &s->fanout->outboxes[i];

        if (!o->options.is_local)
            continue; /* says what happens to it by itself */
        is_cut_off |= watch_local(&s->entries[i], o);
        if (sinks_is_file(s, i))
            watch_files(&s->entries[i], o);
    }
    if (s->spool)
        watch_spool(s);
    return is_cut_off;
}

void sinks_positions_saved(struct sinks *s)
{
    for (size_t i = 0; i < s->files_count; i++)
        sink_file_saved(s->files[i].sink);
}

uint64_t sinks_lost(const struct sinks *s)
{
    uint64_t lost = 0;

    for (size_t i = 0; i < s->fanout->count; i++)
        lost += s->fanout->tallies.total[i].lost[LOST_ABORTED];
    return lost;
}

/* ---- the end ---- */

static void on_letters_closed(void *ctx)
{
    struct sinks *s = ctx;

    s->letters_closed = true;
}

void sinks_close_shared(struct sinks *s)
{
    s->closing = true;
    if (s->dead_letters)
        dead_letters_close(s->dead_letters, on_letters_closed, s);
    if (s->spool)
        spool_finish(s->spool);
}

bool sinks_is_idle(const struct sinks *s)
{
    return s->closing && (!s->dead_letters || s->letters_closed) &&
           (!s->spool || spool_is_idle(s->spool));
}

void sinks_destroy(struct sinks *s)
{
    for (size_t i = 0; s->fanout && i < s->fanout->count; i++)
        sink_destroy(s->fanout->outboxes[i].sink);
    if (s->fanout)
        fanout_finish(s->fanout);
    (void)dead_letters_destroy(s->dead_letters);
    (void)http_client_destroy(s->http);
    (void)spool_close(s->spool);
}
