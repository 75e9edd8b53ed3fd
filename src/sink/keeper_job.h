/*
 * What the keeper's thread does to one file, and how it finds files to do something to. All of it
 * blocks, and touches nothing but the job and the directory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/base/list.h"
#include "ringtail/codec/compress.h"
#include "ringtail/sink/rotated.h"

#include "template.h"

enum keeper_job_kind {
    KEEPER_COMPRESS, /* into a temporary file; nothing else changes */
    KEEPER_PLACE,    /* the temporary takes the plain file's place */
    KEEPER_REMOVE,
};

struct keeper_job {
    struct list link;
    enum keeper_job_kind kind;
    uint64_t device, inode;
    uint64_t snapshot; /* of the positions: the last one taken when it had been rotated already */
    uint32_t number;   /* where it was seen last; it can only have moved up */
    enum rotated_form form;
    uint32_t temporary; /* the number in the temporary's name */
    uint64_t size;      /* when it was compressed, and so is the time */
    int64_t modified_ns;
    uint64_t bytes_before, bytes_after;
    int result;  /* 0 or a negative errno; -ENOENT: it is gone, -ECANCELED: told not to go on */
    size_t base; /* where the file's name begins in `path` */
    char path[]; /* that it was rotated from */
};

/** NULL without memory. dir empty: none. */
struct keeper_job *keeper_job_create(enum keeper_job_kind kind, const char *dir, const char *name,
                                     size_t name_len);

struct keeper_work {
    int dir_fd;
    enum compression compression;
    uint32_t rotate_keep;
    bool (*go_on)(void *ctx);
    void *ctx;
};

/** Does it; `result` says how it went. */
void keeper_job_run(struct keeper_job *job, const struct keeper_work *work);

/** It was compressed, and will not be placed. */
void keeper_job_drop_temporary(const struct keeper_job *job, int dir_fd);

/**
 * Appends jobs for rotated files that are older than `remove_before_ns` by their last change, and,
 * if `compress`, for the plain ones among the rest. INT64_MIN: none is too old. Returns whether it
 * has left some out because there were too many.
 */
bool keeper_jobs_find(int dir_fd, const struct path_template *files, int64_t remove_before_ns,
                      bool compress, struct list *jobs);

/** Before anything else: removes temporaries, and compressed files whose plain one is there too. */
void keeper_clean(int dir_fd, const struct path_template *files);
