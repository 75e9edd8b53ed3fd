/*
 * One look at ringtail's /metrics, and at what a process costs, for tests against a real Engine.
 *
 * Functions fail the test when there is no answer; a series that is not there is NAN.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "ringtail/base/buf.h"

#include "dock.h"

/** The whole page, instead of what was in *page. */
void scrape(struct dock *d, struct buf *page);

/** The value of the first series whose text begins like this; NAN: there is none. */
double scrape_value(struct buf *page, const char *beginning);

/** The sum over all series whose text begins like this. */
double scrape_sum(struct buf *page, const char *beginning);

/** The upper bound, in seconds, of the bucket that has the share (0 to 1) of what a histogram
 * without labels has counted; INFINITY: beyond its last bucket. NAN: it has counted nothing. */
double scrape_quantile(struct buf *page, const char *histogram, double share);

/** Rotations of one container's stream so far; -1 before its series is there. */
int64_t scrape_rotations(struct buf *page, const struct dock_container *c);

/** Waits until each of the containers has been rotated so many times in all. */
void scrape_wait_rotations(struct dock *d, const struct dock_container *containers, size_t count,
                           int64_t rotations);

/** What ringtail and the Engine hold; -1: not looked at yet. */
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
