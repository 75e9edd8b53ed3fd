/* src/control/following.h. */
#include "following.h"

#include <assert.h>
#include <errno.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/log.h"
#include "ringtail/base/macros.h"

#include "containers.h"
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
/* A stream that says nothing and has nothing due is looked at each so many ticks, and all of them
 * at once: hundreds are more memory to look at than a processor's cache holds for a second, and
 * when there are no others, nobody need wake up in between. */
#define QUIET_TICKS 5
/* After so many errors of the Engine inside a log, only the newest record is asked for. */
#define ENGINE_ERRORS_BEFORE_SKIP 3
/* From this API version on (Engine 26.1) a follow ends with everything that was written. */
static const struct api_version version_ends_whole = {1, 45};

static void schedule_rotation(struct container *c);

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

static void on_main_open(struct container *c)
{
    container_enter(c, CONTAINER_READING);
    meters_container_opened(c->all->meters, c);
    c->refusal_said = false;
    c->refusals = 0;
    c->heard_at_mono_ns = clock_mono_ns();
    c->heard_bytes = 0;
    c->predecessor_was_silent = false;
    schedule_rotation(c);
}

static void on_stream_open(void *ctx, struct stream *s)
{
    struct container *c = ctx;

    give_slot_back(c->all, s);
    log_debug("Stream opened", LOG_CONTAINER(c), LOG_INT("level", s->cursor.level),
              LOG_STR("follow", s->follow ? "yes" : "no"));
    if (s != c->successor)
        on_main_open(c);
    else if (!splice_has_history(&c->history))
        take_over(c); /* without anything delivered there is no place to find: both begin at the
                         floor */
    containers_pump(c->all);
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
    c->refusals++;
    c->level = 0;
    /* The second time, nothing has come to say that it is going: then it is worth a word, too. */
    if ((!going || c->refusals > 1) && !c->refusal_said) {
        log_warn("Log unreadable", LOG_CONTAINER(c), LOG_INT("status", end->status),
                 LOG_STR("reason", engine_refusal(end->status, end->message)),
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
    c->at_risk = false;
    c->catching_up = held_back;
    if (!held_back) {
        container_flush(c);
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
    container_back_off(c);
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

/* All that the log has had so far has been read, if the place was found. */
static void go_on_behind(struct container *c, const struct stream *s)
{
    bool placed = splice_is_placed(&s->cursor);

    if (placed && c->catching_up) {
        run_ended(c, false);
        return;
    }
    c->level = placed ? 0 : s->cursor.level + 1;
    container_go(c);
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
        else if (s->cursor.whole)
            go_on_behind(c, s);
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
        if (c->rotation_level == 0) {
            c->rotation_level = 1;
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
    containers_pump(all);
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

void following_open(struct container *c)
{
    struct stream_request request = {
        .follow = !c->catching_up,
        .level = c->level,
        .past_error = c->engine_errors >= ENGINE_ERRORS_BEFORE_SKIP,
    };

    c->asked_at_ns = clock_wall_ns();
    c->watch_due_mono_ns = 0;
    if (open_stream(c, &request, &c->stream) < 0)
        container_back_off(c);
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

/* Returns whether there was anything. */
static bool note_what_is_heard(struct container *c, int64_t now)
{
    uint64_t bytes = stream_bytes_received(c->stream);
    bool heard = bytes != c->heard_bytes;

    if (heard)
        c->heard_at_mono_ns = now;
    c->heard_bytes = bytes;
    if (c->predecessor_was_silent && c->stream->delivered_late > 0) {
        c->predecessor_was_silent = false;
        c->all->streams_silent++;
        meters_container_error(c->all->meters, c, "silent");
        log_warn("Stream had fallen silent while its container went on, replaced", LOG_CONTAINER(c),
                 LOG_INT("records", c->stream->delivered_late));
    }
    return heard;
}

int64_t following_quiet_due(const struct containers *all, int64_t now)
{
    int64_t quiet_ns = QUIET_TICKS * all->tick_ms * NSEC_PER_MSEC;

    return (now / quiet_ns + 1) * quiet_ns;
}

static int64_t next_watch(const struct container *c, bool heard, int64_t now)
{
    const struct config *config = c->all->config;
    int64_t due_ns = following_quiet_due(c->all, now);

    if (heard || c->successor || c->predecessor_was_silent ||
        splice_is_unplaced(&c->stream->cursor))
        return now;
    due_ns = MIN(due_ns, c->heartbeat_at_mono_ns + config->heartbeat_interval_ms * NSEC_PER_MSEC);
    return MIN(due_ns, MIN(c->rotation_due_mono_ns, c->stuck_at_mono_ns));
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
    bool at_risk =
        c->newest_ts_ns > 0 && is_heard && behind_s > 1 &&
        container_is_at_risk(c->log_bytes_max, behind_s * splice_bytes_per_s(&c->history));

    if (at_risk && !c->at_risk)
        log_warn("Reading is far behind, the Engine may drop lines before they are read",
                 LOG_CONTAINER(c), LOG_INT("behind_secs", behind_s),
                 LOG_INT("log_bytes_max", c->log_bytes_max),
                 LOG_STR("advice", "raise the container's max-size or max-file"));
    c->at_risk = at_risk;
}

void following_watch(struct container *c, int64_t now)
{
    struct containers *all = c->all;

    c->watch_due_mono_ns = next_watch(c, note_what_is_heard(c, now), now);
    tell_gaps(c);
    watch_risk(c, now);
    if (all->paused || !engine_is_up(all->engine))
        return;
    if (!c->stream->follow) {
        /* It ends by itself, unless the Engine has forgotten it. */
        if (now >= c->stuck_at_mono_ns && now - c->heard_at_mono_ns > SILENT_NS)
            repair_stuck(c, now);
    } else if (now >= c->stuck_at_mono_ns) {
        repair_stuck(c, now);
    } else if (!c->successor && now >= c->rotation_due_mono_ns) {
        if (all->opening_count < (unsigned)all->config->stream_openings_max)
            begin_rotation(c);
        else
            all->rotation_waits = true;
    } else if (c->successor && c->successor->open && c->successor->cursor.level < 2 &&
               now - c->successor->last_part_at_mono_ns > SUCCESSOR_SILENT_NS) {
        take_over(c); /* an empty log has no place to find: what comes first is placed then */
    }
}
