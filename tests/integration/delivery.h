/*
 * A world with receivers: a ringtail with a file, Loki and Elasticsearch, each line of which has to
 * be in all three, and what the two strict receivers have taken held against the ledger.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "support/receiver.h"
#include "support/world.h"

#include "books.h"
#include "ledger.h"

enum delivery_sink { DELIVERY_LOKI, DELIVERY_ELASTIC, DELIVERY_SINKS };

struct delivery {
    struct world *world;
    struct ledger *ledger;
    struct receiver receivers[DELIVERY_SINKS];
    char config[128];
    char spool_dir[160];  /* may be changed before the first run */
    const char *left_out; /* lines with this text in it come to no receiver; NULL: all do */
};

/* cmocka's fixtures: the world, an Engine, a ledger and the receivers; and all of it ended. */
int delivery_setup(void **state);
int delivery_teardown(void **state);

#define DELIVERY_TEST(title, fn)                                                                   \
    {                                                                                              \
        .name = (title), .test_func = (fn), .setup_func = delivery_setup,                          \
        .teardown_func = delivery_teardown                                                         \
    }

/** Starts ringtail with all three sinks, quick ones, and the further arguments. */
#define delivery_run(d, ...)                                                                       \
    delivery_run_how((d), (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
void delivery_run_how(struct delivery *d, const char *const *args);

/** "loki" and "elasticsearch": what ringtail calls them. */
const char *delivery_name(enum delivery_sink sink);

/** Tells the receiver, at "/mode", "/script", "/release"; it has to agree. */
void delivery_tell(struct delivery *d, enum delivery_sink sink, const char *path, const char *json);

/** A number of the receiver's /stats. */
int64_t delivery_stat(struct delivery *d, enum delivery_sink sink, const char *name);

/**
 * How many lines of the ledger the receiver has not got. What it has got has to be of the ledger,
 * once each, in the order of each container and stream, and by the protocol's rules: else the test
 * fails.
 */
size_t delivery_lacks(struct delivery *d, enum delivery_sink sink);

/** Waits until the receiver has everything. */
void delivery_wait(struct delivery *d, enum delivery_sink sink);

/** … until all three sinks have, and the books say that nothing waits any more. */
void delivery_wait_all(struct delivery *d);

/** A predicate's way of asking /metrics: waits until the sum of a metric's series that begin like
 * this is in [least, most]. The books have to add up each time. */
void delivery_wait_sum(struct delivery *d, const char *beginning, double least, double most);

/** The books, then SIGTERM and exit code 0, and the file and both receivers have everything. */
void delivery_stop(struct delivery *d);
