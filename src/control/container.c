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

#include "containers.h"
#include "meters.h"

/* Up to this API version (Engine 20.10) `local` drops the newline of a line in parts. */
static const struct api_version version_drops_newline = {1, 41};
/* And says records again when it turns a log file over. */
static const struct api_version version_repeats = {1, 41};

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

void container_enter(struct container *c, enum container_state next)
{
    assert(container_edges[c->state] & BIT(next));
    c->state = next;
}

/* ---- making and forgetting ---- */

static int on_line(void *ctx, const struct line *line)
{
    struct container *c = ctx;
    const struct positions *p = c->all->positions;
    unsigned written = likely(written_is_empty(&c->written))
                           ? 0
                           : written_find(&c->written, p->directories, p->directories_count, line);
    int r;

    /* Every sink has it. */
    if (unlikely(written && written == (1u << c->all->gather->fanout->count) - 1)) {
        written_take(&c->written, p->directories, written, line);
        c->lines_repeated++;
        return 0;
    }
    if (unlikely(!c->tally))
        c->tally = tallies_get(&c->all->gather->fanout->tallies, slice_str(c->id));
    r = gather_line(c->all->gather, c->source, line, written << RECORD_WRITTEN_SHIFT);
    if (r < 0)
        return r;
    /* Not before: a line that there was no memory for comes again. */
    if (unlikely(written))
        written_take(&c->written, p->directories, written, line);
    c->lines++;
    c->bytes += line->bytes.len;
    c->newest_ts_ns = line->ts_ns;
    return 0;
}

static void on_backoff(struct op *op, int res);

static struct position_state state_of(struct container *c)
{
    return (struct position_state){
        .history = &c->history, .written = &c->written, .joiner = &c->joiner};
}

struct container *container_create(struct containers *all, const char *id)
{
    struct container *c = calloc(1, sizeof *c);
    struct position_state state;

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
    state = state_of(c);
    (void)positions_take(all->positions, c->id, &state); /* none: it begins at the floor */
    table_insert(&all->table, &c->by_id, slice_str(c->id));
    return c;
}

bool container_is_busy(const struct container *c)
{
    return c->inspect.active || c->stream || c->successor || c->retired_count > 0 ||
           op_in_flight(&c->backoff_op);
}

/* What was never read, and is not to be, has no position. */
void container_put_position(struct container *c)
{
    bool is_wanted = (c->wanted || c->catching_up) && c->state != CONTAINER_IGNORED;
    struct position_state state = state_of(c);

    if (is_wanted || splice_has_history(&c->history) || !written_is_empty(&c->written))
        positions_put(c->all->positions, c->id, &state);
    else
        positions_forget(c->all->positions, c->id);
}

void container_free(struct container *c)
{
    assert(!container_is_busy(c));
    meters_container_gone(c->all->meters, c);
    if (c->removed) {
        positions_forget(c->all->positions, c->id);
    } else {
        container_put_position(c);
        positions_leave(c->all->positions, c->id);
    }
    list_remove(&c->link);
    table_remove(&c->all->table, &c->by_id);
    splice_history_finish(&c->history);
    line_joiner_finish(&c->joiner);
    written_finish(&c->written);
    source_unref(c->source);
    c->tally = tallies_release(&c->all->gather->fanout->tallies, c->tally);
    free(c->name);
    free(c->image);
    free(c);
}

/* What is open will not be continued: its container has stopped, or we do and shall not come back
 * to it. */
void container_flush(struct container *c)
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
void container_leave(struct container *c)
{
    if (!c->all->positions->enabled)
        container_flush(c);
    container_free(c);
}

/* From any state that has nothing under way: on to whatever is next for this container. May free
 * it. */
