/* src/control/container.h. Speaks of what happens to containers, once per container and run. */
#include "container.h"

#include <assert.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"

#include "meters.h"

/* A stream that lived this long was no failed try: the next break starts from the first pause
 * again. */
#define STREAM_PROVEN_NS (10 * NSEC_PER_SEC)
/* A rotation that failed is tried again this soon: the old stream is still there. */
#define ROTATION_RETRY_MS 5000
/* A successor that opened and says nothing this long has nothing to find its place by. */
#define SUCCESSOR_SILENT_NS (2 * NSEC_PER_SEC)
/* A stream that has not said anything for this long may have been deaf. */
#define SILENT_NS (2 * NSEC_PER_SEC)
/* After so many errors of the Engine inside a log, only the newest record is asked for. */
#define ENGINE_ERRORS_BEFORE_SKIP 3
/* From this API version on (Engine 26.1) a follow ends with everything that was written. */
static const struct api_version version_ends_whole = {1, 45};
/* Up to this API version (Engine 20.10) `local` drops the newline of a line in parts. */
static const struct api_version version_drops_newline = {1, 41};

static const uint16_t container_edges[CONTAINER_STATE_COUNT] = {
    [CONTAINER_INSPECTING] = BIT(CONTAINER_IGNORED) | BIT(CONTAINER_IDLE) | BIT(CONTAINER_WAITING) |
                             BIT(CONTAINER_BACKOFF),
    [CONTAINER_IDLE] = BIT(CONTAINER_WAITING) | BIT(CONTAINER_INSPECTING),
    [CONTAINER_WAITING] = BIT(CONTAINER_OPENING) | BIT(CONTAINER_INSPECTING) |
                          BIT(CONTAINER_BACKOFF) | BIT(CONTAINER_IDLE),
    [CONTAINER_OPENING] = BIT(CONTAINER_READING) | BIT(CONTAINER_WAITING) | BIT(CONTAINER_BACKOFF) |
                          BIT(CONTAINER_REFUSED) | BIT(CONTAINER_IDLE),
    [CONTAINER_READING] = BIT(CONTAINER_WAITING) | BIT(CONTAINER_BACKOFF) | BIT(CONTAINER_IDLE) |
                          BIT(CONTAINER_OPENING) | BIT(CONTAINER_REFUSED),
    [CONTAINER_BACKOFF] = BIT(CONTAINER_WAITING) | BIT(CONTAINER_IDLE),
    [CONTAINER_REFUSED] = BIT(CONTAINER_WAITING) | BIT(CONTAINER_IDLE),
};

const char *container_state_name(enum container_state state)
{
    static const char *const names[CONTAINER_STATE_COUNT] = {
        [CONTAINER_INSPECTING] = "inspecting",
        [CONTAINER_IGNORED] = "ignored",
        [CONTAINER_IDLE] = "idle",
        [CONTAINER_WAITING] = "waiting",
        [CONTAINER_OPENING] = "opening",
        [CONTAINER_READING] = "reading",
        [CONTAINER_BACKOFF] = "backoff",
        [CONTAINER_REFUSED] = "refused",
    };

    return names[state];
}

static void container_enter(struct container *c, enum container_state next)
{
    assert(container_edges[c->state] & BIT(next));
    c->state = next;
}

#define LOG_CONTAINER(c)                                                                           \
    LOG_STR("container_id", (c)->id_short), LOG_STR("container_name", (c)->name ? (c)->name : "")

static void pump(struct containers *all);
static void schedule_rotation(struct container *c);

/* ---- making and forgetting ---- */

static int on_line(void *ctx, const struct line *line)
{
    struct container *c = ctx;
    int r = gather_line(c->all->gather, c->source, line);

    if (r < 0)
        return r;
    c->lines++;
    c->bytes += line->bytes.len;
    c->newest_ts_ns = line->ts_ns;
    return 0;
}

static void on_backoff(struct op *op, int res);

static struct container *container_create(struct containers *all, const char *id)
{
    struct container *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->all = all;
    memcpy(c->id, id, sizeof c->id);
    memcpy(c->id_short, id, sizeof c->id_short - 1);
    c->state = CONTAINER_IDLE;
    c->mark = true; /* a listing that was asked for before says nothing of it */
    c->backoff_op.done = on_backoff;
    c->history = (struct splice_history){
        .marks_max = (uint32_t)all->config->stream_history_records,
        .floor_ns = all->floor_ns,
        .floor_is_far = !all->floor_is_now,
    };
    c->joiner = (struct line_joiner){
        .on_line = on_line,
        .ctx = c,
        .bytes_max = (size_t)all->config->stream_max_line_bytes,
    };
    (void)positions_take(all->positions, c->id, &c->history); /* none: it begins at the floor */
    table_insert(&all->table, &c->by_id, slice_str(c->id));
    return c;
}

