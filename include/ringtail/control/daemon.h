/* `ringtail run`: everything wired together, run, and taken down in order. */
#pragma once

#include "ringtail/control/config.h"

enum exit_code {
    EXIT_CLEAN = 0,
    EXIT_FAILED = 1,  /* at run time: the output could not be written, the ring failed */
    EXIT_USAGE = 2,   /* command line or configuration */
    EXIT_REFUSED = 3, /* the kernel does not give us the ring, or strict confinement */
};

/** Follows until SIGTERM or SIGINT. config: checked, and unchanged while it runs. Returns an enum
 * exit_code. */
int daemon_run(const struct config *config);
