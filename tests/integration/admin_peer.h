/* A client of ringtail's admin endpoint, and of what /metrics says. Threads may share nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/base/buf.h"
#include "support/world.h"

/** Arguments of world_run that give it an admin endpoint on a free port. */
#define ADMIN_PEER_ARGS "--set", "admin.address=127.0.0.1", "--set", "admin.port=0"

/** The port that ringtail's log names; waits for it. */
uint16_t admin_peer_port(struct world *w);

/** A connection that has asked for /metrics and reads nothing; -1: refused. The caller closes it.
 */
int admin_peer_ask(uint16_t port);

/** GET of any path: the body, instead of what was in *page, with a NUL behind it. The status, or -1
 * without a whole answer. */
int admin_peer_fetch(uint16_t port, const char *path, struct buf *page);

/** GET /metrics, instead of what was in *page. Whether there was a whole answer with status 200. */
bool admin_peer_get(uint16_t port, struct buf *page);

/** The same, and the sum of all series whose text begins like this. Fails the test. */
double admin_peer_sum(struct world *w, uint16_t port, const char *beginning);
