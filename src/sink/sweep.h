/*
 * A walk over the rotated files of one path template: down only where the template leads, and only
 * to regular files whose name it can have given. Nobody else's file is shown. Blocks.
 */
#pragma once

#include <sys/stat.h>

#include "ringtail/sink/rotated.h"

#include "template.h"

/** Lent for the call. */
struct sweep_file {
    int dir_fd;      /* of the directory that it is in */
    const char *dir; /* relative to where the walk began; empty: it is that directory */
    const char *name;
    struct rotated_name rotated;
    const struct stat *stat;
};

typedef void (*sweep_fn)(void *ctx, const struct sweep_file *file);

/** Opens a directory below `dir_fd`, through no symlink. dir empty: `dir_fd`'s own. Returns a
 * descriptor or a negative errno. */
int sweep_open(int dir_fd, const char *dir);

/** Shows them all. What `fn` removes or renames is its own business. returns: 0; -ENOMEM; -errno
 * when the directory can't be read. A lower directory that can't be read is passed over. */
int sweep(int dir_fd, const struct path_template *t, sweep_fn fn, void *ctx);
