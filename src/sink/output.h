/*
 * One file of the file sink: opened below the sink's directory, appended to, rotated, compared with
 * its path, closed. One operation of the ring at a time; every step of it is in output.c.
 *
 * What has been settled of a file is always its first `size` bytes, less the torn line that
 * out_queue_is_torn tells of: where output is continued exactly after a crash, that is the number
 * to keep.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "ringtail/base/list.h"
#include "ringtail/base/table.h"
#include "ringtail/sink/rotated.h"
#include "ringtail/sink/sink.h"

#include "file_sync.h"
#include "keeper.h"
#include "out_queue.h"

/** What the files of one sink share. */
struct output_set {
    struct sink *sink; /* its ring, its counters */
    int dir_fd;
    uint64_t rotate_bytes; /* 0: never */
    int64_t rotate_interval_ns;
    uint32_t rotate_keep;
    uint32_t open_max;
    int64_t retry_ms;

    struct keeper *keeper;
    struct sink_file_stats *stats;
    struct file_sync sync;
    struct table by_path;
    struct chunk_pool pool;
    struct list idle; /* open, nothing queued; the least recently written first */
    struct list
        waiting; /* closed, with something to write, until another gives up its descriptor */
    uint32_t open_count;
    uint32_t failing_count;
    uint32_t
        tick; /* a file compares itself with its path once a tick, if it has something to write */
    bool closing, aborted;

    void (*on_progress)(struct output_set *set);
    sink_file_fn on_closed, on_moved; /* sink_file_options' */
    void *ctx;
    /** A file is gone; `by_path` has one less. */
    void (*on_gone)(struct output_set *set);
};

/** Returns 0 or -ENOMEM. The caller fills in the rest. */
int output_set_init(struct output_set *set);

/** All files are gone. */
void output_set_finish(struct output_set *set);

enum output_state {
    OUTPUT_CLOSED,
    OUTPUT_ENTERING,
    OUTPUT_MAKING,
    OUTPUT_STEPPING,
    OUTPUT_PROBING,
    OUTPUT_DROPPING,
    OUTPUT_SHIFTING,
    OUTPUT_RETIRING,
    OUTPUT_OPENING,
    OUTPUT_EXAMINING,
    OUTPUT_READING,
    OUTPUT_LEAVING,
    OUTPUT_READY,
    OUTPUT_COMPARING,
    OUTPUT_WRITING,
    OUTPUT_CLOSING,
    OUTPUT_WAITING,
    OUTPUT_STATE_COUNT,
};

struct output {
    struct output_set *set;
    struct table_link by_path;
    struct list link;    /* of set->idle or set->waiting */
    struct list touched; /* the sink's: it has got records of the batch at hand */
    uint32_t users;      /* who may still have records for it */
    enum output_state state;
    struct op op;
    struct out_queue queue;
    struct file_dirt dirt;

    int fd, dir_fd;     /* -1: none. dir_fd may be the set's */
    bool rotating;      /* on the way to a new file; `fd` is still the old one */
    bool known;         /* device, inode and size are of the file that was open last */
    bool needs_newline; /* it ends with a line that somebody else's crash has torn */
    bool failing;
    int error;     /* why it is going to OUTPUT_WAITING; 0: it is not */
    uint64_t size; /* bytes in the file */
    uint64_t inode, device;
    uint32_t compared_tick;
    uint32_t rotate_failed_tick;
    int64_t period;  /* of rotate_interval_ns, since 1970: in which the file began */
    uint32_t number; /* rotation: of the file being looked for or moved to */
    enum rotated_form form;
    size_t walked;      /* of the path: directories entered one by one */
    bool walking, made; /* one by one; the one at hand has been made just now */
    char last_byte;
    struct statx stat;

    char *path;
    size_t dir_len;   /* of its directories, without the last slash; 0: none */
    const char *name; /* its last component */
    char *names[2];   /* what an operation is given: components, names of rotated files */
    size_t names_size;
};

/** The file with this path, made if there is none. NULL without memory. */
struct output *output_get(struct output_set *set, struct slice path);

/** A file without users closes once it has written what it has. */
void output_hold(struct output *o);
void output_release(struct output *o);

/** Something was queued, or the set is closing: goes on if nothing is in flight. May destroy the
 * file. */
void output_kick(struct output *o);

/** The set was aborted: drops what is not in flight and goes on to the end. May destroy the file.
 */
void output_abort(struct output *o);
