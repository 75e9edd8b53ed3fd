/*
 * What a sink's last try has come to: its state, the reason for people, the last error. A change of
 * these for a sink that works costs one comparison.
 */
#pragma once

#include "ringtail/base/macros.h"
#include "ringtail/sink/sink.h"

/** A try has failed with `error` (negative errno). The reason is `what` (NULL: none) and the text
 * of `error`. Counts it. */
void health_failed(struct sink *sink, enum sink_state state, int error, const char *what);

void health_recovered(struct sink *sink);

/** A try went well, and nothing else fails. */
static inline void health_good(struct sink *sink)
{
    if (unlikely(sink->last_error != 0 || sink->state != SINK_OK))
        health_recovered(sink);
}
