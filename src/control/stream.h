/*
 * One logs response: the place where http, frames, parts, the splice and lines meet. Lives from the
 * request to the end of the reply; a container has one after the other.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/docker/frame.h"
#include "ringtail/docker/tty.h"
#include "ringtail/io/http.h"
#include "ringtail/record/line.h"
#include "ringtail/record/part.h"
#include "ringtail/record/splice.h"

#include "engine.h"

/** How a response ended. */
enum stream_end_kind {
    STREAM_COMPLETE, /* the last chunk: the container's run is over */
    STREAM_BROKEN,   /* the connection, or what came over it */
    STREAM_REFUSED,  /* another status than 200 */
    STREAM_WIDER,    /* to be asked again with the next level of the splice */
    STREAM_CLOSED,   /* by stream_close */
};

struct stream_end {
    enum stream_end_kind kind;
    int result;          /* BROKEN: negative errno */
    unsigned status;     /* REFUSED */
    const char *message; /* REFUSED, or the Engine's error inside the log: what it says; else "" */
    bool opened;         /* it had been answered with 200 */
    bool engine_error;   /* the Engine reported an error inside the log */
};

struct stream;

struct stream_events {
    void (*on_open)(void *ctx, struct stream *s); /* status 200 */
    /** It has found its place in the log: what it says from here on is rightly dropped or shipped.
     * Before the first record is shipped. */
    void (*on_placed)(void *ctx, struct stream *s);
    void (*on_idle)(void *ctx, struct stream *s); /* a read timed out and was armed again */
    /** Once, last; the stream is freed behind it. */
    void (*on_end)(void *ctx, struct stream *s, const struct stream_end *end);
    void *ctx;
};

struct stream {
    struct http_exchange *exchange;
    struct stream_events events;
    struct splice_history *history;
    struct line_joiner *joiner;
    struct splice_cursor cursor;
    struct frame_reader frames;
    struct tty_reader *tty; /* NULL: it is framed */
    struct part_reader parts;
    struct buf message;
    unsigned status;
    bool follow, open, placed, wider, closed, engine_error;
    bool has_slot; /* the owner's: counted among those that open */
    int64_t opened_at_mono_ns, opened_at_wall_ns, last_part_at_mono_ns;
    uint64_t delivered;
    uint64_t delivered_late; /* records that were there well before the stream was opened */
    uint64_t reread_bytes;   /* of records that were dropped */
};

struct stream_request {
    struct slice id;
    bool tty, follow;
    unsigned level;  /* of the splice */
    bool past_error; /* only the newest record: what lies before it can't be read */
    bool takeover;   /* from a stream that goes on being read meanwhile */
};

/** Sends the request. Returns 0; -ENOMEM and so on, then there is no stream and on_end never comes.
 */
int stream_open(struct engine *engine, const struct stream_request *request,
                struct splice_history *history, struct line_joiner *joiner,
                const struct stream_events *events, struct stream **ret);

/** Ends it early: on_end(CLOSED) comes. */
void stream_close(struct stream *s);

/** Ends it with on_end(WIDER): it has been silent without having found its place. */
void stream_give_up_seeking(struct stream *s);

void stream_pause(struct stream *s, bool pause);

uint64_t stream_bytes_received(const struct stream *s);
