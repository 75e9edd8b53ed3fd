/*
 * A program that a test needs beside it (nginx, a receiver), in a process group of its own. It ends
 * with the test, also when that crashes.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/**
 * Starts argv[0], looked for in PATH, with `environment` (NAME=value, NULL at the end; may be NULL)
 * added to ours. ret_stdout: where to read what it prints; NULL: it prints where we do. Returns the
 * pid, or -errno.
 */
pid_t child_start(const char *const *argv, const char *const *environment, int *ret_stdout);

/** Ends it with `signal` and waits. Returns its status as waitpid(2). */
int child_end(pid_t pid, int signal);

/** Runs a program to its end. Returns its exit code; 127 when it cannot be started. */
int child_run(const char *const *argv);
