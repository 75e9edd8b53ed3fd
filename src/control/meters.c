/* src/control/meters.h. */
#include "meters.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/json.h"
#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"
#include "ringtail/base/process.h"

/* ---- what is shown of each container ---- */

enum {
    ROW_ROTATIONS,
    ROW_LAST_ROTATION,
    ROW_STREAM_AGE,
    ROW_ERRORS,
    ROW_ERRORS_LAST = ROW_ERRORS + 3,
    ROW_REREAD_BYTES,
    ROW_MONITORED,
    ROW_LINES,
    ROW_BYTES,
    ROW_LAG,
    ROW_REPEATED,
    ROW_GAPS,
    ROW_TIME_BACK,
    ROW_TRUNCATED,
    ROW_AT_RISK,
    ROW_HEARTBEATS,
    ROW_PROCESSED,
    ROW_COUNT,
};

#define ID                                                                                         \
    {                                                                                              \
        .value = 0                                                                                 \
    }
#define NAME                                                                                       \
    {                                                                                              \
        .value = 1                                                                                 \
    }
#define IMAGE                                                                                      \
    {                                                                                              \
        .value = 2                                                                                 \
    }
#define ALWAYS(its_text)                                                                           \
    {                                                                                              \
        .text = (its_text)                                                                         \
    }

static const struct metric_row rows[ROW_COUNT] = {
    [ROW_ROTATIONS] = {METRIC_STREAM_ROTATIONS, {ID, NAME}},
    [ROW_LAST_ROTATION] = {METRIC_LAST_ROTATION, {ID, NAME}},
    [ROW_STREAM_AGE] = {METRIC_STREAM_AGE, {ID}},
    /* There from the start, because Prometheus sees no increase in a series that begins at 1. */
    [ROW_ERRORS] = {METRIC_STREAM_ERRORS, {ALWAYS("open_failed"), ID}},
    [ROW_ERRORS + 1] = {METRIC_STREAM_ERRORS, {ALWAYS("read_failed"), ID}},
    [ROW_ERRORS + 2] = {METRIC_STREAM_ERRORS, {ALWAYS("pool_full"), ID}},
    [ROW_ERRORS_LAST] = {METRIC_STREAM_ERRORS, {ALWAYS("rotation_stuck"), ID}},
    [ROW_REREAD_BYTES] = {METRIC_STREAM_REREAD_BYTES, {ID, NAME}},
    [ROW_MONITORED] = {METRIC_CONTAINER_MONITORED, {ID, NAME, IMAGE}},
    [ROW_LINES] = {METRIC_CONTAINER_LINES, {ID, NAME}},
    [ROW_BYTES] = {METRIC_CONTAINER_BYTES, {ID, NAME}},
    [ROW_LAG] = {METRIC_CONTAINER_LAG, {ID, NAME}},
    [ROW_REPEATED] = {METRIC_CONTAINER_REPEATED, {ID, NAME}},
    [ROW_GAPS] = {METRIC_CONTAINER_GAPS, {ID, NAME}},
    [ROW_TIME_BACK] = {METRIC_CONTAINER_TIME_BACK, {ID, NAME}},
    [ROW_TRUNCATED] = {METRIC_CONTAINER_TRUNCATED, {ID, NAME}},
    [ROW_AT_RISK] = {METRIC_CONTAINER_AT_RISK, {ID, NAME}},
    [ROW_HEARTBEATS] = {METRIC_TASK_HEARTBEATS, {ID, ALWAYS("container_monitor")}},
    [ROW_PROCESSED] = {METRIC_LOGS_PROCESSED, {ALWAYS("docker"), ID, ALWAYS("default")}},
};

int meters_init(struct meters *m, const struct config *config)
{
    struct metrics_options options = {
        .series_max = (size_t)config->metrics_series_max,
        .linger_ms = config->metrics_linger_ms,
        .rows = rows,
        .rows_count = ROW_COUNT,
    };

    /* The ring counts cancels in the histogram's own buckets. */
    assert(metric_table[METRIC_RING_CANCEL_DURATION].bounds_count == RING_CANCEL_BUCKETS - 1);
    *m = (struct meters){.config = config, .started_at_ns = clock_wall_ns()};
    m->metrics = metrics_create(&options);
    return m->metrics ? 0 : -ENOMEM;
}

