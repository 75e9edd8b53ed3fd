/*
 * The dead letters: one NDJSON file for the records that receivers have refused, shared by all
 * sinks. A line is the record's own (record/ndjson.h), and behind its fields what else makes its
 * identity, and who refused it:
 *
 *   {"ts":…,"line":"…","ordinal":0,"sink":"loki","status":400,"reason":"…","dead_at":"…Z"}
 *
 * The file is opened when there is something to write and closed when there is nothing left, so it
 * may be moved away at any time. At its bound it becomes name.1, and so on up to the number that is
 * kept; what is then beyond is deleted, and counted. It is never read by who writes it, and no
 * symlink is followed at its name.
 *
 * A letter is written when its whole line is, and synced if that is asked for. The line that a
 * failed write has torn is written again, on a line of its own; readers leave torn lines out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ringtail/base/list.h"
#include "ringtail/base/slice.h"
#include "ringtail/io/ring.h"
#include "ringtail/record/batch.h"

struct dead_letters;

#define DEAD_LETTERS_KEEP_MAX 100

struct dead_letters_options {
    const char *path;  /* copied; its directory is made if missing (one level) */
    int64_t bytes_max; /* of one file; only a line that is longer by itself exceeds it */
    int64_t keep;      /* files beside the current one, 1 … DEAD_LETTERS_KEEP_MAX */
    int64_t retry_ms;  /* after a failure (ENOSPC, EIO, …): try again, nothing is dropped */
    bool sync;         /* a letter is done when it has been synced; letters share syncs */
};

/** One record on its way into the file; embedded in its owner, all zero before use. */
struct dead_letter {
    /* The owner's; they live until the letter is back. */
    const struct record *record;
    const char *sink;   /* its name */
    const char *reason; /* UTF-8 or not, of any length */
    int status;         /* of the reply */
    /** res 0: written. -ECANCELED: it is not, and its owner has called dead_letters_remove. */
    void (*done)(struct dead_letter *letter, int res);

    /* The file's own. */
    struct list link;
    uint64_t end; /* of its line in the buffer */
    uint8_t place;
    bool removed;
};

struct dead_letters_stats {
    uint64_t written; /* lines */
    uint64_t bytes;   /* of them */
    uint64_t waiting; /* letters not written yet */
    uint64_t errors;  /* failed tries */
    int last_error;   /* negative errno of the last try; 0 after a good one */
    uint64_t rotated; /* files moved to name.1 */
    uint64_t deleted; /* files that were beyond what is kept */
    uint64_t deleted_bytes;
};

/** Nothing is opened yet. Returns 0; -EINVAL for a path without a name; -ENOMEM. */
int dead_letters_create(struct ring *ring, const struct dead_letters_options *options,
                        struct dead_letters **ret);

/** Queues a letter. Its `done` comes later, never inside of a call. The ring's thread. */
void dead_letters_add(struct dead_letters *d, struct dead_letter *letter);

/** Takes a letter out. True: it is the owner's again, and `done` does not come. False: it is being
 * written just now, and `done` comes soon. */
bool dead_letters_remove(struct dead_letters *d, struct dead_letter *letter);

/** No more letters come: writes what is queued, then on_closed, never inside of this call. */
void dead_letters_close(struct dead_letters *d, void (*on_closed)(void *ctx), void *ctx);

/** After on_closed, or if no letter has ever come. NULL is fine. Returns NULL. */
struct dead_letters *dead_letters_destroy(struct dead_letters *d);

const struct dead_letters_stats *dead_letters_stats(const struct dead_letters *d);

/* ---- reading, without a ring; blocks ---- */

/** One line, taken apart. Slices are borrowed for the call; strings are UTF-8. */
struct dead_letter_line {
    struct slice text; /* the whole line, without its newline */
    int64_t ts_ns;
    enum record_stream stream;
    unsigned flags;   /* RECORD_PARTIAL */
    uint16_t ordinal; /* 0 where it was not noted */
    struct slice container_id, container_name, image;
    struct slice line; /* the record's bytes, any at all */
    struct slice sink, reason;
    int status;
    int64_t dead_at_ns;
};

/** Anything but 0 ends the reading. */
typedef int (*dead_letter_fn)(void *ctx, const struct dead_letter_line *line);

struct dead_letters_found {
    uint64_t files, lines;
    uint64_t damaged; /* lines that are torn, or nobody's */
};

/**
 * Shows every letter of path.keep … path.1 and path, oldest first. Files that do not exist are left
 * out. Also good while they are being written to: no letter is shown twice or left out for a
 * rotation.
 *
 * found:   may be NULL; filled in as far as it went, also on error.
 * returns: 0; negative errno; what `fn` returned.
 */
int dead_letters_read(const char *path, unsigned keep, dead_letter_fn fn, void *ctx,
                      struct dead_letters_found *found);

/** The same of bytes at hand. */
int dead_letters_parse(struct slice text, dead_letter_fn fn, void *ctx,
                       struct dead_letters_found *found);
