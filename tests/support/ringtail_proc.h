/*
 * The real `ringtail` as a child process, in a process group of its own, with its output in files.
 *
 * Never waits for an amount of time, and never signals anything but its own child.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ringtail/base/buf.h"

struct ringtail_how {
    const char *const *args; /* what follows the program's name, NULL at the end */
    const char *directory;   /* gets the files `stdout` and `log` (stderr), anew at each start */
    int io_uring_errno;      /* > 0: a seccomp filter answers io_uring_setup with it */
    bool plain_user;         /* permission bits of files count, also for root */
};

struct ringtail_proc {
    pid_t pid;
    bool ended;
    int code;       /* exit code; 128 + signal when a signal ended it. Once `ended`. */
    struct buf log; /* stderr as far as it was read; see ringtail_proc_read_log */
    char log_path[256];
    char stdout_path[256];
};

/** Starts $RINGTAIL_BIN. 0 or -errno; -ENOENT without that variable. */
int ringtail_proc_start(const struct ringtail_how *how, struct ringtail_proc *ret);

/** Takes note when the child has ended. Returns `ended`. Does not wait. */
bool ringtail_proc_poll(struct ringtail_proc *p);

void ringtail_proc_signal(const struct ringtail_proc *p, int signal);

/** Reads what is new on stderr. */
void ringtail_proc_read_log(struct ringtail_proc *p);

/**
 * Lines of ringtail's own log whose `msg` is this message, and which have `needle` (NULL: any)
 * somewhere.
 */
size_t ringtail_proc_log_count(struct ringtail_proc *p, const char *message, const char *needle);

/** An integer field of the newest line with that message; -1 when there is none. */
int64_t ringtail_proc_log_number(struct ringtail_proc *p, const char *message, const char *key);

/** Whether a sanitizer has complained on stderr. */
bool ringtail_proc_has_report(struct ringtail_proc *p);

/** Prints the end of the log to our stderr. */
void ringtail_proc_print_tail(struct ringtail_proc *p);

/** Open descriptors and resident memory of the running child; -1 when they cannot be read. */
long ringtail_proc_descriptors(const struct ringtail_proc *p);
long ringtail_proc_rss_kib(const struct ringtail_proc *p);

/**
 * Its own threads; -1 when they cannot be read. Not those for work on files, be they the kernel's
 * or those of the epoll backend: they are as many as the disk is slow, and each lives on for
 * seconds.
 */
long ringtail_proc_threads(const struct ringtail_proc *p);

/** Kills the whole group if it still runs, and frees. All zero is fine. */
void ringtail_proc_finish(struct ringtail_proc *p);
