/* src/sink/health.h. */
#include "health.h"

#include <stdio.h>
#include <string.h>

void health_failed(struct sink *sink, enum sink_state state, int error, const char *what)
{
    sink->errors++;
    sink->last_error = error;
    sink->state = state;
    if (what)
        (void)snprintf(sink->reason, sizeof sink->reason, "%.160s: %s", what, strerror(-error));
    else
        (void)snprintf(sink->reason, sizeof sink->reason, "%s", strerror(-error));
}

void health_recovered(struct sink *sink)
{
    sink->last_error = 0;
    sink->state = SINK_OK;
    sink->reason[0] = '\0';
}
