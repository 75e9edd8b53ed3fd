/*
 * A spool in memory, behind the real one's header: appends and reads are done when the test says
 * so. Links in place of the spool room. A batch that was appended is one segment of its own.
 */
#pragma once

#include "ringtail/spool/spool.h"

struct spool *fake_spool_create(size_t bytes_max);

/** Asserts that nothing is under way. */
void fake_spool_destroy(struct spool *s);

/** Carries out the oldest append, or the oldest read of what is durable, in turns if there are
 * both. False when there is none. */
bool fake_spool_step(struct spool *s);

/** Whether it was aborted. */
bool fake_spool_is_aborted(const struct spool *s);

/** After an abort: as the next run finds it. */
void fake_spool_open_again(struct spool *s);

/** The next read fails with this, or (0) finds its records damaged. */
void fake_spool_fail_read(struct spool *s, int res);

/** From now on no read that begins in [from, to) (bytes) comes to anything but EIO. */
void fake_spool_break(struct spool *s, uint64_t from_at, uint64_t to_at);

/** Records that are kept for the sink. */
uint64_t fake_spool_records(const struct spool *s, const char *cursor);
