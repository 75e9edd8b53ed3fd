/* src/control/stream.h. Silent: the container speaks. */
#include "stream.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "ringtail/base/clock.h"
#include "ringtail/base/macros.h"
#include "ringtail/docker/reply.h"

#define MESSAGE_MAX 1024
/* Of a record on the wire: frame header, timestamp and blank. */
#define RECORD_WIRE_BYTES 39
/* A record this much older than the stream that brings it was there for the stream before, too. */
#define LATE_NS NSEC_PER_SEC

static_assert(FRAME_BEGIN == PART_BEGIN && FRAME_END == PART_END, "one meaning, two rooms");
static_assert((int)FRAME_STDOUT == (int)RECORD_STDOUT && (int)FRAME_STDERR == (int)RECORD_STDERR,
              "one meaning, two rooms");

static int keep_message(struct stream *s, struct slice text)
{
    size_t room = MESSAGE_MAX - s->message.len;

    return buf_append(&s->message, text.data, MIN(text.len, room));
}

static int on_part(void *ctx, struct part *part)
{
    struct stream *s = ctx;
    enum splice_verdict verdict = splice_judge(s->history, &s->cursor, part);
    int r;

    if (unlikely(!s->placed) && splice_is_placed(&s->cursor)) {
        s->placed = true;
        s->events.on_placed(s->events.ctx, s);
    }
    switch (verdict) {
    case SPLICE_DROP:
        s->reread_bytes += part->text.len + RECORD_WIRE_BYTES;
        return 0;
    case SPLICE_WIDEN:
        s->wider = true;
        return -ECANCELED;
    case SPLICE_DELIVER:
        break;
    }
    s->delivered_late += part->ts_ns < s->opened_at_wall_ns - LATE_NS;
    part->number = s->cursor.repays ? s->cursor.at - 1 : s->history->next;
    part->ordinal = splice_ordinal(s->history, &s->cursor, part);
    r = line_joiner_feed(s->joiner, part);
    if (r < 0)
        return r;
    splice_delivered(s->history, &s->cursor, part);
    s->delivered++;
    /* A line whose first part the history forgets could not be begun again after a restart. */
    return likely(s->history->first == 0) ? 0
                                          : line_joiner_flush_before(s->joiner, s->history->first);
}

static int on_piece(void *ctx, enum frame_stream stream, struct slice piece, unsigned flags)
{
    struct stream *s = ctx;

    if (unlikely(stream == FRAME_ERROR)) {
        s->engine_error = true;
        return keep_message(s, piece);
    }
    return part_reader_feed(&s->parts, (enum record_stream)stream, piece, flags);
}

static int on_head(void *ctx, const struct http_head *head)
{
    struct stream *s = ctx;

    s->status = head->status;
    if (s->status != 200)
        return 0;
    s->open = true;
    s->events.on_open(s->events.ctx, s);
    return 0;
}

static int on_body(void *ctx, struct slice span, unsigned flags)
{
    struct stream *s = ctx;

    if (unlikely(!s->open))
        return keep_message(s, span);
    if (s->cursor.mode != SPLICE_LIVE)
        s->last_part_at_mono_ns = clock_mono_ns();
    if (!s->tty)
        return frame_reader_feed(&s->frames, span);
    if (flags & HTTP_CHUNK_END) {
        tty_reader_chunk_end(s->tty);
        return 0;
    }
    return tty_reader_feed(s->tty, span, (flags & HTTP_CHUNK_BEGIN) != 0);
}

/* What the end of the connection means, given what came before it. */
static void conclude(struct stream *s, int result, struct stream_end *end, char *message,
                     size_t message_size)
{
    *end = (struct stream_end){.kind = STREAM_BROKEN, .result = result, .message = message};
    end->opened = s->open;
    end->engine_error = s->engine_error;
    message[0] = '\0';
    if (s->message.len > 0)
        reply_error_message(buf_slice(&s->message), message, message_size);
    if (s->closed) {
        end->kind = STREAM_CLOSED;
    } else if (s->wider) {
        end->kind = STREAM_WIDER;
    } else if (result < 0) {
        return;
    } else if (engine_is_out_of_reach(s->status, buf_slice(&s->message))) {
        end->result = -EHOSTUNREACH;
    } else if (s->status != 200) {
        end->kind = STREAM_REFUSED;
        end->status = s->status;
    } else {
        int r = s->tty ? tty_reader_finish(s->tty) : 0;

        if (s->wider || (r == 0 && splice_is_unplaced(&s->cursor)))
            end->kind = STREAM_WIDER;
        else if (r < 0 || (!s->tty && !frame_reader_is_whole(&s->frames)))
            end->result = r < 0 ? r : -EBADMSG;
        else
            end->kind = STREAM_COMPLETE;
    }
}

