/* Small language helpers: containers, cleanup on scope exit, transfer of ownership. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/** The struct of `type` whose `member` is at `ptr`. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n) (1u << (n))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/** Runs `fn(&variable)` when the variable leaves its scope. */
#define RT_CLEANUP(fn) __attribute__((cleanup(fn)))

/** For RT_CLEANUP of a malloc'ed pointer. */
static inline void freep(void *pointer_to_pointer)
{
    free(*(void **)pointer_to_pointer);
}

#define RT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/** The pointer's value, leaving NULL behind: ownership moves to the reader. */
#define TAKE_PTR(p)                                                                                \
    ({                                                                                             \
        __typeof__(p) taken_ = (p);                                                                \
        (p) = NULL;                                                                                \
        taken_;                                                                                    \
    })

#define NSEC_PER_SEC INT64_C(1000000000)
#define NSEC_PER_MSEC INT64_C(1000000)
#define NSEC_PER_USEC INT64_C(1000)