static bool container_is_busy(const struct container *c)
{
    return c->inspect.active || c->stream || c->successor || c->retired_count > 0 ||
           op_in_flight(&c->backoff_op);
}

static void container_free(struct container *c)
{
    assert(!container_is_busy(c));
    meters_container_gone(c->all->meters, c);
    if (c->removed) {
        positions_forget(c->all->positions, c->id);
    } else {
        positions_put(c->all->positions, c->id, &c->history, &c->joiner);
        positions_leave(c->all->positions, c->id);
    }
    list_remove(&c->link);
    table_remove(&c->all->table, &c->by_id);
    splice_history_finish(&c->history);
    line_joiner_finish(&c->joiner);
    source_unref(c->source);
    free(c->name);
    free(c->image);
    free(c);
}

static struct container *find(struct containers *all, const char *id)
{
    struct table_link *link = table_find(&all->table, slice_str(id));

    return link ? container_of(link, struct container, by_id) : NULL;
}

/* What is open will not be continued: its container has stopped, or we do and shall not come back
 * to it. */
static void flush_open_lines(struct container *c)
{
    int r = line_joiner_flush(&c->joiner);

    if (r < 0)
        log_error("Unfinished line lost", LOG_CONTAINER(c), LOG_ERRNO(r));
}

/* ---- moving on ---- */

static void stand_in_line(struct container *c)
{
    container_enter(c, CONTAINER_WAITING);
    list_append(&c->all->waiting, &c->link);
}

/* We end. A line that is open is begun again the next time, where positions are kept. */
static void leave(struct container *c)
{
    if (!c->all->positions->enabled)
        flush_open_lines(c);
    container_free(c);
}

/* From any state that has nothing under way: on to whatever is next for this container. May free
 * it. */
static void container_go(struct container *c)
{
    struct containers *all = c->all;

    assert(!container_is_busy(c));
    if (all->closing) {
        leave(c);
        return;
    }
    if (c->started && !c->catching_up) {
        c->wanted = true;
        c->started = false;
    }
    if (c->wanted || c->catching_up || !c->inspected) {
        stand_in_line(c);
        pump(all);
        return;
    }
    if (c->state != CONTAINER_IDLE)
        container_enter(c, CONTAINER_IDLE);
    if (c->removed)
        container_free(c);
}

static void back_off(struct container *c)
{
    const struct config *config = c->all->config;
    int64_t ms = random_backoff_ms(&c->all->random, c->attempt++, config->engine_reconnect_min_ms,
                                   config->engine_reconnect_max_ms);

    container_enter(c, CONTAINER_BACKOFF);
    ring_timer(c->all->ring, &c->backoff_op, MAX(ms, 1));
}

static void on_backoff(struct op *op, int res)
{
    container_go(container_of(op, struct container, backoff_op));
}

/* The Engine does not have it any more, and we have nothing under way for it. */
static void container_lost(struct container *c)
{
    if (c->wanted && c->history.next == 0 && !c->all->closing) {
        c->all->missed++;
        log_info("Container missed", LOG_CONTAINER(c),
                 LOG_STR("reason", "its log was gone before it could be read"));
    }
    flush_open_lines(c);
    c->removed = true;
    c->wanted = c->catching_up = false;
    c->inspected = true; /* there is nothing to learn any more */
    container_go(c);
}

/* ---- what it is ---- */

static bool matches_any(const struct option_list *patterns, const char *name)
{
    for (size_t i = 0; i < patterns->count; i++)
        if (fnmatch(patterns->items[i], name, 0) == 0)
            return true;
    return false;
}

static bool is_ignored(const struct container *c)
{
    const struct config *config = c->all->config;

    if (c->all->self_id && !config->containers_follow_self && strcmp(c->id, c->all->self_id) == 0)
        return true;
    if (config->containers_include.count > 0 && !matches_any(&config->containers_include, c->name))
        return true;
    return matches_any(&config->containers_exclude, c->name);
}

