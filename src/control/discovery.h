/*
 * Which containers there are: subscribe to events, then list, then list again for ever. Events
 * shorten the wait; the listing is the truth.
 *
 * The events are always read at once, whatever else waits: a reader that stalls there slows every
 * operation of the whole Engine by 100 ms an event (measured on 20.10 and 28.5).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/random.h"
#include "ringtail/io/http.h"

#include "containers.h"
#include "engine.h"

struct discovery {
    struct engine *engine;
    struct containers *containers;
    struct http_exchange *events; /* NULL: not subscribed */
    unsigned events_status;
    bool events_refusal_said;
    struct buf line; /* of an event that has not come whole */
    bool line_too_long;
    int64_t last_event_ns;
    int64_t events_opened_at_mono_ns;
    unsigned events_attempt;
    struct op events_retry_op, resync_op;
    struct engine_call list;
    bool list_again; /* asked for while one was under way */
    bool listed_once;
    bool closing;
    struct random random;
    uint64_t listings, events_seen, events_unreadable, subscriptions;
};

void discovery_init(struct discovery *d, struct engine *engine, struct containers *containers);

/** The Engine is there (again). */
void discovery_engine_up(struct discovery *d);

/** Unsubscribes and stops listing. Idle when discovery_is_idle. */
void discovery_close(struct discovery *d);
bool discovery_is_idle(const struct discovery *d);
void discovery_finish(struct discovery *d);
