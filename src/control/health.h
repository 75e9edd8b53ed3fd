/*
 * `ringtail health`: what a running ringtail says of itself, asked over its admin endpoint. For
 * people, and for health checks of containers, where there is no shell and no curl.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/base/buf.h"
#include "ringtail/control/config.h"

/**
 * Asks /health and then /ready on the admin address and port of the configuration; an address that
 * means all interfaces is asked on the loopback. Blocks the caller's thread for timeout_ms at most.
 * said: gets one line that says how it is, with its newline.
 * returns: whether both answered 200.
 */
bool health_ask(const struct config *c, int64_t timeout_ms, struct buf *said);