/* Records to come carry the container's newest name. */
static int set_source(struct container *c, const char *name, const char *image)
{
    RT_CLEANUP(freep) char *name_copy = strdup(name);
    RT_CLEANUP(freep) char *image_copy = strdup(image);
    struct source *source;

    if (!name_copy || !image_copy)
        return -ENOMEM;
    source = source_create(slice_str(c->id), slice_str(name), slice_str(image));
    if (!source)
        return -ENOMEM;
    source_unref(c->source);
    c->source = source;
    free(c->name);
    free(c->image);
    c->name = TAKE_PTR(name_copy);
    c->image = TAKE_PTR(image_copy);
    return 0;
}

static const char *log_option(const struct reply_inspect *reply, const char *key)
{
    for (size_t i = 0; i < reply->log_options_count; i++)
        if (strcmp(reply->log_options[i].key, key) == 0)
            return reply->log_options[i].value;
    return NULL;
}

/* What the Engine keeps of the log before it drops the oldest: `local` has bounds of its own (20 MB
 * × 5). */
static int64_t log_bytes_max(const struct reply_inspect *reply)
{
    bool is_json_file = strcmp(reply->log_driver, "json-file") == 0;
    const char *size = log_option(reply, "max-size");
    const char *files = log_option(reply, "max-file");
    int64_t bytes = is_json_file ? 0 : 20 << 20;
    long count = files ? strtol(files, NULL, 10) : is_json_file ? 1 : 5;

    if (size && size_parse(slice_str(size), &bytes) < 0)
        return 0;
    return bytes * MAX(count, 1);
}

static int learn(struct container *c, const struct reply_inspect *reply)
{
    int r = set_source(c, c->name ? c->name : reply->name, reply->image);

    if (r < 0)
        return r;
    c->tty = reply->tty;
    c->log_bytes_max = log_bytes_max(reply);
    c->driver_is_local = strcmp(reply->log_driver, "json-file") != 0;
    c->joiner.parts_lack_newline =
        c->driver_is_local &&
        api_version_compare(c->all->engine->version, version_drops_newline) <= 0;
    /* A log that is younger than the floor is read from its beginning, without trying short tails.
     */
    if (reply->started_at_ns > c->history.floor_ns)
        c->history.floor_is_far = true;
    c->inspected = true;
    return 0;
}

static void on_inspect_reply(void *ctx, int result, unsigned status, struct slice body)
{
    struct container *c = ctx;
    struct reply_inspect reply;
    int r = result;

    if (r == 0 && status == 404) {
        container_lost(c);
        return;
    }
    if (c->all->closing) {
        container_go(c);
        return;
    }
    if (r == 0)
        r = status == 200 ? reply_inspect_parse(body, &reply) : -EPROTO;
    if (r == 0) {
        r = learn(c, &reply);
        reply_inspect_finish(&reply);
    }
    if (r < 0) {
        if (result < 0)
            engine_doubt(c->all->engine);
        else
            log_warn("Container could not be inspected", LOG_CONTAINER(c),
                     LOG_INT("status", status), LOG_ERRNO(r));
        back_off(c);
        return;
    }
    c->attempt = 0;
    if (is_ignored(c)) {
        container_enter(c, CONTAINER_IGNORED);
        return;
    }
    container_go(c);
}

static void inspect(struct container *c)
{
    struct engine *engine = c->all->engine;
    struct buf request = {0};

    if (api_request_inspect(&request, engine->version, slice_str(c->id)) < 0) {
        buf_finish(&request);
        back_off(c);
        return;
    }
    container_enter(c, CONTAINER_INSPECTING);
    engine_call_start(engine, &c->inspect, &request, on_inspect_reply, c);
}

/* ---- its log ---- */

static void give_slot_back(struct containers *all, struct stream *s)
{
    all->opening_count -= s->has_slot;
    s->has_slot = false;
}

/* The successor has found its place, so from here on the stream before it is of no use. */
static void take_over(struct container *c)
{
    struct stream *old = c->stream;
    int64_t now = clock_mono_ns();
    int64_t age_ns = now - old->opened_at_mono_ns;

    c->stream = c->successor;
    c->successor = NULL;
    c->retired_count++;
    c->rotations++;
    c->rotation_level = 0;
    c->rotated_at_wall_ns = clock_wall_ns();
    c->predecessor_was_silent =
        c->stream->cursor.level < 2 && stream_bytes_received(old) == c->heard_bytes &&
        now - c->heard_at_mono_ns >
            MIN(SILENT_NS, c->all->config->stream_rotation_interval_ms * NSEC_PER_MSEC / 2);
    c->heard_at_mono_ns = now;
    c->heard_bytes = 0;
    schedule_rotation(c);
    c->all->rotations++;
    meters_container_rotated(c->all->meters, c, age_ns);
    log_info("Stream rotated successfully", LOG_CONTAINER(c),
             LOG_INT("rotation_count", c->rotations),
             LOG_INT("stream_age_secs", age_ns / NSEC_PER_SEC));
    stream_close(old);
}

