/* src/control/discovery.h. */
#include "discovery.h"

#include <errno.h>
#include <string.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"
#include "ringtail/docker/reply.h"

/* One event carries all labels of its container; what is longer than this is left to the next
 * listing. */
#define EVENT_BYTES_MAX (1 << 20)
/* A subscription that lived this long was no failed try. */
#define EVENTS_PROVEN_NS (10 * NSEC_PER_SEC)

/* ---- listing ---- */

static void on_list_reply(void *ctx, int result, unsigned status, struct slice body)
{
    struct discovery *d = ctx;
    struct reply_list list;
    char message[256] = "";
    int r = result;

    if (d->closing)
        return;
    if (r == 0)
        r = status == 200 ? reply_list_parse(body, &list) : -EPROTO;
    if (r < 0) {
        if (status != 200)
            reply_error_message(body, message, sizeof message);
        if (result < 0)
            engine_doubt(d->engine);
        else
            log_warn("Containers could not be listed", LOG_INT("status", status),
                     LOG_STR("reason", engine_refusal(status, message)), LOG_ERRNO(r));
        return; /* the next interval tries again */
    }
    containers_listing_take(d->containers, &list);
    reply_list_finish(&list);
    d->listings++;
    if (!d->listed_once)
        log_info("Following containers", LOG_INT("containers", d->containers->table.count));
    d->listed_once = true;
}

static void list(struct discovery *d);

static void on_list_done(void *ctx, int result, unsigned status, struct slice body)
{
    struct discovery *d = ctx;

    on_list_reply(ctx, result, status, body);
    if (d->list_again && !d->closing)
        list(d);
}

static void list(struct discovery *d)
{
    struct buf request = {0};

    d->list_again = d->list.active;
    if (d->list.active || !engine_is_up(d->engine))
        return;
    if (api_request_list(&request, d->engine->version, true) < 0) {
        buf_finish(&request);
        return; /* out of memory: the next interval tries again */
    }
    containers_listing_begin(d->containers);
    engine_call_start(d->engine, &d->list, &request, on_list_done, d);
}

static void on_resync(struct op *op, int res)
{
    struct discovery *d = container_of(op, struct discovery, resync_op);

    if (d->closing)
        return;
    list(d);
    ring_timer(d->engine->ring, op, d->engine->config->discovery_resync_ms);
}

/* ---- events ---- */

static void on_event(struct discovery *d, struct slice line)
{
    struct reply_event event;

    if (line.len == 0)
        return;
    if (reply_event_parse(line, &event) < 0) {
        d->events_unreadable++;
        list(d); /* whatever it said, the listing knows */
        return;
    }
    d->events_seen++;
    d->last_event_ns = MAX(d->last_event_ns, event.time_ns);
    switch (event.action) {
    case EVENT_CREATE:
        containers_mention(d->containers, event.id, MENTION_CREATED);
        break;
    case EVENT_START:
        containers_mention(d->containers, event.id, MENTION_STARTED);
        break;
    case EVENT_RENAME:
        containers_rename(d->containers, event.id, event.name);
        break;
    case EVENT_DESTROY:
        containers_remove(d->containers, event.id);
        break;
    case EVENT_DIE: /* a hint only: the log's end is the last chunk, which may come later or earlier
                     */
    case EVENT_STOP:
    case EVENT_KILL:
    case EVENT_PAUSE:
    case EVENT_UNPAUSE:
    case EVENT_RESTART:
    case EVENT_OOM:
    case EVENT_OTHER:
        break;
    }
    reply_event_finish(&event);
}

static int on_events_head(void *ctx, const struct http_head *head)
{
    struct discovery *d = ctx;

    d->events_status = head->status;
    if (engine_is_out_of_reach(head->status, (struct slice){0}))
        return -EHOSTUNREACH;
    if (head->status != 200)
        return -EPROTO;
    d->subscriptions++;
    d->events_refusal_said = false;
    list(d);
    return 0;
}

static void keep_piece(struct discovery *d, struct slice piece)
{
    if (!d->line_too_long && d->line.len + piece.len <= EVENT_BYTES_MAX &&
        buf_append_slice(&d->line, piece) == 0)
        return;
    d->line_too_long = true;
    buf_finish(&d->line);
}

