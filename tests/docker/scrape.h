/*
 * One look at ringtail's /metrics, and at what a process costs, for tests against a real Engine.
 *
 * Functions fail the test when there is no answer.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "ringtail/base/buf.h"

#include "dock.h"

/** The whole page, instead of what was in *page. */
void scrape(struct dock *d, struct buf *page);

/** Rotations of one container's stream so far; -1 before its series is there. */
int64_t scrape_rotations(struct buf *page, const struct dock_container *c);

/** Waits until each of the containers has been rotated so many times in all. */
void scrape_wait_rotations(struct dock *d, const struct dock_container *containers, size_t count,
                           int64_t rotations);

/** What ringtail and the Engine hold; -1: not looked at yet. The kernel's workers are no threads
 * here. */
struct holdings {
    int64_t descriptors, threads, operations, engine_descriptors;
};

/**
 * The least of each within many looks: what comes and goes with a rotation is left out, what stays
 * is not.
 */
struct holdings scrape_holdings(struct dock *d);

/** The same, and again for a while until nothing is more than it was. What is lost stays lost. */
struct holdings scrape_holdings_after(struct dock *d, const struct holdings *before);

/** The processor time of the Engine's daemon so far. */
int64_t scrape_engine_cpu_ns(void);