static void on_stream_open(void *ctx, struct stream *s)
{
    struct container *c = ctx;

    give_slot_back(c->all, s);
    log_debug("Stream opened", LOG_CONTAINER(c), LOG_INT("level", s->cursor.level),
              LOG_STR("follow", s->follow ? "yes" : "no"));
    if (s == c->successor) {
        /* Without anything delivered there is no place to find: both begin at the floor. */
        if (!splice_has_history(&c->history))
            take_over(c);
        return;
    }
    container_enter(c, CONTAINER_READING);
    meters_container_opened(c->all->meters, c);
    c->refusal_said = false;
    c->heard_at_mono_ns = clock_mono_ns();
    c->heard_bytes = 0;
    c->predecessor_was_silent = false;
    schedule_rotation(c);
}

static void on_stream_placed(void *ctx, struct stream *s)
{
    struct container *c = ctx;

    if (s == c->successor)
        take_over(c);
}

static void on_stream_idle(void *ctx, struct stream *s)
{
    struct container *c = ctx;

    log_debug("Stream read timeout - allowing rotation", LOG_CONTAINER(c),
              LOG_INT("timeout_secs", c->all->config->stream_read_timeout_ms / 1000));
}

/*
 * 501 can't change during a run; all else may. 404 and 409 are the usual answers for a container
 * that is being removed: the listing or the event that says so settles it.
 */
static void refused(struct container *c, const struct stream_end *end)
{
    struct containers *all = c->all;
    bool going = end->status == 404 || end->status == 409;
    bool for_good = end->status == 501;

    all->refusals++;
    meters_container_error(all->meters, c, "open_failed");
    if (going && c->removed) {
        container_lost(c);
        return;
    }
    if (!going && !c->refusal_said) {
        log_warn("Log unreadable", LOG_CONTAINER(c), LOG_INT("status", end->status),
                 LOG_STR("reason", end->message),
                 LOG_STR("again", for_good ? "at the container's next start" : "later"));
        c->refusal_said = true;
    }
    container_enter(c, CONTAINER_REFUSED);
    c->due_mono_ns = for_good
                         ? INT64_MAX
                         : clock_mono_ns() + all->config->stream_retry_refused_ms * NSEC_PER_MSEC;
    if (!for_good)
        list_append(&all->refused, &c->link);
}

static void run_ended(struct container *c, bool was_follow)
{
    bool held_back =
        was_follow && api_version_compare(c->all->engine->version, version_ends_whole) < 0;

    log_debug("Stream ended", LOG_CONTAINER(c));
    c->level = c->attempt = c->engine_errors = 0;
    c->catching_up = held_back;
    if (!held_back) {
        flush_open_lines(c);
        c->wanted = false;
    }
    container_go(c);
}

static const char *error_type(const struct stream_end *end)
{
    if (end->engine_error)
        return "engine_error";
    if (end->result == -ENFILE)
        return "pool_full"; /* ring.sockets_max */
    return end->opened ? "read_failed" : "open_failed";
}

static void broken(struct container *c, const struct stream_end *end, bool proven)
{
    struct containers *all = c->all;

    all->streams_broken++;
    meters_container_error(all->meters, c, error_type(end));
    c->level = 0;
    if (proven)
        c->attempt = 0;
    if (proven && !end->engine_error)
        c->engine_errors = 0;
    if (end->engine_error) {
        all->engine_errors++;
        c->engine_errors++;
        log_warn("Engine reported an error in a log", LOG_CONTAINER(c),
                 LOG_STR("reason", end->message));
    } else if (end->result == -EBADMSG || end->result == -EMSGSIZE || end->result == -ENOMEM ||
               end->result == -ENFILE) {
        log_warn("Log stream unusable, opening it again", LOG_CONTAINER(c), LOG_ERRNO(end->result));
    } else {
        engine_doubt(all->engine);
    }
    back_off(c);
}

/* The stream that was read has ended, and its successor is on the way: that one goes on in its
 * place. */
static void promote(struct container *c)
{
    c->all->streams_promoted++;
    c->stream = c->successor;
    c->successor = NULL;
    if (!c->stream->open)
        container_enter(c, CONTAINER_OPENING);
    else
        schedule_rotation(c);
}

