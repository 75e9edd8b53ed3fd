/*
 * What containers wrote, kept for as many looks at the output as a test wants: each look reads all
 * of it from the beginning, so that a line which a crash has torn, and which is cut off and written
 * again, or a file that was given a number meanwhile, is seen as it is at last.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/world.h"

struct ledger;

/** From now on the world itself does not look at ringtail's output. */
struct ledger *ledger_create(struct world *w);
void ledger_destroy(struct ledger *l);

/** Lines of the two streams are in different files, or their order is not to be looked at. */
void ledger_ignore_order_across_streams(struct ledger *l);

/** The container has written this line; bytes are copied. flags: TOLD_. */
void ledger_add(struct ledger *l, const struct sim_container *c, enum sim_stream stream,
                int64_t ts_ns, const void *bytes, size_t len, unsigned flags);

/** Writes it in the container, in parts if it is long, and adds it. */
void ledger_say(struct ledger *l, struct sim_container *c, enum sim_stream stream, int64_t ts_ns,
                const void *bytes, size_t len);

/** `count` numbered lines, every third on stderr. */
void ledger_say_many(struct ledger *l, struct sim_container *c, const char *what, unsigned count);

/** One of the lines, as it was added; its bytes are the ledger's. */
struct ledger_line {
    const struct sim_container *container;
    enum sim_stream stream;
    int64_t ts_ns;
    struct slice bytes;
};

size_t ledger_count(const struct ledger *l);

/** The nth line, from 0, in the order in which they were added. False: there are fewer. */
bool ledger_line(const struct ledger *l, size_t n, struct ledger_line *ret);

/** Whether the output is all of it, exactly; else *ret_why (static) says what is not. */
bool ledger_is_met(struct ledger *l, const char **ret_why);

/** Whether records that are somewhere else, in one file or a directory, are. */
bool ledger_is_met_by(const struct ledger *l, const char *path, const char **ret_why);

/** Waits for that while ringtail runs. Fails the test. */
void ledger_wait(struct ledger *l);

/** SIGTERM, exit code 0, and the output is all of it, exactly. */
void ledger_stop(struct ledger *l);

/** SIGKILL, and waits for its end. */
void ledger_kill(struct world *w);