void container_go(struct container *c)
{
    struct containers *all = c->all;

    if (c->retired_count > 0) {
        c->go_when_landed = true; /* it ended just behind a rotation */
        return;
    }
    assert(!container_is_busy(c));
    if (all->closing) {
        container_leave(c);
        return;
    }
    if (c->started && !c->catching_up) {
        c->wanted = true;
        c->started = false;
    }
    if (c->wanted || c->catching_up || !c->inspected) {
        stand_in_line(c);
        containers_pump(all);
        return;
    }
    if (c->state != CONTAINER_IDLE)
        container_enter(c, CONTAINER_IDLE);
    if (c->removed)
        container_free(c);
}

void container_back_off(struct container *c)
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
void container_lost(struct container *c)
{
    if (c->wanted && c->history.next == 0 && !c->all->closing) {
        c->all->missed++;
        log_info("Container missed", LOG_CONTAINER(c),
                 LOG_STR("reason", "its log was gone before it could be read"));
    }
    container_flush(c);
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

bool container_is_ignored(const struct config *config, const char *self_id, const char *id,
                          const char *name)
{
    if (self_id && !config->containers_follow_self && strcmp(id, self_id) == 0)
        return true;
    if (config->containers_include.count > 0 && !matches_any(&config->containers_include, name))
        return true;
    return matches_any(&config->containers_exclude, name);
}

/* Records to come carry the container's newest name. */
int container_set_source(struct container *c, const char *name, const char *image)
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

const char *container_log_option(const struct reply_inspect *reply, const char *key)
{
    for (size_t i = 0; i < reply->log_options_count; i++)
        if (strcmp(reply->log_options[i].key, key) == 0)
            return reply->log_options[i].value;
    return NULL;
}

/* The driver `local` has bounds of its own (20 MB × 5). */
int64_t container_log_bytes_max(const struct reply_inspect *reply)
{
    bool is_json_file = strcmp(reply->log_driver, "json-file") == 0;
    const char *size = container_log_option(reply, "max-size");
    const char *files = container_log_option(reply, "max-file");
    int64_t bytes = is_json_file ? 0 : 20 << 20;
    long count = files ? strtol(files, NULL, 10) : is_json_file ? 1 : 5;

    if (size && size_parse(slice_str(size), &bytes) < 0)
        return 0;
    return bytes * MAX(count, 1);
}

static int learn(struct container *c, const struct reply_inspect *reply)
{
    int r = container_set_source(c, c->name ? c->name : reply->name, reply->image);

    if (r < 0)
        return r;
    c->tty = reply->tty;
    c->log_bytes_max = container_log_bytes_max(reply);
    c->driver_is_local = strcmp(reply->log_driver, "json-file") != 0;
    c->joiner.parts_lack_newline =
        c->driver_is_local &&
        api_version_compare(c->all->engine->version, version_drops_newline) <= 0;
    c->history.engine_repeats = api_version_compare(c->all->engine->version, version_repeats) <= 0;
    /* A log that is younger than the floor is read from its beginning, without trying short tails.
     */
    if (reply->started_at_ns > c->history.floor_ns)
        c->history.floor_is_far = true;
    if (c->wanted_if_ended_ns)
        c->wanted |= reply->running || reply->finished_at_ns >= c->wanted_if_ended_ns;
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
                     LOG_INT("status", status), LOG_STR("reason", engine_refusal(status, "")),
                     LOG_ERRNO(r));
        container_back_off(c);
        return;
    }
    c->attempt = 0;
    if (c->wanted_if_ended_ns && !c->wanted)
        container_free(c); /* as if it had never been seen: it ended before our time */
    else if (container_is_ignored(c->all->config, c->all->self_id, c->id, c->name))
        container_enter(c, CONTAINER_IGNORED);
    else
        container_go(c);
}

void container_inspect(struct container *c)
{
    struct engine *engine = c->all->engine;
    struct buf request = {0};

    if (api_request_inspect(&request, engine->version, slice_str(c->id)) < 0) {
        buf_finish(&request);
        container_back_off(c);
        return;
    }
    container_enter(c, CONTAINER_INSPECTING);
    engine_call_start(engine, &c->inspect, &request, on_inspect_reply, c);
}