static void on_main_end(struct container *c, struct stream *s, const struct stream_end *end)
{
    bool proven = s->delivered > 0 || clock_mono_ns() - s->opened_at_mono_ns > STREAM_PROVEN_NS;

    c->stream = NULL;
    if (c->successor) {
        promote(c);
        return;
    }
    switch (end->kind) {
    case STREAM_COMPLETE:
        if (end->engine_error)
            broken(c, end, proven);
        else
            run_ended(c, s->follow);
        break;
    case STREAM_WIDER:
        c->all->streams_widened++;
        c->level = MIN(c->level + 1, SPLICE_LEVELS - 1u);
        container_go(c);
        break;
    case STREAM_REFUSED:
        refused(c, end);
        break;
    case STREAM_BROKEN:
        broken(c, end, proven);
        break;
    case STREAM_CLOSED:
        container_go(c);
        break;
    }
}

/* The stream in use is still there, so nothing is lost: try again soon. */
static void on_successor_end(struct container *c, const struct stream_end *end)
{
    struct containers *all = c->all;
    int64_t retry_ms = MIN(ROTATION_RETRY_MS, all->config->stream_rotation_interval_ms / 10);

    c->successor = NULL;
    c->rotation_due_mono_ns = clock_mono_ns() + retry_ms * NSEC_PER_MSEC;
    if (end->kind == STREAM_WIDER) {
        all->streams_widened++;
        /* `since` makes the Engine read the whole log: only for a stream that is stuck. */
        if (c->rotation_level != 1) {
            c->rotation_level = MIN(c->rotation_level + 1, SPLICE_LEVELS - 1u);
            c->rotation_due_mono_ns = 0;
        }
    } else if (end->kind == STREAM_BROKEN || end->kind == STREAM_REFUSED) {
        all->rotations_failed++;
        meters_container_error(all->meters, c, error_type(end));
        if (end->kind == STREAM_BROKEN)
            engine_doubt(all->engine);
    }
    stream_pause(c->stream, all->paused);
}

/* One of before, or any of them while we close: only its landing was waited for. */
static void on_leftover_end(struct container *c, struct stream *s)
{
    if (s == c->stream)
        c->stream = NULL;
    else if (s == c->successor)
        c->successor = NULL;
    else
        c->retired_count--;
    if (!container_is_busy(c) && (c->all->closing || c->go_when_landed)) {
        c->go_when_landed = false;
        container_go(c);
    }
}

static void on_stream_end(void *ctx, struct stream *s, const struct stream_end *end)
{
    struct container *c = ctx;
    struct containers *all = c->all;

    all->streams_count--;
    c->reread_bytes += s->reread_bytes;
    give_slot_back(all, s);
    if (s == c->stream && !all->closing)
        on_main_end(c, s, end);
    else if (s == c->successor && !all->closing)
        on_successor_end(c, end);
    else
        on_leftover_end(c, s);
    pump(all);
}

/* Opens the container's next stream: its only one, or the successor of the one in use. */
static int open_stream(struct container *c, struct stream_request *request, struct stream **ret)
{
    struct containers *all = c->all;
    struct stream_events events = {
        .on_open = on_stream_open,
        .on_placed = on_stream_placed,
        .on_idle = on_stream_idle,
        .on_end = on_stream_end,
        .ctx = c,
    };
    int r;

    request->id = slice_str(c->id);
    request->tty = c->tty;
    r = stream_open(all->engine, request, &c->history, &c->joiner, &events, ret);
    if (r < 0)
        return r;
    (*ret)->has_slot = true;
    all->opening_count++;
    all->streams_count++;
    all->streams_opened++;
    if (all->paused)
        stream_pause(*ret, true);
    return 0;
}

static void open_main(struct container *c)
{
    struct stream_request request = {
        .follow = !c->catching_up,
        .level = c->level,
        .past_error = c->engine_errors >= ENGINE_ERRORS_BEFORE_SKIP,
    };

    if (open_stream(c, &request, &c->stream) < 0)
        back_off(c);
    else
        container_enter(c, CONTAINER_OPENING);
}

/* ---- rotation ---- */

/* Early by chance, never late: so many intervals hold so many rotations. */
static void schedule_rotation(struct container *c)
{
    const struct config *config = c->all->config;
    int64_t interval_ms = config->stream_rotation_interval_ms;
    uint64_t early_ms =
        random_below(&c->all->random,
                     (uint64_t)(interval_ms * config->stream_rotation_jitter_percent / 100) + 1);
    int64_t opened_ns = c->stream->opened_at_mono_ns;

    c->rotation_due_mono_ns = opened_ns + (interval_ms - (int64_t)early_ms) * NSEC_PER_MSEC -
                              c->all->tick_ms * NSEC_PER_MSEC;
    c->stuck_at_mono_ns = opened_ns + (interval_ms + config->stream_stuck_grace_ms) * NSEC_PER_MSEC;
}

