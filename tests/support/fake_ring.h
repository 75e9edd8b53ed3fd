/*
 * A ring without io_uring, for tests of what uses files and timers: the same calls, carried out by
 * plain system calls when the test says so, with failures and short writes by script. Time stands
 * still until fake_ring_advance. Links in place of the io room.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/io/ring.h"

struct ring *fake_ring_create(void);

/** Asserts that nothing is in flight and that every descriptor that it opened was closed. */
void fake_ring_destroy(struct ring *ring);

/** Runs the wakers if ring_wake was called; or else carries out the oldest operation (timers apart)
 * and runs its done. False when there is nothing to do. */
bool fake_ring_step(struct ring *ring);

/** Steps until nothing but timers is in flight, running timers of 0 ms too. Fails after 1,000,000
 * steps. */
void fake_ring_run(struct ring *ring);

/** Lets time pass: timers that are due run in their order, and what they start is run to its end.
 */
void fake_ring_advance(struct ring *ring, int64_t ms);

/** The next `times` operations of this kind give `res` and do nothing; `skip` of them go well
 * before. */
void fake_ring_fail(struct ring *ring, enum op_kind kind, int res, unsigned skip, unsigned times);

/** Only operations whose path or (for writes) descriptor's path ends like this are failed; NULL:
 * all. */
void fake_ring_fail_only(struct ring *ring, const char *path_end);

/** No write takes more than this; 0: no limit. */
void fake_ring_limit_writes(struct ring *ring, size_t bytes);

/** How many operations of a kind have been started, and how many are in flight. */
unsigned fake_ring_started(const struct ring *ring, enum op_kind kind);
unsigned fake_ring_in_flight(const struct ring *ring);

/** Descriptors that operations have opened and not closed. */
unsigned fake_ring_open_fds(const struct ring *ring);