void meters_finish(struct meters *m)
{
    m->metrics = metrics_destroy(m->metrics);
}

/* ---- one container ---- */

static double seconds(int64_t ns)
{
    return (double)ns / (double)NSEC_PER_SEC;
}

static void put_rotations(struct metric_owner *o, const struct container *c)
{
    o->values[ROW_ROTATIONS] = (double)c->rotations;
    o->values[ROW_LAST_ROTATION] = (double)(c->rotated_at_wall_ns / NSEC_PER_SEC);
}

static struct metric_owner *owner_get(struct meters *m, const struct container *c)
{
    struct metric_owner *o =
        metrics_owner_get(m->metrics, (const char *const[]){c->id_short, c->name, c->image});

    if (o)
        put_rotations(o, c);
    return o;
}

void meters_container_opened(struct meters *m, struct container *c)
{
    if (c->meters.shown)
        return;
    if (c->rotated_at_wall_ns == 0)
        c->rotated_at_wall_ns = clock_wall_ns();
    c->meters = (struct container_meters){.shown = true, .owner = owner_get(m, c)};
}

void meters_container_gone(struct meters *m, struct container *c)
{
    if (c->meters.owner)
        c->meters.owner->values[ROW_MONITORED] = 0;
    metrics_owner_drop(c->meters.owner, clock_mono_ns());
    c->meters = (struct container_meters){0};
}

void meters_container_renamed(struct meters *m, struct container *c)
{
    /* Without memory the old name stays until the next change: better than no numbers. */
    if (c->meters.owner)
        (void)metric_owner_relabel(c->meters.owner,
                                   (const char *const[]){c->id_short, c->name, c->image},
                                   clock_mono_ns());
}

void meters_container_rotated(struct meters *m, struct container *c, int64_t age_ns)
{
    struct metric_owner *o = c->meters.owner;

    if (!o)
        return;
    put_rotations(o, c);
    metric_owner_observe(o, ROW_STREAM_AGE, seconds(age_ns));
}

static void count_error(struct meters *m, struct metric_owner *o, const char *id_short,
                        const char *error_type)
{
    for (size_t row = ROW_ERRORS; row <= ROW_ERRORS_LAST; row++) {
        if (strcmp(rows[row].labels[0].text, error_type) == 0) {
            o->values[row]++;
            return;
        }
    }
    metric_add(metrics_series(m->metrics, o, METRIC_STREAM_ERRORS, error_type, id_short), 1);
}

void meters_container_error(struct meters *m, struct container *c, const char *error_type)
{
    if (c->meters.owner)
        count_error(m, c->meters.owner, c->id_short, error_type);
    metric_add(metrics_series(m->metrics, NULL, METRIC_ERRORS, "container_monitor", error_type), 1);
}

void meters_container_heartbeat(struct meters *m, struct container *c)
{
    if (c->meters.owner)
        c->meters.owner->values[ROW_HEARTBEATS]++;
}

static struct metric_series *send_duration(struct meters *m, const struct outbox *o)
{
    struct metric_series **series = &m->send_duration[o->options.number];

    if (!*series)
        *series = metrics_series(m->metrics, NULL, METRIC_SINK_SEND_DURATION,
                                 m->sinks->entries[o->options.number].kind);
    return *series;
}

void meters_settled(struct meters *m, const struct outbox *o, int64_t after_ns)
{
    metric_observe(send_duration(m, o), seconds(after_ns));
}

/* ---- /metrics ---- */

static bool is_followed(const struct container *c)
{
    return c->state == CONTAINER_READING;
}

/* What became of a container's lines. */
static void fill_accounts(struct meters *m, struct container *c)
{
    for (size_t i = 0; c->tally && i < m->fanout->count; i++) {
        const struct account *a = &c->tally->of[i];
        const char *sink = m->fanout->outboxes[i].options.name;
        const struct {
            enum metric_id id;
            uint64_t value;
            bool always;
        } shown[] = {
            {METRIC_CONTAINER_RECORDS_SETTLED, a->settled, true},
            {METRIC_CONTAINER_RECORDS_QUEUED, a->queued, true},
            {METRIC_CONTAINER_RECORDS_SPOOLED, a->spooled, m->fanout->outboxes[i].spool_turns > 0},
            {METRIC_CONTAINER_RECORDS_FOUND, a->found, a->found > 0},
        };

        for (size_t n = 0; n < ARRAY_SIZE(shown); n++)
            if (shown[n].always)
                metric_set(metrics_series(m->metrics, c->meters.owner, shown[n].id, c->id_short,
                                          c->name, sink),
                           (double)shown[n].value);
        for (size_t why = 0; why < LOST_REASON_COUNT; why++)
            if (a->lost[why] > 0)
                metric_set(metrics_series(m->metrics, c->meters.owner,
                                          METRIC_CONTAINER_RECORDS_LOST, c->id_short, c->name, sink,
                                          lost_reason_name((enum lost_reason)why)),
                           (double)a->lost[why]);
    }
}