static int on_events_body(void *ctx, struct slice span, unsigned flags)
{
    struct discovery *d = ctx;

    while (span.len > 0) {
        const char *end = memchr(span.data, '\n', span.len);
        size_t len = end ? (size_t)(end - span.data) : span.len;

        if (!end) {
            keep_piece(d, span);
            break;
        }
        if (d->line.len == 0 && !d->line_too_long) {
            on_event(d, slice_of(span.data, len));
        } else {
            keep_piece(d, slice_of(span.data, len));
            if (d->line_too_long) {
                d->events_unreadable++;
                list(d);
            } else {
                on_event(d, buf_slice(&d->line));
            }
            d->line_too_long = false;
            buf_reset(&d->line);
        }
        span = slice_from(span, len + 1);
    }
    return 0;
}

static void on_events_closed(void *ctx, int result)
{
    struct discovery *d = ctx;
    const struct config *config = d->engine->config;
    int64_t ms;

    d->events = NULL;
    buf_reset(&d->line);
    d->line_too_long = false;
    if (d->closing)
        return;
    if (clock_mono_ns() - d->events_opened_at_mono_ns > EVENTS_PROVEN_NS)
        d->events_attempt = 0;
    if (result == -EPROTO) {
        if (!d->events_refusal_said)
            log_warn("Engine refuses its events, relying on listings",
                     LOG_INT("status", d->events_status),
                     LOG_STR("reason", engine_refusal(d->events_status, "")));
        d->events_refusal_said = true;
    } else {
        engine_doubt(d->engine);
    }
    ms = random_backoff_ms(&d->random, d->events_attempt++, config->engine_reconnect_min_ms,
                           config->engine_reconnect_max_ms);
    ring_timer(d->engine->ring, &d->events_retry_op, MAX(ms, 1));
}

static const struct http_handlers events_handlers = {
    .reply = {.on_head = on_events_head, .on_body = on_events_body},
    .on_closed = on_events_closed,
};

static void subscribe(struct discovery *d)
{
    struct http_options options = engine_http_options(d->engine);
    int64_t since_ns = d->last_event_ns ? d->last_event_ns : clock_wall_ns();
    struct buf request = {0};
    int r;

    if (d->events || op_in_flight(&d->events_retry_op) || !engine_is_up(d->engine))
        return;
    r = api_request_events(&request, d->engine->version, since_ns);
    if (r == 0)
        r = http_open(d->engine->ring, &options, &request, &events_handlers, d, &d->events);
    buf_finish(&request);
    d->events_opened_at_mono_ns = clock_mono_ns();
    if (r < 0)
        on_events_closed(d, r);
}

static void on_events_retry(struct op *op, int res)
{
    struct discovery *d = container_of(op, struct discovery, events_retry_op);

    if (!d->closing)
        subscribe(d);
}

/* ---- from outside ---- */

void discovery_engine_up(struct discovery *d)
{
    bool subscribed = d->events != NULL;

    subscribe(d);
    /* A new subscription's head asks for the listing; where none is to come, ask now. */
    if (subscribed || !d->events)
        list(d);
    if (!op_in_flight(&d->resync_op))
        ring_timer(d->engine->ring, &d->resync_op, d->engine->config->discovery_resync_ms);
}

void discovery_init(struct discovery *d, struct engine *engine, struct containers *containers)
{
    *d = (struct discovery){.engine = engine, .containers = containers};
    d->events_retry_op.done = on_events_retry;
    d->resync_op.done = on_resync;
    random_seed_system(&d->random);
}

void discovery_close(struct discovery *d)
{
    d->closing = true;
    if (d->events)
        http_close(d->events);
    ring_cancel(d->engine->ring, &d->events_retry_op);
    ring_cancel(d->engine->ring, &d->resync_op);
}

bool discovery_is_idle(const struct discovery *d)
{
    return !d->events && !d->list.active && !op_in_flight(&d->events_retry_op) &&
           !op_in_flight(&d->resync_op);
}

void discovery_finish(struct discovery *d)
{
    buf_finish(&d->line);
}
