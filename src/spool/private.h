/*
 * The spool's own struct, and how its parts speak with each other. Each part has one operation and
 * one state of its own: the writer, the reader, the saver of cursors, and who drops segments.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringtail/io/ring.h"
#include "ringtail/spool/spool.h"

#include "entry.h"
#include "source_map.h"

#define SPOOL_FILE_MODE 0600

/** One file of the log, from the moment that something is appended to it. */
struct spool_segment {
    struct list link; /* all, in order */
    struct spool_place begin, end;
    int64_t newest_ms;     /* nothing in it was appended after this */
    bool complete;         /* nothing will be appended to it */
    bool written;          /* complete, all done, and its file closed by the writer */
    bool dropping;         /* its file is being unlinked */
    struct source_map map; /* of what is appended to it; empty once it is written */
    int64_t made_ms;
    char name[SEGMENT_NAME_LEN + 1];
};

/** Which byte of what has to be written next. */
struct encoder {
    struct spool_append *append; /* NULL: everything that was appended */
    size_t record;               /* of its batch */
    unsigned copy;   /* of the source before the record; SOURCE_COPIES: the record itself */
    size_t skip;     /* bytes of the entry that were taken */
    uint64_t place;  /* of the next byte */
    uint64_t number; /* of the record */
};

enum writer_state {
    WRITER_IDLE,
    WRITER_OPENING,
    WRITER_DIR_SYNCING,
    WRITER_CLOSING,
    WRITER_WAITING, /* after a failure */
    WRITER_STATE_COUNT,
};

/** One write: while it is in flight, the bytes of the next ones are made. Several small ones, so
 * that neither we nor the kernel's thread that copies them have to wait for each other, and what is
 * copied is in a cache. */
struct writer_slot {
    struct op op;
    struct writer *writer;
    char *buffer;
    uint64_t place; /* of its first byte */
    size_t len;     /* bytes in it, of which `taken` are written */
    size_t taken;
};

#define WRITER_SLOTS 4

struct writer {
    enum writer_state state;
    struct op op;                  /* of the state */
    struct op sync_op;             /* beside the writing of more */
    struct spool_segment *segment; /* whose file is open, or is to be opened */
    int fd;
    bool dir_synced; /* since the file was made */
    struct writer_slot slots[WRITER_SLOTS];
    uint64_t encoded; /* of this segment: everything before this place has come into a slot */
    uint64_t synced;  /* everything before this is synced */
    uint64_t syncing; /* what the sync that runs covers */
    int sync_error;   /* it has failed: to be written again from `synced` on */
    struct encoder encoder;
    struct list appends; /* not done, in order */
};

enum reader_state {
    READER_IDLE,
    READER_TELLING, /* done comes from the ring, not from inside of the call */
    READER_CLOSING,
    READER_OPENING,
    READER_READING,
    READER_FINDING, /* a source that lies elsewhere in the segment */
    READER_STATE_COUNT,
};

struct found_source {
    uint64_t place;        /* of its first copy; 0: the slot is empty */
    struct source *source; /* NULL: both copies are damaged */
};

struct reader {
    enum reader_state state;
    struct op op;
    struct list waiting; /* reads, the first is the one that runs */
    struct list parked;  /* reads of what is not done yet */
    int result;          /* TELLING: for the first */
    int fd;
    uint64_t fd_begin; /* of the segment that fd is of */
    struct spool_segment *segment;
    struct spool_place limit; /* of this read */
    struct walk walk;
    char *chunk;
    size_t chunk_cap, chunk_len, chunk_want;
    uint64_t chunk_place;
    char *aside; /* where a source is looked for */
    size_t aside_cap;
    uint64_t finding; /* its place */
    struct found_source *found;
};

struct spool_cursor {
    struct list link;
    struct spool *spool;
    struct spool_place place;
    uint64_t sequence; /* of the newest slot in the file; 0: it is in none */
    unsigned index;    /* of its pair of slots */
    bool wanted;       /* somebody has asked for it */
    bool owed;         /* no append is done before it is in the file */
    bool changed, saving;
    char name[];
};

enum saver_state {
    SAVER_IDLE,
    SAVER_PAUSING,
    SAVER_WRITING,
    SAVER_SYNCING,
    SAVER_STATE_COUNT,
};

struct saver {
    enum saver_state state;
    struct op op;
    int fd;
    struct list cursors; /* the first is our own: where the log ends; it holds nothing back */
    char *image;         /* the file, with room for all */
    size_t image_len, saving_len;
    bool image_changed; /* slots were emptied */
    bool lost;          /* the file was missing or damaged: an unknown cursor may have been in it */
    bool hurry;         /* no pause */
    bool failed;        /* the last time */
};

enum dropper_state { DROPPER_IDLE, DROPPER_UNLINKING, DROPPER_WAITING, DROPPER_STATE_COUNT };

struct dropper {
    enum dropper_state state;
    struct op op;
};

enum spool_part { PART_WRITER, PART_READER, PART_SAVER, PART_DROPPER, PART_COUNT };

struct spool {
    struct ring *ring;
    struct spool_options options; /* without the directory's name */
    struct spool_stats stats;
    int errors[PART_COUNT]; /* of each part's last try */
    int dir_fd, lock_fd;
    struct list segments;
    struct spool_place end;  /* appended */
    struct spool_place done; /* may be read */
    bool finishing, aborted;
    struct writer writer;
    struct reader reader;
    struct saver saver;
    struct dropper dropper;
};

static inline bool spool_is_synced(const struct spool *s)
{
    return s->options.sync == SPOOL_SYNC_ALWAYS;
}

/** Counts a try of one part: 0 or more is a good one. */
void spool_note(struct spool *s, enum spool_part part, int res);

int64_t spool_now_ms(void);

/* Segments (spool.c). */
struct spool_segment *segment_create(struct spool_place begin);
void segment_destroy(struct spool *s, struct spool_segment *seg);
/** The first that ends behind this and is there to stay, or NULL. */
struct spool_segment *segment_behind(const struct spool *s, uint64_t at);
bool segment_is_expired(const struct spool *s, const struct spool_segment *seg, int64_t now_ms);
/** Starts what can be dropped, and ends the segment that is appended to if nothing waits in it. */
void spool_drop(struct spool *s);

/* The writer. */
void writer_init(struct spool *s);
void writer_go(struct spool *s);
void writer_abort(struct spool *s);
/** What is durable and was waiting for a cursor to be saved is done. */
void writer_tell(struct spool *s);
bool writer_is_idle(const struct spool *s);
void writer_close(struct spool *s);

/* The reader. */
void reader_init(struct spool *s);
/** More is done. */
void reader_wake(struct spool *s);
bool reader_is_idle(const struct spool *s);
/** Whether it works on this segment, so that it can't be dropped. */
bool reader_uses(const struct spool *s, const struct spool_segment *seg);
/** A segment is gone: its file is not held open. */
void reader_forget(struct spool *s, uint64_t begin);
void reader_close(struct spool *s);

/* Cursors. */
int saver_open(struct spool *s, bool has_segments);
/** The place that no cursor has come to (at most `end`), and whether there is any cursor. */
bool saver_oldest(const struct spool *s, uint64_t *ret_at);
/** The furthest that any cursor is, our own too, which says where the log ended. */
struct spool_place saver_furthest(const struct spool *s);
/** A cursor is in no file yet. */
bool saver_is_owed(const struct spool *s);
void saver_go(struct spool *s);
bool saver_is_idle(const struct spool *s);
void saver_close(struct spool *s);