static void fill_container(struct meters *m, struct container *c, int64_t now_ns)
{
    struct container_meters *cm = &c->meters;
    double *to;

    if (!cm->owner && metrics_has_owner_room(m->metrics))
        cm->owner = owner_get(m, c);
    if (!cm->owner)
        return;
    to = cm->owner->values;
    to[ROW_MONITORED] = is_followed(c);
    to[ROW_LINES] = to[ROW_PROCESSED] = (double)c->lines;
    to[ROW_BYTES] = (double)c->bytes;
    to[ROW_LAG] = c->newest_ts_ns ? seconds(now_ns - c->newest_ts_ns) : 0;
    to[ROW_REPEATED] = (double)(c->history.repeated + c->lines_repeated);
    to[ROW_GAPS] = (double)c->history.gaps_suspected;
    to[ROW_TIME_BACK] = (double)c->history.went_back;
    to[ROW_AT_RISK] = c->at_risk;
    to[ROW_TRUNCATED] = (double)c->joiner.lines_cut;
    to[ROW_REREAD_BYTES] = (double)(c->reread_bytes + (c->stream ? c->stream->reread_bytes : 0));
    fill_accounts(m, c);
}

static unsigned fill_containers(struct meters *m)
{
    struct containers *all = m->containers;
    int64_t now_ns = clock_wall_ns();
    unsigned followed = 0;

    for (struct table_link *l = table_next(&all->table, NULL); l; l = table_next(&all->table, l)) {
        struct container *c = container_of(l, struct container, by_id);

        if (!c->meters.shown)
            continue;
        fill_container(m, c, now_ns);
        followed += is_followed(c);
    }
    return followed;
}

static void set(struct meters *m, enum metric_id id, double value)
{
    metric_set(metrics_plain(m->metrics, id), value);
}

static void fill_ring(struct meters *m, uint64_t *ret_in_flight)
{
    const struct ring_stats *r = ring_stats_get(m->ring);
    struct metric_series *cancels = metrics_plain(m->metrics, METRIC_RING_CANCEL_DURATION);

    *ret_in_flight = 0;
    for (enum op_kind k = OP_NONE + 1; k < OP_KIND_COUNT; k++) {
        *ret_in_flight += r->in_flight[k];
        metric_set(metrics_series(m->metrics, NULL, METRIC_RING_IN_FLIGHT, op_kind_name(k)),
                   (double)r->in_flight[k]);
        metric_set(metrics_series(m->metrics, NULL, METRIC_RING_COMPLETIONS, op_kind_name(k)),
                   (double)r->completions[k]);
    }
    for (size_t i = 0; i < RING_CANCEL_BUCKETS; i++)
        cancels->counts[i] = r->cancel_buckets[i];
    cancels->value = seconds((int64_t)r->cancel_ns_sum);
    set(m, METRIC_RING_TIMEOUTS, (double)r->timeouts);
    set(m, METRIC_RING_CANCELS, (double)r->cancels);
    set(m, METRIC_RING_BUFFERS, r->buffers_count);
    set(m, METRIC_RING_BUFFERS_FREE, r->buffers_free);
    set(m, METRIC_RING_BUFFER_WAITS, (double)r->buffer_waits);
    set(m, METRIC_RING_CQ_OVERFLOWS, (double)r->cq_overflows);
    set(m, METRIC_RING_SOCKETS_OPEN, r->sockets_open);
    set(m, METRIC_RING_SOCKETS_MAX, r->sockets_max);
    set(m, METRIC_RING_PASSES, (double)r->passes);
    set(m, METRIC_RING_PAUSES, (double)r->pauses);
    set(m, METRIC_RING_ENTERS, (double)r->enters);
}