static void on_closed(void *ctx, int result)
{
    struct stream *s = ctx;
    char message[256];
    struct stream_end end;

    s->exchange = NULL;
    conclude(s, result, &end, message, sizeof message);
    part_reader_finish(&s->parts);
    s->events.on_end(s->events.ctx, s, &end);
    buf_finish(&s->message);
    free(s->tty);
    free(s);
}

static void on_idle(void *ctx)
{
    struct stream *s = ctx;

    s->events.on_idle(s->events.ctx, s);
}

static const struct http_handlers handlers = {
    .reply = {.on_head = on_head, .on_body = on_body},
    .on_idle = on_idle,
    .on_closed = on_closed,
};

int stream_open(struct engine *engine, const struct stream_request *request,
                struct splice_history *history, struct line_joiner *joiner,
                const struct stream_events *events, struct stream **ret)
{
    struct http_options options = engine_http_options(engine);
    const struct config *config = engine->config;
    struct api_logs_query query = {0};
    struct splice_query plan;
    struct buf text = {0};
    struct stream *s = calloc(1, sizeof *s);
    int r;

    if (!s)
        return -ENOMEM;
    if (request->tty) {
        s->tty = malloc(sizeof *s->tty);
        if (!s->tty) {
            free(s);
            return -ENOMEM;
        }
    }
    s->opened_at_wall_ns = clock_wall_ns();
    if (request->takeover)
        splice_plan_takeover(history, request->level, s->opened_at_wall_ns,
                             (size_t)config->stream_reread_max_bytes, &plan);
    else
        splice_plan(history, request->level, s->opened_at_wall_ns, &plan);
    query.tail = request->past_error ? 1 : plan.tail;
    query.has_since = plan.has_since && !request->past_error;
    query.since_ns = MAX(plan.since_ns, 0);
    s->events = *events;
    s->history = history;
    s->joiner = joiner;
    s->opened_at_mono_ns = s->last_part_at_mono_ns = clock_mono_ns();
    splice_cursor_init(&s->cursor, request->past_error ? SPLICE_LEVELS - 1 : request->level);
    s->cursor.tail = query.tail;
    s->cursor.whole = plan.whole && !request->past_error;
    s->follow = request->follow && !s->cursor.whole;
    query.follow = s->follow;
    s->parts = (struct part_reader){
        .on_part = on_part, .ctx = s, .size_max = (size_t)config->stream_max_frame_bytes};
    s->frames = (struct frame_reader){
        .on_piece = on_piece, .ctx = s, .size_max = (uint32_t)config->stream_max_frame_bytes};
    if (s->tty)
        *s->tty = (struct tty_reader){.on_piece = on_piece, .ctx = s};
    options.want_chunks = request->tty;

    r = api_request_logs(&text, engine->version, request->id, &query);
    if (r == 0)
        r = http_open(engine->ring, &options, &text, &handlers, s, &s->exchange);
    buf_finish(&text);
    if (r < 0) {
        free(s->tty);
        free(s);
        return r;
    }
    *ret = s;
    return 0;
}

void stream_close(struct stream *s)
{
    if (s->closed)
        return;
    s->closed = true;
    http_close(s->exchange);
}

void stream_give_up_seeking(struct stream *s)
{
    if (s->closed || s->wider)
        return;
    s->wider = true;
    http_close(s->exchange);
}

void stream_pause(struct stream *s, bool pause)
{
    if (pause)
        http_pause(s->exchange);
    else
        http_resume(s->exchange);
    s->last_part_at_mono_ns = clock_mono_ns(); /* silence that we caused does not count */
}

uint64_t stream_bytes_received(const struct stream *s)
{
    return http_bytes_received(s->exchange);
}
