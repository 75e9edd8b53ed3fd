/*
 * The Engine as a whole: is it there, which API version to speak, and calls that have one reply.
 *
 *   DOWN ──► ASKING ──► UP
 *    ▲         │         │
 *    └─────────┘◄────────┘   a lost connection casts doubt: ask again
 *
 * All on the ring's thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/list.h"
#include "ringtail/base/random.h"
#include "ringtail/control/config.h"
#include "ringtail/docker/api.h"
#include "ringtail/io/http.h"

struct engine;

/**
 * A call's end: result 0 with status and body (good during the call), or a negative errno as
 * http.h's on_closed. Called once for each engine_call_start; -ECANCELED when the engine is closed.
 */
typedef void (*engine_reply_fn)(void *ctx, int result, unsigned status, struct slice body);

/** One call, embedded in its owner. All zero is idle. */
struct engine_call {
    struct list link; /* in the waiting line, or among those under way */
    struct engine *engine;
    struct http_exchange *exchange;
    struct buf request, body;
    engine_reply_fn on_reply;
    void *ctx;
    unsigned status;
    char api_version[16];
    bool active; /* until on_reply */
};

struct engine_events {
    /** Connected (again): streams may be opened. Also after mere doubt, so it may come twice in a
     * row. */
    void (*on_up)(void *ctx);
    void *ctx;
};

struct engine {
    struct ring *ring;
    const struct config *config;
    const char *path;
    struct engine_events events;
    enum engine_state { ENGINE_DOWN, ENGINE_ASKING, ENGINE_UP } state;
    struct api_version version;
    struct random random;
    bool closing;
    bool said_unreachable; /* one line per outage */
    unsigned attempt;
    int64_t down_since_mono_ns;
    struct op retry_op;
    struct engine_call ask;
    struct list calls_waiting, calls_active;
    unsigned calls_active_count;
    uint64_t connects; /* times it was found to be there */
    uint64_t returns;  /* after having been unreachable */
    uint64_t calls_answered, calls_failed;
};

void engine_init(struct engine *e, struct ring *ring, const struct config *config,
                 const struct engine_events *events);

/** First contact. */
void engine_start(struct engine *e);

static inline bool engine_is_up(const struct engine *e)
{
    return e->state == ENGINE_UP;
}

/** What to do about an Engine that is not there or not usable: -EACCES, -ENOENT and others
 * of the socket at `path`. Good until the next call. */
const char *engine_advice(const char *path, int error);

/** A connection was refused or lost: find out whether the Engine is still there. */
void engine_doubt(struct engine *e);

/** Sends `request` (taken over, also when it fails) when its turn comes. The call must be idle. */
void engine_call_start(struct engine *e, struct engine_call *call, struct buf *request,
                       engine_reply_fn on_reply, void *ctx);

/** Whether a reply is not the Engine's, but of a proxy that can't reach it: as good as a lost
 * connection. 503 is if nothing of the Engine's stands in the body, so far as that is known. */
bool engine_is_out_of_reach(unsigned status, struct slice body);

/** Why a request was refused: what was said with it, or, where only a proxy between us and the
 * Engine refuses like that, what has to be allowed. */
const char *engine_refusal(unsigned status, const char *said);

/** Options that every exchange with this Engine shares. */
struct http_options engine_http_options(const struct engine *e);

/** Ends all calls with -ECANCELED. Nothing may be started from then on. Idle when engine_is_idle.
 */
void engine_close(struct engine *e);
bool engine_is_idle(const struct engine *e);
