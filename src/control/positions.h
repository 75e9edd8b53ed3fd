/*
 * Where each container's log was left, on disk: kept over restarts and crashes, also for containers
 * that are stopped.
 *
 * A position says what has settled, never what was merely read. About once a second a snapshot of
 * all positions is taken, and of the sizes that the output files have once everything that was
 * handed over by then has settled; when it has, the snapshot is written beside the file in force,
 * synced, and moved into its place. All through the ring, so nobody waits.
 *
 * So of every output file it is known which bytes come from before the positions, and which from
 * behind them. The latter are read back after a crash (control/recovery.h).
 *
 *   IDLE ──► SETTLING ──► OPENING ──► WRITING ──► SYNCING ──► CLOSING ──► RENAMING ──► DIR_SYNCING
 * ──► IDLE
 *
 * The file: a line `ringtail positions 2 <hash of the rest>`, then JSON. What does not hold
 * together is set aside. Version 1, which knew a single directory and no ordinals, is read as that
 * of the first.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/base/buf.h"
#include "ringtail/base/table.h"
#include "ringtail/docker/reply.h"
#include "ringtail/io/ring.h"
#include "ringtail/record/line.h"
#include "ringtail/record/splice.h"
#include "ringtail/record/written.h"

#include "gather.h"

/** One container's entry. While the container is followed, its own state is the newer truth. */
struct position {
    struct table_link by_id;
    char id[REPLY_ID_LEN + 1];
    int64_t seen_at_ns; /* wall clock: last known to the Engine or read from */
    bool is_restored;   /* from the file, and nobody has taken it yet: so is what follows */
    bool followed;      /* a container has taken it over */
    struct splice_history history; /* floor_ns INT64_MAX: not known */
    struct written written;        /* what the outputs have beyond it */
    struct buf text;               /* the entry as JSON, for saving */
};

struct position_output_key {
    uint64_t device, inode;
};

/** An output file as it was when the positions were taken, all that was handed over being written.
 */
struct position_output {
    struct table_link by_key;
    struct position_output_key key;
    uint64_t directory; /* its id */
    char *path;         /* relative to it */
    uint64_t size;
    bool moved;                 /* rotated, or taken away: what has the path now is another file */
    int64_t keep_until_mono_ns; /* not written to any more; 0: it is in use */
    uint64_t elsewhere;         /* so many of its last bytes are in the files that came after it */
};

enum positions_state {
    POSITIONS_IDLE,
    POSITIONS_SETTLING,
    POSITIONS_OPENING,
    POSITIONS_WRITING,
    POSITIONS_SYNCING,
    POSITIONS_CLOSING,
    POSITIONS_RENAMING,
    POSITIONS_DIR_SYNCING,
    POSITIONS_STATE_COUNT,
};

struct positions {
    struct ring *ring;
    struct gather *gather;
    bool enabled;
    int dir_fd; /* of the directory that the file is in; locked against a second ringtail */
    char *name, *name_new;
    uint32_t marks_max;
    int64_t interval_ms, keep_ms;
    struct table table;
    struct table outputs;
    /** The directories of the file sinks, by number. Their ids, hashes of their real paths, are the
     * same in each run, whichever other sinks there are. */
    uint64_t directories[RECORD_FILES_MAX];
    size_t directories_count;
    int64_t loaded_saved_at_ns; /* 0: nothing was loaded */
    int64_t floor_ns;           /* when the first run with these positions began; wall clock */
    int64_t listed_at_ns; /* there was an entry for every container then; 0: there never was */

    /**
     * Brings the entries of followed containers up to date with positions_put, the output files
     * with positions_put_output, and listed_at_ns. Returns false if that can't be told just now: it
     * is asked again after the next pass.
     */
    bool (*collect)(void *ctx, struct positions *p);
    /** What was collected last has been saved: a crash leads back to it at the furthest. NULL:
     * nobody wants to know. */
    void (*on_saved)(void *ctx);
    void *ctx;

    enum positions_state state;
    struct op op;
    int fd;
    struct buf snapshot;
    size_t written;
    uint64_t lines_at_save; /* gather's count: nothing read since, nothing to save */
    bool touched;           /* something else has changed */
    int64_t saved_at_mono_ns;
    int error; /* of the last save; 0: it went well */
    bool error_said;
    uint64_t saves, save_errors;
};

/**
 * Opens the directory of `path` (made if missing, one level), locks it, and loads the file if there
 * is one. Blocks: before the ring runs. path NULL: positions are off, every other call is a no-op.
 * directories: of the file sinks, by number; they exist. One whose real path can't be told is an
 * error.
 * A damaged file is renamed to <name>.damaged and said so. returns: 0; -EWOULDBLOCK another
 * ringtail uses it; -errno of the directory, or of a file that may be read another time.
 */
int positions_open(struct positions *p, const char *path, const char *const *directories,
                   size_t directories_count, uint32_t marks_max, int64_t interval_ms,
                   int64_t keep_ms);

/** Where a container's log is gone on with. */
struct position_state {
    struct splice_history *history; /* keeps its options */
    struct written *written;
    const struct line_joiner *joiner;
};

/** Moves the container's restored position (if there is one) to `state`. Returns whether there was.
 */
bool positions_take(struct positions *p, const char *id, const struct position_state *state);

/** Whether the container has a position that nobody has taken yet. */
bool positions_knows(const struct positions *p, const char *id);

/**
 * Where to begin with a container that has no position and of which only new lines are wanted: when
 * the run before last knew all containers, so that nothing is left out that was written since.
 * INT64_MAX: there was none.
 */
int64_t positions_resume_ns(const struct positions *p);

/** The container's position as of now: what its lines handed over so far amount to. */
void positions_put(struct positions *p, const char *id, const struct position_state *state);

/** The container is not followed any more; its last position stays for keep_ms. */
void positions_leave(struct positions *p, const char *id);

/** The Engine has removed the container, and its log with it. */
void positions_forget(struct positions *p, const char *id);

/** An output file as a file sink speaks of it. */
struct positions_file {
    unsigned number;  /* of the file sink */
    const char *path; /* relative to its directory */
    uint64_t device, inode, size;
};

/** From collect: an output file that is in use. */
void positions_put_output(struct positions *p, const struct positions_file *file);

/** At any time: it is not written to any more, and keeps its path, or has lost it. */
void positions_output_closed(struct positions *p, const struct positions_file *file);
void positions_output_moved(struct positions *p, const struct positions_file *file);

/** Before the ring runs: it lies there, and the position of each of its lines is known. */
void positions_output_found(struct positions *p, const struct positions_file *file);

/** The output file as loaded; NULL: not known. */
struct position_output *positions_output(const struct positions *p, uint64_t device,
                                         uint64_t inode);

/** The entry of a container, made if there is none; for control/recovery. NULL without memory. */
struct position *positions_entry(struct positions *p, const char *id);

/** On the ring's thread after each pass: begins a save that is due, goes on with one that waits. */
void positions_step(struct positions *p, int64_t now_mono_ns);

/** Begins a last save now, whatever the interval. Idle again when positions_is_idle. */
void positions_save_now(struct positions *p);
bool positions_is_idle(const struct positions *p);

/** What was handed over will not settle: gives up a save that waits for it, and every later one. */
void positions_abandon(struct positions *p);

/** How long something has been waiting to be saved; 0: nothing is. */
int64_t positions_age_ns(const struct positions *p, int64_t now_mono_ns);

void positions_finish(struct positions *p);