static void fill_sink(struct meters *m, const struct outbox *o)
{
    static const char *const states[] = {"ok", "retrying", "suspended"};
    const struct account *a = &m->fanout->tallies.total[o->options.number];
    const char *name = o->options.name, *kind = m->sinks->entries[o->options.number].kind;
    struct metric_series *utilization =
        metrics_series(m->metrics, NULL, METRIC_SINK_UTILIZATION, kind);
    double limit = (double)o->options.queue_max_bytes;
    double held = (double)outbox_held_bytes(o);
    double lost = 0;

    (void)send_duration(m, o); /* there before anything has settled */
    metric_set(metrics_series(m->metrics, NULL, METRIC_RECORDS_FOUND, name), (double)a->found);
    metric_set(metrics_series(m->metrics, NULL, METRIC_RECORDS_SETTLED, name), (double)a->settled);
    metric_set(metrics_series(m->metrics, NULL, METRIC_RECORDS_QUEUED, name), (double)a->queued);
    metric_set(metrics_series(m->metrics, NULL, METRIC_RECORDS_SPOOLED, name), (double)a->spooled);
    for (size_t why = 0; why < LOST_REASON_COUNT; why++) {
        metric_set(metrics_series(m->metrics, NULL, METRIC_RECORDS_LOST, name,
                                  lost_reason_name((enum lost_reason)why)),
                   (double)a->lost[why]);
        lost += (double)a->lost[why];
    }
    for (size_t i = 0; i < ARRAY_SIZE(states); i++)
        metric_set(metrics_series(m->metrics, NULL, METRIC_SINK_STATE, name, states[i]),
                   o->sink->state == (enum sink_state)i);
    metric_set(metrics_series(m->metrics, NULL, METRIC_SINK_SPOOLING, name), o->spooling);
    metric_set(metrics_series(m->metrics, NULL, METRIC_QUEUE_BYTES, name), held);
    metric_set(metrics_series(m->metrics, NULL, METRIC_QUEUE_LIMIT_BYTES, name), limit);
    /* By kind, as the users of the original know them. */
    metric_add(metrics_series(m->metrics, NULL, METRIC_LOGS_SENT, kind, "success"),
               (double)a->settled);
    metric_add(metrics_series(m->metrics, NULL, METRIC_LOGS_SENT, kind, "error"), lost);
    metric_set(utilization, MAX(utilization->value, MIN(held / limit, 1)));
}

static void fill_records(struct meters *m)
{
    const struct fanout *f = m->fanout;
    double errors = 0, sync_errors = 0, held = (double)fanout_held_bytes(f), limit = 0;

    for (size_t i = 0; i < f->count; i++) {
        const char *kind = m->sinks->entries[i].kind;

        metric_set(metrics_series(m->metrics, NULL, METRIC_SINK_UTILIZATION, kind), 0);
        metric_set(metrics_series(m->metrics, NULL, METRIC_LOGS_SENT, kind, "success"), 0);
        metric_set(metrics_series(m->metrics, NULL, METRIC_LOGS_SENT, kind, "error"), 0);
    }
    for (size_t i = 0; i < f->count; i++) {
        fill_sink(m, &f->outboxes[i]);
        limit += (double)f->outboxes[i].options.queue_max_bytes;
        errors += (double)f->outboxes[i].sink->errors;
        sync_errors += (double)f->outboxes[i].sink->sync_errors;
    }
    set(m, METRIC_RECORDS_READ, (double)m->gather->lines);
    metric_set(metrics_series(m->metrics, NULL, METRIC_ERRORS, "sink", "write_failed"), errors);
    metric_set(metrics_series(m->metrics, NULL, METRIC_ERRORS, "sink", "sync_failed"), sync_errors);
    metric_set(metrics_series(m->metrics, NULL, METRIC_QUEUE_SIZE, "dispatcher", "memory"), held);
    set(m, METRIC_DISPATCHER_UTILIZATION, limit > 0 ? MIN(held / limit, 1) : 0);
    set(m, METRIC_READING_PAUSES, (double)f->pauses);
    set(m, METRIC_READING_PAUSED_SECONDS, seconds(fanout_paused_ns(f)));
}

