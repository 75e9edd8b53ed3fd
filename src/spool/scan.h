/* Segment files by blocking reads: for the start, and for people. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "entry.h"

/** The begins of all segment files in a directory, in order. Free *ret. returns: 0; -errno. */
int segments_list(int dir_fd, uint64_t **ret, size_t *ret_count);

struct segment_file {
    int fd;
    uint64_t size;
    struct segment_head head;
    bool head_damaged; /* then its number of records is from its first whole entry, or 0 */
};

/** returns: 0; -EPROTONOSUPPORT: another version; -errno. Close fd after 0. */
int segment_file_open(int dir_fd, uint64_t begin, int flags, struct segment_file *ret);

/**
 * Walks to the limit; what `fn` is handed is lent for the call, and it gets no WALK_MORE and no
 * WALK_END. A negative return ends it. returns: 0; what fn returned; -errno.
 */
typedef int (*segment_walk_fn)(void *ctx, const struct walk *w, enum walk_step step,
                               const struct entry *e);
int segment_file_walk(const struct segment_file *file, struct walk *w, segment_walk_fn fn,
                      void *ctx);