static void begin_rotation(struct container *c)
{
    struct stream_request request = {
        .follow = true,
        .level = c->rotation_level,
        .takeover = true,
    };

    if (open_stream(c, &request, &c->successor) < 0) {
        c->all->rotations_failed++;
        c->rotation_due_mono_ns = clock_mono_ns() + ROTATION_RETRY_MS * NSEC_PER_MSEC;
        return;
    }
    /* Both read as fast as the Engine gives, so one that begins behind would never catch up. */
    if (c->rotation_level >= 2)
        stream_pause(c->stream, true);
}

/*
 * Not rotated in time although it could have: say so and repair it. One that is being read is far
 * behind its log, and gets a successor that asks for all of it since the last record; a silent one
 * is opened anew.
 */
static void repair_stuck(struct container *c, int64_t now)
{
    const struct config *config = c->all->config;

    c->all->rotations_stuck++;
    meters_container_error(c->all->meters, c, "rotation_stuck");
    log_error("Stream rotation stuck - possible deadlock", LOG_CONTAINER(c),
              LOG_INT("rotation_count", c->rotations),
              LOG_INT("expected_interval_min", config->stream_rotation_interval_ms / 60000));
    c->stuck_at_mono_ns =
        now + (config->stream_rotation_interval_ms + config->stream_stuck_grace_ms) * NSEC_PER_MSEC;
    if (now - c->heard_at_mono_ns < SILENT_NS) {
        c->rotation_level = MAX(c->rotation_level, 2u);
        if (c->successor && c->successor->cursor.level < 2)
            stream_close(c->successor);
        return;
    }
    c->rotation_level = 0;
    if (c->successor)
        stream_close(c->successor);
    stream_close(c->stream);
}

static void note_what_is_heard(struct container *c, int64_t now)
{
    uint64_t bytes = stream_bytes_received(c->stream);

    if (bytes != c->heard_bytes)
        c->heard_at_mono_ns = now;
    c->heard_bytes = bytes;
    if (c->predecessor_was_silent && c->stream->delivered_late > 0) {
        c->predecessor_was_silent = false;
        c->all->streams_silent++;
        meters_container_error(c->all->meters, c, "silent");
        log_warn("Stream had fallen silent while its container went on, replaced", LOG_CONTAINER(c),
                 LOG_INT("records", c->stream->delivered_late));
    }
}

static void tell_gaps(struct container *c)
{
    if (c->history.gaps_suspected == c->gaps_told)
        return;
    c->gaps_told = c->history.gaps_suspected;
    log_warn("Lines may be missing", LOG_CONTAINER(c),
             LOG_STR("reason", "the Engine no longer has the last line that was read: its log was "
                               "rotated or removed (max-size, max-file)"),
             LOG_INT("gap_suspected", c->gaps_told));
}

/*
 * Warns before loss: reading, but so far behind that at the rate at which the container writes,
 * half of what its log driver keeps is not read yet. A container that says nothing is not behind.
 */
static void watch_risk(struct container *c, int64_t now)
{
    double behind_s = (double)(clock_wall_ns() - c->newest_ts_ns) / (double)NSEC_PER_SEC;
    bool is_heard = now - c->heard_at_mono_ns < SILENT_NS;
    bool at_risk = c->log_bytes_max > 0 && c->newest_ts_ns > 0 && is_heard && behind_s > 1 &&
                   behind_s * splice_bytes_per_s(&c->history) > (double)c->log_bytes_max / 2;

    if (at_risk && !c->at_risk)
        log_warn("Reading is far behind, the Engine may drop lines before they are read",
                 LOG_CONTAINER(c), LOG_INT("behind_secs", behind_s),
                 LOG_INT("log_bytes_max", c->log_bytes_max),
                 LOG_STR("advice", "raise the container's max-size or max-file"));
    c->at_risk = at_risk;
}

static void watch_reading(struct container *c, int64_t now)
{
    struct containers *all = c->all;

    note_what_is_heard(c, now);
    tell_gaps(c);
    watch_risk(c, now);
    if (!c->stream->follow || all->paused || !engine_is_up(all->engine))
        return;
    if (now >= c->stuck_at_mono_ns)
        repair_stuck(c, now);
    else if (!c->successor && now >= c->rotation_due_mono_ns &&
             all->opening_count < (unsigned)all->config->stream_openings_max)
        begin_rotation(c);
    else if (c->successor && c->successor->open && c->successor->cursor.level < 2 &&
             now - c->successor->opened_at_mono_ns > SUCCESSOR_SILENT_NS)
        take_over(c); /* an empty log has no place to find: what comes first is placed then */
}

