/*
 * SIGTERM and SIGINT wake the ring and are counted; SIGPIPE is ignored. One per process, as
 * handlers have no other way to their object.
 */
#pragma once

#include "ringtail/io/ring.h"

void signals_catch(void);

/** What is woken from now on, at once if a signal has come already; NULL: nothing. */
void signals_wake(struct ring *ring);

/** How many have come. */
int signals_seen(void);
