/*
 * What ringtail gives up of itself once it has what it needs: the rights of a privileged user, and
 * every system call that it does not make. Nothing given up can be had back.
 *
 * Each step says what has come of it, in one word, for the log, /ready and the metric.
 */
#pragma once

#include <stdbool.h>

#include "ringtail/control/config.h"
#include "ringtail/io/ring.h"

enum confine_mode {
    CONFINE_AUTO,   /* what fails is said, and we go on */
    CONFINE_OFF,    /* everything stays as it is */
    CONFINE_STRICT, /* what fails ends the start, and a call that is not in the list ends us */
};

/** "on", "off", "failed", and "none" where there is nothing to confine, or no way to. */
struct confinement {
    const char *ring;         /* takes no operations but ours; "none": there is no io_uring */
    const char *privileges;   /* no_new_privs */
    const char *capabilities; /* dropped but for those that writing to others' directories takes */
    const char *calls;        /* the filter of system calls; "none": built without libseccomp */
};

/**
 * The privileges of this thread and of those that it makes: to be called before there are others,
 * and after what needs privileges. The ring was asked for confined before.
 * returns: 0, or a negative errno if the mode is strict and something was not to be had. Logs.
 */
int confine_privileges(struct confinement *c, const struct config *config, const struct ring *ring);

/** The system calls, of all threads: to be called when everything is open. As above. */
int confine_calls(struct confinement *c, const struct config *config);
