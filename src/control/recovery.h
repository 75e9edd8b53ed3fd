/*
 * After a crash: what the output files have beyond the last saved positions. Those lines are
 * remembered, so that they are not written again when they come again (record/written.h), and a
 * line that the crash has torn is cut off: the output is continued exactly. Blocks: before the ring
 * runs.
 */
#pragma once

#include "positions.h"

struct recovery_result {
    uint64_t files, lines, torn;
};

/**
 * Looks through the output directory: known files from their saved size on, files that are newer
 * than the positions from their beginning. Without loaded positions there is nothing to go on from,
 * and nothing is done. returns: 0; -errno when the directory or a file could not be read.
 */
int recovery_run(struct positions *p, const char *directory, struct recovery_result *ret);
