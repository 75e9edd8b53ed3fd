/*
 * A world without an output: every line goes to one receiver that others have written, and what
 * that says it has taken, as records of NDJSON, is held against the ledger.
 */
#pragma once

#include <stddef.h>

#include "support/receiver.h"
#include "support/world.h"

#include "ledger.h"

#define SHIPPING_CONTAINERS 3

struct shipping {
    struct world *world;
    struct ledger *ledger;
    struct sim_container *containers[SHIPPING_CONTAINERS];
};

/* cmocka's fixtures: the world, an Engine with containers, a ledger; and all of it ended. */
int shipping_setup(void **state);
int shipping_teardown(void **state);

#define SHIPPING_TEST(title, fn)                                                                   \
    {                                                                                              \
        .name = (title), .test_func = (fn), .setup_func = shipping_setup,                          \
        .teardown_func = shipping_teardown                                                         \
    }

/** Starts ringtail with one sink, "there"; its options as YAML, a line each, without indentation.
 */
void shipping_run(struct shipping *s, const char *options, ...)
    __attribute__((format(printf, 2, 3)));

/** Lines of all kinds in every container, which is then started anew: short, empty, long, of many
 * alphabets, of any bytes, without an end. */
void shipping_say(struct shipping *s);

/** Waits until all lines of the ledger have settled, and `lost` others are lost, as the receiver
 * has refused them. The books have to add up meanwhile. */
void shipping_wait(struct shipping *s, unsigned lost);

/** What the receiver says it has taken (/taken?of=…) has to be every line of the ledger, and
 * nothing else. */
void shipping_check(struct shipping *s, const struct receiver *receiver, const char *of);

/** How many dead letters there are. Each has to have that in it. */
size_t shipping_dead_letters(struct shipping *s, const char *needle);