static void fill_engine(struct meters *m)
{
    const struct engine *e = m->engine;

    set(m, METRIC_ENGINE_UP, engine_is_up(e));
    set(m, METRIC_ENGINE_CONNECTS, (double)e->connects);
    set(m, METRIC_ENGINE_RECONNECTS, (double)e->returns);
    set(m, METRIC_ENGINE_EVENTS, (double)m->discovery->events_seen);
    set(m, METRIC_ENGINE_LISTINGS, (double)m->discovery->listings);
    metric_set(metrics_series(m->metrics, NULL, METRIC_ENGINE_REQUESTS, "call", "ok"),
               (double)e->calls_answered);
    metric_set(metrics_series(m->metrics, NULL, METRIC_ENGINE_REQUESTS, "call", "failed"),
               (double)e->calls_failed);
    metric_set(metrics_series(m->metrics, NULL, METRIC_ENGINE_REQUESTS, "events", "ok"),
               (double)m->discovery->subscriptions);
    metric_set(metrics_series(m->metrics, NULL, METRIC_ENGINE_REQUESTS, "logs", "sent"),
               (double)m->containers->streams_opened);
}

static void fill_process(struct meters *m, uint64_t in_flight)
{
    struct process_stat p = {0};

    (void)process_stat_read(&p); /* zeros say that there is no /proc */
    set(m, METRIC_GOROUTINES, (double)p.threads + (double)in_flight);
    set(m, METRIC_THREADS, (double)p.threads);
    set(m, METRIC_DESCRIPTORS_OPEN, (double)p.descriptors_open);
    set(m, METRIC_RESIDENT_BYTES, (double)p.resident_bytes);
    set(m, METRIC_START_TIME, (double)(m->started_at_ns / NSEC_PER_SEC));
    set(m, METRIC_PROCESS_CPU, seconds(p.cpu_ns));
    set(m, METRIC_PROCESS_RESIDENT_BYTES, (double)p.resident_bytes);
    set(m, METRIC_PROCESS_DESCRIPTORS_OPEN, (double)p.descriptors_open);
    set(m, METRIC_PROCESS_START_TIME, (double)(m->started_at_ns / NSEC_PER_SEC));
    metric_set(metrics_series(m->metrics, NULL, METRIC_BUILD_INFO, RINGTAIL_VERSION), 1);
    metric_set(metrics_series(m->metrics, NULL, METRIC_BACKEND_INFO, ring_backend_name(m->ring),
                              ring_backend_reason(m->ring)),
               1);
    metric_set(metrics_series(m->metrics, NULL, METRIC_CONFINEMENT_INFO, m->confinement->ring,
                              m->confinement->privileges, m->confinement->capabilities,
                              m->confinement->calls),
               1);
    set(m, METRIC_LOG_LINES_DROPPED, (double)log_lines_dropped());
}

void meters_fill(void *ctx, struct metrics *metrics)
{
    struct meters *m = ctx;
    const struct containers *all = m->containers;
    unsigned followed = fill_containers(m);
    uint64_t in_flight;

    set(m, METRIC_STREAMS_ACTIVE, all->streams_count);
    set(m, METRIC_CONTAINERS_MONITORED, followed);
    set(m, METRIC_CONTAINERS_MISSED, (double)all->missed);
    set(m, METRIC_STREAM_REFUSALS, (double)all->refusals);
    metric_set(
        metrics_series(m->metrics, NULL, METRIC_ACTIVE_TASKS, "container_monitor", "running"),
        followed);
    set(m, METRIC_POSITIONS_SAVES, (double)m->positions->saves);
    set(m, METRIC_POSITIONS_SAVE_ERRORS, (double)m->positions->save_errors);
    set(m, METRIC_POSITIONS_AGE, seconds(positions_age_ns(m->positions, clock_mono_ns())));
    set(m, METRIC_POSITIONS_CONTAINERS, (double)m->positions->table.count);
    set(m, METRIC_POSITIONS_OUTPUTS_SHORTER, (double)m->outputs_shorter);
    fill_records(m);
    meters_fill_sinks(m);
    fill_engine(m);
    fill_ring(m, &in_flight);
    fill_process(m, in_flight);
}

/* ---- /ready and /debug/streams ---- */

static bool is_working(const struct sink *sink)
{
    return sink->last_error == 0 && sink->state == SINK_OK;
}

static void put_sinks(struct buf *json, const struct fanout *f)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct outbox *o = &f->outboxes[i];
        const struct sink *sink = o->sink;

        (void)buf_printf(json, "%s\"%s\":", i > 0 ? "," : "", o->options.name);
        (void)json_append_string(json,
                                 slice_str(is_working(sink)  ? "writing"
                                           : sink->reason[0] ? sink->reason
                                                             : strerrorname_np(-sink->last_error)));
    }
}

