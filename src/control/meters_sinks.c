/*
 * The part of meters.h that reads off the sinks, the spool and the dead letters what they count
 * themselves.
 */
#include "meters.h"

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"
#include "ringtail/sink/http.h"
#include "ringtail/sink/remote.h"

static const char *const outcomes[SINK_REMOTE_OUTCOMES] = {
    [CODEC_DONE] = "done",   [CODEC_AGAIN] = "again",         [CODEC_BUSY] = "busy",
    [CODEC_SPLIT] = "split", [CODEC_SUSPENDED] = "suspended", [SINK_REMOTE_NO_REPLY] = "no_reply",
};

static bool is_remote(const struct sink_entry *entry)
{
    return entry->transport != NULL;
}

static bool is_http(const struct sink_entry *entry)
{
    return is_remote(entry) && entry->config->type != SINK_TYPE_KAFKA;
}

void meters_sinks_opened(struct meters *m)
{
    for (size_t i = 0; i < m->fanout->count; i++)
        if (is_remote(&m->sinks->entries[i]))
            m->sinks->entries[i].reply_duration = metrics_series(
                m->metrics, NULL, METRIC_SINK_REPLY_DURATION, m->fanout->outboxes[i].options.name);
}

struct number {
    enum metric_id id;
    double value;
};

/* For a sink, or with NULL for none. */
static void fill_all(struct meters *m, const char *sink, const struct number *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        metric_set(sink ? metrics_series(m->metrics, NULL, numbers[i].id, sink)
                        : metrics_plain(m->metrics, numbers[i].id),
                   numbers[i].value);
}

static void fill_remote(struct meters *m, const struct outbox *o, const struct sink_entry *entry)
{
    const struct sink_remote_stats *s = sink_remote_stats(o->sink);
    const struct number numbers[] = {
        {METRIC_SINK_REQUEST_RETRIES, (double)s->retries},
        {METRIC_SINK_REQUEST_SPLITS, (double)s->splits},
        {METRIC_SINK_REQUESTS_IN_FLIGHT, s->in_flight},
        {METRIC_SINK_REQUESTS_IN_FLIGHT_MAX, (double)entry->config->in_flight},
        {METRIC_SINK_PAUSE, (double)s->pause_ms / 1000},
        {METRIC_SINK_RECORDS_SENT, (double)s->records_sent},
        {METRIC_SINK_RECORDS_AGAIN, (double)s->records_again},
        {METRIC_SINK_RECORDS_ACCEPTED, (double)s->records_accepted},
        {METRIC_SINK_RECORDS_REFUSED, (double)s->records_refused},
        {METRIC_SINK_RECORDS_DEAD_LETTERED, (double)s->records_dead_lettered},
        {METRIC_SINK_LETTERS_WAITING, (double)s->letters_waiting},
        {METRIC_SINK_BODY_BYTES, (double)s->body_bytes},
        {METRIC_SINK_WIRE_BYTES, (double)s->wire_bytes},
        {METRIC_SINK_BATCHES_HELD, (double)s->batches_held},
        {METRIC_SINK_BOOKKEEPING_BYTES, (double)s->bookkeeping_bytes},
    };

    fill_all(m, o->options.name, numbers, ARRAY_SIZE(numbers));
    for (size_t i = 0; i < SINK_REMOTE_OUTCOMES; i++)
        metric_set(
            metrics_series(m->metrics, NULL, METRIC_SINK_REQUESTS, o->options.name, outcomes[i]),
            (double)s->requests[i]);
}

static void fill_http(struct meters *m, const struct outbox *o, const struct sink_entry *entry)
{
    struct http_transport_stats s;

    http_transport_stats(entry->transport, &s);
    const struct number numbers[] = {
        {METRIC_SINK_HTTP_REQUESTS, (double)s.requests},
        {METRIC_SINK_HTTP_CONNECTIONS, (double)s.connections},
        {METRIC_SINK_LABELS_REPLACED, (double)s.labels_replaced},
    };

    fill_all(m, o->options.name, numbers,
             entry->config->type == SINK_TYPE_LOKI ? ARRAY_SIZE(numbers) : ARRAY_SIZE(numbers) - 1);
}

