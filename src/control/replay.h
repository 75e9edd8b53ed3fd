/*
 * Sends what lies on the disk through one sink of the configuration: a ring, a fan-out and that
 * sink, and nothing that reads. Progress goes to stderr. Ends when all is settled, when nothing has
 * been for too long, or by SIGINT or SIGTERM.
 */
#pragma once

#include <stdint.h>

#include "ringtail/control/config.h"

#include "stored.h"

/** All that waits for the sink in this spool; what is accepted leaves it. Returns an enum
 * exit_code. */
int replay_spool(const struct config *config, const char *directory, const char *sink);

/** The dead letters of the sink in `path` and its rotated files that the query lets through. They
 * stay where they are, unless query->remove is set and each of all letters was accepted. Returns an
 * enum exit_code. */
int replay_letters(const struct config *config, const char *path, const struct stored_query *query,
                   int64_t from_ns);
