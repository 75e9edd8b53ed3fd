/*
 * `ringtail-faulty`: ringtail with what it asks for wrapped (-Wl,--wrap).
 * RINGTAIL_FAULT=kind:n:times lets so many calls of a kind fail, from the n-th of the process on.
 * When it ends it writes how many calls of each kind there were to the file that
 * RINGTAIL_FAULT_COUNTS names.
 */
#pragma once

#include <stdbool.h>

enum fault {
    FAULT_MALLOC, /* allocations, also those that libc makes for a caller */
    FAULT_WRITE,  /* this and what follows: operations of the ring */
    FAULT_FSYNC,
    FAULT_OPEN,
    FAULT_RENAME,
    FAULT_UNLINK,
    FAULT_READ,
    FAULT_SQE,     /* entries that the kernel refuses */
    FAULT_URING,   /* calls of liburing, for want of memory or room, or by a signal */
    FAULT_SYSCALL, /* system calls and threads; most of them are the epoll backend's */
    FAULT_CURL,
    FAULT_KAFKA,
    FAULT_COUNT
};

/** Declares what a wrapper needs. */
#define WRAPPED(type, name, ...)                                                                   \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__);

/** Counts a call of this kind. Returns whether it has to fail. Any thread. */
bool fault_strikes(enum fault kind);
