/*
 * A ring with a listening unix socket beside it, for tests that need the real kernel. Closing the
 * fixture checks what must hold after every test: nothing in flight that was not at the start,
 * every socket closed, every receive buffer at home, as many descriptors as before.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#include <cmocka.h>

#include "ringtail/io/ring.h"
#include "ringtail/io/ring_features.h"

#define TEST_RUNS_FOREVER_MS 3600000

struct ring_fixture {
    struct ring *ring;
    char dir[32];
    struct sockaddr_un addr;
    int listener;
    int dir_fd;
    size_t fds_before;
    uint64_t in_flight_before[OP_KIND_COUNT];
};

/** An operation that remembers how it ended, and a copy of what it received. */
struct waited {
    struct op op;
    int res;
    unsigned calls; /* of done */
    unsigned turn;  /* among all that have ended in this program: the later, the larger */
    size_t len;
    char bytes[8192];
};

/** A socket of the ring and the test's end of it. */
struct link {
    int sock;
    int peer; /* blocking; -1: closed */
};

/* Starts and cancels go through this, so that waited_done can tell that it does not run inside of
 * one. */
#define START(call)                                                                                \
    do {                                                                                           \
        ring_starting++;                                                                           \
        call;                                                                                      \
        ring_starting--;                                                                           \
    } while (0)
extern unsigned ring_starting;

/** The one that RINGTAIL_TEST_BACKEND names, else io_uring. */
enum ring_backend_choice test_backend(void);

/** From now on liburing answers as with a kernel without the feature. RING_FEATURE_COUNT: as with
 * the one that is here. */
void take_away(enum ring_feature feature);

/** Prints why and returns 77 when there is no such ring for us here, else 0. With
 * RINGTAIL_TEST_NOWAIT=refused it has a seccomp filter refuse RWF_NOWAIT from then on, and it takes
 * away the feature that RINGTAIL_TEST_WITHOUT names. */
int ring_skip_code(void);

/** `n` times the decimal number in RINGTAIL_TEST_SCALE (default 1), at least 1. */
unsigned scaled(unsigned n);

size_t count_fds(void);

/** The ring is of test_backend, whatever the options say. */
void fixture_open(struct ring_fixture *f, const struct ring_options *options);
void fixture_close(struct ring_fixture *f);

/** cmocka's setup and teardown with a roomy pool of 4 KiB buffers. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

void waited_init(struct waited *w);

/** Runs the ring until fn returns true; it is asked first, and after each pass. */
void run_until(struct ring_fixture *f, bool (*fn)(void *ctx), void *ctx);

/** Runs the ring until the operation has ended once more; returns its result. */
int run_op(struct ring_fixture *f, struct waited *w);

void link_open(struct ring_fixture *f, struct link *link);
void link_close(struct ring_fixture *f, struct link *link);

/** The byte at `offset` of stream `id`. No two streams, and no short shift of one, look the same.
 */
static inline uint8_t pattern_at(uint32_t id, uint64_t offset)
{
    uint64_t x = (offset + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ id * UINT64_C(0xd6e8feb86659fd93);

    return (uint8_t)((x ^ x >> 29) >> 24);
}

void pattern_fill(uint32_t id, uint64_t offset, void *data, size_t len);
bool pattern_holds(uint32_t id, uint64_t offset, const void *data, size_t len);

/** Writes all of it, blocking; aborts when it cannot (threads may not use cmocka's assertions). */
void write_all(int fd, const void *data, size_t len);
