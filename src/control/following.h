/*
 * Following one container's log: opening its stream, what each end of a stream means, and replacing
 * a stream by a fresh one before it gets old, without a gap (rotation).
 */
#pragma once

#include <stdint.h>

#include "container.h"

/** Opens the container's stream (WAITING to OPENING), or backs off. */
void following_open(struct container *c);

/** Once a tick, for a container that is READING: rotates what is due, repairs what is stuck, warns
 * of what is at risk. */
void following_watch(struct container *c, int64_t now_mono_ns);

/** When streams that say nothing and have nothing due are looked at next: all at once. */
int64_t following_quiet_due(const struct containers *all, int64_t now_mono_ns);
