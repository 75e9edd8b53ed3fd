/*
 * A benchmark of code that needs no Engine, and the harness that runs them (bench.c).
 *
 * A benchmark prepares its input, shows once that the output is right, and then runs passes over
 * that input; only passes are timed. One pass is some thousand units of work, long enough for the
 * clock and short enough to stay in the cache, as the ring's receive buffers do.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct bench;

/** One benchmark that is set up. */
struct bench_job {
    const struct bench *bench;
    void *state;
    uint64_t units; /* in one pass */
    uint64_t bytes; /* taken in by one pass; 0: bytes say nothing here */
};

struct bench {
    const char *name;
    const char *unit; /* what is counted: "line", "stream" */
    int variant;      /* for whoever shares functions between benchmarks */
    /** Fills in state, units and bytes. */
    void (*open)(struct bench_job *job);
    /** Runs the code once and compares what it makes; bench_require ends the program. */
    void (*check)(struct bench_job *job);
    /** Before each pass, not timed. May be NULL. */
    void (*prepare)(struct bench_job *job);
    void (*pass)(struct bench_job *job);
    void (*close)(struct bench_job *job);
};

/* Lists that end with a benchmark without a name. */
extern const struct bench bench_text[];
extern const struct bench bench_wire[];
extern const struct bench bench_path[];
extern const struct bench bench_state[];

/** The output is wrong: says where, and exits with 1. */
#define bench_require(condition)                                                                   \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/** Zeroed memory, or the end. */
void *bench_alloc(size_t count, size_t size);

/** Makes the compiler believe that the value is needed. */
#define bench_keep(value) __asm__ volatile("" : : "r"(value) : "memory")