bool meters_ready(void *ctx, struct buf *json)
{
    struct meters *m = ctx;
    bool engine = engine_is_up(m->engine) && m->discovery->listed_once;
    bool positions = m->positions->error == 0;
    bool ready = engine && positions;

    for (size_t i = 0; i < m->fanout->count; i++)
        ready &= is_working(m->fanout->outboxes[i].sink);
    (void)buf_printf(json, "{\"ready\":%s,\"engine\":\"%s\",\"sinks\":{", ready ? "true" : "false",
                     engine                    ? "connected"
                     : engine_is_up(m->engine) ? "listing"
                                               : "unreachable");
    put_sinks(json, m->fanout);
    (void)buf_printf(json, "},\"positions\":\"%s\",\"reading\":\"%s\",\"backend\":\"%s\",",
                     positions ? (m->positions->enabled ? "saved" : "off")
                               : strerrorname_np(-m->positions->error),
                     fanout_is_paused(m->fanout) ? "paused" : "open", ring_describe(m->ring));
    (void)buf_printf(json,
                     "\"confinement\":{\"ring\":\"%s\",\"no_new_privs\":\"%s\","
                     "\"capabilities\":\"%s\",\"system_calls\":\"%s\"}}\n",
                     m->confinement->ring, m->confinement->privileges, m->confinement->capabilities,
                     m->confinement->calls);
    return ready;
}

static int put_stream(struct buf *out, const char *role, const struct stream *s, int64_t now,
                      bool as_text)
{
    int64_t since = http_waiting_since(s->exchange);
    double waiting = since ? seconds(now - since) : 0;
    const char *state = http_state_name(s->exchange);

    if (as_text)
        return buf_printf(out, "  %s: %s, open %.1f s, receive in flight %.1f s, level %u\n", role,
                          state, seconds(now - s->opened_at_mono_ns), waiting, s->cursor.level);
    return buf_printf(out,
                      ",\"%s\":{\"state\":\"%s\",\"age_seconds\":%.3f,\"receive_seconds\":%.3f,"
                      "\"level\":%u,\"bytes\":%" PRIu64 "}",
                      role, state, seconds(now - s->opened_at_mono_ns), waiting, s->cursor.level,
                      stream_bytes_received(s));
}

static int put_container(struct buf *out, const struct container *c, int64_t now, bool as_text)
{
    const char *state = container_state_name(c->state);
    int r;

    if (as_text) {
        r = buf_printf(out, "%s %s %s, rotations %" PRIu64 ", lines %" PRIu64 "\n", c->id_short,
                       c->name ? c->name : "-", state, c->rotations, c->lines);
    } else {
        r = buf_printf(out, "{\"container_id\":\"%s\",\"container_name\":", c->id_short);
        if (r == 0)
            r = json_append_string(out, slice_str(c->name ? c->name : ""));
        if (r == 0)
            r = buf_printf(out,
                           ",\"state\":\"%s\",\"rotations\":%" PRIu64 ",\"lines\":%" PRIu64
                           ",\"attempt\":%u,\"marks\":%" PRIu64,
                           state, c->rotations, c->lines, c->attempt,
                           c->history.next - c->history.first);
    }
    if (r == 0 && c->stream)
        r = put_stream(out, "stream", c->stream, now, as_text);
    if (r == 0 && c->successor)
        r = put_stream(out, "successor", c->successor, now, as_text);
    return r == 0 && !as_text ? buf_append_char(out, '}') : r;
}

int meters_streams(void *ctx, struct buf *out, bool as_text)
{
    struct meters *m = ctx;
    struct table *table = &m->containers->table;
    int64_t now = clock_mono_ns();
    bool first = true;
    int r = as_text ? 0 : buf_append_str(out, "{\"streams\":[\n");

    for (struct table_link *l = table_next(table, NULL); l && r == 0; l = table_next(table, l)) {
        if (!first && !as_text)
            r = buf_append_str(out, ",\n");
        first = false;
        if (r == 0)
            r = put_container(out, container_of(l, struct container, by_id), now, as_text);
    }
    return r == 0 && !as_text ? buf_append_str(out, "\n]}\n") : r;
}
