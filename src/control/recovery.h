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

/** Directories that each have an owner: those of the file sinks by number, and maybe one more. */
struct recovery_places {
    const char *directories[RECORD_FILES_MAX + 1];
    size_t count;
};

/**
 * Looks through the directory of this number: known files from their saved size on, files that are
 * newer than the positions from their beginning. Where another place lies in it, it is passed over.
 * Without loaded positions there is nothing to go on
 * from, and nothing is done. returns: 0; -errno when the directory or a file could not be read.
 */
int recovery_run(struct positions *p, const struct recovery_places *places, unsigned number,
                 struct recovery_result *ret);
