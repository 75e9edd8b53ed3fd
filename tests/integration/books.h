/*
 * The books that ringtail keeps on /metrics: for each sink, what was read and found is what has
 * settled, waits and is lost, of each container and in total.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ringtail/base/buf.h"
#include "support/world.h"

/** Whether a page of /metrics adds up; else `why` says what does not. */
bool books_add_up(const struct buf *page, char *why, size_t why_size);

/** Looks at the page of the world's ringtail, where it has one now. Fails the test. */
void books_check(struct world *w);

/** The same, of a ringtail that has to answer; the sum of all series that begin like this, without
 * the prefix of all names; 0 when there is none. */
double books_sum(struct world *w, const char *beginning);
