/*
 * `ringtail doctor`: examines this host, and says for each finding what to do. Changes nothing:
 * it reads, connects, and sends GET to the Engine alone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/control/config.h"

/**
 * Runs every check, and prints what each has found to stdout. They run side by side, each in a
 * process of its own, which is ended after timeout_ms.
 * problems: of the configuration, which may be a wrong one.
 * returns:  an enum exit_code: EXIT_FAILED if there is a problem. In a child it does not return.
 */
int doctor_run(const struct config *config, const struct option_problems *problems, bool json,
               int64_t timeout_ms);
