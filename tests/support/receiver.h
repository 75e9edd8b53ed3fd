/*
 * tests/support/receivers/receiver.py, or another program of that directory, as a child process:
 * where it listens, and its control port. What each can do is said at its beginning.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "ringtail/base/buf.h"

struct receiver {
    pid_t pid;
    int output;
    uint16_t port, control_port;
};

/** Starts it with these further arguments (NULL at the end; may be NULL), and waits until it is
 * ready. Returns 0; -1 when there is none (python3 is missing, say). */
int receiver_start(struct receiver *r, const char *const *arguments);

/** The same of a program that is run by `interpreter`, and of the directory's. */
int receiver_start_program(struct receiver *r, const char *interpreter, const char *program,
                           const char *const *arguments);

void receiver_stop(struct receiver *r);

/** POSTs JSON to the control port (`path`: "/script", "/mode", …). Returns the status. */
int receiver_command(const struct receiver *r, const char *path, const char *json);

/** GETs from the control port ("/taken", "/stats") into `out`. Returns the status. */
int receiver_get(const struct receiver *r, const char *path, struct buf *out);