static void pump(struct containers *all)
{
    while (!all->closing && engine_is_up(all->engine) && !list_is_empty(&all->waiting) &&
           all->opening_count < (unsigned)all->config->stream_openings_max) {
        struct container *c = container_of(list_pop(&all->waiting), struct container, link);

        if (c->inspected)
            open_main(c);
        else
            inspect(c);
    }
}

/* ---- what is heard from outside ---- */

void containers_mention(struct containers *all, const char *id, enum container_mention mention)
{
    struct container *c;

    if (all->closing)
        return;
    c = find(all, id);
    if (!c) {
        c = container_create(all, id);
        if (!c) {
            log_error("Container not followed", LOG_STR("container_id", id), LOG_ERRNO(-ENOMEM));
            return; /* the next listing tries again */
        }
        if (mention == MENTION_STARTED)
            c->history.floor_is_far = true;
        c->wanted = mention != MENTION_CREATED;
        container_go(c);
        return;
    }
    if (mention == MENTION_CREATED)
        return;
    c->removed = false;
    c->mark = true;
    switch (c->state) {
    case CONTAINER_IDLE:
        c->wanted = true;
        container_go(c);
        break;
    case CONTAINER_REFUSED:
        if (mention == MENTION_STARTED) {
            list_remove(&c->link);
            c->refusal_said = false;
            container_go(c);
        }
        break;
    case CONTAINER_OPENING:
    case CONTAINER_READING:
        c->started |= mention == MENTION_STARTED;
        break;
    case CONTAINER_WAITING:
    case CONTAINER_BACKOFF:
        if (c->catching_up)
            c->started |= mention == MENTION_STARTED;
        else
            c->wanted = true;
        break;
    case CONTAINER_INSPECTING:
        c->wanted = true;
        break;
    case CONTAINER_IGNORED:
    case CONTAINER_STATE_COUNT:
        break;
    }
}

void containers_rename(struct containers *all, const char *id, const char *name)
{
    struct container *c = find(all, id);

    if (!c || !c->inspected || !c->name || strcmp(c->name, name) == 0 || name[0] == '\0')
        return;
    if (set_source(c, name, c->image) < 0) {
        log_error("Container's new name not taken over", LOG_CONTAINER(c), LOG_ERRNO(-ENOMEM));
        return;
    }
    meters_container_renamed(all->meters, c);
}

static void container_removed(struct container *c)
{
    c->removed = true;
    switch (c->state) {
    case CONTAINER_IDLE:
    case CONTAINER_IGNORED:
        container_free(c);
        break;
    case CONTAINER_REFUSED:
        list_remove(&c->link);
        container_lost(c);
        break;
    case CONTAINER_BACKOFF:
    case CONTAINER_INSPECTING:
    case CONTAINER_OPENING:
    case CONTAINER_READING:
    case CONTAINER_WAITING:
    case CONTAINER_STATE_COUNT:
        break; /* what is under way finds out by itself, after what there is left to read */
    }
}

void containers_remove(struct containers *all, const char *id)
{
    struct container *c = find(all, id);

    if (c)
        container_removed(c);
}

void containers_listing_begin(struct containers *all)
{
    for (struct table_link *l = table_next(&all->table, NULL); l; l = table_next(&all->table, l))
        container_of(l, struct container, by_id)->mark = false;
}

void containers_listing_see(struct containers *all, const struct reply_container *row)
{
    struct container *c;

    if (strcmp(row->state, "running") == 0 || strcmp(row->state, "paused") == 0 ||
        strcmp(row->state, "restarting") == 0)
        containers_mention(all, row->id, MENTION_RUNNING);
    c = find(all, row->id);
    if (!c)
        return;
    c->mark = true;
    containers_rename(all, row->id, row->name);
}

void containers_listing_end(struct containers *all)
{
    struct table_link *next = table_next(&all->table, NULL);

    while (next) {
        struct container *c = container_of(next, struct container, by_id);

        next = table_next(&all->table, next);
        if (!c->mark)
            container_removed(c);
    }
}

void containers_engine_up(struct containers *all)
{
    pump(all);
}

