/*
 * What is done with files that are not written to any more, beside the writing: rotated files are
 * compressed and, when they are too old, removed; and how much space is left is looked at. It has
 * one thread, of low priority, and none if nothing of it is asked for.
 *
 * Who may do what with a name:
 *   - Rotated files are renamed by the ring's thread (output.c) when a file is rotated. The thread
 *     renames or removes one only while the ring's thread has that file's rotations on hold, which
 *     lasts for a few system calls; a rotation that is wanted meanwhile comes with a later write,
 *     so that the file grows by what is written in that time.
 *   - The thread knows a file by device and inode: what has been shifted to another number
 *     meanwhile is found there, and what is gone is left alone.
 *   - A file that is open for writing is never touched, whatever it is called.
 *
 * What a crash may need is kept: what lies in a plain file may not be in the saved positions yet,
 * and is read back from there after a crash; nobody reads it back from a compressed one. So a file
 * is compressed only when positions have been saved that were taken after it had been rotated:
 * these cover all of it, for nothing is written to a rotated file. Files of an earlier run wait for
 * the first save in the same way.
 *
 * A file on its way from plain to compressed, and what a crash leaves of it:
 *   name.N                     plain
 *   name.N, name.N.tmp         being compressed; the temporary is removed at the next start
 *   name.N, name.N.gz          synced and renamed; the compressed one is removed at the next start
 *   name.N.gz                  the plain one is removed
 * A journal keeps the order of the last two over a loss of power, too. Rotations do not wait for a
 * sync of the directory in between.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "ringtail/base/list.h"
#include "ringtail/base/macros.h"
#include "ringtail/io/ring.h"
#include "ringtail/sink/sink.h"

#include "keeper_job.h"
#include "template.h"

struct keeper_options {
    int dir_fd;                        /* borrowed */
    const struct path_template *files; /* borrowed */
    enum compression compression;
    uint32_t rotate_keep;
    int64_t retention_ms;       /* 0: for ever */
    int64_t free_space_min;     /* in bytes; 0: whatever there is */
    bool wait_for_saves;        /* keeper_saved will be called */
    struct sink_file_stats *to; /* counts */
    /** On the ring's thread: whether files of this path are being renamed, or this file is written
     * to. */
    bool (*is_rotating)(void *ctx, const char *path);
    bool (*is_open)(void *ctx, uint64_t device, uint64_t inode);
    void *ctx;
};

struct keeper {
    struct keeper_options options;
    bool started;

    /* The ring's thread. */
    struct ring *ring;
    struct ring_waker waker;
    struct list compressions, removals;
    struct keeper_job *placing; /* compressed, and not yet in its place */
    const char *held;           /* the path whose files are not to be renamed; NULL: none */
    uint32_t queued_count;
    uint64_t snapshot, saved;         /* of the positions: the last one taken, and saved */
    const struct keeper_job *running; /* the thread has it; NULL: none */
    bool blocked;                     /* a job waits for the end of a rotation */
    bool begun_here, stopped;

    /* Both, under the lock. */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct keeper_job *given, *returned;
    struct list found; /* by a sweep */
    bool begun, quit;

    atomic_bool stop; /* no more jobs, and the one under way ends early */
    atomic_bool low;

    /* The thread. */
    int64_t probe_at_mono_ns, sweep_at_mono_ns;
};

/**
 * Looks at the space, and makes the thread if there will be anything to do for it. Nothing is
 * touched before keeper_begin, so that who finds the directory in use can still go away; the ring's
 * first pass calls it at the latest. returns: 0; negative errno, with nothing to finish.
 */
int keeper_start(struct keeper *k, struct ring *ring, const struct keeper_options *options);

/** Removes what a crash has left of compressions, before anything is rotated, and begins. Blocks
 * for a walk over the directory. */
void keeper_begin(struct keeper *k);

/** All zero is fine. Gives no more jobs, and has the one under way end early. The space is looked
 * at on. */
void keeper_stop(struct keeper *k);

/** Waits for the thread's end and frees all. All zero is fine. */
void keeper_finish(struct keeper *k);

/** A file was rotated, and is closed. */
void keeper_rotated(struct keeper *k, const char *path, uint64_t device, uint64_t inode);

/** Positions are taken now; the last ones taken have been saved. */
void keeper_snapshot(struct keeper *k);
void keeper_saved(struct keeper *k);

/** Gives the thread its next job if it can take one. */
void keeper_step(struct keeper *k);

/** The same, cheap, after what may have been the end of a rotation. */
static inline void keeper_kick(struct keeper *k)
{
    if (unlikely(k->blocked))
        keeper_step(k);
}

/** Whether the path's files must not be renamed just now. */
static inline bool keeper_holds(const struct keeper *k, const char *path)
{
    return unlikely(k->held != NULL) && strcmp(k->held, path) == 0;
}

/** Whether there is less space than there has to be. */
static inline bool keeper_is_low(const struct keeper *k)
{
    return unlikely(atomic_load_explicit(&k->low, memory_order_relaxed));
}