static void fill_files(struct meters *m, const struct outbox *o)
{
    const struct sink_file_stats *s = sink_file_stats_get(o->sink);
    const struct number numbers[] = {
        {METRIC_SINK_FILE_ROTATIONS, (double)s->rotations},
        {METRIC_SINK_FILES_COMPRESSED, (double)s->files_compressed},
        {METRIC_SINK_COMPRESS_ERRORS, (double)s->compress_errors},
        {METRIC_SINK_COMPRESS_BYTES_IN, (double)s->compress_bytes_in},
        {METRIC_SINK_COMPRESS_BYTES_OUT, (double)s->compress_bytes_out},
        {METRIC_SINK_FILES_EXPIRED, (double)s->files_expired},
        {METRIC_SINK_EXPIRE_ERRORS, (double)s->expire_errors},
        {METRIC_SINK_SPACE_WAITS, (double)s->space_waits},
    };

    fill_all(m, o->options.name, numbers, ARRAY_SIZE(numbers));
}

static void fill_behind(struct meters *m, const struct outbox *o)
{
    struct spool_place end = spool_end(o->options.spool), at = spool_cursor_place(o->cursor);
    bool waits = !spool_is_nothing(at);
    const struct number numbers[] = {
        {METRIC_SINK_SPOOL_BEHIND_RECORDS, waits ? (double)(end.record - at.record) : 0},
        {METRIC_SINK_SPOOL_BEHIND_BYTES, waits ? (double)(end.at - at.at) : 0},
    };

    fill_all(m, o->options.name, numbers, ARRAY_SIZE(numbers));
}

static void fill_spool(struct meters *m)
{
    const struct spool_stats *s = spool_stats_get(m->sinks->spool);
    const struct number numbers[] = {
        {METRIC_SPOOL_SEGMENTS, (double)s->segments},
        {METRIC_SPOOL_BYTES, (double)s->bytes},
        {METRIC_SPOOL_LIMIT_BYTES, (double)m->config->spool_max_bytes},
        {METRIC_SPOOL_RECORDS, (double)s->records},
        {METRIC_SPOOL_WRITING_BYTES, (double)s->writing_bytes},
        {METRIC_SPOOL_RECORDS_APPENDED, (double)s->records_appended},
        {METRIC_SPOOL_BYTES_APPENDED, (double)s->bytes_appended},
        {METRIC_SPOOL_RECORDS_READ, (double)s->records_read},
        {METRIC_SPOOL_BYTES_READ, (double)s->bytes_read},
        {METRIC_SPOOL_RECORDS_DAMAGED, (double)s->records_damaged},
        {METRIC_SPOOL_BYTES_DAMAGED, (double)s->bytes_damaged},
        {METRIC_SPOOL_RECORDS_EXPIRED, (double)s->records_expired},
        {METRIC_SPOOL_RECORDS_FORGOTTEN, (double)s->records_forgotten},
        {METRIC_SPOOL_BYTES_TORN, (double)s->bytes_torn},
        {METRIC_SPOOL_ERRORS, (double)s->errors},
        {METRIC_SPOOL_SYNCS, (double)s->syncs},
    };

    fill_all(m, NULL, numbers, ARRAY_SIZE(numbers));
}

static void fill_dead_letters(struct meters *m)
{
    const struct dead_letters_stats *s = dead_letters_stats(m->sinks->dead_letters);
    double files = (double)m->config->dead_letters_keep + 1;
    const struct number numbers[] = {
        {METRIC_DEAD_LETTERS_WRITTEN, (double)s->written},
        {METRIC_DEAD_LETTERS_BYTES, (double)s->bytes},
        {METRIC_DEAD_LETTERS_WAITING, (double)s->waiting},
        {METRIC_DEAD_LETTERS_LIMIT_BYTES, files * (double)m->config->dead_letters_max_bytes},
        {METRIC_DEAD_LETTERS_ERRORS, (double)s->errors},
        {METRIC_DEAD_LETTERS_ROTATED, (double)s->rotated},
        {METRIC_DEAD_LETTERS_DELETED, (double)s->deleted},
        {METRIC_DEAD_LETTERS_DELETED_BYTES, (double)s->deleted_bytes},
    };

    fill_all(m, NULL, numbers, ARRAY_SIZE(numbers));
}

void meters_fill_sinks(struct meters *m)
{
    for (size_t i = 0; i < m->fanout->count; i++) {
        const struct outbox *o = &m->fanout->outboxes[i];
        const struct sink_entry *entry = &m->sinks->entries[i];

        metric_set(metrics_series(m->metrics, NULL, METRIC_SINK_ERRORS, o->options.name),
                   (double)o->sink->errors);
        if (is_remote(entry))
            fill_remote(m, o, entry);
        if (is_http(entry))
            fill_http(m, o, entry);
        if (sinks_is_file(m->sinks, i))
            fill_files(m, o);
        if (o->cursor)
            fill_behind(m, o);
    }
    if (m->sinks->spool)
        fill_spool(m);
    if (m->sinks->dead_letters)
        fill_dead_letters(m);
}
