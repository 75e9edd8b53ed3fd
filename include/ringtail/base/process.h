/* What the kernel knows of this process, from /proc/self. */
#pragma once

#include <stdint.h>

struct process_stat {
    int64_t threads;
    int64_t resident_bytes;
    int64_t descriptors_open;
    int64_t cpu_ns; /* of all threads, in user space and in the kernel */
};

/**
 * Some 20 µs of system calls that wait for nothing. Any thread. Returns 0 or -errno (there is no
 * /proc), `ret` then being untouched.
 */
int process_stat_read(struct process_stat *ret);