void containers_put_positions(struct containers *all)
{
    for (struct table_link *l = table_next(&all->table, NULL); l; l = table_next(&all->table, l)) {
        struct container *c = container_of(l, struct container, by_id);

        if (c->history.next != c->position_next || c->history.has_owed)
            positions_put(all->positions, c->id, &c->history, &c->joiner);
        c->position_next = c->history.next;
    }
}

void containers_pause(struct containers *all, bool paused)
{
    all->paused = paused;
    for (struct table_link *l = table_next(&all->table, NULL); l; l = table_next(&all->table, l)) {
        struct container *c = container_of(l, struct container, by_id);

        if (c->stream)
            stream_pause(c->stream, paused);
        if (c->successor)
            stream_pause(c->successor, paused);
    }
}

/* ---- the clock ---- */

/* One refused log a second is tried again, however many there are. */
static void retry_one_refused(struct containers *all, int64_t now)
{
    struct container *c;

    if (list_is_empty(&all->refused))
        return;
    c = container_of(all->refused.next, struct container, link);
    if (c->due_mono_ns > now)
        return;
    all->refused_tried_at_mono_ns = now;
    list_remove(&c->link);
    container_go(c);
}

static void give_up_silent_seeker(struct stream *s, int64_t now, int64_t timeout_ms)
{
    if (s && splice_is_unplaced(&s->cursor) &&
        now - s->last_part_at_mono_ns > timeout_ms * NSEC_PER_MSEC)
        stream_give_up_seeking(s);
}

/* The container's sign of life, whatever its streams are at. */
static void beat(struct container *c, int64_t now)
{
    if (now - c->heartbeat_at_mono_ns < c->all->config->heartbeat_interval_ms * NSEC_PER_MSEC)
        return;
    c->heartbeat_at_mono_ns = now;
    meters_container_heartbeat(c->all->meters, c);
}

static void watch(struct containers *all, int64_t now)
{
    int64_t seek_ms = all->config->stream_seek_timeout_ms;

    for (struct table_link *l = table_next(&all->table, NULL); l; l = table_next(&all->table, l)) {
        struct container *c = container_of(l, struct container, by_id);

        give_up_silent_seeker(c->stream, now, seek_ms);
        give_up_silent_seeker(c->successor, now, seek_ms);
        if (c->state == CONTAINER_READING)
            watch_reading(c, now);
        if (c->metered)
            beat(c, now);
    }
}

static void on_tick(struct op *op, int res)
{
    struct containers *all = container_of(op, struct containers, tick_op);
    int64_t now = clock_mono_ns();

    if (all->closing)
        return;
    if (now - all->refused_tried_at_mono_ns >= NSEC_PER_SEC)
        retry_one_refused(all, now);
    watch(all, now);
    ring_timer(all->ring, op, all->tick_ms);
}

int containers_init(struct containers *all, struct ring *ring, struct engine *engine,
                    struct gather *gather, struct positions *positions, struct meters *meters,
                    const struct config *config)
{
    *all = (struct containers){
        .ring = ring,
        .engine = engine,
        .gather = gather,
        .positions = positions,
        .meters = meters,
        .config = config,
    };
    list_init(&all->waiting);
    list_init(&all->refused);
    random_seed_system(&all->random);
    all->tick_op.done = on_tick;
    /* Fine enough for the shortest interval, and never so fine as to be seen in the CPU time. */
    all->tick_ms = MAX(MIN(config->stream_rotation_interval_ms / 20, 1000), 10);
    ring_timer(ring, &all->tick_op, all->tick_ms);
    return table_init(&all->table);
}

void containers_finish(struct containers *all)
{
    table_finish(&all->table);
}

/* Ends what is under way; what lands goes on in container_go, which frees. */
static void container_close(struct container *c)
{
    list_remove(&c->link);
    if (c->successor)
        stream_close(c->successor);
    if (c->stream)
        stream_close(c->stream);
    if (c->stream || c->successor || c->retired_count > 0)
        return;
    if (c->inspect.active)
        return; /* engine_close ends it */
    if (op_in_flight(&c->backoff_op)) {
        ring_cancel(c->all->ring, &c->backoff_op);
        return;
    }
    leave(c);
}

void containers_close(struct containers *all)
{
    struct table_link *next;

    all->closing = true;
    ring_cancel(all->ring, &all->tick_op);
    next = table_next(&all->table, NULL);
    while (next) {
        struct container *c = container_of(next, struct container, by_id);

        next = table_next(&all->table, next);
        container_close(c);
    }
}

bool containers_is_idle(const struct containers *all)
{
    return all->table.count == 0 && !op_in_flight(&all->tick_op);
}
