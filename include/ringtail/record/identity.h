/*
 * The identity of a record: the same for the same line over retries, restarts and crashes, and
 * another for every other line, so that a receiver that can leave out what it has already does so.
 *
 * It is made of the container's id, the stream, the Engine's timestamp, the ordinal among
 * neighbours with the same timestamp, and the line's bytes. The run is not in it: the Engine keeps
 * the log of a container's runs as one, without saying where a run ends, so a line that is read
 * late (after a restart of ours, say) could not be given the run that it was given the first time.
 * The bytes are in it so that no line is ever taken for another one.
 */
#pragma once

#include "ringtail/record/batch.h"

#define RECORD_IDENTITY_LEN 49

/**
 * Writes `0123456789abcdef-0123456789abcdef0123456789abcdef`, without a NUL: the timestamp in
 * nanoseconds, so that identities sort by time, and a 128-bit hash of everything. It is stored by
 * receivers: it never changes, and does not depend on the machine's byte order.
 */
void record_identity(const struct record *r, char out[RECORD_IDENTITY_LEN]);
