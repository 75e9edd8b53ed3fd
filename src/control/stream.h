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
    bool engine_error;   /* the Engine reported an error inside the log */
};

struct stream_events {
    void (*on_open)(void *ctx); /* status 200 */
    /** Once, last; the stream is freed behind it. */
    void (*on_end)(void *ctx, const struct stream_end *end);
    void *ctx;
};

struct stream {
    struct http_exchange *exchange;
    struct stream_events events;
    struct splice_history *history;
    struct line_joiner *joiner;
    struct splice_cursor cursor;
    struct frame_reader frames;
    struct tty_reader tty;
    struct part_reader parts;
    struct buf message;
    unsigned status;
    bool is_tty, follow, open, wider, closed, engine_error;
    int64_t opened_at_mono_ns, last_part_at_mono_ns;
    uint64_t records, delivered;
};

struct stream_request {
    struct slice id;
    bool tty, follow;
    unsigned level;  /* of the splice */
    bool past_error; /* only the newest record: what lies before it can't be read */
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
